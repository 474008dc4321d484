//! What the options of guard and limits mean together, and what they cannot mean.

use sbc_core::{
    config::{DEFAULT_TOML, parse},
    guard::{Action, Offence},
};
use std::time::Duration;

fn with(more: &str) -> String {
    format!("{DEFAULT_TOML}\n{more}")
}

fn problems(more: &str) -> String {
    parse(&with(more), "test").unwrap_err().to_string()
}

#[test]
fn rules_and_thresholds_are_compiled() {
    let text = with(
        "[guard]\nacl_default = \"deny\"\nban_s = 60\nscanner_max = 2\n[[acl]]\naction = \"allow\"\nnetworks = [\"192.0.2.0/24\"]",
    );
    let (snapshot, _) = parse(&text, "test").unwrap().compile().unwrap();
    let rules = &snapshot.guard;
    assert_eq!(rules.acl.admits("192.0.2.9".parse().unwrap()), Action::Allow);
    assert_eq!(rules.acl.admits("192.0.3.9".parse().unwrap()), Action::Deny);
    assert_eq!(
        (rules.ban, rules.tolerated[Offence::Scanner as usize]),
        (Duration::from_secs(60), 2)
    );
    assert_eq!(rules.tolerated[Offence::Operator as usize], 0);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (more, says) in [
        (
            "[[acl]]\naction = \"deny\"\nnetworks = []",
            "acl.networks: the list is empty",
        ),
        (
            "[[acl]]\naction = \"deny\"\nnetworks = [\"192.0.2.1:5060\"]",
            "leave it out",
        ),
        (
            "[[acl]]\naction = \"drop\"\nnetworks = [\"192.0.2.1\"]",
            "acl.action",
        ),
        ("[guard]\nscanners = [\"ua\"]", "too short"),
        ("[[limit]]\nname = \"all\"\ncps = 5", "as [limits] is"),
        (
            "[[limit]]\nname = \"x\"\nfrom = \"nobody\"",
            "no trunk is called \"nobody\"",
        ),
        ("[[limit]]\nname = \"x\"\ncalled = [\"+\"]", "it is empty"),
        (
            "[[limit]]\nname = \"x\"\ncalled = [\"49\"]\n[[limit]]\nname = \"x\"\ncalled = [\"43\"]",
            "another limit",
        ),
        (
            "[[limit]]\nname = \"x\"\ncalled = [\"49\"]\nburst = 5",
            "no effect without cps",
        ),
    ] {
        let problems = problems(more);
        assert!(problems.contains(says), "{more}: {problems}");
    }
    let trunk = |limits: &str| {
        DEFAULT_TOML.replacen(
            "name = \"carrier\"",
            &format!("name = \"carrier\"\nlimits = {{ {limits} }}"),
            1,
        )
    };
    for (limits, says) in [
        ("inbound = { cps = 5, max_wait_ms = 100 }", "use `outbound`"),
        ("outbound = { max_wait_ms = 100 }", "no `cps` to wait for"),
    ] {
        let problems = parse(&trunk(limits), "test").unwrap_err().to_string();
        assert!(problems.contains(says), "{limits}: {problems}");
    }
    assert!(parse(&trunk("outbound = { cps = 5, max_wait_ms = 100 }"), "test").is_ok());
}
