//! Relaying costs no heap allocation and hardly a system call per packet once a call is up.
#![cfg(feature = "driver")]

mod driver_support;

use driver_support::{call, rtp, start};
use sbc_core::driver::backend::BackendKind;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on unchanged to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CALLS: usize = 60;
const ROUNDS: u16 = 100;

/// One test only in this file: another one's allocations would be counted, too.
#[test]
fn a_relayed_packet_costs_no_allocation_and_hardly_a_system_call() {
    let Some(daemon) = start(9, BackendKind::IoUring, 1) else {
        return;
    };
    let (carrier, platform) = (daemon.carrier(), daemon.platform());
    let calls: Vec<_> = (0..CALLS as u32)
        .map(|id| call(&carrier, &platform, id))
        .collect();
    let mut buffer = [0; 2048];
    let mut exchange = |sequence: u16| {
        for up in &calls {
            carrier
                .media
                .send_to(&rtp(sequence, 0xA), up.towards_carrier)
                .unwrap();
            platform
                .media
                .send_to(&rtp(sequence, 0xB), up.towards_platform)
                .unwrap();
        }
        for _ in 0..CALLS {
            driver_support::receive(&platform.media, &mut buffer).expect("RTP towards the platform");
            driver_support::receive(&carrier.media, &mut buffer).expect("RTP towards the carrier");
        }
    };
    // Latching, connecting and the tails of call set-up come before the count. No timer of the
    // calls allocates either, but a report of this test's own harness might.
    (0..10).for_each(&mut exchange);
    #[allow(clippy::disallowed_methods, reason = "a real pause between real packets")]
    thread::sleep(Duration::from_millis(200));
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    (10..10 + ROUNDS).for_each(&mut exchange);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    let packets = 2 * CALLS as u64 * u64::from(ROUNDS);
    assert_eq!(allocations, 0, "allocations for {packets} packets");

    for up in calls {
        up.hang_up(&carrier, &platform);
    }
    let stats = daemon.finish(|gauges| gauges.calls == 0);
    let counters = &stats[0].0;
    assert_eq!(counters.media_forwarded, packets + 2 * CALLS as u64 * 10);
    assert_eq!(counters.media_connect_errors, 0);
    // Set-up included: sockets connect once, and each batch of 120 packets is one or a few turns.
    let per_packet = counters.io_syscalls as f64 / counters.media_forwarded as f64;
    eprintln!("{per_packet:.3} system calls per packet");
    assert!(per_packet <= 0.1, "{per_packet} system calls per packet");
}
