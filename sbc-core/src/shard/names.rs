//! Names in a shard: asked for through the driver, looked up without waiting.
//!
//! In: the trunks of the snapshot, answers of the driver. Out: [`Output::Resolve`], log events, the
//! addresses to try for a trunk, and which trunk an address behind a name belongs to.

use super::Shard;
use crate::{
    admin::protocol::TrunkAddress,
    b2bua::LegState,
    id::{ListenerId, QueryId},
    io::{Event, Level, Output},
    resolve::{Candidate, Change, NameState, Query, ResolveError, Resolved, Step, order},
    snapshot::{Service, Snapshot, Target, Trunk},
    time::Timestamp,
    transport::Hop,
    trunk::TrunkId,
};
use std::{collections::HashMap, net::SocketAddr, sync::Arc};

impl Shard {
    /// The answer to an [`Output::Resolve`].
    pub fn handle_resolved(&mut self, now: Timestamp, id: QueryId, outcome: Result<Resolved, ResolveError>) {
        match &outcome {
            Ok(_) => {}
            Err(ResolveError::Absent { .. }) => self.io.counters.names_absent += 1,
            Err(ResolveError::Failed) => self.io.counters.names_failed += 1,
        }
        let (change, moved) = self.names.answered(now, id, outcome);
        if let Some(change) = change {
            self.tell_name(&change);
        }
        if moved {
            self.learn_sources(now);
        }
        self.run_names(now);
    }

    /// Ask for the names that are due.
    pub(super) fn run_names(&mut self, now: Timestamp) {
        while let Some(step) = self.names.step(now) {
            match step {
                Step::Ask(id, query) => {
                    self.io.counters.names_asked += 1;
                    self.io.outputs.push_back(Output::Resolve { id, query });
                }
                Step::Tell(change) => {
                    self.tell_name(&change);
                    self.learn_sources(now);
                }
            }
        }
    }

    /// A new snapshot holds: its names are needed from now on, others no more.
    pub(super) fn configure_names(&mut self, now: Timestamp) {
        let snapshot = &self.snapshot;
        self.names.configure(now, names_of(snapshot));
        self.learn_sources(now);
    }

    /// Ask for the names that requests inside the dialogs of a call will go to.
    pub(crate) fn learn_peers(&mut self, now: Timestamp, slot: u32) {
        let Some(call) = self.calls.get(slot as usize) else {
            return;
        };
        let mut learned = false;
        for leg in [&call.a, &call.b] {
            // An address, the usual case, costs no more than this look at it.
            // An invited peer has not said where it is.
            if matches!(leg.state, LegState::Inviting(_)) || leg.dialog.next_hop().is_some() {
                continue;
            }
            if let Some(query) = leg.next_hop_query(&self.snapshot) {
                learned = true;
                if self.names.learn(now, query) {
                    self.io.counters.names_evicted += 1;
                }
            }
        }
        if learned {
            self.run_names(now);
        }
    }

    /// The trunk that sends from `peer`: one that lists it, or else the first whose name stands
    /// for it.
    pub(crate) fn trunk_of(&self, peer: SocketAddr) -> Option<TrunkId> {
        let listed = self.snapshot.sources.lookup(peer);
        listed.or_else(|| self.named_trunk_of(peer))
    }

    /// [`Self::trunk_of`] for a connection, whose port says nothing.
    pub(crate) fn trunk_of_stream(&self, peer: SocketAddr) -> Option<TrunkId> {
        let listed = self.snapshot.sources.lookup_stream(peer);
        listed.or_else(|| self.named_trunk_of(peer))
    }

    pub(super) fn named_trunk_of(&self, peer: SocketAddr) -> Option<TrunkId> {
        if self.named_sources.is_empty() {
            return None;
        }
        self.named_sources.get(&peer.ip().to_canonical()).copied()
    }

