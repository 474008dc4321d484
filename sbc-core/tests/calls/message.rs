//! MESSAGE (RFC 3428), outside and inside a call.

use crate::desk::*;
use sbc_core::config;

fn message(branch: &str, body: &str) -> String {
    request("MESSAGE", "sip:1000@127.0.0.1", 1, branch, "", body)
        .replace("application/sdp", "text/plain;charset=utf-8")
        .replace("Contact: <sip:alice@127.0.0.2:5060>\r\n", "")
        .replace(
            "Content-Length",
            "Date: now\r\nX-Secret: 127.0.0.2\r\nContent-Length",
        )
}

#[test]
fn a_message_passes_as_a_new_one_and_its_status_comes_back() {
    let mut desk = Desk::new();
    let sent = desk.caller(&message("m1", "Hello"));
    assert_eq!(kinds(&sent), ["B<MESSAGE"]);
    let out = only(&sent, "MESSAGE").clone();
    assert!(
        out.start().starts_with("MESSAGE sip:1000@127.0.0.3"),
        "{}",
        out.start()
    );
    assert_eq!(
        (out.body(), out.header("Content-Type")),
        ("Hello", "text/plain;charset=utf-8")
    );
    assert!(!out.has("Contact"), "RFC 3428 §4");
    for secret in ["127.0.0.2", "caller-call-id", "callertag", "X-Secret"] {
        assert!(!out.text.contains(secret), "{}", out.text);
    }
    assert!(
        desk.caller(&message("m1", "Hello")).is_empty(),
        "repeated while it waits"
    );
    let sent = desk.callee(&response(&out, 202, "calleetag", "sip:bob@127.0.0.3", ""));
    assert_eq!(kinds(&sent), ["A<202"]);
    assert!(
        !sent[0].text.contains("127.0.0.3") && !sent[0].text.contains("calleetag"),
        "{}",
        sent[0].text
    );
    assert_eq!(desk.caller(&message("m1", "Hello"))[0].text, sent[0].text);
    assert_eq!(desk.shard.counters().messages_passed, 1);
    desk.assert_quiet();
}

#[test]
fn the_answer_is_not_repeated_to_another_peer_with_the_same_branch() {
    let mut desk = Desk::new();
    let sent = desk.caller(&message("m1", "Hello"));
    let out = only(&sent, "MESSAGE").clone();
    desk.callee(&response(&out, 202, "calleetag", "sip:bob@127.0.0.3", ""));
    let sent = desk.callee(&message("m1", "Hello"));
    assert!(sent.iter().all(Sent::to_caller), "{:?}", kinds(&sent));
}

#[test]
fn refusals_come_back_without_what_is_not_the_senders_business() {
    for (status, seen) in [
        (404, "A<404"),
        (302, "A<502"),
        (407, "A<502"),
        (503, "A<500"),
        (600, "A<600"),
    ] {
        let mut desk = Desk::new();
        let sent = desk.caller(&message("m1", "Hello"));
        let out = only(&sent, "MESSAGE").clone();
        assert_eq!(
            kinds(&desk.callee(&response(&out, status, "t", "sip:x@127.0.0.3", ""))),
            [seen]
        );
        desk.assert_quiet();
    }
}

#[test]
fn a_message_that_is_never_answered_gets_no_answer() {
    // RFC 4320 §4.2.
    let mut desk = Desk::new();
    desk.caller(&message("m1", "Hello"));
    assert_eq!(desk.shard.gauges().transactions, 2);
    let sent = desk.pass(seconds(40));
    assert!(sent.iter().all(|s| s.kind() == "MESSAGE"), "{:?}", kinds(&sent));
    assert_eq!(desk.shard.gauges().transactions, 0);
    desk.assert_quiet();
}

#[test]
fn more_than_1300_bytes_do_not_pass_by_udp() {
    // RFC 3428 §8.
    let mut desk = Desk::new();
    assert_eq!(
        kinds(&desk.caller(&message("m1", &"x".repeat(800)))),
        ["B<MESSAGE"]
    );
    assert_eq!(kinds(&desk.caller(&message("m2", &"x".repeat(1300)))), ["A<513"]);
    assert_eq!(desk.shard.counters().messages_refused, 1);
    desk.assert_quiet();
}

#[test]
fn a_message_costs_a_token_and_no_channel() {
    let mut config = config::default_config();
    config.limits.cps = 1;
    config.limits.burst = Some(1);
    config.limits.channels = 1;
    let (snapshot, admission) = config.compile().unwrap();
    let mut desk = Desk::of(snapshot, admission);
    let up = establish(&mut desk);
    let sent = desk.caller(&message("m1", "a"));
    assert_eq!(kinds(&sent), ["A<503"], "the call has taken the token");
    assert!(sent[0].has("Retry-After"));
    desk.pass(seconds(1));
    assert_eq!(
        kinds(&desk.caller(&message("m2", "b"))),
        ["B<MESSAGE"],
        "the only channel is taken"
    );
    desk.caller(&request("BYE", &up.contact, 90, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn one_that_cannot_be_routed_or_understood_is_refused() {
    let mut desk = Desk::new();
    let bad = message("m1", "a").replace("Max-Forwards: 70", "Max-Forwards: 0");
    assert_eq!(kinds(&desk.caller(&bad)), ["A<483"]);
    let bad = message("m2", "a").replace("Max-Forwards", "Require: x\r\nMax-Forwards");
    assert_eq!(kinds(&desk.caller(&bad)), ["A<420"]);
    desk.assert_quiet();
    let mut config = config::default_config();
    config.routes.clear();
    let (snapshot, admission) = config.compile().unwrap();
    let mut desk = Desk::of(snapshot, admission);
    assert_eq!(kinds(&desk.caller(&message("m3", "a"))), ["A<404"]);
    desk.assert_quiet();
}

#[test]
fn inside_a_call_it_goes_to_the_other_side() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let inside = |n: u32, body: &str| {
        request("MESSAGE", &up.contact, n, &format!("m{n}"), &up.tag, body)
            .replace("application/sdp", "text/plain")
    };
    let sent = desk.caller(&inside(2, "Hello"));
    let out = only(&sent, "MESSAGE").clone();
    assert!(out.header("To").contains("tag=calleetag"));
    assert_eq!(out.body(), "Hello");
    assert_eq!(kinds(&desk.callee(&response(&out, 200, "", "", ""))), ["A<200"]);
    assert_eq!(kinds(&desk.caller(&inside(3, &"x".repeat(1300)))), ["A<513"]);
    desk.caller(&request("BYE", &up.contact, 90, "bye", &up.tag, ""));
    desk.assert_quiet();
}
