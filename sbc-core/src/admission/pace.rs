//! Tokens taken ahead of time (L3): a call that comes too early is told when its token will be there, instead of being
//! refused.
//!
//! In: a new call, and how long it may wait. Out: its permit, and the [`Place`] in the limit's rate that it has taken: no
//! other call, of whatever shard, gets the same. Places are given out in the order of asking, each at least the rate's spacing after
//! the one before. So calls that leave at the times of their places keep the promise of [`super`], and their order.

use super::{Admission, Full, Limit, LimitId, Permit, Rate, Refused, distinct};
use crate::time::Timestamp;
use std::{sync::atomic::Ordering::Relaxed, time::Duration};

/// A token of a limit that will be there at a time to come.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a place that is not used is to be given back: see Admission::give_back"]
pub struct Place {
    /// When the call may go.
    pub due: Timestamp,
    limit: LimitId,
    /// The bucket's arrival time when this was the last place given out.
    arrival: u64,
    spacing: u64,
}

impl Place {
    /// The limit that it is in.
    pub fn limit(&self) -> LimitId {
        self.limit
    }
}

impl Admission {
    /// As [`Self::admit`], but of `paced`, one of `limits`, the token may be one that comes within `wait_max`. `None`: it is
    /// there now.
    ///
    /// # Panics
    /// As [`Self::admit`].
    pub fn admit_paced(
        &self,
        now: Timestamp,
        limits: &[LimitId],
        (paced, wait_max): (LimitId, Duration),
    ) -> Result<(Permit, Option<Place>), Refused> {
        let mut ids = distinct(limits);
        ids.retain(|id| *id != paced);
        for &id in &ids {
            self.limit(id).check(now).map_err(|why| self.refuse(id, why))?;
        }
        let others = ids.clone();
        ids.push(paced);
        let permit = self.take_channels(ids)?;
        let taken = self.take_all_tokens(now, &others).and_then(|tokens| {
            self.limit(paced).take_ahead(now, wait_max).map_err(|wait| {
                self.put_back_tokens(tokens);
                (paced, wait)
            })
        });
        match taken {
            Ok(place) => {
                let place = place.map(|(due, arrival, spacing)| Place {
                    due,
                    limit: paced,
                    arrival,
                    spacing,
                });
                Ok((self.admitted(permit), place))
            }
            Err((id, wait)) => {
                self.release(permit);
                Err(self.refuse(id, Full::Cps(wait)))
            }
        }
    }

    /// As [`Admission::exchange`], but of `paced`, unless `permit` holds it already, the token may be one that comes within
    /// `wait_max`.
    ///
    /// # Panics
    /// As [`Self::admit`].
    pub fn exchange_paced(
        &self,
        now: Timestamp,
        permit: &mut Permit,
        limits: &[LimitId],
        pace: (LimitId, Duration),
    ) -> Result<Option<Place>, Refused> {
        if permit.limits.contains(&pace.0) {
            return self.exchange(now, permit, limits).map(|()| None);
        }
        let new = permit.lacking(limits);
        let (mut taken, place) = self.admit_paced(now, &new, pace)?;
        taken.limits.clear();
        self.hold(permit, limits);
        Ok(place)
    }

    /// A place is not used: the call was given up before its time. The last one given out is there again for another
    /// call; one before others is lost, for nobody comes earlier than told. `false`: it is lost.
    pub fn give_back(&self, place: &Place) -> bool {
        let limit = self.limit(place.limit);
        let before = place.arrival.saturating_sub(place.spacing);
        limit
            .arrival
            .compare_exchange(place.arrival, before, Relaxed, Relaxed)
            .is_ok()
    }
}

