//! `a=crypto` (RFC 4568): keys of SRTP in a description.
//!
//! In: the lines of an m-line, of which only those are seen that can be used as they stand. Out: lines with
//! keys of our own. Each side's line holds the key that it sends with.
//!
//! A line may name its keys (MKI, §6.1): then its writer's packets carry the name of the key that they are under, and there may
//! be several.
//!
//! A line is passed over, as if it were not there, when it asks for what is not done here: another suite than those
//! wanted, more than [`KEYS_MAX`](sbc_media::srtp::KEYS_MAX) keys, a session parameter that changes the
//! packets (RFC 4568 §6.3); and when it is wrong: several keys that are not all named, by names of one length. The lifetime of a key binds its sender alone and is not looked at further.

use super::Media;
use crate::text::put;
use sbc_media::srtp::{MasterKey, Mki, Suite};
use zeroize::Zeroize;

/// Most octets of key and salt that a suite has (AES_256_CM).
const KEY_AND_SALT_MAX: usize = 46;

/// One `a=crypto` line: a tag, and a suite with the key that the line's writer sends with.
///
/// Its `Debug` shows no key.
#[derive(Clone, Debug, PartialEq)]
pub struct CryptoLine {
    /// What an answer names the line by; 1 to 9 digits.
    pub tag: u32,
    /// Suite and key, with the others that packets may name.
    pub key: MasterKey,
}

impl CryptoLine {
    /// Whether `other` is the same line but for the key.
    pub fn is_like(&self, other: &Self) -> bool {
        self.tag == other.tag && self.key.suite() == other.key.suite()
    }

    /// `tag suite inline:key [session parameters]`; `None`: not usable.
    fn parse(value: &[u8]) -> Option<Self> {
        let value = std::str::from_utf8(value).ok()?;
        let mut words = value.split_ascii_whitespace();
        let (tag, suite, keys) = (words.next()?, words.next()?, words.next()?);
        if tag.len() > 9 || !tag.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let suite = Suite::from_name(suite.as_bytes())?;
        if !words.all(is_harmless) {
            return None;
        }
        Some(Self {
            tag: tag.parse().ok()?,
            key: keys_of(suite, keys)?,
        })
    }

    /// Append the line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put!(out, "a=crypto:", self.tag, " ", self.key.suite().name(), " ");
        write_key(out, &self.key);
        for key in self.key.further() {
            out.push(b';');
            write_key(out, key);
        }
        out.extend_from_slice(b"\r\n");
    }
}

impl<'a> Media<'a> {
    /// The `a=crypto` lines that can be used, in the writer's order of preference.
    pub fn crypto(&self) -> impl Iterator<Item = CryptoLine> + use<'a> {
        self.attributes()
            .filter(|(name, _)| *name == b"crypto")
            .filter_map(|(_, value)| CryptoLine::parse(value?))
    }
}

/// The tag of a whole line, when it is an `a=crypto` line of ours.
pub fn crypto_tag(line: &[u8]) -> Option<u32> {
    let rest = line.strip_prefix(b"a=crypto:")?;
    let end = memchr::memchr(b' ', rest)?;
    std::str::from_utf8(&rest[..end]).ok()?.parse().ok()
}

/// A session parameter that leaves the packets as they are: the hint for the size of the replay window, and
/// extensions that may be ignored because their names begin with a dash (§6.3.7, §6.3.8).
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter.starts_with("WSH=")
}

/// `inline:key-and-salt[|MKI:length]` (§6.1).
fn write_key(out: &mut Vec<u8>, key: &MasterKey) {
    out.extend_from_slice(b"inline:");
    encode(out, key.key_and_salt());
    if let Some(mki) = key.mki() {
        put!(out, "|", mki.to_string().as_str(), ":", mki.octets().len());
    }
}

/// One key, or several with a semicolon between them (§6.1, §9.1).
fn keys_of(suite: Suite, parameters: &str) -> Option<MasterKey> {
    let mut keys = parameters.split(';');
    let first = key_of(suite, keys.next()?)?;
    keys.try_fold(first, |keys, next| keys.with_further(key_of(suite, next)?))
}

