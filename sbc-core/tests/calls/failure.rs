//! The callee refuses, or never answers.

use crate::desk::*;

fn refuse(status: u16) -> (Desk, Vec<Sent>) {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(
        &out,
        status,
        "calleetag",
        "sip:elsewhere@127.0.0.9",
        "",
    ));
    (desk, sent)
}

#[test]
fn a_refusal_is_acknowledged_and_passed_on() {
    // Correctness 2.
    let (mut desk, sent) = refuse(486);
    assert_eq!(kinds(&sent), ["B<ACK", "A<486"]);
    assert_eq!(
        only(&sent, "486").start(),
        "SIP/2.0 486 Busy Here",
        "the phrase is ours"
    );
    assert_eq!(desk.records[0].status, 486);
    assert_eq!(desk.shard.gauges().calls, 0);
    desk.assert_quiet();
}

#[test]
fn redirections_challenges_and_503_never_reach_the_caller() {
    // Correctness 28.
    for (theirs, ours) in [
        (302, "502"),
        (401, "502"),
        (407, "502"),
        (503, "500"),
        (404, "404"),
        (603, "603"),
    ] {
        let (_, sent) = refuse(theirs);
        assert_eq!(sent[1].kind(), ours);
        assert!(!sent[1].text.contains("elsewhere"), "{}", sent[1].text);
    }
}

#[test]
fn our_refusal_is_repeated_until_acknowledged() {
    let (mut desk, sent) = refuse(486);
    let refusal = only(&sent, "486").clone();
    let again = desk.pass(seconds(2));
    assert_eq!(kinds(&again), ["A<486", "A<486"], "timer G: 0.5 and 1.5 s");
    let tag = tag_of(refusal.header("To"));
    desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv1", &tag, ""));
    assert!(desk.pass(seconds(10)).is_empty());
    desk.assert_quiet();
}

#[test]
fn a_repeated_refusal_is_acknowledged_again() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let refusal = response(&out, 486, "calleetag", "", "");
    let first = desk.callee(&refusal);
    let second = desk.callee(&refusal);
    assert_eq!(kinds(&second), ["B<ACK"]);
    assert_eq!(only(&first, "ACK").text, second[0].text, "the very same ACK");
}

#[test]
fn silence_is_408_after_64_t1() {
    let mut desk = Desk::new();
    desk.caller(&invite());
    let sent = desk.pass(seconds(31));
    let invites = sent.iter().filter(|s| s.kind() == "INVITE").count();
    assert_eq!(invites, 5, "timer A: 0.5 1.5 3.5 7.5 15.5 31.5");
    let sent = desk.pass(seconds(2));
    assert!(kinds(&sent).contains(&"A<408".to_owned()), "{:?}", kinds(&sent));
    assert_eq!(desk.records[0].cause, "callee_timeout");
    desk.assert_quiet();
}

#[test]
fn ringing_for_ever_ends_with_cancel() {
    // Correctness 9.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    let sent = desk.pass(seconds(181));
    assert_eq!(kinds(&sent)[..2], ["A<408", "B<CANCEL"]);
    assert_eq!(desk.records.len(), 0, "the callee still owes an answer");
    desk.callee(&response(&out, 487, "calleetag", "", ""));
    assert_eq!(desk.records[0].cause, "no_answer");
    desk.assert_quiet();
}

#[test]
fn a_200_after_we_gave_up_is_ended() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.pass(seconds(40));
    let sent = desk.callee(&ok(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "B<BYE"]);
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn an_unreachable_callee_fails_the_call_at_once() {
    let mut desk = Desk::new();
    desk.caller(&invite());
    let listener = sbc_core::shard::ListenerId(0);
    desk.shard
        .handle_unreachable(desk.now, listener, CALLEE.parse().unwrap());
    assert_eq!(kinds(&desk.drain()), ["A<500"]);
    desk.assert_quiet();
}

#[test]
fn an_info_whose_way_is_no_more_is_answered_at_once() {
    // RFC 4320 forbids a late 408; here the asker still listens.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    desk.caller(&request("INFO", &up.contact, 2, "i1", &up.tag, ""));
    desk.shard
        .handle_unreachable(desk.now, sbc_core::shard::ListenerId(0), CALLEE.parse().unwrap());
    assert_eq!(kinds(&desk.drain()), ["A<500"]);
}

#[test]
fn an_update_whose_way_is_no_more_is_answered_before_the_call_ends() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let offer = OFFER
        .replace("m=audio 4000", "m=audio 4004")
        .replace("caller 1 1", "caller 1 2");
    desk.caller(&request("UPDATE", &up.contact, 2, "u1", &up.tag, &offer));
    desk.shard
        .handle_unreachable(desk.now, sbc_core::shard::ListenerId(0), CALLEE.parse().unwrap());
    let sent = desk.drain();
    assert_eq!(kinds(&sent)[0], "A<500", "{:?}", kinds(&sent));
    assert!(kinds(&sent).contains(&"A<BYE".to_owned()), "{:?}", kinds(&sent));
}
