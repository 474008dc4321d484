//! `trunk.sheet`: what an operator gives to whoever is at the other end of a trunk (T11).
//!
//! In: the sockets that are bound and the trunk's options. Out: addresses as peers are told them, and what is spoken.

use super::{control::Daemon, tls::Tls};
use crate::{
    admin::{
        failure::{Failure, Reason},
        provision::{Sheet, SheetAddress, SheetLogin, SheetMedia},
    },
    digest::Account,
    login::Login,
    snapshot::{Listener, Service, Snapshot, Srtp, Trunk},
    topology::Host,
    transport::Transport,
};

/// The sheet of `trunk`.
pub(super) fn sheet(daemon: &Daemon, trunk: &Trunk) -> Result<Sheet, Failure> {
    let (snapshot, config) = (daemon.running.snapshot(), daemon.running.config());
    let configured = config
        .trunks
        .iter()
        .find(|configured| configured.name == trunk.name);
    let gone = || Failure::new(Reason::NoSuchTrunk, "the trunk has just been removed");
    let configured = configured.ok_or_else(gone)?;
    let from = snapshot.listeners.get(usize::from(trunk.listener.0));
    let ways = ways(&snapshot, trunk);
    let first = ways.first().or(from.as_ref());
    let media = snapshot
        .media
        .interfaces
        .get(usize::from(trunk.media.interface.0));
    let limits = daemon.admission.view(trunk.inbound);
    Ok(Sheet {
        trunk: trunk.name.clone(),
        enabled: trunk.service == Service::Enabled,
        uri: first.map_or_else(String::new, |listener| uri(listener)),
        signalling: ways.into_iter().map(address).collect(),
        from: from.map(address).unwrap_or_default(),
        media: SheetMedia {
            address: snapshot.media.advertised(trunk.media.interface).to_string(),
            ports: media.map_or((0, 0), |media| media.ports),
        },
        hosts: configured.hosts.iter().map(ToString::to_string).collect(),
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
        certificate_names: certificate_names(&daemon.tls.current(), from),
        options_interval_s: trunk.peer.options_interval.as_secs(),
        channels: limits.as_ref().map_or(0, |limit| limit.channels_max),
        cps: limits.as_ref().map_or(0, |limit| limit.cps),
    })
}

/// The listeners that the trunk may use: that which talks to it first, and others of its family that its sources reach.
fn ways<'s>(snapshot: &'s Snapshot, trunk: &Trunk) -> Vec<&'s Listener> {
    let own = snapshot.listeners.get(usize::from(trunk.listener.0));
    let same_family =
        |listener: &&Listener| own.is_none_or(|own| own.bind.is_ipv4() == listener.bind.is_ipv4());
    let others = snapshot.listeners.iter().filter(same_family);
    let others = others.filter(|listener| own.is_none_or(|own| own.name != listener.name));
    own.into_iter().chain(others).collect()
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

fn certificate_names(tls: &Tls, listener: Option<&Listener>) -> Vec<String> {
    let Some(listener) = listener.filter(|listener| listener.transport == Transport::Tls) else {
        return Vec::new();
    };
    let owner = format!("listener \"{}\"", listener.name);
    let shown = tls.certificates.iter().find(|shown| shown.owner == owner);
    shown.map_or_else(Vec::new, |shown| shown.names.clone())
}
