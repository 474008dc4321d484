//! Commands of the control thread.

use super::{Command, Gauges, Output, Reply, RequestId, Shard};
use crate::time::Timestamp;
use sbc_media::relay::DropReason;

impl Shard {
    /// A command of the control thread. Answered by exactly one [`Output::Reply`] with its id.
    pub fn handle_command(&mut self, now: Timestamp, id: RequestId, command: Command) {
        self.io.now = now;
        let reply = match command {
            Command::Configure(snapshot) => {
                self.configure(now, snapshot);
                Reply::Done
            }
            Command::Held => Reply::Held(self.held()),
            Command::Calls { after, limit } => Reply::Calls(self.call_rows(now, after, limit)),
            Command::CallShow(call) => match self
                .call_by_id(&call)
                .and_then(|slot| self.call_detail(now, slot))
            {
                Some(detail) => Reply::Call(Box::new(detail)),
                None => Reply::NoSuchCall,
            },
            Command::Hangup(call) => match self.call_by_id(&call) {
                Some(slot) => {
                    self.end(now, slot, 480, "operator");
                    Reply::Done
                }
                None => Reply::NoSuchCall,
            },
            Command::Drain(draining) => {
                self.draining = draining;
                if draining {
                    self.give_up_held(now);
                }
                self.leave_registrars(now);
                self.run_registrations(now);
                Reply::Done
            }
            Command::HangupAll => {
                let slots: Vec<u32> = self.calls.iter().map(|(slot, _)| slot as u32).collect();
                for slot in slots {
                    self.end(now, slot, 480, "shutdown");
                }
                Reply::Done
            }
            Command::Addresses => Reply::Addresses(self.trunk_addresses(now)),
            Command::Resolved(id, outcome) => {
                self.handle_resolved(now, id, outcome);
                Reply::Done
            }
            Command::Bindings {
                records,
                stored,
                unsaved,
            } => {
                self.take_bindings(now, &records, &stored, unsaved);
                Reply::Done
            }
            Command::MediaPairs => Reply::MediaPairs(
                self.ports
                    .usage()
                    .map(|(in_use, resting)| (in_use as u64, resting as u64))
                    .collect(),
            ),
            Command::Load => Reply::Load(self.load()),
            Command::Audit => Reply::Audit(self.audit()),
            Command::Traffic => Reply::Traffic(self.traffic.view(now)),
            Command::Stats => Reply::Stats(Box::new(self.counters()), self.gauges()),
        };
        self.tell_of_losses(now);
        self.io.outputs.push_back(Output::Reply(id, Box::new(reply)));
    }

    /// Counters of signalling and media together.
    pub fn counters(&self) -> crate::counters::ShardCounters {
        let mut counters = self.io.counters.clone();
        let media = self.relay.counters();
        counters.media_received = media.received;
        counters.media_forwarded = media.forwarded;
        counters.media_no_session = media.drops(DropReason::NoSession);
        counters.media_malformed = media.drops(DropReason::Malformed);
        counters.media_wrong_source = media.drops(DropReason::WrongSource);
        counters.media_no_destination = media.drops(DropReason::NoDestination);
        counters.media_format = media.drops(DropReason::Format);
        counters.media_digits = media.drops(DropReason::Digit);
        counters.media_reframed = media.drops(DropReason::Reframed);
        counters.media_displaced = media.drops(DropReason::Displaced);
        counters.media_originated = media.originated;
        counters.media_bad_tag = media.drops(DropReason::Unauthentic);
        counters.media_replayed = media.drops(DropReason::Replayed);
        counters.media_srtp_failed = media.drops(DropReason::Exhausted) + media.drops(DropReason::NoRoom);
        counters
    }

    /// What the shard holds right now.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            calls: self.calls.len() as u64,
            media_pairs: self.ports.usage().map(|(in_use, _)| in_use as u64).sum(),
            media_pairs_quarantined: self.ports.usage().map(|(_, resting)| resting as u64).sum(),
            transactions: self.transactions.len() as u64,
            tombstones: self.transactions.tombstones() as u64,
            timers: self.io.timers.len() as u64,
            connections: self.io.streams.len() as u64,
            registrars_to_leave: self.leaving() as u64,
        }
    }
}
