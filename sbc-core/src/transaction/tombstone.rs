//! Finished transactions: a few bytes each, kept only to absorb or answer retransmissions.
//!
//! Their lifetimes are two constants (64·T1 for timers D, J, L and M; T4 for I and K), so expiry
//! is two queues in arrival order instead of a timer each. What must be repeated is built anew
//! from the retransmitted message, so no message is kept.

use super::Key;
use crate::time::Timestamp;
use ahash::RandomState;
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// What to do when a message of a finished transaction comes again.
#[derive(Clone, Debug)]
pub(crate) enum Tombstone {
    /// INVITE answered 2xx (RFC 6026 Accepted, timer L): absorb; the call repeats its 2xx itself.
    Accepted,
    /// INVITE refused and acknowledged (Confirmed, timer I): absorb ACKs.
    Confirmed,
    /// Another request, answered (Completed, timer J): answer again in the same way.
    Answered(super::Reply),
    /// A request passed on, answered with what the other side said (Completed, timer J): send the
    /// same again.
    Passed(super::Hop, Bytes),
    /// Identity (Call-ID, From tag, CSeq) of a new INVITE: the same through another path is a
    /// merged request (§8.2.2.2).
    Merge(Key),
    /// INVITE that we sent, answered 2xx (Accepted, timer M): acknowledge again.
    AckSuccess {
        /// Hash of the To tag we accepted; another one is a surplus fork. Zero: none accepted.
        to_tag: u64,
        /// How to acknowledge.
        ack: Ack,
    },
    /// INVITE that we sent, refused (Completed, timer D): acknowledge again with this Request-URI
    /// and, when the request had one, this Route.
    AckFailure(Box<[u8]>, Option<Box<[u8]>>),
    /// Any other request that we sent, answered (timer K): absorb.
    Absorb,
}

/// How to acknowledge a repeated 2xx.
#[derive(Clone, Debug)]
pub(crate) enum Ack {
    /// Build the ACK from the 2xx alone.
    Rebuild,
    /// The ACK carries an answer: send these bytes again.
    Stored(Bytes),
    /// Not acknowledged yet: the caller's answer is still awaited.
    Awaited,
}

/// How long a tombstone stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linger {
    /// 64·T1: timers D, J, L, M.
    Long,
    /// T4: timers I, K.
    Short,
}

/// Expiry is checked in steps of this, so that a thousand tombstones cost one wake-up.
const SWEEP: Duration = Duration::from_millis(200);

/// A table of everything would stall the shard for milliseconds whenever it is rebuilt. Each of these
/// holds its share of the keys and is rebuilt by itself.
const PARTS: usize = 64;

#[derive(Debug)]
pub(crate) struct Tombstones {
    parts: Box<[Part]>,
    len: usize,
    queues: [(Duration, VecDeque<(Timestamp, Key)>); 2],
}

impl Tombstones {
    pub(crate) fn new(long: Duration, short: Duration, seed: u64) -> Self {
        let hasher = RandomState::with_seed(seed as usize);
        Self {
            parts: (0..PARTS).map(|_| Part::new(hasher.clone())).collect(),
            len: 0,
            queues: [(long, VecDeque::new()), (short, VecDeque::new())],
        }
    }

