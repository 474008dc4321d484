//! What a trunk's log-in may say, and what kind of trunk goes with what.

use sbc_core::{
    config::{DEFAULT_TOML, parse},
    digest::{Account, Algorithm},
    snapshot::Target,
    trunk::TrunkKind,
};
use std::time::Duration;

fn with(lines: &str) -> String {
    DEFAULT_TOML.replacen("name = \"carrier\"", &format!("name = \"carrier\"\n{lines}"), 1)
}

/// A trunk that lists no host.
fn roaming(lines: &str) -> String {
    with(lines).replacen("hosts = [\"127.0.0.2\"]", "", 1)
}

fn problems(text: &str) -> String {
    parse(text, "test").unwrap_err().to_string()
}

const USER: &str = "user = [{ username = \"alice\", password = \"s3cret\" }]";

#[test]
fn a_log_in_has_users_a_realm_and_algorithms() {
    let login = format!(
        "login = {{ {USER}, realm = \"sbc.example\", algorithms = [\"SHA-512-256\", \"MD5\"], inside_calls = true }}"
    );
    let text = with(&login).replace(
        "[admin]",
        "[login]\nnonce_life_s = 60\nchallenges_per_s = 7\n[admin]",
    );
    let config = parse(&text, "test").unwrap();
    let (snapshot, _) = config.compile().unwrap();
    assert!(!format!("{config:?}{snapshot:?}").contains("s3cret"));
    let login = snapshot.trunks[0].peer.login.as_ref().unwrap();
    assert_eq!(*login.accounts, [Account::new(b"alice", b"s3cret")]);
    assert_eq!(&*login.realm, "sbc.example");
    assert_eq!(*login.algorithms, [Algorithm::Sha512_256, Algorithm::Md5]);
    assert!(login.inside_calls && !login.roams);
    assert_eq!(snapshot.logins.terms.nonce_life, Duration::from_secs(60));
    assert_eq!(snapshot.logins.terms.challenges_per_s, 7);
    let (snapshot, _) = parse(&with(&format!("login = {{ {USER} }}")), "test")
        .unwrap()
        .compile()
        .unwrap();
    let login = snapshot.trunks[0].peer.login.as_ref().unwrap();
    assert_eq!(*login.algorithms, [Algorithm::Sha256, Algorithm::Md5]);
    assert_eq!((&*login.realm, login.inside_calls), ("sbcd", false));
}

