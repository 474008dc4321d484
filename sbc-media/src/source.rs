//! Packets of our own on a direction: a tone, noise, or digits, in G.711 or as events.
//!
//! In: what to play, and the time. Out: RTP packets in the caller's buffer, one for each packet time, numbered by the
//! direction's [`Splice`], through which a real stream takes over and hands back.

use crate::{
    dtmf::{event, inband},
    g711::Law,
    noise::{ComfortNoise, Noise},
    rtp::HEADER_LEN,
    splice::Splice,
    stream::CLOCK_RATE_DEFAULT,
    time::Timestamp,
    tone::Player,
};
use core::time::Duration;

/// Longest packet time, in milliseconds.
pub const PTIME_MS_MAX: u32 = 60;
/// A buffer of so many octets holds every packet.
pub const PACKET_MAX: usize = HEADER_LEN + PTIME_MS_MAX as usize * 8;
/// Who is later than so many packet times has missed them: sending all at once would only fill buffers.
const LATE_MAX: u32 = 5;

/// What is played.
#[derive(Clone, Debug)]
pub enum Sound {
    /// A tone, until stopped.
    Tone(Player),
    /// Noise, until stopped.
    Noise(Noise),
    /// Comfort noise that the peer makes, told now and then (RFC 3389), until stopped.
    Comfort(Comfort),
    /// Digits as audio, until all are sent.
    Digits(inband::Generator),
    /// Digits as events of this payload type, until all are sent. Between them nothing is sent.
    Events(event::Sender, u8),
}

/// Every so manieth packet time comfort noise is told: often enough for who has missed it to hear it soon.
const COMFORT_EVERY: u32 = 10;

/// Comfort noise to be told to a peer.
#[derive(Clone, Debug)]
pub struct Comfort {
    noise: ComfortNoise,
    payload_type: u8,
    /// Packet times until it is told again.
    left: u32,
}

impl Sound {
    /// Comfort noise by this payload type. In between its packets nothing is sent.
    pub fn comfort(noise: ComfortNoise, payload_type: u8) -> Self {
        Self::Comfort(Comfort {
            noise,
            payload_type,
            left: 0,
        })
    }
}

/// Plays one sound at a time.
#[derive(Clone, Debug)]
pub struct Source {
    payload_type: u8,
    silence: u8,
    ptime_ms: u32,
    sound: Option<Sound>,
    due: Timestamp,
}

impl Source {
    /// Nothing to play yet. `payload_type` is that of `law` in the direction; `ptime_ms` is 1 to [`PTIME_MS_MAX`]
    /// (others are brought there), the same as the splice's step.
    pub fn new(law: Law, payload_type: u8, ptime_ms: u32) -> Self {
        Self {
            payload_type,
            silence: law.silence(),
            ptime_ms: ptime_ms.clamp(1, PTIME_MS_MAX),
            sound: None,
            due: Timestamp::ZERO,
        }
    }

    /// Play from now on, in place of what was played. A packet that was due keeps its time.
    pub fn play(&mut self, now: Timestamp, sound: Sound) {
        let next = self.sound.as_ref().map_or(now, |_| self.due);
        self.due = next;
        self.sound = Some(sound);
    }

    /// Play nothing more.
    pub fn stop(&mut self) {
        self.sound = None;
    }

    /// What is played.
    pub fn sound(&self) -> Option<&Sound> {
        self.sound.as_ref()
    }

    /// What is played, to give it more digits.
    pub fn sound_mut(&mut self) -> Option<&mut Sound> {
        self.sound.as_mut()
    }

    /// Milliseconds in a packet.
    pub fn ptime_ms(&self) -> u32 {
        self.ptime_ms
    }

    /// When [`Self::write`] is due, if something is played.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.sound.as_ref().map(|_| self.due)
    }

    /// Write the packet that is due to the front of `buffer`, which has [`PACKET_MAX`] octets, and return its
    /// length. Call it until it returns `None`: nothing is due, or nothing is left to play.
    pub fn write(&mut self, now: Timestamp, splice: &mut Splice, buffer: &mut [u8]) -> Option<usize> {
        let samples = self.ptime_ms as usize * 8;
        loop {
            let sound = self.sound.as_mut()?;
            if now < self.due {
                return None;
            }
            let ptime = Duration::from_millis(u64::from(self.ptime_ms));
            let late = (now.since(self.due).as_nanos() / ptime.as_nanos()).min(u128::from(u32::MAX)) as u32;
            let skipped = if late > LATE_MAX { late } else { 0 };
            let due = self.due + ptime * skipped;
            self.due = due + ptime;
            if let Sound::Events(sender, payload_type) = sound {
                if sender.is_idle() {
                    self.sound = None;
                    continue;
                }
                let Some(update) = sender.tick(splice.clock(due)) else {
                    continue;
                };
                let mut numbers = splice.insert(due);
                (numbers.timestamp, numbers.marker) = (update.timestamp, update.marker);
                let len = numbers.write(*payload_type, buffer)?;
                let payload = buffer.get_mut(len..len + event::Event::LEN)?;
                payload.copy_from_slice(&update.event.to_bytes());
                return Some(len + event::Event::LEN);
            }
            if let Sound::Comfort(comfort) = sound {
                if comfort.left > 0 {
                    comfort.left -= 1;
                    continue;
                }
                comfort.left = COMFORT_EVERY - 1;
                let mut numbers = splice.own(due);
                splice.set_clock_rate(CLOCK_RATE_DEFAULT);
                // The marker is for the beginning of speech (RFC 3551 §4.1).
                numbers.marker = false;
                numbers.write(comfort.payload_type, buffer)?;
                return Some(HEADER_LEN + comfort.noise.write(buffer.get_mut(HEADER_LEN..)?)?);
            }
            let payload = buffer.get_mut(HEADER_LEN..HEADER_LEN + samples)?;
            match sound {
                Sound::Tone(player) => {
                    player.skip(u64::from(skipped) * samples as u64);
                    player.fill(payload);
                }
                Sound::Noise(noise) => noise.fill(payload),
                Sound::Digits(generator) => {
                    payload.fill(self.silence);
                    if !generator.fill(payload) {
                        self.sound = None;
                        continue;
                    }
                }
                Sound::Events(..) | Sound::Comfort(_) => {}
            }
            let numbers = splice.own(due);
            splice.set_clock_rate(CLOCK_RATE_DEFAULT);
            numbers.write(self.payload_type, buffer)?;
            return Some(HEADER_LEN + samples);
        }
    }
}