impl Limit {
    /// Take the next token that comes within `wait_max`: when it comes, and the bucket's arrival time and spacing. `None`: it
    /// is there. `Err`: how long the next one takes.
    fn take_ahead(
        &self,
        now: Timestamp,
        wait_max: Duration,
    ) -> Result<Option<(Timestamp, u64, u64)>, Duration> {
        let mut seen = self.arrival.load(Relaxed);
        loop {
            let rate = Rate::unpack(self.rate.load(Relaxed));
            let Some(spacing) = rate.spacing() else {
                return Ok(None);
            };
            let tolerance = spacing.saturating_mul(u64::from(rate.burst.saturating_sub(1)));
            let due = seen.saturating_sub(tolerance).max(now.as_nanos());
            let wait = Duration::from_nanos(due - now.as_nanos());
            if wait > wait_max {
                return Err(wait);
            }
            let next = seen.max(due).saturating_add(spacing);
            match self.arrival.compare_exchange_weak(seen, next, Relaxed, Relaxed) {
                Ok(_) if wait.is_zero() => return Ok(None),
                Ok(_) => return Ok(Some((Timestamp::from_nanos(due), next, spacing))),
                Err(changed) => seen = changed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::LimitSpec;
    use super::*;
    use proptest::prelude::*;

    const A: LimitId = LimitId(0);
    const B: LimitId = LimitId(1);

    fn spec(cps: u32, burst: u32, channels: u32) -> LimitSpec {
        LimitSpec {
            name: String::new(),
            cps,
            burst,
            channels,
        }
    }

    fn ms(n: u64) -> Timestamp {
        Timestamp::from_millis(n)
    }

    const fn wait(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Due in milliseconds, 0: at once.
    fn ask(a: &Admission, at: u64, wait_max: u64) -> Result<u64, Refused> {
        let (permit, place) = a.admit_paced(ms(at), &[A, B], (B, wait(wait_max)))?;
        a.release(permit);
        Ok(place.map_or(0, |place| place.due.as_millis()))
    }

    #[test]
    fn calls_are_told_their_time_until_that_is_too_late() {
        let a = Admission::new(vec![spec(0, 1, 0), spec(10, 1, 0)]);
        let times: Vec<_> = (0..4).map(|_| ask(&a, 1000, 300)).collect();
        assert_eq!(times, [Ok(0), Ok(1100), Ok(1200), Ok(1300)]);
        assert_eq!(ask(&a, 1000, 300), Err(Refused::Cps(B, wait(400))));
        assert_eq!(ask(&a, 1100, 300), Ok(1400), "the refusal has cost nothing");
        assert_eq!(ask(&a, 2000, 300), Ok(0));
        assert_eq!(
            a.view(B).map(|view| (view.admitted, view.refused_cps)),
            Some((6, 1))
        );
    }

    #[test]
    fn the_other_limits_are_not_waited_for() {
        let a = Admission::new(vec![spec(10, 1, 2), spec(100, 1, 0)]);
        assert_eq!(ask(&a, 1000, 300), Ok(0));
        assert_eq!(ask(&a, 1000, 300), Err(Refused::Cps(A, wait(100))));
        let held: Vec<_> = [1100, 1200]
            .map(|at| a.admit_paced(ms(at), &[A, B], (B, wait(0))).unwrap())
            .into();
        assert_eq!(ask(&a, 1300, 0), Err(Refused::Channels(A)));
        for (permit, place) in held {
            assert_eq!(place, None);
            a.release(permit);
        }
        assert_eq!(ask(&a, 1300, 0), Ok(0), "the token is still there");
    }

    #[test]
    fn only_the_last_place_comes_back() {
        let a = Admission::new(vec![spec(10, 1, 0), spec(10, 1, 0)]);
        let place = |at| {
            let (permit, place) = a.admit_paced(ms(at), &[B], (B, wait(1000))).unwrap();
            a.release(permit);
            place
        };
        assert_eq!(place(1000), None);
        let (first, second) = (place(1000).unwrap(), place(1000).unwrap());
        assert!(!a.give_back(&first), "somebody comes after it");
        assert!(a.give_back(&second) && !a.give_back(&second));
        assert_eq!(place(1000), Some(second));
        a.set_cps(B, 20);
        assert!(!a.give_back(&first), "of another rate");
    }

    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "shards are threads: exactness across threads needs threads"
    )]
    fn two_shards_never_get_the_same_place() {
        let a = Admission::new(vec![spec(0, 1, 0), spec(1000, 1, 0)]);
        let mut dues: Vec<u64> = std::thread::scope(|s| {
            let shards: Vec<_> = (0..2)
                .map(|shard| {
                    let a = &a;
                    s.spawn(move || {
                        let mut last = 0;
                        let mut dues = Vec::new();
                        for n in 0..20_000u64 {
                            let now = Timestamp::from_nanos(n * 100_000 + shard);
                            if let Ok((permit, place)) = a.admit_paced(now, &[A, B], (B, wait(50))) {
                                a.release(permit);
                                let due = place.map_or(now, |place| place.due).as_nanos();
                                assert!(due >= last, "a shard's calls keep their order");
                                last = due;
                                dues.push(due);
                            }
                        }
                        dues
                    })
                })
                .collect();
            shards
                .into_iter()
                .flat_map(|shard| shard.join().unwrap())
                .collect()
        });
        dues.sort_unstable();
        assert!(
            dues.windows(2).all(|pair| pair[1] - pair[0] >= 1_000_000),
            "a place was given out twice"
        );
        // 2 s and what may wait; nothing was left unused.
        assert!((2_040..=2_052).contains(&dues.len()), "{}", dues.len());
    }

    proptest! {
        /// What is promised to the carrier, at the times when calls leave; some are given up before.
        #[test]
        fn no_window_of_places_holds_more_than_its_share(
            cps in 1..500u32, burst in 1..6u32, wait_ms in 0..3_000u64,
            steps in prop::collection::vec((0..300_000_000u64, prop::bool::weighted(0.2)), 1..150),
        ) {
            let a = Admission::new(vec![spec(0, 1, 0), spec(cps, burst, 0)]);
            let mut now = 0;
            let mut places: Vec<Option<Place>> = Vec::new();
            let mut sent: Vec<u64> = Vec::new();
            for (gap, gives_up) in steps {
                now += gap;
                if gives_up && let Some(place) = places.pop().flatten() {
                    if place.due.as_nanos() > now {
                        sent.retain(|due| *due != place.due.as_nanos());
                        a.give_back(&place);
                    }
                    continue;
                }
                match a.admit_paced(Timestamp::from_nanos(now), &[A, B], (B, wait(wait_ms))) {
                    Ok((permit, place)) => {
                        a.release(permit);
                        let due = place.as_ref().map_or(now, |place| place.due.as_nanos());
                        prop_assert!(due >= now && due - now <= wait_ms * 1_000_000);
                        prop_assert!(sent.last().is_none_or(|last| *last <= due), "order");
                        sent.push(due);
                        places.push(place);
                    }
                    Err(Refused::Cps(B, wait)) => prop_assert!(wait.as_nanos() > u128::from(wait_ms) * 1_000_000),
                    Err(other) => prop_assert!(false, "{other:?}"),
                }
            }
            for (i, from) in sent.iter().enumerate() {
                for (j, to) in sent.iter().enumerate().skip(i) {
                    let bound = u128::from(to - from) * u128::from(cps) / 1_000_000_000 + u128::from(burst);
                    prop_assert!(((j - i + 1) as u128) <= bound);
                }
            }
        }
    }
}
