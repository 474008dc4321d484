//! What a certificate says: whom it is for and how long.
//!
//! Names come from webpki, which has checked the structure by then; the time of validity, which it
//! does not tell, is read here from the DER, for our own certificates only.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// One of our own certificates.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) names: Vec<String>,
    /// Seconds since 1970 when it begins and ends to be valid.
    pub(super) validity: (u64, u64),
}

impl Certificate {
    pub(super) fn parse(der: &CertificateDer<'_>) -> Option<Self> {
        let parsed = EndEntityCert::try_from(der).ok()?;
        let dns = parsed.valid_dns_names().map(str::to_owned);
        let uris = parsed.valid_uri_names().map(str::to_owned);
        Some(Self {
            names: dns.chain(uris).collect(),
            validity: validity(der)?,
        })
    }
}

/// The identities of a SIP peer (RFC 5922 §7.1), in lower case: DNS names, and the hosts of `sip:`
/// URIs without a user part.
pub(super) fn identities(der: &CertificateDer<'_>) -> Vec<Box<str>> {
    let Ok(parsed) = EndEntityCert::try_from(der) else {
        return Vec::new();
    };
    let mut names: Vec<Box<str>> = parsed
        .valid_dns_names()
        .map(|name| name.to_ascii_lowercase().into())
        .collect();
    for domain in sip_domains(der) {
        if !names.contains(&domain) {
            names.push(domain);
        }
    }
    names
}

/// The domains that `sip:` URIs of the certificate name, in lower case.
pub(super) fn sip_domains(der: &CertificateDer<'_>) -> Vec<Box<str>> {
    let Ok(parsed) = EndEntityCert::try_from(der) else {
        return Vec::new();
    };
    parsed.valid_uri_names().filter_map(sip_domain).collect()
}

fn sip_domain(uri: &str) -> Option<Box<str>> {
    let (scheme, rest) = uri.split_once(':')?;
    let end = rest.find([';', '?']).unwrap_or(rest.len());
    let host = rest.get(..end)?;
    // With a user part it is the certificate of a person, not of a domain.
    let is_domain = scheme.eq_ignore_ascii_case("sip") && !rest.contains('@') && !host.is_empty();
    let host = host.rsplit_once(':').map_or(host, |(host, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) {
            host
        } else {
            ""
        }
    });
    (is_domain && !host.is_empty()).then(|| host.to_ascii_lowercase().into())
}

/// `Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { version [0], serialNumber, signature, issuer,
/// validity SEQUENCE { notBefore, notAfter } ...` (RFC 5280 §4.1).
fn validity(der: &[u8]) -> Option<(u64, u64)> {
    let certificate = take(&mut &*der, SEQUENCE)?;
    let mut tbs = take(&mut &*certificate, SEQUENCE)?;
    if tbs.first() == Some(&VERSION) {
        take(&mut tbs, VERSION)?;
    }
    take(&mut tbs, INTEGER)?;
    take(&mut tbs, SEQUENCE)?;
    take(&mut tbs, SEQUENCE)?;
    let mut validity = take(&mut tbs, SEQUENCE)?;
    Some((time(&mut validity)?, time(&mut validity)?))
}

/// The contents of the next element, which must have this tag.
fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&[found, short], rest) = input.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (len, rest) = match short {
        0..=0x7F => (usize::from(short), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(short & 0x7F))?;
            (
                bytes.iter().fold(0, |len, &byte| len << 8 | usize::from(byte)),
                rest,
            )
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    *input = rest;
    Some(contents)
}

/// `YYMMDDHHMMSSZ` with years from 1950 to 2049, or `YYYYMMDDHHMMSSZ`.
fn time(input: &mut &[u8]) -> Option<u64> {
    let (text, century) = match input.first()? {
        &UTC_TIME => (take(input, UTC_TIME)?, None),
        _ => {
            let text = take(input, GENERALIZED_TIME)?;
            let (century, rest) = text.split_at_checked(2)?;
            (rest, Some(number(century)?))
        }
    };
    let field = |n: usize| number(text.get(2 * n..2 * n + 2)?);
    let (year, month, day) = (field(0)?, field(1)?, field(2)?);
    let year = match century {
        Some(century) => century * 100 + year,
        None if year < 50 => 2000 + year,
        None => 1900 + year,
    };
    let days = days_since_1970(year, month, day)?;
    Some(((days * 24 + field(3)?) * 60 + field(4)?) * 60 + field(5)?)
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that begin in March, so that the day of a leap year comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = year * 365 + leap_days + (153 * month + 2) / 5 + day - 1;
    days.checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_count_from_1970() {
        for (date, days) in [
            ((1970, 1, 1), 0),
            ((1970, 3, 1), 59),
            ((2000, 2, 29), 11_016),
            ((2000, 3, 1), 11_017),
            ((2024, 12, 31), 20_088),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(days_since_1970(date.0, date.1, date.2), Some(days), "{date:?}");
        }
        assert_eq!(days_since_1970(1969, 12, 31), None);
        assert_eq!(days_since_1970(2000, 13, 1), None);
    }

    #[test]
    fn both_kinds_of_time_are_read() {
        let utc = |text: &str| {
            let der = [&[UTC_TIME, text.len() as u8], text.as_bytes()].concat();
            time(&mut &*der)
        };
        assert_eq!(utc("700101000001Z"), Some(1));
        assert_eq!(utc("491231235959Z"), Some(2_524_607_999));
        assert_eq!(utc("4912"), None);
        let der = [&[GENERALIZED_TIME, 15], &b"20500101000000Z"[..]].concat();
        assert_eq!(time(&mut &*der), Some(2_524_608_000));
    }

    #[test]
    fn the_host_of_a_sip_uri_is_a_domain() {
        for (uri, domain) in [
            ("sip:Example.com", Some("example.com")),
            ("SIP:example.com;transport=tls", Some("example.com")),
            ("sip:example.com:5061", Some("example.com")),
            ("sip:alice@example.com", None),
            ("sips:example.com", None),
            ("https://example.com", None),
            ("sip:", None),
            ("sip::5061", None),
            ("urn:x", None),
        ] {
            assert_eq!(sip_domain(uri).as_deref(), domain, "{uri}");
        }
    }

    #[test]
    fn cut_der_is_no_certificate() {
        let whole = [SEQUENCE, 4, SEQUENCE, 2, INTEGER, 0];
        for len in 0..=whole.len() {
            assert_eq!(validity(&whole[..len]), None);
        }
        assert_eq!(validity(&[SEQUENCE, 0x84, 0xFF, 0xFF, 0xFF, 0xFF]), None);
    }
}
