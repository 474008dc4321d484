//! The configuration as the call core uses it: validated, compiled, immutable, shared by all shards.

use crate::{
    admission::{LimitId, ScopedLimits},
    digest::Account,
    guard::{Rate, Rules},
    health::HealthTable,
    id::{InterfaceId, ListenerId},
    login::{Login, Logins},
    numbers::{Aliases, Numbering},
    overload::Thresholds,
    resolve::Query,
    routing::RouteTable,
    siblings::Siblings,
    time::Timestamp,
    topology::{HeaderPolicy, Host, Identity, Origin, Proofs, Towards},
    transport::Transport,
    trunk::{HostMatch, SourceTable, TrunkId, TrunkKind},
};
use sbc_media::{
    latch::{Hosts, LEARNING_WINDOW, LatchMode},
    relay::Roc,
    srtp::Suite,
    tone::Country,
};
use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// One consistent configuration. Replaced as a whole, never changed.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// SIP sockets.
    pub listeners: Vec<Listener>,
    /// Trunks; a [`TrunkId`] is an index here.
    pub trunks: Vec<Trunk>,
    /// Which trunk a source address belongs to.
    pub sources: SourceTable,
    /// Sources that an earlier configuration had and this one has not: they may go on with what they have begun.
    pub former: Former,
    /// Which trunk a host in the Request-URI means, in lower case (S12).
    pub domains: HashMap<Box<str>, TrunkId>,
    /// The numbers that URIs mean by their user and host (T9).
    pub aliases: Aliases,
    /// Trunks at one address.
    pub siblings: Siblings,
    /// Who may log in.
    pub logins: Logins,
    /// Where calls go.
    pub routes: Arc<RouteTable>,
    /// Media addresses and timing.
    pub media: Media,
    /// SIP timers and bounds.
    pub sip: Sip,
    /// Bounds of TCP and TLS connections.
    pub streams: Streams,
    /// When a shard is overloaded.
    pub overload: Thresholds,
    /// Who may send us anything at all.
    pub guard: Rules,
    /// Global call limits.
    pub limits: LimitId,
    /// Limits of other things than trunks.
    pub scoped: ScopedLimits,
    /// Which trunks answer: the one part that changes, and stays when the rest is replaced.
    pub health: Arc<HealthTable>,
    /// Status for calls over a limit (`503` by default).
    pub reject_code: u16,
}

impl Snapshot {
    /// The trunk named `name`, if the configuration has it.
    pub fn trunk_named(&self, name: &str) -> Option<(TrunkId, &Trunk)> {
        let mut trunks = (0..).map(TrunkId).zip(&self.trunks);
        trunks.find(|(_, trunk)| trunk.name == name && trunk.service != Service::Removed)
    }

    /// The trunks that the configuration has, by their names.
    pub fn trunks_by_name(&self) -> HashMap<&str, (TrunkId, &Trunk)> {
        let trunks = (0..).map(TrunkId).zip(&self.trunks);
        let there = trunks.filter(|(_, trunk)| trunk.service != Service::Removed);
        there
            .map(|(id, trunk)| (trunk.name.as_str(), (id, trunk)))
            .collect()
    }

    /// Whether `id` takes part in new calls.
    pub fn service_of(&self, id: TrunkId) -> Service {
        let trunk = self.trunks.get(usize::from(id.0));
        trunk.map_or(Service::Removed, |trunk| trunk.service)
    }

    /// Whether `trunk` logs in from anywhere: it may be behind a NAT, where only the way that it came by leads back.
    pub fn roams(&self, trunk: TrunkId) -> bool {
        let trunk = self.trunks.get(usize::from(trunk.0));
        trunk.is_some_and(|trunk| trunk.peer.login.as_ref().is_some_and(|login| login.roams))
    }

    /// The listener that reaches `peer` by `transport`: `preferred` if it can, else the first that
    /// can.
    pub fn listener_for(
        &self,
        transport: Transport,
        peer: SocketAddr,
        preferred: ListenerId,
    ) -> Option<ListenerId> {
        let reaches = |listener: &Listener| {
            listener.transport == transport && listener.bind.is_ipv4() == peer.is_ipv4()
        };
        if self.listeners.get(usize::from(preferred.0)).is_some_and(reaches) {
            return Some(preferred);
        }
        let index = self.listeners.iter().position(reaches)?;
        u8::try_from(index).ok().map(ListenerId)
    }
}

