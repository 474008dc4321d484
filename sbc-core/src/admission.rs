//! Call limits shared by all shards: calls per second and concurrent channels, exact, lock-free.
//!
//! In: a new call and the limits that apply to it. Out: a [`Permit`], or the limit that refuses.
//! Only new INVITEs come here; a retransmission is absorbed by its transaction before.
//!
//! **Calls per second** are a generic cell rate bucket (GCRA): admitted calls are spaced by
//! `ceil(1 s / cps)` except that `burst` of them may come at once after a pause. In any window of
//! length W at most `floor(W · cps) + burst` calls are admitted, whatever number of shards offers
//! them. (Rounding the spacing up to a whole nanosecond makes a saturated limit admit less than
//! one call in 10⁹ / cps too few, never one too many.)
//!
//! **Channels** are a count of permits out. Both are single atomics changed by compare-exchange,
//! so no interleaving admits a call too many. A call that one limit refuses has its takings from
//! the other limits put back exactly; during those nanoseconds a concurrent call may be refused by
//! a limit that would have had room. That error is on the safe side and lasts no longer.

mod pace;
mod plan;
mod scope;

pub use pace::Place;
pub use plan::LimitPlan;
pub use scope::{Scope, ScopedLimit, ScopedLimits};

use crate::{growing::Growing, time::Timestamp};
use smallvec::SmallVec;
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// Index of one limit (a CPS bucket and a channel count) in [`Admission`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitId(pub u32);

/// What the configuration says about one limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitSpec {
    /// Name shown to operators.
    pub name: String,
    /// Calls per second; 0: unlimited.
    pub cps: u32,
    /// Calls that may come at once after a pause; 0 counts as 1.
    pub burst: u32,
    /// Concurrent calls; 0: unlimited.
    pub channels: u32,
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Over the calls-per-second limit; a token is free again after this time.
    Cps(LimitId, Duration),
    /// Over the channel limit.
    Channels(LimitId),
}

/// A limit as it stands, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitView {
    /// Its index.
    pub id: LimitId,
    /// Its name.
    pub name: String,
    /// Calls per second; 0: unlimited.
    pub cps: u32,
    /// Calls that may come at once.
    pub burst: u32,
    /// Most concurrent calls; 0: unlimited.
    pub channels_max: u32,
    /// Calls that hold a channel now.
    pub channels_used: u32,
    /// Calls admitted since start-up.
    pub admitted: u64,
    /// Calls this limit refused because they came too fast.
    pub refused_cps: u64,
    /// Calls this limit refused because all channels were in use.
    pub refused_channels: u64,
}

/// The burst of a limit that names none: a tenth of a second's calls may come at once. Enough for the
/// unevenness of real traffic, and close to what the rate says in any one second.
pub fn burst_default(cps: u32) -> u32 {
    (cps / 10).max(1)
}

/// The limits of the process. They outlive configurations: see [`LimitPlan`].
#[derive(Debug, Default)]
pub struct Admission {
    limits: Growing<Limit>,
}

/// Proof of admission: holds one channel in each limit until released. Owned by the call's slot.
///
/// Give it to [`Admission::release`]; the type can neither be copied nor released twice. Dropping
/// it would lose the channels for ever, so that is a bug and asserted in debug builds.
#[derive(Debug, Default)]
#[must_use = "dropping a permit loses its channels: give it to Admission::release"]
pub struct Permit {
    limits: Limits,
}

/// The limits of a call. Global, inbound, outbound and twice "both directions" fit without allocation.
pub type Limits = SmallVec<[LimitId; 6]>;
/// Tokens that were taken, and how much of its rate each was at that moment.
type Tokens = SmallVec<[(LimitId, u64); 6]>;

impl Admission {
    /// Limits in the order of `specs`; a [`LimitId`] is an index there.
    pub fn new(specs: Vec<LimitSpec>) -> Self {
        LimitPlan::in_order(specs).into_admission()
    }

