//! Reliable provisional responses (RFC 3262): ours to the caller, the callee's to us.

use crate::desk::*;

pub(crate) fn supporting(invite: &str) -> String {
    invite.replace("Max-Forwards: 70", "Max-Forwards: 70\r\nSupported: 100rel")
}

pub(crate) fn requiring(invite: &str) -> String {
    invite.replace("Max-Forwards: 70", "Max-Forwards: 70\r\nRequire: 100rel")
}

/// A provisional response of the callee, sent reliably.
pub(crate) fn reliable(invite: &Sent, status: u16, tag: &str, rseq: u32, body: &str) -> String {
    response(invite, status, tag, "sip:bob@127.0.0.3:5060", body).replace(
        "Contact:",
        &format!("Require: 100rel\r\nRSeq: {rseq}\r\nAllow: INVITE, UPDATE, PRACK\r\nContact:"),
    )
}

/// The caller's PRACK of `provisional`.
pub(crate) fn prack(provisional: &Sent, cseq: u32, branch: &str, body: &str) -> String {
    let rack = format!("RAck: {} 1 INVITE\r\nContact:", provisional.header("RSeq"));
    let tag = tag_of(provisional.header("To"));
    request("PRACK", "sip:x@127.0.0.1", cseq, branch, &tag, body).replace("Contact:", &rack)
}

fn invited(text: &str) -> (Desk, Sent) {
    let mut desk = Desk::new();
    let sent = desk.caller(text);
    let out = only(&sent, "INVITE").clone();
    (desk, out)
}

