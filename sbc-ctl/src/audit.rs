//! `audit` as text.

use crate::show::Plain;
use sbc_core::admin::audit::{Audit, ChannelAudit};
use std::fmt::Write as _;

pub(crate) fn show(audit: &Audit) -> String {
    let mut channels = Plain::new(&["LIMIT", "CHANNELS IN USE>", "HELD BY CALLS>", "DIFFERENCE>"]);
    for limit in &audit.channels {
        channels.row([
            limit.limit.as_str(),
            &limit.in_use.to_string(),
            &limit.held.to_string(),
            &difference(limit),
        ]);
    }
    let mut counts = Plain::new(&["SHARD>", "WHAT", "IN USE>", "FOUND>", "DIFFERENCE>"]);
    for count in &audit.counts {
        counts.row([
            count.shard.to_string().as_str(),
            &count.what,
            &count.counted.to_string(),
            &count.found.to_string(),
            &(i128::from(count.counted) - i128::from(count.found)).to_string(),
        ]);
    }
    let mut text = format!("{}\n{}\n", channels.finish(), counts.finish());
    let moving = audit
        .channels
        .iter()
        .any(|c| c.difference_min != c.difference_max);
    let verdict = match (audit.consistent, moving) {
        (true, false) => "everything agrees",
        (true, true) => "nothing differs; where a range is shown, calls came and went too fast to prove it",
        (false, _) => "THERE IS A DIFFERENCE: this is a bug; please report it with this output",
    };
    let _ = writeln!(
        text,
        "{} calls, {} round(s): {verdict}",
        audit.calls, audit.rounds
    );
    text
}

fn difference(limit: &ChannelAudit) -> String {
    if limit.difference_min == limit.difference_max {
        return limit.difference_min.to_string();
    }
    format!("{} to {}", limit.difference_min, limit.difference_max)
}
