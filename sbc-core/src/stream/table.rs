//! The connections of one shard: found by id or by where they lead, opened when there is none, closed when
//! something does not happen in time.

use super::{
    Framer,
    connection::{Connection, Silence},
};
use crate::{
    alarm::Alarm,
    counters::ShardCounters,
    id::{ConnectionId, ListenerId, ShardId},
    io::{Closed, Output, PeerIdentity},
    snapshot::{Listener, Streams},
    time::Timestamp,
    timer_wheel::TimerWheel,
    transport::{Flow, Hop, Transport},
    trunk::TrunkId,
};
use ahash::RandomState;
use bytes::Bytes;
use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// What the table writes to, and the time.
pub(crate) struct Outlet<'a> {
    pub(crate) now: Timestamp,
    pub(crate) outputs: &'a mut VecDeque<Output>,
    pub(crate) counters: &'a mut ShardCounters,
    pub(crate) timers: &'a mut TimerWheel<Alarm>,
}

/// How a message left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// As a datagram.
    Datagram,
    /// By this connection, or it waits there until that is open.
    Stream(Flow),
    /// Not at all: no connection may be opened.
    Nowhere,
}

/// What somebody must be told, once the call that found it out has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// A connection to which a transaction is bound has gone.
    Connection(ConnectionId),
    /// The request of the client transaction in this slot did not leave.
    Request { slot: u32, nonce: u64 },
    /// This message has waited for a connection that did not open. It may be another shard's.
    Message { hop: Hop, payload: Bytes },
}

/// What it takes to read from a connection, while what is read is dealt with.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) framer: Framer,
    /// The way back to the peer.
    pub(crate) hop: Hop,
    pub(crate) inbound: bool,
    /// There was a message or a ping.
    pub(crate) heard: bool,
    was_partial: bool,
}

/// How long no connection is tried for what can go as a datagram, after one did not open.
const AVOIDED_FOR: Duration = Duration::from_secs(300);

/// Most addresses that are avoided at a time.
const AVOIDED_MAX: usize = 1024;

/// All connections of one shard.
#[derive(Debug)]
pub(crate) struct Connections {
    shard: ShardId,
    settings: Streams,
    /// Which listeners are streams, by listener.
    transports: Vec<Transport>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// The connections that we may use towards a peer, by where they lead.
    towards: HashMap<Towards, u32, RandomState>,
    /// How many connections an address has opened to us.
    by_source: HashMap<IpAddr, usize, RandomState>,
    /// Connections from sources that no trunk lists and that have not logged in.
    strangers: usize,
    /// Where no connection opened, and until when none is tried for what can go otherwise.
    avoided: HashMap<(ListenerId, SocketAddr), Timestamp, RandomState>,
    /// Drained by the shard.
    pub(crate) lost: Vec<Lost>,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    connection: Option<Box<Connection>>,
}

/// A connection for one trunk is not used for another: their certificates may differ.
type Towards = (ListenerId, SocketAddr, TrunkId);

impl Connections {
    pub(crate) fn new(shard: ShardId, settings: Streams, listeners: &[Listener], seed: u64) -> Self {
        let hasher = RandomState::with_seed(seed as usize);
        Self {
            shard,
            settings,
            transports: listeners.iter().map(|listener| listener.transport).collect(),
            slots: Vec::new(),
            free: Vec::new(),
            towards: HashMap::with_hasher(hasher.clone()),
            avoided: HashMap::with_hasher(hasher.clone()),
            by_source: HashMap::with_hasher(hasher),
            strangers: 0,
            lost: Vec::new(),
        }
    }

    /// What `listener` speaks.
    pub(crate) fn transport(&self, listener: ListenerId) -> Transport {
        self.transports
            .get(usize::from(listener.0))
            .copied()
            .unwrap_or_default()
    }

