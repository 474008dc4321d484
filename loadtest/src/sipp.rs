//! SIPp as a child process: its command line, its statistics, its message log.

use crate::{
    Error, Result, measure,
    sbcd::{end_with_us, ended_within, on_cpus},
};
use std::{
    collections::{HashMap, HashSet},
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

/// Scenario files, built in so that they work from any directory.
const SCENARIOS: [(&str, &str); 7] = [
    ("uac", include_str!("../sipp/uac.xml")),
    ("uas", include_str!("../sipp/uas.xml")),
    ("uac_media", include_str!("../sipp/uac_media.xml")),
    ("uas_media", include_str!("../sipp/uas_media.xml")),
    ("uac_limits", include_str!("../sipp/uac_limits.xml")),
    ("uac_no_sdp", include_str!("../sipp/uac_no_sdp.xml")),
    ("uas_no_sdp", include_str!("../sipp/uas_no_sdp.xml")),
];

/// Calls for a UAC to place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    /// Where the INVITEs go.
    pub(crate) to: SocketAddr,
    /// Calls a second.
    pub(crate) cps: u32,
    /// Calls in all.
    pub(crate) calls: u32,
    /// Milliseconds from answer to BYE.
    pub(crate) hold_ms: u64,
}

/// How to run SIPp.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Name of a scenario, and of the files it leaves.
    pub(crate) scenario: &'static str,
    /// What tells this run's files from others of the same scenario.
    pub(crate) label: String,
    /// Its SIP address.
    pub(crate) local: SocketAddr,
    /// Calls to place; `None`: answer calls.
    pub(crate) offer: Option<Offer>,
    /// Lines of the injection file, one per call, each with its fields.
    pub(crate) inject: Vec<String>,
    /// Log every message with microseconds.
    pub(crate) message_log: bool,
    /// The core to run on.
    pub(crate) cpus: Vec<usize>,
    /// End after this time whatever happens.
    pub(crate) timeout: Duration,
    /// A UDP port on `local`'s address that SIPp opens for itself, and three after it.
    pub(crate) side_port: u16,
    /// What differs from plain calls over UDP.
    pub(crate) special: Special,
}

/// What most scenarios do not need.
#[derive(Clone, Debug, Default)]
pub(crate) struct Special {
    /// The scenario's text; `None`: the built-in one of that name.
    pub(crate) script: Option<String>,
    /// SIPp's transport mode; `None`: UDP with one socket.
    pub(crate) transport: Option<&'static str>,
    /// Calls that an answering side takes before it ends; `None`: it runs until it is told to end.
    pub(crate) takes: Option<u32>,
    /// Log every message whole, and give up after this long without an expected one.
    pub(crate) patience: Option<Duration>,
    /// How Call-IDs begin.
    pub(crate) mark: Option<&'static str>,
}

/// A running SIPp. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Sipp {
    child: Child,
    name: String,
    statistics: PathBuf,
    errors: PathBuf,
    messages: PathBuf,
    whole_messages: PathBuf,
    log: PathBuf,
    response_times: PathBuf,
}

/// SIPp's own cumulative counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Statistics {
    /// Calls placed or taken.
    pub(crate) created: u64,
    /// Calls in progress.
    pub(crate) current: u64,
    /// Scenario finished.
    pub(crate) successful: u64,
    /// Scenario not finished.
    pub(crate) failed: u64,
    /// Messages sent again.
    pub(crate) retransmissions: u64,
}

/// A line of the message log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoggedMessage<'a> {
    /// Nanoseconds of the wall clock.
    pub(crate) at_ns: u64,
    /// Whether SIPp sent it.
    pub(crate) sent: bool,
    /// Call-ID.
    pub(crate) call_id: &'a str,
    /// CSeq value, as in `1 INVITE`.
    pub(crate) cseq: &'a str,
    /// Request or status line.
    pub(crate) start: &'a str,
}

/// The text of a built-in scenario.
pub(crate) fn built_in(name: &str) -> &'static str {
    let found = SCENARIOS.iter().find(|(known, _)| *known == name);
    found.map_or("", |(_, xml)| xml)
}

