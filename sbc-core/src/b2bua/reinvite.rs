//! re-INVITE: one side changes the session, the other is asked (RFC 3261 §14, RFC 6141).

use super::{
    Exchange, LateOffer, LegState, Phase,
    setup::{check_require, session_of},
    write_contact,
};
use crate::{
    dialog::contact_of,
    sdp::Sdp,
    shard::{Arrival, Shard},
    sip::{Message, Method},
    time::Timestamp,
    topology,
    transaction::{ALLOW, Ack, Alarm, Key, Reply, Side},
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
        if let Err(reply) = self.pass_reinvite(now, slot, side, request, server) {
            self.io.counters.refused_request += 1;
            let tag = self
                .calls
                .get(slot as usize)
                .map_or([b'0'; 24], |c| c.leg(side).dialog.local_tag);
            self.transactions
                .refuse(&mut self.io, now, server, &tag, request, reply);
        }
    }

    fn pass_reinvite(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        server: u32,
    ) -> Result<(), Reply> {
        let retry = (self.random() % 10) as u16;
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        let other = side.other();
        if matches!(call.leg(side).state, LegState::Invited(_)) {
            return Err(Reply::retry_after(500, retry)); // §14.2: the first INVITE is not answered yet.
        }
        if call.phase != Phase::Answered
            || call.leg(side).state != LegState::Confirmed
            || call.leg(other).state != LegState::Confirmed
        {
            return Err(Reply::new(481));
        }
        match &call.exchange {
            Some(exchange) if exchange.from == side => return Err(Reply::retry_after(500, retry)),
            Some(_) => return Err(Reply::new(491)),
            // A 2xx of ours is not acknowledged yet on either side: an INVITE transaction is in progress.
            None if call.a.answer.is_some() || call.b.answer.is_some() => return Err(Reply::new(491)),
            None => {}
        }
        check_require(request)?;
        let max_forwards = match request.max_forwards() {
            Ok(Some(0)) => return Err(Reply::new(483)),
            Ok(hops) => hops.map_or(70, |h| h - 1),
            Err(_) => return Err(Reply::new(400)),
        };
        let offer = session_of(request)?;
        if let Some(sdp) = &offer
            && (sdp.first_audio().is_none() || !self.describe_for(now, slot, other, sdp))
        {
            return Err(Reply::new(488));
        }
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let call = self.calls.get_mut(slot as usize).ok_or(Reply::new(481))?;
        let leg = call.leg_mut(other);
        let cseq = leg.dialog.next_cseq();
        let hop = leg.next_hop();
        let ours = self.transactions.local(hop);
        let mut w = leg
            .dialog
            .request(&mut self.io.scratch, "INVITE", cseq, &branch, ours, max_forwards);
        write_contact(&mut w, &leg.dialog.local_tag, ours);
        w.header("Allow", ALLOW);
        match offer {
            Some(_) => w.body("application/sdp", &self.sdp_scratch),
            None => w.empty_body(),
        }
        let client =
            self.transactions
                .send(&mut self.io, now, nonce, hop, Method::Invite, Some((slot, other)));
        self.transactions.own_server(server, Some((slot, side)));
        let no_answer = self.snapshot.sip.no_answer;
        let ceiling = (!no_answer.is_zero()).then(|| {
            self.io
                .timers
                .insert(now + no_answer, Alarm::ExchangeExpire(slot))
        });
        call.exchange = Some(Exchange {
            from: side,
            server,
            client,
            cseq,
            offer: offer.map(|_| request.body().into()),
            target: contact_of(request).ok(),
            ceiling,
        });
        Ok(())
    }

    /// The far side accepted.
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
        let from = exchange.from;
        let leg = call.leg_mut(side);
        leg.dialog.refresh_target(response);
        let to_tag = leg.dialog.remote_tag.clone();
        if let Some(target) = exchange.target {
            call.leg_mut(from).dialog.remote_target = target;
        }
        let cseq = exchange.cseq;
        let sdp = session_of(response).ok().flatten();
        let late_offer = exchange.offer.is_none() && sdp.is_some();
        self.transactions
            .acknowledged(key, &to_tag, if late_offer { Ack::Awaited } else { Ack::Rebuild });
        if !late_offer {
            self.acknowledge(slot, side, cseq, invite_nonce, None);
        }
        if let Some(offer) = exchange.offer.as_deref().and_then(|body| Sdp::parse(body).ok()) {
            self.apply_remote_to(now, slot, from, &offer);
        }
        let described = sdp.is_some_and(|sdp| self.describe_to(now, slot, from, &sdp));
        let late = late_offer.then_some(LateOffer {
            key,
            invite_nonce,
            cseq,
        });
        self.answer_leg(now, slot, from, exchange.server, described, late);
        if exchange.offer.is_some() && !described {
            self.warn(slot, || "2xx to a re-INVITE has no usable SDP answer".into());
            self.end(now, slot, 200, "reinvite_failed");
        }
    }

    /// The far side refused: the session stays as it was, unless the dialog is gone (RFC 6141 §3.4).
    pub(crate) fn reinvite_refused(&mut self, now: Timestamp, slot: u32, status: u16) {
        self.refuse_exchange(now, slot, topology::failure_status(status));
        if matches!(status, 408 | 481) {
            self.end(now, slot, 200, "reinvite_failed");
        }
    }

    /// The far side never answered. After a CANCEL that is what was asked for.
    pub(crate) fn reinvite_timed_out(&mut self, now: Timestamp, slot: u32, cancelled: bool) {
        self.refuse_exchange(now, slot, if cancelled { 487 } else { 408 });
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
        let client = exchange.client;
        self.transactions.cancel(&mut self.io, now, client, None);
        self.transactions.orphan_client(&mut self.io, now, client);
        self.refuse_exchange(now, slot, 408);
    }

    fn take_exchange(&mut self, slot: u32) -> Option<Exchange> {
        let exchange = self.calls.get_mut(slot as usize)?.exchange.take()?;
        if let Some(key) = exchange.ceiling {
            self.io.timers.cancel(key);
        }
        Some(exchange)
    }

    fn refuse_exchange(&mut self, now: Timestamp, slot: u32, status: u16) {
        let Some(exchange) = self.take_exchange(slot) else {
            return;
        };
        let Some(call) = self.calls.get(slot as usize) else {
            return;
        };
        let tag = call.leg(exchange.from).dialog.local_tag;
        self.transactions
            .respond(&mut self.io, now, exchange.server, status, &tag, |mut w| {
                w.empty_body()
            });
    }

    /// The call ends while a re-INVITE is on its way: its sender gets a final response, the far
    /// side's answer is acknowledged by the transaction alone.
    pub(crate) fn abort_exchange(&mut self, now: Timestamp, slot: u32) {
        if let Some(exchange) = self
            .calls
            .get(slot as usize)
            .and_then(|call| call.exchange.as_ref())
        {
            self.transactions
                .orphan_client(&mut self.io, now, exchange.client);
            self.refuse_exchange(now, slot, 487);
        }
    }
}
