//! From a configuration to running shard threads.

use super::{
    backend::{self, BackendKind, Chosen},
    clock::Clock,
    control::Shards,
    handover::{self, ControlLinks},
    shard_thread::{self, Setup},
    sockets::{self, ListenerError, MediaPorts, Room},
    tls::{self, TlsError},
};
use crate::{
    admission::Admission,
    shard::ShardId,
    snapshot::{MediaInterface, Snapshot},
    transport::Transport,
};
use std::{
    io,
    os::fd::OwnedFd,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

/// What to run and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The configuration for the shards.
    pub snapshot: Arc<Snapshot>,
    /// The limits they share.
    pub admission: Arc<Admission>,
    /// Number of shard threads; `None`: one per CPU that we may run on.
    pub shards: Option<u8>,
    /// Pin each shard thread to a CPU of its own.
    pub pin: bool,
    /// CPUs to pin to; `None`: all that we may run on.
    pub cpus: Option<Vec<usize>>,
    /// The I/O backend; `None`: io_uring where it works.
    pub backend: Option<BackendKind>,
    /// Longest time to gather packets before waking up; zero: never.
    pub gather: Duration,
    /// Seed of every random choice; `None`: from the system.
    pub seed: Option<u64>,
}

/// Running shard threads. They end when `links` is dropped.
#[derive(Debug)]
pub struct Launched {
    links: ControlLinks,
    /// The certificates that they use.
    pub tls: Arc<tls::Shared>,
    /// The clock that all of them use.
    pub clock: Clock,
    /// What moves their packets.
    pub backend: Chosen,
    /// Media port pairs that may be bound, of each interface.
    pub media_pairs_max: Vec<usize>,
    /// Media port pairs that the configuration asks for, of each interface.
    pub media_pairs_configured: Vec<usize>,
    threads: Vec<JoinHandle<()>>,
}

/// Why the shards could not be started. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A SIP port cannot be bound.
    #[error(transparent)]
    Listener(#[from] ListenerError),
    /// A certificate, a key or a list of CAs cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The configured backend does not work here.
    #[error("shards.backend is \"io_uring\", but {0}; use \"auto\" or \"syscall\"")]
    Backend(String),
    /// Threads or the queues between them could not be made.
    #[error("cannot start threads: {0}; check the limits on processes and open files (`ulimit -a`)")]
    Thread(io::Error),
    /// A shard could not set itself up.
    #[error("shard {shard} cannot start: {error}; {advice}")]
    Shard {
        /// Which one.
        shard: u8,
        /// What failed.
        error: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// Nothing can be relayed.
    #[error(
        "no media port can be bound: the limit on open files allows none; raise LimitNOFILE (`ulimit -n`)"
    )]
    Descriptors,
    /// The system gives no random bytes.
    #[error("cannot read random bytes: {0}")]
    Random(io::Error),
}

