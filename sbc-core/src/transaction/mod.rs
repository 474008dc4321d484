//! Transactions (RFC 3261 §17, RFC 6026, RFC 4320): they absorb what the network repeats, repeat
//! what it loses, and acknowledge refusals, so that the call above sees each message once.
//!
//! In: parsed messages and fired timers. Out: bytes into `Io::outputs` and a verdict for the
//! call. A server transaction is found by a keyed hash of branch, sent-by and method; a client
//! transaction by the slot that its branch token names.

mod ack;
mod audit;
mod challenge;
mod client;
mod io;
mod key;
mod large;
mod reply;
mod server;
mod states;
mod table;
mod tombstone;

pub(crate) use client::{ClientEvent, TimedOut};
pub(crate) use io::Io;
pub(crate) use key::{Key, Keys};
pub(crate) use reply::{ALLOW, Echo, Extra, Reply, met_hop, retry_after};
pub(crate) use states::STATES;
pub(crate) use table::{ServerVerdict, TableConfig, Transactions};
pub(crate) use tombstone::Ack;

pub use crate::alarm::{Base, Timer};
pub(crate) use crate::{alarm::Alarm, id::Side, transport::Hop};

/// Who hears of a transaction's events: a leg of a call, or nobody.
pub(crate) type Owner = Option<(u32, Side)>;