/// `inline:key-and-salt[|lifetime][|MKI:length]` (§6.1).
fn key_of(suite: Suite, parameters: &str) -> Option<MasterKey> {
    let method = parameters.get(..7)?;
    if !method.eq_ignore_ascii_case("inline:") {
        return None;
    }
    let mut parts = parameters.get(7..)?.split('|');
    let key = parts.next()?;
    let mut part = parts.next();
    if part.is_some_and(is_lifetime) {
        part = parts.next();
    }
    let mki = match part {
        Some(part) => Some(mki_of(part)?),
        None => None,
    };
    if parts.next().is_some() {
        return None;
    }
    let mut bytes = [0; KEY_AND_SALT_MAX];
    let len = decode(key.as_bytes(), &mut bytes);
    let key = len.and_then(|len| MasterKey::new(suite, &bytes[..len]).ok());
    bytes.zeroize();
    match mki {
        Some(mki) => Some(key?.identified(mki)),
        None => key,
    }
}

/// `value:length` (§6.1): a whole number, and the octets that it has in packets, 1 to 128.
fn mki_of(text: &str) -> Option<Mki> {
    let (value, len) = text.split_once(':')?;
    if len.is_empty() || len.len() > 3 || !len.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Mki::of_decimal(value, len.parse().ok()?)
}

/// A number of packets, `2^n` or decimal.
fn is_lifetime(text: &str) -> bool {
    let number = text.strip_prefix("2^").unwrap_or(text);
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Append `bytes` in base64 (RFC 4648 §4), with its padding.
fn encode(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |group, &byte| group << 8 | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let sextet = (group >> (18 - 6 * place)) & 0x3f;
            out.push(if place <= chunk.len() {
                ALPHABET[sextet as usize]
            } else {
                b'='
            });
        }
    }
}

