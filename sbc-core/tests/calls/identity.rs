//! Asserted identities (N5; RFC 3323, RFC 3325): believed of trusted trunks, told to those that may know, and never to
//! others of a caller who wishes not to be known.

use crate::two_trunks::{desk, forwarded, invite_with};

const PAI: &str = "P-Asserted-Identity: \"Head Office\" <sip:+49891234567@pbx.test;x=y>";

/// The identity that the callee is told, and its From without the tag.
fn told(carrier: &str, platform: &str, fields: &str) -> (Option<String>, String) {
    let mut desk = desk(carrier, platform);
    let out = forwarded(&mut desk, &invite_with(fields));
    let asserted = out
        .has("P-Asserted-Identity")
        .then(|| out.header("P-Asserted-Identity").to_owned());
    let from = out.header("From").split(";tag=").next().unwrap().to_owned();
    (asserted, from)
}

const TRUSTED: &str = "identity = { trusted = true }";
const KNOWN: &str = "<sip:+49891234567@127.0.0.1>";
const FROM: &str = "<sip:4930123@127.0.0.1>";

#[test]
fn who_is_told_what() {
    let id = format!("{PAI}\r\nPrivacy: id");
    let anonymous = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
    for (case, carrier, platform, fields, asserted, from) in [
        ("nothing is said, nothing is told", "", "", PAI, None, FROM),
        ("nobody asked for it", TRUSTED, "", PAI, None, FROM),
        (
            "a stranger's word counts for nothing",
            "identity = {}",
            TRUSTED,
            PAI,
            None,
            FROM,
        ),
        ("nor without a word on that", "", TRUSTED, PAI, None, FROM),
        (
            "within the trust domain",
            TRUSTED,
            TRUSTED,
            PAI,
            Some(KNOWN),
            FROM,
        ),
        (
            "out of it, not private",
            TRUSTED,
            "identity = {}",
            PAI,
            Some(KNOWN),
            FROM,
        ),
        (
            "out of it, private",
            TRUSTED,
            "identity = {}",
            &id,
            None,
            anonymous,
        ),
        ("within it, private", TRUSTED, TRUSTED, &id, Some(KNOWN), FROM),
        (
            "never",
            TRUSTED,
            "identity = { trusted = true, asserted = \"never\" }",
            PAI,
            None,
            FROM,
        ),
        (
            "made of From",
            "",
            "identity = { asserted = \"always\" }",
            PAI,
            Some(FROM),
            FROM,
        ),
        (
            "made of From where nothing else is known",
            TRUSTED,
            "identity = { asserted = \"always\" }",
            PAI,
            Some(KNOWN),
            FROM,
        ),
        (
            "private, and made of From",
            "",
            "identity = { asserted = \"always\" }",
            "Privacy: id",
            None,
            anonymous,
        ),
        (
            "user privacy",
            "",
            "identity = {}",
            "Privacy: user;critical",
            None,
            anonymous,
        ),
        (
            "no privacy is wished",
            TRUSTED,
            "identity = {}",
            &format!("{PAI}\r\nPrivacy: none"),
            Some(KNOWN),
            FROM,
        ),
    ] {
        let told = told(carrier, platform, fields);
        assert_eq!((told.0.as_deref(), &*told.1), (asserted, from), "{case}");
    }
}

#[test]
fn a_preferred_identity_is_taken_where_that_is_wished() {
    let preferred = "P-Preferred-Identity: <sip:+49891234567@pbx.test>";
    let accepts = "identity = { accept_preferred = true }";
    assert_eq!(told(TRUSTED, TRUSTED, preferred).0, None);
    assert_eq!(told(accepts, TRUSTED, preferred).0.as_deref(), Some(KNOWN));
    // What is asserted by somebody who is believed counts more; by nobody, nothing.
    let both = format!("{PAI}\r\nP-Preferred-Identity: <sip:+4955555555@pbx.test>");
    let all = "identity = { trusted = true, accept_preferred = true }";
    assert_eq!(told(all, TRUSTED, &both).0.as_deref(), Some(KNOWN));
    assert_eq!(
        told(accepts, TRUSTED, &both).0.as_deref(),
        Some("<sip:+4955555555@127.0.0.1>")
    );
}

