//! Routes. The bar: a look-up among 1,000,000 prefixes takes less than a microsecond.

use benches::routing;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// Every new call pays this once. Numbers come in no order, so that the cache helps no more than with real calls.
fn look_up(c: &mut Criterion) {
    let table = routing::table(routing::PREFIXES);
    println!(
        "routing: {} prefixes in {} bytes, {:.1} each",
        routing::PREFIXES,
        table.bytes(),
        table.bytes() as f64 / routing::PREFIXES as f64
    );
    let numbers = routing::numbers(65_536);
    let mut at = 0;
    c.bench_function("routing/look-up", |b| {
        b.iter(|| {
            at = (at + 1) % numbers.len();
            routing::look_up(black_box(&table), black_box(&numbers[at]))
        });
    });
}

/// A configuration with so many prefixes is read: paid once.
fn build(c: &mut Criterion) {
    let mut group = c.benchmark_group("routing/build");
    group.sample_size(10);
    group.bench_function("1,000,000 prefixes", |b| {
        b.iter_batched(routing::entries_of_all, routing::build, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, look_up, build);
criterion_main!(benches);
