//! Routes, DIDs and emergency numbers of the configuration as one [`RouteTable`].
//!
//! In: the sections and the files with prefixes that they name. Out: the table, or what is wrong, with the line in
//! whichever file that is. A file with prefixes has one a line, as `4930`, or `4930 NAME` where the prefix belongs to the route
//! with that name; what follows a `#` is a comment.

use super::{
    Config, Did, Emergency, Names, Problem, Route, check::Report, options::RouteFailover, read::printable,
    route_value::Moment,
};
use crate::{
    numbers::{Aliases, E164},
    routing::{Conflict, Digits, Entry, Failover, Kind, RouteTable, Rule, Strategy, Weighted, block},
    trunk::TrunkId,
};
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::Read as _,
    path::Path,
    time::Duration,
};

/// Largest file of prefixes that is read.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Most prefixes of all rules together.
const PREFIXES_MAX: usize = 10_000_000;
/// Most lines of one file that are complained about: who has more has made one mistake in all of them.
const LINES_REPORTED_MAX: usize = 10;

/// Where each trunk is.
type Ids<'c> = HashMap<&'c str, TrunkId>;

impl Config {
    /// The table of all rules; the files with prefixes are read here. `Err`: what is wrong with them or contradicts each
    /// other.
    pub(super) fn route_table(&self, ids: &Ids<'_>) -> Result<RouteTable, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut entries = Vec::new();
        let mut named = HashSet::new();
        for (n, route) in (0..).zip(&self.routes) {
            entries.extend(route.prefixes.iter().map(|prefix| prefix_entry(*prefix, n)));
            if let Some(file) = &route.prefixes_file {
                self.read_prefixes(&file.0, n, &mut entries, &mut named, &mut problems);
            }
        }
        for (n, route) in (0..).zip(&self.routes) {
            if route.prefixes.is_empty() && route.prefixes_file.is_none() && !named.contains(&n) {
                entries.push(prefix_entry(Digits::NONE, n));
            }
        }
        for (n, did) in (self.routes.len() as u32..).zip(&self.dids) {
            for numbers in &did.numbers {
                let (prefixes, digits, count) = block(&numbers.0).unwrap_or_default();
                entries.extend(prefixes.into_iter().map(|prefix| Entry {
                    prefix,
                    digits,
                    block: count,
                    rule: n,
                }));
            }
        }
        if entries.len() > PREFIXES_MAX {
            let message = format!(
                "all routes together have {} prefixes; allowed are {PREFIXES_MAX}",
                entries.len()
            );
            problems.push(problem("configuration", 0, "route.prefixes", message));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let routes = (1..).zip(&self.routes).map(|(n, route)| route.rule(n, ids));
        let dids = (1..).zip(&self.dids).map(|(n, did)| did.rule(n, ids));
        let table = RouteTable::build(routes.chain(dids).collect(), entries).map_err(|conflict| {
            vec![problem(
                "configuration",
                0,
                self.place_of(&conflict),
                self.tell(&conflict, ids),
            )]
        })?;
        let sections = self.emergency.0.iter().enumerate();
        Ok(sections.fold(table, |table, (n, emergency)| {
            table.with_emergency(&emergency.numbers, emergency.rule(self.emergency_name(n), ids))
        }))
    }

    /// The numbers that have names.
    pub(super) fn aliases(&self) -> Aliases {
        let named = |did: &Did| {
            let number = did.only_number()?;
            let names = did
                .aliases
                .iter()
                .map(move |alias| (alias.0.as_str().into(), number));
            Some(names.collect::<Vec<_>>())
        };
        Aliases::new(self.dids.iter().filter_map(named).flatten())
    }

    /// Channels kept for calls to emergency numbers.
    pub(super) fn reserve(&self) -> u32 {
        let sections = self.emergency.0.iter();
        sections.fold(0, |all, emergency| all.saturating_add(emergency.reserve))
    }

    /// What a section with emergency numbers is called.
    fn emergency_name(&self, at: usize) -> String {
        match self.emergency.0.len() {
            1 => "emergency".to_owned(),
            _ => format!("emergency {}", at + 1),
        }
    }

    /// Report rules that contradict each other. Where prefixes are in files that is known only when those are read: then
    /// [`Self::compile`] does.
    pub(super) fn check_conflicts(&self, report: Report<'_>) {
        if self.routes.iter().any(|route| route.prefixes_file.is_some()) {
            return;
        }
        let ids = (0..)
            .zip(&self.trunks)
            .map(|(n, trunk)| (trunk.name.as_str(), TrunkId(n)))
            .collect();
        let Err(problems) = self.route_table(&ids) else {
            return;
        };
        for problem in problems {
            report(&problem.key, problem.message);
        }
    }

    /// The key of the later of two rules that they quarrel about.
    fn place_of(&self, conflict: &Conflict) -> String {
        let at = conflict.rules[1] as usize;
        match at.checked_sub(self.routes.len()) {
            Some(did) => format!("did[{did}].numbers"),
            None if conflict.prefix.is_empty() => format!("route[{at}].from"),
            None => format!("route[{at}].prefixes"),
        }
    }

    fn tell(&self, conflict: &Conflict, ids: &Ids<'_>) -> String {
        let name = |rule: u32| match (rule as usize).checked_sub(self.routes.len()) {
            Some(did) => self
                .dids
                .get(did)
                .map_or(String::new(), |did_| did_.name_at(did + 1)),
            None => self
                .routes
                .get(rule as usize)
                .map_or(String::new(), |route| route.name_at(rule as usize + 1)),
        };
        let [first, second] = conflict.rules;
        if conflict.prefix.is_empty() {
            let to = self
                .routes
                .get(first as usize)
                .map(|route| route.to.0.join(", "))
                .unwrap_or_default();
            let name_of = |id: TrunkId| {
                ids.iter()
                    .find_map(|(name, known)| (*known == id).then_some(*name))
            };
            let whose = match conflict.from.and_then(name_of) {
                Some(name) => format!("calls from \"{}\"", printable(name)),
                None => "the calls that no other route takes".to_owned(),
            };
            return format!(
                "{whose} have a route already, to \"{}\": keep one of them",
                printable(&to)
            );
        }
        if first == second {
            return format!("{} is listed twice", conflict.prefix);
        }
        format!(
            "{} belongs to \"{}\" already: keep one of them, or name different trunks in from",
            conflict.prefix,
            printable(&name(first))
        )
    }

    fn read_prefixes(
        &self,
        path: &Path,
        owner: u32,
        entries: &mut Vec<Entry>,
        named: &mut HashSet<u32>,
        problems: &mut Vec<Problem>,
    ) {
        let source = path.display().to_string();
        let mut text = String::new();
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
        if let Err(error) = read {
            let message = format!("cannot read the prefixes: {error}");
            return problems.push(problem(&source, 0, "route.prefixes_file", message));
        }
        if text.len() as u64 > FILE_BYTES_MAX {
            let message = format!("it has more than {} MiB", FILE_BYTES_MAX >> 20);
            return problems.push(problem(&source, 0, "route.prefixes_file", message));
        }
        let owners: HashMap<&str, u32> = (0..)
            .zip(&self.routes)
            .filter_map(|(n, route)| Some((route.name.as_deref()?, n)))
            .collect();
        let mut reported = 0;
        for (n, line) in (1..).zip(text.lines()) {
            match prefix_line(line, owner, &owners) {
                Ok(None) => {}
                Ok(Some((prefix, rule))) => {
                    if rule != owner {
                        named.insert(rule);
                    }
                    entries.push(prefix_entry(prefix, rule));
                }
                Err(message) => {
                    problems.push(problem(&source, n, "route.prefixes_file", message));
                    reported += 1;
                    if reported == LINES_REPORTED_MAX {
                        return;
                    }
                }
            }
        }
    }
}

/// What a line of a file with prefixes says: a prefix, and whose it is.
fn prefix_line(line: &str, owner: u32, owners: &HashMap<&str, u32>) -> Result<Option<(Digits, u32)>, String> {
    let line = line.split_once('#').map_or(line, |(line, _)| line);
    let mut words = line.split([' ', '\t', ',', ';']).filter(|word| !word.is_empty());
    let Some(prefix) = words.next() else {
        return Ok(None);
    };
    let digits: Digits = prefix
        .parse()
        .map_err(|error| format!("\"{}\" is no prefix: {error}", printable(prefix)))?;
    if digits.is_empty() {
        return Err("it is empty: a route without prefixes takes what no other does".to_owned());
    }
    let rule = match words.next() {
        None => owner,
        Some(name) => *owners.get(name).ok_or_else(|| {
            format!(
                "no route has the name \"{}\": give it one, with name",
                printable(name)
            )
        })?,
    };
    match words.next() {
        Some(word) => Err(format!(
            "found \"{}\" behind prefix and name of a route",
            printable(word)
        )),
        None => Ok(Some((digits, rule))),
    }
}

fn prefix_entry(prefix: Digits, rule: u32) -> Entry {
    Entry {
        prefix,
        digits: 0,
        block: u32::MAX,
        rule,
    }
}

fn problem(source: &str, line: usize, key: impl Into<String>, message: String) -> Problem {
    Problem {
        source: source.to_owned(),
        line,
        column: 1,
        key: key.into(),
        message,
    }
}

fn trunks_of(names: &Names, ids: &Ids<'_>) -> Vec<TrunkId> {
    names
        .0
        .iter()
        .filter_map(|name| ids.get(name.as_str()).copied())
        .collect()
}

fn from_of(names: Option<&Names>, ids: &Ids<'_>) -> Box<[TrunkId]> {
    let mut from = names.map_or_else(Vec::new, |names| trunks_of(names, ids));
    from.sort_unstable();
    from.dedup();
    from.into()
}

fn targets_of(to: &Names, weights: &[u16], ids: &Ids<'_>) -> Box<[Weighted]> {
    let weights = weights.iter().copied().chain(std::iter::repeat(1));
    trunks_of(to, ids)
        .into_iter()
        .zip(weights)
        .map(|(trunk, weight)| Weighted { trunk, weight })
        .collect()
}

fn holds(starts: Option<Moment>, ends: Option<Moment>) -> (u64, u64) {
    (
        starts.map_or(0, |moment| moment.0),
        ends.map_or(u64::MAX, |moment| moment.0),
    )
}

impl RouteFailover {
    fn compile(&self) -> Failover {
        Failover {
            stop_on: self.stop_on.as_slice().into(),
            ringback_timeout: Duration::from_secs(self.ringback_timeout_s.into()),
            no_answer: Duration::from_secs(self.no_answer_s.unwrap_or_default().into()),
            attempts_max: u8::try_from(self.attempts_max).unwrap_or(u8::MAX),
        }
    }
}

impl Route {
    /// What it is called; `place`: counted from 1.
    fn name_at(&self, place: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("route {place}"))
    }

