//! The RTP source and sink: real-time streams whose packets tell who sent them, which one they
//! are and when they left, so that the receiver finds every loss, swap, copy and flipped bit.
//!
//! One thread, one ring, one connected socket per stream end. A packet is 172 bytes: an RTP
//! header (PCMU, 20 ms) and a payload of magic, stream, sequence, send time and a checksum over
//! it all. The time of arrival is the kernel's (`SO_TIMESTAMPNS`), so that the sink's own
//! batching does not count as delay; the time of departure is read just before the batch is
//! handed to the kernel, and what that costs is in the direct baseline too.

use crate::{
    Error, Result,
    bare_relay::connected,
    measure,
    ring::{Completion, Ring, Tag, Wait},
};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    time::Duration,
};

/// RTP header and 20 ms of G.711.
pub(crate) const PACKET_LEN: usize = 12 + 160;
/// Packets a second in one direction.
pub(crate) const PACKETS_PER_SECOND: u64 = 50;

const PACKET_NS: u64 = 1_000_000_000 / PACKETS_PER_SECOND;
const MAGIC: u32 = 0x5bc1_0ad7;
const SSRC_BASE: u32 = 0x7000_0000;
const SLOTS: u16 = 4096;
const RECEIVE_BUFFERS: u16 = 8192;
const RECEIVE_BUFFER_LEN: usize = 256;
/// Packets sent in one batch: more would make the send time of the last one stale.
const BATCH: usize = 16;
/// How long after the last packet sent its arrival is awaited.
const STRAGGLERS: Duration = Duration::from_millis(400);

/// `struct cmsghdr` and a `timespec`.
const CONTROL_LEN: usize = 32;

struct Header(libc::msghdr);
// SAFETY: the pointers inside are null and never changed; only two lengths are read.
unsafe impl Sync for Header {}

/// Sizes of the fields in front of the payload of a multishot `recvmsg`.
static HEADER: Header = Header({
    // SAFETY: all zeroes is a valid `msghdr` without name, vectors and control data.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_controllen = CONTROL_LEN;
    header
});

/// One end of a call: where it is and where it sends to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// Our socket.
    pub(crate) local: SocketAddr,
    /// Where it sends and from where alone it receives.
    pub(crate) remote: SocketAddr,
}

/// What happened to the packets of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Packets handed to the kernel.
    pub(crate) sent: u64,
    /// Sends the kernel refused.
    pub(crate) send_errors: u64,
    /// Distinct good packets that arrived.
    pub(crate) received: u64,
    /// Sent and not arrived.
    pub(crate) lost: u64,
    /// Arrived after a later one.
    pub(crate) reordered: u64,
    /// Arrived again.
    pub(crate) duplicated: u64,
    /// Not as it was sent: header, payload or checksum.
    pub(crate) corrupted: u64,
    /// Arrived intact at a socket it was not meant for.
    pub(crate) misrouted: u64,
}

impl Counts {
    /// Add another window.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.send_errors += other.send_errors;
        self.received += other.received;
        self.lost += other.lost;
        self.reordered += other.reordered;
        self.duplicated += other.duplicated;
        self.corrupted += other.corrupted;
        self.misrouted += other.misrouted;
    }

    /// Whether every packet arrived once, intact, in order, where it belongs.
    pub(crate) fn perfect(&self) -> bool {
        self.received == self.sent
            && self.reordered + self.duplicated + self.corrupted + self.misrouted + self.send_errors == 0
    }
}

/// A window of traffic.
#[derive(Debug)]
pub(crate) struct Window {
    /// Every packet of it, warm-up included.
    pub(crate) counts: Counts,
    /// One-way delays in nanoseconds, after the warm-up.
    pub(crate) delay: Histogram<u64>,
    /// Most nanoseconds the source was behind its schedule: its own health.
    pub(crate) behind_ns_max: u64,
}

/// An empty delay histogram: 1 ns to 60 s, three digits.
pub(crate) fn delays() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("constant bounds are valid")
}

/// How long to send, and the calls at the edges of the measured part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Time before measuring.
    pub(crate) warm_up: Duration,
    /// Time measured.
    pub(crate) measured: Duration,
    /// Shortest sleep between batches.
    pub(crate) tick: Duration,
}

/// An edge of the measured part of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Edge {
    /// The warm-up has ended.
    Start,
    /// The last measured packet has been sent.
    End,
    /// A tenth of a second has gone by; the argument is the fraction done.
    Progress(f64),
}

/// Two streams per call, both directions, over one path (through a relay or direct).
#[derive(Debug)]
pub(crate) struct Streams {
    ends: Vec<StreamEnd>,
    armed: bool,
    /// Index of the first socket among all sockets of the ring.
    first: u32,
}

