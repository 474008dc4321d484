//! What cannot change while `sbcd` runs: sockets, threads, and the sizes of what was made at start.

use super::{Config, Report};
use crate::{
    config::{Destination, options::Trunk, read::printable},
    trunk::TrunkKind,
};
use std::collections::HashMap;

/// Report every option of `config` that is not as `running` has it and would need a restart.
pub(in crate::config) fn check(config: &Config, running: &Config, report: Report<'_>) {
    let mut changed: Vec<String> = Vec::new();
    // A line for each key: what the operator changed is what the error names.
    macro_rules! fixed {
        ($at:expr, $new:expr, $old:expr, $($key:ident),+) => {$(
            if $new.$key != $old.$key {
                changed.push(format!("{}.{}", $at, stringify!($key)));
            }
        )+};
    }
    let (new, old) = (&config.shards, &running.shards);
    fixed!("shards", new, old, count, backend, pin, cpus, coalesce_us);
    let (new, old) = (&config.media, &running.media);
    fixed!("media", new, old, address, advertise, ports, dscp);
    for (n, (new, old)) in new.interfaces.iter().zip(&old.interfaces).enumerate() {
        fixed!(
            format!("media.interface[{n}]"),
            new,
            old,
            name,
            address,
            advertise,
            ports,
            dscp
        );
    }
    let (new, old) = (&config.sip, &running.sip);
    fixed!(
        "sip",
        new,
        old,
        t1_ms,
        t2_ms,
        t4_ms,
        transactions_max,
        server_name
    );
    let (new, old) = (&config.streams, &running.streams);
    fixed!("streams", new, old, connections_max);
    let (new, old) = (&config.dns, &running.dns);
    fixed!("dns", new, old, servers, timeout_ms, attempts);
    let (new, old) = (&config.admin, &running.admin);
    fixed!("admin", new, old, socket, mode);
    for (n, (new, old)) in config.listeners.iter().zip(&running.listeners).enumerate() {
        fixed!(
            format!("listener[{n}]"),
            new,
            old,
            name,
            transport,
            address,
            advertise,
            dscp
        );
    }
    fixed!("login", config.logins, running.logins, store);
    kinds(config, running, report);
    for path in changed {
        report(
            &path,
            "cannot change while sbcd runs: start it again for that, or put the old value back".into(),
        );
    }
    let names = |config: &Config| -> Vec<String> {
        let names = config.listeners.iter().map(|listener| &listener.name);
        names.map(|name| format!("\"{}\"", printable(name))).collect()
    };
    if config.listeners.len() != running.listeners.len() {
        report(
            "listener",
            format!(
                "listeners cannot be added or removed while sbcd runs: it has {}; start it again for that",
                names(running).join(", ")
            ),
        );
    }
    if config.media.interfaces.len() != running.media.interfaces.len() {
        report(
            "media.interface",
            "media interfaces cannot be added or removed while sbcd runs: start it again for that".into(),
        );
    }
}

/// A trunk is of one type from its first day to its last: rules, limits and the people at its other end rely on how it is
/// recognised.
fn kinds(config: &Config, running: &Config, report: Report<'_>) {
    let known: HashMap<&str, TrunkKind> = running
        .trunks
        .iter()
        .map(|trunk| (trunk.name.as_str(), trunk.kind()))
        .collect();
    for (n, trunk) in config.trunks.iter().enumerate() {
        let kind = trunk.kind();
        let Some(was) = known.get(trunk.name.as_str()).filter(|was| **was != kind) else {
            continue;
        };
        report(
            &format!("trunk[{n}].{}", kind_key(trunk)),
            format!(
                "this makes \"{}\" a trunk of type \"{}\", and it is of type \"{}\", which it keeps: undo that; or add a \
                 trunk with another name, have the rules name that one, and delete this one",
                printable(&trunk.name),
                kind.name(),
                was.name()
            ),
        );
    }
}

/// The key that says what type `trunk` is of.
fn kind_key(trunk: &Trunk) -> &'static str {
    let named = |destination: &Option<Destination>| matches!(destination, Some(Destination::Name(..)));
    match trunk.kind {
        Some(_) => "type",
        None if trunk.login.is_some() => "login",
        None if named(&trunk.target) => "target",
        None if named(&trunk.outbound_proxy) => "outbound_proxy",
        None if trunk.target.is_some() => "target",
        None => "hosts",
    }
}
