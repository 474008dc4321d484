//! `registrations.list`: where users of trunks are.

use super::Methods;
use crate::{
    admin::{failure::Failure, registrations::*},
    bindings::{Binding, Record},
    snapshot::Snapshot,
    time::Timestamp,
};

impl Methods {
    pub(super) fn registrations(&self, list: &ListRegistrations) -> Result<Registrations, Failure> {
        if let Some(trunk) = &list.trunk {
            self.trunk(trunk)?;
        }
        let now = self.daemon.clock.now();
        let limit = list
            .limit
            .unwrap_or(REGISTRATIONS_MAX)
            .clamp(1, REGISTRATIONS_MAX) as usize;
        let wanted = |record: &&std::sync::Arc<Record>| {
            list.trunk.as_ref().is_none_or(|trunk| **trunk == *record.trunk)
                && list.user.as_ref().is_none_or(|user| **user == *record.user)
                && list.after.as_ref().is_none_or(|after| {
                    (&*record.trunk, &*record.user) > (after.trunk.as_str(), after.user.as_str())
                })
                && record.live(now).next().is_some()
        };
        let store = self.daemon.registrar.store();
        let mut found = store.records().filter(wanted);
        let snapshot = &self.daemon.running.snapshot();
        let registrations: Vec<RegisteredUser> = found
            .by_ref()
            .take(limit)
            .map(|record| RegisteredUser {
                trunk: record.trunk.to_string(),
                user: record.user.to_string(),
                contacts: record
                    .live(now)
                    .map(|binding| contact(now, snapshot, binding))
                    .collect(),
            })
            .collect();
        let next = found.next().and(registrations.last()).map(|last| UserName {
            trunk: last.trunk.clone(),
            user: last.user.clone(),
        });
        Ok(Registrations { registrations, next })
    }

    /// Users of `trunk` that are registered.
    pub(super) fn users_registered(&self, trunk: &str) -> u64 {
        let now = self.daemon.clock.now();
        let store = self.daemon.registrar.store();
        let registered = store
            .records_of(trunk)
            .filter(|record| record.live(now).next().is_some());
        registered.count() as u64
    }
}

fn contact(now: Timestamp, snapshot: &Snapshot, binding: &Binding) -> RegisteredContact {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let listener = snapshot.listeners.get(usize::from(binding.way.listener.0));
    RegisteredContact {
        contact: text(&binding.contact),
        address: binding.way.peer.to_string(),
        transport: listener
            .map(|listener| listener.transport)
            .unwrap_or_default()
            .name()
            .to_owned(),
        q: binding.q,
        expires_s: binding.until.since(now).as_secs(),
        instance: binding.instance.as_ref().map(|(name, id)| (text(name), *id)),
        user_agent: binding.agent.to_string(),
    }
}
