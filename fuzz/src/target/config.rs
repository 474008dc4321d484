//! The configuration file: whatever an operator saves, the answer is a configuration or a list of mistakes.

use sbc_core::config;

/// Reads `bytes` as a configuration file; what was accepted also compiles or says why not.
pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match config::parse(text, "fuzz.toml") {
        Ok(config) => {
            if let Err(error) = config.compile() {
                assert!(!error.to_string().is_empty());
            }
        }
        Err(error) => assert!(
            error.to_string().contains("fuzz.toml"),
            "an error names its file: {error}"
        ),
    }
}
