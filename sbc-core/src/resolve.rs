//! Names of peers and the addresses behind them (RFC 3263).

use crate::transport::Transport;
use std::{net::SocketAddr, sync::Arc, time::Duration};

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
