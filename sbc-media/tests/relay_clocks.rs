//! Codecs whose media clock is not that of telephony: sources that follow one another, sounds of our own between them,
//! and what is reported of it.

mod support;
use sbc_media::{
    dtmf::{Digit, Timing, event},
    g711::Law,
    noise::Noise,
    relay::{OWN_LEN_MAX, OutletParams, ReporterParams, Verdict, Voice, Yield},
    rtcp::Compound,
    rtp,
    source::Sound,
    stream::ClockRates,
    time::Timestamp,
    tone::{Country, Meaning, Player, Tone},
};
use std::time::Duration;
use support::*;

const OUT: u32 = 0xabcd_0123;
const OPUS: u8 = 96;
const VOICE: Voice = Voice {
    law: Law::Mu,
    payload_type: 0,
    ptime_ms: 20,
};

/// A sends Opus, AMR-WB, G.722, G.711 and events; B has an outlet.
fn session() -> Session {
    let mut session = Session::new();
    let clocks = [(OPUS, 48_000), (97, 16_000), (9, 8000), (0, 8000), (101, 48_000)];
    session.relay.set_clock_rates(A, ClockRates::new(clocks).as_ref());
    let params = OutletParams {
        ssrc: OUT,
        sequence: 1000,
        timestamp: 50_000,
        clock_rate: 8000,
        step: 160,
    };
    let now = Timestamp::from_millis(session.now_ms);
    session.relay.set_outlet(now, B, Some(&params));
    session
}

/// Timestamp and marker with which a packet of A leaves.
fn from_a(
    session: &mut Session,
    (payload_type, ssrc): (u8, u32),
    sequence: u16,
    timestamp: u32,
) -> (u32, bool) {
    let mut packet = rtp(sequence);
    packet[1] = payload_type;
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    let (verdict, bytes) = session.through(A.rtp(), A_RTP, &packet);
    assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
    let packet = rtp::Packet::new_checked(&bytes[..]).unwrap();
    assert_eq!(packet.ssrc(), OUT);
    (packet.timestamp(), packet.marker())
}

/// What is sent to B of our own until `ms` later.
fn own(session: &mut Session, ms: u64) -> Vec<(u64, Vec<u8>)> {
    let end = session.now_ms + ms;
    let mut packets = Vec::new();
    let due = |session: &Session| Some(session.relay.poll_timeout()?.as_nanos().div_ceil(1_000_000));
    while let Some(due) = due(session).filter(|due| *due <= end) {
        session.now_ms = session.now_ms.max(due);
        let mut buffer = [0; OWN_LEN_MAX];
        let now = Timestamp::from_millis(session.now_ms);
        while let Some(verdict) = session.relay.poll_transmit(now, &mut buffer) {
            let Verdict::Forward { len, .. } = verdict else {
                panic!("{verdict:?}");
            };
            packets.push((session.now_ms, buffer[..len].to_vec()));
        }
    }
    session.now_ms = end;
    packets
}

fn play(session: &mut Session, sound: Sound, yields: Yield) {
    let now = Timestamp::from_millis(session.now_ms);
    assert!(session.relay.play(now, B, VOICE, sound, yields));
}

fn timestamp(packet: &[u8]) -> u32 {
    rtp::Packet::new_checked(packet).unwrap().timestamp()
}

#[test]
fn another_source_is_as_much_later_as_time_has_passed() {
    for (payload_type, units) in [(OPUS, 48), (97, 16), (9, 8), (0, 8)] {
        let mut session = session();
        assert_eq!(from_a(&mut session, (payload_type, 7), 500, 9), (50_000, false));
        session.wait_ms(20);
        let next = 9 + 20 * units;
        assert_eq!(
            from_a(&mut session, (payload_type, 7), 501, next),
            (50_000 + 20 * units, false)
        );
        session.wait_ms(200);
        assert_eq!(
            from_a(&mut session, (payload_type, 8), 9, 7),
            (50_000 + 220 * units, true)
        );
        session.wait_ms(20);
        assert_eq!(
            from_a(&mut session, (payload_type, 8), 10, 7 + 20 * units),
            (50_000 + 240 * units, false)
        );
    }
}

