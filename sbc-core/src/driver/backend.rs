//! Which I/O backend runs.

use std::borrow::Cow;

/// The ways to move packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// One raw io_uring ring per shard.
    IoUring,
    /// epoll and plain system calls.
    Syscall,
}

impl BackendKind {
    /// The name in configuration and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Syscall => "syscall",
        }
    }
}

/// A backend and the reason for it.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// What runs.
    pub kind: BackendKind,
    /// Why, as a phrase for the operator.
    pub why: Cow<'static, str>,
}
