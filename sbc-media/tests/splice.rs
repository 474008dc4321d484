//! One outgoing stream out of several: continuous in sequence and time whatever the sources do.

mod audio;

use audio::Random;
use sbc_media::{
    splice::{Numbers, Splice},
    time::Timestamp,
};
use std::collections::HashMap;

const OUT: u32 = 0xabcd;

fn ms(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}

fn splice(sequence: u16, timestamp: u32) -> Splice {
    Splice::new(ms(0), OUT, sequence, timestamp, 160)
}

fn numbers(sequence: u16, timestamp: u32, marker: bool) -> Numbers {
    Numbers {
        ssrc: OUT,
        sequence,
        timestamp,
        marker,
    }
}

#[test]
fn the_header_on_the_wire() {
    let mut buffer = [0xff; 14];
    assert_eq!(numbers(0x0102, 0x0304_0506, true).write(8, &mut buffer), Some(12));
    assert_eq!(
        buffer,
        [0x80, 0x88, 1, 2, 3, 4, 5, 6, 0, 0, 0xab, 0xcd, 0xff, 0xff]
    );
    assert_eq!(numbers(0, 0, false).write(0, &mut [0; 11]), None);
}

#[test]
fn a_tone_hands_over_to_real_media_and_back() {
    let mut splice = splice(65_534, u32::MAX - 200);
    // Ringback: three packets; the first packet of all is no change.
    assert_eq!(splice.own(ms(0)), numbers(65_534, u32::MAX - 200, false));
    assert_eq!(splice.own(ms(20)), numbers(65_535, u32::MAX - 40, false));
    assert_eq!(splice.own(ms(40)), numbers(0, 119, false));
    // Real media, with numbers of its own.
    assert_eq!(
        splice.forward(ms(59), 7, 500, 90_000),
        Some(numbers(1, 279, true))
    );
    assert_eq!(
        splice.forward(ms(80), 7, 501, 90_160),
        Some(numbers(2, 439, false))
    );
    // One is lost, and one late.
    assert_eq!(
        splice.forward(ms(120), 7, 504, 90_640),
        Some(numbers(5, 919, false))
    );
    assert_eq!(
        splice.forward(ms(121), 7, 503, 90_480),
        Some(numbers(4, 759, false))
    );
    assert_eq!(splice.timestamp_of(7, 91_000), Some(1279));
    // Back to our own after 60 ms of silence, and real media again.
    assert_eq!(splice.own(ms(180)), numbers(6, 1399, true));
    assert_eq!(splice.timestamp_of(7, 91_000), None);
    assert_eq!(splice.own(ms(200)), numbers(7, 1559, false));
    assert_eq!(
        splice.forward(ms(220), 7, 508, 91_280),
        Some(numbers(8, 1719, true))
    );
    assert_eq!(
        splice.forward(ms(240), 7, 509, 91_440),
        Some(numbers(9, 1879, false))
    );
}

#[test]
fn what_comes_from_before_the_change_is_dropped() {
    let mut splice = splice(100, 0);
    splice.own(ms(0));
    assert_eq!(splice.forward(ms(20), 7, 50, 8000).unwrap().sequence, 101);
    // Its place has been taken by our own packet.
    assert_eq!(splice.forward(ms(21), 7, 49, 7840), None);
    assert_eq!(splice.forward(ms(40), 7, 51, 8160).unwrap().sequence, 102);
    assert_eq!(splice.forward(ms(41), 7, 48, 7680), None);
    assert_eq!(splice.forward(ms(60), 7, 52, 8320).unwrap().sequence, 103);
}

#[test]
fn what_was_late_for_our_own_packets_fills_its_place() {
    let mut splice = splice(100, 0);
    splice.forward(ms(0), 7, 50, 8000);
    assert_eq!(splice.forward(ms(40), 7, 52, 8320).unwrap().sequence, 102);
    assert_eq!(splice.own(ms(60)).sequence, 103);
    assert_eq!(
        splice.forward(ms(61), 7, 51, 8160),
        Some(numbers(101, 160, false))
    );
    assert_eq!(splice.own(ms(80)), numbers(104, 640, false));
}

#[test]
fn another_source_goes_on_where_the_last_one_stopped() {
    let mut splice = splice(9, 1000);
    assert_eq!(splice.forward(ms(0), 7, 50, 8000), Some(numbers(9, 1000, false)));
    assert_eq!(
        splice.forward(ms(20), 7, 51, 8160),
        Some(numbers(10, 1160, false))
    );
    assert_eq!(splice.forward(ms(60), 8, 4, 55), Some(numbers(11, 1480, true)));
    // A late one of the first source has its place; a later one of it is another change.
    assert_eq!(
        splice.forward(ms(61), 7, 51, 8160),
        Some(numbers(10, 1160, false))
    );
    assert_eq!(splice.forward(ms(80), 8, 5, 215), Some(numbers(12, 1640, false)));
    assert_eq!(
        splice.forward(ms(100), 7, 52, 8320),
        Some(numbers(13, 1800, true))
    );
    assert_eq!(
        splice.forward(ms(120), 7, 53, 8480),
        Some(numbers(14, 1960, false))
    );
}

