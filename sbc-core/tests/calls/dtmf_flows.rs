//! Digits while a call changes: before its answer, on hold, at its end, when a side is exchanged (M6).

use crate::{
    desk::*,
    dtmf_phone::{Line, Method},
    dtmf_sdp::{desk, with},
};
use sbc_core::sip::{InfoDigit, InfoForm};
use sbc_media::{
    dtmf::{Digit, event::Event},
    relay::PairIndex,
    source::Sound,
};

fn line(methods: [Method; 2]) -> Line {
    Line::new(methods, methods.map(Method::option), 0, 1)
}

const ONE: InfoDigit = InfoDigit {
    digit: Digit::from_code(1).unwrap(),
    duration_ms: 100,
};

/// Whether a digit is being played to the peer of `pair`, or waits to be.
fn plays(line: &mut Line, pair: u32) -> bool {
    match line.desk.shard.relay.sound_mut(PairIndex(pair)) {
        Some(Sound::Events(sender, _)) => sender.waiting() > 0,
        Some(Sound::Digits(generator)) => generator.waiting() > 0,
        _ => false,
    }
}

#[test]
fn in_early_media_an_info_becomes_an_event() {
    let mut desk = desk("info", "rfc4733");
    let sent = desk.caller(&request(
        "INVITE",
        "sip:1000@127.0.0.1",
        1,
        "inv1",
        "",
        &with(OFFER, "0"),
    ));
    let invite = only(&sent, "INVITE").clone();
    let answer = with(ANSWER, "0 101");
    let sent = desk.callee(&response(
        &invite,
        183,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        &answer,
    ));
    let tag = tag_of(only(&sent, "183").header("To"));
    let info = request(
        "INFO",
        "sip:1000@127.0.0.1",
        2,
        "i2",
        &tag,
        "Signal=1\r\nDuration=100",
    )
    .replace("application/sdp", "application/dtmf-relay");
    assert_eq!(kinds(&desk.caller(&info)), ["A<200"]);
    desk.pass(seconds(1));
    let events: Vec<Event> = (desk.own_media.iter())
        .inspect(|own| assert_eq!((own.socket, own.packet[1] & 0x7f), (PairIndex(1).rtp(), 101)))
        .map(|own| Event::read(&own.packet[12..]).unwrap())
        .collect();
    assert_eq!(events.iter().filter(|event| event.end).count(), 3);
    assert!(events.iter().all(|event| event.code == 1), "{events:?}");
    assert_eq!(events.last().unwrap().duration, 800);
    desk.caller(&cancel());
    desk.callee(&response(&invite, 487, "calleetag", "", ""));
    desk.assert_quiet();
}

#[test]
fn in_early_media_an_event_becomes_an_info_in_the_early_dialog() {
    let mut desk = desk("rfc4733", "info");
    let sent = desk.caller(&request(
        "INVITE",
        "sip:1000@127.0.0.1",
        1,
        "inv1",
        "",
        &with(OFFER, "0 101"),
    ));
    let invite = only(&sent, "INVITE").clone();
    let answer = with(ANSWER, "0");
    desk.callee(&response(
        &invite,
        183,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        &answer,
    ));
    for (n, end) in [(0u8, false), (1, false), (2, true)] {
        let event = Event {
            code: 9,
            end,
            volume: 10,
            duration: 160 * (u16::from(n) + 1),
        };
        let mut packet = vec![0x80, 101, 0, n, 0, 0, 0, 0, 1, 2, 3, 4];
        packet.extend_from_slice(&event.to_bytes());
        let len = packet.len();
        packet.resize(300, 0);
        let from = "127.0.0.2:4000".parse().unwrap();
        desk.shard
            .relay
            .forward(desk.now, PairIndex(0).rtp(), from, &mut packet, len);
    }
    let sent = desk.run_media();
    let info = only(&sent, "INFO").clone();
    assert!(info.header("To").ends_with(";tag=calleetag"));
    assert_eq!(info.body(), "Signal=9\r\nDuration=60\r\n");
    desk.callee(&response(&info, 200, "", "", ""));
    desk.caller(&cancel());
    desk.callee(&response(&invite, 487, "calleetag", "", ""));
    desk.assert_quiet();
}

/// The caller changes the direction of its media.
fn direct(line: &mut Line, cseq: u32, version: u32, direction: &str) {
    let offer = with(OFFER, "0").replace("caller 1 1 ", &format!("caller 1 {version} "));
    let offer = format!("{offer}a={direction}\r\n");
    let sent = line.desk.caller(&request(
        "INVITE",
        &line.up.contact,
        cseq,
        &format!("re{cseq}"),
        &line.up.tag,
        &offer,
    ));
    let invite = only(&sent, "INVITE").clone();
    let back = match direction {
        "sendonly" => "recvonly",
        "recvonly" => "sendonly",
        other => other,
    };
    let answer = with(ANSWER, "8 96").replace("callee 7 7 ", &format!("callee 7 {} ", 7 + version));
    let answer = format!("{answer}a={back}\r\n");
    line.desk
        .callee(&response(&invite, 200, "", "sip:bob@127.0.0.3:5060", &answer));
    line.desk.caller(&request(
        "ACK",
        &line.up.contact,
        cseq,
        &format!("ack{cseq}"),
        &line.up.tag,
        "",
    ));
}

