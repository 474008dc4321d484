//! Countries: the figures of their numbering plans, from what their administrations have notified to the ITU (E.164
//! annexed list of country codes, E.129 presentations, list of dialling procedures).

/// A country's numbering plan. Countries whose international prefix depends on the carrier that is to take the
/// call are not listed: for them the prefixes are configured. Brazil is, where a trunk belongs to one carrier and names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country {
    /// ISO 3166-1 code, two letters.
    pub iso: &'static str,
    /// Country code (E.164).
    pub code: &'static str,
    /// Dialled before a national number; empty: nothing.
    pub national: &'static str,
    /// Dialled before a country code.
    pub international: &'static str,
    /// Fewest and most digits of a national significant number.
    pub digits: (u8, u8),
    /// The same of those that are dialled with nothing but the prefix before them.
    pub dialled: (u8, u8),
    /// The least digit that a national significant number can begin with.
    pub first: u8,
    /// Numbers are dialled without the national prefix, too, or there is none.
    pub bare: bool,
}

impl Country {
    /// The country that `text` names: by its two letters, or by its country code, in which case the first that has
    /// it is meant (1: the United States, whose plan the others of North America share).
    pub fn named(text: &str) -> Option<&'static Self> {
        COUNTRIES
            .iter()
            .find(|country| country.iso.eq_ignore_ascii_case(text) || country.code == text)
    }

    /// The country that `number`, without `+`, begins with the code of.
    pub(super) fn of_number(number: &super::E164) -> Option<&'static Self> {
        COUNTRIES
            .iter()
            .find(|country| country.code == number.country_code())
    }

    /// Whether `significant` can be a national significant number here.
    pub(super) fn has(&self, significant: &str) -> bool {
        fits(significant, self.digits, self.first)
    }
}

/// Whether a national significant number of so many digits, that begins with `first` or more, can be `significant`.
pub(super) fn fits(significant: &str, (least, most): (u8, u8), first: u8) -> bool {
    (usize::from(least)..=usize::from(most)).contains(&significant.len())
        && significant.as_bytes().first() >= Some(&first)
}

/// ISO code, country code, national prefix, international prefix, digits, first digit, dialled bare.
const fn row(
    iso: &'static str,
    code: &'static str,
    (national, international): (&'static str, &'static str),
    digits: (u8, u8),
    first: u8,
    bare: bool,
) -> Country {
    Country {
        iso,
        code,
        national,
        international,
        digits,
        dialled: digits,
        first,
        bare,
    }
}

impl Country {
    /// Of all its numbers only those of so many digits are dialled as they are.
    const fn dialling(self, dialled: (u8, u8)) -> Self {
        Self { dialled, ..self }
    }
}

