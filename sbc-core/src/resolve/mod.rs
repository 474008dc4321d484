//! Names of peers and the addresses behind them (RFC 3263).
//!
//! In: the names that a shard needs (those of its trunks from the start, those of peers as dialogs
//! learn them), answers to what was asked, time. Out: questions for the driver, candidates in the
//! order in which to try them, and a sentence for the log when a name's state changes.
//!
//! A call never waits for DNS: `names` asks ahead of need and again ahead of expiry, so that what a
//! call finds is either an answer or a reason to refuse. `order` puts candidates in the order of
//! RFC 2782; `setbacks` remembers addresses that failed lately, which come last.

mod names;
mod order;
mod setbacks;

pub(crate) use names::{Change, Names, State as NameState, Step};
pub(crate) use order::order;
pub(crate) use setbacks::Setbacks;

use crate::{
    sip::{Scheme, Uri},
    transport::Transport,
};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Most addresses that one name may stand for.
pub const CANDIDATES_MAX: usize = 64;

/// What is asked of DNS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Query {
    /// A host name, without a final dot, in lower case.
    pub host: Arc<str>,
    /// An explicit port: no SRV, A and AAAA only (RFC 3263 §4.2).
    pub port: Option<u16>,
    /// The transport; `None`: as NAPTR, then SRV say (RFC 3263 §4.1).
    pub transport: Option<Transport>,
    /// Only TLS will do (a `sips` URI).
    pub secure: bool,
}

impl Query {
    /// What RFC 3263 asks for a URI whose host is a name; `None`: it is an address, or no name.
    pub fn of_uri(uri: &Uri<'_>) -> Option<Self> {
        let host = std::str::from_utf8(uri.host).ok()?;
        let secure = uri.scheme == Scheme::Sips;
        let transport = match uri.param(b"transport") {
            Some(name) => Some(Transport::from_name(name)?),
            None => None,
        };
        Some(Self {
            host: host_name(host)?.into(),
            port: uri.port.filter(|&port| port != 0),
            transport: transport.filter(|_| !secure),
            secure,
        })
    }
}

/// `text` as a host name in lower case without a final dot; `None`: it is an address, or not what
/// RFC 3261 §25.1 calls a hostname (underscores are let pass).
pub fn host_name(text: &str) -> Option<String> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let named = name.len() <= 253
        && name.split('.').all(label)
        && last.bytes().any(|c| !c.is_ascii_digit())
        && name.parse::<IpAddr>().is_err();
    named.then(|| name.to_ascii_lowercase())
}

impl std::fmt::Display for Query {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.host)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

/// One address that a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// How to reach it.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    /// Lower ones first (NAPTR order and SRV priority together).
    pub priority: u32,
    /// Share among those of the same priority (RFC 2782).
    pub weight: u16,
}

/// Answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// All addresses, at least one; at most 64.
    pub candidates: Vec<Candidate>,
    /// How long this holds.
    pub ttl: Duration,
}

/// Why a name has no addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// There is no such name, or it has no address. Holds for so long.
    Absent {
        /// The negative TTL (RFC 2308), bounded.
        ttl: Duration,
    },
    /// The servers did not answer, or not with sense.
    Failed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(uri: &str) -> Option<Query> {
        Query::of_uri(&Uri::parse(uri.as_bytes()).unwrap())
    }

    #[test]
    fn names_are_told_from_addresses() {
        for name in [
            "sip.example.com",
            "SIP.Example.COM.",
            "a",
            "localhost",
            "x-1.test",
            "_sip._udp.example.com",
            "1.2.3.4.test",
        ] {
            assert!(host_name(name).is_some(), "{name}");
        }
        assert_eq!(host_name("SIP.Example.COM.").unwrap(), "sip.example.com");
        let long = format!("{}.test", "a".repeat(64));
        for other in [
            "", ".", "a..b", "-a.test", "a-.test", "1.2.3.4", "1.2.3", "::1", "[::1]", "a b", "a%b", &long,
        ] {
            assert_eq!(host_name(other), None, "{other}");
        }
        assert_eq!(
            host_name(&["a".repeat(63).as_str(); 4].join(".")),
            None,
            "255 bytes"
        );
    }

    #[test]
    fn a_uri_says_what_to_ask() {
        let full = query("sips:u@Example.com:5071;transport=tcp").unwrap();
        assert_eq!(
            (&*full.host, full.port, full.transport, full.secure),
            ("example.com", Some(5071), None, true)
        );
        let plain = query("sip:u@example.com;transport=TCP").unwrap();
        assert_eq!(
            (plain.port, plain.transport, plain.secure),
            (None, Some(Transport::Tcp), false)
        );
        assert_eq!(query("sip:u@192.0.2.1"), None);
        assert_eq!(query("sip:u@[2001:db8::1]:5060"), None);
        assert_eq!(query("sip:u@example.com;transport=sctp"), None, "not ours");
    }
}
