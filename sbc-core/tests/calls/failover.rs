//! The next address of a trunk's name when one does not serve (RFC 3263 §4.3; correctness 28).

use crate::{desk::*, names::*};

const FIRST: &str = "127.0.0.9:5060";
const SECOND: &str = "127.0.0.10:5060";

fn desk() -> (Desk, Sent) {
    let mut desk = named_desk("");
    answer(&mut desk, &[(FIRST, 0), (SECOND, 1)], 600);
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    assert_eq!(out.to, at(FIRST));
    (desk, out)
}

fn another_call(n: u32) -> String {
    request("INVITE", "sip:1000@127.0.0.1", 1, &format!("inv-{n}"), "", OFFER)
        .replace("caller-call-id", &format!("call-{n}"))
}

#[test]
fn a_503_tries_the_next_address_with_a_dialog_of_its_own() {
    let (mut desk, first) = desk();
    let sent = desk.deliver(FIRST, &response(&first, 503, "t", "", ""));
    let second = only(&sent, "INVITE").clone();
    assert_eq!(second.to, at(SECOND));
    for name in ["Call-ID", "From", "Via"] {
        assert_ne!(first.header(name), second.header(name), "{name}");
    }
    assert_eq!(first.start(), second.start(), "the name stays");
    assert!(
        !kinds(&sent).iter().any(|kind| kind.starts_with("A<")),
        "{:?}",
        kinds(&sent)
    );
    let sent = desk.deliver(
        SECOND,
        &response(&second, 200, "t2", "sip:bob@127.0.0.10:5060", ANSWER),
    );
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    let counters = desk.shard.counters();
    assert_eq!(
        (
            counters.attempts_repeated,
            counters.calls_admitted,
            counters.calls_answered
        ),
        (1, 1, 1)
    );
}

#[test]
fn silence_tries_the_next_address_after_failover_ms() {
    let (mut desk, _) = desk();
    let sent = desk.pass(std::time::Duration::from_millis(3_990));
    assert!(sent.iter().all(|s| s.to == at(FIRST)));
    let sent = desk.pass(std::time::Duration::from_millis(20));
    assert_eq!(invited(&sent), Some(at(SECOND)));
    // The last address has until timer B.
    let sent = desk.pass(seconds(31));
    assert!(!kinds(&sent).iter().any(|kind| kind.starts_with("A<")));
    let sent = desk.pass(seconds(2));
    assert!(kinds(&sent).contains(&"A<408".to_owned()), "{:?}", kinds(&sent));
    assert_eq!(desk.records[0].cause, "callee_timeout");
    assert_eq!(desk.records.len(), 1);
}

#[test]
fn an_icmp_error_tries_the_next_address_at_once() {
    let (mut desk, _) = desk();
    desk.shard
        .handle_unreachable(desk.now, sbc_core::shard::ListenerId(0), at(FIRST));
    assert_eq!(invited(&desk.drain()), Some(at(SECOND)));
}

#[test]
fn an_address_that_says_trying_is_waited_for() {
    let (mut desk, first) = desk();
    desk.deliver(FIRST, &response(&first, 100, "", "", ""));
    let sent = desk.pass(seconds(60));
    assert_eq!(invited(&sent), None, "{:?}", kinds(&sent));
}

