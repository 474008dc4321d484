//! The caller gives up (RFC 3261 §9).

use crate::desk::*;

#[test]
fn cancel_waits_for_a_provisional_response() {
    // Correctness 1.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.caller(&cancel());
    assert_eq!(kinds(&sent), ["A<200", "A<487"], "nothing goes to the callee yet");
    let refusal = only(&sent, "487").clone();
    let tag = tag_of(refusal.header("To"));
    desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv1", &tag, ""));
    let sent = desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    assert_eq!(kinds(&sent), ["B<CANCEL"]);
    let ours = only(&sent, "CANCEL").clone();
    assert_eq!(ours.branch(), out.branch());
    assert_eq!(ours.header("CSeq"), "1 CANCEL");
    assert_eq!(ours.start().replace("CANCEL", "INVITE"), out.start());
    assert!(desk.callee(&response(&ours, 200, "calleetag", "", "")).is_empty());
    let sent = desk.callee(&response(&out, 487, "calleetag", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK"]);
    assert_eq!(sent[0].branch(), out.branch());
    assert_eq!(desk.records[0].cause, "caller_cancelled");
    assert_eq!(desk.records[0].status, 487);
    desk.assert_quiet();
}

#[test]
fn a_200_that_crosses_the_cancel_is_acknowledged_and_ended() {
    // Correctness 1.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    let sent = desk.caller(&cancel());
    assert_eq!(kinds(&sent), ["A<200", "A<487", "B<CANCEL"]);
    let sent = desk.callee(&ok(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "B<BYE"]);
    let bye = only(&sent, "BYE").clone();
    assert_eq!(
        kinds(&desk.callee(&ok(&out))),
        ["B<ACK"],
        "a repeated 200 is acknowledged again"
    );
    desk.callee(&response(&bye, 200, "", "", ""));
    assert_eq!(desk.records.len(), 1);
    desk.assert_quiet();
}

#[test]
fn cancel_after_the_answer_changes_nothing() {
    let mut desk = Desk::new();
    let _up = establish(&mut desk);
    assert_eq!(kinds(&desk.caller(&cancel())), ["A<200"]);
    assert_eq!(desk.shard.gauges().calls, 1);
}

#[test]
fn cancel_of_nothing_is_481() {
    let mut desk = Desk::new();
    assert_eq!(kinds(&desk.caller(&cancel())), ["A<481"]);
    desk.assert_quiet();
}

#[test]
fn cancel_is_repeated_and_then_given_up() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    desk.caller(&cancel());
    let sent = desk.pass(seconds(40));
    let cancels = sent.iter().filter(|s| s.kind() == "CANCEL").count();
    assert_eq!(cancels, 10, "timer E: 0.5 1 2 then every 4 s until 32 s");
    desk.assert_quiet();
}

#[test]
fn the_reason_passes_as_numbers_only() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    let reason = "Max-Forwards: 70\r\nReason: SIP;cause=200;text=\"secret\", Q.850;cause=26";
    let sent = desk.caller(&cancel().replace("Max-Forwards: 70", reason));
    assert_eq!(
        only(&sent, "CANCEL").header("Reason"),
        "SIP;cause=200, Q.850;cause=26"
    );
}
