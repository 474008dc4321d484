//! Networks that the operator lets in or keeps out.
//!
//! In: rules in their order, and an address. Out: what the first rule that names it says. Compiled to one table for each
//! prefix length in use, so that a thousand rules cost as many look-ups as they have lengths.

use ahash::RandomState;
use std::{collections::HashMap, net::IpAddr};

/// What happens to a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// It is looked at.
    #[default]
    Allow,
    /// It is dropped.
    Deny,
}

/// Rules, the first that names an address counts; and a default.
#[derive(Clone, Debug, Default)]
pub struct Acl {
    default: Action,
    v4: Vec<Length>,
    v6: Vec<Length>,
}

/// The networks of one prefix length, with the place of the first rule that names them.
type Length = (u8, HashMap<u128, (u32, Action), RandomState>);

impl Acl {
    /// Rules in their order: what they do, and networks with their prefix lengths. `default` is for addresses that none of
    /// them names.
    pub fn new(default: Action, rules: impl IntoIterator<Item = (Action, Vec<(IpAddr, u8)>)>) -> Self {
        let mut acl = Self {
            default,
            ..Self::default()
        };
        for (place, (action, networks)) in (0..).zip(rules) {
            for (network, prefix) in networks {
                acl.insert(network, prefix, (place, action));
            }
        }
        acl
    }

    fn insert(&mut self, network: IpAddr, prefix: u8, rule: (u32, Action)) {
        let (network, prefix) = match (network, network.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) if prefix >= 96 => (v4, prefix - 96),
            _ => (network, prefix),
        };
        let lengths = if network.is_ipv4() {
            &mut self.v4
        } else {
            &mut self.v6
        };
        let at = match lengths.iter().position(|(length, _)| *length == prefix) {
            Some(at) => at,
            None => {
                // A fixed seed is safe here: keys come from the configuration, peers only look up.
                let hasher = RandomState::with_seeds(0x61, 0x63, 0x6c, 0);
                lengths.push((prefix, HashMap::with_hasher(hasher)));
                lengths.len() - 1
            }
        };
        lengths[at].1.entry(masked(network, prefix)).or_insert(rule);
    }

    /// What the rules say of `address`; `None`: nothing.
    #[inline]
    pub fn says(&self, address: IpAddr) -> Option<Action> {
        let address = address.to_canonical();
        let lengths = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let found = lengths
            .iter()
            .filter_map(|(prefix, networks)| networks.get(&masked(address, *prefix)));
        found.min_by_key(|(place, _)| *place).map(|(_, action)| *action)
    }

    /// What happens to `address`, which no trunk lists.
    #[inline]
    pub fn admits(&self, address: IpAddr) -> Action {
        self.says(address).unwrap_or(self.default)
    }
}

/// The first `prefix` bits of `address`.
fn masked(address: IpAddr, prefix: u8) -> u128 {
    let (bits, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    bits.checked_shr(u32::from(width - prefix.min(width)))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_first_rule_that_names_an_address_counts() {
        let acl = Acl::new(
            Action::Deny,
            [
                (Action::Allow, vec![(ip("10.1.2.3"), 32), (ip("2001:db8::"), 32)]),
                (Action::Deny, vec![(ip("10.1.0.0"), 16)]),
                (Action::Allow, vec![(ip("10.0.0.0"), 8), (ip("10.1.2.4"), 32)]),
            ],
        );
        for (address, says) in [
            ("10.1.2.3", Some(Action::Allow)),
            ("10.1.2.4", Some(Action::Deny)),
            ("10.2.0.1", Some(Action::Allow)),
            ("::ffff:10.2.0.1", Some(Action::Allow)),
            ("2001:db8:5::1", Some(Action::Allow)),
            ("2001:db9::1", None),
            ("192.0.2.1", None),
        ] {
            assert_eq!(acl.says(ip(address)), says, "{address}");
            assert_eq!(acl.admits(ip(address)), says.unwrap_or(Action::Deny), "{address}");
        }
        let all = Acl::new(Action::Allow, [(Action::Deny, vec![(ip("0.0.0.0"), 0)])]);
        assert_eq!(all.admits(ip("192.0.2.1")), Action::Deny);
        assert_eq!(
            all.admits(ip("2001:db8::1")),
            Action::Allow,
            "0.0.0.0/0 is IPv4 only"
        );
    }

    proptest! {
        /// Against going through the rules one by one.
        #[test]
        fn agrees_with_a_linear_search(
            rules in prop::collection::vec((any::<bool>(), prop::collection::vec((any::<u32>(), 0..=32u8), 1..4)), 0..12),
            peers in prop::collection::vec(any::<u32>(), 1..40),
        ) {
            // Few distinct bits, so that networks nest.
            let narrow = |bits: u32| bits & 0x8000_C303;
            let action = |allow: bool| if allow { Action::Allow } else { Action::Deny };
            let compiled = rules.iter().map(|(allow, networks)| {
                let networks = networks.iter().map(|(bits, prefix)| (IpAddr::V4(narrow(*bits).into()), *prefix));
                (action(*allow), networks.collect())
            });
            let acl = Acl::new(Action::Allow, compiled);
            for peer in peers {
                let peer = narrow(peer);
                let top = |bits: u32, prefix: u8| u64::from(bits) >> (32 - prefix);
                let named = rules.iter().find(|(_, networks)| {
                    networks.iter().any(|(bits, prefix)| top(narrow(*bits), *prefix) == top(peer, *prefix))
                });
                prop_assert_eq!(acl.says(IpAddr::V4(peer.into())), named.map(|(allow, _)| action(*allow)));
            }
        }
    }
}
