//! Who may become the peer, by mode.

mod support;
use proptest::prelude::*;
use sbc_media::{
    latch::{Latch, LatchMode, Observed},
    relay::Remote,
    time::Timestamp,
};
use std::time::Duration;
use support::*;

fn session(latch: LatchMode) -> Session {
    let mut session = Session::new();
    session.relay.set_remote(
        A,
        Remote {
            latch,
            ..remote(A2_RTP)
        },
    );
    session
}

#[test]
fn once_the_first_source_keeps_the_latch() {
    let mut session = session(LatchMode::Once);
    assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
    assert_eq!(session.destination(A), to(A.rtp(), NAT));
    for _ in 0..100 {
        session.wait_ms(20);
        assert_eq!(session.rtp(A, A2_RTP), WRONG_SOURCE);
        assert_eq!(session.rtp(A, STRANGER), WRONG_SOURCE);
    }
    assert_eq!(session.relay.stats(A).stranger, Some(addr(STRANGER)));
}

#[test]
fn once_is_until_the_next_negotiation() {
    let mut session = session(LatchMode::Once);
    session.rtp(A, NAT);
    let again = Remote {
        latch: LatchMode::Once,
        ..remote(A2_RTP)
    };
    session.relay.set_remote(A, again);
    // The peer goes on, and a stranger does not get ahead of it.
    assert_eq!(session.rtp(A, STRANGER), WRONG_SOURCE);
    assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
    session.relay.set_remote(A, again);
    // The peer has moved: it waits, and is then the first.
    assert_eq!(session.rtp(A, STRANGER), WRONG_SOURCE);
    session.wait_ms(500);
    assert_eq!(session.rtp(A, STRANGER), to(B.rtp(), B_RTP));
    assert_eq!(session.rtp(A, NAT), WRONG_SOURCE);
}

#[test]
fn the_window_of_relearning_is_as_long_as_it_says() {
    let mut session = session(LatchMode::Relearn(Duration::from_millis(3000)));
    for _ in 0..150 {
        assert_eq!(session.rtp(A, STRANGER), to(B.rtp(), B_RTP));
        session.wait_ms(19);
    }
    // 2,850 ms: the one that was announced may still come.
    assert_eq!(session.rtp(A, A2_RTP), to(B.rtp(), B_RTP));
    assert_eq!(session.rtp(A, STRANGER), WRONG_SOURCE);
}

#[test]
fn a_window_that_is_over_is_over() {
    let mut session = session(LatchMode::Relearn(Duration::from_millis(100)));
    for _ in 0..8 {
        assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
        session.wait_ms(20);
    }
    assert_eq!(session.rtp(A, A2_RTP), WRONG_SOURCE);
}

#[test]
fn the_last_stranger_is_remembered_until_the_call_ends() {
    let mut session = Session::flowing();
    assert_eq!(session.relay.stats(A).stranger, None);
    session.rtp(A, NAT);
    session.rtp(A, STRANGER);
    session.rtcp(A, STRANGER);
    let stats = session.relay.close(A);
    assert_eq!((stats.stranger, stats.wrong_source), (Some(addr(STRANGER)), 2));
    session.relay.open(A, B);
    assert_eq!(session.relay.stats(A).stranger, None);
}

fn mode() -> impl Strategy<Value = LatchMode> {
    prop_oneof![
        Just(LatchMode::Strict),
        Just(LatchMode::Once),
        (0u64..900).prop_map(|ms| LatchMode::Relearn(Duration::from_millis(ms))),
    ]
}

#[derive(Clone, Debug)]
enum Event {
    Packet(usize, u64),
    Negotiate(Option<usize>, LatchMode),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0usize..4, 0u64..400).prop_map(|(source, pause_ms)| Event::Packet(source, pause_ms)),
        1 => (proptest::option::of(0usize..4), mode()).prop_map(|(signalled, mode)| Event::Negotiate(signalled, mode)),
    ]
}

proptest! {
    /// What the latch does not consider, it refuses without a trace: so it is safe to look no closer.
    #[test]
    fn what_is_not_considered_changes_nothing(events in prop::collection::vec(event(), 0..100)) {
        let sources = [A_RTP, A_RTCP, NAT, STRANGER].map(addr);
        let mut latch = Latch::CLOSED;
        let mut now_ms = 0;
        for event in events {
            match event {
                Event::Negotiate(signalled, mode) => {
                    latch.negotiate(signalled.map(|index| sources[index]), mode);
                }
                Event::Packet(source, pause_ms) => {
                    now_ms += pause_ms;
                    let now = Timestamp::from_millis(now_ms);
                    let considered = latch.considers(now, sources[source]);
                    let before = format!("{latch:?}");
                    let observed = latch.observe(now, sources[source]);
                    if !considered {
                        prop_assert_eq!(observed, Observed::Refused);
                        prop_assert_eq!(format!("{latch:?}"), before);
                    }
                }
            }
        }
    }
}