/// Open the sockets, start the shard threads and wait until all of them serve.
pub fn launch(settings: &Settings) -> Result<Launched, LaunchError> {
    let cpus = settings.cpus.clone().unwrap_or_else(allowed_cpus);
    let shards = settings
        .shards
        .unwrap_or_else(|| u8::try_from(cpus.len()).unwrap_or(u8::MAX))
        .max(1);
    let tls = Arc::new(tls::Shared::load(Arc::clone(&settings.snapshot))?);
    let backend = backend::choose(settings.backend).map_err(LaunchError::Backend)?;

    let interfaces = &settings.snapshot.media.interfaces;
    let media_pairs_configured: Vec<usize> = interfaces.iter().map(pairs_of).collect();
    let streams_wanted = if settings
        .snapshot
        .listeners
        .iter()
        .any(|listener| listener.transport != Transport::Udp)
    {
        (settings.snapshot.streams.connections_max).saturating_mul(usize::from(shards))
    } else {
        0
    };
    let room = sockets::allow_descriptors(Room {
        pairs: media_pairs_configured.iter().sum(),
        streams: streams_wanted,
    });
    let allowed = sockets::share_pairs(room.pairs, &media_pairs_configured);
    if media_pairs_configured
        .iter()
        .zip(&allowed)
        .any(|(&wanted, &allowed)| allowed == 0 && wanted > 0)
    {
        return Err(LaunchError::Descriptors);
    }
    // By shard, and then by interface.
    let mut slices: Vec<Vec<MediaPorts>> = (0..shards).map(|_| Vec::new()).collect();
    let mut media_pairs_max = Vec::with_capacity(interfaces.len());
    for (interface, allowed) in interfaces.iter().zip(allowed) {
        let split = MediaPorts::split(interface, shards, allowed.div_ceil(usize::from(shards)));
        media_pairs_max.push(split.iter().map(MediaPorts::pairs_max).sum());
        for (of_shard, slice) in slices.iter_mut().zip(split) {
            of_shard.push(slice);
        }
    }

    let mut listeners: Vec<Vec<OwnedFd>> = (0..shards).map(|_| Vec::new()).collect();
    for listener in &settings.snapshot.listeners {
        let sockets = sockets::listener_sockets(listener, shards)?;
        for (of_shard, socket) in listeners.iter_mut().zip(sockets) {
            of_shard.push(socket);
        }
    }

    let (shard_links, links) = handover::link(shards).map_err(LaunchError::Thread)?;
    let seed = settings
        .seed
        .map_or_else(random, Ok)
        .map_err(LaunchError::Random)?;
    let token_key = settings
        .seed
        .map_or_else(random, Ok)
        .map_err(LaunchError::Random)?;
    let clock = Clock::start();
    let (ready, outcomes) = mpsc::channel();
    let mut threads = Vec::with_capacity(usize::from(shards));
    for (id, ((links, listeners), ports)) in
        (0..shards).zip(shard_links.into_iter().zip(listeners).zip(slices))
    {
        let setup = Setup {
            id: ShardId(id),
            shards,
            snapshot: Arc::clone(&settings.snapshot),
            admission: Arc::clone(&settings.admission),
            // Shards must not make the same choices.
            seed: seed ^ u64::from(id).wrapping_mul(0x9E37_79B9_7F4A_7C15),
            token_key,
            key_seed: random_bytes().map_err(LaunchError::Random)?,
            clock,
            links,
            listeners,
            tls: Arc::clone(&tls),
            streams_max: room.streams / usize::from(shards),
            ports,
            backend: backend.kind,
            gather: settings.gather,
            cpu: if settings.pin {
                cpus.get(usize::from(id) % cpus.len().max(1)).copied()
            } else {
                None
            },
        };
        let ready = ready.clone();
        let thread = thread::Builder::new()
            .name(format!("shard-{id}"))
            .spawn(move || shard_thread::run(setup, move |outcome| drop(ready.send((id, outcome)))))
            .map_err(LaunchError::Thread)?;
        threads.push(thread);
    }
    drop(ready);
    // The channel ends early only if a thread panicked, which has been printed by then.
    for _ in 0..shards {
        match outcomes.recv() {
            Ok((_, Ok(()))) => {}
            Ok((shard, Err(error))) => {
                return Err(LaunchError::Shard {
                    shard,
                    advice: sockets::media_advice(&error),
                    error,
                });
            }
            Err(_) => return Err(LaunchError::Thread(io::Error::other("a shard thread panicked"))),
        }
    }
    Ok(Launched {
        links,
        tls,
        clock,
        backend,
        media_pairs_max,
        media_pairs_configured,
        threads,
    })
}

impl Launched {
    /// Number of shards.
    pub fn shards(&self) -> usize {
        self.threads.len()
    }

    /// The handle to the shards, for the thread that calls this, and their threads, to be joined
    /// after all clones of the handle are gone.
    pub fn into_parts(self) -> (Shards, Threads) {
        (Shards::new(self.links), Threads(self.threads))
    }
}

/// The shard threads.
#[derive(Debug)]
pub struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    /// Wait for all threads to end; whether none of them panicked.
    pub fn join(self) -> bool {
        // All of them, also after one that panicked.
        self.0
            .into_iter()
            .map(JoinHandle::join)
            .fold(true, |clean, outcome| clean & outcome.is_ok())
    }
}

fn pairs_of(interface: &MediaInterface) -> usize {
    let all = MediaPorts::split(interface, 1, usize::MAX);
    all.iter().map(MediaPorts::pairs_max).sum()
}

/// The CPUs that this process may run on.
fn allowed_cpus() -> Vec<usize> {
    // SAFETY: all-zero is an empty CPU set, live for the call that fills it; CPU_ISSET stays
    // within its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) != 0 {
            return vec![0];
        }
        (0..libc::CPU_SETSIZE as usize)
            .filter(|&cpu| libc::CPU_ISSET(cpu, &set))
            .collect()
    }
}

fn random() -> io::Result<u64> {
    random_bytes().map(u64::from_ne_bytes)
}

/// `N` octets, at most 256, of the system's cryptographic source.
fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0_u8; N];
    // SAFETY: the buffer is `N` writable bytes. Requests of up to 256 bytes are never cut short.
    let len = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if usize::try_from(len) == Ok(N) {
        Ok(bytes)
    } else {
        Err(io::Error::last_os_error())
    }
}
