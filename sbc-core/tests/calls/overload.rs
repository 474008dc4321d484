//! A shard that cannot keep up refuses new calls, and nothing else (L4, R9).

use crate::{
    desk::*,
    routes::{SECOND, desk_of, invited, numbered},
};
use sbc_core::overload::Spent;
use std::time::Duration;

/// The platform takes calls, the second trunk those for 112.
fn overloaded() -> (Desk, Up) {
    let mut desk = desk_of(
        "[[route]]\nfrom = \"carrier\"\nto = \"platform\"\n[emergency]\nnumbers = [\"112\"]\nto = \"second\"\n",
    );
    let up = establish(&mut desk);
    let window = Duration::from_millis(100);
    let spent = Spent {
        worked: window,
        queued: Duration::ZERO,
        elapsed: window,
    };
    for _ in 0..100 {
        desk.shard.handle_spent(desk.now, &spent);
        desk.now = desk.now + window;
    }
    assert_eq!(desk.shard.load().busy, 1000);
    (desk, up)
}

#[test]
fn new_calls_are_refused_and_told_when_to_come_again() {
    let (mut desk, _) = overloaded();
    let mut refused = Vec::new();
    for n in 2..200 {
        let sent = desk.caller(&numbered(n, "1000"));
        if kinds(&sent) == ["A<503"] {
            assert!(sent[0].has("Retry-After"));
            refused.push(n);
        }
    }
    // Five a second are taken whatever happens, to see whether there is room again.
    assert_eq!(refused.len(), 197, "{refused:?}");
    desk.now = desk.now + Duration::from_millis(200);
    for &n in &refused {
        let again = desk.caller(&numbered(n, "1000"));
        assert_eq!(kinds(&again), ["A<503"], "a copy fares no better");
    }
    assert_eq!(desk.shard.counters().refused_overload, 2 * refused.len() as u64);
    let taken = desk.caller(&numbered(200, "1000"));
    assert_ne!(kinds(&taken), ["A<503"], "there was room for another");
}

#[test]
fn what_belongs_to_a_call_is_served() {
    let (mut desk, up) = overloaded();
    let sent = desk.caller(&request(
        "INVITE",
        &up.contact,
        2,
        "re",
        &up.tag,
        &next_version(OFFER),
    ));
    let re = only(&sent, "INVITE").clone();
    desk.callee(&response(
        &re,
        200,
        "",
        "sip:bob@127.0.0.3:5060",
        &next_version(ANSWER),
    ));
    desk.caller(&request("ACK", &up.contact, 2, "a2", &up.tag, ""));
    let sent = desk.caller(&request("INFO", &up.contact, 3, "info", &up.tag, ""));
    assert!(!kinds(&sent).contains(&"A<503".to_owned()), "{:?}", kinds(&sent));
    let sent = desk.caller(&request("BYE", &up.contact, 4, "bye", &up.tag, ""));
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    assert_eq!(desk.shard.counters().refused_overload, 0);
}

#[test]
fn who_calls_for_help_is_served() {
    let (mut desk, _) = overloaded();
    // The desk has ports for these.
    for n in 2..8 {
        invited(&desk.caller(&numbered(n, "112")), SECOND);
    }
    assert_eq!(desk.shard.counters().refused_overload, 0);
    assert_eq!(desk.shard.counters().emergency_calls, 6);
}