#[test]
fn after_ringing_there_is_no_other_attempt() {
    let (mut desk, first) = desk();
    desk.deliver(FIRST, &response(&first, 180, "t", "sip:bob@127.0.0.9", ""));
    let sent = desk.deliver(FIRST, &response(&first, 503, "t", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<500"]);
}

#[test]
fn after_the_caller_gave_up_there_is_no_other_attempt() {
    // Correctness 11: CANCEL during failover.
    let (mut desk, first) = desk();
    desk.deliver(FIRST, &response(&first, 100, "", "", ""));
    let sent = desk.caller(&cancel());
    assert_eq!(kinds(&sent), ["A<200", "A<487", "B<CANCEL"]);
    let sent = desk.deliver(FIRST, &response(&first, 503, "t", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK"]);
    assert_eq!(desk.records.len(), 1);
    assert_eq!(desk.records[0].cause, "caller_cancelled");
}

#[test]
fn other_refusals_are_final() {
    for status in [404, 486, 500, 603] {
        let (mut desk, first) = desk();
        let sent = desk.deliver(FIRST, &response(&first, status, "t", "", ""));
        assert_eq!(kinds(&sent), ["B<ACK".to_owned(), format!("A<{status}")]);
    }
}

#[test]
fn an_address_that_failed_comes_last_for_half_a_minute() {
    let (mut desk, first) = desk();
    desk.deliver(FIRST, &response(&first, 503, "t", "", ""));
    assert_eq!(invited(&desk.caller(&another_call(1))), Some(at(SECOND)));
    desk.pass(seconds(31));
    assert_eq!(invited(&desk.caller(&another_call(2))), Some(at(FIRST)));
}

#[test]
fn retry_after_says_how_long_an_address_comes_last() {
    let (mut desk, first) = desk();
    let refusal =
        response(&first, 503, "t", "", "").replace("\r\nCSeq", "\r\nRetry-After: 120 (tea)\r\nCSeq");
    desk.deliver(FIRST, &refusal);
    desk.pass(seconds(100));
    assert_eq!(invited(&desk.caller(&another_call(1))), Some(at(SECOND)));
    desk.pass(seconds(30));
    assert_eq!(invited(&desk.caller(&another_call(2))), Some(at(FIRST)));
}

#[test]
fn attempts_are_bounded() {
    let mut desk = named_desk("");
    let addresses: Vec<String> = (1..=30).map(|n| format!("127.0.9.{n}:5060")).collect();
    let addresses: Vec<(&str, u32)> = addresses.iter().map(|a| (a.as_str(), 0)).collect();
    answer(&mut desk, &addresses, 600);
    let mut sent = desk.caller(&invite());
    let mut tried = std::collections::HashSet::new();
    while let Some(out) = sent.iter().find(|s| s.kind() == "INVITE").cloned() {
        assert!(tried.insert(out.to), "twice to {}", out.to);
        sent = desk.deliver(&out.to.to_string(), &response(&out, 503, "t", "", ""));
    }
    assert_eq!(tried.len(), 8);
    assert_eq!(kinds(&sent), ["B<ACK", "A<500"]);
    assert_eq!(desk.records.len(), 1);
    assert_eq!(
        (desk.records[0].status, desk.records[0].cause),
        (500, "callee_refused")
    );
}

#[test]
fn a_late_offer_is_failed_over_too() {
    // Correctness 27.
    let mut desk = named_desk("");
    answer(&mut desk, &[(FIRST, 0), (SECOND, 1)], 600);
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let first = only(&sent, "INVITE").clone();
    let sent = desk.deliver(FIRST, &response(&first, 503, "t", "", ""));
    let second = only(&sent, "INVITE").clone();
    assert_eq!(second.body(), "");
    let sent = desk.deliver(SECOND, &response(&second, 200, "t", "sip:bob@127.0.0.10", OFFER));
    assert_eq!(kinds(&sent), ["A<200"], "the ACK waits for the caller's answer");
}

#[test]
fn an_address_left_for_another_is_cancelled_when_it_rings_after_all() {
    let (mut desk, first) = desk();
    let sent = desk.pass(seconds(5));
    assert!(sent.iter().any(|s| s.to == at(SECOND)), "{:?}", kinds(&sent));
    let sent = desk.deliver(FIRST, &response(&first, 180, "t", "sip:bob@127.0.0.9", ""));
    assert_eq!(kinds(&sent), ["B<CANCEL"]);
    assert_eq!(only(&sent, "CANCEL").to, at(FIRST));
    let sent = desk.deliver(FIRST, &response(&first, 487, "t", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK"], "the caller hears nothing of it");
}

#[test]
fn a_late_refusal_of_an_address_left_for_another_is_acknowledged() {
    let (mut desk, first) = desk();
    desk.pass(seconds(5));
    for _ in 0..2 {
        let sent = desk.deliver(FIRST, &response(&first, 600, "t", "", ""));
        assert_eq!(kinds(&sent), ["B<ACK"]);
    }
}

#[test]
fn a_late_answer_of_an_address_left_for_another_is_acknowledged_and_ended() {
    // Correctness 6, 28.
    let (mut desk, first) = desk();
    let sent = desk.pass(seconds(5));
    let second = only(
        &sent
            .iter()
            .filter(|s| s.to == at(SECOND))
            .take(1)
            .cloned()
            .collect::<Vec<_>>(),
        "INVITE",
    )
    .clone();
    let late = response(&first, 200, "t", "sip:bob@127.0.0.9:5060", ANSWER);
    let sent = desk.deliver(FIRST, &late);
    assert_eq!(kinds(&sent), ["B<ACK", "B<BYE"]);
    let bye = only(&sent, "BYE").clone();
    desk.deliver(FIRST, &response(&bye, 200, "", "", ""));
    assert_eq!(
        kinds(&desk.deliver(FIRST, &late)),
        ["B<ACK"],
        "repeated: acknowledged again"
    );
    // The call goes on at the other address.
    let sent = desk.deliver(
        SECOND,
        &response(&second, 200, "t2", "sip:bob@127.0.0.10:5060", ANSWER),
    );
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
}
