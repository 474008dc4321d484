//! Digits as pairs of tones inside G.711 audio (ITU-T Q.23, Q.24).
//!
//! In, [`Generator`]: digits. Out: frames of audio in place of those that would be sent. In, [`Detector`]: the
//! payloads of a direction. Out: each digit once.

use super::{Digit, Full, Pending, Report, Timing};
use crate::{
    g711::Law,
    sine::{Oscillator, RATE, sine},
};
use core::f32::consts::PI;

mod fit;

/// Level of the low frequency that [`Generator::new`] is best given, in dBm0.
pub const LOW_DBM0: f32 = -9.0;
/// Level of the high frequency: lines lose more of it, so it starts with 2 dB more.
pub const HIGH_DBM0: f32 = -7.0;

/// A tone rises and falls within so many samples (3 ms), or it would click.
const RAMP: u32 = 24;

/// Sends digits as audio.
#[derive(Clone, Debug)]
pub struct Generator {
    pending: Pending,
    timing: Timing,
    law: Law,
    /// Peak amplitudes of the low and the high frequency.
    amplitudes: [f32; 2],
    tones: [Oscillator; 2],
    playing: Playing,
}

#[derive(Clone, Copy, Debug)]
enum Playing {
    Nothing,
    /// The first pending digit: samples so far, and where it ends, if that is known.
    Tone {
        at: u32,
        end: Option<u32>,
    },
    /// Silence after a digit, in samples.
    Gap {
        left: u32,
    },
}

impl Generator {
    /// Nothing to send yet. Levels are those of each frequency, in dBm0; of `timing`, the packet time is not used.
    pub fn new(law: Law, low_dbm0: f32, high_dbm0: f32, timing: Timing) -> Self {
        Self {
            pending: Pending::new(),
            timing,
            law,
            amplitudes: [law.amplitude(low_dbm0), law.amplitude(high_dbm0)],
            tones: [Oscillator::default(); 2],
            playing: Playing::Nothing,
        }
    }

    /// Send a digit of `duration` samples (at least [`Timing::tone_min`]) after those that wait.
    pub fn send(&mut self, digit: Digit, duration: u32) -> Result<(), Full> {
        self.pending.push(digit, Some(duration))
    }

    /// Send a digit whose duration is not known yet, after those that wait. It lasts until [`Self::end`], or
    /// until another digit is given.
    pub fn begin(&mut self, digit: Digit) -> Result<(), Full> {
        self.pending.push(digit, None)
    }

    /// The digit of [`Self::begin`] lasts `duration` samples, or as long as has already been sent.
    pub fn end(&mut self, duration: u32) {
        self.pending.end(duration);
    }

    /// Digits that have not been sent to their end.
    pub const fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Whether there is nothing more to send, and the least gap after the last digit is over.
    pub fn is_idle(&self) -> bool {
        matches!(self.playing, Playing::Nothing | Playing::Gap { left: 0 }) && self.pending.front().is_none()
    }

    /// Write the next samples. Returns `false` and leaves `frame` as it is when nothing is being sent; otherwise
    /// all of it is replaced, by silence where there is no tone.
    pub fn fill(&mut self, frame: &mut [u8]) -> bool {
        if self.is_idle() {
            return false;
        }
        for octet in frame {
            let sample = self.sample();
            *octet = self.law.encode(sample as i16);
        }
        true
    }

    fn sample(&mut self) -> f32 {
        if let Playing::Gap { left } = &mut self.playing {
            if *left > 0 {
                *left -= 1;
                return 0.0;
            }
            self.playing = Playing::Nothing;
        }
        let Some((digit, target)) = self.pending.front() else {
            return 0.0;
        };
        let (at, end) = match self.playing {
            Playing::Tone { at, end } => (at, end),
            _ => {
                let (low, high) = digit.frequencies();
                self.tones = [low, high].map(|hz| Oscillator::new(f64::from(hz)));
                (0, None)
            }
        };
        // The end is fixed when it becomes known, with time to fall.
        let end = end.or_else(|| target.map(|target| target.max(self.timing.tone_min).max(at + RAMP)));
        let level = match end {
            Some(end) => rise(at) * rise(end - 1 - at),
            None => rise(at),
        };
        let sample = (self.tones.iter_mut().zip(self.amplitudes))
            .map(|(tone, amplitude)| tone.sample() * amplitude)
            .sum::<f32>();
        self.playing = Playing::Tone { at: at + 1, end };
        if end == Some(at + 1) {
            self.pending.pop();
            self.playing = Playing::Gap {
                left: self.timing.gap_min,
            };
        }
        sample * level
    }
}

/// From 0 to 1 within [`RAMP`] samples, along half a cosine.
fn rise(at: u32) -> f32 {
    if at >= RAMP {
        return 1.0;
    }
    // A quarter turn ahead, the sine is the cosine.
    let phase = (2 * at + 1) * ((1 << 30) / RAMP);
    0.5 - 0.5 * sine(phase + (1 << 30))
}

