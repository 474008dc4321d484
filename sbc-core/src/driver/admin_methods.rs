//! What the admin methods do: questions to the shards, the limits and the operating system.
//!
//! In: a typed [`Request`]. Out: its [`Answer`], or a [`Failure`] that tells the operator what to
//! do. Runs on the control thread; [`super::admin_server`] brings the requests.

mod audit;
mod bans;
mod registrations;
mod scoped;
mod traffic;

use super::{
    admin_server::{Handler, Peer},
    control::{Daemon, RequestError},
    log, provision, sheet,
    tls::{self, Tls},
};
use crate::{
    admin::{
        failure::{Failure, Reason},
        method::{Answer, Request, shorten},
        named::Named,
        protocol::*,
        route,
    },
    admission::{LimitId, burst_default},
    config,
    counters::ShardCounters,
    shard::{Command, Gauges, Reply, ShardId},
    snapshot::{Service, Target, Trunk},
    trunk::TrunkId,
};
use std::{cell::Cell, fs, rc::Rc};

/// The admin methods of a running daemon.
#[derive(Debug)]
pub struct Methods {
    daemon: Rc<Daemon>,
    draining: Cell<bool>,
}

/// Calls asked of a shard at a time: keeps its answer, and the pause it makes for it, short.
const ROWS_PER_COMMAND: u32 = 256;
/// A page of calls ends after this many bytes of names and numbers.
const PAGE_BYTES: usize = 1 << 20;

impl Handler for Methods {
    async fn handle(&self, peer: Peer, request: Request) -> Result<Answer, Failure> {
        Ok(match request {
            // The server answers it; nothing here could add to that.
            Request::Hello(_) => return Err(Failure::new(Reason::Internal, "hello was not answered")),
            Request::Status(_) => Answer::Status(self.status().await?),
            Request::CallsList(list) => Answer::CallsList(self.calls(&list).await?),
            Request::CallsShow(show) => Answer::CallsShow(self.call(show.id).await?),
            Request::CallsHangup(hangup) => Answer::CallsHangup(self.hang_up(hangup.id).await?),
            Request::TrunksList(_) => Answer::TrunksList(self.trunks().await),
            Request::RegistrationsList(list) => Answer::RegistrationsList(self.registrations(&list)?),
            Request::RouteTest(test) => Answer::RouteTest(self.route_test(&test).await?),
            Request::LimitsShow(show) => Answer::LimitsShow(self.limits(show.trunk.as_deref())?),
            Request::LimitsSet(set) => Answer::LimitsSet(self.set_limits(&set)?),
            Request::Stats(_) => Answer::Stats(self.stats().await?),
            Request::Shards(_) => Answer::Shards(self.shards().await?),
            Request::Audit(_) => Answer::Audit(self.audit().await?),
            Request::BansList(_) => Answer::BansList(self.bans()),
            Request::BansAdd(add) => Answer::BansAdd(self.ban(&add)?),
            Request::BansLift(lift) => Answer::BansLift(self.lift_ban(&lift)?),
            Request::Drain(drain) => Answer::Drain(self.drain(drain.on).await?),
            Request::TlsShow(_) => Answer::TlsShow(certificates(&self.daemon.tls.current())),
            Request::TlsReload(_) => Answer::TlsReload(reload_tls(&self.daemon)?),
            Request::ConfigReload(_) => Answer::ConfigReload(provision::reload(&self.daemon).await?),
            Request::ConfigDiff(diff) => Answer::ConfigDiff(provision::diff(&self.daemon, peer, &diff)?),
            Request::ConfigApply(wanted) => {
                Answer::ConfigApply(provision::apply(&self.daemon, peer, wanted).await?)
            }
            Request::ConfigEdit(wanted) => {
                Answer::ConfigEdit(provision::edit(&self.daemon, peer, wanted).await?)
            }
            Request::TrunkSheet(show) => {
                let trunk = self.trunk(&show.trunk)?;
                Answer::TrunkSheet(sheet::sheet(&self.daemon, &trunk)?)
            }
            Request::LogLevel(set) => Answer::LogLevel(set_log_level(set.level)?),
        })
    }
}

impl Methods {
    /// The methods of `daemon`.
    pub fn new(daemon: Rc<Daemon>) -> Self {
        Self {
            daemon,
            draining: Cell::new(false),
        }
    }

