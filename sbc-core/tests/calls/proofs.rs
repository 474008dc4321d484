//! Proofs of peers that are known by their address (T5): digits in front of the number, a secret header field. Demanded
//! and taken off, and added to calls to a trunk.

use crate::desk::*;
use crate::two_trunks::{desk, forwarded, invite_of, invite_with};

const INBOUND: &str =
    "proof.inbound = { tech_prefix = \"1234#\", token_header = \"X-Carrier-Token\", token = \"s3cret\" }";

fn called(user: &str, fields: &str) -> String {
    let uri = format!("sip:{user}@127.0.0.1");
    invite_of(&uri, &format!("<{uri}>"), "<sip:x@127.0.0.2>").replacen(
        "Contact:",
        &format!("{fields}Contact:"),
        1,
    )
}

#[test]
fn what_is_demanded_must_be_there_and_goes_no_further() {
    let token = "x-carrier-token: s3cret\r\n";
    for (user, fields, passes) in [
        ("1234#1000", token, true),
        ("1234%231000", token, true),
        ("1000", token, false),
        ("1235#1000", token, false),
        ("1234#", token, false),
        ("1234#1000", "", false),
        ("1234#1000", "X-Carrier-Token: s3cre\r\n", false),
        ("1234#1000", "X-Carrier-Token: S3cret\r\n", false),
        (
            "1234#1000",
            "X-Carrier-Token: s3cret\r\nX-Carrier-Token: other\r\n",
            false,
        ),
    ] {
        let mut desk = desk(
            &format!("{INBOUND}\nheaders = {{ accept = [\"X-Other\"] }}"),
            "headers = { send = [\"X-Other\"] }",
        );
        let sent = desk.caller(&called(user, fields));
        let refused = desk.shard.counters().refused_proof;
        if passes {
            let out = only(&sent, "INVITE");
            assert_eq!(out.start(), "INVITE sip:1000@127.0.0.3 SIP/2.0");
            assert_eq!(out.header("To"), "<sip:1000@127.0.0.3>");
            assert!(
                !out.text.contains("s3cret") && !out.text.contains("1234"),
                "{}",
                out.text
            );
            assert_eq!(refused, 0);
        } else {
            assert_eq!(kinds(&sent), ["A<100", "A<403"], "{user} {fields}");
            assert!(!sent[1].text.contains("s3cret"));
            assert_eq!(refused, 1);
        }
    }
}

#[test]
fn what_is_given_is_added() {
    let mut desk = desk(
        "numbers = { country = \"DE\" }",
        "proof.outbound = { tech_prefix = \"99#\", token_header = \"X-Our-Token\", token = \"s3cret\", charge_info = \"+4930123450\" }\n\
         numbers = { destination = \"plain\" }",
    );
    let out = forwarded(
        &mut desk,
        &called("030123456", "X-Our-Token: forged\r\nP-Charge-Info: <sip:1@x>\r\n"),
    );
    assert_eq!(out.start(), "INVITE sip:99%234930123456@127.0.0.3 SIP/2.0");
    assert_eq!(out.header("To"), "<sip:99%234930123456@127.0.0.3>");
    assert_eq!(out.header("X-Our-Token"), "s3cret");
    assert_eq!(out.header("P-Charge-Info"), "<sip:+4930123450@127.0.0.1>");
    assert!(!out.text.contains("forged"));
}

#[test]
fn a_trunk_that_proves_nothing_may_still_call_where_nothing_is_demanded() {
    let mut desk = desk("", "");
    assert!(
        forwarded(&mut desk, &invite_with("X-Carrier-Token: x"))
            .start()
            .contains("1000")
    );
}

#[test]
fn a_message_needs_the_proof_too() {
    let mut desk = desk(INBOUND, "");
    let text = request("MESSAGE", "sip:1234#1000@127.0.0.1", 1, "m1", "", "Hello")
        .replace("application/sdp", "text/plain");
    assert_eq!(kinds(&desk.caller(&text)), ["A<403"]);
}
