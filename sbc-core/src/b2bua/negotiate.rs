//! The session with the peer of one leg (RFC 3264): what it was told, what it said, and what they agree on:
//! addresses, keys, codecs.
//!
//! In: a description that crosses the call from the writer's leg to the reader's, as [`Part`] of an
//! exchange. Out: what the reader is told, in the SDP scratch buffer; and what the relay shall do with the packets
//! of each side. Numbers of payload types are each side's own: what it was told to send by, and what it
//! said it wants.

use super::{
    Media,
    hold::direction_for,
    ptime::{ptime_of, reframes, told_ptime},
    ringback::retain_laws,
    secure::{KeySource, Protection, Security, Unfit, choose, choose_answer},
};
use crate::{
    id::InterfaceId,
    sdp::{
        Adapt, Direction, Format, Kind, Line, RTCP_LOOKALIKES, RTCP_MUX, Reading, Rewrite, Sdp,
        TELEPHONE_EVENT, add_events, allowed, answer, crypto_tag, events_in, offer, reading, remove_events,
        without_origin, write_missing,
    },
    shard::Shard,
    snapshot::{Dtmf, Hold, RtcpMux, Snapshot, Srtp, TrunkMedia},
    text::put,
    time::Timestamp,
    trunk::TrunkId,
};
use sbc_media::{
    relay::{Action, Formats, Relay},
    stream::ClockRates,
};
use smallvec::SmallVec;
use std::{net::IpAddr, ops::Deref};
use zeroize::Zeroize;

/// What a description is in its exchange, on both legs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Offer,
    Answer,
}

impl Part {
    /// Of a description that comes after an offer has gone the other way, if one has.
    pub(crate) fn after_offer(offered: bool) -> Self {
        if offered { Self::Answer } else { Self::Offer }
    }
}

/// A description that is kept. Keys may be in it: they are not shown, and wiped in the end.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Body(Box<[u8]>);

impl From<&[u8]> for Body {
    fn from(text: &[u8]) -> Self {
        Self(text.into())
    }
}

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if memchr::memmem::find(&self.0, b"a=crypto:").is_some() {
            self.0.zeroize();
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} octets", self.0.len())
    }
}

/// The session with one peer (RFC 3264 §8).
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) version: u64,
    /// Our last SDP without its v= and o= lines: the version grows only when it changes. Empty:
    /// none was sent.
    pub(crate) sent: Body,
    /// Hash of the peer's last SDP that holds: the same again changes nothing.
    pub(crate) heard: u64,
    /// The m-lines of the last SDP sent.
    pub(crate) lines: SmallVec<[Line; 2]>,
    /// With a trunk that SRTP is used with.
    pub(super) security: Option<Box<Security>>,
    /// Where one of the call's trunks has a list of codecs.
    pub(super) codecs: Option<Box<Codecs>>,
    /// The clocks of what the peer wants, and so of what the other side sends; `None`: all are of telephony.
    pub(super) clock_rates: Option<Box<ClockRates>>,
    /// RTCP goes by the RTP port: the peer has offered that and is answered so, or has agreed to it.
    pub(super) mux: bool,
    /// What the peer offers goes on without all that is not G.711: it has been answered that, or will be.
    pub(super) laws_only: bool,
    /// The peer has been answered before, by a side of the call that is gone: its offer goes on with what it was told alone.
    pub(super) settled: bool,
    /// The direction in its last offer.
    pub(super) asked: Direction,
}

/// The formats of a leg.
#[derive(Clone, Debug, Default)]
pub(super) struct Codecs {
    /// What the peer was told it may send.
    pub(super) told: Vec<Format>,
    /// What it said it wants.
    pub(super) heard: Vec<Format>,
    /// The packet time in milliseconds that it gets, where we make its packets.
    pub(super) ptime_ms: Option<u32>,
}

impl Session {
    /// Our last SDP, whole.
    pub(crate) fn write(&self, out: &mut Vec<u8>, address: IpAddr) {
        let family = if address.is_ipv4() { "IP4" } else { "IP6" };
        out.clear();
        put!(
            out,
            "v=0\r\no=- ",
            self.id,
            " ",
            self.version,
            " IN ",
            family,
            " ",
            address,
            "\r\n"
        );
        out.extend_from_slice(&self.sent);
    }

    /// Our last SDP was an offer and was refused: what held `before` it holds again, and the
    /// version of the refused one is not used twice.
    pub(crate) fn restore(&mut self, before: Session) {
        if self.sent != before.sent {
            let version = self.version + 1;
            *self = Session { version, ..before };
        }
    }

