//! Texts before and after.

use super::*;

const TEXT: &str = r#"# Ours.
[limits]
cps = 5 # slow

[[listener]]
name = "main"
address = "127.0.0.1:5060"

[media]
address = "127.0.0.1"

# The carrier.
[[trunk]]
name = "carrier"
hosts = ["127.0.0.2"]   # just one
limits.inbound = { cps = 100 } # as agreed
[trunk.session_timer]
expires_s = 0

[[trunk]]
name = "platform"
hosts = ["127.0.0.3"]
domains = ["p.test"]
domains_from = ["carrier"]

[[route]]
from = "carrier"
to = "platform"

# The end.
"#;

fn one(action: Action, kind: &str, which: &str, values: &[(&str, &str)]) -> Edit {
    let value = |text: &&str| (!text.is_empty()).then(|| (*text).to_owned());
    Edit {
        action,
        kind: kind.to_owned(),
        which: (!which.is_empty()).then(|| which.to_owned()),
        values: values
            .iter()
            .map(|(key, text)| Assignment {
                key: (*key).to_owned(),
                value: value(text),
            })
            .collect(),
    }
}

fn edited(action: Action, kind: &str, which: &str, values: &[(&str, &str)]) -> Result<String, String> {
    edit(TEXT, &[one(action, kind, which, values)]).map_err(|error| error.to_string())
}

#[test]
fn a_value_changes_and_nothing_else() {
    let text = edited(Action::Set, "trunk", "carrier", &[("limits.inbound.cps", "20")]).unwrap();
    assert_eq!(text, TEXT.replace("cps = 100", "cps = 20"));
    let text = edited(Action::Set, "trunk", "carrier", &[("hosts", "[\"127.0.0.9\"]")]).unwrap();
    assert_eq!(text, TEXT.replace("[\"127.0.0.2\"]", "[\"127.0.0.9\"]"));
    let text = edited(Action::Set, "trunk", "1", &[("session_timer.expires_s", "90")]).unwrap();
    assert_eq!(text, TEXT.replace("expires_s = 0", "expires_s = 90"));
    let text = edited(Action::Set, "limits", "", &[("cps", "7")]).unwrap();
    assert_eq!(text, TEXT.replace("cps = 5", "cps = 7"));
}

#[test]
fn keys_come_and_go() {
    let text = edited(
        Action::Set,
        "trunk",
        "platform",
        &[("limits.both.channels", "9"), ("enabled", "false")],
    )
    .unwrap();
    let added = "domains_from = [\"carrier\"]\nlimits.both.channels = 9\nenabled = false\n";
    assert_eq!(text, TEXT.replace("domains_from = [\"carrier\"]\n", added));
    let text = edited(
        Action::Set,
        "trunk",
        "platform",
        &[("domains", ""), ("domains_from", ""), ("no.such.key", "")],
    )
    .unwrap();
    assert_eq!(
        text,
        TEXT.replace("domains = [\"p.test\"]\ndomains_from = [\"carrier\"]\n", "")
    );
    // What is no TOML is text.
    let text = edited(Action::Set, "route", "from=carrier", &[("to", "carrier")]).unwrap();
    assert_eq!(text, TEXT.replace("to = \"platform\"", "to = \"carrier\""));
}

