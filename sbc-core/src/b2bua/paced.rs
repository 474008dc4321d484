//! Calls that wait for their place in the rate of the trunk that they go to (L3).
//!
//! In: an admitted call with the [`Place`] that it was given, and the timer of that place. Out: its INVITE, when the time has
//! come; calls leave in the order in which they came. A call that is cancelled lets those behind it move up by one place,
//! so it is the last place that becomes free. Nobody waits longer than the trunk's `max_wait_ms`, so no more than its
//! rate times that wait; and no more than [`HELD_MAX`] on a shard. When the shard drains, all who wait are refused; when a
//! trunk is switched off or removed, those who wait for it go on to the next trunk of their rule, or are refused.

use super::{AttemptFailure, Skip, TRUNK_DISABLED, admit::limits_of};
use crate::{
    admission::{LimitId, Permit, Place, Refused, Scope},
    alarm::Alarm,
    shard::Shard,
    snapshot::{Service, Snapshot},
    time::Timestamp,
    timer_wheel::TimerKey,
    trunk::TrunkId,
};
use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

/// Most calls that wait on a shard.
const HELD_MAX: usize = 10_000;

/// Calls that wait, by the limit that they wait for.
#[derive(Debug, Default)]
pub(crate) struct Paced {
    lines: HashMap<LimitId, Line, ahash::RandomState>,
    len: usize,
}

/// Those that wait for one limit, and as many places.
#[derive(Debug, Default)]
struct Line {
    calls: VecDeque<u32>,
    places: VecDeque<(TimerKey, Place)>,
}

/// What calls to a trunk wait for.
struct Pace {
    limit: LimitId,
    wait_max: Duration,
    /// Nobody more may wait.
    full: bool,
}

impl Pace {
    /// How long a call that comes now may wait.
    fn within(&self) -> Duration {
        match self.full {
            true => Duration::ZERO,
            false => self.wait_max,
        }
    }
}

/// Why a trunk with `pace` is passed over by a call that is over a limit.
fn skip_for(refused: Refused, pace: Option<&Pace>) -> Skip {
    match (refused, pace) {
        // It would have waited, but for those who wait already.
        (Refused::Cps(limit, wait), Some(pace))
            if pace.full && limit == pace.limit && wait <= pace.wait_max =>
        {
            Skip::HeldMax(wait)
        }
        (refused, _) => Skip::Limit(refused),
    }
}

impl Paced {
    /// Timers of places.
    pub(super) fn timers(&self) -> impl Iterator<Item = TimerKey> {
        self.lines
            .values()
            .flat_map(|line| line.places.iter().map(|(key, _)| *key))
    }

    /// Everybody who waits.
    fn calls(&self) -> Vec<u32> {
        let mut calls: Vec<u32> = self
            .lines
            .values()
            .flat_map(|line| line.calls.iter().copied())
            .collect();
        calls.sort_unstable();
        calls
    }
}

impl Shard {
    /// As `admit`, or with a place in the rate of the trunk that the call goes to.
    pub(super) fn admit_or_hold(
        &mut self,
        now: Timestamp,
        snapshot: &Snapshot,
        scope: &Scope<'_>,
    ) -> Result<(Permit, Option<Place>), Skip> {
        let limits = limits_of(snapshot, scope);
        let pace = self.pace_of(snapshot, scope.to);
        let admitted = match &pace {
            Some(pace) => self
                .admission
                .admit_paced(now, &limits, (pace.limit, pace.within())),
            None => self.admission.admit(now, &limits).map(|permit| (permit, None)),
        };
        admitted.map_err(|refused| skip_for(refused, pace.as_ref()))
    }

    /// The same for a call that goes on to the trunk `scope.to`: `permit` holds the limits of the one that it was at.
    pub(super) fn exchange_or_hold(
        &self,
        now: Timestamp,
        snapshot: &Snapshot,
        scope: &Scope<'_>,
        permit: &mut Permit,
    ) -> Result<Option<Place>, Skip> {
        let limits = limits_of(snapshot, scope);
        let pace = self.pace_of(snapshot, scope.to);
        let exchanged = match &pace {
            Some(pace) => {
                let pace = (pace.limit, pace.within());
                self.admission.exchange_paced(now, permit, &limits, pace)
            }
            None => self.admission.exchange(now, permit, &limits).map(|()| None),
        };
        exchanged.map_err(|refused| skip_for(refused, pace.as_ref()))
    }

