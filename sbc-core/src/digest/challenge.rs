//! What a challenger says: `WWW-Authenticate` and `Proxy-Authenticate`.

use super::{Algorithm, Protection, parameters};
use crate::text::put;

/// Longest realm, nonce or opaque value that is answered: each comes back in every request.
const VALUE_MAX: usize = 1024;

/// A challenge that can be answered. Values are as between their quotes, escapes kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// What the name and password are for.
    pub realm: &'a [u8],
    /// To be hashed, and returned.
    pub nonce: &'a [u8],
    /// To be returned.
    pub opaque: Option<&'a [u8]>,
    /// The credentials were right but for their old nonce.
    pub stale: bool,
    /// The hash.
    pub algorithm: Algorithm,
    /// What is to be protected; `None`: as in RFC 2069, without a nonce count.
    pub qop: Option<Protection>,
}

/// Why there is nothing to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No challenge at all.
    Missing,
    /// Not `Digest`, or one that does not parse.
    Malformed,
    /// None of their algorithms or protections is spoken here.
    Unsupported,
}

impl<'a> Challenge<'a> {
    /// Read the value of a header field.
    pub fn parse(value: &'a [u8]) -> Result<Self, Reason> {
        let (mut realm, mut nonce, mut opaque, mut stale) = (None, None, None, false);
        let (mut algorithm, mut qop) = (Ok(Algorithm::Md5), Ok(None));
        for parameter in parameters(value).ok_or(Reason::Malformed)? {
            let (name, value) = parameter.ok_or(Reason::Malformed)?;
            match name.to_ascii_lowercase().as_slice() {
                b"realm" => realm = Some(value),
                b"nonce" => nonce = Some(value),
                b"opaque" => opaque = Some(value),
                b"stale" => stale = value.eq_ignore_ascii_case(b"true"),
                b"algorithm" => algorithm = Algorithm::of_name(value).ok_or(Reason::Unsupported),
                b"qop" => {
                    let has = |wanted: Protection| {
                        let mut words = value.split(|byte| matches!(byte, b',' | b' '));
                        words.any(|word| word.eq_ignore_ascii_case(wanted.name().as_bytes()))
                    };
                    // Method and URI suffice: proxies of ours and of others change bodies.
                    let mut known = [Protection::Auth, Protection::AuthInt].into_iter();
                    qop = known
                        .find(|wanted| has(*wanted))
                        .map(Some)
                        .ok_or(Reason::Unsupported);
                }
                _ => {}
            }
        }
        let fits = |value: &&[u8]| value.len() <= VALUE_MAX;
        Ok(Self {
            realm: realm.filter(fits).ok_or(Reason::Malformed)?,
            nonce: nonce.filter(fits).ok_or(Reason::Malformed)?,
            opaque: opaque.map_or(Ok(None), |value| {
                Some(value).filter(fits).ok_or(Reason::Malformed).map(Some)
            })?,
            stale,
            algorithm: algorithm?,
            qop: qop?,
        })
    }

    /// Of the challenges of one realm the first that can be answered: the challenger's order is its preference
    /// (RFC 8760 §2.4). `values`: all header fields of one name; a challenge for every realm in them.
    pub fn choose(values: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Self>, Reason> {
        let mut chosen: Vec<Self> = Vec::new();
        let mut reason = Reason::Missing;
        for value in values {
            match Self::parse(value) {
                Ok(challenge) if chosen.iter().any(|known| known.realm == challenge.realm) => {}
                Ok(challenge) => chosen.push(challenge),
                // A challenge that cannot be answered says more than one that cannot be read.
                Err(Reason::Unsupported) => reason = Reason::Unsupported,
                Err(other) if reason == Reason::Missing => reason = other,
                Err(_) => {}
            }
        }
        if chosen.is_empty() {
            Err(reason)
        } else {
            Ok(chosen)
        }
    }

    /// Append the value of the header field.
    pub fn write(&self, out: &mut Vec<u8>) {
        put!(
            out,
            "Digest realm=\"",
            self.realm,
            "\", nonce=\"",
            self.nonce,
            "\""
        );
        if let Some(opaque) = self.opaque {
            put!(out, ", opaque=\"", opaque, "\"");
        }
        if self.stale {
            put!(out, ", stale=true");
        }
        // Old peers know no other and some stumble over the name.
        put!(out, ", algorithm=", self.algorithm.name());
        if let Some(qop) = self.qop {
            put!(out, ", qop=\"", qop.name(), "\"");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<Challenge<'_>, Reason> {
        Challenge::parse(value.as_bytes())
    }

    #[test]
    fn a_challenge_is_read_and_written_back() {
        let text = "Digest realm=\"a.example\", nonce=\"x,y\", opaque=\"o\", stale=true, algorithm=SHA-256, qop=\"auth\"";
        let challenge = parse(text).unwrap();
        assert_eq!(
            (challenge.realm, challenge.nonce),
            (&b"a.example"[..], &b"x,y"[..])
        );
        assert!(challenge.stale);
        let mut out = Vec::new();
        challenge.write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn what_old_and_odd_challengers_leave_out() {
        let old = parse("Digest nonce=\"n\",realm=\"r\"").unwrap();
        assert_eq!((old.algorithm, old.qop, old.opaque), (Algorithm::Md5, None, None));
        let both = parse("Digest realm=\"r\", nonce=\"n\", qop=\"auth-int,auth\", algorithm=md5").unwrap();
        assert_eq!(both.qop, Some(Protection::Auth));
        let bare = parse("Digest realm=r,nonce=n,qop=auth-int,algorithm=\"MD5\"").unwrap();
        assert_eq!((bare.realm, bare.qop), (&b"r"[..], Some(Protection::AuthInt)));
    }

    #[test]
    fn what_cannot_be_answered_says_why() {
        let long = format!("Digest realm=\"r\", nonce=\"{}\"", "n".repeat(VALUE_MAX + 1));
        for (value, reason) in [
            ("Basic realm=\"r\"", Reason::Malformed),
            ("Digest realm=\"r\"", Reason::Malformed),
            ("Digest nonce=\"n\"", Reason::Malformed),
            ("Digest realm=\"r\", nonce=\"n", Reason::Malformed),
            (long.as_str(), Reason::Malformed),
            (
                "Digest realm=\"r\", nonce=\"n\", algorithm=MD5-sess",
                Reason::Unsupported,
            ),
            (
                "Digest realm=\"r\", nonce=\"n\", qop=\"other\"",
                Reason::Unsupported,
            ),
        ] {
            assert_eq!(parse(value), Err(reason), "{value}");
        }
        assert_eq!(Challenge::choose(std::iter::empty()), Err(Reason::Missing));
    }

    #[test]
    fn the_first_known_algorithm_of_each_realm_is_chosen() {
        let values = [
            "Digest realm=\"a\", nonce=\"1\", algorithm=SHA-3",
            "Digest realm=\"a\", nonce=\"2\", algorithm=SHA-256",
            "Digest realm=\"a\", nonce=\"3\", algorithm=MD5",
            "Digest realm=\"b\", nonce=\"4\"",
        ];
        let chosen = Challenge::choose(values.iter().map(|value| value.as_bytes())).unwrap();
        let nonces: Vec<_> = chosen.iter().map(|challenge| challenge.nonce).collect();
        assert_eq!(nonces, [b"2", b"4"]);
        let unknown = Challenge::choose(values.iter().take(1).map(|value| value.as_bytes()));
        assert_eq!(unknown, Err(Reason::Unsupported));
    }
}
