//! From parsed TOML to typed options, with the position of everything for error messages.
//!
//! [`Value`] is a type an option can have, [`Section`] a table of options. Sections are declared
//! in `options.rs`; their declaration is also what `docs/CONFIG.md` is generated from.

use super::error::Problem;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A type that a configuration value can have.
pub(super) trait Value: Sized {
    /// What the value consists of, for the reference.
    fn shape() -> Shape;
    /// Read `value`; problems go to `reader`.
    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self>;
    /// The value as TOML, for the reference.
    fn show(&self) -> String;
}

/// A table with a fixed set of keys.
pub(super) trait Section: Sized {
    /// What the section is for, a line per item.
    const DOC: &'static [&'static str];
    /// Every key it may have.
    fn keys() -> Vec<Key>;
    /// Read `table`, whose own position is `span`.
    fn read(reader: &mut Reader<'_>, path: &str, table: &DeTable<'_>, span: Range<usize>) -> Option<Self> {
        reader.check_keys(path, table, &span, &Self::keys());
        Self::fields(reader, path, table, span)
    }
    /// Read its own keys of `table`, which may have others.
    fn fields(reader: &mut Reader<'_>, path: &str, table: &DeTable<'_>, span: Range<usize>) -> Option<Self>;
}

/// What a value consists of.
pub(super) enum Shape {
    /// A single value or an array of such, in the operator's words: "an IP address".
    Plain(String),
    /// A table.
    Table(&'static [&'static str], Vec<Key>),
    /// An array of tables.
    Tables(&'static [&'static str], Vec<Key>),
}

/// One option, as declared.
pub(super) struct Key {
    /// Key in the file.
    pub(super) name: &'static str,
    /// What it does, a line per item.
    pub(super) doc: &'static [&'static str],
    /// Its type.
    pub(super) shape: Shape,
    /// What happens without it.
    pub(super) absent: Absent,
    /// Allowed numbers.
    pub(super) range: Option<(u64, u64)>,
}

/// What happens when a key is absent.
pub(super) enum Absent {
    /// An error.
    Required,
    /// This value holds.
    Default(String),
    /// The described behaviour.
    Described(&'static str),
}

/// Collects problems and remembers where each key was.
pub(super) struct Reader<'a> {
    source: &'a str,
    text: &'a str,
    problems: Vec<(usize, Problem)>,
    places: BTreeMap<String, usize>,
    /// Keys that were meant by misspelled ones: nobody needs to hear that they are missing.
    meant: BTreeSet<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, source: &'a str) -> Self {
        Self {
            source,
            text,
            problems: Vec::new(),
            places: BTreeMap::new(),
            meant: BTreeSet::new(),
        }
    }

    /// Note a problem of the key `path` at byte `offset` of the text.
    pub(super) fn problem(&mut self, path: &str, offset: usize, message: impl Into<String>) {
        let (line, column) = self.position(offset);
        let problem = Problem {
            source: self.source.to_owned(),
            line,
            column,
            key: without_indices(path),
            message: message.into(),
        };
        self.problems.push((offset, problem));
    }

    /// Note a problem of `path`, wherever that or the nearest table around it is in the text.
    pub(super) fn problem_at(&mut self, path: &str, message: impl Into<String>) {
        let mut around = path;
        let offset = loop {
            if let Some(offset) = self.places.get(around) {
                break *offset;
            }
            match around.rfind(['.', '[']) {
                Some(end) => around = &around[..end],
                None => break 0,
            }
        };
        self.problem(path, offset, message);
    }

    /// A syntax error as the TOML parser reports it.
    pub(super) fn syntax(&mut self, error: &toml::de::Error) {
        let offset = error.span().map_or(self.text.len(), |span| span.start);
        let line = self.position(offset).0;
        // One mistake often upsets the parser several times; the first on a line tells the most.
        if self.problems.iter().all(|(_, p)| p.line != line) {
            let found = error
                .span()
                .and_then(|span| self.text.get(span))
                .unwrap_or_default();
            let before = self.text.get(..offset).unwrap_or_default();
            let line = before.rsplit('\n').next().unwrap_or_default();
            // What stands behind a key for a secret may be one.
            let secret = line.contains("password") || line.contains("token");
            let found = if found.is_empty() || secret {
                String::new()
            } else {
                format!(", at `{}`", printable(found))
            };
            self.problem(
                "",
                offset,
                format!("not valid TOML: {}{found}", error.message().replace('\n', "; ")),
            );
        }
    }

    /// Problems so far, in file order; `None` when there are none.
    pub(super) fn into_problems(mut self) -> Option<Vec<Problem>> {
        self.problems.sort_by_key(|(offset, _)| *offset);
        let problems: Vec<_> = self.problems.into_iter().map(|(_, problem)| problem).collect();
        (!problems.is_empty()).then_some(problems)
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    fn position(&self, offset: usize) -> (usize, usize) {
        let mut end = offset.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |n| n + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    /// Note keys of `table` that `keys` does not list, and missing ones that are required.
    pub(super) fn check_keys(&mut self, path: &str, table: &DeTable<'_>, span: &Range<usize>, keys: &[Key]) {
        self.places.entry(path.to_owned()).or_insert(span.start);
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if keys.iter().any(|k| k.name == name) {
                self.places.insert(join(path, name), value.span().start);
                continue;
            }
            if let Some((_, advice)) = GONE
                .iter()
                .find(|(gone, _)| *gone == without_indices(&join(path, name)))
            {
                self.problem(&join(path, name), key.span().start, *advice);
                continue;
            }
            let unused = keys.iter().map(|k| k.name).filter(|k| table.get(*k).is_none());
            let message = match nearest(name, unused) {
                Some(near) => {
                    self.meant.insert(join(path, near));
                    format!("unknown key; did you mean \"{near}\"?")
                }
                None => {
                    let known: Vec<_> = keys.iter().map(|k| k.name).collect();
                    format!("unknown key; known here are: {}", known.join(", "))
                }
            };
            self.problem(&join(path, &printable(name)), key.span().start, message);
        }
        for key in keys.iter().filter(|k| matches!(k.absent, Absent::Required)) {
            if table.get(key.name).is_none()
                && !self.meant.contains(path)
                && !self.meant.contains(&join(path, key.name))
            {
                let what = match &key.shape {
                    Shape::Plain(what) => what.clone(),
                    Shape::Table(..) => "a table".to_owned(),
                    Shape::Tables(..) => "an array of tables".to_owned(),
                };
                self.problem(
                    &join(path, key.name),
                    span.start,
                    format!("missing; it has no default and must be {what}"),
                );
            }
        }
    }

    /// The value of `name` in `table`, or `absent` when it is not there.
    pub(super) fn field<T: Value>(
        &mut self,
        path: &str,
        table: &DeTable<'_>,
        name: &str,
        range: Option<(u64, u64)>,
        absent: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let Some(value) = table.get(name) else {
            return absent();
        };
        let path = join(path, name);
        if let (Some((low, high)), DeValue::Integer(n)) = (range, value.get_ref()) {
            let number = i128::from_str_radix(n.as_str(), n.radix());
            if !number.is_ok_and(|n| (i128::from(low)..=i128::from(high)).contains(&n)) {
                self.problem(
                    &path,
                    value.span().start,
                    format!(
                        "{} is out of range; allowed is {low} to {high}",
                        printable(&n.to_string())
                    ),
                );
                return None;
            }
        }
        T::read(self, &path, value)
    }

    /// Note that `value` is not what was expected.
    pub(super) fn expected(&mut self, path: &str, value: &Spanned<DeValue<'_>>, expected: &str) {
        let found = describe(value.get_ref());
        self.problem(
            path,
            value.span().start,
            format!("expected {expected}, found {found}"),
        );
    }

    /// Remember where an element of an array is.
    pub(super) fn place(&mut self, path: &str, offset: usize) {
        self.places.entry(path.to_owned()).or_insert(offset);
    }
}

