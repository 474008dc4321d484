//! Where a caller is (RFC 6442): the target of a call for help is told, and nobody else unless both trunks say so (R9).

use crate::desk::*;
use crate::routes::{SECOND, THIRD, attempts, desk_of, invited};
use crate::two_trunks::{desk, invite_with};
use std::fmt::Write as _;

const EMERGENCY: &str = "[emergency]\nnumbers = [\"112\"]\nto = [\"second\", \"third\"]\n\
    [[route]]\nfrom = \"carrier\"\nto = \"platform\"\n";

const DOCUMENT: &str = "<presence entity=\"pres:alice@caller.test\"><!-- 51.5, -0.1 --></presence>\r\n";

const SAYS: &str = "Geolocation: <sips:alice@lis.test;id=7>;loc-src=caller.test, <cid:here%40caller.test>\r\n\
     Geolocation: <https://lis.test/7?a,b>\r\nGeolocation-Routing: Yes\r\nContact:";

/// The INVITE to `number` with a body of these parts: their header fields and what is in them.
fn with_parts(number: &str, parts: &[(&str, &str)]) -> String {
    let mut body = "for old readers\r\n".to_owned();
    for (head, text) in parts {
        let _ = write!(body, "--cut here\r\n{head}\r\n\r\n{text}\r\n");
    }
    body.push_str("--cut here--\r\n");
    request("INVITE", &format!("sip:{number}@127.0.0.1"), 1, "inv1", "", &body)
        .replace(
            "application/sdp\r\nContent-Length",
            "multipart/mixed; boundary=\"cut here\"\r\nContent-Length",
        )
        .replacen("Contact:", SAYS, 1)
}

const SDP: (&str, &str) = ("Content-Type: application/sdp", OFFER);
const PIDF: (&str, &str) = (
    "Content-Type: application/pidf+xml; charset=utf-8\r\ncontent-id:\r\n <here@caller.test>",
    DOCUMENT,
);

fn call_for_help() -> String {
    with_parts("112", &[SDP, PIDF])
}

/// Type and content of the parts of a body that we have written, and the Content-ID of the last.
fn parts_of(sent: &Sent) -> (Vec<(String, String)>, String) {
    let kind = sent.header("Content-Type");
    let boundary = kind
        .strip_prefix("multipart/mixed;boundary=")
        .unwrap_or_else(|| panic!("{kind}"));
    let body = sent.body();
    let body = body.strip_prefix(&format!("--{boundary}\r\n")).unwrap();
    let body = body.strip_suffix(&format!("\r\n--{boundary}--\r\n")).unwrap();
    let mut id = String::new();
    let between = format!("\r\n--{boundary}\r\n");
    let parts = body.split(&between).map(|part| {
        let (head, text) = part.split_once("\r\n\r\n").unwrap();
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
        id = field("Content-ID: ").unwrap_or_default().to_owned();
        (field("Content-Type: ").unwrap().to_owned(), text.to_owned())
    });
    let parts = parts.collect();
    (parts, id)
}

#[test]
fn a_call_for_help_says_where_the_caller_is() {
    let mut desk = desk_of(EMERGENCY);
    let second = invited(&desk.caller(&call_for_help()), SECOND);
    assert_eq!(
        second.header("Geolocation"),
        "<sips:alice@lis.test;id=7>;loc-src=caller.test, <cid:here%40caller.test>, <https://lis.test/7?a,b>"
    );
    assert_eq!(second.header("Geolocation-Routing"), "yes");
    let (parts, id) = parts_of(&second);
    assert_eq!(parts.len(), 2);
    assert_eq!(parts[0].0, "application/sdp");
    assert!(
        parts[0].1.starts_with("v=0\r\n") && parts[0].1.ends_with("\r\n"),
        "{}",
        parts[0].1
    );
    assert!(!parts[0].1.contains("127.0.0.2"), "{}", parts[0].1);
    assert_eq!(parts[1], ("application/pidf+xml".to_owned(), DOCUMENT.to_owned()));
    assert_eq!(id, "<here@caller.test>");
    assert_eq!(desk.shard.counters().headers_dropped, 0);
    // The next trunk is told the same, and the call is one like any other.
    let third = invited(
        &desk.deliver(SECOND, &response(&second, 503, "t1", "", "")),
        THIRD,
    );
    assert_eq!(parts_of(&third).0[1].1, DOCUMENT);
    let answer = response(&third, 200, "t2", "sip:psap@127.0.0.5", ANSWER);
    let sent = desk.deliver(THIRD, &answer);
    assert_eq!(kinds(&sent).iter().filter(|kind| *kind == "A<200").count(), 1);
}

