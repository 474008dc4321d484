//! Two re-INVITEs at once (RFC 3261 §14.1, §14.2). Correctness 21.

use crate::desk::*;

fn reinvite(desk: &mut Desk, up: &Up, cseq: u32) -> Sent {
    let sent = desk.caller(&request(
        "INVITE",
        &up.contact,
        cseq,
        &format!("re{cseq}"),
        &up.tag,
        &next_version(OFFER),
    ));
    only(&sent, "INVITE").clone()
}

#[test]
fn the_far_sides_491_goes_to_the_one_who_asked() {
    // It owns its Call-ID or not, and waits accordingly; we ask nothing of our own, so we never retry.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let re = reinvite(&mut desk, &up, 2);
    let sent = desk.callee(&response(&re, 491, "", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<491"]);
    desk.caller(&request("ACK", &up.contact, 2, "re2", &up.tag, ""));
    assert!(desk.pass(seconds(5)).is_empty());
    let re = reinvite(&mut desk, &up, 3);
    let sent = desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"], "the second try goes through");
}

#[test]
fn both_sides_at_once_are_both_answered() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let re = reinvite(&mut desk, &up, 2);
    let sent = desk.callee(&callee_request(&up.invite, "INVITE", 1, "cre", ANSWER));
    assert_eq!(kinds(&sent), ["B<100", "B<491"]);
    let tag = tag_of(only(&sent, "491").header("To"));
    let ack = callee_request(&up.invite, "ACK", 1, "cre", "");
    assert!(ack.contains(&tag), "the refusal carries our tag of the dialog");
    desk.callee(&ack);
    // The callee sees a glare, too.
    let sent = desk.callee(&response(&re, 491, "", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<491"]);
    desk.caller(&request("ACK", &up.contact, 2, "re2", &up.tag, ""));
    assert!(desk.pass(seconds(5)).is_empty());
    assert_eq!(desk.shard.gauges().calls, 1);
}

#[test]
fn a_reinvite_before_the_first_answer_is_500_with_retry_after() {
    // §14.2: between 0 and 10 seconds.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    let tag = tag_of(only(&sent, "180").header("To"));
    let sent = desk.caller(&request("INVITE", "sip:x@127.0.0.1", 2, "re", &tag, OFFER));
    let seconds: u32 = only(&sent, "500").header("Retry-After").parse().unwrap();
    assert!(seconds <= 10);
}

#[test]
fn a_reinvite_before_the_ack_is_491() {
    // §14.1: an INVITE transaction is in progress.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.callee(&ok(&out));
    let sent = desk.callee(&callee_request(&out, "INVITE", 1, "cre", ANSWER));
    assert_eq!(kinds(&sent), ["B<100", "B<491"]);
}

#[test]
fn a_408_from_the_far_side_ends_the_call() {
    // Correctness 22; RFC 6141 §3.4 leaves the dialog to 408 and 481.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let re = reinvite(&mut desk, &up, 2);
    let sent = desk.callee(&response(&re, 408, "", "", ""));
    assert!(kinds(&sent).contains(&"B<BYE".to_owned()), "{:?}", kinds(&sent));
    desk.assert_quiet();
}
