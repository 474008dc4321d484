//! One flow over one wire: start everything, place one call and then some, judge.

use super::{
    flow::Flow,
    name_server::{NameServer, Zone},
    script::expand,
    wire::{Addresses, Daemonic, Party, Transport, Wire},
};
use crate::{
    Error, Result,
    admin::Stats,
    sbcd::{self, Daemon},
    sipp::{Offer, Sipp, Spec, Special},
    tls::Bridge,
};
use std::{
    fmt::Write as _,
    fs, io,
    net::UdpSocket,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// One run.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// The flow.
    pub(crate) flow: &'a Flow,
    /// Over what.
    pub(crate) wire: Wire,
    /// Where everybody is.
    pub(crate) addresses: Addresses,
    /// The daemon's binary.
    pub(crate) binary: &'a Path,
    /// The daemon's settings.
    pub(crate) daemonic: Daemonic,
    /// Where files go.
    pub(crate) dir: PathBuf,
}

impl Run<'_> {
    /// `Ok(None)` when everything was as it must be, `Ok(Some)` with what was not.
    pub(crate) fn judge(&self) -> Result<Option<String>> {
        fs::create_dir_all(&self.dir).map_err(|source| Error::Io {
            what: format!("making {}", self.dir.display()),
            source,
        })?;
        let socket = self.dir.join(sbcd::SOCKET);
        let certificates = match [self.wire.caller(), self.wire.callee()].contains(&Transport::Tls) {
            true => Some(self.addresses.certificates(&self.dir)?),
            false => None,
        };
        let text = self
            .addresses
            .configuration(self.flow, &socket, &self.daemonic, certificates.as_ref());
        let mut bridges = Vec::new();
        for party in Party::ALL {
            if let (Some(certificates), Transport::Tls) = (&certificates, self.addresses.transport(party)) {
                bridges.push(Bridge::start(certificates, self.addresses.span(party))?);
            }
        }
        let sip = self.addresses.sbc(self.wire.caller());
        let _name_server = self.name_server()?;
        let daemon = Daemon::start_with(self.binary, &text, sip, &[], &self.dir)?;
        self.wait_for_names()?;
        let before = daemon.admin.stats()?;
        for (calls, label) in [(1, "-one"), (self.flow.plan.calls, "-many")] {
            if calls > 0
                && let Err(failure) = self.place(calls, label)?
            {
                let now = daemon.admin.stats()?;
                return Ok(Some(failure + &counted(&before, &now) + &self.daemon_log()));
            }
        }
        // Finished transactions linger for 64 T1 (timers H, B and F with their tombstones).
        let patience = Duration::from_millis(u64::from(70 * self.daemonic.t1_ms)) + Duration::from_secs(8);
        let after = daemon.wait_quiet(patience, |_| {})?;
        Ok(self
            .leftovers(&before, &after)
            .map(|failure| failure + &counted(&before, &after) + &self.daemon_log()))
    }

    /// The DNS server of a flow that has names.
    fn name_server(&self) -> Result<Option<NameServer>> {
        let zone = &self.flow.plan.dns;
        if zone.is_empty() {
            return Ok(None);
        }
        let filled_in = |text: &String| self.addresses.filled_in(text);
        let zone: Zone = zone
            .iter()
            .map(|(name, records)| (name.clone(), records.iter().map(filled_in).collect()))
            .collect();
        NameServer::start(self.addresses.name_server(), zone).map(Some)
    }

    /// Names are looked up ahead of need: until the daemon has them, calls are refused.
    fn wait_for_names(&self) -> Result<()> {
        let log = || fs::read_to_string(self.dir.join(sbcd::LOG)).unwrap_or_default();
        for _ in 0..100 {
            if self.flow.plan.dns.is_empty() || log().contains(" stands for ") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(Error::Process(format!("sbcd finds no address:\n{}", log())))
    }

    /// Place `calls` calls; the inner error says what went wrong.
    fn place(&self, calls: u32, label: &str) -> Result<std::result::Result<(), String>> {
        let plan = &self.flow.plan;
        let mut answering = Vec::new();
        let mut untouched = None;
        for (party, script, times) in [
            (Party::Callee, &self.flow.callee, plan.callee_calls),
            (Party::Third, &self.flow.third, plan.third_calls),
        ] {
            if !script.is_empty() {
                answering.push(self.sipp(party, script, label, None, Some(calls * times))?);
            } else if party == Party::Callee && self.wire == Wire::Udp {
                untouched = Some(self.guard()?);
            }
        }
        let offer = Offer {
            to: self.addresses.next_hop(Party::Caller),
            cps: 20,
            calls,
            hold_ms: 0,
        };
        let mut caller = self.sipp(Party::Caller, &self.flow.caller, label, Some(offer), None)?;
        // Every message may take as long as patience allows; a flow has a dozen.
        let most = Duration::from_secs(12 * plan.patience_s);
        let mut faults = String::new();
        let mut judge = |sipp: &mut Sipp, patience| {
            if let Err(fault) = sipp.succeeded_within(patience) {
                let _ = writeln!(faults, "  {fault}\n{}", sipp.errors());
            }
        };
        judge(&mut caller, most);
        for sipp in &mut answering {
            judge(sipp, Duration::from_secs(plan.patience_s + 5));
        }
        if let Some(guard) = untouched {
            let mut bytes = [0; 2048];
            match guard.recv_from(&mut bytes) {
                Ok((length, _)) => {
                    let text = String::from_utf8_lossy(&bytes[..length]);
                    let _ = writeln!(faults, "  reached the callee's side:\n{text}");
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    let _ = writeln!(faults, "  the callee's socket: {error}");
                }
            }
        }
        if faults.is_empty() {
            return Ok(Ok(()));
        }
        for sipp in std::iter::once(&caller).chain(&answering) {
            let _ = writeln!(faults, "{}", sipp.last_messages(LAST_MESSAGES));
        }
        Ok(Err(format!("with {calls} call(s):\n{faults}")))
    }

    fn sipp(
        &self,
        party: Party,
        script: &str,
        label: &str,
        offer: Option<Offer>,
        takes: Option<u32>,
    ) -> Result<Sipp> {
        let place = self.addresses.place(party);
        let script = expand(script, &place)
            .map_err(|error| Error::Setup(format!("{}/{}.xml: {error}", self.flow.name, party.name())))?;
        let patience = Duration::from_secs(self.flow.plan.patience_s);
        let spec = Spec {
            scenario: party.name(),
            label: label.to_owned(),
            local: self.addresses.sipp(party),
            offer,
            inject: Vec::new(),
            message_log: false,
            cpus: Vec::new(),
            timeout: 14 * patience,
            side_port: self.addresses.side_port(party),
            special: Special {
                script: Some(script),
                transport: self.addresses.transport(party).sipp(),
                takes,
                patience: Some(patience),
                mark: Some(party.name()),
            },
        };
        Sipp::start(&spec, &self.dir)
    }

    /// The callee's address, taken so that whatever is sent there is seen.
    fn guard(&self) -> Result<UdpSocket> {
        let at = self.addresses.party(Party::Callee);
        let io = |source| Error::Io {
            what: format!("binding {at}"),
            source,
        };
        // A process that is being started beside us holds a copy of the last one until it runs its own
        // program.
        let mut bound = UdpSocket::bind(at);
        for _ in 0..100 {
            if bound.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
            bound = UdpSocket::bind(at);
        }
        let socket = bound.map_err(io)?;
        socket.set_nonblocking(true).map_err(io)?;
        Ok(socket)
    }

    /// Gauges that are not 0 and counters that are not what they must be.
    fn leftovers(&self, before: &Stats, after: &Stats) -> Option<String> {
        let mut wrong = String::new();
        for (name, value) in after.left() {
            let _ = writeln!(wrong, "  gauge {name} is still {value}");
        }
        let calls = 1 + self.flow.plan.calls;
        for name in self.flow.plan.judged() {
            let (found, expected) = (after.since(before, name), self.flow.plan.expected(name, calls));
            if found != expected {
                let _ = writeln!(
                    wrong,
                    "  counter {name} is {found}, expected {expected} after {calls} calls"
                );
            }
        }
        for (name, each) in &self.flow.plan.at_least {
            let (found, least) = (after.since(before, name), each * u64::from(calls));
            if found < least {
                let _ = writeln!(
                    wrong,
                    "  counter {name} is {found}, expected at least {least} after {calls} calls"
                );
            }
        }
        (!wrong.is_empty()).then_some(wrong)
    }

    /// The end of what the daemon has logged, without its greeting.
    fn daemon_log(&self) -> String {
        let text = fs::read_to_string(self.dir.join(sbcd::LOG)).unwrap_or_default();
        let dated = |line: &&str| line.starts_with(|c: char| c.is_ascii_digit());
        let lines: Vec<&str> = text.lines().filter(dated).collect();
        let tail = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
        format!("  sbcd's log:\n{tail}\n")
    }
}

/// Messages of each party that the report of a failure has.
const LAST_MESSAGES: usize = 4;
/// Lines of the daemon's log that it has.
const LAST_LINES: usize = 6;

/// What the daemon has counted.
fn counted(before: &Stats, now: &Stats) -> String {
    let counters = now
        .counters
        .keys()
        .map(|name| (name, now.since(before, name)))
        .filter(|(name, grown)| *grown != 0 && !name.starts_with("io_"))
        .map(|(name, grown)| format!(" {name}={grown}"));
    let gauges = now
        .left()
        .into_iter()
        .map(|(name, value)| format!(" {name}={value}"));
    format!(
        "  counters:{}\n  gauges:{}\n",
        counters.collect::<String>(),
        gauges.collect::<String>()
    )
}

/// How long a run took, for the line that reports it.
pub(crate) fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}