impl Special {
    fn arguments(&self, command: &mut Command, messages: &Path) {
        if let Some(transport) = self.transport {
            // A peer that closes a connection must not make SIPp open it again by itself.
            command.args(["-t", transport, "-max_reconnect", "0"]);
            // SIPp refuses to start where fewer files may be open than it might want.
            command.args(["-max_socket", "4000"]);
        }
        if let Some(calls) = self.takes {
            command.args(["-m", &calls.to_string()]);
        }
        if let Some(patience) = self.patience {
            command.args(["-recv_timeout", &patience.as_millis().to_string()]);
            command.arg("-trace_msg").arg("-message_file").arg(messages);
        }
        if let Some(mark) = self.mark {
            command.args(["-cid_str", &format!("{mark}-%u-%p@%s")]);
        }
    }
}

impl Sipp {
    /// Write the scenario into `dir` and start SIPp there.
    pub(crate) fn start(spec: &Spec, dir: &Path) -> Result<Self> {
        let name = format!("{}{}", spec.scenario, spec.label);
        let file = |ending: &str| dir.join(format!("{name}{ending}"));
        let write = |path: &Path, text: &str| {
            fs::write(path, text).map_err(|source| Error::Io {
                what: format!("writing {}", path.display()),
                source,
            })
        };
        // What the same scenario left here before would be taken for what this one says.
        for ending in [".csv", ".err", ".log", ".messages", "-whole.messages"] {
            remove_left(&file(ending))?;
        }
        let script = spec.special.script.as_deref();
        write(&file(".xml"), script.unwrap_or_else(|| built_in(spec.scenario)))?;
        let mut command = Command::new("sipp");
        end_with_us(&mut command);
        command.current_dir(dir).env("TERM", "xterm");
        command.arg("-sf").arg(file(".xml"));
        command.args([
            "-i",
            &spec.local.ip().to_string(),
            "-bind_local",
            "-p",
            &spec.local.port().to_string(),
        ]);
        command.args([
            "-mi",
            &spec.local.ip().to_string(),
            "-mp",
            &spec.side_port.to_string(),
        ]);
        command.args([
            "-ci",
            // SIPp opens it over IPv4 alone.
            &if spec.local.is_ipv4() {
                spec.local.ip().to_string()
            } else {
                "127.0.0.1".to_owned()
            },
            "-cp",
            &(spec.side_port + 3).to_string(),
        ]);
        command.args([
            "-nostdin",
            "-buff_size",
            "4000000",
            "-f",
            "3600",
            "-max_recv_loops",
            "100",
            "-deadcall_wait",
            "1000",
        ]);
        command
            .arg("-trace_stat")
            .arg("-stf")
            .arg(file(".csv"))
            .args(["-fd", "1"]);
        command.arg("-trace_err").arg("-error_file").arg(file(".err"));
        command.args(["-timeout", &format!("{}s", spec.timeout.as_secs().max(1))]);
        if !spec.inject.is_empty() {
            let lines = format!("SEQUENTIAL\n{}\n", spec.inject.join("\n"));
            write(&file(".inject"), &lines)?;
            command
                .arg("-inf")
                .arg(file(".inject"))
                .arg("-trace_logs")
                .arg("-log_file")
                .arg(file(".log"));
        }
        if spec.message_log {
            command
                .arg("-trace_shortmsg")
                .arg("-shortmessage_file")
                .arg(file(".messages"));
        }
        spec.special.arguments(&mut command, &file("-whole.messages"));
        if let Some(offer) = &spec.offer {
            command.args([
                "-r",
                &offer.cps.to_string(),
                "-m",
                &offer.calls.to_string(),
                "-l",
                &offer.calls.to_string(),
            ]);
            // A number, so that routes are looked up as for real calls.
            command.args(["-s", "+4930123456"]);
            command.args(["-d", &offer.hold_ms.to_string(), "-timer_resol", "2"]);
            if !spec.message_log {
                command.args(["-trace_rtt", "-rtt_freq", "50"]);
            }
            command.arg(offer.to.to_string());
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        on_cpus(&mut command, &spec.cpus);
        let child = command.spawn().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::Missing {
                program: "sipp",
                remedy: "apt install sip-tester",
            },
            _ => Error::Io {
                what: "starting sipp".into(),
                source,
            },
        })?;
        let response_times = dir.join(format!("{name}_{}_rtt.csv", child.id()));
        let mut sipp = Self {
            child,
            statistics: file(".csv"),
            errors: file(".err"),
            messages: file(".messages"),
            whole_messages: file("-whole.messages"),
            log: file(".log"),
            name,
            response_times,
        };
        sipp.wait_started()?;
        Ok(sipp)
    }

    /// It has bound its socket when it has written its first statistics.
    fn wait_started(&mut self) -> Result<()> {
        for _ in 0..500 {
            if self.statistics().is_some() {
                return Ok(());
            }
            if !self.is_running() {
                return Err(Error::Process(format!(
                    "{} ended at once: {}",
                    self.name,
                    self.errors()
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Error::Process(format!(
            "{} does not start: {}",
            self.name,
            self.errors()
        )))
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last line of its statistics.
    pub(crate) fn statistics(&self) -> Option<Statistics> {
        let text = fs::read_to_string(&self.statistics).ok()?;
        // A line counts once it is complete.
        let text = &text[..text.rfind('\n')?];
        let mut lines = text.lines();
        let names = lines.next()?;
        let values: Vec<&str> = lines.last()?.split(';').collect();
        let field = |wanted: &str| {
            let at = names.split(';').position(|name| name == wanted)?;
            values.get(at)?.parse().ok()
        };
        Some(Statistics {
            created: field("TotalCallCreated")?,
            current: field("CurrentCall")?,
            successful: field("SuccessfulCall(C)")?,
            failed: field("FailedCall(C)")?,
            retransmissions: field("Retransmissions(C)")?,
        })
    }

    /// What went wrong first, for a message: lines with a date, without the messages they quote.
    pub(crate) fn errors(&self) -> String {
        let text = fs::read_to_string(&self.errors).unwrap_or_default();
        let dated = text.lines().filter_map(|line| line.splitn(3, '\t').nth(2));
        let lines: Vec<&str> = dated.take(3).collect();
        if lines.is_empty() {
            // It has not even begun.
            return text.lines().take(12).collect::<Vec<_>>().join("\n");
        }
        lines.join("\n")
    }

    /// Wait for it to end by itself; whether it did, and was content.
    pub(crate) fn succeeded_within(&mut self, patience: Duration) -> std::result::Result<(), String> {
        if !ended_within(&mut self.child, patience) {
            return Err(format!("{} has not ended after {patience:?}", self.name));
        }
        match self.child.wait() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{} ended with {status}", self.name)),
            Err(error) => Err(format!("{}: {error}", self.name)),
        }
    }

    /// The last `most` messages of the call that went wrong first, or of all; only with patience.
    pub(crate) fn last_messages(&self, most: usize) -> String {
        let text = fs::read_to_string(&self.whole_messages).unwrap_or_default();
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        let failed = errors
            .split_once("Call-Id '")
            .and_then(|(_, rest)| rest.split('\'').next());
        format!(
            "  last messages of {}:\n{}",
            self.name,
            last_messages(&text, failed, most)
        )
    }

    /// Lines of the message log so far.
    pub(crate) fn message_log(&self) -> String {
        fs::read_to_string(&self.messages).unwrap_or_default()
    }

    /// Lines that the scenario's `<log>` actions wrote so far.
    pub(crate) fn action_log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Milliseconds from INVITE to 200 of every call, as SIPp's own clock (a tick of its event
    /// loop) has it; only without message log.
    pub(crate) fn response_times_ms(&self) -> Vec<f64> {
        let text = fs::read_to_string(&self.response_times).unwrap_or_default();
        text.lines()
            .skip(1)
            .filter_map(|line| line.split(';').nth(1)?.parse().ok())
            .collect()
    }

    /// No more calls; wait for those that run to end, then for the process.
    pub(crate) fn finish(&mut self, patience: Duration) {
        if !self.is_running() {
            return;
        }
        measure::signal(self.child.id(), libc::SIGUSR1);
        if ended_within(&mut self.child, patience) {
            return;
        }
        measure::signal(self.child.id(), libc::SIGTERM);
        if ended_within(&mut self.child, Duration::from_secs(1)) {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        if self.is_running() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn remove_left(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(Error::Io {
            what: format!("removing {}", path.display()),
            source,
        }),
        _ => Ok(()),
    }
}

/// The last `most` messages of a log of whole ones; of the call `call_id` alone when one is given.
fn last_messages(log: &str, call_id: Option<&str>, most: usize) -> String {
    // A line of dashes with the time is before each.
    let messages: Vec<&str> = log
        .split("-----------------------------------------------")
        .filter(|message| !message.trim().is_empty())
        .filter(|message| call_id.is_none_or(|call_id| message.contains(call_id)))
        .collect();
    let last = messages[messages.len().saturating_sub(most)..].concat();
    last.lines()
        .filter(|line| !line.trim().is_empty())
        .fold(String::new(), |text, line| text + "    " + line.trim() + "\n")
}

/// The messages in a log.
pub(crate) fn messages(log: &str) -> impl Iterator<Item = LoggedMessage<'_>> {
    log.lines().filter_map(|line| {
        let mut fields = line.split('\t').skip(2);
        let (seconds, micros) = fields.next()?.split_once('.')?;
        Some(LoggedMessage {
            at_ns: seconds.parse::<u64>().ok()? * 1_000_000_000 + micros.parse::<u64>().ok()? * 1000,
            sent: fields.next()? == "S",
            call_id: fields.next()?,
            cseq: fields.next()?.strip_prefix("CSeq:")?,
            start: fields.next()?,
        })
    })
}

/// Nanoseconds from the first INVITE to the 200 of every answered call, from a UAC's log.
pub(crate) fn setup_times_ns(log: &str) -> Vec<u64> {
    let mut sent = HashMap::new();
    let mut times = Vec::new();
    for message in messages(log).filter(|message| message.cseq.ends_with("INVITE")) {
        if message.sent && message.start.starts_with("INVITE") {
            sent.entry(message.call_id).or_insert(message.at_ns);
        } else if message.start.starts_with("SIP/2.0 200")
            && let Some(at_ns) = sent.remove(message.call_id)
        {
            times.push(message.at_ns.saturating_sub(at_ns));
        }
    }
    times
}

/// Times of the first INVITE of every call, in order, from either side's log.
pub(crate) fn invite_times_ns(log: &str) -> Vec<u64> {
    let mut seen = HashSet::new();
    messages(log)
        .filter(|message| message.start.starts_with("INVITE") && seen.insert(message.call_id))
        .map(|message| message.at_ns)
        .collect()
}

/// Whether SIPp is installed: asked before anything is started.
pub(crate) fn check() -> Result<()> {
    match Command::new("sipp")
        .arg("-v")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
    {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::Missing {
            program: "sipp",
            remedy: "apt install sip-tester",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-11-21\t07:54:08.223367\t100.223367\tS\t1-7@h\tCSeq:1 INVITE\tINVITE sip:x SIP/2.0
2026-11-21\t07:54:08.223367\t100.723367\tS\t1-7@h\tCSeq:1 INVITE\tINVITE sip:x SIP/2.0
2026-11-21\t07:54:08.224593\t100.724593\tR\t1-7@h\tCSeq:1 INVITE\tSIP/2.0 180 Ringing
2026-11-21\t07:54:08.225835\t100.725367\tR\t1-7@h\tCSeq:1 INVITE\tSIP/2.0 200 OK
2026-11-21\t07:54:08.225835\t100.825367\tR\t1-7@h\tCSeq:1 INVITE\tSIP/2.0 200 OK
2026-11-21\t07:54:08.225835\t101.000001\tR\t1-7@h\tCSeq:2 BYE\tSIP/2.0 200 OK
2026-11-21\t07:54:08.225835\t102.000001\tS\t2-7@h\tCSeq:1 INVITE\tINVITE sip:x SIP/2.0
cut off";

    #[test]
    fn set_up_is_counted_from_the_first_invite_to_the_first_200() {
        assert_eq!(setup_times_ns(LOG), [502_000_000]);
    }

    #[test]
    fn the_last_messages_are_those_of_the_call_that_failed() {
        let dashes = "-".repeat(47);
        let log: String = ["one a", "two b", "three a", "four b", "five a"]
            .map(|text| format!("{dashes} 12:00\nUDP\n\n{text}\r\n"))
            .concat();
        let last = |call_id| {
            let text = last_messages(&log, call_id, 2);
            text.lines()
                .map(|line| line.trim().to_owned())
                .filter(|line| line.contains(' ') && !line.contains(':'))
                .collect::<Vec<_>>()
        };
        assert_eq!(last(None), ["four b", "five a"]);
        assert_eq!(last(Some(" b")), ["two b", "four b"]);
    }

    #[test]
    fn a_retransmitted_invite_is_one_call() {
        assert_eq!(invite_times_ns(LOG), [100_223_367_000, 102_000_001_000]);
    }
}
