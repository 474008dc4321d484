//! Timers of a shard: a hierarchical wheel with constant-time insert and cancel.
//!
//! In: a deadline and a small value. Out: the values whose deadline has passed, in order. The
//! wheel counts in ticks of [`TICK`]; a deadline is rounded up to the next tick, so a timer never
//! fires early and fires at most one tick late. Timers of the same tick fire in the order in
//! which they were inserted, which makes a run repeatable.
//!
//! Level `l` groups ticks by their `l`-th base-64 digit. A timer sits on the level of the highest
//! digit in which its tick differs from the current one, so every timer of a level comes before
//! every timer of the level above: the next timer is found with one `trailing_zeros` per level,
//! and a timer moves down at most once per level in its life. Eight digits cover every
//! [`Timestamp`]; no overflow list is needed.

use crate::time::Timestamp;
use std::time::Duration;

/// The granularity: timers fire at multiples of this.
pub const TICK: Duration = Duration::from_nanos(TICK_NS);

const TICK_NS: u64 = 1_000_000;
const LEVELS: usize = 8;
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// "No entry" in the links.
const NIL: u32 = u32::MAX;
/// `Entry::list` of an entry on the free list.
const FREE: u16 = u16::MAX;

// Eight base-64 digits must hold the largest tick.
const _: () = assert!(u64::MAX / TICK_NS < 1 << (DIGIT_BITS * LEVELS as u32));

/// Names one armed timer. Stays invalid for ever once the timer has fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerKey {
    index: u32,
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    value: T,
    /// First tick at which the timer may fire.
    tick: u64,
    prev: u32,
    /// Next in the list; for a free entry the next free one.
    next: u32,
    generation: u32,
    /// The list this entry is linked into: level × 64 + slot, or [`FREE`].
    list: u16,
}

#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
}

/// A set of timers, each carrying a `T`.
#[derive(Debug)]
pub struct TimerWheel<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    lists: Box<[List]>,
    /// Bit `s` of `occupied[l]`: the list of slot `s` on level `l` is not empty.
    occupied: [u64; LEVELS],
    /// The tick up to which everything has been handed out or moved down.
    current: u64,
    len: usize,
}

