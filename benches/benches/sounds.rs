//! Digits, tones and noise, for 20 ms of one direction each.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sbc_media::{
    dtmf::{
        Digit, Timing,
        inband::{Detector, Generator, HIGH_DBM0, LOW_DBM0},
    },
    g711::Law,
    noise::Noise,
    tone::{Country, LEVEL_DBM0, Meaning, Player, Tone},
};
use std::hint::black_box;

const FRAME: usize = 160;

/// A second of audio in which a digit is looked for: noise as loud as speech, which is most of what there is to hear;
/// nothing; and a digit, which costs most while it begins.
fn detect(c: &mut Criterion) {
    let mut noise = vec![0; 50 * FRAME];
    Noise::new(Law::A, -15.0, 1).fill(&mut noise);
    let silence = vec![Law::A.silence(); 50 * FRAME];
    let mut digits = vec![0; 50 * FRAME];
    let mut generator = Generator::new(Law::A, LOW_DBM0, HIGH_DBM0, Timing::default());
    for code in 0..16 {
        let digit = Digit::from_code(code).expect("there are sixteen");
        generator.send(digit, 640).expect("they fit");
    }
    generator.fill(&mut digits);
    let mut group = c.benchmark_group("sounds/detect");
    group.throughput(Throughput::Elements(50));
    for (name, audio) in [("noise", noise), ("silence", silence), ("digits", digits)] {
        let mut detector = Detector::new(Law::A);
        group.bench_function(name, |b| {
            b.iter(|| {
                for frame in audio.chunks(FRAME) {
                    detector.hear(black_box(frame), &mut |report| {
                        black_box(report);
                    });
                }
            });
        });
    }
    group.finish();
}

/// One frame of each sound that we make ourselves.
fn make(c: &mut Criterion) {
    let mut frame = [0; FRAME];
    let mut group = c.benchmark_group("sounds/make");
    group.throughput(Throughput::Elements(1));
    let mut player = Player::new(Tone::of(Country::Us, Meaning::Ringback), Law::A, LEVEL_DBM0);
    group.bench_function("tone", |b| b.iter(|| player.fill(black_box(&mut frame))));
    let mut noise = Noise::new(Law::A, -50.0, 1);
    group.bench_function("noise", |b| b.iter(|| noise.fill(black_box(&mut frame))));
    group.bench_function("digit", |b| {
        let press = || {
            let mut generator = Generator::new(Law::A, LOW_DBM0, HIGH_DBM0, Timing::default());
            let _ = generator.begin(Digit::from_code(5).expect("a digit"));
            generator
        };
        b.iter_batched_ref(
            press,
            |generator| generator.fill(black_box(&mut frame)),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, detect, make);
criterion_main!(benches);
