//! Changes of the configuration through the admin socket while calls run: does any call fail, and is the file always what
//! runs?
//!
//! Changes are drawn from a seed, valid ones and every kind of invalid one. After each the file must parse and be the text
//! that the daemon says it runs; now and then the daemon's trunks and limits are compared with what the file says.

use crate::{
    Error, Result,
    admin::Admin,
    bench::Bench,
    calls::{self, CallLoad},
    report::Report,
};
use hdrhistogram::Histogram;
use sbc_core::{
    admin::{
        protocol::{ListTrunks, ShowLimits},
        provision::{Action, Assignment, DiffConfig, Edit, EditConfig},
    },
    config,
};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Options of `provision`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Provision {
    /// Changes in all.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,
    /// Seconds within which they are made, evenly; calls go on until the last.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Calls a second.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    cps: u32,
    /// Seed of the changes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What the changes have come to.
#[derive(Debug, Default)]
struct Outcome {
    applied: u32,
    refused: u32,
    /// Those that went otherwise than they should, or left something wrong behind.
    wrong: Vec<String>,
    compared: u32,
    elapsed: Duration,
}

impl Provision {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut report = Report::new("provision");
        let daemon = bench.daemon(&bench.setup())?;
        let load = CallLoad {
            cps: self.cps,
            calls: self.cps * (self.seconds + 3),
            hold_ms: 1000,
            scenarios: ("uac", "uas"),
            message_log: false,
            over: calls::Over::UDP,
        };
        let (admin, file) = (daemon.admin.clone(), bench.dir().join("sbcd.toml"));
        let ended = AtomicBool::new(false);
        let (calls, changes) = std::thread::scope(|scope| {
            let changes = scope.spawn(|| self.change(&admin, &file, &ended));
            let calls = calls::run(bench, &daemon, load, "", |_| Ok(()));
            ended.store(true, Relaxed);
            (calls, changes.join())
        });
        let outcome = calls?;
        let (changes, delays) =
            changes.map_err(|_| Error::Setup("the thread that makes the changes panicked".into()))??;
        calls::report(&mut report, &load, &outcome);
        report.figure("changes", "applied", changes.applied);
        report.figure("changes", "refused", changes.refused);
        report.figure("changes", "compared", changes.compared);
        report.figure("changes", "seconds", changes.elapsed.as_secs_f64());
        report.delay("applied after", &delays[0]);
        report.delay("refused after", &delays[1]);
        let made = changes.applied + changes.refused;
        report.gate(
            "all changes were made while calls ran",
            made == self.changes,
            format!("{made} of {}", self.changes),
        );
        report.gate(
            "each change was applied or refused as it should",
            changes.wrong.is_empty(),
            changes
                .wrong
                .iter()
                .take(5)
                .cloned()
                .collect::<Vec<_>>()
                .join("; "),
        );
        calls::report_leftovers(bench, &mut report, &daemon, Duration::from_secs(40))?;
        Ok(report)
    }

    /// Make the changes. Besides what they came to: how long those took that were applied, and those that were refused.
    fn change(
        &self,
        admin: &Admin,
        file: &Path,
        ended: &AtomicBool,
    ) -> Result<(Outcome, [Histogram<u64>; 2])> {
        let mut outcome = Outcome::default();
        let mut delays = [crate::rtp::delays(), crate::rtp::delays()];
        let mut draw = Draw::new(self.seed, file.to_owned());
        let begin = Instant::now();
        for n in 0..self.changes {
            let due = Duration::from_secs(self.seconds.into()) * n / self.changes;
            std::thread::sleep(due.saturating_sub(begin.elapsed()));
            if ended.load(Relaxed) {
                break;
            }
            let (what, wanted, good) = draw.change();
            let asked = Instant::now();
            let answer = admin.ask(&wanted);
            delays[usize::from(answer.is_err())].saturating_record(asked.elapsed().as_nanos() as u64);
            match (&answer, good) {
                (Ok(_), true) => outcome.applied += 1,
                (Err(_), false) => outcome.refused += 1,
                (Ok(_), false) => outcome.wrong.push(format!("{what} was applied")),
                (Err(error), true) => outcome.wrong.push(format!("{what}: {error}")),
            }
            if let (Ok(_), true) = (&answer, good) {
                draw.done();
            }
            if let Err(why) = compare(admin, file, n % 20 == 0) {
                outcome.wrong.push(format!("after {what}: {why}"));
            }
            outcome.compared += 1;
        }
        outcome.elapsed = begin.elapsed();
        Ok((outcome, delays))
    }
}

