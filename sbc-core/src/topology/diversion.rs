//! Who was called before: Diversion (RFC 5806) and History-Info (RFC 7044), one made of the other as RFC 7544 has it;
//! and User-to-User (RFC 7433). Rebuilt from numbers and words that the RFCs define, with our host.

use super::{Received, phone_context, uri, user_of};
use crate::{
    numbers::{E164, Numbering},
    sip::{HeaderName, NameAddr, Params, Writer},
    text::put,
};
use std::borrow::Cow;

/// How a trunk tells and is told of diversions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DiversionForm {
    /// Not at all.
    #[default]
    Off,
    /// Diversion.
    Diversion,
    /// History-Info.
    History,
}

/// One who was called, and why another is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diverted {
    user: Box<str>,
    number: Option<E164>,
    why: Why,
    /// How often it was diverted here (RFC 5806 §4.2).
    times: u8,
    /// It wishes not to be named.
    private: bool,
}

/// Most diversions of one call that are told.
const DIVERSIONS_MAX: usize = 5;

/// Why a call was diverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Unknown,
    Busy,
    NoAnswer,
    Unavailable,
    Unconditional,
    Deflected,
}

/// The reason of Diversion, the cause of History-Info (RFC 4458), and what they mean (RFC 7544 §7.1).
const CAUSES: &[(&str, &str, Why)] = &[
    ("unknown", "404", Why::Unknown),
    ("user-busy", "486", Why::Busy),
    ("no-answer", "408", Why::NoAnswer),
    ("unavailable", "503", Why::Unavailable),
    ("unconditional", "302", Why::Unconditional),
    ("deflection", "480", Why::Deflected),
    // Deflected while it rang.
    ("deflection", "487", Why::Deflected),
];

impl Why {
    fn of(word: &[u8], column: impl Fn(&(&'static str, &'static str, Why)) -> &'static str) -> Self {
        let found = CAUSES
            .iter()
            .find(|row| column(row).as_bytes().eq_ignore_ascii_case(word));
        found.map_or(Self::Unknown, |row| row.2)
    }

    fn row(self) -> (&'static str, &'static str) {
        let found = CAUSES.iter().find(|row| row.2 == self);
        found.map_or(("unknown", "404"), |row| (row.0, row.1))
    }
}

impl Diverted {
    /// What a request tells, the last diversion first, by whichever header field it has; and how many older ones it
    /// tells that are too many.
    pub(super) fn all_of(received: &Received<'_, '_>, numbering: &Numbering) -> (Vec<Self>, usize) {
        let diversions = received.elements(HeaderName::Diversion);
        let mut found: Vec<Self> = if diversions.is_empty() {
            let history = received.elements(HeaderName::HistoryInfo);
            let pairs = history.windows(2).rev();
            let each = pairs.filter_map(|pair| match pair {
                [who, next] => Self::of_history(who, next, numbering),
                _ => None,
            });
            each.collect()
        } else {
            let each = diversions.into_iter();
            each.filter_map(|value| Self::read(value, numbering)).collect()
        };
        let beyond = found.len().saturating_sub(DIVERSIONS_MAX);
        found.truncate(DIVERSIONS_MAX);
        (found, beyond)
    }

    /// An element of Diversion.
    fn read(value: &[u8], numbering: &Numbering) -> Option<Self> {
        let address = NameAddr::parse(value).ok()?;
        let uri = address.parsed_uri().ok()?;
        let user = user_of(&uri).filter(|user| !user.is_empty())?;
        let times = address.param(b"counter").and_then(super::number);
        let private = address.param(b"privacy").is_some_and(|privacy| {
            [&b"full"[..], b"uri"]
                .iter()
                .any(|word| word.eq_ignore_ascii_case(privacy))
        });
        Some(Self {
            number: numbering.read(&user, phone_context(&uri)),
            user,
            why: Why::of(address.param(b"reason").unwrap_or_default(), |row| row.0),
            times: times
                .and_then(|times| u8::try_from(times).ok())
                .unwrap_or(1)
                .max(1),
            private,
        })
    }

    /// The element `who` of History-Info, when the `next` one says that it was diverted.
    fn of_history(who: &[u8], next: &[u8], numbering: &Numbering) -> Option<Self> {
        let (who, next) = (NameAddr::parse(who).ok()?, NameAddr::parse(next).ok()?);
        let next = next.parsed_uri().ok()?;
        let cause = next.param(b"cause")?;
        let uri = who.parsed_uri().ok()?;
        let user = user_of(&uri).filter(|user| !user.is_empty())?;
        let private = Params::new(uri.headers).any(|(name, value)| {
            name.eq_ignore_ascii_case(b"Privacy") && value.is_some_and(|value| value != b"none")
        });
        Some(Self {
            number: numbering.read(&user, phone_context(&uri)),
            user,
            why: Why::of(cause, |row| row.1),
            times: 1,
            private,
        })
    }
}