    /// Keep so many channels of limit `id`, where it has a number of them, for [`Self::admit_always`].
    pub fn set_reserve(&self, id: LimitId, channels: u32) {
        if let Some(limit) = self.limits.get(id.0) {
            limit.reserved.store(channels, Relaxed);
        }
    }

    /// Take one CPS token and one channel from each of `limits`, or nothing at all. A limit named
    /// twice counts once. A refusal is counted at the limit that refused.
    ///
    /// # Panics
    /// When an id is not an index of the specs this was made from.
    pub fn admit(&self, now: Timestamp, limits: &[LimitId]) -> Result<Permit, Refused> {
        let ids = distinct(limits);
        // Ask everybody before taking from anybody: under overload most calls end here, without
        // the other limits being touched at all.
        for &id in &ids {
            self.limit(id).check(now).map_err(|why| self.refuse(id, why))?;
        }
        let permit = self.take_channels(ids)?;
        match self.take_all_tokens(now, permit.limits()) {
            Ok(_) => Ok(self.admitted(permit)),
            Err((id, wait)) => {
                self.release(permit);
                Err(self.refuse(id, Full::Cps(wait)))
            }
        }
    }

    /// One channel of each of `ids`, or none.
    fn take_channels(&self, ids: Limits) -> Result<Permit, Refused> {
        for (n, &id) in ids.iter().enumerate() {
            if !self.limit(id).take_channel() {
                self.put_back_channels(&ids[..n]);
                return Err(self.refuse(id, Full::Channels));
            }
        }
        Ok(Permit { limits: ids })
    }

    /// Count the call of `permit`.
    fn admitted(&self, permit: Permit) -> Permit {
        for &id in permit.limits() {
            self.limit(id).admitted.fetch_add(1, Relaxed);
        }
        permit
    }

    /// Take one CPS token from each of `limits` and no channel, or nothing at all: for what costs as
    /// much as a call to begin and holds nothing.
    ///
    /// # Panics
    /// As [`Self::admit`].
    pub fn take_tokens(&self, now: Timestamp, limits: &[LimitId]) -> Result<(), Refused> {
        match self.take_all_tokens(now, &distinct(limits)) {
            Ok(_) => Ok(()),
            Err((id, wait)) => Err(self.refuse(id, Full::Cps(wait))),
        }
    }

    fn take_all_tokens(&self, now: Timestamp, ids: &[LimitId]) -> Result<Tokens, (LimitId, Duration)> {
        let mut taken = Tokens::new();
        for &id in ids {
            match self.limit(id).take_token(now) {
                Ok(spacing) => taken.push((id, spacing)),
                Err(wait) => {
                    self.put_back_tokens(taken);
                    return Err((id, wait));
                }
            }
        }
        Ok(taken)
    }

    fn put_back_tokens(&self, taken: Tokens) {
        for (id, spacing) in taken {
            self.limit(id).put_back_token(spacing);
        }
    }

    /// One channel of each of `limits`, taken whether there is room or not, and no token: for calls that no limit
    /// may refuse.
    ///
    /// # Panics
    /// As [`Self::admit`].
    pub fn admit_always(&self, limits: &[LimitId]) -> Permit {
        let ids = distinct(limits);
        for &id in &ids {
            self.limit(id).add_channel();
        }
        Permit { limits: ids }
    }

    /// Have `permit` hold `limits` and no others: those that it does not hold yet are taken as by [`Self::admit`], then those
    /// that are not among `limits` are given back. A refusal changes nothing.
    ///
    /// # Panics
    /// As [`Self::admit`].
    pub fn exchange(&self, now: Timestamp, permit: &mut Permit, limits: &[LimitId]) -> Result<(), Refused> {
        let mut taken = self.admit(now, &permit.lacking(limits))?;
        taken.limits.clear();
        self.hold(permit, limits);
        Ok(())
    }

