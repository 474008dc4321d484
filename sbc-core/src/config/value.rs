//! The types that options have: how each is written in TOML, and what is refused.

use super::read::{Reader, Section, Shape, Value, printable};
use crate::{
    digest::Algorithm,
    guard::Action,
    resolve::host_name,
    snapshot::{ClientAuth, Dtmf, Hold, Refer, Reliable, Ringback, RtcpMux, Srtp, SrtpOffer},
    transport::Transport,
    trunk::{HostMatch, ParseHostError, TrunkKind},
};
use sbc_media::{relay::Roc, srtp::Suite, tone::Country};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};
use toml::{Spanned, de::DeValue};

/// How many shards to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardCount {
    /// One per usable core.
    Auto,
    /// This many.
    Fixed(u8),
}

/// Which I/O engine the shards use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// io_uring when the kernel allows it, else system calls.
    Auto,
    /// io_uring; start-up fails when it is refused.
    IoUring,
    /// epoll with `recvmmsg` and `sendmmsg`.
    Syscall,
}

/// The least severe log lines that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Only what stops something from working.
    Error,
    /// What an operator should look at.
    Warn,
    /// Normal life: start, drain, changes by operators.
    Info,
    /// Detail of single calls and messages.
    Debug,
    /// Everything.
    Trace,
}

/// Inclusive range of UDP ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First port, even.
    pub first: u16,
    /// Last port, odd.
    pub last: u16,
}

impl PortRange {
    /// RTP/RTCP port pairs in the range.
    pub fn pairs(self) -> usize {
        (usize::from(self.last) + 1 - usize::from(self.first)) / 2
    }
}

/// Permission bits of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(pub u32);

/// A file that is read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FilePath(pub PathBuf);

/// A password. Shown nowhere, and wiped in the end.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Box<str>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// A source address of a trunk; what [`HostMatch`] says less clearly is told apart here.
fn parse_host(text: &str) -> Result<HostMatch, String> {
    let text = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    let host = match text.parse::<HostMatch>() {
        Ok(host) => host,
        Err(ParseHostError::Form) => {
            let address = text.split_once('/').map_or(text, |(address, _)| address);
            return Err(parse_ip(address).err().unwrap_or_default());
        }
        Err(other) => return Err(other.to_string()),
    };
    match host {
        HostMatch::Addr(ip) => unicast(canonical(ip)?)?,
        HostMatch::AddrPort(at) => unicast(canonical(at.ip())?)?,
        HostMatch::Cidr(ip, bits) => {
            canonical(ip)?;
            if bits == if ip.is_ipv4() { 32 } else { 128 } {
                unicast(ip)?;
                return Ok(HostMatch::Addr(ip));
            }
        }
    }
    Ok(host)
}

fn parse_ip(text: &str) -> Result<IpAddr, String> {
    let ip: IpAddr = text.parse().map_err(|_| {
        let name = text.chars().any(|c| c.is_ascii_alphabetic()) && !text.contains(':');
        if name {
            "host names are not looked up: write the IP address".to_owned()
        } else {
            "it is not an IP address".to_owned()
        }
    })?;
    canonical(ip)
}

/// Refuses IPv4 addresses written as IPv6: a socket reports them as IPv4.
fn canonical(ip: IpAddr) -> Result<IpAddr, String> {
    match ip.to_canonical() {
        v4 if v4 != ip => Err(format!("it is an IPv4 address in IPv6 form: write {v4}")),
        _ => Ok(ip),
    }
}

/// Refuses addresses that no single host can have.
pub(super) fn unicast(ip: IpAddr) -> Result<(), String> {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_unspecified() {
        Err(format!("{ip} is no address that a host can have"))
    } else if ip.is_multicast() || broadcast {
        Err(format!("{ip} is a multicast or broadcast address"))
    } else {
        Ok(())
    }
}

/// Reads a string with `parse`; the message has what was expected and why this is not it.
pub(super) fn read_str<T>(
    reader: &mut Reader<'_>,
    path: &str,
    value: &Spanned<DeValue<'_>>,
    expected: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Option<T> {
    let DeValue::String(text) = value.get_ref() else {
        reader.expected(path, value, expected);
        return None;
    };
    match parse(text) {
        Ok(read) => Some(read),
        Err(why) => {
            let why = if why.is_empty() { why } else { format!(": {why}") };
            reader.problem(
                path,
                value.span().start,
                format!("expected {expected}, found \"{}\"{why}", printable(text)),
            );
            None
        }
    }
}

/// Quote `text` as a TOML string.
pub(super) fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

macro_rules! string_value {
    ($type:ty, $expected:expr, $parse:expr, $show:expr) => {
        impl Value for $type {
            fn shape() -> Shape {
                Shape::Plain($expected.to_owned())
            }
            fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
                read_str(reader, path, value, $expected, $parse)
            }
            fn show(&self) -> String {
                quote(&$show(self))
            }
        }
    };
}

