//! Where messages begin and end on a stream (RFC 3261 §7.5, §18.3; RFC 5626 §3.5.1).
//!
//! In: pieces of a stream, cut anywhere. Out: whole messages, pings, or the fault after which nothing more of
//! the stream can be understood. Only Content-Length says where a message ends, so on a stream it is required.
//!
//! A message that lies whole in the piece received is handed out as it lies there. What is incomplete is kept
//! in a buffer of its own that exists only until the message is whole, so that a silent connection costs a few
//! bytes. No byte is searched twice: a header section that comes byte by byte costs as much as one in one piece.

use crate::sip::{HeaderName, MESSAGE_BYTES_MAX};
use memchr::memchr;
use std::borrow::Cow;

/// What comes next on a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'p> {
    /// One whole message, without line breaks before it.
    Message(Cow<'p, [u8]>),
    /// Two line breaks: the peer wants one in return, to see that the connection lives.
    Ping,
    /// What follows cannot be told apart any more: the connection must be closed. The bytes are what was read
    /// of the message, its header section at most.
    Fault(Fault, Cow<'p, [u8]>),
}

/// Why a stream cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A message begins with what no message begins with.
    #[error("not SIP")]
    NotSip,
    /// The message is, or says that it is, larger than allowed.
    #[error("message too large")]
    TooLarge,
    /// There is no Content-Length.
    #[error("no Content-Length")]
    LengthMissing,
    /// Content-Length is no number, or there are several.
    #[error("bad Content-Length")]
    LengthBad,
}

impl Fault {
    /// Status of the answer to a request with this fault.
    pub const fn status(self) -> u16 {
        match self {
            Self::TooLarge => 513,
            _ => 400,
        }
    }
}

/// Finds the messages of one stream.
#[derive(Debug, Default)]
pub struct Framer {
    partial: Option<Box<Partial>>,
    /// How much of the two line breaks of a ping has come.
    breaks: u8,
}

/// A message that is not whole yet.
#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    head: Head,
    /// Length of the message, once its header section has ended.
    total: Option<usize>,
}

