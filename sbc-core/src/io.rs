//! What goes into a shard besides bytes, and everything that comes out of it.

pub use crate::counters::Gauges;
use crate::{
    admin::protocol::{AttemptDetail, CallDetail, CallSummary, MediaDetail, TrunkAddress},
    bindings::{Change, Record},
    counters::ShardCounters,
    id::{ConnectionId, ListenerId, QueryId, ShardId},
    overload::Load,
    resolve::{Query, ResolveError, Resolved},
    snapshot::Snapshot,
    time::Timestamp,
    traffic::TrunkTraffic,
    transport::Hop,
    trunk::TrunkId,
};
use bytes::Bytes;
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

/// Pairs a [`Command`] with its [`Reply`]; chosen by the control thread.
pub type RequestId = u64;

/// What the driver must do for the shard, in order.
#[derive(Debug)]
pub enum Output {
    /// Send `payload` as a datagram from the SIP socket of `listener` to `peer`.
    Transmit {
        /// Socket to send from.
        listener: ListenerId,
        /// Destination.
        peer: SocketAddr,
        /// One whole SIP message.
        payload: Bytes,
    },
    /// The message belongs to `shard`: deliver it to that shard's [`crate::shard::Shard::handle_handover`].
    /// Over a stream without a connection, it is a request of that shard's that could not be sent.
    Handover {
        /// The owner.
        shard: ShardId,
        /// Where it was received and from whom.
        hop: Hop,
        /// The message.
        payload: Bytes,
    },
    /// Open a connection from `listener`'s address to `peer`, without blocking. Answered by one
    /// [`crate::shard::Shard::handle_connected`] or [`crate::shard::Shard::handle_closed`].
    Connect {
        /// The id that the shard has given it.
        connection: ConnectionId,
        /// Says the transport and our address.
        listener: ListenerId,
        /// Destination.
        peer: SocketAddr,
        /// The trunk that it is for: its TLS settings hold (server name, our certificate).
        trunk: TrunkId,
    },
    /// Write `payload` to a connection; reported by [`crate::shard::Shard::handle_sent`].
    Send {
        /// An accepted or connected connection.
        connection: ConnectionId,
        /// Bytes of the plain stream.
        payload: Bytes,
    },
    /// Close a connection once what was given to it before is written; at once when `abort`. The
    /// shard has forgotten it: nothing more is reported about it.
    Close {
        /// Any connection, also one that is still being opened.
        connection: ConnectionId,
        /// Drop what is not written yet.
        abort: bool,
    },
    /// The message leaves by a connection of another shard, `hop.flow`: deliver it to that shard's
    /// [`crate::shard::Shard::handle_send`].
    SendVia {
        /// The way.
        hop: Hop,
        /// The message.
        payload: Bytes,
    },
    /// Find addresses for a name; answered by [`crate::shard::Shard::handle_resolved`]. May be
    /// lost: the shard asks again.
    Resolve {
        /// To tell the answer.
        id: QueryId,
        /// What is asked.
        query: Query,
    },
    /// Store where a user is and tell all shards ([`Command::Bindings`]); to this one, last, its ticket. May be lost: the
    /// user then gets no answer.
    Bind(Change),
    /// An admitted call ended: exactly one per admitted call.
    Record(Box<CallRecord>),
    /// Something worth a log line.
    Event(Event),
    /// The answer to a [`Command`].
    Reply(RequestId, Box<Reply>),
}

/// Why a connection is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The peer closed it in order.
    End,
    /// It could not be opened: refused, unreachable, no descriptor.
    Refused,
    /// It broke: reset, a time-out of the kernel.
    Reset,
    /// TLS failed: the handshake, or a record that is none. One sentence for the log.
    Tls(Box<str>),
}

/// What a peer has proved in its TLS handshake: the names in its certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerIdentity {
    /// DNS names and hosts of `sip:` URIs among the subject's alternative names (RFC 5922 §7.1),
    /// in lower case.
    pub names: Arc<[Box<str>]>,
}

/// Log severity of an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something an operator should look at.
    Warn,
    /// Normal life.
    Info,
    /// Detail of one call or message.
    Debug,
}

/// A log line of the core; the driver stamps and writes it off the hot path.
#[derive(Debug)]
pub struct Event {
    /// Severity.
    pub level: Level,
    /// Our id of the call it belongs to, as `sbc-ctl` shows it; empty when none.
    pub call: String,
    /// One sentence.
    pub text: String,
}

