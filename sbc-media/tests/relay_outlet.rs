//! The outlet of a pair: one stream to its peer, whoever sends, and packets of our own in it.

mod support;
use sbc_media::{
    dtmf::{Digit, Timing, event, inband},
    g711::Law,
    relay::{DropReason, MediaEvent, OWN_LEN_MAX, OutletParams, PairIndex, Verdict, Voice, Yield},
    rtp,
    source::Sound,
    time::Timestamp,
    tone::{Country, Meaning, Player, Tone},
};
use support::*;

const OUT: u32 = 0xabcd_0123;
const VOICE: Voice = Voice {
    law: Law::A,
    payload_type: 8,
    ptime_ms: 20,
};

fn outlet(session: &mut Session, pair: PairIndex) {
    let params = OutletParams {
        ssrc: OUT,
        sequence: 1000,
        timestamp: 50_000,
        clock_rate: 8000,
        step: 160,
    };
    let now = Timestamp::from_millis(session.now_ms);
    session.relay.set_outlet(now, pair, Some(&params));
}

fn play(session: &mut Session, sound: Sound, yields: Yield) {
    let now = Timestamp::from_millis(session.now_ms);
    assert!(session.relay.play(now, B, VOICE, sound, yields));
}

fn ringback() -> Sound {
    Sound::Tone(Player::new(
        Tone::of(Country::Gb, Meaning::Ringback),
        Law::A,
        -10.0,
    ))
}

fn digits() -> Sound {
    let mut generator = inband::Generator::new(Law::A, -9.0, -7.0, Timing::default());
    generator.send(Digit::from_char('5').unwrap(), 800).unwrap();
    Sound::Digits(generator)
}

fn events() -> Sound {
    let mut sender = event::Sender::new(Timing::default(), 10);
    sender.send(Digit::from_char('5').unwrap(), 800).unwrap();
    Sound::Events(sender, 101)
}

/// SSRC, sequence number, timestamp, marker, payload type.
type Seen = (u32, u16, u32, bool, u8);

fn seen(bytes: &[u8]) -> Seen {
    let packet = rtp::Packet::new_checked(bytes).unwrap();
    (
        packet.ssrc(),
        packet.sequence(),
        packet.timestamp(),
        packet.marker(),
        packet.payload_type(),
    )
}

/// What leaves for B of a packet of A.
fn from_a(session: &mut Session, ssrc: u32, sequence: u16, timestamp: u32) -> Result<Seen, DropReason> {
    let mut packet = rtp(sequence);
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    match session.through(A.rtp(), A_RTP, &packet) {
        (Verdict::Forward { .. }, bytes) => Ok(seen(&bytes)),
        (Verdict::Drop(reason), _) => Err(reason),
    }
}

/// What we send of our own until `ms` later, with its time.
fn own(session: &mut Session, ms: u64) -> Vec<(u64, Seen)> {
    let end = session.now_ms + ms;
    let mut packets = Vec::new();
    while let Some(due) = session.relay.poll_timeout().filter(|due| due.as_millis() <= end) {
        session.now_ms = session.now_ms.max(due.as_millis());
        let mut buffer = [0; OWN_LEN_MAX];
        let now = Timestamp::from_millis(session.now_ms);
        while let Some(verdict) = session.relay.poll_transmit(now, &mut buffer) {
            let Verdict::Forward { socket, to: _, len } = verdict else {
                panic!("{verdict:?}");
            };
            assert_eq!(socket, B.rtp());
            packets.push((session.now_ms, seen(&buffer[..len])));
        }
        assert!(
            session.relay.poll_timeout().is_none_or(|due| due > now),
            "what is due was sent"
        );
    }
    session.now_ms = end;
    packets
}

fn happened(session: &mut Session) -> Vec<(PairIndex, MediaEvent)> {
    std::iter::from_fn(|| session.relay.poll_event()).collect()
}

