//! Call control between the wire and the other leg.

use benches::call::{Retransmission, Timers};
use criterion::{Criterion, criterion_group, criterion_main};

/// A repeated INVITE through the whole shard: source check, parse, transaction match, answer. This is what a
/// lossy network makes common, and what must stay cheap in a flood.
fn retransmission(c: &mut Criterion) {
    let mut bench = Retransmission::new();
    c.bench_function("call/retransmission", |b| b.iter(|| bench.receive()));
}

/// A timer's life when the message it waits for arrives in time: several per message sent.
fn timer(c: &mut Criterion) {
    let mut timers = Timers::new();
    c.bench_function("call/timer/cancelled", |b| b.iter(|| timers.arm_and_cancel()));
    let mut timers = Timers::new();
    c.bench_function("call/timer/fired", |b| b.iter(|| timers.arm_and_fire()));
}

criterion_group!(benches, retransmission, timer);
criterion_main!(benches);
