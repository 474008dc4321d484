//! RTP paths to compare: through sbcd with calls set up by SIPp, through the bare relay, through
//! rtpengine, and none at all.

use crate::{
    Error, Result,
    bare_relay::{BareCounters, port_of},
    bench::Bench,
    calls::side_port,
    rtp::{
        End, Streams,
        packet::{Conversion, Headers},
    },
    rtpengine::{Rtpengine, Spoken},
    sbcd::{Daemon, Setup, ended_within, on_cpus},
    shape::{self, Keys, Shape, Side},
    sipp::{self, Offer, Sipp, Spec, Special},
};
use sbc_media::srtp::MasterKey;
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

/// Most calls: each path has a block of ports on the load's addresses.
pub(crate) const CALLS_MAX: u16 = 4900;
/// First port of the load's sockets for each path.
pub(crate) const PORTS_SBCD: u16 = 20_000;
const PORTS_BARE: u16 = 30_000;
const PORTS_RTPENGINE: u16 = 40_000;
const PORTS_DIRECT: u16 = 50_000;

/// SIPp on both sides, holding calls with media.
#[derive(Debug)]
pub(crate) struct MediaCalls {
    uac: Sipp,
    uas: Sipp,
    calls: u16,
}

/// How many calls, how fast, and how long after their answer they end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    /// Calls.
    pub(crate) calls: u16,
    /// Calls a second.
    pub(crate) cps: u32,
    /// From answer to BYE.
    pub(crate) hold: Duration,
}

/// A side of all calls: how it speaks, and where and with which key in each.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    /// How it speaks.
    pub(crate) side: Side,
    /// Address and key of each call.
    pub(crate) audio: Vec<(SocketAddr, Option<MasterKey>)>,
}

impl Party {
    /// One whose sockets are `calls` ports from `first` on.
    pub(crate) fn new(side: Side, first: SocketAddr, calls: u16) -> Self {
        let audio = (0..calls)
            .map(|call| {
                let at = port_of(first, call);
                (at, own_key(side, at))
            })
            .collect();
        Self { side, audio }
    }

    /// Fields for SIPp.
    fn inject(&self) -> Vec<String> {
        let line = |(at, key): &(SocketAddr, Option<MasterKey>)| {
            let key = key.as_ref().map_or_else(String::new, shape::inline);
            format!("{};{};{key};", at.ip(), at.port())
        };
        self.audio.iter().map(line).collect()
    }

    /// Where the SBC wants this side's packets of each call, and with which key it sends: by the number that the
    /// caller's side gives a call. `None` in a line that is not as the scenario writes it.
    fn told(&self, log: &str) -> HashMap<u32, Told> {
        let complete = &log[..log.rfind('\n').map_or(0, |at| at + 1)];
        let ports = self.audio.iter().map(|(at, _)| at.port());
        let indices: HashMap<u16, usize> = ports.zip(0..).collect();
        let line = |line: &str| {
            let mut words = line
                .split_whitespace()
                .skip_while(|word| *word != "media")
                .skip(1);
            let call = words.next()?.parse().ok()?;
            let port: u16 = words.next()?.parse().ok()?;
            let sbc = SocketAddr::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            let key = match self.side.suite {
                Some(suite) => Some(shape::key_of(suite, words.next()?).ok()?),
                None => None,
            };
            let index = *indices.get(&port)?;
            Some((call, Told { index, sbc, key }))
        };
        complete.lines().filter_map(line).collect()
    }

    /// This side's end of the call of which it was told that.
    pub(crate) fn end(&self, told: &Told) -> End {
        let (local, ours) = &self.audio[told.index];
        let keys = ours.clone().zip(told.key.clone());
        End {
            local: *local,
            remote: told.sbc,
            law: self.side.law,
            ptime_ms: self.side.ptime_ms,
            keys: keys.map(|(ours, theirs)| Keys { ours, theirs }),
        }
    }
}

/// What the SBC tells a side about a call.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// Which of the side's sockets the call has.
    pub(crate) index: usize,
    /// Where the SBC wants its packets.
    pub(crate) sbc: SocketAddr,
    /// What the SBC sends with.
    pub(crate) key: Option<MasterKey>,
}

/// The key of the side's socket `at`.
fn own_key(side: Side, at: SocketAddr) -> Option<MasterKey> {
    let seed = match at {
        SocketAddr::V4(at) => u64::from(at.ip().to_bits()) << 16 | u64::from(at.port()),
        SocketAddr::V6(at) => at.port().into(),
    };
    side.key(seed)
}

/// What sbcd must be told for calls of this shape.
pub(crate) fn setup(bench: &Bench, sides: [Side; 2]) -> Setup {
    let mut setup = bench.setup();
    let codecs = sides[0].law != sides[1].law;
    setup.trunks = sides.map(|side| side.trunk_toml(codecs));
    setup
}

impl MediaCalls {
    /// Set up calls of this shape through `daemon`; their ends with its addresses filled in.
    pub(crate) fn establish(
        bench: &Bench,
        daemon: &Daemon,
        shape: Shape,
        hold: Hold,
    ) -> Result<(Self, Vec<(End, End)>)> {
        if hold.calls == 0 || hold.calls > CALLS_MAX {
            return Err(Error::Setup(format!(
                "--calls {}: expected 1 to {CALLS_MAX}",
                hold.calls
            )));
        }
        let [a, b] = shape.sides();
        let parties =
            [(a, 2), (b, 3)].map(|(side, host)| Party::new(side, bench.at(host, PORTS_SBCD), hold.calls));
        let (calls, told) = Self::between(bench, daemon, &parties, hold)?;
        let ends = told
            .iter()
            .map(|[a, b]| (parties[0].end(a), parties[1].end(b)))
            .collect();
        Ok((calls, ends))
    }

