use super::*;
use crate::routing::{Kind, Strategy, Verdict, Weighted, block};
use proptest::prelude::*;

const CARRIER: TrunkId = TrunkId(0);
const PLATFORM: TrunkId = TrunkId(1);

fn rule(name: &str, from: &[TrunkId], holds: (u64, u64)) -> Rule {
    Rule {
        name: name.into(),
        kind: Kind::Route,
        from: from.into(),
        holds,
        targets: [Weighted {
            trunk: PLATFORM,
            weight: 1,
        }]
        .into(),
        strategy: Strategy::Sequential,
        failover: Default::default(),
    }
}

/// A rule as it is written: name, trunks, dates, numbers.
type Written<'a> = (&'a str, &'a [TrunkId], (u64, u64), &'a [&'a str]);

/// Rules with what they are for, as in `[[route]]` and `[[did]]`.
fn table(rules: &[Written<'_>]) -> Result<RouteTable, Conflict> {
    let mut entries = Vec::new();
    for (n, (_, _, _, numbers)) in (0..).zip(rules) {
        if numbers.is_empty() {
            entries.push(Entry {
                prefix: Digits::NONE,
                digits: 0,
                block: u32::MAX,
                rule: n,
            });
        }
        for number in *numbers {
            // A prefix is written with a star here, a complete number without one.
            let (prefixes, digits, count) = block(number).unwrap();
            entries.extend(prefixes.into_iter().map(|prefix| Entry {
                prefix,
                digits,
                block: count,
                rule: n,
            }));
        }
    }
    RouteTable::build(
        rules
            .iter()
            .map(|(name, from, holds, _)| rule(name, from, *holds))
            .collect(),
        entries,
    )
}

const ALWAYS: (u64, u64) = (0, u64::MAX);

fn wins(table: &RouteTable, from: TrunkId, number: &str, at: u64) -> String {
    let found = table.find(from, number.as_bytes(), || at);
    found.map_or_else(|| "none".to_owned(), |found| found.rule.name.to_string())
}

#[test]
fn the_longest_prefix_wins_and_the_fallback_takes_the_rest() {
    let table = table(&[
        ("rest", &[], ALWAYS, &[]),
        ("germany", &[], ALWAYS, &["49*"]),
        ("berlin", &[], ALWAYS, &["4930*"]),
    ])
    .unwrap();
    assert_eq!(wins(&table, CARRIER, "493012", 0), "berlin");
    assert_eq!(wins(&table, CARRIER, "4940", 0), "germany");
    assert_eq!(wins(&table, CARRIER, "49", 0), "germany");
    assert_eq!(wins(&table, CARRIER, "4", 0), "rest");
    assert_eq!(wins(&table, CARRIER, "", 0), "rest");
}

#[test]
fn a_rule_of_the_trunk_beats_one_for_all_at_the_same_prefix_only() {
    let table = table(&[
        ("all", &[], ALWAYS, &["49*"]),
        ("own", &[CARRIER], ALWAYS, &["49*"]),
        ("own rest", &[CARRIER], ALWAYS, &[]),
    ])
    .unwrap();
    assert_eq!(wins(&table, CARRIER, "4930", 0), "own");
    assert_eq!(wins(&table, PLATFORM, "4930", 0), "all");
    assert_eq!(wins(&table, CARRIER, "33", 0), "own rest");
    assert_eq!(wins(&table, PLATFORM, "33", 0), "none");
}

#[test]
fn a_complete_number_beats_longer_prefixes_and_the_smallest_block_wins() {
    let table = table(&[
        ("prefix", &[], ALWAYS, &["493012340*"]),
        ("block", &[], ALWAYS, &["+4930123400-99"]),
        ("part", &[], ALWAYS, &["+4930123410-19"]),
        ("one", &[], ALWAYS, &["+4930123415"]),
    ])
    .unwrap();
    assert_eq!(wins(&table, CARRIER, "4930123405", 0), "block");
    assert_eq!(
        wins(&table, CARRIER, "49301234050", 0),
        "prefix",
        "one digit more is another number"
    );
    assert_eq!(wins(&table, CARRIER, "4930123412", 0), "part");
    assert_eq!(wins(&table, CARRIER, "4930123415", 0), "one");
    assert_eq!(wins(&table, CARRIER, "493012341", 0), "none");
}

#[test]
fn a_temporary_rule_wins_while_it_holds() {
    let table = table(&[
        ("usual", &[], ALWAYS, &["49*"]),
        ("moved", &[], (100, 200), &["49*"]),
    ])
    .unwrap();
    for (at, name) in [(99, "usual"), (100, "moved"), (199, "moved"), (200, "usual")] {
        assert_eq!(wins(&table, CARRIER, "4930", at), name, "at {at}");
    }
}

#[test]
fn what_cannot_be_told_apart_is_a_conflict() {
    let twice =
        |a: &[TrunkId], b: &[TrunkId]| table(&[("a", a, ALWAYS, &["49*"]), ("b", b, ALWAYS, &["49*"])]);
    assert_eq!(twice(&[], &[]).unwrap_err().rules, [0, 1]);
    assert_eq!(twice(&[CARRIER], &[CARRIER, PLATFORM]).unwrap_err().rules, [0, 1]);
    assert!(twice(&[CARRIER], &[PLATFORM]).is_ok());
    assert!(twice(&[], &[PLATFORM]).is_ok());
    assert_eq!(
        table(&[("a", &[], ALWAYS, &["49*", "49*"])]).unwrap_err().rules,
        [0, 0]
    );
    assert!(table(&[("a", &[], (1, 2), &["49*"]), ("b", &[], ALWAYS, &["49*"])]).is_ok());
}

#[test]
fn an_emergency_number_beats_all() {
    let all = table(&[("one", &[], ALWAYS, &["112"]), ("rest", &[], ALWAYS, &[])]).unwrap();
    let table = all.with_emergency(&["112".parse().unwrap()], rule("help", &[], ALWAYS));
    assert_eq!(wins(&table, CARRIER, "112", 0), "help");
    assert_eq!(wins(&table, CARRIER, "1122", 0), "rest");
}

#[test]
fn an_emergency_number_of_a_trunk_is_none_of_others() {
    let numbers = |numbers: &[&str]| -> Vec<_> { numbers.iter().map(|n| n.parse().unwrap()).collect() };
    let table = table(&[("rest", &[], ALWAYS, &[])])
        .unwrap()
        .with_emergency(&numbers(&["112", "110"]), rule("all", &[], ALWAYS))
        .with_emergency(&numbers(&["911", "112"]), rule("here", &[CARRIER], ALWAYS));
    for (from, number, rule) in [
        (CARRIER, "911", "here"),
        (CARRIER, "112", "here"),
        (CARRIER, "110", "all"),
        (PLATFORM, "911", "rest"),
        (PLATFORM, "112", "all"),
    ] {
        assert_eq!(wins(&table, from, number, 0), rule, "{number}");
    }
}

#[test]
fn the_reasons_are_told() {
    let table = table(&[
        ("rest", &[], ALWAYS, &[]),
        ("other", &[PLATFORM], ALWAYS, &["49*"]),
        ("later", &[], (100, 200), &["49*"]),
        ("won", &[], ALWAYS, &["49*"]),
        ("number", &[], ALWAYS, &["4930"]),
    ])
    .unwrap();
    let explained: Vec<_> = table
        .explain(CARRIER, b"49301", 50)
        .into_iter()
        .map(|explained| {
            (
                explained.rule.name.to_string(),
                explained.digits,
                explained.verdict,
            )
        })
        .collect();
    let expected = [
        ("won", 2, Verdict::Wins),
        ("number", 4, Verdict::OtherLength(4)),
        ("later", 2, Verdict::NotYet(100)),
        ("other", 2, Verdict::OtherTrunk),
        ("rest", 0, Verdict::Beaten),
    ];
    assert_eq!(
        explained,
        expected.map(|(name, digits, verdict)| (name.to_owned(), digits, verdict))
    );
}

/// One generated rule: prefix, whether that is a complete number, trunks, dates.
type Drawn = (String, bool, Vec<u16>, Option<(u64, u64)>);

proptest! {
    /// Against a linear search by the words of docs/ROUTING.md.
    #[test]
    fn agrees_with_a_search_through_all_rules(
        drawn in prop::collection::vec(
            ("[0-2]{0,5}", any::<bool>(), prop::collection::vec(0..3u16, 0..3), prop::option::of((0..6u64, 0..6u64))),
            0..30,
        ),
        calls in prop::collection::vec(("[0-2]{0,7}", 0..3u16, 0..6u64), 1..60),
    ) {
        let rules: Vec<Rule> = (0..).zip(&drawn).map(|(n, (_, _, from, dates)): (usize, &Drawn)| {
            let mut from: Vec<TrunkId> = from.iter().map(|n| TrunkId(*n)).collect();
            from.sort_unstable();
            from.dedup();
            rule(&n.to_string(), &from, dates.unwrap_or(ALWAYS))
        }).collect();
        let entries: Vec<Entry> = (0..).zip(&drawn).map(|(rule, (prefix, complete, _, _))| {
            let complete = *complete && !prefix.is_empty();
            Entry {
                prefix: prefix.parse().unwrap(),
                digits: if complete { prefix.len() as u8 } else { 0 },
                block: if complete { 1 } else { u32::MAX },
                rule,
            }
        }).collect();
        let Ok(table) = RouteTable::build(rules.clone(), entries.clone()) else { return Ok(()) };
        for (number, from, at) in calls {
            let from = TrunkId(from);
            let expected = entries.iter().filter(|entry| {
                let rule = &rules[entry.rule as usize];
                number.starts_with(&entry.prefix.to_string())
                    && (entry.digits == 0 || number.len() == usize::from(entry.digits))
                    && rule.is_for(from)
                    && rule.holds_at(|| at)
            }).max_by_key(|entry| {
                let rule = &rules[entry.rule as usize];
                let own = !rule.from.is_empty();
                (entry.digits != 0, entry.prefix.len(), own, rule.is_temporary(), std::cmp::Reverse(entry.rule))
            });
            let found = table.find(from, number.as_bytes(), || at);
            prop_assert_eq!(found.map(|found| found.index), expected.map(|entry| entry.rule));
        }
    }
}
