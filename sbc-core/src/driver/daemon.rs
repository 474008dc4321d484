//! The life of the daemon on the control thread: ready, serving, draining, ended.
//!
//! The thread runs `tokio_uring`, or a plain tokio runtime where io_uring is refused. It only
//! waits for signals, admin clients and shards; no call depends on it.

use super::{
    admin_methods::Methods,
    admin_server::{self, AdminSocket, Bounds},
    control::{Daemon, Shards},
    dns::Dns,
    launch::Launched,
    notify::notify,
    registrar::{Changes, Registrar},
    running::{self, ChangeError, Running},
};
use crate::{
    admission::Admission,
    config::Config,
    shard::{Command, Gauges, ShardId},
    snapshot::Snapshot,
};
use std::{
    convert::Infallible,
    future::{Future, pending},
    io,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::LocalSet,
    time::{Instant, sleep, timeout},
};

/// How long calls that were told to end may take to say so to both sides.
const HANGUP_MAX: Duration = Duration::from_secs(2);
/// How often a draining daemon looks whether calls are left.
const DRAIN_POLL: Duration = Duration::from_millis(100);
/// How often a draining daemon says how many calls are left.
const DRAIN_REPORT: Duration = Duration::from_secs(10);

/// How the daemon ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Asked to by a signal. All calls had ended, or were ended with BYE.
    Asked,
    /// The thread of a shard ended; the calls of the others were ended with BYE.
    ShardFailed(ShardId),
}

/// Where operators reach the daemon, and the configuration they are told about.
#[derive(Debug)]
pub struct Admin {
    /// The bound socket.
    pub socket: AdminSocket,
    /// The configuration that runs.
    pub config: Config,
    /// Its text.
    pub config_text: String,
    /// The file it was read from; `None`: built in.
    pub config_path: Option<PathBuf>,
}

/// Serve until a signal ends it.
///
/// The first SIGTERM or SIGINT refuses new calls and waits for the others to end; the second,
/// or the configured drain time, ends them with BYE to both sides. `started` is called once signals
/// are heard: who sees its effect may send one.
pub fn run(
    launched: Launched,
    snapshot: Arc<Snapshot>,
    admission: Arc<Admission>,
    admin: Admin,
    started: impl FnOnce() -> io::Result<()>,
) -> io::Result<End> {
    let clock = launched.clock;
    let backend = launched.backend.clone();
    let media_pairs_max = launched.media_pairs_max.clone();
    let tls = Arc::clone(&launched.tls);
    tls.current()
        .warnings
        .iter()
        .for_each(|warning| tracing::warn!("{warning}"));
    let (registrar, changes) =
        Registrar::open(&admin.config.logins, &snapshot, clock).map_err(io::Error::other)?;
    let (shards, threads) = launched.into_parts();
    let life = async move {
        let daemon = Rc::new(Daemon {
            shards: shards.clone(),
            running: Running::new(admin.config_path, &admin.config_text, admin.config, snapshot),
            admission,
            clock,
            tls,
            registrar,
            backend,
            media_pairs_max,
        });
        live(shards, daemon, admin.socket, changes, started).await
    };
    let end = block_on(life)?;
    // The handles are gone with the runtime, which ends the shard threads.
    let clean = threads.join();
    match end {
        Ok(End::Asked) if !clean => Err(io::Error::other("a shard thread panicked while ending")),
        end => end,
    }
}

/// Run on tokio-uring, or on tokio alone where io_uring is refused.
fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    match tokio_uring::Runtime::new(&tokio_uring::builder()) {
        Ok(runtime) => Ok(runtime.block_on(future)),
        Err(_) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(LocalSet::new().block_on(&runtime, future))
        }
    }
}

