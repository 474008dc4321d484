//! Every command against a daemon that answers by the book: what it prints, what it asks, which
//! exit code it ends with.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the fake daemon is a thread with blocking sockets"
)]

mod fake;

use fake::{Daemon, by_the_book, command, ctl, directory, documented, failure};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::{Command, Output},
};

fn error_of(output: &Output) -> String {
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "",
        "errors go to standard error"
    );
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Commands that need nothing but a daemon, with their method.
const PLAIN: &[(&str, &[&str])] = &[
    ("status", &["status"]),
    ("calls.show", &["call", "show", "0-42-9a7e"]),
    ("calls.hangup", &["call", "hangup", "0-42-9a7e"]),
    ("trunks.list", &["trunks"]),
    ("route.test", &["route", "test", "+493012340"]),
    ("registrations.list", &["registrations"]),
    ("limits.show", &["limits", "show"]),
    ("limits.set", &["limits", "set", "carrier", "inbound.cps=200"]),
    ("stats", &["stats"]),
    ("shards", &["shards"]),
    ("audit", &["audit"]),
    ("bans.list", &["bans"]),
    ("bans.add", &["bans", "add", "192.0.2.67", "--for", "1h"]),
    ("bans.lift", &["bans", "lift", "192.0.2.67"]),
    ("drain", &["drain"]),
    ("log.level", &["log-level", "debug"]),
    ("tls.show", &["tls", "show"]),
    ("tls.reload", &["tls", "reload"]),
    ("config.reload", &["reload"]),
    ("config.diff", &["diff"]),
    ("config.apply", &["apply", "new.toml"]),
    ("config.edit", &["trunk", "disable", "carrier"]),
    ("trunk.sheet", &["trunk", "sheet", "carrier"]),
];

#[test]
fn json_is_exactly_the_result() {
    let sbcd = Daemon::start(by_the_book());
    let calls: &[(&str, &[&str])] = &[("calls.list", &["calls"])];
    let mut covered = vec!["hello"];
    for (method, arguments) in PLAIN.iter().chain(calls) {
        let mut arguments = arguments.to_vec();
        arguments.push("--json");
        let text = sbcd.shows(&arguments);
        assert_eq!(text.matches('\n').count(), 1, "one line");
        assert_eq!(
            serde_json::from_str::<Value>(&text).unwrap(),
            documented()[*method],
            "{method}"
        );
        assert_eq!(sbcd.last_asked().0, *method);
        covered.push(method);
    }
    for method in sbc_core::admin::method::METHODS {
        assert!(covered.contains(method), "no command uses {method}");
    }
}

/// What `sbcd` says of the trunks in `sbc-core/tests/sheets`, as whoever is at their other ends gets it.
#[test]
fn sheets_can_be_sent_as_they_are() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../sbc-core/tests/sheets");
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.retain(|path| path.extension().is_some_and(|end| end == "json"));
    assert!(names.len() > 10);
    for path in names {
        let sheet: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let sbcd = Daemon::start(Box::new(move |method, _| {
            if method == "trunk.sheet" {
                Ok(sheet.clone())
            } else {
                Ok(documented()[method].clone())
            }
        }));
        let shown = sbcd.shows(&["trunk", "sheet", "peer"]);
        let expected = path.with_extension("txt");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&expected, &shown).unwrap();
        }
        assert_eq!(
            shown,
            fs::read_to_string(&expected).unwrap(),
            "{}",
            path.display()
        );
    }
}

#[test]
fn tables_are_aligned_and_have_no_borders() {
    let sbcd = Daemon::start(by_the_book());
    assert_eq!(
        sbcd.shows(&["calls"]),
        "\
ID         STATE     FROM      TO        CALLER       CALLEE         AGE  SHARD
0-42-9a7e  answered  carrier   platform  +4930123456  +4989654321  3m05s      0
1-3-ab02   ringing   platform  carrier   +4989654321  +4930999888   2.4s      1
2 calls
"
    );
    assert_eq!(
        sbcd.shows(&["limits", "show"]),
        "\
LIMIT            CPS  BURST   CHANNELS  IN USE  ADMITTED  REFUSED CPS  REFUSED CHANNELS
global           500    500  unlimited       2    120311            0                 0
carrier inbound  100     20        500       1    118002           17                 0
"
    );
    for (_, arguments) in PLAIN {
        let text = sbcd.shows(arguments);
        assert!(!text.contains(['|', '┆', '│']) && !text.contains("+-"), "{text}");
        assert!(
            text.ends_with('\n') && text.lines().all(|l| l == l.trim_end()),
            "{text:?}"
        );
    }
}

