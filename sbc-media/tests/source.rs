//! Packets of our own: when, with which numbers, and what is in them.

mod audio;

use audio::{decode, digit, digits, power, power_of};
use sbc_media::{
    dtmf::{
        Report, Timing,
        event::{Receiver, Sender},
        inband::{Generator, HIGH_DBM0, LOW_DBM0},
    },
    g711::Law,
    noise::{ComfortNoise, Noise},
    rtp,
    source::{PACKET_MAX, Sound, Source},
    splice::Splice,
    time::Timestamp,
    tone::{Country, Meaning, Player, Tone},
};

fn ms(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn ringback(law: Law) -> Player {
    Player::new(Tone::of(Country::Gb, Meaning::Ringback), law, -10.0)
}

struct Packet {
    at_ms: u64,
    bytes: Vec<u8>,
}

impl Packet {
    fn view(&self) -> rtp::Packet<&[u8]> {
        rtp::Packet::new_checked(&self.bytes[..]).unwrap()
    }
}

/// Everything that is sent from `from_ms` until before `to_ms`, each packet when it is due.
fn run(source: &mut Source, splice: &mut Splice, from_ms: u64, to_ms: u64) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut now = ms(from_ms);
    while now < ms(to_ms) {
        let mut buffer = [0; PACKET_MAX];
        while let Some(len) = source.write(now, splice, &mut buffer) {
            packets.push(Packet {
                at_ms: now.as_millis(),
                bytes: buffer[..len].to_vec(),
            });
        }
        match source.poll_timeout() {
            Some(due) => {
                assert!(due > now, "what is due was written");
                now = due;
            }
            None => break,
        }
    }
    packets
}

#[test]
fn a_tone_leaves_in_packets_of_every_ptime() {
    for ptime_ms in [10, 20, 30, 40, 60] {
        let samples = ptime_ms as usize * 8;
        let mut source = Source::new(Law::A, 8, ptime_ms);
        let mut splice = Splice::new(ms(0), 5, 65_530, 77, samples as u32);
        assert_eq!(source.poll_timeout(), None);
        source.play(ms(100), Sound::Tone(ringback(Law::A)));
        let packets = run(&mut source, &mut splice, 100, 3100);
        assert_eq!(packets.len(), 3000usize.div_ceil(ptime_ms as usize));
        let mut audio = Vec::new();
        for (n, packet) in packets.iter().enumerate() {
            let view = packet.view();
            assert_eq!(packet.at_ms, 100 + n as u64 * u64::from(ptime_ms));
            assert_eq!((view.ssrc(), view.payload_type(), view.marker()), (5, 8, false));
            assert_eq!(view.sequence(), 65_530u16.wrapping_add(n as u16));
            assert_eq!(view.timestamp(), 77 + (n * samples) as u32);
            assert_eq!(view.payload().len(), samples);
            audio.extend_from_slice(view.payload());
        }
        let mut expected = vec![0; audio.len()];
        ringback(Law::A).fill(&mut expected);
        assert_eq!(audio, expected);
    }
}

#[test]
fn real_media_takes_over_and_hands_back() {
    let mut source = Source::new(Law::Mu, 0, 20);
    let mut splice = Splice::new(ms(0), 5, 10, 1000, 160);
    source.play(ms(0), Sound::Tone(ringback(Law::Mu)));
    let tone = run(&mut source, &mut splice, 0, 200);
    assert_eq!(
        (tone.len(), tone[9].view().sequence(), tone[9].view().timestamp()),
        (10, 19, 2440)
    );
    source.stop();
    assert_eq!(source.poll_timeout(), None);
    for n in 0..10u16 {
        let at = 205 + u64::from(n) * 20;
        let numbers = splice.forward(ms(at), 99, 7000 + n, 160 * u32::from(n)).unwrap();
        let expected = (20 + n, 2600 + 160 * u32::from(n), n == 0);
        assert_eq!((numbers.sequence, numbers.timestamp, numbers.marker), expected);
    }
    // Hold: noise, from 40 ms after the last packet.
    source.play(ms(425), Sound::Noise(Noise::new(Law::Mu, -50.0, 1)));
    let noise = run(&mut source, &mut splice, 425, 525);
    assert_eq!(noise.len(), 5);
    for (n, packet) in noise.iter().enumerate() {
        let view = packet.view();
        let expected = (30 + n as u16, 4360 + 160 * n as u32, n == 0);
        assert_eq!((view.sequence(), view.timestamp(), view.marker()), expected);
    }
}

#[test]
fn another_sound_keeps_the_beat() {
    let mut source = Source::new(Law::A, 8, 20);
    let mut splice = Splice::new(ms(0), 5, 0, 0, 160);
    source.play(ms(0), Sound::Tone(ringback(Law::A)));
    run(&mut source, &mut splice, 0, 100);
    source.play(ms(93), Sound::Noise(Noise::new(Law::A, -40.0, 1)));
    assert_eq!(source.poll_timeout(), Some(ms(100)));
    let noise = run(&mut source, &mut splice, 100, 200);
    assert_eq!(
        (noise[0].view().sequence(), noise[0].view().timestamp()),
        (5, 800)
    );
    assert!(!noise[0].view().marker(), "the sender is the same");
}