#[test]
fn it_is_told_in_the_header_field_that_the_trunk_wants() {
    let mut desk = desk(TRUSTED, "identity = { trusted = true, send_preferred = true }");
    let out = forwarded(&mut desk, &invite_with(PAI));
    assert_eq!(out.header("P-Preferred-Identity"), KNOWN);
    assert!(!out.has("P-Asserted-Identity"));
}

#[test]
fn remote_party_id_both_ways() {
    let both = "identity = { trusted = true, remote_party_id = true }";
    let field = "Remote-Party-ID: <sip:+49891234567@pbx.test>;party=calling;privacy=full;screen=yes";
    let mut between = desk(both, both);
    let out = forwarded(&mut between, &invite_with(field));
    assert_eq!(out.header("P-Asserted-Identity"), KNOWN);
    assert_eq!(
        out.header("Remote-Party-ID"),
        format!("{KNOWN};party=calling;screen=yes;privacy=full")
    );
    // Its privacy is the caller's wish, too.
    let (asserted, from) = told(both, "identity = { remote_party_id = true }", field);
    assert_eq!(asserted, None);
    assert!(from.contains("anonymous.invalid"), "{from}");
    // Of the called party, or without the option, it says nothing.
    let called = field.replace("calling", "called");
    assert_eq!(told(both, both, &called).0, None);
    assert_eq!(told(TRUSTED, TRUSTED, field).0, None);
}

#[test]
fn names_pass_by_the_policy_for_names() {
    let (asserted, from) = told(
        TRUSTED,
        "identity = { trusted = true }\npass_display_name = true",
        PAI,
    );
    assert_eq!(
        asserted.as_deref(),
        Some("\"Head Office\" <sip:+49891234567@127.0.0.1>")
    );
    assert_eq!(from, "\"Alice\" <sip:4930123@127.0.0.1>");
    let (asserted, from) = told(TRUSTED, "identity = { display_name = \"Shop\" }", PAI);
    assert_eq!(asserted.as_deref(), Some("\"Shop\" <sip:+49891234567@127.0.0.1>"));
    assert_eq!(from, "\"Shop\" <sip:4930123@127.0.0.1>");
}

#[test]
fn numbers_in_from_and_in_the_identity_have_a_form_each() {
    let german = format!("{TRUSTED}\nnumbers = {{ country = \"DE\" }}");
    let platform = format!(
        "{TRUSTED}\nnumbers = {{ country = \"DE\", originator = \"national\", asserted = \"e164\" }}"
    );
    let mut desk = desk(&german, &platform);
    let invite = invite_with("P-Asserted-Identity: <tel:089-1234567;phone-context=+49>")
        .replace("4930123@", "004930123456@");
    let out = forwarded(&mut desk, &invite);
    assert!(
        out.header("From").contains("<sip:030123456@127.0.0.1>"),
        "{}",
        out.text
    );
    assert_eq!(out.header("P-Asserted-Identity"), KNOWN);
}

#[test]
fn what_cannot_be_read_is_not_told() {
    for value in [
        "<sip:pbx.test>",
        "garbage",
        "<sip:+49\"89@x>",
        "\"<sip:1@x>\" <mailto:a@b>",
    ] {
        let told = told(TRUSTED, TRUSTED, &format!("P-Asserted-Identity: {value}"));
        assert_eq!(told, (None, FROM.to_owned()), "{value}");
    }
    // The first that can be read.
    let two = "P-Asserted-Identity: <mailto:a@b>, <tel:+49891234567>";
    assert_eq!(told(TRUSTED, TRUSTED, two).0.as_deref(), Some(KNOWN));
}
