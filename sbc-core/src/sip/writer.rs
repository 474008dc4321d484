//! Writing one message into a caller-supplied buffer.
//!
//! The one place that keeps what we send in shape: a value may come from the other leg's receive buffer, so
//! folds are unfolded and CR, LF and NUL never get out of here.

use super::{grammar::unfold, header::HeaderName, reason_phrase};
use crate::text::Put;
use memchr::memchr3;
use std::{
    fmt::{self, Write as _},
    io::Write as _,
};

/// Appends a SIP message to a buffer: a start line, header fields, and [`Writer::body`] or
/// [`Writer::empty_body`] as the end.
#[derive(Debug)]
pub struct Writer<'w> {
    out: &'w mut Vec<u8>,
    compact: bool,
}

impl<'w> Writer<'w> {
    /// A message at the end of `out`. What `out` already holds stays.
    pub fn new(out: &'w mut Vec<u8>) -> Self {
        Self { out, compact: false }
    }

    /// Write header field names in their compact form where they have one (§7.3.3), from now on.
    pub fn compact(mut self, compact: bool) -> Self {
        self.compact = compact;
        self
    }

    /// `method uri SIP/2.0`. A byte that can stand in no URI is percent-encoded.
    pub fn request_line(&mut self, method: impl AsRef<[u8]>, uri: impl AsRef<[u8]>) -> &mut Self {
        self.clean(method.as_ref());
        self.out.push(b' ');
        let uri = uri.as_ref();
        if uri.iter().any(|&b| breaks_uri(b)) {
            for &b in uri {
                if breaks_uri(b) {
                    // Writing to a Vec cannot fail.
                    let _ = write!(self.out, "%{b:02X}");
                } else {
                    self.out.push(b);
                }
            }
        } else {
            self.out.extend_from_slice(uri);
        }
        self.out.extend_from_slice(b" SIP/2.0\r\n");
        self
    }

    /// `SIP/2.0 code reason`; an empty `reason` means the standard phrase.
    pub fn status_line(&mut self, code: u16, reason: impl AsRef<[u8]>) -> &mut Self {
        self.out.extend_from_slice(b"SIP/2.0 ");
        self.number(usize::from(code));
        self.out.push(b' ');
        match reason.as_ref() {
            b"" => self.out.extend_from_slice(reason_phrase(code).as_bytes()),
            reason => self.clean(reason),
        }
        self.out.extend_from_slice(b"\r\n");
        self
    }

    /// `name: value`. A fold in `value` becomes one space, and so do CR, LF and NUL.
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.header_bytes(name.as_bytes(), value)
    }

    /// As [`Writer::header`], for a name that was received. One that is no token would change the meaning of
    /// the message, so such a header field is left out.
    pub fn header_bytes(&mut self, name: &[u8], value: impl AsRef<[u8]>) -> &mut Self {
        if self.header_name(name) {
            self.clean(value.as_ref());
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// As [`Writer::header`], with a formatted value: `w.header_fmt("Contact", format_args!("<{uri}>"))`.
    pub fn header_fmt(&mut self, name: &str, value: fmt::Arguments<'_>) -> &mut Self {
        // The adapter never fails, and nor does a Vec: only a Display that lies could.
        self.header_with(name, |out| {
            let _ = Text(out).write_fmt(value);
        })
    }

    /// As [`Writer::header`], with a value that `write` appends.
    pub(crate) fn header_with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        if self.header_name(name.as_bytes()) {
            let start = self.out.len();
            write(self.out);
            for b in self.out.iter_mut().skip(start) {
                if matches!(*b, b'\r' | b'\n' | 0) {
                    *b = b' ';
                }
            }
            self.out.extend_from_slice(b"\r\n");
        }
        self
    }

    /// Bytes that are in wire form already, written by a `Writer` or taken from a parsed message and unfolded.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }

    /// A Via element as it stands.
    pub fn via(&mut self, value: impl AsRef<[u8]>) -> &mut Self {
        self.header("Via", value)
    }

    /// Content-Type, Content-Length, the empty line and the body. Ends the message.
    pub fn body(&mut self, content_type: impl AsRef<[u8]>, body: &[u8]) {
        self.header("Content-Type", content_type);
        self.end(body);
    }

    /// As [`Writer::body`], with the Content-Type written before, or without a body.
    pub(crate) fn end(&mut self, body: &[u8]) {
        self.length_name();
        self.number(body.len());
        self.out.extend_from_slice(b"\r\n\r\n");
        self.out.extend_from_slice(body);
    }

    /// `Content-Length: 0` and the empty line. Ends the message.
    pub fn empty_body(&mut self) {
        self.length_name();
        self.out.extend_from_slice(b"0\r\n\r\n");
    }

    fn length_name(&mut self) {
        let name: &[u8] = if self.compact { b"l: " } else { b"Content-Length: " };
        self.out.extend_from_slice(name);
    }

    fn header_name(&mut self, name: &[u8]) -> bool {
        let valid = HeaderName::is_valid(name);
        if valid {
            let name = if self.compact { compacted(name) } else { name };
            self.out.extend_from_slice(name);
            self.out.extend_from_slice(b": ");
        }
        valid
    }

    /// Appends `value` without anything that could end the line.
    fn clean(&mut self, value: &[u8]) {
        if memchr3(b'\r', b'\n', 0, value).is_none() {
            return self.out.extend_from_slice(value);
        }
        self.out
            .extend(unfold(value).iter().map(|&b| if b == 0 { b' ' } else { b }));
    }

    fn number(&mut self, n: usize) {
        n.put(self.out);
    }
}

