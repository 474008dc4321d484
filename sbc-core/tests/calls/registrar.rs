//! Users of a trunk say where they are, and calls find them there (RFC 3261 §10.3, T3).

use crate::{
    desk::*,
    lines::tcp,
    login::{PHONE, alice, challenged, desk_of, proof, text, with},
};
use sbc_core::{
    config,
    digest::Account,
    shard::{Command, ShardId},
};
use std::sync::Arc;

fn desk() -> Desk {
    desk_of(&text("", ""))
}

fn bob() -> Account {
    Account::new(b"bob", b"b0b")
}

/// A REGISTER of `user`, whose telephone says that it is at `host`.
pub(crate) fn register(user: &str, call_id: &str, cseq: u32, host: &str, headers: &str) -> String {
    format!(
        "REGISTER sip:r SIP/2.0\r\nVia: SIP/2.0/UDP {host};rport;branch=z9hG4bK{call_id}{cseq}\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@r>;tag=t\r\nTo: <sip:{user}@r>\r\nCall-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\n{headers}\
         Content-Length: 0\r\n\r\n"
    )
}

/// What a REGISTER of `account` with these header fields, numbers `cseq` and the next, is answered in the end.
fn answered(desk: &mut Desk, from: &str, account: &Account, call_id: &str, cseq: u32, headers: &str) -> Sent {
    let user = String::from_utf8(account.username().to_vec()).unwrap();
    let first = register(&user, call_id, cseq, from, headers);
    let refusal = challenged(desk, from, &first);
    let again = register(&user, call_id, cseq + 1, from, headers);
    let sent = desk.deliver(from, &with(&again, &proof(account, &refusal, &again, 1)));
    assert_eq!(sent.len(), 1, "{:?}", kinds(&sent));
    assert_eq!(sent[0].to, from.parse().unwrap());
    sent[0].clone()
}

fn contacts(answer: &Sent) -> Vec<String> {
    let lines = answer.text.lines().filter(|line| line.starts_with("Contact: "));
    lines.map(|line| line[9..].to_owned()).collect()
}

/// The platform calls `number`: the last that both hear of.
fn called(desk: &mut Desk, id: &str, number: &str) -> Vec<Sent> {
    let invite = request("INVITE", &format!("sip:{number}@127.0.0.1"), 1, id, "", OFFER)
        .replace("127.0.0.2", "127.0.0.3")
        .replace("<sip:1000@", &format!("<sip:{number}@"))
        .replace("caller-call-id", id);
    desk.callee(&invite)
}

#[test]
fn a_user_registers_and_is_called_where_it_is() {
    for (algorithm, name) in [("MD5", "md5"), ("SHA-256", "sha")] {
        let mut desk = desk_of(&text("", &format!(", algorithms = [\"{algorithm}\"]")));
        let answer = answered(
            &mut desk,
            PHONE,
            &alice(),
            name,
            1,
            &format!("Contact: <sip:al@{PHONE}>\r\nExpires: 7200\r\nUser-Agent: phone\r\n"),
        );
        assert_eq!(answer.start(), "SIP/2.0 200 OK");
        assert_eq!(contacts(&answer), [format!("<sip:al@{PHONE}>;expires=3600")]);
        let sent = called(&mut desk, "in", "alice");
        let invite = only(&sent, "INVITE").clone();
        assert_eq!(invite.to, PHONE.parse().unwrap());
        assert_eq!(invite.start(), format!("INVITE sip:al@{PHONE} SIP/2.0"));
        assert_eq!(invite.header("To"), "<sip:alice@r>");
        let answer = response(&invite, 200, "at", "sip:al@192.168.1.2:5060", ANSWER);
        let sent = desk.deliver(PHONE, &answer);
        // Its Contact is behind its NAT: everything goes where it sends from.
        assert_eq!(only(&sent, "ACK").to, PHONE.parse().unwrap());
        let contact = invite.header("Contact").trim_matches(['<', '>']).to_owned();
        let bye = format!(
            "BYE {contact} SIP/2.0\r\nVia: SIP/2.0/UDP 192.168.1.2;rport;branch=z9hG4bKb\r\nMax-Forwards: 70\r\n\
             From: <sip:alice@r>;tag=at\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n",
            invite.header("From"),
            invite.header("Call-ID")
        );
        // From its place, a BYE is not challenged.
        let sent = desk.deliver(PHONE, &bye);
        assert_eq!(only(&sent, "200").to, PHONE.parse().unwrap());
        let counters = desk.shard.counters();
        assert_eq!((counters.registers_received, counters.registers_granted), (1, 1));
        assert!(
            desk.events
                .iter()
                .any(|event| event.text == format!("trunk carrier: user alice registered from {PHONE}"))
        );
    }
}

