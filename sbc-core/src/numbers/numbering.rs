//! The numbering of one trunk: how the digits that come from it are read, and how numbers are written to it.

use super::{Country, E164, Plan};
use std::borrow::Cow;

/// How a trunk writes numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbering {
    /// The plan that its digits belong to; `None`: of no country.
    pub plan: Option<Plan>,
    /// What digits without `+` are that come from it.
    pub received: Received,
    /// What is taken off called numbers that come from it, and put in front of them.
    pub inbound: Affix,
    /// How called numbers are written to it.
    pub destination: Form,
    /// How the caller's number is written in From to it.
    pub originator: Form,
    /// How it is written in P-Asserted-Identity.
    pub asserted: Form,
    /// What is then taken off called numbers to it, and put in front of them.
    pub outbound: Affix,
    /// Called numbers to it have `user=phone`.
    pub user_phone: bool,
}

/// What digits without `+` are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Received {
    /// National ones where they can be that and there is a plan, else as `Plain`.
    #[default]
    Auto,
    /// No numbers: only what has a `+` is one.
    Plus,
    /// Country code first.
    Plain,
    /// As dialled in the plan's country.
    National,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As it came.
    #[default]
    Pass,
    /// `+` and country code.
    E164,
    /// Country code, without `+`.
    Plain,
    /// As dialled in the plan's country.
    National,
}

/// What is taken off the front of a number, and put there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Affix {
    /// Taken off where the number begins so.
    pub strip: Box<str>,
    /// Put in front.
    pub add: Box<str>,
}

/// Fewest digits that are taken for a number whose country code stands first, without `+`: extensions have fewer.
const PLAIN_MIN: usize = 8;

impl Numbering {
    /// The user part of a called party without and with what [`Self::inbound`] says. Names stay as they are.
    pub(crate) fn received<'u>(&self, user: &'u str) -> Cow<'u, str> {
        self.inbound.apply(user)
    }

    /// The number that `user` means, which came from the trunk. `context`: the `phone-context` of it (RFC 3966 §5.1.5).
    /// `None`: it is none, or there is no telling which.
    pub fn read(&self, user: &str, context: Option<&str>) -> Option<E164> {
        let dialled = Dialled::of(user)?;
        if dialled.plus {
            return E164::new(dialled.digits());
        }
        // A context that is a domain says whose the digits are, and nothing of what they mean.
        let context = context.and_then(Dialled::of).filter(|context| context.plus);
        if let Some(context) = context {
            let within = match &self.plan {
                Some(plan) if *plan.code == *context.digits() => plan.significant(dialled.digits()),
                _ => None,
            };
            return E164::of(context.digits(), within.unwrap_or(dialled.digits()));
        }
        let digits = dialled.digits();
        let national = || self.plan.as_ref().and_then(|plan| plan.read(digits));
        match self.received {
            Received::Plus => None,
            Received::Plain => self.plain(digits),
            Received::National => national(),
            Received::Auto => national().or_else(|| self.plain(digits)),
        }
    }

    /// Digits with the country code first, or behind 00 where no plan says what is dialled abroad.
    fn plain(&self, digits: &str) -> Option<E164> {
        if let (Some(abroad), None) = (digits.strip_prefix("00"), &self.plan) {
            return E164::new(abroad);
        }
        let number = E164::new(digits).filter(|_| digits.len() >= PLAIN_MIN)?;
        if self.received == Received::Plain {
            return Some(number);
        }
        // Where nobody says that they are one, and the country is known, so is what its numbers look like.
        let significant = digits.get(number.country_code().len()..)?;
        Country::of_number(&number)
            .is_none_or(|country| country.has(significant))
            .then_some(number)
    }

    /// The user part for a called party to the trunk: `number` in its form, or `user` where that is none.
    pub fn destination<'u>(&self, user: &'u str, number: Option<E164>) -> Cow<'u, str> {
        match self.write(self.destination, user, number) {
            Cow::Borrowed(user) => self.outbound.apply(user),
            Cow::Owned(written) => Cow::Owned(self.outbound.apply(&written).into_owned()),
        }
    }

    /// The user part of the caller in From.
    pub fn originator<'u>(&self, user: &'u str, number: Option<E164>) -> Cow<'u, str> {
        self.write(self.originator, user, number)
    }

    /// The user part of the caller in P-Asserted-Identity.
    pub fn asserted<'u>(&self, user: &'u str, number: Option<E164>) -> Cow<'u, str> {
        self.write(self.asserted, user, number)
    }

    fn write<'u>(&self, form: Form, user: &'u str, number: Option<E164>) -> Cow<'u, str> {
        let Some(number) = number else {
            return Cow::Borrowed(user);
        };
        let e164 = || format!("+{number}");
        match (form, &self.plan) {
            (Form::Pass, _) => Cow::Borrowed(user),
            (Form::Plain, _) => Cow::Owned(number.as_str().to_owned()),
            // What cannot be dialled nationally has a `+`, which is understood everywhere or nowhere, and never wrong.
            (Form::National, Some(plan)) => Cow::Owned(plan.write(&number).unwrap_or_else(e164)),
            (Form::E164 | Form::National, _) => Cow::Owned(e164()),
        }
    }
}

