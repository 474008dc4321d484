//! What a trunk's account may say, where its password comes from, and that it is shown nowhere.

use sbc_core::config::{DEFAULT_TOML, parse};
use std::{fs, path::Path};

fn with(account: &str) -> String {
    DEFAULT_TOML.replacen(
        "name = \"carrier\"",
        &format!("name = \"carrier\"\naccount = {{ {account} }}"),
        1,
    )
}

fn problems(account: &str) -> String {
    parse(&with(account), "test").unwrap_err().to_string()
}

fn file(name: &str, text: &[u8]) -> String {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn a_password_comes_from_the_file_itself_or_from_another() {
    let elsewhere = format!("password_file = \"{}\"", file("password", b"s3cret\r\n"));
    for password in ["password = \"s3cret\"", &elsewhere] {
        let config = parse(&with(&format!("username = \"alice\", {password}")), "test").unwrap();
        let (snapshot, _) = config.compile().unwrap();
        let account = snapshot.trunks[0].peer.account.as_ref().unwrap();
        assert_eq!(*account, sbc_core::digest::Account::new(b"alice", b"s3cret"));
        for shown in [format!("{config:?}"), format!("{snapshot:?}")] {
            assert!(!shown.contains("s3cret"), "{shown}");
        }
        assert!(snapshot.trunks[1].peer.account.is_none());
    }
}

#[test]
fn a_password_comes_from_the_environment() {
    // One that is always set, for nothing may be set here beside other tests.
    let path = std::env::var("PATH").unwrap();
    let text = with("username = \"alice\", password_env = \"PATH\"");
    let (snapshot, _) = parse(&text, "test").unwrap().compile().unwrap();
    let account = snapshot.trunks[0].peer.account.as_ref().unwrap();
    assert_eq!(
        *account,
        sbc_core::digest::Account::new(b"alice", path.as_bytes())
    );
}

#[test]
fn what_is_missing_or_given_twice_is_told() {
    let long = format!(
        "username = \"a\", password_file = \"{}\"",
        file("long", &[b'x'; 1025])
    );
    let empty = format!("username = \"a\", password_file = \"{}\"", file("empty", b"\n"));
    for (account, told) in [
        (
            "username = \"a\"",
            "a password is missing: add password, password_env or password_file",
        ),
        ("password = \"s3cret\"", "username"),
        ("username = \"\", password = \"s3cret\"", "username: it is empty"),
        ("username = \"a\", password = \"\"", "password: "),
        (
            "username = \"a\", password = 5318008",
            "password: expected a password: text in quotes",
        ),
        ("username = \"a\", password = s3cret", "not valid TOML"),
        (
            "username = \"a\", password = \"s3cret\", password_env = \"PATH\"",
            "only one of password, password_env and password_file",
        ),
        (
            "username = \"a\", password_env = \"SBC_NO_SUCH_VARIABLE\"",
            "password_env: the environment variable SBC_NO_SUCH_VARIABLE is not set",
        ),
        (
            "username = \"a\", password_file = \"/nonexistent/password\"",
            "password_file: /nonexistent/password: No such file",
        ),
        (&long, "it is longer than 1024 bytes"),
        (&empty, "it is empty"),
    ] {
        let text = problems(account);
        assert!(text.contains(told), "{account}: {text}");
        assert!(!text.contains("s3cret") && !text.contains("5318008"), "{text}");
    }
}

#[test]
fn a_registration_takes_its_name_from_the_account() {
    let register = |lines: &str| {
        let text = DEFAULT_TOML.replacen("name = \"carrier\"", &format!("name = \"carrier\"\n{lines}"), 1);
        let config = parse(&text, "test").map_err(|error| error.to_string())?;
        let (snapshot, _) = config.compile().unwrap();
        Ok::<_, String>(snapshot.trunks[0].peer.registration.clone().unwrap())
    };
    let account = "account = { username = \"alice\", password = \"s3cret\" }";
    let of_account = register(&format!("{account}\nregister = {{}}")).unwrap();
    assert_eq!(
        (&*of_account.user, of_account.domain, of_account.expires_s),
        ("alice", None, 3600)
    );
    let own = "register = { user = \"bob\", domain = \"reg.example\", expires_s = 60 }";
    let own = register(&format!("{account}\n{own}")).unwrap();
    assert_eq!(
        (&*own.user, own.domain.as_deref(), own.expires_s),
        ("bob", Some("reg.example"), 60)
    );
    for (lines, told) in [
        (
            "register = {}",
            "register.user: is missing: give it, or add [trunk.account]",
        ),
        ("register = { user = \"a b\" }", "cannot stand in a SIP URI"),
        ("register = { user = \"\" }", "cannot stand in a SIP URI"),
        ("register = { user = \"a\", expires_s = 59 }", "expires_s"),
    ] {
        let problem = register(lines).unwrap_err();
        assert!(problem.contains(told), "{problem}");
    }
}
