//! What must hold between options, after each has been read.

mod account;
mod fixed;
mod login;
mod route;
mod tls;

pub(super) use account::is_user;
pub(super) use fixed::check as fixed;

use super::{
    guard, identity,
    interfaces::{self, Interface},
    limits, numbers,
    options::{Config, Listener, Trunk},
    overload,
    read::{Value, nearest, printable, without_indices},
    value::{Latch, TrunkTransport},
};
use crate::{
    sdp::{TELEPHONE_EVENT, is_audio_name},
    snapshot::{Dtmf, Ringback},
    transport::Transport,
    trunk::{HostMatch, SourceTable, TrunkId},
};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

/// Most listeners: a listener's index is a byte.
const LISTENERS_MAX: usize = 255;
/// Most trunks: a trunk's index has two bytes; this many hold every operator we can think of.
const TRUNKS_MAX: usize = 10_000;
/// Most hosts of one trunk.
const HOSTS_MAX: usize = 1_000;

/// Where problems go: the path of the key and the message.
pub(super) type Report<'a> = &'a mut dyn FnMut(&str, String);

/// Report every contradiction in `config`.
pub(super) fn check(config: &Config, report: Report<'_>) {
    shards(config, report);
    listeners(config, report);
    interfaces::check(config, report);
    sip(config, report);
    trunks(config, report);
    sources(config, report);
    login::realms(config, report);
    claimed_domains(config, report);
    route::check(config, report);
    guard::check(&config.guard, &config.acl, report);
    limits::check(config, report);
    overload::check(&config.overload, report);
}

fn shards(config: &Config, report: Report<'_>) {
    let Some(cpus) = &config.shards.cpus else { return };
    if cpus.is_empty() {
        report(
            "shards.cpus",
            "the list is empty: name cores, or leave it out to use all".into(),
        );
    }
    if !config.shards.pin {
        report(
            "shards.cpus",
            "has no effect with pin = false: remove one of them".into(),
        );
    }
    for (n, cpu) in cpus.iter().enumerate() {
        if cpus[..n].contains(cpu) {
            report(
                &format!("shards.cpus[{n}]"),
                format!("core {cpu} is listed twice"),
            );
        }
    }
    if let super::ShardCount::Fixed(count) = config.shards.count
        && cpus.len() < usize::from(count)
    {
        report(
            "shards.cpus",
            format!(
                "it has {} for {count} shards (shards.count): list one core for each",
                cpus.len()
            ),
        );
    }
}

fn listeners(config: &Config, report: Report<'_>) {
    let all = &config.listeners;
    if all.is_empty() || all.len() > LISTENERS_MAX {
        report(
            "listener",
            format!("there are {}; allowed are 1 to {LISTENERS_MAX}", all.len()),
        );
        return;
    }
    for (n, listener) in all.iter().enumerate() {
        let at = format!("listener[{n}]");
        name(
            &format!("{at}.name"),
            &listener.name,
            all[..n].iter().map(|l| &l.name),
            "listener",
            report,
        );
        // Datagrams and streams have ports of their own.
        let taken = |other: &&Listener| {
            other.transport.is_reliable() == listener.transport.is_reliable()
                && same_socket(other.address, listener.address)
        };
        if let Some(other) = all[..n].iter().find(taken) {
            report(
                &format!("{at}.address"),
                format!(
                    "{} is taken by listener \"{}\" ({})",
                    listener.address, other.name, other.address
                ),
            );
        }
        advertise(
            &at,
            listener.address.ip(),
            listener.advertise.map(|a| a.ip()),
            &format!("\"192.0.2.1:{}\"", listener.address.port()),
            report,
        );
        tls::listener(&at, listener, report);
        let in_range = |interface: &Interface<'_>| {
            (interface.ports.first..=interface.ports.last).contains(&listener.address.port())
                && same_address(interface.address, listener.address.ip())
        };
        if let Some(interface) = config.interfaces().into_iter().find(in_range) {
            report(
                &format!("{at}.address"),
                format!(
                    "port {} is one of {}.ports ({}-{}): use another port, or another range",
                    listener.address.port(),
                    without_indices(&interface.at),
                    interface.ports.first,
                    interface.ports.last
                ),
            );
        }
    }
}

fn sip(config: &Config, report: Report<'_>) {
    let sip = &config.sip;
    if sip.t2_ms < sip.t1_ms {
        report(
            "sip.t2_ms",
            format!("{} is less than t1_ms ({})", sip.t2_ms, sip.t1_ms),
        );
    }
}

