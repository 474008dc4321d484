//! Calls over TCP and TLS through running shards, over real sockets, on both I/O backends.
#![cfg(feature = "driver")]
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the peers own sockets and threads, too"
)]

mod stream_support;

use sbc_core::driver::backend::BackendKind;
use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};
use stream_support::{Answering, Daemon, Kind, Wire, Worth, call};

const BACKENDS: [(u8, BackendKind); 2] = [(0, BackendKind::IoUring), (1, BackendKind::Syscall)];

/// `calls` calls from a carrier that speaks `from` to a platform that speaks `to`.
fn calls(net: u8, from: Kind, to: Kind, shards: u8, calls: u32) {
    for (n, backend) in BACKENDS {
        let Some(daemon) = Daemon::start(net + n, backend, shards, from, to) else {
            continue;
        };
        let platform = Answering::start(&daemon, to);
        let mut carrier = Wire::open(&daemon, from);
        for id in 0..calls {
            call(&mut carrier, id);
        }
        let Worth { shards: stats, .. } = daemon.finish();
        assert_eq!(
            platform.acknowledged(),
            calls,
            "{from:?} to {to:?} on {backend:?}"
        );
        let sum = |count: fn(&sbc_core::counters::ShardCounters) -> u64| stats.iter().map(count).sum::<u64>();
        assert_eq!(sum(|c| c.calls_answered), u64::from(calls));
        assert_eq!(sum(|c| c.internal_errors + c.handover_dropped), 0);
        assert_eq!(sum(|c| c.tls_failures + c.streams_broken), 0);
        let stream = |kind| u64::from(kind != Kind::Udp);
        assert_eq!(sum(|c| c.streams_accepted), stream(from));
        let tls = |kind| u64::from(kind == Kind::Tls);
        assert!(sum(|c| c.tls_handshakes) >= tls(from) + tls(to));
        if shards > 1 {
            assert!(
                stats.iter().all(|c| c.calls_answered > 0),
                "both shards own calls"
            );
            assert!(
                sum(|c| c.handed_over) > 0,
                "messages came on the other shard's connection"
            );
        }
    }
}

#[test]
fn a_call_over_tcp() {
    calls(20, Kind::Tcp, Kind::Tcp, 1, 1);
}

#[test]
fn a_call_over_tls() {
    calls(22, Kind::Tls, Kind::Tls, 1, 1);
}

#[test]
fn calls_from_udp_to_tls() {
    calls(24, Kind::Udp, Kind::Tls, 1, 3);
}

#[test]
fn calls_from_tls_to_udp() {
    calls(26, Kind::Tls, Kind::Udp, 1, 3);
}

#[test]
fn calls_over_one_tcp_connection_live_on_both_shards() {
    calls(28, Kind::Tcp, Kind::Tcp, 2, 20);
}

#[test]
fn calls_over_one_tls_connection_live_on_both_shards() {
    calls(30, Kind::Tls, Kind::Tls, 2, 20);
}

/// What the daemon does with a connection: `true` when it ends it, in order or by a reset.
fn is_ended(connection: &mut TcpStream) -> bool {
    connection.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let mut bytes = [0; 4096];
    loop {
        match connection.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn strangers_and_garbage_are_cut_off_and_calls_go_on() {
    for (n, backend) in BACKENDS {
        let Some(daemon) = Daemon::start(32 + n, backend, 1, Kind::Tls, Kind::Udp) else {
            continue;
        };
        let platform = Answering::start(&daemon, Kind::Udp);
        let mut carrier = Wire::open(&daemon, Kind::Tls);
        call(&mut carrier, 1);
        // An address that no trunk lists.
        assert!(is_ended(&mut daemon.connect_from(9, Kind::Tls)));
        // No TLS at all.
        let mut plain = daemon.connect_from(2, Kind::Tls);
        plain.write_all(b"OPTIONS sip:sbc SIP/2.0\r\n\r\n").unwrap();
        assert!(is_ended(&mut plain));
        // An end in the middle of the handshake.
        let mut half = daemon.connect_from(2, Kind::Tls);
        half.write_all(&[0x16, 3, 1]).unwrap();
        half.shutdown(Shutdown::Write).unwrap();
        assert!(is_ended(&mut half));
        call(&mut carrier, 2);
        let worth = daemon.finish();
        let stats = &worth.shards[0];
        assert_eq!(platform.acknowledged(), 2);
        assert_eq!((stats.tls_handshakes, stats.tls_failures), (1, 2));
        assert_eq!(stats.calls_answered, 2);
    }
}

#[test]
fn a_peer_without_a_certificate_is_refused_where_one_is_required() {
    for (n, backend) in BACKENDS {
        let Some(daemon) = Daemon::start(34 + n, backend, 1, Kind::Tls, Kind::Udp) else {
            continue;
        };
        let outcome = Wire::try_without_certificate(&daemon);
        assert!(outcome.is_err(), "{outcome:?}");
        let worth = daemon.finish();
        assert_eq!(
            (worth.shards[0].tls_handshakes, worth.shards[0].tls_failures),
            (0, 1)
        );
    }
}

#[test]
fn a_platform_with_another_name_gets_no_call() {
    for (n, backend) in BACKENDS {
        let Some(mut daemon) = Daemon::start(36 + n, backend, 1, Kind::Udp, Kind::Tls) else {
            continue;
        };
        daemon.platform_is("other.test");
        let platform = Answering::start(&daemon, Kind::Tls);
        let mut carrier = Wire::open(&daemon, Kind::Udp);
        carrier.invite(1);
        let refusal = carrier.expect_final();
        assert!(refusal.starts_with("SIP/2.0 5"), "{refusal}");
        let worth = daemon.finish();
        assert_eq!(platform.acknowledged(), 0);
        assert_eq!(worth.shards[0].tls_handshakes, 0);
        assert!(worth.shards[0].tls_failures > 0);
    }
}