/// Samples of half a block, and from one block to the next: 8 ms.
const HOP: usize = 64;
/// Samples of a block: 16 ms, which resolve 62.5 Hz, less than what separates two rows.
const BLOCK: usize = 2 * HOP;
/// All frequencies, rows first.
const HZ: [f32; 8] = [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0];

/// A frequency that is further off than this is another one. Q.24 table A-1 wants 1.5 % taken and 3.5 % refused.
const DEVIATION_MAX: f32 = 0.025;
/// A frequency below this level is none. Table A-1 wants -25 dBm0 taken and -29 dBm0 refused.
const LEVEL_MIN_DBM0: f32 = -27.0;
/// By so much the high frequency may be stronger than the low one. Table A-1 wants 4 dB taken.
const TWIST_MAX_DB: f32 = 6.0;
/// By so much it may be weaker. Table A-1 wants 8 dB taken.
const TWIST_MIN_DB: f32 = -10.0;
/// Of the power of a block, what is not the two tones, at most.
const RESIDUE_MAX: f32 = 0.1;
/// The second harmonic of either frequency, relative to it, at most: voices have strong ones.
const HARMONIC_MAX_DB: f32 = -15.0;
/// By so much a level may change between the blocks with which a digit begins.
const CHANGE_MAX_DB: f32 = 2.0;
/// So many blocks in a row make a digit. A block passes when at least nine tenths of it are tone, so this takes
/// 29 ms at least, and never more than 40.
const BLOCKS_MIN: u8 = 3;
/// So many blocks in a row without it end a digit: 10 ms of silence do not (table A-1), 30 ms do.
const MISSES_MAX: u8 = 3;
/// Duration of a digit beyond the distance of its first from its last block, on average.
const BLOCK_REACH: u32 = 122;

/// A complex number.
#[derive(Clone, Copy, Debug, Default)]
struct Complex {
    re: f32,
    im: f32,
}

impl Complex {
    fn turn(angle: f32) -> Self {
        let (im, re) = angle.sin_cos();
        Self { re, im }
    }

    fn times(self, other: Self) -> Self {
        Self {
            re: self.re * other.re - self.im * other.im,
            im: self.re * other.im + self.im * other.re,
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            re: self.re + other.re,
            im: self.im + other.im,
        }
    }

    fn conjugate(self) -> Self {
        Self {
            re: self.re,
            im: -self.im,
        }
    }

    fn square(self) -> f32 {
        self.re * self.re + self.im * self.im
    }
}

/// A digit on its way to be told.
#[derive(Clone, Copy, Debug)]
struct Run {
    digit: Digit,
    /// Blocks in a row that passed.
    blocks: u8,
    /// Powers of the two frequencies in the first of them.
    powers: [f32; 2],
}

/// A digit that has been told of.
#[derive(Clone, Copy, Debug)]
struct Heard {
    digit: Digit,
    /// Blocks from its first to its latest.
    span: u32,
    /// Blocks since the latest.
    misses: u8,
}

/// Finds digits in G.711 audio. Works on blocks of 16 ms, one every 8 ms, with the Goertzel algorithm; where a
/// block looks like a digit, its two sines are measured exactly and everything else in it is weighed.
#[derive(Clone, Debug)]
pub struct Detector {
    law: Law,
    /// The latest block; the second half of it is being filled.
    samples: [f32; BLOCK],
    filled: usize,
    /// Goertzel sums and energy of the first half.
    half: [Complex; 8],
    energy: f32,
    run: Option<Run>,
    heard: Option<Heard>,
    /// Cosine and sine of the angle from one sample to the next, for each frequency.
    steps: [Complex; 8],
    /// The turn over half a block.
    hops: [Complex; 8],
    /// Energy below which half a block holds nothing of interest.
    energy_min: f32,
    /// Power of a frequency at the lowest level.
    power_min: f32,
}

impl Detector {
    /// Nothing heard yet.
    pub fn new(law: Law) -> Self {
        let angles = HZ.map(|hz| 2.0 * PI * hz / RATE as f32);
        let power_min = law.amplitude(LEVEL_MIN_DBM0).powi(2) / 2.0;
        Self {
            law,
            samples: [0.0; BLOCK],
            filled: 0,
            half: [Complex::default(); 8],
            energy: 0.0,
            run: None,
            heard: None,
            steps: angles.map(Complex::turn),
            hops: angles.map(|angle| Complex::turn(angle * HOP as f32)),
            // A quarter of the weakest tone.
            energy_min: power_min * HOP as f32 / 4.0,
            power_min,
        }
    }

    /// Hear the next samples of the direction, in its law: payloads one after the other, of any length. `report`
    /// is called for what they tell.
    pub fn hear(&mut self, payload: &[u8], report: &mut impl FnMut(Report)) {
        let decoder = self.law.decoder();
        for octet in payload {
            self.samples[HOP + self.filled] = f32::from(decoder[usize::from(*octet)]);
            self.filled += 1;
            if self.filled == HOP {
                self.filled = 0;
                self.block(report);
                self.samples.copy_within(HOP.., 0);
            }
        }
    }

