//! Limits of other things than trunks: of a source address, a called number or its beginning, a route, a way from trunk to trunk.
//!
//! In: whom a call comes from, where it goes and what number is called. Out: the limits that it falls under. A limit that
//! names several things is for calls to which all of them apply. Those with numbers are found by the number, those with a route by
//! its name; the rest is gone through, one by one.

use super::{LimitId, Limits};
use crate::{
    guard::{Acl, Action},
    trunk::TrunkId,
};
use ahash::RandomState;
use smallvec::SmallVec;
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

/// What limits are chosen by.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'c> {
    /// Trunk that the call comes from.
    pub from: TrunkId,
    /// Trunk that it goes to.
    pub to: TrunkId,
    /// Address that its INVITE came from; `None`: it is one of ours, for a transfer.
    pub source: Option<IpAddr>,
    /// The called number.
    pub called: &'c str,
    /// Name of the route or DID that leads it there; `None`: none does.
    pub route: Option<&'c str>,
}

/// What a limit with a name is for.
#[derive(Clone, Debug, Default)]
pub struct ScopedLimit {
    /// Its name in the configuration.
    pub name: String,
    /// The limit.
    pub id: LimitId,
    /// Networks with their prefix lengths, one of which the source is in; empty: any source.
    pub sources: Vec<(IpAddr, u8)>,
    /// Beginnings of called numbers; empty: any number. A `+` in front means nothing.
    pub called: Vec<String>,
    /// The trunk that it comes from.
    pub from: Option<TrunkId>,
    /// The trunk that it goes to.
    pub to: Option<TrunkId>,
    /// Name of the route or DID that leads it there.
    pub route: Option<String>,
}

/// All limits with names.
#[derive(Clone, Debug, Default)]
pub struct ScopedLimits {
    rules: Vec<Rule>,
    /// By beginning of the called number: indices of rules.
    called: HashMap<Box<str>, SmallVec<[u32; 2]>, RandomState>,
    /// Lengths of these beginnings.
    lengths: Vec<usize>,
    /// By name of the route: indices of rules for any number.
    routes: HashMap<Box<str>, SmallVec<[u32; 2]>, RandomState>,
    /// Rules for any number and route.
    any: Vec<u32>,
    /// Limits that a call falls under whatever trunk it goes to.
    any_target: HashSet<LimitId, RandomState>,
}

#[derive(Clone, Debug)]
struct Rule {
    name: Box<str>,
    id: LimitId,
    sources: Option<Acl>,
    from: Option<TrunkId>,
    to: Option<TrunkId>,
    route: Option<Box<str>>,
}

impl ScopedLimits {
    /// These limits.
    pub fn new(limits: impl IntoIterator<Item = ScopedLimit>) -> Self {
        // A fixed seed is safe here: keys come from the configuration, peers only look up.
        let hasher = RandomState::with_seeds(0x73, 0x63, 0x6f, 0);
        let mut scoped = Self {
            called: HashMap::with_hasher(hasher.clone()),
            routes: HashMap::with_hasher(hasher.clone()),
            any_target: HashSet::with_hasher(hasher),
            ..Self::default()
        };
        for (index, limit) in (0..).zip(limits) {
            let sources =
                (!limit.sources.is_empty()).then(|| Acl::new(Action::Deny, [(Action::Allow, limit.sources)]));
            match &limit.route {
                _ if !limit.called.is_empty() => {}
                Some(route) => scoped
                    .routes
                    .entry(route.as_str().into())
                    .or_default()
                    .push(index),
                None => scoped.any.push(index),
            }
            if limit.to.is_none() {
                scoped.any_target.insert(limit.id);
            }
            scoped.rules.push(Rule {
                name: limit.name.into(),
                id: limit.id,
                sources,
                from: limit.from,
                to: limit.to,
                route: limit.route.map(Into::into),
            });
            for prefix in &limit.called {
                let prefix = digits(prefix);
                if !scoped.lengths.contains(&prefix.len()) {
                    scoped.lengths.push(prefix.len());
                }
                scoped.called.entry(prefix.into()).or_default().push(index);
            }
        }
        scoped
    }

