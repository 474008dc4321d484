//! The admin protocol: newline-delimited JSON-RPC 2.0, shared by `sbcd` and `sbc-ctl`. No I/O.
//!
//! Bytes → [`frame`] (lines, bounded) → [`session`] (typed [`method::Request`]s, or a refusal) →
//! a handler → [`method::Answer`] or [`failure::Failure`] → a line. [`client`] is the other end.

pub mod attempt;
pub mod audit;
pub mod bans;
pub mod client;
pub mod failure;
pub mod frame;
pub mod method;
pub mod named;
pub mod protocol;
pub mod provision;
pub mod registrations;
pub mod route;
pub mod session;
pub mod traffic;