#[test]
fn a_table_comes_behind_its_like() {
    let values = [
        ("hosts", "[\"127.0.0.4\"]"),
        ("limits.inbound.cps", "3"),
        ("fallback", "platform"),
    ];
    let text = edited(Action::Add, "trunk", "new", &values).unwrap();
    let trunk = "\n[[trunk]]\nname = \"new\"\nhosts = [\"127.0.0.4\"]\nlimits.inbound.cps = 3\n";
    let route = "\n[[route]]\nfrom = \"new\"\nto = \"platform\"\n";
    let expected = TEXT.replace("\n[[route]]", &format!("{trunk}\n[[route]]"));
    let expected = expected.replace("to = \"platform\"\n", &format!("to = \"platform\"\n{route}"));
    assert_eq!(text, expected);
    let text = edited(
        Action::Add,
        "did",
        "",
        &[("numbers", "[\"49\"]"), ("to", "platform")],
    )
    .unwrap();
    assert!(
        text.contains("[[did]]\nnumbers = [\"49\"]\nto = \"platform\"\n"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_says_why() {
    for (edit, says) in [
        (
            (Action::Add, "trunk", "carrier", &[("fallback", "platform")][..]),
            "already",
        ),
        ((Action::Add, "trunk", "x", &[("hosts", "[]")]), "nowhere to go"),
        (
            (Action::Set, "trunk", "carier", &[("enabled", "true")]),
            "there are: \"carrier\", \"platform\"",
        ),
        ((Action::Set, "trunk", "carrier", &[]), "nothing to change"),
        ((Action::Set, "trunk", "", &[("enabled", "true")]), "which trunk"),
        ((Action::Set, "trunk", "carrier", &[("hosts", "[1")]), "no TOML"),
        ((Action::Set, "trunk", "carrier", &[("hosts.x", "1")]), "no table"),
        ((Action::Set, "trunk", "carrier", &[("a..b", "1")]), "no key"),
        (
            (Action::Set, "trunk", "carrier", &[("session_timer", "1")]),
            "table of its own",
        ),
        (
            (Action::Set, "tr]unk", "carrier", &[("x", "1")]),
            "no name of a section",
        ),
        (
            (Action::Set, "limits", "carrier", &[("x", "1")]),
            "not written as [[limits]]",
        ),
        ((Action::Delete, "did", "1", &[]), "no [[did]]"),
        ((Action::Delete, "route", "1", &[]), "is a fallback"),
        (
            (Action::Set, "route", "1", &[("prefixes", "[\"49\"]")]),
            "is a fallback",
        ),
    ] {
        let (action, kind, which, values) = edit;
        let error = edited(action, kind, which, values).unwrap_err();
        assert!(error.contains(says), "{kind} {which}: {error}");
    }
}

#[test]
fn a_fallback_is_taken_from_nobody() {
    // For the calls of another trunk it would be none for those of the first.
    let error = edited(Action::Set, "route", "1", &[("from", "platform")]).unwrap_err();
    assert_eq!(
        error,
        "calls from trunk \"carrier\" would have no fallback any more: give them another one first \
         (`route add from=carrier to=TRUNK`)"
    );
    // For one more, for all, and to somebody else: it may go.
    for values in [
        ("from", "[\"carrier\", \"platform\"]"),
        ("from", ""),
        ("to", "carrier"),
    ] {
        edited(Action::Set, "route", "1", &[values]).unwrap();
    }
    let another = one(
        Action::Add,
        "route",
        "",
        &[("from", "carrier"), ("to", "platform")],
    );
    let moved = one(Action::Set, "route", "1", &[("from", "platform")]);
    edit(TEXT, &[another, moved]).unwrap();
}

#[test]
fn who_is_referred_to_stays() {
    let error = edited(Action::Delete, "trunk", "platform", &[]).unwrap_err();
    assert_eq!(
        error,
        "trunk \"platform\" is used by route 1 (line 28): delete or change them first"
    );
    // Its own fallback goes with it; what others say of it does not.
    let error = edited(Action::Delete, "trunk", "carrier", &[]).unwrap_err();
    assert_eq!(
        error,
        "trunk \"carrier\" is used by trunk \"platform\" (domains_from, line 24): delete or change them first"
    );
    let edits = [
        one(
            Action::Set,
            "trunk",
            "platform",
            &[("domains", ""), ("domains_from", "")],
        ),
        one(Action::Delete, "trunk", "carrier", &[]),
    ];
    let text = edit(TEXT, &edits).unwrap();
    assert!(!text.contains("carrier\"") && !text.contains("route"), "{text}");
    assert!(text.contains("# The end.") && text.contains("# Ours."));
}

#[test]
fn a_rule_that_is_for_some_calls_only_may_go() {
    let text = format!("{TEXT}[[route]]\nfrom = \"carrier\"\nto = \"platform\"\nprefixes = [\"49\"]\n");
    let after = edit(&text, &[one(Action::Delete, "route", "2", &[])]).unwrap();
    assert_eq!(
        after.trim_end(),
        TEXT.trim_end()
            .strip_suffix("\n# The end.")
            .unwrap_or(TEXT)
            .trim_end()
    );
}
