//! Attempts to reach the callee: the INVITE towards B, and the next one when it fails.
//!
//! In: a [`Plan`], made once from the caller's INVITE. Out: one INVITE at a time. A plan lives from
//! the caller's INVITE until the callee answers or the call is over; the offer in it is the
//! caller's, described anew for each attempt.

use super::session_timer::{min_of, write_session_timer};
use super::{
    Body, Caller, Hunt, LegState, Part, Phase, Ringback, TRUNK_DISABLED, history::Attempt,
    negotiate::media_of, write_contact,
};
use crate::{
    admission::{LimitId, Place},
    dialog::Dialog,
    sdp::Sdp,
    shard::{Level, Shard},
    sip::Method,
    snapshot::{Reliable, Target, Trunk},
    time::Timestamp,
    topology::{Parties, Towards},
    traffic::Way,
    transaction::{ALLOW, Hop, Side},
    trunk::TrunkId,
};
use smallvec::SmallVec;
use std::{sync::Arc, time::Duration};

/// What is needed to invite the callee, again if need be.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) parties: Parties,
    /// The caller's offer as received; `None`: late offer.
    pub(crate) offer: Option<Body>,
    pub(crate) max_forwards: u8,
    /// What the caller wants of provisional responses.
    pub(crate) caller: Caller,
    /// Our INVITE says that we take reliable provisional responses.
    pub(crate) reliable: bool,
    /// What a 422 has said is the shortest session; 0: none has.
    pub(crate) min_se_s: u32,
    /// How many 422 there were.
    pub(crate) longer: u8,
    /// The trunk takes no documents in the body.
    pub(crate) bare: bool,
    /// Value of Replaces.
    pub(crate) replaces: Option<Vec<u8>>,
    /// The trunks that are left.
    pub(super) hunt: Hunt,
    /// Where to try next at this trunk, best first.
    pub(crate) targets: SmallVec<[AttemptTarget; 2]>,
    /// Attempts made.
    pub(crate) attempts: u8,
    /// Request-URIs of redirections that were followed or are among the targets.
    pub(crate) redirected: Vec<Box<[u8]>>,
    /// What the caller is told and played of our own.
    pub(crate) ringback: Ringback,
    /// The call waits for its place in the rate of this limit; nothing has been sent yet.
    pub(crate) held: Option<LimitId>,
}

/// Most attempts of one call because of 422.
const LONGER_MAX: u8 = 3;

/// Where an attempt goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AttemptTarget {
    pub(crate) hop: Hop,
    /// Request-URI of a redirection; `None`: the called number at the trunk.
    pub(crate) uri: Option<Box<[u8]>>,
}

/// Most attempts of one call.
pub(super) const ATTEMPTS_MAX: u8 = 8;

/// Where a new call goes instead of where its trunk's route leads: to the peer of a leg.
#[derive(Debug)]
pub(super) struct Aim {
    pub(super) trunk: TrunkId,
    /// The leg's next hop, and as Request-URI its remote target.
    pub(super) target: AttemptTarget,
    pub(super) routes: Box<[Box<[u8]>]>,
    /// The leg's dialog.
    pub(super) replaces: Vec<u8>,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptFailure {
    /// A final response of this status.
    Status(u16),
    /// No answer at all in time.
    Silent,
    /// The transport failed.
    Unreachable,
    /// A redirection of this status, whose contacts are the targets now.
    Redirected(u16),
    /// It did not ring in time.
    NoRingback,
    /// It was not answered in time.
    NoAnswer,
    /// Its trunk was switched off or removed before an INVITE was sent.
    Disabled,
}

impl AttemptFailure {
    /// Its status (0: none) and its reason in the record of the attempt.
    fn record(self) -> (u16, &'static str) {
        match self {
            Self::Status(status) => (status, "refused"),
            Self::Silent => (0, "no_response"),
            Self::Unreachable => (0, "unreachable"),
            Self::Redirected(status) => (status, "redirected"),
            Self::NoRingback => (0, "no_ringback"),
            Self::NoAnswer => (0, "no_answer"),
            Self::Disabled => (0, TRUNK_DISABLED),
        }
    }
}

impl Shard {
    /// Our dialog for a new attempt at `target`: Call-ID and tag of its own.
    pub(crate) fn dialog_towards(
        &mut self,
        (slot, side): (u32, Side),
        target: &AttemptTarget,
        parties: &Parties,
        trunk: &Trunk,
    ) -> Dialog {
        let tag = self.mint_tag(slot, side);
        let call_id = self.mint(u32::MAX);
        let ours = self.local(target.hop).address;
        let towards = trunk.towards(ours, target.hop.peer);
        let uri = match &target.uri {
            Some(uri) => uri.to_vec(),
            None => parties.request_uri(&towards),
        };
        let mut dialog = Dialog::uac(
            &call_id,
            tag,
            &parties.calling_value(&towards, &tag),
            &parties.called_value(&towards),
            &uri,
        );
        if let Some(proxy) = &trunk.peer.outbound_proxy {
            dialog.preload_route(&proxy.to_string());
        }
        dialog
    }

