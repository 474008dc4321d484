//! More calls than a rate limit and a channel limit allow, both changed live half-way: is the
//! number admitted what the bucket defines?
//!
//! The bucket (GCRA) is replayed here with the times at which the caller sent its INVITEs, and
//! every second of the replay is compared with what arrived at the callee. The times are taken
//! outside the SBC, so a call within a message's flight of a second's edge may count on either
//! side; such deviations must not add up.

use crate::{
    Error, Result, bench::Bench, calls, calls::CallLoad, measure::realtime_ns, report::Report, sbcd::Daemon,
    sipp,
};
use sbc_core::admin::protocol::LimitChange;
use std::time::Duration;

const SECOND_NS: u64 = 1_000_000_000;

/// Options of `limits`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Limits {
    /// Calls a second allowed; doubled half-way.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) cps: u32,
    /// Calls that may come at once.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) burst: u32,
    /// Calls a second offered.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) offer_cps: u32,
    /// Seconds of the offer, half before and half after the change.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(4..))]
    pub(crate) seconds: u32,
    /// Simultaneous calls allowed; raised by half half-way.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) channels: u32,
    /// Simultaneous calls offered.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(2..))]
    pub(crate) offer_channels: u32,
}

/// The bucket as the daemon defines it, from outside.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    cps: u32,
    burst: u32,
    next_ns: u64,
}

impl Bucket {
    fn admits(&mut self, at_ns: u64) -> bool {
        let spacing = SECOND_NS.div_ceil(u64::from(self.cps));
        let tolerance = spacing * u64::from(self.burst.saturating_sub(1));
        if at_ns < self.next_ns.saturating_sub(tolerance) {
            return false;
        }
        self.next_ns = self.next_ns.max(at_ns) + spacing;
        true
    }
}

