//! TCP with epoll and plain system calls.
//!
//! Readiness is level-triggered: one receive for each readable connection in a turn, into a buffer
//! that all of them share. A write is tried at once; only what the kernel does not take waits for
//! the socket to become writable.

use super::{Source, Syscall, last_errno};
use crate::{
    driver::{
        address::RawAddress,
        backend::{
            Arrival, Packet, Pool, StreamBackend, StreamEvent, StreamKey, is_accept_noise, is_shortage,
        },
        sockets,
    },
    shard::ListenerId,
};
use bytes::{Buf, Bytes};
use slab::Slab;
use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
};

/// Bytes received from one connection in one turn.
const BUFFER_LEN: usize = 16 * 1024;
/// Generations that fit beside the kind of an event.
const GENERATIONS: u32 = 1 << 29;

/// All connections of a shard.
#[derive(Default)]
pub(super) struct Streams {
    open: Slab<Stream>,
    generation: u32,
    buffer: Vec<u8>,
    /// What happened without epoll saying so: results of writes. At most a few for each stream,
    /// because one write at a time is under way.
    news: VecDeque<(StreamKey, u32, StreamEvent)>,
}

struct Stream {
    socket: OwnedFd,
    generation: u32,
    /// What the kernel has not taken yet.
    payload: Bytes,
    connecting: bool,
    /// The peer has sent its last byte.
    ended: bool,
}

impl Streams {
    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// The bytes of the last receive.
    pub(super) fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }
}

impl Stream {
    fn interest(&self) -> libc::c_int {
        let input = if self.ended || self.connecting {
            0
        } else {
            libc::EPOLLIN
        };
        let output = if self.connecting || !self.payload.is_empty() {
            libc::EPOLLOUT
        } else {
            0
        };
        input | output
    }
}

impl Syscall {
    pub(super) fn next_stream_news(&mut self) -> Option<Arrival> {
        while let Some((key, generation, event)) = self.streams.news.pop_front() {
            let stream = self.streams.open.get(key.0 as usize);
            if stream.is_some_and(|stream| stream.generation == generation) {
                return Some(Arrival::Stream(key, event));
            }
        }
        None
    }

    /// One connection of a listener; epoll reports the others in the next turn.
    pub(super) fn accept(&mut self, index: u32) -> Option<Arrival> {
        let fd = self.listeners.get(index as usize)?.as_raw_fd();
        let listener = ListenerId(index as u8);
        self.counters.io_syscalls += 1;
        // SAFETY: no address is asked for.
        let accepted = unsafe {
            libc::accept4(
                fd,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            )
        };
        if accepted >= 0 {
            // SAFETY: the descriptor was just made and nobody else owns it.
            let socket = unsafe { OwnedFd::from_raw_fd(accepted) };
            return Some(Arrival::Accepted { listener, socket });
        }
        let errno = last_errno();
        if matches!(errno, libc::EAGAIN | libc::EINTR) {
            // Gone again before we came.
            return None;
        }
        self.counters.accept_errors += 1;
        if is_shortage(errno) {
            self.listen(index, false);
            return Some(Arrival::AcceptPaused { listener, errno });
        }
        if !is_accept_noise(errno) {
            self.listen(index, false);
            self.counters.internal_errors += 1;
            tracing::error!(
                "listener {index} accepts no more: {}",
                io::Error::from_raw_os_error(errno)
            );
        }
        None
    }

    fn listen(&mut self, index: u32, on: bool) {
        let Some(fd) = self.listeners.get(index as usize).map(|fd| fd.as_raw_fd()) else {
            return;
        };
        let events = if on { libc::EPOLLIN } else { 0 };
        self.expect(fd, Source::StreamListener(index), events);
    }

    pub(super) fn stream_ready(&mut self, key: u32, generation: u32, events: u32) -> Option<Arrival> {
        let stream = self.streams.open.get_mut(key as usize)?;
        if stream.generation != generation {
            return None;
        }
        let stream_key = StreamKey(key);
        let broken = events & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0;
        if stream.connecting {
            self.counters.io_syscalls += 2;
            let event = match sockets::pending_error(stream.socket.as_fd()) {
                0 => {
                    stream.connecting = false;
                    StreamEvent::Connected
                }
                errno => StreamEvent::Failed(errno),
            };
            self.update_interest(key);
            return Some(Arrival::Stream(stream_key, event));
        }
        if events & libc::EPOLLOUT as u32 != 0 && !stream.payload.is_empty() {
            self.write_on(key);
        }
        let stream = self.streams.open.get_mut(key as usize)?;
        if stream.ended {
            if !broken {
                return None;
            }
            // Both sides have ended, or the peer has reset; epoll would say so for ever.
            let errno = match sockets::pending_error(stream.socket.as_fd()) {
                0 => libc::ECONNRESET,
                errno => errno,
            };
            return Some(Arrival::Stream(stream_key, StreamEvent::Failed(errno)));
        }
        if !broken && events & libc::EPOLLIN as u32 == 0 {
            return None;
        }
        self.receive_stream(key)
    }