impl Snapshot {
    /// Where calls of trunk `from` go, in words: the trunks of its fallback, or that it depends on the number. `None`: no
    /// rule is for them.
    pub fn calls_go_to(&self, from: TrunkId) -> Option<String> {
        let Some(found) = self.routes.fallback(from, || 0) else {
            let some = self.routes.rules().iter().any(|rule| rule.is_for(from));
            return some.then(|| "where their number says".to_owned());
        };
        let trunks = found.rule.targets.iter();
        let names = trunks.filter_map(|target| Some(&*self.trunks.get(usize::from(target.trunk.0))?.name));
        Some(names.collect::<Vec<_>>().join(", "))
    }
}

/// Sources that are no longer listed. Calls from them may still be up, so what belongs to those is let in.
#[derive(Clone, Debug, Default)]
pub struct Former {
    /// The trunk that each belonged to.
    pub sources: SourceTable,
    /// The same as a list, with the time at which each was given up.
    pub hosts: Vec<(TrunkId, HostMatch, Timestamp)>,
    /// No call is up that began before this: what was given up earlier nobody needs.
    pub needed_since: Timestamp,
}

/// Whether a trunk takes part in new calls (T8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// It does.
    #[default]
    Enabled,
    /// It is switched off: its new calls are refused, none goes to it, and those that are up go on.
    Disabled,
    /// The configuration has it no more. Calls that are up go on, and its id stays its own until they have ended;
    /// besides that it is as if it were not there.
    Removed,
}

/// A SIP socket.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Name in the configuration.
    pub name: String,
    /// Address it is bound to.
    pub bind: SocketAddr,
    /// Address written into Via and Contact.
    pub advertised: SocketAddr,
    /// What it speaks.
    pub transport: Transport,
    /// Differentiated services code point of what is sent, 0 to 63 (RFC 2474).
    pub dscp: u8,
    /// Certificates of a TLS listener.
    pub tls: Option<ListenerTls>,
}

/// The files of a TLS listener; the driver reads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTls {
    /// Certificate chain (PEM).
    pub certificate: PathBuf,
    /// Its key (PEM).
    pub key: PathBuf,
    /// CAs that clients' certificates must come from (PEM).
    pub client_ca: Option<PathBuf>,
    /// Whether clients must show one.
    pub client_auth: ClientAuth,
}

/// Whether clients are asked for a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// No.
    #[default]
    None,
    /// Asked, and checked when there is one.
    Optional,
    /// Refused without one.
    Required,
}

/// The files for connections to a trunk; the driver reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrunkTls {
    /// CAs that its certificate must come from (PEM); `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// Certificate chain that we show (PEM).
    pub certificate: Option<PathBuf>,
    /// Its key (PEM).
    pub key: Option<PathBuf>,
}

/// What a trunk's registrar is told (RFC 3261 §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// User part of the address of record.
    pub user: Box<str>,
    /// Domain of the address of record and of the Request-URI; `None`: that of calls to the trunk.
    pub domain: Option<Box<str>>,
    /// Seconds that are asked for.
    pub expires_s: u32,
}

/// A provider or platform that calls come from and go to.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// Name in the configuration.
    pub name: String,
    /// Whether it takes part in new calls.
    pub service: Service,
    /// Where requests to this trunk are sent.
    pub target: Target,
    /// The listener used towards this trunk.
    pub listener: ListenerId,
    /// Whether the caller's display name may pass to this trunk.
    pub pass_display_name: bool,
    /// Limits on calls from this trunk.
    pub inbound: LimitId,
    /// Limits on calls to this trunk.
    pub outbound: LimitId,
    /// Limits on calls in both directions together.
    pub both: LimitId,
    /// How long a call to it may wait for its place in the rate of [`Self::outbound`]; zero: not at all.
    pub wait_max: Duration,
    /// How its calls over a limit are refused.
    pub reject: Reject,
    /// Packets that are taken from it, on each shard.
    pub packets: Rate,
    /// How SIP is spoken with it.
    pub peer: Peer,
    /// How media is negotiated with it.
    pub media: TrunkMedia,
    /// How it writes numbers; `None`: as they come.
    pub numbers: Option<Box<Numbering>>,
    /// Who calls, as it says and as it is told; `None`: as From has it, and nothing else.
    pub identity: Option<Box<Identity>>,
    /// Header fields that pass and that are changed; `None`: none.
    pub headers: Option<Box<HeaderPolicy>>,
    /// What it and we prove ourselves by besides addresses and passwords; `None`: nothing.
    pub proofs: Option<Box<Proofs>>,
}

