//! Real phones on both sides: baresip and pjsua2 call, hold, type digits and transfer through
//! the daemon, over every transport, and what they hear is measured.
//!
//! The phones and what they do are in `loadtest/phones`, a Python package. Here are the daemon,
//! the network and the verdict. Each phone has a network of its own, 127.77.n: the phone is .2
//! and knows the daemon as .1. Calls go in a ring, from the first to the second phone, from
//! there to the third and from there to the first.

use crate::{
    Error, Result,
    bench::Bench,
    measure,
    report::{Report, round as round_to},
    sbcd::{self, Daemon},
};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Options of `phones`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Phones {
    /// udp, tcp or tls; with `+srtp` encrypted media, with `+srtp32`, `+srtp256` or `+srtpgcm` under that suite
    /// alone; with `+pcma` or `+pcmu` that codec alone; or the caller's and the callee's, as udp-tls+srtp
    /// [default: udp, tcp, tls; for audio what there is to compare].
    #[arg(long, value_delimiter = ',', value_parser = transports)]
    transport: Vec<Transports>,
    /// Caller and callee, each baresip or pjsua2, as baresip-pjsua2 [default: all four].
    #[arg(long, value_delimiter = ',')]
    pair: Vec<String>,
    /// call, hold, dtmf, info, blind, attended or register [default: all of these]; or audio alone: speech, scored by
    /// PESQ beside the same phones without the daemon.
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Let the phones first do the same without the daemon.
    #[arg(long)]
    direct: bool,
    /// Most of it for one pair, one leg over UDP and the other over TLS, in a minute and a half.
    #[arg(long, conflicts_with_all = ["transport", "pair", "direct"])]
    quick: bool,
}

/// The transports of caller and callee, and what their media is.
#[derive(Clone, Debug)]
struct Transports {
    given: String,
    of: [Way; 2],
}

impl Transports {
    /// Whether the daemon turns one law of G.711 into the other.
    fn converts(&self) -> bool {
        self.of[0].codecs != self.of[1].codecs
    }
}

/// How one phone is reached, and what it speaks.
#[derive(Clone, Copy, Debug)]
struct Way {
    transport: &'static str,
    /// Lines of its trunk.
    srtp: &'static str,
    codecs: &'static str,
}

/// What may follow a transport, and the lines of a trunk that say so.
const SRTP: [(&str, &str); 4] = [
    ("srtp", "srtp = \"required\""),
    (
        "srtp32",
        "srtp = \"required\"\nsrtp_suites = [\"AES_CM_128_HMAC_SHA1_32\"]",
    ),
    (
        "srtp256",
        "srtp = \"required\"\nsrtp_suites = [\"AES_256_CM_HMAC_SHA1_80\"]",
    ),
    (
        "srtpgcm",
        "srtp = \"required\"\nsrtp_suites = [\"AEAD_AES_256_GCM\"]",
    ),
];
/// What baresip 1.0.0 does not offer.
const BARESIP_LACKS: [&str; 3] = ["srtp32", "srtp256", "srtpgcm"];
const CODECS: [(&str, &str); 2] = [
    ("pcma", "codecs = [\"PCMA\", \"telephone-event\"]"),
    ("pcmu", "codecs = [\"PCMU\", \"telephone-event\"]"),
];

