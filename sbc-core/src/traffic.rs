//! How many calls each trunk has, and how many of them are answered: in the last seconds, minutes, the last hour, and ever.
//!
//! In: seizures and answers of one shard, which owns its counts. Out: [`TrunkTraffic`], which are summed over shards. A
//! seizure is a call admitted from a trunk, or one sent to it; an answer belongs to the minute of its seizure, so that of
//! the calls of some minutes never more are answered than there were. A call costs a few additions; what is old goes when
//! something new is counted, at most 64 places at once.

use crate::{time::Timestamp, trunk::TrunkId};

/// Which way a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the trunk to us.
    In,
    /// From us to the trunk.
    Out,
}

/// Calls per second are those of so many seconds: the last whole ones.
pub const CPS_SECONDS: u64 = 5;
/// The shorter period in minutes: so many whole ones, and the one under way.
pub const SHORT_MINUTES: u64 = 5;
/// The longer period in minutes.
pub const LONG_MINUTES: u64 = 60;

/// Calls, and those of them that were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Calls.
    pub seizures: u64,
    /// Those that were answered.
    pub answers: u64,
}

impl Count {
    /// And others.
    pub fn add(&mut self, other: Self) {
        self.seizures += other.seizures;
        self.answers += other.answers;
    }
}

/// The calls of one trunk in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WayTraffic {
    /// Seizures of the last [`CPS_SECONDS`].
    pub last_seconds: u64,
    /// Of the last [`SHORT_MINUTES`].
    pub short: Count,
    /// Of the last [`LONG_MINUTES`].
    pub long: Count,
    /// Since the start of the process, or since the trunk is there.
    pub total: Count,
}

impl WayTraffic {
    /// And that of another shard.
    pub fn add(&mut self, other: &Self) {
        self.last_seconds += other.last_seconds;
        self.short.add(other.short);
        self.long.add(other.long);
        self.total.add(other.total);
    }
}

/// The calls of one trunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrunkTraffic {
    /// From it.
    pub inbound: WayTraffic,
    /// To it.
    pub outbound: WayTraffic,
}

impl TrunkTraffic {
    /// And that of another shard.
    pub fn add(&mut self, other: &Self) {
        self.inbound.add(&other.inbound);
        self.outbound.add(&other.outbound);
    }
}

/// The counts of a shard; a [`TrunkId`] is an index.
#[derive(Debug, Default)]
pub struct Traffic {
    trunks: Vec<Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Who has the id has it since then: earlier calls were those of another.
    since: Timestamp,
    /// Of each [`Way`]; trunks without calls cost nothing.
    ways: [Option<Box<Recent>>; 2],
}

impl Traffic {
    /// Of `trunks` trunks, without any calls.
    pub fn new(trunks: usize) -> Self {
        let mut traffic = Self::default();
        traffic.configure(Timestamp::ZERO, trunks, |_| false);
        traffic
    }

    /// There are `trunks` ids from now on. Those that `is_new` names are other trunks' than before: they begin anew.
    pub fn configure(&mut self, now: Timestamp, trunks: usize, is_new: impl Fn(TrunkId) -> bool) {
        for (id, entry) in (0..).map(TrunkId).zip(&mut self.trunks) {
            if is_new(id) {
                *entry = Entry {
                    since: now,
                    ..Entry::default()
                };
            }
        }
        self.trunks.resize_with(trunks, || Entry {
            since: now,
            ..Entry::default()
        });
    }

    /// A call was admitted from a trunk, or is sent to it.
    pub fn seized(&mut self, now: Timestamp, trunk: TrunkId, way: Way) {
        let entry = self.trunks.get_mut(usize::from(trunk.0));
        if let Some(recent) = entry.and_then(|entry| entry.ways.get_mut(way as usize)) {
            recent.get_or_insert_default().seize(now);
        }
    }

    /// A call that seized a trunk at `seized` was answered.
    pub fn answered(&mut self, seized: Timestamp, trunk: TrunkId, way: Way) {
        let entry = self.trunks.get_mut(usize::from(trunk.0));
        if let Some(entry) = entry.filter(|entry| seized >= entry.since)
            && let Some(Some(recent)) = entry.ways.get_mut(way as usize)
        {
            recent.answer(seized);
        }
    }

