//! Dialogs with the callee before it has answered: one for every fork (RFC 3261 §12.1, §13.2.2.4).
//!
//! In: provisional responses, told apart by their To tags. Out: what the caller is told of them
//! (`reliable`), PRACKs, and where the relay sends. All of it ends with the answer or the call.
//!
//! The caller sees one dialog, ours, however many forks there are; so it sees one answer to its
//! offer. It takes the first description as that answer and may ignore others (§13.2.1, RFC 6337
//! §3.1). Sent reliably, it is final: the caller is told no other one, and the relay alone follows
//! the fork that is heard. Sent unreliably, it is a preview: a caller that follows later ones sees
//! the version in o= grow, and the 2xx brings the answer. Our address and port are the same in
//! all of them; only formats and direction can differ.
//!
//! Without an offer from the caller (late offer), the first reliable offer of a fork goes to the
//! caller, reliably too; its answer comes in a PRACK and leaves in ours. Offers of other forks
//! then stay without PRACK and end with those forks.

use super::{
    Body, LegState, Part, Phase,
    reliable::{Reliable, rseq_of},
    setup::session_of,
};
use crate::{
    dialog::Dialog,
    sdp::Sdp,
    shard::Shard,
    sip::{HeaderName, Message, Method, unfold},
    time::Timestamp,
    transaction::Side,
};

/// Most forks of one call that are kept account of.
const FORKS_MAX: usize = 8;

/// What there is of a call before its answer only.
#[derive(Debug, Default)]
pub(crate) struct Early {
    /// The early dialogs of leg B. They count CSeq together, in the leg's own dialog.
    forks: Vec<Fork>,
    /// The fork that described its media last.
    heard: usize,
    /// A fork's reliable offer that the caller has not answered yet.
    pub(crate) offer: Option<Provisional>,
    /// Provisional responses to the caller.
    pub(crate) caller: Reliable,
}

/// One early dialog of leg B.
#[derive(Debug)]
pub(crate) struct Fork {
    pub(crate) dialog: Dialog,
    /// Its last SDP.
    pub(crate) answer: Option<Body>,
    /// RSeq of its last reliable response; 0: none yet.
    rseq: u32,
    /// Its SDP came reliably: offer and answer are exchanged with it.
    pub(crate) settled: bool,
}

/// A reliable provisional response of a fork.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Provisional {
    pub(crate) fork: usize,
    pub(crate) rseq: u32,
    /// CSeq of the INVITE.
    pub(crate) cseq: u32,
}

/// How a reliable response follows on those before it (RFC 3262 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Next,
    Repeated,
    Gap,
}

impl Fork {
    fn new(leg: &Dialog, response: &Message<'_>) -> Self {
        let mut dialog = leg.clone();
        if dialog.confirm(response).is_err() {
            // Without Contact: the URI that we sent the INVITE to has to do.
            dialog.remote_tag = to_tag(response).into();
            let to = response.header(HeaderName::To).unwrap_or_default();
            dialog.remote = unfold(to).into_owned().into();
        }
        Self {
            dialog,
            answer: None,
            rseq: 0,
            settled: false,
        }
    }

    fn receive(&mut self, rseq: u32) -> Order {
        if self.rseq != 0 && rseq <= self.rseq {
            return Order::Repeated;
        }
        if self.rseq != 0 && rseq - self.rseq > 1 {
            return Order::Gap;
        }
        self.rseq = rseq;
        Order::Next
    }
}

impl Early {
    /// Another attempt begins: its forks are others. What the caller has been told stays.
    pub(crate) fn restart(&mut self) {
        self.forks.clear();
        (self.heard, self.offer) = (0, None);
    }

    pub(crate) fn fork_by_tag(&mut self, tag: &[u8]) -> Option<&mut Fork> {
        self.forks.iter_mut().find(|fork| *fork.dialog.remote_tag == *tag)
    }

    fn position(&self, tag: &[u8]) -> Option<usize> {
        self.forks.iter().position(|f| *f.dialog.remote_tag == *tag)
    }

    pub(crate) fn take_fork(&mut self, tag: &[u8]) -> Option<Fork> {
        let at = self.position(tag)?;
        Some(self.forks.swap_remove(at))
    }

