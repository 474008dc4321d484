//! Trunks are told where we are (RFC 3261 §10.2; correctness 31).

use crate::desk::*;
use sbc_core::{
    config,
    digest::{Account, Credentials, Proof, Question},
    health::Registration,
    shard::{Command, Level},
    trunk::TrunkId,
};
use std::{sync::Arc, time::Duration};

const PLATFORM: TrunkId = TrunkId(1);

/// Leg B's trunk is registered with.
fn desk(register: &str) -> (Desk, Arc<sbc_core::snapshot::Snapshot>) {
    let text = config::DEFAULT_TOML.replacen(
        "name = \"platform\"",
        &format!(
            "name = \"platform\"\naccount = {{ username = \"alice\", password = \"s3cret\" }}\n\
             register = {{ domain = \"reg.example\"{register} }}"
        ),
        1,
    );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    let snapshot = Arc::new(snapshot);
    let desk = Desk::of_shard(
        sbc_core::shard::ShardId(0),
        1,
        Arc::clone(&snapshot),
        Arc::new(admission),
    );
    (desk, snapshot)
}

fn next(desk: &mut Desk, within: Duration) -> Option<Sent> {
    let end = desk.now + within;
    while desk.now < end {
        let sent = desk.pass(Duration::from_millis(200));
        if let Some(register) = sent.into_iter().find(|sent| sent.kind() == "REGISTER") {
            return Some(register);
        }
    }
    None
}

fn first(desk: &mut Desk) -> Sent {
    next(desk, seconds(5)).expect("a REGISTER")
}

fn answer(request: &Sent, status: u16, more: &str) -> String {
    response(request, status, "t", "", "").replacen("Content-Length", &format!("{more}Content-Length"), 1)
}

/// A 200 that grants our Contact `expires`, between those of others.
fn granted(request: &Sent, expires: &str, header: &str) -> String {
    let ours = request.header("Contact").split(";expires").next().unwrap();
    let contacts = format!(
        "Contact: <sip:x@192.0.2.9>;expires=7, {ours}{expires}\r\nContact: <sip:y@192.0.2.9>;expires=9\r\n{header}"
    );
    answer(request, 200, &contacts)
}

#[test]
fn a_register_says_what_it_must_say() {
    let (mut desk, snapshot) = desk(", expires_s = 600");
    let register = first(&mut desk);
    assert_eq!(register.start(), "REGISTER sip:reg.example SIP/2.0");
    assert_eq!(register.header("To"), "<sip:alice@reg.example>");
    assert!(
        register
            .header("From")
            .starts_with("<sip:alice@reg.example>;tag=")
    );
    assert!(
        register
            .header("Contact")
            .ends_with("@127.0.0.1:5060>;expires=600")
    );
    assert_eq!(register.header("Expires"), "600");
    assert_eq!(register.header("CSeq"), "1 REGISTER");
    assert_eq!(snapshot.health.registration(PLATFORM).0, Registration::Asking);
    // Nobody else is registered with.
    assert_eq!(snapshot.health.registration(TrunkId(0)).0, Registration::None);
}

#[test]
fn what_is_granted_to_our_contact_holds_and_is_renewed_in_time() {
    for (expires, header, seconds_granted) in [
        (";expires=100", "Expires: 3000\r\n", 100),
        ("", "Expires: 200\r\n", 200),
        (";expires=\"100\"", "", 100),
        ("", "", 3600),
    ] {
        let (mut desk, snapshot) = desk("");
        let register = first(&mut desk);
        desk.callee(&granted(&register, expires, header));
        assert_eq!(snapshot.health.registration(PLATFORM).0, Registration::Registered);
        let at = desk.now;
        let again = next(&mut desk, seconds(seconds_granted)).expect("a refresh");
        let after = desk.now.since(at).as_secs_f64() / seconds_granted as f64;
        assert!((0.74..0.92).contains(&after), "{after} of {seconds_granted} s");
        // One Call-ID, numbers that grow, one Contact (§10.2).
        assert_eq!(again.header("Call-ID"), register.header("Call-ID"));
        assert_eq!(again.header("Contact"), register.header("Contact"));
        assert_eq!(again.header("CSeq"), "2 REGISTER");
        assert_ne!(again.branch(), register.branch());
    }
}

