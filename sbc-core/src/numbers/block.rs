//! Numbers that an operator names together: one, a block, or all that begin alike.

use super::E164;
use std::{fmt, str::FromStr};

/// Some numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// From the first to the last, both included, of the same length.
    Range(E164, E164),
    /// Whatever begins so.
    Prefix(Box<str>),
}

impl Block {
    /// Whether `number` is one of them.
    pub fn has(&self, number: &E164) -> bool {
        match self {
            Self::Range(first, last) => {
                let same = number.as_str().len() == first.as_str().len();
                same && (first..=last).contains(&number)
            }
            Self::Prefix(prefix) => number.as_str().starts_with(&**prefix),
        }
    }
}

impl FromStr for Block {
    type Err = String;

    /// `+4930123456`, `+4930123400-+4930123499` or `+49301234*`; the error says why it is none of these.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let number = text.strip_prefix('+').and_then(E164::new);
            number.ok_or_else(|| "a number has a + and 5 to 15 digits".to_owned())
        };
        if let Some(prefix) = text.strip_suffix('*') {
            let digits = prefix.strip_prefix('+').unwrap_or_default();
            let fits = (1..=E164::DIGITS_MAX).contains(&digits.len());
            return match fits && !digits.starts_with('0') && digits.bytes().all(|c| c.is_ascii_digit()) {
                true => Ok(Self::Prefix(digits.into())),
                false => Err("before the * there are a + and digits".to_owned()),
            };
        }
        let Some((first, last)) = text.split_once('-') else {
            return number(text).map(|number| Self::Range(number, number));
        };
        let (first, last) = (number(first)?, number(last)?);
        match first <= last && first.as_str().len() == last.as_str().len() {
            true => Ok(Self::Range(first, last)),
            false => Err("the last is before the first, or of another length".to_owned()),
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(first, last) if first == last => write!(f, "+{first}"),
            Self::Range(first, last) => write!(f, "+{first}-+{last}"),
            Self::Prefix(prefix) => write!(f, "+{prefix}*"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_several_and_all_that_begin_so() {
        for (block, inside, outside) in [
            ("+4930123456", "4930123456", "4930123457"),
            ("+4930123400-+4930123499", "4930123450", "4930123500"),
            ("+4930123400-+4930123499", "4930123499", "49301234990"),
            ("+49301234*", "493012340", "4930123567"),
        ] {
            let read: Block = block.parse().unwrap();
            assert_eq!(read.to_string(), block);
            assert!(read.has(&E164::new(inside).unwrap()), "{block} {inside}");
            assert!(!read.has(&E164::new(outside).unwrap()), "{block} {outside}");
        }
        for bad in [
            "",
            "+",
            "*",
            "+*",
            "4930123456",
            "+0301234*",
            "+49x*",
            "+4930123499-+4930123400",
            "+4930123400-99",
        ] {
            assert!(bad.parse::<Block>().is_err(), "{bad}");
        }
    }
}
