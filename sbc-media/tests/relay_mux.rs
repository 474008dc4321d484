//! RTCP towards a peer that multiplexes (RFC 5761).

mod support;
use sbc_media::relay::{Remote, SocketAction, Verdict};
use support::*;

fn multiplexing() -> Remote {
    Remote {
        // What `a=rtcp` says is void then.
        rtcp: Some(addr("192.0.2.7:9999")),
        mux: true,
        ..remote(A_RTP)
    }
}

/// An RTCP packet from the RTP socket of A.
fn muxed(peer: &str) -> Verdict {
    Verdict::Forward {
        socket: A.rtp(),
        to: Some(addr(peer)),
        len: rtcp().len(),
    }
}

fn session() -> Session {
    let mut session = Session::flowing();
    session.relay.set_remote(A, multiplexing());
    session
}

#[test]
fn rtcp_leaves_from_the_rtp_port_for_the_rtp_address() {
    let mut session = session();
    assert_eq!(session.rtcp(B, B_RTCP), muxed(A_RTP));
    assert_eq!(session.send(B.rtp(), B_RTP, &mut rtcp()), muxed(A_RTP));
    assert_eq!(session.send(A.rtp(), A_RTP, &mut rtcp()), to(B.rtcp(), B_RTCP));
}

#[test]
fn rtcp_follows_the_rtp_latch() {
    let mut session = session();
    session.relay.set_remote(
        A,
        Remote {
            rtp: Some(addr(A2_RTP)),
            ..multiplexing()
        },
    );
    assert_eq!(session.rtcp(B, B_RTCP), muxed(A2_RTP));
    for _ in 0..60 {
        session.rtp(A, NAT);
        session.wait_ms(20);
    }
    assert_eq!(session.rtcp(B, B_RTCP), muxed(NAT));
    // And it needs no address where the RTP socket is connected.
    for action in session.actions() {
        if let SocketAction::Connect { socket, peer } = action {
            session.relay.connected(socket, peer);
        }
    }
    assert_eq!(
        session.rtcp(B, B_RTCP),
        Verdict::Forward {
            socket: A.rtp(),
            to: None,
            len: 8
        }
    );
}

#[test]
fn rtcp_goes_on_while_the_peer_holds() {
    let mut session = session();
    session.relay.set_remote(
        A,
        Remote {
            send: false,
            ..multiplexing()
        },
    );
    assert_eq!(session.rtp(B, B_RTP), NO_DESTINATION);
    assert_eq!(session.rtcp(B, B_RTCP), muxed(A_RTP));
    session.relay.set_remote(
        A,
        Remote {
            rtp: None,
            send: false,
            ..multiplexing()
        },
    );
    assert_eq!(session.rtcp(B, B_RTCP), NO_DESTINATION);
}

#[test]
fn a_peer_that_stops_multiplexing_has_its_rtcp_port_again() {
    let mut session = session();
    session.remote(A, A_RTP);
    assert_eq!(session.rtcp(B, B_RTCP), to(A.rtcp(), A_RTCP));
    session.relay.set_remote(A, multiplexing());
    session.relay.close(A);
    session.relay.open(A, B);
    session.remote(A, A_RTP);
    assert_eq!(session.rtcp(B, B_RTCP), to(A.rtcp(), A_RTCP));
}

#[test]
fn a_peer_that_promised_to_multiplex_and_does_not_is_heard() {
    let mut session = session();
    // From the port after its RTP port, as if nothing had been said.
    assert_eq!(session.rtcp(A, A_RTCP), to(B.rtcp(), B_RTCP));
}
