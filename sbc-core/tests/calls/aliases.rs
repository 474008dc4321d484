//! Names that numbers have outside, `user@host` or a host alone (T9).

use crate::desk::*;
use sbc_core::{
    admin::{protocol::TestRoute, route::report},
    config,
};

const CONFIG: &str = r#"[[listener]]
name = "main"
address = "127.0.0.1:5060"
[media]
address = "127.0.0.1"
[[trunk]]
name = "carrier"
hosts = ["127.0.0.2"]
[[trunk]]
name = "stranger"
hosts = ["127.0.0.4"]
[[trunk]]
name = "platform"
hosts = ["127.0.0.3"]
domain = "tenant.example.com"
numbers = { destination = "e164" }
[[did]]
numbers = ["+493012345"]
aliases = ["support@sip.example.com", "Sales.example.com"]
from = "carrier"
to = "platform"
"#;

fn desk() -> Desk {
    let (snapshot, admission) = config::parse(CONFIG, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

/// A call to this URI, which To has as well.
fn call(uri: &str) -> String {
    request("INVITE", uri, 1, "inv1", "", OFFER).replace("To: <sip:1000@127.0.0.1>", &format!("To: <{uri}>"))
}

#[test]
fn who_calls_the_name_calls_the_number() {
    for uri in [
        "sip:support@sip.example.com",
        "sip:support@SIP.Example.com.:5060;transport=udp",
        "sip:support;x=1@sip.example.com",
        "sip:sales.example.com",
        "sip:anybody@sales.example.com",
        // As ever, whatever the host.
        "sip:+493012345@sip.example.com",
        "sip:493012345@127.0.0.1",
    ] {
        let mut desk = desk();
        let sent = desk.caller(&call(uri));
        let out = only(&sent, "INVITE");
        assert_eq!(out.to, CALLEE.parse().unwrap(), "{uri}");
        assert_eq!(
            out.start(),
            "INVITE sip:+493012345@tenant.example.com SIP/2.0",
            "{uri}"
        );
        assert_eq!(out.header("To"), "<sip:+493012345@tenant.example.com>", "{uri}");
        assert!(
            !out.text.contains("example.com>;") && !out.text.contains("support"),
            "{}",
            out.text
        );
    }
}

#[test]
fn other_names_are_nobodys() {
    for uri in [
        "sip:Support@sip.example.com",
        "sip:help@sip.example.com",
        "sip:support@example.com",
        "sip:sip.example.com",
    ] {
        let mut desk = desk();
        assert_eq!(kinds(&desk.caller(&call(uri))), ["A<100", "A<404"], "{uri}");
    }
}

#[test]
fn a_name_is_for_those_whom_the_number_is_for() {
    let mut desk = desk();
    let text = call("sip:support@sip.example.com").replace("127.0.0.2", "127.0.0.4");
    let sent = desk.deliver("127.0.0.4:5060", &text);
    assert_eq!(only(&sent, "404").to, "127.0.0.4:5060".parse().unwrap());
    assert!(sent.iter().all(|sent| sent.kind() != "INVITE"));
}

#[test]
fn route_test_knows_names() {
    let (snapshot, _) = config::parse(CONFIG, "test").unwrap().compile().unwrap();
    let ask = |number: &str| {
        let test = TestRoute {
            number: number.to_owned(),
            from: Some("carrier".to_owned()),
        };
        report(&snapshot, &test, 0).unwrap()
    };
    for name in ["support@sip.example.com", "sip:x@sales.example.com"] {
        let report = ask(name);
        assert_eq!(
            (report.digits.as_str(), report.targets.len()),
            ("493012345", 1),
            "{name}"
        );
    }
    assert!(ask("other@sip.example.com").targets.is_empty());
}

#[test]
fn names_are_those_of_one_number() {
    for (from, to, told) in [
        (
            "[\"+493012345\"]",
            "[\"+4930123-99\"]",
            "did.aliases: an alias is the name of one number with its country code: give that number a [[did]] of its own",
        ),
        (
            "[\"+493012345\"]",
            "[\"+493012345\", \"+493012346\"]",
            "did.aliases: an alias is the name of one number",
        ),
        (
            "Sales.example.com",
            "support@sip.example.com",
            "did.aliases: support@sip.example.com is listed twice",
        ),
        (
            "Sales.example.com",
            "sales.example.com:5060",
            "the host is no name without a port",
        ),
        (
            "Sales.example.com",
            "a b@sales.example.com",
            "the user cannot stand in a SIP URI",
        ),
        (
            "domain = \"tenant.example.com\"",
            "domains = [\"sales.example.com\"]\ndomains_from = [\"carrier\"]",
            "did.aliases: calls to sales.example.com go to trunk \"platform\", which has it in domains: remove one of them",
        ),
        (
            "[[did]]",
            "[[did]]\nnumbers = [\"+49301\"]\naliases = [\"sales.example.com\"]\nto = \"platform\"\n[[did]]",
            "did.aliases: sales.example.com is the name of +49301 already: keep one of them",
        ),
    ] {
        let error = config::parse(&CONFIG.replacen(from, to, 1), "test")
            .unwrap_err()
            .to_string();
        assert!(error.contains(told), "{error}");
    }
}
