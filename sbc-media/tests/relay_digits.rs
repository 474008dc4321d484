//! Digits that a peer sends as events or tones, in a relay that listens for them.

mod support;

use sbc_media::{
    dtmf::{
        Digit, Report, Timing,
        event::Event,
        inband::{Detector, Generator, HIGH_DBM0, LOW_DBM0},
    },
    g711::Law,
    relay::{DropReason, Keys, Listen, MediaEvent, OutletParams, Roc, Verdict},
    rtp,
    srtp::{MasterKey, OVERHEAD_MAX, Receiver, Sender, Suite},
    time::Timestamp,
};
use support::*;

const EVENTS: Listen = Listen::Events { payload_type: 101 };
const TONES: Listen = Listen::Tones {
    mu: Some(0),
    a: Some(8),
};
const TAKEN: Verdict = Verdict::Drop(DropReason::Digit);

fn outlet() -> OutletParams {
    OutletParams {
        ssrc: 0xb0b,
        sequence: 500,
        timestamp: 9000,
        clock_rate: 8000,
        step: 160,
    }
}

/// A's digits are listened for, and what leaves for B is one stream.
fn session(listen: Listen) -> Session {
    let mut session = Session::flowing();
    let now = Timestamp::from_millis(session.now_ms);
    session.relay.set_outlet(now, B, Some(&outlet()));
    session.relay.set_digits(A, Some(listen));
    session
}

/// A packet with an event of digit 5.
fn event(sequence: u16, timestamp: u32, duration: u16, end: bool) -> Vec<u8> {
    let mut packet = rtp(sequence)[..12].to_vec();
    packet[1] = 101;
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    let event = Event {
        code: 5,
        end,
        volume: 10,
        duration,
    };
    packet.extend_from_slice(&event.to_bytes());
    packet
}

fn told(session: &mut Session) -> Vec<Report> {
    let events = std::iter::from_fn(|| session.relay.poll_event());
    let digit = |(pair, event)| match event {
        MediaEvent::Digit(report) => {
            assert_eq!(pair, A);
            Some(report)
        }
        _ => None,
    };
    events.filter_map(digit).collect()
}

fn five() -> Digit {
    Digit::from_char('5').unwrap()
}

fn sequence_of(packet: &[u8]) -> u16 {
    rtp::Packet::new_checked(packet).unwrap().sequence()
}

#[test]
fn events_are_told_once_and_leave_no_gap() {
    let mut session = session(EVENTS);
    let (_, first) = session.through(A.rtp(), A_RTP, &rtp(10));
    for (n, end) in [(0, false), (1, false), (2, true), (3, true), (4, true)] {
        session.wait_ms(20);
        let duration = 160 * (n.min(2) + 1);
        let (verdict, _) = session.through(A.rtp(), A_RTP, &event(11 + n, 1760, duration, end));
        assert_eq!(verdict, TAKEN);
    }
    session.wait_ms(20);
    let (verdict, next) = session.through(A.rtp(), A_RTP, &rtp(16));
    assert_eq!(verdict, to(B.rtp(), B_RTP));
    assert_eq!(sequence_of(&next), sequence_of(&first) + 1);
    let ended = Report::Ended {
        digit: five(),
        duration: 480,
    };
    assert_eq!(told(&mut session), [Report::Began(five()), ended]);
    assert_eq!(session.relay.counters().drops(DropReason::Digit), 5);
}

#[test]
fn an_event_of_which_nothing_comes_any_more_is_over() {
    let mut session = session(EVENTS);
    session.through(A.rtp(), A_RTP, &event(11, 1760, 160, false));
    assert_eq!(told(&mut session), [Report::Began(five())]);
    let due = session.relay.poll_timeout().unwrap();
    assert_eq!(due, Timestamp::from_millis(session.now_ms + 200));
    assert_eq!(session.relay.poll_transmit(due, &mut [0; 600]), None);
    let ended = Report::Ended {
        digit: five(),
        duration: 160,
    };
    assert_eq!(told(&mut session), [ended]);
    assert_eq!(session.relay.poll_timeout(), None);
}

