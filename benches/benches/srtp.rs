//! SRTP of one packet of 172 octets: each suite, protected and unprotected, beside `webrtc-srtp` in the same run.

use benches::srtp::{Protect, Unprotect};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sbc_media::srtp::{Receiver, Sender, Suite};
use webrtc_srtp::context::Context;

/// What leaves: encrypted and tagged. Ours does so in the buffer of the packet, which is copied there first as the
/// other one copies it.
fn protect(c: &mut Criterion) {
    let mut group = c.benchmark_group("srtp_protect");
    group.throughput(Throughput::Elements(1));
    for suite in Suite::ALL {
        let mut stream = Protect::<Sender>::ours(suite);
        group.bench_function(format!("{}/ours", suite.name()), |b| b.iter(|| stream.run()));
        let mut stream = Protect::<Context>::baseline(suite);
        group.bench_function(format!("{}/webrtc-srtp", suite.name()), |b| {
            b.iter(|| stream.run());
        });
    }
    group.finish();
}

/// What comes: checked, against replay too, and decrypted.
fn unprotect(c: &mut Criterion) {
    let mut group = c.benchmark_group("srtp_unprotect");
    group.throughput(Throughput::Elements(1));
    for suite in Suite::ALL {
        let mut stream = Unprotect::<Receiver>::ours(suite);
        group.bench_function(format!("{}/ours", suite.name()), |b| b.iter(|| stream.run()));
        let mut stream = Unprotect::<Context>::baseline(suite);
        group.bench_function(format!("{}/webrtc-srtp", suite.name()), |b| {
            b.iter(|| stream.run());
        });
    }
    group.finish();
}

criterion_group!(benches, protect, unprotect);
criterion_main!(benches);
