//! What is known about the packets received on one socket: how many, how many are missing, how
//! evenly they arrive.
//!
//! In: header fields and arrival times of accepted packets. Out: counts as
//! RFC 3550 defines them (loss: A.1 and A.3, jitter: A.8), and for a stream with detail bursts
//! (RFC 3611), delay variation, payload types and silence.
//!
//! A packet that is the next one, on time and like the one before touches the counts only. The
//! detail is written where something happens: a loss, a delay, another payload type, a pause.

mod burst;
mod clock;
mod detail;

pub use burst::{BurstLoss, GAP_MIN};
pub use clock::{CLOCK_RATE_DEFAULT, ClockRates};
pub use detail::{DelayVariation, PAYLOADS_MAX, PayloadCount, Payloads, SILENCE_MIN, VARIATION_BOUNDS_MS};

use crate::{
    rtcp::reporter::{Received, Sent},
    rtp::{self, HEADER_LEN},
    time::Timestamp,
};
use detail::Detail;

/// A forward jump of so many sequence numbers or more is not loss (RFC 3550 A.1).
const DROPOUT_MAX: u16 = 3000;
/// A packet so far behind the highest sequence number is not merely late (RFC 3550 A.1).
const MISORDER_MAX: u16 = 100;
/// No sequence number has this value: nothing unusual was seen last.
const NO_STRAY: u32 = 1 << 16;
/// No packet has this payload type.
const NO_PAYLOAD: u8 = 0xff;
/// What one packet carries, when the stream has not shown it.
const PACKET_MS_DEFAULT: f64 = 20.0;

/// Live counts of one direction.
#[derive(Clone, Debug)]
pub struct Stream {
    packets: u64,
    octets: u64,
    /// Sequence numbers that should have arrived, over all sources.
    expected: u64,
    /// When the last packet was accepted; meaningless while `packets` is 0.
    last: Timestamp,
    /// Bit `n`: sequence number `sequence - n` has arrived.
    window: u64,
    /// What few packets change; `None`: only counted.
    detail: Option<Box<Detail>>,
    ssrc: u32,
    /// Arrival minus media timestamp of the last packet, in clock units.
    transit: u32,
    timestamp: u32,
    /// Jitter in sixteenths of a clock unit.
    jitter_16: u32,
    clock_rate: u32,
    /// The number that would follow a stray one: two in a row restart the count.
    stray_next: u32,
    strays: u32,
    duplicates: u32,
    reordered: u32,
    ssrc_changes: u32,
    /// Highest sequence number so far.
    sequence: u16,
    /// Whether `transit` is in units of `clock_rate`.
    transit_known: bool,
    /// Payload type of the last packet.
    payload_type: u8,
}

impl Default for Stream {
    fn default() -> Self {
        Self::new(CLOCK_RATE_DEFAULT)
    }
}

impl Stream {
    /// Nothing received yet; `clock_rate` in Hz is the unit of media timestamps. Without detail.
    pub const fn new(clock_rate: u32) -> Self {
        Self {
            packets: 0,
            octets: 0,
            expected: 0,
            last: Timestamp::ZERO,
            window: 0,
            detail: None,
            ssrc: 0,
            transit: 0,
            timestamp: 0,
            jitter_16: 0,
            clock_rate,
            stray_next: NO_STRAY,
            strays: 0,
            duplicates: 0,
            reordered: 0,
            ssrc_changes: 0,
            sequence: 0,
            transit_known: false,
            payload_type: NO_PAYLOAD,
        }
    }

    /// As [`Stream::new`], with detail. Allocates.
    pub fn detailed(clock_rate: u32) -> Self {
        Self {
            detail: Some(Box::default()),
            ..Self::new(clock_rate)
        }
    }

    /// Begin anew as [`Stream::new`] or [`Stream::detailed`], without allocating.
    pub fn reset(&mut self, clock_rate: u32) {
        let mut detail = self.detail.take();
        if let Some(detail) = &mut detail {
            **detail = Detail::default();
        }
        *self = Self {
            detail,
            ..Self::new(clock_rate)
        };
    }

