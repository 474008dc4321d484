//! G.711 against a second derivation: from the decision values of the recommendation's tables 1a, 1b, 2a and 2b,
//! built by adding up steps, and from the way in which tables 3 and 4 pair the numbers of the two laws.

use sbc_media::g711::{
    ALAW_TO_LINEAR, ALAW_TO_ULAW, Law, ULAW_TO_ALAW, ULAW_TO_LINEAR, alaw_to_ulaw, linear_to_alaw,
    linear_to_ulaw, ulaw_to_alaw,
};

/// One law as the recommendation prints it: 129 decision values x(0) to x(128), in the law's own units.
struct Table {
    decisions: Vec<i32>,
    /// 16-bit samples for each unit.
    unit: i32,
}

impl Table {
    /// A-law: two segments with steps of 2 up to 64, then sixteen steps in each, twice as large every time.
    fn a() -> Self {
        let mut decisions = vec![0];
        let mut up = |count: usize, step: i32| {
            for _ in 0..count {
                decisions.push(decisions[decisions.len() - 1] + step);
            }
        };
        up(32, 2);
        for step in [4, 8, 16, 32, 64, 128] {
            up(16, step);
        }
        assert_eq!(decisions[128], 4096);
        Self { decisions, unit: 8 }
    }

    /// µ-law: one step of 1, fifteen of 2, then sixteen in each segment, twice as large every time.
    fn mu() -> Self {
        let mut decisions = vec![0, 1];
        let mut up = |count: usize, step: i32| {
            for _ in 0..count {
                decisions.push(decisions[decisions.len() - 1] + step);
            }
        };
        up(15, 2);
        for step in [4, 8, 16, 32, 64, 128, 256] {
            up(16, step);
        }
        assert_eq!(decisions[128], 8159);
        Self { decisions, unit: 4 }
    }

    /// The value of the interval `number` (0 to 127), in 16-bit scale: halfway between its decision values,
    /// but the first of µ-law is zero.
    fn value(&self, number: usize) -> i32 {
        let (from, to) = (self.decisions[number], self.decisions[number + 1]);
        if to - from == 1 {
            return 0;
        }
        (from + to) / 2 * self.unit
    }

    /// All decision values from the most negative to the most positive, in 16-bit scale.
    fn ladder(&self) -> Vec<i32> {
        let mirrored = self.decisions.iter().skip(1).rev().map(|value| -value);
        let ladder: Vec<_> = mirrored.chain(self.decisions.iter().copied()).collect();
        ladder.iter().map(|value| value * self.unit).collect()
    }

    /// Sign and number of the interval in which a sample lies, its lower end included, on both sides of zero.
    fn interval(&self, ladder: &[i32], sample: i32) -> (bool, usize) {
        let above = ladder.partition_point(|&decision| decision <= sample);
        // 128 intervals on each side; what is beyond the outermost belongs to it.
        let index = above.clamp(1, 256) - 1;
        if index >= 128 {
            (true, index - 128)
        } else {
            (false, 127 - index)
        }
    }
}

/// The octet on the wire: A-law is sent with every second bit inverted, µ-law with all.
fn alaw_octet((positive, number): (bool, usize)) -> u8 {
    (u8::from(positive) << 7 | number as u8) ^ 0b0101_0101
}

fn ulaw_octet((positive, number): (bool, usize)) -> u8 {
    !(u8::from(!positive) << 7 | number as u8)
}

#[test]
fn all_512_codes_decode_to_the_values_between_the_decision_values() {
    let (a, mu) = (Table::a(), Table::mu());
    for number in 0..128 {
        for (positive, sign) in [(true, 1), (false, -1)] {
            let octet = usize::from(alaw_octet((positive, number)));
            assert_eq!(
                i32::from(ALAW_TO_LINEAR[octet]),
                sign * a.value(number),
                "A-law {octet:#04x}"
            );
            let octet = usize::from(ulaw_octet((positive, number)));
            assert_eq!(
                i32::from(ULAW_TO_LINEAR[octet]),
                sign * mu.value(number),
                "µ-law {octet:#04x}"
            );
        }
    }
}

