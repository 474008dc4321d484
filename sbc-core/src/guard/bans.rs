//! Addresses that are banned, shared by all shards.
//!
//! In: a ban, made by a shard for an offence or by an operator. Out: whether an address is banned, for every packet of
//! a source that no trunk lists; and the list, with evidence, for operators. The table is as large at the beginning as it
//! ever is. An address has its place in one set of eight, chosen by a keyed hash; where all are taken, the ban that ends
//! first gives way, and it is counted. What operators banned never gives way.
//!
//! Shards read and write without a lock. What is read for every packet is one cache line, the tags of a set. The rest of
//! a ban is guarded by a version that is odd while it is written: a reader that meets one reads again, a writer that
//! meets one lets the other win, for both write about the same set.

use super::Offence;
use crate::time::Timestamp;
use ahash::RandomState;
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{
        AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    },
};

/// Most octets of evidence that are kept.
pub const EVIDENCE_MAX: usize = 32;
/// Sets of bans. With the eight in each, 4,096 addresses can be banned at a time.
const SETS: usize = 512;
const WAYS: usize = 8;

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Whom it is for: an IPv4 address, or the first of an IPv6 network of 64 bits.
    pub address: IpAddr,
    /// When it was made.
    pub since: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// What it is for.
    pub offence: Offence,
    /// How many such offences there were.
    pub count: u32,
    /// Something of what was sent; [`EVIDENCE_MAX`] octets are kept.
    pub evidence: Box<[u8]>,
}

/// Why somebody could not be banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BanError {
    /// Operators have banned all eight that could be known in its place.
    #[error("the table has no room for this address: lift a ban, or use [[acl]]")]
    Full,
    /// Another shard writes there at this moment.
    #[error("another ban is being written in its place; try again")]
    Busy,
}

/// The bans of the process.
#[derive(Debug)]
pub struct Bans {
    seed: AtomicU64,
    sets: Box<[Set]>,
    records: Box<[Record]>,
    /// When the last ban of all ends: before there was any, a packet costs this one load.
    last_ms: AtomicU64,
    evicted: AtomicU64,
}

/// The tags of a set: keyed hashes of addresses; 0: nobody.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Set([AtomicU64; WAYS]);

#[derive(Debug, Default)]
struct Record {
    version: AtomicU64,
    until_ms: AtomicU64,
    since_ms: AtomicU64,
    address: [AtomicU64; 2],
    /// Offence, length of the evidence, count: 8, 8 and 32 bits.
    what: AtomicU64,
    evidence: [AtomicU64; EVIDENCE_MAX / 8],
}

impl Default for Bans {
    fn default() -> Self {
        Self {
            seed: AtomicU64::new(0),
            sets: (0..SETS).map(|_| Set::default()).collect(),
            records: (0..SETS * WAYS).map(|_| Record::default()).collect(),
            last_ms: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        }
    }
}

impl Bans {
    /// Key the hash, before there are any bans, so that peers cannot choose addresses that collide. All shards say the
    /// same.
    pub fn seed(&self, seed: u64) {
        self.seed.store(seed, Relaxed);
    }

    /// Whether `address` (as [`super::key_of`] has it) is banned.
    #[inline]
    pub fn holds(&self, now: Timestamp, address: IpAddr) -> bool {
        self.find(now, address).is_some()
    }

    /// If it is: which of the [`Self::capacity`] places its ban has, and [`Ban::count`].
    #[inline]
    pub(super) fn find(&self, now: Timestamp, address: IpAddr) -> Option<(usize, u32)> {
        let now_ms = now.as_millis();
        if now_ms >= self.last_ms.load(Relaxed) {
            return None;
        }
        let (set, tag) = self.place(address);
        let tags = &self.sets[set].0;
        let way = tags.iter().position(|found| found.load(Acquire) == tag)?;
        let at = set * WAYS + way;
        let record = &self.records[at];
        let count = (record.what.load(Relaxed) >> 32) as u32;
        (now_ms < record.until_ms.load(Relaxed)).then_some((at, count))
    }

