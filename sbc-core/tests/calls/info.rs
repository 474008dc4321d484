//! INFO inside a dialog (RFC 6086): passed to the other side, answered by it.

use crate::desk::*;

fn info(up: &Up, cseq: u32, branch: &str) -> String {
    request(
        "INFO",
        &up.contact,
        cseq,
        branch,
        &up.tag,
        "Signal=5\r\nDuration=160\r\n",
    )
    .replace("application/sdp", "application/dtmf-relay")
}

#[test]
fn an_info_passes_with_its_body_and_its_answer_comes_back() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&info(&up, 2, "i1"));
    assert_eq!(kinds(&sent), ["B<INFO"]);
    let out = only(&sent, "INFO").clone();
    assert_eq!(out.header("Content-Type"), "application/dtmf-relay");
    assert_eq!(out.body(), "Signal=5\r\nDuration=160\r\n");
    assert_eq!(out.header("CSeq"), "2 INFO", "the CSeq space of leg B");
    assert!(!out.text.contains("127.0.0.2"), "{}", out.text);
    // Repeated while it waits: absorbed. Afterwards: the same answer.
    assert!(desk.caller(&info(&up, 2, "i1")).is_empty());
    let sent = desk.callee(&response(&out, 200, "", "", ""));
    assert_eq!(kinds(&sent), ["A<200"]);
    let again = desk.caller(&info(&up, 2, "i1"));
    assert_eq!(again[0].text, sent[0].text);
    desk.caller(&request("BYE", &up.contact, 3, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn an_info_of_the_callee_passes_too_and_a_refusal_comes_back() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.callee(&callee_request(&up.invite, "INFO", 5, "i2", ""));
    let out = only(&sent, "INFO").clone();
    assert!(out.to_caller());
    let sent = desk.caller(&response(&out, 469, "", "", ""));
    assert_eq!(kinds(&sent), ["B<469"]);
    desk.caller(&request("BYE", &up.contact, 3, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn an_info_that_is_never_answered_gets_no_late_408() {
    // Correctness 8 (RFC 4320 §4.2).
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    desk.caller(&info(&up, 2, "i1"));
    let sent = desk.pass(seconds(40));
    assert!(sent.iter().all(|s| s.kind() == "INFO"), "{:?}", kinds(&sent));
    assert_eq!(desk.shard.gauges().calls, 1, "the call goes on");
    desk.caller(&request("BYE", &up.contact, 3, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn an_info_that_waits_when_the_call_ends_is_answered_481() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    desk.caller(&info(&up, 2, "i1"));
    let sent = desk.callee(&callee_request(&up.invite, "BYE", 9, "cb", ""));
    assert_eq!(kinds(&sent), ["B<200", "A<481", "A<BYE"]);
    desk.assert_quiet();
}

#[test]
fn more_waiting_requests_than_the_bound_are_refused() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    for n in 0..8 {
        assert_eq!(
            kinds(&desk.caller(&info(&up, 2 + n, &format!("i{n}")))),
            ["B<INFO"]
        );
    }
    let sent = desk.caller(&info(&up, 20, "i20"));
    assert_eq!(kinds(&sent), ["A<500"]);
    assert!(only(&sent, "500").has("Retry-After"));
    desk.caller(&request("BYE", &up.contact, 30, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn before_the_answer_an_info_passes_in_the_early_dialogs() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    // Without a tag of the callee there is no dialog to send it in.
    let sent = desk.callee(&response(&out, 180, "", "", ""));
    let tag = tag_of(sent[0].header("To"));
    let early = |cseq: u32| request("INFO", "sip:1000@127.0.0.1", cseq, &format!("i{cseq}"), &tag, "");
    assert_eq!(kinds(&desk.caller(&early(2))), ["A<481"]);
    desk.callee(&response(&out, 183, "calleetag", "sip:bob@127.0.0.3:5060", ""));
    let sent = desk.caller(&early(3));
    let info = only(&sent, "INFO").clone();
    assert!(
        info.start().starts_with("INFO sip:bob@127.0.0.3:5060"),
        "{}",
        info.start()
    );
    assert!(info.header("To").ends_with(";tag=calleetag"));
    assert_eq!(kinds(&desk.callee(&response(&info, 200, "", "", ""))), ["A<200"]);
    let sent = desk.callee(&callee_request(&out, "INFO", 5, "ci", ""));
    let info = only(&sent, "INFO").clone();
    assert!(info.to_caller());
    assert_eq!(kinds(&desk.caller(&response(&info, 200, "", "", ""))), ["B<200"]);
    desk.caller(&cancel());
    desk.callee(&response(&out, 487, "calleetag", "", ""));
    desk.assert_quiet();
}

#[test]
fn a_body_beyond_the_bound_is_513() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let body = "x".repeat(16 * 1024 + 1);
    let sent = desk.caller(
        &request("INFO", &up.contact, 2, "i1", &up.tag, &body).replace("application/sdp", "text/plain"),
    );
    assert_eq!(kinds(&sent), ["A<513"]);
    desk.caller(&request("BYE", &up.contact, 3, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn a_body_that_may_name_addresses_is_refused_in_an_info_and_stays_behind_in_its_answer() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let types = [
        "application/sdp",
        "Application/SDP;x=y",
        "multipart/mixed;boundary=b",
        "message/sip",
        "message/sipfrag;version=2.0",
        "",
    ];
    for (n, media_type) in (0..).zip(types) {
        let info = request("INFO", &up.contact, 2 + n, &format!("i{n}"), &up.tag, OFFER);
        let sent = desk.caller(&info.replace("application/sdp", media_type));
        assert_eq!(kinds(&sent), ["A<415"], "{media_type}");
    }
    let sent = desk.caller(&info(&up, 9, "i9"));
    let info = only(&sent, "INFO").clone();
    let sent = desk.callee(&response(&info, 200, "", "", ANSWER));
    let answer = only(&sent, "200");
    assert_eq!((answer.has("Content-Type"), answer.body()), (false, ""));
    desk.caller(&request("BYE", &up.contact, 10, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn a_peer_that_knows_no_such_dialog_has_left_the_call() {
    // RFC 5057 §5.1: its BYE was lost, and nothing else would end the call.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&info(&up, 2, "i1"));
    let out = only(&sent, "INFO").clone();
    let sent = desk.callee(&response(&out, 481, "", "", ""));
    assert_eq!(kinds(&sent), ["A<481", "A<BYE", "B<BYE"]);
    desk.assert_quiet();
    assert_eq!(desk.records[0].cause, "dialog_gone");
}
