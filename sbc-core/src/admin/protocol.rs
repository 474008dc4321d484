//! Requests and results of the admin protocol (`docs/ADMIN.md`).

use serde::{Deserialize, Serialize};

/// One row of `sbc-ctl calls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallSummary {
    /// Our id of the call.
    pub id: String,
    /// Shard that owns it.
    pub shard: u8,
    /// Slot within the shard: the cursor for paging.
    pub slot: u32,
    /// `proceeding`, `ringing`, `answered`, `ending`.
    pub state: String,
    /// Trunk it came from.
    pub from_trunk: String,
    /// Trunk it went to.
    pub to_trunk: String,
    /// Calling number.
    pub caller: String,
    /// Called number.
    pub callee: String,
    /// Age in milliseconds.
    pub age_ms: u64,
}

/// `sbc-ctl call show`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallDetail {
    /// The row as in the list.
    pub summary: CallSummary,
    /// Both legs, A (caller) first.
    pub legs: Vec<LegDetail>,
    /// Media per direction, when the call has media.
    pub media: Vec<MediaDetail>,
}

/// One leg of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegDetail {
    /// `A` or `B`.
    pub leg: String,
    /// Trunk of this side.
    pub trunk: String,
    /// Call-ID on this side.
    pub call_id: String,
    /// Peer's SIP address.
    pub peer: String,
    /// Our tag.
    pub local_tag: String,
    /// The peer's tag, empty until known.
    pub remote_tag: String,
}

/// Media received from one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MediaDetail {
    /// `A` or `B`: the side that sends.
    pub leg: String,
    /// Our RTP port towards that side.
    pub port: u16,
    /// Address in the peer's SDP.
    pub signalled: String,
    /// Address learned from packets, empty until latched.
    pub latched: String,
    /// RTP packets received.
    pub packets: u64,
    /// RTP octets received, headers included.
    pub octets: u64,
    /// Packets missing by sequence number.
    pub lost: u64,
    /// Interarrival jitter in milliseconds (RFC 3550 §6.4.1).
    pub jitter_ms: f64,
    /// Milliseconds since the last packet, `None` before the first.
    pub idle_ms: Option<u64>,
    /// Packets from a wrong source.
    pub wrong_source: u64,
}
