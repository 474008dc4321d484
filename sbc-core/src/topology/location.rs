//! Where a caller is (RFC 6442): Geolocation, Geolocation-Routing, and the documents in the body of the INVITE that Geolocation
//! names by `cid:` (PIDF-LO, RFC 5491).
//!
//! A location is private, and passes with calls for help alone unless both trunks of a call say otherwise. What passes is
//! what the caller has sent: whoever is to find them may need all of it.

use super::headers::Received;
use crate::sip::{HeaderName, Message, NameAddr, Part, Writer, list_elements, parts, unfold};
use smallvec::SmallVec;
use zeroize::Zeroizing;

/// With which calls a location passes from a trunk and to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocationPolicy {
    /// With calls to emergency numbers.
    #[default]
    Emergency,
    /// With those, and with all others where the other trunk says so, too.
    Always,
    /// With none.
    Never,
}

impl LocationPolicy {
    /// Whether a location passes with a call, which may be one for help.
    fn passes(self, for_help: bool) -> bool {
        match self {
            Self::Emergency => for_help,
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Media type of the documents.
const DOCUMENT: &[u8] = b"application/pidf+xml";

/// Most places that one call names, and most octets of them together.
const VALUES_MAX: usize = 8;
const VALUES_BYTES_MAX: usize = 2048;

/// Most octets of all documents of a call.
const DOCUMENTS_BYTES_MAX: usize = 16 * 1024;

/// What a caller says of where it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Location {
    /// Elements of Geolocation, as they came.
    values: Vec<Value>,
    /// Geolocation-Routing, when it says yes or no (RFC 6442 §4.2).
    routing: Option<bool>,
    documents: Vec<Document>,
    /// The call is one for help.
    for_help: bool,
}

/// One element of Geolocation.
#[derive(Clone, PartialEq, Eq)]
struct Value {
    text: Box<[u8]>,
    /// It names a document in the body.
    is_inside: bool,
}

/// A document that says where somebody is.
#[derive(Clone, PartialEq, Eq)]
struct Document {
    /// Content-ID without its brackets.
    id: Box<[u8]>,
    text: Box<[u8]>,
}

impl Location {
    /// What `received` says, from a trunk with this `policy`; `None`: nothing that may pass. With how many
    /// values and documents might have passed and do not, for what they are.
    pub(super) fn of(
        received: &Received<'_, '_>,
        policy: LocationPolicy,
        for_help: bool,
    ) -> (Option<Box<Self>>, u16) {
        if !policy.passes(for_help) {
            return (None, 0);
        }
        let mut location = Self {
            for_help,
            ..Self::default()
        };
        let mut dropped = 0;
        let mut bytes = 0;
        for raw in received.values(HeaderName::Geolocation) {
            for element in list_elements(raw) {
                let text = unfold(element);
                bytes += text.len();
                let named = location.read(&text, received.request);
                match named.filter(|_| location.values.len() < VALUES_MAX && bytes <= VALUES_BYTES_MAX) {
                    Some(value) => location.values.push(value),
                    None => dropped += 1,
                }
            }
        }
        location.routing = received
            .custom("Geolocation-Routing")
            .first()
            .and_then(|value| match value {
                value if value.eq_ignore_ascii_case(b"yes") => Some(true),
                value if value.eq_ignore_ascii_case(b"no") => Some(false),
                _ => None,
            });
        let says = !location.values.is_empty() || location.routing.is_some();
        (says.then(|| Box::new(location)), dropped)
    }

    /// One element of Geolocation: a URI in brackets. The document that it names is kept with it.
    fn read(&mut self, text: &[u8], request: &Message<'_>) -> Option<Value> {
        let value = NameAddr::parse(text).ok().filter(|_| text.starts_with(b"<"))?;
        let id = value
            .uri
            .split_at_checked(4)
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"cid:"))
            .map(|(_, id)| percent_decoded(id));
        if let Some(id) = &id
            && !self.documents.iter().any(|document| *document.id == **id)
        {
            let document = document_of(request, id)?;
            let held: usize = self.documents.iter().map(|held| held.text.len()).sum();
            if held + document.len() > DOCUMENTS_BYTES_MAX {
                return None;
            }
            self.documents.push(Document {
                id: id.as_slice().into(),
                text: document.into(),
            });
        }
        Some(Value {
            text: text.into(),
            is_inside: id.is_some(),
        })
    }

