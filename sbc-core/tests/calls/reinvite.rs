//! re-INVITE: hold, resume, refusal, glare (RFC 3261 §14, RFC 6141).

use crate::desk::*;

fn held() -> String {
    OFFER
        .replace("a=sendrecv", "a=sendonly")
        .replace("1 1 IN", "1 2 IN")
}

#[test]
fn hold_and_resume_pass_through() {
    // Correctness 35.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &held()));
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    let re = only(&sent, "INVITE").clone();
    assert!(re.body().contains("a=sendonly"));
    assert_eq!(
        re.media_port(),
        up.invite.media_port(),
        "correctness 38: ports survive"
    );
    assert_eq!(re.header("CSeq"), "2 INVITE");
    let answer = response(
        &re,
        200,
        "",
        "sip:bob@127.0.0.3:5060",
        &format!("{ANSWER}a=recvonly\r\n"),
    );
    let sent = desk.callee(&answer);
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert!(only(&sent, "200").body().contains("a=recvonly"));
    desk.caller(&request("ACK", &up.contact, 2, "ack2", &up.tag, ""));
    // The callee resumes from its side.
    let sent = desk.callee(&callee_request(&up.invite, "INVITE", 1, "cre", ANSWER));
    let re = only(&sent, "INVITE").clone();
    let sent = desk.caller(&response(&re, 200, "", "sip:alice@127.0.0.2:5060", OFFER));
    assert_eq!(kinds(&sent), ["A<ACK", "B<200"]);
    desk.callee(&callee_request(&up.invite, "ACK", 1, "cack", ""));
    assert!(desk.pass(seconds(10)).is_empty());
    let sent = desk.caller(&request("BYE", &up.contact, 3, "bye", &up.tag, ""));
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn the_session_version_grows_only_with_a_change() {
    // Correctness 33.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let version = |sent: &Sent| {
        sent.body()
            .lines()
            .nth(1)
            .unwrap()
            .split(' ')
            .nth(2)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let first = version(&up.invite);
    // The caller's new version of the same is none of ours.
    let same = OFFER.replace("1 1 IN", "1 2 IN");
    for (cseq, body, expected) in [(2, same, first), (3, held(), first + 1)] {
        let sent = desk.caller(&request(
            "INVITE",
            &up.contact,
            cseq,
            &format!("r{cseq}"),
            &up.tag,
            &body,
        ));
        let re = only(&sent, "INVITE").clone();
        assert_eq!(version(&re), expected);
        desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
        desk.caller(&request(
            "ACK",
            &up.contact,
            cseq,
            &format!("a{cseq}"),
            &up.tag,
            "",
        ));
    }
}

#[test]
fn a_refused_reinvite_leaves_the_call_alone() {
    // Correctness 22.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &held()));
    let re = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&re, 488, "", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<488"]);
    desk.caller(&request("ACK", &up.contact, 2, "re1", &up.tag, ""));
    assert_eq!(desk.shard.gauges().calls, 1);
    assert!(desk.pass(seconds(30)).is_empty());
}

#[test]
fn a_reinvite_refused_with_481_ends_the_call() {
    // Correctness 22.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &held()));
    let re = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&re, 481, "", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<481", "A<BYE", "B<BYE"]);
    desk.assert_quiet();
}

#[test]
fn glare_is_491() {
    // Correctness 21.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &held()));
    let sent = desk.callee(&callee_request(&up.invite, "INVITE", 1, "cre", ANSWER));
    assert_eq!(kinds(&sent), ["B<100", "B<491"]);
}

#[test]
fn an_overlapping_reinvite_is_500_with_retry_after() {
    // Correctness 21.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &held()));
    let sent = desk.caller(&request("INVITE", &up.contact, 3, "re2", &up.tag, OFFER));
    assert!(only(&sent, "500").has("Retry-After"));
}

#[test]
fn a_lower_cseq_is_500() {
    // Correctness 20.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&request("INVITE", &up.contact, 1, "re1", &up.tag, OFFER));
    assert_eq!(kinds(&sent), ["A<500"]);
    assert_eq!(desk.shard.gauges().calls, 1);
}

#[test]
fn a_request_between_a_reinvite_and_its_ack_does_not_hide_the_ack() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &held()));
    let re = only(&sent, "INVITE").clone();
    desk.caller(&request("INFO", &up.contact, 3, "info", &up.tag, ""));
    desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    desk.caller(&request("ACK", &up.contact, 2, "ack2", &up.tag, ""));
    let sent = desk.pass(seconds(20));
    assert!(!kinds(&sent).contains(&"A<200".to_owned()), "{:?}", kinds(&sent));
}