#[test]
fn a_source_that_changes_stays_one_stream() {
    let mut session = Session::flowing();
    outlet(&mut session, B);
    assert_eq!(from_a(&mut session, 7, 500, 0), Ok((OUT, 1000, 50_000, false, 8)));
    session.wait_ms(20);
    assert_eq!(
        from_a(&mut session, 7, 501, 160),
        Ok((OUT, 1001, 50_160, false, 8))
    );
    session.wait_ms(40);
    // Another source, after a gap of two packet times.
    assert_eq!(
        from_a(&mut session, 8, 9, 70_000),
        Ok((OUT, 1002, 50_480, true, 8))
    );
    session.wait_ms(20);
    assert_eq!(
        from_a(&mut session, 8, 10, 70_160),
        Ok((OUT, 1003, 50_640, false, 8))
    );
    // What the one before had still on its way comes too late, but one that was only overtaken does not.
    assert_eq!(from_a(&mut session, 7, 499, 0), Err(DropReason::Displaced));
    let stats = session.relay.stats(A);
    assert_eq!((stats.displaced, stats.packets), (1, 6));
    assert_eq!(session.relay.counters().drops(DropReason::Displaced), 1);
}

#[test]
fn the_other_direction_passes_as_it_came() {
    let mut session = Session::flowing();
    outlet(&mut session, B);
    let packet = rtp(77);
    assert_eq!(session.through(B.rtp(), B_RTP, &packet).1, packet);
}

#[test]
fn a_stream_that_runs_goes_on_and_one_that_ended_begins_anew() {
    let mut session = Session::flowing();
    outlet(&mut session, B);
    assert_eq!(from_a(&mut session, 7, 500, 0).unwrap().1, 1000);
    outlet(&mut session, B);
    assert_eq!(from_a(&mut session, 7, 501, 160).unwrap().1, 1001);
    assert!(session.relay.has_outlet(B) && !session.relay.has_outlet(A));
    session.relay.set_outlet(Timestamp::ZERO, B, None);
    assert!(!session.relay.has_outlet(B));
    assert_eq!(from_a(&mut session, 7, 502, 320), Ok((7, 502, 320, false, 8)));
    outlet(&mut session, B);
    assert_eq!(from_a(&mut session, 7, 503, 480).unwrap().1, 1000);
}

#[test]
fn ringback_yields_to_media() {
    let mut session = Session::flowing();
    outlet(&mut session, B);
    play(&mut session, ringback(), Yield::ToMedia);
    let start = session.now_ms;
    let packets = own(&mut session, 100);
    let expected: Vec<_> = (0..6u16)
        .map(|n| {
            let numbers = (OUT, 1000 + n, 50_000 + u32::from(n) * 160, false, 8);
            (start + u64::from(n) * 20, numbers)
        })
        .collect();
    assert_eq!(packets, expected);
    assert_eq!(session.relay.counters().originated, 6);
    session.wait_ms(10);
    assert_eq!(from_a(&mut session, 7, 500, 0), Ok((OUT, 1006, 50_960, true, 8)));
    assert_eq!(happened(&mut session), [(B, MediaEvent::Yielded)]);
    assert_eq!(session.relay.poll_timeout(), None);
    assert_eq!(own(&mut session, 1000), []);
}

#[test]
fn digits_as_audio_displace_media_and_tell_when_they_are_over() {
    let mut session = Session::flowing();
    outlet(&mut session, B);
    assert_eq!(from_a(&mut session, 7, 500, 0).unwrap().1, 1000);
    session.wait_ms(20);
    play(&mut session, digits(), Yield::Never);
    let mut last = None;
    for n in 1..20u16 {
        let displaced = happened(&mut session).is_empty();
        let packet = own(&mut session, 0);
        let media = from_a(&mut session, 7, 500 + n, u32::from(n) * 160);
        if let Some((_, numbers)) = packet.last() {
            assert_eq!(media, Err(DropReason::Displaced));
            assert_eq!(numbers.1, 1000 + n);
            last = Some(*numbers);
        } else if let Some((_, sequence, timestamp, ..)) = last.filter(|_| displaced) {
            // The digit is over: media goes on right behind it.
            let expected = (OUT, sequence + 1, timestamp + 160, true, 8);
            assert_eq!(media, Ok(expected));
            assert_eq!(happened(&mut session), [(B, MediaEvent::Played)]);
            return;
        }
        session.wait_ms(20);
    }
    panic!("the digit never ended");
}

