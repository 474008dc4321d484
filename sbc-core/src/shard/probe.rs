//! Watching trunks: OPTIONS at an interval, and what follows from the answers (S11, RFC 3261 §11).
//!
//! In: the trunks of the snapshot that want to be watched, answers, time. Out: OPTIONS requests, the
//! trunk's [`Health`], a log event when that changes. Each trunk is watched by one shard. A round asks
//! every address that calls would try; one that answers makes the round a success. Any final
//! response is an answer but 408 and 503.

use super::Shard;
use crate::{
    b2bua::write_contact,
    dialog::Dialog,
    health::Health,
    id::ShardId,
    io::{Event, Level, Output},
    snapshot::{Snapshot, Trunk},
    time::Timestamp,
    topology::{Host, uri},
    transaction::{ALLOW, Hop},
    trunk::TrunkId,
};
use smallvec::SmallVec;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

/// Rounds without success after which a trunk is down.
const DOWN_AFTER: u8 = 2;
/// Rounds with success after which a trunk that was down is up.
const UP_AFTER: u8 = 2;
/// How long an answer may take: four retransmissions.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// The first round comes within this after start, so that trunks are not all asked at once.
const FIRST_WITHIN: Duration = Duration::from_secs(2);
/// Most addresses of a trunk that are asked in a round.
const ADDRESSES_MAX: usize = 8;

/// The trunks that a shard watches.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    watches: HashMap<TrunkId, Watch>,
    /// When the next round of which trunk begins.
    due: BTreeSet<(Timestamp, TrunkId)>,
    /// OPTIONS without an answer, by their client transactions.
    asked: HashMap<u32, Asked>,
}

#[derive(Debug, Default)]
struct Watch {
    due: Timestamp,
    /// Requests of this round without an answer.
    open: usize,
    /// One request of this round was answered.
    answered: bool,
    failures: u8,
    successes: u8,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    trunk: TrunkId,
    hop: Hop,
    sent: Timestamp,
}

impl Probes {
    /// When the next round begins.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }
}

impl Shard {
    /// A new snapshot holds, after `before`: watch its trunks from now on. Of a trunk that is asked as before, what
    /// is known and what is due stay.
    pub(super) fn configure_probes(&mut self, now: Timestamp, before: &Snapshot) {
        let snapshot = Arc::clone(&self.snapshot);
        let mut earlier = std::mem::take(&mut self.probes);
        for (n, trunk) in (0..).zip(&snapshot.trunks) {
            let id = TrunkId(n);
            if ShardId((n % u16::from(self.shards)) as u8) != self.id {
                continue;
            }
            let watch = earlier.watches.remove(&id);
            let interval = trunk.peer.options_interval;
            if interval.is_zero() {
                // Nobody would find out that it is up again.
                self.not_watched(now, id);
                continue;
            }
            let was = before
                .trunks
                .get(usize::from(n))
                .filter(|was| was.name == trunk.name);
            let same_place = was.is_some_and(|was| {
                was.next_hop() == trunk.next_hop() && was.peer.domain == trunk.peer.domain
            });
            let same = same_place && was.is_some_and(|was| was.peer.options_interval == interval);
            if !same_place {
                // What the place before said is nothing about this one.
                self.not_watched(now, id);
            }
            let watch = match watch.filter(|_| same) {
                Some(watch) => watch,
                None => {
                    let within = FIRST_WITHIN.min(interval);
                    Watch {
                        due: now + within * (self.names.random() % 1000) as u32 / 1000,
                        ..Watch::default()
                    }
                }
            };
            let open = watch.open > 0;
            self.probes.due.insert((watch.due, id));
            self.probes.watches.insert(id, watch);
            if open {
                // Answers to what was asked of another place are nobody's.
                let asked = earlier.asked.iter().filter(|(_, asked)| asked.trunk == id);
                self.probes
                    .asked
                    .extend(asked.map(|(client, asked)| (*client, *asked)));
            }
        }
    }

    fn not_watched(&mut self, now: Timestamp, id: TrunkId) {
        let health = &self.snapshot.health;
        if health.view(id).0 != Health::Untested {
            health.set(now, id, Health::Untested);
        }
    }

    /// Begin the rounds that are due.
    pub(super) fn run_probes(&mut self, now: Timestamp) {
        while let Some(&(due, id)) = self.probes.due.first()
            && due <= now
        {
            self.probes.due.remove(&(due, id));
            let snapshot = Arc::clone(&self.snapshot);
            let Some(trunk) = snapshot.trunks.get(usize::from(id.0)) else {
                continue;
            };
            self.schedule(now, id, trunk);
            self.begin_round(now, id, trunk, &snapshot);
        }
    }

    fn schedule(&mut self, now: Timestamp, id: TrunkId, trunk: &Trunk) {
        // A tenth more or less: trunks that were asked together drift apart.
        let percent = 90 + (self.names.random() % 21) as u32;
        let due = now + trunk.peer.options_interval * percent / 100;
        if let Some(watch) = self.probes.watches.get_mut(&id) {
            watch.due = due;
            self.probes.due.insert((due, id));
        }
    }

