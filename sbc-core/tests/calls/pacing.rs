//! Calls that come faster than the callee's trunk allows wait for their turn (L3).

use crate::{desk::*, reload::Reloading};
use sbc_core::{
    admission::Admission, config, id::ListenerId, shard::Command, shard::ShardId, snapshot::Snapshot,
};
use std::{sync::Arc, time::Duration};

const CONFIG: &str = "[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:5060\"\n\
    [media]\naddress = \"127.0.0.1\"\n[[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.2\"]\n\
    [[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\n\
    [trunk.limits]\noutbound = { cps = 10, burst = 1, max_wait_ms = 500 }\n\
    [[route]]\nfrom = \"carrier\"\nto = \"platform\"\n";

fn compiled() -> (Snapshot, Admission) {
    config::parse(CONFIG, "test").unwrap().compile().unwrap()
}

pub(crate) fn paced() -> Desk {
    let (snapshot, admission) = compiled();
    Desk::of(snapshot, admission)
}

fn numbered(n: u32) -> String {
    invite()
        .replace("caller-call-id", &format!("call-{n}"))
        .replace("inv1", &format!("inv{n}"))
        .replace("sip:4930123@", &format!("sip:{n}@"))
}

fn cancel_of(n: u32) -> String {
    cancel()
        .replace("caller-call-id", &format!("call-{n}"))
        .replace("inv1", &format!("inv{n}"))
        .replace("sip:4930123@", &format!("sip:{n}@"))
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Who has been sent on, by the number in From. The callee says that it is trying, so that no INVITE comes again.
fn callers(desk: &mut Desk, sent: &[Sent]) -> Vec<String> {
    let invites = sent.iter().filter(|sent| sent.kind() == "INVITE");
    for invite in invites.clone() {
        desk.callee(&response(invite, 100, "", "", ""));
    }
    let number = |sent: &Sent| {
        sent.header("From")
            .split("sip:")
            .nth(1)
            .unwrap()
            .split('@')
            .next()
            .unwrap()
            .to_owned()
    };
    invites.map(number).collect()
}

/// Who is sent on within so many milliseconds.
fn passed(desk: &mut Desk, n: u64) -> Vec<String> {
    let sent = desk.pass(ms(n));
    callers(desk, &sent)
}

#[test]
fn calls_leave_in_their_order_at_the_rate_of_the_trunk() {
    let mut desk = paced();
    let start = desk.now;
    for n in 1..=7 {
        let sent = desk.caller(&numbered(n));
        match n {
            1 => assert_eq!(callers(&mut desk, &sent), ["1"]),
            2..=6 => assert_eq!(kinds(&sent), ["A<100"], "{n}"),
            _ => assert_eq!(kinds(&sent), ["A<100", "A<503"], "600 ms are too long"),
        }
    }
    for n in 2..=6u64 {
        let until = start + ms(100 * (n - 1));
        let before = desk.pass(until.since(desk.now) - ms(1));
        assert_eq!(
            callers(&mut desk, &before),
            Vec::<String>::new(),
            "not before its time"
        );
        assert_eq!(passed(&mut desk, 1), [n.to_string()]);
    }
    let counters = desk.shard.counters();
    assert_eq!(
        (
            counters.calls_held,
            counters.calls_held_sent,
            counters.refused_cps
        ),
        (5, 5, 1)
    );
    assert_eq!(desk.shard.gauges().calls, 6);
}

#[test]
fn who_waits_can_cancel_and_those_behind_move_up() {
    let mut desk = paced();
    for n in 1..=4 {
        desk.caller(&numbered(n));
    }
    let sent = desk.caller(&cancel_of(2));
    assert_eq!(kinds(&sent), ["A<200", "A<487"], "nothing goes to the callee");
    assert_eq!(passed(&mut desk, 100), ["3"], "at the time that was 2's");
    assert_eq!(passed(&mut desk, 100), ["4"]);
    desk.caller(&numbered(5));
    assert_eq!(passed(&mut desk, 100), ["5"], "the last place was free again");
    assert_eq!(desk.shard.counters().calls_held_left, 1);
}

#[test]
fn a_call_that_waited_is_a_call_like_others() {
    let mut desk = paced();
    desk.caller(&numbered(1));
    desk.caller(&numbered(2));
    let sent = desk.pass(ms(100));
    let out = only(&sent, "INVITE").clone();
    assert!(out.body().contains("m=audio"), "the caller's offer");
    let sent = desk.callee(&ok(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    let tag = tag_of(only(&sent, "200").header("To"));
    let contact = only(&sent, "200")
        .header("Contact")
        .trim_matches(['<', '>'])
        .to_owned();
    let ack = request("ACK", &contact, 1, "ack1", &tag, "").replace("caller-call-id", "call-2");
    desk.caller(&ack);
    let bye = request("BYE", &contact, 2, "bye1", &tag, "").replace("caller-call-id", "call-2");
    assert_eq!(kinds(&desk.caller(&bye)), ["A<200", "B<BYE"]);
}

#[test]
fn a_drain_refuses_who_waits() {
    let mut desk = paced();
    for n in 1..=3 {
        let sent = desk.caller(&numbered(n));
        callers(&mut desk, &sent);
    }
    let sent = desk.command(Command::Drain(true));
    assert_eq!(kinds(&sent), ["A<503", "A<503"]);
    assert!(sent.iter().all(|sent| sent.has("Retry-After")));
    assert_eq!(passed(&mut desk, 1000), Vec::<String>::new());
    assert_eq!(desk.shard.gauges().calls, 1, "the one that had left");
}

#[test]
fn nothing_is_left_of_those_who_waited() {
    let mut desk = paced();
    for n in 1..=5 {
        desk.caller(&numbered(n));
    }
    desk.caller(&cancel_of(4));
    desk.pass(ms(250));
    desk.command(Command::HangupAll);
    desk.pass(seconds(60));
    desk.assert_quiet();
}

/// Two shards, each with calls of its own, share one rate.
#[test]
fn two_shards_share_the_places() {
    let (snapshot, admission) = compiled();
    let (snapshot, admission) = (Arc::new(snapshot), Arc::new(admission));
    let mut desks =
        [0, 1].map(|id| Desk::of_shard(ShardId(id), 2, Arc::clone(&snapshot), Arc::clone(&admission)));
    let mut sent_at = Vec::new();
    let mut offered = 0;
    for step in 0..300u64 {
        for (n, desk) in desks.iter_mut().enumerate() {
            let mut sent = desk.pass(ms(10));
            if step % 6 == 0 && step < 120 {
                // Only those that this shard owns stay here; the others would be handed over.
                let number = 1 + offered;
                offered += 1;
                sent.extend(desk.caller(&numbered(number)));
                desk.handovers.clear();
            }
            sent_at.extend(
                callers(desk, &sent)
                    .into_iter()
                    .map(|who| (desk.now.as_millis(), n, who)),
            );
        }
    }
    let times: Vec<u64> = sent_at.iter().map(|(at, ..)| *at).collect();
    assert!(times.len() >= 8, "{sent_at:?}");
    // Steps of 10 ms: two places 100 ms apart are seen at least 90 apart.
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] >= 90),
        "{sent_at:?}"
    );
    let by: Vec<usize> = sent_at.iter().map(|(_, n, _)| *n).collect();
    assert!(
        by.contains(&0) && by.contains(&1),
        "both shards had calls: {by:?}"
    );
}

