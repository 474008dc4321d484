//! Options of the guard: networks, rates, what is banned and for how long.

use super::{
    options::sections,
    read::{Absent, Key, Reader, Section, Value},
};
use crate::{
    guard::{self, Acl, Action, Offence, Rate, Scanners},
    trunk::HostMatch,
};
use std::{ops::Range, sync::Arc, time::Duration};
use toml::de::DeTable;

sections! {
    /// Who may send us anything at all, decided on the source address before anything is parsed (`docs/LIMITS.md`). What
    /// a trunk lists as its `hosts` is let in, unless a rule of `[[acl]]` denies it, and is never banned. The rates hold on each
    /// shard.
    pub struct Guard {
        /// What happens to sources that neither a rule of `[[acl]]` nor a trunk names: `"allow"` or `"deny"`.
        acl_default: Action = default(Action::Allow);
        /// Packets a second that are looked at from one address that no trunk lists. 0: any number.
        packets_per_s: u32 = default(50) in 0..=1_000_000;
        /// Packets that may come from it at once after a pause.
        packets_burst: u32 = default(200) in 1..=1_000_000;
        /// Packets a second that are looked at from all such addresses together: under a flood with forged
        /// addresses the rest is dropped. 0: any number.
        strangers_per_s: u32 = default(5_000) in 0..=10_000_000;
        /// Packets a second that are looked at from one address that has logged in, or is registered, if its trunk has no
        /// `packets_per_s`. A PBX with 500 calls sends some 200. 0: any number.
        logged_in_per_s: u32 = default(2_000) in 0..=1_000_000;
        /// Seconds that a ban lasts. 0: nobody is banned, except by `sbc-ctl bans add`.
        ban_s: u32 = default(3_600) in 0..=31_536_000;
        /// Seconds after which offences are forgotten.
        window_s: u32 = default(60) in 1..=86_400;
        /// Messages that are no SIP for which an address is banned, when they come within `window_s`. 0: none are
        /// too many; so for the next four, too.
        malformed_max: u16 = default(20) in 0..=255;
        /// Messages of an address that nobody lists, and that has no business here, for which it is banned.
        stranger_max: u16 = default(50) in 0..=255;
        /// Requests without credentials where these are asked for, from an address that has not logged in for an hour, for which it
        /// is banned. Every telephone begins with one.
        unproven_max: u16 = default(100) in 0..=255;
        /// Wrong credentials for which an address is banned.
        bad_credentials_max: u16 = default(10) in 0..=255;
        /// Messages with a word of `scanners` in them for which an address is banned.
        scanner_max: u16 = default(1) in 0..=255;
        /// Words that give scanners away, wherever they stand in a message, in any case.
        scanners: Vec<String> = default(SCANNERS.map(str::to_owned).to_vec());
    }

    /// Networks that are let in or kept out. Rules are tried in their order: the first that names a source counts. A rule
    /// also holds for the hosts of trunks.
    pub struct AclRule {
        /// `"allow"`, what comes from these networks is looked at, or `"deny"`, it is dropped.
        action: Action = required;
        /// Addresses (`192.0.2.1`) and networks (`192.0.2.0/24`).
        networks: Vec<HostMatch> = required;
    }
}

/// What widespread scanners write into their messages.
const SCANNERS: [&str; 8] = [
    "friendly-scanner",
    "friendly-request",
    "sipvicious",
    "sipcli/",
    "sip-scan",
    "sundayddr",
    "vaxsipuseragent",
    "pplsip",
];

/// Most networks of all rules.
const NETWORKS_MAX: usize = 100_000;
/// Most words of scanners: each is searched for.
const SCANNERS_MAX: usize = 64;

impl Guard {
    /// As the shards use it, with nobody banned.
    pub(super) fn compile(&self, rules: &[AclRule]) -> guard::Rules {
        let mut tolerated = [0; Offence::COUNT];
        for (offence, most) in [
            (Offence::Malformed, self.malformed_max),
            (Offence::Stranger, self.stranger_max),
            (Offence::Scanner, self.scanner_max),
            (Offence::Unproven, self.unproven_max),
            (Offence::BadCredentials, self.bad_credentials_max),
        ] {
            tolerated[offence as usize] = most;
        }
        let networks = |rule: &AclRule| rule.networks.iter().filter_map(HostMatch::network).collect();
        guard::Rules {
            acl: Acl::new(
                self.acl_default,
                rules.iter().map(|rule| (rule.action, networks(rule))),
            ),
            source: Rate {
                per_second: self.packets_per_s,
                burst: self.packets_burst,
            },
            strangers: Rate {
                per_second: self.strangers_per_s,
                // What a shard takes in some tens of milliseconds.
                burst: self.strangers_per_s / 20 + 1,
            },
            logged_in: trunk_rate(self.logged_in_per_s),
            tolerated,
            window: Duration::from_secs(self.window_s.into()),
            ban: Duration::from_secs(self.ban_s.into()),
            scanners: Scanners::new(self.scanners.iter().map(String::as_str)),
            proven: Arc::default(),
            bans: Arc::default(),
        }
    }
}

/// A rate of a trunk's packets, with as many at once as come in a fifth of a second.
pub(super) fn trunk_rate(packets_per_s: u32) -> Rate {
    Rate {
        per_second: packets_per_s,
        burst: packets_per_s / 5 + 1,
    }
}

/// Report what the rules cannot mean.
pub(super) fn check(guard: &Guard, rules: &[AclRule], report: &mut dyn FnMut(&str, String)) {
    let all: usize = rules.iter().map(|rule| rule.networks.len()).sum();
    if all > NETWORKS_MAX {
        report(
            "acl",
            format!("there are {all} networks; allowed are {NETWORKS_MAX}"),
        );
    }
    for (n, rule) in rules.iter().enumerate() {
        let at = format!("acl[{n}].networks");
        if rule.networks.is_empty() {
            report(
                &at,
                "the list is empty: name addresses or networks, or remove the rule".into(),
            );
        }
        for (m, host) in rule.networks.iter().enumerate() {
            if host.network().is_none() {
                let what = format!("{host} has a port, and a rule is for all ports: leave it out");
                report(&format!("{at}[{m}]"), what);
            }
        }
    }
    if guard.scanners.len() > SCANNERS_MAX {
        let what = format!("there are {}; allowed are {SCANNERS_MAX}", guard.scanners.len());
        report("guard.scanners", what);
    }
    for (n, word) in guard.scanners.iter().enumerate() {
        if word.len() < 4 {
            let what = format!("{word:?} is too short: it would be found in messages of anybody");
            report(&format!("guard.scanners[{n}]"), what);
        }
    }
}
