//! HMAC-SHA1 (RFC 2104) whose two key blocks are hashed once per key instead of once per packet.

use sha1::{compress, digest::generic_array::GenericArray};
use zeroize::Zeroize;

const BLOCK: usize = 64;

/// The state of SHA-1 before the first block (FIPS 180-4 §5.3.1).
const SHA1: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// A key, as the states of SHA-1 after the inner and the outer key block.
pub(super) struct HmacSha1 {
    inner: [u32; 5],
    outer: [u32; 5],
}

impl HmacSha1 {
    /// The session authentication keys of SRTP have 160 bits (RFC 3711 §5.2).
    pub(super) fn new(key: &[u8; 20]) -> Self {
        let state_after = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(key).for_each(|(octet, key)| *octet ^= key);
            let mut state = SHA1;
            absorb(&mut state, &block);
            block.zeroize();
            state
        };
        Self {
            inner: state_after(0x36),
            outer: state_after(0x5c),
        }
    }

    /// The tag of `message` followed by `suffix`, all 160 bits of it.
    #[inline]
    pub(super) fn tag(&self, message: &[u8], suffix: &[u8]) -> [u8; 20] {
        debug_assert!(suffix.len() <= 4);
        let mut state = self.inner;
        let blocks = message.chunks_exact(BLOCK);
        let rest = blocks.remainder();
        for block in blocks {
            absorb(&mut state, block);
        }
        // What is left, the suffix, one bit and the length fill one block or two.
        let mut end = [0; 2 * BLOCK];
        let len = rest.len() + suffix.len();
        end[..rest.len()].copy_from_slice(rest);
        end[rest.len()..len].copy_from_slice(suffix);
        end[len] = 0x80;
        let end_len = if len < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        end[end_len - 8..end_len].copy_from_slice(&bits(BLOCK + message.len() + suffix.len()));
        for block in end[..end_len].chunks_exact(BLOCK) {
            absorb(&mut state, block);
        }

        let mut last = [0; BLOCK];
        last[..20].copy_from_slice(&octets(state));
        last[20] = 0x80;
        last[BLOCK - 8..].copy_from_slice(&bits(BLOCK + 20));
        let mut state = self.outer;
        absorb(&mut state, &last);
        octets(state)
    }
}

impl Drop for HmacSha1 {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

#[inline]
fn absorb(state: &mut [u32; 5], block: &[u8]) {
    compress(state, core::slice::from_ref(GenericArray::from_slice(block)));
}

fn bits(len: usize) -> [u8; 8] {
    (len as u64 * 8).to_be_bytes()
}

fn octets(state: [u32; 5]) -> [u8; 20] {
    let mut octets = [0; 20];
    for (octets, word) in octets.chunks_exact_mut(4).zip(state) {
        octets.copy_from_slice(&word.to_be_bytes());
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::hmac;

    #[test]
    fn tags_are_those_of_another_implementation_at_every_length() {
        let key: [u8; 20] = core::array::from_fn(|i| 11 * i as u8 + 3);
        let ours = HmacSha1::new(&key);
        let theirs = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key);
        let message: Vec<u8> = (0..400).map(|i| (i * 7) as u8).collect();
        for len in 0..396 {
            for suffix in [0, 4] {
                let expected = hmac::sign(&theirs, &message[..len + suffix]);
                let tag = ours.tag(&message[..len], &message[len..len + suffix]);
                assert_eq!(tag, expected.as_ref(), "{len} octets and {suffix}");
            }
        }
    }
}
