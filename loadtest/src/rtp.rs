//! The RTP source and sink: real-time streams whose packets tell who sent them, which one they
//! are and when they left, so that the receiver finds every loss, swap, copy and flipped bit.
//!
//! One thread, one ring, one connected socket per stream end. What a packet says is in [`packet`]; an end
//! with keys protects what it sends and unprotects what it hears. The time of arrival is the kernel's
//! (`SO_TIMESTAMPNS`), so that the sink's own batching does not count as delay; the time of departure is read
//! just before the batch is handed to the kernel, and what that costs is in the direct baseline too.

pub(crate) mod packet;

use crate::{
    Error, Result,
    bare_relay::connected,
    measure,
    ring::{Completion, Ring, Tag, Wait},
    shape::{Keys, PTIME_MS},
};
use hdrhistogram::Histogram;
use packet::{Conversion, Expected, Headers, Heard, JOINED_LEN_MAX, PACKET_LEN, Stamp};
use sbc_media::{
    g711::Law,
    srtp::{OVERHEAD_MAX, Receiver, Sender},
};
use serde::Serialize;
use std::{
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    time::Duration,
};

/// Packets a second in one direction.
pub(crate) const PACKETS_PER_SECOND: u64 = 50;

const PACKET_NS: u64 = 1_000_000_000 / PACKETS_PER_SECOND;
/// Number of the first packet of every stream: the header's 16 bits wrap soon after, and with SRTP the rollover
/// counter moves.
pub(crate) const FIRST: u32 = 0xffc0;
/// A packet, protected.
const SLOT_LEN: usize = PACKET_LEN + OVERHEAD_MAX;
const SLOTS: u16 = 4096;
const RECEIVE_BUFFERS: u16 = 8192;
const RECEIVE_BUFFER_LEN: usize = 256;
/// Packets sent in one batch: more would make the send time of the last one stale.
const BATCH: usize = 16;
/// How long after the last packet sent it is seen whether one arrives again.
const AFTERMATH: Duration = Duration::from_millis(200);
/// How long what is missing is awaited: on a busy machine anybody may stand still for a while, and late is not lost.
const STRAGGLERS: Duration = Duration::from_secs(2);

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

/// One end of a call: where it is, where it sends to, and what it speaks.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// Our socket.
    pub(crate) local: SocketAddr,
    /// Where it sends and from where alone it receives.
    pub(crate) remote: SocketAddr,
    /// Its codec.
    pub(crate) law: Law,
    /// Milliseconds in a packet that it hears.
    pub(crate) ptime_ms: u32,
    /// SRTP; `None`: RTP.
    pub(crate) keys: Option<Keys>,
}

impl End {
    /// One that speaks PCMU over RTP.
    pub(crate) fn plain(local: SocketAddr, remote: SocketAddr) -> Self {
        Self {
            local,
            remote,
            law: Law::Mu,
            ptime_ms: PTIME_MS,
            keys: None,
        }
    }
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
    /// Not octet by octet what was sent, converted where that is asked for; or its SRTP tag is wrong.
    pub(crate) corrupted: u64,
    /// Arrived intact at a socket it was not meant for.
    pub(crate) misrouted: u64,
    /// Packets that arrived shorter than their receiver wants them.
    pub(crate) short: u64,
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
        self.short += other.short;
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

impl Default for Window {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            delay: delays(),
            behind_ns_max: 0,
        }
    }
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
    /// How many of the ends send.
    running: usize,
    armed: bool,
    /// Index of the first socket among all sockets of the ring.
    first: u32,
}

struct StreamEnd {
    socket: UdpSocket,
    law: Law,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    hears: Expected,
    /// How many packets make one that it hears.
    pieces: usize,
    /// Sequence of the next packet to send.
    next: u32,
    /// Sequence of the next packet expected, i.e. one after the highest seen.
    expected: u32,
    /// Bit `i`: packet `expected - 1 - i` has been seen.
    seen: u64,
}

impl std::fmt::Debug for StreamEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamEnd")
            .field("socket", &self.socket)
            .field("law", &self.law)
            .field("srtp", &self.sender.is_some())
            .finish_non_exhaustive()
    }
}

impl Streams {
    /// Streams that run, both directions counted.
    pub(crate) fn len(&self) -> usize {
        self.running
    }

