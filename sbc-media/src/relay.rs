//! The relay: a table of media sockets and what each one's packets turn into.

use crate::time::Timestamp;
use core::net::SocketAddr;

/// Index of a pre-bound pair of UDP ports (even RTP, odd RTCP) within one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairIndex(pub u32);

impl PairIndex {
    /// The socket on the even port.
    pub const fn rtp(self) -> MediaSocket {
        MediaSocket(self.0 * 2)
    }
    /// The socket on the odd port.
    pub const fn rtcp(self) -> MediaSocket {
        MediaSocket(self.0 * 2 + 1)
    }
}

/// Index of one media socket within one shard: pair `n` owns sockets `2n` (RTP) and `2n+1` (RTCP).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MediaSocket(pub u32);

impl MediaSocket {
    /// The pair this socket belongs to.
    pub const fn pair(self) -> PairIndex {
        PairIndex(self.0 / 2)
    }
    /// Whether this is the odd (RTCP) socket of its pair.
    pub const fn is_rtcp(self) -> bool {
        self.0 % 2 == 1
    }
}

/// Why a packet was not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// The pair is not part of a call.
    NoSession,
    /// Not RTP or RTCP version 2, or shorter than its header says.
    Malformed,
    /// The source is not the latched or signalled peer.
    WrongSource,
    /// The other side has no known address yet, or is on hold.
    NoDestination,
}

/// What the driver does with a received packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send the same bytes from `socket`: to `to`, or to its connected peer when `None`.
    Forward {
        /// The socket to send from.
        socket: MediaSocket,
        /// Destination; `None` when `socket` is connected.
        to: Option<SocketAddr>,
    },
    /// Nothing leaves.
    Drop(DropReason),
}

/// What the driver must do to a socket, apart from packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketAction {
    /// The peer is learned: connect the socket, then call [`Relay::connected`].
    Connect {
        /// The socket that learned its peer.
        socket: MediaSocket,
        /// The learned address.
        peer: SocketAddr,
    },
    /// Undo a connect (`AF_UNSPEC`): the latch was re-armed or the session closed.
    Disconnect {
        /// The socket to free.
        socket: MediaSocket,
    },
}

/// The forwarding table of one shard.
#[derive(Debug, Default)]
pub struct Relay {}

impl Relay {
    /// Decide what to do with `packet`, received at `now` on `socket` from `from`. In place, no
    /// allocation.
    pub fn forward(
        &mut self,
        _now: Timestamp,
        _socket: MediaSocket,
        _from: SocketAddr,
        _packet: &mut [u8],
    ) -> Verdict {
        Verdict::Drop(DropReason::NoSession)
    }

    /// The next pending socket action; call until `None` after each batch of packets and commands.
    pub fn poll_action(&mut self) -> Option<SocketAction> {
        None
    }

    /// The driver reports that `socket` is connected to `peer`: sends no longer carry an address.
    pub fn connected(&mut self, _socket: MediaSocket, _peer: SocketAddr) {}
}
