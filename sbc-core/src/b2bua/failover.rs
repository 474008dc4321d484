//! From one trunk of a call's rule to the next (docs/ROUTING.md).
//!
//! In: an attempt that failed, or that took too long. Out: an INVITE to the next trunk, in a dialog of its own; or nothing, and
//! the call has failed. The next trunk's limits are taken before the failed one's are given back, and its media goes by
//! ports of its own: what the failed side still sends reaches nobody. What the caller has been told stays: if that was a
//! description, the next trunk is offered only what the caller was answered.

use super::{
    Abilities, AttemptFailure, Call, Leg, LegState, Part, Phase, Ports, Session, Skip, Unfit,
    admit::limits_of,
    attempt::ATTEMPTS_MAX,
    history::Attempt,
    negotiate::{Crossing, arm, media_of, tracks_formats},
    ptime::ptime_of,
    secure::choose,
};
use crate::{
    admission::{Permit, Place, Scope},
    sdp::{Format, Sdp},
    shard::{Level, Shard},
    snapshot::{Snapshot, TrunkMedia},
    time::Timestamp,
    topology::Callee,
    transaction::{Alarm, Side},
    trunk::TrunkId,
};
use std::{net::Ipv4Addr, sync::Arc};
use zeroize::Zeroizing;

impl Shard {
    /// An attempt at a trunk has begun: see to it that it does not take too long.
    pub(super) fn watch_attempt(&mut self, now: Timestamp, slot: u32) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let own = call.plan.as_ref().and_then(|plan| plan.hunt.failover());
        let own = own
            .map(|failover| failover.no_answer)
            .filter(|limit| !limit.is_zero());
        let limit = own.unwrap_or(self.snapshot.sip.no_answer);
        let key = (!limit.is_zero()).then(|| self.io.timers.insert(now + limit, Alarm::NoAnswer(slot)));
        if let Some(before) = std::mem::replace(&mut call.watch, key) {
            self.io.timers.cancel(before);
        }
        self.watch_ringback(now, slot);
    }

    /// An INVITE has been sent: see to it that the callee rings in time.
    pub(super) fn watch_ringback(&mut self, now: Timestamp, slot: u32) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let limit = call.plan.as_ref().and_then(|plan| plan.hunt.failover());
        let Some(limit) = limit
            .map(|failover| failover.ringback_timeout)
            .filter(|limit| !limit.is_zero())
        else {
            return;
        };
        let key = self.io.timers.insert(now + limit, Alarm::NoRingback(slot));
        if let Some(before) = call.ringback_watch.replace(key) {
            self.io.timers.cancel(before);
        }
    }

    /// The callee's side rings, has answered or is gone: nobody waits for ringing any more.
    pub(super) fn stop_ringback_watch(&mut self, slot: u32) {
        let call = self.calls.get_mut(slot as usize);
        if let Some(key) = call.and_then(|call| call.ringback_watch.take()) {
            self.io.timers.cancel(key);
        }
    }

    /// The callee has answered: from now on it is the caller who may take too long.
    pub(super) fn stop_attempt_watches(&mut self, slot: u32) {
        self.stop_ringback_watch(slot);
        let call = self.calls.get_mut(slot as usize);
        if let Some(key) = call.and_then(|call| call.watch.take()) {
            self.io.timers.cancel(key);
        }
    }

    /// The callee has not answered for too long.
    pub(crate) fn no_answer(&mut self, now: Timestamp, slot: u32) {
        if let Some(call) = self.call_mut(slot) {
            call.watch = None;
            self.took_too_long(now, slot, AttemptFailure::NoAnswer, "no_answer");
        }
    }

    /// The callee has not rung for too long.
    pub(crate) fn no_ringback(&mut self, now: Timestamp, slot: u32) {
        if let Some(call) = self.call_mut(slot) {
            call.ringback_watch = None;
            self.io.counters.ringback_timeouts += 1;
            self.took_too_long(now, slot, AttemptFailure::NoRingback, "no_ringback");
        }
    }

    fn took_too_long(&mut self, now: Timestamp, slot: u32, failure: AttemptFailure, cause: &'static str) {
        let asked = self.calls.get(slot as usize).map(|call| call.b.state);
        if !self.try_next(now, slot, failure) {
            return self.end(now, slot, 408, cause);
        }
        // If its 2xx crosses the CANCEL, the transaction hangs up.
        if let Some(LegState::Inviting(client)) = asked {
            self.transactions.cancel(&mut self.io, now, client, None);
            self.transactions.orphan_client(&mut self.io, now, client);
        }
    }

    /// The call has failed at its trunk: invite the next one of its rule. `false`: there is none, or it is not to be
    /// asked.
    pub(super) fn try_trunk(&mut self, now: Timestamp, slot: u32, failure: AttemptFailure) -> bool {
        let snapshot = Arc::clone(&self.snapshot);
        loop {
            let Some(call) = self.calls.get_mut(slot as usize) else {
                return false;
            };
            if !call.may_go_on(failure) {
                return false;
            }
            let left = call.b.trunk;
            let Some(to) = call.plan.as_mut().and_then(|plan| plan.hunt.take()) else {
                return false;
            };
            match self.move_to(now, slot, &snapshot, to) {
                Ok(()) => {
                    self.io.counters.failovers += 1;
                    self.event(slot, Level::Info, || {
                        let name = |trunk: TrunkId| {
                            snapshot.trunks.get(usize::from(trunk.0)).map_or("", |t| &t.name)
                        };
                        format!(
                            "no success at trunk {} ({failure}): trying {}",
                            name(left),
                            name(to)
                        )
                    });
                    return true;
                }
                Err(skip) => self.note_skip(now, slot, to, &skip),
            }
        }
    }

    pub(super) fn note_skip(&mut self, now: Timestamp, slot: u32, trunk: TrunkId, skip: &Skip) {
        self.io.counters.targets_skipped += 1;
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.history.push(Attempt::skipped(now, trunk, skip.reason()));
        }
    }

    /// Leg B of the call becomes one of trunk `to`, and is invited. `Err`: it cannot be; the leg is as it was.
    fn move_to(&mut self, now: Timestamp, slot: u32, snapshot: &Snapshot, to: TrunkId) -> Result<(), Skip> {
        let gone = Skip::Unfit(Unfit::Media);
        let plan = self.calls.get(slot as usize).and_then(|call| call.plan.as_ref());
        let emergency = plan.is_some_and(|plan| plan.hunt.is_emergency());
        let Some((user, number)) = plan.map(|plan| (plan.parties.callee.clone(), plan.parties.called)) else {
            return Err(gone);
        };
        let callee = Callee { user: &user, number };
        let mut targets = match emergency {
            true => self.addresses_of(now, snapshot, to, callee)?,
            false => self.targets_of(now, snapshot, to, callee)?,
        };
        let first = targets.remove(0);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return Err(gone);
        };
        let has_media = call.media.is_some();
        let place = match call.permit.take() {
            Some(mut permit) => {
                let place = self.exchange_limits(now, slot, snapshot, to, &mut permit);
                if let Some(call) = self.calls.get_mut(slot as usize) {
                    call.permit = Some(permit);
                }
                place?
            }
            None => None,
        };
        let (session, ports) = match self.offer_at(now, slot, snapshot, to, has_media) {
            Ok(offered) => offered,
            Err(skip) => {
                if let Some(place) = place {
                    self.admission.give_back(&place);
                }
                return Err(skip);
            }
        };
        let offer = std::mem::take(&mut self.sdp_scratch);
        self.leave_attempt(now, slot);
        let (Some(trunk), Some(plan)) = (
            snapshot.trunks.get(usize::from(to.0)),
            self.calls
                .get_mut(slot as usize)
                .and_then(|call| call.plan.take()),
        ) else {
            return Err(gone);
        };
        let dialog = self.dialog_towards((slot, Side::B), &first, &plan.parties, trunk);
        if let Some(call) = self.calls.get_mut(slot as usize) {
            let party = call.b.party.clone();
            call.plan = Some(plan);
            call.b = Leg {
                trunk: to,
                // Until `launch` has sent the INVITE.
                state: LegState::Ended,
                dialog,
                hop: first.hop,
                session,
                can: Abilities::default(),
                party,
                timer: None,
                ask: None,
                invited: 0,
                answer: None,
                digits: None,
            };
            call.phase = Phase::Proceeding;
            if let Some(plan) = &mut call.plan {
                (plan.targets, plan.min_se_s, plan.longer, plan.bare) = (targets, 0, 0, false);
                // Of several contacts, the next one is tried after any failure that is not global.
                plan.redirected = first.uri.into_iter().collect();
            }
        }
        if let Some(ports) = ports {
            self.swap_pair(now, slot, Side::B, ports);
            if let Some(call) = self.calls.get_mut(slot as usize)
                && let Some(media) = &mut call.media
            {
                (media.sends[1], media.listens[1]) = (true, true);
                let sessions = [&mut call.a.session, &mut call.b.session];
                arm(now, &mut self.relay, &mut self.key_source, *media, sessions);
            }
        }
        self.sdp_scratch = offer;
        self.set_out(now, slot, place);
        Ok(())
    }

    /// The `permit` of the call, which is at one trunk, becomes one for trunk `to`.
    fn exchange_limits(
        &self,
        now: Timestamp,
        slot: u32,
        snapshot: &Snapshot,
        to: TrunkId,
        permit: &mut Permit,
    ) -> Result<Option<Place>, Skip> {
        let call = self.calls.get(slot as usize);
        let Some((call, plan)) = call.and_then(|call| Some((call, call.plan.as_ref()?))) else {
            return Err(Skip::Unfit(Unfit::Media));
        };
        let scope = Scope {
            from: call.a.trunk,
            to,
            source: Some(call.a.hop.peer.ip()),
            called: plan.parties.called_number(),
            route: plan.hunt.rule_name(),
        };
        if plan.hunt.is_emergency() {
            self.admission
                .exchange_always(permit, &limits_of(snapshot, &scope));
            return Ok(None);
        }
        self.exchange_or_hold(now, snapshot, &scope, permit)
    }

    /// The session for leg B at trunk `to`, with ports of its own where there is media. The offer is in the SDP scratch
    /// buffer.
    fn offer_at(
        &mut self,
        now: Timestamp,
        slot: u32,
        snapshot: &Snapshot,
        to: TrunkId,
        has_media: bool,
    ) -> Result<(Session, Option<Ports>), Skip> {
        let ports = match has_media {
            true => Some(self.open_pair(now, to).ok_or(Skip::NoPort)?),
            false => None,
        };
        match self.offer_to(slot, snapshot, to, ports) {
            Ok(session) => Ok((session, ports)),
            Err(unfit) => {
                if let Some(ports) = ports {
                    self.close_pair(now, ports);
                }
                Err(Skip::Unfit(unfit))
            }
        }
    }

    /// The session for leg B at trunk `to`, whose media would go by `ports`. The offer is in the SDP scratch buffer.
    fn offer_to(
        &mut self,
        slot: u32,
        snapshot: &Snapshot,
        to: TrunkId,
        ports: Option<Ports>,
    ) -> Result<Session, Unfit> {
        let mut session = self.new_session();
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return Err(Unfit::Media);
        };
        let body = call.plan.as_ref().and_then(|plan| plan.offer.clone());
        let (Some(body), Some(ports)) = (body, ports) else {
            return Ok(session);
        };
        let sdp = Sdp::parse(&body).map_err(|_| Unfit::Media)?;
        let from = call.a.trunk;
        if tracks_formats(snapshot, [from, to]) {
            call.a.session.track(&sdp, media_of(snapshot, from));
        }
        call.a.session.settle(&sdp, media_of(snapshot, from));
        let writer = std::mem::take(&mut call.a.session);
        let crossing = Crossing {
            sdp: &sdp,
            part: Part::Offer,
            trunks: [from, to],
            session: &writer,
            interface: ports.interface,
            port: ports.port,
        };
        let described = self.describe(&crossing, &mut session);
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.a.session = writer;
        }
        described.map(|()| session)
    }

    /// What was under way with the failed attempt's side ends.
    fn leave_attempt(&mut self, now: Timestamp, slot: u32) {
        self.abort_early_exchange(now, slot);
        self.abort_passing(now, slot);
        self.drop_digits(now, slot, Side::B);
        self.stop_session_timer(now, slot, Side::B);
    }
}

