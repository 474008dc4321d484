//! Attempts to reach the callee: the INVITE towards B, and the next one when it fails.
//!
//! In: a [`Plan`], made once from the caller's INVITE. Out: one INVITE at a time. A plan lives from
//! the caller's INVITE until the callee answers or the call is over; the offer in it is the
//! caller's, described anew for each attempt.

use super::session_timer::{min_of, write_session_timer};
use super::{Caller, LegState, Phase, write_contact};
use crate::{
    dialog::Dialog,
    sdp::Sdp,
    shard::Shard,
    sip::Method,
    snapshot::Reliable,
    time::Timestamp,
    topology::Parties,
    transaction::{ALLOW, Hop, Side},
};
use smallvec::SmallVec;

/// What is needed to invite the callee, again if need be.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) parties: Parties,
    /// The caller's offer as received; `None`: late offer.
    pub(crate) offer: Option<Box<[u8]>>,
    pub(crate) max_forwards: u8,
    /// Value of Privacy.
    pub(crate) privacy: Option<Vec<u8>>,
    /// What the caller wants of provisional responses.
    pub(crate) caller: Caller,
    /// Our INVITE says that we take reliable provisional responses.
    pub(crate) reliable: bool,
    /// What a 422 has said is the shortest session; 0: none has.
    pub(crate) min_se_s: u32,
    /// How many 422 there were.
    pub(crate) longer: u8,
    /// Where to try next, best first.
    pub(crate) targets: SmallVec<[Hop; 2]>,
}

/// Most attempts of one call because of 422.
const LONGER_MAX: u8 = 3;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptFailure {
    /// A final response of this status.
    Status(u16),
    /// No answer at all in 64·T1, or the transport failed.
    Unreachable,
}

impl Shard {
    /// Our dialog towards `hop` for a new attempt: Call-ID and tag of its own.
    pub(crate) fn dialog_towards(
        &mut self,
        slot: u32,
        hop: Hop,
        parties: &Parties,
        pass_display_name: bool,
    ) -> Dialog {
        let tag = self.mint_tag(slot, Side::B);
        let call_id = self.mint(u32::MAX);
        let ours = self.local(hop).address;
        Dialog::uac(
            &call_id,
            tag,
            &parties.calling_value(ours, &tag, pass_display_name),
            &parties.called_value(hop.peer),
            &parties.request_uri(hop.peer),
        )
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
        call.early = None;
        let peer = self
            .snapshot
            .trunks
            .get(usize::from(call.b.trunk.0))
            .map(|trunk| &trunk.peer);
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
                &b"100rel, timer"[..]
            } else {
                b"timer"
            },
        );
        if plan.reliable && policy == Reliable::Required {
            w.header("Require", b"100rel");
        }
        let name = &self.snapshot.sip.server_name;
        if !name.is_empty() {
            w.header("User-Agent", name.as_bytes());
        }
        if let Some(privacy) = &plan.privacy {
            w.header("Privacy", privacy);
        }
        match plan.offer {
            Some(_) => w.body("application/sdp", &self.sdp_scratch),
            None => w.empty_body(),
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
        let offer = plan.offer.clone();
        let described = match offer.as_deref().map(Sdp::parse) {
            Some(Ok(sdp)) => self.describe_for(now, slot, Side::B, &sdp),
            Some(Err(_)) => false,
            None => true,
        };
        if described {
            self.launch(now, slot);
        }
        described
    }

    /// An attempt failed: begin the next, if there is one and the callee did not ring yet. `false`:
    /// the call has failed.
    pub(crate) fn try_next(&mut self, now: Timestamp, slot: u32, failure: AttemptFailure) -> bool {
        if !matches!(failure, AttemptFailure::Unreachable | AttemptFailure::Status(503)) {
            return false;
        }
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        if call.phase != Phase::Proceeding {
            return false;
        }
        let Some(mut plan) = call.plan.take() else {
            return false;
        };
        if plan.targets.is_empty() {
            return false;
        }
        let hop = plan.targets.remove(0);
        let trunk = usize::from(call.b.trunk.0);
        let pass_display_name = self
            .snapshot
            .trunks
            .get(trunk)
            .is_some_and(|trunk| trunk.pass_display_name);
        let dialog = self.dialog_towards(slot, hop, &plan.parties, pass_display_name);
        let described = match plan.offer.as_deref().map(Sdp::parse) {
            Some(Ok(sdp)) => self.describe_for(now, slot, Side::B, &sdp),
            Some(Err(_)) => false,
            None => true,
        };
        let Some(call) = self.calls.get_mut(slot as usize).filter(|_| described) else {
            return false;
        };
        call.b.dialog = dialog;
        call.b.hop = hop;
        call.plan = Some(plan);
        self.launch(now, slot);
        true
    }
}
