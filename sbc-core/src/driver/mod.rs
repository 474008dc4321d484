//! The only room with I/O: rings, sockets, clocks and threads.
//!
//! Shard threads ([`start`](shard_thread)) own a [`crate::shard::Shard`] each and feed it; the
//! control thread talks to them through [`control::Shards`].

pub mod backend;
pub mod clock;
pub mod control;
mod handover;
pub mod log;