/// What a trunk numbered as `to` dials to us for what one numbered as `from` calls `user`: a number that comes back.
pub(crate) fn dialled_between<'u>(
    from: Option<&Numbering>,
    to: Option<&Numbering>,
    user: &'u str,
) -> Cow<'u, str> {
    let user = from.map_or(Cow::Borrowed(user), |from| from.received(user));
    match (to, read_of(from, &user)) {
        (Some(to), Some(number)) => Cow::Owned(to.write(to.destination, &user, Some(number)).into_owned()),
        _ => user,
    }
}

/// What a trunk numbered as `to` is told of a caller whom one numbered as `from` calls `user`.
pub(crate) fn caller_between<'u>(
    from: Option<&Numbering>,
    to: Option<&Numbering>,
    user: &'u str,
) -> Cow<'u, str> {
    match to {
        Some(to) => to.originator(user, read_of(from, user)),
        None => Cow::Borrowed(user),
    }
}

fn read_of(numbering: Option<&Numbering>, user: &str) -> Option<E164> {
    match numbering {
        Some(numbering) => numbering.read(user, None),
        None => Numbering::default().read(user, None),
    }
}

impl Affix {
    /// `user` with the prefix changed, when it consists of what can be dialled.
    fn apply<'u>(&self, user: &'u str) -> Cow<'u, str> {
        if (self.strip.is_empty() && self.add.is_empty()) || !is_dialled(user) {
            return Cow::Borrowed(user);
        }
        // A prefix alone is no number: it stays whole.
        let rest = strip_dialled(user, &self.strip)
            .filter(|rest| !rest.is_empty())
            .unwrap_or(user);
        if self.add.is_empty() {
            return Cow::Borrowed(rest);
        }
        Cow::Owned(escaped(&self.add) + rest)
    }
}

/// Whether `user` is dialled rather than spelled: digits, `+`, `*`, `#`, visual separators, and escapes.
fn is_dialled(user: &str) -> bool {
    let mut escape = 0;
    !user.is_empty()
        && user.bytes().all(|c| {
            let inside = escape > 0;
            escape = if c == b'%' { 2 } else { escape - i32::from(inside) };
            inside || c == b'%' || c.is_ascii_digit() || b"+*#-.()".contains(&c)
        })
}

/// `user` without `prefix` in front, in which a `#` may be escaped (RFC 3261 §25.1 does not allow it bare).
pub(crate) fn strip_dialled<'u>(user: &'u str, prefix: &str) -> Option<&'u str> {
    let mut rest = user;
    for c in prefix.chars() {
        let escape = match c {
            '#' => "%23",
            '+' => "%2B",
            _ => "",
        };
        let escaped = rest
            .get(..escape.len())
            .is_some_and(|found| !escape.is_empty() && found.eq_ignore_ascii_case(escape));
        rest = if escaped {
            rest.get(escape.len()..)?
        } else {
            rest.strip_prefix(c)?
        };
    }
    Some(rest)
}

/// `prefix` as it may stand in a user part.
pub(crate) fn escaped(prefix: &str) -> String {
    prefix.replace('#', "%23")
}

/// A user part that is a telephone number of some kind.
struct Dialled {
    plus: bool,
    digits: [u8; Self::DIGITS_MAX],
    len: usize,
}

impl Dialled {
    /// More than any number with what is dialled before it.
    const DIGITS_MAX: usize = 32;