    /// What calls to `to` wait for; `None`: they do not wait.
    fn pace_of(&self, snapshot: &Snapshot, to: TrunkId) -> Option<Pace> {
        let trunk = snapshot.trunks.get(usize::from(to.0))?;
        (!trunk.wait_max.is_zero()).then_some(Pace {
            limit: trunk.outbound,
            wait_max: trunk.wait_max,
            full: self.paced.len >= HELD_MAX,
        })
    }

    /// A call that was admitted cannot be placed after all.
    pub(super) fn forgo(&mut self, permit: Permit, place: Option<Place>) {
        self.admission.release(permit);
        if let Some(place) = place {
            self.admission.give_back(&place);
        }
    }

    /// The call in `slot` goes when its place comes.
    pub(super) fn hold(&mut self, slot: u32, place: Place) {
        let limit = place.limit();
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let Some(plan) = call.plan.as_mut() else { return };
        plan.held = Some(limit);
        // That was for the trunk that the call has failed at.
        if let Some(watch) = call.watch.take() {
            self.io.timers.cancel(watch);
        }
        self.io.counters.calls_held += 1;
        let key = self.io.timers.insert(place.due, Alarm::Held(limit.0));
        let line = self.paced.lines.entry(limit).or_default();
        line.calls.push_back(slot);
        line.places.push_back((key, place));
        self.paced.len += 1;
    }

    /// A place of `limit` has come: whoever has waited longest goes.
    pub(crate) fn held_due(&mut self, now: Timestamp, limit: u32) {
        let limit = LimitId(limit);
        let Some(line) = self.paced.lines.get_mut(&limit) else {
            return;
        };
        let timers = &self.io.timers;
        match line.places.front() {
            Some((key, _)) if !timers.is_armed(*key) => drop(line.places.pop_front()),
            // A new rate may have given a later call an earlier place.
            _ => line.places.retain(|(key, _)| timers.is_armed(*key)),
        }
        let Some(slot) = line.calls.pop_front() else {
            return;
        };
        self.paced.len -= 1;
        self.sweep_line(limit);
        if let Some(plan) = self
            .calls
            .get_mut(slot as usize)
            .and_then(|call| call.plan.as_mut())
        {
            plan.held = None;
        }
        self.io.counters.calls_held_sent += 1;
        self.seize_trunk(now, slot);
        self.begin_attempt(now, slot);
        if !self.ask_again(now, slot) {
            return self.end(now, slot, 500, "internal");
        }
        self.watch_attempt(now, slot);
    }

    /// The call in `slot` is over before its place has come: those behind it move up.
    pub(super) fn leave_line(&mut self, slot: u32, limit: LimitId) {
        let Some(line) = self.paced.lines.get_mut(&limit) else {
            return;
        };
        let Some(at) = line.calls.iter().position(|waiting| *waiting == slot) else {
            return;
        };
        line.calls.remove(at);
        self.paced.len -= 1;
        self.io.counters.calls_held_left += 1;
        if let Some((key, place)) = line.places.pop_back() {
            self.io.timers.cancel(key);
            self.admission.give_back(&place);
        }
        self.sweep_line(limit);
    }

    /// Nobody is to wait any more.
    pub(crate) fn give_up_held(&mut self, now: Timestamp) {
        for slot in self.paced.calls() {
            self.end(now, slot, 503, "draining");
        }
    }

    /// Who waits for a trunk that is in use no more does not go there: to the next trunk of its rule, or nowhere.
    pub(crate) fn move_held_on(&mut self, now: Timestamp) {
        for slot in self.paced.calls() {
            let Some(call) = self.calls.get_mut(slot as usize) else {
                continue;
            };
            let trunk = call.b.trunk;
            if self.snapshot.service_of(trunk) == Service::Enabled {
                continue;
            }
            if let Some(limit) = call.plan.as_mut().and_then(|plan| plan.held.take()) {
                self.leave_line(slot, limit);
            }
            self.note_skip(now, slot, trunk, &Skip::Disabled);
            if !self.try_trunk(now, slot, AttemptFailure::Disabled) {
                self.io.counters.refused_disabled += 1;
                self.end(now, slot, 500, TRUNK_DISABLED);
            }
        }
    }

    fn sweep_line(&mut self, limit: LimitId) {
        if self
            .paced
            .lines
            .get(&limit)
            .is_some_and(|line| line.calls.is_empty())
        {
            self.paced.lines.remove(&limit);
        }
    }
}
