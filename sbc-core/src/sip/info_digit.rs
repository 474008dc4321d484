//! Digits in the body of an INFO request: `application/dtmf-relay` and `application/dtmf`.
//!
//! In: Content-Type and body of a peer, as the many dialects of it have them. Out: the digit and how long it is to
//! sound; and the body of an INFO of ours. No RFC has these types (RFC 6086 §3 calls them legacy usage): they are what
//! Cisco's gateways introduced and others took up.

use sbc_media::dtmf::Digit;
use std::fmt::Write as _;

/// Milliseconds that a digit lasts whose body does not say (Cisco, "SIP INFO Method for DTMF Tone Generation").
pub const DURATION_DEFAULT_MS: u32 = 250;
/// What is shorter is not heard by everybody: the least of what Q.24 table A-1 wants taken.
pub const DURATION_MIN_MS: u32 = 40;
/// Longest digit that is taken or told, in milliseconds (Cisco, as above).
pub const DURATION_MAX_MS: u32 = 5000;
/// No body of one digit is longer.
const BODY_BYTES_MAX: usize = 256;

/// The two types of body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InfoForm {
    /// `application/dtmf-relay`: `Signal=5` and `Duration=160`, a line each.
    Relay,
    /// `application/dtmf`: the digit alone.
    Plain,
}

/// A digit and how long it sounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InfoDigit {
    /// Which.
    pub digit: Digit,
    /// Milliseconds, [`DURATION_MIN_MS`] to [`DURATION_MAX_MS`].
    pub duration_ms: u32,
}

impl InfoForm {
    /// The form that a value of Content-Type names; its parameters do not matter.
    pub fn of(content_type: &[u8]) -> Option<Self> {
        let kind = content_type.split(|&c| c == b';').next()?.trim_ascii();
        [Self::Relay, Self::Plain]
            .into_iter()
            .find(|form| kind.eq_ignore_ascii_case(form.content_type().as_bytes()))
    }

    /// The value of Content-Type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Relay => "application/dtmf-relay",
            Self::Plain => "application/dtmf",
        }
    }

    /// The digit in a body of this form; `None`: it has none (flash hook, anything else). A digit may be a character
    /// or its event code (RFC 4733 table 3), spaces and line ends may stand anywhere between words, and either form
    /// is understood under either name.
    pub fn read(self, body: &[u8]) -> Option<InfoDigit> {
        let text = std::str::from_utf8(body)
            .ok()
            .filter(|text| text.len() <= BODY_BYTES_MAX)?;
        let mut signal = None;
        let mut duration_ms = DURATION_DEFAULT_MS;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let first = lines.next()?;
        if !first.contains('=') {
            // A digit, and nothing else.
            let digit = digit(first).filter(|_| lines.next().is_none())?;
            return Some(InfoDigit { digit, duration_ms });
        }
        for line in std::iter::once(first).chain(lines) {
            let (name, value) = line.split_once('=')?;
            let (name, value) = (name.trim_end(), value.trim_start());
            if name.eq_ignore_ascii_case("signal") {
                // Two of them are not one digit.
                if signal.replace(digit(value)?).is_some() {
                    return None;
                }
            } else if name.eq_ignore_ascii_case("duration") && value.bytes().all(|c| c.is_ascii_digit()) {
                // What does not fit is long enough; no figure at all says nothing.
                let stated = value.parse().unwrap_or(DURATION_MAX_MS);
                if !value.is_empty() {
                    duration_ms = stated.clamp(DURATION_MIN_MS, DURATION_MAX_MS);
                }
            }
        }
        Some(InfoDigit {
            digit: signal?,
            duration_ms,
        })
    }

    /// Write the body for a digit in place of what is in `out`.
    pub fn write(self, press: InfoDigit, out: &mut String) {
        out.clear();
        let digit = press.digit.as_char();
        let duration_ms = press.duration_ms.clamp(DURATION_MIN_MS, DURATION_MAX_MS);
        // Writing to a String cannot fail.
        let _ = match self {
            Self::Relay => write!(out, "Signal={digit}\r\nDuration={duration_ms}\r\n"),
            Self::Plain => write!(out, "{digit}"),
        };
    }
}

