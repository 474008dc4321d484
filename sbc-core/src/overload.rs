//! Overload control of one shard (L4): what share of new calls it takes, so that the calls that it has are served.
//!
//! In: how long the shard's thread worked and how long it had nothing to do. Out: for each new INVITE, whether it is taken or
//! refused at once, before it costs anything. Never asked of anything else: responses, ACK, BYE and all else that belongs to a
//! call are always served, and so are repeated INVITEs of calls that were taken.
//!
//! A thread that is never idle has work waiting in its sockets, however much, and media that goes through it is late. So calls
//! are to leave a part of its time free: the share is lowered while they take more than that, and faster as long as a window of time
//! had no idle moment in it; it is raised again as far as the time that calls take allows. In between it stays (hysteresis).
//!
//! To refuse is work, too, about a tenth of a call, and of three times the calls two thirds are to be refused. This work is not held
//! against the calls: it goes into the part that they leave free, so that as many succeed as without the others. RFC 7339 §5.3 leaves
//! the algorithm open, and its loss-based report is this share.

use crate::time::Timestamp;
use std::time::Duration;

/// What is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Busy with calls for more than this share of a window, in per mille, is overload; 0: never.
    pub busy_max: u32,
    /// Busy with them for less than this, more calls are taken.
    pub busy_low: u32,
    /// How long is measured.
    pub window: Duration,
    /// Retry-After of a refusal, in seconds.
    pub retry_after_s: u16,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            busy_max: 850,
            busy_low: 830,
            window: Duration::from_millis(100),
            retry_after_s: 1,
        }
    }
}

/// Every call is taken.
const ALL: u32 = 1_000_000;
/// However overloaded, this share is taken: there must be something to measure.
const SHARE_MIN: u32 = ALL / 100;
/// Busier than this, in per mille, the thread had no idle moment ...
const SATURATED: u32 = 995;
/// ... and more than this leaves no room for more calls, whatever it is busy with.
const FULL: u32 = 970;
/// Without an idle moment, this much of all calls is taken at first, in per cent: much waits by then.
const FIRST_CUT: u32 = 40;
/// Without an idle moment in a window, this much of the share remains, in per cent.
const SATURATED_CUT: u32 = 90;
/// The same when a turn took longer than [`LAG_MAX`]: by then, much has come that waits, and more would make it wait for longer.
const DELAYED_CUT: u32 = 75;
const LAG_MAX: Duration = Duration::from_millis(30);
/// With too few.
const OVERLOADED_CUT: u32 = 98;
/// What it takes to refuse a call and to get the ACK for it, as measured with cold caches. On another machine it is more or less,
/// which moves `busy_max` a little while calls are refused, and never beyond [`FULL`].
const REFUSAL: Duration = Duration::from_micros(18);
/// So many windows in a row that are too busy begin an overload. In one alone the core may have been lent to others, or one
/// thing have taken long.
const WINDOWS_MIN: u32 = 2;
/// The least and the most by which the share is raised after a window, in per mille.
const RAISED_MIN: u32 = 5;
const RAISED_MAX: u32 = 100;

/// What a thread did with its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// It had a core.
    pub worked: Duration,
    /// It could have worked, and others had the core.
    pub queued: Duration,
    /// All of the time.
    pub elapsed: Duration,
}

impl Spent {
    /// It had nothing to do.
    pub fn idle(&self) -> Duration {
        self.elapsed.saturating_sub(self.worked + self.queued)
    }
}

/// The overload control of one shard.
#[derive(Clone, Debug, Default)]
pub struct Overload {
    /// Share of new calls that is refused, in millionths.
    shed: u32,
    window_from: Timestamp,
    worked: Duration,
    idle: Duration,
    /// Longest turn of this window.
    lag: Duration,
    last_turn: Timestamp,
    /// Calls that were refused in this window.
    refused: u32,
    /// Windows that were too busy until now, in a row.
    saturated: u32,
    /// Of the last whole window, in per mille: all work, and that of calls.
    busy: u32,
    busy_calls: u32,
    lag_last: Duration,
}

