//! INVITE with Replaces (RFC 3891): a new caller takes the place of one side of a call.
//!
//! The caller (X) talks to the callee (Y). Another phone of the callee's trunk (N) was told of X's
//! dialog by a REFER that passed through us, and calls with Replaces.

use crate::desk::*;
use sbc_core::config;

/// What N may know of the caller's dialog: the Replaces of a Refer-To that reached its trunk.
fn disguised(desk: &mut Desk, up: &Up) -> String {
    let named = format!("caller-call-id%3Bto-tag%3D{}%3Bfrom-tag%3Dcallertag", up.tag);
    let refer = request("REFER", &up.contact, 2, "refer", &up.tag, "").replace(
        "Content-Length",
        &format!("Refer-To: <sip:2000@127.0.0.2?Replaces={named}>\r\nContent-Length"),
    );
    let sent = desk.caller(&refer);
    let out = only(&sent, "REFER").clone();
    desk.callee(&response(&out, 202, "", "sip:bob@127.0.0.3", ""));
    let refer_to = out.header("Refer-To");
    let value = refer_to.split("Replaces=").nth(1).unwrap().trim_end_matches('>');
    value.replace("%3B", ";").replace("%3D", "=")
}

fn new_caller(method: &str, to_tag: &str, cseq: u32, branch: &str, replaces: &str, body: &str) -> String {
    let replaces = if replaces.is_empty() {
        String::new()
    } else {
        format!("Replaces: {replaces}\r\nRequire: replaces\r\n")
    };
    request(method, "sip:2000@127.0.0.1", cseq, branch, to_tag, body)
        .replace("127.0.0.2", "127.0.0.3")
        .replace("caller-call-id", "new-call-id")
        .replace("callertag", "newtag")
        .replace("alice@127.0.0.3:5060", "carol@127.0.0.3:5070")
        .replace("Content-Length", &format!("{replaces}Content-Length"))
}

fn invite_of_new(replaces: &str) -> String {
    new_caller("INVITE", "", 1, "ninv", replaces, OFFER)
}

/// Up to our re-INVITE to the callee.
pub(crate) fn asked(desk: &mut Desk) -> (Up, Sent) {
    let up = establish(desk);
    let replaces = disguised(desk, &up);
    let sent = desk.callee(&invite_of_new(&replaces));
    assert_eq!(kinds(&sent), ["B<100", "B<INVITE"]);
    let out = only(&sent, "INVITE").clone();
    (up, out)
}

