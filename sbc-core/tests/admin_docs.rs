//! `docs/ADMIN.md` says what the code does: every method with a true example, every reason with
//! its code, every bound.

use sbc_core::admin::{
    failure::Reason,
    frame::REQUEST_BYTES_MAX,
    method::{Answer, METHODS},
    protocol::{LIMIT_CHANGES_MAX, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX, PROTOCOL},
    session::{Session, Step},
};
use serde_json::Value;

const ADMIN: &str = include_str!("../../docs/ADMIN.md");

/// Heading and text of each method's section.
fn sections() -> Vec<(&'static str, &'static str)> {
    let methods = ADMIN.split("\n## Methods\n").nth(1).unwrap();
    let methods = methods.split("\n## ").next().unwrap();
    let section = |s: &'static str| s.split_once("`\n").unwrap();
    methods.split("\n### `").skip(1).map(section).collect()
}

fn line_after(text: &str, arrow: &str) -> String {
    let mut lines = text.lines().filter_map(|l| l.strip_prefix(arrow));
    let line = lines.next().unwrap().trim().to_owned();
    assert_eq!(lines.next(), None, "one example");
    line
}

#[test]
fn the_documented_methods_are_the_implemented_ones() {
    let documented: Vec<&str> = sections().iter().map(|(method, _)| *method).collect();
    assert_eq!(documented, METHODS);
}

#[test]
fn every_example_request_is_understood() {
    for (method, text) in sections() {
        let mut session = Session::default();
        session.push(format!("{}\n", line_after(text, "→")).as_bytes());
        match session.next_step() {
            Some(Step::Run { id: Some(_), request }) => assert_eq!(request.method(), method),
            other => panic!("{method}: {other:?}"),
        }
    }
}

#[test]
fn every_example_result_has_exactly_the_fields_of_the_real_one() {
    for (method, text) in sections() {
        let response: Value = serde_json::from_str(&line_after(text, "←")).unwrap();
        let answer = Answer::parse(method, response["result"].clone()).unwrap();
        assert_eq!(
            serde_json::to_value(&answer).unwrap(),
            response["result"],
            "{method}"
        );
        let request: Value = serde_json::from_str(&line_after(text, "→")).unwrap();
        assert_eq!(request["id"], response["id"], "{method}");
    }
}

#[test]
fn every_reason_has_its_code() {
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} |", reason.as_str(), reason.code());
        assert!(ADMIN.contains(&row), "missing: {row}");
    }
    let table = ADMIN.split("| reason | code |").nth(1).unwrap();
    let rows = table.lines().skip(2).take_while(|l| l.starts_with('|')).count();
    assert_eq!(rows, Reason::ALL.len());
}

#[test]
fn the_bounds_are_the_real_ones() {
    assert_eq!(REQUEST_BYTES_MAX, 65_536);
    assert!(ADMIN.contains("65,536 bytes"));
    assert!(ADMIN.contains(&format!("The protocol has version {PROTOCOL}.")));
    assert!(ADMIN.contains(&format!(
        "({PAGE_ROWS_DEFAULT} unless\ngiven, at most {PAGE_ROWS_MAX})"
    )));
    assert!(ADMIN.contains(&format!("(1 to {LIMIT_CHANGES_MAX})")));
}

#[cfg(feature = "driver")]
#[test]
fn the_bounds_of_the_server_are_the_real_ones() {
    let bounds = sbc_core::driver::admin_server::Bounds::default();
    for row in [
        format!("| clients | {} |", bounds.clients_max),
        format!(
            "| time to send the next whole request | {} s |",
            bounds.idle.as_secs()
        ),
        format!("| time to read an answer | {} s |", bounds.write.as_secs()),
        format!("| time for a request | {} s |", bounds.request.as_secs()),
    ] {
        assert!(ADMIN.contains(&row), "missing: {row}");
    }
    assert_eq!((bounds.units_per_second, bounds.units_burst), (2000, 500));
    assert!(ADMIN.contains("2,000 units a second after 500 at once"));
}
