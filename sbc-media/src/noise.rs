//! Comfort noise: its RTP payload (RFC 3389), and the noise itself as G.711 audio.
//!
//! In: a level, or a payload received, and a seed. Out: samples, the same for the same seed.

use crate::g711::Law;

/// Most reflection coefficients that are kept; further ones are read as zero (RFC 3389 §3 allows that).
pub const ORDER_MAX: usize = 10;

/// A comfort noise payload (RFC 3389 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ComfortNoise {
    /// Level in -dBov, 0 to 127: 0 is a square wave at the point of overload.
    level: u8,
    /// Quantised reflection coefficients, in ascending order.
    coefficients: [u8; ORDER_MAX],
    order: u8,
}

impl ComfortNoise {
    /// Longest payload that [`Self::write`] writes.
    pub const LEN_MAX: usize = 1 + ORDER_MAX;

    /// White noise of a level in -dBov; more than 127 is 127.
    pub fn new(level: u8) -> Self {
        Self {
            level: level.min(127),
            coefficients: [0; ORDER_MAX],
            order: 0,
        }
    }

    /// Read a payload; `None` if it is empty.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (level, spectrum) = payload.split_first()?;
        let mut noise = Self::new(level & 0x7f);
        for (kept, received) in noise.coefficients.iter_mut().zip(spectrum) {
            *kept = *received;
            noise.order += 1;
        }
        Some(noise)
    }

    /// Write the payload to the front of `buffer`. Returns its length, or `None` if it does not fit.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let spectrum = &self.coefficients[..usize::from(self.order)];
        let len = 1 + spectrum.len();
        let (level, rest) = buffer.get_mut(..len)?.split_first_mut()?;
        *level = self.level;
        rest.copy_from_slice(spectrum);
        Some(len)
    }

    /// Level in -dBov.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// The reflection coefficients (§3.2), each between -1 and 1.
    fn reflections(&self) -> [f32; ORDER_MAX] {
        let mut reflections = [0.0; ORDER_MAX];
        let spectrum = self.coefficients.iter().take(usize::from(self.order));
        for (reflection, &quantised) in reflections.iter_mut().zip(spectrum) {
            // 255 is reserved.
            if quantised != 255 {
                *reflection = 258.0 * (f32::from(quantised) - 127.0) / 32768.0;
            }
        }
        reflections
    }
}

/// Noise as audio.
#[derive(Clone, Debug)]
pub struct Noise {
    law: Law,
    state: u64,
    /// Root mean square of what excites the filter.
    excitation: f32,
    reflections: [f32; ORDER_MAX],
    /// So many of the reflections count; the others are zero.
    order: usize,
    /// Backward errors of the lattice one sample ago.
    backward: [f32; ORDER_MAX],
}

impl Noise {
    /// White noise of a level in dBm0. The same seed gives the same noise.
    pub fn new(law: Law, dbm0: f32, seed: u64) -> Self {
        Self {
            law,
            // Zero would stay zero.
            state: (seed ^ 0x9e37_79b9_7f4a_7c15).max(1),
            excitation: law.amplitude(dbm0) * core::f32::consts::FRAC_1_SQRT_2,
            reflections: [0.0; ORDER_MAX],
            order: 0,
            backward: [0.0; ORDER_MAX],
        }
    }

    /// From here on, noise as a payload describes it. What is heard changes without a click.
    pub fn set(&mut self, noise: &ComfortNoise) {
        self.reflections = noise.reflections();
        self.order = usize::from(noise.order);
        let level = self.law.overload() * 10f32.powf(-f32::from(noise.level) / 20.0);
        // The filter amplifies by the inverse of this.
        let gain: f32 = self.reflections.iter().map(|k| 1.0 - k * k).product();
        self.excitation = level * gain.max(0.0).sqrt();
    }

    /// Write the next samples.
    pub fn fill(&mut self, frame: &mut [u8]) {
        for octet in frame {
            let sample = self.excitation * self.random();
            let sample = self.shape(sample);
            *octet = self.law.encode(sample as i16);
        }
    }

    /// One step of the all-pole lattice.
    fn shape(&mut self, excitation: f32) -> f32 {
        let mut forward = excitation;
        for n in (0..self.order).rev() {
            let reflection = self.reflections[n];
            forward -= reflection * self.backward[n];
            // The place above has been read in the round before.
            if n + 1 < self.order {
                self.backward[n + 1] = self.backward[n] + reflection * forward;
            }
        }
        self.backward[0] = forward;
        forward
    }

    /// A number of mean 0 and variance 1, nearly normal: the sum of four uniform ones.
    fn random(&mut self) -> f32 {
        // xorshift64*: short, and long enough in period.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let sum: u32 = (0..4).map(|n| (bits >> (16 * n)) as u32 & 0xffff).sum();
        (sum as f32 - 4.0 * 32767.5) * (1.0 / 37837.2)
    }
}
