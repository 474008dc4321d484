//! What both backends must do with TCP connections, against real sockets on the loopback interface.
#![allow(clippy::disallowed_types, reason = "the peers of the backend under test")]

use super::{
    backend::{Arrival, Backend, StreamEvent, StreamKey, Wait},
    ring::Ring,
    sockets,
    syscall::Syscall,
};
use crate::shard::ListenerId;
use bytes::Bytes;
use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

const BRIEF: Wait = Wait {
    timeout: Some(Duration::from_millis(5)),
    gather: Duration::ZERO,
};
/// Waits that a test spends before it gives up.
const PATIENCE: usize = 1000;

/// A backend that listens, and where.
fn listening<B: Backend>(mut backend: B) -> (B, SocketAddr) {
    static HOSTS: AtomicU8 = AtomicU8::new(1);
    let host = Ipv4Addr::new(127, 77, 1, HOSTS.fetch_add(1, Ordering::Relaxed));
    let socket = sockets::tcp_listener((host, 0).into(), true).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    backend.add_stream_listener(socket.into()).unwrap();
    (backend, address)
}

fn connected(to: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(to).unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    peer
}

fn arrival<B: Backend>(backend: &mut B) -> Arrival {
    for _ in 0..PATIENCE {
        if let Some(arrival) = backend.next() {
            return arrival;
        }
        backend.wait(BRIEF).unwrap();
    }
    panic!("nothing arrived");
}

fn accepted<B: Backend>(backend: &mut B) -> OwnedFd {
    match arrival(backend) {
        Arrival::Accepted {
            listener: ListenerId(0),
            socket,
        } => socket,
        other => panic!("expected a connection, got {other:?}"),
    }
}

/// An accepted connection and its peer.
fn pair<B: Backend>(backend: &mut B, address: SocketAddr) -> (StreamKey, TcpStream) {
    let peer = connected(address);
    let socket = accepted(backend);
    assert_eq!(sockets::peer_of(socket.as_fd()), peer.local_addr().ok());
    (backend.open_stream(socket).unwrap(), peer)
}

fn event<B: Backend>(backend: &mut B) -> (StreamKey, StreamEvent) {
    match arrival(backend) {
        Arrival::Stream(key, event) => (key, event),
        other => panic!("expected a stream's event, got {other:?}"),
    }
}

/// Bytes that came on `stream`, until there are `len`.
fn received<B: Backend>(backend: &mut B, stream: StreamKey, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < len {
        match event(backend) {
            (key, StreamEvent::Received(packet)) if key == stream => {
                bytes.extend_from_slice(backend.bytes(&packet));
                backend.release(packet);
            }
            other => panic!("expected bytes, got {other:?}"),
        }
    }
    bytes
}

fn written<B: Backend>(backend: &mut B, stream: StreamKey, len: usize) {
    let mut left = len;
    while left > 0 {
        match event(backend) {
            (key, StreamEvent::Written(some)) if key == stream => left -= some,
            other => panic!("expected progress, got {other:?}"),
        }
    }
}

fn nothing_more<B: Backend>(backend: &mut B) {
    for _ in 0..10 {
        backend.wait(BRIEF).unwrap();
        if let Some(arrival) = backend.next() {
            panic!("unexpected {arrival:?}");
        }
    }
}

/// How a peer sees the end: `Ok` in order, or the error.
fn end_of(peer: &mut TcpStream) -> Result<usize, ErrorKind> {
    let mut rest = Vec::new();
    loop {
        match peer.read_to_end(&mut rest) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            outcome => return outcome.map_err(|error| error.kind()),
        }
    }
}

/// Run each test on both backends.
macro_rules! on_both_backends {
    ($($name:ident)+) => {
        mod on_io_uring {
            $(#[test] fn $name() {
                // Where io_uring is forbidden there is nothing to test, and the daemon says so.
                match super::Ring::open() {
                    Ok(ring) => super::$name(ring),
                    Err(error) => eprintln!("skipped: no io_uring here: {error}"),
                }
            })+
        }
        mod on_system_calls {
            $(#[test] fn $name() { super::$name(super::Syscall::open().unwrap()); })+
        }
    };
}

