//! INVITE without SDP: the offer comes in the 200, the answer in the ACK (correctness 27).

use crate::desk::*;

#[test]
fn the_answer_in_the_ack_acknowledges_the_callee() {
    let mut desk = Desk::new();
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let out = only(&sent, "INVITE").clone();
    assert_eq!(out.body(), "");
    let sent = desk.callee(&ok(&out));
    assert_eq!(
        kinds(&sent),
        ["A<200"],
        "the callee's ACK waits for the caller's answer"
    );
    let offer = only(&sent, "200").clone();
    assert!(offer.media_port() > 0);
    assert!(
        desk.callee(&ok(&out)).is_empty(),
        "nothing to say to a repetition yet"
    );
    let tag = tag_of(offer.header("To"));
    let sent = desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack1", &tag, OFFER));
    let ack = only(&sent, "ACK").clone();
    assert!(ack.media_port() > 0);
    assert_eq!(
        desk.callee(&ok(&out))[0].text,
        ack.text,
        "the same ACK again, with its answer"
    );
    let sent = desk.caller(&request("BYE", "sip:x@127.0.0.1", 2, "bye", &tag, ""));
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn an_ack_without_the_answer_ends_the_call() {
    let mut desk = Desk::new();
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out));
    let tag = tag_of(only(&sent, "200").header("To"));
    let sent = desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack1", &tag, ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<BYE", "B<BYE"]);
    desk.assert_quiet();
}

#[test]
fn a_caller_that_never_acknowledges_leaves_nobody_waiting() {
    let mut desk = Desk::new();
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let out = only(&sent, "INVITE").clone();
    desk.callee(&ok(&out));
    let sent = desk.pass(seconds(33));
    let to_b: Vec<_> = kinds(&sent).into_iter().filter(|k| k.starts_with("B<")).collect();
    assert_eq!(to_b[..2], ["B<ACK", "B<BYE"], "§15: ACK before BYE");
    desk.assert_quiet();
}
