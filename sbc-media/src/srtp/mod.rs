//! SRTP and SRTCP (RFC 3711), in place and without allocation.
//!
//! In: a [`MasterKey`] for each direction, as SDES (RFC 4568) names it, and packets in buffers with
//! room behind them. [`Sender`] protects what leaves, [`Receiver`] unprotects what comes. Each
//! belongs to one direction between us and one peer, and knows every SSRC in it.
//!
//! A key with a master key identifier ([`Mki`]) is that of packets which name it, and may have others beside it
//! ([`MasterKey::with_further`]). Rollover counters and replay windows are those of the SSRC, whichever key a packet
//! names (§3.3.1). A packet that names none that is known fails its authentication, as one with an MKI does where
//! none is expected.
//!
//! What it does not do: other transforms than those of [`Suite`], key derivation rates other than
//! 0. Without signalling there is no way to learn the rollover counter
//! of a stream that is long under way, so every SSRC begins at 0 on both sides (§3.3.1).
mod cipher;
mod derive;
mod gcm;
mod hmac;
mod identified;
mod key;
mod mki;
mod receiver;
mod sender;
mod source;
mod suite;
mod transform;

pub use key::{KEYS_MAX, KeyLength, MasterKey};
pub use mki::{MKI_LEN_MAX, Mki};
pub use receiver::Receiver;
pub use sender::Sender;
pub use suite::Suite;

use thiserror::Error;

/// The most octets by which protecting makes a packet longer that does not name its key: an SRTCP packet
/// under AES-GCM gets a tag of 16 octets and the word of its index. A buffer with as much room behind the
/// packet is large enough for every suite, and with [`MKI_LEN_MAX`] more for every key.
pub const OVERHEAD_MAX: usize = 20;

/// RTP packets that one SSRC may have under one key: its 48-bit indices (RFC 3711 §9.2).
const RTP_INDICES: u64 = 1 << 48;

/// RTCP packets that may be sent under one key (RFC 3711 §9.2), and the size of their index space.
const RTCP_INDICES: u32 = 1 << 31;

/// Octets of an RTCP packet that are never encrypted: first header word and SSRC.
const RTCP_HEADER_LEN: usize = 8;

/// Why [`Sender`] did not protect a packet. It has not been changed, and must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unprotected {
    /// Not RTP, or not RTCP: shorter than its header says, or version is not 2.
    #[error("not a packet of its kind")]
    Malformed,
    /// The buffer ends before the tag would; see [`OVERHEAD_MAX`].
    #[error("no room for the tag")]
    NoRoom,
    /// Its index has been used already, or lies so far back that nobody knows. To encrypt two
    /// packets under one index would give both away, and under AES-GCM the key of the tags, too
    /// (RFC 7714 §8.1).
    #[error("index already used")]
    Repeated,
    /// The key has protected as many packets as it may (RFC 3711 §9.2).
    #[error("key used up")]
    Exhausted,
    /// More SSRCs than a sender remembers, and it must not forget one while its key is in use.
    #[error("too many sources")]
    TooManySources,
}

/// Why [`Receiver`] refused a packet. What its buffer holds then is undefined; the state is what it
/// was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refused {
    /// Not SRTP, or not SRTCP: too short for header and tag, or version is not 2.
    #[error("not a packet of its kind")]
    Malformed,
    /// The tag is not that of this packet under this key.
    #[error("authentication failed")]
    BadTag,
    /// A packet of this index has been accepted already, or it is older than the replay window.
    #[error("replayed or too old")]
    Replayed,
    /// The stream has used all indices that its key may have (RFC 3711 §9.2). Said of the header
    /// alone, before any authentication.
    #[error("key used up")]
    Exhausted,
    /// Authentic, but from an SSRC more than a receiver remembers, while all others were heard a
    /// moment ago.
    #[error("too many sources")]
    TooManySources,
}

impl From<crate::rtp::Malformed> for Unprotected {
    fn from(_: crate::rtp::Malformed) -> Self {
        Self::Malformed
    }
}

impl From<crate::rtp::Malformed> for Refused {
    fn from(_: crate::rtp::Malformed) -> Self {
        Self::Malformed
    }
}