impl Limits {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut setup = bench.setup();
        setup.limits = (self.cps, self.burst, 0);
        let daemon = bench.daemon(&setup)?;
        let mut report = Report::new("limits");
        self.rate(bench, &daemon, &mut report)?;
        self.channels(bench, &daemon, &mut report)?;
        calls::report_leftovers(bench, &mut report, &daemon, Duration::from_secs(40))?;
        Ok(report)
    }

    fn rate(&self, bench: &Bench, daemon: &Daemon, report: &mut Report) -> Result<()> {
        set(daemon, Some(self.cps), Some(self.burst), Some(0))?;
        let before = daemon.admin.stats()?;
        let load = CallLoad {
            cps: self.offer_cps,
            calls: self.offer_cps * self.seconds,
            hold_ms: 100,
            scenarios: ("uac_limits", "uas"),
            message_log: true,
            over: calls::Over::UDP,
        };
        let half = Duration::from_secs(u64::from(self.seconds) / 2);
        let mut changed_ns = None;
        let outcome = calls::run(bench, daemon, load, "-rate", |at| {
            if changed_ns.is_none() && at >= half {
                set(daemon, Some(self.cps * 2), Some(self.burst), None)?;
                changed_ns = Some(realtime_ns());
            }
            Ok(())
        })?;
        let after = daemon.admin.stats()?;
        let changed_ns =
            changed_ns.ok_or_else(|| Error::Setup("the offer ended before the change".into()))?;

        let (offered, admitted) = (
            sipp::invite_times_ns(&outcome.uac_log),
            sipp::invite_times_ns(&outcome.uas_log),
        );
        let expected = self.replay(&offered, changed_ns);
        let start = offered.first().copied().unwrap_or(0);
        let (windows_expected, windows_admitted) =
            (per_second(&expected, start), per_second(&admitted, start));
        report.figure("rate limit", "offered", offered.len());
        report.figure("rate limit", "admitted", admitted.len());
        report.figure("rate limit", "admitted_expected", expected.len());
        report.figure("rate limit", "admitted_each_second", list(&windows_admitted));
        report.figure("rate limit", "expected_each_second", list(&windows_expected));

        let refused = refusals(&outcome.uac_log);
        report.figure("rate limit", "refused", refused);
        // What a call may be late by, from INVITE to answer, bounds how many fall on the other
        // side of an edge: none on an idle machine, where only the edge call itself may.
        let late = outcome.setup.value_at_quantile(0.999) as f64 / SECOND_NS as f64;
        let tolerance = 1 + (f64::from(self.cps * 2) * late) as u64;
        report.figure("rate limit", "tolerance_calls", tolerance);
        // Counted from the start to each edge, so that deviations cannot add up either.
        let mut edges = running(&windows_admitted, &windows_expected);
        let off = edges
            .clone()
            .map(|(admitted, expected)| admitted.abs_diff(expected))
            .max();
        // The change takes effect somewhere between its request and its answer: one call more.
        let exact = edges.all(|(admitted, expected)| admitted.abs_diff(expected) <= tolerance + 1);
        report.gate(
            "admitted in every second as the bucket defines",
            exact,
            format!(
                "{} admitted, {} expected; off by {} at most at any second's edge, {} allowed",
                admitted.len(),
                expected.len(),
                off.unwrap_or(0),
                tolerance + 1
            ),
        );
        let worst = self.worst_excess(&admitted, changed_ns);
        report.gate(
            "no second admits more than rate and burst",
            worst <= tolerance,
            format!("at most {worst} above, {tolerance} allowed"),
        );
        self.books(
            report,
            "rate",
            "refused_cps",
            &[offered.len() as u64, admitted.len() as u64, refused],
            &before,
            &after,
        );
        report.gate(
            "every offered call is answered or refused",
            outcome.uac.successful == u64::from(load.calls)
                && outcome.uac.failed == 0
                && admitted.len() as u64 + refused == u64::from(load.calls),
            format!(
                "{} answered, {refused} refused, {} failed {}",
                admitted.len(),
                outcome.uac.failed,
                outcome.errors
            ),
        );
        Ok(())
    }

    /// Which of the offered calls the bucket admits, the rate being doubled at `changed_ns`.
    fn replay(&self, offered: &[u64], changed_ns: u64) -> Vec<u64> {
        let mut bucket = Bucket {
            cps: self.cps,
            burst: self.burst,
            next_ns: 0,
        };
        let mut changed = false;
        let admits = |at: &&u64| {
            if !changed && **at >= changed_ns {
                changed = true;
                // A change starts the bucket anew.
                bucket = Bucket {
                    cps: self.cps * 2,
                    burst: self.burst,
                    next_ns: 0,
                };
            }
            bucket.admits(**at)
        };
        offered.iter().filter(admits).copied().collect()
    }

    /// By how many calls the worst window of one second, wherever it starts, is above rate and
    /// burst. Windows with the change in them belong to two buckets and are left out.
    fn worst_excess(&self, admitted: &[u64], changed_ns: u64) -> u64 {
        let mut worst = 0;
        for (first, start) in admitted.iter().enumerate() {
            let end = start + SECOND_NS;
            if (start.saturating_sub(SECOND_NS / 10)..end + SECOND_NS / 10).contains(&changed_ns) {
                continue;
            }
            let cps = if *start < changed_ns {
                self.cps
            } else {
                self.cps * 2
            };
            let count = admitted[first..].iter().take_while(|at| **at < end).count() as u64;
            worst = worst.max(count.saturating_sub(u64::from(cps + self.burst)));
        }
        worst
    }

    fn channels(&self, bench: &Bench, daemon: &Daemon, report: &mut Report) -> Result<()> {
        set(daemon, Some(0), None, Some(self.channels))?;
        let before = daemon.admin.stats()?;
        let cps = 200.min(self.offer_channels);
        let offering = Duration::from_secs_f64(f64::from(self.offer_channels) / f64::from(cps));
        let load = CallLoad {
            cps,
            calls: self.offer_channels,
            // Nobody hangs up before the last call has been offered.
            hold_ms: offering.as_millis() as u64 + 3000,
            scenarios: ("uac_limits", "uas"),
            message_log: true,
            over: calls::Over::UDP,
        };
        let raised = self.channels + self.channels / 2;
        let (mut at_change, mut peak) = (None, 0);
        let outcome = calls::run(bench, daemon, load, "-channels", |at| {
            let stats = daemon.admin.stats()?;
            peak = peak.max(stats.gauge("calls"));
            if at_change.is_none() && at >= offering / 2 {
                at_change = Some(stats.since(&before, "calls_admitted"));
                set(daemon, None, None, Some(raised))?;
            }
            Ok(())
        })?;
        let after = daemon.admin.stats()?;
        let admitted = sipp::invite_times_ns(&outcome.uas_log).len() as u64;
        let refused = refusals(&outcome.uac_log);
        report.figure("channel limit", "offered", load.calls);
        report.figure("channel limit", "admitted_before_change", at_change.unwrap_or(0));
        report.figure("channel limit", "admitted", admitted);
        report.figure("channel limit", "refused", refused);
        report.figure("channel limit", "calls_at_most", peak);
        report.gate(
            "channels admitted exactly",
            at_change == Some(u64::from(self.channels)) && admitted == u64::from(raised),
            format!(
                "{} of {} before the change, {admitted} of {raised} after",
                at_change.unwrap_or(0),
                self.channels
            ),
        );
        self.books(
            report,
            "channels",
            "refused_channels",
            &[u64::from(load.calls), admitted, refused],
            &before,
            &after,
        );
        set(daemon, None, None, Some(0))
    }

    /// The daemon's own counters must say the same.
    fn books(
        &self,
        report: &mut Report,
        what: &str,
        reason: &str,
        seen: &[u64; 3],
        before: &crate::admin::Stats,
        after: &crate::admin::Stats,
    ) {
        let counted = [
            after.since(before, "calls_attempted"),
            after.since(before, "calls_admitted"),
            after.since(before, reason),
        ];
        report.gate(
            &format!("the daemon's counters agree ({what})"),
            &counted == seen,
            format!("attempted, admitted, refused: daemon {counted:?}, SIPp {seen:?}"),
        );
    }
}

