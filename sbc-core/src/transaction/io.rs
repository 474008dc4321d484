//! What every layer of a shard writes to: outputs, counters, timers, and the buffer in which
//! messages are composed.

use super::Hop;
use crate::{
    alarm::Alarm,
    counters::ShardCounters,
    io::Output,
    stream::{Connections, Lost, Outlet, Way},
    time::Timestamp,
    timer_wheel::TimerWheel,
};
use bytes::Bytes;
use std::collections::VecDeque;

/// What every layer of a shard writes to.
#[derive(Debug)]
pub(crate) struct Io {
    /// The time of the call that is being served.
    pub(crate) now: Timestamp,
    pub(crate) outputs: VecDeque<Output>,
    pub(crate) counters: ShardCounters,
    pub(crate) timers: TimerWheel<Alarm>,
    pub(crate) streams: Connections,
    /// Messages are composed here, then copied once to their exact size.
    pub(crate) scratch: Vec<u8>,
}

impl Io {
    /// Send `payload` and count it: the one place where a way is chosen.
    pub(crate) fn transmit(&mut self, hop: Hop, payload: Bytes) -> Way {
        self.counters.sip_sent += 1;
        if self.is_reliable(hop) {
            let (streams, mut out) = self.streams();
            return streams.send(&mut out, hop, payload);
        }
        self.outputs.push_back(Output::Transmit {
            listener: hop.listener,
            peer: hop.peer,
            payload,
        });
        Way::Datagram
    }

    /// `hop` as the client transaction in `slot` remembers it, whose request went this `way`: ACK and
    /// CANCEL follow, and the transaction hears of it when the connection breaks.
    pub(crate) fn bound(&mut self, hop: Hop, way: Way, slot: u32, nonce: u64) -> Hop {
        match way {
            Way::Datagram => hop,
            Way::Stream(flow) => {
                self.streams.bind(flow);
                Hop {
                    flow: Some(flow),
                    ..hop
                }
            }
            Way::Nowhere => {
                self.streams.lost.push(Lost::Request { slot, nonce });
                Hop { flow: None, ..hop }
            }
        }
    }

    /// Whether the way to `hop` is a stream: nothing is lost or repeated on it (§17).
    pub(crate) fn is_reliable(&self, hop: Hop) -> bool {
        self.streams.transport(hop.listener).is_reliable()
    }

    /// The connections, and what they write to.
    pub(crate) fn streams(&mut self) -> (&mut Connections, Outlet<'_>) {
        let out = Outlet {
            now: self.now,
            outputs: &mut self.outputs,
            counters: &mut self.counters,
            timers: &mut self.timers,
        };
        (&mut self.streams, out)
    }

    /// The message composed in the scratch buffer, at its exact size.
    pub(crate) fn composed(&self) -> Bytes {
        Bytes::copy_from_slice(&self.scratch)
    }

    /// Send what was composed in the scratch buffer.
    pub(crate) fn transmit_composed(&mut self, hop: Hop) -> Way {
        let payload = self.composed();
        self.transmit(hop, payload)
    }
}
