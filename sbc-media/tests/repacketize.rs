//! G.711 in packets of another length: the same samples at the same time, whatever becomes of packets on the way.

use proptest::prelude::*;
use sbc_media::repacketize::{LEAVING_MAX, Pushed, Repacketizer};
use std::collections::BTreeMap;

/// A packet that left: timestamp, marker, samples.
type Left = (u32, bool, Vec<u8>);

fn drain(repacketizer: &mut Repacketizer) -> Vec<Left> {
    let mut left = Vec::new();
    while let Some(piece) = repacketizer.next_piece() {
        left.push((piece.timestamp, piece.marker, piece.payload.to_vec()));
    }
    left
}

fn push(repacketizer: &mut Repacketizer, timestamp: u32, marker: bool, payload: &[u8]) -> Vec<Left> {
    assert_eq!(repacketizer.push(timestamp, marker, payload), Pushed::Taken);
    drain(repacketizer)
}

/// The samples of a clock: which is at which time can be told.
fn samples(timestamp: u32, len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|n| (timestamp.wrapping_add(n).wrapping_mul(0x9E37_79B1) >> 24) as u8)
        .collect()
}

fn shape(left: &[Left]) -> Vec<(u32, bool, usize)> {
    left.iter()
        .map(|(timestamp, marker, payload)| {
            assert_eq!(*payload, samples(*timestamp, payload.len()));
            (*timestamp, *marker, payload.len())
        })
        .collect()
}

#[test]
fn packets_are_cut_and_joined() {
    let mut cut = Repacketizer::new(160);
    let left = push(&mut cut, 1000, true, &samples(1000, 480));
    assert_eq!(
        shape(&left),
        [(1000, true, 160), (1160, false, 160), (1320, false, 160)]
    );

    let mut join = Repacketizer::new(240);
    assert_eq!(
        push(
            &mut join,
            0u32.wrapping_sub(160),
            true,
            &samples(0u32.wrapping_sub(160), 160)
        ),
        []
    );
    let left = push(&mut join, 0, false, &samples(0, 160));
    assert_eq!(shape(&left), [(0u32.wrapping_sub(160), true, 240)]);
    let left = push(&mut join, 160, false, &samples(160, 160));
    assert_eq!(shape(&left), [(80, false, 240)]);
}

#[test]
fn a_lost_packet_is_a_gap_of_the_same_time() {
    let mut join = Repacketizer::new(480);
    push(&mut join, 0, true, &samples(0, 160));
    // The one at 160 is lost: that at 320 waits for it, and 480 says that it does not come.
    assert_eq!(push(&mut join, 320, false, &samples(320, 160)), []);
    let left = push(&mut join, 480, false, &samples(480, 160));
    assert_eq!(shape(&left), [(0, true, 160)]);
    let left = push(&mut join, 640, false, &samples(640, 160));
    assert_eq!(shape(&left), [(320, false, 480)]);
    // Far too late.
    assert_eq!(join.push(160, false, &samples(160, 160)), Pushed::Refused);
}

#[test]
fn two_that_have_changed_places_are_put_right() {
    let mut join = Repacketizer::new(480);
    push(&mut join, 0, true, &samples(0, 160));
    assert_eq!(push(&mut join, 320, false, &samples(320, 160)), []);
    let left = push(&mut join, 160, false, &samples(160, 160));
    assert_eq!(shape(&left), [(0, true, 480)]);
}

#[test]
fn a_talkspurt_begins_a_packet() {
    let mut join = Repacketizer::new(240);
    push(&mut join, 0, true, &samples(0, 160));
    // Silence of half a second, and then of none.
    let left = push(&mut join, 4160, true, &samples(4160, 160));
    assert_eq!(shape(&left), [(0, true, 160)]);
    let left = push(&mut join, 4320, true, &samples(4320, 160));
    assert_eq!(shape(&left), [(4160, true, 160)]);
    // Without a marker a long silence is one, too.
    let left = push(&mut join, 9000, false, &samples(9000, 240));
    assert_eq!(shape(&left), [(4320, true, 160), (9000, false, 240)]);
}

