//! Digits as INFO requests of ours and of a side: one after the other, bounded, refused, unanswered (M6).

use crate::{
    desk::*,
    dtmf_phone::{Line, Method},
};
use sbc_core::sip::{InfoDigit, InfoForm};
use sbc_media::dtmf::Digit;

fn line(methods: [Method; 2]) -> Line {
    Line::new(methods, methods.map(Method::option), 0, 1)
}

fn digit(character: char) -> InfoDigit {
    InfoDigit {
        digit: Digit::from_char(character).unwrap(),
        duration_ms: 100,
    }
}

fn lost(line: &Line) -> u64 {
    line.desk.shard.counters().digits_lost
}

#[test]
fn an_info_of_ours_is_one_of_its_leg_and_says_how_long_the_digit_was() {
    let mut line = line([Method::Events, Method::Relay]);
    line.mute = true;
    line.phones[0].press("5", 340);
    line.settle();
    let info = line.unanswered.remove(0);
    assert!(!info.to_caller());
    assert_eq!(info.header("Content-Type"), "application/dtmf-relay");
    assert_eq!(info.body(), "Signal=5\r\nDuration=340\r\n");
    assert_eq!(info.header("CSeq"), "2 INFO");
    assert!(
        info.start().starts_with("INFO sip:bob@127.0.0.3:5060"),
        "{}",
        info.start()
    );
    assert!(!info.text.contains("127.0.0.2"), "{}", info.text);
    line.reply(&info, 200);
    line.end();
}

#[test]
fn the_plain_form_is_the_digit_alone() {
    let mut line = line([Method::Tones, Method::Plain]);
    line.mute = true;
    line.phones[0].press("#", 100);
    line.settle();
    let info = line.unanswered.remove(0);
    assert_eq!(
        (info.header("Content-Type"), info.body()),
        ("application/dtmf", "#")
    );
    line.reply(&info, 200);
    line.end();
}

#[test]
fn durations_are_kept_within_a_packet_or_a_block() {
    for (methods, tolerance_ms) in [
        ([Method::Relay, Method::Events], 0),
        ([Method::Relay, Method::Tones], 8),
        ([Method::Events, Method::Relay], 0),
        ([Method::Events, Method::Tones], 48),
        ([Method::Tones, Method::Relay], 8),
        ([Method::Tones, Method::Events], 48),
    ] {
        for duration_ms in [100, 240, 1000] {
            let mut line = line(methods);
            line.phones[0].press("7", duration_ms);
            line.settle();
            let heard = line.phones[1].durations[0];
            assert!(
                heard.abs_diff(duration_ms) <= tolerance_ms,
                "{methods:?}: {duration_ms} became {heard}"
            );
            line.end();
        }
    }
}

#[test]
fn the_next_digit_waits_for_the_answer() {
    let mut line = line([Method::Events, Method::Relay]);
    line.mute = true;
    line.phones[0].press("123", 80);
    line.settle();
    let repeated = line
        .unanswered
        .iter()
        .all(|info| info.text == line.unanswered[0].text);
    assert!(repeated, "only repetitions of the first");
    line.mute = false;
    let first = line.unanswered.remove(0);
    line.answer(&first);
    line.settle();
    assert_eq!(line.phones[1].heard, "123");
    line.end();
}

#[test]
fn a_burst_of_infos_is_played_in_order_one_by_one() {
    let mut line = line([Method::Relay, Method::Events]);
    for (n, character) in (0..).zip("1234567890*#ABCD11223344".chars()) {
        let sent = line.info(true, 200 + n, InfoForm::Relay, digit(character));
        assert_eq!(kinds(&sent), ["A<200"], "answered by us, and not passed");
    }
    line.settle();
    assert_eq!(line.phones[1].heard, "1234567890*#ABCD11223344");
    line.end();
}

#[test]
fn digits_beyond_the_bound_are_refused_and_counted() {
    let mut line = line([Method::Relay, Method::Events]);
    for n in 0..32 {
        let sent = line.info(true, 200 + n, InfoForm::Relay, digit('1'));
        assert_eq!(kinds(&sent), ["A<200"]);
    }
    let sent = line.info(true, 300, InfoForm::Relay, digit('2'));
    assert_eq!(kinds(&sent), ["A<500"]);
    assert!(sent[0].has("Retry-After"));
    assert_eq!(lost(&line), 1);
    line.settle();
    assert_eq!(line.phones[1].heard, "1".repeat(32));
    line.end();
}

