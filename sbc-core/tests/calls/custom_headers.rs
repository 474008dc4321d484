//! Header fields of the operator's own (N6): those that both trunks name pass, not more than so many, and nothing that
//! could be something else.

use crate::two_trunks::{desk, forwarded, invite_with};

const ACCEPT: &str = "headers = { accept = [\"X-One\", \"X-Two\", \"X-Three\", \"X-Four\"] }";
const SEND: &str = "headers = { send = [\"X-One\", \"X-Two\", \"X-Three\", \"X-Four\"] }";

/// The `X-` header fields that the callee is sent, and how many were dropped.
fn passed(carrier: &str, platform: &str, fields: &str) -> (Vec<String>, u64) {
    let mut desk = desk(carrier, platform);
    let out = forwarded(&mut desk, &invite_with(fields));
    let head = out.text.split("\r\n\r\n").next().unwrap();
    let passed = head
        .lines()
        .filter(|line| line.starts_with("X-"))
        .map(str::to_owned);
    (passed.collect(), desk.shard.counters().headers_dropped)
}

#[test]
fn only_what_both_trunks_name_passes() {
    let fields = "X-One: 1\r\nX-Two: a, b;c=\"d\"\r\nX-Five: 5";
    let all = vec!["X-One: 1".to_owned(), "X-Two: a, b;c=\"d\"".to_owned()];
    assert_eq!(passed(ACCEPT, SEND, fields), (all, 0));
    for (carrier, platform) in [("", ""), (ACCEPT, ""), ("", SEND), (SEND, ACCEPT)] {
        assert_eq!(
            passed(carrier, platform, fields),
            (vec![], 0),
            "{carrier} {platform}"
        );
    }
    let one = passed(
        ACCEPT,
        "headers = { send = [\"x-one\"] }",
        &fields.replace("X-One", "x-ONE"),
    );
    assert_eq!(one, (vec!["X-One: 1".to_owned()], 0), "in our spelling");
}

#[test]
fn three_and_two_hundred_bytes() {
    let fields = "X-Four: 4\r\nX-Three: 3\r\nX-Two: 2\r\nX-One: 1";
    let (three, dropped) = passed(ACCEPT, SEND, fields);
    assert_eq!((three.len(), dropped), (3, 1));
    assert_eq!(
        passed(ACCEPT, SEND, "X-One: 1\r\nX-One: 2\r\nX-One: 3\r\nX-One: 4").1,
        1
    );

    let fits = format!("X-One: {}", "a".repeat(195));
    assert_eq!(passed(ACCEPT, SEND, &fits), (vec![fits.clone()], 0));
    let long = format!("X-One: {}", "a".repeat(196));
    assert_eq!(passed(ACCEPT, SEND, &long), (vec![], 1));

    let wider = ACCEPT.replace("] }", "], count_max = 4, bytes_max = 400 }");
    assert_eq!(passed(&wider, SEND, &long), (vec![long], 0));
    assert_eq!(passed(&wider, SEND, fields).0.len(), 4);
}

#[test]
fn no_value_makes_a_line_of_its_own() {
    for (value, passes) in [
        ("a\rP-Asserted-Identity: <sip:1@x>", None),
        ("a\x0bb", None),
        ("a\x00b", None),
        ("a\x7fb", None),
        // A fold is a blank.
        ("a\r\n Injected: b", Some("X-One: a Injected: b")),
        ("tab\there", Some("X-One: tab\there")),
    ] {
        let (passed, _) = passed(ACCEPT, SEND, &format!("X-One: {value}"));
        let expected: Vec<String> = passes.into_iter().map(str::to_owned).collect();
        assert_eq!(passed, expected, "{value:?}");
    }
}

#[test]
fn user_to_user_passes_between_trunks_that_both_have_it() {
    let has = "headers = { user_to_user = true }";
    let field = "User-to-User: 56a390f3d2b7310023a2;encoding=hex;purpose=isdn-uui;x=secret";
    let mut both = desk(has, has);
    assert_eq!(
        forwarded(&mut both, &invite_with(field)).header("User-to-User"),
        "56a390f3d2b7310023a2;encoding=hex;purpose=isdn-uui"
    );
    for (carrier, platform) in [("", ""), (has, ""), ("", has)] {
        assert!(!forwarded(&mut desk(carrier, platform), &invite_with(field)).has("User-to-User"));
    }
    for odd in ["<sip:x@y>", "a b", &"ab".repeat(300), ""] {
        let mut both = desk(has, has);
        assert!(
            !forwarded(&mut both, &invite_with(&format!("User-to-User: {odd}"))).has("User-to-User"),
            "{odd}"
        );
    }
}
