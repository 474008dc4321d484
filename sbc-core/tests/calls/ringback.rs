//! What callers are told before there is an answer, where their trunk wants ringback of our own (docs/adr/0006).

use crate::{
    desk::*,
    reliable::{prack, reliable, requiring, supporting},
};
use sbc_core::config;

/// The shard with lines of configuration for the caller's trunk and for the callee's.
pub(crate) fn desk(caller: &str, callee: &str) -> Desk {
    let text = config::DEFAULT_TOML
        .replace("name = \"carrier\"", &format!("name = \"carrier\"\n{caller}"))
        .replace("name = \"platform\"", &format!("name = \"platform\"\n{callee}"));
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

pub(crate) const RINGING: &str = "ringback = \"ringing\"";
pub(crate) const TONE: &str = "ringback = \"tone\"\nringback_tone = \"DE\"";
pub(crate) const INSTANT: &str = "ringback = \"instant_tone\"\nringback_tone = \"DE\"";

/// An offer of the caller with many codecs, A-law before μ-law.
pub(crate) const RICH: &str = "v=0\r\no=caller 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 9 8 0 18 101 13\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n";

/// An answer of the callee with these payload types.
pub(crate) fn answer_with(numbers: &str) -> String {
    let events = numbers
        .split(' ')
        .filter(|number| matches!(*number, "96" | "101"));
    let maps: String = events
        .map(|number| format!("a=rtpmap:{number} telephone-event/8000\r\n"))
        .collect();
    ANSWER.replace("AVP 0\r\n", &format!("AVP {numbers}\r\n{maps}"))
}

pub(crate) fn numbers(sent: &Sent) -> &str {
    let line = sent.body().lines().find(|l| l.starts_with("m=audio")).unwrap();
    line.split_once("AVP ").unwrap().1
}

pub(crate) fn call(desk: &mut Desk, offer: &str) -> Vec<Sent> {
    desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", offer))
}

/// Our INVITE to the callee.
pub(crate) fn invited(desk: &mut Desk, offer: &str) -> Sent {
    only(&call(desk, offer), "INVITE").clone()
}

pub(crate) fn rings(desk: &mut Desk, invite: &Sent) -> Vec<Sent> {
    desk.callee(&response(invite, 180, "calleetag", "sip:bob@127.0.0.3:5060", ""))
}

pub(crate) fn says(desk: &mut Desk, invite: &Sent, status: u16, tag: &str, body: &str) -> Vec<Sent> {
    desk.callee(&response(invite, status, tag, "sip:bob@127.0.0.3:5060", body))
}

/// The caller acknowledges `ok` and hangs up; nothing stays.
pub(crate) fn hang_up(desk: &mut Desk, ok: &Sent, cseq: u32) {
    let tag = tag_of(ok.header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    let sent = desk.caller(&request("BYE", "sip:x@127.0.0.1", cseq, "bye", &tag, ""));
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn ringing_is_said_at_once_and_not_again_for_every_fork() {
    let mut desk = desk(RINGING, "");
    let sent = call(&mut desk, RICH);
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE", "A<180"]);
    let out = only(&sent, "INVITE").clone();
    assert_eq!(numbers(&out), "9 8 0 18 101 13", "all codecs");
    desk.pass(seconds(2));
    assert!(rings(&mut desk, &out).is_empty());
    assert!(says(&mut desk, &out, 183, "other", "").is_empty());
    assert_eq!(
        kinds(&says(&mut desk, &out, 181, "calleetag", "")),
        ["A<181"],
        "news"
    );
    // RFC 3261 §13.3.1.1: what is repeated each minute keeps proxies patient.
    desk.pass(seconds(60));
    assert_eq!(kinds(&rings(&mut desk, &out)), ["A<180"]);
    let sent = says(&mut desk, &out, 183, "calleetag", &answer_with("8"));
    assert_eq!(
        numbers(only(&sent, "183")),
        "8",
        "media of the callee's own is as ever"
    );
    let sent = says(&mut desk, &out, 200, "calleetag", &answer_with("8"));
    let ok = only(&sent, "200").clone();
    assert_eq!(numbers(&ok), "8");
    hang_up(&mut desk, &ok, 2);
    assert_eq!(desk.records[0].ringing_ms, Some(2000), "when the callee rang");
}

#[test]
fn a_caller_that_requires_it_hears_of_ringing_reliably_whatever_the_callee_does() {
    let mut desk = desk(RINGING, "");
    let sent = desk.caller(&requiring(&invite()));
    let (out, early) = (only(&sent, "INVITE").clone(), only(&sent, "180").clone());
    assert!(early.has("RSeq"));
    let again = desk.pass(seconds(2));
    assert_eq!(kinds(&again).iter().filter(|kind| *kind == "A<180").count(), 2);
    assert_eq!(kinds(&desk.caller(&prack(&early, 2, "p1", ""))), ["A<200"]);
    let sent = says(&mut desk, &out, 183, "calleetag", ANSWER);
    let second = only(&sent, "183").clone();
    let rseq = |sent: &Sent| sent.header("RSeq").parse::<u32>().unwrap();
    assert_eq!(rseq(&second), rseq(&early) + 1);
    desk.caller(&prack(&second, 3, "p2", ""));
    let sent = desk.callee(&ok(&out));
    hang_up(&mut desk, &only(&sent, "200").clone(), 4);
}

#[test]
fn the_caller_is_answered_its_favourite_law_and_the_callee_offered_both() {
    let mut desk = desk(TONE, "");
    let sent = call(&mut desk, RICH);
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"], "it does not ring yet");
    let out = only(&sent, "INVITE").clone();
    assert_eq!(numbers(&out), "8 0 101");
    let sent = rings(&mut desk, &out);
    let early = only(&sent, "183").clone();
    assert_eq!(kinds(&sent), ["A<183"]);
    assert_eq!(numbers(&early), "8 101");
    assert!(early.body().contains("a=fmtp:101 0-15\r\n"), "{}", early.body());
    assert!(!early.body().contains("o=caller"));
    assert!(rings(&mut desk, &out).is_empty());
    // μ-law and another number for events: the caller is told the same once more, to the octet.
    let sent = says(&mut desk, &out, 200, "calleetag", &answer_with("0 96 101"));
    let ok = only(&sent, "200").clone();
    assert_eq!(ok.body(), early.body());
    hang_up(&mut desk, &ok, 2);
    assert_eq!(desk.shard.counters().ringback_tones, 1);
}

#[test]
fn an_instant_tone_comes_with_the_invite() {
    let mut desk = desk(INSTANT, "");
    let sent = call(&mut desk, RICH);
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE", "A<183"]);
    let (out, early) = (only(&sent, "INVITE").clone(), only(&sent, "183").clone());
    assert!(rings(&mut desk, &out).is_empty());
    let sent = says(&mut desk, &out, 181, "calleetag", "");
    assert_eq!(only(&sent, "181").body(), "");
    desk.pass(seconds(60));
    let sent = rings(&mut desk, &out);
    assert_eq!(
        kinds(&sent),
        ["A<183"],
        "a 180 would have the caller make a tone of its own"
    );
    assert_eq!(sent[0].body(), "");
    let sent = says(&mut desk, &out, 200, "calleetag", &answer_with("8 101"));
    let ok = only(&sent, "200").clone();
    assert_eq!(ok.body(), early.body());
    hang_up(&mut desk, &ok, 2);
}

#[test]
fn told_reliably_it_is_not_told_again() {
    let mut desk = desk(TONE, "");
    let sent = desk.caller(&supporting(&invite()));
    let out = only(&sent, "INVITE").clone();
    let early = only(&rings(&mut desk, &out), "183").clone();
    assert!(early.has("RSeq"));
    // RFC 3262 §5: the 2xx waits.
    assert_eq!(kinds(&desk.callee(&ok(&out))), ["B<ACK"]);
    let sent = desk.caller(&prack(&early, 2, "p1", ""));
    assert_eq!(kinds(&sent), ["A<200", "A<200"]);
    assert_eq!(sent[1].body(), "");
    hang_up(&mut desk, &sent[1].clone(), 3);
}

#[test]
fn a_caller_that_never_acknowledges_ours_has_failed() {
    let mut desk = desk(TONE, "");
    let sent = desk.caller(&requiring(&invite()));
    let out = only(&sent, "INVITE").clone();
    rings(&mut desk, &out);
    let sent = desk.pass(seconds(33));
    assert!(kinds(&sent).contains(&"A<504".to_owned()), "{:?}", kinds(&sent));
    desk.callee(&response(&out, 487, "calleetag", "", ""));
    desk.assert_quiet();
    assert_eq!(desk.records[0].cause, "no_prack");
}

#[test]
fn media_of_the_callee_that_comes_first_is_passed() {
    let mut desk = desk(TONE, "");
    let out = invited(&mut desk, RICH);
    let sent = says(&mut desk, &out, 183, "calleetag", &answer_with("0 101"));
    assert_eq!(numbers(only(&sent, "183")), "0 101");
    assert_eq!(kinds(&rings(&mut desk, &out)), ["A<180"]);
    let sent = says(&mut desk, &out, 200, "calleetag", &answer_with("0 101"));
    let ok = only(&sent, "200").clone();
    assert_eq!(numbers(&ok), "0 101");
    hang_up(&mut desk, &ok, 2);
    assert_eq!(desk.shard.counters().ringback_tones, 0);
}

#[test]
fn a_caller_that_cannot_be_played_a_tone_hears_that_it_rings_and_keeps_its_codecs() {
    let wideband = RICH.replace(" 8 0 ", " ");
    for (offer, callee) in [
        ("", ""),
        (&*wideband, ""),
        (&*RICH.replace("sendrecv", "sendonly"), ""),
        (&*RICH.replace("sendrecv", "recvonly"), ""),
        (&*RICH.replace("c=IN IP4 127.0.0.2", "c=IN IP4 0.0.0.0"), ""),
        (RICH, "codecs = [\"G722\", \"telephone-event\"]"),
    ] {
        for caller in [TONE, INSTANT] {
            let mut desk = desk(caller, callee);
            let sent = call(&mut desk, offer);
            assert_eq!(kinds(&sent), ["A<100", "B<INVITE", "A<180"], "{offer}");
            let out = only(&sent, "INVITE").clone();
            if !offer.is_empty() {
                assert!(numbers(&out).starts_with('9'), "{}", out.body());
            }
            assert!(rings(&mut desk, &out).is_empty());
            let mut sent = says(&mut desk, &out, 486, "calleetag", "");
            assert_eq!(only(&sent, "486").kind(), "486");
            sent = desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv1", "x", ""));
            assert!(sent.is_empty());
            desk.assert_quiet();
        }
    }
}

#[test]
fn an_answer_without_any_law_is_no_answer() {
    let mut desk = desk(TONE, "");
    let out = invited(&mut desk, RICH);
    rings(&mut desk, &out);
    let sent = says(&mut desk, &out, 200, "calleetag", &answer_with("18"));
    assert_eq!(kinds(&sent), ["B<ACK", "A<488", "B<BYE"]);
    // Nor is one that refuses the audio.
    let mut desk = self::desk(TONE, "");
    let out = invited(&mut desk, RICH);
    rings(&mut desk, &out);
    let sent = says(&mut desk, &out, 200, "calleetag", &ANSWER.replace("6000", "0"));
    assert_eq!(kinds(&sent), ["B<ACK", "A<502", "B<BYE"]);
}

#[test]
fn every_line_of_the_offer_is_answered() {
    let video = "m=video 5000 RTP/AVP 31\r\n";
    let image = "m=image 5002 udptl t38\r\n";
    let session = RICH.split_once("m=audio").unwrap();
    let mut desk = desk(TONE, "");
    let out = invited(
        &mut desk,
        &format!("{}{video}m=audio{}{image}", session.0, session.1),
    );
    let early = only(&rings(&mut desk, &out), "183").clone();
    let lines: Vec<&str> = early.body().lines().filter(|l| l.starts_with("m=")).collect();
    assert_eq!(lines[0], "m=video 0 RTP/AVP 31");
    assert!(lines[1].ends_with("RTP/AVP 8 101") && early.media_port() != 0);
    assert_eq!(lines[2], "m=image 0 udptl t38");
    // A callee that swallows lines changes nothing for the caller.
    let sent = says(&mut desk, &out, 200, "calleetag", &answer_with("8"));
    assert_eq!(only(&sent, "200").body(), early.body());
}

#[test]
fn descriptions_of_forks_direct_the_relay_and_are_not_told() {
    let mut desk = desk(TONE, "");
    let out = invited(&mut desk, RICH);
    let early = only(&rings(&mut desk, &out), "183").clone();
    assert!(says(&mut desk, &out, 183, "one", &answer_with("8")).is_empty());
    assert_eq!(
        kinds(&desk.callee(&reliable(&out, 183, "two", 7, &answer_with("0 96")))),
        ["B<PRACK"]
    );
    let sent = says(&mut desk, &out, 200, "three", &answer_with("0"));
    assert_eq!(only(&sent, "200").body(), early.body());
}

#[test]
fn what_is_offered_after_the_answer_has_all_codecs_again() {
    let mut desk = desk(TONE, "");
    let out = invited(&mut desk, RICH);
    rings(&mut desk, &out);
    let sent = says(&mut desk, &out, 200, "calleetag", &answer_with("8 101"));
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    // The same offer again changes nothing and is answered the same.
    let sent = desk.caller(&request("INVITE", "sip:x@127.0.0.1", 2, "re1", &tag, RICH));
    assert_eq!(kinds(&sent), ["A<100", "A<200"]);
    assert_eq!(sent[1].body(), ok.body());
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 2, "ack2", &tag, ""));
    let sent = desk.caller(&request(
        "INVITE",
        "sip:x@127.0.0.1",
        3,
        "re2",
        &tag,
        &next_version(RICH),
    ));
    let re = only(&sent, "INVITE").clone();
    assert_eq!(numbers(&re), "9 8 0 18 101 13");
    let sent = desk.callee(&response(
        &re,
        200,
        "",
        "sip:bob@127.0.0.3:5060",
        &next_version(&answer_with("9 101")),
    ));
    let second = only(&sent, "200");
    assert_eq!(numbers(second), "9 101");
    let version = |sent: &Sent| {
        sent.body()
            .lines()
            .nth(1)
            .unwrap()
            .split(' ')
            .nth(2)
            .unwrap()
            .parse::<u64>()
    };
    assert_eq!(version(second).unwrap(), version(&ok).unwrap() + 1);
}

#[test]
fn a_caller_whose_digits_come_otherwise_is_not_told_of_events() {
    for (dtmf, expected) in [
        ("inband", "8"),
        ("info", "8"),
        ("rfc4733", "8 101"),
        ("auto", "8 101"),
    ] {
        let mut desk = desk(&format!("{TONE}\ndtmf = \"{dtmf}\""), "");
        let out = invited(&mut desk, RICH);
        let early = only(&rings(&mut desk, &out), "183").clone();
        assert_eq!(numbers(&early), expected, "{dtmf}");
        let sent = says(&mut desk, &out, 200, "calleetag", &answer_with("0 101"));
        let ok = only(&sent, "200").clone();
        assert_eq!(ok.body(), early.body());
        hang_up(&mut desk, &ok, 2);
    }
}
