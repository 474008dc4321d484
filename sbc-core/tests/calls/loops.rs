//! Calls that come back to us (RFC 3261 §8.2.2.2, RFC 7332). Correctness 7.

use crate::desk::*;

#[test]
fn a_call_sent_in_circles_ends_with_483() {
    // Both trunks send everything back to us: only Max-Forwards, carried across, can end it.
    let mut desk = Desk::new();
    let mut text = invite().replace("Max-Forwards: 70", "Max-Forwards: 5");
    let mut from = CALLER;
    let mut rounds = 0;
    let refusal = loop {
        let sent = desk.deliver(from, &text);
        match sent.iter().find(|s| s.kind() == "INVITE") {
            None => break sent.last().unwrap().clone(),
            Some(out) => {
                from = if out.to_caller() { CALLER } else { CALLEE };
                // The far side sends it back with a Via of its own on top.
                text = out.text.replacen(
                    "\r\n",
                    &format!("\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKback{rounds}\r\n"),
                    1,
                );
                rounds += 1;
            }
        }
        assert!(rounds < 10, "it never ends");
    };
    assert_eq!((refusal.kind(), rounds), ("483", 5));
}

#[test]
fn an_invite_that_came_on_two_ways_is_482() {
    let mut desk = Desk::new();
    desk.caller(&invite());
    let second = invite().replace("z9hG4bKinv1", "z9hG4bKother");
    assert_eq!(kinds(&desk.caller(&second)), ["A<482"]);
    assert_eq!(desk.shard.gauges().calls, 1);
}

#[test]
fn a_max_forwards_out_of_range_is_400() {
    for value in ["256", "-1", "many"] {
        let text = invite().replace("Max-Forwards: 70", &format!("Max-Forwards: {value}"));
        assert_eq!(kinds(&Desk::new().caller(&text)), ["A<400"], "{value}");
    }
}

#[test]
fn without_max_forwards_a_call_starts_with_70() {
    // §16.6 step 3.
    let sent = Desk::new().caller(&invite().replace("Max-Forwards: 70\r\n", ""));
    assert_eq!(only(&sent, "INVITE").header("Max-Forwards"), "70");
}
