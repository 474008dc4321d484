//! The TLS options: what they compile to, and the exact text for every mistake.

use sbc_core::{
    config::parse,
    snapshot::{ClientAuth, Snapshot},
};
use std::path::Path;

/// A file that every machine with this source has; only its being readable matters here.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

fn text(listener: &str, trunk: &str) -> String {
    format!(
        r#"[[listener]]
name = "secure"
transport = "tls"
address = "127.0.0.1:5061"
{listener}
[media]
address = "127.0.0.1"
[[trunk]]
name = "carrier"
hosts = ["127.0.0.2"]
{trunk}
"#
    )
    .replace("FILE", FILE)
}

const CERTIFIED: &str = "tls = { certificate = \"FILE\", key = \"FILE\" }";

fn snapshot(listener: &str, trunk: &str) -> Snapshot {
    let config = parse(&text(listener, trunk), "sbc.toml").unwrap_or_else(|error| panic!("{error}"));
    config.compile().unwrap().0
}

fn refused(listener: &str, trunk: &str) -> String {
    match parse(&text(listener, trunk), "sbc.toml") {
        Ok(_) => panic!("accepted: {listener} {trunk}"),
        Err(error) => error.to_string().replace(FILE, "FILE"),
    }
}

#[test]
fn every_option_arrives() {
    let snapshot = snapshot(
        "[listener.tls]\ncertificate = \"FILE\"\nkey = \"FILE\"\nclient_auth = \"optional\"\nclient_ca = \"FILE\"",
        "[trunk.tls]\nserver_name = \"SIP.Example.com\"\nca = \"FILE\"\ncertificate = \"FILE\"\nkey = \"FILE\"\n\
         client_names = [\"Pop1.Example.com\", \"192.0.2.1\"]",
    );
    let tls = snapshot.listeners[0].tls.as_ref().unwrap();
    assert_eq!(tls.client_auth, ClientAuth::Optional);
    for path in [&tls.certificate, &tls.key, tls.client_ca.as_ref().unwrap()] {
        assert_eq!(path, Path::new(FILE));
    }
    let peer = &snapshot.trunks[0].peer;
    assert_eq!(peer.tls_name.as_deref(), Some("sip.example.com"));
    let names: Vec<&str> = peer.tls_client_names.iter().map(|name| &**name).collect();
    assert_eq!(names, ["pop1.example.com", "192.0.2.1"]);
    for path in [&peer.tls.ca, &peer.tls.certificate, &peer.tls.key] {
        assert_eq!(path.as_deref(), Some(Path::new(FILE)));
    }
}

#[test]
fn nothing_more_than_a_certificate_is_needed() {
    let snapshot = snapshot(CERTIFIED, "");
    let tls = snapshot.listeners[0].tls.as_ref().unwrap();
    assert_eq!((tls.client_auth, &tls.client_ca), (ClientAuth::None, &None));
    let peer = &snapshot.trunks[0].peer;
    assert_eq!((&peer.tls_name, &peer.tls), (&None, &Default::default()));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let tls = |more: &str| format!("[listener.tls]\ncertificate = \"FILE\"\nkey = \"FILE\"\n{more}");
    let cases = [
        (
            refused("", ""),
            "sbc.toml:3:13: listener.transport: \"tls\" needs a certificate: add [listener.tls] with certificate and key below",
        ),
        (
            refused("[listener.tls]\ncertificate = \"FILE\"", ""),
            "sbc.toml:5:1: listener.tls.key: missing; it has no default and must be the absolute path of a file",
        ),
        (
            refused("[listener.tls]\ncertificate = \"sip.pem\"\nkey = \"FILE\"", ""),
            "sbc.toml:6:15: listener.tls.certificate: expected the absolute path of a file, found \"sip.pem\": it must begin with a slash",
        ),
        (
            refused(
                "[listener.tls]\ncertificate = \"/nowhere/sip.pem\"\nkey = \"FILE\"",
                "",
            ),
            "sbc.toml:6:15: listener.tls.certificate: /nowhere/sip.pem cannot be read: No such file or directory (os error 2)",
        ),
        (
            refused(&tls("client_auth = \"required\""), ""),
            "sbc.toml:8:15: listener.tls.client_auth: needs client_ca: the file of the CAs that clients' certificates come from",
        ),
        (
            refused(&tls("client_auth = \"yes\""), ""),
            "sbc.toml:8:15: listener.tls.client_auth: expected \"none\", \"optional\" or \"required\", found \"yes\"",
        ),
        (
            refused(&tls("client_ca = \"FILE\""), ""),
            "sbc.toml:8:13: listener.tls.client_ca: has no effect without client_auth: set it to \"optional\" or \"required\", or remove this",
        ),
        (
            refused(CERTIFIED, "tls = { certificate = \"FILE\" }"),
            "sbc.toml:11:23: trunk.tls.certificate: has no effect without key: set both, or none",
        ),
        (
            refused(CERTIFIED, "tls = { key = \"FILE\" }"),
            "sbc.toml:11:15: trunk.tls.key: has no effect without certificate: set both, or none",
        ),
        (
            refused(CERTIFIED, "tls = { ca = \"/nowhere/ca.pem\" }"),
            "sbc.toml:11:14: trunk.tls.ca: /nowhere/ca.pem cannot be read: No such file or directory (os error 2)",
        ),
        (
            refused(CERTIFIED, "tls = { server_name = \"*.example.com\" }"),
            "sbc.toml:11:23: trunk.tls.server_name: \"*.example.com\" is no host name; expected one such as \"sip.example.com\", without a final dot",
        ),
        (
            refused(CERTIFIED, "tls = { client_names = [\"carrier.example.com\"] }"),
            "sbc.toml:11:24: trunk.tls.client_names: listener \"secure\" does not ask peers for a certificate: set client_auth in its [listener.tls]",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
    let udp = text(CERTIFIED, "").replace("\"tls\"", "\"udp\"");
    assert_eq!(
        parse(&udp, "sbc.toml").unwrap_err().to_string(),
        "sbc.toml:5:7: listener.tls: has no effect with transport = \"udp\": use \"tls\", or remove it"
    );
}