    pub(crate) fn insert(&mut self, now: Timestamp, key: Key, linger: Linger, tombstone: Tombstone) {
        if self.parts[part_of(key)].insert(key, tombstone) {
            let (stay, queue) = &mut self.queues[linger as usize];
            queue.push_back((now + *stay, key));
            self.len += 1;
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Tombstone> {
        self.parts[part_of(key)].map.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Tombstone> {
        self.parts[part_of(key)].map.get_mut(&key)
    }

    pub(super) fn visit(&self, visit: &mut dyn FnMut(&Tombstone)) {
        for part in &self.parts {
            part.map.values().for_each(&mut *visit);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Forget what has expired by `now`.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        for (_, queue) in &mut self.queues {
            while queue.front().is_some_and(|(at, _)| *at <= now) {
                if let Some((_, key)) = queue.pop_front() {
                    self.parts[part_of(key)].map.remove(&key);
                    self.len -= 1;
                }
            }
            if queue.is_empty() && queue.capacity() > 4096 {
                queue.shrink_to(1024);
            }
        }
        if self.len == 0 {
            self.parts.iter_mut().for_each(Part::shrink);
        }
    }

    /// When [`Tombstones::sweep`] has something to do, rounded up to whole sweep steps.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        let next = self
            .queues
            .iter()
            .filter_map(|(_, q)| q.front())
            .map(|(at, _)| *at)
            .min()?;
        let step = SWEEP.as_nanos() as u64;
        Some(Timestamp::from_nanos(next.as_nanos().div_ceil(step) * step))
    }
}

fn part_of(key: Key) -> usize {
    (key >> 64) as usize % PARTS
}

/// One of the tables, never more than half full: what is removed leaves marks behind, and a table
/// clears them in place, without growing, only while half of it is free. Memory so follows the
/// number of tombstones and not how long they have been coming and going.
#[derive(Debug)]
struct Part {
    map: HashMap<Key, Tombstone, RandomState>,
    room: usize,
}

impl Part {
    fn new(hasher: RandomState) -> Self {
        Self {
            map: HashMap::with_hasher(hasher),
            room: 0,
        }
    }

    /// Whether the key was not there before.
    fn insert(&mut self, key: Key, tombstone: Tombstone) -> bool {
        if 2 * (self.map.len() + 1) > self.room {
            // What a table of a power of two holds: seven eighths of it.
            self.room = (2 * self.room).max(56);
            self.map.reserve(self.room - self.map.len());
        }
        self.map.insert(key, tombstone).is_none()
    }

    fn shrink(&mut self) {
        if self.room > 1024 {
            self.map.shrink_to(0);
            self.room = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_follows_the_number_and_not_the_turnover() {
        let second = Duration::from_secs(1);
        let mut stones = Tombstones::new(second * 32, second * 5, 1);
        let mut now = Timestamp::ZERO;
        let mut key: Key = 0;
        let mut room_after_a_minute = 0;
        for tick in 0..200 {
            for _ in 0..5000 {
                key = key
                    .wrapping_mul(0x2545_f491_4f6c_dd1d_2545_f491_4f6c_dd1d)
                    .wrapping_add(0x9e37_79b9_7f4a_7c15 << 40 | 1);
                stones.insert(now, key, Linger::Long, Tombstone::Absorb);
            }
            now = now + second;
            stones.sweep(now);
            let room: usize = stones.parts.iter().map(|part| part.room).sum();
            if tick == 60 {
                room_after_a_minute = room;
            }
            if tick > 60 {
                assert_eq!(room, room_after_a_minute, "at {tick} s");
                assert_eq!(stones.len(), 31 * 5000);
            }
        }
        now = now + second * 40;
        stones.sweep(now);
        assert_eq!(stones.len(), 0);
        assert!(stones.parts.iter().all(|part| part.map.is_empty()));
    }

    #[test]
    fn a_key_keeps_its_first_time_and_takes_the_latest_meaning() {
        let second = Duration::from_secs(1);
        let mut stones = Tombstones::new(second * 32, second * 5, 1);
        stones.insert(Timestamp::ZERO, 7, Linger::Short, Tombstone::Confirmed);
        stones.insert(Timestamp::ZERO + second, 7, Linger::Short, Tombstone::Absorb);
        assert!(matches!(stones.get(7), Some(Tombstone::Absorb)));
        assert_eq!(stones.len(), 1);
        stones.sweep(Timestamp::ZERO + second * 5);
        assert_eq!((stones.len(), stones.get(7).is_none()), (0, true));
    }
}
