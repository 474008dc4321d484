//! Which trunk a datagram comes from, decided by source address before anything is parsed.
//!
//! In: the hosts of every trunk. Out: [`SourceTable`], asked once per datagram.

use ahash::RandomState;
use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// Index into [`crate::snapshot::Snapshot::trunks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrunkId(pub u16);

impl TrunkId {
    /// No trunk: a source that nobody lists, before it has proven which trunk it is. Far beyond the most trunks
    /// that there may be.
    pub const STRANGER: Self = Self(u16::MAX);
}

/// How a trunk is recognised (T1). What it is made with stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrunkKind {
    /// By its addresses.
    #[default]
    Ip,
    /// By name and password.
    Credentials,
    /// By the addresses behind its name.
    Fqdn,
}

impl TrunkKind {
    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Credentials => "credentials",
            Self::Fqdn => "fqdn",
        }
    }
}

/// Source addresses that belong to a trunk. IPv4-mapped IPv6 addresses count as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// One address, any port: `127.0.0.2`, `2001:db8::1`.
    Addr(IpAddr),
    /// One address and port: `127.0.0.2:5060`, `[::1]:5060`.
    AddrPort(SocketAddr),
    /// A network and its prefix length: `10.0.0.0/8`, `2001:db8::/32`.
    Cidr(IpAddr, u8),
}

impl HostMatch {
    /// The address, or that of the network.
    pub fn ip(&self) -> IpAddr {
        match *self {
            Self::Addr(address) | Self::Cidr(address, _) => address,
            Self::AddrPort(address) => address.ip(),
        }
    }

    /// The network that it names, with its prefix length; `None`: it names a port, too.
    pub fn network(&self) -> Option<(IpAddr, u8)> {
        match *self {
            Self::Addr(address) => Some((address, if address.is_ipv4() { 32 } else { 128 })),
            Self::Cidr(network, prefix) => Some((network, prefix)),
            Self::AddrPort(_) => None,
        }
    }
}

/// Why a text is not a [`HostMatch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseHostError {
    /// None of the three forms.
    #[error(
        "expected an address (192.0.2.1), a network (192.0.2.0/24) or an address with port (192.0.2.1:5060)"
    )]
    Form,
    /// A prefix length that the address family does not have.
    #[error("a prefix length for this address is a number from 0 to {max}")]
    Prefix {
        /// 32 or 128.
        max: u8,
    },
    /// Bits after the prefix: the operator may have meant another network or one host.
    #[error("the address has bits set after the prefix: write {network}/{prefix} for the network")]
    HostBits {
        /// The network that the text would mean.
        network: IpAddr,
        /// Its prefix length.
        prefix: u8,
    },
    /// Port 0 sends nothing.
    #[error("port 0 can not send: leave the port out to accept any")]
    PortZero,
}

impl FromStr for HostMatch {
    type Err = ParseHostError;

    fn from_str(text: &str) -> Result<Self, ParseHostError> {
        if let Some((address, prefix)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| ParseHostError::Form)?;
            let max = width(address);
            // Only digits: `parse` alone would take "+8".
            let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
            let prefix: u8 = Some(prefix)
                .filter(|_| digits)
                .and_then(|p| p.parse().ok())
                .filter(|&p| p <= max)
                .ok_or(ParseHostError::Prefix { max })?;
            let network = network_of(address, prefix);
            if network != address {
                return Err(ParseHostError::HostBits { network, prefix });
            }
            return Ok(Self::Cidr(address, prefix));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Addr(address));
        }
        match text.parse::<SocketAddr>() {
            Ok(at) if at.port() == 0 => Err(ParseHostError::PortZero),
            Ok(at) => Ok(Self::AddrPort(at)),
            Err(_) => Err(ParseHostError::Form),
        }
    }
}

impl fmt::Display for HostMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(address) => write!(f, "{address}"),
            Self::AddrPort(at) => write!(f, "{at}"),
            Self::Cidr(network, prefix) => write!(f, "{network}/{prefix}"),
        }
    }
}

/// Two trunks list the very same host, so nothing could tell their calls apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host {host} is listed by two trunks")]
pub struct Conflict {
    /// What both list.
    pub host: HostMatch,
    /// Who listed it first.
    pub first: TrunkId,
    /// Who listed it again.
    pub second: TrunkId,
}

