//! Digits as RTP events: payload type telephone-event (RFC 4733).
//!
//! In, [`Receiver`]: the event packets of a stream, lost, doubled and reordered as the network likes. Out: each
//! digit once. In, [`Sender`]: digits and the stream's clock. Out: what the packet of this packet time carries.

use super::{Digit, Full, Pending, Report, Timing};
use crate::{
    rtp::{self, be16},
    time::Timestamp,
};
use core::time::Duration;

/// The longest duration that a packet can state: a segment of a longer event (§2.5.1.3).
const SEGMENT: u32 = 0xffff;

/// The payload of an event packet (§2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which event; the digits are 0 to 15.
    pub code: u8,
    /// Whether the event is over.
    pub end: bool,
    /// Power of the tone in -dBm0, 0 to 63.
    pub volume: u8,
    /// How long the event has lasted since the packet's RTP timestamp, in timestamp units.
    pub duration: u16,
}

impl Event {
    /// Octets of the payload.
    pub const LEN: usize = 4;

    /// Read a payload; `None` if it is shorter than an event. What follows the first event is not looked at:
    /// digits come one to a packet.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let &[code, flags, high, low] = payload.first_chunk()?;
        Some(Self {
            code,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: be16(&[high, low]),
        })
    }

    /// The payload on the wire; the reserved bit is zero.
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [high, low] = self.duration.to_be_bytes();
        [self.code, (self.end as u8) << 7 | self.volume & 0x3f, high, low]
    }
}

/// So many events are remembered, so that their late packets are not taken for new ones.
const REMEMBERED: usize = 4;
/// A packet that belongs to something older than this has not been late for so long: the sender uses a
/// timestamp again, or has counted its sequence numbers half round since its last event.
const LATE_MAX: Duration = Duration::from_secs(2);
/// An event of which nothing has come for so long is over. Senders repeat it every 20 to 50 ms (§2.5.1.2).
const SILENCE_MAX: Duration = Duration::from_millis(200);

/// Where an event is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Begun; more is expected.
    Active,
    /// Told as ended because nothing came any more; may prove to have gone on.
    Silent,
    /// Ended.
    Ended,
}

/// An event that has been told of.
#[derive(Clone, Copy, Debug)]
struct Known {
    ssrc: u32,
    digit: Digit,
    /// Timestamp of its first segment.
    first: u32,
    /// Timestamp of its latest segment.
    segment: u32,
    /// Duration of the latest segment.
    duration: u16,
    stage: Stage,
    /// When a packet of it came last.
    heard: Timestamp,
}

impl Known {
    fn duration(&self) -> u32 {
        self.segment
            .wrapping_sub(self.first)
            .saturating_add(u32::from(self.duration))
    }

    fn ended(&self) -> Report {
        Report::Ended {
            digit: self.digit,
            duration: self.duration(),
        }
    }

    /// Whether a packet that begins at `timestamp` belongs to a segment of this event that has been seen.
    fn holds(&self, now: Timestamp, ssrc: u32, digit: Digit, timestamp: u32) -> bool {
        let reach = self.segment.wrapping_sub(self.first);
        (ssrc, digit) == (self.ssrc, self.digit)
            && timestamp.wrapping_sub(self.first) <= reach
            && now.since(self.heard) <= LATE_MAX
    }

    /// Whether a packet that begins at `timestamp` is a later segment of this event: the first packet of an event
    /// carries the marker, that of a further segment does not (§2.5.1.3). Segments may have been lost whole.
    fn continues_at(&self, ssrc: u32, digit: Digit, timestamp: u32, marker: bool) -> bool {
        let ahead = timestamp.wrapping_sub(self.segment);
        let unbroken = ahead > 0 && ahead <= 16 * SEGMENT && ahead.is_multiple_of(SEGMENT);
        (ssrc, digit) == (self.ssrc, self.digit) && self.stage != Stage::Ended && !marker && unbroken
    }
}

/// Tells digits from the event packets of one direction.
#[derive(Clone, Debug, Default)]
pub struct Receiver {
    /// The latest first.
    known: [Option<Known>; REMEMBERED],
    /// Highest sequence number of the latest event's source.
    sequence: u16,
}