    fn state(&self) -> State {
        match (self.daemon.shards.is_stopping(), self.draining.get()) {
            (true, _) => State::Stopping,
            (false, true) => State::Draining,
            (false, false) => State::Running,
        }
    }

    async fn drain(&self, on: Option<bool>) -> Result<DrainProgress, Failure> {
        if let Some(on) = on {
            if !on && self.state() == State::Stopping {
                let message = "sbcd is stopping; that cannot be undone";
                return Err(Failure::new(Reason::Unavailable, message));
            }
            // Known before the shards are: a failure half-way must not look like nothing happened.
            self.draining.set(on);
            self.broadcast(Command::Drain(on)).await?;
        }
        let calls = self
            .all_stats()
            .await?
            .iter()
            .map(|(_, gauges)| gauges.calls)
            .sum();
        Ok(DrainProgress {
            draining: self.state() != State::Running,
            calls,
        })
    }

    async fn status(&self) -> Result<Status, Failure> {
        let stats = self.all_stats().await?;
        let snapshot = self.daemon.running.snapshot();
        let first = snapshot.media.interfaces.first();
        Ok(Status {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_ms: self.uptime_ms(),
            state: self.state(),
            config: self.daemon.running.path().map(|p| p.display().to_string()),
            backend: self.daemon.backend.kind.name().into(),
            backend_reason: self.daemon.backend.why.to_string(),
            shards: self.daemon.shards.count(),
            listeners: snapshot
                .listeners
                .iter()
                .map(|l| ListenerStatus {
                    name: l.name.clone(),
                    transport: l.transport.name().to_owned(),
                    bind: l.bind.to_string(),
                    advertised: l.advertised.to_string(),
                })
                .collect(),
            media: first.map_or_else(String::new, |media| media.bind.to_string()),
            media_advertised: first.map_or_else(String::new, |media| media.advertised.to_string()),
            media_ports: first.map_or((0, 0), |media| media.ports),
            media_pairs_max: self.daemon.media_pairs_max.iter().sum::<usize>() as u64,
            media_interfaces: self.media_interfaces().await?,
            calls: stats.iter().map(|(_, gauges)| gauges.calls).sum(),
            calls_attempted: stats.iter().map(|(counters, _)| counters.calls_attempted).sum(),
            calls_answered: stats.iter().map(|(counters, _)| counters.calls_answered).sum(),
            log_level: log_level(),
        })
    }

    /// The media interfaces, with what all shards hold of each.
    async fn media_interfaces(&self) -> Result<Vec<MediaStatus>, Failure> {
        let snapshot = self.daemon.running.snapshot();
        let interfaces = snapshot.media.interfaces.iter();
        let mut all: Vec<MediaStatus> = interfaces
            .zip(&self.daemon.media_pairs_max)
            .map(|(interface, &pairs_max)| MediaStatus {
                name: interface.name.clone(),
                bind: interface.bind.to_string(),
                advertised: interface.advertised.to_string(),
                ports: interface.ports,
                pairs_max: pairs_max as u64,
                pairs: 0,
                pairs_quarantined: 0,
            })
            .collect();
        for reply in self.broadcast(Command::MediaPairs).await? {
            let Reply::MediaPairs(pairs) = reply else {
                return Err(unexpected());
            };
            for (status, (in_use, resting)) in all.iter_mut().zip(pairs) {
                status.pairs += in_use;
                status.pairs_quarantined += resting;
            }
        }
        Ok(all)
    }

    async fn calls(&self, list: &ListCalls) -> Result<Calls, Failure> {
        if let Some(trunk) = &list.trunk {
            self.trunk(trunk)?;
        }
        let mut rows_left = list.rows();
        let mut bytes = 0;
        let mut calls = Vec::new();
        let mut at = list.after.unwrap_or(Cursor { shard: 0, slot: None });
        while at.shard < self.daemon.shards.count() && rows_left > 0 && bytes < PAGE_BYTES {
            let limit = rows_left.min(ROWS_PER_COMMAND);
            let command = Command::Calls {
                after: at.slot,
                limit: limit as usize,
            };
            let Reply::Calls(rows) = self.ask(ShardId(at.shard), command).await? else {
                return Err(unexpected());
            };
            let found = u32::try_from(rows.len()).unwrap_or(u32::MAX);
            rows_left = rows_left.saturating_sub(found);
            let mut all_taken = true;
            for row in rows {
                if bytes >= PAGE_BYTES {
                    all_taken = false;
                    break;
                }
                at.slot = Some(row.slot);
                if list.matches(&row) {
                    bytes += row.id.len() + row.caller.len() + row.callee.len();
                    bytes += row.from_trunk.len() + row.to_trunk.len();
                    calls.push(row);
                }
            }
            if found < limit && all_taken {
                at = Cursor {
                    shard: at.shard + 1,
                    slot: None,
                };
            }
        }
        let next = (at.shard < self.daemon.shards.count()).then_some(at);
        Ok(Calls { calls, next })
    }

