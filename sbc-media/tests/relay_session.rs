//! Which pairs exchange packets, from opening to closing.

mod support;
use sbc_media::relay::{DropReason, MediaSocket, PairIndex, Relay};
use support::*;

const C: PairIndex = PairIndex(2);
const C_RTP: &str = "198.51.100.9:7000";

#[test]
fn packets_cross_to_the_other_pair_unchanged() {
    let mut session = Session::new();
    let sent = rtp(7);
    let mut packet = sent;
    assert_eq!(session.send(A.rtp(), A_RTP, &mut packet), to(B.rtp(), B_RTP));
    assert_eq!(packet, sent);
    assert_eq!(session.rtp(B, B_RTP), to(A.rtp(), A_RTP));
    assert_eq!(session.rtcp(A, A_RTCP), to(B.rtcp(), B_RTCP));
    assert_eq!(session.rtcp(B, B_RTCP), to(A.rtcp(), A_RTCP));
}

#[test]
fn packets_for_no_call_go_nowhere() {
    let mut relay = Relay::new(2);
    let mut packet = rtp(1);
    let now = sbc_media::time::Timestamp::ZERO;
    // Neither a pair that was never bound, nor one that waits for a call.
    assert_eq!(
        relay.forward(now, A.rtp(), addr(A_RTP), &mut packet, 172),
        NO_SESSION
    );
    relay.add_pair(A);
    assert_eq!(
        relay.forward(now, A.rtp(), addr(A_RTP), &mut packet, 172),
        NO_SESSION
    );
    assert_eq!(
        relay.forward(now, MediaSocket(u32::MAX), addr(A_RTP), &mut packet, 172),
        NO_SESSION
    );
    assert_eq!(relay.counters().drops(DropReason::NoSession), 3);
}

#[test]
fn closing_one_pair_ends_both_directions() {
    let mut session = Session::flowing();
    session.relay.close(A);
    assert_eq!(session.rtp(A, A_RTP), NO_SESSION);
    assert_eq!(session.rtcp(A, A_RTCP), NO_SESSION);
    assert_eq!(session.rtp(B, B_RTP), NO_DESTINATION);
    session.relay.close(B);
    assert_eq!(session.rtp(B, B_RTP), NO_SESSION);
}

#[test]
fn a_pair_used_again_knows_nothing_of_the_call_before() {
    let mut session = Session::flowing();
    session.relay.close(A);
    session.relay.close(B);
    session.relay.open(A, B);
    assert_eq!(session.rtp(A, A_RTP), WRONG_SOURCE);
    let stats = session.relay.stats(A);
    assert_eq!((stats.packets, stats.signalled, stats.wrong_source), (0, None, 1));
}

#[test]
fn a_leg_can_be_exchanged_under_a_running_call() {
    let mut session = Session::flowing();
    session.relay = {
        let mut relay = Relay::new(3);
        for pair in [A, B, C] {
            relay.add_pair(pair);
        }
        relay.open(A, B);
        relay
    };
    session.remote(A, A_RTP);
    session.remote(B, B_RTP);
    session.rtp(A, A_RTP);
    session.relay.open(A, C);
    session.remote(C, C_RTP);
    assert_eq!(session.rtp(A, A_RTP), to(C.rtp(), C_RTP));
    assert_eq!(session.relay.stats(A).packets, 2);
    assert_eq!(session.rtp(C, C_RTP), to(A.rtp(), A_RTP));
    // The former partner reaches nobody, and ending it does not end the call.
    assert_eq!(session.rtp(B, B_RTP), NO_DESTINATION);
    session.relay.close(B);
    assert_eq!(session.rtp(A, A_RTP), to(C.rtp(), C_RTP));
}

#[test]
fn impossible_pairs_are_refused() {
    let mut relay = Relay::new(2);
    assert!(relay.add_pair(A));
    assert!(!relay.add_pair(C), "beyond the bound");
    assert!(!relay.open(A, A));
    assert!(!relay.open(A, B), "never added");
    assert!(!relay.open(A, PairIndex(u32::MAX)));
    assert!(
        !relay.open(A, PairIndex(1 << 31)),
        "its socket numbers would wrap"
    );
}
