//! The path of a packet does not allocate.

mod support;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use support::*;

struct Counting;

thread_local! {
    // Per thread, so that the test harness's own threads do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // During the thread's end the counter is gone; nobody looks at it then.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is handed on unchanged to the system allocator, which keeps the contract; the
// counter neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `pointer`, `layout` and `size` are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises about `pointer` and `layout` are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_hundred_thousand_packets_allocate_nothing() {
    let mut session = Session::new();
    let sources = [A_RTP, B_RTP, NAT, STRANGER];
    let (mut forwarded, mut actions) = (0, 0);
    let before = ALLOCATIONS.get();
    for round in 0..100_000u32 {
        session.wait_ms(1);
        let pair = if round % 2 == 0 { A } else { B };
        let source = match round % 64 {
            63 => sources[round as usize / 64 % 4],
            _ if pair == A => A_RTP,
            _ => B_RTP,
        };
        let verdict = match round % 100 {
            99 => session.rtcp(pair, source),
            98 => session.send(pair.rtp(), source, &mut [0; 40]),
            _ => session.rtp(pair, source),
        };
        forwarded += u32::from(matches!(verdict, sbc_media::relay::Verdict::Forward { .. }));
        if round % 1000 == 999 {
            session.remote(A, if round % 2000 == 999 { A2_RTP } else { A_RTP });
        }
        while session.relay.poll_action().is_some() {
            actions += 1;
        }
    }
    let allocated = ALLOCATIONS.get() - before;
    assert_eq!(allocated, 0);
    assert!(
        forwarded > 50_000 && actions > 50,
        "{forwarded} forwarded, {actions} actions: the paths were taken"
    );
    // The counter does count.
    let boxed = std::hint::black_box(Box::new(1u8));
    assert_eq!((ALLOCATIONS.get() - before, *boxed), (1, 1));
}
