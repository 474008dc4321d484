//! Limits: what they refuse, and that what they count comes back (L1, L2).

use crate::desk::*;
use sbc_core::{admission::Admission, config, snapshot::Snapshot};

fn desk_with_limits(limits: &str) -> Desk {
    let text = format!(
        "{limits}\n[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:5060\"\n\
        [media]\naddress = \"127.0.0.1\"\n[[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.2\"]\n\
        [[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\n[[route]]\nfrom = \"carrier\"\nto = \"platform\"\n"
    );
    let (snapshot, admission): (Snapshot, Admission) =
        config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

fn numbered(n: u32) -> String {
    invite()
        .replace("caller-call-id", &format!("call-{n}"))
        .replace("inv1", &format!("inv{n}"))
}

#[test]
fn a_channel_limit_refuses_and_recovers() {
    let mut desk = desk_with_limits("[limits]\nchannels = 1\n");
    let sent = desk.caller(&numbered(1));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.caller(&numbered(2));
    assert_eq!(kinds(&sent), ["A<100", "A<503"]);
    assert!(sent[1].has("Retry-After"));
    assert_eq!(desk.shard.counters().refused_channels, 1);
    desk.callee(&response(&out, 486, "t", "", ""));
    assert_eq!(kinds(&desk.caller(&numbered(3))), ["A<100", "B<INVITE"]);
}

#[test]
fn a_rate_limit_counts_calls_not_retransmissions() {
    let mut desk = desk_with_limits("[limits]\ncps = 1\nburst = 1\nreject_code = 480\n");
    desk.caller(&numbered(1));
    for _ in 0..5 {
        desk.caller(&numbered(1));
    }
    let sent = desk.caller(&numbered(2));
    assert_eq!(sent[1].kind(), "480", "the code is configurable");
    assert_eq!(sent[1].header("Retry-After"), "1");
    desk.pass(seconds(1));
    assert_eq!(kinds(&desk.caller(&numbered(3))), ["A<100", "B<INVITE"]);
    assert_eq!(desk.shard.counters().refused_cps, 1);
}

#[test]
fn an_exhausted_port_pool_refuses_and_gives_the_channel_back() {
    let mut desk = desk_with_limits("[limits]\nchannels = 9\n");
    for n in 1..=9 {
        desk.caller(&numbered(n)); // 16 pairs: 8 calls
    }
    assert_eq!(desk.shard.counters().refused_no_media_port, 1);
    assert_eq!(desk.shard.gauges().calls, 8);
    let sent = desk.caller(&numbered(10));
    assert_eq!(sent[1].kind(), "503");
    assert_eq!(
        desk.shard.counters().refused_no_media_port,
        2,
        "the ninth channel was given back"
    );
}
