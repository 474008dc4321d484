//! `trunk.sheet`: what an operator gives to whoever is at the other end of a trunk (T11).
//!
//! In: the sockets that are bound and the trunk's options. Out: addresses as peers are told them, and what is spoken.

use super::{control::Daemon, tls::Tls};
use crate::{
    admin::{
        failure::{Failure, Reason},
        provision::{Sheet, SheetAddress, SheetLogin, SheetMedia},
    },
    admission::LimitView,
    config::{self, Config, Destination},
    digest::Account,
    login::Login,
    snapshot::{Listener, Service, Snapshot, Srtp, Trunk},
    topology::Host,
    transport::Transport,
};

/// The sheet of `trunk`.
pub(super) fn sheet(daemon: &Daemon, trunk: &Trunk) -> Result<Sheet, Failure> {
    let running = &daemon.running;
    let limits = daemon.admission.view(trunk.inbound);
    let tls = daemon.tls.current();
    let names = |listener: &Listener| certificate_names(&tls, listener);
    of(
        &running.snapshot(),
        &running.config(),
        trunk,
        limits.as_ref(),
        names,
    )
    .ok_or_else(|| Failure::new(Reason::NoSuchTrunk, "the trunk has just been removed"))
}

/// The same of a configuration and what it was compiled to. `limit`: on calls from the trunk; `names`: in the certificate of a
/// listener. `None`: there is no such trunk.
fn of(
    snapshot: &Snapshot,
    config: &Config,
    trunk: &Trunk,
    limit: Option<&LimitView>,
    names: impl Fn(&Listener) -> Vec<String>,
) -> Option<Sheet> {
    let mut configured = config.trunks.iter();
    let configured = configured.find(|configured| configured.name == trunk.name)?;
    let from = snapshot.listeners.get(usize::from(trunk.listener.0));
    let ways = ways(snapshot, configured, trunk);
    let first = ways.first().copied().or(from);
    let media = snapshot
        .media
        .interfaces
        .get(usize::from(trunk.media.interface.0));
    let mut certificate_names: Vec<String> = Vec::new();
    for name in ways.iter().flat_map(|listener| names(listener)) {
        if !certificate_names.contains(&name) {
            certificate_names.push(name);
        }
    }
    Some(Sheet {
        trunk: trunk.name.clone(),
        enabled: trunk.service == Service::Enabled,
        uri: first.map_or_else(String::new, uri),
        signalling: ways.into_iter().map(address).collect(),
        from: from.map(source).unwrap_or_default(),
        media: SheetMedia {
            address: snapshot.media.advertised(trunk.media.interface).to_string(),
            ports: media.map_or((0, 0), |media| media.ports),
        },
        hosts: sources(configured, trunk),
        target: trunk.next_hop().to_string(),
        registration: trunk.peer.registration.as_ref().map(|register| {
            let domain = register.domain.as_deref().or(trunk.peer.domain.as_deref());
            let target = trunk.target.to_string();
            format!("{}@{}", register.user, domain.unwrap_or(&target))
        }),
        account: configured
            .account
            .as_ref()
            .map(|account| account.username.clone()),
        login: trunk.peer.login.as_deref().map(login),
        codecs: trunk
            .media
            .codecs
            .as_ref()
            .map(|codecs| codecs.iter().map(ToString::to_string).collect()),
        srtp: match trunk.media.srtp {
            Srtp::Disabled => "disabled",
            Srtp::Optional => "optional",
            Srtp::Required => "required",
        }
        .to_owned(),
        srtp_suites: match trunk.media.srtp {
            Srtp::Disabled => Vec::new(),
            _ => trunk
                .media
                .srtp_suites
                .iter()
                .map(|suite| suite.name().to_owned())
                .collect(),
        },
        certificate_names,
        options_interval_s: trunk.peer.options_interval.as_secs(),
        channels: limit.map_or(0, |limit| limit.channels_max),
        cps: limit.map_or(0, |limit| limit.cps),
    })
}

/// The listeners that the trunk may use, that which talks to it first: the one that takes its log-ins, or those of the address
/// families that its requests come in.
fn ways<'s>(snapshot: &'s Snapshot, configured: &config::Trunk, trunk: &Trunk) -> Vec<&'s Listener> {
    let own = snapshot.listeners.get(usize::from(trunk.listener.0));
    let roaming = trunk.peer.login.as_deref().filter(|login| login.roams);
    let only = roaming.and_then(|login| login.listener);
    // A name may have addresses of any.
    let any = roaming.is_some() || matches!(configured.next_hop(), Some(Destination::Name(..)));
    let reaches = |listener: &&Listener| {
        let ipv4 = listener.bind.is_ipv4();
        any || own.is_none_or(|own| own.bind.is_ipv4() == ipv4)
            || configured.hosts.iter().any(|host| host.ip().is_ipv4() == ipv4)
    };
    let others = snapshot.listeners.iter().filter(reaches);
    let others = others.filter(|listener| only.is_none() && own.is_none_or(|own| own.name != listener.name));
    own.into_iter().chain(others).collect()
}

