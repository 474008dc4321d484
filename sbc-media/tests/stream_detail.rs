//! Bursts, delay variation, payload types, silence, and what a report of ours says of a stream.

mod support;
use proptest::prelude::*;
use sbc_media::{
    rtp::Packet,
    stream::{BurstLoss, GAP_MIN, Stream},
    time::Timestamp,
};
use std::time::Duration;

const PACKET_MS: u64 = 20;

struct Received {
    stream: Stream,
    ssrc: u8,
    payload_type: u8,
}

impl Received {
    fn new() -> Self {
        Self {
            stream: Stream::detailed(8000),
            ssrc: 1,
            payload_type: 8,
        }
    }

    /// The packet `n` of a stream that began with 0 arrives at `ms`.
    fn at(&mut self, ms: u64, n: u64) {
        let mut bytes = support::rtp(n as u16);
        bytes[1] = self.payload_type;
        bytes[4..8].copy_from_slice(&((n * 160) as u32).to_be_bytes());
        bytes[11] = self.ssrc;
        let packet = Packet::new_checked(&bytes).unwrap();
        self.stream
            .received(Timestamp::from_millis(ms), bytes.len(), &packet);
    }

    fn all(&mut self, places: impl IntoIterator<Item = u64>) -> &mut Self {
        places.into_iter().for_each(|n| self.at(n * PACKET_MS, n));
        self
    }
}

#[test]
fn a_stream_without_loss_has_no_bursts() {
    let mut received = Received::new();
    assert_eq!(received.all(0..1000).stream.burst_loss(), BurstLoss::default());
    assert_eq!(Received::new().stream.burst_loss(), BurstLoss::default());
}

#[test]
fn packets_that_are_only_late_are_no_burst() {
    let mut received = Received::new();
    received.all((0..500).flat_map(|n| [2 * n + 1, 2 * n]));
    assert_eq!(received.stream.lost(), 0);
    assert_eq!(received.stream.burst_loss(), BurstLoss::default());
}

#[test]
fn a_burst_and_single_losses_have_their_figures() {
    let mut received = Received::new();
    // 10 in a row, 5 received, 5 in a row: a burst of 20 with 15 lost; and two alone.
    let lost = |n: u64| (300..310).contains(&n) || (315..320).contains(&n) || n == 600 || n == 700;
    let loss = received.all((0..1000).filter(|&n| !lost(n))).stream.burst_loss();
    assert_eq!((loss.bursts, loss.burst_density), (1, 0.75));
    assert_eq!((loss.burst_ms, loss.gap_density), (400.0, 2.0 / 980.0));
    // 17 lost in 4 runs.
    let ratio = loss.ratio.unwrap();
    assert!((ratio - 4.25 * 0.983).abs() < 1e-9, "{ratio}");
}

#[test]
fn the_length_of_a_burst_is_measured_in_packets_of_the_streams_own_time() {
    let mut received = Received::new();
    for n in (0..200).filter(|n| !(50..60).contains(n)) {
        let mut bytes = support::rtp(n);
        bytes[4..8].copy_from_slice(&(u32::from(n) * 240).to_be_bytes());
        let now = Timestamp::from_millis(u64::from(n) * 30);
        received
            .stream
            .received(now, 172, &Packet::new_checked(&bytes).unwrap());
    }
    assert_eq!(received.stream.packet_ms(), 30.0);
    assert_eq!(received.stream.burst_loss().burst_ms, 300.0);
}

#[test]
fn losses_before_and_after_a_change_of_the_source_are_two_bursts() {
    let mut received = Received::new();
    received.all((0..100).filter(|n| *n != 95 && *n != 97));
    received.ssrc = 2;
    received.all((10_000..10_100).filter(|n| *n != 10_002 && *n != 10_004));
    assert_eq!(
        (received.stream.lost(), received.stream.burst_loss().bursts),
        (4, 2)
    );
}

#[test]
fn a_sender_that_jumps_is_no_burst() {
    let mut received = Received::new();
    received.all((0..30).chain(40_000..40_030));
    assert_eq!(received.stream.lost(), 0);
    assert_eq!(received.stream.burst_loss(), BurstLoss::default());
}

#[test]
fn delay_variation_is_the_difference_between_neighbours() {
    let mut received = Received::new();
    for n in 0..100 {
        // Every tenth packet is 15 ms late, once one is 100 ms late.
        let late = if n == 55 { 100 } else { 15 * u64::from(n % 10 == 9) };
        received.at(1000 + n * PACKET_MS + late, n);
    }
    let variation = received.stream.delay_variation();
    // There and back: twice each, and the last is not followed.
    assert_eq!(variation.over, [0, 19, 0, 0, 2, 0]);
    assert_eq!((variation.max_ms, variation.packets), (100.0, 100));
    assert_eq!(
        [0.5, 0.9, 0.99, 1.0].map(|part| variation.bound_ms(part)),
        [5.0, 20.0, 100.0, 100.0]
    );
}

#[test]
fn a_sender_whose_timestamps_stand_still_in_a_pause_is_not_delayed() {
    let mut received = Received::new();
    received.all(0..50);
    received.at(60_000, 50);
    assert_eq!(received.stream.delay_variation().max_ms, 0.0);
    assert_eq!(
        received.stream.longest_silence(),
        Some(Duration::from_millis(60_000 - 49 * 20))
    );
}

