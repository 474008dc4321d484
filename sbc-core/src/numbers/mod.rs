//! Telephone numbers: what the digits of one trunk mean, and how they are written for another.
//!
//! In: the user part of a URI as a trunk has sent it. Out: the number in its canonical form ([`E164`]), or nothing
//! when it is none (an extension, a name), and from there the user part as another trunk wants it. The rules of
//! a trunk are its [`Numbering`]; what a country's digits mean is a [`Plan`]. Pure text: no SIP, no calls.

mod alias;
mod block;
mod country;
mod e164;
mod numbering;
mod plan;

pub use alias::Aliases;
pub use block::Block;
pub use country::{COUNTRIES, Country};
pub use e164::E164;
pub use numbering::{Affix, Form, Numbering, Received};
pub(crate) use numbering::{caller_between, dialled_between, escaped, strip_dialled};
pub use plan::Plan;
