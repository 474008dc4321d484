//! Call-progress tones by country: ringback, busy, congestion, as G.711 audio.
//!
//! In: which tone, law and level. Out: frames of any length, one continuing the other in phase and cadence.
//! Frequencies and cadences are those that ITU-T E.180 Supplement 2 lists for national networks.

use crate::{
    g711::Law,
    sine::{Oscillator, RATE},
};

/// Level of a tone in dBm0: E.180 §8 has -10 dBm0 as the nominal value and ±5 dB as its limits.
pub const LEVEL_DBM0: f32 = -10.0;

/// A country whose tones are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Country {
    /// Brazil.
    Br,
    /// Germany.
    De,
    /// France.
    Fr,
    /// United Kingdom.
    Gb,
    /// India.
    In,
    /// United States.
    Us,
}

impl Country {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Br, Self::De, Self::Fr, Self::Gb, Self::In, Self::Us];

    /// The country of an ISO 3166 code of two letters, in either case.
    pub fn from_code(code: &str) -> Option<Self> {
        let known = |country: &Self| country.code().eq_ignore_ascii_case(code);
        Self::ALL.into_iter().find(known)
    }

    /// Its ISO 3166 code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Br => "BR",
            Self::De => "DE",
            Self::Fr => "FR",
            Self::Gb => "GB",
            Self::In => "IN",
            Self::Us => "US",
        }
    }
}

/// What a tone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// The called party's telephone rings.
    Ringback,
    /// The called party is busy.
    Busy,
    /// The network has no way through.
    Congestion,
}

/// What a tone sounds like; frequencies in Hz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pitch {
    /// One frequency.
    Single(u16),
    /// Two frequencies, equally strong.
    Sum(u16, u16),
    /// A carrier whose amplitude swings by [`MODULATION`] at the second frequency.
    Modulated(u16, u16),
}

/// How deep a modulated tone is modulated. Supplement 2 gives no figure; this one leaves the carrier on.
pub const MODULATION: f32 = 0.9;

/// A tone: pitch and cadence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tone {
    /// What is heard while it is on.
    pub pitch: Pitch,
    /// Milliseconds on, off, on, off, and so on; then again from the beginning. An even number of them.
    pub cadence_ms: &'static [u16],
}

impl Tone {
    /// The tone of a country. France states none for congestion; it is busy tone at twice the pace there, as in
    /// the countries around.
    pub const fn of(country: Country, meaning: Meaning) -> Self {
        use Country::{Br, De, Fr, Gb, In, Us};
        use Meaning::{Busy, Congestion, Ringback};
        let (pitch, cadence_ms): (_, &'static [u16]) = match (country, meaning) {
            (Br, Ringback) => (Pitch::Single(425), &[1000, 4000]),
            (Br, Busy) => (Pitch::Single(425), &[250, 250]),
            (Br, Congestion) => (Pitch::Single(425), &[250, 250, 750, 250]),
            (De, Ringback) => (Pitch::Single(425), &[1000, 4000]),
            (De, Busy) => (Pitch::Single(425), &[480, 480]),
            (De, Congestion) => (Pitch::Single(425), &[240, 240]),
            (Fr, Ringback) => (Pitch::Single(440), &[1500, 3500]),
            (Fr, Busy) => (Pitch::Single(440), &[500, 500]),
            (Fr, Congestion) => (Pitch::Single(440), &[250, 250]),
            (Gb, Ringback) => (Pitch::Sum(400, 450), &[400, 200, 400, 2000]),
            (Gb, Busy) => (Pitch::Single(400), &[375, 375]),
            (Gb, Congestion) => (Pitch::Single(400), &[400, 350, 225, 525]),
            (In, Ringback) => (Pitch::Modulated(400, 25), &[400, 200, 400, 2000]),
            (In, Busy) => (Pitch::Single(400), &[750, 750]),
            (In, Congestion) => (Pitch::Single(400), &[250, 250]),
            (Us, Ringback) => (Pitch::Sum(440, 480), &[2000, 4000]),
            (Us, Busy) => (Pitch::Sum(480, 620), &[500, 500]),
            (Us, Congestion) => (Pitch::Sum(480, 620), &[250, 250]),
        };
        Self { pitch, cadence_ms }
    }
}

/// Samples in a millisecond.
const PER_MS: u32 = RATE as u32 / 1000;
/// A tone rises and falls within so many samples (3 ms), or it would click.
const RAMP: u32 = 24;

/// Plays a tone. Starts with the beginning of its cadence.
#[derive(Clone, Debug)]
pub struct Player {
    law: Law,
    tone: Tone,
    /// Peak amplitude of each sine.
    amplitude: f32,
    oscillators: [Oscillator; 2],
    /// Which element of the cadence, and how many samples into it.
    element: usize,
    at: u32,
}

impl Player {
    /// `dbm0` is the level while the tone is on, all frequencies together.
    pub fn new(tone: Tone, law: Law, dbm0: f32) -> Self {
        let (hz, power) = match tone.pitch {
            Pitch::Single(hz) => ([hz, 0], 1.0),
            Pitch::Sum(low, high) => ([low, high], 2.0),
            // The two side bands have a quarter of the modulation's square each.
            Pitch::Modulated(carrier, by) => ([carrier, by], 1.0 + MODULATION * MODULATION / 2.0),
        };
        Self {
            law,
            tone,
            amplitude: law.amplitude(dbm0) / f32::sqrt(power),
            oscillators: hz.map(|hz| Oscillator::new(f64::from(hz))),
            element: 0,
            at: 0,
        }
    }

    /// Write the next samples.
    pub fn fill(&mut self, frame: &mut [u8]) {
        for octet in frame {
            let length = self.length();
            let on = self.element.is_multiple_of(2);
            *octet = if on {
                let from_edge = self.at.min(length - 1 - self.at);
                let level = if from_edge < RAMP {
                    (from_edge as f32 + 0.5) / RAMP as f32
                } else {
                    1.0
                };
                self.law.encode((self.sample() * level) as i16)
            } else {
                self.oscillators
                    .iter_mut()
                    .for_each(|oscillator| oscillator.skip(1));
                self.law.silence()
            };
            self.at += 1;
            if self.at == length {
                self.at = 0;
                self.element = (self.element + 1) % self.tone.cadence_ms.len();
            }
        }
    }

    /// Leave out the next samples, as if they had been written.
    pub fn skip(&mut self, samples: u64) {
        for oscillator in &mut self.oscillators {
            oscillator.skip(samples);
        }
        let period = self.tone.cadence_ms.iter().map(|&ms| u64::from(ms)).sum::<u64>() * u64::from(PER_MS);
        // Less than a period, which is some seconds.
        let mut left = (samples % period) as u32;
        while left > 0 {
            let step = left.min(self.length() - self.at);
            left -= step;
            self.at += step;
            if self.at == self.length() {
                self.at = 0;
                self.element = (self.element + 1) % self.tone.cadence_ms.len();
            }
        }
    }

    /// Samples in the present element of the cadence.
    fn length(&self) -> u32 {
        u32::from(self.tone.cadence_ms[self.element]) * PER_MS
    }

    fn sample(&mut self) -> f32 {
        let [first, second] = &mut self.oscillators;
        let (first, second) = (first.sample(), second.sample());
        self.amplitude
            * match self.tone.pitch {
                Pitch::Single(_) => first,
                Pitch::Sum(..) => first + second,
                Pitch::Modulated(..) => first * (1.0 + MODULATION * second),
            }
    }
}
