//! What a scenario found: figures in groups, and gates that hold or do not. Shown as a table,
//! written as JSON with the same names.

use crate::{
    Error, Result,
    bench::Options,
    measure::{Drops, Memory},
    rtp::Counts,
};
use comfy_table::{CellAlignment, Table, presets};
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::io::{IsTerminal, Write};

/// The outcome of a scenario.
#[derive(Debug)]
pub(crate) struct Report {
    scenario: String,
    figures: Vec<Figure>,
    gates: Vec<Gate>,
}

#[derive(Debug)]
struct Figure {
    group: String,
    name: String,
    value: Value,
}

#[derive(Debug)]
struct Gate {
    name: String,
    holds: bool,
    detail: String,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            figures: Vec::new(),
            gates: Vec::new(),
        }
    }

    /// Add a figure. The unit is the last word of its name.
    pub(crate) fn figure(&mut self, group: &str, name: &str, value: impl Into<Value>) {
        self.figures.push(Figure {
            group: group.to_owned(),
            name: name.to_owned(),
            value: value.into(),
        });
    }

    /// Add a condition for success.
    pub(crate) fn gate(&mut self, name: &str, holds: bool, detail: impl Into<String>) {
        self.gates.push(Gate {
            name: name.to_owned(),
            holds,
            detail: detail.into(),
        });
    }

    /// Whether every gate holds.
    pub(crate) fn passed(&self) -> bool {
        self.gates.iter().all(|gate| gate.holds)
    }

    /// Take over everything of `other`, its groups prefixed with its name.
    pub(crate) fn absorb(&mut self, other: Report) {
        let prefix = other.scenario;
        self.figures
            .extend(other.figures.into_iter().map(|figure| Figure {
                group: format!("{prefix} {}", figure.group),
                ..figure
            }));
        self.gates.extend(other.gates.into_iter().map(|gate| Gate {
            name: format!("{prefix}: {}", gate.name),
            ..gate
        }));
    }

    /// Percentiles of `histogram` (nanoseconds) in microseconds.
    pub(crate) fn delay(&mut self, group: &str, histogram: &Histogram<u64>) {
        if histogram.is_empty() {
            return;
        }
        for (name, quantile) in [
            ("p50_us", 0.5),
            ("p90_us", 0.9),
            ("p99_us", 0.99),
            ("p999_us", 0.999),
        ] {
            self.figure(group, name, micros(histogram.value_at_quantile(quantile)));
        }
        self.figure(group, "max_us", micros(histogram.max()));
        self.figure(group, "samples", histogram.len());
    }

    /// Packet counts.
    pub(crate) fn packets(&mut self, group: &str, counts: &Counts) {
        for (name, value) in [
            ("sent", counts.sent),
            ("received", counts.received),
            ("lost", counts.lost),
            ("reordered", counts.reordered),
            ("duplicated", counts.duplicated),
            ("corrupted", counts.corrupted),
            ("misrouted", counts.misrouted),
            ("short", counts.short),
            ("send_errors", counts.send_errors),
        ] {
            self.figure(group, name, value);
        }
    }

    /// Memory of a process.
    pub(crate) fn memory(&mut self, group: &str, memory: &Memory) {
        self.figure(group, "rss_kb", memory.rss_kb);
        self.figure(group, "rss_peak_kb", memory.hwm_kb);
        self.figure(group, "rss_anon_kb", memory.anon_kb);
    }

    /// Datagrams the kernel threw away.
    pub(crate) fn drops(&mut self, group: &str, drops: &Drops) {
        self.figure(group, "machine_rcvbuf_errors", drops.receive_buffer);
        self.figure(group, "machine_sndbuf_errors", drops.send_buffer);
        self.figure(group, "own_socket_drops", drops.own_sockets);
    }

    /// Print the table and write the JSON.
    pub(crate) fn show(&self, options: &Options) -> Result<()> {
        let to_stdout = options
            .json
            .as_deref()
            .is_some_and(|path| path.as_os_str() == "-");
        // With JSON on standard output the table goes to standard error.
        if to_stdout {
            eprintln!("{}", self.text(std::io::stderr().is_terminal()));
        } else {
            println!("{}", self.text(std::io::stdout().is_terminal()));
        }
        let Some(path) = &options.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(&self.json(options)).unwrap_or_default() + "\n";
        let written = if to_stdout {
            std::io::stdout().write_all(text.as_bytes())
        } else {
            std::fs::write(path, text)
        };
        written.map_err(|source| Error::Io {
            what: format!("writing {}", path.display()),
            source,
        })
    }

    fn text(&self, colour: bool) -> String {
        let mut table = Table::new();
        table.load_style(if colour {
            presets::UTF8_FULL_CONDENSED
        } else {
            presets::ASCII_MARKDOWN
        });
        table.set_header(vec![self.scenario.as_str(), "", "value"]);
        let mut last = "";
        for figure in &self.figures {
            let group = if figure.group == last { "" } else { &figure.group };
            last = &figure.group;
            table.add_row(vec![
                group.to_owned(),
                figure.name.replace('_', " "),
                plain(&figure.value),
            ]);
        }
        if let Some(column) = table.column_mut(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let mut text = table.to_string();
        for gate in &self.gates {
            let word = if gate.holds { "ok  " } else { "FAIL" };
            text.push_str(&format!("\n{word} {}: {}", gate.name, gate.detail));
        }
        text
    }

    fn json(&self, options: &Options) -> Value {
        let mut groups = Map::new();
        for figure in &self.figures {
            let group = groups.entry(&figure.group).or_insert_with(|| json!({}));
            if let Value::Object(group) = group {
                group.insert(figure.name.clone(), figure.value.clone());
            }
        }
        let gates: Vec<Value> = self
            .gates
            .iter()
            .map(|gate| json!({ "name": gate.name, "holds": gate.holds, "detail": gate.detail }))
            .collect();
        json!({
            "scenario": self.scenario,
            "passed": self.passed(),
            "shards": options.shards,
            "command": std::env::args().skip(1).collect::<Vec<_>>().join(" "),
            "figures": groups,
            "gates": gates,
        })
    }
}

/// Nanoseconds as microseconds with one decimal.
pub(crate) fn micros(ns: u64) -> f64 {
    round(ns as f64 / 1000.0, 1)
}

/// `value` rounded to `digits` decimals.
pub(crate) fn round(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (value * scale).round() / scale
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
