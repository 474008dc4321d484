//! The sockets: SIP listeners, one per shard on the same address, and the pairs of media ports.

use super::address::RawAddress;
use crate::{
    snapshot::{Listener, MediaInterface},
    transport::Transport,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, Shutdown, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// Kernel buffer asked for on SIP sockets: a whole trunk may arrive on one socket.
const SIP_BUFFER: usize = 4 << 20;
/// How often and how long apart a port in use is tried again at start: three seconds in all, because
/// a busy kernel has been seen to take more than one.
const IN_USE_TRIES: usize = 60;
const IN_USE_PAUSE: Duration = Duration::from_millis(50);
/// Connections that may wait to be accepted; `net.core.somaxconn` may allow fewer.
const BACKLOG: i32 = 4096;
/// Descriptors kept back from media ports and connections: rings, eventfds, admin clients, files.
const DESCRIPTORS_RESERVED: u64 = 512;

/// Why a SIP listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("listener {name}: cannot bind {protocol} {bind}: {error}; {advice}")]
pub struct ListenerError {
    name: String,
    protocol: &'static str,
    bind: SocketAddr,
    error: io::Error,
    advice: &'static str,
}

/// Open `count` sockets on `listener`'s address, one per shard; the kernel spreads datagrams by
/// source, connections by both ends, over them.
pub(crate) fn listener_sockets(listener: &Listener, count: u8) -> Result<Vec<OwnedFd>, ListenerError> {
    let bind = listener.bind;
    let datagrams = listener.transport == Transport::Udp;
    let explain = |error: io::Error| ListenerError {
        name: listener.name.clone(),
        protocol: if datagrams { "UDP" } else { "TCP" },
        bind,
        advice: if datagrams {
            bind_advice(&error)
        } else {
            listen_advice(&error)
        },
        error,
    };
    let open = |reuse_port| {
        let socket = if datagrams {
            let socket = udp(bind, reuse_port)?;
            if reuse_port {
                grow_buffers(&socket);
            }
            socket
        } else {
            // Connections inherit the mark.
            tcp_listener(bind, reuse_port)?
        };
        mark(&socket, bind.is_ipv4(), listener.dscp)?;
        Ok(socket)
    };
    // SO_REUSEPORT would let a second daemon of the same user share the port unnoticed and take
    // half of the traffic. A socket without it finds out; it is closed before the real ones open.
    drop(patiently(|| open(false)).map_err(explain)?);
    (0..count)
        .map(|_| open(true).map(OwnedFd::from))
        .collect::<io::Result<_>>()
        .map_err(explain)
}

/// Retry a bind for a moment: the kernel closes the ring of a daemon that was killed, and with it
/// the sockets, some time after the process has gone, and a service manager restarts at once.
fn patiently(bind: impl Fn() -> io::Result<Socket>) -> io::Result<Socket> {
    for _ in 0..IN_USE_TRIES {
        match bind() {
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => pause(),
            outcome => return outcome,
        }
    }
    bind()
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the driver, and no shard runs yet"
)]
fn pause() {
    std::thread::sleep(IN_USE_PAUSE);
}

fn udp(bind: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(bind),
        Type::DGRAM.nonblocking(),
        Some(Protocol::UDP),
    )?;
    if bind.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&bind.into())?;
    Ok(socket)
}

/// A listening socket. Connections of an earlier daemon that rest in TIME-WAIT do not hold its port.
pub(crate) fn tcp_listener(bind: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(bind),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    if bind.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    // Connections inherit it: a message must not wait for the acknowledgement of the last one.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&bind.into())?;
    socket.listen(if reuse_port { BACKLOG } else { 0 })?;
    Ok(socket)
}

