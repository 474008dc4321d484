//! From a new INVITE to an answer or a refusal.

use super::session_timer::{Ask, demanded_min, write_agreed};
use super::{
    Abilities, Aim, Answer, AttemptFailure, Call, Caller, History, Hunt, LateOffer, Leg, LegState, Part,
    Party, Phase, Plan, Replaces, Session, Unfit, negotiate::media_of, opening::Opening, secure::choose,
    write_contact,
};
use crate::{
    dialog::{Dialog, DialogError},
    sdp::Sdp,
    shard::{Arrival, Shard},
    sip::{HeaderName, Message, Method, OptionTags, Params, Part as BodyPart, parts},
    snapshot,
    time::Timestamp,
    token::{Token, TokenText},
    topology::{self, Parties},
    traffic::Way,
    transaction::{ALLOW, Ack, Alarm, Extra, Key, Reply, Side, met_hop, retry_after},
};
use smallvec::SmallVec;
use std::sync::Arc;

/// Seconds in Retry-After when no better figure is known.
pub(super) const RETRY_AFTER_S: u16 = 5;

impl Shard {
    /// An INVITE outside any dialog.
    pub(crate) fn invite(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival) {
        self.io.counters.calls_attempted += 1;
        if self.transactions.is_full() {
            self.io.counters.refused_transactions_max += 1;
            let reply = Reply::retry_after(503, RETRY_AFTER_S);
            self.transactions
                .answer_stateless(&mut self.io, request, from.hop, reply);
            return;
        }
        let key = self.transactions.keys.server(request, Method::Invite) as u64;
        if self.overload.is_short(now, key) && !self.is_for_help(request, from.trunk) {
            self.overload.refuse(now, key);
            self.io.counters.refused_overload += 1;
            let reply = Reply::retry_after(503, self.snapshot.overload.retry_after_s);
            self.transactions
                .answer_stateless(&mut self.io, request, from.hop, reply);
            return;
        }
        self.overload.take();
        let server = self
            .transactions
            .accept_invite(&mut self.io, now, request, from.hop, true);
        let placed = match Replaces::of(request) {
            Ok(None) => self.place(now, request, from, server, None),
            Ok(Some(replaces)) => self.replace(now, request, from, server, &replaces),
            Err(_) => {
                self.io.counters.refused_request += 1;
                Err(Reply::new(400))
            }
        };
        if let Err(reply) = placed {
            let tag = self
                .transactions
                .reply_tag(self.transactions.keys.server(request, Method::Invite));
            self.transactions
                .refuse(&mut self.io, now, server, &tag, request, reply);
        }
    }