#[test]
fn who_is_nowhere_is_480_and_who_is_nobody_404() {
    let mut desk = desk();
    for (number, status) in [("alice", "480"), ("bob", "480"), ("carol", "404")] {
        let sent = called(&mut desk, number, number);
        assert_eq!(sent.last().unwrap().kind(), status, "{number}");
    }
    let counters = desk.shard.counters();
    assert_eq!(counters.refused_not_registered, 2);
    desk.assert_quiet();
}

#[test]
fn the_only_user_of_a_trunk_takes_every_number() {
    let one = |more: &str| {
        text("", more)
            .replace(", {username = \"bob\", password = \"b0b\" }", "")
            .replace(", { username = \"bob\", password = \"b0b\" }", "")
    };
    for (more, uri) in [
        ("", "sip:pbx@10.9.8.7:33333;x=y"),
        (", number_in_uri = true", "sip:4930777@10.9.8.7:33333;x=y"),
    ] {
        let mut desk = desk_of(&one(more));
        let contact = "Contact: <sip:pbx@10.9.8.7:33333;x=y>\r\n";
        answered(&mut desk, PHONE, &alice(), "c", 1, contact);
        let sent = called(&mut desk, "in", "4930777");
        let invite = only(&sent, "INVITE");
        assert_eq!(invite.start(), format!("INVITE {uri} SIP/2.0"));
        assert_eq!(invite.header("To"), "<sip:4930777@r>");
    }
}

#[test]
fn a_number_reaches_its_user_and_is_written_as_the_trunk_wants_it() {
    let numbers = |written: &str| {
        let german = format!("numbers = {{ country = \"DE\", destination = \"{written}\" }}");
        text(&german, ", number_in_uri = true").replace("\"alice\"", "\"4930777888\"")
    };
    for (written, user) in [
        ("e164", "+4930777888"),
        ("plain", "4930777888"),
        ("national", "030777888"),
        ("pass", "+49-30-777888"),
    ] {
        let mut desk = desk_of(&numbers(written));
        let account = Account::new(b"4930777888", b"s3cret");
        let contact = "Contact: <sip:al@10.9.8.7:33333>\r\n";
        answered(&mut desk, PHONE, &account, "c", 1, contact);
        // Of two users it is the one whose name means the number that is called.
        let sent = called(&mut desk, "in", "+49-30-777888");
        let invite = only(&sent, "INVITE");
        assert_eq!(
            invite.start(),
            format!("INVITE sip:{user}@10.9.8.7:33333 SIP/2.0")
        );
        let sent = called(&mut desk, "none", "+4930777889");
        assert_eq!(sent.last().unwrap().kind(), "404");
    }
}

#[test]
fn contacts_are_tried_in_their_order_and_the_next_after_a_failure() {
    const OTHER: &str = "10.9.8.8:5070";
    let mut desk = desk();
    let low = format!("Contact: <sip:low@{PHONE}>;q=0.3\r\n");
    answered(&mut desk, PHONE, &alice(), "c1", 1, &low);
    let answer = answered(
        &mut desk,
        OTHER,
        &alice(),
        "c2",
        1,
        &format!("Contact: <sip:high@{OTHER}>;q=0.35\r\n"),
    );
    assert_eq!(
        contacts(&answer),
        [
            format!("<sip:low@{PHONE}>;expires=3600;q=0.300"),
            format!("<sip:high@{OTHER}>;expires=3600;q=0.350")
        ]
    );
    for (id, status, goes_on) in [("a", 486, true), ("b", 480, true), ("c", 603, false)] {
        let sent = called(&mut desk, id, "alice");
        let first = only(&sent, "INVITE").clone();
        assert_eq!(first.to, OTHER.parse().unwrap());
        let sent = desk.deliver(OTHER, &response(&first, status, "t", "", ""));
        if !goes_on {
            assert_eq!(sent.last().unwrap().kind(), "603");
            continue;
        }
        let second = only(&sent, "INVITE").clone();
        assert_eq!(second.to, PHONE.parse().unwrap());
        assert_eq!(second.start(), format!("INVITE sip:low@{PHONE} SIP/2.0"));
        let sent = desk.deliver(PHONE, &response(&second, 486, "t", "", ""));
        assert_eq!(sent.last().unwrap().kind(), "486");
    }
    // Silence is a failure, too.
    called(&mut desk, "d", "alice");
    let sent = desk.pass(seconds(10));
    let invites: Vec<_> = sent
        .iter()
        .filter(|s| s.kind() == "INVITE")
        .map(|s| s.to)
        .collect();
    assert_eq!(invites.last(), Some(&PHONE.parse().unwrap()));
}

