//! RTP and RTCP: the packet views, and a small relay under arbitrary packets.
//!
//! The bytes are a series of `length, socket and source, payload`.

use sbc_media::{
    latch::LatchMode,
    relay::{DropReason, MediaSocket, PairIndex, Relay, Remote, SocketAction, Verdict},
    rtcp, rtp,
    time::Timestamp,
};
use std::net::{Ipv4Addr, SocketAddr};

/// Feeds every packet to the views and to a relay of two pairs.
pub(crate) fn run(bytes: &[u8]) {
    let (a, b) = (PairIndex(0), PairIndex(1));
    let mut relay = Relay::new(2);
    assert!(relay.add_pair(a) && relay.add_pair(b) && relay.open(a, b));
    for (pair, host) in [(a, 2), (b, 3)] {
        let rtp = Some(SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 4000)));
        relay.set_remote(
            pair,
            Remote {
                rtp,
                rtcp: None,
                send: true,
                mux: false,
                latch: if host == 3 {
                    LatchMode::Strict
                } else {
                    LatchMode::default()
                },
            },
        );
    }
    let mut rest = bytes;
    let mut now = 0;
    while let [len, meta, tail @ ..] = rest {
        let (packet, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        now += u64::from(meta >> 4);
        let socket = MediaSocket(u32::from(meta & 7));
        let host = if meta & 8 == 0 { 2 } else { 3 };
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 4000 + u16::from(meta >> 6)));
        view(packet);
        let mut buffer = packet.to_vec();
        let verdict = relay.forward(
            Timestamp::from_millis(now),
            socket,
            from,
            &mut buffer,
            packet.len(),
        );
        if let Verdict::Forward { socket: out, to, len } = verdict {
            assert_ne!(out.pair(), socket.pair());
            let kind = rtcp::Kind::of(packet);
            assert_ne!(kind, rtcp::Kind::Other);
            // Multiplexed reports leave by the RTCP port.
            assert_eq!(out.is_rtcp(), socket.is_rtcp() || kind == rtcp::Kind::Rtcp);
            assert!(to.is_none_or(|to| to.ip().is_loopback()));
            assert_eq!(
                (&buffer[..], len),
                (packet, packet.len()),
                "a plain relay changes nothing"
            );
        }
        while let Some(action) = relay.poll_action() {
            if let SocketAction::Connect { socket, peer } = action {
                relay.connected(socket, peer);
            }
        }
    }
    let counters = *relay.counters();
    let dropped: u64 = DropReason::ALL.iter().map(|reason| counters.drops(*reason)).sum();
    assert_eq!(counters.received, counters.forwarded + dropped);
    relay.close(a);
    relay.close(b);
}

fn view(packet: &[u8]) {
    if let Ok(rtp) = rtp::Packet::new_checked(packet) {
        let _ = (
            rtp.marker(),
            rtp.payload_type(),
            rtp.sequence(),
            rtp.timestamp(),
            rtp.ssrc(),
        );
        assert!(rtp.header_len() + rtp.payload().len() <= packet.len());
        let _ = rtp.csrcs().count();
    }
    if let Ok(compound) = rtcp::Compound::new_checked(packet) {
        for packet in compound.packets() {
            let _ = (packet.packet_type(), packet.count(), packet.ssrc());
            for report in packet.reports() {
                let _ = (report.ssrc(), report.fraction_lost(), report.lost());
                let _ = (report.highest_sequence(), report.jitter());
            }
        }
    }
}
