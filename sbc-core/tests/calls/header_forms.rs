//! The many ways to write one header (RFC 3261 §7.3): folded, compact, in lists. Correctness 12.

use crate::desk::*;

#[test]
fn a_call_written_the_hard_way_is_the_same_call() {
    let hard = format!(
        "INVITE sip:1000@127.0.0.1 SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.2:5060\r\n ;branch=z9hG4bKinv1,\r\n\
         \tSIP / 2.0 / UDP 192.0.2.7;branch=z9hG4bKfurther\r\nVIA: SIP/2.0/TCP 192.0.2.8;branch=z9hG4bKfurthest\r\n\
         max-forwards:\r\n  70\r\nf: \"Alice, \\\"the\\\" caller\"\r\n <sip:4930123@127.0.0.2>;tag=callertag\r\n\
         t: sip:1000@127.0.0.1\r\ni : caller-call-id\r\nCSEQ: 1\r\n INVITE\r\nm: <sip:alice@127.0.0.2:5060>\r\n\
         c: application/sdp\r\nl: {}\r\n\r\n{OFFER}",
        OFFER.len()
    );
    let mut desk = Desk::new();
    let sent = desk.caller(&hard);
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out));
    let reply = only(&sent, "200");
    let vias: Vec<_> = reply
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("Via: "))
        .collect();
    assert_eq!(vias.len(), 3, "{}", reply.text);
    assert!(vias[0].contains("inv1") && vias[1].contains("further") && vias[2].contains("furthest"));
    let from = reply.header("From");
    assert_eq!(
        from,
        "\"Alice, \\\"the\\\" caller\" <sip:4930123@127.0.0.2>;tag=callertag"
    );
    // The plain way to write it continues the same call.
    let tag = tag_of(reply.header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    assert!(desk.pass(seconds(10)).is_empty());
    let sent = desk.caller(&request("BYE", "sip:x@127.0.0.1", 2, "bye", &tag, ""));
    desk.callee(&response(only(&sent, "BYE"), 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn options_in_several_lists_are_all_seen() {
    // §7.3.1: `Require: a, b` and two header fields are the same.
    let text = "Max-Forwards: 70\r\nRequire: foo,bar\r\nrequire: baz";
    let sent = Desk::new().caller(&invite().replace("Max-Forwards: 70", text));
    let reply = only(&sent, "420");
    for tag in ["foo", "bar", "baz"] {
        assert!(
            reply.text.contains(&format!("Unsupported: {tag}\r\n")),
            "{}",
            reply.text
        );
    }
}

#[test]
fn challenges_are_never_taken_for_a_list() {
    // §7.3.1: the commas in them separate parameters.
    let challenge = "Digest realm=\"a, b\", nonce=\"c,d\", algorithm=MD5, qop=\"auth,auth-int\"";
    let text =
        format!("SIP/2.0 401 No\r\nWWW-Authenticate: {challenge}\r\nWWW-Authenticate: {challenge}\r\n\r\n");
    let message = sbc_core::sip::Message::parse(text.as_bytes()).unwrap();
    let fields: Vec<_> = message
        .headers(sbc_core::sip::HeaderName::WwwAuthenticate)
        .collect();
    assert_eq!(fields, [challenge.as_bytes(); 2]);
}