    /// Send the INVITE of a call's plan on leg B as it is now. The offer for it, if the plan has
    /// one, is in the SDP scratch buffer.
    pub(crate) fn launch(&mut self, now: Timestamp, slot: u32) {
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let Some(plan) = &mut call.plan else { return };
        if let Some(early) = &mut call.early {
            early.restart();
        }
        let trunk = self.snapshot.trunks.get(usize::from(call.b.trunk.0));
        let peer = trunk.map(|trunk| &trunk.peer);
        let policy = peer.map_or(Reliable::Off, |peer| peer.reliable);
        let timer = peer.map(|peer| peer.session_timer).unwrap_or_default();
        // An early offer can only go to a caller that takes it reliably (RFC 3262 §5).
        plan.reliable = policy != Reliable::Off && (plan.offer.is_some() || plan.caller != Caller::Plain);
        let leg = &mut call.b;
        let hop = leg.hop;
        let ours = self.transactions.local(hop);
        let cseq = leg.dialog.next_cseq();
        let mut w = leg.dialog.request(
            &mut self.io.scratch,
            "INVITE",
            cseq,
            &branch,
            ours,
            plan.max_forwards,
        );
        write_contact(&mut w, &leg.dialog.local_tag, ours);
        w.header("Allow", ALLOW);
        let min_s = min_of(timer).max(plan.min_se_s);
        write_session_timer(&mut w, timer.expires.as_secs().min(86_400) as u32, min_s, None);
        w.header(
            "Supported",
            if plan.reliable {
                &b"100rel, timer, replaces"[..]
            } else {
                b"timer, replaces"
            },
        );
        if plan.reliable && policy == Reliable::Required {
            w.header("Require", b"100rel");
        }
        if let Some(replaces) = &plan.replaces {
            w.header("Require", b"replaces");
            w.header("Replaces", replaces);
        }
        let name = &self.snapshot.sip.server_name;
        if !name.is_empty() {
            w.header("User-Agent", name.as_bytes());
        }
        let sdp = plan.offer.as_ref().map(|_| self.sdp_scratch.as_slice());
        match (trunk, sdp) {
            (Some(trunk), sdp) => {
                let towards = Towards {
                    bare: plan.bare,
                    ..trunk.towards(ours.address, hop.peer)
                };
                plan.parties.write(&mut w, &towards);
                plan.parties
                    .write_body(&mut w, &towards, &leg.dialog.local_tag, sdp);
            }
            (None, Some(sdp)) => w.body("application/sdp", sdp),
            (None, None) => w.empty_body(),
        }
        if let Some(headers) = trunk.and_then(|trunk| trunk.headers.as_deref()) {
            headers.change(&mut self.io.scratch);
        }
        let client = self.transactions.send(
            &mut self.io,
            now,
            nonce,
            hop,
            Method::Invite,
            Some((slot, Side::B)),
        );
        leg.state = LegState::Inviting(client);
        if let Some(plan) = &mut call.plan {
            plan.attempts += 1;
            // With another address or trunk to go to, this one need not be waited for until timer B.
            if !plan.targets.is_empty() || !plan.hunt.is_empty() {
                let at = now + self.snapshot.sip.failover;
                self.transactions.give_up_at(&mut self.io, now, client, at);
            }
        }
    }

