//! Addresses that failed lately: for a while they are tried after all others (RFC 3263 §4.3).

use crate::{time::Timestamp, transport::Transport};
use ahash::RandomState;
use std::{collections::HashMap, net::SocketAddr, time::Duration};

/// How long a failure counts when the peer has not said.
pub(crate) const SETBACK: Duration = Duration::from_secs(30);
/// A peer that asks for more in Retry-After is asked again after this.
const SETBACK_MAX: Duration = Duration::from_secs(3600);
/// Most addresses remembered; beyond, the one that would be forgotten first is.
const SETBACKS_MAX: usize = 4096;

/// Which addresses failed, and until when that counts.
#[derive(Debug)]
pub(crate) struct Setbacks {
    until: HashMap<(Transport, SocketAddr), Timestamp, RandomState>,
}

impl Default for Setbacks {
    fn default() -> Self {
        Self {
            // A fixed seed is safe: the addresses are ours to choose, from the configuration and DNS.
            until: HashMap::with_hasher(RandomState::with_seeds(0x73, 0x65, 0x74, 0x62)),
        }
    }
}

impl Setbacks {
    /// `address` timed out, refused a connection, or answered 503, with Retry-After or without.
    pub(crate) fn mark(
        &mut self,
        now: Timestamp,
        transport: Transport,
        address: SocketAddr,
        retry_after: Option<Duration>,
    ) {
        if self.until.len() >= SETBACKS_MAX {
            self.until.retain(|_, until| *until > now);
        }
        if self.until.len() >= SETBACKS_MAX
            && let Some(soonest) = self
                .until
                .iter()
                .min_by_key(|(_, until)| **until)
                .map(|(k, _)| *k)
        {
            self.until.remove(&soonest);
        }
        let until = now + retry_after.unwrap_or(SETBACK).min(SETBACK_MAX);
        let known = self.until.entry((transport, address)).or_insert(until);
        *known = until.max(*known);
    }

    /// `address` has served a request: earlier failures are forgotten.
    pub(crate) fn clear(&mut self, transport: Transport, address: SocketAddr) {
        if !self.until.is_empty() {
            self.until.remove(&(transport, address));
        }
    }

    /// Whether `address` failed lately.
    pub(crate) fn contains(&self, now: Timestamp, transport: Transport, address: SocketAddr) -> bool {
        !self.until.is_empty()
            && self
                .until
                .get(&(transport, address))
                .is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UDP: Transport = Transport::Udp;

    fn at(n: u32) -> SocketAddr {
        (n.to_be_bytes(), 5060).into()
    }

    fn s(n: u64) -> Timestamp {
        Timestamp::from_millis(n * 1000)
    }

    #[test]
    fn a_failure_counts_for_half_a_minute_or_as_long_as_the_peer_says() {
        let mut setbacks = Setbacks::default();
        setbacks.mark(s(0), UDP, at(1), None);
        setbacks.mark(s(0), UDP, at(2), Some(Duration::from_secs(120)));
        setbacks.mark(s(0), UDP, at(3), Some(Duration::MAX));
        assert!(!setbacks.contains(s(0), Transport::Tcp, at(1)));
        assert_eq!(
            [29, 31].map(|t| setbacks.contains(s(t), UDP, at(1))),
            [true, false]
        );
        assert_eq!(
            [119, 121].map(|t| setbacks.contains(s(t), UDP, at(2))),
            [true, false]
        );
        assert_eq!(
            [3599, 3601].map(|t| setbacks.contains(s(t), UDP, at(3))),
            [true, false]
        );
    }

    #[test]
    fn a_later_short_failure_does_not_shorten_a_long_one() {
        let mut setbacks = Setbacks::default();
        setbacks.mark(s(0), UDP, at(1), Some(Duration::from_secs(300)));
        setbacks.mark(s(1), UDP, at(1), None);
        assert!(setbacks.contains(s(200), UDP, at(1)));
        setbacks.clear(UDP, at(1));
        assert!(!setbacks.contains(s(1), UDP, at(1)));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut setbacks = Setbacks::default();
        for n in 0..2 * SETBACKS_MAX as u32 {
            setbacks.mark(s(u64::from(n) / 1000), UDP, at(n), None);
            assert!(setbacks.contains(s(u64::from(n) / 1000), UDP, at(n)));
        }
        assert_eq!(setbacks.until.len(), SETBACKS_MAX);
    }
}