    /// The block is complete.
    fn block(&mut self, report: &mut impl FnMut(Report)) {
        let new: &[f32; HOP] = self.samples.last_chunk().unwrap_or(&[0.0; HOP]);
        let energy = new.iter().map(|sample| sample * sample).sum::<f32>();
        let half = if energy < self.energy_min {
            [Complex::default(); 8]
        } else {
            goertzel(new, &self.steps)
        };
        let powers = core::array::from_fn(|n| {
            let whole = self.half[n].times(self.hops[n]).plus(half[n]);
            2.0 * whole.square() / (BLOCK * BLOCK) as f32
        });
        let candidate = self.candidate(&powers, (self.energy + energy) / BLOCK as f32);
        (self.half, self.energy) = (half, energy);

        if let Some(heard) = &mut self.heard {
            heard.misses += 1;
            if candidate == Some(heard.digit) {
                heard.span += u32::from(heard.misses);
                heard.misses = 0;
            } else if heard.misses == MISSES_MAX {
                report(Report::Ended {
                    digit: heard.digit,
                    duration: heard.span * HOP as u32 + BLOCK_REACH,
                });
                self.heard = None;
            }
        }
        let candidate = candidate.filter(|&digit| self.heard.is_none_or(|heard| heard.digit != digit));
        self.run = candidate.and_then(|digit| self.follow(digit));
        if let Some(Run {
            digit,
            blocks: BLOCKS_MIN,
            ..
        }) = self.run
        {
            // A digit that follows without a pause ends the one before.
            if let Some(before) = self.heard.take() {
                report(Report::Ended {
                    digit: before.digit,
                    duration: before.span * HOP as u32 + BLOCK_REACH,
                });
            }
            report(Report::Began(digit));
            self.heard = Some(Heard {
                digit,
                span: u32::from(BLOCKS_MIN) - 1,
                misses: 0,
            });
            self.run = None;
        }
    }

    /// The digit that a block may be, by a coarse look: one frequency stands out of each group, and the two are
    /// most of what there is.
    fn candidate(&self, powers: &[f32; 8], power: f32) -> Option<Digit> {
        let (low, high) = (strongest(&powers[..4])?, strongest(&powers[4..])?);
        let (low_power, high_power) = (powers[low], powers[4 + high]);
        // At the edge of the tolerance, a frequency loses 2.4 dB against its own filter.
        let loud = low_power.min(high_power) > self.power_min * 0.5;
        (loud && low_power + high_power > power * 0.4).then(|| Digit::at(low, high))?
    }

    /// The run of blocks that pass for `digit`, the present one included.
    fn follow(&self, digit: Digit) -> Option<Run> {
        let powers = self.measure(digit)?;
        match self.run {
            Some(run) if run.digit == digit => {
                let steady = run.powers.iter().zip(powers).all(|(first, now)| {
                    let change_db = 10.0 * (now / first).log10();
                    change_db.abs() <= CHANGE_MAX_DB
                });
                steady.then_some(Run {
                    blocks: run.blocks + 1,
                    ..run
                })
            }
            _ => None,
        }
        .or(Some(Run {
            digit,
            blocks: 1,
            powers,
        }))
    }

    /// Measure the block; the powers of the two frequencies if it is `digit` by all criteria.
    fn measure(&self, digit: Digit) -> Option<[f32; 2]> {
        let (low, high) = digit.frequencies();
        let nominal = [f32::from(low), f32::from(high)];
        let fit = fit::two_sines(&self.samples, nominal);
        for (sine, nominal) in fit.sines.iter().zip(nominal) {
            let deviation = sine.hz / nominal - 1.0;
            let harmonic = fit.residue_at(2.0 * sine.hz);
            if !(deviation.abs() <= DEVIATION_MAX
                && sine.power >= self.power_min
                && harmonic <= sine.power * 10f32.powf(HARMONIC_MAX_DB / 10.0))
            {
                return None;
            }
        }
        let powers = fit.sines.map(|sine| sine.power);
        let twist_db = 10.0 * (powers[1] / powers[0]).log10();
        let pure = fit.residue_power <= RESIDUE_MAX * fit.power;
        (pure && (TWIST_MIN_DB..=TWIST_MAX_DB).contains(&twist_db)).then_some(powers)
    }
}

/// The index of the largest of four powers, if it is 6 dB above all others.
fn strongest(powers: &[f32]) -> Option<usize> {
    let (best, &most) = powers.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let alone = (powers.iter().enumerate()).all(|(n, &power)| n == best || power * 4.0 < most);
    alone.then_some(best)
}

/// The spectrum of `samples` at all eight frequencies, its phase that of the last sample.
fn goertzel(samples: &[f32; HOP], steps: &[Complex; 8]) -> [Complex; 8] {
    let feedback = steps.map(|step| 2.0 * step.re);
    let (mut last, mut before) = ([0.0f32; 8], [0.0f32; 8]);
    for sample in samples {
        let next = core::array::from_fn(|n| sample + feedback[n] * last[n] - before[n]);
        before = last;
        last = next;
    }
    core::array::from_fn(|n| Complex {
        re: last[n] - before[n] * steps[n].re,
        im: before[n] * steps[n].im,
    })
}
