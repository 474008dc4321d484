//! Why a rule wins, and why others that know the number do not: for `sbc-ctl route test`.

use super::{RouteTable, Rule};
use crate::trunk::TrunkId;
use std::sync::Arc;

/// A rule that knows the number, and what became of it.
#[derive(Clone, Debug)]
pub struct Explained<'t> {
    /// The rule.
    pub rule: &'t Arc<Rule>,
    /// How many digits of the number it knows.
    pub digits: usize,
    /// Whether it wins.
    pub verdict: Verdict,
}

/// What became of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The call takes it.
    Wins,
    /// It is for other trunks' calls.
    OtherTrunk,
    /// It is for numbers with so many digits.
    OtherLength(u8),
    /// It begins to hold at this Unix time.
    NotYet(u64),
    /// It held until this Unix time.
    Over(u64),
    /// Another one is more specific: it knows more digits or the whole number, is for this trunk alone, is temporary, or
    /// comes first in the file.
    Beaten,
}

/// Most rules that are told: more than anybody reads.
const EXPLAINED_MAX: usize = 100;

impl RouteTable {
    /// The rules that know a prefix of `number`, for a call of `from` at Unix time `unix_s`: who wins, then the others, those
    /// that know most first.
    pub fn explain<'t>(&'t self, from: TrunkId, number: &'t [u8], unix_s: u64) -> Vec<Explained<'t>> {
        let won = self.find(from, number, || unix_s);
        let verdict = |rule: &Rule, digits: u8| {
            if !rule.is_for(from) {
                Verdict::OtherTrunk
            } else if digits != 0 && usize::from(digits) != number.len() {
                Verdict::OtherLength(digits)
            } else if unix_s < rule.holds.0 {
                Verdict::NotYet(rule.holds.0)
            } else if rule.holds.1 <= unix_s {
                Verdict::Over(rule.holds.1)
            } else {
                Verdict::Beaten
            }
        };
        let mut explained: Vec<Explained<'t>> = self
            .rules_at(number)
            .filter(|(digits, rule, _)| {
                !won.is_some_and(|won| won.digits == *digits && Arc::ptr_eq(won.rule, rule))
            })
            .map(|(digits, rule, length)| Explained {
                rule,
                digits,
                verdict: verdict(rule, length),
            })
            .collect();
        explained.extend(won.map(|won| Explained {
            rule: won.rule,
            digits: won.digits,
            verdict: Verdict::Wins,
        }));
        explained.reverse();
        explained.truncate(EXPLAINED_MAX);
        explained
    }
}

/// Seconds of Unix time as a date and time of RFC 3339.
pub fn date(unix_s: u64) -> String {
    let (days, second) = (unix_s / 86_400, unix_s % 86_400);
    // Years that begin in March, so that a leap day is the last: 400 of them have 146,097 days.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_read_as_they_are_written() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_825_600, "2000-02-29T12:00:00Z"),
            (1_796_083_200, "2026-12-01T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }
}