    /// What clock each payload type has; `None`: [`CLOCK_RATE_DEFAULT`]. Needs detail. Where that of the last packet was
    /// another, jitter is measured anew: it was in units of a wrong clock.
    pub fn set_clock_rates(&mut self, clock_rates: Option<&ClockRates>) {
        let Some(detail) = &mut self.detail else { return };
        if detail.clock_rates.as_deref() != clock_rates {
            detail.clock_rates = clock_rates.cloned().map(Box::new);
        }
        let clock_rate = clock_rates.map_or(CLOCK_RATE_DEFAULT, |rates| rates.of(self.payload_type));
        if clock_rate != self.clock_rate {
            self.jitter_16 = 0;
            self.clock_rate = clock_rate;
            self.transit_known = false;
            detail.packet_units = 0;
        }
    }

    /// Units in a second of the clock of the last packet.
    #[inline]
    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// An RTP packet of `octets` (header included) was accepted at `now`.
    #[inline]
    pub fn received<T: AsRef<[u8]>>(&mut self, now: Timestamp, octets: usize, packet: &rtp::Packet<T>) {
        let first = self.packets == 0;
        if packet.payload_type() != self.payload_type {
            self.payload_changed(packet.payload_type());
        }
        if !first && now.since(self.last) > SILENCE_MIN {
            self.paused(now);
        }
        self.count(now, octets);
        let (sequence, ssrc, timestamp) = (packet.sequence(), packet.ssrc(), packet.timestamp());
        if first || ssrc != self.ssrc {
            self.ssrc_changes += u32::from(!first);
            self.ssrc = ssrc;
            self.restart(now, sequence, timestamp);
            return;
        }
        match sequence.wrapping_sub(self.sequence) {
            // The common case: the next one, or a gap to it.
            ahead @ 1..DROPOUT_MAX => {
                // The oldest packet of the window did not come, or there may be more of those.
                if self.window >> 63 == 0 || ahead > 1 {
                    self.gone(ahead, timestamp);
                }
                self.window = self.window.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
                self.expected += u64::from(ahead);
                self.sequence = sequence;
                self.stray_next = NO_STRAY;
            }
            0 => {
                self.duplicates = self.duplicates.saturating_add(1);
                return;
            }
            behind if behind > u16::MAX - MISORDER_MAX => {
                if self.late(behind.wrapping_neg()) {
                    return;
                }
            }
            _ => {
                if u32::from(sequence) != self.stray_next {
                    // One wild number says nothing; a second that follows it says that the sender
                    // restarted its count.
                    self.stray_next = u32::from(sequence.wrapping_add(1));
                    self.strays = self.strays.saturating_add(1);
                    return;
                }
                // The first of the two was good after all.
                self.strays = self.strays.saturating_sub(1);
                self.expected += 1;
                self.window = self.window << 1 | 1;
                self.restart(now, sequence, timestamp);
                return;
            }
        }
        self.arrived(now, timestamp);
    }

    /// A packet that carries no sequence numbers (RTCP) was accepted at `now`.
    #[inline]
    pub fn count(&mut self, now: Timestamp, octets: usize) {
        self.packets += 1;
        self.octets += octets as u64;
        self.last = now;
    }

    /// When the last packet was accepted.
    pub fn last(&self) -> Option<Timestamp> {
        (self.packets > 0).then_some(self.last)
    }

    /// Packets accepted.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Octets accepted, headers included.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Packets missing: expected minus received (RFC 3550 A.3), where a duplicate is not counted as
    /// received, so that it cannot hide a loss.
    pub fn lost(&self) -> u64 {
        let surplus = u64::from(self.duplicates) + u64::from(self.strays);
        self.expected.saturating_sub(self.packets.saturating_sub(surplus))
    }

    /// Part of the expected packets that is missing, 0 to 1.
    pub fn lost_part(&self) -> f64 {
        match self.expected {
            0 => 0.0,
            expected => self.lost() as f64 / expected as f64,
        }
    }

    /// Packets that arrived again.
    pub fn duplicates(&self) -> u64 {
        self.duplicates.into()
    }

    /// Packets that arrived after a later one.
    pub fn reordered(&self) -> u64 {
        self.reordered.into()
    }

