//! REFER inside a call, and the NOTIFY and SUBSCRIBE of what it started (RFC 3515, RFC 6665).
//!
//! In: a REFER of one side, the referrer; the other side is the transferee. Out, by the option
//! `refer` of the referrer's trunk: a REFER to the transferee whose Refer-To leads back to us, or
//! 603. A REFER that passes leaves a [`Referral`] with the call: it says which NOTIFY belongs to it,
//! because the `id` of a refer subscription is the REFER's CSeq number (RFC 3515 §2.4.6) and each
//! leg has its own. The subscription lives in the call's dialogs: it ends with them.

use super::{
    Passing, Phase,
    pass::{check_body, write_body},
    replaces::Replaces,
};
use crate::{
    numbers::{caller_between, dialled_between},
    shard::{Arrival, Shard},
    sip::{HeaderName, Message, Method, NameAddr, Scheme, Uri},
    snapshot::Refer,
    time::Timestamp,
    topology,
    transaction::{Extra, Reply, Side},
};

/// Most referrals of one call whose outcome is not known yet.
const REFERRALS_MAX: usize = 4;

/// A REFER that was accepted or waits to be, until its outcome has been notified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referral {
    /// The side that sent the REFER.
    pub(crate) from: Side,
    /// Its CSeq number there: the `id` for the referrer.
    pub(crate) cseq: u32,
    /// The CSeq number of our REFER on the other side: the `id` for the transferee.
    pub(crate) passed: u32,
}

/// Where a REFER leads.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    /// User part.
    pub(crate) user: Box<str>,
    /// The dialog to be replaced, as the referrer names it.
    pub(crate) replaces: Option<Replaces>,
}

impl Destination {
    /// Read Refer-To; `Err`: how to refuse it.
    fn of(request: &Message<'_>) -> Result<Self, Reply> {
        // RFC 3515 §2.4.1: exactly one.
        let mut fields = request.headers(HeaderName::ReferTo);
        let (Some(field), None) = (fields.next(), fields.next()) else {
            return Err(Reply::new(400));
        };
        let address = NameAddr::parse(field).map_err(|_| Reply::new(400))?;
        let uri = Uri::parse(address.uri).map_err(|_| Reply::new(400))?;
        let calls = uri
            .param(b"method")
            .is_none_or(|method| method.eq_ignore_ascii_case(b"INVITE"));
        // Only calls can be referred to: what a REFER to another method or place means is not ours.
        if uri.scheme == Scheme::Other || !calls {
            return Err(Reply::new(488));
        }
        let user = topology::user_of(&uri)
            .filter(|user| !user.is_empty())
            .ok_or(Reply::new(488))?;
        let replaces = Replaces::of_uri(&uri).map_err(|_| Reply::new(400))?;
        Ok(Self { user, replaces })
    }
}

impl Shard {
    /// A REFER on `side`; its CSeq is in order.
    pub(crate) fn refer(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) {
        let outcome = self.take_refer(now, slot, side, request, from);
        self.answer_refused(now, request, from, outcome);
    }

    fn take_refer(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) -> Result<(), Reply> {
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        match call.phase {
            Phase::Answered => {}
            Phase::Over => return Err(Reply::new(481)),
            // Nobody is there yet who could be transferred.
            Phase::Proceeding | Phase::Ringing => return Err(Reply::retry_after(500, 5)),
        }
        let trunk = usize::from(call.leg(side).trunk.0);
        let policy = self.snapshot.trunks.get(trunk).map(|trunk| trunk.peer.refer);
        if !matches!(policy, Some(Refer::Pass | Refer::Local)) {
            return Err(Reply::new(603));
        }
        if call.referrals.len() >= REFERRALS_MAX {
            return Err(Reply::retry_after(500, 5));
        }
        let destination = Destination::of(request)?;
        if policy == Some(Refer::Local) && destination.replaces.is_none() {
            return self.transfer(now, slot, side, request, from, destination);
        }
        self.pass_refer(now, slot, side, request, from, &destination)
    }