impl Call {
    /// Whether another trunk may be asked after `failure`.
    fn may_go_on(&self, failure: AttemptFailure) -> bool {
        let Some(plan) = &self.plan else { return false };
        let Some(failover) = plan.hunt.failover() else {
            return false;
        };
        let waits = matches!(self.a.state, LegState::Invited(_))
            && self.b.state != LegState::Confirmed
            && matches!(self.phase, Phase::Proceeding | Phase::Ringing);
        let rejected = match failure {
            AttemptFailure::Status(status) | AttemptFailure::Redirected(status) => failover.is_final(status),
            _ => false,
        };
        // A caller that was made an offer by a callee's side has its answer to that: there is no second first offer.
        let offered = !self.offered && self.early.as_ref().is_some_and(|early| early.caller.told);
        waits && !rejected && !offered && plan.attempts < failover.attempts_max.min(ATTEMPTS_MAX)
    }
}

impl Session {
    /// The formats of the peer's offer `sdp` matter from now on, if they did not before. Its trunk has `media`.
    fn track(&mut self, sdp: &Sdp<'_>, media: &TrunkMedia) {
        if let (None, Ok(chosen)) = (&self.codecs, choose(sdp, media)) {
            let codecs = self.codecs.get_or_insert_default();
            codecs.heard = sdp.formats_of(chosen.index);
            codecs.ptime_ms = Some(ptime_of(sdp, chosen.index, media));
        }
    }

    /// The peer, whose offer is `sdp`, may have been answered by a callee that is out of the call: what it has heard it
    /// can hold us to (§13.2.1 has it ignore all later descriptions).
    fn settle(&mut self, sdp: &Sdp<'_>, media: &TrunkMedia) {
        if self.sent.is_empty() || self.settled {
            return;
        }
        let mut text = Zeroizing::new(Vec::new());
        self.write(&mut text, Ipv4Addr::UNSPECIFIED.into());
        let (Ok(ours), Ok(chosen)) = (Sdp::parse(&text), choose(sdp, media)) else {
            return;
        };
        let told = ours.formats_of(chosen.index);
        if told.iter().any(|format| format.codec.is_speech()) {
            self.track(sdp, media);
            let codecs = self.codecs.get_or_insert_default();
            codecs
                .heard
                .retain(|heard| told.iter().any(|told| told.codec == heard.codec));
            codecs.told = told;
            self.settled = true;
        }
    }

    /// Keep of `formats`, which the peer has offered, those that it was told.
    pub(super) fn retain_told(&self, formats: &mut Vec<Format>) {
        if let Some(codecs) = &self.codecs {
            formats.retain(|format| codecs.heard.iter().any(|heard| heard.codec == format.codec));
        }
    }
}