/// The file parses and is what the daemon runs; `whole`: its trunks and limits, too.
fn compare(admin: &Admin, file: &Path, whole: bool) -> Result<()> {
    let differs = |what: String| Err(Error::Setup(what));
    let config = config::load(file).map_err(|error| Error::Setup(error.to_string()))?;
    let difference = admin.ask(&DiffConfig { file: None })?;
    if difference.revision != difference.candidate || !difference.changes.is_empty() {
        return differs(format!("the file is not what runs: {:?}", difference.changes));
    }
    if !whole {
        return Ok(());
    }
    let trunks = admin.ask(&ListTrunks {})?.trunks;
    let limits = admin.ask(&ShowLimits { trunk: None })?.limits;
    if trunks.len() != config.trunks.len() {
        return differs(format!(
            "{} trunks run, the file has {}",
            trunks.len(),
            config.trunks.len()
        ));
    }
    for (runs, configured) in trunks.iter().zip(&config.trunks) {
        let hosts: Vec<String> = configured.hosts.iter().map(ToString::to_string).collect();
        if (&runs.name, runs.enabled, &runs.hosts) != (&configured.name, configured.enabled, &hosts) {
            return differs(format!("trunk {} runs otherwise than the file has it", runs.name));
        }
        let inbound = limits
            .iter()
            .find(|limit| limit.scope.to_string() == format!("{} inbound", runs.name));
        let wanted = &configured.limits.inbound;
        if inbound.map(|limit| (limit.cps, limit.channels)) != Some((wanted.cps, wanted.channels)) {
            return differs(format!(
                "the limits of trunk {} are not those of the file",
                runs.name
            ));
        }
    }
    Ok(())
}

/// Changes, one after the other, from a seed.
struct Draw {
    state: u64,
    file: PathBuf,
    /// Trunks of ours.
    trunks: Vec<u32>,
    next: u32,
    pending: Pending,
}

/// What a change leads to when it is applied.
enum Pending {
    Nothing,
    Add(u32),
    Delete(u32),
}

impl Draw {
    fn new(seed: u64, file: PathBuf) -> Self {
        Self {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            file,
            trunks: Vec::new(),
            next: 0,
            pending: Pending::Nothing,
        }
    }

    fn below(&mut self, n: u32) -> u32 {
        // xorshift64*
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let drawn = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        drawn as u32 % n.max(1)
    }

