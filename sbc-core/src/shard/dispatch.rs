//! From a datagram to the part of the shard that it concerns.

use super::{Output, Shard, ShardId};
use crate::{
    b2bua::{AttemptFailure, LegState, check_require},
    dialog::counts_cseq,
    guard::Offence,
    sip::{HeaderName, Message, Method, OptionTags, validate},
    snapshot::Service,
    time::Timestamp,
    token::Token,
    transaction::{ClientEvent, Extra, Owner, Reply, ServerVerdict, Side},
    transport::Hop,
    trunk::TrunkId,
};
use bytes::Bytes;

/// How a message came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) hop: Hop,
    pub(crate) trunk: TrunkId,
    /// No configuration lists its source any more: only what belongs to a call that is up, or to a request that is
    /// under way, is for us.
    pub(crate) former: bool,
}

impl Shard {
    /// `first`: straight from the network; hand-overs are dealt with here in any case, so that no
    /// message can circle between shards.
    pub(super) fn receive(&mut self, now: Timestamp, from: Arrival, bytes: &[u8], first: bool) {
        if bytes.iter().all(|&c| matches!(c, b'\r' | b'\n' | 0)) {
            self.io.counters.sip_keepalives += 1;
            return;
        }
        let message = match Message::parse(bytes) {
            Ok(message) => message,
            Err(error) => {
                self.io.counters.sip_malformed += 1;
                self.blame(now, from.hop.peer, Offence::Malformed, bytes);
                if from.trunk != TrunkId::STRANGER {
                    self.refuse_malformed(bytes, from, error.status());
                }
                return;
            }
        };
        let token = self.response_token(&message);
        if first
            && let Some(shard) = self
                .owner(&message, token)
                .filter(|&shard| self.is_other_shard(shard))
        {
            self.io.counters.handed_over += 1;
            let (hop, payload) = (from.hop, Bytes::copy_from_slice(bytes));
            self.io
                .outputs
                .push_back(Output::Handover { shard, hop, payload });
            return;
        }
        if message.is_response() {
            self.response(now, &message, from, token);
        } else {
            self.request(now, &message, from);
        }
    }

    /// What our branch in a response's top Via says.
    fn response_token(&self, message: &Message<'_>) -> Option<Token> {
        message.is_response().then(|| self.branch_token(message))?
    }

    /// What our branch in a message's top Via says.
    pub(super) fn branch_token(&self, message: &Message<'_>) -> Option<Token> {
        let branch = message.top_via().ok()?.branch?;
        self.tokens.decode(branch.strip_prefix(b"z9hG4bK")?)
    }

    /// The shard that a message concerns: named by a token of ours, else by its Call-ID.
    fn owner(&mut self, message: &Message<'_>, token: Option<Token>) -> Option<ShardId> {
        if message.is_response() {
            return token.map(|token| token.shard);
        }
        let tag = message
            .to()
            .ok()
            .and_then(|to| to.tag())
            .and_then(|tag| self.tokens.decode(tag));
        match tag {
            Some(tag) => Some(tag.shard),
            None if message.method() == Method::Register => self.owner_by_record(message),
            None => self
                .owner_by_replaces(message)
                .or_else(|| message.call_id().ok().map(|id| self.owner_of(id))),
        }
    }

    fn response(&mut self, now: Timestamp, response: &Message<'_>, from: Arrival, token: Option<Token>) {
        if validate::response(response).is_err() {
            self.io.counters.sip_malformed += 1;
            return;
        }
        // §18.1.2, §8.1.3.3: a response whose top Via is not ours, or with more than one, is not for us.
        let Some(token) = token.filter(|_| response.vias().count() == 1) else {
            self.io.counters.stray_responses += 1;
            return;
        };
        match self
            .transactions
            .receive_response(&mut self.io, now, response, from.hop, token)
        {
            ClientEvent::Absorbed => {}
            ClientEvent::Provisional(owner) => {
                if let Some((slot, side)) = owner
                    && !self.calls_target(slot, token.slot)
                {
                    self.met(slot, side, from.hop);
                    self.provisional(now, slot, side, response);
                }
            }
            ClientEvent::Success(owner, key) => {
                let Some((slot, side)) = owner else { return };
                if self.calls_target(slot, token.slot) {
                    return self.target_answered(now, slot, response, from, key, token.nonce);
                }
                self.met(slot, side, from.hop);
                let Some(call) = self.call_mut(slot) else { return };
                match call.leg(side).state {
                    LegState::Inviting(_) => self.answered(now, slot, response, key, token.nonce),
                    _ => self.reinvite_answered(now, slot, side, response, key, token.nonce),
                }
            }
            ClientEvent::Challenged(owner, method, client) => {
                let sent_again = match owner {
                    Some(leg) => self.answer_challenge(now, leg, client, response),
                    None => self.registration_challenged(now, client, response),
                };
                if sent_again {
                    return;
                }
                self.transactions.end_challenged(client);
                self.finally(now, owner, (method, client), response);
            }
            ClientEvent::Final(owner, method, client) => self.finally(now, owner, (method, client), response),
        }
    }

