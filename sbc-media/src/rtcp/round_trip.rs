//! Round-trip time between us and a peer, from the peer's answers to sender reports that passed
//! through here (RFC 3550 §6.4.1).
//!
//! In: the NTP time of each sender report that left towards a peer, and when; what the peer's
//! report blocks say about the last one they know. Out: how long the way there and back takes. The
//! clocks of the report's writer and of the peer do not matter: the writer's is only repeated, and
//! of the peer's only a difference is used.

use crate::time::Timestamp;
use core::time::Duration;

/// Longer than any path over which people talk: what claims more is wrong.
pub const ROUND_TRIP_MAX: Duration = Duration::from_secs(10);

/// By so much the peer's clock may have counted more between two packets than ours.
const DRIFT_MAX: Duration = Duration::from_millis(2);

/// Sender reports remembered: with one every 5 s, those of the last 20 s.
const REPORTS: usize = 4;

/// One sender report that has left.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// Middle of its NTP time; 0: this place is free.
    middle: u32,
    /// When it left; `None`: several had this NTP time, so nobody knows which one is meant.
    at: Option<Timestamp>,
}

/// Sender reports on their way to one peer, and what its answers tell.
#[derive(Clone, Debug, Default)]
pub struct RoundTrip {
    sent: [Sent; REPORTS],
    oldest: u8,
    count: u32,
    last: Duration,
    longest: Duration,
    sum: Duration,
}

impl RoundTrip {
    /// Nothing sent yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A sender report whose NTP time has this `middle` (see [`middle`](super::middle)) left
    /// towards the peer at `now`.
    pub fn sent(&mut self, now: Timestamp, middle: u32) {
        // Zero is what peers write that have seen no report, and writers that have no clock.
        if middle == 0 {
            return;
        }
        if let Some(same) = self.sent.iter_mut().find(|sent| sent.middle == middle) {
            same.at = None;
            return;
        }
        if let Some(place) = self.sent.get_mut(usize::from(self.oldest)) {
            *place = Sent {
                middle,
                at: Some(now),
            };
        }
        self.oldest = (self.oldest + 1) % REPORTS as u8;
    }

    /// A report block of the peer arrived at `now`: it last heard the report with `middle`, and
    /// `delay` (65,536ths of a second) before it answered. `None`: that is no report of ours, or
    /// cannot be true.
    pub fn answered(&mut self, now: Timestamp, middle: u32, delay: u32) -> Option<Duration> {
        let sent = self
            .sent
            .iter()
            .find(|sent| sent.middle == middle && middle != 0)?;
        let passed = now.since(sent.at?);
        let delay = Duration::from_nanos((u64::from(delay) * 1_000_000_000) >> 16);
        if delay > passed + DRIFT_MAX {
            return None;
        }
        let time = passed.saturating_sub(delay);
        if time > ROUND_TRIP_MAX {
            return None;
        }
        self.count = self.count.saturating_add(1);
        self.last = time;
        self.longest = self.longest.max(time);
        self.sum += time;
        Some(time)
    }

    /// The last measured; `None` before the first.
    pub fn last(&self) -> Option<Duration> {
        (self.count > 0).then_some(self.last)
    }

    /// The longest measured.
    pub fn longest(&self) -> Option<Duration> {
        (self.count > 0).then_some(self.longest)
    }

    /// The mean of all measured.
    pub fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// So many milliseconds in 65,536ths of a second.
    fn delay(ms: u32) -> u32 {
        ms * 65_536 / 1000
    }

    #[test]
    fn the_time_the_peer_took_is_not_the_way() {
        let mut path = RoundTrip::new();
        assert_eq!((path.last(), path.mean(), path.longest()), (None, None, None));
        path.sent(at(1_000), 0x1234_5678);
        let time = path.answered(at(3_120), 0x1234_5678, delay(2_000)).unwrap();
        assert_eq!(time.as_millis(), 120);
        path.sent(at(6_000), 0x1234_ffff);
        path.answered(at(6_040), 0x1234_ffff, 0).unwrap();
        assert_eq!(path.last(), Some(Duration::from_millis(40)));
        assert_eq!(path.longest(), Some(Duration::from_millis(120)));
        assert_eq!(path.mean(), Some(Duration::from_millis(80)));
    }

    /// RFC 3550 figure 2: a report of 46853.125 s, answered after 5.25 s, and heard at 46864.5 s.
    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(super::super::middle(0xb44d_b705_2000_0000), 0xb705_2000);
        let mut path = RoundTrip::new();
        path.sent(at(46_853_125), 0xb705_2000);
        let time = path.answered(at(46_864_500), 0xb705_2000, 0x0005_4000);
        assert_eq!(time, Some(Duration::from_millis(6_125)));
    }

    #[test]
    fn answers_to_nothing_are_refused() {
        let mut path = RoundTrip::new();
        path.sent(at(0), 0);
        assert_eq!(path.answered(at(50), 0, 0), None);
        path.sent(at(1_000), 7);
        assert_eq!(path.answered(at(1_050), 8, 0), None);
        assert_eq!(path.last(), None);
    }

    #[test]
    fn wild_delays_are_refused_and_small_drift_is_not() {
        let mut path = RoundTrip::new();
        path.sent(at(1_000), 7);
        assert_eq!(path.answered(at(1_050), 7, u32::MAX), None);
        assert_eq!(path.answered(at(1_050), 7, delay(60)), None);
        assert_eq!(path.answered(at(1_050), 7, delay(51)), Some(Duration::ZERO));
        assert_eq!(path.answered(at(12_000), 7, 0), None, "eleven seconds");
    }

    #[test]
    fn the_last_four_reports_are_known() {
        let mut path = RoundTrip::new();
        for n in 1..=5 {
            path.sent(at(u64::from(n) * 1_000), n);
        }
        assert_eq!(path.answered(at(5_010), 1, 0), None);
        for n in 2..=5 {
            let answer = path.answered(at(5_010), n, delay(5_000 - n * 1_000));
            assert!(
                answer.is_some_and(|time| time.as_millis() < 12),
                "{n}: {answer:?}"
            );
        }
    }

    #[test]
    fn a_clock_that_stands_still_measures_nothing() {
        let mut path = RoundTrip::new();
        path.sent(at(1_000), 7);
        path.sent(at(6_000), 7);
        assert_eq!(path.answered(at(6_010), 7, 0), None);
        path.sent(at(11_000), 7);
        assert_eq!(path.answered(at(11_010), 7, 0), None);
    }
}