/// Every country that can be named.
pub const COUNTRIES: &[Country] = &[
    row("US", "1", ("1", "011"), (10, 10), b'2', true),
    row("CA", "1", ("1", "011"), (10, 10), b'2', true),
    row("RU", "7", ("8", "810"), (10, 10), b'3', false),
    row("ZA", "27", ("0", "00"), (9, 9), b'1', false),
    row("GR", "30", ("", "00"), (10, 10), b'2', true),
    row("NL", "31", ("0", "00"), (7, 11), b'1', false),
    row("BE", "32", ("0", "00"), (8, 9), b'1', false),
    row("FR", "33", ("0", "00"), (9, 9), b'1', false),
    row("ES", "34", ("", "00"), (9, 9), b'5', true),
    row("PT", "351", ("", "00"), (9, 9), b'2', true),
    row("IE", "353", ("0", "00"), (7, 9), b'1', false),
    row("FI", "358", ("0", "00"), (5, 12), b'1', false),
    row("HU", "36", ("06", "00"), (8, 9), b'1', false),
    // The 0 of an Italian area code belongs to the number: it stays behind +39.
    row("IT", "39", ("", "00"), (6, 11), b'0', true),
    row("RO", "40", ("0", "00"), (9, 9), b'2', false),
    row("CH", "41", ("0", "00"), (9, 12), b'2', false),
    row("CZ", "420", ("", "00"), (9, 9), b'2', true),
    row("AT", "43", ("0", "00"), (4, 13), b'1', false),
    row("GB", "44", ("0", "00"), (7, 10), b'1', false),
    row("DK", "45", ("", "00"), (8, 8), b'2', true),
    row("SE", "46", ("0", "00"), (7, 13), b'1', false),
    row("NO", "47", ("", "00"), (8, 8), b'2', true),
    row("PL", "48", ("", "00"), (9, 9), b'1', true),
    row("DE", "49", ("0", "00"), (5, 13), b'1', false),
    row("MX", "52", ("", "00"), (10, 10), b'2', true),
    // Mobiles have a 9 behind +54 that nobody dials at home, where a 15 stands before the subscriber's number.
    row("AR", "54", ("0", "00"), (10, 11), b'1', false).dialling((10, 10)),
    row("BR", "55", ("0", "00"), (10, 11), b'1', false),
    row("MY", "60", ("0", "00"), (8, 10), b'1', false),
    row("AU", "61", ("0", "0011"), (9, 9), b'2', false),
    row("PH", "63", ("0", "00"), (8, 10), b'2', false),
    row("NZ", "64", ("0", "00"), (8, 10), b'2', false),
    row("JP", "81", ("0", "010"), (9, 10), b'1', false),
    row("VN", "84", ("0", "00"), (9, 10), b'2', false),
    // Mobiles, 400 and 800 are dialled without the 0.
    row("CN", "86", ("0", "00"), (10, 11), b'1', true),
    row("TR", "90", ("0", "00"), (10, 10), b'2', false),
    row("IN", "91", ("0", "00"), (10, 10), b'1', true),
    row("HK", "852", ("", "001"), (8, 8), b'2', true),
    row("UA", "380", ("0", "00"), (9, 9), b'3', false),
    row("AE", "971", ("0", "00"), (8, 9), b'2', false),
    row("IL", "972", ("0", "00"), (8, 9), b'2', false),
];

#[cfg(test)]
mod tests {
    use super::super::{E164, Form, Numbering, Plan, Received};
    use super::*;

    /// For every country a number as it is dialled there, and canonical.
    const DIALLED: &[(&str, &str, &str)] = &[
        ("US", "12125550123", "12125550123"),
        ("US", "2125550123", "12125550123"),
        ("CA", "14165550123", "14165550123"),
        ("RU", "84951234567", "74951234567"),
        ("RU", "88005553535", "78005553535"),
        ("ZA", "0211234567", "27211234567"),
        ("GR", "2101234567", "302101234567"),
        ("NL", "0201234567", "31201234567"),
        ("BE", "021234567", "3221234567"),
        ("BE", "0470123456", "32470123456"),
        ("FR", "0142685300", "33142685300"),
        ("ES", "912345678", "34912345678"),
        ("PT", "211234567", "351211234567"),
        ("IE", "012345678", "35312345678"),
        ("FI", "0912345678", "358912345678"),
        ("HU", "0611234567", "3611234567"),
        ("IT", "0612345678", "390612345678"),
        ("IT", "3123456789", "393123456789"),
        ("RO", "0211234567", "40211234567"),
        ("CH", "0441234567", "41441234567"),
        ("CZ", "221234567", "420221234567"),
        ("AT", "01234567", "431234567"),
        ("GB", "02079460123", "442079460123"),
        ("GB", "08001111", "448001111"),
        ("DK", "32123456", "4532123456"),
        ("SE", "0812345678", "46812345678"),
        ("NO", "21234567", "4721234567"),
        ("PL", "221234567", "48221234567"),
        ("DE", "03012345678", "493012345678"),
        ("DE", "0301234567890", "49301234567890"),
        ("MX", "5512345678", "525512345678"),
        ("AR", "01112345678", "541112345678"),
        ("BR", "01123456789", "551123456789"),
        ("BR", "011987654321", "5511987654321"),
        ("MY", "0312345678", "60312345678"),
        ("AU", "0212345678", "61212345678"),
        ("PH", "0212345678", "63212345678"),
        ("NZ", "093001234", "6493001234"),
        ("JP", "0312345678", "81312345678"),
        ("JP", "09012345678", "819012345678"),
        ("VN", "02412345678", "842412345678"),
        ("CN", "01012345678", "861012345678"),
        ("CN", "075512345678", "8675512345678"),
        ("CN", "13812345678", "8613812345678"),
        ("CN", "4001234567", "864001234567"),
        ("TR", "02121234567", "902121234567"),
        ("IN", "02212345678", "912212345678"),
        ("IN", "9812345678", "919812345678"),
        ("HK", "21234567", "85221234567"),
        ("UA", "0441234567", "380441234567"),
        ("AE", "041234567", "97141234567"),
        ("IL", "021234567", "97221234567"),
    ];

