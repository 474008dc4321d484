//! Changes of a session: one side offers, the other is asked (RFC 3261 §14, RFC 3311, RFC 6141).
//!
//! In: re-INVITE and UPDATE of one side. Out: re-INVITE or UPDATE on the other, and its answer back.
//! One [`Exchange`] at a time for a call: what comes meanwhile is refused as glare or as too early
//! and tried again by its sender. What changes nothing is answered here and does not cross:
//! an UPDATE without SDP, and the SDP that the peer sent last.
//!
//! An UPDATE with an offer crosses as UPDATE when the other peer allows that, else as re-INVITE.

use super::{
    Asker, Exchange, LateOffer, LegState, Part, Phase, Unfit,
    negotiate::media_of,
    secure::choose,
    session_timer::{Ask, min_of, write_agreed, write_session_timer},
    setup::{check_require, max_forwards_of, session_of},
    write_contact,
};
use crate::{
    dialog::contact_of,
    sdp::Sdp,
    shard::{Arrival, Shard},
    sip::{Message, Method, OptionTags},
    time::Timestamp,
    topology,
    transaction::{ALLOW, Ack, Alarm, Key, Reply, Side},
    trunk::TrunkId,
};

impl Shard {
    /// An INVITE inside a dialog of ours; its CSeq is in order.
    pub(crate) fn reinvite(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) {
        if self.transactions.is_full() {
            self.io.counters.refused_transactions_max += 1;
            self.transactions
                .answer_stateless(&mut self.io, request, from.hop, Reply::retry_after(503, 5));
            return;
        }
        let server = self
            .transactions
            .accept_invite(&mut self.io, now, request, from.hop, false);
        if let Err(reply) = self.take_reinvite(now, slot, side, request, server) {
            self.io.counters.refused_request += 1;
            let tag = self
                .calls
                .get(slot as usize)
                .map_or([b'0'; 24], |c| c.leg(side).dialog.local_tag);
            self.transactions
                .refuse(&mut self.io, now, server, &tag, request, reply);
        }
    }

    fn take_reinvite(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        server: u32,
    ) -> Result<(), Reply> {
        let policy = self.session_policy(slot, side);
        let retry = self.retry_later();
        let call = self.calls.get_mut(slot as usize).ok_or(Reply::new(481))?;
        if call.phase != Phase::Over && matches!(call.a.state, LegState::Invited(_)) {
            return Err(retry); // §14.2: the first INVITE is not answered yet.
        }
        if call.phase != Phase::Answered
            || call.leg(side).state != LegState::Confirmed
            || call.leg(side.other()).state != LegState::Confirmed
        {
            return Err(Reply::new(481));
        }
        match &call.exchange {
            Some(exchange) if exchange.from == side => return Err(retry),
            Some(_) => return Err(Reply::new(491)),
            // A 2xx of ours is not acknowledged yet on either side: an INVITE transaction is in progress.
            None if call.a.answer.is_some() || call.b.answer.is_some() => return Err(Reply::new(491)),
            None => {}
        }
        check_require(request, OptionTags::TIMER)?;
        let ask = Ask::of(request, policy)?;
        let max_forwards = max_forwards_of(request)?;
        let offer = session_of(request)?;
        let leg = call.leg_mut(side);
        let trunk = leg.trunk;
        leg.invited = request.cseq().map_or(1, |cseq| cseq.number);
        leg.can.hear(request);
        leg.ask = Some(ask);
        if offer
            .as_ref()
            .is_some_and(|sdp| self.is_known(slot, side, sdp.text()))
        {
            self.refresh_target(now, slot, side, request);
            self.describe_again(slot, side);
            self.answer_leg(now, slot, side, server, true, None);
            return Ok(());
        }
        self.put(
            now,
            slot,
            side,
            request,
            offer,
            trunk,
            Asker::Invite(server),
            max_forwards,
        )
    }

    /// An UPDATE inside a dialog of ours; its CSeq is in order.
    pub(crate) fn update(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) {
        let taken = if self.transactions.is_full() {
            self.io.counters.refused_transactions_max += 1;
            Err(Reply::retry_after(503, 5))
        } else {
            self.take_update(now, slot, side, request, from)
        };
        self.answer_refused(now, request, from, taken);
    }

