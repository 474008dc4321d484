//! The keys of one peer, and what is done with its packets under them.
//!
//! In: [`Keys`] as they were negotiated, and packets. Out: the packets in the clear, or protected.
//! A peer changes its key at a moment that nobody announces: what it sent before is still under way
//! when the SDP with the new key has arrived, and it may go on with the old key for a while. So the
//! old key stays until a packet under the new one has come, and [`GRACE`] longer; in that time what fails
//! under the new key is tried under the old one.

use super::DropReason;
use crate::{
    srtp::{MasterKey, Receiver, Refused, Sender, Unprotected},
    time::Timestamp,
};
use core::time::Duration;

/// How long a key is still good after the first packet under its successor. Longer than packets
/// overtake each other on any path that is fit for speech.
pub const GRACE: Duration = Duration::from_secs(1);

/// The longest packet that is tried under two keys. Longer ones are not audio.
const RETRIED_LEN_MAX: usize = 2048;

/// The keys of a pair (RFC 4568 §6.1: each side protects with its own).
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// The peer's: what comes from it is protected with this one.
    pub receive: MasterKey,
    /// Ours: what leaves for the peer is protected with this one.
    pub send: MasterKey,
    /// What our rollover counters do when `send` takes over from another key.
    pub roc: Roc,
}

/// What becomes of the rollover counters, and of the SRTCP index, when a key takes over from another. Of a peer's key
/// nobody needs to know: what comes under it tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Roc {
    /// They go on (RFC 3711 §3.3.1).
    #[default]
    Keep,
    /// They begin at 0, as some peers expect of each new key.
    Reset,
}

/// A key of the peer's, and what has been heard under it.
#[derive(Debug)]
struct Receiving {
    key: MasterKey,
    receiver: Receiver,
}

/// The key before the present one.
#[derive(Debug)]
struct Former {
    receiving: Receiving,
    /// Set by the first packet under the present key.
    until: Option<Timestamp>,
}

/// Both directions between us and one peer, RTP and RTCP.
#[derive(Debug)]
pub(super) struct Crypto {
    receiving: Receiving,
    former: Option<Former>,
    send_key: MasterKey,
    sender: Sender,
}

/// What opens a packet: [`Receiver::unprotect`] or [`Receiver::unprotect_rtcp`].
pub(super) type Open = fn(&mut Receiver, &mut [u8], usize) -> Result<usize, Refused>;

impl Crypto {
    pub(super) fn new(keys: &Keys) -> Self {
        Self {
            receiving: Receiving {
                key: keys.receive.clone(),
                receiver: Receiver::new(&keys.receive),
            },
            former: None,
            send_key: keys.send.clone(),
            sender: Sender::new(&keys.send),
        }
    }

    /// What was negotiated again. A direction whose key is the same goes on as if nothing had
    /// happened. Where it is another, rollover counters do as [`Keys::roc`] says.
    pub(super) fn set(&mut self, keys: &Keys) {
        if keys.send != self.send_key {
            match keys.roc {
                // Nothing may begin anew under a key that has been in use (RFC 3711 §9.1).
                _ if keys.send.shares(&self.send_key) => self.sender.reidentify(&keys.send),
                Roc::Keep => self.sender.rekey(&keys.send),
                Roc::Reset => self.sender = Sender::new(&keys.send),
            }
            self.send_key = keys.send.clone();
        }
        if keys.receive == self.receiving.key {
            return;
        }
        if keys.receive.shares(&self.receiving.key) {
            self.receiving.receiver.reidentify(&keys.receive);
            self.receiving.key = keys.receive.clone();
            self.former = None;
            return;
        }
        let next = match self.former.take() {
            // A change taken back: what was heard under that key is still known, so nothing of it
            // can be replayed.
            Some(former) if former.receiving.key == keys.receive => former.receiving,
            _ => Receiving {
                key: keys.receive.clone(),
                receiver: self.receiving.receiver.rekeyed(&keys.receive),
            },
        };
        self.former = Some(Former {
            receiving: core::mem::replace(&mut self.receiving, next),
            until: None,
        });
    }

    /// Check and decrypt the packet that is `buffer[..len]`; returns its new length.
    #[inline]
    pub(super) fn unprotect(
        &mut self,
        now: Timestamp,
        buffer: &mut [u8],
        len: usize,
        open: Open,
    ) -> Result<usize, DropReason> {
        if self.former.is_some() {
            return self.unprotect_in_grace(now, buffer, len, open);
        }
        open(&mut self.receiving.receiver, buffer, len).map_err(DropReason::from)
    }

    #[cold]
    fn unprotect_in_grace(
        &mut self,
        now: Timestamp,
        buffer: &mut [u8],
        len: usize,
        open: Open,
    ) -> Result<usize, DropReason> {
        let is_over = |former: &Former| former.until.is_some_and(|until| now >= until);
        if self.former.as_ref().is_some_and(is_over) {
            self.former = None;
        }
        // Whoever refuses a packet may have destroyed it.
        let mut copy = [0; RETRIED_LEN_MAX];
        let copy = match (copy.get_mut(..len), buffer.get(..len)) {
            (Some(copy), Some(packet)) => {
                copy.copy_from_slice(packet);
                copy
            }
            _ => &mut [],
        };
        let opened = open(&mut self.receiving.receiver, buffer, len);
        let Some(former) = &mut self.former else {
            return opened.map_err(DropReason::from);
        };
        if opened.is_ok() {
            former.until.get_or_insert(now + GRACE);
        }
        opened.or_else(|refused| {
            let again = buffer.get_mut(..copy.len()).unwrap_or_default();
            again.copy_from_slice(copy);
            let len = again.len();
            // What fails under both has failed under the one that counts.
            open(&mut former.receiving.receiver, again, len).map_err(|_| refused.into())
        })
    }

    /// Protect the RTP packet that is `buffer[..len]`; returns its new length.
    #[inline]
    pub(super) fn protect(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, DropReason> {
        self.sender.protect(buffer, len).map_err(DropReason::from)
    }

    /// Protect the RTCP packet that is `buffer[..len]`; returns its new length.
    pub(super) fn protect_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, DropReason> {
        self.sender.protect_rtcp(buffer, len).map_err(DropReason::from)
    }
}

impl From<Refused> for DropReason {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Malformed => Self::Malformed,
            Refused::BadTag => Self::Unauthentic,
            Refused::Replayed => Self::Replayed,
            Refused::Exhausted | Refused::TooManySources => Self::Exhausted,
        }
    }
}

impl From<Unprotected> for DropReason {
    fn from(unprotected: Unprotected) -> Self {
        match unprotected {
            Unprotected::Malformed => Self::Malformed,
            Unprotected::NoRoom => Self::NoRoom,
            Unprotected::Repeated => Self::Replayed,
            Unprotected::Exhausted | Unprotected::TooManySources => Self::Exhausted,
        }
    }
}