#[test]
fn a_digit_that_is_under_way_when_nobody_listens_any_more_is_over() {
    for listen in [EVENTS, TONES] {
        let mut session = session(listen);
        if listen == EVENTS {
            session.through(A.rtp(), A_RTP, &event(11, 1760, 160, false));
        } else {
            press(&mut session, Law::A, 8, 4);
        }
        assert_eq!(told(&mut session), [Report::Began(five())]);
        session.relay.set_digits(A, Some(listen));
        assert_eq!(told(&mut session), [], "the same again changes nothing");
        session.relay.set_digits(A, None);
        assert!(matches!(told(&mut session)[..], [Report::Ended { digit, .. }] if digit == five()));
        assert_eq!(session.relay.poll_timeout(), None);
        let (verdict, left) = session.through(A.rtp(), A_RTP, &event(90, 14400, 160, false));
        assert!(matches!(verdict, Verdict::Forward { .. }));
        assert_eq!(left[12], 5, "events pass");
    }
}

/// `packets` of A with a digit 5 that does not end; what of them leaves.
fn press(session: &mut Session, law: Law, payload_type: u8, packets: u16) -> Vec<Vec<u8>> {
    let mut generator = Generator::new(law, LOW_DBM0, HIGH_DBM0, Timing::default());
    generator.begin(five()).unwrap();
    (0..packets)
        .map(|n| {
            let mut packet = rtp(10 + n);
            packet[1] = payload_type;
            assert!(generator.fill(&mut packet[12..]));
            session.wait_ms(20);
            session.through(A.rtp(), A_RTP, &packet).1
        })
        .collect()
}

#[test]
fn of_a_tone_less_than_two_packets_leave() {
    for (law, payload_type) in [(Law::Mu, 0), (Law::A, 8)] {
        let mut session = session(TONES);
        let left = press(&mut session, law, payload_type, 10);
        assert_eq!(told(&mut session), [Report::Began(five())]);
        let silent = |packet: &Vec<u8>| packet[12..].iter().all(|octet| *octet == law.silence());
        let loud = left.iter().take_while(|packet| !silent(packet)).count();
        assert!(loud <= 1, "{law:?}: {loud} packets of 20 ms leave");
        assert!(left[loud..].iter().all(silent));
        // Too little for a receiver that keeps to Q.24: 40 ms must be heard, 20 are not.
        let mut detector = Detector::new(law);
        let mut heard = 0;
        for packet in &left {
            detector.hear(&packet[12..], &mut |_| heard += 1);
        }
        assert_eq!(heard, 0);
    }
}

#[test]
fn a_tone_ends_with_its_audio_however_that_ends() {
    // Audio goes on without it.
    let mut one = session(TONES);
    press(&mut one, Law::A, 8, 5);
    for n in 15..20 {
        one.wait_ms(20);
        one.through(A.rtp(), A_RTP, &rtp(n));
    }
    assert_eq!(told(&mut one).len(), 2);
    // Nothing comes any more.
    let mut two = session(TONES);
    press(&mut two, Law::A, 8, 5);
    let due = two.relay.poll_timeout().unwrap();
    assert_eq!(two.relay.poll_transmit(due, &mut [0; 600]), None);
    assert_eq!(told(&mut two).len(), 2);
    // Silence is not sent: the next packet is from much later, by its timestamp.
    let mut three = session(TONES);
    press(&mut three, Law::A, 8, 5);
    let mut late = rtp(15);
    late[4..8].copy_from_slice(&(14 * 160 + 8000u32).to_be_bytes());
    let (_, left) = three.through(A.rtp(), A_RTP, &late);
    assert_eq!(told(&mut three).len(), 2);
    assert_eq!(left.len(), late.len());
    // The other law.
    let mut four = session(TONES);
    press(&mut four, Law::A, 8, 5);
    let mut other = rtp(15);
    other[1] = 0;
    four.through(A.rtp(), A_RTP, &other);
    assert_eq!(told(&mut four).len(), 2);
}

