//! The control thread's part of the registrar: bindings are stored here, and told to all shards.
//!
//! In: changes that shards make. Out: a line in the store for each, and when that is on the disk a command to every shard,
//! and when all have it the ticket back to the shard that waits with its 200. Changes are taken in the order in which they
//! come, as many as there are at a time, so that a crowd that comes back costs few writes and few commands.

use super::{
    clock::Clock,
    control::{RequestError, Shards},
    journal::{Keeper, Patience},
    registrations_store::{Place, Store, StoreError},
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
    time::{sleep, timeout},
};

/// Changes that wait to be stored. Beyond, their REGISTERs get no answer and come again.
const CHANGES_MAX: usize = 8192;
/// Changes that shards are told of at a time.
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
pub struct Changes {
    receiver: Receiver<(ShardId, Change)>,
    /// What writes the file, if there is one.
    keeper: Option<Keeper>,
}

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
        let place = path.as_deref().map(|path| Place {
            path,
            sync: logins.store_sync,
        });
        let (store, journal, found) = Store::open(place, snapshot, (clock.now(), wall()))?;
        if found.damaged > 0 {
            tracing::warn!(
                "registrations: {} damaged lines passed over; what was stored before them holds",
                found.damaged
            );
        }
        let mut keeper = None;
        if let Some((path, journal)) = path.zip(journal) {
            tracing::info!(
                "registrations: {} restored from {}",
                found.bindings,
                path.display()
            );
            let started = Keeper::start(path.clone(), journal, store.scribe(), Patience::default());
            keeper = Some(started.map_err(|error| StoreError { path, error })?);
        }
        Ok(Self::of(store, keeper, clock))
    }

    /// Without anything stored, and without a file.
    pub fn in_memory(clock: Clock) -> (Self, Changes) {
        Self::of(Store::default(), None, clock)
    }

    fn of(store: Store, keeper: Option<Keeper>, clock: Clock) -> (Self, Changes) {
        let (changes, receiver) = channel(CHANGES_MAX);
        let registrar = Self {
            store: Rc::new(RefCell::new(store)),
            changes,
            clock,
        };
        (registrar, Changes { receiver, keeper })
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
    pub(crate) async fn run(self, shards: Shards, changes: Changes) {
        let Changes {
            mut receiver,
            mut keeper,
        } = changes;
        let restored: Arc<[Arc<Record>]> = self.store().records().cloned().collect();
        if !restored.is_empty() {
            tell(&shards, &restored).await;
        }
        loop {
            let first = match keeper.as_ref().and_then(Keeper::behind) {
                None => receiver.recv().await,
                Some(pause) => timeout(pause, receiver.recv()).await.unwrap_or_default(),
            };
            let Some(first) = first else {
                if receiver.is_closed() {
                    return;
                }
                self.catch_up(keeper.as_mut()).await;
                continue;
            };
            let mut batch = vec![first];
            while batch.len() < CHANGES_MAX
                && let Ok(next) = receiver.try_recv()
            {
                batch.push(next);
            }
            self.catch_up(keeper.as_mut()).await;
            let saved = self.save(keeper.as_mut(), &batch).await;
            for some in batch.chunks(BATCH_MAX) {
                confirm(&shards, some, saved).await;
            }
        }
    }

    /// Whether these survive a restart, as far as they can.
    async fn save(&self, keeper: Option<&mut Keeper>, batch: &[(ShardId, Change)]) -> bool {
        let records: Vec<Arc<Record>> = batch
            .iter()
            .map(|(_, change)| Arc::clone(&change.record))
            .collect();
        let changed = self.store.borrow_mut().put(&records);
        let Some(keeper) = keeper else { return true };
        let now = self.clock.now();
        let all = || self.store.borrow_mut().all(now);
        keeper.save(changed, all, (now, wall())).await
    }

    async fn catch_up(&self, keeper: Option<&mut Keeper>) {
        if let Some(keeper) = keeper {
            let now = self.clock.now();
            let all = || self.store.borrow_mut().all(now);
            keeper.catch_up(all, (now, wall())).await;
        }
    }
}

