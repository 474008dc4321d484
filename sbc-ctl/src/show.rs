//! Results as text for people.

mod attempts;
mod route;
mod trunk;

pub(crate) use route::route;
pub(crate) use trunk::trunk;

use comfy_table::{CellAlignment, Table, presets::NOTHING};
use sbc_core::admin::{named::Named, protocol::*};
use std::{fmt::Write as _, net::SocketAddr};

pub(crate) fn status(s: &Status) -> String {
    let mut t = Plain::pairs();
    t.row(["sbcd", &format!("{} (pid {})", s.version, s.pid)]);
    t.row(["state", s.state.as_str()]);
    t.row(["up for", &duration(s.uptime_ms)]);
    t.row([
        "config",
        s.config
            .as_deref()
            .unwrap_or("built in (sbcd --print-default-config)"),
    ]);
    t.row(["backend", &format!("{}: {}", s.backend, s.backend_reason)]);
    t.row(["shards", &s.shards.to_string()]);
    for listener in &s.listeners {
        let mut text = format!("{} {} ({})", listener.transport, listener.bind, listener.name);
        if listener.advertised != listener.bind {
            let _ = write!(text, ", advertised as {}", listener.advertised);
        }
        t.row(["sip", &text]);
    }
    for media in &s.media_interfaces {
        let mut text = format!(
            "{} ports {}-{} ({})",
            media.bind, media.ports.0, media.ports.1, media.name
        );
        if media.advertised != media.bind {
            let _ = write!(text, ", advertised as {}", media.advertised);
        }
        let used = media.pairs + media.pairs_quarantined;
        let free = media.pairs_max.saturating_sub(used);
        let _ = write!(text, ": {free} of {} pairs free", media.pairs_max);
        if media.pairs_quarantined > 0 {
            let _ = write!(text, ", {} resting", media.pairs_quarantined);
        }
        t.row(["media", &text]);
    }
    let mut media = format!("{} ports {}-{}", s.media, s.media_ports.0, s.media_ports.1);
    if s.media_advertised != s.media {
        let _ = write!(media, ", advertised as {}", s.media_advertised);
    }
    if s.media_interfaces.is_empty() {
        t.row(["media", &format!("{media}, at most {} pairs", s.media_pairs_max)]);
    }
    t.row(["calls", &s.calls.to_string()]);
    t.row([
        "since start",
        &format!("{} attempted, {} answered", s.calls_attempted, s.calls_answered),
    ]);
    t.row(["log level", s.log_level.as_str()]);
    t.row(["protocol", &s.protocol.to_string()]);
    t.finish()
}

pub(crate) fn calls(calls: &[CallSummary], more: bool) -> String {
    let mut t = Plain::new(&["ID", "STATE", "FROM", "TO", "CALLER", "CALLEE", "AGE>", "SHARD>"]);
    for c in calls {
        let age = duration(c.age_ms);
        let shard = c.shard.to_string();
        t.row([
            &c.id,
            &c.state,
            &c.from_trunk,
            &c.to_trunk,
            &c.caller,
            &c.callee,
            &age,
            &shard,
        ]);
    }
    let more = if more {
        "; there are more, --limit shows them"
    } else {
        ""
    };
    format!("{}{}{more}\n", t.finish(), count(calls.len(), "call"))
}

/// Who is on one side, with the number that is meant where it is written in another way.
fn party(user: &str, number: Option<&str>, trunk: &str) -> String {
    match number.map(|number| format!("+{number}")) {
        Some(number) if number != user => format!("{user} ({number}) on {trunk}"),
        _ => format!("{user} on {trunk}"),
    }
}

