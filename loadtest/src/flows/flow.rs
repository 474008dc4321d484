//! The table of flows: which there are, and what each needs and must leave behind.

use super::name_server::Zone;
use serde::Deserialize;
use std::{collections::BTreeMap, fs, path::Path};

/// One flow, as its directory `sipp/flows/NAME` has it.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// Name of the directory.
    pub(crate) name: String,
    /// `flow.toml`.
    pub(crate) plan: Plan,
    /// Scenario of the caller.
    pub(crate) caller: String,
    /// Scenario of the callee; empty: nothing may reach it.
    pub(crate) callee: String,
    /// Scenario of a third party behind a trunk of its own; empty: there is none.
    pub(crate) third: String,
}

/// `flow.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// The behaviour in a sentence.
    pub(crate) about: String,
    /// Also over TCP, TLS and IPv6.
    #[serde(default)]
    pub(crate) basic: bool,
    /// Also over TCP and TLS.
    #[serde(default)]
    pub(crate) streams: bool,
    /// Part of the short run of continuous integration.
    #[serde(default)]
    pub(crate) short: bool,
    /// Only over UDP: it is about what only UDP does.
    #[serde(default)]
    pub(crate) udp_only: bool,
    /// Calls of the second run; the first has one.
    #[serde(default = "twenty")]
    pub(crate) calls: u32,
    /// Calls that the callee sees for each of the caller's.
    #[serde(default = "one")]
    pub(crate) callee_calls: u32,
    /// Calls that the third party sees for each of the caller's.
    #[serde(default = "one")]
    pub(crate) third_calls: u32,
    /// Seconds within which one expected message must follow the other.
    #[serde(default = "ten")]
    pub(crate) patience_s: u64,
    /// The third party is another host of the callee's trunk, and has none of its own.
    #[serde(default)]
    pub(crate) third_of_callee: bool,
    /// What a name server says that runs at `{{DNS}}`: addresses, or SRV records as they are written
    /// in zones (priority, weight, port, target).
    #[serde(default)]
    pub(crate) dns: Zone,
    /// More lines of `[sip]`.
    #[serde(default)]
    pub(crate) sip: String,
    /// More lines of the caller's trunk.
    #[serde(default)]
    pub(crate) caller: String,
    /// More lines of the callee's trunk.
    #[serde(default)]
    pub(crate) callee: String,
    /// More lines of the third party's trunk.
    #[serde(default)]
    pub(crate) third: String,
    /// More sections.
    #[serde(default)]
    pub(crate) more: String,
    /// What counters must be after the calls, for each of the caller's calls. Those of
    /// [`JUDGED`] that are not named must be 0, except that a call is attempted, admitted and
    /// answered.
    #[serde(default)]
    pub(crate) counters: BTreeMap<String, u64>,
    /// What counters must be at least, for each of the caller's calls.
    #[serde(default)]
    pub(crate) at_least: BTreeMap<String, u64>,
}

fn one() -> u32 {
    1
}

fn ten() -> u64 {
    10
}

fn twenty() -> u32 {
    20
}

/// Counters that are compared after every flow.
pub(crate) const JUDGED: [&str; 16] = [
    "calls_attempted",
    "calls_admitted",
    "calls_answered",
    "calls_failed",
    "refused_cps",
    "refused_channels",
    "refused_draining",
    "refused_no_media_port",
    "refused_no_route",
    "refused_calls_max",
    "refused_transactions_max",
    "refused_request",
    "sip_malformed",
    "sip_unknown_source",
    "sip_send_errors",
    "internal_errors",
];

impl Plan {
    /// What `counter` must be after `calls` calls.
    pub(crate) fn expected(&self, counter: &str, calls: u32) -> u64 {
        let usual = matches!(counter, "calls_attempted" | "calls_admitted" | "calls_answered");
        let each = self.counters.get(counter).copied().unwrap_or(u64::from(usual));
        each * u64::from(calls)
    }

    /// Every counter that is compared.
    pub(crate) fn judged(&self) -> impl Iterator<Item = &str> {
        let named = self.counters.keys().map(String::as_str);
        JUDGED
            .into_iter()
            .chain(named.filter(|name| !JUDGED.contains(name)))
    }
}

macro_rules! flows {
    (@file $name:literal caller) => {
        include_str!(concat!("../../sipp/flows/", $name, "/caller.xml"))
    };
    (@file $name:literal callee) => {
        include_str!(concat!("../../sipp/flows/", $name, "/callee.xml"))
    };
    (@file $name:literal third) => {
        include_str!(concat!("../../sipp/flows/", $name, "/third.xml"))
    };
    ($($name:literal $($side:ident)*,)+) => {
        const FILES: &[(&str, &str, &[(&str, &str)])] = &[$((
            $name,
            include_str!(concat!("../../sipp/flows/", $name, "/flow.toml")),
            &[$((stringify!($side), flows!(@file $name $side)),)*],
        ),)+];
    };
}

