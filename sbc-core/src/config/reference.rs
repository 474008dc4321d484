//! `docs/CONFIG.md`, written from the declarations in `options.rs`.

use super::{
    Config, DEFAULT_TOML,
    read::{Absent, Key, Section, Shape},
};
use std::fmt::Write;

/// The text of `docs/CONFIG.md`. A test compares them.
pub fn reference() -> String {
    let mut out = String::from(HEAD);
    for key in Config::keys() {
        section(&mut out, 2, key.name, &key);
    }
    out.push_str("\n## The default configuration\n\nWhat `sbcd` runs without `--config`.\n\n```toml\n");
    out.push_str(DEFAULT_TOML);
    out.push_str("```\n");
    out
}

const HEAD: &str = "\
# Configuration

<!-- Written by `UPDATE_DOCS=1 cargo test -p sbc-core --test docs_config` from sbc-core/src/config/options.rs. -->

`sbcd --config FILE` reads one TOML file, once, at start. Without it `sbcd` runs the default configuration at the
end of this page; `sbcd --print-default-config` prints that as a file to start from, and
`sbcd --check --config FILE` says what is wrong with a file and ends with status 2 when something is.

The file is read strictly. An unknown key, a value of another type or out of range, and a name that does not exist
are errors, all reported at once:

```text
sbc.toml:12:1: trunk.hots: unknown key; did you mean \"hosts\"?
sbc.toml:31:6: route.to: no trunk is named \"plattform\"; did you mean \"platform\"?
```

Exit codes of `sbcd`: 0 ended by a signal, or the check found nothing wrong; 1 failed while running; 2 wrong usage or
configuration; 3 could not start (a port in use, a missing permission, a limit of the system).

Numbers have their unit in the name of the key: `_us` microseconds, `_ms` milliseconds, `_s` seconds.
";

fn section(out: &mut String, depth: usize, path: &str, key: &Key) {
    let (brackets, doc, keys) = match &key.shape {
        Shape::Table(doc, keys) => (("[", "]"), doc, keys),
        Shape::Tables(doc, keys) => (("[[", "]]"), doc, keys),
        Shape::Plain(_) => return,
    };
    let _ = writeln!(
        out,
        "\n{} `{}{path}{}`\n",
        "#".repeat(depth),
        brackets.0,
        brackets.1
    );
    // Below the second level several keys share a kind of table: say which one this is.
    if depth > 3 {
        let _ = writeln!(out, "{}", joined(key.doc));
    } else {
        let _ = writeln!(out, "{}", joined(doc));
    }
    if let Shape::Tables(..) = key.shape {
        let more = match &key.absent {
            Absent::Required => "May be repeated; at least one.",
            _ => "May be repeated.",
        };
        let _ = writeln!(out, "{more}");
    }
    let (plain, nested): (Vec<_>, Vec<_>) = keys.iter().partition(|k| matches!(k.shape, Shape::Plain(_)));
    if !plain.is_empty() {
        let _ = writeln!(out, "\n| key | value | default | |\n|---|---|---|---|");
    }
    for key in plain {
        let Shape::Plain(what) = &key.shape else { continue };
        let value = match key.range {
            Some((low, high)) => format!("{low} to {high}"),
            None => what.clone(),
        };
        let default = match &key.absent {
            Absent::Required => "**required**".to_owned(),
            Absent::Default(value) => format!("`{value}`"),
            Absent::Described(what) => (*what).to_owned(),
        };
        let _ = writeln!(
            out,
            "| `{}` | {value} | {default} | {} |",
            key.name,
            joined(key.doc)
        );
    }
    // Sections that look alike are described once: limits inbound, outbound, both.
    let mut described: Vec<(&[&str], String)> = Vec::new();
    for key in nested {
        let (Shape::Table(doc, _) | Shape::Tables(doc, _)) = &key.shape else {
            continue;
        };
        let path = format!("{path}.{}", key.name);
        match described.iter().find(|(d, _)| d == doc) {
            Some((_, same)) => {
                let _ = writeln!(
                    out,
                    "\n{} `[{path}]`\n\n{} Keys as in `[{same}]`.",
                    "#".repeat(depth + 1),
                    joined(key.doc)
                );
            }
            None => {
                section(out, depth + 1, &path, key);
                described.push((doc, path));
            }
        }
    }
}

/// Lines of a doc comment as one paragraph.
fn joined(lines: &[&str]) -> String {
    lines
        .iter()
        .map(|l| l.trim())
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}
