//! The audit: limits count what calls hold, calls are asked what they hold, and both must agree.
//!
//! Each shard counts at one moment, and nothing moves on it meanwhile. The channels of limits are shared, and the
//! shards do not count at the same moment: between the first reading of a limit and the last, calls began and ended.
//! How many, the limit itself knows. With `b` calls begun and `e` ended in this window, the true difference between
//! what the limit says at its end and what calls hold is within `b` below and `e` above the one that is seen. A window
//! without either proves it; otherwise the shards are asked again, and the true difference, which stays, must lie within
//! all windows.

use super::{Methods, unexpected};
use crate::{
    admin::{
        audit::{Audit, ChannelAudit, CountAudit},
        failure::Failure,
    },
    io::ShardAudit,
    shard::{Command, Reply},
};

/// Most rounds, each of a few milliseconds at most.
const ROUNDS_MAX: u32 = 20;

/// One limit, as its own counters have it.
struct Reading {
    name: String,
    in_use: i64,
    admitted: i64,
}

impl Methods {
    /// Count everything in two ways.
    pub(super) async fn audit(&self) -> Result<Audit, Failure> {
        let mut audit = self.audit_round().await?;
        for rounds in 2..=ROUNDS_MAX {
            if audit
                .channels
                .iter()
                .all(|c| c.difference_min == c.difference_max)
            {
                break;
            }
            let again = self.audit_round().await?;
            audit = Audit {
                rounds,
                channels: audit
                    .channels
                    .into_iter()
                    .zip(again.channels)
                    .map(|(before, now)| narrow(&before, now))
                    .collect(),
                ..again
            };
        }
        let counts_agree = audit.counts.iter().all(|count| count.counted == count.found);
        audit.consistent = counts_agree && audit.channels.iter().all(ChannelAudit::agrees);
        Ok(audit)
    }

    async fn audit_round(&self) -> Result<Audit, Failure> {
        let before = self.readings();
        let replies = self.broadcast(Command::Audit).await?;
        let after = self.readings();
        let shards: Vec<ShardAudit> = replies
            .into_iter()
            .map(|reply| match reply {
                Reply::Audit(audit) => Ok(audit),
                _ => Err(unexpected()),
            })
            .collect::<Result<_, _>>()?;
        let channels = before
            .iter()
            .zip(after)
            .enumerate()
            .map(|(limit, (before, after))| {
                let held: u64 = shards.iter().filter_map(|shard| shard.held.get(limit)).sum();
                channel_audit(before, after, held)
            });
        let counts = (0..).zip(&shards).flat_map(|(shard, audit)| {
            audit.counts.iter().map(move |count| CountAudit {
                shard,
                what: count.what.to_owned(),
                counted: count.counted,
                found: count.found,
            })
        });
        Ok(Audit {
            consistent: false,
            calls: shards.iter().map(|shard| shard.calls).sum(),
            rounds: 1,
            channels: channels.collect(),
            counts: counts.collect(),
        })
    }

    fn readings(&self) -> Vec<Reading> {
        let views = self.daemon.admission.iter();
        let reading = views.map(|view| Reading {
            name: view.name.to_owned(),
            in_use: i64::from(view.channels_used),
            admitted: i64::try_from(view.admitted).unwrap_or(i64::MAX),
        });
        reading.collect()
    }
}

fn channel_audit(before: &Reading, after: Reading, held: u64) -> ChannelAudit {
    let began = (after.admitted - before.admitted).max(0);
    let ended = (began + before.in_use - after.in_use).max(0);
    let seen = after.in_use - i64::try_from(held).unwrap_or(i64::MAX);
    ChannelAudit {
        limit: after.name,
        in_use: u64::try_from(after.in_use).unwrap_or(0),
        held,
        difference_min: seen - began,
        difference_max: seen + ended,
    }
}

/// What both rounds allow. When nothing is left, a reading fell between the two steps of an admission: the later one counts.
fn narrow(before: &ChannelAudit, now: ChannelAudit) -> ChannelAudit {
    let min = before.difference_min.max(now.difference_min);
    let max = before.difference_max.min(now.difference_max);
    if min > max {
        return now;
    }
    ChannelAudit {
        difference_min: min,
        difference_max: max,
        ..now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(in_use: i64, admitted: i64) -> Reading {
        Reading {
            name: "global".to_owned(),
            in_use,
            admitted,
        }
    }

    fn range(before: (i64, i64), after: (i64, i64), held: u64) -> (i64, i64) {
        let audit = channel_audit(&reading(before.0, before.1), reading(after.0, after.1), held);
        (audit.difference_min, audit.difference_max)
    }

    #[test]
    fn a_quiet_window_proves() {
        assert_eq!(range((5, 90), (5, 90), 5), (0, 0));
        assert_eq!(range((6, 90), (6, 90), 5), (1, 1), "a channel is lost");
    }

    #[test]
    fn what_came_and_went_widens_the_window() {
        // Two began and one ended; the shards counted before all of it, in between, or after.
        for held in [5, 6, 7] {
            let (min, max) = range((5, 90), (6, 92), held);
            assert!(min <= 0 && 0 <= max, "{min} to {max}");
        }
        assert_eq!(range((5, 90), (6, 92), 3), (1, 4), "too few to be explained");
    }

    #[test]
    fn windows_narrow_each_other() {
        let audit = |min, max| ChannelAudit {
            difference_min: min,
            difference_max: max,
            ..ChannelAudit::default()
        };
        let both = narrow(&audit(-1, 3), audit(-2, 0));
        assert_eq!((both.difference_min, both.difference_max), (-1, 0));
        let disjoint = narrow(&audit(1, 1), audit(0, 0));
        assert_eq!((disjoint.difference_min, disjoint.difference_max), (0, 0));
    }
}