    /// Check, admit and route a new INVITE, and send it on, or to where `aim` says. `Err`: how to
    /// refuse it.
    pub(super) fn place(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        from: Arrival,
        server: u32,
        aim: Option<Aim>,
    ) -> Result<(), Reply> {
        let snapshot = Arc::clone(&self.snapshot);
        let peer = snapshot
            .trunks
            .get(usize::from(from.trunk.0))
            .map(|trunk| &trunk.peer);
        let reliable = peer.map_or(snapshot::Reliable::Off, |peer| peer.reliable);
        let timer = peer.map(|peer| peer.session_timer).unwrap_or_default();
        let mut checked = self
            .check_invite(now, request, from, reliable, timer)
            .inspect_err(|_| self.io.counters.refused_request += 1)?;
        let mut hunt = match &aim {
            Some(aim) if !self.draining => Hunt::straight(aim.trunk),
            _ => self.route(now, &snapshot, from.trunk, request, &checked.parties)?,
        };
        self.locate(request, from.trunk, hunt.is_emergency(), &mut checked.parties);
        let slot = self.calls.vacant_key() as u32;
        if self.calls.len() >= snapshot.sip.calls_max {
            self.io.counters.refused_calls_max += 1;
            return Err(Reply::retry_after(503, RETRY_AFTER_S));
        }
        let tag_a = self.mint_tag(slot, Side::A);
        let dialog_a = Dialog::uas(request, tag_a).map_err(|error| {
            self.io.counters.refused_request += 1;
            dialog_refusal(error)
        })?;
        let mut history = History::new();
        let Opening {
            to,
            mut targets,
            permit,
            place,
            media,
            sessions: [session_a, session_b],
            ringback,
        } = self.open(
            now,
            &snapshot,
            from,
            &mut hunt,
            &checked.parties,
            aim.as_ref(),
            checked.offer.as_ref(),
            &mut history,
        )?;
        let trunk = &snapshot.trunks[usize::from(to.0)];
        let first = targets.remove(0);
        let mut dialog_b = self.dialog_towards((slot, Side::B), &first, &checked.parties, trunk);
        let replaces = aim.map(|aim| {
            dialog_b.routes = aim.routes;
            aim.replaces
        });
        self.transactions.own_server(server, Some((slot, Side::A)));

        self.io.counters.calls_admitted += 1;
        self.traffic.seized(now, from.trunk, Way::In);
        let mut can = Abilities::default();
        can.hear(request);
        let ours_a = self.local(from.hop).transport;
        let call = Call {
            nonce: self.random(),
            a: Leg {
                trunk: from.trunk,
                state: LegState::Invited(server),
                dialog: dialog_a,
                hop: met_hop(request, from.hop, ours_a),
                session: session_a,
                can,
                party: Party::of_caller(&checked.parties),
                timer: None,
                ask: Some(checked.ask),
                invited: request.cseq().map_or(1, |cseq| cseq.number),
                answer: None,
                digits: None,
            },
            b: Leg {
                trunk: to,
                // Until `launch` below has sent the INVITE.
                state: LegState::Ended,
                dialog: dialog_b,
                hop: first.hop,
                session: session_b,
                can: Abilities::default(),
                party: Party::of_callee(&checked.parties),
                timer: None,
                ask: None,
                invited: 0,
                answer: None,
                digits: None,
            },
            phase: Phase::Proceeding,
            permit: Some(permit),
            media,
            offered: checked.offer.is_some(),
            exchange: None,
            early: None,
            passing: SmallVec::new(),
            referrals: Vec::new(),
            transfer: None,
            turned: false,
            caller: checked.parties.caller.clone(),
            callee: checked.parties.callee.clone(),
            numbers: [checked.parties.calling, checked.parties.called],
            plan: Some(Box::new(Plan {
                offer: checked.offer.map(|sdp| sdp.text().into()),
                parties: checked.parties,
                max_forwards: checked.max_forwards,
                caller: Caller::of(request, reliable),
                reliable: false,
                min_se_s: 0,
                longer: 0,
                bare: false,
                replaces,
                hunt,
                targets,
                attempts: 0,
                // Of several contacts, the next one is tried after any failure that is not global.
                redirected: first.uri.into_iter().collect(),
                ringback,
                held: None,
            })),
            started: now,
            ringing: None,
            answered: None,
            watch: None,
            ringback_watch: None,
            history,
            hold_watch: None,
            outcome: None,
            ended: None,
            received: Vec::new(),
        };
        let placed = self.calls.insert(call);
        debug_assert_eq!(placed, slot as usize);
        self.set_out(now, slot, place);
        self.learn_peers(now, slot);
        self.ring_back_at_once(now, slot);
        Ok(())
    }

