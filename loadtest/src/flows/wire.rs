//! Over which transports a flow runs, and the addresses of its parties.

use super::{
    flow::Flow,
    script::{Place, Role, literal, shown},
};
use crate::{
    Result,
    tls::{Certificates, Span},
};
use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

/// What one side speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Datagrams.
    Udp,
    /// A stream.
    Tcp,
    /// A stream under TLS.
    Tls,
}

impl Transport {
    /// As in Via.
    pub(crate) fn via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// As in the configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// SIPp's mode: one socket for all calls. TLS is done before SIPp (`tls`).
    pub(crate) fn sipp(self) -> Option<&'static str> {
        match self {
            Self::Udp => None,
            Self::Tcp | Self::Tls => Some("t1"),
        }
    }
}

/// A row of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// UDP over IPv4.
    Udp,
    /// UDP over IPv6.
    Ipv6,
    /// TCP on both sides.
    Tcp,
    /// TLS on both sides.
    Tls,
    /// The caller speaks UDP, the callee TLS.
    UdpTls,
    /// The caller speaks TLS, the callee UDP.
    TlsUdp,
}

impl Wire {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Udp,
        Self::Ipv6,
        Self::Tcp,
        Self::Tls,
        Self::UdpTls,
        Self::TlsUdp,
    ];

    /// Name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Ipv6 => "ipv6",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::UdpTls => "udp-tls",
            Self::TlsUdp => "tls-udp",
        }
    }

    /// What the caller's side speaks.
    pub(crate) fn caller(self) -> Transport {
        match self {
            Self::Udp | Self::Ipv6 | Self::UdpTls => Transport::Udp,
            Self::Tcp => Transport::Tcp,
            Self::Tls | Self::TlsUdp => Transport::Tls,
        }
    }

    /// What the callee's side speaks.
    pub(crate) fn callee(self) -> Transport {
        match self {
            Self::Udp | Self::Ipv6 | Self::TlsUdp => Transport::Udp,
            Self::Tcp => Transport::Tcp,
            Self::Tls | Self::UdpTls => Transport::Tls,
        }
    }

    /// Whether `flow` is run over it when all are asked for.
    pub(crate) fn usual_for(self, flow: &Flow) -> bool {
        let plan = &flow.plan;
        let streams = plan.streams && matches!(self, Self::Tcp | Self::Tls);
        self == Self::Udp || ((plan.basic || streams) && !plan.udp_only)
    }
}

/// A party of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    /// Places the calls.
    Caller,
    /// Takes them.
    Callee,
    /// Takes what is sent elsewhere.
    Third,
}

impl Party {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Caller, Self::Callee, Self::Third];

    /// Name of trunk and scenario, and the mark of everything that is its own.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Callee => "callee",
            Self::Third => "third",
        }
    }

    fn host(self) -> u8 {
        match self {
            Self::Caller => 2,
            Self::Callee => 3,
            Self::Third => 4,
        }
    }
}

/// The addresses of one run. Runs at the same time have different ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    wire: Wire,
    net: Ipv4Addr,
    port: u16,
    media_ports: (u16, u16),
}

impl Addresses {
    /// Those of run number `lane` of those that run at the same time. IPv4 has a /24 for each;
    /// IPv6 has one loopback address, and so a hundred ports for each.
    pub(crate) fn new(wire: Wire, net: Ipv4Addr, port: u16, lane: u8) -> Self {
        let [a, b, c, _] = net.octets();
        match wire {
            Wire::Ipv6 => Self {
                wire,
                net,
                port: port + 100 + 100 * u16::from(lane),
                media_ports: (20_000 + 400 * u16::from(lane), 20_399 + 400 * u16::from(lane)),
            },
            _ => Self {
                wire,
                net: Ipv4Addr::new(a, b, c.wrapping_add(lane), 0),
                port,
                media_ports: (20_000, 20_399),
            },
        }
    }

    /// What `party` speaks.
    pub(crate) fn transport(&self, party: Party) -> Transport {
        match party {
            Party::Caller => self.wire.caller(),
            Party::Callee | Party::Third => self.wire.callee(),
        }
    }

    fn host(&self, host: u8) -> IpAddr {
        let [a, b, c, _] = self.net.octets();
        match self.wire {
            Wire::Ipv6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            _ => IpAddr::V4(Ipv4Addr::new(a, b, c, host)),
        }
    }

