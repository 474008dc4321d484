//! The names that a shard needs, and what is known of each.
//!
//! In: names of the configuration (kept as long as it holds) and of peers (kept while used), answers,
//! time. Out: [`Step`]s. Every name is in one of these states:
//!
//! | state | candidates | next step |
//! |---|---|---|
//! | asked | those of the answer before, if any | asked again when no answer comes |
//! | known | usable | asked before the TTL ends, each shard and name at its own moment |
//! | failing | usable for an hour after the TTL | asked with back-off |
//! | absent | none | asked when the negative TTL ends |

use super::{CANDIDATES_MAX, Candidate, Query, ResolveError, Resolved};
use crate::{id::QueryId, time::Timestamp};
use ahash::RandomState;
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{RngCore, SeedableRng},
};
use slab::Slab;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    time::Duration,
};

/// Most questions without an answer; others wait for their turn.
const ASKED_MAX: usize = 64;
/// Most names of peers; beyond, the one used longest ago is forgotten.
const LEARNED_MAX: usize = 1024;
/// A name of a peer that nobody needed for so long is forgotten.
const LEARNED_IDLE: Duration = Duration::from_secs(3600);
/// When to ask again if no answer has come: questions and answers may be lost on their way. The
/// driver gives up earlier.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// Bounds of a TTL: shorter would be a storm of questions, longer would outlive a change.
const TTL_BOUNDS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));
/// Longest time for which a name is taken to be absent: an operator waits for its correction.
const ABSENT_MAX: Duration = Duration::from_secs(300);
/// How long candidates are used after their TTL when the servers fail.
const STALE_MAX: Duration = Duration::from_secs(3600);
/// First and longest pause after a failure; it doubles between them.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// All names that a shard needs.
#[derive(Debug)]
pub(crate) struct Names {
    entries: Slab<Entry>,
    slots: HashMap<Query, usize, RandomState>,
    /// When to ask for which entry.
    to_ask: BTreeSet<(Timestamp, usize)>,
    /// When to give up the question about which entry.
    deadlines: BTreeSet<(Timestamp, usize)>,
    /// Questions without an answer, and the entry that each is about.
    asked: HashMap<QueryId, usize, RandomState>,
    learned: usize,
    next_id: u32,
    random: ChaCha12Rng,
}

#[derive(Debug)]
struct Entry {
    query: Query,
    holder: Holder,
    candidates: Vec<Candidate>,
    usable_until: Timestamp,
    question: Option<QueryId>,
    failures: u32,
    due: Timestamp,
    told: Told,
}

/// Who needs a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    Configuration,
    /// Peers; last needed then.
    Peers(Timestamp),
}

/// What the log has been told of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Known,
    Failing,
    Without,
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask the driver.
    Ask(QueryId, Query),
    /// Tell the log.
    Tell(Change),
}

/// A name of the configuration has changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) query: Query,
    pub(crate) state: State,
}

/// What a name of the configuration is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It stands for so many addresses.
    Known(usize),
    /// The servers fail; so many addresses of their last answer are used.
    Failing(usize),
    /// There is no such name, or no address that we can reach.
    Absent,
    /// The servers fail, and there is no answer of theirs that could be used.
    Unanswered,
}

