//! The parts of a multipart body (RFC 2046 §5.1, RFC 5621 §3): views into the body, in order.
//!
//! Only `multipart/mixed` is read: its parts are there side by side, and a reader takes those that it knows. Parts that
//! are multipart themselves are handed out unread.

use super::{
    Params,
    grammar::{slice, trim, trim_end},
};
use memchr::memchr;

/// Most parts that are looked at.
pub const PARTS_MAX: usize = 16;

/// One part of a multipart body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'b> {
    head: &'b [u8],
    /// What is in it.
    pub body: &'b [u8],
}

/// The parts of `body`, the Content-Type of which is `content_type`; at most [`PARTS_MAX`]. `None`: it is no
/// `multipart/mixed`, or has no boundary. What stands before the first boundary and behind the last is nobody's. A
/// body that ends without its last boundary ends its last part.
pub fn parts<'b>(content_type: &'b [u8], body: &'b [u8]) -> Option<impl Iterator<Item = Part<'b>>> {
    let end = memchr(b';', content_type)?;
    if !trim(slice(content_type, 0, end)).eq_ignore_ascii_case(b"multipart/mixed") {
        return None;
    }
    let boundary = Params::new(slice(content_type, end + 1, content_type.len())).find(b"boundary")?;
    // RFC 2046 §5.1.1.
    if boundary.is_empty() || boundary.len() > 70 {
        return None;
    }
    let mut rest = delimiter(body, boundary).and_then(|first| first.is_open.then_some(first.behind));
    let parts = std::iter::from_fn(move || {
        let bytes = rest?;
        let part = match delimiter(bytes, boundary) {
            Some(next) => {
                rest = next.is_open.then_some(next.behind);
                next.before
            }
            None => {
                rest = None;
                bytes
            }
        };
        Some(Part::of(part))
    });
    Some(parts.take(PARTS_MAX))
}

/// A boundary in a body.
struct Delimiter<'b> {
    /// What stands before it, without the line break that is its own.
    before: &'b [u8],
    /// What stands behind its line.
    behind: &'b [u8],
    /// Another part follows.
    is_open: bool,
}

/// The first boundary in `bytes`, which begin a line.
fn delimiter<'b>(bytes: &'b [u8], boundary: &[u8]) -> Option<Delimiter<'b>> {
    let mut start = 0;
    while start < bytes.len() {
        let rest = slice(bytes, start, bytes.len());
        let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let line = slice(rest, 0, end).strip_prefix(b"--");
        if let Some(line) = line.and_then(|line| line.strip_prefix(boundary)) {
            let padding = line.strip_prefix(b"--");
            if trim(padding.unwrap_or(line)).is_empty() {
                let before = slice(bytes, 0, start);
                let before = before.strip_suffix(b"\n").unwrap_or(before);
                return Some(Delimiter {
                    before: before.strip_suffix(b"\r").unwrap_or(before),
                    behind: slice(rest, end, rest.len()),
                    is_open: padding.is_none(),
                });
            }
        }
        start += end;
    }
    None
}

impl<'b> Part<'b> {
    fn of(bytes: &'b [u8]) -> Self {
        let mut start = 0;
        loop {
            let rest = slice(bytes, start, bytes.len());
            let end = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            let line = slice(rest, 0, end);
            if line.is_empty() || trim_end(line).is_empty() {
                return Self {
                    head: slice(bytes, 0, start),
                    body: slice(rest, end, rest.len()),
                };
            }
            start += end;
        }
    }

    /// Whether what is in it stands there as it is, not encoded (RFC 2045 §6).
    pub fn is_plain(&self) -> bool {
        let encoding = self.header(b"Content-Transfer-Encoding").unwrap_or(b"binary");
        [&b"7bit"[..], b"8bit", b"binary"]
            .iter()
            .any(|plain| encoding.eq_ignore_ascii_case(plain))
    }

