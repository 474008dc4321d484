//! Overload control of one shard (L4): what share of new calls it takes, so that the calls that it has are served.
//!
//! In: how long the shard's thread had nothing to do. Out: for each new INVITE, whether it is taken or
//! refused at once, before it costs anything. Never asked of anything else: responses, ACK, BYE and all else that belongs to a
//! call are always served, and so are repeated INVITEs of calls that were taken.
//!
//! A thread that is never idle has work waiting in its sockets, however much. So the share is lowered as long as a window
//! of time had no idle moment in it, and raised again as far as the idle time in a window allows; in between it stays (hysteresis). What
//! was measured at the door of a saturated server tells how much to shed no better: RFC 7339 §5.3 leaves the algorithm open,
//! and its loss-based report is this share.

use crate::time::Timestamp;
use std::time::Duration;

/// What is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Busy for more than this share of a window, in per mille, is overload; 0: never.
    pub busy_max: u32,
    /// Busy for less than this, more calls are taken.
    pub busy_low: u32,
    /// How long is measured.
    pub window: Duration,
    /// Retry-After of a refusal, in seconds.
    pub retry_after_s: u16,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            busy_max: 985,
            busy_low: 970,
            window: Duration::from_millis(100),
            retry_after_s: 1,
        }
    }
}

/// Every call is taken.
const ALL: u32 = 1_000_000;
/// However overloaded, this share is taken: there must be something to measure.
const SHARE_MIN: u32 = ALL / 100;
/// Without an idle moment in a window, this much of the share remains, in per cent.
const SATURATED: u32 = 90;
/// With hardly any.
const OVERLOADED: u32 = 98;
/// So many windows in a row without an idle moment begin an overload. In one alone the core may have been lent to others, or one thing have
/// taken long.
const WINDOWS_MIN: u32 = 3;
/// The most by which the share is raised after a window.
const RAISED_MAX: u32 = 110;

/// The overload control of one shard.
#[derive(Clone, Debug, Default)]
pub struct Overload {
    /// Share of new calls that is refused, in millionths.
    shed: u32,
    /// What is left of the shares of calls before, in millionths of a call.
    credit: u32,
    window_from: Timestamp,
    idle: Duration,
    /// Longest turn of this window.
    lag: Duration,
    last_turn: Timestamp,
    /// Windows without an idle moment until now, in a row.
    saturated: u32,
    /// Of the last whole window.
    busy: u32,
    lag_last: Duration,
}