impl Receiver {
    /// Nothing received yet.
    pub const fn new() -> Self {
        Self {
            known: [None; REMEMBERED],
            sequence: 0,
        }
    }

    /// An event packet has arrived. `report` is called for what it tells, in order, at most three times: the digit
    /// before is over (its end was lost), this one began, this one is over.
    pub fn receive<T: AsRef<[u8]>>(
        &mut self,
        now: Timestamp,
        packet: &rtp::Packet<T>,
        report: &mut impl FnMut(Report),
    ) {
        let Some(event) = Event::read(packet.payload()) else {
            return;
        };
        // Other events (flash hook, fax tones) are no digits.
        let Some(digit) = Digit::from_code(event.code) else {
            return;
        };
        let (ssrc, timestamp) = (packet.ssrc(), packet.timestamp());
        let ahead = packet.sequence().wrapping_sub(self.sequence) as i16;

        if let Some(latest) = &mut self.known[0] {
            let late = latest.ssrc == ssrc && ahead < 0 && now.since(latest.heard) <= LATE_MAX;
            if latest.ssrc == ssrc && !late {
                self.sequence = packet.sequence();
            }
            let same = latest.holds(now, ssrc, digit, timestamp);
            if same || latest.continues_at(ssrc, digit, timestamp, packet.marker()) {
                if !same {
                    latest.segment = timestamp;
                    latest.duration = event.duration;
                } else if timestamp == latest.segment && latest.stage != Stage::Ended {
                    latest.duration = latest.duration.max(event.duration);
                }
                latest.heard = now;
                if event.end {
                    let told = latest.stage != Stage::Active;
                    latest.stage = Stage::Ended;
                    if !told {
                        report(latest.ended());
                    }
                }
                return;
            }
            // Something old that is not remembered any more, or was never heard of: in its turn it would have been
            // a digit, but now it would come after those that followed it.
            if late && (timestamp.wrapping_sub(latest.segment) as i32) < 0 {
                return;
            }
        }
        let mut remembered = self.known.iter().flatten();
        if remembered.any(|known| known.holds(now, ssrc, digit, timestamp)) {
            return;
        }
        self.end(report);
        self.known.rotate_right(1);
        let stage = if event.end { Stage::Ended } else { Stage::Active };
        let begun = Known {
            ssrc,
            digit,
            first: timestamp,
            segment: timestamp,
            duration: event.duration,
            stage,
            heard: now,
        };
        self.known[0] = Some(begun);
        self.sequence = packet.sequence();
        report(Report::Began(digit));
        if event.end {
            report(begun.ended());
        }
    }

    /// When [`Self::handle_timeout`] is due, if a digit is active.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let latest = self.known[0]?;
        (latest.stage == Stage::Active).then(|| latest.heard + SILENCE_MAX)
    }

    /// End a digit of which nothing has been heard for 200 ms.
    pub fn handle_timeout(&mut self, now: Timestamp, report: &mut impl FnMut(Report)) {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.end(report);
        }
    }

    /// End the active digit with what is known of it.
    fn end(&mut self, report: &mut impl FnMut(Report)) {
        if let Some(latest) = &mut self.known[0]
            && latest.stage == Stage::Active
        {
            latest.stage = Stage::Silent;
            report(latest.ended());
        }
    }
}

/// What an event packet to be sent consists of, besides sequence number and SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// The payload.
    pub event: Event,
    /// The marker bit: the first packet of an event.
    pub marker: bool,
    /// The RTP timestamp: when the event, or its segment, began.
    pub timestamp: u32,
}

/// Total number of times that the end of an event is sent (§2.5.1.4).
const END_PACKETS: u8 = 3;

#[derive(Clone, Copy, Debug)]
enum Sending {
    /// Nothing, and for so long not the next digit.
    Pause { left: u32 },
    /// The first pending digit.
    Tone {
        /// Timestamp of the current segment.
        segment: u32,
        /// Duration of the segments before it.
        before: u32,
        /// Duration so far, all segments together.
        elapsed: u32,
        /// Duration that has been told, which lacks what did not fit into a segment.
        told: u32,
    },
    /// The end packet, `left` times more.
    End { update: Update, left: u8, pause: u32 },
}

