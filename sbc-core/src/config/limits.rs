//! Options of limits that are not a trunk's: of sources, numbers, routes and ways.

use super::{
    options::{Config, sections},
    read::{Absent, Key, Reader, Section, Value},
};
use crate::{
    admission::{self, LimitId, LimitSpec, ScopedLimits, burst_default},
    trunk::{HostMatch, TrunkId},
};
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};
use toml::de::DeTable;

sections! {
    /// A limit of calls from a source address, to a number or numbers that begin alike (a DID, a country), by one route, from one trunk
    /// to another, or of calls to which several of these apply. It holds besides `[limits]` and the limits of the trunks.
    pub struct ScopedLimit {
        /// Name, for `sbc-ctl limits`.
        name: String = required;
        /// Addresses and networks that the calls come from, all together. Empty: any.
        sources: Vec<HostMatch> = default(Vec::new());
        /// Called numbers, or what they begin with, country code first; where the caller's trunk has no `numbers`, as they are
        /// written. A `+` in front means nothing. Empty: any.
        called: Vec<String> = default(Vec::new());
        /// Trunk that the calls come from.
        from: Option<String> = described("any");
        /// Trunk that they go to.
        to: Option<String> = described("any");
        /// Name of the route or DID that leads the calls there.
        route: Option<String> = described("any");
        /// New calls per second. 0: unlimited.
        cps: u32 = default(0) in 0..=1_000_000;
        /// Calls that may come at once before `cps` holds them back.
        burst: Option<u32> = described("a tenth of `cps`, at least 1") in 1..=1_000_000;
        /// Calls at the same time. 0: unlimited.
        channels: u32 = default(0) in 0..=10_000_000;
    }
}

/// Most such limits.
const LIMITS_MAX: usize = 10_000;
/// Most of those that are for any number: every call goes through them.
const ANY_NUMBER_MAX: usize = 100;

impl ScopedLimit {
    /// As admission has it. Limits of trunks are named `TRUNK.DIRECTION`, and no name of a trunk has a colon.
    pub(super) fn spec(&self) -> LimitSpec {
        LimitSpec {
            name: format!("limit:{}", self.name),
            cps: self.cps,
            burst: self.burst.unwrap_or(burst_default(self.cps)),
            channels: self.channels,
        }
    }
}

/// Which calls fall under `limits`, whose first has the number `first`.
pub(super) fn compile(
    limits: &[ScopedLimit],
    ids: &[LimitId],
    trunks: &HashMap<&str, TrunkId>,
) -> ScopedLimits {
    let trunk = |name: &Option<String>| name.as_deref().and_then(|name| trunks.get(name).copied());
    ScopedLimits::new(limits.iter().zip(ids).map(|(limit, id)| admission::ScopedLimit {
        name: limit.name.clone(),
        id: *id,
        sources: limit.sources.iter().filter_map(HostMatch::network).collect(),
        called: limit.called.clone(),
        from: trunk(&limit.from),
        to: trunk(&limit.to),
        route: limit.route.clone(),
    }))
}

/// Report limits that can apply to nothing, and waits where there is nothing to wait for.
pub(super) fn check(config: &Config, report: &mut dyn FnMut(&str, String)) {
    let limits = &config.scoped_limits;
    let any_number = limits
        .iter()
        .filter(|limit| limit.called.is_empty() && limit.route.is_none());
    let any_number = any_number.count();
    if limits.len() > LIMITS_MAX || any_number > ANY_NUMBER_MAX {
        let what = format!(
            "there are {}, {any_number} of them without `called` and `route`; allowed are {LIMITS_MAX} and {ANY_NUMBER_MAX}",
            limits.len()
        );
        report("limit", what);
    }
    let mut names = HashSet::new();
    let trunks: HashSet<&str> = config.trunks.iter().map(|trunk| trunk.name.as_str()).collect();
    let routes = config.routes.iter().map(|route| &route.name);
    let dids = config.dids.iter().map(|did| &did.name);
    let routes: HashSet<&str> = routes.chain(dids).filter_map(|name| name.as_deref()).collect();
    for (n, limit) in limits.iter().enumerate() {
        let at = format!("limit[{n}]");
        if limit.name.is_empty() || !names.insert(limit.name.as_str()) {
            let what = format!("{:?} is empty, or the name of another limit", limit.name);
            report(&format!("{at}.name"), what);
        }
        let of_trunks = [&limit.from, &limit.to, &limit.route];
        if limit.sources.is_empty() && limit.called.is_empty() && of_trunks.iter().all(|name| name.is_none())
        {
            let what = "it is for all calls, as [limits] is: name sources, called, from, to or route";
            report(&at, what.into());
        }
        if let Some(name) = limit.route.as_deref().filter(|name| !routes.contains(name)) {
            report(
                &format!("{at}.route"),
                format!("no [[route]] and no [[did]] has the name {name:?}"),
            );
        }
        for (key, name) in [("from", &limit.from), ("to", &limit.to)] {
            if let Some(name) = name.as_deref().filter(|name| !trunks.contains(name)) {
                report(&format!("{at}.{key}"), format!("no trunk is called {name:?}"));
            }
        }
        for (m, number) in limit.called.iter().enumerate() {
            let digits = number.strip_prefix('+').unwrap_or(number);
            if digits.is_empty() {
                let what = "it is empty: write what numbers begin with";
                report(&format!("{at}.called[{m}]"), what.into());
            }
        }
        for (m, host) in limit.sources.iter().enumerate() {
            if host.network().is_none() {
                let what = format!("{host} has a port, and calls come from any: leave it out");
                report(&format!("{at}.sources[{m}]"), what);
            }
        }
        super::check::burst(&format!("{at}.burst"), limit.cps, limit.burst, report);
    }
    for (n, trunk) in config.trunks.iter().enumerate() {
        for (key, limit) in [
            ("inbound", &trunk.limits.inbound),
            ("outbound", &trunk.limits.outbound),
            ("both", &trunk.limits.both),
        ] {
            let at = format!("trunk[{n}].limits.{key}.max_wait_ms");
            if limit.max_wait_ms > 0 && key != "outbound" {
                report(
                    &at,
                    "calls can only wait for the rate of the trunk that they go to: use `outbound`".into(),
                );
            } else if limit.max_wait_ms > 0 && limit.cps == 0 {
                report(&at, "there is no `cps` to wait for".into());
            }
        }
    }
}
