//! The table of transactions of one shard. What server transactions do is in `server`, client
//! transactions in `client`, ACKs in `ack`.

use super::{Base, Hop, Key, Keys, client::Client, server::Server, tombstone::Tombstones};
use crate::{
    dialog::{Dialog, NextHop},
    id::{ListenerId, ShardId},
    snapshot::Snapshot,
    time::Timestamp,
    token::TokenKey,
    transport::{Local, Transport},
};
use ahash::RandomState;
use slab::Slab;
use std::{collections::HashMap, sync::Arc};

/// What a request is to the transactions that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerVerdict {
    /// Not seen before.
    New,
    /// A repetition, or the ACK of a refusal: dealt with.
    Absorbed,
    /// A known INVITE that came by another path (§8.2.2.2).
    Merged,
}

/// Transactions and tombstones of one shard.
#[derive(Debug)]
pub(crate) struct Transactions {
    pub(super) servers: Slab<Server>,
    pub(super) clients: Slab<Client>,
    pub(super) active: HashMap<Key, u32, RandomState>,
    pub(super) stones: Tombstones,
    pub(crate) keys: Keys,
    pub(super) tokens: TokenKey,
    pub(super) shard: ShardId,
    pub(super) base: Base,
    pub(super) max: usize,
    pub(super) server_name: Arc<str>,
    /// Our side by listener, for Via and Contact.
    pub(super) locals: Vec<Local>,
    /// By trunk.
    wishes: Vec<Wishes>,
}

/// How a trunk wants to be written to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wishes {
    /// Large requests go over TCP (§18.1.1).
    pub(super) large_over_tcp: bool,
    /// Header field names in compact form (§7.3.3).
    compact: bool,
    /// Only the way that it came by leads to it.
    roams: bool,
}

/// Fixed properties of a [`Transactions`] table.
pub(crate) struct TableConfig {
    pub(crate) shard: ShardId,
    pub(crate) tokens: TokenKey,
    pub(crate) base: Base,
    pub(crate) max: usize,
    pub(crate) server_name: String,
    pub(crate) locals: Vec<Local>,
    pub(crate) seed: u64,
}

impl Transactions {
    pub(crate) fn new(config: TableConfig) -> Self {
        Self {
            servers: Slab::new(),
            clients: Slab::new(),
            active: HashMap::with_hasher(RandomState::with_seed(config.seed as usize)),
            stones: Tombstones::new(config.base.give_up(), config.base.t4, config.seed.rotate_left(13)),
            keys: Keys::new(config.seed.rotate_left(29)),
            tokens: config.tokens,
            shard: config.shard,
            base: config.base,
            max: config.max,
            server_name: config.server_name.into(),
            locals: config.locals,
            wishes: Vec::new(),
        }
    }

    /// Transactions that still have work to do.
    pub(crate) fn len(&self) -> usize {
        self.servers.len() + self.clients.len()
    }

    /// Finished ones that only absorb.
    pub(crate) fn tombstones(&self) -> usize {
        self.stones.len()
    }

    /// No room for another transaction.
    pub(crate) fn is_full(&self) -> bool {
        self.len() + self.stones.len() >= self.max
    }

    pub(crate) fn sweep(&mut self, now: Timestamp) {
        self.stones.sweep(now);
    }

    pub(crate) fn next_sweep(&self) -> Option<Timestamp> {
        self.stones.next_deadline()
    }

    /// Where requests inside `dialog` go. `known` is where the peer was met last: its connection is
    /// preferred, for a peer behind a NAT cannot be reached in another way, and its address is taken when
    /// the dialog names none.
    pub(crate) fn next_hop(&self, dialog: &Dialog, known: Hop) -> Hop {
        let next = dialog.next_hop().filter(|_| !self.wishes(known).roams);
        let Some(next) = next else {
            return known;
        };
        let Some(listener) = self.listener_towards(next, known.listener) else {
            return known;
        };
        let hop = Hop { listener, ..known };
        Hop {
            peer: next.address(self.local(hop).transport),
            flow: known.flow.filter(|_| listener == known.listener),
            ..hop
        }
    }

    /// The listener that speaks what `next` asks for, or else what the peer speaks already, in the address
    /// family of `next`; `known` if it does, else the first.
    fn listener_towards(&self, next: NextHop, known: ListenerId) -> Option<ListenerId> {
        let ours = self.locals.get(usize::from(known.0))?;
        let find = |transport: Transport| {
            let fits =
                |local: &Local| local.transport == transport && local.address.is_ipv4() == next.ip.is_ipv4();
            if fits(ours) {
                return Some(known);
            }
            let at = self.locals.iter().position(fits)?;
            u8::try_from(at).ok().map(ListenerId)
        };
        next.transport.and_then(find).or_else(|| find(ours.transport))
    }

    /// Whether the peer is written to with compact header field names (S9).
    pub(super) fn is_compact(&self, hop: Hop) -> bool {
        self.wishes(hop).compact
    }

    /// What the trunk of `hop` wants to be sent.
    pub(super) fn wishes(&self, hop: Hop) -> Wishes {
        let wishes = self.wishes.get(usize::from(hop.trunk.0));
        wishes.copied().unwrap_or_default()
    }

    /// Take over what trunks want to be sent.
    pub(crate) fn configure(&mut self, snapshot: &Snapshot) {
        let trunks = snapshot.trunks.iter();
        let wishes = trunks.map(|trunk| Wishes {
            large_over_tcp: trunk.peer.large_over_tcp,
            compact: trunk.peer.compact,
            roams: trunk.peer.login.as_ref().is_some_and(|login| login.roams),
        });
        self.wishes = wishes.collect();
    }

    /// Our side of `hop`, as the peer is told of it.
    pub(crate) fn local(&self, hop: Hop) -> Local {
        let local = self
            .locals
            .get(usize::from(hop.listener.0))
            .copied()
            .unwrap_or(Local {
                address: hop.peer,
                transport: Transport::Udp,
                compact: false,
            });
        Local {
            compact: self.is_compact(hop),
            ..local
        }
    }
}
