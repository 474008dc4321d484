//! What a caller is told and played of our own until the callee answers (docs/adr/0006).
//!
//! In: the caller's trunk and offer, and what the callee's side says. Out: a 180 at once, or a 183 with our answer to the
//! caller's offer and a ringback tone. A call that may get a tone is one of G.711 from its first INVITE on: so
//! the callee's answer, whatever it is, agrees with what the caller was told before.

use super::{
    Call, Media, Part, Phase, Session, Unfit,
    negotiate::{arm, dtmf_between, media_of},
    ptime::{ptime_of, told_ptime},
    secure::{Security, choose, choose_answer},
};
use crate::{
    sdp::{Adapt, Direction, Format, Rewrite, Sdp, allowed, answer, offer, remove_events, without_origin},
    shard::Shard,
    snapshot::{self, Dtmf, TrunkMedia},
    time::Timestamp,
    transaction::Side,
};
use sbc_media::{
    relay::{Voice, Yield},
    source::Sound,
    tone::{self, Country, Meaning, Player, Tone},
};
use std::{sync::Arc, time::Duration};

/// What says nothing new is told to the caller again after so long. RFC 3261 §13.3.1.1 has the callee repeat itself
/// every minute, and proxies on the caller's side live by that.
const REPEATED_AFTER: Duration = Duration::from_secs(30);

/// What is done for the caller of a call until its callee answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ringback {
    kind: snapshot::Ringback,
    country: Option<Country>,
    /// The caller was given an answer of ours to its offer: it hears no other one.
    told: bool,
    /// When the caller was last told that the callee's side is at it.
    said: Option<Timestamp>,
}

impl Ringback {
    /// What the callee's side says is passed on.
    pub(super) const NONE: Self = Self {
        kind: snapshot::Ringback::Pass,
        country: None,
        told: false,
        said: None,
    };

    /// Of a call with this offer between trunks with `from` and `to`.
    pub(super) fn of(sdp: Option<&Sdp<'_>>, [from, to]: [&TrunkMedia; 2]) -> Self {
        let mut ringback = Self {
            kind: from.ringback,
            country: from.ringback_tone,
            ..Self::NONE
        };
        if ringback.has_tone() && !sdp.is_some_and(|sdp| can_be_played(sdp, from, to)) {
            ringback.kind = snapshot::Ringback::Ringing;
        }
        ringback
    }

    /// Whether the caller may get a tone.
    pub(super) fn has_tone(&self) -> bool {
        matches!(
            self.kind,
            snapshot::Ringback::Tone | snapshot::Ringback::InstantTone
        )
    }
}

/// Whether the sender of an offer can be played a tone, and the callee's side can still answer it afterwards.
fn can_be_played(sdp: &Sdp<'_>, from: &TrunkMedia, to: &TrunkMedia) -> bool {
    let Ok(chosen) = choose(sdp, from) else {
        return false;
    };
    let Ok(remote) = sdp.remote_of(chosen.index) else {
        return false;
    };
    let mut formats = allowed(&sdp.formats_of(chosen.index), from.codecs.as_deref());
    retain_laws(&mut formats);
    remote.direction == Direction::SendRecv
        && !remote.held
        && formats.iter().any(|format| format.codec.law().is_some())
        && offer(&formats, to.codecs.as_deref(), &[])
            .is_some_and(|told| told.iter().any(|format| format.codec.law().is_some()))
}

/// Keep the laws of G.711 and telephone events.
pub(super) fn retain_laws(formats: &mut Vec<Format>) {
    formats.retain(|format| format.codec.law().is_some() || format.codec.is_event());
}

/// How to play to the writer of m-line `index`, whose trunk has `media` and which was told `told`.
fn voice(sdp: &Sdp<'_>, index: usize, media: &TrunkMedia, told: &[Format]) -> Option<Voice> {
    let (law, payload_type) = told
        .iter()
        .find_map(|format| Some((format.codec.law()?, format.number)))?;
    Some(Voice {
        law,
        payload_type,
        ptime_ms: ptime_of(sdp, index, media),
    })
}