impl Framer {
    /// Take the next frame from the front of `piece`; `None` when all of `piece` is used up. Messages may be
    /// `bytes_max` long, and never longer than [`MESSAGE_BYTES_MAX`]. After a [`Frame::Fault`] there is nothing
    /// more to take.
    pub fn next<'p>(&mut self, piece: &mut &'p [u8], bytes_max: usize) -> Option<Frame<'p>> {
        let bytes_max = bytes_max.min(MESSAGE_BYTES_MAX);
        if let Some(partial) = self.partial.take() {
            return self.resume(partial, piece, bytes_max);
        }
        if let Some(ping) = self.line_breaks(piece) {
            return Some(ping);
        }
        let first = piece.first()?;
        if !HeaderName::is_valid(std::slice::from_ref(first)) {
            return Some(Frame::Fault(Fault::NotSip, Cow::Borrowed(b"")));
        }
        let bytes = std::mem::take(piece);
        let mut head = Head::default();
        let total = match head.scan(bytes) {
            None if bytes.len() < bytes_max => None,
            None => return Some(fault(Fault::TooLarge, bytes, bytes_max)),
            // As it would be had it come in pieces.
            Some(end) if end > bytes_max => return Some(fault(Fault::TooLarge, bytes, bytes_max)),
            Some(end) => match total(&head, bytes, end, bytes_max) {
                Err(what) => return Some(fault(what, bytes, end)),
                Ok(total) => Some(total),
            },
        };
        if let Some((message, rest)) = total.and_then(|total| bytes.split_at_checked(total)) {
            *piece = rest;
            return Some(Frame::Message(Cow::Borrowed(message)));
        }
        self.partial = Some(Box::new(Partial {
            bytes: bytes.to_vec(),
            head,
            total,
        }));
        None
    }

    /// A message has begun and is not whole.
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// How much of it is kept.
    pub fn buffered(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.bytes.len())
    }

    /// Add to a message that has begun.
    fn resume<'p>(
        &mut self,
        mut partial: Box<Partial>,
        piece: &mut &'p [u8],
        bytes_max: usize,
    ) -> Option<Frame<'p>> {
        let before = partial.bytes.len();
        let wanted = partial.total.unwrap_or(bytes_max).saturating_sub(before);
        let (taken, _) = piece.split_at(wanted.min(piece.len()));
        partial.bytes.extend_from_slice(taken);
        if partial.total.is_none() {
            partial.total = match partial.head.scan(&partial.bytes) {
                None if partial.bytes.len() < bytes_max => None,
                None => return Some(owned_fault(Fault::TooLarge, partial.bytes, bytes_max)),
                Some(end) => match total(&partial.head, &partial.bytes, end, bytes_max) {
                    Err(what) => return Some(owned_fault(what, partial.bytes, end)),
                    Ok(total) => Some(total),
                },
            };
        }
        match partial.total {
            // What was taken beyond the message's end goes back: it lies in this piece.
            Some(total) if partial.bytes.len() >= total => {
                *piece = piece.get(total.saturating_sub(before)..).unwrap_or_default();
                partial.bytes.truncate(total);
                Some(Frame::Message(Cow::Owned(partial.bytes)))
            }
            _ => {
                *piece = piece.get(taken.len()..).unwrap_or_default();
                self.partial = Some(partial);
                None
            }
        }
    }

    /// Skip the line breaks between messages.
    fn line_breaks(&mut self, piece: &mut &[u8]) -> Option<Frame<'static>> {
        while let [byte @ (b'\r' | b'\n'), rest @ ..] = *piece {
            *piece = rest;
            self.breaks = match (self.breaks, byte) {
                (0 | 2, b'\r') | (1, b'\n') => self.breaks + 1,
                (3, b'\n') => {
                    self.breaks = 0;
                    return Some(Frame::Ping);
                }
                (_, b'\r') => 1,
                _ => 0,
            };
        }
        if !piece.is_empty() {
            self.breaks = 0;
        }
        None
    }
}

fn fault(what: Fault, bytes: &[u8], end: usize) -> Frame<'_> {
    Frame::Fault(what, Cow::Borrowed(bytes.get(..end).unwrap_or(bytes)))
}

fn owned_fault(what: Fault, mut bytes: Vec<u8>, end: usize) -> Frame<'static> {
    bytes.truncate(end);
    Frame::Fault(what, Cow::Owned(bytes))
}

/// How long the message is whose header section ends at `end`.
fn total(head: &Head, bytes: &[u8], end: usize, bytes_max: usize) -> Result<usize, Fault> {
    let body = head.content_length(bytes)?;
    match end.checked_add(body) {
        Some(total) if total <= bytes_max => Ok(total),
        _ => Err(Fault::TooLarge),
    }
}

/// The search for the end of a header section, and for Content-Length on the way. It follows the rules of
/// [`crate::sip::Message::parse`]: what is one message here is one message there.
#[derive(Debug, Default)]
struct Head {
    /// Where the line that is being read starts.
    line: usize,
    /// Everything before was searched for line feeds.
    searched: usize,
    length: Length,
}

#[derive(Clone, Copy, Debug, Default)]
enum Length {
    #[default]
    Missing,
    /// The value's place; `open`: the next line may continue it (§7.3.1).
    At {
        start: usize,
        end: usize,
        open: bool,
    },
    Repeated,
}

