//! One message in a datagram: framing, bounds, folds, lists, and that no input can do harm.

mod sip_support;
#[path = "../../fuzz/src/target/mod.rs"]
mod target;

use proptest::prelude::*;
use sbc_core::sip::{
    HeaderError, HeaderName, MESSAGE_BYTES_MAX, MESSAGE_HEADERS_MAX, Message, Method, NameAddr, ParseError,
    Writer, list_elements, unfold, validate,
};
use sip_support::{Verdict, verdict};

const INVITE: &str = "INVITE sip:+15551234@192.0.2.10 SIP/2.0\r\n\
    v: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa1;rport\r\n\
    Max-Forwards: 70\r\n\
    f: \"Alice\" <sip:alice@192.0.2.1>;tag=t1\r\n\
    t: <sip:+15551234@192.0.2.10>\r\n\
    i: c1@192.0.2.1\r\n\
    CSeq: 1 INVITE\r\n\
    m: <sip:alice@192.0.2.1:5060>\r\n";

fn invite(rest: &str) -> String {
    format!("{INVITE}{rest}")
}

fn fault(text: &str) -> Option<ParseError> {
    Message::parse(text.as_bytes()).err()
}

#[test]
fn compact_names_and_usual_access() {
    let text = invite("l: 4\r\n\r\nbody and what is dropped");
    let m = Message::parse(text.as_bytes()).unwrap();
    assert!(m.is_request() && !m.is_response());
    assert_eq!(
        (m.method(), m.status(), m.reason()),
        (Method::Invite, 0, &b""[..])
    );
    assert_eq!(m.top_via().unwrap().rport, Some(None));
    assert_eq!(m.from().unwrap().tag(), Some(&b"t1"[..]));
    assert_eq!(m.to().unwrap().tag(), None);
    assert_eq!(m.call_id(), Ok(&b"c1@192.0.2.1"[..]));
    assert_eq!(m.body(), b"body");
    assert_eq!(m.content_type(), None);
    assert_eq!(m.iter().map(|(raw, _, _)| raw).next(), Some(&b"v"[..]));
    assert_eq!(m.header(HeaderName::Route), None);
    assert_eq!(validate::request(&m), Ok(()));
}

#[test]
fn content_length_frames_the_body() {
    assert_eq!(
        Message::parse(invite("\r\nto the end").as_bytes())
            .unwrap()
            .body(),
        b"to the end"
    );
    assert_eq!(
        Message::parse(invite("Content-Length:0\r\n\r\nx").as_bytes())
            .unwrap()
            .body(),
        b""
    );
    assert_eq!(
        fault(&invite("Content-Length: 5\r\n\r\n1234")),
        Some(ParseError::BodyTooShort)
    );
    for bad in ["-1", "", "4x", "0x4", "4 4", "+4"] {
        let text = invite(&format!("Content-Length: {bad}\r\n\r\n1234"));
        assert_eq!(fault(&text), Some(ParseError::ContentLength), "{bad:?}");
    }
    let huge = invite("Content-Length: 99999999999999999999999\r\n\r\n1234");
    assert_eq!(fault(&huge), Some(ParseError::BodyTooShort));
    let twice = invite("Content-Length: 4\r\nl: 4\r\n\r\n1234");
    assert_eq!(fault(&twice), Some(ParseError::ContentLength));
}

#[test]
fn faulty_requests_can_still_be_answered() {
    for (text, expected) in [
        (invite("Content-Length: 5\r\n\r\n1234"), ParseError::BodyTooShort),
        (invite("no colon here\r\n\r\n"), ParseError::HeaderLine),
        (invite(": no name\r\n\r\n"), ParseError::HeaderLine),
        (invite("Bad Name: x\r\n\r\n"), ParseError::HeaderLine),
        (invite("Subject\r\n : x\r\n\r\n"), ParseError::HeaderLine),
        (invite("Subject: cut in the mid"), ParseError::Unterminated),
        (invite(""), ParseError::Unterminated),
        (
            invite("\r\n").replace(" SIP/2.0\r\n", "  SIP/2.0\r\n"),
            ParseError::StartLine,
        ),
    ] {
        let m = Message::parse_lenient(text.as_bytes()).expect("indexable");
        assert_eq!(m.fault(), Some(expected), "{text}");
        assert!(sip_support::answerable(text.as_bytes()), "{text}");
        assert_eq!(Message::parse(text.as_bytes()).unwrap_err(), expected);
    }
}

