//! Call-progress tones: spectrum, level, and cadence to the sample.

mod audio;

use audio::*;
use sbc_media::{
    g711::Law,
    tone::{Country, LEVEL_DBM0, MODULATION, Meaning, Player, Tone},
};

/// Country, meaning, components in Hz with their part of the power, cadence in milliseconds: figures of E.180 Supplement 2.
type Row = (&'static str, Meaning, &'static [(f64, f64)], &'static [usize]);
const SIDE: f64 = (MODULATION * MODULATION) as f64 / 4.0;
const IN_RING: &[(f64, f64)] = &[
    (400.0, 1.0 / (1.0 + 2.0 * SIDE)),
    (375.0, SIDE / (1.0 + 2.0 * SIDE)),
    (425.0, SIDE / (1.0 + 2.0 * SIDE)),
];
const ROWS: &[Row] = &[
    ("IN", Meaning::Ringback, IN_RING, &[400, 200, 400, 2000]),
    ("IN", Meaning::Busy, &[(400.0, 1.0)], &[750, 750]),
    ("IN", Meaning::Congestion, &[(400.0, 1.0)], &[250, 250]),
    (
        "GB",
        Meaning::Ringback,
        &[(400.0, 0.5), (450.0, 0.5)],
        &[400, 200, 400, 2000],
    ),
    ("GB", Meaning::Busy, &[(400.0, 1.0)], &[375, 375]),
    ("GB", Meaning::Congestion, &[(400.0, 1.0)], &[400, 350, 225, 525]),
    (
        "US",
        Meaning::Ringback,
        &[(440.0, 0.5), (480.0, 0.5)],
        &[2000, 4000],
    ),
    ("US", Meaning::Busy, &[(480.0, 0.5), (620.0, 0.5)], &[500, 500]),
    (
        "US",
        Meaning::Congestion,
        &[(480.0, 0.5), (620.0, 0.5)],
        &[250, 250],
    ),
    ("DE", Meaning::Ringback, &[(425.0, 1.0)], &[1000, 4000]),
    ("DE", Meaning::Busy, &[(425.0, 1.0)], &[480, 480]),
    ("DE", Meaning::Congestion, &[(425.0, 1.0)], &[240, 240]),
    ("FR", Meaning::Ringback, &[(440.0, 1.0)], &[1500, 3500]),
    ("FR", Meaning::Busy, &[(440.0, 1.0)], &[500, 500]),
    ("FR", Meaning::Congestion, &[(440.0, 1.0)], &[250, 250]),
    ("BR", Meaning::Ringback, &[(425.0, 1.0)], &[1000, 4000]),
    ("BR", Meaning::Busy, &[(425.0, 1.0)], &[250, 250]),
    ("BR", Meaning::Congestion, &[(425.0, 1.0)], &[250, 250, 750, 250]),
];

fn player(row: &Row, law: Law) -> Player {
    let country = Country::from_code(row.0).unwrap();
    Player::new(Tone::of(country, row.1), law, LEVEL_DBM0)
}

fn each(mut check: impl FnMut(&Row, Law)) {
    for row in ROWS {
        check(row, Law::A);
        check(row, Law::Mu);
    }
}

#[test]
fn every_country_has_three_tones_here() {
    for country in Country::ALL {
        assert_eq!(ROWS.iter().filter(|row| row.0 == country.code()).count(), 3);
        assert_eq!(Country::from_code(&country.code().to_lowercase()), Some(country));
    }
    assert_eq!(Country::from_code("XX"), None);
}

#[test]
fn each_frequency_has_its_level_and_there_is_nothing_else() {
    each(|row, law| {
        let mut octets = vec![0; row.3[0] * 8];
        player(row, law).fill(&mut octets);
        // Whole periods of the modulation within the first burst, without its edges.
        let samples = decode(law, &octets);
        let steady = &samples[40..40 + (samples.len() - 80) / 320 * 320];
        let whole = power_of(law, f64::from(LEVEL_DBM0));
        let (mut named, mut reach) = (0.0, f64::INFINITY);
        for &(hz, part) in row.2 {
            reach = 5.0 * 8000.0 / steady.len() as f64;
            let apart = row
                .2
                .iter()
                .map(|other| (other.0 - hz).abs())
                .filter(|&hz| hz > 0.0);
            // In the shortest bursts the neighbours of a modulated tone lean on each other.
            let tolerance_db = if apart.fold(f64::INFINITY, f64::min) < reach {
                0.4
            } else {
                0.1
            };
            let power = power_at(steady, hz);
            named += power;
            let error_db = db(power / (whole * part));
            assert!(
                error_db.abs() < tolerance_db,
                "{row:?} {law:?}: {hz} Hz off by {error_db} dB"
            );
        }
        let error_db = db(power(steady) / whole);
        assert!(
            error_db.abs() < 0.1,
            "{row:?} {law:?}: level off by {error_db} dB"
        );
        let rest_db = db((power(steady) - named).abs() / whole);
        assert!(
            rest_db < -15.0,
            "{row:?} {law:?}: everything else has {rest_db} dB"
        );
        // And no single thing of it is heard.
        let mut hz = 60.0;
        while hz < 3950.0 {
            if row.2.iter().all(|(named, _)| (named - hz).abs() > reach) {
                let spurious_db = db(power_at(steady, hz) / whole);
                assert!(
                    spurious_db < -35.0,
                    "{row:?} {law:?}: {spurious_db} dB at {hz} Hz"
                );
            }
            hz += 20.0;
        }
    });
}

#[test]
fn the_cadence_is_exact() {
    each(|row, law| {
        let period: usize = row.3.iter().sum::<usize>() * 8;
        let mut octets = vec![0; 3 * period];
        let mut player = player(row, law);
        octets.chunks_mut(160).for_each(|frame| player.fill(frame));
        let mut edge = 0;
        for (n, &ms) in row.3.iter().cycle().take(3 * row.3.len()).enumerate() {
            let element = &octets[edge..edge + ms * 8];
            if n % 2 == 1 {
                assert!(
                    element.iter().all(|&octet| octet == law.silence()),
                    "{row:?}: pause {n}"
                );
            } else {
                // No half period of any tone is silent, from one edge to the other.
                let samples = decode(law, element);
                let faint = |samples: &[f64]| power(samples) < power_of(law, f64::from(LEVEL_DBM0) - 25.0);
                assert!(
                    !samples.chunks_exact(320).any(faint),
                    "{row:?}: hole in burst {n}"
                );
                assert!(
                    !faint(&samples[..40]) && !faint(&samples[samples.len() - 40..]),
                    "{row:?}: edge of {n}"
                );
            }
            edge += ms * 8;
        }
        assert_eq!(edge, octets.len());
    });
}

#[test]
fn frames_join_without_a_seam() {
    each(|row, law| {
        let mut whole = vec![0; 8 * 6200];
        player(row, law).fill(&mut whole);
        let mut pieces = vec![0; 8 * 6200];
        let mut player = player(row, law);
        let mut random = Random(5);
        let mut rest = &mut pieces[..];
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at_mut((random.below(500) as usize).min(rest.len()));
            player.fill(piece);
            rest = tail;
        }
        assert_eq!(whole, pieces, "{row:?}");
    });
}

#[test]
fn skipping_is_playing_unheard() {
    each(|row, law| {
        let mut random = Random(6);
        let (mut played, mut skipped) = (player(row, law), player(row, law));
        for _ in 0..50 {
            let count = random.below(20_000) as usize;
            played.fill(&mut vec![0; count]);
            skipped.skip(count as u64);
            let (mut one, mut other) = ([0; 160], [0; 160]);
            played.fill(&mut one);
            skipped.fill(&mut other);
            assert_eq!(one, other, "{row:?}");
        }
    });
}

#[test]
fn levels_are_what_was_asked_for() {
    for law in [Law::A, Law::Mu] {
        for dbm0 in [-35.0, -20.0, -10.0, -5.0, 0.0] {
            let tone = Tone::of(Country::De, Meaning::Ringback);
            let mut octets = vec![0; 8000];
            Player::new(tone, law, dbm0).fill(&mut octets);
            let samples = decode(law, &octets);
            let error_db = db(power(&samples[80..7760]) / power_of(law, f64::from(dbm0)));
            assert!(error_db.abs() < 0.1, "{law:?} {dbm0} dBm0: off by {error_db} dB");
        }
    }
}
