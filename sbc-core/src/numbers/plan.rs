//! The numbering plan that a trunk's digits belong to: what is dialled before what.

use super::{Country, E164, country::fits};

/// What digits without `+` mean: a [`Country`]'s plan, or one whose prefixes the configuration gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Country code.
    pub code: Box<str>,
    /// Dialled before a national number; empty: nothing.
    pub national: Box<str>,
    /// Dialled before a country code; empty: numbers abroad only come with `+`.
    pub international: Box<str>,
    /// Fewest and most digits of a national significant number that is dialled here.
    pub digits: (u8, u8),
    /// The least digit that one can begin with.
    pub first: u8,
    /// Numbers are dialled without the national prefix, too, or there is none.
    pub bare: bool,
}

impl From<&Country> for Plan {
    fn from(country: &Country) -> Self {
        Self {
            code: country.code.into(),
            national: country.national.into(),
            international: country.international.into(),
            digits: country.dialled,
            first: country.first,
            bare: country.bare,
        }
    }
}

impl Plan {
    /// The plan of a country that is not in the table: only its code is known, and the prefixes are given.
    pub fn of_code(code: &str) -> Self {
        Self {
            code: code.into(),
            national: "0".into(),
            international: "00".into(),
            digits: (4, (E164::DIGITS_MAX - code.len().min(3)) as u8),
            first: b'0',
            bare: false,
        }
    }

    /// The number that `digits` reach when they are dialled here.
    pub(super) fn read(&self, digits: &str) -> Option<E164> {
        let abroad = digits
            .strip_prefix(&*self.international)
            .filter(|_| !self.international.is_empty());
        // An international prefix that is no number's country may be the beginning of a national number.
        if let Some(number) = abroad.and_then(E164::new) {
            return Some(number);
        }
        let significant = self.significant(digits)?;
        E164::of(&self.code, significant)
    }

    /// `digits` without the national prefix, when they are a national number.
    pub(super) fn significant<'d>(&self, digits: &'d str) -> Option<&'d str> {
        let prefixed = digits
            .strip_prefix(&*self.national)
            .filter(|_| !self.national.is_empty());
        let bare = Some(digits).filter(|_| self.bare || self.national.is_empty());
        [prefixed, bare]
            .into_iter()
            .flatten()
            .find(|digits| fits(digits, self.digits, self.first))
    }

    /// What to dial here for `number`. `None`: what is dialled here would mean another number, or nothing.
    pub(super) fn write(&self, number: &E164) -> Option<String> {
        let (prefix, digits) = match number.as_str().strip_prefix(&*self.code) {
            Some(significant) => (&self.national, significant),
            None if self.international.is_empty() => return None,
            None => (&self.international, number.as_str()),
        };
        let mut dialled = String::with_capacity(prefix.len() + digits.len());
        dialled.push_str(prefix);
        dialled.push_str(digits);
        (self.read(&dialled) == Some(*number)).then_some(dialled)
    }
}