    /// The final response to a request of ours, other than a 2xx to INVITE; its transaction has ended.
    fn finally(
        &mut self,
        now: Timestamp,
        owner: Owner,
        (method, client): (Method, u32),
        response: &Message<'_>,
    ) {
        let Some((slot, side)) = owner else {
            if method == Method::Message {
                return self.message_answered(now, client, response);
            }
            if method == Method::Register {
                return self.registered(now, client, Some(response));
            }
            return self.probed(now, client, Some(response.status()));
        };
        if method == Method::Invite && self.calls_target(slot, client) {
            let status = response.status();
            let told = crate::topology::failure_status(status);
            return self.target_failed(now, slot, AttemptFailure::Status(status), told);
        }
        let Some(call) = self.call_mut(slot) else { return };
        match (method, call.leg(side).state) {
            (Method::Invite, LegState::Inviting(_)) => self.refused(now, slot, response),
            (Method::Invite, _) => self.exchange_refused(now, slot, response.status()),
            (Method::Update, _) if self.take_refresh(slot, side, client) => {
                self.refresh_answered(now, slot, side, response.status(), Some(response));
            }
            (Method::Info, _) if self.take_digit(slot, side, client) => {
                self.digit_answered(now, slot, side, response.status());
            }
            (Method::Update, _) => self.update_answered(now, slot, side, response),
            (Method::Bye, _) => self.bye_answered(now, slot, side),
            _ => self.passed_answered(now, slot, side, client, response),
        }
    }

    fn request(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival) {
        if let Err(invalid) = validate::request(request) {
            self.io.counters.sip_malformed += 1;
            if is_answerable(request) && from.trunk != TrunkId::STRANGER {
                let reply = match invalid.status {
                    501 => Reply::with(501, Extra::Allow),
                    status => Reply::new(status),
                };
                self.transactions
                    .answer_stateless(&mut self.io, request, from.hop, reply);
            }
            return;
        }
        match self
            .transactions
            .receive_request(&mut self.io, now, request, from.hop)
        {
            ServerVerdict::Absorbed => return,
            ServerVerdict::Merged => {
                self.io.counters.refused_request += 1;
                self.transactions
                    .answer_stateless(&mut self.io, request, from.hop, Reply::new(482));
                return;
            }
            ServerVerdict::New => {}
        }
        let identified = self
            .tell_apart(now, request, from)
            .and_then(|from| self.identify(now, request, from));
        let Some(from) = identified else {
            return;
        };
        if request.method() == Method::Cancel {
            return self.cancel(now, request, from);
        }
        match request.to().ok().and_then(|to| to.tag()) {
            Some(tag) => self.in_dialog(now, request, from, tag),
            None => self.out_of_dialog(now, request, from),
        }
    }

    fn out_of_dialog(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival) {
        if from.former || self.snapshot.service_of(from.trunk) == Service::Removed {
            self.io.counters.sip_unknown_source += 1;
            return;
        }
        let reply = match request.method() {
            Method::Invite => return self.invite(now, request, from),
            Method::Message => return self.message(now, request, from),
            Method::Register if self.takes_users(from.trunk) => {
                return self.register_user(now, request, from);
            }
            Method::Ack => {
                self.io.counters.stray_acks += 1;
                return;
            }
            // A NOTIFY only belongs to a subscription made by a REFER inside a dialog (RFC 6665 §4.1.3).
            Method::Bye | Method::Prack | Method::Update | Method::Notify => Reply::new(481),
            // A REFER outside a call would let its sender have calls made that nobody answers for:
            // there is no call to transfer, and no side that is charged for it.
            Method::Refer => Reply::new(403),
            Method::Subscribe => Reply::with(489, Extra::AllowEvents),
            method => self.reply_to_other(request, method, from.trunk),
        };
        self.transactions
            .answer(&mut self.io, now, request, from.hop, reply);
    }