pub(crate) fn call(c: &CallDetail) -> String {
    let s = &c.summary;
    let mut head = Plain::pairs();
    head.row(["call", &s.id]);
    head.row(["state", &s.state]);
    head.row(["age", &duration(s.age_ms)]);
    head.row([
        "from",
        &party(&s.caller, c.calling_number.as_deref(), &s.from_trunk),
    ]);
    head.row(["to", &party(&s.callee, c.called_number.as_deref(), &s.to_trunk)]);
    head.row(["shard", &s.shard.to_string()]);
    let mut legs = Plain::new(&[
        "LEG",
        "TRUNK",
        "PEER",
        "CALL-ID",
        "OUR TAG",
        "PEER'S TAG",
        "STATE",
    ]);
    for l in &c.legs {
        legs.row([
            &l.leg,
            &l.trunk,
            &l.peer,
            &l.call_id,
            &l.local_tag,
            or_dash(&l.remote_tag),
            &l.state,
        ]);
    }
    let mut text = format!("{}\n{}", head.finish(), legs.finish());
    if !c.attempts.is_empty() {
        let _ = write!(text, "\n{}", attempts::attempts(&c.attempts));
    }
    if c.media.is_empty() {
        text.push_str("\nno media\n");
        return text;
    }
    let mut media = Plain::new(&[
        "MEDIA FROM",
        "PORT>",
        "SIGNALLED",
        "LATCHED",
        "PACKETS>",
        "OCTETS>",
        "LOST>",
        "JITTER>",
        "IDLE>",
        "WRONG SOURCE>",
        "SRTP",
        "RTCP",
        "PTIME TO>",
        "PLAYED",
    ]);
    for m in &c.media {
        media.row([
            m.leg.as_str(),
            &m.port.to_string(),
            or_dash(&m.signalled),
            or_dash(&m.latched),
            &m.packets.to_string(),
            &m.octets.to_string(),
            &m.lost.to_string(),
            &format!("{:.1} ms", m.jitter_ms),
            &m.idle_ms.map_or_else(|| "-".into(), duration),
            &m.wrong_source.to_string(),
            m.srtp.as_deref().unwrap_or("-"),
            if m.rtcp_mux { "same port" } else { "next port" },
            &m.ptime_ms
                .map_or_else(|| "-".into(), |ptime| format!("{ptime} ms")),
            m.played.as_deref().unwrap_or("-"),
        ]);
    }
    let _ = write!(text, "\n{}\n{}", media.finish(), quality(&c.media));
    if c.media.iter().any(|m| m.digits.is_some()) {
        let _ = write!(text, "\n{}", digits(&c.media));
    }
    if c.media.iter().any(|m| m.refused != MediaRefused::default()) {
        let _ = write!(text, "\n{}", refused(&c.media));
    }
    text
}

/// How digits go, where they are converted.
fn digits(media: &[MediaDetail]) -> String {
    let mut t = Plain::new(&["DIGITS OF", "METHOD", "HEARD>", "TOLD>", "LOST>", "IGNORED>"]);
    for m in media {
        let Some(d) = &m.digits else { continue };
        t.row([
            m.leg.as_str(),
            d.method.as_deref().unwrap_or("-"),
            &d.heard.to_string(),
            &d.told.to_string(),
            &d.lost.to_string(),
            &d.ignored.to_string(),
        ]);
    }
    t.finish()
}

/// What was not let through, where anything was.
fn refused(media: &[MediaDetail]) -> String {
    let mut t = Plain::new(&[
        "REFUSED FROM",
        "LAST STRANGER",
        "MALFORMED>",
        "NO DESTINATION>",
        "FORMAT>",
        "DISPLACED>",
        "SRTP BAD TAG>",
        "REPLAYED>",
        "FAILED>",
    ]);
    for m in media {
        let r = &m.refused;
        t.row([
            m.leg.as_str(),
            r.stranger.as_deref().unwrap_or("-"),
            &r.malformed.to_string(),
            &r.no_destination.to_string(),
            &r.format.to_string(),
            &r.displaced.to_string(),
            &r.srtp_bad_tag.to_string(),
            &r.srtp_replayed.to_string(),
            &r.srtp_failed.to_string(),
        ]);
    }
    t.finish()
}

/// What is known of the media of each side beside its counts.
fn quality(media: &[MediaDetail]) -> String {
    let mut t = Plain::new(&[
        "QUALITY FROM",
        "MOS>",
        "LOSS>",
        "BURSTS>",
        "VARIATION>",
        "ROUND TRIP>",
        "HEARS LOSS>",
        "SILENCE>",
        "SSRC CHANGES>",
        "PAYLOAD TYPES",
    ]);
    for m in media {
        let q = &m.quality;
        let bursts = match q.bursts {
            0 => "0".to_owned(),
            n => format!("{n} of {:.0} ms with {:.1} %", q.burst_ms, q.burst_loss_percent),
        };
        let variation = match q.delay_variation_max_ms {
            0.0 => format!("< {:.0} ms", q.delay_variation_p95_ms),
            max => format!("< {:.0} ms, once {max:.0} ms", q.delay_variation_p95_ms),
        };
        let payloads: Vec<String> = (q.payloads.iter())
            .map(|seen| format!("{} ({})", seen.payload_type, seen.packets))
            .collect();
        let heard = m.packets > 0;
        t.row([
            m.leg.as_str(),
            &q.mos.map_or_else(dash, |mos| format!("{mos:.2}")),
            &if heard {
                format!("{:.2} %", q.loss_percent)
            } else {
                dash()
            },
            &if heard { bursts } else { dash() },
            &if heard { variation } else { dash() },
            &q.round_trip_ms.map_or_else(dash, |time| format!("{time:.1} ms")),
            &q.heard_loss_percent
                .map_or_else(dash, |loss| format!("{loss:.1} %")),
            &q.longest_silence_ms.map_or_else(dash, duration_ms),
            &q.ssrc_changes.to_string(),
            or_dash(&payloads.join(", ")),
        ]);
    }
    t.finish()
}

