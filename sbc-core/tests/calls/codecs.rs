//! Codecs of trunks with a list of their own, and G.711 from one law to the other (M5, correctness 34).

use crate::desk::*;
use sbc_core::config;
use sbc_media::{
    g711,
    relay::{DropReason, PairIndex, Verdict},
};
use std::net::SocketAddr;

fn desk(caller: &str, callee: &str) -> Desk {
    let line = |list: &str| {
        if list.is_empty() {
            String::new()
        } else {
            format!("\ncodecs = {list}")
        }
    };
    let text = config::DEFAULT_TOML
        .replace(
            "name = \"carrier\"",
            &format!("name = \"carrier\"{}", line(caller)),
        )
        .replace(
            "name = \"platform\"",
            &format!("name = \"platform\"{}", line(callee)),
        );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

/// An m-line with these payload types, and what they stand for.
fn with(sdp: &str, numbers: &str) -> String {
    let (session, _) = sdp.split_once("m=audio").unwrap();
    let port = if sdp == OFFER { 4000 } else { 6000 };
    let mut body = format!("{session}m=audio {port} RTP/AVP {numbers}\r\n");
    for number in numbers.split(' ') {
        let map = match number {
            "96" | "101" => "telephone-event/8000",
            "97" => "opus/48000/2",
            _ => continue,
        };
        body.push_str(&format!("a=rtpmap:{number} {map}\r\n"));
        if map.starts_with("telephone") {
            body.push_str(&format!("a=fmtp:{number} 0-15\r\n"));
        }
    }
    body
}

fn numbers(sent: &Sent) -> String {
    let line = sent.body().lines().find(|l| l.starts_with("m=audio")).unwrap();
    line.split_once("AVP ").unwrap().1.to_owned()
}

fn call(desk: &mut Desk, offer: &str) -> Vec<Sent> {
    desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", offer))
}

/// What the callee is offered, and what the caller is answered.
fn establish(desk: &mut Desk, offer: &str, answer: &str) -> (Sent, Sent) {
    let invite = only(&call(desk, offer), "INVITE").clone();
    let sent = desk.callee(&response(
        &invite,
        200,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        answer,
    ));
    let ok = only(&sent, "200").clone();
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    desk.caller(&request("ACK", &contact, 1, "ack1", &tag_of(ok.header("To")), ""));
    (invite, ok)
}

/// What becomes of a packet of `payload` with payload type `number` that comes from one side: its payload type and
/// payload on the other.
fn relay(desk: &mut Desk, from_caller: bool, number: u8, payload: &[u8]) -> Option<(u8, Vec<u8>)> {
    let (pair, from) = if from_caller {
        (PairIndex(0), "127.0.0.2:4000")
    } else {
        (PairIndex(1), "127.0.0.3:6000")
    };
    let mut packet = vec![0x80, number, 0, 7, 0, 0, 0, 9, 1, 2, 3, 4];
    packet.extend_from_slice(payload);
    let len = packet.len();
    packet.resize(len + 256, 0);
    let from: SocketAddr = from.parse().unwrap();
    match desk
        .shard
        .relay
        .forward(desk.now, pair.rtp(), from, &mut packet, len)
    {
        Verdict::Forward { len, .. } => Some((packet[1], packet[12..len].to_vec())),
        Verdict::Drop(reason) => {
            assert_eq!(reason, DropReason::Format);
            None
        }
    }
}

#[test]
fn without_a_list_all_pass() {
    let mut desk = desk("", "");
    let (invite, ok) = establish(&mut desk, &with(OFFER, "97 0 8 101"), &with(ANSWER, "0 96"));
    assert_eq!(numbers(&invite), "97 0 8 101");
    assert_eq!(numbers(&ok), "0 96");
    assert_eq!(relay(&mut desk, true, 96, b"abcd"), Some((96, b"abcd".to_vec())));
}

#[test]
fn a_list_is_the_order_and_the_limit_of_what_is_offered() {
    let list = r#"["PCMA", "PCMU", "telephone-event"]"#;
    let mut desk = desk("", list);
    let (invite, ok) = establish(&mut desk, &with(OFFER, "97 0 8 101"), &with(ANSWER, "8 101"));
    assert_eq!(numbers(&invite), "8 0 101");
    assert!(!invite.body().contains("opus"), "{}", invite.body());
    assert!(invite.body().contains("a=fmtp:101 0-15\r\n"));
    assert_eq!(numbers(&ok), "8 101");
    for number in [0, 8, 101] {
        let same = Some((number, vec![1, 2, 3, 4]));
        assert_eq!(relay(&mut desk, true, number, &[1, 2, 3, 4]), same, "untouched");
    }
    // The caller's trunk has a say, too.
    let mut desk = self::desk(r#"["PCMU"]"#, "");
    let invite = call(&mut desk, &with(OFFER, "97 0 8 101"));
    assert_eq!(numbers(only(&invite, "INVITE")), "0");
}

#[test]
fn one_law_becomes_the_other_where_nothing_is_common() {
    for (offered, listed, told, back) in [
        ("0 101", "PCMA", "8 101", "0 101"),
        ("8 101", "PCMU", "0 101", "8 101"),
    ] {
        let list = format!(r#"["{listed}", "telephone-event"]"#);
        let mut desk = desk("", &list);
        let (invite, ok) = establish(&mut desk, &with(OFFER, offered), &with(ANSWER, told));
        assert_eq!(numbers(&invite), told);
        let map = format!("a=rtpmap:{} {listed}/8000\r\n", &told[..1]);
        assert!(invite.body().contains(&map), "{}", invite.body());
        assert_eq!(numbers(&ok), back);
        let (ours, theirs): (u8, u8) = (offered[..1].parse().unwrap(), told[..1].parse().unwrap());
        let speech = [0x2a, 0x55, 0xd5, 0xff];
        let law = |number: u8| {
            if number == 0 {
                g711::ulaw_to_alaw
            } else {
                g711::alaw_to_ulaw
            }
        };
        let (mut to_b, mut to_a) = (speech.to_vec(), speech.to_vec());
        law(ours)(&mut to_b);
        law(theirs)(&mut to_a);
        assert_eq!(relay(&mut desk, true, ours, &speech), Some((theirs, to_b)));
        assert_eq!(relay(&mut desk, false, theirs, &speech), Some((ours, to_a)));
        let event = [1, 10, 0, 160];
        assert_eq!(relay(&mut desk, true, 101, &event), Some((101, event.to_vec())));
    }
}

#[test]
fn an_answer_with_the_common_law_needs_no_conversion() {
    let mut desk = desk("", r#"["PCMA", "PCMU"]"#);
    let (invite, ok) = establish(&mut desk, &with(OFFER, "0"), &with(ANSWER, "0"));
    assert_eq!((numbers(&invite).as_str(), numbers(&ok).as_str()), ("0", "0"));
    assert_eq!(relay(&mut desk, true, 0, &[0xff]), Some((0, vec![0xff])));
}

#[test]
fn numbers_of_events_stay_each_sides_own() {
    // Correctness 34: the caller is told by which number the callee wants them, and sends by that.
    let mut desk = desk("", r#"["PCMA", "telephone-event"]"#);
    let (_, ok) = establish(&mut desk, &with(OFFER, "0 101"), &with(ANSWER, "8 96"));
    assert_eq!(numbers(&ok), "0 96");
    assert_eq!(relay(&mut desk, true, 96, &[1; 4]), Some((96, vec![1; 4])));
    assert_eq!(relay(&mut desk, false, 101, &[1; 4]), Some((101, vec![1; 4])));
}

#[test]
fn a_caller_that_was_told_for_good_is_understood_by_another_fork() {
    // The first fork's answer is final for the caller; the second has other numbers and the other law.
    let offer = with(OFFER, "0 101");
    let mut desk = desk("", r#"["PCMU", "PCMA", "telephone-event"]"#);
    let invite = request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", &offer)
        .replace("Max-Forwards", "Require: 100rel\r\nMax-Forwards");
    let invite = only(&desk.caller(&invite), "INVITE").clone();
    let early = response(
        &invite,
        183,
        "one",
        "sip:one@127.0.0.3:5060",
        &with(ANSWER, "0 101"),
    );
    let sent = desk.callee(&early);
    let early = only(&sent, "183").clone();
    let tag = tag_of(early.header("To"));
    let contact = early.header("Contact").trim_matches(['<', '>']).to_owned();
    let prack = request("PRACK", &contact, 2, "prack", &tag, "").replace(
        "Max-Forwards",
        &format!("RAck: {} 1 INVITE\r\nMax-Forwards", early.header("RSeq")),
    );
    desk.caller(&prack);
    let sent = desk.callee(&response(
        &invite,
        200,
        "two",
        "sip:two@127.0.0.3:5060",
        &with(ANSWER, "8 96"),
    ));
    assert_eq!(only(&sent, "200").body(), "");
    assert_eq!(relay(&mut desk, true, 0, &[0xff]), Some((8, vec![0xd5])));
    assert_eq!(relay(&mut desk, true, 101, &[1; 4]), Some((96, vec![1; 4])));
}

#[test]
fn nothing_in_common_is_488_with_the_reason() {
    let mut desk = desk("", r#"["G722", "telephone-event"]"#);
    let sent = call(&mut desk, &with(OFFER, "0 8 101"));
    assert_eq!(kinds(&sent), ["A<100", "A<488"]);
    assert!(only(&sent, "488").header("Warning").starts_with("305 "));
    desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv1", "x", ""));
    // Nor does an answer with something else make a call.
    let mut desk = self::desk("", r#"["PCMA"]"#);
    let invite = only(&call(&mut desk, &with(OFFER, "8")), "INVITE").clone();
    let body = with(ANSWER, "97");
    let sent = desk.callee(&response(
        &invite,
        200,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        &body,
    ));
    assert_eq!(kinds(&sent), ["B<ACK", "A<488", "B<BYE"]);
}

#[test]
fn a_side_that_offers_again_is_converted_again() {
    let mut desk = desk("", r#"["PCMA", "telephone-event"]"#);
    let (invite, ok) = establish(&mut desk, &with(OFFER, "0 101"), &with(ANSWER, "8 101"));
    let tag = tag_of(ok.header("To"));
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    let hold = format!("{}a=sendonly\r\n", next_version(&with(OFFER, "0 101")));
    let sent = desk.caller(&request("INVITE", &contact, 2, "re1", &tag, &hold));
    let re = only(&sent, "INVITE").clone();
    assert_eq!(numbers(&re), "8 101");
    desk.callee(&response(
        &re,
        200,
        "",
        "sip:bob@127.0.0.3:5060",
        &with(ANSWER, "8 101"),
    ));
    desk.caller(&request("ACK", &contact, 2, "ack2", &tag, ""));
    // The callee's offer of A-law alone is offered to the caller with the law that it has.
    let body = next_version(&with(ANSWER, "8 101"));
    let sent = desk.callee(&callee_request(&invite, "INVITE", 1, "cre", &body));
    let re = only(&sent, "INVITE").clone();
    assert_eq!(numbers(&re), "0 8 101");
    let sent = desk.caller(&response(
        &re,
        200,
        "",
        "sip:alice@127.0.0.2:5060",
        &with(OFFER, "0 101"),
    ));
    assert_eq!(numbers(only(&sent, "200")), "8 101");
    assert_eq!(relay(&mut desk, true, 0, &[0xff]), Some((8, vec![0xd5])));
    // G.711 has no A-law for zero: the least positive value becomes that of μ-law.
    assert_eq!(relay(&mut desk, false, 8, &[0xd5]), Some((0, vec![0xfe])));
}
