//! Framing: the messages of a stream, however it is cut.
//!
//! The bytes: how many cuts (low half) and the longest message (high half), the lengths of the pieces, the
//! stream.

use sbc_core::{
    sip::Message,
    stream::{Fault, Frame, Framer},
};

/// Longest messages, by the first byte.
const BYTES_MAX: [usize; 4] = [40, 200, 4096, 65_535];

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(Vec<u8>),
    Ping,
    Fault(Fault, Vec<u8>),
}

/// Reads the stream in one piece, byte by byte, and as the bytes say: the frames are the same.
pub(crate) fn run(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else {
        return;
    };
    let bytes_max = BYTES_MAX[usize::from(first >> 4) % BYTES_MAX.len()];
    let Some((cuts, stream)) = rest.split_at_checked(usize::from(first & 15)) else {
        return;
    };
    let whole = frames(stream, &[], bytes_max);
    assert_eq!(frames(stream, &[1], bytes_max), whole, "byte by byte");
    assert_eq!(frames(stream, cuts, bytes_max), whole, "cut");
    let mut read = 0;
    for frame in &whole {
        match frame {
            Seen::Message(message) => {
                read += message.len();
                assert!(message.len() <= bytes_max);
                // What is one message here is one for the parser.
                if let Ok(parsed) = Message::parse(message) {
                    assert_eq!(parsed.body().as_ptr_range().end, message.as_ptr_range().end);
                }
            }
            Seen::Ping => read += 4,
            Seen::Fault(_, head) => read += head.len(),
        }
    }
    assert!(read <= stream.len());
}

/// The frames of `stream` in pieces of these lengths, over and over; in one piece without any.
fn frames(stream: &[u8], lengths: &[u8], bytes_max: usize) -> Vec<Seen> {
    let mut framer = Framer::default();
    let mut lengths = lengths.iter().map(|&n| usize::from(n).max(1)).cycle();
    let mut seen = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let length = lengths.next().unwrap_or(rest.len()).min(rest.len());
        let (mut piece, tail) = rest.split_at(length);
        rest = tail;
        let mut before = piece.len() + 1;
        while let Some(frame) = framer.next(&mut piece, bytes_max) {
            // Every frame costs some of the piece, or ends the stream: the work is linear.
            let after = piece.len();
            seen.push(match frame {
                Frame::Message(message) => Seen::Message(message.into_owned()),
                Frame::Ping => Seen::Ping,
                Frame::Fault(fault, head) => {
                    seen.push(Seen::Fault(fault, head.into_owned()));
                    return seen;
                }
            });
            assert!(after < before, "a frame out of nothing");
            before = after.max(1);
        }
        assert!(piece.is_empty(), "left unread");
        assert!(framer.buffered() <= bytes_max);
        assert_eq!(framer.is_partial(), framer.buffered() > 0);
    }
    seen
}
