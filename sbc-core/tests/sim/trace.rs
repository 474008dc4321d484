//! A ladder of what went over the wire, for reading after a failure.

use super::{
    message::{Msg, uri, user},
    plan::{MS, Side},
    wire::call_of,
};
use std::collections::HashMap;

struct Line {
    at: u64,
    side: Side,
    to_peer: bool,
    call: Option<u32>,
    call_id: String,
    text: String,
    full: String,
}

/// Everything that peers and SBC sent in one seed.
pub struct Trace {
    header: String,
    lines: Vec<Line>,
}

impl Trace {
    pub fn new(header: String) -> Self {
        Self {
            header,
            lines: Vec::new(),
        }
    }

    pub fn add(&mut self, at: u64, side: Side, to_peer: bool, bytes: &[u8], delays: &[u64]) {
        let Some(msg) = Msg::parse(bytes) else { return };
        let fate = match delays {
            [] => "LOST".to_owned(),
            copies => copies
                .iter()
                .map(|d| format!("+{} ms", d / MS))
                .collect::<Vec<_>>()
                .join(", "),
        };
        let start = match msg.status() {
            Some(status) => format!("{status}"),
            None => msg.method().to_owned(),
        };
        let sdp = msg
            .media()
            .map(|m| format!(" sdp {} {}", m.port, m.direction))
            .unwrap_or_default();
        let text = format!(
            "{start} [{}] {} from {} to {}{sdp} ({fate})",
            msg.get("CSeq").unwrap_or(""),
            msg.branch(),
            msg.tag_of_from(),
            msg.tag_of_to(),
        );
        let call =
            call_of(user(msg.request_uri())).or_else(|| call_of(user(uri(msg.get("To").unwrap_or("")))));
        let call_id = msg.call_id().to_owned();
        let full = String::from_utf8_lossy(bytes).into_owned();
        self.lines.push(Line {
            at,
            side,
            to_peer,
            call,
            call_id,
            text,
            full,
        });
    }

    /// Give every message its call, by the Call-IDs that the peers know.
    pub fn name_calls(&mut self, call_of: impl Fn(Side, &str) -> Option<u32>) {
        let mut known: HashMap<(u8, String), Option<u32>> = HashMap::new();
        for line in &mut self.lines {
            let key = (line.side as u8, line.call_id.clone());
            let call = *known
                .entry(key)
                .or_insert_with(|| call_of(line.side, &line.call_id));
            line.call = call.or(line.call);
        }
    }

    /// The ladder of one call, or of all with `None`; whole messages with `full`.
    pub fn print(&self, call: Option<u32>, full: bool, lines_max: usize) -> String {
        let mut out = format!("{}\n   time  side A          SBC          side B\n", self.header);
        let chosen: Vec<&Line> = self
            .lines
            .iter()
            .filter(|l| call.is_none() || l.call == call)
            .collect();
        for line in chosen.iter().take(lines_max) {
            let arrow = match (line.side, line.to_peer) {
                (Side::A, false) => "A ---->|       ",
                (Side::A, true) => "A <----|       ",
                (Side::B, true) => "       |----> B",
                (Side::B, false) => "       |<---- B",
            };
            let number = line.call.map_or("?".to_owned(), |c| c.to_string());
            out.push_str(&format!(
                "{:>9.3}  {arrow}  #{number} {}\n",
                line.at as f64 / 1e9,
                line.text
            ));
            if full {
                out.push_str(&format!("{}\n", line.full.replace("\r\n", "\n            ")));
            }
        }
        if chosen.len() > lines_max {
            out.push_str(&format!("… {} more\n", chosen.len() - lines_max));
        }
        out
    }
}
