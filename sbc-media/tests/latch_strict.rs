//! Strict source checking: only the signalled IP address may send.

mod support;
use sbc_media::latch::LatchMode;
use sbc_media::relay::Remote;
use support::*;

fn strict() -> Session {
    let mut session = Session::new();
    session.relay.set_remote(
        A,
        Remote {
            latch: LatchMode::Strict,
            ..remote(A_RTP)
        },
    );
    session
}

#[test]
fn other_addresses_are_refused_for_ever() {
    let mut session = strict();
    for _ in 0..100 {
        assert_eq!(session.rtp(A, NAT), WRONG_SOURCE);
        session.wait_ms(20);
    }
    assert_eq!(session.destination(A), to(A.rtp(), A_RTP));
}

#[test]
fn another_port_of_the_address_may_be_learned() {
    let mut session = strict();
    let port = "192.0.2.1:5555";
    session.rtp(A, port);
    assert_eq!(session.rtp(A, port), to(B.rtp(), B_RTP));
    assert_eq!(session.destination(A), to(A.rtp(), port));
}

#[test]
fn becoming_strict_drops_a_source_that_is_being_learned() {
    let mut session = Session::new();
    session.rtp(A, NAT);
    session.rtp(A, NAT);
    session.relay.set_remote(
        A,
        Remote {
            latch: LatchMode::Strict,
            ..remote(A_RTP)
        },
    );
    assert_eq!(session.rtp(A, NAT), WRONG_SOURCE);
    assert_eq!(session.destination(A), to(A.rtp(), A_RTP));
}

#[test]
fn becoming_strict_drops_a_locked_source_too() {
    let mut session = Session::new();
    for _ in 0..40 {
        session.rtp(A, NAT);
        session.wait_ms(20);
    }
    assert_eq!(session.rtp(A, A_RTP), WRONG_SOURCE, "locked");
    session.relay.set_remote(
        A,
        Remote {
            latch: LatchMode::Strict,
            ..remote(A_RTP)
        },
    );
    assert_eq!(session.rtp(A, NAT), WRONG_SOURCE);
    assert_eq!(session.rtp(A, A_RTP), to(B.rtp(), B_RTP));
}