impl Call {
    fn ringback_mut(&mut self) -> Option<&mut Ringback> {
        self.plan.as_mut().map(|plan| &mut plan.ringback)
    }
}

impl Shard {
    /// The callee has just been invited: tell the caller what is told at once.
    pub(super) fn ring_back_at_once(&mut self, now: Timestamp, slot: u32) {
        let plan = self.calls.get(slot as usize).and_then(|call| call.plan.as_ref());
        let Some(kind) = plan.map(|plan| plan.ringback.kind) else {
            return;
        };
        match kind {
            snapshot::Ringback::Pass | snapshot::Ringback::Tone => return,
            snapshot::Ringback::InstantTone if self.begin_tone(now, slot) => return,
            snapshot::Ringback::Ringing | snapshot::Ringback::InstantTone => {}
        }
        if let Some(ringback) = self.calls.get_mut(slot as usize).and_then(Call::ringback_mut) {
            ringback.said = Some(now);
        }
        self.tell_caller(now, slot, 180, false);
    }

    /// The callee's side has said `status`, with the description in the SDP scratch buffer when `described`: tell the
    /// caller of it as its trunk wants.
    pub(super) fn ring_back(&mut self, now: Timestamp, slot: u32, status: u16, described: bool) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let undescribed = call.a.session.sent.is_empty();
        let Some(ringback) = call.ringback_mut() else {
            return;
        };
        if ringback.has_tone()
            && !ringback.told
            && undescribed
            && status == 180
            && !described
            && self.begin_tone(now, slot)
        {
            return;
        }
        let Some(ringback) = self.calls.get_mut(slot as usize).and_then(Call::ringback_mut) else {
            return;
        };
        let mut status = status;
        if let (Some(said), 180 | 183, false) = (ringback.said, status, described) {
            if now.since(said) < REPEATED_AFTER {
                return;
            }
            ringback.said = Some(now);
            if ringback.told {
                // A 180 would have the caller's own tone begin.
                status = 183;
            }
        }
        self.tell_caller(now, slot, status, described);
    }

    /// Whether the caller has been given an answer of ours to its offer.
    pub(super) fn told_by_us(&self, slot: u32) -> bool {
        let plan = self.calls.get(slot as usize).and_then(|call| call.plan.as_ref());
        plan.is_some_and(|plan| plan.ringback.told)
    }

    /// Answer the caller's offer by ourselves, in a 183, and play it the tone. `false`: that cannot be done, and nothing
    /// has changed.
    fn begin_tone(&mut self, now: Timestamp, slot: u32) -> bool {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        let (Some(plan), Some(media)) = (&call.plan, call.media) else {
            return false;
        };
        let (Some(country), Some(body)) = (plan.ringback.country, plan.offer.clone()) else {
            return false;
        };
        let trunks = [call.a.trunk, call.b.trunk];
        let mut session = std::mem::take(&mut call.a.session);
        let snapshot = Arc::clone(&self.snapshot);
        let voice = Sdp::parse(&body).ok().and_then(|sdp| {
            self.answer_offer(
                &sdp,
                &mut session,
                trunks.map(|trunk| media_of(&snapshot, trunk)),
                media.ports[Side::A as usize],
            )
        });
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return false;
        };
        call.a.session = session;
        let Some(voice) = voice else { return false };
        if let Some(ringback) = call.ringback_mut() {
            (ringback.told, ringback.said) = (true, Some(now));
        }
        let sessions = [&mut call.a.session, &mut call.b.session];
        arm(now, &mut self.relay, &mut self.key_source, media, sessions);
        let tone = Tone::of(country, Meaning::Ringback);
        let player = Player::new(tone, voice.law, tone::LEVEL_DBM0);
        let pair = media.pairs[Side::A as usize];
        self.open_outlet(now, pair);
        self.relay
            .play(now, pair, voice, Sound::Tone(player), Yield::ToMedia);
        self.io.counters.ringback_tones += 1;
        self.tell_caller(now, slot, 183, true);
        true
    }

    /// Write into the SDP scratch buffer our answer to the caller's offer `sdp`, the first that it is told: one law of
    /// G.711, and events. The result is how to play to the caller.
    fn answer_offer(
        &mut self,
        sdp: &Sdp<'_>,
        session: &mut Session,
        [media, other]: [&TrunkMedia; 2],
        port: u16,
    ) -> Option<Voice> {
        let index = choose(sdp, media).ok()?.index;
        let mut told = allowed(&sdp.formats_of(index), media.codecs.as_deref());
        retain_laws(&mut told);
        let law = told.iter().position(|format| format.codec.law().is_some())?;
        let favourite = told.remove(law);
        told.retain(|format| format.codec.law().is_none());
        told.insert(0, favourite);
        let dtmf = dtmf_between([media, other]).map(|[dtmf, _]| dtmf);
        if !matches!(dtmf, None | Some(Dtmf::Auto | Dtmf::Events)) {
            remove_events(&mut told);
        }
        let voice = voice(sdp, index, media, &told)?;
        if let Some(security) = &mut session.security {
            security.answer(&mut self.key_source);
        }
        let security = session.security.as_deref();
        let adapt = Adapt {
            line: index,
            secure: Some(security.is_some_and(|security| security.savp)),
            crypto: security.map_or(&[], Security::lines),
            formats: Some(&told),
            mux: session.mux,
            direction: None,
            packet_times: told_ptime(sdp, index, [other, media], Some(&told)),
        };
        let rewrite = Rewrite {
            username: "-",
            session_id: session.id,
            session_version: session.version,
            address: self.snapshot.media.advertised(media.interface),
            audio: Some((index, port)),
        };
        self.sdp_scratch.clear();
        // An answer that is like the offer: its lines in its order, and it sends and receives, too.
        sdp.rewrite_as(&mut self.sdp_scratch, &rewrite, &adapt).ok()?;
        session.lines.clear();
        session.lines.extend(sdp.lines(&adapt));
        session.sent = without_origin(&self.sdp_scratch).into();
        let codecs = session.codecs.get_or_insert_default();
        // What else it offered it need not understand any more (RFC 3264 §7).
        codecs.heard.clone_from(&told);
        codecs.told = told;
        Some(voice)
    }

    /// The callee, which has answered with `sdp`, talks to a caller that was answered by us.
    pub(super) fn take_answer_after_ours(
        &mut self,
        now: Timestamp,
        slot: u32,
        sdp: &Sdp<'_>,
    ) -> Result<(), Unfit> {
        let call = self.calls.get(slot as usize).ok_or(Unfit::Media)?;
        let media = media_of(&self.snapshot, call.b.trunk);
        let security = call.b.session.security.as_deref();
        let chosen = choose_answer(sdp, media, security)?.ok_or(Unfit::Media)?;
        let answered = allowed(&sdp.formats_of(chosen.index), media.codecs.as_deref());
        let known = call.a.session.codecs.as_deref();
        let wanted = known.map_or(&[][..], |codecs| &codecs.heard);
        answer(&answered, wanted).ok_or(Unfit::Codecs)?;
        self.apply_remote_to(now, slot, Side::B, sdp, Part::Answer)
    }

    /// The callee has answered: what the caller hears from now on is the callee's.
    pub(super) fn end_ringback(&mut self, slot: u32) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        call.a.session.laws_only = false;
        if let (Some(Media { pairs, .. }), true) = (call.media, call.phase != Phase::Over)
            && call.plan.as_ref().is_some_and(|plan| plan.ringback.told)
        {
            self.relay.stop(pairs[Side::A as usize]);
        }
    }
}
