//! One shard thread: feeds a [`Shard`] from a [`Backend`] and carries out what it wants.
//!
//! A turn: take what the other threads sent, run due timers, send media of our own that is due, connect sockets, bind a few more media
//! ports if they run low, begin to write to connections, wake the threads we wrote to, then send everything and sleep in one
//! step, and run what arrived. Nothing in a turn blocks, and every part of it is bounded.

mod ports;
mod streams;

use super::{
    backend::{Arrival, Backend, BackendKind, Wait},
    clock::Clock,
    connections::Connections,
    handover::{Letter, Note, ShardLinks},
    log,
    pace::Pace,
    ring::Ring,
    sockets::{self, MediaPorts},
    sparing::Sparing,
    stopwatch::Stopwatch,
    syscall::Syscall,
    tls,
};
use crate::{
    admission::Admission,
    shard::{Level, Output, Reply, Shard, ShardId},
    snapshot::Snapshot,
    time::Timestamp,
    transport::Transport,
};
use ports::Interface;
use sbc_media::relay::{SocketAction, Verdict};
use std::{io, os::fd::OwnedFd, sync::Arc, time::Duration};

/// Handed-over messages taken from one sender in one turn.
const LETTERS_PER_TURN: usize = 256;
/// Requests of the control thread run in one turn.
const REQUESTS_PER_TURN: usize = 4;

/// All a shard thread is made from.
pub(crate) struct Setup {
    pub(crate) id: ShardId,
    pub(crate) shards: u8,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) admission: Arc<Admission>,
    pub(crate) seed: u64,
    /// For the keys of SRTP: 256 bits of the system's entropy.
    pub(crate) key_seed: [u8; 32],
    pub(crate) token_key: u64,
    pub(crate) clock: Clock,
    pub(crate) links: ShardLinks,
    pub(crate) listeners: Vec<OwnedFd>,
    pub(crate) tls: Arc<tls::Shared>,
    /// Connections that there are descriptors for.
    pub(crate) streams_max: usize,
    /// Of each media interface.
    pub(crate) ports: Vec<MediaPorts>,
    pub(crate) backend: BackendKind,
    pub(crate) gather: Duration,
    pub(crate) cpu: Option<usize>,
}

/// Run the shard until the control thread ends. `ready` is called once, before the first turn,
/// with the outcome of setting up.
pub(crate) fn run(setup: Setup, ready: impl FnOnce(io::Result<()>)) {
    if let Some(cpu) = setup.cpu
        && let Err(error) = pin(cpu)
    {
        tracing::warn!(shard = setup.id.0, "cannot pin to CPU {cpu}: {error}");
    }
    // The ring belongs to the thread that opens it.
    match setup.backend {
        BackendKind::IoUring => run_on(setup, Ring::open(), ready),
        BackendKind::Syscall => run_on(setup, Syscall::open(), ready),
    }
}

fn run_on<B: Backend>(setup: Setup, backend: io::Result<B>, ready: impl FnOnce(io::Result<()>)) {
    let id = setup.id.0;
    match backend.and_then(|backend| ShardThread::new(setup, backend)) {
        Ok(mut thread) => {
            ready(Ok(()));
            if let Err(error) = thread.run() {
                tracing::error!(shard = id, "waiting for I/O failed: {error}");
            }
        }
        Err(error) => ready(Err(error)),
    }
}