fn trunks(config: &Config, report: Report<'_>) {
    let all = &config.trunks;
    if all.is_empty() || all.len() > TRUNKS_MAX {
        report(
            "trunk",
            format!("there are {}; allowed are 1 to {TRUNKS_MAX}", all.len()),
        );
        return;
    }
    // A thousand trunks must not cost a million comparisons of names.
    let mut names: HashMap<&str, ()> = HashMap::with_capacity(all.len());
    for (n, trunk) in all.iter().enumerate() {
        let at = format!("trunk[{n}]");
        let twice = names.insert(&trunk.name, ()).is_some();
        name(
            &format!("{at}.name"),
            &trunk.name,
            twice.then_some(&trunk.name).into_iter(),
            "trunk",
            report,
        );
        let named = trunk.next_hop().is_some_and(|hop| hop.address().is_none());
        if (trunk.hosts.is_empty() && !named && !trunk.roams()) || trunk.hosts.len() > HOSTS_MAX {
            report(
                &format!("{at}.hosts"),
                format!("there are {}; allowed are 1 to {HOSTS_MAX}", trunk.hosts.len()),
            );
        } else {
            if !trunk.is_registered_with() {
                next_hop(config, trunk, &at, report);
            }
            domains(config, trunk, n, report);
        }
        tls::trunk(config, &at, trunk, report);
        account::trunk(&at, trunk, report);
        login::trunk(config, &at, trunk, report);
        numbers::check(&at, trunk, report);
        identity::check(&at, trunk, report);
        interfaces::of_trunk(config, &at, trunk, report);
        media_of_trunk(config, &at, trunk, report);
        for (key, limit) in [
            ("inbound", &trunk.limits.inbound),
            ("outbound", &trunk.limits.outbound),
            ("both", &trunk.limits.both),
        ] {
            burst(
                &format!("{at}.limits.{key}.burst"),
                limit.cps,
                limit.burst,
                report,
            );
        }
    }
    burst("limits.burst", config.limits.cps, config.limits.burst, report);
}

fn media_of_trunk(config: &Config, at: &str, trunk: &Trunk, report: Report<'_>) {
    let suites = &trunk.srtp_suites;
    if suites.is_empty() {
        report(
            &format!("{at}.srtp_suites"),
            "the list is empty: name suites, or leave it out".into(),
        );
    }
    for (n, suite) in suites.iter().enumerate() {
        if suites[..n].contains(suite) {
            let path = format!("{at}.srtp_suites[{n}]");
            report(&path, format!("{} is listed twice", suite.name()));
        }
    }
    let latch = trunk.latch.unwrap_or(config.media.latch);
    if trunk.latch_window_ms.is_some() && latch != Latch::Relearn {
        report(
            &format!("{at}.latch_window_ms"),
            format!(
                "has no effect with latch = {}: remove it, or set latch = \"relearn\"",
                latch.show()
            ),
        );
    }
    super::ptime::check(at, trunk, report);
    let plays = matches!(trunk.ringback, Ringback::Tone | Ringback::InstantTone);
    if plays && trunk.ringback_tone.is_none() {
        report(
            &format!("{at}.ringback"),
            "there is no tone without a country: add one such as ringback_tone = \"DE\"".into(),
        );
    }
    if !plays && trunk.ringback_tone.is_some() {
        report(
            &format!("{at}.ringback_tone"),
            "has no effect without ringback = \"tone\" or \"instant_tone\": add one, or remove it".into(),
        );
    }
    let Some(codecs) = &trunk.codecs else { return };
    for (n, codec) in codecs.iter().enumerate() {
        if codecs[..n]
            .iter()
            .any(|other| other.0.eq_ignore_ascii_case(&codec.0))
        {
            report(
                &format!("{at}.codecs[{n}]"),
                format!("{} is listed twice", codec.0),
            );
        }
    }
    let lists = |name: &str| codecs.iter().any(|codec| codec.0.eq_ignore_ascii_case(name));
    let missing = match trunk.dtmf {
        Some(Dtmf::Events) if !lists(TELEPHONE_EVENT) => Some("\"telephone-event\""),
        Some(Dtmf::Inband) if !lists("PCMA") && !lists("PCMU") => Some("\"PCMA\" or \"PCMU\""),
        _ => None,
    };
    if let Some(missing) = missing {
        report(
            &format!("{at}.dtmf"),
            format!(
                "cannot be used, because codecs does not list {missing}: add it there, or choose another method"
            ),
        );
    }
    if !codecs.iter().any(|codec| is_audio_name(&codec.0)) {
        report(
            &format!("{at}.codecs"),
            "names no codec for speech, so no call would pass: add one such as \"PCMA\", or leave the list out".into(),
        );
    }
}

pub(super) fn burst(path: &str, cps: u32, burst: Option<u32>, report: Report<'_>) {
    if burst.is_some() && cps == 0 {
        report(
            path,
            "has no effect without cps: set cps, too, or remove it".into(),
        );
    }
}

