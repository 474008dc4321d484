//! The master key identifier (MKI): what packets name their key by, where a side has said that they do.

use core::fmt;

/// Most octets of a master key identifier (RFC 4568 §6.1).
pub const MKI_LEN_MAX: usize = 128;

/// A master key identifier (RFC 3711 §3.1): as many octets in each packet as its length says, 1 to [`MKI_LEN_MAX`],
/// and in SDP a whole number. It is no secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Mki(Box<[u8]>);

impl Mki {
    /// The identifier with these octets; `None`: none, or more than [`MKI_LEN_MAX`].
    pub fn new(octets: &[u8]) -> Option<Self> {
        (1..=MKI_LEN_MAX)
            .contains(&octets.len())
            .then(|| Self(octets.into()))
    }

    /// The one of `len` octets, the first of which is the most significant, with this value in decimal digits
    /// (RFC 4568 §6.1). `None`: no number, or not one that fits such a length.
    pub fn of_decimal(value: &str, len: usize) -> Option<Self> {
        let mut octets = Self::new([0; MKI_LEN_MAX].get(..len)?)?;
        let digits = value
            .bytes()
            .map(|digit| digit.is_ascii_digit().then(|| u16::from(digit - b'0')));
        let mut seen = false;
        for digit in digits {
            let mut carry = digit?;
            seen = true;
            for octet in octets.0.iter_mut().rev() {
                let sum = u16::from(*octet) * 10 + carry;
                (*octet, carry) = (sum as u8, sum >> 8);
            }
            if carry > 0 {
                return None;
            }
        }
        seen.then_some(octets)
    }

    /// What stands in packets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

/// The value in decimal digits.
impl fmt::Display for Mki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.to_vec();
        let mut digits = Vec::new();
        while rest.iter().any(|octet| *octet > 0) || digits.is_empty() {
            let mut remainder = 0;
            for octet in &mut rest {
                let value = remainder << 8 | u16::from(*octet);
                (*octet, remainder) = ((value / 10) as u8, value % 10);
            }
            digits.push(char::from(b'0' + remainder as u8));
        }
        digits.iter().rev().try_for_each(|digit| write!(f, "{digit}"))
    }
}

impl fmt::Debug for Mki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mki({self}:{})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_fits_its_length_or_is_none() {
        for (value, len, octets) in [
            ("1", 1, &[1][..]),
            ("1", 4, &[0, 0, 0, 1]),
            ("0", 2, &[0, 0]),
            ("007", 1, &[7]),
            ("255", 1, &[255]),
            ("66051", 3, &[1, 2, 3]),
        ] {
            assert_eq!(Mki::of_decimal(value, len), Mki::new(octets), "{value}:{len}");
        }
        for (value, len) in [
            ("256", 1),
            ("1", 0),
            ("1", 129),
            ("", 1),
            ("-1", 1),
            ("1a", 4),
            ("65536", 2),
        ] {
            assert_eq!(Mki::of_decimal(value, len), None, "{value}:{len}");
        }
        assert_eq!((Mki::new(&[]), Mki::new(&[1; 129])), (None, None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(octets in prop::collection::vec(any::<u8>(), 1..=MKI_LEN_MAX)) {
            let mki = Mki::new(&octets).unwrap();
            prop_assert_eq!(mki.octets(), &octets[..]);
            let text = mki.to_string();
            prop_assert!(text == "0" || !text.starts_with('0'));
            prop_assert_eq!(Mki::of_decimal(&text, octets.len()), Some(mki));
        }
    }
}
