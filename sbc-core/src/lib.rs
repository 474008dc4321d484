//! The Session Border Controller's core.
//!
//! Two types matter: [`shard::Shard`], the whole of call control for one core without any I/O
//! (bytes and `now` in, [`shard::Output`] out), and `driver` (feature `driver`), the only place
//! that owns sockets, threads and clocks. `docs/ARCHITECTURE.md` has the picture.
#![deny(unsafe_code)]

pub use sbc_media::time;

pub mod admin;
pub mod admission;
pub(crate) mod alarm;
pub mod b2bua;
pub mod bindings;
pub mod config;
pub mod counters;
pub mod dialog;
pub mod digest;
#[cfg(feature = "driver")]
#[allow(unsafe_code)]
pub mod driver;
mod growing;
pub mod guard;
pub mod health;
pub mod id;
pub mod io;
pub mod login;
pub mod numbers;
pub mod overload;
pub mod resolve;
pub mod routing;
pub mod sdp;
pub mod shard;
pub mod siblings;
pub mod sip;
pub mod snapshot;
pub mod stream;
mod text;
pub mod timer_wheel;
pub mod token;
pub mod topology;
pub mod traffic;
pub mod transaction;
pub mod transport;
pub mod trunk;
