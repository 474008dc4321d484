//! How transactions are recognised.

use crate::sip::{Message, Method};
use ahash::RandomState;

/// Identity of a server transaction, or of a finished client transaction: a keyed 128-bit hash.
pub(crate) type Key = u128;

/// Keyed hashes that identify transactions. An attacker who does not know the seed cannot make
/// two messages collide.
#[derive(Debug)]
pub(crate) struct Keys([RandomState; 2]);

impl Keys {
    pub(crate) fn new(seed: u64) -> Self {
        Self([
            RandomState::with_seed(seed as usize),
            RandomState::with_seed(seed.rotate_left(32) as usize ^ 0x5bd1_e995),
        ])
    }

    fn hash(&self, what: u8, parts: &[&[u8]]) -> Key {
        let [hi, lo] = [0, 1].map(|i| self.0[i].hash_one((what, parts)));
        u128::from(hi) << 64 | u128::from(lo)
    }

    /// §17.2.3: branch, sent-by and method, where ACK belongs to its INVITE; without the cookie of
    /// RFC 3261, the fields that identified a request in RFC 2543. CANCEL finds its INVITE's key
    /// with `method` Invite.
    pub(crate) fn server(&self, request: &Message<'_>, method: Method) -> Key {
        let method = if method == Method::Ack {
            Method::Invite
        } else {
            method
        };
        if let Ok(via) = request.top_via()
            && let Some(branch) = via
                .branch
                .filter(|b| b.len() > 7 && b[..7].eq_ignore_ascii_case(b"z9hG4bK"))
        {
            let port = via.port.unwrap_or(5060).to_be_bytes();
            let name: &[u8] = if method == Method::Other {
                request.method_bytes()
            } else {
                &[]
            };
            return self.hash(method as u8, &[branch, via.host, &port, name]);
        }
        let (cseq, from_tag, via) = (
            request.cseq().map_or(0, |c| c.number),
            tag_of(request.from()),
            request.top_via(),
        );
        self.hash(
            method as u8 | 0x80,
            &[
                request.request_uri(),
                request.call_id().unwrap_or_default(),
                from_tag,
                &cseq.to_be_bytes(),
                via.map_or(&[][..], |v| v.raw),
            ],
        )
    }

    /// §8.2.2.2: the same request through another path has the same From tag, Call-ID and CSeq.
    pub(crate) fn merge(&self, request: &Message<'_>) -> Key {
        let cseq = request.cseq().map_or(0, |c| c.number);
        self.hash(
            0x7f,
            &[
                tag_of(request.from()),
                request.call_id().unwrap_or_default(),
                &cseq.to_be_bytes(),
            ],
        )
    }

    /// A finished client transaction, by its branch.
    pub(crate) fn client(&self, branch: &[u8]) -> Key {
        self.hash(0x7e, &[branch])
    }

    /// A surplus 2xx that was acknowledged and ended: branch and To tag.
    pub(crate) fn surplus(&self, branch: &[u8], to_tag: &[u8]) -> Key {
        self.hash(0x7d, &[branch, to_tag])
    }

    /// A hash of a tag; never zero.
    pub(crate) fn tag(&self, tag: &[u8]) -> u64 {
        self.0[0].hash_one(tag) | 1
    }
}

fn tag_of<'b, E>(address: Result<crate::sip::NameAddr<'b>, E>) -> &'b [u8] {
    address.ok().and_then(|a| a.tag()).unwrap_or_default()
}