#[test]
fn a_packet_that_comes_again_is_not_heard_again() {
    let mut session = session(TONES);
    let mut generator = Generator::new(Law::A, LOW_DBM0, HIGH_DBM0, Timing::default());
    generator.send(five(), 640).unwrap();
    for n in 0..12 {
        let mut packet = rtp(10 + n);
        packet[12..].fill(Law::A.silence());
        generator.fill(&mut packet[12..]);
        session.wait_ms(20);
        session.through(A.rtp(), A_RTP, &packet);
        session.through(A.rtp(), A_RTP, &packet);
    }
    let told = told(&mut session);
    assert_eq!(told.len(), 2, "{told:?}");
    let Report::Ended { duration, .. } = told[1] else {
        panic!("{told:?}");
    };
    assert!(duration.abs_diff(640) <= 64, "{duration}");
}

#[test]
fn other_sources_and_other_payload_types_are_not_heard() {
    let mut session = session(EVENTS);
    session.through(A.rtp(), STRANGER, &event(11, 1760, 160, false));
    let mut other = event(12, 1760, 160, false);
    other[1] = 102;
    let (verdict, _) = session.through(A.rtp(), A_RTP, &other);
    assert!(matches!(verdict, Verdict::Forward { .. }));
    session.through(B.rtp(), B_RTP, &event(13, 1760, 160, false));
    assert_eq!(told(&mut session), []);
}

#[test]
fn flash_and_fax_events_are_taken_out_and_told_nobody() {
    let mut session = session(EVENTS);
    for code in [16, 32, 36, 255] {
        let mut packet = event(11, 1760, 160, false);
        packet[12] = code;
        assert_eq!(session.through(A.rtp(), A_RTP, &packet).0, TAKEN);
    }
    let mut short = event(12, 1760, 160, false);
    short.truncate(14);
    assert_eq!(session.through(A.rtp(), A_RTP, &short).0, TAKEN);
    assert_eq!(told(&mut session), []);
}

#[test]
fn between_keys_only_authentic_events_are_heard() {
    let suite = Suite::AesCm128Sha1_80;
    let key =
        |octet: u8| MasterKey::new(suite, &[octet; 46][..suite.key_bytes() + suite.salt_bytes()]).unwrap();
    let mut session = session(EVENTS);
    for (pair, own, peer) in [(A, 1, 2), (B, 3, 4)] {
        let keys = Keys {
            send: key(own),
            receive: key(peer),
            roc: Roc::Keep,
        };
        session.relay.set_keys(pair, Some(&keys));
    }
    let (mut a, mut b) = (Sender::new(&key(2)), Receiver::new(&key(3)));
    let mut through = |session: &mut Session, packet: &[u8], forge: bool| {
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + OVERHEAD_MAX, 0);
        let len = a.protect(&mut buffer, packet.len()).unwrap();
        buffer.truncate(len);
        if forge {
            buffer[13] ^= 1;
        }
        session.through(A.rtp(), A_RTP, &buffer)
    };
    let forged = through(&mut session, &event(10, 1600, 160, false), true);
    assert_eq!(forged.0, Verdict::Drop(DropReason::Unauthentic));
    assert_eq!(told(&mut session), []);
    let (_, mut first) = through(&mut session, &rtp(11), false);
    assert_eq!(through(&mut session, &event(12, 1760, 160, true), false).0, TAKEN);
    let (_, mut next) = through(&mut session, &rtp(13), false);
    assert_eq!(told(&mut session).len(), 2);
    let plain = [&mut first, &mut next].map(|packet| {
        let len = packet.len();
        let len = b.unprotect(packet, len).unwrap();
        sequence_of(&packet[..len])
    });
    assert_eq!(plain[0] + 1, plain[1]);
}
