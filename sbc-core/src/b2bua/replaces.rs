//! Replaces (RFC 3891): the dialog that a new call takes the place of.
//!
//! In: the header field of an INVITE, or the one inside a Refer-To. What is named there is a dialog
//! of one side, and the other side may learn nothing of it. The To tag is one of our tokens: it
//! says the shard and the leg, and nothing to anybody else, so it stays. Call-ID and From tag are the
//! peer's own: to the other side they are named by keyed hashes, which whoever has the dialog can
//! compute again. So no table says what stands for what, and any shard can rewrite a Refer-To that
//! names a dialog of another.
//!
//! The name of the referrer's trunk is hashed too. So a disguised name proves that somebody on that
//! trunk knew the dialog and asked us, by REFER, to let another have it.

use crate::{
    dialog::Dialog,
    id::ShardId,
    sip::{HeaderError, HeaderName, Message, Params, Uri},
    token::TokenKey,
};
use std::{collections::VecDeque, io::Write as _};

/// Longest name of a dialog that we carry.
const NAME_MAX: usize = 256;

/// How a dialog is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    /// As its peer names it.
    Plain,
    /// As a REFER of its peer's trunk made us name it.
    Disguised,
}

/// The value of a Replaces header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replaces {
    pub(crate) call_id: Box<[u8]>,
    /// The tag of whoever gets the INVITE.
    pub(crate) to_tag: Box<[u8]>,
    /// The tag of its peer.
    pub(crate) from_tag: Box<[u8]>,
    pub(crate) early_only: bool,
}

impl Replaces {
    /// Read the value of the header field.
    pub(crate) fn parse(value: &[u8]) -> Result<Self, HeaderError> {
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let (call_id, params) = value.split_at(end);
        let call_id = call_id.trim_ascii();
        let params = Params::new(params.strip_prefix(b";").unwrap_or_default());
        let tag = |wanted: &[u8]| {
            let mut found = params.filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            match (found.next(), found.next()) {
                (Some((_, Some(tag))), None) if is_name(tag) => Ok(tag.into()),
                _ => Err(HeaderError::Syntax),
            }
        };
        if !is_name(call_id) {
            return Err(HeaderError::Syntax);
        }
        Ok(Self {
            call_id: call_id.into(),
            to_tag: tag(b"to-tag")?,
            from_tag: tag(b"from-tag")?,
            early_only: params.find(b"early-only").is_some(),
        })
    }

    /// The Replaces of a request; `Err` when it is malformed or there are several (RFC 3891 §3).
    pub(crate) fn of(request: &Message<'_>) -> Result<Option<Self>, HeaderError> {
        let mut fields = request.headers(HeaderName::Replaces);
        match (fields.next(), fields.next()) {
            (None, _) => Ok(None),
            (Some(value), None) if request.header(HeaderName::Join).is_none() => Self::parse(value).map(Some),
            _ => Err(HeaderError::Syntax),
        }
    }

    /// The Replaces among the header fields embedded in a URI (§19.1.1). All others are ignored.
    pub(crate) fn of_uri(uri: &Uri<'_>) -> Result<Option<Self>, HeaderError> {
        let mut found = None;
        for field in uri.headers.split(|&c| c == b'&') {
            let equals = memchr::memchr(b'=', field).unwrap_or(field.len());
            let (name, value) = field.split_at(equals);
            if unescape(name)?.eq_ignore_ascii_case(b"Replaces") {
                let value = unescape(value.strip_prefix(b"=").unwrap_or_default())?;
                if found.replace(Self::parse(&value)?).is_some() {
                    return Err(HeaderError::Syntax);
                }
            }
        }
        Ok(found)
    }

    /// The same dialog, named so that only we know what is meant, and who on which `trunk` meant it.
    pub(crate) fn disguised(&self, key: &TokenKey, trunk: &str) -> Self {
        Self {
            call_id: key.disguise(trunk.as_bytes(), &self.call_id)[..].into(),
            from_tag: key.disguise(trunk.as_bytes(), &self.from_tag)[..].into(),
            ..self.clone()
        }
    }

    /// How it names `dialog`, whose peer is on `trunk` and whose tag of ours is [`Self::to_tag`];
    /// `None`: not at all.
    pub(crate) fn naming(&self, dialog: &Dialog, key: &TokenKey, trunk: &str) -> Option<Naming> {
        if *self.to_tag != dialog.local_tag {
            return None;
        }
        if *self.call_id == *dialog.call_id && *self.from_tag == *dialog.remote_tag {
            return Some(Naming::Plain);
        }
        let told = *self.call_id == key.disguise(trunk.as_bytes(), &dialog.call_id)
            && *self.from_tag == key.disguise(trunk.as_bytes(), &dialog.remote_tag);
        told.then_some(Naming::Disguised)
    }

