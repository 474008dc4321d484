//! The same audio in packets of another length (`a=ptime`): G.711 cut and joined, all else as it comes.
//!
//! In: the packets of one direction as they arrive; of G.711 an octet is a sample. Out: packets of the wanted length, each
//! with the timestamp of its first sample and a number in a count of their own (RFC 3550 §7.1), at the time when they are
//! due. No sample is made up, none changes its place in time, none waits longer than it must:
//!
//! - What has the right length, or is no G.711, passes as it is where nothing waits before it. Otherwise it leaves behind
//!   that, which then leaves short.
//! - Pieces of one packet leave their own length apart, as a sender of such packets would have sent them. When more
//!   arrives, what still waits leaves at once: no delay lasts.
//! - Where a packet was lost, the piece before the hole leaves short, the next begins behind it, and the count leaves out
//!   as many numbers as the hole is packets long. One packet that comes before its predecessor is kept until the next; so
//!   two that have changed places are put right. What comes later than that is left out.
//! - A marker begins a talkspurt, and silence ends one: what is left leaves short, also when nothing more comes.

use crate::time::Timestamp;
use core::time::Duration;

/// The most samples of a packet that arrives and is cut: 200 ms, the longest that RFC 3551 §4.2 wants receivers to take.
pub const ARRIVING_MAX: usize = 1600;
/// The most octets of a packet that leaves: 60 ms.
pub const LEAVING_MAX: usize = 480;
/// Octets that wait at most: half a second.
const ROOM: usize = 4000;
/// Stretches that wait at most: more than packets of a direction come in one batch.
const STRETCHES: usize = 32;
/// More missing packets than this are not waited for.
const MISSING_MAX: u16 = 5;
/// A forward jump of so many sequence numbers is not loss (RFC 3550 A.1).
const DROPOUT_MAX: u16 = 3000;
/// A packet further behind than this is not merely late (RFC 3550 A.1).
const MISORDER_MAX: u16 = 100;
/// After so long nothing of a former source is late any more.
const LATE_MAX: Duration = Duration::from_secs(2);
/// What is left of a talkspurt waits for a packet time of its sender, and so much longer.
const LINGER: Duration = Duration::from_millis(40);
/// Numbers that one hole leaves out at most: less than what a receiver takes for a restart.
const GAP_MAX: usize = 1000;

/// What becomes of the G.711 of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Milliseconds in a packet that leaves, 1 to 60 (others are brought there).
    pub ptime_ms: u32,
    /// Payload types of µ-law and A-law, as they leave.
    pub laws: [Option<u8>; 2],
}

impl Framing {
    /// Samples in a packet that leaves.
    pub fn frame(&self) -> usize {
        (self.ptime_ms as usize).clamp(1, LEAVING_MAX / 8) * 8
    }
}

/// A packet that arrives.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// The synchronisation source.
    pub ssrc: u32,
    /// The sequence number.
    pub sequence: u16,
    /// The timestamp.
    pub timestamp: u32,
    /// Whether it begins a talkspurt.
    pub marker: bool,
    /// The payload type with which it leaves.
    pub payload_type: u8,
    /// The payload, without padding.
    pub payload: &'a [u8],
}

/// What a packet that arrives has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It leaves now, as it is.
    Passes(Place),
    /// Its payload leaves by [`Repacketizer::next_piece`].
    Taken,
    /// Here before, or too late: it is left out.
    Late,
    /// More waits than there is room for: it is left out.
    Full,
}

/// Where a packet that leaves stands among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its sequence number.
    pub sequence: u16,
    /// Its source begins with it, or begins anew: it has nothing to do with the numbers before.
    pub anew: bool,
}

/// A packet that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its source, as it arrived.
    pub ssrc: u32,
    /// Its number.
    pub place: Place,
    /// Timestamp of its first sample.
    pub timestamp: u32,
    /// It begins a talkspurt.
    pub marker: bool,
    /// Its payload type.
    pub payload_type: u8,
    /// The payload.
    pub payload: &'a [u8],
}

