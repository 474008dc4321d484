//! What both backends must do, against real sockets on the loopback interface.

use super::{
    backend::{Arrival, Backend, MEDIA_GROWTH, MEDIA_PACKET_LEN, OWN_PACKET_LEN, Packet, Wait},
    handover::Waker,
    ring::Ring,
    sockets::{connect, disconnect},
    syscall::Syscall,
};
use crate::shard::ListenerId;
use bytes::Bytes;
use sbc_media::relay::MediaSocket;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

#[allow(clippy::disallowed_types, reason = "the peers of the backend under test")]
type Peer = std::net::UdpSocket;

const BRIEF: Wait = Wait {
    timeout: Some(Duration::from_millis(5)),
    gather: Duration::ZERO,
};
/// Waits that a test spends before it gives up on a packet.
const PATIENCE: usize = 400;

fn peer() -> Peer {
    let peer = Peer::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    peer
}

/// Sockets for a backend, on an address of their own, so that no other test takes their ports. Bound
/// to explicit ports, as the real ones are: only those keep their port when disconnected.
fn bound(host: u8) -> Peer {
    let any = Peer::bind((Ipv4Addr::new(127, 77, 0, host), 0)).unwrap();
    let address = any.local_addr().unwrap();
    drop(any);
    Peer::bind(address).unwrap()
}

/// A backend with `pairs` media pairs and one listener, and the addresses of all of them.
fn with_sockets<B: Backend>(mut backend: B, pairs: usize) -> (B, Vec<SocketAddr>, SocketAddr) {
    static HOSTS: AtomicU8 = AtomicU8::new(1);
    let host = HOSTS.fetch_add(1, Ordering::Relaxed);
    let mut addresses = Vec::new();
    for _ in 0..pairs {
        let (rtp, rtcp) = (bound(host), bound(host));
        addresses.extend([rtp.local_addr().unwrap(), rtcp.local_addr().unwrap()]);
        backend.add_media_pair(rtp.into(), rtcp.into()).unwrap();
    }
    let listener = bound(host);
    let listener_address = listener.local_addr().unwrap();
    backend.add_listener(listener.into()).unwrap();
    (backend, addresses, listener_address)
}

/// The next arrival, waiting for it.
fn arrival<B: Backend>(backend: &mut B) -> Arrival {
    for _ in 0..PATIENCE {
        if let Some(arrival) = backend.next() {
            return arrival;
        }
        backend.wait(BRIEF).unwrap();
    }
    panic!("nothing arrived");
}

fn media<B: Backend>(backend: &mut B) -> (MediaSocket, SocketAddr, Packet) {
    match arrival(backend) {
        Arrival::Media { socket, from, packet } => (socket, from, packet),
        other => panic!("expected media, got {other:?}"),
    }
}

fn receive(peer: &Peer) -> (Vec<u8>, SocketAddr) {
    let mut bytes = vec![0; 70_000];
    let (len, from) = loop {
        match peer.recv_from(&mut bytes) {
            // Work of a ring in this process may interrupt the wait.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            received => break received.unwrap(),
        }
    };
    bytes.truncate(len);
    (bytes, from)
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
    media_leaves_from_the_named_socket_to_the_named_address
    media_may_grow_and_shrink_in_its_buffer
    packets_of_our_own_leave_more_than_there_are_buffers
    media_leaves_a_connected_socket_without_an_address
    a_disconnected_socket_keeps_its_port_and_hears_everyone
    a_closed_peer_port_does_not_end_reception
    media_longer_than_a_buffer_is_counted_and_dropped
    the_largest_sip_datagram_arrives_whole
    sip_messages_reach_their_peers_in_order
    an_unreachable_sip_peer_is_reported
    an_empty_datagram_is_an_arrival
    a_waker_ends_the_wait
    a_submit_sends_and_keeps_what_has_come
    a_wait_ends_in_time
    gathering_takes_more_packets_per_wake_up
    sockets_are_free_when_the_backend_is_gone
}

