//! Client transactions (§17.1): requests that we sent and whose final response is awaited.

use super::{
    Ack, Alarm, Hop, Io, Owner, Timer, Transactions,
    tombstone::{Linger, Tombstone},
};
use crate::{
    id::{ConnectionId, ListenerId},
    sip::{HeaderName, Message, Method, Writer},
    time::Timestamp,
    timer_wheel::TimerKey,
    token::{Token, TokenText},
    transport::Flow,
};
use bytes::Bytes;
use std::{net::SocketAddr, time::Duration};

/// §17.1.1.2 and §17.1.2.2. Completed, Accepted and Terminated are tombstones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientState {
    /// Sent, nothing heard (for non-INVITE: Trying).
    Calling,
    /// A provisional response came.
    Proceeding,
}

#[derive(Debug)]
pub(crate) struct Client {
    /// Random part of our branch.
    pub(crate) nonce: u64,
    pub(crate) method: Method,
    pub(crate) state: ClientState,
    pub(crate) hop: Hop,
    /// The request as sent: repeated in Calling, and the model for ACK and CANCEL.
    pub(crate) request: Bytes,
    /// The request as it goes when no connection opens for it (§18.1.1), and where to.
    pub(crate) datagram: Option<Box<(Hop, Bytes)>>,
    pub(crate) owner: Owner,
    pub(crate) cancel: Cancel,
    pub(crate) interval: Duration,
    pub(crate) resend: Option<(TimerKey, Timer)>,
    pub(crate) expire: Option<TimerKey>,
    /// Given up before timer B, which is due then: see [`Transactions::give_up_at`].
    pub(crate) left: Left,
    /// How often it was sent again with credentials.
    pub(super) proven: u8,
}

/// Whether the owner goes elsewhere before timer B (failover).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    No,
    /// It will when nothing has come by then; timer B is due at this time.
    Soon(Timestamp),
    /// It has.
    Yes,
}

/// The CANCEL of an INVITE (§9.1). It shares the INVITE's branch and lives inside it: when the
/// INVITE has its final response, the CANCEL has no more purpose.
#[derive(Debug)]
pub(crate) enum Cancel {
    /// Not wanted.
    No,
    /// Wanted with this Reason value, but no provisional response has come yet.
    Wanted(Option<Bytes>),
    /// Sent; the bytes are repeated until answered.
    Sent {
        request: Bytes,
        interval: Duration,
        resend: Option<TimerKey>,
    },
}

impl Client {
    pub(crate) fn is_invite(&self) -> bool {
        self.method == Method::Invite
    }
}

/// What a response meant to the transaction that it belongs to.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    /// A provisional response other than 100.
    Provisional(Owner),
    /// A 2xx to INVITE. The transaction is now a tombstone that awaits to be told how to ACK.
    Success(Owner, super::Key),
    /// A final response: 3xx–6xx to INVITE (already acknowledged), any to another request. The
    /// slot is that of the transaction, which has ended.
    Final(Owner, Method, u32),
    /// 401 or 407, acknowledged where that is due. The owner shall say what follows, by
    /// [`Transactions::prove`] or, to have it be final, [`Transactions::end_challenged`].
    Challenged(Owner, Method, u32),
    /// Nothing for the owner to do.
    Absorbed,
}

/// A client transaction ended without a final response.
#[derive(Debug)]
pub(crate) struct TimedOut {
    pub(crate) owner: Owner,
    pub(crate) method: Method,
    /// The transaction's slot.
    pub(crate) client: u32,
    /// A CANCEL had been sent: the owner knows already.
    pub(crate) cancelled: bool,
}