on_both_backends! {
    bytes_flow_both_ways_without_delay
    a_connection_is_opened_from_our_address
    a_refused_connection_is_reported
    an_unreachable_network_is_reported
    a_peer_that_has_ended_can_still_be_written_to
    a_reset_is_reported
    writing_to_a_peer_that_is_gone_is_an_error_not_a_signal
    a_slow_reader_gets_everything_and_costs_nothing_while_it_is_slow
    an_abort_in_the_middle_of_a_write_resets
    an_orderly_close_is_seen_as_an_end
    a_closed_connection_never_speaks_to_its_successor
    a_connect_can_be_given_up
    more_connections_than_buffers_are_served
    a_flood_of_connections_is_accepted_completely
    the_port_is_free_when_the_backend_is_gone
}

fn bytes_flow_both_ways_without_delay<B: Backend>(backend: B) {
    let (mut backend, address) = listening(backend);
    let mut peer = connected(address);
    let socket = accepted(&mut backend);
    assert!(socket2::SockRef::from(&socket).tcp_nodelay().unwrap());
    let stream = backend.open_stream(socket).unwrap();
    for round in 0..5_u8 {
        peer.write_all(&[round; 700]).unwrap();
        assert_eq!(received(&mut backend, stream, 700), [round; 700]);
        backend.write_stream(stream, Bytes::from(vec![round; 900]));
        written(&mut backend, stream, 900);
        let mut answer = [0; 900];
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [round; 900]);
    }
    nothing_more(&mut backend);
}

fn a_connection_is_opened_from_our_address<B: Backend>(mut backend: B) {
    let server = TcpListener::bind("127.77.1.250:0").unwrap();
    let to = server.local_addr().unwrap();
    let socket = sockets::tcp_client("127.77.1.251:5060".parse().unwrap(), to, 0).unwrap();
    assert!(socket2::SockRef::from(&socket).tcp_nodelay().unwrap());
    let stream = backend.connect_stream(socket, to).unwrap();
    assert!(matches!(event(&mut backend), (key, StreamEvent::Connected) if key == stream));
    let (mut peer, from) = server.accept().unwrap();
    assert_eq!(from.ip().to_string(), "127.77.1.251");
    assert_ne!(from.port(), 5060);
    peer.write_all(b"hello").unwrap();
    assert_eq!(received(&mut backend, stream, 5), b"hello");
    backend.write_stream(stream, Bytes::from_static(b"yes?"));
    written(&mut backend, stream, 4);
    let mut answer = [0; 4];
    peer.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"yes?");
}

/// The error of connecting to `to`, told at once or later.
fn connect_error<B: Backend>(backend: &mut B, to: SocketAddr) -> i32 {
    let from = "127.77.1.251:5060".parse().unwrap();
    let socket = sockets::tcp_client(from, to, 0).unwrap();
    match backend.connect_stream(socket, to) {
        Ok(stream) => match event(backend) {
            (key, StreamEvent::Failed(errno)) if key == stream => errno,
            other => panic!("expected an error, got {other:?}"),
        },
        Err(error) => error.raw_os_error().unwrap(),
    }
}

fn a_refused_connection_is_reported<B: Backend>(mut backend: B) {
    let closed = TcpListener::bind("127.77.1.250:0").unwrap().local_addr().unwrap();
    assert_eq!(connect_error(&mut backend, closed), libc::ECONNREFUSED);
}

fn an_unreachable_network_is_reported<B: Backend>(mut backend: B) {
    // From the loopback nothing else can be reached.
    let errno = connect_error(&mut backend, "192.0.2.1:5060".parse().unwrap());
    assert!(
        matches!(errno, libc::EINVAL | libc::ENETUNREACH | libc::EHOSTUNREACH),
        "{errno}"
    );
}

fn a_peer_that_has_ended_can_still_be_written_to<B: Backend>(backend: B) {
    let (mut backend, address) = listening(backend);
    let (stream, mut peer) = pair(&mut backend, address);
    peer.write_all(b"last").unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(received(&mut backend, stream, 4), b"last");
    assert!(matches!(event(&mut backend), (key, StreamEvent::Ended) if key == stream));
    nothing_more(&mut backend);
    backend.write_stream(stream, Bytes::from_static(b"answer"));
    written(&mut backend, stream, 6);
    backend.end_stream(stream);
    assert_eq!(end_of(&mut peer), Ok(6));
}

