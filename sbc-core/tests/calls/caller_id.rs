//! The caller's number as an operator sets it (N3, N4): for all callers, or for those whose number is not verified.

use crate::two_trunks::{desk, forwarded, invite_of};

/// From without its tag, and P-Asserted-Identity, for a call of `caller`.
fn told(platform: &str, caller: &str) -> (String, String) {
    let mut desk = desk("numbers = { country = \"DE\" }", platform);
    let invite = invite_of(
        "sip:1000@127.0.0.1",
        "<sip:1000@127.0.0.1>",
        &format!("<sip:{caller}@127.0.0.2>"),
    );
    let out = forwarded(&mut desk, &invite);
    let from = out.header("From").split(";tag=").next().unwrap().to_owned();
    let asserted = if out.has("P-Asserted-Identity") {
        out.header("P-Asserted-Identity").to_owned()
    } else {
        String::new()
    };
    (from, asserted)
}

#[test]
fn only_verified_numbers_call() {
    let options = "identity = { asserted = \"always\", number = \"+4930123450\", verified = [\"+4930123456\", \
                   \"+4930123400-+4930123450\", \"+33*\"] }";
    for (caller, shown) in [
        ("+4930123456", "+4930123456"),
        ("030123456", "030123456"),
        ("4930123401", "4930123401"),
        ("0033142685300", "0033142685300"),
        ("+4930123457", "+4930123450"),
        ("+4930999999", "+4930123450"),
        ("1000", "+4930123450"),
        ("alice", "+4930123450"),
    ] {
        let expected = format!("<sip:{shown}@127.0.0.1>");
        assert_eq!(told(options, caller), (expected.clone(), expected), "{caller}");
    }
}

#[test]
fn one_number_for_all() {
    let options = "identity = { asserted = \"always\", number = \"+4930123450\" }\n\
                   numbers = { originator = \"plain\", asserted = \"e164\" }";
    for caller in ["+4930123456", "alice"] {
        let told = told(options, caller);
        assert_eq!(told.0, "<sip:4930123450@127.0.0.1>");
        assert_eq!(told.1, "<sip:+4930123450@127.0.0.1>");
    }
}

#[test]
fn who_does_not_want_to_be_known_stays_unknown_and_is_vouched_for() {
    let mut desk = desk(
        "",
        "identity = { trusted = true, asserted = \"always\", number = \"+4930123450\" }",
    );
    let invite = invite_of(
        "sip:1000@127.0.0.1",
        "<sip:1000@127.0.0.1>",
        "\"Anonymous\" <sip:anonymous@anonymous.invalid>",
    );
    let out = forwarded(&mut desk, &invite.replace("Contact:", "Privacy: id\r\nContact:"));
    assert!(
        out.header("From").contains("<sip:anonymous@anonymous.invalid>"),
        "{}",
        out.text
    );
    assert_eq!(out.header("P-Asserted-Identity"), "<sip:+4930123450@127.0.0.1>");
    assert_eq!(out.header("Privacy"), "id");
}

#[test]
fn user_and_host_of_from() {
    let account = "account = { username = \"4711x\", password = \"secret\" }\n";
    for (options, from, asserted) in [
        ("identity = { from_user = \"trunk7\" }".to_owned(), "<sip:trunk7@127.0.0.1>", ""),
        (
            "identity = { from_user = \"trunk7\", from_domain = \"sip.provider.test\", asserted = \"always\" }".to_owned(),
            "<sip:trunk7@sip.provider.test>",
            "<sip:+4930123456@sip.provider.test>",
        ),
        (
            format!("{account}identity = {{ use_account_name = true, asserted = \"always\" }}"),
            "<sip:4711x@127.0.0.1>",
            "<sip:+4930123456@127.0.0.1>",
        ),
        (format!("{account}identity = {{ }}"), "<sip:+4930123456@127.0.0.1>", ""),
    ] {
        assert_eq!(
            told(&options, "+4930123456"),
            (from.to_owned(), asserted.to_owned()),
            "{options}"
        );
    }
}
