//! Talk-off: no digit is heard in what is none. Ten minutes of synthesised speech by many voices and two of chords.
//!
//! The voices are harsh on purpose: pitch up to 330 Hz, so that few harmonics lie far apart and a formant can lift two
//! of them out of the rest; vowels held as in singing; levels up to the overload of the law.

mod audio;

use audio::*;
use sbc_media::g711::Law;
use std::f64::consts::{PI, TAU};

/// Formant frequencies of vowels, in Hz, for a tract of average length.
const VOWELS: [[f64; 4]; 9] = [
    [270.0, 2290.0, 3010.0, 3500.0],
    [390.0, 1990.0, 2550.0, 3400.0],
    [530.0, 1840.0, 2480.0, 3400.0],
    [660.0, 1720.0, 2410.0, 3350.0],
    [730.0, 1090.0, 2440.0, 3300.0],
    [570.0, 840.0, 2410.0, 3250.0],
    [440.0, 1020.0, 2240.0, 3200.0],
    [300.0, 870.0, 2240.0, 3200.0],
    [640.0, 1190.0, 2390.0, 3300.0],
];

/// A second-order resonator.
#[derive(Clone, Copy, Default)]
struct Resonator {
    one: f64,
    two: f64,
}

impl Resonator {
    fn step(&mut self, input: f64, hz: f64, width_hz: f64) -> f64 {
        let radius = (-PI * width_hz / 8000.0).exp();
        let (a, b) = (2.0 * radius * (TAU * hz / 8000.0).cos(), -radius * radius);
        let output = (1.0 - a - b) * input + a * self.one + b * self.two;
        (self.two, self.one) = (self.one, output);
        output
    }
}

/// One speaker.
struct Voice {
    random: Random,
    pitch_hz: f64,
    tract: f64,
    formants: [Resonator; 4],
    /// Where the formants are, on their way to the next sound.
    place: [f64; 4],
    glottis: f64,
    samples: Vec<f64>,
}

impl Voice {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let pitch_hz = random.between(80.0, 330.0);
        let tract = random.between(0.88, 1.18) * if pitch_hz > 200.0 { 1.08 } else { 1.0 };
        Self {
            random,
            pitch_hz,
            tract,
            formants: Default::default(),
            place: VOWELS[0],
            glottis: 0.0,
            samples: Vec::new(),
        }
    }

    fn speak(mut self, seconds: usize) -> Vec<f64> {
        while self.samples.len() < seconds * 8000 {
            // A phrase, and a breath.
            for _ in 0..4 + self.random.below(14) {
                match self.random.below(10) {
                    0 | 1 => self.plosive(),
                    2 | 3 => self.fricative(),
                    _ => {}
                }
                self.vowel();
            }
            let pause = self.random.between(0.1, 0.6);
            self.silence(pause);
        }
        self.samples.truncate(seconds * 8000);
        self.samples
    }

    fn vowel(&mut self) {
        let target = VOWELS[self.random.below(9) as usize].map(|hz| hz * self.tract);
        // Some are held, as in singing, without the drift of speech.
        let held = self.random.below(12) == 0;
        let seconds = if held {
            self.random.between(0.3, 0.9)
        } else {
            self.random.between(0.05, 0.22)
        };
        let (from, to) = (self.random.between(0.8, 1.25), self.random.between(0.8, 1.25));
        let vibrato = if held { self.random.between(0.0, 0.02) } else { 0.0 };
        let length = (seconds * 8000.0) as usize;
        let loudness = self.random.between(0.3, 1.0);
        let open = self.random.between(0.3, 0.7);
        for n in 0..length {
            let at = n as f64 / length as f64;
            let glide = if held { from } else { from + (to - from) * at };
            let swing = 1.0 + vibrato * (TAU * 5.5 * n as f64 / 8000.0).sin();
            let jitter = if held { 0.0 } else { 0.01 * self.random.normal() };
            self.glottis += self.pitch_hz * glide * swing * (1.0 + jitter) / 8000.0;
            self.glottis -= self.glottis.floor();
            // The flow through the glottis: a rise, a fall, and closed.
            let flow = match self.glottis / open {
                x if x < 0.66 => 0.5 - 0.5 * (PI * x / 0.66).cos(),
                x if x < 1.0 => (PI / 2.0 * (x - 0.66) / 0.34).cos(),
                _ => 0.0,
            };
            let breath = 0.01 * self.random.normal();
            let envelope = (at * 12.0).min(1.0).min((1.0 - at) * 12.0);
            self.tract((flow - 0.3 + breath) * envelope * loudness, target);
        }
    }

    fn tract(&mut self, input: f64, target: [f64; 4]) {
        let mut output = input;
        for (n, resonator) in self.formants.iter_mut().enumerate() {
            self.place[n] += (target[n] - self.place[n]) * 0.003;
            let width_hz = 50.0 + 0.04 * self.place[n];
            output = resonator.step(output, self.place[n].min(3900.0), width_hz);
        }
        self.samples.push(output);
    }

    fn fricative(&mut self) {
        let hz = self.random.between(1500.0, 3800.0);
        let length = (self.random.between(0.04, 0.15) * 8000.0) as usize;
        let mut hiss = Resonator::default();
        for n in 0..length {
            let at = n as f64 / length as f64;
            let envelope = (at * 6.0).min(1.0).min((1.0 - at) * 6.0);
            let noise = self.random.normal() * 0.15 * envelope;
            self.samples.push(hiss.step(noise, hz, 600.0));
        }
    }

    fn plosive(&mut self) {
        let pause = self.random.between(0.03, 0.08);
        self.silence(pause);
        let hz = self.random.between(500.0, 3500.0);
        let mut burst = Resonator::default();
        for n in 0..(self.random.between(0.006, 0.02) * 8000.0) as usize {
            let noise = self.random.normal() * (-(n as f64) / 40.0).exp();
            self.samples.push(burst.step(noise, hz, 400.0));
        }
    }

    fn silence(&mut self, seconds: f64) {
        let length = (seconds * 8000.0) as usize;
        self.samples.extend(std::iter::repeat_n(0.0, length));
    }
}

