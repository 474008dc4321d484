//! Character classes and small scanners that the grammar of every header field is made of.
//!
//! Values are spans of the receive buffer, so a folded value still contains its CRLF: white space here is
//! always SP, HTAB, CR and LF (LWS, RFC 3261 §25.1).

use memchr::{memchr, memchr2, memchr3};
use std::{borrow::Cow, net::IpAddr};

const TOKEN: u8 = 1;
const URI: u8 = 2;
const HOST: u8 = 4;
const VALUE: u8 = 8;

/// Classes of every byte, as bits.
static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        if b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~'
            )
        {
            table[i] |= TOKEN;
        }
        // Everything printable except the delimiters around a URI. Bytes above 0x7F are not legal in a URI
        // but are seen, and harm nobody who treats a URI as opaque.
        if b > b' ' && b != 0x7f && !matches!(b, b'<' | b'>' | b'"') {
            table[i] |= URI;
        }
        // The underscore is not legal in a host name (RFC 1034 §3.5), but private names have it.
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_') {
            table[i] |= HOST;
        }
        // An unquoted parameter value: a token or a host by the grammar. Peers put more into tags.
        if b > b' ' && b != 0x7f && !matches!(b, b';' | b',' | b'"' | b'<' | b'>') {
            table[i] |= VALUE;
        }
        i += 1;
    }
    table
}

#[inline]
fn class(b: u8) -> u8 {
    CLASS[usize::from(b)]
}

#[inline]
pub(super) fn is_token_byte(b: u8) -> bool {
    class(b) & TOKEN != 0
}

pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token_byte(b))
}

pub(super) fn is_uri(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| class(b) & URI != 0)
}

pub(super) fn is_host_byte(b: u8) -> bool {
    class(b) & HOST != 0
}

pub(super) fn is_value_byte(b: u8) -> bool {
    class(b) & VALUE != 0
}

#[inline]
pub(super) fn is_lws(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// `bytes` without white space at either end.
#[inline]
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

#[inline]
pub(super) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [b, rest @ ..] = bytes {
        if !is_lws(*b) {
            break;
        }
        bytes = rest;
    }
    bytes
}

#[inline]
pub(super) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., b] = bytes {
        if !is_lws(*b) {
            break;
        }
        bytes = rest;
    }
    bytes
}

/// A decimal number of at most 20 digits' worth of value: `None` when there is anything but digits,
/// [`u64::MAX`] when it does not fit.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for &b in bytes {
        if !b.is_ascii_digit() {
            return None;
        }
        value = value.saturating_mul(10).saturating_add(u64::from(b - b'0'));
    }
    Some(value)
}

/// Where the first colon is. It ends a header name, so it is near: eight bytes at a time without a call beat a
/// vector search.
#[inline]
pub(super) fn find_colon(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        // A colon becomes a zero byte, and only the lowest of several marks can be trusted.
        let zeroed = u64::from_le_bytes(*word) ^ (ONES * b':' as u64);
        let marks = zeroed.wrapping_sub(ONES) & !zeroed & (ONES << 7);
        if marks != 0 {
            return Some(index * 8 + (marks.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(|&b| b == b':').map(|n| words.len() * 8 + n)
}

/// Splits `bytes` behind its first `n` bytes; `n` beyond the end is the end.
#[inline]
pub(super) fn split(bytes: &[u8], n: usize) -> (&[u8], &[u8]) {
    bytes.split_at(n.min(bytes.len()))
}

/// The bytes from `start` to `end`; empty when that is no range of `bytes`.
#[inline]
pub(super) fn slice(bytes: &[u8], start: usize, end: usize) -> &[u8] {
    bytes.get(start..end).unwrap_or_default()
}

/// Splits off the longest prefix of bytes for which `class` holds.
#[inline]
pub(super) fn take_while(bytes: &[u8], class: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let n = bytes.iter().position(|&b| !class(b)).unwrap_or(bytes.len());
    split(bytes, n)
}

/// Given the bytes behind an opening quote: what is inside, escapes kept, and what follows the closing quote.
pub(crate) fn quoted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut i = 0;
    loop {
        i += memchr2(b'"', b'\\', bytes.get(i..)?)?;
        if bytes.get(i) == Some(&b'"') {
            return Some((slice(bytes, 0, i), slice(bytes, i + 1, bytes.len())));
        }
        i += 2; // the backslash and what it escapes
    }
}

/// The elements of a comma-separated header value (RFC 3261 §7.3.1), trimmed, empty ones left out. Commas
/// inside quotes or angle brackets separate nothing. Never use it on credentials or challenges, where the
/// comma separates parameters.
pub fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let element = trim(cut_element(&mut rest));
            if !element.is_empty() {
                return Some(element);
            }
        }
        None
    })
}

/// Cuts the first element off `rest`.
pub(super) fn cut_element<'b>(rest: &mut &'b [u8]) -> &'b [u8] {
    let bytes = *rest;
    let end = element_end(bytes);
    *rest = bytes.get(end + 1..).unwrap_or_default();
    slice(bytes, 0, end)
}