/// The compact form of `name`, if it has one.
fn compacted(name: &[u8]) -> &[u8] {
    match HeaderName::from_bytes(name) {
        HeaderName::Other => name,
        known => known.spelled(true).as_bytes(),
    }
}

/// What ends or splits a Request-Line, or delimits a URI.
fn breaks_uri(b: u8) -> bool {
    b <= b' ' || b == 0x7f || matches!(b, b'<' | b'>' | b'"')
}

/// `fmt::Write` into bytes.
struct Text<'w>(&'w mut Vec<u8>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0.extend_from_slice(s.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Message, Method};

    fn written(f: impl FnOnce(&mut Writer<'_>)) -> String {
        let mut out = Vec::new();
        f(&mut Writer::new(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn request_with_body() {
        let text = written(|w| {
            w.request_line(Method::Invite, "sip:a@b")
                .via("SIP/2.0/UDP h;branch=z9hG4bK1");
            w.header("From", "<sip:x@y>;tag=1")
                .header_fmt("CSeq", format_args!("{} {}", 1, "INVITE"));
            w.body("application/sdp", b"v=0\r\n");
        });
        assert_eq!(
            text,
            "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:x@y>;tag=1\r\n\
             CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n"
        );
    }

    #[test]
    fn compact_names() {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out).compact(true);
        w.via("SIP/2.0/UDP h;branch=z9hG4bK1").header("CSeq", "1 INVITE");
        w.header_bytes(b"call-id", "x")
            .header_bytes(b"X-Call-ID", "y")
            .header_fmt("Contact", format_args!("<sip:{}>", 'a'));
        w.body("application/sdp", b"v=0\r\n");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "v: SIP/2.0/UDP h;branch=z9hG4bK1\r\nCSeq: 1 INVITE\r\ni: x\r\nX-Call-ID: y\r\nm: <sip:a>\r\n\
             c: application/sdp\r\nl: 5\r\n\r\nv=0\r\n"
        );
    }

    #[test]
    fn status_line_with_own_and_standard_phrase() {
        assert_eq!(
            written(|w| {
                w.status_line(486, "");
            }),
            "SIP/2.0 486 Busy Here\r\n"
        );
        assert_eq!(
            written(|w| {
                w.status_line(400, "Bad Via");
            }),
            "SIP/2.0 400 Bad Via\r\n"
        );
    }

    #[test]
    fn nothing_ends_a_line_early() {
        let evil = "a\r\nEvil: 1\n\r\n\0b";
        let text = written(|w| {
            w.request_line(evil, evil)
                .header("X", evil)
                .header_fmt("Y", format_args!("{evil}"));
            w.header_bytes(b"Bad Name", "z")
                .header_bytes(b"A\r\nB", "z")
                .header_bytes(b"", "z");
            w.status_line(200, evil);
            w.body(evil, b"");
        });
        assert_eq!(text.matches("\r\n").count(), 7, "{text:?}");
        assert_eq!(text.matches(['\r', '\n']).count(), 14, "{text:?}");
        assert!(!text.contains('\0'));
        assert!(text.contains("X: a Evil: 1  b\r\n"), "{text:?}");
        assert!(text.contains("%0D%0AEvil:%201"), "{text:?}");
    }

    #[test]
    fn a_written_message_is_read_back() {
        let mut out = b"kept".to_vec();
        let mut w = Writer::new(&mut out);
        w.status_line(180, "").header("Subject", b"a\r\n b").empty_body();
        let message = Message::parse(out.strip_prefix(b"kept").unwrap()).unwrap();
        assert_eq!((message.status(), message.reason()), (180, &b"Ringing"[..]));
        assert_eq!(message.header(HeaderName::Subject), Some(&b"a b"[..]));
        assert_eq!(message.body(), b"");
    }
}