    async fn call(&self, id: String) -> Result<CallDetail, Failure> {
        match self.find(&id, Command::CallShow(id.clone())).await? {
            Reply::Call(call) => Ok(*call),
            _ => Err(unexpected()),
        }
    }

    async fn hang_up(&self, id: String) -> Result<HungUp, Failure> {
        match self.find(&id, Command::Hangup(id.clone())).await? {
            Reply::Done => Ok(HungUp { id }),
            _ => Err(unexpected()),
        }
    }

    /// The answer of the shard that has call `id`. A shard that does not answer matters only if no
    /// other one has it.
    async fn find(&self, id: &str, command: Command) -> Result<Reply, Failure> {
        let mut missing = None;
        for shard in 0..self.daemon.shards.count() {
            match self.ask(ShardId(shard), command.clone()).await {
                Ok(Reply::NoSuchCall) => {}
                Ok(reply) => return Ok(reply),
                Err(failure) => missing = Some(failure),
            }
        }
        Err(missing.unwrap_or_else(|| {
            let id = shorten(id);
            let message = format!("no call has the id {id:?} (any more); `sbc-ctl calls` lists them");
            Failure::new(Reason::NoSuchCall, message)
        }))
    }

    async fn trunks(&self) -> Trunks {
        let (snapshot, config) = (self.daemon.running.snapshot(), self.daemon.running.config());
        // All shards know the same addresses. Without an answer, everything else can be told.
        let addresses = match self.ask(ShardId(0), Command::Addresses).await {
            Ok(Reply::Addresses(addresses)) => addresses,
            _ => Vec::new(),
        };
        let traffic = self.traffic().await;
        let status = |(id, trunk): (TrunkId, &Trunk), configured: &config::Trunk| {
            let watched = !trunk.peer.options_interval.is_zero();
            let (health, since) = snapshot.health.view(id);
            let registers = trunk.peer.registration.is_some();
            let (registration, changed) = snapshot.health.registration(id);
            TrunkStatus {
                name: trunk.name.clone(),
                kind: trunk.peer.kind.name().to_owned(),
                enabled: trunk.service == Service::Enabled,
                hosts: configured.hosts.iter().map(ToString::to_string).collect(),
                target: trunk.next_hop().to_string(),
                listener: snapshot
                    .listeners
                    .get(usize::from(trunk.listener.0))
                    .map_or_else(String::new, |l| l.name.clone()),
                route: snapshot.calls_go_to(id),
                calls_in: self.used(trunk.inbound),
                calls_out: self.used(trunk.outbound),
                limits: self.limits_of(trunk),
                addresses: addresses.get(usize::from(id.0)).cloned().unwrap_or_default(),
                health: watched.then(|| health.name().to_owned()),
                health_ms: watched.then(|| self.uptime_ms().saturating_sub(since.as_millis())),
                round_trip_ms: snapshot
                    .health
                    .round_trip(id)
                    .map(|took| took.as_secs_f64() * 1000.0),
                registration: registers.then(|| registration.to_string()),
                registration_ms: registers.then(|| self.uptime_ms().saturating_sub(changed.as_millis())),
                users: trunk.peer.login.as_ref().map(|login| login.accounts.len() as u64),
                users_registered: (trunk.target == Target::Registered)
                    .then(|| self.users_registered(&trunk.name)),
                traffic: traffic
                    .as_ref()
                    .map(|all| all.get(usize::from(id.0)).copied().unwrap_or_default().into()),
            }
        };
        let known = snapshot.trunks_by_name();
        let trunks = config.trunks.iter();
        Trunks {
            trunks: trunks
                .filter_map(|trunk| Some(status(*known.get(trunk.name.as_str())?, trunk)))
                .collect(),
        }
    }

