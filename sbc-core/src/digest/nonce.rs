//! Nonces that need no memory until somebody has proven a password with one.
//!
//! A nonce says when it was made, and carries a MAC of that and of the realm: whoever is challenged costs nothing, so
//! that a flood of requests without credentials fills no table. Only a nonce that was used with the right password is
//! remembered, with the counts that it was used with (RFC 7616 §3.4.6: a count is good once), until it is too old.
//!
//! ```text
//! mint ──► (nothing kept) ──check──► Good ──note──► kept: counts seen
//!                            │                         │ check: count seen ─► Replayed
//!                            ├─► Stale: too old        │ too old: forgotten, and Stale
//!                            └─► Forged: not of ours
//! ```

use crate::time::Timestamp;
use ahash::RandomState;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};
use subtle::ConstantTimeEq as _;

/// Octets: time in milliseconds, random number, MAC.
const TIME: usize = 8;
const RANDOM: usize = 8;
const MAC: usize = 16;
/// Length of a nonce as text.
const TEXT: usize = 2 * (TIME + RANDOM + MAC);
/// Counts behind the highest that are told apart; older ones are taken as seen.
const WINDOW: u32 = 64;

/// What a nonce is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Ours, in time, and its count is new.
    Good,
    /// Ours, and too old, or its counts were forgotten: a new one is to be offered with `stale=true`.
    Stale,
    /// Ours, and its count was used before.
    Replayed,
    /// Not of ours, or for another realm.
    Forged,
}

/// The counts that one nonce was used with.
#[derive(Clone, Copy, Debug)]
struct Used {
    highest: u32,
    /// Bit `n`: `highest` less `n` was used.
    window: u64,
}

impl Used {
    fn has(self, count: u32) -> bool {
        match self.highest.checked_sub(count) {
            Some(behind) if behind < WINDOW => self.window >> behind & 1 == 1,
            Some(_) => true,
            None => false,
        }
    }

    fn note(&mut self, count: u32) {
        match count.checked_sub(self.highest) {
            Some(ahead) => {
                self.window = self.window.checked_shl(ahead).unwrap_or_default() | 1;
                self.highest = count;
            }
            None => self.window |= 1_u64.checked_shl(self.highest - count).unwrap_or_default(),
        }
    }
}

/// Makes and judges the nonces of one process part.
#[derive(Debug)]
pub struct Nonces {
    mac: Hmac<Sha256>,
    lifetime: Duration,
    used: HashMap<u64, Used, RandomState>,
    /// In the order in which they were first used.
    order: VecDeque<(Timestamp, u64)>,
    kept_max: usize,
    /// When the latest of those was made that were forgotten before their time: of nonces not made after it nobody
    /// knows whether they were used.
    forgotten: Option<Timestamp>,
}

impl Nonces {
    /// `key`: random, and the same wherever a nonce may come back to; `lifetime`: how long a nonce is good for;
    /// `kept_max`: how many that were used are remembered, of which the oldest must be asked for anew when there are
    /// more.
    pub fn new(key: &[u8; 64], lifetime: Duration, kept_max: usize) -> Self {
        Self {
            mac: <Hmac<Sha256> as hmac::digest::KeyInit>::new(key.into()),
            lifetime,
            used: HashMap::default(),
            order: VecDeque::new(),
            kept_max: kept_max.max(1),
            forgotten: None,
        }
    }

    /// How long nonces are good for.
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// Nonces are good for so long from now on.
    pub fn set_lifetime(&mut self, lifetime: Duration) {
        self.lifetime = lifetime;
    }

