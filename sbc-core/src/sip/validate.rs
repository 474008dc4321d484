//! Whether a message may be acted on: the checks of RFC 3261 §8.2 and §16.3 that need no call state, in one
//! place. Methods, extensions and bodies are the core's business (405, 420, 415).

use super::{HeaderError, HeaderName, Message, Method, Uri};

/// Longest Request-URI; longer is 414.
pub const REQUEST_URI_BYTES_MAX: usize = 4096;

/// Most Via elements of one request. More than a Max-Forwards of 70 lets through is a flood.
pub const VIAS_MAX: usize = 80;

/// How to refuse a request, or why to drop a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Status of the response to send.
    pub status: u16,
    /// Its reason phrase: names what is wrong.
    pub reason: &'static str,
}

const fn bad(reason: &'static str) -> Invalid {
    Invalid { status: 400, reason }
}

/// Header fields that may occur once (§7.3.1 and the table of §20).
const SINGLETONS: [(HeaderName, Invalid); 9] = [
    (HeaderName::From, bad("Several From")),
    (HeaderName::To, bad("Several To")),
    (HeaderName::CallId, bad("Several Call-ID")),
    (HeaderName::CSeq, bad("Several CSeq")),
    (HeaderName::MaxForwards, bad("Several Max-Forwards")),
    (HeaderName::ContentLength, bad("Several Content-Length")),
    (HeaderName::ContentType, bad("Several Content-Type")),
    (HeaderName::SessionExpires, bad("Several Session-Expires")),
    (HeaderName::Replaces, bad("Several Replaces")),
];

/// Checks a request.
pub fn request(message: &Message<'_>) -> Result<(), Invalid> {
    if !message.version_supported() {
        return Err(Invalid {
            status: 505,
            reason: "Version Not Supported",
        });
    }
    request_uri(message.request_uri())?;
    dialog_headers(message)?;
    let cseq = message
        .cseq()
        .map_err(|e| header(e, "Missing CSeq", "Bad CSeq"))?;
    if cseq.method_bytes != message.method_bytes() {
        // RFC 4475 §3.1.2.18: who does not know the method cannot know what its CSeq should say.
        return Err(match message.method() {
            Method::Other => Invalid {
                status: 501,
                reason: "Not Implemented",
            },
            _ => bad("CSeq Method Mismatch"),
        });
    }
    message.max_forwards().map_err(|_| bad("Bad Max-Forwards"))?;
    let mut vias = 0;
    for via in message.vias() {
        let via = via.map_err(|_| bad("Bad Via"))?;
        // The cookie promises a transaction identifier behind it (RFC 4475 §3.2.1).
        if vias == 0
            && via
                .branch
                .is_some_and(|branch| branch.eq_ignore_ascii_case(b"z9hG4bK"))
        {
            return Err(bad("Empty Via Branch"));
        }
        vias += 1;
    }
    match vias {
        0 => Err(bad("Missing Via")),
        1..=VIAS_MAX => Ok(()),
        _ => Err(bad("Too Many Via")),
    }
}

/// Checks a response; `Err` means: drop it. A second Via element means that it was meant for a proxy
/// (§8.1.3.3).
pub fn response(message: &Message<'_>) -> Result<(), Invalid> {
    if !message.version_supported() {
        return Err(bad("Version Not Supported"));
    }
    dialog_headers(message)?;
    message
        .cseq()
        .map_err(|e| header(e, "Missing CSeq", "Bad CSeq"))?;
    message
        .top_via()
        .map_err(|e| header(e, "Missing Via", "Bad Via"))?;
    if message.list(HeaderName::Via).nth(1).is_some() {
        return Err(bad("Several Via"));
    }
    Ok(())
}

/// 416 before 400: a scheme we do not serve is not for us to find fault with.
fn request_uri(raw: &[u8]) -> Result<(), Invalid> {
    if raw.len() > REQUEST_URI_BYTES_MAX {
        return Err(Invalid {
            status: 414,
            reason: "Request-URI Too Long",
        });
    }
    let uri = Uri::parse(raw).map_err(|_| bad("Bad Request-URI"))?;
    if uri.scheme == super::Scheme::Other {
        return Err(Invalid {
            status: 416,
            reason: "Unsupported URI Scheme",
        });
    }
    // §19.1.1: headers are not allowed there.
    if !uri.headers.is_empty() {
        return Err(bad("Headers in Request-URI"));
    }
    Ok(())
}

/// What request and response have in common.
fn dialog_headers(message: &Message<'_>) -> Result<(), Invalid> {
    for (name, invalid) in SINGLETONS {
        if message.is_repeated(name) {
            return Err(invalid);
        }
    }
    message
        .call_id()
        .map_err(|e| header(e, "Missing Call-ID", "Bad Call-ID"))?;
    message
        .from()
        .map_err(|e| header(e, "Missing From", "Bad From"))?;
    message.to().map_err(|e| header(e, "Missing To", "Bad To"))?;
    message.contact().map_err(|_| bad("Bad Contact"))?;
    Ok(())
}

fn header(error: HeaderError, missing: &'static str, malformed: &'static str) -> Invalid {
    bad(if error == HeaderError::Missing {
        missing
    } else {
        malformed
    })
}
