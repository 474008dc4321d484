//! SIPVicious, the scanner that most attacks begin with, against the daemon, while good calls run: it finds no user,
//! guesses no password and is banned; and whatever is sent from the carrier's address, the carrier never is.
//!
//! In stages, each with a daemon of its own: the scanner as it comes; a scanner that does not say what it is, known
//! by what it does; and nobody banned, so that it sees every answer.

use super::phones::target_directory;
use crate::{
    Error, Result,
    bench::Bench,
    calls::{self, CallLoad},
    report::Report,
    sbcd::{Daemon, ended_within},
};
use sbc_core::admin::bans::{BanStatus, ListBans};
use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Options of `vicious`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Vicious {
    /// Good calls a second.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cps: u32,
    /// Seconds of good calls in each stage.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) seconds: u32,
}

/// The version that this was written for.
const VERSION: &str = "0.3.8";
/// The user that there is.
const USER: &str = "201";
/// Its password, which `svcrack` would come to.
const PASSWORD: &str = "1100";
/// What SIPVicious may take.
const PATIENCE: Duration = Duration::from_secs(40);
const NOT_SAID: &str = "scanners = []\n";
const NOBODY_BANNED: &str = "scanners = []\nban_s = 0\npackets_per_s = 0\n";

struct Stage {
    name: &'static str,
    guard: &'static str,
    tools: &'static [Tool],
}

/// Offences that one may be banned for; `None`: it is not banned.
type Offences = Option<&'static [&'static str]>;

/// A program of SIPVicious.
struct Tool {
    banned_for: Offences,
    /// Its name and options.
    command: &'static [&'static str],
}

impl Tool {
    /// Where it sends from: svmap as it is told, the others from 127.0.0.1 whatever they are told.
    fn host(&self, bench: &Bench) -> Ipv4Addr {
        match self.command.first() {
            Some(&"svmap") => bench.host(66),
            _ => Ipv4Addr::LOCALHOST,
        }
    }
}

const SCANNER: Offences = Some(&["scanner"]);
const SVCRACK: &[&str] = &["svcrack", "-u", USER, "-r", "1000-1200"];
const STAGES: [Stage; 4] = [
    Stage {
        name: "as it comes",
        guard: "",
        tools: &[
            Tool {
                banned_for: SCANNER,
                command: &["svmap"],
            },
            Tool {
                banned_for: SCANNER,
                command: &["svwar", "-e", "190-210", "--force"],
            },
            Tool {
                banned_for: SCANNER,
                command: SVCRACK,
            },
        ],
    },
    Stage {
        name: "disguised svwar",
        guard: NOT_SAID,
        tools: &[Tool {
            // It gives up at once: what it asks for first, which nobody has, is answered as all else is.
            banned_for: None,
            command: &["svwar", "-e", "100-400", "--force"],
        }],
    },
    Stage {
        name: "disguised svcrack",
        guard: NOT_SAID,
        tools: &[Tool {
            banned_for: Some(&["bad_credentials"]),
            command: SVCRACK,
        }],
    },
    Stage {
        name: "unbanned",
        guard: NOBODY_BANNED,
        tools: &[
            Tool {
                banned_for: None,
                command: &["svwar", "-e", "195-205", "-m", "REGISTER", "--force"],
            },
            Tool {
                banned_for: None,
                command: &["svwar", "-e", "195-205", "-m", "INVITE", "--force"],
            },
            Tool {
                banned_for: None,
                command: &["svwar", "-e", "195-205", "-m", "OPTIONS", "--force"],
            },
        ],
    },
];