    async fn route_test(&self, test: &TestRoute) -> Result<RouteReport, Failure> {
        let snapshot = self.daemon.running.snapshot();
        let clock = &self.daemon.clock;
        let unix_s = clock.epoch_s() + clock.now().as_millis() / 1000;
        let mut report = route::report(&snapshot, test, unix_s)?;
        // Without an answer of the shard, the addresses behind names are not known.
        if let Ok(Reply::Addresses(addresses)) = self.ask(ShardId(0), Command::Addresses).await {
            for target in &mut report.targets {
                let at = snapshot
                    .trunks
                    .iter()
                    .position(|trunk| trunk.name == target.trunk);
                let Some(known) = at.and_then(|at| addresses.get(at)) else {
                    continue;
                };
                target.addresses = known.iter().map(|address| address.address.clone()).collect();
                let users = at.and_then(|at| snapshot.trunks.get(at));
                let users = users.filter(|trunk| *trunk.next_hop() == Target::Registered);
                let gone = match users {
                    Some(trunk) if self.users_registered(&trunk.name) > 0 => None,
                    Some(_) => Some("nobody has registered: passed over"),
                    None => known.is_empty().then_some("no address: passed over"),
                };
                if let Some(gone) = gone {
                    target.state = gone.to_owned();
                }
            }
        }
        Ok(report)
    }

    fn used(&self, id: LimitId) -> u64 {
        self.daemon
            .admission
            .view(id)
            .map_or(0, |view| view.channels_used.into())
    }

    fn limits(&self, trunk: Option<&str>) -> Result<Limits, Failure> {
        if let Some(name) = trunk {
            let limits = self.limits_of(&self.trunk(name)?);
            return Ok(Limits { limits });
        }
        let (snapshot, config) = (self.daemon.running.snapshot(), self.daemon.running.config());
        let global = self.limit(snapshot.limits, Scope::default());
        let known = snapshot.trunks_by_name();
        let trunks = config.trunks.iter();
        let trunks = trunks.filter_map(|trunk| known.get(trunk.name.as_str()));
        Ok(Limits {
            limits: global
                .into_iter()
                .chain(trunks.flat_map(|(_, trunk)| self.limits_of(trunk)))
                .chain(self.scoped_limits())
                .collect(),
        })
    }

    fn limits_of(&self, trunk: &Trunk) -> Vec<LimitStatus> {
        let status = |direction| {
            let scope = Scope {
                trunk: Some(trunk.name.clone()),
                direction: Some(direction),
                limit: None,
            };
            self.limit(limit_id(trunk, direction), scope)
        };
        Direction::ALL.into_iter().filter_map(status).collect()
    }

    fn limit(&self, id: LimitId, scope: Scope) -> Option<LimitStatus> {
        let view = self.daemon.admission.view(id)?;
        Some(LimitStatus {
            scope,
            cps: view.cps,
            burst: view.burst,
            channels: view.channels_max,
            channels_used: view.channels_used,
            admitted: view.admitted,
            refused_cps: view.refused_cps,
            refused_channels: view.refused_channels,
        })
    }

    fn set_limits(&self, set: &SetLimits) -> Result<Limits, Failure> {
        let mut ids = Vec::with_capacity(set.changes.len());
        for change in &set.changes {
            ids.push(match (&change.trunk, change.direction) {
                _ if change.limit.is_some() => {
                    self.scoped_limit(change.limit.as_deref().unwrap_or_default())?
                }
                (Some(trunk), Some(direction)) => limit_id(&self.trunk(trunk)?, direction),
                _ => self.daemon.running.snapshot().limits,
            });
        }
        for (change, id) in set.changes.iter().zip(&ids) {
            self.change_limit(*id, change);
        }
        let limits = set.changes.iter().zip(ids);
        Ok(Limits {
            limits: limits
                .filter_map(|(change, id)| self.limit(id, change.scope()))
                .collect(),
        })
    }

    fn change_limit(&self, id: LimitId, change: &LimitChange) {
        let admission = &self.daemon.admission;
        let Some(before) = admission.view(id) else { return };
        let cps = change.cps.unwrap_or(before.cps);
        // As in the configuration: a rate that comes without a burst brings the usual
        // one. A burst chosen before stays.
        let kept = if before.cps == 0 && cps > 0 {
            burst_default(cps)
        } else {
            before.burst
        };
        let burst = change.burst.unwrap_or(kept).max(1);
        // A bucket whose rate is set starts anew, so a value that stays is not set.
        if burst != before.burst {
            admission.set_burst(id, burst);
        }
        if cps != before.cps {
            admission.set_cps(id, cps);
        }
        if let Some(channels) = change.channels {
            admission.set_channels(id, channels);
        }
    }

