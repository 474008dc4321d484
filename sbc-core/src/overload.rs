//! Overload control of one shard (L4): how many new calls it takes, so that the calls that it has are served.
//!
//! In: how long the shard's thread worked and how long it had nothing to do. Out: for each new INVITE, whether it is taken or
//! refused at once, before it costs anything. Never asked of anything else: responses, ACK, BYE and all else that belongs to a
//! call are always served, and so are repeated INVITEs of calls that were taken.
//!
//! A thread that is never idle has work waiting in its sockets, however much, and media that goes through it is late. So calls
//! are to leave a part of its time free: when they take more than that, new ones are taken at a limited rate, which begins with what was
//! carried until then. It is lowered while calls take more than they should or there is no idle moment, and raised as far as the time
//! that they take allows. In between it stays (hysteresis). A rate, and not a share of what comes (RFC 7415, not the loss-based
//! RFC 7339 §5.3): what waited during a stall comes all at once, and a share of that would be the next stall.
//!
//! To refuse is work, too, about a twentieth of a call, and of three times the calls two thirds are to be refused. This work is not held
//! against the calls: it goes into the part that they leave free, so that as many succeed as without the others.

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
            busy_max: 870,
            busy_low: 850,
            window: Duration::from_millis(100),
            retry_after_s: 1,
        }
    }
}

/// Busier than this, in per mille, the thread had no idle moment ...
const SATURATED: u32 = 995;
/// ... and more than this leaves no room for more calls, whatever it is busy with.
const FULL: u32 = 970;
/// Without an idle moment in a window, this much of the rate remains.
const SATURATED_CUT: f64 = 0.95;
/// The same when a turn took longer than [`LAG_MAX`]: by then, much has come that waits, and more would make it wait for longer.
const DELAYED_CUT: f64 = 0.85;
const LAG_MAX: Duration = Duration::from_millis(30);
/// What it takes to refuse a call and to get the ACK for it, as measured. On another machine it is more or less, which moves
/// `busy_max` a little while calls are refused, and never beyond [`FULL`].
const REFUSAL: Duration = Duration::from_micros(8);
/// So many windows in a row that are too busy begin an overload. In one alone the core may have been lent to others, or one
/// thing have taken long.
const WINDOWS_MIN: u32 = 2;
/// After so many in a row it is no stall that is made up for, though nothing is refused.
const WINDOWS_STALLED: u32 = 5;
/// So many in a row in which nothing had to be refused, and that were not busy, end it.
const WINDOWS_QUIET: u32 = 10;
/// How far the rate is moved towards what the last window says it should be, for a window says little.
const GAIN: f64 = 0.25;
/// The least and the most of the rate by which it is raised after a window, and the most by which it is lowered.
const RAISED_MIN: f64 = 0.005;
const RAISED_MAX: f64 = 0.05;
const LOWERED_MAX: f64 = 0.05;
/// However overloaded, so many calls a second are taken: there must be something to measure.
const RATE_MIN: f64 = 5.0;
/// Calls that may come at once, in seconds of the rate: what a stall of the machine held up.
const BURST: f64 = 0.2;
/// Over how long the rate of calls before an overload is taken.
const MEMORY: Duration = Duration::from_secs(1);
/// INVITEs that are remembered as refused: at 10,000 refusals a second, until the first copies have come. Eight of the same place
/// lie in one cache line, the latest first.
const PLACES: usize = 1 << 11;
const PLACE_ROOM: usize = 8;
/// For so long a caller repeats an INVITE (64 T1).
const COPIES: Duration = Duration::from_secs(32);

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
    /// While there is an overload.
    limit: Option<Limit>,
    /// INVITEs that were refused, each at the place that its key gives; empty: none lately.
    refused_lately: Vec<[u64; PLACE_ROOM]>,
    /// When the last one of them is forgotten.
    forget_at: Timestamp,
    window_from: Timestamp,
    worked: Duration,
    idle: Duration,
    /// How long this window's turns waited for I/O.
    waited: Duration,
    /// Longest turn of this window.
    lag: Duration,
    last_turn: Timestamp,
    /// Calls of this window.
    taken: u32,
    refused: u32,
    /// Windows that were too busy until now, in a row.
    busy_windows: u32,
    /// Calls taken in a second, and what they took of the time in per mille, of late ([`MEMORY`]).
    mean_taken: f64,
    mean_busy: f64,
    last: Load,
}

