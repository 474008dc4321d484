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

#[derive(Debug)]
pub(crate) struct Tombstones {
    map: HashMap<Key, Tombstone, RandomState>,
    queues: [(Duration, VecDeque<(Timestamp, Key)>); 2],
}

impl Tombstones {
    pub(crate) fn new(long: Duration, short: Duration, seed: u64) -> Self {
        Self {
            map: HashMap::with_hasher(RandomState::with_seed(seed as usize)),
            queues: [(long, VecDeque::new()), (short, VecDeque::new())],
        }
    }

    pub(crate) fn insert(&mut self, now: Timestamp, key: Key, linger: Linger, tombstone: Tombstone) {
        let (stay, queue) = &mut self.queues[linger as usize];
        if self.map.insert(key, tombstone).is_none() {
            queue.push_back((now + *stay, key));
        }
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Tombstone> {
        self.map.get(&key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Tombstone> {
        self.map.get_mut(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    /// Forget what has expired by `now`.
    pub(crate) fn sweep(&mut self, now: Timestamp) {
        for (_, queue) in &mut self.queues {
            while queue.front().is_some_and(|(at, _)| *at <= now) {
                if let Some((_, key)) = queue.pop_front() {
                    self.map.remove(&key);
                }
            }
            if queue.is_empty() && queue.capacity() > 4096 {
                queue.shrink_to(1024);
            }
        }
        if self.map.is_empty() && self.map.capacity() > 8192 {
            self.map.shrink_to(1024);
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
