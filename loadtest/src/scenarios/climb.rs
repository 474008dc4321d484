//! The most calls that a relay carries: upwards in eighths of all that are set up, and from where that is too
//! much in quarters of an eighth. Never far beyond, because some do not recover from it.
//!
//! An overloaded relay loses little at first, because every call has a socket buffer of its own: it falls
//! behind. So a number of calls is carried when every packet arrives once, intact and in order, and 99 of 100
//! take no longer than two packets' time.

use super::media::Contender;
use crate::{
    Result,
    bench::Bench,
    measure::CpuTimes,
    report::{Report, micros, round},
    rtp::{Edge, PACKETS_PER_SECOND, Plan, RtpLoad},
};
use std::time::{Duration, Instant};

/// The answer is exact to one part of so many of all calls.
const PARTS: usize = 32;
/// What is added first, and then.
const STEPS: [usize; 2] = [4, 1];
/// Tries of each number of calls: the machine's other guests may spoil one.
const TRIES: u32 = 2;
const MEASURED: Duration = Duration::from_secs(3);
const SETTLE_MAX: Duration = Duration::from_secs(4);
/// What one contender takes at most.
pub(super) const DURATION_MAX: Duration = Duration::from_secs(90);
/// Two packets' time.
const DELAY_P99_MAX: Duration = Duration::from_millis(2 * 1000 / PACKETS_PER_SECOND);

/// Climb with each contender; one after the other, the others idle.
pub(super) fn run(
    bench: &Bench,
    load: &mut RtpLoad,
    contenders: &mut [Contender<'_>],
    plan: Plan,
    report: &mut Report,
) -> Result<()> {
    let plan = Plan {
        measured: MEASURED,
        ..plan
    };
    let progress = bench.progress("climbing", contenders.len() as u64);
    for contender in contenders {
        let all = contender.streams.len() / 2;
        let until = Instant::now() + DURATION_MAX;
        let group = format!("{}: most calls", contender.name);
        let (mut carried, mut percent, mut tried) = (0, 0.0, Vec::new());
        for step in STEPS {
            while carried < PARTS && Instant::now() < until {
                let calls = (all * (carried + step).min(PARTS) / PARTS).max(1);
                let verdict = attempt(load, contender, plan, calls)?;
                tried.push(format!("{calls} {}", verdict.text));
                if !verdict.carried {
                    break;
                }
                carried = (carried + step).min(PARTS);
                percent = verdict.cpu_percent;
            }
        }
        progress.inc(1);
        report.figure(&group, "carried", all * carried / PARTS);
        report.figure(&group, "of", all);
        if contender.pid.is_some() {
            report.figure(&group, "cpu_percent", round(percent, 1));
        }
        report.figure(&group, "tried", tried.join(", "));
        contender.streams.run_only(all);
    }
    progress.finish_and_clear();
    Ok(())
}

struct Verdict {
    carried: bool,
    cpu_percent: f64,
    text: String,
}

fn attempt(load: &mut RtpLoad, contender: &mut Contender<'_>, plan: Plan, calls: usize) -> Result<Verdict> {
    contender.streams.run_only(calls);
    let mut verdict = Verdict {
        carried: false,
        cpu_percent: 0.0,
        text: String::new(),
    };
    for _ in 0..TRIES {
        let pid = contender.pid;
        let cpu = || pid.map_or_else(|| Ok(CpuTimes::default()), CpuTimes::of);
        let (mut before, mut after) = (None, None);
        let window = load.run(&mut contender.streams, plan, |edge| match edge {
            Edge::Start => before = Some((cpu(), Instant::now())),
            Edge::End => after = Some((cpu(), Instant::now())),
            Edge::Progress(_) => {}
        })?;
        load.settle(&mut contender.streams, SETTLE_MAX)?;
        if let (Some((before, from)), Some((after, to))) = (before, after) {
            verdict.cpu_percent = 100.0 * after?.since_ns(&before?) as f64 / (to - from).as_nanos() as f64;
        }
        let p99_ns = window.delay.value_at_quantile(0.99);
        let in_time = u128::from(p99_ns) <= DELAY_P99_MAX.as_nanos();
        verdict.carried = window.counts.perfect() && in_time;
        verdict.text = if verdict.carried {
            "ok".to_owned()
        } else {
            format!(
                "(lost {}, p99 {} ms)",
                window.counts.lost,
                round(micros(p99_ns) / 1000.0, 1)
            )
        };
        if verdict.carried {
            break;
        }
    }
    Ok(verdict)
}
