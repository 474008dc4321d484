//! Files with prefixes: what is read, and which line is complained about.

use sbc_core::{config, trunk::TrunkId};
use std::{fs, path::PathBuf};

const TRUNKS: &str = "[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:5060\"\n[media]\naddress = \"127.0.0.1\"\n\
    [[trunk]]\nname = \"a\"\nhosts = [\"127.0.0.2\"]\n[[trunk]]\nname = \"b\"\nhosts = [\"127.0.0.3\"]\n";

/// A file of this test's own with `text`.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path
}

fn compile(path: &std::path::Path) -> Result<sbc_core::snapshot::Snapshot, String> {
    let routes = format!(
        "[[route]]\nname = \"one\"\nto = \"a\"\nprefixes = [\"1\"]\nprefixes_file = {path:?}\n\
         [[route]]\nname = \"two\"\nto = \"b\"\n[[route]]\nfrom = \"a\"\nto = \"b\"\n"
    );
    let config =
        config::parse(&format!("{TRUNKS}{routes}"), "sbc.toml").map_err(|error| error.to_string())?;
    config
        .compile()
        .map(|(snapshot, _)| snapshot)
        .map_err(|error| error.to_string())
}

#[test]
fn prefixes_belong_to_the_route_of_the_file_or_to_the_one_they_name() {
    let path = file(
        "good.prefixes",
        "# Europe\n49\n4930, two # Berlin\n\n33\ttwo\r\n+44;one\n",
    );
    let snapshot = compile(&path).unwrap();
    let rule = |number: &str, from| {
        let found = snapshot.routes.find(TrunkId(from), number.as_bytes(), || 0);
        found.map_or_else(String::new, |found| found.rule.name.to_string())
    };
    for (number, name) in [
        ("123", "one"),
        ("4940", "one"),
        ("49301", "two"),
        ("331", "two"),
        ("44", "one"),
        ("7", "route 3"),
    ] {
        assert_eq!(rule(number, 0), name, "{number}");
    }
    assert_eq!(rule("7", 1), "", "a route that a file names is no fallback");
}

#[test]
fn bad_lines_are_named() {
    let path = file("bad.prefixes", "49\n4x\n33 nobody\n1 one more\n+\n");
    let name = path.display();
    assert_eq!(
        compile(&path).unwrap_err(),
        format!(
            "{name}:2:1: route.prefixes_file: \"4x\" is no prefix: it may have digits alone, after a \"+\" or without one\n\
             {name}:3:1: route.prefixes_file: no route has the name \"nobody\": give it one, with name\n\
             {name}:4:1: route.prefixes_file: found \"more\" behind prefix and name of a route\n\
             {name}:5:1: route.prefixes_file: it is empty: a route without prefixes takes what no other does"
        )
    );
    let many = file("many.prefixes", &"x\n".repeat(1000));
    assert_eq!(compile(&many).unwrap_err().lines().count(), 10);
}

#[test]
fn a_prefix_that_is_there_twice_and_a_file_that_is_not_there_are_errors() {
    let path = file("twice.prefixes", "49\n1\n");
    assert_eq!(
        compile(&path).unwrap_err(),
        "configuration: route[0].prefixes: 1 is listed twice"
    );
    let missing = compile("/nowhere/prefixes".as_ref()).unwrap_err();
    assert!(
        missing.starts_with("/nowhere/prefixes: route.prefixes_file: cannot read the prefixes: "),
        "{missing}"
    );
}
