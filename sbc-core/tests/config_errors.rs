//! Every mistake an operator can make in the file, and the exact text he is told.

use sbc_core::config::{ConfigError, DEFAULT_TOML, load, parse};

/// A good file; the cases replace one line of it.
const GOOD: &str = r#"[[listener]]
name = "main"
address = "127.0.0.1:5060"
[media]
address = "127.0.0.1"
[[trunk]]
name = "carrier"
hosts = ["127.0.0.2"]
[[trunk]]
name = "platform"
hosts = ["127.0.0.3", "10.0.0.0/8"]
[[route]]
from = "carrier"
to = "platform"
"#;

/// What `text` is refused with.
fn errors(text: &str) -> String {
    match parse(text, "sbc.toml") {
        Ok(config) => panic!("accepted:\n{text}\n{config:?}"),
        Err(error) => error.to_string(),
    }
}

/// (line of GOOD to replace, what with, the error)
const CASES: &[(&str, &str, &str)] = &[];

#[test]
fn the_good_file_is_good() {
    parse(GOOD, "sbc.toml").unwrap().compile().unwrap();
    parse(DEFAULT_TOML, "default").unwrap().compile().unwrap();
}

#[test]
fn each_mistake_has_its_message() {
    for (line, with, expected) in CASES {
        assert_eq!(
            GOOD.matches(line).count(),
            1,
            "{line} must be one place of the good file"
        );
        assert_eq!(errors(&GOOD.replace(line, with)), *expected, "for {with}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = load("/nonexistent/sbc.toml".as_ref()).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
    assert_eq!(
        error.to_string(),
        "/nonexistent/sbc.toml: cannot read the configuration: No such file or directory (os error 2); \
         `sbcd --print-default-config` prints one to start from, and `sbcd` without --config needs none"
    );
}
