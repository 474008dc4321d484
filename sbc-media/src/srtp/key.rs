//! A master key: what `inline:` of `a=crypto` carries, decoded, and nothing that could print it.

use super::Suite;
use core::fmt;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroize;

/// Key and salt of the longest suite, AES_256_CM.
const LEN_MAX: usize = 46;

/// A suite with the master key and master salt of one direction (RFC 3711 §3.2.1). Its memory is
/// wiped when it goes; `Debug` shows the suite only; comparing takes the same time whatever the key.
#[derive(Clone)]
pub struct MasterKey {
    suite: Suite,
    /// Key, then salt, then zeros.
    bytes: [u8; LEN_MAX],
}

/// Key and salt are not as long as their suite wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("key and salt have {found} octets, {suite_name} wants {expected}", suite_name = suite.name())]
pub struct KeyLength {
    /// Whose lengths they should have.
    pub suite: Suite,
    /// Octets of key and salt together.
    pub expected: usize,
    /// Octets that there were.
    pub found: usize,
}

impl MasterKey {
    /// `key_and_salt` is the master key followed by the master salt, as SDES writes them (RFC 4568
    /// §6.1).
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Result<Self, KeyLength> {
        let expected = suite.key_bytes() + suite.salt_bytes();
        if key_and_salt.len() != expected {
            return Err(KeyLength {
                suite,
                expected,
                found: key_and_salt.len(),
            });
        }
        let mut bytes = [0; LEN_MAX];
        bytes[..expected].copy_from_slice(key_and_salt);
        Ok(Self { suite, bytes })
    }

    /// The suite that it is for.
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The master key followed by the master salt.
    pub fn key_and_salt(&self) -> &[u8] {
        &self.bytes[..self.suite.key_bytes() + self.suite.salt_bytes()]
    }

    /// The master key.
    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[..self.suite.key_bytes()]
    }

    /// The master salt as the key derivation wants it: 112 bits. The 96 bits of an AEAD suite have
    /// 16 zero bits behind them (RFC 7714 §11).
    pub(super) fn salt(&self) -> [u8; 14] {
        let mut salt = [0; 14];
        let key_bytes = self.suite.key_bytes();
        let salt_bytes = self.suite.salt_bytes();
        salt[..salt_bytes].copy_from_slice(&self.bytes[key_bytes..key_bytes + salt_bytes]);
        salt
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &Self) -> bool {
        self.suite == other.suite && bool::from(self.bytes.ct_eq(&other.bytes))
    }
}

impl Eq for MasterKey {}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_length_of_its_suite() {
        for (suite, expected) in Suite::ALL.into_iter().zip([30, 30, 46, 46, 28, 44]) {
            let bytes = [7; 47];
            for found in [0, expected - 1, expected + 1] {
                let error = MasterKey::new(suite, &bytes[..found]).unwrap_err();
                assert_eq!((error.expected, error.found), (expected, found));
            }
            let key = MasterKey::new(suite, &bytes[..expected]).unwrap();
            assert_eq!(key.key_and_salt(), &bytes[..expected]);
            assert_eq!(key.suite(), suite);
        }
    }

    #[test]
    fn keys_are_equal_octet_by_octet() {
        let bytes: [u8; 30] = core::array::from_fn(|i| i as u8);
        let key = MasterKey::new(Suite::AesCm128Sha1_80, &bytes).unwrap();
        assert_eq!(key, key.clone());
        assert_ne!(key, MasterKey::new(Suite::AesCm128Sha1_32, &bytes).unwrap());
        for i in 0..30 {
            let mut other = bytes;
            other[i] ^= 1;
            assert_ne!(key, MasterKey::new(Suite::AesCm128Sha1_80, &other).unwrap());
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let key = MasterKey::new(Suite::AeadAes256Gcm, &[0xa7; 44]).unwrap();
        assert_eq!(format!("{key:?}"), "MasterKey { suite: AeadAes256Gcm, .. }");
    }
}
