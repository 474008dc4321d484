//! What is wrong with a configuration file, as the operator reads it.

use std::{fmt, io, path::PathBuf};

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{}: cannot read the configuration: {error}; {}", path.display(), advice(error))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        error: io::Error,
    },
    /// The file was read and is wrong; every problem found, in file order.
    #[error("{}", Lines(.0))]
    Invalid(Vec<Problem>),
}

/// One mistake in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// File name, or what stands for it.
    pub source: String,
    /// Line, 1-based; 0 when the mistake is not in a text (a [`super::Config`] built by hand).
    pub line: usize,
    /// Column in characters, 1-based.
    pub column: usize,
    /// Key path, such as `trunk.limits.inbound.cps`; empty for a syntax error.
    pub key: String,
    /// What was found, what was expected, what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.source)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

struct Lines<'a>(&'a [Problem]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "`sbcd --print-default-config` prints one to start from, and `sbcd` without --config needs none"
        }
        io::ErrorKind::PermissionDenied => "the file must be readable by the user that sbcd runs as",
        io::ErrorKind::InvalidData => "the file must be UTF-8 text of at most 16 MiB",
        _ => "give the path of a TOML file",
    }
}