#[test]
fn silence_is_longer_than_any_packet() {
    let mut received = Received::new();
    received.at(0, 0);
    received.at(200, 10);
    assert_eq!(received.stream.longest_silence(), None);
    received.at(501, 20);
    received.at(1000, 45);
    received.at(1201, 50);
    assert_eq!(
        received.stream.longest_silence(),
        Some(Duration::from_millis(499))
    );
}

#[test]
fn payload_types_are_counted_as_they_change() {
    let mut received = Received::new();
    assert_eq!(received.stream.payloads().last, None);
    received.all(0..10);
    received.payload_type = 101;
    received.all(10..14);
    received.payload_type = 8;
    received.all(14..20);
    let payloads = received.stream.payloads();
    let seen: Vec<_> = payloads
        .seen()
        .iter()
        .map(|c| (c.payload_type, c.packets))
        .collect();
    assert_eq!(seen, [(8, 16), (101, 4)]);
    assert_eq!(
        (payloads.last, payloads.main(), payloads.others),
        (Some(8), Some(8), 0)
    );
}

#[test]
fn a_report_is_about_the_source_heard_now() {
    let mut received = Received::new();
    assert_eq!(received.stream.received_report(), None);
    received.all((65_530..65_550).filter(|n| n % 4 != 3));
    let report = received.stream.received_report().unwrap();
    assert_eq!((report.ssrc, report.highest_sequence), (1, 65_549));
    assert_eq!((report.expected, report.lost), (20, 5));
    received.ssrc = 2;
    received.all(500..510);
    let report = received.stream.received_report().unwrap();
    assert_eq!((report.ssrc, report.highest_sequence), (2, 509));
    assert_eq!((report.expected, report.lost, received.stream.lost()), (10, 0, 5));
}

#[test]
fn a_reset_stream_is_as_new() {
    let mut received = Received::new();
    received.all((0..500).filter(|n| n % 50 > 5));
    received.stream.reset(8000);
    assert_eq!(
        format!("{:?}", received.stream),
        format!("{:?}", Stream::detailed(8000))
    );
}

#[test]
fn without_detail_the_counts_are_the_same() {
    let (mut plain, mut detailed) = (Stream::new(8000), Received::new());
    for n in (0..500u64).filter(|n| n % 50 > 5) {
        detailed.at(n * PACKET_MS, n);
        let mut bytes = support::rtp(n as u16);
        bytes[4..8].copy_from_slice(&((n * 160) as u32).to_be_bytes());
        plain.received(
            Timestamp::from_millis(n * PACKET_MS),
            172,
            &Packet::new_checked(&bytes).unwrap(),
        );
    }
    assert_eq!(plain.lost(), detailed.stream.lost());
    assert_eq!(plain.jitter(), detailed.stream.jitter());
    assert_eq!(plain.burst_loss(), BurstLoss::default());
    assert_eq!((plain.payloads().last, plain.longest_silence()), (None, None));
}

proptest! {
    /// Against the definition, on the whole list of losses.
    #[test]
    fn bursts_agree_with_the_definition(
        runs in prop::collection::vec((0u64..40, 0u64..90), 1..60),
        start in 0u64..70_000,
        swap in any::<bool>(),
    ) {
        // Received and lost in turns, and then enough to know.
        let mut fate = vec![true];
        for (received, lost) in runs {
            fate.extend(std::iter::repeat_n(true, received as usize));
            fate.extend(std::iter::repeat_n(false, if lost > 80 { lost as usize } else { lost as usize / 16 }));
        }
        fate.extend([true; 3]);
        let mut places: Vec<u64> = (0..fate.len()).filter(|&n| fate[n]).map(|n| n as u64).collect();
        if swap && places.len() > 8 {
            let middle = places.len() / 2;
            // What is more than 63 places late counts as lost here.
            if places[middle + 1] - places[middle] < 60 {
                places.swap(middle, middle + 1);
            }
        }
        let mut received = Received::new();
        received.all(places.into_iter().map(|n| n + start));
        let losses: Vec<u64> = (0..fate.len()).filter(|&n| !fate[n]).map(|n| n as u64).collect();
        let (mut groups, mut group): (Vec<Vec<u64>>, Vec<u64>) = (vec![], vec![]);
        for loss in losses.iter().copied() {
            if group.last().is_some_and(|last| loss - last > GAP_MIN) {
                groups.push(std::mem::take(&mut group));
            }
            group.push(loss);
        }
        groups.push(group);
        let bursts: Vec<_> = groups.iter().filter(|group| group.len() > 1).collect();
        let within: u64 = bursts.iter().map(|group| group[group.len() - 1] - group[0] + 1).sum();
        let lost_within: usize = bursts.iter().map(|group| group.len()).sum();
        let measured = received.stream.burst_loss();
        prop_assert_eq!(received.stream.lost(), losses.len() as u64);
        prop_assert_eq!(measured.bursts, bursts.len() as u64);
        if within > 0 {
            prop_assert!((measured.burst_density - lost_within as f64 / within as f64).abs() < 1e-9);
            prop_assert!((measured.burst_ms - within as f64 * 20.0 / bursts.len() as f64).abs() < 1e-6);
        }
        let singles = groups.iter().filter(|group| group.len() == 1).count() as f64;
        let outside = fate.len() as f64 - within as f64;
        prop_assert!((measured.gap_density - singles / outside).abs() < 1e-9);
    }
}