    fn done(&mut self) {
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Nothing => {}
            Pending::Add(n) => self.trunks.push(n),
            Pending::Delete(n) => self.trunks.retain(|other| *other != n),
        }
    }

    /// What it is, the request, and whether it is to succeed.
    fn change(&mut self) -> (String, EditConfig, bool) {
        self.pending = Pending::Nothing;
        let (edit, good) = self.edit();
        let what = format!(
            "{:?} {} {:?} {:?}",
            edit.action, edit.kind, edit.which, edit.values
        );
        let mut wanted = EditConfig {
            edits: vec![edit],
            revision: None,
        };
        // Somebody else was faster.
        if self.below(20) == 0 {
            wanted.revision = Some("0123456789abcdef".to_owned());
            self.pending = Pending::Nothing;
            return (format!("{what} of another revision"), wanted, false);
        }
        if self.below(4) == 0 {
            let text = std::fs::read_to_string(&self.file).unwrap_or_default();
            wanted.revision = Some(config::revision(&text));
        }
        (what, wanted, good)
    }

    fn edit(&mut self) -> (Edit, bool) {
        let at = self.below(self.trunks.len() as u32) as usize;
        let some = self.trunks.get(at).copied();
        let n = self.below(1_000_000);
        let one = |action, kind: &str, which: &str, values: &[(&str, String)]| Edit {
            action,
            kind: kind.to_owned(),
            which: (!which.is_empty()).then(|| which.to_owned()),
            values: values
                .iter()
                .map(|(key, value)| Assignment {
                    key: (*key).to_owned(),
                    value: (!value.is_empty()).then(|| value.clone()),
                })
                .collect(),
        };
        let text = |value: &str| value.to_owned();
        match (self.below(16), some) {
            (0..3, _) if self.trunks.len() < 40 => {
                self.next += 1;
                self.pending = Pending::Add(self.next);
                let host = format!("[\"198.18.{}.{}\"]", self.next / 250 % 250, self.next % 250 + 1);
                let values = [
                    ("hosts", host),
                    (
                        "target",
                        format!("198.18.{}.{}:5060", self.next / 250 % 250, self.next % 250 + 1),
                    ),
                    ("fallback", text("platform")),
                ];
                (
                    one(Action::Add, "trunk", &format!("t{}", self.next), &values),
                    true,
                )
            }
            (3..5, Some(trunk)) => {
                self.pending = Pending::Delete(trunk);
                (one(Action::Delete, "trunk", &format!("t{trunk}"), &[]), true)
            }
            (5, Some(trunk)) => {
                let values = [
                    ("limits.inbound.cps", (n % 1000 + 1).to_string()),
                    ("limits.inbound.channels", n.to_string()),
                ];
                (one(Action::Set, "trunk", &format!("t{trunk}"), &values), true)
            }
            (6, Some(trunk)) => (
                one(
                    Action::Set,
                    "trunk",
                    &format!("t{trunk}"),
                    &[("enabled", n.is_multiple_of(2).to_string())],
                ),
                true,
            ),
            (7, Some(trunk)) => (
                one(
                    Action::Set,
                    "trunk",
                    &format!("t{trunk}"),
                    &[("compact_headers", n.is_multiple_of(2).to_string())],
                ),
                true,
            ),
            (8, _) => (
                one(
                    Action::Set,
                    "trunk",
                    "carrier",
                    &[("limits.inbound.channels", (100_000 + n).to_string())],
                ),
                true,
            ),
            (9, _) => (
                one(
                    Action::Set,
                    "trunk",
                    "platform",
                    &[("limits.both.cps", (100_000 + n % 1000).to_string())],
                ),
                true,
            ),
            (10, _) => (
                one(
                    Action::Set,
                    "limits",
                    "",
                    &[("channels", (200_000 + n).to_string())],
                ),
                true,
            ),
            // What must be refused.
            (11, _) => (one(Action::Delete, "trunk", "platform", &[]), false),
            (12, _) => (
                one(
                    Action::Set,
                    "trunk",
                    "carrier",
                    &[("limits.inbound.cps", text("\"many\""))],
                ),
                false,
            ),
            (13, _) => (
                one(
                    Action::Set,
                    "shards",
                    "",
                    &[("coalesce_us", (n % 9_000 + 1_000).to_string())],
                ),
                false,
            ),
            (14, _) => (
                one(
                    Action::Set,
                    "trunk",
                    "carrier",
                    &[("hots", text("[\"127.0.0.1\"]"))],
                ),
                false,
            ),
            (15, _) => (one(Action::Delete, "route", "from=carrier", &[]), false),
            _ => (one(Action::Delete, "trunk", "nobody", &[]), false),
        }
    }
}
