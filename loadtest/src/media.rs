//! RTP paths to compare: through sbcd with calls set up by SIPp, through the bare relay, through
//! rtpengine, and none at all.

use crate::{
    Error, Result,
    bare_relay::{BareCounters, port_of},
    bench::Bench,
    calls::side_port,
    rtp::{End, Streams},
    rtpengine::Rtpengine,
    sbcd::{Daemon, ended_within, on_cpus},
    sipp::{Offer, Sipp, Spec, Special},
};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

/// Most calls: each path has a block of ports on the load's addresses.
pub(crate) const CALLS_MAX: u16 = 2000;
/// First port of the load's sockets for each path.
const PORTS_SBCD: u16 = 20_000;
const PORTS_BARE: u16 = 26_000;
const PORTS_RTPENGINE: u16 = 32_000;
const PORTS_DIRECT: u16 = 38_000;

/// SIPp on both sides, holding calls with media.
#[derive(Debug)]
pub(crate) struct MediaCalls {
    uac: Sipp,
    uas: Sipp,
    calls: u16,
}

impl MediaCalls {
    /// Set up `calls` calls that last `hold` from their answer on, and learn the SBC's ports.
    pub(crate) fn establish(
        bench: &Bench,
        daemon: &Daemon,
        calls: u16,
        cps: u32,
        hold: Duration,
    ) -> Result<(Self, Streams)> {
        if calls == 0 || calls > CALLS_MAX {
            return Err(Error::Setup(format!(
                "--calls {calls}: expected 1 to {CALLS_MAX}"
            )));
        }
        let inject = |host| {
            (0..calls)
                .map(|call| port_of(bench.at(host, PORTS_SBCD), call))
                .collect()
        };
        let timeout = hold + Duration::from_secs(u64::from(calls) / u64::from(cps) + 60);
        let spec = |scenario, local, offer, inject| Spec {
            scenario,
            label: "-rtp".to_owned(),
            local,
            offer,
            inject,
            message_log: false,
            cpus: bench.cpus_load.clone(),
            timeout,
            side_port: side_port(bench),
            special: Special::default(),
        };
        let uas = Sipp::start(&spec("uas_media", bench.platform(), None, inject(3)), bench.dir())?;
        let offer = Offer {
            to: daemon.sip,
            cps,
            calls: u32::from(calls),
            hold_ms: hold.as_millis() as u64,
        };
        let uac = Sipp::start(
            &spec("uac_media", bench.carrier(), Some(offer), inject(2)),
            bench.dir(),
        )?;
        let mut media = Self { uac, uas, calls };
        let ends =
            media.wait_established(bench, Duration::from_secs(u64::from(calls) / u64::from(cps) + 15))?;
        Ok((media, Streams::bind(&ends)?))
    }

