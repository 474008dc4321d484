//! The scenarios, one per file.

pub(crate) mod calls;
mod climb;
pub(crate) mod flows;
pub(crate) mod hold;
pub(crate) mod hostile;
pub(crate) mod hostile_media;
pub(crate) mod hostile_streams;
pub(crate) mod limits;
pub(crate) mod max;
pub(crate) mod media;
pub(crate) mod overload;
pub(crate) mod phones;
pub(crate) mod prefixes;
pub(crate) mod provision;
pub(crate) mod registrations;
pub(crate) mod smoke;
pub(crate) mod soak;
pub(crate) mod srtp_peer;
pub(crate) mod tls;
pub(crate) mod vicious;
