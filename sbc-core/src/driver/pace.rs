//! When to gather packets, of media and of SIP, before waking up.
//!
//! At the pace of real calls the wake-up costs more than the packet, and as much as a message of SIP. Gathering arrivals for a
//! bounded time spreads that cost, at the price of at most that time in delay. It only pays when
//! packets come often enough; otherwise it would delay single packets for nothing.

use super::clock::Clock;
use crate::time::Timestamp;
use std::time::Duration;

/// Packets that a window must be expected to gather.
const WORTHWHILE: f64 = 2.0;
/// The rate is measured over at least this time.
const MEASURE: Duration = Duration::from_millis(20);

/// Measures the packet rate of a shard and decides how long to gather.
#[derive(Debug)]
pub(crate) struct Pace {
    window: Duration,
    since: Timestamp,
    packets: u32,
    per_second: f64,
}

impl Pace {
    /// `window`: longest time to gather; zero: never.
    pub(crate) fn new(window: Duration, clock: &Clock) -> Self {
        Self {
            window,
            since: clock.now(),
            packets: 0,
            per_second: 0.0,
        }
    }

    /// Something has arrived.
    #[inline]
    pub(crate) fn arrival(&mut self) {
        self.packets = self.packets.saturating_add(1);
    }

    /// How long to gather in the coming wait.
    pub(crate) fn gather(&mut self, now: Timestamp) -> Duration {
        let elapsed = now.since(self.since);
        if elapsed >= MEASURE {
            let measured = f64::from(self.packets) / elapsed.as_secs_f64();
            self.per_second = (self.per_second + measured) / 2.0;
            self.since = now;
            self.packets = 0;
        }
        if self.per_second * self.window.as_secs_f64() >= WORTHWHILE {
            self.window
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_micros(500);

    fn at_rate(pace: &mut Pace, start_ms: u64, packets_per_10_ms: u32) -> Duration {
        let mut gather = Duration::ZERO;
        for turn in 0..20 {
            (0..packets_per_10_ms).for_each(|_| pace.arrival());
            gather = pace.gather(Timestamp::from_millis(start_ms + turn * 10));
        }
        gather
    }

    #[test]
    fn gathers_only_while_packets_come_often() {
        let mut pace = Pace {
            window: WINDOW,
            since: Timestamp::ZERO,
            packets: 0,
            per_second: 0.0,
        };
        assert_eq!(
            pace.gather(Timestamp::from_millis(5)),
            Duration::ZERO,
            "nothing measured yet"
        );
        assert_eq!(
            at_rate(&mut pace, 10, 200),
            WINDOW,
            "20,000 a second: 10 per window"
        );
        assert_eq!(
            at_rate(&mut pace, 1000, 20),
            Duration::ZERO,
            "2,000 a second: 1 per window"
        );
    }

    #[test]
    fn window_zero_never_gathers() {
        let mut pace = Pace {
            window: Duration::ZERO,
            since: Timestamp::ZERO,
            packets: 0,
            per_second: 0.0,
        };
        assert_eq!(at_rate(&mut pace, 10, 1000), Duration::ZERO);
    }
}
