//! Transfers that we carry out (`refer = "local"`): the caller or the callee sends a REFER, we call the
//! target and bring it together with the other side.

use crate::desk::*;
use sbc_core::{config, snapshot::Refer};

const TARGET: &str = "127.0.0.3:5060";
const TARGET_SDP: &str = "v=0\r\no=target 3 3 IN IP4 127.0.0.3\r\ns=-\r\nc=IN IP4 127.0.0.3\r\nt=0 0\r\n\
    m=audio 7000 RTP/AVP 0 8\r\n";

pub(crate) fn desk() -> Desk {
    desk_of(config::default_config())
}

fn desk_of(config: config::Config) -> Desk {
    let (mut snapshot, admission) = config.compile().unwrap();
    for trunk in &mut snapshot.trunks {
        trunk.peer.refer = Refer::Local;
    }
    Desk::of(snapshot, admission)
}

fn refer(up: &Up, cseq: u32) -> String {
    request("REFER", &up.contact, cseq, &format!("r{cseq}"), &up.tag, "").replace(
        "Content-Length",
        "Refer-To: <sip:2000@127.0.0.2>\r\nContent-Length",
    )
}

/// What the caller is told of its transfer.
fn told(notify: &Sent) -> (String, String) {
    assert_eq!(notify.header("Content-Type"), "message/sipfrag;version=2.0");
    let line = notify.body().trim_end().to_owned();
    (line, notify.header("Subscription-State").to_owned())
}

fn final_notify(sent: &[Sent], line: &str) {
    let notify = only(sent, "NOTIFY");
    assert_eq!(notify.header("Event"), "refer;id=2");
    assert_eq!(
        told(notify),
        (line.to_owned(), "terminated;reason=noresource".to_owned())
    );
}

/// Up to our INVITE to the target.
fn called(desk: &mut Desk) -> (Up, Sent) {
    let up = establish(desk);
    let sent = desk.caller(&refer(&up, 2));
    assert_eq!(kinds(&sent), ["A<202", "A<NOTIFY", "B<INVITE"]);
    assert!(sent[0].has("Contact"));
    let notify = only(&sent, "NOTIFY").clone();
    assert_eq!(
        told(&notify),
        ("SIP/2.0 100 Trying".to_owned(), "active;expires=300".to_owned())
    );
    assert_eq!(notify.header("Call-ID"), "caller-call-id");
    desk.caller(&response(&notify, 200, "", "", ""));
    (up, only(&sent, "INVITE").clone())
}

fn answered(out: &Sent) -> String {
    response(out, 200, "targettag", "sip:carol@127.0.0.3:5060", TARGET_SDP)
}

/// A request of the target.
fn of_target(out: &Sent, method: &str, cseq: u32, branch: &str, body: &str) -> String {
    callee_request(out, method, cseq, branch, body).replace("calleetag", "targettag")
}

/// Up to our re-INVITE to the transferee.
pub(crate) fn put(desk: &mut Desk) -> (Up, Sent, Sent) {
    let (up, out) = called(desk);
    let sent = desk.callee(&answered(&out));
    assert_eq!(kinds(&sent), ["B<INVITE"], "the ACK waits for the answer");
    let asked = only(&sent, "INVITE").clone();
    (up, out, asked)
}

pub(crate) fn accepted(asked: &Sent) -> String {
    response(asked, 200, "", "sip:bob@127.0.0.3:5060", &next_version(ANSWER))
}

fn still_talking(desk: &mut Desk, up: &Up) {
    assert_eq!(desk.records.len(), 1);
    assert_eq!(desk.records[0].cause, "transfer_failed");
    assert_eq!(desk.shard.gauges().calls, 1);
    assert_eq!(desk.shard.gauges().media_pairs, 2);
    let sent = desk.caller(&request("INFO", &up.contact, 80, "info", &up.tag, ""));
    assert_eq!(kinds(&sent), ["B<INFO"]);
    desk.callee(&response(&sent[0], 200, "", "", ""));
    desk.caller(&request("BYE", &up.contact, 90, "bye", &up.tag, ""));
    desk.assert_quiet();
    assert_eq!(desk.shard.counters().transfers_failed, 1);
}