    /// Ban `ban.address`, or change its ban: a later end counts, and an operator's word always does. Whether the ban of
    /// another gave way.
    pub fn add(&self, ban: &Ban) -> Result<bool, BanError> {
        let (set, tag) = self.place(ban.address);
        let now_ms = ban.since.as_millis();
        let way = self.way_for(set, tag, now_ms).ok_or(BanError::Full)?;
        let record = &self.records[set * WAYS + way];
        let known = self.sets[set].0[way].load(Acquire) == tag;
        let by_operator = ban.offence == Offence::Operator;
        if known && !by_operator {
            let live = now_ms < record.until_ms.load(Relaxed);
            if live && (record.is_operators() || record.until_ms.load(Relaxed) >= ban.until.as_millis()) {
                return Ok(false);
            }
        }
        let displaces =
            !known && now_ms < record.until_ms.load(Relaxed) && self.sets[set].0[way].load(Relaxed) != 0;
        record.write(|| {
            self.sets[set].0[way].store(0, Release);
            record.fill(ban);
            self.sets[set].0[way].store(tag, Release);
        })?;
        self.evicted.fetch_add(u64::from(displaces), Relaxed);
        self.last_ms.fetch_max(ban.until.as_millis(), Relaxed);
        Ok(displaces)
    }

    /// End the ban of `address`. `false`: there is none.
    pub fn lift(&self, now: Timestamp, address: IpAddr) -> bool {
        let (set, tag) = self.place(address);
        let mut lifted = false;
        for (way, found) in self.sets[set].0.iter().enumerate() {
            let record = &self.records[set * WAYS + way];
            if found.load(Acquire) == tag {
                lifted |= now.as_millis() < record.until_ms.load(Relaxed);
                found.store(0, Release);
            }
        }
        lifted
    }

    /// Every ban that holds at `now`, the newest first.
    pub fn list(&self, now: Timestamp) -> Vec<Ban> {
        let mut bans: Vec<Ban> = Vec::new();
        for (set, tags) in self.sets.iter().enumerate() {
            for (way, tag) in tags.0.iter().enumerate() {
                if tag.load(Acquire) == 0 {
                    continue;
                }
                let ban = self.records[set * WAYS + way].read();
                bans.extend(ban.filter(|ban| ban.until > now));
            }
        }
        bans.sort_by_key(|ban| (std::cmp::Reverse(ban.since), ban.address));
        // Two shards may have banned the same address at the same moment.
        bans.dedup_by_key(|ban| ban.address);
        bans
    }

    /// Bans that gave way to others before their end.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// The most that there can be.
    pub fn capacity(&self) -> usize {
        self.records.len()
    }

    /// Where `address` has its place, and its tag there.
    fn place(&self, address: IpAddr) -> (usize, u64) {
        let hasher = RandomState::with_seeds(self.seed.load(Relaxed), 0x62, 0x61, 0x6e);
        let hash = hasher.hash_one(address);
        ((hash >> 40) as usize % SETS, hash | 1)
    }

    /// Where in `set` a ban of the address with this `tag` is written; `None`: operators have taken all places.
    fn way_for(&self, set: usize, tag: u64, now_ms: u64) -> Option<usize> {
        let tags = &self.sets[set].0;
        if let Some(known) = tags.iter().position(|found| found.load(Acquire) == tag) {
            return Some(known);
        }
        let ends = |way: usize| {
            let record = &self.records[set * WAYS + way];
            let until = record.until_ms.load(Relaxed);
            if tags[way].load(Acquire) == 0 || until <= now_ms {
                return Some(0);
            }
            (!record.is_operators()).then_some(until)
        };
        let ways = (0..WAYS).filter_map(|way| Some((ends(way)?, way)));
        ways.min().map(|(_, way)| way)
    }
}

