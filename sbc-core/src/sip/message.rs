//! One received message: an index of spans over the receive buffer.
//!
//! [`Message::parse`] makes one pass: start line, one span and one name look-up per header field, body.
//! Nothing is copied, and nothing is allocated up to 40 header fields. Work and memory are linear in
//! the input and bounded by [`MESSAGE_BYTES_MAX`] and [`MESSAGE_HEADERS_MAX`].

use super::{
    CSeq, HeaderError, HeaderName, Method, NameAddr, ParseError, Via,
    grammar::{
        cut_element, find_colon, is_lws, is_token, list_elements, number, slice, trim, trim_end, trim_start,
    },
};
use memchr::{memchr, memrchr};
use smallvec::SmallVec;

/// Longest message: the longest UDP payload fits, and offsets fit 16 bits.
pub const MESSAGE_BYTES_MAX: usize = u16::MAX as usize;

/// Most header fields of one message.
pub const MESSAGE_HEADERS_MAX: usize = 255;

/// Where one header field lies.
#[derive(Clone, Copy, Debug)]
struct HeaderSpan {
    /// First byte of the name.
    start: u16,
    /// First byte of the value, behind leading white space.
    value: u16,
    /// Behind the last byte of the value.
    end: u16,
    name: HeaderName,
}

/// A SIP message in the receive buffer.
#[derive(Clone, Debug)]
pub struct Message<'b> {
    bytes: &'b [u8],
    /// Requests: Request-URI. Responses: reason phrase.
    line_text: (u16, u16),
    /// The method's name; empty for responses.
    method_name: (u16, u16),
    status: u16,
    body: (u16, u16),
    method: Method,
    is_request: bool,
    version_supported: bool,
    fault: Option<ParseError>,
    /// Names that occur more than once, a bit each.
    repeated: u128,
    /// Per name: 1 + index of its first header field, or 0. This is what makes asking for an absent header,
    /// the common case, cost one load.
    first: [u8; HeaderName::COUNT],
    headers: SmallVec<[HeaderSpan; 40]>,
}

const _: () = assert!(HeaderName::COUNT <= u128::BITS as usize);
const _: () = assert!(MESSAGE_HEADERS_MAX <= u8::MAX as usize);

impl<'b> Message<'b> {
    /// Indexes one datagram. Line breaks before the start line are skipped (RFC 3261 §7.5), bytes past
    /// Content-Length are dropped, and without Content-Length the body goes to the end (§18.3). Header values
    /// are not looked at: the typed accessors are strict. Lines may end in a bare LF.
    pub fn parse(bytes: &'b [u8]) -> Result<Self, ParseError> {
        let message = Self::index(bytes)?;
        match message.fault {
            None => Ok(message),
            Some(fault) => Err(fault),
        }
    }

    /// As [`Message::parse`], but what can be indexed is given even when something else is wrong, so that a
    /// request can be refused with its own Via, From, To, Call-ID and CSeq. [`Message::fault`] says what is
    /// wrong. `None` when there is no telling whether this is a request at all.
    pub fn parse_lenient(bytes: &'b [u8]) -> Option<Self> {
        Self::index(bytes).ok()
    }

    /// What [`Message::parse`] would have refused; `None` for a message that came from it.
    pub fn fault(&self) -> Option<ParseError> {
        self.fault
    }

    /// Whether this is a request.
    pub fn is_request(&self) -> bool {
        self.is_request
    }

    /// Whether this is a response.
    pub fn is_response(&self) -> bool {
        !self.is_request
    }

    /// The request's method; for a response [`Method::Other`] (its CSeq has the method).
    pub fn method(&self) -> Method {
        self.method
    }

