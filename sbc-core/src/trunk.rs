//! Which trunk a datagram comes from, decided by source address before anything is parsed.

use std::net::SocketAddr;

/// Index into [`crate::snapshot::Snapshot::trunks`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrunkId(pub u16);

/// Source addresses of all trunks, most specific first.
#[derive(Clone, Debug, Default)]
pub struct SourceTable {}

impl SourceTable {
    /// The trunk that lists `peer`: address and port beats address beats the longest CIDR.
    pub fn lookup(&self, _peer: SocketAddr) -> Option<TrunkId> {
        None
    }
}