#[test]
fn events_are_inserted_among_audio() {
    let mut session = Session::flowing();
    outlet(&mut session, B);
    assert_eq!(from_a(&mut session, 7, 500, 0).unwrap().1, 1000);
    session.wait_ms(20);
    play(&mut session, events(), Yield::ToMedia);
    let (mut sequences, mut of_events) = (vec![1000], 0);
    for n in 1..30u16 {
        for (_, (_, sequence, _, _, payload_type)) in own(&mut session, 0) {
            assert_eq!(payload_type, 101);
            sequences.push(sequence);
            of_events += 1;
        }
        let media = from_a(&mut session, 7, 500 + n, u32::from(n) * 160).unwrap();
        assert_eq!((media.3, media.4), (false, 8));
        sequences.push(media.1);
        session.wait_ms(20);
    }
    // 100 ms, and the end three times.
    assert!(of_events >= 7, "{of_events}");
    let expected: Vec<_> = (1000..).take(sequences.len()).collect();
    assert_eq!(sequences, expected);
    assert_eq!(happened(&mut session), [(B, MediaEvent::Played)]);
}

#[test]
fn nothing_of_our_own_reaches_a_peer_that_may_not_be_sent_to() {
    let mut session = Session::flowing();
    outlet(&mut session, B);
    let hold = |session: &mut Session, held: bool| {
        let mut remote = remote(B_RTP);
        remote.send = !held;
        session.relay.set_remote(B, remote);
    };
    hold(&mut session, true);
    play(&mut session, ringback(), Yield::ToMedia);
    assert_eq!(own(&mut session, 1000), []);
    assert_eq!(session.relay.poll_timeout(), None, "nobody is woken for it");
    assert_eq!(from_a(&mut session, 7, 500, 0), Err(DropReason::NoDestination));
    hold(&mut session, false);
    let packets = own(&mut session, 40);
    assert_eq!(packets.len(), 3, "{packets:?}");
    assert_eq!(packets[0].1.1, 1000, "no number was used up");
    // In the middle of it.
    hold(&mut session, true);
    assert_eq!(own(&mut session, 1000), []);
    hold(&mut session, false);
    assert_eq!(own(&mut session, 0).first().unwrap().1.1, 1003);
}

#[test]
fn media_during_hold_uses_no_numbers() {
    let mut session = Session::flowing();
    outlet(&mut session, B);
    assert_eq!(from_a(&mut session, 7, 0, 0).unwrap().1, 1000);
    let mut on_hold = remote(B_RTP);
    on_hold.send = false;
    session.relay.set_remote(B, on_hold);
    for n in 1..10_000u16 {
        session.wait_ms(20);
        let dropped = from_a(&mut session, 7, n, u32::from(n) * 160);
        assert_eq!(dropped, Err(DropReason::NoDestination));
    }
    session.remote(B, B_RTP);
    session.wait_ms(20);
    let resumed = from_a(&mut session, 7, 10_000, 1_600_000);
    assert_eq!(resumed, Ok((OUT, 1001, 1_650_000, false, 8)));
}

#[test]
fn a_sound_can_be_stopped_appended_to_and_replaced() {
    let mut session = Session::flowing();
    let now = Timestamp::from_millis(session.now_ms);
    assert!(
        !session.relay.play(now, B, VOICE, ringback(), Yield::Never),
        "no outlet"
    );
    outlet(&mut session, B);
    assert!(session.relay.sound_mut(B).is_none());
    play(&mut session, ringback(), Yield::Never);
    assert_eq!(own(&mut session, 25).len(), 2);
    session.relay.stop(B);
    assert_eq!(
        (session.relay.poll_timeout(), happened(&mut session)),
        (None, vec![])
    );
    play(&mut session, ringback(), Yield::Never);
    assert_eq!(own(&mut session, 5).len(), 1);
    // What replaces it keeps the time of the packets.
    play(&mut session, digits(), Yield::Never);
    let due = session.relay.poll_timeout().unwrap();
    assert_eq!(due.as_millis(), session.now_ms + 15);
    let Some(Sound::Digits(generator)) = session.relay.sound_mut(B) else {
        panic!("digits are played");
    };
    generator.send(Digit::from_char('6').unwrap(), 800).unwrap();
    let packets = own(&mut session, 1000);
    assert!(packets.len() > 10, "two digits: {packets:?}");
    assert_eq!(happened(&mut session), [(B, MediaEvent::Played)]);
}

#[test]
fn a_pair_that_is_closed_plays_nothing() {
    let mut session = Session::flowing();
    outlet(&mut session, B);
    play(&mut session, ringback(), Yield::ToMedia);
    assert!(session.relay.poll_timeout().is_some());
    session.relay.close(B);
    assert_eq!(session.relay.poll_timeout(), None);
    assert!(session.relay.open(A, B));
    assert!(!session.relay.has_outlet(B));
    session.relay.set_outlet(Timestamp::ZERO, PairIndex(99), None);
}