#[test]
fn who_holds_may_still_send_digits_and_who_is_held_is_not_kept_waiting_for_them() {
    let mut line = line([Method::Relay, Method::Events]);
    direct(&mut line, 10, 2, "sendonly");
    let sent = line.info(true, 200, InfoForm::Relay, ONE);
    assert_eq!(kinds(&sent), ["A<200"]);
    line.settle();
    assert_eq!(line.phones[1].heard, "1", "the holder's digit");
    // Now the caller only listens: nothing may be sent to the callee.
    direct(&mut line, 300, 3, "recvonly");
    let sent = line.info(true, 301, InfoForm::Relay, ONE);
    assert_eq!(kinds(&sent), ["A<500"]);
    assert_eq!(line.desk.shard.counters().digits_lost, 1);
    direct(&mut line, 400, 4, "sendrecv");
    line.ticks(50);
    assert_eq!(line.phones[1].heard, "1", "it does not come late");
    line.info(true, 402, InfoForm::Relay, ONE);
    line.settle();
    assert_eq!(line.phones[1].heard, "11");
    line.end();
}

#[test]
fn digits_that_are_being_played_when_a_side_goes_on_hold_are_dropped_and_counted() {
    let mut line = line([Method::Relay, Method::Events]);
    for n in 0..5 {
        line.info(true, 200 + n, InfoForm::Relay, ONE);
    }
    line.ticks(3);
    direct(&mut line, 300, 2, "inactive");
    assert!(!plays(&mut line, 1));
    let counters = line.desk.shard.counters();
    assert_eq!(
        (counters.digits_heard, counters.digits_told, counters.digits_lost),
        (5, 0, 5)
    );
    line.end();
}

#[test]
fn a_key_held_down_when_the_call_ends_leaves_nothing() {
    for to in [Method::Relay, Method::Plain, Method::Tones] {
        let mut line = line([Method::Events, to]);
        line.phones[0].hold_down('5');
        line.ticks(20);
        line.end();
    }
}

#[test]
fn an_info_of_ours_that_waits_when_the_call_ends_leaves_nothing() {
    let mut line = line([Method::Events, Method::Relay]);
    line.mute = true;
    line.phones[0].press("123", 80);
    line.settle();
    let info = line.unanswered[0].clone();
    let bye = request("BYE", &line.up.contact, 9_000, "bye", &line.up.tag, "");
    let sent = line.desk.caller(&bye);
    let out = only(&sent, "BYE").clone();
    line.desk.callee(&response(&info, 200, "", "", ""));
    line.desk.callee(&response(&out, 200, "", "", ""));
    line.desk.assert_quiet();
    assert_eq!(line.desk.shard.counters().digits_lost, 3);
    let record = line.desk.records[0].media[1].digits.clone().unwrap();
    assert_eq!((record.told, record.lost), (0, 3));
}

#[test]
fn a_key_held_down_sounds_while_it_is_and_ends_when_its_sender_is_silent() {
    let mut line = line([Method::Events, Method::Tones]);
    line.phones[0].hold_down('5');
    line.ticks(50);
    assert!(plays(&mut line, 1));
    // The network is gone: neither events nor audio.
    for _ in 0..30 {
        let sent = line.desk.pass(crate::dtmf_phone::TICK);
        line.deliver(sent);
    }
    assert!(!plays(&mut line, 1), "200 ms of silence end it (RFC 4733 §2.6.2)");
    assert_eq!(line.phones[1].heard, "5");
    line.end();
}

#[test]
fn a_key_held_down_by_a_side_that_is_replaced_is_let_go() {
    let mut line = line([Method::Events, Method::Tones]);
    line.phones[0].hold_down('5');
    line.ticks(20);
    assert!(plays(&mut line, 1));
    // A new caller takes the caller's place (RFC 3891).
    let tag = &line.up.tag;
    let replaces = format!("Replaces: caller-call-id;to-tag={tag};from-tag=callertag\r\nMax-Forwards");
    let invite = request(
        "INVITE",
        "sip:1000@127.0.0.1",
        1,
        "rep1",
        "",
        &with(OFFER, "0 101"),
    )
    .replace("Max-Forwards", &replaces)
    .replace("caller-call-id\r\nCSeq", "another-call-id\r\nCSeq")
    .replace("tag=callertag\r\nTo", "tag=newtag\r\nTo");
    let sent = line.desk.caller(&invite);
    let asked = only(&sent, "INVITE").clone();
    let answer = with(ANSWER, "8").replace("callee 7 7 ", "callee 7 8 ");
    let sent = line
        .desk
        .callee(&response(&asked, 200, "", "sip:bob@127.0.0.3:5060", &answer));
    assert!(kinds(&sent).contains(&"A<BYE".to_owned()), "{:?}", kinds(&sent));
    line.desk.run_media();
    line.desk.pass(seconds(1));
    assert!(!plays(&mut line, 1));
    let legs = line.desk.media_legs();
    assert_eq!(
        legs[0].digits.as_ref().unwrap().heard,
        0,
        "the new caller has pressed none"
    );
    assert_eq!(legs[1].digits.as_ref().unwrap().told, 1);
}