#[derive(Debug)]
struct StreamEnd {
    socket: UdpSocket,
    /// Sequence of the next packet to send.
    next: u32,
    /// Sequence of the next packet expected, i.e. one after the highest seen.
    expected: u32,
    /// Bit `i`: packet `expected - 1 - i` has been seen.
    seen: u64,
}

impl Streams {
    /// Streams, both directions counted.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bind and connect the sockets of `calls` (A end, B end).
    pub(crate) fn bind(calls: &[(End, End)]) -> Result<Self> {
        let mut ends = Vec::with_capacity(calls.len() * 2);
        for end in calls.iter().flat_map(|(a, b)| [a, b]) {
            let socket = connected(end.local, end.remote)?;
            measure::enable_timestamps(&socket)?;
            ends.push(StreamEnd {
                socket,
                next: 0,
                expected: 0,
                seen: 0,
            });
        }
        Ok(Self {
            ends,
            armed: false,
            first: 0,
        })
    }
}

/// The thread's ring and its packet memory.
#[derive(Debug)]
pub(crate) struct RtpLoad {
    ring: Ring,
    slots: Box<[[u8; PACKET_LEN]]>,
    free: Vec<u16>,
    sockets: u32,
    completions: Vec<Completion>,
}

impl RtpLoad {
    /// A source and sink that belongs to the calling thread.
    pub(crate) fn new() -> Result<Self> {
        measure::precise_timers();
        Ok(Self {
            ring: Ring::new(RECEIVE_BUFFERS, RECEIVE_BUFFER_LEN).map_err(|source| Error::Io {
                what: "making an io_uring".into(),
                source,
            })?,
            slots: vec![[0; PACKET_LEN]; usize::from(SLOTS)].into_boxed_slice(),
            free: (0..SLOTS).collect(),
            sockets: 0,
            completions: Vec::with_capacity(4096),
        })
    }

    /// Send on every stream of `streams` at 50 packets a second, phases evenly spread, and
    /// receive. `at` is called at the edges of the measured part.
    pub(crate) fn run(&mut self, streams: &mut Streams, plan: Plan, at: impl FnMut(Edge)) -> Result<Window> {
        self.run_inner(streams, plan, at).map_err(|source| Error::Io {
            what: "RTP load".into(),
            source,
        })
    }

    fn run_inner(
        &mut self,
        streams: &mut Streams,
        plan: Plan,
        mut at: impl FnMut(Edge),
    ) -> std::io::Result<Window> {
        self.arm(streams)?;
        let mut window = Window {
            counts: Counts::default(),
            delay: delays(),
            behind_ns_max: 0,
        };
        let count = streams.ends.len() as u64;
        let (warm_up_ns, tick_ns) = (plan.warm_up.as_nanos() as u64, plan.tick.as_nanos() as u64);
        let total_ns = warm_up_ns + plan.measured.as_nanos() as u64;
        // Whole rounds: every stream sends the same number of packets.
        let packets = (total_ns / PACKET_NS).max(1) * count;
        let warm_up_packets = warm_up_ns / PACKET_NS * count;
        let start = measure::monotonic_ns();
        let (mut sent, mut last_progress, mut measuring) = (0u64, start, false);
        let mut stragglers_until = None;
        loop {
            let now = measure::monotonic_ns();
            let due =
                (((now - start) as u128 * u128::from(count) / u128::from(PACKET_NS)) as u64 + 1).min(packets);
            if !measuring && sent >= warm_up_packets {
                measuring = true;
                at(Edge::Start);
            }
            for _ in 0..BATCH {
                if sent >= due {
                    break;
                }
                let Some(slot) = self.free.pop() else { break };
                let due_at = start + (u128::from(sent) * u128::from(PACKET_NS) / u128::from(count)) as u64;
                window.behind_ns_max = window.behind_ns_max.max(now.saturating_sub(due_at));
                let stream = (sent % count) as usize;
                let end = &mut streams.ends[stream];
                write_packet(
                    &mut self.slots[usize::from(slot)],
                    stream as u32,
                    end.next,
                    measure::realtime_ns(),
                );
                end.next += 1;
                let fd = end.socket.as_raw_fd();
                self.ring
                    .send(fd, slot, self.slots[usize::from(slot)].as_ptr(), PACKET_LEN)?;
                sent += 1;
            }
            let mut timeout_ns = if sent < due { 0 } else { tick_ns };
            if sent == packets {
                if stragglers_until.is_none() {
                    at(Edge::End);
                    stragglers_until = Some(measure::monotonic_ns() + STRAGGLERS.as_nanos() as u64);
                }
                if stragglers_until.is_some_and(|until| now > until) {
                    break;
                }
                timeout_ns = 1_000_000;
            }
            if now - last_progress > 100_000_000 {
                last_progress = now;
                at(Edge::Progress(sent as f64 / packets as f64));
            }
            let wait = Wait {
                completions: if timeout_ns == 0 { 0 } else { 4096 },
                coalesce: Duration::ZERO,
                timeout: Duration::from_nanos(timeout_ns),
            };
            let mut completions = std::mem::take(&mut self.completions);
            self.ring.enter(wait, &mut completions)?;
            for completion in completions.drain(..) {
                self.complete(completion, streams, measuring, &mut window)?;
            }
            self.completions = completions;
        }
        window.counts.sent = sent - window.counts.send_errors;
        window.counts.lost = window.counts.sent.saturating_sub(window.counts.received);
        Ok(window)
    }