fn transports(text: &str) -> std::result::Result<Transports, String> {
    let wrong = |name: &str| {
        let more: Vec<String> = SRTP
            .iter()
            .chain(&CODECS)
            .map(|(word, _)| format!("+{word}"))
            .collect();
        format!(
            "{name}: expected udp, tcp or tls, each also with {}, or two of them as udp-tls",
            more.join(", ")
        )
    };
    let one = |name: &str| {
        let mut words = name.split('+');
        let transport = words
            .next()
            .and_then(|word| ["udp", "tcp", "tls"].into_iter().find(|known| *known == word));
        let mut way = Way {
            transport: transport.ok_or_else(|| wrong(name))?,
            srtp: "",
            codecs: "",
        };
        for word in words {
            let line = |known: &[(&str, &'static str)]| {
                known
                    .iter()
                    .find(|(name, _)| *name == word)
                    .map(|(_, line)| *line)
            };
            match (line(&SRTP), line(&CODECS)) {
                (Some(line), _) => way.srtp = line,
                (_, Some(line)) => way.codecs = line,
                (None, None) => return Err(wrong(name)),
            }
        }
        Ok::<_, String>(way)
    };
    let (first, second) = text.split_once('-').unwrap_or((text, text));
    Ok(Transports {
        given: text.to_owned(),
        of: [one(first)?, one(second)?],
    })
}

/// What the driver found for one pair and scenario.
#[derive(Debug, Deserialize)]
struct Cell {
    pair: String,
    scenario: String,
    verdict: String,
    detail: String,
    files: Vec<String>,
    /// Of speech, by who heard it.
    #[serde(default)]
    scores: BTreeMap<String, Vec<f64>>,
    /// Without the daemon: what they would be, had the speech been converted into the other law of G.711.
    #[serde(default)]
    converted: BTreeMap<String, Vec<f64>>,
}

/// Medians of the scores without the daemon, as they were and converted, by pair and by who heard it.
type Baseline = BTreeMap<(String, String), [Option<f64>; 2]>;

/// First half of all addresses.
const NETWORK: &str = "127.77";
/// For a whole matrix of one transport: 24 cells of at most 20 s, and phones that time out.
const DRIVER_SECONDS: u64 = 900;
const PREPARE_SECONDS: u64 = 240;
/// With what scores speech, which is compiled.
const PREPARE_AUDIO_SECONDS: u64 = 1200;
/// What is compared with the phones alone: plain, two suites, SRTP on one side, and two laws.
const AUDIO_TRANSPORTS: [&str; 5] = [
    "udp",
    "udp+srtp",
    "udp+srtp256",
    "udp-udp+srtp",
    "udp+pcma-udp+pcmu",
];
/// How much less than without the daemon speech may score.
const SCORE_LESS_MAX: f64 = 0.05;
/// What is done with phones that we know by their addresses, and in a hurry. Digits in INFO requests are left to the flows.
const KNOWN: [&str; 6] = ["call", "hold", "dtmf", "info", "blind", "attended"];
const KNOWN_QUICK: [&str; 5] = ["call", "hold", "dtmf", "blind", "attended"];
/// With phones that register: the daemon knows them by their passwords.
const REGISTER: &str = "register";
/// The passwords of `phones/registering.py`.
const PASSWORD: &str = "s3cret";
const WRONG_PASSWORD: &str = "wr0ng";
/// Two REGISTERs with the wrong password, and an INVITE.
const LOGINS_REFUSED: u64 = 3;

impl Phones {
    /// Every transport, one after the other.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut report = Report::new("phones");
        check_installed()?;
        let mut place = Place {
            own_network: false,
            dir: bench.dir().to_owned(),
            venv: target_directory()?.join("phones-venv"),
        };
        // Both need the outside: registries for the package and for crates.
        let audio = self.audio()?;
        if audio {
            place.driver("prepare", &["--audio".to_owned()], PREPARE_AUDIO_SECONDS)?;
        } else {
            place.driver("prepare", &[], PREPARE_SECONDS)?;
        }
        let binary = sbcd::binary(bench.options.sbcd.as_deref())?;
        match enter_own_network() {
            Ok(()) => place.own_network = true,
            Err(error) => {
                eprintln!("no network of our own ({error}): baresip cannot do TCP and TLS to its trunk");
            }
        }
        let start = |config: &str| {
            let sip = SocketAddr::from((Ipv4Addr::new(127, 77, 1, 1), 5060));
            Daemon::start_with(&binary, config, sip, &[], bench.dir())
        };
        let given = if self.quick {
            vec!["udp-tls".to_owned()]
        } else {
            Vec::new()
        };
        let rounds = match (&self.transport[..], &given[..]) {
            ([], []) if audio => AUDIO_TRANSPORTS.map(transports).into_iter().collect(),
            ([], []) => ["udp", "tcp", "tls"].map(transports).into_iter().collect(),
            ([], given) => given.iter().map(|text| transports(text)).collect(),
            (chosen, _) => Ok(chosen.to_vec()),
        };
        let rounds: Vec<Transports> = rounds.map_err(Error::Setup)?;
        let mut baseline = Baseline::new();
        if audio {
            let plain = transports("udp").map_err(Error::Setup)?;
            let alone = self.alone();
            self.round(&place, &plain, alone, &mut baseline, &mut report)?;
        }
        for round in &rounds {
            if self.direct && !audio {
                let alone = self.alone();
                self.round(&place, round, alone, &mut baseline, &mut report)?;
            }
            // RFC 3261's T1: the last transactions are forgotten after 64 of it.
            let t1_ms = bench.options.t1_ms.unwrap_or(if self.quick { 100 } else { 500 });
            let known = self.known();
            if !known.is_empty() {
                let config = config(bench, round, Callers::Known, t1_ms, &place.dir);
                let daemon = start(&config)?;
                let work = Work {
                    pairs: self.pairs(),
                    scenarios: known,
                    daemon: Some(&daemon),
                };
                self.round(&place, round, work, &mut baseline, &mut report)?;
                judge(&daemon, &format!("{} sbcd", round.given), t1_ms, &mut report)?;
            }
            // Each kind of phone is asked for another algorithm, so each pair has a daemon, whose end is waited for.
            let t1_ms = bench.options.t1_ms.unwrap_or(100);
            for pair in self.pairs().into_iter().filter(|_| self.registers()) {
                let config = config(bench, round, Callers::Registered(&pair), t1_ms, &place.dir);
                let daemon = start(&config)?;
                let group = format!("{} {pair} registered sbcd", round.given);
                let work = Work {
                    pairs: vec![pair],
                    scenarios: vec![REGISTER.to_owned()],
                    daemon: Some(&daemon),
                };
                if self.round(&place, round, work, &mut baseline, &mut report)? {
                    judge(&daemon, &group, t1_ms, &mut report)?;
                    judge_logins(&daemon, &place, &group, &mut report)?;
                }
            }
        }
        Ok(report)
    }

    /// Callers and callees.
    fn pairs(&self) -> Vec<String> {
        match (self.pair.is_empty(), self.quick) {
            (false, _) => self.pair.clone(),
            (true, true) => vec!["baresip-pjsua2".to_owned()],
            (true, false) => ["baresip", "pjsua2"]
                .iter()
                .flat_map(|one| ["baresip", "pjsua2"].map(|other| format!("{one}-{other}")))
                .collect(),
        }
    }

    /// The phones by themselves.
    fn alone(&self) -> Work<'static> {
        Work {
            pairs: self.pairs(),
            scenarios: self.known(),
            daemon: None,
        }
    }

    /// What phones do that are known by their addresses.
    fn known(&self) -> Vec<String> {
        match (self.scenario.is_empty(), self.quick) {
            (true, true) => KNOWN_QUICK.map(str::to_owned).to_vec(),
            (true, false) => KNOWN.map(str::to_owned).to_vec(),
            (false, _) => {
                let known = self.scenario.iter().filter(|name| *name != REGISTER);
                known.cloned().collect()
            }
        }
    }

    /// Whether some register.
    fn registers(&self) -> bool {
        self.scenario.is_empty() || self.scenario.iter().any(|name| name == REGISTER)
    }

    /// Whether it is about speech, and nothing else.
    fn audio(&self) -> Result<bool> {
        match &self.scenario[..] {
            [only] if only == "audio" => Ok(true),
            some if some.iter().any(|name| name == "audio") => {
                Err(Error::Setup("--scenario audio: expected no other with it".into()))
            }
            _ => Ok(false),
        }
    }

    /// Pairs over one transport, beside a daemon or without one. `false`: none of them can do that here.
    fn round(
        &self,
        place: &Place,
        round: &Transports,
        work: Work<'_>,
        baseline: &mut Baseline,
        report: &mut Report,
    ) -> Result<bool> {
        let Work {
            mut pairs,
            scenarios,
            daemon,
        } = work;
        pairs.retain(|pair| {
            let knows =
                !(BARESIP_LACKS.iter().any(|suite| round.given.contains(suite)) && pair.contains("baresip"));
            if !knows {
                report.figure(
                    &format!("{} {pair}", round.given),
                    "all",
                    "not run: baresip does not offer the suite",
                );
            }
            knows
        });
        let via = if daemon.is_some() { "" } else { "direct " };
        let group = |pair: &str| format!("{via}{} {pair}", round.given);
        if !place.own_network && daemon.is_some() {
            // baresip connects from 127.0.0.1, which is nobody's address.
            pairs.retain(|pair| {
                let kinds = pair.split('-').zip(round.of);
                let runs = kinds
                    .into_iter()
                    .all(|(kind, of)| kind != "baresip" || of.transport == "udp");
                if !runs {
                    report.figure(&group(pair), "all", "not run: needs a network namespace");
                }
                runs
            });
        }
        if pairs.is_empty() || scenarios.is_empty() {
            return Ok(false);
        }
        let json = place.dir.join("cells.json");
        let mut arguments = vec![
            "--transport".to_owned(),
            round.given.clone(),
            "--seconds".to_owned(),
            (DRIVER_SECONDS - 60).to_string(),
            "--json".to_owned(),
            json.display().to_string(),
        ];
        arguments.extend(pairs.into_iter().flat_map(|pair| ["--pair".to_owned(), pair]));
        arguments.extend(
            scenarios
                .into_iter()
                .flat_map(|name| ["--scenario".to_owned(), name]),
        );
        let socket = place.dir.join(sbcd::SOCKET);
        arguments.extend(["--socket".to_owned(), socket.display().to_string()]);
        if daemon.is_none() {
            arguments.push("--direct".to_owned());
        }
        place.driver("run", &arguments, DRIVER_SECONDS)?;
        for cell in cells(&json)? {
            let group = group(&cell.pair);
            report.figure(&group, &cell.scenario, cell.verdict.as_str());
            if cell.verdict != "n/a" {
                let files = cell.files.join(" ");
                let detail = [cell.detail.as_str(), files.as_str()].join(" ");
                report.gate(
                    &format!("{group} {}", cell.scenario),
                    cell.verdict == "ok",
                    detail.trim(),
                );
            }
            for (listener, scores) in &cell.scores {
                let Some(score) = median(scores) else { continue };
                report.figure(&group, &format!("{listener}_hears_mos"), round_to(score, 3));
                let key = (cell.pair.clone(), listener.clone());
                if daemon.is_none() {
                    let converted = cell.converted.get(listener).and_then(|scores| median(scores));
                    baseline.insert(key, [Some(score), converted]);
                    continue;
                }
                let of_way = baseline
                    .get(&key)
                    .and_then(|scores| scores[usize::from(round.converts())]);
                let Some(alone) = of_way else { continue };
                report.gate(
                    &format!("{group} speech at {listener}"),
                    score >= alone - SCORE_LESS_MAX,
                    format!("PESQ {score:.3}, without the daemon {alone:.3}"),
                );
            }
        }
        Ok(true)
    }
}

