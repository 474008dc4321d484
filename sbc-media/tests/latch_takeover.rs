//! Strangers that race the peer for the latch.

mod support;
use sbc_media::latch::LEARNING_WINDOW;
use support::*;

const WINDOW_MS: u64 = LEARNING_WINDOW.as_millis() as u64;

#[test]
fn the_signalled_address_takes_the_latch_back_within_the_window() {
    let mut session = Session::new();
    session.rtp(A, STRANGER);
    session.rtp(A, STRANGER);
    assert_eq!(session.relay.stats(A).latched, Some(addr(STRANGER)));
    session.wait_ms(WINDOW_MS - 1);
    assert_eq!(session.rtp(A, A_RTP), to(B.rtp(), B_RTP));
    assert_eq!(session.rtp(A, STRANGER), WRONG_SOURCE);
    assert_eq!(session.destination(A), to(A.rtp(), A_RTP));
}

#[test]
fn after_the_window_the_learned_address_is_final() {
    let mut session = Session::new();
    for _ in 0..=WINDOW_MS / 20 + 1 {
        assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
        session.wait_ms(20);
    }
    assert_eq!(session.rtp(A, A_RTP), WRONG_SOURCE);
    assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
}

#[test]
fn one_hostile_packet_first_does_not_silence_a_peer_behind_nat() {
    let mut session = Session::new();
    session.rtp(A, STRANGER);
    for _ in 0..100 {
        session.wait_ms(20);
        assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
    }
    assert_eq!(session.destination(A), to(A.rtp(), NAT));
}

#[test]
fn one_hostile_packet_does_not_take_media_from_a_peer_that_only_listens() {
    let mut session = Session::new();
    session.rtp(A, STRANGER);
    session.wait_ms(10_000);
    assert_eq!(session.destination(A), to(A.rtp(), A_RTP));
}

#[test]
fn a_stranger_that_falls_silent_gives_the_latch_up() {
    let mut session = Session::new();
    session.rtp(A, STRANGER);
    session.rtp(A, STRANGER);
    let mut refused = 0;
    for _ in 0..100 {
        session.wait_ms(20);
        refused += u64::from(session.rtp(A, NAT) == WRONG_SOURCE);
    }
    assert_eq!(refused, WINDOW_MS / 20 - 1);
    assert_eq!(session.destination(A), to(A.rtp(), NAT));
}

#[test]
fn a_stranger_cannot_touch_a_locked_latch_however_long_the_peer_is_silent() {
    let mut session = Session::flowing();
    for _ in 0..10 {
        session.wait_ms(WINDOW_MS * 2);
        assert_eq!(session.rtp(A, STRANGER), WRONG_SOURCE);
    }
    assert_eq!(session.destination(A), to(A.rtp(), A_RTP));
    assert_eq!(session.relay.stats(A).wrong_source, 10);
}

#[test]
fn malformed_packets_never_latch() {
    let mut session = Session::new();
    for bytes in [&mut [][..], &mut [0x80; 11], &mut [0x40; 172], &mut [0; 172]] {
        assert_eq!(session.send(A.rtp(), STRANGER, bytes), MALFORMED);
        assert_eq!(session.send(A.rtp(), A_RTP, bytes), MALFORMED);
    }
    assert_eq!(session.relay.stats(A).latched, None);
    assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
}