    /// Connections in any state.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Largest message that is read.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.settings.message_bytes_max
    }

    /// New bounds hold from now on; connections that exceed them stay. `trunk` says whose a connection is
    /// now; nobody's are closed.
    pub(crate) fn configure(
        &mut self,
        out: &mut Outlet<'_>,
        settings: Streams,
        trunk: impl Fn(bool, (ListenerId, SocketAddr), TrunkId) -> Option<TrunkId>,
    ) {
        self.settings = settings;
        self.towards.clear();
        for slot in 0..self.slots.len() as u32 {
            let id = self.id(slot);
            let Some(connection) = self.find_mut(id) else {
                continue;
            };
            let peer = (connection.listener, connection.peer);
            match trunk(connection.inbound, peer, connection.trunk) {
                Some(trunk) => {
                    connection.trunk = trunk;
                    let towards = (connection.listener, connection.peer, trunk);
                    if !connection.inbound {
                        self.towards.insert(towards, slot);
                    }
                }
                None => {
                    out.counters.streams_trunk_removed += 1;
                    self.close(out, id, false);
                }
            }
        }
    }

    /// A peer has connected. `None`: it may not.
    pub(crate) fn accept(&mut self, out: &mut Outlet<'_>, hop: Hop) -> Option<ConnectionId> {
        let from_there = self.by_source.get(&hop.peer.ip()).copied().unwrap_or_default();
        if from_there >= self.settings.per_source_max {
            out.counters.streams_refused_per_source += 1;
            return None;
        }
        let open = self.transport(hop.listener) != Transport::Tls;
        let stranger = hop.trunk == TrunkId::STRANGER;
        // Whoever is known must find room beside those who are not.
        if stranger && self.strangers >= self.settings.connections_max / 2 {
            out.counters.streams_refused_strangers += 1;
            return None;
        }
        let id = self.insert(out, Connection::new(hop, true, open, out.now))?;
        self.by_source.insert(hop.peer.ip(), from_there + 1);
        self.strangers += usize::from(stranger);
        Some(id)
    }

    /// A connection is ready: send what has waited for it.
    pub(crate) fn connected(
        &mut self,
        out: &mut Outlet<'_>,
        id: ConnectionId,
        identity: Option<PeerIdentity>,
    ) {
        let Some(connection) = self.find_mut(id) else {
            return;
        };
        connection.open = true;
        connection.active = out.now;
        connection.progress = out.now;
        connection.identity = identity.map(Box::new);
        for payload in std::mem::take(&mut connection.waiting) {
            out.outputs.push_back(Output::Send {
                connection: id,
                payload,
            });
        }
        self.arm(out, id);
    }

    /// Send by the connection that `hop` names, by any that leads to its peer, or by a new one.
    pub(crate) fn send(&mut self, out: &mut Outlet<'_>, hop: Hop, payload: Bytes) -> Way {
        if let Some(flow) = hop.flow {
            if flow.shard != self.shard {
                out.counters.streams_sent_via += 1;
                out.outputs.push_back(Output::SendVia { hop, payload });
                return Way::Stream(flow);
            }
            if let Some(connection) = self.find_mut(flow.connection) {
                // What goes to a trunk goes to somebody who has logged in as it.
                if hop.trunk != TrunkId::STRANGER && connection.stranger_since.take().is_some() {
                    self.strangers -= 1;
                }
                return self.write(out, flow.connection, payload);
            }
        }
        let id = match self.towards.get(&(hop.listener, hop.peer, hop.trunk)) {
            Some(&slot) => self.id(slot),
            None => match self.connect(out, hop) {
                Some(id) => id,
                None => return Way::Nowhere,
            },
        };
        self.write(out, id, payload)
    }

    /// Answer a ping (RFC 5626 §3.5.1).
    pub(crate) fn pong(&mut self, out: &mut Outlet<'_>, id: ConnectionId) {
        self.write(out, id, Bytes::from_static(b"\r\n"));
    }

    /// Bytes arrived: lend out what is needed to read them. Given back to [`Self::read`].
    pub(crate) fn reading(&mut self, id: ConnectionId) -> Option<Reading> {
        let flow = self.flow(id);
        let connection = self.find_mut(id).filter(|connection| connection.open)?;
        Some(Reading {
            hop: connection.hop(flow),
            inbound: connection.inbound,
            heard: false,
            was_partial: connection.framer.is_partial(),
            framer: std::mem::take(&mut connection.framer),
        })
    }

    /// What was received has been dealt with.
    pub(crate) fn read(&mut self, out: &mut Outlet<'_>, id: ConnectionId, reading: Reading) {
        let Some(connection) = self.find_mut(id) else {
            return;
        };
        connection.framer = reading.framer;
        if reading.heard {
            connection.active = out.now;
        }
        if connection.framer.is_partial() && (reading.heard || !reading.was_partial) {
            connection.begun = out.now;
            self.arm(out, id);
        }
    }

    /// The kernel has taken some of what was given to it.
    pub(crate) fn sent(&mut self, now: Timestamp, id: ConnectionId, bytes: usize) {
        if let Some(connection) = self.find_mut(id) {
            connection.unsent = connection.unsent.saturating_sub(bytes);
            connection.progress = now;
        }
    }

    /// The driver says that a connection has gone.
    pub(crate) fn closed(&mut self, out: &mut Outlet<'_>, id: ConnectionId, why: &Closed) {
        match why {
            Closed::End => out.counters.streams_ended += 1,
            Closed::Tls(_) => out.counters.streams_tls_failed += 1,
            // The driver has counted it.
            Closed::Refused | Closed::Reset => {}
        }
        self.remove(out, id);
    }

    /// A transaction wants to hear when this connection breaks.
    pub(crate) fn bind(&mut self, flow: Flow) {
        if flow.shard == self.shard
            && let Some(connection) = self.find_mut(flow.connection)
        {
            connection.bound = true;
        }
    }

    /// Close a connection. `abort`: without writing what waits.
    pub(crate) fn close(&mut self, out: &mut Outlet<'_>, id: ConnectionId, abort: bool) {
        if self.remove(out, id) {
            out.outputs.push_back(Output::Close {
                connection: id,
                abort,
            });
        }
    }

    /// Forget a connection that has gone. `false`: it is unknown.
    pub(crate) fn remove(&mut self, out: &mut Outlet<'_>, id: ConnectionId) -> bool {
        let Some(slot) = self
            .slots
            .get_mut(id.slot as usize)
            .filter(|slot| slot.generation == id.generation)
        else {
            return false;
        };
        let Some(mut connection) = slot.connection.take() else {
            return false;
        };
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.slot);
        let towards = (connection.listener, connection.peer, connection.trunk);
        if self.towards.get(&towards) == Some(&id.slot) {
            self.towards.remove(&towards);
        }
        if connection.inbound
            && let Some(count) = self.by_source.get_mut(&connection.peer.ip())
        {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&connection.peer.ip());
            }
        }
        if let Some((timer, _)) = connection.timer {
            out.timers.cancel(timer);
        }
        self.strangers -= usize::from(connection.stranger_since.is_some());
        if !connection.inbound && !connection.open {
            self.avoid(out.now, (connection.listener, connection.peer));
        }
        out.counters.streams_messages_lost += connection.waiting.len() as u64;
        let waiting = std::mem::take(&mut connection.waiting);
        let hop = Hop {
            flow: None,
            ..connection.hop(self.flow(id))
        };
        let lost = waiting.into_iter().map(|payload| Lost::Message { hop, payload });
        self.lost.extend(lost);
        if connection.bound {
            self.lost.push(Lost::Connection(id));
        }
        true
    }

    /// The timer of a connection has fired: what has not happened in time.
    pub(crate) fn alarm(&mut self, out: &mut Outlet<'_>, slot: u32) {
        let id = self.id(slot);
        let settings = &self.settings;
        let Some(connection) = self
            .slots
            .get_mut(slot as usize)
            .and_then(|slot| slot.connection.as_deref_mut())
        else {
            return;
        };
        connection.timer = None;
        let (due, silence) = connection.deadline(settings);
        if due > out.now {
            return self.arm(out, id);
        }
        match silence {
            Silence::Keepalive => {
                connection.pinged = out.now;
                out.counters.streams_keepalives_sent += 1;
                self.put(out, id, Bytes::from_static(b"\r\n\r\n"));
                return self.arm(out, id);
            }
            Silence::Connect => out.counters.streams_connect_timeouts += 1,
            Silence::Message => out.counters.streams_message_timeouts += 1,
            Silence::Send => out.counters.streams_send_timeouts += 1,
            Silence::Login => out.counters.streams_login_timeouts += 1,
            Silence::Idle => out.counters.streams_idle += 1,
        }
        self.close(out, id, silence != Silence::Idle);
    }

    /// Whether a connection to there did not open not long ago.
    pub(crate) fn is_avoided(&self, hop: Hop, now: Timestamp) -> bool {
        let until = self.avoided.get(&(hop.listener, hop.peer));
        until.is_some_and(|&until| now < until)
    }

    fn avoid(&mut self, now: Timestamp, towards: (ListenerId, SocketAddr)) {
        if self.avoided.len() >= AVOIDED_MAX {
            self.avoided.retain(|_, until| now < *until);
        }
        // Too many: those beyond are tried again each time.
        if self.avoided.len() < AVOIDED_MAX {
            self.avoided.insert(towards, now + AVOIDED_FOR);
        }
    }

    /// Whether a connection lives.
    pub(crate) fn is_alive(&self, id: ConnectionId) -> bool {
        self.find(id).is_some()
    }

    /// What the peer of a connection has proved of itself.
    pub(crate) fn identity(&self, id: ConnectionId) -> Option<&PeerIdentity> {
        self.find(id)?.identity.as_deref()
    }

    fn connect(&mut self, out: &mut Outlet<'_>, hop: Hop) -> Option<ConnectionId> {
        if hop.trunk == TrunkId::STRANGER {
            return None;
        }
        let id = self.insert(out, Connection::new(hop, false, false, out.now))?;
        self.towards.insert((hop.listener, hop.peer, hop.trunk), id.slot);
        out.outputs.push_back(Output::Connect {
            connection: id,
            listener: hop.listener,
            peer: hop.peer,
            trunk: hop.trunk,
        });
        Some(id)
    }

    fn write(&mut self, out: &mut Outlet<'_>, id: ConnectionId, payload: Bytes) -> Way {
        if let Some(connection) = self.find_mut(id).filter(|connection| connection.open) {
            connection.active = out.now;
        }
        if self.put(out, id, payload) {
            Way::Stream(self.flow(id))
        } else {
            Way::Nowhere
        }
    }

    /// Give bytes to a connection, or let them wait for it.
    fn put(&mut self, out: &mut Outlet<'_>, id: ConnectionId, payload: Bytes) -> bool {
        let bytes_max = self.settings.send_bytes_max;
        let Some(connection) = self.find_mut(id) else {
            return false;
        };
        if connection.unsent + payload.len() > bytes_max {
            out.counters.streams_send_overflow += 1;
            self.close(out, id, true);
            return false;
        }
        let first = connection.unsent == 0;
        connection.unsent += payload.len();
        if !connection.open {
            connection.waiting.push(payload);
            return true;
        }
        out.outputs.push_back(Output::Send {
            connection: id,
            payload,
        });
        if first {
            connection.progress = out.now;
            self.arm(out, id);
        }
        true
    }

    fn insert(&mut self, out: &mut Outlet<'_>, connection: Connection) -> Option<ConnectionId> {
        if self.len() >= self.settings.connections_max {
            out.counters.streams_refused_max += 1;
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot {
                    generation: 0,
                    connection: None,
                });
                slot
            }
        };
        self.slots.get_mut(slot as usize)?.connection = Some(Box::new(connection));
        let id = self.id(slot);
        self.arm(out, id);
        Some(id)
    }

    /// See to it that the timer fires no later than the next deadline. When it fires too early it is armed
    /// again: messages come far more often than deadlines.
    fn arm(&mut self, out: &mut Outlet<'_>, id: ConnectionId) {
        let settings = &self.settings;
        let Some(connection) = self
            .slots
            .get_mut(id.slot as usize)
            .filter(|slot| slot.generation == id.generation)
            .and_then(|slot| slot.connection.as_deref_mut())
        else {
            return;
        };
        let (due, _) = connection.deadline(settings);
        if let Some((timer, at)) = connection.timer {
            if at <= due {
                return;
            }
            out.timers.cancel(timer);
        }
        let timer = out.timers.insert(due, Alarm::Connection(id.slot));
        connection.timer = Some((timer, due));
    }

    fn id(&self, slot: u32) -> ConnectionId {
        ConnectionId {
            slot,
            generation: self.slots.get(slot as usize).map_or(0, |slot| slot.generation),
        }
    }

    fn flow(&self, connection: ConnectionId) -> Flow {
        Flow {
            shard: self.shard,
            connection,
        }
    }

    fn find(&self, id: ConnectionId) -> Option<&Connection> {
        self.slots
            .get(id.slot as usize)
            .filter(|slot| slot.generation == id.generation)
            .and_then(|slot| slot.connection.as_deref())
    }

    fn find_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.slots
            .get_mut(id.slot as usize)
            .filter(|slot| slot.generation == id.generation)
            .and_then(|slot| slot.connection.as_deref_mut())
    }
}
