//! AES-GCM (RFC 7714) over `ring`: encrypts in place, tag apart.

use core::hint::black_box;
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Octets of a tag.
pub(super) const TAG_LEN: usize = 16;

/// A session key with its session salt.
pub(super) struct Gcm {
    key: LessSafeKey,
    /// 96 bits.
    salt: u128,
}

/// The tag does not belong to this packet.
pub(super) struct BadTag;

impl Gcm {
    /// `key` has 16 or 32 octets.
    pub(super) fn new(key: &[u8], salt: &[u8; NONCE_LEN]) -> Self {
        let mut low = [0; 16];
        low[16 - NONCE_LEN..].copy_from_slice(salt);
        Self {
            key: ring_key(key),
            salt: u128::from_be_bytes(low),
        }
    }

    /// Encrypt `text` in place; `tag` becomes the tag of it and of `aad`.
    #[inline]
    pub(super) fn seal(&self, ssrc: u32, index: u64, aad: &[u8], text: &mut [u8], tag: &mut [u8]) {
        let sealed = self
            .key
            .seal_in_place_separate_tag(self.nonce(ssrc, index), Aad::from(aad), text)
            .expect("no packet is as long as the 2^36 octets that AES-GCM takes");
        tag.copy_from_slice(sealed.as_ref());
    }

    /// Decrypt `text` in place, if `tag` is that of it and of `aad`. If not, `text` is lost.
    #[inline]
    pub(super) fn open(
        &self,
        ssrc: u32,
        index: u64,
        aad: &[u8],
        text: &mut [u8],
        tag: [u8; TAG_LEN],
    ) -> Result<(), BadTag> {
        self.key
            .open_in_place_separate_tag(self.nonce(ssrc, index), Aad::from(aad), tag.into(), text, 0..)
            .map(|_| ())
            .map_err(|_| BadTag)
    }

    /// RTP (RFC 7714 §8.1) and RTCP (§9.1) write it differently, which comes to the same: two zero
    /// octets, SSRC, 48 bits of index.
    #[inline]
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let nonce = (self.salt ^ u128::from(ssrc) << 48 ^ u128::from(index)).to_be_bytes();
        let [_, _, _, _, nonce @ ..] = nonce;
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Drop for Gcm {
    fn drop(&mut self) {
        // `ring` does not wipe its keys. Another key is written over this one, and the compiler must
        // assume that somebody reads it.
        self.key = ring_key(&[0; 16]);
        self.salt = 0;
        black_box(&*self);
    }
}

fn ring_key(key: &[u8]) -> LessSafeKey {
    let algorithm = if key.len() == 16 {
        &AES_128_GCM
    } else {
        &AES_256_GCM
    };
    LessSafeKey::new(UnboundKey::new(algorithm, key).expect("a session key has 16 or 32 octets"))
}
