//! Media: what one packet costs before the kernel gets it.

use crate::{Operation, input};
use sbc_media::{
    g711,
    latch::LatchMode,
    relay::{PairIndex, Relay, Remote, Verdict},
    time::Timestamp,
};
use std::{hint::black_box, net::SocketAddr, time::Duration};

/// A relay with 1,000 calls whose packets take turns, so that each one finds its socket cold in the nearest
/// cache, as in real traffic.
#[derive(Debug)]
pub struct Calls {
    relay: Relay,
    packet: Vec<u8>,
    next: u32,
    sequence: u16,
    now: Timestamp,
}

const CALLS: u32 = 1_000;

impl Default for Calls {
    fn default() -> Self {
        Self::new()
    }
}

impl Calls {
    /// Every call with two pairs, both peers known.
    pub fn new() -> Self {
        let mut relay = Relay::new(2 * CALLS);
        for call in 0..CALLS {
            let (a, b) = (PairIndex(2 * call), PairIndex(2 * call + 1));
            relay.add_pair(a);
            relay.add_pair(b);
            relay.open(a, b);
            for pair in [a, b] {
                let rtp = Some(peer(pair));
                relay.set_remote(
                    pair,
                    Remote {
                        rtp,
                        rtcp: None,
                        send: true,
                        mux: false,
                        latch: LatchMode::default(),
                    },
                );
            }
        }
        Self {
            relay,
            packet: input::rtp_packet(0),
            next: 0,
            sequence: 0,
            now: Timestamp::from_millis(1),
        }
    }

    /// The next packet of the next stream: whether it was forwarded.
    pub fn forward(&mut self) -> bool {
        if self.next == 2 * CALLS {
            self.next = 0;
            self.sequence = self.sequence.wrapping_add(1);
            self.now = self.now + Duration::from_millis(20);
            self.packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
            while self.relay.poll_action().is_some() {}
        }
        let pair = PairIndex(self.next);
        self.next += 1;
        let len = self.packet.len();
        let verdict = self
            .relay
            .forward(self.now, pair.rtp(), peer(pair), &mut self.packet, len);
        matches!(verdict, Verdict::Forward { .. })
    }
}

fn peer(pair: PairIndex) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 2], 10_000 + 2 * pair.0 as u16))
}

/// 20 ms of µ-law into A-law through the table, in place: what transcoding between the two costs per packet.
pub fn transcode(payload: &mut [u8; 160]) {
    g711::ulaw_to_alaw(payload);
}

/// The operations of this file for the instruction counter.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "forward",
        stands_for: "one RTP packet through the relay of 1,000 calls",
        run: |n| {
            let mut calls = Calls::new();
            for _ in 0..n {
                black_box(calls.forward());
            }
        },
    },
    Operation {
        name: "g711",
        stands_for: "160 octets of one G.711 law into the other",
        run: |n| {
            let mut payload = [0x55; 160];
            for _ in 0..n {
                transcode(black_box(&mut payload));
            }
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_is_forwarded() {
        let mut calls = Calls::new();
        assert!((0..6 * CALLS).all(|_| calls.forward()));
    }
}
