//! ACK, BYE, CANCEL, time-outs: how calls are acknowledged and how they end.

use super::{
    Asker, AttemptFailure, LegState, Part, Phase, TRUNK_DISABLED,
    setup::{RETRY_AFTER_S, session_of},
};
use crate::{
    admin::protocol::MediaDetail,
    shard::{Arrival, CallRecord, Event, Level, Output, Shard},
    sip::{Message, Method},
    time::Timestamp,
    topology,
    transaction::{Ack, Alarm, Reply, Side, TimedOut},
    trunk::TrunkId,
};
use bytes::Bytes;

/// What a caller is told whose callee is gone before the caller heard of its answer.
const NOT_REACHED: u16 = 480;

/// What the record of a call is made of, besides its end.
pub(super) struct Past {
    pub(super) nonce: u64,
    /// From and to.
    pub(super) trunks: [TrunkId; 2],
    pub(super) caller: Box<str>,
    pub(super) callee: Box<str>,
    pub(super) started: Timestamp,
    pub(super) ringing: Option<Timestamp>,
    pub(super) answered: Option<Timestamp>,
    pub(super) history: super::History,
    /// From both sides, A first.
    pub(super) media: Vec<MediaDetail>,
}

impl Shard {
    /// The ACK of a 2xx that we sent on `side`.
    pub(crate) fn acked(&mut self, now: Timestamp, slot: u32, side: Side, request: &Message<'_>) {
        let Some(call) = self.call_mut(slot) else { return };
        let leg = call.leg_mut(side);
        let cseq = request.cseq().map_or(0, |c| c.number);
        if leg.answer.as_ref().is_none_or(|answer| answer.cseq != cseq) {
            return; // A repetition: the answer was acknowledged already.
        }
        let Some(answer) = leg.answer.take() else { return };
        for key in [answer.resend, answer.expire].into_iter().flatten() {
            self.io.timers.cancel(key);
        }
        if let Some(late) = answer.awaits_sdp {
            let other = side.other();
            let sdp = session_of(request).ok().flatten();
            let described =
                sdp.is_some_and(|sdp| self.describe_to(now, slot, other, &sdp, Part::Answer).is_ok());
            self.acknowledge_late(slot, other, late, described);
            if !described && !answer.bye_wanted {
                self.warn(slot, || "the ACK to an offer brought no SDP answer".into());
                self.end(now, slot, 200, "no_sdp_answer");
                return;
            }
        }
        if answer.bye_wanted {
            self.send_bye(now, slot, side, None);
        }
    }

    /// Send the ACK of a 2xx with an offer, with the answer of the scratch buffer when `described`.
    pub(super) fn acknowledge_late(
        &mut self,
        slot: u32,
        side: Side,
        late: super::LateOffer,
        described: bool,
    ) {
        let body = described.then(|| std::mem::take(&mut self.sdp_scratch));
        let ack = self.acknowledge(slot, side, late.cseq, late.invite_nonce, body.as_deref());
        if let Some(body) = body {
            self.sdp_scratch = body;
        }
        let tag = self
            .calls
            .get(slot as usize)
            .map(|c| c.leg(side).dialog.remote_tag.clone())
            .unwrap_or_default();
        let how = ack.map_or(Ack::Rebuild, Ack::Stored);
        self.transactions.acknowledged(late.key, &tag, how);
    }

    /// Send the ACK of a 2xx that we received on `side`.
    pub(crate) fn acknowledge(
        &mut self,
        slot: u32,
        side: Side,
        cseq: u32,
        invite_nonce: u64,
        sdp: Option<&[u8]>,
    ) -> Option<Bytes> {
        let leg = self.calls.get(slot as usize)?.leg(side);
        let hop = leg.next_hop(&self.transactions, &self.names, &self.snapshot);
        let branch = self.transactions.ack_branch(invite_nonce);
        let mut w = leg.dialog.request(
            &mut self.io.scratch,
            "ACK",
            cseq,
            &branch,
            self.transactions.local(hop),
            70,
        );
        match sdp {
            Some(sdp) => w.body("application/sdp", sdp),
            None => w.empty_body(),
        }
        let ack = self.io.composed();
        self.io.transmit(hop, ack.clone());
        Some(ack)
    }