/// What the last window was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How long the thread worked, in per mille of the time in which it either worked or had nothing to do. What others
    /// take of its core is not counted: it may get half a core and still have nothing to do half of that time.
    pub busy: u32,
    /// Share of new calls that is refused, in per mille.
    pub shed: u32,
    /// Longest turn of the loop: how long a message may have waited for those before it.
    pub lag: Duration,
}

impl Overload {
    /// A turn of the loop ended its wait for I/O at `now`, which took `waited`.
    #[inline]
    pub fn turn(&mut self, now: Timestamp, waited: Duration) {
        // What went before the first one was the start.
        if self.last_turn != Timestamp::ZERO {
            self.lag = self.lag.max(now.since(self.last_turn).saturating_sub(waited));
        }
        self.last_turn = now;
    }

    /// What the thread did with its time since this was told last.
    pub fn spent(&mut self, now: Timestamp, spent: &Spent, thresholds: &Thresholds) {
        if self.window_from == Timestamp::ZERO {
            self.window_from = now;
            return;
        }
        self.worked += spent.worked;
        self.idle += spent.idle();
        if now.since(self.window_from) >= thresholds.window {
            self.measure(now, thresholds);
        }
    }

    fn measure(&mut self, now: Timestamp, thresholds: &Thresholds) {
        let own = self.worked + self.idle;
        // Without a core for the whole window, it had work and no idle moment.
        self.busy = per_mille(self.worked, own).unwrap_or(1000);
        let refusing = REFUSAL * self.refused;
        self.busy_calls = per_mille(self.worked.saturating_sub(refusing), own).unwrap_or(1000);
        self.lag_last = self.lag;
        self.window_from = now;
        (self.worked, self.idle, self.lag, self.refused) = Default::default();
        if thresholds.busy_max == 0 {
            self.shed = 0;
            return;
        }
        self.saturated = match self.busy_calls > thresholds.busy_max {
            true => self.saturated.saturating_add(1),
            false => 0,
        };
        if self.shed == 0 && self.saturated < WINDOWS_MIN {
            return;
        }
        let share = ALL - self.shed;
        let share = if self.busy >= SATURATED && self.shed == 0 {
            share / 100 * FIRST_CUT
        } else if self.busy >= SATURATED {
            let cut = match self.lag_last > LAG_MAX {
                true => DELAYED_CUT,
                false => SATURATED_CUT,
            };
            share / 100 * cut
        } else if self.busy_calls > thresholds.busy_max {
            share / 100 * OVERLOADED_CUT
        } else if self.busy_calls < thresholds.busy_low && self.busy < FULL {
            // What is taken now brings work for as long as the calls last: only half of the room is given.
            let room = (thresholds.busy_low - self.busy_calls) * 1000 / self.busy_calls.max(1);
            let raised = (room / 2).clamp(RAISED_MIN, RAISED_MAX);
            (share / 1000 * (1000 + raised)).min(ALL)
        } else {
            share
        };
        self.shed = ALL - share.max(SHARE_MIN);
    }

    /// Whether a new call is to be refused. `key`: a random number of its INVITE, the same for all its copies. So a repeated
    /// INVITE that was refused is refused again, unless more is taken by then: its caller may have heard the refusal, and
    /// would not know what to do with a call.
    #[inline]
    pub fn sheds(&mut self, key: impl FnOnce() -> u64) -> bool {
        if self.shed == 0 {
            return false;
        }
        let place = (u128::from(key()) * u128::from(ALL)) >> 64;
        let refused = place >= u128::from(ALL - self.shed);
        self.refused += u32::from(refused);
        refused
    }

    /// What the last window was like.
    pub fn load(&self) -> Load {
        Load {
            busy: self.busy,
            shed: self.shed / 1000,
            lag: self.lag_last,
        }
    }
}