/// Octets of one packet, or of several without a hole between them.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    ssrc: u32,
    timestamp: u32,
    len: usize,
    payload_type: u8,
    marker: bool,
    /// It leaves in one piece.
    whole: bool,
    /// Numbers that are left out before it.
    gap: u16,
    anew: bool,
}

impl Stretch {
    /// Of one packet; `law`: of G.711.
    fn of(arrival: &Arrival<'_>, law: bool) -> Self {
        Self {
            ssrc: arrival.ssrc,
            timestamp: arrival.timestamp,
            len: arrival.payload.len(),
            payload_type: arrival.payload_type,
            marker: arrival.marker,
            whole: !law,
            gap: 0,
            anew: false,
        }
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    /// Highest sequence number.
    last: u16,
    /// Samples in the last packet of G.711.
    len: usize,
    /// The number that would confirm that it counts anew.
    restart: Option<u16>,
}

/// How a packet follows those before it.
enum Order {
    /// So many are missing between.
    Next { missing: u16 },
    /// Its source begins.
    First,
    /// Behind the last.
    Behind,
    /// Not at all.
    Late,
}

/// One direction of a call.
#[derive(Debug)]
pub struct Repacketizer {
    framing: Framing,
    frame: usize,
    source: Option<Source>,
    /// The source before, its highest number, and until when more of it may come late.
    former: Option<(u32, u16, Timestamp)>,
    /// The next that leaves is of a source that has begun.
    anew: bool,
    /// Highest number that was given.
    sequence: u16,
    /// Packets from this arriving number on pass as they are, so much higher.
    passing: Option<(u16, u16)>,
    /// When the next piece may leave.
    due: Timestamp,
    /// When what is left leaves short.
    linger: Timestamp,
    /// Octets that leave at once.
    hurried: usize,
    queue: Queue,
    kept: Kept,
}

/// What waits.
#[derive(Debug)]
struct Queue {
    /// The first `used` wait; all but the last are complete, and the last if `closed`.
    stretches: [Stretch; STRETCHES],
    used: usize,
    closed: bool,
    /// Timestamp after the last sample.
    next: u32,
    /// Their octets, one after the other, from `begin` to `end`.
    octets: [u8; ROOM],
    begin: usize,
    end: usize,
}

/// A packet that waits for its predecessors, unless `missing` is 0.
#[derive(Debug)]
struct Kept {
    stretch: Stretch,
    missing: u16,
    octets: [u8; ARRIVING_MAX],
}

impl Repacketizer {
    /// Nothing has arrived yet.
    pub fn new(framing: Framing) -> Self {
        Self {
            framing,
            frame: framing.frame(),
            source: None,
            former: None,
            anew: true,
            sequence: 0,
            passing: None,
            due: Timestamp::ZERO,
            linger: Timestamp::ZERO,
            hurried: 0,
            queue: Queue {
                stretches: [Stretch::default(); STRETCHES],
                used: 0,
                closed: false,
                next: 0,
                octets: [0; ROOM],
                begin: 0,
                end: 0,
            },
            kept: Kept {
                stretch: Stretch::default(),
                missing: 0,
                octets: [0; ARRIVING_MAX],
            },
        }
    }

    /// What it makes.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// A packet has arrived.
    pub fn push(&mut self, now: Timestamp, arrival: &Arrival<'_>) -> Pushed {
        let missing = match self.order(now, arrival) {
            Order::Next { missing } => missing,
            Order::First => 0,
            Order::Behind => return self.push_behind(now, arrival),
            Order::Late => return Pushed::Late,
        };
        let len = arrival.payload.len();
        let law = self.framing.laws.contains(&Some(arrival.payload_type)) && len > 0;
        let waits = self.queue.used > 0 || self.kept.missing > 0;
        if !waits && (!law || len == self.frame) {
            if law {
                self.note(arrival);
            }
            return Pushed::Passes(self.pass(arrival.sequence, missing));
        }
        self.passing = None;
        if self.kept.missing > 0 {
            // Its predecessor has not come in time.
            self.release();
        } else if law && !arrival.marker && (1..=MISSING_MAX).contains(&missing) && len <= ARRIVING_MAX {
            return self.keep(now, arrival, missing);
        }
        let gap = self.gap(missing, arrival.timestamp);
        self.enqueue(now, arrival, law, gap)
    }

