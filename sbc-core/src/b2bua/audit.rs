//! An audit: what limits, pools and timers say is in use, against what calls are found to hold.
//!
//! In: all calls of the shard, at one moment: nothing moves on a shard while it is counted. Out: a [`ShardAudit`]. The
//! channels of limits are shared by all shards, so whoever asked adds them up.

use super::{Call, Leg, Phase, PortPool, Takeover};
use crate::{
    admission::Permit,
    alarm::Alarm,
    io::{AuditCount, ShardAudit},
    shard::Shard,
    timer_wheel::TimerKey,
};
use sbc_media::relay::PairIndex;

impl Shard {
    /// Count what calls hold.
    pub fn audit(&self) -> ShardAudit {
        let timers = &self.io.timers;
        let mut audit = ShardAudit {
            calls: self.calls.len() as u64,
            held: vec![0; self.admission.len()],
            counts: Vec::new(),
        };
        let (mut pairs, mut keys): (Vec<PairIndex>, Vec<TimerKey>) = (Vec::new(), Vec::new());
        let (mut over, mut idle) = (0, 0);
        for (_, call) in &self.calls {
            let mut permits = 0;
            for permit in call.permits() {
                permits += 1;
                for limit in permit.limits() {
                    if let Some(held) = audit.held.get_mut(limit.0 as usize) {
                        *held += 1;
                    }
                }
            }
            // A call that is over has given its channels back.
            if call.phase == Phase::Over {
                over += 1;
                idle += u64::from(permits == 0);
            }
            call.visit_pairs(&mut |pair| pairs.push(pair));
            call.visit_timers(&mut |key| keys.push(key));
        }
        keys.extend(self.paced.timers());
        let found = pairs.len() as u64;
        pairs.sort_unstable_by_key(|pair| pair.0);
        pairs.dedup();
        audit.counts = vec![
            AuditCount {
                what: "media_pairs",
                counted: PortPool::usage(&self.ports)
                    .map(|(in_use, _)| in_use as u64)
                    .sum(),
                found,
            },
            AuditCount {
                what: "media_pairs_of_one_call_each",
                counted: found,
                found: pairs.len() as u64,
            },
            AuditCount {
                what: "ended_calls_without_channels",
                counted: over,
                found: idle,
            },
            AuditCount {
                what: "timers",
                counted: timers.len() as u64,
                found: timers.iter().count() as u64,
            },
            AuditCount {
                what: "call_timers",
                counted: timers.iter().filter(is_of_call).count() as u64,
                found: keys.into_iter().filter(|key| timers.is_armed(*key)).count() as u64,
            },
        ];
        audit.counts.extend(self.transactions.audit(timers));
        audit
    }
}

fn is_of_call(alarm: &Alarm) -> bool {
    match alarm {
        Alarm::Server(..) | Alarm::Client(..) | Alarm::ClientCancel(_) | Alarm::Connection(_) => false,
        Alarm::AnswerResend(..)
        | Alarm::AnswerExpire(..)
        | Alarm::NoAnswer(_)
        | Alarm::NoRingback(_)
        | Alarm::ExchangeExpire(_)
        | Alarm::TransferExpire(_)
        | Alarm::ReliableResend(_)
        | Alarm::ReliableExpire(_)
        | Alarm::SessionTimer(..)
        | Alarm::MediaCheck(_)
        | Alarm::HoldCheck(_)
        | Alarm::Held(_) => true,
    }
}

impl Call {
    /// Those who are to join the call.
    fn joining(&self) -> impl Iterator<Item = &Takeover> {
        let asks = self
            .exchange
            .as_ref()
            .and_then(|exchange| exchange.takeover.as_deref());
        let called = self.transfer.as_ref().map(|transfer| &*transfer.takeover);
        asks.into_iter().chain(called)
    }

    /// The permits that it holds.
    fn permits(&self) -> impl Iterator<Item = &Permit> {
        self.permit
            .iter()
            .chain(self.joining().map(|takeover| &takeover.permit))
    }

    /// The same, for giving them back.
    pub(crate) fn into_permits(mut self) -> impl Iterator<Item = Permit> {
        let asks = self.exchange.take().and_then(|exchange| exchange.takeover);
        let called = self.transfer.take().map(|transfer| transfer.takeover);
        let joining = asks.into_iter().chain(called).map(|takeover| takeover.permit);
        self.permit.take().into_iter().chain(joining)
    }

    fn visit_pairs(&self, visit: &mut dyn FnMut(PairIndex)) {
        self.media
            .iter()
            .flat_map(|media| media.pairs)
            .for_each(&mut *visit);
        let joining = self.joining().filter_map(|takeover| takeover.pair);
        joining.for_each(|ports| visit(ports.pair));
    }

    fn visit_timers(&self, visit: &mut dyn FnMut(TimerKey)) {
        let legs = [&self.a, &self.b].into_iter();
        for leg in legs.chain(self.joining().map(|takeover| &takeover.leg)) {
            leg.visit_timers(visit);
        }
        let exchange = self.exchange.as_ref().and_then(|exchange| exchange.ceiling);
        let transfer = self.transfer.as_ref().and_then(|transfer| transfer.watch);
        let unacked = self
            .early
            .as_ref()
            .and_then(|early| early.caller.unacked.as_ref());
        let reliable = unacked.map_or([None; 2], |unacked| [unacked.resend, unacked.expire]);
        let all = [
            self.watch,
            self.ringback_watch,
            self.hold_watch,
            exchange,
            transfer,
        ];
        all.into_iter().chain(reliable).flatten().for_each(visit);
    }
}

impl Leg {
    fn visit_timers(&self, visit: &mut dyn FnMut(TimerKey)) {
        let answer = self
            .answer
            .as_ref()
            .map_or([None; 2], |answer| [answer.resend, answer.expire]);
        let session = self.timer.as_ref().map(|timer| timer.key);
        answer.into_iter().chain([session]).flatten().for_each(visit);
    }
}
