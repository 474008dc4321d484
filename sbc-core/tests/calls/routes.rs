//! Routes with several trunks: which is asked first, and when the next one is (R1 to R4).

use crate::desk::*;
use sbc_core::{
    config,
    routing::Strategy,
    shard::{Command, Reply},
    trunk::TrunkId,
};
use std::{net::SocketAddr, time::Duration};

pub(crate) const SECOND: &str = "127.0.0.4:5060";
pub(crate) const THIRD: &str = "127.0.0.5:5060";

/// Carriers beside the platform of the default configuration, without its routes.
pub(crate) const TRUNKS: &str = r#"
[[listener]]
name = "main"
address = "127.0.0.1:5060"
[media]
address = "127.0.0.1"
[[trunk]]
name = "carrier"
hosts = ["127.0.0.2"]
[[trunk]]
name = "platform"
hosts = ["127.0.0.3"]
[[trunk]]
name = "second"
hosts = ["127.0.0.4"]
[[trunk]]
name = "third"
hosts = ["127.0.0.5"]
"#;

pub(crate) fn desk_of(more: &str) -> Desk {
    let (snapshot, admission) = config::parse(&format!("{TRUNKS}{more}"), "test")
        .unwrap()
        .compile()
        .unwrap();
    Desk::of(snapshot, admission)
}

/// Calls of the carrier go to the platform, then to the second, then to the third trunk.
pub(crate) fn three(more: &str) -> Desk {
    desk_of(&format!(
        "[[route]]\nfrom = \"carrier\"\nto = [\"platform\", \"second\", \"third\"]\n{more}"
    ))
}

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The INVITE among `sent`, to whom it went.
pub(crate) fn invited(sent: &[Sent], to: &str) -> Sent {
    let invite = sent.iter().find(|s| s.kind() == "INVITE" && s.to == at(to));
    invite
        .unwrap_or_else(|| panic!("no INVITE to {to} in {sent:#?}"))
        .clone()
}

pub(crate) fn numbered(n: u32, number: &str) -> String {
    invite()
        .replace("caller-call-id", &format!("call-{n}"))
        .replace("inv1", &format!("inv{n}"))
        .replace("sip:1000@", &format!("sip:{number}@"))
}

/// The attempts in the only record: trunk, status, reason.
pub(crate) fn attempts(desk: &Desk) -> Vec<(&str, Option<u16>, &str)> {
    assert_eq!(desk.records.len(), 1);
    let attempts = desk.records[0].attempts.iter();
    attempts
        .map(|a| {
            (
                a.trunk.as_str(),
                a.status,
                a.reason.as_deref().unwrap_or_default(),
            )
        })
        .collect()
}

