//! Which pairs have something of our own to send, the earliest first.
//!
//! In: for a pair, when it wants to be asked next, or that it has nothing. Out: the earliest of all. A binary heap
//! that knows where each pair stands in it, so that a pair is in it once however often its time changes.

use crate::time::Timestamp;

/// The pair is not in the heap.
const ABSENT: u32 = u32::MAX;

/// Times by pair.
#[derive(Debug, Default)]
pub(super) struct Due {
    heap: Vec<(Timestamp, u32)>,
    /// By pair: its index in `heap`.
    places: Vec<u32>,
}

impl Due {
    /// Make room for pairs up to `pairs`, so that nothing else here allocates.
    pub(super) fn reserve(&mut self, pairs: usize) {
        if self.places.len() < pairs {
            self.places.resize(pairs, ABSENT);
        }
        self.heap
            .reserve(self.places.len().saturating_sub(self.heap.len()));
    }

    /// The earliest.
    #[inline]
    pub(super) fn first(&self) -> Option<(Timestamp, u32)> {
        self.heap.first().copied()
    }

    /// `pair` is due at `at`; `None`: not at all.
    pub(super) fn set(&mut self, pair: u32, at: Option<Timestamp>) {
        let Some(&place) = self.places.get(pair as usize) else {
            return;
        };
        match (at, place) {
            (None, ABSENT) => {}
            (Some(at), ABSENT) => {
                self.heap.push((at, pair));
                self.rise(self.heap.len() - 1);
            }
            (Some(at), place) => {
                if let Some(entry) = self.heap.get_mut(place as usize) {
                    entry.0 = at;
                }
                let place = self.rise(place as usize);
                self.sink(place);
            }
            (None, place) => {
                self.heap.swap_remove(place as usize);
                self.places[pair as usize] = ABSENT;
                if (place as usize) < self.heap.len() {
                    let place = self.rise(place as usize);
                    self.sink(place);
                }
            }
        }
    }

    /// Move the entry at `place` up until what is above is no later; returns where it stands then.
    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let above = (place - 1) / 2;
            if self.heap[above].0 <= self.heap[place].0 {
                break;
            }
            self.swap(above, place);
            place = above;
        }
        self.note(place);
        place
    }

    /// Move the entry at `place` down until what is below is no earlier.
    fn sink(&mut self, mut place: usize) {
        loop {
            let below = 2 * place + 1;
            let earliest = (below..self.heap.len().min(below + 2)).min_by_key(|&at| self.heap[at].0);
            match earliest {
                Some(below) if self.heap[below].0 < self.heap[place].0 => {
                    self.swap(below, place);
                    place = below;
                }
                _ => break,
            }
        }
        self.note(place);
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note(a);
        self.note(b);
    }

    fn note(&mut self, place: usize) {
        if let Some(&(_, pair)) = self.heap.get(place) {
            self.places[pair as usize] = place as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_first_is_the_earliest_of_what_was_set_last() {
        let mut due = Due::default();
        due.reserve(50);
        let mut model = BTreeMap::new();
        let mut random = 1u64;
        for _ in 0..20_000 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let pair = (random >> 33) as u32 % 50;
            let at = (random >> 40 & 3 != 0).then(|| Timestamp::from_millis(random >> 42 & 0xff));
            due.set(pair, at);
            match at {
                Some(at) => model.insert(pair, at),
                None => model.remove(&pair),
            };
            assert_eq!(due.first().map(|(at, _)| at), model.values().min().copied());
            if let Some((at, pair)) = due.first() {
                assert_eq!(model.get(&pair), Some(&at));
            }
            assert_eq!(due.heap.len(), model.len());
        }
    }

    #[test]
    fn pairs_without_room_are_not_kept() {
        let mut due = Due::default();
        due.reserve(1);
        due.set(1, Some(Timestamp::ZERO));
        assert_eq!(due.first(), None);
    }
}
