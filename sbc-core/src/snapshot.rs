//! The configuration as the call core uses it: validated, compiled, immutable, shared by all shards.

use crate::{
    admission::LimitId,
    id::ListenerId,
    trunk::{SourceTable, TrunkId},
};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// One consistent configuration. Replaced as a whole, never changed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// SIP sockets.
    pub listeners: Vec<Listener>,
    /// Trunks; a [`TrunkId`] is an index here.
    pub trunks: Vec<Trunk>,
    /// Which trunk a source address belongs to.
    pub sources: SourceTable,
    /// Media addresses and timing.
    pub media: Media,
    /// SIP timers and bounds.
    pub sip: Sip,
    /// Global call limits.
    pub limits: LimitId,
    /// Status for calls over a limit (`503` by default).
    pub reject_code: u16,
}

/// A SIP socket.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Name in the configuration.
    pub name: String,
    /// Address it is bound to.
    pub bind: SocketAddr,
    /// Address written into Via and Contact.
    pub advertised: SocketAddr,
}

/// A provider or platform that calls come from and go to.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// Name in the configuration.
    pub name: String,
    /// Where requests to this trunk are sent.
    pub target: SocketAddr,
    /// The listener used towards this trunk.
    pub listener: ListenerId,
    /// Where calls from this trunk go; `None`: refused.
    pub route: Option<TrunkId>,
    /// Whether the caller's display name may pass to this trunk.
    pub pass_display_name: bool,
    /// Limits on calls from this trunk.
    pub inbound: LimitId,
    /// Limits on calls to this trunk.
    pub outbound: LimitId,
    /// Limits on calls in both directions together.
    pub both: LimitId,
}

/// Media settings.
#[derive(Clone, Debug)]
pub struct Media {
    /// Address that media sockets are bound to.
    pub bind: IpAddr,
    /// Address written into SDP.
    pub advertised: IpAddr,
    /// First port (even) and last port (odd), inclusive.
    pub ports: (u16, u16),
    /// How long a port pair rests after a call.
    pub quarantine: Duration,
    /// End an answered call when no media arrived for so long; zero: never.
    pub timeout: Duration,
    /// Accept media only from the IP address in the peer's SDP.
    pub strict_source: bool,
}

/// SIP timers and bounds.
#[derive(Clone, Debug)]
pub struct Sip {
    /// RFC 3261 T1.
    pub t1: Duration,
    /// RFC 3261 T2.
    pub t2: Duration,
    /// RFC 3261 T4.
    pub t4: Duration,
    /// How long a call may ring before it is cancelled (stands for timer C).
    pub no_answer: Duration,
    /// Most calls per shard.
    pub calls_max: usize,
    /// Most transactions (tombstones included) per shard.
    pub transactions_max: usize,
    /// Value for `Server` and `User-Agent`; empty: neither is sent.
    pub server_name: String,
}
