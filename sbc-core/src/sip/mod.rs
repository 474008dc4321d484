//! SIP wire format (RFC 3261 §7, §20, §25): views into the receive buffer, and writing. Knows no calls.
//!
//! Reading has three depths, each paid for only when asked: [`Message::parse`] finds the start line, the
//! header fields and the body (one pass, no copy, no allocation in the typical case); typed accessors such
//! as [`Message::top_via`] read one value strictly; [`validate`] says whether the whole message may be acted
//! on. [`Writer`] is the way out, and the one place that keeps line breaks out of what we send.

mod cseq;
mod error;
mod grammar;
mod header;
mod info_digit;
mod message;
mod method;
mod multipart;
mod name_addr;
mod option_tag;
mod param;
mod status;
mod uri;
pub mod validate;
mod via;
mod writer;

pub use cseq::CSeq;
pub use error::{HeaderError, ParseError};
pub(crate) use grammar::quoted;
pub use grammar::{host_ip, list_elements, unfold};
pub use header::HeaderName;
pub use info_digit::{DURATION_DEFAULT_MS, DURATION_MAX_MS, DURATION_MIN_MS, InfoDigit, InfoForm};
pub use message::{MESSAGE_BYTES_MAX, MESSAGE_HEADERS_MAX, Message};
pub use method::Method;
pub use multipart::{PARTS_MAX, Part, parts};
pub use name_addr::NameAddr;
pub use option_tag::OptionTags;
pub use param::Params;
pub use status::reason_phrase;
pub use uri::{Scheme, Uri};
pub use via::Via;
pub use writer::Writer;
