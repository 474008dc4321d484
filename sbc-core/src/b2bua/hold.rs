//! Comfort noise for a side that the other one holds.
//!
//! In: what both sides' descriptions say of directions, whether the holding side sends, and the option `hold` of the held
//! side's trunk. Out: noise to the held side while it wants to receive and the other one sends nothing: as packets
//! of comfort noise (RFC 3389) where that is agreed, else as G.711 audio. Music that the holding side sends takes
//! over, and when it has been quiet for [`QUIET`] the noise is back.

use super::{Call, Part, Phase, Session, negotiate::media_of, ptime::DEFAULT_MS};
use crate::{
    sdp::Direction,
    shard::Shard,
    snapshot::{Hold, Snapshot, TrunkMedia},
    time::Timestamp,
    transaction::{Alarm, Side},
};
use sbc_media::{
    noise::{ComfortNoise, Noise},
    relay::{Voice, Yield},
    source::Sound,
};
use std::{sync::Arc, time::Duration};

/// A side that has sent nothing for so long is quiet. More than what jitter and loss of some packets make.
const QUIET: Duration = Duration::from_millis(500);
/// Level of the noise in dBm0: to be heard, and not to be listened to.
const LEVEL_DBM0: f32 = -60.0;
/// The same as RFC 3389 §3 has it, in -dBov: 0 dBov is 6.15 dB above 0 dBm0 (G.711 §4: a sine of 3.14 dBm0 reaches the point of
/// overload, and has 3.01 dB less than a square wave that does).
const LEVEL_DBOV: u8 = 66;

/// How to play to the peer of a leg, and by which number it takes comfort noise, if it does.
fn voice_of(session: &Session) -> Option<(Voice, Option<u8>)> {
    let codecs = session.codecs.as_ref()?;
    // What it was told it may send and said that it wants: agreed both ways.
    let wanted = |told: &crate::sdp::Format| {
        let mut heard = codecs.heard.iter();
        heard
            .find(|heard| heard.codec == told.codec)
            .map(|heard| heard.number)
    };
    let voice = codecs.told.iter().find_map(|told| {
        Some(Voice {
            law: told.codec.law()?,
            payload_type: wanted(told)?,
            ptime_ms: codecs.ptime_ms.unwrap_or(DEFAULT_MS),
        })
    })?;
    let noise = codecs.told.iter().filter(|told| told.codec.is_comfort_noise());
    Some((voice, noise.filter_map(wanted).next()))
}

/// The direction that the reader of a description is told instead of the writer's own; `None`: the writer's own.
///
/// A side that shall hear noise has to want to receive: whoever neither sends nor receives is described to it as one that
/// sends. What that side answers or is answered does not matter to whoever asked for silence: nothing it is.
pub(super) fn direction_for(
    part: Part,
    written: Direction,
    reader: &Session,
    media: &TrunkMedia,
) -> Option<Direction> {
    let asked = match part {
        Part::Offer => Direction::SendRecv,
        Part::Answer => reader.asked,
    };
    let plays = media.hold == Hold::Noise && written == Direction::Inactive && asked.receives();
    match asked {
        Direction::Inactive => Some(Direction::Inactive),
        _ if plays => Some(Direction::SendOnly),
        _ => None,
    }
}

impl Call {
    /// How to make noise for `side`, when it is held and wants to hear something.
    fn held_voice(&self, snapshot: &Snapshot, side: Side) -> Option<(Voice, Option<u8>)> {
        let media = self.media.filter(|_| self.phase == Phase::Answered)?;
        let [own, other] = [side, side.other()].map(|side| media.listens[side as usize]);
        let wanted = media_of(snapshot, self.leg(side).trunk).hold == Hold::Noise;
        if !wanted || !own || other {
            return None;
        }
        voice_of(&self.leg(side).session)
    }
}

impl Shard {
    /// The session of a call has changed, or it is time to look again: play noise to whom it is due, and to nobody else.
    pub(crate) fn tend_hold(&mut self, now: Timestamp, slot: u32) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let mut trunks = [call.a.trunk, call.b.trunk].into_iter();
        let wanted = trunks.any(|trunk| media_of(&self.snapshot, trunk).hold == Hold::Noise);
        if !wanted && call.hold_watch.is_none() {
            return;
        }
        let snapshot = Arc::clone(&self.snapshot);
        if let Some(key) = call.hold_watch.take() {
            self.io.timers.cancel(key);
        }
        let Some(media) = call.media.filter(|_| call.phase != Phase::Over) else {
            return;
        };
        let mut watched = false;
        for side in [Side::A, Side::B] {
            let Some(call) = self.calls.get(slot as usize) else {
                return;
            };
            let pair = media.pairs[side as usize];
            if media_of(&snapshot, call.leg(side).trunk).hold == Hold::Noise
                && voice_of(&call.leg(side).session).is_some()
                && !self.relay.has_outlet(pair)
            {
                // From the first packet on, so that a hold later is no other stream.
                self.open_outlet(now, pair);
            }
            let Some(call) = self.calls.get(slot as usize) else {
                return;
            };
            let playing = self
                .relay
                .sound(pair)
                .map(|sound| matches!(sound, Sound::Noise(_) | Sound::Comfort(_)));
            let Some((voice, comfort)) = call.held_voice(&snapshot, side) else {
                if playing == Some(true) {
                    self.relay.stop(pair);
                }
                continue;
            };
            watched = true;
            let other = side.other() as usize;
            let sends = media.sends[other];
            let heard = self.relay.last_received(media.pairs[other]).filter(|_| sends);
            if playing.is_some() || heard.is_some_and(|at| now.since(at) < QUIET) {
                continue; // Digits, too, are better than noise.
            }
            let seed = self.random();
            let sound = match comfort {
                Some(number) => Sound::comfort(ComfortNoise::new(LEVEL_DBOV), number),
                None => Sound::Noise(Noise::new(voice.law, LEVEL_DBM0, seed)),
            };
            let yields = if sends { Yield::ToMedia } else { Yield::Never };
            self.relay.play(now, pair, voice, sound, yields);
        }
        let watch = watched.then(|| self.io.timers.insert(now + QUIET, Alarm::HoldCheck(slot)));
        if let Some(call) = self.calls.get_mut(slot as usize) {
            call.hold_watch = watch;
        }
    }

    /// It is time to look whether a side that holds the other has fallen silent.
    pub(crate) fn hold_check(&mut self, now: Timestamp, slot: u32) {
        if let Some(call) = self.call_mut(slot) {
            call.hold_watch = None;
        }
        self.tend_hold(now, slot);
    }
}
