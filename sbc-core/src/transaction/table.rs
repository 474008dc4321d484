//! The table of transactions of one shard, and the state machines of RFC 3261 §17.

use super::{
    Ack, Alarm, Base, Cancel, ClientEvent, ClientState, Echo, Hop, Io, Key, Keys, Owner, Reply, TimedOut,
    Timer,
    client::Client,
    reply::{response_hop, write_reply},
    server::{Server, ServerState},
    tombstone::{Linger, Tombstone, Tombstones},
};
use crate::{
    dialog::{Dialog, write_via},
    shard::ShardId,
    sip::{HeaderName, Message, Method, Writer, unfold},
    time::Timestamp,
    token::{Token, TokenKey, TokenText},
};
use ahash::RandomState;
use bytes::Bytes;
use slab::Slab;
use std::{collections::HashMap, net::SocketAddr};

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
    servers: Slab<Server>,
    clients: Slab<Client>,
    active: HashMap<Key, u32, RandomState>,
    stones: Tombstones,
    pub(crate) keys: Keys,
    tokens: TokenKey,
    shard: ShardId,
    base: Base,
    max: usize,
    server_name: String,
    /// Advertised address by listener, for Via.
    advertised: Vec<SocketAddr>,
}

/// Fixed properties of a [`Transactions`] table.
pub(crate) struct TableConfig {
    pub(crate) shard: ShardId,
    pub(crate) tokens: TokenKey,
    pub(crate) base: Base,
    pub(crate) max: usize,
    pub(crate) server_name: String,
    pub(crate) advertised: Vec<SocketAddr>,
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
            server_name: config.server_name,
            advertised: config.advertised,
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

    pub(crate) fn advertised(&self, hop: Hop) -> SocketAddr {
        self.advertised
            .get(usize::from(hop.listener.0))
            .copied()
            .unwrap_or(hop.peer)
    }

