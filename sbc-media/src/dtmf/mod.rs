//! DTMF digits: as RTP events ([`event`], RFC 4733) and as pairs of tones ([`inband`], ITU-T Q.23).
//!
//! Both have a receiving half, which tells of every digit once when it begins and once when it ends, and a
//! sending half, which is given digits and says what to send in each packet time. Joined, they convert.

pub mod event;
pub mod inband;

use thiserror::Error;

/// Frequencies of the rows of a telephone's keypad, in Hz (Q.23).
pub const LOW_HZ: [u16; 4] = [697, 770, 852, 941];
/// Frequencies of its columns, in Hz (Q.23).
pub const HIGH_HZ: [u16; 4] = [1209, 1336, 1477, 1633];

/// The keypad, row by row: the event code of each key.
const KEYPAD: [[u8; 4]; 4] = [[1, 2, 3, 12], [4, 5, 6, 13], [7, 8, 9, 14], [10, 0, 11, 15]];
/// The character of each event code.
const CHARACTERS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

/// One of the sixteen: `0` to `9`, `*`, `#`, `A` to `D`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digit(u8);

impl Digit {
    /// The digit of an event code (RFC 4733 table 3), 0 to 15; other codes are no digits.
    pub const fn from_code(code: u8) -> Option<Self> {
        if code < 16 { Some(Self(code)) } else { None }
    }

    /// The event code (RFC 4733 table 3).
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The digit that a character names; letters in either case.
    pub fn from_char(character: char) -> Option<Self> {
        let upper = character.to_ascii_uppercase();
        let code = CHARACTERS.iter().position(|&known| known == upper)?;
        Self::from_code(code as u8)
    }

    /// The character that names the digit; letters in upper case.
    pub const fn as_char(self) -> char {
        CHARACTERS[self.0 as usize]
    }

    /// The digit in a row and column of the keypad, each 0 to 3.
    fn at(row: usize, column: usize) -> Option<Self> {
        KEYPAD.get(row)?.get(column).copied().map(Self)
    }

    /// The low and the high frequency, in Hz (Q.23).
    pub fn frequencies(self) -> (u16, u16) {
        let place = KEYPAD.iter().zip(LOW_HZ).find_map(|(keys, low)| {
            let column = keys.iter().position(|&code| code == self.0)?;
            Some((low, HIGH_HZ[column]))
        });
        // Every code is on the keypad.
        place.unwrap_or((LOW_HZ[3], HIGH_HZ[1]))
    }
}

/// What a receiving half tells. For each digit one `Began` and then one `Ended`, never two digits at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A digit has begun.
    Began(Digit),
    /// The digit that has begun is over.
    Ended {
        /// Which.
        digit: Digit,
        /// How long it was, as far as is known, in units of the RTP clock (1/8000 s).
        duration: u32,
    },
}

/// The digit was not taken: as many as can be remembered are waiting to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("too many digits are waiting to be sent")]
pub struct Full;

/// How a sending half spaces digits, in units of the RTP clock (1/8000 s).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The time of a packet.
    pub ptime: u32,
    /// No digit is shorter.
    pub tone_min: u32,
    /// No pause between two digits is shorter.
    pub gap_min: u32,
}

impl Default for Timing {
    /// 20 ms packets, and 80 ms on and 60 ms off: well over the 40 ms that every receiver of Q.24 table A-1
    /// takes, also when a packet is lost.
    fn default() -> Self {
        Self {
            ptime: 160,
            tone_min: 640,
            gap_min: 480,
        }
    }
}

/// Most digits that a sending half remembers.
pub const PENDING_MAX: usize = 32;

/// Digits that wait to be sent. The first one stays until it has been sent, so that its end can still be set.
#[derive(Clone, Debug)]
struct Pending {
    items: [(Digit, Option<u32>); PENDING_MAX],
    first: usize,
    len: usize,
}

impl Pending {
    const fn new() -> Self {
        Self {
            items: [(Digit(0), None); PENDING_MAX],
            first: 0,
            len: 0,
        }
    }

    /// Append a digit; without a duration it is still being pressed.
    fn push(&mut self, digit: Digit, duration: Option<u32>) -> Result<(), Full> {
        if self.len == PENDING_MAX {
            return Err(Full);
        }
        // Whoever presses the next key has left the one before.
        self.end(0);
        self.items[(self.first + self.len) % PENDING_MAX] = (digit, duration);
        self.len += 1;
        Ok(())
    }

    /// Set the duration of the last digit, if it is still being pressed.
    fn end(&mut self, duration: u32) {
        if self.len > 0 {
            let (_, last) = &mut self.items[(self.first + self.len - 1) % PENDING_MAX];
            last.get_or_insert(duration);
        }
    }

    fn front(&self) -> Option<(Digit, Option<u32>)> {
        (self.len > 0).then(|| self.items[self.first])
    }

    const fn len(&self) -> usize {
        self.len
    }

    fn pop(&mut self) {
        if self.len > 0 {
            self.first = (self.first + 1) % PENDING_MAX;
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_has_its_names() {
        for (code, character) in CHARACTERS.iter().enumerate() {
            let digit = Digit::from_code(code as u8).unwrap();
            assert_eq!(digit.as_char(), *character);
            assert_eq!(Digit::from_char(character.to_ascii_lowercase()), Some(digit));
            let (low, high) = digit.frequencies();
            let row = LOW_HZ.iter().position(|&hz| hz == low).unwrap();
            let column = HIGH_HZ.iter().position(|&hz| hz == high).unwrap();
            assert_eq!(Digit::at(row, column), Some(digit));
            assert_eq!(
                ["123A", "456B", "789C", "*0#D"][row].chars().nth(column),
                Some(*character)
            );
        }
        assert_eq!(Digit::from_code(16), None);
        assert_eq!(Digit::from_char('E'), None);
    }

    #[test]
    fn pending_digits_keep_their_order_and_are_bounded() {
        let mut pending = Pending::new();
        for round in 0..3u8 {
            for n in 0..PENDING_MAX as u32 {
                pending.push(Digit((n % 16) as u8), Some(n)).unwrap();
            }
            assert_eq!(pending.push(Digit(0), None), Err(Full), "round {round}");
            for n in 0..PENDING_MAX as u32 {
                assert_eq!(pending.front(), Some((Digit((n % 16) as u8), Some(n))));
                pending.pop();
            }
            assert_eq!(pending.front(), None);
        }
        pending.push(Digit(5), None).unwrap();
        pending.push(Digit(6), None).unwrap();
        pending.end(900);
        pending.end(1);
        assert_eq!(pending.front(), Some((Digit(5), Some(0))));
        pending.pop();
        assert_eq!(pending.front(), Some((Digit(6), Some(900))));
    }
}