    /// [`Self::exchange`], by [`Self::admit_always`].
    ///
    /// # Panics
    /// As [`Self::admit`].
    pub fn exchange_always(&self, permit: &mut Permit, limits: &[LimitId]) {
        self.admit_always(&permit.lacking(limits)).limits.clear();
        self.hold(permit, limits);
    }

    /// `permit` holds `limits`, whose channels are taken: give its others back.
    fn hold(&self, permit: &mut Permit, limits: &[LimitId]) {
        let held = std::mem::replace(&mut permit.limits, distinct(limits));
        let left: Limits = held.into_iter().filter(|id| !limits.contains(id)).collect();
        self.put_back_channels(&left);
    }

    /// Give the channels of `permit` back.
    pub fn release(&self, mut permit: Permit) {
        self.put_back_channels(&std::mem::take(&mut permit.limits));
    }

    /// Change the rate of a limit (0: unlimited) for all shards at once. `false`: no such limit.
    ///
    /// Changing rate or burst starts the bucket anew: the bound above holds among the calls
    /// admitted after the change.
    pub fn set_cps(&self, id: LimitId, cps: u32) -> bool {
        self.set_rate(id, |_, burst| (cps, burst))
    }

    /// Change the burst of a limit (0 counts as 1), as [`Self::set_cps`] does.
    pub fn set_burst(&self, id: LimitId, burst: u32) -> bool {
        self.set_rate(id, |cps, _| (cps, burst.max(1)))
    }

    /// Change the channels of a limit (0: unlimited). Calls beyond a lowered limit go on; new ones
    /// are refused until enough have ended. `false`: no such limit.
    pub fn set_channels(&self, id: LimitId, channels: u32) -> bool {
        self.limits
            .get(id.0)
            .map(|l| l.channels_max.store(channels, Relaxed))
            .is_some()
    }

