//! G.711 in packets of another length: the same samples at the same time, whatever becomes of packets on the way.

use proptest::prelude::*;
use sbc_media::{
    repacketize::{Arrival, Framing, LEAVING_MAX, Pushed, Repacketizer},
    time::Timestamp,
};
use std::{collections::BTreeMap, time::Duration};

const LAW: u8 = 8;
const EVENT: u8 = 101;

/// A packet that left, and when.
#[derive(Clone, Debug, PartialEq)]
struct Left {
    at_ms: u64,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    payload_type: u8,
    payload: Vec<u8>,
    anew: bool,
}

/// A direction, its sender, and a clock.
struct Bench {
    repacketizer: Repacketizer,
    now: Timestamp,
    ssrc: u32,
    sequence: u16,
    left: Vec<Left>,
}

impl Bench {
    fn new(ptime_ms: u32) -> Self {
        let framing = Framing {
            ptime_ms,
            laws: [None, Some(LAW)],
        };
        Self {
            repacketizer: Repacketizer::new(framing),
            now: Timestamp::from_millis(1000),
            ssrc: 1,
            sequence: 65_530,
            left: Vec::new(),
        }
    }

    fn arrive(
        &mut self,
        sequence: u16,
        timestamp: u32,
        marker: bool,
        payload_type: u8,
        payload: &[u8],
    ) -> Pushed {
        let arrival = Arrival {
            ssrc: self.ssrc,
            sequence,
            timestamp,
            marker,
            payload_type,
            payload,
        };
        let pushed = self.repacketizer.push(self.now, &arrival);
        if let Pushed::Passes(place) = pushed {
            self.left.push(Left {
                at_ms: self.now.as_millis(),
                sequence: place.sequence,
                timestamp,
                marker,
                payload_type,
                payload: payload.to_vec(),
                anew: place.anew,
            });
        }
        self.drain();
        pushed
    }

    /// The next packet of audio.
    fn send(&mut self, timestamp: u32, marker: bool, len: usize) -> Pushed {
        self.sequence = self.sequence.wrapping_add(1);
        self.arrive(self.sequence, timestamp, marker, LAW, &samples(timestamp, len))
    }

    fn lose(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn drain(&mut self) {
        while let Some(piece) = self.repacketizer.next_piece(self.now) {
            self.left.push(Left {
                at_ms: self.now.as_millis(),
                sequence: piece.place.sequence,
                timestamp: piece.timestamp,
                marker: piece.marker,
                payload_type: piece.payload_type,
                payload: piece.payload.to_vec(),
                anew: piece.place.anew,
            });
        }
    }

    fn wait(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        while let Some(due) = self.repacketizer.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            let before = self.left.len();
            self.drain();
            assert!(self.left.len() > before, "something was due");
        }
        self.now = end;
    }

    /// Milliseconds since the start, number, timestamp, marker and samples of what has left since the last time.
    fn shape(&mut self) -> Vec<(u64, u16, u32, bool, usize)> {
        let left = std::mem::take(&mut self.left);
        left.iter()
            .map(|left| {
                if left.payload_type == LAW {
                    assert_eq!(left.payload, samples(left.timestamp, left.payload.len()));
                }
                let at = left.at_ms - 1000;
                (at, left.sequence, left.timestamp, left.marker, left.payload.len())
            })
            .collect()
    }
}

/// The samples of a clock: which is at which time can be told.
fn samples(timestamp: u32, len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|n| (timestamp.wrapping_add(n).wrapping_mul(0x9E37_79B1) >> 24) as u8)
        .collect()
}

#[test]
fn a_long_packet_leaves_in_pieces_their_own_length_apart() {
    let mut bench = Bench::new(20);
    assert_eq!(bench.send(1000, true, 480), Pushed::Taken);
    bench.wait(60);
    assert_eq!(
        bench.shape(),
        [
            (0, 1, 1000, true, 160),
            (20, 2, 1160, false, 160),
            (40, 3, 1320, false, 160)
        ]
    );
    bench.send(1480, false, 480);
    bench.wait(10);
    // The next one comes early: what waits leaves with its first piece.
    bench.send(1960, false, 480);
    bench.wait(60);
    assert_eq!(
        bench.shape(),
        [
            (60, 4, 1480, false, 160),
            (70, 5, 1640, false, 160),
            (70, 6, 1800, false, 160),
            (70, 7, 1960, false, 160),
            (90, 8, 2120, false, 160),
            (110, 9, 2280, false, 160),
        ]
    );
    assert_eq!(bench.repacketizer.poll_timeout(), None);
}

