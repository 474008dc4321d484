//! What the challenged one says: `Authorization` and `Proxy-Authorization`.

use super::{Algorithm, Challenge, Hex, Protection, parameters};
use crate::text::put;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

/// The request that is to be proven.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Method of the request.
    pub method: &'a [u8],
    /// Its Request-URI as it is sent.
    pub uri: &'a [u8],
    /// Its body, for `auth-int`.
    pub body: &'a [u8],
}

/// A name with its password. Its `Debug` shows no password, and it is wiped in the end.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    username: Box<[u8]>,
    password: Box<[u8]>,
}

impl Drop for Account {
    fn drop(&mut self) {
        self.password.zeroize();
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Account({})", String::from_utf8_lossy(&self.username))
    }
}

/// Credentials that were received. Values are as between their quotes, escapes kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Whose.
    pub username: &'a [u8],
    /// For what.
    pub realm: &'a [u8],
    /// Of the challenge.
    pub nonce: &'a [u8],
    /// The Request-URI that is hashed. Proxies may change that of the request (RFC 3261 §22.4), so it need not be
    /// the same.
    pub uri: &'a [u8],
    /// The hash.
    pub algorithm: Algorithm,
    /// With `qop`: what is protected, the client's nonce, and the nonce count.
    pub qop: Option<(Protection, &'a [u8], u32)>,
    count: &'a [u8],
    response: &'a [u8],
}

/// What an account says of credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// They show its password.
    Right,
    /// They do not.
    Wrong,
}

impl<'a> Credentials<'a> {
    /// Read the value of a header field; `None`: not `Digest`, something is missing or not as RFC 7616 §3.4 wants
    /// it, or an algorithm that nobody was offered.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (mut username, mut realm, mut nonce, mut uri, mut response) = (None, None, None, None, None);
        let (mut algorithm, mut qop, mut cnonce, mut count) = (Some(Algorithm::Md5), None, None, None);
        for parameter in parameters(value)? {
            let (name, value) = parameter?;
            let place = match name.to_ascii_lowercase().as_slice() {
                b"username" => &mut username,
                b"realm" => &mut realm,
                b"nonce" => &mut nonce,
                b"uri" => &mut uri,
                b"response" => &mut response,
                b"cnonce" => &mut cnonce,
                b"nc" => &mut count,
                b"qop" => &mut qop,
                b"algorithm" => {
                    algorithm = Algorithm::of_name(value);
                    continue;
                }
                _ => continue,
            };
            // The same twice: two readers could take different ones.
            if place.replace(value).is_some() {
                return None;
            }
        }
        let count = count.unwrap_or_default();
        let qop = match qop {
            None => None,
            Some(qop) => {
                let mut known = [Protection::Auth, Protection::AuthInt].into_iter();
                let qop = known.find(|known| qop.eq_ignore_ascii_case(known.name().as_bytes()))?;
                let digits = count.len() == 8 && count.iter().all(u8::is_ascii_hexdigit);
                let number = u32::from_str_radix(std::str::from_utf8(count).ok()?, 16).ok();
                Some((qop, cnonce?, number.filter(|_| digits)?))
            }
        };
        Some(Self {
            username: username?,
            realm: realm?,
            nonce: nonce?,
            uri: uri?,
            algorithm: algorithm?,
            qop,
            count,
            response: response?,
        })
    }
}

impl Account {
    /// Of a name and its password.
    pub fn new(username: &[u8], password: &[u8]) -> Self {
        Self {
            username: username.into(),
            password: password.into(),
        }
    }

    /// Whose it is.
    pub fn username(&self) -> &[u8] {
        &self.username
    }

