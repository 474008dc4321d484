//! What the relay has counted: why packets were dropped, totals, and what one peer has sent.

use super::Heard;
use crate::{
    quality::Rating,
    stream::{BurstLoss, DelayVariation, Payloads},
    time::Timestamp,
};
use core::{net::SocketAddr, time::Duration};

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
    /// The other side has not agreed to this payload type; or RTCP of which nothing may pass.
    Format,
    /// An event that is told to the other side in another way, as one of its digits.
    Digit,
    /// Its payload leaves, in packets of another length.
    Reframed,
    /// The stream that leaves has no place for it: it comes from before a change of source, too late for packets of
    /// another length, or something of our own is sent instead.
    Displaced,
    /// Not protected under the peer's key.
    Unauthentic,
    /// Authentic, but it has been here before, or is too old for anybody to know (RFC 3711 §3.3.2).
    Replayed,
    /// The key has protected all that it may, or more sources than are kept account of.
    Exhausted,
    /// It would not fit its buffer any more.
    NoRoom,
}

impl DropReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::NoSession,
        Self::Malformed,
        Self::WrongSource,
        Self::NoDestination,
        Self::Format,
        Self::Digit,
        Self::Reframed,
        Self::Displaced,
        Self::Unauthentic,
        Self::Replayed,
        Self::Exhausted,
        Self::NoRoom,
    ];
}

/// Totals over all sockets since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayCounters {
    /// Packets given to [`Relay::forward`](super::Relay::forward).
    pub received: u64,
    /// Packets that left.
    pub forwarded: u64,
    /// Packets of our own that left, pieces of those with another length among them.
    pub originated: u64,
    /// Dropped, by [`DropReason`].
    drops: [u64; DropReason::ALL.len()],
}

impl RelayCounters {
    /// Packets dropped for `reason`.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    pub(super) fn dropped(&mut self, reason: DropReason) {
        self.drops[reason as usize] += 1;
    }
}

/// What was refused on one socket. Rarely written, so it lies apart from what every packet needs.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Refusals {
    drops: [u32; DropReason::ALL.len()],
    stranger: Option<SocketAddr>,
}

impl Refusals {
    pub(super) fn note(&mut self, from: SocketAddr, reason: DropReason) {
        let count = &mut self.drops[reason as usize];
        *count = count.saturating_add(1);
        if reason == DropReason::WrongSource {
            self.stranger = Some(from);
        }
    }

    pub(super) fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].into()
    }

    pub(super) fn stranger(&self) -> Option<SocketAddr> {
        self.stranger
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
    /// RTP octets accepted, headers included; of SRTP, those of the packets in the clear.
    pub octets: u64,
    /// RTP packets missing by sequence number.
    pub lost: u64,
    /// Those, as a part of the packets that should have come, 0 to 1.
    pub lost_part: f64,
    /// RTP packets that arrived after a later one.
    pub reordered: u64,
    /// RTP packets that arrived again.
    pub duplicates: u64,
    /// Times the SSRC changed.
    pub ssrc_changes: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// How the losses were spread.
    pub burst_loss: BurstLoss,
    /// How much delays differed from packet to packet.
    pub delay_variation: DelayVariation,
    /// Payload types seen.
    pub payloads: Payloads,
    /// The longest time between two packets, if longer than
    /// [`SILENCE_MIN`](crate::stream::SILENCE_MIN).
    pub longest_silence: Option<Duration>,
    /// How it sounds at the other side, when the payload type of most packets is a static one whose
    /// codec can be rated.
    pub rating: Option<Rating>,
    /// When the last RTP packet was accepted.
    pub last_received: Option<Timestamp>,
    /// RTCP datagrams accepted, on either socket.
    pub rtcp_packets: u64,
    /// Octets of those.
    pub rtcp_octets: u64,
    /// RTCP packets in them that name their sender or say nothing that anybody here knows, and were
    /// not let through.
    pub rtcp_removed: u64,
    /// Round-trip time between us and the peer, by its last report that tells one.
    pub round_trip: Option<Duration>,
    /// The mean of all of those.
    pub round_trip_mean: Option<Duration>,
    /// The longest of them.
    pub round_trip_longest: Option<Duration>,
    /// What the peer says about the stream that it hears.
    pub heard: Option<Heard>,
    /// Datagrams on either socket that are not RTP or RTCP.
    pub malformed: u64,
    /// Datagrams on either socket from an address that is not the peer's.
    pub wrong_source: u64,
    /// Where the last of those came from: on the RTP socket, if any did there.
    pub stranger: Option<SocketAddr>,
    /// Datagrams of the peer that had nowhere to go.
    pub no_destination: u64,
    /// RTP packets of a payload type that the other side has not agreed to, and RTCP of which
    /// nothing may pass.
    pub format: u64,
    /// RTP packets from before a change of source, or in whose place something of our own was sent.
    pub displaced: u64,
    /// Datagrams that are not protected under the peer's key.
    pub srtp_bad_tag: u64,
    /// Datagrams that have been here before, or came too late to tell.
    pub srtp_replayed: u64,
    /// Datagrams for which a key is used up, knows too many sources, or found no room for a tag.
    pub srtp_failed: u64,
}
