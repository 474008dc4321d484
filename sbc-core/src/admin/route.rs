//! `route.test`: which route a number takes, why the others do not, and what would be sent where. Nothing is sent.
//!
//! [`report`] needs no daemon: `sbc-ctl route test --config FILE` asks a configuration that nobody runs.

use super::{
    failure::{Failure, Reason},
    method::shorten,
};
use crate::{
    routing::{self, Found, Kind, Strategy, Verdict, Wanted},
    snapshot::{Service, Snapshot, Target},
    topology::{Host, Parties, Party},
    trunk::TrunkId,
};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Parameters of `route.test`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestRoute {
    /// The called number, as in the user part of a Request-URI.
    pub number: String,
    /// Trunk that the call comes from; without one, only rules for all trunks are for it.
    #[serde(default)]
    pub from: Option<String>,
}

/// Which way a call would go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteReport {
    /// The number that was asked for.
    pub number: String,
    /// What of it is looked up; empty: it is no number.
    pub digits: String,
    /// Trunk that the call comes from.
    pub from: Option<String>,
    /// The rules that know the number: the one that wins first, then those that know most of it.
    pub rules: Vec<RouteRule>,
    /// Which trunk is tried first, in a sentence.
    pub order: String,
    /// When the next one is, in a sentence.
    pub failover: String,
    /// The trunks of the rule that wins, as they are listed.
    pub targets: Vec<RouteTarget>,
}

/// A rule that knows the number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRule {
    /// Its name.
    pub name: String,
    /// `route`, `did` or `emergency`.
    pub kind: String,
    /// What of the number it knows; empty: it is a fallback.
    pub prefix: String,
    /// Why it does not win; `None`: it does.
    pub verdict: Option<String>,
}

/// A trunk of the rule that wins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTarget {
    /// Its name.
    pub trunk: String,
    /// Request-URI of the INVITE.
    pub request_uri: String,
    /// Where it is sent: an address, or a name.
    pub next_hop: String,
    /// The addresses behind that, as far as they are known.
    pub addresses: Vec<String>,
    /// Whether it would be tried, in words.
    pub state: String,
    /// Its share of the calls with weights.
    pub weight: u16,
}

/// The way of a call by `snapshot`, at Unix time `unix_s`.
pub fn report(snapshot: &Snapshot, test: &TestRoute, unix_s: u64) -> Result<RouteReport, Failure> {
    let from = match &test.from {
        None => TrunkId(u16::MAX),
        Some(name) => (0..)
            .map(TrunkId)
            .zip(&snapshot.trunks)
            .find_map(|(id, trunk)| (trunk.name == *name).then_some(id))
            .ok_or_else(|| {
                let message = format!(
                    "no trunk is named {:?}; `sbc-ctl trunks` lists them",
                    shorten(name)
                );
                Failure::new(Reason::NoSuchTrunk, message)
            })?,
    };
    let parties = dialled(snapshot, from, &test.number);
    let wanted = Wanted::of(&parties.callee, parties.called.as_ref());
    let digits = match snapshot.routes.emergency_rule(from, wanted.dialled) {
        Some(_) => wanted.dialled,
        None => wanted.number,
    };
    let prefix = |len: usize| String::from_utf8_lossy(digits.get(..len).unwrap_or_default()).into_owned();
    let explained = snapshot.routes.explain(from, digits, unix_s);
    let rules = explained.iter().map(|explained| RouteRule {
        name: explained.rule.name.to_string(),
        kind: kind(explained.rule.kind).to_owned(),
        prefix: prefix(explained.digits),
        verdict: verdict(explained.verdict),
    });
    let mut report = RouteReport {
        number: test.number.clone(),
        digits: prefix(digits.len()),
        from: test.from.clone(),
        rules: rules.collect(),
        ..RouteReport::default()
    };
    if let Some(found) = snapshot.routes.find(from, digits, || unix_s) {
        report.order = order(&found);
        report.failover = failover(snapshot, &found);
        report.targets = targets(snapshot, &found, &parties);
    }
    Ok(report)
}

