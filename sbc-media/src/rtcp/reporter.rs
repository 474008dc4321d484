//! Reports of our own, for a peer that hears none from the other side.
//!
//! In: the time, what passed in both directions, and that the other side did report. Out: when the
//! next report is due, and then a compound of SR or RR with SDES (RFC 3550 §6.1, §6.4) in the
//! caller's buffer.
//!
//! ```text
//! new ──half an interval──► due ──write──► waiting ──an interval──► due
//!                             ▲               │ heard: five intervals from then
//!                             └───────────────┘
//! ```
//!
//! Each interval is drawn between a half and one and a half times its length, as §6.2 says, so that
//! many calls that begin at once do not report at once. The division by e − 3/2 of §6.3.1 belongs to
//! the reconsideration of groups that grow, and two parties do not.

use super::{HEADER_LEN, REPORT_BLOCK_LEN, SENDER_INFO_LEN, hide::Cname, item_kind, packet_type};
use crate::time::Timestamp;
use core::time::Duration;

/// Between two reports unless configured (RFC 3550 §6.2).
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);

/// After so many intervals without a report the other side does not report any more (RFC 3550 §6.3.5: M, the
/// multiplier of the time-out of participants).
const SILENT_INTERVALS: u32 = 5;

/// Octets of an SDES with one CNAME of ours: header, SSRC, item, and nulls to the word.
const NAMES_LEN: usize = HEADER_LEN + (4 + 2 + Cname::LEN + 1).next_multiple_of(4);

/// Octets of the longest compound that [`Reporter::write`] writes.
pub const LEN_MAX: usize = HEADER_LEN + 4 + SENDER_INFO_LEN + REPORT_BLOCK_LEN + NAMES_LEN;

/// What was sent to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Source of the stream.
    pub ssrc: u32,
    /// Its media clock at the time of the report, not that of the last packet.
    pub timestamp: u32,
    /// Packets, modulo 2³².
    pub packets: u32,
    /// Payload octets, modulo 2³².
    pub octets: u32,
}

/// What was received from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Source of the stream.
    pub ssrc: u32,
    /// Highest sequence number, with the count of its wraps in the upper half.
    pub highest_sequence: u32,
    /// Packets that should have come from this source.
    pub expected: u64,
    /// Packets that did not.
    pub lost: u64,
    /// Interarrival jitter in units of the media clock.
    pub jitter: u32,
    /// Middle of the NTP time of the peer's last sender report, and when that came.
    pub last_report: Option<(u32, Timestamp)>,
}

/// When to report to one peer, and what was reported last.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// The source that reports while nothing is sent.
    ssrc: u32,
    cname: Cname,
    interval: Duration,
    due: Timestamp,
    random: u64,
    /// Source of the last report block, and what it was based on.
    reported: Option<(u32, u64, u64)>,
}

impl Reporter {
    /// The first report is due about half of `interval` after `now`. `ssrc`: our source while
    /// nothing is sent; `seed`: what the intervals are drawn with.
    pub fn new(now: Timestamp, ssrc: u32, cname: Cname, interval: Duration, seed: u64) -> Self {
        let mut reporter = Self {
            ssrc,
            cname,
            interval,
            due: now,
            random: seed,
            reported: None,
        };
        reporter.wait(now, interval / 2);
        reporter
    }

    /// The other side's own report reached the peer at `now`: ours are not needed until it has fallen silent.
    pub fn heard(&mut self, now: Timestamp) {
        self.due = now + self.interval * SILENT_INTERVALS;
    }

    /// There is nothing to report, or no place to send it to: look again when the next is due.
    pub fn skip(&mut self, now: Timestamp) {
        self.wait(now, self.interval);
    }

    /// Our source while nothing is sent is `ssrc`.
    pub fn set_ssrc(&mut self, ssrc: u32) {
        self.ssrc = ssrc;
    }

    /// Between two reports, on average.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// When the next report is due.
    pub fn due(&self) -> Timestamp {
        self.due
    }

