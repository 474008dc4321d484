//! What differs between two configurations, in the words of the file.
//!
//! In: two texts. Out: each key that is another, with what was there and what is; secrets masked. Sections need not be
//! known here: tables are compared key by key, and of arrays of tables those with the same `name`, else those that are
//! alike.

use crate::admin::provision::{Change, MASK, is_secret};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;
use toml::{Table, Value};

/// Names a text: who knows it knows whether the text has changed.
pub fn revision(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The changes that lead from `before` to `after`. What is no TOML counts as empty.
pub fn difference(before: &str, after: &str) -> Vec<Change> {
    let (before, after): (Table, Table) = (
        before.parse().unwrap_or_default(),
        after.parse().unwrap_or_default(),
    );
    let mut changes = Vec::new();
    for key in keys(&before, &after) {
        match (before.get(key), after.get(key)) {
            (was, is) if tables(was).is_some() || tables(is).is_some() => {
                elements(
                    key,
                    tables(was).unwrap_or_default(),
                    tables(is).unwrap_or_default(),
                    &mut changes,
                );
            }
            (was, is) if was.or(is).is_some_and(Value::is_table) => {
                let empty = Table::new();
                let table = |value: Option<&'_ Value>| value.and_then(Value::as_table).cloned();
                let (was, is) = (
                    table(was).unwrap_or_else(|| empty.clone()),
                    table(is).unwrap_or(empty),
                );
                below(key, "", &was, &is, &mut changes);
            }
            (was, is) => one(key, None, (key, was), is, &mut changes),
        }
    }
    changes
}

/// The elements of an array of tables.
fn elements(kind: &str, before: Vec<&Table>, after: Vec<&Table>, changes: &mut Vec<Change>) {
    let mut old: Vec<Option<&Table>> = before.into_iter().map(Some).collect();
    let mut pairs: Vec<(usize, &Table, Option<&Table>)> = Vec::new();
    let mut unmatched = Vec::new();
    for (n, is) in after.into_iter().enumerate() {
        let name = is.get("name");
        let same = |was: &Option<&Table>| match (was, name) {
            (Some(was), Some(_)) => was.get("name") == name,
            (Some(was), None) => **was == *is,
            (None, _) => false,
        };
        // Where nothing was moved, it is where it was.
        let at = old
            .get(n)
            .is_some_and(same)
            .then_some(n)
            .or_else(|| old.iter().position(same));
        match at.and_then(|at| old.get_mut(at)?.take()) {
            Some(was) => pairs.push((n, is, Some(was))),
            None => unmatched.push((n, is)),
        }
    }
    for (n, is) in unmatched {
        // Without a name it is taken for the one that was in its place.
        let place = old
            .get_mut(n)
            .filter(|was| was.is_some_and(|was| !was.contains_key("name")));
        let was = place.filter(|_| !is.contains_key("name")).and_then(Option::take);
        pairs.push((n, is, was));
    }
    pairs.sort_by_key(|(n, ..)| *n);
    for (n, was) in old.into_iter().enumerate() {
        if let Some(was) = was {
            changes.push(Change {
                at: label(kind, n, was),
                key: None,
                before: Some(shown(kind, &Value::Table(was.clone()))),
                after: None,
            });
        }
    }
    for (n, is, was) in pairs {
        match was {
            Some(was) => below(&label(kind, n, is), "", was, is, changes),
            None => changes.push(Change {
                at: label(kind, n, is),
                key: None,
                before: None,
                after: Some(shown(kind, &Value::Table(is.clone()))),
            }),
        }
    }
}

/// The keys of two tables, and of the tables in them.
fn below(at: &str, path: &str, before: &Table, after: &Table, changes: &mut Vec<Change>) {
    for key in keys(before, after) {
        let path = if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        };
        match (before.get(key), after.get(key)) {
            (Some(Value::Table(was)), Some(Value::Table(is))) => below(at, &path, was, is, changes),
            (was, is) => one(at, Some(&path), (key, was), is, changes),
        }
    }
}