#[test]
fn short_packets_leave_together() {
    let mut bench = Bench::new(30);
    let start = 0u32.wrapping_sub(160);
    for n in 0..3 {
        bench.send(start.wrapping_add(160 * n), n == 0, 160);
        bench.wait(20);
    }
    assert_eq!(
        bench.shape(),
        [(20, 1, start, true, 240), (40, 2, 80, false, 240)]
    );
}

#[test]
fn what_has_the_right_length_passes_with_all_its_disorder() {
    let mut bench = Bench::new(20);
    assert!(matches!(bench.send(0, true, 160), Pushed::Passes(_)));
    bench.sequence += 1;
    assert!(matches!(bench.send(320, false, 160), Pushed::Passes(_)));
    let late = bench.sequence.wrapping_sub(1);
    assert!(matches!(
        bench.arrive(late, 160, false, LAW, &samples(160, 160)),
        Pushed::Passes(_)
    ));
    assert!(matches!(bench.send(480, false, 160), Pushed::Passes(_)));
    assert_eq!(bench.send(640, false, 320), Pushed::Taken);
    bench.wait(40);
    // The one that was overtaken has its own number.
    assert_eq!(
        bench.shape(),
        [
            (0, 1, 0, true, 160),
            (0, 3, 320, false, 160),
            (0, 2, 160, false, 160),
            (0, 4, 480, false, 160),
            (0, 5, 640, false, 160),
            (20, 6, 800, false, 160),
        ]
    );
    let again = bench.sequence;
    assert_eq!(
        bench.arrive(again, 640, false, LAW, &samples(640, 160)),
        Pushed::Late
    );
}

#[test]
fn a_lost_packet_is_a_gap_of_the_same_time_and_of_numbers() {
    let mut bench = Bench::new(60);
    bench.send(0, true, 160);
    // The one at 160 is lost: that at 320 waits for it, and 480 says that it does not come.
    bench.lose();
    bench.send(320, false, 160);
    assert_eq!(bench.shape(), []);
    bench.send(480, false, 160);
    assert_eq!(bench.shape(), [(0, 1, 0, true, 160)]);
    bench.send(640, false, 160);
    assert_eq!(bench.shape(), [(0, 3, 320, false, 480)]);
    // Far too late.
    let late = bench.sequence.wrapping_sub(3);
    assert_eq!(
        bench.arrive(late, 160, false, LAW, &samples(160, 160)),
        Pushed::Late
    );
    // A hole of three packets is as many numbers as it is packets long.
    let mut bench = Bench::new(10);
    bench.send(0, true, 160);
    (0..3).for_each(|_| bench.lose());
    bench.wait(80);
    bench.send(640, false, 160);
    bench.wait(100);
    let numbers: Vec<_> = bench.shape().iter().map(|left| (left.1, left.2)).collect();
    assert_eq!(numbers, [(1, 0), (2, 80), (9, 640), (10, 720)]);
}

#[test]
fn two_that_have_changed_places_are_put_right() {
    let mut bench = Bench::new(60);
    bench.send(0, true, 160);
    bench.lose();
    bench.send(320, false, 160);
    let late = bench.sequence.wrapping_sub(1);
    assert_eq!(
        bench.arrive(late, 160, false, LAW, &samples(160, 160)),
        Pushed::Taken
    );
    assert_eq!(bench.shape(), [(0, 1, 0, true, 480)]);
    // Of two that are missing one comes, and then nothing: the other has its number.
    bench.lose();
    bench.lose();
    bench.send(800, false, 160);
    let late = bench.sequence.wrapping_sub(2);
    assert_eq!(
        bench.arrive(late, 480, false, LAW, &samples(480, 160)),
        Pushed::Taken
    );
    bench.wait(200);
    assert_eq!(
        bench.shape(),
        [(60, 2, 480, false, 160), (60, 4, 800, false, 160)]
    );
}

#[test]
fn a_talkspurt_begins_a_packet_and_silence_ends_one() {
    let mut bench = Bench::new(30);
    bench.send(0, true, 160);
    bench.send(4160, true, 160);
    assert_eq!(bench.shape(), [(0, 1, 0, true, 160)]);
    // Without a marker a long silence is one, too; no packet is missing, so no number is.
    bench.send(9000, false, 160);
    assert_eq!(bench.shape(), [(0, 2, 4160, true, 160)]);
    bench.wait(1000);
    // A packet time and 40 ms.
    assert_eq!(bench.shape(), [(60, 3, 9000, false, 160)]);
    bench.send(9160, false, 160);
    bench.send(9320, false, 160);
    bench.wait(1000);
    assert_eq!(
        bench.shape(),
        [(1000, 4, 9160, false, 240), (1060, 5, 9400, false, 80)]
    );
}