    fn take_update(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) -> Result<(), Reply> {
        check_require(request, OptionTags::TIMER)?;
        let ask = Ask::of(request, self.session_policy(slot, side))?;
        let max_forwards = max_forwards_of(request)?;
        let offer = session_of(request)?;
        let retry = self.retry_later();
        let call = self.calls.get_mut(slot as usize).ok_or(Reply::new(481))?;
        if call.phase == Phase::Over {
            return Err(Reply::new(481));
        }
        // RFC 3311 §5.2, in its order.
        match &call.exchange {
            Some(exchange) if exchange.from == side => match exchange.asker {
                Asker::Request(_) => return Err(retry),
                _ if offer.is_some() => return Err(retry),
                Asker::Invite(_) | Asker::Us | Asker::Called(_) => {}
            },
            Some(_) if offer.is_some() => return Err(Reply::new(491)),
            _ => {}
        }
        let awaits_answer = |leg: &super::Leg| leg.answer.as_ref().is_some_and(|a| a.awaits_sdp.is_some());
        if offer.is_some() && (awaits_answer(&call.a) || awaits_answer(&call.b)) {
            return Err(Reply::new(491));
        }
        let leg = call.leg_mut(side);
        leg.can.hear(request);
        leg.ask = (request.method() == Method::Update).then_some(ask);
        let known = offer
            .as_ref()
            .is_some_and(|sdp| self.is_known(slot, side, sdp.text()));
        if offer.is_none() || known {
            self.refresh_target(now, slot, side, request);
            let server = self.transactions.accept_request(&self.io, request, from.hop);
            let described = known && self.describe_again(slot, side);
            self.accept_update(now, slot, side, server, described);
            return Ok(());
        }
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        let (other, trunk) = (call.leg(side.other()), call.leg(side).trunk);
        if call.phase != Phase::Answered {
            early_offer_can_cross(call, side, request, retry)?;
        } else if other.state != LegState::Confirmed {
            return Err(Reply::new(481));
        } else if !other.can.update && (call.a.answer.is_some() || call.b.answer.is_some()) {
            return Err(Reply::new(491)); // It has to cross as INVITE, and there is one.
        }
        let server = self.transactions.accept_request(&self.io, request, from.hop);
        let asked = self.put(
            now,
            slot,
            side,
            request,
            offer,
            trunk,
            Asker::Request(server),
            max_forwards,
        );
        if asked.is_err() {
            // Answered by our caller, from the request.
            self.transactions.abandon(&mut self.io, server);
        }
        asked
    }

    /// Put the change that `request` of `side` asks for to the other side. `trunk`: that of who asks.
    #[allow(clippy::too_many_arguments, reason = "a request and what was read from it")]
    pub(super) fn put(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        offer: Option<Sdp<'_>>,
        trunk: TrunkId,
        asker: Asker,
        max_forwards: u8,
    ) -> Result<(), Reply> {
        let other = side.other();
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        let timer = call.session_of_leg(other);
        let before = offer.is_some().then(|| call.leg(other).session.clone());
        if let Some(sdp) = &offer {
            choose(sdp, media_of(&self.snapshot, trunk)).map_err(Unfit::reply)?;
            self.describe_for(now, slot, other, sdp, Part::Offer, trunk)
                .map_err(Unfit::reply)?;
        }
        let min_s = min_of(self.session_policy(slot, other));
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let call = self.calls.get_mut(slot as usize).ok_or(Reply::new(481))?;
        let leg = call.leg_mut(other);
        let method = match asker {
            Asker::Request(_) if leg.can.update => Method::Update,
            _ => Method::Invite,
        };
        let cseq = leg.dialog.next_cseq();
        let fork = early_fork(call, other);
        if let Some(fork) = fork {
            call.swap_fork(fork);
        }
        let leg = call.leg_mut(other);
        let hop = leg.next_hop(&self.transactions, &self.names, &self.snapshot);
        let ours = self.transactions.local(hop);
        let mut w = leg.dialog.request(
            &mut self.io.scratch,
            method.as_str(),
            cseq,
            &branch,
            ours,
            max_forwards,
        );
        write_contact(&mut w, &leg.dialog.local_tag, ours);
        w.header("Allow", ALLOW);
        if let Some((expires_s, ours)) = timer {
            w.header("Supported", b"timer");
            write_session_timer(&mut w, expires_s, min_s, Some(ours));
        }
        match &offer {
            Some(_) => w.body("application/sdp", &self.sdp_scratch),
            None => w.empty_body(),
        }
        if let Some(fork) = fork {
            call.swap_fork(fork);
        }
        let client = self
            .transactions
            .send(&mut self.io, now, nonce, hop, method, Some((slot, other)));
        let patience = match asker {
            Asker::Invite(server) => {
                self.transactions.own_server(server, Some((slot, side)));
                self.snapshot.sip.no_answer
            }
            // Well before the asker gives up by itself, 64·T1 after it sent the UPDATE (§17.1.2.2):
            // an answer that is lost is said again only when the UPDATE is, every T2.
            Asker::Request(_) | Asker::Us | Asker::Called(_) => self.base.give_up() * 5 / 8,
        };
        let ceiling =
            (!patience.is_zero()).then(|| self.io.timers.insert(now + patience, Alarm::ExchangeExpire(slot)));
        call.exchange = Some(Box::new(Exchange {
            from: side,
            asker,
            client,
            cseq,
            offer: offer.map(|sdp| sdp.text().into()),
            before,
            target: contact_of(request).ok(),
            takeover: None,
            ceiling,
        }));
        Ok(())
    }