    /// Code, national prefix and international prefix of every country, written down apart from the table, so that a
    /// slip in one of them shows.
    const PREFIXES: &[(&str, &str, &str, &str)] = &[
        ("AE", "971", "0", "00"),
        ("AR", "54", "0", "00"),
        ("AT", "43", "0", "00"),
        ("AU", "61", "0", "0011"),
        ("BE", "32", "0", "00"),
        ("BR", "55", "0", "00"),
        ("CA", "1", "1", "011"),
        ("CH", "41", "0", "00"),
        ("CN", "86", "0", "00"),
        ("CZ", "420", "", "00"),
        ("DE", "49", "0", "00"),
        ("DK", "45", "", "00"),
        ("ES", "34", "", "00"),
        ("FI", "358", "0", "00"),
        ("FR", "33", "0", "00"),
        ("GB", "44", "0", "00"),
        ("GR", "30", "", "00"),
        ("HK", "852", "", "001"),
        ("HU", "36", "06", "00"),
        ("IE", "353", "0", "00"),
        ("IL", "972", "0", "00"),
        ("IN", "91", "0", "00"),
        ("IT", "39", "", "00"),
        ("JP", "81", "0", "010"),
        ("MX", "52", "", "00"),
        ("MY", "60", "0", "00"),
        ("NL", "31", "0", "00"),
        ("NO", "47", "", "00"),
        ("NZ", "64", "0", "00"),
        ("PH", "63", "0", "00"),
        ("PL", "48", "", "00"),
        ("PT", "351", "", "00"),
        ("RO", "40", "0", "00"),
        ("RU", "7", "8", "810"),
        ("SE", "46", "0", "00"),
        ("TR", "90", "0", "00"),
        ("UA", "380", "0", "00"),
        ("US", "1", "1", "011"),
        ("VN", "84", "0", "00"),
        ("ZA", "27", "0", "00"),
    ];

    /// A number of one country as another dials it, and as its own does.
    const WRITTEN: &[(&str, &str, &str)] = &[
        ("GB", "442079460123", "02079460123"),
        ("US", "442079460123", "011442079460123"),
        ("AU", "442079460123", "0011442079460123"),
        ("JP", "442079460123", "010442079460123"),
        ("RU", "442079460123", "810442079460123"),
        ("HK", "442079460123", "001442079460123"),
        ("US", "12125550123", "12125550123"),
        ("CA", "12125550123", "12125550123"),
        ("HU", "3611234567", "0611234567"),
        ("RU", "74951234567", "84951234567"),
        ("IT", "390612345678", "0612345678"),
        ("FR", "33142685300", "0142685300"),
        ("ES", "34912345678", "912345678"),
        ("MX", "525512345678", "5512345678"),
        ("PL", "48221234567", "221234567"),
        ("CZ", "420221234567", "221234567"),
        ("IN", "919812345678", "09812345678"),
        ("CN", "861012345678", "01012345678"),
        ("BR", "5511987654321", "011987654321"),
        ("AR", "541112345678", "01112345678"),
        // It would have to be 0 11 15 1234 5678.
        ("AR", "5491112345678", "+5491112345678"),
        // As dialled at home these would be other numbers, or none.
        ("AU", "611300123456", "+611300123456"),
        ("IE", "3531800123456", "+3531800123456"),
    ];

