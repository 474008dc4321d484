//! What the in-band detector takes and what it refuses: the limits of ITU-T Q.24, table A-1.

mod audio;

use audio::*;
use sbc_media::{
    dtmf::{Timing, inband::Generator},
    g711::Law,
};

const ALL: &str = "0123456789*#ABCD";
const LAWS: [Law; 2] = [Law::A, Law::Mu];

/// Hear `pair` with silence around it, at several positions against the detector's blocks and several phases.
/// Returns how often exactly this digit was told, how often anything else was, and of how many.
fn tally(law: Law, character: char, pair: Pair) -> (u32, u32, u32) {
    let (mut right, mut wrong, mut all) = (0, 0, 0);
    for offset in (0..64).step_by(9) {
        let pair = Pair {
            phase: f64::from(offset) * 0.71,
            ..pair
        };
        let samples = [vec![0.0; 400 + offset as usize], pair.samples(law)].concat();
        all += 1;
        match digits(law, &samples).as_str() {
            "" => {}
            told if told == character.to_string() => right += 1,
            _ => wrong += 1,
        }
    }
    (right, wrong, all)
}

fn taken(what: &str, law: Law, character: char, pair: Pair) {
    let (right, _, all) = tally(law, character, pair);
    assert_eq!(right, all, "{what}: {law:?} {character}");
}

fn refused(what: &str, law: Law, character: char, pair: Pair) {
    let (right, wrong, _) = tally(law, character, pair);
    assert_eq!((right, wrong), (0, 0), "{what}: {law:?} {character}");
}

fn each(mut check: impl FnMut(Law, char, Pair)) {
    for law in LAWS {
        ALL.chars()
            .for_each(|character| check(law, character, Pair::of(character)));
    }
}

#[test]
fn frequencies_within_1_5_percent_are_taken() {
    each(|law, character, pair| {
        for (low, high) in [
            (0.0, 0.0),
            (1.5, 1.5),
            (-1.5, -1.5),
            (1.5, -1.5),
            (-1.5, 1.5),
            (1.5, 0.0),
            (0.0, -1.5),
        ] {
            let pair = Pair {
                low_hz: pair.low_hz * (1.0 + low / 100.0),
                high_hz: pair.high_hz * (1.0 + high / 100.0),
                ms: 40.0,
                ..pair
            };
            taken(&format!("{low} % {high} %"), law, character, pair);
        }
    });
}

#[test]
fn frequencies_off_by_3_5_percent_are_refused() {
    each(|law, character, pair| {
        for percent in [3.5, -3.5, 4.5, -4.5, 6.0, -6.0] {
            for (low, high) in [(percent, 0.0), (0.0, percent), (percent, percent)] {
                let pair = Pair {
                    low_hz: pair.low_hz * (1.0 + low / 100.0),
                    high_hz: pair.high_hz * (1.0 + high / 100.0),
                    ms: 100.0,
                    ..pair
                };
                refused(&format!("{low} % {high} %"), law, character, pair);
            }
        }
    });
}

#[test]
fn levels_from_minus_25_to_minus_3_dbm0_are_taken_and_minus_29_is_refused() {
    each(|law, character, pair| {
        let at = |dbm0: f64| Pair {
            low_dbm0: dbm0,
            high_dbm0: dbm0,
            ms: 40.0,
            ..pair
        };
        for dbm0 in [-3.0, -6.0, -12.0, -18.0, -25.0] {
            taken(&format!("{dbm0} dBm0"), law, character, at(dbm0));
        }
        for dbm0 in [-29.0, -35.0, -45.0] {
            refused(&format!("{dbm0} dBm0"), law, character, at(dbm0));
        }
    });
}