    /// The callee wants sessions of at least `min_s`: ask once more, in the same Call-ID (RFC 4028
    /// §7.3). `false`: that was asked for already.
    pub(crate) fn try_longer(&mut self, now: Timestamp, slot: u32, min_s: u32) -> bool {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let Some(plan) = call.plan.as_mut().filter(|_| call.phase == Phase::Proceeding) else {
            return false;
        };
        if min_s <= plan.min_se_s || plan.longer == LONGER_MAX {
            return false;
        }
        plan.min_se_s = min_s;
        plan.longer += 1;
        self.ask_again(now, slot)
    }

    /// The callee has refused SRTP where it is optional: ask once more in the same Call-ID, for plain RTP. `false`:
    /// that is not why, or it was offered already.
    pub(crate) fn try_plain(&mut self, now: Timestamp, slot: u32) -> bool {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let planned = call.plan.as_ref().is_some_and(|plan| plan.offer.is_some());
        let media = media_of(&self.snapshot, call.b.trunk);
        let falls_back = call.phase == Phase::Proceeding
            && planned
            && call
                .b
                .session
                .security
                .as_mut()
                .is_some_and(|security| security.fall_back(media));
        if !falls_back {
            return false;
        }
        self.io.counters.srtp_fallbacks += 1;
        self.event(slot, Level::Debug, || {
            "SRTP was refused: offering plain RTP".into()
        });
        self.ask_again(now, slot)
    }

    /// The callee has refused a body with documents that say where the caller is: ask once more in the same Call-ID
    /// without them. `false`: there were none.
    pub(crate) fn try_bare(&mut self, now: Timestamp, slot: u32) -> bool {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let trunk = self.snapshot.trunks.get(usize::from(call.b.trunk.0));
        let headers = trunk.and_then(|trunk| trunk.headers.as_deref());
        let Some(plan) = call.plan.as_mut().filter(|_| call.phase == Phase::Proceeding) else {
            return false;
        };
        if plan.bare || !plan.parties.has_documents_for(headers) {
            return false;
        }
        plan.bare = true;
        self.warn(slot, || {
            "the callee takes no body that says where the caller is: asking it without that".into()
        });
        self.ask_again(now, slot)
    }

    /// Send the INVITE of a call's plan again, to the same target and in the same Call-ID, with the offer described
    /// anew.
    pub(super) fn ask_again(&mut self, now: Timestamp, slot: u32) -> bool {
        let Some(call) = self.calls.get(slot as usize) else {
            return false;
        };
        let (offer, from) = match &call.plan {
            Some(plan) => (plan.offer.clone(), call.a.trunk),
            None => return false,
        };
        let described = match offer.as_deref().map(Sdp::parse) {
            Some(Ok(sdp)) => self
                .describe_for(now, slot, Side::B, &sdp, Part::Offer, from)
                .is_ok(),
            Some(Err(_)) => false,
            None => true,
        };
        if described {
            self.launch(now, slot);
        }
        described
    }

    /// An attempt failed: begin the next, at another address of the trunk unless the callee rang, or at another trunk of
    /// the route. `false`: there is none, the call has failed.
    pub(crate) fn try_next(&mut self, now: Timestamp, slot: u32, failure: AttemptFailure) -> bool {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        if !matches!(call.a.state, LegState::Invited(_)) {
            return false;
        }
        let (status, reason) = failure.record();
        call.end_attempt(now, status, reason);
        self.stop_ringback_watch(slot);
        self.try_address(now, slot, failure) || self.try_trunk(now, slot, failure)
    }