impl Head {
    /// Look at what is new in `bytes`, which start with the message. Where the body begins, once known.
    fn scan(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            let Some(found) = memchr(b'\n', bytes.get(self.searched..)?) else {
                self.searched = bytes.len();
                return None;
            };
            let end = self.searched + found + 1;
            self.searched = end;
            let line = bytes.get(self.line..end)?;
            if matches!(line, [b'\n'] | [b'\r', b'\n']) {
                return Some(end);
            }
            if self.line > 0 {
                self.header_line(line, end);
            }
            self.line = end;
        }
    }

    fn header_line(&mut self, line: &[u8], line_end: usize) {
        match (line.first(), &mut self.length) {
            (Some(b' ' | b'\t'), Length::At { end, open: true, .. }) => *end = line_end,
            (Some(b' ' | b'\t'), _) => {}
            (Some(b'c' | b'C' | b'l' | b'L'), _) if let Some(value) = content_length_value(line) => {
                self.length = match self.length {
                    Length::Missing => Length::At {
                        start: self.line + value,
                        end: line_end,
                        open: true,
                    },
                    _ => Length::Repeated,
                };
            }
            (_, Length::At { open, .. }) => *open = false,
            _ => {}
        }
    }

    fn content_length(&self, bytes: &[u8]) -> Result<usize, Fault> {
        let value = match self.length {
            Length::Missing => return Err(Fault::LengthMissing),
            Length::Repeated => return Err(Fault::LengthBad),
            Length::At { start, end, .. } => bytes.get(start..end).unwrap_or_default().trim_ascii(),
        };
        if value.is_empty() {
            return Err(Fault::LengthBad);
        }
        value.iter().try_fold(0usize, |number, digit| match digit {
            b'0'..=b'9' => Ok(number
                .saturating_mul(10)
                .saturating_add(usize::from(digit - b'0'))),
            _ => Err(Fault::LengthBad),
        })
    }
}