    /// The calls of all trunks, in the order of their ids.
    pub fn view(&self, now: Timestamp) -> Vec<TrunkTraffic> {
        let way =
            |recent: &Option<Box<Recent>>| recent.as_ref().map_or_else(Default::default, |r| r.view(now));
        let trunks = self.trunks.iter().map(|entry| {
            let [inbound, outbound] = &entry.ways;
            TrunkTraffic {
                inbound: way(inbound),
                outbound: way(outbound),
            }
        });
        trunks.collect()
    }
}

/// Counts of the last 64 minutes and 8 seconds. A place is that of its number modulo 64 or 8.
#[derive(Debug)]
struct Recent {
    total: Count,
    /// Seizures and answers.
    minutes: [(u32, u32); 64],
    seconds: [u32; 8],
    /// The newest that there was a seizure in.
    minute: u64,
    second: u64,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            total: Count::default(),
            minutes: [(0, 0); 64],
            seconds: [0; 8],
            minute: 0,
            second: 0,
        }
    }
}

impl Recent {
    fn seize(&mut self, now: Timestamp) {
        self.total.seizures += 1;
        let second = now.as_millis() / 1000;
        advance(&mut self.seconds, &mut self.second, second);
        advance(&mut self.minutes, &mut self.minute, second / 60);
        if let Some(count) = place(&mut self.seconds, second) {
            *count += 1;
        }
        if let Some((seizures, _)) = place(&mut self.minutes, second / 60) {
            *seizures += 1;
        }
    }

    fn answer(&mut self, seized: Timestamp) {
        self.total.answers += 1;
        let minute = seized.as_millis() / 60_000;
        if self.minute.saturating_sub(minute) < self.minutes.len() as u64
            && let Some((_, answers)) = place(&mut self.minutes, minute)
        {
            *answers += 1;
        }
    }

    fn view(&self, now: Timestamp) -> WayTraffic {
        let second = now.as_millis() / 1000;
        let seconds = past(
            &self.seconds,
            self.second,
            second.saturating_sub(CPS_SECONDS),
            second,
        );
        let minute = second / 60;
        let minutes = |count: u64| {
            let minutes = past(
                &self.minutes,
                self.minute,
                minute.saturating_sub(count),
                minute + 1,
            );
            minutes.fold(Count::default(), |mut sum, (seizures, answers)| {
                sum.add(Count {
                    seizures: seizures.into(),
                    answers: answers.into(),
                });
                sum
            })
        };
        WayTraffic {
            last_seconds: seconds.map(u64::from).sum(),
            short: minutes(SHORT_MINUTES),
            long: minutes(LONG_MINUTES),
            total: self.total,
        }
    }
}

/// The place of `number`.
fn place<T, const N: usize>(ring: &mut [T; N], number: u64) -> Option<&mut T> {
    ring.get_mut((number % N as u64) as usize)
}

/// `now` is the newest place of `ring`, the newest of which was `newest`: those between are empty.
fn advance<T: Default, const N: usize>(ring: &mut [T; N], newest: &mut u64, now: u64) {
    let first = (*newest + 1).max((now + 1).saturating_sub(N as u64));
    for number in first..=now {
        if let Some(place) = place(ring, number) {
            *place = T::default();
        }
    }
    *newest = now.max(*newest);
}

