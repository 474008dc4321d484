//! A session of two pairs with a peer on each side, and packets to send through it.
#![allow(dead_code, unreachable_pub)] // every test binary includes this file and uses its own part

use sbc_media::latch::LatchMode;
use sbc_media::relay::{DropReason, MediaSocket, PairIndex, Relay, Remote, SocketAction, Verdict};
use sbc_media::time::Timestamp;
use std::net::SocketAddr;

pub const A: PairIndex = PairIndex(0);
pub const B: PairIndex = PairIndex(1);

/// Where A's SDP says it is, and B's; A2 is A after a change of its SDP.
pub const A_RTP: &str = "192.0.2.1:4000";
pub const A_RTCP: &str = "192.0.2.1:4001";
pub const A2_RTP: &str = "192.0.2.2:4400";
pub const B_RTP: &str = "198.51.100.1:6000";
pub const B_RTCP: &str = "198.51.100.1:6001";
/// A behind NAT, and somebody who is nobody's peer.
pub const NAT: &str = "203.0.113.5:1024";
pub const STRANGER: &str = "203.0.113.66:6666";

pub struct Session {
    pub relay: Relay,
    pub now_ms: u64,
    sequence: u16,
}

impl Session {
    /// Both SDPs exchanged, no packet yet.
    pub fn new() -> Self {
        Self::with_pairs(2)
    }

    /// As [`Self::new`], with pairs beyond A and B that are bound and idle.
    pub fn with_pairs(pairs: u32) -> Self {
        let mut session = Self::joined(pairs);
        session.remote(A, A_RTP);
        session.remote(B, B_RTP);
        session
    }

    pub fn without_remotes() -> Self {
        Self::joined(2)
    }

    fn joined(pairs: u32) -> Self {
        let mut relay = Relay::new(pairs);
        assert!((0..pairs).all(|pair| relay.add_pair(PairIndex(pair))));
        assert!(relay.open(A, B));
        Self {
            relay,
            now_ms: 1000,
            sequence: 0,
        }
    }

    /// Both sides latched to the signalled addresses, nothing left to do for the driver.
    pub fn flowing() -> Self {
        let mut session = Self::new();
        session.rtp(A, A_RTP);
        session.rtp(B, B_RTP);
        while session.relay.poll_action().is_some() {}
        session
    }

    pub fn remote(&mut self, pair: PairIndex, rtp: &str) {
        self.relay.set_remote(pair, remote(rtp));
    }

    /// An RTP packet from `from` on the RTP socket of `pair`.
    pub fn rtp(&mut self, pair: PairIndex, from: &str) -> Verdict {
        self.sequence = self.sequence.wrapping_add(1);
        let mut packet = rtp(self.sequence);
        self.send(pair.rtp(), from, &mut packet)
    }

    /// A receiver report from `from` on the RTCP socket of `pair`.
    pub fn rtcp(&mut self, pair: PairIndex, from: &str) -> Verdict {
        self.send(pair.rtcp(), from, &mut rtcp())
    }

    pub fn send(&mut self, socket: MediaSocket, from: &str, packet: &mut [u8]) -> Verdict {
        let len = packet.len();
        self.relay.forward(
            Timestamp::from_millis(self.now_ms),
            socket,
            addr(from),
            packet,
            len,
        )
    }

    /// `packet` in a buffer with room behind it, as a driver has it: the verdict, and what leaves.
    pub fn through(&mut self, socket: MediaSocket, from: &str, packet: &[u8]) -> (Verdict, Vec<u8>) {
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + 64, 0x5a);
        let now = Timestamp::from_millis(self.now_ms);
        let verdict = self
            .relay
            .forward(now, socket, addr(from), &mut buffer, packet.len());
        match verdict {
            Verdict::Forward { len, .. } => buffer.truncate(len),
            Verdict::Drop(_) => buffer.clear(),
        }
        (verdict, buffer)
    }

    /// Where a packet of the other side would go that is for the peer of `pair`.
    pub fn destination(&mut self, pair: PairIndex) -> Verdict {
        if pair == A {
            self.rtp(B, B_RTP)
        } else {
            self.rtp(A, A_RTP)
        }
    }

    pub fn wait_ms(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    pub fn actions(&mut self) -> Vec<SocketAction> {
        std::iter::from_fn(|| self.relay.poll_action()).collect()
    }
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn remote(rtp: &str) -> Remote {
    Remote {
        rtp: Some(addr(rtp)),
        rtcp: None,
        send: true,
        mux: false,
        latch: LatchMode::default(),
    }
}

/// What becomes of [`rtp`] or [`rtcp`] through `socket` to `peer`.
pub fn to(socket: MediaSocket, peer: &str) -> Verdict {
    Verdict::Forward {
        socket,
        to: Some(addr(peer)),
        len: if socket.is_rtcp() {
            rtcp().len()
        } else {
            rtp(0).len()
        },
    }
}

pub const WRONG_SOURCE: Verdict = Verdict::Drop(DropReason::WrongSource);
pub const NO_DESTINATION: Verdict = Verdict::Drop(DropReason::NoDestination);
pub const NO_SESSION: Verdict = Verdict::Drop(DropReason::NoSession);
pub const MALFORMED: Verdict = Verdict::Drop(DropReason::Malformed);

/// 20 ms of G.711 with `sequence`, its timestamp to match.
pub fn rtp(sequence: u16) -> [u8; 172] {
    let mut packet = [0xd5; 172];
    packet[..4].copy_from_slice(&[0x80, 8, (sequence >> 8) as u8, sequence as u8]);
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&[0, 0, 0, 1]);
    packet
}

/// An empty receiver report.
pub fn rtcp() -> [u8; 8] {
    [0x80, 201, 0, 1, 0, 0, 0, 1]
}
