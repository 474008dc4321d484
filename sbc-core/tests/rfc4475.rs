//! RFC 4475: each of its messages gets the verdict that the RFC gives, from the parser and from a whole shard.
//!
//! The table says what the RFC asks of a user agent server, which is what each side of a B2BUA is, and why
//! where it leaves a choice. It is printed in `docs/CONFORMANCE.md`, and a test compares the two.

#[path = "calls/desk.rs"]
#[allow(dead_code, reason = "not every test file asks for everything")]
mod desk;
#[path = "calls/lines.rs"]
#[allow(dead_code, reason = "not every test file asks for everything")]
mod lines;
mod sip_support;
mod torture;

use desk::*;
use sbc_core::sip::{HeaderName, Message, Method, NameAddr, Scheme, Uri, validate};
use sip_support::{Verdict, answerable, verdict};
use sipx_testkit::rfc4475::{CASES, case};
use torture::{Outcome, Row};

use Outcome::{Call, Nothing, Status};
use Verdict::{Accept, Drop, Refuse};

const REGISTRAR: &str = "It is a REGISTER: what is no registrar answers 405 (§3.3.7).";
const GUESS: &str = "A liberal element may guess what was meant. At an edge that would give two readings of one \
    message to the two sides.";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // 3.1.1: valid, however odd they look.
    Row("wsinv", "accept", Accept, Status(481), "To has a tag of a dialog that does not exist here (RFC 3261 §12.2.2). Without the tag it is a call."),
    Row("intmeth", "accept the syntax", Accept, Status(501), "No element knows this method (RFC 3261 §21.5.2)."),
    Row("esc01", "accept", Accept, Call, ""),
    Row("escnull", "accept", Accept, Status(405), REGISTRAR),
    Row("esc02", "accept the syntax; an endpoint answers 501", Accept, Status(501), ""),
    Row("lwsdisp", "accept", Accept, Status(200), ""),
    Row("longreq", "accept", Accept, Call, ""),
    Row("dblreq", "process the REGISTER, ignore what follows", Accept, Status(405), REGISTRAR),
    Row("semiuri", "accept", Accept, Status(200), ""),
    Row("transports", "accept", Accept, Status(200), ""),
    Row("mpart01", "accept the syntax", Accept, Status(415), "It is a MESSAGE; §21.4.13 lets an element refuse a body, and nobody here reads the parts of one that is not for us: they may name addresses."),
    Row("unreason", "accept", Accept, Nothing, "The branch is not ours, so it is not for us (RFC 3261 §18.1.2). With our branch it answers a call."),
    Row("noreason", "accept", Accept, Nothing, "As before."),
    // 3.1.2: invalid.
    Row("badinv01", "400", Refuse(400), Status(400), ""),
    Row("clerr", "400 over UDP", Refuse(400), Status(400), ""),
    Row("ncl", "an error; over UDP the rest of the datagram is dropped", Refuse(400), Status(400), ""),
    Row("scalar02", "400", Refuse(400), Status(400), ""),
    Row("scalarlg", "drop", Drop, Nothing, ""),
    Row("quotbal", "400", Refuse(400), Status(400), ""),
    Row("ltgtruri", "400, or ignore the brackets", Refuse(400), Status(400), GUESS),
    Row("lwsruri", "400, or ignore the space", Refuse(400), Status(400), GUESS),
    Row("lwsstart", "400, or ignore the spaces", Refuse(400), Status(400), GUESS),
    Row("trws", "400, or ignore the spaces", Refuse(400), Status(400), GUESS),
    Row("escruri", "400, or ignore the header fields", Refuse(400), Status(400), "Ignoring them would lose what the sender meant without a word."),
    Row("baddate", "400, but only if Date matters; else ignore it", Accept, Call, "Date is neither read nor passed on."),
    Row("regbadct", "400, or guess the brackets", Refuse(400), Status(400), GUESS),
    Row("badaspec", "400, or ignore the spaces", Refuse(400), Status(400), GUESS),
    Row("baddn", "400, or guess the quotes", Refuse(400), Status(400), GUESS),
    Row("badvers", "505", Refuse(505), Status(505), ""),
    Row("mismatch01", "400", Refuse(400), Status(400), ""),
    Row("mismatch02", "501; 400 is acceptable", Refuse(501), Status(501), ""),
    Row("bigcode", "drop", Drop, Nothing, ""),
    // 3.2: transaction layer.
    Row("badbranch", "400, best without state, or match as in RFC 2543", Refuse(400), Status(400), "Without state: other requests of that sender would all be taken for one transaction."),
    // 3.3: application layer.
    Row("insuf", "do not break; ideally 400", Refuse(400), Status(400), ""),
    Row("unkscm", "416", Refuse(416), Status(416), ""),
    Row("novelsc", "416 when the scheme is never served", Refuse(416), Status(416), ""),
    Row("unksm2", "accept the syntax; a registrar answers 400", Accept, Status(405), REGISTRAR),
    Row("bext01", "420, with what is not supported", Accept, Status(420), ""),
    Row("invut", "accept the syntax; an endpoint answers 415", Accept, Status(415), ""),
    Row("regaut01", "405 from what is no registrar", Accept, Status(405), ""),
    Row("multi01", "400", Refuse(400), Status(400), ""),
    Row("mcl01", "an error; over UDP the rest of the datagram is dropped", Refuse(400), Status(400), ""),
    Row("bcast", "drop", Drop, Nothing, ""),
    Row("zeromf", "a proxy answers 483, an endpoint answers the request", Accept, Status(200), "OPTIONS is answered here. An INVITE would go on and is 483."),
    Row("cparam01", "accept", Accept, Status(405), REGISTRAR),
    Row("cparam02", "accept", Accept, Status(405), REGISTRAR),
    Row("regescrt", "accept", Accept, Status(405), REGISTRAR),
    Row("sdp01", "406 or 400", Accept, Status(406), ""),
    // 3.4: RFC 2543 syntax still works.
    Row("inv2543", "accept, to be compatible with RFC 2543", Accept, Call, ""),
];

