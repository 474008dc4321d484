//! Ends that cross, and ends that nobody answers.

use crate::desk::*;
use sbc_core::shard::Command;

#[test]
fn bye_crosses_bye() {
    // Correctness 11.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&request("BYE", &up.contact, 2, "bye", &up.tag, ""));
    let ours = only(&sent, "BYE").clone();
    let sent = desk.callee(&callee_request(&up.invite, "BYE", 1, "cb", ""));
    assert_eq!(kinds(&sent), ["B<200"]);
    desk.callee(&response(&ours, 481, "", "", ""));
    assert_eq!(desk.records.len(), 1);
    desk.assert_quiet();
}

#[test]
fn a_bye_that_nobody_answers_is_given_up() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    desk.caller(&request("BYE", &up.contact, 2, "bye", &up.tag, ""));
    let held = desk.shard.gauges();
    assert_eq!(
        (held.calls, held.media_pairs),
        (1, 2),
        "the callee may still send: its ports wait with the call"
    );
    let sent = desk.pass(seconds(33));
    assert_eq!(sent.len(), 10, "timer E: 0.5 1 2 then every 4 s until 32 s");
    desk.assert_quiet();
}

#[test]
fn a_repeated_bye_is_answered_again() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let bye = request("BYE", &up.contact, 2, "bye", &up.tag, "");
    let first = desk.caller(&bye);
    let ours = only(&first, "BYE").clone();
    desk.callee(&response(&ours, 200, "", "", ""));
    let again = desk.caller(&bye);
    assert_eq!(kinds(&again), ["A<200"]);
    assert_eq!(again[0].text, first[0].text);
}

#[test]
fn no_bye_before_the_ack() {
    // Correctness 10 (§15): our 2xx is not acknowledged, the callee hangs up.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out));
    let tag = tag_of(only(&sent, "200").header("To"));
    let sent = desk.callee(&callee_request(&out, "BYE", 1, "cb", ""));
    assert_eq!(
        kinds(&sent),
        ["B<200"],
        "the caller has not acknowledged: no BYE yet"
    );
    let sent = desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    assert_eq!(kinds(&sent), ["A<BYE"]);
    desk.assert_quiet();
}

#[test]
fn a_caller_may_end_an_early_dialog_with_bye() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    let tag = tag_of(only(&sent, "180").header("To"));
    let sent = desk.caller(&request("BYE", "sip:x@127.0.0.1", 2, "bye", &tag, ""));
    assert_eq!(kinds(&sent), ["A<200", "A<487", "B<CANCEL"]);
    desk.callee(&response(&out, 487, "calleetag", "", ""));
    desk.assert_quiet();
}

#[test]
fn a_bye_to_an_unknown_dialog_is_481() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let stale = request("BYE", &up.contact, 2, "bye", "0123456789abcdefghijklmn", "");
    assert_eq!(kinds(&desk.caller(&stale)), ["A<481"]);
    let foreign = request("BYE", &up.contact, 2, "bye2", &up.tag, "").replace("callertag", "guessed");
    assert_eq!(
        kinds(&desk.caller(&foreign)),
        ["A<481"],
        "the right tag with the wrong peer"
    );
    assert_eq!(desk.shard.gauges().calls, 1);
}

#[test]
fn an_operator_hangs_up_a_call() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.command(Command::HangupAll);
    assert_eq!(kinds(&sent), ["A<BYE", "B<BYE"]);
    for bye in &sent {
        let from = if bye.to_caller() { CALLER } else { CALLEE };
        desk.deliver(from, &response(bye, 200, "", "", ""));
    }
    assert_eq!(desk.records.len(), 1);
    let _ = up;
    desk.assert_quiet();
}

#[test]
fn silence_on_both_sides_ends_the_call_unless_held() {
    // Correctness 44.
    let mut desk = Desk::new();
    let timeout = default_timeout();
    let up = establish(&mut desk);
    let held = OFFER.replace("a=sendrecv", "a=inactive");
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re", &up.tag, &held));
    let re = only(&sent, "INVITE").clone();
    desk.callee(&response(
        &re,
        200,
        "",
        "sip:bob@127.0.0.3:5060",
        &format!("{ANSWER}a=inactive\r\n"),
    ));
    desk.caller(&request("ACK", &up.contact, 2, "a2", &up.tag, ""));
    assert!(desk.pass(timeout * 4).is_empty(), "hold is not a time-out");
    let sent = desk.caller(&request("INVITE", &up.contact, 3, "re3", &up.tag, OFFER));
    let re = only(&sent, "INVITE").clone();
    desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    desk.caller(&request("ACK", &up.contact, 3, "a3", &up.tag, ""));
    let sent = desk.pass(timeout * 3);
    assert!(kinds(&sent).contains(&"A<BYE".to_owned()), "{:?}", kinds(&sent));
    assert_eq!(desk.shard.counters().media_timeouts, 1);
    desk.assert_quiet();
    assert_eq!(desk.records[0].cause, "media_timeout");
}

fn default_timeout() -> std::time::Duration {
    sbc_core::config::default_config()
        .compile()
        .unwrap()
        .0
        .media
        .timeout
}
