//! A new SDP arms the latch again without interrupting what flows.

mod support;
use sbc_media::latch::LEARNING_WINDOW;
use sbc_media::latch::LatchMode;
use support::*;

const WINDOW_MS: u64 = LEARNING_WINDOW.as_millis() as u64;

fn behind_nat() -> Session {
    let mut session = Session::new();
    for _ in 0..=WINDOW_MS / 20 + 1 {
        session.rtp(A, NAT);
        session.wait_ms(20);
    }
    assert_eq!(session.rtp(A, A_RTP), WRONG_SOURCE, "locked");
    session
}

#[test]
fn an_unchanged_address_keeps_the_learned_one_going() {
    let mut session = behind_nat();
    session.remote(A, A_RTP);
    assert_eq!(session.destination(A), to(A.rtp(), NAT));
    assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
    assert_eq!(session.rtp(A, STRANGER), WRONG_SOURCE);
    assert_eq!(session.rtp(A, A_RTP), WRONG_SOURCE, "locked again");
}

#[test]
fn a_stranger_cannot_use_an_unchanged_renegotiation() {
    let mut session = behind_nat();
    session.remote(A, A_RTP);
    for _ in 0..5 {
        assert_eq!(session.rtp(A, STRANGER), WRONG_SOURCE);
        session.wait_ms(20);
    }
    assert_eq!(session.destination(A), to(A.rtp(), NAT));
    assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
}

#[test]
fn a_peer_whose_nat_moved_is_found_after_the_window() {
    let mut session = behind_nat();
    session.remote(A, A_RTP);
    let moved = "203.0.113.5:2048";
    let mut refused_ms = 0;
    while session.rtp(A, moved) == WRONG_SOURCE {
        session.wait_ms(20);
        refused_ms += 20;
        assert!(refused_ms <= WINDOW_MS);
    }
    assert_eq!(refused_ms, WINDOW_MS);
    assert_eq!(session.destination(A), to(A.rtp(), moved));
}

#[test]
fn a_changed_address_is_sent_to_at_once_and_latched_with_its_first_packet() {
    let mut session = Session::flowing();
    session.remote(A, A2_RTP);
    assert_eq!(session.destination(A), to(A.rtp(), A2_RTP));
    assert_eq!(session.rtp(A, A2_RTP), to(B.rtp(), B_RTP));
    assert_eq!(session.rtp(A, A_RTP), WRONG_SOURCE);
}

#[test]
fn late_packets_of_the_old_address_do_not_win_over_the_new_one() {
    let mut session = Session::flowing();
    session.remote(A, A2_RTP);
    for _ in 0..10 {
        assert_eq!(session.rtp(A, A_RTP), WRONG_SOURCE);
        session.wait_ms(20);
    }
    assert_eq!(session.destination(A), to(A.rtp(), A2_RTP));
    // The new peer is behind NAT and not held up.
    assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
    assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
    assert_eq!(session.destination(A), to(A.rtp(), NAT));
}

#[test]
fn a_peer_that_keeps_sending_from_the_old_address_is_accepted_again() {
    let mut session = Session::flowing();
    session.remote(A, A2_RTP);
    for _ in 0..WINDOW_MS / 20 {
        assert_eq!(session.rtp(A, A_RTP), WRONG_SOURCE);
        session.wait_ms(20);
    }
    assert_eq!(session.rtp(A, A_RTP), to(B.rtp(), B_RTP));
}

#[test]
fn the_same_answer_in_183_and_200_does_not_prolong_the_window() {
    let mut session = Session::new();
    for _ in 0..=WINDOW_MS / 20 + 1 {
        assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
        if session.now_ms < 1000 + WINDOW_MS / 2 {
            session.remote(A, A_RTP);
        }
        session.wait_ms(20);
    }
    assert_eq!(
        session.rtp(A, A_RTP),
        WRONG_SOURCE,
        "locked when the first window was over"
    );
}

#[test]
fn hold_without_an_address_keeps_the_learned_one_for_resume() {
    let mut session = behind_nat();
    let hold = sbc_media::relay::Remote {
        rtp: None,
        rtcp: None,
        send: false,
        mux: false,
        latch: LatchMode::default(),
    };
    session.relay.set_remote(A, hold);
    assert_eq!(session.destination(A), NO_DESTINATION);
    assert_eq!(session.rtp(A, STRANGER), WRONG_SOURCE);
    session.remote(A, A_RTP);
    assert_eq!(session.destination(A), to(A.rtp(), NAT));
    assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
}