    /// A BYE inside a dialog of ours.
    pub(crate) fn bye(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) {
        let Some(call) = self.call_mut(slot) else { return };
        if matches!(call.leg(side).state, LegState::Inviting(_)) {
            // The callee cannot hang up what it has not answered (§15).
            self.transactions
                .answer(&mut self.io, now, request, from.hop, Reply::new(481));
            return;
        }
        self.transactions
            .answer(&mut self.io, now, request, from.hop, Reply::new(200));
        let reason = topology::reason(request);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let cause = match (side, call.phase) {
            (Side::A, Phase::Proceeding | Phase::Ringing) => "caller_cancelled",
            (Side::A, _) => "caller_hung_up",
            (Side::B, _) => "callee_hung_up",
        };
        match call.leg(side).state {
            LegState::Confirmed => self.lost_leg(now, slot, side),
            // BYE crossed BYE: ours is still to be answered.
            LegState::Ending | LegState::Ended => return,
            // BYE on an early dialog: the INVITE still needs its final response.
            LegState::Invited(_) | LegState::Inviting(_) => {}
        }
        let unanswered = match side {
            Side::A => 487,
            Side::B => NOT_REACHED,
        };
        self.end_with_reason(now, slot, unanswered, cause, reason);
    }

    /// A CANCEL (§9.2).
    pub(crate) fn cancel(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival) {
        let Ok(found) = self.transactions.cancelled_invite(request) else {
            self.transactions
                .answer(&mut self.io, now, request, from.hop, Reply::new(481));
            return;
        };
        self.transactions
            .answer(&mut self.io, now, request, from.hop, Reply::new(200));
        let Some((server, Some((slot, side)))) = found else {
            return;
        };
        let reason = topology::reason(request);
        let Some(call) = self.call_mut(slot) else { return };
        if call.leg(side).state == LegState::Invited(server) {
            self.end_with_reason(now, slot, 487, "caller_cancelled", reason);
        } else if let Some(exchange) = call
            .exchange
            .as_mut()
            .filter(|x| x.asker == Asker::Invite(server))
        {
            // The far side decides: if it accepts before our CANCEL arrives, the session has changed.
            let client = exchange.client;
            let trunk = call.leg(side.other()).trunk;
            let reason = reason.filter(|_| self.tells_reasons(trunk));
            self.transactions.cancel(&mut self.io, now, client, reason);
        }
    }

    /// A final response to a request of ours other than INVITE: only BYE has an owner.
    pub(crate) fn bye_answered(&mut self, now: Timestamp, slot: u32, side: Side) {
        self.lost_leg(now, slot, side);
    }

    /// A request of ours was never answered.
    pub(crate) fn timed_out(&mut self, now: Timestamp, timed_out: TimedOut, status: u16) {
        let Some((slot, side)) = timed_out.owner else {
            if timed_out.method == Method::Message {
                return self.message_timed_out(timed_out.client);
            }
            if timed_out.method == Method::Register {
                return self.registered(now, timed_out.client, None);
            }
            return self.probed(now, timed_out.client, None);
        };
        match timed_out.method {
            Method::Invite => {}
            Method::Bye => return self.lost_leg(now, slot, side),
            Method::Update if self.take_refresh(slot, side, timed_out.client) => {
                return self.refresh_answered(now, slot, side, 408, None);
            }
            Method::Info if self.take_digit(slot, side, timed_out.client) => {
                return self.digit_answered(now, slot, side, status);
            }
            Method::Update => return self.exchange_timed_out(now, slot, false, status),
            method => return self.passed_timed_out(now, slot, method, timed_out.client, status),
        }
        if self.calls_target(slot, timed_out.client) {
            return self.target_failed(now, slot, AttemptFailure::Unreachable, status);
        }
        let Some(call) = self.call_mut(slot) else { return };
        if matches!(call.leg(side).state, LegState::Inviting(_)) {
            self.set_back(now, slot, None);
            let failure = match status {
                408 => AttemptFailure::Silent,
                _ => AttemptFailure::Unreachable,
            };
            if self.try_next(now, slot, failure) {
                return;
            }
            self.lost_leg(now, slot, side);
            self.end(now, slot, status, "callee_timeout");
        } else {
            self.exchange_timed_out(now, slot, timed_out.cancelled, status);
        }
    }

    /// Our 2xx on `side` was not acknowledged yet: send it again.
    pub(crate) fn answer_resend(&mut self, now: Timestamp, slot: u32, side: Side) {
        let base = self.base;
        let Some(call) = self.call_mut(slot) else { return };
        let Some(answer) = &mut call.leg_mut(side).answer else {
            return;
        };
        answer.interval = base.doubled(answer.interval);
        let (hop, response, due) = (answer.hop, answer.response.clone(), now + answer.interval);
        let key = self.io.timers.insert(due, Alarm::AnswerResend(slot, side));
        if let Some(answer) = self
            .calls
            .get_mut(slot as usize)
            .and_then(|c| c.leg_mut(side).answer.as_mut())
        {
            answer.resend = Some(key);
        }
        self.io.counters.retransmissions_sent += 1;
        self.io.transmit(hop, response);
    }