    /// What must hold before an INVITE costs anything (§8.2, §16.3).
    pub(super) fn check_invite<'m>(
        &mut self,
        now: Timestamp,
        request: &Message<'m>,
        from: Arrival,
        reliable: snapshot::Reliable,
        timer: snapshot::SessionTimer,
    ) -> Result<Checked<'m>, Reply> {
        let max_forwards = max_forwards_of(request)?;
        let understood = match reliable {
            snapshot::Reliable::Off => OptionTags::TIMER.and(OptionTags::REPLACES),
            _ => OptionTags::ALL,
        };
        check_require(request, understood)?;
        check_accept(request)?;
        let ask = Ask::of(request, timer)?;
        let parties = self.parties_of(now, request, from)?;
        let offer = session_of(request)?;
        if let Some(sdp) = &offer {
            choose(sdp, media_of(&self.snapshot, from.trunk)).map_err(Unfit::reply)?;
        }
        Ok(Checked {
            ask,
            max_forwards,
            parties,
            offer,
        })
    }

    /// The callee answered our first INVITE.
    pub(crate) fn answered(
        &mut self,
        now: Timestamp,
        slot: u32,
        response: &Message<'_>,
        key: Key,
        invite_nonce: u64,
    ) {
        let Some(call) = self.call_mut(slot) else { return };
        let first_tag = call.b.dialog.remote_tag.clone();
        if let Err(error) = call.b.dialog.confirm(response) {
            // Without Contact or tag it can be neither acknowledged nor hung up on.
            self.io.counters.sip_malformed += 1;
            self.warn(slot, || format!("callee's 2xx cannot found a dialog: {error:?}"));
            self.lost_leg(now, slot, Side::B);
            self.end(now, slot, 502, "callee_malformed");
            return;
        }
        call.b.state = LegState::Confirmed;
        call.b.can.hear(response);
        let fork = call
            .early
            .as_mut()
            .and_then(|early| early.take_fork(&call.b.dialog.remote_tag));
        if let Some(fork) = &fork {
            call.b.dialog.remote_cseq = fork.dialog.remote_cseq;
        } else if first_tag != call.b.dialog.remote_tag {
            call.b.dialog.remote_cseq = None; // What another fork has counted.
        }
        call.end_attempt(now, response.status(), "answered");
        let hop = call.b.hop;
        self.served(hop);
        self.stop_attempt_watches(slot);
        self.learn_peers(now, slot);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let to_tag = call.b.dialog.remote_tag.clone();
        let cseq = response.cseq().map_or(1, |c| c.number);
        if call.phase == Phase::Over || !matches!(call.a.state, LegState::Invited(_)) {
            // It crossed our CANCEL (§9.1): acknowledge, then hang up.
            self.transactions.acknowledged(key, &to_tag, Ack::Rebuild);
            self.acknowledge(slot, Side::B, cseq, invite_nonce, None);
            self.send_bye(now, slot, Side::B, None);
            return;
        }
        if let Some(seized) = call.seized() {
            self.traffic.answered(seized, call.b.trunk, Way::Out);
        }
        let offered = call.offered;
        self.agree_as_uac(now, slot, Side::B, response);
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        // What the caller was told reliably it is not told again (RFC 6337 §3.1.1).
        let told = call.early.as_ref().is_some_and(|early| early.caller.told);
        let waits = call
            .early
            .as_ref()
            .is_some_and(|early| early.caller.awaits_prack_of_sdp());
        if call.exchange.is_some() && !fork.as_ref().is_some_and(|fork| fork.settled) {
            self.abort_early_exchange(now, slot); // It was with another fork.
        }
        // Some gateways say it only once, in the 18x.
        let said = fork.as_ref().and_then(|fork| fork.answer.as_deref());
        let sdp = match session_of(response).unwrap_or_default() {
            None if offered => said.and_then(|said| Sdp::parse(said).ok()),
            sdp => sdp,
        };
        let settled = fork.as_ref().is_some_and(|fork| fork.settled);
        let part = Part::after_offer(offered);
        let ours = self.told_by_us(slot);
        let fits = match &sdp {
            Some(sdp) if ours => self.take_answer_after_ours(now, slot, sdp),
            Some(sdp) if told && offered => self.apply_remote_to(now, slot, Side::B, sdp, part),
            Some(_) if told && settled => Ok(()),
            Some(_) if told => Err(Unfit::Media),
            Some(sdp) => self.describe_to(now, slot, Side::A, sdp, part),
            None => Err(Unfit::Media),
        };
        let described = fits.is_ok();
        let late_offer = !offered && described && !told;
        self.transactions
            .acknowledged(key, &to_tag, if late_offer { Ack::Awaited } else { Ack::Rebuild });
        if !late_offer {
            self.acknowledge(slot, Side::B, cseq, invite_nonce, None);
        }
        if (offered || sdp.is_some()) && !described {
            self.warn(slot, || {
                "callee's 2xx brought no SDP that can be passed on".into()
            });
            let status = match fits {
                Err(Unfit::Security | Unfit::Codecs | Unfit::Family) => 488,
                _ => 502,
            };
            self.end(now, slot, status, "no_session");
            return;
        }
        let late = late_offer.then_some(LateOffer {
            key,
            invite_nonce,
            cseq,
        });
        self.end_ringback(slot);
        if waits {
            // RFC 3262 §5; the caller's PRACK lets it go.
            if let Some(early) = self.calls.get_mut(slot as usize).and_then(|c| c.early.as_mut()) {
                early.caller.answer_waits = true;
            }
            return;
        }
        if ours && !told {
            self.describe_again(slot, Side::A);
        }
        self.answer_caller(now, slot, described && !told, late);
    }

    /// Answer the caller's INVITE, with the SDP of the scratch buffer when `described`.
    pub(crate) fn answer_caller(
        &mut self,
        now: Timestamp,
        slot: u32,
        described: bool,
        late: Option<LateOffer>,
    ) {
        let Some(call) = self.calls.get(slot as usize) else {
            return;
        };
        let LegState::Invited(server) = call.a.state else {
            return;
        };
        self.io.counters.calls_answered += 1;
        self.traffic.answered(call.started, call.a.trunk, Way::In);
        self.answer_leg(now, slot, Side::A, server, described, late);
        self.close_early(slot, false);
        let check_after = self.media_check_interval();
        let watch = check_after.map(|after| self.io.timers.insert(now + after, Alarm::MediaCheck(slot)));
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        call.phase = Phase::Answered;
        call.answered = Some(now);
        call.plan = None;
        if let Some(old) = std::mem::replace(&mut call.watch, watch) {
            self.io.timers.cancel(old);
        }
        self.tend_hold(now, slot);
    }

    /// Answer the INVITE `server` on `side` with 200, with the SDP of the scratch buffer when
    /// `described`, and repeat it until it is acknowledged.
    pub(crate) fn answer_leg(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        server: u32,
        described: bool,
        late: Option<LateOffer>,
    ) {
        let Some(call) = self.calls.get(slot as usize) else {
            return;
        };
        let leg = call.leg(side);
        let (tag, ours) = (leg.dialog.local_tag, self.transactions.local(leg.hop));
        let cseq = leg.invited;
        let agreed = self.agree_as_uas(now, slot, side);
        let name = &self.snapshot.sip.server_name;
        let sdp = &self.sdp_scratch;
        let sent = self
            .transactions
            .succeed(&mut self.io, now, server, &tag, |mut w| {
                write_contact(&mut w, &tag, ours);
                w.header("Allow", ALLOW);
                write_agreed(&mut w, agreed);
                w.header("Supported", b"replaces");
                if !name.is_empty() {
                    w.header("Server", name.as_bytes());
                }
                if described {
                    w.body("application/sdp", sdp)
                } else {
                    w.empty_body()
                }
            });
        let Some((hop, response)) = sent else {
            self.io.counters.internal_errors += 1;
            return;
        };
        let t1 = self.base.t1;
        // The far side's 2xx waits for this ACK, too, and its sender gives up after 64·T1.
        let give_up = match late {
            Some(_) => self.base.give_up() * 7 / 8,
            None => self.base.give_up(),
        };
        let answer = Box::new(Answer {
            hop,
            response,
            cseq,
            interval: t1,
            resend: Some(self.io.timers.insert(now + t1, Alarm::AnswerResend(slot, side))),
            expire: Some(
                self.io
                    .timers
                    .insert(now + give_up, Alarm::AnswerExpire(slot, side)),
            ),
            awaits_sdp: late,
            bye_wanted: false,
        });
        if let Some(call) = self.calls.get_mut(slot as usize) {
            let leg = call.leg_mut(side);
            leg.state = LegState::Confirmed;
            leg.answer = Some(answer);
        }
    }

    /// The callee refused our first INVITE; the transaction has acknowledged that.
    pub(crate) fn refused(&mut self, now: Timestamp, slot: u32, response: &Message<'_>) {
        if let Some(min_s) = demanded_min(response)
            && self.try_longer(now, slot, min_s)
        {
            return;
        }
        let status = response.status();
        if status == 488 && self.try_plain(now, slot) {
            return;
        }
        if matches!(status, 413 | 415 | 513) && self.try_bare(now, slot) {
            return;
        }
        if status == 503 {
            self.set_back(now, slot, retry_after(response));
        }
        if self.redirected(now, slot, response) || self.try_next(now, slot, AttemptFailure::Status(status)) {
            return;
        }
        let reason = topology::reason(response);
        self.lost_leg(now, slot, Side::B);
        self.end_with_reason(
            now,
            slot,
            topology::failure_status(response.status()),
            "callee_refused",
            reason,
        );
    }

    pub(crate) fn mint(&mut self, slot: u32) -> TokenText {
        let nonce = self.random();
        self.tokens.encode(Token {
            shard: self.id,
            slot,
            nonce,
        })
    }

    pub(crate) fn mint_tag(&mut self, slot: u32, side: Side) -> TokenText {
        self.mint(slot << 1 | u32::from(side == Side::B))
    }

    pub(super) fn new_session(&mut self) -> Session {
        Session {
            id: self.random() >> 2,
            version: 1,
            ..Session::default()
        }
    }
}

