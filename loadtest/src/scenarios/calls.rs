//! Calls at a steady rate: do all succeed, what does one cost, is anything left?

use crate::{Result, bench::Bench, calls, calls::CallLoad, report::Report, sbcd::Daemon};
use std::time::Duration;

/// Options of `calls`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Calls {
    /// Calls a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cps: u32,
    /// Calls in all.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) calls: u32,
    /// Milliseconds from answer to BYE.
    #[arg(long, default_value_t = 1000)]
    pub(crate) hold_ms: u64,
    /// Fail when a shard's calls are farther than this from an even share, in percent.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) balance_percent: f64,
    /// Take set-up times from SIPp's own statistics, to the millisecond, instead of its message
    /// log: less load on SIPp.
    #[arg(long)]
    pub(crate) coarse: bool,
}

impl Calls {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let daemon = bench.daemon(&bench.setup())?;
        self.run_with(bench, &daemon)
    }

    /// Run it through `daemon`.
    pub(crate) fn run_with(&self, bench: &Bench, daemon: &Daemon) -> Result<Report> {
        let mut report = Report::new("calls");
        let load = CallLoad {
            cps: self.cps,
            calls: self.calls,
            hold_ms: self.hold_ms,
            scenarios: ("uac", "uas"),
            message_log: !self.coarse,
            over: calls::Over::UDP,
        };
        let outcome = calls::run(bench, daemon, load, "", |_| Ok(()))?;
        calls::report(&mut report, &load, &outcome);
        report.gate(
            "no socket drops",
            outcome.drops.own_sockets == 0,
            outcome.drops.own_sockets.to_string(),
        );
        let (shards, worst) = calls::shard_balance(daemon)?;
        report.figure(
            "shards",
            "calls",
            shards.iter().map(u64::to_string).collect::<Vec<_>>().join(" / "),
        );
        if shards.len() > 1 {
            report.figure("shards", "off_even_percent", worst);
            // Owners are drawn by hash: with few calls chance alone goes farther.
            let chance = 400.0 * ((shards.len() - 1) as f64 / f64::from(self.calls)).sqrt();
            let allowed = self.balance_percent.max(chance);
            report.gate(
                "shards are balanced",
                worst <= allowed,
                format!("{worst} % off even, {allowed:.1} % allowed"),
            );
        }
        calls::report_leftovers(bench, &mut report, daemon, Duration::from_secs(40))?;
        Ok(report)
    }
}