/// The key that says where requests to `trunk` are sent.
fn next_hop_key(trunk: &Trunk) -> &'static str {
    if trunk.outbound_proxy.is_some() {
        "outbound_proxy"
    } else if trunk.target.is_some() {
        "target"
    } else {
        "hosts"
    }
}

fn next_hop(config: &Config, trunk: &Trunk, at: &str, report: Report<'_>) {
    let Some(destination) = trunk.destination() else {
        report(
            &format!("{at}.target"),
            "missing; with networks alone in hosts it cannot be guessed: set target = \"address:port\""
                .into(),
        );
        return;
    };
    let next_hop = trunk.outbound_proxy.as_ref().unwrap_or(&destination);
    let key = format!("{at}.{}", next_hop_key(trunk));
    let target = next_hop.address();
    if let Some(target) = target.filter(|t| t.ip().is_unspecified()) {
        report(&key, format!("{target} is no address to send to"));
    }
    // A listener on 0.0.0.0 does not count: the usual target has the usual port, too.
    let own = config
        .listeners
        .iter()
        .find(|l| target.is_some_and(|target| l.address == target || l.advertise == Some(target)));
    if let (Some(own), Some(target)) = (own, target) {
        report(
            &key,
            format!(
                "requests would go to {target}, which is our own listener \"{}\": calls would loop",
                own.name
            ),
        );
    }
    listener(config, trunk, at, &key, target, report);
}

/// The listener that a trunk names must exist, speak its transport and reach `target`; if it names
/// none, there must be one that does.
fn listener(
    config: &Config,
    trunk: &Trunk,
    at: &str,
    key: &str,
    target: Option<SocketAddr>,
    report: Report<'_>,
) {
    let family = |ip: IpAddr| if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let fixed = match trunk.transport {
        Some(TrunkTransport::Fixed(transport)) => Some(transport),
        _ => None,
    };
    match (&trunk.listener, target) {
        (None, _) if config.listener_of(trunk).is_some() => {}
        (None, Some(target)) if fixed.is_none() => report(
            key,
            format!(
                "the target {target} is {} and no listener is: add a [[listener]] for it",
                family(target.ip())
            ),
        ),
        (None, target) => {
            let transport = fixed.map_or("any", Transport::name);
            let family = target.map_or(String::new(), |t| format!(" and {}", family(t.ip())));
            report(
                &format!("{at}.transport"),
                format!("no listener is {transport}{family}: add a [[listener]] for it"),
            );
        }
        (Some(name), target) => match config.listeners.iter().find(|l| l.name == *name) {
            None => {
                let known = config.listeners.iter().map(|l| l.name.as_str());
                report(&format!("{at}.listener"), unknown("listener", name, known));
            }
            Some(l) => {
                if let Some(target) = target.filter(|t| l.address.is_ipv4() != t.is_ipv4()) {
                    report(
                        &format!("{at}.listener"),
                        format!(
                            "listener \"{name}\" is {}, the target {target} is {}",
                            family(l.address.ip()),
                            family(target.ip())
                        ),
                    );
                }
                if let Some(transport) = fixed.filter(|t| *t != l.transport) {
                    report(
                        &format!("{at}.transport"),
                        format!(
                            "listener \"{name}\" is {}, not {}",
                            l.transport.name(),
                            transport.name()
                        ),
                    );
                }
            }
        },
    }
}

fn domains(config: &Config, trunk: &Trunk, n: usize, report: Report<'_>) {
    for (d, domain) in trunk.domains.iter().enumerate() {
        let at = format!("trunk[{n}].domains[{d}]");
        if trunk.domains[..d].contains(domain) {
            report(&at, format!("{} is listed twice", domain.0));
        }
        if domain.port() {
            report(
                &at,
                format!("{} has a port, which is not looked at: remove it", domain.0),
            );
        }
    }
    for (f, from) in trunk.domains_from.iter().enumerate() {
        if !config.trunks.iter().any(|t| t.name == *from) {
            let known = config.trunks.iter().map(|t| t.name.as_str());
            report(
                &format!("trunk[{n}].domains_from[{f}]"),
                unknown("trunk", from, known),
            );
        }
    }
    if trunk.domains.is_empty() != trunk.domains_from.is_empty() {
        let (missing, there) = if trunk.domains.is_empty() {
            ("domains", "domains_from")
        } else {
            ("domains_from", "domains")
        };
        report(
            &format!("trunk[{n}].{there}"),
            format!("has no effect without {missing}: set {missing}, too, or remove it"),
        );
    }
}

