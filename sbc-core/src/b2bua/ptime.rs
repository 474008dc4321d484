//! Packets of the length that each side wants (`ptime` of its trunk, `a=ptime` of its description).
//!
//! In: that option of both trunks, and what both sides have said of packet times and codecs. Out: the packet time that each
//! side is told, and for each direction how the relay makes its packets of G.711. Between trunks without the option nothing is
//! touched: each side is told what the other says, and gets its packets.

use super::negotiate::{Codecs, media_of};
use crate::{
    sdp::{Format, PacketTimes, Sdp},
    shard::Shard,
    snapshot::TrunkMedia,
    time::Timestamp,
    transaction::Side,
};
use sbc_media::{g711::Law, repacketize::Framing, source::PTIME_MS_MAX};

/// Packet time where a description states none (RFC 3551 §4.5, Table 1).
pub(super) const DEFAULT_MS: u32 = 20;

/// Whether packets of another length are made in calls between two trunks.
pub(super) fn reframes(media: [&TrunkMedia; 2]) -> bool {
    media.iter().any(|media| media.ptime_ms.is_some())
}

/// Milliseconds in a packet for the writer of m-line `index`, whose trunk has `media`: what the trunk has, else what the
/// line says, else what is usual, and no more than the line allows.
pub(super) fn ptime_of(sdp: &Sdp<'_>, index: usize, media: &TrunkMedia) -> u32 {
    let line = sdp.medias().get(index);
    let stated = media.ptime_ms.or_else(|| line?.ptime());
    let most = line.and_then(|line| line.maxptime()).unwrap_or(PTIME_MS_MAX);
    stated.unwrap_or(DEFAULT_MS).min(most).clamp(1, PTIME_MS_MAX)
}

/// What the reader of m-line `index` is told of packet times, between the trunks of its writer and of itself; `told`: the
/// formats that it is told of. `None`: what the writer says.
///
/// We take G.711 in packets of any length, and want what the reader's trunk has; else what saves us the work. Only packets of
/// other codecs must not be longer than the writer wants them.
pub(super) fn told_ptime(
    sdp: &Sdp<'_>,
    index: usize,
    [from, to]: [&TrunkMedia; 2],
    told: Option<&[Format]>,
) -> Option<PacketTimes> {
    let ptime_ms = to.ptime_ms.or(from.ptime_ms)?;
    let passes = |format: &Format| format.codec.is_speech() && format.codec.law().is_none();
    let most = sdp.medias().get(index).and_then(|line| line.maxptime());
    let maxptime_ms = most.filter(|_| told.is_none_or(|told| told.iter().any(passes)));
    Some(PacketTimes {
        ptime_ms: maxptime_ms.map_or(ptime_ms, |most| most.min(ptime_ms)),
        maxptime_ms,
    })
}

/// How packets leave for a peer of which `codecs` are known; `None`: no G.711 is agreed with it.
fn framing_of(codecs: &Codecs) -> Option<Framing> {
    let laws = [Law::Mu, Law::A].map(|law| {
        let is_law = |format: &&Format| format.codec.law() == Some(law);
        // What it said that it wants, and was told of: agreed both ways.
        let wanted = codecs.heard.iter().find(is_law);
        wanted
            .filter(|_| codecs.told.iter().any(|told| is_law(&told)))
            .map(|format| format.number)
    });
    let framing = Framing {
        ptime_ms: codecs.ptime_ms.unwrap_or(DEFAULT_MS),
        laws,
    };
    (laws != [None; 2]).then_some(framing)
}

impl Shard {
    /// What is known of one of the sides has changed: have the relay make the packets that each wants.
    pub(super) fn arm_framing(&mut self, now: Timestamp, slot: u32) {
        let Some(call) = self.calls.get(slot as usize) else {
            return;
        };
        let Some(media) = call.media else { return };
        let trunks = [call.a.trunk, call.b.trunk].map(|trunk| media_of(&self.snapshot, trunk));
        let wanted = reframes(trunks);
        let is_plain = |&pair| self.relay.framing(pair).is_none();
        if !wanted && media.pairs.iter().all(is_plain) {
            return;
        }
        let framings = [Side::A, Side::B].map(|side| {
            let codecs = call.leg(side).session.codecs.as_deref().filter(|_| wanted);
            codecs.and_then(framing_of)
        });
        for (pair, framing) in media.pairs.into_iter().zip(framings) {
            if framing.is_some() {
                self.open_outlet(now, pair);
            }
            self.relay.set_framing(pair, framing.as_ref());
        }
    }
}