pub(super) use string_value;

string_value!(
    String,
    "text without control characters, at most 128 bytes",
    |s: &str| {
        if s.len() > 128 {
            Err(format!("it has {} bytes", s.len()))
        } else if s.chars().any(char::is_control) {
            Err("it has a control character".to_owned())
        } else {
            Ok(s.to_owned())
        }
    },
    |s: &String| s.clone()
);

string_value!(
    HostMatch,
    "an address, address:port, [IPv6]:port or network/prefix",
    parse_host,
    ToString::to_string
);

string_value!(
    IpAddr,
    "an IP address",
    |s: &str| {
        let ip = parse_ip(s)?;
        if ip.is_unspecified() {
            Ok(ip)
        } else {
            unicast(ip).map(|()| ip)
        }
    },
    ToString::to_string
);

/// Reads `address:port` of a host, or of all (0.0.0.0).
fn parse_socket(s: &str) -> Result<SocketAddr, String> {
    let addr: SocketAddr = s.parse().map_err(|_| match parse_ip(s) {
        Ok(IpAddr::V4(ip)) => format!("the port is missing: write {ip}:5060"),
        Ok(IpAddr::V6(ip)) => format!("the port is missing: write [{ip}]:5060"),
        Err(why) if !s.contains(':') => why,
        Err(_) => match s.rsplit_once(':').map(|(host, _)| parse_ip(host)) {
            Some(Err(why)) => why,
            _ => String::new(),
        },
    })?;
    if addr.port() == 0 {
        return Err("port 0 cannot be used".to_owned());
    }
    canonical(addr.ip())?;
    if addr.ip().is_unspecified() {
        Ok(addr)
    } else {
        unicast(addr.ip()).map(|()| addr)
    }
}

string_value!(
    SocketAddr,
    "address:port or [IPv6]:port",
    parse_socket,
    ToString::to_string
);

/// Where requests are sent: an address, or a name that is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Nothing to look up.
    Address(SocketAddr),
    /// A host name, and a port (then no SRV is looked up).
    Name(String, Option<u16>),
}

impl Destination {
    /// The address, when nothing has to be looked up.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(..) => None,
        }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(host, None) => f.write_str(host),
            Self::Name(host, Some(port)) => write!(f, "{host}:{port}"),
        }
    }
}

fn parse_destination(s: &str) -> Result<Destination, String> {
    match parse_name(s) {
        Some(named) => named.map(|(host, port)| Destination::Name(host, port)),
        None if s.bytes().any(|c| c.is_ascii_alphabetic())
            && s.parse::<IpAddr>().is_err()
            && !s.contains('[') =>
        {
            Err("it is neither an address nor a host name".to_owned())
        }
        None => parse_socket(s).map(Destination::Address),
    }
}

/// A host name with or without a port; `None`: it is not written like one.
fn parse_name(s: &str) -> Option<Result<(String, Option<u16>), String>> {
    let (host, port) = match s.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (s, None),
    };
    let host = host_name(host)?;
    let Some(port) = port else {
        return Some(Ok((host, None)));
    };
    Some(match port.parse() {
        Ok(port) if port > 0 => Ok((host, Some(port))),
        _ => Err(format!("\"{}\" is no port", printable(port))),
    })
}

string_value!(
    Destination,
    "address:port, [IPv6]:port, a host name or name:port",
    parse_destination,
    ToString::to_string
);

/// The host part of a URI: a name or an address, with or without a port, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain(pub String);

impl Domain {
    /// Whether it has a port.
    pub fn port(&self) -> bool {
        let host = self.0.rsplit(']').next().unwrap_or_default();
        host.contains(':')
    }
}