#[test]
fn to_a_side_that_does_not_answer_no_more_than_the_bound_wait() {
    let mut line = line([Method::Events, Method::Relay]);
    line.mute = true;
    for _ in 0..2 {
        line.phones[0].press(&"1".repeat(20), 80);
        line.settle();
    }
    assert_eq!(lost(&line), 8, "40 pressed, 32 kept");
    // 64·T1 after the first: all that wait are given up at once.
    line.ticks(50 * 40);
    assert_eq!(lost(&line), 40);
    let counters = line.desk.shard.counters();
    assert_eq!((counters.digits_heard, counters.digits_told), (40, 0));
    line.mute = false;
    line.phones[0].press("5", 80);
    line.settle();
    assert_eq!(line.phones[1].heard, "5", "what comes later is told");
    line.end();
}

#[test]
fn a_digit_that_is_refused_is_lost_and_the_next_is_sent() {
    let mut line = line([Method::Events, Method::Relay]);
    line.mute = true;
    line.phones[0].press("12", 80);
    line.settle();
    let first = line.unanswered[0].clone();
    line.mute = false;
    line.reply(&first, 415);
    line.settle();
    assert_eq!(line.phones[1].heard, "2");
    assert_eq!(lost(&line), 1);
    line.end();
}

#[test]
fn a_side_that_knows_no_such_dialog_has_left_the_call() {
    let mut line = line([Method::Events, Method::Relay]);
    line.mute = true;
    line.phones[0].press("1", 80);
    line.settle();
    let info = line.unanswered[0].clone();
    let sent = line.desk.callee(&response(&info, 481, "", "", ""));
    assert_eq!(kinds(&sent), ["A<BYE", "B<BYE"]);
    line.desk.assert_quiet();
    assert_eq!(line.desk.records[0].cause, "dialog_gone");
}

#[test]
fn what_is_no_digit_passes_to_the_other_side() {
    let mut line = line([Method::Relay, Method::Events]);
    let flash = request(
        "INFO",
        &line.up.contact,
        200,
        "f1",
        &line.up.tag,
        "Signal=16\r\nDuration=160\r\n",
    )
    .replace("application/sdp", "application/dtmf-relay");
    let sent = line.desk.caller(&flash);
    assert_eq!(kinds(&sent), ["B<INFO"]);
    assert_eq!(sent[0].body(), "Signal=16\r\nDuration=160\r\n");
    let sent = line.desk.callee(&response(&sent[0], 200, "", "", ""));
    assert_eq!(kinds(&sent), ["A<200"]);
    let package = request("INFO", &line.up.contact, 201, "f2", &line.up.tag, "Signal=1")
        .replace("application/sdp", "application/dtmf-relay\r\nInfo-Package: x");
    assert_eq!(kinds(&line.desk.caller(&package)), ["B<INFO"]);
    let demanding = request("INFO", &line.up.contact, 202, "f3", &line.up.tag, "Signal=1")
        .replace("application/sdp", "application/dtmf-relay\r\nRequire: x");
    assert_eq!(kinds(&line.desk.caller(&demanding)), ["A<420"]);
    assert_eq!(line.desk.shard.counters().digits_heard, 0);
    line.end();
}

#[test]
fn an_info_that_is_repeated_is_one_digit() {
    let mut line = line([Method::Relay, Method::Events]);
    let first = line.info(true, 200, InfoForm::Relay, digit('4'));
    let again = line.info(true, 200, InfoForm::Relay, digit('4'));
    assert_eq!(first[0].text, again[0].text);
    line.settle();
    assert_eq!(line.phones[1].heard, "4");
    line.end();
}

#[test]
fn a_side_with_another_method_is_not_heard_by_info() {
    // A telephone that is set to send each digit both ways.
    let mut line = line([Method::Events, Method::Tones]);
    line.phones[0].press("6", 100);
    let sent = line.info(true, 200, InfoForm::Relay, digit('6'));
    assert_eq!(kinds(&sent), ["A<200"]);
    line.settle();
    assert_eq!(line.phones[1].heard, "6", "once");
    assert_eq!(line.desk.shard.counters().digits_ignored, 1);
    line.end();
}

#[test]
fn an_operator_sees_how_many_and_never_which() {
    let mut line = line([Method::Events, Method::Relay]);
    line.phones[0].press("98765", 80);
    line.settle();
    let legs = line.desk.media_legs();
    let [a, b] = [0, 1].map(|at| legs[at].digits.clone().unwrap());
    assert_eq!((a.method.as_deref(), a.heard, a.told), (Some("rfc4733"), 5, 0));
    assert_eq!(
        (b.method.as_deref(), b.heard, b.told, b.lost),
        (Some("info"), 0, 5, 0)
    );
    let events = format!("{:?}", line.desk.events);
    assert!(!events.contains("Digit"), "{events}");
    let bye = request("BYE", &line.up.contact, 9_000, "bye", &line.up.tag, "");
    line.desk.caller(&bye);
    line.desk.assert_quiet();
    assert_eq!(line.desk.records[0].media[0].digits.as_ref().unwrap().heard, 5);
}