/// Decode base64 into `out` and return how many octets there are. Padding may be missing: some phones
/// leave it out. `None`: no base64, or more than fits.
fn decode(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let text = &text[..text.len() - padding];
    if padding > 2 || text.len() % 4 == 1 || (padding > 0 && !(text.len() + padding).is_multiple_of(4)) {
        return None;
    }
    let (mut group, mut bits, mut len) = (0_u32, 0, 0);
    for &byte in text {
        let sextet = ALPHABET.iter().position(|known| *known == byte)?;
        group = group << 6 | u32::try_from(sextet).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            *out.get_mut(len)? = (group >> bits) as u8;
            group &= (1 << bits) - 1;
            len += 1;
        }
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Sdp;
    use sbc_media::srtp::KEYS_MAX;

    /// RFC 4568 §10.1.
    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    fn lines(attributes: &str) -> Vec<(u32, Suite)> {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/SAVP 0\r\n{attributes}"
        );
        let sdp = Sdp::parse(text.as_bytes()).unwrap();
        sdp.medias()[0]
            .crypto()
            .map(|line| (line.tag, line.key.suite()))
            .collect()
    }

    fn line(rest: &str) -> Vec<(u32, Suite)> {
        lines(&format!("a=crypto:{rest}\r\n"))
    }

    #[test]
    fn a_line_has_a_tag_a_suite_and_a_key() {
        let text = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20");
        assert_eq!(line(&text), [(1, Suite::AesCm128Sha1_80)]);
        assert_eq!(line(&text.replace("|2^20", "|1048576")).len(), 1);
        assert_eq!(line(&text.replace("|2^20", " WSH=128 -X=y")).len(), 1);
        assert_eq!(line(&text.replacen('1', "999999999", 1))[0].0, 999_999_999);
    }

    /// A line with so many keys.
    fn named(keys: usize) -> String {
        let keys: Vec<_> = (1..=keys).map(|n| format!("inline:{KEY}|2^20|{n}:4")).collect();
        format!("1 AES_CM_128_HMAC_SHA1_80 {}", keys.join(";"))
    }

    #[test]
    fn keys_may_have_names() {
        let of = |rest: &str| {
            CryptoLine::parse(format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{rest}").as_bytes()).unwrap()
        };
        assert_eq!(of("|2^20").key.mki(), None);
        for text in ["|1:4", "|2^20|1:4", "|1048576|001:4"] {
            assert_eq!(of(text).key.mki().unwrap().octets(), [0, 0, 0, 1], "{text}");
        }
        let longest = of("|258:128");
        assert_eq!(longest.key.mki().unwrap().octets()[125..], [0, 1, 2]);
        let two = of(&format!("|1066:4;inline:{KEY}|2^31|4278190081:4"));
        assert_eq!(two.key.mki().unwrap().octets(), [0, 0, 4, 42]);
        let [further] = two.key.further() else {
            panic!("{two:?}")
        };
        assert_eq!(further.mki().unwrap().octets(), [255, 0, 0, 1]);
        for line in [longest, two] {
            let mut out = Vec::new();
            line.write(&mut out);
            assert_eq!(
                CryptoLine::parse(&out.trim_ascii()["a=crypto:".len()..]).unwrap(),
                line
            );
        }
    }

    #[test]
    fn a_line_that_asks_for_more_is_passed_over() {
        let good = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        assert_eq!(line(&named(KEYS_MAX)).len(), 1);
        for bad in [
            format!("{good};inline:{KEY}"),
            format!("{good}|1:4;inline:{KEY}"),
            format!("{good};inline:{KEY}|1:4"),
            format!("{good}|1:4;inline:{KEY}|1:4"),
            format!("{good}|1:4;inline:{KEY}|2:2"),
            format!("{good}|1:4;inline:{}|2:4", &KEY[4..]),
            format!("{good}|1:4;"),
            format!("{good}|1:0"),
            format!("{good}|1:129"),
            format!("{good}|1:0004"),
            format!("{good}|256:1"),
            format!("{good}|-1:4"),
            format!("{good}|1:4|2^20"),
            format!("{good}|1:4|2:4"),
            format!("{good}|:4"),
            format!("{good}|1:"),
            named(9),
            format!("{good} UNENCRYPTED_SRTP"),
            format!("{good} UNENCRYPTED_SRTCP"),
            format!("{good} UNAUTHENTICATED_SRTP"),
            format!("{good} KDR=1"),
            format!("{good} FEC_ORDER=FEC_SRTP"),
            format!("{good} X=y"),
            format!("{good}A"),
            good[..good.len() - 4].to_owned(),
            good.replace("inline", "other"),
            good.replace("SHA1_80", "SHA1_81"),
            good.replacen('1', "1234567890", 1),
            good.replacen('1', "-1", 1),
            good.replace("inline:W", "inline:*"),
            "1 AES_CM_128_HMAC_SHA1_80".to_owned(),
            String::new(),
        ] {
            assert_eq!(line(&bad), [], "{bad}");
        }
        let two = format!("a=crypto:1 F8_128_HMAC_SHA1_80 inline:{KEY}\r\na=crypto:{good}\r\n");
        assert_eq!(lines(&two), [(1, Suite::AesCm128Sha1_80)]);
    }

    #[test]
    fn what_is_written_is_read_again() {
        for suite in Suite::ALL {
            let bytes: Vec<u8> = (0_u8..).take(suite.key_bytes() + suite.salt_bytes()).collect();
            let ours = CryptoLine {
                tag: 7,
                key: MasterKey::new(suite, &bytes).unwrap(),
            };
            let mut out = Vec::new();
            ours.write(&mut out);
            let text = out.trim_ascii();
            assert_eq!(crypto_tag(text), Some(7));
            assert_eq!(CryptoLine::parse(&text["a=crypto:".len()..]).unwrap(), ours);
            // Without its padding, too.
            let bare = String::from_utf8(text.to_vec()).unwrap().replace('=', "");
            let bare = bare.strip_prefix("acrypto:").unwrap();
            assert_eq!(CryptoLine::parse(bare.as_bytes()).unwrap(), ours);
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = Vec::new();
            encode(&mut out, plain.as_bytes());
            assert_eq!(out, coded.as_bytes());
            let mut back = [0; 8];
            let len = decode(coded.as_bytes(), &mut back).unwrap();
            assert_eq!(&back[..len], plain.as_bytes());
        }
        for bad in ["Z", "Zg=", "Zg===", "Zm9v=", "Zm9v====", "Z g=", "Zm-_"] {
            assert_eq!(decode(bad.as_bytes(), &mut [0; 8]), None, "{bad}");
        }
        assert_eq!(decode(b"Zm9vYmFy", &mut [0; 5]), None, "no room");
    }

    #[test]
    fn no_key_is_shown() {
        let text = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        let shown = format!("{:?}", CryptoLine::parse(text.as_bytes()).unwrap());
        assert!(!shown.contains("WVN") && !shown.contains("89, 83"), "{shown}");
    }
}