#[test]
fn the_caller_transfers_the_callee() {
    let mut desk = desk();
    let (up, out, asked) = put(&mut desk);
    assert_eq!(out.to, TARGET.parse().unwrap());
    assert!(
        out.start().starts_with("INVITE sip:2000@127.0.0.3"),
        "{}",
        out.start()
    );
    assert!(out.header("From").contains("sip:1000@"), "the transferee calls");
    assert_eq!(out.body(), "");
    assert!(!out.text.contains("127.0.0.2") && !out.text.contains("4930123"));
    assert_eq!(asked.header("Call-ID"), up.invite.header("Call-ID"));
    assert_eq!(asked.media_port(), up.invite.media_port());
    assert!(!asked.text.contains("target"));
    let sent = desk.callee(&accepted(&asked));
    assert_eq!(kinds(&sent), ["B<ACK", "A<NOTIFY", "A<BYE", "B<ACK"]);
    final_notify(&sent, "SIP/2.0 200 OK");
    let ack = &sent[3];
    assert_eq!(ack.header("Call-ID"), out.header("Call-ID"));
    assert!(![up.ok.media_port(), up.invite.media_port()].contains(&ack.media_port()));
    // A repeated 2xx gets the same ACK.
    let again = desk.callee(&answered(&out));
    assert_eq!(kinds(&again), ["B<ACK"]);
    assert_eq!(again[0].text, ack.text);
    for kind in ["NOTIFY", "BYE"] {
        desk.caller(&response(only(&sent, kind), 200, "", "", ""));
    }
    let record = &desk.records[0];
    assert_eq!((record.status, record.cause), (200, "transferred"));
    assert_eq!((&*record.from_trunk, &*record.to_trunk), ("carrier", "platform"));
    assert_eq!(desk.shard.gauges().calls, 1);
    assert_eq!(desk.shard.gauges().media_pairs, 2);
    // The target is a side like any: it can say things and hang up.
    let sent = desk.callee(&of_target(&out, "INFO", 1, "ti", ""));
    assert_eq!(only(&sent, "INFO").header("Call-ID"), up.invite.header("Call-ID"));
    let sent = desk.callee(&of_target(&out, "BYE", 2, "tb", ""));
    assert_eq!(only(&sent, "BYE").header("Call-ID"), up.invite.header("Call-ID"));
    desk.assert_quiet();
    let record = &desk.records[1];
    assert_eq!((&*record.from_trunk, &*record.to_trunk), ("platform", "platform"));
    assert_eq!((&*record.caller, &*record.callee), ("1000", "2000"));
    assert_eq!(desk.shard.counters().transfers, 1);
}

#[test]
fn the_callee_transfers_the_caller() {
    let mut desk = desk();
    let up = establish(&mut desk);
    let refer = callee_request(&up.invite, "REFER", 2, "r", "").replace(
        "Content-Length",
        "Refer-To: <sip:3000@127.0.0.3>\r\nContent-Length",
    );
    let sent = desk.callee(&refer);
    assert_eq!(kinds(&sent), ["B<202", "B<NOTIFY", "A<INVITE"]);
    let out = only(&sent, "INVITE").clone();
    assert!(out.header("From").contains("sip:4930123@"));
    assert!(!out.text.contains("127.0.0.3") && !out.text.contains("Alice"));
    let answer = response(&out, 200, "targettag", "sip:carol@127.0.0.2:5060", TARGET_SDP);
    let sent = desk.caller(&answer);
    assert_eq!(kinds(&sent), ["A<INVITE"]);
    let asked = only(&sent, "INVITE").clone();
    assert_eq!(asked.header("Call-ID"), "caller-call-id");
    let sent = desk.caller(&response(&asked, 200, "", "sip:alice@127.0.0.2:5060", OFFER));
    assert_eq!(kinds(&sent), ["A<ACK", "B<NOTIFY", "B<BYE", "A<ACK"]);
    final_notify(&sent, "SIP/2.0 200 OK");
    let sent = desk.caller(&request("BYE", &up.contact, 9, "bye", &up.tag, ""));
    assert_eq!(kinds(&sent), ["A<200", "A<BYE"]);
    assert_eq!(only(&sent, "BYE").header("Call-ID"), out.header("Call-ID"));
    desk.assert_quiet();
    let record = &desk.records[1];
    assert_eq!((&*record.caller, &*record.callee), ("4930123", "3000"));
}

