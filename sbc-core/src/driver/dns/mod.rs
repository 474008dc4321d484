//! DNS on the control thread: questions of shards in, answers as commands out.
//!
//! The same question of several shards is looked up once. Look-ups run beside each other, at most
//! `LOOKUPS_MAX` at a time and each with a deadline, as tasks of their own: neither shards nor
//! admin clients wait for them. A question or an answer may be lost when a queue is full; the shard
//! then asks again.

mod lookup;

use super::control::{RequestError, Shards};
use crate::{
    config::Dns as Options,
    id::{QueryId, ShardId},
    io::Command,
    resolve::{Query, ResolveError, Resolved},
    snapshot::Snapshot,
};
use ahash::AHashMap;
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
};
use lookup::Reach;
use std::{cell::RefCell, net::SocketAddr, rc::Rc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};

/// Most look-ups at a time.
const LOOKUPS_MAX: usize = 32;
/// Most different questions without an answer; more are dropped.
const QUESTIONS_MAX: usize = 16_384;
/// A look-up, which may be a chain of questions, must be done by then. Shorter than the time after
/// which a shard asks again.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(15);
/// How often, and how long apart, an answer is offered to a shard whose queue is full.
const OFFERS: (u32, Duration) = (20, Duration::from_millis(100));

/// Answers the questions of shards. Cheap to clone; used on the control thread only.
#[derive(Clone)]
pub struct Dns(Rc<Inner>);

struct Inner {
    /// `None`: the system names no server.
    resolver: Option<TokioResolver>,
    reach: Reach,
    lookups: Semaphore,
    /// Who waits for the answer to what.
    waiting: RefCell<AHashMap<Query, Vec<(ShardId, QueryId)>>>,
}

impl Dns {
    /// A resolver with the servers of `options`, for peers that the listeners of `snapshot` reach.
    /// Touches no server.
    pub fn new(options: &Options, snapshot: &Snapshot) -> Self {
        let resolver = match build(options) {
            Ok(resolver) => Some(resolver),
            Err(error) => {
                tracing::warn!("names cannot be looked up: {error}; set dns.servers");
                None
            }
        };
        Self(Rc::new(Inner {
            resolver,
            reach: Reach::of(snapshot),
            lookups: Semaphore::new(LOOKUPS_MAX),
            waiting: RefCell::new(AHashMap::new()),
        }))
    }

    /// Look `query` up and tell `shard`. Needs a tokio `LocalSet` around it.
    pub(super) fn ask(&self, shards: &Shards, shard: ShardId, id: QueryId, query: Query) {
        let mut waiting = self.0.waiting.borrow_mut();
        let questions = waiting.len();
        if let Some(askers) = waiting.get_mut(&query) {
            // Who asks again has given up its earlier question.
            askers.retain(|(asker, _)| *asker != shard);
            askers.push((shard, id));
            return;
        }
        if questions >= QUESTIONS_MAX {
            tracing::warn!("too many names to look up: {query} has to wait");
            return;
        }
        waiting.insert(query.clone(), vec![(shard, id)]);
        drop(waiting);
        let (dns, shards) = (self.clone(), shards.clone());
        tokio::task::spawn_local(async move {
            let outcome = dns.look_up(&query).await;
            tracing::debug!("{query}: {outcome:?}");
            let askers = dns.0.waiting.borrow_mut().remove(&query);
            for (shard, id) in askers.unwrap_or_default() {
                let (shards, outcome) = (shards.clone(), outcome.clone());
                tokio::task::spawn_local(async move { offer(&shards, shard, id, outcome).await });
            }
        });
    }

    /// What `query` stands for.
    pub async fn look_up(&self, query: &Query) -> Result<Resolved, ResolveError> {
        let resolver = self.0.resolver.as_ref().ok_or(ResolveError::Failed)?;
        // The semaphore is never closed.
        let _permit = self.0.lookups.acquire().await.map_err(|_| ResolveError::Failed)?;
        timeout(LOOKUP_DEADLINE, lookup::look_up(resolver, &self.0.reach, query))
            .await
            .unwrap_or(Err(ResolveError::Failed))
    }
}

impl std::fmt::Debug for Dns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dns").finish_non_exhaustive()
    }
}

/// Hand an answer to the shard that asked for it.
async fn offer(shards: &Shards, shard: ShardId, id: QueryId, outcome: Result<Resolved, ResolveError>) {
    for _ in 0..OFFERS.0 {
        match shards
            .request(shard, Command::Resolved(id, outcome.clone()))
            .await
        {
            Err(RequestError::Busy) => tokio::time::sleep(OFFERS.1).await,
            _ => return,
        }
    }
}

fn build(options: &Options) -> Result<TokioResolver, NetError> {
    let mut builder = if options.servers.is_empty() {
        TokioResolver::builder_tokio()?
    } else {
        let servers = options.servers.iter().copied().map(server).collect();
        let config = ResolverConfig::from_name_servers(servers);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    };
    let settings = builder.options_mut();
    settings.timeout = Duration::from_millis(options.timeout_ms.into());
    settings.attempts = usize::try_from(options.attempts.saturating_sub(1)).unwrap_or(0);
    // Shards keep answers themselves, and ask early because they want a new one.
    settings.cache_size = 0;
    // The TTL of an answer is that of the shortest-lived record on the way to it.
    settings.preserve_intermediates = true;
    builder.build()
}

fn server(at: SocketAddr) -> NameServerConfig {
    let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = at.port();
    }
    NameServerConfig::new(at.ip(), true, connections.into())
}