/// Whose requests are those of the trunk: the hosts that it lists, and the name whose addresses are.
fn sources(configured: &config::Trunk, trunk: &Trunk) -> Vec<String> {
    let roams = trunk.peer.login.as_deref().is_some_and(|login| login.roams);
    let hosts = configured.hosts.iter().map(ToString::to_string);
    let name = match configured.next_hop() {
        Some(Destination::Name(host, _)) if !roams => Some(host),
        _ => None,
    };
    hosts.chain(name).collect()
}

fn login(login: &Login) -> SheetLogin {
    let name = |account: &Account| String::from_utf8_lossy(account.username()).into_owned();
    SheetLogin {
        realm: login.realm.to_string(),
        users: login.accounts.iter().map(name).collect(),
        algorithms: login.algorithms.iter().map(|a| a.name().to_owned()).collect(),
        expires_s: login
            .grants
            .map(|grants| (grants.expires_min_s, grants.expires_max_s)),
    }
}

fn address(listener: &Listener) -> SheetAddress {
    SheetAddress {
        transport: listener.transport.name().to_owned(),
        address: listener.advertised.to_string(),
    }
}

/// Where our requests come from. The port of a connection that we open is the kernel's choice.
fn source(listener: &Listener) -> SheetAddress {
    let mut source = address(listener);
    if listener.transport.is_reliable() {
        source.address = listener.advertised.ip().to_string();
    }
    source
}

fn uri(listener: &Listener) -> String {
    let host = String::from_utf8_lossy(&crate::topology::uri(
        "+14155550100",
        Host::Address(listener.advertised),
        false,
    ))
    .into_owned();
    match listener.transport {
        Transport::Udp => host,
        transport => format!("{host};transport={}", transport.name()),
    }
}

fn certificate_names(tls: &Tls, listener: &Listener) -> Vec<String> {
    if listener.transport != Transport::Tls {
        return Vec::new();
    }
    let owner = format!("listener \"{}\"", listener.name);
    let shown = tls.certificates.iter().find(|shown| shown.owner == owner);
    shown.map_or_else(Vec::new, |shown| shown.names.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sheets of `tests/sheets`: a configuration with a trunk named `peer`, and its sheet. How `sbc-ctl` prints them is a
    /// test of its own.
    const SHEETS: &[(&str, &str, &str)] = {
        macro_rules! sheets {
            ($($name:literal),+ $(,)?) => {
                &[$((
                    $name,
                    include_str!(concat!("../../tests/sheets/", $name, ".toml")),
                    include_str!(concat!("../../tests/sheets/", $name, ".json")),
                )),+]
            };
        }
        sheets![
            "udp",
            "transports",
            "behind-nat",
            "ipv6",
            "both-families",
            "fqdn-tls",
            "fqdn-proxy",
            "log-in",
            "log-in-one-listener",
            "log-in-hosts",
            "switched-off",
        ]
    };

    #[test]
    fn sheets_say_what_the_other_end_needs() {
        for (name, text, expected) in SHEETS {
            // What is in certificates matters to the handshake alone.
            let text = text.replace("FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
            let config = config::parse(&text, name).unwrap();
            let (snapshot, admission) = config.compile().unwrap();
            let (_, trunk) = snapshot.trunk_named("peer").unwrap();
            let limit = admission.view(trunk.inbound);
            let names = |listener: &Listener| match listener.transport {
                Transport::Tls => vec![
                    format!("{}.example.com", listener.name),
                    "sip.example.com".to_owned(),
                ],
                _ => Vec::new(),
            };
            let sheet = of(&snapshot, &config, trunk, limit.as_ref(), names).unwrap();
            let written = serde_json::to_string_pretty(&sheet).unwrap();
            if std::env::var_os("UPDATE_DOCS").is_some() {
                let file = format!("{}/tests/sheets/{name}.json", env!("CARGO_MANIFEST_DIR"));
                std::fs::write(file, written + "\n").unwrap();
                continue;
            }
            assert_eq!(written, expected.trim_end(), "{name}: {written}");
        }
    }
}
