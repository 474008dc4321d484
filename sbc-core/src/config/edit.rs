//! Edits of the text of a configuration: tables come, change and go, and every other octet stays, comments too.
//!
//! In: a text and what is to be done with it. Out: another text, which is still to be checked as any other. An array of
//! tables is edited in the same way whatever it is for; what is special about trunks and routes is in `fallback`, and who
//! refers to what is to be deleted in `reference`.

mod fallback;
mod reference;

use crate::admin::provision::{Action, Assignment, Edit};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, TableLike, Value};

/// Why a text cannot be edited so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Nothing has that name.
    #[error("no {kind} {which}; there are: {there}")]
    NoSuch {
        /// The array.
        kind: String,
        /// What was looked for.
        which: String,
        /// What there is.
        there: String,
    },
    /// Others refer to what is to be deleted.
    #[error("{what} is used by {}: delete or change them first", blockers.join(", "))]
    Used {
        /// What is to be deleted.
        what: String,
        /// Who refers to it, with their lines.
        blockers: Vec<String>,
    },
    /// It makes no sense.
    #[error("{0}")]
    Wrong(String),
}

fn wrong(what: impl Into<String>) -> EditError {
    EditError::Wrong(what.into())
}

/// `text` after all of `edits`, one after the other.
pub fn edit(text: &str, edits: &[Edit]) -> Result<String, EditError> {
    let mut document: DocumentMut = text
        .parse()
        .map_err(|error| wrong(format!("the file is no TOML, mend that first: {error}")))?;
    let before = document.clone();
    let mut added = Vec::new();
    for edit in edits {
        match edit.action {
            Action::Add => added.extend(add(&mut document, edit)?),
            Action::Set => set(&mut document, edit)?,
            Action::Delete => delete(&mut document, edit)?,
        }
    }
    fallback::covers(&before, &document, &added)?;
    Ok(document.to_string())
}

/// A new table, at the end of its array. The name of a trunk.
fn add(document: &mut DocumentMut, edit: &Edit) -> Result<Option<String>, EditError> {
    let kind = &edit.kind;
    let mut values = edit.values.clone();
    if let Some(name) = &edit.which {
        let name = Value::from(name.as_str()).to_string();
        values.insert(
            0,
            Assignment {
                key: "name".to_owned(),
                value: Some(name),
            },
        );
    }
    let fallback = fallback::wish(kind, &mut values);
    let mut table = Table::new();
    table.decor_mut().set_prefix("\n");
    assign(&mut table, &values)?;
    let name = table.get("name").and_then(Item::as_str).map(str::to_owned);
    let array = array(document, kind, true)?;
    if let Some(name) = &name
        && array.iter().any(|other| name_of(other) == Some(name))
    {
        return Err(wrong(format!(
            "there is a {kind} {name:?} already: change it with set"
        )));
    }
    array.push(table);
    match (kind == fallback::TRUNK, name) {
        (true, Some(name)) => {
            if let Some(to) = fallback {
                fallback::give(self::array(document, fallback::ROUTE, true)?, &name, &to);
            }
            Ok(Some(name))
        }
        _ => Ok(None),
    }
}

/// Other values for a table: one of an array, or one that stands alone.
fn set(document: &mut DocumentMut, edit: &Edit) -> Result<(), EditError> {
    let kind = &edit.kind;
    if edit.values.is_empty() {
        return Err(wrong("nothing to change: give KEY=VALUE"));
    }
    let Some(which) = &edit.which else {
        let item = document.entry(kind).or_insert_with(toml_edit::table);
        return match item.as_table_like_mut() {
            Some(table) => assign(table, &edit.values),
            None => Err(wrong(format!("which {kind}? name it, or give its number"))),
        };
    };
    let array = array(document, kind, false)?;
    let at = find(array, kind, which)?;
    let Some(table) = array.get_mut(at) else {
        return Err(wrong("it is gone"));
    };
    let was_fallback = fallback::is(kind, table);
    assign(table, &edit.values)?;
    if was_fallback && !fallback::is(kind, table) {
        return Err(fallback::only_reassigned(kind, which));
    }
    Ok(())
}

fn delete(document: &mut DocumentMut, edit: &Edit) -> Result<(), EditError> {
    let kind = &edit.kind;
    if !edit.values.is_empty() {
        return Err(wrong("delete takes no values; `set KEY=` removes a key"));
    }
    let which = edit
        .which
        .as_deref()
        .ok_or_else(|| wrong(format!("which {kind}? name it, or give its number")))?;
    let all = array(document, kind, false)?;
    let at = find(all, kind, which)?;
    let table = all.get(at).cloned().unwrap_or_default();
    if fallback::is(kind, &table) {
        return Err(fallback::only_reassigned(kind, which));
    }
    if kind == fallback::TRUNK
        && let Some(name) = name_of(&table)
    {
        // It is there for the calls of this trunk alone.
        fallback::take(document, name);
    }
    if let Some(name) = name_of(&table) {
        let blockers = reference::to(document, kind, at, name);
        if !blockers.is_empty() {
            return Err(EditError::Used {
                what: format!("{kind} {name:?}"),
                blockers,
            });
        }
    }
    let all = array(document, kind, false)?;
    all.remove(at);
    if all.is_empty() {
        document.remove(kind);
    }
    Ok(())
}

