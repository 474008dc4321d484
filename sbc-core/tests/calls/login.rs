//! Trunks of type credentials: who sends a request is proven by name and password (RFC 3261 §22, T1, T4).

use crate::desk::*;
use sbc_core::{
    config,
    digest::{Account, Challenge, Question},
    shard::{Command, Level},
};
use std::{sync::Arc, time::Duration};

/// Where Alice's telephone sends from: no trunk lists it.
pub(crate) const PHONE: &str = "10.9.8.7:33333";

/// Leg A's trunk must log in; `more` goes into `[trunk.login]`, `trunk` into the trunk.
pub(crate) fn text(trunk: &str, more: &str) -> String {
    let login = format!(
        "name = \"carrier\"\n{trunk}\nlogin = {{ realm = \"r\", user = [{{ username = \"alice\", password = \"s3cret\" }}, \
         {{ username = \"bob\", password = \"b0b\" }}]{more} }}"
    );
    config::DEFAULT_TOML.replacen("name = \"carrier\"\nhosts = [\"127.0.0.2\"]", &login, 1)
}

pub(crate) fn desk_of(text: &str) -> Desk {
    let (snapshot, admission) = config::parse(text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

fn roaming() -> Desk {
    desk_of(&text("target = \"127.0.0.2:5060\"", ""))
}

pub(crate) fn alice() -> Account {
    Account::new(b"alice", b"s3cret")
}

/// An INVITE of Alice's telephone, as its `n`th with this Call-ID.
pub(crate) fn call(id: &str, n: u32) -> String {
    let port = ";rport;branch=";
    request("INVITE", "sip:1000@127.0.0.1", n, &format!("{id}-{n}"), "", OFFER)
        .replace(";branch=", port)
        .replace("caller-call-id", id)
}

/// `request` with an Authorization.
pub(crate) fn with(request: &str, authorization: &str) -> String {
    request.replacen(
        "Max-Forwards",
        &format!("Authorization: {authorization}\r\nMax-Forwards"),
        1,
    )
}

/// The credentials of `account` that answer a challenge in `refusal`, with count `nc`, for `request`.
pub(crate) fn proof(account: &Account, refusal: &Sent, request: &str, nc: u32) -> String {
    let challenge = Challenge::parse(refusal.header("WWW-Authenticate").as_bytes()).unwrap();
    let mut words = request.split(' ');
    let method = words.next().unwrap();
    let question = Question {
        method: method.as_bytes(),
        uri: words.next().unwrap().as_bytes(),
        body: b"",
    };
    let mut value = Vec::new();
    account.answer(&mut value, &challenge, &question, nc, b"c");
    String::from_utf8(value).unwrap()
}

/// The 401 to `request`, which is all there is.
pub(crate) fn challenged(desk: &mut Desk, from: &str, request: &str) -> Sent {
    let sent = desk.deliver(from, request);
    assert_eq!(sent.len(), 1, "{:?}", kinds(&sent));
    assert_eq!(sent[0].start(), "SIP/2.0 401 Unauthorized");
    assert_eq!(sent[0].to, from.parse().unwrap());
    sent[0].clone()
}

#[test]
fn a_call_from_anywhere_is_challenged_and_goes_on_once_it_is_proven() {
    for algorithm in ["MD5", "SHA-256", "SHA-512-256"] {
        let mut desk = desk_of(&text(
            "target = \"127.0.0.2:5060\"",
            &format!(", algorithms = [\"{algorithm}\"]"),
        ));
        let refusal = challenged(&mut desk, PHONE, &call("a", 1));
        let challenge = refusal.header("WWW-Authenticate");
        assert!(
            challenge.starts_with("Digest realm=\"r\", nonce=\""),
            "{challenge}"
        );
        assert!(challenge.ends_with(&format!("algorithm={algorithm}, qop=\"auth\"")));
        // Its ACK is for nobody, and is no stray.
        let tag = tag_of(refusal.header("To"));
        let ack = request("ACK", "sip:1000@127.0.0.1", 1, "a-1", &tag, "").replace("caller-call-id", "a");
        assert!(desk.deliver(PHONE, &ack).is_empty());
        let again = call("a", 2);
        let again = with(&again, &proof(&alice(), &refusal, &again, 1));
        let sent = desk.deliver(PHONE, &again);
        assert_eq!(kinds(&sent), ["B<100", "B<INVITE"]);
        let out = only(&sent, "INVITE").clone();
        assert!(!out.has("Authorization"), "{}", out.text);
        // Back by where it came from, though its Contact is elsewhere; so is everything that follows.
        let sent = desk.callee(&ok(&out));
        let answer = only(&sent, "200").clone();
        assert_eq!(answer.to, PHONE.parse().unwrap());
        let tag = tag_of(answer.header("To"));
        let contact = answer.header("Contact").trim_matches(['<', '>']).to_owned();
        let ack = request("ACK", &contact, 2, "a-ack", &tag, "").replace("caller-call-id", "a");
        assert!(desk.deliver(PHONE, &ack).is_empty());
        let sent = desk.callee(&callee_request(&out, "BYE", 1, "bye", ""));
        assert_eq!(only(&sent, "BYE").to, PHONE.parse().unwrap());
        let bye = only(&sent, "BYE").clone();
        // From a source that nobody lists, its answer is taken.
        desk.deliver(PHONE, &response(&bye, 200, "", "", ""));
        desk.assert_quiet();
        let counters = desk.shard.counters();
        assert_eq!((counters.challenges_sent, counters.logins_proven), (1, 1));
        assert_eq!(counters.stray_acks, 0);
        assert_eq!(counters.sip_unknown_source, 0);
    }
}

#[test]
fn each_algorithm_is_offered_the_best_first() {
    let mut desk = roaming();
    let refusal = challenged(&mut desk, PHONE, &call("a", 1));
    let offered: Vec<&str> = refusal
        .text
        .lines()
        .filter(|line| line.starts_with("WWW-Authenticate"))
        .map(|line| {
            line.split("algorithm=")
                .nth(1)
                .unwrap()
                .split(',')
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(offered, ["SHA-256", "MD5"]);
    // No larger than what it answers, nearly.
    assert!(
        refusal.text.len() < 2 * call("a", 1).len(),
        "{}",
        refusal.text.len()
    );
}

#[test]
fn a_trunk_that_lists_its_hosts_logs_in_from_there_only() {
    let mut desk = desk_of(&text("hosts = [\"127.0.0.2\"]", ""));
    assert!(desk.deliver(PHONE, &call("a", 1)).is_empty());
    assert_eq!(desk.shard.counters().sip_unknown_source, 1);
    let refusal = challenged(&mut desk, CALLER, &call("a", 1));
    let again = call("a", 2);
    let sent = desk.caller(&with(&again, &proof(&alice(), &refusal, &again, 1)));
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
}

#[test]
fn a_wrong_password_is_forbidden_counted_and_told_once() {
    let mut desk = roaming();
    for (n, account) in [
        Account::new(b"alice", b"wrong"),
        Account::new(b"mallory", b"s3cret"),
        Account::new(b"bob", b"s3cret"),
    ]
    .iter()
    .enumerate()
    {
        let id = format!("w{n}");
        let refusal = challenged(&mut desk, PHONE, &call(&id, 1));
        let again = call(&id, 2);
        let again = with(&again, &proof(account, &refusal, &again, 1));
        // The same for a name that there is as for one that there is not; sent again, it is no other offence.
        for _ in 0..3 {
            let sent = desk.deliver(PHONE, &again);
            assert_eq!(kinds(&sent), ["B<403"]);
            assert!(!sent[0].has("WWW-Authenticate"));
        }
        assert_eq!(desk.shard.counters().logins_refused, n as u64 + 1);
    }
    let told: Vec<&str> = desk
        .events
        .iter()
        .filter(|event| event.level == Level::Warn)
        .map(|event| event.text.as_str())
        .collect();
    assert_eq!(
        told,
        ["log-in from 10.9.8.7:33333 refused: wrong name or password"]
    );
    desk.pass(seconds(61));
    let refusal = challenged(&mut desk, PHONE, &call("later", 1));
    let again = call("later", 2);
    desk.deliver(
        PHONE,
        &with(&again, &proof(&Account::new(b"x", b"y"), &refusal, &again, 1)),
    );
    assert_eq!(
        desk.events.last().unwrap().text,
        "log-in from 10.9.8.7:33333 refused: wrong name or password, 3 times since it was last told of"
    );
    assert_eq!(desk.shard.counters().calls_attempted, 0);
    desk.assert_quiet();
}

#[test]
fn a_nonce_is_good_for_its_time_and_each_count_once() {
    let mut desk = roaming();
    let refusal = challenged(&mut desk, PHONE, &call("a", 1));
    let mut n = 1;
    let mut attempt = |desk: &mut Desk, refusal: &Sent, nc: u32| {
        n += 1;
        let again = call(&format!("a{n}"), 1);
        let sent = desk.deliver(PHONE, &with(&again, &proof(&alice(), refusal, &again, nc)));
        (sent[0].kind().to_owned(), sent[0].clone())
    };
    assert_eq!(attempt(&mut desk, &refusal, 1).0, "100");
    assert_eq!(attempt(&mut desk, &refusal, 2).0, "100");
    // A count that was used: asked anew, not refused, for the password is right.
    let (status, stale) = attempt(&mut desk, &refusal, 2);
    assert_eq!(status, "401");
    assert!(stale.header("WWW-Authenticate").contains("stale=true"));
    assert_eq!(attempt(&mut desk, &stale, 1).0, "100");
    desk.pass(seconds(301));
    let (status, stale) = attempt(&mut desk, &stale, 2);
    assert_eq!(status, "401");
    assert!(stale.header("WWW-Authenticate").contains("stale=true"));
    assert_eq!(attempt(&mut desk, &stale, 1).0, "100");
    // Whoever does not know the password is not told that a nonce is old.
    desk.pass(seconds(301));
    let again = call("b", 1);
    let sent = desk.deliver(
        PHONE,
        &with(&again, &proof(&Account::new(b"alice", b"x"), &stale, &again, 9)),
    );
    assert_eq!(kinds(&sent), ["B<401"]);
    assert!(!sent[0].text.contains("stale"));
    assert_eq!(desk.shard.counters().logins_refused, 1);
    let life = desk_of(
        &text("target = \"127.0.0.2:5060\"", "").replace("[admin]", "[login]\nnonce_life_s = 10\n[admin]"),
    );
    let mut desk = life;
    let refusal = challenged(&mut desk, PHONE, &call("a", 1));
    desk.pass(seconds(11));
    assert_eq!(attempt(&mut desk, &refusal, 1).0, "401");
}

#[test]
fn a_repeated_request_with_credentials_is_absorbed() {
    let mut desk = roaming();
    let refusal = challenged(&mut desk, PHONE, &call("a", 1));
    let again = call("a", 2);
    let again = with(&again, &proof(&alice(), &refusal, &again, 1));
    assert_eq!(desk.deliver(PHONE, &again).len(), 2);
    // Its count is used by now, which is not asked.
    assert_eq!(kinds(&desk.deliver(PHONE, &again)), ["B<100"]);
    let counters = desk.shard.counters();
    assert_eq!((counters.logins_proven, counters.challenges_sent), (1, 1));
}

#[test]
fn every_method_outside_of_a_call_must_be_proven() {
    let mut desk = roaming();
    for (n, method) in [
        "OPTIONS",
        "MESSAGE",
        "REFER",
        "SUBSCRIBE",
        "BYE",
        "UPDATE",
        "REGISTER",
    ]
    .iter()
    .enumerate()
    {
        let ask = request(method, "sip:1000@127.0.0.1", 1, &format!("m{n}"), "", "")
            .replace(";branch=", ";rport;branch=")
            .replace("caller-call-id", method);
        challenged(&mut desk, PHONE, &ask);
    }
    let ask = request("OPTIONS", "sip:127.0.0.1", 1, "o1", "", "");
    let refusal = challenged(&mut desk, PHONE, &ask.replace(";branch=", ";rport;branch="));
    let ask = request("OPTIONS", "sip:127.0.0.1", 2, "o2", "", "").replace(";branch=", ";rport;branch=");
    let sent = desk.deliver(PHONE, &with(&ask, &proof(&alice(), &refusal, &ask, 1)));
    assert_eq!(kinds(&sent), ["B<200"]);
    desk.assert_quiet();
}

/// A call of Alice's that is answered: our tag and Contact, and the INVITE that went out.
fn established(desk: &mut Desk) -> Up {
    let refusal = challenged(desk, PHONE, &call("a", 1));
    let again = call("a", 2);
    let sent = desk.deliver(PHONE, &with(&again, &proof(&alice(), &refusal, &again, 1)));
    let invite = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&invite));
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    let ack = request("ACK", &contact, 2, "a-ack", &tag, "").replace("caller-call-id", "a");
    assert!(desk.deliver(PHONE, &ack).is_empty());
    Up {
        invite,
        ok,
        tag,
        contact,
    }
}

fn within(up: &Up, method: &str, cseq: u32, branch: &str, body: &str) -> String {
    request(method, &up.contact, cseq, branch, &up.tag, body)
        .replace("caller-call-id", "a")
        .replace(";branch=", ";rport;branch=")
}

#[test]
fn inside_of_a_call_its_place_is_proof_and_another_place_is_none() {
    const MOVED: &str = "10.9.8.7:44444";
    let mut desk = roaming();
    let up = established(&mut desk);
    let sent = desk.deliver(PHONE, &within(&up, "INFO", 3, "i1", ""));
    assert_eq!(kinds(&sent), ["B<INFO"]);
    let info = only(&sent, "INFO").clone();
    desk.callee(&response(&info, 200, "", "", ""));
    // REFER makes calls: it is always asked.
    let sent = desk.deliver(PHONE, &within(&up, "REFER", 4, "r1", ""));
    assert_eq!(kinds(&sent), ["B<401"]);
    // Its NAT has given it another port.
    let refusal = challenged(&mut desk, MOVED, &within(&up, "INFO", 5, "i2", ""));
    let again = within(&up, "INFO", 6, "i3", "");
    let sent = desk.deliver(MOVED, &with(&again, &proof(&alice(), &refusal, &again, 1)));
    assert_eq!(kinds(&sent), ["B<INFO"]);
    // From now on it is there.
    let sent = desk.callee(&callee_request(&up.invite, "BYE", 1, "bye", ""));
    assert_eq!(only(&sent, "BYE").to, MOVED.parse().unwrap());
}

#[test]
fn inside_of_a_call_credentials_are_asked_for_where_that_is_wanted() {
    let mut desk = desk_of(&text("target = \"127.0.0.2:5060\"", ", inside_calls = true"));
    let up = established(&mut desk);
    let refusal = challenged(&mut desk, PHONE, &within(&up, "BYE", 3, "b1", ""));
    let again = within(&up, "BYE", 4, "b2", "");
    let sent = desk.deliver(PHONE, &with(&again, &proof(&alice(), &refusal, &again, 1)));
    assert_eq!(kinds(&sent), ["B<200", "B<BYE"]);
}

#[test]
fn a_cancel_is_taken_from_where_its_invite_came() {
    let mut desk = roaming();
    let refusal = challenged(&mut desk, PHONE, &call("a", 1));
    let again = call("a", 2);
    let sent = desk.deliver(PHONE, &with(&again, &proof(&alice(), &refusal, &again, 1)));
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 180, "t", "sip:b@127.0.0.3", ""));
    let cancel = call("a", 2)
        .replace("INVITE sip", "CANCEL sip")
        .replace("2 INVITE", "2 CANCEL");
    let cancel = cancel.split("Content-Type").next().unwrap().to_owned() + "Content-Length: 0\r\n\r\n";
    assert!(desk.deliver("10.9.9.9:33333", &cancel).is_empty());
    let sent = desk.deliver(PHONE, &cancel);
    assert_eq!(kinds(&sent), ["B<200", "B<487", "B<CANCEL"]);
    // One that comes too late is answered, too: whoever sends it has seen the INVITE.
    let late = cancel.replace("CSeq: 2 CANCEL", "CSeq: 2 CANCEL\r\nSubject: again");
    assert_eq!(kinds(&desk.deliver(PHONE, &late)), ["B<200"]);
}

