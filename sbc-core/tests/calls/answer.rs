//! 2xx, its repetition, its ACK, and callees that answer twice.

use crate::desk::*;

fn answered() -> (Desk, Sent, Sent) {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out));
    let ok = only(&sent, "200").clone();
    (desk, out, ok)
}

#[test]
fn our_2xx_is_repeated_until_the_ack() {
    // Correctness 3.
    let (mut desk, _, ok) = answered();
    let again = desk.pass(seconds(4));
    assert_eq!(kinds(&again), ["A<200"; 3], "0.5, 1.5 and 3.5 s");
    assert_eq!(again[0].text, ok.text);
    let tag = tag_of(ok.header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    assert!(desk.pass(seconds(20)).is_empty());
}

#[test]
fn without_an_ack_both_sides_get_bye() {
    // Correctness 3.
    let (mut desk, _, _) = answered();
    let sent = desk.pass(seconds(33));
    assert!(kinds(&sent).contains(&"A<BYE".to_owned()));
    assert!(kinds(&sent).contains(&"B<BYE".to_owned()));
    desk.assert_quiet();
    assert_eq!(desk.records[0].cause, "no_ack");
}

#[test]
fn a_repeated_invite_after_the_answer_is_absorbed() {
    // Correctness 4: RFC 6026 Accepted; the core repeats the 2xx by itself.
    let (mut desk, _, _) = answered();
    assert!(desk.caller(&invite()).is_empty());
    assert_eq!(desk.shard.counters().calls_attempted, 1);
}

#[test]
fn every_repeated_2xx_is_acknowledged_again() {
    // Correctness 2.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.callee(&ok(&up.invite));
    assert_eq!(kinds(&sent), ["B<ACK"]);
    assert_ne!(sent[0].branch(), up.invite.branch());
    assert_eq!(sent[0].start(), "ACK sip:bob@127.0.0.3:5060 SIP/2.0");
}

#[test]
fn a_surplus_fork_is_acknowledged_and_ended_once() {
    // Correctness 6.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let second = response(&up.invite, 200, "othertag", "sip:carol@127.0.0.3:5070", ANSWER);
    let sent = desk.callee(&second);
    assert_eq!(kinds(&sent), ["B<ACK", "B<BYE"]);
    let bye = only(&sent, "BYE").clone();
    assert!(bye.header("To").contains("othertag"));
    assert_eq!(bye.start(), "BYE sip:carol@127.0.0.3:5070 SIP/2.0");
    assert_eq!(kinds(&desk.callee(&second)), ["B<ACK"], "no second BYE");
    desk.callee(&response(&bye, 200, "", "", ""));
    assert_eq!(desk.shard.gauges().calls, 1, "the call itself goes on");
}

#[test]
fn record_routes_are_followed_and_reversed() {
    // Correctness 18 and 19.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let routed = ok(&out).replace(
        "Contact:",
        "Record-Route: <sip:127.0.0.31;lr>\r\nRecord-Route: <sip:127.0.0.32:5070;lr>\r\nContact:",
    );
    let sent = desk.callee(&routed);
    let ack = only(&sent, "ACK");
    assert_eq!(ack.to, "127.0.0.32:5070".parse().unwrap());
    assert_eq!(ack.header("Route"), "<sip:127.0.0.32:5070;lr>");
    assert!(ack.text.contains("Route: <sip:127.0.0.31;lr>"));
    assert_eq!(ack.start(), "ACK sip:bob@127.0.0.3:5060 SIP/2.0");
}

#[test]
fn a_strict_router_gets_its_own_uri() {
    // Correctness 19.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out).replace("Contact:", "Record-Route: <sip:127.0.0.31>\r\nContact:"));
    let ack = only(&sent, "ACK");
    assert_eq!(ack.start(), "ACK sip:127.0.0.31 SIP/2.0");
    assert_eq!(ack.header("Route"), "<sip:bob@127.0.0.3:5060>");
}

#[test]
fn a_callee_that_answers_without_contact_is_refused() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 200, "calleetag", "", ANSWER));
    assert!(kinds(&sent).contains(&"A<502".to_owned()), "{:?}", kinds(&sent));
    desk.assert_quiet();
}

#[test]
fn an_answer_without_sdp_ends_the_call() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 200, "calleetag", "sip:bob@127.0.0.3", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<502", "B<BYE"]);
    desk.assert_quiet();
}

#[test]
fn an_answer_given_only_in_the_183_holds() {
    // Some gateways do not repeat it in the 200.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 183, "calleetag", "sip:bob@127.0.0.3", ANSWER));
    let early = only(&sent, "183").clone();
    let sent = desk.callee(&response(&out, 200, "calleetag", "sip:bob@127.0.0.3", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert_eq!(only(&sent, "200").body(), early.body());
}

#[test]
fn an_answer_of_another_fork_does_not_stand_for_the_one_that_is_missing() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 183, "fork1", "sip:bob@127.0.0.3", ANSWER));
    let sent = desk.callee(&response(&out, 200, "fork2", "sip:carol@127.0.0.3", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<502", "B<BYE"]);
    desk.assert_quiet();
}

#[test]
fn early_media_passes_with_the_answer() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 183, "calleetag", "sip:bob@127.0.0.3", ANSWER));
    let early = only(&sent, "183");
    assert_eq!(early.body().matches("m=audio").count(), 1);
    let port = early.media_port();
    let origin = early.body().lines().nth(1).unwrap().to_owned();
    let sent = desk.callee(&ok(&out));
    let answer = only(&sent, "200");
    assert_eq!(answer.media_port(), port);
    assert_eq!(
        answer.body().lines().nth(1).unwrap(),
        origin,
        "the same description, the same version"
    );
}
