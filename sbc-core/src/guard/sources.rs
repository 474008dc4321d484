//! Addresses that no trunk lists, as one shard sees them: how fast they send, and what they did wrong.
//!
//! In: an address for each packet and each offence. Out: whether the packet is within the rate, and how often the
//! address has committed that offence lately. The table is as large at the beginning as it ever is: an address
//! has its place in one of four entries, chosen by a keyed hash. Where all four are taken, the one goes that is missed
//! least: without repeated offences before those with some, and of those the one that has sent least. So a flood of
//! forged addresses, each seen once, displaces other such addresses and not the ones that are worth remembering.

use super::Offence;
use crate::time::Timestamp;
use ahash::RandomState;
use std::{net::IpAddr, time::Duration};

/// A rate of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Packets a second; 0: any number.
    pub per_second: u32,
    /// Packets that may come at once after a pause; 0 counts as 1.
    pub burst: u32,
}

impl Rate {
    /// Any number.
    pub const UNLIMITED: Self = Self {
        per_second: 0,
        burst: 0,
    };

    /// Whether it is no limit.
    pub const fn is_unlimited(self) -> bool {
        self.per_second == 0
    }
}

/// How much of a rate has been used: GCRA's theoretical arrival time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bucket {
    arrival: u64,
}

impl Bucket {
    /// Whether one more packet is within `rate`.
    #[inline]
    pub(super) fn take(&mut self, now: Timestamp, rate: Rate) -> bool {
        if rate.is_unlimited() {
            return true;
        }
        let now = now.as_nanos();
        let spacing = 1_000_000_000u64.div_ceil(u64::from(rate.per_second));
        let tolerance = spacing.saturating_mul(u64::from(rate.burst.saturating_sub(1)));
        if now < self.arrival.saturating_sub(tolerance) {
            return false;
        }
        self.arrival = self.arrival.max(now).saturating_add(spacing);
        true
    }
}

/// Sets of entries. With the four in each, 8,192 addresses are known at a time.
const SETS: usize = 2048;
const WAYS: usize = 4;

/// One address.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    /// Its keyed hash, never 0; 0: nobody.
    tag: u64,
    rate: Bucket,
    /// When the offences began to be counted, in milliseconds.
    since_ms: u64,
    offences: [u8; Offence::COUNT],
}

impl Source {
    /// What is lost when it is forgotten: offences that still count, then how much of its rate it has used. A single
    /// offence weighs nothing: every forged address has one.
    fn weight(&self, now_ms: u64, window_ms: u64) -> (u32, u64) {
        let live = now_ms.saturating_sub(self.since_ms) < window_ms;
        let offences: u32 = self.offences.iter().map(|count| u32::from(*count)).sum();
        let repeated = if live { offences.saturating_sub(1) } else { 0 };
        (repeated, self.rate.arrival)
    }
}

/// What one shard knows of addresses that no trunk lists.
#[derive(Debug)]
pub struct Sources {
    sets: Box<[[Source; WAYS]]>,
    hasher: RandomState,
    /// Window of the last offence: what decides who is forgotten.
    window_ms: u64,
}

impl Sources {
    /// An empty table; `seed` is nothing that peers know.
    pub fn new(seed: u64) -> Self {
        Self {
            sets: vec![[Source::default(); WAYS]; SETS].into_boxed_slice(),
            hasher: RandomState::with_seeds(seed, 0x67, 0x75, 0x61),
            window_ms: 0,
        }
    }

    /// Whether one more packet of `address` is within `rate`.
    #[inline]
    pub fn take(&mut self, now: Timestamp, address: IpAddr, rate: Rate) -> bool {
        rate.is_unlimited() || self.entry(now, address).rate.take(now, rate)
    }

    /// Note an offence of `address`. How many of that kind there were since the first within `window`.
    pub fn blame(&mut self, now: Timestamp, address: IpAddr, offence: Offence, window: Duration) -> u16 {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        self.window_ms = window_ms;
        let source = self.entry(now, address);
        if now.as_millis().saturating_sub(source.since_ms) >= window_ms {
            source.offences = [0; Offence::COUNT];
        }
        if source.offences == [0; Offence::COUNT] {
            source.since_ms = now.as_millis();
        }
        let count = &mut source.offences[offence as usize];
        *count = count.saturating_add(1);
        u16::from(*count)
    }

