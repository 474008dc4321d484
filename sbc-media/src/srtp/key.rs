//! A master key: what `inline:` of `a=crypto` carries, decoded, and nothing that could print it.

use super::{Suite, mki::Mki};
use core::fmt;
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroize;

/// Key and salt of the longest suite, AES_256_CM.
const LEN_MAX: usize = 46;

/// The most keys that packets of one direction may name.
pub const KEYS_MAX: usize = 8;

/// A suite with the master key and master salt of one direction (RFC 3711 §3.2.1), and, where packets name their key,
/// what by and which others they may name. Its memory is
/// wiped when it goes; `Debug` shows no key; comparing takes the same time whatever the key.
#[derive(Clone)]
pub struct MasterKey {
    suite: Suite,
    /// Key, then salt, then zeros.
    bytes: [u8; LEN_MAX],
    identity: Option<Box<Identity>>,
}

/// What packets name a key by, and the others.
#[derive(Clone, PartialEq, Eq)]
struct Identity {
    mki: Mki,
    further: Vec<MasterKey>,
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
        Ok(Self {
            suite,
            bytes,
            identity: None,
        })
    }

    /// The same key for packets that name it by `mki`.
    #[must_use]
    pub fn identified(mut self, mki: Mki) -> Self {
        let further = Vec::new();
        self.identity = Some(Box::new(Identity { mki, further }));
        self
    }

    /// The same key, and packets that come may name `key` instead. What leaves always has the first. `None`: one of
    /// them has no MKI, `key` has others beside it or is of another suite, its MKI is taken or of another length (RFC 4568
    /// §6.1), or there are [`KEYS_MAX`] already.
    pub fn with_further(mut self, key: Self) -> Option<Self> {
        let suite = self.suite;
        let identity = self.identity.as_deref_mut()?;
        let mki = key.mki()?;
        let fits = key.suite == suite && key.further().is_empty();
        let same_length = mki.octets().len() == identity.mki.octets().len();
        let taken = *mki == identity.mki || identity.further.iter().any(|known| known.mki() == Some(mki));
        let room = identity.further.len() + 1 < KEYS_MAX;
        if !fits || !same_length || taken || !room {
            return None;
        }
        if identity.further.is_empty() {
            // So that it never moves, and leaves no key behind.
            identity.further.reserve_exact(KEYS_MAX - 1);
        }
        identity.further.push(key);
        Some(self)
    }

    /// What packets name it by; `None`: they name no key.
    pub fn mki(&self) -> Option<&Mki> {
        self.identity.as_ref().map(|identity| &identity.mki)
    }

    /// The other keys that packets may name.
    pub fn further(&self) -> &[Self] {
        self.identity.as_ref().map_or(&[], |identity| &identity.further)
    }

    /// Whether one of these keys is one of those, whatever it is named.
    pub fn shares(&self, other: &Self) -> bool {
        let mut found = false;
        for own in core::iter::once(self).chain(self.further()) {
            for known in core::iter::once(other).chain(other.further()) {
                found |= own.suite == known.suite && bool::from(own.bytes.ct_eq(&known.bytes));
            }
        }
        found
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
        self.suite == other.suite
            && bool::from(self.bytes.ct_eq(&other.bytes))
            && self.identity == other.identity
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
        let mut shown = f.debug_struct("MasterKey");
        shown.field("suite", &self.suite);
        if let Some(identity) = &self.identity {
            shown
                .field("mki", &identity.mki)
                .field("further", &identity.further);
        }
        shown.finish_non_exhaustive()
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

    fn named(octet: u8, value: &str, len: usize) -> MasterKey {
        let key = MasterKey::new(Suite::AesCm128Sha1_80, &[octet; 30]).unwrap();
        key.identified(Mki::of_decimal(value, len).unwrap())
    }

    #[test]
    fn further_keys_have_the_same_suite_and_an_mki_of_the_same_length() {
        let other = |suite: Suite, octets: &[u8]| {
            let key = MasterKey::new(suite, octets).unwrap();
            key.identified(Mki::of_decimal("9", 2).unwrap())
        };
        let key = named(1, "1", 2);
        for refused in [
            MasterKey::new(Suite::AesCm128Sha1_80, &[2; 30]).unwrap(),
            named(2, "1", 2),
            named(2, "2", 1),
            other(Suite::AesCm128Sha1_32, &[2; 30]),
            named(2, "2", 2).with_further(named(3, "3", 2)).unwrap(),
        ] {
            assert_eq!(key.clone().with_further(refused), None);
        }
        let plain = MasterKey::new(Suite::AesCm128Sha1_80, &[2; 30]).unwrap();
        assert_eq!(plain.with_further(named(2, "2", 2)), None);
        let mut key = key;
        for n in 2..=KEYS_MAX as u8 {
            let next = key.clone().with_further(named(n, &n.to_string(), 2)).unwrap();
            assert_ne!(next, key);
            assert!(next.shares(&key) && next.shares(&named(n, "77", 4)) && !key.shares(&named(n, "77", 4)));
            key = next;
        }
        assert_eq!(key.further().len(), KEYS_MAX - 1);
        assert_eq!(key.clone().with_further(named(99, "99", 2)), None);
        assert_eq!(key, key.clone());
        let shown = format!("{:?}", named(0xa7, "1", 4));
        assert_eq!(
            shown,
            "MasterKey { suite: AesCm128Sha1_80, mki: Mki(1:4), further: [], .. }"
        );
    }
}
