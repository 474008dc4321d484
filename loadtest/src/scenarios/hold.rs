//! Many calls held at once without RTP: memory per call.

use crate::{
    Error, Result,
    bench::Bench,
    calls,
    calls::CallLoad,
    measure::Memory,
    report::{Report, round},
};
use std::time::Duration;

/// Options of `hold`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Hold {
    /// Calls to hold.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) calls: u32,
    /// Calls a second to get there.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cps: u32,
    /// Seconds that all are held. Longer than 32 s, finished transactions are gone and what
    /// remains is what a held call takes.
    #[arg(long, default_value_t = 40)]
    pub(crate) seconds: u64,
    /// Set the calls up with SDP, so that each takes four media ports of the daemon.
    #[arg(long)]
    pub(crate) with_sdp: bool,
    /// Fail above so much memory per call.
    #[arg(long, default_value_t = 20.0)]
    pub(crate) kb_per_call: f64,
}

impl Hold {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut report = Report::new("hold");
        let daemon = bench.daemon(&bench.setup())?;
        let set_up = Duration::from_secs_f64(f64::from(self.calls) / f64::from(self.cps));
        let hold = set_up + Duration::from_secs(self.seconds);
        let load = CallLoad {
            cps: self.cps,
            calls: self.calls,
            hold_ms: hold.as_millis() as u64,
            scenarios: if self.with_sdp {
                ("uac", "uas")
            } else {
                ("uac_no_sdp", "uas_no_sdp")
            },
            message_log: false,
            over: calls::Over::UDP,
        };
        let before = daemon.memory()?;
        // The last moment at which every call is still up, with a second of margin.
        let look_at = hold - Duration::from_secs(1).min(hold / 10);
        let (mut held, mut calls_held): (Option<Memory>, u64) = (None, 0);
        let outcome = calls::run(bench, &daemon, load, "", |at| {
            if held.is_none() && at >= look_at {
                held = Some(daemon.memory()?);
                calls_held = daemon.admin.stats()?.gauge("calls");
            }
            Ok(())
        })?;
        let held =
            held.ok_or_else(|| Error::Setup("the calls ended before they could be measured".into()))?;
        calls::report(&mut report, &load, &outcome);
        let each =
            |after: u64, before: u64| round(after.saturating_sub(before) as f64 / f64::from(self.calls), 2);
        report.memory("daemon memory before", &before);
        report.memory("daemon memory holding", &held);
        report.figure("per held call", "rss_kb", each(held.rss_kb, before.rss_kb));
        report.figure("per held call", "rss_anon_kb", each(held.anon_kb, before.anon_kb));
        report.gate(
            "all calls are held",
            calls_held == u64::from(self.calls),
            calls_held.to_string(),
        );
        let rss = each(held.rss_kb, before.rss_kb);
        report.gate(
            "memory per held call",
            rss <= self.kb_per_call,
            format!("{rss} kB, at most {}", self.kb_per_call),
        );
        calls::report_leftovers(bench, &mut report, &daemon, Duration::from_secs(40))?;
        Ok(report)
    }
}
