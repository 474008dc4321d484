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
        reply.text.contains("Unsupported: 100rel\r\nUnsupported: foo\r\n"),
        "{}",
        reply.text
    );
}

#[test]
fn unknown_methods_are_405() {
    let reply = refused_with(&request("JUMP", "sip:1000@127.0.0.1", 1, "j", "", ""));
    assert_eq!(reply.kind(), "405");
    assert!(reply.has("Allow"));
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