type Map<K> = HashMap<K, TrunkId, RandomState>;

/// Source addresses of all trunks, most specific first.
#[derive(Clone, Debug)]
pub struct SourceTable {
    ports: Map<(IpAddr, u16)>,
    addresses: Map<IpAddr>,
    /// The first trunk that lists an address with some port.
    hosts: Map<IpAddr>,
    /// One bucket per prefix length in use, longest first, so that the first hit is the answer.
    networks_v4: Vec<(u8, Map<IpAddr>)>,
    networks_v6: Vec<(u8, Map<IpAddr>)>,
}

impl SourceTable {
    /// Compile the hosts of all trunks. The same host twice at one trunk is accepted.
    pub fn build(hosts: &[(TrunkId, HostMatch)]) -> Result<Self, Conflict> {
        Self::build_shared(hosts, |_, _| false)
    }

    /// As [`Self::build`], but what two trunks list that `may_share` is the first one's: they are told apart by other
    /// means.
    pub fn build_shared(
        hosts: &[(TrunkId, HostMatch)],
        may_share: impl Fn(TrunkId, TrunkId) -> bool,
    ) -> Result<Self, Conflict> {
        let mut table = Self::default();
        for &(trunk, host) in hosts {
            let first = table.insert(trunk, host);
            if first != trunk && !may_share(first, trunk) {
                return Err(Conflict {
                    host,
                    first,
                    second: trunk,
                });
            }
        }
        Ok(table)
    }

    /// The same where it does not matter whose a host is that two trunks list.
    pub fn build_any(hosts: &[(TrunkId, HostMatch)]) -> Self {
        let mut table = Self::default();
        for &(trunk, host) in hosts {
            table.insert(trunk, host);
        }
        table
    }

    /// Whose it is: the first one's.
    fn insert(&mut self, trunk: TrunkId, host: HostMatch) -> TrunkId {
        *match normalise(host) {
            HostMatch::AddrPort(at) => {
                self.hosts.entry(at.ip()).or_insert(trunk);
                self.ports.entry((at.ip(), at.port())).or_insert(trunk)
            }
            HostMatch::Addr(address) => self.addresses.entry(address).or_insert(trunk),
            HostMatch::Cidr(network, prefix) => self.bucket(network, prefix).entry(network).or_insert(trunk),
        }
    }

    /// The trunk that lists `peer`: address and port beats address beats the longest CIDR.
    pub fn lookup(&self, peer: SocketAddr) -> Option<TrunkId> {
        let ip = peer.ip().to_canonical();
        if let Some(&trunk) = self
            .ports
            .get(&(ip, peer.port()))
            .or_else(|| self.addresses.get(&ip))
        {
            return Some(trunk);
        }
        let networks = if ip.is_ipv4() {
            &self.networks_v4
        } else {
            &self.networks_v6
        };
        networks
            .iter()
            .find_map(|(prefix, map)| map.get(&network_of(ip, *prefix)).copied())
    }

    /// The trunk that lists the peer of a connection. The port of one that the peer has opened means nothing:
    /// address beats address and port, of which the first trunk counts, beats the longest CIDR. Only the very
    /// port that is listed goes before.
    pub fn lookup_stream(&self, peer: SocketAddr) -> Option<TrunkId> {
        let ip = peer.ip().to_canonical();
        self.ports
            .get(&(ip, peer.port()))
            .or_else(|| self.addresses.get(&ip))
            .or_else(|| self.hosts.get(&ip))
            .copied()
            .or_else(|| self.lookup(peer))
    }

    fn bucket(&mut self, network: IpAddr, prefix: u8) -> &mut Map<IpAddr> {
        let networks = if network.is_ipv4() {
            &mut self.networks_v4
        } else {
            &mut self.networks_v6
        };
        let at = match networks.binary_search_by(|(p, _)| prefix.cmp(p)) {
            Ok(at) => at,
            Err(at) => {
                networks.insert(at, (prefix, map()));
                at
            }
        };
        &mut networks[at].1
    }
}

impl Default for SourceTable {
    fn default() -> Self {
        Self {
            ports: map(),
            addresses: map(),
            hosts: map(),
            networks_v4: Vec::new(),
            networks_v6: Vec::new(),
        }
    }
}

