//! The backend for systems without io_uring: epoll and plain system calls.
//!
//! Media sockets carry one packet per 20 ms each, so batching per socket has nothing to batch: a
//! `recvfrom` and a `send` per packet measured faster than their `mmsg` forms. SIP sockets carry
//! a whole trunk, so they use `recvmmsg` and `sendmmsg`.

mod streams;

use super::{
    address::{self, NAME_LEN, RawAddress},
    backend::{
        Arrival, Backend, MEDIA_GROWTH, MEDIA_PACKET_LEN, OWN_PACKET_LEN, Packet, Pool, Wait,
        count_media_send_error, is_unreachable,
    },
};
use crate::{counters::ShardCounters, shard::ListenerId};
use bytes::Bytes;
use sbc_media::relay::MediaSocket;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};
use streams::Streams;

const EVENTS_MAX: usize = 1024;
const MEDIA_BUFFER_LEN: usize = 2048;
const _: () = assert!(MEDIA_BUFFER_LEN >= MEDIA_PACKET_LEN + MEDIA_GROWTH);
const _: () = assert!(MEDIA_BUFFER_LEN >= OWN_PACKET_LEN);
/// Datagrams fetched from a SIP socket with one call.
const SIP_BATCH: usize = 32;
/// The largest UDP payload fits.
const SIP_BUFFER_LEN: usize = 64 * 1024;
/// Calls to one SIP socket before other sockets get their turn.
const SIP_BATCHES_PER_TURN: usize = 8;
/// SIP messages that wait to be sent.
const SIP_SENDS_MAX: usize = 4096;

/// The sockets of one shard, and what epoll said about them.
pub(crate) struct Syscall {
    epoll: OwnedFd,
    media: Vec<OwnedFd>,
    listeners: Vec<OwnedFd>,
    events: Vec<libc::epoll_event>,
    events_next: usize,
    media_buffer: Box<[u8; MEDIA_BUFFER_LEN]>,
    sip: SipReceive,
    sip_sends: VecDeque<SipSend>,
    streams: Streams,
    counters: ShardCounters,
    unreachable: Vec<(ListenerId, SocketAddr)>,
}

struct SipSend {
    listener: ListenerId,
    peer: SocketAddr,
    address: RawAddress,
    payload: Bytes,
}

/// The datagrams of the last `recvmmsg`.
struct SipReceive {
    memory: Box<[u8]>,
    names: Box<[[u8; NAME_LEN]]>,
    lens: [u32; SIP_BATCH],
    name_lens: [u32; SIP_BATCH],
    listener: usize,
    received: usize,
    next: usize,
    /// Calls left for this socket in this turn.
    batches_left: usize,
}

/// What an epoll event is about, kept in its data word.
#[derive(Clone, Copy)]
enum Source {
    Media(u32),
    Listener(u32),
    Wake,
    StreamListener(u32),
    /// A stream and how often its key was used before: an event that was fetched before the stream
    /// was closed must not reach the next one.
    Stream(u32, u32),
}

/// The kind of a source is in the lowest bits of the upper half; what is above them is the
/// generation of a stream.
const KIND_BITS: u32 = 3;

impl Source {
    fn encode(self) -> u64 {
        match self {
            Self::Media(index) => u64::from(index),
            Self::Listener(index) => 1 << 32 | u64::from(index),
            Self::Wake => 2 << 32,
            Self::StreamListener(index) => 3 << 32 | u64::from(index),
            Self::Stream(key, generation) => {
                u64::from(generation) << (32 + KIND_BITS) | 4 << 32 | u64::from(key)
            }
        }
    }

    fn decode(data: u64) -> Self {
        match data >> 32 & ((1 << KIND_BITS) - 1) {
            0 => Self::Media(data as u32),
            1 => Self::Listener(data as u32),
            3 => Self::StreamListener(data as u32),
            4 => Self::Stream(data as u32, (data >> (32 + KIND_BITS)) as u32),
            _ => Self::Wake,
        }
    }
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or_default()
}