    /// Append the value of the header field that answers `challenge`. `count`: how many requests have been sent with
    /// its nonce, this one included; `cnonce`: a random token of our own.
    pub fn answer(
        &self,
        out: &mut Vec<u8>,
        challenge: &Challenge<'_>,
        question: &Question<'_>,
        count: u32,
        cnonce: &[u8],
    ) {
        let Challenge {
            realm,
            nonce,
            algorithm,
            ..
        } = *challenge;
        let username = escaped(&self.username);
        let count = format!("{count:08x}");
        let proven = challenge.qop.map(|qop| (qop, count.as_bytes(), cnonce));
        let response = self.response(algorithm, &username, realm, nonce, proven, question);
        put!(out, "Digest username=\"", &username[..], "\", realm=\"", realm);
        put!(out, "\", nonce=\"", nonce, "\", uri=\"", question.uri);
        put!(
            out,
            "\", response=\"",
            &response[..],
            "\", algorithm=",
            algorithm.name()
        );
        if let Some((qop, count, cnonce)) = proven {
            put!(out, ", cnonce=\"", cnonce, "\", qop=", qop.name(), ", nc=", count);
        }
        if let Some(opaque) = challenge.opaque {
            put!(out, ", opaque=\"", opaque, "\"");
        }
    }

    /// Whether `credentials` show that their sender knows this account's password, for a request with `question`'s
    /// method and body. Takes as long for a wrong name or password as for the right ones.
    pub fn vouches(&self, credentials: &Credentials<'_>, question: &Question<'_>) -> Proof {
        let username = escaped(&self.username);
        let proven = credentials
            .qop
            .map(|(qop, cnonce, _)| (qop, credentials.count, cnonce));
        let question = Question {
            uri: credentials.uri,
            ..*question
        };
        let Credentials {
            realm,
            nonce,
            algorithm,
            ..
        } = *credentials;
        let expected = self.response(algorithm, &username, realm, nonce, proven, &question);
        let given = credentials.response.to_ascii_lowercase();
        let right = given.ct_eq(&expected) & username.ct_eq(credentials.username);
        if bool::from(right) {
            Proof::Right
        } else {
            Proof::Wrong
        }
    }

    fn response(
        &self,
        algorithm: Algorithm,
        username: &[u8],
        realm: &[u8],
        nonce: &[u8],
        proven: Option<(Protection, &[u8], &[u8])>,
        question: &Question<'_>,
    ) -> Hex {
        let Question { method, uri, body } = *question;
        let secret = algorithm.of(&[username, realm, &self.password]);
        let asked = match proven {
            Some((Protection::AuthInt, ..)) => algorithm.of(&[method, uri, &algorithm.of(&[body])]),
            _ => algorithm.of(&[method, uri]),
        };
        match proven {
            Some((qop, count, cnonce)) => {
                algorithm.of(&[&secret, nonce, count, cnonce, qop.name().as_bytes(), &asked])
            }
            None => algorithm.of(&[&secret, nonce, &asked]),
        }
    }
}