    // ---- requests received -------------------------------------------------------------------

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
            (Method::Ack, ServerState::Completed) => {
                let key = server.key;
                self.remove_server(io, slot);
                self.stones.insert(now, key, Linger::Short, Tombstone::Confirmed);
                ServerVerdict::Absorbed
            }
            _ => ServerVerdict::New,
        }
    }

    /// Answer a request other than INVITE at once, and the same way when it is repeated (§17.2.2).
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

    fn send_reply(&self, io: &mut Io, request: &Message<'_>, from: Hop, key: Key, reply: Reply) {
        let echo = Echo::new(request, from.peer);
        let tag = self.reply_tag(key);
        write_reply(&mut io.scratch, request, &echo, &tag, reply, &self.server_name);
        io.transmit_composed(response_hop(request, from));
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
        let hop = response_hop(request, from);
        let echo = Echo::new(request, from.peer);
        echo.response(&mut io.scratch, 100, b"").empty_body();
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
        }) as u32;
        self.active.insert(key, slot);
        slot
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
            server.resend = Some(
                io.timers
                    .insert(now + self.base.t1, Alarm::Server(slot, Timer::G)),
            );
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
        let Some(server) = self.servers.get(slot as usize) else {
            return;
        };
        let echo = server.echo.clone();
        let mut composed = Vec::with_capacity(512);
        write_reply(&mut composed, request, &echo, tag, reply, &self.server_name);
        let Some(server) = self.servers.get_mut(slot as usize) else {
            return;
        };
        server.last = Bytes::from(composed);
        server.state = ServerState::Completed;
        server.owner = None;
        server.echo = Echo::default();
        io.transmit(server.hop, server.last.clone());
        server.resend = Some(
            io.timers
                .insert(now + self.base.t1, Alarm::Server(slot, Timer::G)),
        );
        server.expire = Some(
            io.timers
                .insert(now + self.base.give_up(), Alarm::Server(slot, Timer::H)),
        );
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

    // ---- requests sent -----------------------------------------------------------------------

    /// The branch that the next request sent must carry.
    pub(crate) fn next_branch(&self, nonce: u64) -> TokenText {
        self.tokens.encode(Token {
            shard: self.shard,
            slot: self.clients.vacant_key() as u32,
            nonce,
        })
    }

    /// A branch for an ACK to a 2xx, which no transaction answers to (§13.2.2.4): always the same
    /// for the same INVITE.
    pub(crate) fn ack_branch(&self, invite_nonce: u64) -> TokenText {
        self.tokens.encode(Token {
            shard: self.shard,
            slot: u32::MAX,
            nonce: !invite_nonce,
        })
    }

    /// Send the request composed in the scratch buffer, whose branch is [`Self::next_branch`] of `nonce`.
    pub(crate) fn send(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        nonce: u64,
        hop: Hop,
        method: Method,
        owner: Owner,
    ) -> u32 {
        let request = io.composed();
        io.transmit(hop, request.clone());
        let entry = self.clients.vacant_entry();
        let slot = entry.key() as u32;
        let (resend, expire) = match method {
            Method::Invite => (Timer::A, Timer::B),
            _ => (Timer::E, Timer::F),
        };
        let resend_key = io.timers.insert(now + self.base.t1, Alarm::Client(slot, resend));
        let expire_key = io
            .timers
            .insert(now + self.base.give_up(), Alarm::Client(slot, expire));
        entry.insert(Client {
            nonce,
            method,
            state: ClientState::Calling,
            hop,
            request,
            owner,
            cancel: Cancel::No,
            interval: self.base.t1,
            resend: Some((resend_key, resend)),
            expire: Some(expire_key),
        });
        slot
    }

    /// The leg that owned this request no longer cares: whatever comes is acknowledged and dropped.
    pub(crate) fn orphan_client(&mut self, slot: u32) {
        if let Some(client) = self.clients.get_mut(slot as usize) {
            client.owner = None;
        }
    }

    /// Give up an INVITE that we sent (§9.1): CANCEL now if a provisional response has come, else
    /// as soon as one does.
    pub(crate) fn cancel(&mut self, io: &mut Io, now: Timestamp, slot: u32, reason: Option<Bytes>) {
        let Some(client) = self.clients.get_mut(slot as usize) else {
            return;
        };
        if !client.is_invite() || !matches!(client.cancel, Cancel::No) {
            return;
        }
        client.cancel = Cancel::Wanted(reason);
        if client.state == ClientState::Proceeding {
            self.send_cancel(io, now, slot);
        }
    }

    fn send_cancel(&mut self, io: &mut Io, now: Timestamp, slot: u32) {
        let Some(client) = self.clients.get_mut(slot as usize) else {
            return;
        };
        let Cancel::Wanted(reason) = &client.cancel else {
            return;
        };
        let reason = reason.clone();
        let Ok(invite) = Message::parse(&client.request) else {
            return;
        };
        // §9.1: Request-URI, Call-ID, To, From, the number of CSeq, Route and the top Via are the INVITE's.
        io.scratch.clear();
        let mut w = Writer::new(&mut io.scratch);
        w.request_line("CANCEL", invite.request_uri());
        w.header("Via", invite.header(HeaderName::Via).unwrap_or_default());
        w.header("Max-Forwards", b"70");
        for route in invite.headers(HeaderName::Route) {
            w.header("Route", route);
        }
        for (name, header) in [
            ("From", HeaderName::From),
            ("To", HeaderName::To),
            ("Call-ID", HeaderName::CallId),
        ] {
            w.header(name, invite.header(header).unwrap_or_default());
        }
        w.header_fmt(
            "CSeq",
            format_args!("{} CANCEL", invite.cseq().map_or(1, |c| c.number)),
        );
        if let Some(reason) = &reason {
            w.header("Reason", reason);
        }
        w.empty_body();
        let request = io.composed();
        io.transmit(client.hop, request.clone());
        let resend = Some(io.timers.insert(now + self.base.t1, Alarm::ClientCancel(slot)));
        client.cancel = Cancel::Sent {
            request,
            interval: self.base.t1,
            resend,
        };
        // §9.1: without a final response 64·T1 after the CANCEL, the INVITE is considered gone.
        if let Some(key) = client.expire.take() {
            io.timers.cancel(key);
        }
        client.expire = Some(
            io.timers
                .insert(now + self.base.give_up(), Alarm::Client(slot, Timer::B)),
        );
    }

    // ---- responses received ------------------------------------------------------------------

    /// Match a response to the request that it answers. `branch` is our token from the top Via.
    pub(crate) fn receive_response(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        response: &Message<'_>,
        from: Hop,
        branch: Token,
    ) -> ClientEvent {
        let method = response.cseq().map_or(Method::Other, |c| c.method);
        let slot = branch.slot;
        match self.clients.get(slot as usize) {
            Some(client) if client.nonce == branch.nonce => {
                if client.method == method {
                    return self.receive_final_or_provisional(io, now, slot, response);
                }
                if method == Method::Cancel && response.status() >= 200 {
                    self.cancel_answered(io, slot);
                    return ClientEvent::Absorbed;
                }
                io.counters.stray_responses += 1;
                ClientEvent::Absorbed
            }
            _ => {
                self.receive_late(io, now, response, from, branch, method);
                ClientEvent::Absorbed
            }
        }
    }

    fn receive_final_or_provisional(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        slot: u32,
        response: &Message<'_>,
    ) -> ClientEvent {
        let status = response.status();
        let Some(client) = self.clients.get_mut(slot as usize) else {
            return ClientEvent::Absorbed;
        };
        if status < 200 {
            if client.is_invite() {
                if client.state == ClientState::Calling {
                    client.state = ClientState::Proceeding;
                    client.stop_timers(io);
                    if matches!(client.cancel, Cancel::Wanted(_)) {
                        self.send_cancel(io, now, slot);
                        return ClientEvent::Absorbed;
                    }
                }
                let owner = client.owner;
                return if status == 100 {
                    ClientEvent::Absorbed
                } else {
                    ClientEvent::Provisional(owner)
                };
            }
            // §17.1.2.2: in Proceeding, timer E runs at T2.
            client.state = ClientState::Proceeding;
            client.interval = self.base.t2;
            return ClientEvent::Absorbed;
        }
        let Some(mut client) = self.clients.try_remove(slot as usize) else {
            return ClientEvent::Absorbed;
        };
        client.stop_timers(io);
        client.stop_cancel(io);
        let branch = self.tokens.encode(Token {
            shard: self.shard,
            slot,
            nonce: client.nonce,
        });
        let key = self.keys.client(&branch);
        if !client.is_invite() {
            self.stones.insert(now, key, Linger::Short, Tombstone::Absorb);
            return ClientEvent::Final(client.owner, client.method);
        }
        if status < 300 {
            self.stones.insert(
                now,
                key,
                Linger::Long,
                Tombstone::AckSuccess {
                    to_tag: 0,
                    ack: Ack::Awaited,
                },
            );
            if client.owner.is_none() {
                self.acknowledge_orphan(io, response, client.hop, key, client.nonce);
                return ClientEvent::Absorbed;
            }
            return ClientEvent::Success(client.owner, key);
        }
        let (uri, route) = match Message::parse(&client.request) {
            Ok(invite) => (
                invite.request_uri().into(),
                invite.header(HeaderName::Route).map(Into::into),
            ),
            Err(_) => (Box::default(), None),
        };
        self.send_ack_failure(io, response, client.hop, &uri, route.as_deref(), &branch);
        self.stones
            .insert(now, key, Linger::Long, Tombstone::AckFailure(uri, route));
        ClientEvent::Final(client.owner, Method::Invite)
    }

    /// A response to a request that is finished already.
    fn receive_late(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        response: &Message<'_>,
        from: Hop,
        branch: Token,
        method: Method,
    ) {
        let text = self.tokens.encode(branch);
        let key = self.keys.client(&text);
        let status = response.status();
        match self.stones.get(key) {
            None => io.counters.stray_responses += 1,
            Some(_) if status < 200 || method != Method::Invite => {}
            Some(Tombstone::AckFailure(uri, route)) if status >= 300 => {
                let (uri, route) = (uri.clone(), route.clone());
                io.counters.retransmissions_received += 1;
                self.send_ack_failure(io, response, from, &uri, route.as_deref(), &text);
            }
            Some(Tombstone::AckSuccess { to_tag, ack }) if status < 300 => {
                let tag = self
                    .keys
                    .tag(response.to().ok().and_then(|to| to.tag()).unwrap_or_default());
                let (to_tag, ack) = (*to_tag, ack.clone());
                io.counters.retransmissions_received += 1;
                match ack {
                    _ if to_tag != 0 && to_tag != tag => {
                        self.end_surplus(io, now, response, from, &text, branch.nonce);
                    }
                    Ack::Awaited => {}
                    Ack::Rebuild => self.send_ack_success(io, response, from, branch.nonce),
                    Ack::Stored(bytes) => {
                        io.counters.retransmissions_sent += 1;
                        let hop = Dialog::from_success(response, text)
                            .ok()
                            .and_then(|d| d.next_hop())
                            .map_or(from, |peer| Hop { peer, ..from });
                        io.transmit(hop, bytes);
                    }
                }
            }
            Some(_) => {}
        }
    }

    /// Tell how the 2xx under `key` is acknowledged from now on.
    pub(crate) fn acknowledged(&mut self, key: Key, to_tag: &[u8], how: Ack) {
        let hash = self.keys.tag(to_tag);
        if let Some(Tombstone::AckSuccess { to_tag, ack }) = self.stones.get_mut(key) {
            *to_tag = hash;
            *ack = how;
        }
    }

    /// A 2xx to a re-INVITE whose call has ended: acknowledge it, the BYE is on its way already.
    fn acknowledge_orphan(&mut self, io: &mut Io, response: &Message<'_>, from: Hop, key: Key, nonce: u64) {
        self.send_ack_success(io, response, from, nonce);
        let tag = response
            .to()
            .ok()
            .and_then(|to| to.tag())
            .unwrap_or_default()
            .to_vec();
        self.acknowledged(key, &tag, Ack::Rebuild);
    }

    /// Send the ACK that a 2xx itself describes (§13.2.2.4).
    pub(crate) fn send_ack_success(
        &mut self,
        io: &mut Io,
        response: &Message<'_>,
        from: Hop,
        invite_nonce: u64,
    ) {
        let branch = self.ack_branch(invite_nonce);
        let Ok(dialog) = Dialog::from_success(response, branch) else {
            io.counters.sip_malformed += 1;
            return;
        };
        let hop = dialog.next_hop().map_or(from, |peer| Hop { peer, ..from });
        dialog
            .request(
                &mut io.scratch,
                "ACK",
                dialog.local_cseq,
                &branch,
                self.advertised(hop),
                70,
            )
            .empty_body();
        io.transmit_composed(hop);
    }

    /// A second callee answered too: acknowledge it and hang up on it (§13.2.2.4).
    fn end_surplus(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        response: &Message<'_>,
        from: Hop,
        branch: &TokenText,
        nonce: u64,
    ) {
        let to_tag = response.to().ok().and_then(|to| to.tag()).unwrap_or_default();
        let surplus = self.keys.surplus(branch, to_tag);
        let fork_nonce = nonce ^ surplus as u64;
        self.send_ack_success(io, response, from, fork_nonce);
        if self.stones.get(surplus).is_some() {
            return;
        }
        self.stones.insert(now, surplus, Linger::Long, Tombstone::Absorb);
        let Ok(mut dialog) = Dialog::from_success(response, *branch) else {
            return;
        };
        let hop = dialog.next_hop().map_or(from, |peer| Hop { peer, ..from });
        let cseq = dialog.next_cseq();
        let bye = self.next_branch(fork_nonce);
        dialog
            .request(&mut io.scratch, "BYE", cseq, &bye, self.advertised(hop), 70)
            .empty_body();
        self.send(io, now, fork_nonce, hop, Method::Bye, None);
    }

    /// The ACK of a failure response belongs to the INVITE's transaction (§17.1.1.3).
    fn send_ack_failure(
        &self,
        io: &mut Io,
        response: &Message<'_>,
        hop: Hop,
        uri: &[u8],
        route: Option<&[u8]>,
        branch: &TokenText,
    ) {
        io.scratch.clear();
        let mut w = Writer::new(&mut io.scratch);
        w.request_line("ACK", uri);
        write_via(&mut w, self.advertised(hop), branch);
        w.header("Max-Forwards", b"70");
        if let Some(route) = route {
            w.header("Route", route);
        }
        for (name, header) in [
            ("From", HeaderName::From),
            ("To", HeaderName::To),
            ("Call-ID", HeaderName::CallId),
        ] {
            w.header(name, unfold(response.header(header).unwrap_or_default()));
        }
        w.header_fmt(
            "CSeq",
            format_args!("{} ACK", response.cseq().map_or(1, |c| c.number)),
        );
        w.empty_body();
        io.transmit_composed(hop);
    }

    fn cancel_answered(&mut self, io: &mut Io, slot: u32) {
        if let Some(Client {
            cancel: Cancel::Sent { resend, .. },
            ..
        }) = self.clients.get_mut(slot as usize)
            && let Some(key) = resend.take()
        {
            io.timers.cancel(key);
        }
    }

    // ---- time --------------------------------------------------------------------------------

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
            let key = server.key;
            self.remove_server(io, slot);
            self.stones.insert(now, key, Linger::Short, Tombstone::Confirmed);
        }
    }

    /// Timer A, B, E or F of a client transaction.
    pub(crate) fn client_alarm(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        slot: u32,
        timer: Timer,
    ) -> Option<TimedOut> {
        let client = self.clients.get_mut(slot as usize)?;
        match timer {
            Timer::A | Timer::E => {
                io.counters.retransmissions_sent += 1;
                client.interval = match timer {
                    Timer::A => client.interval * 2,
                    _ if client.state == ClientState::Proceeding => self.base.t2,
                    _ => self.base.doubled(client.interval),
                };
                client.resend = Some((
                    io.timers
                        .insert(now + client.interval, Alarm::Client(slot, timer)),
                    timer,
                ));
                let (hop, request) = (client.hop, client.request.clone());
                io.transmit(hop, request);
                None
            }
            _ => {
                client.expire = None;
                self.give_up(io, now, slot)
            }
        }
    }

    /// The CANCEL of an INVITE was not answered yet: send it again.
    pub(crate) fn cancel_alarm(&mut self, io: &mut Io, now: Timestamp, slot: u32) {
        let Some(Client {
            hop,
            cancel:
                Cancel::Sent {
                    request,
                    interval,
                    resend,
                },
            ..
        }) = self.clients.get_mut(slot as usize)
        else {
            return;
        };
        *interval = self.base.doubled(*interval);
        *resend = Some(io.timers.insert(now + *interval, Alarm::ClientCancel(slot)));
        io.counters.retransmissions_sent += 1;
        let (hop, request) = (*hop, request.clone());
        io.transmit(hop, request);
    }

    /// End a client transaction without a final response.
    pub(crate) fn give_up(&mut self, io: &mut Io, now: Timestamp, slot: u32) -> Option<TimedOut> {
        let mut client = self.clients.try_remove(slot as usize)?;
        client.stop_timers(io);
        let cancelled = !matches!(client.cancel, Cancel::No);
        client.stop_cancel(io);
        if client.is_invite() {
            // A 2xx may still come: a callee that answers a dead call is told so.
            let branch = self.tokens.encode(Token {
                shard: self.shard,
                slot,
                nonce: client.nonce,
            });
            let key = self.keys.client(&branch);
            self.stones.insert(
                now,
                key,
                Linger::Long,
                Tombstone::AckSuccess {
                    to_tag: 1,
                    ack: Ack::Awaited,
                },
            );
        }
        Some(TimedOut {
            owner: client.owner,
            method: client.method,
            cancelled,
        })
    }

    /// The slots of requests to `peer` that wait for a response.
    pub(crate) fn clients_towards(&self, hop: Hop) -> Vec<u32> {
        self.clients
            .iter()
            .filter(|(_, c)| c.hop == hop && c.state == ClientState::Calling)
            .map(|(slot, _)| slot as u32)
            .collect()
    }
}

impl Client {
    fn stop_timers(&mut self, io: &mut Io) {
        if let Some((key, _)) = self.resend.take() {
            io.timers.cancel(key);
        }
        if let Some(key) = self.expire.take() {
            io.timers.cancel(key);
        }
    }

    fn stop_cancel(&mut self, io: &mut Io) {
        if let Cancel::Sent {
            resend: Some(key), ..
        } = std::mem::replace(&mut self.cancel, Cancel::No)
        {
            io.timers.cancel(key);
        }
    }
}
