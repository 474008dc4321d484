//! The types that options of routes have: how each is written in TOML, and what is refused.

use super::{
    check::is_user,
    options::Emergency,
    read::{Reader, Shape, Value},
    value::{quote, read_str},
};
use crate::{
    resolve::host_name,
    routing::{Digits, Strategy, block},
};
use toml::{Spanned, de::DeValue};

/// Names of trunks: one, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(pub Vec<String>);

/// Complete numbers: one, a block, or all with a prefix, as they are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(pub String);

/// A name that a number has outside: `user@host` or `host`, the host in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias(pub String);

impl Alias {
    /// Its host.
    pub fn host(&self) -> &str {
        self.0.rsplit('@').next().unwrap_or_default()
    }
}

/// A point in time, in seconds of Unix time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

/// Sections with emergency numbers: one with single brackets, or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emergencies(pub Vec<Emergency>);

impl Value for Emergencies {
    fn shape() -> Shape {
        Vec::<Emergency>::shape()
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Table(_) => {
                let one = <Emergency as Value>::read(reader, &format!("{path}[0]"), value)?;
                Some(Self(vec![one]))
            }
            _ => Vec::read(reader, path, value).map(Self),
        }
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

impl Value for Names {
    fn shape() -> Shape {
        Shape::Plain("a name, or an array of names".to_owned())
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Array(_) => Vec::read(reader, path, value).map(Self),
            _ => String::read(reader, path, value).map(|name| Self(vec![name])),
        }
    }

    fn show(&self) -> String {
        self.0.show()
    }
}

impl Value for Digits {
    fn shape() -> Shape {
        Shape::Plain("digits as \"4930\", at most 16".to_owned())
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        read_str(reader, path, value, "digits as \"4930\"", |text| {
            let digits: Self = text.parse().map_err(|error| format!("{error}"))?;
            if digits.is_empty() {
                Err("it is empty".to_owned())
            } else {
                Ok(digits)
            }
        })
    }

    fn show(&self) -> String {
        quote(&self.to_string())
    }
}

impl Value for Alias {
    fn shape() -> Shape {
        Shape::Plain("a name as \"support@sip.example.com\" or \"sales.example.com\"".to_owned())
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        let expected = "a user and a host, as \"support@sip.example.com\", or a host";
        read_str(reader, path, value, expected, |text| {
            let (user, host) = match text.rsplit_once('@') {
                Some((user, host)) => (Some(user), host),
                None => (None, text),
            };
            let host = host_name(host).ok_or("the host is no name without a port")?;
            match user {
                None => Ok(Self(host)),
                Some(user) if is_user(user) => Ok(Self(format!("{user}@{host}"))),
                Some(_) => Err("the user cannot stand in a SIP URI".to_owned()),
            }
        })
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}

impl Value for Numbers {
    fn shape() -> Shape {
        Shape::Plain(
            "a number as \"+4930123400\", a block as \"+4930123400-99\" or a prefix as \"+4930123*\""
                .to_owned(),
        )
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        read_str(
            reader,
            path,
            value,
            "a number, a block \"+4930123400-99\" or a prefix \"+4930123*\"",
            |text| {
                block(text).map_err(|error| error.to_string())?;
                Ok(Self(text.to_owned()))
            },
        )
    }

    fn show(&self) -> String {
        quote(&self.0)
    }
}

impl Value for Strategy {
    fn shape() -> Shape {
        Shape::Plain("\"sequential\", \"round_robin\" or \"weighted\"".to_owned())
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        read_str(
            reader,
            path,
            value,
            "\"sequential\", \"round_robin\" or \"weighted\"",
            |text| {
                let all = [Self::Sequential, Self::RoundRobin, Self::Weighted];
                all.into_iter()
                    .find(|strategy| strategy.name() == text)
                    .ok_or_else(String::new)
            },
        )
    }

    fn show(&self) -> String {
        quote(self.name())
    }
}

const DATE: &str = "a date and time as 2026-12-01T00:00:00Z (RFC 3339)";

impl Value for Moment {
    fn shape() -> Shape {
        Shape::Plain(DATE.to_owned())
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        if let DeValue::Datetime(date) = value.get_ref() {
            let moment = Self::parse(&date.to_string());
            if moment.is_none() {
                reader.expected(
                    path,
                    value,
                    "a date and time with its distance from UTC, as 2026-12-01T00:00:00Z",
                );
            }
            return moment;
        }
        read_str(reader, path, value, DATE, |text| {
            Self::parse(text).ok_or_else(String::new)
        })
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

impl Moment {
    /// Read a date and time of RFC 3339, after 1970.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_at_checked(10)?;
        let mut parts = date
            .split('-')
            .map(|part| digits(part, if part.len() == 4 { 4 } else { 2 }));
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        if parts.next().is_some() || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days_in = [31, 28 + u64::from(leap), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        if day == 0 || day > *days_in.get(month as usize - 1)? {
            return None;
        }
        let time = time.strip_prefix(['T', 't', ' '])?;
        let (clock, zone) = time.split_at_checked(8)?;
        let mut parts = clock.split(':').map(|part| digits(part, 2));
        let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
        if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        // Fractions of a second do not matter here.
        let zone = match zone.strip_prefix('.') {
            Some(fraction) => {
                let rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
                (rest.len() < fraction.len()).then_some(rest)?
            }
            None => zone,
        };
        let east = match zone {
            "Z" | "z" => 0,
            _ => {
                let (sign, distance) = zone.split_at_checked(1)?;
                let (hours, minutes) = distance.split_once(':')?;
                let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
                let seconds = (hours < 24 && minutes < 60).then_some((60 * hours + minutes) * 60)? as i64;
                match sign {
                    "+" => seconds,
                    "-" => -seconds,
                    _ => return None,
                }
            }
        };
        let years = year - 1970;
        let leaps = |year: u64| year / 4 - year / 100 + year / 400;
        let days = 365 * years + leaps(year - 1) - leaps(1969)
            + days_in[..month as usize - 1].iter().sum::<u64>()
            + (day - 1);
        let local = ((days * 24 + hour) * 60 + minute) * 60 + second;
        u64::try_from(local as i64 - east).ok().map(Self)
    }
}

fn digits(text: &str, len: usize) -> Option<u64> {
    (text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_become_seconds() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-12-01T00:00:00Z", 1_796_083_200),
            ("2026-12-01T01:00:00+01:00", 1_796_083_200),
            ("2026-11-30 19:00:00.25-05:00", 1_796_083_200),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(Moment::parse(text), Some(Moment(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026-12-01",
            "2026-12-01T00:00:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-12-01T24:00:00Z",
            "2026-12-01T00:00:00.Z",
            "2026-12-01T00:00:00+1:00",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00+01:00",
            "2026-12-01X00:00:00Z",
            "26-12-01T00:00:00Zxx",
            "2026-12-01T00:00:00\u{e9}",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }
}