    fn rule(&self, place: usize, ids: &Ids<'_>) -> Rule {
        Rule {
            name: self.name_at(place).into(),
            kind: Kind::Route,
            from: from_of(self.from.as_ref(), ids),
            holds: holds(self.starts, self.ends),
            targets: targets_of(&self.to, &self.weights, ids),
            strategy: self.strategy,
            failover: self.failover.compile(),
        }
    }
}

impl Did {
    /// Its number, when it has but one.
    pub(super) fn only_number(&self) -> Option<E164> {
        let [numbers] = self.numbers.as_slice() else {
            return None;
        };
        match block(&numbers.0) {
            Ok((prefixes, _, 1)) => E164::new(&prefixes.first()?.to_string()),
            _ => None,
        }
    }

    fn name_at(&self, place: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("did {place}"))
    }

    fn rule(&self, place: usize, ids: &Ids<'_>) -> Rule {
        Rule {
            name: self.name_at(place).into(),
            kind: Kind::Did,
            from: from_of(self.from.as_ref(), ids),
            holds: holds(self.starts, self.ends),
            targets: targets_of(&self.to, &self.weights, ids),
            strategy: self.strategy,
            failover: self.failover.compile(),
        }
    }
}

impl Emergency {
    fn rule(&self, name: String, ids: &Ids<'_>) -> Rule {
        Rule {
            name: name.into(),
            kind: Kind::Emergency,
            from: from_of(self.from.as_ref(), ids),
            holds: (0, u64::MAX),
            targets: targets_of(&self.to, &[], ids),
            strategy: Strategy::Sequential,
            failover: self.failover.compile(),
        }
    }
}