/// Milliseconds below ten seconds, and as other durations above.
fn duration_ms(ms: u64) -> String {
    if ms < 10_000 {
        format!("{ms} ms")
    } else {
        duration(ms)
    }
}

pub(crate) fn trunks(trunks: &[TrunkStatus]) -> String {
    let mut t = Plain::new(&[
        "TRUNK",
        "HOSTS",
        "TARGET",
        "STATE",
        "LISTENER",
        "ROUTE",
        "IN>",
        "OUT>",
        "CPS IN>",
        "CPS OUT>",
        "ASR IN>",
        "ASR OUT>",
        "ADMITTED>",
        "REFUSED>",
        "LIMITS",
    ]);
    for trunk in trunks {
        let of = |direction| {
            trunk
                .limits
                .iter()
                .filter(move |l| l.scope.direction == Some(direction))
        };
        // A call is admitted by all limits of its trunk, so in and out together are all calls.
        let admitted: u64 = of(Direction::Inbound)
            .chain(of(Direction::Outbound))
            .map(|l| l.admitted)
            .sum();
        let refused: u64 = trunk
            .limits
            .iter()
            .map(|l| l.refused_cps + l.refused_channels)
            .sum();
        let limits: Vec<String> = trunk.limits.iter().filter_map(limit_in_short).collect();
        let traffic = trunk.traffic.as_ref();
        let ways = [traffic.map(|t| t.inbound), traffic.map(|t| t.outbound)];
        let cps = ways.map(|way| way.map_or_else(dash, |way| trunk::cps(&way)));
        let asr = ways.map(|way| way.map_or_else(dash, |way| trunk::asr(&way.minutes_60)));
        t.row([
            trunk.name.as_str(),
            &trunk.hosts.join(", "),
            &target_of(trunk),
            &state_of(trunk),
            &trunk.listener,
            trunk.route.as_deref().unwrap_or("none: calls refused"),
            &trunk.calls_in.to_string(),
            &trunk.calls_out.to_string(),
            &cps[0],
            &cps[1],
            &asr[0],
            &asr[1],
            &admitted.to_string(),
            &refused.to_string(),
            &if limits.is_empty() {
                "none".to_owned()
            } else {
                limits.join(", ")
            },
        ]);
    }
    t.finish()
}

/// Where requests go; of a name, the addresses, in the order in which they are tried.
fn target_of(trunk: &TrunkStatus) -> String {
    match trunk.addresses.as_slice() {
        [] if trunk.target.parse::<SocketAddr>().is_err() => format!("{} (no address)", trunk.target),
        [] => trunk.target.clone(),
        [only] if only.address == trunk.target => trunk.target.clone(),
        addresses => {
            let (failed, good): (Vec<_>, Vec<_>) = addresses.iter().partition(|a| a.failed);
            let shown = |a: &&TrunkAddress| {
                let failed = if a.failed { " failed" } else { "" };
                format!("{}/{}{failed}", a.address, a.transport)
            };
            let all: Vec<String> = good.iter().chain(&failed).map(shown).collect();
            format!("{} ({})", trunk.target, all.join(", "))
        }
    }
}

/// Whether the trunk answers OPTIONS, for how long, and how fast; whether it knows where we are.
fn state_of(trunk: &TrunkStatus) -> String {
    let state = watched_state(trunk);
    if trunk.enabled {
        state
    } else {
        format!("off; {state}")
    }
}