    fn national(iso: &str) -> Numbering {
        Numbering {
            plan: Some(Plan::from(Country::named(iso).unwrap())),
            received: Received::National,
            destination: Form::National,
            ..Numbering::default()
        }
    }

    #[test]
    fn every_country_is_dialled_and_written_as_at_home() {
        for (iso, dialled, canonical) in DIALLED {
            let numbering = national(iso);
            let number = numbering.read(dialled, None);
            assert_eq!(
                number.as_ref().map(E164::as_str),
                Some(*canonical),
                "{iso} {dialled}"
            );
            let written = numbering.destination(dialled, number);
            assert_eq!(
                numbering.read(&written, None),
                number,
                "{iso} {dialled} {written}"
            );
        }
        for country in COUNTRIES {
            assert!(
                DIALLED.iter().any(|(iso, ..)| *iso == country.iso),
                "{}: no example",
                country.iso
            );
        }
    }

    #[test]
    fn every_country_has_the_prefixes_that_the_itu_lists() {
        let mut table: Vec<_> = COUNTRIES
            .iter()
            .map(|c| (c.iso, c.code, c.national, c.international))
            .collect();
        table.sort_unstable();
        assert_eq!(table, PREFIXES);
    }

    #[test]
    fn numbers_are_written_as_they_are_dialled() {
        for (iso, number, written) in WRITTEN {
            let number = E164::new(number);
            assert_eq!(
                national(iso).destination("x", number),
                *written,
                "{iso} {number:?}"
            );
        }
    }

    #[test]
    fn a_number_that_is_not_dialled_at_home_is_still_known_by_its_country_code() {
        let auto = Numbering {
            received: Received::Auto,
            ..national("ES")
        };
        let number = auto.read("5491112345678", None);
        assert_eq!(number.as_ref().map(E164::as_str), Some("5491112345678"));
        assert_eq!(national("AR").read("091112345678", None), None);
    }

    #[test]
    fn every_country_dials_abroad_by_its_prefix() {
        // Saint Helena, where nobody in the table lives.
        for country in COUNTRIES {
            let numbering = national(country.iso);
            let number = E164::new("29022345");
            let dialled = format!("{}29022345", country.international);
            assert_eq!(numbering.read(&dialled, None), number, "{}", country.iso);
            assert_eq!(numbering.destination("x", number), dialled, "{}", country.iso);
        }
    }

    #[test]
    fn the_table_is_sound() {
        for (n, country) in COUNTRIES.iter().enumerate() {
            assert!(COUNTRIES[..n].iter().all(|other| other.iso != country.iso));
            assert!(country.iso.bytes().all(|c| c.is_ascii_uppercase()) && country.iso.len() == 2);
            let (least, most) = country.digits;
            assert!(least <= most && country.code.len() + usize::from(most) <= E164::DIGITS_MAX);
            assert!(country.bare || !country.national.is_empty(), "{}", country.iso);
            let number = format!("{}{}", country.code, "2345678");
            assert_eq!(E164::new(&number).unwrap().country_code(), country.code);
        }
        assert_eq!(Country::named("de").map(|c| c.code), Some("49"));
        assert_eq!(Country::named("44").map(|c| c.iso), Some("GB"));
        assert_eq!(Country::named("1").map(|c| c.iso), Some("US"));
        assert_eq!(Country::named("XX"), None);
    }
}
