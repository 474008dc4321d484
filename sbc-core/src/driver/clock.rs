//! The one clock of the process: `CLOCK_MONOTONIC`, counted from start-up.

use crate::time::Timestamp;
use std::time::Instant;

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

    /// Time since the start.
    pub fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.start.elapsed()
    }
}