    /// The far side accepted our INVITE.
    pub(crate) fn reinvite_answered(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        response: &Message<'_>,
        key: Key,
        invite_nonce: u64,
    ) {
        let Some(exchange) = self.take_exchange(slot) else {
            self.io.counters.internal_errors += 1;
            return;
        };
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let leg = call.leg_mut(side);
        leg.dialog.refresh_target(response);
        let to_tag = leg.dialog.remote_tag.clone();
        let late_offer = exchange.offer.is_none() && session_of(response).is_ok_and(|sdp| sdp.is_some());
        self.transactions
            .acknowledged(key, &to_tag, if late_offer { Ack::Awaited } else { Ack::Rebuild });
        if !late_offer {
            self.acknowledge(slot, side, exchange.cseq, invite_nonce, None);
        }
        let late = late_offer.then_some(LateOffer {
            key,
            invite_nonce,
            cseq: exchange.cseq,
        });
        self.settle(now, slot, side, *exchange, response, late);
    }

    /// A final response to our UPDATE.
    pub(crate) fn update_answered(&mut self, now: Timestamp, slot: u32, side: Side, response: &Message<'_>) {
        if response.status() >= 300 {
            return self.exchange_refused(now, slot, response.status());
        }
        let Some(exchange) = self.take_exchange(slot) else {
            self.io.counters.internal_errors += 1;
            return;
        };
        self.refresh_target(now, slot, side, response);
        self.settle(now, slot, side, *exchange, response, None);
    }

    /// The far side, `side`, accepted: the change holds, and whoever asked for it hears of it.
    fn settle(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        exchange: Exchange,
        response: &Message<'_>,
        late: Option<LateOffer>,
    ) {
        let from = exchange.from;
        if let Some(takeover) = exchange.takeover {
            self.take_place(now, slot, from, *takeover);
        }
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        call.leg_mut(side).can.hear(response);
        self.agree_as_uac(now, slot, side, response);
        if exchange.asker == Asker::Us {
            if let Some(sdp) = session_of(response).ok().flatten() {
                // An answer of no use to our own offer leaves all as it was.
                let _ = self.apply_remote_to(now, slot, side, &sdp, Part::Answer);
            }
            return;
        }
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        if let Some(target) = exchange.target {
            call.leg_mut(from).dialog.remote_target = target;
        }
        self.learn_peers(now, slot);
        if let Some(offer) = exchange.offer.as_deref().and_then(|body| Sdp::parse(body).ok()) {
            // It could be described, so it can be heard.
            let _ = self.apply_remote_to(now, slot, from, &offer, Part::Offer);
        }
        let sdp = session_of(response).ok().flatten();
        let part = Part::after_offer(exchange.offer.is_some());
        let described = sdp.is_some_and(|sdp| self.describe_to(now, slot, from, &sdp, part).is_ok());
        let failed = exchange.offer.is_some() && !described;
        match exchange.asker {
            Asker::Invite(server) => self.answer_leg(now, slot, from, server, described, late),
            Asker::Request(server) if failed => self.refuse_update(now, slot, from, server, 500),
            Asker::Request(server) => self.accept_update(now, slot, from, server, described),
            Asker::Called(called) => self.acknowledge_late(slot, from, called, described),
            Asker::Us => {}
        }
        if failed {
            self.warn(slot, || "2xx to an offer has no usable SDP answer".into());
            self.end(now, slot, 200, "reinvite_failed");
        }
    }

    /// The far side refused: the session stays as it was, unless the dialog is gone (RFC 6141 §3.4).
    pub(crate) fn exchange_refused(&mut self, now: Timestamp, slot: u32, status: u16) {
        let ours = self
            .calls
            .get(slot as usize)
            .and_then(|call| call.exchange.as_ref())
            .filter(|exchange| exchange.asker == Asker::Us)
            .map(|exchange| exchange.from.other());
        if let Some(side) = ours {
            self.refuse_exchange(now, slot, status);
            return self.refresh_answered(now, slot, side, status, None);
        }
        self.refuse_exchange(now, slot, topology::failure_status(status));
        if matches!(status, 408 | 481) {
            self.end(now, slot, 200, "reinvite_failed");
        }
    }