/// How much of `whole` `part` is; `None`: there is nothing.
fn per_mille(part: Duration, whole: Duration) -> Option<u32> {
    let share = (part.as_nanos() * 1000).checked_div(whole.as_nanos())?;
    u32::try_from(share).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// As measured, in nanoseconds.
    const INVITE: u64 = 120_000;
    const REST: u64 = 84_000;
    const REFUSAL: u64 = 18_000;
    const SECOND: u64 = 1_000_000_000;
    /// Calls a second that the shard below can serve.
    const CAPACITY: u64 = SECOND / (INVITE + REST);
    /// Datagrams that its socket holds.
    const QUEUE_MAX: usize = 2_000;

    fn next_random(state: &mut u64) -> u64 {
        *state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        *state ^ (*state >> 29)
    }

    struct Run {
        /// Calls taken in each second.
        taken: Vec<u64>,
        /// Longest wait in each second, from arrival to the end of its handling, of calls that were taken.
        waits_ns: Vec<u64>,
        /// In-dialog messages lost.
        rest_lost: u64,
        sheds: Vec<u32>,
    }

    /// A core that others have until `own` is left of each millisecond.
    #[derive(Clone, Copy)]
    struct Core {
        own: u64,
    }

    const WHOLE: Core = Core { own: MS };
    /// What others take of a core is no overload, and what is left can be overloaded.
    const TENTH: Core = Core { own: MS / 10 };
    const MS: u64 = 1_000_000;

    impl Core {
        /// Calls a second that it can serve.
        fn capacity(self) -> u64 {
            CAPACITY * self.own / MS
        }

        /// When work that begins at `now` and takes `work` of the core is done.
        fn work(self, now: u64, work: u64) -> u64 {
            let others = MS - self.own;
            // How much this core had worked by `now`, if it had never been idle.
            let done = now / MS * self.own + (now % MS).saturating_sub(others) + work;
            match done % self.own {
                0 => done / self.own * MS,
                rest => done / self.own * MS + others + rest,
            }
        }
    }

    /// A shard with one queue for calls, `offer` of them in each second, and for the rest of their messages a second later.
    fn run(offer: &[u64], core: Core, thresholds: &Thresholds) -> Run {
        let seconds = offer.len();
        let mut overload = Overload::default();
        let mut run = Run {
            taken: vec![0; seconds],
            waits_ns: vec![0; seconds],
            rest_lost: 0,
            sheds: Vec::new(),
        };
        let (mut now, mut next_call) = (0u64, 0u64);
        let mut rest: VecDeque<u64> = VecDeque::new();
        let mut queue: VecDeque<(u64, bool)> = VecDeque::new();
        let (mut slept, mut worked, mut told) = (0, 0, 0);
        let mut random = 7u64;
        while now < seconds as u64 * SECOND {
            while next_call <= now {
                if queue.len() < QUEUE_MAX {
                    queue.push_back((next_call, true));
                }
                let rate = offer[((next_call / SECOND) as usize).min(seconds - 1)];
                next_call += 1 + (next_random(&mut random) >> 33) % (2 * SECOND / rate);
            }
            while rest.front().is_some_and(|at| *at <= now) {
                let at = rest.pop_front().unwrap();
                if queue.len() < QUEUE_MAX {
                    queue.push_back((at, false))
                } else {
                    run.rest_lost += 1
                }
            }
            if queue.is_empty() {
                let until = rest.front().copied().unwrap_or(u64::MAX).min(next_call);
                slept += until - now;
                now = until;
                continue;
            }
            let at = Timestamp::from_nanos(now);
            overload.turn(at, Duration::from_nanos(slept));
            let spent = Spent {
                worked: Duration::from_nanos(worked),
                queued: Duration::from_nanos(now - told - worked - slept),
                elapsed: Duration::from_nanos(now - told),
            };
            overload.spent(at, &spent, thresholds);
            (slept, worked, told) = (0, 0, now);
            for (at, call) in queue.drain(..queue.len().min(256)) {
                let work = match call {
                    false => REST,
                    true if overload.sheds(|| next_random(&mut random)) => REFUSAL,
                    true => {
                        let second = ((now / SECOND) as usize).min(seconds - 1);
                        run.taken[second] += 1;
                        let set_up = core.work(now, INVITE);
                        run.waits_ns[second] = run.waits_ns[second].max(set_up - at);
                        rest.push_back(set_up + SECOND);
                        INVITE
                    }
                };
                worked += work;
                now = core.work(now, work);
            }
            if run.sheds.len() < (now / SECOND) as usize {
                run.sheds.push(overload.load().shed);
            }
        }
        run
    }

    #[test]
    fn nothing_is_shed_below_capacity() {
        for core in [WHOLE, TENTH] {
            let run = run(&[core.capacity() * 8 / 10; 10], core, &Thresholds::default());
            assert!(run.sheds.iter().all(|shed| *shed == 0), "{:?}", run.sheds);
            assert_eq!(run.rest_lost, 0);
        }
    }

    #[test]
    fn three_times_the_capacity_leaves_the_goodput_and_the_delay() {
        // A tenth of a core has few calls in a window, so its measurements are coarse.
        for (core, mean_percent, least_percent, swing_max) in [(WHOLE, 95, 90, 80), (TENTH, 85, 40, 400)] {
            let capacity = core.capacity();
            let run = run(&[3 * capacity * 85 / 100; 30], core, &Thresholds::default());
            // As many as are taken when no more are offered.
            let most = capacity * u64::from(Thresholds::default().busy_max) / 1000;
            let steady = &run.taken[10..];
            let mean = steady.iter().sum::<u64>() / steady.len() as u64;
            assert!(
                mean * 100 >= most * mean_percent,
                "{mean} of {most} calls a second"
            );
            assert!(
                steady.iter().all(|taken| taken * 100 >= most * least_percent),
                "{steady:?} of {most}"
            );
            let longest = run.waits_ns[10..].iter().max().unwrap();
            assert!(*longest < 50 * MS * MS / core.own, "{longest} ns");
            // Before anybody repeats an INVITE, from the first moment.
            let longest = run.waits_ns.iter().max().unwrap();
            assert!(*longest < 500 * MS, "{:?}", run.waits_ns);
            let steady = &run.sheds[10..];
            let (least, most) = (steady.iter().min().unwrap(), steady.iter().max().unwrap());
            assert!(most - least <= swing_max, "it swings: {steady:?}");
        }
    }

    #[test]
    fn without_control_the_delay_is_that_of_a_full_queue() {
        let off = Thresholds {
            busy_max: 0,
            ..Thresholds::default()
        };
        let run = run(&[3 * CAPACITY; 10], WHOLE, &off);
        assert!(
            run.waits_ns[9] > 200_000_000 && run.rest_lost > 1_000,
            "{:?} {}",
            run.waits_ns,
            run.rest_lost
        );
    }

    #[test]
    fn it_ends_soon_after_the_overload() {
        let mut offer = vec![3 * CAPACITY; 10];
        offer.extend([CAPACITY / 2; 8]);
        let run = run(&offer, WHOLE, &Thresholds::default());
        assert!(run.sheds[8] > 500, "{:?}", run.sheds);
        assert_eq!(run.sheds[13], 0, "{:?}", run.sheds);
    }

    #[test]
    fn a_core_that_was_lent_to_others_for_a_moment_is_no_overload() {
        let (mut overload, thresholds) = (Overload::default(), Thresholds::default());
        let mut now = Timestamp::from_millis(1);
        let mut window = |slept_ms| {
            let spent = Spent {
                worked: thresholds.window - Duration::from_millis(slept_ms),
                queued: Duration::ZERO,
                elapsed: thresholds.window,
            };
            overload.spent(now, &spent, &thresholds);
            now = now + thresholds.window;
            overload.load().shed
        };
        let sheds = [100, 0, 50, 0, 50, 0, 50, 0, 0, 0].map(&mut window);
        assert!(sheds[..8].iter().all(|shed| *shed == 0), "{sheds:?}");
        assert!(sheds[8] > 0 && sheds[9] > sheds[8], "{sheds:?}");
    }

    #[test]
    fn a_share_of_the_calls_is_taken_and_copies_fare_alike() {
        let mut overload = Overload {
            shed: ALL - ALL / 4,
            ..Overload::default()
        };
        let mut state = 1;
        let keys: Vec<u64> = (0..10_000).map(|_| next_random(&mut state)).collect();
        let first: Vec<bool> = keys.iter().map(|key| overload.sheds(|| *key)).collect();
        let taken = first.iter().filter(|refused| !**refused).count();
        assert!((2_300..2_700).contains(&taken), "{taken}");
        // More is shed: of those refused before, none is taken.
        overload.shed = ALL - ALL / 5;
        assert!(
            keys.iter()
                .zip(&first)
                .all(|(key, refused)| overload.sheds(|| *key) || !refused)
        );
        overload.shed = 0;
        assert!(keys.iter().all(|key| !overload.sheds(|| *key)));
    }
}
