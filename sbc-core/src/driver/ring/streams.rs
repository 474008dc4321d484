//! TCP on the ring.
//!
//! In: a multishot `accept` for each listener and a multishot `recv` for each connection are armed at
//! all times; the receives share one group of buffers, so a connection that waits costs none. Out:
//! one send at a time for each connection, sent on when the kernel has taken a part of it.
//!
//! A closed stream keeps its descriptor and its key until every operation on it has completed. So
//! a completion always belongs to the stream that its key names, and the key is free only
//! when none is left.

use super::{Operation, Ring, STREAM_GROUP};
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
use io_uring::{cqueue, opcode, squeue, types};
use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

/// A connection and the operations that the kernel has of it.
pub(super) struct Stream {
    socket: OwnedFd,
    /// Where it is being connected to: the kernel may read it until that has completed.
    peer: Option<Box<RawAddress>>,
    /// What is being written. Its bytes stay where they are while a send refers to them.
    payload: Bytes,
    receiving: bool,
    sending: bool,
    closed: bool,
}

/// The entry that accepts from `listener`, again and again.
pub(super) fn accept(listener: &OwnedFd) -> squeue::Entry {
    opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd()))
        .flags(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK)
        .build()
}

impl Stream {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            peer: None,
            payload: Bytes::new(),
            receiving: false,
            sending: false,
            closed: false,
        }
    }

    /// The entry that receives. `None`: it is not wanted any more.
    pub(super) fn receive(&mut self) -> Option<squeue::Entry> {
        if self.closed {
            return None;
        }
        self.receiving = true;
        Some(opcode::RecvMulti::new(types::Fd(self.socket.as_raw_fd()), STREAM_GROUP).build())
    }

    /// The entry that sends what is left.
    pub(super) fn send(&mut self) -> Option<squeue::Entry> {
        if self.closed || self.payload.is_empty() {
            return None;
        }
        self.sending = true;
        let len = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        let send = opcode::Send::new(types::Fd(self.socket.as_raw_fd()), self.payload.as_ptr(), len);
        Some(send.flags(libc::MSG_NOSIGNAL).build())
    }

    /// The entry that connects.
    pub(super) fn connect(&mut self) -> Option<squeue::Entry> {
        let peer = self.peer.as_ref().filter(|_| !self.closed)?;
        Some(opcode::Connect::new(types::Fd(self.socket.as_raw_fd()), peer.as_ptr(), peer.len()).build())
    }

    /// No operation refers to it.
    fn is_idle(&self) -> bool {
        !self.receiving && !self.sending && self.peer.is_none()
    }
}

impl Ring {
    pub(super) fn accepted(&mut self, entry: &cqueue::Entry, listener: u32) -> Option<Arrival> {
        let id = ListenerId(listener as u8);
        let result = entry.result();
        let arrival = match result {
            0.. => {
                // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
                let socket = unsafe { OwnedFd::from_raw_fd(result) };
                Some(Arrival::Accepted { listener: id, socket })
            }
            _ => {
                self.counters.accept_errors += 1;
                is_shortage(-result).then_some(Arrival::AcceptPaused {
                    listener: id,
                    errno: -result,
                })
            }
        };
        if !cqueue::more(entry.flags()) && !matches!(arrival, Some(Arrival::AcceptPaused { .. })) {
            if result >= 0 || is_accept_noise(-result) {
                self.arm(Operation::Accept(listener), false);
            } else {
                // EBADF, EINVAL, ENOTSOCK, EOPNOTSUPP, ECANCELED: ours, and it would fail for ever.
                self.counters.internal_errors += 1;
                tracing::error!(
                    "listener {listener} accepts no more: {}",
                    io::Error::from_raw_os_error(-result)
                );
            }
        }
        arrival
    }

    pub(super) fn stream_received(&mut self, entry: &cqueue::Entry, key: u32) -> Option<Arrival> {
        let buffer = cqueue::buffer_select(entry.flags()).inspect(|_| self.stream_buffers.taken());
        let result = entry.result();
        let stream = self.streams.get_mut(key as usize);
        let closed = stream.as_ref().is_none_or(|stream| stream.closed);
        let ended = !cqueue::more(entry.flags());
        if let Some(stream) = stream {
            stream.receiving = !ended;
        }
        let event = match (result, buffer) {
            (1.., Some(buffer)) if !closed => Some(StreamEvent::Received(Packet {
                pool: Pool::Stream,
                buffer,
                len: result as u32,
            })),
            (_, buffer) => {
                if let Some(buffer) = buffer {
                    self.stream_buffers.give_back(buffer);
                }
                match -result {
                    0 => Some(StreamEvent::Ended),
                    ..0 => None,
                    // Out of buffers for this turn, or of memory for a moment: it is armed again.
                    libc::ENOBUFS => {
                        self.counters.ring_buffers_exhausted += 1;
                        None
                    }
                    libc::EAGAIN | libc::EINTR | libc::ENOMEM => {
                        self.counters.receive_errors += 1;
                        None
                    }
                    // ECONNRESET, ETIMEDOUT, EHOSTUNREACH and the like: the connection is gone.
                    errno => Some(StreamEvent::Failed(errno)),
                }
            }
        };
        if ended && !matches!(event, Some(StreamEvent::Ended | StreamEvent::Failed(_))) {
            self.arm(Operation::ReceiveStream(key), false);
        }
        self.settle_stream(key);
        event
            .filter(|_| !closed)
            .map(|event| Arrival::Stream(StreamKey(key), event))
    }