#[test]
fn what_an_operator_looks_for_is_there() {
    let sbcd = Daemon::start(by_the_book());
    for (arguments, words) in [
        (
            &["status"][..],
            &[
                "running",
                "2h07m",
                "io_uring: the kernel has",
                "192.0.2.1:5060",
                "/etc/sbcd.toml",
            ][..],
        ),
        (
            &["call", "show", "x"],
            &["answered", "a84b4c76e66710@198.51.100.7", "0.4 ms", "9250"],
        ),
        (
            &["trunks"],
            &[
                "carrier",
                "198.51.100.0/24",
                "platform",
                "inbound 100 cps 500 channels",
                "both 800 channels",
                "ASR OUT",
                "62.5 %",
            ],
        ),
        (
            &["trunk", "show", "carrier"],
            &[
                "CALLS  NOW  CPS  5 MIN     ASR  60 MIN     ASR    EVER     ASR\n",
                "in       1  2.4    731  95.5 %    8702  95.1 %  118002  94.8 %\n",
                "out      1  0.0      0       -       8  62.5 %    2309  58.0 %\n",
                "up 2h06m, 12.5 ms; registered 1m00s",
            ],
        ),
        (
            &["stats"],
            &["calls_attempted", "120345", "1 counter is 0; --all"],
        ),
        (
            &["stats", "--all", "--per-shard"],
            &["internal_errors", "SHARD 1", "60175"],
        ),
        (&["shards"], &["io_uring", "30112", "0.8%"]),
        (&["drain"], &["2 calls still up"]),
        (&["log-level"], &["debug", "was info"]),
        (&["call", "hangup", "0-42-9a7e"], &["0-42-9a7e is being ended"]),
    ] {
        let text = sbcd.shows(arguments);
        for word in words {
            assert!(text.contains(word), "{arguments:?} lacks {word:?}:\n{text}");
        }
    }
}

#[test]
fn counters_keep_the_order_of_the_daemon() {
    let answer = r#"{"counters":{"zebra":2,"ant":1},"gauges":{"yak":1,"bee":1},"shards":[]}"#;
    let sbcd = Daemon::start_raw(Box::new(move |method, _| match method {
        "hello" => documented()["hello"].to_string(),
        _ => answer.to_owned(),
    }));
    let text = sbcd.shows(&["stats"]);
    let at = |word| text.find(word).unwrap();
    assert!(at("zebra") < at("ant") && at("yak") < at("bee"), "{text}");
    assert_eq!(sbcd.shows(&["stats", "--json"]), format!("{answer}\n"));
}

#[test]
fn arguments_become_parameters() {
    let sbcd = Daemon::start(by_the_book());
    for (arguments, params) in [
        (
            &[
                "limits",
                "set",
                "carrier",
                "inbound.cps=100",
                "both.channels=unlimited",
            ][..],
            json!({"changes": [
                {"trunk": "carrier", "direction": "inbound", "cps": 100},
                {"trunk": "carrier", "direction": "both", "channels": 0},
            ]}),
        ),
        (
            &["limits", "set", "global", "channels=500"],
            json!({"changes": [{"channels": 500}]}),
        ),
        (&["limits", "show", "carrier"], json!({"trunk": "carrier"})),
        (
            &["calls", "--trunk", "carrier", "--number", "49"],
            json!({"limit": 1000, "trunk": "carrier", "number": "49"}),
        ),
        (&["drain"], json!({"on": true})),
        (&["drain", "--off"], json!({"on": false})),
        (&["log-level", "WARN"], json!({"level": "warn"})),
        (&["log-level"], json!({})),
        (&["diff"], json!({})),
        (&["diff", "/x/new.toml"], json!({"file": "/x/new.toml"})),
        (
            &["apply", "/x/new.toml", "--revision", "12"],
            json!({"file": "/x/new.toml", "revision": "12"}),
        ),
        (
            &["trunk", "add", "b", "hosts=[\"192.0.2.1\"]", "fallback=platform"],
            json!({"edits": [{"action": "add", "kind": "trunk", "which": "b", "values": [
                {"key": "hosts", "value": "[\"192.0.2.1\"]"},
                {"key": "fallback", "value": "platform"},
            ]}]}),
        ),
        (
            &["trunk", "enable", "carrier"],
            json!({"edits": [{"action": "set", "kind": "trunk", "which": "carrier",
                "values": [{"key": "enabled", "value": "true"}]}]}),
        ),
        (
            &["route", "set", "from=carrier", "to=platform", "weights="],
            json!({"edits": [{"action": "set", "kind": "route", "which": "from=carrier", "values": [
                {"key": "to", "value": "platform"},
                {"key": "weights", "value": null},
            ]}]}),
        ),
        (
            &["did", "add", "to=platform"],
            json!({"edits": [{"action": "add", "kind": "did", "values": [{"key": "to", "value": "platform"}]}]}),
        ),
        (
            &["acl", "delete", "1"],
            json!({"edits": [{"action": "delete", "kind": "acl", "which": "1"}]}),
        ),
        (
            &["config", "limits", "set", "channels=5"],
            json!({"edits": [{"action": "set", "kind": "limits", "values": [{"key": "channels", "value": "5"}]}]}),
        ),
    ] {
        sbcd.shows(arguments);
        assert_eq!(sbcd.last_asked().1, params, "{arguments:?}");
    }
    let hello = sbcd.asked.lock().unwrap()[0].clone();
    assert_eq!((hello.0.as_str(), &hello.1["protocol"]), ("hello", &json!("1.4")));
}

