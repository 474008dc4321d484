//! Digits that a peer sends as events or as tones, for calls whose other side wants them in another way.
//!
//! In: packets of the peer on their way, and time. Out: each digit once, as [`MediaEvent::Digit`]; event packets are
//! taken out of the stream, which closes up, and tones become silence from where they are known to be digits.
//!
//! The beginning of a tone has left by then: a digit is one only when it has lasted. That is less than the 40 ms that
//! a receiver of Q.24 table A-1 may need, plus a packet; holding back the stream for as long would delay all speech.

use super::{DropReason, MediaEvent, MediaSocket, PairIndex, Relay};
use crate::{
    dtmf::{Report, event::Receiver, inband::Detector},
    g711::Law,
    rtp,
    time::Timestamp,
};
use core::time::Duration;

/// How digits of a peer are heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// As events (RFC 4733).
    Events {
        /// The payload type that the peer sends them with.
        payload_type: u8,
    },
    /// As tones in G.711.
    Tones {
        /// The payload type that the peer sends µ-law with.
        mu: Option<u8>,
        /// The payload type that the peer sends A-law with.
        a: Option<u8>,
    },
}

/// A tone is over when no audio has come for so long: nobody pauses within one.
const SILENCE_MAX: Duration = Duration::from_millis(200);
/// Samples of silence that end every tone: more than the detector allows between two parts of one (10 ms).
const ENDING: usize = 512;
/// A jump of the media clock by more than this, without a gap in the numbers, is a pause (RFC 3551 §4.1). In samples.
const PAUSE_MIN: u32 = 320;

/// What listens to one peer.
#[derive(Debug)]
pub(super) struct Listener {
    listen: Listen,
    ear: Ear,
}

#[derive(Debug)]
enum Ear {
    Events(Receiver),
    Tones(Box<Tones>),
}

impl Listener {
    fn new(listen: Listen) -> Self {
        let ear = match listen {
            Listen::Events { .. } => Ear::Events(Receiver::new()),
            Listen::Tones { mu: Some(_), .. } => Ear::Tones(Box::new(Tones::new(Law::Mu))),
            Listen::Tones { .. } => Ear::Tones(Box::new(Tones::new(Law::A))),
        };
        Self { listen, ear }
    }

    /// Hear a packet. `true`: it must not leave.
    fn hear(&mut self, now: Timestamp, packet: &mut [u8], report: &mut impl FnMut(Report)) -> bool {
        let Ok(mut packet) = rtp::Packet::new_checked(packet) else {
            return false;
        };
        let number = packet.payload_type();
        match (self.listen, &mut self.ear) {
            (Listen::Events { payload_type }, Ear::Events(receiver)) => {
                if number == payload_type {
                    receiver.receive(now, &packet, report);
                    return true;
                }
                receiver.handle_timeout(now, report);
            }
            (Listen::Tones { mu, a }, Ear::Tones(tones)) => {
                let law = match Some(number) {
                    number if number == mu => Law::Mu,
                    number if number == a => Law::A,
                    _ => return false,
                };
                tones.hear(now, law, &mut packet, report);
            }
            _ => {}
        }
        false
    }

    /// When [`Self::handle_timeout`] is due, if a digit is active.
    fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.ear {
            Ear::Events(receiver) => receiver.poll_timeout(),
            Ear::Tones(tones) => tones.active.then(|| tones.heard + SILENCE_MAX),
        }
    }

    fn handle_timeout(&mut self, now: Timestamp, report: &mut impl FnMut(Report)) {
        match &mut self.ear {
            Ear::Events(receiver) => receiver.handle_timeout(now, report),
            Ear::Tones(tones) => {
                if tones.active && tones.heard + SILENCE_MAX <= now {
                    tones.end(report);
                }
            }
        }
    }

    /// Nobody listens any more: a digit that is active is over.
    fn finish(&mut self, report: &mut impl FnMut(Report)) {
        match &mut self.ear {
            Ear::Events(receiver) => {
                if let Some(due) = receiver.poll_timeout() {
                    receiver.handle_timeout(due, report);
                }
            }
            Ear::Tones(tones) => tones.end(report),
        }
    }
}

/// Finds tones in the audio of one peer.
#[derive(Debug)]
struct Tones {
    law: Law,
    detector: Detector,
    /// A digit has been told of that is not over.
    active: bool,
    /// When audio came last.
    heard: Timestamp,
    /// Sequence number and timestamp that follow what has been heard, of this source.
    next: Option<(u32, u16, u32)>,
}

impl Tones {
    fn new(law: Law) -> Self {
        Self {
            law,
            detector: Detector::new(law),
            active: false,
            heard: Timestamp::ZERO,
            next: None,
        }
    }

