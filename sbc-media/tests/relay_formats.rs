//! Payload types and laws between two sides that have agreed to different ones.

mod support;
use sbc_media::{
    g711,
    relay::{Action, DropReason, Formats, Verdict},
    rtp::Packet,
};
use support::*;

const FORMAT: Verdict = Verdict::Drop(DropReason::Format);

/// What A sends: A-law, G.729, comfort noise, digits as 101, and something that nobody agreed to.
fn formats() -> Formats {
    let mut formats = Formats([Action::Drop; 128]);
    formats.0[8] = Action::AlawToUlaw(0);
    formats.0[13] = Action::Pass;
    formats.0[18] = Action::Renumber(96);
    formats.0[101] = Action::Renumber(110);
    formats
}

fn session() -> Session {
    let mut session = Session::flowing();
    session.relay.set_formats(A, Some(&formats()));
    session
}

fn of_type(payload_type: u8) -> [u8; 172] {
    let mut packet = rtp(77);
    packet[1] = payload_type;
    for (octet, value) in packet[12..].iter_mut().zip(0..) {
        *octet = value;
    }
    packet
}

#[test]
fn alaw_becomes_ulaw_and_nothing_else_changes() {
    let mut session = session();
    for marker in [0, 0x80] {
        let sent = of_type(8 | marker);
        let (verdict, left) = session.through(A.rtp(), A_RTP, &sent);
        assert_eq!(verdict, to(B.rtp(), B_RTP));
        let mut expected = sent;
        expected[1] = marker;
        for octet in &mut expected[12..] {
            *octet = g711::ALAW_TO_ULAW[usize::from(*octet)];
        }
        assert_eq!(left, expected);
    }
}

#[test]
fn ulaw_becomes_alaw() {
    let mut session = session();
    let mut back = Formats::PASS;
    back.0[0] = Action::UlawToAlaw(8);
    session.relay.set_formats(B, Some(&back));
    let (_, left) = session.through(B.rtp(), B_RTP, &of_type(0));
    let mut expected = of_type(8);
    g711::ulaw_to_alaw(&mut expected[12..]);
    assert_eq!(left, expected);
    // What the table does not touch passes in this direction.
    assert_eq!(session.through(B.rtp(), B_RTP, &of_type(18)).1, of_type(18));
}

#[test]
fn only_the_payload_is_transcoded() {
    let mut session = session();
    // Two CSRCs, an extension of one word, 8 octets of payload, 4 of padding.
    let mut sent = vec![0xb2, 8, 0, 1, 0, 0, 0, 160, 0, 0, 0, 1];
    sent.extend([
        0xd5, 0xd5, 0xd5, 1, 0xd5, 0xd5, 0xd5, 2, 0xbe, 0xde, 0, 1, 0xd5, 0xd5, 0xd5, 3,
    ]);
    sent.extend([0xd5; 8]);
    sent.extend([0xd5, 0xd5, 0xd5, 4]);
    let (_, left) = session.through(A.rtp(), A_RTP, &sent);
    let mut expected = sent;
    expected[1] = 0;
    expected[28..36].fill(0xfe);
    assert_eq!(left, expected);
}

#[test]
fn events_and_noise_never_go_through_the_tables() {
    let mut session = session();
    let event = |payload_type: u8| {
        let mut packet = rtp(78)[..16].to_vec();
        packet[1] = 0x80 | payload_type;
        packet[12..].copy_from_slice(&[5, 10, 0, 160]);
        packet
    };
    assert_eq!(session.through(A.rtp(), A_RTP, &event(101)).1, event(110));
    let mut noise = rtp(79)[..13].to_vec();
    (noise[1], noise[12]) = (13, 40);
    assert_eq!(session.through(A.rtp(), A_RTP, &noise).1, noise);
}

#[test]
fn a_format_that_was_not_agreed_is_dropped_and_counted_and_silences_nothing() {
    let mut session = session();
    for round in 0..10 {
        let (verdict, left) = session.through(A.rtp(), A_RTP, &of_type(111));
        assert_eq!((verdict, left.len()), (FORMAT, 0));
        assert_eq!(session.rtp(A, A_RTP), to(B.rtp(), B_RTP), "{round}");
    }
    assert_eq!(session.relay.stats(A).format, 10);
    assert_eq!(session.relay.counters().drops(DropReason::Format), 10);
    // They came all the same: the peer is alive, and nothing is missing.
    assert_eq!(session.relay.stats(A).packets, 21);
}

#[test]
fn a_stranger_is_refused_before_its_format_is_looked_at() {
    let mut session = session();
    assert_eq!(session.through(A.rtp(), STRANGER, &of_type(111)).0, WRONG_SOURCE);
    assert_eq!(session.through(A.rtp(), A_RTP, &of_type(8)[..11]).0, MALFORMED);
}

#[test]
fn rtcp_has_no_format() {
    let mut session = session();
    assert_eq!(session.through(A.rtp(), A_RTP, &rtcp()).1, rtcp());
    assert_eq!(session.through(A.rtcp(), A_RTCP, &rtcp()).1, rtcp());
}

#[test]
fn formats_are_of_one_direction_and_end_when_they_are_taken_back_or_the_call_ends() {
    let mut session = session();
    assert_eq!(session.through(B.rtp(), B_RTP, &of_type(8)).1, of_type(8));
    session.relay.set_formats(A, None);
    assert_eq!(session.through(A.rtp(), A_RTP, &of_type(8)).1, of_type(8));
    session.relay.set_formats(A, Some(&formats()));
    session.relay.close(A);
    session.relay.open(A, B);
    session.remote(A, A_RTP);
    assert_eq!(session.through(A.rtp(), A_RTP, &of_type(8)).1, of_type(8));
    // A pair that is not part of a call takes none.
    session.relay.close(A);
    session.relay.set_formats(A, Some(&formats()));
    session.relay.open(A, B);
    session.remote(A, A_RTP);
    assert_eq!(session.through(A.rtp(), A_RTP, &of_type(8)).1, of_type(8));
}

#[test]
fn every_octet_of_both_laws_crosses_by_the_recommendation() {
    let mut session = session();
    let mut sent = rtp(80)[..12].to_vec();
    sent.extend(0..=255u8);
    let (_, left) = session.through(A.rtp(), A_RTP, &sent);
    let packet = Packet::new_checked(&left[..]).unwrap();
    assert_eq!(packet.payload_type(), 0);
    assert_eq!(packet.payload(), g711::ALAW_TO_ULAW);
}