pub(super) struct Checked<'m> {
    pub(super) ask: Ask,
    pub(super) max_forwards: u8,
    pub(super) parties: Parties,
    pub(super) offer: Option<Sdp<'m>>,
}

/// Max-Forwards of what follows from `request` on the other side (§16.3, RFC 7332).
pub(super) fn max_forwards_of(request: &Message<'_>) -> Result<u8, Reply> {
    match request.max_forwards() {
        Ok(Some(0)) => Err(Reply::new(483)),
        Ok(hops) => Ok(hops.map_or(70, |h| h - 1)),
        Err(_) => Err(Reply::new(400)),
    }
}

/// §8.2.2.3: refuse what we do not understand.
pub(crate) fn check_require(request: &Message<'_>, understood: OptionTags) -> Result<(), Reply> {
    let strange = |tag: &[u8]| !OptionTags::named(tag).is_some_and(|known| understood.contains(known));
    if request.list(HeaderName::Require).any(strange) {
        return Err(Reply::with(420, Extra::Unsupported(understood)));
    }
    Ok(())
}

/// §8.2.3, RFC 4475 §3.3.15: the answer to an INVITE is SDP. A caller that accepts other things only could
/// not be told anything.
fn check_accept(request: &Message<'_>) -> Result<(), Reply> {
    let takes_sdp = |range: &[u8]| {
        let kind = range
            .split(|&c| c == b';')
            .next()
            .unwrap_or_default()
            .trim_ascii();
        [&b"application/sdp"[..], b"application/*", b"*/*"]
            .iter()
            .any(|known| kind.eq_ignore_ascii_case(known))
    };
    let mut ranges = request.list(HeaderName::Accept).peekable();
    if ranges.peek().is_none() || ranges.any(takes_sdp) {
        Ok(())
    } else {
        Err(Reply::with(406, Extra::Accept))
    }
}

