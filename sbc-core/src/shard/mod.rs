//! One shard: the sans-IO root of call control on one core.
//!
//! In: datagrams, hand-overs, commands, time. Out: [`Output`]s. The rule for the caller: after
//! every `handle_*` call, drain [`Shard::poll_output`] until `None`, then ask
//! [`Shard::poll_timeout`].

mod command;
mod configure;
mod connections;
mod dispatch;
mod guard;
mod login;
mod names;
mod probe;
mod registrar;
mod registration;
mod siblings;

pub use crate::{
    id::{InterfaceId, ListenerId, ShardId},
    io::*,
};
use configure::FormerNamed;
pub(crate) use dispatch::Arrival;

use crate::{
    admission::Admission,
    b2bua::{Call, Detours, KeySource, Messages, Paced, PortPool, Ports, Replaces},
    counters::ShardCounters,
    guard::{Guard, Offence},
    overload::{Load, Overload, Spent},
    resolve::{Names, Setbacks},
    routing::Turns,
    sip::{HeaderName, Message, Method},
    snapshot::Snapshot,
    stream::Connections,
    time::Timestamp,
    timer_wheel::TimerWheel,
    token::TokenKey,
    traffic::Traffic,
    transaction::{Alarm, Base, Io, TableConfig, Transactions},
    transport::{Hop, Local},
    trunk::TrunkId,
};
use ahash::RandomState;
use login::Challenger;
use probe::Probes;
use rand_chacha::{
    ChaCha12Rng,
    rand_core::{RngCore, SeedableRng},
};
use registrar::Bindings;
use registration::Registrations;
use sbc_media::relay::{PairIndex, Relay};
use slab::Slab;
use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// All calls, transactions, timers and media of one core.
#[derive(Debug)]
pub struct Shard {
    /// The media forwarding table; the driver calls [`Relay::forward`] on it for every packet, and
    /// [`Relay::poll_transmit`] when that is due.
    pub relay: Relay,
    pub(crate) id: ShardId,
    shards: u8,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) base: Base,
    pub(crate) tokens: TokenKey,
    /// Decides the owner of a Call-ID; the same on all shards.
    owners: RandomState,
    /// Hashes our own descriptions to see whether they changed.
    pub(crate) hasher: RandomState,
    pub(crate) random: ChaCha12Rng,
    pub(crate) key_source: KeySource,
    pub(crate) calls: Slab<Call>,
    pub(crate) messages: Messages,
    /// INVITEs with Replaces that went to other shards.
    detours: Detours,
    pub(crate) transactions: Transactions,
    pub(crate) ports: PortPool,
    pub(crate) io: Io,
    pub(crate) sdp_scratch: Vec<u8>,
    pub(crate) draining: bool,
    pub(crate) names: Names,
    pub(crate) setbacks: Setbacks,
    /// Addresses behind the names of trunks.
    named_sources: HashMap<IpAddr, TrunkId, RandomState>,
    /// Those that an earlier configuration had, for the calls from there.
    former_named: FormerNamed,
    probes: Probes,
    registrations: Registrations,
    challenger: Challenger,
    bindings: Bindings,
    pub(crate) turns: Turns,
    /// Unix time in seconds at [`Timestamp::ZERO`].
    pub(crate) epoch_s: u64,
    guard: Guard,
    pub(crate) overload: Overload,
    /// Calls that wait for their place in a rate.
    pub(crate) paced: Paced,
    pub(crate) traffic: Traffic,
}

