//! Parameters and results of the admin protocol (`docs/ADMIN.md`).
//!
//! Parameters are strict (an unknown key is an error: an operator's typing mistake must not pass
//! silently); results are lenient, so that a client reads the answer of a daemon with a later
//! minor version.

use super::named::Named;
pub use super::{
    attempt::AttemptDetail,
    route::{RouteReport, RouteRule, RouteTarget, TestRoute},
    traffic::{CallCount, TrafficStatus, WayStatus},
};
use crate::counters::Gauges;
use serde::{Deserialize, Deserializer, Serialize};

/// Version of this protocol. A change of `major` breaks clients; `minor` counts additions.
pub const PROTOCOL: ProtocolVersion = ProtocolVersion { major: 1, minor: 4 };

/// Version of the admin protocol, written `"1.4"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolVersion {
    /// Clients and daemons of different `major` do not understand each other.
    pub major: u16,
    /// Additions since `major`.
    pub minor: u16,
}

impl std::fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl std::str::FromStr for ProtocolVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a protocol version is written MAJOR.MINOR, like 1.0";
        let (major, minor) = text.split_once('.').ok_or(wrong)?;
        Ok(Self {
            major: major.parse().map_err(|_| wrong)?,
            minor: minor.parse().map_err(|_| wrong)?,
        })
    }
}

impl Serialize for ProtocolVersion {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ProtocolVersion {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// `hello`: what the client speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The client's protocol version.
    pub protocol: ProtocolVersion,
    /// The client's name and version, for the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// Answer to `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloResult {
    /// The daemon's protocol version: same major, maybe another minor.
    pub protocol: ProtocolVersion,
    /// Version of the daemon.
    pub version: String,
}

/// `status`: no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetStatus {}

/// What the daemon is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// New calls are accepted.
    Running,
    /// New calls are refused, running ones go on.
    Draining,
    /// As draining, and the process ends when the calls have ended or their time is up.
    Stopping,
}

impl State {
    /// As written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

/// Answer to `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of this protocol.
    pub protocol: ProtocolVersion,
    /// Version of the daemon.
    pub version: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Milliseconds since start-up.
    pub uptime_ms: u64,
    /// Whether new calls are accepted.
    pub state: State,
    /// Configuration file; `None`: the built-in default.
    pub config: Option<String>,
    /// I/O backend of the shards: `io_uring` or `syscall`.
    pub backend: String,
    /// Why that backend runs.
    pub backend_reason: String,
    /// Number of shards.
    pub shards: u8,
    /// SIP sockets.
    pub listeners: Vec<ListenerStatus>,
    /// Address that the media ports of the default interface are bound to.
    pub media: String,
    /// Address of it that is written into SDP.
    pub media_advertised: String,
    /// First and last media port of it.
    pub media_ports: (u16, u16),
    /// Pairs of media ports that can be in use, of all shards and interfaces.
    pub media_pairs_max: u64,
    /// Every media interface, the default one first. (A daemon of before there were several says nothing.)
    #[serde(default)]
    pub media_interfaces: Vec<MediaStatus>,
    /// Calls in any state.
    pub calls: u64,
    /// New INVITEs since start-up.
    pub calls_attempted: u64,
    /// Calls answered since start-up.
    pub calls_answered: u64,
    /// Level of the log.
    pub log_level: LogLevel,
}

/// One SIP socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Name in the configuration.
    pub name: String,
    /// `udp`, `tcp` or `tls`. (A daemon of protocol 1.0 speaks UDP and does not say so.)
    #[serde(default = "udp")]
    pub transport: String,
    /// Address it is bound to.
    pub bind: String,
    /// Address written into Via and Contact.
    pub advertised: String,
}

/// One media interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaStatus {
    /// Name in the configuration.
    pub name: String,
    /// Address that its ports are bound to.
    pub bind: String,
    /// Address written into SDP.
    pub advertised: String,
    /// First and last port.
    pub ports: (u16, u16),
    /// Pairs of ports that can be in use, of all shards.
    pub pairs_max: u64,
    /// Pairs in use.
    pub pairs: u64,
    /// Pairs that rest after a call.
    pub pairs_quarantined: u64,
}

fn yes() -> bool {
    true
}

fn udp() -> String {
    "udp".to_owned()
}

/// Where a list of calls goes on: after slot `slot` of shard `shard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Shard to go on with.
    pub shard: u8,
    /// Last slot seen there; `None`: start of the shard.
    #[serde(default)]
    pub slot: Option<u32>,
}

