//! INVITE with Replaces (RFC 3891): a new caller takes the place of one side of a call.
//!
//! In: a new INVITE whose Replaces names a dialog of ours: leg X of a call; the other leg of that call
//! is Y. Out, one of two:
//!
//! - The peer of Y supports Replaces: a new call is placed to it, with a Replaces that names leg Y's
//!   dialog. It answers the new call and hangs up the old one, which ends X as any BYE does.
//! - It does not: we do it. Y gets a re-INVITE with the new caller's offer, by the same exchange as
//!   one of X would make; when Y accepts, the new caller's leg stands in X's place and X gets BYE.
//!   Until then nothing of the call has changed, so a refusal, a CANCEL or silence leaves it as it
//!   was.
//!
//! Either way it is admitted as a call and has a record of its own. Nobody may steal a call: who
//! names X as X does must be on one of the call's two trunks; from any other, only the name will do
//! that a REFER of X's own trunk was given by us.

use super::{
    Abilities, Aim, Asker, AttemptTarget, Leg, LegState, Party, Phase, Ports, Referred,
    replaces::{Naming, Replaces},
    teardown::Past,
};
use crate::{
    admission::{Permit, Scope},
    dialog::Dialog,
    numbers::E164,
    shard::{Arrival, Shard},
    sip::{Message, Method, OptionTags},
    snapshot::Reliable,
    time::Timestamp,
    traffic::Way,
    transaction::{Reply, Side},
    trunk::TrunkId,
};
use std::sync::Arc;

/// A new caller who waits for the other side's consent.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(super) leg: Leg,
    /// The trunk of the other side.
    pub(super) to: TrunkId,
    pub(crate) permit: Permit,
    /// Its media ports, when the call has media.
    pub(super) pair: Option<Ports>,
    pub(super) caller: Box<str>,
    pub(super) callee: Box<str>,
    /// Both as numbers, where they are such.
    pub(super) numbers: [Option<E164>; 2],
    pub(super) started: Timestamp,
    /// It did not call: we called it, for a transfer.
    pub(super) referred: Option<Referred>,
}

impl Shard {
    /// Serve a new INVITE that `replaces` one of our dialogs. `Err`: how to refuse it.
    pub(super) fn replace(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        from: Arrival,
        server: u32,
        replaces: &Replaces,
    ) -> Result<(), Reply> {
        let (slot, side) = self.find_replaced(from, replaces).inspect_err(|_| {
            self.io.counters.refused_request += 1;
        })?;
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        let other = call.leg(side.other());
        if other.can.extensions.contains(OptionTags::REPLACES) {
            let aim = Aim {
                trunk: other.trunk,
                target: AttemptTarget {
                    hop: other.next_hop(&self.transactions, &self.names, &self.snapshot),
                    uri: Some(other.dialog.remote_target.clone()),
                },
                routes: other.dialog.routes.clone(),
                replaces: Replaces {
                    call_id: other.dialog.call_id.clone(),
                    to_tag: other.dialog.remote_tag.clone(),
                    from_tag: other.dialog.local_tag[..].into(),
                    early_only: replaces.early_only,
                }
                .value(),
            };
            return self.place(now, request, from, server, Some(aim));
        }
        if call.phase != Phase::Answered {
            // Two offers would meet: the caller's, and the new one's.
            return Err(Reply::new(481));
        }
        self.take_over(now, slot, side, request, from, server)
    }

    /// The leg that `replaces` names (RFC 3891 §3).
    fn find_replaced(&self, from: Arrival, replaces: &Replaces) -> Result<(u32, Side), Reply> {
        let (slot, side) = self.leg_of_tag(&replaces.to_tag).ok_or(Reply::new(481))?;
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        let leg = call.leg(side);
        let naming = replaces
            .naming(&leg.dialog, &self.tokens, self.trunk_name(leg.trunk))
            .ok_or(Reply::new(481))?;
        let partakes = from.trunk == call.a.trunk || from.trunk == call.b.trunk;
        if naming == Naming::Plain && !partakes {
            return Err(Reply::new(403));
        }
        match leg.state {
            _ if call.phase == Phase::Over => Err(Reply::new(603)),
            LegState::Ending | LegState::Ended => Err(Reply::new(603)),
            LegState::Confirmed if replaces.early_only => Err(Reply::new(486)),
            LegState::Confirmed => Ok((slot, side)),
            // An early dialog can be replaced by whoever was called in it, at the one who called.
            LegState::Inviting(_) => Ok((slot, side)),
            LegState::Invited(_) => Err(Reply::new(481)),
        }
    }

