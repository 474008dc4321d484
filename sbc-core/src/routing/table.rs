//! The table of rules: built once, then looked into for every call.

use super::{Digits, Rule, Wanted, trie::Trie};
use crate::trunk::TrunkId;
use std::{collections::HashMap, ops::Range, sync::Arc};

/// All rules, compiled. Immutable.
#[derive(Debug, Default)]
pub struct RouteTable {
    rules: Box<[Arc<Rule>]>,
    prefixes: Trie,
    /// What stands at prefixes; most prefixes share theirs with many others.
    places: Box<[Place]>,
    /// Of the rules for certain trunks, by place and trunk.
    own: Box<[(TrunkId, Here)]>,
    /// Of the rules for all trunks, by place.
    all: Box<[Here]>,
    /// Emergency numbers as dialled, and their rules: by number, those for certain trunks first.
    emergency: Vec<(Digits, Arc<Rule>)>,
}

/// Where in `own` and `all` the rules of one prefix are, the best first.
#[derive(Clone, Debug)]
struct Place {
    own: Range<u32>,
    all: Range<u32>,
}

/// A rule at a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Here {
    rule: u32,
    /// How many digits the number must have; 0: any.
    digits: u8,
}

/// A rule for the numbers that begin with a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the numbers begin with; [`Digits::NONE`]: the rule is a fallback.
    pub prefix: Digits,
    /// How many digits they have; 0: any number.
    pub digits: u8,
    /// How many numbers the block has that this is of: of several the smallest wins.
    pub block: u32,
    /// Index of the rule.
    pub rule: u32,
}

/// Two rules want the same calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The numbers.
    pub prefix: Digits,
    /// Indices of the rules, the earlier first; the same twice: it names the prefix twice.
    pub rules: [u32; 2],
    /// Whose calls; `None`: all.
    pub from: Option<TrunkId>,
}

/// The rule that wins.
#[derive(Clone, Copy, Debug)]
pub struct Found<'t> {
    /// What it says.
    pub rule: &'t Arc<Rule>,
    /// Its index.
    pub index: u32,
    /// How many digits of the number it knows; 0: it is a fallback.
    pub digits: usize,
    /// It is for this very number.
    pub complete: bool,
}

impl RouteTable {
    /// Of `rules` and what they are for. `Err`: which of them contradict each other.
    pub fn build(rules: Vec<Rule>, mut entries: Vec<Entry>) -> Result<Self, Conflict> {
        let rank = |entry: &Entry| {
            let temporary = rules.get(entry.rule as usize).is_some_and(Rule::is_temporary);
            (
                entry.prefix,
                entry.digits == 0,
                entry.block,
                !temporary,
                entry.rule,
            )
        };
        entries.retain(|entry| (entry.rule as usize) < rules.len());
        entries.sort_unstable_by_key(rank);
        let mut table = Self::default();
        let mut known: HashMap<Vec<Here>, u32> = HashMap::new();
        let (mut places, mut own, mut all) = (Vec::new(), Vec::new(), Vec::new());
        let mut prefixes = Vec::new();
        let mut here = Vec::new();
        for group in entries.chunk_by(|a, b| a.prefix == b.prefix) {
            contradiction(group, &rules)?;
            here.clear();
            here.extend(group.iter().map(|entry| Here {
                rule: entry.rule,
                digits: entry.digits,
            }));
            let place = match known.get(here.as_slice()) {
                Some(place) => *place,
                None => {
                    let (own_start, all_start) = (own.len(), all.len());
                    for place in &here {
                        let from = &rules[place.rule as usize].from;
                        own.extend(from.iter().map(|trunk| (*trunk, *place)));
                        all.extend(from.is_empty().then_some(*place));
                    }
                    // Stable: of one trunk's rules the best stays first.
                    own[own_start..].sort_by_key(|(trunk, _)| *trunk);
                    places.push(Place {
                        own: own_start as u32..own.len() as u32,
                        all: all_start as u32..all.len() as u32,
                    });
                    known.insert(here.clone(), places.len() as u32 - 1);
                    places.len() as u32 - 1
                }
            };
            prefixes.extend(group.first().map(|entry| (entry.prefix, place)));
        }
        table.prefixes = Trie::build(&prefixes);
        (table.places, table.own, table.all) = (places.into(), own.into(), all.into());
        table.rules = rules.into_iter().map(Arc::new).collect();
        Ok(table)
    }

    /// Each first trunk's calls go to the second.
    pub fn straight(ways: &[(TrunkId, TrunkId)]) -> Self {
        let rules = ways.iter().map(|(from, to)| Rule::straight(*from, *to)).collect();
        let entry = |rule| Entry {
            prefix: Digits::NONE,
            digits: 0,
            block: u32::MAX,
            rule,
        };
        Self::build(rules, (0..ways.len() as u32).map(entry).collect()).unwrap_or_default()
    }

    /// Lead `numbers`, as they are dialled, by `rule`, whatever all others say; of several rules for the same number one
    /// that is for certain trunks goes first.
    #[must_use]
    pub fn with_emergency(mut self, numbers: &[Digits], rule: Rule) -> Self {
        let rule = Arc::new(rule);
        let more = numbers.iter().map(|number| (*number, Arc::clone(&rule)));
        self.emergency.extend(more);
        self.emergency
            .sort_by_key(|(number, rule)| (*number, rule.from.is_empty()));
        self
    }

