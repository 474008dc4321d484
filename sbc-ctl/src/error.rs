//! What can go wrong, and the exit code it gives.

use sbc_core::{
    admin::failure::{Failure, Reason},
    config::ConfigError,
};
use std::{fmt::Write as _, io, path::PathBuf, process::ExitCode};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The daemon said no.
    #[error("{0}")]
    Refused(#[from] Failure),
    /// The command line is wrong in a way that clap cannot see.
    #[error("{0}\n\nFor more information, try '--help'.")]
    Usage(String),
    /// A configuration file is wrong.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// Nobody answers on any of these sockets.
    #[error("{}", describe(.0))]
    NotReachable(Vec<Attempt>),
    /// The connection broke or went silent.
    #[error("lost sbcd while waiting for {method}: {why}")]
    Lost { method: &'static str, why: String },
    /// An answer that makes no sense to this version.
    #[error("cannot read the answer to {method}: {why}; are sbcd and sbc-ctl of the same release?")]
    Answer { method: &'static str, why: String },
    /// What was waited for will not come.
    #[error("{0}")]
    Abandoned(&'static str),
    /// An audit found a difference.
    #[error("what is in use and what calls hold differ")]
    Differs,
    /// Standard output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

/// A socket that was tried.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Which.
    pub(crate) path: PathBuf,
    /// Why it did not work.
    pub(crate) why: String,
}

impl Error {
    /// Documented in `docs/ADMIN.md` and `--help`: scripts rely on them.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(failure) => match failure.reason() {
                Some(Reason::NoSuchCall | Reason::NoSuchTrunk | Reason::NoSuchLimit | Reason::NoSuchBan) => 4,
                _ => 1,
            },
            Self::Answer { .. } | Self::Abandoned(_) | Self::Output(_) => 1,
            Self::Usage(_) | Self::Configuration(_) => 2,
            Self::Differs => 5,
            Self::NotReachable(_) | Self::Lost { .. } => 3,
        })
    }
}

fn describe(attempts: &[Attempt]) -> String {
    let mut text = String::from("no sbcd answers");
    for attempt in attempts {
        let _ = write!(text, "\n  tried {}: {}", attempt.path.display(), attempt.why);
    }
    text.push_str(
        "\nStart it with `sbcd`, or name the socket of a running one: \
         `sbc-ctl --socket PATH …` or SBC_SOCKET=PATH (sbcd prints it when it starts).",
    );
    text
}
