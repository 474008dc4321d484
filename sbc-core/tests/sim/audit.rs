//! An oracle: at any moment, what limits, pools and timers count as in use is what calls hold.

use super::world::World;

/// Every so many events; a prime, so that it does not fall in step with anything.
const EVENTS: u64 = 19;

impl World {
    pub(super) fn audit(&mut self) {
        if !self.out.events.is_multiple_of(EVENTS) {
            return;
        }
        let audits: Vec<_> = self.shards.iter().map(sbc_core::shard::Shard::audit).collect();
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