    fn begin_round(&mut self, now: Timestamp, id: TrunkId, trunk: &Trunk, snapshot: &Snapshot) {
        let Some(watch) = self.probes.watches.get_mut(&id) else {
            return;
        };
        // An interval shorter than the answers take: the round before is still on.
        if watch.open > 0 {
            return;
        }
        watch.answered = false;
        let hops: SmallVec<[Hop; 2]> = self
            .hops_to(now, snapshot, id)
            .into_iter()
            .take(ADDRESSES_MAX)
            .collect();
        if hops.is_empty() || self.transactions.is_full() {
            self.end_round(now, id);
            return;
        }
        for hop in hops {
            self.ask(now, id, trunk, hop);
        }
    }

    fn ask(&mut self, now: Timestamp, id: TrunkId, trunk: &Trunk, hop: Hop) {
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let (call_id, tag) = (self.mint(u32::MAX), self.mint(u32::MAX));
        let ours = self.local(hop);
        let host = match &trunk.peer.domain {
            Some(domain) => Host::Domain(domain),
            None => Host::Address(hop.peer),
        };
        let target = uri("", host, false);
        let from = [
            b"<".as_slice(),
            &uri("", Host::Address(ours.address), false),
            b">;tag=",
            &tag,
        ]
        .concat();
        let to = [b"<".as_slice(), &target, b">"].concat();
        let mut dialog = Dialog::uac(&call_id, tag, &from, &to, &target);
        if let Some(proxy) = &trunk.peer.outbound_proxy {
            dialog.preload_route(&proxy.to_string());
        }
        let mut w = dialog.request(&mut self.io.scratch, "OPTIONS", 1, &branch, ours, 70);
        write_contact(&mut w, &tag, ours);
        w.header("Allow", ALLOW);
        w.header("Accept", b"application/sdp");
        let name = &self.snapshot.sip.server_name;
        if !name.is_empty() {
            w.header("User-Agent", name.as_bytes());
        }
        w.empty_body();
        let client = self
            .transactions
            .send(&mut self.io, now, nonce, hop, crate::sip::Method::Options, None);
        self.transactions
            .give_up_at(&mut self.io, now, client, now + ANSWER_MAX);
        self.io.counters.probes_sent += 1;
        let asked = Asked {
            trunk: id,
            hop,
            sent: now,
        };
        self.probes.asked.insert(client, asked);
        if let Some(watch) = self.probes.watches.get_mut(&id) {
            watch.open += 1;
        }
    }

    /// A request of no call has ended with `status`, or without any: an OPTIONS of ours, or an INVITE
    /// that its call has given up.
    pub(crate) fn probed(&mut self, now: Timestamp, client: u32, status: Option<u16>) {
        let Some(asked) = self.probes.asked.remove(&client) else {
            return;
        };
        let answered = status.is_some_and(|status| !matches!(status, 408 | 503));
        if answered {
            let health = &self.snapshot.health;
            health.answered(asked.trunk, now.since(asked.sent));
            self.served(asked.hop);
        } else {
            self.io.counters.probes_failed += 1;
            self.set_hop_back(now, asked.trunk, asked.hop, None);
        }
        let Some(watch) = self.probes.watches.get_mut(&asked.trunk) else {
            return;
        };
        watch.answered |= answered;
        watch.open = watch.open.saturating_sub(1);
        if watch.open == 0 {
            self.end_round(now, asked.trunk);
        }
    }

    fn end_round(&mut self, now: Timestamp, id: TrunkId) {
        let Some(watch) = self.probes.watches.get_mut(&id) else {
            return;
        };
        (watch.failures, watch.successes) = if watch.answered {
            (0, watch.successes.saturating_add(1))
        } else {
            (watch.failures.saturating_add(1), 0)
        };
        let (before, since) = self.snapshot.health.view(id);
        let health = match before {
            Health::Up | Health::Untested if watch.failures >= DOWN_AFTER => Health::Down,
            Health::Down if watch.successes >= UP_AFTER => Health::Up,
            Health::Untested if watch.successes > 0 => Health::Up,
            same => same,
        };
        if health == before {
            return;
        }
        self.snapshot.health.set(now, id, health);
        let name = self
            .snapshot
            .trunks
            .get(usize::from(id.0))
            .map_or("", |trunk| trunk.name.as_str());
        let (level, text) = match (health, before) {
            (Health::Down, _) => (
                Level::Warn,
                format!("trunk {name} is down: it does not answer OPTIONS; calls to it are refused"),
            ),
            (_, Health::Down) => (
                Level::Info,
                format!("trunk {name} is up again after {} s", now.since(since).as_secs()),
            ),
            _ => (Level::Info, format!("trunk {name} is up: it answers OPTIONS")),
        };
        self.io.outputs.push_back(Output::Event(Event {
            level,
            call: String::new(),
            text,
        }));
    }
}