/// The called party that a trunk means by `number`.
fn dialled(snapshot: &Snapshot, from: TrunkId, number: &str) -> Parties {
    let address = number.strip_prefix("sip:").unwrap_or(number);
    let alias = address
        .rsplit_once('@')
        .and_then(|(user, host)| snapshot.aliases.number_of(user, host.as_bytes()));
    if let Some(number) = alias {
        return Parties::to_user(&format!("+{number}"), None, &Party::unknown());
    }
    let trunk = snapshot.trunks.get(usize::from(from.0));
    let numbering = trunk.and_then(|trunk| trunk.numbers.as_deref());
    let proof = trunk.and_then(|trunk| trunk.proofs.as_ref());
    let number = proof.map_or(number, |proofs| proofs.inbound.strip(number));
    Parties::to_user(number, numbering, &Party::unknown())
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Route => "route",
        Kind::Did => "did",
        Kind::Emergency => "emergency",
    }
}

fn verdict(verdict: Verdict) -> Option<String> {
    Some(match verdict {
        Verdict::Wins => return None,
        Verdict::OtherTrunk => "it is for calls of other trunks".to_owned(),
        Verdict::OtherLength(digits) => format!("it is for numbers of {digits} digits"),
        Verdict::NotYet(at) => format!("it begins to hold at {}", routing::date(at)),
        Verdict::Over(at) => format!("it held until {}", routing::date(at)),
        Verdict::Beaten => "the one that wins is more specific, or comes first".to_owned(),
    })
}

fn order(found: &Found<'_>) -> String {
    match found.rule.strategy {
        _ if found.rule.targets.len() == 1 => "there is one trunk".to_owned(),
        Strategy::Sequential => "sequential: as listed".to_owned(),
        Strategy::RoundRobin => {
            "round_robin: each call begins with the next, and goes on as listed".to_owned()
        }
        Strategy::Weighted => "weighted: drawn by their weights".to_owned(),
    }
}

fn failover(snapshot: &Snapshot, found: &Found<'_>) -> String {
    let failover = &found.rule.failover;
    let stop_on: Vec<String> = failover
        .stop_on
        .iter()
        .filter(|status| **status < 600)
        .map(u16::to_string)
        .collect();
    let no_answer = match failover.no_answer.as_secs() {
        0 => snapshot.sip.no_answer.as_secs(),
        own => own,
    };
    let ringback = match failover.ringback_timeout.as_secs() {
        0 => String::new(),
        seconds => format!(", {seconds} s without 18x"),
    };
    format!(
        "after any failure but {} and 6xx{ringback}, {no_answer} s without an answer; at most {} INVITEs",
        stop_on.join(", "),
        failover.attempts_max
    )
}

fn targets(snapshot: &Snapshot, found: &Found<'_>, parties: &Parties) -> Vec<RouteTarget> {
    let target = |target: &routing::Weighted| {
        let trunk = snapshot.trunks.get(usize::from(target.trunk.0))?;
        let next_hop = trunk.next_hop();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut towards = trunk.towards(nowhere, next_hop.address().unwrap_or(nowhere));
        if towards.host == Host::Address(nowhere) {
            towards.host = match next_hop {
                Target::Name(query) => Host::Domain(&query.host),
                _ => Host::Domain("registered-contact"),
            };
        }
        let state = match (
            snapshot.service_of(target.trunk),
            snapshot.health.is_down(target.trunk),
        ) {
            (Service::Enabled, false) => "in use",
            (Service::Enabled, true) => "down: passed over",
            _ => "switched off: passed over",
        };
        Some(RouteTarget {
            trunk: trunk.name.clone(),
            request_uri: String::from_utf8_lossy(&parties.request_uri(&towards)).into_owned(),
            next_hop: next_hop.to_string(),
            addresses: next_hop.address().iter().map(ToString::to_string).collect(),
            state: state.to_owned(),
            weight: target.weight,
        })
    };
    found.rule.targets.iter().filter_map(target).collect()
}