    /// Begin an attempt at the next address of the trunk.
    fn try_address(&mut self, now: Timestamp, slot: u32, failure: AttemptFailure) -> bool {
        let snapshot = Arc::clone(&self.snapshot);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let Some(trunk) = snapshot.trunks.get(usize::from(call.b.trunk.0)) else {
            return false;
        };
        let hop = call.b.hop;
        if call.phase != Phase::Proceeding {
            return false;
        }
        let Some(plan) = &mut call.plan else { return false };
        let again = match failure {
            AttemptFailure::Silent
            | AttemptFailure::Unreachable
            | AttemptFailure::Redirected(_)
            | AttemptFailure::Status(503) => true,
            // §8.1.3.4: of several contacts, the next one is tried after any failure that is not
            // global.
            AttemptFailure::Status(status) => !plan.redirected.is_empty() && (400..600).contains(&status),
            AttemptFailure::NoRingback | AttemptFailure::NoAnswer | AttemptFailure::Disabled => false,
        };
        let attempts_max = plan
            .hunt
            .failover()
            .map_or(ATTEMPTS_MAX, |failover| failover.attempts_max);
        if !again || plan.targets.is_empty() || plan.attempts >= attempts_max.min(ATTEMPTS_MAX) {
            return false;
        }
        let target = plan.targets.remove(0);
        let from = call.a.trunk;
        let Some(plan) = call.plan.take() else {
            return false;
        };
        let dialog = self.dialog_towards((slot, Side::B), &target, &plan.parties, trunk);
        let described = match plan.offer.as_deref().map(Sdp::parse) {
            Some(Ok(sdp)) => self
                .describe_for(now, slot, Side::B, &sdp, Part::Offer, from)
                .is_ok(),
            Some(Err(_)) => false,
            None => true,
        };
        let Some(call) = self.calls.get_mut(slot as usize).filter(|_| described) else {
            return false;
        };
        call.b.dialog = dialog;
        call.b.hop = target.hop;
        call.plan = Some(plan);
        self.io.counters.attempts_repeated += 1;
        self.event(slot, Level::Debug, || {
            format!(
                "no success at {} ({failure}): trying {}",
                hop.peer, target.hop.peer
            )
        });
        self.begin_attempt(now, slot);
        self.launch(now, slot);
        self.watch_ringback(now, slot);
        true
    }

    /// Leg B is ready: invite it at once, or when its `place` has come.
    pub(super) fn set_out(&mut self, now: Timestamp, slot: u32, place: Option<Place>) {
        let Some(place) = place else {
            self.seize_trunk(now, slot);
            self.begin_attempt(now, slot);
            self.launch(now, slot);
            return self.watch_attempt(now, slot);
        };
        self.hold(slot, place);
    }

    /// The call in `slot` comes to the trunk of its leg B, at whichever of its addresses.
    pub(super) fn seize_trunk(&mut self, now: Timestamp, slot: u32) {
        if let Some(call) = self.calls.get(slot as usize) {
            self.traffic.seized(now, call.b.trunk, Way::Out);
        }
    }

    /// An INVITE is about to be sent on leg B as it is now, not only repeated: it has a place in the record of the call.
    pub(super) fn begin_attempt(&mut self, now: Timestamp, slot: u32) {
        if let Some(call) = self.calls.get_mut(slot as usize) {
            let attempt = Attempt::begun(now, call.b.trunk, call.b.hop.peer);
            call.history.push(attempt);
        }
    }

    /// The attempt of a call had no answer, or a 503: its address is tried after others for a while.
    pub(crate) fn set_back(&mut self, now: Timestamp, slot: u32, retry_after: Option<Duration>) {
        if let Some(call) = self.calls.get(slot as usize) {
            let (trunk, hop) = (call.b.trunk, call.b.hop);
            self.set_hop_back(now, trunk, hop, retry_after);
        }
    }

    /// An address of `trunk` did not serve. Of a trunk with one address, nothing follows.
    pub(crate) fn set_hop_back(
        &mut self,
        now: Timestamp,
        trunk: TrunkId,
        hop: Hop,
        retry_after: Option<Duration>,
    ) {
        let named = |trunk: &Trunk| matches!(trunk.next_hop(), Target::Name(_));
        let listener = self.snapshot.listeners.get(usize::from(hop.listener.0));
        if self.snapshot.trunks.get(usize::from(trunk.0)).is_some_and(named)
            && let Some(listener) = listener
        {
            self.setbacks.mark(now, listener.transport, hop.peer, retry_after);
        }
    }

    /// An address has answered a request: earlier failures of it are forgotten.
    pub(crate) fn served(&mut self, hop: Hop) {
        if let Some(listener) = self.snapshot.listeners.get(usize::from(hop.listener.0)) {
            self.setbacks.clear(listener.transport, hop.peer);
        }
    }
}

impl std::fmt::Display for AttemptFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => status.fmt(f),
            Self::Silent => f.write_str("no response"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Redirected(status) => write!(f, "redirected with {status}"),
            Self::NoRingback => f.write_str("it does not ring"),
            Self::NoAnswer => f.write_str("no answer"),
            Self::Disabled => f.write_str("it is switched off or removed"),
        }
    }
}