/// A domain that two trunks claim.
fn claimed_domains(config: &Config, report: Report<'_>) {
    let mut owners: HashMap<&str, usize> = HashMap::new();
    for (n, trunk) in config.trunks.iter().enumerate().take(TRUNKS_MAX) {
        for (d, domain) in trunk.domains.iter().enumerate() {
            if let Some(first) = owners.insert(&domain.0, n).filter(|first| *first != n) {
                let other = printable(&config.trunks[first].name);
                report(
                    &format!("trunk[{n}].domains[{d}]"),
                    format!("{} is a domain of trunk \"{other}\", too", domain.0),
                );
            }
        }
    }
}

/// The same host at two trunks, or twice at one; a target whose replies would be refused.
fn sources(config: &Config, report: Report<'_>) {
    let mut seen: HashMap<HostMatch, usize> = HashMap::new();
    let mut hosts = Vec::new();
    for (n, trunk) in config.trunks.iter().enumerate().take(TRUNKS_MAX) {
        for (h, host) in trunk.hosts.iter().enumerate() {
            hosts.push((TrunkId(n as u16), *host));
            let Some(first) = seen.insert(*host, n) else {
                continue;
            };
            let message = if first == n {
                format!("{host} is listed twice")
            } else if config.trunks[first].may_share_with(trunk) {
                continue;
            } else {
                format!(
                    "{host} is also a host of trunk \"{}\": calls from there could be either's; give one of them \
                     something more specific, such as address:port, or each an account of its own ([trunk.account])",
                    printable(&config.trunks[first].name)
                )
            };
            report(&format!("trunk[{n}].hosts[{h}]"), message);
        }
    }
    let Ok(table) = SourceTable::build_shared(&hosts, |a, b| config.may_share(a, b)) else {
        return;
    };
    for (n, trunk) in config.trunks.iter().enumerate().take(TRUNKS_MAX) {
        let target = trunk.next_hop().and_then(|hop| hop.address());
        let Some(target) = target.filter(|t| !t.ip().is_unspecified()) else {
            continue;
        };
        let key = format!("trunk[{n}].{}", next_hop_key(trunk));
        match table.lookup(target) {
            Some(TrunkId(owner)) if usize::from(owner) == n => {}
            Some(owner) if config.may_share(owner, TrunkId(n as u16)) => {}
            Some(TrunkId(owner)) => report(
                &key,
                format!(
                    "replies from {target} would be taken for trunk \"{}\"'s, which lists that source: list \
                     \"{target}\" in hosts here",
                    printable(&config.trunks[usize::from(owner)].name)
                ),
            ),
            None if config.trunks[n].roams() => {}
            None => report(
                &key,
                format!("replies from {target} would be refused: list it in hosts, too"),
            ),
        }
    }
}

pub(super) fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let mut message = format!("no {what} is named \"{}\"; ", printable(name));
    match nearest(name, known.clone()) {
        Some(near) => message.push_str(&format!("did you mean \"{near}\"?")),
        None => {
            // A line that a terminal can show; the file has the rest.
            let shown: Vec<_> = known
                .clone()
                .take(8)
                .map(|k| format!("\"{}\"", printable(k)))
                .collect();
            let more = known.count() - shown.len();
            message.push_str(&format!("there are {}", shown.join(", ")));
            if more > 0 {
                message.push_str(&format!(" and {more} more"));
            }
        }
    }
    message
}

pub(super) fn name<'a>(
    path: &str,
    name: &str,
    mut before: impl Iterator<Item = &'a String>,
    what: &str,
    report: Report<'_>,
) {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
        report(
            path,
            format!(
                "\"{}\" is no name: use 1 to 64 letters, digits, - and _",
                printable(name)
            ),
        );
    } else if before.any(|b| b == name) {
        report(path, format!("a {what} before this one is named \"{name}\", too"));
    }
}

pub(super) fn advertise(
    at: &str,
    bound: IpAddr,
    advertised: Option<IpAddr>,
    example: &str,
    report: Report<'_>,
) {
    match advertised {
        None if bound.is_unspecified() => report(
            &format!("{at}.advertise"),
            format!(
                "missing; peers cannot be told {bound}: set the address that they reach us at, such as {example}"
            ),
        ),
        Some(ip) if ip.is_unspecified() => {
            report(&format!("{at}.advertise"), format!("peers cannot be told {ip}"));
        }
        Some(ip) if ip.is_ipv4() != bound.is_ipv4() => {
            report(
                &format!("{at}.advertise"),
                format!("{ip} and address {bound} are not of the same family"),
            );
        }
        _ => {}
    }
}

/// Whether both could receive the same datagram.
fn same_socket(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && same_address(a.ip(), b.ip())
}

pub(super) fn same_address(a: IpAddr, b: IpAddr) -> bool {
    a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}
