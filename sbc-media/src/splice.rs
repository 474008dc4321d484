//! One outgoing RTP stream out of several: those that arrive, one after the other, and packets of our own.
//!
//! In: SSRC, sequence number and timestamp of packets that arrive, and the wish to send one of our own. Out: the
//! numbers with which each leaves. The outgoing SSRC never changes, each sequence number leaves once, in the order
//! of the source, and time goes on where the source changes; the first packet after a change has the marker (RFC 3550
//! §5.1). What a peer receives is one sender that never stopped.

use crate::{rtp::HEADER_LEN, stream::CLOCK_RATE_DEFAULT, time::Timestamp};
use core::time::Duration;

/// A forward jump of so many sequence numbers is not loss (RFC 3550 A.1).
const DROPOUT_MAX: u16 = 3000;
/// A packet further behind than this is not merely late (RFC 3550 A.1).
const MISORDER_MAX: u16 = 100;
/// Runs that are remembered for their late packets.
const RUNS: usize = 8;
/// After so long nothing of a run is late any more.
const LATE_MAX: Duration = Duration::from_secs(2);

/// The numbers of an RTP packet that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The synchronisation source.
    pub ssrc: u32,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp.
    pub timestamp: u32,
    /// Whether the packet is the first after a change of source, and has to have the marker.
    pub marker: bool,
}

impl Numbers {
    /// Write a fixed header with these numbers to the front of `buffer`; `None` if it does not fit.
    pub fn write(&self, payload_type: u8, buffer: &mut [u8]) -> Option<usize> {
        let header = buffer.first_chunk_mut::<HEADER_LEN>()?;
        header[0] = 2 << 6;
        header[1] = u8::from(self.marker) << 7 | payload_type & 0x7f;
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        Some(HEADER_LEN)
    }
}

/// Successive packets of one arriving stream that leave with the same offsets.
#[derive(Clone, Copy, Debug)]
struct Run {
    ssrc: u32,
    /// First and highest arriving sequence number. `last` is the one before `first` while nothing has come.
    first: u16,
    last: u16,
    /// What is added to an arriving number.
    sequence_offset: u16,
    timestamp_offset: u32,
    heard: Timestamp,
}

impl Run {
    fn numbers(&self, ssrc: u32, sequence: u16, timestamp: u32) -> Numbers {
        Numbers {
            ssrc,
            sequence: sequence.wrapping_add(self.sequence_offset),
            timestamp: timestamp.wrapping_add(self.timestamp_offset),
            marker: false,
        }
    }

    fn is_empty(&self) -> bool {
        self.last.wrapping_add(1) == self.first
    }

    fn holds(&self, ssrc: u32, sequence: u16) -> bool {
        let length = self.last.wrapping_sub(self.first);
        ssrc == self.ssrc && !self.is_empty() && sequence.wrapping_sub(self.first) <= length
    }
}

/// Nanoseconds in `step` units of a clock.
const fn step_ns(clock_rate: u32, step: u32) -> u64 {
    let step = if step == 0 { 1 } else { step };
    // No overflow: less than 2^32 times 2^30.
    let ns = step as u64 * 1_000_000_000 / clock_rate as u64;
    if ns == 0 { 1 } else { ns }
}

/// The outgoing stream.
#[derive(Clone, Debug)]
pub struct Splice {
    ssrc: u32,
    /// Highest sequence number that has left or is kept for a packet that may still come.
    sequence: u16,
    /// The media clock: this timestamp was due at this time.
    timestamp: u32,
    at: Timestamp,
    /// Nanoseconds from one packet to the next.
    step_ns: u64,
    /// Timestamp units in a second.
    clock_rate: u32,
    /// Nothing has left yet.
    fresh: bool,
    /// The last packet was of our own, in place of any that arrive.
    ours: bool,
    /// The next that arrives has nothing to do with those before it.
    parted: bool,
    /// The latest first.
    runs: [Option<Run>; RUNS],
    /// SSRC and sequence number that would confirm that the source has restarted its count.
    restart: Option<(u32, u16)>,
}

impl Splice {
    /// A stream whose first packet leaves with `sequence` and, at `now`, with `timestamp`. `step` is the number of
    /// timestamp units in a packet: at 8 kHz, which is the clock unless [`Splice::set_clock`] or
    /// [`Splice::set_clock_rate`] says otherwise, 160 for 20 ms.
    pub const fn new(now: Timestamp, ssrc: u32, sequence: u16, timestamp: u32, step: u32) -> Self {
        Self {
            ssrc,
            sequence: sequence.wrapping_sub(1),
            timestamp,
            at: now,
            step_ns: step_ns(CLOCK_RATE_DEFAULT, step),
            clock_rate: CLOCK_RATE_DEFAULT,
            fresh: true,
            ours: false,
            parted: false,
            runs: [None; RUNS],
            restart: None,
        }
    }