/// Sends digits as event packets, one packet in a packet time at most.
#[derive(Clone, Debug)]
pub struct Sender {
    pending: Pending,
    sending: Sending,
    timing: Timing,
    volume: u8,
}

impl Sender {
    /// Nothing to send yet; `volume` is what events claim, in -dBm0 (0 to 63).
    pub const fn new(timing: Timing, volume: u8) -> Self {
        Self {
            pending: Pending::new(),
            sending: Sending::Pause { left: 0 },
            timing,
            volume,
        }
    }

    /// Send a digit of `duration` timestamp units (at least [`Timing::tone_min`]) after those that wait.
    pub fn send(&mut self, digit: Digit, duration: u32) -> Result<(), Full> {
        self.pending.push(digit, Some(duration))
    }

    /// Send a digit whose duration is not known yet, after those that wait. It lasts until [`Self::end`], or
    /// until another digit is given.
    pub fn begin(&mut self, digit: Digit) -> Result<(), Full> {
        self.pending.push(digit, None)
    }

    /// The digit of [`Self::begin`] lasts `duration`, or as long as has already been sent.
    pub fn end(&mut self, duration: u32) {
        self.pending.end(duration);
    }

    /// Digits that have not been sent to their end.
    pub const fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Whether there is nothing more to send, and the least gap after the last digit is over.
    pub fn is_idle(&self) -> bool {
        self.pending.front().is_none() && matches!(self.sending, Sending::Pause { left: 0 })
    }

    /// Another packet time has passed; call this once in each. `timestamp` is what an audio packet would carry
    /// now. `None`: nothing to send in this one.
    pub fn tick(&mut self, timestamp: u32) -> Option<Update> {
        let ptime = self.timing.ptime;
        match &mut self.sending {
            Sending::End { update, left, pause } => {
                let update = *update;
                *left -= 1;
                *pause = pause.saturating_sub(ptime);
                if *left == 0 {
                    self.sending = Sending::Pause { left: *pause };
                }
                Some(update)
            }
            Sending::Pause { left } if *left > ptime => {
                *left -= ptime;
                None
            }
            Sending::Pause { left } => {
                *left = 0;
                self.pending.front()?;
                self.sending = Sending::Tone {
                    segment: timestamp,
                    before: 0,
                    elapsed: 0,
                    told: 0,
                };
                self.tone(true)
            }
            Sending::Tone { .. } => self.tone(false),
        }
    }

    /// The next packet of the digit that is being sent.
    fn tone(&mut self, marker: bool) -> Option<Update> {
        let (digit, target) = self.pending.front()?;
        let Sending::Tone {
            segment,
            before,
            elapsed,
            told,
        } = &mut self.sending
        else {
            return None;
        };
        let reached = elapsed.saturating_add(self.timing.ptime);
        // What has been reported cannot be taken back.
        let target = target.map(|target| target.max(self.timing.tone_min).max(*told));
        let mut end = target.is_some_and(|target| target <= reached);
        let mut total = target.filter(|_| end).unwrap_or(reached);
        *elapsed = reached;
        let timestamp = *segment;
        let mut duration = total - *before;
        if duration > SEGMENT {
            // The segment is full. What is beyond it is told in the next packet, with a new timestamp.
            duration = SEGMENT;
            total = *before + SEGMENT;
            *before = total;
            *segment = segment.wrapping_add(SEGMENT);
            end = false;
        }
        *told = total;
        let update = Update {
            event: Event {
                code: digit.code(),
                end,
                volume: self.volume,
                duration: duration as u16,
            },
            marker,
            timestamp,
        };
        if end {
            self.pending.pop();
            self.sending = Sending::End {
                update: Update {
                    marker: false,
                    ..update
                },
                left: END_PACKETS - 1,
                pause: self.timing.gap_min,
            };
        }
        Some(update)
    }
}