/// Bring active speech to a level. What is louder than the law can say is clipped, as a telephone does.
fn to_level(samples: &mut [f64], law: Law, dbm0: f64) {
    let active: Vec<_> = (samples.chunks(160))
        .filter(|frame| power(frame) > 0.0)
        .map(power)
        .collect();
    let mean = active.iter().sum::<f64>() / active.len() as f64;
    let gain = (power_of(law, dbm0) / mean).sqrt();
    samples.iter_mut().for_each(|sample| *sample *= gain);
}

#[test]
fn ten_minutes_of_speech_hold_no_digit() {
    let mut found = Vec::new();
    for voice in 0..40u64 {
        let law = if voice % 2 == 0 { Law::A } else { Law::Mu };
        let mut samples = Voice::new(1000 + voice).speak(15);
        // Q.24 speaks of -15 dBm0; the others are quieter and louder.
        to_level(&mut samples, law, [-15.0, -9.0, -15.0, -22.0][voice as usize % 4]);
        let loud = samples.iter().fold(0.0f64, |peak, sample| peak.max(sample.abs()));
        assert!(loud > 2000.0, "voice {voice} is heard");
        let told = digits(law, &samples);
        if !told.is_empty() {
            found.push((voice, told));
        }
    }
    assert!(found.is_empty(), "false digits: {found:?}");
}

/// The same speech does not hide digits when it stops for them.
#[test]
fn digits_after_speech_are_heard() {
    let dialled = "1234567890*#ABCD";
    let mut samples = Vec::new();
    for (n, character) in dialled.chars().enumerate() {
        let mut speech = Voice::new(n as u64).speak(1);
        to_level(&mut speech, Law::A, -15.0);
        samples.extend(speech);
        samples.extend(
            Pair {
                ms: 60.0,
                ..Pair::of(character)
            }
            .alone(Law::A),
        );
    }
    assert_eq!(digits(Law::A, &samples), dialled);
}

/// Chords of two to four notes with their harmonics, as of strings, reeds or an organ, and glides of a whistle. Two pure
/// sines at the frequencies of a digit are not among them: they are that digit.
#[test]
fn two_minutes_of_chords_hold_no_digit() {
    let mut random = Random(77);
    let mut samples = Vec::new();
    while samples.len() < 120 * 8000 {
        let length = (random.between(0.08, 0.8) * 8000.0) as usize;
        let root = 110.0 * 2f64.powf(f64::from(random.below(37)) / 12.0);
        let chord: &[f64] = [
            &[0.0, 4.0, 7.0][..],
            &[0.0, 3.0, 7.0, 10.0],
            &[0.0, 12.0],
            &[0.0, 9.0],
            &[0.0, 5.0, 9.0],
        ][random.below(5) as usize];
        let harmonics = 3 + random.below(6);
        let fall = random.between(0.7, 1.3);
        let decay = random.between(0.0, 4.0);
        let whistle = random.below(8) == 0;
        let glide = random.between(-0.5, 0.5);
        let mut phases = [0.0; 4];
        for n in 0..length {
            let at = n as f64 / 8000.0;
            let mut sample = 0.0;
            for (note, phase) in chord.iter().zip(&mut phases) {
                let bend = if whistle { 1.0 + glide * at } else { 1.0 };
                *phase += root * 2f64.powf(note / 12.0) * bend / 8000.0;
                let partials = if whistle { 1 } else { harmonics };
                for partial in 1..=partials {
                    let partial = f64::from(partial);
                    if root * 2f64.powf(note / 12.0) * partial < 3800.0 {
                        sample += (TAU * *phase * partial).sin() / partial.powf(fall);
                    }
                }
                if whistle {
                    break;
                }
            }
            samples.push(sample * (-decay * at).exp());
        }
    }
    for (law, dbm0) in [(Law::A, -12.0), (Law::Mu, -20.0)] {
        to_level(&mut samples, law, dbm0);
        assert_eq!(digits(law, &samples), "");
    }
}
