//! CSeq (RFC 3261 §12.2): each leg counts for itself. Correctness 20.

use crate::desk::*;

#[test]
fn each_leg_counts_for_itself() {
    let mut desk = Desk::new();
    let far = invite().replace("CSeq: 1 INVITE", "CSeq: 4000 INVITE");
    let sent = desk.caller(&far);
    let out = only(&sent, "INVITE").clone();
    assert_eq!(out.header("CSeq"), "1 INVITE");
    let sent = desk.callee(&ok(&out));
    let tag = tag_of(only(&sent, "200").header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 4000, "ack", &tag, ""));
    // What the callee counts has nothing to do with what we count towards it, nor with the caller.
    let sent = desk.callee(&callee_request(&out, "INVITE", 1, "cre", &next_version(ANSWER)));
    let re = only(&sent, "INVITE").clone();
    assert!(re.to_caller());
    assert_eq!(
        re.header("CSeq"),
        "1 INVITE",
        "our first request on the caller's leg"
    );
    desk.caller(&response(&re, 200, "", "sip:alice@127.0.0.2:5060", OFFER));
    desk.callee(&callee_request(&out, "ACK", 1, "cack", ""));
    let sent = desk.caller(&request("BYE", "sip:x@127.0.0.1", 4001, "bye", &tag, ""));
    assert_eq!(only(&sent, "BYE").header("CSeq"), "2 BYE");
}

#[test]
fn gaps_are_allowed() {
    // §12.2.2: requests may be lost, or be refused before they get here.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&request("BYE", &up.contact, 900, "bye", &up.tag, ""));
    assert_eq!(kinds(&sent), ["A<200", "B<BYE"]);
}

#[test]
fn the_same_number_again_is_500_and_changes_nothing() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    assert_eq!(
        kinds(&desk.caller(&request("BYE", &up.contact, 1, "bye", &up.tag, ""))),
        ["A<500"]
    );
    assert_eq!(desk.shard.gauges().calls, 1);
}

#[test]
fn numbers_from_two_to_the_31_are_400() {
    // §8.1.1.5.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite().replace("CSeq: 1 INVITE", "CSeq: 2147483648 INVITE"));
    assert_eq!(kinds(&sent), ["A<400"]);
}