async fn live(
    shards: Shards,
    daemon: Rc<Daemon>,
    socket: AdminSocket,
    changes: Changes,
    started: impl FnOnce() -> io::Result<()>,
) -> io::Result<End> {
    let signals = Signals::new()?;
    started()?;
    let (failed, mut failure) = oneshot::channel();
    let dns = Dns::new(&daemon.running.config().dns, &daemon.running.snapshot());
    let pump = tokio::task::spawn_local(shards.clone().run(failed, dns, daemon.registrar.clone()));
    let registering = tokio::task::spawn_local(daemon.registrar.clone().run(shards.clone(), changes));
    let methods = Rc::new(Methods::new(Rc::clone(&daemon)));
    let server = tokio::task::spawn_local(async move {
        let error = admin_server::serve(socket, methods, Bounds::default()).await;
        // Calls are worth more than the socket: they go on without it.
        tracing::error!("the admin socket has failed, sbc-ctl cannot connect: {error}");
    });
    notify("READY=1");
    let reloading = reload_on_hangup(signals.hangup, &daemon);
    let mut signals = signals.end;
    let end = tokio::select! {
        never = reloading => match never {},
        () = signals.end() => {
            notify("STOPPING=1");
            let drain_max = Duration::from_secs(daemon.running.config().drain.timeout_s.into());
            drain(&shards, &mut signals, drain_max).await;
            Ok(End::Asked)
        }
        failed = &mut failure => {
            notify("STOPPING=1");
            shards.set_stopping();
            // The sender is gone only if the pump could not start: then nothing can be asked.
            let shard = failed.map_err(io::Error::other)?;
            tracing::error!("the thread of shard {} has ended; ending the calls of the others", shard.0);
            hang_up(&shards).await;
            Ok(End::ShardFailed(shard))
        }
    };
    server.abort();
    pump.abort();
    registering.abort();
    // Their clones of `shards` must be gone before the shard threads can be joined.
    let _ = server.await;
    let _ = pump.await;
    let _ = registering.await;
    end
}

/// SIGHUP: read the configuration and its files again. Without a handler it would end the process and leave calls
/// behind, so it is heard until the end.
async fn reload_on_hangup(mut hangup: Signal, daemon: &Rc<Daemon>) -> Infallible {
    loop {
        match hangup.recv().await {
            Some(()) => {
                notify("RELOADING=1");
                let outcome = daemon.reload().await;
                running::log_outcome("SIGHUP", &outcome);
                if matches!(outcome, Err(ChangeError::NoFile)) {
                    // The outcome is in the log.
                    let _ = daemon.reload_tls();
                }
                notify("READY=1");
            }
            // The runtime is ending.
            None => pending().await,
        }
    }
}

async fn drain(shards: &Shards, signals: &mut EndSignals, drain_max: Duration) {
    shards.set_stopping();
    let _ = shards.broadcast(Command::Drain(true)).await;
    let calls = shards.gauges().await.map_or(0, |gauges| gauges.calls);
    if calls > 0 {
        tracing::info!(
            "draining: no new calls; {calls} may go on for {} s; a second signal ends them now",
            drain_max.as_secs()
        );
        tokio::select! {
            () = signals.end() => tracing::info!("second signal: ending all calls"),
            drained = timeout(drain_max, drained(shards)) => if drained.is_err() {
                tracing::info!("drain time is over: ending all calls");
            },
        }
    }
    hang_up(shards).await;
}

/// Wait until no call is left.
async fn drained(shards: &Shards) {
    let mut reported = Instant::now();
    while let Ok(gauges) = shards.gauges().await
        && gauges.calls > 0
    {
        if reported.elapsed() >= DRAIN_REPORT {
            reported = Instant::now();
            tracing::info!("draining: {} calls left", gauges.calls);
        }
        sleep(DRAIN_POLL).await;
    }
}

/// End every call and wait, but not for long, until both sides have confirmed it, and registrars that we go.
async fn hang_up(shards: &Shards) {
    // Each on its own: one shard that has failed must not keep the others from their BYEs.
    for shard in 0..shards.count() {
        let _ = shards.request(ShardId(shard), Command::HangupAll).await;
    }
    let quiet = async {
        while let Ok(Gauges {
            calls,
            transactions,
            registrars_to_leave,
            ..
        }) = shards.gauges().await
            && (calls > 0 || transactions > 0 || registrars_to_leave > 0)
        {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = timeout(HANGUP_MAX, quiet).await;
    match shards.gauges().await {
        Ok(Gauges { calls: 0, .. }) => tracing::info!("all calls have ended"),
        Ok(Gauges { calls, .. }) => tracing::warn!("{calls} calls were not confirmed to have ended"),
        Err(error) => tracing::warn!("cannot tell whether all calls have ended: {error}"),
    }
}

/// The signals that matter.
struct Signals {
    end: EndSignals,
    hangup: Signal,
}

/// Those that end the daemon.
struct EndSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            end: EndSignals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
            },
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl EndSignals {
    /// Wait for SIGTERM or SIGINT.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