#[test]
fn a_tone_hands_over_to_opus_and_noise_comes_after_it() {
    let mut session = session();
    let tone = Tone::of(Country::Gb, Meaning::Ringback);
    play(
        &mut session,
        Sound::Tone(Player::new(tone, Law::Mu, -10.0)),
        Yield::ToMedia,
    );
    let tones = own(&mut session, 100);
    let last = tones.last().map(|(at, packet)| (*at, timestamp(packet))).unwrap();
    assert_eq!(last, (1100, 50_000 + 5 * 160));
    session.wait_ms(20);
    // 20 ms of the tone's clock; then its own.
    let begin = last.1 + 160;
    assert_eq!(from_a(&mut session, (OPUS, 7), 1, 0), (begin, true));
    session.wait_ms(20);
    assert_eq!(from_a(&mut session, (OPUS, 7), 2, 960), (begin + 960, false));
    session.wait_ms(500);
    play(
        &mut session,
        Sound::Noise(Noise::new(Law::Mu, -60.0, 3)),
        Yield::ToMedia,
    );
    let noise = own(&mut session, 40);
    let first = begin + 960 + 500 * 48;
    let times: Vec<_> = noise.iter().map(|(_, packet)| timestamp(packet)).collect();
    assert_eq!(times, [first, first + 160, first + 320]);
    session.wait_ms(20);
    assert_eq!(from_a(&mut session, (OPUS, 7), 3, 28_000), (first + 480, true));
    session.wait_ms(20);
    assert_eq!(from_a(&mut session, (OPUS, 7), 4, 28_960), (first + 1440, false));
}

#[test]
fn events_of_ours_stand_in_the_time_of_the_audio_around_them() {
    let mut session = session();
    assert_eq!(from_a(&mut session, (OPUS, 7), 1, 0), (50_000, false));
    session.wait_ms(20);
    let mut sender = event::Sender::new(Timing::default(), 10);
    sender.send(Digit::from_char('5').unwrap(), 800).unwrap();
    play(&mut session, Sound::Events(sender, 101), Yield::Never);
    let events = own(&mut session, 0);
    assert_eq!(timestamp(&events[0].1), 50_960);
    assert_eq!(from_a(&mut session, (OPUS, 7), 2, 960), (50_960, false));
}

#[test]
fn reports_have_the_clock_and_the_jitter_of_the_codec() {
    let mut session = session();
    for pair in [A, B] {
        let params = ReporterParams {
            ssrc: 3,
            interval: Duration::from_secs(5),
            seed: 3,
        };
        let now = Timestamp::from_millis(session.now_ms);
        session.relay.set_reporter(now, pair, Some(&params));
    }
    // A packet of 20 ms of Opus, every other one 10 ms late.
    let mut reports = Vec::new();
    for n in 0..2500u16 {
        let (left, _) = from_a(&mut session, (OPUS, 7), n, u32::from(n) * 960);
        let at = session.now_ms;
        let wait = if n % 2 == 0 { 30 } else { 10 };
        let sent = own(&mut session, wait).into_iter();
        reports.extend(sent.map(|(due, report)| (due - at, left, report)));
    }
    let (mut senders, mut receivers) = (0, 0);
    for (after, left, report) in reports {
        let packet = Compound::new_checked(&report).unwrap().packets().next().unwrap();
        if let Some(info) = packet.sender_info() {
            assert_eq!(packet.ssrc(), Some(OUT));
            assert_eq!(info.timestamp, left + after as u32 * 48);
            senders += 1;
        } else {
            let jitter = packet.reports().next().unwrap().jitter();
            assert!(jitter.abs_diff(480) < 40, "{jitter}");
            receivers += 1;
        }
    }
    assert!(senders >= 3 && receivers >= 3, "{senders} {receivers}");
    let stats = session.relay.stats(A);
    assert!((stats.jitter_ms - 10.0).abs() < 0.5, "{}", stats.jitter_ms);
    // The pair is another call's afterwards.
    session.relay.close(A);
    assert!(session.relay.open(A, B));
    session.remote(A, A_RTP);
    session
        .relay
        .set_outlet(Timestamp::from_millis(session.now_ms), B, None);
    for n in 0..100u16 {
        let mut packet = rtp(n);
        packet[1] = OPUS;
        session.send(A.rtp(), A_RTP, &mut packet);
        session.wait_ms(20);
    }
    assert_eq!(session.relay.stats(A).jitter_ms, 0.0);
}