    /// From now on the media clock has `clock_rate` units in a second and `step` in a packet.
    pub fn set_clock(&mut self, clock_rate: u32, step: u32) {
        self.clock_rate = clock_rate.max(1);
        self.step_ns = step_ns(self.clock_rate, step);
    }

    /// From now on the media clock has `clock_rate` units in a second: that of the packet which has just left. What
    /// leaves next is as much later as the clock of before says, and the units count from there (RFC 7160 §4). A
    /// packet is as long as it was.
    #[inline]
    pub fn set_clock_rate(&mut self, clock_rate: u32) {
        self.clock_rate = clock_rate;
    }

    /// From now on a packet of our own has this length.
    pub fn set_packet_time(&mut self, packet_time: Duration) {
        self.step_ns = (packet_time.as_nanos() as u64).max(1);
    }

    /// The next packet that arrives is a change of source, whatever its SSRC and number.
    pub fn part(&mut self) {
        self.parted = true;
    }

    /// The outgoing SSRC.
    pub const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// A packet has arrived that shall leave: the numbers with which it does. `None`: it must not, because it comes
    /// from before the last change of source and its place is taken, or because its number is far from any
    /// expected (two of those in a row are a source that has restarted, and the second one leaves).
    pub fn forward(&mut self, now: Timestamp, ssrc: u32, sequence: u16, timestamp: u32) -> Option<Numbers> {
        let Some(latest) = self.runs[0] else {
            return Some(self.begin(now, ssrc, sequence, timestamp));
        };
        if self.parted {
            return Some(self.begin(now, ssrc, sequence, timestamp));
        }
        let ahead = sequence.wrapping_sub(latest.last);
        let behind = ahead.wrapping_neg();
        if ssrc == latest.ssrc && !self.ours && (1..DROPOUT_MAX).contains(&ahead) {
            return Some(self.follow(now, sequence, timestamp));
        }
        let late = |run: &&Run| run.holds(ssrc, sequence) && now.since(run.heard) <= LATE_MAX;
        if let Some(run) = self.runs.iter().flatten().find(late) {
            let distance = run.last.wrapping_sub(sequence);
            if distance <= MISORDER_MAX {
                return Some(run.numbers(self.ssrc, sequence, timestamp));
            }
        }
        // Numbers before those that a remembered run began with.
        let before = |run: &Run| {
            let behind = run.first.wrapping_sub(sequence);
            ssrc == run.ssrc && (1..=MISORDER_MAX).contains(&behind) && now.since(run.heard) <= LATE_MAX
        };
        if self.runs.iter().flatten().any(before) {
            return None;
        }
        if ssrc == latest.ssrc && !self.ours {
            if behind <= MISORDER_MAX && now.since(latest.heard) <= LATE_MAX {
                return None;
            }
            if self.restart != Some((ssrc, sequence)) {
                self.restart = Some((ssrc, sequence.wrapping_add(1)));
                return None;
            }
        }
        Some(self.begin(now, ssrc, sequence, timestamp))
    }

    /// A packet has arrived that shall not leave, though others of its stream do: those after it close up.
    pub fn omit(&mut self, now: Timestamp, ssrc: u32, sequence: u16, timestamp: u32) {
        let Some(latest) = &mut self.runs[0] else {
            return;
        };
        let ahead = sequence.wrapping_sub(latest.last);
        if self.ours || ssrc != latest.ssrc || !(1..DROPOUT_MAX).contains(&ahead) {
            return;
        }
        // Those between are late and keep their places.
        latest.last = sequence.wrapping_sub(1);
        latest.heard = now;
        let numbers = latest.numbers(self.ssrc, latest.last, timestamp);
        self.sequence = numbers.sequence;
        self.advance(now, numbers.timestamp);
        self.split(now, sequence.wrapping_add(1), u16::MAX);
    }

    /// Send a packet of our own between those that arrive, which go on after it (an event among audio).
    pub fn insert(&mut self, now: Timestamp) -> Numbers {
        let timestamp = self.clock(now);
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(latest) = self.runs[0] {
            self.split(now, latest.last.wrapping_add(1), 1);
        } else {
            self.fresh = false;
        }
        Numbers {
            ssrc: self.ssrc,
            sequence: self.sequence,
            timestamp,
            marker: false,
        }
    }

    /// Send a packet of our own in place of what arrives. The next that arrives and leaves is a change of source.
    /// `now` is when the packet is due: those of a run are a step apart, or several where some are left out. The
    /// first after a pause has the marker, too.
    pub fn own(&mut self, now: Timestamp) -> Numbers {
        let timestamp = self.clock(now);
        let joins = self.ours && timestamp.wrapping_sub(self.timestamp) == self.units(1);
        let marker = !joins && !self.fresh;
        (self.timestamp, self.at) = (timestamp, now);
        self.sequence = self.sequence.wrapping_add(1);
        (self.ours, self.fresh) = (true, false);
        Numbers {
            ssrc: self.ssrc,
            sequence: self.sequence,
            timestamp,
            marker,
        }
    }