#[test]
fn too_brief_a_time_is_423_and_what_is_granted_may_be_less_than_asked() {
    let mut desk = desk();
    let brief = format!("Contact: <sip:a@{PHONE}>;expires=30\r\n");
    let answer = answered(&mut desk, PHONE, &alice(), "c", 1, &brief);
    assert_eq!(answer.kind(), "423");
    assert_eq!(answer.header("Min-Expires"), "60");
    assert_eq!(desk.shard.counters().registers_refused, 1);
    // From behind a NAT: less.
    let natted = "Contact: <sip:a@192.168.1.2>;expires=600\r\n";
    let answer = answered(&mut desk, PHONE, &alice(), "c", 3, natted);
    assert_eq!(contacts(&answer), ["<sip:a@192.168.1.2>;expires=60"]);
    desk.pass(seconds(59));
    assert!(
        called(&mut desk, "in", "alice")
            .iter()
            .any(|sent| sent.kind() == "INVITE")
    );
    desk.pass(seconds(2));
    assert_eq!(called(&mut desk, "in2", "alice").last().unwrap().kind(), "480");
    assert!(
        desk.events
            .iter()
            .any(|event| event.text.ends_with("no longer registered: its time is over"))
    );
    assert_eq!(desk.shard.users_registered(), 0);
}

#[test]
fn bindings_are_asked_for_and_taken_back() {
    let mut desk = desk();
    let two = format!("Contact: <sip:a@{PHONE}>, <sip:b@{PHONE}>\r\n");
    answered(&mut desk, PHONE, &alice(), "c", 1, &two);
    let answer = answered(&mut desk, PHONE, &alice(), "d", 1, "");
    assert_eq!(contacts(&answer).len(), 2);
    let gone = format!("Contact: <sip:a@{PHONE}>;expires=0\r\n");
    let answer = answered(&mut desk, PHONE, &alice(), "c", 3, &gone);
    assert_eq!(contacts(&answer), [format!("<sip:b@{PHONE}>;expires=3600")]);
    // An older request of the same Call-ID is none.
    let old = register("alice", "c", 2, PHONE, &gone);
    let refusal = challenged(&mut desk, PHONE, &old.replace("z9hG4bKc2", "z9hG4bKold"));
    let old = old
        .replace("z9hG4bKc2", "z9hG4bKolder")
        .replace("<sip:a@", "<sip:b@");
    let sent = desk.deliver(PHONE, &with(&old, &proof(&alice(), &refusal, &old, 1)));
    assert_eq!(kinds(&sent), ["B<500"]);
    let answer = answered(&mut desk, PHONE, &alice(), "e", 1, "Contact: *\r\nExpires: 0\r\n");
    assert_eq!(contacts(&answer), Vec::<String>::new());
    assert_eq!(called(&mut desk, "in", "alice").last().unwrap().kind(), "480");
    desk.assert_quiet();
}

#[test]
fn nobody_registers_another() {
    let mut desk = desk();
    let headers = format!("Contact: <sip:x@{PHONE}>\r\n");
    let first = register("alice", "c", 1, PHONE, &headers);
    let refusal = challenged(&mut desk, PHONE, &first);
    let again = register("alice", "c", 2, PHONE, &headers);
    let sent = desk.deliver(PHONE, &with(&again, &proof(&bob(), &refusal, &again, 1)));
    assert_eq!(kinds(&sent), ["B<403"]);
    assert_eq!(called(&mut desk, "in", "alice").last().unwrap().kind(), "480");
    // Nor does anybody where calls go to a target.
    let mut desk = desk_of(&text("target = \"127.0.0.2:5060\"", ""));
    let answer = answered(&mut desk, PHONE, &alice(), "c", 1, &headers);
    assert_eq!(answer.kind(), "403");
    // What must be understood is not.
    let mut desk = self::desk();
    let answer = answered(&mut desk, PHONE, &alice(), "c", 1, "Require: path\r\n");
    assert_eq!((answer.kind(), answer.header("Unsupported")), ("420", "path"));
}