/// What is done in a round.
struct Work<'d> {
    pairs: Vec<String>,
    scenarios: Vec<String>,
    /// `None`: the phones call each other.
    daemon: Option<&'d Daemon>,
}

/// How the daemon knows the phones.
#[derive(Clone, Copy)]
enum Callers<'p> {
    /// By their addresses, in a ring.
    Known,
    /// The first two of this pair, by their passwords.
    Registered(&'p str),
}

/// The files of the run, the interpreter's environment, and the network.
struct Place {
    dir: PathBuf,
    venv: PathBuf,
    /// It has a network to itself.
    own_network: bool,
}

impl Place {
    /// Run the Python driver for at most so long. Its verdicts are in its files: only when it
    /// could not do its work is that an error.
    fn driver(&self, action: &str, arguments: &[String], seconds: u64) -> Result<()> {
        let mut command = Command::new("python3");
        command
            .args(["-B", "-m", "phones", action, "--network", NETWORK, "--directory"])
            .arg(&self.dir)
            .arg("--venv")
            .arg(&self.venv)
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            // Standard output may be where the report goes as JSON.
            .stdout(std::io::stderr());
        let mut child = command.spawn().map_err(|source| Error::Io {
            what: "starting python3".into(),
            source,
        })?;
        if !sbcd::ended_within(&mut child, Duration::from_secs(seconds)) {
            stop(&mut child);
            return Err(Error::Process(format!(
                "phones {action} did not end within {seconds} s"
            )));
        }
        match child.wait().map(|status| status.code()) {
            Ok(Some(0 | 1)) => Ok(()),
            other => Err(Error::Process(format!("phones {action} ended with {other:?}"))),
        }
    }
}

