//! The attempts of a call as a table.

use super::{Plain, duration, or_dash};
use sbc_core::admin::protocol::AttemptDetail;

pub(super) fn attempts(attempts: &[AttemptDetail]) -> String {
    let mut table = Plain::new(&[
        "ATTEMPT>", "TRUNK", "ADDRESS", "BEGAN>", "RANG>", "ENDED>", "STATUS>", "REASON",
    ]);
    for (n, attempt) in (1..).zip(attempts) {
        let time = |ms: Option<u64>| ms.map_or_else(|| "-".to_owned(), duration);
        table.row([
            format!("{n}").as_str(),
            &attempt.trunk,
            or_dash(&attempt.address),
            &duration(attempt.start_ms),
            &time(attempt.ringing_ms),
            &time(attempt.end_ms),
            &attempt
                .status
                .map_or_else(|| "-".to_owned(), |status| status.to_string()),
            attempt.reason.as_deref().unwrap_or("under way"),
        ]);
    }
    table.finish()
}
