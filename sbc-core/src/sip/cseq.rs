//! CSeq (RFC 3261 §20.16): `4711 INVITE`.

use super::{
    HeaderError, Method,
    grammar::{is_lws, is_token, number, take_while, trim},
};

/// A sequence number and the method it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'b> {
    /// Below 2^31 (§8.1.1.5).
    pub number: u32,
    /// The method.
    pub method: Method,
    /// Its name, for [`Method::Other`].
    pub method_bytes: &'b [u8],
}

impl<'b> CSeq<'b> {
    /// Reads the value of a CSeq header field.
    pub fn parse(value: &'b [u8]) -> Result<Self, HeaderError> {
        let (digits, method) = take_while(trim(value), |b| b.is_ascii_digit());
        let value = number(digits).ok_or(HeaderError::Syntax)?;
        if !method.first().is_some_and(|&b| is_lws(b)) {
            return Err(HeaderError::Syntax);
        }
        let method_bytes = trim(method);
        if !is_token(method_bytes) {
            return Err(HeaderError::Syntax);
        }
        let number = u32::try_from(value)
            .ok()
            .filter(|&n| n < 1 << 31)
            .ok_or(HeaderError::Range)?;
        Ok(Self {
            number,
            method: Method::from_bytes(method_bytes),
            method_bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_below_two_to_the_31() {
        let cseq = CSeq::parse(b"0009\r\n INVITE").unwrap();
        assert_eq!((cseq.number, cseq.method), (9, Method::Invite));
        assert_eq!(CSeq::parse(b"2147483647 BYE").unwrap().number, 2_147_483_647);
        assert_eq!(CSeq::parse(b"2147483648 BYE"), Err(HeaderError::Range));
        assert_eq!(CSeq::parse(b"36893488147419103232 BYE"), Err(HeaderError::Range));
        for bad in [&b"1"[..], b"1BYE", b"-1 BYE", b"BYE 1", b"1 B YE", b"", b"1 "] {
            assert_eq!(
                CSeq::parse(bad),
                Err(HeaderError::Syntax),
                "{}",
                bad.escape_ascii()
            );
        }
    }
}