fn bytes(name: &str) -> &'static [u8] {
    case(name).expect("in the corpus").bytes
}

fn message(name: &str) -> Message<'static> {
    Message::parse(bytes(name)).expect(name)
}

#[test]
fn every_message_gets_its_verdict() {
    for &Row(name, _, expected, ..) in ROWS {
        assert_eq!(verdict(bytes(name)), expected, "{name}");
    }
}

#[test]
fn a_whole_shard_does_what_the_table_says() {
    for &Row(name, _, _, expected, _) in ROWS {
        let sent = torture::outcome(bytes(name), expected, name);
        match expected {
            Status(405 | 501) => assert!(sent.header("Allow").contains("INVITE"), "{name}"),
            Status(415 | 406) => assert!(sent.header("Accept").contains("application/sdp"), "{name}"),
            _ => {}
        }
    }
}

#[test]
fn the_table_is_in_the_documentation() {
    let section = |name: &str| case(name).expect(name).section;
    torture::documented("RFC 4475", &torture::table(ROWS, section));
}

#[test]
fn no_message_is_left_out() {
    for case in CASES {
        // `test` is in the archive of the RFC's appendix, but no section speaks of it.
        let judged = ROWS.iter().filter(|row| row.0 == case.name).count();
        assert_eq!(judged, usize::from(case.name != "test"), "{}", case.name);
    }
    verdict(bytes("test"));
    assert!(Desk::new().deliver_bytes(CALLER, bytes("test")).is_empty());
}

#[test]
fn every_refused_request_can_be_answered() {
    for &Row(name, _, expected, ..) in ROWS {
        if let Refuse(_) = expected {
            // insuf lacks From, To and Call-ID by design: it is answered with what is there.
            assert_eq!(answerable(bytes(name)), name != "insuf", "{name}");
        }
    }
}

#[test]
fn bext01_is_told_what_is_not_supported() {
    let sent = Desk::new().deliver_bytes(CALLER, bytes("bext01"));
    let reply = &only(&sent, "420").text;
    for tag in ["nothingSupportsThis", "nothingSupportsThisEither"] {
        assert!(reply.contains(&format!("Unsupported: {tag}\r\n")), "{reply}");
    }
    assert!(
        !reply.contains("noProxiesSupportThis"),
        "Proxy-Require is not for us:\n{reply}"
    );
}

