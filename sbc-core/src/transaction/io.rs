//! What every layer of a shard writes to: outputs, counters, timers, and the buffer in which
//! messages are composed.

use super::{Hop, Side, Timer};
use crate::{counters::ShardCounters, io::Output, timer_wheel::TimerWheel};
use bytes::Bytes;
use std::collections::VecDeque;

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
    /// A re-INVITE has been without a final response for too long.
    ExchangeExpire(u32),
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