#[test]
fn mistakes_in_a_log_in_are_told() {
    for (login, told) in [
        (
            "login = { user = [] }",
            "login.user: there are 0; allowed are 1 to 1000",
        ),
        ("login = {}", "user"),
        (
            "login = { user = [{ username = \"a\" }] }",
            "login.user: a password is missing: add password, password_env or password_file",
        ),
        (
            "login = { user = [{ username = \"\", password = \"s3cret\" }] }",
            "login.user.username: it is empty",
        ),
        (
            "login = { user = [{ username = \"a b\", password = \"s3cret\" }] }",
            "cannot stand in a SIP URI",
        ),
        (
            "login = { user = [{ username = \"a\", password = \"s3cret\" }, { username = \"a\", password = \"s3cret\" }] }",
            "realm \"sbcd\" has this user already, at trunk \"carrier\"",
        ),
        (
            "login = { user = [{ username = \"a\", password = \"s3cret\" }], realm = \"a\\\"b\" }",
            "no quotes or backslashes",
        ),
        (
            "login = { user = [{ username = \"a\", password = \"s3cret\" }], algorithms = [] }",
            "the list is empty: name one, or leave it out",
        ),
        (
            "login = { user = [{ username = \"a\", password = \"s3cret\" }], algorithms = [\"MD5\", \"MD5\"] }",
            "MD5 is listed twice",
        ),
        (
            "login = { user = [{ username = \"a\", password = \"s3cret\" }], algorithms = [\"md5\"] }",
            "expected \"MD5\", \"SHA-256\" or \"SHA-512-256\"",
        ),
    ] {
        let text = problems(&with(login));
        assert!(text.contains(told), "{login}: {text}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    let two = with(&format!("login = {{ {USER} }}")).replacen(
        "name = \"platform\"",
        "name = \"platform\"\nlogin = { user = [{ username = \"bob\", password = \"x\" }], algorithms = [\"MD5\"] }",
        1,
    );
    let text = problems(&two);
    assert!(
        text.contains("trunk \"carrier\" has another list for the same realm \"sbcd\""),
        "{text}"
    );
}

#[test]
fn the_kind_of_a_trunk_is_what_it_says_or_what_it_has() {
    let login = format!("login = {{ {USER} }}");
    for (text, kind) in [
        (with(""), TrunkKind::Ip),
        (with("type = \"ip\""), TrunkKind::Ip),
        (with("target = \"carrier.example\""), TrunkKind::Fqdn),
        (
            with("type = \"fqdn\"\ntarget = \"carrier.example\""),
            TrunkKind::Fqdn,
        ),
        (with(&login), TrunkKind::Credentials),
        (
            with(&format!("type = \"credentials\"\n{login}")),
            TrunkKind::Credentials,
        ),
        (
            roaming(&format!("target = \"carrier.example\"\n{login}")),
            TrunkKind::Credentials,
        ),
        (
            roaming(&format!("target = \"192.0.2.1:5060\"\n{login}")),
            TrunkKind::Credentials,
        ),
    ] {
        let (snapshot, _) = parse(&text, "test").unwrap().compile().unwrap();
        assert_eq!(snapshot.trunks[0].peer.kind, kind);
    }
    for (text, told) in [
        (
            with("type = \"credentials\""),
            "type: \"credentials\" needs names and passwords: add [trunk.login]",
        ),
        (
            with(&format!("type = \"ip\"\n{login}")),
            "a trunk with [trunk.login] is of type \"credentials\"",
        ),
        (
            with(&format!("type = \"fqdn\"\n{login}")),
            "a trunk with [trunk.login] is of type \"credentials\"",
        ),
        (with("type = \"fqdn\""), "\"fqdn\" needs a name"),
        (
            with("type = \"ip\"\ntarget = \"carrier.example\""),
            "is of type \"fqdn\": say so, or write an address there",
        ),
        (
            with("type = \"sip\""),
            "expected \"ip\", \"credentials\" or \"fqdn\", found \"sip\"",
        ),
        (roaming(""), "hosts: there are 0; allowed are 1 to 1000"),
    ] {
        let text = problems(&text);
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn without_a_target_calls_go_to_registered_users() {
    let text = roaming(&format!(
        "login = {{ {USER}, realm = \"sbc.example\", expires_max_s = 600, contacts_max = 2 }}"
    ));
    let (snapshot, _) = parse(&text, "test").unwrap().compile().unwrap();
    let trunk = &snapshot.trunks[0];
    assert_eq!(trunk.target, Target::Registered);
    assert_eq!(trunk.peer.domain.as_deref(), Some("sbc.example"));
    let login = trunk.peer.login.as_ref().unwrap();
    let grants = login.grants.unwrap();
    assert_eq!(
        (
            grants.expires_min_s,
            grants.expires_max_s,
            grants.expires_nat_s,
            grants.contacts_max
        ),
        (60, 600, 60, 2)
    );
    assert!(login.roams && !login.number_in_uri);
    let text = with(&format!("login = {{ {USER} }}\ntarget = \"127.0.0.2:5070\""));
    let (snapshot, _) = parse(&text, "test").unwrap().compile().unwrap();
    assert!(snapshot.trunks[0].peer.login.as_ref().unwrap().grants.is_none());
    for (lines, told) in [
        (
            "options_interval_s = 60",
            "options_interval_s: has no effect without target",
        ),
        ("transport = \"tcp\"", "transport: has no effect without target"),
        (
            "register = { user = \"x\" }",
            "register: has no effect without target",
        ),
        ("listener = \"mian\"", "did you mean \"main\""),
    ] {
        let text = problems(&roaming(&format!("login = {{ {USER} }}\n{lines}")));
        assert!(text.contains(told), "{text}");
    }
    let text = problems(&roaming(&format!(
        "login = {{ {USER}, expires_min_s = 700, expires_max_s = 600 }}"
    )));
    assert!(text.contains("700 is more than expires_max_s (600)"), "{text}");
}