/// The places from `first` to before `end`, as far as `ring`, the newest of which is `newest`, has them.
fn past<T: Copy, const N: usize>(
    ring: &[T; N],
    newest: u64,
    first: u64,
    end: u64,
) -> impl Iterator<Item = T> + '_ {
    let first = first.max((newest + 1).saturating_sub(N as u64));
    (first..end.min(newest + 1)).filter_map(|number| ring.get((number % N as u64) as usize).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRUNK: TrunkId = TrunkId(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000 + 500)
    }

    fn inbound(traffic: &Traffic, now: Timestamp) -> WayTraffic {
        traffic.view(now)[usize::from(TRUNK.0)].inbound
    }

    fn count(seizures: u64, answers: u64) -> Count {
        Count { seizures, answers }
    }

    #[test]
    fn the_second_under_way_does_not_count() {
        let mut traffic = Traffic::new(2);
        for second in [10, 10, 12, 14, 15] {
            traffic.seized(at(second), TRUNK, Way::In);
        }
        let last = |second| inbound(&traffic, at(second)).last_seconds;
        assert_eq!(
            [last(15), last(16), last(18), last(20), last(21)],
            [4, 3, 2, 1, 0]
        );
        assert_eq!(last(1_000_000), 0);
    }

    #[test]
    fn an_answer_belongs_to_the_minute_of_its_seizure() {
        let mut traffic = Traffic::new(2);
        let (old, young) = (at(59), at(6 * 60));
        traffic.seized(old, TRUNK, Way::In);
        traffic.seized(young, TRUNK, Way::In);
        traffic.answered(old, TRUNK, Way::In);
        let now = inbound(&traffic, young);
        assert_eq!(
            (now.short, now.long, now.total),
            (count(1, 0), count(2, 1), count(2, 1))
        );
        // The hour is over for the first one, and then for the second.
        let later = inbound(&traffic, at(61 * 60));
        assert_eq!((later.short, later.long), (count(0, 0), count(1, 0)));
        assert_eq!(inbound(&traffic, at(67 * 60)).long, count(0, 0));
        // One that rang for so long is answered in none of the minutes that are left.
        traffic.seized(at(70 * 60), TRUNK, Way::In);
        traffic.answered(young, TRUNK, Way::In);
        let last = inbound(&traffic, at(70 * 60));
        assert_eq!((last.long, last.total), (count(1, 0), count(3, 2)));
    }

    #[test]
    fn ways_and_trunks_are_apart_and_shards_add_up() {
        let mut traffic = Traffic::new(2);
        traffic.seized(at(0), TRUNK, Way::Out);
        traffic.answered(at(0), TRUNK, Way::Out);
        traffic.answered(at(0), TRUNK, Way::In);
        traffic.seized(at(0), TrunkId(2), Way::Out);
        traffic.answered(at(0), TrunkId::STRANGER, Way::Out);
        let [mut first, mut second] = traffic.view(at(1))[..] else {
            panic!()
        };
        assert_eq!(
            (first, second.inbound),
            (TrunkTraffic::default(), WayTraffic::default())
        );
        assert_eq!(
            (second.outbound.last_seconds, second.outbound.total),
            (1, count(1, 1))
        );
        first.add(&second);
        second.add(&first);
        assert_eq!(
            (second.outbound.last_seconds, second.outbound.long),
            (2, count(2, 2))
        );
    }

    #[test]
    fn another_trunk_with_the_same_id_begins_anew() {
        let mut traffic = Traffic::new(2);
        traffic.seized(at(1), TRUNK, Way::In);
        traffic.configure(at(2), 3, |_| false);
        assert_eq!(inbound(&traffic, at(2)).total, count(1, 0));
        traffic.configure(at(3), 3, |id| id == TRUNK);
        traffic.seized(at(4), TRUNK, Way::In);
        traffic.answered(at(1), TRUNK, Way::In);
        assert_eq!(
            inbound(&traffic, at(4)).total,
            count(1, 0),
            "the answer is another's"
        );
        traffic.answered(at(4), TRUNK, Way::In);
        assert_eq!(inbound(&traffic, at(4)).total, count(1, 1));
    }

    proptest! {
        #[test]
        fn the_rings_agree_with_a_list_of_all_calls(
            calls in prop::collection::vec((0u64..400, any::<bool>()), 1..200),
            last in 0u64..4_000,
        ) {
            let mut traffic = Traffic::new(2);
            let (mut now, mut all) = (0, Vec::new());
            for (pause, answered) in calls {
                now += pause;
                traffic.seized(at(now), TRUNK, Way::In);
                if answered {
                    traffic.answered(at(now), TRUNK, Way::In);
                }
                all.push((now, answered));
            }
            now += last;
            let of = |first: u64| {
                let calls = all.iter().filter(|(second, _)| second / 60 >= first);
                let answers = calls.clone().filter(|(_, answered)| *answered);
                count(calls.count() as u64, answers.count() as u64)
            };
            let view = inbound(&traffic, at(now));
            prop_assert_eq!(view.short, of((now / 60).saturating_sub(SHORT_MINUTES)));
            prop_assert_eq!(view.long, of((now / 60).saturating_sub(LONG_MINUTES)));
            prop_assert_eq!(view.total, of(0));
            let lately = all.iter().filter(|(second, _)| *second < now && second + CPS_SECONDS >= now);
            prop_assert_eq!(view.last_seconds, lately.count() as u64);
        }
    }
}
