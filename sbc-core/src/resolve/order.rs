//! The order in which to try the addresses of a name (RFC 3263 §4.3, RFC 2782).

use super::Candidate;

/// `candidates` by priority, those of the same priority in a random order in which each comes
/// first as often as its weight says, and those that `failed` lately after all others.
pub(crate) fn order(
    candidates: &[Candidate],
    mut random: impl FnMut() -> u64,
    failed: impl Fn(&Candidate) -> bool,
) -> Vec<Candidate> {
    let mut left = candidates.to_vec();
    // Weight 0 stands at the beginning of its priority: a running sum of 0 is rarely drawn.
    left.sort_by_key(|c| (c.priority, c.weight > 0));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(first) = left.first() {
        let priority = first.priority;
        let same = left.iter().take_while(|c| c.priority == priority).count();
        let at = draw(&left[..same], random());
        ordered.push(left.remove(at));
    }
    ordered.sort_by_key(failed);
    ordered
}

/// The index that `random` draws among candidates of one priority.
fn draw(same: &[Candidate], random: u64) -> usize {
    let sum: u64 = same.iter().map(|c| u64::from(c.weight)).sum();
    if sum == 0 {
        return below(random, same.len() as u64) as usize;
    }
    let drawn = below(random, sum + 1);
    let mut running = 0;
    same.iter()
        .position(|c| {
            running += u64::from(c.weight);
            running >= drawn
        })
        .unwrap_or(0)
}

/// `random` as a number below `n`. The unevenness is below n / 2^64.
fn below(random: u64, n: u64) -> u64 {
    ((u128::from(random) * u128::from(n)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Transport;
    use proptest::prelude::*;
    use rand_chacha::{
        ChaCha12Rng,
        rand_core::{RngCore, SeedableRng},
    };

    fn candidate(n: u8, priority: u32, weight: u16) -> Candidate {
        Candidate {
            transport: Transport::Udp,
            address: ([192, 0, 2, n], 5060).into(),
            priority,
            weight,
        }
    }

    fn last_byte(c: &Candidate) -> u8 {
        match c.address.ip() {
            std::net::IpAddr::V4(ip) => ip.octets()[3],
            std::net::IpAddr::V6(_) => 0,
        }
    }

    /// How often each of `candidates` came first in 10,000 draws.
    fn first_of(candidates: &[Candidate]) -> [u32; 256] {
        let mut random = ChaCha12Rng::seed_from_u64(7);
        let mut first = [0; 256];
        for _ in 0..10_000 {
            let ordered = order(candidates, || random.next_u64(), |_| false);
            first[usize::from(last_byte(&ordered[0]))] += 1;
        }
        first
    }

    #[test]
    fn weights_share_the_first_place() {
        let first = first_of(&[candidate(1, 0, 10), candidate(2, 0, 60), candidate(3, 0, 30)]);
        for (n, share) in [(1, 1000), (2, 6000), (3, 3000)] {
            assert!(first[n].abs_diff(share) < 200, "{n}: {} of 10000", first[n]);
        }
    }

    #[test]
    fn weight_zero_comes_first_rarely_but_not_never() {
        let first = first_of(&[candidate(1, 0, 99), candidate(2, 0, 0)]);
        assert!((40..250).contains(&first[2]), "{}", first[2]);
    }

    #[test]
    fn without_weights_all_are_equal() {
        let first = first_of(&[candidate(1, 0, 0), candidate(2, 0, 0), candidate(3, 0, 0)]);
        for (n, share) in [(1, 3333), (2, 3333), (3, 3333)] {
            assert!(first[n].abs_diff(share) < 200, "{n}: {}", first[n]);
        }
    }

    #[test]
    fn the_failed_come_last_but_are_not_lost() {
        let all = [candidate(1, 0, 1), candidate(2, 1, 1), candidate(3, 2, 1)];
        let ordered = order(&all, || 0, |c| last_byte(c) < 3);
        assert_eq!(ordered.iter().map(last_byte).collect::<Vec<_>>(), [3, 1, 2]);
    }

    proptest! {
        #[test]
        fn every_candidate_comes_once_and_priorities_rise(
            shape in prop::collection::vec((0u32..4, any::<u16>()), 0..64),
            seed in any::<u64>(),
        ) {
            let all: Vec<_> = (0..).zip(&shape).map(|(n, &(p, w))| candidate(n, p, w)).collect();
            let mut random = ChaCha12Rng::seed_from_u64(seed);
            let ordered = order(&all, || random.next_u64(), |_| false);
            prop_assert!(ordered.is_sorted_by_key(|c| c.priority));
            let mut numbers: Vec<_> = ordered.iter().map(last_byte).collect();
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (0..all.len() as u8).collect::<Vec<_>>());
            let mut again = ChaCha12Rng::seed_from_u64(seed);
            prop_assert_eq!(order(&all, || again.next_u64(), |_| false), ordered);
        }
    }
}
