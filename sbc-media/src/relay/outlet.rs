//! The outlet of a pair: everything that leaves for its peer is one stream, be it relayed or of our own.
//!
//! In: packets of the other side on their way to the peer, sounds to play, time. Out: the same packets with the
//! numbers of the stream ([`Splice`]), packets of our own when they are due, and what of this call control wants to
//! know. Our packets leave only where the other side's could: to a peer that is on hold nothing is sent (RFC 3264
//! §8.4), and what is played waits.

use super::{DropReason, MediaSocket, PairIndex, Relay, Verdict};
use crate::{
    dtmf::Report,
    g711::Law,
    repacketize::Repacketizer,
    rtp,
    source::{PACKET_MAX, Sound, Source},
    splice::Splice,
    srtp::{MKI_LEN_MAX, OVERHEAD_MAX},
    stream::CLOCK_RATE_DEFAULT,
    time::Timestamp,
};
use core::time::Duration;

/// A buffer of so many octets holds every packet of our own, protected.
pub const OWN_LEN_MAX: usize = PACKET_MAX + OVERHEAD_MAX + MKI_LEN_MAX;

/// How the stream for a peer begins. SSRC and timestamp are random (RFC 3550 §5.1, §8); the sequence number is, too,
/// but below 2^15 where it is protected, so that losing the first packets cannot hide a wrap (RFC 3711 §3.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutletParams {
    /// The synchronisation source.
    pub ssrc: u32,
    /// Number of the first packet.
    pub sequence: u16,
    /// Timestamp of the first packet.
    pub timestamp: u32,
    /// Units of the media clock in a second, until packets of the other side leave: they have theirs
    /// ([`Relay::set_clock_rates`]).
    pub clock_rate: u32,
    /// Those in a packet.
    pub step: u32,
}

/// How what is played is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voice {
    /// The law that the sound was made for.
    pub law: Law,
    /// Its payload type towards the peer.
    pub payload_type: u8,
    /// Milliseconds in a packet, 1 to [`PTIME_MS_MAX`](crate::source::PTIME_MS_MAX).
    pub ptime_ms: u32,
}

/// What becomes of a sound when media of the other side arrives. Events ([`Sound::Events`]) are inserted between
/// its packets and neither end nor displace it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yield {
    /// The first packet that leaves ends the sound: ringback, comfort noise.
    ToMedia,
    /// The sound goes on, and what arrives meanwhile is left out: digits as audio.
    Never,
}

/// What happened in the media of a pair that call control may act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaEvent {
    /// All of a sound was played.
    Played,
    /// A sound was ended by media of the other side.
    Yielded,
    /// The peer sends a digit ([`Relay::set_digits`]).
    Digit(Report),
}

/// The stream that leaves for one peer.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) splice: Splice,
    /// Where packets of the other side leave with another length ([`Relay::set_framing`]).
    pub(super) repacketizer: Option<Box<Repacketizer>>,
    playing: Option<Playing>,
    /// What has left, payload only, for reports.
    pub(super) packets: u32,
    pub(super) octets: u32,
    /// When the last did.
    pub(super) left: Timestamp,
}

#[derive(Debug)]
struct Playing {
    source: Source,
    yields: Yield,
}

impl Outlet {
    fn new(now: Timestamp, params: &OutletParams) -> Self {
        let mut splice = Splice::new(now, params.ssrc, params.sequence, params.timestamp, params.step);
        splice.set_clock(params.clock_rate, params.step);
        Self {
            splice,
            repacketizer: None,
            playing: None,
            packets: 0,
            octets: 0,
            left: now,
        }
    }

    pub(super) fn count(&mut self, now: Timestamp, payload_len: usize) {
        self.left = now;
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
    }

    fn play(&mut self, now: Timestamp, voice: Voice, sound: Sound, yields: Yield) {
        // A packet that was due keeps its time.
        let due = self.poll_timeout().map_or(now, |due| due.max(now));
        let mut source = Source::new(voice.law, voice.payload_type, voice.ptime_ms);
        source.play(due, sound);
        self.splice
            .set_packet_time(Duration::from_millis(source.ptime_ms().into()));
        self.playing = Some(Playing { source, yields });
    }

    /// When a packet of what is played is due.
    fn poll_timeout(&self) -> Option<Timestamp> {
        self.playing.as_ref()?.source.poll_timeout()
    }

    /// Whether what arrives stays behind while our sound is sent.
    pub(super) fn displaces(&mut self) -> bool {
        self.playing.as_mut().is_some_and(|playing| {
            playing.yields == Yield::Never && !matches!(playing.source.sound_mut(), Some(Sound::Events(..)))
        })
    }

