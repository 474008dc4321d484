//! Calls as an operator sees them.

use super::{Call, Digits, LegState, Media, Phase};
use crate::{
    admin::protocol::{
        CallDetail, CallSummary, LegDetail, MediaDetail, MediaDigits, MediaQuality, MediaRefused, PayloadSeen,
    },
    shard::Shard,
    time::Timestamp,
    transaction::Side,
    trunk::TrunkId,
};
use sbc_media::{relay::StreamStats, source::Sound};
use std::time::Duration;

/// Every state of a call and of its legs, as [`Shard::visit_states`] names it.
const STATES: [&str; 20] = [
    "call proceeding",
    "call ringing",
    "call answered",
    "call ending",
    "call with an exchange under way",
    "call with a request on its way through",
    "call with early dialogs",
    "call with a provisional response that waits for its PRACK",
    "call whose answer waits for a PRACK",
    "leg A with a session timer",
    "leg B with a session timer",
    "connection",
    "leg A invited",
    "leg A confirmed",
    "leg A awaiting ACK",
    "leg A ending",
    "leg B inviting",
    "leg B confirmed",
    "leg B awaiting ACK",
    "leg B ending",
];

impl Shard {
    /// Every state that [`Shard::visit_states`] can name.
    pub fn states() -> impl Iterator<Item = &'static str> {
        STATES.into_iter().chain(crate::transaction::STATES)
    }

    /// Name the state of every call, leg and transaction: for tests that must reach them all. Goes
    /// through everything; with `finished`, also through transactions that only absorb, which are
    /// many. Not for production traffic.
    pub fn visit_states(&self, finished: bool, visit: &mut dyn FnMut(&'static str)) {
        for (_, call) in &self.calls {
            visit(match call.phase {
                Phase::Proceeding => "call proceeding",
                Phase::Ringing => "call ringing",
                Phase::Answered => "call answered",
                Phase::Over => "call ending",
            });
            if call.exchange.is_some() {
                visit("call with an exchange under way");
            }
            if !call.passing.is_empty() {
                visit("call with a request on its way through");
            }
            if let Some(early) = &call.early {
                visit("call with early dialogs");
                if early.caller.unacked.is_some() {
                    visit("call with a provisional response that waits for its PRACK");
                }
                if early.caller.answer_waits {
                    visit("call whose answer waits for a PRACK");
                }
            }
            if call.a.timer.is_some() {
                visit("leg A with a session timer");
            }
            if call.b.timer.is_some() {
                visit("leg B with a session timer");
            }
            for (leg, a) in [(&call.a, true), (&call.b, false)] {
                let name = match (leg.state, a) {
                    (LegState::Invited(_), _) => "leg A invited",
                    (LegState::Inviting(_), _) => "leg B inviting",
                    (LegState::Confirmed, true) if leg.answer.is_some() => "leg A awaiting ACK",
                    (LegState::Confirmed, false) if leg.answer.is_some() => "leg B awaiting ACK",
                    (LegState::Confirmed, true) => "leg A confirmed",
                    (LegState::Confirmed, false) => "leg B confirmed",
                    (LegState::Ending, true) => "leg A ending",
                    (LegState::Ending, false) => "leg B ending",
                    (LegState::Ended, _) => continue,
                };
                visit(name);
            }
        }
        if self.io.streams.len() > 0 {
            visit("connection");
        }
        self.transactions.visit_states(finished, visit);
    }

    /// Our id of a call: shard, slot and 16 bits that tell it from earlier calls in the slot.
    pub(crate) fn call_id_text(&self, slot: u32, nonce: u64) -> String {
        format!("{}-{slot}-{:04x}", self.id.0, nonce as u16)
    }

    /// The slot of the call with this id.
    pub(crate) fn call_by_id(&self, id: &str) -> Option<u32> {
        let mut parts = id.split('-');
        let shard: u8 = parts.next()?.parse().ok()?;
        let slot: u32 = parts.next()?.parse().ok()?;
        let nonce = u16::from_str_radix(parts.next()?, 16).ok()?;
        let call = self.calls.get(slot as usize)?;
        (parts.next().is_none() && shard == self.id.0 && call.nonce as u16 == nonce).then_some(slot)
    }

    pub(crate) fn call_rows(&self, now: Timestamp, after: Option<u32>, limit: usize) -> Vec<CallSummary> {
        let first = after.map_or(0, |slot| slot as usize + 1);
        // Slots are looked at in order up to the highest in use; holes cost one look each.
        (first..self.calls.capacity())
            .filter_map(|slot| self.calls.get(slot).map(|call| (slot as u32, call)))
            .take(limit)
            .map(|(slot, call)| self.call_row(now, slot, call))
            .collect()
    }

    fn call_row(&self, now: Timestamp, slot: u32, call: &Call) -> CallSummary {
        CallSummary {
            id: self.call_id_text(slot, call.nonce),
            shard: self.id.0,
            slot,
            state: call.phase.name().to_owned(),
            from_trunk: self.trunk_name(call.a.trunk).to_owned(),
            to_trunk: self.trunk_name(call.b.trunk).to_owned(),
            caller: call.caller.to_string(),
            callee: call.callee.to_string(),
            age_ms: now.since(call.started).as_millis() as u64,
        }
    }

    /// Empty when the trunk is no more.
    pub(super) fn trunk_name(&self, trunk: TrunkId) -> &str {
        let trunk = self.snapshot.trunks.get(usize::from(trunk.0));
        trunk.map_or("", |trunk| &trunk.name)
    }

    pub(crate) fn call_detail(&self, now: Timestamp, slot: u32) -> Option<CallDetail> {
        let call = self.calls.get(slot as usize)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let legs = [Side::A, Side::B]
            .map(|side| {
                let leg = call.leg(side);
                LegDetail {
                    leg: side_name(side),
                    trunk: self.trunk_name(leg.trunk).to_owned(),
                    call_id: text(&leg.dialog.call_id),
                    peer: leg.hop.peer.to_string(),
                    local_tag: text(&leg.dialog.local_tag),
                    remote_tag: text(&leg.dialog.remote_tag),
                    state: match leg.state {
                        LegState::Invited(_) => "invited",
                        LegState::Inviting(_) => "inviting",
                        LegState::Confirmed if leg.answer.is_some() => "awaiting ACK",
                        LegState::Confirmed => "confirmed",
                        LegState::Ending => "awaiting answer to BYE",
                        LegState::Ended => "ended",
                    }
                    .to_owned(),
                }
            })
            .to_vec();
        let media = call.media.map_or_else(Vec::new, |media| {
            let mut details = self.media_details(now, slot, media);
            for (detail, side) in details.iter_mut().zip([Side::A, Side::B]) {
                let session = &call.leg(side).session;
                detail.srtp = session.suite().map(str::to_owned);
                detail.rtcp_mux = session.mux;
            }
            details
        });
        let [calling, called] = call.numbers.map(|number| number.map(|number| number.to_string()));
        Some(CallDetail {
            summary: self.call_row(now, slot, call),
            calling_number: calling,
            called_number: called,
            legs,
            media,
            attempts: self.attempt_details(call.started, &call.history),
        })
    }

    /// What came from both sides of the call in `slot`, which has `media`, A first.
    pub(super) fn media_details(&self, now: Timestamp, slot: u32, media: Media) -> Vec<MediaDetail> {
        let call = self.calls.get(slot as usize);
        let detail = |side: Side| {
            let (pair, port) = (media.pairs[side as usize], media.ports[side as usize]);
            let digits = call.and_then(|call| call.leg(side).digits.as_deref());
            MediaDetail {
                digits: digits.and_then(digits_of),
                ..self.media_detail(now, side, pair, port)
            }
        };
        vec![detail(Side::A), detail(Side::B)]
    }

    fn media_detail(
        &self,
        now: Timestamp,
        side: Side,
        pair: sbc_media::relay::PairIndex,
        port: u16,
    ) -> MediaDetail {
        let stats = self.relay.stats(pair);
        let address = |a: Option<std::net::SocketAddr>| a.map_or_else(String::new, |a| a.to_string());
        MediaDetail {
            leg: side_name(side),
            port,
            signalled: address(stats.signalled),
            latched: address(stats.latched),
            packets: stats.packets,
            octets: stats.octets,
            lost: stats.lost,
            jitter_ms: stats.jitter_ms,
            idle_ms: stats.last_received.map(|at| now.since(at).as_millis() as u64),
            wrong_source: stats.wrong_source,
            refused: MediaRefused {
                stranger: stats.stranger.map(|from| from.to_string()),
                malformed: stats.malformed,
                no_destination: stats.no_destination,
                format: stats.format,
                displaced: stats.displaced,
                srtp_bad_tag: stats.srtp_bad_tag,
                srtp_replayed: stats.srtp_replayed,
                srtp_failed: stats.srtp_failed,
            },
            srtp: None,
            rtcp_mux: false,
            ptime_ms: self.relay.framing(pair).map(|framing| framing.ptime_ms),
            digits: None,
            played: self.relay.sound(pair).map(|sound| sound_name(sound).to_owned()),
            quality: quality(&stats),
        }
    }
}

