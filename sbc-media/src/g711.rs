//! ITU-T G.711: A-law and µ-law to and from linear samples, and directly into each other.
//!
//! In: payload octets or 16-bit samples. Out: the same number of the other. All tables are computed
//! at compile time from the definitions; the direct conversions follow tables 3 and 4 of the
//! recommendation, which are not what decoding and encoding again would give.

/// One of the two laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Law {
    /// A-law, static payload type 8 (PCMA).
    A,
    /// µ-law, static payload type 0 (PCMU).
    Mu,
}

impl Law {
    /// The octet of a 16-bit sample.
    #[inline]
    pub const fn encode(self, sample: i16) -> u8 {
        match self {
            Self::A => linear_to_alaw(sample),
            Self::Mu => linear_to_ulaw(sample),
        }
    }

    /// The 16-bit samples of all octets.
    #[inline]
    pub const fn decoder(self) -> &'static [i16; 256] {
        match self {
            Self::A => &ALAW_TO_LINEAR,
            Self::Mu => &ULAW_TO_LINEAR,
        }
    }

    /// The octet of silence: the smallest positive value.
    pub const fn silence(self) -> u8 {
        self.encode(0)
    }

    /// The virtual decision value beyond the largest code, in 16-bit scale (G.711 tables 1a and 2a): where
    /// the law overloads.
    pub const fn overload(self) -> f32 {
        match self {
            Self::A => 32768.0,
            Self::Mu => 32636.0,
        }
    }

    /// The peak amplitude of a sine of `dbm0`, in 16-bit scale. A sine that just reaches the point of overload
    /// has +3.14 dBm0 in A-law and +3.17 dBm0 in µ-law (G.711 §4).
    #[expect(
        clippy::approx_constant,
        reason = "the recommendation's figure, not a circle's"
    )]
    pub fn amplitude(self, dbm0: f32) -> f32 {
        let full_dbm0 = match self {
            Self::A => 3.14,
            Self::Mu => 3.17,
        };
        self.overload() * 10f32.powf((dbm0 - full_dbm0) / 20.0)
    }
}

/// Linear value of every A-law octet, in 16-bit scale.
pub static ALAW_TO_LINEAR: [i16; 256] = linear_table(Law::A);
/// Linear value of every µ-law octet, in 16-bit scale.
pub static ULAW_TO_LINEAR: [i16; 256] = linear_table(Law::Mu);
/// A-law octet for every µ-law octet (G.711 table 3).
pub static ULAW_TO_ALAW: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        // On the wire µ-law has all bits inverted, A-law every second one and the sign.
        let code = !(octet as u8);
        table[octet] = (code & 0x80 | ulaw_number_to_alaw(code & 0x7f)) ^ 0xd5;
        octet += 1;
    }
    table
};
/// µ-law octet for every A-law octet (G.711 table 4).
pub static ALAW_TO_ULAW: [u8; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let code = octet as u8 ^ 0xd5;
        table[octet] = !(code & 0x80 | alaw_number_to_ulaw(code & 0x7f));
        octet += 1;
    }
    table
};

/// Turn a payload of µ-law into A-law, in place.
pub fn ulaw_to_alaw(payload: &mut [u8]) {
    for octet in payload {
        *octet = ULAW_TO_ALAW[usize::from(*octet)];
    }
}

/// Turn a payload of A-law into µ-law, in place.
pub fn alaw_to_ulaw(payload: &mut [u8]) {
    for octet in payload {
        *octet = ALAW_TO_ULAW[usize::from(*octet)];
    }
}

/// A-law octet of a sample. Of the 16 bits the lower 3 are below A-law's resolution.
pub const fn linear_to_alaw(sample: i16) -> u8 {
    // Decision values lie between the integers on the negative side too, hence `!` and not `-`.
    let (sign, magnitude) = if sample < 0 {
        (0x00, !sample)
    } else {
        (0x80, sample)
    };
    let magnitude = magnitude as u16 >> 4;
    // 16 steps in each segment; the first two segments have the same step.
    let code = match magnitude.checked_ilog2() {
        Some(log @ 5..) => (log as u16 - 3) << 4 | magnitude >> (log - 4) & 0x0f,
        _ => magnitude,
    };
    (sign | code as u8) ^ 0x55
}