    async fn stats(&self) -> Result<Stats, Failure> {
        let mut counters = ShardCounters::default();
        let mut gauges = Gauges::default();
        let mut shards = Vec::new();
        for (shard, (of_shard, held)) in (0..).zip(self.all_stats().await?) {
            counters.add(&of_shard);
            gauges = add(gauges, held);
            shards.push(ShardStats {
                shard,
                counters: of_shard.iter().collect(),
                gauges: named(held),
            });
        }
        Ok(Stats {
            counters: counters.iter().collect(),
            gauges: named(gauges),
            shards,
        })
    }

    async fn shards(&self) -> Result<Shards, Failure> {
        let threads = Thread::all();
        let uptime_ms = self.uptime_ms();
        let status = |(shard, (counters, gauges)): (u8, (Box<ShardCounters>, Gauges))| {
            let thread = threads.iter().find(|t| t.name == format!("shard-{shard}"));
            ShardStatus {
                shard,
                core: thread.and_then(|t| t.core),
                backend: self.daemon.backend.kind.name().into(),
                cpu_ms: thread.map_or(0, |t| t.cpu_ms),
                uptime_ms,
                gauges,
                calls_attempted: counters.calls_attempted,
                handed_over: counters.handed_over,
                media_received: counters.media_received,
                busy_percent: 0,
                shed_percent: 0,
                lag_us: 0,
                refused_overload: counters.refused_overload,
            }
        };
        let stats = self.all_stats().await?;
        let mut shards: Vec<ShardStatus> = (0..).zip(stats).map(status).collect();
        for (status, reply) in shards.iter_mut().zip(self.broadcast(Command::Load).await?) {
            let Reply::Load(load) = reply else {
                return Err(unexpected());
            };
            status.busy_percent = load.busy / 10;
            status.shed_percent = load.shed / 10;
            status.lag_us = u64::try_from(load.lag.as_micros()).unwrap_or(u64::MAX);
        }
        Ok(Shards { shards })
    }

    fn uptime_ms(&self) -> u64 {
        self.daemon.clock.now().as_nanos() / 1_000_000
    }