    /// Media of the other side leaves: whether that ends our sound.
    pub(super) fn give_way(&mut self) -> bool {
        let ends = self.playing.as_mut().is_some_and(|playing| {
            playing.yields == Yield::ToMedia && !matches!(playing.source.sound_mut(), Some(Sound::Events(..)))
        });
        if ends {
            self.playing = None;
        }
        ends
    }

    /// Give `packet` of the other side, which has a clock of `clock_rate` Hz, its place in the stream.
    fn number(&mut self, now: Timestamp, packet: &mut [u8], clock_rate: u32) -> Result<(), DropReason> {
        let mut packet = rtp::Packet::new_checked(packet).map_err(|_| DropReason::Malformed)?;
        let (ssrc, sequence, timestamp) = (packet.ssrc(), packet.sequence(), packet.timestamp());
        let numbers = self.splice.forward(now, ssrc, sequence, timestamp);
        let numbers = numbers.ok_or(DropReason::Displaced)?;
        self.splice.set_clock_rate(clock_rate);
        packet.set_ssrc(numbers.ssrc);
        packet.set_sequence(numbers.sequence);
        packet.set_timestamp(numbers.timestamp);
        if numbers.marker {
            packet.set_marker();
        }
        let payload_len = packet.payload().len();
        self.count(now, payload_len);
        Ok(())
    }

    /// `packet` of the other side does not leave, and those after it close up.
    pub(super) fn omit(&mut self, now: Timestamp, packet: &[u8]) {
        if let Ok(packet) = rtp::Packet::new_checked(packet) {
            let (ssrc, sequence, timestamp) = (packet.ssrc(), packet.sequence(), packet.timestamp());
            self.splice.omit(now, ssrc, sequence, timestamp);
        }
    }
}

impl Relay {
    /// Everything that leaves for the peer of `pair` is one stream from now on: one SSRC, and numbers without a jump
    /// whoever sends. A stream that runs goes on as it is, whatever `outlet` says. `None`: packets leave as they came,
    /// and nothing is played. Ends with [`Relay::close`].
    pub fn set_outlet(&mut self, now: Timestamp, pair: PairIndex, outlet: Option<&OutletParams>) {
        self.change_extras(pair, |extras| match outlet {
            Some(params) => {
                let begin = || Box::new(Outlet::new(now, params));
                extras.outlet.get_or_insert_with(begin);
            }
            None => extras.outlet = None,
        });
        self.schedule(pair);
    }

    /// Whether what leaves for the peer of `pair` is one stream ([`Relay::set_outlet`]).
    pub fn has_outlet(&self, pair: PairIndex) -> bool {
        self.outlet(pair).is_some()
    }

    /// Play `sound` to the peer of `pair` in place of what was played, until all is played ([`MediaEvent::Played`]),
    /// media of the other side ends it ([`MediaEvent::Yielded`]), or [`Relay::stop`]. `false`: the pair has no
    /// outlet, and nothing is played.
    pub fn play(
        &mut self,
        now: Timestamp,
        pair: PairIndex,
        voice: Voice,
        sound: Sound,
        yields: Yield,
    ) -> bool {
        let Some(outlet) = self.outlet_mut(pair) else {
            return false;
        };
        outlet.play(now, voice, sound, yields);
        self.schedule(pair);
        true
    }

    /// Play nothing more to the peer of `pair`. No event tells of it.
    pub fn stop(&mut self, pair: PairIndex) {
        if let Some(outlet) = self.outlet_mut(pair) {
            outlet.playing = None;
            self.schedule(pair);
        }
    }

    /// What is played to the peer of `pair`.
    pub fn sound(&self, pair: PairIndex) -> Option<&Sound> {
        let extras = self.socket(pair.rtp())?.extras.as_deref()?;
        extras.outlet.as_ref()?.playing.as_ref()?.source.sound()
    }

    /// What is played to the peer of `pair`, to give it more digits.
    pub fn sound_mut(&mut self, pair: PairIndex) -> Option<&mut Sound> {
        let playing = self.outlet_mut(pair)?.playing.as_mut()?;
        playing.source.sound_mut()
    }

