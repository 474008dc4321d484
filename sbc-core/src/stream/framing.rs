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
