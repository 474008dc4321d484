//! What a thread did with its time, for overload control.
//!
//! The time that it spends in the wait for I/O does not tell: the kernel sends in it what was submitted, and who is woken
//! may have to wait for the core. So the kernel is asked how long it had the core, and how long it stood in the queue for
//! it; what is left it had nothing to do.

use crate::{overload::Spent, time::Timestamp};
use std::{fs::File, os::unix::fs::FileExt, time::Duration};

/// How often it is measured: seldom enough to cost nothing, and several times in a window of overload control.
const INTERVAL: Duration = Duration::from_millis(20);

/// Measures one thread, by that thread.
#[derive(Debug)]
pub(super) struct Stopwatch {
    /// `/proc/thread-self/schedstat`; `None`: the kernel does not tell who waits for a core.
    schedstat: Option<File>,
    /// When it was measured last.
    at: Timestamp,
    /// Time on the core until then.
    worked: Duration,
    /// Time in the queue for it until then.
    queued: Duration,
}

impl Stopwatch {
    /// Of the calling thread, from `now` on.
    pub(super) fn of_this_thread(now: Timestamp) -> Self {
        let schedstat = File::open("/proc/thread-self/schedstat").ok();
        Self {
            at: now,
            worked: cpu_time(),
            queued: queued(schedstat.as_ref()),
            schedstat,
        }
    }

    /// What it did since the last time that this said so. `None`: that was a moment ago.
    #[inline]
    pub(super) fn measure(&mut self, now: Timestamp) -> Option<Spent> {
        let elapsed = now.since(self.at);
        if elapsed < INTERVAL {
            return None;
        }
        let (worked, queued) = (cpu_time(), queued(self.schedstat.as_ref()));
        let spent = Spent {
            worked: worked.saturating_sub(self.worked),
            queued: queued.saturating_sub(self.queued),
            elapsed,
        };
        (self.at, self.worked, self.queued) = (now, worked, queued);
        Some(spent)
    }
}

/// Time in which the calling thread could have run, and others did.
fn queued(schedstat: Option<&File>) -> Duration {
    let mut text = [0; 64];
    let read = schedstat.and_then(|file| file.read_at(&mut text, 0).ok());
    let text = text.get(..read.unwrap_or(0)).unwrap_or_default();
    Duration::from_nanos(queued_ns(text))
}

/// The second number of `schedstat`, in nanoseconds; 0: there is none.
fn queued_ns(schedstat: &[u8]) -> u64 {
    std::str::from_utf8(schedstat)
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1))
        .and_then(|field| field.parse().ok())
        .unwrap_or(0)
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is live, and the clock exists since Linux 2.6.12.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    debug_assert_eq!(result, 0);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::clock::Clock;

    #[test]
    fn schedstat_is_read() {
        assert_eq!(queued_ns(b"132291 2021454 3\n"), 2_021_454);
        for none in [&b""[..], b"132291", b"132291 x 3", b"\xff \xff"] {
            assert_eq!(queued_ns(none), 0);
        }
    }

    #[test]
    fn who_sleeps_is_idle_and_who_works_is_not() {
        let clock = Clock::start();
        let mut watch = Stopwatch::of_this_thread(clock.now());
        assert_eq!(watch.measure(clock.now()), None, "too early");
        let (_open, nobody) = std::sync::mpsc::channel::<()>();
        let _ = nobody.recv_timeout(Duration::from_millis(60));
        let slept = watch.measure(clock.now()).unwrap();
        let from = clock.now();
        let mut until = from;
        while until.since(from) < Duration::from_millis(60) {
            until = clock.now();
        }
        let worked = watch.measure(until).unwrap();
        // However busy the machine is, who works is never idle; who sleeps may be woken late.
        assert!(worked.idle() < Duration::from_millis(10), "{worked:?}");
        assert!(slept.idle() > worked.idle(), "{slept:?}");
        assert!(worked.worked > slept.worked, "{slept:?} {worked:?}");
    }
}
