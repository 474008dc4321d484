//! What a configuration inherits from the one that runs: ids, and what hangs on them.
//!
//! In: both configurations and what calls still hold. Out: a [`Successor`]. A trunk keeps its id by its name. One
//! that is gone stays as an entry of its own ([`Service::Removed`]) until no call holds it; only then its id may become
//! another's. Sources that are no longer listed stay known for the calls that were up when that happened.

use super::options::Config;
use crate::{
    admission::{Admission, LimitPlan},
    health::HealthTable,
    id::ListenerId,
    io::Held,
    snapshot::{Former, Service, Snapshot, Trunk},
    time::Timestamp,
    trunk::{HostMatch, SourceTable, TrunkId},
};
use std::{
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

/// Most sources that are kept for calls after they have left the configuration; the oldest go first.
const FORMER_MAX: usize = 10_000;

/// What runs.
#[derive(Debug)]
pub struct Succession<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// What it was compiled to.
    pub snapshot: &'a Snapshot,
    /// The limits.
    pub admission: &'a Admission,
    /// What calls hold, on all shards, all of which have that snapshot. `None`: not known; then no id is given anew.
    pub held: Option<&'a Held>,
    /// The time.
    pub now: Timestamp,
}

/// What follows.
#[derive(Debug)]
pub struct Successor {
    /// For the shards, after [`Successor::adopt`].
    pub snapshot: Snapshot,
    pub(super) limits: LimitPlan,
    /// Channels kept for emergency calls.
    pub(super) reserve: u32,
    pub(super) given_anew: Vec<TrunkId>,
    /// Former sources that there was no room for: calls from there that are up may be cut off.
    pub forgotten: usize,
}

impl Successor {
    /// Make room for it in what all shards share, and hand it out: from now on shards may have it. Cannot fail.
    pub fn adopt(self, admission: &Admission) -> Arc<Snapshot> {
        admission.adopt(self.limits);
        admission.set_reserve(self.snapshot.limits, self.reserve);
        self.snapshot.health.grow(self.snapshot.trunks.len());
        for id in self.given_anew {
            self.snapshot.health.forget(id);
        }
        Arc::new(self.snapshot)
    }
}

/// Who has which id.
pub(super) struct Seats<'a> {
    /// The trunks of the configuration.
    pub(super) ids: HashMap<&'a str, TrunkId>,
    /// By id; those of the configuration as far as they were compiled.
    pub(super) trunks: Vec<Trunk>,
    pub(super) limits: LimitPlan,
    pub(super) given_anew: Vec<TrunkId>,
    before: Option<&'a Succession<'a>>,
}

/// The sources of earlier configurations.
pub(super) struct FormerSources {
    pub(super) former: Former,
    pub(super) forgotten: usize,
}