/// µ-law octet of a sample. Of the 16 bits the lower 2 are below µ-law's resolution.
pub const fn linear_to_ulaw(sample: i16) -> u8 {
    let (sign, magnitude) = if sample < 0 {
        (0x80, !sample)
    } else {
        (0x00, sample)
    };
    // Adding the bias makes every segment start at a power of two.
    let biased = (magnitude as u16 >> 2) + 33;
    let code = if biased > 0x1fff {
        0x7f
    } else {
        let log = biased.ilog2();
        (log as u16 - 5) << 4 | biased >> (log - 4) & 0x0f
    };
    !(sign | code as u8)
}

const fn alaw_to_linear(octet: u8) -> i16 {
    let code = octet ^ 0x55;
    let (segment, step) = ((code >> 4 & 7) as u32, (code & 0x0f) as i16);
    let magnitude = match segment {
        0 => 2 * step + 1,
        _ => (2 * step + 33) << (segment - 1),
    };
    let sample = magnitude << 3;
    if code & 0x80 == 0 { -sample } else { sample }
}

const fn ulaw_to_linear(octet: u8) -> i16 {
    let code = !octet;
    let (segment, step) = ((code >> 4 & 7) as u32, (code & 0x0f) as i16);
    let sample = (((2 * step + 33) << segment) - 33) << 2;
    if code & 0x80 == 0 { sample } else { -sample }
}

const fn linear_table(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        table[octet] = match law {
            Law::A => alaw_to_linear(octet as u8),
            Law::Mu => ulaw_to_linear(octet as u8),
        };
        octet += 1;
    }
    table
}

/// Table 3 by magnitude: number of the µ-law decoder value to number (less one) of the A-law value.
const fn ulaw_number_to_alaw(number: u8) -> u8 {
    match number {
        0..=15 => number / 2,
        16..=31 => number - 8,
        32..=36 => 24 + 2 * (number - 32),
        37..=47 => number - 4,
        48 => 45,
        49 => 47,
        50..=63 => number - 2,
        64..=80 => number - 1,
        _ => number,
    }
}

