//! `docs/CONFORMANCE.md` is true, as far as a program can tell: every test, oracle and flow that it names
//! exists, every rule has one, and nothing is there twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Points of the section "What a B2BUA gets wrong".
const POINTS: usize = 37;

/// The RFCs of signalling that must have a section of their own, or a line in "Open".
const RFCS: [u32; 27] = [
    2976, 3261, 3262, 3263, 3264, 3311, 3323, 3325, 3326, 3428, 3515, 3581, 3891, 4028, 4320, 4475, 5118,
    5626, 5922, 5923, 6026, 6086, 6141, 6337, 6665, 7332, 8760,
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn page() -> String {
    fs::read_to_string(root().join("docs/CONFORMANCE.md")).unwrap()
}

/// Sections by title, as the rows of their tables: cells without the heads.
fn sections(page: &str) -> Vec<(&str, Vec<Vec<&str>>)> {
    let mut sections: Vec<(&str, Vec<Vec<&str>>)> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push((title, Vec::new()));
        } else if line.starts_with("|--") {
            inside = true;
        } else if line.starts_with('|') && inside {
            let cells = line.trim_matches('|').split('|').map(str::trim).collect();
            sections
                .last_mut()
                .expect("a table belongs to a section")
                .1
                .push(cells);
        } else if !line.starts_with('|') {
            inside = false;
        }
    }
    sections
}

/// The words of a cell in backquotes that name tests (`file::test`) or flows (`flows/name`).
fn references(cell: &str) -> Vec<&str> {
    let is_name = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted
        .filter(|word| {
            word.starts_with("flows/")
                || word
                    .split_once("::")
                    .is_some_and(|(file, name)| is_name(file) && is_name(name))
        })
        .collect()
}

/// Every test, and every function of the simulator, as `file::name`; the file of a `mod.rs` is its directory.
fn tests() -> BTreeSet<String> {
    fn walk(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                read(&path, found);
            }
        }
    }
    fn read(path: &Path, found: &mut BTreeSet<String>) {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let parent = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        let file = if stem == "mod" { parent } else { stem };
        let oracle = path.components().any(|part| part.as_os_str() == "sim");
        let mut marked = false;
        for line in fs::read_to_string(path).unwrap().lines().map(str::trim) {
            marked |= line.starts_with("#[test]");
            let Some(at) = line.find("fn ").filter(|_| !line.starts_with("//")) else {
                continue;
            };
            let name = line[at + 3..].split(['(', '<']).next().unwrap();
            if marked || oracle {
                found.insert(format!("{file}::{name}"));
            }
            marked = false;
        }
    }
    let mut found = BTreeSet::new();
    for directory in [
        "sbc-core/src",
        "sbc-core/tests",
        "sbc-media/src",
        "sbc-media/tests",
        "sbc-ctl/tests",
    ] {
        walk(&root().join(directory), &mut found);
    }
    found
}

fn exists(reference: &str, tests: &BTreeSet<String>) -> bool {
    match reference.strip_prefix("flows/") {
        Some(flow) => root().join("loadtest/sipp/flows").join(flow).is_dir(),
        None => tests.contains(reference),
    }
}

#[test]
fn everything_named_exists() {
    let (page, tests) = (page(), tests());
    let missing: Vec<_> = references(&page)
        .into_iter()
        .filter(|name| !exists(name, &tests))
        .collect();
    assert!(missing.is_empty(), "no such tests or flows: {missing:#?}");
    assert!(references(&page).len() > 200, "the page was not read");
}

#[test]
fn every_rule_is_shown_by_something() {
    for (title, rows) in sections(&page()) {
        // The tables of the torture messages are checked by their own tests.
        if title.starts_with("RFC 4475") || title.starts_with("RFC 5118") || title == "Open" {
            continue;
        }
        assert!(!rows.is_empty(), "{title} says nothing");
        for row in rows {
            let shown = references(row.last().unwrap());
            assert!(!shown.is_empty(), "{title}: nothing shows {row:?}");
            let different: BTreeSet<_> = shown.iter().collect();
            assert_eq!(different.len(), shown.len(), "{title}: named twice: {row:?}");
        }
    }
}

#[test]
fn no_rule_is_there_twice() {
    for (title, rows) in sections(&page()) {
        let mut seen = BTreeMap::new();
        for row in rows {
            let rule = row[..row.len().min(2)].join(" ");
            assert!(seen.insert(rule, ()).is_none(), "{title}: {row:?} is there twice");
        }
    }
}

#[test]
fn every_point_and_every_rfc_is_dealt_with() {
    let page = page();
    let sections = sections(&page);
    let rows = |title: &str| {
        let found = sections.iter().find(|(name, _)| *name == title);
        found.unwrap_or_else(|| panic!("no section {title}")).1.clone()
    };
    let open: Vec<_> = rows("Open").iter().map(|row| row[0].to_owned()).collect();
    let points: Vec<usize> = rows("What a B2BUA gets wrong")
        .iter()
        .map(|row| row[0].parse().unwrap())
        .collect();
    assert!(points.is_sorted_by(|a, b| a < b), "in order: {points:?}");
    for point in 1..=POINTS {
        let known = points.contains(&point) || open.contains(&format!("point {point}"));
        assert!(known, "point {point} is neither shown nor open");
    }
    for rfc in RFCS {
        let name = format!("RFC {rfc}");
        let titled = sections.iter().any(|(title, _)| {
            let mut words = title.split([':', ' ', ',']);
            words.any(|word| word == rfc.to_string()) && title.starts_with("RFC")
        });
        assert!(titled || open.contains(&name), "{name} is neither shown nor open");
    }
}

#[test]
fn references_are_told_from_other_words() {
    assert_eq!(
        references("`a::b_1`, `flows/x`, `INVITE`, `Shard::new`, a::c and `x`"),
        ["a::b_1", "flows/x"]
    );
    let tests = tests();
    assert!(exists(
        "conformance::references_are_told_from_other_words",
        &tests
    ));
    assert!(!exists("conformance::root", &tests), "not a test");
    assert!(!exists("flows/no-such-flow", &tests));
}