impl Record {
    fn is_operators(&self) -> bool {
        self.what.load(Relaxed) & 0xff == Offence::Operator as u64
    }

    /// Run `change` while nobody else writes here.
    fn write(&self, change: impl FnOnce()) -> Result<(), BanError> {
        let version = self.version.load(Relaxed);
        let begun = version & 1 == 0
            && self
                .version
                .compare_exchange(version, version + 1, Acquire, Relaxed)
                .is_ok();
        if !begun {
            return Err(BanError::Busy);
        }
        fence(Release);
        change();
        self.version.store(version + 2, Release);
        Ok(())
    }

    fn fill(&self, ban: &Ban) {
        let bits = match ban.address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        self.address[0].store((bits >> 64) as u64, Relaxed);
        self.address[1].store(bits as u64, Relaxed);
        self.since_ms.store(ban.since.as_millis(), Relaxed);
        let evidence = &ban.evidence[..ban.evidence.len().min(EVIDENCE_MAX)];
        let what = ban.offence as u64 | (evidence.len() as u64) << 8 | u64::from(ban.count) << 32;
        self.what.store(what, Relaxed);
        for (word, octets) in self.evidence.iter().zip(evidence.chunks(8)) {
            let mut padded = [0; 8];
            padded[..octets.len()].copy_from_slice(octets);
            word.store(u64::from_le_bytes(padded), Relaxed);
        }
        self.until_ms.store(ban.until.as_millis(), Relaxed);
    }

