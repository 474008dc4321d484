//! Loss, order and duplicates as RFC 3550 counts them.

mod support;
use proptest::prelude::*;
use sbc_media::{rtp::Packet, stream::Stream, time::Timestamp};

fn receive(stream: &mut Stream, ssrc: u8, sequences: impl IntoIterator<Item = u16>) {
    for sequence in sequences {
        let mut bytes = support::rtp(sequence);
        bytes[11] = ssrc;
        stream.received(
            Timestamp::ZERO,
            bytes.len(),
            &Packet::new_checked(&bytes).unwrap(),
        );
    }
}

fn counts(stream: &Stream) -> (u64, u64, u64, u64) {
    (
        stream.packets(),
        stream.lost(),
        stream.reordered(),
        stream.duplicates(),
    )
}

#[test]
fn a_gap_is_loss_until_the_late_packets_arrive() {
    let mut stream = Stream::default();
    receive(&mut stream, 1, [10, 11, 15]);
    assert_eq!(counts(&stream), (3, 3, 0, 0));
    receive(&mut stream, 1, [13, 12]);
    assert_eq!(counts(&stream), (5, 1, 2, 0));
}

#[test]
fn duplicates_do_not_hide_loss() {
    let mut stream = Stream::default();
    receive(&mut stream, 1, [10, 12, 12, 10, 12]);
    assert_eq!(counts(&stream), (5, 1, 0, 3));
}

#[test]
fn counting_goes_on_over_the_wrap() {
    let mut stream = Stream::default();
    receive(
        &mut stream,
        1,
        (0..200_000u32).filter(|n| n % 10 != 5).map(|n| n as u16),
    );
    assert_eq!(counts(&stream), (180_000, 20_000, 0, 0));
}

#[test]
fn a_new_source_starts_a_new_count_and_keeps_the_old_losses() {
    let mut stream = Stream::default();
    receive(&mut stream, 1, [10, 12]);
    receive(&mut stream, 2, [40_000, 40_002]);
    assert_eq!(counts(&stream), (4, 2, 0, 0));
    assert_eq!(stream.ssrc_changes(), 1);
}

#[test]
fn one_wild_number_is_not_loss_and_two_in_a_row_are_a_restart() {
    let mut stream = Stream::default();
    receive(&mut stream, 1, [10, 30_000, 11, 12]);
    assert_eq!(counts(&stream), (4, 0, 0, 0));
    receive(&mut stream, 1, [50_000, 50_001, 50_002, 50_004]);
    assert_eq!(counts(&stream), (8, 1, 0, 0));
}

proptest! {
    /// Against the definition: expected is the span of sequence numbers, received the distinct ones.
    #[test]
    fn agrees_with_the_definition(
        start in any::<u16>(),
        fate in prop::collection::vec((0u8..10, 0usize..5), 3..2000),
    ) {
        // First and last arrive, and in place: the span is then known.
        let last = fate.len() - 1;
        let mut arrivals: Vec<(usize, usize)> = Vec::new();
        for (index, (outcome, delay)) in fate.iter().enumerate() {
            let copies = match outcome {
                _ if index == 0 || index == last => 1,
                0 => 0,
                1 => 2,
                _ => 1,
            };
            for copy in 0..copies {
                let delay = if index == 0 || index == last { 0 } else { delay + 3 * copy };
                arrivals.push(((index + delay).clamp(1, last - 1).max(usize::from(index > 0)), index));
            }
        }
        arrivals.sort_by_key(|&(at, index)| (if index == 0 { 0 } else if index == last { usize::MAX } else { at }, 0));
        let mut stream = Stream::default();
        receive(&mut stream, 1, arrivals.iter().map(|&(_, index)| start.wrapping_add(index as u16)));
        let mut distinct: Vec<_> = arrivals.iter().map(|&(_, index)| index).collect();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(stream.packets(), arrivals.len() as u64);
        prop_assert_eq!(stream.duplicates(), (arrivals.len() - distinct.len()) as u64);
        prop_assert_eq!(stream.lost(), (fate.len() - distinct.len()) as u64);
        let late = late_ones(&arrivals);
        prop_assert_eq!(stream.reordered(), late);
    }
}

/// Distinct packets that arrive after a later one.
fn late_ones(arrivals: &[(usize, usize)]) -> u64 {
    let (mut highest, mut late, mut seen) = (0, 0, std::collections::BTreeSet::new());
    for &(_, index) in arrivals {
        late += u64::from(seen.insert(index) && index < highest);
        highest = highest.max(index);
    }
    late
}
