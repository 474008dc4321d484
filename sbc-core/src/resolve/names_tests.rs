//! What a shard knows of names, moment by moment.

use super::*;
use crate::transport::Transport;

const HOUR: u64 = 3600;

fn query(host: &str) -> Query {
    Query {
        host: host.into(),
        port: None,
        transport: None,
        secure: false,
    }
}

fn s(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn addresses(n: u8, ttl_s: u64) -> Result<Resolved, ResolveError> {
    let candidate = |n| Candidate {
        transport: Transport::Udp,
        address: ([192, 0, 2, n], 5060).into(),
        priority: 0,
        weight: 0,
    };
    Ok(Resolved {
        candidates: (1..=n).map(candidate).collect(),
        ttl: Duration::from_secs(ttl_s),
    })
}

/// One name of the configuration, and a clock.
struct One {
    names: Names,
    now: Timestamp,
}

impl One {
    fn new() -> Self {
        let mut names = Names::new(1);
        names.configure(Timestamp::ZERO, [query("a.test")].into_iter());
        Self {
            names,
            now: Timestamp::ZERO,
        }
    }

    /// Let time pass until the next question; how long that took, and the changes on the way.
    fn until_asked(&mut self) -> (Duration, QueryId, Vec<State>) {
        let start = self.now;
        let mut changes = Vec::new();
        loop {
            match self.names.step(self.now) {
                Some(Step::Ask(id, _)) => return (self.now - start, id, changes),
                Some(Step::Tell(change)) => changes.push(change.state),
                None => self.now = self.names.next_due().unwrap().max(self.now),
            }
        }
    }

    fn answer(&mut self, id: QueryId, outcome: Result<Resolved, ResolveError>) -> Option<State> {
        self.names
            .answered(self.now, id, outcome)
            .0
            .map(|change| change.state)
    }

    fn known(&mut self) -> usize {
        self.names.candidates(self.now, &query("a.test")).len()
    }
}

#[test]
fn a_name_is_asked_for_at_once_and_again_before_its_ttl_ends() {
    let mut one = One::new();
    let (waited, id, _) = one.until_asked();
    assert_eq!(waited, Duration::ZERO);
    assert_eq!(one.known(), 0);
    assert_eq!(one.answer(id, addresses(2, 100)), Some(State::Known(2)));
    assert_eq!(one.known(), 2);
    let (waited, id, _) = one.until_asked();
    assert!((75..=90).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!(
        one.known(),
        2,
        "the old answer holds while the new one is awaited"
    );
    assert_eq!(one.answer(id, addresses(1, 100)), None, "nothing new for the log");
    assert_eq!(one.known(), 1);
}

#[test]
fn ttls_are_bounded() {
    for (ttl, low, high) in [(0, 3, 5), (1_000_000, 2700, 3240)] {
        let mut one = One::new();
        let (_, id, _) = one.until_asked();
        one.answer(id, addresses(1, ttl));
        let (waited, ..) = one.until_asked();
        assert!((low..=high).contains(&waited.as_secs()), "{ttl}: {waited:?}");
    }
}

#[test]
fn an_answer_that_stays_out_is_asked_for_again() {
    let mut one = One::new();
    one.until_asked();
    let (waited, _, changes) = one.until_asked();
    assert!((20..=22).contains(&waited.as_secs()), "{waited:?}");
    assert_eq!(changes, [State::Unanswered]);
}

#[test]
fn an_answer_to_a_question_that_was_given_up_is_ignored() {
    let mut one = One::new();
    let (_, old, _) = one.until_asked();
    let (_, new, _) = one.until_asked();
    assert_eq!(one.answer(old, addresses(3, 60)), None);
    assert_eq!(one.known(), 0);
    one.answer(new, addresses(1, 60));
    assert_eq!(one.known(), 1);
}

#[test]
fn failures_are_repeated_ever_more_slowly_but_never_slower_than_a_minute() {
    let mut one = One::new();
    let mut pauses = Vec::new();
    for _ in 0..10 {
        let (waited, id, _) = one.until_asked();
        pauses.push(waited.as_millis());
        one.answer(id, Err(ResolveError::Failed));
    }
    for (n, pause) in (0..).zip(&pauses[1..]) {
        let middle = (1000u128 << n).min(60_000);
        assert!(
            (middle * 3 / 4..=middle * 5 / 4).contains(pause),
            "{n}: {pauses:?}"
        );
    }
}

#[test]
fn stale_addresses_serve_for_an_hour_while_the_servers_fail() {
    let mut one = One::new();
    let (_, id, _) = one.until_asked();
    one.answer(id, addresses(1, 60));
    let mut changes = Vec::new();
    loop {
        let (_, id, on_the_way) = one.until_asked();
        assert!(on_the_way.is_empty());
        let known = one.known();
        let expected = usize::from(one.now < s(60 + HOUR));
        assert_eq!(known, expected, "at {:?}", one.now);
        changes.extend(one.answer(id, Err(ResolveError::Failed)));
        if expected == 0 {
            break;
        }
    }
    assert_eq!(changes, [State::Failing(1), State::Unanswered], "each told once");
    let (_, id, _) = one.until_asked();
    assert_eq!(one.answer(id, addresses(2, 60)), Some(State::Known(2)));
}

#[test]
fn an_absent_name_loses_its_addresses_and_is_asked_for_after_the_negative_ttl() {
    let mut one = One::new();
    let (_, id, _) = one.until_asked();
    one.answer(id, addresses(1, 60));
    for (ttl, expected) in [(40, 40), (1, 5), (100_000, 300)] {
        let (_, id, _) = one.until_asked();
        let ttl = Duration::from_secs(ttl);
        one.answer(id, Err(ResolveError::Absent { ttl }));
        assert_eq!(one.known(), 0);
        let (waited, id, changes) = one.until_asked();
        assert_eq!(waited.as_secs(), expected);
        assert!(changes.is_empty());
        one.answer(id, addresses(1, 60));
    }
}

#[test]
fn questions_are_asked_a_few_at_a_time_and_all_in_the_end() {
    let mut names = Names::new(1);
    let all: Vec<Query> = (0..1000).map(|n| query(&format!("n{n}.test"))).collect();
    names.configure(Timestamp::ZERO, all.iter().cloned());
    let mut waiting = std::collections::VecDeque::new();
    let mut asked = HashSet::new();
    while asked.len() < all.len() {
        while let Some(Step::Ask(id, query)) = names.step(Timestamp::ZERO) {
            assert!(asked.insert(query), "asked twice");
            waiting.push_back(id);
        }
        assert!(waiting.len() <= ASKED_MAX);
        assert!(
            names.next_due().unwrap() > Timestamp::ZERO,
            "nothing more to do now"
        );
        let id = waiting.pop_front().unwrap();
        names.answered(Timestamp::ZERO, id, addresses(1, 60));
    }
}

#[test]
fn without_any_answer_every_name_gets_its_turn() {
    let mut names = Names::new(1);
    let all: Vec<Query> = (0..200).map(|n| query(&format!("n{n}.test"))).collect();
    names.configure(Timestamp::ZERO, all.iter().cloned());
    let mut asked = HashSet::new();
    let mut now = Timestamp::ZERO;
    for _ in 0..2000 {
        match names.step(now) {
            Some(Step::Ask(_, query)) => drop(asked.insert(query)),
            Some(Step::Tell(_)) => {}
            None => now = names.next_due().unwrap().max(now),
        }
    }
    assert_eq!(asked.len(), all.len());
}

#[test]
fn names_of_peers_are_bounded_and_the_longest_unused_goes_first() {
    let mut names = Names::new(1);
    for n in 0..LEARNED_MAX {
        assert!(!names.learn(s(n as u64 / 100), query(&format!("n{n}.test"))));
    }
    names.candidates(s(20), &query("n0.test"));
    assert!(names.learn(s(21), query("one-more.test")));
    assert_eq!(names.entries.len(), LEARNED_MAX);
    assert!(names.slots.contains_key(&query("n0.test")), "used since");
    assert!(!names.slots.contains_key(&query("n1.test")));
    assert_eq!(names.to_ask.len(), names.entries.len());
}

#[test]
fn a_name_of_a_peer_that_nobody_needs_is_forgotten() {
    let mut names = Names::new(1);
    names.learn(s(0), query("peer.test"));
    let mut now = s(0);
    let mut questions = 0;
    while let Some(due) = names.next_due() {
        now = due.max(now);
        match names.step(now) {
            Some(Step::Ask(id, _)) => {
                questions += 1;
                let (change, moved) = names.answered(now, id, addresses(1, 60));
                assert_eq!(change, None, "the log is not for peers to fill");
                assert!(moved || questions > 1);
            }
            Some(step) => panic!("{step:?}"),
            None => {}
        }
    }
    assert!((3600..3700).contains(&(now.as_millis() / 1000)), "{now:?}");
    assert!(names.entries.is_empty() && names.slots.is_empty() && names.asked.is_empty());
    assert_eq!(names.learned, 0);
}

#[test]
fn a_new_configuration_keeps_what_is_known() {
    let mut one = One::new();
    let (_, id, _) = one.until_asked();
    one.answer(id, addresses(2, 60));
    one.names.learn(one.now, query("b.test"));
    one.names
        .configure(one.now, [query("a.test"), query("b.test")].into_iter());
    assert_eq!(one.known(), 2);
    assert_eq!(one.names.learned, 0, "b belongs to the configuration now");
    one.names.configure(one.now, [query("b.test")].into_iter());
    assert_eq!(one.known(), 0);
    assert_eq!(one.names.entries.len(), 1);
}

#[test]
fn whether_the_addresses_have_changed_is_told() {
    let mut one = One::new();
    for (n, moved) in [(1, true), (1, false), (2, true), (2, false)] {
        let (_, id, _) = one.until_asked();
        assert_eq!(one.names.answered(one.now, id, addresses(n, 60)).1, moved);
    }
}