    /// What is there; `None` when it is being written.
    fn read(&self) -> Option<Ban> {
        for _ in 0..8 {
            let version = self.version.load(Acquire);
            let (high, low) = (self.address[0].load(Relaxed), self.address[1].load(Relaxed));
            let what = self.what.load(Relaxed);
            let mut evidence = [0; EVIDENCE_MAX];
            for (octets, word) in evidence.chunks_mut(8).zip(&self.evidence) {
                octets.copy_from_slice(&word.load(Relaxed).to_le_bytes());
            }
            let ban = Ban {
                address: IpAddr::V6(Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)))
                    .to_canonical(),
                since: Timestamp::from_millis(self.since_ms.load(Relaxed)),
                until: Timestamp::from_millis(self.until_ms.load(Relaxed)),
                offence: *Offence::ALL.get((what & 0xff) as usize)?,
                count: (what >> 32) as u32,
                evidence: evidence[..((what >> 8 & 0xff) as usize).min(EVIDENCE_MAX)].into(),
            };
            fence(Acquire);
            if version & 1 == 0 && self.version.load(Relaxed) == version {
                return Some(ban);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn ban(n: u32, since: u64, until: u64, offence: Offence) -> Ban {
        Ban {
            address: ip(n),
            since: at(since),
            until: at(until),
            offence,
            count: 7,
            evidence: b"friendly-scanner"[..].into(),
        }
    }

    #[test]
    fn a_ban_is_listed_with_its_evidence_until_it_ends() {
        let bans = Bans::default();
        let made = ban(5, 10, 100, Offence::Scanner);
        assert!(!bans.holds(at(10), ip(5)));
        bans.add(&made).unwrap();
        assert!(bans.holds(at(99), ip(5)) && !bans.holds(at(99), ip(6)));
        assert_eq!(bans.list(at(99)), [made]);
        assert!(!bans.holds(at(100), ip(5)));
        assert_eq!(bans.list(at(100)), []);
        let six = Ban {
            address: "2001:db8:1:2::".parse().unwrap(),
            evidence: [b'x'; 100][..].into(),
            ..ban(0, 10, 100, Offence::Malformed)
        };
        bans.add(&six).unwrap();
        let listed = bans.list(at(10));
        let listed = listed.iter().find(|ban| ban.address == six.address).unwrap();
        assert_eq!(listed.evidence.len(), EVIDENCE_MAX);
    }

    #[test]
    fn an_operator_has_the_last_word() {
        let bans = Bans::default();
        bans.add(&ban(5, 10, 1_000, Offence::Operator)).unwrap();
        bans.add(&ban(5, 20, 9_000, Offence::Scanner)).unwrap();
        assert!(!bans.holds(at(1_000), ip(5)), "an offence does not prolong it");
        bans.add(&ban(6, 10, 9_000, Offence::Scanner)).unwrap();
        bans.add(&ban(6, 20, 1_000, Offence::Operator)).unwrap();
        assert!(!bans.holds(at(1_000), ip(6)), "shortened");
        assert!(bans.lift(at(30), ip(6)) && !bans.holds(at(30), ip(6)));
        assert!(!bans.lift(at(30), ip(6)) && !bans.lift(at(30), ip(7)));
    }

    #[test]
    fn the_table_does_not_grow_and_keeps_what_operators_banned() {
        let bans = Bans::default();
        bans.add(&ban(1, 0, 1_000_000, Offence::Operator)).unwrap();
        for n in 0..100_000 {
            bans.add(&ban(100 + n, 1, 500_000 + u64::from(n), Offence::Scanner))
                .unwrap();
        }
        assert!(bans.holds(at(2), ip(1)));
        let live = bans.list(at(2)).len();
        assert!(
            live <= bans.capacity() && live > bans.capacity() * 9 / 10,
            "{live}"
        );
        assert_eq!(bans.evicted(), 100_001 - live as u64);
        assert!(bans.holds(at(2), ip(100 + 99_999)), "the newest is known");
    }

    /// Shards that ban and lift at the same time, while others read: nothing that is read is torn.
    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "shards are threads: what they share needs threads"
    )]
    fn readers_see_whole_bans() {
        let bans = Bans::default();
        std::thread::scope(|s| {
            for writer in 0..2u64 {
                let bans = &bans;
                s.spawn(move || {
                    for round in 1..20_000u64 {
                        let n = (round % 64) as u32;
                        let text = format!("{n} {round} {writer}");
                        let made = Ban {
                            count: n,
                            evidence: text.as_bytes().into(),
                            ..ban(n, round, 1_000_000 + round, Offence::Operator)
                        };
                        let _ = bans.add(&made);
                        if round % 7 == 0 {
                            bans.lift(at(round), ip(n));
                        }
                    }
                });
            }
            for _ in 0..300 {
                for seen in bans.list(at(1)) {
                    let text = String::from_utf8(seen.evidence.to_vec()).unwrap();
                    let words: Vec<u64> = text.split(' ').map(|word| word.parse().unwrap()).collect();
                    assert_eq!(words[0], u64::from(seen.count));
                    assert_eq!(ip(seen.count), seen.address);
                    assert_eq!(at(words[1]), seen.since);
                }
            }
        });
    }

    proptest! {
        /// Against a map, for as few addresses as have room.
        #[test]
        fn agrees_with_a_map(
            steps in prop::collection::vec((0..6u32, 0..3_000u64, 1..5_000u64, any::<bool>()), 1..200),
            seed: u64,
        ) {
            let bans = Bans::default();
            bans.seed(seed);
            let mut model: HashMap<u32, u64> = HashMap::new();
            let mut now = 0;
            for (who, gap, lasts, lifts) in steps {
                now += gap;
                if lifts {
                    let held = model.remove(&who).is_some_and(|until| now < until);
                    prop_assert_eq!(bans.lift(at(now), ip(who)), held);
                } else {
                    bans.add(&ban(who, now, now + lasts, Offence::Malformed)).unwrap();
                    let until = model.entry(who).or_insert(0);
                    *until = (*until).max(now + lasts);
                }
                for n in 0..6 {
                    let held = model.get(&n).is_some_and(|until| now < *until);
                    prop_assert_eq!(bans.holds(at(now), ip(n)), held);
                }
            }
        }
    }
}
