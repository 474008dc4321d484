//! The io_uring backend: one ring per shard thread.
//!
//! In: every socket has a multishot `recvmsg` armed at all times, which writes sender and payload
//! into buffers of a provided-buffer ring (one for media, one for SIP). Out: media packets are sent
//! from the buffer they were received in. One `io_uring_enter` submits all sends of a turn and
//! waits for the next arrivals.
//!
//! **Media sends post no completion when they succeed.** They carry `MSG_DONTWAIT`, so the kernel
//! never parks them to be tried later; they carry neither `IOSQE_ASYNC` nor a link nor a drain. They
//! are therefore done, one way or the other, when the enter that consumed them returns, and
//! the kernel has copied their bytes. Their buffers go back to the receive ring at that moment.
//! SIP messages may wait for room in the socket buffer, so each is kept until its completion.
//!
//! Streams are in `streams.rs`: a multishot `accept` for each listener, a multishot `recv` for each
//! connection, from a third group of small buffers.

mod buffers;
mod streams;

use super::{
    address::{self, NAME_LEN, RawAddress},
    backend::{
        Arrival, Backend, MEDIA_GROWTH, MEDIA_PACKET_LEN, OWN_PACKET_LEN, Packet, Pool, Wait,
        count_media_send_error, is_unreachable,
    },
};
use crate::{counters::ShardCounters, shard::ListenerId};
use buffers::Buffers;
use bytes::Bytes;
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use sbc_media::relay::MediaSocket;
use slab::Slab;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};
use streams::Stream;

/// Submissions queued before an enter is forced.
const SUBMISSIONS: u32 = 2048;
/// Completions the ring holds: more than all receive buffers and all sends of a turn together.
const COMPLETIONS: u32 = 16384;
/// Most arrivals gathered in one coalesced wait. Sends post no completion, so these are packets: at
/// 100,000 a second they come in two thirds of a millisecond, and that is the delay they may add.
const GATHER_MAX: usize = 64;

const MEDIA_GROUP: u16 = 0;
/// Ten milliseconds at 100,000 packets a second. The kernel goes through all of them in turn, so what
/// they touch should fit the second-level cache; packets beyond wait in their sockets.
pub(super) const MEDIA_BUFFERS: u16 = 1024;
/// As many packets are expected to wait in a socket that had no buffer.
const STARVED_PACKETS: usize = 8;
/// Room for what fits an Ethernet frame, and for it to grow. An odd number of cache lines: with a power of
/// two all packets would meet in a few cache sets (measured: a fifth of the relay's time).
const MEDIA_BUFFER_LEN: u32 = 25 * 64;
const _: () = assert!(MEDIA_BUFFER_LEN as usize >= HEADER_LEN + MEDIA_PACKET_LEN + MEDIA_GROWTH);
/// Packets of our own between two enters; a turn that has more enters in between.
const OWN_BUFFERS: u16 = 256;
/// Room for one, behind what its address takes. An odd number of cache lines, as above.
const OWN_BUFFER_LEN: usize = 11 * 64;
const _: () = assert!(OWN_BUFFER_LEN >= HEADER_LEN + OWN_PACKET_LEN);
const SIP_GROUP: u16 = 1;
const SIP_BUFFERS: u16 = 256;
/// Room for the largest UDP payload and the header in front of it.
const SIP_BUFFER_LEN: u32 = 66 * 1024;
/// SIP messages that wait for their completion.
const SIP_SENDS_MAX: usize = 4096;
const STREAM_GROUP: u16 = 2;
/// What all streams together may receive in one turn; the rest waits in their sockets.
pub(super) const STREAM_BUFFERS: u16 = 256;
/// Room for a few messages. An odd number of cache lines, as above.
const STREAM_BUFFER_LEN: u32 = 65 * 64;