impl Shard {
    /// An empty shard `id` of `shards`. `seed` feeds every random choice; `token_key` must be
    /// the same on all shards of the process. 64 bits are too few for keys of SRTP: see
    /// [`Shard::seed_keys`].
    pub fn new(
        id: ShardId,
        shards: u8,
        snapshot: Arc<Snapshot>,
        admission: Arc<Admission>,
        seed: u64,
        token_key: u64,
    ) -> Self {
        snapshot.guard.bans.seed(token_key);
        snapshot.guard.proven.seed(token_key);
        let mut random = ChaCha12Rng::seed_from_u64(seed ^ u64::from(id.0).rotate_left(56));
        let tokens = TokenKey::new(token_key);
        let base = Base {
            t1: snapshot.sip.t1,
            t2: snapshot.sip.t2,
            t4: snapshot.sip.t4,
        };
        let mut transactions = Transactions::new(TableConfig {
            shard: id,
            tokens: tokens.clone(),
            base,
            max: snapshot.sip.transactions_max,
            server_name: snapshot.sip.server_name.clone(),
            locals: snapshot
                .listeners
                .iter()
                .map(|listener| Local {
                    address: listener.advertised,
                    transport: listener.transport,
                    compact: false,
                })
                .collect(),
            seed: random.next_u64(),
        });
        transactions.configure(&snapshot);
        let hasher = RandomState::with_seed(random.next_u64() as usize);
        let key_source = KeySource::of_seed(seed.rotate_left(29) ^ u64::from(id.0).rotate_left(40));
        let pairs_of = |(first, last): (u16, u16)| u32::from(last.saturating_sub(first)) / 2 + 1;
        let nonce_key = nonce_key(ChaCha12Rng::seed_from_u64(
            seed.rotate_left(41) ^ u64::from(id.0).rotate_left(48),
        ));
        let interfaces = snapshot.media.interfaces.iter();
        let pairs = interfaces.map(|interface| pairs_of(interface.ports)).sum();
        let mut shard = Self {
            relay: Relay::new(pairs),
            id,
            shards: shards.max(1),
            base,
            tokens,
            owners: RandomState::with_seeds(token_key, 1, 2, 3),
            named_sources: HashMap::with_hasher(hasher.clone()),
            former_named: FormerNamed::default(),
            names: Names::new(seed.rotate_left(17) ^ u64::from(id.0)),
            setbacks: Setbacks::default(),
            probes: Probes::default(),
            registrations: Registrations::default(),
            paced: Paced::default(),
            traffic: Traffic::new(snapshot.trunks.len()),
            overload: Overload::default(),
            guard: Guard::new(seed.rotate_left(31) ^ u64::from(id.0)),
            challenger: Challenger::new(&nonce_key, hasher.clone()),
            bindings: Bindings::default(),
            turns: Turns::default(),
            epoch_s: 0,
            hasher,
            random,
            key_source,
            calls: Slab::new(),
            messages: Messages::default(),
            detours: Detours::default(),
            transactions,
            ports: PortPool::default(),
            io: Io {
                now: Timestamp::ZERO,
                streams: Connections::new(
                    id,
                    snapshot.streams.clone(),
                    &snapshot.listeners,
                    seed.rotate_left(7),
                ),
                outputs: VecDeque::new(),
                counters: ShardCounters::default(),
                timers: TimerWheel::new(Timestamp::ZERO),
                scratch: Vec::with_capacity(2048),
            },
            sdp_scratch: Vec::with_capacity(1024),
            draining: false,
            snapshot,
            admission,
        };
        let snapshot = Arc::clone(&shard.snapshot);
        shard.configure_names(Timestamp::ZERO);
        shard.configure_logins();
        shard.configure_probes(Timestamp::ZERO, &snapshot);
        shard.configure_registrations(Timestamp::ZERO, &snapshot);
        shard
    }

    /// Take the keys of SRTP that we mint, and the key of our nonces, from a generator with this seed from now on. It must be 256 bits of
    /// a cryptographic source, as the operating system's, and no other shard's. A shard that is never given any uses its
    /// `seed`, which is for tests: whoever guesses that hears the calls.
    pub fn seed_keys(&mut self, entropy: [u8; 32]) {
        self.key_source = KeySource::of_entropy(entropy);
        let mut random = ChaCha12Rng::from_seed(entropy);
        // What follows from the first stream are keys of SRTP.
        random.set_stream(1);
        self.challenger.set_key(&nonce_key(random));
    }

    /// The wall clock: [`Timestamp::ZERO`] was at `epoch_s` seconds of Unix time. Routes with dates go by it; to be told
    /// again when the clock is set. A shard that is never told is in 1970.
    pub fn set_epoch(&mut self, epoch_s: u64) {
        self.epoch_s = epoch_s;
    }