#[test]
fn twist_from_minus_8_to_plus_4_db_is_taken_and_much_more_is_refused() {
    each(|law, character, pair| {
        for high in [4.0, 2.0, -2.0, -5.0, -8.0] {
            for (low_hz, high_hz) in [(1.0, 1.0), (1.015, 0.985), (0.985, 1.015)] {
                let pair = Pair {
                    low_hz: pair.low_hz * low_hz,
                    high_hz: pair.high_hz * high_hz,
                    high_dbm0: pair.low_dbm0 + high,
                    ms: 40.0,
                    ..pair
                };
                taken(&format!("twist of {high} dB"), law, character, pair);
            }
        }
        for high in [8.0, 12.0, -12.0, -15.0] {
            let pair = Pair {
                low_dbm0: -15.0,
                high_dbm0: -15.0 + high,
                ms: 100.0,
                ..pair
            };
            refused(&format!("twist of {high} dB"), law, character, pair);
        }
    });
}

#[test]
fn digits_of_40_ms_are_taken_and_of_23_ms_refused() {
    each(|law, character, pair| {
        for ms in [40.0, 45.0, 65.0, 100.0, 1000.0] {
            taken(&format!("{ms} ms"), law, character, Pair { ms, ..pair });
        }
        for ms in [5.0, 10.0, 15.0, 20.0, 23.0] {
            refused(&format!("{ms} ms"), law, character, Pair { ms, ..pair });
        }
    });
}

/// Every position of a digit against the blocks.
#[test]
fn position_does_not_matter() {
    for offset in 0..64 {
        let before = vec![0.0; 400 + offset];
        let long = Pair {
            ms: 40.0,
            ..Pair::of('3')
        }
        .samples(Law::A);
        let short = Pair {
            ms: 23.0,
            ..Pair::of('3')
        }
        .samples(Law::A);
        assert_eq!(digits(Law::A, &[&before[..], &long].concat()), "3", "{offset}");
        assert_eq!(digits(Law::A, &[&before[..], &short].concat()), "", "{offset}");
    }
}

#[test]
fn a_pause_of_40_ms_separates_and_10_ms_do_not() {
    each(|law, character, pair| {
        for offset in (0..64).step_by(7) {
            let press = Pair { ms: 50.0, ..pair }.samples(law);
            let with_pause = |ms: usize| {
                let pause = vec![0.0; ms * 8];
                [&vec![0.0; 400 + offset][..], &press, &pause, &press].concat()
            };
            assert_eq!(
                digits(law, &with_pause(40)).len(),
                2,
                "{law:?} {character} {offset}"
            );
            assert_eq!(
                digits(law, &with_pause(10)),
                character.to_string(),
                "{law:?} {offset}"
            );
        }
    });
}

/// The fastest that table A-1 allows: 93 ms for a digit.
#[test]
fn fast_dialling_is_heard() {
    for law in LAWS {
        let mut samples = Vec::new();
        let dialled = "1234567890*#ABCD11552288##";
        for character in dialled.chars() {
            samples.extend(
                Pair {
                    ms: 48.0,
                    ..Pair::of(character)
                }
                .samples(law),
            );
            samples.extend([0.0; 45 * 8]);
        }
        assert_eq!(digits(law, &samples), dialled);
    }
}

#[test]
fn digits_without_a_pause_between_them_are_two() {
    let samples = ["1", "2", "6", "#"].map(|c| {
        Pair {
            ms: 80.0,
            ..Pair::of(c.chars().next().unwrap())
        }
        .samples(Law::A)
    });
    assert_eq!(digits(Law::A, &samples.concat()), "126#");
}

#[test]
fn durations_are_right_to_10_ms() {
    for law in LAWS {
        for (n, ms) in (40..400).step_by(7).enumerate() {
            let pair = Pair {
                ms: f64::from(ms),
                ..Pair::of(ALL.chars().nth(n % 16).unwrap())
            };
            let samples = [vec![0.0; 400 + 5 * n], pair.samples(law)].concat();
            let told = detected(law, &samples);
            assert_eq!(told.len(), 1, "{ms} ms");
            let error_ms = f64::from(told[0].1) / 8.0 - f64::from(ms);
            assert!(error_ms.abs() <= 10.0, "{ms} ms: off by {error_ms}");
        }
    }
}

