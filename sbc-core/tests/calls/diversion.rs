//! Who was called before (N8): Diversion (RFC 5806) and History-Info (RFC 7044), and one made of the other (RFC 7544).

use crate::two_trunks::{desk, forwarded, invite_with};

const DIVERSION: &str = "headers = { diversion = \"diversion\" }";
const HISTORY: &str = "headers = { diversion = \"history-info\" }";

/// All values of `name` that the callee is sent, in order.
fn told(carrier: &str, platform: &str, fields: &str, name: &str) -> Vec<String> {
    let mut desk = desk(carrier, platform);
    let out = forwarded(&mut desk, &invite_with(fields));
    let head = out.text.split("\r\n\r\n").next().unwrap();
    head.lines()
        .filter_map(|line| line.strip_prefix(&format!("{name}: ")))
        .map(str::to_owned)
        .collect()
}

const TWICE: &str = "Diversion: \"Reception\" <sip:+49302@pbx.test>;reason=no-answer;counter=2;x=y, \
                     <sip:+49301@pbx.test:5070>;reason=unconditional";

#[test]
fn a_diversion_stays_one() {
    assert_eq!(
        told(DIVERSION, DIVERSION, TWICE, "Diversion"),
        [
            "<sip:+49302@127.0.0.1>;reason=no-answer;counter=2",
            "<sip:+49301@127.0.0.1>;reason=unconditional"
        ]
    );
}

#[test]
fn a_diversion_becomes_history() {
    assert_eq!(
        told(DIVERSION, HISTORY, TWICE, "History-Info"),
        [
            "<sip:+49301@127.0.0.1>;index=1, <sip:+49302@127.0.0.1;cause=302>;index=1.1;mp=1, \
          <sip:1000@127.0.0.3;cause=408>;index=1.1.1;mp=1.1"
        ]
    );
}

#[test]
fn history_becomes_a_diversion() {
    let history = "History-Info: <sip:+49301@pbx.test>;index=1\r\n\
                   History-Info: <sip:+49302@pbx.test;cause=302>;index=1.1;mp=1, \
                   <sip:1000@sbc.test;cause=486>;index=1.1.1;mp=1.1";
    assert_eq!(
        told(HISTORY, DIVERSION, history, "Diversion"),
        [
            "<sip:+49302@127.0.0.1>;reason=user-busy",
            "<sip:+49301@127.0.0.1>;reason=unconditional"
        ]
    );
    // And there and back it is the same.
    assert_eq!(
        told(HISTORY, HISTORY, history, "History-Info"),
        [
            "<sip:+49301@127.0.0.1>;index=1, <sip:+49302@127.0.0.1;cause=302>;index=1.1;mp=1, \
          <sip:1000@127.0.0.3;cause=486>;index=1.1.1;mp=1.1"
        ]
    );
    // A way without diversions tells of none.
    let forwarded = "History-Info: <sip:+49301@pbx.test>;index=1, <sip:+49301@other.test>;index=1.1;rc=1";
    assert!(told(HISTORY, DIVERSION, forwarded, "Diversion").is_empty());
}

#[test]
fn every_reason_has_its_cause() {
    for (reason, cause, back) in [
        ("unknown", "404", "unknown"),
        ("user-busy", "486", "user-busy"),
        ("no-answer", "408", "no-answer"),
        ("unavailable", "503", "unavailable"),
        ("unconditional", "302", "unconditional"),
        ("deflection", "480", "deflection"),
        ("time-of-day", "404", "unknown"),
        ("follow-me", "404", "unknown"),
    ] {
        let field = format!("Diversion: <sip:+49301@x>;reason={reason}");
        let history = told(DIVERSION, HISTORY, &field, "History-Info");
        assert!(
            history[0].contains(&format!(";cause={cause}>")),
            "{reason}: {history:?}"
        );
        let field = format!("History-Info: {}", history[0]);
        let again = told(HISTORY, DIVERSION, &field, "Diversion");
        assert_eq!(again, [format!("<sip:+49301@127.0.0.1>;reason={back}")]);
    }
    let ringing = "History-Info: <sip:+49301@x>;index=1, <sip:1@x;cause=487>;index=1.1";
    assert_eq!(
        told(HISTORY, DIVERSION, ringing, "Diversion"),
        ["<sip:+49301@127.0.0.1>;reason=deflection"]
    );
}

#[test]
fn nothing_is_told_by_or_to_a_trunk_that_has_it_off() {
    for (carrier, platform) in [
        ("", ""),
        (DIVERSION, ""),
        ("", DIVERSION),
        (HISTORY, "headers = { }"),
    ] {
        for name in ["Diversion", "History-Info"] {
            assert!(told(carrier, platform, TWICE, name).is_empty());
        }
    }
}

#[test]
fn who_does_not_want_to_be_named_is_named_within_the_trust_domain_only() {
    let private = "Diversion: <sip:+49302@x>;reason=user-busy;privacy=full, <sip:+49301@x>;reason=unknown";
    assert_eq!(
        told(DIVERSION, DIVERSION, private, "Diversion"),
        ["<sip:+49301@127.0.0.1>;reason=unknown"]
    );
    let trusted = format!("{DIVERSION}\nidentity = {{ trusted = true }}");
    assert_eq!(
        told(DIVERSION, &trusted, private, "Diversion")[0],
        "<sip:+49302@127.0.0.1>;reason=user-busy;privacy=full"
    );
    let history = format!("{HISTORY}\nidentity = {{ trusted = true }}");
    let as_history = told(DIVERSION, &history, private, "History-Info");
    assert!(
        as_history[0].contains("<sip:+49302@127.0.0.1;cause=404?Privacy=history>"),
        "{as_history:?}"
    );
    let field = format!("History-Info: {}", as_history[0]);
    assert_eq!(told(HISTORY, &trusted, &field, "Diversion").len(), 2);
    assert_eq!(told(HISTORY, DIVERSION, &field, "Diversion").len(), 1);
}

#[test]
fn numbers_are_written_as_the_trunk_wants_them() {
    let german = format!("{DIVERSION}\nnumbers = {{ country = \"DE\" }}");
    let platform = format!("{DIVERSION}\nnumbers = {{ originator = \"e164\" }}");
    assert_eq!(
        told(
            &german,
            &platform,
            "Diversion: <tel:030-123456>;reason=unknown",
            "Diversion"
        ),
        ["<sip:+4930123456@127.0.0.1>;reason=unknown"]
    );
}

#[test]
fn a_long_history_is_cut_at_the_oldest() {
    let all: Vec<String> = (1..=9)
        .map(|n| format!("<sip:+4930{n}@x>;reason=unknown"))
        .collect();
    let told = told(
        DIVERSION,
        DIVERSION,
        &format!("Diversion: {}", all.join(", ")),
        "Diversion",
    );
    assert_eq!(told.len(), 5);
    assert!(told[0].contains("+49301@"), "{told:?}");
}