fn watched_state(trunk: &TrunkStatus) -> String {
    let registration = trunk.registration.as_ref().map(|state| {
        let since = trunk
            .registration_ms
            .map_or(String::new(), |ms| format!(" {}", duration(ms)));
        format!("{state}{since}")
    });
    let users = match (trunk.users, trunk.users_registered) {
        (Some(all), Some(registered)) => Some(format!("{registered} of {all} users registered")),
        _ => None,
    };
    let registration = registration.or(users);
    let Some(health) = &trunk.health else {
        return registration.unwrap_or_else(|| "not watched".to_owned());
    };
    let since = trunk.health_ms.filter(|_| health != "untested");
    let since = since.map_or(String::new(), |ms| format!(" {}", duration(ms)));
    let took = trunk.round_trip_ms.filter(|_| health == "up");
    let took = took.map_or(String::new(), |ms| format!(", {ms:.1} ms"));
    let registration = registration.map_or(String::new(), |state| format!("; {state}"));
    format!("{health}{since}{took}{registration}")
}

fn limit_in_short(l: &LimitStatus) -> Option<String> {
    let mut parts = Vec::new();
    if l.cps > 0 {
        parts.push(format!("{} cps", l.cps));
    }
    if l.channels > 0 {
        parts.push(format!("{} channels", l.channels));
    }
    let direction = l.scope.direction.map_or("", Direction::as_str);
    (!parts.is_empty()).then(|| format!("{direction} {}", parts.join(" ")))
}

pub(crate) fn limits(limits: &[LimitStatus]) -> String {
    let mut t = Plain::new(&[
        "LIMIT",
        "CPS>",
        "BURST>",
        "CHANNELS>",
        "IN USE>",
        "ADMITTED>",
        "REFUSED CPS>",
        "REFUSED CHANNELS>",
    ]);
    for l in limits {
        let bound = |n: u32| {
            if n == 0 {
                "unlimited".to_owned()
            } else {
                n.to_string()
            }
        };
        t.row([
            l.scope.to_string().as_str(),
            &bound(l.cps),
            &if l.cps == 0 {
                "-".to_owned()
            } else {
                l.burst.to_string()
            },
            &bound(l.channels),
            &l.channels_used.to_string(),
            &l.admitted.to_string(),
            &l.refused_cps.to_string(),
            &l.refused_channels.to_string(),
        ]);
    }
    t.finish()
}

pub(crate) fn stats(s: &Stats, all: bool, per_shard: bool) -> String {
    let shards: &[ShardStats] = if per_shard { &s.shards } else { &[] };
    let mut header = vec!["GAUGE".to_owned(), "NOW>".to_owned()];
    header.extend(shards.iter().map(|s| format!("SHARD {}>", s.shard)));
    let of_gauges: Vec<&Named> = shards.iter().map(|s| &s.gauges).collect();
    let of_counters: Vec<&Named> = shards.iter().map(|s| &s.counters).collect();
    let (gauges, _) = numbers(&header, &s.gauges, &of_gauges, true);
    header[0] = "COUNTER".into();
    header[1] = "SINCE START>".into();
    let (counters, hidden) = numbers(&header, &s.counters, &of_counters, all);
    let mut text = format!("{gauges}\n{counters}");
    if hidden > 0 {
        let _ = writeln!(
            text,
            "{} 0; --all shows them",
            if hidden == 1 {
                "1 counter is".into()
            } else {
                format!("{hidden} counters are")
            }
        );
    }
    text
}

/// A row for each number (but not for zeros unless `all`), and how many were left out.
fn numbers(header: &[String], sum: &Named, shards: &[&Named], all: bool) -> (String, usize) {
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut t = Plain::new(&header);
    let mut hidden = 0;
    for (name, value) in &sum.0 {
        if *value == 0 && !all {
            hidden += 1;
            continue;
        }
        let mut row = vec![name.clone(), value.to_string()];
        row.extend(
            shards
                .iter()
                .map(|s| s.value(name).map_or_else(|| "-".into(), |v| v.to_string())),
        );
        t.row(row.iter().map(String::as_str));
    }
    (t.finish(), hidden)
}

