//! The only room with I/O: rings, sockets, clocks and threads.
//!
//! [`launch::launch`] opens sockets and starts the shard threads, which own a
//! [`crate::shard::Shard`] each and feed it; the control thread talks to them through
//! [`control::Shards`].

mod address;
pub mod admin_methods;
pub mod admin_server;
pub mod backend;
#[cfg(test)]
mod backend_tests;
pub mod clock;
mod connections;
pub mod control;
pub mod daemon;
pub mod dns;
pub mod greeting;
mod handover;
mod journal;
pub mod launch;
pub mod log;
#[cfg(test)]
mod mark_tests;
mod notify;
mod pace;
mod persist;
mod provision;
pub mod registrar;
mod registrations_store;
mod ring;
pub mod running;
mod shard_thread;
mod sheet;
mod sockets;
mod sparing;
mod stopwatch;
#[cfg(test)]
mod stream_tests;
mod syscall;
pub mod tls;