    /// Read `text`, over visual separators (RFC 3966 §5.1.1). `None`: something else stands in it.
    fn of(text: &str) -> Option<Self> {
        let escaped = text
            .get(..3)
            .is_some_and(|start| start.eq_ignore_ascii_case("%2B"));
        let (plus, rest) = match text.strip_prefix('+') {
            Some(rest) => (true, rest),
            None if escaped => (true, text.get(3..)?),
            None => (false, text),
        };
        let mut dialled = Self {
            plus,
            digits: [0; Self::DIGITS_MAX],
            len: 0,
        };
        for c in rest.bytes() {
            match c {
                b'0'..=b'9' => {
                    *dialled.digits.get_mut(dialled.len)? = c;
                    dialled.len += 1;
                }
                b'-' | b'.' | b'(' | b')' => {}
                _ => return None,
            }
        }
        (dialled.len > 0).then_some(dialled)
    }

    fn digits(&self) -> &str {
        let digits = self.digits.get(..self.len).unwrap_or_default();
        std::str::from_utf8(digits).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(iso: &str, received: Received) -> Numbering {
        Numbering {
            plan: Country::named(iso).map(Plan::from),
            received,
            ..Numbering::default()
        }
    }

    fn read(numbering: &Numbering, user: &str) -> Option<String> {
        numbering.read(user, None).map(|number| number.to_string())
    }

    #[test]
    fn what_a_plus_says_holds_everywhere() {
        for numbering in [
            Numbering::default(),
            of("US", Received::National),
            of("DE", Received::Plus),
            of("IT", Received::Plain),
        ] {
            for user in [
                "+4930123456",
                "%2B4930123456",
                "%2b4930123456",
                "+49-30-12.34(5)6",
            ] {
                assert_eq!(read(&numbering, user).as_deref(), Some("4930123456"), "{user}");
            }
        }
    }

    #[test]
    fn digits_mean_what_the_trunk_says() {
        use Received::{Auto, National, Plain, Plus};
        for (iso, received, user, number) in [
            ("", Auto, "4930123456", Some("4930123456")),
            ("", Auto, "004930123456", Some("4930123456")),
            ("", Auto, "030123456", None),
            ("", Plus, "4930123456", None),
            ("", Plain, "12125550123", Some("12125550123")),
            ("", Plain, "1212555012", Some("1212555012")),
            ("", Auto, "1212555012", None),
            ("", Plain, "1212555", None),
            ("DE", Auto, "030123456", Some("4930123456")),
            ("DE", Auto, "0030210123456", Some("30210123456")),
            ("DE", Auto, "4930123456", Some("4930123456")),
            ("DE", National, "4930123456", None),
            ("US", Auto, "2125550123", Some("12125550123")),
            ("US", Auto, "12125550123", Some("12125550123")),
            ("US", Auto, "0114930123456", Some("4930123456")),
            ("US", Auto, "442079460123", Some("442079460123")),
            // Ten digits are a number of the country first.
            ("US", Auto, "4930123456", Some("14930123456")),
            ("US", Plain, "0114930123456", None),
            ("IT", National, "0612345678", Some("390612345678")),
            ("IT", National, "003906123456", Some("3906123456")),
        ] {
            let numbering = of(iso, received);
            assert_eq!(
                read(&numbering, user).as_deref(),
                number,
                "{iso} {received:?} {user}"
            );
        }
    }

    #[test]
    fn a_context_says_where_digits_are_dialled() {
        let read = |numbering: &Numbering, user, context| {
            numbering
                .read(user, Some(context))
                .map(|number| number.to_string())
        };
        let (german, nobody) = (of("DE", Received::Auto), Numbering::default());
        assert_eq!(read(&nobody, "30123456", "+49").as_deref(), Some("4930123456"));
        assert_eq!(read(&german, "030123456", "+49").as_deref(), Some("4930123456"));
        assert_eq!(read(&german, "2125550123", "+1").as_deref(), Some("12125550123"));
        assert_eq!(
            read(&nobody, "123", "+49-30-4567").as_deref(),
            Some("49304567123")
        );
        assert_eq!(read(&german, "7042", "example.com"), None);
        assert_eq!(
            read(&nobody, "30123456", "+4x"),
            read(&nobody, "30123456", "example.com")
        );
    }

    #[test]
    fn what_is_no_number_passes_untouched() {
        let numbering = Numbering {
            destination: Form::E164,
            originator: Form::National,
            asserted: Form::Plain,
            ..of("DE", Received::Auto)
        };
        for user in [
            "",
            "1000",
            "112",
            "+",
            "+1",
            "alice",
            "alice.4930123456",
            "anonymous",
            "*21*0301234#",
            "4930123456x",
            "0",
            "00",
            "0000000000",
            "12345678901234567890",
            "+0301234567",
            "%2",
            "%2B",
            "(",
            "a+4930123456",
        ] {
            let number = numbering.read(user, None);
            assert_eq!(number, None, "{user}");
            for written in [
                numbering.destination(user, number),
                numbering.originator(user, number),
                numbering.asserted(user, number),
            ] {
                assert_eq!(written, user);
            }
        }
    }

    #[test]
    fn every_form() {
        let numbering = |form| Numbering {
            destination: form,
            ..of("GB", Received::Auto)
        };
        for (form, home, abroad) in [
            (Form::Pass, "as it came", "as it came"),
            (Form::E164, "+442079460123", "+12125550123"),
            (Form::Plain, "442079460123", "12125550123"),
            (Form::National, "02079460123", "0012125550123"),
        ] {
            let numbering = numbering(form);
            assert_eq!(
                numbering.destination("as it came", E164::new("442079460123")),
                home
            );
            assert_eq!(
                numbering.destination("as it came", E164::new("12125550123")),
                abroad
            );
        }
        // +44 20 79 is too short to be dialled there, and 020 79 would be something else.
        let national = numbering(Form::National);
        assert_eq!(national.destination("x", E164::new("442079")), "+442079");
    }

    #[test]
    fn prefixes_come_off_and_on() {
        let numbering = Numbering {
            inbound: Affix {
                strip: "9".into(),
                add: "".into(),
            },
            destination: Form::E164,
            outbound: Affix {
                strip: "+".into(),
                add: "1234#".into(),
            },
            ..Numbering::default()
        };
        let called = |user: &str| {
            let user = numbering.received(user).into_owned();
            let number = numbering.read(&user, None);
            numbering.destination(&user, number).into_owned()
        };
        assert_eq!(called("94930123456"), "1234%234930123456");
        assert_eq!(called("9+4930123456"), "1234%234930123456");
        assert_eq!(called("1000"), "1234%231000");
        assert_eq!(called("9"), "1234%239", "a prefix alone is no number");
        assert_eq!(called("nine"), "nine");
        assert_eq!(strip_dialled("1234%2349", "1234#"), Some("49"));
        assert_eq!(strip_dialled("1234#49", "1234#"), Some("49"));
        assert_eq!(strip_dialled("%2b49", "+"), Some("49"));
        assert_eq!(strip_dialled("123449", "1234#"), None);
    }

    fn any_numbering() -> impl Strategy<Value = Numbering> {
        (0..super::super::COUNTRIES.len()).prop_map(|n| Numbering {
            plan: Some(Plan::from(&super::super::COUNTRIES[n])),
            ..Numbering::default()
        })
    }

    proptest! {
        #[test]
        fn a_number_written_is_read_again(digits in "[1-9][0-9]{4,14}", mut numbering in any_numbering()) {
            let number = E164::new(&digits);
            prop_assert!(number.is_some());
            for (form, received) in [
                (Form::E164, Received::Plus),
                (Form::E164, Received::National),
                (Form::E164, Received::Auto),
                (Form::National, Received::National),
                (Form::National, Received::Auto),
            ] {
                (numbering.destination, numbering.received) = (form, received);
                let written = numbering.destination("x", number);
                prop_assert_eq!(numbering.read(&written, None), number, "{:?} {:?} {}", form, received, written);
            }
        }

        #[test]
        fn what_was_read_as_plain_is_written_so(user in "[0-9]{1,16}") {
            let numbering = Numbering {
                received: Received::Plain,
                destination: Form::Plain,
                ..Numbering::default()
            };
            if let Some(number) = numbering.read(&user, None).filter(|n| n.as_str().len() >= PLAIN_MIN) {
                let written = numbering.destination("x", Some(number));
                prop_assert_eq!(numbering.read(&written, None), Some(number));
            }
        }

        #[test]
        fn nothing_panics_and_no_name_changes(user in "[ -~]{0,40}", numbering in any_numbering()) {
            let numbering = Numbering {
                destination: Form::National,
                ..numbering
            };
            let number = numbering.read(&user, Some(&user));
            let written = numbering.destination(&user, number);
            prop_assert!(number.is_some() || written == user);
        }
    }
}