fn media_leaves_from_the_named_socket_to_the_named_address<B: Backend>(backend: B) {
    let (mut backend, addresses, _) = with_sockets(backend, 2);
    let (sender, sink) = (peer(), peer());
    for round in 0..3_u8 {
        sender.send_to(&[round; 172], addresses[0]).unwrap();
        let (socket, from, packet) = media(&mut backend);
        assert_eq!((socket, from), (MediaSocket(0), sender.local_addr().unwrap()));
        let bytes = backend.bytes(&packet);
        assert_eq!(bytes, [round; 172]);
        bytes[0] = 0x80;
        backend.forward(packet, MediaSocket(2), Some(sink.local_addr().unwrap()));
        backend.wait(BRIEF).unwrap();
        let (bytes, from) = receive(&sink);
        assert_eq!(
            (bytes[0], &bytes[1..], from),
            (0x80, &[round; 171][..], addresses[2])
        );
    }
}

fn packets_of_our_own_leave_more_than_there_are_buffers<B: Backend>(backend: B) {
    let (mut backend, addresses, _) = with_sockets(backend, 1);
    // One for each round: a socket has room for few packets.
    let sinks: Vec<_> = (0..10).map(|_| peer()).collect();
    // One that is not filled after all.
    let unused = backend.blank().unwrap();
    backend.release(unused);
    for _ in 0..2 {
        for (round, sink) in sinks.iter().enumerate() {
            for n in 0..30 {
                let mut packet = backend.blank().expect("sent ones are free again");
                let room = backend.room(&packet);
                assert!(room.len() >= OWN_PACKET_LEN);
                room[..OWN_PACKET_LEN].fill(n);
                room[0] = round as u8;
                packet.len = OWN_PACKET_LEN as u32;
                assert_eq!(backend.bytes(&packet).len(), OWN_PACKET_LEN);
                backend.forward(packet, MediaSocket(1), Some(sink.local_addr().unwrap()));
            }
        }
        backend.wait(BRIEF).unwrap();
        for (round, sink) in sinks.iter().enumerate() {
            for n in 0..30 {
                let (bytes, from) = receive(sink);
                assert_eq!((bytes.len(), from), (OWN_PACKET_LEN, addresses[1]));
                assert_eq!(bytes[0], round as u8);
                assert_eq!(bytes[1..], [n; OWN_PACKET_LEN - 1]);
            }
        }
    }
    assert_eq!(backend.counters().media_send_errors, 0);
}

fn media_may_grow_and_shrink_in_its_buffer<B: Backend>(backend: B) {
    let (mut backend, addresses, _) = with_sockets(backend, 2);
    let (sender, sink) = (peer(), peer());
    for (came, leaves) in [
        (172, 192),
        (MEDIA_PACKET_LEN, MEDIA_PACKET_LEN + MEDIA_GROWTH),
        (172, 12),
    ] {
        sender.send_to(&vec![1; came], addresses[0]).unwrap();
        let (_, _, mut packet) = media(&mut backend);
        let room = backend.room(&packet);
        assert_eq!(room[..came], vec![1; came]);
        room[came.min(leaves)..leaves].fill(2);
        packet.len = leaves as u32;
        backend.forward(packet, MediaSocket(2), Some(sink.local_addr().unwrap()));
        backend.wait(BRIEF).unwrap();
        let mut expected = vec![2; leaves];
        expected[..came.min(leaves)].fill(1);
        assert_eq!(receive(&sink).0, expected);
    }
}

fn media_leaves_a_connected_socket_without_an_address<B: Backend>(backend: B) {
    let (mut backend, addresses, _) = with_sockets(backend, 1);
    let (sender, sink) = (peer(), peer());
    connect(
        backend.media_socket(MediaSocket(1)).unwrap(),
        sink.local_addr().unwrap(),
    )
    .unwrap();
    sender.send_to(b"packet", addresses[0]).unwrap();
    let (_, _, packet) = media(&mut backend);
    backend.forward(packet, MediaSocket(1), None);
    backend.flush();
    assert_eq!(receive(&sink), (b"packet".to_vec(), addresses[1]));
    // A connected socket hears its peer, and nobody else.
    sender.send_to(b"stranger", addresses[1]).unwrap();
    sink.send_to(b"peer", addresses[1]).unwrap();
    let (socket, from, packet) = media(&mut backend);
    assert_eq!((socket, from), (MediaSocket(1), sink.local_addr().unwrap()));
    assert_eq!(backend.bytes(&packet), b"peer");
    backend.release(packet);
}