    /// A new nonce for `realm`, as text that needs no quoting. `random` must not come twice.
    pub fn mint(&self, now: Timestamp, realm: &[u8], random: u64) -> String {
        let head = head(now.as_millis(), random);
        let mut text = String::with_capacity(TEXT);
        for byte in head.iter().chain(&self.tag(&head, realm)) {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        text
    }

    /// What `nonce` is worth with `count`; `None`: it is used without one, which can be no replay but by its time.
    pub fn check(&self, now: Timestamp, realm: &[u8], nonce: &[u8], count: Option<u32>) -> Standing {
        let Some((made, random)) = self.open(realm, nonce) else {
            return Standing::Forged;
        };
        if now.since(made) > self.lifetime || made > now {
            return Standing::Stale;
        }
        match (self.used.get(&random), count) {
            (None, _) if Some(made) <= self.forgotten => Standing::Stale,
            (None, Some(1..)) | (None, None) => Standing::Good,
            // RFC 2069 has no counts: such a nonce is good for one request.
            (Some(_), None) => Standing::Stale,
            (Some(used), Some(count)) if !used.has(count) && count > 0 => Standing::Good,
            (_, Some(_)) => Standing::Replayed,
        }
    }

    /// A request with this nonce and count has shown the right password: they are used now. Returns how many others
    /// were forgotten before their time for that.
    pub fn note(&mut self, now: Timestamp, realm: &[u8], nonce: &[u8], count: Option<u32>) -> u64 {
        let mut early = 0;
        let Some((made, random)) = self.open(realm, nonce) else {
            return early;
        };
        let known = self.used.contains_key(&random);
        while let Some((made, oldest)) = self.order.front().copied() {
            let over = now.since(made) > self.lifetime;
            if !over && (known || self.order.len() < self.kept_max) {
                break;
            }
            if !over {
                self.forgotten = self.forgotten.max(Some(made));
                early += 1;
            }
            self.order.pop_front();
            self.used.remove(&oldest);
        }
        let count = count.unwrap_or_default();
        match self.used.get_mut(&random) {
            Some(used) => used.note(count),
            None => {
                let used = Used {
                    highest: count,
                    window: 1,
                };
                self.used.insert(random, used);
                self.order.push_back((made, random));
            }
        }
        early
    }

    /// How many are remembered.
    pub fn kept(&self) -> usize {
        self.used.len()
    }

    /// Time and random number of a nonce of ours for `realm`.
    fn open(&self, realm: &[u8], nonce: &[u8]) -> Option<(Timestamp, u64)> {
        if nonce.len() != TEXT {
            return None;
        }
        let mut octets = [0; TIME + RANDOM + MAC];
        for (octet, digits) in octets.iter_mut().zip(nonce.chunks_exact(2)) {
            let digit = |at: usize| {
                char::from(digits[at])
                    .to_digit(16)
                    .filter(|_| !digits[at].is_ascii_uppercase())
            };
            *octet = (digit(0)? << 4 | digit(1)?) as u8;
        }
        let (head, tag) = octets.split_at(TIME + RANDOM);
        if !bool::from(self.tag(head, realm).ct_eq(tag)) {
            return None;
        }
        let (time, random) = head.split_at(TIME);
        let time = u64::from_be_bytes(time.try_into().ok()?);
        let random = u64::from_be_bytes(random.try_into().ok()?);
        Some((Timestamp::from_millis(time), random))
    }

    fn tag(&self, head: &[u8], realm: &[u8]) -> [u8; MAC] {
        let mut mac = self.mac.clone();
        mac.update(head);
        mac.update(realm);
        let mut tag = [0; MAC];
        tag.copy_from_slice(&mac.finalize().into_bytes()[..MAC]);
        tag
    }
}

fn head(time_ms: u64, random: u64) -> [u8; TIME + RANDOM] {
    let mut head = [0; TIME + RANDOM];
    head[..TIME].copy_from_slice(&time_ms.to_be_bytes());
    head[TIME..].copy_from_slice(&random.to_be_bytes());
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(300);

    fn nonces(kept_max: usize) -> Nonces {
        Nonces::new(&[7; 64], LIFETIME, kept_max)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1000 * seconds)
    }

