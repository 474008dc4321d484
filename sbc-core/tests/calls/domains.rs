//! Calls by the host of their Request-URI (S12), domains that are not the proxy's address (S10).

use crate::desk::*;
use sbc_core::config;

fn desk(trunk: &str) -> Desk {
    let text = format!(
        r#"
        [[listener]]
        name = "main"
        address = "127.0.0.1:5060"
        [media]
        address = "127.0.0.1"
        ports = "20000-20999"
        [[trunk]]
        name = "carrier"
        hosts = ["127.0.0.2"]
        [[trunk]]
        name = "stranger"
        hosts = ["127.0.0.4"]
        [[trunk]]
        name = "platform"
        hosts = ["127.0.0.3"]
        {trunk}
        [[route]]
        from = "stranger"
        to = "carrier"
        "#
    );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

fn to_host(host: &str) -> String {
    request("INVITE", &format!("sip:1000@{host}"), 1, "inv1", "", OFFER)
}

const SUBDOMAIN: &str = r#"domains = ["Platform.sbc.test"]
        domains_from = ["carrier"]"#;

#[test]
fn a_domain_leads_to_its_trunk_without_a_route() {
    for host in [
        "platform.sbc.test",
        "PLATFORM.SBC.TEST:5060",
        "platform.sbc.test.",
    ] {
        let mut desk = desk(SUBDOMAIN);
        let sent = desk.caller(&to_host(host));
        let out = only(&sent, "INVITE");
        assert_eq!(out.start(), "INVITE sip:1000@127.0.0.3 SIP/2.0", "{host}");
    }
}

#[test]
fn other_trunks_may_not_use_it_even_if_they_have_a_route() {
    let mut desk = desk(SUBDOMAIN);
    let from_stranger = to_host("platform.sbc.test").replace("127.0.0.2", "127.0.0.4");
    let sent = desk.deliver("127.0.0.4:5060", &from_stranger);
    assert_eq!(only(&sent, "403").to, "127.0.0.4:5060".parse().unwrap());
    assert!(sent.iter().all(|s| s.kind() != "INVITE"));
    assert_eq!(desk.shard.counters().refused_domain, 1);
}

#[test]
fn other_hosts_follow_the_route() {
    let mut desk = desk(SUBDOMAIN);
    let sent = desk.caller(&to_host("sbc.test"));
    assert_eq!(kinds(&sent), ["A<100", "A<404"], "the carrier has no route");
}

#[test]
fn an_outbound_proxy_is_named_in_a_route_and_the_target_stays_the_host() {
    let mut desk = desk(&format!(
        r#"target = "sip.provider.test"
        outbound_proxy = "127.0.0.3:5070"
        {SUBDOMAIN}"#
    ));
    let sent = desk.caller(&to_host("platform.sbc.test"));
    let out = only(&sent, "INVITE").clone();
    assert_eq!(out.to, "127.0.0.3:5070".parse().unwrap());
    assert_eq!(out.start(), "INVITE sip:1000@sip.provider.test SIP/2.0");
    assert_eq!(out.header("Route"), "<sip:127.0.0.3:5070;lr>");
    assert_eq!(out.header("To"), "<sip:1000@sip.provider.test>");
    // The ACK of a refusal takes the same way (§17.1.1.3).
    let sent = desk.deliver("127.0.0.3:5070", &response(&out, 486, "t", "", ""));
    assert_eq!(only(&sent, "ACK").header("Route"), "<sip:127.0.0.3:5070;lr>");
    assert!(desk.questions.is_empty(), "the target's name is not looked up");
}

#[test]
fn after_the_answer_the_route_set_is_the_callees() {
    let mut desk = desk(&format!(
        r#"target = "sip.provider.test"
        outbound_proxy = "127.0.0.3:5070"
        {SUBDOMAIN}"#
    ));
    let sent = desk.caller(&to_host("platform.sbc.test"));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.deliver(
        "127.0.0.3:5070",
        &response(&out, 200, "t", "sip:bob@127.0.0.3:5099", ANSWER),
    );
    let ack = only(&sent, "ACK");
    assert!(!ack.has("Route"), "{}", ack.text);
    assert_eq!(ack.to, "127.0.0.3:5099".parse().unwrap());
}

#[test]
fn a_domain_of_the_trunk_stands_in_request_uri_and_to() {
    let mut desk = desk(&format!("domain = \"tenant7.example.com\"\n{SUBDOMAIN}"));
    let sent = desk.caller(&to_host("platform.sbc.test"));
    let out = only(&sent, "INVITE");
    assert_eq!(out.start(), "INVITE sip:1000@tenant7.example.com SIP/2.0");
    assert_eq!(out.header("To"), "<sip:1000@tenant7.example.com>");
    assert_eq!(out.to, "127.0.0.3:5060".parse().unwrap());
}

/// Emergency calls go to the carrier; the platform's domain is for nobody.
const EMERGENCY: &str = "domains = [\"platform.sbc.test\"]\ndomains_from = [\"stranger\"]\n[emergency]\nnumbers = [\"112\"]\nto = \"stranger\"";

#[test]
fn an_emergency_number_wins_over_the_domain_that_it_is_dialled_at() {
    let mut desk = desk(EMERGENCY);
    let call = to_host("platform.sbc.test");
    let sent = desk.caller(&call.replace("sip:1000@platform", "sip:112@platform"));
    let out = only(&sent, "INVITE");
    assert_eq!(out.start(), "INVITE sip:112@127.0.0.4 SIP/2.0");
    assert_eq!(desk.shard.counters().emergency_calls, 1);
    let other = call.replace("inv1", "inv2").replace("caller-call-id", "other");
    assert_eq!(
        kinds(&desk.caller(&other)),
        ["A<100", "A<403"],
        "all others keep to the domain"
    );
}
