//! The rules of `docs/ARCHITECTURE.md` that a compiler does not check: who may name what, and how
//! long a file may be. Reads the sources as text, without comments and without test modules.

use std::{
    fs,
    path::{Path, PathBuf},
};

const LINES_MAX: usize = 900;

struct Source {
    /// Relative to the workspace, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// What the compiler sees outside of tests: no comments, nothing after `#[cfg(test)]` at the
    /// margin (test modules stand at the end of a file). Line numbers are kept.
    fn code(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        self.text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .map(without_comment_and_strings)
            .enumerate()
            .map(|(n, line)| (n + 1, line))
    }
}

/// A word in a string names nothing (an option may be called "io_uring").
fn without_comment_and_strings(line: &str) -> String {
    let line = line
        .split_once("//")
        .map_or(line, |(code, _)| code)
        .replace("\\\"", "");
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn collect(dir: &Path, into: &mut Vec<Source>) {
    let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            let skipped = matches!(
                name.as_str(),
                ".git" | "target" | "corpus" | "artifacts" | "node_modules"
            );
            if !skipped {
                collect(&path, into);
            }
        } else if ["rs", "toml", "md", "sh"]
            .iter()
            .any(|ext| path.extension().is_some_and(|e| e == *ext))
        {
            let relative = path.strip_prefix(workspace()).unwrap_or(&path);
            let path_text = relative.to_string_lossy().replace('\\', "/");
            into.push(Source {
                path: path_text,
                text: fs::read_to_string(&path).unwrap(),
            });
        }
    }
}

fn sources() -> Vec<Source> {
    let mut all = Vec::new();
    collect(&workspace(), &mut all);
    assert!(
        all.iter().any(|s| s.path == "sbc-core/src/shard/mod.rs"),
        "looking in the wrong place"
    );
    all
}

fn rust(under: &str) -> Vec<Source> {
    sources()
        .into_iter()
        .filter(|s| s.path.starts_with(under) && s.path.ends_with(".rs"))
        .collect()
}

