//! Oracles: at any moment, what limits, pools and timers count as in use is what calls hold; and no limit ever counts more
//! than it allows.

use super::{plan::SECOND, world::World};
use sbc_core::{
    admission::{Admission, LimitId},
    shard::Shard,
};

/// Every so many events; a prime, so that it does not fall in step with anything.
const EVENTS: u64 = 19;

/// A limit, and how full its bucket is, reckoned from the number of calls that it says it has admitted.
#[derive(Debug)]
pub struct Watched {
    id: LimitId,
    /// Calls that the bucket holds at most.
    bound: f64,
    /// Calls wait for it.
    waits: bool,
    admitted: u64,
    level: f64,
    at: u64,
}

impl Watched {
    /// Those of the limits that limit anything. `waits`: which of them give out their tokens so many ms ahead.
    pub fn all(admission: &Admission, waits: impl Fn(LimitId) -> u64) -> Vec<Self> {
        let limits = admission
            .iter()
            .filter(|view| view.cps > 0 || view.channels_max > 0);
        limits
            .map(|view| Self {
                id: view.id,
                // Calls that were told to wait are admitted before their time.
                bound: f64::from(view.burst.max(1)) + f64::from(view.cps) * waits(view.id) as f64 / 1000.0,
                waits: waits(view.id) > 0,
                admitted: 0,
                level: 0.0,
                at: 0,
            })
            .collect()
    }
}

/// Calls that were given a place in a rate and may have given it back for another call: they were admitted, too.
fn returned(shards: &[Shard]) -> u64 {
    let counters = shards.iter().map(Shard::counters);
    counters
        .map(|c| c.calls_held_left + c.refused_no_media_port + c.refused_request + c.targets_skipped)
        .sum()
}

impl World {
    /// No window of time has more calls than rate and burst allow, and no moment more than there are channels.
    fn watch_limits(&mut self) {
        let mut exceeded = Vec::new();
        for watched in &mut self.watched {
            let Some(view) = self.admission.view(watched.id) else {
                continue;
            };
            if view.channels_max > 0 && view.channels_used > view.channels_max {
                exceeded.push(format!(
                    "{} channels of {}: {view:?}",
                    view.channels_used, view.channels_max
                ));
            }
            let new = view.admitted - std::mem::replace(&mut watched.admitted, view.admitted);
            let leaked = (self.now - watched.at) as f64 / SECOND as f64 * f64::from(view.cps);
            watched.at = self.now;
            watched.level = (watched.level - leaked).max(0.0) + new as f64;
            let excess = watched.level - watched.bound;
            let above = view.cps > 0 && excess > 1e-6;
            if above && !(watched.waits && excess <= returned(&self.shards) as f64) {
                exceeded.push(format!("{excess} calls too many for {view:?}"));
            }
        }
        for what in exceeded {
            self.violation(u32::MAX, format!("a limit is exceeded: {what}"));
        }
    }

    pub(super) fn audit(&mut self) {
        self.watch_limits();
        if !self.out.events.is_multiple_of(EVENTS) {
            return;
        }
        let audits: Vec<_> = self.shards.iter().map(Shard::audit).collect();
        let mut differs = Vec::new();
        for (shard, audit) in audits.iter().enumerate() {
            let counts = audit.counts.iter().filter(|count| count.counted != count.found);
            differs.extend(counts.map(|count| format!("shard {shard}: {count:?}")));
        }
        for (n, limit) in self.admission.iter().enumerate() {
            let held: u64 = audits.iter().map(|audit| audit.held[n]).sum();
            if held != u64::from(limit.channels_used) {
                differs.push(format!(
                    "limit {}: {} in use, {held} held",
                    limit.name, limit.channels_used
                ));
            }
        }
        if !differs.is_empty() {
            self.violation(u32::MAX, format!("an audit finds differences: {differs:?}"));
        }
    }
}
