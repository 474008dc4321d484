//! The one clock of the process: `CLOCK_MONOTONIC`, counted from start-up. The wall clock is asked for dates alone.

use crate::time::Timestamp;
use std::time::{Instant, SystemTime};

/// Reads the time since start-up. Copied to every thread, so that all of them agree.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that stands at zero now.
    #[allow(clippy::disallowed_methods, reason = "this is the driver's clock")]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Seconds of Unix time at the start, by the wall clock as it stands now.
    #[allow(clippy::disallowed_methods, reason = "this is the driver's clock")]
    pub fn epoch_s(&self) -> u64 {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        now.saturating_sub(self.start.elapsed()).as_secs()
    }

    /// Time since the start.
    pub fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.start.elapsed()
    }
}
