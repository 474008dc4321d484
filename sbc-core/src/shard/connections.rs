//! What the driver tells a shard about streams (TCP, TLS) and names.

use super::{ListenerId, Shard};
use crate::{
    id::{ConnectionId, QueryId},
    io::{Closed, PeerIdentity},
    resolve::{ResolveError, Resolved},
    time::Timestamp,
    transport::Hop,
};
use bytes::Bytes;
use std::net::SocketAddr;

impl Shard {
    /// A peer connected to a stream listener. `None`: it is not wanted (unknown source, a bound
    /// was hit; counted): close it at once. Otherwise the id by which everything more about it is
    /// told; for TLS the handshake begins now.
    pub fn handle_accept(
        &mut self,
        _now: Timestamp,
        _listener: ListenerId,
        _peer: SocketAddr,
    ) -> Option<ConnectionId> {
        None
    }

    /// A connection is ready to carry messages: one of [`super::Output::Connect`] was opened, or the
    /// TLS handshake of an accepted one has succeeded. Not called for accepted TCP connections:
    /// they are ready at once.
    pub fn handle_connected(
        &mut self,
        _now: Timestamp,
        _connection: ConnectionId,
        _identity: Option<PeerIdentity>,
    ) {
    }

    /// Bytes of the (plain) stream arrived; any number, cut anywhere.
    pub fn handle_stream(&mut self, _now: Timestamp, _connection: ConnectionId, _bytes: &[u8]) {}

    /// So many bytes given by [`super::Output::Send`] have been handed to the kernel.
    pub fn handle_sent(&mut self, _now: Timestamp, _connection: ConnectionId, _bytes: usize) {}

    /// A connection could not be opened, or has ended. The driver has forgotten it.
    pub fn handle_closed(&mut self, _now: Timestamp, _connection: ConnectionId, _why: Closed) {}

    /// Another shard's message ([`super::Output::SendVia`]) for a connection of this shard. When
    /// that has gone, it goes by another connection to `hop.peer`.
    pub fn handle_send(&mut self, _now: Timestamp, _hop: Hop, _payload: Bytes) {}

    /// The answer to an [`super::Output::Resolve`].
    pub fn handle_resolved(
        &mut self,
        _now: Timestamp,
        _id: QueryId,
        _outcome: Result<Resolved, ResolveError>,
    ) {
    }
}
