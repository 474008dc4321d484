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

/// The longest media packet that an Ethernet frame holds: IPv4 without options, UDP.
pub(crate) const MEDIA_PACKET_LEN: usize = 1500 - 20 - 8;
/// How much such a packet may grow in its buffer: what protecting it adds, and some.
pub(crate) const MEDIA_GROWTH: usize = 64;
const _: () = assert!(MEDIA_GROWTH >= sbc_media::srtp::OVERHEAD_MAX);
/// Room for a packet of our own.
pub(crate) const OWN_PACKET_LEN: usize = sbc_media::relay::OWN_LEN_MAX;

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

impl Wait {
    /// Do not block.
    pub(crate) const NONE: Self = Self {
        timeout: Some(Duration::ZERO),
        gather: Duration::ZERO,
    };
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
    /// Somebody connected to a stream listener.
    Accepted { listener: ListenerId, socket: OwnedFd },
    /// The system has no room for another connection (`errno` says of what). Nothing more is
    /// accepted from this listener before [`StreamBackend::resume_accepting`].
    AcceptPaused { listener: ListenerId, errno: i32 },
    /// Something happened on a stream that is not closed.
    Stream(StreamKey, StreamEvent),
}

/// A stream of the backend: a small number, used again only when nothing about the closed stream
/// can arrive any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StreamKey(pub(crate) u32);

/// What happens on a stream.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// It is connected now.
    Connected,
    /// Bytes have come. Ends with [`Backend::release`].
    Received(Packet),
    /// So many bytes more of what is being written have gone to the kernel.
    Written(usize),
    /// The peer will send nothing more.
    Ended,
    /// It could not be connected, or has broken. May come twice.
    Failed(i32),
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
    Own,
    Sip,
    Stream,
}

/// Moves the bytes of TCP connections for one shard. A stream that only waits for its peer holds
/// no buffer.
pub(crate) trait StreamBackend {
    /// Accept from a listening socket. Shares the numbering of [`Backend::add_listener`].
    fn add_stream_listener(&mut self, socket: OwnedFd) -> io::Result<()>;

    /// Accept again after [`Arrival::AcceptPaused`].
    fn resume_accepting(&mut self, listener: ListenerId);

    /// Receive from a connected socket.
    fn open_stream(&mut self, socket: OwnedFd) -> io::Result<StreamKey>;

    /// Connect a bound socket, then receive from it. [`StreamEvent::Connected`] or
    /// [`StreamEvent::Failed`] tells how it went.
    fn connect_stream(&mut self, socket: OwnedFd, peer: SocketAddr) -> io::Result<StreamKey>;

    /// Write to a connected stream on which nothing is being written; [`StreamEvent::Written`]
    /// reports it in one or more steps.
    fn write_stream(&mut self, stream: StreamKey, payload: Bytes);

    /// Tell the peer that nothing more will be written.
    fn end_stream(&mut self, stream: StreamKey);

    /// Forget a stream. When `abort`, the peer is told by a reset; otherwise in order, but what is
    /// being written may be lost.
    fn close_stream(&mut self, stream: StreamKey, abort: bool);
}

/// Moves packets for one shard. Sends may be held back until the next [`Self::submit`] or [`Self::wait`].
pub(crate) trait Backend: StreamBackend {
    /// Receive from a datagram socket for SIP. Listeners are added in the order of their ids.
    fn add_listener(&mut self, socket: OwnedFd) -> io::Result<()>;

    /// Receive from a pair of media sockets. Pairs are added in the order of their indices.
    fn add_media_pair(&mut self, rtp: OwnedFd, rtcp: OwnedFd) -> io::Result<()>;

    /// A media socket, to connect it.
    fn media_socket(&self, socket: MediaSocket) -> Option<BorrowedFd<'_>>;

    /// Return early from [`Self::wait`] when this eventfd is written to.
    fn watch(&mut self, eventfd: RawFd) -> io::Result<()>;

    /// Send what is queued, without sleeping. Whether something has arrived, or may have.
    fn submit(&mut self) -> io::Result<bool>;

    /// Send what is queued, then sleep until something arrives. What has arrived already is kept, and ends no gathering.
    fn wait(&mut self, wait: Wait) -> io::Result<()>;

    /// The next thing that arrived; `None`: call [`Self::wait`].
    fn next(&mut self) -> Option<Arrival>;

    /// The bytes of a received packet.
    fn bytes(&mut self, packet: &Packet) -> &mut [u8];

    /// A media packet with all the room behind it in its buffer. When it has grown or shrunk there,
    /// its `len` must say so before [`Self::forward`].
    fn room(&mut self, packet: &Packet) -> &mut [u8];

    /// An empty packet, to be filled and sent like one that was received; its [`Self::room`] is at least
    /// [`OWN_PACKET_LEN`]. `None`: there is none now. At most one at a time, and not while a received packet is
    /// held. Ends with [`Backend::forward`] or [`Backend::release`].
    fn blank(&mut self) -> Option<Packet>;

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

/// Whether an error of `accept` says that the system has run out of something: trying again at
/// once would fail again.
pub(crate) fn is_shortage(errno: i32) -> bool {
    matches!(errno, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
}

/// Whether an error of `accept` is about one connection that is gone already, not about the listener.
pub(crate) fn is_accept_noise(errno: i32) -> bool {
    matches!(
        errno,
        libc::EINTR
            | libc::EAGAIN
            | libc::ECONNABORTED
            | libc::ECONNRESET
            | libc::EPERM
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::ETIMEDOUT
    )
}

/// Whether a send error means that the peer cannot be reached at present, as opposed to a local fault.
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
