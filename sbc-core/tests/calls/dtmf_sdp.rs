//! What each side is told of telephone events where the two exchange digits in different ways (M6).

use crate::desk::*;
use sbc_core::config;

/// A desk whose caller and callee have these methods; empty: the option is left out.
pub(crate) fn desk(caller: &str, callee: &str) -> Desk {
    let line = |method: &str| match method {
        "" => String::new(),
        method => format!("\ndtmf = \"{method}\""),
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

/// A description with these payload types; 96 and 101 are telephone events.
pub(crate) fn with(sdp: &str, numbers: &str) -> String {
    let (session, _) = sdp.split_once("m=audio").unwrap();
    let port = if sdp == OFFER { 4000 } else { 6000 };
    let mut body = format!("{session}m=audio {port} RTP/AVP {numbers}\r\n");
    for number in numbers.split(' ') {
        match number {
            "96" | "101" => body.push_str(&format!(
                "a=rtpmap:{number} telephone-event/8000\r\na=fmtp:{number} 0-16\r\n"
            )),
            "97" => body.push_str("a=rtpmap:97 opus/48000/2\r\n"),
            "110" => body.push_str("a=rtpmap:110 iLBC/8000\r\n"),
            _ => {}
        }
    }
    body
}

/// A description without telephone events in which 101 is something else.
fn with_ilbc(sdp: &str) -> String {
    with(sdp, "0 110").replace("110", "101")
}

pub(crate) fn numbers(sent: &Sent) -> String {
    let line = sent
        .body()
        .lines()
        .find(|line| line.starts_with("m=audio"))
        .unwrap();
    line.split_once("AVP ").unwrap().1.to_owned()
}

/// Our INVITE to the callee and our 200 to the caller.
pub(crate) fn connect(desk: &mut Desk, offer: &str, answer: &str) -> Up {
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", offer));
    let invite = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(
        &invite,
        200,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        answer,
    ));
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    desk.caller(&request("ACK", &contact, 1, "ack1", &tag, ""));
    Up {
        invite,
        ok,
        tag,
        contact,
    }
}

/// What the callee is offered and the caller answered.
fn told(methods: [&str; 2], offer: &str, answer: &str) -> [String; 2] {
    let mut desk = desk(methods[0], methods[1]);
    let up = connect(&mut desk, &with(OFFER, offer), &with(ANSWER, answer));
    [numbers(&up.invite), numbers(&up.ok)]
}

#[test]
fn without_a_method_or_with_pass_events_pass() {
    for methods in [
        ["", ""],
        ["pass", "pass"],
        ["pass", "info"],
        ["rfc4733", "pass"],
        ["auto", "pass"],
    ] {
        assert_eq!(told(methods, "0 101", "0 96"), ["0 101", "0 96"], "{methods:?}");
        assert_eq!(told(methods, "0", "0"), ["0", "0"], "{methods:?}");
    }
}

#[test]
fn a_side_that_exchanges_events_is_offered_them_though_the_other_has_none() {
    for methods in [
        ["info", "rfc4733"],
        ["inband", "auto"],
        ["info-dtmf", ""],
        ["auto", "auto"],
    ] {
        assert_eq!(told(methods, "0", "0 101"), ["0 101", "0"], "{methods:?}");
    }
    let mut desk = desk("inband", "rfc4733");
    let up = connect(&mut desk, &with(OFFER, "0"), &with(ANSWER, "0 101"));
    let body = up.invite.body();
    assert!(
        body.contains("a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n"),
        "{body}"
    );
    assert!(!up.ok.body().contains("telephone-event"), "{}", up.ok.body());
}

#[test]
fn a_side_that_offers_events_is_answered_them_though_the_other_has_none() {
    for methods in [["rfc4733", "inband"], ["auto", "info"], ["", "info-dtmf"]] {
        assert_eq!(told(methods, "0 96", "0"), ["0", "0 96"], "{methods:?}");
    }
    assert_eq!(
        told(["rfc4733", "auto"], "0 96", "0"),
        ["0 96", "0 96"],
        "the callee has none"
    );
    let mut desk = desk("rfc4733", "info");
    let up = connect(&mut desk, &with(OFFER, "0 96"), &with(ANSWER, "0"));
    assert!(
        up.ok
            .body()
            .contains("a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\n")
    );
    assert!(
        !up.invite.body().contains("telephone-event"),
        "{}",
        up.invite.body()
    );
}

#[test]
fn a_side_with_another_method_is_neither_offered_nor_answered_events() {
    for method in ["info", "info-dtmf", "inband"] {
        assert_eq!(
            told(["rfc4733", method], "0 101", "0 101"),
            ["0", "0 101"],
            "{method}"
        );
        assert_eq!(
            told([method, "rfc4733"], "0 101", "0 96"),
            ["0 101", "0"],
            "{method}"
        );
        assert_eq!(told([method, method], "0 101", "0 101"), ["0", "0"], "{method}");
    }
}

#[test]
fn an_answer_has_no_events_that_were_not_offered() {
    assert_eq!(told(["rfc4733", "rfc4733"], "0", "0 101"), ["0 101", "0"]);
}

#[test]
fn between_two_sides_with_events_each_keeps_its_own_number() {
    assert_eq!(told(["rfc4733", "auto"], "0 101", "0 96"), ["0 101", "0 96"]);
}

#[test]
fn events_get_a_number_that_stands_for_nothing_else() {
    let mut desk = self::desk("info", "rfc4733");
    let up = connect(&mut desk, &with_ilbc(OFFER), &with(ANSWER, "0 96"));
    assert_eq!(numbers(&up.invite), "0 101 96");
    assert!(up.invite.body().contains("a=rtpmap:96 telephone-event/8000\r\n"));
    assert!(up.invite.body().contains("a=rtpmap:101 iLBC/8000\r\n"));
}

#[test]
fn a_list_of_codecs_without_events_has_the_last_word() {
    let text = config::DEFAULT_TOML
        .replace("name = \"carrier\"", "name = \"carrier\"\ndtmf = \"info\"")
        .replace("name = \"platform\"", "name = \"platform\"\ncodecs = [\"PCMU\"]");
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    let mut desk = Desk::of(snapshot, admission);
    let up = connect(&mut desk, &with(OFFER, "0"), &with(ANSWER, "0"));
    assert_eq!(numbers(&up.invite), "0");
}

#[test]
fn without_audio_at_their_clock_events_are_not_offered() {
    assert_eq!(told(["info", "rfc4733"], "97", "97"), ["97", "97"]);
}

#[test]
fn in_a_late_offer_it_is_the_caller_that_is_offered_them() {
    let mut desk = desk("rfc4733", "info");
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let invite = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(
        &invite,
        200,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        &with(ANSWER, "0"),
    ));
    let ok = only(&sent, "200").clone();
    assert_eq!(numbers(&ok), "0 101");
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    let answer = with(OFFER, "0 101");
    let ack = request("ACK", &contact, 1, "ack1", &tag_of(ok.header("To")), &answer);
    let sent = desk.caller(&ack);
    assert_eq!(numbers(only(&sent, "ACK")), "0");
}

#[test]
fn a_reinvite_keeps_the_number_and_the_version() {
    let mut desk = desk("info", "rfc4733");
    let offer = with(OFFER, "0");
    let up = connect(&mut desk, &offer, &with(ANSWER, "0 101"));
    let again = request("INVITE", &up.contact, 2, "re1", &up.tag, &next_version(&offer));
    let sent = desk.caller(&again);
    let invite = only(&sent, "INVITE");
    assert_eq!(invite.body(), up.invite.body(), "the same, and so is its version");
}
