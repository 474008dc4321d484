//! A load of calls: SIPp on both sides of the SBC, watched from start to end.

use crate::{
    Result,
    bench::Bench,
    flows::wire::Transport,
    measure::{CpuTimes, Drops, Memory},
    report::{Report, micros, round},
    sbcd::Daemon,
    sipp::{self, Offer, Sipp, Spec, Special, Statistics},
    tls::{Bridge, Certificates, Span},
};
use hdrhistogram::Histogram;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

/// What to offer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallLoad {
    /// Calls a second.
    pub(crate) cps: u32,
    /// Calls in all.
    pub(crate) calls: u32,
    /// Milliseconds from answer to BYE.
    pub(crate) hold_ms: u64,
    /// SIPp scenarios of caller and callee.
    pub(crate) scenarios: (&'static str, &'static str),
    /// Log every message: exact set-up times, some load on SIPp.
    pub(crate) message_log: bool,
    /// What caller and callee speak.
    pub(crate) over: Over,
}

/// What the two sides of a load of calls speak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    /// The caller.
    pub(crate) caller: Transport,
    /// The callee.
    pub(crate) callee: Transport,
    /// Whether the caller opens a connection for each call.
    pub(crate) connection_per_call: bool,
}

impl Over {
    /// Datagrams on both sides.
    pub(crate) const UDP: Self = Self::both(Transport::Udp);

    /// The same on both sides, and one connection.
    pub(crate) const fn both(transport: Transport) -> Self {
        Self {
            caller: transport,
            callee: transport,
            connection_per_call: false,
        }
    }

    /// The built-in scenario `name` as a party at `own` must play it that speaks `transport` with
    /// the SBC at `sbc`. Behind a TLS bridge SIPp itself knows neither.
    fn script(name: &str, transport: Transport, own: SocketAddr, sbc: SocketAddr) -> Option<String> {
        let param = match transport {
            Transport::Udp => return None,
            other => format!(";transport={}", other.name()),
        };
        let text = sipp::built_in(name)
            .replace("[transport]", transport.via())
            .replace("[remote_ip]:[remote_port]", &sbc.to_string())
            .replace("[local_ip]:[local_port]", &own.to_string());
        let own_uri = format!("{own}>");
        let lines = text
            .lines()
            .map(|line| match line.trim_start().starts_with("Contact:") {
                true => line.replace(&own_uri, &format!("{own}{param}>")),
                false => line.to_owned(),
            });
        Some(lines.collect::<Vec<_>>().join("\n"))
    }

    /// SIPp's mode and script for the caller.
    fn caller(self, bench: &Bench, name: &str) -> Special {
        let mode = match (self.caller, self.connection_per_call) {
            (Transport::Udp, _) => None,
            (_, false) => Some("t1"),
            (_, true) => Some("tn"),
        };
        let own = bench.party(2, self.caller);
        Special {
            transport: mode,
            script: Self::script(name, self.caller, own, bench.party(1, self.caller)),
            ..Special::default()
        }
    }

    /// SIPp's mode and script for the callee.
    fn callee(self, bench: &Bench, name: &str) -> Special {
        let own = bench.party(3, self.callee);
        Special {
            transport: self.callee.sipp(),
            script: Self::script(name, self.callee, own, bench.party(1, self.callee)),
            ..Special::default()
        }
    }

    /// The bridges that do TLS for SIPp.
    pub(crate) fn bridges(self, bench: &Bench, certificates: Option<&Certificates>) -> Result<Vec<Bridge>> {
        let mut bridges = Vec::new();
        let Some(certificates) = certificates else {
            return Ok(bridges);
        };
        for (host, transport) in [(2, self.caller), (3, self.callee)] {
            if transport == Transport::Tls {
                let span = Span {
                    way_out: bench.at(host, bench.options.base_port + WAY_OUT),
                    sbc: bench.party(1, Transport::Tls),
                    way_in: bench.party(host, Transport::Tls),
                    sipp: bench.at(host, bench.options.base_port),
                };
                bridges.push(Bridge::start(certificates, span)?);
            }
        }
        Ok(bridges)
    }

    /// Where the caller's SIPp sends its calls.
    fn next_hop(self, bench: &Bench, daemon: &Daemon) -> SocketAddr {
        match self.caller {
            Transport::Udp => daemon.sip,
            Transport::Tcp => bench.party(1, Transport::Tcp),
            Transport::Tls => bench.at(2, bench.options.base_port + WAY_OUT),
        }
    }
}

/// Distance of the port where SIPp's calls are put under TLS.
const WAY_OUT: u16 = 2;

