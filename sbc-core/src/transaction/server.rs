//! Server transactions (§17.2, RFC 6026): requests that wait for our final response, and refused
//! INVITEs that wait for the ACK. Requests that we answer at once are only ever tombstones.

use super::{
    Alarm, Echo, Hop, Io, Key, Owner, Reply, ServerVerdict, Timer, Transactions,
    reply::{finish_reply, response_hop},
    tombstone::{Linger, Tombstone},
};
use crate::{
    sip::{HeaderName, Message, Method, Writer},
    time::Timestamp,
    timer_wheel::TimerKey,
    token::{Token, TokenText},
    transport::Flow,
};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// §17.2. Confirmed, Accepted, and what is Completed without INVITE are tombstones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerState {
    /// No final response yet (without INVITE: Trying).
    Proceeding,
    /// Refused; waiting for ACK.
    Completed,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) key: Key,
    pub(crate) state: ServerState,
    pub(crate) hop: Hop,
    /// The header fields that every response repeats; empty once a final response exists.
    pub(crate) echo: Echo,
    /// The last response sent, repeated when the request is.
    pub(crate) last: Bytes,
    /// The call, until the final response.
    pub(crate) owner: Owner,
    pub(crate) interval: Duration,
    pub(crate) resend: Option<TimerKey>,
    pub(crate) expire: Option<TimerKey>,
    /// The final response was sent again, over a second connection.
    pub(crate) again: bool,
}

impl Transactions {
    /// Match a request against what is known; repeat or absorb what was seen before.
    pub(crate) fn receive_request(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        request: &Message<'_>,
        from: Hop,
    ) -> ServerVerdict {
        let method = request.method();
        let key = self.keys.server(request, method);
        if let Some(&slot) = self.active.get(&key) {
            return self.receive_known(io, now, slot, method);
        }
        match self.stones.get(key) {
            Some(Tombstone::Accepted) if method == Method::Invite => {
                io.counters.retransmissions_received += 1;
                ServerVerdict::Absorbed
            }
            Some(Tombstone::Confirmed) => ServerVerdict::Absorbed,
            Some(&Tombstone::Answered(reply)) => {
                io.counters.retransmissions_received += 1;
                io.counters.retransmissions_sent += 1;
                self.send_reply(io, request, from, key, reply);
                ServerVerdict::Absorbed
            }
            Some(Tombstone::Passed(hop, response)) => {
                io.counters.retransmissions_received += 1;
                io.counters.retransmissions_sent += 1;
                // Over a new connection when the first one broke; but never to another peer, who could use
                // the same branch: the response names whom it was for.
                let over = io.is_reliable(from) && from.trunk == hop.trunk;
                io.transmit(if over { from } else { *hop }, response.clone());
                ServerVerdict::Absorbed
            }
            _ if method == Method::Invite && request.to().is_ok_and(|to| to.tag().is_none()) => {
                match self.stones.get(self.keys.merge(request)) {
                    Some(Tombstone::Merge(first)) if *first != key => ServerVerdict::Merged,
                    _ => ServerVerdict::New,
                }
            }
            _ => ServerVerdict::New,
        }
    }

    fn receive_known(&mut self, io: &mut Io, now: Timestamp, slot: u32, method: Method) -> ServerVerdict {
        let Some(server) = self.servers.get(slot as usize) else {
            return ServerVerdict::New;
        };
        match (method, server.state) {
            (Method::Invite, _) => {
                io.counters.retransmissions_received += 1;
                io.counters.retransmissions_sent += 1;
                let (hop, last) = (server.hop, server.last.clone());
                io.transmit(hop, last);
                ServerVerdict::Absorbed
            }
            // The key tells methods apart: only ACK and CANCEL look for another's transaction.
            (method, ServerState::Proceeding) if !matches!(method, Method::Ack | Method::Cancel) => {
                io.counters.retransmissions_received += 1;
                ServerVerdict::Absorbed
            }
            (Method::Ack, ServerState::Completed) => {
                self.confirm(io, now, slot);
                ServerVerdict::Absorbed
            }
            _ => ServerVerdict::New,
        }
    }

    /// Answer a request other than INVITE at once, and the same way when it is repeated (§17.2.2).
    ///
    /// It is remembered on a stream too, where timer J would be zero: a peer whose connection broke before
    /// the answer reached it sends the request again over a new one, and must not hear something else.
    pub(crate) fn answer(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        request: &Message<'_>,
        from: Hop,
        reply: Reply,
    ) {
        let key = self.keys.server(request, request.method());
        self.send_reply(io, request, from, key, reply);
        if !self.is_full() {
            self.stones
                .insert(now, key, Linger::Long, Tombstone::Answered(reply));
        }
    }

    /// Answer without remembering anything: for floods, and for what no transaction fits.
    pub(crate) fn answer_stateless(&mut self, io: &mut Io, request: &Message<'_>, from: Hop, reply: Reply) {
        let key = self.keys.server(request, request.method());
        self.send_reply(io, request, from, key, reply);
    }

