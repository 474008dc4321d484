//! From one configuration to the next, while calls run.
//!
//! In: a snapshot whose ids are those of the one in use. Out: a shard that has it, from one event to the next: no
//! message and no timer sees both. What is under way goes on: calls, transactions, connections, registrations, and what
//! is known of trunks and names. Sources that are no longer listed may go on with what they have begun.

use super::Shard;
use crate::{
    snapshot::{Service, Snapshot, Target, Trunk},
    time::Timestamp,
    trunk::TrunkId,
};
use ahash::AHashMap;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// Most addresses behind former names; one more takes the place of the oldest.
const FORMER_NAMED_MAX: usize = 1024;

/// Addresses behind names that trunks had in an earlier configuration, and since when they have them no more.
#[derive(Debug, Default)]
pub(super) struct FormerNamed(AHashMap<IpAddr, (TrunkId, Timestamp)>);

impl FormerNamed {
    fn insert(&mut self, ip: IpAddr, trunk: TrunkId, now: Timestamp) {
        let oldest = || {
            self.0
                .iter()
                .min_by_key(|(ip, (_, since))| (*since, **ip))
                .map(|(ip, _)| *ip)
        };
        if self.0.len() >= FORMER_NAMED_MAX
            && let Some(oldest) = oldest()
        {
            self.0.remove(&oldest);
        }
        self.0.insert(ip, (trunk, now));
    }
}

impl Shard {
    /// `snapshot` holds from now on.
    pub(super) fn configure(&mut self, now: Timestamp, snapshot: Arc<Snapshot>) {
        self.keep_former_names(now, &snapshot);
        self.configure_streams(now, &snapshot);
        self.transactions.configure(&snapshot);
        let before = std::mem::replace(&mut self.snapshot, snapshot);
        self.configure_traffic(now, &before);
        self.configure_names(now);
        self.configure_logins();
        self.configure_bindings();
        self.configure_probes(now, &before);
        self.configure_registrations(now, &before);
        self.move_held_on(now);
        self.io.counters.configurations += 1;
        // What is asked for the first time is asked at once.
        self.run_names(now);
    }

    /// What was counted of a trunk stays with its name for as long as the configuration has it.
    fn configure_traffic(&mut self, now: Timestamp, before: &Snapshot) {
        let trunks = &self.snapshot.trunks;
        let is_new = |id: TrunkId| {
            let at = usize::from(id.0);
            match (before.trunks.get(at), trunks.get(at)) {
                (Some(before), Some(trunk)) => {
                    let returns = before.service == Service::Removed && trunk.service != Service::Removed;
                    before.name != trunk.name || returns
                }
                _ => true,
            }
        };
        self.traffic.configure(now, trunks.len(), is_new);
    }

    /// The trunk that had `peer` as a source in an earlier configuration.
    pub(crate) fn former_trunk_of(&self, peer: SocketAddr) -> Option<TrunkId> {
        if let Some(trunk) = self.snapshot.former.sources.lookup_stream(peer) {
            return Some(trunk);
        }
        let named = &self.former_named.0;
        if named.is_empty() {
            return None;
        }
        named.get(&peer.ip().to_canonical()).map(|(trunk, _)| *trunk)
    }

    /// Whether `peer` of a connection is a source of an earlier configuration only.
    pub(super) fn is_former(&self, peer: SocketAddr) -> bool {
        let any = !self.snapshot.former.hosts.is_empty() || !self.former_named.0.is_empty();
        any && self.trunk_of_stream(peer).is_none() && self.former_trunk_of(peer).is_some()
    }

    /// Addresses of trunks that are not reached by the same name in `snapshot`. Its calls from there are still up.
    fn keep_former_names(&mut self, now: Timestamp, snapshot: &Snapshot) {
        let needed_since = snapshot.former.needed_since;
        self.former_named.0.retain(|_, (_, since)| *since >= needed_since);
        if self.named_sources.is_empty() {
            return;
        }
        let gone: Vec<(IpAddr, TrunkId)> = self
            .named_sources
            .iter()
            .filter(|(_, id)| {
                let at = usize::from(id.0);
                let name = |trunk: Option<&Trunk>| match trunk?.next_hop() {
                    Target::Name(query) => Some(query.clone()),
                    Target::Address(_) | Target::Registered => None,
                };
                name(self.snapshot.trunks.get(at)) != name(snapshot.trunks.get(at))
            })
            .map(|(ip, id)| (*ip, *id))
            .collect();
        for (ip, id) in gone {
            self.former_named.insert(ip, id, now);
        }
    }
}
