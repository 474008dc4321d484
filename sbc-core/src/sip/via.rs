//! Via (RFC 3261 §20.42): `SIP/2.0/UDP host:port;branch=z9hG4bK…`.

use super::{
    HeaderError, Params,
    grammar::{host_port, is_lws, is_token_byte, number, slice, take_while, trim, trim_start},
    param::{Cut, cut},
};

/// One Via element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'b> {
    /// `UDP`, `TCP`, `TLS`, … in the sender's case.
    pub transport: &'b [u8],
    /// Host of sent-by, an IPv6 address with its brackets.
    pub host: &'b [u8],
    /// Port of sent-by.
    pub port: Option<u16>,
    /// The branch; `None` when it is missing or empty.
    pub branch: Option<&'b [u8]>,
    /// The address the message came from, as the receiver before us noted it. Brackets around an IPv6
    /// address occur and are kept.
    pub received: Option<&'b [u8]>,
    /// RFC 3581: `Some(None)` asks for the source port, `Some(Some(port))` gives it.
    pub rport: Option<Option<u16>>,
    /// The parameters behind the first semicolon; may be empty.
    pub params: &'b [u8],
    /// The whole element.
    pub raw: &'b [u8],
}

impl<'b> Via<'b> {
    /// Reads one element; a comma-separated value must have been split.
    pub fn parse(value: &'b [u8]) -> Result<Self, HeaderError> {
        let raw = trim(value);
        let (transport, rest) = sent_protocol(raw).ok_or(HeaderError::Syntax)?;
        let (host, port, rest) = host_port(rest).ok_or(HeaderError::Syntax)?;
        let params = match trim_start(rest) {
            [b';', params @ ..] => params,
            _ => b"",
        };
        let mut via = Self {
            transport,
            host,
            port,
            branch: None,
            received: None,
            rport: None,
            params,
            raw,
        };
        let mut rest = rest;
        loop {
            match cut(&mut rest) {
                Cut::Param(name, value) => via.param_seen(name, value)?,
                Cut::End => return Ok(via),
                Cut::Bad => return Err(HeaderError::Syntax),
            }
        }
    }

    /// The value of the parameter `name` (any case); empty when it has none.
    pub fn param(&self, name: &[u8]) -> Option<&'b [u8]> {
        Params::new(self.params).find(name)
    }

    fn param_seen(&mut self, name: &'b [u8], value: Option<&'b [u8]>) -> Result<(), HeaderError> {
        let value = value.filter(|v| !v.is_empty());
        // Of a repeated parameter the first counts, as everywhere.
        match name.len() {
            6 if self.branch.is_none() && name.eq_ignore_ascii_case(b"branch") => self.branch = value,
            8 if self.received.is_none() && name.eq_ignore_ascii_case(b"received") => self.received = value,
            5 if self.rport.is_none() && name.eq_ignore_ascii_case(b"rport") => {
                self.rport = Some(match value {
                    None => None,
                    Some(digits) => {
                        let port = number(digits).ok_or(HeaderError::Syntax)?;
                        Some(u16::try_from(port).map_err(|_| HeaderError::Range)?)
                    }
                });
            }
            _ => {}
        }
        Ok(())
    }
}

/// `SIP/2.0/transport` and white space: the transport, and what follows. White space may stand around the
/// slashes.
fn sent_protocol(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    // As nearly everybody writes it; otherwise piece by piece.
    let rest = match bytes.strip_prefix(b"SIP/2.0/") {
        Some(rest) => rest,
        None => {
            let rest = protocol_part(bytes, b"SIP")?;
            protocol_part(rest, b"2.0")?
        }
    };
    let (transport, rest) = take_while(rest, is_token_byte);
    let spaced = rest.first().is_some_and(|&b| is_lws(b));
    (!transport.is_empty() && spaced).then(|| (transport, trim_start(rest)))
}

/// `part LWS "/" LWS`, cut off.
fn protocol_part<'b>(bytes: &'b [u8], part: &[u8]) -> Option<&'b [u8]> {
    let head = bytes.get(..part.len())?;
    let rest = trim_start(slice(bytes, part.len(), bytes.len()));
    match rest {
        [b'/', rest @ ..] if head.eq_ignore_ascii_case(part) => Some(trim_start(rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_and_spaced_out() {
        let via =
            Via::parse(b"SIP/2.0/UDP 192.0.2.1:5062;branch=z9hG4bK87;rport;Received=192.0.2.9").unwrap();
        assert_eq!(
            (via.transport, via.host, via.port),
            (&b"UDP"[..], &b"192.0.2.1"[..], Some(5062))
        );
        assert_eq!(via.branch, Some(&b"z9hG4bK87"[..]));
        assert_eq!(via.rport, Some(None));
        assert_eq!(via.received, Some(&b"192.0.2.9"[..]));

        let via = Via::parse(
            b"sip  / 2.0\r\n /  TCP     spindle.example.com : 5060  ;\r\n branch  =   z9hG4bK9ikj8;rport=99",
        )
        .unwrap();
        assert_eq!(
            (via.transport, via.host),
            (&b"TCP"[..], &b"spindle.example.com"[..])
        );
        assert_eq!(
            (via.port, via.branch, via.rport),
            (Some(5060), Some(&b"z9hG4bK9ikj8"[..]), Some(Some(99)))
        );
    }

    #[test]
    fn ipv6_received_with_and_without_brackets() {
        let via = Via::parse(b"SIP/2.0/UDP [2001:db8::9:1];received=[2001:db8::9:255];branch=x").unwrap();
        assert_eq!(
            (via.host, via.received),
            (&b"[2001:db8::9:1]"[..], Some(&b"[2001:db8::9:255]"[..]))
        );
        let via = Via::parse(b"SIP/2.0/UDP [2001:db8::9:1];received=2001:db8::9:255;branch=x").unwrap();
        assert_eq!(via.received, Some(&b"2001:db8::9:255"[..]));
    }

    #[test]
    fn refused() {
        for bad in [
            &b""[..],
            b"SIP/2.0/UDP",
            b"SIP/2.0/UDP ",
            b"SIP/2.0 192.0.2.1",
            b"SIP/3.0/UDP 192.0.2.1",
            b"HTTP/2.0/UDP 192.0.2.1",
            b"SIP/2.0/UDP 192.0.2.15;;",
            b"SIP/2.0/UDP 192.0.2.15:x",
            b"SIP/2.0/UDP 192.0.2.15 junk",
            b"SIP/2.0/UDP h;rport=x",
            b"SIP/2.0/UDP h;rport=65536",
        ] {
            assert!(Via::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