#[test]
fn nobody_hears_anything_where_nobody_may_log_in() {
    let mut desk = Desk::new();
    assert!(desk.deliver(PHONE, &call("a", 1)).is_empty());
    assert!(desk.deliver(PHONE, "noise").is_empty());
    assert_eq!(desk.shard.counters().sip_unknown_source, 2);
    // Nor do those who send nonsense where somebody may.
    let mut desk = roaming();
    for noise in [
        "noise".to_owned(),
        call("a", 1).replace("CSeq: 1 INVITE", "CSeq: x INVITE"),
        call("a", 1).replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"),
        response(&challenged(&mut roaming(), PHONE, &call("x", 1)), 200, "", "", ""),
        request("ACK", "sip:x@127.0.0.1", 1, "ack", "tag", ""),
        request("CANCEL", "sip:x@127.0.0.1", 1, "can", "", ""),
    ] {
        assert_eq!(
            kinds(&desk.deliver(PHONE, &noise)),
            Vec::<String>::new(),
            "{noise}"
        );
    }
    desk.assert_quiet();
}

#[test]
fn a_source_that_proves_nothing_gets_few_answers() {
    let text =
        text("target = \"127.0.0.2:5060\"", "").replace("[admin]", "[guard]\nunproven_max = 0\n[admin]");
    let mut desk = desk_of(&text);
    let flood = |desk: &mut Desk, from: &str| {
        (0..200)
            .filter(|n| !desk.deliver(from, &call(&format!("{from}{n}"), 1)).is_empty())
            .count()
    };
    assert_eq!(flood(&mut desk, PHONE), 50);
    assert_eq!(flood(&mut desk, "10.9.8.8:5060"), 50);
    let counters = desk.shard.counters();
    assert_eq!(counters.challenges_withheld + counters.guard_rate, 300);
    desk.pass(seconds(1));
    assert_eq!(flood(&mut desk, PHONE), 50);
    // All together, too.
    let few = text.replace("[admin]", "[login]\nchallenges_per_s = 60\n[admin]");
    let mut desk = desk_of(&few);
    assert_eq!(flood(&mut desk, PHONE), 50);
    assert_eq!(flood(&mut desk, "10.9.8.8:5060"), 10);
    assert_eq!(desk.shard.gauges(), Default::default(), "nothing is remembered");
}