/// The session description in a message's body, if it has one: all of it, or a part beside others, which need not be
/// understood.
pub(crate) fn session_of<'m>(message: &Message<'m>) -> Result<Option<Sdp<'m>>, Reply> {
    let body = message.body();
    if body.is_empty() {
        return Ok(None);
    }
    let content_type = message.content_type().unwrap_or_default();
    let description = if is_description(content_type) {
        Some(body)
    } else if let Some(parts) = parts(content_type, body) {
        description_in(parts)?
    } else if topology::is_document(content_type) {
        None
    } else {
        return Err(Reply::with(415, Extra::Accept));
    };
    let read = |description| Sdp::parse(description).map_err(|_| Reply::new(488));
    description.map(read).transpose()
}

/// The first session description among `parts`. A part that must be understood (RFC 3261 §20.11), and that nobody here
/// reads, is refused.
fn description_in<'m>(parts: impl Iterator<Item = BodyPart<'m>>) -> Result<Option<&'m [u8]>, Reply> {
    let mut description = None;
    for part in parts {
        let kind = part.header(b"Content-Type").unwrap_or_default();
        let disposition = part.header(b"Content-Disposition").unwrap_or_default();
        let params = disposition.splitn(2, |&c| c == b';').nth(1).unwrap_or_default();
        let handling = Params::new(params).find(b"handling").unwrap_or_default();
        let required = handling.eq_ignore_ascii_case(b"required");
        if is_description(kind) && part.is_plain() {
            description = description.or(Some(part.body));
        } else if is_description(kind) || required && !topology::is_document(kind) {
            return Err(Reply::with(415, Extra::Accept));
        }
    }
    Ok(description)
}

/// Whether this value of Content-Type means a session description.
fn is_description(media_type: &[u8]) -> bool {
    essence(media_type).eq_ignore_ascii_case(b"application/sdp")
}

/// A value of Content-Type without its parameters.
pub(super) fn essence(media_type: &[u8]) -> &[u8] {
    media_type
        .split(|&c| c == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

pub(crate) fn dialog_refusal(error: DialogError) -> Reply {
    match error {
        DialogError::Malformed => Reply::new(400),
        DialogError::TooLarge => Reply::new(513),
    }
}