    /// Times the sender changed its SSRC.
    pub fn ssrc_changes(&self) -> u64 {
        self.ssrc_changes.into()
    }

    /// Interarrival jitter in clock units, as an RTCP report carries it.
    pub fn jitter(&self) -> u32 {
        self.jitter_16 >> 4
    }

    /// Interarrival jitter in milliseconds.
    pub fn jitter_ms(&self) -> f64 {
        f64::from(self.jitter_16) / 16.0 * 1000.0 / f64::from(self.clock_rate.max(1))
    }

    /// How the losses were spread; all zero without detail.
    pub fn burst_loss(&self) -> BurstLoss {
        let Some(detail) = &self.detail else {
            return BurstLoss::default();
        };
        let mut now = Detail::clone(detail);
        now.gone(self.window, self.expected, 64);
        now.bursts.summary(self.expected, self.packet_ms())
    }

    /// How much delays differed from packet to packet; all zero without detail.
    pub fn delay_variation(&self) -> DelayVariation {
        let detail = self.detail.as_deref();
        detail.map_or_else(DelayVariation::default, |detail| detail.variation(self.packets))
    }

    /// Payload types seen; none without detail.
    pub fn payloads(&self) -> Payloads {
        let Some(detail) = self.detail.as_deref().filter(|_| self.packets > 0) else {
            return Payloads::default();
        };
        let mut payloads = detail.payloads;
        payloads.add(self.payload_type, self.packets - detail.payload_from);
        payloads.last = Some(self.payload_type);
        payloads
    }

    /// The longest time between two packets, when one was longer than [`SILENCE_MIN`].
    pub fn longest_silence(&self) -> Option<core::time::Duration> {
        let detail = self.detail.as_deref()?;
        (!detail.silence.is_zero()).then_some(detail.silence)
    }

    /// What one packet carries, in milliseconds, as the timestamps of the first packets and of those
    /// beside losses show it; before, 20 ms.
    pub fn packet_ms(&self) -> f64 {
        match self.detail.as_deref().map_or(0, |detail| detail.packet_units) {
            0 => PACKET_MS_DEFAULT,
            units => f64::from(units) * 1000.0 / f64::from(self.clock_rate.max(1)),
        }
    }

    /// What a report of ours says about this stream, without the peer's last report; `None` before
    /// the first packet and without detail. Counts are those of the source heard now.
    pub fn received_report(&self) -> Option<Received> {
        let detail = self.detail.as_deref().filter(|_| self.packets > 0)?;
        let span = self.expected - detail.start;
        let highest = u64::from(detail.base) + span.saturating_sub(1);
        Some(Received {
            ssrc: self.ssrc,
            highest_sequence: highest as u32,
            expected: span,
            lost: self.lost().saturating_sub(detail.lost_before),
            jitter: self.jitter(),
            last_report: None,
        })
    }

    /// What a sender's report of ours says at `now` of this stream where it is relayed as it came; `None` before the
    /// first packet.
    pub fn sent_report(&self, now: Timestamp) -> Option<Sent> {
        let passed = now.since(self.last()?).as_nanos() * u128::from(self.clock_rate) / 1_000_000_000;
        let headers = self.packets * HEADER_LEN as u64;
        Some(Sent {
            ssrc: self.ssrc,
            // A clock, and counts, that wrap.
            timestamp: self.timestamp.wrapping_add(passed as u32),
            packets: self.packets as u32,
            octets: self.octets.saturating_sub(headers) as u32,
        })
    }

    /// Count from `sequence` on: first packet, new source, or a sender that jumped.
    fn restart(&mut self, now: Timestamp, sequence: u16, timestamp: u32) {
        if let Some(detail) = &mut self.detail {
            if self.expected > 0 {
                detail.gone(self.window, self.expected, 64);
                detail.bursts.close();
            }
            detail.start = self.expected;
            detail.base = sequence;
            detail.packet_units = 0;
        }
        self.expected += 1;
        let lost = self.lost();
        if let Some(detail) = &mut self.detail {
            detail.lost_before = lost;
        }
        self.sequence = sequence;
        self.window = 1;
        self.stray_next = NO_STRAY;
        self.timestamp = timestamp;
        self.transit = self.clock(now).wrapping_sub(timestamp);
        self.transit_known = true;
    }

