//! Which trunks answer, shared by all shards (S11).
//!
//! The shard that watches a trunk writes; all shards read before they send a call there. One padded
//! atomic per trunk, so that reading costs a call one load and watching one trunk disturbs no other.

use crate::{time::Timestamp, trunk::TrunkId};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What is known of a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Nothing: it is not watched, or not for long enough.
    Untested,
    /// It answers.
    Up,
    /// It does not answer: calls to it are refused.
    Down,
}

impl Health {
    /// As operators see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Untested => "untested",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The health of all trunks.
#[derive(Debug, Default)]
pub struct HealthTable {
    trunks: Box<[Cell]>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell {
    /// Milliseconds of the last change, times four, plus the state.
    state: AtomicU64,
    /// Round-trip time of the last answer in microseconds, plus one; 0: none yet.
    round_trip: AtomicU64,
}

impl HealthTable {
    /// `trunks` untested trunks; a [`TrunkId`] is an index.
    pub fn new(trunks: usize) -> Self {
        Self {
            trunks: (0..trunks).map(|_| Cell::default()).collect(),
        }
    }

    /// Whether calls to `trunk` are to be refused.
    pub fn is_down(&self, trunk: TrunkId) -> bool {
        self.view(trunk).0 == Health::Down
    }

    /// What is known of `trunk`, and since when.
    pub fn view(&self, trunk: TrunkId) -> (Health, Timestamp) {
        let packed = self
            .trunks
            .get(usize::from(trunk.0))
            .map_or(0, |cell| cell.state.load(Relaxed));
        let health = match packed & 3 {
            1 => Health::Up,
            2 => Health::Down,
            _ => Health::Untested,
        };
        (health, Timestamp::from_millis(packed >> 2))
    }

    /// How long the last answer of `trunk` took.
    pub fn round_trip(&self, trunk: TrunkId) -> Option<Duration> {
        let cell = self.trunks.get(usize::from(trunk.0))?;
        let micros = cell.round_trip.load(Relaxed).checked_sub(1)?;
        Some(Duration::from_micros(micros))
    }

    /// The state of `trunk` has changed. For the shard that watches it.
    pub(crate) fn set(&self, now: Timestamp, trunk: TrunkId, health: Health) {
        let state = match health {
            Health::Untested => 0,
            Health::Up => 1,
            Health::Down => 2,
        };
        if let Some(cell) = self.trunks.get(usize::from(trunk.0)) {
            cell.state.store(now.as_millis() << 2 | state, Relaxed);
        }
    }

    /// `trunk` has answered after `took`.
    pub(crate) fn answered(&self, trunk: TrunkId, took: Duration) {
        if let Some(cell) = self.trunks.get(usize::from(trunk.0)) {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX - 1);
            cell.round_trip.store(micros.saturating_add(1), Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_time_and_round_trip_are_kept_apart_for_each_trunk() {
        let table = HealthTable::new(2);
        let (first, second) = (TrunkId(0), TrunkId(1));
        assert_eq!(table.view(first), (Health::Untested, Timestamp::ZERO));
        assert_eq!(table.round_trip(first), None);
        let now = Timestamp::from_millis(123_456_789);
        for health in [Health::Down, Health::Up, Health::Untested] {
            table.set(now, first, health);
            assert_eq!(table.view(first), (health, now));
            assert_eq!(table.is_down(first), health == Health::Down);
        }
        table.answered(first, Duration::ZERO);
        assert_eq!(table.round_trip(first), Some(Duration::ZERO));
        assert_eq!(table.view(second).0, Health::Untested);
        assert_eq!(table.round_trip(second), None);
        assert!(!table.is_down(TrunkId(9)), "no such trunk");
    }
}
