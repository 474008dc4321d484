//! SIP over streams: TCP, and TLS as it is inside (RFC 3261 §18, RFC 5626, ideas of RFC 5923).
//!
//! In: what the driver tells of connections, and messages to be sent. Out: whole messages ([`Framer`]),
//! [`crate::io::Output`]s, and which connections and requests are lost. The shard's `connections` joins this to
//! the rest.
//!
//! | state | entered by | left by |
//! |---|---|---|
//! | opening | `Connect` to a peer; accepted TLS | `connected`; the peer, a deadline |
//! | open | `connected`; accepted TCP | the peer, a deadline, a bound, a fault in the stream |
//!
//! A connection belongs to the shard that opened or accepted it. A message goes by the connection that it names
//! (its flow), else by any that leads to the same peer, else by a new one; while that opens, messages wait with
//! it. A connection carries calls but no call depends on it: when it has gone, the next message opens another.
//!
//! Every deadline of a connection (open in time, whole messages in time, bytes read by the peer in time, not
//! silent for ever, keepalive) is one timer: it is armed for the earliest and looks again when it fires, so that
//! messages need not touch it.

mod connection;
mod framing;
mod table;

pub use framing::{Fault, Frame, Framer};
pub(crate) use table::{Connections, Lost, Outlet, Way};
