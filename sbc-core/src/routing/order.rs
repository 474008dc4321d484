//! In which order a call tries the trunks of its rule.

use super::{Found, Strategy, Weighted};
use crate::trunk::TrunkId;
use smallvec::SmallVec;

/// Whose turn it is in each rule with [`Strategy::RoundRobin`]. Every shard has its own, and each of them goes round. One
/// that is used with another table than before begins elsewhere in the round, and nothing worse.
#[derive(Debug, Default)]
pub struct Turns {
    next: Vec<u32>,
}

impl Turns {
    /// The trunks of `found`, the first to be tried first. `random` is asked where trunks have weights.
    pub fn order(&mut self, found: &Found<'_>, mut random: impl FnMut() -> u64) -> SmallVec<[TrunkId; 4]> {
        let targets = &found.rule.targets;
        match found.rule.strategy {
            _ if targets.len() < 2 => targets.iter().map(|target| target.trunk).collect(),
            Strategy::Sequential => targets.iter().map(|target| target.trunk).collect(),
            Strategy::RoundRobin => {
                let at = self.take(found.index) as usize % targets.len();
                let (before, after) = targets.split_at(at);
                after.iter().chain(before).map(|target| target.trunk).collect()
            }
            Strategy::Weighted => draw(targets, &mut random),
        }
    }

    fn take(&mut self, rule: u32) -> u32 {
        let at = rule as usize;
        if self.next.len() <= at {
            self.next.resize(at + 1, 0);
        }
        match self.next.get_mut(at) {
            Some(next) => {
                let turn = *next;
                *next = turn.wrapping_add(1);
                turn
            }
            None => 0,
        }
    }
}

/// Draw one after the other, without putting back.
fn draw(targets: &[Weighted], random: &mut impl FnMut() -> u64) -> SmallVec<[TrunkId; 4]> {
    let mut left: SmallVec<[Weighted; 4]> = targets.iter().copied().collect();
    let mut order = SmallVec::new();
    while !left.is_empty() {
        let total: u64 = left.iter().map(|target| u64::from(target.weight.max(1))).sum();
        let mut drawn = random() % total;
        let at = left.iter().position(|target| {
            let weight = u64::from(target.weight.max(1));
            let here = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            here
        });
        order.push(left.remove(at.unwrap_or_default()).trunk);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::{super::Rule, *};
    use std::sync::Arc;

    fn rule(strategy: Strategy, weights: &[u16]) -> Arc<Rule> {
        Arc::new(Rule {
            strategy,
            targets: (0..)
                .zip(weights)
                .map(|(n, weight)| Weighted {
                    trunk: TrunkId(n),
                    weight: *weight,
                })
                .collect(),
            ..Rule::straight(TrunkId(9), TrunkId(0))
        })
    }

    fn orders(rule: &Arc<Rule>, calls: usize) -> Vec<Vec<u16>> {
        let (mut turns, mut state) = (Turns::default(), 1u64);
        let found = Found {
            rule,
            index: 3,
            digits: 0,
            complete: false,
        };
        let mut random = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state >> 33
        };
        let mut order = || {
            turns
                .order(&found, &mut random)
                .iter()
                .map(|trunk| trunk.0)
                .collect()
        };
        (0..calls).map(|_| order()).collect()
    }

    #[test]
    fn sequential_is_as_listed() {
        assert_eq!(
            orders(&rule(Strategy::Sequential, &[1, 1, 1]), 2),
            [[0, 1, 2], [0, 1, 2]]
        );
    }

    #[test]
    fn round_robin_begins_with_the_next() {
        let orders = orders(&rule(Strategy::RoundRobin, &[1, 1, 1]), 4);
        assert_eq!(orders, [[0, 1, 2], [1, 2, 0], [2, 0, 1], [0, 1, 2]]);
    }

    #[test]
    fn weights_are_kept_and_nobody_is_left_out() {
        let orders = orders(&rule(Strategy::Weighted, &[7, 2, 1]), 10_000);
        let firsts = [0, 1, 2].map(|trunk| orders.iter().filter(|order| order[0] == trunk).count());
        assert!((6_700..7_300).contains(&firsts[0]), "{firsts:?}");
        assert!((1_800..2_200).contains(&firsts[1]), "{firsts:?}");
        for mut order in orders {
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2]);
        }
    }
}