    /// The transferee is asked to call us, and will be routed like any caller of its trunk.
    fn pass_refer(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
        destination: &Destination,
    ) -> Result<(), Reply> {
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        let ours = self.local(call.leg(side.other()).next_hop(
            &self.transactions,
            &self.names,
            &self.snapshot,
        ));
        let trunks = [call.leg(side).trunk, call.leg(side.other()).trunk];
        let trunks = trunks.map(|trunk| self.snapshot.trunks.get(usize::from(trunk.0)));
        let [referrer, transferee] = trunks.map(|trunk| trunk.and_then(|trunk| trunk.numbers.as_deref()));
        let user = dialled_between(referrer, transferee, &destination.user);
        let mut refer_to = format!("<sip:{user}@{ours}").into_bytes();
        if let Some(replaces) = &destination.replaces {
            // A dialog that is not with us cannot be named to the transferee.
            if self.tokens.decode(&replaces.to_tag).is_none() {
                return Err(Reply::new(488));
            }
            let trunk = self.trunk_name(call.leg(side).trunk);
            replaces
                .disguised(&self.tokens, trunk)
                .write_uri_header(&mut refer_to);
        }
        refer_to.push(b'>');
        let referred_by = topology::referrer(request);
        let referred_by = referred_by
            .as_deref()
            .map(|user| caller_between(referrer, transferee, user).into_owned());
        let passed = self.pass_on(now, slot, side, request, from, |w, _| {
            w.header("Refer-To", &refer_to);
            if let Some(user) = &referred_by {
                w.header_fmt("Referred-By", format_args!("<sip:{user}@{ours}>"));
            }
            w.empty_body();
        })?;
        self.io.counters.refers_passed += 1;
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.referrals.push(Referral {
                from: side,
                cseq: request.cseq().map_or(0, |cseq| cseq.number),
                passed,
            });
        }
        Ok(())
    }

    /// A NOTIFY on `side`: the transferee tells how it goes.
    pub(crate) fn notify(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) {
        let outcome = self.pass_notify(now, slot, side, request, from);
        self.answer_refused(now, request, from, outcome);
    }

    fn pass_notify(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) -> Result<(), Reply> {
        let id = refer_event(request)?;
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        let at = call
            .referrals
            .iter()
            .position(|r| r.from == side.other() && id.is_none_or(|id| r.passed == id))
            .ok_or(Reply::new(481))?;
        let referral = call.referrals.get(at).copied().ok_or(Reply::new(481))?;
        let state = topology::subscription_state(request).ok_or(Reply::new(400))?;
        let outcome = match request.body() {
            b"" => None,
            body => Some(topology::sipfrag_status(body).ok_or(Reply::new(400))?),
        };
        self.pass_on(now, slot, side, request, from, |w, _| {
            write_event(w, id.map(|_| referral.cseq));
            w.header("Subscription-State", &state.value);
            match outcome {
                Some(status) => {
                    let line = format!("SIP/2.0 {status} {}\r\n", crate::sip::reason_phrase(status));
                    w.body("message/sipfrag;version=2.0", line.as_bytes());
                }
                None => w.empty_body(),
            }
        })?;
        if state.terminated
            && let Some(call) = self.calls.get_mut(slot as usize)
        {
            call.referrals.remove(at);
        }
        Ok(())
    }

    /// A SUBSCRIBE on `side`: the referrer prolongs or ends its subscription (RFC 3515 §2.4.4).
    pub(crate) fn subscribe(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) {
        let outcome = self.pass_subscribe(now, slot, side, request, from);
        self.answer_refused(now, request, from, outcome);
    }

    fn pass_subscribe(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) -> Result<(), Reply> {
        let id = refer_event(request)?;
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        let referral = call
            .referrals
            .iter()
            .find(|r| r.from == side && id.is_none_or(|id| r.cseq == id))
            .copied()
            // Only a REFER makes such a subscription (RFC 3515 §2.4.4).
            .ok_or(Reply::new(403))?;
        check_body(request)?;
        let expires = topology::seconds(request, HeaderName::Expires);
        self.pass_on(now, slot, side, request, from, |w, _| {
            write_event(w, id.map(|_| referral.passed));
            if let Some(seconds) = expires {
                w.header_fmt("Expires", format_args!("{seconds}"));
            }
            write_body(w, request);
        })?;
        Ok(())
    }

    /// The request `passing` failed: when it was a REFER, nothing will be notified about it.
    pub(super) fn referral_over(&mut self, slot: u32, passing: Passing, method: Method) {
        if method == Method::Refer
            && let Some(call) = self.calls.get_mut(slot as usize)
        {
            call.referrals
                .retain(|r| r.from != passing.from || r.passed != passing.cseq);
        }
    }
}

/// The `id` of an `Event: refer`; any other package is 489 (RFC 6665 §4.2.1.3).
fn refer_event(request: &Message<'_>) -> Result<Option<u32>, Reply> {
    let other = Reply::with(489, Extra::AllowEvents);
    let mut parts = request
        .header(HeaderName::Event)
        .ok_or(other)?
        .split(|&c| c == b';');
    let package = parts.next().unwrap_or_default().trim_ascii();
    if !package.eq_ignore_ascii_case(b"refer") {
        return Err(other);
    }
    for part in parts {
        let (name, value) = part.split_at(memchr::memchr(b'=', part).unwrap_or(part.len()));
        if name.trim_ascii().eq_ignore_ascii_case(b"id") {
            let digits = value.strip_prefix(b"=").unwrap_or_default().trim_ascii();
            return topology::number(digits).map(Some).ok_or(Reply::new(481));
        }
    }
    Ok(None)
}

fn write_event(w: &mut crate::sip::Writer<'_>, id: Option<u32>) {
    match id {
        Some(id) => w.header_fmt("Event", format_args!("refer;id={id}")),
        None => w.header("Event", b"refer"),
    };
}
