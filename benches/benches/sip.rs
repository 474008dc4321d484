//! The SIP wire format. The bar: index at least three times faster than the faster of `rsip` and `sipx-sip`.

use benches::{input, sip};
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sbc_core::sip::Message;
use std::hint::black_box;

/// Every message that arrives pays this once: start line, one span per header field, body.
fn index(c: &mut Criterion) {
    let datagram = Bytes::from_static(input::INVITE.as_bytes());
    let mut group = c.benchmark_group("sip/index");
    group.throughput(Throughput::Bytes(datagram.len() as u64));
    group.bench_function("sbc-core", |b| b.iter(|| sip::index(black_box(&datagram))));
    group.bench_function("rsip", |b| b.iter(|| sip::index_rsip(black_box(&datagram))));
    group.bench_function("sipx-sip", |b| b.iter(|| sip::index_sipx(black_box(&datagram))));
    group.finish();
}

/// Index, and what is needed to match a transaction and a dialog: Via, From, To, Call-ID, CSeq.
fn access(c: &mut Criterion) {
    let datagram = Bytes::from_static(input::INVITE.as_bytes());
    let mut group = c.benchmark_group("sip/access");
    group.bench_function("sbc-core", |b| b.iter(|| sip::access(black_box(&datagram))));
    group.bench_function("rsip", |b| b.iter(|| sip::access_rsip(black_box(&datagram))));
    group.bench_function("sipx-sip", |b| b.iter(|| sip::access_sipx(black_box(&datagram))));
    group.finish();
}

/// Asking an indexed message for 16 header fields, half of them absent.
fn look_up(c: &mut Criterion) {
    let message = Message::parse(input::INVITE.as_bytes()).expect("valid");
    c.bench_function("sip/look-up", |b| b.iter(|| sip::look_up(black_box(&message))));
}

/// The INVITE of leg B, written into a buffer that is used again: what every call pays once per message sent.
fn write(c: &mut Criterion) {
    let message = Message::parse(input::INVITE.as_bytes()).expect("valid");
    let mut out = Vec::with_capacity(2048);
    c.bench_function("sip/write", |b| {
        b.iter(|| sip::write_invite(black_box(&message), &mut out))
    });
}

criterion_group!(benches, index, access, look_up, write);
criterion_main!(benches);
