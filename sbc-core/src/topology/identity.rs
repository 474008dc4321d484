//! Who calls, as networks tell each other (RFC 3323, RFC 3325), and what an operator has a trunk be told.
//!
//! In: P-Asserted-Identity and its kin from a trunk that is believed. Out: the same rebuilt for a trunk that may know, with
//! our host in it, and the caller's part of From. A trunk without an [`Identity`] is told nothing beyond From.

use super::{Parties, Received, Towards, clean_display, uri, user_of};
use crate::{
    numbers::{Block, E164, Numbering},
    sip::{HeaderName, NameAddr, Writer},
    text::put,
};
use std::borrow::Cow;

/// What is believed of a trunk's callers, and what it is told of those who call it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// It belongs to our trust domain (RFC 3325 §3): what it asserts is believed, and it is told who wishes to be hidden.
    pub trusted: bool,
    /// What it prefers is taken for asserted.
    pub accept_preferred: bool,
    /// When it is told an asserted identity.
    pub asserted: Assert,
    /// It is told in P-Preferred-Identity.
    pub send_preferred: bool,
    /// Remote-Party-ID is read of it when it is trusted, and written to it.
    pub remote_party_id: bool,
    /// The caller's number towards it, of all or of those who are not in `verified`.
    pub number: Option<E164>,
    /// Numbers that may call it as they are; empty with `number`: none.
    pub verified: Vec<Block>,
    /// User part of From towards it.
    pub user: Option<Box<str>>,
    /// Host of From towards it, and of what is asserted.
    pub domain: Option<Box<str>>,
    /// Display name towards it.
    pub display: Option<Box<str>>,
}

/// When a trunk is told an asserted identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assert {
    /// When the caller's trunk has asserted one.
    #[default]
    Pass,
    /// Always: without one, the number in From.
    Always,
    /// Never.
    Never,
}

/// An identity that a trunk has asserted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asserted {
    user: Box<str>,
    number: Option<E164>,
    display: Option<Box<str>>,
}

impl Asserted {
    /// What is believed of what a trunk says, and whether that asks for privacy.
    pub(super) fn of(
        received: &Received<'_, '_>,
        identity: &Identity,
        numbering: &Numbering,
    ) -> (Option<Box<Self>>, bool) {
        let first = |name| {
            let elements = received.elements(name);
            elements.iter().find_map(|value| Self::read(value, numbering))
        };
        let mut known = None;
        let mut private = false;
        if identity.trusted {
            known = first(HeaderName::PAssertedIdentity);
            if known.is_none() && identity.remote_party_id {
                let elements = received.elements(HeaderName::RemotePartyId);
                (known, private) = elements
                    .iter()
                    .find_map(|value| Self::remote_party(value, numbering))
                    .map_or((None, false), |(party, private)| (Some(party), private));
            }
        }
        if known.is_none() && identity.accept_preferred {
            known = first(HeaderName::PPreferredIdentity);
        }
        (known.map(Box::new), private)
    }

    fn read(value: &[u8], numbering: &Numbering) -> Option<Self> {
        let address = NameAddr::parse(value).ok()?;
        let uri = address.parsed_uri().ok()?;
        let user = user_of(&uri).filter(|user| !user.is_empty())?;
        Some(Self {
            number: numbering.read(&user, super::phone_context(&uri)),
            user,
            display: address.display.and_then(clean_display),
        })
    }

    /// The calling one of a Remote-Party-ID, and whether it is private.
    fn remote_party(value: &[u8], numbering: &Numbering) -> Option<(Self, bool)> {
        let address = NameAddr::parse(value).ok()?;
        let is = |name: &[u8], words: &[&[u8]]| {
            let value = address.param(name);
            value.map(|value| words.iter().any(|word| word.eq_ignore_ascii_case(value)))
        };
        if is(b"party", &[b"calling"]) == Some(false) {
            return None;
        }
        let private = is(b"privacy", &[b"full", b"uri"]) == Some(true);
        Some((Self::read(value, numbering)?, private))
    }
}

/// One who calls, as a trunk is told.
struct Shown<'p> {
    user: Cow<'p, str>,
    number: Option<E164>,
}