fn a_disconnected_socket_keeps_its_port_and_hears_everyone<B: Backend>(backend: B) {
    let (mut backend, addresses, _) = with_sockets(backend, 1);
    let (first, second) = (peer(), peer());
    for _ in 0..3 {
        connect(
            backend.media_socket(MediaSocket(0)).unwrap(),
            first.local_addr().unwrap(),
        )
        .unwrap();
        first.send_to(b"while connected", addresses[0]).unwrap();
        let (_, from, packet) = media(&mut backend);
        assert_eq!(from, first.local_addr().unwrap());
        backend.release(packet);
        disconnect(backend.media_socket(MediaSocket(0)).unwrap()).unwrap();
        second.send_to(b"afterwards", addresses[0]).unwrap();
        let (socket, from, packet) = media(&mut backend);
        assert_eq!((socket, from), (MediaSocket(0), second.local_addr().unwrap()));
        // And it sends from the same port.
        backend.forward(packet, MediaSocket(0), Some(first.local_addr().unwrap()));
        backend.flush();
        assert_eq!(receive(&first).1, addresses[0]);
    }
}

fn a_closed_peer_port_does_not_end_reception<B: Backend>(backend: B) {
    let (mut backend, addresses, _) = with_sockets(backend, 1);
    let (sender, gone) = (peer(), peer());
    let gone_address = gone.local_addr().unwrap();
    connect(backend.media_socket(MediaSocket(0)).unwrap(), gone_address).unwrap();
    drop(gone);
    for _ in 0..8 {
        sender.send_to(b"to a closed port", addresses[1]).unwrap();
        let (_, _, packet) = media(&mut backend);
        backend.forward(packet, MediaSocket(0), None);
        backend.wait(BRIEF).unwrap();
    }
    assert!(backend.next().is_none());
    let counters = backend.counters();
    assert!(
        counters.media_send_refused + counters.receive_errors > 0,
        "the ICMP errors showed up somewhere"
    );
    // The peer opens its port again and is heard.
    let back = Peer::bind(gone_address).unwrap();
    back.send_to(b"back", addresses[0]).unwrap();
    let (socket, _, packet) = media(&mut backend);
    assert_eq!(socket, MediaSocket(0));
    backend.release(packet);
}

fn media_longer_than_a_buffer_is_counted_and_dropped<B: Backend>(backend: B) {
    let (mut backend, addresses, _) = with_sockets(backend, 1);
    let sender = peer();
    sender.send_to(&[1; 4000], addresses[0]).unwrap();
    sender.send_to(&[2; 1500], addresses[0]).unwrap();
    let (_, _, packet) = media(&mut backend);
    assert_eq!(backend.bytes(&packet), [2; 1500]);
    backend.release(packet);
    assert_eq!(backend.counters().media_truncated, 1);
}

fn the_largest_sip_datagram_arrives_whole<B: Backend>(backend: B) {
    let (mut backend, _, listener) = with_sockets(backend, 1);
    let sender = peer();
    let largest: Vec<u8> = (0..65_507_u32).map(|n| n as u8).collect();
    for datagram in [&largest[..], b"OPTIONS", &largest[..]] {
        sender.send_to(datagram, listener).unwrap();
        let Arrival::Sip {
            listener,
            from,
            packet,
        } = arrival(&mut backend)
        else {
            panic!("not SIP")
        };
        assert_eq!((listener, from), (ListenerId(0), sender.local_addr().unwrap()));
        assert!(backend.bytes(&packet) == datagram);
        backend.release(packet);
    }
}

fn sip_messages_reach_their_peers_in_order<B: Backend>(backend: B) {
    let (mut backend, _, listener) = with_sockets(backend, 1);
    let peers = [peer(), peer()];
    for n in 0..100_u8 {
        let to = &peers[usize::from(n % 2)];
        backend.transmit(ListenerId(0), to.local_addr().unwrap(), Bytes::from(vec![n; 700]));
    }
    backend.wait(BRIEF).unwrap();
    for n in 0..100_u8 {
        assert_eq!(receive(&peers[usize::from(n % 2)]), (vec![n; 700], listener));
    }
    assert_eq!(backend.counters().sip_send_errors, 0);
}

