//! Which limit has which id, from one configuration to the next.
//!
//! In: the limits of a configuration, by name. Out: a [`LimitPlan`], which makes the first table or changes the running
//! one. A limit keeps its id, and with it its counters, tokens and channels, for as long as a configuration names it. What a
//! configuration no longer names stays in the table until its calls have ended; then its id may be another limit's.

use super::{Admission, Limit, LimitId, LimitSpec};
use std::{
    collections::HashMap,
    sync::{PoisonError, atomic::Ordering::Relaxed},
};

/// The limits of one configuration with their ids.
#[derive(Debug, Default)]
pub struct LimitPlan {
    specs: Vec<(LimitId, LimitSpec)>,
    known: HashMap<String, LimitId>,
    free: Vec<(LimitId, String)>,
    next: u32,
}

impl LimitPlan {
    /// The limits of a first table, whose ids are their places here.
    pub fn in_order(specs: Vec<LimitSpec>) -> Self {
        let specs: Vec<_> = (0..).map(LimitId).zip(specs).collect();
        Self {
            next: u32::try_from(specs.len()).unwrap_or(u32::MAX),
            specs,
            ..Self::default()
        }
    }

    /// A plan for the configuration that follows the one `running` has. `settled`: every shard has that one, so that no
    /// call can be on its way to a limit that it does not name.
    pub fn after(running: &Admission, settled: bool) -> Self {
        let mut plan = Self {
            next: running.limits.len(),
            ..Self::default()
        };
        for (n, limit) in (0..).zip(running.limits.iter()) {
            let id = LimitId(n);
            let name = limit.spec().name;
            if settled && limit.is_retired() && limit.channels_used.load(Relaxed) == 0 {
                plan.free.push((id, name));
            } else {
                plan.known.insert(name, id);
            }
        }
        // The lowest first, for the same ids each time.
        plan.free.reverse();
        plan
    }

    /// The id of the limit with the name in `spec`, which shall be as that says.
    pub fn place(&mut self, spec: LimitSpec) -> LimitId {
        let id = match self.known.get(&spec.name) {
            Some(id) => *id,
            None => {
                let id = self.free.pop().map_or(LimitId(self.next), |(id, _)| id);
                self.next = self.next.max(id.0 + 1);
                self.known.insert(spec.name.clone(), id);
                id
            }
        };
        self.specs.push((id, spec));
        id
    }

    /// Keep what limit `id` of the running table has, although the configuration does not name it: calls may still be
    /// counted there. Before anything is placed.
    pub fn keep(&mut self, id: LimitId) {
        if let Some(at) = self.free.iter().position(|(free, _)| *free == id) {
            let (id, name) = self.free.remove(at);
            self.known.insert(name, id);
        }
    }

    /// How many limits the table will have.
    pub fn len(&self) -> usize {
        self.next as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.next == 0
    }

    /// The first table.
    pub fn into_admission(self) -> Admission {
        let admission = Admission::default();
        admission.adopt(self);
        admission
    }
}

impl Admission {
    /// Have the limits of `plan`, which was made after this table, for all shards at once. Of a limit that there was, only
    /// those figures change that are others in the configuration than before: what was set while running
    /// ([`Self::set_cps`]) else stays. For one thread at a time; cannot fail.
    pub fn adopt(&self, plan: LimitPlan) {
        self.limits.grow(plan.next);
        let mut named = vec![false; plan.next as usize];
        for (id, spec) in plan.specs {
            if let Some(named) = named.get_mut(id.0 as usize) {
                *named = true;
            }
            self.adopt_one(id, spec);
        }
        for (limit, named) in self.limits.iter().zip(named) {
            limit.set_retired(!named);
        }
    }

    fn adopt_one(&self, id: LimitId, spec: LimitSpec) {
        let Some(limit) = self.limits.get(id.0) else {
            return;
        };
        let before = limit.spec();
        if before.name != spec.name {
            limit.begin_anew(&spec);
        } else {
            if (before.cps, before.burst) != (spec.cps, spec.burst) {
                self.set_rate(id, |_, _| (spec.cps, spec.burst.max(1)));
            }
            if before.channels != spec.channels {
                self.set_channels(id, spec.channels);
            }
        }
        limit.set_spec(spec);
    }
}

