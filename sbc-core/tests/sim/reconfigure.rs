//! Another configuration while calls run: trunks are switched off and on, go and come back, and have other options.
//!
//! Each shard gets it a little later or earlier than the others. Ids stay, as the control thread sees to it.

use super::{
    plan::{MS, SECOND, Side},
    rng::Rng,
    setup::Setup,
    world::{Event, World},
};
use sbc_core::{
    shard::Command,
    snapshot::{Former, Reliable, Service, Snapshot},
    time::Timestamp,
    trunk::{SourceTable, TrunkId},
};
use std::{sync::Arc, time::Duration};

/// The id of our command.
pub(super) const RECONFIGURED: u64 = 9;
/// Seeds in a thousand in which the configuration changes.
const SEEDS: u64 = 400;
/// The longest that a configuration with something amiss lasts; between two such is as much time.
const AMISS_MAX: u64 = 8 * SECOND;
/// The longest that a trunk is gone. Whoever calls then is not answered, and of the INVITEs that it sends until it gives
/// up the network may lose two as well: five are left.
const GONE_MAX: u64 = SECOND;

/// When which configuration comes, drawn before anything runs: the last is the first one again.
pub(super) fn draw(seed: u64, setup: &Setup, spread_ms: u64) -> Vec<(u64, Arc<Snapshot>)> {
    let mut rng = Rng::new(seed).fork(0xC0F1);
    if !rng.chance(SEEDS) {
        return Vec::new();
    }
    let first = setup.snapshot();
    let mut at = rng.below(spread_ms / 4 + 1) * MS;
    let mut changes = Vec::new();
    for n in 0..rng.range(1, 12) {
        let whole = n % 2 == 1;
        let snapshot = another(&mut rng, setup, &first, whole);
        let gone = snapshot
            .trunks
            .iter()
            .any(|trunk| trunk.service == Service::Removed);
        changes.push((at, Arc::new(snapshot)));
        at += match (whole, gone) {
            (true, _) => rng.range(AMISS_MAX, 3 * AMISS_MAX),
            (false, true) => rng.range(50 * MS, GONE_MAX),
            (false, false) => rng.range(50 * MS, AMISS_MAX),
        };
    }
    changes.push((at, Arc::new(first)));
    changes
}

/// `first` with other options, and unless it is to be `whole`, one trunk that may be off or gone.
fn another(rng: &mut Rng, setup: &Setup, first: &Snapshot, whole: bool) -> Snapshot {
    let mut snapshot = first.clone();
    for trunk in &mut snapshot.trunks {
        if rng.chance(300) {
            trunk.peer.reliable = rng.pick(&[Reliable::Off, Reliable::Supported]);
        }
        if rng.chance(300) {
            trunk.peer.session_timer.expires = Duration::from_secs(rng.range(3, 20));
        }
    }
    if rng.chance(300) {
        snapshot.sip.no_answer = Duration::from_secs(rng.range(10, 30));
    }
    if whole {
        return snapshot;
    }
    let side = rng.pick(&Side::BOTH);
    let at = side as usize;
    match rng.below(4) {
        0 => snapshot.trunks[at].service = Service::Disabled,
        // A request on a connection is sent once: whoever finds nobody waits in vain.
        1 if !setup.streams[at] && !setup.hostile => remove(&mut snapshot, side),
        _ => {}
    }
    snapshot
}

fn remove(snapshot: &mut Snapshot, side: Side) {
    let host = |side: Side| (TrunkId(side as u16), side.sip().ip().to_string().parse().unwrap());
    let (left, gone) = (host(side.other()), host(side));
    snapshot.trunks[side as usize].service = Service::Removed;
    snapshot.sources = SourceTable::build(&[left]).unwrap();
    snapshot.former = Former {
        sources: SourceTable::build(&[gone]).unwrap(),
        hosts: vec![(gone.0, gone.1, Timestamp::ZERO)],
        needed_since: Timestamp::ZERO,
    };
}

impl World {
    /// Every shard is told, each at its own moment.
    pub(super) fn plan_changes(&mut self, changes: Vec<(u64, Arc<Snapshot>)>) {
        for (at, snapshot) in changes {
            for shard in 0..self.shards.len() {
                let at = at + self.rng.below(20 * MS);
                let snapshot = Arc::clone(&snapshot);
                self.push(at, Event::Configure { shard, snapshot });
            }
        }
    }

    pub(super) fn configure(&mut self, shard: usize, snapshot: Arc<Snapshot>) {
        let now = Timestamp::from_nanos(self.now);
        self.shards[shard].handle_command(now, RECONFIGURED, Command::Configure(snapshot));
        self.drain(shard, None);
    }
}