    /// Our last SDP is about to be sent again, perhaps as an answer, which has one key at most, and no
    /// `a=rtcp-mux` that the peer did not ask for (RFC 5761 §5.1.1).
    pub(super) fn narrow(&mut self) {
        let kept = self.security.as_mut().and_then(|security| security.narrow());
        let parts = self.told_mux() && !self.mux;
        if kept.is_none() && !parts {
            return;
        }
        let mut text = Vec::with_capacity(self.sent.len());
        for line in self.sent.split_inclusive(|byte| *byte == b'\n') {
            let is_kept = |tag| kept.is_none_or(|kept| Some(tag) == kept);
            if crypto_tag(line).is_none_or(is_kept) && !(parts && line == RTCP_MUX) {
                text.extend_from_slice(line);
            }
        }
        self.sent = text.as_slice().into();
        self.version += 1;
        text.zeroize();
    }

    /// Whether our last SDP says that RTCP goes by the RTP port.
    fn told_mux(&self) -> bool {
        let mut lines = self.sent.split_inclusive(|byte| *byte == b'\n');
        lines.any(|line| line == RTCP_MUX)
    }

    /// Whether the next description for the peer, whose trunk has `media`, says that RTCP goes by the RTP port.
    /// `fits`: RTP of the formats in it can be told from RTCP.
    fn tells_mux(&self, part: Part, media: &TrunkMedia, fits: bool) -> bool {
        match (part, media.rtcp_mux) {
            (Part::Answer, _) => self.mux,
            (Part::Offer, RtcpMux::Never) => false,
            // What is in use ends where it is not offered again.
            (Part::Offer, RtcpMux::Accept) => fits && self.mux,
            (Part::Offer, RtcpMux::Offer) => fits,
        }
    }

    /// What the peer said holds, or is about to be answered. Its trunk has `media`; `tracked`: formats
    /// matter. The result is the m-line that is anchored.
    pub(crate) fn hear(
        &mut self,
        sdp: &Sdp<'_>,
        part: Part,
        media: &TrunkMedia,
        tracked: bool,
    ) -> Result<Option<usize>, Unfit> {
        let chosen = match part {
            Part::Offer => match choose(sdp, media) {
                Err(Unfit::Media) => None,
                chosen => Some(chosen?),
            },
            Part::Answer => choose_answer(sdp, media, self.security.as_deref())?,
        };
        let Some(chosen) = chosen else { return Ok(None) };
        let line = sdp.medias().get(chosen.index);
        let agrees = match part {
            Part::Offer => media.rtcp_mux != RtcpMux::Never,
            Part::Answer => self.told_mux(),
        };
        self.mux = agrees && line.is_some_and(|line| line.rtcp_mux() && line.can_mux());
        self.clock_rates = sdp.clock_rates_of(chosen.index);
        if media.srtp != Srtp::Disabled || self.security.is_some() {
            let remote = sdp.remote_of(chosen.index).ok().filter(|remote| !remote.held);
            let security = Security::of(&mut self.security, media);
            security.hear(&chosen, part, remote.map(|remote| remote.rtp));
        }
        if tracked || self.codecs.is_some() {
            let codecs = self.codecs.get_or_insert_default();
            codecs.heard = sdp.formats_of(chosen.index);
            codecs.ptime_ms = Some(ptime_of(sdp, chosen.index, media));
        }
        if part == Part::Offer {
            let remote = sdp.remote_of(chosen.index);
            self.asked = remote.map_or(Direction::Inactive, |remote| remote.effective_direction());
        }
        Ok(Some(chosen.index))
    }

    /// The name of the suite that protects the leg.
    pub(super) fn suite(&self) -> Option<&'static str> {
        Some(self.security.as_ref()?.suite()?.name())
    }
}

/// How media is negotiated with `trunk`.
pub(crate) fn media_of(snapshot: &Snapshot, trunk: TrunkId) -> &TrunkMedia {
    static PLAIN: TrunkMedia = TrunkMedia::PLAIN;
    let trunk = snapshot.trunks.get(usize::from(trunk.0));
    trunk.map_or(&PLAIN, |trunk| &trunk.media)
}

/// Whether formats matter between two trunks: otherwise they pass unread.
pub(crate) fn tracks_formats(snapshot: &Snapshot, trunks: [TrunkId; 2]) -> bool {
    let media = trunks.map(|trunk| media_of(snapshot, trunk));
    let own = |media: &&TrunkMedia| media.codecs.is_some() || media.hold != Hold::Pass;
    media.iter().any(own) || dtmf_between(media).is_some() || reframes(media)
}

/// How each of two trunks exchanges digits in a call between them; `None`: as they come.
pub(super) fn dtmf_between(media: [&TrunkMedia; 2]) -> Option<[Dtmf; 2]> {
    let named = media.map(|media| media.dtmf);
    let passes = named.contains(&Some(Dtmf::Pass)) || named == [None; 2];
    (!passes).then_some(named.map(|dtmf| dtmf.unwrap_or(Dtmf::Auto)))
}

