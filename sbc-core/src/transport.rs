//! How SIP messages travel (RFC 3261 §18): the transports, and where a message comes from or goes to.
//!
//! Our Contact over TLS is `sip:` with `transport=tls`, not `sips:`: that would promise TLS on every hop to the
//! far end (§26.2.2), which the other side of a B2BUA may not give, and many peers refuse it.

use crate::{
    id::{ConnectionId, ListenerId, ShardId},
    text::{Put, put},
    trunk::TrunkId,
};
use std::{fmt, net::SocketAddr};

/// A transport of SIP. Each listener has exactly one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Transport {
    /// Datagrams.
    #[default]
    Udp,
    /// A stream.
    Tcp,
    /// A stream under TLS. The driver does TLS: a shard only sees the plain stream.
    Tls,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    /// What Via says: `UDP`, `TCP`, `TLS`.
    pub const fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// The name in a URI's `transport` parameter and in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// The transport of that name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|transport| name.eq_ignore_ascii_case(transport.name().as_bytes()))
    }

    /// The network loses and repeats nothing: requests and responses are not sent again (§17).
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Self::Udp)
    }

    /// 5061 for TLS, else 5060 (§19.1.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Tls => 5061,
            _ => 5060,
        }
    }
}

/// One end of a path: our listener, the peer's address, and the connection if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Our side; says the transport, too.
    pub listener: ListenerId,
    /// The peer.
    pub peer: SocketAddr,
    /// The trunk that it belongs to: a connection is for one trunk.
    pub trunk: TrunkId,
    /// The connection to prefer. `None`: on a stream transport any connection to `peer`, or a
    /// new one.
    pub flow: Option<Flow>,
}

/// A connection of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    /// The shard that has it.
    pub shard: ShardId,
    /// Which one.
    pub connection: ConnectionId,
}

/// Our side of a hop as peers are told of it: what Via and Contact say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Transport,
    /// The peer is written to with compact header field names.
    pub(crate) compact: bool,
}

impl Put for Local {
    /// As it is shown.
    fn put(&self, out: &mut Vec<u8>) {
        put!(out, self.address);
        if self.transport != Transport::Udp {
            put!(out, ";transport=", self.transport.name());
        }
    }
}

impl fmt::Display for Local {
    /// The host and port of a URI, with the transport where it is not the default:
    /// `192.0.2.1:5060`, `192.0.2.1:5061;transport=tls`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        match self.transport {
            Transport::Udp => Ok(()),
            other => write!(f, ";transport={}", other.name()),
        }
    }
}
