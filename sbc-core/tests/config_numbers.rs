//! What `[trunk.numbers]` may say, and what is told of what it may not.

use sbc_core::{
    config::{DEFAULT_TOML, parse},
    numbers::{COUNTRIES, E164, Form},
};

fn with(numbers: &str) -> String {
    DEFAULT_TOML.replacen(
        "name = \"carrier\"",
        &format!("name = \"carrier\"\nnumbers = {{ {numbers} }}"),
        1,
    )
}

#[test]
fn a_trunk_without_numbers_has_no_rules() {
    let (snapshot, _) = parse(DEFAULT_TOML, "test").unwrap().compile().unwrap();
    assert!(snapshot.trunks.iter().all(|trunk| trunk.numbers.is_none()));
}

#[test]
fn a_country_by_letters_by_code_and_by_its_prefixes() {
    for (numbers, dialled) in [
        ("country = \"GB\"", "02079460123"),
        ("country = \"gb\"", "02079460123"),
        ("country = \"44\"", "02079460123"),
        ("country = \"GB\", national_prefix = \"8\"", "82079460123"),
        ("country = \"GB\", national_prefix = \"\"", "2079460123"),
    ] {
        let (snapshot, _) = parse(&with(numbers), "test").unwrap().compile().unwrap();
        let numbering = snapshot.trunks[0].numbers.as_ref().unwrap();
        assert_eq!(
            numbering.read(dialled, None),
            E164::new("442079460123"),
            "{numbers}"
        );
        assert_eq!(numbering.asserted, Form::Pass);
    }
    // Iceland is not in the table.
    let numbers = "country = \"354\", national_prefix = \"\", originator = \"national\"";
    let (snapshot, _) = parse(&with(numbers), "test").unwrap().compile().unwrap();
    let numbering = snapshot.trunks[0].numbers.as_ref().unwrap();
    assert_eq!(numbering.read("5101234", None), E164::new("3545101234"));
    assert_eq!(numbering.read("00442079460123", None), E164::new("442079460123"));
    assert_eq!(numbering.asserted, Form::National, "as the originator");
}

#[test]
fn what_is_wrong_is_told_where_it_is() {
    for (numbers, told) in [
        (
            "country = \"QQ\"",
            "trunk.numbers.country: expected two letters of a country, such as \"DE\", or a country code, such as \
             \"49\", found \"QQ\": its plan is not known here",
        ),
        ("country = \"490\"", "trunk.numbers.country: expected two letters"),
        (
            "destination = \"national\"",
            "trunk.numbers.destination: \"national\" means nothing without a country: add one such as country = \"DE\"",
        ),
        (
            "received = \"national\"",
            "trunk.numbers.received: \"national\" means nothing",
        ),
        (
            "asserted = \"national\"",
            "trunk.numbers.asserted: \"national\" means nothing",
        ),
        (
            "national_prefix = \"0\"",
            "trunk.numbers.national_prefix: has no effect without country",
        ),
        (
            "country = \"DE\", international_prefix = \"+\"",
            "trunk.numbers.international_prefix: \"+\" is not dialled before numbers: only digits are",
        ),
        (
            "prefix_add = \"1 2\"",
            "trunk.numbers.prefix_add: expected at most 16 of digits, +, * and #, found \"1 2\"",
        ),
        (
            "originator = \"E164\"",
            "trunk.numbers.originator: expected \"pass\", \"e164\", \"plain\" or \"national\"",
        ),
        (
            "destinaton = \"e164\"",
            "trunk.numbers.destinaton: unknown key; did you mean \"destination\"?",
        ),
    ] {
        let text = with(numbers);
        let line = text
            .lines()
            .position(|line| line.starts_with("numbers ="))
            .unwrap()
            + 1;
        let problems = parse(&text, "test").unwrap_err().to_string();
        assert!(problems.contains(told), "{numbers}: {problems}");
        assert!(problems.starts_with(&format!("test:{line}:")), "{problems}");
    }
}

#[test]
fn the_page_lists_every_country() {
    let page = include_str!("../../docs/NUMBERS.md");
    for country in COUNTRIES {
        let (least, most) = country.digits;
        let national = match (country.national, country.bare) {
            ("", _) => "none".to_owned(),
            (prefix, true) => format!("{prefix} or none"),
            (prefix, false) => prefix.to_owned(),
        };
        let digits = if least == most {
            least.to_string()
        } else {
            format!("{least} to {most}")
        };
        let row = format!(
            "| {} | {} | {national} | {} | {digits} |",
            country.iso, country.code, country.international
        );
        assert!(page.contains(&row), "{row}");
    }
}
