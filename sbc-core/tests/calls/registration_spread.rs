//! Hundreds of trunks that we register with are never registered with all at once, whatever makes them due together
//! (T2, RFC 5626 §4.5).

use crate::{desk::*, reload::Reloading};
use sbc_core::{
    config,
    shard::{Command, ShardId},
};
use std::{collections::HashSet, fmt::Write as _, sync::Arc, time::Duration};

const TRUNKS: usize = 400;
/// Most REGISTERs in a second: one every 20 ms, with both ends of the second, and what a step of the clock is off by.
const SECOND_MAX: usize = 52;
const STEP: Duration = Duration::from_millis(10);
/// Of the clock, where an hour passes.
const LONG_STEP: Duration = Duration::from_millis(200);

/// So many trunks that we register with, each with an address of its own.
fn many(more: &str) -> String {
    let mut text = "[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:5060\"\n\
                    [media]\naddress = \"127.0.0.1\"\nports = \"20000-20999\"\n"
        .to_owned();
    for n in 0..TRUNKS {
        let (high, low) = (n / 200, n % 200 + 1);
        write!(
            text,
            "[[trunk]]\nname = \"t{n}\"\nhosts = [\"127.1.{high}.{low}\"]\n{more}register = {{ user = \"u{n}\" }}\n"
        )
        .unwrap();
    }
    text
}

/// What a registrar says.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Granting,
    Silent,
    /// 503 with these header fields.
    Busy(&'static str),
}

/// The REGISTERs of a while: when each left first, in milliseconds, and to whom.
struct Seen {
    registers: Vec<(u64, Sent)>,
    branches: HashSet<String>,
}

impl Seen {
    fn nothing() -> Self {
        Self {
            registers: Vec::new(),
            branches: HashSet::new(),
        }
    }

    /// Let time pass; what the registrars get is seen, and answered at once.
    fn during(desk: &mut Desk, seconds: u64, mood: Mood) -> Self {
        let mut seen = Self::nothing();
        let end = desk.now + Duration::from_secs(seconds);
        while desk.now < end {
            let sent = desk.pass(if seconds > 60 { LONG_STEP } else { STEP });
            seen.take(desk, sent, mood);
        }
        seen
    }

    fn take(&mut self, desk: &mut Desk, mut sent: Vec<Sent>, mood: Mood) {
        while !sent.is_empty() {
            let mut next = Vec::new();
            for sent in sent {
                assert_eq!(sent.kind(), "REGISTER");
                next.extend(answer(desk, &sent, mood));
                // A repetition is no other REGISTER.
                if self.branches.insert(sent.branch().to_owned()) {
                    self.registers.push((desk.now.as_millis(), sent));
                }
            }
            sent = next;
        }
    }

    /// Every trunk once, or as often as it says, and never more than `max` in `window_ms`.
    fn assert_spread(&self, count: usize, window_ms: u64, max: usize) {
        let trunks: HashSet<_> = self.registers.iter().map(|(_, sent)| sent.to).collect();
        assert_eq!((self.registers.len(), trunks.len()), (count, TRUNKS));
        let most = self.most_within(window_ms);
        assert!(most <= max, "{most} REGISTERs within {window_ms} ms");
    }

    fn most_within(&self, window_ms: u64) -> usize {
        let times: Vec<u64> = self.registers.iter().map(|(at, _)| *at).collect();
        let first = |at: u64| times.partition_point(|time| *time + window_ms <= at);
        (0..times.len())
            .map(|n| n + 1 - first(times[n]))
            .max()
            .unwrap_or(0)
    }

    fn took(&self) -> Duration {
        let times = self.registers.iter().map(|(at, _)| *at);
        Duration::from_millis(times.clone().max().unwrap() - times.min().unwrap())
    }
}

fn answer(desk: &mut Desk, register: &Sent, mood: Mood) -> Vec<Sent> {
    let (status, header) = match mood {
        Mood::Granting => (200, ""),
        Mood::Busy(header) => (503, header),
        Mood::Silent => return Vec::new(),
    };
    let text = response(register, status, "t", "", "");
    let text = text.replacen("Content-Length", &format!("{header}Content-Length"), 1);
    let from = register.to.to_string();
    desk.deliver(&from, &text)
}

/// All are registered with.
fn registered() -> Reloading {
    let mut world = Reloading::of(&many(""));
    Seen::during(&mut world.desk, 12, Mood::Granting).assert_spread(TRUNKS, 1000, SECOND_MAX);
    world
}

#[test]
fn at_start_trunks_come_one_after_the_other() {
    let mut world = Reloading::of(&many(""));
    let seen = Seen::during(&mut world.desk, 12, Mood::Granting);
    seen.assert_spread(TRUNKS, 1000, SECOND_MAX);
    assert!(seen.took() < seconds(9), "and are done soon: {:?}", seen.took());
    // Refreshes stay apart: nobody is registered anew before three quarters of the hour.
    let refreshes = Seen::during(&mut world.desk, 3_300, Mood::Granting);
    refreshes.assert_spread(TRUNKS, 1000, 10);
}