/// `struct io_uring_recvmsg_out`: four 32-bit words, of which we read namelen and flags.
const OUT_LEN: usize = 16;
/// What the kernel writes before the payload of a multishot `recvmsg`.
const HEADER_LEN: usize = OUT_LEN + NAME_LEN;

/// Not in the io-uring crate's public interface: do not try to receive before the socket is ready.
const RECVSEND_POLL_FIRST: u16 = 1;

/// What a completion belongs to: the kind in the upper half of `user_data`, its index in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    ReceiveMedia(u32),
    ReceiveSip(u32),
    SendMedia,
    SendSip(u32),
    Wake,
    Accept(u32),
    ReceiveStream(u32),
    SendStream(u32),
    ConnectStream(u32),
    CancelStream,
}

impl Operation {
    fn encode(self) -> u64 {
        let (kind, index) = match self {
            Self::ReceiveMedia(socket) => (0_u64, socket),
            Self::ReceiveSip(listener) => (1, listener),
            Self::SendMedia => (2, 0),
            Self::SendSip(key) => (3, key),
            Self::Wake => (4, 0),
            Self::Accept(listener) => (5, listener),
            Self::ReceiveStream(key) => (6, key),
            Self::SendStream(key) => (7, key),
            Self::ConnectStream(key) => (8, key),
            Self::CancelStream => (9, 0),
        };
        kind << 32 | u64::from(index)
    }

    fn decode(user_data: u64) -> Option<Self> {
        let index = user_data as u32;
        match user_data >> 32 {
            0 => Some(Self::ReceiveMedia(index)),
            1 => Some(Self::ReceiveSip(index)),
            2 => Some(Self::SendMedia),
            3 => Some(Self::SendSip(index)),
            4 => Some(Self::Wake),
            5 => Some(Self::Accept(index)),
            6 => Some(Self::ReceiveStream(index)),
            7 => Some(Self::SendStream(index)),
            8 => Some(Self::ConnectStream(index)),
            9 => Some(Self::CancelStream),
            _ => None,
        }
    }
}

/// Why io_uring cannot be used here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error(
        "io_uring_setup is not permitted (seccomp profile, as in Docker's default, or sysctl kernel.io_uring_disabled)"
    )]
    Forbidden,
    #[error("this kernel was built without io_uring")]
    Absent,
    #[error("this kernel's io_uring is too old; Linux 6.1 or newer is needed")]
    TooOld,
    #[error(
        "not enough memory for the ring; check the limit on locked memory (`ulimit -l`) and the cgroup's memory limit"
    )]
    Memory,
    #[error("io_uring_setup: {0}")]
    Other(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden,
            Some(libc::ENOSYS) => Self::Absent,
            Some(libc::EINVAL) => Self::TooOld,
            Some(libc::ENOMEM) => Self::Memory,
            _ => Self::Other(error),
        }
    }
}

/// Whether a ring as shards use it can be opened here.
pub(crate) fn probe() -> Result<(), Refused> {
    Ring::open().map(drop).map_err(Refused::from)
}

/// The ring of one shard and all sockets it serves. Must be opened on the thread that uses it.
pub(crate) struct Ring {
    // First, so that it is closed before the memory it receives into is freed.
    ring: IoUring,
    media_buffers: Buffers,
    sip_buffers: Buffers,
    stream_buffers: Buffers,
    /// Shape of what multishot receives write: only the name length matters.
    receive: Box<libc::msghdr>,
    media: Vec<OwnedFd>,
    listeners: Vec<OwnedFd>,
    eventfd: Option<RawFd>,
    /// Completions of this turn, copied out so that running them may submit.
    completed: Vec<cqueue::Entry>,
    completed_next: usize,
    /// Buffers whose sends are submitted or queued, until the kernel has consumed the queue.
    sending: Vec<u16>,
    /// Buffers of our own packets. Submissions point into it: it is never moved.
    own: Box<[[u8; OWN_BUFFER_LEN]]>,
    /// How many of them were handed out since the kernel had last consumed the queue.
    own_used: u16,
    /// Preallocated and never grown: submissions point into it.
    sip_sends: Slab<SipSend>,
    streams: Slab<Stream>,
    /// Receives, accepts and the wake-up that could not be queued and are tried again.
    unarmed: Vec<Operation>,
    /// Media sockets whose receive ended for want of a buffer, the one that waits longest first.
    starved: VecDeque<u32>,
    can_gather: bool,
    counters: ShardCounters,
}

