//! Three times the calls that the daemon can serve: do as many succeed as at its best, is everything that belongs to a
//! call answered, and are the calls that it takes set up in time?
//!
//! SIPp on one core cannot offer three times what the daemon carries on another, so a generator of our own does. First the
//! rate is raised until calls are refused, which gives the peak; then three times the peak is offered.

use crate::{
    Error, Result,
    bench::Bench,
    calls,
    generator::{self, Offer, Outcome},
    measure::{self, Drops},
    report::{Report, micros, round},
    sbcd::Daemon,
};
use std::time::Duration;

/// Options of `overload`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Overload {
    /// First rate on the way to the peak.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(10..))]
    pub(crate) from: u32,
    /// Good calls a second at the best, if that is known, instead of looking for it.
    #[arg(long)]
    pub(crate) peak: Option<u32>,
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
    /// Longest set-up of 99 of 100 calls that are taken, in milliseconds. It is longest before the daemon has noticed.
    #[arg(long, default_value_t = 1000.0)]
    pub(crate) setup_p99_ms: f64,
    /// Switch overload control off, to see what it is good for. The gates will not hold.
    #[arg(long)]
    pub(crate) uncontrolled: bool,
}

/// From answer to BYE. Each call has four sockets for its media, and where few files may be open they are not to be what ends.
const HOLD: Duration = Duration::from_millis(200);
/// Each rate is so many times the one before.
const RAISE: f64 = 1.15;
/// No more steps than this.
const STEPS_MAX: usize = 16;
/// How long media ports rest, in milliseconds, for the same reason.
const QUARANTINE_MS: u32 = 100;

/// What one rate came to.
struct Round {
    outcome: Outcome,
    refused_else: u64,
    cpu_ns: u64,
    drops: Drops,
}

impl Overload {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        if bench.cpus_sbc.is_empty() || bench.cpus_load.is_empty() {
            let what = "daemon and load need a core each: run it with one shard where there are two cores";
            return Err(Error::Setup(what.into()));
        }
        let mut report = Report::new("overload");
        let mut setup = bench.setup();
        setup.overload_control = !self.uncontrolled;
        setup.quarantine_ms.get_or_insert(QUARANTINE_MS);
        let daemon = bench.daemon(&setup)?;
        measure::pin(&bench.cpus_load).map_err(|source| Error::Io {
            what: format!("taking core {:?} for the load", bench.cpus_load),
            source,
        })?;
        let (peak, over) = self.rounds(bench, &daemon, &mut report)?;
        self.judge(&mut report, peak, &over);
        calls::report_leftovers(bench, &mut report, &daemon, Duration::from_secs(100))?;
        Ok(report)
    }

    /// The peak, and what came of more.
    fn rounds(&self, bench: &Bench, daemon: &Daemon, report: &mut Report) -> Result<(f64, Round)> {
        let peak = match self.peak {
            Some(peak) => f64::from(peak),
            None => self.find_peak(bench, daemon, report)?,
        };
        report.figure("peak", "goodput_cps", round(peak, 0));
        let over = one(bench, daemon, (peak * self.factor) as u32, self.seconds)?;
        show(report, "overload", &over);
        Ok((peak, over))
    }

    fn find_peak(&self, bench: &Bench, daemon: &Daemon, report: &mut Report) -> Result<f64> {
        let (mut peak, mut cps) = (0.0f64, f64::from(self.from));
        for _ in 0..STEPS_MAX {
            let round = one(bench, daemon, cps as u32, self.step_seconds)?;
            show(report, &format!("{cps:.0} CPS"), &round);
            let good = round.outcome.good_cps();
            peak = peak.max(good);
            // Beyond the peak there is no more to be had.
            if good < 0.8 * cps {
                break;
            }
            cps *= RAISE;
        }
        Ok(peak)
    }

    fn judge(&self, report: &mut Report, peak: f64, over: &Round) {
        let outcome = &over.outcome;
        report.delay("overload set-up delay", &outcome.setup);
        let (offered, good) = (outcome.offered_cps(), outcome.good_cps());
        let percent = 100.0 * good / peak.max(1.0);
        report.figure("overload", "goodput_percent_of_peak", round(percent, 1));
        report.gate(
            "the overload took place",
            offered >= 0.9 * self.factor * peak && outcome.refused > 0,
            format!("{offered:.0} CPS offered, {} refused", outcome.refused),
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
                "{good:.0} CPS, {percent:.1} % of the peak of {peak:.0}, at least {}",
                self.goodput_percent
            ),
        );
        report.gate(
            "whatever belongs to a call is answered",
            outcome.failed.is_empty(),
            match outcome.failed.is_empty() {
                true => "no call failed, on either side".to_owned(),
                false => format!("calls that failed: {:?}", outcome.failed),
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
    let (cpu, drops) = (daemon.cpu()?, Drops::read(bench.options.net));
    let offer = Offer {
        cps,
        time: Duration::from_secs(seconds.into()),
        hold: HOLD,
    };
    let progress = bench.progress(&format!("{cps} CPS"), u64::from(cps * seconds));
    let addresses = [bench.carrier(), daemon.sip, bench.platform()];
    let outcome = generator::run(&cps.to_string(), offer, addresses, |offered| {
        if offered % 1000 == 0 {
            progress.set_position(offered);
        }
    })?;
    progress.finish_and_clear();
    let after = daemon.admin.stats()?;
    Ok(Round {
        outcome,
        refused_else: after.since(&before, "calls_attempted").saturating_sub(
            after.since(&before, "refused_overload") + after.since(&before, "calls_admitted"),
        ),
        cpu_ns: daemon.cpu()?.since_ns(&cpu),
        drops: Drops::read(bench.options.net).since(&drops),
    })
}

fn show(report: &mut Report, group: &str, over: &Round) {
    let outcome = &over.outcome;
    report.figure(group, "offered_cps", round(outcome.offered_cps(), 0));
    report.figure(group, "goodput_cps", round(outcome.good_cps(), 0));
    report.figure(group, "refused", outcome.refused);
    let cpu = over.cpu_ns as f64;
    report.figure(
        group,
        "cpu_percent",
        round(100.0 * cpu / outcome.elapsed.as_nanos() as f64, 1),
    );
    report.figure(
        group,
        "cpu_per_good_call_us",
        round(cpu / 1000.0 / outcome.good.max(1) as f64, 1),
    );
    report.figure(group, "failed", outcome.failed.values().sum::<u64>());
    report.figure(group, "repeated", outcome.repeated);
    report.figure(
        group,
        "setup_p99_us",
        micros(outcome.setup.value_at_quantile(0.99)),
    );
    report.figure(group, "own_socket_drops", over.drops.own_sockets);
}
