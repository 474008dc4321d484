//! Two sines in a block of samples, measured exactly: frequency, power, and what remains without them.
//!
//! Each sine in turn is measured in what the other leaves, and then taken out, until both have settled. Within half
//! a block its phase hardly moves against the frequency that is assumed; by how much it does from one half to the
//! other says how far off that frequency is.

use super::{BLOCK, Complex, HOP};
use crate::sine::RATE;
use core::f32::consts::PI;

/// Passes over both sines. The first leaves them a few percent of each other, the second a few tenths.
const PASSES: usize = 2;

/// One of the two sines.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sine {
    /// Its frequency.
    pub(super) hz: f32,
    /// Its mean power.
    pub(super) power: f32,
    /// Angle from one sample to the next.
    step: f32,
    /// Half its amplitude and its phase at the first sample.
    phasor: Complex,
}

/// What was measured.
pub(super) struct Fit {
    /// The two sines, in the order in which they were asked for.
    pub(super) sines: [Sine; 2],
    /// Mean power of the block.
    pub(super) power: f32,
    /// Mean power of the block without the two sines.
    pub(super) residue_power: f32,
    residue: [f32; BLOCK],
}

/// Measure the two sines that are near to the two frequencies (within 60 Hz).
pub(super) fn two_sines(samples: &[f32; BLOCK], nominal_hz: [f32; 2]) -> Fit {
    let mut residue = *samples;
    let mut sines = nominal_hz.map(|hz| Sine {
        step: 2.0 * PI * hz / RATE as f32,
        ..Sine::default()
    });
    for _ in 0..PASSES {
        for sine in &mut sines {
            let halves = put_back(&mut residue, sine);
            sine.settle(halves);
            take_out(&mut residue, sine);
        }
    }
    for sine in &mut sines {
        sine.hz = sine.step * RATE as f32 / (2.0 * PI);
        sine.power = 2.0 * sine.phasor.square();
    }
    Fit {
        sines,
        power: power(samples),
        residue_power: power(&residue),
        residue,
    }
}

impl Fit {
    /// Mean power at `hz` of what remains.
    pub(super) fn residue_at(&self, hz: f32) -> f32 {
        let turn = Complex::turn(-2.0 * PI * hz / RATE as f32);
        let mut at = Complex { re: 1.0, im: 0.0 };
        let mut sum = Complex::default();
        for sample in self.residue {
            sum.re += sample * at.re;
            sum.im += sample * at.im;
            at = at.times(turn);
        }
        2.0 * sum.square() / (BLOCK * BLOCK) as f32
    }
}

impl Sine {
    /// Take frequency, amplitude and phase from the sums over the two halves.
    fn settle(&mut self, [first, second]: [Complex; 2]) {
        let advance = second.times(first.conjugate());
        let off = advance.im.atan2(advance.re) / HOP as f32;
        // What is off by `off` adds up to this part of what it would without, at the middle of the half.
        let half = HOP as f32 / 2.0;
        let kept = if off.abs() < 1e-6 {
            1.0
        } else {
            (off * half).sin() / (HOP as f32 * (off / 2.0).sin())
        };
        let back = |middle: f32| Complex::turn(-off * middle);
        let sum = first
            .times(back(half - 0.5))
            .plus(second.times(back(half - 0.5 + HOP as f32)));
        let scale = 1.0 / (BLOCK as f32 * kept);
        self.phasor = Complex {
            re: sum.re * scale,
            im: sum.im * scale,
        };
        self.step += off;
    }
}

/// Add a sine that was taken out, and return the sums at its frequency over the two halves of the result.
fn put_back(residue: &mut [f32; BLOCK], sine: &Sine) -> [Complex; 2] {
    let turn = Complex::turn(sine.step);
    let mut at = Complex { re: 1.0, im: 0.0 };
    let mut sums = [Complex::default(); 2];
    for (samples, sum) in residue.chunks_exact_mut(HOP).zip(&mut sums) {
        for sample in samples {
            *sample += 2.0 * sine.phasor.times(at).re;
            sum.re += *sample * at.re;
            sum.im -= *sample * at.im;
            at = at.times(turn);
        }
    }
    sums
}

fn take_out(residue: &mut [f32; BLOCK], sine: &Sine) {
    let turn = Complex::turn(sine.step);
    let mut at = sine.phasor;
    for sample in residue {
        *sample -= 2.0 * at.re;
        at = at.times(turn);
    }
}

fn power(samples: &[f32; BLOCK]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum::<f32>() / BLOCK as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_both_sines_whatever_their_phases_and_twist() {
        for n in 0..200 {
            let phases = [n as f32 * 0.37, n as f32 * 1.1];
            let off = [
                1.0 + 0.035 * (n as f32).sin(),
                1.0 + 0.035 * (n as f32 * 1.3).cos(),
            ];
            let nominal = [[697.0, 1209.0], [941.0, 1209.0], [697.0, 1336.0], [941.0, 1633.0]][n % 4];
            let amplitudes = [[1000.0, 400.0], [1000.0, 1000.0], [600.0, 1000.0]][n % 3];
            let samples: [f32; BLOCK] = core::array::from_fn(|at| {
                (0..2)
                    .map(|k| {
                        let step = 2.0 * PI * nominal[k] * off[k] / 8000.0;
                        amplitudes[k] * (step * at as f32 + phases[k]).sin()
                    })
                    .sum()
            });
            let fit = two_sines(&samples, nominal);
            for k in 0..2 {
                let error = fit.sines[k].hz / (nominal[k] * off[k]) - 1.0;
                assert!(error.abs() < 0.006, "{n}: frequency {k} off by {error}");
                let error_db = 10.0 * (fit.sines[k].power / (amplitudes[k] * amplitudes[k] / 2.0)).log10();
                assert!(error_db.abs() < 0.8, "{n}: power {k} off by {error_db} dB");
            }
            assert!(fit.residue_power < 0.01 * fit.power, "{n}");
        }
    }
}