    /// Bind and connect the sockets of `calls` (A end, B end), between which audio is converted like this. `headers`:
    /// what becomes of them where an end has no keys; where it has, they are moved.
    pub(crate) fn bind(calls: &[(End, End)], conversion: Conversion, headers: Headers) -> Result<Self> {
        let mut ends = Vec::with_capacity(calls.len() * 2);
        for (end, other) in calls.iter().flat_map(|(a, b)| [(a, b), (b, a)]) {
            let headers = match end.keys {
                _ if end.ptime_ms != PTIME_MS => Headers::Joined,
                Some(_) => Headers::Moved,
                None => headers,
            };
            ends.push(StreamEnd::bind(end, other.law, conversion, headers)?);
        }
        Ok(Self {
            running: ends.len(),
            ends,
            armed: false,
            first: 0,
        })
    }

    /// From now on only the first `calls` send.
    pub(crate) fn run_only(&mut self, calls: usize) {
        self.running = self.ends.len().min(2 * calls);
    }

    /// The socket of the B end of every call, once more.
    pub(crate) fn sockets_b(&self) -> Result<Vec<UdpSocket>> {
        let again = |end: &StreamEnd| {
            end.socket.try_clone().map_err(|source| Error::Io {
                what: "sharing a socket".into(),
                source,
            })
        };
        self.ends.iter().skip(1).step_by(2).map(again).collect()
    }
}

impl StreamEnd {
    fn bind(end: &End, spoken: Law, conversion: Conversion, headers: Headers) -> Result<Self> {
        let socket = connected(end.local, end.remote)?;
        measure::enable_timestamps(&socket)?;
        Ok(Self {
            socket,
            law: end.law,
            sender: end.keys.as_ref().map(|keys| Sender::new(&keys.ours)),
            receiver: end.keys.as_ref().map(|keys| Receiver::new(&keys.theirs)),
            hears: Expected::new(spoken, end.law, conversion, headers),
            pieces: (end.ptime_ms / PTIME_MS) as usize,
            next: FIRST,
            expected: FIRST,
            seen: 0,
        })
    }

    /// Make the next packet of `stream` in `slot`: its length.
    fn write(&mut self, stream: u32, slot: &mut [u8; SLOT_LEN]) -> std::io::Result<usize> {
        let stamp = Stamp {
            stream,
            sequence: self.next,
            sent_ns: measure::realtime_ns(),
        };
        self.next += 1;
        let (clear, _) = slot.split_first_chunk_mut().expect("a slot holds a packet");
        packet::write(clear, self.law, stamp);
        match &mut self.sender {
            None => Ok(PACKET_LEN),
            Some(sender) => sender.protect(slot, PACKET_LEN).map_err(std::io::Error::other),
        }
    }

    /// What a packet that came says; `None` when it is not whole.
    fn read(&mut self, bytes: &[u8]) -> Option<Heard> {
        let Some(receiver) = &mut self.receiver else {
            return match self.pieces {
                1 => self.hears.read(bytes).map(Heard::one),
                pieces => self.hears.read_joined(bytes, pieces),
            };
        };
        let mut buffer = [0; SLOT_LEN];
        buffer.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let len = receiver.unprotect(&mut buffer, bytes.len()).ok()?;
        self.hears.read(&buffer[..len]).map(Heard::one)
    }
}

/// The thread's ring and its packet memory.
#[derive(Debug)]
pub(crate) struct RtpLoad {
    ring: Ring,
    slots: Box<[[u8; SLOT_LEN]]>,
    free: Vec<u16>,
    sockets: u32,
    buffer_len: usize,
    completions: Vec<Completion>,
}

impl RtpLoad {
    /// A source and sink that belongs to the calling thread.
    pub(crate) fn new() -> Result<Self> {
        Self::with_buffers(RECEIVE_BUFFER_LEN)
    }

    /// The same for packets that may be joined to longer ones.
    pub(crate) fn joining() -> Result<Self> {
        Self::with_buffers(RECEIVE_BUFFER_LEN - PACKET_LEN + JOINED_LEN_MAX)
    }

