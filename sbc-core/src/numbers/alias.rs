//! Names that numbers have outside (T9): whoever calls the name calls the number.

use super::E164;
use std::collections::HashMap;

/// Numbers by their names: `user@host`, or `host` for whatever user; hosts in lower case.
#[derive(Clone, Debug, Default)]
pub struct Aliases(HashMap<Box<str>, E164>);

impl Aliases {
    /// Of names and their numbers; of several with one name the last.
    pub fn new(names: impl IntoIterator<Item = (Box<str>, E164)>) -> Self {
        Self(names.into_iter().collect())
    }

    /// The number that a URI with this user and host means. Users are compared with their case, hosts without (RFC 3261
    /// §19.1.4).
    pub fn number_of(&self, user: &str, host: &[u8]) -> Option<E164> {
        if self.0.is_empty() {
            return None;
        }
        let host = std::str::from_utf8(host).ok()?;
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let own = self.0.get(&*format!("{user}@{host}"));
        own.or_else(|| self.0.get(&*host)).copied()
    }
}
