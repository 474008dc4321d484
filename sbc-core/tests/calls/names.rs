//! Trunks that are reached by name: never a call waits for DNS (S8).

use crate::desk::*;
use sbc_core::{
    config,
    resolve::{Candidate, Query, ResolveError, Resolved},
    shard::{Command, Level},
    transport::Transport,
};
use std::net::SocketAddr;

/// The platform is `sip.platform.test`; nothing is known of it yet.
pub(crate) fn named_desk(more: &str) -> Desk {
    named_desk_of("", more)
}

/// The same, with lines for the carrier, too.
pub(crate) fn named_desk_of(carrier: &str, more: &str) -> Desk {
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
        {carrier}
        [[trunk]]
        name = "platform"
        hosts = []
        target = "sip.platform.test"
        {more}
        [[route]]
        from = "carrier"
        to = "platform"
        "#
    );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    let mut desk = Desk::of(snapshot, admission);
    desk.pass(seconds(0));
    desk
}

/// Answer the only question that is open.
pub(crate) fn answer(desk: &mut Desk, addresses: &[(&str, u32)], ttl_s: u64) -> Query {
    let (id, query) = desk.questions.pop().expect("a question");
    let candidates = addresses.iter().map(|(address, priority)| Candidate {
        transport: Transport::Udp,
        address: address.parse().unwrap(),
        priority: *priority,
        weight: 1,
    });
    let resolved = Resolved {
        candidates: candidates.collect(),
        ttl: seconds(ttl_s),
    };
    desk.command(Command::Resolved(id, Ok(resolved)));
    query
}

pub(crate) fn invited(sent: &[Sent]) -> Option<SocketAddr> {
    let invite = sent.iter().find(|s| s.kind() == "INVITE");
    invite.map(|s| s.to)
}

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_name_is_asked_for_before_any_call() {
    let mut desk = named_desk("");
    let query = answer(&mut desk, &[("127.0.0.9:5070", 0)], 60);
    assert_eq!(
        (&*query.host, query.port, query.transport),
        ("sip.platform.test", None, None)
    );
    let sent = desk.caller(&invite());
    assert_eq!(invited(&sent), Some(at("127.0.0.9:5070")));
    let out = only(&sent, "INVITE");
    assert_eq!(out.start(), "INVITE sip:1000@sip.platform.test SIP/2.0");
    assert_eq!(out.header("To"), "<sip:1000@sip.platform.test>");
}

#[test]
fn the_addresses_behind_the_name_are_sources_of_the_trunk() {
    let mut desk = named_desk("");
    assert!(desk.deliver("127.0.0.9:5070", "x").is_empty());
    assert_eq!(desk.shard.counters().sip_unknown_source, 1);
    answer(&mut desk, &[("127.0.0.9:5070", 0)], 60);
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.deliver(
        "127.0.0.9:5070",
        &response(&out, 180, "t", "sip:bob@127.0.0.9:5070", ""),
    );
    assert_eq!(kinds(&sent), ["A<180"]);
    let sent = desk.deliver("127.0.0.9:5070", &response(&out, 486, "t", "", ""));
    assert!(kinds(&sent).contains(&"A<486".to_owned()));
}

#[test]
fn an_unresolved_trunk_refuses_its_calls_and_says_so_once() {
    let mut desk = named_desk("");
    let sent = desk.caller(&invite());
    assert_eq!(kinds(&sent), ["A<100", "A<500"]);
    assert!(only(&sent, "500").has("Retry-After"));
    let counters = desk.shard.counters();
    assert_eq!((counters.refused_unresolved, counters.calls_admitted), (1, 0));
    for _ in 0..3 {
        let (id, _) = desk.questions.pop().expect("asked again");
        desk.command(Command::Resolved(id, Err(ResolveError::Failed)));
        desk.pass(seconds(10));
    }
    let warnings: Vec<_> = desk.events.iter().filter(|e| e.level == Level::Warn).collect();
    assert_eq!(warnings.len(), 1, "{:?}", desk.events);
    assert!(warnings[0].text.contains("sip.platform.test"));
    assert_eq!(desk.shard.counters().names_failed, 3);
}

#[test]
fn a_change_of_address_is_followed_and_calls_in_progress_stay() {
    let mut desk = named_desk("");
    answer(&mut desk, &[("127.0.0.9:5070", 0)], 60);
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.pass(seconds(3));
    while desk.questions.is_empty() {
        desk.pass(seconds(1));
    }
    answer(&mut desk, &[("127.0.0.10:5070", 0)], 60);
    let second = request("INVITE", "sip:1000@127.0.0.1", 1, "inv2", "", OFFER)
        .replace("caller-call-id", "another-call-id");
    assert_eq!(invited(&desk.caller(&second)), Some(at("127.0.0.10:5070")));
    assert_eq!(out.to, at("127.0.0.9:5070"));
}

#[test]
fn a_host_name_in_contact_is_asked_for_and_used_once_known() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite().replace("<sip:alice@127.0.0.2:5060>", "<sip:alice@pbx.caller.test>"));
    let out = only(&sent, "INVITE").clone();
    let (_, query) = desk.questions.last().expect("a question").clone();
    assert_eq!(
        (&*query.host, query.transport),
        ("pbx.caller.test", Some(Transport::Udp))
    );
    desk.callee(&ok(&out));
    let tag = tag_of(out.header("From"));
    assert!(!tag.is_empty());
    answer(&mut desk, &[("127.0.0.22:5080", 0)], 600);
    desk.now = desk.now + seconds(1);
    let sent = desk.callee(&callee_request(&out, "BYE", 1, "cb", ""));
    // Our 2xx is not acknowledged yet: the BYE waits for the ACK (§15).
    assert_eq!(kinds(&sent), ["B<200"]);
    let sent = desk.pass(seconds(40));
    let bye = only_first(&sent, "BYE");
    assert_eq!(bye.to, at("127.0.0.22:5080"));
    assert_eq!(bye.start(), "BYE sip:alice@pbx.caller.test SIP/2.0");
}

#[test]
fn until_a_name_in_contact_is_known_the_source_address_serves() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite().replace("<sip:alice@127.0.0.2:5060>", "<sip:alice@pbx.caller.test>"));
    let out = only(&sent, "INVITE").clone();
    desk.callee(&ok(&out));
    desk.callee(&callee_request(&out, "BYE", 1, "cb", ""));
    let sent = desk.pass(seconds(40));
    assert_eq!(only_first(&sent, "BYE").to, at(CALLER));
}

fn only_first<'s>(sent: &'s [Sent], kind: &str) -> &'s Sent {
    sent.iter().find(|s| s.kind() == kind).expect("one")
}
