//! Call control: timers, and a shard that meets a message it knows.

use crate::{Operation, input};
use sbc_core::{
    config,
    shard::{Command, ListenerId, Output, Shard, ShardId},
    time::Timestamp,
    timer_wheel::TimerWheel,
};
use sbc_media::relay::PairIndex;
use std::{hint::black_box, net::SocketAddr, sync::Arc, time::Duration};

/// A shard with one call in progress whose INVITE keeps coming.
#[derive(Debug)]
pub struct Retransmission {
    shard: Shard,
    peer: SocketAddr,
    now: Timestamp,
}

impl Default for Retransmission {
    fn default() -> Self {
        Self::new()
    }
}

impl Retransmission {
    /// The built-in configuration, one shard, the first INVITE received.
    ///
    /// # Panics
    /// When the built-in configuration does not compile, or the INVITE does not make a call.
    pub fn new() -> Self {
        let (snapshot, admission) = config::default_config()
            .compile()
            .expect("the built-in configuration");
        let mut shard = Shard::new(ShardId(0), 1, Arc::new(snapshot), Arc::new(admission), 1, 2);
        for pair in 0..4u16 {
            shard.add_media_pair(
                sbc_core::id::InterfaceId(0),
                PairIndex(u32::from(pair)),
                20_000 + 2 * pair,
            );
        }
        let peer = SocketAddr::from(([127, 0, 0, 2], 5060));
        let mut this = Self {
            shard,
            peer,
            now: Timestamp::from_millis(1),
        };
        // 100 to the caller, INVITE to the callee.
        assert_eq!(this.receive(), 2, "the INVITE must make a call");
        assert_eq!(
            this.receive(),
            1,
            "a repeated INVITE is answered by its transaction"
        );
        this
    }

    /// The INVITE once more: source look-up, parse, transaction match, the 100 again. How many messages left.
    pub fn receive(&mut self) -> usize {
        self.shard
            .handle_datagram(self.now, ListenerId(0), self.peer, input::INVITE.as_bytes());
        std::iter::from_fn(|| self.shard.poll_output())
            .filter(|output| matches!(output, Output::Transmit { .. }))
            .count()
    }
}

/// A shard wants its calls ended before it goes: the permits they hold belong to the whole process.
impl Drop for Retransmission {
    fn drop(&mut self) {
        self.shard.handle_command(self.now, 0, Command::HangupAll);
        while let Some(due) = self.shard.poll_timeout() {
            self.shard.handle_timeout(due);
            while self.shard.poll_output().is_some() {}
        }
    }
}

/// 100,000 armed timers, as a shard has with some ten thousand calls.
#[derive(Debug)]
pub struct Timers {
    wheel: TimerWheel<u32>,
    now: Timestamp,
}

impl Default for Timers {
    fn default() -> Self {
        Self::new()
    }
}

impl Timers {
    /// Spread over 32 seconds.
    pub fn new() -> Self {
        let mut wheel = TimerWheel::new(Timestamp::ZERO);
        for n in 0..100_000u32 {
            wheel.insert(Timestamp::from_millis(3_600_000 + u64::from(n % 32_000)), n);
        }
        Self {
            wheel,
            now: Timestamp::ZERO,
        }
    }

    /// What nearly every SIP timer does: armed, then cancelled by the message it waited for.
    pub fn arm_and_cancel(&mut self) -> bool {
        let key = self.wheel.insert(self.now + Duration::from_millis(500), 7);
        self.wheel.cancel(key)
    }

    /// Armed and fired a millisecond later.
    pub fn arm_and_fire(&mut self) -> bool {
        self.now = self.now + Duration::from_millis(1);
        self.wheel.insert(self.now, 7);
        self.wheel.pop_due(self.now).is_some()
    }
}

/// The operations of this file for the instruction counter. `arm-and-fire` has no place here: time would run
/// into the timers armed beforehand.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "retransmission",
        stands_for: "a repeated INVITE met by its transaction, whole way through the shard",
        run: |n| {
            let mut bench = Retransmission::new();
            for _ in 0..n {
                black_box(bench.receive());
            }
        },
    },
    Operation {
        name: "timer",
        stands_for: "arm and cancel a timer among 100,000",
        run: |n| {
            let mut timers = Timers::new();
            for _ in 0..n {
                black_box(timers.arm_and_cancel());
            }
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operations_do_what_they_stand_for() {
        assert_eq!(Retransmission::new().receive(), 1);
        let mut timers = Timers::new();
        assert!(timers.arm_and_cancel() && timers.arm_and_fire());
        assert_eq!(timers.wheel.len(), 100_000);
    }
}
