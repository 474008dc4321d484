//! Branches, tags and Call-IDs that we mint: 24 characters that name their owner.
//!
//! A token carries the shard, a slot on that shard and a random nonce. The slot is masked with a
//! keyed hash of the nonce, so that a peer learns neither our layout nor our traffic from it, and
//! 16 check bits keep a foreign tag from being taken for ours. Whoever resolves a token compares
//! the nonce with the one kept in the slot: a stale token finds nothing.

use crate::id::ShardId;
use ahash::RandomState;

/// Length of the text form.
pub const TOKEN_LEN: usize = 24;

/// Text form of a token: lower-case base 32, valid in a tag, branch, Call-ID and URI user.
pub type TokenText = [u8; TOKEN_LEN];

const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// What a token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The shard that minted it and owns what it names.
    pub shard: ShardId,
    /// Slot on that shard; what kind of slot follows from where the token stood.
    pub slot: u32,
    /// Random part.
    pub nonce: u64,
}

/// Encodes and decodes tokens; the same key on all shards of a process.
#[derive(Clone, Debug)]
pub struct TokenKey(RandomState);

impl TokenKey {
    /// Derive the masking key from a random number.
    pub fn new(key: u64) -> Self {
        Self(RandomState::with_seeds(
            key,
            key.rotate_left(17) ^ 0x9e37_79b9_7f4a_7c15,
            key.rotate_left(31) ^ 0xc2b2_ae3d_27d4_eb4f,
            key.rotate_left(47) ^ 0x1656_67b1_9e37_79f9,
        ))
    }

    /// The text form of `token`.
    pub fn encode(&self, token: Token) -> TokenText {
        let mask = self.0.hash_one(token.nonce).to_be_bytes();
        let mut raw = [0u8; 16];
        raw[1..9].copy_from_slice(&token.nonce.to_be_bytes());
        raw[9] = token.shard.0;
        raw[10..14].copy_from_slice(&token.slot.to_be_bytes());
        for i in 0..5 {
            raw[9 + i] ^= mask[i];
        }
        let check = self.check(&raw);
        raw[14..16].copy_from_slice(&check);
        // 15 bytes are 120 bits: 24 characters of 5 bits.
        let mut bits = u128::from_be_bytes(raw);
        let mut text = [0u8; TOKEN_LEN];
        for c in text.iter_mut().rev() {
            *c = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        text
    }

    /// What `text` says, or `None` when we did not mint it.
    pub fn decode(&self, text: &[u8]) -> Option<Token> {
        if text.len() != TOKEN_LEN {
            return None;
        }
        let mut bits = 0u128;
        for &c in text {
            let digit = match c {
                b'0'..=b'9' => c - b'0',
                b'a'..=b'v' => c - b'a' + 10,
                _ => return None,
            };
            bits = bits << 5 | u128::from(digit);
        }
        let mut raw = bits.to_be_bytes();
        if raw[14..16] != self.check(&raw) {
            return None;
        }
        let nonce = u64::from_be_bytes([raw[1], raw[2], raw[3], raw[4], raw[5], raw[6], raw[7], raw[8]]);
        let mask = self.0.hash_one(nonce).to_be_bytes();
        for i in 0..5 {
            raw[9 + i] ^= mask[i];
        }
        Some(Token {
            shard: ShardId(raw[9]),
            slot: u32::from_be_bytes([raw[10], raw[11], raw[12], raw[13]]),
            nonce,
        })
    }

    /// A name that stands for `text` towards somebody who may not know it: the same on all shards,
    /// not to be turned back, and of the form of a token. Only for the same `purpose` is it the same.
    pub fn disguise(&self, purpose: &[u8], text: &[u8]) -> TokenText {
        let half = |half: u8| u128::from(self.0.hash_one((purpose, text, half)));
        let mut bits = half(1) << 64 | half(2);
        let mut name = [0u8; TOKEN_LEN];
        for c in name.iter_mut().rev() {
            *c = ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        name
    }

    fn check(&self, raw: &[u8; 16]) -> [u8; 2] {
        let h = self.0.hash_one(&raw[..14]).to_be_bytes();
        [h[0], h[1]]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(shard: u8, slot: u32, nonce: u64, key: u64) {
            let key = TokenKey::new(key);
            let token = Token { shard: ShardId(shard), slot, nonce };
            let text = key.encode(token);
            prop_assert_eq!(key.decode(&text), Some(token));
        }

        #[test]
        fn a_changed_character_is_not_ours(slot: u32, nonce: u64, at in 0..TOKEN_LEN, to in 0usize..32) {
            let key = TokenKey::new(7);
            let mut text = key.encode(Token { shard: ShardId(1), slot, nonce });
            prop_assume!(text[at] != ALPHABET[to]);
            text[at] = ALPHABET[to];
            // 16 check bits: one in 65,536 slips through and is then caught by the nonce in the slot.
            if let Some(t) = key.decode(&text) {
                let minted = Token { shard: ShardId(1), slot, nonce };
                prop_assert_ne!(t, minted);
            }
        }
    }

    #[test]
    fn foreign_text_is_refused() {
        let key = TokenKey::new(1);
        assert_eq!(key.decode(b""), None);
        assert_eq!(key.decode(b"as6f7d8s6f"), None);
        assert_eq!(key.decode(&[b'0'; TOKEN_LEN]), None);
        let other = TokenKey::new(2).encode(Token {
            shard: ShardId(0),
            slot: 1,
            nonce: 2,
        });
        assert_eq!(key.decode(&other), None);
    }
}
