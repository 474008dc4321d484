//! Changes to header fields that an operator writes for a trunk (T12).

use crate::desk::*;
use crate::two_trunks::{desk, forwarded, invite_with};

fn rules(rules: &str) -> String {
    format!("headers = {{ accept = [\"X-Tenant\"], send = [\"X-Tenant\"], rule = [{rules}] }}")
}

#[test]
fn what_is_sent_to_a_trunk_is_changed() {
    let mut desk = desk(
        &rules(""),
        &rules(
            "{ action = \"add\", header = \"X-Carrier-Class\", value = \"gold; a=b\" }, \
             { action = \"remove\", header = \"Allow\" }, \
             { action = \"replace\", header = \"X-Tenant\", value = \"hidden\" }, \
             { action = \"replace\", header = \"Subject\", value = \"nothing to replace\" }, \
             { action = \"add\", header = \"Organization\", value = \"Example\" }",
        ),
    );
    let out = forwarded(&mut desk, &invite_with("X-Tenant: 7"));
    assert_eq!(out.header("X-Carrier-Class"), "gold; a=b");
    assert_eq!(out.header("X-Tenant"), "hidden");
    assert_eq!(out.header("Organization"), "Example");
    assert!(!out.has("Allow") && !out.has("Subject"), "{}", out.text);
    // The rest is whole: the call is set up, and its retransmissions are the same.
    assert_eq!(out.header("Content-Length"), out.body().len().to_string());
    let again = desk.pass(seconds(1));
    assert_eq!(only(&again, "INVITE").text, out.text);
    let sent = desk.callee(&ok(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert!(
        !only(&sent, "200").has("X-Carrier-Class"),
        "nothing of it comes back"
    );
}

#[test]
fn what_comes_from_a_trunk_is_changed_before_it_is_looked_at() {
    let inbound = "{ direction = \"in\", action = \"replace\", header = \"X-Tenant\", value = \"8\" }, \
                   { direction = \"in\", action = \"remove\", header = \"P-Asserted-Identity\" }, \
                   { direction = \"in\", action = \"add\", header = \"P-Asserted-Identity\", value = \"<sip:+49301@x>\" }";
    let trusted = "\nidentity = { trusted = true }";
    let mut desk = desk(&(rules(inbound) + trusted), &(rules("") + trusted));
    let out = forwarded(
        &mut desk,
        &invite_with("X-Tenant: 7\r\nP-Asserted-Identity: <sip:+4955555@x>"),
    );
    assert_eq!(out.header("X-Tenant"), "8");
    assert_eq!(out.header("P-Asserted-Identity"), "<sip:+49301@127.0.0.1>");
    // Where there is nothing, nothing is replaced.
    let mut desk = self::desk(&(rules(inbound) + trusted), &rules(""));
    assert!(!forwarded(&mut desk, &invite_with("X-Other: 7")).has("X-Tenant"));
}

#[test]
fn compact_names_are_found_as_well() {
    let platform = format!(
        "compact_headers = true\n{}",
        rules(
            "{ action = \"remove\", header = \"Privacy\" }, { action = \"add\", header = \"Subject\", value = \"a\" }"
        )
    );
    let mut desk = desk("", &platform);
    let out = forwarded(&mut desk, &invite_with("Privacy: id"));
    assert!(!out.has("Privacy"));
    assert_eq!(out.header("Subject"), "a");
}