    #[test]
    fn a_nonce_is_good_for_its_time_and_realm() {
        let nonces = nonces(8);
        let nonce = nonces.mint(at(10), b"r", 1);
        let check = |now, realm: &[u8]| nonces.check(at(now), realm, nonce.as_bytes(), Some(1));
        assert_eq!(check(10, b"r"), Standing::Good);
        assert_eq!(check(310, b"r"), Standing::Good);
        assert_eq!(check(311, b"r"), Standing::Stale);
        assert_eq!(check(10, b"s"), Standing::Forged);
        assert_ne!(nonces.mint(at(10), b"r", 2), nonce);
    }

    #[test]
    fn no_octet_of_a_nonce_can_be_changed() {
        let nonces = nonces(8);
        let nonce = nonces.mint(at(10), b"r", 1);
        for place in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[place] = if forged[place] == b'0' { b'1' } else { b'0' };
            assert_eq!(
                nonces.check(at(10), b"r", &forged, Some(1)),
                Standing::Forged,
                "{place}"
            );
        }
        for forged in [
            &b""[..],
            b"x",
            &nonce.as_bytes()[1..],
            nonce.to_ascii_uppercase().as_bytes(),
        ] {
            assert_eq!(nonces.check(at(10), b"r", forged, Some(1)), Standing::Forged);
        }
        let other = Nonces::new(&[8; 64], LIFETIME, 8);
        assert_eq!(
            other.check(at(10), b"r", nonce.as_bytes(), Some(1)),
            Standing::Forged
        );
    }

    #[test]
    fn a_count_is_good_once_in_any_order() {
        let mut nonces = nonces(8);
        let nonce = nonces.mint(at(0), b"r", 1);
        let nonce = nonce.as_bytes();
        for count in [1, 2, 5, 4, 70, 69, 7] {
            assert_eq!(
                nonces.check(at(1), b"r", nonce, Some(count)),
                Standing::Good,
                "{count}"
            );
            nonces.note(at(1), b"r", nonce, Some(count));
            assert_eq!(
                nonces.check(at(1), b"r", nonce, Some(count)),
                Standing::Replayed,
                "{count}"
            );
        }
        // Further behind than is remembered: taken as seen.
        assert_eq!(nonces.check(at(1), b"r", nonce, Some(6)), Standing::Replayed);
        assert_eq!(nonces.check(at(1), b"r", nonce, Some(3)), Standing::Replayed);
        assert_eq!(nonces.check(at(1), b"r", nonce, Some(0)), Standing::Replayed);
        assert_eq!(nonces.check(at(1), b"r", nonce, Some(8)), Standing::Good);
        assert_eq!(nonces.check(at(1), b"r", nonce, None), Standing::Stale);
    }

    #[test]
    fn without_counts_a_nonce_is_good_once() {
        let mut nonces = nonces(8);
        let nonce = nonces.mint(at(0), b"r", 1);
        assert_eq!(nonces.check(at(1), b"r", nonce.as_bytes(), None), Standing::Good);
        nonces.note(at(1), b"r", nonce.as_bytes(), None);
        assert_eq!(nonces.check(at(1), b"r", nonce.as_bytes(), None), Standing::Stale);
    }

    #[test]
    fn only_used_nonces_are_kept_and_no_more_than_allowed() {
        let mut nonces = nonces(4);
        let minted: Vec<_> = (0..10).map(|n| nonces.mint(at(n), b"r", n)).collect();
        assert_eq!(nonces.kept(), 0);
        for nonce in &minted {
            nonces.note(at(20), b"r", nonce.as_bytes(), Some(1));
            assert!(nonces.kept() <= 4);
        }
        // A replay of one that was forgotten is not taken for new.
        let forgotten = nonces.check(at(20), b"r", minted[0].as_bytes(), Some(1));
        assert_eq!(forgotten, Standing::Stale);
        let kept = nonces.check(at(20), b"r", minted[9].as_bytes(), Some(1));
        assert_eq!(kept, Standing::Replayed);
        // With time they go.
        let late = nonces.mint(at(400), b"r", 99);
        nonces.note(at(400), b"r", late.as_bytes(), Some(1));
        assert_eq!(nonces.kept(), 1);
    }
}
