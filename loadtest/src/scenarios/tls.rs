//! The same calls over UDP, TCP and TLS, on one connection and on one for each call: do all
//! succeed, and what does a call cost beside UDP?

use crate::{
    Result,
    bench::Bench,
    calls::{self, CallLoad, Over},
    flows::wire::Transport,
    report::{Report, micros, round},
};
use std::time::Duration;

/// Options of `tls`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Tls {
    /// Calls a second.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cps: u32,
    /// Calls over each transport.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) calls: u32,
    /// Milliseconds from answer to BYE.
    #[arg(long, default_value_t = 500)]
    pub(crate) hold_ms: u64,
    /// Only over TCP and TLS, on one connection each.
    #[arg(skip)]
    pub(crate) brief: bool,
}

const TABLE: [(&str, Transport, bool); 5] = [
    ("udp", Transport::Udp, false),
    ("tcp", Transport::Tcp, false),
    ("tcp per call", Transport::Tcp, true),
    ("tls", Transport::Tls, false),
    ("tls per call", Transport::Tls, true),
];

impl Tls {
    /// Run it with a daemon for each transport.
    pub(crate) fn run(&self, bench: &Bench) -> Result<Report> {
        let mut report = Report::new("tls");
        let mut udp_ns = None;
        for (name, transport, connection_per_call) in TABLE {
            if self.brief && (transport == Transport::Udp || connection_per_call) {
                continue;
            }
            let over = Over {
                connection_per_call,
                ..Over::both(transport)
            };
            let setup = bench.setup_over(over)?;
            let daemon = bench.daemon(&setup)?;
            let bridges = over.bridges(bench, setup.certificates.as_ref())?;
            let load = CallLoad {
                cps: self.cps,
                calls: self.calls,
                hold_ms: self.hold_ms,
                scenarios: ("uac", "uas"),
                message_log: true,
                over,
            };
            let label = format!("-{}", name.replace(' ', "-"));
            let outcome = calls::run(bench, &daemon, load, &label, |_| Ok(()))?;
            // What is left of connections ends with their peers.
            drop(bridges);
            let each_ns = outcome.cpu_ns() / u64::from(self.calls);
            report.figure(name, "cpu_per_call_us", micros(each_ns));
            match (transport, udp_ns) {
                (Transport::Udp, _) => udp_ns = Some(each_ns),
                (_, Some(udp)) => report.figure(name, "times_udp", round(each_ns as f64 / udp as f64, 2)),
                _ => {}
            }
            report.delay(&format!("{name} set-up delay"), &outcome.setup);
            report.figure(name, "callee_failed", outcome.uas.failed);
            report.gate(
                &format!("{name}: every call succeeds"),
                outcome.uac.successful == u64::from(self.calls) && outcome.uac.failed == 0,
                format!(
                    "{} of {} ok, {} failed {}",
                    outcome.uac.successful, self.calls, outcome.uac.failed, outcome.errors
                ),
            );
            let patience = Duration::from_millis(u64::from(70 * setup.t1_ms)) + Duration::from_secs(8);
            let mut left = Report::new(name);
            calls::report_leftovers(bench, &mut left, &daemon, patience)?;
            report.absorb(left);
        }
        Ok(report)
    }
}
