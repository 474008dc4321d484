//! More and more calls a second until one fails or too many messages are repeated.

use crate::{
    Result,
    bench::Bench,
    calls,
    calls::CallLoad,
    report::{Report, micros, round},
};
use std::time::Duration;

/// Options of `max`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Max {
    /// First rate.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) from: u32,
    /// Last rate.
    #[arg(long, default_value_t = 6000)]
    pub(crate) to: u32,
    /// Step between rates.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) step: u32,
    /// Seconds at each rate.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
    /// Milliseconds from answer to BYE.
    #[arg(long, default_value_t = 1000)]
    pub(crate) hold_ms: u64,
    /// Retransmissions that end the climb, in percent of the calls.
    #[arg(long, default_value_t = 0.1)]
    pub(crate) retransmissions_percent: f64,
    /// Least rate that must be reached, as a gate.
    #[arg(long, default_value_t = 0)]
    pub(crate) at_least: u32,
}

impl Max {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut report = Report::new("max");
        let daemon = bench.daemon(&bench.setup())?;
        let (mut best, mut ended_by) = (0, "the last rate was reached".to_owned());
        for cps in (self.from..=self.to).step_by(self.step as usize) {
            let load = CallLoad {
                cps,
                calls: cps * self.seconds,
                hold_ms: self.hold_ms,
                scenarios: ("uac", "uas"),
                message_log: false,
                over: calls::Over::UDP,
            };
            let outcome = calls::run(bench, &daemon, load, &format!("-{cps}"), |_| Ok(()))?;
            let calls = u64::from(load.calls);
            let repeated = round(100.0 * outcome.retransmissions() as f64 / calls as f64, 3);
            // The rate SIPp really offered: it falls behind when its own core is full.
            let offering = outcome.elapsed.as_secs_f64() - self.hold_ms as f64 / 1000.0;
            let offered = calls as f64 / offering.max(0.001);
            let group = format!("{cps} CPS");
            report.figure(&group, "offered_cps", round(offered, 0));
            report.figure(&group, "failed", outcome.uac.failed);
            report.figure(&group, "retransmissions_percent", repeated);
            report.figure(&group, "cpu_per_call_us", micros(outcome.cpu_ns() / calls));
            report.figure(
                &group,
                "cpu_percent",
                round(
                    100.0 * outcome.cpu_ns() as f64 / outcome.elapsed.as_nanos() as f64,
                    1,
                ),
            );
            report.figure(
                &group,
                "setup_p99_ms",
                round(outcome.setup.value_at_quantile(0.99) as f64 / 1e6, 1),
            );
            report.figure(&group, "rss_kb", outcome.memory.0.rss_kb);
            report.figure(&group, "own_socket_drops", outcome.drops.own_sockets);
            if outcome.uac.failed > 0 || outcome.uac.successful < calls {
                ended_by = format!("{} calls failed at {cps} CPS", calls - outcome.uac.successful);
                break;
            }
            if repeated > self.retransmissions_percent {
                ended_by = format!("{repeated} % retransmissions at {cps} CPS");
                break;
            }
            if offered < 0.93 * f64::from(cps) {
                ended_by = format!("SIPp itself offers no more than {offered:.0} CPS");
                break;
            }
            best = cps;
        }
        report.figure("most", "cps", best);
        report.figure("most", "ended_by", ended_by.clone());
        report.gate(
            "the rate asked for is reached",
            best >= self.at_least,
            format!("{best} CPS, at least {}; {ended_by}", self.at_least),
        );
        calls::report_leftovers(bench, &mut report, &daemon, Duration::from_secs(80))?;
        Ok(report)
    }
}
