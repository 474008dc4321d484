//! Simultaneous calls with RTP both ways: is every packet there, how late, and what does one
//! cost beside the bare relay and rtpengine under the same load, in alternating windows?

use super::climb;
use crate::{
    Error, Result,
    bench::Bench,
    calls,
    measure::{CpuTimes, Drops, monotonic_ns, pin},
    media::{self, Bare, Hold, MediaCalls},
    report::{Report, micros, round},
    rtp::{
        Counts, Edge, PACKETS_PER_SECOND, Plan, RtpLoad, Streams, delays,
        packet::{Conversion, Headers},
    },
    sbcd::Daemon,
    shape::Shape,
};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use std::time::Duration;

/// What to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Against {
    /// The least a raw-ring relay must do.
    Bare,
    /// rtpengine in user space.
    Rtpengine,
}

/// Options of `media`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Media {
    /// Simultaneous calls, 100 packets a second each.
    #[arg(long, default_value_t = 500)]
    pub(crate) calls: u16,
    /// Seconds measured in each window.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Windows for each contender, taken in turn.
    #[arg(long, default_value_t = 2)]
    pub(crate) windows: u32,
    /// What has to be done with the audio between the sides of a call.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) shape: Shape,
    /// Compare with this, or several (the bare relay: plain only).
    #[arg(long, value_delimiter = ',')]
    pub(crate) against: Vec<Against>,
    /// Leave sbcd out: compare the yardsticks alone.
    #[arg(long, requires = "against")]
    pub(crate) without_sbcd: bool,
    /// Calls a second while setting up.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) setup_cps: u32,
    /// Shortest sleep of the source between batches, in microseconds.
    #[arg(long, default_value_t = 50)]
    pub(crate) tick_us: u64,
    /// Then look for the most calls that each one carries, up to --calls: choose so many that none carries them,
    /// and --windows 0.
    #[arg(long)]
    pub(crate) climb: bool,
    /// Fail when the median delay added is above this.
    #[arg(long)]
    pub(crate) added_p50_us: Option<f64>,
    /// Fail when a packet costs more than this times the bare relay's.
    #[arg(long)]
    pub(crate) ratio_bare: Option<f64>,
    /// Fail when a packet costs more than this times rtpengine's.
    #[arg(long)]
    pub(crate) ratio_rtpengine: Option<f64>,
}

/// A relay under the load.
pub(super) struct Contender<'a> {
    pub(super) name: &'static str,
    pub(super) streams: Streams,
    pub(super) pid: Option<u32>,
    enters: Box<dyn FnMut() -> Option<u64> + 'a>,
    counts: Counts,
    delay: Histogram<u64>,
    cpu_ns: Vec<u64>,
    by_thread: Vec<(String, u64)>,
    elapsed_ns: u64,
    packets: u64,
    system_calls: Option<u64>,
    behind_ns_max: u64,
}

impl<'a> Contender<'a> {
    fn new(
        name: &'static str,
        streams: Streams,
        pid: Option<u32>,
        enters: impl FnMut() -> Option<u64> + 'a,
    ) -> Self {
        Self {
            name,
            streams,
            pid,
            enters: Box::new(enters),
            counts: Counts::default(),
            delay: delays(),
            cpu_ns: Vec::new(),
            by_thread: Vec::new(),
            elapsed_ns: 0,
            packets: 0,
            system_calls: None,
            behind_ns_max: 0,
        }
    }

    fn window(&mut self, load: &mut RtpLoad, plan: Plan, mut progress: impl FnMut(f64)) -> Result<()> {
        let pid = self.pid;
        let cpu = || pid.map_or_else(|| Ok(CpuTimes::default()), CpuTimes::of);
        let (mut start, mut end) = (None, None);
        let enters = &mut self.enters;
        let window = load.run(&mut self.streams, plan, |edge| match edge {
            Edge::Start => start = Some((enters(), cpu(), monotonic_ns())),
            Edge::End => end = Some((enters(), cpu(), monotonic_ns())),
            Edge::Progress(fraction) => progress(fraction),
        })?;
        let (Some((enters_before, cpu_before, from)), Some((enters_after, cpu_after, to))) = (start, end)
        else {
            return Err(Error::Setup("the window had no measured part".into()));
        };
        let (cpu_before, cpu_after) = (cpu_before?, cpu_after?);
        self.cpu_ns.push(cpu_after.since_ns(&cpu_before));
        self.by_thread = cpu_after.by_thread_since(&cpu_before);
        if let (Some(before), Some(after)) = (enters_before, enters_after) {
            *self.system_calls.get_or_insert(0) += after.saturating_sub(before);
        }
        self.packets += self.streams.len() as u64 * PACKETS_PER_SECOND * plan.measured.as_secs();
        self.elapsed_ns += to - from;
        self.counts.add(&window.counts);
        self.behind_ns_max = self.behind_ns_max.max(window.behind_ns_max);
        // Both histograms have the same bounds.
        let _ = self.delay.add(&window.delay);
        Ok(())
    }