fn a_reset_is_reported<B: Backend>(backend: B) {
    let (mut backend, address) = listening(backend);
    let (stream, peer) = pair(&mut backend, address);
    sockets::reset_on_close(peer.as_fd());
    drop(peer);
    match event(&mut backend) {
        (key, StreamEvent::Failed(libc::ECONNRESET)) if key == stream => {}
        other => panic!("expected a reset, got {other:?}"),
    }
    backend.close_stream(stream, true);
    nothing_more(&mut backend);
}

fn writing_to_a_peer_that_is_gone_is_an_error_not_a_signal<B: Backend>(backend: B) {
    let (mut backend, address) = listening(backend);
    let (stream, peer) = pair(&mut backend, address);
    sockets::reset_on_close(peer.as_fd());
    drop(peer);
    backend.write_stream(stream, Bytes::from_static(b"too late"));
    let mut failed = false;
    for _ in 0..3 {
        match event(&mut backend) {
            (_, StreamEvent::Failed(libc::ECONNRESET | libc::EPIPE)) => {
                failed = true;
                break;
            }
            (_, StreamEvent::Written(_)) => {}
            other => panic!("expected an error, got {other:?}"),
        }
    }
    assert!(failed);
}

fn a_slow_reader_gets_everything_and_costs_nothing_while_it_is_slow<B: Backend>(backend: B) {
    const LEN: usize = 16 << 20;
    let (mut backend, address) = listening(backend);
    let (stream, mut peer) = pair(&mut backend, address);
    let payload: Vec<u8> = (0..LEN).map(|n| (n / 1000) as u8).collect();
    backend.write_stream(stream, Bytes::from(payload.clone()));
    let mut taken = 0;
    let mut progress = |backend: &mut B| {
        backend.wait(BRIEF).unwrap();
        while let Some(arrival) = backend.next() {
            match arrival {
                Arrival::Stream(key, StreamEvent::Written(some)) if key == stream => taken += some,
                other => panic!("expected progress, got {other:?}"),
            }
        }
        taken
    };
    // Until the kernel takes no more ...
    while progress(&mut backend) != progress(&mut backend) {}
    assert!(progress(&mut backend) < LEN);
    // ... and then the loop sleeps.
    let before = backend.counters().io_syscalls;
    for _ in 0..20 {
        progress(&mut backend);
    }
    let calls = backend.counters().io_syscalls - before;
    assert!(calls <= 25, "{calls} system calls in 20 waits of an idle loop");
    let reader = std::thread::Builder::new()
        .spawn(move || {
            let mut bytes = vec![0; LEN];
            peer.read_exact(&mut bytes).unwrap();
            bytes
        })
        .unwrap();
    let mut waits = 0;
    while progress(&mut backend) < LEN {
        waits += 1;
        assert!(waits < PATIENCE * 10);
    }
    assert!(reader.join().unwrap() == payload);
}

fn an_abort_in_the_middle_of_a_write_resets<B: Backend>(backend: B) {
    let (mut backend, address) = listening(backend);
    let (stream, mut peer) = pair(&mut backend, address);
    backend.write_stream(stream, Bytes::from(vec![0; 32 << 20]));
    backend.wait(BRIEF).unwrap();
    while backend.next().is_some() {}
    backend.close_stream(stream, true);
    nothing_more(&mut backend);
    assert_eq!(end_of(&mut peer), Err(ErrorKind::ConnectionReset));
}

fn an_orderly_close_is_seen_as_an_end<B: Backend>(backend: B) {
    let (mut backend, address) = listening(backend);
    let (stream, mut peer) = pair(&mut backend, address);
    backend.write_stream(stream, Bytes::from_static(b"bye"));
    written(&mut backend, stream, 3);
    backend.close_stream(stream, false);
    nothing_more(&mut backend);
    assert_eq!(end_of(&mut peer), Ok(3));
}