impl<T: Copy> TimerWheel<T> {
    /// An empty wheel whose time starts at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self {
            entries: Vec::new(),
            free: NIL,
            lists: vec![List { head: NIL, tail: NIL }; LEVELS * SLOTS].into_boxed_slice(),
            occupied: [0; LEVELS],
            current: floor_tick(now),
            len: 0,
        }
    }

    /// Arm a timer. A `deadline` that has passed is due at once. Allocates only when more timers
    /// are armed than ever before.
    pub fn insert(&mut self, deadline: Timestamp, value: T) -> TimerKey {
        let tick = ceil_tick(deadline).max(self.current);
        let index = self.take_entry(value, tick);
        self.link(index);
        self.len += 1;
        TimerKey {
            index,
            generation: self.entries[index as usize].generation,
        }
    }

    /// Disarm a timer. `false` when it has already fired or was cancelled.
    pub fn cancel(&mut self, key: TimerKey) -> bool {
        match self.entries.get(key.index as usize) {
            Some(e) if e.generation == key.generation && e.list != FREE => {
                self.unlink(key.index);
                self.give_back(key.index);
                true
            }
            _ => false,
        }
    }

    /// The next timer due at `now`, disarmed; call until `None`. A `now` before an earlier one
    /// counts as the earlier one.
    pub fn pop_due(&mut self, now: Timestamp) -> Option<(TimerKey, T)> {
        let target = floor_tick(now).max(self.current);
        while let Some((level, slot)) = self.first_list() {
            let start = self.slot_start(level, slot);
            if start > target {
                break;
            }
            self.current = start.max(self.current);
            if level > 0 {
                self.move_down(level, slot);
                continue;
            }
            let index = self.lists[slot].head;
            let Entry {
                value, generation, ..
            } = self.entries[index as usize];
            self.unlink(index);
            self.give_back(index);
            return Some((TimerKey { index, generation }, value));
        }
        // Nothing armed lies between the old current tick and `target`, so no entry changes level.
        self.current = target;
        None
    }

    /// When [`Self::pop_due`] is worth calling next; `None` when nothing is armed.
    ///
    /// Exact for timers less than 64 ticks away; for later ones possibly early, but then the call
    /// moves them to a finer level, so a timer causes at most one needless wake-up per level and
    /// the answer always grows.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let (level, slot) = self.first_list()?;
        let list = self.lists[level * SLOTS + slot];
        // A list of one, the common case on the higher levels, is exact without a search.
        let tick = if list.head == list.tail {
            self.entries[list.head as usize].tick
        } else {
            self.slot_start(level, slot)
        };
        Some(Timestamp::from_nanos(tick.saturating_mul(TICK_NS)))
    }

    /// Whether a timer is still to fire.
    pub fn is_armed(&self, key: TimerKey) -> bool {
        let entry = self.entries.get(key.index as usize);
        entry.is_some_and(|e| e.generation == key.generation && e.list != FREE)
    }

    /// What all armed timers carry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        let armed = self.entries.iter().filter(|e| e.list != FREE);
        armed.map(|e| e.value)
    }

    /// Armed timers.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is armed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Level and slot of the list with the earliest timers.
    fn first_list(&self) -> Option<(usize, usize)> {
        let level = self.occupied.iter().position(|&bits| bits != 0)?;
        Some((level, self.occupied[level].trailing_zeros() as usize))
    }

    /// First tick that belongs to `slot` on `level`, given that it shares all higher digits with
    /// the current tick.
    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let shift = DIGIT_BITS * level as u32;
        let above = self.current >> (shift + DIGIT_BITS) << (shift + DIGIT_BITS);
        above | (slot as u64) << shift
    }

    /// Put every timer of a slot that has begun on the level below that now fits it, in order.
    fn move_down(&mut self, level: usize, slot: usize) {
        let id = level * SLOTS + slot;
        let mut index = self.lists[id].head;
        self.lists[id] = List { head: NIL, tail: NIL };
        self.occupied[level] &= !(1 << slot);
        while index != NIL {
            let next = self.entries[index as usize].next;
            self.link(index);
            index = next;
        }
    }

    /// Append an entry to the list that its tick belongs to.
    fn link(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick;
        let differing = tick ^ self.current;
        let level = (differing.checked_ilog2().unwrap_or(0) / DIGIT_BITS) as usize;
        let slot = (tick >> (DIGIT_BITS * level as u32)) as usize % SLOTS;
        let id = level * SLOTS + slot;
        let tail = std::mem::replace(&mut self.lists[id].tail, index);
        match tail {
            NIL => self.lists[id].head = index,
            tail => self.entries[tail as usize].next = index,
        }
        let entry = &mut self.entries[index as usize];
        entry.prev = tail;
        entry.next = NIL;
        entry.list = id as u16;
        self.occupied[level] |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { prev, next, list, .. } = self.entries[index as usize];
        let id = list as usize;
        match prev {
            NIL => self.lists[id].head = next,
            prev => self.entries[prev as usize].next = next,
        }
        match next {
            NIL => self.lists[id].tail = prev,
            next => self.entries[next as usize].prev = prev,
        }
        if self.lists[id].head == NIL {
            self.occupied[id / SLOTS] &= !(1 << (id % SLOTS));
        }
    }

    fn take_entry(&mut self, value: T, tick: u64) -> u32 {
        if self.free == NIL {
            let index =
                u32::try_from(self.entries.len()).expect("the shard's tables bound the number of timers");
            self.entries.push(Entry {
                value,
                tick,
                prev: NIL,
                next: NIL,
                generation: 0,
                list: FREE,
            });
            return index;
        }
        let index = self.free;
        let entry = &mut self.entries[index as usize];
        self.free = entry.next;
        entry.value = value;
        entry.tick = tick;
        index
    }

    fn give_back(&mut self, index: u32) {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.list = FREE;
        entry.next = self.free;
        self.free = index;
        self.len -= 1;
    }
}

const fn floor_tick(at: Timestamp) -> u64 {
    at.as_nanos() / TICK_NS
}