    fn in_dialog(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival, tag: &[u8]) {
        let method = request.method();
        let leg = self.leg_of_tag(tag).filter(|&(slot, side)| {
            self.calls
                .get(slot as usize)
                .is_some_and(|call| call.is_within(side, request))
        });
        let Some((slot, side)) = leg else {
            if self.target_request(now, request, from, tag) {
                return;
            }
            return self.no_dialog(now, request, from);
        };
        self.met(slot, side, from.hop);
        if counts_cseq(method) && !self.is_in_order(slot, side, request) {
            self.io.counters.refused_request += 1;
            self.transactions
                .answer(&mut self.io, now, request, from.hop, Reply::new(500));
            return;
        }
        match method {
            Method::Ack => self.acked(now, slot, side, request),
            Method::Bye => self.bye(now, slot, side, request, from),
            Method::Invite => self.reinvite(now, slot, side, request, from),
            Method::Prack => self.prack(now, slot, side, request, from),
            Method::Update => self.update(now, slot, side, request, from),
            Method::Info | Method::Message => self.pass(now, slot, side, request, from),
            Method::Refer => self.refer(now, slot, side, request, from),
            Method::Notify => self.notify(now, slot, side, request, from),
            Method::Subscribe => self.subscribe(now, slot, side, request, from),
            method => {
                let reply = self.reply_to_other(request, method, from.trunk);
                self.transactions
                    .answer(&mut self.io, now, request, from.hop, reply);
            }
        }
    }

    /// The peer of a leg used this connection: that is the way back to it from now on. So is the source of a request of
    /// a trunk that roams.
    fn met(&mut self, slot: u32, side: Side, from: Hop) {
        if self.snapshot.roams(from.trunk)
            && let Some(call) = self.calls.get_mut(slot as usize)
            && call.leg(side).trunk == from.trunk
        {
            call.leg_mut(side).hop = from;
            return;
        }
        if from.flow.is_some()
            && let Some(call) = self.calls.get_mut(slot as usize)
            && call.leg(side).hop.listener == from.listener
        {
            call.leg_mut(side).hop.flow = from.flow;
        }
    }

    /// A request to a dialog that we do not know, or no longer (§12.2.2).
    fn no_dialog(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival) {
        match request.method() {
            Method::Ack => self.io.counters.stray_acks += 1,
            Method::Invite => {
                self.transactions
                    .answer_stateless(&mut self.io, request, from.hop, Reply::new(481));
            }
            _ => self
                .transactions
                .answer(&mut self.io, now, request, from.hop, Reply::new(481)),
        }
    }

    /// OPTIONS is answered here; a method that we know but do not serve is 405 (§8.2.1), one that nobody has
    /// heard of 501 (§21.5.2).
    fn reply_to_other(&mut self, request: &Message<'_>, method: Method, from: TrunkId) -> Reply {
        if method == Method::Options {
            return match check_require(request, OptionTags::NONE) {
                Err(reply) => reply,
                Ok(()) if self.draining => Reply::retry_after(503, 30),
                Ok(()) if self.snapshot.service_of(from) != Service::Enabled => Reply::retry_after(503, 30),
                Ok(()) => Reply::with(200, Extra::Allow),
            };
        }
        self.io.counters.refused_request += 1;
        let status = if method == Method::Other { 501 } else { 405 };
        Reply::with(status, Extra::Allow)
    }

    /// A message that is broken but tells enough of itself gets its 400 (§18.3, §21.4.1).
    pub(super) fn refuse_malformed(&mut self, bytes: &[u8], from: Arrival, status: u16) {
        let Some(message) = Message::parse_lenient(bytes) else {
            return;
        };
        if is_answerable(&message) {
            self.transactions
                .answer_stateless(&mut self.io, &message, from.hop, Reply::new(status));
        }
    }
}

/// Whether a request that cannot be acted on is answered all the same: an ACK never is (§17.1.1.3), and
/// without a Via nobody could tell what the response is for.
fn is_answerable(message: &Message<'_>) -> bool {
    message.is_request() && message.method() != Method::Ack && message.header(HeaderName::Via).is_some()
}
