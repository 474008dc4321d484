//! When the driver is told to connect and disconnect sockets.

mod support;
use sbc_media::latch::LEARNING_WINDOW;
use sbc_media::relay::{SocketAction, Verdict};
use support::*;

const WINDOW_MS: u64 = LEARNING_WINDOW.as_millis() as u64;

fn connect(peer: &str) -> SocketAction {
    SocketAction::Connect {
        socket: A.rtp(),
        peer: addr(peer),
    }
}

const DISCONNECT: SocketAction = SocketAction::Disconnect { socket: A.rtp() };

#[test]
fn the_signalled_source_is_connected_at_once() {
    let mut session = Session::new();
    assert_eq!(session.actions(), []);
    session.rtp(A, A_RTP);
    session.rtp(A, A_RTP);
    assert_eq!(session.actions(), [connect(A_RTP)]);
    assert_eq!(session.actions(), []);
}

#[test]
fn another_source_is_connected_when_the_window_is_over() {
    let mut session = Session::new();
    let mut connected_after_ms = None;
    for ms in (0..2 * WINDOW_MS).step_by(20) {
        session.rtp(A, NAT);
        let actions = session.actions();
        if !actions.is_empty() {
            assert_eq!((actions, connected_after_ms), (vec![connect(NAT)], None));
            connected_after_ms = Some(ms);
        }
        session.wait_ms(20);
    }
    // One packet to become the candidate, one to be latched, then the window.
    assert_eq!(connected_after_ms, Some(WINDOW_MS + 20));
}

#[test]
fn sends_carry_no_address_once_the_driver_has_connected() {
    let mut session = Session::flowing();
    assert_eq!(session.destination(A), to(A.rtp(), A_RTP));
    session.relay.connected(A.rtp(), addr(A_RTP));
    assert_eq!(
        session.destination(A),
        Verdict::Forward {
            socket: A.rtp(),
            to: None,
            len: rtp(0).len()
        }
    );
    assert!(session.relay.stats(A).connected);
}

#[test]
fn a_renegotiation_disconnects_and_the_next_packet_connects() {
    let mut session = Session::flowing();
    session.relay.connected(A.rtp(), addr(A_RTP));
    session.remote(A, A_RTP);
    assert_eq!(session.destination(A), to(A.rtp(), A_RTP));
    assert_eq!(session.actions(), [DISCONNECT]);
    session.rtp(A, A_RTP);
    assert_eq!(session.actions(), [connect(A_RTP)]);
}

#[test]
fn a_peer_that_latches_before_the_driver_looked_gets_both_in_order() {
    let mut session = Session::flowing();
    session.relay.connected(A.rtp(), addr(A_RTP));
    session.remote(A, A2_RTP);
    session.rtp(A, A2_RTP);
    assert_eq!(session.actions(), [DISCONNECT, connect(A2_RTP)]);
}

#[test]
fn a_connect_that_was_overtaken_is_undone() {
    let mut session = Session::flowing();
    session.remote(A, A2_RTP);
    session.relay.connected(A.rtp(), addr(A_RTP));
    assert_eq!(session.destination(A), to(A.rtp(), A2_RTP));
    assert_eq!(session.actions(), [DISCONNECT]);
    // Even when the report comes after the order to disconnect.
    session.relay.connected(A.rtp(), addr(A_RTP));
    assert_eq!(session.actions(), [DISCONNECT]);
    assert_eq!(session.actions(), []);
}

#[test]
fn a_socket_that_cannot_be_connected_is_not_tried_again_until_the_next_sdp() {
    let mut session = Session::flowing();
    session.relay.connect_failed(A.rtp());
    for _ in 0..3 {
        session.rtp(A, A_RTP);
        assert_eq!(session.destination(A), to(A.rtp(), A_RTP));
    }
    assert_eq!(session.actions(), []);
    session.remote(A, A_RTP);
    session.rtp(A, A_RTP);
    assert_eq!(session.actions(), [connect(A_RTP)]);
}

#[test]
fn closing_disconnects_what_was_connected_and_only_that() {
    let mut session = Session::flowing();
    session.relay.connected(A.rtp(), addr(A_RTP));
    session.relay.close(A);
    assert_eq!(session.actions(), [DISCONNECT]);
    let mut session = Session::new();
    session.relay.close(A);
    assert_eq!(session.actions(), []);
}

#[test]
fn a_pair_used_again_before_the_driver_looked_is_disconnected_first() {
    let mut session = Session::flowing();
    session.relay.connected(A.rtp(), addr(A_RTP));
    session.relay.close(A);
    session.relay.open(A, B);
    session.remote(A, A2_RTP);
    session.rtp(A, A2_RTP);
    assert_eq!(session.actions(), [DISCONNECT, connect(A2_RTP)]);
}
