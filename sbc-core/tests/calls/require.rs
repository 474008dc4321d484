//! Require (RFC 3261 §8.2.2.3): refused with what is not understood, but never where a refusal would leave
//! something standing that ought to end.

use crate::desk::*;

fn requiring(text: &str) -> String {
    text.replace("Max-Forwards: 70", "Max-Forwards: 70\r\nRequire: foo")
}

#[test]
fn an_invite_and_a_reinvite_are_420() {
    let mut desk = Desk::new();
    assert_eq!(kinds(&desk.caller(&requiring(&invite()))), ["A<100", "A<420"]);
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let re = requiring(&request("INVITE", &up.contact, 2, "re", &up.tag, OFFER));
    assert_eq!(kinds(&desk.caller(&re)), ["A<100", "A<420"]);
    assert_eq!(desk.shard.gauges().calls, 1, "the session stays as it was");
}

#[test]
fn options_and_info_are_420() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    for text in [
        request("OPTIONS", "sip:127.0.0.1", 1, "o", "", "").replace("caller-call-id", "other"),
        request("INFO", &up.contact, 2, "i", &up.tag, ""),
    ] {
        let sent = desk.caller(&requiring(&text));
        assert_eq!(kinds(&sent), ["A<420"]);
        assert_eq!(sent[0].header("Unsupported"), "foo");
    }
}

#[test]
fn ack_and_cancel_are_taken_as_they_are() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out));
    let tag = tag_of(only(&sent, "200").header("To"));
    desk.caller(&requiring(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, "")));
    assert!(desk.pass(seconds(10)).is_empty());
    let mut desk = Desk::new();
    desk.caller(&invite());
    assert_eq!(kinds(&desk.caller(&requiring(&cancel()))), ["A<200", "A<487"]);
}

#[test]
fn a_bye_is_obeyed_whatever_it_requires() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&requiring(&request("BYE", &up.contact, 2, "bye", &up.tag, "")));
    assert_eq!(kinds(&sent), ["A<200", "B<BYE"]);
}