fn an_unreachable_sip_peer_is_reported<B: Backend>(backend: B) {
    let (mut backend, _, _) = with_sockets(backend, 1);
    let well = peer();
    // Port 0 can be sent to by nobody; a socket bound to the loopback reaches no other network.
    let unreachable: SocketAddr = "192.0.2.1:5060".parse().unwrap();
    backend.transmit(ListenerId(0), unreachable, Bytes::from_static(b"lost"));
    backend.transmit(
        ListenerId(0),
        well.local_addr().unwrap(),
        Bytes::from_static(b"well"),
    );
    backend.wait(BRIEF).unwrap();
    match arrival(&mut backend) {
        Arrival::Unreachable { listener, peer } => {
            assert_eq!((listener, peer), (ListenerId(0), unreachable));
        }
        other => panic!("expected an error, got {other:?}"),
    }
    assert_eq!(receive(&well).0, b"well");
    assert_eq!(backend.counters().sip_send_errors, 1);
}

fn an_empty_datagram_is_an_arrival<B: Backend>(backend: B) {
    let (mut backend, _, listener) = with_sockets(backend, 1);
    peer().send_to(b"", listener).unwrap();
    let Arrival::Sip { packet, .. } = arrival(&mut backend) else {
        panic!("not SIP")
    };
    assert_eq!(backend.bytes(&packet), b"");
    backend.release(packet);
}

fn a_waker_ends_the_wait<B: Backend>(mut backend: B) {
    let waker = Arc::new(Waker::new().unwrap());
    backend.watch(waker.fd()).unwrap();
    for _ in 0..50 {
        waker.about_to_sleep();
        let other = Arc::clone(&waker);
        let sender = std::thread::Builder::new().spawn(move || other.wake()).unwrap();
        // Would last for ever if the wake-up were lost.
        backend
            .wait(Wait {
                timeout: None,
                gather: Duration::ZERO,
            })
            .unwrap();
        waker.awake();
        sender.join().unwrap();
        assert!(backend.next().is_none());
    }
}

/// So that sending can be told from sleeping: it sends, does not sleep, and loses nothing that has come.
fn a_submit_sends_and_keeps_what_has_come<B: Backend>(backend: B) {
    let (mut backend, addresses, _) = with_sockets(backend, 1);
    assert!(!backend.submit().unwrap(), "nothing has come");
    let (sender, sink) = (peer(), peer());
    sender.send_to(b"first", addresses[0]).unwrap();
    let mut submits = 0;
    while !backend.submit().unwrap() {
        submits += 1;
        assert!(submits < 100_000, "nothing arrived");
    }
    let gather = Wait {
        timeout: Some(Duration::from_millis(20)),
        gather: Duration::from_millis(2),
    };
    backend.wait(gather).unwrap();
    let (_, _, packet) = media(&mut backend);
    assert_eq!(backend.bytes(&packet), b"first");
    backend.forward(packet, MediaSocket(0), Some(sink.local_addr().unwrap()));
    backend.submit().unwrap();
    assert_eq!(receive(&sink).0, b"first");
}

fn a_wait_ends_in_time<B: Backend>(backend: B) {
    let (mut backend, _, _) = with_sockets(backend, 1);
    let clock = super::clock::Clock::start();
    for gather in [Duration::ZERO, Duration::from_micros(500)] {
        let before = clock.now();
        backend
            .wait(Wait {
                timeout: Some(Duration::from_millis(20)),
                gather,
            })
            .unwrap();
        let waited = clock.now().since(before);
        assert!(
            waited >= Duration::from_millis(20),
            "woke after {waited:?}, before the timer was due"
        );
        assert!(waited < Duration::from_secs(1), "woke after {waited:?}");
    }
}

fn gathering_takes_more_packets_per_wake_up<B: Backend>(backend: B) {
    let (mut backend, addresses, _) = with_sockets(backend, 32);
    let sender = peer();
    let gather = Wait {
        timeout: Some(Duration::from_secs(1)),
        gather: Duration::from_millis(2),
    };
    for address in &addresses {
        sender.send_to(b"packet", address).unwrap();
    }
    let before = backend.counters().io_syscalls;
    let mut packets = 0;
    while packets < addresses.len() {
        backend.wait(gather).unwrap();
        while let Some(arrival) = backend.next() {
            let Arrival::Media { packet, .. } = arrival else {
                panic!("not media")
            };
            backend.release(packet);
            packets += 1;
        }
    }
    assert_eq!(packets, 64);
    let receiving = if std::any::type_name::<B>() == std::any::type_name::<Ring>() {
        0
    } else {
        64
    };
    let waiting = backend.counters().io_syscalls - before - receiving;
    assert!(
        waiting <= 6,
        "{waiting} system calls to wait for 64 packets that were there"
    );
}

