//! How often a line about peers may be written to the log.

use crate::time::Timestamp;
use std::time::Duration;

/// Least time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

/// Lets one line pass in an interval and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Sparing {
    next: Option<Timestamp>,
    left_out: u64,
}

impl Sparing {
    /// `Some`: write it, and say how many were left out before it.
    pub(crate) fn pass(&mut self, now: Timestamp) -> Option<u64> {
        if self.next.is_some_and(|next| next > now) {
            self.left_out += 1;
            return None;
        }
        self.next = Some(now + INTERVAL);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_passes_in_a_second_and_the_others_are_counted() {
        let mut sparing = Sparing::default();
        let at = Timestamp::from_millis;
        assert_eq!(sparing.pass(at(10)), Some(0));
        assert_eq!(sparing.pass(at(20)), None);
        assert_eq!(sparing.pass(at(1009)), None);
        assert_eq!(sparing.pass(at(1010)), Some(2));
        assert_eq!(sparing.pass(at(5000)), Some(0));
    }
}
