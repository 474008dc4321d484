//! A transfer that we carry out: a REFER of one side, the referrer, has us call the target, which
//! then stands in the referrer's place with the other side, the transferee (RFC 3515, RFC 3725 flow I).
//!
//! In: a REFER without Replaces from a trunk with `refer = "local"`; then what the target answers. Out:
//! 202 and NOTIFY to the referrer, an INVITE without an offer to the target. When it answers, its
//! offer is put to the transferee as re-INVITE, by the exchange that an INVITE with Replaces would make,
//! and the transferee's answer goes to the target in the ACK. Then the referrer is notified and gets
//! BYE. Any other outcome is notified and leaves the call as it was.
//!
//! Owner: the call has at most one [`Transfer`], until the target has answered; from then on the
//! exchange has it as a [`Takeover`]. The target's leg is none of the call's until it takes its place.

use super::{
    Abilities, Asker, AttemptFailure, AttemptTarget, Call, LateOffer, Leg, LegState, Party, Phase, Takeover,
    check_require,
    refer::Destination,
    setup::{max_forwards_of, session_of},
    write_contact,
};
use crate::{
    admission::Scope,
    shard::{Arrival, Shard},
    sip::{Message, Method, OptionTags},
    time::Timestamp,
    timer_wheel::TimerKey,
    topology::{self, Parties},
    traffic::Way,
    transaction::{ALLOW, Ack, Alarm, Key, Reply, Side},
};
use smallvec::SmallVec;
use std::sync::Arc;

/// A target that is being called.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// Our INVITE to it.
    client: u32,
    pub(super) takeover: Box<Takeover>,
    parties: Parties,
    /// Where to try next, best first.
    targets: SmallVec<[AttemptTarget; 2]>,
    max_forwards: u8,
    /// It rings for too long.
    pub(super) watch: Option<TimerKey>,
}

/// Whose REFER a [`Takeover`] comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referred {
    /// The referrer.
    pub(super) from: Side,
    /// CSeq number of the REFER: the `id` of its subscription.
    pub(super) id: u32,
    /// The target's 2xx, once there is one: its ACK waits for the transferee's answer.
    pub(super) late: Option<LateOffer>,
}

