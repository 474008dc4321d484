//! Option tags (RFC 3261 §19.2): the extensions that Require, Supported and Unsupported name.

use super::{HeaderName, Message};

/// A set of the extensions that we understand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OptionTags(u8);

const NAMES: [(&[u8], OptionTags); 3] = [
    (b"100rel", OptionTags::RELIABLE),
    (b"timer", OptionTags::TIMER),
    (b"replaces", OptionTags::REPLACES),
];

impl OptionTags {
    /// Reliable provisional responses (RFC 3262).
    pub const RELIABLE: Self = Self(1);
    /// Session timers (RFC 4028).
    pub const TIMER: Self = Self(2);
    /// Taking the place of a dialog (RFC 3891).
    pub const REPLACES: Self = Self(4);
    /// None.
    pub const NONE: Self = Self(0);
    /// Everything that we understand.
    pub const ALL: Self = Self(7);

    /// The extension called `name`, in any case.
    pub fn named(name: &[u8]) -> Option<Self> {
        let known = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(_, tag)| *tag)
    }

    /// Those of ours that the header fields `name` of a message list.
    pub fn listed(message: &Message<'_>, name: HeaderName) -> Self {
        let tags = message.list(name).filter_map(Self::named);
        tags.fold(Self::NONE, |set, tag| Self(set.0 | tag.0))
    }

    /// Whether all of `tags` are in the set.
    pub const fn contains(self, tags: Self) -> bool {
        self.0 & tags.0 == tags.0
    }

    /// The set and `tags`.
    pub const fn and(self, tags: Self) -> Self {
        Self(self.0 | tags.0)
    }

    /// The set without `tags`.
    pub const fn without(self, tags: Self) -> Self {
        Self(self.0 & !tags.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tags_are_read_in_any_case_and_others_are_not_ours() {
        let text = b"INVITE sip:a@b SIP/2.0\r\nRequire: 100REL, x-other\r\nRequire: timer\r\n\r\n";
        let message = Message::parse(text).unwrap();
        let tags = OptionTags::listed(&message, HeaderName::Require);
        assert!(tags.contains(OptionTags::RELIABLE) && tags.contains(OptionTags::TIMER));
        assert!(!OptionTags::ALL.without(OptionTags::TIMER).contains(tags));
        assert_eq!(OptionTags::named(b"norefersub"), None);
    }
}