struct SipSend {
    address: RawAddress,
    payload: Bytes,
    listener: ListenerId,
    peer: SocketAddr,
}

impl Ring {
    pub(crate) fn open() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .dontfork()
            .build(SUBMISSIONS)?;
        let submitter = ring.submitter();
        let media_buffers = Buffers::register(&submitter, MEDIA_GROUP, MEDIA_BUFFERS, MEDIA_BUFFER_LEN)?;
        let sip_buffers = Buffers::register(&submitter, SIP_GROUP, SIP_BUFFERS, SIP_BUFFER_LEN)?;
        let stream_buffers = Buffers::register(&submitter, STREAM_GROUP, STREAM_BUFFERS, STREAM_BUFFER_LEN)?;
        let can_gather = ring.params().is_feature_min_timeout();
        // SAFETY: all-zero is a valid msghdr: no name, no vectors, no control data.
        let mut receive: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        receive.msg_namelen = NAME_LEN as libc::socklen_t;
        Ok(Self {
            ring,
            media_buffers,
            sip_buffers,
            stream_buffers,
            receive,
            media: Vec::new(),
            listeners: Vec::new(),
            eventfd: None,
            completed: Vec::with_capacity(COMPLETIONS as usize),
            completed_next: 0,
            sending: Vec::with_capacity(usize::from(MEDIA_BUFFERS)),
            own: vec![[0; OWN_BUFFER_LEN]; usize::from(OWN_BUFFERS)].into_boxed_slice(),
            own_used: 0,
            sip_sends: Slab::with_capacity(SIP_SENDS_MAX),
            streams: Slab::new(),
            unarmed: Vec::new(),
            starved: VecDeque::new(),
            can_gather,
            counters: ShardCounters::default(),
        })
    }

    /// Queue a submission; enters the kernel when the queue is full. `false`: still no room.
    fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: the callers' entries refer to open sockets of this backend and to memory that
        // lives until the submission is consumed (media buffers, `receive`) or until its
        // completion (`sip_sends`, `streams`).
        if unsafe { self.ring.submission().push(entry) }.is_ok() {
            return true;
        }
        self.counters.io_syscalls += 1;
        // An error leaves the queue full; the second push reports that.
        let _ = self.ring.submit();
        self.reclaim_sent();
        // SAFETY: as above.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    fn arm(&mut self, operation: Operation, first: bool) {
        let entry = match operation {
            Operation::ReceiveMedia(socket) => {
                let Some(fd) = self.media.get(socket as usize) else {
                    return;
                };
                opcode::RecvMsgMulti::new(types::Fd(fd.as_raw_fd()), &raw const *self.receive, MEDIA_GROUP)
                    .ioprio(if first { RECVSEND_POLL_FIRST } else { 0 })
                    .build()
            }
            Operation::ReceiveSip(listener) => {
                let Some(fd) = self.listeners.get(listener as usize) else {
                    return;
                };
                opcode::RecvMsgMulti::new(types::Fd(fd.as_raw_fd()), &raw const *self.receive, SIP_GROUP)
                    .build()
            }
            Operation::Wake => {
                let Some(fd) = self.eventfd else { return };
                // Multishot polls are edge-triggered: each write to the eventfd completes once, and
                // nobody needs to read it.
                opcode::PollAdd::new(types::Fd(fd), libc::POLLIN as u32)
                    .multi(true)
                    .build()
            }
            Operation::Accept(listener) => {
                let Some(fd) = self.listeners.get(listener as usize) else {
                    return;
                };
                streams::accept(fd)
            }
            Operation::ReceiveStream(key) => {
                let Some(entry) = self.streams.get_mut(key as usize).and_then(Stream::receive) else {
                    return;
                };
                entry
            }
            Operation::SendStream(key) => {
                let Some(entry) = self.streams.get_mut(key as usize).and_then(Stream::send) else {
                    return;
                };
                entry
            }
            Operation::ConnectStream(key) => {
                let Some(entry) = self.streams.get_mut(key as usize).and_then(Stream::connect) else {
                    return;
                };
                entry
            }
            Operation::SendMedia | Operation::SendSip(_) | Operation::CancelStream => return,
        };
        if !self.push(&entry.user_data(operation.encode())) {
            self.unarmed.push(operation);
        }
    }

    /// Let starved sockets receive again, as many as there are buffers for.
    ///
    /// Armed all at once, most would fail again at once. With thousands of sockets that costs so much
    /// that the backlog of a short stall grows instead of shrinking.
    fn arm_starved(&mut self) {
        let room = usize::from(self.media_buffers.offered()).div_ceil(STARVED_PACKETS);
        for _ in 0..room.min(self.starved.len()) {
            if let Some(socket) = self.starved.pop_front() {
                self.arm(Operation::ReceiveMedia(socket), false);
            }
        }
    }

    /// Give the buffers of consumed sends back to the kernel.
    fn reclaim_sent(&mut self) {
        if self.sending.is_empty() || !self.ring.submission().is_empty() {
            return;
        }
        for buffer in self.sending.drain(..) {
            self.media_buffers.give_back(buffer);
        }
        self.media_buffers.publish();
    }

    /// Use the buffers of our own packets again. Not while one is handed out and not yet queued.
    fn reclaim_own(&mut self) {
        if self.ring.submission().is_empty() {
            self.own_used = 0;
        }
    }

    /// The whole buffer of a media packet: the address at [`OUT_LEN`], the packet at [`HEADER_LEN`].
    #[inline]
    fn media_buffer(&mut self, packet: &Packet) -> &mut [u8] {
        match packet.pool {
            Pool::Own => &mut self.own[usize::from(packet.buffer % OWN_BUFFERS)],
            Pool::Media | Pool::Sip | Pool::Stream => self.media_buffers.get(packet.buffer),
        }
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let timeout = wait.timeout.map(types::Timespec::from);
        let mut arguments = types::SubmitArgs::new();
        if let Some(timeout) = &timeout {
            arguments = arguments.timespec(timeout);
        }
        let mut want = 1;
        let have = self.completed.len() - self.completed_next;
        let gather = wait
            .timeout
            .map_or(wait.gather, |timeout| timeout.min(wait.gather));
        if self.can_gather && gather > Duration::ZERO {
            want = GATHER_MAX.saturating_sub(have);
            if want == 0 && self.ring.submission().is_empty() {
                return Ok(());
            }
            arguments = arguments.min_wait_usec(u32::try_from(gather.as_micros()).unwrap_or(u32::MAX));
        }
        loop {
            self.counters.io_syscalls += 1;
            let Err(error) = self.ring.submitter().submit_with_args(want, &arguments) else {
                return Ok(());
            };
            match error.raw_os_error() {
                Some(libc::ETIME) => return Ok(()),
                Some(libc::EINTR) => {}
                // Completions overflow or memory is short: run what has completed, come again.
                Some(libc::EBUSY | libc::EAGAIN | libc::ENOMEM) => return Ok(()),
                // EBADR among them: the kernel had no memory to keep a completion, so some socket may be
                // deaf and nobody can tell which. The daemon ends its calls and is started anew.
                _ => return Err(error),
            }
        }
    }

    fn received(&mut self, entry: &cqueue::Entry, pool: Pool, index: u32) -> Option<Arrival> {
        let flags = entry.flags();
        let buffers = match pool {
            Pool::Media => &mut self.media_buffers,
            Pool::Own | Pool::Sip | Pool::Stream => &mut self.sip_buffers,
        };
        let buffer = cqueue::buffer_select(flags).inspect(|_| buffers.taken());
        let mut arrival = None;
        match (entry.result(), buffer) {
            (0.., Some(buffer)) => {
                let filled = entry.result() as usize;
                let whole = buffers.get(buffer);
                match read_header(whole.get(..filled).unwrap_or_default()) {
                    Some((from, false)) => {
                        let packet = Packet {
                            pool,
                            buffer,
                            len: (filled - HEADER_LEN) as u32,
                        };
                        arrival = Some(match pool {
                            Pool::Media => Arrival::Media {
                                socket: MediaSocket(index),
                                from,
                                packet,
                            },
                            Pool::Own | Pool::Sip | Pool::Stream => Arrival::Sip {
                                listener: ListenerId(index as u8),
                                from,
                                packet,
                            },
                        });
                    }
                    header => {
                        if header.is_some() && pool == Pool::Media {
                            self.counters.media_truncated += 1;
                        }
                        buffers.give_back(buffer);
                    }
                }
            }
            (result, buffer) => {
                if let Some(buffer) = buffer {
                    buffers.give_back(buffer);
                }
                match -result {
                    libc::ENOBUFS => {
                        self.counters.ring_buffers_exhausted += 1;
                        if pool == Pool::Media && !cqueue::more(flags) {
                            self.starved.push_back(index);
                            return None;
                        }
                    }
                    // ICMP errors about what we sent before, and passing shortages.
                    0
                    | libc::ECONNREFUSED
                    | libc::EHOSTUNREACH
                    | libc::ENETUNREACH
                    | libc::EHOSTDOWN
                    | libc::ENETDOWN
                    | libc::EPROTO
                    | libc::ENOPROTOOPT
                    | libc::EMSGSIZE
                    | libc::EACCES
                    | libc::EAGAIN
                    | libc::EINTR
                    | libc::ENOMEM => self.counters.receive_errors += 1,
                    // EBADF, ENOTSOCK, EFAULT, EINVAL, EOPNOTSUPP, ECANCELED: ours. Arming again
                    // would fail again, forever.
                    errno => {
                        self.counters.internal_errors += 1;
                        tracing::error!(
                            "a receive on {pool:?} socket {index} failed for good: {}",
                            io::Error::from_raw_os_error(errno)
                        );
                        return None;
                    }
                }
            }
        }
        if !cqueue::more(flags) {
            self.arm(
                match pool {
                    Pool::Media => Operation::ReceiveMedia(index),
                    Pool::Own | Pool::Sip | Pool::Stream => Operation::ReceiveSip(index),
                },
                false,
            );
        }
        arrival
    }

    fn sip_sent(&mut self, key: u32, result: i32) -> Option<Arrival> {
        let SipSend { listener, peer, .. } = self.sip_sends.try_remove(key as usize)?;
        if result >= 0 {
            return None;
        }
        self.counters.sip_send_errors += 1;
        is_unreachable(-result).then_some(Arrival::Unreachable { listener, peer })
    }
}

