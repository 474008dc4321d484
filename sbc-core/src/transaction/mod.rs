//! Transactions (RFC 3261 §17, RFC 6026, RFC 4320): they absorb what the network repeats, repeat
//! what it loses, and acknowledge refusals, so that the call above sees each message once.
//!
//! In: parsed messages and fired timers. Out: bytes into [`Io::outputs`] and a verdict for the
//! call. A server transaction is found by a keyed hash of branch, sent-by and method; a client
//! transaction by the slot that its branch token names.

mod client;
mod reply;
mod server;
mod table;
mod timer;
mod tombstone;

pub(crate) use client::{Cancel, ClientEvent, ClientState, TimedOut};
pub(crate) use reply::{ALLOW, Echo, Extra, Reply};
pub(crate) use table::{ServerVerdict, TableConfig, Transactions};
pub use timer::{Base, Timer};
pub(crate) use tombstone::Ack;

use crate::{
    counters::ShardCounters,
    shard::{ListenerId, Output},
    sip::{Message, Method},
    timer_wheel::TimerWheel,
};
use ahash::RandomState;
use bytes::Bytes;
use std::{collections::VecDeque, net::SocketAddr};

/// One end of a path: our listener and the peer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) listener: ListenerId,
    pub(crate) peer: SocketAddr,
}

/// Side of a call: A called us, B is called by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}

/// Who hears of a transaction's events: a leg of a call, or nobody.
pub(crate) type Owner = Option<(u32, Side)>;

/// Identity of a server transaction, or of a finished client transaction: a keyed 128-bit hash.
pub(crate) type Key = u128;

/// What every layer of a shard writes to.
#[derive(Debug)]
pub(crate) struct Io {
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) counters: ShardCounters,
    pub(crate) timers: TimerWheel<Alarm>,
    /// Messages are composed here, then copied once to their exact size.
    pub(crate) scratch: Vec<u8>,
}

/// What a timer of the wheel is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// A server transaction's timer G or H.
    Server(u32, Timer),
    /// A client transaction's timer A, B, E or F.
    Client(u32, Timer),
    /// The CANCEL inside an INVITE client transaction is due again (its timer E).
    ClientCancel(u32),
    /// A leg's 2xx is due again (§13.3.1.4).
    AnswerResend(u32, Side),
    /// A leg's 2xx was never acknowledged.
    AnswerExpire(u32, Side),
    /// A call rang for too long.
    NoAnswer(u32),
    /// Look whether media still flows.
    MediaCheck(u32),
}

impl Io {
    /// Send `payload` and count it.
    pub(crate) fn transmit(&mut self, hop: Hop, payload: Bytes) {
        self.counters.sip_sent += 1;
        self.outputs.push_back(Output::Transmit {
            listener: hop.listener,
            peer: hop.peer,
            payload,
        });
    }

    /// The message composed in the scratch buffer, at its exact size.
    pub(crate) fn composed(&self) -> Bytes {
        Bytes::copy_from_slice(&self.scratch)
    }

    /// Send what was composed in the scratch buffer.
    pub(crate) fn transmit_composed(&mut self, hop: Hop) {
        let payload = self.composed();
        self.transmit(hop, payload);
    }
}

/// Keyed hashes that identify transactions. An attacker who does not know the seed cannot make
/// two messages collide.
#[derive(Debug)]
pub(crate) struct Keys([RandomState; 2]);

impl Keys {
    pub(crate) fn new(seed: u64) -> Self {
        Self([
            RandomState::with_seed(seed as usize),
            RandomState::with_seed(seed.rotate_left(32) as usize ^ 0x5bd1_e995),
        ])
    }

    fn hash(&self, what: u8, parts: &[&[u8]]) -> Key {
        let [hi, lo] = [0, 1].map(|i| self.0[i].hash_one((what, parts)));
        u128::from(hi) << 64 | u128::from(lo)
    }

    /// §17.2.3: branch, sent-by and method, where ACK belongs to its INVITE; without the cookie of
    /// RFC 3261, the fields that identified a request in RFC 2543. CANCEL finds its INVITE's key
    /// with `method` Invite.
    pub(crate) fn server(&self, request: &Message<'_>, method: Method) -> Key {
        let method = if method == Method::Ack {
            Method::Invite
        } else {
            method
        };
        if let Ok(via) = request.top_via()
            && let Some(branch) = via
                .branch
                .filter(|b| b.len() > 7 && b[..7].eq_ignore_ascii_case(b"z9hG4bK"))
        {
            let port = via.port.unwrap_or(5060).to_be_bytes();
            let name: &[u8] = if method == Method::Other {
                request.method_bytes()
            } else {
                &[]
            };
            return self.hash(method as u8, &[branch, via.host, &port, name]);
        }
        let (cseq, from_tag, via) = (
            request.cseq().map_or(0, |c| c.number),
            tag_of(request.from()),
            request.top_via(),
        );
        self.hash(
            method as u8 | 0x80,
            &[
                request.request_uri(),
                request.call_id().unwrap_or_default(),
                from_tag,
                &cseq.to_be_bytes(),
                via.map_or(&[][..], |v| v.raw),
            ],
        )
    }

    /// §8.2.2.2: the same request through another path has the same From tag, Call-ID and CSeq.
    pub(crate) fn merge(&self, request: &Message<'_>) -> Key {
        let cseq = request.cseq().map_or(0, |c| c.number);
        self.hash(
            0x7f,
            &[
                tag_of(request.from()),
                request.call_id().unwrap_or_default(),
                &cseq.to_be_bytes(),
            ],
        )
    }

    /// A finished client transaction, by its branch.
    pub(crate) fn client(&self, branch: &[u8]) -> Key {
        self.hash(0x7e, &[branch])
    }

    /// A surplus 2xx that was acknowledged and ended: branch and To tag.
    pub(crate) fn surplus(&self, branch: &[u8], to_tag: &[u8]) -> Key {
        self.hash(0x7d, &[branch, to_tag])
    }

    /// A hash of a tag; never zero.
    pub(crate) fn tag(&self, tag: &[u8]) -> u64 {
        self.0[0].hash_one(tag) | 1
    }
}

fn tag_of<'b, E>(address: Result<crate::sip::NameAddr<'b>, E>) -> &'b [u8] {
    address.ok().and_then(|a| a.tag()).unwrap_or_default()
}