/// What the last window was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Share of the time that the thread was busy, in per mille.
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

    /// The thread had nothing to do for `idle` since it was asked last.
    pub fn idle(&mut self, now: Timestamp, idle: Duration, thresholds: &Thresholds) {
        if self.window_from == Timestamp::ZERO {
            self.window_from = now;
            return;
        }
        self.idle += idle;
        let window = now.since(self.window_from);
        if window >= thresholds.window {
            self.measure(now, window, thresholds);
        }
    }

    fn measure(&mut self, now: Timestamp, window: Duration, thresholds: &Thresholds) {
        let idle = self.idle.min(window).as_nanos() * 1000 / window.as_nanos().max(1);
        self.busy = 1000 - u32::try_from(idle).unwrap_or(1000);
        self.lag_last = self.lag;
        (self.window_from, self.idle, self.lag) = (now, Duration::ZERO, Duration::ZERO);
        if thresholds.busy_max == 0 {
            self.shed = 0;
            return;
        }
        self.saturated = match self.busy > thresholds.busy_max {
            true => self.saturated.saturating_add(1),
            false => 0,
        };
        if self.shed == 0 && self.saturated < WINDOWS_MIN {
            return;
        }
        let share = ALL - self.shed;
        let share = if self.busy >= 995.max(thresholds.busy_max) {
            share / 100 * SATURATED
        } else if self.busy > thresholds.busy_max {
            share / 100 * OVERLOADED
        } else if self.busy < thresholds.busy_low {
            let room = (thresholds.busy_low + 10) * 100 / self.busy.max(1);
            (share / 100 * room.min(RAISED_MAX)).min(ALL)
        } else {
            share
        };
        self.shed = ALL - share.max(SHARE_MIN);
    }

    /// Whether one more new call is to be refused. Spread evenly: of a share of a third, every third call is taken.
    #[inline]
    pub fn sheds(&mut self) -> bool {
        if self.shed == 0 {
            return false;
        }
        self.credit += ALL - self.shed;
        if self.credit < ALL {
            return true;
        }
        self.credit -= ALL;
        false
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    const INVITE: u64 = 150_000;
    const REST: u64 = 100_000;
    const REFUSAL: u64 = 8_000;
    const SECOND: u64 = 1_000_000_000;
    /// Calls a second that the shard below can serve.
    const CAPACITY: u64 = SECOND / (INVITE + REST);
    /// Datagrams that its socket holds.
    const QUEUE_MAX: usize = 2_000;

    struct Run {
        /// Calls taken in each second.
        taken: Vec<u64>,
        /// Longest wait in each second, from arrival to the end of its handling, of calls that were taken.
        waits_ns: Vec<u64>,
        /// In-dialog messages lost.
        rest_lost: u64,
        sheds: Vec<u32>,
    }

    /// A shard with one queue for calls, `offer` of them in each second, and for the rest of their messages a second later.
    fn run(offer: &[u64], thresholds: &Thresholds) -> Run {
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
        let mut slept = 0;
        let mut random = 7u64;
        while now < seconds as u64 * SECOND {
            while next_call <= now {
                if queue.len() < QUEUE_MAX {
                    queue.push_back((next_call, true));
                }
                let rate = offer[((next_call / SECOND) as usize).min(seconds - 1)];
                random = random
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                next_call += 1 + (random >> 33) % (2 * SECOND / rate);
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
            let idle = Duration::from_nanos(std::mem::take(&mut slept));
            overload.turn(Timestamp::from_nanos(now), idle);
            overload.idle(Timestamp::from_nanos(now), idle, thresholds);
            for (at, call) in queue.drain(..queue.len().min(256)) {
                now += match call {
                    false => REST,
                    true if overload.sheds() => REFUSAL,
                    true => {
                        let second = ((now / SECOND) as usize).min(seconds - 1);
                        run.taken[second] += 1;
                        run.waits_ns[second] = run.waits_ns[second].max(now + INVITE - at);
                        rest.push_back(now + INVITE + SECOND);
                        INVITE
                    }
                };
            }
            if run.sheds.len() < (now / SECOND) as usize {
                run.sheds.push(overload.load().shed);
            }
        }
        run
    }

    #[test]
    fn nothing_is_shed_below_capacity() {
        let run = run(&[CAPACITY * 8 / 10; 10], &Thresholds::default());
        assert!(run.sheds.iter().all(|shed| *shed == 0), "{:?}", run.sheds);
        assert_eq!(run.rest_lost, 0);
    }

    #[test]
    fn three_times_the_capacity_leaves_the_goodput_and_the_delay() {
        let run = run(&[3 * CAPACITY; 30], &Thresholds::default());
        // Refusing two of three calls is work, too: what is left is the most that any control could give.
        let most = CAPACITY * (SECOND - 2 * CAPACITY * REFUSAL) / SECOND;
        let steady = &run.taken[10..];
        let mean = steady.iter().sum::<u64>() / steady.len() as u64;
        assert!(mean * 100 >= most * 92, "{mean} of {most} calls a second");
        assert!(
            steady.iter().all(|taken| taken * 100 >= most * 80),
            "{steady:?} of {most}"
        );
        let longest = run.waits_ns[10..].iter().max().unwrap();
        assert!(*longest < 50_000_000, "{longest} ns");
        let steady = &run.sheds[10..];
        let (least, most) = (steady.iter().min().unwrap(), steady.iter().max().unwrap());
        assert!(most - least <= 80, "it swings: {steady:?}");
    }

    #[test]
    fn without_control_the_delay_is_that_of_a_full_queue() {
        let off = Thresholds {
            busy_max: 0,
            ..Thresholds::default()
        };
        let run = run(&[3 * CAPACITY; 10], &off);
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
        let run = run(&offer, &Thresholds::default());
        assert!(run.sheds[8] > 500, "{:?}", run.sheds);
        assert_eq!(run.sheds[13], 0, "{:?}", run.sheds);
    }

    #[test]
    fn a_core_that_was_lent_to_others_for_a_moment_is_no_overload() {
        let (mut overload, thresholds) = (Overload::default(), Thresholds::default());
        let mut now = Timestamp::from_millis(1);
        let mut window = |slept_ms| {
            overload.idle(now, Duration::from_millis(slept_ms), &thresholds);
            now = now + thresholds.window;
            overload.load().shed
        };
        let sheds = [100, 0, 0, 50, 0, 0, 50, 0, 0, 0, 0].map(&mut window);
        assert!(sheds[..9].iter().all(|shed| *shed == 0), "{sheds:?}");
        assert!(sheds[9] > 0 && sheds[10] > sheds[9], "{sheds:?}");
    }

    #[test]
    fn a_share_is_spread_evenly() {
        let mut overload = Overload {
            shed: ALL - ALL / 4,
            ..Overload::default()
        };
        let taken: Vec<bool> = (0..12).map(|_| !overload.sheds()).collect();
        let at: Vec<usize> = (0..12).filter(|n| taken[*n]).collect();
        assert_eq!(at, [3, 7, 11]);
    }
}
