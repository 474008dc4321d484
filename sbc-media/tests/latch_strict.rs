//! Strict source checking: only the signalled IP address may send.

mod support;
use sbc_media::latch::{Hosts, LatchMode};
use sbc_media::relay::Remote;
use std::sync::Arc;
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
fn hosts_of_the_peer_may_be_learned_and_nobody_else() {
    let hosts = ["198.51.100.7/32", "203.0.113.128/25", "2001:db8:1::/48"].map(|text| {
        let (address, prefix) = text.split_once('/').unwrap();
        (address.parse().unwrap(), prefix.parse().unwrap())
    });
    let hosts = Arc::new(Hosts::new(hosts));
    for (from, allowed) in [
        ("198.51.100.7:5555", true),
        ("198.51.100.8:5555", false),
        ("203.0.113.200:5555", true),
        ("203.0.113.127:5555", false),
        ("[2001:db8:1:2::3]:5555", true),
        ("[2001:db8:2::3]:5555", false),
    ] {
        let mut session = Session::new();
        session.relay.set_hosts(A, Some(&hosts));
        session.relay.set_remote(
            A,
            Remote {
                latch: LatchMode::Strict,
                ..remote(A_RTP)
            },
        );
        session.rtp(A, from);
        let second = session.rtp(A, from);
        assert_eq!(second != WRONG_SOURCE, allowed, "{from}");
        assert_eq!(session.destination(A) == to(A.rtp(), from), allowed, "{from}");
        // The address in the SDP still wins within the window.
        session.rtp(A, A_RTP);
        assert_eq!(session.destination(A), to(A.rtp(), A_RTP), "{from}");
    }
    assert!(Hosts::new([("0.0.0.0".parse().unwrap(), 0)]).contain("192.0.2.1".parse().unwrap()));
    assert!(!Hosts::default().contain("192.0.2.1".parse().unwrap()));
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
