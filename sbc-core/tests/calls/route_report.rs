//! What `sbc-ctl route test` says, and that calls do just that (R10).

use crate::{
    desk::*,
    routes::{SECOND, THIRD, TRUNKS, invited, numbered},
};
use sbc_core::{
    admin::{
        protocol::TestRoute,
        route::{RouteReport, report},
    },
    admission::Admission,
    config,
    snapshot::Snapshot,
};

/// The carrier dials as in Germany behind a prefix; the second trunk wants a prefix and `+`, the third national numbers.
fn compiled() -> (Snapshot, Admission) {
    let trunks = TRUNKS
        .replace(
            "\"127.0.0.2\"]",
            "\"127.0.0.2\"]\nnumbers = { country = \"DE\" }\nproof.inbound = { tech_prefix = \"77#\" }",
        )
        .replace(
            "\"127.0.0.4\"]",
            "\"127.0.0.4\"]\nnumbers = { destination = \"e164\" }\nproof.outbound = { tech_prefix = \"99\" }",
        )
        .replace(
            "\"127.0.0.5\"]",
            "\"127.0.0.5\"]\nnumbers = { country = \"DE\", destination = \"national\" }",
        );
    let routes = r#"
[[route]]
name = "berlin"
prefixes = ["4930"]
to = "second"
[[route]]
name = "germany"
prefixes = ["49"]
to = "third"
[[route]]
name = "others"
from = "carrier"
to = "platform"
[emergency]
numbers = ["112", "0110110"]
to = "third"
"#;
    let config = config::parse(&format!("{trunks}{routes}"), "test").unwrap();
    config.compile().unwrap()
}

fn of(snapshot: &Snapshot, number: &str, from: Option<&str>) -> RouteReport {
    let test = TestRoute {
        number: number.to_owned(),
        from: from.map(str::to_owned),
    };
    report(snapshot, &test, 0).unwrap()
}

#[test]
fn calls_go_where_the_report_says_and_with_its_uri() {
    for (n, (number, wins, digits, to, uri)) in (1..).zip([
        (
            "030123456",
            "berlin",
            "4930123456",
            SECOND,
            "sip:99+4930123456@127.0.0.4",
        ),
        (
            "+4930-123-456",
            "berlin",
            "4930123456",
            SECOND,
            "sip:99+4930123456@127.0.0.4",
        ),
        (
            "004940123456",
            "germany",
            "4940123456",
            THIRD,
            "sip:040123456@127.0.0.5",
        ),
        (
            "0033145678901",
            "others",
            "33145678901",
            CALLEE,
            "sip:0033145678901@127.0.0.3",
        ),
        ("1200", "others", "1200", CALLEE, "sip:1200@127.0.0.3"),
        ("alice", "others", "", CALLEE, "sip:alice@127.0.0.3"),
        ("112", "emergency", "112", THIRD, "sip:112@127.0.0.5"),
        // As dialled, although it is a number of Germany, too.
        ("0110110", "emergency", "0110110", THIRD, "sip:0110110@127.0.0.5"),
    ]) {
        let (snapshot, admission) = compiled();
        let number = format!("77%23{number}");
        let said = of(&snapshot, &number, Some("carrier"));
        let winner = said.rules.iter().find(|rule| rule.verdict.is_none());
        assert_eq!(
            winner.map(|rule| rule.name.as_str()),
            Some(wins),
            "{number}: {said:#?}"
        );
        assert_eq!(said.digits, digits, "{number}");
        assert_eq!(said.targets[0].request_uri, uri, "{number}");
        let mut desk = Desk::of(snapshot, admission);
        let sent = invited(&desk.caller(&numbered(n, &number)), to);
        assert_eq!(sent.start(), format!("INVITE {uri} SIP/2.0"));
    }
}

#[test]
fn every_rule_that_knows_the_number_says_why_it_does_not_win() {
    let said = of(&compiled().0, "030123456", Some("carrier"));
    let rules: Vec<_> = said
        .rules
        .iter()
        .map(|rule| (&*rule.name, &*rule.prefix, rule.verdict.is_none()))
        .collect();
    assert_eq!(
        rules,
        [
            ("berlin", "4930", true),
            ("germany", "49", false),
            ("others", "", false)
        ]
    );
    let said = of(&compiled().0, "33145678901", None);
    assert_eq!(
        said.rules[0].verdict.as_deref(),
        Some("it is for calls of other trunks")
    );
    assert_eq!(said.targets, []);
}

#[test]
fn a_trunk_that_is_off_is_said_to_be_passed_over() {
    let mut snapshot = compiled().0;
    snapshot.trunks[3].service = sbc_core::snapshot::Service::Disabled;
    assert_eq!(
        of(&snapshot, "040123456", Some("carrier")).targets[0].state,
        "switched off: passed over"
    );
}