impl Trunk {
    /// A trunk without options.
    pub fn new(name: &str, target: SocketAddr, listener: ListenerId) -> Self {
        Self {
            name: name.to_owned(),
            service: Service::Enabled,
            target: Target::Address(target),
            listener,
            pass_display_name: false,
            inbound: LimitId(0),
            outbound: LimitId(0),
            both: LimitId(0),
            wait_max: Duration::ZERO,
            reject: Reject::default(),
            packets: Rate::UNLIMITED,
            peer: Peer::default(),
            media: TrunkMedia::PLAIN,
            numbers: None,
            identity: None,
            headers: None,
            proofs: None,
        }
    }

    /// The rules for what it sends, with its numbering and the names of numbers.
    pub(crate) fn origin<'t>(&'t self, numbering: &'t Numbering, aliases: &'t Aliases) -> Origin<'t> {
        Origin {
            numbering,
            aliases,
            identity: self.identity.as_deref(),
            headers: self.headers.as_deref(),
            proof: self.proofs.as_ref().map(|proofs| &proofs.inbound),
        }
    }

    /// The rules for what it is sent from `ours` to `peer`.
    pub(crate) fn towards(&self, ours: SocketAddr, peer: SocketAddr) -> Towards<'_> {
        Towards {
            host: match &self.peer.domain {
                Some(domain) => Host::Domain(domain),
                None => Host::Address(peer),
            },
            ours,
            display: self.pass_display_name,
            numbering: self.numbers.as_deref(),
            identity: self.identity.as_deref(),
            headers: self.headers.as_deref(),
            proof: self.proofs.as_ref().map(|proofs| &proofs.outbound),
            bare: false,
        }
    }

    /// Where requests to it are sent: its outbound proxy, or its target.
    pub fn next_hop(&self) -> &Target {
        self.peer.outbound_proxy.as_ref().unwrap_or(&self.target)
    }
}

/// How calls over a limit are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reject {
    /// The status; `None`: [`Snapshot::reject_code`].
    pub status: Option<u16>,
    /// Retry-After in seconds; `None`: until a token is there again, 5 for channels.
    pub retry_after_s: Option<u16>,
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An address: nothing to look up.
    Address(SocketAddr),
    /// A name (RFC 3263).
    Name(Query),
    /// Wherever its users have registered.
    Registered,
}

impl Target {
    /// The address, when nothing has to be looked up.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(_) | Self::Registered => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Registered => f.write_str("where its users register"),
            Self::Name(query) => match query.port {
                Some(port) => write!(f, "{}:{port}", query.host),
                None => f.write_str(&query.host),
            },
        }
    }
}

/// What SIP extensions are used with a trunk, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// How it is recognised.
    pub kind: TrunkKind,
    /// What it must prove its requests by; `None`: its address is enough.
    pub login: Option<Arc<Login>>,
    /// Domain in Request-URI and To towards it; `None`: the address it is reached at.
    pub domain: Option<Box<str>>,
    /// Requests go to this proxy with a preloaded Route, and the target stays the Request-URI's
    /// host (S10).
    pub outbound_proxy: Option<Target>,
    /// Hosts in the Request-URI that mean this trunk, in lower case (S12).
    pub domains: Vec<Box<str>>,
    /// Trunks that may reach it by one of `domains`. Nobody else.
    pub domains_from: Vec<TrunkId>,
    /// Reliable provisional responses (RFC 3262).
    pub reliable: Reliable,
    /// Session timers (RFC 4028).
    pub session_timer: SessionTimer,
    /// What happens to a REFER that it sends.
    pub refer: Refer,
    /// Requests above 1300 bytes go over TCP where there is a TCP listener (§18.1.1).
    pub large_over_tcp: bool,
    /// Use compact header names towards it (S9).
    pub compact: bool,
    /// How we register with it; `None`: not at all (T2).
    pub registration: Option<Register>,
    /// What its challenges are answered with; `None`: nothing.
    pub account: Option<Account>,
    /// Send OPTIONS this often to see whether it is there; zero: never (S11).
    pub options_interval: Duration,
    /// Server name of its TLS certificate (SNI, RFC 5922); `None`: the target's name or address.
    pub tls_name: Option<Box<str>>,
    /// Over TLS, only a peer whose certificate has one of these names is this trunk; empty: any.
    pub tls_client_names: Vec<Box<str>>,
    /// Files for connections to it.
    pub tls: TrunkTls,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            kind: TrunkKind::Ip,
            login: None,
            domain: None,
            outbound_proxy: None,
            domains: Vec::new(),
            domains_from: Vec::new(),
            reliable: Reliable::Supported,
            session_timer: SessionTimer::default(),
            refer: Refer::Pass,
            large_over_tcp: true,
            compact: false,
            account: None,
            registration: None,
            options_interval: Duration::ZERO,
            tls_name: None,
            tls_client_names: Vec::new(),
            tls: TrunkTls::default(),
        }
    }
}