#[test]
fn a_challenge_is_answered_with_the_account() {
    let (mut desk, snapshot) = desk("");
    let register = first(&mut desk);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"\r\n";
    let sent = desk.callee(&answer(&register, 401, challenge));
    let second = only(&sent, "REGISTER").clone();
    assert_eq!(second.header("CSeq"), "2 REGISTER");
    let credentials = Credentials::parse(second.header("Authorization").as_bytes()).unwrap();
    let question = Question {
        method: b"REGISTER",
        uri: b"sip:reg.example",
        body: b"",
    };
    let account = Account::new(b"alice", b"s3cret");
    assert_eq!(account.vouches(&credentials, &question), Proof::Right);
    desk.callee(&granted(&second, ";expires=100", ""));
    assert_eq!(snapshot.health.registration(PLATFORM).0, Registration::Registered);
    // The refresh is challenged anew, for an old nonce.
    let third = next(&mut desk, seconds(100)).unwrap();
    let sent = desk.callee(&answer(&third, 401, challenge));
    assert_eq!(only(&sent, "REGISTER").header("CSeq"), "4 REGISTER");
    assert!(desk.events.iter().all(|event| !event.text.contains("s3cret")));
}

#[test]
fn a_wrong_password_is_told_and_not_hammered_with() {
    let (mut desk, snapshot) = desk("");
    let register = first(&mut desk);
    let sent = desk.callee(&answer(
        &register,
        401,
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n",
    ));
    let second = only(&sent, "REGISTER").clone();
    let sent = desk.callee(&answer(
        &second,
        401,
        "WWW-Authenticate: Digest realm=\"r\", nonce=\"m\"\r\n",
    ));
    assert!(sent.is_empty(), "{:?}", kinds(&sent));
    assert_eq!(
        snapshot.health.registration(PLATFORM).0,
        Registration::Failed(401)
    );
    let told = |text: &str| {
        desk.events
            .iter()
            .any(|event| event.level == Level::Warn && event.text.contains(text))
    };
    assert!(told("check username and password"), "{:?}", desk.events);
    assert!(
        told("trunk platform: not registered: 401; next attempt in"),
        "{:?}",
        desk.events
    );
    assert!(next(&mut desk, seconds(14)).is_none());
}

#[test]
fn a_423_is_asked_again_at_once_for_as_long_as_it_says() {
    let (mut desk, snapshot) = desk("");
    let register = first(&mut desk);
    desk.callee(&answer(&register, 423, "Min-Expires: 7200\r\n"));
    let second = next(&mut desk, seconds(1)).expect("at once");
    assert_eq!(second.header("Expires"), "7200");
    // No further than that: a 423 to what it asked for is a failure.
    desk.callee(&answer(&second, 423, "Min-Expires: 7200\r\n"));
    assert_eq!(
        snapshot.health.registration(PLATFORM).0,
        Registration::Failed(423)
    );
    assert!(next(&mut desk, seconds(14)).is_none());
    // And so is one for ever.
    let third = next(&mut desk, seconds(60)).unwrap();
    desk.callee(&answer(&third, 423, "Min-Expires: 4000000000\r\n"));
    assert!(next(&mut desk, seconds(20)).is_none());
}

#[test]
fn failures_are_tried_again_ever_later_and_success_forgets_them() {
    let (mut desk, snapshot) = desk("");
    let mut register = first(&mut desk);
    let mut longest: f64 = 30.0;
    for _ in 0..9 {
        desk.callee(&answer(&register, 500, ""));
        assert_eq!(
            snapshot.health.registration(PLATFORM).0,
            Registration::Failed(500)
        );
        let at = desk.now;
        register = next(&mut desk, seconds(2000)).expect("another attempt");
        let paused = desk.now.since(at).as_secs_f64();
        assert!(
            (longest / 2.0 - 1.0..longest + 1.0).contains(&paused),
            "{paused} of {longest} s"
        );
        longest = (longest * 2.0).min(1800.0);
    }
    desk.callee(&granted(&register, ";expires=100", ""));
    let register = next(&mut desk, seconds(100)).unwrap();
    desk.callee(&answer(&register, 500, ""));
    // It still holds, and nobody waits beyond its end.
    assert_eq!(snapshot.health.registration(PLATFORM).0, Registration::Registered);
    let register = next(&mut desk, seconds(26)).expect("before it ends");
    desk.callee(&answer(&register, 500, ""));
    let register = next(&mut desk, seconds(26));
    assert!(register.is_some(), "at its end");
    desk.callee(&answer(&register.unwrap(), 500, ""));
    assert_eq!(
        snapshot.health.registration(PLATFORM).0,
        Registration::Failed(500)
    );
}

