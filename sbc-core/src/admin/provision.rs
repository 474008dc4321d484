//! Parameters and results of the methods that change the configuration (`docs/PROVISIONING.md`).

use serde::{Deserialize, Serialize};
use std::fmt;

/// `config.reload`: no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadConfig {}

/// Another configuration has taken the place of the one that ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Names the text that runs now.
    pub revision: String,
    /// What is another than before.
    pub changes: Vec<Change>,
    /// What is allowed and yet probably not meant.
    pub warnings: Vec<String>,
    /// Our own certificates that are in use.
    pub certificates: usize,
}

/// One difference between two configurations. Secrets are masked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The table, such as `trunk "carrier"`, `route 3` or `limits`.
    pub at: String,
    /// The key in it, such as `limits.inbound.cps`; `None`: the table itself came or went.
    pub key: Option<String>,
    /// What was there, as TOML; `None`: nothing.
    pub before: Option<String>,
    /// What is there, as TOML; `None`: nothing.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.at)?;
        let Some(key) = &self.key else {
            return match (&self.before, &self.after) {
                (None, Some(after)) => write!(f, ": added {after}"),
                (Some(before), None) => write!(f, ": removed {before}"),
                _ => f.write_str(": moved"),
            };
        };
        write!(f, ": {key}: ")?;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{before} -> {after}"),
            (None, Some(after)) => write!(f, "added {after}"),
            (Some(before), None) => write!(f, "removed {before}"),
            (None, None) => f.write_str("the same"),
        }
    }
}