    /// The window moves on by `ahead` packets, the last of which has `timestamp`.
    #[inline(never)]
    fn gone(&mut self, ahead: u16, timestamp: u32) {
        let Some(detail) = &mut self.detail else { return };
        detail.gone(self.window, self.expected, ahead.into());
        let units = timestamp.wrapping_sub(self.timestamp) / u32::from(ahead);
        // A pause, or a packet before this one that came late, makes it seem more and never less.
        // More than a quarter of a second is no packet, and between two clocks there is no difference.
        if self.transit_known
            && (1..=self.clock_rate / 4).contains(&units)
            && (detail.packet_units == 0 || units < detail.packet_units)
        {
            detail.packet_units = units;
        }
    }

    #[inline(never)]
    fn payload_changed(&mut self, payload_type: u8) {
        let before = core::mem::replace(&mut self.payload_type, payload_type);
        let Some(detail) = &mut self.detail else { return };
        if before != NO_PAYLOAD {
            detail.payloads.add(before, self.packets - detail.payload_from);
        }
        detail.payload_from = self.packets;
        if let Some(rates) = &detail.clock_rates {
            let clock_rate = rates.of(payload_type);
            self.change_clock(clock_rate);
        }
    }

    /// The sender goes on by another clock: what was measured stays, in its units.
    fn change_clock(&mut self, clock_rate: u32) {
        let before = core::mem::replace(&mut self.clock_rate, clock_rate);
        if before == clock_rate {
            return;
        }
        let scaled = |units: u32| {
            let units = u64::from(units) * u64::from(clock_rate) / u64::from(before.max(1));
            u32::try_from(units).unwrap_or(u32::MAX)
        };
        self.jitter_16 = scaled(self.jitter_16);
        self.transit_known = false;
        if let Some(detail) = &mut self.detail {
            detail.packet_units = scaled(detail.packet_units);
        }
    }

    #[inline(never)]
    fn paused(&mut self, now: Timestamp) {
        if let Some(detail) = &mut self.detail {
            detail.silence = detail.silence.max(now.since(self.last));
        }
    }

    /// A packet `distance` behind the highest; says whether it is a copy of one that arrived.
    fn late(&mut self, distance: u16) -> bool {
        let bit = 1u64.checked_shl(u32::from(distance)).unwrap_or(0);
        let duplicate = self.window & bit != 0;
        self.window |= bit;
        let count = if duplicate {
            &mut self.duplicates
        } else {
            &mut self.reordered
        };
        *count = count.saturating_add(1);
        duplicate
    }

    /// RFC 3550 A.8, in its integer form.
    #[inline]
    fn arrived(&mut self, now: Timestamp, timestamp: u32) {
        // Packets of one telephone event share a timestamp (RFC 4733 §2.3) and would show up as
        // jitter that no listener hears.
        if timestamp == self.timestamp {
            return;
        }
        let transit = self.clock(now).wrapping_sub(timestamp);
        let difference = transit.wrapping_sub(self.transit).cast_signed().unsigned_abs();
        self.transit = transit;
        self.timestamp = timestamp;
        if !core::mem::replace(&mut self.transit_known, true) {
            return;
        }
        if difference > self.clock_rate / 200 {
            self.varied(difference);
        }
        let decay = (self.jitter_16 + 8) >> 4;
        self.jitter_16 = self.jitter_16.saturating_add(difference.min(1 << 24)) - decay;
    }

    /// A delay differs by more than 5 ms, the first bound of [`VARIATION_BOUNDS_MS`].
    #[inline(never)]
    fn varied(&mut self, difference: u32) {
        if let Some(detail) = &mut self.detail {
            let rate = u64::from(self.clock_rate.max(1));
            detail.varied(u64::from(difference) * 1_000_000 / rate);
        }
    }

    /// `now` in clock units; wraps as media timestamps do.
    fn clock(&self, now: Timestamp) -> u32 {
        let micros = now.as_nanos() / 1000;
        (micros.wrapping_mul(u64::from(self.clock_rate)) / 1_000_000) as u32
    }
}
