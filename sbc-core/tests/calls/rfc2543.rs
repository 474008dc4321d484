//! Callers from before RFC 3261: no tag in From, no cookie in the branch, no Contact.

use crate::desk::*;

fn old_invite() -> String {
    invite()
        .replace(";branch=z9hG4bKinv1", "")
        .replace(";tag=callertag", "")
        .replace("Contact: <sip:alice@127.0.0.2:5060>\r\n", "")
}

fn old(method: &str, cseq: u32, tag: &str) -> String {
    request(method, "sip:1000@127.0.0.1", cseq, "", tag, "")
        .replace(";branch=z9hG4bK", "")
        .replace(";tag=callertag", "")
}

#[test]
fn a_whole_call_of_an_old_caller() {
    // RFC 4475 §3.4.1; correctness 5.
    let mut desk = Desk::new();
    let sent = desk.caller(&old_invite());
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    let out = only(&sent, "INVITE").clone();
    assert!(
        out.header("From").contains(";tag=") && out.branch().starts_with("z9hG4bK"),
        "our own leg is as RFC 3261 wants it"
    );
    let sent = desk.callee(&ok(&out));
    let tag = tag_of(only(&sent, "200").header("To"));
    desk.caller(&old("ACK", 1, &tag));
    assert!(desk.pass(seconds(10)).is_empty(), "the ACK was recognised");
    let sent = desk.callee(&callee_request(&out, "BYE", 1, "cb", ""));
    let bye = only(&sent, "BYE").clone();
    assert_eq!(
        bye.start(),
        "BYE sip:4930123@127.0.0.2 SIP/2.0",
        "without a Contact, From says where the caller is"
    );
    desk.caller(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn a_caller_that_knows_the_cookie_must_bring_a_contact() {
    // RFC 3261 §8.1.1.8.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite().replace("Contact: <sip:alice@127.0.0.2:5060>\r\n", ""));
    assert_eq!(kinds(&sent), ["A<100", "A<400"]);
}
