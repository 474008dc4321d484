//! Requests that were challenged (§22): sent once more, with credentials.
//!
//! ```text
//!  Calling ──401, 407──► challenged ──prove──► Calling, in the same slot: new branch, CSeq + 1
//!                            └────end_challenged──► ended, as by any final response
//! ```
//!
//! The slot stays, so that whoever waits for the request need not know that it went twice. Of INVITE the refusal is
//! acknowledged under the old branch, and again whenever it is repeated.

use super::{
    ClientEvent, Io, Transactions,
    client::{Cancel, Client},
    tombstone::{Linger, Tombstone},
};
use crate::{
    digest::realm_of,
    sip::{HeaderName, Message, Method, Writer},
    text::put,
    time::Timestamp,
    token::Token,
};
use bytes::Bytes;

/// How often a request is sent again: a proxy and the callee may both want a password (RFC 3261 §22.3), and each may
/// have a new nonce for us once.
const PROVEN_MAX: u8 = 4;

impl Client {
    /// Whether a challenge may be answered: somebody still wants the request, and it was not proven too often.
    pub(super) fn may_prove(&self) -> bool {
        (self.owner.is_some() || self.method == Method::Register)
            && matches!(self.cancel, Cancel::No)
            && self.proven < PROVEN_MAX
    }
}

impl Transactions {
    /// The request in `slot` was challenged.
    pub(super) fn challenged(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        slot: u32,
        response: &Message<'_>,
    ) -> ClientEvent {
        let Some(client) = self.clients.get_mut(slot as usize) else {
            return ClientEvent::Absorbed;
        };
        client.stop_timers(io);
        let (owner, method, hop, request) = (client.owner, client.method, client.hop, client.request.clone());
        let branch = self.tokens.encode(Token {
            shard: self.shard,
            slot,
            nonce: client.nonce,
        });
        if client.is_invite() {
            self.acknowledge_failure(io, now, response, &request, hop, &branch);
        } else if !io.is_reliable(hop) {
            let key = self.keys.client(&branch);
            self.stones.insert(now, key, Linger::Short, Tombstone::Absorb);
        }
        ClientEvent::Challenged(owner, method, slot)
    }

    /// The request in `slot` as it was sent.
    pub(crate) fn request_of(&self, slot: u32) -> Option<Bytes> {
        self.clients
            .get(slot as usize)
            .map(|client| client.request.clone())
    }

    /// No credentials: the challenge is the end of the request.
    pub(crate) fn end_challenged(&mut self, slot: u32) {
        self.clients.try_remove(slot as usize);
    }

    /// Send the challenged request in `slot` once more, with `cseq` and these header fields besides those it had.
    /// `nonce`: random, for its branch. `false`: there is no such request.
    pub(crate) fn prove(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        slot: u32,
        nonce: u64,
        cseq: u32,
        credentials: &[(HeaderName, Vec<u8>)],
    ) -> bool {
        let branch = self.tokens.encode(Token {
            shard: self.shard,
            slot,
            nonce,
        });
        let Some((hop, before)) = self
            .clients
            .get(slot as usize)
            .map(|client| (client.hop, client.request.clone()))
        else {
            return false;
        };
        let Ok(old) = Message::parse(&before) else {
            return false;
        };
        let local = self.local(hop);
        io.scratch.clear();
        let mut w = Writer::new(&mut io.scratch).compact(local.compact);
        w.request_line(old.method_bytes(), old.request_uri());
        crate::dialog::write_via(&mut w, local, &branch);
        for (name, header, value) in old.iter() {
            match header {
                HeaderName::Via | HeaderName::ContentLength => {}
                HeaderName::CSeq => {
                    w.header_with("CSeq", |out| put!(out, cseq, " ", old.method_bytes()));
                }
                // Of another server: its credentials stay. Those for the same realm are replaced.
                HeaderName::Authorization | HeaderName::ProxyAuthorization
                    if credentials
                        .iter()
                        .any(|(new, text)| *new == header && realm_of(text) == realm_of(value)) => {}
                _ => {
                    w.header_bytes(name, value);
                }
            }
        }
        for (name, value) in credentials {
            w.header(name.spelled(false), value);
        }
        w.end(old.body());
        if let Some(client) = self.clients.get_mut(slot as usize) {
            client.nonce = nonce;
            client.proven += 1;
        }
        self.start(io, now, slot, hop);
        true
    }
}
