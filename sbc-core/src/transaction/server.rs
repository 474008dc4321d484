//! INVITE server transactions (§17.2.1, RFC 6026): INVITEs that wait for our final response, or
//! for the ACK of our refusal. Other requests are answered at once and are only ever tombstones.

use super::{Echo, Hop, Key, Owner};
use crate::timer_wheel::TimerKey;
use bytes::Bytes;
use std::time::Duration;

/// §17.2.1. Confirmed and Accepted are tombstones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerState {
    /// No final response yet.
    Proceeding,
    /// Refused; waiting for ACK.
    Completed,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) key: Key,
    pub(crate) state: ServerState,
    pub(crate) hop: Hop,
    /// The header fields that every response repeats; empty once a final response exists.
    pub(crate) echo: Echo,
    /// The last response sent, repeated when the request is.
    pub(crate) last: Bytes,
    /// The call, until the final response.
    pub(crate) owner: Owner,
    pub(crate) interval: Duration,
    pub(crate) resend: Option<TimerKey>,
    pub(crate) expire: Option<TimerKey>,
}
