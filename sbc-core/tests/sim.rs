//! Whole shards under a seeded, hostile network. Every seed is a few dozen calls between two peers
//! that answer, refuse, ring for ever, cancel, hang up, renegotiate, die and lie, through a network
//! that loses, doubles and reorders. Oracles watch every byte (see `sim/world.rs`, `sim/ua/`).
//!
//! - `cargo test --release --test sim`: the regressions and some fresh seeds.
//! - `SIM_SEEDS=10000`: that many; `SIM_FIRST=N`: starting there.
//! - `SIM_SEED=N`: one seed with its ladder; `SIM_CALL=N`: only that call; `SIM_FULL=1`: whole messages.
//! - `SIM_SURVEY=1`: go on after a failure, one line per violation.
//! - `SIM_CALLS=N`: calls per seed (50).

// Everything here is private to this test program; `pub` marks what other files of it use.
#![allow(missing_docs, unreachable_pub)]

#[path = "sim/audit.rs"]
mod audit;
#[path = "sim/logins.rs"]
mod logins;
#[path = "sim/media.rs"]
mod media;
#[path = "sim/message.rs"]
mod message;
#[path = "sim/mischief.rs"]
mod mischief;
#[path = "sim/network.rs"]
mod network;
#[path = "sim/plan.rs"]
mod plan;
#[path = "sim/reconfigure.rs"]
mod reconfigure;
#[path = "sim/rng.rs"]
mod rng;
#[path = "sim/setup.rs"]
mod setup;
#[path = "sim/spare.rs"]
mod spare;
#[path = "sim/streams.rs"]
mod streams;
#[path = "sim/trace.rs"]
mod trace;
#[path = "sim/ua/mod.rs"]
mod ua;
#[path = "sim/wire.rs"]
mod wire;
#[path = "sim/world.rs"]
mod world;

use sbc_core::shard::Shard;
use std::collections::BTreeSet;
use world::{Outcome, World};

/// Fresh seeds when nothing else is asked for: seconds in a debug build.
const SEEDS_DEFAULT: u64 = 100;

fn env(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|v| v.parse().unwrap_or_else(|_| panic!("{name}={v} is not a number")))
}

fn calls() -> u32 {
    env("SIM_CALLS").map_or(50, |n| n as u32)
}

fn run(seed: u64) -> Outcome {
    World::new(seed, calls(), false).run().0
}

/// The same, with a look at every state after every step.
fn run_watched(seed: u64) -> Outcome {
    let mut world = World::new(seed, calls(), false);
    world.watch_states = true;
    world.run().0
}

/// Run one seed; on a violation print its ladder and how to see it again.
fn check(seed: u64) -> Outcome {
    let outcome = std::panic::catch_unwind(|| run(seed)).unwrap_or_else(|panic| {
        println!(
            "seed {seed} panicked; again: SIM_SEED={seed} SIM_CALLS={} cargo test --test sim -- --nocapture",
            calls()
        );
        std::panic::resume_unwind(panic);
    });
    if !outcome.violations.is_empty() {
        let (_, trace) = World::new(seed, calls(), true).run();
        let call = outcome.violations.iter().map(|v| v.0).find(|&c| c != u32::MAX);
        let mut text = format!("seed {seed}: {} violations\n", outcome.violations.len());
        for (call, why) in outcome.violations.iter().take(10) {
            let name = if *call == u32::MAX {
                String::new()
            } else {
                format!("call {call}: ")
            };
            text.push_str(&format!("  {name}{why}\n"));
        }
        if let (Some(trace), Some(_)) = (trace, call) {
            text.push_str(&trace.print(call, false, 120));
        }
        text.push_str(&format!(
            "again: SIM_SEED={seed} SIM_CALLS={} cargo test --test sim replay -- --nocapture\n",
            calls()
        ));
        panic!("{text}");
    }
    outcome
}