#[test]
fn what_is_not_sip_is_dropped() {
    for bytes in [
        &b""[..],
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
        b"INVITE sip:a@b SIP/2.0",
        b"INVITE\r\n\r\n",
        b"INVITE sip:a@b\r\n\r\n",
        b"INV ITE\0 sip:a@b SIP/2.0x\r\n\r\n",
        b"SIP/2.0 99 x\r\n\r\n",
        b"SIP/2.0 700 x\r\n\r\n",
        b"SIP/2.0 2000 x\r\n\r\n",
        b"SIP/2.0 20 x\r\n\r\n",
        b"SIP/2.0\r\n\r\n",
        b"SIP/x 200 OK\r\n\r\n",
        b" INVITE sip:a@b SIP/2.0\r\n\r\n",
    ] {
        assert_eq!(verdict(bytes), Verdict::Drop, "{}", bytes.escape_ascii());
    }
    assert_eq!(fault("\r\n\r\n"), Some(ParseError::Empty));
}

#[test]
fn line_breaks_before_the_start_line_are_skipped() {
    let text = format!("\r\n\r\n{}", invite("\r\n"));
    let m = Message::parse(text.as_bytes()).unwrap();
    assert_eq!(
        (m.method_bytes(), m.request_uri()),
        (&b"INVITE"[..], &b"sip:+15551234@192.0.2.10"[..])
    );
    assert_eq!(validate::request(&m), Ok(()));
}

#[test]
fn folded_and_listed_headers() {
    let text = invite(
        "Record-Route: <sip:a;lr>,\r\n <sip:b,c;lr>\r\nX-Fold:\r\n\tone\r\n  two\r\nRECORD-ROUTE: \"x, y\" <sip:d;lr>\r\n\
         Require: 100rel , timer\r\nRequire:\r\nRequire: ,replaces\r\n\r\n",
    );
    let m = Message::parse(text.as_bytes()).unwrap();
    let routes: Vec<_> = m.record_routes().map(|r| r.unwrap().uri).collect();
    assert_eq!(routes, [&b"sip:a;lr"[..], b"sip:b,c;lr", b"sip:d;lr"]);
    assert_eq!(m.headers(HeaderName::RecordRoute).count(), 2);
    assert!(m.is_repeated(HeaderName::RecordRoute) && !m.is_repeated(HeaderName::Via));
    assert_eq!(
        m.require().collect::<Vec<_>>(),
        [&b"100rel"[..], b"timer", b"replaces"]
    );
    assert_eq!(&*unfold(m.other_header(b"x-fold").unwrap()), b"one two");
    let (raw, name, value) = m.iter().nth(9 - 1).unwrap();
    assert_eq!(
        (raw, name, value),
        (&b"X-Fold"[..], HeaderName::Other, &b"one\r\n  two"[..])
    );
}

#[test]
fn an_indented_line_behind_the_start_line_is_no_header() {
    let text = invite("\r\n").replacen("\r\nv:", "\r\n v:", 1);
    assert_eq!(fault(&text), Some(ParseError::HeaderLine));
}

#[test]
fn bounds_hold_and_are_answered_513() {
    let line = "X: y\r\n";
    let fields = INVITE.lines().count() - 1;
    let full = invite(&format!("{}\r\n", line.repeat(MESSAGE_HEADERS_MAX - fields)));
    assert_eq!(
        Message::parse(full.as_bytes()).unwrap().iter().count(),
        MESSAGE_HEADERS_MAX
    );
    let over = invite(&format!("{}\r\n", line.repeat(MESSAGE_HEADERS_MAX - fields + 1)));
    assert_eq!(fault(&over), Some(ParseError::TooManyHeaders));
    assert_eq!(verdict(over.as_bytes()), Verdict::Refuse(513));

    let head = invite("\r\n");
    let longest = head.clone() + &"x".repeat(MESSAGE_BYTES_MAX - head.len());
    assert_eq!(
        Message::parse(longest.as_bytes()).unwrap().body().len(),
        MESSAGE_BYTES_MAX - head.len()
    );
    assert_eq!(fault(&(longest + "x")), Some(ParseError::TooLarge));

    let uri = format!("sip:{}@h", "u".repeat(validate::REQUEST_URI_BYTES_MAX));
    let long = invite("\r\n").replacen("sip:+15551234@192.0.2.10", &uri, 1);
    assert_eq!(verdict(long.as_bytes()), Verdict::Refuse(414));

    let vias = "Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\n".repeat(validate::VIAS_MAX);
    assert_eq!(
        verdict(invite(&format!("{vias}\r\n")).as_bytes()),
        Verdict::Refuse(400)
    );
}