fn page(slots: std::ops::Range<u32>, next: Option<u32>) -> Value {
    let row = &documented()["calls.list"]["calls"][0];
    let calls: Vec<Value> = slots
        .map(|slot| {
            let mut row = row.clone();
            row["slot"] = slot.into();
            row["id"] = format!("0-{slot}").into();
            row
        })
        .collect();
    json!({"calls": calls, "next": next.map(|slot| json!({"shard": 0, "slot": slot}))})
}

#[test]
fn calls_come_page_by_page() {
    let sbcd = Daemon::start(Box::new(|method, params| {
        Ok(match (method, params["after"]["slot"].as_u64()) {
            ("hello", _) => documented()["hello"].clone(),
            (_, None) => page(0..50, Some(49)),
            // Nothing that passes the filter here, and yet not the end.
            (_, Some(49)) => page(0..0, Some(99)),
            (_, Some(99)) => page(100..150, None),
            other => panic!("{other:?}"),
        })
    }));
    let all: Value = serde_json::from_str(&sbcd.shows(&["calls", "--json"])).unwrap();
    assert_eq!(all["calls"].as_array().unwrap().len(), 100);
    assert_eq!(all["next"], Value::Null);
    let some = sbcd.shows(&["calls", "--limit", "3"]);
    assert!(
        some.contains("3 calls; there are more, --limit shows them"),
        "{some}"
    );
    let watched = sbcd.shows(&["calls", "--watch", "--count", "2"]);
    assert_eq!(
        watched.matches("40 calls; there are more").count(),
        2,
        "{watched}"
    );
    assert!(!watched.contains('\u{1b}'), "no screen control into a pipe");
}

#[test]
fn drain_waits_for_the_last_call() {
    let mut left = 3;
    let sbcd = Daemon::start(Box::new(move |method, _| {
        if method == "hello" {
            return Ok(documented()["hello"].clone());
        }
        left -= 1;
        Ok(json!({"draining": true, "calls": left}))
    }));
    let text = sbcd.shows(&["drain", "--wait"]);
    assert!(
        text.contains("2 calls still up") && text.ends_with("no call is up\n"),
        "{text}"
    );
    let asked = sbcd.asked.lock().unwrap();
    assert_eq!(asked[1].1, json!({"on": true}));
    assert_eq!(asked[2].1, json!({}), "asks, does not drain again");
}