    fn port_of(&self, host: u8, transport: Transport) -> u16 {
        let base = match self.wire {
            Wire::Ipv6 => self.port + 20 * u16::from(host - 1),
            _ => self.port,
        };
        base + u16::from(transport == Transport::Tls)
    }

    /// The SBC's address for `transport`.
    pub(crate) fn sbc(&self, transport: Transport) -> SocketAddr {
        SocketAddr::new(self.host(1), self.port_of(1, transport))
    }

    /// The address of `party` that the SBC sees.
    pub(crate) fn party(&self, party: Party) -> SocketAddr {
        let transport = self.transport(party);
        SocketAddr::new(self.host(party.host()), self.port_of(party.host(), transport))
    }

    /// The address of `party`'s SIPp: behind TLS it is another one.
    pub(crate) fn sipp(&self, party: Party) -> SocketAddr {
        SocketAddr::new(
            self.host(party.host()),
            self.port_of(party.host(), Transport::Tcp),
        )
    }

    /// Where `party`'s SIPp sends what is for the SBC.
    pub(crate) fn next_hop(&self, party: Party) -> SocketAddr {
        match self.transport(party) {
            Transport::Tls => self.way_out(party),
            transport => self.sbc(transport),
        }
    }

    /// Where what `party`'s SIPp sends is put under TLS.
    pub(crate) fn way_out(&self, party: Party) -> SocketAddr {
        SocketAddr::new(
            self.host(party.host()),
            self.port_of(party.host(), Transport::Tcp) + 2,
        )
    }

    /// Both sides of the bridge that does TLS for `party`'s SIPp.
    pub(crate) fn span(&self, party: Party) -> Span {
        Span {
            way_out: self.way_out(party),
            sbc: self.sbc(Transport::Tls),
            way_in: self.party(party),
            sipp: self.sipp(party),
        }
    }

    /// Certificates for everybody, with files in `dir`.
    pub(crate) fn certificates(&self, dir: &Path) -> Result<Certificates> {
        let peers = Party::ALL.map(|party| self.host(party.host()));
        Certificates::make(dir, self.host(1), &peers)
    }

    /// A port that `party`'s SIPp opens for itself, and three after it.
    pub(crate) fn side_port(&self, party: Party) -> u16 {
        self.port_of(party.host(), Transport::Tcp) + 5
    }

    /// What `party`'s script must know.
    pub(crate) fn place(&self, party: Party) -> Place {
        let others = Party::ALL.into_iter().filter(|other| *other != party);
        let mut foreign = String::new();
        for other in others {
            let address = match self.wire {
                Wire::Ipv6 => format!(":{}", self.party(other).port()),
                // The whole address, with something after it that is no digit.
                _ => format!("{}[^0-9]", literal(&self.party(other).ip().to_string())),
            };
            let _ = write!(foreign, "{}|{address}|", other.name());
        }
        let _ = write!(foreign, "THIS-IS-NEVER-SENT");
        Place {
            role: if party == Party::Caller {
                Role::Caller
            } else {
                Role::Callee
            },
            mark: party.name(),
            own: self.party(party),
            sbc: self.sbc(self.transport(party)),
            transport: self.transport(party).via(),
            foreign,
            values: self.values(party),
        }
    }

    /// Where the name server of a flow listens.
    pub(crate) fn name_server(&self) -> SocketAddr {
        SocketAddr::new(self.host(5), self.port_of(5, Transport::Udp))
    }