/// Rows of a page of `calls.list` when the client does not say.
pub const PAGE_ROWS_DEFAULT: u32 = 100;
/// Most rows of a page of `calls.list`; a larger wish is cut to this.
pub const PAGE_ROWS_MAX: u32 = 1000;

/// `calls.list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListCalls {
    /// `next` of the page before; `None`: from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cursor>,
    /// Most calls to look at for this page: [`PAGE_ROWS_DEFAULT`] unless given, at most
    /// [`PAGE_ROWS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only calls that came from or went to this trunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// Only calls whose calling or called number contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
}

impl ListCalls {
    /// Rows to look at: the wish within its bounds.
    pub fn rows(&self) -> u32 {
        self.limit.unwrap_or(PAGE_ROWS_DEFAULT).clamp(1, PAGE_ROWS_MAX)
    }

    /// Whether `call` passes the filters.
    pub fn matches(&self, call: &CallSummary) -> bool {
        let trunk = self
            .trunk
            .as_deref()
            .is_none_or(|t| call.from_trunk == t || call.to_trunk == t);
        let number = self.number.as_deref();
        trunk && number.is_none_or(|n| call.caller.contains(n) || call.callee.contains(n))
    }
}

/// Answer to `calls.list`. A filtered page may be short or empty and still have a `next`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// The calls, by shard and slot.
    pub calls: Vec<CallSummary>,
    /// Give this as `after` to go on; `None`: that was all.
    pub next: Option<Cursor>,
}

/// `calls.show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowCall {
    /// The call's id as in `calls.list`.
    pub id: String,
}

/// `calls.hangup`: BYE or CANCEL and a final response to both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HangupCall {
    /// The call's id as in `calls.list`.
    pub id: String,
}

/// Answer to `calls.hangup`: the call is being ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HungUp {
    /// The call's id.
    pub id: String,
}

/// `trunks.list`: no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListTrunks {}

/// Answer to `trunks.list`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trunks {
    /// In the order of the configuration.
    pub trunks: Vec<TrunkStatus>,
}

/// One trunk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrunkStatus {
    /// Name in the configuration.
    pub name: String,
    /// How it is recognised: `ip`, `credentials` or `fqdn`.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// It takes part in new calls. (A daemon that cannot switch trunks off does not say so.)
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Sources that belong to it.
    pub hosts: Vec<String>,
    /// Where requests to it are sent.
    pub target: String,
    /// The listener used towards it.
    pub listener: String,
    /// Trunks that its calls go to, with commas between, or that it depends on the number; `None`: its calls are refused.
    pub route: Option<String>,
    /// Calls from it now.
    pub calls_in: u64,
    /// Calls to it now.
    pub calls_out: u64,
    /// Its limits with their counters: `inbound`, `outbound`, `both`.
    pub limits: Vec<LimitStatus>,
    /// The addresses that its calls are sent to, in order of priority; none: its name is not
    /// resolved.
    #[serde(default)]
    pub addresses: Vec<TrunkAddress>,
    /// Whether it answers OPTIONS: `up`, `down` or `untested`; `None`: it is not watched.
    #[serde(default)]
    pub health: Option<String>,
    /// Milliseconds since that changed.
    #[serde(default)]
    pub health_ms: Option<u64>,
    /// Round-trip time of the last OPTIONS in milliseconds.
    #[serde(default)]
    pub round_trip_ms: Option<f64>,
    /// Whether it knows where we are: `registering`, `registered`, or `failed` with the status; `None`: we do not
    /// register with it.
    #[serde(default)]
    pub registration: Option<String>,
    /// Milliseconds since that changed.
    #[serde(default)]
    pub registration_ms: Option<u64>,
    /// Users who may log in as it; `None`: nobody has to.
    #[serde(default)]
    pub users: Option<u64>,
    /// Those of them that are registered; `None`: its calls do not go to them.
    #[serde(default)]
    pub users_registered: Option<u64>,
    /// Its calls, lately and ever; `None`: a shard does not answer, or the daemon does not count them.
    #[serde(default)]
    pub traffic: Option<TrafficStatus>,
}

/// One address behind a trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkAddress {
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// Address and port.
    pub address: String,
    /// Lower ones are tried first.
    pub priority: u32,
    /// Share among those of the same priority.
    pub weight: u16,
    /// It failed lately: it is tried after the others.
    pub failed: bool,
}

