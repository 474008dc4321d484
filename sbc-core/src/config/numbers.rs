//! Numbers: how a trunk writes them, as an operator says it, and what must hold there.

use super::{
    check::Report,
    options::{Trunk, sections},
    read::{Absent, Key, Reader, Section, Shape, Value},
    value::{quote, read_str, string_value, word_value},
};
use crate::numbers::{Affix, Country, Form, Numbering, Plan, Received};
use std::ops::Range;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

sections! {
    /// How telephone numbers are written by a trunk and to it (`docs/NUMBERS.md`). What comes from it is read as E.164
    /// numbers where it is such, and written for the trunk that a call goes to as that one wants it. What is
    /// no number (extensions, names) passes as it is.
    pub struct TrunkNumbers {
        /// Country that its digits without `+` are dialled in: two letters, as `"DE"`, or a country code, as `"49"`, also
        /// one that `docs/NUMBERS.md` does not list (its prefixes are 0 and 00 then, unless given).
        country: Option<CountryName> = described("none: there are no national numbers");
        /// What is dialled there before a national number; empty: nothing.
        national_prefix: Option<NumberPrefix> = described("that of `country`");
        /// What is dialled there before a country code.
        international_prefix: Option<NumberPrefix> = described("that of `country`");
        /// What digits without `+` are that come from it: `"national"`, what is dialled in `country`; `"plain"`,
        /// the country code first; `"plus"`, no numbers; `"auto"`, national ones where they can be that and
        /// there is a `country`, else plain.
        received: Received = default(Received::Auto);
        /// Taken off called numbers that come from it and begin so.
        inbound_strip: NumberPrefix = default(NumberPrefix::default());
        /// Then put in front of them.
        inbound_add: NumberPrefix = default(NumberPrefix::default());
        /// How called numbers are written to it, in Request-URI and To: `"e164"`, as `+4930123456`; `"plain"`, without
        /// the `+`; `"national"`, as dialled in `country`; `"pass"`, as they came.
        destination: Form = default(Form::Pass);
        /// How the caller's number is written to it, in From.
        originator: Form = default(Form::Pass);
        /// How the caller's number is written to it in P-Asserted-Identity.
        asserted: Option<Form> = described("as `originator`");
        /// Taken off called numbers to it that begin so once they are written.
        prefix_strip: NumberPrefix = default(NumberPrefix::default());
        /// Then put in front of them, and of whatever else is dialled and not spelled.
        prefix_add: NumberPrefix = default(NumberPrefix::default());
        /// Called numbers to it have `;user=phone`. Where the caller's side has said so they have it in any case.
        user_phone: bool = default(false);
    }
}

impl TrunkNumbers {
    /// The plan that digits belong to.
    fn plan(&self) -> Option<Plan> {
        let name = &self.country.as_ref()?.0;
        let known = Country::named(name).map(Plan::from);
        let mut plan = known.unwrap_or_else(|| Plan::of_code(name));
        if let Some(prefix) = &self.national_prefix {
            plan.bare |= prefix.0.is_empty();
            plan.national = prefix.0.as_str().into();
        }
        if let Some(prefix) = &self.international_prefix {
            plan.international = prefix.0.as_str().into();
        }
        Some(plan)
    }

    /// As the call core uses it.
    pub(super) fn compile(&self) -> Numbering {
        let affix = |strip: &NumberPrefix, add: &NumberPrefix| Affix {
            strip: strip.0.as_str().into(),
            add: add.0.as_str().into(),
        };
        Numbering {
            plan: self.plan(),
            received: self.received,
            inbound: affix(&self.inbound_strip, &self.inbound_add),
            destination: self.destination,
            originator: self.originator,
            asserted: self.asserted.unwrap_or(self.originator),
            outbound: affix(&self.prefix_strip, &self.prefix_add),
            user_phone: self.user_phone,
        }
    }
}

/// What must hold between the options of a trunk's numbers.
pub(super) fn check(at: &str, trunk: &Trunk, report: Report<'_>) {
    let Some(numbers) = &trunk.numbers else { return };
    let at = format!("{at}.numbers");
    let national = |form: Option<Form>| form == Some(Form::National);
    let needs_country = [
        ("received", numbers.received == Received::National),
        ("destination", national(Some(numbers.destination))),
        ("originator", national(Some(numbers.originator))),
        ("asserted", national(numbers.asserted)),
    ];
    let prefixes = [
        ("national_prefix", &numbers.national_prefix),
        ("international_prefix", &numbers.international_prefix),
    ];
    if numbers.country.is_none() {
        for (key, _) in needs_country.into_iter().filter(|(_, national)| *national) {
            report(
                &format!("{at}.{key}"),
                "\"national\" means nothing without a country: add one such as country = \"DE\"".into(),
            );
        }
        for (key, _) in prefixes.into_iter().filter(|(_, prefix)| prefix.is_some()) {
            report(
                &format!("{at}.{key}"),
                "has no effect without country: add one, or remove it".into(),
            );
        }
    }
    for (key, prefix) in prefixes {
        let digits = |prefix: &NumberPrefix| prefix.0.bytes().all(|c| c.is_ascii_digit());
        if let Some(prefix) = prefix.as_ref().filter(|prefix| !digits(prefix)) {
            report(
                &format!("{at}.{key}"),
                format!("\"{}\" is not dialled before numbers: only digits are", prefix.0),
            );
        }
    }
}

/// A country by its ISO code or its country code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountryName(pub String);

string_value!(
    CountryName,
    "two letters of a country, such as \"DE\", or a country code, such as \"49\"",
    |s: &str| {
        let code = (1..=3).contains(&s.len())
            && s.bytes().all(|c| c.is_ascii_digit())
            && crate::numbers::E164::new(&format!("{s}55555555"))
                .is_some_and(|number| number.country_code() == s);
        if code || Country::named(s).is_some() {
            Ok(CountryName(s.to_owned()))
        } else if s.len() == 2 && s.bytes().all(|c| c.is_ascii_alphabetic()) {
            Err("its plan is not known here: give its country code, and its prefixes if they are not 0 and 00".into())
        } else {
            Err(String::new())
        }
    },
    |country: &CountryName| country.0.clone()
);

/// What stands in front of a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberPrefix(pub String);

string_value!(
    NumberPrefix,
    "at most 16 of digits, +, * and #",
    |s: &str| {
        if s.len() <= 16 && s.bytes().all(|c| c.is_ascii_digit() || b"+*#".contains(&c)) {
            Ok(NumberPrefix(s.to_owned()))
        } else {
            Err(String::new())
        }
    },
    |prefix: &NumberPrefix| prefix.0.clone()
);

word_value!(
    Form,
    "\"pass\", \"e164\", \"plain\" or \"national\"",
    "pass" => Form::Pass,
    "e164" => Form::E164,
    "plain" => Form::Plain,
    "national" => Form::National
);

word_value!(
    Received,
    "\"auto\", \"plus\", \"plain\" or \"national\"",
    "auto" => Received::Auto,
    "plus" => Received::Plus,
    "plain" => Received::Plain,
    "national" => Received::National
);
