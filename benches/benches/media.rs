//! Media without the kernel.

use benches::media::{self, Calls};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sbc_media::srtp::Suite;
use std::hint::black_box;

/// One RTP packet: session, form, source, counters, verdict. Streams of 1,000 calls take turns.
fn forward(c: &mut Criterion) {
    let mut group = c.benchmark_group("media");
    group.throughput(Throughput::Elements(1));
    for (name, mut calls) in [
        ("forward", Calls::new()),
        ("forward_transcoding", Calls::transcoding()),
        ("forward_protecting", Calls::protecting(Suite::AesCm128Sha1_80)),
        ("forward_protecting_gcm", Calls::protecting(Suite::AeadAes128Gcm)),
    ] {
        group.bench_function(name, |b| b.iter(|| calls.forward()));
    }
    group.finish();
}

/// The same where packets of 20 ms leave with another length, pieces included; `as_they_are` is what that costs where none has
/// to be made.
fn reframe(c: &mut Criterion) {
    let mut group = c.benchmark_group("media");
    group.throughput(Throughput::Elements(1));
    for (name, ptime_ms) in [
        ("reframe_joining", 40),
        ("reframe_joining_60", 60),
        ("reframe_cutting", 10),
        ("reframe_as_they_are", 20),
    ] {
        let mut calls = Calls::reframing(ptime_ms);
        group.bench_function(name, |b| b.iter(|| calls.reframe()));
    }
    group.finish();
}

/// The payload of one packet from one G.711 law to the other: a table look-up per octet.
fn g711(c: &mut Criterion) {
    let mut payload = [0x55; 160];
    let mut group = c.benchmark_group("media");
    group.throughput(Throughput::Bytes(payload.len() as u64));
    group.bench_function("g711", |b| b.iter(|| media::transcode(black_box(&mut payload))));
    group.finish();
}

criterion_group!(benches, forward, reframe, g711);
criterion_main!(benches);
