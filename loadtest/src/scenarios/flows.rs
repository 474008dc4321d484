//! Every message flow, over its transports, several at a time.

use crate::{
    Error, Result,
    bench::Bench,
    flows::{
        flow::{self, Flow},
        run::{Run, seconds},
        wire::{Addresses, Daemonic, Wire},
    },
    report::Report,
    sbcd,
};
use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::Instant,
};

/// Options of `flows`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Flows {
    /// Only these flows (may be repeated; the beginning of a name is enough).
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Only over these transports: udp, ipv6, tcp, tls, udp-tls, tls-udp, or all of them for every
    /// flow [default: every flow over UDP, basic ones over the others, too].
    #[arg(long, value_parser = wires, num_args = 1)]
    pub(crate) transport: Vec<Vec<Wire>>,
    /// Only the flows of the short run.
    #[arg(long)]
    pub(crate) short: bool,
    /// So many at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=40))]
    pub(crate) jobs: u8,
    /// Take the flows of this directory instead of the built-in ones.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Say which flows there are, and run none.
    #[arg(long)]
    pub(crate) list: bool,
}

fn wires(text: &str) -> std::result::Result<Vec<Wire>, String> {
    if text == "all" {
        return Ok(Wire::ALL.to_vec());
    }
    let found = Wire::ALL.into_iter().find(|wire| wire.name() == text);
    found
        .map(|wire| vec![wire])
        .ok_or_else(|| "expected udp, ipv6, tcp, tls, udp-tls, tls-udp or all".to_owned())
}

impl Flows {
    /// Run them.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut report = Report::new("flows");
        let flows = flow::all(self.dir.as_deref()).map_err(Error::Setup)?;
        if self.list {
            for flow in &flows {
                println!("{:28} {}", flow.name, flow.plan.about);
            }
            return Ok(report);
        }
        let queue: VecDeque<(&Flow, Wire)> = Wire::ALL
            .into_iter()
            .flat_map(|wire| flows.iter().map(move |flow| (flow, wire)))
            .filter(|(flow, wire)| self.wants(flow, *wire))
            .collect();
        if queue.is_empty() {
            return Err(Error::Setup("no flow has that name and transport".into()));
        }
        let total = queue.len();
        let binary = sbcd::binary(bench.options.sbcd.as_deref())?;
        let queue = Mutex::new(queue);
        let failures = Mutex::new(Vec::new());
        let started = Instant::now();
        std::thread::scope(|scope| {
            for lane in 0..self.jobs {
                let (queue, failures, binary) = (&queue, &failures, &binary);
                scope.spawn(move || {
                    loop {
                        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                        let Some((flow, wire)) = next else { break };
                        let began = Instant::now();
                        let run = Run {
                            flow,
                            wire,
                            addresses: Addresses::new(wire, bench.options.net, bench.options.base_port, lane),
                            binary,
                            daemonic: Daemonic {
                                shards: bench.options.shards,
                                backend: bench.options.backend.clone(),
                                t1_ms: bench.options.t1_ms.unwrap_or(100),
                            },
                            dir: bench.dir().join(format!("{}-{}", flow.name, wire.name())),
                        };
                        let verdict = run.judge().unwrap_or_else(|error| Some(format!("{error}\n")));
                        let word = if verdict.is_none() { "ok  " } else { "FAIL" };
                        let line = format!("{word} {:28} {:8} {}", flow.name, wire.name(), seconds(began));
                        match &verdict {
                            None => println!("{line}"),
                            Some(why) => println!("{line}\n{why}"),
                        }
                        if verdict.is_some() {
                            failures
                                .lock()
                                .unwrap_or_else(PoisonError::into_inner)
                                .push(format!("{} {}", flow.name, wire.name()));
                        }
                    }
                });
            }
        });
        let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        report.figure("flows", "runs", total);
        report.figure(
            "flows",
            "elapsed_s",
            crate::report::round(started.elapsed().as_secs_f64(), 1),
        );
        report.gate(
            "every flow is as it must be",
            failures.is_empty(),
            if failures.is_empty() {
                format!("{total} runs")
            } else {
                format!(
                    "{} of {total} runs failed: {}",
                    failures.len(),
                    failures.join(", ")
                )
            },
        );
        Ok(report)
    }

    fn wants(&self, flow: &Flow, wire: Wire) -> bool {
        let named = self.only.is_empty() || self.only.iter().any(|name| flow.name.starts_with(name.as_str()));
        let wired = if self.transport.is_empty() {
            wire.usual_for(flow)
        } else {
            self.transport.iter().flatten().any(|wanted| *wanted == wire)
        };
        named && wired && (!self.short || flow.plan.short) && (wire == Wire::Udp || !flow.plan.udp_only)
    }
}