/// A socket to connect from the address of a listener, at a port of the kernel's choice, whose packets are
/// marked with `dscp`.
pub(crate) fn tcp_client(listener: SocketAddr, peer: SocketAddr, dscp: u8) -> io::Result<OwnedFd> {
    let socket = Socket::new(
        Domain::for_address(peer),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    mark(&socket, peer.is_ipv4(), dscp)?;
    if listener.is_ipv4() == peer.is_ipv4() && !listener.ip().is_unspecified() {
        // The port is chosen when the peer is known: one port serves many peers.
        set_int(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        let mut from = listener;
        from.set_port(0);
        socket.bind(&from.into())?;
    }
    Ok(socket.into())
}

/// The address at the other end of a connection; `None` when it is gone already.
pub(crate) fn peer_of(socket: BorrowedFd<'_>) -> Option<SocketAddr> {
    SockRef::from(&socket).peer_addr().ok()?.as_socket()
}

/// The error that a connection, or the attempt to make it, has ended with; 0: none.
pub(crate) fn pending_error(socket: BorrowedFd<'_>) -> i32 {
    match SockRef::from(&socket).take_error() {
        Ok(None) => 0,
        Ok(Some(error)) | Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
    }
}

/// Tell the peer of a connection that nothing more will be written.
pub(crate) fn end(socket: BorrowedFd<'_>) {
    // Fails only when the connection is gone, which says as much.
    let _ = SockRef::from(&socket).shutdown(Shutdown::Write);
}

/// End a connection in both directions: every operation on it completes.
pub(crate) fn shut_down(socket: BorrowedFd<'_>) {
    let _ = SockRef::from(&socket).shutdown(Shutdown::Both);
}

/// Let the close of a connection drop what is not written and send a reset.
pub(crate) fn reset_on_close(socket: BorrowedFd<'_>) {
    // Fails for no socket that is one; without it the close is an orderly one.
    let _ = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
}

/// Ask for large buffers, past `net.core.rmem_max` when we may; the kernel grants what it can.
fn grow_buffers(socket: &Socket) {
    let bytes = SIP_BUFFER as libc::c_int;
    for (forced, plain) in [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ] {
        if set_int(socket, libc::SOL_SOCKET, forced, bytes).is_err() {
            // Never fails: the kernel caps the value silently.
            let _ = set_int(socket, libc::SOL_SOCKET, plain, bytes);
        }
    }
}

/// Mark what `socket` sends with a differentiated services code point: the upper six bits of what was the type of
/// service, or the traffic class (RFC 2474 §3). The lower two are of congestion notification.
fn mark(socket: &Socket, ipv4: bool, dscp: u8) -> io::Result<()> {
    let class = libc::c_int::from(dscp) << 2;
    match (dscp, ipv4) {
        (0, _) => Ok(()),
        (_, true) => set_int(socket, libc::IPPROTO_IP, libc::IP_TOS, class),
        (_, false) => set_int(socket, libc::IPPROTO_IPV6, libc::IPV6_TCLASS, class),
    }
}

fn set_int(socket: &Socket, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the pointer and length describe one live integer; the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn listen_advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "another program (or another sbcd) uses this port: `ss -ltnp` shows which; stop it or change `address`"
        }
        _ => bind_advice(error),
    }
}

fn bind_advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "another program (or another sbcd) uses this port: `ss -lunp` shows which; stop it or change `address`"
        }
        Some(libc::EADDRNOTAVAIL) => {
            "no interface has this address: `ip address` shows those of this machine"
        }
        Some(libc::EACCES) => {
            "ports below 1024 need CAP_NET_BIND_SERVICE (the systemd unit grants it) or root; or use a higher port"
        }
        Some(libc::EMFILE | libc::ENFILE) => "too many open files: raise LimitNOFILE (`ulimit -n`)",
        Some(libc::EAFNOSUPPORT) => "this kernel has no such address family (is IPv6 disabled?)",
        _ => "check `address` in the configuration",
    }
}

