//! Numbers across trunks (N1, N2): read by the rules of the trunk that a call comes from, written by those of the trunk
//! that it goes to, in Request-URI, To and From alike.

use crate::desk::*;
use crate::two_trunks::{desk, forwarded, invite_of};
use sbc_core::shard::{Command, Reply};

/// The Request-URI, To without its brackets, and the URI of From.
fn told(desk: &mut Desk, invite: &str) -> (String, String, String) {
    let out = forwarded(desk, invite);
    let uri = out.start().split(' ').nth(1).unwrap().to_owned();
    let inside = |value: &str| value[value.find('<').unwrap() + 1..value.find('>').unwrap()].to_owned();
    (uri, inside(out.header("To")), inside(out.header("From")))
}

#[test]
fn every_spelling_becomes_the_one_that_the_trunk_wants() {
    let german = "numbers = { country = \"DE\" }";
    for (spelling, from) in [
        ("sip:+4930123456@127.0.0.1", "<sip:+49891234567@127.0.0.2>"),
        (
            "sip:+49-30-123.456@127.0.0.1;user=phone",
            "<sip:089-1234567@127.0.0.2;user=phone>",
        ),
        ("sip:004930123456@127.0.0.1", "<sip:0049891234567@127.0.0.2>"),
        ("sip:030123456@127.0.0.1", "<sip:089(1234567)@127.0.0.2>"),
        ("sip:%2B4930123456@127.0.0.1", "<tel:+49-89-1234567>"),
        ("sip:4930123456@127.0.0.1", "<sip:49891234567@127.0.0.2>"),
        ("tel:+49-30-123456", "<tel:891234567;phone-context=+49>"),
        (
            "tel:30123456;phone-context=+49",
            "<tel:0891234567;phone-context=+49>",
        ),
        (
            "sip:30123456;phone-context=+49@127.0.0.1;user=phone",
            "<sip:891234567;phone-context=+49@127.0.0.2;user=phone>",
        ),
    ] {
        for (platform, called, calling) in [
            (
                "destination = \"e164\", originator = \"e164\"",
                "+4930123456",
                "+49891234567",
            ),
            (
                "destination = \"plain\", originator = \"plain\"",
                "4930123456",
                "49891234567",
            ),
            (
                "country = \"DE\", destination = \"national\", originator = \"national\"",
                "030123456",
                "0891234567",
            ),
            (
                "country = \"GB\", destination = \"national\", originator = \"national\"",
                "004930123456",
                "0049891234567",
            ),
            (
                "country = \"US\", destination = \"national\", originator = \"e164\"",
                "0114930123456",
                "+49891234567",
            ),
        ] {
            let mut desk = desk(german, &format!("numbers = {{ {platform} }}"));
            let (uri, to, from) = told(&mut desk, &invite_of(spelling, &format!("<{spelling}>"), from));
            let phone = if spelling.contains("user=phone") || spelling.starts_with("tel:") {
                ";user=phone"
            } else {
                ""
            };
            assert_eq!(uri, format!("sip:{called}@127.0.0.3{phone}"), "{spelling}");
            assert_eq!(to, uri, "{spelling}: Request-URI and To agree");
            assert_eq!(from, format!("sip:{calling}@127.0.0.1"), "{spelling}");
        }
    }
}

#[test]
fn request_uri_and_to_agree_even_where_the_caller_spells_them_differently() {
    let mut desk = desk(
        "numbers = { country = \"DE\" }",
        "numbers = { prefix_add = \"77#\" }",
    );
    let (uri, to, _) = told(
        &mut desk,
        &invite_of(
            "sip:030123456@127.0.0.1",
            "<sip:+4930123456@127.0.0.1>",
            "<sip:x@127.0.0.2>",
        ),
    );
    assert_eq!(uri, "sip:77%23030123456@127.0.0.3");
    assert_eq!(to, uri);
}

#[test]
fn a_call_for_another_than_to_says_keeps_both() {
    let mut desk = desk("", "numbers = { destination = \"plain\" }");
    let (uri, to, _) = told(
        &mut desk,
        &invite_of(
            "sip:+4930123456@127.0.0.1",
            "<sip:+49891234567@127.0.0.1>",
            "<sip:x@127.0.0.2>",
        ),
    );
    assert_eq!(uri, "sip:4930123456@127.0.0.3");
    assert_eq!(to, "sip:49891234567@127.0.0.3");
}