    fn ns_per_packet(&self) -> f64 {
        self.cpu_ns.iter().sum::<u64>() as f64 / self.packets.max(1) as f64
    }

    fn report(&self, report: &mut Report) {
        report.packets(&format!("{}: packets", self.name), &self.counts);
        report.delay(&format!("{}: one-way delay", self.name), &self.delay);
        let group = format!("{}: cost", self.name);
        report.figure(&group, "source_behind_max_us", micros(self.behind_ns_max));
        if self.pid.is_none() {
            return;
        }
        report.figure(&group, "cpu_per_packet_ns", round(self.ns_per_packet(), 0));
        let each = self.packets as f64 / self.cpu_ns.len().max(1) as f64;
        let windows: Vec<String> = self
            .cpu_ns
            .iter()
            .map(|ns| format!("{:.0}", *ns as f64 / each))
            .collect();
        report.figure(&group, "cpu_per_packet_ns_by_window", windows.join(" / "));
        report.figure(
            &group,
            "cpu_percent",
            round(
                100.0 * self.cpu_ns.iter().sum::<u64>() as f64 / self.elapsed_ns.max(1) as f64,
                1,
            ),
        );
        for (thread, ns) in &self.by_thread {
            report.figure(
                &group,
                &format!("cpu_per_packet_ns_of_{thread}"),
                round(*ns as f64 / each, 0),
            );
        }
        if let Some(calls) = self.system_calls {
            report.figure(
                &group,
                "system_calls_per_packet",
                round(calls as f64 / self.packets.max(1) as f64, 4),
            );
        }
    }
}

