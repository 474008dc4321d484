//! Media plane of the Session Border Controller, without sockets and without SIP.
//!
//! Packets come in as `&mut [u8]`, with room behind them and the index of the socket that received
//! them; a [`relay::Verdict`] says how much of the same buffer goes where. Nothing here allocates per packet, reads a
//! clock or performs I/O.
#![forbid(unsafe_code)]

pub mod dtmf;
pub mod g711;
pub mod latch;
pub mod noise;
pub mod quality;
pub mod relay;
pub mod repacketize;
pub mod rtcp;
pub mod rtp;
mod sine;
pub mod source;
pub mod splice;
pub mod srtp;
pub mod stream;
pub mod time;
pub mod tone;