    fn wait_established(&mut self, bench: &Bench, patience: Duration) -> Result<Vec<(End, End)>> {
        let progress = bench.progress("setting up calls", u64::from(self.calls));
        let until = Instant::now() + patience;
        loop {
            let (a, b) = (
                media_log(&self.uac.action_log(), bench.host(2).into()),
                media_log(&self.uas.action_log(), bench.host(3).into()),
            );
            progress.set_position(a.len().min(b.len()) as u64);
            if a.len() >= usize::from(self.calls) && b.len() >= usize::from(self.calls) {
                progress.finish_and_clear();
                return Ok(a
                    .iter()
                    .filter_map(|(call, end)| Some((*end, *b.get(call)?)))
                    .collect());
            }
            if Instant::now() > until || !self.uac.is_running() {
                let (uac, uas) = (self.uac.errors(), self.uas.errors());
                return Err(Error::Setup(format!(
                    "only {} of {} calls came up\n{uac}\n{uas}",
                    a.len().min(b.len()),
                    self.calls
                )));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Wait for the calls to end as planned; how many the caller's side has ok and failed.
    pub(crate) fn finish(&mut self, bench: &Bench, patience: Duration) -> (u64, u64, String) {
        let progress = bench.progress("ending calls", u64::from(self.calls));
        let until = Instant::now() + patience;
        while self.uac.is_running() && Instant::now() < until {
            if let Some(statistics) = self.uac.statistics() {
                progress.set_position(statistics.successful + statistics.failed);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        progress.finish_and_clear();
        self.uac.finish(Duration::from_secs(1));
        self.uas.finish(Duration::from_secs(5));
        let statistics = self.uac.statistics().unwrap_or_default();
        (statistics.successful, statistics.failed, self.uac.errors())
    }
}

/// Lines `media CALL OUR-PORT IP PORT` by call, our sockets being at `ip`.
fn media_log(log: &str, ip: IpAddr) -> HashMap<u32, End> {
    let complete = &log[..log.rfind('\n').map_or(0, |at| at + 1)];
    complete
        .lines()
        .filter_map(|line| {
            let mut words = line
                .split_whitespace()
                .skip_while(|word| *word != "media")
                .skip(1);
            let call = words.next()?.parse().ok()?;
            let local = SocketAddr::new(ip, words.next()?.parse().ok()?);
            let remote = SocketAddr::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some((call, End { local, remote }))
        })
        .collect()
}

/// Streams from socket to socket without anything between: the baseline.
pub(crate) fn direct(bench: &Bench, calls: u16) -> Result<Streams> {
    let ends: Vec<(End, End)> = (0..calls)
        .map(|call| {
            let (a, b) = (
                port_of(bench.at(2, PORTS_DIRECT), call),
                port_of(bench.at(3, PORTS_DIRECT), call),
            );
            (End { local: a, remote: b }, End { local: b, remote: a })
        })
        .collect();
    Streams::bind(&ends)
}

/// The bare relay as a child process.
#[derive(Debug)]
pub(crate) struct Bare {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Bare {
    /// Start it for `calls` calls on the daemon's core, with the daemon's coalescing.
    pub(crate) fn start(bench: &Bench, calls: u16) -> Result<(Self, Streams)> {
        let (listen_a, listen_b) = (bench.at(4, 20_000), bench.at(4, 40_000));
        let (peer_a, peer_b) = (bench.at(2, PORTS_BARE), bench.at(3, PORTS_BARE));
        let own = std::env::current_exe().map_err(|source| Error::Io {
            what: "finding our own executable".into(),
            source,
        })?;
        let mut command = Command::new(own);
        command.args([
            "--coalesce-us",
            &bench.options.coalesce_us.to_string(),
            "bare-relay",
            "--calls",
            &calls.to_string(),
        ]);
        for (name, at) in [
            ("--listen-a", listen_a),
            ("--listen-b", listen_b),
            ("--peer-a", peer_a),
            ("--peer-b", peer_b),
        ] {
            command.args([name, &at.to_string()]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        on_cpus(&mut command, &cores(bench));
        let mut child = command.spawn().map_err(|source| Error::Io {
            what: "starting the bare relay".into(),
            source,
        })?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Process("the bare relay has no pipes".into()));
        };
        let mut bare = Self {
            child,
            input,
            output: BufReader::new(output),
        };
        // An answer means that its sockets are bound.
        bare.counters()?;
        let ends: Vec<(End, End)> = (0..calls)
            .map(|call| {
                let end = |local, remote| End {
                    local: port_of(local, call),
                    remote: port_of(remote, call),
                };
                (end(peer_a, listen_a), end(peer_b, listen_b))
            })
            .collect();
        Ok((bare, Streams::bind(&ends)?))
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has done so far.
    pub(crate) fn counters(&mut self) -> Result<BareCounters> {
        let io = |source| Error::Io {
            what: "asking the bare relay".into(),
            source,
        };
        self.input.write_all(b"\n").map_err(io)?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(io)?;
        serde_json::from_str(&line)
            .map_err(|error| Error::Process(format!("the bare relay's answer {line:?}: {error}")))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        ended_within(&mut self.child, Duration::from_secs(2));
    }
}

/// Start rtpengine with `calls` calls on the daemon's core.
pub(crate) fn rtpengine(bench: &Bench, calls: u16) -> Result<(Rtpengine, Streams)> {
    let mut engine = Rtpengine::start(
        bench.host(5).into(),
        (20_000, 59_999),
        bench.options.base_port + 20,
        &cores(bench),
        bench.dir(),
    )?;
    let mut ends = Vec::new();
    for call in 0..calls {
        let (a, b) = (
            port_of(bench.at(2, PORTS_RTPENGINE), call),
            port_of(bench.at(3, PORTS_RTPENGINE), call),
        );
        ends.push(engine.call(usize::from(call), a, b)?);
    }
    Ok((engine, Streams::bind(&ends)?))
}

fn cores(bench: &Bench) -> Vec<usize> {
    bench.cpus_sbc.iter().map(|cpu| usize::from(*cpu)).collect()
}
