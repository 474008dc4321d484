//! The relay without the kernel.

use benches::media::Calls;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// One RTP packet: session, form, source, counters, verdict. Streams of 1,000 calls take turns.
fn forward(c: &mut Criterion) {
    let mut calls = Calls::new();
    let mut group = c.benchmark_group("media");
    group.throughput(Throughput::Elements(1));
    group.bench_function("forward", |b| b.iter(|| calls.forward()));
    group.finish();
}

criterion_group!(benches, forward);
criterion_main!(benches);