#[test]
fn on_several_shards_they_are_as_far_apart() {
    let (snapshot, admission) = config::parse(&many(""), "test").unwrap().compile().unwrap();
    let (snapshot, admission) = (Arc::new(snapshot), Arc::new(admission));
    let mut desks =
        [0, 1, 2, 3].map(|id| Desk::of_shard(ShardId(id), 4, Arc::clone(&snapshot), Arc::clone(&admission)));
    let mut seen = Seen::nothing();
    for _ in 0..1_200 {
        for desk in &mut desks {
            let sent = desk.pass(STEP);
            seen.take(desk, sent, Mood::Granting);
        }
    }
    seen.assert_spread(TRUNKS, 1000, SECOND_MAX + 3);
}

#[test]
fn who_started_late_does_not_make_up_for_it() {
    let mut world = Reloading::of(&many(""));
    // The prefixes took a minute to read.
    world.desk.now = world.desk.now + seconds(60);
    let seen = Seen::during(&mut world.desk, 12, Mood::Granting);
    seen.assert_spread(TRUNKS, 1000, SECOND_MAX);
}

#[test]
fn after_the_machine_stood_still_they_come_one_after_the_other() {
    let mut world = registered();
    world.desk.now = world.desk.now + seconds(7_200);
    let seen = Seen::during(&mut world.desk, 12, Mood::Granting);
    seen.assert_spread(TRUNKS, 1000, SECOND_MAX);
}

#[test]
fn a_registrar_that_comes_back_is_not_met_by_all_at_once() {
    let mut world = Reloading::of(&many(""));
    // Given up after 16 s, and tried again after 15 to 30 s more.
    let seen = Seen::during(&mut world.desk, 24, Mood::Silent);
    seen.assert_spread(TRUNKS, 1000, SECOND_MAX);
    let seen = Seen::during(&mut world.desk, 40, Mood::Granting);
    seen.assert_spread(TRUNKS, 1000, SECOND_MAX);
}

#[test]
fn after_a_503_to_all_at_once_they_come_one_after_the_other() {
    for (header, first, last) in [("", 15, 32), ("Retry-After: 20\r\n", 20, 34)] {
        let mut world = Reloading::of(&many(""));
        let seen = Seen::during(&mut world.desk, 9, Mood::Silent);
        seen.assert_spread(TRUNKS, 1000, SECOND_MAX);
        for (_, register) in &seen.registers {
            assert!(answer(&mut world.desk, register, Mood::Busy(header)).is_empty());
        }
        let begun = world.desk.now;
        let seen = Seen::during(&mut world.desk, 40, Mood::Granting);
        seen.assert_spread(TRUNKS, 1000, SECOND_MAX);
        let after = |at: u64| at / 1000 - begun.as_millis() / 1000;
        let times: Vec<u64> = seen.registers.iter().map(|(at, _)| after(*at)).collect();
        assert!(
            times.iter().all(|at| (first..=last).contains(at)),
            "{header}{:?} to {:?}",
            times.iter().min(),
            times.iter().max()
        );
    }
}

#[test]
fn a_configuration_with_nothing_new_has_nobody_registered_with() {
    let mut world = registered();
    let sent = world.reload(&many("options_interval_s = 0\n"));
    assert!(sent.is_empty(), "{:?}", kinds(&sent));
    let seen = Seen::during(&mut world.desk, 60, Mood::Granting);
    assert_eq!(seen.registers.len(), 0);
}

#[test]
fn a_configuration_that_concerns_all_has_them_come_one_after_the_other() {
    let mut world = registered();
    // Another address of record; switched off, which registrars are told; on again; gone.
    let gone = many("").split("[[trunk]]").next().unwrap().to_owned()
        + "[[trunk]]\nname = \"last\"\nhosts = [\"127.0.0.2\"]\n";
    for text in [
        many("domain = \"other.test\"\n"),
        many("domain = \"other.test\"\nenabled = false\n"),
        many("domain = \"other.test\"\n"),
        gone,
    ] {
        let mut seen = Seen::nothing();
        let sent = world.reload(&text);
        seen.take(&mut world.desk, sent, Mood::Granting);
        let later = Seen::during(&mut world.desk, 12, Mood::Granting);
        seen.registers.extend(later.registers);
        seen.assert_spread(TRUNKS, 1000, SECOND_MAX);
    }
}

#[test]
fn who_goes_tells_all_within_a_second_and_not_in_one_moment() {
    let mut world = registered();
    let to_leave = |world: &Reloading| world.desk.shard.gauges().registrars_to_leave;
    assert_eq!(to_leave(&world), 0);
    let mut seen = Seen::nothing();
    let sent = world.desk.command(Command::Drain(true));
    assert_eq!(to_leave(&world), TRUNKS as u64);
    seen.take(&mut world.desk, sent, Mood::Granting);
    let later = Seen::during(&mut world.desk, 5, Mood::Granting);
    seen.registers.extend(later.registers);
    seen.assert_spread(TRUNKS, 100, 46);
    assert!(seen.took() <= seconds(1), "{:?}", seen.took());
    assert!(
        seen.registers
            .iter()
            .all(|(_, sent)| sent.header("Expires") == "0")
    );
    assert_eq!(to_leave(&world), 0);
    // Back again, there is no hurry.
    let mut seen = Seen::nothing();
    let sent = world.desk.command(Command::Drain(false));
    seen.take(&mut world.desk, sent, Mood::Granting);
    let later = Seen::during(&mut world.desk, 12, Mood::Granting);
    seen.registers.extend(later.registers);
    seen.assert_spread(TRUNKS, 1000, SECOND_MAX);
}
