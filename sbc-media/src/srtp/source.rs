//! What is known of an SSRC: the highest index and which of those before it were seen (RFC 3711
//! §3.3), and a bounded table of that.

/// Indices that a window remembers: 2.5 s of packets of 20 ms. RFC 3711 §3.3.2 asks for at least 64.
pub(super) const WINDOW: u64 = u128::BITS as u64;

/// Authentic packets of others after which a silent source may be forgotten.
const SILENCE: u32 = 256;

/// The replay window of one SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    highest: u64,
    /// Bit `n`: index `highest - n` was seen.
    seen: u128,
}

impl Window {
    /// A window that has seen this index alone.
    pub(super) const fn at(index: u64) -> Self {
        Self {
            highest: index,
            seen: 1,
        }
    }

    /// The index that a packet of this sequence number most likely has: the one nearest to the
    /// highest so far (RFC 3711 §3.3.1 and appendix A). `None` before index 0. At most 2^48 + 2^16.
    #[inline]
    pub(super) fn guess(&self, sequence: u16) -> Option<u64> {
        let rollover = self.highest >> 16;
        let last = self.highest as u16;
        let rollover = if last < 0x8000 {
            if sequence > last && sequence - last > 0x8000 {
                rollover.checked_sub(1)?
            } else {
                rollover
            }
        } else if last - 0x8000 > sequence {
            rollover + 1
        } else {
            rollover
        };
        Some(rollover << 16 | u64::from(sequence))
    }

    /// Whether a packet of this index is new.
    #[inline]
    pub(super) fn is_new(&self, index: u64) -> bool {
        match self.highest.checked_sub(index) {
            None => true,
            Some(behind) => behind < WINDOW && self.seen >> behind & 1 == 0,
        }
    }

    /// Note a packet that is new.
    #[inline]
    pub(super) fn insert(&mut self, index: u64) {
        if let Some(behind) = self.highest.checked_sub(index) {
            self.seen |= 1 << behind;
        } else {
            let ahead = index - self.highest;
            self.seen = if ahead < WINDOW { self.seen << ahead | 1 } else { 1 };
            self.highest = index;
        }
    }
}

/// One SSRC in a [`Sources`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    pub(super) ssrc: u32,
    /// A packet has passed under the key in use. Not so after a change of keys, when index and
    /// rollover counter are those of the key before.
    pub(super) settled: bool,
    pub(super) window: Window,
    /// [`Sources::packets`] when it was heard last.
    heard: u32,
}

/// The SSRCs of one direction, at most `N`. Looking one up is a comparison when it is the same as
/// for the packet before, and a few more otherwise.
#[derive(Clone, Debug)]
pub(super) struct Sources<const N: usize> {
    slots: [Source; N],
    /// Slots in use, from the front.
    used: usize,
    /// Where the packet before was.
    recent: usize,
    /// Authentic packets so far, modulo 2^32: the clock by which sources grow silent.
    packets: u32,
}

impl<const N: usize> Sources<N> {
    pub(super) const fn new() -> Self {
        let none = Source {
            ssrc: 0,
            settled: false,
            window: Window::at(0),
            heard: 0,
        };
        Self {
            slots: [none; N],
            used: 0,
            recent: 0,
            packets: 0,
        }
    }

    /// The source of this SSRC.
    #[inline]
    pub(super) fn find(&mut self, ssrc: u32) -> Option<&mut Source> {
        let used = &mut self.slots[..self.used];
        let matches = |source: &Source| source.ssrc == ssrc;
        if !used.get(self.recent).is_some_and(matches) {
            self.recent = used.iter().position(matches)?;
        }
        used.get_mut(self.recent)
    }

    /// Note an authentic packet that is new of the source that was found last.
    #[inline]
    pub(super) fn insert(&mut self, index: u64) {
        self.packets = self.packets.wrapping_add(1);
        let packets = self.packets;
        if let Some(source) = self.slots[..self.used].get_mut(self.recent) {
            source.heard = packets;
            source.window.insert(index);
        }
    }

