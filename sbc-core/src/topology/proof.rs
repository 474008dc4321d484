//! What a peer that is known by its address proves itself by in addition: digits in front of the called number, and a
//! secret header field. Demanded of its requests and taken off them; added to ours.

use crate::{
    numbers::{escaped, strip_dialled},
    sip::{Message, Writer},
};
use sha2::{Digest as _, Sha256};
use std::fmt;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// One way of a trunk: from it, or to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// In front of called numbers; empty: nothing.
    pub tech_prefix: Box<str>,
    /// A header field with a secret.
    pub token: Option<SecretHeader>,
    /// Who pays, as P-Charge-Info has it (RFC 8496); only to it.
    pub charge: Option<Box<str>>,
}

/// Both ways of a trunk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proofs {
    /// Demanded of it.
    pub inbound: Proof,
    /// Given to it.
    pub outbound: Proof,
}

/// A header field whose value nobody else knows. Its value is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHeader {
    name: Box<str>,
    value: Zeroizing<Vec<u8>>,
}

impl SecretHeader {
    /// The header field `name: value`.
    pub fn new(name: &str, value: Zeroizing<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }

    /// Whether `request` has it, once and right. How long that takes says nothing of the secret.
    fn is_in(&self, request: &Message<'_>) -> bool {
        let mut found = request
            .iter()
            .filter(|(name, ..)| name.eq_ignore_ascii_case(self.name.as_bytes()));
        let (Some((_, _, value)), None) = (found.next(), found.next()) else {
            return false;
        };
        let (ours, theirs) = (Sha256::digest(&*self.value), Sha256::digest(value));
        ours.as_slice().ct_eq(theirs.as_slice()).into()
    }
}

impl fmt::Debug for SecretHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretHeader({})", self.name)
    }
}

impl Proof {
    /// The called user part `user` of `request` without what had to be in front of it. `None`: the peer has not proved
    /// itself.
    pub(super) fn of(&self, request: &Message<'_>, user: &str) -> Option<Box<str>> {
        let known = self.token.as_ref().is_none_or(|token| token.is_in(request));
        // Look at both, whichever is wrong.
        let user = self.without_prefix(user);
        user.filter(|_| known)
    }

    /// `user` without the prefix; `None`: it does not begin so.
    fn without_prefix(&self, user: &str) -> Option<Box<str>> {
        if self.tech_prefix.is_empty() {
            return Some(user.into());
        }
        let plain = user.replace("%23", "#");
        let (start, rest) = plain.split_at_checked(self.tech_prefix.len())?;
        let same: bool = start.as_bytes().ct_eq(self.tech_prefix.as_bytes()).into();
        (same && !rest.is_empty()).then(|| escaped(rest).into())
    }

    /// The user part of To: the prefix may stand there, too.
    pub(crate) fn strip<'u>(&self, user: &'u str) -> &'u str {
        strip_dialled(user, &self.tech_prefix)
            .filter(|rest| !rest.is_empty())
            .unwrap_or(user)
    }

    /// `user` as it is written to the trunk.
    pub(super) fn prefixed(&self, user: &str) -> String {
        escaped(&self.tech_prefix) + user
    }

    /// What a request to the trunk has in addition.
    pub(super) fn write(&self, w: &mut Writer<'_>, host: super::Host<'_>) {
        if let Some(token) = &self.token {
            w.header(&token.name, &*token.value);
        }
        if let Some(charge) = &self.charge {
            let mut value = vec![b'<'];
            value.extend_from_slice(&super::uri(charge, host, false));
            value.push(b'>');
            w.header("P-Charge-Info", &value);
        }
    }
}