fn element_end(bytes: &[u8]) -> usize {
    // Most values are one element; when the first comma has nothing before it that could hide it, it counts.
    let Some(comma) = memchr(b',', bytes) else {
        return bytes.len();
    };
    if memchr2(b'"', b'<', slice(bytes, 0, comma)).is_none() {
        return comma;
    }
    let mut i = 0;
    while let Some(n) = memchr3(b',', b'"', b'<', slice(bytes, i, bytes.len())) {
        i += n;
        let inside = slice(bytes, i + 1, bytes.len());
        let skipped = match bytes.get(i) {
            Some(b'"') => quoted(inside).map(|(text, _)| text.len() + 2),
            Some(b'<') => memchr(b'>', inside).map(|n| n + 2),
            _ => return i,
        };
        match skipped {
            Some(n) => i += n,
            // Never closed: no separator can be told, the accessor of the element will refuse it.
            None => return bytes.len(),
        }
    }
    bytes.len()
}

/// `value` with every fold (line break and the white space around it) as one space (RFC 3261 §7.3.1).
/// Borrowed when there is none.
pub fn unfold(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr2(b'\r', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some(n) = memchr2(b'\r', b'\n', rest) {
        let (before, after) = split(rest, n);
        out.extend_from_slice(trim_end(before));
        out.push(b' ');
        rest = trim_start(after);
    }
    out.extend_from_slice(rest);
    Cow::Owned(out)
}

/// The address that a host is, with or without the brackets of an IPv6 reference; `None` for names.
pub fn host_ip(host: &[u8]) -> Option<IpAddr> {
    let bare = match host {
        [b'[', inner @ .., b']'] => inner,
        _ => host,
    };
    let text = std::str::from_utf8(bare).ok()?;
    // The grammar of RFC 3261 let senders write three colons where two are meant (RFC 5118 §4.10).
    let (head, tail) = match text.parse() {
        Ok(ip) => return Some(ip),
        Err(_) => text.split_once(":::")?,
    };
    format!("{head}::{tail}").parse().ok()
}

/// `host [":" port]` at the start of `bytes`; white space may stand around the colon (Via's sent-by, §20.42).
/// What follows is returned.
pub(super) fn host_port(bytes: &[u8]) -> Option<(&[u8], Option<u16>, &[u8])> {
    let (host, rest) = if bytes.first() == Some(&b'[') {
        let end = memchr(b']', bytes)?;
        let (host, rest) = split(bytes, end + 1);
        host_ip(host)?;
        (host, rest)
    } else {
        take_while(bytes, is_host_byte)
    };
    if host.is_empty() {
        return None;
    }
    let [b':', behind @ ..] = trim_start(rest) else {
        return Some((host, None, rest));
    };
    let (digits, rest) = take_while(trim_start(behind), |b| b.is_ascii_digit());
    let port = u16::try_from(number(digits)?).ok()?;
    Some((host, Some(port), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(value: &[u8]) -> Vec<&[u8]> {
        list_elements(value).collect()
    }

    #[test]
    fn commas_in_quotes_and_brackets_separate_nothing() {
        assert_eq!(elements(b" a , b,,c "), [b"a", b"b", b"c"]);
        assert_eq!(
            elements(b"\"x, \\\" y\" <sip:a,b@c>;q=1, <sip:d>"),
            [&b"\"x, \\\" y\" <sip:a,b@c>;q=1"[..], b"<sip:d>"]
        );
        assert_eq!(elements(b"\"never closed, a"), [b"\"never closed, a"]);
        assert!(elements(b" ,\r\n ,").is_empty());
    }

    #[test]
    fn folds_become_one_space() {
        assert_eq!(&*unfold(b"a \r\n\t b\n c"), b"a b c");
        assert!(matches!(unfold(b"a b"), Cow::Borrowed(_)));
    }

    #[test]
    fn the_first_colon_is_found_wherever_it_is() {
        for len in 0..40 {
            for at in 0..len {
                // One above the colon, which a careless subtraction would mark.
                let mut bytes = vec![b';'; len];
                bytes[at..].fill(b':');
                assert_eq!(find_colon(&bytes), Some(at));
                bytes[at..].fill(b'9');
                assert_eq!(find_colon(&bytes), None);
            }
        }
    }

    #[test]
    fn host_and_port() {
        assert_eq!(
            host_port(b"a.b:5060;x"),
            Some((&b"a.b"[..], Some(5060), &b";x"[..]))
        );
        assert_eq!(
            host_port(b"[2001:db8::1]:5070"),
            Some((&b"[2001:db8::1]"[..], Some(5070), &b""[..]))
        );
        assert_eq!(host_port(b"[2001:db8::1"), None);
        assert_eq!(host_port(b"[2001:zz::1]"), None);
        assert_eq!(host_port(b"a:65536"), None);
        assert_eq!(host_port(b"a:"), None);
        assert_eq!(host_port(b":5060"), None);
        assert_eq!(host_ip(b"[::1]"), Some("::1".parse().unwrap()));
        assert_eq!(host_ip(b"192.0.2.1"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(host_ip(b"example.com"), None);
    }

    #[test]
    fn numbers_saturate_and_refuse_signs() {
        assert_eq!(number(b"0042"), Some(42));
        assert_eq!(number(b"99999999999999999999999"), Some(u64::MAX));
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b"+1"), None);
        assert_eq!(number(b""), None);
    }

    #[test]
    fn a_quoted_string_ends_at_the_first_quote_that_is_not_escaped() {
        assert_eq!(quoted(b"a\\\"b\" c"), Some((&b"a\\\"b"[..], &b" c"[..])));
        assert_eq!(quoted(b"a\\\\\""), Some((&b"a\\\\"[..], &b""[..])));
        assert_eq!(quoted(b"a\\\""), None);
        assert_eq!(quoted(b"a\\"), None);
    }
}