/// How much use is made of reliable provisional responses with a trunk (RFC 3262).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliable {
    /// Neither offered nor taken: `100rel` is not in our Supported, and a Require of it is 420.
    Off,
    /// Offered, and used when the peer offers it.
    Supported,
    /// Demanded of the peer in our INVITEs.
    Required,
}

/// Session timers of a trunk (RFC 4028).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// Session-Expires that we ask for; zero: timers only when the peer asks.
    pub expires: Duration,
    /// Min-SE: shorter sessions are refused with 422. At least 90 s.
    pub min: Duration,
}

impl Default for SessionTimer {
    fn default() -> Self {
        Self {
            expires: Duration::from_secs(1800),
            min: Duration::from_secs(90),
        }
    }
}

/// How media is negotiated with a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkMedia {
    /// Whether SRTP is used.
    pub srtp: Srtp,
    /// Suites that are offered and taken, in the order in which they are offered.
    pub srtp_suites: Vec<Suite>,
    /// How SRTP is offered where it is optional.
    pub srtp_offer: SrtpOffer,
    /// What our rollover counters do when our key changes.
    pub srtp_roc: Roc,
    /// Whether RTCP goes by the RTP port.
    pub rtcp_mux: RtcpMux,
    /// Milliseconds in a packet of G.711; `None`: as they come, unless the other trunk of a call has some.
    pub ptime_ms: Option<u32>,
    /// Names of the codecs that may be used, in the order in which they are offered; `None`: all.
    pub codecs: Option<Box<[Box<str>]>>,
    /// Who may become the peer besides the address in its SDP.
    pub latch: LatchMode,
    /// Where else it may send media from with [`LatchMode::Strict`].
    pub hosts: Option<Arc<Hosts>>,
    /// How digits are exchanged; `None`: as they come, unless the other trunk of a call has a method.
    pub dtmf: Option<Dtmf>,
    /// What its callers hear before there is an answer.
    pub ringback: Ringback,
    /// Whose ringback tone it is, where we make it.
    pub ringback_tone: Option<Country>,
    /// What it hears while the other side holds the call.
    pub hold: Hold,
    /// Where its media goes by.
    pub interface: InterfaceId,
    /// That interface is IPv6, and so must be the peers' media.
    pub ipv6: bool,
}

impl TrunkMedia {
    /// Plain RTP, all codecs, digits as they come, no sounds of our own.
    pub const PLAIN: Self = Self {
        srtp: Srtp::Disabled,
        srtp_suites: Vec::new(),
        srtp_offer: SrtpOffer::BestEffort,
        srtp_roc: Roc::Keep,
        rtcp_mux: RtcpMux::Accept,
        ptime_ms: None,
        codecs: None,
        latch: LatchMode::Relearn(LEARNING_WINDOW),
        hosts: None,
        dtmf: None,
        ringback: Ringback::Pass,
        ringback_tone: None,
        hold: Hold::Pass,
        interface: InterfaceId(0),
        ipv6: false,
    };
}

/// Whether RTCP goes by the RTP port (RFC 5761).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtcpMux {
    /// Always by the next one.
    Never,
    /// Where the peer offers it.
    Accept,
    /// Where the peer agrees: it is offered, too.
    Offer,
}

/// What a caller hears before there is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ringback {
    /// What the callee's side says and sends.
    Pass,
    /// 180 at once, then as `Pass`.
    Ringing,
    /// A tone of ours once the callee rings without media of its own.
    Tone,
    /// A tone of ours at once.
    InstantTone,
}

/// What a peer hears while the other side holds the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// What the other side sends, or nothing.
    Pass,
    /// Comfort noise where the other side sends nothing.
    Noise,
}