#[test]
fn drain_stops_waiting_when_somebody_ends_it() {
    let mut rounds = 0;
    let sbcd = Daemon::start(Box::new(move |method, _| {
        if method == "hello" {
            return Ok(documented()["hello"].clone());
        }
        rounds += 1;
        Ok(json!({"draining": rounds == 1, "calls": 5}))
    }));
    let output = sbcd.ctl(&["drain", "--wait"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ended the drain"));
}

#[test]
fn refusals_have_their_exit_codes() {
    for (reason, code) in [
        ("no_such_call", 4),
        ("no_such_trunk", 4),
        ("invalid_params", 1),
        ("unavailable", 1),
        ("a_reason_of_tomorrow", 1),
    ] {
        let sbcd = Daemon::start(Box::new(move |method, _| match method {
            "hello" => Ok(documented()["hello"].clone()),
            _ => Err(failure(reason, "because I say so")),
        }));
        let output = sbcd.ctl(&["call", "show", "x"]);
        assert_eq!(output.status.code(), Some(code), "{reason}");
        assert_eq!(error_of(&output), "sbc-ctl: because I say so\n");
    }
}

#[test]
fn another_major_version_and_a_full_house_are_refusals() {
    for reason in ["protocol_mismatch", "too_many_clients"] {
        let sbcd = Daemon::start(Box::new(move |_, _| Err(failure(reason, "use another"))));
        let output = sbcd.ctl(&["status"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(error_of(&output).contains("use another"));
    }
}

#[test]
fn wrong_usage_is_noticed_before_anything_is_asked() {
    let nowhere = directory();
    for arguments in [
        &["no-such-command"][..],
        &[],
        &["limits", "set", "carrier", "cps=1"],
        &["limits", "set", "global"],
        &["limits", "set", "global", "cps=many"],
        &["log-level", "loud"],
        &["calls", "--count", "1"],
        &["drain", "--off", "--wait"],
    ] {
        let output = ctl(&nowhere.join("none.sock"), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    }
    fs::remove_dir(nowhere).unwrap();
}

#[test]
fn a_daemon_that_is_not_there() {
    let directory = directory();
    let socket = directory.join("admin.sock");
    let missing = ctl(&socket, &["status"]);
    assert_eq!(missing.status.code(), Some(3));
    let text = error_of(&missing);
    assert!(
        text.contains(socket.to_str().unwrap()) && text.contains("no such file"),
        "{text}"
    );
    assert!(text.contains("`sbcd`") && text.contains("SBC_SOCKET"), "{text}");

    drop(UnixListener::bind(&socket).unwrap());
    let stale = ctl(&socket, &["status"]);
    assert_eq!(stale.status.code(), Some(3));
    assert!(error_of(&stale).contains("nobody listens"));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_socket_that_may_not_be_used() {
    let sbcd = Daemon::start(by_the_book());
    fs::set_permissions(&sbcd.socket, fs::Permissions::from_mode(0o000)).unwrap();
    let output = sbcd.ctl(&["status"]);
    // Root may connect all the same; then there is no error to look at.
    if output.status.code() != Some(0) {
        assert_eq!(output.status.code(), Some(3));
        let text = error_of(&output);
        assert!(
            text.contains("permission denied") && text.contains("mode 0000"),
            "{text}"
        );
    }
}

#[test]
fn the_socket_comes_from_the_option_then_the_environment_then_the_usual_places() {
    let sbcd = Daemon::start(by_the_book());
    let by_environment = command()
        .env("SBC_SOCKET", &sbcd.socket)
        .arg("status")
        .output()
        .unwrap();
    assert_eq!(by_environment.status.code(), Some(0));
    let option_wins = command()
        .env("SBC_SOCKET", "/nonexistent/admin.sock")
        .arg("--socket")
        .arg(&sbcd.socket)
        .arg("status")
        .output()
        .unwrap();
    assert_eq!(option_wins.status.code(), Some(0));
}

#[test]
fn nonsense_is_told_apart_from_silence() {
    let closes = Daemon::start(Box::new(|_, _| panic!("closes the connection")));
    let output = closes.ctl(&["status"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(error_of(&output).contains("lost sbcd"));

    let babbles = Daemon::start(Box::new(|method, _| match method {
        "hello" => Ok(documented()["hello"].clone()),
        _ => Ok(json!(42)),
    }));
    let output = babbles.ctl(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error_of(&output).contains("same release"));
}

#[test]
fn numbers_cannot_steer_the_terminal() {
    let sbcd = Daemon::start(Box::new(|method, _| {
        let mut result = documented()[method].clone();
        if method == "calls.list" {
            result["calls"][0]["caller"] = "\u{1b}[2Jgone".into();
        }
        Ok(result)
    }));
    let text = sbcd.shows(&["calls"]);
    assert!(text.contains("[2Jgone") && !text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn completions_need_no_daemon() {
    let output = command().args(["completions", "bash"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("log-level"));
}

#[test]
fn neither_an_io_engine_nor_a_runtime_is_linked() {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "-p",
            "sbc-ctl",
            "-e",
            "normal",
            "--prefix",
            "none",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("sbc-core"), "{tree}");
    for unwanted in [
        "tokio",
        "tokio-uring",
        "io-uring",
        "mio",
        "socket2",
        "tracing-subscriber",
    ] {
        let linked = tree.lines().any(|l| l.split(' ').next() == Some(unwanted));
        assert!(!linked, "sbc-ctl links {unwanted}");
    }
}
