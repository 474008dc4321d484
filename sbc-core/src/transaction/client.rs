//! Client transactions (§17.1): requests that we sent and whose final response is awaited.

use super::{Hop, Owner, timer::Timer};
use crate::{sip::Method, timer_wheel::TimerKey};
use bytes::Bytes;
use std::time::Duration;

/// §17.1.1.2 and §17.1.2.2. Completed, Accepted and Terminated are tombstones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientState {
    /// Sent, nothing heard (for non-INVITE: Trying).
    Calling,
    /// A provisional response came.
    Proceeding,
}

#[derive(Debug)]
pub(crate) struct Client {
    /// Random part of our branch.
    pub(crate) nonce: u64,
    pub(crate) method: Method,
    pub(crate) state: ClientState,
    pub(crate) hop: Hop,
    /// The request as sent: repeated in Calling, and the model for ACK and CANCEL.
    pub(crate) request: Bytes,
    pub(crate) owner: Owner,
    pub(crate) cancel: Cancel,
    pub(crate) interval: Duration,
    pub(crate) resend: Option<(TimerKey, Timer)>,
    pub(crate) expire: Option<TimerKey>,
}

/// The CANCEL of an INVITE (§9.1). It shares the INVITE's branch and lives inside it: when the
/// INVITE has its final response, the CANCEL has no more purpose.
#[derive(Debug)]
pub(crate) enum Cancel {
    /// Not wanted.
    No,
    /// Wanted with this Reason value, but no provisional response has come yet.
    Wanted(Option<Bytes>),
    /// Sent; the bytes are repeated until answered.
    Sent {
        request: Bytes,
        interval: Duration,
        resend: Option<TimerKey>,
    },
}

impl Client {
    pub(crate) fn is_invite(&self) -> bool {
        self.method == Method::Invite
    }
}

/// What a response meant to the transaction that it belongs to.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    /// A provisional response other than 100.
    Provisional(Owner),
    /// A 2xx to INVITE. The transaction is now a tombstone that awaits to be told how to ACK.
    Success(Owner, super::Key),
    /// A final response: 3xx–6xx to INVITE (already acknowledged), any to another request.
    Final(Owner, Method),
    /// Nothing for the owner to do.
    Absorbed,
}

/// A client transaction ended without a final response.
#[derive(Debug)]
pub(crate) struct TimedOut {
    pub(crate) owner: Owner,
    pub(crate) method: Method,
    /// A CANCEL had been sent: the owner knows already.
    pub(crate) cancelled: bool,
}
