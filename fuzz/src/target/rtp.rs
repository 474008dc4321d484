//! RTP and RTCP: the packet views, and a small relay under arbitrary packets.
//!
//! The bytes are a series of `length, socket and source, payload`. They go through a relay that
//! changes nothing, and through one whose sides have formats and keys of their own. There a packet of even length is
//! protected first, so that it gets beyond the tag.

use sbc_media::{
    g711,
    latch::LatchMode,
    relay::{
        Action, DropReason, Formats, Keys, MediaSocket, PairIndex, Relay, Remote, Roc, SocketAction, Verdict,
    },
    rtcp::{
        self,
        hide::{Cname, hide},
    },
    rtp,
    srtp::{MasterKey, OVERHEAD_MAX, Receiver, Sender, Suite},
    time::Timestamp,
};
use std::net::{Ipv4Addr, SocketAddr};

const A: PairIndex = PairIndex(0);
const B: PairIndex = PairIndex(1);

/// Feeds every packet to the views and to relays of two pairs.
pub(crate) fn run(bytes: &[u8]) {
    let mut plain = relay();
    each(bytes, |now, socket, from, packet| {
        view(packet);
        let mut buffer = packet.to_vec();
        let verdict = plain.forward(now, socket, from, &mut buffer, packet.len());
        if let Verdict::Forward { socket: out, to, len } = verdict {
            assert_ne!(out.pair(), socket.pair());
            let kind = rtcp::Kind::of(packet);
            assert_ne!(kind, rtcp::Kind::Other);
            // Multiplexed reports leave by the RTCP port.
            assert_eq!(out.is_rtcp(), socket.is_rtcp() || kind == rtcp::Kind::Rtcp);
            assert!(to.is_none_or(|to| to.ip().is_loopback()));
            assert_eq!(
                &buffer[..len],
                passed(kind, packet),
                "a plain relay changes no RTP"
            );
        }
        settle(&mut plain);
    });
    end(plain);
    for suites in [
        [Suite::AesCm128Sha1_80, Suite::AeadAes128Gcm],
        [Suite::AeadAes256Gcm, Suite::AesCm256Sha1_32],
    ] {
        changing(bytes, suites);
    }
}

/// What passes of a plain packet.
fn passed(kind: rtcp::Kind, packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    if kind == rtcp::Kind::Rtcp {
        let hidden = hide(&mut bytes, packet.len(), &Cname::ANONYMOUS).expect("it was forwarded");
        bytes.truncate(hidden.len);
    }
    bytes
}

/// Two pairs, joined, their peers on 127.0.0.2 and 127.0.0.3.
fn relay() -> Relay {
    let mut relay = Relay::new(2);
    assert!(relay.add_pair(A) && relay.add_pair(B) && relay.open(A, B));
    for (pair, host) in [(A, 2), (B, 3)] {
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
    relay
}

fn each(bytes: &[u8], mut take: impl FnMut(Timestamp, MediaSocket, SocketAddr, &[u8])) {
    let mut rest = bytes;
    let mut now = 0;
    while let [len, meta, tail @ ..] = rest {
        let (packet, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        now += u64::from(meta >> 4);
        let socket = MediaSocket(u32::from(meta & 7));
        let host = if meta & 8 == 0 { 2 } else { 3 };
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 4000 + u16::from(meta >> 6)));
        take(Timestamp::from_millis(now), socket, from, packet);
    }
}

/// Both sides with keys, and A with a law of its own.
fn changing(bytes: &[u8], suites: [Suite; 2]) {
    let mut relay = relay();
    let mut formats = Formats::PASS;
    formats.0[8] = Action::AlawToUlaw(0);
    formats.0[0] = Action::Drop;
    formats.0[101] = Action::Renumber(96);
    relay.set_formats(A, Some(&formats));
    let key = |suite: Suite, seed: u8| {
        let octets = vec![seed; suite.key_bytes() + suite.salt_bytes()];
        MasterKey::new(suite, &octets).expect("as long as the suite wants")
    };
    let keys = [0, 1].map(|side| Keys {
        receive: key(suites[side], side as u8),
        send: key(suites[side], side as u8 + 2),
        roc: Roc::Keep,
    });
    let mut peers = keys
        .each_ref()
        .map(|keys| (Sender::new(&keys.receive), Receiver::new(&keys.send)));
    relay.set_keys(A, Some(&keys[0]));
    relay.set_keys(B, Some(&keys[1]));
    each(bytes, |now, socket, from, packet| {
        let side = socket.pair().0 as usize;
        let mut buffer = [packet, &[0; 2 * OVERHEAD_MAX]].concat();
        let is_rtp = rtcp::Kind::of(packet) == rtcp::Kind::Rtp && !socket.is_rtcp();
        let protected = match peers.get_mut(side) {
            Some((sender, _)) if packet.len() % 2 == 0 => if is_rtp {
                sender.protect(&mut buffer, packet.len())
            } else {
                sender.protect_rtcp(&mut buffer, packet.len())
            }
            .ok(),
            _ => None,
        };
        let len = protected.unwrap_or(packet.len());
        if let Verdict::Forward { socket: out, len, .. } = relay.forward(now, socket, from, &mut buffer, len)
        {
            assert!(protected.is_some(), "in the clear is not authentic");
            assert_ne!(out.pair(), socket.pair());
            let (_, receiver) = &mut peers[out.pair().0 as usize];
            let opened = if is_rtp {
                receiver.unprotect(&mut buffer, len)
            } else {
                receiver.unprotect_rtcp(&mut buffer, len)
            };
            let expected = if is_rtp && side == 0 {
                expected(packet)
            } else {
                passed(rtcp::Kind::of(packet), packet)
            };
            // A receiver may have forgotten what the relay's still knows, but never reads another
            // packet than the one that was sent.
            if let Ok(len) = opened {
                assert_eq!(buffer[..len], expected);
            }
        }
        settle(&mut relay);
    });
    end(relay);
}

/// What the formats of [`changing`] make of a packet that they pass.
fn expected(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    let mut packet = rtp::Packet::new_checked(&mut bytes[..]).expect("it was forwarded");
    match packet.payload_type() {
        8 => {
            g711::alaw_to_ulaw(packet.payload_mut());
            packet.set_payload_type(0);
        }
        101 => packet.set_payload_type(96),
        0 => panic!("payload type 0 is not agreed to"),
        _ => {}
    }
    bytes
}

fn settle(relay: &mut Relay) {
    while let Some(action) = relay.poll_action() {
        if let SocketAction::Connect { socket, peer } = action {
            relay.connected(socket, peer);
        }
    }
}

fn end(mut relay: Relay) {
    let counters = *relay.counters();
    let dropped: u64 = DropReason::ALL.iter().map(|reason| counters.drops(*reason)).sum();
    assert_eq!(counters.received, counters.forwarded + dropped);
    relay.close(A);
    relay.close(B);
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
