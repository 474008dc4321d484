//! Calls for minutes: does memory stay flat?

use crate::{
    Result,
    bench::Bench,
    calls,
    calls::CallLoad,
    report::{Report, round},
};
use std::time::Duration;

/// Options of `soak`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Soak {
    /// How long.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) minutes: u32,
    /// Calls a second.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cps: u32,
    /// Milliseconds from answer to BYE.
    #[arg(long, default_value_t = 1000)]
    pub(crate) hold_ms: u64,
    /// Fail when memory grows faster than this after the first minute, in kB a minute.
    #[arg(long, default_value_t = 512.0)]
    pub(crate) slope_kb_per_minute: f64,
}

impl Soak {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut report = Report::new("soak");
        let daemon = bench.daemon(&bench.setup())?;
        let load = CallLoad {
            cps: self.cps,
            calls: self.cps * 60 * self.minutes,
            hold_ms: self.hold_ms,
            scenarios: ("uac", "uas"),
            message_log: false,
            over: calls::Over::UDP,
        };
        let mut samples: Vec<(f64, f64)> = Vec::new();
        let end = f64::from(self.minutes) * 60.0;
        let outcome = calls::run(bench, &daemon, load, "", |at| {
            let at = at.as_secs_f64();
            if at >= samples.len() as f64 * 10.0 && at <= end {
                samples.push((at, daemon.memory()?.rss_kb as f64));
            }
            Ok(())
        })?;
        calls::report(&mut report, &load, &outcome);
        for (at, rss) in &samples {
            report.figure("rss_kb", &format!("at_{at:.0}_s"), *rss as u64);
        }
        // Tombstones of finished transactions fill up for 32 s after the start; from a minute on
        // the daemon holds what it will hold.
        let steady: Vec<(f64, f64)> = samples
            .iter()
            .copied()
            .filter(|(at, _)| *at >= 60.0f64.min(end / 2.0))
            .collect();
        let slope = slope(&steady) * 60.0;
        report.figure("rss_kb", "slope_kb_per_minute", round(slope, 1));
        report.gate(
            "memory is flat",
            slope <= self.slope_kb_per_minute,
            format!("{slope:.1} kB a minute over {} samples", steady.len()),
        );
        calls::report_leftovers(bench, &mut report, &daemon, Duration::from_secs(40))?;
        Ok(report)
    }
}

/// Least-squares slope of y over x; 0 for fewer than two points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let (mean_x, mean_y) = (
        points.iter().map(|p| p.0).sum::<f64>() / count,
        points.iter().map(|p| p.1).sum::<f64>() / count,
    );
    let over: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let under: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    if under > 0.0 { over / under } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::slope;

    #[test]
    fn the_slope_of_a_line_is_its_slope() {
        assert!((slope(&[(0.0, 5.0), (10.0, 25.0), (20.0, 45.0)]) - 2.0).abs() < 1e-9);
        assert_eq!(slope(&[(1.0, 7.0)]), 0.0);
        assert_eq!(slope(&[]), 0.0);
    }
}
