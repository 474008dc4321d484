//! Comfort noise: its payload, and what is heard.

mod audio;

use audio::*;
use sbc_media::{
    g711::Law,
    noise::{ComfortNoise, Noise},
};

fn heard(law: Law, noise: &mut Noise, seconds: usize) -> Vec<f64> {
    let mut octets = vec![0; seconds * 8000];
    octets.chunks_mut(160).for_each(|frame| noise.fill(frame));
    decode(law, &octets)
}

#[test]
fn a_payload_is_written_as_it_was_read() {
    for payload in [&[40][..], &[127, 0], &[0, 1, 254, 255, 127, 3, 4, 5, 6, 7, 8]] {
        let noise = ComfortNoise::read(payload).unwrap();
        let mut buffer = [0xaa; ComfortNoise::LEN_MAX];
        assert_eq!(noise.write(&mut buffer), Some(payload.len()));
        assert_eq!(&buffer[..payload.len()], payload);
        assert_eq!(noise.level(), payload[0]);
        assert_eq!(noise.write(&mut buffer[..payload.len() - 1]), None);
    }
    assert_eq!(ComfortNoise::read(&[]), None);
    // The unused bit is not part of the level; what is beyond the order that we keep is left out.
    let long = ComfortNoise::read(&[0x80 | 50; 40]).unwrap();
    assert_eq!(
        (long.level(), long.write(&mut [0; 60])),
        (50, Some(ComfortNoise::LEN_MAX))
    );
    assert_eq!(ComfortNoise::new(200).level(), 127);
}

#[test]
fn noise_has_the_level_asked_for() {
    for law in [Law::A, Law::Mu] {
        for dbm0 in [-55.0, -45.0, -30.0, -20.0] {
            let samples = heard(law, &mut Noise::new(law, dbm0, 1), 10);
            let error_db = db(power(&samples) / power_of(law, f64::from(dbm0)));
            // Near its smallest step A-law cannot do better.
            let tolerance_db = if dbm0 < -50.0 { 1.0 } else { 0.2 };
            assert!(
                error_db.abs() < tolerance_db,
                "{law:?} {dbm0} dBm0: off by {error_db} dB"
            );
        }
    }
}

#[test]
fn a_received_level_is_below_overload() {
    for law in [Law::A, Law::Mu] {
        for level in [20, 40, 55] {
            for spectrum in [
                &[][..],
                &[180],
                &[60, 150, 127, 140, 100, 127, 127, 130, 120, 200],
            ] {
                let mut noise = Noise::new(law, -90.0, 2);
                noise.set(&ComfortNoise::read(&[&[level], spectrum].concat()).unwrap());
                let samples = heard(law, &mut noise, 20);
                let overload = f64::from(law.overload()).powi(2);
                let error_db = db(power(&samples) / overload) + f64::from(level);
                assert!(
                    error_db.abs() < 0.5,
                    "{law:?} -{level} dBov {spectrum:?}: off by {error_db} dB"
                );
            }
        }
    }
}

/// The first reflection coefficient tilts the spectrum: the all-pole filter of one coefficient k is 1/(1 + k/z).
#[test]
fn the_spectrum_follows_the_coefficients() {
    for (quantised, tilt) in [(127u8, 0.0), (190, 1.0), (64, -1.0)] {
        let mut noise = Noise::new(Law::Mu, -30.0, 3);
        noise.set(&ComfortNoise::read(&[25, quantised]).unwrap());
        let samples = heard(Law::Mu, &mut noise, 10);
        let k = 258.0 * (f64::from(quantised) - 127.0) / 32768.0;
        let correlation = samples.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>();
        let correlation = correlation / samples.iter().map(|sample| sample * sample).sum::<f64>();
        assert!((correlation + k).abs() < 0.02, "{quantised}: {correlation}");
        assert!(correlation * tilt <= 0.0);
    }
}

#[test]
fn white_noise_is_white_and_not_periodic() {
    let samples = heard(Law::Mu, &mut Noise::new(Law::Mu, -25.0, 9), 10);
    let energy = samples.iter().map(|sample| sample * sample).sum::<f64>();
    for lag in [1, 2, 3, 8, 80, 160, 320, 8000] {
        let correlation = samples
            .iter()
            .zip(&samples[lag..])
            .map(|(a, b)| a * b)
            .sum::<f64>()
            / energy;
        assert!(correlation.abs() < 0.02, "lag {lag}: {correlation}");
    }
}

#[test]
fn the_seed_decides() {
    let of = |seed| {
        let mut frame = [0; 160];
        Noise::new(Law::A, -40.0, seed).fill(&mut frame);
        frame
    };
    assert_eq!(of(1 << 40), of(1 << 40));
    assert_ne!(of(2), of(4));
    assert_ne!(of(0), of(u64::MAX));
}

/// The most resonant filter that can be received stays within what G.711 can say, and ends with the noise.
#[test]
fn no_payload_makes_it_run_away() {
    let mut random = Random(4);
    for round in 0..300 {
        let mut payload: Vec<u8> = (0..1 + random.below(12)).map(|_| random.bits() as u8).collect();
        if round % 3 == 0 {
            let extreme = [0, 254][round % 2];
            payload[1..].fill(extreme);
        }
        let mut noise = Noise::new(Law::A, -30.0, round as u64);
        noise.set(&ComfortNoise::read(&payload).unwrap());
        let mut octets = [0; 1600];
        noise.fill(&mut octets);
        noise.set(&ComfortNoise::new(127));
        noise.fill(&mut octets);
        assert!(
            power(&decode(Law::A, &octets)) <= 64.0,
            "{payload:?}: silence comes at once"
        );
    }
}