impl Shard {
    /// Call where a REFER of `side` leads. `Err`: how to refuse the REFER.
    pub(super) fn transfer(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
        destination: Destination,
    ) -> Result<(), Reply> {
        check_require(request, OptionTags::NONE)?;
        let max_forwards = max_forwards_of(request)?;
        if self.transactions.is_full() {
            self.io.counters.refused_transactions_max += 1;
            return Err(Reply::retry_after(503, 5));
        }
        let snapshot = Arc::clone(&self.snapshot);
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        if call.transfer.is_some() || !call.is_settled() {
            return Err(Reply::retry_after(500, 5));
        }
        let transferee = call.leg(side.other());
        let referrer = call.leg(side).trunk;
        let numbering = snapshot.trunks.get(usize::from(referrer.0));
        let numbering = numbering.and_then(|trunk| trunk.numbers.as_deref());
        let parties = Parties::to_user(&destination.user, numbering, &transferee.party);
        let transferee = transferee.trunk;
        let has_media = call.media.is_some();
        let mut hunt = self.route(now, &snapshot, referrer, request, &parties)?;
        let (to, mut targets) = self.first_open(now, &snapshot, referrer, &mut hunt, parties.callee())?;
        let trunk = snapshot.trunks.get(usize::from(to.0)).ok_or(Reply::new(404))?;
        let first = targets.remove(0);
        let scope = Scope {
            from: transferee,
            to,
            source: None,
            called: parties.called_number(),
            route: hunt.rule_name(),
        };
        let permit = self.admit(now, &snapshot, &scope)?;
        let pair = if has_media { self.open_pair(now, to) } else { None };
        if has_media && pair.is_none() {
            self.admission.release(permit);
            self.io.counters.refused_no_media_port += 1;
            return Err(Reply::retry_after(503, 5));
        }
        let dialog = self.dialog_towards((slot, side), &first, &parties, trunk);
        let id = request.cseq().map_or(0, |cseq| cseq.number);
        let takeover = Box::new(Takeover {
            leg: Leg {
                trunk: to,
                state: LegState::Ended,
                dialog,
                hop: first.hop,
                session: self.new_session(),
                can: Abilities::default(),
                party: Party::of_callee(&parties),
                timer: None,
                ask: None,
                invited: 0,
                answer: None,
                digits: None,
            },
            to: transferee,
            permit,
            pair,
            caller: parties.caller.clone(),
            callee: parties.callee.clone(),
            numbers: [parties.calling, parties.called],
            started: now,
            referred: Some(Referred {
                from: side,
                id,
                late: None,
            }),
        });
        self.io.counters.calls_attempted += 1;
        self.io.counters.calls_admitted += 1;
        self.traffic.seized(now, to, Way::Out);
        self.accept_refer(now, slot, side, request, from);
        self.notify_referrer(now, slot, side, id, 100);
        let watch = (!snapshot.sip.no_answer.is_zero()).then(|| {
            let at = now + snapshot.sip.no_answer;
            self.io.timers.insert(at, Alarm::TransferExpire(slot))
        });
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.transfer = Some(Box::new(Transfer {
                client: u32::MAX,
                takeover,
                parties,
                targets,
                max_forwards,
                watch,
            }));
        }
        self.call_target(now, slot);
        Ok(())
    }

    fn accept_refer(&mut self, now: Timestamp, slot: u32, side: Side, request: &Message<'_>, from: Arrival) {
        let Some(call) = self.calls.get(slot as usize) else {
            return;
        };
        let leg = call.leg(side);
        let (tag, ours) = (leg.dialog.local_tag, self.transactions.local(leg.hop));
        let server = self.transactions.accept_request(&self.io, request, from.hop);
        self.transactions
            .finish(&mut self.io, now, server, 202, &tag, |mut w| {
                write_contact(&mut w, &tag, ours);
                w.empty_body();
            });
    }

    /// Send the INVITE to the target.
    fn call_target(&mut self, now: Timestamp, slot: u32) {
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let Some(transfer) = &mut call.transfer else {
            return;
        };
        let Some(referred) = transfer.takeover.referred else {
            return;
        };
        let leg = &mut transfer.takeover.leg;
        let (hop, cseq) = (leg.hop, leg.dialog.next_cseq());
        let ours = self.transactions.local(hop);
        let mut w = leg.dialog.request(
            &mut self.io.scratch,
            "INVITE",
            cseq,
            &branch,
            ours,
            transfer.max_forwards,
        );
        write_contact(&mut w, &leg.dialog.local_tag, ours);
        w.header("Allow", ALLOW);
        w.header("Supported", b"replaces");
        let name = &self.snapshot.sip.server_name;
        if !name.is_empty() {
            w.header("User-Agent", name.as_bytes());
        }
        let trunk = self.snapshot.trunks.get(usize::from(leg.trunk.0));
        if let Some(trunk) = trunk {
            let towards = trunk.towards(ours.address, hop.peer);
            transfer.parties.write(&mut w, &towards);
        }
        w.empty_body();
        if let Some(headers) = trunk.and_then(|trunk| trunk.headers.as_deref()) {
            headers.change(&mut self.io.scratch);
        }
        let owner = Some((slot, referred.from));
        let client = self
            .transactions
            .send(&mut self.io, now, nonce, hop, Method::Invite, owner);
        transfer.client = client;
        leg.state = LegState::Inviting(client);
        if !transfer.targets.is_empty() {
            let at = now + self.snapshot.sip.failover;
            self.transactions.give_up_at(&mut self.io, now, client, at);
        }
    }

    /// Whether `client` is our INVITE to the target of a transfer in the call in `slot`.
    pub(crate) fn calls_target(&self, slot: u32, client: u32) -> bool {
        let call = self.calls.get(slot as usize);
        let transfer = call.and_then(|call| call.transfer.as_ref());
        transfer.is_some_and(|transfer| transfer.client == client)
    }

    /// The target did not take the call: try the next address, or give up.
    pub(crate) fn target_failed(&mut self, now: Timestamp, slot: u32, failure: AttemptFailure, status: u16) {
        let snapshot = Arc::clone(&self.snapshot);
        let call = self.calls.get_mut(slot as usize);
        let Some(mut transfer) = call.and_then(|call| call.transfer.take()) else {
            return;
        };
        let leg = &transfer.takeover.leg;
        let (trunk, hop) = (leg.trunk, leg.hop);
        let elsewhere = matches!(failure, AttemptFailure::Unreachable | AttemptFailure::Status(503));
        if elsewhere {
            self.set_hop_back(now, trunk, hop, None);
        }
        let named = snapshot.trunks.get(usize::from(trunk.0));
        let side = transfer.takeover.referred.map(|referred| referred.from);
        if let (true, false, Some(trunk), Some(side)) = (elsewhere, transfer.targets.is_empty(), named, side)
        {
            let next = transfer.targets.remove(0);
            let dialog = self.dialog_towards((slot, side), &next, &transfer.parties, trunk);
            transfer.takeover.leg.dialog = dialog;
            transfer.takeover.leg.hop = next.hop;
            if let Some(call) = self.calls.get_mut(slot as usize) {
                call.transfer = Some(transfer);
            }
            self.io.counters.attempts_repeated += 1;
            return self.call_target(now, slot);
        }
        self.give_up_transfer(now, slot, *transfer, status);
    }

    fn give_up_transfer(&mut self, now: Timestamp, slot: u32, transfer: Transfer, status: u16) {
        if let Some(key) = transfer.watch {
            self.io.timers.cancel(key);
        }
        self.give_up_takeover(now, slot, transfer.takeover, status);
    }

    /// The target rings for too long.
    pub(crate) fn transfer_expired(&mut self, now: Timestamp, slot: u32) {
        if let Some(transfer) = self.call_mut(slot).and_then(|call| call.transfer.as_mut()) {
            transfer.watch = None;
            self.abort_transfer(now, slot, 408);
        }
    }

    /// The target is wanted no more. If its 2xx crosses the CANCEL, the transaction hangs up.
    pub(super) fn abort_transfer(&mut self, now: Timestamp, slot: u32, status: u16) {
        let call = self.calls.get_mut(slot as usize);
        let Some(transfer) = call.and_then(|call| call.transfer.take()) else {
            return;
        };
        self.transactions.cancel(&mut self.io, now, transfer.client, None);
        self.transactions
            .orphan_client(&mut self.io, now, transfer.client);
        self.give_up_transfer(now, slot, *transfer, status);
    }

    /// The target answered: put its offer to the transferee.
    pub(crate) fn target_answered(
        &mut self,
        now: Timestamp,
        slot: u32,
        response: &Message<'_>,
        from: Arrival,
        key: Key,
        invite_nonce: u64,
    ) {
        let call = self.calls.get_mut(slot as usize);
        let Some(transfer) = call.and_then(|call| call.transfer.take()) else {
            return;
        };
        if let Some(key) = transfer.watch {
            self.io.timers.cancel(key);
        }
        let mut takeover = transfer.takeover;
        if takeover.leg.dialog.confirm(response).is_err() {
            // Without Contact or tag it can be neither acknowledged nor hung up on.
            self.io.counters.sip_malformed += 1;
            return self.give_up_takeover(now, slot, takeover, 502);
        }
        if from.hop.flow.is_some() && takeover.leg.hop.listener == from.hop.listener {
            takeover.leg.hop.flow = from.hop.flow;
        }
        takeover.leg.state = LegState::Confirmed;
        takeover.leg.can.hear(response);
        self.traffic
            .answered(takeover.started, takeover.leg.trunk, Way::Out);
        self.served(takeover.leg.hop);
        let late = LateOffer {
            key,
            invite_nonce,
            cseq: response.cseq().map_or(1, |cseq| cseq.number),
        };
        self.transactions
            .acknowledged(key, &takeover.leg.dialog.remote_tag, Ack::Awaited);
        if let Some(referred) = &mut takeover.referred {
            referred.late = Some(late);
        }
        self.put_target(now, slot, response, takeover, late);
    }

    fn put_target(
        &mut self,
        now: Timestamp,
        slot: u32,
        response: &Message<'_>,
        takeover: Box<Takeover>,
        late: LateOffer,
    ) {
        let (side, trunk) = (
            takeover.referred.map(|referred| referred.from),
            takeover.leg.trunk,
        );
        let settled = self.calls.get(slot as usize).is_some_and(Call::is_settled);
        let offer = session_of(response).ok().flatten();
        let asked = match (side, offer) {
            _ if !settled => Err(Reply::new(491)),
            (Some(side), Some(offer)) => {
                let asker = Asker::Called(late);
                self.put(now, slot, side, response, Some(offer), trunk, asker, 70)
            }
            _ => Err(Reply::new(488)),
        };
        let exchange = self
            .calls
            .get_mut(slot as usize)
            .and_then(|call| call.exchange.as_mut());
        match (asked, exchange) {
            (Ok(()), Some(exchange)) => {
                // The referrer stays where it is until the target has its place.
                exchange.target = None;
                exchange.takeover = Some(takeover);
            }
            (asked, _) => {
                let status = asked.err().map_or(500, |reply| reply.status);
                self.give_up_takeover(now, slot, takeover, status);
            }
        }
    }

    /// Acknowledge the 2xx of a leg that gets no place in its call, and hang up.
    pub(super) fn turn_away(&mut self, now: Timestamp, leg: &mut Leg, late: LateOffer) {
        let hop = leg.next_hop(&self.transactions, &self.names, &self.snapshot);
        let branch = self.transactions.ack_branch(late.invite_nonce);
        leg.dialog
            .request(
                &mut self.io.scratch,
                "ACK",
                late.cseq,
                &branch,
                self.transactions.local(hop),
                70,
            )
            .empty_body();
        let ack = self.io.composed();
        self.io.transmit(hop, ack.clone());
        self.transactions
            .acknowledged(late.key, &leg.dialog.remote_tag, Ack::Stored(ack));
        self.bid_farewell(now, leg);
    }

    /// Tell the referrer on `side` how it goes; a final `status` ends its subscription.
    pub(super) fn notify_referrer(&mut self, now: Timestamp, slot: u32, side: Side, id: u32, status: u16) {
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let over = call.phase == Phase::Over;
        let leg = call.leg_mut(side);
        if over || leg.state != LegState::Confirmed {
            return;
        }
        let cseq = leg.dialog.next_cseq();
        let hop = leg.next_hop(&self.transactions, &self.names, &self.snapshot);
        let ours = self.transactions.local(hop);
        let mut w = leg
            .dialog
            .request(&mut self.io.scratch, "NOTIFY", cseq, &branch, ours, 70);
        write_contact(&mut w, &leg.dialog.local_tag, ours);
        w.header_fmt("Event", format_args!("refer;id={id}"));
        match status {
            100..=199 => w.header("Subscription-State", b"active;expires=300"),
            _ => w.header("Subscription-State", b"terminated;reason=noresource"),
        };
        let line = format!("SIP/2.0 {status} {}\r\n", crate::sip::reason_phrase(status));
        w.body("message/sipfrag;version=2.0", line.as_bytes());
        // It may outlive the call, and nothing depends on its answer.
        self.transactions
            .send(&mut self.io, now, nonce, hop, Method::Notify, None);
    }

    /// A request of a target that has answered but has no place yet. `false`: it is none.
    pub(crate) fn target_request(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        from: Arrival,
        tag: &[u8],
    ) -> bool {
        let Some(token) = self.tokens.decode(tag) else {
            return false;
        };
        let slot = token.slot >> 1;
        let exchange = self
            .calls
            .get(slot as usize)
            .and_then(|call| call.exchange.as_ref());
        let theirs = exchange
            .and_then(|exchange| exchange.takeover.as_ref())
            .is_some_and(|takeover| takeover.referred.is_some() && takeover.leg.dialog.matches(request));
        if !theirs || request.method() != Method::Bye {
            return false;
        }
        self.transactions
            .answer(&mut self.io, now, request, from.hop, Reply::new(200));
        // The transferee may have the target's description already: there is no way back.
        let reason = topology::reason(request);
        self.end_with_reason(now, slot, 200, "callee_hung_up", reason);
        true
    }
}