    /// Whether a trunk with this policy is told.
    pub(super) fn passes(&self, policy: LocationPolicy) -> bool {
        policy.passes(self.for_help)
    }

    /// Whether there are documents, which take a place in the body.
    pub(super) fn has_documents(&self) -> bool {
        !self.documents.is_empty()
    }

    /// Write the header fields. `bare`: the body has no place for documents.
    pub(super) fn write(&self, w: &mut Writer<'_>, bare: bool) {
        let values: SmallVec<[&[u8]; 4]> = self
            .values
            .iter()
            .filter(|value| !(bare && value.is_inside))
            .map(|value| &*value.text)
            .collect();
        if !values.is_empty() {
            w.header("Geolocation", values.join(&b", "[..]));
        }
        if let Some(routing) = self.routing {
            w.header("Geolocation-Routing", if routing { "yes" } else { "no" });
        }
    }

    /// Write the body, which ends the message: the documents beside the description `sdp`, if there is one. `boundary`: a token
    /// that nobody could know who has written them.
    pub(super) fn write_body(&self, w: &mut Writer<'_>, boundary: &[u8], sdp: Option<&[u8]>) {
        let texts = || self.documents.iter().map(|document| &*document.text).chain(sdp);
        // Keys may be in the description.
        let mut body = Zeroizing::new(Vec::with_capacity(texts().map(|text| text.len() + 256).sum()));
        if let Some(sdp) = sdp {
            begin(&mut body, boundary, b"application/sdp");
            body.extend_from_slice(b"\r\n");
            body.extend_from_slice(sdp);
            body.extend_from_slice(b"\r\n");
        }
        for document in &self.documents {
            begin(&mut body, boundary, DOCUMENT);
            body.extend_from_slice(b"Content-ID: <");
            body.extend_from_slice(&document.id);
            // RFC 5621 §5.1: it is for whoever follows Geolocation, and nobody need understand it.
            body.extend_from_slice(b">\r\nContent-Disposition: by-reference;handling=optional\r\n\r\n");
            body.extend_from_slice(&document.text);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--");
        body.extend_from_slice(boundary);
        body.extend_from_slice(b"--\r\n");
        w.body([b"multipart/mixed;boundary=", boundary].concat(), &body);
    }
}

fn begin(body: &mut Vec<u8>, boundary: &[u8], kind: &[u8]) {
    body.extend_from_slice(b"--");
    body.extend_from_slice(boundary);
    body.extend_from_slice(b"\r\nContent-Type: ");
    body.extend_from_slice(kind);
    body.extend_from_slice(b"\r\n");
}

/// The document in the body of `request` with this Content-ID: a part of it, or all of it.
fn document_of<'m>(request: &Message<'m>, id: &[u8]) -> Option<&'m [u8]> {
    let writable = !id.is_empty()
        && id
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !b"<>".contains(byte));
    if !writable {
        return None;
    }
    let content_type = request.content_type()?;
    if is_document(content_type) {
        let named = request
            .other_header(b"Content-ID")
            .is_some_and(|named| names(named, id));
        return named.then(|| request.body());
    }
    let mut parts = parts(content_type, request.body())?;
    let is = |part: &Part<'_>| {
        part.is_plain()
            && part.header(b"Content-Type").is_some_and(is_document)
            && part.header(b"Content-ID").is_some_and(|named| names(named, id))
    };
    parts.find(is).map(|part| part.body)
}

/// Whether a value of Content-Type is that of a document.
pub(crate) fn is_document(content_type: &[u8]) -> bool {
    let kind = content_type.split(|&c| c == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(DOCUMENT)
}

/// Whether a value of Content-ID is `id` (RFC 2392 §2).
fn names(content_id: &[u8], id: &[u8]) -> bool {
    let named = unfold(content_id);
    let named = named.trim_ascii();
    named
        .strip_prefix(b"<")
        .and_then(|named| named.strip_suffix(b">"))
        .unwrap_or(named)
        == id
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let digit = |at: usize| char::from(*behind.get(at)?).to_digit(16);
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    out
}

/// Where somebody is belongs into no log.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} octets", self.text.len())
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} octets", self.text.len())
    }
}