    /// The entry of `address`, made in the place of the one that is missed least.
    fn entry(&mut self, now: Timestamp, address: IpAddr) -> &mut Source {
        let hash = self.hasher.hash_one(address);
        let tag = hash | 1;
        let set = &mut self.sets[(hash >> 40) as usize % SETS];
        let known = set.iter().position(|source| source.tag == tag);
        let at = known.unwrap_or_else(|| {
            let (now_ms, window_ms) = (now.as_millis(), self.window_ms);
            let weight = |at: &usize| {
                let source: &Source = &set[*at];
                (source.tag != 0, source.weight(now_ms, window_ms))
            };
            let least = (0..WAYS).min_by_key(weight).unwrap_or(0);
            set[least] = Source {
                tag,
                ..Source::default()
            };
            least
        });
        &mut set[at]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    const WINDOW: Duration = Duration::from_secs(60);

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn the_table_does_not_grow() {
        let mut sources = Sources::new(1);
        let before = sources.sets.len();
        for n in 0..200_000u32 {
            let now = Timestamp::from_nanos(u64::from(n) * 10_000);
            sources.take(
                now,
                ip(n),
                Rate {
                    per_second: 10,
                    burst: 10,
                },
            );
        }
        assert_eq!(sources.sets.len(), before);
        assert!(size_of::<Source>() <= 32, "two entries in a cache line");
    }

    /// A hundred thousand forged addresses a second do not make it forget one that keeps offending, nor let one that
    /// sends too fast send more.
    #[test]
    fn a_flood_of_forged_addresses_hides_nobody() {
        let mut sources = Sources::new(1);
        let (prober, loud) = (ip(1), ip(2));
        let rate = Rate {
            per_second: 50,
            burst: 50,
        };
        let mut passed = 0;
        for n in 0..200_000u32 {
            let now = Timestamp::from_nanos(u64::from(n) * 10_000);
            sources.take(now, ip(1_000_000 + n), rate);
            sources.blame(now, ip(1_000_000 + n), Offence::Malformed, WINDOW);
            if n % 10_000 == 0 {
                let count = sources.blame(now, prober, Offence::Unproven, WINDOW);
                let again = sources.blame(now, prober, Offence::Unproven, WINDOW);
                let before = (n / 10_000 * 2) as u16;
                assert_eq!((count, again), (before + 1, before + 2));
            }
            // 10,000 a second, 2 s long.
            if n % 10 == 0 && sources.take(now, loud, rate) {
                passed += 1;
            }
        }
        assert!(
            (145..=155).contains(&passed),
            "{passed} packets passed in two seconds of 50 each"
        );
    }

    proptest! {
        /// Against a table without a bound, for as few addresses as have room.
        #[test]
        fn agrees_with_an_unbounded_table(
            steps in prop::collection::vec((0..4u32, 0..2_000u64, any::<bool>()), 1..300),
            seed: u64,
        ) {
            let rate = Rate { per_second: 5, burst: 3 };
            let mut sources = Sources::new(seed);
            let mut buckets: HashMap<u32, Bucket> = HashMap::new();
            let mut offences: HashMap<u32, (u64, u16)> = HashMap::new();
            let mut now_ms = 0;
            for (who, gap_ms, offends) in steps {
                now_ms += gap_ms;
                let now = Timestamp::from_millis(now_ms);
                if offends {
                    let entry = offences.entry(who).or_insert((now_ms, 0));
                    if now_ms - entry.0 >= 60_000 {
                        *entry = (now_ms, 0);
                    }
                    entry.1 += 1;
                    let count = sources.blame(now, ip(who), Offence::Scanner, WINDOW);
                    prop_assert_eq!(count, entry.1.min(255));
                } else {
                    let within = buckets.entry(who).or_default().take(now, rate);
                    prop_assert_eq!(sources.take(now, ip(who), rate), within);
                }
            }
        }
    }
}