    fn arm(&mut self, streams: &mut Streams) -> std::io::Result<()> {
        if streams.armed {
            return Ok(());
        }
        streams.first = self.sockets;
        for end in &streams.ends {
            self.ring
                .receive_message(self.sockets, end.socket.as_raw_fd(), &HEADER.0)?;
            self.sockets += 1;
        }
        streams.armed = true;
        Ok(())
    }

    fn complete(
        &mut self,
        completion: Completion,
        streams: &mut Streams,
        measuring: bool,
        window: &mut Window,
    ) -> std::io::Result<()> {
        match completion.tag {
            Tag::Send { buffer } => {
                self.free.push(buffer);
                if completion.result < 0 {
                    window.counts.send_errors += 1;
                }
            }
            Tag::Receive { socket } => {
                // A late packet or error of streams that are not running now: only re-armed
                // when they are ours.
                let index = socket.wrapping_sub(streams.first) as usize;
                let ours = index < streams.ends.len();
                if let Some(buffer) = completion.buffer {
                    if ours {
                        let filled = &self.ring.bytes(buffer)
                            [..(completion.result.max(0) as usize).min(RECEIVE_BUFFER_LEN)];
                        receive(filled, index as u32, &mut streams.ends[index], measuring, window);
                    }
                    self.ring.recycle(buffer);
                }
                if !completion.more && ours {
                    self.ring
                        .receive_message(socket, streams.ends[index].socket.as_raw_fd(), &HEADER.0)?;
                }
            }
        }
        Ok(())
    }
}

/// Judge a packet that arrived at stream end `at`.
fn receive(filled: &[u8], at: u32, end: &mut StreamEnd, measuring: bool, window: &mut Window) {
    let Ok(message) = io_uring::types::RecvMsgOut::parse(filled, &HEADER.0) else {
        window.counts.corrupted += 1;
        return;
    };
    let Some(packet) = read_packet(message.payload_data()) else {
        window.counts.corrupted += 1;
        return;
    };
    if packet.stream != at ^ 1 {
        window.counts.misrouted += 1;
        return;
    }
    match end.see(packet.sequence) {
        Seen::Next => {}
        Seen::Late => window.counts.reordered += 1,
        Seen::Again => {
            window.counts.duplicated += 1;
            return;
        }
    }
    window.counts.received += 1;
    if measuring && let Some(arrived) = timestamp(message.control_data()) {
        // The histogram's bounds hold every delay that the straggler time lets through.
        let _ = window.delay.record(arrived.saturating_sub(packet.sent_ns).max(1));
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Next,
    Late,
    Again,
}

impl StreamEnd {
    fn see(&mut self, sequence: u32) -> Seen {
        if sequence >= self.expected {
            let ahead = sequence - self.expected + 1;
            self.seen = if ahead >= 64 { 0 } else { self.seen << ahead };
            self.seen |= 1;
            self.expected = sequence + 1;
            return Seen::Next;
        }
        let back = self.expected - 1 - sequence;
        if back >= 64 {
            return Seen::Late;
        }
        if self.seen & (1 << back) != 0 {
            return Seen::Again;
        }
        self.seen |= 1 << back;
        Seen::Late
    }
}

/// The kernel's time of arrival from the control data of a received message.
fn timestamp(control: &[u8]) -> Option<u64> {
    let word = |at: usize| {
        control
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u64::from_ne_bytes)
    };
    let kind = control.get(8..16)?;
    let (level, kind) = (
        i32::from_ne_bytes(kind[..4].try_into().ok()?),
        i32::from_ne_bytes(kind[4..].try_into().ok()?),
    );
    (level == libc::SOL_SOCKET && kind == libc::SCM_TIMESTAMPNS).then_some(())?;
    Some(word(16)? * 1_000_000_000 + word(24)?)
}

struct Packet {
    stream: u32,
    sequence: u32,
    sent_ns: u64,
}

