//! Session descriptions (RFC 8866) of offers and answers (RFC 3264), as far as a Session Border
//! Controller that anchors one audio stream needs them.
//!
//! In: the body of a SIP message. Out: a view of it ([`Sdp`], nothing is copied), where to send
//! media ([`Sdp::remote_of`]), and the description for the other leg ([`Sdp::rewrite`]), which
//! is written from an allow-list: a line that is not understood is not passed on.

mod codec;
mod crypto;
mod events;
mod parse;
mod rewrite;

pub use codec::{Allowed, Codec, Format, Reading, allowed, answer, is_audio_name, offer, reading};
pub use crypto::{CryptoLine, crypto_tag};
pub use events::{TELEPHONE_EVENT, add_events, events_in, remove_events};
pub use parse::{Media, MediaRemote, Origin, RTCP_LOOKALIKES, RtpMap, Sdp};
pub use rewrite::{Adapt, Line, PacketTimes, RTCP_MUX, Rewrite, without_origin, write_missing};

use thiserror::Error;

/// Longest description that is read, in octets. The longest of real life (WebRTC with many
/// candidates) have 6 to 10 thousand.
pub const SIZE_MAX: usize = 32 * 1024;
/// Most lines in a description.
pub const LINES_MAX: usize = 1024;
/// Most m-lines in a description.
pub const MEDIAS_MAX: usize = 16;
/// Most formats (payload types) in one m-line.
pub const FORMATS_MAX: usize = 64;

/// Why a description cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SdpError {
    /// More octets, lines, m-lines or formats than [`SIZE_MAX`], [`LINES_MAX`], [`MEDIAS_MAX`] and
    /// [`FORMATS_MAX`] allow.
    #[error("too large")]
    TooLarge,
    /// The first line is not `v=0`.
    #[error("does not begin with v=0")]
    Version,
    /// A line is not a lower-case letter, `=` and a value.
    #[error("a line is not <letter>=<value>")]
    Line,
    /// No usable `o=` line.
    #[error("no valid o= line")]
    Origin,
    /// An m-line whose media, port, protocol or formats do not parse, or that was to be anchored
    /// although it is not audio over plain RTP.
    #[error("an m= line does not parse or cannot be anchored")]
    Media,
    /// A payload type of RTP that is not a number from 0 to 127.
    #[error("an RTP payload type is not in 0..=127")]
    PayloadType,
    /// A media type or protocol that is in no registry, so that it can be neither passed on
    /// unseen nor refused by port 0 alone.
    #[error("unknown media type or transport protocol")]
    UnknownMedia,
    /// No connection address for a stream that is in use.
    #[error("no c= line applies")]
    NoAddress,
    /// A connection address that is not a unicast IP address: host names would need DNS here.
    #[error("a c= line does not hold a unicast IP address")]
    Address,
    /// An RTP port that leaves no next port for RTCP, and no `a=rtcp` that names one.
    #[error("no port is left for RTCP")]
    Port,
    /// An m-line index that the description does not have.
    #[error("no such m= line")]
    Index,
}

/// The media type of an m-line (RFC 8866 §8.2.2 and RFC 6466).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `audio`
    Audio,
    /// `video`
    Video,
    /// `text`
    Text,
    /// `application`
    Application,
    /// `message`
    Message,
    /// `image` (fax)
    Image,
    /// Anything else.
    Other,
}

impl Kind {
    const NAMES: [(&'static str, Self); 6] = [
        ("audio", Self::Audio),
        ("video", Self::Video),
        ("text", Self::Text),
        ("application", Self::Application),
        ("message", Self::Message),
        ("image", Self::Image),
    ];

    fn parse(name: &str) -> Self {
        Self::NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map_or(Self::Other, |(_, kind)| *kind)
    }

    /// The name in an m-line, `None` for [`Kind::Other`].
    pub fn name(self) -> Option<&'static str> {
        Self::NAMES
            .iter()
            .find(|(_, kind)| *kind == self)
            .map(|(name, _)| *name)
    }
}

/// Who sends on a stream, seen from the side that wrote the description (RFC 8866 §6.7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both: the default.
    #[default]
    SendRecv,
    /// The writer sends and wants nothing: hold.
    SendOnly,
    /// The writer listens: the answer to hold.
    RecvOnly,
    /// Nobody sends.
    Inactive,
}

impl Direction {
    const NAMES: [(&'static str, Self); 4] = [
        ("sendrecv", Self::SendRecv),
        ("sendonly", Self::SendOnly),
        ("recvonly", Self::RecvOnly),
        ("inactive", Self::Inactive),
    ];

    fn parse(name: &[u8]) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| known.as_bytes() == name)
            .map(|(_, direction)| *direction)
    }

    /// The name of the attribute.
    pub fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer wants to receive.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// This direction without the writer receiving: what an address of all zeros adds to it.
    pub fn without_receiving(self) -> Self {
        if self.sends() {
            Self::SendOnly
        } else {
            Self::Inactive
        }
    }

    /// The same stream as the other side describes it.
    pub fn reversed(self) -> Self {
        match self {
            Self::SendOnly => Self::RecvOnly,
            Self::RecvOnly => Self::SendOnly,
            Self::SendRecv | Self::Inactive => self,
        }
    }
}
