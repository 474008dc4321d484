//! Sines at 8 kHz from a table, by phase: the same samples on every machine, and any later one without those
//! before it.

use core::f64::consts::TAU;

/// Samples per second of everything that is generated or detected here.
pub(crate) const RATE: f64 = 8000.0;

/// log2 of the number of intervals in the table.
const BITS: u32 = 10;
/// Bits of the phase below the table's resolution.
const FRACTION_BITS: u32 = 32 - BITS;

/// One period and the first value of the next. Interpolating between the entries errs by less than 5e-6.
static TABLE: [f32; (1 << BITS) + 1] = {
    let mut table = [0.0; (1 << BITS) + 1];
    let mut n = 0;
    while n < table.len() {
        table[n] = sine_by_series(TAU * n as f64 / (1u32 << BITS) as f64) as f32;
        n += 1;
    }
    table
};

/// Taylor's series of the sine, whose terms fall below f32's resolution well before the 30th for a full period.
const fn sine_by_series(angle: f64) -> f64 {
    let (mut sum, mut term, mut n) = (angle, angle, 1.0);
    while n < 59.0 {
        term = -term * angle * angle / ((n + 1.0) * (n + 2.0));
        sum += term;
        n += 2.0;
    }
    sum
}

/// The sine of a phase, a full turn being 2^32.
#[inline]
pub(crate) fn sine(phase: u32) -> f32 {
    let index = (phase >> FRACTION_BITS) as usize;
    let fraction = (phase & ((1 << FRACTION_BITS) - 1)) as f32 * (1.0 / (1u32 << FRACTION_BITS) as f32);
    // The index has BITS bits and the table one entry more than those can name.
    let (from, to) = (TABLE[index], TABLE[index + 1]);
    from + (to - from) * fraction
}

/// A sine of one frequency. Starts at phase zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Oscillator {
    phase: u32,
    step: u32,
}

impl Oscillator {
    /// `hz` below 4000; exact to 1e-6 Hz.
    pub(crate) fn new(hz: f64) -> Self {
        let turn = (1u64 << 32) as f64;
        Self {
            phase: 0,
            step: (hz / RATE * turn + 0.5) as u32,
        }
    }

    /// This sample; the next call gives the one after it.
    #[inline]
    pub(crate) fn sample(&mut self) -> f32 {
        let sample = sine(self.phase);
        self.phase = self.phase.wrapping_add(self.step);
        sample
    }

    /// Go `samples` ahead.
    pub(crate) fn skip(&mut self, samples: u64) {
        // Whole turns fall out of the product.
        self.phase = self.phase.wrapping_add(self.step.wrapping_mul(samples as u32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_a_sine() {
        for n in 0..100_000u32 {
            let phase = n.wrapping_mul(2_654_435_761);
            let exact = (f64::from(phase) / (1u64 << 32) as f64 * TAU).sin();
            assert!((f64::from(sine(phase)) - exact).abs() < 6e-6, "{phase}");
        }
    }

    #[test]
    fn skipping_is_counting() {
        let mut counted = Oscillator::new(441.7);
        let mut skipped = counted;
        for _ in 0..123_457 {
            counted.sample();
        }
        skipped.skip(123_457);
        assert_eq!(counted.sample(), skipped.sample());
    }
}