#[test]
fn a_register_is_answered_when_it_is_stored_and_not_before() {
    let mut desk = desk();
    desk.holds_changes = true;
    let headers = format!("Contact: <sip:a@{PHONE}>\r\n");
    let first = register("alice", "c", 1, PHONE, &headers);
    let refusal = challenged(&mut desk, PHONE, &first);
    let again = register("alice", "c", 2, PHONE, &headers);
    let again = with(&again, &proof(&alice(), &refusal, &again, 1));
    assert!(desk.deliver(PHONE, &again).is_empty());
    assert!(desk.deliver(PHONE, &again).is_empty(), "sent again");
    let change = desk.changes.remove(0);
    assert_eq!(
        (&*change.record.trunk, &*change.record.user),
        ("carrier", "alice")
    );
    let sent = desk.command(Command::Bindings {
        records: Arc::new([Arc::clone(&change.record)]),
        stored: Arc::new([change.ticket]),
        unsaved: false,
    });
    assert_eq!(kinds(&sent), ["B<200"]);
    // Sent again after that, it hears the same.
    assert_eq!(kinds(&desk.deliver(PHONE, &again)), ["B<200"]);
    // When the store does not come round, nothing is said, and nothing is left of it.
    let headers = format!("Contact: <sip:b@{PHONE}>\r\n");
    let first = register("alice", "d", 1, PHONE, &headers);
    let refusal = challenged(&mut desk, PHONE, &first);
    let again = register("alice", "d", 2, PHONE, &headers);
    assert!(
        desk.deliver(PHONE, &with(&again, &proof(&alice(), &refusal, &again, 1)))
            .is_empty()
    );
    assert!(desk.pass(seconds(17)).is_empty());
    let counters = desk.shard.counters();
    assert_eq!(counters.registers_not_stored, 1);
    assert_eq!(desk.shard.gauges().transactions, 0);
}

#[test]
fn every_shard_knows_where_a_user_is() {
    let (snapshot, admission) = config::parse(&text("", ""), "test").unwrap().compile().unwrap();
    let (snapshot, admission) = (Arc::new(snapshot), Arc::new(admission));
    let mut desks =
        [0, 1].map(|id| Desk::of_shard(ShardId(id), 2, Arc::clone(&snapshot), Arc::clone(&admission)));
    for desk in &mut desks {
        desk.holds_changes = true;
    }
    // Whoever hears of it, one shard deals with it: the same for each Call-ID.
    let headers = format!("Contact: <sip:a@{PHONE}>\r\n");
    let mut owners = Vec::new();
    for id in ["c1", "c2", "c3", "c4", "c5", "c6"] {
        let first = register("alice", id, 1, PHONE, &headers);
        let sent = desks[0].deliver(PHONE, &first);
        owners.push(sent.is_empty());
    }
    assert!(owners.iter().all(|owner| *owner == owners[0]), "{owners:?}");
    let owner = usize::from(owners[0]);
    let first = register("alice", "c", 1, PHONE, &headers);
    let refusal = challenged(&mut desks[owner], PHONE, &first);
    let again = register("alice", "c", 2, PHONE, &headers);
    let again = with(&again, &proof(&alice(), &refusal, &again, 1));
    assert!(desks[owner].deliver(PHONE, &again).is_empty());
    let change = desks[owner].changes.remove(0);
    let command = |stored: &[u64]| Command::Bindings {
        records: Arc::new([Arc::clone(&change.record)]),
        stored: stored.into(),
        unsaved: false,
    };
    assert!(desks[1 - owner].command(command(&[])).is_empty());
    assert_eq!(kinds(&desks[owner].command(command(&[change.ticket]))), ["B<200"]);
    let reached: Vec<bool> = (0..8)
        .map(|n| {
            let id = format!("in{n}");
            let sent = called(&mut desks[0], &id, "alice");
            let sent = if sent.is_empty() {
                called(&mut desks[1], &id, "alice")
            } else {
                sent
            };
            only(&sent, "INVITE").to == PHONE.parse().unwrap()
        })
        .collect();
    assert_eq!(reached, [true; 8]);
    assert!(desks.iter().all(|desk| desk.shard.counters().calls_admitted > 0));
}

