//! Several accounts at one provider (T6).

use crate::desk::*;
use sbc_core::{config, shard::Command, shard::Level};
use std::{sync::Arc, time::Duration};

/// The caller's side is a provider with two accounts; each has a route of its own.
fn text(register: &str) -> String {
    let trunk = |name: &str, user: &str| {
        format!(
            "[[trunk]]\nname = \"{name}\"\nhosts = [\"127.0.0.2\"]\n\
             account = {{ username = \"{user}\", password = \"s3cret\" }}\n{register}\n"
        )
    };
    let platform = |name: &str, host: &str| format!("[[trunk]]\nname = \"{name}\"\nhosts = [\"{host}\"]\n");
    let route = |from: &str, to: &str| format!("[[route]]\nfrom = \"{from}\"\nto = \"{to}\"\n");
    [
        "[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:5060\"\n[media]\naddress = \"127.0.0.1\"\n"
            .to_owned(),
        trunk("acme", "4930100"),
        trunk("globex", "4930200"),
        platform("one", "127.0.0.3"),
        platform("two", "127.0.0.4"),
        route("acme", "one"),
        route("globex", "two"),
    ]
    .concat()
}

fn desk(register: &str) -> Desk {
    let (snapshot, admission) = config::parse(&text(register), "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

fn call(id: &str, uri: &str, to: &str) -> String {
    request("INVITE", uri, 1, id, "", OFFER)
        .replacen("To: <sip:1000@127.0.0.1>", &format!("To: <{to}>"), 1)
        .replace("caller-call-id", id)
}

/// Where a call goes: the host of the last that is said about it.
fn went(desk: &mut Desk, id: &str, uri: &str, to: &str) -> (String, String) {
    let sent = desk.caller(&call(id, uri, to));
    let last = sent.last().unwrap();
    (last.kind().to_owned(), last.to.ip().to_string())
}

#[test]
fn a_call_is_for_the_account_whose_contact_was_registered() {
    let another = "[[trunk]]\nname = \"another\"\nhosts = [\"192.0.2.9\"]\n";
    let compiled = |text: &str| config::parse(text, "test").unwrap().compile().unwrap();
    let (snapshot, admission) = compiled(&(text("register = {}") + another));
    let mut desk = Desk::of(snapshot, admission);
    let mut contacts = Vec::new();
    for _ in 0..10 {
        for sent in desk.pass(Duration::from_millis(100)) {
            if sent.kind() == "REGISTER" {
                let contact = sent.header("Contact");
                let uri = contact
                    .trim_start_matches('<')
                    .split('>')
                    .next()
                    .unwrap()
                    .to_owned();
                contacts.push((sent.header("To").to_owned(), uri));
            }
        }
    }
    contacts.sort();
    contacts.dedup();
    assert_eq!(contacts.len(), 2, "{contacts:?}");
    // The number in To is nobody's: only the Contact tells.
    let there = |host: &str| ("INVITE".to_owned(), host.to_owned());
    assert_eq!(
        went(&mut desk, "a", &contacts[0].1, "sip:777@p"),
        there("127.0.0.3")
    );
    assert_eq!(
        went(&mut desk, "b", &contacts[1].1, "sip:777@p"),
        there("127.0.0.4")
    );
    // Also after the trunks have changed places.
    let moved = text("register = {}").replacen("[[trunk]]", &format!("{another}[[trunk]]"), 1);
    let (snapshot, _) = compiled(&moved);
    desk.command(Command::Configure(Arc::new(snapshot)));
    assert_eq!(
        went(&mut desk, "c", &contacts[1].1, "sip:777@p"),
        there("127.0.0.4")
    );
}

#[test]
fn a_call_is_for_the_account_whose_name_it_has() {
    let mut desk = desk("");
    for (id, uri, to, host) in [
        ("a", "sip:4930100@127.0.0.1", "sip:x@p", "127.0.0.3"),
        ("b", "sip:+4930200@127.0.0.1", "sip:x@p", "127.0.0.4"),
        ("c", "sip:s@127.0.0.1", "sip:4930200@p", "127.0.0.4"),
        // The Request-URI goes before.
        ("d", "sip:4930100@127.0.0.1", "sip:4930200@p", "127.0.0.3"),
    ] {
        assert_eq!(
            went(&mut desk, id, uri, to),
            ("INVITE".to_owned(), host.to_owned()),
            "{id}"
        );
    }
}

#[test]
fn a_call_for_nobody_in_particular_is_485_and_told() {
    let mut desk = desk("");
    assert_eq!(went(&mut desk, "a", "sip:777@127.0.0.1", "sip:888@p").0, "485");
    let message = request("MESSAGE", "sip:777@127.0.0.1", 1, "m", "", "").replace("caller-call-id", "m");
    assert_eq!(kinds(&desk.caller(&message)), ["A<485"]);
    assert_eq!(desk.shard.counters().refused_ambiguous, 2);
    let told = desk.events.iter().filter(|event| event.level == Level::Warn);
    assert!(
        told.clone().all(|event| event
            .text
            .contains("for 777 could be for any of the trunks acme, globex")),
        "{:?}",
        desk.events
    );
    assert_eq!(told.count(), 2);
    // What is for no account is answered as ever.
    let options = request("OPTIONS", "sip:127.0.0.1", 1, "o", "", "").replace("caller-call-id", "o");
    assert_eq!(kinds(&desk.caller(&options)), ["A<200"]);
    desk.assert_quiet();
}

#[test]
fn a_whole_call_of_the_second_account_works() {
    let mut desk = desk("");
    let sent = desk.caller(&call("w", "sip:4930200@127.0.0.1", "sip:4930200@p"));
    let invite = only(&sent, "INVITE").clone();
    let answer = response(&invite, 200, "calleetag", "sip:bob@127.0.0.4:5060", ANSWER);
    let sent = desk.deliver("127.0.0.4:5060", &answer);
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    let within = |method: &str, cseq: u32, branch: &str| {
        request(method, &contact, cseq, branch, "", "")
            .replacen(
                "To: <sip:1000@127.0.0.1>",
                &format!("To: <sip:4930200@p>;tag={tag}"),
                1,
            )
            .replace("caller-call-id", "w")
    };
    assert!(desk.caller(&within("ACK", 1, "ack")).is_empty());
    let sent = desk.caller(&within("BYE", 2, "bye"));
    let bye = only(&sent, "BYE").clone();
    desk.deliver("127.0.0.4:5060", &response(&bye, 200, "", "", ""));
    desk.assert_quiet();
    assert_eq!(desk.records[0].from_trunk, "globex");
}

#[test]
fn the_same_host_without_accounts_is_a_mistake() {
    for text in [
        text("").replace("username = \"4930200\"", "username = \"4930100\""),
        text("").replacen(
            "account = { username = \"4930100\", password = \"s3cret\" }",
            "",
            1,
        ),
    ] {
        let told = config::parse(&text, "test").unwrap_err().to_string();
        assert!(
            told.contains("127.0.0.2 is also a host of trunk \"acme\""),
            "{told}"
        );
        assert!(told.contains("an account of its own"), "{told}");
    }
}
