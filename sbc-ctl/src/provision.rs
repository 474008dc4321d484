//! What a change of the configuration has come to, as text for people.

use sbc_core::admin::provision::{Applied, Change};
use std::fmt::Write as _;

pub(crate) fn applied(applied: &Applied) -> String {
    let mut text = changes(&applied.changes);
    for warning in &applied.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    let _ = writeln!(text, "in force: revision {}", applied.revision);
    text
}

/// A line for each.
fn changes(changes: &[Change]) -> String {
    if changes.is_empty() {
        return "no option has changed\n".to_owned();
    }
    let line =
        |text: String, change: &Change| text + &change.to_string().replace(char::is_control, "?") + "\n";
    changes.iter().fold(String::new(), line)
}
