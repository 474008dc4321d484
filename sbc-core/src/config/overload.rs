//! Options of overload control.

use super::{
    options::sections,
    read::{Absent, Key, Reader, Section, Value},
};
use crate::overload::Thresholds;
use std::{ops::Range, time::Duration};
use toml::de::DeTable;

sections! {
    /// What a shard does when its core cannot keep up: it refuses some of the new calls at once, with 503 and Retry-After,
    /// and serves the calls that it has (`docs/LIMITS.md`).
    pub struct Overload {
        /// Busy with calls and their media for more than this many per mille of the time is overload. What is left is for media to
        /// be in time, and to refuse calls. 0: nothing is refused for it.
        busy_max: u32 = default(870) in 0..=1_000;
        /// Busy with them for less, more new calls are taken again, until all are.
        busy_low: u32 = default(850) in 1..=999;
        /// Milliseconds over which it is measured. Two such windows in a row begin an overload.
        window_ms: u32 = default(100) in 10..=10_000;
        /// Seconds in the Retry-After of these refusals.
        retry_after_s: u16 = default(1) in 1..=600;
    }
}

impl Overload {
    pub(super) fn compile(&self) -> Thresholds {
        Thresholds {
            busy_max: self.busy_max,
            busy_low: self.busy_low,
            window: Duration::from_millis(self.window_ms.into()),
            retry_after_s: self.retry_after_s,
        }
    }
}

/// Report thresholds in the wrong order.
pub(super) fn check(overload: &Overload, report: &mut dyn FnMut(&str, String)) {
    if overload.busy_max != 0 && overload.busy_low >= overload.busy_max {
        let what = format!(
            "{} is not less than busy_max ({})",
            overload.busy_low, overload.busy_max
        );
        report("overload.busy_low", what);
    }
}
