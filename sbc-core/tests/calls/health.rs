//! Trunks are watched with OPTIONS; one that does not answer gets no calls (S11).

use crate::{desk::*, names::*};
use sbc_core::shard::Level;

const AT: &str = "127.0.0.9:5060";

/// A watched trunk with one address.
fn watched() -> Desk {
    let mut desk = named_desk("options_interval_s = 30");
    answer(&mut desk, &[(AT, 0)], 3600);
    desk
}

/// Let time pass until an OPTIONS goes out.
fn probe(desk: &mut Desk) -> Sent {
    for _ in 0..400 {
        let sent = desk.pass(std::time::Duration::from_millis(100));
        if let Some(options) = sent.iter().find(|s| s.kind() == "OPTIONS") {
            return options.clone();
        }
    }
    panic!("no OPTIONS");
}

/// Answer the next round with `status`; 0: not at all.
fn round(desk: &mut Desk, status: u16) -> Sent {
    let options = probe(desk);
    if status == 0 {
        desk.pass(seconds(9));
    } else {
        assert!(
            desk.deliver(AT, &response(&options, status, "t", "", ""))
                .is_empty()
        );
    }
    options
}

/// Whether a call gets through to the trunk now.
fn calls_pass(desk: &mut Desk, n: u32) -> bool {
    let call = request("INVITE", "sip:1000@127.0.0.1", 1, &format!("inv-{n}"), "", OFFER)
        .replace("caller-call-id", &format!("call-{n}"));
    let sent = desk.caller(&call);
    match invited(&sent) {
        Some(_) => true,
        None => {
            assert!(only(&sent, "500").has("Retry-After"));
            false
        }
    }
}

#[test]
fn options_says_what_a_request_must_say() {
    let mut desk = watched();
    let options = probe(&mut desk);
    assert_eq!(options.to, at(AT));
    assert_eq!(options.start(), "OPTIONS sip:sip.platform.test SIP/2.0");
    assert_eq!(options.header("To"), "<sip:sip.platform.test>");
    assert!(options.header("From").starts_with("<sip:127.0.0.1>;tag="));
    assert_eq!(options.header("CSeq"), "1 OPTIONS");
    assert_eq!(options.header("Max-Forwards"), "70");
    assert_eq!(options.header("Accept"), "application/sdp");
    assert!(options.has("Contact") && options.has("Call-ID"));
}

#[test]
fn two_failures_bring_a_trunk_down_and_two_successes_up_again() {
    let mut desk = watched();
    for (n, (status, passes)) in [
        (200, true),
        (0, true),
        (200, true),
        (0, true),
        (503, false),
        (200, false),
        (408, false),
        (200, false),
        (200, true),
    ]
    .into_iter()
    .enumerate()
    {
        round(&mut desk, status);
        assert_eq!(
            calls_pass(&mut desk, n as u32),
            passes,
            "after round {n}, {status}"
        );
    }
    let told: Vec<_> = desk
        .events
        .iter()
        .filter(|e| e.text.starts_with("trunk platform"))
        .map(|e| (e.level, e.text.contains("down"), e.text.contains("again")))
        .collect();
    let expected = [
        (Level::Info, false, false),
        (Level::Warn, true, false),
        (Level::Info, false, true),
    ];
    assert_eq!(told, expected, "{:?}", desk.events);
    assert_eq!(desk.shard.counters().refused_trunk_down, 4);
}

#[test]
fn any_other_final_response_means_alive() {
    for status in [200, 302, 401, 403, 404, 405, 481, 500, 501, 603] {
        let mut desk = watched();
        for _ in 0..3 {
            round(&mut desk, status);
        }
        assert!(calls_pass(&mut desk, 1), "{status}");
    }
}

#[test]
fn one_address_that_answers_is_enough_and_calls_go_there() {
    let mut desk = named_desk("options_interval_s = 30");
    answer(&mut desk, &[("127.0.0.8:5060", 0), (AT, 1)], 3600);
    for _ in 0..3 {
        let asked = loop {
            let sent = desk.pass(std::time::Duration::from_millis(100));
            let asked: Vec<Sent> = sent.into_iter().filter(|s| s.kind() == "OPTIONS").collect();
            if !asked.is_empty() {
                break asked;
            }
        };
        assert_eq!(asked.len(), 2, "every address is asked");
        let alive = asked.iter().find(|s| s.to == at(AT)).unwrap();
        desk.deliver(AT, &response(alive, 200, "t", "", ""));
        desk.pass(seconds(9));
    }
    assert_eq!(
        invited(&desk.caller(&invite())),
        Some(at(AT)),
        "the dead one comes last"
    );
}

#[test]
fn without_an_interval_nothing_is_sent() {
    let mut desk = named_desk("");
    answer(&mut desk, &[(AT, 0)], 3600);
    let sent = desk.pass(seconds(600));
    assert!(sent.is_empty(), "{:?}", kinds(&sent));
}

#[test]
fn an_unresolved_trunk_is_down_after_two_rounds() {
    let mut desk = named_desk("options_interval_s = 30");
    desk.pass(seconds(70));
    assert!(!calls_pass(&mut desk, 1));
    assert_eq!(desk.shard.counters().refused_trunk_down, 1);
}
