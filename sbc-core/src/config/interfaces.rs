//! The media interfaces of a configuration, and which one a trunk uses.

use super::{
    check::{Report, advertise, name, same_address, unknown},
    options::{Config, Trunk},
    value::PortRange,
};
use crate::{id::InterfaceId, snapshot};
use std::net::IpAddr;

/// Name of the interface that `[media]` itself describes.
const DEFAULT: &str = "default";
/// Most interfaces: an index is a byte.
const INTERFACES_MAX: usize = 255;

/// A media interface with its defaults filled in.
pub(super) struct Interface<'a> {
    /// The table that it is written in.
    pub(super) at: String,
    pub(super) name: &'a str,
    pub(super) address: IpAddr,
    advertise: Option<IpAddr>,
    pub(super) ports: PortRange,
    dscp: u16,
}

impl Interface<'_> {
    pub(super) fn compile(&self) -> snapshot::MediaInterface {
        snapshot::MediaInterface {
            name: self.name.to_owned(),
            bind: self.address,
            advertised: self.advertise.unwrap_or(self.address),
            ports: (self.ports.first, self.ports.last),
            dscp: u8::try_from(self.dscp).unwrap_or_default(),
        }
    }
}

impl Config {
    /// Every media interface, the default one first.
    pub(super) fn interfaces(&self) -> Vec<Interface<'_>> {
        let media = &self.media;
        let default = media.address.map(|address| Interface {
            at: "media".to_owned(),
            name: DEFAULT,
            address,
            advertise: media.advertise,
            ports: media.ports,
            dscp: media.dscp,
        });
        let more = media.interfaces.iter().enumerate();
        let more = more.map(|(n, interface)| Interface {
            at: format!("media.interface[{n}]"),
            name: &interface.name,
            address: interface.address,
            advertise: interface.advertise,
            ports: interface.ports.unwrap_or(media.ports),
            dscp: interface.dscp.unwrap_or(media.dscp),
        });
        default.into_iter().chain(more).collect()
    }

    /// The interface that `trunk`'s media goes by, and whether it is IPv6: the one that it names; else the one with the
    /// address of its listener; else the first of its listener's family. `None`: there is no such.
    pub(super) fn interface_of(&self, trunk: &Trunk) -> Option<(InterfaceId, bool)> {
        let all = self.interfaces();
        let position = match &trunk.media {
            Some(name) => all.iter().position(|interface| interface.name == *name),
            None => {
                let listener = self.listeners.get(usize::from(self.listener_of(trunk)?.0))?;
                let own = listener.address.ip();
                let same = all.iter().position(|interface| interface.address == own);
                same.or_else(|| all.iter().position(|i| i.address.is_ipv4() == own.is_ipv4()))
            }
        }?;
        let id = InterfaceId(u8::try_from(position).ok()?);
        Some((id, all.get(position)?.address.is_ipv6()))
    }
}

/// Check the interfaces themselves.
pub(super) fn check(config: &Config, report: Report<'_>) {
    let media = &config.media;
    let all = config.interfaces();
    if media.address.is_none() {
        if media.interfaces.is_empty() {
            report(
                "media.address",
                "missing; it has no default and must be an IP address, unless there is a [[media.interface]]"
                    .into(),
            );
        }
        if media.advertise.is_some() {
            report(
                "media.advertise",
                "has no effect without address: set address, too, or remove it".into(),
            );
        }
    }
    if all.len() > INTERFACES_MAX {
        report(
            "media.interface",
            format!("there are {}; allowed are at most {INTERFACES_MAX}", all.len()),
        );
    }
    for (n, interface) in all.iter().enumerate() {
        let before = &all[..n];
        let at = &interface.at;
        let names: Vec<String> = before.iter().map(|other| other.name.to_owned()).collect();
        name(
            &format!("{at}.name"),
            interface.name,
            names.iter(),
            "media interface",
            report,
        );
        advertise(
            at,
            interface.address,
            interface.advertise,
            "\"192.0.2.1\"",
            report,
        );
        let taken = |other: &&Interface<'_>| {
            same_address(other.address, interface.address)
                && other.ports.first <= interface.ports.last
                && interface.ports.first <= other.ports.last
        };
        if let Some(other) = before.iter().find(taken) {
            report(
                &format!("{at}.ports"),
                format!(
                    "{}-{} on {} overlap those of \"{}\" ({}-{} on {}): give each its own ports, or another address",
                    interface.ports.first,
                    interface.ports.last,
                    interface.address,
                    other.name,
                    other.ports.first,
                    other.ports.last,
                    other.address
                ),
            );
        }
        pairs(config, interface, report);
    }
}

fn pairs(config: &Config, interface: &Interface<'_>, report: Report<'_>) {
    let pairs = interface.ports.pairs();
    let path = format!("{}.ports", interface.at);
    if let super::ShardCount::Fixed(count) = config.shards.count
        && pairs < 2 * usize::from(count)
    {
        report(
            &path,
            format!(
                "{pairs} pairs of ports are too few for {count} shards: a call takes two, and each shard has its own"
            ),
        );
    } else if pairs < 2 {
        report(&path, "one pair of ports is too few: a call takes two".into());
    }
}

/// Check that there is an interface for a trunk.
pub(super) fn of_trunk(config: &Config, at: &str, trunk: &Trunk, report: Report<'_>) {
    if config.interface_of(trunk).is_some() {
        return;
    }
    let all = config.interfaces();
    match &trunk.media {
        Some(wanted) if !all.is_empty() => {
            let known = all.iter().map(|interface| interface.name);
            report(&format!("{at}.media"), unknown("media interface", wanted, known));
        }
        Some(_) => {}
        None => {
            let listener = config.listener_of(trunk);
            let listener = listener.and_then(|id| config.listeners.get(usize::from(id.0)));
            // Without a listener, or without any interface, that has been reported.
            if let (Some(listener), false) = (listener, all.is_empty()) {
                let family = if listener.address.is_ipv4() {
                    "IPv4"
                } else {
                    "IPv6"
                };
                report(
                    &format!("{at}.media"),
                    format!(
                        "missing; no media interface is {family}, as its listener \"{}\" is: add a [[media.interface]] \
                         with such an address, or name the one that its media goes by",
                        listener.name
                    ),
                );
            }
        }
    }
}