    /// A SIP datagram arrived on `listener` from `peer`.
    pub fn handle_datagram(&mut self, now: Timestamp, listener: ListenerId, peer: SocketAddr, bytes: &[u8]) {
        self.io.now = now;
        self.io.counters.sip_received += 1;
        let listed = self.trunk_of(peer);
        let known = listed.or_else(|| self.former_trunk_of(peer));
        if !self.lets_in(now, peer, known) {
            return;
        }
        if known.is_none() && self.is_scanner(now, peer, bytes) {
            return;
        }
        let Some(trunk) = known.or_else(|| self.stranger(listener)) else {
            self.io.counters.sip_unknown_source += 1;
            let line = bytes.split(|c| matches!(c, b'\r' | b'\n')).next();
            return self.blame(now, peer, Offence::Stranger, line.unwrap_or_default());
        };
        let hop = Hop {
            listener,
            peer,
            trunk,
            flow: None,
        };
        let former = listed.is_none() && trunk != TrunkId::STRANGER;
        self.receive(now, Arrival { hop, trunk, former }, bytes, true);
        self.tell_of_losses(now);
    }

    /// A message that another shard received and that belongs here.
    pub fn handle_handover(&mut self, now: Timestamp, hop: Hop, bytes: &[u8]) {
        self.io.now = now;
        if hop.flow.is_none() && self.io.is_reliable(hop) {
            return self.handed_back(now, bytes);
        }
        // By this shard's configuration: the other's may be newer.
        let listed = match hop.flow {
            None => self.trunk_of(hop.peer),
            // The peer of a connection that we opened need not be a source.
            Some(_) => self.trunk_of_stream(hop.peer).or(Some(hop.trunk)),
        };
        let trunk = listed.or_else(|| self.former_trunk_of(hop.peer));
        let trunk = trunk.filter(|id| usize::from(id.0) < self.snapshot.trunks.len());
        let Some(trunk) = trunk.or_else(|| self.stranger(hop.listener)) else {
            self.io.counters.sip_unknown_source += 1;
            return;
        };
        let hop = Hop { trunk, ..hop };
        let former = listed.is_none() && trunk != TrunkId::STRANGER;
        self.receive(now, Arrival { hop, trunk, former }, bytes, false);
        self.tell_of_losses(now);
    }

    /// Sending to `peer` failed for good (ICMP unreachable, no route): requests that wait for its
    /// answer fail now instead of after 64·T1 (§8.1.3.1, §18.4).
    pub fn handle_unreachable(&mut self, now: Timestamp, listener: ListenerId, peer: SocketAddr) {
        self.io.now = now;
        for client in self.transactions.clients_towards(listener, peer) {
            if let Some(ended) = self.transactions.give_up(&mut self.io, now, client) {
                self.timed_out(now, ended, 500);
            }
        }
        self.tell_of_losses(now);
    }

    /// The driver has bound one more pair of media ports (`port` even, `port + 1`) on `interface`.
    pub fn add_media_pair(&mut self, interface: InterfaceId, pair: PairIndex, port: u16) {
        self.relay.add_pair(pair);
        self.ports.add(Ports {
            interface,
            pair,
            port,
        });
    }

    /// Media pairs of `interface` that could be handed to a new call now. The driver binds more when it is
    /// low.
    pub fn media_pairs_free(&self, interface: InterfaceId) -> usize {
        self.ports.free(interface)
    }

    /// Users of trunks that have registered, as far as this shard knows.
    pub fn users_registered(&self) -> usize {
        self.bindings.len()
    }

