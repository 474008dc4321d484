//! What an INVITE must be before it costs anything (correctness 7, 16).

use crate::desk::*;

fn refused_with(text: &str) -> Sent {
    let mut desk = Desk::new();
    let sent = desk.caller(text);
    let last = sent.last().expect("an answer").clone();
    assert_eq!(desk.shard.gauges().calls, 0);
    desk.assert_quiet();
    last
}

#[test]
fn unknown_extensions_are_420() {
    let reply =
        refused_with(&invite().replace("Max-Forwards: 70", "Max-Forwards: 70\r\nRequire: 100rel, foo"));
    assert_eq!(reply.kind(), "420");
    assert!(
        reply.text.contains("Unsupported: foo\r\n") && !reply.text.contains("Unsupported: 100rel"),
        "{}",
        reply.text
    );
}

#[test]
fn methods_nobody_has_heard_of_are_501() {
    // Correctness 16; RFC 3261 §21.5.2.
    let reply = refused_with(&request("JUMP", "sip:1000@127.0.0.1", 1, "j", "", ""));
    assert_eq!(reply.kind(), "501");
    assert!(reply.header("Allow").contains("INVITE"));
}

#[test]
fn known_methods_that_are_not_served_are_405() {
    // Correctness 16; RFC 3261 §8.2.1.
    for method in ["REGISTER", "PUBLISH"] {
        let reply = refused_with(&request(method, "sip:127.0.0.1", 1, "j", "", ""));
        assert_eq!(reply.kind(), "405");
        assert!(reply.header("Allow").contains("INVITE"));
    }
}

#[test]
fn another_version_of_the_protocol_is_505() {
    // Correctness 16.
    assert_eq!(
        refused_with(&invite().replacen("SIP/2.0", "SIP/3.0", 1)).kind(),
        "505"
    );
}

#[test]
fn a_request_uri_without_end_is_414() {
    // Correctness 16.
    let long = format!("sip:{}@127.0.0.1", "1".repeat(5000));
    assert_eq!(
        refused_with(&request("INVITE", &long, 1, "l", "", OFFER)).kind(),
        "414"
    );
}

#[test]
fn too_many_header_fields_are_513() {
    // Correctness 16.
    let many = format!("Max-Forwards: 70\r\n{}", "X-Filler: 1\r\n".repeat(300));
    let reply = refused_with(&invite().replace("Max-Forwards: 70\r\n", &many));
    assert_eq!(reply.kind(), "513");
}

#[test]
fn a_caller_that_takes_no_sdp_is_406() {
    // RFC 3261 §21.4.7: the response says what could have been had.
    let accept = |types: &str| {
        invite().replace(
            "Max-Forwards: 70",
            &format!("Max-Forwards: 70\r\nAccept: {types}"),
        )
    };
    let reply = refused_with(&accept("text/plain, application/pidf+xml"));
    assert_eq!(reply.kind(), "406");
    assert_eq!(reply.header("Accept"), "application/sdp");
    for types in [
        "text/plain, Application/SDP;level=1",
        "*/*",
        "application/*;q=0.1",
    ] {
        assert_eq!(
            kinds(&Desk::new().caller(&accept(types))),
            ["A<100", "B<INVITE"],
            "{types}"
        );
    }
}

#[test]
fn a_request_without_to_is_refused_with_what_it_has() {
    // RFC 4475 §3.3.1.
    let reply = refused_with(&invite().replace("To: <sip:1000@127.0.0.1>\r\n", ""));
    assert_eq!(reply.kind(), "400");
    assert!(
        !reply.has("To") && reply.has("From") && reply.has("CSeq"),
        "{}",
        reply.text
    );
    assert!(reply.has("Content-Length"), "{}", reply.text);
}

#[test]
fn a_request_without_via_is_not_answered() {
    let text = invite();
    let via = text.lines().nth(1).unwrap();
    let mut desk = Desk::new();
    assert!(desk.caller(&text.replace(&format!("{via}\r\n"), "")).is_empty());
    assert_eq!(desk.shard.counters().sip_malformed, 1);
}

#[test]
fn no_hops_left_is_483() {
    assert_eq!(
        refused_with(&invite().replace("Max-Forwards: 70", "Max-Forwards: 0")).kind(),
        "483"
    );
}

#[test]
fn other_bodies_are_415() {
    let reply = refused_with(&invite().replace("application/sdp", "text/plain"));
    assert_eq!(reply.kind(), "415");
    assert_eq!(reply.header("Accept"), "application/sdp");
}

#[test]
fn media_we_cannot_carry_is_488() {
    assert_eq!(
        refused_with(&invite().replace("RTP/AVP", "RTP/SAV")).kind(),
        "488"
    );
}

#[test]
fn a_merged_request_is_482() {
    let mut desk = Desk::new();
    desk.caller(&invite());
    let sent = desk.caller(&invite().replace("z9hG4bKinv1", "z9hG4bKother"));
    assert_eq!(kinds(&sent), ["A<482"]);
}

#[test]
fn a_request_with_an_unknown_tag_is_481() {
    assert_eq!(
        refused_with(&request("INVITE", "sip:1000@127.0.0.1", 1, "x", "sometag", OFFER)).kind(),
        "481"
    );
}

#[test]
fn a_branch_without_the_cookie_is_matched_too() {
    // Correctness 5.
    let mut desk = Desk::new();
    let old = invite().replace("z9hG4bKinv1", "1");
    assert_eq!(kinds(&desk.caller(&old)), ["A<100", "B<INVITE"]);
    assert_eq!(kinds(&desk.caller(&old)), ["A<100"]);
    let sent = desk.caller(&cancel().replace("z9hG4bKinv1", "1"));
    assert_eq!(kinds(&sent), ["A<200", "A<487"]);
}

#[test]
fn responses_follow_rport_and_received() {
    // Correctness 15, RFC 3581.
    let mut desk = Desk::new();
    let natted = invite().replace("127.0.0.2:5060;branch", "192.168.7.7:5062;rport;branch");
    let sent = desk.deliver("127.0.0.2:40000", &natted);
    assert_eq!(sent[0].to, "127.0.0.2:40000".parse().unwrap());
    assert_eq!(
        sent[0].header("Via"),
        "SIP/2.0/UDP 192.168.7.7:5062;rport=40000;branch=z9hG4bKinv1;received=127.0.0.2"
    );
    let plain =
        request("OPTIONS", "sip:127.0.0.1", 1, "o", "", "").replace("127.0.0.2:5060;", "127.0.0.2:5099;");
    let sent = desk.deliver("127.0.0.2:40000", &plain);
    assert_eq!(
        sent[0].to,
        "127.0.0.2:5099".parse().unwrap(),
        "without rport: the port of the Via"
    );
}