    /// The value of the first header field called `name` (any case), trimmed; folds are in it.
    pub fn header(&self, name: &[u8]) -> Option<&'b [u8]> {
        let mut rest = self.head;
        while !rest.is_empty() {
            let mut end = 0;
            loop {
                let line = slice(rest, end, rest.len());
                end += memchr(b'\n', line).map_or(line.len(), |end| end + 1);
                if !matches!(rest.get(end), Some(b' ' | b'\t')) {
                    break;
                }
            }
            let field = slice(rest, 0, end);
            if let Some(colon) = memchr(b':', field)
                && trim(slice(field, 0, colon)).eq_ignore_ascii_case(name)
            {
                return Some(trim(slice(field, colon + 1, field.len())));
            }
            rest = slice(rest, end, rest.len());
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIND: &[u8] = b"Multipart/Mixed; x=1; boundary=\"b 1\"";

    fn bodies(content_type: &[u8], body: &str) -> Option<Vec<String>> {
        let parts = parts(content_type, body.as_bytes())?;
        Some(
            parts
                .map(|part| String::from_utf8(part.body.to_vec()).unwrap())
                .collect(),
        )
    }

    #[test]
    fn parts_in_order_without_what_is_around_them() {
        let body = "preamble --b 1\r\n--b 1\r\nContent-Type: a/b\r\nContent-ID:\r\n <x@y>\r\n\r\none\r\n--b 1x\r\n\r\n--b 1 \t\r\n\r\n\
                    \r\ntwo\r\n--b 1--\r\nepilogue\r\n--b 1\r\n\r\nthree";
        assert_eq!(bodies(KIND, body).unwrap(), ["one\r\n--b 1x\r\n", "\r\ntwo"]);
        let first = parts(KIND, body.as_bytes()).unwrap().next().unwrap();
        assert_eq!(first.header(b"content-type"), Some(&b"a/b"[..]));
        assert_eq!(first.header(b"Content-ID"), Some(&b"<x@y>"[..]));
        assert_eq!(first.header(b"Content"), None);
    }

    #[test]
    fn bare_line_feeds_and_a_missing_end() {
        let body = "--b 1\nContent-Type: a/b\n\none\n--b 1\n\ntwo\n";
        assert_eq!(bodies(KIND, body).unwrap(), ["one", "two\n"]);
        assert_eq!(bodies(KIND, "--b 1--\r\n--b 1\r\n\r\nx").unwrap(), [""; 0]);
        assert_eq!(bodies(KIND, "--b 1").unwrap(), [""], "a part that never came");
        assert_eq!(bodies(KIND, "nothing").unwrap(), [""; 0]);
    }

    #[test]
    fn others_are_not_read() {
        for kind in [
            "multipart/mixed",
            "multipart/mixed;boundary=",
            "multipart/related;boundary=b",
            "application/sdp;boundary=b",
        ] {
            assert_eq!(bodies(kind.as_bytes(), "--b\r\n\r\nx\r\n--b--"), None, "{kind}");
        }
        let long = format!("multipart/mixed;boundary={}", "b".repeat(71));
        assert_eq!(bodies(long.as_bytes(), ""), None);
        let many = "--b 1\r\n\r\nx\r\n".repeat(PARTS_MAX + 5);
        assert_eq!(bodies(KIND, &many).unwrap().len(), PARTS_MAX);
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_without_overlap(body in "(--b 1|--|\r\n|\n|:|a|b 1| ){0,40}") {
            let all = body.as_bytes();
            let mut end = 0;
            for part in parts(KIND, all).unwrap() {
                let start = part.head.as_ptr() as usize - all.as_ptr() as usize;
                prop_assert!(start >= end || part.head.is_empty());
                if !part.body.is_empty() {
                    end = part.body.as_ptr() as usize - all.as_ptr() as usize + part.body.len();
                    prop_assert!(end <= all.len());
                }
                let _ = part.header(b"Content-ID");
            }
        }
    }
}
