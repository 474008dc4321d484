//! Interarrival jitter (RFC 3550 §6.4.1 and A.8).

mod support;
use proptest::prelude::*;
use sbc_media::{rtp::Packet, stream::Stream, time::Timestamp};

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