    /// Time has come: run every timer due at `now`.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.io.now = now;
        while let Some((_, alarm)) = self.io.timers.pop_due(now) {
            self.alarm(now, alarm);
        }
        self.tell_of_losses(now);
        self.transactions.sweep(now);
        self.ports.sweep(now);
        self.run_names(now);
        self.run_probes(now);
        self.run_registrations(now);
        self.run_bindings(now);
    }

    fn alarm(&mut self, now: Timestamp, alarm: Alarm) {
        match alarm {
            Alarm::Server(slot, timer) => self.transactions.server_alarm(&mut self.io, now, slot, timer),
            Alarm::Client(slot, timer) => {
                if let Some(ended) = self.transactions.client_alarm(&mut self.io, now, slot, timer) {
                    self.timed_out(now, ended, 408);
                }
            }
            Alarm::ClientCancel(slot) => self.transactions.cancel_alarm(&mut self.io, now, slot),
            Alarm::AnswerResend(slot, side) => self.answer_resend(now, slot, side),
            Alarm::AnswerExpire(slot, side) => self.answer_expired(now, slot, side),
            Alarm::NoAnswer(slot) => self.no_answer(now, slot),
            Alarm::NoRingback(slot) => self.no_ringback(now, slot),
            Alarm::ExchangeExpire(slot) => self.exchange_expired(now, slot),
            Alarm::TransferExpire(slot) => self.transfer_expired(now, slot),
            Alarm::ReliableResend(slot) => self.reliable_resend(now, slot),
            Alarm::ReliableExpire(slot) => self.reliable_expired(now, slot),
            Alarm::SessionTimer(slot, side) => self.session_timer(now, slot, side),
            Alarm::MediaCheck(slot) => self.media_check(now, slot),
            Alarm::HoldCheck(slot) => self.hold_check(now, slot),
            Alarm::Held(limit) => self.held_due(now, limit),
            Alarm::Connection(slot) => {
                let (streams, mut out) = self.io.streams();
                streams.alarm(&mut out, slot);
            }
        }
    }

    /// Act on what was heard in media. Wanted when [`Relay::has_events`], after a batch of packets and after
    /// [`Relay::poll_transmit`].
    pub fn handle_media(&mut self, now: Timestamp) {
        self.io.now = now;
        while let Some((pair, event)) = self.relay.poll_event() {
            self.media_event(now, pair, event);
        }
        self.tell_of_losses(now);
    }

    /// When [`Shard::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        [
            self.io.timers.next_deadline(),
            self.transactions.next_sweep(),
            self.ports.next_sweep(),
            self.names.next_due(),
            self.probes.next_due(),
            self.registrations.next_due(),
            self.bindings.next_due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The loop that drives this shard has waited for I/O for `waited` and goes on at `now`: what lies between was one turn.
    #[inline]
    pub fn handle_wake(&mut self, now: Timestamp, waited: std::time::Duration) {
        self.overload.turn(now, waited);
    }

    /// What the thread that drives this shard did with its time since the last time that this was called, or since it
    /// began. For overload control: to be called several times in each of its windows.
    pub fn handle_spent(&mut self, now: Timestamp, spent: &Spent) {
        self.overload.spent(now, spent, &self.snapshot.overload);
    }

    /// How busy the shard is.
    pub fn load(&self) -> Load {
        self.overload.load()
    }

    /// The next thing to do outside.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.io.outputs.pop_front()
    }

    /// 64 bits that no peer can predict.
    pub(crate) fn random(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// The shard that owns calls with this Call-ID.
    pub(crate) fn owner_of(&self, call_id: &[u8]) -> ShardId {
        ShardId((self.owners.hash_one(call_id) % u64::from(self.shards)) as u8)
    }

    /// The shard of the dialog that a new INVITE replaces, or that the INVITE of a CANCEL replaces.
    pub(super) fn owner_by_replaces(&mut self, request: &Message<'_>) -> Option<ShardId> {
        let method = request.method();
        if method != Method::Cancel && request.header(HeaderName::Replaces).is_none() {
            return None;
        }
        let call_id = request.call_id().ok()?;
        let hash = self.owners.hash_one(call_id);
        match method {
            Method::Invite => {
                let replaces = Replaces::parse(request.header(HeaderName::Replaces)?).ok()?;
                let shard = self.tokens.decode(&replaces.to_tag)?.shard;
                if shard != self.owner_of(call_id) {
                    self.detours.note(hash, shard);
                }
                Some(shard)
            }
            Method::Cancel => self.detours.find(hash),
            _ => None,
        }
    }

    pub(crate) fn is_other_shard(&self, shard: ShardId) -> bool {
        shard != self.id && shard.0 < self.shards
    }
}

/// A key for nonces.
fn nonce_key(mut random: ChaCha12Rng) -> [u8; 64] {
    let mut key = [0; 64];
    random.fill_bytes(&mut key);
    key
}

impl Drop for Shard {
    /// A shard that ends with calls in it gives their channels back to the others.
    fn drop(&mut self) {
        for call in self.calls.drain() {
            for permit in call.into_permits() {
                self.admission.release(permit);
            }
        }
    }
}
