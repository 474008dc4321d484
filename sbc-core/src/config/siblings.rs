//! Several accounts at one provider: which trunks share an address, and whether they can be told apart (T6).

use super::{Config, Destination, Trunk};
use crate::{
    siblings::{Sibling, Siblings, mark},
    trunk::{HostMatch, TrunkId},
};
use std::collections::HashMap;

impl Trunk {
    /// Names of its account and registration.
    fn account_names(&self) -> impl Iterator<Item = &str> {
        let account = self.account.as_ref().map(|account| account.username.as_str());
        let register = self
            .register
            .as_ref()
            .and_then(|register| register.user.as_deref());
        register.into_iter().chain(account)
    }

    /// Whether calls from an address that both have can be told apart: each has an account, and no name is in both.
    pub(super) fn may_share_with(&self, other: &Self) -> bool {
        let has_account = |trunk: &Self| trunk.account_names().next().is_some() && trunk.login.is_none();
        has_account(self)
            && has_account(other)
            && self
                .account_names()
                .all(|name| other.account_names().all(|theirs| theirs != name))
    }
}

impl Config {
    /// Whether calls from an address of both trunks can be told apart.
    pub(super) fn may_share(&self, a: TrunkId, b: TrunkId) -> bool {
        let trunk = |id: TrunkId| self.trunks.get(usize::from(id.0));
        trunk(a).zip(trunk(b)).is_some_and(|(a, b)| a.may_share_with(b))
    }

    /// The trunks that share an address: a host that both list, or the name that both are reached by.
    pub(super) fn siblings(&self, ids: &HashMap<&str, TrunkId>) -> Siblings {
        let mut group_of: HashMap<usize, usize> = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut join = |a: usize, b: usize| {
            if a == b {
                return;
            }
            let at = match (group_of.get(&a), group_of.get(&b)) {
                (Some(&at), Some(&other)) if at != other => {
                    let moved = std::mem::take(&mut groups[other]);
                    for trunk in &moved {
                        group_of.insert(*trunk, at);
                    }
                    groups[at].extend(moved);
                    return;
                }
                (Some(_), Some(_)) => return,
                (Some(&at), None) | (None, Some(&at)) => at,
                (None, None) => {
                    groups.push(Vec::new());
                    groups.len() - 1
                }
            };
            for trunk in [a, b] {
                if group_of.insert(trunk, at).is_none() {
                    groups[at].push(trunk);
                }
            }
        };
        let mut hosts: HashMap<HostMatch, usize> = HashMap::new();
        let mut names: HashMap<String, usize> = HashMap::new();
        for (n, trunk) in self.trunks.iter().enumerate() {
            for host in &trunk.hosts {
                join(*hosts.entry(*host).or_insert(n), n);
            }
            if let Some(Destination::Name(name, _)) = trunk.next_hop() {
                let first = *names.entry(name).or_insert(n);
                // Those that cannot be told apart were never asked to be: the first has the calls.
                if self.trunks[first].may_share_with(trunk) {
                    join(first, n);
                }
            }
        }
        let sibling = |n: usize| {
            let trunk = &self.trunks[n];
            Some(Sibling {
                trunk: *ids.get(trunk.name.as_str())?,
                mark: mark(&trunk.name),
                numbers: [].into(),
                names: trunk
                    .account_names()
                    .map(|name| name.trim_start_matches('+').into())
                    .collect(),
            })
        };
        let groups = groups.into_iter().filter(|group| !group.is_empty());
        Siblings::new(
            groups
                .map(|mut group| {
                    group.sort_unstable();
                    group.into_iter().filter_map(sibling).collect()
                })
                .collect(),
        )
    }
}