string_value!(
    Domain,
    "a host name or an IP address, with or without a port",
    |s: &str| {
        let bare = s.strip_prefix('[').and_then(|s| s.strip_suffix(']')).unwrap_or(s);
        match (parse_name(s), bare.parse::<IpAddr>()) {
            (Some(named), _) => named.map(|(host, port)| Domain(Destination::Name(host, port).to_string())),
            (None, Ok(IpAddr::V4(ip))) => Ok(Domain(ip.to_string())),
            (None, Ok(IpAddr::V6(ip))) => Ok(Domain(format!("[{ip}]"))),
            (None, Err(_)) => match s.parse::<SocketAddr>() {
                Ok(at) => Ok(Domain(at.to_string())),
                Err(_) => Err(String::new()),
            },
        }
    },
    |d: &Domain| d.0.clone()
);

/// How SIP travels to a trunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrunkTransport {
    /// Always so.
    Fixed(Transport),
    /// As DNS says (RFC 3263 §4.1).
    Auto,
}

string_value!(
    PortRange,
    "a port range such as \"20000-59999\"",
    |s: &str| {
        let (first, last) = s.split_once('-').ok_or("a - between two ports is missing")?;
        let port = |p: &str| {
            p.trim()
                .parse::<u16>()
                .map_err(|_| "a port is 1024 to 65535".to_owned())
        };
        let (first, last) = (port(first)?, port(last)?);
        if first < 1024 {
            Err("ports below 1024 are reserved for services".to_owned())
        } else if first % 2 != 0 {
            Err(format!(
                "it must begin with an even port (RTP), such as {}",
                u32::from(first) + 1
            ))
        } else if last % 2 == 0 {
            let near = if last > first { last - 1 } else { last + 1 };
            Err(format!("it must end with an odd port (RTCP), such as {near}"))
        } else if last < first {
            Err("the last port is before the first".to_owned())
        } else {
            Ok(PortRange { first, last })
        }
    },
    |r: &PortRange| format!("{}-{}", r.first, r.last)
);

string_value!(
    FileMode,
    "an octal file mode such as \"0600\"",
    |s: &str| {
        let mode = u32::from_str_radix(s, 8)
            .ok()
            .filter(|m| s.len() <= 4 && *m <= 0o777 && !s.starts_with('+'));
        match mode {
            None => Err("three octal digits after the 0".to_owned()),
            Some(m) if m & 0o600 != 0o600 => Err("the owner must be able to read and write".to_owned()),
            Some(m) if m & 0o007 != 0 => {
                Err("every local user could hang up calls: grant a group instead, \"0660\"".to_owned())
            }
            Some(m) => Ok(FileMode(m)),
        }
    },
    |m: &FileMode| format!("{:04o}", m.0)
);

string_value!(
    PathBuf,
    "an absolute path of at most 107 bytes (the most a Unix socket's can have)",
    |s: &str| {
        if s.len() > 107 {
            Err(format!("it has {} bytes", s.len()))
        } else if !s.starts_with('/') || s.contains('\0') {
            Err(String::new())
        } else {
            Ok(PathBuf::from(s))
        }
    },
    |p: &PathBuf| p.display().to_string()
);

string_value!(
    FilePath,
    "the absolute path of a file",
    |s: &str| {
        if s.starts_with('/') && !s.contains('\0') {
            Ok(FilePath(PathBuf::from(s)))
        } else {
            Err("it must begin with a slash".to_owned())
        }
    },
    |p: &FilePath| p.0.display().to_string()
);

/// What is found in its place is not shown: it may be the password, without its quotes.
impl Value for Secret {
    fn shape() -> Shape {
        Shape::Plain("a password".to_owned())
    }
    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        let problem = match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => return Some(Self(text.as_ref().into())),
            DeValue::String(_) => "it is empty",
            _ => "expected a password: text in quotes",
        };
        reader.problem(path, value.span().start, problem.to_owned());
        None
    }
    fn show(&self) -> String {
        quote("\u{2026}")
    }
}

/// A string that is one of a few words.
macro_rules! word_value {
    ($type:ty, $expected:literal, $($word:literal => $value:expr),+) => {
        string_value!(
            $type,
            $expected,
            |s: &str| match s {
                $($word => Ok($value),)+
                _ => Err(String::new()),
            },
            |v: &$type| {
                let words = [$(($value, $word)),+];
                words.iter().find(|(value, _)| value == v).map_or(String::new(), |(_, word)| (*word).to_owned())
            }
        );
    };
}

pub(super) use word_value;

word_value!(
    Backend,
    "\"auto\", \"io_uring\" or \"syscall\"",
    "auto" => Backend::Auto,
    "io_uring" => Backend::IoUring,
    "syscall" => Backend::Syscall
);