#[test]
fn one_wild_number_changes_nothing_and_two_are_a_restart() {
    let mut splice = splice(9, 1000);
    splice.forward(ms(0), 7, 50, 8000);
    assert_eq!(splice.forward(ms(20), 7, 40_000, 5), None);
    assert_eq!(
        splice.forward(ms(20), 7, 51, 8160),
        Some(numbers(10, 1160, false))
    );
    assert_eq!(splice.forward(ms(40), 7, 30_000, 77), None);
    assert_eq!(
        splice.forward(ms(60), 7, 30_001, 237),
        Some(numbers(11, 1480, true))
    );
    assert_eq!(
        splice.forward(ms(80), 7, 30_002, 397),
        Some(numbers(12, 1640, false))
    );
}

#[test]
fn events_between_audio_move_it_up_and_omitted_audio_closes_up() {
    let mut splice = splice(100, 0);
    assert_eq!(splice.forward(ms(0), 7, 10, 0).unwrap().sequence, 100);
    // 12 overtakes 11, which keeps its place although an event follows.
    assert_eq!(splice.forward(ms(20), 7, 12, 320), Some(numbers(102, 320, false)));
    assert_eq!(splice.insert(ms(20)), numbers(103, 480, false));
    assert_eq!(splice.insert(ms(21)).sequence, 104);
    assert_eq!(splice.forward(ms(21), 7, 11, 160), Some(numbers(101, 160, false)));
    assert_eq!(splice.forward(ms(40), 7, 13, 480), Some(numbers(105, 480, false)));
    // In place of audio: 15 does not leave, 14 is on its way.
    splice.omit(ms(80), 7, 15, 800);
    assert_eq!(splice.insert(ms(80)).sequence, 107);
    assert_eq!(splice.forward(ms(81), 7, 14, 640), Some(numbers(106, 640, false)));
    splice.omit(ms(100), 7, 16, 960);
    assert_eq!(splice.insert(ms(100)).sequence, 108);
    splice.omit(ms(120), 7, 17, 1120);
    assert_eq!(
        splice.forward(ms(140), 7, 18, 1280),
        Some(numbers(109, 1280, false))
    );
}

/// The packets of an event all carry the time at which it began; our own packet after it must not go back there.
#[test]
fn the_clock_goes_on_during_an_event() {
    let mut splice = splice(0, 0);
    splice.forward(ms(0), 7, 1, 1000);
    for n in 1..=50u16 {
        let event = splice.forward(ms(u64::from(n) * 20), 7, 1 + n, 1160).unwrap();
        assert_eq!(event.timestamp, 160);
    }
    assert_eq!(splice.own(ms(1020)).timestamp, 8160);
}

#[test]
fn a_long_hold_moves_the_clock_by_as_much() {
    let mut splice = splice(0, 0);
    splice.forward(ms(0), 7, 1, 1000);
    // Ten minutes in which nothing is sent, while the source has counted on.
    let hour = 600_000;
    assert_eq!(splice.forward(ms(hour), 7, 30_001, 4_801_000), None);
    let after = splice.forward(ms(hour + 20), 7, 30_002, 4_801_160).unwrap();
    assert_eq!(after, numbers(1, 4_800_160, true));
    // And ten more in which we played to the peer: the first packet counts.
    splice.own(ms(hour + 40));
    let after = splice.forward(ms(2 * hour), 7, 60_001, 9_601_000).unwrap();
    assert_eq!(after, numbers(3, 9_600_000, true));
}