/// What came of it.
#[derive(Debug)]
pub(crate) struct CallOutcome {
    /// The caller's counts.
    pub(crate) uac: Statistics,
    /// The callee's counts.
    pub(crate) uas: Statistics,
    /// Nanoseconds from INVITE to 200.
    pub(crate) setup: Histogram<u64>,
    /// From the first call to the end of the last.
    pub(crate) elapsed: Duration,
    /// CPU nanoseconds of the daemon by thread.
    pub(crate) cpu: Vec<(String, u64)>,
    /// Memory of the daemon when it was most, and at the end.
    pub(crate) memory: (Memory, Memory),
    /// Datagrams the kernel threw away.
    pub(crate) drops: Drops,
    /// The caller's message log.
    pub(crate) uac_log: String,
    /// The callee's message log.
    pub(crate) uas_log: String,
    /// First errors of either side.
    pub(crate) errors: String,
}

impl CallOutcome {
    /// CPU nanoseconds of the daemon.
    pub(crate) fn cpu_ns(&self) -> u64 {
        self.cpu.iter().map(|(_, ns)| ns).sum()
    }

    /// Messages that SIPp sent again, both sides.
    pub(crate) fn retransmissions(&self) -> u64 {
        self.uac.retransmissions + self.uas.retransmissions
    }
}

/// How long SIPp may take for `load`, with room for what goes wrong.
pub(crate) fn time_for(load: &CallLoad) -> Duration {
    Duration::from_millis(u64::from(load.calls) * 1000 / u64::from(load.cps.max(1)) + load.hold_ms)
        + Duration::from_secs(45)
}

/// Start the answering side.
pub(crate) fn start_uas(bench: &Bench, load: &CallLoad, label: &str, timeout: Duration) -> Result<Sipp> {
    let spec = Spec {
        scenario: load.scenarios.1,
        label: label.to_owned(),
        local: bench.platform(),
        offer: None,
        inject: Vec::new(),
        message_log: load.message_log,
        cpus: bench.cpus_load.clone(),
        timeout: timeout + Duration::from_secs(30),
        side_port: side_port(bench),
        special: load.over.callee(bench, load.scenarios.1),
    };
    Sipp::start(&spec, bench.dir())
}

/// Ports that SIPp opens whether it needs them or not, out of the way of the RTP load.
pub(crate) fn side_port(bench: &Bench) -> u16 {
    bench.options.base_port + 10
}

/// Place `load` through `daemon`. `tick` is called about every 200 ms with the time since the
/// start.
pub(crate) fn run(
    bench: &Bench,
    daemon: &Daemon,
    load: CallLoad,
    label: &str,
    mut tick: impl FnMut(Duration) -> Result<()>,
) -> Result<CallOutcome> {
    let timeout = time_for(&load);
    let mut uas = start_uas(bench, &load, label, timeout)?;
    let drops = Drops::read(bench.options.net);
    let cpu = daemon.cpu()?;
    let mut memory_most = daemon.memory()?;
    let started = Instant::now();
    let spec = Spec {
        scenario: load.scenarios.0,
        label: label.to_owned(),
        local: bench.carrier(),
        offer: Some(Offer {
            to: load.over.next_hop(bench, daemon),
            cps: load.cps,
            calls: load.calls,
            hold_ms: load.hold_ms,
        }),
        inject: Vec::new(),
        message_log: load.message_log,
        cpus: bench.cpus_load.clone(),
        timeout,
        side_port: side_port(bench),
        special: load.over.caller(bench, load.scenarios.0),
    };
    let mut uac = Sipp::start(&spec, bench.dir())?;
    let progress = bench.progress("calls", u64::from(load.calls));
    while uac.is_running() {
        std::thread::sleep(Duration::from_millis(200));
        if let Some(statistics) = uac.statistics() {
            progress.set_position(statistics.successful + statistics.failed);
        }
        let memory = daemon.memory()?;
        if memory.rss_kb > memory_most.rss_kb {
            memory_most = memory;
        }
        tick(started.elapsed())?;
    }
    let elapsed = started.elapsed();
    uas.finish(Duration::from_secs(5));
    progress.finish_and_clear();
    let after: CpuTimes = daemon.cpu()?;
    let uac_log = uac.message_log();
    let mut setup = crate::rtp::delays();
    let times = if load.message_log {
        sipp::setup_times_ns(&uac_log)
    } else {
        uac.response_times_ms()
            .into_iter()
            .map(|ms| (ms * 1e6) as u64)
            .collect()
    };
    times
        .into_iter()
        .for_each(|ns| setup.saturating_record(ns.max(1)));
    Ok(CallOutcome {
        uac: uac.statistics().unwrap_or_default(),
        uas: uas.statistics().unwrap_or_default(),
        setup,
        elapsed,
        cpu: after.by_thread_since(&cpu),
        memory: (memory_most, daemon.memory()?),
        drops: Drops::read(bench.options.net).since(&drops),
        uas_log: uas.message_log(),
        uac_log,
        errors: [uac.errors(), uas.errors()].join("\n").trim().to_owned(),
    })
}