    /// The timestamp that a packet of our own has now: at least a step after the last, in whole steps from it.
    pub fn clock(&self, now: Timestamp) -> u32 {
        if self.fresh {
            return self.timestamp;
        }
        let step = u128::from(self.step_ns);
        let steps = ((now.since(self.at).as_nanos() + step / 2) / step).max(1);
        self.timestamp.wrapping_add(self.units(steps))
    }

    /// Timestamp units in so many packets; they wrap.
    fn units(&self, steps: u128) -> u32 {
        let units_1e9 = steps * u128::from(self.step_ns) * u128::from(self.clock_rate);
        ((units_1e9 + 500_000_000) / 1_000_000_000) as u32
    }

    /// The outgoing timestamp for one of the arriving stream `ssrc`, if that is the one that leaves: for its
    /// RTCP sender reports.
    pub fn timestamp_of(&self, ssrc: u32, timestamp: u32) -> Option<u32> {
        let latest = self.runs[0].filter(|run| run.ssrc == ssrc && !self.ours)?;
        Some(timestamp.wrapping_add(latest.timestamp_offset))
    }

    /// The source that leaves now, or did last.
    pub fn source(&self) -> Option<u32> {
        self.runs[0].map(|run| run.ssrc)
    }

    /// Whether packets of `ssrc` have left, of late.
    pub fn knows(&self, ssrc: u32) -> bool {
        self.runs.iter().flatten().any(|run| run.ssrc == ssrc)
    }

    /// The arriving sequence number of what left with `outgoing`: of the present source, also where a packet of our
    /// own had that number.
    pub fn source_sequence(&self, outgoing: u16) -> u16 {
        let source = self.source();
        let arrived = |run: &Run| outgoing.wrapping_sub(run.sequence_offset);
        let present = || self.runs.iter().flatten().filter(|run| Some(run.ssrc) == source);
        let run = present()
            .find(|run| run.holds(run.ssrc, arrived(run)))
            .or_else(|| present().next());
        run.map_or(outgoing, arrived)
    }

    /// What the media clock of the stream shows at `now`.
    pub fn media_clock(&self, now: Timestamp) -> u32 {
        let passed = now.since(self.at).as_nanos() * u128::from(self.clock_rate) / 1_000_000_000;
        // A clock that wraps.
        self.timestamp.wrapping_add(passed as u32)
    }

    /// The next packet of the latest run.
    fn follow(&mut self, now: Timestamp, sequence: u16, timestamp: u32) -> Numbers {
        self.restart = None;
        let Some(latest) = &mut self.runs[0] else {
            return self.begin(now, 0, sequence, timestamp);
        };
        latest.last = sequence;
        latest.heard = now;
        let numbers = latest.numbers(self.ssrc, sequence, timestamp);
        self.sequence = numbers.sequence;
        self.advance(now, numbers.timestamp);
        numbers
    }

    /// The first packet of a new run: the number after the last, and a timestamp as much later as time has passed.
    fn begin(&mut self, now: Timestamp, ssrc: u32, sequence: u16, timestamp: u32) -> Numbers {
        let outgoing = self.clock(now);
        self.runs.rotate_right(1);
        let run = Run {
            ssrc,
            first: sequence,
            last: sequence,
            sequence_offset: self.sequence.wrapping_add(1).wrapping_sub(sequence),
            timestamp_offset: outgoing.wrapping_sub(timestamp),
            heard: now,
        };
        self.runs[0] = Some(run);
        let numbers = Numbers {
            marker: !self.fresh,
            ..run.numbers(self.ssrc, sequence, timestamp)
        };
        self.sequence = numbers.sequence;
        (self.timestamp, self.at) = (outgoing, now);
        (self.ours, self.fresh, self.restart) = (false, false, None);
        self.parted = false;
        numbers
    }

    /// From arriving number `first` on, numbers leave `by` higher than they have.
    fn split(&mut self, now: Timestamp, first: u16, by: u16) {
        let Some(latest) = self.runs[0] else {
            return;
        };
        let run = Run {
            first,
            last: first.wrapping_sub(1),
            sequence_offset: latest.sequence_offset.wrapping_add(by),
            heard: now,
            ..latest
        };
        if !latest.is_empty() {
            self.runs.rotate_right(1);
        }
        self.runs[0] = Some(run);
    }

    /// Set the media clock by a packet, unless it does not say more than those before: all packets of an event
    /// carry the time of its beginning.
    fn advance(&mut self, now: Timestamp, timestamp: u32) {
        if timestamp.wrapping_sub(self.timestamp) as i32 > 0 {
            (self.timestamp, self.at) = (timestamp, now);
        }
    }
}