fn set(daemon: &Daemon, cps: Option<u32>, burst: Option<u32>, channels: Option<u32>) -> Result<()> {
    daemon.admin.set_limits(LimitChange {
        cps,
        burst,
        channels,
        ..LimitChange::default()
    })
}

/// INVITEs that were answered with 503.
fn refusals(uac_log: &str) -> u64 {
    let mut seen = std::collections::HashSet::new();
    sipp::messages(uac_log)
        .filter(|message| {
            !message.sent && message.start.starts_with("SIP/2.0 503") && seen.insert(message.call_id)
        })
        .count() as u64
}

fn per_second(times: &[u64], start: u64) -> Vec<u64> {
    let mut counts = Vec::new();
    for at in times {
        let second = (at.saturating_sub(start) / SECOND_NS) as usize;
        if counts.len() <= second {
            counts.resize(second + 1, 0);
        }
        counts[second] += 1;
    }
    counts
}

/// Both counts summed up to the end of each second.
fn running<'a>(admitted: &'a [u64], expected: &'a [u64]) -> impl Iterator<Item = (u64, u64)> + Clone + 'a {
    let seconds = admitted.len().max(expected.len());
    let upto = |counts: &[u64], second: usize| counts.iter().take(second + 1).sum();
    (0..seconds).map(move |second| (upto(admitted, second), upto(expected, second)))
}

fn list(counts: &[u64]) -> String {
    counts.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replayed_bucket_gives_burst_then_rate() {
        let limits = Limits {
            cps: 100,
            burst: 10,
            offer_cps: 400,
            seconds: 4,
            channels: 2,
            offer_channels: 2,
        };
        let offered: Vec<u64> = (0..1600).map(|call| SECOND_NS + call * SECOND_NS / 400).collect();
        let admitted = limits.replay(&offered, SECOND_NS * 3);
        // 9 of the burst beyond the rate in each half; the last call of a half falls on its edge.
        assert_eq!(per_second(&admitted, SECOND_NS), [109, 100, 209, 200]);
        assert_eq!(limits.worst_excess(&admitted, SECOND_NS * 3), 0);
    }

    #[test]
    fn a_second_with_too_many_is_seen() {
        let limits = Limits {
            cps: 10,
            burst: 1,
            offer_cps: 400,
            seconds: 4,
            channels: 2,
            offer_channels: 2,
        };
        let admitted: Vec<u64> = (0..15).map(|call| SECOND_NS + call * SECOND_NS / 15).collect();
        assert_eq!(limits.worst_excess(&admitted, u64::MAX / 2), 4);
    }
}
