//! The attempts of a call, one after the other: for its record and for operators.

use super::Call;
use crate::{admin::protocol::AttemptDetail, shard::Shard, time::Timestamp, trunk::TrunkId};
use smallvec::SmallVec;
use std::net::SocketAddr;

/// What became of the attempts of a call, in their order. A rule has few trunks and a call few INVITEs, so it
/// is bounded.
pub(crate) type History = SmallVec<[Attempt; 1]>;

/// One attempt to reach the callee.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(super) trunk: TrunkId,
    /// Where the INVITE went; `None`: none was sent, the trunk was passed over.
    peer: Option<SocketAddr>,
    started: Timestamp,
    /// The first 18x.
    ringing: Option<Timestamp>,
    ended: Option<Ending>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug)]
struct Ending {
    at: Timestamp,
    /// Final status; 0: there was none.
    status: u16,
    reason: &'static str,
}

impl Attempt {
    /// An INVITE that is sent now.
    pub(super) fn begun(now: Timestamp, trunk: TrunkId, peer: SocketAddr) -> Self {
        Self {
            trunk,
            peer: Some(peer),
            started: now,
            ringing: None,
            ended: None,
        }
    }

    /// A trunk that was passed over.
    pub(super) fn skipped(now: Timestamp, trunk: TrunkId, reason: &'static str) -> Self {
        Self {
            trunk,
            peer: None,
            started: now,
            ringing: None,
            ended: Some(Ending {
                at: now,
                status: 0,
                reason,
            }),
        }
    }
}

impl Call {
    /// The callee's side rings.
    pub(super) fn attempt_rings(&mut self, now: Timestamp) {
        if let Some(attempt) = self.history.last_mut() {
            attempt.ringing.get_or_insert(now);
        }
    }

    /// When the call came to the trunk that it is at now.
    pub(super) fn seized(&self) -> Option<Timestamp> {
        let here = |attempt: &&Attempt| attempt.trunk == self.b.trunk && attempt.peer.is_some();
        let attempts = self.history.iter().rev().take_while(here);
        attempts.last().map(|attempt| attempt.started)
    }

    /// The attempt under way, if there is one, has come to this. `status` 0: it had no final response.
    pub(super) fn end_attempt(&mut self, now: Timestamp, status: u16, reason: &'static str) {
        if let Some(attempt) = self.history.last_mut() {
            attempt.ended.get_or_insert(Ending {
                at: now,
                status,
                reason,
            });
        }
    }
}

impl Shard {
    /// The attempts of a call that began at `started`.
    pub(super) fn attempt_details(&self, started: Timestamp, history: &[Attempt]) -> Vec<AttemptDetail> {
        let since = |at: Timestamp| at.since(started).as_millis() as u64;
        let detail = |attempt: &Attempt| AttemptDetail {
            trunk: self.trunk_name(attempt.trunk).to_owned(),
            address: attempt.peer.map_or_else(String::new, |peer| peer.to_string()),
            start_ms: since(attempt.started),
            ringing_ms: attempt.ringing.map(since),
            end_ms: attempt.ended.map(|ended| since(ended.at)),
            status: attempt
                .ended
                .map(|ended| ended.status)
                .filter(|status| *status != 0),
            reason: attempt.ended.map(|ended| ended.reason.to_owned()),
        };
        history.iter().map(detail).collect()
    }
}
