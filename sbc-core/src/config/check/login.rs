//! What must hold for log-ins: names that are told apart, and a kind of trunk that goes with what the trunk has.

use super::{Report, account, printable, unknown};
use crate::{
    config::{
        Destination,
        options::{Config, Trunk, TrunkLogin},
    },
    trunk::TrunkKind,
};
use std::collections::HashMap;

/// Most users of one trunk.
const USERS_MAX: usize = 1_000;

pub(super) fn trunk(config: &Config, at: &str, trunk: &Trunk, report: Report<'_>) {
    kind(at, trunk, report);
    if trunk.is_registered_with() {
        for (key, given) in [
            ("options_interval_s", trunk.options_interval_s > 0),
            ("register", trunk.register.is_some()),
            ("transport", trunk.transport.is_some()),
        ] {
            if given {
                report(
                    &format!("{at}.{key}"),
                    "has no effect without target: its calls go to where its users have registered; add target, or \
                     remove it"
                        .into(),
                );
            }
        }
        if let Some(name) = &trunk.listener
            && !config.listeners.iter().any(|listener| listener.name == *name)
        {
            let known = config.listeners.iter().map(|listener| listener.name.as_str());
            report(&format!("{at}.listener"), unknown("listener", name, known));
        }
    }
    let Some(login) = &trunk.login else { return };
    let at = format!("{at}.login");
    if login.users.is_empty() || login.users.len() > USERS_MAX {
        report(
            &format!("{at}.user"),
            format!("there are {}; allowed are 1 to {USERS_MAX}", login.users.len()),
        );
    }
    for (n, user) in login.users.iter().enumerate() {
        let at = format!("{at}.user[{n}]");
        account::named(&at, &user.named(), report);
        if !user.username.is_empty() && !account::is_user(&user.username) {
            report(
                &format!("{at}.username"),
                format!(
                    "{:?} cannot stand in a SIP URI: use letters, digits and -_.!~*'()&=+$,;?/",
                    user.username
                ),
            );
        }
    }
    if login.expires_min_s > login.expires_max_s {
        report(
            &format!("{at}.expires_min_s"),
            format!(
                "{} is more than expires_max_s ({})",
                login.expires_min_s, login.expires_max_s
            ),
        );
    }
    if login.realm.is_empty() || login.realm.contains(['"', '\\']) {
        report(
            &format!("{at}.realm"),
            "use at least one character, and no quotes or backslashes".into(),
        );
    }
    if login.algorithms.is_empty() {
        report(
            &format!("{at}.algorithms"),
            "the list is empty: name one, or leave it out".into(),
        );
    }
    for (n, algorithm) in login.algorithms.iter().enumerate() {
        if login.algorithms[..n].contains(algorithm) {
            report(
                &format!("{at}.algorithms[{n}]"),
                format!("{} is listed twice", algorithm.name()),
            );
        }
    }
}

/// What a trunk is said to be, and what it has.
fn kind(at: &str, trunk: &Trunk, report: Report<'_>) {
    let named = [&trunk.target, &trunk.outbound_proxy]
        .into_iter()
        .any(|destination| matches!(destination, Some(Destination::Name(..))));
    let problem = match trunk.kind {
        Some(TrunkKind::Credentials) if trunk.login.is_none() => {
            "\"credentials\" needs names and passwords: add [trunk.login]"
        }
        Some(TrunkKind::Ip | TrunkKind::Fqdn) if trunk.login.is_some() => {
            "a trunk with [trunk.login] is of type \"credentials\": say so, or remove [trunk.login]"
        }
        Some(TrunkKind::Fqdn) if !named => {
            "\"fqdn\" needs a name: set target or outbound_proxy to one, or use type = \"ip\""
        }
        Some(TrunkKind::Ip) if named => {
            "a trunk with a name in target or outbound_proxy is of type \"fqdn\": say so, or write an address there"
        }
        _ => return,
    };
    report(&format!("{at}.type"), problem.into());
}

/// The same user twice in one realm, or a realm with two lists of algorithms.
pub(super) fn realms(config: &Config, report: Report<'_>) {
    let mut users: HashMap<(&str, &str), &str> = HashMap::new();
    let mut realms: HashMap<&str, (&str, &TrunkLogin)> = HashMap::new();
    for (n, trunk) in config.trunks.iter().enumerate() {
        let Some(login) = &trunk.login else { continue };
        let at = format!("trunk[{n}].login");
        let (first, same) = *realms.entry(&login.realm).or_insert((&trunk.name, login));
        if same.algorithms != login.algorithms {
            report(
                &format!("{at}.algorithms"),
                format!(
                    "trunk \"{}\" has another list for the same realm \"{}\": one challenge serves both",
                    printable(first),
                    printable(&login.realm)
                ),
            );
        }
        for (u, user) in login.users.iter().enumerate() {
            if let Some(owner) = users.insert((&login.realm, &user.username), &trunk.name) {
                report(
                    &format!("{at}.user[{u}].username"),
                    format!(
                        "realm \"{}\" has this user already, at trunk \"{}\": use another name or realm",
                        printable(&login.realm),
                        printable(owner)
                    ),
                );
            }
        }
    }
}