/// Whether `word` stands in `line` as a whole identifier (or path of identifiers).
fn names(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

fn fail(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn only_the_driver_touches_the_operating_system() {
    const FORBIDDEN: &[&str] = &[
        "io_uring",
        "tokio",
        "tokio_uring",
        "libc",
        "socket2",
        "UdpSocket",
        "TcpStream",
        "TcpListener",
        "UnixStream",
        "UnixListener",
        "UnixDatagram",
        "std::thread",
        "thread::spawn",
        "Instant",
        "SystemTime",
        "unsafe",
    ];
    let mut findings = Vec::new();
    let outside =
        |s: &Source| !s.path.starts_with("sbc-core/src/driver/") && !s.path.starts_with("sbc-core/src/bin/");
    for source in rust("sbc-core/src/")
        .into_iter()
        .chain(rust("sbc-media/src/"))
        .filter(outside)
    {
        for (n, line) in source.code() {
            // Asking whether a panic is under way starts nothing and waits for nothing. The lint
            // attributes name `unsafe_code`, which is another identifier.
            let line = line.replace("std::thread::panicking", "");
            for word in FORBIDDEN.iter().filter(|word| names(&line, word)) {
                findings.push(format!("{}:{n}: names {word}; only driver/ may", source.path));
            }
        }
    }
    fail(&findings);
}

#[test]
fn the_call_core_reads_no_files() {
    let mut findings = Vec::new();
    for room in [
        "b2bua",
        "dialog",
        "transaction",
        "shard",
        "sip",
        "sdp",
        "topology",
        "admission",
        "alarm",
        "guard",
        "health",
        "bindings",
        "login",
        "siblings",
        "io",
        "numbers",
        "overload",
        "resolve",
        "routing",
        "stream",
        "traffic",
        "transport",
        "trunk",
        "timer_wheel",
        "token",
    ] {
        for source in rust(&format!("sbc-core/src/{room}")) {
            for (n, _) in source
                .code()
                .filter(|(_, l)| names(l, "std::fs") || names(l, "std::env") || names(l, "std::process"))
            {
                findings.push(format!(
                    "{}:{n}: the call core names no file, environment or process",
                    source.path
                ));
            }
        }
    }
    fail(&findings);
}

/// The rooms of `sbc-core/src`, from the ground up: each names only rooms above it in this list. Those
/// in one line are one floor: `b2bua` is `shard`'s methods for calls.
const FLOORS: &[&[&str]] = &[
    &["time"],
    &["id"],
    &["text"],
    &["counters"],
    &["growing"],
    &["timer_wheel"],
    &["token"],
    &["alarm"],
    &["sip"],
    &["digest"],
    &["sdp"],
    &["trunk"],
    &["traffic"],
    &["siblings"],
    &["transport"],
    &["numbers"],
    &["topology"],
    &["dialog"],
    &["guard"],
    &["overload"],
    &["admission"],
    &["bindings"],
    &["login"],
    &["health"],
    &["resolve"],
    &["routing"],
    &["snapshot"],
    &["admin"],
    &["io"],
    &["stream"],
    &["transaction"],
    &["shard", "b2bua"],
    &["config"],
    &["driver"],
];

/// The rooms that `code` names as `crate::room` or `crate::{room, …}`.
fn rooms_named(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            rooms.push(first_word(rest));
            continue;
        };
        let (mut depth, mut item) = (1, 0);
        for (n, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 || depth == 1 && c == ',' {
                rooms.push(first_word(list[item..n].trim_start()));
                item = n + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

fn first_word(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '_')
        .collect()
}

#[test]
fn dependencies_point_down() {
    let floor = |room: &str| FLOORS.iter().position(|rooms| rooms.contains(&room));
    let mut findings = Vec::new();
    for source in rust("sbc-core/src/") {
        let inside = source.path.trim_start_matches("sbc-core/src/");
        let room = inside.split(['/', '.']).next().unwrap_or_default();
        if matches!(room, "lib" | "bin") {
            continue;
        }
        let Some(own) = floor(room) else {
            findings.push(format!("{}: {room} has no floor", source.path));
            continue;
        };
        let code: Vec<String> = source.code().map(|(_, line)| line).collect();
        for named in rooms_named(&code.join("\n")) {
            match floor(&named) {
                Some(floor) if floor <= own => {}
                Some(_) => findings.push(format!("{}: {room} stands below {named}", source.path)),
                None => findings.push(format!("{}: {named} has no floor", source.path)),
            }
        }
    }
    fail(&findings);
}

#[test]
fn rooms_are_found_in_every_form_of_use() {
    let code = "use crate::{\n    io::{Output, Closed},\n    sip,\n    b2bua::{Call, Leg},\n    time::Timestamp,\n};\n\
        pub(crate) use crate::transport::Hop;";
    assert_eq!(rooms_named(code), ["io", "sip", "b2bua", "time", "transport"]);
}

#[test]
fn wire_formats_know_no_calls() {
    let mut findings = Vec::new();
    for source in rust("sbc-core/src/sip/")
        .into_iter()
        .chain(rust("sbc-core/src/sdp/"))
    {
        for (n, line) in source.code() {
            for module in [
                "b2bua",
                "shard",
                "transaction",
                "dialog",
                "admission",
                "topology",
                "snapshot",
            ] {
                if names(&line, &format!("{module}::")) || names(&line, &format!("crate::{module}")) {
                    findings.push(format!("{}:{n}: a wire format names {module}", source.path));
                }
            }
        }
    }
    fail(&findings);
}

#[test]
fn media_knows_no_sip() {
    let mut findings = Vec::new();
    for source in rust("sbc-media/src/") {
        for (n, line) in source.code() {
            let line = line.to_ascii_lowercase();
            if names(&line, "sip")
                || line.contains("sbc_core")
                || line.contains("sip_")
                || line.contains("_sip")
            {
                findings.push(format!("{}:{n}: the media plane names SIP", source.path));
            }
        }
    }
    fail(&findings);
}

#[test]
fn files_have_one_noun() {
    let long: Vec<String> = rust("")
        .iter()
        .filter(|s| s.text.lines().count() > LINES_MAX)
        .map(|s| {
            format!(
                "{}: {} lines; more than {LINES_MAX} is two nouns",
                s.path,
                s.text.lines().count()
            )
        })
        .collect();
    fail(&long);
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("HA", "CK:"),
    ];
    let mut findings = Vec::new();
    for source in sources() {
        for (n, line) in source.text.lines().enumerate() {
            if marks.iter().any(|m| line.contains(m)) {
                findings.push(format!("{}:{}: {}", source.path, n + 1, line.trim()));
            }
        }
    }
    fail(&findings);
}

#[test]
fn no_path_of_one_machine() {
    let marks = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/Us", "ers/"),
    ];
    let mut findings = Vec::new();
    for source in sources() {
        for (n, line) in source.text.lines().enumerate() {
            if marks.iter().any(|m| line.contains(m)) {
                findings.push(format!("{}:{}: {}", source.path, n + 1, line.trim()));
            }
        }
    }
    fail(&findings);
}

/// That each block has its SAFETY line is clippy's `undocumented_unsafe_blocks`; this is about where.
#[test]
fn unsafe_stays_in_its_rooms() {
    let mut findings = Vec::new();
    for source in rust("").into_iter().filter(|s| s.path.contains("/src/")) {
        if source.path.starts_with("sbc-core/src/driver/") || source.path.starts_with("loadtest/") {
            continue;
        }
        for (n, line) in source.code().filter(|(_, l)| names(l, "unsafe")) {
            findings.push(format!(
                "{}:{n}: unsafe belongs to driver/ and loadtest: {}",
                source.path,
                line.trim()
            ));
        }
    }
    fail(&findings);
}

#[test]
fn the_word_finder_finds_words() {
    assert!(names("use std::thread;", "std::thread"));
    assert!(names("libc::close(fd)", "libc"));
    assert!(!names("let instant_ms = 1;", "Instant"));
    assert!(!names("#![forbid(unsafe_code)]", "unsafe"));
    assert!(names("unsafe { x }", "unsafe"));
    assert!(!names(
        &without_comment_and_strings(r#""say \"libc\" or", // libc"#),
        "libc"
    ));
}