#[test]
fn wsinv_without_its_tag_is_a_call() {
    let text = String::from_utf8(bytes("wsinv").to_vec()).unwrap();
    let sent = Desk::new().caller(&text.replace(" ;   tag    = 1918181833n", ""));
    assert_eq!(kinds(&sent)[1], "B<INVITE");
    let out = only(&sent, "INVITE");
    assert_eq!(out.header("Max-Forwards"), "67");
    assert_eq!(out.start(), "INVITE sip:vivekg@127.0.0.3 SIP/2.0");
    let trying = only(&sent, "100");
    let vias: Vec<_> = trying
        .text
        .lines()
        .filter(|line| line.starts_with("Via:"))
        .collect();
    assert_eq!(vias.len(), 3, "all Vias in order:\n{}", trying.text);
    assert!(
        vias[0].contains("390skdjuw") && vias[1].contains("z9hG4bK9ikj8") && vias[2].contains("z9hG4bK30239")
    );
    assert!(
        !trying.text.contains("\r\n "),
        "folds are undone:\n{}",
        trying.text
    );
}

#[test]
fn the_octets_behind_dblreq_are_no_second_request() {
    let mut desk = Desk::new();
    let sent = desk.deliver_bytes(CALLER, bytes("dblreq"));
    assert_eq!(kinds(&sent), ["A<405"]);
    assert_eq!(desk.shard.counters().calls_attempted, 0);
}

#[test]
fn odd_reason_phrases_answer_calls() {
    let phrase = |name: &str| {
        let line = bytes(name).split(|&b| b == b'\r').next().unwrap();
        String::from_utf8(line.to_vec()).unwrap()
    };
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let trying = response(&out, 100, "", "", "").replace("SIP/2.0 100 Whatever", &phrase("noreason"));
    assert!(desk.callee(&trying).is_empty());
    assert!(
        desk.pass(seconds(5)).is_empty(),
        "the 100 was understood: nothing is repeated"
    );
    let sent = desk.callee(&ok(&out).replace("SIP/2.0 200 Whatever", &phrase("unreason")));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
}

#[test]
fn scalars_out_of_range_answer_nothing() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let large = ok(&out).replace("CSeq: 1 INVITE", "CSeq: 9292394834772304023312 INVITE");
    assert!(desk.callee(&large).is_empty());
    let bigcode = ok(&out).replace("SIP/2.0 200 ", "SIP/2.0 4294967301 ");
    assert!(desk.callee(&bigcode).is_empty());
    assert_eq!(desk.shard.counters().sip_malformed, 2);
    assert_eq!(
        kinds(&desk.callee(&ok(&out))),
        ["B<ACK", "A<200"],
        "the call is none the worse"
    );
}

#[test]
fn insuf_is_answered_with_what_it_has() {
    let sent = Desk::new().deliver_bytes(CALLER, bytes("insuf"));
    let reply = only(&sent, "400");
    assert_eq!(reply.header("CSeq"), "193942 INVITE");
    assert!(
        !reply.has("From") && !reply.has("To") && !reply.has("Call-ID"),
        "{}",
        reply.text
    );
}

/// What a stream makes of a message: the same as a datagram, unless its length is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnStream {
    /// As in the table, and the connection goes on.
    Same,
    /// More bytes are waited for.
    Waits,
    /// Answered with 400; the end of the message cannot be known, so the connection is closed.
    Closed,
    /// A stream has no end of a datagram: what follows is the next request, and then noise.
    Two,
}

const ON_STREAMS: &[(&str, OnStream)] = &[
    ("clerr", OnStream::Waits),  // §3.1.2.2 speaks of UDP: here the rest may still come
    ("baddn", OnStream::Waits),  // the archive's file lacks its last line
    ("ncl", OnStream::Closed),   // §3.1.2.3: the connection should be closed
    ("mcl01", OnStream::Closed), // §3.3.9: as before
    ("inv2543", OnStream::Closed), // RFC 3261 §18.3: Content-Length is required
    ("dblreq", OnStream::Two),   // §3.1.1.8 speaks of a datagram
];

fn probe() -> String {
    lines::tcp(&request("OPTIONS", "sip:127.0.0.1", 1, "probe", "", ""))
        .replace("caller-call-id", "probe")
        .replace("callertag", "probe")
}