/// A fixed seed is safe here: keys come from the configuration, peers only look up.
fn map<K>() -> Map<K> {
    HashMap::with_hasher(RandomState::with_seeds(0x51, 0x50, 0x7461, 0x626c))
}

/// One form per meaning: IPv4-mapped addresses as IPv4, single-address networks as addresses, no
/// host bits.
fn normalise(host: HostMatch) -> HostMatch {
    match host {
        HostMatch::Addr(address) => HostMatch::Addr(address.to_canonical()),
        HostMatch::AddrPort(at) => HostMatch::AddrPort(SocketAddr::new(at.ip().to_canonical(), at.port())),
        HostMatch::Cidr(address, prefix) => {
            let canonical = address.to_canonical();
            let (address, prefix) = match (address, canonical) {
                (IpAddr::V6(_), IpAddr::V4(_)) if prefix >= 96 => (canonical, prefix - 96),
                _ => (address, prefix),
            };
            if prefix >= width(address) {
                HostMatch::Addr(address)
            } else {
                HostMatch::Cidr(network_of(address, prefix), prefix)
            }
        }
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `address` with everything after `prefix` bits cleared.
fn network_of(address: IpAddr, prefix: u8) -> IpAddr {
    let drop = u32::from(width(address).saturating_sub(prefix));
    match address {
        IpAddr::V4(a) => IpAddr::V4((a.to_bits() & u32::MAX.checked_shl(drop).unwrap_or(0)).into()),
        IpAddr::V6(a) => IpAddr::V6((a.to_bits() & u128::MAX.checked_shl(drop).unwrap_or(0)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table(hosts: &[(u16, &str)]) -> SourceTable {
        let hosts: Vec<_> = hosts
            .iter()
            .map(|&(t, h)| (TrunkId(t), h.parse().unwrap()))
            .collect();
        SourceTable::build(&hosts).unwrap()
    }

    fn found(table: &SourceTable, peer: &str) -> Option<u16> {
        table.lookup(peer.parse().unwrap()).map(|t| t.0)
    }

    #[test]
    fn hosts_parse_and_print() {
        for text in [
            "10.0.0.0/8",
            "0.0.0.0/0",
            "127.0.0.2",
            "127.0.0.2:5060",
            "[::1]:5060",
            "2001:db8::/32",
            "::1",
            "::/0",
        ] {
            assert_eq!(text.parse::<HostMatch>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "carrier.example",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "::/129",
            "10.1.0.0/8",
            "1.2.3.4:0",
            "::1:5060x",
            "1.2.3.4:99999",
            " 10.0.0.1",
            "10.0.0.1 ",
        ] {
            assert!(text.parse::<HostMatch>().is_err(), "{text:?}");
        }
        let error = "10.1.2.3/8".parse::<HostMatch>().unwrap_err();
        assert!(error.to_string().contains("10.0.0.0/8"), "{error}");
    }

    #[test]
    fn most_specific_wins() {
        let t = table(&[
            (0, "0.0.0.0/0"),
            (1, "10.0.0.0/8"),
            (2, "10.1.0.0/16"),
            (3, "10.1.2.3"),
            (4, "10.1.2.3:5060"),
            (5, "2001:db8::/32"),
            (6, "[2001:db8::1]:5060"),
        ]);
        assert_eq!(found(&t, "10.1.2.3:5060"), Some(4));
        assert_eq!(found(&t, "10.1.2.3:5061"), Some(3));
        assert_eq!(found(&t, "10.1.2.4:5060"), Some(2));
        assert_eq!(found(&t, "10.2.0.1:5060"), Some(1));
        assert_eq!(found(&t, "192.0.2.1:5060"), Some(0));
        assert_eq!(found(&t, "[2001:db8::1]:5060"), Some(6));
        assert_eq!(found(&t, "[2001:db8::1]:5062"), Some(5));
        assert_eq!(found(&t, "[2001:db9::1]:5060"), None, "0.0.0.0/0 is IPv4 only");
        assert_eq!(
            SourceTable::default().lookup("127.0.0.1:5060".parse().unwrap()),
            None
        );
    }

    #[test]
    fn a_host_with_port_excludes_other_ports() {
        let t = table(&[(0, "127.0.0.2:5060")]);
        assert_eq!(found(&t, "127.0.0.2:5060"), Some(0));
        assert_eq!(found(&t, "127.0.0.2:5061"), None);
    }

    #[test]
    fn the_port_of_a_connection_does_not_matter() {
        let t = table(&[
            (0, "127.0.0.0/8"),
            (1, "127.0.0.2:5060"),
            (2, "127.0.0.2:5070"),
            (3, "127.0.0.3:5060"),
            (4, "127.0.0.3"),
        ]);
        let found = |peer: &str| t.lookup_stream(peer.parse().unwrap()).map(|t| t.0);
        assert_eq!(
            found("127.0.0.2:40000"),
            Some(1),
            "the first that lists the address"
        );
        assert_eq!(found("127.0.0.2:5070"), Some(2), "unless the port is listed");
        assert_eq!(found("127.0.0.3:40000"), Some(4), "any port is for connections");
        assert_eq!(found("127.0.0.4:40000"), Some(0));
        assert_eq!(found("10.0.0.1:40000"), None);
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let t = table(&[
            (1, "192.0.2.1"),
            (2, "::ffff:198.51.100.0/120"),
            (3, "[::ffff:203.0.113.9]:5060"),
        ]);
        assert_eq!(found(&t, "[::ffff:192.0.2.1]:9"), Some(1));
        assert_eq!(found(&t, "198.51.100.77:9"), Some(2));
        assert_eq!(found(&t, "203.0.113.9:5060"), Some(3));
    }

    #[test]
    fn scope_and_flow_do_not_matter() {
        let t = table(&[(1, "[fe80::1]:5060")]);
        let peer = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 5060, 7, 3);
        assert_eq!(t.lookup(peer.into()), Some(TrunkId(1)));
    }

    #[test]
    fn the_same_host_at_two_trunks_is_a_conflict() {
        for (a, b) in [
            ("10.0.0.1", "10.0.0.1/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("[::1]:5060", "[::1]:5060"),
            ("1.2.3.4", "::ffff:1.2.3.4"),
        ] {
            let hosts = [(TrunkId(0), a.parse().unwrap()), (TrunkId(1), b.parse().unwrap())];
            let conflict = SourceTable::build(&hosts).unwrap_err();
            assert_eq!((conflict.first, conflict.second), (TrunkId(0), TrunkId(1)));
            assert!(SourceTable::build(&[hosts[0], (TrunkId(0), b.parse().unwrap())]).is_ok());
        }
        assert!(
            SourceTable::build(&[
                (TrunkId(0), "10.0.0.1".parse().unwrap()),
                (TrunkId(1), "10.0.0.1:5060".parse().unwrap())
            ])
            .is_ok()
        );
    }

    proptest! {
        /// Against a linear search for the longest match.
        #[test]
        fn agrees_with_a_linear_search(
            networks in prop::collection::vec((any::<u32>(), 0..=32u8), 0..40),
            peers in prop::collection::vec((any::<u32>(), any::<prop::sample::Index>(), any::<bool>()), 1..60),
        ) {
            // Few distinct high bits, so that networks nest.
            let narrow = |bits: u32| IpAddr::V4((bits & 0x8000_C3FF).into());
            let mut hosts: Vec<(TrunkId, HostMatch)> = Vec::new();
            for (n, (bits, prefix)) in networks.iter().enumerate() {
                let host = HostMatch::Cidr(network_of(narrow(*bits), *prefix), *prefix);
                if !hosts.iter().any(|(_, h)| *h == host) {
                    hosts.push((TrunkId(n as u16), host));
                }
            }
            let table = SourceTable::build(&hosts).unwrap();
            for (bits, index, inside) in peers {
                let ip = match (inside && !hosts.is_empty()).then(|| index.get(&hosts).1) {
                    Some(HostMatch::Cidr(network, _)) => network,
                    _ => narrow(bits),
                };
                let expected = hosts
                    .iter()
                    .filter_map(|&(t, h)| match h {
                        HostMatch::Cidr(net, p) if network_of(ip, p) == net => Some((p, t)),
                        _ => None,
                    })
                    .max_by_key(|&(p, _)| p)
                    .map(|(_, t)| t);
                prop_assert_eq!(table.lookup(SocketAddr::new(ip, 5060)), expected);
            }
        }
    }
}