#[test]
fn nobody_else_is_told() {
    let mut desk = desk_of(EMERGENCY);
    let sent = desk.caller(&with_parts("1000", &[SDP, PIDF]));
    let out = invited(&sent, CALLEE);
    assert_eq!(out.header("Content-Type"), "application/sdp");
    for (name, marked) in [("Geolocation", "lis.test"), ("Geolocation-Routing", "presence")] {
        assert!(!out.has(name) && !out.text.contains(marked), "{}", out.text);
    }
    assert_eq!(
        desk.shard.counters().headers_dropped,
        0,
        "nothing that might have passed"
    );
}

#[test]
fn trunks_may_have_it_of_all_calls_or_of_none() {
    let location = |word: &str| format!("headers = {{ location = \"{word}\" }}");
    for (carrier, platform, passes) in [
        ("always", "always", true),
        ("always", "emergency", false),
        ("emergency", "always", false),
        ("never", "always", false),
    ] {
        let mut desk = desk(&location(carrier), &location(platform));
        let sent = desk.caller(&invite_with("Geolocation: <https://lis.test/7>"));
        assert_eq!(
            only(&sent, "INVITE").has("Geolocation"),
            passes,
            "{carrier} {platform}"
        );
    }
    for (name, rule) in [
        ("carrier", "hosts = [\"127.0.0.2\"]"),
        ("second", "hosts = [\"127.0.0.4\"]"),
    ] {
        let mut desk = desk_with(name, rule, &location("never"));
        let second = invited(&desk.caller(&call_for_help()), SECOND);
        assert!(!second.has("Geolocation"), "{name}: {}", second.text);
        assert_eq!(second.header("Content-Type"), "application/sdp");
    }
}