    /// The fork that is heard, when offer and answer are exchanged with it.
    pub(crate) fn heard_and_settled(&self) -> Option<usize> {
        let fork = self.forks.get(self.heard)?;
        fork.settled.then_some(self.heard)
    }

    pub(crate) fn is_heard(&self, tag: &[u8]) -> bool {
        self.position(tag) == Some(self.heard)
    }

    pub(crate) fn fork_mut(&mut self, at: usize) -> Option<&mut Fork> {
        self.forks.get_mut(at)
    }
}

impl Shard {
    /// A provisional response other than 100.
    pub(crate) fn provisional(&mut self, now: Timestamp, slot: u32, side: Side, response: &Message<'_>) {
        let Some(call) = self.call_mut(slot) else { return };
        // To a re-INVITE only 100 is usual; everything else there is told nobody.
        if side != Side::B
            || call.phase == Phase::Over
            || !matches!(call.b.state, LegState::Inviting(_))
            || !matches!(call.a.state, LegState::Invited(_))
        {
            return;
        }
        let offered = call.offered;
        let rseq = match &call.plan {
            Some(plan) if plan.reliable => rseq_of(response),
            _ => None,
        };
        let sdp = session_of(response).ok().flatten();
        let mut provisional = None;
        let mut described = false;
        if rseq.is_some() || sdp.is_some() {
            call.b.can.hear(response);
            let Some(fork) = self.fork_of(slot, response) else {
                self.io.counters.early_forks_max += 1;
                return;
            };
            let cseq = response.cseq().map_or(1, |cseq| cseq.number);
            provisional = rseq.map(|rseq| Provisional { fork, rseq, cseq });
            if let Some(rseq) = rseq
                && !self.in_sequence(slot, fork, rseq)
            {
                return;
            }
            match (&sdp, provisional) {
                (Some(sdp), _) if offered => {
                    described = self.early_answer(now, slot, fork, sdp, rseq.is_some());
                }
                (Some(sdp), Some(offer)) => {
                    described = self.early_offer(now, slot, offer, sdp);
                    if !described {
                        return;
                    }
                    provisional = None; // The caller's PRACK lets ours go.
                }
                _ => {}
            }
        }
        if let Some(provisional) = provisional {
            self.send_prack(now, slot, provisional, None);
        }
        let status = match response.status() {
            status @ 180..=183 => status,
            _ if described => 183,
            _ => return,
        };
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.phase = Phase::Ringing;
            call.b.found_early(response);
            call.ringing.get_or_insert(now);
            call.attempt_rings(now);
        }
        self.stop_ringback_watch(slot);
        self.ring_back(now, slot, status, described);
    }

    /// The early dialog that a response belongs to, new if need be; `None`: there are too many.
    fn fork_of(&mut self, slot: u32, response: &Message<'_>) -> Option<usize> {
        let call = self.calls.get_mut(slot as usize)?;
        let early = call.early.get_or_insert_default();
        if let Some(at) = early.position(to_tag(response)) {
            return Some(at);
        }
        if early.forks.len() >= FORKS_MAX {
            return None;
        }
        early.forks.push(Fork::new(&call.b.dialog, response));
        Some(early.forks.len() - 1)
    }

    /// Whether a reliable response is the next one of its fork. One behind a gap is ignored, and
    /// sent again by the callee (RFC 3262 §4).
    fn in_sequence(&mut self, slot: u32, fork: usize, rseq: u32) -> bool {
        let early = self
            .calls
            .get_mut(slot as usize)
            .and_then(|call| call.early.as_mut());
        let order = match early.and_then(|early| early.fork_mut(fork)) {
            Some(fork) => fork.receive(rseq),
            None => Order::Gap,
        };
        match order {
            Order::Next => {}
            Order::Repeated => self.io.counters.retransmissions_received += 1,
            Order::Gap => self.io.counters.provisional_gaps += 1,
        }
        order == Order::Next
    }

    /// A fork answered the caller's offer. Whether the caller shall be told: what it is told is in
    /// the SDP scratch buffer then.
    fn early_answer(
        &mut self,
        now: Timestamp,
        slot: u32,
        fork: usize,
        sdp: &Sdp<'_>,
        reliably: bool,
    ) -> bool {
        let early = self
            .calls
            .get_mut(slot as usize)
            .and_then(|call| call.early.as_mut());
        let Some(early) = early else { return false };
        early.heard = fork;
        let told = early.caller.told;
        if let Some(fork) = early.fork_mut(fork) {
            fork.answer = Some(sdp.text().into());
            fork.settled |= reliably;
        }
        if told || self.told_by_us(slot) {
            // If it is of no use, the 2xx will say so again.
            let _ = self.apply_remote_to(now, slot, Side::B, sdp, Part::Answer);
            return false;
        }
        self.describe_to(now, slot, Side::A, sdp, Part::Answer).is_ok()
    }

    /// A fork offered, reliably, and the caller has not (late offer).
    fn early_offer(&mut self, now: Timestamp, slot: u32, offer: Provisional, sdp: &Sdp<'_>) -> bool {
        let early = self
            .calls
            .get_mut(slot as usize)
            .and_then(|call| call.early.as_mut());
        let Some(early) = early else { return false };
        if early.offer.is_some() || early.caller.told {
            self.io.counters.early_offers_ignored += 1;
            return false;
        }
        early.heard = offer.fork;
        early.offer = Some(offer);
        if self.describe_to(now, slot, Side::A, sdp, Part::Offer).is_ok() {
            return true;
        }
        self.warn(slot, || "callee's early offer cannot be passed on".into());
        self.end(now, slot, 502, "no_session");
        false
    }

    /// Acknowledge a reliable provisional response (RFC 3262 §4), with the answer to its offer.
    pub(crate) fn send_prack(
        &mut self,
        now: Timestamp,
        slot: u32,
        provisional: Provisional,
        answer: Option<&[u8]>,
    ) {
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let cseq = call.b.dialog.next_cseq();
        call.swap_fork(provisional.fork);
        let hop = call.b.next_hop(&self.transactions, &self.names, &self.snapshot);
        let mut w = call.b.dialog.request(
            &mut self.io.scratch,
            "PRACK",
            cseq,
            &branch,
            self.transactions.local(hop),
            70,
        );
        w.header_fmt(
            "RAck",
            format_args!("{} {} INVITE", provisional.rseq, provisional.cseq),
        );
        match answer {
            Some(sdp) => w.body("application/sdp", sdp),
            None => w.empty_body(),
        }
        call.swap_fork(provisional.fork);
        // Whatever comes of it, the INVITE decides: nobody need hear.
        self.transactions
            .send(&mut self.io, now, nonce, hop, Method::Prack, None);
    }

    /// Whether the CSeq of a request on `side` is higher than that of the last (§12.2.2); it is the
    /// last from now on. Every fork counts for itself.
    pub(crate) fn is_in_order(&mut self, slot: u32, side: Side, request: &Message<'_>) -> bool {
        let number = request.cseq().map_or(0, |cseq| cseq.number);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let last = if side == Side::B && matches!(call.b.state, LegState::Inviting(_)) {
            let tag = request
                .from()
                .ok()
                .and_then(|from| from.tag())
                .unwrap_or_default();
            let early = call.early.as_mut();
            match early.and_then(|early| early.fork_by_tag(tag)) {
                Some(fork) => &mut fork.dialog.remote_cseq,
                None => &mut call.b.dialog.remote_cseq,
            }
        } else {
            &mut call.leg_mut(side).dialog.remote_cseq
        };
        if last.is_some_and(|last| number <= last) {
            return false;
        }
        *last = Some(number);
        true
    }
}

impl super::Call {
    /// Whether `request` belongs to the dialog on `side`, or to a fork's.
    pub(crate) fn is_within(&self, side: Side, request: &Message<'_>) -> bool {
        let forks = self.early.iter().filter(|_| side == Side::B);
        self.leg(side).dialog.matches(request)
            || forks
                .flat_map(|early| &early.forks)
                .any(|fork| fork.dialog.matches(request))
    }

    /// Exchange the dialog of leg B with that of a fork; done twice, all is as before.
    pub(crate) fn swap_fork(&mut self, fork: usize) {
        let fork = self.early.as_mut().and_then(|early| early.fork_mut(fork));
        if let Some(fork) = fork {
            std::mem::swap(&mut self.b.dialog, &mut fork.dialog);
        }
    }
}

fn to_tag<'b>(message: &Message<'b>) -> &'b [u8] {
    message.to().ok().and_then(|to| to.tag()).unwrap_or_default()
}