/// Where the value starts in a line that holds the Content-Length.
fn content_length_value(line: &[u8]) -> Option<usize> {
    let colon = memchr(b':', line)?;
    let name = line.get(..colon)?.trim_ascii_end();
    (HeaderName::from_bytes(name) == HeaderName::ContentLength).then_some(colon + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Message;
    use proptest::prelude::*;

    const BYTES_MAX: usize = 4096;

    /// What a frame is, without where its bytes lie.
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Seen {
        Message(Vec<u8>),
        Ping,
        Fault(Fault),
    }

    /// All frames of a stream that arrives in pieces which end at `cuts`.
    fn frames(stream: &[u8], cuts: &[usize]) -> Vec<Seen> {
        let mut framer = Framer::default();
        let mut seen = Vec::new();
        let mut at = 0;
        for &end in cuts.iter().chain([&stream.len()]) {
            let end = end.clamp(at, stream.len());
            let mut piece = &stream[at..end];
            at = end;
            while let Some(frame) = framer.next(&mut piece, BYTES_MAX) {
                seen.push(match frame {
                    Frame::Message(bytes) => Seen::Message(bytes.into_owned()),
                    Frame::Ping => Seen::Ping,
                    Frame::Fault(fault, _) => {
                        seen.push(Seen::Fault(fault));
                        return seen;
                    }
                });
            }
        }
        seen
    }

    fn message(headers: &str, body: &str) -> Vec<u8> {
        format!("OPTIONS sip:a@b SIP/2.0\r\n{headers}\r\n\r\n{body}").into_bytes()
    }

    #[test]
    fn a_whole_message_is_not_copied() {
        let stream = message("Content-Length: 3", "abcX");
        let mut piece = &stream[..];
        let mut framer = Framer::default();
        let frame = framer.next(&mut piece, BYTES_MAX);
        assert!(
            matches!(&frame, Some(Frame::Message(Cow::Borrowed(bytes))) if bytes.ends_with(b"abc")),
            "{frame:?}"
        );
        assert_eq!(piece, b"X");
    }

    #[test]
    fn a_framer_at_rest_is_small() {
        assert!(size_of::<Framer>() <= 16, "{}", size_of::<Framer>());
        let stream = message("Content-Length: 0", "");
        let mut framer = Framer::default();
        let (mut head, mut tail) = stream.split_at(10);
        assert_eq!(framer.next(&mut head, BYTES_MAX), None);
        assert!(framer.is_partial());
        assert!(framer.next(&mut tail, BYTES_MAX).is_some());
        assert!(!framer.is_partial());
    }

    #[test]
    fn content_length_in_every_spelling() {
        for header in [
            "Content-Length: 3",
            "content-length:3",
            "l: 3",
            "L  :  003",
            "CONTENT-LENGTH:\r\n 3",
            "Subject: x\r\n l: 9\r\nl: 3",
            "l: 3\r\n\t\r\nSubject: l: 4",
        ] {
            let stream = message(header, "abc");
            assert_eq!(
                frames(&stream, &[]),
                [Seen::Message(stream.clone())],
                "{header:?}"
            );
        }
        let bare = b"OPTIONS sip:a@b SIP/2.0\nl: 3\n\nabc".to_vec();
        assert_eq!(frames(&bare, &[]), [Seen::Message(bare.clone())]);
    }

    #[test]
    fn faults() {
        for (header, fault) in [
            ("Subject: x", Fault::LengthMissing),
            ("Subject: x\r\n l: 3", Fault::LengthMissing),
            ("l: -1", Fault::LengthBad),
            ("l:", Fault::LengthBad),
            ("l: 1 2", Fault::LengthBad),
            ("l: 1\r\n 2", Fault::LengthBad),
            ("l: 0\r\nContent-Length: 0", Fault::LengthBad),
            ("l: 4096", Fault::TooLarge),
            ("l: 99999999999999999999999999", Fault::TooLarge),
        ] {
            let stream = message(header, "");
            assert_eq!(frames(&stream, &[]), [Seen::Fault(fault)], "{header:?}");
            let bytewise: Vec<usize> = (1..stream.len()).collect();
            assert_eq!(frames(&stream, &bytewise), [Seen::Fault(fault)], "{header:?}");
        }
        assert_eq!(frames(b"\r\n\x16\x03\x01", &[]), [Seen::Fault(Fault::NotSip)]);
        assert_eq!(frames(&[b'a'; BYTES_MAX], &[100]), [Seen::Fault(Fault::TooLarge)]);
        assert_eq!(frames(&[b'a'; BYTES_MAX - 1], &[100]), []);
        let long = message(&format!("Subject: {}", "x".repeat(BYTES_MAX)), "");
        assert_eq!(frames(&long, &[]), [Seen::Fault(Fault::TooLarge)]);
        assert_eq!(frames(&long, &[100]), [Seen::Fault(Fault::TooLarge)]);
    }

    #[test]
    fn line_breaks_between_messages() {
        let one = message("l: 0", "");
        let stream = [
            b"\r\n",
            &one[..],
            b"\r\n\r\n\r\n\r\n\r\n",
            &one[..],
            b"\n\r\r\n\r\n",
        ]
        .concat();
        let expected = [
            Seen::Message(one.clone()),
            Seen::Ping,
            Seen::Ping,
            Seen::Message(one),
            Seen::Ping,
        ];
        assert_eq!(frames(&stream, &[]), expected);
        let bytewise: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(frames(&stream, &bytewise), expected);
    }

    /// Streams of whole messages, pings and nonsense.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            6 => (0..60usize, any::<bool>()).prop_map(|(n, folded)| {
                let fold = if folded { "\r\n " } else { " " };
                message(&format!("Subject: x{fold}y\r\nl:{fold}{n}"), &"\n".repeat(n))
            }),
            2 => Just(b"\r\n\r\n".to_vec()),
            1 => Just(b"\r\n".to_vec()),
            1 => "[\r\n :lSI0-9a]{0,40}".prop_map(String::into_bytes),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(stream in stream(), cuts in prop::collection::vec(0..600usize, 0..30)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            prop_assert_eq!(frames(&stream, &cuts), frames(&stream, &[]));
        }

        #[test]
        fn what_is_one_message_here_is_one_for_the_parser(stream in stream()) {
            for frame in frames(&stream, &[]) {
                let Seen::Message(bytes) = frame else { continue };
                if let Ok(message) = Message::parse(&bytes) {
                    let end = bytes.as_ptr_range().end;
                    prop_assert_eq!(message.body().as_ptr_range().end, end);
                }
            }
        }
    }
}
