//! What an attacker makes of the messages that it has seen: pieces, mixtures, noise, sent in the name of a
//! peer or in its own.

use super::world::{ATTACKER, Event, World};
use std::net::SocketAddr;

impl World {
    /// Something that no honest peer sends.
    pub(super) fn mischief(&mut self) {
        let picked = self.rng.below(self.recent.len() as u64) as usize;
        let Some((side, bytes)) = self.recent.get(picked).cloned() else {
            return;
        };
        // Without the marks of its side, so that a mangled copy that starts a call of its own
        // does not look like a leak.
        let mut bytes = replace(&bytes, side.marker(), "999999999999");
        bytes = replace(&bytes, side.network(), "10.99.");
        if bytes.starts_with(b"SIP/2.0") {
            // Responses come over the trusted trunk: with our branch they would be believed, and the
            // honest peer would find itself in a call that it knows nothing of.
            bytes = replace(&bytes, "z9hG4bK", "z9hG4bKm");
        }
        let from = if self.rng.chance(200) {
            SocketAddr::from((ATTACKER, 5060))
        } else {
            side.sip()
        };
        match self.rng.below(6) {
            0 => bytes = (0..self.rng.below(600)).map(|_| self.rng.next() as u8).collect(),
            1 => bytes.truncate(self.rng.below(bytes.len() as u64) as usize),
            2 => bytes = b"\r\n\r\n".to_vec(),
            3 => {
                let n = self.rng.below(40);
                for _ in 0..n {
                    let at = self.rng.below(bytes.len() as u64) as usize;
                    bytes[at] = self.rng.next() as u8;
                }
            }
            4 => {
                let at = self.rng.below(bytes.len() as u64) as usize;
                let piece: Vec<u8> = bytes[at..].to_vec();
                bytes.extend_from_slice(&piece);
            }
            _ => {
                let at = self.rng.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.rng.below(8);
            }
        }
        // A changed byte can turn our address on this side into that on the other.
        if self.setup.two_listeners {
            let theirs = self.setup.sip(side.other()).ip().to_string();
            bytes = replace(&bytes, &theirs, "192.0.2.9");
        }
        self.last_datagram = self.now;
        if self.setup.is_stream(side) {
            return self.stream_mischief(side, from.ip(), bytes.into());
        }
        let listener = self.setup.listener(side);
        self.push(
            self.now,
            Event::ToSbc {
                from,
                listener,
                bytes: bytes.into(),
            },
        );
    }
}

fn replace(bytes: &[u8], what: &str, with: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memmem::find(rest, what.as_bytes()) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(with.as_bytes());
        rest = &rest[at + what.len()..];
    }
    out.extend_from_slice(rest);
    out
}
