//! UPDATE inside a confirmed dialog (RFC 3311).

use crate::desk::*;

fn changed() -> String {
    OFFER
        .replace("a=sendrecv", "a=sendonly")
        .replace("1 1 IN", "1 2 IN")
}

/// An answered call whose callee serves UPDATE.
fn establish_with_update(desk: &mut Desk) -> Up {
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out).replace("Contact:", "Allow: INVITE, ACK, BYE, UPDATE\r\nContact:"));
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    desk.caller(&request("ACK", &contact, 1, "ack1", &tag, ""));
    Up {
        invite: out,
        ok,
        tag,
        contact,
    }
}

fn hang_up(desk: &mut Desk, up: &Up, cseq: u32) {
    let sent = desk.caller(&request("BYE", &up.contact, cseq, "bye", &up.tag, ""));
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn an_update_with_an_offer_crosses_as_update_and_brings_the_answer_back() {
    let mut desk = Desk::new();
    let up = establish_with_update(&mut desk);
    let sent = desk.caller(&request("UPDATE", &up.contact, 2, "u1", &up.tag, &changed()));
    assert_eq!(kinds(&sent), ["B<UPDATE"]);
    let out = only(&sent, "UPDATE").clone();
    assert!(out.body().contains("a=sendonly"));
    assert_eq!(out.media_port(), up.invite.media_port(), "correctness 38");
    assert!(out.has("Contact"));
    let sent = desk.callee(&response(
        &out,
        200,
        "",
        "sip:bob@127.0.0.3:5062",
        &format!("{ANSWER}a=recvonly\r\n"),
    ));
    assert_eq!(kinds(&sent), ["A<200"]);
    assert!(sent[0].body().contains("a=recvonly"));
    assert_eq!(sent[0].header("CSeq"), "2 UPDATE");
    let again = desk.caller(&request("UPDATE", &up.contact, 2, "u1", &up.tag, &changed()));
    assert_eq!(again[0].text, sent[0].text, "the same answer to a repetition");
    // The answer was a target refresh.
    let sent = desk.caller(&request("BYE", &up.contact, 3, "bye", &up.tag, ""));
    let bye = only(&sent, "BYE").clone();
    assert_eq!(bye.start(), "BYE sip:bob@127.0.0.3:5062 SIP/2.0");
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn an_update_crosses_as_reinvite_to_a_peer_without_update() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.callee(&callee_request(&up.invite, "UPDATE", 1, "cu", &changed()));
    assert_eq!(kinds(&sent), ["A<INVITE"]);
    let out = only(&sent, "INVITE").clone();
    let sent = desk.caller(&response(&out, 200, "", "sip:alice@127.0.0.2:5060", OFFER));
    assert_eq!(kinds(&sent), ["A<ACK", "B<200"]);
    let ok = only(&sent, "200");
    assert_eq!(ok.header("CSeq"), "1 UPDATE");
    assert!(ok.media_port() > 0);
    assert!(desk.pass(seconds(10)).is_empty(), "no ACK is awaited");
    hang_up(&mut desk, &up, 2);
}

#[test]
fn an_update_without_sdp_refreshes_the_target_and_stays_here() {
    let mut desk = Desk::new();
    let up = establish_with_update(&mut desk);
    let update = request("UPDATE", &up.contact, 2, "u1", &up.tag, "")
        .replace("sip:alice@127.0.0.2:5060", "sip:alice2@127.0.0.2:5060");
    let sent = desk.caller(&update);
    assert_eq!(kinds(&sent), ["A<200"]);
    assert!(sent[0].has("Contact"));
    assert_eq!(sent[0].body(), "");
    let sent = desk.callee(&callee_request(&up.invite, "BYE", 1, "cb", ""));
    let bye = only(&sent, "BYE").clone();
    assert_eq!(bye.start(), "BYE sip:alice2@127.0.0.2:5060 SIP/2.0");
    desk.caller(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn an_offer_that_changes_nothing_is_answered_here() {
    let mut desk = Desk::new();
    let up = establish_with_update(&mut desk);
    let sent = desk.caller(&request("UPDATE", &up.contact, 2, "u1", &up.tag, OFFER));
    assert_eq!(kinds(&sent), ["A<200"]);
    assert_eq!(
        sent[0].body(),
        up.ok.body(),
        "our last SDP, to the letter: same version"
    );
    let sent = desk.callee(&callee_request(&up.invite, "INVITE", 1, "cre", ANSWER));
    assert_eq!(kinds(&sent), ["B<100", "B<200"]);
    assert_eq!(sent[1].body(), up.invite.body());
    desk.callee(&callee_request(&up.invite, "ACK", 1, "cack", ""));
    assert!(desk.pass(seconds(10)).is_empty());
    hang_up(&mut desk, &up, 3);
}

#[test]
fn an_update_against_a_pending_offer_of_ours_is_491() {
    // Correctness 25.
    let mut desk = Desk::new();
    let up = establish_with_update(&mut desk);
    desk.caller(&request("UPDATE", &up.contact, 2, "u1", &up.tag, &changed()));
    let sent = desk.callee(&callee_request(&up.invite, "UPDATE", 1, "cu", &changed()));
    assert_eq!(kinds(&sent), ["B<491"]);
    let sent = desk.callee(&callee_request(&up.invite, "UPDATE", 2, "cu2", ""));
    assert_eq!(kinds(&sent), ["B<200"], "without an offer there is no glare");
}

#[test]
fn an_update_before_the_last_is_answered_is_500_with_retry_after() {
    // Correctness 25.
    let mut desk = Desk::new();
    let up = establish_with_update(&mut desk);
    desk.caller(&request("UPDATE", &up.contact, 2, "u1", &up.tag, &changed()));
    for (cseq, body) in [(3, OFFER), (4, "")] {
        let sent = desk.caller(&request(
            "UPDATE",
            &up.contact,
            cseq,
            &format!("u{cseq}"),
            &up.tag,
            body,
        ));
        assert_eq!(kinds(&sent), ["A<500"]);
        let seconds: u16 = sent[0].header("Retry-After").parse().unwrap();
        assert!(seconds <= 10);
    }
}

#[test]
fn an_update_offer_during_our_own_reinvite_is_500() {
    // Correctness 25: the offer in the INVITE has no answer yet.
    let mut desk = Desk::new();
    let up = establish_with_update(&mut desk);
    desk.caller(&request("INVITE", &up.contact, 2, "re", &up.tag, &changed()));
    let sent = desk.caller(&request("UPDATE", &up.contact, 3, "u1", &up.tag, OFFER));
    assert_eq!(kinds(&sent), ["A<500"]);
}

#[test]
fn a_refused_update_leaves_the_session_as_it_was() {
    // Correctness 22.
    let mut desk = Desk::new();
    let up = establish_with_update(&mut desk);
    let sent = desk.caller(&request("UPDATE", &up.contact, 2, "u1", &up.tag, &changed()));
    let out = only(&sent, "UPDATE").clone();
    let sent = desk.callee(&response(&out, 488, "", "", ""));
    assert_eq!(kinds(&sent), ["A<488"]);
    // What the callee sends again is still known, and answered with what held before.
    let sent = desk.callee(&callee_request(&up.invite, "UPDATE", 1, "cu", ANSWER));
    assert_eq!(kinds(&sent), ["B<200"]);
    let lines = |sent: &Sent| sent.body().lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(lines(&sent[0]), lines(&up.invite));
    hang_up(&mut desk, &up, 3);
}

#[test]
fn a_481_to_an_update_ends_the_call() {
    // Correctness 22.
    let mut desk = Desk::new();
    let up = establish_with_update(&mut desk);
    let sent = desk.caller(&request("UPDATE", &up.contact, 2, "u1", &up.tag, &changed()));
    let out = only(&sent, "UPDATE").clone();
    let sent = desk.callee(&response(&out, 481, "", "", ""));
    assert_eq!(kinds(&sent), ["A<481", "A<BYE", "B<BYE"]);
    desk.assert_quiet();
}

#[test]
fn an_update_that_takes_too_long_is_504_and_the_call_goes_on() {
    // RFC 3311 §5.2; correctness 8: never a late 408.
    let mut desk = Desk::new();
    let up = establish_with_update(&mut desk);
    desk.caller(&request("UPDATE", &up.contact, 2, "u1", &up.tag, &changed()));
    let sent = desk.pass(seconds(21));
    assert_eq!(kinds(&sent).last().map(String::as_str), Some("A<504"));
    assert_eq!(desk.shard.gauges().calls, 1);
    hang_up(&mut desk, &up, 3);
}

#[test]
fn an_update_that_waits_when_the_call_ends_is_481() {
    let mut desk = Desk::new();
    let up = establish_with_update(&mut desk);
    desk.caller(&request("UPDATE", &up.contact, 2, "u1", &up.tag, &changed()));
    let sent = desk.callee(&callee_request(&up.invite, "BYE", 9, "cb", ""));
    assert_eq!(kinds(&sent), ["B<200", "A<481", "A<BYE"]);
    desk.assert_quiet();
}

#[test]
fn an_update_outside_a_dialog_is_481() {
    let mut desk = Desk::new();
    let sent = desk.caller(&request("UPDATE", "sip:1000@127.0.0.1", 1, "u1", "", OFFER));
    assert_eq!(kinds(&sent), ["A<481"]);
}