pub(crate) fn shards(shards: &[ShardStatus]) -> String {
    let mut t = Plain::new(&[
        "SHARD>",
        "CORE>",
        "BACKEND",
        "CPU>",
        "BUSY>",
        "SHED>",
        "CALLS>",
        "ATTEMPTED>",
        "HANDED OVER>",
        "TRANSACTIONS>",
        "TIMERS>",
        "MEDIA PAIRS>",
        "RESTING>",
        "MEDIA PACKETS>",
    ]);
    for s in shards {
        let share = s.cpu_ms as f64 * 100.0 / s.uptime_ms.max(1) as f64;
        t.row([
            s.shard.to_string().as_str(),
            &s.core.map_or_else(|| "any".into(), |c| c.to_string()),
            &s.backend,
            &format!("{} ({share:.1}%)", duration(s.cpu_ms)),
            &format!("{}%", s.busy_percent),
            &format!("{}%", s.shed_percent),
            &s.gauges.calls.to_string(),
            &s.calls_attempted.to_string(),
            &s.handed_over.to_string(),
            &s.gauges.transactions.to_string(),
            &s.gauges.timers.to_string(),
            &s.gauges.media_pairs.to_string(),
            &s.gauges.media_pairs_quarantined.to_string(),
            &s.media_received.to_string(),
        ]);
    }
    t.finish()
}

pub(crate) fn drain(d: &DrainProgress) -> String {
    match (d.draining, d.calls) {
        (false, calls) => format!("accepting calls, {} up\n", count(calls as usize, "call")),
        (true, 0) => "draining: new calls are refused, no call is up\n".into(),
        (true, calls) => format!(
            "draining: new calls are refused, {} still up\n",
            count(calls as usize, "call")
        ),
    }
}

pub(crate) fn log_level(l: &LogLevelResult) -> String {
    if l.level == l.previous {
        format!("log level is {}\n", l.level.as_str())
    } else {
        format!("log level is {}, was {}\n", l.level.as_str(), l.previous.as_str())
    }
}

pub(crate) fn certificates(c: &Certificates) -> String {
    let mut text = if c.certificates.is_empty() {
        "no certificate is configured ([listener.tls], [trunk.tls])\n".to_owned()
    } else {
        let mut t = Plain::new(&["USED BY", "NAMES", "EXPIRES IN>", "FILE"]);
        for certificate in &c.certificates {
            let left = match certificate.expires_in_s {
                0 => "expired".to_owned(),
                s => duration(s.saturating_mul(1000)),
            };
            t.row([
                &certificate.owner,
                &certificate.names.join(" "),
                &left,
                &certificate.file,
            ]);
        }
        t.finish()
    };
    for warning in &c.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    text
}

/// `0.4s`, `12s`, `3m05s`, `2h07m`, `5d03h`.
pub(crate) fn duration(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..10 => format!("{}.{}s", s, ms % 1000 / 100),
        10..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3600 % 24),
    }
}

fn count(n: usize, what: &str) -> String {
    match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        _ => format!("{n} {what}s"),
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// A table of columns and nothing else.
pub(crate) struct Plain(Table);

impl Plain {
    /// Columns whose name ends in `>` hold numbers and are aligned to the right.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut plain = Self::pairs();
        plain
            .0
            .set_header(columns.iter().map(|name| clean(name.trim_end_matches('>'))));
        for (index, name) in columns.iter().enumerate() {
            if let (true, Some(column)) = (name.ends_with('>'), plain.0.column_mut(index)) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        plain
    }

    fn pairs() -> Self {
        let mut table = Table::new();
        table.load_style(NOTHING);
        Self(table)
    }

    pub(crate) fn row<'a>(&mut self, cells: impl IntoIterator<Item = &'a (impl AsRef<str> + ?Sized + 'a)>) {
        self.0.add_row(cells.into_iter().map(|cell| clean(cell.as_ref())));
    }

    pub(crate) fn finish(mut self) -> String {
        for column in self.0.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text = String::new();
        for line in self.0.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Numbers and names come from the network: what could steer a terminal is made visible instead.
fn clean(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if steers(c) { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (ms, text) in [
            (0, "0.0s"),
            (1_250, "1.2s"),
            (59_999, "59s"),
            (185_000, "3m05s"),
            (7_620_000, "2h07m"),
            (442_800_000, "5d03h"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn numbers_from_the_network_cannot_steer_the_terminal() {
        assert_eq!(
            clean("1\u{1b}[2J\r\n2\u{202e}3"),
            "1\u{fffd}[2J\u{fffd}\u{fffd}2\u{fffd}3"
        );
    }

    #[test]
    fn columns_are_aligned_without_borders() {
        let mut t = Plain::new(&["NAME", "COUNT>"]);
        t.row(["a", "5"]);
        t.row(["longer", "12345"]);
        assert_eq!(t.finish(), "NAME    COUNT\na           5\nlonger  12345\n");
    }
}