    /// Our 2xx on `side` was never acknowledged (§13.3.1.4): the session must end.
    pub(crate) fn answer_expired(&mut self, now: Timestamp, slot: u32, side: Side) {
        let Some(call) = self.call_mut(slot) else { return };
        let leg = call.leg_mut(side);
        let Some(answer) = leg.answer.take() else { return };
        if let Some(key) = answer.resend {
            self.io.timers.cancel(key);
        }
        if let Some(late) = answer.awaits_sdp {
            self.give_up_late_offer(slot, side.other(), late);
        }
        if answer.bye_wanted {
            self.send_bye(now, slot, side, None);
        } else {
            self.end(now, slot, 200, "no_ack");
        }
    }

    fn give_up_late_offer(&mut self, slot: u32, side: Side, late: super::LateOffer) {
        self.acknowledge(slot, side, late.cseq, late.invite_nonce, None);
        let tag = self
            .calls
            .get(slot as usize)
            .map(|c| c.leg(side).dialog.remote_tag.clone())
            .unwrap_or_default();
        self.transactions.acknowledged(late.key, &tag, Ack::Rebuild);
    }

    /// End a call: tell both sides, release everything it holds.
    pub(crate) fn end(&mut self, now: Timestamp, slot: u32, status: u16, cause: &'static str) {
        self.end_with_reason(now, slot, status, cause, None);
    }

    /// End a call and pass a Reason on. `status` is what an unanswered caller is told; 200, from where
    /// calls are answered as a rule, becomes 480: the callee may have answered while the caller's 2xx still
    /// waits for its PRACK.
    pub(crate) fn end_with_reason(
        &mut self,
        now: Timestamp,
        slot: u32,
        status: u16,
        cause: &'static str,
        reason: Option<Bytes>,
    ) {
        let status = if status < 300 { NOT_REACHED } else { status };
        if !self.over(now, slot, status, cause) {
            return;
        }
        self.abort_transfer(now, slot, 487);
        self.abort_exchange(now, slot);
        self.abort_passing(now, slot);
        self.end_leg(now, slot, Side::A, status, reason.clone());
        self.end_leg(now, slot, Side::B, status, reason);
        self.forget_if_done(now, slot);
    }

