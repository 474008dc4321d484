//! What the relay has counted: why packets were dropped, totals, and what one peer has sent.

use crate::time::Timestamp;
use core::net::SocketAddr;

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

/// Totals over all sockets since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounters {
    /// Packets given to [`Relay::forward`](super::Relay::forward).
    pub received: u64,
    /// Packets that left.
    pub forwarded: u64,
    /// Dropped: the pair is not part of a call.
    pub no_session: u64,
    /// Dropped: not RTP or RTCP.
    pub malformed: u64,
    /// Dropped: not from the peer.
    pub wrong_source: u64,
    /// Dropped: nowhere to go.
    pub no_destination: u64,
}

impl RelayCounters {
    /// Packets dropped for `reason`.
    pub fn drops(&self, reason: DropReason) -> u64 {
        match reason {
            DropReason::NoSession => self.no_session,
            DropReason::Malformed => self.malformed,
            DropReason::WrongSource => self.wrong_source,
            DropReason::NoDestination => self.no_destination,
        }
    }

    pub(super) fn dropped(&mut self, reason: DropReason) {
        match reason {
            DropReason::NoSession => self.no_session += 1,
            DropReason::Malformed => self.malformed += 1,
            DropReason::WrongSource => self.wrong_source += 1,
            DropReason::NoDestination => self.no_destination += 1,
        }
    }
}

/// What was received from one peer, on both sockets of its pair.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StreamStats {
    /// RTP address in the peer's SDP.
    pub signalled: Option<SocketAddr>,
    /// RTP address learned from packets.
    pub latched: Option<SocketAddr>,
    /// Whether the RTP socket is connected to the learned address.
    pub connected: bool,
    /// RTP packets accepted.
    pub packets: u64,
    /// RTP octets accepted, headers included.
    pub octets: u64,
    /// RTP packets missing by sequence number.
    pub lost: u64,
    /// RTP packets that arrived after a later one.
    pub reordered: u64,
    /// RTP packets that arrived again.
    pub duplicates: u64,
    /// Times the SSRC changed.
    pub ssrc_changes: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// When the last RTP packet was accepted.
    pub last_received: Option<Timestamp>,
    /// RTCP datagrams accepted, on either socket.
    pub rtcp_packets: u64,
    /// Octets of those.
    pub rtcp_octets: u64,
    /// Datagrams on either socket that are not RTP or RTCP.
    pub malformed: u64,
    /// Datagrams on either socket from an address that is not the peer's.
    pub wrong_source: u64,
    /// Datagrams of the peer that had nowhere to go.
    pub no_destination: u64,
}
