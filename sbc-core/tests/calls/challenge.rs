//! A trunk that asks for a password (RFC 3261 §22, RFC 8760; correctness 29, 30).

use crate::desk::*;
use sbc_core::{
    config,
    digest::{Account, Credentials, Proof, Question},
};

/// The platform's trunk, by which leg B goes, has an account.
fn desk() -> Desk {
    let text = config::DEFAULT_TOML.replacen(
        "name = \"platform\"",
        "name = \"platform\"\naccount = { username = \"alice\", password = \"s3cret\" }",
        1,
    );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

fn challenge(nonce: &str, more: &str) -> String {
    format!("Digest realm=\"platform.example\", nonce=\"{nonce}\"{more}")
}

/// `status` to `request` with this challenge.
fn challenged(request: &Sent, status: u16, challenge: &str) -> String {
    let field = if status == 401 {
        "WWW-Authenticate"
    } else {
        "Proxy-Authenticate"
    };
    response(request, status, "t", "", "").replacen(
        "Content-Length",
        &format!("{field}: {challenge}\r\nContent-Length"),
        1,
    )
}

fn proof(request: &Sent, field: &str, password: &str) -> Proof {
    let value = request.header(field);
    let credentials = Credentials::parse(value.as_bytes()).expect(value);
    let uri = request.start().split(' ').nth(1).unwrap();
    assert_eq!(credentials.uri, uri.as_bytes());
    let question = Question {
        method: request.kind().as_bytes(),
        uri: uri.as_bytes(),
        body: request.body().as_bytes(),
    };
    Account::new(b"alice", password.as_bytes()).vouches(&credentials, &question)
}

#[test]
fn a_challenged_invite_goes_again_with_credentials_and_the_caller_hears_nothing_of_it() {
    for (status, field) in [(401, "Authorization"), (407, "Proxy-Authorization")] {
        for algorithm in [
            "",
            ", algorithm=MD5",
            ", algorithm=SHA-256",
            ", algorithm=SHA-512-256",
        ] {
            for qop in [
                "",
                ", qop=\"auth\"",
                ", qop=\"auth-int\"",
                ", qop=\"auth,auth-int\", opaque=\"o\"",
            ] {
                let mut desk = desk();
                let sent = desk.caller(&invite());
                let first = only(&sent, "INVITE").clone();
                let sent = desk.callee(&challenged(
                    &first,
                    status,
                    &challenge("n1", &format!("{algorithm}{qop}")),
                ));
                assert_eq!(kinds(&sent), ["B<ACK", "B<INVITE"]);
                assert_eq!(only(&sent, "ACK").branch(), first.branch());
                let second = only(&sent, "INVITE").clone();
                assert_eq!(proof(&second, field, "s3cret"), Proof::Right, "{algorithm}{qop}");
                assert_eq!(proof(&second, field, "other"), Proof::Wrong);
                for same in ["From", "To", "Call-ID", "Contact", "Content-Type"] {
                    assert_eq!(first.header(same), second.header(same));
                }
                assert_eq!(first.body(), second.body());
                assert_ne!(first.branch(), second.branch());
                assert_eq!(
                    (first.header("CSeq"), second.header("CSeq")),
                    ("1 INVITE", "2 INVITE")
                );
                // The refusal again: acknowledged again, and nothing else.
                let sent = desk.callee(&challenged(&first, status, &challenge("n1", "")));
                assert_eq!(kinds(&sent), ["B<ACK"]);
                let sent = desk.callee(&ok(&second));
                assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
                assert_eq!(only(&sent, "ACK").header("CSeq"), "2 ACK");
                assert_eq!(desk.shard.counters().challenges_answered, 1);
            }
        }
    }
}

#[test]
fn a_proxy_and_the_callee_may_both_ask() {
    let mut desk = desk();
    let sent = desk.caller(&invite());
    let first = only(&sent, "INVITE").clone();
    let sent = desk.callee(&challenged(
        &first,
        407,
        "Digest realm=\"proxy\", nonce=\"a\", qop=\"auth\"",
    ));
    let second = only(&sent, "INVITE").clone();
    let sent = desk.callee(&challenged(&second, 401, &challenge("b", "")));
    let third = only(&sent, "INVITE").clone();
    assert_eq!(proof(&third, "Proxy-Authorization", "s3cret"), Proof::Right);
    assert_eq!(proof(&third, "Authorization", "s3cret"), Proof::Right);
    assert_eq!(third.header("CSeq"), "3 INVITE");
    // The proxy wants a new nonce: the callee's credentials stay.
    let stale = "Digest realm=\"proxy\", nonce=\"c\", stale=TRUE, qop=\"auth\"";
    let sent = desk.callee(&challenged(&third, 407, stale));
    let fourth = only(&sent, "INVITE").clone();
    assert!(fourth.header("Proxy-Authorization").contains("nonce=\"c\""));
    assert_eq!(
        fourth.text.matches("Authorization:").count(),
        2,
        "{}",
        fourth.text
    );
    assert_eq!(proof(&fourth, "Authorization", "s3cret"), Proof::Right);
    let sent = desk.callee(&ok(&fourth));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
}

#[test]
fn a_wrong_password_is_not_tried_twice_and_the_caller_is_told_of_no_challenge() {
    let mut desk = desk();
    let sent = desk.caller(&invite());
    let first = only(&sent, "INVITE").clone();
    let sent = desk.callee(&challenged(&first, 401, &challenge("a", "")));
    let second = only(&sent, "INVITE").clone();
    let sent = desk.callee(&challenged(&second, 401, &challenge("b", "")));
    let to_caller = sent.iter().find(|sent| sent.to_caller()).expect("an answer");
    assert!(!to_caller.has("WWW-Authenticate"), "{}", to_caller.text);
    assert!(!kinds(&sent).contains(&"B<INVITE".to_owned()));
    assert!(
        desk.events
            .iter()
            .any(|event| event.text.contains("check username and password"))
    );
    assert!(desk.events.iter().all(|event| !event.text.contains("s3cret")));
    assert_eq!(desk.shard.counters().challenges_refused, 1);
    desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv", "x", ""));
    desk.assert_quiet();
}

#[test]
fn a_server_that_only_ever_finds_nonces_stale_is_given_up() {
    let mut desk = desk();
    let mut sent = desk.caller(&invite());
    let mut rounds = 0;
    while let Some(invite) = sent.iter().find(|sent| sent.kind() == "INVITE").cloned() {
        rounds += 1;
        assert!(rounds < 10, "for ever");
        sent = desk.callee(&challenged(
            &invite,
            401,
            &challenge(&format!("n{rounds}"), ", stale=true"),
        ));
    }
    assert_eq!(rounds, 5);
    assert!(sent.iter().any(Sent::to_caller), "{:?}", kinds(&sent));
}

#[test]
fn what_cannot_be_answered_is_a_failure_with_its_reason() {
    for (value, told) in [
        ("Basic realm=\"x\"", "without a challenge that can be read"),
        (
            "Digest realm=\"x\", nonce=\"n\", algorithm=SHA-3",
            "algorithm or protection",
        ),
        (
            "Digest realm=\"x\", nonce=\"n\", qop=\"other\"",
            "algorithm or protection",
        ),
    ] {
        let mut desk = desk();
        let sent = desk.caller(&invite());
        let first = only(&sent, "INVITE").clone();
        let sent = desk.callee(&challenged(&first, 401, value));
        assert!(!kinds(&sent).contains(&"B<INVITE".to_owned()));
        assert!(
            desk.events.iter().any(|event| event.text.contains(told)),
            "{:?}",
            desk.events
        );
    }
    // No account at all.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let first = only(&sent, "INVITE").clone();
    let sent = desk.callee(&challenged(&first, 401, &challenge("n", "")));
    assert!(!kinds(&sent).contains(&"B<INVITE".to_owned()));
    assert!(
        desk.events
            .iter()
            .any(|event| event.text.contains("[trunk.account]"))
    );
}

#[test]
fn requests_inside_a_call_are_proven_too() {
    let mut desk = desk();
    let up = establish(&mut desk);
    // A re-INVITE, whose ACK has the number of the second.
    let offer = next_version(OFFER).replace("a=sendrecv", "a=sendonly");
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re", &up.tag, &offer));
    let first = only(&sent, "INVITE").clone();
    let sent = desk.callee(&challenged(&first, 407, &challenge("n", "")));
    let second = only(&sent, "INVITE").clone();
    assert_eq!(proof(&second, "Proxy-Authorization", "s3cret"), Proof::Right);
    let sent = desk.callee(&ok(&second));
    assert_eq!(only(&sent, "ACK").header("CSeq"), "3 ACK");
    desk.caller(&request("ACK", &up.contact, 2, "re-ack", &up.tag, ""));
    // An INFO.
    let info = request("INFO", &up.contact, 3, "info", &up.tag, "Signal=5\r\n")
        .replace("application/sdp", "application/dtmf-relay");
    let sent = desk.caller(&info);
    let first = only(&sent, "INFO").clone();
    let sent = desk.callee(&challenged(&first, 401, &challenge("n", "")));
    assert_eq!(kinds(&sent), ["B<INFO"]);
    let second = only(&sent, "INFO").clone();
    assert_eq!(second.header("Content-Type"), "application/dtmf-relay");
    let sent = desk.callee(&response(&second, 200, "", "", ""));
    assert_eq!(kinds(&sent), ["A<200"]);
    // BYE.
    let sent = desk.caller(&request("BYE", &up.contact, 4, "bye", &up.tag, ""));
    let first = only(&sent, "BYE").clone();
    let sent = desk.callee(&challenged(&first, 401, &challenge("n", "")));
    let second = only(&sent, "BYE").clone();
    assert_eq!(second.header("CSeq"), "7 BYE");
    desk.callee(&response(&second, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn a_caller_that_gave_up_is_not_proven_for() {
    let mut desk = desk();
    let sent = desk.caller(&invite());
    let first = only(&sent, "INVITE").clone();
    desk.callee(&response(&first, 100, "", "", ""));
    let sent = desk.caller(&cancel());
    assert!(kinds(&sent).contains(&"B<CANCEL".to_owned()));
    let sent = desk.callee(&challenged(&first, 401, &challenge("n", "")));
    assert_eq!(kinds(&sent), ["B<ACK"]);
    desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv", "x", ""));
    desk.assert_quiet();
}

#[test]
fn a_cancel_after_the_challenge_is_for_the_second_invite() {
    let mut desk = desk();
    let sent = desk.caller(&invite());
    let first = only(&sent, "INVITE").clone();
    let sent = desk.callee(&challenged(&first, 401, &challenge("n", "")));
    let second = only(&sent, "INVITE").clone();
    desk.callee(&response(&second, 180, "t", "sip:bob@127.0.0.3", ""));
    let sent = desk.caller(&cancel());
    let out = only(&sent, "CANCEL").clone();
    assert_eq!((out.branch(), out.header("CSeq")), (second.branch(), "2 CANCEL"));
    desk.callee(&response(&out, 200, "", "", ""));
    let sent = desk.callee(&response(&second, 487, "t", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK"]);
    desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv", "x", ""));
    desk.assert_quiet();
}

#[test]
fn silence_after_the_challenge_is_repeated_and_given_up_like_any() {
    let mut desk = desk();
    let sent = desk.caller(&invite());
    let first = only(&sent, "INVITE").clone();
    desk.callee(&challenged(&first, 401, &challenge("n", "")));
    let sent = desk.pass(seconds(31));
    let repeated = sent.iter().filter(|sent| sent.kind() == "INVITE").count();
    assert_eq!(repeated, 5);
    assert!(sent.iter().all(|sent| sent.header("CSeq").starts_with('2')));
    desk.pass(seconds(5));
    assert_eq!(desk.records[0].cause, "callee_timeout");
    desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv", "x", ""));
    desk.assert_quiet();
}