/// End the driver: at the first signal it ends its phones.
fn stop(child: &mut Child) {
    measure::signal(child.id(), libc::SIGTERM);
    if !sbcd::ended_within(child, Duration::from_secs(30)) {
        let _ = child.kill();
    }
    let _ = child.wait();
}

/// The one in the middle; of two, the lower.
fn median(scores: &[f64]) -> Option<f64> {
    let mut scores = scores.to_vec();
    scores.sort_by(f64::total_cmp);
    scores.get(scores.len().saturating_sub(1) / 2).copied()
}

fn cells(path: &Path) -> Result<Vec<Cell>> {
    let io = |source| Error::Io {
        what: format!("reading {}", path.display()),
        source,
    };
    let text = std::fs::read(path).map_err(io)?;
    serde_json::from_slice(&text).map_err(|error| Error::Setup(format!("{}: {error}", path.display())))
}

fn check_installed() -> Result<()> {
    for (program, argument, remedy) in [
        ("python3", "--version", "Debian packages python3 and python3-venv"),
        ("baresip", "-h", "Debian package baresip-core"),
        ("openssl", "version", "Debian package openssl"),
        ("ip", "-V", "Debian package iproute2"),
    ] {
        Command::new(program)
            .arg(argument)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|_| Error::Missing { program, remedy })?;
    }
    Ok(())
}