impl Identity {
    /// The caller towards the trunk: `user`, or the number that stands for callers who are not verified.
    fn shown<'p>(&self, user: &'p str, number: Option<E164>) -> Shown<'p> {
        let verified = number.is_some_and(|number| self.verified.iter().any(|block| block.has(&number)));
        match self.number.filter(|_| !verified) {
            Some(fixed) => Shown {
                user: Cow::Owned(format!("+{fixed}")),
                number: Some(fixed),
            },
            None => Shown {
                user: Cow::Borrowed(user),
                number,
            },
        }
    }
}

impl Parties {
    /// The caller wishes not to be known to a trunk of this kind, and it is for us to see to that (RFC 3323 §5).
    fn hides_from(&self, identity: Option<&Identity>) -> bool {
        self.private && identity.is_some_and(|identity| !identity.trusted)
    }

    /// Value of From as seen by the callee's side, with our tag.
    pub(crate) fn calling_value(&self, towards: &Towards<'_>, tag: &[u8]) -> Vec<u8> {
        let mut value = Vec::with_capacity(96);
        let identity = towards.identity;
        if self.hides_from(identity) {
            put!(
                &mut value,
                "\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=",
                tag
            );
            return value;
        }
        self.put_display(&mut value, self.display.as_deref(), towards);
        value.push(b'<');
        if self.anonymous {
            let user = if self.caller.is_empty() {
                "anonymous"
            } else {
                &self.caller
            };
            put!(&mut value, "sip:", user, "@anonymous.invalid");
        } else {
            let shown = match identity {
                Some(identity) => identity.shown(&self.caller, self.calling),
                None => Shown {
                    user: Cow::Borrowed(&*self.caller),
                    number: self.calling,
                },
            };
            let user = match (
                identity.and_then(|identity| identity.user.as_deref()),
                towards.numbering,
            ) {
                (Some(user), _) => Cow::Borrowed(user),
                (None, Some(numbering)) => numbering.originator(&shown.user, shown.number),
                (None, None) => Cow::Borrowed(&*shown.user),
            };
            value.extend_from_slice(&uri(&user, towards.our_host(), false));
        }
        put!(&mut value, ">;tag=", tag);
        value
    }

    fn put_display(&self, value: &mut Vec<u8>, display: Option<&str>, towards: &Towards<'_>) {
        let fixed = towards.identity.and_then(|identity| identity.display.as_deref());
        if let Some(display) = fixed.or(display.filter(|_| towards.display)) {
            put!(value, "\"", display, "\" ");
        }
    }

    /// P-Asserted-Identity and its kin in a request towards a trunk that is to have them.
    pub(super) fn write_identity(&self, w: &mut Writer<'_>, towards: &Towards<'_>) {
        let Some(identity) = towards.identity else { return };
        // RFC 3325 §7: what is private does not leave the trust domain.
        if identity.asserted == Assert::Never || (self.private && !identity.trusted) {
            return;
        }
        let always = identity.asserted == Assert::Always;
        let (user, number, display) = match &self.asserted {
            Some(asserted) => (&*asserted.user, asserted.number, asserted.display.as_deref()),
            None if always && self.anonymous => ("", None, None),
            None if always => (&*self.caller, self.calling, self.display.as_deref()),
            None => return,
        };
        let shown = identity.shown(user, number);
        if shown.user.is_empty() {
            return;
        }
        let user = match towards.numbering {
            Some(numbering) => numbering.asserted(&shown.user, shown.number),
            None => Cow::Borrowed(&*shown.user),
        };
        let mut value = Vec::with_capacity(64);
        self.put_display(&mut value, display, towards);
        value.push(b'<');
        value.extend_from_slice(&uri(&user, towards.our_host(), false));
        value.push(b'>');
        let name = match identity.send_preferred {
            true => "P-Preferred-Identity",
            false => "P-Asserted-Identity",
        };
        w.header(name, &value);
        if identity.remote_party_id {
            let privacy = if self.private { "full" } else { "off" };
            put!(&mut value, ";party=calling;screen=yes;privacy=", privacy);
            w.header("Remote-Party-ID", &value);
        }
    }
}
