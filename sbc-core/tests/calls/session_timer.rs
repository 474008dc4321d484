//! Session timers (RFC 4028), one for each leg. Correctness 23.

use crate::desk::*;
use std::time::Duration;

/// A desk whose trunks ask for sessions of `expires_s`, and no media watch.
fn desk(expires_s: u64) -> Desk {
    let (mut snapshot, admission) = sbc_core::config::default_config().compile().unwrap();
    snapshot.media.timeout = Duration::ZERO;
    for trunk in &mut snapshot.trunks {
        trunk.peer.session_timer.expires = seconds(expires_s);
    }
    Desk::of(snapshot, admission)
}

fn with(text: &str, fields: &str) -> String {
    text.replacen("Contact:", &format!("{fields}Contact:"), 1)
}

/// A call whose two sides say what they can in INVITE and 200.
fn up(desk: &mut Desk, caller: &str, callee: &str) -> Up {
    let sent = desk.caller(&with(&invite(), caller));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&with(&ok(&out), callee));
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

const THEIRS_A: &str = "Supported: timer\r\nSession-Expires: 3600;refresher=uac\r\n";
const THEIRS_B: &str = "Require: timer\r\nSession-Expires: 3600;refresher=uas\r\n";

#[test]
fn our_invite_asks_and_a_422_is_tried_again_in_the_same_call_id() {
    let mut desk = desk(1800);
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    assert!(out.header("Supported").contains("timer"));
    assert_eq!(out.header("Session-Expires"), "1800");
    assert_eq!(out.header("Min-SE"), "90");
    let sent = desk.callee(
        &response(&out, 422, "x", "", "").replace("Content-Length", "Min-SE: 7200\r\nContent-Length"),
    );
    assert_eq!(kinds(&sent), ["B<ACK", "B<INVITE"]);
    let again = only(&sent, "INVITE").clone();
    assert_eq!(again.header("Session-Expires"), "7200");
    assert_eq!(again.header("Min-SE"), "7200");
    assert_eq!(again.header("Call-ID"), out.header("Call-ID"));
    assert_eq!(again.header("CSeq"), "2 INVITE");
    assert_eq!(again.body(), out.body());
    let sent = desk.callee(&ok(&again));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
}

#[test]
fn a_callee_that_wants_longer_and_longer_sessions_is_given_up() {
    let mut desk = desk(1800);
    let sent = desk.caller(&invite());
    let mut out = only(&sent, "INVITE").clone();
    for n in 1..=3 {
        let refusal = response(&out, 422, "x", "", "").replace(
            "Content-Length",
            &format!("Min-SE: {}\r\nContent-Length", 7200 * n),
        );
        let sent = desk.callee(&refusal);
        out = only(&sent, "INVITE").clone();
    }
    let refusal =
        response(&out, 422, "x", "", "").replace("Content-Length", "Min-SE: 80000\r\nContent-Length");
    assert!(desk.callee(&refusal).iter().all(|s| s.kind() != "INVITE"));
    desk.assert_quiet();
}

#[test]
fn a_session_that_is_too_short_is_422_with_min_se() {
    let mut desk = desk(1800);
    let sent = desk.caller(&with(&invite(), "Supported: timer\r\nSession-Expires: 60\r\n"));
    assert_eq!(only(&sent, "422").header("Min-SE"), "90");
    // Who does not know timers is not refused for them (§9).
    let other = with(&invite(), "Session-Expires: 60\r\n")
        .replace("inv1", "inv2")
        .replace("caller-call-id", "c2");
    let sent = desk.caller(&other);
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
}

#[test]
fn a_caller_that_can_refreshes_and_is_told_so() {
    let mut desk = desk(1800);
    let up = up(
        &mut desk,
        "Supported: timer\r\nSession-Expires: 600\r\n",
        THEIRS_B,
    );
    assert_eq!(up.ok.header("Session-Expires"), "600;refresher=uac");
    assert_eq!(up.ok.header("Require"), "timer");
}

#[test]
fn a_caller_without_timers_is_refreshed_by_us() {
    let mut desk = desk(1800);
    let up = up(&mut desk, "Allow: INVITE, UPDATE\r\n", THEIRS_B);
    assert_eq!(up.ok.header("Session-Expires"), "1800;refresher=uas");
    assert!(!up.ok.has("Require"));
    let sent = desk.pass(Duration::from_millis(900_300));
    let update = only(&sent, "UPDATE").clone();
    assert!(update.to_caller());
    assert_eq!(update.body(), "");
    assert_eq!(update.header("Session-Expires"), "1800;refresher=uac");
    let answer = response(&update, 200, "", "sip:alice@127.0.0.2:5060", "");
    assert!(desk.caller(&answer).is_empty());
    let sent = desk.pass(Duration::from_millis(900_300));
    assert!(
        only(&sent, "UPDATE").to_caller(),
        "again after half of the interval"
    );
    assert_eq!(desk.shard.counters().session_refreshes, 2);
}

