//! What the documentation says about `sbcd`'s command line is what the program does, and the
//! files in deploy/ work with it.
#![cfg(feature = "driver")]

use sbc_core::config::{self, DEFAULT_TOML};
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sbcd(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sbcd"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn the_default_configuration_can_be_printed() {
    let output = sbcd(&["--print-default-config"]);
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), DEFAULT_TOML);
}

#[test]
fn the_example_configuration_is_valid() {
    let file = root().join("deploy/sbc.toml");
    let output = sbcd(&["--check", "--config", file.to_str().unwrap()]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    config::load(&file).unwrap().compile().unwrap();
}

#[test]
fn a_wrong_file_is_status_2_and_says_where() {
    let file = std::env::temp_dir().join(format!("sbcd-docs-{}.toml", std::process::id()));
    fs::write(
        &file,
        DEFAULT_TOML.replace("hosts = [\"127.0.0.2\"]", "hots = [\"127.0.0.2\"]"),
    )
    .unwrap();
    let output = sbcd(&["--check", "--config", file.to_str().unwrap()]);
    fs::remove_file(&file).unwrap();
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("trunk.hots: unknown key; did you mean \"hosts\"?"),
        "{stderr}"
    );
}

#[test]
fn documented_flags_exist() {
    let help = String::from_utf8(sbcd(&["--help"]).stdout).unwrap();
    for page in ["README.md", "docs/CONFIG.md", "deploy/sbcd.service"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let lines = text
            .lines()
            .filter(|l| l.contains("sbcd --") || l.starts_with("cargo run --release -- --"));
        let flags: Vec<_> = lines
            .flat_map(|l| l.split(|c: char| c.is_whitespace() || c == '`'))
            .filter(|w| w.starts_with("--") && w.len() > 2 && *w != "--release")
            .map(|w| w.trim_end_matches(['.', ',', ';', ':']))
            .collect();
        assert!(!flags.is_empty(), "{page} names no flag");
        for flag in flags {
            assert!(
                help.contains(flag),
                "{page} names {flag}, which sbcd --help does not"
            );
        }
    }
}

/// A value of `key` in the unit file.
fn unit(key: &str) -> String {
    let text = fs::read_to_string(root().join("deploy/sbcd.service")).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("the unit has no {key}")).to_owned()
}

#[test]
fn the_unit_and_the_example_agree() {
    let config = config::load(&root().join("deploy/sbc.toml")).unwrap();
    let socket = config.admin.socket.unwrap();
    assert_eq!(
        socket.parent().unwrap(),
        PathBuf::from("/run").join(unit("RuntimeDirectory"))
    );
    let stop_s: u32 = unit("TimeoutStopSec").parse().unwrap();
    assert!(
        stop_s > config.drain.timeout_s + 10,
        "systemd would kill sbcd while it drains"
    );
    let files: usize = unit("LimitNOFILE").parse().unwrap();
    assert!(files > 2 * config::default_config().media.ports.pairs() + 1_000);
    assert_eq!(unit("Type"), "notify");
}