/// How digits (DTMF) are exchanged with a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtmf {
    /// As they come, whatever the other trunk of a call has.
    Pass,
    /// By what the peer can do: [`Dtmf::Events`], else [`Dtmf::Inband`], or INFO once it has sent some.
    Auto,
    /// As RTP events (RFC 4733).
    Events,
    /// As INFO requests with `application/dtmf-relay`.
    InfoRelay,
    /// As INFO requests with `application/dtmf`.
    InfoPlain,
    /// As tones in G.711 audio.
    Inband,
}

/// Whether SRTP is used with a trunk, by keys in SDP (RFC 4568).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Srtp {
    /// Never: an offer of nothing else is refused.
    Disabled,
    /// Offered and taken, and so is plain RTP.
    Optional,
    /// What has no key is refused.
    Required,
}

/// How SRTP is offered where it is optional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrtpOffer {
    /// `RTP/AVP` with `a=crypto`: who does not know it answers with plain RTP.
    BestEffort,
    /// `RTP/SAVP`: who does not know it refuses, and is offered `RTP/AVP` then.
    Savp,
}

/// What happens to a REFER.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refer {
    /// It goes to the other side, rewritten.
    Pass,
    /// We carry the transfer out ourselves and report by NOTIFY.
    Local,
    /// 603.
    Refuse,
}

/// Bounds of the connections of one shard. Every one protects against peers that are slow,
/// silent or hostile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Most connections.
    pub connections_max: usize,
    /// Most connections that one IP address may have opened to us.
    pub per_source_max: usize,
    /// A connection must be open, its TLS handshake included, within this.
    pub connect_timeout: Duration,
    /// A message, once begun, must be whole within this.
    pub message_timeout: Duration,
    /// A connection without any message for so long is closed.
    pub idle_timeout: Duration,
    /// Send a CRLF pair on connections that we opened when they were silent for so long
    /// (RFC 5626 §3.5.1); zero: never.
    pub keepalive: Duration,
    /// Largest message.
    pub message_bytes_max: usize,
    /// Most bytes waiting to be written to one connection: beyond, it is closed.
    pub send_bytes_max: usize,
    /// Bytes waiting must make some progress within this.
    pub send_timeout: Duration,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            connections_max: 16_384,
            per_source_max: 4_096,
            connect_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            keepalive: Duration::from_secs(60),
            message_bytes_max: 65_535,
            send_bytes_max: 1 << 20,
            send_timeout: Duration::from_secs(10),
        }
    }
}

/// Media settings.
#[derive(Clone, Debug)]
pub struct Media {
    /// Where media sockets are bound; an [`InterfaceId`] is an index here. At least one.
    pub interfaces: Vec<MediaInterface>,
    /// How long a port pair rests after a call.
    pub quarantine: Duration,
    /// End an answered call when no media arrived for so long; zero: never.
    pub timeout: Duration,
    /// End an answered call when no valid media ever came, for so long, from a side that said it
    /// sends; zero: never.
    pub unlatched_timeout: Duration,
    /// Between two reports of our own to a peer that hears none; zero: never any.
    pub rtcp_interval: Duration,
}

impl Media {
    /// The address that peers of interface `id` are told. One that is not there has none, so that nothing
    /// is sent to it.
    pub fn advertised(&self, id: InterfaceId) -> IpAddr {
        let interface = self.interfaces.get(usize::from(id.0));
        interface.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |interface| {
            interface.advertised
        })
    }
}

/// An address that media goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaInterface {
    /// Name in the configuration.
    pub name: String,
    /// Address that media sockets are bound to.
    pub bind: IpAddr,
    /// Address written into SDP.
    pub advertised: IpAddr,
    /// First port (even) and last port (odd), inclusive.
    pub ports: (u16, u16),
    /// Differentiated services code point of what is sent, 0 to 63 (RFC 2474).
    pub dscp: u8,
}

/// SIP timers and bounds.
#[derive(Clone, Debug)]
pub struct Sip {
    /// RFC 3261 T1.
    pub t1: Duration,
    /// RFC 3261 T2.
    pub t2: Duration,
    /// RFC 3261 T4.
    pub t4: Duration,
    /// How long a call waits for any response before it tries the next address.
    pub failover: Duration,
    /// How long a call may ring before it is cancelled (stands for timer C).
    pub no_answer: Duration,
    /// Most calls per shard.
    pub calls_max: usize,
    /// Most transactions (tombstones included) per shard.
    pub transactions_max: usize,
    /// Value for `Server` and `User-Agent`; empty: neither is sent.
    pub server_name: String,
}