/// The digit that a word names: its character, or its event code in decimal.
fn digit(word: &str) -> Option<Digit> {
    let mut characters = word.chars();
    match (characters.next()?, characters.next()) {
        (character, None) => Digit::from_char(character),
        _ if word.len() == 2 && word.bytes().all(|c| c.is_ascii_digit()) => {
            Digit::from_code(word.parse().ok()?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(form: InfoForm, body: &str) -> Option<(char, u32)> {
        let read = form.read(body.as_bytes())?;
        Some((read.digit.as_char(), read.duration_ms))
    }

    #[test]
    fn dialects_of_the_relay_form() {
        for (body, digit, duration_ms) in [
            ("Signal=5\r\nDuration=160\r\n", '5', 160),
            ("Signal= 5\r\nDuration= 160\r\n", '5', 160),
            ("Signal=5\nDuration=160", '5', 160),
            ("signal = *\r\nduration = 80\r\n", '*', 80),
            ("\r\nDuration=100\r\nSignal=d\r\n", 'D', 100),
            ("Signal=10\r\nDuration=100\r\n", '*', 100),
            ("Signal=11", '#', 250),
            ("Signal=05\r\nDuration=\r\n", '5', 250),
            ("Signal=1\r\nDuration=0", '1', 40),
            ("Signal=1\r\nDuration=99999999999999999999", '1', 5000),
            ("Signal=1\r\nDuration=-5", '1', 250),
            ("Signal=1\r\nVolume=10\r\nDuration=90", '1', 90),
            ("7", '7', 250),
        ] {
            assert_eq!(
                read(InfoForm::Relay, body),
                Some((digit, duration_ms)),
                "{body:?}"
            );
        }
    }

    #[test]
    fn dialects_of_the_plain_form() {
        for (body, digit) in [
            ("5", '5'),
            ("#\r\n", '#'),
            (" a ", 'A'),
            ("12", 'A'),
            ("Signal=4\r\nDuration=100", '4'),
        ] {
            assert_eq!(
                read(InfoForm::Plain, body).map(|(digit, _)| digit),
                Some(digit),
                "{body:?}"
            );
        }
    }

    #[test]
    fn what_is_no_digit_is_none() {
        for body in [
            "",
            "\r\n",
            "16",
            "Signal=16\r\nDuration=160",
            "Signal=hf",
            "Signal=!",
            "Signal=\r\nDuration=160",
            "Duration=160",
            "Signal=1\r\nSignal=2",
            "Signal=123",
            "123",
            "5\r\n6",
            "Signal=1\r\nnonsense",
            "Signal=\u{665}",
            "+5",
        ] {
            assert_eq!(read(InfoForm::Relay, body), None, "{body:?}");
            assert_eq!(read(InfoForm::Plain, body), None, "{body:?}");
        }
        assert_eq!(InfoForm::Plain.read(b"\xff"), None);
        assert_eq!(InfoForm::Relay.read("Signal=1\r\n".repeat(1000).as_bytes()), None);
    }

    #[test]
    fn the_form_is_known_by_its_type() {
        assert_eq!(InfoForm::of(b"application/dtmf-relay"), Some(InfoForm::Relay));
        assert_eq!(InfoForm::of(b"Application/DTMF ; x=y"), Some(InfoForm::Plain));
        assert_eq!(InfoForm::of(b"application/dtmf-relays"), None);
        assert_eq!(InfoForm::of(b""), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(code in 0u8..16, duration_ms in 0u32..10_000) {
            let digit = Digit::from_code(code).unwrap();
            let mut body = String::new();
            for form in [InfoForm::Relay, InfoForm::Plain] {
                form.write(InfoDigit { digit, duration_ms }, &mut body);
                let read = form.read(body.as_bytes()).unwrap();
                prop_assert_eq!(read.digit, digit);
                let kept = match form {
                    InfoForm::Relay => duration_ms.clamp(DURATION_MIN_MS, DURATION_MAX_MS),
                    InfoForm::Plain => DURATION_DEFAULT_MS,
                };
                prop_assert_eq!(read.duration_ms, kept);
            }
        }

        #[test]
        fn any_octets_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
            for form in [InfoForm::Relay, InfoForm::Plain] {
                if let Some(read) = form.read(&body) {
                    prop_assert!((DURATION_MIN_MS..=DURATION_MAX_MS).contains(&read.duration_ms));
                }
            }
        }

        #[test]
        fn words_of_the_form_in_any_order_never_panic(
            words in prop::collection::vec(
                prop::sample::select(vec!["Signal", "Duration", "=", " ", "\r\n", "\n", "5", "10", "*", "é", "99999999999"]),
                0..12,
            )
        ) {
            let body = words.concat();
            let _ = InfoForm::Relay.read(body.as_bytes());
            let _ = InfoForm::Plain.read(body.as_bytes());
        }
    }
}