/// Which calls of a trunk a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Calls from the trunk.
    Inbound,
    /// Calls to the trunk.
    Outbound,
    /// Calls in both directions together.
    Both,
}

impl Direction {
    /// All of them, in the order they are shown.
    pub const ALL: [Self; 3] = [Self::Inbound, Self::Outbound, Self::Both];

    /// As written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
            Self::Both => "both",
        }
    }
}

/// What a limit applies to: all calls, or one direction of a trunk.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Scope {
    /// The trunk; `None`: all calls of the process.
    #[serde(default)]
    pub trunk: Option<String>,
    /// The trunk's calls it counts; `None` exactly when `trunk` is.
    #[serde(default)]
    pub direction: Option<Direction>,
    /// It is the `[[limit]]` of this name, and no trunk's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(limit) = &self.limit {
            return write!(f, "limit:{limit}");
        }
        match (&self.trunk, self.direction) {
            (None, _) => f.write_str("global"),
            (Some(trunk), None) => f.write_str(trunk),
            (Some(trunk), Some(direction)) => write!(f, "{trunk} {}", direction.as_str()),
        }
    }
}

/// `limits.show`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowLimits {
    /// Only the limits of this trunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
}

/// Answer to `limits.show` and `limits.set`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// The limits shown or changed, as they are now.
    pub limits: Vec<LimitStatus>,
}

/// One limit: what is allowed, what is used, what happened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitStatus {
    /// What it applies to.
    #[serde(flatten)]
    pub scope: Scope,
    /// Calls per second; 0: no limit.
    pub cps: u32,
    /// Calls that may come at once after a pause.
    pub burst: u32,
    /// Most concurrent calls; 0: no limit.
    pub channels: u32,
    /// Concurrent calls now.
    pub channels_used: u32,
    /// Calls admitted since start-up.
    #[serde(default)]
    pub admitted: u64,
    /// Calls refused by `cps` since start-up.
    #[serde(default)]
    pub refused_cps: u64,
    /// Calls refused by `channels` since start-up.
    #[serde(default)]
    pub refused_channels: u64,
}

/// Most changes in one `limits.set`.
pub const LIMIT_CHANGES_MAX: usize = 64;

/// `limits.set`: all changes are checked before the first is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLimits {
    /// 1 to [`LIMIT_CHANGES_MAX`] of them.
    pub changes: Vec<LimitChange>,
}

/// New values for one limit. A key that is absent keeps its value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitChange {
    /// The trunk; absent: the global limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// Which of the trunk's limits; required with `trunk`, not allowed without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// The `[[limit]]` of this name; then neither `trunk` nor `direction`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Calls per second; 0: no limit, as in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cps: Option<u32>,
    /// Calls that may come at once after a pause; 0 counts as 1. Absent: kept; a tenth of `cps`
    /// when there was no rate before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Most concurrent calls; 0: no limit, as in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
}

impl LimitChange {
    /// What it changes.
    pub fn scope(&self) -> Scope {
        Scope {
            trunk: self.trunk.clone(),
            direction: self.direction,
            limit: self.limit.clone(),
        }
    }
}

/// `stats`: no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GetStats {}

/// Answer to `stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Counters since start-up, summed over shards.
    pub counters: Named,
    /// What the shards hold now, summed.
    pub gauges: Named,
    /// The same for each shard.
    pub shards: Vec<ShardStats>,
}

/// Counters and gauges of one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStats {
    /// The shard.
    pub shard: u8,
    /// Counters since start-up.
    pub counters: Named,
    /// What it holds now.
    pub gauges: Named,
}

/// `shards`: no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListShards {}

/// Answer to `shards`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shards {
    /// By shard index.
    pub shards: Vec<ShardStatus>,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardStatus {
    /// The shard.
    pub shard: u8,
    /// Core its thread is pinned to; `None`: not pinned.
    pub core: Option<u32>,
    /// I/O backend: `io_uring` or `syscall`.
    pub backend: String,
    /// CPU time its thread has used, in milliseconds.
    pub cpu_ms: u64,
    /// Milliseconds since start-up, the base for `cpu_ms`.
    pub uptime_ms: u64,
    /// What it holds now.
    pub gauges: Gauges,
    /// New INVITEs since start-up.
    pub calls_attempted: u64,
    /// Messages it handed to other shards.
    pub handed_over: u64,
    /// Media packets it received.
    pub media_received: u64,
    /// Share of the time that its thread was busy lately, in percent. (A daemon of before does not say.)
    #[serde(default)]
    pub busy_percent: u32,
    /// Share of new calls that it refuses because it is overloaded, in percent.
    #[serde(default)]
    pub shed_percent: u32,
    /// Longest turn of its loop lately, in microseconds: how long a message may have waited for others.
    #[serde(default)]
    pub lag_us: u64,
    /// New calls refused because it was overloaded, since start-up.
    #[serde(default)]
    pub refused_overload: u64,
}