/// As [`EMERGENCY`], with `more` lines for the trunk that has the line `hosts`.
fn desk_with(name: &str, hosts: &str, more: &str) -> Desk {
    let text = format!("{}{EMERGENCY}", crate::routes::TRUNKS);
    assert!(text.contains(&format!("name = \"{name}\"\n{hosts}\n")));
    let text = text.replace(&format!("{hosts}\n"), &format!("{hosts}\n{more}\n"));
    let (snapshot, admission) = sbc_core::config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

#[test]
fn a_rule_says_where_the_callers_of_a_trunk_are() {
    let rule = "headers = { rule = [{ direction = \"in\", action = \"add\", header = \"Geolocation\", value = \"<https://lis.test/office>\" }] }";
    let mut desk = desk_with("carrier", "hosts = [\"127.0.0.2\"]", rule);
    let help = request("INVITE", "sip:112@127.0.0.1", 1, "inv1", "", OFFER);
    let second = invited(&desk.caller(&help), SECOND);
    assert_eq!(second.header("Geolocation"), "<https://lis.test/office>");
    let other = invite()
        .replace("inv1", "inv2")
        .replace("caller-call-id", "other");
    assert!(!invited(&desk.caller(&other), CALLEE).has("Geolocation"));
}

#[test]
fn a_trunk_that_refuses_the_document_is_asked_without_it() {
    for status in [413, 415, 513] {
        let mut desk = desk_of(EMERGENCY);
        let second = invited(&desk.caller(&call_for_help()), SECOND);
        let sent = desk.deliver(SECOND, &response(&second, status, "t1", "", ""));
        let again = invited(&sent, SECOND);
        assert_eq!(again.header("Content-Type"), "application/sdp");
        assert_eq!(
            again.header("Geolocation"),
            "<sips:alice@lis.test;id=7>;loc-src=caller.test, <https://lis.test/7?a,b>"
        );
        assert_eq!(again.header("Call-ID"), second.header("Call-ID"));
        // Refused again it has failed, and the next trunk has the document.
        let third = invited(
            &desk.deliver(SECOND, &response(&again, status, "t2", "", "")),
            THIRD,
        );
        assert_eq!(parts_of(&third).0[1].1, DOCUMENT);
        desk.deliver(THIRD, &response(&third, 486, "t3", "", ""));
        desk.assert_quiet();
        assert_eq!(
            attempts(&desk),
            [
                ("second", Some(status), "refused"),
                ("third", Some(486), "refused")
            ]
        );
    }
}

#[test]
fn a_document_passes_without_an_offer() {
    let alone = request("INVITE", "sip:112@127.0.0.1", 1, "inv1", "", DOCUMENT)
        .replace(
            "application/sdp",
            "application/pidf+xml\r\nContent-ID: <here@caller.test>",
        )
        .replacen("Contact:", SAYS, 1);
    for invite in [alone, with_parts("112", &[PIDF])] {
        let mut desk = desk_of(EMERGENCY);
        let second = invited(&desk.caller(&invite), SECOND);
        let document = ("application/pidf+xml".to_owned(), DOCUMENT.to_owned());
        assert_eq!(
            parts_of(&second),
            (vec![document], "<here@caller.test>".to_owned())
        );
    }
}

#[test]
fn what_is_no_location_does_not_pass() {
    let long = format!("<https://lis.test/{}>", "x".repeat(2100));
    let ten = ["<https://lis.test/1>"; 10].join(",");
    for (value, passed, dropped) in [
        ("<cid:elsewhere@caller.test>", None, 1),
        ("https://lis.test/7", None, 1),
        ("\"here\" <https://lis.test/7>", None, 1),
        ("<https://lis.test/7>;;", None, 1),
        ("<https://lis.test/\x0b>", None, 1),
        (&long, None, 1),
        (&ten, Some(8), 2),
    ] {
        let mut desk = desk_of(EMERGENCY);
        let call = request("INVITE", "sip:112@127.0.0.1", 1, "inv1", "", OFFER);
        let call = call.replacen(
            "Contact:",
            &format!("Geolocation: {value}\r\nGeolocation-Routing: x\r\nContact:"),
            1,
        );
        let second = invited(&desk.caller(&call), SECOND);
        let values = second
            .has("Geolocation")
            .then(|| second.header("Geolocation").split(", ").count());
        assert_eq!(values, passed, "{value}");
        assert!(!second.has("Geolocation-Routing"));
        assert_eq!(desk.shard.counters().headers_dropped, dropped, "{value}");
    }
}

#[test]
fn parts_that_must_be_understood_are_refused() {
    let isup = "Content-Type: application/isup";
    for (disposition, status) in [
        ("signal;handling=optional", "A<100"),
        ("signal; handling=required", "A<415"),
    ] {
        let part = format!("{isup}\r\nContent-Disposition: {disposition}");
        let mut desk = desk_of(EMERGENCY);
        let kinds = kinds(&desk.caller(&with_parts("1000", &[(&part, "x"), SDP])));
        assert!(kinds.contains(&status.to_owned()), "{disposition}: {kinds:?}");
        assert_eq!(
            kinds.contains(&"B<INVITE".to_owned()),
            status == "A<100",
            "{disposition}: {kinds:?}"
        );
    }
    let encoded = format!("{}\r\nContent-Transfer-Encoding: base64", SDP.0);
    let mut desk = desk_of(EMERGENCY);
    assert_eq!(
        kinds(&desk.caller(&with_parts("1000", &[(&encoded, "dj0w")]))),
        ["A<100", "A<415"]
    );
}