/// Keys of earlier versions, and what to write in their place.
const GONE: &[(&str, &str)] = &[(
    "media.strict_source",
    "no longer known: in place of strict_source = true write latch = \"strict\", and leave it out in place of \
     strict_source = false",
)];

/// `path.name`, or `name` at the top.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The path as the operator knows it: `trunk[1].hosts[0]` is `trunk.hosts`.
pub(super) fn without_indices(path: &str) -> String {
    let mut inside = false;
    path.chars()
        .filter(|c| {
            inside = (inside || *c == '[') && *c != ']';
            !inside && *c != ']'
        })
        .collect()
}

/// A value in a sentence, short.
pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(s) => format!("\"{}\"", printable(s)),
        DeValue::Integer(n) => printable(&n.to_string()),
        DeValue::Float(n) => printable(&n.to_string()),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

/// `text` without control characters and no longer than a line.
pub(super) fn printable(text: &str) -> String {
    let mut out: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    if text.chars().count() > 60 {
        out.push('…');
    }
    out
}

/// The candidate that `name` is probably a misspelling of.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Names are short; a longer one is no misspelling and must not cost quadratic time.
    if name.len() > 64 {
        return None;
    }
    candidates
        .map(|c| (distance(name, c), c))
        .filter(|(d, c)| *d <= (c.chars().count() / 3).max(1) + usize::from(c.starts_with(name)))
        .min()
        .map(|(_, c)| c)
}

/// Edits (insert, delete, replace, swap of neighbours) that turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in [
            ("hots", "hosts", 1),
            ("hsots", "hosts", 1),
            ("", "cps", 3),
            ("cps", "cps", 0),
            ("abc", "xyz", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }

    #[test]
    fn nearest_is_only_something_near() {
        let keys = || ["hosts", "target", "listener", "cps"].into_iter();
        assert_eq!(nearest("host", keys()), Some("hosts"));
        assert_eq!(nearest("traget", keys()), Some("target"));
        assert_eq!(nearest("csp", keys()), Some("cps"));
        assert_eq!(nearest("codecs", keys()), None);
        assert_eq!(nearest(&"x".repeat(1000), keys()), None);
    }

    #[test]
    fn paths_lose_their_indices() {
        assert_eq!(without_indices("trunk[1].hosts[0]"), "trunk.hosts");
        assert_eq!(without_indices("admin.mode"), "admin.mode");
    }
}
