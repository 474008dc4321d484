//! Attempts to reach a callee, as the admin protocol and the records of calls have them.

use serde::{Deserialize, Serialize};

/// One attempt to reach the callee of a call. Times are milliseconds since the call came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptDetail {
    /// Trunk.
    pub trunk: String,
    /// Address that the INVITE went to; empty: none was sent, the trunk was passed over.
    pub address: String,
    /// When the INVITE was sent.
    pub start_ms: u64,
    /// When the callee's side rang first (18x).
    pub ringing_ms: Option<u64>,
    /// When it ended; answered ones end with the answer.
    pub end_ms: Option<u64>,
    /// Its final status, when it had one.
    pub status: Option<u16>,
    /// What became of it, one of a fixed set of words (docs/ROUTING.md); `None`: it is under way.
    pub reason: Option<String>,
}
