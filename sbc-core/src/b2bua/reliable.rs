//! Provisional responses to the caller, and their reliability (RFC 3262).
//!
//! In: what the caller shall be told before the answer, and its PRACKs. Out: 18x, reliably when the
//! caller supports that and SDP is in it, or always when the caller requires it. One of them at a
//! time is on its way: sent again after T1, 2·T1, 4·T1 and so on until acknowledged; the others
//! wait, the newest of each status. After 64·T1 the call has failed. The 2xx waits while SDP is
//! unacknowledged (§5).

use super::{Body, LegState, Part, setup::session_of, write_contact};
use crate::{
    shard::{Arrival, Shard},
    sip::{HeaderName, Message, Method, OptionTags},
    snapshot,
    time::Timestamp,
    timer_wheel::TimerKey,
    transaction::{ALLOW, Alarm, Hop, Reply, Side},
};
use bytes::Bytes;
use std::time::Duration;

/// Reliable provisional responses on leg A.
#[derive(Debug, Default)]
pub(crate) struct Reliable {
    /// RSeq of the last; 0: none yet.
    rseq: u32,
    pub(crate) unacked: Option<Unacked>,
    /// At most one of each status from 180 to 183.
    waiting: Vec<(u16, Option<Body>)>,
    /// The caller has been told SDP reliably, or is about to be: it hears no other.
    pub(crate) told: bool,
    /// The callee has answered; the caller's 2xx waits.
    pub(crate) answer_waits: bool,
}

/// A response that the caller has not acknowledged.
#[derive(Debug)]
pub(crate) struct Unacked {
    rseq: u32,
    status: u16,
    hop: Hop,
    response: Bytes,
    interval: Duration,
    pub(super) resend: Option<TimerKey>,
    pub(super) expire: Option<TimerKey>,
    /// SDP is in it.
    pub(crate) described: bool,
}

impl Reliable {
    /// The 2xx has to wait for the PRACK that is due (§5).
    pub(crate) fn awaits_prack_of_sdp(&self) -> bool {
        self.unacked.as_ref().is_some_and(|unacked| unacked.described)
            || self.waiting.iter().any(|(_, sdp)| sdp.is_some())
    }

    /// What the caller will hear later. Of one status only the newest, but SDP is not lost.
    fn wait(&mut self, status: u16, sdp: Option<Body>) {
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == status) {
            Some((_, waiting)) => *waiting = sdp.or(waiting.take()),
            None => self.waiting.push((status, sdp)),
        }
    }
}