/// Calls of the carrier go to the platform, which takes none, and then to the spare trunk at its rate.
fn behind_another() -> Desk {
    let text = CONFIG
        .replace(
            "[[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]",
            "[[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\n[[trunk]]\nname = \"spare\"\nhosts = [\"127.0.0.4\"]",
        )
        .replace("to = \"platform\"", "to = [\"platform\", \"spare\"]");
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

#[test]
fn a_call_that_another_trunk_did_not_take_waits_too() {
    let mut desk = behind_another();
    let mut refused = |n: u32| {
        // Without an offer: the ports of one trunk after the other would be too many.
        let invite = numbered(n);
        let head = invite.split("Content-Type").next().unwrap();
        let sent = desk.caller(&format!("{head}Content-Length: 0\r\n\r\n"));
        let out = only(&sent, "INVITE").clone();
        desk.callee(&response(&out, 480, "t", "", ""))
    };
    let first = refused(1);
    assert_eq!(kinds(&first), ["B<ACK", "B<INVITE"]);
    for n in 2..=6 {
        assert_eq!(kinds(&refused(n)), ["B<ACK"], "call {n} waits");
    }
    assert_eq!(kinds(&refused(7)), ["B<ACK", "A<480"], "600 ms are too long");
    desk.deliver("127.0.0.4:5060", &response(&first[1], 180, "t", "", ""));
    let sent = desk.caller(&cancel_of(3));
    assert_eq!(kinds(&sent), ["A<200", "A<487"], "nothing goes to any callee");
    let mut left = Vec::new();
    for _ in 0..5 {
        let sent = desk.pass(ms(100));
        for invite in sent.iter().filter(|sent| sent.kind() == "INVITE") {
            assert_eq!(invite.to, "127.0.0.4:5060".parse().unwrap());
            desk.deliver("127.0.0.4:5060", &response(invite, 180, "t", "", ""));
            left.push(invite.header("From").split(['@', ':']).nth(1).unwrap().to_owned());
        }
    }
    assert_eq!(left, ["2", "4", "5", "6"]);
    let (counters, gauges) = (desk.shard.counters(), desk.shard.gauges());
    assert_eq!(
        (counters.calls_held, counters.calls_held_left, gauges.calls),
        (5, 1, 5)
    );
    desk.command(Command::HangupAll);
    desk.pass(seconds(60));
    desk.assert_quiet();
}

/// As docs/LIMITS.md says.
const HELD_MAX: u32 = 10_000;

/// Calls of the carrier for 2 go to a trunk of their own, those for 3 to the platform and then to the spare trunk.
fn crowded() -> Desk {
    let text = CONFIG
        .replace(
            "cps = 10, burst = 1, max_wait_ms = 500",
            "cps = 1000, burst = 1, max_wait_ms = 30000",
        )
        .replace(
            "hosts = [\"127.0.0.2\"]\n",
            "hosts = [\"127.0.0.2\"]\nlimits = { reject_code = 486 }\n",
        );
    let text = format!(
        "{text}[[trunk]]\nname = \"quiet\"\nhosts = [\"127.0.0.5\"]\n\
         limits.outbound = {{ cps = 10, burst = 1, max_wait_ms = 500 }}\n\
         [[trunk]]\nname = \"spare\"\nhosts = [\"127.0.0.4\"]\n\
         [[route]]\nfrom = \"carrier\"\nto = \"quiet\"\nprefixes = [\"2\"]\n\
         [[route]]\nfrom = \"carrier\"\nto = [\"platform\", \"spare\"]\nprefixes = [\"3\"]\n"
    );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

/// Without an offer: ten thousand calls have no ports.
fn numbered_to(called: u32, n: u32) -> String {
    let invite = numbered(n).replace("sip:1000@", &format!("sip:{called}@"));
    let head = invite.split("Content-Type").next().unwrap();
    format!("{head}Content-Length: 0\r\n\r\n")
}

#[test]
fn no_more_calls_wait_than_the_bound_and_who_need_not_wait_goes() {
    let mut desk = crowded();
    // Past the desk's audit, which looks at all calls each time.
    for n in 0..=HELD_MAX {
        let invite = numbered_to(1000, n);
        desk.shard.handle_datagram(
            desk.now,
            ListenerId(0),
            CALLER.parse().unwrap(),
            invite.as_bytes(),
        );
        while desk.shard.poll_output().is_some() {}
    }
    let counted = |desk: &Desk| {
        let counters = desk.shard.counters();
        (
            counters.calls_held,
            counters.refused_held_max,
            counters.refused_cps,
        )
    };
    assert_eq!(counted(&desk), (10_000, 0, 0));
    let sent = desk.caller(&numbered_to(1000, 20_001));
    assert_eq!(kinds(&sent), ["A<100", "A<486"], "as its trunk has calls refused");
    assert_eq!(
        only(&sent, "486").header("Retry-After"),
        "11",
        "when there is a place"
    );
    assert_eq!(counted(&desk), (10_000, 1, 0));
    // Whom its trunk's rate takes at once does not wait for anybody.
    let sent = desk.caller(&numbered_to(2000, 20_002));
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    let sent = desk.caller(&numbered_to(2000, 20_003));
    assert_eq!(kinds(&sent), ["A<100", "A<486"]);
    assert_eq!(only(&sent, "486").header("Retry-After"), "1");
    assert_eq!(counted(&desk), (10_000, 2, 0));
    // Another trunk may have it.
    let sent = desk.caller(&numbered_to(3000, 20_004));
    assert_eq!(only(&sent, "INVITE").to, "127.0.0.4:5060".parse().unwrap());
    assert_eq!(desk.shard.counters().targets_skipped, 1);
    // One has left: there is room for one.
    let sent = desk.pass(ms(1));
    assert_eq!(callers(&mut desk, &sent), ["1"]);
    let sent = desk.caller(&numbered_to(1000, 20_005));
    assert_eq!(kinds(&sent), ["A<100"]);
    let sent = desk.caller(&numbered_to(1000, 20_006));
    assert_eq!(kinds(&sent), ["A<100", "A<486"]);
    assert_eq!(counted(&desk), (10_001, 3, 0));
}

/// The platform, which calls wait for, switched off or gone.
fn without_the_platform(text: &str) -> [String; 2] {
    let off = text.replace("name = \"platform\"", "name = \"platform\"\nenabled = false");
    let gone = text
        .replace("[[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\n", "")
        .replace(
            "[trunk.limits]\noutbound = { cps = 10, burst = 1, max_wait_ms = 500 }\n",
            "",
        )
        .replace("to = \"platform\"", "to = \"spare\"")
        .replace("[\"platform\", \"spare\"]", "\"spare\"");
    assert!(!gone.contains("platform"), "{gone}");
    [off, gone]
}

const SPARE: &str = "[[trunk]]\nname = \"spare\"\nhosts = [\"127.0.0.4\"]\n";

#[test]
fn who_waits_for_a_trunk_that_is_switched_off_or_removed_does_not_go_there() {
    let text = format!("{CONFIG}{SPARE}");
    for next in without_the_platform(&text) {
        let mut world = Reloading::of(&text);
        for n in 1..=3 {
            let sent = world.desk.caller(&numbered(n));
            callers(&mut world.desk, &sent);
        }
        let sent = world.reload(&next);
        assert_eq!(
            kinds(&sent),
            ["A<500", "A<500"],
            "the one that has gone there goes on"
        );
        assert!(sent.iter().all(|sent| sent.has("Retry-After")));
        assert_eq!(passed(&mut world.desk, 1000), Vec::<String>::new());
        let counters = world.desk.shard.counters();
        let counted = (counters.calls_held_left, counters.refused_disabled);
        assert_eq!(counted, (2, 2));
        world.desk.command(Command::HangupAll);
        world.desk.pass(seconds(60));
        world.desk.assert_quiet();
        assert_eq!(world.used("platform.outbound"), 0);
    }
}

#[test]
fn who_waits_for_a_trunk_that_is_switched_off_or_removed_goes_to_the_next() {
    let text = format!("{CONFIG}{SPARE}").replace("to = \"platform\"", "to = [\"platform\", \"spare\"]");
    for next in without_the_platform(&text) {
        let mut world = Reloading::of(&text);
        for n in 1..=3 {
            let sent = world.desk.caller(&numbered(n));
            callers(&mut world.desk, &sent);
        }
        let sent = world.reload(&next);
        let to: Vec<_> = sent
            .iter()
            .map(|sent| (sent.kind(), sent.to.to_string()))
            .collect();
        let there = "127.0.0.4:5060".to_owned();
        assert_eq!(
            to,
            [("INVITE", there.clone()), ("INVITE", there)],
            "in their order"
        );
        for (invite, n) in sent.iter().zip([2, 3]) {
            assert!(invite.header("From").contains(&format!("sip:{n}@")));
            world
                .desk
                .deliver("127.0.0.4:5060", &response(invite, 486, "t", "", ""));
        }
        assert_eq!(world.desk.records.len(), 2);
        for record in &world.desk.records {
            let attempts: Vec<_> = record
                .attempts
                .iter()
                .map(|attempt| (&*attempt.trunk, attempt.reason.as_deref().unwrap_or_default()))
                .collect();
            assert_eq!(attempts, [("platform", "trunk_disabled"), ("spare", "refused")]);
        }
        world.desk.command(Command::HangupAll);
        world.desk.pass(seconds(60));
        world.desk.assert_quiet();
    }
}
