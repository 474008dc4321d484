//! A whole shard under arbitrary sequences of what peers, the driver and the operator do.
//!
//! The bytes are a program. The first two say how the shard is configured; each operation is a byte and its
//! operands. Most operations follow from what the shard has sent (its requests are answered, its dialogs are
//! used), so that mutations stay deep inside calls. At the end everything is hung up and all time passes:
//! nothing may be left.

mod peer;
mod world;

use sbc_core::{
    id::ConnectionId,
    io::{Closed, Command},
    resolve::ResolveError,
    time::Timestamp,
    transport::Hop,
};
use std::time::Duration;
use world::{Dial, Side, TCP, World};

/// Most operations of one program.
const OPERATIONS_MAX: usize = 96;

const PAUSES_MS: [u64; 16] = [
    0, 5, 100, 500, 600, 1_000, 2_000, 4_000, 5_000, 10_000, 16_000, 32_000, 64_000, 100_000, 200_000,
    2_000_000,
];

/// The bytes that are left; zeros behind the end.
pub(crate) struct Program<'p>(&'p [u8]);

impl Program<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    /// One of `all`.
    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        let at = usize::from(self.byte());
        all.get(at % all.len().max(1)).copied()
    }

    pub(crate) fn side(&mut self) -> Side {
        if self.byte() & 1 == 0 { Side::A } else { Side::B }
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.pick(&PAUSES_MS).unwrap_or_default())
    }
}

/// Runs the program.
pub(crate) fn run(bytes: &[u8]) {
    let mut program = Program(bytes);
    let variant = u16::from_le_bytes([program.byte(), program.byte()]);
    let mut world = World::new(variant);
    for _ in 0..OPERATIONS_MAX {
        if program.0.is_empty() {
            break;
        }
        step(&mut world, &mut program);
        world.check();
    }
    world.finish();
}

fn step(world: &mut World, program: &mut Program<'_>) {
    match program.byte() % 32 {
        0..=7 => peer::answer(world, program),
        8..=14 => peer::ask(world, program),
        15..=17 => peer::invite(world, program),
        18 => {
            let pause = program.pause();
            world.pass(pause);
        }
        19 => {
            // Timers late, all at once.
            let pause = program.pause();
            world.now = world.now + pause;
            world.run_timers();
        }
        // Messages before the timers that are due.
        20 => world.now = world.now + program.pause(),
        21 => peer::repeat(world, program),
        22 => {
            let dial = program.byte();
            world.dial = [Dial::Succeed, Dial::Refuse, Dial::Wait][usize::from(dial % 3)];
            world.slow = dial & 0x40 != 0;
            world.silent_names = dial & 0x80 != 0;
        }
        23 => connection(world, program),
        24 => {
            let names = std::mem::take(&mut world.names);
            for id in names {
                let outcome = match program.byte() % 4 {
                    0 | 1 => Ok(world.resolved(program.byte())),
                    2 => Err(ResolveError::Absent {
                        ttl: Duration::from_secs(u64::from(program.byte())),
                    }),
                    _ => Err(ResolveError::Failed),
                };
                world.shard.handle_resolved(world.now, id, outcome);
                world.drain();
            }
        }
        25 | 26 => command(world, program),
        27 => {
            let (listener, peer) = world.address(program);
            world.shard.handle_unreachable(world.now, listener, peer);
            world.drain();
        }
        28 => peer::noise(world, program),
        29 => {
            // Only what goes by streams is ever passed between shards.
            let hop = Hop {
                listener: TCP,
                ..world.hop(program)
            };
            let payload = peer::noise_text(program);
            world.mixed = true;
            world.shard.handle_send(world.now, hop, payload.into());
            world.drain();
        }
        30 => {
            let hop = world.hop(program);
            if let Some((_, text)) = world.said.back().cloned() {
                world.mixed = true;
                world.shard.handle_handover(world.now, hop, text.as_bytes());
                world.drain();
            }
        }
        _ => world.cut = program.byte(),
    }
}

/// Something happens to a connection.
fn connection(world: &mut World, program: &mut Program<'_>) {
    let what = program.byte() % 8;
    if what == 0 {
        let side = program.side();
        world.accept(side);
        return;
    }
    let ids: Vec<ConnectionId> = world.lines.iter().map(|line| line.id).collect();
    let Some(id) = program.pick(&ids) else { return };
    let why = match what {
        1 | 2 => return world.connected(id),
        3 => return world.sent(id, usize::from(program.byte()) * 8),
        4 => return world.sent(id, usize::MAX),
        5 => Closed::End,
        6 => Closed::Reset,
        _ => Closed::Refused,
    };
    world.closed(id, why);
}

fn command(world: &mut World, program: &mut Program<'_>) {
    let what = program.byte();
    let call = program.pick(&(0..world.calls.len()).collect::<Vec<_>>());
    let call = call
        .and_then(|at| world.calls.get(at).cloned())
        .unwrap_or_default();
    let command = match what % 10 {
        0 => Command::Drain(true),
        1 => Command::Drain(false),
        2 => Command::HangupAll,
        3 => Command::Configure(world.snapshot(program.byte())),
        4 | 5 => Command::Hangup(call),
        6 => Command::CallShow(call),
        7 => Command::Stats,
        _ => Command::Calls {
            after: (what & 0x40 != 0).then_some(u32::from(what >> 4)),
            limit: usize::from(what >> 3),
        },
    };
    world.command(command);
}

/// A time that no program reaches.
const END: Timestamp = Timestamp::from_millis(10 * 86_400_000);