/// Tell all shards of these changes, and then those that made them that they have taken place.
async fn confirm(shards: &Shards, batch: &[(ShardId, Change)], saved: bool) {
    let records: Arc<[Arc<Record>]> = batch
        .iter()
        .map(|(_, change)| Arc::clone(&change.record))
        .collect();
    tell(shards, &records).await;
    for shard in (0..shards.count()).map(ShardId) {
        let of_shard = batch.iter().filter(|(from, _)| *from == shard);
        let stored: Arc<[u64]> = of_shard.map(|(_, change)| change.ticket).collect();
        if !stored.is_empty() {
            let command = Command::Bindings {
                records: Arc::default(),
                stored,
                unsaved: !saved,
            };
            ask(shards, shard, command).await;
        }
    }
}

/// All shards at once.
async fn tell(shards: &Shards, records: &Arc<[Arc<Record>]>) {
    let command = || Command::Bindings {
        records: Arc::clone(records),
        stored: Arc::default(),
        unsaved: false,
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

#[cfg(test)]
mod tests {
    use super::{
        super::{
            handover::{ShardLinks, link},
            journal::tests::Model,
        },
        *,
    };
    use crate::{
        bindings::Binding, id::ListenerId, shard::Reply, time::Timestamp, transport::Hop, trunk::TrunkId,
    };
    use std::future::Future;

    /// What shards were told: by each, tickets and whether these are unsaved.
    type Told = Rc<RefCell<Vec<(u8, u64, bool)>>>;

    struct Bench {
        registrar: Registrar,
        disk: Model,
        told: Told,
    }

    impl Bench {
        fn put(&self, shard: u8, ticket: u64) {
            let binding = Binding {
                contact: format!("sip:{ticket}@h").into_bytes().into(),
                q: 1000,
                instance: None,
                call_id: b"c"[..].into(),
                cseq: 1,
                until: Timestamp::from_millis(3_600_000),
                way: Hop {
                    listener: ListenerId(0),
                    peer: "192.0.2.1:5060".parse().unwrap(),
                    trunk: TrunkId::STRANGER,
                    flow: None,
                },
                agent: "".into(),
            };
            let record = Arc::new(Record {
                trunk: "t".into(),
                user: ticket.to_string().into(),
                bindings: vec![binding],
            });
            assert!(self.registrar.put(ShardId(shard), Change { ticket, record }));
        }

        /// As soon as so many have been confirmed: by which shards, and whether they are unsaved.
        async fn confirmed(&self, tickets: usize) -> Vec<(u8, u64, bool)> {
            let all = async {
                while self.told.borrow().len() < tickets {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(Duration::from_secs(10), all).await.unwrap();
            self.told.borrow().clone()
        }

        fn syncs(&self) -> usize {
            self.disk.log().iter().filter(|done| **done == "sync").count()
        }
    }

    async fn shard(id: u8, mut links: ShardLinks, told: Told) {
        loop {
            while let Some((request, command)) = links.request() {
                if let Command::Bindings { stored, unsaved, .. } = command {
                    told.borrow_mut()
                        .extend(stored.iter().map(|ticket| (id, *ticket, unsaved)));
                }
                links.reply(request, Box::new(Reply::Done));
            }
            links.wake_receivers();
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Two shards and a registrar whose journal is on a disk of ours.
    fn with<F: Future<Output = ()>>(patience: Patience, test: impl FnOnce(Bench) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let told = Told::default();
            let (shard_links, links) = link(2).unwrap();
            for (id, links) in (0..).zip(shard_links) {
                tokio::task::spawn_local(shard(id, links, Rc::clone(&told)));
            }
            let clock = Clock::start();
            let disk = Model::default();
            let mut store = Store::default();
            let journal = store.begin(disk.clone(), true, (clock.now(), wall())).unwrap();
            let keeper = Keeper::start("r".into(), journal, store.scribe(), patience).unwrap();
            let (registrar, changes) = Registrar::of(store, Some(keeper), clock);
            let shards = Shards::new(links);
            let config = crate::config::default_config();
            let snapshot = Arc::new(config.compile().unwrap().0);
            let dns = super::super::dns::Dns::new(&config.dns, &snapshot);
            let (failed, _failure) = tokio::sync::oneshot::channel();
            tokio::task::spawn_local(shards.clone().run(failed, dns, registrar.clone()));
            tokio::task::spawn_local(registrar.clone().run(shards, changes));
            test(Bench {
                registrar,
                disk,
                told,
            })
            .await;
        });
    }

    const SOON: Duration = Duration::from_millis(100);

    fn impatient() -> Patience {
        Patience {
            write: SOON,
            pause: SOON,
        }
    }

    #[test]
    #[allow(clippy::await_holding_lock, reason = "what waits for it is another thread")]
    fn nobody_is_told_before_it_is_on_the_disk_and_one_sync_serves_all() {
        with(Patience::default(), |bench| async move {
            let gate = bench.disk.gate();
            let closed = gate.lock().unwrap();
            bench.put(0, 1);
            sleep(SOON).await;
            assert_eq!(bench.disk.log().last(), Some(&"append"));
            for ticket in 2..1500 {
                bench.put((ticket % 2) as u8, ticket);
            }
            sleep(SOON).await;
            assert_eq!(*bench.told.borrow(), [], "the disk has not said so");
            drop(closed);
            let told = bench.confirmed(1499).await;
            assert_eq!(bench.syncs(), 2, "of the first, and of all that came meanwhile");
            assert!(
                told.iter()
                    .all(|(shard, ticket, _)| u64::from(*shard) == ticket % 2 || *ticket == 1)
            );
            assert_eq!(told.iter().filter(|(.., unsaved)| *unsaved).count(), 0);
        });
    }

    #[test]
    #[allow(clippy::await_holding_lock, reason = "what waits for it is another thread")]
    fn a_disk_that_hangs_keeps_nobody_waiting_and_has_all_when_it_goes_on() {
        with(impatient(), |bench| async move {
            let gate = bench.disk.gate();
            let closed = gate.lock().unwrap();
            bench.put(0, 1);
            assert_eq!(bench.confirmed(1).await, [(0, 1, true)], "in time");
            for ticket in 2..5 {
                bench.put(0, ticket);
                assert_eq!(
                    bench.confirmed(ticket as usize).await.last(),
                    Some(&(0, ticket, true))
                );
            }
            drop(closed);
            // Without another REGISTER.
            sleep(3 * SOON).await;
            for ticket in 1..5 {
                assert!(bench.disk.text().contains(&format!("sip:{ticket}@h")));
            }
            bench.put(1, 5);
            assert_eq!(bench.confirmed(5).await.last(), Some(&(1, 5, false)));
        });
    }

    #[test]
    fn a_disk_that_fails_keeps_what_is_there_and_has_all_when_it_writes_again() {
        with(impatient(), |bench| async move {
            bench.put(0, 1);
            bench.confirmed(1).await;
            bench.disk.fail_after(Some((0, true)));
            for ticket in 2..5 {
                bench.put(0, ticket);
                assert_eq!(
                    bench.confirmed(ticket as usize).await.last(),
                    Some(&(0, ticket, true))
                );
            }
            sleep(3 * SOON).await;
            assert!(bench.disk.text().contains("sip:1@h"));
            assert!(!bench.disk.text().contains("sip:4@h"));
            bench.disk.fail_after(None);
            sleep(3 * SOON).await;
            for ticket in 1..5 {
                assert!(bench.disk.text().contains(&format!("sip:{ticket}@h")));
            }
            bench.put(1, 5);
            assert_eq!(bench.confirmed(5).await.last(), Some(&(1, 5, false)));
        });
    }
}