/// A description on its way from the writer's leg to the reader's.
#[derive(Clone, Copy)]
pub(crate) struct Crossing<'a, 'm> {
    pub(crate) sdp: &'a Sdp<'m>,
    pub(crate) part: Part,
    /// Of the writer and of the reader.
    pub(crate) trunks: [TrunkId; 2],
    /// The writer's.
    pub(crate) session: &'a Session,
    /// Our media interface and port towards the reader.
    pub(crate) interface: InterfaceId,
    pub(crate) port: u16,
}

impl Shard {
    /// Write into the SDP scratch buffer what the reader, whose session is `session`, is told. `Err`:
    /// it cannot be told; nothing has changed then.
    pub(crate) fn describe(
        &mut self,
        crossing: &Crossing<'_, '_>,
        session: &mut Session,
    ) -> Result<(), Unfit> {
        let Crossing { sdp, part, port, .. } = *crossing;
        let [from, to] = crossing.trunks.map(|trunk| media_of(&self.snapshot, trunk));
        let chosen = match part {
            Part::Offer => match choose(sdp, from) {
                Err(Unfit::Media) => None,
                chosen => Some(chosen?),
            },
            Part::Answer => choose_answer(sdp, from, crossing.session.security.as_deref())?,
        };
        let index = chosen.map(|chosen| chosen.index);
        let told = index.and_then(|index| formats_for(crossing, session, index, [from, to]));
        let told = told.transpose()?;
        let before = session.security.clone();
        match part {
            Part::Offer => Security::offer(&mut session.security, to, &mut self.key_source),
            Part::Answer => {
                if let Some(security) = &mut session.security {
                    security.answer(&mut self.key_source);
                }
            }
        }
        let remote = index.and_then(|index| sdp.remote_of(index).ok());
        let direction =
            remote.and_then(|remote| direction_for(part, remote.effective_direction(), session, to));
        let fits_mux = match (&told, index.and_then(|index| sdp.medias().get(index))) {
            (Some(told), _) => told
                .iter()
                .all(|format| !RTCP_LOOKALIKES.contains(&format.number)),
            (None, line) => line.is_some_and(|line| line.can_mux()),
        };
        let security = session.security.as_deref();
        let adapt = Adapt {
            line: index
                .or_else(|| sdp.medias().iter().position(|media| media.kind == Kind::Audio))
                .unwrap_or_default(),
            secure: Some(security.is_some_and(|security| security.savp)),
            crypto: security.map_or(&[], Security::lines),
            formats: told.as_deref(),
            mux: session.tells_mux(part, to, fits_mux),
            direction,
            packet_times: index.and_then(|index| told_ptime(sdp, index, [from, to], told.as_deref())),
        };
        let mut rewrite = Rewrite {
            username: "-",
            session_id: session.id,
            session_version: session.version,
            address: self.snapshot.media.advertised(crossing.interface),
            audio: index.map(|index| (index, port)),
        };
        let missing = &crossing.session.lines;
        let present = sdp.medias().len();
        self.sdp_scratch.clear();
        if sdp.rewrite_as(&mut self.sdp_scratch, &rewrite, &adapt).is_err() {
            session.security = before;
            return Err(Unfit::Media);
        }
        write_missing(&mut self.sdp_scratch, present, missing);
        // RFC 3264 §8: the version grows by one when, and only when, something else changes.
        let unchanged = *session.sent == *without_origin(&self.sdp_scratch);
        if !unchanged && !session.sent.is_empty() {
            session.version += 1;
            rewrite.session_version = session.version;
            self.sdp_scratch.clear();
            if sdp.rewrite_as(&mut self.sdp_scratch, &rewrite, &adapt).is_err() {
                return Err(Unfit::Media);
            }
            write_missing(&mut self.sdp_scratch, present, missing);
        }
        if !unchanged {
            session.lines.clear();
            session
                .lines
                .extend(sdp.lines(&adapt).chain(missing.iter().skip(present).copied()));
            session.sent = without_origin(&self.sdp_scratch).into();
        }
        if let Some(told) = told {
            session.codecs.get_or_insert_default().told = told;
        }
        Ok(())
    }
}

