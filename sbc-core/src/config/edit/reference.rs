//! Who refers to a table of the configuration by its name.
//!
//! The check of the configuration knows every reference, whatever section it is in. So it is asked: what would be wrong if
//! the table had another name of the same length, so that every line stays where it is?

use super::{called, name_of};
use crate::config::{ConfigError, Problem, parse};
use toml_edit::{Document, DocumentMut, Item, Table};

/// The tables that refer to the one at `at` of `kind`, which is named `name`, each with its line.
pub(super) fn to(document: &DocumentMut, kind: &str, at: usize, name: &str) -> Vec<String> {
    let text = document.to_string();
    let mut renamed = document.clone();
    let table = renamed
        .get_mut(kind)
        .and_then(Item::as_array_of_tables_mut)
        .and_then(|array| array.get_mut(at));
    let Some(table) = table else { return Vec::new() };
    table.insert("name", toml_edit::value(unused(&text, name.len())));
    let before = problems(&text);
    let mut found: Vec<String> = Vec::new();
    let own = lines_of(&text, kind, at);
    for problem in problems(&renamed.to_string()) {
        let known = before
            .iter()
            .any(|other| (other.line, &other.key) == (problem.line, &problem.key));
        let itself = own.as_ref().is_some_and(|own| own.contains(&problem.line));
        if !known && !itself {
            let blocker = describe(&text, &problem);
            if !found.contains(&blocker) {
                found.push(blocker);
            }
        }
    }
    found
}

/// A name that the text has not.
fn unused(text: &str, len: usize) -> String {
    let letters = b'a'..=b'z';
    let mut names = letters.map(|letter| char::from(letter).to_string().repeat(len));
    let fits = |name: &String| !text.contains(name.as_str());
    // A text with all of them has names of one letter; then another length does.
    names
        .find(fits)
        .unwrap_or_else(|| "z-".repeat(len + 1).chars().take(64).collect())
}

fn problems(text: &str) -> Vec<Problem> {
    match parse(text, "") {
        Err(ConfigError::Invalid(problems)) => problems,
        _ => Vec::new(),
    }
}

/// The table that a problem is in, as operators call it.
fn describe(text: &str, problem: &Problem) -> String {
    let kind = problem.key.split(['.', '[']).next().unwrap_or_default();
    let key = problem.key.get(kind.len() + 1..).unwrap_or_default();
    let line = problem.line;
    let document = Document::parse(text).ok();
    let tables = document
        .as_ref()
        .and_then(|document| document.get(kind))
        .and_then(Item::as_array_of_tables);
    let tables = tables.into_iter().flatten().enumerate();
    let begins = |table: &Table| table.span().map_or(0, |span| line_of(text, span.start));
    let around = tables
        .filter(|(_, table)| begins(table) <= line)
        .max_by_key(|(_, table)| begins(table));
    match around {
        Some((n, table)) if name_of(table).is_none() => format!("{kind} {} (line {line})", n + 1),
        Some((n, table)) => format!("{kind} {} ({key}, line {line})", called(n, table)),
        None => format!("{} (line {line})", problem.key),
    }
}

/// The lines of a table of an array, up to the next one of the same array.
fn lines_of(text: &str, kind: &str, at: usize) -> Option<std::ops::Range<usize>> {
    let document = Document::parse(text).ok()?;
    let array = document.get(kind)?.as_array_of_tables()?;
    let start = |n: usize| Some(line_of(text, array.get(n)?.span()?.start));
    let first = start(at)?;
    // Other tables may stand between two of an array; those of the table itself end where another header begins.
    let end = text
        .lines()
        .enumerate()
        .skip(first)
        .find(|(_, line)| is_other_header(line, kind))
        .map_or(usize::MAX, |(n, _)| n + 1);
    Some(first..end)
}

/// A header that does not belong to a table of `kind` before it.
fn is_other_header(line: &str, kind: &str) -> bool {
    let line = line.trim_start();
    let inside = line.trim_start_matches('[').trim_start();
    line.starts_with("[[") && !inside.starts_with(&format!("{kind}."))
        || line.starts_with('[') && !line.starts_with("[[") && !inside.starts_with(&format!("{kind}."))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).matches('\n').count() + 1
}