fn pin(cpu: usize) -> io::Result<()> {
    // SAFETY: all-zero is an empty CPU set; CPU_SET ignores a CPU beyond the set; the set is live.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

struct ShardThread<B> {
    shard: Shard,
    backend: B,
    links: ShardLinks,
    clock: Clock,
    pace: Pace,
    connections: Connections,
    tls: tls::View,
    /// What one piece of a stream under TLS said; kept for its memory.
    plain: Vec<u8>,
    sparing: Sparing,
    interfaces: Vec<Interface>,
    /// Media port pairs bound so far, of all interfaces.
    pairs: u32,
    id: ShardId,
    /// When the wall clock is looked at again.
    epoch_due: Timestamp,
}

/// How often the wall clock is looked at: it may have been set.
const EPOCH_INTERVAL: Duration = Duration::from_secs(10);
/// After so many arrivals in one turn the clock is read again.
const ARRIVALS_PER_READING: u32 = 32;

impl<B: Backend> ShardThread<B> {
    fn new(setup: Setup, mut backend: B) -> io::Result<Self> {
        for (socket, listener) in setup.listeners.into_iter().zip(&setup.snapshot.listeners) {
            match listener.transport {
                Transport::Udp => backend.add_listener(socket)?,
                Transport::Tcp | Transport::Tls => backend.add_stream_listener(socket)?,
            }
        }
        backend.watch(setup.links.waker().fd())?;
        let mut shard = Shard::new(
            setup.id,
            setup.shards,
            setup.snapshot,
            setup.admission,
            setup.seed,
            setup.token_key,
        );
        shard.seed_keys(setup.key_seed);
        let mut thread = Self {
            shard,
            backend,
            links: setup.links,
            pace: Pace::new(setup.gather, &setup.clock),
            clock: setup.clock,
            connections: Connections::new(setup.streams_max),
            tls: tls::View::new(setup.tls),
            plain: Vec::new(),
            sparing: Sparing::default(),
            interfaces: Interface::each(setup.ports),
            pairs: 0,
            id: setup.id,
            epoch_due: Timestamp::ZERO,
        };
        thread.bind_first_ports()?;
        Ok(thread)
    }

    fn run(&mut self) -> io::Result<()> {
        let mut stopwatch = Stopwatch::of_this_thread(self.clock.now());
        while !self.links.control_ended() {
            self.run_messages();
            self.run_timers();
            self.run_own_media();
            self.run_socket_actions();
            self.bind_more_ports();
            self.run_connections();
            self.links.wake_receivers();
            let wait = self.plan_wait();
            let slept = self.sleep(wait);
            let now = self.clock.now();
            self.shard
                .handle_wake(now, *slept.as_ref().unwrap_or(&Duration::ZERO));
            if let Some(spent) = stopwatch.measure(now) {
                self.shard.handle_spent(now, &spent);
            }
            self.links.waker().awake();
            slept?;
            self.backend.counters().io_turns += 1;
            self.run_arrivals(now);
        }
        Ok(())
    }

    /// Send what is queued, and sleep as `wait` says. How long it slept: sending is work, so it is done before.
    fn sleep(&mut self, wait: Wait) -> io::Result<Duration> {
        if self.backend.submit()? && wait.gather.is_zero() || wait == Wait::NONE {
            return Ok(Duration::ZERO);
        }
        let asleep = self.clock.now();
        self.backend.wait(wait)?;
        Ok(self.clock.now().since(asleep))
    }

    fn run_arrivals(&mut self, mut now: Timestamp) {
        if self.epoch_due <= now {
            self.shard.set_epoch(self.clock.epoch_s());
            self.epoch_due = now + EPOCH_INTERVAL;
        }
        let mut arrivals = 0u32;
        while let Some(arrival) = self.backend.next() {
            // Timers are to be set from when it is, however much has come.
            arrivals += 1;
            self.pace.arrival();
            if arrivals.is_multiple_of(ARRIVALS_PER_READING) {
                now = self.clock.now();
            }
            match arrival {
                Arrival::Media {
                    socket,
                    from,
                    mut packet,
                } => {
                    let len = packet.len as usize;
                    let buffer = self.backend.room(&packet);
                    match self.shard.relay.forward(now, socket, from, buffer, len) {
                        Verdict::Forward { socket, to, len } => {
                            packet.len = len as u32;
                            self.backend.forward(packet, socket, to);
                        }
                        Verdict::Drop(_) => self.backend.release(packet),
                    }
                }
                Arrival::Sip {
                    listener,
                    from,
                    packet,
                } => {
                    let bytes = self.backend.bytes(&packet);
                    self.shard.handle_datagram(now, listener, from, bytes);
                    self.backend.release(packet);
                    self.run_outputs();
                }
                Arrival::Unreachable { listener, peer } => {
                    self.shard.handle_unreachable(now, listener, peer);
                    self.run_outputs();
                }
                Arrival::Accepted { listener, socket } => self.accepted(now, listener, socket),
                Arrival::AcceptPaused { listener, errno } => self.accept_paused(now, listener, errno),
                Arrival::Stream(key, event) => self.stream_event(now, key, event),
            }
        }
        self.run_media_events(now);
    }

    /// Send the packets of our own that are due.
    fn run_own_media(&mut self) {
        let now = self.clock.now();
        if self.shard.relay.poll_timeout().is_none_or(|due| due > now) {
            return;
        }
        // Without a free buffer they are late by a turn.
        while let Some(mut packet) = self.backend.blank() {
            let room = self.backend.room(&packet);
            match self.shard.relay.poll_transmit(now, room) {
                Some(Verdict::Forward { socket, to, len }) => {
                    packet.len = len as u32;
                    self.backend.forward(packet, socket, to);
                }
                Some(Verdict::Drop(_)) => self.backend.release(packet),
                None => {
                    self.backend.release(packet);
                    break;
                }
            }
        }
        self.run_media_events(now);
    }

    fn run_media_events(&mut self, now: Timestamp) {
        if self.shard.relay.has_events() {
            self.shard.handle_media(now);
            self.run_outputs();
        }
    }

    fn run_messages(&mut self) {
        let now = self.clock.now();
        for sender in 0..self.links.senders() {
            for _ in 0..LETTERS_PER_TURN {
                let Some(Letter { hop, payload, send }) = self.links.letter(sender) else {
                    break;
                };
                if send {
                    self.shard.handle_send(now, hop, payload);
                } else {
                    self.shard.handle_handover(now, hop, &payload);
                }
                self.run_outputs();
            }
        }
        for _ in 0..REQUESTS_PER_TURN {
            let Some((id, command)) = self.links.request() else {
                break;
            };
            self.shard.handle_command(now, id, command);
            self.run_outputs();
        }
    }

    fn run_timers(&mut self) {
        let now = self.clock.now();
        if self.shard.poll_timeout().is_some_and(|due| due <= now) {
            self.shard.handle_timeout(now);
            self.run_outputs();
        }
    }

    fn run_outputs(&mut self) {
        while let Some(output) = self.shard.poll_output() {
            match output {
                Output::Transmit {
                    listener,
                    peer,
                    payload,
                } => self.backend.transmit(listener, peer, payload),
                Output::Handover { shard, hop, payload } => {
                    let send = false;
                    self.hand_over(shard, Letter { hop, payload, send });
                }
                Output::SendVia { hop, payload } => {
                    let send = true;
                    if let Some(flow) = hop.flow {
                        self.hand_over(flow.shard, Letter { hop, payload, send });
                    }
                }
                Output::Connect {
                    connection,
                    listener,
                    peer,
                    trunk,
                } => self.connect(connection, listener, peer, trunk),
                Output::Send { connection, payload } => {
                    self.connections.send(connection, payload);
                }
                Output::Close { connection, abort } => self.close(connection, abort),
                Output::Resolve { id, query } => self.note(Note::Resolve(id, query)),
                Output::Bind(change) => self.note(Note::Bind(change)),
                Output::Record(record) => {
                    if log::wanted(Level::Debug) {
                        self.note(Note::Record(record));
                    }
                }
                Output::Event(event) => {
                    if log::wanted(event.level) {
                        self.note(Note::Event(event));
                    }
                }
                Output::Reply(id, mut reply) => {
                    if let Reply::Stats(counters, _) = &mut *reply {
                        counters.add(self.backend.counters());
                    }
                    self.links.reply(id, reply);
                }
            }
        }
        self.bind_ports_when_short();
    }

    fn hand_over(&mut self, to: ShardId, letter: Letter) {
        if !self.links.hand_over(to, letter) {
            self.backend.counters().handover_dropped += 1;
        }
    }

    fn note(&mut self, note: Note) {
        if !self.links.note(note) {
            self.backend.counters().events_dropped += 1;
        }
    }

    fn run_socket_actions(&mut self) {
        let mut flushed = false;
        while let Some(action) = self.shard.relay.poll_action() {
            // Packets already queued leave under the address that was right for them.
            if !std::mem::replace(&mut flushed, true) {
                self.backend.flush();
            }
            match action {
                SocketAction::Connect { socket, peer } => {
                    let Some(fd) = self.backend.media_socket(socket) else {
                        continue;
                    };
                    match sockets::connect(fd, peer) {
                        Ok(()) => self.shard.relay.connected(socket, peer),
                        Err(_) => {
                            self.shard.relay.connect_failed(socket);
                            self.backend.counters().media_connect_errors += 1;
                        }
                    }
                }
                SocketAction::Disconnect { socket } => {
                    let Some(fd) = self.backend.media_socket(socket) else {
                        continue;
                    };
                    if sockets::disconnect(fd).is_err() {
                        self.backend.counters().media_connect_errors += 1;
                    }
                }
            }
            self.backend.counters().io_syscalls += 1;
        }
    }

    /// How long to sleep. From here until the backend sleeps, senders write to the eventfd.
    fn plan_wait(&mut self) -> Wait {
        self.links.waker().about_to_sleep();
        let handshakes = self.connections.handshakes_waiting() > 0;
        if self.links.has_news() || handshakes || self.is_binding() || self.links.control_ended() {
            return Wait::NONE;
        }
        let now: Timestamp = self.clock.now();
        let due = [
            self.shard.poll_timeout(),
            self.shard.relay.poll_timeout(),
            self.connections.deadline(),
        ];
        let timeout = due.into_iter().flatten().min().map(|due| due.since(now));
        Wait {
            timeout,
            gather: self.pace.gather(now),
        }
    }
}
