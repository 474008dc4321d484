//! What must hold for routes, DIDs and emergency numbers: trunks that exist, weights that fit, and no two rules for the
//! same calls.

use super::{Report, unknown};
use crate::config::{
    Names,
    options::{Config, Did, RouteFailover, Trunk},
    read::printable,
    route_value::Moment,
};
use crate::{numbers::E164, routing::Strategy};
use std::collections::{HashMap, HashSet};

/// Most trunks of one rule, on either side.
const FROM_MAX: usize = 10_000;
const TO_MAX: usize = 16;

pub(super) fn check(config: &Config, report: Report<'_>) {
    let mut complaints = 0;
    let mut report_counted = |path: &str, message: String| {
        complaints += 1;
        report(path, message);
    };
    let report_to = &mut report_counted;
    let trunks = Trunks(
        &config.trunks,
        config.trunks.iter().map(|t| t.name.as_str()).collect(),
    );
    let mut rules: HashMap<&str, String> = HashMap::new();
    for (n, route) in config.routes.iter().enumerate() {
        let at = format!("route[{n}]");
        rule_name(&at, route.name.as_deref(), &mut rules, report_to);
        let targets = (&route.to, route.strategy, &*route.weights);
        trunks.check(&at, route.from.as_ref(), targets, report_to);
        dates(&at, route.starts, route.ends, report_to);
        failover(&at, &route.failover, report_to);
    }
    let mut names = HashMap::new();
    for (n, did) in config.dids.iter().enumerate() {
        let at = format!("did[{n}]");
        rule_name(&at, did.name.as_deref(), &mut rules, report_to);
        some_numbers(&at, did.numbers.is_empty(), report_to);
        aliases(config, &at, did, &mut names, report_to);
        let targets = (&did.to, did.strategy, &*did.weights);
        trunks.check(&at, did.from.as_ref(), targets, report_to);
        dates(&at, did.starts, did.ends, report_to);
        failover(&at, &did.failover, report_to);
    }
    let mut dialled = HashSet::new();
    for (n, emergency) in config.emergency.0.iter().enumerate() {
        let at = format!("emergency[{n}]");
        some_numbers(&at, emergency.numbers.is_empty(), report_to);
        if let Some(from) = &emergency.from {
            trunks.check_list(&at, "from", from, FROM_MAX, report_to);
        }
        for number in &emergency.numbers {
            let from = emergency
                .from
                .as_ref()
                .map(|from| from.0.iter().map(Some).collect());
            for trunk in from.unwrap_or_else(|| vec![None]) {
                if !dialled.insert((*number, trunk)) {
                    let message = format!(
                        "{number} is listed already: keep one of them, or name different trunks in from"
                    );
                    report_to(&format!("{at}.numbers"), message);
                }
            }
        }
        trunks.check_list(&at, "to", &emergency.to, TO_MAX, report_to);
        failover(&at, &emergency.failover, report_to);
    }
    let (reserve, channels) = (config.reserve(), config.limits.channels);
    if reserve > 0 && reserve >= channels {
        let message = match channels {
            0 => "has no effect without channels in [limits]: set them, or remove it".to_owned(),
            _ => format!("{reserve} leaves no channel of the {channels} in [limits] for other calls"),
        };
        let last = config.emergency.0.iter().rposition(|section| section.reserve > 0);
        report_to(
            &format!("emergency[{}].reserve", last.unwrap_or_default()),
            message,
        );
    }
    if complaints == 0 {
        config.check_conflicts(report);
    }
}

/// A name is one number's, and no trunk's.
fn aliases<'c>(
    config: &'c Config,
    at: &str,
    did: &'c Did,
    names: &mut HashMap<&'c str, E164>,
    report: Report<'_>,
) {
    if did.aliases.is_empty() {
        return;
    }
    let Some(number) = did.only_number() else {
        return report(
            &format!("{at}.aliases"),
            "an alias is the name of one number with its country code: give that number a [[did]] of its own"
                .into(),
        );
    };
    for (n, alias) in did.aliases.iter().enumerate() {
        let path = format!("{at}.aliases[{n}]");
        if did.aliases[..n].contains(alias) {
            report(&path, format!("{} is listed twice", alias.0));
        } else if let Some(other) = names.insert(&alias.0, number).filter(|other| *other != number) {
            report(
                &path,
                format!("{} is the name of +{other} already: keep one of them", alias.0),
            );
        }
        let owner = |trunk: &&Trunk| trunk.domains.iter().any(|domain| domain.0 == alias.host());
        if let Some(trunk) = config.trunks.iter().find(owner) {
            report(
                &path,
                format!(
                    "calls to {} go to trunk \"{}\", which has it in domains: remove one of them",
                    alias.host(),
                    printable(&trunk.name)
                ),
            );
        }
    }
}