#[test]
fn a_flush_leaves_nothing_behind() {
    let mut join = Repacketizer::new(480);
    push(&mut join, 0, true, &samples(0, 160));
    push(&mut join, 320, false, &samples(320, 160));
    join.flush();
    assert_eq!(shape(&drain(&mut join)), [(0, true, 160), (320, false, 160)]);
    join.flush();
    assert_eq!(drain(&mut join), []);
    let left = push(&mut join, 480, false, &samples(480, 480));
    assert_eq!(shape(&left), [(480, false, 480)]);
}

#[test]
fn a_clock_that_is_set_anew_is_followed() {
    let mut cut = Repacketizer::new(160);
    push(&mut cut, 1_000_000, true, &samples(1_000_000, 240));
    let left = push(&mut cut, 5, false, &samples(5, 240));
    assert_eq!(shape(&left), [(1_000_160, false, 80), (5, false, 160)]);
}

#[test]
fn what_is_no_audio_packet_is_refused() {
    let mut cut = Repacketizer::new(160);
    assert_eq!(cut.push(0, false, &[0; 1601]), Pushed::Refused);
    assert_eq!(cut.push(0, false, &[]), Pushed::Taken);
    assert_eq!(drain(&mut cut), []);
}

proptest! {
    /// What leaves is, in order, what has arrived: every sample in its place in time, none twice, and of what arrived in
    /// order all.
    #[test]
    fn every_sample_keeps_its_time(
        frame in prop::sample::select(vec![80usize, 160, 240, 320, 480]),
        start in any::<u32>(),
        packets in prop::collection::vec(
            (prop::sample::select(vec![1usize, 80, 160, 200, 240, 320, 480, 1600]), 0..100u32, any::<u8>()),
            1..60,
        ),
    ) {
        let mut repacketizer = Repacketizer::new(frame);
        let mut at = start;
        let mut queue: Vec<(u32, bool, usize)> = Vec::new();
        let mut clean = true;
        for (len, fate, chance) in packets {
            match fate {
                // Lost; silence; overtaken.
                0..5 => { at = at.wrapping_add(len as u32); clean = false; continue }
                5..10 => {
                    at = at.wrapping_add(u32::from(chance % 40) * 160);
                    queue.push((at, true, len));
                }
                10..15 if !queue.is_empty() => {
                    let place = queue.len() - 1;
                    queue.insert(place, (at, false, len));
                    clean = false;
                }
                _ => queue.push((at, false, len)),
            }
            at = at.wrapping_add(len as u32);
        }
        // By time since the start: the sample, whether it has left.
        let mut arrived = BTreeMap::new();
        let mut left = Vec::new();
        for (timestamp, marker, len) in queue {
            let payload = samples(timestamp, len);
            if repacketizer.push(timestamp, marker, &payload) == Pushed::Taken {
                for (n, sample) in payload.iter().enumerate() {
                    arrived.insert(timestamp.wrapping_sub(start) + n as u32, *sample);
                }
            } else {
                prop_assert!(!clean, "nothing was lost or overtaken");
            }
            left.extend(drain(&mut repacketizer));
        }
        repacketizer.flush();
        left.extend(drain(&mut repacketizer));
        let mut found = BTreeMap::new();
        let mut end = 0;
        for (timestamp, _, payload) in left {
            prop_assert!(!payload.is_empty() && payload.len() <= frame && frame <= LEAVING_MAX);
            let from = timestamp.wrapping_sub(start);
            prop_assert!(from >= end, "in order: {from} after {end}");
            end = from + payload.len() as u32;
            for (n, sample) in payload.iter().enumerate() {
                found.insert(from + n as u32, *sample);
            }
        }
        prop_assert_eq!(found, arrived);
    }
}