/// What is needed to write diversions for a trunk.
pub(super) struct Told<'t> {
    pub(super) form: DiversionForm,
    pub(super) numbering: Option<&'t Numbering>,
    /// Our host.
    pub(super) host: super::Host<'t>,
    /// Who wishes not to be named may be named to it.
    pub(super) trusted: bool,
    /// The Request-URI.
    pub(super) target: &'t [u8],
}

impl Told<'_> {
    /// Write `diverted`, the last first.
    pub(super) fn write(&self, w: &mut Writer<'_>, diverted: &[Diverted]) {
        let seen: Vec<&Diverted> = diverted
            .iter()
            .filter(|diverted| self.trusted || !diverted.private)
            .collect();
        if seen.is_empty() {
            return;
        }
        match self.form {
            DiversionForm::Off => {}
            DiversionForm::Diversion => self.write_diversion(w, &seen),
            DiversionForm::History => self.write_history(w, &seen),
        }
    }

    fn uri(&self, diverted: &Diverted) -> Vec<u8> {
        let user = match self.numbering {
            Some(numbering) => numbering.originator(&diverted.user, diverted.number),
            None => Cow::Borrowed(&*diverted.user),
        };
        uri(&user, self.host, false)
    }

    fn write_diversion(&self, w: &mut Writer<'_>, seen: &[&Diverted]) {
        for diverted in seen {
            let mut value = vec![b'<'];
            value.extend_from_slice(&self.uri(diverted));
            put!(&mut value, ">;reason=", diverted.why.row().0);
            if diverted.times > 1 {
                put!(&mut value, ";counter=", diverted.times);
            }
            if diverted.private {
                put!(&mut value, ";privacy=full");
            }
            w.header("Diversion", &value);
        }
    }

    /// From the first called to the one who is called now, each with the cause for which it is called (RFC 7044 §10.3,
    /// RFC 4458 §2).
    fn write_history(&self, w: &mut Writer<'_>, seen: &[&Diverted]) {
        let mut value = Vec::with_capacity(160);
        let mut cause = "";
        let mut index = "1".to_owned();
        let mut element = |target: &[u8], cause: &str, private: bool, index: &str, from: &str| {
            if !value.is_empty() {
                put!(&mut value, ", ");
            }
            put!(&mut value, "<", target);
            if !cause.is_empty() {
                put!(&mut value, ";cause=", cause);
            }
            if private {
                put!(&mut value, "?Privacy=history");
            }
            put!(&mut value, ">;index=", index);
            if !from.is_empty() {
                put!(&mut value, ";mp=", from);
            }
        };
        let mut from = String::new();
        for diverted in seen.iter().rev() {
            element(&self.uri(diverted), cause, diverted.private, &index, &from);
            cause = diverted.why.row().1;
            from.clone_from(&index);
            index.push_str(".1");
        }
        element(self.target, cause, false, &index, &from);
        w.header("History-Info", &value);
    }
}

/// Longest value of User-to-User: 128 octets of data in hexadecimal (RFC 7433 §4), and parameters.
const USER_TO_USER_MAX: usize = 400;

/// User-to-User rebuilt: its data, when it is a token or quoted, and the parameters that RFC 7433 §4.1 defines.
/// `None`: it has another form.
pub(super) fn user_to_user(value: &[u8]) -> Option<Box<[u8]>> {
    let token = |bytes: &[u8]| {
        !bytes.is_empty()
            && bytes
                .iter()
                .all(|c| c.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(c))
    };
    let value = value.trim_ascii();
    if value.len() > USER_TO_USER_MAX {
        return None;
    }
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let (data, params) = value.split_at(end);
    let data = data.trim_ascii();
    let quoted = data.strip_prefix(b"\"").and_then(|data| data.strip_suffix(b"\""));
    if !token(data) && !quoted.is_some_and(token) {
        return None;
    }
    let mut rebuilt = data.to_vec();
    for (name, value) in Params::new(params.strip_prefix(b";").unwrap_or_default()) {
        let known = ["encoding", "purpose", "content"]
            .into_iter()
            .find(|known| known.as_bytes().eq_ignore_ascii_case(name));
        if let (Some(name), Some(value)) = (known, value.filter(|value| token(value))) {
            put!(&mut rebuilt, ";", name, "=", value);
        }
    }
    Some(rebuilt.into())
}