    /// Where requests to `trunk` go, best first; empty: its name is not resolved.
    pub(crate) fn hops_to(&mut self, now: Timestamp, snapshot: &Snapshot, id: TrunkId) -> Vec<Hop> {
        let Some(trunk) = snapshot.trunks.get(usize::from(id.0)) else {
            return Vec::new();
        };
        match trunk.next_hop() {
            Target::Address(peer) => vec![Hop {
                listener: trunk.listener,
                peer: *peer,
                trunk: id,
                flow: None,
            }],
            Target::Name(query) => self.hops_of(now, snapshot, query, (id, trunk.listener)),
            Target::Registered => Vec::new(),
        }
    }

    fn hops_of(
        &mut self,
        now: Timestamp,
        snapshot: &Snapshot,
        query: &Query,
        (trunk, listener): (TrunkId, ListenerId),
    ) -> Vec<Hop> {
        let candidates = self.names.candidates(now, query).to_vec();
        let (names, setbacks) = (&mut self.names, &self.setbacks);
        order(
            &candidates,
            || names.random(),
            |c| setbacks.contains(now, c.transport, c.address),
        )
        .into_iter()
        .filter_map(|c| {
            Some(Hop {
                listener: snapshot.listener_for(c.transport, c.address, listener)?,
                peer: c.address,
                trunk,
                flow: None,
            })
        })
        .collect()
    }

    /// The addresses of every trunk, for operators.
    pub(super) fn trunk_addresses(&mut self, now: Timestamp) -> Vec<Vec<TrunkAddress>> {
        let snapshot = Arc::clone(&self.snapshot);
        let addresses = |trunk: &Trunk| match trunk.next_hop() {
            Target::Address(address) => {
                let listener = snapshot.listeners.get(usize::from(trunk.listener.0));
                let transport = listener.map(|listener| listener.transport).unwrap_or_default();
                vec![TrunkAddress {
                    transport: transport.name().to_owned(),
                    address: address.to_string(),
                    priority: 0,
                    weight: 0,
                    failed: false,
                }]
            }
            Target::Name(query) => {
                let address = |c: &Candidate| TrunkAddress {
                    transport: c.transport.name().to_owned(),
                    address: c.address.to_string(),
                    priority: c.priority,
                    weight: c.weight,
                    failed: self.setbacks.contains(now, c.transport, c.address),
                };
                self.names.known(query).iter().map(address).collect()
            }
            Target::Registered => Vec::new(),
        };
        snapshot.trunks.iter().map(addresses).collect()
    }

    fn learn_sources(&mut self, now: Timestamp) {
        let mut sources = HashMap::with_hasher(self.hasher.clone());
        let trunks = (0..).map(TrunkId).zip(&self.snapshot.trunks);
        // Those that are only there for their calls come last: what they share is another's.
        let (gone, there): (Vec<_>, Vec<_>) = trunks
            .filter(|(_, trunk)| matches!(trunk.next_hop(), Target::Name(_)))
            .partition(|(_, trunk)| trunk.service == Service::Removed);
        for (id, trunk) in there.into_iter().chain(gone) {
            if let Target::Name(query) = trunk.next_hop() {
                for candidate in self.names.candidates(now, query) {
                    sources.entry(candidate.address.ip().to_canonical()).or_insert(id);
                }
            }
        }
        self.named_sources = sources;
    }

    fn tell_name(&mut self, change: &Change) {
        let level = match change.state {
            NameState::Known(_) => Level::Info,
            _ => Level::Warn,
        };
        self.io.outputs.push_back(Output::Event(Event {
            level,
            call: String::new(),
            text: change.to_string(),
        }));
    }
}

/// The names that the trunks of `snapshot` are reached by.
fn names_of(snapshot: &Snapshot) -> impl Iterator<Item = Query> + '_ {
    snapshot.trunks.iter().filter_map(|trunk| match trunk.next_hop() {
        Target::Name(query) => Some(query.clone()),
        Target::Address(_) | Target::Registered => None,
    })
}