fn one(
    at: &str,
    path: Option<&str>,
    (key, was): (&str, Option<&Value>),
    is: Option<&Value>,
    changes: &mut Vec<Change>,
) {
    if was != is {
        changes.push(Change {
            at: at.to_owned(),
            key: Some(path.unwrap_or(key).to_owned()),
            before: was.map(|value| shown(key, value)),
            after: is.map(|value| shown(key, value)),
        });
    }
}

fn keys<'t>(before: &'t Table, after: &'t Table) -> impl Iterator<Item = &'t str> {
    let new = after.keys().filter(|key| !before.contains_key(*key));
    before.keys().chain(new).map(String::as_str)
}

/// The tables of an array of such.
fn tables(value: Option<&Value>) -> Option<Vec<&Table>> {
    let array = value?.as_array()?;
    let tables: Vec<&Table> = array.iter().filter_map(Value::as_table).collect();
    (!tables.is_empty() && tables.len() == array.len()).then_some(tables)
}

fn label(kind: &str, n: usize, table: &Table) -> String {
    match table.get("name").and_then(Value::as_str) {
        Some(name) => format!("{kind} {name:?}"),
        None => format!("{kind} {}", n + 1),
    }
}

/// `value` of `key` on one line, without secrets.
fn shown(key: &str, value: &Value) -> String {
    match value {
        // A table says which of its values are secret.
        value if is_secret(key) && !value.is_table() => MASK.to_owned(),
        Value::Table(table) => {
            let pairs: Vec<String> = table
                .iter()
                .map(|(key, value)| format!("{key} = {}", shown(key, value)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(|value| shown(key, value)).collect();
            format!("[{}]", values.join(", "))
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(before: &str, after: &str) -> Vec<String> {
        difference(before, after)
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    const BEFORE: &str = "[limits]\ncps = 5\n[[trunk]]\nname = \"a\"\nhosts = [\"1.2.3.4\"]\n\
        account = { username = \"u\", password = \"old\" }\n[[trunk]]\nname = \"b\"\n\
        [[route]]\nfrom = \"a\"\nto = \"b\"\n[[route]]\nfrom = \"b\"\nto = \"a\"\n";

    #[test]
    fn the_same_has_no_changes() {
        assert_eq!(lines(BEFORE, BEFORE), Vec::<String>::new());
        assert_eq!(
            lines(BEFORE, &format!("# a comment\n{BEFORE}\n\n")),
            Vec::<String>::new()
        );
        assert_eq!(revision(BEFORE), revision(BEFORE));
        assert_ne!(revision(BEFORE), revision("x"));
    }

    #[test]
    fn changes_are_named_by_table_and_key() {
        let after = BEFORE
            .replace("cps = 5", "channels = 7")
            .replace("\"1.2.3.4\"", "\"1.2.3.5\"");
        assert_eq!(
            lines(BEFORE, &after),
            [
                "limits: cps: removed 5",
                "limits: channels: added 7",
                "trunk \"a\": hosts: [\"1.2.3.4\"] -> [\"1.2.3.5\"]",
            ]
        );
    }

    #[test]
    fn secrets_are_masked() {
        let after = BEFORE.replace("\"old\"", "\"new\"");
        assert_eq!(
            lines(BEFORE, &after),
            ["trunk \"a\": account.password: \"***\" -> \"***\""]
        );
        let all = format!("{:?}", difference("", BEFORE));
        assert!(!all.contains("old") && all.contains("***"), "{all}");
    }

    #[test]
    fn tables_come_go_and_move() {
        let gone = BEFORE.replace("[[trunk]]\nname = \"b\"\n", "");
        assert_eq!(lines(BEFORE, &gone), ["trunk \"b\": removed { name = \"b\" }"]);
        assert_eq!(lines(&gone, BEFORE), ["trunk \"b\": added { name = \"b\" }"]);
        let turned = BEFORE.replace("from = \"b\"\nto = \"a\"", "from = \"b\"\nto = \"c\"");
        assert_eq!(lines(BEFORE, &turned), ["route 2: to: \"a\" -> \"c\""]);
        let first = BEFORE.replace("[[route]]\nfrom = \"a\"\nto = \"b\"\n", "");
        assert_eq!(
            lines(BEFORE, &first),
            ["route 1: removed { from = \"a\", to = \"b\" }"]
        );
    }
}
