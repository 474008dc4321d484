//! A table that grows without moving: what one thread adds, all others read without a lock.
//!
//! In: how many entries there are to be. Out: references that stay good. Entries come in pieces, each twice as
//! large as the one before, that are never freed and never moved; so an index stays what it is for as long as the
//! process lives.

use std::sync::{
    OnceLock,
    atomic::{
        AtomicU32,
        Ordering::{Acquire, Release},
    },
};

/// Entries of the first piece.
const FIRST: u32 = 64;
/// Pieces: enough for every index of 32 bits less the last `FIRST`.
const PIECES: usize = 26;

/// The table.
#[derive(Debug)]
pub(crate) struct Growing<T> {
    pieces: [OnceLock<Box<[T]>>; PIECES],
    len: AtomicU32,
}

impl<T> Default for Growing<T> {
    fn default() -> Self {
        Self {
            pieces: [const { OnceLock::new() }; PIECES],
            len: AtomicU32::new(0),
        }
    }
}

impl<T: Default> Growing<T> {
    /// A table of `len` entries.
    pub(crate) fn of(len: u32) -> Self {
        let table = Self::default();
        table.grow(len);
        table
    }

    /// There are `len` entries from now on, new ones with their default; a shorter table is no such wish. For one thread
    /// at a time.
    pub(crate) fn grow(&self, len: u32) {
        let Some(last) = len.checked_sub(1) else { return };
        for piece in 0..=place(last).0 {
            let cells = || (0..FIRST << piece).map(|_| T::default()).collect();
            if let Some(slot) = self.pieces.get(piece) {
                slot.get_or_init(cells);
            }
        }
        if len > self.len() {
            self.len.store(len, Release);
        }
    }
}

impl<T> Growing<T> {
    /// Entries that there are.
    pub(crate) fn len(&self) -> u32 {
        self.len.load(Acquire)
    }

    /// The entry at `index`; `None`: there is none.
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        if index >= self.len() {
            return None;
        }
        let (piece, at) = place(index);
        self.pieces.get(piece)?.get()?.get(at)
    }

    /// All entries in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// Which piece an index is in, and where there.
const fn place(index: u32) -> (usize, usize) {
    let moved = index as u64 + FIRST as u64;
    let piece = moved.ilog2() - FIRST.ilog2();
    (piece as usize, (moved - ((FIRST as u64) << piece)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn every_index_has_a_place_of_its_own() {
        assert_eq!(place(0), (0, 0));
        assert_eq!(place(63), (0, 63));
        assert_eq!(place(64), (1, 0));
        assert_eq!(place(191), (1, 127));
        assert_eq!(place(192), (2, 0));
        assert!(place(u32::MAX - FIRST).0 < PIECES);
    }

    #[test]
    fn what_is_there_stays_where_it_is() {
        let table: Growing<AtomicUsize> = Growing::of(3);
        let third = table.get(2).unwrap();
        third.store(7, Relaxed);
        assert!(table.get(3).is_none());
        table.grow(1000);
        assert!(std::ptr::eq(third, table.get(2).unwrap()));
        assert_eq!(table.iter().map(|n| n.load(Relaxed)).sum::<usize>(), 7);
        assert_eq!((table.len(), table.iter().count()), (1000, 1000));
        table.grow(5);
        assert_eq!(table.len(), 1000);
        assert!(Growing::<AtomicUsize>::default().get(0).is_none());
    }

    /// Readers on other threads see whole entries while the table grows.
    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "readers are threads: sharing needs threads"
    )]
    fn readers_see_whole_entries() {
        let table: Growing<AtomicUsize> = Growing::of(1);
        std::thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    while table.len() < 5_000 {
                        let last = table.len() - 1;
                        table.get(last).unwrap().fetch_add(1, Relaxed);
                    }
                });
            }
            for len in 2..=5_000 {
                table.grow(len);
            }
        });
    }
}