    /// Write a report into `out` if one is due at `now`, and draw the time of the next. `ntp`: the
    /// wall clock, seconds since 1900 and their fraction. The result is the compound's length;
    /// `None`: not due, or `out` is shorter than it ([`LEN_MAX`] always suffices).
    pub fn write(
        &mut self,
        now: Timestamp,
        ntp: u64,
        sent: Option<&Sent>,
        received: Option<&Received>,
        out: &mut [u8],
    ) -> Option<usize> {
        if now < self.due {
            return None;
        }
        let blocks = usize::from(received.is_some());
        let info = if sent.is_some() { SENDER_INFO_LEN } else { 0 };
        let report_len = HEADER_LEN + 4 + info + blocks * REPORT_BLOCK_LEN;
        let out = out.get_mut(..report_len + NAMES_LEN)?;
        let ssrc = sent.map_or(self.ssrc, |sent| sent.ssrc);
        let (report, names) = out.split_at_mut(report_len);
        let kind = match sent {
            Some(_) => packet_type::SENDER_REPORT,
            None => packet_type::RECEIVER_REPORT,
        };
        let (head, rest) = report.split_at_mut(HEADER_LEN + 4);
        header(head, blocks as u8, kind, report_len, ssrc);
        let (sender, block) = rest.split_at_mut(info);
        if let Some(sent) = sent {
            sender[..8].copy_from_slice(&ntp.to_be_bytes());
            words(&mut sender[8..], [sent.timestamp, sent.packets, sent.octets]);
        }
        if let Some(received) = received {
            let (fraction, lost) = self.losses(received);
            let (middle, delay) = received
                .last_report
                .map_or((0, 0), |(middle, at)| (middle, delay(now.since(at))));
            words(
                block,
                [
                    received.ssrc,
                    u32::from(fraction) << 24 | lost & 0xff_ffff,
                    received.highest_sequence,
                    received.jitter,
                    middle,
                    delay,
                ],
            );
        }
        names.fill(0);
        let (head, item) = names.split_at_mut(HEADER_LEN + 4);
        header(head, 1, packet_type::SOURCE_DESCRIPTION, NAMES_LEN, ssrc);
        item[..2].copy_from_slice(&[item_kind::CNAME, Cname::LEN as u8]);
        item[2..2 + Cname::LEN].copy_from_slice(self.cname.text());
        self.wait(now, self.interval);
        Some(report_len + NAMES_LEN)
    }

    /// Fraction lost since the last report in 256ths, and the total, of which 24 bits are reported
    /// and 23 are used (RFC 3550 A.3).
    fn losses(&mut self, received: &Received) -> (u8, u32) {
        let (ssrc, expected, lost) = (received.ssrc, received.expected, received.lost);
        let (expected_before, lost_before) = match self.reported {
            Some((before, expected, lost)) if before == ssrc => (expected, lost),
            _ => (0, 0),
        };
        self.reported = Some((ssrc, expected, lost));
        let expected_now = expected.saturating_sub(expected_before);
        // Late packets may have made good a loss that was reported already.
        let lost_now = lost.saturating_sub(lost_before).min(expected_now);
        let fraction = (lost_now * 256).checked_div(expected_now).unwrap_or(0);
        (fraction.min(255) as u8, lost.min(0x7f_ffff) as u32)
    }

    fn wait(&mut self, now: Timestamp, interval: Duration) {
        // SplitMix64: every seed is good, and nothing secret depends on it.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let part = f64::from((z >> 32) as u32) / f64::from(u32::MAX);
        self.due = now + interval.mul_f64(0.5 + part);
    }
}