#[test]
fn over_a_stream_each_message_gets_the_same_and_the_next_one_is_found() {
    for &Row(name, _, _, expected, _) in ROWS {
        let on_stream = ON_STREAMS.iter().find(|(n, _)| *n == name);
        let on_stream = on_stream.map_or(OnStream::Same, |(_, what)| *what);
        for piece in [usize::MAX, 1] {
            let mut desk = lines::desk_on("tcp", "tcp", "");
            let line = desk.accept("127.0.0.2:40000");
            let mut sent = Vec::new();
            for bytes in bytes(name).chunks(piece.min(bytes(name).len())) {
                if desk.line(line).closed.is_none() {
                    sent.extend(desk.write(line, bytes));
                }
            }
            let finals: Vec<_> = sent.iter().filter(|s| s.kind() != "100").collect();
            let got = kinds(&sent);
            let answers = finals.iter().filter(|s| s.text.starts_with("SIP/2.0 "));
            assert!(
                on_stream == OnStream::Two || answers.clone().all(|reply| reply.over == Some(line)),
                "{name}: §18.2.2: on the same connection"
            );
            match (on_stream, expected) {
                (OnStream::Waits, _) => {
                    assert!(finals.is_empty(), "{name}: {got:?}");
                    desk.pass(seconds(60));
                    assert!(desk.line(line).closed.is_some(), "{name}: not for ever");
                    continue;
                }
                (OnStream::Closed, _) => {
                    assert_eq!(
                        finals.iter().map(|s| s.kind()).collect::<Vec<_>>(),
                        ["400"],
                        "{name}"
                    );
                    assert!(desk.line(line).closed.is_some(), "{name}");
                    continue;
                }
                (OnStream::Two, _) => {
                    // The INVITE's SDP is broken, and longer than it says: what is left is no message.
                    let first: Vec<_> = finals.iter().map(|s| (s.kind(), s.over)).take(2).collect();
                    assert_eq!(
                        first,
                        [("405", Some(line)), ("488", Some(line))],
                        "{name}: {got:?}"
                    );
                    assert!(desk.line(line).closed.is_some(), "{name}");
                    continue;
                }
                (_, Nothing) => assert!(finals.is_empty(), "{name}: {got:?}"),
                (_, Call) => assert_eq!(finals[0].kind(), "INVITE", "{name}: {got:?}"),
                (_, Status(status)) => {
                    assert_eq!(finals.len(), 1, "{name}: {got:?}");
                    assert_eq!(finals[0].kind(), status.to_string(), "{name}");
                }
            }
            assert_eq!(desk.line(line).closed, None, "{name}");
            let sent = desk.write(line, probe());
            assert_eq!(
                only(&sent, "200").over,
                Some(line),
                "{name}: the next message is read"
            );
        }
    }
}

#[test]
fn baddn_is_refused_for_its_display_name_too() {
    // The archive's file lacks the empty line at its end, so it never gets to the fault it was made for.
    let mut whole = bytes("baddn").to_vec();
    whole.extend_from_slice(b"\r\n");
    let message = Message::parse(&whole).unwrap();
    assert_eq!(validate::request(&message).unwrap_err().reason, "Bad From");
}