    /// The far side never answered. After a CANCEL that is what was asked for.
    pub(crate) fn exchange_timed_out(&mut self, now: Timestamp, slot: u32, cancelled: bool, status: u16) {
        self.refuse_exchange(now, slot, if cancelled { 487 } else { status });
        if !cancelled {
            self.end(now, slot, 200, "reinvite_failed");
        }
    }

    /// The far side keeps trying without end: give up on the change, keep the call as it was.
    pub(crate) fn exchange_expired(&mut self, now: Timestamp, slot: u32) {
        let Some(exchange) = self.call_mut(slot).and_then(|call| call.exchange.as_mut()) else {
            return;
        };
        exchange.ceiling = None;
        let (client, asker) = (exchange.client, exchange.asker);
        self.transactions.cancel(&mut self.io, now, client, None);
        self.transactions.orphan_client(&mut self.io, now, client);
        // RFC 3311 §5.2: 504 says that the change needs more time than an UPDATE has.
        let status = if matches!(asker, Asker::Invite(_) | Asker::Called(_)) {
            408
        } else {
            504
        };
        self.refuse_exchange(now, slot, status);
    }

    fn take_exchange(&mut self, slot: u32) -> Option<Box<Exchange>> {
        let exchange = self.calls.get_mut(slot as usize)?.exchange.take()?;
        if let Some(key) = exchange.ceiling {
            self.io.timers.cancel(key);
        }
        Some(exchange)
    }

    fn refuse_exchange(&mut self, now: Timestamp, slot: u32, status: u16) {
        let Some(mut exchange) = self.take_exchange(slot) else {
            return;
        };
        let from = exchange.from;
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        if let Some(before) = exchange.before.take() {
            call.leg_mut(from.other()).session.restore(before);
        }
        let tag = match &exchange.takeover {
            Some(takeover) => takeover.leg.dialog.local_tag,
            None => call.leg(from).dialog.local_tag,
        };
        if let Some(takeover) = exchange.takeover.take() {
            self.give_up_takeover(now, slot, takeover, status);
        }
        match exchange.asker {
            Asker::Invite(server) => {
                self.transactions
                    .respond(&mut self.io, now, server, status, &tag, |mut w| w.empty_body());
            }
            Asker::Request(server) => self.refuse_update(now, slot, from, server, status),
            Asker::Us | Asker::Called(_) => {}
        }
    }

    /// Send a re-INVITE with our last SDP, which is in the scratch buffer: a refresh.
    pub(crate) fn reinvite_of_ours(&mut self, now: Timestamp, slot: u32, side: Side) -> bool {
        let min_s = min_of(self.session_policy(slot, side));
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let timer = call.session_of_leg(side);
        let leg = call.leg_mut(side);
        let cseq = leg.dialog.next_cseq();
        let hop = leg.next_hop(&self.transactions, &self.names, &self.snapshot);
        let ours = self.transactions.local(hop);
        let mut w = leg
            .dialog
            .request(&mut self.io.scratch, "INVITE", cseq, &branch, ours, 70);
        write_contact(&mut w, &leg.dialog.local_tag, ours);
        w.header("Allow", ALLOW);
        w.header("Supported", b"timer");
        if let Some((expires_s, ours)) = timer {
            write_session_timer(&mut w, expires_s, min_s, Some(ours));
        }
        w.body("application/sdp", &self.sdp_scratch);
        let client =
            self.transactions
                .send(&mut self.io, now, nonce, hop, Method::Invite, Some((slot, side)));
        let ceiling = self
            .io
            .timers
            .insert(now + self.base.give_up(), Alarm::ExchangeExpire(slot));
        call.exchange = Some(Box::new(Exchange {
            from: side.other(),
            asker: Asker::Us,
            client,
            cseq,
            offer: Some(self.sdp_scratch.as_slice().into()),
            before: None,
            target: None,
            takeover: None,
            ceiling: Some(ceiling),
        }));
        self.io.counters.session_refreshes += 1;
        true
    }