#[test]
fn noise_15_db_below_does_not_hide_a_digit() {
    let mut random = Random(3);
    each(|law, character, pair| {
        let mut missed = 0;
        for round in 0..20 {
            let mut samples = vec![0.0; 400 + 11 * round];
            samples.extend(Pair { ms: 50.0, ..pair }.samples(law));
            samples.extend([0.0; 400]);
            // Against the power of both tones.
            let rms = (2.0 * power_of(law, -10.0 - 15.0)).sqrt();
            samples
                .iter_mut()
                .for_each(|sample| *sample += rms * random.normal());
            missed += u32::from(digits(law, &samples) != character.to_string());
        }
        assert_eq!(missed, 0, "{law:?} {character}: of 20");
    });
}

#[test]
fn harmonics_and_further_tones_are_refused() {
    each(|law, character, pair| {
        let plain = Pair { ms: 100.0, ..pair }.alone(law);
        let with = |hz: f64, below_db: f64| -> Vec<f64> {
            let amplitude = f64::from(law.amplitude((-10.0 - below_db) as f32));
            let tone = |n: usize| amplitude * (std::f64::consts::TAU * hz * n as f64 / 8000.0).sin();
            plain
                .iter()
                .enumerate()
                .map(|(n, sample)| sample + tone(n))
                .collect()
        };
        for hz in [2.0 * pair.low_hz, 2.0 * pair.high_hz] {
            assert_eq!(
                digits(law, &with(hz, 8.0)),
                "",
                "{law:?} {character}: harmonic at {hz} Hz"
            );
        }
        // Anything else of a tenth of the power is refused by the total; a trace of it is not.
        for hz in [300.0, 2700.0, 3300.0] {
            assert_eq!(
                digits(law, &with(hz, 5.0)),
                "",
                "{law:?} {character}: tone at {hz} Hz"
            );
            assert_eq!(
                digits(law, &with(hz, 20.0)),
                character.to_string(),
                "{law:?}: trace at {hz} Hz"
            );
        }
    });
}

#[test]
fn one_frequency_or_two_of_a_group_are_no_digit() {
    for law in LAWS {
        for hz in [697.0, 770.0, 852.0, 941.0, 1209.0, 1336.0, 1477.0, 1633.0] {
            for other in [0.0, 697.0, 941.0, 1209.0, 1633.0] {
                if (hz < 1000.0) != (other < 1000.0) && other > 0.0 {
                    continue;
                }
                let pair = Pair {
                    low_hz: hz,
                    high_hz: other,
                    ms: 200.0,
                    ..Pair::of('1')
                };
                assert_eq!(digits(law, &pair.alone(law)), "", "{hz} and {other} Hz");
            }
        }
    }
}

#[test]
fn what_the_generator_sends_is_heard_and_is_as_strong_as_asked() {
    for law in LAWS {
        let mut generator = Generator::new(law, -9.0, -7.0, Timing::default());
        ALL.chars()
            .for_each(|character| generator.send(digit(character), 400).unwrap());
        let mut octets = Vec::new();
        let mut frame = [0x7e; 160];
        while generator.fill(&mut frame) {
            octets.extend(frame);
        }
        assert_eq!(
            frame,
            *octets.last_chunk::<160>().unwrap(),
            "left alone when there is nothing to send"
        );
        let samples = decode(law, &octets);
        let told = detected(law, &samples);
        assert_eq!(told.iter().map(|(digit, _)| digit).collect::<String>(), ALL);
        // 80 ms, the least, although 50 were asked for; then 60 ms of silence.
        for (n, character) in ALL.chars().enumerate() {
            let tone = &samples[n * 1120..n * 1120 + 640];
            let gap = &samples[n * 1120 + 640..(n + 1) * 1120];
            assert!(gap.iter().all(|sample| sample.abs() <= 8.0), "{character}");
            let steady = &tone[40..600];
            let (low, high) = digit(character).frequencies();
            for (hz, dbm0) in [(low, -9.0), (high, -7.0)] {
                let error_db = db(power_at(steady, f64::from(hz)) / power_of(law, dbm0));
                assert!(
                    error_db.abs() < 0.1,
                    "{law:?} {character} {hz} Hz: off by {error_db} dB"
                );
            }
            // No click: the first and last samples rise slowly.
            assert!(
                tone[..4]
                    .iter()
                    .chain(&tone[636..])
                    .all(|sample| sample.abs() < 1000.0)
            );
        }
    }
}