impl Vicious {
    /// Run it with daemons of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let programs = install()?;
        let mut report = Report::new("vicious");
        for stage in &STAGES {
            report.absorb(self.stage(bench, &programs, stage)?);
        }
        Ok(report)
    }

    fn stage(&self, bench: &Bench, programs: &Path, stage: &Stage) -> Result<Report> {
        let mut setup = bench.setup();
        setup.more = format!(
            "[guard]\n{}[[trunk]]\nname = \"users\"\ntarget = \"{}\"\nlogin = {{ realm = \"example.com\", algorithms = [\"MD5\"], \
             user = [{{ username = \"{USER}\", password = \"{PASSWORD}\" }}] }}\n[[route]]\nfrom = \"users\"\nto = \"platform\"\n",
            stage.guard,
            bench.at(9, bench.options.base_port),
        );
        let daemon = bench.daemon(&setup)?;
        let mut report = Report::new(stage.name);
        let load = CallLoad {
            cps: self.cps,
            calls: self.cps * self.seconds,
            hold_ms: 300,
            scenarios: ("uac", "uas"),
            message_log: false,
            over: calls::Over::UDP,
        };
        let stop = AtomicBool::new(false);
        let forger = forger(bench)?;
        let (outcome, said) = std::thread::scope(|scope| {
            let forging = scope.spawn(|| forge(&forger, daemon.sip, &stop));
            let tools: Vec<_> = stage
                .tools
                .iter()
                .map(|tool| scope.spawn(|| run_tool(bench, programs, daemon.sip, tool)))
                .collect();
            let outcome = calls::run(bench, &daemon, load, "", |_| Ok(()));
            let said: Vec<Result<String>> = tools
                .into_iter()
                .map(|tool| {
                    tool.join()
                        .unwrap_or_else(|_| Err(Error::Process("a thread panicked".into())))
                })
                .collect();
            stop.store(true, Ordering::Relaxed);
            let _ = forging.join();
            (outcome, said)
        });
        let outcome = outcome?;
        report.gate(
            "every good call succeeds",
            outcome.uac.successful == u64::from(load.calls) && outcome.uac.failed == 0,
            format!("{} of {} {}", outcome.uac.successful, load.calls, outcome.errors),
        );
        if stage.guard == NOT_SAID {
            enumerate(&mut report, bench, &daemon)?;
        }
        let bans = daemon.admin.ask(&ListBans {})?.bans;
        for (tool, said) in stage.tools.iter().zip(said) {
            found_nothing(&mut report, tool.command, &said?);
            banned(&mut report, &tool.host(bench).to_string(), tool, &bans);
        }
        if stage.guard == NOBODY_BANNED {
            same_answers(&mut report, bench, daemon.sip)?;
        }
        carrier_stays(&mut report, bench, &daemon, &bans)?;
        calls::report_leftovers(bench, &mut report, &daemon, Duration::from_secs(40))?;
        Ok(report)
    }
}

/// The programs, in a virtual environment that is made once.
fn install() -> Result<PathBuf> {
    let venv = target_directory()?.join("vicious-venv");
    let programs = venv.join("bin");
    if programs.join("sipvicious_svwar").exists() {
        return Ok(programs);
    }
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    };
    let package = format!("sipvicious=={VERSION}");
    let made = run(Path::new("python3"), &["-m", "venv", &venv.display().to_string()]);
    made.and_then(|()| {
        run(
            &programs.join("pip"),
            &["install", "--quiet", "--disable-pip-version-check", &package],
        )
    })
    .map_err(|why| Error::Setup(format!("{package} cannot be installed: {why}")))?;
    Ok(programs)
}

/// What a tool says that scans `sbc`.
fn run_tool(bench: &Bench, programs: &Path, sbc: SocketAddr, tool: &Tool) -> Result<String> {
    let host = tool.host(bench);
    let (name, options) = tool.command.split_first().unwrap_or((&"", &[]));
    let path = bench.dir().join(format!("{}.txt", tool.command.join("-")));
    let io = |source| Error::Io {
        what: format!("running {name}"),
        source,
    };
    let file = File::create(&path).map_err(io)?;
    let port = sbc.port().to_string();
    let mut child = Command::new(programs.join(format!("sipvicious_{name}")))
        .args(["-b", &host.to_string(), "-P", &port, "-p", &port])
        .args(options)
        .arg(sbc.ip().to_string())
        // Where it keeps its sessions.
        .env("HOME", bench.dir())
        .stdin(Stdio::null())
        .stdout(file.try_clone().map_err(io)?)
        .stderr(file)
        .spawn()
        .map_err(io)?;
    if !ended_within(&mut child, PATIENCE) {
        let _ = child.kill();
    }
    let _ = child.wait();
    std::fs::read_to_string(&path).map_err(io)
}

/// `said` must not name what there is, but the daemon itself where nobody hides it.
fn found_nothing(report: &mut Report, arguments: &[&str], said: &str) {
    report.gate(
        &format!("{} finds nothing", arguments.join(" ")),
        said.contains("found nothing"),
        said.lines().last().unwrap_or("it said nothing").to_owned(),
    );
}

fn banned(report: &mut Report, address: &str, tool: &Tool, bans: &[BanStatus]) {
    let (offences, program) = (tool.banned_for, tool.command[0]);
    let found = bans.iter().find(|ban| ban.address == address);
    let holds = match offences {
        Some(offences) => found.is_some_and(|ban| offences.contains(&ban.offence.as_str())),
        None => found.is_none(),
    };
    let name = match offences {
        Some(_) => format!("{program} is banned"),
        None => format!("{program} sees all answers"),
    };
    let detail = found.map_or("no ban".to_owned(), |ban| {
        format!("{}, {} time(s), \"{}\"", ban.offence, ban.count, ban.evidence)
    });
    report.gate(&name, holds, detail);
}

/// A socket at the carrier's address.
fn forger(bench: &Bench) -> Result<UdpSocket> {
    let at = bench.at(2, bench.options.base_port + 1);
    UdpSocket::bind(at).map_err(|source| Error::Io {
        what: format!("binding {at}"),
        source,
    })
}