impl Drop for Ring {
    /// Let go of the sockets now. The kernel would do it some time after the ring is closed, and a
    /// daemon that is started again at once would find its ports in use.
    fn drop(&mut self) {
        let patience = types::Timespec::from(Duration::from_millis(200));
        // Nothing depends on the outcome but how soon the ports are free.
        let _ = self
            .ring
            .submitter()
            .register_sync_cancel(Some(patience), types::CancelBuilder::any());
        let _ = self.enter(Wait::NONE);
    }
}

/// Sender and whether the payload was cut, from what the kernel wrote before the payload.
#[inline]
fn read_header(filled: &[u8]) -> Option<(SocketAddr, bool)> {
    let name = filled.get(OUT_LEN..HEADER_LEN)?;
    let flags = u32::from_ne_bytes(*filled.get(12..16)?.first_chunk()?);
    Some((address::parse(name)?, flags & libc::MSG_TRUNC as u32 != 0))
}

impl Backend for Ring {
    fn add_listener(&mut self, socket: OwnedFd) -> io::Result<()> {
        let index = self.listeners.len() as u32;
        self.listeners.push(socket);
        self.arm(Operation::ReceiveSip(index), true);
        Ok(())
    }

    fn add_media_pair(&mut self, rtp: OwnedFd, rtcp: OwnedFd) -> io::Result<()> {
        for socket in [rtp, rtcp] {
            let index = self.media.len() as u32;
            self.media.push(socket);
            self.arm(Operation::ReceiveMedia(index), true);
        }
        Ok(())
    }