    /// Ask Y, the other side, to talk to the sender of `request` instead of X, on `side`.
    fn take_over(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
        server: u32,
    ) -> Result<(), Reply> {
        let snapshot = Arc::clone(&self.snapshot);
        let peer = snapshot
            .trunks
            .get(usize::from(from.trunk.0))
            .map(|trunk| &trunk.peer);
        let reliable = peer.map_or(Reliable::Off, |peer| peer.reliable);
        let timer = peer.map(|peer| peer.session_timer).unwrap_or_default();
        let checked = self
            .check_invite(now, request, from, reliable, timer)
            .inspect_err(|_| self.io.counters.refused_request += 1)?;
        if self.draining {
            self.io.counters.refused_draining += 1;
            return Err(Reply::retry_after(503, 5));
        }
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        let to = call.leg(side.other()).trunk;
        if call.exchange.is_some() || call.a.answer.is_some() || call.b.answer.is_some() {
            return Err(Reply::new(491)); // An INVITE is in progress there.
        }
        let has_media = call.media.is_some();
        let called = call.leg(side.other()).party.called_number().to_owned();
        let tag = self.mint_tag(slot, side);
        let dialog = Dialog::uas(request, tag).map_err(|error| {
            self.io.counters.refused_request += 1;
            super::setup::dialog_refusal(error)
        })?;
        let scope = Scope {
            from: from.trunk,
            to,
            source: Some(from.hop.peer.ip()),
            called: &called,
            route: None,
        };
        let permit = self.admit(now, &snapshot, &scope)?;
        let pair = if has_media {
            self.open_pair(now, from.trunk)
        } else {
            None
        };
        if has_media && pair.is_none() {
            self.admission.release(permit);
            self.io.counters.refused_no_media_port += 1;
            return Err(Reply::retry_after(503, 5));
        }
        let mut can = Abilities::default();
        can.hear(request);
        let takeover = Box::new(Takeover {
            leg: Leg {
                trunk: from.trunk,
                state: LegState::Invited(server),
                dialog,
                hop: from.hop,
                session: self.new_session(),
                can,
                party: Party::of_caller(&checked.parties),
                invited: request.cseq().map_or(1, |cseq| cseq.number),
                timer: None,
                ask: Some(checked.ask),
                answer: None,
                digits: None,
            },
            to,
            permit,
            pair,
            numbers: [checked.parties.calling, checked.parties.called],
            caller: checked.parties.caller,
            callee: checked.parties.callee,
            started: now,
            referred: None,
        });
        self.io.counters.calls_admitted += 1;
        self.traffic.seized(now, from.trunk, Way::In);
        let asked = self.put(
            now,
            slot,
            side,
            request,
            checked.offer,
            from.trunk,
            Asker::Invite(server),
            checked.max_forwards,
        );
        match (
            asked,
            self.calls
                .get_mut(slot as usize)
                .and_then(|call| call.exchange.as_mut()),
        ) {
            (Ok(()), Some(exchange)) => {
                // X stays where it is until the new caller has its place.
                exchange.target = None;
                exchange.takeover = Some(takeover);
                Ok(())
            }
            (asked, _) => {
                let reply = asked.err().unwrap_or(Reply::new(500));
                self.give_up_takeover(now, slot, takeover, reply.status);
                Err(reply)
            }
        }
    }