word_value!(
    Action,
    "\"allow\" or \"deny\"",
    "allow" => Action::Allow,
    "deny" => Action::Deny
);

word_value!(
    Transport,
    "\"udp\", \"tcp\" or \"tls\"",
    "udp" => Transport::Udp,
    "tcp" => Transport::Tcp,
    "tls" => Transport::Tls
);

word_value!(
    TrunkKind,
    "\"ip\", \"credentials\" or \"fqdn\"",
    "ip" => TrunkKind::Ip,
    "credentials" => TrunkKind::Credentials,
    "fqdn" => TrunkKind::Fqdn
);

word_value!(
    Algorithm,
    "\"MD5\", \"SHA-256\" or \"SHA-512-256\"",
    "MD5" => Algorithm::Md5,
    "SHA-256" => Algorithm::Sha256,
    "SHA-512-256" => Algorithm::Sha512_256
);

word_value!(
    Refer,
    "\"pass\", \"local\" or \"refuse\"",
    "pass" => Refer::Pass,
    "local" => Refer::Local,
    "refuse" => Refer::Refuse
);

word_value!(
    RtcpMux,
    "\"never\", \"accept\" or \"offer\"",
    "never" => RtcpMux::Never,
    "accept" => RtcpMux::Accept,
    "offer" => RtcpMux::Offer
);

word_value!(
    Ringback,
    "\"pass\", \"ringing\", \"tone\" or \"instant_tone\"",
    "pass" => Ringback::Pass,
    "ringing" => Ringback::Ringing,
    "tone" => Ringback::Tone,
    "instant_tone" => Ringback::InstantTone
);

word_value!(
    Hold,
    "\"pass\" or \"noise\"",
    "pass" => Hold::Pass,
    "noise" => Hold::Noise
);

string_value!(
    Country,
    "\"BR\", \"DE\", \"FR\", \"GB\", \"IN\" or \"US\"",
    |s: &str| Country::from_code(s).ok_or_else(String::new),
    |v: &Country| v.code().to_owned()
);

word_value!(
    Srtp,
    "\"disabled\", \"optional\" or \"required\"",
    "disabled" => Srtp::Disabled,
    "optional" => Srtp::Optional,
    "required" => Srtp::Required
);

word_value!(
    SrtpOffer,
    "\"best_effort\" or \"savp\"",
    "best_effort" => SrtpOffer::BestEffort,
    "savp" => SrtpOffer::Savp
);

word_value!(
    Dtmf,
    "\"pass\", \"auto\", \"rfc4733\", \"info\", \"info-dtmf\" or \"inband\"",
    "pass" => Dtmf::Pass,
    "auto" => Dtmf::Auto,
    "rfc4733" => Dtmf::Events,
    "info" => Dtmf::InfoRelay,
    "info-dtmf" => Dtmf::InfoPlain,
    "inband" => Dtmf::Inband
);

string_value!(
    Suite,
    &Suite::ALL.map(|suite| format!("\"{}\"", suite.name())).join(", "),
    |s: &str| Suite::from_name(s.as_bytes()).ok_or_else(String::new),
    |suite: &Suite| suite.name().to_owned()
);

/// Encoding name of a codec in SDP (RFC 8866 §6.6), such as `PCMA`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecName(pub String);

string_value!(
    CodecName,
    "the name of a codec in SDP, such as \"PCMA\"",
    |s: &str| {
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-._+".contains(c);
        if s.contains('/') {
            Err("leave the clock rate out".to_owned())
        } else if s.is_empty() || s.len() > 64 || !s.chars().all(is_token) {
            Err(String::new())
        } else {
            Ok(CodecName(s.to_owned()))
        }
    },
    |name: &CodecName| name.0.clone()
);

word_value!(
    Roc,
    "\"keep\" or \"reset\"",
    "keep" => Roc::Keep,
    "reset" => Roc::Reset
);

/// Who may become a media peer besides the address in its SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latch {
    /// Other ports of its IP address.
    Strict,
    /// The first source.
    Once,
    /// A source that keeps sending.
    Relearn,
}

word_value!(
    Latch,
    "\"strict\", \"once\" or \"relearn\"",
    "strict" => Latch::Strict,
    "once" => Latch::Once,
    "relearn" => Latch::Relearn
);

