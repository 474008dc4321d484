//! Which route a number takes, and why.

use super::{Plain, or_dash};
use sbc_core::admin::protocol::RouteReport;
use std::fmt::Write;

pub(crate) fn route(report: &RouteReport) -> String {
    let mut head = Plain::pairs();
    head.row(["number", &report.number]);
    head.row(["looked up", or_dash(&report.digits)]);
    head.row(["from", report.from.as_deref().unwrap_or("any trunk")]);
    let Some(winner) = report.rules.iter().find(|rule| rule.verdict.is_none()) else {
        return format!(
            "{}\nno rule takes this call: it is refused with 404\n{}",
            head.finish(),
            others(report)
        );
    };
    head.row([
        "rule",
        &format!("{} ({}, {})", winner.name, winner.kind, known(&winner.prefix)),
    ]);
    head.row(["order", &report.order]);
    head.row(["next trunk", &report.failover]);
    let mut targets = Plain::new(&["TRY>", "TRUNK", "REQUEST-URI", "SENT TO", "ADDRESSES", "STATE"]);
    for (n, target) in (1..).zip(&report.targets) {
        targets.row([
            format!("{n}").as_str(),
            &target.trunk,
            &target.request_uri,
            &target.next_hop,
            or_dash(&target.addresses.join(", ")),
            &target.state,
        ]);
    }
    format!("{}\n{}{}", head.finish(), targets.finish(), others(report))
}

/// The rules that know the number and do not get it.
fn others(report: &RouteReport) -> String {
    let mut table = Plain::new(&["OTHER RULE", "KIND", "KNOWS", "WHY NOT"]);
    let mut text = String::new();
    let others = report
        .rules
        .iter()
        .filter_map(|rule| Some((rule, rule.verdict.as_deref()?)));
    let mut any = false;
    for (rule, why) in others {
        any = true;
        table.row([rule.name.as_str(), &rule.kind, &known(&rule.prefix), why]);
    }
    if any {
        let _ = write!(text, "\n{}", table.finish());
    }
    text
}

fn known(prefix: &str) -> String {
    match prefix {
        "" => "fallback".to_owned(),
        prefix => prefix.to_owned(),
    }
}