/// Seeds that once failed.
#[test]
fn regressions() {
    for line in include_str!("sim/regressions.txt").lines() {
        let seed = line.split('#').next().unwrap_or("").trim();
        if !seed.is_empty() {
            check(
                seed.parse()
                    .unwrap_or_else(|_| panic!("regressions.txt: {line:?} does not start with a seed")),
            );
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "only to report seeds per second")]
fn fresh_seeds() {
    if env("SIM_SEED").is_some() {
        return;
    }
    let count = env("SIM_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let first = env("SIM_FIRST").unwrap_or(1);
    let start = std::time::Instant::now();
    let mut total = Outcome::default();
    let mut states = BTreeSet::new();
    if env("SIM_SURVEY").is_some() {
        return survey(first, count);
    }
    for seed in first..first + count {
        let outcome = check(seed);
        if seed % 16 == 0 {
            let again = run_watched(seed);
            assert_eq!(
                again.trace_hash, outcome.trace_hash,
                "seed {seed} is not repeatable"
            );
            states.extend(again.states);
        }
        total.counters.add(&outcome.counters);
        total.answered += outcome.answered;
        total.packets_delivered += outcome.packets_delivered;
        total.packets_of_our_own += outcome.packets_of_our_own;
        total.reports_of_our_own += outcome.reports_of_our_own;
        total.spoofed_sent += outcome.spoofed_sent;
        total.datagrams += outcome.datagrams;
        total.events += outcome.events;
        total.to_nobody += outcome.to_nobody;
        total.to_spare += outcome.to_spare;
        total.names_asked += outcome.names_asked;
        total.pipes.0 += outcome.pipes.0;
        total.pipes.1 += outcome.pipes.1;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{count} seeds × {} calls in {seconds:.1} s: {:.1} seeds/s; {} calls admitted, {} answered, {} datagrams sent by the SBC, \
         {} media packets delivered, {} spoofed ones refused, {} datagrams handed over",
        calls(),
        count as f64 / seconds,
        total.counters.calls_admitted,
        total.answered,
        total.datagrams,
        total.packets_delivered,
        total.spoofed_sent,
        total.counters.handed_over,
    );
    for (name, n) in total.counters.iter().filter(|(_, n)| *n > 0) {
        print!("{name}={n} ");
    }
    println!();
    let missing: Vec<_> = Shard::states().filter(|s| !states.contains(s)).collect();
    println!(
        "{} of {} states reached; missing: {missing:?}",
        states.len(),
        Shard::states().count()
    );
    if count >= 200 {
        assert!(missing.is_empty(), "never reached in {count} seeds: {missing:?}");
    }
    // A world in which nothing happens violates nothing: make sure that this is not one.
    if count >= 10 && calls() >= 20 {
        let c = &total.counters;
        for (what, n) in [
            ("calls answered", total.answered),
            ("connections", total.pipes.0),
            ("broken connections", total.pipes.1),
            ("questions for names", total.names_asked),
            ("messages to an address where nobody is", total.to_nobody),
            ("messages to a spare trunk", total.to_spare),
            ("calls that went on to another trunk", c.failovers),
            ("trunks passed over", c.targets_skipped),
            ("callees that did not ring in time", c.ringback_timeouts),
            ("media packets delivered", total.packets_delivered),
            ("spoofed packets", total.spoofed_sent),
            ("packets of our own", total.packets_of_our_own),
            ("reports of our own", total.reports_of_our_own),
            ("ringback tones", c.ringback_tones),
            ("hand-overs", c.handed_over),
            ("retransmissions absorbed", c.retransmissions_received),
            ("retransmissions sent", c.retransmissions_sent),
            ("failed calls", c.calls_failed),
            ("unknown sources", c.sip_unknown_source),
            ("malformed messages", c.sip_malformed),
            ("calls refused by limits", c.refused_channels + c.refused_cps),
            ("calls that waited for their place in a rate", c.calls_held_sent),
            ("calls given up while they waited", c.calls_held_left),
            ("configurations taken over", c.configurations),
            ("calls refused because a trunk is off", c.refused_disabled),
        ] {
            assert!(n > 0, "no {what} in {count} seeds: the simulator tests nothing");
        }
    }
}

/// A provider that we register with and a PBX that registers with us (see `sim/logins.rs`).
#[test]
fn log_ins() {
    let count = env("SIM_SEEDS").unwrap_or(SEEDS_DEFAULT);
    let first = env("SIM_SEED").or(env("SIM_FIRST")).unwrap_or(1);
    let count = if env("SIM_SEED").is_some() { 1 } else { count };
    let mut total = logins::Outcome::default();
    for seed in first..first + count {
        let outcome = logins::run(seed);
        assert!(
            outcome.violations.is_empty(),
            "seed {seed}:\n{}\nagain: SIM_SEED={seed} cargo test --test sim log_ins",
            outcome.violations.join("\n")
        );
        total.sent += outcome.sent;
        total.granted += outcome.granted;
        total.refused += outcome.refused;
        total.bound += outcome.bound;
        total.restarts += outcome.restarts;
        total.stale += outcome.stale;
        total.well_after_s = total.well_after_s.max(outcome.well_after_s);
    }
    println!("{count} seeds: {total:?}");
    if count >= 10 {
        for (what, n) in [
            ("REGISTERs of ours", total.sent),
            ("registrations granted to us", total.granted),
            ("REGISTERs of ours that were refused", total.refused),
            ("registrations of the PBX", total.bound),
            ("peers that came back", total.restarts),
            ("nonces that were too old", total.stale),
        ] {
            assert!(n > 0, "no {what} in {count} seeds: the simulator tests nothing");
        }
    }
}

/// `SIM_SURVEY=1`: one line per violation of every seed, instead of stopping at the first.
fn survey(first: u64, count: u64) {
    let mut failed = 0;
    for seed in first..first + count {
        match std::panic::catch_unwind(|| run(seed)) {
            Ok(outcome) => {
                failed += u64::from(!outcome.violations.is_empty());
                for (call, why) in outcome.violations.iter().take(3) {
                    println!("seed {seed} call {call}: {}", why.lines().next().unwrap_or(""));
                }
            }
            Err(_) => {
                failed += 1;
                println!("seed {seed} panicked");
            }
        }
    }
    println!("{failed} of {count} seeds failed");
    assert_eq!(failed, 0);
}

/// `SIM_SEED=N`: one seed with its ladder.
#[test]
fn replay() {
    let Some(seed) = env("SIM_SEED") else { return };
    let (outcome, trace) = World::new(seed, calls(), true).run();
    if let Some(trace) = trace {
        let call = env("SIM_CALL").map(|n| n as u32);
        println!("{}", trace.print(call, env("SIM_FULL").is_some(), usize::MAX));
    }
    for (call, why) in &outcome.violations {
        println!("call {call}: {why}");
    }
    assert!(
        outcome.violations.is_empty(),
        "seed {seed}: {} violations",
        outcome.violations.len()
    );
}
