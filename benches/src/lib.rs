//! Operations worth a number, each once: `benches/` times them with criterion, the binary `instructions` counts
//! their instructions under callgrind.

pub mod call;
pub mod input;
pub mod media;
pub mod routing;
pub mod sip;
pub mod srtp;
pub mod whole_call;

/// One named operation for the instruction counter: runs itself as often as asked, after its own preparation.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// As given on the command line.
    pub name: &'static str,
    /// What one run stands for.
    pub stands_for: &'static str,
    /// Prepares, then runs it so many times.
    pub run: fn(u64),
}

/// All of them.
pub fn operations() -> impl Iterator<Item = Operation> {
    sip::OPERATIONS
        .iter()
        .chain(call::OPERATIONS)
        .chain(whole_call::OPERATIONS)
        .chain(media::OPERATIONS)
        .chain(routing::OPERATIONS)
        .chain(srtp::OPERATIONS)
        .copied()
}