/// Cargo's target directory, as seen from our own executable.
pub(super) fn target_directory() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(|source| Error::Io {
        what: "finding our own executable".into(),
        source,
    })?;
    own.ancestors()
        .nth(2)
        .map(Path::to_owned)
        .ok_or_else(|| Error::Setup(format!("{} has no directory", own.display())))
}

/// Leave the machine's network for one of our own, with nothing but loopback.
///
/// baresip opens its connections without binding them to its address, so the route decides where
/// they come from: here the daemon's address in a phone's network is reached from the phone's.
fn enter_own_network() -> std::io::Result<()> {
    // SAFETY: geteuid only reads; unshare changes what this process sees, and there is one
    // thread yet.
    let done = unsafe {
        let flags = if libc::geteuid() == 0 {
            libc::CLONE_NEWNET
        } else {
            libc::CLONE_NEWUSER | libc::CLONE_NEWNET
        };
        libc::unshare(flags)
    };
    if done != 0 {
        return Err(std::io::Error::last_os_error());
    }
    let ip = |arguments: &str| {
        let status = Command::new("ip").args(arguments.split(' ')).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(std::io::Error::other(format!("ip {arguments}: {status}")))
        }
    };
    ip("link set lo up")?;
    (1..=3).try_for_each(|n| {
        ip(&format!(
            "route replace local {NETWORK}.{n}.1 dev lo table local src {NETWORK}.{n}.2"
        ))
    })
}

