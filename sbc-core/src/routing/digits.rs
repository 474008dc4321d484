//! Digits of numbers: packed prefixes, blocks of numbers, and what of a called number is looked up.

use crate::numbers::E164;
use std::{fmt, str::FromStr};

/// Up to 16 digits in one word, so that they sort as text does: the first in the highest four bits, each plus one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digits(u64);

/// Why a text is no digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigitsError {
    /// It has something else.
    #[error("it may have digits alone, after a \"+\" or without one")]
    Form,
    /// It has too many.
    #[error("it has more than {} digits", Digits::MAX)]
    TooLong,
    /// Of a block: its end is not behind its beginning.
    #[error(
        "the end of a block has as many digits as it replaces, and comes after the beginning: \"+4930123400-99\""
    )]
    Block,
    /// Of a block: it has too many numbers.
    #[error(
        "a block has at most {BLOCK_MAX} numbers: write a prefix with \"*\" behind it, or several blocks"
    )]
    TooMany,
}

/// Most numbers of one block.
const BLOCK_MAX: u64 = 1_000_000;

impl Digits {
    /// Most digits: E.164 numbers have 15.
    pub const MAX: usize = 16;
    /// None at all: what every number begins with.
    pub const NONE: Self = Self(0);

    /// How many there are.
    pub const fn len(self) -> usize {
        Self::MAX - (self.0.trailing_zeros() / 4) as usize
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The one at `at`, counted from 0.
    pub const fn at(self, at: usize) -> Option<u8> {
        if at >= Self::MAX {
            return None;
        }
        match (self.0 >> (60 - 4 * at)) & 0xf {
            0 => None,
            nibble => Some(nibble as u8 - 1),
        }
    }

    /// These and one more. `None`: there is no room, or it is no digit.
    pub fn with(self, digit: u8) -> Option<Self> {
        let len = self.len();
        (len < Self::MAX && digit < 10).then(|| Self(self.0 | u64::from(digit + 1) << (60 - 4 * len)))
    }

    /// The first `len` of them.
    pub fn first(self, len: usize) -> Self {
        match len {
            0 => Self::NONE,
            1..Self::MAX => Self(self.0 & (u64::MAX << (64 - 4 * len))),
            _ => self,
        }
    }
}

impl FromStr for Digits {
    type Err = DigitsError;

    fn from_str(text: &str) -> Result<Self, DigitsError> {
        let text = text.strip_prefix('+').unwrap_or(text);
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(DigitsError::Form);
        }
        let mut digits = Self::NONE;
        for byte in text.bytes() {
            digits = digits.with(byte - b'0').ok_or(DigitsError::TooLong)?;
        }
        Ok(digits)
    }
}

impl fmt::Display for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.len()).try_for_each(|at| write!(f, "{}", self.at(at).unwrap_or_default()))
    }
}

impl fmt::Debug for Digits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digits({self})")
    }
}

/// The numbers of `text`: one number, a block as `+4930123400-99` (its last digits run from `00` to `99`), or all that begin
/// alike as `+4930123*`. The result is prefixes, and how many digits the whole numbers have; 0: any.
pub fn block(text: &str) -> Result<(Vec<Digits>, u8, u32), DigitsError> {
    if let Some(prefix) = text.strip_suffix('*') {
        let prefix: Digits = prefix.parse()?;
        return if prefix.is_empty() {
            Err(DigitsError::Form)
        } else {
            Ok((vec![prefix], 0, u32::MAX))
        };
    }
    let (first, last) = text
        .split_once('-')
        .map_or((text, None), |(first, last)| (first, Some(last)));
    let first: Digits = first.parse()?;
    let len = first.len();
    if first.is_empty() {
        return Err(DigitsError::Form);
    }
    let Some(last) = last else {
        return Ok((vec![first], len as u8, 1));
    };
    let tail = last.len();
    if tail == 0 || tail >= len || !last.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DigitsError::Block);
    }
    let begin = (len - tail..len).fold(0u64, |n, at| 10 * n + u64::from(first.at(at).unwrap_or_default()));
    let end: u64 = last.parse().map_err(|_| DigitsError::Block)?;
    if end <= begin {
        return Err(DigitsError::Block);
    }
    let count = end - begin + 1;
    if count > BLOCK_MAX {
        return Err(DigitsError::TooMany);
    }
    let mut prefixes = Vec::new();
    let mut at = begin;
    while at <= end {
        // The largest round piece that begins here and does not go past the end.
        let mut zeros = 0;
        while zeros < tail {
            let size = 10u64.pow(zeros as u32 + 1);
            if at % size != 0 || at + size - 1 > end {
                break;
            }
            zeros += 1;
        }
        let size = 10u64.pow(zeros as u32);
        let mut prefix = first.first(len - tail);
        for place in (zeros..tail).rev() {
            let digit = (at / 10u64.pow(place as u32) % 10) as u8;
            prefix = prefix.with(digit).ok_or(DigitsError::TooLong)?;
        }
        prefixes.push(prefix);
        at += size;
    }
    Ok((prefixes, len as u8, count as u32))
}

