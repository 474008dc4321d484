//! What can be wrong with received bytes, split by depth: the message, or one header field of it.

/// Why bytes are no SIP message that may be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Nothing but line breaks: a keep-alive (RFC 5626 §3.5.1), not a message.
    #[error("empty")]
    Empty,
    /// More than [`super::MESSAGE_BYTES_MAX`] bytes.
    #[error("message too large")]
    TooLarge,
    /// The first line is neither a Request-Line nor a Status-Line (§7.1, §7.2).
    #[error("bad start line")]
    StartLine,
    /// A line of the header section is no header field (§7.3).
    #[error("bad header line")]
    HeaderLine,
    /// More than [`super::MESSAGE_HEADERS_MAX`] header fields.
    #[error("too many header fields")]
    TooManyHeaders,
    /// No empty line ends the header section: the datagram was cut.
    #[error("header section not ended")]
    Unterminated,
    /// Content-Length is no number, or there are several.
    #[error("bad Content-Length")]
    ContentLength,
    /// The body is shorter than Content-Length says (§18.3).
    #[error("body shorter than Content-Length")]
    BodyTooShort,
}

impl ParseError {
    /// Status of the response to a request with this fault.
    pub const fn status(self) -> u16 {
        match self {
            Self::TooLarge | Self::TooManyHeaders => 513,
            _ => 400,
        }
    }

    /// Reason phrase that tells the peer's operator what was wrong.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "Empty Message",
            Self::TooLarge => "Message Too Large",
            Self::StartLine => "Bad Start Line",
            Self::HeaderLine => "Bad Header Line",
            Self::TooManyHeaders => "Too Many Header Fields",
            Self::Unterminated => "Header Section Not Ended",
            Self::ContentLength => "Bad Content-Length",
            Self::BodyTooShort => "Body Shorter Than Content-Length",
        }
    }
}

/// Why a typed accessor could not read a header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The message has no such header field.
    #[error("missing")]
    Missing,
    /// The value does not follow its grammar (§25.1).
    #[error("bad syntax")]
    Syntax,
    /// A number is outside of what the RFC allows.
    #[error("number out of range")]
    Range,
}