fn still_talking(desk: &mut Desk, up: &Up) {
    assert_eq!(desk.shard.gauges().calls, 1);
    assert_eq!(desk.shard.gauges().media_pairs, 2);
    desk.caller(&request("BYE", &up.contact, 90, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn the_new_caller_takes_the_place_of_the_old() {
    let mut desk = Desk::new();
    let (up, out) = asked(&mut desk);
    assert!(
        out.header("To").contains("tag=calleetag"),
        "a re-INVITE to the callee"
    );
    assert_eq!(out.header("Call-ID"), up.invite.header("Call-ID"));
    assert!(!out.text.contains("newtag") && !out.text.contains("new-call-id"));
    assert_eq!(desk.shard.gauges().media_pairs, 3);
    let sent = desk.callee(&response(&out, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    assert_eq!(kinds(&sent), ["B<ACK", "A<BYE", "B<200"]);
    let ok = only(&sent, "200").clone();
    assert_eq!(ok.header("Call-ID"), "new-call-id");
    assert_ne!(
        ok.media_port(),
        up.ok.media_port(),
        "ports that the old caller does not know"
    );
    let tag = tag_of(ok.header("To"));
    assert!(
        desk.callee(&new_caller("ACK", &tag, 1, "nack", "", ""))
            .is_empty()
    );
    let bye = only(&sent, "BYE").clone();
    assert_eq!(bye.header("Call-ID"), "caller-call-id");
    desk.caller(&response(&bye, 200, "", "", ""));
    assert_eq!(desk.records.len(), 1);
    assert_eq!((desk.records[0].status, desk.records[0].cause), (200, "replaced"));
    assert_eq!(desk.shard.gauges().calls, 1);
    assert_eq!(desk.shard.gauges().media_pairs, 2);
    // The new leg is a leg like any: it can say things and end the call.
    let sent = desk.callee(&new_caller("INFO", &tag, 2, "ninfo", "", ""));
    assert_eq!(only(&sent, "INFO").header("Call-ID"), up.invite.header("Call-ID"));
    let sent = desk.callee(&new_caller("BYE", &tag, 3, "nbye", "", ""));
    assert!(kinds(&sent).contains(&"B<BYE".to_owned()), "{:?}", kinds(&sent));
    desk.assert_quiet();
    assert_eq!(desk.shard.counters().calls_taken_over, 1);
    assert_ne!(desk.records[0].call, desk.records[1].call);
}

#[test]
fn a_new_caller_without_an_offer_gets_one() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let replaces = disguised(&mut desk, &up);
    let sent = desk.callee(&new_caller("INVITE", "", 1, "ninv", &replaces, ""));
    let out = only(&sent, "INVITE").clone();
    assert_eq!(out.body(), "");
    let sent = desk.callee(&response(&out, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    assert_eq!(kinds(&sent), ["A<BYE", "B<200"], "the ACK waits for the answer");
    let ok = only(&sent, "200").clone();
    assert!(ok.body().contains("m=audio"));
    let sent = desk.callee(&new_caller(
        "ACK",
        &tag_of(ok.header("To")),
        1,
        "nack",
        "",
        ANSWER,
    ));
    assert_eq!(kinds(&sent), ["B<ACK"]);
    assert!(sent[0].body().contains("m=audio"));
    let sent = desk.callee(&callee_request(&up.invite, "BYE", 9, "cb", ""));
    assert_eq!(kinds(&sent), ["B<200", "B<BYE"]);
    desk.assert_quiet();
}

#[test]
fn a_callee_that_knows_replaces_is_asked_itself() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let first = only(&sent, "INVITE").clone();
    assert!(first.header("Supported").ends_with("replaces"));
    let answer = ok(&first).replace("Content-Type", "Supported: timer, replaces\r\nContent-Type");
    let sent = desk.callee(&answer);
    let told = only(&sent, "200").clone();
    let up = Up {
        tag: tag_of(told.header("To")),
        contact: told.header("Contact").trim_matches(['<', '>']).to_owned(),
        invite: first.clone(),
        ok: told,
    };
    desk.caller(&request("ACK", &up.contact, 1, "ack1", &up.tag, ""));
    let replaces = disguised(&mut desk, &up);
    let sent = desk.callee(&invite_of_new(&replaces));
    let out = only(&sent, "INVITE").clone();
    assert!(
        out.start().starts_with("INVITE sip:bob@127.0.0.3:5060"),
        "{}",
        out.start()
    );
    assert!(!out.header("To").contains("tag="), "a new call");
    assert_eq!(
        out.header("Replaces"),
        format!(
            "{};to-tag=calleetag;from-tag={}",
            first.header("Call-ID"),
            tag_of(first.header("From"))
        )
    );
    assert_eq!(out.header("Require"), "replaces");
    // It answers the new call and hangs up the old one.
    let sent = desk.callee(&response(&out, 200, "t2", "sip:bob@127.0.0.3:5060", ANSWER));
    let tag = tag_of(only(&sent, "200").header("To"));
    desk.callee(&new_caller("ACK", &tag, 1, "nack", "", ""));
    let sent = desk.callee(&callee_request(&first, "BYE", 9, "cb", ""));
    assert_eq!(kinds(&sent), ["B<200", "A<BYE"]);
    desk.caller(&response(only(&sent, "BYE"), 200, "", "", ""));
    assert_eq!(desk.shard.gauges().calls, 1);
    let sent = desk.callee(&new_caller("BYE", &tag, 2, "nbye", "", ""));
    assert_eq!(kinds(&sent), ["B<200", "B<BYE"]);
    desk.assert_quiet();
}

#[test]
fn a_phone_beside_the_replaced_one_names_the_dialog_as_it_is() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let own = format!("caller-call-id;from-tag=callertag;to-tag={}", up.tag);
    let invite = new_caller("INVITE", "", 1, "ninv", &own, OFFER).replace("127.0.0.3", "127.0.0.2");
    let sent = desk.caller(&invite);
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    let sent = desk.callee(&response(only(&sent, "INVITE"), 488, "", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<488"]);
    still_talking(&mut desk, &up);
}

#[test]
fn a_refusal_leaves_the_call_as_it_was() {
    let mut desk = Desk::new();
    let (up, out) = asked(&mut desk);
    let sent = desk.callee(&response(&out, 488, "", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "B<488"]);
    assert_eq!(desk.records[0].cause, "replace_refused");
    still_talking(&mut desk, &up);
}

#[test]
fn the_new_caller_can_give_up() {
    let mut desk = Desk::new();
    let (up, out) = asked(&mut desk);
    desk.callee(&response(&out, 100, "", "", ""));
    let sent = desk.callee(&new_caller("CANCEL", "", 1, "ninv", "", ""));
    assert_eq!(kinds(&sent), ["B<200", "B<CANCEL"]);
    let cancel = only(&sent, "CANCEL").clone();
    desk.callee(&response(&cancel, 200, "", "", ""));
    let sent = desk.callee(&response(&out, 487, "", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "B<487"]);
    still_talking(&mut desk, &up);
}

#[test]
fn when_the_replaced_one_hangs_up_meanwhile_there_is_nothing_to_take() {
    let mut desk = Desk::new();
    let (up, _) = asked(&mut desk);
    let sent = desk.caller(&request("BYE", &up.contact, 9, "bye", &up.tag, ""));
    assert_eq!(kinds(&sent), ["A<200", "B<603", "B<BYE"]);
    desk.assert_quiet();
}

#[test]
fn a_callee_that_never_answers_ends_both() {
    let mut desk = Desk::new();
    let _ = asked(&mut desk);
    let sent = desk.pass(seconds(33));
    assert!(kinds(&sent).contains(&"B<408".to_owned()), "{:?}", kinds(&sent));
    assert!(kinds(&sent).contains(&"A<BYE".to_owned()), "{:?}", kinds(&sent));
    desk.assert_quiet();
}

#[test]
fn what_names_no_dialog_or_may_not_is_refused() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let good = disguised(&mut desk, &up);
    let early = format!("{good};early-only");
    let wrong = good.replace("from-tag=", "from-tag=x");
    for (n, (replaces, status)) in [
        ("a;to-tag=b;from-tag=c", "B<481"),
        (&*wrong, "B<481"),
        (&*early, "B<486"),
        ("broken", "B<400"),
    ]
    .into_iter()
    .enumerate()
    {
        let invite = invite_of_new(replaces)
            .replace("ninv", &format!("ninv{n}"))
            .replace("new-call-id", &format!("n{n}"));
        assert_eq!(kinds(&desk.callee(&invite)), ["B<100", status], "{replaces}");
    }
    // Two at a time: the second has to wait.
    assert_eq!(kinds(&desk.callee(&invite_of_new(&good))), ["B<100", "B<INVITE"]);
    let second = invite_of_new(&good)
        .replace("ninv", "second")
        .replace("new-call-id", "second");
    assert_eq!(kinds(&desk.callee(&second)), ["B<100", "B<491"]);
    desk.caller(&request("BYE", &up.contact, 90, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn it_counts_as_a_call() {
    let mut config = config::default_config();
    config.limits.channels = 1;
    let (snapshot, admission) = config.compile().unwrap();
    let mut desk = Desk::of(snapshot, admission);
    let up = establish(&mut desk);
    let replaces = disguised(&mut desk, &up);
    assert_eq!(kinds(&desk.callee(&invite_of_new(&replaces))), ["B<100", "B<503"]);
    still_talking(&mut desk, &up);
}