#[test]
fn cseq_near_two_to_the_31_survives() {
    // Correctness 20.
    let mut desk = Desk::new();
    let high = invite().replace("CSeq: 1 INVITE", "CSeq: 2147483646 INVITE");
    let sent = desk.caller(&high);
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out));
    let tag = tag_of(only(&sent, "200").header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 2_147_483_646, "ack", &tag, ""));
    let sent = desk.caller(&request("BYE", "sip:x@127.0.0.1", 2_147_483_647, "bye", &tag, ""));
    assert_eq!(kinds(&sent), ["A<200", "B<BYE"]);
}

#[test]
fn bye_during_a_reinvite_ends_everything() {
    // Correctness 11.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &held()));
    let re = only(&sent, "INVITE").clone();
    let sent = desk.callee(&callee_request(&up.invite, "BYE", 1, "cb", ""));
    assert_eq!(kinds(&sent), ["B<200", "A<487", "A<BYE"]);
    let bye = only(&sent, "BYE").clone();
    desk.caller(&request("ACK", &up.contact, 2, "re1", &up.tag, ""));
    desk.caller(&response(&bye, 200, "", "", ""));
    let sent = desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    assert_eq!(
        kinds(&sent),
        ["B<ACK"],
        "a late answer is acknowledged all the same"
    );
    desk.assert_quiet();
}

#[test]
fn a_cancelled_reinvite_follows_the_far_side() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &held()));
    let re = only(&sent, "INVITE").clone();
    desk.callee(&response(&re, 100, "", "", ""));
    let sent = desk.caller(&request("CANCEL", &up.contact, 2, "re1", &up.tag, ""));
    assert_eq!(kinds(&sent), ["A<200", "B<CANCEL"]);
    let sent = desk.callee(&response(&re, 487, "", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<487"]);
    desk.caller(&request("ACK", &up.contact, 2, "re1", &up.tag, ""));
    assert_eq!(desk.shard.gauges().calls, 1);
    assert!(desk.pass(seconds(30)).is_empty());
}

#[test]
fn a_silent_far_side_ends_the_call() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &held()));
    let sent = desk.pass(seconds(33));
    assert!(kinds(&sent).contains(&"A<408".to_owned()));
    assert!(kinds(&sent).contains(&"B<BYE".to_owned()));
    desk.assert_quiet();
}

#[test]
fn a_late_offer_reinvite_brings_the_answer_in_the_ack() {
    // Correctness 27.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, ""));
    let re = only(&sent, "INVITE").clone();
    assert_eq!(re.body(), "");
    let sent = desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    assert_eq!(kinds(&sent), ["A<200"]);
    let sent = desk.caller(&request("ACK", &up.contact, 2, "ack2", &up.tag, OFFER));
    assert!(only(&sent, "ACK").media_port() > 0);
    assert_eq!(desk.shard.gauges().calls, 1);
}

#[test]
fn a_far_side_that_only_tries_is_given_up() {
    // Correctness 9.
    let (mut snapshot, admission) = sbc_core::config::default_config().compile().unwrap();
    snapshot.media.timeout = std::time::Duration::ZERO;
    let mut desk = Desk::of(snapshot, admission);
    let up = establish(&mut desk);
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &held()));
    let re = only(&sent, "INVITE").clone();
    desk.callee(&response(&re, 100, "", "", ""));
    let sent = desk.pass(seconds(181));
    assert_eq!(kinds(&sent)[..2], ["B<CANCEL", "A<408"]);
    desk.caller(&request("ACK", &up.contact, 2, "re1", &up.tag, ""));
    desk.callee(&response(&re, 487, "", "", ""));
    assert_eq!(desk.shard.gauges().calls, 1, "the call goes on as it was");
    let sent = desk.caller(&request("BYE", &up.contact, 3, "bye", &up.tag, ""));
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}
