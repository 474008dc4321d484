//! The configuration file: reading, validating, compiling to a [`crate::snapshot::Snapshot`].
//!
//! In: one TOML text. Out: a [`Config`], which [`Config::compile`] turns into what the call core
//! uses, or every mistake in the text with its line, column and key. Nothing is guessed: an
//! unknown key, a value of another type and a name that does not exist are errors.

mod account;
mod check;
mod compile;
mod difference;
mod edit;
mod error;
mod guard;
mod identity;
mod interfaces;
mod limits;
mod login;
mod numbers;
mod options;
mod overload;
mod ptime;
mod read;
mod reference;
mod route;
mod route_value;
mod siblings;
mod socket;
mod succession;
mod value;

pub use difference::{difference, revision};
pub use edit::{EditError, edit};
pub use error::{ConfigError, Problem};
pub use guard::{AclRule, Guard};
pub use identity::{
    CallerNumber, DisplayName, NumberBlock, PassedName, RuleDirection, RuleName, RuleValue, TrunkHeaderRule,
    TrunkHeaders, TrunkIdentity, TrunkProof, TrunkProofWay, UserPart,
};
pub use limits::ScopedLimit;
pub use numbers::{CountryName, NumberPrefix, TrunkNumbers};
pub use options::*;
pub use overload::Overload;
pub use ptime::PacketTime;
pub use reference::reference;
pub use route_value::{Moment, Names, Numbers};
pub use socket::{default_socket, prepare_directory, socket_candidates};
pub use succession::{Succession, Successor};
pub use value::{
    Backend, CodecName, Destination, Domain, FileMode, FilePath, Latch, LogLevel, PortRange, Secret,
    ShardCount, TrunkTransport,
};

use read::{Reader, Section};
use std::{fs::File, io, io::Read, path::Path};
use toml::de::DeTable;

/// The configuration that `sbcd` runs without a file; `sbcd --print-default-config` prints it.
pub const DEFAULT_TOML: &str = include_str!("default.toml");

/// [`DEFAULT_TOML`], read.
pub fn default_config() -> Config {
    match parse(DEFAULT_TOML, "default.toml") {
        Ok(config) => config,
        // The text is part of the program and a test reads it.
        Err(error) => unreachable!("{error}"),
    }
}

/// Read and check the file at `path`.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    load_with_text(path).map(|(_, config)| config)
}

/// The same, with the text.
pub fn load_with_text(path: &Path) -> Result<(String, Config), ConfigError> {
    let text = read_text(path).map_err(|error| ConfigError::Read {
        path: path.to_owned(),
        error,
    })?;
    let config = parse(&text, &path.display().to_string())?;
    Ok((text, config))
}

/// Read and check `text`; `source` names it in errors.
pub fn parse(text: &str, source: &str) -> Result<Config, ConfigError> {
    parse_after(text, source, None)
}

/// The same for a text that shall follow `running`: what cannot change while `sbcd` runs must be as it is there.
pub fn parse_after(text: &str, source: &str, running: Option<&Config>) -> Result<Config, ConfigError> {
    let mut reader = Reader::new(text, source);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.syntax(error);
    }
    let mut config = None;
    if reader.is_clean() {
        config = Config::read(&mut reader, "", document.get_ref(), 0..0);
    }
    if let (true, Some(config)) = (reader.is_clean(), &config) {
        check::check(config, &mut |path, message| reader.problem_at(path, message));
        if let Some(running) = running {
            check::fixed(config, running, &mut |path, message| {
                reader.problem_at(path, message)
            });
        }
    }
    match (reader.into_problems(), config) {
        (None, Some(config)) => Ok(config),
        (problems, _) => Err(ConfigError::Invalid(problems.unwrap_or_default())),
    }
}

/// Largest file that is read: far more than a configuration of every allowed trunk.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The text of the file at `path`.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is too large",
        ));
    }
    Ok(text)
}
