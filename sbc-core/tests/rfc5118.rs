//! RFC 5118: IPv6 in SIP. One message is wrong; the others show that nothing valid may be refused.

#[path = "calls/desk.rs"]
#[allow(dead_code, reason = "not every test file asks for everything")]
mod desk;
#[path = "calls/lines.rs"]
#[allow(dead_code, reason = "not every test file asks for everything")]
mod lines;
mod sip_support;
mod torture;

use desk::{CALLER, Desk, only};
use sbc_core::sip::{Message, Uri, host_ip, validate};
use sip_support::{Verdict, answerable, verdict};
use sipx_testkit::rfc5118::{CASES, case};
use std::net::IpAddr;
use torture::{Outcome, Row};

use Outcome::{Call, Status};
use Verdict::{Accept, Refuse};

const REGISTRAR: &str = "It is a REGISTER: what is no registrar answers 405 (RFC 4475 §3.3.7).";
const NO_DIALOG: &str = "It is a BYE of a dialog that does not exist here (RFC 3261 §12.2.2).";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row("ipv6-good", "accept", Accept, Status(405), REGISTRAR),
    Row("ipv6-bad", "400", Refuse(400), Status(400), ""),
    Row("port-ambiguous", "accept: what looks like a port is part of the address", Accept, Status(405), REGISTRAR),
    Row("port-unambiguous", "accept", Accept, Status(405), REGISTRAR),
    Row("via-received-param-with-delim", "accept", Accept, Status(481), NO_DIALOG),
    Row("via-received-param-no-delim", "accept", Accept, Status(200), ""),
    Row("ipv6-in-sdp", "accept", Accept, Call, ""),
    Row("mult-ip-in-header", "accept", Accept, Status(481), NO_DIALOG),
    Row("mult-ip-in-sdp", "accept", Accept, Call, ""),
    Row("ipv4-mapped-ipv6", "accept", Accept, Call, ""),
    Row("ipv6-bug-abnf-3-colons", "tolerate", Accept, Status(200), ""),
    Row("ipv6-correct-abnf-2-colons", "accept", Accept, Status(200), ""),
];

/// `wire` makes CRLF out of the archive's bare LF, adds missing final empty lines and corrects
/// Content-Length; it touches no address.
fn wire(name: &str) -> Vec<u8> {
    case(name).expect("in the corpus").wire().to_vec()
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

#[test]
fn every_message_gets_its_verdict() {
    assert_eq!(CASES.len(), ROWS.len());
    for &Row(name, _, expected, ..) in ROWS {
        assert_eq!(verdict(&wire(name)), expected, "{name}");
    }
    assert!(answerable(&wire("ipv6-bad")));
}

#[test]
fn a_whole_shard_does_what_the_table_says() {
    for &Row(name, _, _, expected, _) in ROWS {
        torture::outcome(&wire(name), expected, name);
    }
}

#[test]
fn the_table_is_in_the_documentation() {
    let section = |name: &str| case(name).expect(name).section;
    torture::documented("RFC 5118", &torture::table(ROWS, section));
}

#[test]
fn ipv6_media_is_offered_on_with_our_own_address() {
    for name in ["ipv6-in-sdp", "mult-ip-in-sdp", "ipv4-mapped-ipv6"] {
        let mut desk = Desk::new();
        if torture::audio_is_ipv6(&wire(name)) {
            // Where there is no IPv6 interface, nothing could be sent there.
            let refused = desk.deliver_bytes(CALLER, &wire(name));
            let warning = only(&refused, "488").header("Warning");
            assert!(warning.starts_with("301 "), "{name}: {warning}");
            desk = Desk::with_ipv6_media();
        }
        let sent = desk.deliver_bytes(CALLER, &wire(name));
        let out = only(&sent, "INVITE");
        assert!(
            out.body().contains("c=IN IP4 127.0.0.1\r\n"),
            "{name}:\n{}",
            out.body()
        );
        assert!(
            out.media_port() > 0 && out.body().contains("m=video 0 "),
            "{name}:\n{}",
            out.body()
        );
    }
}

#[test]
fn bare_line_feeds_as_in_the_archive_are_read_too() {
    for case in CASES
        .iter()
        .filter(|case| case.section != "4.10" && !case.has_sdp())
    {
        let expected = if case.name == "ipv6-bad" {
            Verdict::Refuse(400)
        } else {
            Verdict::Accept
        };
        assert_eq!(verdict(case.bytes), expected, "{}", case.name);
    }
}

#[test]
fn a_port_is_what_stands_behind_the_brackets() {
    let bytes = wire("ipv6-good");
    let uri = Uri::parse(Message::parse(&bytes).unwrap().request_uri()).unwrap();
    assert_eq!((host_ip(uri.host), uri.port), (ip("2001:db8::10"), None));

    let bytes = wire("port-ambiguous");
    let uri = Uri::parse(Message::parse(&bytes).unwrap().request_uri()).unwrap();
    assert_eq!((host_ip(uri.host), uri.port), (ip("2001:db8::10:5070"), None));

    let bytes = wire("port-unambiguous");
    let uri = Uri::parse(Message::parse(&bytes).unwrap().request_uri()).unwrap();
    assert_eq!((host_ip(uri.host), uri.port), (ip("2001:db8::10"), Some(5070)));
}

#[test]
fn received_with_and_without_brackets_is_the_same_address() {
    for name in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        let bytes = wire(name);
        let message = Message::parse(&bytes).unwrap();
        let via = message.top_via().unwrap();
        assert_eq!(host_ip(via.host), ip("2001:db8::9:1"), "{name}");
        assert_eq!(host_ip(via.received.unwrap()), ip("2001:db8::9:255"), "{name}");
    }
}

#[test]
fn both_families_in_one_list_of_vias() {
    let bytes = wire("mult-ip-in-header");
    let message = Message::parse(&bytes).unwrap();
    let hosts: Vec<_> = message.vias().map(|via| host_ip(via.unwrap().host)).collect();
    assert!(hosts.len() > 1);
    assert!(hosts.iter().flatten().any(IpAddr::is_ipv4) && hosts.iter().flatten().any(IpAddr::is_ipv6));
}

#[test]
fn three_colons_that_the_old_grammar_allowed_mean_two() {
    // §4.10: by the ABNF of RFC 3261 senders write `:::` in front of an embedded IPv4 address.
    for name in ["ipv6-bug-abnf-3-colons", "ipv6-correct-abnf-2-colons"] {
        let bytes = wire(name);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(validate::request(&message), Ok(()));
        let uri = Uri::parse(message.request_uri()).unwrap();
        assert_eq!(host_ip(uri.host), ip("2001:db8::192.0.2.1"), "{name}");
    }
    assert_eq!(host_ip(b"[1::::2]"), None);
    assert_eq!(host_ip(b"1:::2:::3"), None);
    assert_eq!(host_ip(b":::x"), None);
}