impl Syscall {
    pub(crate) fn open() -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            // SAFETY: the descriptor was just made and nobody else owns it.
            epoll: unsafe { OwnedFd::from_raw_fd(fd) },
            media: Vec::new(),
            listeners: Vec::new(),
            events: Vec::with_capacity(EVENTS_MAX),
            events_next: 0,
            media_buffer: Box::new([0; MEDIA_BUFFER_LEN]),
            sip: SipReceive {
                memory: vec![0; SIP_BATCH * SIP_BUFFER_LEN].into_boxed_slice(),
                names: vec![[0; NAME_LEN]; SIP_BATCH].into_boxed_slice(),
                lens: [0; SIP_BATCH],
                name_lens: [0; SIP_BATCH],
                listener: 0,
                received: 0,
                next: 0,
                batches_left: 0,
            },
            sip_sends: VecDeque::new(),
            streams: Streams::default(),
            counters: ShardCounters::default(),
            unreachable: Vec::new(),
        })
    }

    fn add(&mut self, fd: RawFd, source: Source, edge: bool) -> io::Result<()> {
        let edge = if edge { libc::EPOLLET } else { 0 };
        self.control(libc::EPOLL_CTL_ADD, fd, source, libc::EPOLLIN | edge)
    }

    fn control(
        &mut self,
        operation: libc::c_int,
        fd: RawFd,
        source: Source,
        events: libc::c_int,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: source.encode(),
        };
        // SAFETY: the event is live; both descriptors are open.
        let result = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &raw mut event) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// epoll has no least waiting time: sleep it, then take what has come.
    fn gather(&mut self, wait: Wait) -> Duration {
        let gather = wait
            .timeout
            .map_or(wait.gather, |timeout| timeout.min(wait.gather));
        if gather > Duration::ZERO {
            #[allow(clippy::disallowed_methods, reason = "this is the driver")]
            std::thread::sleep(gather);
            self.counters.io_syscalls += 1;
        }
        gather
    }

    fn sleep(&mut self, wait: Wait) -> io::Result<()> {
        let gathered = self.gather(wait);
        let timeout = wait.timeout.map(|timeout| timeout.saturating_sub(gathered));
        // Whole milliseconds, rounded up so that a wait never ends just before its timer is due.
        // epoll_pwait2 would be exact, but the systems that need this backend may not have it.
        let timeout = timeout.map_or(-1, |timeout| {
            libc::c_int::try_from(timeout.as_nanos().div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
        });
        loop {
            self.counters.io_syscalls += 1;
            // SAFETY: `events` has room for EVENTS_MAX.
            let count = unsafe {
                libc::epoll_wait(
                    self.epoll.as_raw_fd(),
                    self.events.as_mut_ptr(),
                    EVENTS_MAX as libc::c_int,
                    timeout,
                )
            };
            if let Ok(count) = usize::try_from(count) {
                // SAFETY: the kernel has written `count` events, at most EVENTS_MAX.
                unsafe { self.events.set_len(count) };
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    fn receive_media(&mut self, index: u32) -> Option<Arrival> {
        let fd = self.media.get(index as usize)?.as_raw_fd();
        let mut name = [0_u8; NAME_LEN];
        let mut name_len = NAME_LEN as libc::socklen_t;
        self.counters.io_syscalls += 1;
        // SAFETY: buffer, name and name length are live and of the given sizes.
        let len = unsafe {
            libc::recvfrom(
                fd,
                self.media_buffer.as_mut_ptr().cast(),
                MEDIA_BUFFER_LEN,
                libc::MSG_DONTWAIT | libc::MSG_TRUNC,
                name.as_mut_ptr().cast(),
                &raw mut name_len,
            )
        };
        match usize::try_from(len) {
            Ok(len) if len > MEDIA_BUFFER_LEN => {
                self.counters.media_truncated += 1;
                None
            }
            Ok(len) => {
                let from = address::parse(name.get(..name_len as usize)?)?;
                let packet = Packet {
                    pool: Pool::Media,
                    buffer: 0,
                    len: len as u32,
                };
                Some(Arrival::Media {
                    socket: MediaSocket(index),
                    from,
                    packet,
                })
            }
            Err(_) => {
                self.count_receive_error(last_errno());
                None
            }
        }
    }

    /// Every errno of a receive leaves the socket usable: EAGAIN (somebody else's bad checksum
    /// woke us), ICMP errors about what we sent, passing shortages.
    fn count_receive_error(&mut self, errno: i32) {
        if !matches!(errno, libc::EAGAIN | libc::EINTR) {
            self.counters.receive_errors += 1;
        }
    }

    fn receive_sip(&mut self) {
        self.sip.received = 0;
        self.sip.next = 0;
        let Some(fd) = self.listeners.get(self.sip.listener).map(|fd| fd.as_raw_fd()) else {
            return;
        };
        // SAFETY: all-zero is a valid mmsghdr and a valid iovec; every used one is filled below.
        let (mut vectors, mut headers): ([libc::iovec; SIP_BATCH], [libc::mmsghdr; SIP_BATCH]) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        let buffers = self.sip.memory.chunks_exact_mut(SIP_BUFFER_LEN);
        for (((header, vector), buffer), name) in headers
            .iter_mut()
            .zip(&mut vectors)
            .zip(buffers)
            .zip(self.sip.names.iter_mut())
        {
            vector.iov_base = buffer.as_mut_ptr().cast();
            vector.iov_len = buffer.len();
            header.msg_hdr.msg_name = name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = NAME_LEN as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
        }
        self.counters.io_syscalls += 1;
        // SAFETY: the headers point to live vectors, names and buffers of the given sizes.
        let count = unsafe {
            libc::recvmmsg(
                fd,
                headers.as_mut_ptr(),
                SIP_BATCH as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            self.count_receive_error(last_errno());
            return;
        };
        self.sip.received = count.min(SIP_BATCH);
        for (index, header) in headers.iter().take(self.sip.received).enumerate() {
            self.sip.lens[index] = header.msg_len;
            self.sip.name_lens[index] = header.msg_hdr.msg_namelen;
        }
    }

    fn next_sip(&mut self) -> Option<Arrival> {
        loop {
            while self.sip.next < self.sip.received {
                let index = self.sip.next;
                self.sip.next += 1;
                let name = self.sip.names[index].get(..self.sip.name_lens[index] as usize);
                let Some(from) = name.and_then(address::parse) else {
                    continue;
                };
                let packet = Packet {
                    pool: Pool::Sip,
                    buffer: index as u16,
                    len: self.sip.lens[index],
                };
                return Some(Arrival::Sip {
                    listener: ListenerId(self.sip.listener as u8),
                    from,
                    packet,
                });
            }
            // A full batch: there is probably more.
            if self.sip.received < SIP_BATCH || self.sip.batches_left == 0 {
                self.sip.received = 0;
                self.sip.next = 0;
                return None;
            }
            self.sip.batches_left -= 1;
            self.receive_sip();
        }
    }

    /// Send queued SIP messages, a run for the same listener at a time.
    fn send_sip(&mut self) {
        while let Some(first) = self.sip_sends.front() {
            let listener = first.listener;
            let sends = self.sip_sends.make_contiguous();
            let run = sends
                .iter()
                .take(SIP_BATCH)
                .take_while(|send| send.listener == listener)
                .count();
            let result = match self.listeners.get(usize::from(listener.0)) {
                Some(fd) => {
                    self.counters.io_syscalls += 1;
                    send_run(fd.as_raw_fd(), &sends[..run])
                }
                None => Err(libc::EBADF),
            };
            match result {
                Ok(sent) => drop(self.sip_sends.drain(..sent.clamp(1, run))),
                Err(libc::EINTR) => {}
                Err(errno) => {
                    // The first of the run failed; the rest gets its own try. EAGAIN and ENOBUFS
                    // are a loss like any other on UDP: the transaction repeats the message.
                    self.counters.sip_send_errors += 1;
                    if let Some(SipSend { peer, .. }) = self.sip_sends.pop_front()
                        && is_unreachable(errno)
                        && self.unreachable.len() < SIP_SENDS_MAX
                    {
                        self.unreachable.push((listener, peer));
                    }
                }
            }
        }
    }
}

/// Send up to [`SIP_BATCH`] messages from one socket; how many were taken.
fn send_run(fd: RawFd, sends: &[SipSend]) -> Result<usize, i32> {
    // SAFETY: all-zero is a valid mmsghdr and a valid iovec; every used one is filled below.
    let (mut vectors, mut headers): ([libc::iovec; SIP_BATCH], [libc::mmsghdr; SIP_BATCH]) =
        unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    for ((header, vector), send) in headers.iter_mut().zip(&mut vectors).zip(sends) {
        vector.iov_base = send.payload.as_ptr().cast_mut().cast();
        vector.iov_len = send.payload.len();
        header.msg_hdr.msg_name = send.address.as_ptr().cast_mut().cast();
        header.msg_hdr.msg_namelen = send.address.len();
        header.msg_hdr.msg_iov = vector;
        header.msg_hdr.msg_iovlen = 1;
    }
    let count = sends.len().min(SIP_BATCH) as libc::c_uint;
    // SAFETY: the first `count` headers point to live vectors, addresses and payloads, which
    // sendmmsg only reads.
    let sent = unsafe {
        libc::sendmmsg(
            fd,
            headers.as_mut_ptr(),
            count,
            (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
        )
    };
    usize::try_from(sent).map_err(|_| last_errno())
}

impl Backend for Syscall {
    fn add_listener(&mut self, socket: OwnedFd) -> io::Result<()> {
        self.add(
            socket.as_raw_fd(),
            Source::Listener(self.listeners.len() as u32),
            false,
        )?;
        self.listeners.push(socket);
        Ok(())
    }

    fn add_media_pair(&mut self, rtp: OwnedFd, rtcp: OwnedFd) -> io::Result<()> {
        let first = self.media.len() as u32;
        self.add(rtp.as_raw_fd(), Source::Media(first), false)?;
        // On failure here both sockets close, which takes the first out of epoll again.
        self.add(rtcp.as_raw_fd(), Source::Media(first + 1), false)?;
        self.media.push(rtp);
        self.media.push(rtcp);
        Ok(())
    }

    fn media_socket(&self, socket: MediaSocket) -> Option<BorrowedFd<'_>> {
        self.media.get(socket.0 as usize).map(|fd| fd.as_fd())
    }

    fn watch(&mut self, eventfd: RawFd) -> io::Result<()> {
        // Edge-triggered: each write wakes once, and nobody needs to read it.
        self.add(eventfd, Source::Wake, true)
    }

    fn submit(&mut self) -> io::Result<bool> {
        self.wait(Wait::NONE)?;
        Ok(self.events_next < self.events.len() || !self.unreachable.is_empty() || self.streams.has_news())
    }

    fn wait(&mut self, wait: Wait) -> io::Result<()> {
        self.send_sip();
        let wait = if self.unreachable.is_empty() && !self.streams.has_news() {
            wait
        } else {
            Wait {
                timeout: Some(Duration::ZERO),
                gather: Duration::ZERO,
            }
        };
        if self.events_next < self.events.len() {
            self.gather(wait);
            return Ok(());
        }
        self.events.clear();
        self.events_next = 0;
        self.sleep(wait)
    }

    fn next(&mut self) -> Option<Arrival> {
        if let Some((listener, peer)) = self.unreachable.pop() {
            return Some(Arrival::Unreachable { listener, peer });
        }
        loop {
            let arrival = self.next_sip().or_else(|| self.next_stream_news());
            if arrival.is_some() {
                return arrival;
            }
            let event = self.events.get(self.events_next)?;
            self.events_next += 1;
            match Source::decode(event.u64) {
                Source::Media(index) => {
                    let arrival = self.receive_media(index);
                    if arrival.is_some() {
                        return arrival;
                    }
                }
                Source::Listener(index) => {
                    self.sip.listener = index as usize;
                    self.sip.batches_left = SIP_BATCHES_PER_TURN - 1;
                    self.receive_sip();
                }
                Source::Wake => {}
                Source::StreamListener(index) => {
                    let arrival = self.accept(index);
                    if arrival.is_some() {
                        return arrival;
                    }
                }
                Source::Stream(key, generation) => {
                    let arrival = self.stream_ready(key, generation, event.events);
                    if arrival.is_some() {
                        return arrival;
                    }
                }
            }
        }
    }

    fn bytes(&mut self, packet: &Packet) -> &mut [u8] {
        let buffer = match packet.pool {
            Pool::Media | Pool::Own => &mut self.media_buffer[..],
            Pool::Stream => self.streams.buffer(),
            Pool::Sip => {
                let start = usize::from(packet.buffer).min(SIP_BATCH - 1) * SIP_BUFFER_LEN;
                &mut self.sip.memory[start..start + SIP_BUFFER_LEN]
            }
        };
        let end = (packet.len as usize).min(buffer.len());
        &mut buffer[..end]
    }

    fn room(&mut self, _packet: &Packet) -> &mut [u8] {
        &mut self.media_buffer[..]
    }

    fn blank(&mut self) -> Option<Packet> {
        Some(Packet {
            pool: Pool::Own,
            buffer: 0,
            len: 0,
        })
    }

    fn forward(&mut self, packet: Packet, socket: MediaSocket, to: Option<SocketAddr>) {
        let Some(fd) = self.media.get(socket.0 as usize).map(|fd| fd.as_raw_fd()) else {
            return;
        };
        let to = to.map(RawAddress::from);
        let (name, name_len) = to
            .as_ref()
            .map_or((std::ptr::null(), 0), |to| (to.as_ptr(), to.len()));
        self.counters.io_syscalls += 1;
        // SAFETY: `len` is capped by the buffer's; the address is null or live.
        let sent = unsafe {
            libc::sendto(
                fd,
                self.media_buffer.as_ptr().cast(),
                (packet.len as usize).min(MEDIA_BUFFER_LEN),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                name,
                name_len,
            )
        };
        if sent < 0 {
            count_media_send_error(&mut self.counters, last_errno());
        }
    }

    fn release(&mut self, _packet: Packet) {}

    fn transmit(&mut self, listener: ListenerId, peer: SocketAddr, payload: Bytes) {
        if self.sip_sends.len() >= SIP_SENDS_MAX {
            self.send_sip();
        }
        self.sip_sends.push_back(SipSend {
            listener,
            peer,
            address: peer.into(),
            payload,
        });
    }

    fn flush(&mut self) {
        // Media leaves at once; SIP does not depend on any socket being connected.
    }

    fn counters(&mut self) -> &mut ShardCounters {
        &mut self.counters
    }
}
