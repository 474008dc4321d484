//! Calls while a table of very many prefixes is read anew, again and again: does any call fail, how long does a reload
//! take, and how much memory does the table need?
//!
//! Each table is another one: a prefix that only it has says in `route test` which of them is in force.

use crate::{
    Error, Result,
    bench::Bench,
    calls::{self, CallLoad},
    report::Report,
    sbcd::Daemon,
};
use sbc_core::admin::{protocol::TestRoute, provision::ReloadConfig};
use std::{
    fmt::Write as _,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Options of `prefixes`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Prefixes {
    /// Prefixes in the table.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=9_000_000))]
    prefixes: u32,
    /// How often it is read anew.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..1000))]
    reloads: u32,
    /// Seconds within which that is done, evenly; calls go on until the last.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Calls a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    cps: u32,
}

/// What the reloads have come to.
#[derive(Debug, Default)]
struct Outcome {
    took: Vec<Duration>,
    wrong: Vec<String>,
}

impl Prefixes {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut report = Report::new("prefixes");
        let empty = bench.daemon(&bench.setup())?.memory()?;
        let file = bench.dir().join("prefixes.txt");
        self.write(&file, 0)?;
        let mut setup = bench.setup();
        setup.more = format!(
            "[[route]]\nname = \"table\"\nfrom = \"carrier\"\nprefixes_file = \"{}\"\nto = \"platform\"\n",
            file.display()
        );
        let started = Instant::now();
        let daemon = bench.daemon(&setup)?;
        report.figure("table", "start_s", started.elapsed().as_secs_f64());
        let memory = daemon.memory()?;
        let bytes = (memory.anon_kb.saturating_sub(empty.anon_kb) * 1024) as f64;
        report.figure("table", "prefixes", self.prefixes);
        report.figure("table", "bytes_per_prefix", bytes / f64::from(self.prefixes));
        report.memory("before", &memory);
        let load = CallLoad {
            cps: self.cps,
            calls: self.cps * (self.seconds + 3),
            hold_ms: 1000,
            scenarios: ("uac", "uas"),
            message_log: false,
            over: calls::Over::UDP,
        };
        let ended = AtomicBool::new(false);
        let (calls, reloads) = std::thread::scope(|scope| {
            let reloads = scope.spawn(|| self.reload(&daemon, &file, &ended));
            let calls = calls::run(bench, &daemon, load, "", |_| Ok(()));
            ended.store(true, Relaxed);
            (calls, reloads.join())
        });
        let outcome = calls?;
        let reloads = reloads.map_err(|_| Error::Setup("the thread that reloads panicked".into()))??;
        calls::report(&mut report, &load, &outcome);
        let slowest = reloads.took.iter().max().copied().unwrap_or_default();
        let sum: Duration = reloads.took.iter().sum();
        report.figure("reload", "reloads", reloads.took.len());
        report.figure(
            "reload",
            "mean_ms",
            sum.as_secs_f64() * 1000.0 / reloads.took.len().max(1) as f64,
        );
        report.figure("reload", "slowest_ms", slowest.as_secs_f64() * 1000.0);
        report.memory("after", &daemon.memory()?);
        report.gate(
            "the table was read anew while calls ran",
            reloads.took.len() == self.reloads as usize,
            format!("{} of {} times", reloads.took.len(), self.reloads),
        );
        report.gate(
            "each time the new table was in force, and the old one was not",
            reloads.wrong.is_empty(),
            reloads.wrong.join("; "),
        );
        calls::report_leftovers(bench, &mut report, &daemon, Duration::from_secs(40))?;
        Ok(report)
    }

    fn reload(&self, daemon: &Daemon, file: &Path, ended: &AtomicBool) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let begin = Instant::now();
        for n in 1..=self.reloads {
            let due = Duration::from_secs(self.seconds.into()) * n / (self.reloads + 1);
            self.write(file, n)?;
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            if ended.load(Relaxed) {
                break;
            }
            let asked = Instant::now();
            daemon.admin.ask(&ReloadConfig {})?;
            outcome.took.push(asked.elapsed());
            for (table, in_force) in [(n, true), (n - 1, false)] {
                let number = format!("{}55", own(table));
                let test = TestRoute {
                    number: number.clone(),
                    from: Some("carrier".to_owned()),
                };
                let rules = daemon.admin.ask(&test)?.rules;
                let known = rules.iter().any(|rule| rule.prefix == own(table));
                if known != in_force {
                    outcome
                        .wrong
                        .push(format!("after reload {n}: {number} takes {rules:?}"));
                }
            }
        }
        Ok(outcome)
    }

    /// Table `n`: prefixes of seven digits, evenly over all countries, and its own one.
    fn write(&self, file: &Path, n: u32) -> Result<()> {
        let mut text = format!("{}\n", own(n));
        let step = 9_000_000 / self.prefixes;
        for prefix in (0..self.prefixes - 1).map(|at| 1_000_000 + at * step + n % step.max(1)) {
            let _ = writeln!(text, "{prefix}");
        }
        // In one step: the daemon never sees half a table.
        let new = file.with_extension("new");
        let io = |source| Error::Io {
            what: format!("writing {}", file.display()),
            source,
        };
        std::fs::write(&new, text).map_err(io)?;
        std::fs::rename(&new, file).map_err(io)
    }
}

/// The prefix that table `n` alone has.
fn own(n: u32) -> String {
    format!("8880{n:06}")
}
