//! Audio for tests: synthesis in f64, encoding, measuring, and random numbers that are the same on every run.
#![allow(dead_code, unreachable_pub)] // every test binary includes this file and uses its own part

use sbc_media::{
    dtmf::{Digit, Report, inband::Detector},
    g711::Law,
};
use std::f64::consts::{PI, TAU};

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `end`, which is not reached.
    pub fn below(&mut self, end: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(end)) >> 32) as u32
    }

    /// From `low` to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Mean 0, variance 1, nearly normal.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.between(-0.5, 0.5)).sum()
    }
}

pub fn digit(character: char) -> Digit {
    Digit::from_char(character).unwrap()
}

pub fn encode(law: Law, samples: &[f64]) -> Vec<u8> {
    samples.iter().map(|&sample| law.encode(sample as i16)).collect()
}

pub fn decode(law: Law, octets: &[u8]) -> Vec<f64> {
    let value = |octet: &u8| f64::from(law.decoder()[usize::from(*octet)]);
    octets.iter().map(value).collect()
}

/// A pair of tones, hard on and hard off.
#[derive(Clone, Copy)]
pub struct Pair {
    pub low_hz: f64,
    pub high_hz: f64,
    pub low_dbm0: f64,
    pub high_dbm0: f64,
    pub ms: f64,
    pub phase: f64,
}

impl Pair {
    pub fn of(character: char) -> Self {
        let (low, high) = digit(character).frequencies();
        Self {
            low_hz: f64::from(low),
            high_hz: f64::from(high),
            low_dbm0: -10.0,
            high_dbm0: -10.0,
            ms: 50.0,
            phase: 0.0,
        }
    }

    pub fn samples(&self, law: Law) -> Vec<f64> {
        let sine = |hz: f64, dbm0: f64, phase: f64, n: usize| {
            f64::from(law.amplitude(dbm0 as f32)) * (TAU * hz * n as f64 / 8000.0 + phase).sin()
        };
        (0..(self.ms * 8.0) as usize)
            .map(|n| {
                sine(self.low_hz, self.low_dbm0, self.phase, n)
                    + sine(self.high_hz, self.high_dbm0, 2.3 * self.phase, n)
            })
            .collect()
    }

    /// With silence before and after.
    pub fn alone(&self, law: Law) -> Vec<f64> {
        [vec![0.0; 800], self.samples(law), vec![0.0; 800]].concat()
    }
}

/// The digits that a detector tells of, with their durations in samples. Also checks that they begin and end in turn.
pub fn detected(law: Law, samples: &[f64]) -> Vec<(char, u32)> {
    let mut detector = Detector::new(law);
    let mut active = None;
    let mut digits = Vec::new();
    let mut octets = encode(law, samples);
    octets.extend([law.silence(); 800]);
    for frame in octets.chunks(160) {
        detector.hear(frame, &mut |report| match report {
            Report::Began(digit) => assert_eq!(active.replace(digit), None),
            Report::Ended { digit, duration } => {
                assert_eq!(active.take(), Some(digit));
                digits.push((digit.as_char(), duration));
            }
        });
    }
    assert_eq!(active, None);
    digits
}

/// The same without durations.
pub fn digits(law: Law, samples: &[f64]) -> String {
    detected(law, samples)
        .into_iter()
        .map(|(digit, _)| digit)
        .collect()
}

/// Mean power of the component at `hz`, with a Hann window, so that others 5 periods of the whole away do not count.
pub fn power_at(samples: &[f64], hz: f64) -> f64 {
    let length = samples.len() as f64;
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in samples.iter().enumerate() {
        let window = 1.0 - (TAU * (n as f64 + 0.5) / length).cos();
        let angle = 2.0 * PI * hz * n as f64 / 8000.0;
        re += window * sample * angle.cos();
        im += window * sample * angle.sin();
    }
    2.0 * (re * re + im * im) / (length * length)
}

pub fn power(samples: &[f64]) -> f64 {
    samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64
}

pub fn db(ratio: f64) -> f64 {
    10.0 * ratio.log10()
}

/// Mean power of a sine of this level.
pub fn power_of(law: Law, dbm0: f64) -> f64 {
    f64::from(law.amplitude(dbm0 as f32)).powi(2) / 2.0
}