    /// How many limits there are.
    pub fn len(&self) -> usize {
        self.limits.len() as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every limit as it stands, in order of [`LimitId`].
    pub fn iter(&self) -> impl Iterator<Item = LimitView> {
        self.limits
            .iter()
            .zip(0..)
            .map(|(limit, n)| limit.view(LimitId(n)))
    }

    /// One limit as it stands.
    pub fn view(&self, id: LimitId) -> Option<LimitView> {
        self.limits.get(id.0).map(|limit| limit.view(id))
    }

    fn limit(&self, id: LimitId) -> &Limit {
        match self.limits.get(id.0) {
            Some(limit) => limit,
            None => panic!("there is no limit {}", id.0),
        }
    }

    fn put_back_channels(&self, ids: &[LimitId]) {
        for &id in ids {
            let before = self.limit(id).channels_used.fetch_sub(1, Relaxed);
            debug_assert!(before > 0, "more channels released than taken");
        }
    }

    fn refuse(&self, id: LimitId, why: Full) -> Refused {
        match why {
            Full::Cps(wait) => {
                self.limit(id).refused_cps.fetch_add(1, Relaxed);
                Refused::Cps(id, wait)
            }
            Full::Channels => {
                self.limit(id).refused_channels.fetch_add(1, Relaxed);
                Refused::Channels(id)
            }
        }
    }

    fn set_rate(&self, id: LimitId, change: impl Fn(u32, u32) -> (u32, u32)) -> bool {
        let Some(limit) = self.limits.get(id.0) else {
            return false;
        };
        let update = |old: u64| {
            let rate = Rate::unpack(old);
            let (cps, burst) = change(rate.cps, rate.burst);
            Some(Rate { cps, burst }.pack())
        };
        let new = |old| update(old).unwrap_or(old);
        if let Ok(old) = limit.rate.fetch_update(Relaxed, Relaxed, update)
            && new(old) != old
        {
            // A slow old rate may have promised tokens far into the future.
            limit.arrival.store(0, Relaxed);
        }
        true
    }
}

fn distinct(limits: &[LimitId]) -> Limits {
    let mut ids = Limits::new();
    for &id in limits {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

impl Permit {
    /// The limits that it holds a channel of.
    pub fn limits(&self) -> &[LimitId] {
        &self.limits
    }

    /// Those of `limits` that it does not hold.
    fn lacking(&self, limits: &[LimitId]) -> Limits {
        let ids = limits.iter().copied();
        ids.filter(|id| !self.limits.contains(id)).collect()
    }

    /// Give the permit up without returning its channels: for the end of the process only.
    pub fn abandon(mut self) {
        self.limits.clear();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        debug_assert!(
            self.limits.is_empty() || unwinding(),
            "a permit was dropped instead of released: {:?}",
            self.limits
        );
    }
}

/// A test that already fails must not abort on top of it.
fn unwinding() -> bool {
    std::thread::panicking()
}

enum Full {
    Cps(Duration),
    Channels,
}

/// Rate and burst of a bucket, read and written as one so that no call sees half a change.
#[derive(Clone, Copy)]
struct Rate {
    cps: u32,
    burst: u32,
}

impl Rate {
    const fn pack(self) -> u64 {
        (self.cps as u64) << 32 | self.burst as u64
    }

    const fn unpack(packed: u64) -> Self {
        Self {
            cps: (packed >> 32) as u32,
            burst: packed as u32,
        }
    }

    /// Nanoseconds between two tokens, `None` when unlimited.
    const fn spacing(self) -> Option<u64> {
        if self.cps == 0 {
            None
        } else {
            Some(1_000_000_000u64.div_ceil(self.cps as u64))
        }
    }
}

/// One limit. Two cache lines to itself, because all shards write to it and processors fetch
/// lines in pairs. Each field is exact by itself and guards no other memory: `Relaxed` suffices.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Limit {
    rate: AtomicU64,
    /// GCRA's theoretical arrival time of the next call, in nanoseconds of [`Timestamp`].
    arrival: AtomicU64,
    channels_max: AtomicU32,
    /// Of these, so many are for [`Admission::admit_always`].
    reserved: AtomicU32,
    channels_used: AtomicU32,
    admitted: AtomicU64,
    refused_cps: AtomicU64,
    refused_channels: AtomicU64,
    /// As the configuration has it; calls never look at this.
    spec: Mutex<LimitSpec>,
    /// No configuration names it.
    retired: AtomicBool,
}

impl Limit {
    /// Whether a call would be admitted now, taking nothing.
    fn check(&self, now: Timestamp) -> Result<(), Full> {
        if !self.has_channel(self.channels_used.load(Relaxed)) {
            return Err(Full::Channels);
        }
        next_arrival(
            Rate::unpack(self.rate.load(Relaxed)),
            self.arrival.load(Relaxed),
            now,
        )
        .map_err(Full::Cps)?;
        Ok(())
    }

    fn has_channel(&self, used: u32) -> bool {
        let max = self.channels_max.load(Relaxed);
        (max == 0 || used < max.saturating_sub(self.reserved.load(Relaxed))) && used < u32::MAX
    }

    fn take_channel(&self) -> bool {
        self.channels_used
            .fetch_update(Relaxed, Relaxed, |used| self.has_channel(used).then(|| used + 1))
            .is_ok()
    }

    /// Take one channel more, whatever the limit is.
    fn add_channel(&self) {
        self.channels_used.fetch_add(1, Relaxed);
        self.admitted.fetch_add(1, Relaxed);
    }

    /// Take one token; returns what to give [`Self::put_back_token`], or the wait for the next one.
    fn take_token(&self, now: Timestamp) -> Result<u64, Duration> {
        let mut seen = self.arrival.load(Relaxed);
        loop {
            let rate = Rate::unpack(self.rate.load(Relaxed));
            let Some(next) = next_arrival(rate, seen, now)? else {
                return Ok(0);
            };
            match self.arrival.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) => return Ok(rate.spacing().unwrap_or(0)),
                Err(changed) => seen = changed,
            }
        }
    }

