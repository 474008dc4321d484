//! Registering with a registrar that is not ours: Kamailio, which checks our credentials with its own code, and is strict,
//! slow, busy, forgetful or stingy in turn. Several cases at a time, each with a daemon, a registrar and addresses of its own.

use crate::{
    Error, Result,
    bench::Bench,
    kamailio::{Kamailio, Seen},
    report::{Report, round},
    sbcd::{self, Daemon},
};
use sbc_core::admin::protocol::ListTrunks;
use std::{
    collections::VecDeque,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Options of `registrations`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Registrations {
    /// Only these (may be repeated; the beginning of a name is enough).
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

/// How the registrar behaves, and what must come of it.
struct Case {
    name: &'static str,
    /// Definitions for `kamailio/registrar.cfg`.
    defines: &'static [(&'static str, &'static str)],
    /// Our password.
    password: &'static str,
    /// What the registrar does with our REGISTERs until the first is saved, or all of it.
    ladder: &'static [&'static str],
    /// What `sbc-ctl trunks` says of the registration then begins so.
    state: &'static str,
    /// How long it is watched after that.
    watched_s: u64,
    /// How often it is to be saved again in that time, which is watched no longer then; 0: to the end.
    renewed: usize,
}

/// Cases at a time.
const LANES: u8 = 4;
/// Addresses of each: those of the daemon, the carrier and the registrar.
const LANE_HOSTS: u8 = 10;

/// The ladder of a registration without hindrance.
const PLAIN: &[&str] = &["challenge", "saved"];
const PASSWORD: &str = "s3cret";
/// Seconds of Retry-After.
const BUSY_S: f64 = 3.0;
/// Seconds that the stingy one grants.
const GRANTED_S: f64 = 6.0;

/// What takes longest comes first.
const CASES: &[Case] = &[
    // Asked for a minute, it grants 6 s: we come again in time, time and again.
    Case {
        name: "granted-less",
        defines: &[("MAX_S", "6")],
        password: PASSWORD,
        ladder: PLAIN,
        state: "registered",
        watched_s: 25,
        renewed: 3,
    },
    // Nor does it come again soon.
    Case {
        name: "wrong-password",
        defines: &[("ALGORITHM", "\"SHA-256\"")],
        password: "wr0ng",
        ladder: &["challenge", "challenge"],
        state: "failed 401",
        watched_s: 10,
        renewed: 0,
    },
    Case {
        name: "md5",
        defines: &[],
        password: PASSWORD,
        ladder: PLAIN,
        state: "registered",
        watched_s: 0,
        renewed: 0,
    },
    Case {
        name: "sha-256",
        defines: &[("ALGORITHM", "\"SHA-256\"")],
        password: PASSWORD,
        ladder: PLAIN,
        state: "registered",
        watched_s: 0,
        renewed: 0,
    },
    // The fourth copy of the proof arrives when its nonce is too old: RFC 7616 §3.3, stale.
    Case {
        name: "stale-nonce",
        defines: &[
            ("ALGORITHM", "\"SHA-256\""),
            ("NONCE_S", "1"),
            ("LOST_PROOFS", "3"),
            ("PROOFS_MAX", "1"),
        ],
        password: PASSWORD,
        ladder: &["challenge", "lost", "lost", "lost", "challenge", "saved"],
        state: "registered",
        watched_s: 0,
        renewed: 0,
    },
    Case {
        name: "interval-423",
        defines: &[("LEAST_S", "90")],
        password: PASSWORD,
        ladder: &["brief", "challenge", "saved"],
        state: "registered",
        watched_s: 0,
        renewed: 0,
    },
    Case {
        name: "busy-503",
        defines: &[("BUSY_S", "3")],
        password: PASSWORD,
        ladder: &["busy", "challenge", "saved"],
        state: "registered",
        watched_s: 0,
        renewed: 0,
    },
    Case {
        name: "lost-replies",
        defines: &[("ALGORITHM", "\"SHA-256\""), ("LOST", "3"), ("LOST_PROOFS", "2")],
        password: PASSWORD,
        ladder: &["lost", "lost", "lost", "challenge", "lost", "lost", "saved"],
        state: "registered",
        watched_s: 0,
        renewed: 0,
    },
];

impl Registrations {
    /// Run them, each with a daemon and a registrar.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut report = Report::new("registrations");
        if bench.options.target.is_some() {
            return Err(Error::Setup(
                "--target: expected none, each case starts a daemon with its own configuration".into(),
            ));
        }
        let wanted =
            |case: &&Case| self.only.is_empty() || self.only.iter().any(|name| case.name.starts_with(name));
        let queue: VecDeque<&Case> = CASES.iter().filter(wanted).collect();
        if queue.is_empty() {
            return Err(Error::Setup(format!(
                "no case has that name; there are {}",
                CASES.iter().map(|case| case.name).collect::<Vec<_>>().join(", ")
            )));
        }
        let binary = sbcd::binary(bench.options.sbcd.as_deref())?;
        let started = Instant::now();
        let queue = Mutex::new(queue);
        let verdicts = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for lane in 0..LANES {
                let (queue, verdicts, binary) = (&queue, &verdicts, &binary);
                scope.spawn(move || {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some(case) = next else { break };
                        let verdict = case.run(bench, binary, lane);
                        verdicts
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .push((case.name, verdict));
                    }
                });
            }
        });
        for (name, verdict) in verdicts.into_inner().unwrap_or_else(PoisonError::into_inner) {
            match verdict {
                Ok(found) => report.absorb(found),
                Err(error) => report.gate(name, false, error.to_string()),
            }
        }
        let elapsed_s = started.elapsed().as_secs_f64();
        report.figure("registrations", "elapsed_s", round(elapsed_s, 1));
        Ok(report)
    }
}

