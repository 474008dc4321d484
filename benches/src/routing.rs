//! Look-ups among as many prefixes as the number plans of the world have.

use crate::Operation;
use sbc_core::{
    routing::{Digits, Entry, RouteTable, Rule},
    trunk::TrunkId,
};
use std::{collections::BTreeSet, hint::black_box};

/// How many.
pub const PREFIXES: usize = 1_000_000;
/// Routes that they belong to.
const ROUTES: u32 = 40;

/// All operations.
pub const OPERATIONS: &[Operation] = &[Operation {
    name: "route",
    stands_for: "a look-up among 1,000,000 prefixes",
    run: |times| {
        let (table, numbers) = (table(PREFIXES), numbers(4096));
        for n in 0..times {
            black_box(look_up(&table, &numbers[n as usize % numbers.len()]));
        }
    },
}];

/// A generator of numbers that are the same every time.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn digits(&mut self, len: usize) -> String {
        (0..len)
            .map(|_| char::from(b'0' + (self.next() % 10) as u8))
            .collect()
    }
}

/// The digits of `count` prefixes, of four to nine digits as destination codes have them, and what they lead to.
pub fn entries(count: usize) -> Vec<Entry> {
    let mut draw = Draw(1);
    let mut prefixes = BTreeSet::new();
    while prefixes.len() < count {
        let len = [4, 5, 6, 6, 7, 7, 7, 8, 8, 9][draw.next() as usize % 10];
        prefixes.extend(draw.digits(len).parse::<Digits>());
    }
    let entry = |(n, prefix)| Entry {
        prefix,
        digits: 0,
        block: u32::MAX,
        rule: n as u32 % ROUTES,
    };
    prefixes.into_iter().enumerate().map(entry).collect()
}

/// [`entries`] of all [`PREFIXES`].
pub fn entries_of_all() -> Vec<Entry> {
    entries(PREFIXES)
}

/// The table of `entries`.
pub fn build(entries: Vec<Entry>) -> RouteTable {
    let rule = |n| Rule {
        from: Box::default(),
        ..Rule::straight(TrunkId(0), TrunkId(n))
    };
    RouteTable::build((0..ROUTES as u16).map(rule).collect(), entries).expect("no prefix is there twice")
}

/// A table of `count` prefixes.
pub fn table(count: usize) -> RouteTable {
    build(entries(count))
}

/// Numbers that are called, of eleven digits.
pub fn numbers(count: usize) -> Vec<String> {
    let mut draw = Draw(2);
    (0..count).map(|_| draw.digits(11)).collect()
}

/// Which rule a call to `number` takes.
pub fn look_up(table: &RouteTable, number: &str) -> Option<u32> {
    let number = sbc_core::routing::Wanted::of(number, None).number;
    table.find(TrunkId(0), number, || 0).map(|found| found.index)
}
