//! Offers and answers before the call is answered (RFC 3262 §5, RFC 3311 §5): late offers in
//! reliable responses, PRACK and UPDATE.

use crate::{
    desk::*,
    reliable::{prack, reliable, supporting},
};

fn allowing(text: &str) -> String {
    text.replace("Contact:", "Allow: INVITE, ACK, BYE, PRACK, UPDATE\r\nContact:")
}

/// Early media settled reliably on both sides.
fn settled() -> (Desk, Sent, Sent) {
    let mut desk = Desk::new();
    let sent = desk.caller(&allowing(&supporting(&invite())));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&reliable(&out, 183, "calleetag", 1, ANSWER));
    let early = only(&sent, "183").clone();
    desk.callee(&response(only(&sent, "PRACK"), 200, "", "", ""));
    desk.caller(&prack(&early, 2, "p1", ""));
    (desk, out, early)
}

#[test]
fn a_late_offer_in_a_reliable_183_is_answered_by_prack_on_both_sides() {
    // Correctness 27.
    let mut desk = Desk::new();
    let sent = desk.caller(&supporting(&request(
        "INVITE",
        "sip:1000@127.0.0.1",
        1,
        "inv1",
        "",
        "",
    )));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&reliable(&out, 183, "calleetag", 9, ANSWER));
    assert_eq!(kinds(&sent), ["A<183"], "our PRACK waits for the caller's answer");
    let early = only(&sent, "183").clone();
    assert!(early.media_port() > 0 && early.has("RSeq"));
    let sent = desk.caller(&prack(&early, 2, "p1", OFFER));
    assert_eq!(kinds(&sent), ["A<200", "B<PRACK"]);
    let ours = only(&sent, "PRACK").clone();
    assert_eq!(ours.header("RAck"), "9 1 INVITE");
    assert!(ours.media_port() > 0);
    desk.callee(&response(&ours, 200, "", "", ""));
    let sent = desk.callee(&response(&out, 200, "calleetag", "sip:bob@127.0.0.3:5060", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert_eq!(only(&sent, "ACK").body(), "");
    let tag = tag_of(early.header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    let sent = desk.caller(&request("BYE", "sip:x@127.0.0.1", 3, "bye", &tag, ""));
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn a_caller_without_100rel_keeps_it_from_the_callee_of_a_late_offer() {
    let mut desk = Desk::new();
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    assert!(!only(&sent, "INVITE").text.contains("100rel"));
}

#[test]
fn a_prack_without_the_answer_ends_the_call() {
    let mut desk = Desk::new();
    let sent = desk.caller(&supporting(&request(
        "INVITE",
        "sip:1000@127.0.0.1",
        1,
        "inv1",
        "",
        "",
    )));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&reliable(&out, 183, "calleetag", 9, ANSWER));
    let early = only(&sent, "183").clone();
    let sent = desk.caller(&prack(&early, 2, "p1", ""));
    assert_eq!(kinds(&sent), ["A<200", "A<500", "B<CANCEL"]);
    desk.callee(&response(&out, 487, "calleetag", "", ""));
    desk.assert_quiet();
}

#[test]
fn an_early_update_crosses_both_ways() {
    let (mut desk, out, early) = settled();
    let tag = tag_of(early.header("To"));
    let offer = next_version(OFFER).replace("a=sendrecv", "a=sendonly");
    let sent = desk.caller(&request("UPDATE", "sip:x@127.0.0.1", 3, "u1", &tag, &offer));
    assert_eq!(kinds(&sent), ["B<UPDATE"]);
    let update = only(&sent, "UPDATE").clone();
    assert!(update.header("To").contains("calleetag"));
    assert_eq!(update.header("CSeq"), "3 UPDATE");
    let sent = desk.callee(&response(&update, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    assert_eq!(kinds(&sent), ["A<200"]);
    assert!(sent[0].media_port() > 0);
    let sent = desk.callee(&callee_request(&out, "UPDATE", 1, "cu", &next_version(ANSWER)));
    assert_eq!(kinds(&sent), ["A<UPDATE"]);
    let update = only(&sent, "UPDATE").clone();
    let sent = desk.caller(&response(&update, 200, "", "sip:alice@127.0.0.2:5060", OFFER));
    assert_eq!(kinds(&sent), ["B<200"]);
    let sent = desk.callee(&response(&out, 200, "calleetag", "sip:bob@127.0.0.3:5060", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
}

#[test]
fn an_update_before_the_first_offer_is_answered_is_500() {
    let mut desk = Desk::new();
    let sent = desk.caller(&allowing(&supporting(&invite())));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    let tag = tag_of(only(&sent, "180").header("To"));
    let offer = next_version(OFFER);
    let sent = desk.caller(&request("UPDATE", "sip:x@127.0.0.1", 2, "u1", &tag, &offer));
    assert!(only(&sent, "500").has("Retry-After"));
}

#[test]
fn an_early_offer_that_cannot_cross_is_488() {
    // The caller does not serve UPDATE.
    let mut desk = Desk::new();
    let sent = desk.caller(&supporting(&invite()));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&reliable(&out, 183, "calleetag", 1, ANSWER));
    let early = only(&sent, "183").clone();
    desk.caller(&prack(&early, 2, "p1", ""));
    let sent = desk.callee(&callee_request(&out, "UPDATE", 1, "cu", &next_version(ANSWER)));
    assert_eq!(kinds(&sent), ["B<488"]);
    assert!(!sent[0].has("Warning"));
}

#[test]
fn a_new_offer_in_a_prack_crosses_as_update() {
    let mut desk = Desk::new();
    let sent = desk.caller(&allowing(&supporting(&invite())));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&reliable(&out, 183, "calleetag", 1, ANSWER));
    let early = only(&sent, "183").clone();
    desk.callee(&response(only(&sent, "PRACK"), 200, "", "", ""));
    let sent = desk.caller(&prack(&early, 2, "p1", &next_version(OFFER)));
    assert_eq!(kinds(&sent), ["B<UPDATE"]);
    let update = only(&sent, "UPDATE").clone();
    let sent = desk.callee(&response(&update, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    assert_eq!(kinds(&sent), ["A<200"]);
    assert_eq!(sent[0].header("CSeq"), "2 PRACK");
    assert!(sent[0].media_port() > 0);
    assert!(desk.pass(seconds(20)).is_empty(), "the 183 was acknowledged");
}

#[test]
fn an_offer_of_a_second_fork_gets_no_prack() {
    let mut desk = Desk::new();
    let invite = supporting(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let sent = desk.caller(&invite);
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&reliable(&out, 183, "f1", 1, ANSWER));
    let early = only(&sent, "183").clone();
    // While the first is unanswered, and afterwards.
    assert!(desk.callee(&reliable(&out, 183, "f2", 1, ANSWER)).is_empty());
    let sent = desk.caller(&prack(&early, 2, "p1", OFFER));
    assert!(only(&sent, "PRACK").header("To").contains("f1"));
    assert!(desk.callee(&reliable(&out, 183, "f3", 1, ANSWER)).is_empty());
    assert_eq!(desk.shard.counters().early_offers_ignored, 2);
}
