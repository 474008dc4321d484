//! Session timers (RFC 4028), one for each leg: a dialog whose other end is gone without a BYE ends.
//!
//! In: Session-Expires and Min-SE of the peer, in INVITE, UPDATE and their 2xx; time. Out: the same
//! header fields in ours; refreshes at half of the interval, when the leg's refreshes are ours; an
//! end of the call a little before the interval is over without any (§10).
//!
//! A refresh of ours is an UPDATE without SDP when the peer allows UPDATE, else a re-INVITE with
//! our last SDP. The other leg hears nothing of it.

use super::{Call, LegState, Phase, write_contact};
use crate::{
    shard::Shard,
    sip::{HeaderName, Message, Method, OptionTags, Params, Writer},
    snapshot,
    time::Timestamp,
    timer_wheel::TimerKey,
    transaction::{ALLOW, Alarm, Extra, Reply, Side},
};
use std::time::Duration;

/// No interval is longer: the timers of a shard have to hold it.
const EXPIRES_MAX_S: u32 = 86_400;

/// The least Session-Expires there is (§4).
const MIN_SE_S: u32 = 90;

/// The session timer of one leg.
#[derive(Debug)]
pub(crate) struct SessionTimer {
    expires_s: u32,
    /// The refreshes are ours, not the peer's.
    ours: bool,
    due: Due,
    pub(super) key: TimerKey,
    /// Our UPDATE that has no answer yet.
    pub(crate) refresh: Option<u32>,
}

/// What a session timer runs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Refresh,
    Expire,
}

/// What a request of the peer said of session timers; answered in our 2xx.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    expires_s: Option<u32>,
    min_s: u32,
    /// Its refresher parameter: `Some(true)` means the peer.
    peer_refreshes: Option<bool>,
    supports: bool,
}

impl Ask {
    /// Read it from an INVITE or UPDATE. `Err`: 422, the interval is too short (§9).
    pub(crate) fn of(request: &Message<'_>, policy: snapshot::SessionTimer) -> Result<Self, Reply> {
        let min_s = min_of(policy);
        let ask = Self {
            expires_s: session_expires(request).map(|(expires_s, _)| expires_s),
            min_s: seconds_of(request, HeaderName::MinSe).unwrap_or(MIN_SE_S),
            peer_refreshes: session_expires(request).and_then(|(_, uac)| uac),
            supports: OptionTags::listed(request, HeaderName::Supported).contains(OptionTags::TIMER)
                || OptionTags::listed(request, HeaderName::Require).contains(OptionTags::TIMER),
        };
        match ask.expires_s {
            // Who does not know the extension could make nothing of a 422.
            Some(asked) if asked < min_s && ask.supports => Err(Reply::with(422, Extra::MinSe(min_s))),
            _ => Ok(ask),
        }
    }

    /// Interval of our 2xx, and whether the peer refreshes (§9, table 2).
    fn answer(self, policy: snapshot::SessionTimer) -> Option<(u32, bool)> {
        let ours_s = policy.expires.as_secs().min(EXPIRES_MAX_S.into()) as u32;
        let asked_s = match (self.expires_s, ours_s) {
            (None, 0) => return None,
            (Some(asked), 0) => asked,
            (None, ours) => ours,
            (Some(asked), ours) => asked.min(ours),
        };
        let expires_s = asked_s.max(self.min_s).max(min_of(policy)).min(EXPIRES_MAX_S);
        Some((expires_s, self.supports && self.peer_refreshes.unwrap_or(true)))
    }
}

/// The header fields about session timers of a request that we send: `min_s` is what the peer
/// will not go below, `refresher_is_us` what holds on this leg so far.
pub(crate) fn write_session_timer(
    w: &mut Writer<'_>,
    expires_s: u32,
    min_s: u32,
    refresher_is_us: Option<bool>,
) {
    if expires_s == 0 {
        return;
    }
    let refresher = match refresher_is_us {
        Some(true) => ";refresher=uac",
        Some(false) => ";refresher=uas",
        None => "",
    };
    w.header_fmt(
        "Session-Expires",
        format_args!("{}{refresher}", expires_s.max(min_s)),
    );
    w.header_fmt("Min-SE", format_args!("{min_s}"));
}

/// The same of a 2xx that we send, from [`Shard::agree_as_uas`].
pub(crate) fn write_agreed(w: &mut Writer<'_>, agreed: Option<(u32, bool)>) {
    let Some((expires_s, peer_refreshes)) = agreed else {
        return;
    };
    let refresher = if peer_refreshes { "uac" } else { "uas" };
    w.header("Supported", b"timer");
    w.header_fmt(
        "Session-Expires",
        format_args!("{expires_s};refresher={refresher}"),
    );
    if peer_refreshes {
        w.header("Require", b"timer");
    }
}

