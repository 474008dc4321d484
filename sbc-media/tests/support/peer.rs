//! Peers that speak SRTP, to include beside `mod support`.
#![allow(dead_code, unreachable_pub)] // every test binary includes this file and uses its own part

use super::support::{A, A_RTCP, A_RTP, B, B_RTCP, B_RTP, Session};
use sbc_media::{
    relay::{Keys, PairIndex, Roc, Verdict},
    srtp::{MKI_LEN_MAX, MasterKey, OVERHEAD_MAX, Receiver, Sender, Suite},
};

pub const SUITE: Suite = Suite::AesCm128Sha1_80;

/// A key made of `seed`.
pub fn key(suite: Suite, seed: u8) -> MasterKey {
    let octets: Vec<u8> = (0..suite.key_bytes() + suite.salt_bytes())
        .map(|n| (n as u8).wrapping_mul(7) ^ seed)
        .collect();
    MasterKey::new(suite, &octets).unwrap()
}

/// What a peer protects with and what it opens with.
pub struct Peer {
    pub pair: PairIndex,
    pub keys: Keys,
    pub sender: Sender,
    pub receiver: Receiver,
}

impl Peer {
    /// The peer of `pair`, whose keys are made of `seed` and the number after it. The relay is told.
    pub fn of(session: &mut Session, pair: PairIndex, suite: Suite, seed: u8) -> Self {
        let keys = Keys {
            receive: key(suite, seed),
            send: key(suite, seed + 1),
            roc: Roc::Keep,
        };
        session.relay.set_keys(pair, Some(&keys));
        Self {
            pair,
            sender: Sender::new(&keys.receive),
            receiver: Receiver::new(&keys.send),
            keys,
        }
    }

    /// The peer protects with another key from now on.
    pub fn rekey_sender(&mut self, suite: Suite, seed: u8) {
        self.keys.receive = key(suite, seed);
        self.sender.rekey(&self.keys.receive);
    }

    /// The peer is told another key of ours.
    pub fn rekey_receiver(&mut self, suite: Suite, seed: u8) {
        self.keys.send = key(suite, seed);
        self.receiver.rekey(&self.keys.send);
    }

    pub fn rtp_address(&self) -> &'static str {
        if self.pair == A { A_RTP } else { B_RTP }
    }

    pub fn rtcp_address(&self) -> &'static str {
        if self.pair == A { A_RTCP } else { B_RTCP }
    }

    /// `packet`, protected by the peer.
    pub fn protect(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut buffer = [packet, &[0; OVERHEAD_MAX + MKI_LEN_MAX]].concat();
        let len = self.sender.protect(&mut buffer, packet.len()).unwrap();
        buffer.truncate(len);
        buffer
    }

    pub fn protect_rtcp(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut buffer = [packet, &[0; OVERHEAD_MAX + MKI_LEN_MAX]].concat();
        let len = self.sender.protect_rtcp(&mut buffer, packet.len()).unwrap();
        buffer.truncate(len);
        buffer
    }

    /// What the peer reads in `packet`; `None`: it does not authenticate.
    pub fn open(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = packet.to_vec();
        let len = self.receiver.unprotect(&mut buffer, packet.len()).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    pub fn open_rtcp(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = packet.to_vec();
        let len = self.receiver.unprotect_rtcp(&mut buffer, packet.len()).ok()?;
        buffer.truncate(len);
        Some(buffer)
    }

    /// The peer sends `packet` as RTP: the verdict, and what leaves.
    pub fn send(&mut self, session: &mut Session, packet: &[u8]) -> (Verdict, Vec<u8>) {
        let protected = self.protect(packet);
        session.through(self.pair.rtp(), self.rtp_address(), &protected)
    }
}

/// Both peers with keys of their own, and latched.
pub fn both(suites: [Suite; 2]) -> (Session, Peer, Peer) {
    let mut session = Session::new();
    let a = Peer::of(&mut session, A, suites[0], 10);
    let b = Peer::of(&mut session, B, suites[1], 20);
    (session, a, b)
}