impl Case {
    fn run(&self, bench: &Bench, binary: &Path, lane: u8) -> Result<Report> {
        let mut report = Report::new(self.name);
        let dir = bench.dir().join(self.name);
        std::fs::create_dir_all(&dir).map_err(|source| Error::Io {
            what: format!("making {}", dir.display()),
            source,
        })?;
        let at = |host: u8| bench.at(lane * LANE_HOSTS + host, bench.options.base_port);
        let mut setup = bench.setup();
        (setup.sip, setup.carrier, setup.platform) = (at(1), at(2), at(3));
        setup.cpus = Vec::new();
        setup.trunks[1] = format!(
            "domain = \"registrar.test\"\naccount = {{ username = \"sbc\", password = \"{}\" }}\nregister = {{ expires_s = 60 }}",
            self.password
        );
        let registrar = Kamailio::start(setup.platform, self.defines, &dir)?;
        let started = Instant::now();
        let daemon = Daemon::start(binary, &setup, &dir)?;
        let state = self.wait(&daemon)?;
        let took_s = started.elapsed().as_secs_f64();
        self.watch(&registrar);
        let watched = state_of(&daemon)?;
        let stats = daemon.admin.stats()?;
        let ladder = steps(&registrar.seen());
        report.figure("registration", "until_known_s", round(took_s, 1));
        report.figure("registration", "registers_sent", stats.counter("registers_sent"));
        report.figure(
            "registration",
            "retransmissions",
            stats.counter("retransmissions_sent"),
        );
        report.gate(
            &format!("the registration is {}", self.state),
            state.starts_with(self.state) && watched.starts_with(self.state),
            format!("{state}, then {watched}"),
        );
        let whole = ladder.len() == self.ladder.len() || self.renewed > 0;
        report.gate(
            "what the registrar sees",
            ladder
                .iter()
                .take(self.ladder.len())
                .map(|seen| seen.what.as_str())
                .eq(self.ladder.iter().copied())
                && whole,
            ladder
                .iter()
                .map(|seen| seen.what.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        );
        self.times(&ladder, &mut report);
        // Who goes says so, and does not wait long for an answer.
        if self.state == "registered" && self.defines.iter().all(|(name, _)| *name != "LOST") {
            drop(daemon);
            let last = registrar.seen().pop();
            report.gate(
                "told that we go",
                last.as_ref().is_some_and(|last| last.what == "gone"),
                format!("{last:?}"),
            );
        }
        Ok(report)
    }

    /// See what becomes of the registration.
    fn watch(&self, registrar: &Kamailio) {
        let until = Instant::now() + Duration::from_secs(self.watched_s);
        let is_renewed = || {
            let seen = steps(&registrar.seen());
            self.renewed > 0 && seen.iter().filter(|seen| seen.what == "saved").count() > self.renewed
        };
        while Instant::now() < until && !is_renewed() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Wait until the registration has come to something.
    fn wait(&self, daemon: &Daemon) -> Result<String> {
        let until = Instant::now() + Duration::from_secs(40);
        loop {
            let state = state_of(daemon)?;
            if state.starts_with(self.state) || Instant::now() > until {
                return Ok(state);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What must hold of the times.
    fn times(&self, ladder: &[Seen], report: &mut Report) {
        let gaps = |what: &str| -> Vec<f64> {
            let at: Vec<f64> = ladder
                .iter()
                .filter(|seen| seen.what == what)
                .map(|seen| seen.at_s)
                .collect();
            at.windows(2).map(|pair| round(pair[1] - pair[0], 1)).collect()
        };
        match self.name {
            "busy-503" => {
                let waited = ladder
                    .get(1)
                    .zip(ladder.first())
                    .map(|(next, busy)| next.at_s - busy.at_s);
                report.gate(
                    "Retry-After is obeyed",
                    waited.is_some_and(|waited| (BUSY_S..4.0 * BUSY_S).contains(&waited)),
                    format!("{waited:.1?} s, asked for {BUSY_S}"),
                );
            }
            "granted-less" => {
                let gaps = gaps("saved");
                report.gate(
                    "asked again before the time granted is over",
                    gaps.len() >= 3 && gaps.iter().all(|gap| (0.5 * GRANTED_S..GRANTED_S).contains(gap)),
                    format!("after {gaps:?} s"),
                );
            }
            "stale-nonce" => {
                // -2 would be: wrong password.
                let refused = ladder.iter().rfind(|seen| seen.what == "challenge");
                report.gate(
                    "the password was right, the nonce too old",
                    refused.is_some_and(|seen| seen.proof == -4),
                    format!("{refused:?}"),
                );
            }
            "wrong-password" => {
                let refused = ladder.last();
                report.gate(
                    "the registrar says that it is",
                    refused.is_some_and(|seen| seen.proof == -2),
                    format!("{refused:?}"),
                );
            }
            _ => {}
        }
    }
}

/// What the daemon says of its registration; empty: nothing.
fn state_of(daemon: &Daemon) -> Result<String> {
    let trunks = daemon.admin.ask(&ListTrunks {})?.trunks;
    let platform = trunks.into_iter().find(|trunk| trunk.name == "platform");
    Ok(platform.and_then(|trunk| trunk.registration).unwrap_or_default())
}

/// What it did, without what it was asked again because an answer took long.
fn steps(seen: &[Seen]) -> Vec<Seen> {
    let mut steps: Vec<Seen> = Vec::new();
    for step in seen.iter().filter(|step| step.what != "gone") {
        let again =
            |other: &Seen| step.what != "lost" && (&other.what, other.cseq) == (&step.what, step.cseq);
        if !steps.iter().any(again) {
            steps.push(step.clone());
        }
    }
    steps
}