    /// Note an authentic packet of a source that was not known, or known under another key only. It
    /// takes the place of one that may be forgotten when all are taken; `forgettable` says whether
    /// that is so, given the source and whether it has been silent.
    ///
    /// `false`: there is no place.
    pub(super) fn begin(
        &mut self,
        ssrc: u32,
        index: u64,
        forgettable: impl Fn(&Source, bool) -> bool,
    ) -> bool {
        // Counted before there is a place: a peer that has changed its SSRC ever so often and then
        // stays with one gets a place in the end.
        self.packets = self.packets.wrapping_add(1);
        let slot = if self.find(ssrc).is_some() {
            self.recent
        } else if self.used < N {
            self.used += 1;
            self.used - 1
        } else {
            let packets = self.packets;
            let silent_for = |source: &Source| packets.wrapping_sub(source.heard);
            let oldest = (0..N)
                .filter(|slot| {
                    let source = &self.slots[*slot];
                    forgettable(source, silent_for(source) > SILENCE)
                })
                .max_by_key(|slot| silent_for(&self.slots[*slot]));
            match oldest {
                Some(slot) => slot,
                None => return false,
            }
        };
        self.recent = slot;
        self.slots[slot] = Source {
            ssrc,
            settled: true,
            window: Window::at(index),
            heard: self.packets,
        };
        true
    }

    /// The key has changed: indices go on (RFC 3711 §3.3.1), but none has been used under the new
    /// one.
    pub(super) fn unsettle(&mut self) {
        for source in &mut self.slots[..self.used] {
            source.settled = false;
            source.window.seen = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guess_is_the_nearest_index() {
        for highest in [
            0, 1, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x1_7fff, 0x1_8000, 0x5_0001, 0x5_fffe,
        ] {
            let window = Window::at(highest);
            for sequence in (0..=0xffffu16)
                .step_by(17)
                .chain([0x7fff, 0x8000, 0xfffe, 0xffff])
            {
                let nearest = (0..8)
                    .map(|rollover: i64| (rollover - 1) << 16 | i64::from(sequence))
                    .min_by_key(|index| (index - highest as i64).abs())
                    .unwrap();
                let guess = window.guess(sequence);
                // Exactly between two, either may be meant.
                if (nearest - highest as i64).abs() != 0x8000 {
                    assert_eq!(guess, u64::try_from(nearest).ok(), "{highest:#x} {sequence:#x}");
                }
            }
        }
        assert_eq!(Window::at((1 << 48) - 1).guess(0), Some(1 << 48));
    }

    #[test]
    fn the_window_lets_each_index_pass_once_and_none_that_is_too_old() {
        let mut window = Window::at(1000);
        let mut seen = std::collections::HashSet::from([1000]);
        let mut highest = 1000;
        for step in 0..20_000u64 {
            // Mostly onward, often back, sometimes far ahead.
            let index = match step * 7919 % 100 {
                n @ 0..60 => highest + n % 3,
                n @ 60..98 => highest - n * 4 % 200,
                n => highest + n * 2,
            };
            let expected = index > highest || highest - index < WINDOW && !seen.contains(&index);
            assert_eq!(
                window.is_new(index),
                expected,
                "step {step}: {index} at {highest}"
            );
            if expected {
                window.insert(index);
                seen.insert(index);
                highest = highest.max(index);
            }
        }
        assert!(highest > 2000 && seen.len() > 5000);
    }

    #[test]
    fn a_full_table_forgets_the_longest_silent_and_none_that_speaks() {
        let mut sources = Sources::<4>::new();
        let silent = |_: &Source, silent| silent;
        for ssrc in 0..4 {
            assert!(sources.begin(ssrc, 0, silent));
        }
        assert!(!sources.begin(9, 0, silent), "nobody is silent yet");
        for index in 1..=SILENCE.into() {
            for ssrc in [2, 0] {
                sources.find(ssrc).unwrap();
                sources.insert(index);
            }
        }
        assert!(sources.begin(9, 0, silent));
        assert!(sources.find(1).is_none(), "silent the longest");
        assert!(sources.begin(10, 0, silent));
        assert!(sources.find(3).is_none());
        assert!(!sources.begin(11, 0, silent));
        for ssrc in [0, 2, 9, 10] {
            assert!(sources.find(ssrc).is_some());
        }
    }

    #[test]
    fn a_source_that_insists_gets_a_place_when_nothing_else_is_heard() {
        let mut sources = Sources::<2>::new();
        let silent = |_: &Source, silent| silent;
        assert!(sources.begin(0, 0, silent) && sources.begin(1, 0, silent));
        let tries = (0..2 * SILENCE)
            .take_while(|_| !sources.begin(7, 0, silent))
            .count();
        assert_eq!(tries, SILENCE as usize - 1);
    }
}