/// What of a called party is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted<'n> {
    /// The digits as they were dialled, without a `+`: emergency numbers are known by them. Empty: no number.
    pub dialled: &'n [u8],
    /// The digits of the number that they mean, its country code first; what was dialled, when it means none. Empty: the
    /// call takes the fallback.
    pub number: &'n [u8],
}

impl<'n> Wanted<'n> {
    /// Of a user part, and of the number that it means by the rules of the trunk that it came from.
    pub fn of(user: &'n str, number: Option<&'n E164>) -> Self {
        let digits = user.strip_prefix('+').unwrap_or(user).as_bytes();
        let dialled = match digits.iter().all(u8::is_ascii_digit) {
            true => digits,
            false => &[],
        };
        Self {
            dialled,
            number: number.map_or(dialled, |number| number.as_str().as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        block(text).unwrap().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn digits_are_kept_and_sort_as_text() {
        for text in ["", "0", "49", "4930", "0000", "9999999999999999"] {
            let digits: Digits = text.parse().unwrap();
            assert_eq!((digits.to_string().as_str(), digits.len()), (text, text.len()));
        }
        let mut words = ["1", "10", "0", "09", "5", "49", "490"];
        let mut digits = words.map(|word| word.parse::<Digits>().unwrap());
        words.sort_unstable();
        digits.sort_unstable();
        assert_eq!(digits.map(|digits| digits.to_string()), words);
        assert_eq!("+4930".parse::<Digits>().unwrap().first(2).to_string(), "49");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        assert_eq!("49a".parse::<Digits>(), Err(DigitsError::Form));
        assert_eq!("++49".parse::<Digits>(), Err(DigitsError::Form));
        assert_eq!("12345678901234567".parse::<Digits>(), Err(DigitsError::TooLong));
        for text in ["", "*", "+"] {
            assert_eq!(block(text), Err(DigitsError::Form), "{text}");
        }
        for text in ["4930-", "493010-10", "493010-09", "49-123", "4930-1-2", "4930-1a"] {
            assert_eq!(block(text), Err(DigitsError::Block), "{text}");
        }
        assert_eq!(block("49300000000-9999999"), Err(DigitsError::TooMany));
    }

    #[test]
    fn blocks_become_few_prefixes() {
        assert_eq!(
            block("+4930123400-99").unwrap(),
            (vec!["49301234".parse().unwrap()], 10, 100)
        );
        assert_eq!(texts("1200-1"), ["1200", "1201"]);
        assert_eq!(texts("1208-13"), ["1208", "1209", "1210", "1211", "1212", "1213"]);
        assert_eq!(texts("1295-99"), ["1295", "1296", "1297", "1298", "1299"]);
        assert_eq!(texts("1000-999"), ["1"]);
        assert_eq!(texts("1090-120"), ["109", "110", "111", "1120"]);
        assert_eq!(block("1234*").unwrap().1, 0);
    }

    #[test]
    fn what_is_looked_up() {
        let dialled = |user| Wanted::of(user, None);
        for (user, digits) in [("+4930", "4930"), ("4930", "4930"), ("alice", ""), ("49x", "")] {
            let digits = digits.as_bytes();
            assert_eq!(
                dialled(user),
                Wanted {
                    dialled: digits,
                    number: digits
                },
                "{user}"
            );
        }
        let number = E164::new("493012345");
        let wanted = Wanted::of("030-12345", number.as_ref());
        assert_eq!((wanted.dialled, wanted.number), (&b""[..], &b"493012345"[..]));
        let wanted = Wanted::of("03012345", number.as_ref());
        assert_eq!(
            (wanted.dialled, wanted.number),
            (&b"03012345"[..], &b"493012345"[..])
        );
    }
}
