//! Longest-prefix look-up over digits: a trie in one flat array.
//!
//! A node is twelve bytes: which of the ten digits go on from it (a bit each), where its children begin, and what stands at
//! its prefix. Children of a node are neighbours, and nodes are in order of their depth: the first levels, which all
//! look-ups share, stay in the cache.

use super::Digits;
use std::ops::Range;

/// What stands at prefixes. Immutable.
#[derive(Debug, Default)]
pub(super) struct Trie {
    nodes: Box<[Node]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// The first child.
    children: u32,
    /// What stands here plus one; 0: nothing.
    value: u32,
    /// A bit for each digit that goes on.
    digits: u16,
}

impl Trie {
    /// Of values at prefixes, in order of the prefixes, each of them once.
    pub(super) fn build(sorted: &[(Digits, u32)]) -> Self {
        debug_assert!(sorted.is_sorted_by(|a, b| a.0 < b.0), "in order, and each once");
        let mut nodes = vec![Node::default()];
        let all = 0..sorted.len() as u32;
        let mut level = vec![all];
        let mut first = 0;
        for depth in 0.. {
            let mut below: Vec<Range<u32>> = Vec::new();
            let next = nodes.len();
            for (node, range) in nodes[first..].iter_mut().zip(&level) {
                let mut at = range.start as usize;
                let end = range.end as usize;
                if let Some((_, value)) = sorted[at..end]
                    .first()
                    .filter(|(digits, _)| digits.len() == depth)
                {
                    node.value = value + 1;
                    at += 1;
                }
                node.children = (next + below.len()) as u32;
                while let Some(digit) = sorted
                    .get(at)
                    .filter(|_| at < end)
                    .and_then(|(digits, _)| digits.at(depth))
                {
                    let same = sorted[at..end].partition_point(|(digits, _)| digits.at(depth) == Some(digit));
                    node.digits |= 1 << digit;
                    below.push(at as u32..(at + same) as u32);
                    at += same;
                }
            }
            if below.is_empty() {
                break;
            }
            nodes.resize(next + below.len(), Node::default());
            (first, level) = (next, below);
        }
        Self { nodes: nodes.into() }
    }

    /// What stands at the prefixes of `number`, ASCII digits, the shortest first, each with its length.
    pub(super) fn walk<'t>(&'t self, number: &'t [u8]) -> impl Iterator<Item = (usize, u32)> + 't {
        let mut node = self.nodes.first();
        let mut depth = 0;
        std::iter::from_fn(move || {
            loop {
                let here = node?;
                let at = depth;
                node = number
                    .get(depth)
                    .and_then(|byte| self.child(here, byte.wrapping_sub(b'0')));
                depth += 1;
                if here.value != 0 {
                    return Some((at, here.value - 1));
                }
            }
        })
    }

    fn child(&self, node: &Node, digit: u8) -> Option<&Node> {
        let bit = 1u16.checked_shl(digit.into())?;
        if node.digits & bit == 0 {
            return None;
        }
        let before = (node.digits & (bit - 1)).count_ones();
        self.nodes.get((node.children + before) as usize)
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn digits(text: &str) -> Digits {
        text.parse().unwrap()
    }

    #[test]
    fn an_empty_trie_finds_nothing() {
        assert_eq!(Trie::build(&[]).walk(b"49").count(), 0);
        assert_eq!(Trie::default().walk(b"49").count(), 0);
    }

    #[test]
    fn every_prefix_on_the_way_is_told() {
        let trie = Trie::build(&[
            (Digits::NONE, 7),
            (digits("4"), 0),
            (digits("493"), 2),
            (digits("5"), 3),
        ]);
        assert_eq!(trie.walk(b"4930").collect::<Vec<_>>(), [(0, 7), (1, 0), (3, 2)]);
        assert_eq!(trie.walk(b"48").collect::<Vec<_>>(), [(0, 7), (1, 0)]);
        assert_eq!(trie.walk(b"").collect::<Vec<_>>(), [(0, 7)]);
        assert_eq!(trie.walk(b"49:").collect::<Vec<_>>(), [(0, 7), (1, 0)]);
    }

    proptest! {
        /// Against trying every prefix of the number in a map.
        #[test]
        fn agrees_with_a_map_of_prefixes(
            prefixes in prop::collection::btree_map("[0-3]{0,6}|[0-9]{0,16}", any::<u16>(), 0..60),
            numbers in prop::collection::vec("[0-3]{0,8}|[0-9]{0,20}", 1..40),
        ) {
            let map: BTreeMap<Digits, u32> =
                prefixes.iter().map(|(text, value)| (digits(text), u32::from(*value))).collect();
            let sorted: Vec<_> = map.iter().map(|(prefix, value)| (*prefix, *value)).collect();
            let trie = Trie::build(&sorted);
            for number in numbers {
                let expected: Vec<(usize, u32)> = (0..=number.len().min(Digits::MAX))
                    .filter_map(|len| Some((len, *map.get(&digits(&number[..len]))?)))
                    .collect();
                prop_assert_eq!(trie.walk(number.as_bytes()).collect::<Vec<_>>(), expected);
            }
        }
    }
}