/// As it stands in a quoted string.
fn escaped(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(algorithm: Algorithm, qop: Option<Protection>) -> Challenge<'static> {
        Challenge {
            realm: b"http-auth@example.org",
            nonce: b"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            opaque: Some(b"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"),
            stale: false,
            algorithm,
            qop,
        }
    }

    const QUESTION: Question<'_> = Question {
        method: b"GET",
        uri: b"/dir/index.html",
        body: b"",
    };
    const CNONCE: &[u8] = b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";

    fn answer(account: &Account, challenge: &Challenge<'_>, question: &Question<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        account.answer(&mut out, challenge, question, 1, CNONCE);
        out
    }

    /// The examples of RFC 7616 §3.9.1.
    #[test]
    fn the_examples_of_the_rfc() {
        let mufasa = Account::new(b"Mufasa", b"Circle of Life");
        for (algorithm, response) in [
            (Algorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (
                Algorithm::Sha256,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
            // The RFC has none of this with these values; by OpenSSL, which has those above for the others.
            (
                Algorithm::Sha512_256,
                "430d05014cecc49cab6fbe03176d41a1da86cbfe24a16580e22aaad928d960d0",
            ),
        ] {
            let value = answer(&mufasa, &challenge(algorithm, Some(Protection::Auth)), &QUESTION);
            let credentials = Credentials::parse(&value).unwrap();
            assert_eq!(credentials.response, response.as_bytes(), "{algorithm:?}");
        }
        // RFC 2617 §3.5.
        let old = Challenge {
            realm: b"testrealm@host.com",
            nonce: b"dcd98b7102dd2f0e8b11d0f600bfb0c093",
            ..challenge(Algorithm::Md5, Some(Protection::Auth))
        };
        let mut value = Vec::new();
        let account = Account::new(b"Mufasa", b"Circle Of Life");
        account.answer(&mut value, &old, &QUESTION, 1, b"0a4f113b");
        let credentials = Credentials::parse(&value).unwrap();
        assert_eq!(credentials.response, b"6629fae49393a05397450978507c4ef1");
    }

    #[test]
    fn whoever_knows_the_password_is_believed_in_every_form() {
        let account = Account::new(b"a\"b\\c", b"p:w\"");
        let stranger = Account::new(b"a\"b\\c", b"other");
        let question = Question {
            method: b"INVITE",
            uri: b"sip:1@b.example",
            body: b"v=0",
        };
        for algorithm in Algorithm::ALL {
            for qop in [None, Some(Protection::Auth), Some(Protection::AuthInt)] {
                let value = answer(&account, &challenge(algorithm, qop), &question);
                let credentials = Credentials::parse(&value).unwrap();
                assert_eq!(
                    account.vouches(&credentials, &question),
                    Proof::Right,
                    "{algorithm:?} {qop:?}"
                );
                assert_eq!(stranger.vouches(&credentials, &question), Proof::Wrong);
                let other = Question {
                    method: b"BYE",
                    ..question
                };
                assert_eq!(account.vouches(&credentials, &other), Proof::Wrong);
                let other = Question {
                    body: b"v=1",
                    ..question
                };
                let expected = if qop == Some(Protection::AuthInt) {
                    Proof::Wrong
                } else {
                    Proof::Right
                };
                assert_eq!(account.vouches(&credentials, &other), expected);
            }
        }
    }

    #[test]
    fn another_name_is_wrong_though_its_hash_be_right() {
        let account = Account::new(b"a", b"p");
        let value = answer(&account, &challenge(Algorithm::Md5, None), &QUESTION);
        let text = String::from_utf8(value)
            .unwrap()
            .replace("username=\"a\"", "username=\"b\"");
        let credentials = Credentials::parse(text.as_bytes()).unwrap();
        assert_eq!(account.vouches(&credentials, &QUESTION), Proof::Wrong);
    }

    #[test]
    fn credentials_that_lack_or_repeat_something_are_none() {
        let whole = "Digest username=\"u\", realm=\"r\", nonce=\"n\", uri=\"sip:x\", response=\"00\", \
                     algorithm=MD5, cnonce=\"c\", qop=auth, nc=00000001";
        assert!(Credentials::parse(whole.as_bytes()).is_some());
        for (from, to) in [
            ("username=\"u\", ", ""),
            ("realm=\"r\", ", ""),
            ("nonce=\"n\", ", ""),
            ("uri=\"sip:x\", ", ""),
            ("response=\"00\", ", ""),
            ("cnonce=\"c\", ", ""),
            (", nc=00000001", ""),
            ("nc=00000001", "nc=1"),
            ("nc=00000001", "nc=+0000001"),
            ("nc=00000001", "nc=0000000g"),
            ("qop=auth", "qop=auth2"),
            ("algorithm=MD5", "algorithm=MD5-sess"),
            ("realm=\"r\"", "realm=\"r\", realm=\"s\""),
            ("Digest", "Basic"),
        ] {
            let text = whole.replacen(from, to, 1);
            assert_ne!(text, whole);
            assert!(Credentials::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(format!("{:?}", Account::new(b"u", b"secret")), "Account(u)");
    }
}