    /// The rule for a call of `from` to whom it dialled, at the Unix time that `unix_s` knows.
    pub fn find_wanted(
        &self,
        from: TrunkId,
        wanted: Wanted<'_>,
        unix_s: impl Fn() -> u64,
    ) -> Option<Found<'_>> {
        match self.emergency_rule(from, wanted.dialled) {
            Some(_) => self.find(from, wanted.dialled, unix_s),
            None => self.find(from, wanted.number, unix_s),
        }
    }

    /// The rule for a call of `from` to a number with these digits, at the Unix time that `unix_s` knows.
    pub fn find(&self, from: TrunkId, number: &[u8], unix_s: impl Fn() -> u64) -> Option<Found<'_>> {
        if let Some(rule) = self.emergency_rule(from, number) {
            let index = self.rules.len() as u32;
            return Some(Found {
                rule,
                index,
                digits: number.len(),
                complete: true,
            });
        }
        let mut best: Option<Found<'_>> = None;
        for (digits, place) in self.prefixes.walk(number) {
            if let Some(found) = self.best_of(place, from, number, digits, &unix_s)
                && !best.is_some_and(|best| best.complete && !found.complete)
            {
                best = Some(found);
            }
        }
        best
    }

    /// The rule for calls of `from` whose number no other knows.
    pub fn fallback(&self, from: TrunkId, unix_s: impl Fn() -> u64) -> Option<Found<'_>> {
        self.find(from, b"", unix_s)
    }

    /// Whether anybody has emergency numbers.
    pub fn has_emergency_numbers(&self) -> bool {
        !self.emergency.is_empty()
    }

    /// The rule for an emergency number that `from` calls.
    pub fn emergency_rule(&self, from: TrunkId, number: &[u8]) -> Option<&Arc<Rule>> {
        if self.emergency.is_empty() {
            return None;
        }
        let digits: Digits = std::str::from_utf8(number).ok()?.parse().ok()?;
        let first = self.emergency.partition_point(|(number, _)| *number < digits);
        let same = self.emergency[first..]
            .iter()
            .take_while(|(number, _)| *number == digits);
        same.map(|(_, rule)| rule).find(|rule| rule.is_for(from))
    }

    /// All rules but those for emergencies, in the order of the configuration.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Bytes on the heap that grow with the number of prefixes.
    pub fn bytes(&self) -> usize {
        self.prefixes.bytes() + size_of_val(&*self.places) + size_of_val(&*self.own) + size_of_val(&*self.all)
    }

    /// The rules at the prefixes of `number`, the shortest prefix first: for whom they are, and the number of digits
    /// that the whole number must have (0: any).
    pub(super) fn rules_at<'t>(
        &'t self,
        number: &'t [u8],
    ) -> impl Iterator<Item = (usize, &'t Arc<Rule>, u8)> + 't {
        self.prefixes.walk(number).flat_map(move |(digits, place)| {
            let (own, all) = self.place(place);
            let mut here: Vec<Here> = own
                .iter()
                .map(|(_, here)| *here)
                .chain(all.iter().copied())
                .collect();
            here.sort_unstable_by_key(|here| here.rule);
            here.dedup();
            here.into_iter()
                .filter_map(move |here| Some((digits, self.rules.get(here.rule as usize)?, here.digits)))
        })
    }

    fn place(&self, place: u32) -> (&[(TrunkId, Here)], &[Here]) {
        let range = |range: &Range<u32>| range.start as usize..range.end as usize;
        self.places.get(place as usize).map_or((&[], &[]), |place| {
            (
                self.own.get(range(&place.own)).unwrap_or_default(),
                self.all.get(range(&place.all)).unwrap_or_default(),
            )
        })
    }

    fn best_of(
        &self,
        place: u32,
        from: TrunkId,
        number: &[u8],
        digits: usize,
        unix_s: &impl Fn() -> u64,
    ) -> Option<Found<'_>> {
        let (own, all) = self.place(place);
        let mine = &own[own.partition_point(|(trunk, _)| *trunk < from)..];
        let mine = mine
            .iter()
            .take_while(|(trunk, _)| *trunk == from)
            .map(|(_, here)| here);
        let applies = |here: &&Here| {
            (here.digits == 0 || usize::from(here.digits) == number.len())
                && self
                    .rules
                    .get(here.rule as usize)
                    .is_some_and(|rule| rule.holds_at(unix_s))
        };
        let found = |here: &Here| {
            let rule = self.rules.get(here.rule as usize)?;
            Some(Found {
                rule,
                index: here.rule,
                digits,
                complete: here.digits != 0,
            })
        };
        let mine = mine.filter(applies).find_map(found);
        let others = || all.iter().filter(applies).find_map(found);
        match mine {
            Some(mine) if mine.complete => Some(mine),
            Some(mine) => others().filter(|found| found.complete).or(Some(mine)),
            None => others(),
        }
    }
}

/// Whether of the rules at one prefix two want the same calls at all times.
fn contradiction(group: &[Entry], rules: &[Rule]) -> Result<(), Conflict> {
    if group.len() < 2 {
        return Ok(());
    }
    let mut seen: HashMap<(Option<TrunkId>, u8, u32), u32> = HashMap::new();
    for entry in group {
        let rule = &rules[entry.rule as usize];
        let from: Vec<Option<TrunkId>> = match rule.from.is_empty() {
            true => vec![None],
            false => rule.from.iter().map(|trunk| Some(*trunk)).collect(),
        };
        for trunk in from {
            let key = (trunk, entry.digits, entry.block);
            let before = seen.insert(key, entry.rule);
            let Some(before) = before else { continue };
            let permanent = |rule: u32| !rules[rule as usize].is_temporary();
            if before == entry.rule || permanent(before) && permanent(entry.rule) {
                let rules = [before.min(entry.rule), before.max(entry.rule)];
                return Err(Conflict {
                    prefix: entry.prefix,
                    rules,
                    from: trunk,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