#[test]
fn what_is_no_number_passes_untouched() {
    for user in [
        "1000",
        "112",
        "alice",
        "conf-4930123456",
        "*21*030123%23",
        "anonymous",
    ] {
        let mut desk = desk(
            "numbers = { country = \"DE\" }",
            "numbers = { destination = \"e164\", originator = \"plain\" }",
        );
        let uri = format!("sip:{user}@127.0.0.1");
        let told = told(
            &mut desk,
            &invite_of(&uri, &format!("<{uri}>"), &format!("<{uri}>")),
        );
        let at = |host: &str| format!("sip:{user}@{host}");
        assert_eq!(told, (at("127.0.0.3"), at("127.0.0.3"), at("127.0.0.1")));
    }
}

#[test]
fn without_options_numbers_pass_as_they_are_written() {
    for user in [
        "+4930123456",
        "030123456",
        "004930123456",
        "+49-30-123456",
        "0114930123456",
    ] {
        let mut desk = Desk::new();
        let (uri, to, from) = told(
            &mut desk,
            &invite_of(
                &format!("sip:{user}@127.0.0.1"),
                &format!("<sip:{user}@127.0.0.1>"),
                &format!("<sip:{user}@127.0.0.2>"),
            ),
        );
        assert_eq!(uri, format!("sip:{user}@127.0.0.3"));
        assert_eq!(to, uri);
        assert_eq!(from, format!("sip:{user}@127.0.0.1"));
    }
}

#[test]
fn prefixes_of_both_trunks() {
    let mut desk = desk(
        "numbers = { inbound_strip = \"9\", inbound_add = \"0\", country = \"FR\" }",
        "numbers = { destination = \"e164\", prefix_strip = \"+33\", prefix_add = \"*31\" }",
    );
    let (uri, to, _) = told(
        &mut desk,
        &invite_of(
            "sip:9142685300@127.0.0.1",
            "<sip:9142685300@127.0.0.1>",
            "<sip:x@127.0.0.2>",
        ),
    );
    assert_eq!(uri, "sip:*31142685300@127.0.0.3");
    assert_eq!(to, uri);
}

#[test]
fn user_phone_where_it_is_wanted() {
    let mut desk = desk("", "numbers = { user_phone = true }");
    let (uri, to, from) = told(
        &mut desk,
        &invite_of(
            "sip:+4930123456@127.0.0.1",
            "<sip:+4930123456@127.0.0.1>",
            "<sip:x@127.0.0.2>",
        ),
    );
    assert_eq!(uri, "sip:+4930123456@127.0.0.3;user=phone");
    assert_eq!(to, uri);
    assert_eq!(from, "sip:x@127.0.0.1");
}

#[test]
fn a_call_shows_the_numbers_that_are_meant() {
    let mut desk = desk("numbers = { country = \"DE\" }", "");
    desk.caller(&invite_of(
        "sip:030123456@127.0.0.1",
        "<sip:030123456@127.0.0.1>",
        "<sip:1000@127.0.0.2>",
    ));
    let id = desk.call_id();
    desk.command(Command::CallShow(id));
    let Some(Reply::Call(call)) = desk.replies.pop() else {
        panic!("no call");
    };
    assert_eq!(call.called_number.as_deref(), Some("4930123456"));
    assert_eq!(call.calling_number, None);
    assert_eq!(
        (&*call.summary.callee, &*call.summary.caller),
        ("030123456", "1000")
    );
}

#[test]
fn a_message_is_addressed_as_a_call_is() {
    let mut desk = desk(
        "numbers = { country = \"DE\" }",
        "numbers = { destination = \"e164\" }",
    );
    let text = request("MESSAGE", "sip:030123456@127.0.0.1", 1, "msg1", "", "Hello")
        .replace("application/sdp", "text/plain");
    let out = only(&desk.caller(&text), "MESSAGE").clone();
    assert_eq!(out.start(), "MESSAGE sip:+4930123456@127.0.0.3 SIP/2.0");
}
