//! Bad input is answered when it can be, counted always, and hurts nobody.

use crate::desk::*;

#[test]
fn a_body_shorter_than_its_length_is_400() {
    // Correctness 13.
    let mut desk = Desk::new();
    let text = invite();
    let cut = &text[..text.len() - 10];
    assert_eq!(kinds(&desk.caller(cut)), ["A<400"]);
    assert_eq!(desk.shard.counters().sip_malformed, 1);
}

#[test]
fn bytes_past_the_body_are_dropped() {
    // Correctness 13.
    let mut desk = Desk::new();
    assert_eq!(
        kinds(&desk.caller(&format!("{}trailing garbage", invite()))),
        ["A<100", "B<INVITE"]
    );
}

#[test]
fn every_truncation_and_many_mutations_of_a_call_are_survived() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let texts = [
        invite(),
        request("INVITE", &up.contact, 9, "m", &up.tag, OFFER),
        request("BYE", "sip:nobody@127.0.0.1", 9, "n", "unknown", ""),
        ok(&up.invite),
    ];
    for text in &texts {
        for end in 0..text.len() {
            desk.deliver_bytes(CALLER, &text.as_bytes()[..end]);
        }
        for at in 0..text.len() {
            for byte in [0u8, b'\r', b'\n', b' ', b';', b'<', 0xff] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = byte;
                desk.deliver_bytes(CALLEE, &bytes);
            }
        }
    }
    assert_eq!(desk.shard.counters().internal_errors, 0);
    desk.command(sbc_core::shard::Command::HangupAll);
    desk.assert_quiet();
}

#[test]
fn noise_is_counted() {
    let mut desk = Desk::new();
    assert!(desk.deliver_bytes(CALLER, b"\r\n\r\n").is_empty());
    assert!(desk.deliver_bytes(CALLER, b"").is_empty());
    assert!(desk.deliver_bytes(CALLER, &[0xff; 300]).is_empty());
    assert!(desk.deliver_bytes(CALLER, b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 1.2.3.4;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n").is_empty());
    let counters = desk.shard.counters();
    assert_eq!(
        (
            counters.sip_keepalives,
            counters.sip_malformed,
            counters.stray_responses
        ),
        (2, 1, 1)
    );
}