#[test]
fn all_65536_samples_encode_to_their_interval() {
    let (a, mu) = (Table::a(), Table::mu());
    let (a_ladder, mu_ladder) = (a.ladder(), mu.ladder());
    for sample in i16::MIN..=i16::MAX {
        let expected = alaw_octet(a.interval(&a_ladder, i32::from(sample)));
        assert_eq!(linear_to_alaw(sample), expected, "A-law of {sample}");
        assert_eq!(Law::A.encode(sample), expected);
        let expected = ulaw_octet(mu.interval(&mu_ladder, i32::from(sample)));
        assert_eq!(linear_to_ulaw(sample), expected, "µ-law of {sample}");
        assert_eq!(Law::Mu.encode(sample), expected);
    }
}

/// The numbers 0 to 127 in order, some of them left out and some of them twice: how tables 3 and 4 lay the
/// steps of one law along those of the other.
fn pairing(skipped: &[u8], doubled: &[u8]) -> Vec<u8> {
    let times =
        |number: &u8| 1 + usize::from(doubled.contains(number)) - usize::from(skipped.contains(number));
    (0..128).flat_map(|number| vec![number; times(&number)]).collect()
}

#[test]
fn direct_conversion_pairs_the_numbers_as_tables_3_and_4_do() {
    // Table 3 counts A-law from 1, and so do these two lists.
    let to_alaw = pairing(
        &[26, 28, 30, 32, 45, 47, 63, 81].map(|number: u8| number - 1),
        &[1, 2, 3, 4, 5, 6, 7, 8].map(|number: u8| number - 1),
    );
    let to_ulaw = pairing(&[0, 2, 4, 6, 8, 10, 12, 14], &[32, 33, 34, 35, 48, 49, 64, 80]);
    assert_eq!((to_alaw.len(), to_ulaw.len()), (128, 128));
    for number in 0..128usize {
        for positive in [true, false] {
            let ulaw = ulaw_octet((positive, number));
            let expected = alaw_octet((positive, usize::from(to_alaw[number])));
            assert_eq!(ULAW_TO_ALAW[usize::from(ulaw)], expected, "µ-law number {number}");
            let alaw = alaw_octet((positive, number));
            let expected = ulaw_octet((positive, usize::from(to_ulaw[number])));
            assert_eq!(
                ALAW_TO_ULAW[usize::from(alaw)],
                expected,
                "A-law number {}",
                number + 1
            );
        }
    }
}

#[test]
fn a_payload_is_converted_in_place_octet_by_octet() {
    let all: Vec<u8> = (0..=255).collect();
    let mut payload = all.clone();
    ulaw_to_alaw(&mut payload);
    assert_eq!(payload, ULAW_TO_ALAW);
    let mut payload = all;
    alaw_to_ulaw(&mut payload);
    assert_eq!(payload, ALAW_TO_ULAW);
    ulaw_to_alaw(&mut []);
}

/// The periodic sequence of tables 5 and 6 is a sine of 1 kHz at 0 dBm0: it fixes what a level means.
#[test]
fn the_digital_milliwatt_is_0_dbm0() {
    for (law, octets) in [
        (Law::A, [0x34, 0x21, 0x21, 0x34, 0xb4, 0xa1, 0xa1, 0xb4]),
        (Law::Mu, [0x1e, 0x0b, 0x0b, 0x1e, 0x9e, 0x8b, 0x8b, 0x9e]),
    ] {
        let amplitude = law.amplitude(0.0);
        let eighth = std::f32::consts::FRAC_PI_4;
        let ours: Vec<u8> = (0..8)
            .map(|n| law.encode((-amplitude * ((n as f32 + 0.5) * eighth).sin()) as i16))
            .collect();
        assert_eq!(ours, octets, "{law:?}");
        let square = |octet: &u8| f32::from(law.decoder()[usize::from(*octet)]).powi(2);
        let rms = (octets.iter().map(square).sum::<f32>() / 8.0).sqrt();
        let error_db = 20.0 * (rms * 2f32.sqrt() / amplitude).log10();
        assert!(error_db.abs() < 0.05, "{law:?}: {error_db} dB");
    }
}
