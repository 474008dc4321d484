//! Call limits shared by all shards: calls per second and concurrent channels, exact, lock-free.

use crate::time::Timestamp;
use std::time::Duration;

/// Index of one limit (a CPS bucket and a channel count) in [`Admission`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitId(pub u32);

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Over the calls-per-second limit; a token is free again after this time.
    Cps(LimitId, Duration),
    /// Over the channel limit.
    Channels(LimitId),
}

/// The limits of the process.
#[derive(Debug, Default)]
pub struct Admission {}

/// Proof of admission: holds one channel in each limit until released. Owned by the call's slot.
#[derive(Debug, Default)]
#[must_use]
pub struct Permit {}

impl Admission {
    /// Take one CPS token and one channel from each of `limits`, or nothing at all.
    pub fn admit(&self, _now: Timestamp, _limits: &[LimitId]) -> Result<Permit, Refused> {
        Ok(Permit {})
    }

    /// Give the channels of `permit` back.
    pub fn release(&self, _permit: Permit) {}
}