    /// The other side talks to the new caller: its leg takes the place of the one on `side`, which
    /// is told that it is over.
    pub(super) fn take_place(&mut self, now: Timestamp, slot: u32, side: Side, takeover: Takeover) {
        if let Some(referred) = takeover.referred {
            self.notify_referrer(now, slot, side, referred.id, 200);
        }
        // A target that is still being called would come between others than it was called for.
        self.abort_transfer(now, slot, 487);
        let transferred = takeover.referred.is_some();
        if !transferred {
            self.traffic
                .answered(takeover.started, takeover.leg.trunk, Way::In);
        }
        let nonce = self.random();
        self.stop_session_timer(now, slot, side);
        let media = self.calls.get(slot as usize).and_then(|call| call.media);
        self.drop_digits(now, slot, side);
        let received = media.map_or_else(Vec::new, |media| self.media_details(now, slot, media));
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let mut left = std::mem::replace(call.leg_mut(side), takeover.leg);
        let permit = call.permit.replace(takeover.permit);
        let past = Past {
            nonce: std::mem::replace(&mut call.nonce, nonce),
            trunks: match (side, call.turned) {
                (Side::A, false) => [left.trunk, call.b.trunk],
                (Side::A, true) => [call.b.trunk, left.trunk],
                (Side::B, false) => [call.a.trunk, left.trunk],
                (Side::B, true) => [left.trunk, call.a.trunk],
            },
            caller: std::mem::replace(&mut call.caller, takeover.caller),
            callee: std::mem::replace(&mut call.callee, takeover.callee),
            started: std::mem::replace(&mut call.started, takeover.started),
            ringing: call.ringing.take(),
            answered: call.answered.replace(now),
            history: std::mem::take(&mut call.history),
            media: received,
        };
        call.numbers = takeover.numbers;
        call.turned = transferred && side == Side::A;
        // What X was waiting to hear of its transfers, it will not.
        call.referrals.clear();
        if let Some(permit) = permit {
            self.admission.release(permit);
        }
        if let Some(pair) = takeover.pair {
            self.swap_pair(now, slot, side, pair);
        }
        self.leave_digits(now, slot, side, &left);
        self.io.counters.calls_answered += 1;
        let cause = if transferred {
            self.io.counters.transfers += 1;
            "transferred"
        } else {
            self.io.counters.calls_taken_over += 1;
            "replaced"
        };
        self.write_record(slot, past, now, 200, cause);
        self.bid_farewell(now, &mut left);
    }

    /// BYE to a leg that belongs to no call any more; its transaction sees to the rest.
    pub(super) fn bid_farewell(&mut self, now: Timestamp, leg: &mut Leg) {
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let cseq = leg.dialog.next_cseq();
        let hop = leg.next_hop(&self.transactions, &self.names, &self.snapshot);
        let ours = self.transactions.local(hop);
        leg.dialog
            .request(&mut self.io.scratch, "BYE", cseq, &branch, ours, 70)
            .empty_body();
        self.transactions
            .send(&mut self.io, now, nonce, hop, Method::Bye, None);
    }

    /// The other side will not: everything stays as it was.
    pub(super) fn give_up_takeover(
        &mut self,
        now: Timestamp,
        slot: u32,
        mut takeover: Box<Takeover>,
        status: u16,
    ) {
        let mut trunks = [takeover.leg.trunk, takeover.to];
        let mut cause = "replace_refused";
        if let Some(referred) = takeover.referred {
            trunks.reverse();
            cause = "transfer_failed";
            self.io.counters.transfers_failed += 1;
            if let Some(late) = referred.late {
                self.turn_away(now, &mut takeover.leg, late);
            }
            self.notify_referrer(now, slot, referred.from, referred.id, status);
        }
        self.admission.release(takeover.permit);
        if let Some(pair) = takeover.pair {
            self.close_pair(now, pair);
        }
        self.io.counters.calls_failed += 1;
        let past = Past {
            nonce: self.random(),
            trunks,
            caller: takeover.caller,
            callee: takeover.callee,
            started: takeover.started,
            ringing: None,
            answered: None,
            history: super::History::new(),
            media: Vec::new(),
        };
        self.write_record(slot, past, now, status, cause);
    }
}