fn a_closed_connection_never_speaks_to_its_successor<B: Backend>(backend: B) {
    let (mut backend, address) = listening(backend);
    let (mut stream, mut peer) = pair(&mut backend, address);
    for round in 0..50_u8 {
        // Bytes, a write and an end are on their way when the connection is closed, some of them
        // fetched already.
        peer.write_all(b"from the old one").unwrap();
        backend.write_stream(stream, Bytes::from_static(b"to the old one"));
        if round % 3 == 0 {
            sockets::reset_on_close(peer.as_fd());
        }
        let mut next = connected(address);
        drop(peer);
        let socket = loop {
            match arrival(&mut backend) {
                Arrival::Accepted { socket, .. } => break socket,
                Arrival::Stream(_, StreamEvent::Received(packet)) => backend.release(packet),
                Arrival::Stream(..) => {}
                other => panic!("{other:?}"),
            }
        };
        backend.close_stream(stream, round % 2 == 0);
        let successor = backend.open_stream(socket).unwrap();
        next.write_all(&[round; 10]).unwrap();
        let mut bytes = Vec::new();
        while bytes.len() < 10 {
            match event(&mut backend) {
                (key, StreamEvent::Received(packet)) => {
                    assert_eq!(key, successor);
                    bytes.extend_from_slice(backend.bytes(&packet));
                    backend.release(packet);
                }
                other => panic!("round {round}: {other:?} belongs to the old connection"),
            }
        }
        assert_eq!(bytes, [round; 10]);
        (stream, peer) = (successor, next);
    }
}

fn a_connect_can_be_given_up<B: Backend>(mut backend: B) {
    // A listener whose backlog is full lets nobody in and refuses nobody.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&"127.77.1.249:0".parse::<SocketAddr>().unwrap().into())
        .unwrap();
    full.listen(0).unwrap();
    let to = full.local_addr().unwrap().as_socket().unwrap();
    let _first = TcpStream::connect(to).unwrap();
    let from = "127.77.1.251:5060".parse().unwrap();
    let socket = sockets::tcp_client(from, to, 0).unwrap();
    let stream = backend.connect_stream(socket, to).unwrap();
    nothing_more(&mut backend);
    backend.close_stream(stream, true);
    nothing_more(&mut backend);
}

fn more_connections_than_buffers_are_served<B: Backend>(backend: B) {
    let (mut backend, address) = listening(backend);
    let count = usize::from(super::ring::STREAM_BUFFERS) + 100;
    let mut peers = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..count {
        let (stream, peer) = pair(&mut backend, address);
        streams.push(stream);
        peers.push(peer);
    }
    // All at once, and more than one buffer each.
    for peer in &mut peers {
        peer.write_all(&[7; 6000]).unwrap();
    }
    let mut bytes = vec![0; count];
    while bytes.iter().any(|&len| len < 6000) {
        match event(&mut backend) {
            (key, StreamEvent::Received(packet)) => {
                let of = streams.iter().position(|stream| *stream == key).unwrap();
                let part = backend.bytes(&packet);
                assert!(part.iter().all(|&byte| byte == 7));
                bytes[of] += part.len();
                backend.release(packet);
            }
            other => panic!("expected bytes, got {other:?}"),
        }
    }
    assert!(bytes.iter().all(|&len| len == 6000));
}

fn a_flood_of_connections_is_accepted_completely<B: Backend>(backend: B) {
    let (mut backend, address) = listening(backend);
    let peers: Vec<_> = (0..200).map(|_| connected(address)).collect();
    for _ in &peers {
        drop(accepted(&mut backend));
    }
    nothing_more(&mut backend);
    assert_eq!(backend.counters().accept_errors, 0);
}

fn the_port_is_free_when_the_backend_is_gone<B: Backend>(backend: B) {
    let (mut backend, address) = listening(backend);
    let (stream, peer) = pair(&mut backend, address);
    backend.write_stream(stream, Bytes::from(vec![0; 32 << 20]));
    backend.wait(BRIEF).unwrap();
    drop(backend);
    drop(peer);
    // As the next daemon would: alone first, then beside its siblings.
    drop(sockets::tcp_listener(address, false).unwrap());
    sockets::tcp_listener(address, true).unwrap();
}