    /// A packet has arrived that shall not leave, though others of its stream do: those after it close up.
    pub fn skip(&mut self, now: Timestamp, arrival: &Arrival<'_>) {
        if matches!(self.order(now, arrival), Order::Next { .. } | Order::First) {
            self.passing = None;
        }
    }

    /// Nothing of what waits shall leave.
    pub fn clear(&mut self) {
        (self.queue.used, self.queue.begin, self.queue.end) = (0, 0, 0);
        self.kept.missing = 0;
    }

    /// When [`Self::next_piece`] has something, if nothing arrives before.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        if self.queue.next_len(self.frame).is_some() {
            return Some(self.due);
        }
        (self.queue.used > 0 || self.kept.missing > 0).then_some(self.linger)
    }

    /// The next packet that leaves at `now`; `None`: nothing is due.
    pub fn next_piece(&mut self, now: Timestamp) -> Option<Piece<'_>> {
        if self.poll_timeout().is_none_or(|due| due > now) {
            return None;
        }
        if self.queue.next_len(self.frame).is_none() {
            self.flush(now);
        }
        let len = self.queue.next_len(self.frame)?;
        let first = self.queue.stretches.first_mut()?;
        let stretch = *first;
        (first.marker, first.gap, first.anew) = (false, 0, false);
        first.timestamp = first.timestamp.wrapping_add(len as u32);
        first.len -= len;
        if first.len == 0 {
            self.queue.drop_first();
        }
        self.sequence = self.sequence.wrapping_add(1).wrapping_add(stretch.gap);
        match self.hurried.checked_sub(len) {
            Some(rest) => self.hurried = rest,
            None => {
                self.hurried = 0;
                self.due = self.due + Duration::from_micros(len as u64 * 125);
            }
        }
        let from = self.queue.begin;
        self.queue.begin += len;
        Some(Piece {
            ssrc: stretch.ssrc,
            place: Place {
                sequence: self.sequence,
                anew: stretch.anew,
            },
            timestamp: stretch.timestamp,
            marker: stretch.marker,
            payload_type: stretch.payload_type,
            payload: self.queue.octets.get(from..from + len)?,
        })
    }

    /// How `arrival` follows what has come before it, which is noted.
    fn order(&mut self, now: Timestamp, arrival: &Arrival<'_>) -> Order {
        let Arrival { ssrc, sequence, .. } = *arrival;
        if let Some(source) = self.source.as_mut().filter(|source| source.ssrc == ssrc) {
            let ahead = sequence.wrapping_sub(source.last);
            let restart = source.restart.take();
            match ahead {
                0 => return Order::Late,
                1..DROPOUT_MAX => {
                    source.last = sequence;
                    return Order::Next { missing: ahead - 1 };
                }
                _ if ahead.wrapping_neg() <= MISORDER_MAX => return Order::Behind,
                // One wild number says nothing; a second that follows it says that the source counts anew.
                _ if restart != Some(sequence) => {
                    source.restart = Some(sequence.wrapping_add(1));
                    return Order::Late;
                }
                _ => {}
            }
        } else if let Some((_, last, until)) = self.former.filter(|former| former.0 == ssrc)
            && now < until
            && last.wrapping_sub(sequence) <= MISORDER_MAX
        {
            return Order::Late;
        }
        // What is left of the source before leaves short.
        self.flush(now);
        let former = self.source.replace(Source {
            ssrc,
            last: sequence,
            len: 0,
            restart: None,
        });
        self.former = former.map(|former| (former.ssrc, former.last, now + LATE_MAX));
        (self.anew, self.passing) = (true, None);
        Order::First
    }

    /// The packet with the arriving number `sequence` leaves as it is, `missing` after the one before.
    fn pass(&mut self, sequence: u16, missing: u16) -> Place {
        let first = self.sequence.wrapping_add(1);
        let (_, offset) = *self.passing.get_or_insert_with(|| {
            // Those that are missing have their places, too.
            let begin = sequence.wrapping_sub(missing);
            (begin, first.wrapping_sub(begin))
        });
        self.sequence = sequence.wrapping_add(offset);
        Place {
            sequence: self.sequence,
            anew: core::mem::take(&mut self.anew),
        }
    }

    /// A packet has arrived after one that follows it.
    fn push_behind(&mut self, now: Timestamp, arrival: &Arrival<'_>) -> Pushed {
        let law = self.framing.laws.contains(&Some(arrival.payload_type));
        if let Some((first, offset)) = self.passing {
            // Where all pass, so does this, unless it is too long: there is one number for it.
            let span = self.sequence.wrapping_sub(offset).wrapping_sub(first);
            let fits = !law || arrival.payload.len() <= self.frame;
            return if fits && arrival.sequence.wrapping_sub(first) <= span {
                Pushed::Passes(Place {
                    sequence: arrival.sequence.wrapping_add(offset),
                    anew: false,
                })
            } else {
                Pushed::Late
            };
        }
        let len = arrival.payload.len() as u32;
        let before =
            |timestamp: u32| timestamp.wrapping_sub(arrival.timestamp.wrapping_add(len)) < u32::MAX / 2;
        let after = arrival.timestamp.wrapping_sub(self.queue.next) < u32::MAX / 2;
        if !law || self.kept.missing == 0 || !before(self.kept.stretch.timestamp) || !after {
            return Pushed::Late;
        }
        let pushed = self.enqueue(now, arrival, law, 0);
        self.kept.missing -= 1;
        self.kept.stretch.gap = self.gap(self.kept.missing, self.kept.stretch.timestamp);
        if self.kept.missing == 0 {
            self.release();
            self.hurried = self.queue.waiting();
        }
        pushed
    }

    /// Keep `arrival` until it is known whether its predecessors come.
    fn keep(&mut self, now: Timestamp, arrival: &Arrival<'_>, missing: u16) -> Pushed {
        let len = arrival.payload.len();
        let gap = self.gap(missing, arrival.timestamp);
        let Some(octets) = self
            .kept
            .octets
            .get_mut(..len)
            .filter(|_| self.queue.has_room(len, 1))
        else {
            return Pushed::Full;
        };
        octets.copy_from_slice(arrival.payload);
        self.kept.stretch = Stretch {
            gap,
            ..Stretch::of(arrival, true)
        };
        self.kept.missing = missing;
        self.note_len(len);
        self.wait(now, len);
        Pushed::Taken
    }

    /// The kept packet waits for nothing any more.
    fn release(&mut self) {
        self.kept.missing = 0;
        let mut stretch = self.kept.stretch;
        stretch.anew |= core::mem::take(&mut self.anew);
        let octets = self.kept.octets.get(..stretch.len).unwrap_or_default();
        // There is room: whatever came meanwhile has left it.
        self.queue.push(stretch, octets);
    }

    /// Nothing more of this stretch is to come: what is left of it leaves short, and now.
    fn flush(&mut self, now: Timestamp) {
        if self.kept.missing > 0 {
            self.release();
        }
        self.queue.closed = true;
        (self.hurried, self.due) = (self.queue.waiting(), now);
    }

    /// Numbers to leave out where `missing` packets are before `timestamp`.
    fn gap(&self, missing: u16, timestamp: u32) -> u16 {
        if missing == 0 {
            return 0;
        }
        let len = self.source.map_or(0, |source| source.len);
        let hole = timestamp.wrapping_sub(self.queue.next) as usize;
        let lost = (usize::from(missing) * len).min(hole);
        (lost / self.frame).clamp(1, GAP_MAX) as u16
    }

    /// `arrival`, of G.711, leaves as it is.
    fn note(&mut self, arrival: &Arrival<'_>) {
        let len = arrival.payload.len();
        self.queue.next = arrival.timestamp.wrapping_add(len as u32);
        self.note_len(len);
    }

    fn note_len(&mut self, len: usize) {
        if let Some(source) = &mut self.source {
            source.len = len;
        }
    }

    fn enqueue(&mut self, now: Timestamp, arrival: &Arrival<'_>, law: bool, gap: u16) -> Pushed {
        let (before, len) = (self.queue.waiting(), arrival.payload.len());
        let reserved = match self.kept.missing {
            0 => (len, 1),
            _ => (len + self.kept.stretch.len, 2),
        };
        // A piece must fit the buffer of whoever sends it.
        if (!law && len > LEAVING_MAX) || !self.queue.has_room(reserved.0, reserved.1) {
            return Pushed::Full;
        }
        let stretch = Stretch {
            gap,
            anew: core::mem::take(&mut self.anew),
            ..Stretch::of(arrival, law)
        };
        self.queue.push(stretch, arrival.payload);
        if law {
            self.note_len(len);
        }
        self.wait(now, if law { len } else { 0 });
        self.hurried = if law { before } else { self.queue.waiting() };
        Pushed::Taken
    }

    /// Something waits since `now`, the last of it `samples` long.
    fn wait(&mut self, now: Timestamp, samples: usize) {
        self.due = now;
        self.hurried = self.queue.waiting();
        self.linger = now + Duration::from_micros(samples as u64 * 125) + LINGER;
    }
}