/// How many calls are taken.
#[derive(Clone, Copy, Debug)]
struct Limit {
    per_s: f64,
    /// Calls that may be taken now.
    tokens: f64,
    filled: Timestamp,
    /// Windows in which nothing had to be refused, in a row.
    quiet_windows: u32,
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
        self.waited += waited;
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
        let elapsed = now.since(self.window_from);
        // What the host of a virtual machine took of the core is told as idle; but who is idle waits.
        let own = self.worked + self.idle.min(self.waited);
        // Without a core for the whole window, it had work and no idle moment.
        let busy = per_mille(self.worked, own).unwrap_or(1000);
        let refusing = REFUSAL * self.refused;
        let busy_calls = per_mille(self.worked.saturating_sub(refusing), own).unwrap_or(1000);
        let (taken, refused) = (self.taken, self.refused);
        self.last = Load {
            busy,
            shed: (refused * 1000).checked_div(taken + refused).unwrap_or(0),
            lag: self.lag,
        };
        self.window_from = now;
        (self.worked, self.idle, self.waited, self.lag) = Default::default();
        (self.taken, self.refused) = (0, 0);
        let weight = (elapsed.as_secs_f64() / MEMORY.as_secs_f64()).min(1.0);
        self.mean_taken += (f64::from(taken) / elapsed.as_secs_f64() - self.mean_taken) * weight;
        self.mean_busy += (f64::from(busy_calls) - self.mean_busy) * weight;
        if thresholds.busy_max == 0 {
            self.limit = None;
            return;
        }
        self.busy_windows = match busy_calls > thresholds.busy_max {
            true => self.busy_windows.saturating_add(1),
            false => 0,
        };
        let Some(limit) = &mut self.limit else {
            if self.busy_windows >= WINDOWS_MIN {
                // What was carried until now can be carried, or less of it if that was too much.
                let carried = f64::from(thresholds.busy_max) / self.mean_busy.max(1.0);
                self.limit = Some(Limit {
                    per_s: (self.mean_taken * carried.min(1.0)).max(RATE_MIN),
                    tokens: 0.0,
                    filled: now,
                    quiet_windows: 0,
                });
            }
            return;
        };
        let room = f64::from(thresholds.busy_low) / f64::from(busy_calls.max(1)) - 1.0;
        let excess = 1.0 - f64::from(thresholds.busy_max) / f64::from(busy_calls.max(1));
        let factor = if busy >= SATURATED {
            if refused == 0 {
                // The limit did not hold them back: it is to be where they are.
                limit.per_s = limit.per_s.min(self.mean_taken);
            }
            match self.last.lag > LAG_MAX {
                _ if refused == 0 && self.busy_windows <= WINDOWS_STALLED => 1.0,
                true => DELAYED_CUT,
                false => SATURATED_CUT,
            }
        } else if excess > 0.0 {
            1.0 - (GAIN * excess).min(LOWERED_MAX)
        } else if room > 0.0 && busy < FULL && refused > 0 {
            // What is taken now brings work for as long as the calls last.
            1.0 + (GAIN * room).clamp(RAISED_MIN, RAISED_MAX)
        } else {
            1.0
        };
        limit.per_s = (limit.per_s * factor).max(RATE_MIN);
        limit.quiet_windows = match refused == 0 && room > 0.0 {
            true => limit.quiet_windows + 1,
            false => 0,
        };
        if limit.quiet_windows >= WINDOWS_QUIET {
            self.limit = None;
        }
    }

    /// Whether there is no room for a new call. `key`: a random number of its INVITE, the same for all its copies. A copy of an INVITE
    /// that was refused finds none either: its caller may have heard the refusal, and would not know what to do with a call.
    #[inline]
    pub fn is_short(&mut self, now: Timestamp, key: u64) -> bool {
        if self.limit.is_none() && self.refused_lately.is_empty() {
            return false;
        }
        self.is_short_of(now, key)
    }

    fn is_short_of(&mut self, now: Timestamp, key: u64) -> bool {
        if self.was_refused(key) {
            return true;
        }
        let Some(limit) = &mut self.limit else {
            if now >= self.forget_at {
                self.refused_lately = Vec::new();
            }
            return false;
        };
        let most = (limit.per_s * BURST).max(1.0);
        limit.tokens = (limit.tokens + limit.per_s * now.since(limit.filled).as_secs_f64()).min(most);
        limit.filled = now;
        limit.tokens < 1.0
    }

    /// A new call was taken, for which there was room or not.
    #[inline]
    pub fn take(&mut self) {
        self.taken += 1;
        if let Some(limit) = &mut self.limit {
            limit.tokens = (limit.tokens - 1.0).max(0.0);
        }
    }

    /// A call was refused for lack of room.
    pub fn refuse(&mut self, now: Timestamp, key: u64) {
        self.refused += 1;
        self.forget_at = now + COPIES;
        if self.refused_lately.is_empty() {
            self.refused_lately = vec![[0; PLACE_ROOM]; PLACES];
        }
        if !self.was_refused(key) {
            let place = &mut self.refused_lately[place(key)];
            place.rotate_right(1);
            place[0] = key;
        }
    }

    /// Whether a copy of this INVITE was refused lately.
    fn was_refused(&self, key: u64) -> bool {
        let place = self.refused_lately.get(place(key));
        place.is_some_and(|place| place.contains(&key))
    }

    /// What the last window was like.
    pub fn load(&self) -> Load {
        self.last
    }
}