/// The array of tables `kind`; `make`: an empty one where there is none.
fn array<'d>(
    document: &'d mut DocumentMut,
    kind: &str,
    make: bool,
) -> Result<&'d mut ArrayOfTables, EditError> {
    let plain = !kind.is_empty()
        && kind
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
    if !plain {
        return Err(wrong(format!("{kind:?} is no name of a section")));
    }
    if make && !document.contains_key(kind) {
        document.insert(kind, Item::ArrayOfTables(ArrayOfTables::new()));
    }
    match document.get_mut(kind) {
        Some(Item::ArrayOfTables(array)) => Ok(array),
        Some(_) => Err(wrong(format!(
            "{kind} is not written as [[{kind}]] in the file: only such tables can be added, named and deleted"
        ))),
        None => Err(wrong(format!("there is no [[{kind}]] in the file"))),
    }
}

fn name_of(table: &Table) -> Option<&str> {
    table.get("name").and_then(Item::as_str)
}

/// What a table of an array is called: its name, or its number counted from 1.
fn called(n: usize, table: &Table) -> String {
    name_of(table).map_or_else(|| (n + 1).to_string(), |name| format!("{name:?}"))
}

/// The table that `which` means: by its name, its number counted from 1, or values of its keys (`from=carrier`).
fn find(array: &ArrayOfTables, kind: &str, which: &str) -> Result<usize, EditError> {
    if let Some(at) = array.iter().position(|table| name_of(table) == Some(which)) {
        return Ok(at);
    }
    let pairs: Option<Vec<(&str, &str)>> = which.split(',').map(|pair| pair.split_once('=')).collect();
    let matching: Vec<usize> = match (which.parse::<usize>(), pairs) {
        (Ok(n), _) if n >= 1 && n <= array.len() => vec![n - 1],
        (Err(_), Some(pairs)) => {
            let has = |table: &Table, (key, wanted): &(&str, &str)| {
                let only = |item: &Item| {
                    let values = item.as_array().filter(|values| values.len() == 1)?;
                    Some(values.get(0)?.as_str()? == *wanted)
                };
                table.get(key).is_some_and(|item| {
                    item.as_str() == Some(*wanted)
                        || item
                            .as_value()
                            .is_some_and(|value| value.to_string().trim() == *wanted)
                        || only(item).unwrap_or(false)
                })
            };
            let fits = |table: &Table| pairs.iter().all(|pair| has(table, pair));
            (0..)
                .zip(array.iter())
                .filter(|(_, table)| fits(table))
                .map(|(n, _)| n)
                .collect()
        }
        _ => Vec::new(),
    };
    match matching[..] {
        [at] => Ok(at),
        [] => Err(EditError::NoSuch {
            kind: kind.to_owned(),
            which: format!("{which:?}"),
            there: listed(array),
        }),
        _ => {
            let numbers: Vec<String> = matching.iter().map(|n| (n + 1).to_string()).collect();
            Err(wrong(format!(
                "{which} fits {kind} {}: give one of these numbers",
                numbers.join(", ")
            )))
        }
    }
}

/// What there is in an array, as far as a line has room.
fn listed(array: &ArrayOfTables) -> String {
    let mut names: Vec<String> = array
        .iter()
        .enumerate()
        .take(20)
        .map(|(n, table)| called(n, table))
        .collect();
    if array.len() > 20 {
        names.push(format!("and {} more", array.len() - 20));
    }
    names.join(", ")
}

/// Put values where their keys say.
fn assign(table: &mut dyn TableLike, values: &[Assignment]) -> Result<(), EditError> {
    for Assignment { key, value } in values {
        let path: Vec<&str> = key.split('.').collect();
        let plain = |part: &&str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-')
        };
        if !path.iter().all(plain) {
            return Err(wrong(format!("{key:?} is no key")));
        }
        put(table, &path, key, value.as_deref())?;
    }
    Ok(())
}

fn put(table: &mut dyn TableLike, path: &[&str], whole: &str, value: Option<&str>) -> Result<(), EditError> {
    let [key, rest @ ..] = path else { return Ok(()) };
    if !rest.is_empty() {
        if !table.contains_key(key) {
            if value.is_none() {
                return Ok(());
            }
            let mut inner = Table::new();
            inner.set_implicit(true);
            inner.set_dotted(true);
            table.insert(key, Item::Table(inner));
        }
        return match table.get_mut(key).and_then(Item::as_table_like_mut) {
            Some(inner) => put(inner, rest, whole, value),
            None => Err(wrong(format!("{whole}: {key} is no table"))),
        };
    }
    let Some(text) = value else {
        table.remove(key);
        return Ok(());
    };
    let mut new = parse(whole, text)?;
    match table.get_mut(key) {
        Some(Item::Value(old)) => {
            // The comment behind it is about the key.
            *new.decor_mut() = old.decor().clone();
            *old = new;
        }
        Some(other) if !other.is_none() => {
            return Err(wrong(format!(
                "{whole} is written as a table of its own in the file: name the keys in it"
            )));
        }
        _ => {
            table.insert(key, Item::Value(new));
        }
    }
    Ok(())
}

/// A value as TOML has it. What is no TOML is text, so that nobody has to quote twice; what looks as if it was meant to be TOML
/// is not.
fn parse(key: &str, text: &str) -> Result<Value, EditError> {
    match text.parse::<Value>() {
        Ok(mut value) => {
            value.decor_mut().clear();
            Ok(value)
        }
        Err(_) if !text.starts_with(['"', '\'', '[', '{']) => Ok(Value::from(text)),
        // What stands there may be a password: it is not repeated.
        Err(error) => Err(wrong(format!(
            "the value of {key} is no TOML: {}",
            error.message()
        ))),
    }
}

#[cfg(test)]
mod tests;