    /// When [`Relay::poll_transmit`] is due next; `None`: not before something else has happened.
    #[inline]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let first = [self.due.first(), self.silent.first()].into_iter().flatten();
        first.map(|(at, _)| at).min()
    }

    /// A packet of our own that is due at `now`, in `buffer`, which has [`OWN_LEN_MAX`] octets; the verdict is a
    /// [`Verdict::Forward`]. Call it until it returns `None`: nothing more is due.
    pub fn poll_transmit(&mut self, now: Timestamp, buffer: &mut [u8]) -> Option<Verdict> {
        self.end_silent_digits(now);
        while let Some((at, pair)) = self.due.first()
            && at <= now
        {
            if let Some(verdict) = self.transmit(now, PairIndex(pair), buffer) {
                self.counters.originated += 1;
                return Some(verdict);
            }
        }
        None
    }

    /// What call control may want to know of media; call until `None` after each batch of packets and after
    /// [`Relay::poll_transmit`].
    #[inline]
    pub fn poll_event(&mut self) -> Option<(PairIndex, MediaEvent)> {
        self.events.pop_front()
    }

    /// Whether [`Relay::poll_event`] has something.
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// The packet of `pair` that is due. Whether there is one or not: the pair is due later than before.
    fn transmit(&mut self, now: Timestamp, pair: PairIndex, buffer: &mut [u8]) -> Option<Verdict> {
        let verdict = self.transmit_sound(now, pair, buffer);
        let verdict = verdict.or_else(|| self.transmit_piece(now, pair, buffer));
        let verdict = verdict.or_else(|| self.report(now, pair, buffer));
        self.schedule(pair);
        verdict
    }

    /// The packet of what is played to the peer of `pair`, if one is due.
    fn transmit_sound(&mut self, now: Timestamp, pair: PairIndex, buffer: &mut [u8]) -> Option<Verdict> {
        self.route(pair.rtp().0, 0).ok()?;
        let outlet = self.outlet_mut(pair)?;
        let Outlet { splice, playing, .. } = outlet;
        let len = playing.as_mut()?.source.write(now, splice, buffer);
        if let Some(len) = len {
            outlet.count(now, len.saturating_sub(rtp::HEADER_LEN));
        }
        if outlet.poll_timeout().is_none() {
            outlet.playing = None;
            self.events.push_back((pair, MediaEvent::Played));
        }
        // A key that is used up sends nothing of ours either.
        self.originated(pair, buffer, len?).ok()
    }

    /// Step of the walk: what came to `socket` and leaves from `out` gets its place in that outlet's stream.
    pub(super) fn number(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        out: u32,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<(), DropReason> {
        let packet = buffer.get_mut(..len).ok_or(DropReason::Malformed)?;
        let leaves = self.route(out, len);
        let pair = MediaSocket(out).pair();
        let clock_rate = self.clock_rate(socket);
        let outlet = self.outlet_mut(pair).ok_or(DropReason::NoSession)?;
        if let Err(reason) = leaves {
            outlet.omit(now, packet);
            return Err(reason);
        }
        if outlet.displaces() {
            outlet.omit(now, packet);
            return Err(DropReason::Displaced);
        }
        outlet.number(now, packet, clock_rate)?;
        if outlet.give_way() {
            self.schedule(pair);
            self.events.push_back((pair, MediaEvent::Yielded));
        }
        Ok(())
    }

    /// Find anew when something of our own is due to the peer of `pair`. While nothing can be sent a sound waits, and
    /// pieces are too late: [`Relay::set_remote`] comes here, too.
    pub(super) fn schedule(&mut self, pair: PairIndex) {
        let sends = self.can_send(pair);
        if !sends && let Some(outlet) = self.outlet_mut(pair) {
            outlet.clear_pieces();
        }
        let outlet = self.outlet(pair).filter(|_| sends);
        let sound = outlet.and_then(Outlet::poll_timeout);
        let piece = outlet.and_then(Outlet::piece_due);
        let due = [sound, piece, self.report_due(pair)];
        self.due.set(pair.0, due.into_iter().flatten().min());
    }

    /// Units in a second of the media clock of what was received on `socket` last.
    pub(super) fn clock_rate(&self, socket: MediaSocket) -> u32 {
        let slot = self.socket(socket);
        slot.map_or(CLOCK_RATE_DEFAULT, |slot| slot.stream.clock_rate())
    }

    pub(super) fn outlet(&self, pair: PairIndex) -> Option<&Outlet> {
        let extras = self.socket(pair.rtp())?.extras.as_deref()?;
        extras.outlet.as_deref()
    }

    pub(super) fn outlet_mut(&mut self, pair: PairIndex) -> Option<&mut Outlet> {
        let slot = self.sockets.get_mut(pair.rtp().0 as usize)?;
        slot.extras.as_mut()?.outlet.as_deref_mut()
    }
}