#[test]
fn a_trunk_that_logs_in_elsewhere_is_a_stranger_here() {
    let text = text("target = \"127.0.0.2:5060\"\nlistener = \"main\"", "").replacen(
        "[[listener]]",
        "[[listener]]\nname = \"other\"\naddress = \"127.0.0.1:5070\"\n[[listener]]",
        1,
    );
    let mut desk = desk_of(&text);
    // The desk's datagrams come by the first listener.
    assert!(desk.deliver(PHONE, &call("a", 1)).is_empty());
    assert_eq!(desk.shard.counters().sip_unknown_source, 1);
}

#[test]
fn a_new_configuration_holds_for_log_ins() {
    let mut desk = roaming();
    let refusal = challenged(&mut desk, PHONE, &call("a", 1));
    let (snapshot, _) = config::parse(
        &text("target = \"127.0.0.2:5060\"", "").replace("s3cret", "other"),
        "test",
    )
    .unwrap()
    .compile()
    .unwrap();
    desk.command(Command::Configure(Arc::new(snapshot)));
    let again = call("a", 2);
    let sent = desk.deliver(PHONE, &with(&again, &proof(&alice(), &refusal, &again, 1)));
    assert_eq!(kinds(&sent), ["B<403"]);
    let again = call("a", 3);
    let changed = Account::new(b"alice", b"other");
    let sent = desk.deliver(PHONE, &with(&again, &proof(&changed, &refusal, &again, 2)));
    assert_eq!(kinds(&sent), ["B<100", "B<INVITE"]);
    desk.pass(Duration::from_millis(1));
}
