//! Media: what one packet costs before the kernel gets it.

use crate::{Operation, input};
use sbc_media::{
    g711,
    latch::LatchMode,
    relay::{Action, Formats, Keys, OWN_LEN_MAX, OutletParams, PairIndex, Relay, Remote, Roc, Verdict},
    repacketize::Framing,
    srtp::{MasterKey, OVERHEAD_MAX, Suite},
    time::Timestamp,
};
use std::{hint::black_box, net::SocketAddr, time::Duration};

/// A relay with 1,000 calls whose packets take turns, so that each one finds its socket cold in the nearest
/// cache, as in real traffic.
#[derive(Debug)]
pub struct Calls {
    relay: Relay,
    /// With room behind its `len` octets.
    packet: Vec<u8>,
    len: usize,
    next: u32,
    /// From one pair that sends to the next.
    step: u32,
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
    /// A-law on one side of every call, µ-law on the other.
    pub fn transcoding() -> Self {
        let mut calls = Self::new();
        let mut formats = Formats::PASS;
        formats.0[0] = Action::UlawToAlaw(8);
        formats.0[8] = Action::AlawToUlaw(0);
        for pair in 0..2 * CALLS {
            calls.relay.set_formats(PairIndex(pair), Some(&formats));
        }
        calls
    }

    /// Every side of every call gets packets of `ptime_ms`, whatever comes: those of 20 ms are joined or cut.
    pub fn reframing(ptime_ms: u32) -> Self {
        let mut calls = Self::new();
        let framing = Framing {
            ptime_ms,
            laws: [Some(0), Some(8)],
        };
        for pair in (0..2 * CALLS).map(PairIndex) {
            let outlet = OutletParams {
                ssrc: pair.0,
                sequence: 1,
                timestamp: 1,
                clock_rate: 8000,
                step: 160,
            };
            calls.relay.set_outlet(calls.now, pair, Some(&outlet));
            calls.relay.set_framing(pair, Some(&framing));
        }
        calls
    }

    /// The next packet of the next stream, and what is due after it: how many packets left.
    pub fn reframe(&mut self) -> u32 {
        let left = u32::from(self.forward());
        let mut buffer = [0; OWN_LEN_MAX];
        let pieces = core::iter::from_fn(|| self.relay.poll_transmit(self.now, &mut buffer));
        left + pieces.count() as u32
    }

    /// RTP on one side of every call, SRTP on the other: every packet is protected with a key of its
    /// own call. Only the plain sides send.
    pub fn protecting(suite: Suite) -> Self {
        let mut calls = Self::new();
        for call in 0..CALLS {
            let key = |seed: u8| {
                let mut octets = vec![seed; suite.key_bytes() + suite.salt_bytes()];
                octets[..4].copy_from_slice(&call.to_be_bytes());
                MasterKey::new(suite, &octets).expect("as long as the suite wants")
            };
            let keys = Keys {
                receive: key(1),
                send: key(2),
                roc: Roc::Keep,
            };
            calls.relay.set_keys(PairIndex(2 * call + 1), Some(&keys));
        }
        calls.step = 2;
        calls
    }

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
        let mut packet = input::rtp_packet(0);
        let len = packet.len();
        packet.resize(len + OVERHEAD_MAX, 0);
        Self {
            relay,
            packet,
            len,
            next: 0,
            step: 1,
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
            self.packet[4..8].copy_from_slice(&(u32::from(self.sequence) * 160).to_be_bytes());
            while self.relay.poll_action().is_some() {}
        }
        let pair = PairIndex(self.next);
        self.next += self.step;
        let verdict = self
            .relay
            .forward(self.now, pair.rtp(), peer(pair), &mut self.packet, self.len);
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

fn run(mut calls: Calls, n: u64) {
    for _ in 0..n {
        black_box(calls.forward());
    }
}

/// The operations of this file for the instruction counter.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "forward",
        stands_for: "one RTP packet through the relay of 1,000 calls",
        run: |n| run(Calls::new(), n),
    },
    Operation {
        name: "forward_transcoding",
        stands_for: "the same from one G.711 law into the other",
        run: |n| run(Calls::transcoding(), n),
    },
    Operation {
        name: "forward_protecting",
        stands_for: "the same from RTP to SRTP with AES_CM_128_HMAC_SHA1_80",
        run: |n| run(Calls::protecting(Suite::AesCm128Sha1_80), n),
    },
    Operation {
        name: "forward_joining",
        stands_for: "the same where packets of 20 ms leave as such of 40: the half that leaves included",
        run: |n| {
            let mut calls = Calls::reframing(40);
            for _ in 0..n {
                black_box(calls.reframe());
            }
        },
    },
    Operation {
        name: "forward_cutting",
        stands_for: "the same where they leave as two of 10 ms: both included",
        run: |n| {
            let mut calls = Calls::reframing(10);
            for _ in 0..n {
                black_box(calls.reframe());
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
        for mut calls in [
            Calls::new(),
            Calls::transcoding(),
            Calls::protecting(Suite::AesCm128Sha1_80),
            Calls::protecting(Suite::AeadAes128Gcm),
        ] {
            assert!((0..6 * CALLS).all(|_| calls.forward()));
        }
    }

    #[test]
    fn every_packet_is_joined_or_cut() {
        for (ptime_ms, expected) in [
            (60, 4 * CALLS),
            (40, 6 * CALLS),
            (20, 12 * CALLS),
            (10, 24 * CALLS),
        ] {
            let mut calls = Calls::reframing(ptime_ms);
            let mut round = || (0..2 * CALLS).map(|_| calls.reframe()).sum::<u32>();
            let left: u32 = (0..6).map(|_| round()).sum();
            // Of what is cut the last pieces are due in the next round.
            assert!(
                (expected / 6 * 5..=expected).contains(&left),
                "{ptime_ms}: {left}"
            );
        }
    }
}