impl<'a> Seats<'a> {
    /// The ids for `config`. `Err`: there is none left.
    pub(super) fn of(config: &'a Config, before: Option<&'a Succession<'a>>) -> Result<Self, &'static str> {
        let running: &[Trunk] = before.map_or(&[], |before| &before.snapshot.trunks);
        let held = before.and_then(|before| before.held);
        let mut limits = before.map_or_else(LimitPlan::default, |before| {
            LimitPlan::after(before.admission, before.held.is_some())
        });
        let known: HashMap<&str, TrunkId> = (0..)
            .map(TrunkId)
            .zip(running)
            .filter(|(_, trunk)| !trunk.name.is_empty())
            .map(|(id, trunk)| (trunk.name.as_str(), id))
            .collect();
        let mut ids = HashMap::with_capacity(config.trunks.len());
        let stays = |trunk: &&super::Trunk| known.contains_key(trunk.name.as_str());
        for trunk in config.trunks.iter().filter(stays) {
            ids.insert(trunk.name.as_str(), known[trunk.name.as_str()]);
        }
        let staying: HashSet<TrunkId> = ids.values().copied().collect();

        // What nobody has any more is as if it had never been; what a call holds stays.
        let mut trunks = Vec::with_capacity(running.len());
        let mut free = Vec::new();
        for (id, trunk) in (0..).map(TrunkId).zip(running) {
            if staying.contains(&id) {
                trunks.push(trunk.clone());
            } else if trunk.service == Service::Removed && held.is_some_and(|held| !held.trunks.contains(&id))
            {
                free.push(id);
                trunks.push(vacant());
            } else {
                for limit in [trunk.inbound, trunk.outbound, trunk.both] {
                    limits.keep(limit);
                }
                trunks.push(removed(trunk));
            }
        }
        free.reverse();
        let mut given_anew = Vec::new();
        for trunk in config.trunks.iter().filter(|trunk| !stays(trunk)) {
            let id = match free.pop() {
                Some(id) => {
                    given_anew.push(id);
                    id
                }
                None => {
                    let next = u16::try_from(trunks.len()).ok().map(TrunkId);
                    // Nobody's id must not become a trunk's.
                    let id = next.filter(|id| *id != TrunkId::STRANGER).ok_or(
                        "too many removed trunks still have calls: wait for their end, then try again",
                    )?;
                    trunks.push(vacant());
                    id
                }
            };
            ids.insert(trunk.name.as_str(), id);
        }
        Ok(Self {
            ids,
            trunks,
            limits,
            given_anew,
            before,
        })
    }

    /// `trunk` is the one with `id`.
    pub(super) fn take(&mut self, id: TrunkId, trunk: Trunk) {
        if let Some(seat) = self.trunks.get_mut(usize::from(id.0)) {
            *seat = trunk;
        }
    }

    /// The health of all trunks: that which there is.
    pub(super) fn health(&self) -> Arc<HealthTable> {
        match self.before {
            Some(before) => Arc::clone(&before.snapshot.health),
            None => Arc::new(HealthTable::new(self.trunks.len())),
        }
    }

    /// The sources that `hosts` of `config` lists no more, and that calls may still come from.
    pub(super) fn former(&self, config: &Config, hosts: &[(TrunkId, HostMatch)]) -> FormerSources {
        let mut former = FormerSources {
            former: Former::default(),
            forgotten: 0,
        };
        let Some(before) = self.before else { return former };
        let needed_since = before.held.map_or(before.snapshot.former.needed_since, |held| {
            held.oldest.unwrap_or(before.now)
        });
        former.former.needed_since = needed_since;
        let mut seen: HashSet<HostMatch> = hosts.iter().map(|(_, host)| *host).collect();
        let given_up: Vec<_> = if config.trunks == before.config.trunks {
            Vec::new()
        } else {
            let known = before.snapshot.trunks_by_name();
            let trunks = before.config.trunks.iter();
            trunks
                .filter_map(|trunk| Some((known.get(trunk.name.as_str())?.0, trunk)))
                .flat_map(|(id, trunk)| trunk.hosts.iter().map(move |host| (id, *host, before.now)))
                .collect()
        };
        let earlier = before.snapshot.former.hosts.iter().copied();
        for (id, host, since) in given_up.into_iter().chain(earlier) {
            if since < needed_since || !seen.insert(host) {
                continue;
            }
            if former.former.hosts.len() == FORMER_MAX {
                former.forgotten += 1;
                continue;
            }
            former.former.hosts.push((id, host, since));
        }
        let listed: Vec<_> = former
            .former
            .hosts
            .iter()
            .map(|(id, host, _)| (*id, *host))
            .collect();
        // Two forms of one host, at two trunks: the first one is as good.
        former.former.sources = SourceTable::build_any(&listed);
        former
    }
}

/// `trunk` when the configuration has it no more.
fn removed(trunk: &Trunk) -> Trunk {
    let mut trunk = trunk.clone();
    trunk.service = Service::Removed;
    trunk.peer.domains = Vec::new();
    trunk.peer.domains_from = Vec::new();
    trunk.peer.options_interval = std::time::Duration::ZERO;
    trunk
}

/// An id that nobody has.
fn vacant() -> Trunk {
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Trunk {
        service: Service::Removed,
        ..Trunk::new("", nowhere, ListenerId(0))
    }
}