#[test]
fn without_update_the_refresh_is_a_reinvite_with_our_last_sdp() {
    let mut desk = desk(1800);
    let up = up(&mut desk, THEIRS_A, "Session-Expires: 200;refresher=uac\r\n");
    let sent = desk.pass(Duration::from_millis(100_300));
    assert_eq!(kinds(&sent), ["B<INVITE"], "the caller hears nothing");
    let re = only(&sent, "INVITE").clone();
    assert_eq!(re.body(), up.invite.body());
    assert_eq!(re.header("Session-Expires"), "200;refresher=uac");
    let sent = desk.callee(&with(
        &response(&re, 200, "", "sip:bob@127.0.0.3:5060", ANSWER),
        "Session-Expires: 200;refresher=uac\r\n",
    ));
    assert_eq!(kinds(&sent), ["B<ACK"]);
    let sent = desk.pass(Duration::from_millis(100_300));
    let re = only(&sent, "INVITE").clone();
    // A refusal is not the end; an expired session is (§10).
    assert_eq!(kinds(&desk.callee(&response(&re, 500, "", "", ""))), ["B<ACK"]);
    let sent = desk.pass(seconds(70));
    assert_eq!(kinds(&sent)[..2], ["A<BYE", "B<BYE"]);
    desk.assert_quiet();
    assert_eq!(desk.records[0].cause, "session_expired");
}

#[test]
fn a_peer_that_does_not_refresh_loses_the_call_before_the_interval_is_over() {
    // Correctness 23: SE − min(32, SE/3).
    let mut desk = desk(0);
    let up = up(
        &mut desk,
        "Supported: timer\r\nSession-Expires: 300;refresher=uac\r\n",
        "",
    );
    assert_eq!(up.ok.header("Session-Expires"), "300;refresher=uac");
    assert!(desk.pass(seconds(267)).is_empty());
    let sent = desk.pass(Duration::from_millis(1_200));
    assert_eq!(kinds(&sent), ["A<BYE", "B<BYE"]);
    desk.assert_quiet();
    assert_eq!(desk.records[0].cause, "session_expired");
}

#[test]
fn a_refresh_of_the_peer_keeps_the_call_and_does_not_cross() {
    let mut desk = desk(0);
    let up = up(
        &mut desk,
        "Supported: timer\r\nSession-Expires: 300;refresher=uac\r\n",
        "",
    );
    for n in 0..3 {
        assert!(desk.pass(seconds(200)).is_empty());
        let fields = "Supported: timer\r\nSession-Expires: 300;refresher=uac\r\n";
        let method = if n == 1 { "INVITE" } else { "UPDATE" };
        let body = if n == 1 { OFFER } else { "" };
        let text = request(method, &up.contact, 10 + n, &format!("r{n}"), &up.tag, body);
        let sent = desk.caller(&with(&text, fields));
        let ok = only(&sent, "200");
        assert_eq!(ok.header("Session-Expires"), "300;refresher=uac");
        assert!(sent.iter().all(Sent::to_caller));
        desk.caller(&request(
            "ACK",
            &up.contact,
            10 + n,
            &format!("a{n}"),
            &up.tag,
            "",
        ));
    }
    assert_eq!(desk.shard.gauges().calls, 1);
}

#[test]
fn a_481_to_a_refresh_ends_the_call() {
    let mut desk = desk(1800);
    up(&mut desk, "Allow: UPDATE\r\n", THEIRS_B);
    let sent = desk.pass(Duration::from_millis(900_300));
    let update = only(&sent, "UPDATE").clone();
    let sent = desk.caller(&response(&update, 481, "", "", ""));
    assert_eq!(kinds(&sent), ["A<BYE", "B<BYE"]);
    desk.assert_quiet();
}

#[test]
fn glare_with_a_refresh_is_tried_again_when_the_call_id_is_ours() {
    // Correctness 21: 2.1 to 4 s.
    let mut desk = desk(0);
    up(
        &mut desk,
        "",
        "Allow: UPDATE\r\nSession-Expires: 200;refresher=uac\r\n",
    );
    let sent = desk.pass(Duration::from_millis(100_300));
    let update = only(&sent, "UPDATE").clone();
    desk.callee(&response(&update, 491, "", "", ""));
    assert!(desk.pass(seconds(2)).is_empty());
    let sent = desk.pass(seconds(3));
    assert!(sent.iter().any(|s| s.kind() == "UPDATE"));
}

#[test]
fn no_timer_runs_when_nobody_asks() {
    let mut desk = desk(0);
    let up = up(&mut desk, "Supported: timer\r\n", "");
    assert!(!up.invite.has("Session-Expires") && !up.ok.has("Session-Expires"));
    assert_eq!(desk.shard.gauges().timers, 0);
}

#[test]
fn a_422_to_a_refresh_is_not_asked_again_and_the_call_ends_in_time() {
    let mut desk = desk(1800);
    up(&mut desk, "Allow: UPDATE\r\n", THEIRS_B);
    let sent = desk.pass(Duration::from_millis(900_300));
    let update = only(&sent, "UPDATE").clone();
    let refusal =
        response(&update, 422, "", "", "").replace("Content-Length", "Min-SE: 7200\r\nContent-Length");
    assert!(desk.caller(&refusal).is_empty());
    assert!(desk.pass(seconds(800)).is_empty(), "the session still runs");
    let sent = desk.pass(seconds(69));
    assert_eq!(kinds(&sent)[..2], ["A<BYE", "B<BYE"]);
    assert_eq!(desk.shard.counters().sessions_expired, 1);
}