    /// Set up calls between two parties through `daemon`: what it told each of every call.
    pub(crate) fn between(
        bench: &Bench,
        daemon: &Daemon,
        parties: &[Party; 2],
        hold: Hold,
    ) -> Result<(Self, Vec<[Told; 2]>)> {
        let Hold { calls, cps, hold } = hold;
        let set_up = Duration::from_secs(u64::from(calls) / u64::from(cps) + 60);
        let spec = |scenario, local, offer, party: &Party| Spec {
            scenario,
            label: "-rtp".to_owned(),
            local,
            offer,
            inject: party.inject(),
            message_log: false,
            cpus: bench.cpus_load.clone(),
            timeout: hold + set_up,
            side_port: side_port(bench),
            special: Special {
                script: Some(party.side.scenario(sipp::built_in(scenario))),
                ..Special::default()
            },
        };
        let uas = Sipp::start(
            &spec("uas_media", bench.platform(), None, &parties[1]),
            bench.dir(),
        )?;
        let offer = Offer {
            to: daemon.sip,
            cps,
            calls: u32::from(calls),
            hold_ms: hold.as_millis() as u64,
        };
        let uac = Sipp::start(
            &spec("uac_media", bench.carrier(), Some(offer), &parties[0]),
            bench.dir(),
        )?;
        let mut media = Self { uac, uas, calls };
        let told = media.wait_established(bench, parties, set_up)?;
        Ok((media, told))
    }

    fn wait_established(
        &mut self,
        bench: &Bench,
        parties: &[Party; 2],
        patience: Duration,
    ) -> Result<Vec<[Told; 2]>> {
        let progress = bench.progress("setting up calls", u64::from(self.calls));
        let until = Instant::now() + patience;
        loop {
            let (a, b) = (
                parties[0].told(&self.uac.action_log()),
                parties[1].told(&self.uas.action_log()),
            );
            progress.set_position(a.len().min(b.len()) as u64);
            if a.len() >= usize::from(self.calls) && b.len() >= usize::from(self.calls) {
                progress.finish_and_clear();
                return Ok(a
                    .iter()
                    .filter_map(|(call, a)| Some([a.clone(), b.get(call)?.clone()]))
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

/// Streams from socket to socket without anything between: the baseline.
pub(crate) fn direct(bench: &Bench, calls: u16) -> Result<Streams> {
    // Plain for every shape: without anything between, a call has no two sides.
    let ends: Vec<(End, End)> = (0..calls)
        .map(|call| {
            let (a, b) = (
                port_of(bench.at(2, PORTS_DIRECT), call),
                port_of(bench.at(3, PORTS_DIRECT), call),
            );
            (End::plain(a, b), End::plain(b, a))
        })
        .collect();
    Streams::bind(&ends, Conversion::Tables, Headers::Kept)
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
                let end = |local, remote| End::plain(port_of(local, call), port_of(remote, call));
                (end(peer_a, listen_a), end(peer_b, listen_b))
            })
            .collect();
        Ok((bare, Streams::bind(&ends, Conversion::Tables, Headers::Kept)?))
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

/// Start rtpengine with `calls` calls of this shape on the daemon's core.
pub(crate) fn rtpengine(bench: &Bench, shape: Shape, calls: u16) -> Result<(Rtpengine, Streams)> {
    let mut engine = start_rtpengine(bench)?;
    let sides = shape.sides();
    let mut ends = Vec::new();
    for call in 0..calls {
        let at = [2, 3].map(|host| port_of(bench.at(host, PORTS_RTPENGINE), call));
        let keys = [0, 1].map(|n| own_key(sides[n], at[n]));
        let spoken = |n: usize, tag| Spoken {
            at: at[n],
            tag,
            key: keys[n].clone(),
        };
        let towards_b = engine.offer(usize::from(call), sides, &spoken(0, 1))?;
        let towards_a = engine.answer(usize::from(call), sides, &spoken(1, towards_b.tag))?;
        let end = |n: usize, remote, theirs: Option<MasterKey>| End {
            local: at[n],
            remote,
            law: sides[n].law,
            ptime_ms: sides[n].ptime_ms,
            keys: keys[n]
                .clone()
                .zip(theirs)
                .map(|(ours, theirs)| Keys { ours, theirs }),
        };
        ends.push((
            end(0, towards_a.at, towards_a.key),
            end(1, towards_b.at, towards_b.key),
        ));
    }
    Ok((engine, Streams::bind(&ends, Conversion::Linear, Headers::Kept)?))
}

/// Start rtpengine on the daemon's core.
pub(crate) fn start_rtpengine(bench: &Bench) -> Result<Rtpengine> {
    Rtpengine::start(
        bench.host(5).into(),
        (20_000, 59_999),
        bench.options.base_port + 20,
        &cores(bench),
        bench.dir(),
    )
}

fn cores(bench: &Bench) -> Vec<usize> {
    bench.cpus_sbc.iter().map(|cpu| usize::from(*cpu)).collect()
}