/// `None`: they pass as they come, and are not counted.
fn digits_of(digits: &Digits) -> Option<MediaDigits> {
    let counted = digits.heard + digits.told + digits.ignored + digits.missed > 0;
    (digits.converts || counted).then(|| MediaDigits {
        method: digits.way.map(|way| way.name().to_owned()),
        heard: digits.heard,
        told: digits.told,
        ignored: digits.ignored,
        lost: digits.missed,
    })
}

fn quality(stats: &StreamStats) -> MediaQuality {
    // Three digits are more than anybody reads, and keep the text short.
    let round = |value: f64| (value * 1000.0).round() / 1000.0;
    let percent = |part: f64| round(100.0 * part);
    let ms = |time: Duration| round(time.as_secs_f64() * 1000.0);
    let (loss, variation) = (stats.burst_loss, stats.delay_variation);
    MediaQuality {
        loss_percent: percent(stats.lost_part),
        reordered: stats.reordered,
        duplicates: stats.duplicates,
        bursts: loss.bursts,
        burst_ms: round(loss.burst_ms),
        burst_loss_percent: percent(loss.burst_density),
        gap_loss_percent: percent(loss.gap_density),
        delay_variation_max_ms: round(variation.max_ms),
        delay_variation_p95_ms: round(variation.bound_ms(0.95)),
        longest_silence_ms: stats.longest_silence.map(|time| time.as_millis() as u64),
        ssrc_changes: stats.ssrc_changes,
        payloads: (stats.payloads.seen().iter())
            .map(|seen| PayloadSeen {
                payload_type: seen.payload_type,
                packets: seen.packets,
            })
            .collect(),
        payload_last: stats.payloads.last,
        round_trip_ms: stats.round_trip.map(ms),
        round_trip_max_ms: stats.round_trip_longest.map(ms),
        heard_loss_percent: stats.heard.map(|heard| percent(heard.loss)),
        rtcp_packets: stats.rtcp_packets,
        rtcp_removed: stats.rtcp_removed,
        r_factor: stats.rating.map(|rating| round(rating.r)),
        mos: stats.rating.map(|rating| round(rating.mos)),
    }
}

fn side_name(side: Side) -> String {
    match side {
        Side::A => "A".to_owned(),
        Side::B => "B".to_owned(),
    }
}

/// What a sound is called.
fn sound_name(sound: &Sound) -> &'static str {
    match sound {
        Sound::Tone(_) => "ringback",
        Sound::Noise(_) | Sound::Comfort(_) => "comfort_noise",
        Sound::Digits(_) | Sound::Events(..) => "digits",
    }
}