#[test]
fn responses() {
    let text = "SIP/2.0 180 Not quite there\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
                To: <sip:c@d>;tag=2\r\nCall-ID: x\r\nCSeq: 7 INVITE\r\n\r\n";
    let m = Message::parse(text.as_bytes()).unwrap();
    assert!(m.is_response());
    assert_eq!((m.status(), m.reason()), (180, &b"Not quite there"[..]));
    assert_eq!((m.request_uri(), m.method_bytes()), (&b""[..], &b""[..]));
    assert_eq!(m.cseq().unwrap().method, Method::Invite);
    assert_eq!(validate::response(&m), Ok(()));
    let missing = text.replacen("Call-ID: x\r\n", "", 1);
    assert_eq!(
        Message::parse(missing.as_bytes()).unwrap().call_id(),
        Err(HeaderError::Missing)
    );
    assert_eq!(verdict(missing.as_bytes()), Verdict::Drop);
    let no_space = text.replacen("180 Not quite there", "180", 1);
    assert_eq!(verdict(no_space.as_bytes()), Verdict::Accept);
}

proptest! {
    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        target::sip_message::run(&bytes);
    }

    #[test]
    fn mutated_and_cut_messages_do_no_harm(
        edits in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(b"\r\n\0\t ,;:<>\"\\@[]/=%A0\xff".to_vec())), 0..12),
        cut in any::<prop::sample::Index>(),
        cut_it in any::<bool>(),
    ) {
        let mut bytes = invite("Record-Route: \"a\" <sip:b;lr>, <sip:c>\r\n d\r\nl: 4\r\n\r\nbody").into_bytes();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if cut_it {
            bytes.truncate(cut.index(bytes.len()));
        }
        target::sip_message::run(&bytes);
    }

    #[test]
    fn whatever_is_written_reads_back_as_one_header(
        value in prop::collection::vec(any::<u8>(), 0..80),
        name in "[A-Za-z][A-Za-z0-9-]{0,20}",
        body in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        prop_assume!(HeaderName::from_bytes(name.as_bytes()) == HeaderName::Other);
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        w.request_line(Method::Info, &value).header(&name, &value).header_fmt("Via", format_args!("{}", String::from_utf8_lossy(&value)));
        w.body(&value, &body);
        // A URI of nothing makes a request line of nothing; everything else must hold its shape.
        prop_assume!(!value.is_empty());
        let m = Message::parse(&out).unwrap();
        prop_assert_eq!(m.method(), Method::Info);
        prop_assert_eq!(m.iter().count(), 4);
        prop_assert_eq!(m.body(), &body[..]);
        prop_assert!(!out[..out.len() - body.len()].contains(&0));
    }

    #[test]
    fn a_list_of_addresses_comes_apart_as_it_was_put_together(
        users in prop::collection::vec("[a-z0-9]{1,8}", 1..6),
        display in "[a-z ,;<>]{0,10}",
    ) {
        let parts: Vec<String> = users.iter().map(|u| format!("\"{display}\" <sip:{u}@h;x=a,b>;q=\"1,2\"")).collect();
        let joined = parts.join(",\r\n ");
        let elements: Vec<_> = list_elements(joined.as_bytes()).collect();
        prop_assert_eq!(elements.len(), users.len());
        for (element, user) in elements.iter().zip(&users) {
            let addr = NameAddr::parse(element).unwrap();
            prop_assert_eq!(addr.display, Some(display.as_bytes()));
            prop_assert_eq!(addr.parsed_uri().unwrap().user, Some(user.as_bytes()));
        }
    }
}