/// Connect a bound media socket, so that sends need no address and strangers reach no farther
/// than the kernel.
pub(crate) fn connect(socket: BorrowedFd<'_>, peer: SocketAddr) -> io::Result<()> {
    let address = RawAddress::from(peer);
    // SAFETY: the address is live and `len` bytes long; the descriptor is open.
    let result = unsafe { libc::connect(socket.as_raw_fd(), address.as_ptr(), address.len()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Undo [`connect`]. The socket keeps its port, because it was bound to it by us.
pub(crate) fn disconnect(socket: BorrowedFd<'_>) -> io::Result<()> {
    let unspecified = libc::sockaddr {
        sa_family: libc::AF_UNSPEC as libc::sa_family_t,
        sa_data: [0; 14],
    };
    // SAFETY: the address is live and of the given length; the descriptor is open.
    let result = unsafe {
        libc::connect(
            socket.as_raw_fd(),
            &raw const unspecified,
            size_of_val(&unspecified) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// One bound pair: RTP on the even `port`, RTCP on `port + 1`.
#[derive(Debug)]
pub(crate) struct BoundPair {
    pub(crate) port: u16,
    pub(crate) rtp: OwnedFd,
    pub(crate) rtcp: OwnedFd,
}

/// A shard's slice of the media ports, bound from the bottom up as calls need them.
#[derive(Debug)]
pub(crate) struct MediaPorts {
    bind: IpAddr,
    dscp: u8,
    /// Even port to try next; past `end` when the slice is used up. Wider than a port, to hold 65536.
    next: u32,
    /// First port after the slice.
    end: u32,
    bound: usize,
    bound_max: usize,
    /// Even ports of pairs that somebody else held when they were last tried. It may be a daemon
    /// that has just ended, so they are not lost.
    held: VecDeque<u16>,
    /// Pauses that the start of this shard has made for them.
    pauses: usize,
}

impl MediaPorts {
    /// Split the ports of `interface` over `shards` slices of whole pairs; at most `pairs_max` of each are
    /// bound.
    pub(crate) fn split(interface: &MediaInterface, shards: u8, pairs_max: usize) -> Vec<Self> {
        let first = u32::from(interface.ports.0).next_multiple_of(2);
        let pairs = (u32::from(interface.ports.1) + 1).saturating_sub(first) / 2;
        let shards = u32::from(shards.max(1));
        (0..shards)
            .map(|shard| Self {
                bind: interface.bind,
                dscp: interface.dscp,
                next: first + pairs * shard / shards * 2,
                end: first + pairs * (shard + 1) / shards * 2,
                bound: 0,
                bound_max: pairs_max,
                held: VecDeque::new(),
                pauses: 0,
            })
            .collect()
    }

    /// Pairs in this slice that may be bound at most.
    pub(crate) fn pairs_max(&self) -> usize {
        (self.bound + (self.end.saturating_sub(self.next) / 2) as usize).min(self.bound_max)
    }

    /// Whether every pair has been tried, or no further one may be bound.
    pub(crate) fn exhausted(&self) -> bool {
        self.next >= self.end || self.bound >= self.bound_max
    }

    /// Pairs bound so far.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// Pairs skipped because another program holds one of their ports.
    pub(crate) fn in_use_elsewhere(&self) -> usize {
        self.held.len()
    }

    /// Bind the next pair whose two ports are free, trying at most `tries`. `None`: not this time,
    /// or [`Self::exhausted`].
    pub(crate) fn bind_next(&mut self, tries: usize) -> io::Result<Option<BoundPair>> {
        for _ in 0..tries {
            if self.exhausted() {
                return Ok(None);
            }
            let Ok(port) = u16::try_from(self.next) else {
                return Ok(None);
            };
            match self.bind_pair(port) {
                Ok(pair) => {
                    self.next += 2;
                    self.bound += 1;
                    return Ok(Some(pair));
                }
                Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => {
                    self.next += 2;
                    self.held.push_back(port);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Bind one of the skipped pairs, trying at most `tries`. `None`: all that were tried are still
    /// in use.
    pub(crate) fn bind_held(&mut self, tries: usize) -> io::Result<Option<BoundPair>> {
        for _ in 0..tries.min(self.held.len()) {
            if self.bound >= self.bound_max {
                return Ok(None);
            }
            let Some(port) = self.held.pop_front() else {
                return Ok(None);
            };
            match self.bind_pair(port) {
                Ok(pair) => {
                    self.bound += 1;
                    return Ok(Some(pair));
                }
                Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) => self.held.push_back(port),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// At start: bind one of the skipped pairs, waiting for it when need be. The
    /// kernel closes the media ports of an ended daemon as late as its listeners.
    pub(crate) fn await_held(&mut self) -> io::Result<Option<BoundPair>> {
        loop {
            let pair = self.bind_held(usize::MAX)?;
            let hopeless = self.held.is_empty() || self.bound >= self.bound_max;
            if pair.is_some() || hopeless || self.pauses >= IN_USE_TRIES {
                return Ok(pair);
            }
            self.pauses += 1;
            pause();
        }
    }

    /// Bind no more: the system has refused for a reason that another port will not cure.
    pub(crate) fn give_up(&mut self) {
        self.bound_max = self.bound;
    }

    fn bind_pair(&self, port: u16) -> io::Result<BoundPair> {
        let rtp = udp(SocketAddr::new(self.bind, port), false)?;
        let rtcp = udp(SocketAddr::new(self.bind, port | 1), false)?;
        for socket in [&rtp, &rtcp] {
            mark(socket, self.bind.is_ipv4(), self.dscp)?;
        }
        Ok(BoundPair {
            port,
            rtp: rtp.into(),
            rtcp: rtcp.into(),
        })
    }
}

/// Why the first media ports could not be bound.
pub(crate) fn media_advice(error: &io::Error) -> &'static str {
    bind_advice(error)
}

/// What the limit on open descriptors leaves room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Pairs of media ports.
    pub(crate) pairs: usize,
    /// Connections of all shards.
    pub(crate) streams: usize,
}

impl Room {
    /// Share out `descriptors`. When they do not suffice, connections have what media leaves them,
    /// but at least a quarter: one connection may carry the signalling of a thousand calls.
    fn within(self, descriptors: u64) -> Self {
        let free = usize::try_from(descriptors.saturating_sub(DESCRIPTORS_RESERVED)).unwrap_or(usize::MAX);
        let left = free.saturating_sub(self.pairs.saturating_mul(2));
        let streams = self.streams.min(left.max(free / 4));
        Self {
            pairs: self.pairs.min((free - streams) / 2),
            streams,
        }
    }
}

/// Share out `pairs` over interfaces that want `wanted` each: all that they want, or the same part of it.
pub(crate) fn share_pairs(pairs: usize, wanted: &[usize]) -> Vec<usize> {
    let total: u128 = wanted.iter().map(|&wanted| wanted as u128).sum();
    let share = |wanted: usize| {
        let part = (wanted as u128 * pairs as u128).checked_div(total).unwrap_or(0);
        usize::try_from(part).map_or(wanted, |part| part.min(wanted))
    };
    wanted.iter().map(|&wanted| share(wanted)).collect()
}

/// Raise the limit on open descriptors as far as we may, towards what `wish` needs. Returns what it
/// allows of that.
pub(crate) fn allow_descriptors(wish: Room) -> Room {
    let wanted = (wish.pairs as u64)
        .saturating_mul(2)
        .saturating_add(wish.streams as u64)
        .saturating_add(DESCRIPTORS_RESERVED);
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a live rlimit to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return wish;
    }
    if limit.rlim_cur < wanted {
        let raised = libc::rlimit {
            rlim_cur: wanted,
            rlim_max: limit.rlim_max.max(wanted),
        };
        let hard = libc::rlimit {
            rlim_cur: limit.rlim_max.min(wanted),
            rlim_max: limit.rlim_max,
        };
        // SAFETY: both are live rlimits to read from. The first succeeds only with
        // CAP_SYS_RESOURCE, unless the hard limit suffices; the second always.
        let granted = unsafe {
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
                raised.rlim_cur
            } else if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const hard) == 0 {
                hard.rlim_cur
            } else {
                limit.rlim_cur
            }
        };
        limit.rlim_cur = granted;
    }
    wish.within(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(bind: [u8; 4], ports: (u16, u16)) -> MediaInterface {
        MediaInterface {
            name: "test".to_owned(),
            bind: bind.into(),
            advertised: bind.into(),
            ports,
            dscp: 46,
        }
    }

    fn slices(ports: (u16, u16), shards: u8) -> Vec<(u32, u32)> {
        MediaPorts::split(&interface([127, 0, 0, 1], ports), shards, usize::MAX)
            .into_iter()
            .map(|slice| (slice.next, slice.end))
            .collect()
    }

    /// One slice of three pairs on an address of this test, and somebody who holds the second.
    fn slice_with_a_held_pair(host: u8) -> (MediaPorts, Socket) {
        let interface = interface([127, 78, 1, host], (20000, 20005));
        let other = udp(SocketAddr::new(interface.bind, 20003), false).unwrap();
        let mut slices = MediaPorts::split(&interface, 1, usize::MAX);
        (slices.remove(0), other)
    }

    fn port(pair: io::Result<Option<BoundPair>>) -> Option<u16> {
        pair.unwrap().map(|pair| pair.port)
    }

    #[test]
    fn a_pair_in_use_elsewhere_is_skipped_and_bound_once_it_is_free() {
        let (mut ports, other) = slice_with_a_held_pair(1);
        assert_eq!(port(ports.bind_next(8)), Some(20000));
        assert_eq!(port(ports.bind_next(8)), Some(20004));
        assert_eq!((ports.bound(), ports.in_use_elsewhere()), (2, 1));
        assert!(ports.exhausted());
        assert_eq!(port(ports.bind_held(8)), None);
        drop(other);
        assert_eq!(port(ports.bind_held(8)), Some(20002));
        assert_eq!((ports.bound(), ports.in_use_elsewhere()), (3, 0));
    }

    #[test]
    fn the_start_waits_for_ports_of_a_daemon_that_has_just_ended() {
        let (mut ports, other) = slice_with_a_held_pair(2);
        while port(ports.bind_next(8)).is_some() {}
        #[allow(
            clippy::disallowed_methods,
            reason = "somebody else's ports close in their time"
        )]
        let closing = std::thread::spawn(move || {
            std::thread::sleep(3 * IN_USE_PAUSE);
            drop(other);
        });
        assert_eq!(port(ports.await_held()), Some(20002));
        closing.join().unwrap();
        assert!(ports.pauses > 0);
        assert_eq!(port(ports.await_held()), None, "nothing is left to wait for");
    }

    #[test]
    fn the_start_does_not_wait_for_ever() {
        let (mut ports, _other) = slice_with_a_held_pair(3);
        while port(ports.bind_next(8)).is_some() {}
        assert_eq!(port(ports.await_held()), None);
        assert_eq!(ports.pauses, IN_USE_TRIES);
    }

    #[test]
    fn no_more_pairs_are_bound_than_there_is_room_for() {
        let (mut ports, other) = slice_with_a_held_pair(4);
        while port(ports.bind_next(8)).is_some() {}
        drop(other);
        ports.give_up();
        assert_eq!(port(ports.bind_held(8)), None);
        assert_eq!(port(ports.await_held()), None);
        assert_eq!(ports.pauses, 0);
    }

    #[test]
    fn descriptors_are_shared_between_media_and_connections() {
        let wish = Room {
            pairs: 1000,
            streams: 400,
        };
        let within = |free: u64| {
            let Room { pairs, streams } = wish.within(free + DESCRIPTORS_RESERVED);
            (pairs, streams)
        };
        assert_eq!(within(10_000), (1000, 400));
        assert_eq!(within(2_400), (1000, 400), "just enough");
        assert_eq!(
            within(2_300),
            (950, 400),
            "a quarter is enough for all connections"
        );
        assert_eq!(within(1_000), (375, 250));
        assert_eq!(within(0), (0, 0));
        assert_eq!(wish.within(0).pairs, 0);
    }

    #[test]
    fn interfaces_share_what_there_is_by_what_they_want() {
        assert_eq!(share_pairs(1000, &[100, 300]), [100, 300]);
        assert_eq!(share_pairs(200, &[100, 300]), [50, 150]);
        assert_eq!(share_pairs(3, &[100, 300]), [0, 2]);
        assert_eq!(share_pairs(7, &[0]), [0]);
        assert_eq!(share_pairs(usize::MAX, &[32_768, 5]), [32_768, 5]);
    }

    #[test]
    fn slices_are_even_disjoint_and_cover_the_range() {
        assert_eq!(slices((20000, 20007), 2), [(20000, 20004), (20004, 20008)]);
        assert_eq!(slices((20000, 20005), 2), [(20000, 20002), (20002, 20006)]);
        assert_eq!(
            slices((20001, 20006), 1),
            [(20002, 20006)],
            "odd ends hold no pair"
        );
        assert_eq!(
            slices((65534, 65535), 1),
            [(65534, 65536)],
            "the last pair of all"
        );
        assert_eq!(
            slices((20000, 20001), 3),
            [(20000, 20000), (20000, 20000), (20000, 20002)]
        );
    }
}
