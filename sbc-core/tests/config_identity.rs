//! What `[trunk.identity]`, `[trunk.headers]` and `[trunk.proof]` may say, and what is told of what they may not.

use sbc_core::config::{DEFAULT_TOML, parse};

fn with(section: &str) -> String {
    DEFAULT_TOML.replacen("name = \"carrier\"", &format!("name = \"carrier\"\n{section}"), 1)
}

#[test]
fn a_trunk_without_them_has_none() {
    let (snapshot, _) = parse(DEFAULT_TOML, "test").unwrap().compile().unwrap();
    for trunk in &snapshot.trunks {
        assert!(trunk.identity.is_none() && trunk.headers.is_none() && trunk.proofs.is_none());
    }
}

#[test]
fn a_secret_is_shown_nowhere() {
    let text = with("proof.inbound = { token_header = \"X-Token\", token = \"s3cret\" }");
    let config = parse(&text, "test").unwrap();
    let (snapshot, _) = config.compile().unwrap();
    for shown in [format!("{config:?}"), format!("{snapshot:?}")] {
        assert!(!shown.contains("s3cret"), "{shown}");
    }
    // Nor where it was written wrongly.
    for wrong in ["token = s3cret", "token = \"s3cret", "token = [\"s3cret\"]"] {
        let text = with(&format!(
            "proof.inbound = {{ token_header = \"X-Token\", {wrong} }}"
        ));
        let told = parse(&text, "test").unwrap_err().to_string();
        assert!(!told.contains("s3cret"), "{told}");
    }
}

#[test]
fn what_is_wrong_is_told_where_it_is() {
    for (section, told) in [
        (
            "identity = { use_account_name = true }",
            "trunk.identity.use_account_name: there is no account: add [trunk.account], or remove it",
        ),
        (
            "identity = { use_account_name = true, from_user = \"x\" }",
            "trunk.identity.use_account_name: contradicts from_user: keep one of them",
        ),
        (
            "identity = { verified = [\"+49301*\"] }",
            "trunk.identity.verified: there is no number for callers who are not in it",
        ),
        (
            "identity = { verified = [\"+49301*\"], number = \"+49302345\" }",
            "trunk.identity.number: is not verified itself: choose one of verified, or add it there",
        ),
        (
            "identity = { number = \"030123\" }",
            "trunk.identity.number: expected a number such as \"+4930123450\", found \"030123\"",
        ),
        (
            "identity = { number = \"+49301234\", verified = [\"+49302-+49301\"] }",
            "trunk.identity.verified: expected \"+4930123456\", \"+4930123400-+4930123499\" or \"+49301234*\"",
        ),
        (
            "identity = { asserted = \"never\", send_preferred = true }",
            "trunk.identity.send_preferred: has no effect with asserted = \"never\"",
        ),
        (
            "identity = { from_user = \"a b\" }",
            "trunk.identity.from_user: expected the user part of a SIP URI",
        ),
        (
            "identity = { display_name = \"a\\\"b\" }",
            "trunk.identity.display_name: expected a name",
        ),
        (
            "headers = { accept = [\"P-Asserted-Identity\"] }",
            "trunk.headers.accept: expected the name of a header field of your own, such as \"X-Customer-ID\", found \
             \"P-Asserted-Identity\": SIP has a meaning for it",
        ),
        ("headers = { send = [\"Via\"] }", "SIP has a meaning for it"),
        (
            "headers = { send = [\"v\"] }",
            "trunk.headers.send: expected the name",
        ),
        (
            "headers = { send = [\"X Y\"] }",
            "trunk.headers.send: expected the name",
        ),
        (
            "headers = { send = [\"X-A\", \"x-a\"] }",
            "trunk.headers.send: x-a is listed twice",
        ),
        (
            "headers = { count_max = 17 }",
            "trunk.headers.count_max: 17 is out of range; allowed is 1 to 16",
        ),
        (
            "proof.outbound = { token_header = \"X-T\", token = \"a\" }\nheaders = { accept = [\"x-t\"] }",
            "trunk.headers.accept: x-t holds a secret of [trunk.proof], which does not pass: remove it",
        ),
        (
            "headers = { rule = [{ action = \"add\", header = \"Contact\", value = \"x\" }] }",
            "trunk.headers.rule.header: expected the name of a header field, found \"Contact\": dialogs, bodies and \
             proofs live by it: no rule may change it",
        ),
        (
            "headers = { rule = [{ action = \"remove\", header = \"l\" }] }",
            "trunk.headers.rule.header: expected the name of a header field, found \"l\": dialogs",
        ),
        (
            "headers = { rule = [{ action = \"add\", header = \"X-A\" }] }",
            "trunk.headers.rule.value: missing; only action = \"remove\" needs none",
        ),
        (
            "headers = { rule = [{ action = \"remove\", header = \"X-A\", value = \"x\" }] }",
            "trunk.headers.rule.value: has no effect with action = \"remove\"",
        ),
        (
            "headers = { rule = [{ action = \"add\", header = \"X-A\", value = \"a\\r\\nVia: b\" }] }",
            "trunk.headers.rule.value: expected the value of a header field: text without control characters",
        ),
        (
            "proof.inbound = { token_header = \"X-T\" }",
            "trunk.proof.inbound.token_header: its secret is missing",
        ),
        (
            "proof.inbound = { token_header = \"X-T\", token = \"a\", token_env = \"PATH\" }",
            "trunk.proof.inbound.token_header: only one of token, token_env and token_file may be given",
        ),
        (
            "proof.inbound = { token = \"a\" }",
            "trunk.proof.inbound: there is a secret and no header field for it",
        ),
        (
            "proof.inbound = { token_header = \"X-T\", token_file = \"/nonexistent/secret\" }",
            "trunk.proof.inbound.token_file: /nonexistent/secret: ",
        ),
        (
            "proof.inbound = { charge_info = \"+4930\" }",
            "trunk.proof.inbound.charge_info: only goes to the trunk: write it in [trunk.proof.outbound]",
        ),
    ] {
        let text = with(section);
        let problems = parse(&text, "test").unwrap_err().to_string();
        assert!(problems.contains(told), "{section}: {problems}");
        let first = text
            .lines()
            .position(|line| line == section.lines().next().unwrap())
            .unwrap()
            + 1;
        let lines = first..first + section.lines().count();
        let line: usize = problems.split(':').nth(1).unwrap().parse().unwrap();
        assert!(lines.contains(&line), "{section}: {problems}");
    }
}
