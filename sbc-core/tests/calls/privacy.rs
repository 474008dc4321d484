//! Privacy (RFC 3323): what a caller asks of the services after us passes, as far as the RFC knows it.

use crate::desk::*;

#[test]
fn known_wishes_pass_and_others_do_not() {
    let asked = |value: &str| {
        let mut desk = Desk::new();
        let text = invite().replace("Contact:", &format!("Privacy: {value}\r\nContact:"));
        only(&desk.caller(&text), "INVITE").clone()
    };
    assert_eq!(asked("ID;critical").header("Privacy"), "id;critical");
    assert_eq!(asked("user; x-secret ;none").header("Privacy"), "user;none");
    assert!(!asked("x-secret").has("Privacy"));
}

#[test]
fn an_anonymous_caller_stays_anonymous() {
    let mut desk = Desk::new();
    let text = invite().replace(
        "From: \"Alice\" <sip:4930123@127.0.0.2>",
        "From: \"Anonymous\" <sip:anonymous@anonymous.invalid>",
    );
    assert!(text.contains("anonymous.invalid"), "{text}");
    let sent = desk.caller(&text);
    let from = only(&sent, "INVITE").header("From").to_owned();
    assert!(from.contains("<sip:anonymous@"), "{from}");
}
