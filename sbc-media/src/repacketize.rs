//! The same audio in packets of another length (`a=ptime`): G.711 cut and joined.
//!
//! In: the packets of one arriving stream, an octet a sample. Out: packets of the wanted length, each with the
//! timestamp of its first sample. No sample is made up, none changes its place in time:
//!
//! - Where a packet was lost, the piece before the hole leaves short, and the next begins behind the hole: a gap of
//!   the same time. One packet that comes before its predecessor is kept until the next; so two that have changed
//!   places are put right. What comes later than that is left out.
//! - A marker begins a talkspurt: what is left of the one before leaves short.
//! - For packets of other formats (comfort noise, telephone events) the caller empties this first, see
//!   [`Repacketizer::flush`]: they are passed on between two pieces.

/// The most samples of a packet that arrives: 200 ms, the longest that RFC 3551 §4.2 wants receivers to take.
pub const ARRIVING_MAX: usize = 1600;
/// The most samples of a packet that leaves: 60 ms.
pub const LEAVING_MAX: usize = 480;
/// Room for a piece that is not full, a packet that was kept, and the one that arrives.
const ROOM: usize = LEAVING_MAX + 2 * ARRIVING_MAX;
/// A hole of more samples than this is no packet that may still come: 100 ms.
const HOLE_MAX: u32 = 800;
/// A timestamp that goes back by more samples than this is a clock that was set anew: a second.
const BACK_MAX: u32 = 8000;
/// Stretches of audio without a hole that wait at most: what is left of one, one of a kept packet, one of the last.
const STRETCHES: usize = 4;

/// What a packet that arrives has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// Its samples leave, now or with the next.
    Taken,
    /// It is too late, or longer than [`ARRIVING_MAX`]: its samples are left out.
    Refused,
}

/// A packet that leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Timestamp of its first sample.
    pub timestamp: u32,
    /// It begins a talkspurt.
    pub marker: bool,
    /// The samples.
    pub payload: &'a [u8],
}

/// Samples without a hole between them.
#[derive(Clone, Copy, Debug, Default)]
struct Stretch {
    timestamp: u32,
    len: usize,
    marker: bool,
}

/// A packet that waits for its predecessor.
#[derive(Debug)]
struct Kept {
    timestamp: u32,
    len: usize,
    samples: [u8; ARRIVING_MAX],
}

/// One direction of a call.
#[derive(Debug)]
pub struct Repacketizer {
    queue: Queue,
    kept: Kept,
}

#[derive(Debug)]
struct Queue {
    /// Samples of a packet that leaves.
    frame: usize,
    /// Timestamp after the last sample that came; `None`: none has.
    next: Option<u32>,
    /// The first `used` wait; all but the last are complete, and the last if `closed`.
    stretches: [Stretch; STRETCHES],
    used: usize,
    closed: bool,
    /// Their samples, one after the other, from `begin` to `end`.
    samples: [u8; ROOM],
    begin: usize,
    end: usize,
}

impl Repacketizer {
    /// Packets of `frame` samples, 1 to [`LEAVING_MAX`].
    pub fn new(frame: usize) -> Self {
        Self {
            queue: Queue {
                frame: frame.clamp(1, LEAVING_MAX),
                next: None,
                stretches: [Stretch::default(); STRETCHES],
                used: 0,
                closed: false,
                samples: [0; ROOM],
                begin: 0,
                end: 0,
            },
            kept: Kept {
                timestamp: 0,
                len: 0,
                samples: [0; ARRIVING_MAX],
            },
        }
    }

    /// Samples of a packet that leaves.
    pub fn frame(&self) -> usize {
        self.queue.frame
    }

    /// A packet has arrived. Take what [`Self::next_piece`] has after this, until it has nothing.
    pub fn push(&mut self, timestamp: u32, marker: bool, payload: &[u8]) -> Pushed {
        if payload.len() > ARRIVING_MAX {
            return Pushed::Refused;
        }
        // After the packet that it overtook, or before a third, the kept one waits no longer.
        if self.kept.len > 0 && is_before(self.kept.timestamp, timestamp) {
            self.release();
        }
        let ahead = self.queue.next.map_or(0, |next| timestamp.wrapping_sub(next));
        if !marker && self.kept.len == 0 && (1..=HOLE_MAX).contains(&ahead) && !payload.is_empty() {
            self.kept.timestamp = timestamp;
            self.kept.len = payload.len();
            self.kept.samples[..payload.len()].copy_from_slice(payload);
            return Pushed::Taken;
        }
        let pushed = self.queue.push(timestamp, marker, payload);
        if self.kept.len > 0 {
            self.release();
        }
        pushed
    }

    /// Nothing more of this stretch is to come: what is left of it leaves short.
    pub fn flush(&mut self) {
        if self.kept.len > 0 {
            self.release();
        }
        self.queue.closed = true;
    }

    /// The next packet that leaves; `None`: nothing until more arrives.
    pub fn next_piece(&mut self) -> Option<Piece<'_>> {
        self.queue.next_piece()
    }

    fn release(&mut self) {
        let len = core::mem::take(&mut self.kept.len);
        self.queue
            .push(self.kept.timestamp, false, &self.kept.samples[..len]);
    }
}

/// Whether `a` is before `b` on a clock that wraps.
fn is_before(a: u32, b: u32) -> bool {
    b.wrapping_sub(a).wrapping_sub(1) < u32::MAX / 2
}

impl Queue {
    fn push(&mut self, timestamp: u32, marker: bool, payload: &[u8]) -> Pushed {
        let behind = self.next.map_or(0, |next| next.wrapping_sub(timestamp));
        if (1..=BACK_MAX).contains(&behind) {
            return Pushed::Refused;
        }
        if self.end + payload.len() > ROOM {
            self.samples.copy_within(self.begin..self.end, 0);
            self.end -= self.begin;
            self.begin = 0;
        }
        let Some(place) = self.samples.get_mut(self.end..self.end + payload.len()) else {
            return Pushed::Refused;
        };
        let follows = self.used > 0 && !self.closed && !marker && behind == 0;
        if !follows {
            let Some(stretch) = self.stretches.get_mut(self.used) else {
                return Pushed::Refused;
            };
            *stretch = Stretch {
                timestamp,
                len: 0,
                marker,
            };
            self.used += 1;
            self.closed = false;
        }
        place.copy_from_slice(payload);
        self.end += payload.len();
        self.stretches[self.used - 1].len += payload.len();
        self.next = Some(timestamp.wrapping_add(payload.len() as u32));
        Pushed::Taken
    }

    fn next_piece(&mut self) -> Option<Piece<'_>> {
        loop {
            let complete = self.used > 1 || self.closed;
            let first = self.stretches[..self.used].first_mut()?;
            let len = match first.len {
                0 if complete => {
                    self.stretches.copy_within(1.., 0);
                    self.used -= 1;
                    continue;
                }
                len if len >= self.frame => self.frame,
                len if complete => len,
                _ => return None,
            };
            let (timestamp, marker) = (first.timestamp, core::mem::take(&mut first.marker));
            first.timestamp = timestamp.wrapping_add(len as u32);
            first.len -= len;
            let from = self.begin;
            self.begin += len;
            return Some(Piece {
                timestamp,
                marker,
                payload: &self.samples[from..from + len],
            });
        }
    }
}