#[test]
fn a_user_is_reached_over_its_connection_as_long_as_there_is_one() {
    let text = "[[listener]]\nname = \"udp\"\naddress = \"127.0.0.1:5060\"\n\
         [[listener]]\nname = \"tcp\"\ntransport = \"tcp\"\naddress = \"127.0.0.1:5060\"\n\
         [media]\naddress = \"127.0.0.1\"\n\
         [[trunk]]\nname = \"carrier\"\n\
         login = { realm = \"r\", user = [{ username = \"alice\", password = \"s3cret\" }] }\n\
         [[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\nlistener = \"udp\"\n\
         [[route]]\nfrom = \"platform\"\nto = \"carrier\"\n";
    let mut desk = desk_of(text);
    let line = desk.accept("10.9.8.7:40000");
    let headers = "Contact: <sip:a@192.168.1.2;transport=tcp>\r\n";
    let first = register("alice", "c", 1, "192.168.1.2", headers).replace("/UDP", "/TCP");
    let refusal = only(&desk.write(line, tcp(&first)), "401").clone();
    let again = register("alice", "c", 2, "192.168.1.2", headers).replace("/UDP", "/TCP");
    let sent = desk.write(line, tcp(&with(&again, &proof(&alice(), &refusal, &again, 1))));
    let answer = only(&sent, "200");
    assert_eq!(answer.over, Some(line));
    // A connection keeps the way open: no shorter time.
    assert_eq!(
        contacts(answer),
        ["<sip:a@192.168.1.2;transport=tcp>;expires=3600"]
    );
    desk.pass(seconds(60));
    let sent = called(&mut desk, "in", "1000");
    assert_eq!(only(&sent, "INVITE").over, Some(line));
    desk.end(line, sbc_core::io::Closed::End);
    let sent = called(&mut desk, "in2", "1000");
    assert_eq!(sent.last().unwrap().kind(), "480");
}

#[test]
fn what_was_stored_holds_after_a_restart_and_a_new_configuration() {
    let mut desk = desk();
    desk.holds_changes = true;
    let headers = format!("Contact: <sip:a@{PHONE}>\r\n");
    let first = register("alice", "c", 1, PHONE, &headers);
    let refusal = challenged(&mut desk, PHONE, &first);
    let again = register("alice", "c", 2, PHONE, &headers);
    desk.deliver(PHONE, &with(&again, &proof(&alice(), &refusal, &again, 1)));
    let record = Arc::clone(&desk.changes[0].record);
    let another = "[[trunk]]\nname = \"another\"\nhosts = [\"192.0.2.77\"]\n";
    let mut desk = desk_of(&(text("", "") + another));
    desk.command(Command::Bindings {
        records: Arc::new([record]),
        stored: Arc::default(),
        unsaved: false,
    });
    assert!(
        called(&mut desk, "in", "alice")
            .iter()
            .any(|sent| sent.to == PHONE.parse().unwrap())
    );
    // The trunk has another place in the new configuration; the user is the same.
    let moved = text("", "").replacen("[[trunk]]", &format!("{another}[[trunk]]"), 1);
    let configure = |text: &str| {
        let (snapshot, _) = config::parse(text, "test").unwrap().compile().unwrap();
        Command::Configure(Arc::new(snapshot))
    };
    desk.command(configure(&moved));
    assert!(
        called(&mut desk, "in2", "alice")
            .iter()
            .any(|sent| sent.to == PHONE.parse().unwrap())
    );
    // And is gone when it is not in it any more.
    desk.command(configure(&moved.replace("\"alice\"", "\"alicia\"")));
    assert_eq!(desk.shard.users_registered(), 0);
    assert_eq!(called(&mut desk, "in3", "alicia").last().unwrap().kind(), "480");
}

#[test]
fn a_text_to_a_user_goes_where_it_is() {
    let mut desk = desk();
    let headers = format!("Contact: <sip:al@{PHONE}>\r\n");
    answered(&mut desk, PHONE, &alice(), "c", 1, &headers);
    let message = request("MESSAGE", "sip:alice@127.0.0.1", 1, "m", "", "").replace("127.0.0.2", "127.0.0.3");
    let sent = desk.callee(&message);
    let message = only(&sent, "MESSAGE");
    assert_eq!(message.to, PHONE.parse().unwrap());
    assert_eq!(message.start(), format!("MESSAGE sip:al@{PHONE} SIP/2.0"));
}