impl Shard {
    /// Tell the caller that the callee's side has said `status`, with the SDP of the scratch buffer
    /// when `described`.
    pub(crate) fn tell_caller(&mut self, now: Timestamp, slot: u32, status: u16, described: bool) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let caller = call.plan.as_ref().map(|plan| plan.caller).unwrap_or_default();
        if !(caller == Caller::Requires || caller == Caller::Supports && described) {
            return self.send_provisional(now, slot, status, described.then_some(()), 0);
        }
        let early = call.early.get_or_insert_default();
        early.caller.told |= described;
        match &early.caller.unacked {
            Some(unacked) if unacked.status == status && !described => {} // Nothing new.
            Some(_) => {
                let sdp = described.then(|| self.sdp_scratch.as_slice().into());
                early.caller.wait(status, sdp);
            }
            None => self.send_reliably(now, slot, status, described),
        }
    }

    fn send_reliably(&mut self, now: Timestamp, slot: u32, status: u16, described: bool) {
        // §3: the first number is random, well below 2^31.
        let first = (self.random() & 0xffff) as u32 + 1;
        let early = self
            .calls
            .get_mut(slot as usize)
            .and_then(|call| call.early.as_mut());
        let Some(early) = early else { return };
        let rseq = if early.caller.rseq == 0 {
            first
        } else {
            early.caller.rseq + 1
        };
        early.caller.rseq = rseq;
        self.send_provisional(now, slot, status, described.then_some(()), rseq);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let LegState::Invited(server) = call.a.state else {
            return;
        };
        let Some((hop, response)) = self.transactions.last_response(server) else {
            return;
        };
        let (t1, give_up) = (self.base.t1, self.base.give_up());
        let unacked = Unacked {
            rseq,
            status,
            hop,
            response,
            interval: t1,
            resend: Some(self.io.timers.insert(now + t1, Alarm::ReliableResend(slot))),
            expire: Some(self.io.timers.insert(now + give_up, Alarm::ReliableExpire(slot))),
            described,
        };
        if let Some(early) = &mut call.early {
            early.caller.unacked = Some(unacked);
        }
    }

    /// `rseq` 0: unreliably.
    fn send_provisional(&mut self, now: Timestamp, slot: u32, status: u16, sdp: Option<()>, rseq: u32) {
        let Some(call) = self.calls.get(slot as usize) else {
            return;
        };
        let LegState::Invited(server) = call.a.state else {
            return;
        };
        let (tag, ours) = (call.a.dialog.local_tag, self.transactions.local(call.a.hop));
        let sdp = sdp.map(|()| &self.sdp_scratch);
        self.transactions
            .respond(&mut self.io, now, server, status, &tag, |mut w| {
                write_contact(&mut w, &tag, ours);
                if rseq != 0 {
                    w.header("Require", b"100rel");
                    w.header_fmt("RSeq", format_args!("{rseq}"));
                    w.header("Allow", ALLOW);
                }
                match sdp {
                    Some(body) => w.body("application/sdp", body),
                    None => w.empty_body(),
                }
            });
    }

    /// A PRACK inside a dialog of ours; its CSeq is in order.
    pub(crate) fn prack(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) {
        let acknowledged = self.acknowledged_by(slot, side, request);
        let Some(unacked) = acknowledged else {
            self.io.counters.refused_request += 1;
            self.transactions
                .answer(&mut self.io, now, request, from.hop, Reply::new(481));
            return;
        };
        for key in [unacked.resend, unacked.expire].into_iter().flatten() {
            self.io.timers.cancel(key);
        }
        let offer = self
            .calls
            .get_mut(slot as usize)
            .and_then(|call| call.early.as_mut())
            .filter(|_| unacked.described)
            .and_then(|early| early.offer.take());
        let sdp = session_of(request);
        if let Some(offer) = offer {
            self.transactions
                .answer(&mut self.io, now, request, from.hop, Reply::new(200));
            let described = sdp
                .ok()
                .flatten()
                .is_some_and(|sdp| self.describe_to(now, slot, Side::B, &sdp, Part::Answer).is_ok());
            if !described {
                self.warn(slot, || "the PRACK to an offer brought no SDP answer".into());
                return self.end(now, slot, 500, "no_sdp_answer");
            }
            let body = std::mem::take(&mut self.sdp_scratch);
            self.settle_fork(slot, offer.fork);
            self.send_prack(now, slot, offer, Some(&body));
            self.sdp_scratch = body;
        } else if sdp.as_ref().is_ok_and(Option::is_none) {
            self.transactions
                .answer(&mut self.io, now, request, from.hop, Reply::new(200));
        } else {
            // An offer of its own: as one in an UPDATE.
            self.update(now, slot, side, request, from);
        }
        self.after_prack(now, slot);
    }

    /// Take the response that a PRACK acknowledges (§3).
    fn acknowledged_by(&mut self, slot: u32, side: Side, request: &Message<'_>) -> Option<Unacked> {
        let (rseq, cseq) = rack_of(request)?;
        let call = self.calls.get_mut(slot as usize)?;
        if side != Side::A || cseq != call.a.invited {
            return None;
        }
        let unacked = &mut call.early.as_mut()?.caller.unacked;
        unacked.take_if(|unacked| unacked.rseq == rseq)
    }

    /// The caller has acknowledged: what waited for that goes on its way.
    fn after_prack(&mut self, now: Timestamp, slot: u32) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let Some(early) = &mut call.early else { return };
        if !matches!(call.a.state, LegState::Invited(_)) {
            call.early = None; // It was the last word before the answer.
        } else if early.caller.answer_waits && !early.caller.awaits_prack_of_sdp() {
            self.answer_caller(now, slot, false, None);
        } else if !early.caller.waiting.is_empty() {
            let (status, sdp) = early.caller.waiting.remove(0);
            if let Some(sdp) = &sdp {
                self.sdp_scratch.clear();
                self.sdp_scratch.extend_from_slice(sdp);
            }
            self.send_reliably(now, slot, status, sdp.is_some());
        }
    }

    fn settle_fork(&mut self, slot: u32, fork: usize) {
        let call = self.calls.get_mut(slot as usize);
        let early = call.and_then(|call| call.early.as_mut());
        if let Some(fork) = early.and_then(|early| early.fork_mut(fork)) {
            fork.settled = true;
        }
    }

    /// The caller has not acknowledged yet: send the response again.
    pub(crate) fn reliable_resend(&mut self, now: Timestamp, slot: u32) {
        let early = self.call_mut(slot).and_then(|call| call.early.as_mut());
        let Some(unacked) = early.and_then(|early| early.caller.unacked.as_mut()) else {
            return;
        };
        // §3: doubled without a limit, as for INVITE.
        unacked.interval *= 2;
        let (due, hop, response) = (now + unacked.interval, unacked.hop, unacked.response.clone());
        let key = self.io.timers.insert(due, Alarm::ReliableResend(slot));
        let early = self
            .calls
            .get_mut(slot as usize)
            .and_then(|call| call.early.as_mut());
        if let Some(unacked) = early.and_then(|early| early.caller.unacked.as_mut()) {
            unacked.resend = Some(key);
        }
        self.io.counters.retransmissions_sent += 1;
        self.io.transmit(hop, response);
    }

    /// The caller never acknowledged: its INVITE has failed (§3).
    pub(crate) fn reliable_expired(&mut self, now: Timestamp, slot: u32) {
        let early = self.call_mut(slot).and_then(|call| call.early.as_mut());
        if let Some(unacked) = early.and_then(|early| early.caller.unacked.as_mut()) {
            unacked.expire = None;
            self.end(now, slot, 504, "no_prack");
        }
    }

    /// The answer or the end makes all provisional responses void: nothing of them is sent again.
    /// A PRACK that is on its way still finds what it acknowledges, until the call is `over`.
    pub(crate) fn close_early(&mut self, slot: u32, over: bool) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let Some(early) = &mut call.early else { return };
        if let Some(unacked) = &mut early.caller.unacked {
            for key in [unacked.resend.take(), unacked.expire.take()]
                .into_iter()
                .flatten()
            {
                self.io.timers.cancel(key);
            }
        }
        if over || early.caller.unacked.is_none() {
            call.early = None;
        }
    }
}