fn hang_up(desk: &mut Desk, ok: &Sent, cseq: u32) {
    let tag = tag_of(ok.header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    let sent = desk.caller(&request("BYE", "sip:x@127.0.0.1", cseq, "bye", &tag, ""));
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn a_reliable_183_of_the_callee_is_acknowledged_at_once_and_once() {
    // Correctness 24.
    let (mut desk, out) = invited(&invite());
    assert!(out.header("Supported").contains("100rel"));
    let sent = desk.callee(&reliable(&out, 183, "calleetag", 77, ANSWER));
    assert_eq!(kinds(&sent), ["B<PRACK", "A<183"]);
    let prack = only(&sent, "PRACK").clone();
    assert_eq!(prack.header("RAck"), "77 1 INVITE");
    assert_eq!(prack.header("CSeq"), "2 PRACK");
    assert_eq!(prack.start(), "PRACK sip:bob@127.0.0.3:5060 SIP/2.0");
    assert!(prack.header("To").contains("calleetag"));
    assert!(!only(&sent, "183").has("RSeq"), "this caller never asked for it");
    assert!(
        desk.callee(&reliable(&out, 183, "calleetag", 77, ANSWER))
            .is_empty()
    );
    desk.callee(&response(&prack, 200, "", "", ""));
    let sent = desk.callee(&ok(&out));
    assert_eq!(only(&sent, "ACK").header("CSeq"), "1 ACK");
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    let sent = desk.caller(&request("BYE", "sip:x@127.0.0.1", 2, "bye", &tag, ""));
    let bye = only(&sent, "BYE").clone();
    assert_eq!(bye.header("CSeq"), "3 BYE", "behind the PRACK");
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn a_reliable_response_behind_a_gap_is_ignored() {
    // RFC 3262 §4.
    let (mut desk, out) = invited(&invite());
    let sent = desk.callee(&reliable(&out, 180, "calleetag", 5, ""));
    assert_eq!(kinds(&sent), ["B<PRACK", "A<180"]);
    assert!(
        desk.callee(&reliable(&out, 183, "calleetag", 7, ANSWER))
            .is_empty()
    );
    assert_eq!(desk.shard.counters().provisional_gaps, 1);
    let sent = desk.callee(&reliable(&out, 183, "calleetag", 6, ANSWER));
    assert_eq!(kinds(&sent), ["B<PRACK", "A<183"]);
}

#[test]
fn a_caller_that_supports_it_gets_sdp_reliably_and_the_rest_as_ever() {
    let (mut desk, out) = invited(&supporting(&invite()));
    let sent = desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    assert!(!only(&sent, "180").has("RSeq"));
    let sent = desk.callee(&response(&out, 183, "calleetag", "sip:bob@127.0.0.3", ANSWER));
    let early = only(&sent, "183").clone();
    assert_eq!(early.header("Require"), "100rel");
    let rseq: u32 = early.header("RSeq").parse().unwrap();
    assert!((1..1 << 31).contains(&rseq));
    let sent = desk.caller(&prack(&early, 2, "p1", ""));
    assert_eq!(kinds(&sent), ["A<200"]);
    assert_eq!(sent[0].header("CSeq"), "2 PRACK");
    assert!(desk.pass(seconds(20)).is_empty(), "nothing is sent again");
    let sent = desk.callee(&ok(&out));
    let ok = only(&sent, "200").clone();
    assert_eq!(ok.body(), "", "the answer was given, reliably");
    hang_up(&mut desk, &ok, 3);
}

#[test]
fn a_reliable_response_is_repeated_without_the_cap_of_t2_and_then_the_call_fails() {
    // Correctness 24: 0.5, 1.5, 3.5, 7.5, 15.5, 31.5 s; RFC 3262 §3: 5xx after 64·T1.
    let (mut desk, out) = invited(&supporting(&invite()));
    let sent = desk.callee(&response(&out, 183, "calleetag", "sip:bob@127.0.0.3", ANSWER));
    let early = only(&sent, "183").clone();
    let again = desk.pass(std::time::Duration::from_millis(31_900));
    assert_eq!(kinds(&again), ["A<183"; 6]);
    assert_eq!(again[5].text, early.text);
    let sent = desk.pass(seconds(1));
    assert_eq!(kinds(&sent)[..2], ["A<504", "B<CANCEL"]);
    desk.callee(&response(&out, 487, "calleetag", "", ""));
    desk.assert_quiet();
    assert_eq!(desk.records[0].cause, "no_prack");
}

#[test]
fn a_prack_of_something_else_is_481() {
    let (mut desk, out) = invited(&supporting(&invite()));
    let sent = desk.callee(&response(&out, 183, "calleetag", "sip:bob@127.0.0.3", ANSWER));
    let early = only(&sent, "183").clone();
    let right = early.header("RSeq").to_owned();
    let wrong = prack(&early, 2, "p1", "").replace(&format!("RAck: {right} 1"), &format!("RAck: {right} 9"));
    assert_eq!(kinds(&desk.caller(&wrong)), ["A<481"]);
    let wrong = prack(&early, 3, "p2", "").replace(&format!("RAck: {right} 1"), "RAck: 1000000 1");
    assert_eq!(kinds(&desk.caller(&wrong)), ["A<481"]);
    assert_eq!(kinds(&desk.caller(&prack(&early, 4, "p3", ""))), ["A<200"]);
    assert_eq!(
        kinds(&desk.caller(&prack(&early, 5, "p4", ""))),
        ["A<481"],
        "it was acknowledged"
    );
}

#[test]
fn the_2xx_waits_while_sdp_is_unacknowledged() {
    // Correctness 24.
    let (mut desk, out) = invited(&supporting(&invite()));
    let sent = desk.callee(&response(&out, 183, "calleetag", "sip:bob@127.0.0.3", ANSWER));
    let early = only(&sent, "183").clone();
    assert_eq!(kinds(&desk.callee(&ok(&out))), ["B<ACK"]);
    let sent = desk.caller(&prack(&early, 2, "p1", ""));
    assert_eq!(kinds(&sent), ["A<200", "A<200"]);
    assert_eq!(sent[0].header("CSeq"), "2 PRACK");
    assert_eq!(sent[1].header("CSeq"), "1 INVITE");
    let ok = sent[1].clone();
    hang_up(&mut desk, &ok, 3);
}

#[test]
fn a_caller_that_hangs_up_while_the_2xx_waits_ends_both_sides() {
    let (mut desk, out) = invited(&supporting(&invite()));
    desk.callee(&response(&out, 183, "calleetag", "sip:bob@127.0.0.3", ANSWER));
    desk.callee(&ok(&out));
    let sent = desk.caller(&cancel());
    assert_eq!(kinds(&sent), ["A<200", "A<487", "B<BYE"]);
    desk.assert_quiet();
}

#[test]
fn a_callee_that_is_gone_while_the_2xx_waits_leaves_the_caller_unanswered() {
    let gone: [fn(&mut Desk, &Sent) -> Vec<Sent>; 2] = [
        |desk, out| desk.callee(&callee_request(out, "BYE", 9, "cb", "")),
        |desk, out| {
            let sent = desk.callee(&callee_request(out, "INFO", 9, "ci", "").replace("sdp", "text"));
            let info = only(&sent, "INFO").clone();
            desk.caller(&response(&info, 481, "", "", ""))
        },
    ];
    for gone in gone {
        let (mut desk, out) = invited(&supporting(&invite()));
        desk.callee(&response(&out, 183, "calleetag", "sip:bob@127.0.0.3", ANSWER));
        desk.callee(&ok(&out));
        let sent = gone(&mut desk, &out);
        let told = only(&sent, "480");
        assert_eq!(told.header("CSeq"), "1 INVITE");
        if let Some(bye) = sent.iter().find(|sent| sent.kind() == "BYE") {
            desk.callee(&response(&bye.clone(), 200, "", "", ""));
        }
        desk.assert_quiet();
    }
}

#[test]
fn a_caller_that_requires_it_gets_everything_reliably_one_at_a_time() {
    let (mut desk, out) = invited(&requiring(&invite()));
    let sent = desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    let ringing = only(&sent, "180").clone();
    assert!(ringing.has("RSeq"));
    for body in ["", ANSWER, ""] {
        let text = response(&out, 183, "calleetag", "sip:bob@127.0.0.3", body);
        assert!(
            desk.callee(&text).is_empty(),
            "one unacknowledged response at a time"
        );
    }
    let sent = desk.caller(&prack(&ringing, 2, "p1", ""));
    assert_eq!(kinds(&sent), ["A<200", "A<183"]);
    let early = only(&sent, "183").clone();
    assert!(early.media_port() > 0, "the newest of a status, and its SDP");
    let next: u32 = ringing.header("RSeq").parse::<u32>().unwrap() + 1;
    assert_eq!(early.header("RSeq"), next.to_string());
    assert_eq!(kinds(&desk.caller(&prack(&early, 3, "p2", ""))), ["A<200"]);
}

#[test]
fn a_prack_that_comes_after_the_2xx_is_still_answered() {
    // RFC 3262 §3.
    let (mut desk, out) = invited(&requiring(&invite()));
    let sent = desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    let ringing = only(&sent, "180").clone();
    let sent = desk.callee(&ok(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    let ok = only(&sent, "200").clone();
    assert!(ok.media_port() > 0);
    assert_eq!(kinds(&desk.caller(&prack(&ringing, 2, "p1", ""))), ["A<200"]);
    hang_up(&mut desk, &ok, 3);
}

#[test]
fn a_trunk_that_has_it_off_refuses_and_offers_none() {
    let (mut snapshot, admission) = sbc_core::config::default_config().compile().unwrap();
    for trunk in &mut snapshot.trunks {
        trunk.peer.reliable = sbc_core::snapshot::Reliable::Off;
    }
    let mut desk = Desk::of(snapshot, admission);
    let sent = desk.caller(&requiring(&invite()));
    assert_eq!(kinds(&sent), ["A<100", "A<420"]);
    assert_eq!(sent[1].header("Unsupported"), "100rel");
    let other = supporting(&invite())
        .replace("inv1", "inv2")
        .replace("caller-call-id", "c2");
    let sent = desk.caller(&other);
    let out = only(&sent, "INVITE").clone();
    assert!(!out.text.contains("100rel"));
    let sent = desk.callee(&response(&out, 183, "calleetag", "sip:bob@127.0.0.3", ANSWER));
    assert!(!only(&sent, "183").has("RSeq"));
}

#[test]
fn a_trunk_that_must_have_it_is_told_so() {
    let (mut snapshot, admission) = sbc_core::config::default_config().compile().unwrap();
    for trunk in &mut snapshot.trunks {
        trunk.peer.reliable = sbc_core::snapshot::Reliable::Required;
    }
    let mut desk = Desk::of(snapshot, admission);
    let sent = desk.caller(&invite());
    assert_eq!(only(&sent, "INVITE").header("Require"), "100rel");
}
