//! From, To, Contact, Route and their like (RFC 3261 §20.10): `"Alice" <sip:alice@example.com>;tag=x`.

use super::{
    HeaderError, Params, Uri,
    grammar::{is_uri, quoted, slice, trim, trim_start},
    param::{Cut, cut},
};
use memchr::{memchr, memchr3};

/// A name-addr or addr-spec with its header parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'b> {
    /// The display name without its quotes, escapes kept. `None` when there is none.
    pub display: Option<&'b [u8]>,
    /// The URI without angle brackets; `*` in the Contact of a REGISTER (§10.2.2).
    pub uri: &'b [u8],
    /// The header parameters: what follows the first semicolon behind the URI; may be empty.
    pub params: &'b [u8],
    tag: Option<&'b [u8]>,
}

impl<'b> NameAddr<'b> {
    /// Reads one element; a comma-separated value must have been split.
    pub fn parse(value: &'b [u8]) -> Result<Self, HeaderError> {
        let value = trim(value);
        let (display, uri, rest) = match value {
            [b'"', text @ ..] => {
                let (display, rest) = quoted(text).ok_or(HeaderError::Syntax)?;
                let (uri, rest) = bracketed(trim_start(rest))?;
                (Some(display), uri, rest)
            }
            _ => match memchr(b'<', value) {
                Some(open) => {
                    let display = trim(slice(value, 0, open));
                    // Unquoted, only tokens may stand here. Peers put in brackets, slashes and UTF-8; those
                    // confuse nobody. What separates elements or parameters does.
                    if memchr3(b',', b'"', b';', display).is_some() {
                        return Err(HeaderError::Syntax);
                    }
                    let (uri, rest) = bracketed(slice(value, open, value.len()))?;
                    ((!display.is_empty()).then_some(display), uri, rest)
                }
                None => {
                    let (uri, rest) = addr_spec(value)?;
                    (None, uri, rest)
                }
            },
        };
        let params = match trim_start(rest) {
            [b';', params @ ..] => params,
            _ => b"",
        };
        // §7.3.1: no parameter twice. Of two tags, one reader would take the first, another the second.
        let mut tag = None;
        let mut rest = rest;
        loop {
            match cut(&mut rest) {
                Cut::Param(name, value) if name.eq_ignore_ascii_case(b"tag") => {
                    if tag.replace(value.unwrap_or_default()).is_some() {
                        return Err(HeaderError::Syntax);
                    }
                }
                Cut::Param(..) => {}
                Cut::End => {
                    return Ok(Self {
                        display,
                        uri,
                        params,
                        tag: tag.filter(|tag| !tag.is_empty()),
                    });
                }
                Cut::Bad => return Err(HeaderError::Syntax),
            }
        }
    }

    /// The tag parameter (§19.3); `None` when it is missing or empty.
    pub fn tag(&self) -> Option<&'b [u8]> {
        self.tag
    }

    /// The value of the header parameter `name` (any case); empty when it has none.
    pub fn param(&self, name: &[u8]) -> Option<&'b [u8]> {
        Params::new(self.params).find(name)
    }

    /// The URI in its parts.
    pub fn parsed_uri(&self) -> Result<Uri<'b>, HeaderError> {
        Uri::parse(self.uri)
    }
}

/// `<uri>` and what follows.
fn bracketed(bytes: &[u8]) -> Result<(&[u8], &[u8]), HeaderError> {
    let [b'<', inside @ ..] = bytes else {
        return Err(HeaderError::Syntax);
    };
    let close = memchr(b'>', inside).ok_or(HeaderError::Syntax)?;
    let uri = slice(inside, 0, close);
    if !is_uri(uri) {
        return Err(HeaderError::Syntax);
    }
    Ok((uri, slice(inside, close + 1, inside.len())))
}

/// A URI without brackets: it ends at the first semicolon, and a comma or question mark in it would be
/// ambiguous (§20.10).
fn addr_spec(bytes: &[u8]) -> Result<(&[u8], &[u8]), HeaderError> {
    let end = memchr(b';', bytes).unwrap_or(bytes.len());
    let uri = trim(slice(bytes, 0, end));
    let ambiguous = uri.iter().any(|b| matches!(b, b'?' | b','));
    if ambiguous || !is_uri(uri) {
        return Err(HeaderError::Syntax);
    }
    Ok((uri, slice(bytes, end, bytes.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_addr_with_and_without_quotes() {
        let a =
            NameAddr::parse(b"\"A. \\\"B\\\" <x>\" <sip:a@b;lr>\r\n ;tag = 98asjd8;x=\"q;tag=no\"").unwrap();
        assert_eq!(a.display, Some(&b"A. \\\"B\\\" <x>"[..]));
        assert_eq!(a.uri, b"sip:a@b;lr");
        assert_eq!(a.tag(), Some(&b"98asjd8"[..]));
        assert_eq!(a.param(b"X"), Some(&b"q;tag=no"[..]));
        assert_eq!(a.parsed_uri().unwrap().host, b"b");

        let a = NameAddr::parse(b"Alice  Liddell<sip:a@b>").unwrap();
        assert_eq!(
            (a.display, a.uri, a.params),
            (Some(&b"Alice  Liddell"[..]), &b"sip:a@b"[..], &b""[..])
        );
        assert_eq!(NameAddr::parse(b"<sip:a@b>").unwrap().display, None);
        assert_eq!(NameAddr::parse(b"\"\"<sip:a@b>").unwrap().display, Some(&b""[..]));
    }

    #[test]
    fn addr_spec_parameters_belong_to_the_header() {
        let a = NameAddr::parse(b"sip:a@b ; tag=1;transport=udp").unwrap();
        assert_eq!((a.uri, a.tag()), (&b"sip:a@b"[..], Some(&b"1"[..])));
        assert_eq!(a.param(b"transport"), Some(&b"udp"[..]));
        assert_eq!(NameAddr::parse(b"*").unwrap().uri, b"*");
    }

    #[test]
    fn an_empty_tag_is_no_tag() {
        assert_eq!(NameAddr::parse(b"<sip:a@b>;tag=").unwrap().tag(), None);
        assert_eq!(NameAddr::parse(b"<sip:a@b>;tag").unwrap().tag(), None);
        assert_eq!(NameAddr::parse(b"<sip:a@b>;tagg=1").unwrap().tag(), None);
    }

    #[test]
    fn refused() {
        for bad in [
            &b""[..],
            b"\"never closed <sip:a@b>",
            b"\"x\" sip:a@b",
            b"<sip:a@b",
            b"< sip:a@b >",
            b"<>",
            b"Bell, Alexander <sip:a@b>",
            b"sip:a@b?Route=x",
            b"sip:a@b, sip:c@d",
            b"sip:a b@c",
            b"<sip:a@b> junk",
            b"<sip:a@b>;;tag=1",
            b"<sip:a@b>;x=\"open",
        ] {
            assert!(NameAddr::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