/// Min-SE towards a trunk's peer.
pub(crate) fn min_of(policy: snapshot::SessionTimer) -> u32 {
    (policy.min.as_secs().min(EXPIRES_MAX_S.into()) as u32).max(MIN_SE_S)
}

/// The Min-SE of a 422: what the next attempt must not go below.
pub(crate) fn demanded_min(response: &Message<'_>) -> Option<u32> {
    let min_s = seconds_of(response, HeaderName::MinSe)?;
    (response.status() == 422 && min_s <= EXPIRES_MAX_S).then_some(min_s)
}

fn seconds_of(message: &Message<'_>, header: HeaderName) -> Option<u32> {
    let value = message.header(header)?;
    let digits = value.split(|&c| c == b';').next()?.trim_ascii();
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Session-Expires: seconds, and whether its refresher is the UAC of the transaction.
fn session_expires(message: &Message<'_>) -> Option<(u32, Option<bool>)> {
    let expires_s = seconds_of(message, HeaderName::SessionExpires)?;
    let value = message.header(HeaderName::SessionExpires)?;
    let params = value.iter().position(|&c| c == b';').map(|at| &value[at + 1..]);
    let refresher = params.and_then(|params| Params::new(params).find(b"refresher"));
    let uac = match refresher {
        Some(word) if word.eq_ignore_ascii_case(b"uac") => Some(true),
        Some(word) if word.eq_ignore_ascii_case(b"uas") => Some(false),
        _ => None,
    };
    Some((expires_s, uac))
}

impl Shard {
    /// What the trunk of a leg says of session timers.
    pub(crate) fn session_policy(&self, slot: u32, side: Side) -> snapshot::SessionTimer {
        let trunk = self.calls.get(slot as usize).map(|call| call.leg(side).trunk);
        let trunk = trunk.and_then(|id| self.snapshot.trunks.get(usize::from(id.0)));
        trunk.map_or(
            snapshot::SessionTimer {
                expires: Duration::ZERO,
                min: Duration::ZERO,
            },
            |trunk| trunk.peer.session_timer,
        )
    }

    /// We answer an INVITE or UPDATE of the peer with 2xx: settle the timer and say how. The
    /// interval, and whether the peer refreshes.
    pub(crate) fn agree_as_uas(&mut self, now: Timestamp, slot: u32, side: Side) -> Option<(u32, bool)> {
        let policy = self.session_policy(slot, side);
        let ask = self.calls.get_mut(slot as usize)?.leg_mut(side).ask.take()?;
        let agreed = ask.answer(policy);
        match agreed {
            Some((expires_s, peer)) => self.run_session_timer(now, slot, side, expires_s, !peer),
            None => self.stop_session_timer(now, slot, side),
        }
        agreed
    }

    /// The peer answered our INVITE or UPDATE with 2xx (§7.2). One that knows no timers leaves the
    /// refreshes to us.
    pub(crate) fn agree_as_uac(&mut self, now: Timestamp, slot: u32, side: Side, response: &Message<'_>) {
        let wanted_s = self.session_policy(slot, side).expires.as_secs();
        let wanted_s = wanted_s.min(EXPIRES_MAX_S.into()) as u32;
        match session_expires(response) {
            Some((expires_s, uac)) => {
                self.run_session_timer(now, slot, side, expires_s, uac.unwrap_or(true));
            }
            None if wanted_s > 0 => self.run_session_timer(now, slot, side, wanted_s, true),
            None => self.stop_session_timer(now, slot, side),
        }
    }

    fn run_session_timer(&mut self, now: Timestamp, slot: u32, side: Side, expires_s: u32, ours: bool) {
        self.stop_session_timer(now, slot, side);
        // Whatever a peer says: not every second, and not for ever.
        let expires_s = expires_s.clamp(32, EXPIRES_MAX_S);
        let due = if ours { Due::Refresh } else { Due::Expire };
        let after = match due {
            Due::Refresh => expires_s / 2,
            Due::Expire => expires_s - lead(expires_s),
        };
        let key = self.arm_session_timer(now, slot, side, after);
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.leg_mut(side).timer = Some(SessionTimer {
                expires_s,
                ours,
                due,
                key,
                refresh: None,
            });
        }
    }

    fn arm_session_timer(&mut self, now: Timestamp, slot: u32, side: Side, after_s: u32) -> TimerKey {
        let at = now + Duration::from_secs(after_s.into());
        self.io.timers.insert(at, Alarm::SessionTimer(slot, side))
    }

    /// The session of a leg runs without a timer from now on.
    pub(crate) fn stop_session_timer(&mut self, now: Timestamp, slot: u32, side: Side) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        if let Some(timer) = call.leg_mut(side).timer.take() {
            self.io.timers.cancel(timer.key);
            if let Some(client) = timer.refresh {
                self.transactions.orphan_client(&mut self.io, now, client);
            }
        }
    }

    /// A session timer has run to its end.
    pub(crate) fn session_timer(&mut self, now: Timestamp, slot: u32, side: Side) {
        let Some(call) = self.call_mut(slot) else { return };
        let Some(timer) = &mut call.leg_mut(side).timer else {
            return;
        };
        if timer.due == Due::Expire {
            self.io.counters.sessions_expired += 1;
            return self.end(now, slot, 200, "session_expired");
        }
        let rest_s = timer.expires_s - timer.expires_s / 2 - lead(timer.expires_s);
        let sent = self.refresh(now, slot, side);
        // Another request of ours or of the peer is under way: it refreshes, or there is time yet.
        let (due, after_s) = if sent {
            (Due::Expire, rest_s)
        } else {
            (Due::Refresh, 2)
        };
        self.rearm(now, slot, side, due, after_s);
    }

    fn rearm(&mut self, now: Timestamp, slot: u32, side: Side, due: Due, after_s: u32) {
        let key = self.arm_session_timer(now, slot, side, after_s);
        let timer = self
            .calls
            .get_mut(slot as usize)
            .and_then(|call| call.leg_mut(side).timer.as_mut());
        let old = match timer {
            Some(timer) => {
                timer.due = due;
                std::mem::replace(&mut timer.key, key)
            }
            None => key,
        };
        self.io.timers.cancel(old);
    }

    /// Send a refresh; `false`: not now.
    fn refresh(&mut self, now: Timestamp, slot: u32, side: Side) -> bool {
        let Some(call) = self.calls.get(slot as usize) else {
            return false;
        };
        let is_free = call.exchange.is_none() && call.a.answer.is_none() && call.b.answer.is_none();
        if call.phase != Phase::Answered || call.leg(side).state != LegState::Confirmed || !is_free {
            return false;
        }
        if !call.leg(side).can.update {
            return self.describe_again(slot, side) && self.reinvite_of_ours(now, slot, side);
        }
        let min_s = min_of(self.session_policy(slot, side));
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let leg = call.leg_mut(side);
        let cseq = leg.dialog.next_cseq();
        let hop = leg.next_hop(&self.transactions, &self.names, &self.snapshot);
        let ours = self.transactions.local(hop);
        let mut w = leg
            .dialog
            .request(&mut self.io.scratch, "UPDATE", cseq, &branch, ours, 70);
        write_contact(&mut w, &leg.dialog.local_tag, ours);
        w.header("Allow", ALLOW);
        w.header("Supported", b"timer");
        if let Some(timer) = &leg.timer {
            write_session_timer(&mut w, timer.expires_s, min_s, Some(timer.ours));
        }
        w.empty_body();
        let client =
            self.transactions
                .send(&mut self.io, now, nonce, hop, Method::Update, Some((slot, side)));
        if let Some(timer) = &mut leg.timer {
            timer.refresh = Some(client);
        }
        self.io.counters.session_refreshes += 1;
        true
    }

    /// Whether our UPDATE in `client` was a refresh; it has its final response now.
    pub(crate) fn take_refresh(&mut self, slot: u32, side: Side, client: u32) -> bool {
        let call = self.calls.get_mut(slot as usize);
        let timer = call.and_then(|call| call.leg_mut(side).timer.as_mut());
        timer.is_some_and(|timer| timer.refresh.take_if(|waits| *waits == client).is_some())
    }

    /// The final response to a refresh of ours.
    pub(crate) fn refresh_answered(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        status: u16,
        response: Option<&Message<'_>>,
    ) {
        match (status, response) {
            (200..=299, Some(response)) => {
                if let Some(call) = self.calls.get_mut(slot as usize) {
                    let leg = call.leg_mut(side);
                    leg.can.hear(response);
                    leg.dialog.refresh_target(response);
                }
                self.agree_as_uac(now, slot, side, response);
            }
            // The dialog is gone (RFC 6141 §3.4).
            (408 | 481, _) => self.end(now, slot, 200, "session_expired"),
            // §14.1: 2.1 to 4 s when the Call-ID is ours, else less than 2.
            (491, _) => {
                let after_s = match side {
                    Side::B => 3 + (self.random() % 2) as u32,
                    Side::A => (self.random() % 2) as u32,
                };
                self.rearm(now, slot, side, Due::Refresh, after_s);
            }
            _ => {} // The session may still be refreshed by the peer; else it expires.
        }
    }

    /// The call is over.
    pub(crate) fn stop_session_timers(&mut self, now: Timestamp, slot: u32) {
        self.stop_session_timer(now, slot, Side::A);
        self.stop_session_timer(now, slot, Side::B);
    }
}

/// How long before the end of the interval the call ends (§10).
fn lead(expires_s: u32) -> u32 {
    (expires_s / 3).min(32)
}

impl Call {
    /// Interval and refresher on a leg, for a request that crosses to it.
    pub(crate) fn session_of_leg(&self, side: Side) -> Option<(u32, bool)> {
        let timer = self.leg(side).timer.as_ref()?;
        Some((timer.expires_s, timer.ours))
    }
}