    pub(super) fn stream_sent(&mut self, entry: &cqueue::Entry, key: u32) -> Option<Arrival> {
        let stream = self.streams.get_mut(key as usize)?;
        stream.sending = false;
        let closed = stream.closed;
        let event = match entry.result() {
            len @ 0.. => {
                let len = (len as usize).min(stream.payload.len());
                stream.payload.advance(len);
                StreamEvent::Written(len)
            }
            error => match -error {
                libc::EAGAIN | libc::EINTR | libc::ENOBUFS | libc::ENOMEM => StreamEvent::Written(0),
                // EPIPE, ECONNRESET, ETIMEDOUT and the like: the connection is gone.
                errno => StreamEvent::Failed(errno),
            },
        };
        if matches!(event, StreamEvent::Written(_)) {
            self.arm(Operation::SendStream(key), false);
        }
        self.settle_stream(key);
        (!closed).then_some(Arrival::Stream(StreamKey(key), event))
    }

    pub(super) fn stream_connected(&mut self, entry: &cqueue::Entry, key: u32) -> Option<Arrival> {
        let stream = self.streams.get_mut(key as usize)?;
        stream.peer = None;
        let closed = stream.closed;
        let event = match entry.result() {
            0.. => {
                self.arm(Operation::ReceiveStream(key), false);
                StreamEvent::Connected
            }
            error => StreamEvent::Failed(-error),
        };
        self.settle_stream(key);
        (!closed).then_some(Arrival::Stream(StreamKey(key), event))
    }

    /// Let go of a closed stream when its last operation has completed.
    fn settle_stream(&mut self, key: u32) {
        let stream = self.streams.get(key as usize);
        if stream.is_some_and(|stream| stream.closed && stream.is_idle()) {
            self.streams.remove(key as usize);
        }
    }

    fn add_stream(&mut self, stream: Stream) -> io::Result<u32> {
        let key = u32::try_from(self.streams.vacant_key()).map_err(io::Error::other)?;
        self.streams.insert(stream);
        Ok(key)
    }
}

impl StreamBackend for Ring {
    fn add_stream_listener(&mut self, socket: OwnedFd) -> io::Result<()> {
        let index = self.listeners.len() as u32;
        self.listeners.push(socket);
        self.arm(Operation::Accept(index), true);
        Ok(())
    }

    fn resume_accepting(&mut self, listener: ListenerId) {
        self.arm(Operation::Accept(listener.0.into()), false);
    }

    fn open_stream(&mut self, socket: OwnedFd) -> io::Result<StreamKey> {
        let key = self.add_stream(Stream::new(socket))?;
        self.arm(Operation::ReceiveStream(key), false);
        Ok(StreamKey(key))
    }

    fn connect_stream(&mut self, socket: OwnedFd, peer: SocketAddr) -> io::Result<StreamKey> {
        let mut stream = Stream::new(socket);
        stream.peer = Some(Box::new(RawAddress::from(peer)));
        let key = self.add_stream(stream)?;
        self.arm(Operation::ConnectStream(key), false);
        Ok(StreamKey(key))
    }

    fn write_stream(&mut self, stream: StreamKey, payload: Bytes) {
        if let Some(found) = self.streams.get_mut(stream.0 as usize) {
            debug_assert!(!found.sending, "one send at a time");
            found.payload = payload;
            self.arm(Operation::SendStream(stream.0), false);
        }
    }

    fn end_stream(&mut self, stream: StreamKey) {
        if let Some(stream) = self.streams.get(stream.0 as usize) {
            sockets::end(stream.socket.as_fd());
        }
    }

    fn close_stream(&mut self, stream: StreamKey, abort: bool) {
        let Some(found) = self.streams.get_mut(stream.0 as usize) else {
            return;
        };
        if abort {
            sockets::reset_on_close(found.socket.as_fd());
        }
        found.closed = true;
        // What could not be queued will not be any more.
        self.unarmed.retain(|operation| {
            let of_it = match *operation {
                Operation::ReceiveStream(key) => (key == stream.0).then(|| found.receiving = false),
                Operation::SendStream(key) => (key == stream.0).then(|| found.sending = false),
                Operation::ConnectStream(key) => (key == stream.0).then(|| found.peer = None),
                _ => None,
            };
            of_it.is_none()
        });
        if !found.is_idle() {
            let fd = types::Fd(found.socket.as_raw_fd());
            let cancel = opcode::AsyncCancel2::new(types::CancelBuilder::fd(fd).all())
                .build()
                .user_data(Operation::CancelStream.encode());
            if !self.push(&cancel)
                && let Some(found) = self.streams.get(stream.0 as usize)
            {
                // The queue is full and stays so: end the operations from the other side.
                sockets::shut_down(found.socket.as_fd());
            }
        }
        self.settle_stream(stream.0);
    }
}
