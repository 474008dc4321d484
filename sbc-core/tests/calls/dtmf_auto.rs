//! `dtmf = "auto"`: by what a side's description has, and by what it does (M6).

use crate::{
    desk::*,
    dtmf_phone::{Line, Method},
    dtmf_sdp::{connect, desk, with},
};

fn methods(desk: &mut Desk) -> [Option<String>; 2] {
    let legs = desk.media_legs();
    [0, 1].map(|at| legs[at].digits.clone().and_then(|digits| digits.method))
}

fn some(a: &str, b: &str) -> [Option<String>; 2] {
    [Some(a.to_owned()), Some(b.to_owned())]
}

#[test]
fn events_where_both_have_them_else_tones() {
    let mut line = Line::new([Method::Events, Method::Tones], ["auto", "auto"], 0, 1);
    assert_eq!(methods(&mut line.desk), some("rfc4733", "inband"));
    line.phones[0].press("159", 80);
    line.phones[1].press("D0", 80);
    line.settle();
    assert_eq!(
        (line.phones[1].heard.as_str(), line.phones[0].heard.as_str()),
        ("159", "D0")
    );
    line.end();
}

#[test]
fn a_side_without_the_option_is_auto_where_the_other_has_a_method() {
    let mut desk = desk("info", "");
    connect(&mut desk, &with(OFFER, "0"), &with(ANSWER, "0 101"));
    assert_eq!(methods(&mut desk), some("info", "rfc4733"));
}

#[test]
fn without_g711_it_is_info_if_the_side_allows_it() {
    for (allow, expected) in [("INVITE, INFO", Some("info".to_owned())), ("INVITE", None)] {
        let mut desk = desk("auto", "auto");
        let invite = request(
            "INVITE",
            "sip:1000@127.0.0.1",
            1,
            "inv1",
            "",
            &with(OFFER, "97 0 101"),
        );
        let sent = desk.caller(&invite);
        let out = only(&sent, "INVITE").clone();
        let answer = response(
            &out,
            200,
            "calleetag",
            "sip:bob@127.0.0.3:5060",
            &with(ANSWER, "97"),
        )
        .replace("Contact", &format!("Allow: {allow}\r\nContact"));
        desk.callee(&answer);
        let method = methods(&mut desk)[1].clone();
        assert_eq!(method, expected.filter(|_| allow.contains("INFO")));
    }
}

#[test]
fn a_side_that_sends_a_digit_by_info_is_told_by_info_from_then_on() {
    // Neither has events: tones pass, until the caller shows that it does it by INFO.
    let mut line = Line::new([Method::Plain, Method::Tones], ["auto", "auto"], 0, 1);
    assert_eq!(methods(&mut line.desk), [None, None], "tones pass as they come");
    line.phones[0].press("42", 80);
    line.settle();
    assert_eq!(line.phones[1].heard, "42");
    assert_eq!(methods(&mut line.desk), some("info-dtmf", "inband"));
    line.phones[1].press("7", 80);
    line.settle();
    assert_eq!(line.phones[0].heard, "7");
    line.end();
}

#[test]
fn of_a_digit_that_comes_as_an_event_and_by_info_one_counts() {
    let mut line = Line::new([Method::Events, Method::Tones], ["auto", "auto"], 0, 1);
    for (n, digit) in (0..).zip("357".chars()) {
        line.phones[0].press(&digit.to_string(), 100);
        line.settle();
        let info = sbc_core::sip::InfoDigit {
            digit: sbc_media::dtmf::Digit::from_char(digit).unwrap(),
            duration_ms: 100,
        };
        let sent = line.info(true, 200 + n, sbc_core::sip::InfoForm::Relay, info);
        assert_eq!(kinds(&sent), ["A<200"]);
        line.settle();
    }
    assert_eq!(line.phones[1].heard, "357");
    assert_eq!(line.desk.shard.counters().digits_ignored, 3);
    line.end();
}

#[test]
fn of_a_digit_that_comes_as_a_tone_and_by_info_one_counts() {
    let mut line = Line::new([Method::Tones, Method::Events], ["auto", "rfc4733"], 0, 1);
    for (n, digit) in (0..).zip("3557".chars()) {
        line.phones[0].press(&digit.to_string(), 100);
        line.settle();
        let info = sbc_core::sip::InfoDigit {
            digit: sbc_media::dtmf::Digit::from_char(digit).unwrap(),
            duration_ms: 100,
        };
        line.info(true, 200 + n, sbc_core::sip::InfoForm::Relay, info);
        line.settle();
    }
    // The first is heard as a tone; from then on INFO is what counts.
    assert_eq!(line.phones[1].heard, "3557");
    line.end();
}