/// `drain`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// `true`: refuse new calls; `false`: accept them again; absent: only say how far it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
}

/// Answer to `drain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainProgress {
    /// Whether new calls are refused.
    pub draining: bool,
    /// Calls still up.
    pub calls: u64,
}

/// `log.level`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLogLevel {
    /// The level from now on; absent: only say what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
}

/// Answer to `log.level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevelResult {
    /// The level now.
    pub level: LogLevel,
    /// The level before.
    pub previous: LogLevel,
}

/// `tls.show`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowTls {}

/// `tls.reload`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadTls {}

/// Answer to `tls.show` and `tls.reload`: what is in use now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificates {
    /// Our own certificates.
    pub certificates: Vec<CertificateStatus>,
    /// What to look at: a certificate that ends soon, a key that others may read.
    pub warnings: Vec<String>,
}

/// One of our own certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// `listener "NAME"` or `trunk "NAME"`.
    pub owner: String,
    /// The file it was read from.
    pub file: String,
    /// Its subject's alternative names: DNS names, then URIs.
    pub names: Vec<String>,
    /// Seconds since 1970 when it begins to be valid.
    pub not_before: u64,
    /// Seconds since 1970 when it expires.
    pub not_after: u64,
    /// Seconds until then, as the daemon's clock has it; 0: expired.
    pub expires_in_s: u64,
}

/// How much is logged: this and everything more severe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Only what stops something from working.
    Error,
    /// What an operator should look at.
    Warn,
    /// Normal life.
    #[default]
    Info,
    /// Detail of calls and messages.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// All of them, most severe first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// As written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// One row of `sbc-ctl calls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSummary {
    /// Our id of the call.
    pub id: String,
    /// Shard that owns it.
    pub shard: u8,
    /// Slot within the shard: the cursor for paging.
    pub slot: u32,
    /// `proceeding`, `ringing`, `answered`, `ending`.
    pub state: String,
    /// Trunk it came from.
    pub from_trunk: String,
    /// Trunk it went to.
    pub to_trunk: String,
    /// Calling number.
    pub caller: String,
    /// Called number.
    pub callee: String,
    /// Age in milliseconds.
    pub age_ms: u64,
}

/// `sbc-ctl call show`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallDetail {
    /// The row as in the list.
    pub summary: CallSummary,
    /// The caller's number in E.164 form, without `+`; `None`: it has none.
    #[serde(default)]
    pub calling_number: Option<String>,
    /// The called number in E.164 form, without `+`: what its route was looked up by.
    #[serde(default)]
    pub called_number: Option<String>,
    /// Both legs, A (caller) first.
    pub legs: Vec<LegDetail>,
    /// Media per direction, when the call has media.
    pub media: Vec<MediaDetail>,
    /// Attempts to reach the callee, in their order. (Older daemons do not say.)
    #[serde(default)]
    pub attempts: Vec<AttemptDetail>,
}

/// One leg of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegDetail {
    /// `A` or `B`.
    pub leg: String,
    /// Trunk of this side.
    pub trunk: String,
    /// Call-ID on this side.
    pub call_id: String,
    /// Peer's SIP address.
    pub peer: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag, empty until known.
    pub remote_tag: String,
    /// What this side waits for, in words.
    pub state: String,
}