/// `time` in 65,536ths of a second.
fn delay(time: Duration) -> u32 {
    u32::try_from((time.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// A packet's header and first word.
fn header(out: &mut [u8], count: u8, kind: u8, len: usize, ssrc: u32) {
    let length = (len / 4 - 1) as u8;
    out[..4].copy_from_slice(&[0x80 | count, kind, 0, length]);
    words(&mut out[4..], [ssrc]);
}

fn words<const N: usize>(out: &mut [u8], values: [u32; N]) {
    for (octets, value) in out.chunks_exact_mut(4).zip(values) {
        octets.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::Compound;

    const CNAME: Cname = Cname::ANONYMOUS;

    fn reporter() -> Reporter {
        Reporter::new(Timestamp::ZERO, 1, CNAME, INTERVAL_DEFAULT, 7)
    }

    fn received() -> Received {
        Received {
            ssrc: 9,
            highest_sequence: 0x1_0002,
            expected: 1000,
            lost: 250,
            jitter: 12,
            last_report: Some((0x1234_5678, Timestamp::from_millis(9_500))),
        }
    }

    #[test]
    fn a_sender_reports_on_both_directions() {
        let mut out = [0xff; LEN_MAX];
        let sent = Sent {
            ssrc: 5,
            timestamp: 160,
            packets: 3,
            octets: 480,
        };
        let now = Timestamp::from_millis(10_000);
        let len = reporter().write(
            now,
            0x0102_0304_0506_0708,
            Some(&sent),
            Some(&received()),
            &mut out,
        );
        assert_eq!(len, Some(LEN_MAX));
        let compound = Compound::new_checked(&out).unwrap();
        assert!(compound.is_full());
        let packets: Vec<_> = compound.packets().collect();
        let info = packets[0].sender_info().unwrap();
        assert_eq!((packets[0].ssrc(), info.ntp), (Some(5), 0x0102_0304_0506_0708));
        assert_eq!((info.timestamp, info.packets, info.octets), (160, 3, 480));
        let block = packets[0].reports().next().unwrap();
        assert_eq!((block.ssrc(), block.fraction_lost(), block.lost()), (9, 64, 250));
        assert_eq!((block.highest_sequence(), block.jitter()), (0x1_0002, 12));
        assert_eq!((block.last_report(), block.delay()), (0x1234_5678, 0x8000));
        let chunk = packets[1].chunks().next().unwrap();
        assert_eq!((chunk.ssrc(), chunk.cname()), (5, Some(&CNAME.text()[..])));
    }

    #[test]
    fn a_receiver_and_one_who_has_heard_nothing() {
        let mut out = [0xff; LEN_MAX];
        let now = Timestamp::from_millis(10_000);
        let len = reporter()
            .write(now, 0, None, Some(&received()), &mut out)
            .unwrap();
        let packets: Vec<_> = Compound::new_checked(&out[..len]).unwrap().packets().collect();
        assert_eq!((packets[0].packet_type(), packets[0].ssrc()), (201, Some(1)));
        assert_eq!(packets[0].reports().count(), 1);
        let len = reporter().write(now, 0, None, None, &mut out).unwrap();
        let compound = Compound::new_checked(&out[..len]).unwrap();
        assert!(compound.is_full());
        assert_eq!(compound.packets().next().unwrap().reports().count(), 0);
    }

    #[test]
    fn the_fraction_is_of_the_time_since_the_last_report() {
        let mut reporter = reporter();
        let mut fraction = |received: &Received| reporter.losses(received);
        assert_eq!(fraction(&received()), (64, 250));
        let later = |expected, lost| Received {
            expected,
            lost,
            ..received()
        };
        assert_eq!(fraction(&later(1100, 250)), (0, 250));
        assert_eq!(fraction(&later(1200, 300)), (128, 300));
        assert_eq!(fraction(&later(1300, 280)), (0, 280), "some were only late");
        assert_eq!(fraction(&later(1300, 280)), (0, 280), "nothing was sent");
        assert_eq!(fraction(&later(1400, 380)), (255, 380), "everything was lost");
        let other = Received {
            ssrc: 10,
            ..later(100, 50)
        };
        assert_eq!(fraction(&other), (128, 50));
        assert_eq!(fraction(&later(1 << 40, 1 << 39)).1, 0x7f_ffff);
    }

    #[test]
    fn intervals_are_drawn_around_five_seconds_and_the_first_is_half() {
        let mut out = [0; LEN_MAX];
        let (mut shortest, mut longest, mut sum) = (u64::MAX, 0, 0);
        for seed in 0..200 {
            let mut reporter = Reporter::new(Timestamp::ZERO, 1, CNAME, INTERVAL_DEFAULT, seed);
            let first = reporter.due();
            assert!((1_250..=3_750).contains(&first.as_millis()), "{first:?}");
            assert_eq!(reporter.write(Timestamp::ZERO, 0, None, None, &mut out), None);
            assert!(reporter.write(first, 0, None, None, &mut out).is_some());
            assert_eq!(reporter.write(first, 0, None, None, &mut out), None);
            let wait = reporter.due().since(first).as_millis() as u64;
            (shortest, longest, sum) = (shortest.min(wait), longest.max(wait), sum + wait);
        }
        assert!(shortest >= 2_500 && longest <= 7_500, "{shortest} {longest}");
        assert!(longest - shortest > 4_000 && (4_700..5_300).contains(&(sum / 200)));
    }

    #[test]
    fn reports_of_the_other_side_make_ours_wait() {
        let mut reporter = reporter();
        let mut out = [0; LEN_MAX];
        for second in 1..60 {
            let now = Timestamp::from_millis(second * 1_000);
            reporter.heard(now);
            assert_eq!(reporter.write(now, 0, None, None, &mut out), None);
        }
        let silent = Timestamp::from_millis(59_000 + 25_000);
        let before = Timestamp::from_millis(59_000 + 24_999);
        assert_eq!(reporter.write(before, 0, None, None, &mut out), None);
        assert!(reporter.write(silent, 0, None, None, &mut out).is_some());
        assert!((2_500..=7_500).contains(&reporter.due().since(silent).as_millis()));
    }

    #[test]
    fn a_short_buffer_is_not_written_to() {
        let mut out = [7; LEN_MAX - 1];
        let mut reporter = reporter();
        let now = Timestamp::from_millis(10_000);
        let sent = Sent {
            ssrc: 5,
            timestamp: 0,
            packets: 0,
            octets: 0,
        };
        assert_eq!(
            reporter.write(now, 0, Some(&sent), Some(&received()), &mut out),
            None
        );
        assert_eq!(out, [7; LEN_MAX - 1]);
    }
}