fn write_packet(packet: &mut [u8; PACKET_LEN], stream: u32, sequence: u32, sent_ns: u64) {
    packet[0] = 0x80;
    // The marker bit starts a talk spurt (RFC 3551 §4.1); payload type 0 is PCMU.
    packet[1] = if sequence == 0 { 0x80 } else { 0 };
    packet[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&sequence.wrapping_mul(160).to_be_bytes());
    packet[8..12].copy_from_slice(&(SSRC_BASE + stream).to_be_bytes());
    packet[12..16].copy_from_slice(&MAGIC.to_be_bytes());
    packet[16..20].copy_from_slice(&stream.to_be_bytes());
    packet[20..24].copy_from_slice(&sequence.to_be_bytes());
    packet[24..32].copy_from_slice(&sent_ns.to_be_bytes());
    let mut fill = (u64::from(stream) << 32 | u64::from(sequence)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for word in packet[32..PACKET_LEN - 8].chunks_mut(8) {
        fill = fill.rotate_left(23).wrapping_mul(0xff51_afd7_ed55_8ccd);
        word.copy_from_slice(&fill.to_be_bytes()[..word.len()]);
    }
    let sum = checksum(&packet[..PACKET_LEN - 8]);
    packet[PACKET_LEN - 8..].copy_from_slice(&sum.to_be_bytes());
}

/// `None` when the packet is not byte for byte one that [`write_packet`] makes.
fn read_packet(bytes: &[u8]) -> Option<Packet> {
    let packet: &[u8; PACKET_LEN] = bytes.try_into().ok()?;
    let sum = u64::from_be_bytes(packet[PACKET_LEN - 8..].try_into().ok()?);
    if sum != checksum(&packet[..PACKET_LEN - 8]) || packet[12..16] != MAGIC.to_be_bytes() {
        return None;
    }
    Some(Packet {
        stream: u32::from_be_bytes(packet[16..20].try_into().ok()?),
        sequence: u32::from_be_bytes(packet[20..24].try_into().ok()?),
        sent_ns: u64::from_be_bytes(packet[24..32].try_into().ok()?),
    })
}

/// Covers the RTP header too: a plain relay has no reason to change it.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(0x5bc0_5bc0_5bc0_5bc0, |sum: u64, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (sum ^ u64::from_le_bytes(word))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_bit_is_seen() {
        let mut packet = [0; PACKET_LEN];
        write_packet(&mut packet, 3, 70_000, 123_456_789);
        let read = read_packet(&packet).expect("intact");
        assert_eq!(
            (read.stream, read.sequence, read.sent_ns),
            (3, 70_000, 123_456_789)
        );
        for bit in 0..PACKET_LEN * 8 {
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(read_packet(&packet).is_none(), "bit {bit}");
            packet[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(read_packet(&packet[1..]).is_none());
    }

    #[test]
    fn order_is_judged() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        let mut end = StreamEnd {
            socket,
            next: 0,
            expected: 0,
            seen: 0,
        };
        let seen: Vec<Seen> = [0, 1, 3, 2, 2, 3, 100, 99, 1]
            .into_iter()
            .map(|sequence| end.see(sequence))
            .collect();
        use Seen::{Again, Late, Next};
        assert_eq!(seen, [Next, Next, Next, Late, Again, Again, Next, Late, Late]);
    }

    #[test]
    fn direct_streams_lose_nothing() {
        let ports: Vec<UdpSocket> = (0..8)
            .map(|_| UdpSocket::bind("127.0.0.1:0").expect("loopback"))
            .collect();
        let at: Vec<SocketAddr> = ports
            .iter()
            .map(|socket| socket.local_addr().expect("bound"))
            .collect();
        drop(ports);
        let calls: Vec<(End, End)> = at
            .chunks(2)
            .map(|pair| {
                (
                    End {
                        local: pair[0],
                        remote: pair[1],
                    },
                    End {
                        local: pair[1],
                        remote: pair[0],
                    },
                )
            })
            .collect();
        let mut streams = Streams::bind(&calls).expect("sockets");
        let mut load = RtpLoad::new().expect("a ring");
        let plan = Plan {
            warm_up: Duration::from_millis(40),
            measured: Duration::from_millis(200),
            tick: Duration::from_micros(100),
        };
        let mut edges = Vec::new();
        let window = load
            .run(&mut streams, plan, |edge| edges.push(edge))
            .expect("a window");
        assert_eq!(window.counts.sent, 12 * 8);
        assert!(window.counts.perfect(), "{:?}", window.counts);
        assert!(
            window.delay.len() >= 10 * 8,
            "kernel time stamps are there: {}",
            window.delay.len()
        );
        assert!(edges.contains(&Edge::Start) && edges.contains(&Edge::End));
    }
}