/// What the caller's INVITE said of reliable provisional responses, as far as its trunk allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Nothing.
    #[default]
    Plain,
    /// `Supported: 100rel`.
    Supports,
    /// `Require: 100rel`.
    Requires,
}

impl Caller {
    pub(crate) fn of(invite: &Message<'_>, policy: snapshot::Reliable) -> Self {
        let lists = |name| OptionTags::listed(invite, name).contains(OptionTags::RELIABLE);
        match policy {
            snapshot::Reliable::Off => Self::Plain,
            _ if lists(HeaderName::Require) => Self::Requires,
            _ if lists(HeaderName::Supported) => Self::Supports,
            _ => Self::Plain,
        }
    }
}

/// The RSeq of a response that was sent reliably.
pub(crate) fn rseq_of(response: &Message<'_>) -> Option<u32> {
    if !OptionTags::listed(response, HeaderName::Require).contains(OptionTags::RELIABLE) {
        return None;
    }
    number(response.header(HeaderName::RSeq)?)
}

/// RSeq and CSeq numbers of a PRACK's RAck, when it is about an INVITE.
fn rack_of(request: &Message<'_>) -> Option<(u32, u32)> {
    let value = request.header(HeaderName::RAck)?;
    let mut words = value
        .split(|c| c.is_ascii_whitespace())
        .filter(|word| !word.is_empty());
    let (rseq, cseq) = (number(words.next()?)?, number(words.next()?)?);
    let about_invite = Method::from_bytes(words.next()?) == Method::Invite && words.next().is_none();
    about_invite.then_some((rseq, cseq))
}

fn number(digits: &[u8]) -> Option<u32> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|&n| n != 0)
}