/// Hand-overs, sources that change and start again, loss, reordering, events and omissions at random: no number leaves for two
/// different packets, those of a source keep their order, and the highest number rises by what is lost.
#[test]
fn no_number_leaves_twice() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut splice = splice(random.bits() as u16, random.bits() as u32);
        let (mut ssrc, mut sequence, mut timestamp) = (1, random.bits() as u16, random.bits() as u32);
        // Outgoing number to what it was used for.
        let mut used: HashMap<u16, (u32, u16)> = HashMap::new();
        let mut highest: Option<(u16, u32)> = None;
        let mut on_the_way: Vec<(u64, u32, u16, u32)> = Vec::new();
        let (mut own, mut own_count, mut left, mut dropped) = (false, 0u16, 0, 0);
        for tick in 0..1000u64 {
            let now = ms(tick * 20);
            if random.below(80) == 0 {
                own = !own;
            }
            if random.below(150) == 0 {
                ssrc += 1;
                (sequence, timestamp) = (random.bits() as u16, random.bits() as u32);
            }
            (sequence, timestamp) = (sequence.wrapping_add(1), timestamp.wrapping_add(160));
            if random.below(20) > 0 {
                let delay = [0, 0, 0, 0, 1, 2][random.below(6) as usize];
                on_the_way.push((tick + delay, ssrc, sequence, timestamp));
            }
            let mut leaves: Vec<(Numbers, (u32, u16))> = Vec::new();
            let mut mine = |numbers, leaves: &mut Vec<_>| {
                own_count = own_count.wrapping_add(1);
                leaves.push((numbers, (0, own_count)));
            };
            if own {
                mine(splice.own(now), &mut leaves);
            } else if random.below(10) == 0 {
                mine(splice.insert(now), &mut leaves);
            }
            let (arrived, rest) = on_the_way.iter().partition(|packet| packet.0 <= tick);
            on_the_way = rest;
            let arrived: Vec<(u64, u32, u16, u32)> = arrived;
            for (_, ssrc, sequence, timestamp) in arrived {
                if own {
                    continue;
                }
                if random.below(12) == 0 {
                    splice.omit(now, ssrc, sequence, timestamp);
                } else if let Some(numbers) = splice.forward(now, ssrc, sequence, timestamp) {
                    leaves.push((numbers, (ssrc, sequence)));
                } else {
                    dropped += 1;
                }
            }
            for (numbers, packet) in leaves {
                left += 1;
                assert_eq!(numbers.ssrc, OUT);
                let before = used.insert(numbers.sequence, packet);
                assert!(
                    before.is_none(),
                    "seed {seed}, tick {tick}: {numbers:?} for {packet:?} and {before:?}"
                );
                let Some((sequence, timestamp)) = &mut highest else {
                    highest = Some((numbers.sequence, numbers.timestamp));
                    continue;
                };
                let ahead = numbers.sequence.wrapping_sub(*sequence) as i16;
                assert!(
                    (-60..60).contains(&ahead),
                    "seed {seed}, tick {tick}: jump of {ahead}"
                );
                if ahead > 0 {
                    let later = numbers.timestamp.wrapping_sub(*timestamp) as i32;
                    assert!(
                        (-480..20_000).contains(&later),
                        "seed {seed}, tick {tick}: time moves by {later}"
                    );
                    (*sequence, *timestamp) = (numbers.sequence, numbers.timestamp);
                }
            }
        }
        assert!(
            left > 500 && dropped * 8 < left,
            "seed {seed}: {left} left, {dropped} dropped"
        );
    }
}

#[test]
fn time_goes_on_by_the_clock_of_what_left_last() {
    let mut splice = splice(1, 0);
    // A tone, at 8 kHz.
    splice.own(ms(0));
    splice.own(ms(20));
    // Opus takes over a second later: that second is one of the tone's clock, what follows is its own.
    assert_eq!(
        splice.forward(ms(1020), 7, 500, 90_000),
        Some(numbers(3, 8160, true))
    );
    splice.set_clock_rate(48_000);
    assert_eq!(
        splice.forward(ms(1040), 7, 501, 90_960),
        Some(numbers(4, 9120, false))
    );
    assert_eq!(splice.media_clock(ms(1050)), 9120 + 480);
    // Another source of Opus, 100 ms later, to the millisecond that makes whole packets.
    assert_eq!(
        splice.forward(ms(1141), 8, 9, 5),
        Some(numbers(5, 9120 + 4800, true))
    );
    // An event of ours among its packets, in its time.
    assert_eq!(splice.insert(ms(1161)), numbers(6, 9120 + 5760, false));
    // A packet of 60 ms.
    splice.set_packet_time(std::time::Duration::from_millis(60));
    assert_eq!(splice.own(ms(1321)), numbers(7, 9120 + 4800 + 3 * 2880, true));
    splice.set_clock_rate(8000);
    assert_eq!(
        splice.own(ms(1381)),
        numbers(8, 9120 + 4800 + 3 * 2880 + 480, false)
    );
}

#[test]
fn a_packet_time_is_exact_in_every_clock() {
    for rate in [8000, 16_000, 24_000, 32_000, 44_100, 48_000, 90_000] {
        let mut splice = Splice::new(ms(0), OUT, 0, 0, 1);
        splice.set_clock(rate, rate / 50);
        for n in 0..100u32 {
            let own = splice.own(ms(u64::from(n) * 20));
            assert_eq!((own.timestamp, own.marker), (n * (rate / 50), false), "{rate}");
        }
    }
}
