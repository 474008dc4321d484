//! Parameters and results of the methods that change the configuration (`docs/PROVISIONING.md`).

use super::failure::{Failure, Reason};
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

/// Most edits in one `config.edit`.
pub const EDITS_MAX: usize = 64;
/// Most values in one edit.
pub const VALUES_MAX: usize = 64;

/// `config.diff`: what would change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiffConfig {
    /// Absolute path of the candidate; `None`: the file that runs, as it is now on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// Answer to `config.diff`. The candidate is valid: otherwise it is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Names the text that runs.
    pub revision: String,
    /// Names the candidate.
    pub candidate: String,
    /// What would be another.
    pub changes: Vec<Change>,
    /// What is allowed in it and yet probably not meant.
    pub warnings: Vec<String>,
}

/// `config.apply`: the text of a file takes the place of the configuration file, and is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyConfig {
    /// Absolute path of the candidate.
    pub file: String,
    /// The revision that it is meant to replace; another one that runs is a conflict. `None`: whatever runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// `config.edit`: the configuration file is changed, and used. All edits or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditConfig {
    /// 1 to [`EDITS_MAX`], one after the other.
    pub edits: Vec<Edit>,
    /// The revision that they are meant for; another one that runs is a conflict. `None`: whatever runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// One edit of the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// What is to be done.
    pub action: Action,
    /// The section, as `trunk` or `route`.
    pub kind: String,
    /// Which table of it: its name, its number counted from 1, or values of its keys (`from=carrier`). To add: the name.
    /// `None`: to add one without a name, and for a section that is there once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub which: Option<String>,
    /// The values to be set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Assignment>,
}

/// What an [`Edit`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A table more.
    Add,
    /// Other values in a table.
    Set,
    /// A table less.
    Delete,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// With dots between tables, as `limits.inbound.cps`.
    pub key: String,
    /// As TOML; what is no TOML is text. `None`: the key is removed.
    pub value: Option<String>,
}

/// In the place of a secret.
pub const MASK: &str = "\"***\"";

/// Whether what `key` says is not for every eye. Where a secret is kept is none.
pub fn is_secret(key: &str) -> bool {
    let key = key.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let place = ["_file", "_env", "_header"].iter().any(|end| key.ends_with(end));
    names_secret(&key) && !place
}

fn names_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["password", "secret", "token"]
        .iter()
        .any(|word| text.contains(word))
}

impl EditConfig {
    /// Checks what can be checked without the file.
    pub fn check(&self) -> Result<(), Failure> {
        let invalid = |what: String| Err(Failure::new(Reason::InvalidParams, what));
        if self.edits.is_empty() || self.edits.len() > EDITS_MAX {
            return invalid(format!("config.edit takes 1 to {EDITS_MAX} edits"));
        }
        if self.edits.iter().any(|edit| edit.values.len() > VALUES_MAX) {
            return invalid(format!("an edit takes at most {VALUES_MAX} values"));
        }
        Ok(())
    }

    /// The same without secrets, for the log: neither values of keys that are secret, nor tables and arrays that have such keys
    /// in them.
    #[must_use]
    pub fn masked(&self) -> Self {
        let mut masked = self.clone();
        let values = masked.edits.iter_mut().flat_map(|edit| &mut edit.values);
        for Assignment { key, value } in values {
            if value
                .as_deref()
                .is_some_and(|text| is_secret(key) || names_secret(text))
            {
                *value = Some(MASK.to_owned());
            }
        }
        masked
    }
}

/// `trunk.sheet`: what to give to whoever is at the other end of a trunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowSheet {
    /// The trunk.
    pub trunk: String,
}

/// Answer to `trunk.sheet`: how it reaches us, and what we speak with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sheet {
    /// The trunk.
    pub trunk: String,
    /// It takes part in new calls.
    pub enabled: bool,
    /// Where it sends its calls.
    pub signalling: Vec<SheetAddress>,
    /// Where our requests come from; without a port over a connection, where it is another each time.
    pub from: SheetAddress,
    /// Where media goes to and comes from.
    pub media: SheetMedia,
    /// How a called number is written: an example of a Request-URI.
    pub uri: String,
    /// Addresses that we expect it to send from, and names whose addresses are such.
    pub hosts: Vec<String>,
    /// Where we send our calls.
    pub target: String,
    /// User and domain that we register as; `None`: we do not.
    pub registration: Option<String>,
    /// It asks us for a name and a password.
    pub account: Option<String>,
    /// What it logs in to us with; `None`: it is known by its addresses.
    #[serde(default)]
    pub login: Option<SheetLogin>,
    /// Codecs in their order; `None`: what both sides have.
    pub codecs: Option<Vec<String>>,
    /// `disabled`, `optional` or `required`.
    pub srtp: String,
    /// Suites of SRTP in their order; none where it is disabled.
    pub srtp_suites: Vec<String>,
    /// Names in our certificate; none without TLS.
    pub certificate_names: Vec<String>,
    /// Seconds between our OPTIONS; 0: none are sent.
    pub options_interval_s: u64,
    /// Most calls at a time from it; 0: no limit of its own.
    pub channels: u32,
    /// Most calls a second from it; 0: no limit of its own.
    pub cps: u32,
}

/// One way to us.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SheetAddress {
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// Address and port that peers are told.
    pub address: String,
}

/// How the other end logs in to us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SheetLogin {
    /// Realm of our challenges.
    pub realm: String,
    /// Names. The passwords are shown nowhere.
    pub users: Vec<String>,
    /// Hash algorithms, the best first.
    pub algorithms: Vec<String>,
    /// Shortest and longest registration in seconds; `None`: it is called at `target` and need not register.
    pub expires_s: Option<(u32, u32)>,
}

/// The media ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SheetMedia {
    /// Address that is in our SDP.
    pub address: String,
    /// First and last port, RTP and RTCP.
    pub ports: (u16, u16),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_no_secret_however_it_is_given() {
        let edit = |key: &str, value: &str| EditConfig {
            edits: vec![Edit {
                action: Action::Set,
                kind: "trunk".to_owned(),
                which: Some("a".to_owned()),
                values: vec![Assignment {
                    key: key.to_owned(),
                    value: Some(value.to_owned()),
                }],
            }],
            revision: None,
        };
        for (key, value) in [
            ("account.password", "s3cret"),
            ("account", "{ username = \"u\", password = \"s3cret\" }"),
            ("login.user", "[{ username = \"u\", Password = \"s3cret\" }]"),
            ("proof.inbound", "{ token_header = \"X-T\", token = \"s3cret\" }"),
        ] {
            let masked = format!("{:?}", edit(key, value).masked());
            assert!(!masked.contains("s3cret") && masked.contains("***"), "{masked}");
        }
        for (key, value) in [
            ("account.password_file", "/etc/sbcd/p"),
            ("hosts", "[\"192.0.2.1\"]"),
        ] {
            assert_eq!(edit(key, value).masked(), edit(key, value));
        }
    }
}
