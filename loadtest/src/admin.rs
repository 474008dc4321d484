//! The daemon's admin socket, seen from outside: one connection per question.

use crate::{Error, Result};
use sbc_core::admin::{
    client,
    method::Method,
    protocol::{GetStats, GetStatus, LimitChange, SetLimits},
};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

/// Where to ask.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    socket: PathBuf,
}

/// Counters and gauges by name, so that a counter the daemon does not have yet reads as absent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    /// Counts since start-up, over all shards.
    pub(crate) counters: BTreeMap<String, u64>,
    /// What is held now, over all shards.
    pub(crate) gauges: BTreeMap<String, u64>,
    /// The counts of each shard.
    pub(crate) shards: Vec<BTreeMap<String, u64>>,
}

impl Stats {
    /// A counter; 0 when the daemon does not have it.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// A gauge; 0 when the daemon does not have it.
    pub(crate) fn gauge(&self, name: &str) -> u64 {
        self.gauges.get(name).copied().unwrap_or(0)
    }

    /// What a counter grew by since `before`.
    pub(crate) fn since(&self, before: &Self, name: &str) -> u64 {
        self.counter(name).saturating_sub(before.counter(name))
    }

    /// Gauges that are not 0.
    pub(crate) fn left(&self) -> BTreeMap<&str, u64> {
        self.gauges
            .iter()
            .filter(|(_, value)| **value != 0)
            .map(|(name, value)| (name.as_str(), *value))
            .collect()
    }
}

impl Admin {
    /// The socket at `socket`; nothing is opened yet.
    pub(crate) fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Ask one thing.
    pub(crate) fn ask<M: Method>(&self, params: &M) -> Result<M::Answer> {
        let at = |what: &str| format!("{what} {}", self.socket.display());
        let mut stream = UnixStream::connect(&self.socket).map_err(|source| Error::Io {
            what: at("connecting to"),
            source,
        })?;
        let io = |source| Error::Io {
            what: at("talking to"),
            source,
        };
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .map_err(io)?;
        stream.write_all(&client::request(1, params)).map_err(io)?;
        let mut line = Vec::new();
        BufReader::new(stream).read_until(b'\n', &mut line).map_err(io)?;
        let refused = |why: String| Error::Admin(format!("{}: {why}", M::NAME));
        let value = client::response(1, &line)
            .map_err(|error| refused(error.to_string()))?
            .map_err(|failure| refused(failure.message))?;
        serde_json::from_str(value.get()).map_err(|error| refused(error.to_string()))
    }

    /// Counters and gauges.
    pub(crate) fn stats(&self) -> Result<Stats> {
        let stats = self.ask(&GetStats {})?;
        let map = |named: sbc_core::admin::named::Named| named.0.into_iter().collect();
        Ok(Stats {
            counters: map(stats.counters),
            gauges: map(stats.gauges),
            shards: stats
                .shards
                .into_iter()
                .map(|shard| map(shard.counters))
                .collect(),
        })
    }

    /// Change the global limits; 0 lifts one.
    pub(crate) fn set_limits(&self, change: LimitChange) -> Result<()> {
        let changes = vec![change];
        self.ask(&SetLimits { changes }).map(|_| ())
    }

    /// Process id of the daemon.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.ask(&GetStatus {}).map(|status| status.pid)
    }
}