impl Names {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = ChaCha12Rng::seed_from_u64(seed);
        // Peers choose names: what they collide in must not be known to them.
        let state = RandomState::with_seeds(random.next_u64(), random.next_u64(), 1, 2);
        Self {
            entries: Slab::new(),
            slots: HashMap::with_hasher(state.clone()),
            to_ask: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            asked: HashMap::with_hasher(state),
            learned: 0,
            next_id: 0,
            random,
        }
    }

    /// The configuration needs exactly `queries` from now on.
    pub(crate) fn configure(&mut self, now: Timestamp, queries: impl Iterator<Item = Query>) {
        let wanted: HashSet<Query> = queries.collect();
        let obsolete: Vec<usize> = self
            .entries
            .iter()
            .filter(|(_, e)| e.holder == Holder::Configuration && !wanted.contains(&e.query))
            .map(|(slot, _)| slot)
            .collect();
        for slot in obsolete {
            self.remove(slot);
        }
        let mut wanted: Vec<Query> = wanted.into_iter().collect();
        // In an order that does not depend on hashes: the same seed asks the same questions.
        wanted.sort_unstable();
        for query in wanted {
            match self
                .slots
                .get(&query)
                .and_then(|&slot| self.entries.get_mut(slot))
            {
                Some(entry) => {
                    if entry.holder != Holder::Configuration {
                        entry.holder = Holder::Configuration;
                        self.learned -= 1;
                    }
                }
                None => {
                    self.insert(now, query, Holder::Configuration);
                }
            }
        }
    }

    /// A peer is to be reached by `query`: ask for it unless that is done already. `true`: another
    /// name had to be forgotten for it.
    pub(crate) fn learn(&mut self, now: Timestamp, query: Query) -> bool {
        if let Some(entry) = self
            .slots
            .get(&query)
            .and_then(|&slot| self.entries.get_mut(slot))
        {
            if let Holder::Peers(used) = &mut entry.holder {
                *used = now;
            }
            return false;
        }
        let full = self.learned >= LEARNED_MAX;
        if full
            && let Some((_, oldest)) = self
                .entries
                .iter()
                .filter_map(|(slot, e)| match e.holder {
                    Holder::Peers(used) => Some((used, slot)),
                    Holder::Configuration => None,
                })
                .min()
        {
            self.remove(oldest);
        }
        self.insert(now, query, Holder::Peers(now));
        full
    }

    /// What `query` stands for: empty when that is not known.
    pub(crate) fn candidates(&mut self, now: Timestamp, query: &Query) -> &[Candidate] {
        let Some(entry) = self.slots.get(query).and_then(|&slot| self.entries.get_mut(slot)) else {
            return &[];
        };
        if let Holder::Peers(used) = &mut entry.holder {
            *used = now;
        }
        if entry.usable_until > now {
            &entry.candidates
        } else {
            &[]
        }
    }

    /// What `query` stands for as far as is known, without saying that it is needed.
    pub(crate) fn known(&self, query: &Query) -> &[Candidate] {
        let entry = self.slots.get(query).and_then(|&slot| self.entries.get(slot));
        entry.map_or(&[], |entry| &entry.candidates)
    }

    /// 64 bits for the order of candidates.
    pub(crate) fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// The answer to [`Step::Ask`]. The change that it makes, if the log should know, and whether
    /// the addresses are others than before.
    pub(crate) fn answered(
        &mut self,
        now: Timestamp,
        id: QueryId,
        outcome: Result<Resolved, ResolveError>,
    ) -> (Option<Change>, bool) {
        let Some(slot) = self.asked.remove(&id) else {
            return (None, false);
        };
        let jitter = self.random.next_u64();
        let Some(entry) = self.entries.get_mut(slot) else {
            return (None, false);
        };
        entry.question = None;
        self.deadlines.remove(&(entry.due, slot));
        let mut moved = false;
        entry.due = match outcome {
            Ok(mut answer) if !answer.candidates.is_empty() => {
                answer.candidates.truncate(CANDIDATES_MAX);
                let ttl = answer.ttl.clamp(TTL_BOUNDS.0, TTL_BOUNDS.1);
                moved = entry.usable_until <= now || entry.candidates != answer.candidates;
                entry.candidates = answer.candidates;
                entry.usable_until = now + ttl + STALE_MAX;
                entry.failures = 0;
                // Ahead of expiry, and not in step with other shards and names.
                now + share(ttl, 75, 90, jitter)
            }
            Ok(_) => entry.absent(now, TTL_BOUNDS.0, &mut moved),
            Err(ResolveError::Absent { ttl }) => entry.absent(now, ttl, &mut moved),
            Err(ResolveError::Failed) => entry.failed(now, jitter),
        };
        self.to_ask.insert((entry.due, slot));
        (self.change(now, slot), moved)
    }

    /// What to do now; `None`: nothing before [`Self::next_due`].
    pub(crate) fn step(&mut self, now: Timestamp) -> Option<Step> {
        while let Some(&(due, slot)) = self.deadlines.first()
            && due <= now
        {
            // No answer came: as if the servers had failed.
            let jitter = self.random.next_u64();
            let entry = self.entries.get_mut(slot)?;
            if let Some(id) = entry.question.take() {
                self.asked.remove(&id);
            }
            self.deadlines.remove(&(due, slot));
            entry.due = entry.failed(now, jitter);
            self.to_ask.insert((entry.due, slot));
            if let Some(change) = self.change(now, slot) {
                return Some(Step::Tell(change));
            }
        }
        while self.asked.len() < ASKED_MAX
            && let Some(&(due, slot)) = self.to_ask.first()
            && due <= now
        {
            let entry = self.entries.get_mut(slot)?;
            if matches!(entry.holder, Holder::Peers(used) if now.since(used) >= LEARNED_IDLE) {
                self.remove(slot);
                continue;
            }
            let id = QueryId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            self.asked.insert(id, slot);
            self.to_ask.remove(&(due, slot));
            entry.question = Some(id);
            entry.due = now + ANSWER_DEADLINE;
            self.deadlines.insert((entry.due, slot));
            return Some(Step::Ask(id, entry.query.clone()));
        }
        None
    }

    /// When [`Self::step`] has something to do.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        let to_ask = self.to_ask.first().filter(|_| self.asked.len() < ASKED_MAX);
        [to_ask, self.deadlines.first()]
            .into_iter()
            .flatten()
            .map(|(due, _)| *due)
            .min()
    }

    fn insert(&mut self, now: Timestamp, query: Query, holder: Holder) {
        let slot = self.entries.insert(Entry {
            query: query.clone(),
            holder,
            candidates: Vec::new(),
            usable_until: Timestamp::ZERO,
            question: None,
            failures: 0,
            due: now,
            told: Told::Nothing,
        });
        self.slots.insert(query, slot);
        self.to_ask.insert((now, slot));
        self.learned += usize::from(holder != Holder::Configuration);
    }

    fn remove(&mut self, slot: usize) {
        let Some(entry) = self.entries.try_remove(slot) else {
            return;
        };
        self.slots.remove(&entry.query);
        self.to_ask.remove(&(entry.due, slot));
        self.deadlines.remove(&(entry.due, slot));
        if let Some(id) = entry.question {
            self.asked.remove(&id);
        }
        self.learned -= usize::from(entry.holder != Holder::Configuration);
    }

    /// What the log has not been told yet. Names of peers are theirs to mind.
    fn change(&mut self, now: Timestamp, slot: usize) -> Option<Change> {
        let entry = self.entries.get_mut(slot)?;
        let n = if entry.usable_until > now {
            entry.candidates.len()
        } else {
            entry.candidates.clear();
            0
        };
        let (told, state) = match (n, entry.failures) {
            (0, 0) => (Told::Without, State::Absent),
            (0, _) => (Told::Without, State::Unanswered),
            (_, 0) => (Told::Known, State::Known(n)),
            _ => (Told::Failing, State::Failing(n)),
        };
        if entry.holder != Holder::Configuration || std::mem::replace(&mut entry.told, told) == told {
            return None;
        }
        Some(Change {
            query: entry.query.clone(),
            state,
        })
    }
}