    /// Append it to a URI as its only embedded header field.
    pub(crate) fn write_uri_header(&self, uri: &mut Vec<u8>) {
        uri.extend_from_slice(b"?Replaces=");
        for &c in &self.value() {
            // hvalue of §25.1, without what separates.
            if c.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&c) {
                uri.push(c);
            } else {
                let _ = write!(uri, "%{c:02X}");
            }
        }
    }

    /// The value of the header field.
    pub(crate) fn value(&self) -> Vec<u8> {
        let mut value = Vec::with_capacity(128);
        value.extend_from_slice(&self.call_id);
        for (name, tag) in [("to-tag", &self.to_tag), ("from-tag", &self.from_tag)] {
            let _ = write!(value, ";{name}=");
            value.extend_from_slice(tag);
        }
        if self.early_only {
            value.extend_from_slice(b";early-only");
        }
        value
    }
}

/// Most detours that are remembered; beyond, the oldest is forgotten.
const DETOURS_MAX: usize = 256;

/// INVITEs that this shard received and that went to the shard of the dialog that they replace, which
/// is not the one of their Call-ID. A CANCEL says nothing of Replaces, and comes to where the INVITE came.
#[derive(Debug, Default)]
pub(crate) struct Detours(VecDeque<(u64, ShardId)>);

impl Detours {
    /// The INVITE whose Call-ID has this hash went to `shard`.
    pub(crate) fn note(&mut self, call_id: u64, shard: ShardId) {
        if self.0.contains(&(call_id, shard)) {
            return;
        }
        if self.0.len() >= DETOURS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((call_id, shard));
    }

    /// Where the INVITE went.
    pub(crate) fn find(&self, call_id: u64) -> Option<ShardId> {
        let found = self.0.iter().rev().find(|(hash, _)| *hash == call_id);
        found.map(|(_, shard)| *shard)
    }
}

/// A Call-ID or tag, of bounded length and without anything that could end it.
fn is_name(text: &[u8]) -> bool {
    !text.is_empty()
        && text.len() <= NAME_MAX
        && text
            .iter()
            .all(|&c| c.is_ascii_graphic() && !b";,=&".contains(&c))
}

fn unescape(text: &[u8]) -> Result<Vec<u8>, HeaderError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let digit = |c: Option<&u8>| c.and_then(|&c| char::from(c).to_digit(16));
        let (Some(high), Some(low)) = (digit(tail.first()), digit(tail.get(1))) else {
            return Err(HeaderError::Syntax);
        };
        out.push((high << 4 | low) as u8);
        rest = tail.get(2..).unwrap_or_default();
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &[u8] = b"98732@sip.example.com;from-tag=r33th4x0r;to-tag=ff87ff";

    #[test]
    fn the_value_is_read_and_written() {
        let replaces = Replaces::parse(VALUE).unwrap();
        assert_eq!(&*replaces.call_id, b"98732@sip.example.com");
        assert_eq!(
            (&*replaces.to_tag, &*replaces.from_tag),
            (&b"ff87ff"[..], &b"r33th4x0r"[..])
        );
        assert!(!replaces.early_only);
        assert_eq!(Replaces::parse(&replaces.value()).unwrap(), replaces);
        let early = Replaces::parse(b"a;to-tag=1 ; from-tag=2;early-only;x=y").unwrap();
        assert!(early.early_only);
        assert_eq!(early.value(), b"a;to-tag=1;from-tag=2;early-only");
    }

    #[test]
    fn what_names_no_dialog_is_refused() {
        for bad in [
            &b""[..],
            b"a",
            b"a;to-tag=1",
            b"a;from-tag=1",
            b";to-tag=1;from-tag=2",
            b"a;to-tag=1;to-tag=2;from-tag=3",
            b"a;to-tag;from-tag=3",
            b"a b;to-tag=1;from-tag=3",
        ] {
            assert!(Replaces::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn inside_a_uri_it_is_escaped() {
        let uri = Uri::parse(
            b"sip:bob@h?Subject=x&repl%61ces=425928%40b.example%3Bto-tag%3D7743%3Bfrom-tag%3D6472&Route=y",
        )
        .unwrap();
        let replaces = Replaces::of_uri(&uri).unwrap().unwrap();
        assert_eq!(&*replaces.call_id, b"425928@b.example");
        let mut out = b"sip:bob@us".to_vec();
        replaces.write_uri_header(&mut out);
        assert_eq!(
            out,
            b"sip:bob@us?Replaces=425928%40b.example%3Bto-tag%3D7743%3Bfrom-tag%3D6472"
        );
        for bad in [
            &b"sip:b@h?Replaces=a%3"[..],
            b"sip:b@h?Replaces=x",
            b"sip:b@h?Replaces",
        ] {
            assert!(Replaces::of_uri(&Uri::parse(bad).unwrap()).is_err());
        }
    }

    #[test]
    fn a_disguise_is_the_same_on_every_shard_and_tells_nothing() {
        let replaces = Replaces::parse(VALUE).unwrap();
        let one = replaces.disguised(&TokenKey::new(5), "t");
        assert_eq!(one, replaces.disguised(&TokenKey::new(5), "t"));
        assert_ne!(one, replaces.disguised(&TokenKey::new(6), "t"));
        assert_ne!(one, replaces.disguised(&TokenKey::new(5), "u"));
        assert_eq!(one.to_tag, replaces.to_tag);
        let text = one.value();
        for secret in [&b"98732"[..], b"example", b"r33th4x0r"] {
            assert!(memchr::memmem::find(&text, secret).is_none());
        }
    }
}