impl Media {
    /// Run it with a daemon of its own.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        if self.without_sbcd {
            return self.measure(bench, None);
        }
        let daemon = bench.daemon(&media::setup(bench, self.shape.sides()))?;
        self.run_with(bench, &daemon)
    }

    /// Run it through `daemon`.
    pub(crate) fn run_with(&self, bench: &Bench, daemon: &Daemon) -> Result<Report> {
        let mut report = self.measure(bench, Some(daemon))?;
        calls::report_leftovers(bench, &mut report, daemon, Duration::from_secs(40))?;
        Ok(report)
    }

    fn plan(&self) -> Plan {
        Plan {
            warm_up: Duration::from_secs(1),
            measured: Duration::from_secs(self.seconds),
            tick: Duration::from_micros(self.tick_us),
        }
    }

    /// All windows, with room for their edges.
    fn duration(&self) -> Duration {
        let window = self.plan().warm_up + self.plan().measured + Duration::from_secs(1);
        // sbcd climbs first: its calls may end while the others do.
        let climb = if self.climb {
            climb::DURATION_MAX
        } else {
            Duration::ZERO
        };
        window * (self.windows * (2 + self.against.len() as u32)) + climb
    }

    fn measure(&self, bench: &Bench, daemon: Option<&Daemon>) -> Result<Report> {
        let mut report = Report::new(&format!("media {}", self.shape.name()));
        let drops = Drops::read(bench.options.net);
        let set_up = Duration::from_secs_f64(f64::from(self.calls) / f64::from(self.setup_cps));
        let hold = set_up + self.duration() + Duration::from_secs(3);
        let mut contenders = vec![Contender::new(
            "direct",
            media::direct(bench, self.calls)?,
            None,
            || None,
        )];
        if self.shape != Shape::Plain && self.against.contains(&Against::Bare) {
            return Err(Error::Setup(format!(
                "--against bare with --shape {}: the bare relay only passes packets on",
                self.shape.name()
            )));
        }
        if self.shape == Shape::Ptime && (self.climb || self.against.contains(&Against::Rtpengine)) {
            return Err(Error::Setup(
                "--shape ptime: what is joined waits for up to 40 ms, so leave --climb and --against out"
                    .into(),
            ));
        }
        let compares = [self.added_p50_us, self.ratio_bare, self.ratio_rtpengine];
        if self.windows == 0 && (!self.climb || compares.iter().any(Option::is_some)) {
            return Err(Error::Setup(
                "--windows 0: expected at least 1, or --climb and nothing to compare".into(),
            ));
        }
        let (mut bare, mut engine) = (None, None);
        for against in &self.against {
            match against {
                Against::Bare if bare.is_none() => bare = Some(Bare::start(bench, self.calls)?),
                Against::Rtpengine if engine.is_none() => {
                    engine = Some(media::rtpengine(bench, self.shape, self.calls)?);
                }
                Against::Bare | Against::Rtpengine => {}
            }
        }
        let mut relay;
        if let Some((process, streams)) = bare {
            relay = process;
            let pid = relay.pid();
            contenders.push(Contender::new("bare", streams, Some(pid), move || {
                relay.counters().ok().map(|counters| counters.enters)
            }));
        }
        if let Some((process, streams)) = engine {
            let pid = process.pid();
            contenders.push(Contender::new("rtpengine", streams, Some(pid), move || {
                let _running = &process;
                None
            }));
        }
        let mut sipp = None;
        if let Some(daemon) = daemon {
            let held = Hold {
                calls: self.calls,
                cps: self.setup_cps,
                hold,
            };
            let (held, ends) = MediaCalls::establish(bench, daemon, self.shape, held)?;
            let streams = Streams::bind(&ends, Conversion::Tables, Headers::Kept)?;
            sipp = Some(held);
            let enters = || daemon.admin.stats().ok()?.counters.get("io_syscalls").copied();
            contenders.insert(1, Contender::new("sbcd", streams, Some(daemon.pid), enters));
        }
        let mut load = self.load(bench, &mut contenders)?;
        if let Some(daemon) = daemon {
            report.memory("daemon memory", &daemon.memory()?);
        }
        for contender in &contenders {
            contender.report(&mut report);
        }
        self.compare(&mut report, &contenders);
        if self.climb {
            contenders.sort_by_key(|contender| contender.name != "sbcd");
            climb::run(bench, &mut load, &mut contenders, self.plan(), &mut report)?;
        }
        drop(contenders);
        if let Some(mut held) = sipp {
            let (ok, failed, errors) = held.finish(bench, hold + Duration::from_secs(10));
            report.figure("calls", "ok", ok);
            report.figure("calls", "failed", failed);
            report.gate(
                "every call succeeds",
                ok == u64::from(self.calls) && failed == 0,
                format!("{ok} of {} ok {errors}", self.calls),
            );
        }
        let drops = Drops::read(bench.options.net).since(&drops);
        report.drops("kernel drops", &drops);
        Ok(report)
    }

    /// Take the windows in turn, on the load's core.
    fn load(&self, bench: &Bench, contenders: &mut [Contender<'_>]) -> Result<RtpLoad> {
        let progress = bench.progress(
            "RTP windows",
            u64::from(self.windows) * contenders.len() as u64 * 100,
        );
        if !bench.cpus_load.is_empty() {
            pin(&bench.cpus_load).map_err(|source| Error::Io {
                what: "pinning the RTP load".into(),
                source,
            })?;
        }
        let mut load = match self.shape {
            Shape::Ptime => RtpLoad::joining()?,
            _ => RtpLoad::new()?,
        };
        for window in 0..self.windows as usize {
            let count = contenders.len();
            for (index, contender) in contenders.iter_mut().enumerate() {
                let done = ((window * count + index) * 100) as u64;
                contender.window(&mut load, self.plan(), |fraction| {
                    progress.set_position(done + (fraction * 100.0) as u64)
                })?;
            }
        }
        progress.finish_and_clear();
        Ok(load)
    }

    fn compare(&self, report: &mut Report, contenders: &[Contender<'_>]) {
        let named = |name: &str| contenders.iter().find(|contender| contender.name == name);
        let Some(direct) = named("direct") else { return };
        for contender in contenders.iter().filter(|contender| contender.pid.is_some()) {
            let group = format!("{}: added one-way delay", contender.name);
            for (name, quantile) in [
                ("p50_us", 0.5),
                ("p99_us", 0.99),
                ("p999_us", 0.999),
                ("max_us", 1.0),
            ] {
                let at = |histogram: &Histogram<u64>| histogram.value_at_quantile(quantile);
                report.figure(
                    &group,
                    name,
                    micros(at(&contender.delay).saturating_sub(at(&direct.delay))),
                );
            }
        }
        let Some(ours) = named("sbcd") else { return };
        let perfect = ours.counts.perfect();
        report.gate(
            "every packet arrives once, intact, in order",
            perfect,
            format!("{:?}", ours.counts),
        );
        if self.shape == Shape::Ptime {
            // The last of a window leaves short, and whatever waits while the machine stands still.
            let last = ours.streams.len() as u64 * u64::from(self.windows);
            let most = last + ours.counts.sent / 100;
            report.gate(
                "packets are as long as their side wants",
                ours.counts.short <= most,
                format!("{} shorter, at most {most}", ours.counts.short),
            );
        }
        let added = micros(
            ours.delay
                .value_at_quantile(0.5)
                .saturating_sub(direct.delay.value_at_quantile(0.5)),
        );
        if let Some(most) = self.added_p50_us {
            report.gate(
                "median delay added",
                added < most,
                format!("{added} µs, below {most}"),
            );
        }
        for (name, most) in [("bare", self.ratio_bare), ("rtpengine", self.ratio_rtpengine)] {
            let Some(other) = named(name) else { continue };
            let ratio = round(ours.ns_per_packet() / other.ns_per_packet().max(1.0), 3);
            report.figure("cpu per packet", &format!("sbcd_to_{name}"), ratio);
            if let Some(most) = most {
                report.gate(
                    &format!("CPU per packet beside {name}"),
                    ratio <= most,
                    format!("{ratio}, at most {most}"),
                );
            }
        }
    }
}
