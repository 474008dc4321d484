//! SRTP of one packet of 20 ms of G.711, by ours and by `webrtc-srtp`, whose in- and outputs are the same.

use crate::{Operation, input};
use sbc_media::srtp::{MasterKey, OVERHEAD_MAX, Receiver, Sender, Suite};
use std::hint::black_box;
use webrtc_srtp::{
    context::Context,
    option::{srtcp_replay_protection, srtp_replay_protection},
    protection_profile::ProtectionProfile,
};

/// Octets of the packet before it is protected.
pub const PACKET_LEN: usize = 172;

/// Packets after which a receiver has heard them all and makes place for a new one, whose set-up is
/// then a part in thousands.
const ROUND: usize = 8192;

/// A key of this suite.
pub fn key(suite: Suite) -> MasterKey {
    let octets: [u8; 46] = std::array::from_fn(|i| i as u8);
    MasterKey::new(suite, &octets[..suite.key_bytes() + suite.salt_bytes()]).expect("as long as it must be")
}

/// A context of the other one, with a replay window as ours has one.
pub fn baseline(suite: Suite) -> Context {
    let profile = match suite {
        Suite::AesCm128Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128Sha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::AesCm256Sha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
        Suite::AesCm256Sha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let key = key(suite);
    let (key, salt) = key.key_and_salt().split_at(suite.key_bytes());
    let windows = (
        Some(srtp_replay_protection(128)),
        Some(srtcp_replay_protection(128)),
    );
    Context::new(key, salt, profile, windows.0, windows.1).expect("as long as they must be")
}

/// A stream that is protected packet by packet.
pub struct Protect<T> {
    with: T,
    packet: Vec<u8>,
    sequence: u16,
}

impl<T> Protect<T> {
    fn new(with: T) -> Self {
        Self {
            with,
            packet: input::rtp_packet(0),
            sequence: 0,
        }
    }

    fn next(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        self.packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
    }
}

impl Protect<Sender> {
    /// By ours.
    pub fn ours(suite: Suite) -> Self {
        Self::new(Sender::new(&key(suite)))
    }

    /// The next packet, from the start of a buffer into which it has been copied: its length then.
    #[inline]
    pub fn run(&mut self) -> usize {
        self.next();
        let mut buffer = [0; PACKET_LEN + OVERHEAD_MAX];
        buffer[..PACKET_LEN].copy_from_slice(&self.packet);
        let len = self.with.protect(&mut buffer, PACKET_LEN).unwrap_or(0);
        black_box(&buffer);
        len
    }
}

impl Protect<Context> {
    /// By the other one.
    pub fn baseline(suite: Suite) -> Self {
        Self::new(baseline(suite))
    }

    /// The next packet, into a buffer of its own: its length then.
    #[inline]
    pub fn run(&mut self) -> usize {
        self.next();
        let protected = self.with.encrypt_rtp(&self.packet);
        black_box(protected).map_or(0, |protected| protected.len())
    }
}

/// A stream of protected packets that is read, again and again by a receiver that has not seen it.
pub struct Unprotect<T> {
    with: T,
    suite: Suite,
    packets: Vec<Vec<u8>>,
    next: usize,
}

impl<T> Unprotect<T> {
    fn new(suite: Suite, with: T) -> Self {
        let mut sender = Sender::new(&key(suite));
        let packets = (0..ROUND)
            .map(|sequence| {
                let mut packet = input::rtp_packet(sequence as u16);
                packet.resize(PACKET_LEN + OVERHEAD_MAX, 0);
                let len = sender.protect(&mut packet, PACKET_LEN).unwrap_or(0);
                packet.truncate(len);
                packet
            })
            .collect();
        Self {
            with,
            suite,
            packets,
            next: 0,
        }
    }

    fn next(&mut self, anew: fn(Suite) -> T) -> usize {
        if self.next == ROUND {
            self.next = 0;
            self.with = anew(self.suite);
        }
        self.next += 1;
        self.next - 1
    }
}

impl Unprotect<Receiver> {
    /// By ours.
    pub fn ours(suite: Suite) -> Self {
        Self::new(suite, Receiver::new(&key(suite)))
    }

    /// The next packet, from the start of a buffer into which it has been copied: its length then.
    #[inline]
    pub fn run(&mut self) -> usize {
        let at = self.next(|suite| Receiver::new(&key(suite)));
        let packet = &self.packets[at];
        let mut buffer = [0; PACKET_LEN + OVERHEAD_MAX];
        buffer[..packet.len()].copy_from_slice(packet);
        let len = self.with.unprotect(&mut buffer, packet.len()).unwrap_or(0);
        black_box(&buffer);
        len
    }
}

impl Unprotect<Context> {
    /// By the other one.
    pub fn baseline(suite: Suite) -> Self {
        Self::new(suite, baseline(suite))
    }

    /// The next packet, into a buffer of its own: its length then.
    #[inline]
    pub fn run(&mut self) -> usize {
        let at = self.next(baseline);
        let opened = self.with.decrypt_rtp(&self.packets[at]);
        black_box(opened).map_or(0, |opened| opened.len())
    }
}

/// The operations of this file for the instruction counter. Valgrind knows no SHA extensions, so that SHA-1 counts
/// for several times of what it costs where the processor has them.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "srtp_protect",
        stands_for: "one packet of 172 octets under AES_CM_128_HMAC_SHA1_80, SHA-1 without its instructions",
        run: |n| {
            let mut stream = Protect::<Sender>::ours(Suite::AesCm128Sha1_80);
            for _ in 0..n {
                black_box(stream.run());
            }
        },
    },
    Operation {
        name: "srtp_unprotect",
        stands_for: "the same back",
        run: |n| {
            let mut stream = Unprotect::<Receiver>::ours(Suite::AesCm128Sha1_80);
            for _ in 0..n {
                black_box(stream.run());
            }
        },
    },
    Operation {
        name: "gcm_protect",
        stands_for: "one packet of 172 octets under AEAD_AES_128_GCM",
        run: |n| {
            let mut stream = Protect::<Sender>::ours(Suite::AeadAes128Gcm);
            for _ in 0..n {
                black_box(stream.run());
            }
        },
    },
    Operation {
        name: "gcm_unprotect",
        stands_for: "the same back",
        run: |n| {
            let mut stream = Unprotect::<Receiver>::ours(Suite::AeadAes128Gcm);
            for _ in 0..n {
                black_box(stream.run());
            }
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_protect_and_read_every_packet() {
        for suite in Suite::ALL {
            let protected = Protect::<Sender>::ours(suite).run();
            assert!(protected > PACKET_LEN);
            assert_eq!(Protect::<Context>::baseline(suite).run(), protected);
            let (mut ours, mut theirs) = (
                Unprotect::<Receiver>::ours(suite),
                Unprotect::<Context>::baseline(suite),
            );
            for _ in 0..ROUND + 10 {
                assert_eq!((ours.run(), theirs.run()), (PACKET_LEN, PACKET_LEN));
            }
        }
    }
}
