//! Digest authentication (RFC 3261 §22, RFC 7616, RFC 8760), both ways.
//!
//! ```text
//!  peer challenges us:   401/407 ─► Challenge::choose ─► Account::answer ─► Authorization
//!  we challenge a peer:  Nonces::mint ─► Challenge::write ─► 401 ─► Credentials::parse
//!                                                ─► Nonces::check, Account::vouches ─► who it is, or stale
//! ```
//!
//! `challenge` and `credentials` are the two header fields, `nonce` is what makes ours worth something. Nothing here
//! knows of calls or of time but what it is told.

mod challenge;
mod credentials;
mod nonce;

pub use challenge::{Challenge, Reason};
pub use credentials::{Account, Credentials, Proof, Question};
pub use nonce::{Nonces, Standing};

use crate::sip::quoted;
use md5::Md5;
use sha2::{Sha256, Sha512_256};
use smallvec::SmallVec;

/// Hexadecimal form of a hash, at most that of SHA-256.
pub(crate) type Hex = SmallVec<[u8; 64]>;

/// A hash algorithm. The `-sess` variants are not offered by anybody and not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `MD5`, also where nothing is said (RFC 7616 §3.3).
    Md5,
    /// `SHA-256`.
    Sha256,
    /// `SHA-512-256`: SHA-512 truncated, with initial values of its own.
    Sha512_256,
}

impl Algorithm {
    /// All, in the order in which they are offered: the best first (RFC 8760 §2.4).
    pub const ALL: [Self; 3] = [Self::Sha512_256, Self::Sha256, Self::Md5];

    /// The name in `algorithm`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// The one that is called `name`, in any case.
    pub fn of_name(name: &[u8]) -> Option<Self> {
        let named = |algorithm: &Self| name.eq_ignore_ascii_case(algorithm.name().as_bytes());
        Self::ALL.into_iter().find(named)
    }

    /// Hash of `parts` with colons between them, in hexadecimal.
    pub(crate) fn of(self, parts: &[&[u8]]) -> Hex {
        match self {
            Self::Md5 => hash::<Md5>(parts),
            Self::Sha256 => hash::<Sha256>(parts),
            Self::Sha512_256 => hash::<Sha512_256>(parts),
        }
    }
}

fn hash<D: sha2::Digest>(parts: &[&[u8]]) -> Hex {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut state = D::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            state.update(b":");
        }
        state.update(part);
    }
    let hex = |byte: &u8| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
    state.finalize().iter().flat_map(hex).collect()
}

/// What of a message is protected (`qop`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// `auth`: method and Request-URI.
    Auth,
    /// `auth-int`: the body, too.
    AuthInt,
}

impl Protection {
    /// The name in `qop`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::AuthInt => "auth-int",
        }
    }
}

/// The realm in a challenge or in credentials, as between its quotes.
pub(crate) fn realm_of(value: &[u8]) -> Option<&[u8]> {
    let mut named = parameters(value)?.flatten();
    named.find_map(|(name, value)| name.eq_ignore_ascii_case(b"realm").then_some(value))
}

/// Name and value of each parameter of a header value that begins with `Digest` (RFC 3261 §25.1), the quotes taken
/// off and escapes kept. `None`: another scheme. A parameter that does not parse ends the list with `None`.
fn parameters(value: &[u8]) -> Option<impl Iterator<Item = Option<(&[u8], &[u8])>>> {
    let (scheme, mut rest) = value.split_at_checked(6)?;
    let separated = rest.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
    if !scheme.eq_ignore_ascii_case(b"Digest") || !separated {
        return None;
    }
    Some(std::iter::from_fn(move || {
        loop {
            rest = rest.trim_ascii_start();
            match rest {
                [b',', behind @ ..] => rest = behind,
                [] => return None,
                _ => break,
            }
        }
        let Some(equals) = memchr::memchr(b'=', rest) else {
            rest = b"";
            return Some(None);
        };
        let name = rest[..equals].trim_ascii_end();
        let behind = rest[equals + 1..].trim_ascii_start();
        let (text, behind) = match behind {
            [b'"', inside @ ..] => match quoted(inside) {
                Some(cut) => cut,
                None => {
                    rest = b"";
                    return Some(None);
                }
            },
            _ => {
                let end = memchr::memchr(b',', behind).unwrap_or(behind.len());
                (behind[..end].trim_ascii_end(), &behind[end..])
            }
        };
        rest = behind.trim_ascii_start();
        let whole = rest.is_empty() || rest.first() == Some(&b',');
        let token = !name.is_empty() && !name.iter().any(|byte| matches!(byte, b' ' | b'"' | b','));
        if whole && token {
            Some(Some((name, text)))
        } else {
            rest = b"";
            Some(None)
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_others() {
        let text =
            |algorithm: Algorithm, parts: &[&[u8]]| String::from_utf8(algorithm.of(parts).to_vec()).unwrap();
        assert_eq!(text(Algorithm::Md5, &[b""]), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(
            text(Algorithm::Sha256, &[b"abc"]),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        // FIPS 180-4, SHA-512/256 of "abc".
        assert_eq!(
            text(Algorithm::Sha512_256, &[b"abc"]),
            "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
        );
        assert_eq!(
            text(Algorithm::Md5, &[b"a", b"b"]),
            text(Algorithm::Md5, &[b"a:b"])
        );
    }

    #[test]
    fn parameters_are_cut_at_commas_outside_quotes() {
        let all: Vec<_> = parameters(b"digest realm=\"a, \\\"b\" ,nonce = x,, qop=auth")
            .unwrap()
            .collect();
        assert_eq!(
            all,
            [
                Some((&b"realm"[..], &b"a, \\\"b"[..])),
                Some((b"nonce", b"x")),
                Some((b"qop", b"auth")),
            ]
        );
        assert!(parameters(b"Basic x=y").is_none());
        assert!(parameters(b"Digestrealm=x").is_none());
        assert!(parameters(b"Dig").is_none());
        for bad in [
            "Digest a",
            "Digest a=\"b",
            "Digest a=\"b\"c",
            "Digest =b",
            "Digest a b=c",
        ] {
            let last = parameters(bad.as_bytes()).unwrap().last().unwrap();
            assert_eq!(last, None, "{bad}");
        }
    }
}