    fn media_socket(&self, socket: MediaSocket) -> Option<BorrowedFd<'_>> {
        self.media.get(socket.0 as usize).map(|fd| fd.as_fd())
    }

    fn watch(&mut self, eventfd: RawFd) -> io::Result<()> {
        self.eventfd = Some(eventfd);
        self.arm(Operation::Wake, true);
        Ok(())
    }

    fn submit(&mut self) -> io::Result<bool> {
        self.wait(Wait::NONE)?;
        Ok(self.completed_next < self.completed.len() || !self.starved.is_empty())
    }

    fn wait(&mut self, wait: Wait) -> io::Result<()> {
        for operation in std::mem::take(&mut self.unarmed) {
            self.arm(operation, false);
        }
        self.media_buffers.publish();
        self.sip_buffers.publish();
        self.stream_buffers.publish();
        self.arm_starved();
        self.enter(if self.starved.is_empty() { wait } else { Wait::NONE })?;
        self.reclaim_sent();
        self.reclaim_own();
        if self.completed_next >= self.completed.len() {
            self.completed.clear();
            self.completed_next = 0;
        }
        let Self { ring, completed, .. } = self;
        completed.extend(ring.completion());
        Ok(())
    }

    #[inline]
    fn next(&mut self) -> Option<Arrival> {
        loop {
            let entry = self.completed.get(self.completed_next)?.clone();
            self.completed_next += 1;
            let arrival = match Operation::decode(entry.user_data()) {
                Some(Operation::ReceiveMedia(socket)) => self.received(&entry, Pool::Media, socket),
                Some(Operation::ReceiveSip(listener)) => self.received(&entry, Pool::Sip, listener),
                Some(Operation::SendMedia) => {
                    if entry.result() < 0 {
                        count_media_send_error(&mut self.counters, -entry.result());
                    }
                    None
                }
                Some(Operation::SendSip(key)) => self.sip_sent(key, entry.result()),
                Some(Operation::Wake) => {
                    if !cqueue::more(entry.flags()) {
                        self.arm(Operation::Wake, false);
                    }
                    None
                }
                Some(Operation::Accept(listener)) => self.accepted(&entry, listener),
                Some(Operation::ReceiveStream(key)) => self.stream_received(&entry, key),
                Some(Operation::SendStream(key)) => self.stream_sent(&entry, key),
                Some(Operation::ConnectStream(key)) => self.stream_connected(&entry, key),
                Some(Operation::CancelStream) | None => None,
            };
            if arrival.is_some() {
                return arrival;
            }
        }
    }

    #[inline]
    fn bytes(&mut self, packet: &Packet) -> &mut [u8] {
        let (buffers, header) = match packet.pool {
            Pool::Own => {
                let end = (HEADER_LEN + packet.len as usize).min(OWN_BUFFER_LEN);
                return &mut self.media_buffer(packet)[HEADER_LEN..end];
            }
            Pool::Media => (&mut self.media_buffers, HEADER_LEN),
            Pool::Sip => (&mut self.sip_buffers, HEADER_LEN),
            Pool::Stream => (&mut self.stream_buffers, 0),
        };
        let buffer = buffers.get(packet.buffer);
        let end = (header + packet.len as usize).min(buffer.len());
        &mut buffer[header..end]
    }

    #[inline]
    fn room(&mut self, packet: &Packet) -> &mut [u8] {
        &mut self.media_buffer(packet)[HEADER_LEN..]
    }

    fn blank(&mut self) -> Option<Packet> {
        if self.own_used == OWN_BUFFERS {
            self.flush();
            self.reclaim_own();
        }
        let buffer = self.own_used;
        self.own_used += u16::from(buffer < OWN_BUFFERS);
        (buffer < OWN_BUFFERS).then_some(Packet {
            pool: Pool::Own,
            buffer,
            len: 0,
        })
    }

    #[inline]
    fn forward(&mut self, packet: Packet, socket: MediaSocket, to: Option<SocketAddr>) {
        let Some(fd) = self.media.get(socket.0 as usize).map(|fd| fd.as_raw_fd()) else {
            return self.release(packet);
        };
        let buffer = self.media_buffer(&packet);
        let mut address = (std::ptr::null(), 0);
        if let Some(to) = to {
            // The sender's address has been read: its place holds the destination now, for
            // as long as the packet lives.
            let raw = RawAddress::from(to);
            buffer[OUT_LEN..HEADER_LEN].copy_from_slice(raw.bytes());
            address = (buffer[OUT_LEN..].as_ptr().cast(), raw.len());
        }
        let payload = &buffer[HEADER_LEN..];
        let len = packet.len.min(payload.len() as u32);
        let send = opcode::Send::new(types::Fd(fd), payload.as_ptr(), len)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .dest_addr(address.0)
            .dest_addr_len(address.1)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Operation::SendMedia.encode());
        if self.push(&send) {
            if packet.pool == Pool::Media {
                self.sending.push(packet.buffer);
            }
        } else {
            count_media_send_error(&mut self.counters, libc::EAGAIN);
            self.release(packet);
        }
    }

    #[inline]
    fn release(&mut self, packet: Packet) {
        match packet.pool {
            Pool::Media => self.media_buffers.give_back(packet.buffer),
            // Free when all are.
            Pool::Own => {}
            Pool::Sip => self.sip_buffers.give_back(packet.buffer),
            Pool::Stream => self.stream_buffers.give_back(packet.buffer),
        }
    }

    fn transmit(&mut self, listener: ListenerId, peer: SocketAddr, payload: Bytes) {
        let fd = self
            .listeners
            .get(usize::from(listener.0))
            .map(|fd| fd.as_raw_fd());
        let (Some(fd), true) = (fd, self.sip_sends.len() < SIP_SENDS_MAX) else {
            self.counters.sip_send_errors += 1;
            return;
        };
        let entry = self.sip_sends.vacant_entry();
        let key = entry.key();
        let send = entry.insert(SipSend {
            address: RawAddress::from(peer),
            payload,
            listener,
            peer,
        });
        let submission = opcode::Send::new(types::Fd(fd), send.payload.as_ptr(), send.payload.len() as u32)
            .flags(libc::MSG_NOSIGNAL)
            .dest_addr(send.address.as_ptr())
            .dest_addr_len(send.address.len())
            .build()
            .user_data(Operation::SendSip(key as u32).encode());
        if !self.push(&submission) {
            self.sip_sends.remove(key);
            self.counters.sip_send_errors += 1;
        }
    }

    fn flush(&mut self) {
        if !self.ring.submission().is_empty() {
            self.counters.io_syscalls += 1;
            // On an error the sends stay queued and go with the next wait.
            let _ = self.ring.submit();
            self.reclaim_sent();
        }
    }

    fn counters(&mut self) -> &mut ShardCounters {
        &mut self.counters
    }
}