    /// The call ends while a change is on its way: its sender gets a final response, the far
    /// side's answer is acknowledged by the transaction alone.
    pub(crate) fn abort_exchange(&mut self, now: Timestamp, slot: u32) {
        let exchange = self
            .calls
            .get(slot as usize)
            .and_then(|call| call.exchange.as_ref());
        let Some(exchange) = exchange else { return };
        let status = match exchange.asker {
            // RFC 3891 §3: what it wants to replace is no more.
            Asker::Invite(_) if exchange.takeover.is_some() => 603,
            Asker::Invite(_) | Asker::Called(_) => 487,
            Asker::Request(_) | Asker::Us => 481,
        };
        self.transactions
            .orphan_client(&mut self.io, now, exchange.client);
        self.refuse_exchange(now, slot, status);
    }

    /// Answer an UPDATE with 200, with the SDP of the scratch buffer when `described`.
    fn accept_update(&mut self, now: Timestamp, slot: u32, side: Side, server: u32, described: bool) {
        let Some(call) = self.calls.get(slot as usize) else {
            return;
        };
        let leg = call.leg(side);
        let (tag, ours) = (leg.dialog.local_tag, self.transactions.local(leg.hop));
        let agreed = self.agree_as_uas(now, slot, side);
        let sdp = &self.sdp_scratch;
        self.transactions
            .finish(&mut self.io, now, server, 200, &tag, |mut w| {
                write_contact(&mut w, &tag, ours);
                w.header("Allow", ALLOW);
                write_agreed(&mut w, agreed);
                match described {
                    true => w.body("application/sdp", sdp),
                    false => w.empty_body(),
                }
            });
    }

    /// Answer an UPDATE with a failure. A 408 would come too late to be understood (RFC 4320 §4.2).
    fn refuse_update(&mut self, now: Timestamp, slot: u32, side: Side, server: u32, status: u16) {
        let Some(call) = self.calls.get(slot as usize) else {
            return;
        };
        if status == 408 {
            return self.transactions.abandon(&mut self.io, server);
        }
        let tag = call.leg(side).dialog.local_tag;
        self.transactions
            .finish(&mut self.io, now, server, status, &tag, |mut w| w.empty_body());
    }

    fn refresh_target(&mut self, now: Timestamp, slot: u32, side: Side, request: &Message<'_>) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        // Of a request the peer's tag is in From, of a response in To.
        let tag = if request.is_request() {
            request.from()
        } else {
            request.to()
        };
        let tag = tag.ok().and_then(|address| address.tag()).unwrap_or_default();
        let early = call.early.as_mut().filter(|_| side == Side::B);
        match early.and_then(|early| early.fork_by_tag(tag)) {
            Some(fork) => fork.dialog.refresh_target(request),
            None => call.leg_mut(side).dialog.refresh_target(request),
        }
        self.learn_peers(now, slot);
    }

    /// Another fork than the one it was put to has answered the call.
    pub(crate) fn abort_early_exchange(&mut self, now: Timestamp, slot: u32) {
        let exchange = self
            .calls
            .get(slot as usize)
            .and_then(|call| call.exchange.as_ref());
        let Some(exchange) = exchange else { return };
        self.transactions
            .orphan_client(&mut self.io, now, exchange.client);
        self.refuse_exchange(now, slot, 491);
    }

    /// 500 for a request that came before the one ahead of it was answered (§14.2, RFC 3311 §5.2).
    fn retry_later(&mut self) -> Reply {
        Reply::retry_after(500, (self.random() % 11) as u16)
    }
}

/// The fork that a request on `side` belongs to, before the callee has answered.
fn early_fork(call: &super::Call, side: Side) -> Option<usize> {
    if side == Side::A || !matches!(call.b.state, LegState::Inviting(_)) {
        return None;
    }
    call.early.as_ref()?.heard_and_settled()
}

/// Whether an offer from `side` can go to the other before the call is answered: as UPDATE, once
/// both have offer and answer behind them, reliably (RFC 3311 §5.1); and only between the caller
/// and the fork that it hears.
fn early_offer_can_cross(
    call: &super::Call,
    side: Side,
    request: &Message<'_>,
    retry: Reply,
) -> Result<(), Reply> {
    let Some(early) = &call.early else {
        return Err(retry);
    };
    if !early.caller.told || early.caller.awaits_prack_of_sdp() || early.offer.is_some() {
        return Err(retry); // The first offer is not answered yet.
    }
    let tag = request
        .from()
        .ok()
        .and_then(|from| from.tag())
        .unwrap_or_default();
    let crosses = matches!(call.b.state, LegState::Inviting(_))
        && early.heard_and_settled().is_some()
        && (side == Side::A || early.is_heard(tag))
        && call.leg(side.other()).can.update;
    if crosses { Ok(()) } else { Err(Reply::new(488)) }
}
