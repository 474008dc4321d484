//! Interarrival jitter (RFC 3550 §6.4.1 and A.8).

mod support;
use proptest::prelude::*;
use sbc_media::{
    rtp::Packet,
    stream::{ClockRates, Stream},
    time::Timestamp,
};

/// Packets of 20 ms that arrive `delays_us` after the even beat.
fn jitter_ms(delays_us: &[u64]) -> f64 {
    let mut stream = Stream::default();
    for (index, delay) in delays_us.iter().enumerate() {
        let bytes = support::rtp(index as u16);
        let now = Timestamp::from_nanos((index as u64 * 20_000 + delay) * 1000);
        stream.received(now, bytes.len(), &Packet::new_checked(&bytes).unwrap());
    }
    stream.jitter_ms()
}

#[test]
fn an_even_stream_has_none() {
    assert_eq!(jitter_ms(&[5000; 500]), 0.0);
}

#[test]
fn a_steady_alternation_converges_to_its_size() {
    let delays: Vec<u64> = (0..500).map(|n| n % 2 * 10_000).collect();
    assert!((jitter_ms(&delays) - 10.0).abs() < 0.2);
}

#[test]
fn one_late_packet_decays() {
    let mut delays = vec![0; 10];
    delays[9] = 160_000;
    let peak = jitter_ms(&delays);
    assert!(
        (peak - 10.0).abs() < 0.2,
        "a sixteenth of the difference, not {peak}"
    );
    delays.extend([0; 200]);
    assert!(jitter_ms(&delays) < 0.2);
}

#[test]
fn packets_of_one_telephone_event_are_not_jitter() {
    let mut stream = Stream::default();
    for index in 0..100u16 {
        let mut bytes = support::rtp(index);
        if index > 50 {
            bytes[4..8].copy_from_slice(&(51u32 * 160).to_be_bytes());
        }
        let now = Timestamp::from_millis(u64::from(index) * 20);
        stream.received(now, bytes.len(), &Packet::new_checked(&bytes).unwrap());
    }
    assert_eq!(stream.jitter(), 0);
}

#[test]
fn another_clock_rate_is_another_scale() {
    let run = |rate: u32| {
        let mut stream = Stream::new(rate);
        for index in 0..500u64 {
            let mut bytes = support::rtp(index as u16);
            let timestamp = (index * u64::from(rate) / 50) as u32;
            bytes[4..8].copy_from_slice(&timestamp.to_be_bytes());
            let now = Timestamp::from_millis(index * 20 + index % 2 * 10);
            stream.received(now, bytes.len(), &Packet::new_checked(&bytes).unwrap());
        }
        stream.jitter_ms()
    };
    assert!((run(8000) - run(48000)).abs() < 0.3);
}

fn received(stream: &mut Stream, payload_type: u8, sequence: u16, timestamp: u32, at_ms: u64) {
    let mut bytes = support::rtp(sequence);
    bytes[1] = payload_type;
    bytes[4..8].copy_from_slice(&timestamp.to_be_bytes());
    let now = Timestamp::from_millis(at_ms);
    stream.received(now, bytes.len(), &Packet::new_checked(&bytes).unwrap());
}

/// Opus, an event by the clock of telephony or its own, and AMR-WB.
fn clocks() -> ClockRates {
    ClockRates::new([(0, 8000), (96, 48_000), (97, 16_000), (101, 8000), (102, 48_000)]).unwrap()
}

#[test]
fn each_payload_type_has_its_clock() {
    let mut stream = Stream::detailed(8000);
    stream.set_clock_rates(Some(&clocks()));
    let (mut sequence, mut timestamp) = (0, 77);
    for (payload_type, rate) in [(96, 48_000), (97, 16_000), (0, 8000), (96, 48_000)] {
        for _ in 0..200 {
            let at = u64::from(sequence) * 20 + u64::from(sequence) % 2 * 10;
            received(&mut stream, payload_type, sequence, timestamp, at);
            sequence += 1;
            timestamp += rate / 50;
        }
        assert_eq!(stream.clock_rate(), rate);
        assert!(
            (stream.jitter_ms() - 10.0).abs() < 0.3,
            "{rate}: {}",
            stream.jitter_ms()
        );
        let units = stream.received_report().unwrap().jitter;
        assert!(
            units.abs_diff(rate / 100) < rate / 1000,
            "{units} in the peer's own clock"
        );
        assert_eq!(stream.packet_ms(), 20.0);
    }
    assert!((stream.delay_variation().max_ms - 10.0).abs() < 0.2);
    // What is sent on is told in the clock of now.
    let at = u64::from(sequence) * 20;
    let told = stream.sent_report(Timestamp::from_millis(at)).unwrap().timestamp;
    assert_eq!(told, timestamp - 960 + 480, "10 ms after the last packet");
}

#[test]
fn events_among_audio_are_not_jitter_whatever_their_clock() {
    for event in [101, 102] {
        let mut stream = Stream::detailed(8000);
        stream.set_clock_rates(Some(&clocks()));
        for n in 0..300u16 {
            let is_event = n / 50 % 2 == 1;
            let first = if is_event { n / 50 * 50 } else { n };
            let payload_type = if is_event { event } else { 96 };
            let timestamp = u32::from(first) * 960;
            received(&mut stream, payload_type, n, timestamp, u64::from(n) * 20);
        }
        assert_eq!(stream.jitter_ms(), 0.0, "{event}");
        assert_eq!(stream.delay_variation().max_ms, 0.0);
        assert_eq!(stream.packet_ms(), 20.0);
    }
}

#[test]
fn what_was_measured_by_a_wrong_clock_is_forgotten() {
    let mut stream = Stream::detailed(8000);
    let run = |stream: &mut Stream, from: u16| {
        for n in from..from + 100 {
            received(stream, 96, n, u32::from(n) * 960, u64::from(n) * 20);
        }
    };
    run(&mut stream, 0);
    assert!(stream.jitter_ms() > 50.0);
    stream.set_clock_rates(Some(&clocks()));
    assert_eq!(stream.jitter(), 0);
    run(&mut stream, 100);
    stream.set_clock_rates(Some(&clocks()));
    assert_eq!((stream.jitter(), stream.clock_rate()), (0, 48_000));
    stream.set_clock_rates(None);
    assert_eq!(stream.clock_rate(), 8000);
    stream.set_clock_rates(Some(&clocks()));
    stream.reset(8000);
    run(&mut stream, 0);
    assert_eq!(stream.clock_rate(), 8000, "another call");
}

proptest! {
    /// Against the floating-point form of the definition, J += (|D| - J) / 16.
    #[test]
    fn agrees_with_the_definition(delays in prop::collection::vec(0u64..100_000, 2..300)) {
        let mut expected = 0.0;
        for pair in delays.windows(2) {
            let difference = (pair[1] as f64 - pair[0] as f64).abs() / 1000.0;
            expected += (difference - expected) / 16.0;
        }
        // Two clock units of 125 µs: arrival times are rounded down to units.
        let measured = jitter_ms(&delays);
        prop_assert!((measured - expected).abs() < 0.25, "{measured} is not {expected}");
    }
}