#[test]
fn retry_after_is_obeyed_within_reason() {
    for (asked, least, most) in [("120", 120, 126), ("99999999", 3600, 3606)] {
        let (mut desk, _) = desk("");
        let register = first(&mut desk);
        desk.callee(&answer(&register, 503, &format!("Retry-After: {asked}\r\n")));
        assert!(next(&mut desk, seconds(least - 1)).is_none());
        assert!(next(&mut desk, seconds(most - least + 2)).is_some());
    }
}

#[test]
fn silence_is_a_failure_and_an_answer_too_late_is_nobodys() {
    let (mut desk, snapshot) = desk("");
    let register = first(&mut desk);
    desk.pass(seconds(17));
    assert_eq!(
        snapshot.health.registration(PLATFORM).0,
        Registration::Failed(408)
    );
    desk.callee(&granted(&register, ";expires=100", ""));
    assert_eq!(
        snapshot.health.registration(PLATFORM).0,
        Registration::Failed(408)
    );
    assert!(
        desk.events
            .iter()
            .any(|event| event.text.contains("it does not answer"))
    );
}

#[test]
fn silence_after_a_challenge_is_as_good_as_before_it() {
    let (mut desk, snapshot) = desk("");
    let register = first(&mut desk);
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n";
    let sent = desk.callee(&answer(&register, 401, challenge));
    only(&sent, "REGISTER");
    desk.pass(seconds(17));
    assert_eq!(
        snapshot.health.registration(PLATFORM).0,
        Registration::Failed(408)
    );
}

#[test]
fn who_drains_says_that_it_goes_and_comes_back_when_it_stays() {
    let (mut desk, snapshot) = desk("");
    let register = first(&mut desk);
    desk.callee(&granted(&register, ";expires=100", ""));
    let sent = desk.command(Command::Drain(true));
    let leaving = only(&sent, "REGISTER").clone();
    assert_eq!(leaving.header("Expires"), "0");
    assert!(leaving.header("Contact").ends_with(";expires=0"));
    desk.callee(&answer(&leaving, 200, ""));
    assert_eq!(snapshot.health.registration(PLATFORM).0, Registration::None);
    assert!(next(&mut desk, seconds(200)).is_none());
    let sent = desk.command(Command::Drain(false));
    let back = only(&sent, "REGISTER").clone();
    assert_eq!(back.header("Expires"), "3600");
    // To drain while that is under way: told once it is answered.
    assert!(desk.command(Command::Drain(true)).is_empty());
    desk.callee(&granted(&back, ";expires=100", ""));
    let leaving = next(&mut desk, seconds(1)).expect("told that we go");
    assert_eq!(leaving.header("Expires"), "0");
}

#[test]
fn a_call_to_the_registered_contact_is_for_the_number_in_to() {
    let text = config::DEFAULT_TOML.replacen(
        "name = \"carrier\"",
        "name = \"carrier\"\nregister = { user = \"alice\" }",
        1,
    );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    let mut desk = Desk::of(snapshot, admission);
    let register = first(&mut desk);
    assert!(register.to_caller());
    let contact = register.header("Contact");
    let uri = contact.trim_start_matches('<').split('>').next().unwrap();
    let call = invite()
        .replacen("INVITE sip:1000@127.0.0.1", &format!("INVITE {uri}"), 1)
        .replacen("To: <sip:1000@", "To: <sip:+4930777@", 1);
    let sent = desk.caller(&call);
    assert_eq!(
        only(&sent, "INVITE").start().split('@').next(),
        Some("INVITE sip:+4930777")
    );
    // Whoever names nobody in To calls nobody, and our Contact stays on this side.
    for to in ["To: <sip:127.0.0.1>".to_owned(), format!("To: <{uri}>")] {
        let call = invite()
            .replace("caller-call-id", &format!("nobody-{}", to.len()))
            .replace("branch=z9hG4bKinv", &format!("branch=z9hG4bKinv{}", to.len()))
            .replacen("INVITE sip:1000@127.0.0.1", &format!("INVITE {uri}"), 1)
            .replacen("To: <sip:1000@127.0.0.1>", &to, 1);
        assert!(call.contains(&to), "{call}");
        let sent = desk.caller(&call);
        assert_eq!(kinds(&sent).last().map(String::as_str), Some("A<404"), "{to}");
        assert!(sent.iter().all(Sent::to_caller));
    }
    // Any other user is who is called, whatever To says.
    let call = invite()
        .replace("caller-call-id", "another")
        .replace("branch=z9hG4bKinv", "branch=z9hG4bKinv2")
        .replacen("To: <sip:1000@", "To: <sip:+4930777@", 1);
    let sent = desk.caller(&call);
    assert_eq!(
        only(&sent, "INVITE").start().split('@').next(),
        Some("INVITE sip:1000")
    );
}
