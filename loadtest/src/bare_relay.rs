//! The yardstick: the least that an RTP relay on a raw ring must do, and nothing more.
//!
//! A static table, one pair of connected sockets per call, multishot receives into provided
//! buffers, every packet sent from the buffer it came in, one system call per batch. It knows
//! no RTP, no latching, no statistics. It runs as a process of its own (`loadtest bare-relay`)
//! so that its CPU time is read in the same way as the daemon's.
//!
//! It answers each line on its standard input with one line of JSON counters and ends when
//! the input does.

use crate::{
    Error, Result,
    ring::{Completion, Ring, Tag, Wait},
};
use serde::{Deserialize, Serialize};
use std::{
    io::{BufRead, Write},
    net::{SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const BUFFERS: u16 = 8192;
const BUFFER_LEN: usize = 256;

/// Where the relay and its peers are. Call `i` has port `base + 2 i` everywhere.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BareRelay {
    /// Calls to relay.
    #[arg(long, default_value_t = 500)]
    pub(crate) calls: u16,
    /// Address and first port of the sockets towards side A.
    #[arg(long)]
    pub(crate) listen_a: SocketAddr,
    /// Address and first port of the sockets towards side B.
    #[arg(long)]
    pub(crate) listen_b: SocketAddr,
    /// Address and first port of side A.
    #[arg(long)]
    pub(crate) peer_a: SocketAddr,
    /// Address and first port of side B.
    #[arg(long)]
    pub(crate) peer_b: SocketAddr,
    /// Completions that end the wait early.
    #[arg(long, default_value_t = 128)]
    pub(crate) wait_nr: u32,
}

/// What the relay did since its start.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct BareCounters {
    /// Packets received.
    pub(crate) received: u64,
    /// Packets the kernel accepted for sending.
    pub(crate) sent: u64,
    /// Sends the kernel refused.
    pub(crate) send_errors: u64,
    /// Receives that ended because no buffer was free.
    pub(crate) buffers_exhausted: u64,
    /// `io_uring_enter` calls.
    pub(crate) enters: u64,
}

#[derive(Debug, Default)]
struct Shared {
    received: AtomicU64,
    sent: AtomicU64,
    send_errors: AtomicU64,
    buffers_exhausted: AtomicU64,
    enters: AtomicU64,
}

impl Shared {
    fn read(&self) -> BareCounters {
        BareCounters {
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            send_errors: self.send_errors.load(Ordering::Relaxed),
            buffers_exhausted: self.buffers_exhausted.load(Ordering::Relaxed),
            enters: self.enters.load(Ordering::Relaxed),
        }
    }
}

/// Address `base` with the port of call `index`.
pub(crate) fn port_of(base: SocketAddr, index: u16) -> SocketAddr {
    SocketAddr::new(base.ip(), base.port() + 2 * index)
}

/// A socket bound to `local` and connected to `peer`.
pub(crate) fn connected(local: SocketAddr, peer: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(local).map_err(|source| Error::Io {
        what: format!("binding {local}"),
        source,
    })?;
    socket.connect(peer).map_err(|source| Error::Io {
        what: format!("connecting {local} to {peer}"),
        source,
    })?;
    Ok(socket)
}

/// Relay until standard input ends. A wake-up waits up to `coalesce` for more packets.
pub(crate) fn run(options: &BareRelay, coalesce: Duration) -> Result<()> {
    // Even indices face side A, odd ones side B: a packet leaves from the socket `index ^ 1`.
    let mut sockets = Vec::new();
    for call in 0..options.calls {
        sockets.push(connected(
            port_of(options.listen_a, call),
            port_of(options.peer_a, call),
        )?);
        sockets.push(connected(
            port_of(options.listen_b, call),
            port_of(options.peer_b, call),
        )?);
    }
    let shared = Arc::new(Shared::default());
    std::thread::Builder::new()
        .name("counters".into())
        .spawn({
            let shared = Arc::clone(&shared);
            move || answer(&shared)
        })
        .map_err(|source| Error::Io {
            what: "starting a thread".into(),
            source,
        })?;
    relay(options, coalesce, &sockets, &shared).map_err(|source| Error::Io {
        what: "relaying".into(),
        source,
    })
}

/// Answer every line with the counters; end the process at the end of input.
fn answer(shared: &Shared) {
    let mut output = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        if line.is_err() {
            break;
        }
        let text = serde_json::to_string(&shared.read()).unwrap_or_default();
        if writeln!(output, "{text}").and_then(|()| output.flush()).is_err() {
            break;
        }
    }
    std::process::exit(0);
}

fn relay(
    options: &BareRelay,
    coalesce: Duration,
    sockets: &[UdpSocket],
    shared: &Shared,
) -> std::io::Result<()> {
    let mut ring = Ring::new(BUFFERS, BUFFER_LEN)?;
    for (index, socket) in sockets.iter().enumerate() {
        ring.receive(index as u32, socket.as_raw_fd())?;
    }
    let wait = Wait {
        completions: if coalesce.is_zero() { 1 } else { options.wait_nr },
        coalesce,
        timeout: Duration::from_millis(100),
    };
    let mut completions: Vec<Completion> = Vec::with_capacity(4096);
    let mut counters = BareCounters::default();
    loop {
        ring.enter(wait, &mut completions)?;
        for completion in completions.drain(..) {
            match completion.tag {
                Tag::Receive { socket } => {
                    if let Some(buffer) = completion.buffer {
                        counters.received += 1;
                        let out = &sockets[(socket ^ 1) as usize];
                        ring.send_received(out.as_raw_fd(), buffer, completion.result.max(0) as usize)?;
                    } else if completion.result == -libc::ENOBUFS {
                        counters.buffers_exhausted += 1;
                    }
                    if !completion.more {
                        ring.receive(socket, sockets[socket as usize].as_raw_fd())?;
                    }
                }
                Tag::Send { buffer } => {
                    if completion.result < 0 {
                        counters.send_errors += 1;
                    } else {
                        counters.sent += 1;
                    }
                    ring.recycle(buffer);
                }
            }
        }
        shared.received.store(counters.received, Ordering::Relaxed);
        shared.sent.store(counters.sent, Ordering::Relaxed);
        shared.send_errors.store(counters.send_errors, Ordering::Relaxed);
        shared
            .buffers_exhausted
            .store(counters.buffers_exhausted, Ordering::Relaxed);
        shared.enters.store(ring.enters(), Ordering::Relaxed);
    }
}
