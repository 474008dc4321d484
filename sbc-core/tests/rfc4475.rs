//! RFC 4475: each of its messages gets the verdict that the RFC gives.
//!
//! Where the RFC leaves a choice, the row says which one is taken and why. Rows whose refusal belongs to the
//! call core (420, 415, 406, 483, 405) must pass here, so that the core sees them.

mod sip_support;

use sbc_core::sip::{HeaderName, Message, Method, NameAddr, Scheme, Uri, validate};
use sip_support::{Verdict, answerable, verdict};
use sipx_testkit::rfc4475::{CASES, case};

use Verdict::{Accept, Drop, Refuse};

const VERDICTS: &[(&str, Verdict)] = &[
    // 3.1.1: valid, however odd they look.
    ("wsinv", Accept),
    ("intmeth", Accept), // the core answers 405 or 501
    ("esc01", Accept),
    ("escnull", Accept),
    ("esc02", Accept),
    ("lwsdisp", Accept),
    ("longreq", Accept),
    ("dblreq", Accept), // the second request in the datagram is dropped
    ("semiuri", Accept),
    ("transports", Accept),
    ("mpart01", Accept),
    ("unreason", Accept),
    ("noreason", Accept),
    // 3.1.2: invalid.
    ("badinv01", Refuse(400)),
    ("clerr", Refuse(400)),
    ("ncl", Refuse(400)),
    ("scalar02", Refuse(400)),
    ("scalarlg", Drop),
    ("quotbal", Refuse(400)),
    // A liberal element may guess what was meant in the next four. An edge that guesses gives two readings of
    // one message to the two sides, so it refuses.
    ("ltgtruri", Refuse(400)),
    ("lwsruri", Refuse(400)),
    ("lwsstart", Refuse(400)),
    ("trws", Refuse(400)),
    // Ignoring the headers in the Request-URI is the other choice (§3.1.2.11); the sender's intention would
    // be lost without a word.
    ("escruri", Refuse(400)),
    // Refusing is allowed (§3.1.2.12), for elements that care about Date. We neither read it nor pass it on.
    ("baddate", Accept),
    ("regbadct", Refuse(400)),
    ("badaspec", Refuse(400)),
    ("baddn", Refuse(400)),
    ("badvers", Refuse(505)),
    ("mismatch01", Refuse(400)),
    // §3.1.2.18 allows 501 or 400.
    ("mismatch02", Refuse(400)),
    ("bigcode", Drop),
    // 3.2: no transaction identifier behind the magic cookie. Refused, since all of that sender's
    // transactions would be taken for one.
    ("badbranch", Refuse(400)),
    // 3.3: application layer.
    ("insuf", Refuse(400)),
    ("unkscm", Refuse(416)),
    ("novelsc", Refuse(416)),
    ("unksm2", Accept),   // only the Request-URI's scheme has to be known
    ("bext01", Accept),   // 420 by the core
    ("invut", Accept),    // 415 by the core
    ("regaut01", Accept), // credentials are the registrar's business
    ("multi01", Refuse(400)),
    ("mcl01", Refuse(400)),
    // A second Via in a response that reached us: it was meant for a proxy, and must not be sent on to the
    // broadcast address.
    ("bcast", Drop),
    ("zeromf", Accept), // 483 by the core
    ("cparam01", Accept),
    ("cparam02", Accept),
    ("regescrt", Accept),
    ("sdp01", Accept), // 406 or 488 by the core
    // 3.4: RFC 2543 syntax still works.
    ("inv2543", Accept),
];

fn bytes(name: &str) -> &'static [u8] {
    case(name).expect("in the corpus").bytes
}

fn message(name: &str) -> Message<'static> {
    Message::parse(bytes(name)).expect(name)
}

#[test]
fn every_message_gets_its_verdict() {
    for &(name, expected) in VERDICTS {
        assert_eq!(verdict(bytes(name)), expected, "{name}");
    }
}

#[test]
fn no_message_is_left_out() {
    for case in CASES {
        // `test` is in the archive of the RFC's appendix, but no section speaks of it.
        let judged = VERDICTS.iter().any(|(name, _)| *name == case.name);
        assert!(judged || case.name == "test", "{} has no verdict", case.name);
    }
    verdict(bytes("test"));
}

#[test]
fn every_refused_request_can_be_answered() {
    for &(name, expected) in VERDICTS {
        if let Refuse(_) = expected {
            // insuf lacks From and To by design: the core answers with what is there or not at all.
            assert_eq!(answerable(bytes(name)), name != "insuf", "{name}");
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
        ("mismatch02", "CSeq Method Mismatch"),
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