/// Table 4 by magnitude: number (less one) of the A-law decoder value to number of the µ-law value.
const fn alaw_number_to_ulaw(number: u8) -> u8 {
    match number {
        0..=7 => 2 * number + 1,
        8..=23 => number + 8,
        24..=31 => 32 + (number - 24) / 2,
        32..=43 => number + 4,
        44..=47 => 48 + (number - 44) / 2,
        48..=61 => number + 2,
        62 | 63 => 64,
        64..=79 => number + 1,
        _ => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Positive values of the recommendation's tables 1a and 2a at segment ends, in 16-bit scale.
    #[test]
    fn decoder_values_at_the_segment_ends() {
        for (octet, value) in [
            (0xd5, 8),
            (0xda, 248),
            (0xc5, 264),
            (0xca, 504),
            (0xaa, 32256),
            (0x55, -8),
            (0x2a, -32256),
        ] {
            assert_eq!(ALAW_TO_LINEAR[octet], value, "A-law {octet:#04x}");
        }
        for (octet, value) in [
            (0xff, 0),
            (0xf0, 120),
            (0xef, 132),
            (0x80, 32124),
            (0x7f, 0),
            (0x00, -32124),
        ] {
            assert_eq!(ULAW_TO_LINEAR[octet], value, "µ-law {octet:#04x}");
        }
    }

    #[test]
    fn encoding_undoes_decoding() {
        for octet in 0..=255u8 {
            assert_eq!(linear_to_alaw(ALAW_TO_LINEAR[usize::from(octet)]), octet);
            // µ-law has two zeros, linear one.
            let expected = if octet == 0x7f { 0xff } else { octet };
            assert_eq!(linear_to_ulaw(ULAW_TO_LINEAR[usize::from(octet)]), expected);
        }
    }

    /// Every sample lies within half a step of the value it is decoded to; beyond the largest
    /// µ-law value it is clipped.
    #[test]
    fn quantising_errs_by_half_a_step_at_most() {
        for sample in i16::MIN..=i16::MAX {
            let octet = linear_to_alaw(sample);
            let half_step = 8u16 << ((octet ^ 0x55) >> 4 & 7).saturating_sub(1);
            let error = ALAW_TO_LINEAR[usize::from(octet)].abs_diff(sample);
            assert!(error <= half_step, "A-law {sample}: {error}");
            let octet = linear_to_ulaw(sample);
            let half_step = 4u16 << (!octet >> 4 & 7);
            let clipped = sample.clamp(-32636, 32635);
            let error = ULAW_TO_LINEAR[usize::from(octet)].abs_diff(clipped);
            assert!(error <= half_step, "µ-law {sample}: {error}");
        }
    }

    #[test]
    fn encoding_is_monotonic_and_keeps_the_sign() {
        for sample in i16::MIN..i16::MAX {
            let (a, b) = (sample, sample + 1);
            let alaw = |sample| ALAW_TO_LINEAR[usize::from(linear_to_alaw(sample))];
            let ulaw = |sample| ULAW_TO_LINEAR[usize::from(linear_to_ulaw(sample))];
            assert!(alaw(a) <= alaw(b) && ulaw(a) <= ulaw(b), "{sample}");
            assert!((alaw(a) < 0) == (a < 0), "{sample}");
        }
    }

    /// The direct conversion differs from the nearest value by at most one step, and where, is known:
    /// it resolves ties and keeps what went through both laws stable.
    #[test]
    fn direct_conversion_is_the_nearest_value_but_for_the_recommended_exceptions() {
        let nearest =
            |table: &[i16; 256], value: i16| table.iter().map(|other| other.abs_diff(value)).min().unwrap();
        let exceptions = |from: &[i16; 256], to: &[i16; 256], direct: &[u8; 256]| -> Vec<usize> {
            (0..128)
                .filter(|&number| {
                    let octet = if core::ptr::eq(from, &ULAW_TO_LINEAR) {
                        !number as u8
                    } else {
                        number as u8 ^ 0xd5
                    };
                    let value = from[usize::from(octet)];
                    to[usize::from(direct[usize::from(octet)])].abs_diff(value) != nearest(to, value)
                })
                .collect()
        };
        let to_alaw = exceptions(&ULAW_TO_LINEAR, &ALAW_TO_LINEAR, &ULAW_TO_ALAW);
        assert_eq!(to_alaw, [vec![48, 49, 64], (81..96).collect()].concat());
        let to_ulaw = exceptions(&ALAW_TO_LINEAR, &ULAW_TO_LINEAR, &ALAW_TO_ULAW);
        assert_eq!(to_ulaw, (80..95).collect::<Vec<_>>());
    }

    #[test]
    fn direct_conversion_is_symmetric_and_monotonic() {
        for octet in 0..128usize {
            assert_eq!(ULAW_TO_ALAW[octet] ^ 0x80, ULAW_TO_ALAW[octet | 0x80]);
            assert_eq!(ALAW_TO_ULAW[octet] ^ 0x80, ALAW_TO_ULAW[octet | 0x80]);
        }
        for number in 0..127u8 {
            let alaw = |number: u8| ALAW_TO_LINEAR[usize::from(ULAW_TO_ALAW[usize::from(!number)])];
            let ulaw = |number: u8| ULAW_TO_LINEAR[usize::from(ALAW_TO_ULAW[usize::from(number ^ 0xd5)])];
            assert!(alaw(number) <= alaw(number + 1) && ulaw(number) <= ulaw(number + 1));
        }
    }

    /// A second pass through both laws changes nothing more: a call over several gateways does not
    /// degrade with each of them.
    #[test]
    fn tandem_conversions_settle() {
        for octet in 0..=255u8 {
            let there = |octet: u8| ULAW_TO_ALAW[usize::from(octet)];
            let back = |octet: u8| ALAW_TO_ULAW[usize::from(octet)];
            let once = back(there(octet));
            assert_eq!(back(there(once)), once, "µ-law {octet:#04x}");
            let changed = once != octet;
            // Below number 16 µ-law is twice as fine; above, the way through A-law is lossless.
            assert_eq!(
                changed,
                !octet & 0x7f < 16 && octet & 1 == 1,
                "µ-law {octet:#04x}"
            );
        }
    }
}