    fn receive_stream(&mut self, key: u32) -> Option<Arrival> {
        let stream = self.streams.open.get_mut(key as usize)?;
        self.streams.buffer.resize(BUFFER_LEN, 0);
        self.counters.io_syscalls += 1;
        // SAFETY: the buffer is live and BUFFER_LEN bytes long.
        let len = unsafe {
            libc::recv(
                stream.socket.as_raw_fd(),
                self.streams.buffer.as_mut_ptr().cast(),
                BUFFER_LEN,
                libc::MSG_DONTWAIT,
            )
        };
        let event = match usize::try_from(len) {
            Ok(0) => {
                stream.ended = true;
                self.update_interest(key);
                StreamEvent::Ended
            }
            Ok(len) => StreamEvent::Received(Packet {
                pool: Pool::Stream,
                buffer: 0,
                len: len.min(BUFFER_LEN) as u32,
            }),
            Err(_) => match last_errno() {
                libc::EAGAIN | libc::EINTR => return None,
                libc::ENOMEM | libc::ENOBUFS => {
                    self.counters.receive_errors += 1;
                    return None;
                }
                // ECONNRESET, ETIMEDOUT, EHOSTUNREACH and the like: the connection is gone.
                errno => StreamEvent::Failed(errno),
            },
        };
        Some(Arrival::Stream(StreamKey(key), event))
    }

    /// Write as much as the kernel takes now, and wait for room for the rest.
    fn write_on(&mut self, key: u32) {
        let Some(stream) = self.streams.open.get_mut(key as usize) else {
            return;
        };
        let before = stream.payload.len();
        let mut failed = None;
        while !stream.payload.is_empty() {
            self.counters.io_syscalls += 1;
            // SAFETY: the payload is live and of that length; send only reads it.
            let sent = unsafe {
                libc::send(
                    stream.socket.as_raw_fd(),
                    stream.payload.as_ptr().cast(),
                    stream.payload.len(),
                    libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
                )
            };
            match usize::try_from(sent) {
                Ok(sent) => stream.payload.advance(sent.min(stream.payload.len())),
                Err(_) => match last_errno() {
                    libc::EINTR => {}
                    libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => break,
                    // EPIPE, ECONNRESET, ETIMEDOUT and the like: the connection is gone.
                    errno => {
                        stream.payload = Bytes::new();
                        failed = Some(errno);
                        break;
                    }
                },
            }
        }
        let event = match failed {
            Some(errno) => StreamEvent::Failed(errno),
            None => StreamEvent::Written(before - stream.payload.len()),
        };
        let generation = stream.generation;
        self.streams.news.push_back((StreamKey(key), generation, event));
        self.update_interest(key);
    }

    fn update_interest(&mut self, key: u32) {
        if let Some(stream) = self.streams.open.get(key as usize) {
            let (fd, events) = (stream.socket.as_raw_fd(), stream.interest());
            self.expect(fd, Source::Stream(key, stream.generation), events);
        }
    }

    fn expect(&mut self, fd: RawFd, source: Source, events: libc::c_int) {
        self.counters.io_syscalls += 1;
        if let Err(error) = self.control(libc::EPOLL_CTL_MOD, fd, source, events) {
            // Only memory can be short for a descriptor that epoll has.
            self.counters.internal_errors += 1;
            tracing::error!("epoll_ctl failed: {error}");
        }
    }

    fn add_stream(&mut self, socket: OwnedFd, connecting: bool) -> io::Result<StreamKey> {
        self.streams.generation = (self.streams.generation + 1) % GENERATIONS;
        let stream = Stream {
            socket,
            generation: self.streams.generation,
            payload: Bytes::new(),
            connecting,
            ended: false,
        };
        let key = u32::try_from(self.streams.open.vacant_key()).map_err(io::Error::other)?;
        let (fd, events) = (stream.socket.as_raw_fd(), stream.interest());
        self.counters.io_syscalls += 1;
        self.control(
            libc::EPOLL_CTL_ADD,
            fd,
            Source::Stream(key, stream.generation),
            events,
        )?;
        self.streams.open.insert(stream);
        Ok(StreamKey(key))
    }
}

impl StreamBackend for Syscall {
    fn add_stream_listener(&mut self, socket: OwnedFd) -> io::Result<()> {
        self.add(
            socket.as_raw_fd(),
            Source::StreamListener(self.listeners.len() as u32),
            false,
        )?;
        self.listeners.push(socket);
        Ok(())
    }

    fn resume_accepting(&mut self, listener: ListenerId) {
        self.listen(listener.0.into(), true);
    }

    fn open_stream(&mut self, socket: OwnedFd) -> io::Result<StreamKey> {
        self.add_stream(socket, false)
    }

    fn connect_stream(&mut self, socket: OwnedFd, peer: SocketAddr) -> io::Result<StreamKey> {
        let address = RawAddress::from(peer);
        self.counters.io_syscalls += 1;
        // SAFETY: the address is live and `len` bytes long; the descriptor is open.
        let result = unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr(), address.len()) };
        if result < 0 {
            let error = io::Error::last_os_error();
            // EINTR: it goes on, as with EINPROGRESS.
            if !matches!(error.raw_os_error(), Some(libc::EINPROGRESS | libc::EINTR)) {
                return Err(error);
            }
        }
        self.add_stream(socket, true)
    }

    fn write_stream(&mut self, stream: StreamKey, payload: Bytes) {
        if let Some(found) = self.streams.open.get_mut(stream.0 as usize) {
            debug_assert!(found.payload.is_empty(), "one write at a time");
            found.payload = payload;
            self.write_on(stream.0);
        }
    }

    fn end_stream(&mut self, stream: StreamKey) {
        if let Some(stream) = self.streams.open.get(stream.0 as usize) {
            self.counters.io_syscalls += 1;
            sockets::end(stream.socket.as_fd());
        }
    }

    fn close_stream(&mut self, stream: StreamKey, abort: bool) {
        if let Some(found) = self.streams.open.try_remove(stream.0 as usize)
            && abort
        {
            sockets::reset_on_close(found.socket.as_fd());
        }
    }
}