fn sockets_are_free_when_the_backend_is_gone<B: Backend>(backend: B) {
    let (mut backend, addresses, listener) = with_sockets(backend, 4);
    backend.wait(BRIEF).unwrap();
    drop(backend);
    for address in addresses.iter().chain([&listener]) {
        Peer::bind(address).unwrap();
    }
}

#[test]
fn an_exhausted_buffer_ring_is_counted_and_recovers() {
    let Ok(ring) = Ring::open() else { return };
    let (mut ring, addresses, _) = with_sockets(ring, 1);
    let sender = peer();
    let buffers = usize::from(super::ring::MEDIA_BUFFERS);
    let mut held = Vec::new();
    while ring.counters().ring_buffers_exhausted == 0 {
        assert!(held.len() <= buffers, "there are no more buffers than that");
        for _ in 0..32 {
            sender.send_to(b"packet", addresses[0]).unwrap();
        }
        ring.wait(BRIEF).unwrap();
        while let Some(arrival) = ring.next() {
            let Arrival::Media { packet, .. } = arrival else {
                panic!("not media")
            };
            held.push(packet);
        }
    }
    assert_eq!(held.len(), buffers);
    for packet in held {
        ring.release(packet);
    }
    // What waited in the socket arrives now, and what comes later too.
    for _ in 0..100 {
        let (_, _, packet) = media(&mut ring);
        ring.release(packet);
        sender.send_to(b"packet", addresses[0]).unwrap();
    }
}

/// With more waiting than there are buffers, each socket is told so once, not in every turn: or with
/// thousands of them the telling takes longer than the packets.
#[test]
fn a_backlog_beyond_the_buffers_is_worked_off_without_a_storm() {
    const PAIRS: usize = 256;
    let Ok(ring) = Ring::open() else { return };
    let (mut ring, addresses, _) = with_sockets(ring, PAIRS);
    let (sender, sink) = (peer(), peer());
    let to = sink.local_addr().unwrap();
    ring.wait(Wait::NONE).unwrap();
    for address in &addresses {
        for _ in 0..8 {
            sender.send_to(b"packet", address).unwrap();
        }
    }
    let mut left = 8 * addresses.len();
    assert!(left >= 4 * usize::from(super::ring::MEDIA_BUFFERS));
    let gather = Wait {
        gather: Duration::from_millis(5),
        ..BRIEF
    };
    while left > 0 {
        ring.wait(gather).unwrap();
        while let Some(arrival) = ring.next() {
            let Arrival::Media { packet, .. } = arrival else {
                panic!("not media")
            };
            ring.forward(packet, MediaSocket(1), Some(to));
            left -= 1;
        }
    }
    let starved = ring.counters().ring_buffers_exhausted;
    assert!(starved > 0, "nothing was short: the test tests nothing");
    assert!(starved <= addresses.len() as u64, "{starved}");
}

#[test]
fn a_batch_is_relayed_with_one_enter_and_its_buffers_return() {
    let Ok(ring) = Ring::open() else { return };
    let (mut ring, addresses, _) = with_sockets(ring, 1);
    let (sender, sink) = (peer(), peer());
    let to = sink.local_addr().unwrap();
    // Many times the number of buffers, so that one that is lost would be missed.
    for _ in 0..200 {
        let before = ring.counters().io_syscalls;
        for _ in 0..100 {
            sender.send_to(b"packet", addresses[0]).unwrap();
        }
        let mut relayed = 0;
        while relayed < 100 {
            ring.wait(BRIEF).unwrap();
            while let Some(arrival) = ring.next() {
                let Arrival::Media { packet, .. } = arrival else {
                    panic!("not media")
                };
                ring.forward(packet, MediaSocket(1), Some(to));
                relayed += 1;
            }
        }
        ring.flush();
        for _ in 0..100 {
            receive(&sink);
        }
        let enters = ring.counters().io_syscalls - before;
        assert!(enters <= 10, "{enters} enters for 100 packets");
    }
    assert_eq!(ring.counters().ring_buffers_exhausted, 0);
    assert_eq!(ring.counters().media_send_errors, 0);
}
