//! Whether losses come alone or together (RFC 3611 §4.7.2).
//!
//! In: runs of lost packets by their place in the stream, in order. Out: how many packets were lost
//! within bursts and outside of them, and how long the bursts were. Packets that arrived are not
//! looked at: they are what lies between two losses.

/// So many packets received in a row end a burst (RFC 3611 §4.7.2 recommends 16).
pub const GAP_MIN: u64 = 16;

/// Losses by their company.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bursts {
    /// First place of the group of losses that may still grow; meaningless while `losses` is 0.
    first: u64,
    /// The place after its last loss.
    end: u64,
    /// Its losses.
    losses: u64,
    /// Groups of more than one loss.
    bursts: u64,
    burst_losses: u64,
    /// Packets of those groups, lost or not.
    burst_packets: u64,
    /// Losses that stand alone.
    single: u64,
    /// Losses without a packet received between them, counted once.
    runs: u64,
}

impl Bursts {
    /// `count` packets from `place` on are lost. Places never go back.
    pub(super) fn lost(&mut self, place: u64, count: u64) {
        if count == 0 {
            return;
        }
        let between = place.saturating_sub(self.end);
        if self.losses > 0 && between >= GAP_MIN {
            self.close();
        }
        if self.losses == 0 {
            self.first = place;
        }
        self.runs += u64::from(self.losses == 0 || between > 0);
        self.losses += count;
        self.end = place + count;
    }

    /// What follows belongs to another group, whatever lies between.
    pub(super) fn close(&mut self) {
        match core::mem::take(&mut self.losses) {
            0 => {}
            1 => self.single += 1,
            losses => {
                self.bursts += 1;
                self.burst_losses += losses;
                self.burst_packets += self.end - self.first;
            }
        }
    }

    /// What is known when `expected` packets should have come, each `packet_ms` after the other.
    pub(super) fn summary(mut self, expected: u64, packet_ms: f64) -> BurstLoss {
        self.close();
        let part = |of: u64, all: u64| if all == 0 { 0.0 } else { of as f64 / all as f64 };
        let lost = self.burst_losses + self.single;
        let lost_part = part(lost, expected);
        BurstLoss {
            bursts: self.bursts,
            burst_density: part(self.burst_losses, self.burst_packets),
            burst_ms: part(self.burst_packets, self.bursts) * packet_ms,
            gap_density: part(self.single, expected.saturating_sub(self.burst_packets)),
            // Runs of independent losses have a mean length of 1 / (1 − p).
            ratio: (lost > 0).then(|| (part(lost, self.runs) * (1.0 - lost_part)).max(1.0)),
        }
    }
}

/// How losses were spread. A packet counts as lost here when it has not arrived while 63 later
/// ones were due.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BurstLoss {
    /// Bursts: from a lost packet to another, with fewer than [`GAP_MIN`] received in a row between
    /// any two losses.
    pub bursts: u64,
    /// Part of the packets within bursts that was lost, 0 to 1.
    pub burst_density: f64,
    /// Mean length of a burst in milliseconds.
    pub burst_ms: f64,
    /// Part of the packets outside of bursts that was lost.
    pub gap_density: f64,
    /// Mean number of packets lost in a row, by that of independent losses of the same share: the
    /// BurstR of ITU-T G.107, at least 1. `None`: nothing was lost.
    pub ratio: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(losses: &[u64]) -> Bursts {
        let mut bursts = Bursts::default();
        losses.iter().for_each(|&place| bursts.lost(place, 1));
        bursts
    }

    #[test]
    fn losses_far_apart_are_no_burst() {
        let loss = of(&[100, 117, 134, 200]).summary(1000, 20.0);
        assert_eq!((loss.bursts, loss.burst_density, loss.burst_ms), (0, 0.0, 0.0));
        assert_eq!((loss.gap_density, loss.ratio), (0.004, Some(1.0)));
    }

    #[test]
    fn fifteen_good_packets_do_not_end_a_burst_and_sixteen_do() {
        assert_eq!(of(&[100, 116]).summary(1000, 20.0).bursts, 1);
        assert_eq!(of(&[100, 117]).summary(1000, 20.0).bursts, 0);
    }

    /// 10 lost of 1,000: a burst of 20 packets with 8 lost in runs of 5 and 3, one of 4 places with
    /// 2 lost, and two alone would be 12; here the singles are 500 and 600.
    #[test]
    fn figures_of_a_stream_with_two_bursts() {
        let mut bursts = Bursts::default();
        bursts.lost(100, 5);
        bursts.lost(117, 3);
        bursts.lost(500, 1);
        bursts.lost(600, 1);
        bursts.lost(700, 1);
        bursts.lost(703, 1);
        let loss = bursts.summary(1000, 30.0);
        assert_eq!(loss.bursts, 2);
        assert_eq!(loss.burst_density, 10.0 / 24.0);
        assert_eq!(loss.burst_ms, 12.0 * 30.0);
        assert_eq!(loss.gap_density, 2.0 / 976.0);
        // Six runs of 12 losses: twice as long as the length of 1, times 0.988.
        assert_eq!(loss.ratio, Some(2.0 * (1.0 - 0.012)));
    }

    #[test]
    fn a_run_that_is_told_in_parts_is_one() {
        let mut bursts = Bursts::default();
        bursts.lost(10, 3);
        bursts.lost(13, 2);
        assert_eq!((bursts.runs, bursts.losses), (1, 5));
        bursts.lost(15, 0);
        assert_eq!((bursts.runs, bursts.losses), (1, 5));
    }

    #[test]
    fn nothing_lost_and_everything_lost() {
        assert_eq!(Bursts::default().summary(0, 20.0), BurstLoss::default());
        let mut bursts = Bursts::default();
        bursts.lost(0, 50);
        let loss = bursts.summary(50, 20.0);
        assert_eq!((loss.burst_density, loss.gap_density), (1.0, 0.0));
        assert_eq!((loss.burst_ms, loss.ratio), (1000.0, Some(1.0)));
    }
}
