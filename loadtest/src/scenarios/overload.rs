//! Three times the calls that the daemon can serve: do as many succeed as at its best, is everything that belongs to a
//! call answered, and are the calls that it takes set up in time?
//!
//! SIPp on one core cannot offer three times what the daemon carries on another. So the daemon gets a third of its core: a
//! thread of real-time priority has the rest of every two milliseconds, which the daemon has to notice by itself. First the
//! rate is raised until calls are refused, which gives the peak; then three times the peak is offered.

use crate::{
    Error, Result,
    bench::Bench,
    calls::{self, CallLoad, CallOutcome},
    measure,
    report::{Report, micros, round},
    sbcd::Daemon,
    sipp,
};
use std::{
    io,
    sync::{
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    time::Duration,
};

/// Options of `overload`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Overload {
    /// First rate on the way to the peak.
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u32).range(10..))]
    pub(crate) from: u32,
    /// Seconds at each rate.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) step_seconds: u32,
    /// Seconds of overload.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) seconds: u32,
    /// Times the peak.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) factor: f64,
    /// Least share of the peak that must succeed, in percent.
    #[arg(long, default_value_t = 95.0)]
    pub(crate) goodput_percent: f64,
    /// The daemon's share of its core, in percent.
    #[arg(long, default_value_t = 33, value_parser = clap::value_parser!(u8).range(5..=100))]
    pub(crate) core_percent: u8,
    /// Longest set-up of 99 of 100 calls that are taken, in milliseconds. It is longest before the daemon has noticed.
    #[arg(long, default_value_t = 1000.0)]
    pub(crate) setup_p99_ms: f64,
}

/// Milliseconds from answer to BYE.
const HOLD_MS: u64 = 1000;
/// Each rate is so many times the one before.
const RAISE: f64 = 1.15;
/// No more steps than this.
const STEPS_MAX: usize = 16;
/// The daemon gets its share of every so many nanoseconds.
const PERIOD_NS: u64 = 2_000_000;
/// How long media ports rest, in milliseconds: where few files may be open, they are not to be what ends.
const QUARANTINE_MS: u32 = 100;

/// What one rate came to.
struct Round {
    offered: f64,
    goodput: f64,
    refused: u64,
    refused_else: u64,
    outcome: CallOutcome,
}

impl Overload {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let (Some(&core), false) = (bench.cpus_sbc.first(), bench.cpus_load.is_empty()) else {
            let what = "daemon and load need a core each: run it with one shard where there are two cores";
            return Err(Error::Setup(what.into()));
        };
        let mut report = Report::new("overload");
        let mut setup = bench.setup();
        setup.overload_control = true;
        setup.quarantine_ms.get_or_insert(QUARANTINE_MS);
        let daemon = bench.daemon(&setup)?;
        // What else runs on that core is not to have a part of its part.
        measure::prefer(daemon.pid)?;
        let (stop, (throttled, begun)) = (AtomicBool::new(false), mpsc::channel());
        let rounds = std::thread::scope(|scope| {
            scope.spawn(|| {
                let result = take_the_rest(usize::from(core), self.core_percent, &stop, &throttled);
                // Nobody waits for it once it has begun.
                let _ = throttled.send(result);
            });
            let rounds = match begun.recv() {
                Ok(Ok(())) => self.rounds(bench, &daemon, &mut report),
                Ok(Err(source)) => Err(Error::Io {
                    what: "taking a part of the daemon's core by real-time priority (CAP_SYS_NICE)".into(),
                    source,
                }),
                Err(_) => Err(Error::Setup(
                    "the thread that takes a part of the core is gone".into(),
                )),
            };
            stop.store(true, Relaxed);
            rounds
        });
        let (peak, over) = rounds?;
        self.judge(&mut report, peak, &over);
        calls::report_leftovers(bench, &mut report, &daemon, Duration::from_secs(100))?;
        Ok(report)
    }

    /// The peak, and what came of more.
    fn rounds(&self, bench: &Bench, daemon: &Daemon, report: &mut Report) -> Result<(f64, Round)> {
        let (mut peak, mut cps) = (0.0f64, f64::from(self.from));
        for _ in 0..STEPS_MAX {
            let round = one(bench, daemon, cps as u32, self.step_seconds)?;
            show(report, &format!("{cps:.0} CPS"), &round);
            peak = peak.max(round.goodput);
            // Beyond the peak there is no more to be had.
            if round.goodput < 0.8 * cps {
                break;
            }
            cps *= RAISE;
        }
        report.figure("peak", "goodput_cps", round(peak, 0));
        let over = one(bench, daemon, (peak * self.factor) as u32, self.seconds)?;
        show(report, "overload", &over);
        Ok((peak, over))
    }

    fn judge(&self, report: &mut Report, peak: f64, over: &Round) {
        let outcome = &over.outcome;
        report.delay("overload set-up delay", &outcome.setup);
        let percent = 100.0 * over.goodput / peak.max(1.0);
        report.figure("overload", "goodput_percent_of_peak", round(percent, 1));
        report.gate(
            "the overload took place",
            over.offered >= 0.9 * self.factor * peak && over.refused > 0,
            format!("{:.0} CPS offered, {} refused", over.offered, over.refused),
        );
        report.gate(
            "only overload refuses",
            over.refused_else == 0,
            format!("{} refused for other reasons", over.refused_else),
        );
        report.gate(
            "goodput holds",
            percent >= self.goodput_percent,
            format!(
                "{:.0} CPS, {percent:.1} % of the peak of {peak:.0}, at least {}",
                over.goodput, self.goodput_percent
            ),
        );
        report.gate(
            "whatever belongs to a call is answered",
            outcome.uac.failed == 0 && outcome.uas.failed == 0,
            match (outcome.uac.failed, outcome.uas.failed) {
                (0, 0) => "no call failed, on either side".to_owned(),
                (caller, callee) => format!(
                    "{caller} calls of the caller and {callee} of the callee failed: {}",
                    outcome.errors
                ),
            },
        );
        let p99 = outcome.setup.value_at_quantile(0.99) as f64 / 1e6;
        report.gate(
            "calls that are taken are set up in time",
            !outcome.setup.is_empty() && p99 <= self.setup_p99_ms,
            format!("99 % within {p99:.1} ms, {} allowed", self.setup_p99_ms),
        );
    }
}