    /// As [`Self::answer_stateless`], with header fields of the caller's.
    pub(crate) fn respond_stateless(
        &mut self,
        io: &mut Io,
        request: &Message<'_>,
        from: Hop,
        status: u16,
        finish: impl FnOnce(Writer<'_>),
    ) {
        let tag = self.reply_tag(self.keys.server(request, request.method()));
        let echo = Echo::new(request, from.peer, self.is_compact(from));
        finish(echo.response(&mut io.scratch, status, &tag));
        let transport = io.streams.transport(from.listener);
        io.transmit_composed(response_hop(request, from, transport));
    }

    fn send_reply(&self, io: &mut Io, request: &Message<'_>, from: Hop, key: Key, reply: Reply) {
        let echo = Echo::new(request, from.peer, self.is_compact(from));
        let tag = self.reply_tag(key);
        finish_reply(
            echo.response(&mut io.scratch, reply.status, &tag),
            request,
            reply,
            &self.server_name,
        );
        let transport = io.streams.transport(from.listener);
        io.transmit_composed(response_hop(request, from, transport));
    }

    /// The To tag of responses outside a dialog: the same for every repetition, and a token, so
    /// that the ACK finds this shard.
    pub(crate) fn reply_tag(&self, key: Key) -> TokenText {
        self.tokens.encode(Token {
            shard: self.shard,
            slot: u32::MAX,
            nonce: key as u64,
        })
    }

    /// A new INVITE: remember it and send 100 (§17.2.1). `initial`: outside a dialog.
    pub(crate) fn accept_invite(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        request: &Message<'_>,
        from: Hop,
        initial: bool,
    ) -> u32 {
        let key = self.keys.server(request, Method::Invite);
        let hop = response_hop(request, from, io.streams.transport(from.listener));
        let echo = Echo::new(request, from.peer, self.is_compact(from));
        let mut w = echo.response(&mut io.scratch, 100, b"");
        // §8.2.6.1.
        if let Some(stamp) = request.header(HeaderName::Timestamp) {
            w.header("Timestamp", stamp);
        }
        w.empty_body();
        let last = io.composed();
        io.transmit(hop, last.clone());
        if initial {
            let merge = self.keys.merge(request);
            self.stones
                .insert(now, merge, Linger::Long, Tombstone::Merge(key));
        }
        let slot = self.servers.insert(Server {
            key,
            state: ServerState::Proceeding,
            hop,
            echo,
            last,
            owner: None,
            interval: self.base.t1,
            resend: None,
            expire: None,
            again: false,
        }) as u32;
        if let Some(flow) = hop.flow {
            io.streams.bind(flow);
        }
        self.active.insert(key, slot);
        slot
    }

    /// A request other than INVITE whose answer is not known yet: remember it and say nothing
    /// (§17.2.2 Trying). Ends with [`Self::finish`] or [`Self::abandon`].
    pub(crate) fn accept_request(&mut self, io: &Io, request: &Message<'_>, from: Hop) -> u32 {
        let key = self.keys.server(request, request.method());
        let slot = self.servers.insert(Server {
            key,
            state: ServerState::Proceeding,
            hop: response_hop(request, from, io.streams.transport(from.listener)),
            echo: Echo::new(request, from.peer, self.is_compact(from)),
            last: Bytes::new(),
            owner: None,
            interval: self.base.t1,
            resend: None,
            expire: None,
            again: false,
        }) as u32;
        self.active.insert(key, slot);
        slot
    }

    /// The final response to a request of [`Self::accept_request`], with header fields and a body of
    /// the caller's.
    pub(crate) fn finish(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        slot: u32,
        status: u16,
        tag: &[u8],
        finish: impl FnOnce(Writer<'_>),
    ) {
        let Some(server) = self.remove_server(io, slot) else {
            return;
        };
        finish(server.echo.response(&mut io.scratch, status, tag));
        let response = io.composed();
        io.transmit(server.hop, response.clone());
        if !self.is_full() {
            self.stones.insert(
                now,
                server.key,
                Linger::Long,
                Tombstone::Passed(server.hop, response),
            );
        }
    }

    /// A request of [`Self::accept_request`] gets no answer: its sender has given up by now, and a
    /// late 408 would only confuse (RFC 4320 §4.2).
    pub(crate) fn abandon(&mut self, io: &mut Io, slot: u32) {
        self.remove_server(io, slot);
    }

    /// The last response to an INVITE, and where it went.
    pub(crate) fn last_response(&self, slot: u32) -> Option<(Hop, Bytes)> {
        let server = self.servers.get(slot as usize)?;
        Some((server.hop, server.last.clone()))
    }

    /// Say which leg hears of a CANCEL for this INVITE.
    pub(crate) fn own_server(&mut self, slot: u32, owner: Owner) {
        if let Some(server) = self.servers.get_mut(slot as usize) {
            server.owner = owner;
        }
    }

    /// The INVITE that a CANCEL is for (§9.2), when it has no final response yet; `Err` when there
    /// is none at all.
    pub(crate) fn cancelled_invite(&self, cancel: &Message<'_>) -> Result<Option<(u32, Owner)>, ()> {
        let key = self.keys.server(cancel, Method::Invite);
        match self
            .active
            .get(&key)
            .and_then(|&slot| self.servers.get(slot as usize).map(|s| (slot, s)))
        {
            Some((slot, server)) if server.state == ServerState::Proceeding => Ok(Some((slot, server.owner))),
            Some(_) => Ok(None),
            None if matches!(
                self.stones.get(key),
                Some(Tombstone::Accepted | Tombstone::Confirmed)
            ) =>
            {
                Ok(None)
            }
            None => Err(()),
        }
    }

    /// Send a response with header fields and a body of the caller's to an INVITE. 1xx and failures
    /// only; a 2xx goes through [`Transactions::succeed`].
    pub(crate) fn respond(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        slot: u32,
        status: u16,
        tag: &[u8],
        finish: impl FnOnce(Writer<'_>),
    ) {
        let Some(server) = self.servers.get_mut(slot as usize) else {
            return;
        };
        if server.state != ServerState::Proceeding {
            return;
        }
        finish(server.echo.response(&mut io.scratch, status, tag));
        server.last = io.composed();
        io.transmit(server.hop, server.last.clone());
        if status >= 300 {
            server.state = ServerState::Completed;
            server.owner = None;
            server.echo = Echo::default();
            // §17.2.1: what a stream carries is not sent again.
            server.resend = (!io.is_reliable(server.hop)).then(|| {
                io.timers
                    .insert(now + self.base.t1, Alarm::Server(slot, Timer::G))
            });
            server.expire = Some(
                io.timers
                    .insert(now + self.base.give_up(), Alarm::Server(slot, Timer::H)),
            );
        }
    }

    /// Refuse an INVITE with a [`Reply`].
    pub(crate) fn refuse(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        slot: u32,
        tag: &[u8],
        request: &Message<'_>,
        reply: Reply,
    ) {
        let name = Arc::clone(&self.server_name);
        self.respond(io, now, slot, reply.status, tag, |w| {
            finish_reply(w, request, reply, &name);
        });
    }

    /// Answer an INVITE with 2xx. The transaction only absorbs repetitions from now on (RFC 6026
    /// Accepted); the caller repeats the returned response until it is acknowledged (§13.3.1.4).
    pub(crate) fn succeed(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        slot: u32,
        tag: &[u8],
        finish: impl FnOnce(Writer<'_>),
    ) -> Option<(Hop, Bytes)> {
        if !self
            .servers
            .get(slot as usize)
            .is_some_and(|s| s.state == ServerState::Proceeding)
        {
            return None;
        }
        let server = self.remove_server(io, slot)?;
        finish(server.echo.response(&mut io.scratch, 200, tag));
        let response = io.composed();
        io.transmit(server.hop, response.clone());
        self.stones
            .insert(now, server.key, Linger::Long, Tombstone::Accepted);
        Some((server.hop, response))
    }

    fn remove_server(&mut self, io: &mut Io, slot: u32) -> Option<Server> {
        let mut server = self.servers.try_remove(slot as usize)?;
        self.active.remove(&server.key);
        for key in [server.resend.take(), server.expire.take()].into_iter().flatten() {
            io.timers.cancel(key);
        }
        Some(server)
    }

    /// Timer G or H of a server transaction.
    pub(crate) fn server_alarm(&mut self, io: &mut Io, now: Timestamp, slot: u32, timer: Timer) {
        let Some(server) = self.servers.get_mut(slot as usize) else {
            return;
        };
        if timer == Timer::G {
            io.counters.retransmissions_sent += 1;
            server.interval = self.base.doubled(server.interval);
            server.resend = Some(
                io.timers
                    .insert(now + server.interval, Alarm::Server(slot, Timer::G)),
            );
            let (hop, last) = (server.hop, server.last.clone());
            io.transmit(hop, last);
        } else {
            server.expire = None;
            self.confirm(io, now, slot);
        }
    }

    /// The ACK has come, or never will (§17.2.1 Confirmed). Timer I is zero on a stream.
    fn confirm(&mut self, io: &mut Io, now: Timestamp, slot: u32) {
        if let Some(server) = self.remove_server(io, slot)
            && !io.is_reliable(server.hop)
        {
            self.stones
                .insert(now, server.key, Linger::Short, Tombstone::Confirmed);
        }
    }

    /// The connection by which INVITEs came has gone: what is to be said goes by another, and what was
    /// said last and may have been lost is said once more (§18.2.2).
    pub(super) fn responses_lost(&mut self, io: &mut Io, lost: Option<Flow>) {
        for (_, server) in &mut self.servers {
            if server.hop.flow != lost {
                continue;
            }
            server.hop.flow = None;
            if server.state == ServerState::Completed && !server.again {
                server.again = true;
                io.counters.retransmissions_sent += 1;
                io.transmit(server.hop, server.last.clone());
            }
        }
    }
}