    /// The call is over: give back its channels and stop its media now, whatever the legs still wait
    /// for. The ports stay with it: a side that has not heard of the end still sends there.
    fn over(&mut self, now: Timestamp, slot: u32, status: u16, cause: &'static str) -> bool {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        if call.phase == Phase::Over {
            return false;
        }
        call.phase = Phase::Over;
        let status = if call.answered.is_some() { 200 } else { status };
        call.outcome = Some((status, cause));
        call.ended = Some(now);
        let held = call.plan.take().and_then(|plan| plan.held);
        if call.answered.is_none() {
            self.io.counters.calls_failed += 1;
        }
        call.end_attempt(now, 0, cause);
        let watches = [
            call.watch.take(),
            call.hold_watch.take(),
            call.ringback_watch.take(),
        ];
        for key in watches.into_iter().flatten() {
            self.io.timers.cancel(key);
        }
        if let Some(permit) = call.permit.take() {
            self.admission.release(permit);
        }
        let (answered, media) = (call.answered, call.media);
        if let Some(limit) = held {
            self.leave_line(slot, limit);
        }
        self.abort_digits(now, slot);
        if let Some(media) = media {
            self.count_unlatched(now, media, answered);
            let received = self.media_details(now, slot, media);
            self.silence_media(media);
            if let Some(call) = self.calls.get_mut(slot as usize) {
                call.received = received;
            }
        }
        self.close_early(slot, true);
        self.stop_session_timers(now, slot);
        true
    }

    fn end_leg(&mut self, now: Timestamp, slot: u32, side: Side, status: u16, reason: Option<Bytes>) {
        let trunk = self.calls.get(slot as usize).map(|call| call.leg(side).trunk);
        let reason = reason.filter(|_| trunk.is_some_and(|trunk| self.tells_reasons(trunk)));
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        // Another time there may be somebody who takes it.
        let passes = status == 503 || call.outcome.is_some_and(|(_, cause)| cause == TRUNK_DISABLED);
        let leg = call.leg_mut(side);
        match leg.state {
            LegState::Invited(server) => {
                leg.state = LegState::Ended;
                let tag = leg.dialog.local_tag;
                self.transactions
                    .respond(&mut self.io, now, server, status, &tag, |mut w| {
                        if let Some(reason) = &reason {
                            w.header("Reason", reason);
                        }
                        if passes {
                            w.header_fmt("Retry-After", format_args!("{RETRY_AFTER_S}"));
                        }
                        w.empty_body();
                    });
            }
            LegState::Inviting(client) => self.transactions.cancel(&mut self.io, now, client, reason),
            LegState::Confirmed => match &mut leg.answer {
                // §15: no BYE before our 2xx is acknowledged or given up.
                Some(answer) => {
                    answer.bye_wanted = true;
                    if let Some(late) = answer.awaits_sdp.take() {
                        self.give_up_late_offer(slot, side.other(), late);
                    }
                }
                None => self.send_bye(now, slot, side, reason),
            },
            LegState::Ending | LegState::Ended => {}
        }
    }

    /// Whether `trunk` is told why a call has ended (RFC 3326).
    fn tells_reasons(&self, trunk: TrunkId) -> bool {
        let trunk = self.snapshot.trunks.get(usize::from(trunk.0));
        let headers = trunk.and_then(|trunk| trunk.headers.as_deref());
        headers.is_none_or(|headers| !headers.no_reason)
    }

    /// Send BYE on a confirmed leg and wait for its answer.
    pub(crate) fn send_bye(&mut self, now: Timestamp, slot: u32, side: Side, reason: Option<Bytes>) {
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let leg = call.leg_mut(side);
        leg.state = LegState::Ending;
        let cseq = leg.dialog.next_cseq();
        let hop = leg.next_hop(&self.transactions, &self.names, &self.snapshot);
        let mut w = leg.dialog.request(
            &mut self.io.scratch,
            "BYE",
            cseq,
            &branch,
            self.transactions.local(hop),
            70,
        );
        if let Some(reason) = reason {
            w.header("Reason", &reason);
        }
        w.empty_body();
        self.transactions
            .send(&mut self.io, now, nonce, hop, Method::Bye, Some((slot, side)));
    }

    /// Nothing more comes from or goes to this leg.
    pub(crate) fn lost_leg(&mut self, now: Timestamp, slot: u32, side: Side) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let leg = call.leg_mut(side);
        leg.state = LegState::Ended;
        let answer = leg.answer.take();
        if let Some(answer) = answer {
            for key in [answer.resend, answer.expire].into_iter().flatten() {
                self.io.timers.cancel(key);
            }
            if let Some(late) = answer.awaits_sdp {
                self.give_up_late_offer(slot, side.other(), late);
            }
        }
        self.forget_if_done(now, slot);
    }

    /// Drop a call that is over on both legs and write its record.
    fn forget_if_done(&mut self, now: Timestamp, slot: u32) {
        let done = self.calls.get(slot as usize).is_some_and(|call| {
            call.phase == Phase::Over && call.a.state == LegState::Ended && call.b.state == LegState::Ended
        });
        if !done {
            return;
        }
        let Some(call) = self.calls.try_remove(slot as usize) else {
            return;
        };
        if let Some(media) = call.media {
            self.close_media(now, media);
        }
        let (status, cause) = call.outcome.unwrap_or((500, "internal"));
        let past = Past {
            nonce: call.nonce,
            trunks: match call.turned {
                false => [call.a.trunk, call.b.trunk],
                true => [call.b.trunk, call.a.trunk],
            },
            caller: call.caller,
            callee: call.callee,
            started: call.started,
            ringing: call.ringing,
            answered: call.answered,
            history: call.history,
            media: call.received,
        };
        self.write_record(slot, past, call.ended.unwrap_or(now), status, cause);
    }

    /// Write the record of an admitted call that has ended.
    pub(super) fn write_record(
        &mut self,
        slot: u32,
        past: Past,
        ended: Timestamp,
        status: u16,
        cause: &'static str,
    ) {
        let since = |at: Timestamp| at.since(past.started).as_millis() as u64;
        let record = CallRecord {
            call: self.call_id_text(slot, past.nonce),
            from_trunk: self.trunk_name(past.trunks[0]).to_owned(),
            to_trunk: self.trunk_name(past.trunks[1]).to_owned(),
            caller: past.caller.into_string(),
            callee: past.callee.into_string(),
            start_ms: past.started.as_millis(),
            ringing_ms: past.ringing.map(since),
            answer_ms: past.answered.map(since),
            end_ms: since(ended),
            status,
            cause,
            attempts: self.attempt_details(past.started, &past.history),
            media: past.media,
        };
        self.io.outputs.push_back(Output::Record(Box::new(record)));
    }

    /// Log a warning about a call.
    pub(crate) fn warn(&mut self, slot: u32, text: impl FnOnce() -> String) {
        self.event(slot, Level::Warn, text);
    }

    /// Log something about a call.
    pub(crate) fn event(&mut self, slot: u32, level: Level, text: impl FnOnce() -> String) {
        let call = match self.calls.get(slot as usize) {
            Some(call) => self.call_id_text(slot, call.nonce),
            None => String::new(),
        };
        self.io.outputs.push_back(Output::Event(Event {
            level,
            call,
            text: text(),
        }));
    }
}