impl Entry {
    /// The name is not there. When to ask again.
    fn absent(&mut self, now: Timestamp, ttl: Duration, moved: &mut bool) -> Timestamp {
        *moved = self.usable_until > now;
        self.candidates.clear();
        self.usable_until = Timestamp::ZERO;
        self.failures = 0;
        now + ttl.clamp(TTL_BOUNDS.0, ABSENT_MAX)
    }

    /// Nothing was learned. When to ask again.
    fn failed(&mut self, now: Timestamp, jitter: u64) -> Timestamp {
        let pause = BACKOFF.0 * (1 << self.failures.min(6));
        self.failures = self.failures.saturating_add(1);
        now + share(pause.min(BACKOFF.1), 75, 125, jitter)
    }
}

/// Between `low` and `high` per cent of `whole`.
fn share(whole: Duration, low: u32, high: u32, random: u64) -> Duration {
    let percent = low + (random % u64::from(high - low + 1)) as u32;
    whole * percent / 100
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.query;
        match self.state {
            State::Known(1) => write!(f, "{name} stands for 1 address"),
            State::Known(n) => write!(f, "{name} stands for {n} addresses"),
            State::Failing(_) => write!(
                f,
                "the DNS servers do not answer for {name}: its last addresses are used for up to an hour"
            ),
            State::Absent => write!(
                f,
                "DNS has no address for {name} that a listener of ours can reach: calls to it are refused"
            ),
            State::Unanswered => {
                write!(
                    f,
                    "the DNS servers do not answer for {name}: calls to it are refused"
                )
            }
        }
    }
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
