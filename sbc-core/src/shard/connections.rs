//! What the driver tells a shard about streams (TCP, TLS).
//!
//! Who a stream's peer is follows from its address, as for datagrams, but without the port: that of a
//! connection is chosen afresh each time. Over TLS a trunk may also want names in the peer's certificate.

use super::{Arrival, ListenerId, Shard};
use crate::{
    id::ConnectionId,
    io::{Closed, Output, PeerIdentity},
    sip::{Message, Method},
    snapshot::Snapshot,
    stream::{Fault, Frame, Lost, Way},
    time::Timestamp,
    token::Token,
    transaction::Reply,
    transport::{Hop, Transport},
    trunk::TrunkId,
};
use bytes::Bytes;
use std::net::SocketAddr;

impl Shard {
    /// A peer connected to a stream listener. `None`: it is not wanted (unknown source, a bound
    /// was hit; counted): close it at once. Otherwise the id by which everything more about it is
    /// told; for TLS the handshake begins now.
    pub fn handle_accept(
        &mut self,
        now: Timestamp,
        listener: ListenerId,
        peer: SocketAddr,
    ) -> Option<ConnectionId> {
        self.io.now = now;
        let trunk = self.trunk_of_stream(peer).or_else(|| self.former_trunk_of(peer));
        if !self.lets_in(now, peer, trunk) {
            return None;
        }
        let Some(trunk) = trunk.or_else(|| self.stranger(listener)) else {
            self.io.counters.streams_unknown_source += 1;
            return None;
        };
        let hop = Hop {
            listener,
            peer,
            trunk,
            flow: None,
        };
        let (streams, mut out) = self.io.streams();
        streams.accept(&mut out, hop)
    }

    /// A connection is ready to carry messages: one of [`super::Output::Connect`] was opened, or the
    /// TLS handshake of an accepted one has succeeded. Not called for accepted TCP connections:
    /// they are ready at once.
    pub fn handle_connected(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        identity: Option<PeerIdentity>,
    ) {
        self.io.now = now;
        let (streams, mut out) = self.io.streams();
        streams.connected(&mut out, connection, identity);
        self.tell_of_losses(now);
    }

    /// Bytes of the (plain) stream arrived; any number, cut anywhere.
    pub fn handle_stream(&mut self, now: Timestamp, connection: ConnectionId, bytes: &[u8]) {
        self.io.now = now;
        let Some(mut reading) = self.io.streams.reading(connection) else {
            return;
        };
        let bytes_max = self.io.streams.message_bytes_max();
        let former = reading.inbound && self.is_former(reading.hop.peer);
        let from = Arrival {
            hop: reading.hop,
            trunk: reading.hop.trunk,
            former,
        };
        let mut rest = bytes;
        let mut pinged = false;
        while let Some(frame) = reading.framer.next(&mut rest, bytes_max) {
            match frame {
                Frame::Message(message) => {
                    reading.heard = true;
                    self.io.counters.sip_received += 1;
                    if self.is_proven(&reading.hop, reading.inbound) {
                        self.receive(now, from, &message, true);
                    } else {
                        self.refuse_unproven(&message, from);
                    }
                    // What it led to may have closed the connection.
                    if !self.io.streams.is_alive(connection) {
                        break;
                    }
                }
                Frame::Ping => {
                    reading.heard = true;
                    pinged = true;
                    self.io.counters.sip_keepalives += 1;
                }
                Frame::Fault(fault, head) => {
                    self.refuse_stream(connection, from, fault, &head);
                    break;
                }
            }
        }
        let (streams, mut out) = self.io.streams();
        if pinged {
            // One for all that came together: it shows that the connection lives.
            streams.pong(&mut out, connection);
        }
        streams.read(&mut out, connection, reading);
        self.tell_of_losses(now);
    }

    /// So many bytes given by [`super::Output::Send`] have been handed to the kernel.
    pub fn handle_sent(&mut self, now: Timestamp, connection: ConnectionId, bytes: usize) {
        self.io.now = now;
        self.io.streams.sent(now, connection, bytes);
    }

    /// A connection could not be opened, or has ended. The driver has forgotten it.
    pub fn handle_closed(&mut self, now: Timestamp, connection: ConnectionId, why: Closed) {
        self.io.now = now;
        let (streams, mut out) = self.io.streams();
        streams.closed(&mut out, connection, &why);
        self.tell_of_losses(now);
    }

    /// Another shard's message ([`super::Output::SendVia`]) for a connection of this shard. When
    /// that has gone, it goes by another connection to `hop.peer`.
    pub fn handle_send(&mut self, now: Timestamp, hop: Hop, payload: Bytes) {
        self.io.now = now;
        let flow = hop.flow.filter(|flow| flow.shard == self.id);
        let hop = Hop { flow, ..hop };
        let (streams, mut out) = self.io.streams();
        if streams.send(&mut out, hop, payload.clone()) == Way::Nowhere {
            self.hand_back(hop, payload);
        }
        self.tell_of_losses(now);
    }

