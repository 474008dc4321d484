//! URIs: sip and sips (RFC 3261 §19.1), tel (RFC 3966), and others, of which only the scheme is read.

use super::{
    HeaderError, Params,
    grammar::{host_port, is_uri, slice},
};
use memchr::{memchr, memchr2};

/// The scheme of a [`Uri`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// Any other.
    Other,
}

/// A URI in its parts. Parts are raw: percent-escapes stand as they were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'b> {
    /// The whole URI.
    pub raw: &'b [u8],
    /// The scheme.
    pub scheme: Scheme,
    /// sip, sips: the user part, without the password. tel: the number.
    pub user: Option<&'b [u8]>,
    /// sip, sips: what follows the colon in the user part.
    pub password: Option<&'b [u8]>,
    /// sip, sips: host name or address, an IPv6 address with its brackets. Empty for other schemes.
    pub host: &'b [u8],
    /// sip, sips: the port when it is given.
    pub port: Option<u16>,
    /// sip, sips, tel: the part behind the first semicolon that belongs to no user part; may be empty.
    pub params: &'b [u8],
    /// sip, sips: what follows the question mark; may be empty.
    pub headers: &'b [u8],
}

impl<'b> Uri<'b> {
    /// Reads a URI, without angle brackets around it.
    pub fn parse(raw: &'b [u8]) -> Result<Self, HeaderError> {
        if !is_uri(raw) {
            return Err(HeaderError::Syntax);
        }
        let colon = memchr(b':', raw).ok_or(HeaderError::Syntax)?;
        let (scheme, rest) = (slice(raw, 0, colon), slice(raw, colon + 1, raw.len()));
        let empty = Self {
            raw,
            scheme: Scheme::Other,
            user: None,
            password: None,
            host: b"",
            port: None,
            params: b"",
            headers: b"",
        };
        if scheme.eq_ignore_ascii_case(b"sip") {
            Self {
                scheme: Scheme::Sip,
                ..empty
            }
            .sip(rest)
        } else if scheme.eq_ignore_ascii_case(b"sips") {
            Self {
                scheme: Scheme::Sips,
                ..empty
            }
            .sip(rest)
        } else if scheme.eq_ignore_ascii_case(b"tel") {
            Self {
                scheme: Scheme::Tel,
                ..empty
            }
            .tel(rest)
        } else if is_scheme(scheme) && !rest.is_empty() {
            Ok(empty)
        } else {
            Err(HeaderError::Syntax)
        }
    }

    /// The value of the URI parameter `name` (any case); empty when it has none.
    pub fn param(&self, name: &[u8]) -> Option<&'b [u8]> {
        Params::new(self.params).find(name)
    }

    /// sip or sips.
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    fn sip(mut self, rest: &'b [u8]) -> Result<Self, HeaderError> {
        // `@` can only be the end of the user part: everywhere else the grammar wants it escaped. Before it,
        // `;` and `?` belong to the user (RFC 4475 §3.1.1.9).
        let rest = match memchr(b'@', rest) {
            None => rest,
            Some(at) => {
                let info = slice(rest, 0, at);
                let colon = memchr(b':', info).unwrap_or(info.len());
                if colon == 0 {
                    return Err(HeaderError::Syntax);
                }
                self.user = Some(slice(info, 0, colon));
                self.password = info.get(colon + 1..);
                slice(rest, at + 1, rest.len())
            }
        };
        let (host, port, rest) = host_port(rest).ok_or(HeaderError::Syntax)?;
        self.host = host;
        self.port = port;
        let (params, headers) = match memchr(b'?', rest) {
            Some(mark) => (slice(rest, 0, mark), slice(rest, mark + 1, rest.len())),
            None => (rest, &b""[..]),
        };
        self.headers = headers;
        self.params = match params {
            [] => params,
            [b';', params @ ..] => params,
            _ => return Err(HeaderError::Syntax),
        };
        Ok(self)
    }

    fn tel(mut self, rest: &'b [u8]) -> Result<Self, HeaderError> {
        let end = memchr2(b';', b'?', rest).unwrap_or(rest.len());
        let number = slice(rest, 0, end);
        if number.is_empty() {
            return Err(HeaderError::Syntax);
        }
        self.user = Some(number);
        self.params = slice(rest, end + 1, rest.len());
        Ok(self)
    }
}

/// RFC 3986 §3.1.
fn is_scheme(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(u8::is_ascii_alphabetic)
        && bytes
            .iter()
            .all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sip_in_all_its_parts() {
        let uri = Uri::parse(b"sip:alice;day=tue:pw@[2001:db8::1]:5070;transport=TCP;lr?Subject=x").unwrap();
        assert_eq!(uri.scheme, Scheme::Sip);
        assert_eq!(uri.user, Some(&b"alice;day=tue"[..]));
        assert_eq!(uri.password, Some(&b"pw"[..]));
        assert_eq!(uri.host, b"[2001:db8::1]");
        assert_eq!(uri.port, Some(5070));
        assert_eq!(uri.param(b"Transport"), Some(&b"TCP"[..]));
        assert_eq!(uri.param(b"lr"), Some(&b""[..]));
        assert_eq!(uri.headers, b"Subject=x");
    }

    #[test]
    fn host_only_tel_and_others() {
        let uri = Uri::parse(b"SIPS:example.com").unwrap();
        assert_eq!(
            (uri.scheme, uri.user, uri.host, uri.port),
            (Scheme::Sips, None, &b"example.com"[..], None)
        );
        let uri = Uri::parse(b"tel:+1-201-555-0123;phone-context=x").unwrap();
        assert_eq!(
            (uri.user, uri.param(b"phone-context")),
            (Some(&b"+1-201-555-0123"[..]), Some(&b"x"[..]))
        );
        assert_eq!(
            Uri::parse(b"soap.beep://192.0.2.103:3002").unwrap().scheme,
            Scheme::Other
        );
    }

    #[test]
    fn what_is_no_uri() {
        for bad in [
            &b""[..],
            b"sip",
            b"sip:",
            b"sip:@host",
            b"sip::pw@host",
            b"sip:user@",
            b"sip:2001:db8::10",
            b"sip:user@host:port",
            b"sip:user@host:99999",
            b"sip:us er@host",
            b"<sip:user@host>",
            b"sip:user@host,x",
            b"tel:",
            b"1x:y",
            b"x:",
        ] {
            assert!(Uri::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