    /// `text` with the values that the callee's script would have.
    pub(crate) fn filled_in(&self, text: &str) -> String {
        let values = self.values(Party::Callee);
        values.into_iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("{{{{{name}}}}}"), &value.replace("\\x5B", "["))
        })
    }

    fn values(&self, party: Party) -> Vec<(&'static str, String)> {
        let sbc = self.sbc(self.transport(party));
        vec![
            ("SBC", shown(sbc)),
            ("SBC_RE", literal(&sbc.to_string())),
            ("OWN", shown(self.party(party))),
            ("OWN_RE", literal(&self.party(party).to_string())),
            ("IP", self.party(party).ip().to_string()),
            ("CALLER", shown(self.party(Party::Caller))),
            ("CALLEE", shown(self.party(Party::Callee))),
            ("THIRD", shown(self.party(Party::Third))),
            ("THIRD_IP", self.party(Party::Third).ip().to_string()),
            ("CALLEE_IP", self.party(Party::Callee).ip().to_string()),
            ("CALLEE_PORT", self.party(Party::Callee).port().to_string()),
            ("DNS", self.name_server().to_string()),
            (
                "TRANSPORT",
                match self.transport(party) {
                    Transport::Udp => String::new(),
                    other => format!(";transport={}", other.name()),
                },
            ),
            (
                "V",
                if self.wire == Wire::Ipv6 {
                    "6".to_owned()
                } else {
                    "4".to_owned()
                },
            ),
            ("TP", self.transport(party).via().to_owned()),
            ("TAG", format!("{}[pid]t[call_number]", party.name())),
        ]
    }

    /// The daemon's configuration for `flow`.
    pub(crate) fn configuration(
        &self,
        flow: &Flow,
        socket: &Path,
        bench: &Daemonic,
        certificates: Option<&Certificates>,
    ) -> String {
        let mut text = String::new();
        let plan = &flow.plan;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "[shards]\ncount = {}\nbackend = \"{}\"\npin = false",
            bench.shards, bench.backend
        );
        let mut transports: Vec<Transport> = Vec::new();
        for party in Party::ALL {
            if !transports.contains(&self.transport(party)) {
                transports.push(self.transport(party));
            }
        }
        for transport in transports {
            let _ = writeln!(
                text,
                "[[listener]]\nname = \"{0}\"\ntransport = \"{0}\"\naddress = \"{1}\"",
                transport.name(),
                self.sbc(transport)
            );
            if let (Transport::Tls, Some(certificates)) = (transport, certificates) {
                text.push_str(&certificates.listener_toml());
            }
        }
        let _ = writeln!(
            text,
            "[media]\naddress = \"{}\"\nports = \"{}-{}\"\ntimeout_s = 0\nquarantine_ms = 50",
            self.host(1),
            self.media_ports.0,
            self.media_ports.1
        );
        let t1 = bench.t1_ms;
        let _ = writeln!(
            text,
            "[sip]\nt1_ms = {t1}\nt2_ms = {}\nt4_ms = {}\n{}",
            8 * t1,
            10 * t1,
            plan.sip
        );
        for (party, extra) in [
            (Party::Caller, &plan.caller),
            (Party::Callee, &plan.callee),
            (Party::Third, &plan.third),
        ] {
            if party == Party::Third && (flow.third.is_empty() || plan.third_of_callee) {
                continue;
            }
            let at = self.party(party);
            let hosts = match party {
                Party::Callee if plan.third_of_callee => {
                    format!("{}\", \"{}", self.source(party), self.source(Party::Third))
                }
                _ => self.source(party),
            };
            let _ = writeln!(
                text,
                "[[trunk]]\nname = \"{}\"\nhosts = [\"{hosts}\"]\nlistener = \"{}\"",
                party.name(),
                self.transport(party).name()
            );
            if !extra.lines().any(|line| line.trim_start().starts_with("target")) {
                let _ = writeln!(text, "target = \"{at}\"");
            }
            let _ = writeln!(text, "{extra}");
            if let (Transport::Tls, Some(certificates)) = (self.transport(party), certificates) {
                text.push_str(&certificates.trunk_toml());
            }
        }
        let _ = writeln!(text, "[[route]]\nfrom = \"caller\"\nto = \"callee\"");
        let _ = writeln!(text, "[admin]\nsocket = \"{}\"", socket.display());
        let _ = writeln!(
            text,
            "[log]\nlevel = \"debug\"\n[drain]\ntimeout_s = 0\n{}",
            plan.more
        );
        self.filled_in(&text)
    }

    /// Where requests of `party` come from. Over streams its connections come from any port.
    fn source(&self, party: Party) -> String {
        let at = self.party(party);
        match (self.wire, self.transport(party)) {
            (Wire::Ipv6, _) | (_, Transport::Udp) => at.to_string(),
            _ => at.ip().to_string(),
        }
    }
}

/// What of the daemon's configuration does not depend on the flow.
#[derive(Clone, Debug)]
pub(crate) struct Daemonic {
    /// Shards.
    pub(crate) shards: u8,
    /// I/O engine.
    pub(crate) backend: String,
    /// T1.
    pub(crate) t1_ms: u32,
}