/// The record of one admitted call attempt, emitted when it has ended.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CallRecord {
    /// Our id of the call.
    pub call: String,
    /// Trunk the call came from.
    pub from_trunk: String,
    /// Trunk the call went to.
    pub to_trunk: String,
    /// Calling number (user part of From).
    pub caller: String,
    /// Called number (user part of the Request-URI).
    pub callee: String,
    /// Milliseconds since start-up at which the INVITE arrived.
    pub start_ms: u64,
    /// Milliseconds from INVITE to the first 18x, when there was one.
    pub ringing_ms: Option<u64>,
    /// Milliseconds from INVITE to the 2xx sent to the caller, when answered.
    pub answer_ms: Option<u64>,
    /// Milliseconds from INVITE to the end.
    pub end_ms: u64,
    /// Final SIP status given to the caller (200 when answered).
    pub status: u16,
    /// Who ended it and why, one of a fixed set of words.
    pub cause: &'static str,
    /// Every attempt to reach the callee, in their order. Empty when there was none: a transfer, a takeover.
    pub attempts: Vec<AttemptDetail>,
    /// What media came from each side, A first, when the call had some; of a call that was taken
    /// over, up to then. Counts of the side that stayed go on in the call that took over.
    pub media: Vec<MediaDetail>,
}

/// What the calls of a shard were found to hold, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardAudit {
    /// Calls that were gone through.
    pub calls: u64,
    /// Of each limit, by its number: channels that these calls hold.
    pub held: Vec<u64>,
    /// What was counted in two ways.
    pub counts: Vec<AuditCount>,
}

/// One thing, counted in two ways that must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCount {
    /// What was counted, one of a fixed set of names.
    pub what: &'static str,
    /// What the owner of the resource says is in use.
    pub counted: u64,
    /// What was found with those that use it.
    pub found: u64,
}

/// What the control thread asks of a shard.
#[derive(Clone, Debug)]
pub enum Command {
    /// Use this configuration from now on. Made after the one in use ([`crate::config::Config::succeed`]), it has the
    /// same ids.
    Configure(Arc<Snapshot>),
    /// What calls hold of the configuration.
    Held,
    /// Up to `limit` calls, starting after slot `after`.
    Calls {
        /// Continue after this slot (`CallSummary::slot` of the last row seen).
        after: Option<u32>,
        /// Most rows to return.
        limit: usize,
    },
    /// One call by its id.
    CallShow(String),
    /// End one call by its id: BYE or CANCEL and final response to both sides.
    Hangup(String),
    /// Refuse new calls (`true`) or accept them again.
    Drain(bool),
    /// End every call now: BYE or CANCEL and a final response to both sides.
    HangupAll,
    /// The addresses of all trunks.
    Addresses,
    /// The answer to an [`Output::Resolve`].
    Resolved(QueryId, Result<Resolved, ResolveError>),
    /// Where users are that a shard has bound, or that were bound before we started; and the tickets of this shard whose
    /// bindings are stored and known to all.
    Bindings {
        /// Each in place of the one before.
        records: Arc<[Arc<Record>]>,
        /// As in [`Change`].
        stored: Arc<[u64]>,
        /// The disk has failed or takes too long: these bindings hold, but would not survive a restart.
        unsaved: bool,
    },
    /// Media port pairs of each interface.
    MediaPairs,
    /// How busy the shard is.
    Load,
    /// Count what calls hold, and compare.
    Audit,
    /// Counters and gauges.
    Stats,
    /// The calls of trunks, lately and ever.
    Traffic,
}

/// What calls hold of the configuration: as long as they do, it cannot be given to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Trunks that calls are with.
    pub trunks: BTreeSet<TrunkId>,
    /// When the oldest call began.
    pub oldest: Option<Timestamp>,
}

impl Held {
    /// What another shard's calls hold, too.
    pub fn add(&mut self, other: Self) {
        self.trunks.extend(other.trunks);
        self.oldest = self.oldest.into_iter().chain(other.oldest).min();
    }
}

/// A shard's answer.
#[derive(Debug)]
pub enum Reply {
    /// Done.
    Done,
    /// Answer to [`Command::Held`].
    Held(Held),
    /// No call has that id.
    NoSuchCall,
    /// Answer to [`Command::Calls`].
    Calls(Vec<CallSummary>),
    /// Answer to [`Command::CallShow`].
    Call(Box<CallDetail>),
    /// Answer to [`Command::Addresses`], in the order of the trunks.
    Addresses(Vec<Vec<TrunkAddress>>),
    /// Answer to [`Command::MediaPairs`]: of each interface that has pairs bound, in their order, those in use and
    /// those in quarantine.
    MediaPairs(Vec<(u64, u64)>),
    /// Answer to [`Command::Load`].
    Load(Load),
    /// Answer to [`Command::Audit`].
    Audit(ShardAudit),
    /// Answer to [`Command::Traffic`], in the order of the trunks.
    Traffic(Vec<TrunkTraffic>),
    /// Answer to [`Command::Stats`].
    Stats(Box<ShardCounters>, Gauges),
}