#[test]
fn who_was_anonymous_stays_so() {
    let mut desk = desk();
    let hidden = |text: String| {
        text.replace(
            "\"Alice\" <sip:4930123@127.0.0.2>",
            "\"Anonymous\" <sip:anonymous@anonymous.invalid>",
        )
        .replace("Content-Length", "Privacy: id\r\nContent-Length")
    };
    let sent = desk.caller(&hidden(invite()));
    let first = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&first));
    let tag = tag_of(only(&sent, "200").header("To"));
    desk.caller(&hidden(request("ACK", "sip:1000@127.0.0.1", 1, "ack1", &tag, "")));
    let refer = callee_request(&first, "REFER", 2, "r", "").replace(
        "Content-Length",
        "Refer-To: <sip:3000@127.0.0.3>\r\nContent-Length",
    );
    let sent = desk.callee(&refer);
    let out = only(&sent, "INVITE").clone();
    assert!(out.header("From").contains("anonymous.invalid"), "{}", out.text);
    assert_eq!(out.header("Privacy"), "id");
    desk.callee(&callee_request(&first, "BYE", 3, "b", ""));
    desk.assert_quiet();
}

#[test]
fn a_target_that_is_busy_leaves_the_call_as_it_was() {
    let mut desk = desk();
    let (up, out) = called(&mut desk);
    assert!(
        desk.callee(&response(&out, 180, "targettag", "sip:c@127.0.0.3", ""))
            .is_empty()
    );
    let sent = desk.callee(&response(&out, 486, "targettag", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<NOTIFY"]);
    final_notify(&sent, "SIP/2.0 486 Busy Here");
    still_talking(&mut desk, &up);
}

#[test]
fn a_target_that_does_not_answer_is_given_up() {
    let mut config = config::default_config();
    config.sip.no_answer_s = 30;
    let mut desk = desk_of(config);
    let (up, out) = called(&mut desk);
    desk.callee(&response(&out, 180, "targettag", "sip:c@127.0.0.3", ""));
    let sent = desk.pass(seconds(31));
    let cancel = sent.iter().find(|s| s.kind() == "CANCEL").unwrap();
    assert_eq!(cancel.header("Call-ID"), out.header("Call-ID"));
    let notify = sent.iter().find(|s| s.kind() == "NOTIFY").unwrap();
    assert_eq!(told(notify).0, "SIP/2.0 408 Request Timeout");
    assert!(sent.iter().all(|s| s.kind() != "BYE"));
    // Its answer crosses the CANCEL: nobody wants it.
    let sent = desk.callee(&answered(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "B<BYE"]);
    let again = desk.callee(&answered(&out));
    assert_eq!(kinds(&again), ["B<ACK"]);
    desk.callee(&response(&sent[1], 200, "", "", ""));
    still_talking(&mut desk, &up);
}

#[test]
fn a_target_that_is_not_there_is_given_up() {
    let mut desk = desk();
    let (up, _) = called(&mut desk);
    let sent = desk.pass(seconds(33));
    let notify = sent.iter().find(|s| s.kind() == "NOTIFY").unwrap();
    assert_eq!(told(notify).0, "SIP/2.0 408 Request Timeout");
    still_talking(&mut desk, &up);
}

#[test]
fn when_either_side_hangs_up_meanwhile_all_is_over() {
    for by_caller in [true, false] {
        let mut desk = desk();
        let (up, out) = called(&mut desk);
        desk.callee(&response(&out, 180, "targettag", "sip:c@127.0.0.3", ""));
        let sent = match by_caller {
            true => desk.caller(&request("BYE", &up.contact, 9, "bye", &up.tag, "")),
            false => desk.callee(&callee_request(&up.invite, "BYE", 9, "cb", "")),
        };
        let kinds = kinds(&sent);
        match by_caller {
            true => assert_eq!(kinds, ["A<200", "B<CANCEL", "B<BYE"]),
            false => assert_eq!(kinds, ["B<200", "B<CANCEL", "A<BYE"]),
        }
        desk.callee(&response(only(&sent, "CANCEL"), 200, "targettag", "", ""));
        assert_eq!(
            self::kinds(&desk.callee(&response(&out, 487, "targettag", "", ""))),
            ["B<ACK"]
        );
        desk.assert_quiet();
        assert_eq!(desk.records.len(), 2);
    }
}

#[test]
fn when_a_side_hangs_up_while_the_transferee_is_asked_all_is_over() {
    for by in 0..3 {
        let mut desk = desk();
        let (up, out, asked) = put(&mut desk);
        let sent = match by {
            0 => desk.caller(&request("BYE", &up.contact, 9, "bye", &up.tag, "")),
            1 => desk.callee(&callee_request(&up.invite, "BYE", 9, "cb", "")),
            _ => desk.callee(&of_target(&out, "BYE", 1, "tb", "")),
        };
        let to_target: Vec<_> = sent
            .iter()
            .filter(|s| s.text.contains(out.header("Call-ID")) && s.kind() != "200")
            .map(Sent::kind)
            .collect();
        assert_eq!(to_target, ["ACK", "BYE"], "{by}");
        assert_eq!(kinds(&desk.callee(&accepted(&asked))), ["B<ACK"]);
        desk.assert_quiet();
        assert_eq!(desk.records.len(), 2);
    }
}

#[test]
fn a_transferee_that_will_not_keeps_talking_to_the_referrer() {
    let mut desk = desk();
    let (up, out, asked) = put(&mut desk);
    let sent = desk.callee(&response(&asked, 488, "", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "B<ACK", "B<BYE", "A<NOTIFY"]);
    assert_eq!(only(&sent, "BYE").header("Call-ID"), out.header("Call-ID"));
    final_notify(&sent, "SIP/2.0 488 Not Acceptable Here");
    still_talking(&mut desk, &up);
}

#[test]
fn a_target_that_offers_nothing_is_turned_away() {
    let mut desk = desk();
    let (up, out) = called(&mut desk);
    let sent = desk.callee(&response(&out, 200, "targettag", "sip:carol@127.0.0.3:5060", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "B<BYE", "A<NOTIFY"]);
    still_talking(&mut desk, &up);
}

#[test]
fn a_second_refer_has_to_wait() {
    let mut desk = desk();
    let (up, out) = called(&mut desk);
    assert_eq!(kinds(&desk.caller(&refer(&up, 3))), ["A<500"]);
    desk.callee(&response(&out, 603, "targettag", "", ""));
    still_talking(&mut desk, &up);
}

#[test]
fn it_counts_as_a_call() {
    let mut config = config::default_config();
    config.limits.channels = 1;
    let mut desk = desk_of(config);
    let up = establish(&mut desk);
    assert_eq!(kinds(&desk.caller(&refer(&up, 2))), ["A<503"]);
    desk.caller(&request("BYE", &up.contact, 90, "bye", &up.tag, ""));
    desk.assert_quiet();
    assert_eq!(desk.records.len(), 1);
}

#[test]
fn one_with_replaces_passes() {
    let mut desk = desk();
    let up = establish(&mut desk);
    let replaces = format!("caller-call-id%3Bto-tag%3D{}%3Bfrom-tag%3Dcallertag", up.tag);
    let refer = refer(&up, 2).replace("2000@127.0.0.2", &format!("2000@127.0.0.2?Replaces={replaces}"));
    assert_eq!(kinds(&desk.caller(&refer)), ["B<REFER"]);
    desk.caller(&request("BYE", &up.contact, 90, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn whoever_takes_the_place_of_the_referrer_ends_the_transfer() {
    let mut desk = desk();
    let (up, out) = called(&mut desk);
    desk.callee(&response(&out, 180, "targettag", "sip:c@127.0.0.3", ""));
    let replaces = format!("caller-call-id;to-tag={};from-tag=callertag", up.tag);
    let invite = request("INVITE", "sip:1000@127.0.0.1", 1, "n1", "", &next_version(OFFER))
        .replace("caller-call-id", "new-call-id")
        .replace("callertag", "newtag")
        .replace(
            "Content-Length",
            &format!("Replaces: {replaces}\r\nContent-Length"),
        );
    let sent = desk.caller(&invite);
    let asked = only(&sent, "INVITE").clone();
    let sent = desk.callee(&accepted(&asked));
    assert_eq!(kinds(&sent), ["B<ACK", "B<CANCEL", "A<NOTIFY", "A<BYE", "A<200"]);
    final_notify(&sent, "SIP/2.0 487 Request Terminated");
    desk.callee(&response(&out, 487, "targettag", "", ""));
    desk.callee(&callee_request(&up.invite, "BYE", 9, "cb", ""));
    desk.assert_quiet();
    assert_eq!(desk.records.len(), 3);
}

#[test]
fn an_answer_amid_another_change_is_turned_away() {
    let mut desk = desk();
    let (up, out) = called(&mut desk);
    let hold = request("INVITE", &up.contact, 3, "hold", &up.tag, &next_version(OFFER));
    let sent = desk.caller(&hold);
    let asked = only(&sent, "INVITE").clone();
    let sent = desk.callee(&answered(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "B<BYE", "A<NOTIFY"]);
    final_notify(&sent, "SIP/2.0 491 Request Pending");
    desk.callee(&response(&asked, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    desk.caller(&request("ACK", &up.contact, 3, "hack", &up.tag, ""));
    still_talking(&mut desk, &up);
}