word_value!(
    Reliable,
    "\"off\", \"supported\" or \"required\"",
    "off" => Reliable::Off,
    "supported" => Reliable::Supported,
    "required" => Reliable::Required
);

word_value!(
    ClientAuth,
    "\"none\", \"optional\" or \"required\"",
    "none" => ClientAuth::None,
    "optional" => ClientAuth::Optional,
    "required" => ClientAuth::Required
);

word_value!(
    TrunkTransport,
    "\"udp\", \"tcp\", \"tls\" or \"auto\"",
    "udp" => TrunkTransport::Fixed(Transport::Udp),
    "tcp" => TrunkTransport::Fixed(Transport::Tcp),
    "tls" => TrunkTransport::Fixed(Transport::Tls),
    "auto" => TrunkTransport::Auto
);

word_value!(
    LogLevel,
    "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"",
    "error" => LogLevel::Error,
    "warn" => LogLevel::Warn,
    "info" => LogLevel::Info,
    "debug" => LogLevel::Debug,
    "trace" => LogLevel::Trace
);

impl LogLevel {
    /// The word in the configuration.
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

impl Value for bool {
    fn shape() -> Shape {
        Shape::Plain("true or false".to_owned())
    }
    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        let read = value.get_ref().as_bool();
        if read.is_none() {
            reader.expected(path, value, "true or false (without quotes)");
        }
        read
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! integer_value {
    ($($type:ty),+) => {$(
        impl Value for $type {
            fn shape() -> Shape {
                Shape::Plain("a whole number".to_owned())
            }
            fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
                let read = value
                    .get_ref()
                    .as_integer()
                    .and_then(|n| <$type>::from_str_radix(n.as_str(), n.radix()).ok());
                if read.is_none() {
                    reader.expected(path, value, "a whole number (without quotes or unit)");
                }
                read
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

integer_value!(u16, u32);

impl Value for ShardCount {
    fn shape() -> Shape {
        Shape::Plain("\"auto\" or a number from 1 to 255".to_owned())
    }
    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        let count = match value.get_ref() {
            DeValue::String(s) if s == "auto" => Some(Self::Auto),
            DeValue::Integer(n) => u8::from_str_radix(n.as_str(), n.radix())
                .ok()
                .filter(|n| *n > 0)
                .map(Self::Fixed),
            _ => None,
        };
        if count.is_none() {
            reader.expected(path, value, "\"auto\" or a number from 1 to 255");
        }
        count
    }
    fn show(&self) -> String {
        match self {
            Self::Auto => quote("auto"),
            Self::Fixed(n) => n.to_string(),
        }
    }
}

impl<T: Value> Value for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }
    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        T::read(reader, path, value).map(Some)
    }
    fn show(&self) -> String {
        self.as_ref().map_or(String::new(), T::show)
    }
}

impl<T: Value> Value for Vec<T> {
    fn shape() -> Shape {
        match T::shape() {
            Shape::Table(doc, keys) => Shape::Tables(doc, keys),
            Shape::Plain(what) => Shape::Plain(format!("an array, each {what}")),
            nested @ Shape::Tables(..) => nested,
        }
    }
    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        let DeValue::Array(array) = value.get_ref() else {
            let expected = match T::shape() {
                Shape::Plain(what) => format!("an array [ ], each {what}"),
                _ => format!("sections [[{path}]] with double brackets"),
            };
            reader.expected(path, value, &expected);
            return None;
        };
        let mut elements = Some(Vec::with_capacity(array.len()));
        for (n, element) in array.iter().enumerate() {
            let path = format!("{path}[{n}]");
            reader.place(&path, element.span().start);
            // Read all of them, so that every mistake is reported.
            match T::read(reader, &path, element) {
                Some(read) => {
                    if let Some(elements) = &mut elements {
                        elements.push(read);
                    }
                }
                None => elements = None,
            }
        }
        elements
    }
    fn show(&self) -> String {
        let each: Vec<_> = self.iter().map(T::show).collect();
        format!("[{}]", each.join(", "))
    }
}

impl<T: Section> Value for T {
    fn shape() -> Shape {
        Shape::Table(T::DOC, T::keys())
    }
    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(table) => T::read(reader, path, table, value.span()),
            DeValue::Array(_) => {
                reader.expected(path, value, &format!("one section [{path}] with single brackets"));
                None
            }
            _ => {
                reader.expected(path, value, "a table");
                None
            }
        }
    }
    fn show(&self) -> String {
        String::new()
    }
}