/// Media received from one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaDetail {
    /// `A` or `B`: the side that sends.
    pub leg: String,
    /// Our RTP port towards that side.
    pub port: u16,
    /// Address in the peer's SDP.
    pub signalled: String,
    /// Address learned from packets, empty until latched.
    pub latched: String,
    /// RTP packets received.
    pub packets: u64,
    /// RTP octets received, headers included.
    pub octets: u64,
    /// Packets missing by sequence number.
    pub lost: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// Milliseconds since the last packet, `None` before the first.
    pub idle_ms: Option<u64>,
    /// Packets from a wrong source.
    pub wrong_source: u64,
    /// What else was not let through. (A daemon of protocol 1.1 does not say.)
    #[serde(default)]
    pub refused: MediaRefused,
    /// Suite of SRTP on that side, by its name of RFC 4568; `None`: plain RTP.
    #[serde(default)]
    pub srtp: Option<String>,
    /// Whether RTCP with that side goes by the RTP port (RFC 5761), as was agreed with it.
    #[serde(default)]
    pub rtcp_mux: bool,
    /// Milliseconds in each packet of G.711 that this side is sent, where packets of the other side are cut and joined for
    /// it; `None`: they pass as they come.
    #[serde(default)]
    pub ptime_ms: Option<u32>,
    /// Its digits (DTMF), where they are told to the other side by another method; `None`: they pass as they come.
    #[serde(default)]
    pub digits: Option<MediaDigits>,
    /// What we play to that side: `ringback`, `comfort_noise` or `digits`; `None`: nothing.
    #[serde(default)]
    pub played: Option<String>,
    /// How it arrives. (A daemon of protocol 1.1 does not say.)
    #[serde(default)]
    pub quality: MediaQuality,
}

/// Digits between us and one side. How many, and never which.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MediaDigits {
    /// How this side sends and hears them: `rfc4733`, `info`, `info-dtmf` or `inband`; `None`: it has no method that
    /// can be used.
    pub method: Option<String>,
    /// Digits that it sent.
    pub heard: u64,
    /// Digits of the other side that it was told.
    pub told: u64,
    /// Digits that it sent by a second method, after they had been heard by the first.
    pub ignored: u64,
    /// Digits of the other side that it was not told: it refused them, was on hold, or too many waited.
    pub lost: u64,
}

/// Packets from one side that went no further, by reason, RTP and RTCP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MediaRefused {
    /// Where the last packet from a wrong source came from.
    pub stranger: Option<String>,
    /// Neither RTP nor RTCP.
    pub malformed: u64,
    /// The other side has no known address, or is on hold.
    pub no_destination: u64,
    /// Of a payload type that the other side has not agreed to.
    pub format: u64,
    /// From before a change of source, or something of our own was sent in its place.
    pub displaced: u64,
    /// Not protected under this side's key.
    pub srtp_bad_tag: u64,
    /// Here before, or too late; also where a plain stream jumps back that leaves as SRTP.
    pub srtp_replayed: u64,
    /// A key is used up, or has met too many SSRCs.
    pub srtp_failed: u64,
}

/// How media from one side arrives, and what RTCP tells of the way. Times in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MediaQuality {
    /// Packets missing, in percent of those that should have come.
    pub loss_percent: f64,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets that came again.
    pub duplicates: u64,
    /// Bursts: losses with fewer than 16 good packets between any two (RFC 3611 §4.7.2).
    pub bursts: u64,
    /// Their mean length.
    pub burst_ms: f64,
    /// Packets missing within them, in percent.
    pub burst_loss_percent: f64,
    /// Packets missing outside of them, in percent.
    pub gap_loss_percent: f64,
    /// Largest difference between the delays of two packets in a row; 0: never more than 5.
    pub delay_variation_max_ms: f64,
    /// What 95 of 100 such differences kept below: 5, 10, 20, 40, 80, 160 or the largest.
    pub delay_variation_p95_ms: f64,
    /// Longest time between two packets, when one was longer than 200.
    pub longest_silence_ms: Option<u64>,
    /// Times the SSRC changed.
    pub ssrc_changes: u64,
    /// Payload types in the order of their first packet; of more than six, the first six.
    pub payloads: Vec<PayloadSeen>,
    /// That of the last packet.
    pub payload_last: Option<u8>,
    /// Round-trip time between us and this side, as its last RTCP report tells.
    pub round_trip_ms: Option<f64>,
    /// The longest so far.
    pub round_trip_max_ms: Option<f64>,
    /// Packets that this side says it misses of what we send, in percent, in its last RTCP report.
    pub heard_loss_percent: Option<f64>,
    /// RTCP datagrams received.
    pub rtcp_packets: u64,
    /// RTCP packets in them that were not passed on, because they would name this side.
    pub rtcp_removed: u64,
    /// Transmission rating of ITU-T G.107, 0 to 100, when the codec has one.
    pub r_factor: Option<f64>,
    /// Mean opinion score of it, 1 to 4.5.
    pub mos: Option<f64>,
}

/// A payload type and its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayloadSeen {
    /// 0 to 127.
    pub payload_type: u8,
    /// Packets with it.
    pub packets: u64,
}