fn dates(at: &str, starts: Option<Moment>, ends: Option<Moment>, report: Report<'_>) {
    if let (Some(starts), Some(ends)) = (starts, ends)
        && ends <= starts
    {
        let what = at.split('[').next().unwrap_or_default();
        report(
            &format!("{at}.ends"),
            format!("is not after starts: the {what} would never hold"),
        );
    }
}

fn failover(at: &str, failover: &RouteFailover, report: Report<'_>) {
    for (n, status) in failover.stop_on.iter().enumerate() {
        if !(300..700).contains(status) {
            report(
                &format!("{at}.stop_on[{n}]"),
                format!("{status} is no rejection: allowed are 300 to 699"),
            );
        }
    }
}

fn some_numbers(at: &str, none: bool, report: Report<'_>) {
    if none {
        let message = "the list is empty: name numbers, or remove the section";
        report(&format!("{at}.numbers"), message.into());
    }
}

fn rule_name<'c>(at: &str, name: Option<&'c str>, rules: &mut HashMap<&'c str, String>, report: Report<'_>) {
    let Some(name) = name else { return };
    let path = format!("{at}.name");
    if name.is_empty() || name.contains([' ', '\t', ',', ';', '#']) {
        report(
            &path,
            "a name has at least one character, and no space, comma, semicolon or #".into(),
        );
    } else if let Some(before) = rules.insert(name, at.to_owned()) {
        let before = before.split('[').next().unwrap_or_default();
        report(
            &path,
            format!("\"{}\" is the name of another {before} already", printable(name)),
        );
    }
}

/// The trunks that there are, and their names.
struct Trunks<'c>(&'c [Trunk], HashSet<&'c str>);

impl Trunks<'_> {
    /// Both sides of one rule: whose calls it is for, and where they go.
    fn check(&self, at: &str, from: Option<&Names>, to: (&Names, Strategy, &[u16]), report: Report<'_>) {
        if let Some(from) = from {
            self.check_list(at, "from", from, FROM_MAX, report);
        }
        let (to, strategy, weights) = to;
        self.check_list(at, "to", to, TO_MAX, report);
        check_weights(at, weights, to, strategy, report);
    }

    fn check_list(&self, at: &str, key: &str, listed: &Names, max: usize, report: Report<'_>) {
        let Self(trunks, names) = self;
        let count = listed.0.len();
        if count == 0 || count > max {
            let path = format!("{at}.{key}");
            return report(&path, format!("there are {count} trunks; allowed are 1 to {max}"));
        }
        for (n, name) in listed.0.iter().enumerate() {
            let path = match count {
                1 => format!("{at}.{key}"),
                _ => format!("{at}.{key}[{n}]"),
            };
            if !names.contains(name.as_str()) {
                report(
                    &path,
                    unknown("trunk", name, trunks.iter().map(|trunk| trunk.name.as_str())),
                );
            } else if listed.0[..n].contains(name) {
                report(&path, format!("\"{}\" is listed twice", printable(name)));
            }
        }
    }
}

fn check_weights(at: &str, weights: &[u16], to: &Names, strategy: Strategy, report: Report<'_>) {
    let path = format!("{at}.weights");
    match strategy {
        Strategy::Weighted if weights.len() != to.0.len() => report(
            &path,
            format!(
                "there are {} for {} trunks in to: give each trunk one",
                weights.len(),
                to.0.len()
            ),
        ),
        Strategy::Weighted if weights.contains(&0) => {
            report(
                &path,
                "a weight is at least 1: leave out a trunk that is to get no calls".into(),
            );
        }
        Strategy::Weighted => {}
        _ if weights.is_empty() => {}
        _ => report(
            &path,
            "has no effect without strategy = \"weighted\": add that, or remove it".into(),
        ),
    }
}