/// Between two sounds nothing is sent, but time passes.
#[test]
fn a_pause_is_a_pause_in_time() {
    let mut source = Source::new(Law::A, 8, 20);
    let mut splice = Splice::new(ms(0), 5, 0, 0, 160);
    source.play(ms(0), Sound::Tone(ringback(Law::A)));
    run(&mut source, &mut splice, 0, 100);
    source.stop();
    source.play(ms(10_080), Sound::Noise(Noise::new(Law::A, -40.0, 1)));
    let noise = run(&mut source, &mut splice, 10_080, 10_120);
    let seen: Vec<_> = (noise.iter().map(Packet::view))
        .map(|view| (view.sequence(), view.timestamp(), view.marker()))
        .collect();
    assert_eq!(seen, [(5, 80_640, true), (6, 80_800, false)]);
}

/// A stall of the caller is not made up for with a burst: time and tone have gone on.
#[test]
fn what_was_missed_is_left_out() {
    let mut source = Source::new(Law::A, 8, 20);
    let mut splice = Splice::new(ms(0), 5, 0, 0, 160);
    source.play(ms(0), Sound::Tone(ringback(Law::A)));
    run(&mut source, &mut splice, 0, 100);
    // A little late: each packet still leaves.
    let late = run(&mut source, &mut splice, 170, 180);
    assert_eq!(
        late.iter().map(|packet| packet.at_ms).collect::<Vec<_>>(),
        [170; 4]
    );
    assert_eq!(late[3].view().timestamp(), 8 * 160);
    let later = run(&mut source, &mut splice, 1010, 1020);
    assert_eq!(later.len(), 1);
    assert_eq!(
        (later[0].view().sequence(), later[0].view().timestamp()),
        (9, 50 * 160)
    );
    let mut expected = vec![0; 51 * 160];
    ringback(Law::A).fill(&mut expected);
    assert_eq!(later[0].view().payload(), &expected[50 * 160..]);
}

#[test]
fn digits_as_audio_end_by_themselves() {
    let mut generator = Generator::new(Law::A, LOW_DBM0, HIGH_DBM0, Timing::default());
    "159D"
        .chars()
        .for_each(|c| generator.send(digit(c), 800).unwrap());
    let mut source = Source::new(Law::A, 8, 20);
    let mut splice = Splice::new(ms(0), 5, 0, 0, 160);
    source.play(ms(0), Sound::Digits(generator));
    let packets = run(&mut source, &mut splice, 0, 10_000);
    assert_eq!(source.poll_timeout(), None);
    let audio: Vec<u8> = packets
        .iter()
        .flat_map(|packet| packet.view().payload().to_vec())
        .collect();
    assert_eq!(packets.len(), 32, "4 × (100 + 60) ms");
    let samples = decode(Law::A, &audio);
    assert_eq!(digits(Law::A, &samples), "159D");
    assert!(power(&samples[..800]) > power_of(Law::A, -12.0));
}

#[test]
fn digits_as_events_have_no_gap_in_their_numbers() {
    let mut sender = Sender::new(Timing::default(), 10);
    "159D".chars().for_each(|c| sender.send(digit(c), 800).unwrap());
    let mut source = Source::new(Law::A, 8, 20);
    let mut splice = Splice::new(ms(0), 5, 65_530, 9, 160);
    // Audio has been forwarded before.
    let before = splice.forward(ms(0), 3, 1, 1).unwrap();
    source.play(ms(20), Sound::Events(sender, 101));
    let packets = run(&mut source, &mut splice, 20, 10_000);
    assert_eq!(source.poll_timeout(), None);
    assert_eq!(packets.len(), 4 * 7);
    let mut receiver = Receiver::new();
    let mut told = String::new();
    for (n, packet) in packets.iter().enumerate() {
        let view = packet.view();
        assert_eq!(view.payload_type(), 101);
        assert_eq!(view.sequence(), before.sequence.wrapping_add(1 + n as u16));
        assert_eq!(view.marker(), n % 7 == 0);
        let began = (n / 7) as u32 * 7 * 160;
        assert_eq!(
            view.timestamp(),
            9 + 160 + began,
            "constant within an event, and in time"
        );
        receiver.receive(ms(packet.at_ms), &view, &mut |report| {
            if let Report::Ended { digit, duration } = report {
                assert_eq!(duration, 800);
                told.push(digit.as_char());
            }
        });
    }
    assert_eq!(told, "159D");
    // The audio goes on behind them.
    let after = splice.forward(ms(700), 3, 36, 5601).unwrap();
    assert_eq!((after.timestamp, after.marker), (9 + 5600, false));
    assert_eq!(after.sequence, before.sequence.wrapping_add(28 + 35));
}

#[test]
fn comfort_noise_is_told_every_tenth_packet_time_without_a_marker() {
    let mut source = Source::new(Law::A, 8, 20);
    let mut splice = Splice::new(ms(0), 5, 100, 77, 160);
    let noise = ComfortNoise::new(66);
    source.play(ms(0), Sound::comfort(noise, 13));
    let packets = run(&mut source, &mut splice, 0, 1000);
    assert_eq!(packets.len(), 5);
    for (n, packet) in packets.iter().enumerate() {
        let view = packet.view();
        assert_eq!(packet.at_ms, 200 * n as u64);
        assert_eq!((view.payload_type(), view.sequence()), (13, 100 + n as u16));
        assert_eq!(
            view.timestamp(),
            77 + 1600 * n as u32,
            "the clock goes on in between"
        );
        assert_eq!(packet.bytes[1] & 0x80, 0);
        assert_eq!(ComfortNoise::read(&packet.bytes[rtp::HEADER_LEN..]), Some(noise));
    }
    // Speech that comes after it is a change of source, and has the marker.
    let first = splice.forward(ms(1010), 9, 7, 7).unwrap();
    assert_eq!((first.sequence, first.marker), (105, true));
    source.stop();
    assert_eq!(source.poll_timeout(), None);
}
