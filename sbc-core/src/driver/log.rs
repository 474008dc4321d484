//! Log lines to standard error, written by the control thread only.
//!
//! The level can be changed while running. Shards look at it before they queue an event, so that
//! a level nobody reads costs them one atomic load.

use crate::shard::{CallRecord, Event, Level};
use std::{
    io::IsTerminal,
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Registry, layer::SubscriberExt, reload, util::SubscriberInitExt};

type Handle = reload::Handle<LevelFilter, Registry>;

static HANDLE: OnceLock<Handle> = OnceLock::new();
/// The most detailed core [`Level`] that is wanted, as [`rank`] counts it.
static WANTED: AtomicU8 = AtomicU8::new(2);

/// Levels by the names that configuration and admin protocol use, least detailed first.
pub const LEVELS: [(&str, LevelFilter); 5] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// Start logging at the level called `name`; `false` when there is no such level.
pub fn start(name: &str) -> bool {
    let Some(level) = parse(name) else { return false };
    let (filter, handle) = reload::Layer::new(level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    // A second start in one process (tests) keeps the first subscriber and only changes the level.
    if tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .is_ok()
    {
        let _ = HANDLE.set(handle);
    }
    set_level(name)
}

/// Change the level to the one called `name`; `false` when there is no such level.
pub fn set_level(name: &str) -> bool {
    let Some(level) = parse(name) else { return false };
    if let Some(handle) = HANDLE.get() {
        // Fails only when the subscriber is gone, that is, at exit.
        let _ = handle.modify(|filter| *filter = level);
    }
    let wanted = LEVELS.iter().position(|(_, l)| *l == level).unwrap_or_default();
    WANTED.store(u8::try_from(wanted).unwrap_or_default(), Ordering::Relaxed);
    true
}

/// Name of the level in use.
pub fn level() -> &'static str {
    LEVELS
        .get(usize::from(WANTED.load(Ordering::Relaxed)))
        .map_or("info", |(name, _)| name)
}

/// Whether an event of this level would be written.
pub(crate) fn wanted(level: Level) -> bool {
    rank(level) <= WANTED.load(Ordering::Relaxed)
}

/// Write a shard's event.
pub(crate) fn event(shard: usize, event: &Event) {
    let Event { level, call, text } = event;
    match (level, call.is_empty()) {
        (Level::Warn, true) => tracing::warn!(shard, "{text}"),
        (Level::Warn, false) => tracing::warn!(shard, call, "{text}"),
        (Level::Info, true) => tracing::info!(shard, "{text}"),
        (Level::Info, false) => tracing::info!(shard, call, "{text}"),
        (Level::Debug, true) => tracing::debug!(shard, "{text}"),
        (Level::Debug, false) => tracing::debug!(shard, call, "{text}"),
    }
}

/// Write a finished call.
pub(crate) fn record(shard: usize, record: &CallRecord) {
    tracing::debug!(
        shard,
        call = record.call,
        from = record.from_trunk,
        to = record.to_trunk,
        status = record.status,
        cause = record.cause,
        end_ms = record.end_ms,
        "call ended"
    );
}

fn rank(level: Level) -> u8 {
    match level {
        Level::Warn => 1,
        Level::Info => 2,
        Level::Debug => 3,
    }
}

fn parse(name: &str) -> Option<LevelFilter> {
    LEVELS
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known))
        .map(|(_, level)| *level)
}
