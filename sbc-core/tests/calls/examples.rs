//! The configurations under `docs/examples`, each with a call through it.

use crate::desk::*;
use sbc_core::config;
use std::{fs, path::Path};

/// A desk with the configuration `text` of the example `name`. Its certificates, which a shard does not look at, are
/// somewhere else.
fn example(name: &str, text: &str) -> Desk {
    let certified = rcgen::generate_simple_self_signed(vec!["sbc.example".to_owned()]).unwrap();
    let files = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::write(files.join("chain.pem"), certified.cert.pem()).unwrap();
    fs::write(files.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let text = text.replace("/etc/sbcd/tls", &files.display().to_string());
    let config = config::parse(&text, name).unwrap_or_else(|error| panic!("{error}"));
    let (snapshot, admission) = config.compile().unwrap();
    Desk::of(snapshot, admission)
}

const SRTP_OFFER: &str = "v=0\r\no=caller 1 1 IN IP4 203.0.113.20\r\ns=-\r\nc=IN IP4 203.0.113.20\r\nt=0 0\r\n\
    m=audio 4000 RTP/SAVP 0 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5\r\n";

#[test]
fn a_virtual_trunk_over_tls() {
    let text = include_str!("../../../docs/examples/virtual-trunk.toml");
    let mut desk = example("virtual-trunk.toml", text);
    // The carrier calls a DID.
    let invite = request("INVITE", "sip:442079460123@192.0.2.1", 1, "inv1", "", OFFER)
        .replace("sip:1000@127.0.0.1", "sip:442079460123@192.0.2.1")
        .replace("sip:4930123@127.0.0.2", "sip:33142685300@198.51.100.7")
        .replace("127.0.0.2", "198.51.100.7")
        .replacen(
            "Contact:",
            "P-Asserted-Identity: <sip:33142685301@198.51.100.7>\r\nX-Campaign: spring\r\n\
             Diversion: <sip:442079460199@198.51.100.7>;reason=no-answer\r\nUser-to-User: 00a1;encoding=hex\r\nContact:",
            1,
        );
    let sent = desk.deliver("198.51.100.7:5060", &invite);
    let out = only(&sent, "INVITE").clone();
    assert!(out.over.is_some() && out.to == "203.0.113.20:5061".parse().unwrap());
    assert_eq!(
        out.start(),
        "INVITE sip:+442079460123@tenant7.voice.example;user=phone SIP/2.0"
    );
    assert!(
        out.header("From").contains("<sip:+33142685300@192.0.2.1:5061>"),
        "{}",
        out.text
    );
    assert_eq!(
        out.header("P-Asserted-Identity"),
        "<sip:+33142685301@192.0.2.1:5061>"
    );
    assert_eq!(
        out.header("History-Info"),
        "<sip:+442079460199@192.0.2.1:5061>;index=1, \
         <sip:+442079460123@tenant7.voice.example;user=phone;cause=408>;index=1.1;mp=1"
    );
    for (name, value) in [
        ("X-Campaign", "spring"),
        ("X-Tenant", "7"),
        ("X-Voice-Token", "change-me-outbound"),
        ("User-to-User", "00a1;encoding=hex"),
    ] {
        assert_eq!(out.header(name), value);
    }
    assert!(
        out.body().contains("RTP/SAVP") && !out.text.contains("198.51.100"),
        "{}",
        out.text
    );

    // The platform calls out, once without its secret.
    let line = desk
        .try_accept(sbc_core::shard::ListenerId(1), "203.0.113.20:40000")
        .unwrap();
    desk.prove(line, &[]);
    let call = |token: &str, branch: &str| {
        request("INVITE", "sip:+33142685300@192.0.2.1", 1, branch, "", SRTP_OFFER)
            .replace("SIP/2.0/UDP", "SIP/2.0/TLS")
            .replace("sip:1000@127.0.0.1", "sip:+33142685300@192.0.2.1")
            .replace("sip:4930123@127.0.0.2", "sip:+442079460777@203.0.113.20")
            .replace("127.0.0.2", "203.0.113.20")
            .replace("caller-call-id", &format!("call-{branch}"))
            .replacen("Contact:", &format!("{token}Contact:"), 1)
    };
    let sent = desk.write(line, call("", "out1"));
    only(&sent, "403");
    let sent = desk.write(line, call("X-Voice-Token: change-me-inbound\r\n", "out2"));
    let out = only(&sent, "INVITE").clone();
    assert_eq!(out.to, "198.51.100.7:5060".parse().unwrap());
    assert_eq!(out.start(), "INVITE sip:33142685300@198.51.100.7 SIP/2.0");
    // Its number is none of ours.
    assert!(
        out.header("From").contains("<sip:442079460100@192.0.2.1>"),
        "{}",
        out.text
    );
    assert_eq!(out.header("P-Asserted-Identity"), "<sip:442079460100@192.0.2.1>");
    assert!(
        !out.text.contains("change-me") && !out.text.contains("SAVP"),
        "{}",
        out.text
    );
}
