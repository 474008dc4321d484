//! One shard: the sans-IO root of call control on one core.
//!
//! In: datagrams, hand-overs, commands, time. Out: [`Output`]s. The rule for the caller: after
//! every `handle_*` call, drain [`Shard::poll_output`] until `None`, then ask
//! [`Shard::poll_timeout`].

mod io;

pub use io::*;

use crate::{admission::Admission, snapshot::Snapshot, time::Timestamp};
use sbc_media::relay::{PairIndex, Relay};
use std::{net::SocketAddr, sync::Arc};

/// All calls, transactions, timers and media of one core.
#[derive(Debug)]
pub struct Shard {
    /// The media forwarding table; the driver calls [`Relay::forward`] on it for every packet.
    pub relay: Relay,
}

impl Shard {
    /// An empty shard `id` of `shards`. `seed` feeds every random choice; `token_key` must be
    /// the same on all shards of the process.
    pub fn new(
        _id: ShardId,
        _shards: u8,
        _snapshot: Arc<Snapshot>,
        _admission: Arc<Admission>,
        _seed: u64,
        _token_key: u64,
    ) -> Self {
        Self {
            relay: Relay::default(),
        }
    }

    /// A SIP datagram arrived on `listener` from `peer`.
    pub fn handle_datagram(
        &mut self,
        _now: Timestamp,
        _listener: ListenerId,
        _peer: SocketAddr,
        _bytes: &[u8],
    ) {
    }

    /// A datagram that another shard received and that belongs here.
    pub fn handle_handover(
        &mut self,
        _now: Timestamp,
        _listener: ListenerId,
        _peer: SocketAddr,
        _bytes: &[u8],
    ) {
    }

    /// Sending to `peer` failed for good (ICMP unreachable, no route).
    pub fn handle_unreachable(&mut self, _now: Timestamp, _listener: ListenerId, _peer: SocketAddr) {}

    /// A command of the control thread. Answered by exactly one [`Output::Reply`] with its id.
    pub fn handle_command(&mut self, _now: Timestamp, _id: RequestId, _command: Command) {}

    /// The driver has bound one more pair of media ports (`port` even, `port + 1`).
    pub fn add_media_pair(&mut self, _pair: PairIndex, _port: u16) {}

    /// Media pairs that could be handed to a new call now. The driver binds more when it is low.
    pub fn media_pairs_free(&self) -> usize {
        0
    }

    /// Time has come: run every timer due at `now`.
    pub fn handle_timeout(&mut self, _now: Timestamp) {}

    /// When [`Shard::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }

    /// The next thing to do outside.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }
}