/// Offer `cps` for so long.
fn one(bench: &Bench, daemon: &Daemon, cps: u32, seconds: u32) -> Result<Round> {
    let before = daemon.admin.stats()?;
    let load = CallLoad {
        cps,
        calls: cps * seconds,
        hold_ms: HOLD_MS,
        scenarios: ("uac_limits", "uas"),
        message_log: true,
        over: calls::Over::UDP,
    };
    let outcome = calls::run(bench, daemon, load, &format!("-{cps}"), |_| Ok(()))?;
    let after = daemon.admin.stats()?;
    let sent = sipp::invite_times_ns(&outcome.uac_log);
    let (Some(first), Some(last)) = (sent.first(), sent.last()) else {
        return Err(Error::Setup("the caller's SIPp logged no INVITE".into()));
    };
    // From the first INVITE to the one after the last.
    let seconds =
        last.saturating_sub(*first).max(1) as f64 / 1e9 * sent.len() as f64 / (sent.len() - 1).max(1) as f64;
    let refused = after.since(&before, "refused_overload");
    Ok(Round {
        offered: sent.len() as f64 / seconds,
        // To the caller's SIPp a refusal is a success, too; the callee's never sees those.
        goodput: outcome.uas.successful as f64 / seconds,
        refused,
        refused_else: after
            .since(&before, "calls_attempted")
            .saturating_sub(refused + after.since(&before, "calls_admitted")),
        outcome,
    })
}

fn show(report: &mut Report, group: &str, round_: &Round) {
    let outcome = &round_.outcome;
    report.figure(group, "offered_cps", round(round_.offered, 0));
    report.figure(group, "goodput_cps", round(round_.goodput, 0));
    report.figure(group, "refused", round_.refused);
    let cpu = outcome.cpu_ns() as f64;
    report.figure(
        group,
        "cpu_percent",
        round(100.0 * cpu / outcome.elapsed.as_nanos() as f64, 1),
    );
    report.figure(
        group,
        "cpu_per_good_call_us",
        round(cpu / 1000.0 / outcome.uas.successful.max(1) as f64, 1),
    );
    report.figure(group, "failed", outcome.uac.failed);
    report.figure(group, "retransmissions", outcome.retransmissions());
    report.figure(
        group,
        "setup_p99_us",
        micros(outcome.setup.value_at_quantile(0.99)),
    );
    report.figure(group, "own_socket_drops", outcome.drops.own_sockets);
}

/// Have `core` for all but `left_percent` of each period, until `stop`. `begun` is told once it holds.
fn take_the_rest(
    core: usize,
    left_percent: u8,
    stop: &AtomicBool,
    begun: &mpsc::Sender<io::Result<()>>,
) -> io::Result<()> {
    measure::pin(&[core])?;
    measure::precise_timers();
    if left_percent < 100 {
        measure::make_real_time()?;
    }
    let _ = begun.send(Ok(()));
    let left = PERIOD_NS * u64::from(left_percent) / 100;
    while !stop.load(Relaxed) {
        let end = measure::monotonic_ns() + PERIOD_NS - left;
        while measure::monotonic_ns() < end {
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_nanos(left));
    }
    Ok(())
}