#[test]
fn events_and_noise_leave_at_once_behind_what_waits() {
    let mut bench = Bench::new(60);
    bench.sequence = 9;
    bench.arrive(10, 0, true, EVENT, &[1, 2, 3, 4]);
    bench.sequence = 10;
    bench.send(160, false, 160);
    assert_eq!(bench.shape(), [(0, 1, 0, true, 4)]);
    assert_eq!(bench.arrive(12, 320, true, EVENT, &[5, 6, 7, 8]), Pushed::Taken);
    assert!(matches!(
        bench.arrive(13, 320, false, EVENT, &[5, 6, 7, 9]),
        Pushed::Passes(_)
    ));
    assert!(matches!(
        bench.arrive(14, 800, false, 13, &[60]),
        Pushed::Passes(_)
    ));
    assert_eq!(
        bench.shape(),
        [
            (0, 2, 160, false, 160),
            (0, 3, 320, true, 4),
            (0, 4, 320, false, 4),
            (0, 5, 800, false, 1)
        ]
    );
    // Pieces do not hold it up either.
    let mut bench = Bench::new(10);
    bench.send(0, false, 480);
    let next = bench.sequence.wrapping_add(1);
    bench.arrive(next, 480, true, EVENT, &[0; 4]);
    assert!(bench.shape().iter().all(|left| left.0 == 0));
    // And what no packet of ours could hold does not leave.
    bench.sequence = next;
    bench.send(640, false, 40);
    let next = bench.sequence.wrapping_add(1);
    assert_eq!(bench.arrive(next, 800, false, 97, &[0; 481]), Pushed::Full);
}

#[test]
fn another_source_and_one_that_counts_anew_begin_something_new() {
    let mut bench = Bench::new(30);
    bench.send(0, false, 160);
    bench.ssrc = 2;
    bench.sequence = 500;
    bench.send(77, false, 160);
    bench.send(237, false, 160);
    // Late ones of the first are no change back.
    bench.ssrc = 1;
    assert_eq!(
        bench.arrive(65_530, 0, false, LAW, &samples(0, 160)),
        Pushed::Late
    );
    bench.ssrc = 2;
    bench.sequence = 30_000;
    assert_eq!(bench.send(5, false, 160), Pushed::Late, "one wild number");
    bench.send(165, false, 160);
    bench.send(325, false, 160);
    bench.send(485, false, 160);
    let anew: Vec<_> = bench.left.iter().map(|left| left.anew).collect();
    assert_eq!(anew, [true, true, false, true, false]);
    let shape: Vec<_> = bench
        .shape()
        .iter()
        .map(|left| (left.1, left.2, left.4))
        .collect();
    assert_eq!(
        shape,
        [
            (1, 0, 160),
            (2, 77, 240),
            (3, 317, 80),
            (4, 165, 240),
            (5, 405, 240)
        ]
    );
}

#[test]
fn what_does_not_leave_leaves_no_gap() {
    let mut bench = Bench::new(20);
    bench.send(0, false, 160);
    for n in 1..4 {
        bench.lose();
        let payload = samples(160 * n, 160);
        let arrival = Arrival {
            ssrc: 1,
            sequence: bench.sequence,
            timestamp: 160 * n,
            marker: false,
            payload_type: LAW,
            payload: &payload,
        };
        bench.repacketizer.skip(bench.now, &arrival);
    }
    bench.send(640, false, 160);
    bench.send(800, false, 320);
    bench.repacketizer.clear();
    bench.wait(100);
    bench.send(1120, false, 160);
    assert_eq!(
        bench.shape(),
        [
            (0, 1, 0, false, 160),
            (0, 2, 640, false, 160),
            (0, 3, 800, false, 160),
            (100, 4, 1120, false, 160)
        ]
    );
}