impl Limit {
    /// As the configuration has it.
    pub(super) fn spec(&self) -> LimitSpec {
        self.spec.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_spec(&self, spec: LimitSpec) {
        *self.spec.lock().unwrap_or_else(PoisonError::into_inner) = spec;
    }

    /// No configuration names it any more.
    fn is_retired(&self) -> bool {
        self.retired.load(Relaxed)
    }

    fn set_retired(&self, retired: bool) {
        self.retired.store(retired, Relaxed);
    }

    /// The place of a limit that nothing holds becomes another's.
    fn begin_anew(&self, spec: &LimitSpec) {
        self.rate.store(super::rate_of(spec), Relaxed);
        self.arrival.store(0, Relaxed);
        self.channels_max.store(spec.channels, Relaxed);
        self.admitted.store(0, Relaxed);
        self.refused_cps.store(0, Relaxed);
        self.refused_channels.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn spec(name: &str, cps: u32, channels: u32) -> LimitSpec {
        LimitSpec {
            name: name.to_owned(),
            cps,
            burst: 1,
            channels,
        }
    }

    fn adopt(admission: &Admission, specs: &[LimitSpec]) -> Vec<u32> {
        let mut plan = LimitPlan::after(admission, true);
        let ids = specs.iter().map(|spec| plan.place(spec.clone()).0).collect();
        admission.adopt(plan);
        ids
    }

    #[test]
    fn a_limit_keeps_its_id_and_what_it_has_counted() {
        let a = Admission::default();
        assert_eq!(adopt(&a, &[spec("all", 0, 9), spec("x", 10, 2)]), [0, 1]);
        let held = a
            .admit(Timestamp::from_millis(1), &[LimitId(0), LimitId(1)])
            .unwrap();
        assert_eq!(
            adopt(&a, &[spec("y", 1, 1), spec("x", 10, 3), spec("all", 0, 9)]),
            [2, 1, 0]
        );
        let x = a.view(LimitId(1)).unwrap();
        assert_eq!(
            (x.name.as_str(), x.channels_max, x.channels_used, x.admitted),
            ("x", 3, 1, 1)
        );
        // Its bucket was not begun anew: the next token is due a tenth of a second after the first.
        assert!(a.admit(Timestamp::from_millis(50), &[LimitId(1)]).is_err());
        a.release(held);
        assert!(a.iter().all(|limit| limit.channels_used == 0));
    }

    #[test]
    fn what_was_set_while_running_stays_until_the_file_says_otherwise() {
        let a = Admission::default();
        adopt(&a, &[spec("x", 10, 2)]);
        assert!(a.set_cps(LimitId(0), 50) && a.set_channels(LimitId(0), 7));
        adopt(&a, &[spec("x", 10, 2)]);
        let view = a.view(LimitId(0)).unwrap();
        assert_eq!((view.cps, view.channels_max), (50, 7));
        adopt(&a, &[spec("x", 10, 3)]);
        let view = a.view(LimitId(0)).unwrap();
        assert_eq!((view.cps, view.channels_max), (50, 3), "only what has changed");
        adopt(&a, &[spec("x", 11, 3)]);
        assert_eq!(a.view(LimitId(0)).unwrap().cps, 11);
    }

    #[test]
    fn an_id_is_used_again_when_nothing_holds_it() {
        let a = Admission::default();
        adopt(&a, &[spec("x", 0, 0), spec("y", 0, 0)]);
        let held = a.admit(Timestamp::ZERO, &[LimitId(1)]).unwrap();
        // Of the same configuration in which it ends, a shard may not know yet.
        assert_eq!(adopt(&a, &[spec("x", 0, 0), spec("z", 0, 0)]), [0, 2]);
        assert_eq!(
            adopt(&a, &[spec("x", 0, 0), spec("w", 0, 0)]),
            [0, 3],
            "y has a call"
        );
        a.release(held);
        assert_eq!(adopt(&a, &[spec("x", 0, 0), spec("v", 5, 4)]), [0, 1]);
        let v = a.view(LimitId(1)).unwrap();
        assert_eq!(
            (v.name.as_str(), v.cps, v.channels_max, v.admitted),
            ("v", 5, 4, 0)
        );
    }

    #[test]
    fn nothing_is_used_again_before_all_shards_know() {
        let a = Admission::default();
        adopt(&a, &[spec("x", 0, 0)]);
        adopt(&a, &[spec("y", 0, 0)]);
        let mut plan = LimitPlan::after(&a, false);
        assert_eq!(plan.place(spec("z", 0, 0)), LimitId(2));
        let mut plan = LimitPlan::after(&a, true);
        plan.keep(LimitId(0));
        assert_eq!(plan.place(spec("z", 0, 0)), LimitId(2));
    }

    #[test]
    fn a_limit_that_comes_back_is_the_same_one() {
        let a = Admission::default();
        adopt(&a, &[spec("x", 0, 0)]);
        let held = a.admit(Timestamp::ZERO, &[LimitId(0)]).unwrap();
        adopt(&a, &[]);
        assert_eq!(adopt(&a, &[spec("x", 0, 5)]), [0]);
        assert_eq!(a.view(LimitId(0)).unwrap().channels_used, 1);
        a.release(held);
    }
}
