//! A call between an IPv4 leg and an IPv6 leg through running shards, over real sockets, on both I/O backends.
#![cfg(feature = "driver")]

mod driver_support;

use driver_support::{Peer, call, receive, rtp, start_as};
use sbc_core::driver::backend::BackendKind;

fn an_ipv4_and_an_ipv6_leg(net: u8, ports: &str, backend: BackendKind) {
    let text = format!(
        r#"
        [[listener]]
        name = "main"
        address = "127.78.{net}.1:5060"
        [media]
        address = "127.78.{net}.1"
        ports = "20000-20999"
        [[media.interface]]
        name = "six"
        address = "::1"
        ports = "{ports}"
        [[trunk]]
        name = "carrier"
        hosts = ["127.78.{net}.2"]
        [[trunk]]
        name = "platform"
        hosts = ["127.78.{net}.3"]
        media = "six"
        [[route]]
        from = "carrier"
        to = "platform"
        "#
    );
    let Some(daemon) = start_as(&text, net, backend, 2) else {
        return;
    };
    assert_eq!(daemon.launched.media_pairs_max, [500, 200]);
    let carrier = daemon.carrier();
    let platform = Peer::with_media(format!("127.78.{net}.3"), "::1", daemon.listener);
    for id in 0..8 {
        let up = call(&carrier, &platform, id);
        assert!(up.towards_carrier.is_ipv4() && up.towards_platform.is_ipv6());
        let mut buffer = [0; 2048];
        for sequence in 0..10 {
            for (from, to, into, out) in [
                (&carrier, &platform, up.towards_carrier, up.towards_platform),
                (&platform, &carrier, up.towards_platform, up.towards_carrier),
            ] {
                let sent = rtp(sequence, 0xA);
                from.media.send_to(&sent, into).unwrap();
                let (len, source) = receive(&to.media, &mut buffer).expect("RTP");
                assert_eq!((&buffer[..len], source), (&sent[..], out));
            }
        }
        up.hang_up(&carrier, &platform);
    }
    let stats = daemon.finish(|gauges| gauges.calls == 0);
    for (counters, gauges) in &stats {
        assert_eq!((gauges.calls, gauges.media_pairs), (0, 0));
        let errors = (counters.media_send_errors, counters.media_connect_errors);
        assert_eq!((counters.internal_errors, errors), (0, (0, 0)));
    }
    let forwarded: u64 = stats.iter().map(|(counters, _)| counters.media_forwarded).sum();
    assert_eq!(forwarded, 160);
}

#[test]
fn syscall() {
    an_ipv4_and_an_ipv6_leg(231, "35200-35599", BackendKind::Syscall);
}

#[test]
fn io_uring() {
    an_ipv4_and_an_ipv6_leg(232, "35600-35999", BackendKind::IoUring);
}