/// `answerer` at `from` answers, and the call ends.
fn answer_and_end(desk: &mut Desk, from: &str, out: &Sent) {
    let sent = desk.deliver(
        from,
        &response(out, 200, "t9", &format!("sip:bob@{from}"), ANSWER),
    );
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    let tag = tag_of(only(&sent, "200").header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack1", &tag, ""));
    let sent = desk.caller(&request("BYE", "sip:x@127.0.0.1", 2, "bye1", &tag, ""));
    let bye = only(&sent, "BYE").clone();
    assert_eq!(bye.to, at(from));
    desk.deliver(from, &response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

/// What the first trunk does to a call.
#[derive(Clone, Copy, Debug)]
enum Fails {
    Status(u16),
    NoResponse,
    NoRingback,
    NoAnswer,
    Refused,
    Unresolved,
}

/// Whether the next trunk is asked.
const TABLE: &[(Fails, bool)] = &[
    (Fails::Status(302), true),
    (Fails::Status(300), true),
    (Fails::Status(400), true),
    (Fails::Status(403), true),
    (Fails::Status(404), false),
    (Fails::Status(408), true),
    (Fails::Status(480), true),
    (Fails::Status(486), false),
    (Fails::Status(488), true),
    (Fails::Status(500), true),
    (Fails::Status(502), true),
    (Fails::Status(503), true),
    (Fails::Status(504), true),
    (Fails::Status(600), false),
    (Fails::Status(603), false),
    (Fails::Status(606), false),
    (Fails::NoResponse, true),
    (Fails::NoRingback, true),
    (Fails::NoAnswer, true),
    (Fails::Refused, true),
    (Fails::Unresolved, true),
];

/// The reason in the record of the failed attempt.
fn reason(fails: Fails) -> &'static str {
    match fails {
        Fails::Status(300..400) => "redirected",
        Fails::Status(_) => "refused",
        Fails::NoResponse => "no_response",
        Fails::NoRingback => "no_ringback",
        Fails::NoAnswer => "no_answer",
        Fails::Refused => "unreachable",
        Fails::Unresolved => "unresolved",
    }
}

#[test]
fn the_failover_table() {
    for strategy in [Strategy::Sequential, Strategy::RoundRobin] {
        for (fails, goes_on) in TABLE {
            one_line_of_the_table(strategy, *fails, *goes_on);
        }
    }
}

fn one_line_of_the_table(strategy: Strategy, fails: Fails, goes_on: bool) {
    let told = format!("{strategy:?} {fails:?}");
    let routes = format!(
        "[[route]]\nfrom = \"carrier\"\nto = [\"platform\", \"second\"]\nstrategy = \"{}\"\n\
         ringback_timeout_s = 5\nno_answer_s = 40\n",
        strategy.name()
    );
    let mut desk = match fails {
        Fails::Unresolved => {
            let named = TRUNKS.replace("hosts = [\"127.0.0.3\"]", "hosts = []\ntarget = \"nowhere.test\"");
            let (snapshot, admission) = config::parse(&format!("{named}{routes}"), "t")
                .unwrap()
                .compile()
                .unwrap();
            Desk::of(snapshot, admission)
        }
        _ => desk_of(&routes),
    };
    let sent = desk.caller(&invite());
    let moved = match fails {
        Fails::Unresolved => sent,
        _ => {
            let first = invited(&sent, CALLEE);
            fail(&mut desk, fails, &first)
        }
    };
    if goes_on {
        let second = invited(&moved, SECOND);
        assert!(
            !kinds(&moved)
                .iter()
                .any(|kind| kind.starts_with("A<") && kind != "A<100"),
            "{told}: {:?}",
            kinds(&moved)
        );
        answer_and_end(&mut desk, SECOND, &second);
        assert_eq!(attempts(&desk)[1], ("second", Some(200), "answered"), "{told}");
        assert_eq!(desk.records[0].to_trunk, "second");
        let skipped = matches!(fails, Fails::Unresolved);
        let counters = desk.shard.counters();
        assert_eq!(
            (counters.failovers, counters.targets_skipped),
            (u64::from(!skipped), u64::from(skipped)),
            "{told}"
        );
        // The next call of a round robin begins with the second.
        let next = desk.caller(&numbered(2, "1000"));
        let first = if strategy == Strategy::RoundRobin || skipped {
            SECOND
        } else {
            CALLEE
        };
        invited(&next, first);
    } else {
        let Fails::Status(status) = fails else { panic!() };
        assert_eq!(
            kinds(&moved),
            ["B<ACK".to_owned(), format!("A<{status}")],
            "{told}"
        );
        desk.assert_quiet();
        assert_eq!(attempts(&desk).len(), 1, "{told}");
    }
    let (trunk, status, why) = attempts(&desk)[0];
    let expected = match fails {
        Fails::Status(status) => Some(status),
        _ => None,
    };
    assert_eq!(
        (trunk, status, why),
        ("platform", expected, reason(fails)),
        "{told}"
    );
}

/// Have the first trunk fail as wanted; what the shard sends then.
fn fail(desk: &mut Desk, fails: Fails, first: &Sent) -> Vec<Sent> {
    match fails {
        Fails::Status(status) => desk.callee(&response(first, status, "t1", "", "")),
        Fails::NoResponse => {
            let sent = desk.pass(Duration::from_millis(3_990));
            assert!(sent.iter().all(|s| s.to == at(CALLEE)));
            desk.pass(Duration::from_millis(20))
        }
        Fails::NoRingback => {
            desk.callee(&response(first, 100, "", "", ""));
            assert!(desk.pass(Duration::from_millis(4_990)).is_empty());
            let sent = desk.pass(Duration::from_millis(20));
            let cancel = only(&sent, "CANCEL").clone();
            assert_eq!(cancel.to, at(CALLEE));
            desk.callee(&response(&cancel, 200, "t1", "", ""));
            assert_eq!(
                kinds(&desk.callee(&response(first, 487, "t1", "", ""))),
                ["B<ACK"]
            );
            sent
        }
        Fails::NoAnswer => {
            assert_eq!(
                kinds(&desk.callee(&response(first, 180, "t1", "", ""))),
                ["A<180"]
            );
            assert!(desk.pass(Duration::from_millis(39_990)).is_empty());
            let sent = desk.pass(Duration::from_millis(20));
            let cancel = only(&sent, "CANCEL").clone();
            desk.callee(&response(&cancel, 200, "t1", "", ""));
            assert_eq!(
                kinds(&desk.callee(&response(first, 487, "t1", "", ""))),
                ["B<ACK"]
            );
            sent
        }
        Fails::Refused => {
            desk.shard
                .handle_unreachable(desk.now, sbc_core::shard::ListenerId(0), at(CALLEE));
            desk.drain()
        }
        Fails::Unresolved => unreachable!(),
    }
}

#[test]
fn every_attempt_has_a_dialog_of_its_own() {
    let mut desk = three("");
    let sent = desk.caller(&invite());
    let first = invited(&sent, CALLEE);
    let second = invited(&desk.callee(&response(&first, 500, "t1", "", "")), SECOND);
    let third = invited(
        &desk.deliver(SECOND, &response(&second, 480, "t2", "", "")),
        THIRD,
    );
    for (a, b) in [(&first, &second), (&second, &third), (&first, &third)] {
        for name in ["Call-ID", "From", "Via"] {
            assert_ne!(a.header(name), b.header(name), "{name}");
        }
        assert_ne!(
            a.media_port(),
            b.media_port(),
            "what the failed one sends reaches nobody"
        );
    }
    assert_eq!(second.start(), "INVITE sip:1000@127.0.0.4 SIP/2.0");
    answer_and_end(&mut desk, THIRD, &third);
    let expected = [
        ("platform", Some(500), "refused"),
        ("second", Some(480), "refused"),
        ("third", Some(200), "answered"),
    ];
    assert_eq!(attempts(&desk), expected);
}

#[test]
fn the_caller_hears_what_the_last_trunk_said() {
    let mut desk = three("");
    let sent = desk.caller(&invite());
    let mut sent = desk.callee(&response(&invited(&sent, CALLEE), 500, "t1", "", ""));
    for (trunk, status) in [(SECOND, 480), (THIRD, 403)] {
        let out = invited(&sent, trunk);
        sent = desk.deliver(trunk, &response(&out, status, "t2", "", ""));
    }
    assert_eq!(kinds(&sent), ["B<ACK", "A<403"]);
    desk.assert_quiet();
    assert_eq!(
        (desk.records[0].status, desk.records[0].cause),
        (403, "callee_refused")
    );
}

#[test]
fn the_list_of_final_statuses_is_the_operators() {
    let mut desk = three("stop_on = [480]\n");
    let sent = desk.caller(&invite());
    let sent = desk.callee(&response(&invited(&sent, CALLEE), 486, "t1", "", ""));
    let second = invited(&sent, SECOND);
    let sent = desk.deliver(SECOND, &response(&second, 480, "t2", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<480"]);
}

#[test]
fn invites_are_bounded() {
    let mut desk = three("attempts_max = 2\n");
    let sent = desk.caller(&invite());
    let sent = desk.callee(&response(&invited(&sent, CALLEE), 500, "t1", "", ""));
    let second = invited(&sent, SECOND);
    let sent = desk.deliver(SECOND, &response(&second, 500, "t2", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<500"]);
}

/// When the caller gives up.
#[derive(Clone, Copy, Debug)]
enum When {
    AtOnce,
    AfterTrying,
    Ringing,
    SecondAtOnce,
    SecondRinging,
}

#[test]
fn after_the_caller_gave_up_no_other_trunk_is_asked() {
    use When::*;
    for when in [AtOnce, AfterTrying, Ringing, SecondAtOnce, SecondRinging] {
        let mut desk = three("");
        let sent = desk.caller(&invite());
        let mut out = invited(&sent, CALLEE);
        let mut from = CALLEE;
        if matches!(when, SecondAtOnce | SecondRinging) {
            out = invited(&desk.callee(&response(&out, 480, "t1", "", "")), SECOND);
            from = SECOND;
        }
        match when {
            AtOnce | SecondAtOnce => {}
            AfterTrying => drop(desk.deliver(from, &response(&out, 100, "", "", ""))),
            Ringing | SecondRinging => drop(desk.deliver(from, &response(&out, 180, "t2", "", ""))),
        }
        let sent = desk.caller(&cancel());
        assert_eq!(kinds(&sent)[..2], ["A<200", "A<487"], "{when:?}");
        // The refusal that crosses the CANCEL begins nothing.
        let sent = desk.deliver(from, &response(&out, 503, "t2", "", ""));
        assert_eq!(kinds(&sent), ["B<ACK"], "{when:?}");
        desk.assert_quiet();
        let attempts = attempts(&desk);
        assert_eq!(attempts.last().unwrap().2, "caller_cancelled", "{when:?}");
        assert_eq!(attempts.len(), 1 + usize::from(from == SECOND), "{when:?}");
    }
}

#[test]
fn a_2xx_of_a_trunk_that_was_left_is_acknowledged_and_ended() {
    let mut desk = three("ringback_timeout_s = 5\n");
    let sent = desk.caller(&invite());
    let first = invited(&sent, CALLEE);
    desk.callee(&response(&first, 100, "", "", ""));
    let second = invited(&desk.pass(seconds(6)), SECOND);
    let sent = desk.callee(&ok(&first));
    assert_eq!(kinds(&sent), ["B<ACK", "B<BYE"]);
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    answer_and_end(&mut desk, SECOND, &second);
}

#[test]
fn who_rings_in_time_has_until_no_answer() {
    let mut desk = three("ringback_timeout_s = 5\n");
    let sent = desk.caller(&invite());
    let first = invited(&sent, CALLEE);
    desk.callee(&response(&first, 100, "", "", ""));
    desk.pass(seconds(4));
    desk.callee(&response(&first, 183, "t1", "", ""));
    assert!(desk.pass(seconds(170)).is_empty());
    // The time-out of [sip] holds for each trunk.
    let sent = desk.pass(Duration::from_millis(6_010));
    let second = invited(&sent, SECOND);
    desk.callee(&response(only(&sent, "CANCEL"), 200, "t1", "", ""));
    let sent = desk.callee(&response(&first, 487, "t1", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK"]);
    desk.deliver(SECOND, &response(&second, 180, "t2", "", ""));
    assert!(desk.pass(seconds(179)).is_empty());
    invited(&desk.pass(seconds(2)), THIRD);
}

#[test]
fn the_last_trunk_may_not_take_too_long_either() {
    let mut desk = three("ringback_timeout_s = 5\nattempts_max = 1\n");
    let sent = desk.caller(&invite());
    let first = invited(&sent, CALLEE);
    desk.callee(&response(&first, 100, "", "", ""));
    let sent = desk.pass(Duration::from_millis(5_010));
    assert_eq!(kinds(&sent), ["A<408", "B<CANCEL"]);
    desk.callee(&response(&first, 487, "t1", "", ""));
    let sent = kinds(&desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv1", "x", "")));
    assert!(sent.is_empty());
    desk.assert_quiet();
    assert_eq!(desk.records[0].cause, "no_ringback");
    assert_eq!(desk.shard.counters().ringback_timeouts, 1);
}

#[test]
fn a_trunk_at_its_limit_is_passed_over_and_what_is_left_is_given_back() {
    let limited = TRUNKS.replace(
        "hosts = [\"127.0.0.4\"]",
        "hosts = [\"127.0.0.4\"]\nlimits.outbound = { channels = 1 }",
    );
    let text = format!(
        "{limited}[[route]]\nfrom = \"carrier\"\nto = [\"platform\", \"second\", \"third\"]\n\
         [[route]]\nfrom = \"platform\"\nto = \"second\"\n"
    );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    let (snapshot, admission) = (std::sync::Arc::new(snapshot), std::sync::Arc::new(admission));
    let mut desk = Desk::of_shard(
        sbc_core::shard::ShardId(0),
        1,
        snapshot.clone(),
        admission.clone(),
    );
    let used = |trunk: usize| {
        let trunk = &snapshot.trunks[trunk];
        let of = |id| admission.view(id).unwrap().channels_used;
        (of(trunk.inbound), of(trunk.outbound), of(trunk.both))
    };
    let from_platform = |n: u32| numbered(n, "1000").replace("127.0.0.2", "127.0.0.3");
    // A call holds the only channel of the second trunk.
    let sent = desk.deliver(CALLEE, &from_platform(1));
    let held = invited(&sent, SECOND);
    let sent = desk.caller(&numbered(2, "1000"));
    let first = invited(&sent, CALLEE);
    assert_eq!((used(0), used(1), used(2)), ((1, 0, 1), (1, 1, 2), (0, 1, 1)));
    let sent = desk.callee(&response(&first, 500, "t1", "", ""));
    let third = invited(&sent, THIRD);
    assert_eq!(
        (used(0), used(1), used(2), used(3)),
        ((1, 0, 1), (1, 0, 1), (0, 1, 1), (0, 1, 1))
    );
    assert_eq!(desk.shard.counters().targets_skipped, 1);
    desk.deliver(THIRD, &response(&third, 486, "t3", "", ""));
    desk.deliver(SECOND, &response(&held, 486, "t2", "", ""));
    desk.pass(seconds(100));
    assert!((0..4).all(|trunk| used(trunk) == (0, 0, 0)));
    let record = desk
        .records
        .iter()
        .find(|record| record.attempts.len() == 3)
        .unwrap();
    let why: Vec<_> = record
        .attempts
        .iter()
        .filter_map(|attempt| attempt.reason.as_deref())
        .collect();
    assert_eq!(why, ["refused", "channel_limit", "refused"]);
    let skipped = &record.attempts[1];
    assert_eq!(
        (skipped.trunk.as_str(), skipped.address.as_str(), skipped.status),
        ("second", "", None)
    );
}

#[test]
fn early_media_of_a_failed_trunk_is_over_and_the_caller_keeps_its_codec() {
    let mut desk = three("");
    let offer = OFFER.replace("0 8", "8 0 18");
    let sent = desk.caller(&invite().replace(OFFER, &offer).replace(
        &format!("Content-Length: {}", OFFER.len()),
        &format!("Content-Length: {}", offer.len()),
    ));
    let first = invited(&sent, CALLEE);
    let sent = desk.callee(&response(&first, 183, "t1", "sip:bob@127.0.0.3", ANSWER));
    let early = only(&sent, "183").clone();
    assert!(early.body().contains("RTP/AVP 0\r\n"), "{}", early.body());
    let sent = desk.callee(&response(&first, 503, "t1", "", ""));
    let second = invited(&sent, SECOND);
    // The caller sends PCMU by now, and may not hear of anything else.
    assert!(second.body().contains("RTP/AVP 0\r\n"), "{}", second.body());
    assert_ne!(first.media_port(), second.media_port());
    let sent = desk.deliver(SECOND, &response(&second, 180, "t2", "sip:bob@127.0.0.4", ""));
    assert_eq!(kinds(&sent), ["A<180"]);
    let answer = ANSWER.replace("127.0.0.3", "127.0.0.4").replace("6000", "6400");
    let sent = desk.deliver(
        SECOND,
        &response(&second, 200, "t2", "sip:bob@127.0.0.4", &answer),
    );
    let ok = only(&sent, "200").clone();
    assert_eq!(ok.body(), early.body(), "the caller has one answer");
    assert_eq!(desk.media_legs()[1].signalled, "127.0.0.4:6400");
}

#[test]
fn a_caller_told_reliably_goes_on_too() {
    let mut desk = three("");
    let sent = desk.caller(&crate::reliable::supporting(&invite()));
    let first = invited(&sent, CALLEE);
    let sent = desk.callee(&crate::reliable::reliable(&first, 183, "t1", 7, ANSWER));
    assert_eq!(kinds(&sent), ["B<PRACK", "A<183"]);
    let told = only(&sent, "183").clone();
    assert!(told.has("RSeq"));
    desk.caller(&crate::reliable::prack(&told, 2, "prack1", ""));
    let sent = desk.callee(&response(&first, 480, "t1", "", ""));
    let second = invited(&sent, SECOND);
    assert!(second.body().contains("RTP/AVP 0\r\n"), "{}", second.body());
    let sent = desk.deliver(SECOND, &response(&second, 200, "t2", "sip:bob@127.0.0.4", ANSWER));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert_eq!(only(&sent, "200").body(), "", "it has its answer already");
}

#[test]
fn a_callee_that_has_answered_is_left_for_no_other_trunk() {
    let mut desk = three("no_answer_s = 10\n");
    let sent = desk.caller(&crate::reliable::supporting(&invite()));
    let first = invited(&sent, CALLEE);
    let sent = desk.callee(&crate::reliable::reliable(&first, 183, "t1", 7, ANSWER));
    desk.callee(&response(only(&sent, "PRACK"), 200, "", "", ""));
    // The caller hears of the answer when it has acknowledged the 183: it never does (RFC 3262 §5, §3).
    let sent = desk.callee(&response(&first, 200, "t1", "sip:bob@127.0.0.3", ANSWER));
    assert_eq!(kinds(&sent), ["B<ACK"]);
    let sent = desk.pass(seconds(31));
    assert!(sent.iter().all(|sent| sent.kind() == "183"), "{sent:#?}");
    let sent = desk.pass(Duration::from_millis(1_100));
    assert_eq!(kinds(&sent), ["A<183", "A<504", "B<BYE"]);
    desk.callee(&response(&sent[2], 200, "", "", ""));
    desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv1", "x", ""));
    desk.pass(seconds(40));
    desk.assert_quiet();
    assert_eq!(desk.records[0].cause, "no_prack");
    assert_eq!(attempts(&desk), [("platform", Some(200), "answered")]);
}

#[test]
fn the_attempts_are_shown_while_the_call_is_there() {
    let mut desk = three("");
    let sent = desk.caller(&invite());
    let first = invited(&sent, CALLEE);
    desk.pass(seconds(1));
    desk.callee(&response(&first, 480, "t1", "", ""));
    let id = desk.call_id();
    desk.command(Command::CallShow(id));
    let Some(Reply::Call(call)) = desk.replies.pop() else {
        panic!()
    };
    assert_eq!(call.attempts.len(), 2);
    let (first, second) = (&call.attempts[0], &call.attempts[1]);
    assert_eq!(
        (first.start_ms, first.end_ms, first.status),
        (0, Some(1_000), Some(480))
    );
    assert_eq!(
        (second.address.as_str(), second.start_ms, second.end_ms),
        (SECOND, 1_000, None)
    );
}

#[test]
fn a_number_goes_where_its_prefix_says() {
    let mut desk = desk_of(
        "[[route]]\nprefixes = [\"49\"]\nto = \"second\"\n[[route]]\nprefixes = [\"4930\"]\nto = \"third\"\n\
         [[route]]\nfrom = \"carrier\"\nto = \"platform\"\n[[did]]\nnumbers = [\"+493012-3\"]\nto = \"platform\"\n",
    );
    for (n, (number, to)) in (1..).zip([
        ("+4940", SECOND),
        ("493011", THIRD),
        ("+493012", CALLEE),
        ("4930123", THIRD),
        ("33", CALLEE),
        ("alice", CALLEE),
    ]) {
        invited(&desk.caller(&numbered(n, number)), to);
    }
    let other = numbered(9, "33").replace("127.0.0.2", "127.0.0.4");
    let sent = desk.deliver(SECOND, &other);
    assert_eq!(
        sent.last().unwrap().kind(),
        "404",
        "there is no fallback for the second trunk"
    );
    assert_eq!(desk.shard.counters().refused_no_route, 1);
}

#[test]
fn a_temporary_route_follows_the_wall_clock() {
    let mut desk = desk_of(
        "[[route]]\nfrom = \"carrier\"\nto = \"platform\"\n[[route]]\nfrom = \"carrier\"\nto = \"second\"\n\
         starts = 2026-12-01T00:00:00Z\nends = \"2026-12-01T01:00:00Z\"\n",
    );
    desk.shard.set_epoch(1_796_083_200 - 60);
    invited(&desk.caller(&numbered(1, "1000")), CALLEE);
    desk.pass(seconds(60));
    invited(&desk.caller(&numbered(2, "1000")), SECOND);
    desk.pass(seconds(3600));
    invited(&desk.caller(&numbered(3, "1000")), CALLEE);
}

#[test]
fn a_trunk_that_is_down_is_passed_over() {
    let watched = TRUNKS.replace(
        "hosts = [\"127.0.0.3\"]",
        "hosts = [\"127.0.0.3\"]\noptions_interval_s = 5",
    );
    let routes = "[[route]]\nfrom = \"carrier\"\nto = [\"platform\", \"second\"]\n";
    let (snapshot, admission) = config::parse(&format!("{watched}{routes}"), "t")
        .unwrap()
        .compile()
        .unwrap();
    let health = snapshot.health.clone();
    let mut desk = Desk::of(snapshot, admission);
    desk.pass(seconds(60));
    assert!(health.is_down(TrunkId(1)));
    let sent = desk.caller(&invite());
    invited(&sent, SECOND);
    assert_eq!(
        desk.shard.counters().refused_trunk_down,
        0,
        "the call was not refused"
    );
    assert_eq!(desk.shard.counters().targets_skipped, 1);
}

/// One channel for all but emergency calls, which go to the second trunk and then to the third.
const EMERGENCY: &str = "[limits]\nchannels = 2\n[emergency]\nnumbers = [\"112\"]\nto = [\"second\", \"third\"]\nreserve = 1\n\
    [[route]]\nfrom = \"carrier\"\nto = \"platform\"\n";

#[test]
fn emergency_calls_pass_all_limits_and_have_channels_of_their_own() {
    let mut desk = desk_of(EMERGENCY);
    invited(&desk.caller(&numbered(1, "1000")), CALLEE);
    let sent = desk.caller(&numbered(2, "1000"));
    assert_eq!(kinds(&sent), ["A<100", "A<503"], "the last channel is reserved");
    for n in 3..6 {
        invited(&desk.caller(&numbered(n, "112")), SECOND);
    }
    assert_eq!(desk.shard.counters().emergency_calls, 3);
    let sent = desk.caller(&numbered(6, "1121"));
    assert_eq!(kinds(&sent), ["A<100", "A<503"], "that is another number");
}

#[test]
fn an_emergency_call_goes_on_to_the_next_trunk() {
    let mut desk = desk_of(EMERGENCY);
    let sent = desk.caller(&numbered(1, "112"));
    let second = invited(&sent, SECOND);
    let third = invited(
        &desk.deliver(SECOND, &response(&second, 503, "t1", "", "")),
        THIRD,
    );
    desk.deliver(THIRD, &response(&third, 486, "t2", "", ""));
    desk.assert_quiet();
    assert_eq!(
        attempts(&desk),
        [("second", Some(503), "refused"), ("third", Some(486), "refused")]
    );
}