#[test]
fn more_than_half_a_second_at_once_is_refused() {
    let mut repacketizer = Repacketizer::new(Framing {
        ptime_ms: 30,
        laws: [Some(0), None],
    });
    let mut taken = 0;
    for n in 0..40u16 {
        let arrival = Arrival {
            ssrc: 1,
            sequence: n,
            timestamp: u32::from(n) * 160,
            marker: false,
            payload_type: 0,
            payload: &[0; 160],
        };
        match repacketizer.push(Timestamp::ZERO, &arrival) {
            Pushed::Taken => taken += 160,
            pushed => assert_eq!(pushed, Pushed::Full),
        }
    }
    assert_eq!(taken, 4000);
    let mut left = 0;
    while let Some(piece) = repacketizer.next_piece(Timestamp::ZERO) {
        left += piece.payload.len();
    }
    assert_eq!(left, 3840, "what is full");
}

proptest! {
    /// What leaves is, in order of its numbers, what has arrived: every sample in its place in time, none twice; where
    /// nothing was lost or overtaken all of it, without a gap in the numbers.
    #[test]
    fn every_sample_keeps_its_time(
        ptime_ms in prop::sample::select(vec![10u32, 20, 30, 40, 60]),
        start in any::<u32>(),
        first in any::<u16>(),
        same in prop::option::of(prop::sample::select(vec![80usize, 160, 240, 320, 480])),
        packets in prop::collection::vec(
            (prop::sample::select(vec![1usize, 80, 160, 200, 240, 320, 480, 1600]), 0..100u32, any::<u8>()),
            1..80,
        ),
    ) {
        let mut bench = Bench::new(ptime_ms);
        let frame = ptime_ms as usize * 8;
        let (mut at, mut sequence) = (start, first);
        let mut queue: Vec<(u16, u32, bool, usize)> = Vec::new();
        let mut clean = true;
        for (len, fate, chance) in packets {
            let len = same.unwrap_or(len);
            match fate {
                // Lost; silence; overtaken; twice.
                0..5 => {
                    clean = false;
                    (at, sequence) = (at.wrapping_add(len as u32), sequence.wrapping_add(1));
                    continue;
                }
                5..10 => {
                    at = at.wrapping_add(u32::from(chance % 40) * 160);
                    queue.push((sequence, at, true, len));
                }
                10..15 if !queue.is_empty() => {
                    let place = queue.len() - 1;
                    queue.insert(place, (sequence, at, false, len));
                    clean = false;
                }
                15..18 => {
                    queue.push((sequence, at, false, len));
                    queue.push((sequence, at, false, len));
                }
                _ => queue.push((sequence, at, false, len)),
            }
            (at, sequence) = (at.wrapping_add(len as u32), sequence.wrapping_add(1));
        }
        // By time since the start: the sample.
        let mut arrived = BTreeMap::new();
        for (n, &(sequence, timestamp, marker, len)) in queue.iter().enumerate() {
            let payload = samples(timestamp, len);
            let again = queue[..n].iter().any(|before| before.0 == sequence);
            match bench.arrive(sequence, timestamp, marker, LAW, &payload) {
                Pushed::Passes(_) if again => {
                    // Where all pass, so does a copy: by the same number.
                    let copy = bench.left.pop().unwrap();
                    let is_copy = |left: &Left| (left.sequence, &left.payload) == (copy.sequence, &copy.payload);
                    prop_assert!(bench.left.iter().any(is_copy));
                }
                Pushed::Taken | Pushed::Passes(_) => {
                    prop_assert!(!again);
                    for (n, sample) in payload.iter().enumerate() {
                        arrived.insert(timestamp.wrapping_sub(start) + n as u32, *sample);
                    }
                }
                Pushed::Late => prop_assert!(!clean || again, "nothing was lost or overtaken"),
                Pushed::Full => prop_assert!(false, "there is room"),
            }
            bench.wait(len as u64 / 8);
        }
        bench.wait(1000);
        let mut left = std::mem::take(&mut bench.left);
        left.sort_by_key(|left| left.sequence.wrapping_sub(1));
        let mut found = BTreeMap::new();
        let (mut end, mut number) = (0, 0);
        for left in left {
            prop_assert!(left.payload.len() <= frame && frame <= LEAVING_MAX);
            prop_assert!(left.sequence > number, "each number once");
            prop_assert!(!clean || left.sequence == number + 1, "{} after {number}", left.sequence);
            number = left.sequence;
            let from = left.timestamp.wrapping_sub(start);
            prop_assert!(from >= end, "in order: {from} after {end}");
            end = from + left.payload.len() as u32;
            for (n, sample) in left.payload.iter().enumerate() {
                found.insert(from + n as u32, *sample);
            }
        }
        prop_assert_eq!(found, arrived);
    }
}
