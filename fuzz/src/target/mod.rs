//! What each fuzz target does with its bytes. `sbc-core/tests/fuzz_corpus.rs` runs the same code over the
//! committed corpus in a plain `cargo test`.
#![allow(dead_code, reason = "each fuzz binary runs one of them")]

pub(crate) mod config;
pub(crate) mod dtmf;
pub(crate) mod operations;
pub(crate) mod rtcp;
pub(crate) mod rtp;
pub(crate) mod sdp;
pub(crate) mod shard;
pub(crate) mod sip_message;
pub(crate) mod srtp;
pub(crate) mod stream;