    /// A message did not leave. If it is another shard's request, that shard is told, with the request
    /// itself; that no connection is named tells it from messages that came by a stream.
    fn hand_back(&mut self, hop: Hop, payload: Bytes) {
        let Some(token) = self.request_token(&payload) else {
            return;
        };
        if self.is_other_shard(token.shard) {
            self.io.counters.streams_handed_back += 1;
            self.io.outputs.push_back(Output::Handover {
                shard: token.shard,
                hop: Hop { flow: None, ..hop },
                payload,
            });
        }
    }

    /// A request of ours that another shard could not send.
    pub(super) fn handed_back(&mut self, now: Timestamp, bytes: &[u8]) {
        if let Some(token) = self.request_token(bytes) {
            let (slot, nonce) = (token.slot, token.nonce);
            self.io.streams.lost.push(Lost::Request { slot, nonce });
        }
        self.tell_of_losses(now);
    }

    /// What our branch says in a request of ours for which a response is awaited. A CANCEL has the branch
    /// of its INVITE, and must not end that.
    fn request_token(&self, bytes: &[u8]) -> Option<Token> {
        let message = Message::parse(bytes).ok()?;
        let awaits = message.is_request() && !matches!(message.method(), Method::Ack | Method::Cancel);
        self.branch_token(&message).filter(|_| awaits)
    }

    /// Tell those whom lost connections and unsent requests concern. Their reactions may lose more; each
    /// round ends a connection or a transaction, so it comes to an end.
    pub(super) fn tell_of_losses(&mut self, now: Timestamp) {
        while let Some(lost) = self.io.streams.lost.pop() {
            let ended = match lost {
                Lost::Connection(id) => self.transactions.connection_lost(&mut self.io, now, id),
                Lost::Request { slot, nonce } => {
                    self.transactions.request_lost(&mut self.io, now, slot, nonce)
                }
                Lost::Message { hop, payload } => {
                    self.hand_back(hop, payload);
                    continue;
                }
            };
            for ended in ended {
                // §8.1.3.1 makes it a 503, which is not for others to see (§16.7 step 6).
                self.timed_out(now, ended, 500);
            }
        }
    }

    /// The sources and bounds of a new configuration hold for the connections that there are. Those of sources that
    /// it has no more stay for as long as calls may come by them.
    pub(super) fn configure_streams(&mut self, now: Timestamp, snapshot: &Snapshot) {
        self.io.now = now;
        let (before, named) = (&self.snapshot, &self.named_sources);
        let (streams, mut out) = self.io.streams();
        streams.configure(
            &mut out,
            snapshot.streams.clone(),
            |inbound, (listener, peer), trunk| {
                if !inbound {
                    // Ours, for a trunk: it stays that trunk's, also when that is only there for its calls. What proved
                    // itself as another's does not become that of whoever has its id now.
                    let name =
                        |snapshot: &Snapshot| Some(snapshot.trunks.get(usize::from(trunk.0))?.name.clone());
                    return (name(before) == name(snapshot)).then_some(trunk);
                }
                let listed = snapshot.sources.lookup_stream(peer);
                // The addresses behind a name stay with the trunk of that name.
                let named = || named.get(&peer.ip().to_canonical()).copied();
                let former = || snapshot.former.sources.lookup_stream(peer);
                let stranger = || {
                    let welcome = snapshot.logins.welcomes(listener);
                    welcome.then_some(TrunkId::STRANGER)
                };
                listed.or_else(named).or_else(former).or_else(stranger)
            },
        );
        self.tell_of_losses(now);
    }

    /// Over TLS a trunk may want names in the certificate of whoever connects. A peer that we have
    /// connected to was proved by the name that we asked for.
    fn is_proven(&self, hop: &Hop, inbound: bool) -> bool {
        let Some(trunk) = self.snapshot.trunks.get(usize::from(hop.trunk.0)) else {
            // Who it is it says with each request.
            return hop.trunk == TrunkId::STRANGER;
        };
        let wanted = &trunk.peer.tls_client_names;
        if wanted.is_empty() || !inbound || self.io.streams.transport(hop.listener) != Transport::Tls {
            return true;
        }
        hop.flow
            .and_then(|flow| self.io.streams.identity(flow.connection))
            .is_some_and(|identity| identity.names.iter().any(|name| wanted.contains(name)))
    }

    fn refuse_unproven(&mut self, bytes: &[u8], from: Arrival) {
        self.io.counters.streams_identity_refused += 1;
        if let Ok(request) = Message::parse(bytes)
            && request.is_request()
            && request.method() != Method::Ack
            && crate::sip::validate::request(&request).is_ok()
        {
            self.transactions
                .answer_stateless(&mut self.io, &request, from.hop, Reply::new(403));
        }
    }

    /// Nothing more can be understood of this stream: say so where that is possible, and close it.
    fn refuse_stream(&mut self, connection: ConnectionId, from: Arrival, fault: Fault, head: &[u8]) {
        let counters = &mut self.io.counters;
        *match fault {
            Fault::NotSip => &mut counters.streams_not_sip,
            Fault::TooLarge => &mut counters.streams_too_large,
            Fault::LengthMissing | Fault::LengthBad => &mut counters.streams_no_length,
        } += 1;
        self.refuse_malformed(head, from, fault.status());
        let (streams, mut out) = self.io.streams();
        streams.close(&mut out, connection, false);
    }
}