const fn ceil_tick(at: Timestamp) -> u64 {
    at.as_nanos().div_ceil(TICK_NS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn ms(n: u64) -> Timestamp {
        Timestamp::from_millis(n)
    }

    #[test]
    fn never_early_and_at_most_one_tick_late() {
        let mut w = TimerWheel::new(Timestamp::ZERO);
        w.insert(Timestamp::from_nanos(1_500_000), 'x');
        assert_eq!(w.pop_due(Timestamp::from_nanos(1_499_999)), None);
        assert_eq!(w.pop_due(Timestamp::from_nanos(1_999_999)), None);
        assert_eq!(w.next_deadline(), Some(ms(2)));
        assert_eq!(w.pop_due(ms(2)).map(|(_, v)| v), Some('x'));
        assert!(w.is_empty());
    }

    #[test]
    fn a_key_dies_with_its_timer() {
        let mut w = TimerWheel::new(ms(7));
        let fired = w.insert(ms(3), 1);
        assert_eq!(
            w.pop_due(ms(7)),
            Some((fired, 1)),
            "a passed deadline is due at once"
        );
        let reused = w.insert(ms(100), 2);
        assert!(
            !w.cancel(fired),
            "the old key must not cancel the new owner of the slot"
        );
        assert!(w.cancel(reused));
        assert!(!w.cancel(reused));
        assert_eq!(w.next_deadline(), None);
    }

    #[test]
    fn the_far_end_of_time_is_reachable() {
        let mut w = TimerWheel::new(Timestamp::ZERO);
        let end = Timestamp::from_nanos(u64::MAX);
        w.insert(end, 'z');
        w.insert(ms(1 << 40), 'y');
        assert_eq!(w.pop_due(ms(1 << 40)).map(|(_, v)| v), Some('y'));
        // The last tick starts after the last full millisecond, which is out of reach.
        assert_eq!(w.pop_due(end), None);
        assert_eq!(w.len(), 1);
    }

    #[test]
    fn one_timer_wakes_at_most_once_per_level() {
        let mut w = TimerWheel::new(ms(12_345));
        w.insert(ms(98_765_432), 1);
        w.insert(ms(98_765_433), 2);
        let mut wake_ups = 0;
        let mut last = Timestamp::ZERO;
        while let Some(at) = w.next_deadline() {
            assert!(at > last || w.len() == 1, "next_deadline must grow");
            last = at;
            wake_ups += 1;
            while w.pop_due(at).is_some() {}
        }
        assert!(wake_ups <= 2 * LEVELS, "{wake_ups} wake-ups for two timers");
    }

    #[test]
    fn steady_state_reuses_entries() {
        let mut w = TimerWheel::new(Timestamp::ZERO);
        for i in 0..10_000u64 {
            w.insert(ms(i + 50), i);
            while w.pop_due(ms(i)).is_some() {}
        }
        assert!(
            w.entries.len() <= 51,
            "{} entries for 50 live timers",
            w.entries.len()
        );
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        CancelNth(usize),
        Advance(u64),
        ToNext,
    }

    fn delay() -> impl Strategy<Value = u64> {
        // Spread over all levels, with many on the same tick and some in the past.
        prop_oneof![
            0..3_000_000u64,
            0..200_000_000u64,
            0..40_000_000_000u64,
            0..1_000_000_000_000_000u64
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => delay().prop_map(Step::Insert),
            2 => any::<usize>().prop_map(Step::CancelNth),
            2 => delay().prop_map(Step::Advance),
            2 => Just(Step::ToNext),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_sorted_map(start in 0..u64::from(u32::MAX), steps in prop::collection::vec(step(), 1..300)) {
            let mut now = Timestamp::from_nanos(start);
            let mut wheel = TimerWheel::new(now);
            // (tick, insertion number) -> key: the order in which timers must fire.
            let mut model: BTreeMap<(u64, u64), TimerKey> = BTreeMap::new();
            for (n, step) in steps.into_iter().enumerate() {
                let n = n as u64;
                match step {
                    Step::Insert(after) => {
                        // Up to 1 ms in the past.
                        let deadline = Timestamp::from_nanos((now.as_nanos() + after).saturating_sub(1_000_000));
                        let key = wheel.insert(deadline, n);
                        model.insert((ceil_tick(deadline).max(floor_tick(now)), n), key);
                    }
                    Step::CancelNth(i) => {
                        if let Some((&at, &key)) = model.iter().nth(i % model.len().max(1)) {
                            prop_assert!(wheel.cancel(key));
                            prop_assert!(!wheel.cancel(key));
                            model.remove(&at);
                        }
                    }
                    Step::Advance(by) => now = now + Duration::from_nanos(by),
                    Step::ToNext => now = wheel.next_deadline().map_or(now, |at| at.max(now)),
                }
                while let Some((key, value)) = wheel.pop_due(now) {
                    let ((tick, number), expected) = model.pop_first().expect("the wheel holds more than the model");
                    prop_assert!(tick <= floor_tick(now), "fired early");
                    prop_assert_eq!((key, value), (expected, number));
                }
                prop_assert_eq!(wheel.len(), model.len());
                prop_assert_eq!(wheel.iter().count(), model.len());
                prop_assert!(model.values().all(|key| wheel.is_armed(*key)));
                match (wheel.next_deadline(), model.first_key_value()) {
                    (None, None) => {}
                    (Some(at), Some((&(tick, _), _))) => {
                        prop_assert!(tick > floor_tick(now), "due but not popped");
                        prop_assert!(floor_tick(at) <= tick, "would wake too late");
                        prop_assert!(floor_tick(at) > floor_tick(now), "would spin");
                    }
                    other => prop_assert!(false, "next_deadline disagrees: {:?}", other),
                }
            }
        }
    }
}