// Slow ones first: they run beside the others.
flows! {
    "session-timer-caller" caller callee,
    "session-timer-expiry" caller callee,
    "session-timer-sbc" caller callee,
    "no-ack" caller callee,
    "no-response" caller callee,
    "basic" caller callee,
    "busy-486" caller callee,
    "bye-crossing" caller callee,
    "bye-during-reinvite" caller callee,
    "bye-unknown-481" caller,
    "callee-bye" caller callee,
    "caller-bye" caller callee,
    "cancel-before-provisional" caller callee,
    "cancel-crossing-200" caller callee,
    "cancel-ringing" caller callee,
    "challenge-401-hidden" caller callee,
    "declined-603" caller callee,
    "dns-failover" caller callee,
    "domain-refused-403" caller,
    "domain-routing" caller third,
    "early-media-183" caller callee,
    "fork-early-media" caller callee,
    "fork-two-answers" caller callee,
    "hold-resume-callee" caller callee,
    "hold-resume-caller" caller callee,
    "info-dtmf" caller callee,
    "info-refused-415" caller callee,
    "large-invite" caller callee,
    "late-offer" caller callee,
    "late-offer-preview" caller callee,
    "login-401-407" caller callee,
    "login-call" caller callee,
    "lost-ack" caller callee,
    "max-forwards-0" caller,
    "merged-482" caller callee,
    "message-alone" caller callee,
    "message-in-dialog" caller callee,
    "method-unknown-501" caller,
    "moved-302" caller callee third,
    "no-answer" caller callee,
    "not-found-404" caller callee,
    "options-alone" caller,
    "options-in-dialog" caller callee,
    "outbound-proxy" caller callee,
    "prack-both" caller callee,
    "prack-callee-leg-only" caller callee,
    "prack-caller-leg-only" caller callee,
    "prack-offer-in-183" caller callee,
    "record-route-caller" caller callee,
    "record-route-loose" caller callee,
    "record-route-strict" caller callee,
    "refer-pass" caller callee,
    "refer-refused" caller callee,
    "reinvite-481-ends" caller callee,
    "reinvite-glare-491" caller callee,
    "reinvite-overlapping-500" caller callee,
    "reinvite-refused-488" caller callee,
    "reinvite-without-sdp" caller callee,
    "repeated-200" caller callee,
    "replaces" caller callee,
    "require-unknown-420" caller,
    "ringback-at-once" caller callee,
    "ringback-tone" caller callee,
    "service-unavailable-503" caller callee,
    "session-timer-422" caller callee,
    "session-timer-422-callee" caller callee,
    "session-timer-none" caller callee,
    "target-refresh" caller callee,
    "trunk-down" caller callee,
    "update-as-reinvite" caller callee,
    "update-confirmed" caller callee,
    "update-early" caller callee,
    "update-refused-488" caller callee,
}

/// All flows: the built-in ones, or those of the directory `dir`. `Err` names the file that is wrong.
pub(crate) fn all(dir: Option<&Path>) -> Result<Vec<Flow>, String> {
    match dir {
        Some(dir) => from_directory(dir),
        None => FILES
            .iter()
            .map(|(name, plan, files)| {
                let file = |wanted: &str| {
                    let found = files.iter().find(|(side, _)| *side == wanted);
                    found.map_or_else(String::new, |(_, text)| (*text).to_owned())
                };
                flow(name, plan, file)
            })
            .collect(),
    }
}

fn flow(name: &str, plan: &str, file: impl Fn(&str) -> String) -> Result<Flow, String> {
    Ok(Flow {
        name: name.to_owned(),
        plan: toml::from_str(plan).map_err(|error| format!("{name}/flow.toml: {error}"))?,
        caller: file("caller"),
        callee: file("callee"),
        third: file("third"),
    })
}

fn from_directory(dir: &Path) -> Result<Vec<Flow>, String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut flows = Vec::new();
    for entry in entries.flatten() {
        // What is no flow has no plan.
        let Ok(plan) = fs::read_to_string(entry.path().join("flow.toml")) else {
            continue;
        };
        let file = |side: &str| {
            fs::read_to_string(entry.path().join(side).with_extension("xml")).unwrap_or_default()
        };
        flows.push(flow(&entry.file_name().to_string_lossy(), &plan, file)?);
    }
    flows.sort_by(|a, b| (b.plan.patience_s, &a.name).cmp(&(a.plan.patience_s, &b.name)));
    Ok(flows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_directory_is_in_the_table_with_every_file() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("sipp/flows");
        let (mut built_in, mut found) = (all(None).unwrap(), all(Some(&dir)).unwrap());
        built_in.sort_by(|a, b| a.name.cmp(&b.name));
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let names = |flows: &[Flow]| flows.iter().map(|flow| flow.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&built_in), names(&found));
        for (one, other) in built_in.iter().zip(&found) {
            assert_eq!(
                (&one.caller, &one.callee, &one.third),
                (&other.caller, &other.callee, &other.third),
                "{}",
                one.name
            );
        }
    }
}
