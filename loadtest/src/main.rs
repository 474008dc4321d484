//! Load test of sbcd.
//!
//! `loadtest SCENARIO` starts its own `sbcd` (or takes a running one with `--target`), places
//! calls through it with real SIPp on both sides, sends RTP through it from its own source and
//! sink, and reports what came out, what it cost and what was left over. The exit status is 1
//! when a gate fails and 2 when the test could not be run.
// A load generator owns sockets, clocks and threads: what the rule keeps out of the core is
// its whole business.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod admin;
mod bare_relay;
mod bench;
mod bencode;
mod calls;
mod flows;
mod generator;
mod kamailio;
mod measure;
mod media;
mod report;
mod ring;
mod rtp;
mod rtpengine;
mod sbcd;
mod scenarios;
mod shape;
mod sipp;
mod tls;

use bench::{Bench, Options};
use clap::{Parser, Subcommand};
use report::Report;
use std::{process::ExitCode, time::Duration};

/// Why a test could not be run.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program is not installed.
    #[error("{program} is not installed: {remedy}")]
    Missing {
        /// Its name.
        program: &'static str,
        /// How to get it.
        remedy: &'static str,
    },
    /// A process we need did not start or ended early.
    #[error("{0}")]
    Process(String),
    /// The admin socket's answer.
    #[error("admin socket: {0}")]
    Admin(String),
    /// The test makes no sense with these options, or its set-up failed.
    #[error("{0}")]
    Setup(String),
}

type Result<T> = std::result::Result<T, Error>;

/// Load test of sbcd with real SIPp on both sides and an RTP source and sink.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Calls at a steady rate.
    Calls(scenarios::calls::Calls),
    /// Simultaneous calls with RTP both ways.
    Media(scenarios::media::Media),
    /// Good calls while forged media pours in, with and without SRTP.
    HostileMedia(scenarios::hostile_media::HostileMedia),
    /// Calls whose SRTP ends in rtpengine, under every suite that it knows.
    SrtpPeer(scenarios::srtp_peer::SrtpPeer),
    /// More calls than a rate limit and a channel limit allow.
    Limits(scenarios::limits::Limits),
    /// Changes of the configuration while calls run.
    Provision(scenarios::provision::Provision),
    /// A table of very many prefixes read anew while calls run.
    Prefixes(scenarios::prefixes::Prefixes),
    /// Calls for minutes: does memory stay flat?
    Soak(scenarios::soak::Soak),
    /// More and more calls a second until something gives.
    Max(scenarios::max::Max),
    /// Many calls held at once: memory per call.
    Hold(scenarios::hold::Hold),
    /// Good calls while hostile datagrams pour in.
    Hostile(scenarios::hostile::Hostile),
    /// SIPVicious against the daemon while good calls run.
    Vicious(scenarios::vicious::Vicious),
    /// Three times the calls that the daemon can serve.
    Overload(scenarios::overload::Overload),
    /// Every message flow, over every transport, judged message by message.
    Flows(scenarios::flows::Flows),
    /// Registering with another implementation: strict, slow, busy and stingy.
    Registrations(scenarios::registrations::Registrations),
    /// Real phones on both sides, and what they hear.
    Phones(scenarios::phones::Phones),
    /// Calls over UDP, TCP and TLS, and what each costs.
    Tls(scenarios::tls::Tls),
    /// Good calls over TLS and TCP while hostile connections do their worst.
    HostileStreams(scenarios::hostile_streams::HostileStreams),
    /// Half a minute of everything, over two shards, judged on correctness alone.
    Smoke(scenarios::smoke::Smoke),
    /// The yardstick itself, as a process (used by `media --against bare`).
    BareRelay(bare_relay::BareRelay),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("loadtest: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether every gate held.
fn run(cli: &Cli) -> Result<bool> {
    if let Scenario::BareRelay(relay) = &cli.scenario {
        bare_relay::run(relay, Duration::from_micros(cli.options.coalesce_us.into()))?;
        return Ok(true);
    }
    measure::raise_open_files();
    let mut options = cli.options.clone();
    if matches!(cli.scenario, Scenario::Smoke(_)) {
        // Short timers for a short test, and hand-over between shards as part of it.
        options.t1_ms.get_or_insert(50);
        options.shards = options.shards.max(2);
    }
    if matches!(cli.scenario, Scenario::Vicious(_)) {
        options.t1_ms.get_or_insert(50);
    }
    if matches!(cli.scenario, Scenario::Flows(_)) {
        options.shards = options.shards.max(2);
    }
    let bench = Bench::new(options)?;
    let report = match &cli.scenario {
        Scenario::Calls(scenario) => scenario.run(&bench),
        Scenario::Media(scenario) => scenario.run(&bench),
        Scenario::HostileMedia(scenario) => scenario.run(&bench),
        Scenario::SrtpPeer(scenario) => scenario.run(&bench),
        Scenario::Limits(scenario) => scenario.run(&bench),
        Scenario::Provision(scenario) => scenario.run(&bench),
        Scenario::Prefixes(scenario) => scenario.run(&bench),
        Scenario::Soak(scenario) => scenario.run(&bench),
        Scenario::Max(scenario) => scenario.run(&bench),
        Scenario::Hold(scenario) => scenario.run(&bench),
        Scenario::Hostile(scenario) => scenario.run(&bench),
        Scenario::Vicious(scenario) => scenario.run(&bench),
        Scenario::Overload(scenario) => scenario.run(&bench),
        Scenario::Flows(scenario) => scenario.run(&bench),
        Scenario::Registrations(scenario) => scenario.run(&bench),
        Scenario::Phones(scenario) => scenario.run(&bench),
        Scenario::Tls(scenario) => scenario.run(&bench),
        Scenario::HostileStreams(scenario) => scenario.run(&bench),
        Scenario::Smoke(scenario) => scenario.run(&bench),
        Scenario::BareRelay(_) => Ok(Report::new("bare-relay")),
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            bench.keep();
            return Err(error);
        }
    };
    report.show(&bench.options)?;
    if !report.passed() {
        bench.keep();
    }
    Ok(report.passed())
}
