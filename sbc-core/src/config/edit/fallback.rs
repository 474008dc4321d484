//! The route that takes what no other does: there is one for every trunk that is added, and it is never deleted, only given
//! to others (T10).

use super::{EditError, wrong};
use crate::admin::provision::Assignment;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, Value};

pub(super) const TRUNK: &str = "trunk";
pub(super) const ROUTE: &str = "route";
/// What `add trunk` may say of it.
const WISH: &str = "fallback";
/// Keys that make a route one for some calls only.
const SELECTING: [&str; 4] = ["prefixes", "prefixes_file", "starts", "ends"];

/// Whether this table of `kind` takes all calls that no other rule does.
pub(super) fn is(kind: &str, table: &Table) -> bool {
    kind == ROUTE && SELECTING.iter().all(|key| !table.contains_key(key))
}

pub(super) fn only_reassigned(kind: &str, which: &str) -> EditError {
    wrong(format!(
        "{kind} {which} is a fallback: it takes the calls that no other rule does, and can only be given to another trunk \
         (`{kind} set {which} to=TRUNK`)"
    ))
}

/// Where calls of a new trunk are to go; taken out of its `values`.
pub(super) fn wish(kind: &str, values: &mut Vec<Assignment>) -> Option<String> {
    let at = values
        .iter()
        .position(|value| kind == TRUNK && value.key == WISH)?;
    let value = values.remove(at).value?;
    let text = value
        .parse::<Value>()
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned));
    Some(text.unwrap_or(value))
}

/// Add a fallback for the calls of `from`.
pub(super) fn give(routes: &mut ArrayOfTables, from: &str, to: &str) {
    let mut route = Table::new();
    route.decor_mut().set_prefix("\n");
    route.insert("from", toml_edit::value(from));
    route.insert("to", toml_edit::value(to));
    routes.push(route);
}

/// Take the fallbacks away that are for `trunk` alone.
pub(super) fn take(document: &mut DocumentMut, trunk: &str) {
    let Some(Item::ArrayOfTables(routes)) = document.get_mut(ROUTE) else {
        return;
    };
    routes.retain(|route| !(is(ROUTE, route) && from(route).is_some_and(|from| from == [trunk])));
    if routes.is_empty() {
        document.remove(ROUTE);
    }
}

/// Every trunk in `added` has a fallback, and every trunk that had one `before` and is still there.
pub(super) fn covers(
    before: &DocumentMut,
    document: &DocumentMut,
    added: &[String],
) -> Result<(), EditError> {
    let (had, has) = (all(before), all(document));
    for name in added {
        if !has.iter().any(|route| is_for(route, name)) {
            return Err(wrong(format!(
                "calls from trunk {name:?} would have nowhere to go: say where with fallback=TRUNK, or add a [[route]] \
                 without from and prefixes, which is for all"
            )));
        }
    }
    let trunks = document.get(TRUNK).and_then(Item::as_array_of_tables);
    for name in trunks.into_iter().flatten().filter_map(super::name_of) {
        let covered = |fallbacks: &[&Table]| fallbacks.iter().any(|route| is_for(route, name));
        if covered(&had) && !covered(&has) {
            return Err(wrong(format!(
                "calls from trunk {name:?} would have no fallback any more: give them another one first \
                 (`{ROUTE} add from={name} to=TRUNK`)"
            )));
        }
    }
    Ok(())
}

/// The routes that are fallbacks.
fn all(document: &DocumentMut) -> Vec<&Table> {
    let routes = document.get(ROUTE).and_then(Item::as_array_of_tables);
    let routes = routes.into_iter().flatten();
    routes.filter(|route| is(ROUTE, route)).collect()
}

fn is_for(route: &Table, trunk: &str) -> bool {
    from(route).is_none_or(|from| from.contains(&trunk))
}

/// The trunks whose calls a route is for; `None`: those of all.
fn from(route: &Table) -> Option<Vec<&str>> {
    let value = route.get("from")?;
    Some(match (value.as_str(), value.as_array()) {
        (Some(name), _) => vec![name],
        (None, Some(names)) => names.iter().filter_map(Value::as_str).collect(),
        (None, None) => Vec::new(),
    })
}