/// Where an INVITE that was refused is remembered.
fn place(key: u64) -> usize {
    key as usize & (PLACES - 1)
}

/// How much of `whole` `part` is; `None`: there is nothing.
fn per_mille(part: Duration, whole: Duration) -> Option<u32> {
    let share = (part.as_nanos() * 1000).checked_div(whole.as_nanos())?;
    u32::try_from(share).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::VecDeque, ops::Range};

    /// As measured, in nanoseconds.
    const INVITE: u64 = 80_000;
    const REST: u64 = 60_000;
    const REFUSAL: u64 = 7_000;
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
        /// Calls taken in each second, and refused.
        taken: Vec<u64>,
        refused: Vec<u64>,
        /// Longest wait in each second, from arrival to the end of its handling, of calls that were taken.
        waits_ns: Vec<u64>,
        /// In-dialog messages lost.
        rest_lost: u64,
    }

    /// A core that others have until `own` is left of each millisecond, and that the host takes for a while now and then.
    #[derive(Clone, Copy)]
    struct Core {
        own: u64,
        stolen: bool,
    }

    const WHOLE: Core = Core {
        own: MS,
        stolen: false,
    };
    /// What others take of a core is no overload, and what is left can be overloaded.
    const TENTH: Core = Core {
        own: MS / 10,
        stolen: false,
    };
    const STOLEN: Core = Core {
        own: MS,
        stolen: true,
    };
    const MS: u64 = 1_000_000;
    /// The host takes a core for so long every so often.
    const THEFT: u64 = 100 * MS;
    const THEFTS: u64 = 900 * MS;

    impl Core {
        /// Calls a second that it can serve.
        fn capacity(self) -> u64 {
            let capacity = CAPACITY * self.own / MS;
            match self.stolen {
                true => capacity * THEFTS / (THEFTS + THEFT),
                false => capacity,
            }
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
            refused: vec![0; seconds],
            waits_ns: vec![0; seconds],
            rest_lost: 0,
        };
        let (mut now, mut next_call, mut theft) = (0u64, 0u64, THEFTS);
        let mut rest: VecDeque<u64> = VecDeque::new();
        let mut queue: VecDeque<(u64, bool)> = VecDeque::new();
        let (mut slept, mut worked, mut stolen, mut told) = (0, 0, 0, 0);
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
                queued: Duration::from_nanos(now - told - worked - slept - stolen),
                elapsed: Duration::from_nanos(now - told),
            };
            overload.spent(at, &spent, thresholds);
            (slept, worked, stolen, told) = (0, 0, 0, now);
            if core.stolen && now >= theft {
                (now, stolen, theft) = (now + THEFT, THEFT, now + THEFTS);
            }
            for (at, call) in queue.drain(..queue.len().min(256)) {
                let key = next_random(&mut random);
                let second = ((now / SECOND) as usize).min(seconds - 1);
                let work = match call {
                    false => REST,
                    true if overload.is_short(Timestamp::from_nanos(now), key) => {
                        overload.refuse(Timestamp::from_nanos(now), key);
                        run.refused[second] += 1;
                        REFUSAL
                    }
                    true => {
                        overload.take();
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
        }
        run
    }

    #[test]
    fn nothing_is_refused_below_capacity() {
        for core in [WHOLE, TENTH] {
            let run = run(&[core.capacity() * 8 / 10; 10], core, &Thresholds::default());
            assert_eq!(run.refused, [0; 10]);
            assert_eq!(run.rest_lost, 0);
        }
    }

    /// A machine that is stolen from stalls; what has come meanwhile is made up for, and is no overload.
    #[test]
    fn little_is_refused_after_stalls() {
        let run = run(
            &[STOLEN.capacity() * 80 / 100; 20],
            STOLEN,
            &Thresholds::default(),
        );
        let (taken, refused): (u64, u64) = (run.taken.iter().sum(), run.refused.iter().sum());
        assert!(refused * 100 <= taken, "{refused} of {taken}: {:?}", run.refused);
        assert_eq!(run.rest_lost, 0);
    }

    #[test]
    fn three_times_the_capacity_leaves_the_goodput_and_the_delay() {
        // A tenth of a core has few calls in a window, so its measurements are coarse.
        for (core, mean_percent, least_percent) in [(WHOLE, 98, 90), (TENTH, 90, 75), (STOLEN, 90, 75)] {
            let capacity = core.capacity();
            let most = capacity * u64::from(Thresholds::default().busy_max) / 1000;
            for times in [2, 3, 5] {
                let run = run(&[times * most; 30], core, &Thresholds::default());
                // As many as are taken when no more are offered, or as refusing leaves time for.
                let refusing = (times - 1) * most * REFUSAL;
                let left = capacity * u64::from(FULL) / 1000 - refusing / (INVITE + REST);
                let most = most.min(left);
                let steady = &run.taken[10..];
                let mean = steady.iter().sum::<u64>() / steady.len() as u64;
                assert!(
                    mean * 100 >= most * mean_percent
                        && steady.iter().all(|taken| taken * 100 >= most * least_percent),
                    "{times} times: {mean} of {most} calls a second: {:?}",
                    run.taken
                );
                let longest = run.waits_ns[10..].iter().max().unwrap();
                let stall = if core.stolen { 3 * THEFT } else { 0 };
                assert!(*longest < 50 * MS * MS / core.own + stall, "{:?}", run.waits_ns);
                // Before anybody repeats an INVITE, from the first moment.
                let longest = run.waits_ns.iter().max().unwrap();
                assert!(*longest < 500 * MS, "{:?}", run.waits_ns);
            }
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
            run.waits_ns[9] > 150_000_000 && run.rest_lost > 1_000,
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
        assert!(run.refused[8] > CAPACITY, "{:?}", run.refused);
        assert_eq!(run.refused[11..], [0; 7], "{:?}", run.refused);
    }

    /// A window of `thresholds` in which `calls` came, and the thread slept for so long. How many were refused.
    fn window(overload: &mut Overload, now: &mut Timestamp, slept_ms: u64, keys: Range<u64>) -> usize {
        let thresholds = Thresholds::default();
        let slept = Duration::from_millis(slept_ms);
        let step = thresholds.window / (keys.end - keys.start).max(1) as u32;
        let mut refused = 0;
        for key in keys {
            *now = *now + step;
            match overload.is_short(*now, key) {
                true => overload.refuse(*now, key),
                false => overload.take(),
            }
            refused += usize::from(overload.was_refused(key));
        }
        overload.turn(*now, slept);
        let spent = Spent {
            worked: thresholds.window - slept,
            queued: Duration::ZERO,
            elapsed: thresholds.window,
        };
        overload.spent(*now, &spent, &thresholds);
        refused
    }

    #[test]
    fn a_core_that_was_lent_to_others_for_a_moment_is_no_overload() {
        let (mut overload, mut now, mut key) = (Overload::default(), Timestamp::from_millis(1), 1);
        let mut limited = |slept_ms| {
            window(&mut overload, &mut now, slept_ms, key..key + 100);
            key += 100;
            overload.limit.is_some()
        };
        let limited = [100, 0, 50, 0, 50, 0, 50, 0, 0].map(&mut limited);
        assert_eq!(limited.map(usize::from), [0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn copies_of_what_was_refused_are_refused_for_as_long_as_they_come() {
        let (mut overload, mut now) = (Overload::default(), Timestamp::from_millis(1));
        for n in 0..10 {
            window(&mut overload, &mut now, 0, n * 100..(n + 1) * 100);
        }
        let keys = 1000..1100;
        let refused = window(&mut overload, &mut now, 0, keys.clone());
        assert!((10..100).contains(&refused), "{refused}");
        // There is room again.
        for n in 0..20 {
            window(&mut overload, &mut now, 90, 2000 + n..2001 + n);
        }
        assert!(overload.limit.is_none());
        let again = keys.clone().filter(|key| overload.is_short(now, *key)).count();
        assert_eq!(again, refused);
        now = now + COPIES;
        assert!(
            keys.clone()
                .all(|key| key == 1000 || !overload.is_short(now, key))
        );
        assert!(overload.refused_lately.is_empty());
    }
}
