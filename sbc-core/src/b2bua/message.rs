//! MESSAGE outside a dialog (RFC 3428): a page of text from one trunk to the other.
//!
//! In: a MESSAGE. Out: a new one to where a call from the same trunk would go, with a Call-ID, tag
//! and Via of its own, then its final status back. Nothing is stored: a MESSAGE that finds nobody
//! fails there and then, and one that is never answered is answered by nobody (RFC 4320 §4.2).
//!
//! It takes a token of every calls-per-second limit that a call would fall under, and no channel: a
//! flood of it costs the far side as much as one of calls, and nothing is held afterwards.

use super::{
    admit::{limits_of, over_limit},
    pass::check_body,
    pass::{MESSAGE_BYTES_MAX, write_body},
    setup::{check_require, max_forwards_of},
};
use crate::{
    admission::Scope,
    shard::{Arrival, Shard},
    sip::{Message, Method, OptionTags},
    snapshot::Snapshot,
    time::Timestamp,
    topology::{self, Towards},
    transaction::{Reply, Side},
    transport::Transport,
};
use ahash::RandomState;
use std::{collections::HashMap, sync::Arc};

/// Most MESSAGEs of a shard that may wait for their answers.
const WAITING_MAX: usize = 4096;

/// The slot in the tag of a MESSAGE: no call has it.
const NO_CALL: u32 = u32::MAX >> 1;

/// MESSAGEs whose final response is awaited: the client transaction of ours, and the server
/// transaction that it answers.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    waiting: HashMap<u32, u32, RandomState>,
}

impl Shard {
    /// A MESSAGE outside any dialog.
    pub(crate) fn message(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival) {
        if let Err(reply) = self.relay_message(now, request, from) {
            self.io.counters.messages_refused += 1;
            self.transactions
                .answer(&mut self.io, now, request, from.hop, reply);
        }
    }

    fn relay_message(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival) -> Result<(), Reply> {
        if self.transactions.is_full() {
            self.io.counters.refused_transactions_max += 1;
            return Err(Reply::retry_after(503, 5));
        }
        if self.messages.waiting.len() >= WAITING_MAX {
            self.io.counters.messages_waiting_max += 1;
            return Err(Reply::retry_after(503, 5));
        }
        check_require(request, OptionTags::NONE)?;
        check_body(request)?;
        let max_forwards = max_forwards_of(request)?;
        let mut parties = self.parties_of(now, request, from)?;
        let snapshot = Arc::clone(&self.snapshot);
        let mut hunt = self.route(now, &snapshot, from.trunk, request, &parties)?;
        self.locate(request, from.trunk, hunt.is_emergency(), &mut parties);
        let (to, mut targets) = self.first_open(now, &snapshot, from.trunk, &mut hunt, parties.callee())?;
        let trunk = snapshot.trunks.get(usize::from(to.0)).ok_or(Reply::new(404))?;
        let target = targets.remove(0);
        let hop = target.hop;
        let ours = self.local(hop);
        let mut dialog = self.dialog_towards((NO_CALL, Side::B), &target, &parties, trunk);
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let cseq = dialog.next_cseq();
        let mut w = dialog.request(&mut self.io.scratch, "MESSAGE", cseq, &branch, ours, max_forwards);
        let towards = Towards {
            bare: true,
            ..trunk.towards(ours.address, hop.peer)
        };
        parties.write(&mut w, &towards);
        write_body(&mut w, request);
        if let Some(headers) = &trunk.headers {
            headers.change(&mut self.io.scratch);
        }
        let congestible = |transport: Transport| !transport.is_reliable();
        let slow = congestible(ours.transport) || congestible(self.local(from.hop).transport);
        if slow && self.io.scratch.len() > MESSAGE_BYTES_MAX {
            return Err(Reply::new(513));
        }
        let scope = Scope {
            from: from.trunk,
            to,
            source: Some(from.hop.peer.ip()),
            called: parties.called_number(),
            route: hunt.rule_name(),
        };
        if !hunt.is_emergency() {
            self.admit_message(now, &snapshot, &scope)?;
        }
        let server = self.transactions.accept_request(&self.io, request, from.hop);
        let client = self
            .transactions
            .send(&mut self.io, now, nonce, hop, Method::Message, None);
        self.messages.waiting.insert(client, server);
        self.io.counters.messages_passed += 1;
        Ok(())
    }

    /// The tokens of a call on the same way, but no channel.
    fn admit_message(&mut self, now: Timestamp, snapshot: &Snapshot, scope: &Scope<'_>) -> Result<(), Reply> {
        let taken = self.admission.take_tokens(now, &limits_of(snapshot, scope));
        taken.map_err(|refused| over_limit(&mut self.io.counters, snapshot, scope.from, refused))
    }

    /// A final response to a request of ours that belongs to no call.
    pub(crate) fn message_answered(&mut self, now: Timestamp, client: u32, response: &Message<'_>) {
        let Some(server) = self.messages.waiting.remove(&client) else {
            return;
        };
        let status = match response.status() {
            status @ 200..=299 => status,
            status => topology::failure_status(status),
        };
        let tag = self.mint(u32::MAX);
        self.transactions
            .finish(&mut self.io, now, server, status, &tag, |mut w| w.empty_body());
    }

    /// A request of ours that belongs to no call was never answered.
    pub(crate) fn message_timed_out(&mut self, client: u32) {
        if let Some(server) = self.messages.waiting.remove(&client) {
            self.transactions.abandon(&mut self.io, server);
        }
    }
}
