//! What most packets do not touch: losses by their company, delay variation, payload types,
//! silence. Lies beside the counts of a [`Stream`](super::Stream), so that these stay small.

use super::{ClockRates, burst::Bursts};
use core::time::Duration;

/// A time between two packets that is longer than this is silence.
pub const SILENCE_MIN: Duration = Duration::from_millis(200);

/// Bounds in milliseconds of the classes of [`DelayVariation`].
pub const VARIATION_BOUNDS_MS: [u32; 6] = [5, 10, 20, 40, 80, 160];

/// More than this is a sender whose timestamps do not follow the time, and no delay.
const VARIATION_MAX_US: u64 = 5_000_000;

/// Payload types that are counted one by one.
pub const PAYLOADS_MAX: usize = 6;

/// By how much the time between packets differed from that between their timestamps (RFC 3550 A.8,
/// the D that jitter is the mean of; RFC 5481 calls it inter-packet delay variation).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DelayVariation {
    /// The largest in milliseconds; 0: none was larger than the first bound.
    pub max_ms: f64,
    /// Packets looked at.
    pub packets: u64,
    /// Packets that differed by more than each of [`VARIATION_BOUNDS_MS`] and not by more than the
    /// next.
    pub over: [u32; VARIATION_BOUNDS_MS.len()],
}

impl DelayVariation {
    /// A bound that `part` (0 to 1) of the packets kept, in milliseconds: one of
    /// [`VARIATION_BOUNDS_MS`], or the maximum where that is less.
    pub fn bound_ms(&self, part: f64) -> f64 {
        let mut beyond: f64 = self.over.iter().map(|&over| f64::from(over)).sum();
        let allowed = (1.0 - part) * self.packets as f64;
        for (bound, over) in VARIATION_BOUNDS_MS.iter().zip(self.over) {
            if beyond <= allowed {
                let first = f64::from(VARIATION_BOUNDS_MS[0]);
                return f64::from(*bound).min(self.max_ms.max(first));
            }
            beyond -= f64::from(over);
        }
        self.max_ms
    }
}

/// A payload type and how many packets had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PayloadCount {
    /// 0 to 127.
    pub payload_type: u8,
    /// Packets accepted with it.
    pub packets: u64,
}

/// Payload types seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Payloads {
    counts: [PayloadCount; PAYLOADS_MAX],
    kinds: u8,
    /// Packets of further types, when there were more than [`PAYLOADS_MAX`].
    pub others: u64,
    /// That of the last packet; `None` before the first.
    pub last: Option<u8>,
}

impl Payloads {
    /// Each type in the order of its first packet.
    pub fn seen(&self) -> &[PayloadCount] {
        self.counts.get(..usize::from(self.kinds)).unwrap_or_default()
    }

    /// The type of most packets.
    pub fn main(&self) -> Option<u8> {
        let most = self.seen().iter().max_by_key(|count| count.packets)?;
        Some(most.payload_type)
    }

    pub(super) fn add(&mut self, payload_type: u8, packets: u64) {
        let known = usize::from(self.kinds);
        let place = self
            .seen()
            .iter()
            .position(|count| count.payload_type == payload_type);
        match self.counts.get_mut(place.unwrap_or(known)) {
            Some(count) => {
                self.kinds += u8::from(place.is_none());
                count.payload_type = payload_type;
                count.packets += packets;
            }
            None => self.others += packets,
        }
    }
}

/// The part of a stream's counts that few packets change.
#[derive(Clone, Debug, Default)]
pub(super) struct Detail {
    /// Place of the first packet of this source, or since it jumped.
    pub(super) start: u64,
    /// Its sequence number.
    pub(super) base: u16,
    /// Packets lost before that.
    pub(super) lost_before: u64,
    pub(super) bursts: Bursts,
    pub(super) payloads: Payloads,
    /// Packets accepted before the payload type became what it is.
    pub(super) payload_from: u64,
    /// Timestamp units from one packet to the next; 0: not known.
    pub(super) packet_units: u32,
    pub(super) silence: Duration,
    /// Of payload types, where not all are the same.
    pub(super) clock_rates: Option<Box<ClockRates>>,
    over: [u32; VARIATION_BOUNDS_MS.len()],
    variation_max_us: u32,
}

impl Detail {
    /// The delay of a packet differs by so much from that of the one before it.
    pub(super) fn varied(&mut self, difference_us: u64) {
        if difference_us > VARIATION_MAX_US {
            return;
        }
        let difference_us = difference_us as u32;
        self.variation_max_us = self.variation_max_us.max(difference_us);
        let class = VARIATION_BOUNDS_MS
            .iter()
            .rposition(|bound| difference_us > bound * 1000);
        if let Some(over) = class.and_then(|class| self.over.get_mut(class)) {
            *over = over.saturating_add(1);
        }
    }

    pub(super) fn variation(&self, packets: u64) -> DelayVariation {
        DelayVariation {
            max_ms: f64::from(self.variation_max_us) / 1000.0,
            packets,
            over: self.over,
        }
    }

    /// Packets leave the window of those that may still come: of `window`, whose highest bits are
    /// the oldest of `expected` packets, as many as `ahead` pushes out, and those that were never
    /// in it.
    pub(super) fn gone(&mut self, window: u64, expected: u64, ahead: u64) {
        let known = expected - self.start;
        // Before the first packet nothing was expected.
        let arrived = if known < 64 {
            window | u64::MAX << known
        } else {
            window
        };
        let mut missing = !arrived & !u64::MAX.checked_shr(ahead.min(64) as u32).unwrap_or(0);
        while missing != 0 {
            let skipped = missing.leading_zeros();
            let run = (missing << skipped).leading_ones();
            // Bit 63 is the place `expected - 64`, and no bit is missing before the start.
            let place = (expected + u64::from(skipped)).saturating_sub(64);
            self.bursts.lost(place, run.into());
            missing &= u64::MAX.checked_shr(skipped + run).unwrap_or(0);
        }
        self.bursts.lost(expected, ahead.saturating_sub(64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_that_a_share_of_the_packets_kept() {
        let mut detail = Detail::default();
        for (difference_us, times) in [(5_001, 40), (15_000, 8), (30_000, 1), (400_000, 1)] {
            (0..times).for_each(|_| detail.varied(difference_us));
        }
        detail.varied(5_000_001);
        let variation = detail.variation(1000);
        assert_eq!(variation.over, [40, 8, 1, 0, 0, 1]);
        assert_eq!(variation.max_ms, 400.0);
        let bounds = [0.9, 0.95, 0.99, 0.998, 0.999, 1.0].map(|part| variation.bound_ms(part));
        assert_eq!(bounds, [5.0, 5.0, 10.0, 20.0, 40.0, 400.0]);
        assert_eq!(DelayVariation::default().bound_ms(0.95), 5.0);
    }

    #[test]
    fn six_payload_types_are_counted_and_the_rest_together() {
        let mut payloads = Payloads::default();
        for (payload_type, packets) in [(8, 1), (101, 4), (8, 9), (1, 1), (2, 1), (3, 1), (4, 1)] {
            payloads.add(payload_type, packets);
        }
        payloads.add(5, 7);
        payloads.add(6, 1);
        let seen: Vec<_> = payloads
            .seen()
            .iter()
            .map(|c| (c.payload_type, c.packets))
            .collect();
        assert_eq!(seen, [(8, 10), (101, 4), (1, 1), (2, 1), (3, 1), (4, 1)]);
        assert_eq!((payloads.others, payloads.main()), (8, Some(8)));
        assert_eq!(Payloads::default().main(), None);
    }
}