    fn trunk(&self, name: &str) -> Result<Trunk, Failure> {
        let (snapshot, config) = (self.daemon.running.snapshot(), self.daemon.running.config());
        let found = snapshot.trunk_named(name).map(|(_, trunk)| trunk.clone());
        let trunks = &config.trunks;
        found.ok_or_else(|| {
            let mut names: String = trunks
                .iter()
                .take(20)
                .map(|t| t.name.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            if trunks.len() > 20 {
                names.push_str(", …");
            }
            let message = format!("no trunk is called {:?}; there are: {names}", shorten(name));
            Failure::new(Reason::NoSuchTrunk, message)
        })
    }

    async fn ask(&self, shard: ShardId, command: Command) -> Result<Reply, Failure> {
        let answer = self.daemon.shards.request(shard, command).await;
        answer.map_err(|error| unavailable(&format!("shard {}", shard.0), error))
    }

    async fn broadcast(&self, command: Command) -> Result<Vec<Reply>, Failure> {
        let answers = self.daemon.shards.broadcast(command).await;
        answers.map_err(|error| unavailable("one of the shards", error))
    }

    async fn all_stats(&self) -> Result<Vec<(Box<ShardCounters>, Gauges)>, Failure> {
        let replies = self.broadcast(Command::Stats).await?;
        let stats = |reply| match reply {
            Reply::Stats(counters, gauges) => Ok((counters, gauges)),
            _ => Err(unexpected()),
        };
        replies.into_iter().map(stats).collect()
    }
}

fn unavailable(who: &str, error: RequestError) -> Failure {
    Failure::new(
        Reason::Unavailable,
        format!("{who} did not answer: {error}; try again"),
    )
}

fn unexpected() -> Failure {
    Failure::new(
        Reason::Internal,
        "a shard gave an answer of another kind; this is a bug",
    )
}

fn limit_id(trunk: &Trunk, direction: Direction) -> LimitId {
    match direction {
        Direction::Inbound => trunk.inbound,
        Direction::Outbound => trunk.outbound,
        Direction::Both => trunk.both,
    }
}

fn certificates(tls: &Tls) -> Certificates {
    let now = tls::now();
    let certificates = tls.certificates.iter().map(|shown| CertificateStatus {
        owner: shown.owner.clone(),
        file: shown.path.display().to_string(),
        names: shown.names.clone(),
        not_before: shown.validity.0,
        not_after: shown.validity.1,
        expires_in_s: shown.validity.1.saturating_sub(now),
    });
    Certificates {
        certificates: certificates.collect(),
        warnings: tls.warnings.clone(),
    }
}

fn reload_tls(daemon: &Daemon) -> Result<Certificates, Failure> {
    match daemon.reload_tls() {
        Ok(tls) => Ok(certificates(&tls)),
        Err(error) => {
            let message = format!("{error}; the certificates in use stay as they are");
            Err(Failure::new(Reason::BadCertificate, message))
        }
    }
}

fn log_level() -> LogLevel {
    let name = log::level();
    let level = LogLevel::ALL.into_iter().find(|level| level.as_str() == name);
    level.unwrap_or_default()
}

fn set_log_level(level: Option<LogLevel>) -> Result<LogLevelResult, Failure> {
    let previous = log_level();
    if let Some(level) = level
        && !log::set_level(level.as_str())
    {
        return Err(Failure::new(
            Reason::Internal,
            "the log has no such level; this is a bug",
        ));
    }
    Ok(LogLevelResult {
        level: log_level(),
        previous,
    })
}

fn add(a: Gauges, b: Gauges) -> Gauges {
    Gauges {
        calls: a.calls + b.calls,
        media_pairs: a.media_pairs + b.media_pairs,
        media_pairs_quarantined: a.media_pairs_quarantined + b.media_pairs_quarantined,
        transactions: a.transactions + b.transactions,
        tombstones: a.tombstones + b.tombstones,
        timers: a.timers + b.timers,
        connections: a.connections + b.connections,
        registrars_to_leave: a.registrars_to_leave + b.registrars_to_leave,
    }
}

fn named(gauges: Gauges) -> Named {
    // Taken apart so that a gauge added later cannot be forgotten here.
    let Gauges {
        calls,
        media_pairs,
        media_pairs_quarantined,
        transactions,
        tombstones,
        timers,
        connections,
        registrars_to_leave,
    } = gauges;
    [
        ("calls", calls),
        ("media_pairs", media_pairs),
        ("media_pairs_quarantined", media_pairs_quarantined),
        ("transactions", transactions),
        ("tombstones", tombstones),
        ("timers", timers),
        ("connections", connections),
        ("registrars_to_leave", registrars_to_leave),
    ]
    .into_iter()
    .collect()
}

/// A thread of this process, as `/proc` shows it. What cannot be read counts as nothing: the
/// answer is for people, and shards must not be asked for what the kernel knows.
#[derive(Debug)]
struct Thread {
    name: String,
    cpu_ms: u64,
    /// The core it is pinned to.
    core: Option<u32>,
}

impl Thread {
    fn all() -> Vec<Self> {
        let Ok(tasks) = fs::read_dir("/proc/self/task") else {
            return Vec::new();
        };
        let read = |task: fs::DirEntry| {
            let file = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            Self {
                name: file("comm").trim_end().to_owned(),
                cpu_ms: cpu_ms(&file("schedstat"), &file("stat")),
                core: pinned_core(&file("status")),
            }
        };
        tasks.flatten().map(read).collect()
    }
}

/// CPU time from `schedstat` (nanoseconds first), or from `stat` on kernels built without it.
fn cpu_ms(schedstat: &str, stat: &str) -> u64 {
    let mut fields = schedstat.split_whitespace();
    if let Some(ns) = fields.next().and_then(|ns| ns.parse::<u64>().ok()) {
        return ns / 1_000_000;
    }
    // Fields are counted from behind the name, which may contain spaces: utime and stime are the
    // 14th and 15th of all, in units of 10 ms.
    let mut fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(11);
    let mut ticks = || fields.next().and_then(|t| t.parse::<u64>().ok()).unwrap_or(0);
    (ticks() + ticks()) * 10
}

fn pinned_core(status: &str) -> Option<u32> {
    let mut lines = status.lines();
    let list = lines.find_map(|l| l.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().parse().ok()
}

#[cfg(test)]
mod tests;
