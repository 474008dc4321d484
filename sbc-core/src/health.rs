//! Which trunks answer, shared by all shards (S11).
//!
//! The shard that watches a trunk writes; all shards read before they send a call there. One padded
//! atomic per trunk, so that reading costs a call one load and watching one trunk disturbs no other.

use crate::{growing::Growing, time::Timestamp, trunk::TrunkId};
use std::{
    fmt,
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

/// Whether a trunk knows where we are (RFC 3261 §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registration {
    /// We do not register with it, or have told it that we go.
    None,
    /// It was asked for the first time.
    Asking,
    /// It knows.
    Registered,
    /// It refused with this status, 408 where nothing came.
    Failed(u16),
}

impl fmt::Display for Registration {
    /// As operators see it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("not registered"),
            Self::Asking => f.write_str("registering"),
            Self::Registered => f.write_str("registered"),
            Self::Failed(status) => write!(f, "failed {status}"),
        }
    }
}

/// The health of all trunks.
#[derive(Debug, Default)]
pub struct HealthTable {
    trunks: Growing<Cell>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell {
    /// Milliseconds of the last change, times four, plus the state.
    state: AtomicU64,
    /// Round-trip time of the last answer in microseconds, plus one; 0: none yet.
    round_trip: AtomicU64,
    /// Milliseconds of the last change, status, and state: 50, 12 and 2 bits.
    registration: AtomicU64,
}

impl HealthTable {
    /// `trunks` untested trunks; a [`TrunkId`] is an index.
    pub fn new(trunks: usize) -> Self {
        Self {
            trunks: Growing::of(u32::try_from(trunks).unwrap_or(u32::MAX)),
        }
    }

    /// There are `trunks` of them from now on; what is known of those that there were stays. For the control thread.
    pub(crate) fn grow(&self, trunks: usize) {
        self.trunks.grow(u32::try_from(trunks).unwrap_or(u32::MAX));
    }

    /// Nothing is known of `trunk`: its id is another's. For the control thread, while no shard uses it.
    pub(crate) fn forget(&self, trunk: TrunkId) {
        if let Some(cell) = self.cell(trunk) {
            cell.state.store(0, Relaxed);
            cell.round_trip.store(0, Relaxed);
            cell.registration.store(0, Relaxed);
        }
    }

    fn cell(&self, trunk: TrunkId) -> Option<&Cell> {
        self.trunks.get(trunk.0.into())
    }

    /// Whether calls to `trunk` are to be refused.
    pub fn is_down(&self, trunk: TrunkId) -> bool {
        self.view(trunk).0 == Health::Down
    }

    /// What is known of `trunk`, and since when.
    pub fn view(&self, trunk: TrunkId) -> (Health, Timestamp) {
        let packed = self.cell(trunk).map_or(0, |cell| cell.state.load(Relaxed));
        let health = match packed & 3 {
            1 => Health::Up,
            2 => Health::Down,
            _ => Health::Untested,
        };
        (health, Timestamp::from_millis(packed >> 2))
    }

    /// How long the last answer of `trunk` took.
    pub fn round_trip(&self, trunk: TrunkId) -> Option<Duration> {
        let cell = self.cell(trunk)?;
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
        if let Some(cell) = self.cell(trunk) {
            cell.state.store(now.as_millis() << 2 | state, Relaxed);
        }
    }

    /// Whether `trunk` knows where we are, and since when.
    pub fn registration(&self, trunk: TrunkId) -> (Registration, Timestamp) {
        let cell = self.cell(trunk);
        let packed = cell.map_or(0, |cell| cell.registration.load(Relaxed));
        let registration = match packed & 3 {
            1 => Registration::Asking,
            2 => Registration::Registered,
            3 => Registration::Failed((packed >> 2 & 0xfff) as u16),
            _ => Registration::None,
        };
        (registration, Timestamp::from_millis(packed >> 14))
    }

    /// The registration with `trunk` has changed. For the shard that registers.
    pub(crate) fn set_registration(&self, now: Timestamp, trunk: TrunkId, registration: Registration) {
        let state = match registration {
            Registration::None => 0,
            Registration::Asking => 1,
            Registration::Registered => 2,
            Registration::Failed(status) => 3 | u64::from(status & 0xfff) << 2,
        };
        if let Some(cell) = self.cell(trunk) {
            cell.registration.store(now.as_millis() << 14 | state, Relaxed);
        }
    }

    /// `trunk` has answered after `took`.
    pub(crate) fn answered(&self, trunk: TrunkId, took: Duration) {
        if let Some(cell) = self.cell(trunk) {
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
        assert_eq!(table.registration(first), (Registration::None, Timestamp::ZERO));
        for registration in [
            Registration::Asking,
            Registration::Failed(403),
            Registration::Registered,
            Registration::None,
        ] {
            table.set_registration(now, first, registration);
            assert_eq!(table.registration(first), (registration, now));
        }
        assert_eq!(table.view(first).0, Health::Untested);
    }
}