    /// Saturating, because a rate change may have restarted the bucket in between.
    fn put_back_token(&self, spacing: u64) {
        if spacing > 0 {
            let _ = self
                .arrival
                .fetch_update(Relaxed, Relaxed, |at| Some(at.saturating_sub(spacing)));
        }
    }

    fn view(&self, id: LimitId) -> LimitView {
        let rate = Rate::unpack(self.rate.load(Relaxed));
        LimitView {
            id,
            name: self.spec().name,
            cps: rate.cps,
            burst: rate.burst,
            channels_max: self.channels_max.load(Relaxed),
            channels_used: self.channels_used.load(Relaxed),
            admitted: self.admitted.load(Relaxed),
            refused_cps: self.refused_cps.load(Relaxed),
            refused_channels: self.refused_channels.load(Relaxed),
        }
    }
}

/// Rate and burst of `spec`, as a [`Limit`] has them.
fn rate_of(spec: &LimitSpec) -> u64 {
    let (cps, burst) = (spec.cps, spec.burst.max(1));
    Rate { cps, burst }.pack()
}

/// GCRA: the arrival time after admitting a call at `now`, `None` when unlimited, or the wait.
fn next_arrival(rate: Rate, arrival: u64, now: Timestamp) -> Result<Option<u64>, Duration> {
    let Some(spacing) = rate.spacing() else {
        return Ok(None);
    };
    let now = now.as_nanos();
    let tolerance = spacing.saturating_mul(u64::from(rate.burst.saturating_sub(1)));
    let earliest = arrival.saturating_sub(tolerance);
    if now < earliest {
        return Err(Duration::from_nanos(earliest - now));
    }
    Ok(Some(arrival.max(now).saturating_add(spacing)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spec(cps: u32, burst: u32, channels: u32) -> LimitSpec {
        LimitSpec {
            name: format!("{cps}/{burst}/{channels}"),
            cps,
            burst,
            channels,
        }
    }

    fn ms(n: u64) -> Timestamp {
        Timestamp::from_millis(n)
    }

    const A: LimitId = LimitId(0);
    const B: LimitId = LimitId(1);

    fn used(a: &Admission, id: LimitId) -> u32 {
        a.view(id).map_or(0, |v| v.channels_used)
    }

    #[test]
    fn an_exchange_takes_what_is_new_and_gives_back_what_is_not_wanted() {
        let a = Admission::new(vec![spec(0, 1, 0), spec(0, 1, 1), spec(1, 1, 1)]);
        const C: LimitId = LimitId(2);
        let mut permit = a.admit(ms(0), &[A, B]).unwrap();
        a.exchange(ms(0), &mut permit, &[A, C]).unwrap();
        assert_eq!((used(&a, A), used(&a, B), used(&a, C)), (1, 0, 1));
        assert_eq!(a.view(A).unwrap().admitted, 1, "what is kept costs nothing again");
        // The next one is full: nothing changes.
        let other = a.admit(ms(0), &[B]).unwrap();
        assert_eq!(a.exchange(ms(0), &mut permit, &[A, B]), Err(Refused::Channels(B)));
        assert_eq!((used(&a, A), used(&a, B), used(&a, C)), (1, 1, 1));
        a.release(other);
        // Back again: the same channels, and no second token of C.
        a.exchange(ms(0), &mut permit, &[A, C]).unwrap();
        a.release(permit);
        assert_eq!((used(&a, A), used(&a, B), used(&a, C)), (0, 0, 0));
    }

    #[test]
    fn what_is_reserved_is_for_those_that_no_limit_may_refuse() {
        let a = Admission::new(vec![spec(1, 1, 3)]);
        a.set_reserve(A, 1);
        let mut permits = vec![a.admit(ms(0), &[A]).unwrap(), a.admit(ms(1000), &[A]).unwrap()];
        assert_eq!(a.admit(ms(9000), &[A]).unwrap_err(), Refused::Channels(A));
        permits.extend((0..3).map(|_| a.admit_always(&[A, A])));
        assert_eq!(used(&a, A), 5);
        a.exchange_always(&mut permits[4], &[A]);
        permits.into_iter().for_each(|permit| a.release(permit));
        assert_eq!(used(&a, A), 0);
    }

    #[test]
    fn a_burst_then_one_per_spacing() {
        let a = Admission::new(vec![spec(10, 3, 0)]);
        let mut permits: Vec<Permit> = (0..3).map(|_| a.admit(ms(1000), &[A]).unwrap()).collect();
        assert_eq!(
            a.admit(ms(1000), &[A]).unwrap_err(),
            Refused::Cps(A, Duration::from_millis(100))
        );
        assert_eq!(
            a.admit(ms(1099), &[A]).unwrap_err(),
            Refused::Cps(A, Duration::from_millis(1))
        );
        permits.push(a.admit(ms(1100), &[A]).unwrap());
        assert!(a.admit(ms(1100), &[A]).is_err());
        let view = a.view(A).unwrap();
        assert_eq!((view.admitted, view.refused_cps, view.channels_used), (4, 3, 4));
        permits.into_iter().for_each(|p| a.release(p));
        assert_eq!(used(&a, A), 0);
    }

    #[test]
    fn a_refusal_by_one_limit_leaves_the_others_untouched() {
        let a = Admission::new(vec![spec(1, 1, 10), spec(0, 1, 1)]);
        let held = a.admit(ms(0), &[B]).unwrap();
        assert_eq!(a.admit(ms(5), &[A, B]).unwrap_err(), Refused::Channels(B));
        assert_eq!(used(&a, A), 0);
        let p = a.admit(ms(5), &[A]).expect("the only token is still there");
        a.release(p);
        a.release(held);

        let a = Admission::new(vec![spec(0, 1, 1), spec(1, 1, 0)]);
        let p = a.admit(ms(0), &[B]).unwrap();
        assert!(matches!(a.admit(ms(5), &[A, B]), Err(Refused::Cps(B, _))));
        a.release(p);
        let p = a.admit(ms(5), &[A]).expect("the only channel is still there");
        a.release(p);
    }

    #[test]
    fn put_back_is_exact() {
        let limits = Admission::new(vec![spec(10, 2, 0)]);
        let limit = limits.limit(A);
        let first = limit.take_token(ms(0)).unwrap();
        let second = limit.take_token(ms(0)).unwrap();
        assert!(limit.take_token(ms(0)).is_err());
        limit.put_back_token(first);
        limit.put_back_token(second);
        assert!(limit.take_token(ms(0)).is_ok());
        assert!(limit.take_token(ms(0)).is_ok());
        assert_eq!(limit.take_token(ms(0)), Err(Duration::from_millis(100)));
    }

    #[test]
    fn a_limit_named_twice_counts_once() {
        let a = Admission::new(vec![spec(1, 1, 1)]);
        let p = a.admit(ms(0), &[A, A]).unwrap();
        assert_eq!(used(&a, A), 1);
        a.release(p);
        assert_eq!(used(&a, A), 0);
    }

    #[test]
    fn changes_take_effect_at_once() {
        let a = Admission::new(vec![spec(1, 60, 1)]);
        let p = a.admit(ms(0), &[A]).unwrap();
        assert!(matches!(a.admit(ms(0), &[A]), Err(Refused::Channels(A))));
        assert!(a.set_channels(A, 0));
        let mut permits = vec![p];
        permits.extend((1..60).map(|_| a.admit(ms(0), &[A]).unwrap()));
        assert!(matches!(a.admit(ms(0), &[A]), Err(Refused::Cps(..))));
        // The old rate owed tokens for a minute; the new one must not wait for them.
        assert!(a.set_burst(A, 1) && a.set_cps(A, 1000));
        permits.push(a.admit(ms(1), &[A]).unwrap());
        assert!(
            matches!(a.admit(ms(1), &[A]), Err(Refused::Cps(A, wait)) if wait == Duration::from_millis(1))
        );
        assert!(a.set_cps(A, 0));
        permits.push(a.admit(ms(1), &[A]).unwrap());
        // Lowering below what is in use refuses new calls and cuts none.
        assert!(a.set_channels(A, 5));
        assert!(matches!(a.admit(ms(2), &[A]), Err(Refused::Channels(A))));
        permits.drain(4..).for_each(|p| a.release(p));
        permits.push(a.admit(ms(3), &[A]).unwrap());
        permits.into_iter().for_each(|p| a.release(p));
        assert_eq!(used(&a, A), 0);
        assert!(!a.set_cps(B, 1) && !a.set_burst(B, 1) && !a.set_channels(B, 1));
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "dropped instead of released")]
    fn dropping_a_permit_is_a_bug() {
        let a = Admission::new(vec![spec(0, 1, 1)]);
        drop(a.admit(ms(0), &[A]).unwrap());
    }

    #[test]
    fn limits_do_not_share_cache_lines() {
        assert_eq!(std::mem::size_of::<Limit>() % 128, 0);
        assert!(std::mem::size_of::<Permit>() <= 48);
    }

    /// Four threads, each with its own idea of "now" inside the same second, offer far too much.
    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "shards are threads: exactness across threads needs threads"
    )]
    fn exact_across_threads() {
        const THREADS: u64 = 4;
        const OFFERED_PER_THREAD: u64 = 20_000;
        let a = Admission::new(vec![spec(1000, 10, 0), spec(0, 1, 64), spec(700, 5, 0)]);
        let all = [A, B, LimitId(2)];
        let admitted = std::thread::scope(|s| {
            let threads: Vec<_> = (0..THREADS)
                .map(|t| {
                    let a = &a;
                    s.spawn(move || {
                        let mut held = std::collections::VecDeque::new();
                        let mut admitted = 0u64;
                        for n in 0..OFFERED_PER_THREAD {
                            let now = Timestamp::from_nanos(n * 1_000_000_000 / OFFERED_PER_THREAD + t);
                            assert!(used(a, B) <= 64, "over the channel limit");
                            if let Ok(p) = a.admit(now, &all) {
                                admitted += 1;
                                held.push_back(p);
                            }
                            if held.len() > 20 {
                                held.pop_front().into_iter().for_each(|p| a.release(p));
                            }
                        }
                        held.into_iter().for_each(|p| a.release(p));
                        admitted
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum::<u64>()
        });
        assert!(admitted <= 700 + 5, "{admitted} admitted in one second");
        for view in a.iter() {
            assert_eq!(view.channels_used, 0, "{}", view.name);
            assert_eq!(view.admitted, admitted, "{}", view.name);
        }
        // No roll-back left a bucket in debt: a second of rest restores the full burst.
        let fresh = Timestamp::from_millis(2_000);
        let permits: Vec<_> = (0..5).map(|_| a.admit(fresh, &all).unwrap()).collect();
        assert!(matches!(a.admit(fresh, &all), Err(Refused::Cps(LimitId(2), _))));
        permits.into_iter().for_each(|p| a.release(p));
    }

    /// One bucket hammered at one instant by all threads gives out exactly its burst.
    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "shards are threads: exactness across threads needs threads"
    )]
    fn exact_at_one_instant() {
        for round in 1..50u64 {
            let a = Admission::new(vec![spec(100, 37, 0)]);
            let admitted: usize = std::thread::scope(|s| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        s.spawn(|| {
                            let permits: Vec<_> =
                                (0..100).filter_map(|_| a.admit(ms(round), &[A]).ok()).collect();
                            let n = permits.len();
                            permits.into_iter().for_each(|p| a.release(p));
                            n
                        })
                    })
                    .collect();
                threads.into_iter().map(|t| t.join().unwrap()).sum()
            });
            assert_eq!(admitted, 37);
        }
    }

    proptest! {
        /// The promise to the operator, checked over every pair of admitted calls.
        #[test]
        fn no_window_holds_more_than_its_share(
            cps in 1..2000u32, burst in 1..20u32,
            gaps in prop::collection::vec(prop_oneof![0..2_000_000u64, 0..200_000_000u64], 1..200),
        ) {
            let a = Admission::new(vec![spec(cps, burst, 0)]);
            let mut now = 0u64;
            let mut times: Vec<u64> = Vec::new();
            for gap in gaps {
                now += gap;
                match a.admit(Timestamp::from_nanos(now), &[A]) {
                    Ok(p) => { times.push(now); a.release(p); }
                    Err(Refused::Cps(_, wait)) => {
                        // The promised token is there then, and not a nanosecond earlier.
                        let probe = |at: u64| next_arrival(Rate { cps, burst }, a.limit(A).arrival.load(Relaxed), Timestamp::from_nanos(at));
                        let wait = u64::try_from(wait.as_nanos()).unwrap();
                        prop_assert!(probe(now + wait).is_ok());
                        prop_assert!(probe(now + wait - 1).is_err());
                    }
                    Err(other) => prop_assert!(false, "{:?}", other),
                }
            }
            for (i, from) in times.iter().enumerate() {
                for (j, to) in times.iter().enumerate().skip(i) {
                    let bound = u128::from(to - from) * u128::from(cps) / 1_000_000_000 + u128::from(burst);
                    prop_assert!(((j - i + 1) as u128) <= bound);
                }
            }
        }

        /// Against a model that recomputes everything from the list of what happened.
        #[test]
        fn agrees_with_a_plain_model(
            specs in prop::collection::vec((0..50u32, 1..5u32, 0..4u32), 3),
            steps in prop::collection::vec((0..60u64, 0..8u8, any::<bool>()), 1..150),
        ) {
            let a = Admission::new(specs.iter().map(|&(cps, burst, channels)| spec(cps, burst, channels)).collect());
            let mut arrivals = [0u64; 3];
            let mut held: Vec<(Permit, u8)> = Vec::new();
            let mut now = 0u64;
            for (gap, mask, release) in steps {
                now += gap * 1_000_000;
                if release && !held.is_empty() {
                    let (permit, _) = held.remove(0);
                    a.release(permit);
                }
                let ids: Vec<LimitId> = (0..3).filter(|n| mask >> n & 1 == 1).map(LimitId).collect();
                let fits = ids.iter().all(|id| {
                    let n = id.0 as usize;
                    let (cps, burst, channels) = specs[n];
                    let in_use = held.iter().filter(|(_, m)| m >> n & 1 == 1).count();
                    let token = cps == 0 || arrivals[n] <= now + u64::from(burst - 1) * 1_000_000_000u64.div_ceil(u64::from(cps));
                    token && (channels == 0 || in_use < channels as usize)
                });
                match a.admit(Timestamp::from_nanos(now), &ids) {
                    Ok(permit) => {
                        held.push((permit, mask));
                        prop_assert!(fits);
                        for id in &ids {
                            let n = id.0 as usize;
                            if specs[n].0 > 0 {
                                arrivals[n] = arrivals[n].max(now) + 1_000_000_000u64.div_ceil(u64::from(specs[n].0));
                            }
                        }
                    }
                    Err(_) => prop_assert!(!fits),
                }
                for n in 0..3u32 {
                    let in_use = held.iter().filter(|(_, m)| m >> n & 1 == 1).count();
                    prop_assert_eq!(used(&a, LimitId(n)) as usize, in_use);
                }
            }
            held.into_iter().for_each(|(p, _)| a.release(p));
            prop_assert!(a.iter().all(|v| v.channels_used == 0));
        }
    }
}