/// Figures of a load of calls, and the gates that hold for every one.
pub(crate) fn report(report: &mut Report, load: &CallLoad, outcome: &CallOutcome) {
    let calls = u64::from(load.calls);
    report.figure("calls", "tried", outcome.uac.created);
    report.figure("calls", "ok", outcome.uac.successful);
    report.figure("calls", "failed", outcome.uac.failed);
    report.figure("calls", "callee_failed", outcome.uas.failed);
    report.figure("calls", "retransmissions_uac", outcome.uac.retransmissions);
    report.figure("calls", "retransmissions_uas", outcome.uas.retransmissions);
    report.figure("calls", "offered_cps", load.cps);
    report.figure("calls", "elapsed_s", round(outcome.elapsed.as_secs_f64(), 2));
    report.delay("set-up delay", &outcome.setup);
    cost(report, outcome, calls);
    report.drops("kernel drops", &outcome.drops);
    report.gate(
        "every call succeeds",
        outcome.uac.successful == calls && outcome.uac.failed == 0,
        format!(
            "{} of {calls} ok, {} failed{}",
            outcome.uac.successful,
            outcome.uac.failed,
            indent(&outcome.errors)
        ),
    );
}

/// What the daemon used.
pub(crate) fn cost(report: &mut Report, outcome: &CallOutcome, calls: u64) {
    report.figure(
        "daemon",
        "cpu_per_call_us",
        micros(outcome.cpu_ns() / calls.max(1)),
    );
    report.figure(
        "daemon",
        "cpu_percent",
        round(
            100.0 * outcome.cpu_ns() as f64 / outcome.elapsed.as_nanos() as f64,
            1,
        ),
    );
    for (thread, ns) in &outcome.cpu {
        report.figure(
            "daemon",
            &format!("cpu_per_call_us_of_{thread}"),
            micros(ns / calls.max(1)),
        );
    }
    report.memory("daemon memory at most", &outcome.memory.0);
    report.memory("daemon memory after", &outcome.memory.1);
}

fn indent(text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("\n     {}", text.replace('\n', "\n     "))
    }
}

/// Wait until the daemon holds nothing any more, and say what is left and how calls were spread.
pub(crate) fn report_leftovers(
    bench: &Bench,
    report: &mut Report,
    daemon: &Daemon,
    patience: Duration,
) -> Result<()> {
    let progress = bench.progress("waiting for quiet", patience.as_secs());
    let started = Instant::now();
    let stats = daemon.wait_quiet(patience, |_| progress.set_position(started.elapsed().as_secs()))?;
    progress.finish_and_clear();
    for (name, value) in &stats.gauges {
        report.figure("left", name, *value);
    }
    report.figure("left", "quiet_after_s", round(started.elapsed().as_secs_f64(), 1));
    let left = stats.left();
    report.gate(
        "nothing is left",
        left.is_empty(),
        if left.is_empty() {
            "all gauges are 0".to_owned()
        } else {
            format!("{left:?}")
        },
    );
    let errors = stats.counter("internal_errors");
    report.gate("no internal errors", errors == 0, errors.to_string());
    let counters: BTreeMap<_, _> = stats.counters.iter().filter(|(_, value)| **value != 0).collect();
    for (name, value) in counters {
        report.figure("daemon counters", name, *value);
    }
    Ok(())
}

/// Calls admitted per shard, and how far the shard farthest from an even share is from it, in
/// percent.
pub(crate) fn shard_balance(daemon: &Daemon) -> Result<(Vec<u64>, f64)> {
    let stats = daemon.admin.stats()?;
    let calls: Vec<u64> = stats
        .shards
        .iter()
        .map(|shard| shard.get("calls_admitted").copied().unwrap_or(0))
        .collect();
    let even = calls.iter().sum::<u64>() as f64 / calls.len().max(1) as f64;
    let worst = calls
        .iter()
        .map(|calls| (*calls as f64 - even).abs())
        .fold(0.0, f64::max);
    Ok((calls, round(100.0 * worst / even.max(1.0), 2)))
}
