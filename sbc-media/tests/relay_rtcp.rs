//! RTCP: on its own port, at an address of its own, or multiplexed.

mod support;
use sbc_media::relay::Remote;
use support::*;

#[test]
fn an_rtcp_address_of_its_own_is_used() {
    let mut session = Session::new();
    session.relay.set_remote(
        A,
        Remote {
            rtcp: Some(addr("192.0.2.7:9999")),
            ..remote(A_RTP)
        },
    );
    assert_eq!(session.rtcp(B, B_RTCP), to(A.rtcp(), "192.0.2.7:9999"));
}

#[test]
fn rtp_on_the_last_port_has_no_rtcp() {
    let mut session = Session::new();
    session.remote(A, "192.0.2.1:65535");
    assert_eq!(session.rtp(B, B_RTP), to(A.rtp(), "192.0.2.1:65535"));
}

#[test]
fn a_peer_that_multiplexes_reaches_the_other_side_on_its_rtcp_port() {
    let mut session = Session::flowing();
    assert_eq!(session.send(A.rtp(), A_RTP, &mut rtcp()), to(B.rtcp(), B_RTCP));
    let stats = session.relay.stats(A);
    assert_eq!((stats.packets, stats.rtcp_packets, stats.rtcp_octets), (1, 1, 8));
}

#[test]
fn multiplexed_rtcp_does_not_move_the_latch() {
    let mut session = Session::new();
    for _ in 0..3 {
        assert_eq!(session.send(A.rtp(), A_RTCP, &mut rtcp()), WRONG_SOURCE);
    }
    assert_eq!(session.send(A.rtp(), A_RTP, &mut rtcp()), to(B.rtcp(), B_RTCP));
    assert_eq!(session.relay.stats(A).latched, None);
    assert_eq!(session.destination(A), to(A.rtp(), A_RTP));
}

#[test]
fn rtp_on_the_rtcp_port_is_refused() {
    let mut session = Session::flowing();
    assert_eq!(session.send(A.rtcp(), A_RTCP, &mut rtp(1)), MALFORMED);
}

#[test]
fn broken_compounds_are_refused() {
    let mut session = Session::flowing();
    let mut short = rtcp();
    short[3] = 9;
    assert_eq!(session.send(A.rtcp(), A_RTCP, &mut short), MALFORMED);
    assert_eq!(session.send(A.rtp(), A_RTP, &mut short), MALFORMED);
    assert_eq!(session.relay.stats(A).malformed, 2);
    assert_eq!(session.rtcp(A, A_RTCP), to(B.rtcp(), B_RTCP));
}

#[test]
fn rtcp_alone_keeps_a_peer_alive() {
    let mut session = Session::flowing();
    session.wait_ms(5000);
    session.rtcp(A, A_RTCP);
    assert_eq!(
        session.relay.last_received(A).unwrap().as_millis(),
        session.now_ms
    );
    assert_eq!(
        session.relay.stats(A).last_received.unwrap().as_millis(),
        session.now_ms - 5000
    );
}