impl Transactions {
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
        let slot = self.clients.insert(Client {
            nonce,
            method,
            state: ClientState::Calling,
            hop,
            request: Bytes::new(),
            datagram: None,
            owner,
            cancel: Cancel::No,
            interval: self.base.t1,
            resend: None,
            expire: None,
            left: Left::No,
            proven: 0,
        }) as u32;
        self.start(io, now, slot, hop);
        slot
    }

    /// The request in `slot` is that of the scratch buffer from now on: send it to `hop`, and start its timers.
    pub(super) fn start(&mut self, io: &mut Io, now: Timestamp, slot: u32, hop: Hop) {
        let (hop, request, datagram) = match self.enlarge(io, hop) {
            Some((stream, request)) => (stream, request, Some(Box::new((hop, io.composed())))),
            None => (hop, io.composed(), None),
        };
        let way = io.transmit(hop, request.clone());
        let Some(client) = self.clients.get_mut(slot as usize) else {
            return;
        };
        let (resend, expire) = match client.method {
            Method::Invite => (Timer::A, Timer::B),
            _ => (Timer::E, Timer::F),
        };
        client.state = ClientState::Calling;
        client.hop = io.bound(hop, way, slot, client.nonce);
        client.request = request;
        client.datagram = datagram;
        client.interval = self.base.t1;
        // §17: what a stream carries is not sent again.
        client.resend = (!io.is_reliable(hop)).then(|| {
            let alarm = Alarm::Client(slot, resend);
            (io.timers.insert(now + self.base.t1, alarm), resend)
        });
        let alarm = Alarm::Client(slot, expire);
        client.expire = Some(io.timers.insert(now + self.base.give_up(), alarm));
    }

    /// The leg that owned this request no longer cares: whatever comes is acknowledged and dropped.
    ///
    /// An INVITE in Proceeding has no timer of its own (§17.1.1.2); without an owner to give it up
    /// it gets 64·T1 for its final response.
    pub(crate) fn orphan_client(&mut self, io: &mut Io, now: Timestamp, slot: u32) {
        if let Some(client) = self.clients.get_mut(slot as usize) {
            client.owner = None;
            if client.expire.is_none() {
                client.expire_at(io, now + self.base.give_up(), slot);
            }
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
        let Some(hop) = self.clients.get(slot as usize).map(|client| client.hop) else {
            return;
        };
        let compact = self.is_compact(hop);
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
        let mut w = Writer::new(&mut io.scratch).compact(compact);
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
        let resend = (!io.is_reliable(client.hop))
            .then(|| io.timers.insert(now + self.base.t1, Alarm::ClientCancel(slot)));
        client.cancel = Cancel::Sent {
            request,
            interval: self.base.t1,
            resend,
        };
        // §9.1: without a final response 64·T1 after the CANCEL, the INVITE is considered gone.
        if let Some(key) = client.expire.take() {
            io.timers.cancel(key);
        }
        client.expire_at(io, now + self.base.give_up(), slot);
    }

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
                    if client.owner.is_none() {
                        client.expire_at(io, now + self.base.give_up(), slot);
                    }
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
        if matches!(status, 401 | 407) && client.may_prove() {
            return self.challenged(io, now, slot, response);
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
        let reliable = io.is_reliable(client.hop);
        if !client.is_invite() {
            // Timer K is zero on a stream.
            if !reliable {
                self.stones.insert(now, key, Linger::Short, Tombstone::Absorb);
            }
            return ClientEvent::Final(client.owner, client.method, slot);
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
            if client.left == Left::Yes {
                self.end_late(io, now, response, key, &branch, &client);
                return ClientEvent::Absorbed;
            }
            let new_call = || {
                let invite = Message::parse(&client.request);
                invite.is_ok_and(|invite| invite.to().is_ok_and(|to| to.tag().is_none()))
            };
            if client.owner.is_none() && new_call() {
                // It crossed our CANCEL (§9.1), and nobody wants it.
                self.end_unwanted(io, now, response, client.hop, key, (&branch, client.nonce));
                return ClientEvent::Absorbed;
            }
            if client.owner.is_none() {
                self.acknowledge_orphan(io, response, client.hop, key, client.nonce);
                return ClientEvent::Absorbed;
            }
            return ClientEvent::Success(client.owner, key);
        }
        self.acknowledge_failure(io, now, response, &client.request, client.hop, &branch);
        ClientEvent::Final(client.owner, Method::Invite, slot)
    }

    /// `request`, an INVITE with this branch, has failed: acknowledge that, now and whenever it is said again.
    pub(super) fn acknowledge_failure(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        response: &Message<'_>,
        request: &[u8],
        hop: Hop,
        branch: &TokenText,
    ) {
        let (uri, route) = match Message::parse(request) {
            Ok(invite) => (
                invite.request_uri().into(),
                invite.header(HeaderName::Route).map(Into::into),
            ),
            Err(_) => (Box::default(), None),
        };
        self.send_ack_failure(io, response, hop, &uri, route.as_deref(), branch);
        // Timer D is zero on a stream.
        if !io.is_reliable(hop) {
            let key = self.keys.client(branch);
            self.stones
                .insert(now, key, Linger::Long, Tombstone::AckFailure(uri, route));
        }
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
                match client.left {
                    Left::Soon(timer_b) if timer_b > now => Some(self.leave(io, timer_b, slot)?),
                    _ => self.give_up(io, now, slot),
                }
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
            client: slot,
            cancelled,
        })
    }

    /// Timer B came early: the owner goes elsewhere. The request stays until timer B proper, so that
    /// a callee that was only slow is cancelled when it rings and acknowledged when it refuses.
    fn leave(&mut self, io: &mut Io, timer_b: Timestamp, slot: u32) -> Option<TimedOut> {
        let client = self.clients.get_mut(slot as usize)?;
        client.left = Left::Yes;
        client.cancel = Cancel::Wanted(None);
        client.expire_at(io, timer_b, slot);
        Some(TimedOut {
            owner: client.owner.take(),
            method: client.method,
            client: slot,
            cancelled: false,
        })
    }

    /// A callee that was left for another has answered all the same: acknowledge that and hang up,
    /// every time it is said.
    fn end_late(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        response: &Message<'_>,
        key: super::Key,
        branch: &TokenText,
        client: &Client,
    ) {
        // No To tag has this hash, so that whatever comes again is surplus, too.
        if let Some(Tombstone::AckSuccess { to_tag, .. }) = self.stones.get_mut(key) {
            *to_tag = 1;
        }
        self.end_surplus(io, now, response, client.hop, branch, client.nonce);
    }

    /// Give an INVITE or another request up at `at`, earlier than timer B or F would, unless a
    /// response comes.
    pub(crate) fn give_up_at(&mut self, io: &mut Io, now: Timestamp, slot: u32, at: Timestamp) {
        let timer_b = now + self.base.give_up();
        let due = at.min(timer_b);
        if let Some(client) = self.clients.get_mut(slot as usize)
            && client.state == ClientState::Calling
        {
            if let Some(key) = client.expire.take() {
                io.timers.cancel(key);
            }
            client.expire_at(io, due, slot);
            if client.is_invite() {
                client.left = Left::Soon(timer_b);
            }
        }
    }

    /// The slots of requests to `peer` that wait for a response.
    pub(crate) fn clients_towards(&self, listener: ListenerId, peer: SocketAddr) -> Vec<u32> {
        self.clients
            .iter()
            .filter(|(_, c)| {
                c.hop.listener == listener && c.hop.peer == peer && c.state == ClientState::Calling
            })
            .map(|(slot, _)| slot as u32)
            .collect()
    }

    /// A connection has gone. Requests on it without any response have failed (§17.1.4); what has a
    /// response will get the next over a connection that the peer opens (§18.2.2). Responses of ours
    /// that wait for their ACK are sent once more, over a new connection.
    pub(crate) fn connection_lost(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        connection: ConnectionId,
    ) -> Vec<TimedOut> {
        let flow = Some(Flow {
            shard: self.shard,
            connection,
        });
        let mut unanswered = Vec::new();
        for (slot, client) in &mut self.clients {
            if client.hop.flow == flow {
                client.hop.flow = None;
                if client.state == ClientState::Calling {
                    unanswered.push(slot as u32);
                }
            }
        }
        self.responses_lost(io, flow);
        let failed = unanswered.into_iter();
        failed.filter_map(|slot| self.unsent(io, now, slot)).collect()
    }

    /// The request in `slot` did not leave.
    pub(crate) fn request_lost(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        slot: u32,
        nonce: u64,
    ) -> Vec<TimedOut> {
        let client = self.clients.get(slot as usize);
        let current = client.is_some_and(|c| c.nonce == nonce && c.state == ClientState::Calling);
        let ended = current.then(|| self.unsent(io, now, slot)).flatten();
        ended.into_iter().collect()
    }

    /// The request in `slot` has no connection: it goes as a datagram if it may, else it has failed.
    fn unsent(&mut self, io: &mut Io, now: Timestamp, slot: u32) -> Option<TimedOut> {
        let client = self.clients.get_mut(slot as usize)?;
        let Some(datagram) = client.datagram.take() else {
            return self.give_up(io, now, slot);
        };
        (client.hop, client.request) = *datagram;
        io.counters.streams_fallbacks += 1;
        io.transmit(client.hop, client.request.clone());
        let timer = if client.is_invite() { Timer::A } else { Timer::E };
        let key = io.timers.insert(now + self.base.t1, Alarm::Client(slot, timer));
        client.resend = Some((key, timer));
        None
    }
}

impl Client {
    pub(super) fn stop_timers(&mut self, io: &mut Io) {
        if let Some((key, _)) = self.resend.take() {
            io.timers.cancel(key);
        }
        if let Some(key) = self.expire.take() {
            io.timers.cancel(key);
        }
    }

    /// End the INVITE at `at`, whatever it waits for.
    fn expire_at(&mut self, io: &mut Io, at: Timestamp, slot: u32) {
        self.expire = Some(io.timers.insert(at, Alarm::Client(slot, Timer::B)));
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
