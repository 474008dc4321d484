//! Keys, packets and seeded chance for the tests of SRTP.
#![allow(dead_code, reason = "each test file uses a part")]

use sbc_media::srtp::{MKI_LEN_MAX, MasterKey, OVERHEAD_MAX, Receiver, Refused, Sender, Suite, Unprotected};

/// SplitMix64: the same seed, the same series.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn octets(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A key of this suite; each seed another one.
pub(crate) fn key(suite: Suite, seed: u64) -> MasterKey {
    let octets = Chance(seed).octets(suite.key_bytes() + suite.salt_bytes());
    MasterKey::new(suite, &octets).unwrap()
}

/// Both ends of one direction.
pub(crate) fn ends(suite: Suite) -> (Sender, Receiver) {
    let key = key(suite, 1);
    (Sender::new(&key), Receiver::new(&key))
}

/// A packet of G.711 whose payload follows from its sequence number.
pub(crate) fn rtp(ssrc: u32, sequence: u16, payload_len: usize) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..payload_len).map(|i| (i as u8).wrapping_mul(31) ^ sequence as u8));
    packet
}

/// A receiver report with one block.
pub(crate) fn rtcp(ssrc: u32, highest: u32) -> Vec<u8> {
    let mut packet = vec![0x81, 201, 0, 7];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(0x7777_7777u32.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(highest.to_be_bytes());
    packet.extend([0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8]);
    packet
}

pub(crate) fn protect(sender: &mut Sender, packet: &[u8]) -> Result<Vec<u8>, Unprotected> {
    in_buffer(packet, |buffer, len| sender.protect(buffer, len))
}

pub(crate) fn protect_rtcp(sender: &mut Sender, packet: &[u8]) -> Result<Vec<u8>, Unprotected> {
    in_buffer(packet, |buffer, len| sender.protect_rtcp(buffer, len))
}

pub(crate) fn unprotect(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    in_buffer(packet, |buffer, len| receiver.unprotect(buffer, len))
}

pub(crate) fn unprotect_rtcp(receiver: &mut Receiver, packet: &[u8]) -> Result<Vec<u8>, Refused> {
    in_buffer(packet, |buffer, len| receiver.unprotect_rtcp(buffer, len))
}

fn in_buffer<E>(
    packet: &[u8],
    work: impl FnOnce(&mut [u8], usize) -> Result<usize, E>,
) -> Result<Vec<u8>, E> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + OVERHEAD_MAX + MKI_LEN_MAX, 0xee);
    let len = work(&mut buffer, packet.len())?;
    buffer.truncate(len);
    Ok(buffer)
}