/// A listener and a trunk for each phone: three in a ring, or two that log in.
fn config(bench: &Bench, round: &Transports, callers: Callers<'_>, t1_ms: u32, dir: &Path) -> String {
    let mut text = String::new();
    let options = &bench.options;
    // Calls and transfers that meet are on different shards as often as on the same.
    let shards = options.shards.max(2);
    let _ = writeln!(
        text,
        "[shards]\ncount = {shards}\nbackend = \"{}\"\npin = false",
        options.backend
    );
    let names = ["alice", "bob", "carol"];
    let names = match callers {
        Callers::Known => &names[..],
        Callers::Registered(_) => &names[..2],
    };
    let of = [round.of[0], round.of[1], round.of[0]];
    for ((n, name), way) in (1..).zip(names).zip(of) {
        let Way {
            transport,
            srtp,
            codecs,
        } = way;
        let port = if transport == "tls" { 5061 } else { 5060 };
        let _ = writeln!(
            text,
            "[[listener]]\nname = \"{name}\"\ntransport = \"{transport}\"\naddress = \"{NETWORK}.{n}.1:{port}\""
        );
        let tls = dir.join("tls");
        if transport == "tls" {
            let (certificate, key) = (tls.join("sbcd.crt"), tls.join("sbcd.key"));
            let _ = writeln!(
                text,
                "tls = {{ certificate = \"{}\", key = \"{}\" }}",
                certificate.display(),
                key.display()
            );
        }
        let _ = writeln!(
            text,
            "[[trunk]]\nname = \"{name}\"\nlistener = \"{name}\"\n{srtp}\n{codecs}"
        );
        if let Callers::Registered(pair) = callers {
            let algorithm = match pair.split('-').nth(n - 1) {
                // libre 1.1 knows no other.
                Some("baresip") => "MD5",
                _ => "SHA-256",
            };
            // The second user is there so that the first is found by its name.
            let _ = writeln!(
                text,
                "[trunk.login]\nrealm = \"{name}.example\"\nalgorithms = [\"{algorithm}\"]\nuser = [\
                 {{ username = \"{name}\", password = \"{PASSWORD}\" }}, \
                 {{ username = \"{name}-2\", password = \"{PASSWORD}\" }}]"
            );
            continue;
        }
        let _ = writeln!(
            text,
            "hosts = [\"{NETWORK}.{n}.2\"]\ntarget = \"{NETWORK}.{n}.2:{port}\""
        );
        if transport == "tls" {
            let _ = writeln!(
                text,
                "tls = {{ ca = \"{}\" }}",
                tls.join("authority.pem").display()
            );
        }
    }
    for (from, to) in names.iter().zip(names.iter().cycle().skip(1)) {
        let _ = writeln!(text, "[[route]]\nfrom = \"{from}\"\nto = \"{to}\"");
    }
    let (first, last) = options.media_ports;
    let _ = writeln!(
        text,
        "[media]\naddress = \"{NETWORK}.9.1\"\nports = \"{first}-{last}\""
    );
    let _ = writeln!(
        text,
        "[sip]\nt1_ms = {t1_ms}\nt2_ms = {}\nt4_ms = {}",
        8 * t1_ms,
        10 * t1_ms
    );
    let _ = writeln!(
        text,
        "[admin]\nsocket = \"{}\"\n[log]\nlevel = \"info\"",
        dir.join(sbcd::SOCKET).display()
    );
    text
}

/// What the daemon says about the round: everything given back, no bug met.
fn judge(daemon: &Daemon, group: &str, t1_ms: u32, report: &mut Report) -> Result<()> {
    let stats = daemon.wait_quiet(Duration::from_millis(64 * u64::from(t1_ms) + 8000), |_| {})?;
    for name in [
        "calls_attempted",
        "calls_answered",
        "media_received",
        "media_forwarded",
    ] {
        report.figure(group, name, stats.counter(name));
    }
    let left = stats.left();
    report.gate(
        &format!("{group} gives everything back"),
        left.is_empty(),
        format!("{left:?}"),
    );
    let bugs = stats.counter("internal_errors");
    report.gate(
        &format!("{group} meets no bug"),
        bugs == 0,
        format!("{bugs} internal errors"),
    );
    Ok(())
}

/// What the daemon says about who has logged in: that it called nobody but over the connection of its registration, how
/// often it asked and was answered, and no word of passwords.
fn judge_logins(daemon: &Daemon, place: &Place, group: &str, report: &mut Report) -> Result<()> {
    let stats = daemon.admin.stats()?;
    for name in ["registers_granted", "challenges_sent", "logins_proven"] {
        report.figure(group, name, stats.counter(name));
    }
    let connected = stats.counter("streams_connected");
    report.gate(
        &format!("{group} calls over registrations"),
        connected == 0,
        format!("{connected} connections of its own"),
    );
    // Of the wrong password, some phones say good-bye, too.
    let refused = stats.counter("logins_refused");
    report.gate(
        &format!("{group} refuses the wrong password"),
        refused >= LOGINS_REFUSED,
        format!("{refused} times, of at least {LOGINS_REFUSED}"),
    );
    let log = place.dir.join(sbcd::LOG);
    let text = std::fs::read_to_string(&log).map_err(|source| Error::Io {
        what: format!("reading {}", log.display()),
        source,
    })?;
    let told = [PASSWORD, WRONG_PASSWORD].iter().any(|word| text.contains(word));
    report.gate(
        &format!("{group} keeps passwords to itself"),
        !told,
        log.display().to_string(),
    );
    Ok(())
}
