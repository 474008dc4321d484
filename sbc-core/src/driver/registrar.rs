//! The control thread's part of the registrar: bindings are stored here, and told to all shards.
//!
//! In: changes that shards make. Out: a line in the store for each, then a command to every shard, and when all have it the
//! ticket back to the shard that waits with its 200. Changes are taken in the order in which they come, as many as there
//! are at a time, so that a crowd that comes back costs few writes and few commands.

use super::{
    clock::Clock,
    control::{RequestError, Shards},
    registrations_store::{Store, StoreError},
};
use crate::{
    bindings::{Change, Record},
    config::Logins,
    shard::{Command, ShardId},
    snapshot::Snapshot,
};
use std::{
    cell::{Ref, RefCell},
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::mpsc::{Receiver, Sender, channel},
    time::sleep,
};

/// Changes that wait to be stored. Beyond, their REGISTERs get no answer and come again.
const CHANGES_MAX: usize = 8192;
/// Changes that are stored at a time.
const BATCH_MAX: usize = 512;
/// Between two attempts at a shard that has too much to do.
const RETRY: Duration = Duration::from_millis(20);
/// Attempts.
const RETRIES: usize = 50;

/// The registrations of the process.
#[derive(Clone, Debug)]
pub struct Registrar {
    store: Rc<RefCell<Store>>,
    changes: Sender<(ShardId, Change)>,
    clock: Clock,
}

/// What the registrar works off.
#[derive(Debug)]
pub struct Changes(Receiver<(ShardId, Change)>);

/// The file that registrations are kept in; `None`: they end with the process.
pub(crate) fn store_path(logins: &Logins) -> Option<PathBuf> {
    let named = logins.store.as_ref().map(|file| file.0.clone());
    // Of systemd, with StateDirectory=; the first of several.
    let given = || {
        let directories = std::env::var_os("STATE_DIRECTORY")?;
        let first = directories.to_str()?.split(':').next()?.to_owned();
        (!first.is_empty()).then(|| PathBuf::from(first).join("registrations"))
    };
    named.or_else(given)
}

impl Registrar {
    /// Open the store, if the configuration has log-ins.
    pub(crate) fn open(
        logins: &Logins,
        snapshot: &Snapshot,
        clock: Clock,
    ) -> Result<(Self, Changes), StoreError> {
        let path = store_path(logins).filter(|_| !snapshot.logins.is_empty());
        let (store, found) = Store::open(path.as_deref(), snapshot, clock.now(), wall())?;
        if found.damaged > 0 {
            tracing::warn!(
                "registrations: {} damaged lines passed over; what was stored before them holds",
                found.damaged
            );
        }
        if let Some(path) = path {
            tracing::info!(
                "registrations: {} restored from {}",
                found.bindings,
                path.display()
            );
        }
        Ok(Self::of(store, clock))
    }

    /// Without anything stored, and without a file.
    pub fn in_memory(clock: Clock) -> (Self, Changes) {
        Self::of(Store::default(), clock)
    }

    fn of(store: Store, clock: Clock) -> (Self, Changes) {
        let (changes, receiver) = channel(CHANGES_MAX);
        let registrar = Self {
            store: Rc::new(RefCell::new(store)),
            changes,
            clock,
        };
        (registrar, Changes(receiver))
    }

    /// The store.
    pub(crate) fn store(&self) -> Ref<'_, Store> {
        self.store.borrow()
    }

    /// A shard has made a change. `false`: there are too many.
    pub(crate) fn put(&self, shard: ShardId, change: Change) -> bool {
        self.changes.try_send((shard, change)).is_ok()
    }

    /// Tell the shards what was stored before we started, and from then on all changes; for as long as the runtime lives.
    pub(crate) async fn run(self, shards: Shards, mut changes: Changes) {
        let restored: Arc<[Arc<Record>]> = self.store().records().cloned().collect();
        if !restored.is_empty() {
            tell(&shards, &restored).await;
        }
        while let Some(first) = changes.0.recv().await {
            let mut batch = vec![first];
            while batch.len() < BATCH_MAX
                && let Ok(next) = changes.0.try_recv()
            {
                batch.push(next);
            }
            let records: Arc<[Arc<Record>]> = batch
                .iter()
                .map(|(_, change)| Arc::clone(&change.record))
                .collect();
            self.store.borrow_mut().put(&records, self.clock.now(), wall());
            tell(&shards, &records).await;
            for shard in (0..shards.count()).map(ShardId) {
                let of_shard = batch.iter().filter(|(from, _)| *from == shard);
                let stored: Arc<[u64]> = of_shard.map(|(_, change)| change.ticket).collect();
                if !stored.is_empty() {
                    let records = Arc::default();
                    ask(&shards, shard, Command::Bindings { records, stored }).await;
                }
            }
        }
    }
}

/// All shards at once.
async fn tell(shards: &Shards, records: &Arc<[Arc<Record>]>) {
    let command = || Command::Bindings {
        records: Arc::clone(records),
        stored: Arc::default(),
    };
    if shards.broadcast(command()).await.is_ok() {
        return;
    }
    // One of them has too much to do, or is gone: each on its own. To hear it twice does no harm.
    for shard in (0..shards.count()).map(ShardId) {
        ask(shards, shard, command()).await;
    }
}

async fn ask(shards: &Shards, shard: ShardId, command: Command) {
    for _ in 0..RETRIES {
        match shards.request(shard, command.clone()).await {
            Err(RequestError::Busy) => sleep(RETRY).await,
            // One that is late has it all the same.
            _ => return,
        }
    }
    tracing::error!(
        shard = shard.0,
        "has not taken registrations: it has too much to do"
    );
}

/// The time of day: what is stored must mean the same after a restart.
#[allow(clippy::disallowed_methods, reason = "the driver reads clocks")]
fn wall() -> SystemTime {
    SystemTime::now()
}