/// The formats that the reader is told of; `None`: those of the writer, unread.
fn formats_for(
    crossing: &Crossing<'_, '_>,
    session: &Session,
    index: usize,
    [from, to]: [&TrunkMedia; 2],
) -> Option<Result<Vec<Format>, Unfit>> {
    let dtmf = dtmf_between([from, to]);
    let tracked = from.codecs.is_some()
        || to.codecs.is_some()
        || dtmf.is_some()
        || session.codecs.is_some()
        || crossing.session.codecs.is_some();
    if !tracked {
        return None;
    }
    let mut theirs = allowed(&crossing.sdp.formats_of(index), from.codecs.as_deref());
    if crossing.part == Part::Offer && crossing.session.laws_only {
        retain_laws(&mut theirs);
    }
    if crossing.part == Part::Offer && crossing.session.settled {
        crossing.session.retain_told(&mut theirs);
    }
    let heard = session.codecs.as_ref().map_or(&[][..], |codecs| &codecs.heard);
    let told = match crossing.part {
        Part::Offer => offer(&theirs, to.codecs.as_deref(), heard),
        // It was never read what the reader offered: neither trunk had a list then.
        Part::Answer if heard.is_empty() => Some(theirs),
        Part::Answer => answer(&theirs, &allowed(heard, to.codecs.as_deref())),
    };
    let told = told.map(|mut told| {
        if let Some([_, dtmf]) = dtmf {
            tell_of_events(&mut told, dtmf, crossing, index, session, to);
        }
        told
    });
    Some(told.ok_or(Unfit::Codecs))
}

/// Whether the reader is told of telephone events is between us and it: the other side may exchange digits in another
/// way.
fn tell_of_events(
    told: &mut Vec<Format>,
    dtmf: Dtmf,
    crossing: &Crossing<'_, '_>,
    index: usize,
    session: &Session,
    to: &TrunkMedia,
) {
    if !matches!(dtmf, Dtmf::Auto | Dtmf::Events) {
        return remove_events(told);
    }
    let known = |formats: fn(&Codecs) -> &[Format]| events_in(formats(session.codecs.as_deref()?));
    let heard = known(|codecs| &codecs.heard);
    let lists = |list: &[Box<str>]| list.iter().any(|name| name.eq_ignore_ascii_case(TELEPHONE_EVENT));
    // An answer has nothing that was not offered (RFC 3264 §6.1).
    let unasked = crossing.part == Part::Answer && heard.is_none();
    if unasked || !to.codecs.as_deref().is_none_or(lists) {
        return;
    }
    let media = crossing.sdp.medias().get(index);
    let taken = |number| media.is_some_and(|media| media.payload_types().any(|known| known == number));
    add_events(told, known(|codecs| &codecs.told).or(heard), taken);
}

/// Have the relay time, protect and convert the packets of both sides as their sessions say.
///
/// What leaves under a key of ours is one stream: a receiver of SRTP cannot follow sources that jump in their numbers, and
/// takes what is behind for a replay (RFC 3711 §3.3).
pub(super) fn arm(
    now: Timestamp,
    relay: &mut Relay,
    source: &mut KeySource,
    media: Media,
    sessions: [&mut Session; 2],
) {
    for (at, pair) in media.pairs.into_iter().enumerate() {
        // It sends by the numbers that it was told, and those are the other side's.
        relay.set_clock_rates(pair, sessions[1 - at].clock_rates.as_deref());
    }
    if sessions
        .iter()
        .all(|session| session.security.is_none() && session.codecs.is_none())
    {
        return; // Plain, and all passes: as a pair of ports is to begin with.
    }
    for (at, pair) in media.pairs.into_iter().enumerate() {
        let protection = match &mut sessions[at].security {
            Some(security) => security.protection(),
            None => Protection::Plain,
        };
        match &protection {
            Protection::Plain => relay.set_keys(pair, None),
            Protection::Srtp(keys) => {
                if sessions[at].security.as_mut().is_some_and(|s| s.take_fresh()) {
                    relay.set_keys(pair, None);
                    relay.set_outlet(now, pair, None);
                }
                relay.set_keys(pair, Some(keys));
                if !relay.has_outlet(pair) {
                    relay.set_outlet(now, pair, Some(&source.stream()));
                }
            }
            Protection::Unchanged => {}
        }
        let formats = conversion(sessions[at], sessions[1 - at]);
        relay.set_formats(pair, formats.as_ref());
    }
}

/// How the packets of `own`'s peer are to be read by `other`'s; `None`: as they are.
fn conversion(own: &Session, other: &Session) -> Option<Formats> {
    let (own, other) = (own.codecs.as_ref()?, other.codecs.as_ref()?);
    // Nobody knows yet what the other side wants.
    if other.heard.is_empty() {
        return None;
    }
    let mut formats = Formats([Action::Pass; 128]);
    let mut passes = true;
    for format in &own.told {
        let action = match reading(format, &other.heard) {
            Reading::Same => continue,
            Reading::Number(number) => Action::Renumber(number),
            Reading::AlawToUlaw(number) => Action::AlawToUlaw(number),
            Reading::UlawToAlaw(number) => Action::UlawToAlaw(number),
            Reading::Unknown => Action::Drop,
        };
        if let Some(place) = formats.0.get_mut(usize::from(format.number)) {
            *place = action;
            passes = false;
        }
    }
    (!passes).then_some(formats)
}
