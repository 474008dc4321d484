//! A process without free descriptors accepts nothing, does not spin, and goes on when there are some.
#![cfg(feature = "driver")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the peers own sockets, too"
)]

mod stream_support;

use sbc_core::driver::backend::BackendKind;
use std::{
    fs::File,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};
use stream_support::{Daemon, Kind};

/// Let the process have few descriptors for a start; the daemon raises the limit to what it needs.
fn limit_descriptors() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is live.
    let outcome = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    assert_eq!(outcome, 0);
    limit.rlim_cur = 1024;
    // SAFETY: the struct is live.
    let outcome = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(outcome, 0);
}

/// Open files until there are no descriptors left.
fn take_all_descriptors() -> Vec<File> {
    let mut files = vec![File::open("/dev/null").unwrap()];
    while let Ok(file) = files[0].try_clone() {
        files.push(file);
        assert!(
            files.len() < 200_000,
            "the limit was raised beyond what is needed"
        );
    }
    files
}

fn is_answered(peer: &mut TcpStream, within: Duration) -> bool {
    peer.set_read_timeout(Some(within)).unwrap();
    let mut pong = [0; 2];
    loop {
        match peer.read_exact(&mut pong) {
            Ok(()) => return pong == *b"\r\n",
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    ErrorKind::WouldBlock,
                    "it must wait, not be cut off"
                );
                return false;
            }
        }
    }
}

/// One test only in this file: the limit is that of the process.
#[test]
fn connections_wait_while_there_are_no_descriptors() {
    for (net, backend) in [(40, BackendKind::IoUring), (41, BackendKind::Syscall)] {
        limit_descriptors();
        let Some(daemon) = Daemon::start(net, backend, 1, Kind::Tcp, Kind::Tcp) else {
            continue;
        };
        let sockets: Vec<_> = (0..3).map(|_| daemon.socket(2)).collect();
        let files = take_all_descriptors();
        let mut peers: Vec<_> = sockets
            .into_iter()
            .map(|socket| daemon.connected(socket, Kind::Tcp))
            .collect();
        for peer in &mut peers {
            peer.write_all(b"\r\n\r\n").unwrap();
        }
        assert!(!is_answered(&mut peers[0], Duration::from_millis(500)));
        drop(files);
        for peer in &mut peers {
            assert!(is_answered(peer, Duration::from_secs(5)), "{backend:?}");
        }
        let counters = &daemon.finish().shards[0];
        assert_eq!(counters.streams_accepted, 3);
        assert!(
            (1..=20).contains(&counters.accept_errors),
            "{backend:?}: {} tries in half a second",
            counters.accept_errors
        );
        assert!(counters.io_turns < 500, "{} turns", counters.io_turns);
    }
}