    /// The request's method as it was written; empty for a response.
    pub fn method_bytes(&self) -> &'b [u8] {
        self.span(self.method_name)
    }

    /// The Request-URI; empty for a response.
    pub fn request_uri(&self) -> &'b [u8] {
        if self.is_request {
            self.span(self.line_text)
        } else {
            b""
        }
    }

    /// The status code; 0 for a request.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The response's reason phrase, which may be empty; empty for a request.
    pub fn reason(&self) -> &'b [u8] {
        if self.is_request {
            b""
        } else {
            self.span(self.line_text)
        }
    }

    /// Whether the start line says SIP/2.0.
    pub fn version_supported(&self) -> bool {
        self.version_supported
    }

    /// The body; empty when there is none.
    pub fn body(&self) -> &'b [u8] {
        self.span(self.body)
    }

    /// The value of the first header field called `name`, trimmed. Folds are still in it: see
    /// [`super::unfold`]. For [`HeaderName::Other`] the first unknown one.
    pub fn header(&self, name: HeaderName) -> Option<&'b [u8]> {
        let index = self.first_index(name)?;
        self.headers.get(index).map(|span| self.value(span))
    }

    /// The values of all header fields called `name`, in order.
    pub fn headers(&self, name: HeaderName) -> impl Iterator<Item = &'b [u8]> {
        let spans = self
            .first_index(name)
            .and_then(|first| self.headers.get(first..))
            .unwrap_or_default();
        spans
            .iter()
            .filter(move |span| span.name == name)
            .map(|span| self.value(span))
    }

    /// The elements of all header fields called `name`, as if they stood in one comma-separated list
    /// (§7.3.1). Not for credentials and challenges: their commas separate parameters.
    pub fn list(&self, name: HeaderName) -> impl Iterator<Item = &'b [u8]> {
        self.headers(name).flat_map(list_elements)
    }

    /// The value of the first header field called `name` (any case), trimmed; for names that [`HeaderName`]
    /// does not know.
    pub fn other_header(&self, name: &[u8]) -> Option<&'b [u8]> {
        match HeaderName::from_bytes(name) {
            HeaderName::Other => {
                let first = self.first_index(HeaderName::Other)?;
                let spans = self.headers.get(first..)?;
                let mut others = spans.iter().filter(|span| span.name == HeaderName::Other);
                others
                    .find(|span| self.name(span).eq_ignore_ascii_case(name))
                    .map(|span| self.value(span))
            }
            known => self.header(known),
        }
    }

    /// All header fields in order: name as it was written, name, trimmed value.
    pub fn iter(&self) -> impl Iterator<Item = (&'b [u8], HeaderName, &'b [u8])> {
        self.headers
            .iter()
            .map(|span| (self.name(span), span.name, self.value(span)))
    }

    /// Whether more than one header field is called `name`.
    pub fn is_repeated(&self, name: HeaderName) -> bool {
        self.repeated & (1 << name as u8) != 0
    }

    /// The first element of the first Via (§20.42).
    pub fn top_via(&self) -> Result<Via<'b>, HeaderError> {
        let mut value = self.header(HeaderName::Via).ok_or(HeaderError::Missing)?;
        Via::parse(cut_element(&mut value))
    }

    /// All Via elements, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'b>, HeaderError>> {
        self.list(HeaderName::Via).map(Via::parse)
    }

    /// From (§20.20).
    pub fn from(&self) -> Result<NameAddr<'b>, HeaderError> {
        self.required(HeaderName::From).and_then(NameAddr::parse)
    }

    /// To (§20.39).
    pub fn to(&self) -> Result<NameAddr<'b>, HeaderError> {
        self.required(HeaderName::To).and_then(NameAddr::parse)
    }

    /// The first Contact element (§20.10).
    pub fn contact(&self) -> Result<Option<NameAddr<'b>>, HeaderError> {
        self.list(HeaderName::Contact)
            .next()
            .map(NameAddr::parse)
            .transpose()
    }

    /// Call-ID (§20.8): one word without white space.
    pub fn call_id(&self) -> Result<&'b [u8], HeaderError> {
        let value = self.required(HeaderName::CallId)?;
        if value.is_empty() || value.iter().any(|&b| is_lws(b)) {
            return Err(HeaderError::Syntax);
        }
        Ok(value)
    }

    /// CSeq (§20.16).
    pub fn cseq(&self) -> Result<CSeq<'b>, HeaderError> {
        self.required(HeaderName::CSeq).and_then(CSeq::parse)
    }

    /// Max-Forwards (§20.22): 0 to 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, HeaderError> {
        let Some(value) = self.header(HeaderName::MaxForwards) else {
            return Ok(None);
        };
        let value = number(value).ok_or(HeaderError::Syntax)?;
        u8::try_from(value).map(Some).map_err(|_| HeaderError::Range)
    }

    /// Content-Type with its parameters, as it stands.
    pub fn content_type(&self) -> Option<&'b [u8]> {
        self.header(HeaderName::ContentType)
    }

    /// All Record-Route elements, topmost first (§20.30).
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'b>, HeaderError>> {
        self.list(HeaderName::RecordRoute).map(NameAddr::parse)
    }

    /// All Route elements, topmost first (§20.34).
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'b>, HeaderError>> {
        self.list(HeaderName::Route).map(NameAddr::parse)
    }

    /// All option tags of Require (§20.32).
    pub fn require(&self) -> impl Iterator<Item = &'b [u8]> {
        self.list(HeaderName::Require)
    }

    /// One pass over the bytes. Only what leaves nothing to answer is an error; other faults are noted.
    fn index(bytes: &'b [u8]) -> Result<Self, ParseError> {
        let start = bytes
            .iter()
            .position(|b| !matches!(b, b'\r' | b'\n'))
            .ok_or(ParseError::Empty)?;
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ParseError::TooLarge);
        }
        let mut message = Self {
            bytes,
            line_text: (0, 0),
            method_name: (0, 0),
            status: 0,
            body: (0, 0),
            method: Method::Other,
            is_request: false,
            version_supported: false,
            fault: None,
            repeated: 0,
            first: [0; HeaderName::COUNT],
            headers: SmallVec::new(),
        };
        let line_feed = line_end(bytes, start).ok_or(ParseError::StartLine)?;
        message.start_line(start, line_feed)?;
        let body = message.header_section(line_feed + 1);
        message.delimit_body(body);
        Ok(message)
    }

    /// Reads the start line, whose line feed is at `line_feed`.
    fn start_line(&mut self, start: usize, line_feed: usize) -> Result<(), ParseError> {
        let line = slice(self.bytes, start, line_feed);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match line {
            [b'S' | b's', b'I' | b'i', b'P' | b'p', b'/', ..] => self.status_line(line, start),
            _ => self.request_line(line, start),
        }
    }

    /// `METHOD SP Request-URI SP SIP/2.0` (§7.1). With anything else between method and version it still is a
    /// request, which can be refused.
    fn request_line(&mut self, line: &[u8], start: usize) -> Result<(), ParseError> {
        let space = memchr(b' ', line).ok_or(ParseError::StartLine)?;
        let method = slice(line, 0, space);
        let text = trim_end(line);
        let version_at = memrchr(b' ', text).ok_or(ParseError::StartLine)? + 1;
        let version = slice(text, version_at, text.len());
        self.version_supported = is_version_2(version);
        if !is_token(method) || !(self.version_supported || is_version(version)) {
            return Err(ParseError::StartLine);
        }
        self.is_request = true;
        self.method = Method::from_bytes(method);
        self.method_name = (start as u16, (start + space) as u16);
        let uri = line.get(space + 1..version_at - 1).unwrap_or_default();
        self.line_text = (
            start as u16 + space as u16 + 1,
            (start + space + 1 + uri.len()) as u16,
        );
        let uri_is_one_word = !uri.is_empty() && !uri.iter().any(|&b| b == b' ' || b == b'\t' || b == b'<');
        if text.len() != line.len() || !uri_is_one_word {
            self.note(ParseError::StartLine);
        }
        Ok(())
    }

    /// `SIP/2.0 SP 3DIGIT SP reason` (§7.2). The space before an empty reason may be missing.
    fn status_line(&mut self, line: &[u8], start: usize) -> Result<(), ParseError> {
        let space = memchr(b' ', line).ok_or(ParseError::StartLine)?;
        let version = slice(line, 0, space);
        let code = slice(line, space + 1, space + 4);
        let reason_at = match line.get(space + 4) {
            None => space + 4,
            Some(b' ') => space + 5,
            Some(_) => return Err(ParseError::StartLine),
        };
        let code = number(code)
            .filter(|code| (100..700).contains(code))
            .ok_or(ParseError::StartLine)?;
        self.version_supported = is_version_2(version);
        if !(self.version_supported || is_version(version)) {
            return Err(ParseError::StartLine);
        }
        self.status = code as u16;
        self.line_text = ((start + reason_at) as u16, (start + line.len()) as u16);
        Ok(())
    }

    /// Indexes header fields from `at` on; returns where the body starts.
    fn header_section(&mut self, mut at: usize) -> usize {
        let bytes = self.bytes;
        loop {
            match slice(bytes, at, bytes.len()) {
                [b'\r', b'\n', ..] => return at + 2,
                [b'\n', ..] => return at + 1,
                _ => {}
            }
            let Some(line_feed) = field_end(bytes, at) else {
                self.note(ParseError::Unterminated);
                return bytes.len();
            };
            if self.headers.len() == MESSAGE_HEADERS_MAX {
                self.note(ParseError::TooManyHeaders);
                return bytes.len();
            }
            self.header_field(at, line_feed);
            at = line_feed + 1;
        }
    }

    /// Indexes the header field from `start` to its line feed.
    #[inline]
    fn header_field(&mut self, start: usize, line_feed: usize) {
        let field = slice(self.bytes, start, line_feed);
        let Some(colon) = find_colon(field) else {
            return self.note(ParseError::HeaderLine);
        };
        let mut raw = slice(field, 0, colon);
        // Spaces may stand before the colon, but no fold.
        while let [head @ .., b' ' | b'\t'] = raw {
            raw = head;
        }
        let name = HeaderName::from_bytes(raw);
        // Known names are tokens.
        if name == HeaderName::Other && !is_token(raw) {
            return self.note(ParseError::HeaderLine);
        }
        let tail = trim_start(slice(field, colon + 1, field.len()));
        let value = line_feed - tail.len();
        // Offsets are below MESSAGE_BYTES_MAX, and there are at most MESSAGE_HEADERS_MAX header fields.
        self.headers.push(HeaderSpan {
            start: start as u16,
            value: value as u16,
            end: (value + trim_end(tail).len()) as u16,
            name,
        });
        match self.first.get_mut(name as usize) {
            Some(first @ 0) => *first = self.headers.len() as u8,
            _ => self.repeated |= 1 << name as u8,
        }
    }

    /// Finds the body, which starts at `start` (§18.3).
    fn delimit_body(&mut self, start: usize) {
        let available = self.bytes.len() - start;
        let mut length = available;
        if let Some(value) = self.header(HeaderName::ContentLength) {
            match number(value) {
                Some(n) if !self.is_repeated(HeaderName::ContentLength) => {
                    length = usize::try_from(n).unwrap_or(usize::MAX);
                }
                _ => self.note(ParseError::ContentLength),
            }
        }
        if length > available {
            self.note(ParseError::BodyTooShort);
        }
        self.body = (start as u16, (start + length.min(available)) as u16);
    }

    /// The first fault is the one reported.
    fn note(&mut self, fault: ParseError) {
        self.fault.get_or_insert(fault);
    }

    fn required(&self, name: HeaderName) -> Result<&'b [u8], HeaderError> {
        self.header(name).ok_or(HeaderError::Missing)
    }

    fn first_index(&self, name: HeaderName) -> Option<usize> {
        usize::from(*self.first.get(name as usize)?).checked_sub(1)
    }

    fn span(&self, (start, end): (u16, u16)) -> &'b [u8] {
        slice(self.bytes, usize::from(start), usize::from(end))
    }

    fn value(&self, span: &HeaderSpan) -> &'b [u8] {
        self.span((span.value, span.end))
    }

    fn name(&self, span: &HeaderSpan) -> &'b [u8] {
        let name = self.span((span.start, span.value));
        let colon = memchr(b':', name).unwrap_or(name.len());
        trim(slice(name, 0, colon))
    }
}

/// Where the line that starts at `at` has its line feed.
#[inline]
fn line_end(bytes: &[u8], at: usize) -> Option<usize> {
    memchr(b'\n', bytes.get(at..)?).map(|n| at + n)
}

/// Where the header field that starts at `at` has its last line feed: a line that starts with white space
/// continues it (§7.3.1).
#[inline]
fn field_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut line_feed = line_end(bytes, at)?;
    while let Some(b' ' | b'\t') = bytes.get(line_feed + 1) {
        line_feed = line_end(bytes, line_feed + 1)?;
    }
    Some(line_feed)
}

/// `SIP/` digits `.` digits, any case.
fn is_version(bytes: &[u8]) -> bool {
    let Some((head, digits)) = bytes.split_at_checked(4) else {
        return false;
    };
    let mut parts = digits.splitn(2, |&b| b == b'.');
    head.eq_ignore_ascii_case(b"SIP/")
        && parts.next().and_then(number).is_some()
        && parts.next().and_then(number).is_some()
}

fn is_version_2(bytes: &[u8]) -> bool {
    bytes.eq_ignore_ascii_case(b"SIP/2.0")
}