    /// Add the limits that a call falls under to `limits`.
    #[inline]
    pub fn apply(&self, scope: &Scope<'_>, limits: &mut Limits) {
        if self.rules.is_empty() {
            return;
        }
        let number = digits(scope.called);
        let beginnings = self.lengths.iter().filter_map(|length| number.get(..*length));
        let called = beginnings.filter_map(|prefix| self.called.get(prefix)).flatten();
        let routes = scope.route.and_then(|route| self.routes.get(route));
        for index in called.chain(routes.into_iter().flatten()).chain(&self.any) {
            let Some(rule) = self.rules.get(*index as usize) else {
                continue;
            };
            let trunks =
                rule.from.is_none_or(|from| from == scope.from) && rule.to.is_none_or(|to| to == scope.to);
            let source = rule.sources.as_ref().is_none_or(|networks| {
                scope
                    .source
                    .is_some_and(|source| networks.admits(source) == Action::Allow)
            });
            let route = rule.route.is_none() || rule.route.as_deref() == scope.route;
            if trunks && source && route {
                limits.push(rule.id);
            }
        }
    }

    /// Whether a call that falls under `id` does so whatever trunk it goes to.
    pub fn is_for_any_target(&self, id: LimitId) -> bool {
        self.any_target.contains(&id)
    }

    /// Names and limits, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = (&str, LimitId)> {
        self.rules.iter().map(|rule| (&*rule.name, rule.id))
    }
}

fn digits(number: &str) -> &str {
    number.strip_prefix('+').unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(id: u32) -> ScopedLimit {
        ScopedLimit {
            name: format!("l{id}"),
            id: LimitId(id),
            ..ScopedLimit::default()
        }
    }

    #[test]
    fn a_call_falls_under_what_applies_to_it() {
        let scoped = ScopedLimits::new([
            ScopedLimit {
                called: vec!["+49".into(), "43".into()],
                ..limit(1)
            },
            ScopedLimit {
                called: vec!["4930123".into()],
                ..limit(2)
            },
            ScopedLimit {
                sources: vec![("10.0.0.0".parse().unwrap(), 8)],
                ..limit(3)
            },
            ScopedLimit {
                from: Some(TrunkId(1)),
                to: Some(TrunkId(2)),
                ..limit(4)
            },
            ScopedLimit {
                from: Some(TrunkId(1)),
                called: vec!["49".into()],
                ..limit(5)
            },
            ScopedLimit {
                route: Some("germany".into()),
                ..limit(6)
            },
            ScopedLimit {
                route: Some("germany".into()),
                called: vec!["4930".into()],
                to: Some(TrunkId(2)),
                ..limit(7)
            },
        ]);
        let by = |route, from, to, source: &str, called| {
            let scope = Scope {
                from: TrunkId(from),
                to: TrunkId(to),
                source: Some(source.parse().unwrap()),
                called,
                route,
            };
            let mut limits = Limits::new();
            scoped.apply(&scope, &mut limits);
            let mut ids: Vec<u32> = limits.iter().map(|id| id.0).collect();
            ids.sort_unstable();
            ids
        };
        let of = |from, to, source: &str, called| by(None, from, to, source, called);
        assert_eq!(of(1, 2, "10.1.2.3", "4930123"), [1, 2, 3, 4, 5]);
        assert_eq!(of(0, 2, "192.0.2.1", "+4930123"), [1, 2]);
        assert_eq!(of(0, 2, "192.0.2.1", "4930124"), [1]);
        assert_eq!(of(0, 2, "192.0.2.1", "43"), [1]);
        assert_eq!(of(0, 2, "::ffff:10.0.0.1", "4"), [3]);
        assert_eq!(of(1, 3, "192.0.2.1", "\u{e9}\u{e9}"), Vec::<u32>::new());
        assert_eq!(of(2, 1, "192.0.2.1", "anonymous"), Vec::<u32>::new());
        let germany = Some("germany");
        assert_eq!(by(germany, 0, 2, "192.0.2.1", "4930"), [1, 6, 7]);
        assert_eq!(by(germany, 0, 1, "192.0.2.1", "4930"), [1, 6]);
        assert_eq!(by(germany, 0, 2, "192.0.2.1", "5"), [6]);
        assert_eq!(by(Some("france"), 0, 2, "192.0.2.1", "4930"), [1]);
        let any_target = (1..=7).filter(|id| scoped.is_for_any_target(LimitId(*id)));
        assert_eq!(any_target.collect::<Vec<_>>(), [1, 2, 3, 5, 6]);
        let ours = Scope {
            from: TrunkId(0),
            to: TrunkId(0),
            source: None,
            called: "",
            route: None,
        };
        let mut limits = Limits::new();
        scoped.apply(&ours, &mut limits);
        assert!(limits.is_empty());
        assert_eq!(
            scoped.iter().map(|(name, id)| (name.to_owned(), id.0)).last(),
            Some(("l7".into(), 7))
        );
    }
}