    fn hear<T: AsRef<[u8]> + AsMut<[u8]>>(
        &mut self,
        now: Timestamp,
        law: Law,
        packet: &mut rtp::Packet<T>,
        report: &mut impl FnMut(Report),
    ) {
        let (ssrc, sequence, timestamp) = (packet.ssrc(), packet.sequence(), packet.timestamp());
        let was_active = self.active;
        if let Some((_, expected, clock)) = self.next.filter(|(source, ..)| *source == ssrc) {
            let behind = expected.wrapping_sub(sequence) as i16;
            if (1..=LATE_MAX).contains(&behind) {
                // Late, or here before: its place among the samples is taken. A digit is not heard in it either.
                return if self.active {
                    silence(packet, law)
                };
            }
            let paused = timestamp.wrapping_sub(clock);
            if sequence == expected && paused > PAUSE_MIN && paused < 1 << 31 {
                self.end(report);
            }
        }
        if law != self.law {
            self.end(report);
            (self.law, self.detector) = (law, Detector::new(law));
        }
        let samples = packet.payload().len() as u32;
        self.next = Some((ssrc, sequence.wrapping_add(1), timestamp.wrapping_add(samples)));
        self.heard = now;
        let Self { detector, active, .. } = self;
        detector.hear(packet.payload(), &mut |told| note(active, told, report));
        if was_active || self.active {
            silence(packet, law);
        }
    }

    /// Whatever sounds is over.
    fn end(&mut self, report: &mut impl FnMut(Report)) {
        let Self { detector, active, .. } = self;
        detector.hear(&[self.law.silence(); ENDING], &mut |told| {
            note(active, told, report);
        });
    }
}

/// A packet that is further behind than this is not late: the source has begun to count anew (RFC 3550 A.1).
const LATE_MAX: i16 = 100;

fn note(active: &mut bool, told: Report, report: &mut impl FnMut(Report)) {
    *active = matches!(told, Report::Began(_));
    report(told);
}

fn silence<T: AsRef<[u8]> + AsMut<[u8]>>(packet: &mut rtp::Packet<T>, law: Law) {
    packet.payload_mut().fill(law.silence());
}

impl Relay {
    /// Tell of the digits that the peer of `pair` sends ([`MediaEvent::Digit`]), and let none of them pass. The other
    /// side needs an outlet ([`Relay::set_outlet`]) for event packets to leave no gap. A digit that is under way when this
    /// changes is told as over. `None`: digits pass. Ends with [`Relay::close`].
    pub fn set_digits(&mut self, pair: PairIndex, listen: Option<Listen>) {
        let mut former = None;
        self.change_extras(pair, |extras| {
            if extras.digits.as_ref().map(|listener| listener.listen) != listen {
                former = extras.digits.take();
                extras.digits = listen.map(Listener::new).map(Box::new);
            }
        });
        if let Some(mut former) = former {
            let events = &mut self.events;
            former.finish(&mut |report| events.push_back((pair, MediaEvent::Digit(report))));
            self.silent.set(pair.0, None);
        }
    }

    /// Whether something of our own could be sent to the peer of `pair` now: its address is known, and it is
    /// not on hold.
    pub fn can_send(&self, pair: PairIndex) -> bool {
        self.route(pair.rtp().0, 0).is_ok()
    }

    /// Step of the walk: listen to what came on `socket` and is to leave from `out`.
    pub(super) fn listen(
        &mut self,
        now: Timestamp,
        socket: MediaSocket,
        out: u32,
        buffer: &mut [u8],
        len: usize,
    ) -> Result<(), DropReason> {
        let packet = buffer.get_mut(..len).ok_or(DropReason::Malformed)?;
        let Self { sockets, events, .. } = self;
        let slot = sockets.get_mut(socket.0 as usize);
        let extras = slot.and_then(|slot| slot.extras.as_deref_mut());
        let Some(listener) = extras.and_then(|extras| extras.digits.as_mut()) else {
            return Ok(());
        };
        let pair = socket.pair();
        let taken = listener.hear(now, packet, &mut |report| {
            events.push_back((pair, MediaEvent::Digit(report)));
        });
        let due = listener.poll_timeout();
        self.silent.set(pair.0, due);
        if !taken {
            return Ok(());
        }
        self.omit(now, out, packet);
        Err(DropReason::Digit)
    }

    /// End digits of which nothing has come any more.
    pub(super) fn end_silent_digits(&mut self, now: Timestamp) {
        while let Some((at, pair)) = self.silent.first()
            && at <= now
        {
            let Self { sockets, events, .. } = self;
            let slot = sockets.get_mut(PairIndex(pair).rtp().0 as usize);
            let extras = slot.and_then(|slot| slot.extras.as_deref_mut());
            let mut due = None;
            if let Some(listener) = extras.and_then(|extras| extras.digits.as_mut()) {
                listener.handle_timeout(now, &mut |report| {
                    events.push_back((PairIndex(pair), MediaEvent::Digit(report)));
                });
                due = listener.poll_timeout();
            }
            self.silent.set(pair, due);
        }
    }
}