impl Queue {
    /// Octets that wait.
    fn waiting(&self) -> usize {
        self.end - self.begin
    }

    /// Whether there is room for so many octets more, in so many stretches.
    fn has_room(&self, octets: usize, stretches: usize) -> bool {
        self.waiting() + octets <= ROOM && self.used + stretches <= STRETCHES
    }

    /// Put `stretch`, which is `octets`, behind what waits, where there is room for it.
    fn push(&mut self, stretch: Stretch, octets: &[u8]) {
        if self.end + octets.len() > ROOM {
            self.octets.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        let Some(place) = self.octets.get_mut(self.end..self.end + octets.len()) else {
            return;
        };
        let last = self.stretches[..self.used].last_mut().filter(|last| {
            let same =
                (last.ssrc, last.payload_type, last.whole) == (stretch.ssrc, stretch.payload_type, false);
            same && !self.closed && !stretch.whole && !stretch.marker && !stretch.anew && stretch.gap == 0
        });
        match last.filter(|_| stretch.timestamp == self.next) {
            Some(last) => last.len += octets.len(),
            None => {
                let Some(free) = self.stretches.get_mut(self.used) else {
                    return;
                };
                *free = stretch;
                self.used += 1;
                self.closed = stretch.whole;
            }
        }
        place.copy_from_slice(octets);
        self.end += octets.len();
        if !stretch.whole {
            self.next = stretch.timestamp.wrapping_add(octets.len() as u32);
        }
    }

    /// Octets of the next piece; `None`: more has to come.
    fn next_len(&self, frame: usize) -> Option<usize> {
        let first = self.stretches[..self.used].first()?;
        let complete = self.used > 1 || self.closed;
        match first.len {
            len if first.whole => Some(len),
            len if len >= frame => Some(frame),
            len if complete => Some(len),
            _ => None,
        }
    }

    fn drop_first(&mut self) {
        self.stretches.copy_within(1..self.used, 0);
        self.used -= 1;
        if self.used == 0 {
            self.closed = false;
        }
    }
}
