//! Which limits a call falls under, and how it is refused when one of them is reached (L1, L2).

use super::setup::RETRY_AFTER_S;
use crate::{
    admission::{Limits, Permit, Refused, Scope},
    counters::ShardCounters,
    shard::Shard,
    snapshot::Snapshot,
    time::Timestamp,
    transaction::Reply,
    trunk::TrunkId,
};
use std::time::Duration;

impl Shard {
    /// One token and one channel of every limit that the call falls under.
    pub(super) fn admit(
        &mut self,
        now: Timestamp,
        snapshot: &Snapshot,
        scope: &Scope<'_>,
    ) -> Result<Permit, Reply> {
        let admitted = self.admission.admit(now, &limits_of(snapshot, scope));
        admitted.map_err(|refused| over_limit(&mut self.io.counters, snapshot, scope.from, refused))
    }
}

/// How a call from `from` is refused that is over a limit, which is counted.
pub(super) fn over_limit(
    counters: &mut ShardCounters,
    snapshot: &Snapshot,
    from: TrunkId,
    refused: Refused,
) -> Reply {
    let retry_after_s = match refused {
        Refused::Cps(_, wait) => {
            counters.refused_cps += 1;
            seconds(wait)
        }
        Refused::Channels(_) => {
            counters.refused_channels += 1;
            RETRY_AFTER_S
        }
    };
    reject(snapshot, from, retry_after_s)
}

/// The refusal of a call from `from`, as its trunk has it; without a time of its own, after `retry_after_s`.
pub(super) fn reject(snapshot: &Snapshot, from: TrunkId, retry_after_s: u16) -> Reply {
    let trunk = snapshot.trunks.get(usize::from(from.0));
    let reject = trunk.map(|trunk| trunk.reject).unwrap_or_default();
    let status = reject.status.unwrap_or(snapshot.reject_code);
    Reply::retry_after(status, reject.retry_after_s.unwrap_or(retry_after_s))
}

/// `wait` as Retry-After says it.
pub(super) fn seconds(wait: Duration) -> u16 {
    wait.as_secs_f64().ceil().clamp(1.0, 60.0) as u16
}

/// The limits of all calls, of both trunks, and those with a name that the call falls under.
pub(super) fn limits_of(snapshot: &Snapshot, scope: &Scope<'_>) -> Limits {
    let mut limits = Limits::new();
    limits.push(snapshot.limits);
    if let Some(from) = snapshot.trunks.get(usize::from(scope.from.0)) {
        limits.extend([from.inbound, from.both]);
    }
    if let Some(to) = snapshot.trunks.get(usize::from(scope.to.0)) {
        limits.extend([to.outbound, to.both]);
    }
    snapshot.scoped.apply(scope, &mut limits);
    limits
}