/// Do from the carrier's address whatever a source is banned for.
fn forge(socket: &UdpSocket, sbc: SocketAddr, stop: &AtomicBool) {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        n += 1;
        let scan = request(sbc, socket, "REGISTER", &n.to_string(), n)
            .replace("Max-Forwards", "User-Agent: friendly-scanner\r\nMax-Forwards");
        for message in [scan.as_str(), "no SIP at all\r\n\r\n"] {
            // Nobody needs to answer.
            let _ = socket.send_to(message.as_bytes(), sbc);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn request(sbc: SocketAddr, from: &UdpSocket, method: &str, user: &str, n: u32) -> String {
    let own = from.local_addr().unwrap_or(sbc);
    format!(
        "{method} sip:{user}@{sbc} SIP/2.0\r\nVia: SIP/2.0/UDP {own};rport;branch=z9hG4bKv{n}\r\nMax-Forwards: 70\r\n\
         From: <sip:{user}@{sbc}>;tag=v{n}\r\nTo: <sip:{user}@{sbc}>\r\nCall-ID: v{n}@{own}\r\nCSeq: 1 {method}\r\n\
         Contact: <sip:{user}@{own}>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// Who does not give up as svwar does, but asks for one user after the other, is banned for that.
fn enumerate(report: &mut Report, bench: &Bench, daemon: &Daemon) -> Result<()> {
    let at = bench.at(71, bench.options.base_port);
    let io = |source| Error::Io {
        what: format!("asking from {at}"),
        source,
    };
    let socket = UdpSocket::bind(at).map_err(io)?;
    for user in 100..300u32 {
        let text = request(daemon.sip, &socket, "REGISTER", &user.to_string(), user);
        socket.send_to(text.as_bytes(), daemon.sip).map_err(io)?;
        std::thread::sleep(Duration::from_millis(5));
    }
    let bans = daemon.admin.ask(&ListBans {})?.bans;
    let own = bans.iter().find(|ban| ban.address == at.ip().to_string());
    report.gate(
        "who asks for one user after the other is banned",
        own.is_some_and(|ban| ban.offence == "unproven"),
        own.map_or("no ban".to_owned(), |ban| {
            format!("{}, {} times", ban.offence, ban.count)
        }),
    );
    Ok(())
}

/// A user that there is gets the same answers as one that there is not.
fn same_answers(report: &mut Report, bench: &Bench, sbc: SocketAddr) -> Result<()> {
    let at = bench.at(70, bench.options.base_port);
    let io = |source| Error::Io {
        what: format!("asking from {at}"),
        source,
    };
    let socket = UdpSocket::bind(at).map_err(io)?;
    socket
        .set_read_timeout(Some(Duration::from_secs(2)))
        .map_err(io)?;
    let mut n = 0;
    for method in ["REGISTER", "INVITE", "OPTIONS", "MESSAGE", "SUBSCRIBE"] {
        let mut answers = Vec::new();
        for user in [USER, "999"] {
            n += 1;
            let text = request(sbc, &socket, method, user, n);
            socket.send_to(text.as_bytes(), sbc).map_err(io)?;
            let mut buffer = [0; 4000];
            let len = socket.recv(&mut buffer).map_err(io)?;
            answers.push(constant(&String::from_utf8_lossy(&buffer[..len]), user));
        }
        report.gate(
            &format!("{method} tells nothing of users"),
            answers[0] == answers[1],
            answers[0].lines().next().unwrap_or_default().to_owned(),
        );
    }
    Ok(())
}

/// An answer without what differs with every request.
fn constant(answer: &str, user: &str) -> String {
    let varies = |line: &&str| {
        ["Via", "From", "Call-ID"]
            .iter()
            .any(|name| line.starts_with(name))
    };
    let without = |line: &str, from: &str| match line.split_once(from) {
        Some((before, rest)) => {
            let end = rest.find(['"', ';']).unwrap_or(rest.len());
            format!("{before}{from}{}{}", "x".repeat(end), &rest[end..])
        }
        None => line.to_owned(),
    };
    let lines = answer.lines().filter(|line| !varies(line));
    lines
        .map(|line| without(&without(line, "nonce=\""), "tag=").replace(&format!("sip:{user}@"), "sip:"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn carrier_stays(report: &mut Report, bench: &Bench, daemon: &Daemon, bans: &[BanStatus]) -> Result<()> {
    let offences = daemon.admin.stats()?.counter("guard_offences_trunk");
    let peers = [2, 3].map(|host| bench.host(host).to_string());
    let banned = bans.iter().find(|ban| peers.contains(&ban.address));
    report.figure("guard", "offences_in_the_name_of_a_trunk", offences);
    report.gate(
        "what is sent in the carrier's name never bans it",
        banned.is_none() && offences > 0,
        format!("{offences} offences, {} bans of others", bans.len()),
    );
    Ok(())
}
