//! One trunk.

use super::{Plain, dash, limit_in_short, or_dash, state_of, target_of};
use sbc_core::admin::protocol::*;

/// What there is to know of a trunk, and below it its calls.
pub(crate) fn trunk(trunk: &TrunkStatus) -> String {
    let mut head = Plain::pairs();
    head.row(["trunk", &trunk.name]);
    head.row(["type", &trunk.kind]);
    head.row(["hosts", or_dash(&trunk.hosts.join(", "))]);
    head.row(["target", &target_of(trunk)]);
    head.row(["state", &state_of(trunk)]);
    head.row(["listener", &trunk.listener]);
    let route = trunk.route.as_deref().unwrap_or("none: calls refused");
    head.row(["route", route]);
    let limits: Vec<String> = trunk.limits.iter().filter_map(limit_in_short).collect();
    let limits = limits.join(", ");
    head.row(["limits", if limits.is_empty() { "none" } else { &limits }]);
    let Some(traffic) = &trunk.traffic else {
        return format!("{}\nhow many calls it has had is not known\n", head.finish());
    };
    let mut calls = Plain::new(&[
        "CALLS", "NOW>", "CPS>", "5 MIN>", "ASR>", "60 MIN>", "ASR>", "EVER>", "ASR>",
    ]);
    for (name, now, way) in [
        ("in", trunk.calls_in, &traffic.inbound),
        ("out", trunk.calls_out, &traffic.outbound),
    ] {
        calls.row([
            name,
            &now.to_string(),
            &cps(way),
            &way.minutes_5.seizures.to_string(),
            &asr(&way.minutes_5),
            &way.minutes_60.seizures.to_string(),
            &asr(&way.minutes_60),
            &way.total.seizures.to_string(),
            &asr(&way.total),
        ]);
    }
    format!("{}\n{}", head.finish(), calls.finish())
}

/// Calls a second.
pub(crate) fn cps(way: &WayStatus) -> String {
    format!("{:.1}", way.cps)
}

/// The answer-seizure ratio.
pub(crate) fn asr(count: &CallCount) -> String {
    count.asr.map_or_else(dash, |asr| format!("{asr:.1} %"))
}
