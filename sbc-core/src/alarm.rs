//! What can fall due in a shard: the timers of RFC 3261 §17 by their names, and everything else that
//! waits in the timer wheel.

use crate::id::Side;
use std::time::Duration;

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
    /// A call did not ring in time.
    NoRingback(u32),
    /// A re-INVITE has been without a final response for too long.
    ExchangeExpire(u32),
    /// The target of a transfer rang for too long.
    TransferExpire(u32),
    /// A reliable provisional response is due again (RFC 3262 §3).
    ReliableResend(u32),
    /// A reliable provisional response was never acknowledged.
    ReliableExpire(u32),
    /// A leg's session is to be refreshed, or has expired (RFC 4028).
    SessionTimer(u32, Side),
    /// Look whether media still flows.
    MediaCheck(u32),
    /// Look whether a side that holds the other sends anything.
    HoldCheck(u32),
    /// A place in the rate of this limit has come, for a call that waits.
    Held(u32),
    /// Something about the connection in this slot must have happened by now.
    Connection(u32),
}

/// What a transaction's timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Timer {
    /// When to send an INVITE again: T1, doubling without a cap (§17.1.1.2).
    A,
    /// When to give up on an INVITE without any response: 64·T1.
    B,
    /// When to send another request again: T1, doubling up to T2 (§17.1.2.2).
    E,
    /// When to give up on another request: 64·T1.
    F,
    /// When to send a failure response to INVITE again: T1, doubling up to T2 (§17.2.1).
    G,
    /// When to stop waiting for the ACK of a failure response: 64·T1.
    H,
}

/// The base values of RFC 3261 §17.1.1.1, from which all timers follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Base {
    /// Estimate of the round-trip time; 500 ms.
    pub t1: Duration,
    /// Longest interval between retransmissions of non-INVITE requests and of responses; 4 s.
    pub t2: Duration,
    /// How long a message stays in the network; 5 s.
    pub t4: Duration,
}

impl Base {
    /// 64·T1: timers B, F, H, and on UDP also D, J, L and M.
    pub fn give_up(&self) -> Duration {
        self.t1 * 64
    }

    /// The next interval of a timer that doubles up to T2 (E and G, and 2xx retransmission §13.3.1.4).
    pub fn doubled(&self, interval: Duration) -> Duration {
        (interval * 2).min(self.t2)
    }
}
