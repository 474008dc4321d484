//! Everything that may pass is let pass, on both sides: what is named passes, and nothing beside it.

use super::*;
use sbc_core::{
    numbers::{Form, Numbering},
    topology::{Assert, DiversionForm, HeaderPolicy, Identity, Proof, Proofs, SecretHeader},
};

/// A trunk with every way through open.
fn open(trunk: &mut Trunk, diversion: DiversionForm) {
    trunk.numbers = Some(Box::new(Numbering {
        destination: Form::E164,
        originator: Form::E164,
        asserted: Form::E164,
        ..Numbering::default()
    }));
    trunk.identity = Some(Box::new(Identity {
        trusted: true,
        accept_preferred: true,
        remote_party_id: true,
        asserted: Assert::Always,
        ..Identity::default()
    }));
    trunk.headers = Some(Box::new(HeaderPolicy {
        accept: vec!["X-Named".into()],
        send: vec!["X-Named".into()],
        count_max: 3,
        bytes_max: 200,
        user_to_user: true,
        diversion,
        ..HeaderPolicy::default()
    }));
    trunk.proofs = Some(Box::new(Proofs {
        inbound: Proof::default(),
        outbound: Proof {
            token: Some(SecretHeader::new("X-Token", b"of-this-trunk".to_vec().into())),
            ..Proof::default()
        },
    }));
}

/// `bytes` of `side` with what may pass unmarked, and marks all around it.
fn named(side: Side, bytes: &[u8]) -> Vec<u8> {
    let m = side.marker();
    let h = format!("h{m}.example");
    let mut text = String::from_utf8(bytes.to_vec()).unwrap();
    for (marked, named) in [
        (
            format!("P-Asserted-Identity: \"{m}\" <sip:{m}@{h}>"),
            format!("P-Asserted-Identity: \"{m}\" <sip:+44771@{h};x={m}>;x={m}"),
        ),
        (
            format!("Diversion: <sip:{m}@{h}>;reason=unknown"),
            format!(
                "Diversion: \"{m}\" <sip:+44662@{h}:5099;x={m}>;x={m};reason=unknown;counter=2;extension=\"{m}\""
            ),
        ),
        (
            format!("User-to-User: {m};encoding=hex"),
            format!("User-to-User: abcd;encoding=hex;x={m};purpose=\"{m} \""),
        ),
        (
            format!("X-Secret: {m}"),
            format!(
                "X-Secret: {m}\r\nX-Named: 7\r\nX-Named{m}: 7\r\nX-Token: {m}\r\nP-Charge-Info: <sip:{m}@{h}>"
            ),
        ),
        (
            format!("Subject: {m}"),
            format!("Subject: {m}\r\nPrivacy: id;x{m}"),
        ),
    ] {
        assert!(text.contains(&marked), "{marked}");
        text = text.replacen(&marked, &named, 1);
    }
    text.into_bytes()
}

/// Header fields that an INVITE of ours may have.
const KNOWN: &[&str] = &[
    "Via",
    "Max-Forwards",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Contact",
    "Allow",
    "Session-Expires",
    "Min-SE",
    "Supported",
    "User-Agent",
    "Privacy",
    "P-Asserted-Identity",
    "Remote-Party-ID",
    "X-Named",
    "User-to-User",
    "Diversion",
    "History-Info",
    "X-Token",
    "Content-Type",
    "Content-Length",
];

#[test]
fn with_every_way_open_only_what_is_named_passes() {
    for diversion in [DiversionForm::Diversion, DiversionForm::History] {
        let mut stage = Stage::of(|trunk| open(trunk, diversion));
        let invite = named(A, &invite(&mut stage));
        stage.say(A, &invite);
        let at_b = stage.last(B, "INVITE");
        for (name, value) in &at_b.headers {
            assert!(KNOWN.contains(&name.as_str()), "{name}: {value} has passed");
        }
        assert_eq!(at_b.get("P-Asserted-Identity"), Some("<sip:+44771@198.51.100.1>"));
        assert_eq!(
            at_b.get("Remote-Party-ID"),
            Some("<sip:+44771@198.51.100.1>;party=calling;screen=yes;privacy=full")
        );
        assert_eq!(at_b.get("Privacy"), Some("id"));
        assert_eq!(at_b.get("X-Named"), Some("7"));
        assert_eq!(at_b.get("X-Token"), Some("of-this-trunk"));
        assert_eq!(at_b.get("User-to-User"), Some("abcd;encoding=hex"));
        match diversion {
            DiversionForm::History => assert_eq!(
                at_b.get("History-Info"),
                Some(
                    "<sip:+44662@198.51.100.1>;index=1, \
                     <sip:+1598765@10.82.0.2;cause=404>;index=1.1;mp=1"
                )
            ),
            _ => assert_eq!(
                at_b.get("Diversion"),
                Some("<sip:+44662@198.51.100.1>;reason=unknown;counter=2")
            ),
        }
        let refused = named(B, &response(B, &at_b, 486, ""));
        stage.say(B, &refused);
        let at_a = stage.last(A, "486");
        for kept in [
            "P-Asserted-Identity",
            "X-Named",
            "User-to-User",
            "Diversion",
            "History-Info",
            "X-Token",
        ] {
            assert!(at_a.get(kept).is_none(), "{kept} in a response");
        }
        let own = Msg::parse(&invite).unwrap();
        let ack = with_invite("ACK", &own, at_a.get("To").unwrap());
        stage.say(A, &ack);
        stage.end();
    }
}

#[test]
fn a_whole_call_with_every_way_open() {
    let mut stage = Stage::of(|trunk| open(trunk, DiversionForm::Diversion));
    // What would pass unmarked is marked here in what no way is open for: all later messages of the call.
    let bytes = named(A, &invite(&mut stage));
    stage.say(A, &bytes);
    let at_b = stage.last(B, "INVITE");
    stage.say(B, &response(B, &at_b, 183, &sdp(B, 1, "sendrecv")));
    let ok = response(B, &at_b, 200, &sdp(B, 1, "sendrecv"));
    stage.say(B, &ok);
    let at_a = stage.last(A, "200");
    let talk = Talk {
        a_to: at_a.get("To").unwrap().to_owned(),
        a_target: uri(at_a.get("Contact").unwrap()).to_owned(),
        b_from: Msg::parse(&ok).unwrap().get("To").unwrap().to_owned(),
        b_to: at_b.get("From").unwrap().to_owned(),
        b_call_id: at_b.call_id().to_owned(),
        b_target: uri(at_b.get("Contact").unwrap()).to_owned(),
    };
    talk.say(&mut stage, A, "ACK", 1, "");
    talk.say(&mut stage, A, "INVITE", 2, &sdp(A, 2, "sendonly"));
    let re = stage.last(B, "INVITE");
    assert!(re.get("X-Token").is_none(), "proofs are for new calls");
    stage.say(B, &response(B, &re, 200, &sdp(B, 2, "recvonly")));
    talk.say(&mut stage, A, "ACK", 2, "");
    talk.say(&mut stage, B, "BYE", 10, "");
    let bye = stage.last(A, "BYE");
    stage.say(A, &response(A, &bye, 200, ""));
    stage.end();
}