    fn with_buffers(buffer_len: usize) -> Result<Self> {
        measure::precise_timers();
        Ok(Self {
            buffer_len,
            ring: Ring::new(RECEIVE_BUFFERS, buffer_len).map_err(|source| Error::Io {
                what: "making an io_uring".into(),
                source,
            })?,
            slots: vec![[0; SLOT_LEN]; usize::from(SLOTS)].into_boxed_slice(),
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
        let mut window = Window::default();
        let count = streams.running as u64;
        let (warm_up_ns, tick_ns) = (plan.warm_up.as_nanos() as u64, plan.tick.as_nanos() as u64);
        let total_ns = warm_up_ns + plan.measured.as_nanos() as u64;
        // Whole rounds: every stream sends the same number of packets.
        let packets = (total_ns / PACKET_NS).max(1) * count;
        let warm_up_packets = warm_up_ns / PACKET_NS * count;
        let start = measure::monotonic_ns();
        let (mut sent, mut last_progress, mut measuring) = (0u64, start, false);
        let mut all_sent = None;
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
                let slot_at = &mut self.slots[usize::from(slot)];
                let len = end.write(stream as u32, slot_at)?;
                let (fd, at) = (end.socket.as_raw_fd(), slot_at.as_ptr());
                self.ring.send(fd, slot, at, len)?;
                sent += 1;
            }
            let mut timeout_ns = if sent < due { 0 } else { tick_ns };
            if sent == packets {
                let since = *all_sent.get_or_insert_with(|| {
                    at(Edge::End);
                    measure::monotonic_ns()
                });
                let missing = window.counts.received + window.counts.corrupted < sent;
                let patience = if missing { STRAGGLERS } else { AFTERMATH };
                if now.saturating_sub(since) > patience.as_nanos() as u64 {
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

    /// Receive until nothing has come for a tenth of a second, for at most `patience`: what an overloaded relay
    /// still had. It counts nowhere.
    pub(crate) fn settle(&mut self, streams: &mut Streams, patience: Duration) -> Result<()> {
        self.settle_inner(streams, patience).map_err(|source| Error::Io {
            what: "RTP load".into(),
            source,
        })
    }

    fn settle_inner(&mut self, streams: &mut Streams, patience: Duration) -> std::io::Result<()> {
        let until = measure::monotonic_ns() + patience.as_nanos() as u64;
        let mut nowhere = Window::default();
        let wait = Wait {
            completions: 4096,
            coalesce: Duration::ZERO,
            timeout: Duration::from_millis(100),
        };
        loop {
            let mut completions = std::mem::take(&mut self.completions);
            self.ring.enter(wait, &mut completions)?;
            let quiet = completions.is_empty();
            for completion in completions.drain(..) {
                self.complete(completion, streams, false, &mut nowhere)?;
            }
            self.completions = completions;
            if quiet || measure::monotonic_ns() > until {
                return Ok(());
            }
        }
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
                            [..(completion.result.max(0) as usize).min(self.buffer_len)];
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
    let Some(heard) = end.read(message.payload_data()) else {
        window.counts.corrupted += 1;
        return;
    };
    window.counts.short += u64::from(heard.short);
    let arrived = timestamp(message.control_data()).filter(|_| measuring);
    for packet in heard.stamps.into_iter().flatten() {
        judge(packet, arrived, at, end, window);
    }
}

/// Judge one of the packets that were sent; `arrived`: when it did, in the measured part.
fn judge(packet: Stamp, arrived: Option<u64>, at: u32, end: &mut StreamEnd, window: &mut Window) {
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
    if let Some(arrived) = arrived {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Shape;

    #[test]
    fn order_is_judged() {
        let at: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        let to = SocketAddr::new(at.ip(), 9);
        let mut end = StreamEnd::bind(&End::plain(at, to), Law::Mu, Conversion::Tables, Headers::Kept)
            .expect("loopback");
        end.expected = 0;
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
        // Two calls in the clear, two encrypted.
        let side = Shape::SrtpSrtp.sides()[0];
        let keys = |call: u64| {
            let key = |seed| side.key(seed).expect("a side with SRTP");
            (call > 1).then(|| [key(2 * call), key(2 * call + 1)])
        };
        let calls: Vec<(End, End)> = at
            .chunks(2)
            .zip(0..)
            .map(|(pair, call)| {
                let mut ends = (End::plain(pair[0], pair[1]), End::plain(pair[1], pair[0]));
                if let Some([ours, theirs]) = keys(call) {
                    ends.1.keys = Some(Keys {
                        ours: theirs.clone(),
                        theirs: ours.clone(),
                    });
                    ends.0.keys = Some(Keys { ours, theirs });
                }
                ends
            })
            .collect();
        let mut streams = Streams::bind(&calls, Conversion::Tables, Headers::Kept).expect("sockets");
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

        // Half of them, over the wrap of the sequence number; then one does not have the other's key.
        streams.run_only(2);
        let plan = Plan {
            measured: Duration::from_millis(1200),
            ..plan
        };
        let window = load.run(&mut streams, plan, |_| {}).expect("a window");
        assert_eq!(window.counts.sent, 62 * 4);
        assert!(window.counts.perfect(), "{:?}", window.counts);
        streams.run_only(4);
        streams.ends[7].receiver = keys(9).map(|[wrong, _]| Receiver::new(&wrong));
        let window = load.run(&mut streams, plan, |_| {}).expect("a window");
        assert_eq!(window.counts.corrupted, 62);
        assert_eq!(window.counts.lost, 62);
    }
}
