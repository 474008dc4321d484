//! A telephone number in its canonical form (ITU-T E.164 §6): country code and national significant number, 15
//! digits at most, without `+` and without the prefixes that are dialled before it.

use std::{borrow::Borrow, fmt};

/// A number of the public telephone network. What routes are looked up by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct E164 {
    /// Behind `len`, zeros: equal numbers have equal bytes.
    digits: [u8; Self::DIGITS_MAX],
    len: u8,
}

impl E164 {
    /// Most digits (E.164 §6.2.1).
    pub const DIGITS_MAX: usize = 15;
    /// Fewest digits that are taken for a number behind `+` or an international prefix: country code and number of the
    /// smallest networks have more, short codes fewer.
    pub const DIGITS_MIN: usize = 5;

    /// The number that `digits` spells, country code first. `None`: not only digits, too few or too many, or no
    /// country code begins so.
    pub fn new(digits: &str) -> Option<Self> {
        let bytes = digits.as_bytes();
        let fits = (Self::DIGITS_MIN..=Self::DIGITS_MAX).contains(&bytes.len());
        if !fits || bytes.first() == Some(&b'0') || !bytes.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut number = Self {
            digits: [0; Self::DIGITS_MAX],
            len: bytes.len() as u8,
        };
        number.digits.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(number)
    }

    /// As [`Self::new`], of two parts.
    pub(super) fn of(code: &str, significant: &str) -> Option<Self> {
        if code.len() + significant.len() > Self::DIGITS_MAX {
            return None;
        }
        let mut digits = String::with_capacity(Self::DIGITS_MAX);
        digits.push_str(code);
        digits.push_str(significant);
        Self::new(&digits)
    }

    /// The digits, country code first.
    pub fn as_str(&self) -> &str {
        let digits = self.digits.get(..usize::from(self.len)).unwrap_or_default();
        // Only digits are ever put in.
        std::str::from_utf8(digits).unwrap_or_default()
    }

    /// The country code: no code is the beginning of another one.
    pub fn country_code(&self) -> &str {
        let digits = self.as_str();
        digits.get(..code_len(digits)).unwrap_or_default()
    }
}

/// How many of `digits` are the country code (ITU-T list of assigned codes): 1 and 7 stand alone, of the others the
/// first two digits decide.
fn code_len(digits: &str) -> usize {
    match digits.as_bytes() {
        [b'1' | b'7', ..] => 1,
        [b'2', b'0' | b'7', ..] => 2,
        [b'3', b'0'..=b'4' | b'6' | b'9', ..] => 2,
        [b'4', b'0' | b'1' | b'3'..=b'9', ..] => 2,
        [b'5', b'1'..=b'8', ..] => 2,
        [b'6', b'0'..=b'6', ..] => 2,
        [b'8', b'1' | b'2' | b'4' | b'6', ..] => 2,
        [b'9', b'0'..=b'5' | b'8', ..] => 2,
        _ => 3,
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.as_str())
    }
}

impl Borrow<str> for E164 {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_nothing_else() {
        for good in ["49301", "493012345678", "123456789012345"] {
            assert_eq!(E164::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "4930",
            "0493012345",
            "+4930123",
            "1234567890123456",
            "4930x23",
            "٤٩٣٠١٢٣",
        ] {
            assert_eq!(E164::new(bad), None, "{bad}");
        }
        assert_eq!(E164::of("49", "3012345678901"), E164::new("493012345678901"));
        assert_eq!(E164::of("49", "30123456789012"), None);
    }

    #[test]
    fn the_country_code_is_told_from_the_rest() {
        for (number, code) in [
            ("12125550123", "1"),
            ("74951234567", "7"),
            ("201234567890", "20"),
            ("21612345678", "216"),
            ("27821234567", "27"),
            ("35312345678", "353"),
            ("390612345678", "39"),
            ("420212345678", "420"),
            ("49301234567", "49"),
            ("50312345678", "503"),
            ("551123456789", "55"),
            ("61212345678", "61"),
            ("67512345678", "675"),
            ("80012345678", "800"),
            ("85221234567", "852"),
            ("88312345678", "883"),
            ("919812345678", "91"),
            ("97141234567", "971"),
            ("982112345678", "98"),
            ("99412345678", "994"),
        ] {
            assert_eq!(E164::new(number).unwrap().country_code(), code);
        }
    }

    #[test]
    fn it_fits_a_register_or_two() {
        assert!(std::mem::size_of::<Option<E164>>() <= 17);
    }
}
