//! What both I/O backends offer to a shard thread, and which of them runs.

use super::ring;
use crate::{counters::ShardCounters, shard::ListenerId};
use bytes::Bytes;
use sbc_media::relay::MediaSocket;
use std::{
    borrow::Cow,
    io,
    net::SocketAddr,
    os::fd::{BorrowedFd, OwnedFd, RawFd},
    time::Duration,
};

/// The ways to move packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// One raw io_uring ring per shard.
    IoUring,
    /// epoll and plain system calls.
    Syscall,
}

impl BackendKind {
    /// The name in configuration and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Syscall => "syscall",
        }
    }
}

/// A backend and the reason for it.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// What runs.
    pub kind: BackendKind,
    /// Why, as a phrase for the operator.
    pub why: Cow<'static, str>,
}

/// `Err`: the configuration insists on io_uring and this system has none; the text says why.
pub fn choose(configured: Option<BackendKind>) -> Result<Chosen, String> {
    if configured == Some(BackendKind::Syscall) {
        return Ok(Chosen {
            kind: BackendKind::Syscall,
            why: "as configured".into(),
        });
    }
    match (ring::probe(), configured) {
        (Ok(()), Some(_)) => Ok(Chosen {
            kind: BackendKind::IoUring,
            why: "as configured".into(),
        }),
        (Ok(()), None) => Ok(Chosen {
            kind: BackendKind::IoUring,
            why: "this kernel has all it needs".into(),
        }),
        (Err(refused), None) => Ok(Chosen {
            kind: BackendKind::Syscall,
            why: format!("no io_uring: {refused}").into(),
        }),
        (Err(refused), Some(_)) => Err(refused.to_string()),
    }
}

/// How long [`Backend::wait`] may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// Return after this time even if nothing arrived; `None`: never.
    pub(crate) timeout: Option<Duration>,
    /// When packets keep coming: gather them for this long before returning. Zero: return at once.
    pub(crate) gather: Duration,
}

/// Something that happened since the last turn.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A media packet. Ends with [`Backend::forward`] or [`Backend::release`].
    Media {
        socket: MediaSocket,
        from: SocketAddr,
        packet: Packet,
    },
    /// A SIP datagram. Ends with [`Backend::release`].
    Sip {
        listener: ListenerId,
        from: SocketAddr,
        packet: Packet,
    },
    /// The kernel refused to send a SIP message because `peer` cannot be reached.
    Unreachable { listener: ListenerId, peer: SocketAddr },
}

/// A received packet in one of the backend's buffers. Not `Copy`: each is given back once.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) pool: Pool,
    pub(crate) buffer: u16,
    pub(crate) len: u32,
}

/// Which buffers a packet lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pool {
    Media,
    Sip,
}

/// Moves packets for one shard. Sends may be held back until the next [`Self::wait`].
pub(crate) trait Backend {
    /// Receive from a SIP socket. Listeners are added in the order of their ids.
    fn add_listener(&mut self, socket: OwnedFd) -> io::Result<()>;

    /// Receive from a pair of media sockets. Pairs are added in the order of their indices.
    fn add_media_pair(&mut self, rtp: OwnedFd, rtcp: OwnedFd) -> io::Result<()>;

    /// A media socket, to connect it.
    fn media_socket(&self, socket: MediaSocket) -> Option<BorrowedFd<'_>>;

    /// Return early from [`Self::wait`] when this eventfd is written to.
    fn watch(&mut self, eventfd: RawFd) -> io::Result<()>;

    /// Send what is queued, then sleep until something arrives.
    fn wait(&mut self, wait: Wait) -> io::Result<()>;

    /// The next thing that arrived; `None`: call [`Self::wait`].
    fn next(&mut self) -> Option<Arrival>;

    /// The bytes of a received packet.
    fn bytes(&mut self, packet: &Packet) -> &mut [u8];

    /// Send a media packet's bytes from `socket`, to `to` or to its connected peer.
    fn forward(&mut self, packet: Packet, socket: MediaSocket, to: Option<SocketAddr>);

    /// The packet is not needed any more.
    fn release(&mut self, packet: Packet);

    /// Send a SIP message.
    fn transmit(&mut self, listener: ListenerId, peer: SocketAddr, payload: Bytes);

    /// Send queued media now: a socket is about to be connected or disconnected.
    fn flush(&mut self);

    /// What the backend has counted; only fields about I/O are used.
    fn counters(&mut self) -> &mut ShardCounters;
}

/// Count a media packet that the kernel refused, by reason.
pub(crate) fn count_media_send_error(counters: &mut ShardCounters, errno: i32) {
    counters.media_send_errors += 1;
    match errno {
        // An ICMP error about an earlier packet; the peer's port is closed.
        libc::ECONNREFUSED => counters.media_send_refused += 1,
        // No room in the socket's or the device's queue.
        libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => counters.media_send_blocked += 1,
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN | libc::EADDRNOTAVAIL => {
            counters.media_send_unreachable += 1;
        }
        // EPERM and EACCES (a firewall or broadcast), EMSGSIZE: the total tells.
        _ => {}
    }
}

/// Whether a send error means that the peer cannot be reached for now, as opposed to a local fault.
pub(crate) fn is_unreachable(errno: i32) -> bool {
    matches!(
        errno,
        libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::ECONNREFUSED
            | libc::EPERM
            | libc::EACCES
            | libc::EADDRNOTAVAIL
            | libc::EINVAL
    )
}
