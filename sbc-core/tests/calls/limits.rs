//! Limits: what they refuse, and that what they count comes back (L1, L2).

use crate::desk::*;
use sbc_core::{admission::Admission, config, snapshot::Snapshot};

fn desk_with_limits(limits: &str) -> Desk {
    desk_with(limits, "", "")
}

fn desk_with(limits: &str, carrier: &str, more: &str) -> Desk {
    let text = format!(
        "{limits}\n[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:5060\"\n\
        [media]\naddress = \"127.0.0.1\"\n[[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.2\"]\n{carrier}\
        [[trunk]]\nname = \"other\"\nhosts = [\"127.0.0.4\"]\n[[route]]\nfrom = \"other\"\nto = \"platform\"\n\
        [[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\n[[route]]\nfrom = \"carrier\"\nto = \"platform\"\n{more}"
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

#[test]
fn a_trunk_may_have_refusals_of_its_own() {
    let mut desk = desk_with(
        "[limits]\nchannels = 1\n",
        "[trunk.limits]\nreject_code = 486\nretry_after_s = 17\n",
        "",
    );
    desk.caller(&numbered(1));
    let sent = desk.caller(&numbered(2));
    assert_eq!((sent[1].kind(), sent[1].header("Retry-After")), ("486", "17"));
}

/// What limits that are no trunk's count: calls of a source, to a number, by a route or DID, and on a way.
#[test]
fn limits_of_sources_numbers_routes_and_ways() {
    for (scope, other_from, other_uri) in [
        (
            "sources = [\"127.0.0.2\"]",
            "127.0.0.4:5060",
            "sip:1000@127.0.0.1",
        ),
        ("called = [\"+100\"]", CALLER, "sip:2000@127.0.0.1"),
        ("route = \"main\"", CALLER, "sip:2000@127.0.0.1"),
        (
            "from = \"carrier\"\nto = \"platform\"",
            "127.0.0.4:5060",
            "sip:1000@127.0.0.1",
        ),
    ] {
        let mut desk = desk_with(
            "",
            "",
            &format!(
                "[[did]]\nname = \"main\"\nnumbers = [\"+1000\"]\nfrom = \"carrier\"\nto = \"platform\"\n\
                 [[limit]]\nname = \"one\"\n{scope}\nchannels = 1\n"
            ),
        );
        let sent = desk.caller(&numbered(1));
        let out = only(&sent, "INVITE").clone();
        assert_eq!(kinds(&desk.caller(&numbered(2))), ["A<100", "A<503"], "{scope}");
        let other = numbered(3).replace("sip:1000@127.0.0.1 SIP", &format!("{other_uri} SIP"));
        let sent = desk.deliver(other_from, &other);
        assert!(
            sent.iter().any(|sent| sent.kind() == "INVITE"),
            "{scope}: {:?}",
            kinds(&sent)
        );
        desk.callee(&response(&out, 486, "t", "", ""));
        assert_eq!(
            kinds(&desk.caller(&numbered(4))),
            ["A<100", "B<INVITE"],
            "{scope}"
        );
    }
}

/// Calls of the carrier go to the platform, then to the spare trunk.
fn two_targets(limits: &str) -> Desk {
    let text = format!(
        "[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:5060\"\n[media]\naddress = \"127.0.0.1\"\n\
        [[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.2\"]\n[[trunk]]\nname = \"spare\"\nhosts = [\"127.0.0.4\"]\n\
        [[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\n{limits}\
        [[route]]\nname = \"all\"\nfrom = \"carrier\"\nto = [\"platform\", \"spare\"]\n"
    );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

#[test]
fn a_trunk_at_its_limit_is_passed_over_and_a_limit_of_the_caller_ends_the_call() {
    for (limits, second) in [
        ("[trunk.limits]\noutbound = { channels = 1 }\n", "INVITE"),
        ("[trunk.limits]\noutbound = { cps = 1, burst = 1 }\n", "INVITE"),
        (
            "[[limit]]\nname = \"l\"\nto = \"platform\"\nchannels = 1\n",
            "INVITE",
        ),
        ("[[limit]]\nname = \"l\"\nroute = \"all\"\nchannels = 1\n", "503"),
        ("[[limit]]\nname = \"l\"\ncalled = [\"1\"]\ncps = 1\n", "503"),
        ("[limits]\nchannels = 1\n", "503"),
    ] {
        let mut desk = two_targets(limits);
        assert_eq!(
            only(&desk.caller(&numbered(1)), "INVITE").to,
            CALLEE.parse().unwrap()
        );
        let sent = desk.caller(&numbered(2));
        let last = sent.last().unwrap();
        assert_eq!(last.kind(), second, "{limits}");
        let refused = desk.shard.counters().refused_channels + desk.shard.counters().refused_cps;
        if second == "INVITE" {
            assert_eq!(last.to, "127.0.0.4:5060".parse().unwrap(), "{limits}");
            assert_eq!(refused, 0, "the call was not refused");
        } else {
            assert_eq!(refused, 1, "{limits}");
            assert_eq!(
                desk.shard.counters().targets_skipped,
                0,
                "the other trunk would not help"
            );
        }
    }
}

#[test]
fn a_call_that_goes_on_to_another_trunk_is_counted_there() {
    let limits = "[[limit]]\nname = \"first\"\nto = \"platform\"\nchannels = 1\n\
         [[limit]]\nname = \"second\"\nto = \"spare\"\nchannels = 1\n\
         [[limit]]\nname = \"both\"\nroute = \"all\"\nsources = [\"127.0.0.2\"]\nchannels = 2\n";
    let mut desk = two_targets(limits);
    let sent = desk.caller(&numbered(1));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 480, "t", "", ""));
    let spare = only(&sent, "INVITE").clone();
    assert_eq!(spare.to, "127.0.0.4:5060".parse().unwrap());
    let sent = desk.caller(&numbered(2));
    let out = only(&sent, "INVITE").clone();
    assert_eq!(out.to, CALLEE.parse().unwrap(), "the platform has room again");
    let sent = desk.caller(&numbered(3));
    assert_eq!(
        kinds(&sent),
        ["A<100", "A<503"],
        "two by this route, wherever they are"
    );
    let sent = desk.callee(&response(&out, 480, "t", "", ""));
    assert_eq!(
        only(&sent, "480").to,
        CALLER.parse().unwrap(),
        "the spare trunk has one call already"
    );
    desk.deliver("127.0.0.4:5060", &response(&spare, 480, "t", "", ""));
    let sent = desk.caller(&numbered(4));
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"], "all of it has come back");
}
