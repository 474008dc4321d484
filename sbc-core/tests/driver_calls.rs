//! Calls with media through running shards, over real sockets, on both I/O backends.
#![cfg(feature = "driver")]

mod driver_support;

use driver_support::{call, invite, rtp, start};
use sbc_core::driver::backend::BackendKind;

fn calls_with_media(net: u8, backend: BackendKind) {
    let Some(daemon) = start(net, backend, 2) else {
        return;
    };
    let (carrier, platform) = (daemon.carrier(), daemon.platform());
    for id in 0..20 {
        let up = call(&carrier, &platform, id);
        let mut buffer = [0; 2048];
        for sequence in 0..10 {
            let sent = rtp(sequence, 0xA);
            carrier.media.send_to(&sent, up.towards_carrier).unwrap();
            let (len, from) =
                driver_support::receive(&platform.media, &mut buffer).expect("RTP towards the platform");
            assert_eq!((&buffer[..len], from), (&sent[..], up.towards_platform));

            let sent = rtp(sequence, 0xB);
            platform.media.send_to(&sent, up.towards_platform).unwrap();
            let (len, from) =
                driver_support::receive(&carrier.media, &mut buffer).expect("RTP towards the carrier");
            assert_eq!((&buffer[..len], from), (&sent[..], up.towards_carrier));
        }
        up.hang_up(&carrier, &platform);
    }
    let stats = daemon.finish(|gauges| gauges.calls == 0);
    for (counters, gauges) in &stats {
        assert_eq!((gauges.calls, gauges.media_pairs), (0, 0));
        assert_eq!(
            (
                counters.internal_errors,
                counters.handover_dropped,
                counters.media_send_errors
            ),
            (0, 0, 0)
        );
        assert!(
            counters.calls_answered > 0,
            "both shards own calls: one source address does not bind them to one"
        );
    }
    assert_eq!(
        stats
            .iter()
            .map(|(counters, _)| counters.calls_answered)
            .sum::<u64>(),
        20
    );
    assert_eq!(
        stats
            .iter()
            .map(|(counters, _)| counters.media_forwarded)
            .sum::<u64>(),
        400
    );
    assert!(stats.iter().any(|(counters, _)| counters.handed_over > 0));
}

#[test]
fn calls_with_media_on_io_uring() {
    calls_with_media(1, BackendKind::IoUring);
}

#[test]
fn calls_with_media_on_system_calls() {
    calls_with_media(2, BackendKind::Syscall);
}

/// More calls than pairs were bound at start: the shard binds more while it serves.
#[test]
fn media_ports_are_bound_as_calls_need_them() {
    let Some(daemon) = start(3, BackendKind::IoUring, 1) else {
        return;
    };
    let (carrier, platform) = (daemon.carrier(), daemon.platform());
    let calls: Vec<_> = (0..200).map(|id| call(&carrier, &platform, id)).collect();
    let mut ports: Vec<_> = calls
        .iter()
        .flat_map(|up| [up.towards_carrier.port(), up.towards_platform.port()])
        .collect();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), 400, "every side of every call has its own pair");
    assert!(
        ports
            .iter()
            .all(|port| port % 2 == 0 && (20000..21000).contains(port))
    );
    for up in calls {
        up.hang_up(&carrier, &platform);
    }
    let stats = daemon.finish(|gauges| gauges.calls == 0);
    assert_eq!(
        (stats[0].0.calls_answered, stats[0].0.refused_no_media_port),
        (200, 0)
    );
}

/// They all arrive in one turn or two of the shard's loop.
#[test]
fn a_burst_of_calls_finds_a_port_for_each() {
    let Some(daemon) = start(5, BackendKind::IoUring, 1) else {
        return;
    };
    let (carrier, _platform) = (daemon.carrier(), daemon.platform());
    for id in 0..200 {
        invite(&carrier, id);
    }
    let stats = daemon.finish(|gauges| gauges.calls == 200);
    let counters = &stats[0].0;
    assert_eq!(
        (counters.calls_admitted, counters.refused_no_media_port),
        (200, 0)
    );
}

#[test]
fn a_second_daemon_on_the_same_port_is_refused() {
    use sbc_core::{config, driver::launch};
    let Some(daemon) = start(4, BackendKind::Syscall, 1) else {
        return;
    };
    let text = config::DEFAULT_TOML.replace("127.0.0.1:5060", "127.78.4.1:5060");
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    let error = launch::launch(&launch::Settings {
        snapshot: snapshot.into(),
        admission: admission.into(),
        shards: Some(1),
        pin: false,
        cpus: None,
        backend: None,
        gather: Default::default(),
        seed: None,
    })
    .expect_err("the port is in use");
    assert!(
        error
            .to_string()
            .contains("another program (or another sbcd) uses this port"),
        "{error}"
    );
    daemon.finish(|_| true);
}