#[test]
fn wsinv_is_read_right() {
    let m = message("wsinv");
    assert_eq!(m.method(), Method::Invite);
    assert_eq!(m.request_uri(), b"sip:vivekg@chair-dnrc.example.com;unknownparam");
    let vias: Vec<_> = m.vias().map(Result::unwrap).collect();
    assert_eq!(vias.len(), 3);
    assert_eq!(
        (vias[0].host, vias[0].branch),
        (&b"192.0.2.2"[..], Some(&b"390skdjuw"[..]))
    );
    assert_eq!(
        (vias[1].transport, vias[1].host),
        (&b"TCP"[..], &b"spindle.example.com"[..])
    );
    assert_eq!(vias[1].branch, Some(&b"z9hG4bK9ikj8"[..]));
    assert_eq!(
        (vias[2].host, vias[2].branch),
        (&b"192.168.255.111"[..], Some(&b"z9hG4bK30239"[..]))
    );
    assert_eq!(m.max_forwards(), Ok(Some(68)));
    assert_eq!(m.to().unwrap().tag(), Some(&b"1918181833n"[..]));
    let from = m.from().unwrap();
    assert_eq!(
        (from.display, from.tag()),
        (Some(&b"J Rosenberg \\\\\\\""[..]), Some(&b"98asjd8"[..]))
    );
    assert_eq!(m.cseq().unwrap().number, 9);
    assert_eq!(m.header(HeaderName::Subject), Some(&b""[..]));
    assert_eq!(
        m.other_header(b"unknownheaderwithunusualvalue"),
        Some(&b";;,,;;,;"[..])
    );
    let contact = m.contact().unwrap().unwrap();
    assert_eq!(contact.display, Some(&b"Quoted string \\\"\\\""[..]));
    assert_eq!(contact.param(b"q"), Some(&b"0.33"[..]));
    assert_eq!(contact.param(b"newparam"), Some(&b"newvalue"[..]));
    let routes: Vec<_> = m.routes().map(|route| route.unwrap().uri).collect();
    assert_eq!(
        routes,
        [b"sip:services.example.com;lr;unknownwith=value;unknown-no-value"]
    );
    assert_eq!(m.body().len(), 150);
}

#[test]
fn odd_but_valid_ones_are_read_right() {
    let m = message("intmeth");
    assert_eq!(m.method(), Method::Other);
    assert_eq!(m.method_bytes(), m.cseq().unwrap().method_bytes);
    assert_eq!(
        m.to().unwrap().display,
        Some(&b"BEL:\\\x07 NUL:\\\x00 DEL:\\\x7f"[..])
    );

    let m = message("esc02");
    assert_eq!(m.method_bytes(), b"RE%47IST%45R");

    let m = message("dblreq");
    assert_eq!((m.method(), m.body()), (Method::Register, &b""[..]));

    let uri = Uri::parse(message("semiuri").request_uri()).unwrap();
    assert_eq!(uri.user, Some(&b"user;par=u%40example.net"[..]));
    assert_eq!((uri.host, uri.params), (&b"example.com"[..], &b""[..]));

    let transports: Vec<_> = message("transports")
        .vias()
        .map(|via| via.unwrap().transport)
        .collect();
    assert_eq!(transports, [&b"UDP"[..], b"SCTP", b"TLS", b"UNKNOWN", b"TCP"]);

    assert_eq!(
        (message("noreason").status(), message("noreason").reason()),
        (100, &b""[..])
    );
    assert_eq!(
        message("unksm2").to().unwrap().parsed_uri().unwrap().scheme,
        Scheme::Other
    );

    let contact = message("lwsdisp").from().unwrap();
    assert_eq!(
        (contact.display, contact.uri),
        (Some(&b"caller"[..]), &b"sip:caller@example.com"[..])
    );

    // §3.3.12 and §3.3.13: brackets decide whose parameter it is.
    let contact = message("cparam01").contact().unwrap().unwrap();
    assert_eq!(
        (contact.uri, contact.params),
        (&b"sip:+19725552222@gw1.example.net"[..], &b"unknownparam"[..])
    );
    let contact = message("cparam02").contact().unwrap().unwrap();
    assert_eq!(contact.params, b"");
    assert_eq!(
        contact.parsed_uri().unwrap().param(b"unknownparam"),
        Some(&b""[..])
    );
}

#[test]
fn the_faults_are_where_the_rfc_put_them() {
    for (name, reason) in [
        ("badinv01", "Bad Contact"),
        ("quotbal", "Bad To"),
        ("badaspec", "Bad To"),
        ("regbadct", "Bad Contact"),
        ("scalar02", "Bad CSeq"),
        ("escruri", "Headers in Request-URI"),
        ("mismatch01", "CSeq Method Mismatch"),
        ("mismatch02", "Not Implemented"),
        ("multi01", "Several From"),
    ] {
        assert_eq!(
            validate::request(&message(name)).unwrap_err().reason,
            reason,
            "{name}"
        );
    }
    // badinv01 has the same fault in two header fields.
    assert!(message("badinv01").top_via().is_err());
    assert!(NameAddr::parse(b"\"Mr. J. User <sip:j.user@example.com>").is_err());
}
