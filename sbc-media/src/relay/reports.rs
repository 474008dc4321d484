//! What RTCP does besides passing: it is read for round-trip times and for what the peer hears, and
//! rid of what names its sender; and a peer that hears none gets ours.
//!
//! In: RTCP in the clear, from an accepted source, on its way to the other side. Out: the same
//! buffer with what may pass ([`hide`]), per pair what [`Relay::stats`](super::Relay::stats)
//! shows of it, and reports of our own ([`Reporter`]) when they are due. One entry per pair, beside the
//! sockets: audio never looks here.

use super::{DropReason, MediaSocket, PairIndex, Relay, Verdict};
use crate::{
    rtcp::{
        self, Compound,
        hide::{Cname, hide},
        reporter::{LEN_MAX, Received, Reporter, Sent},
        round_trip::RoundTrip,
    },
    srtp::{MKI_LEN_MAX, OVERHEAD_MAX},
    time::Timestamp,
};
use core::time::Duration;

const _: () = assert!(LEN_MAX + OVERHEAD_MAX + MKI_LEN_MAX <= super::OWN_LEN_MAX);

/// A source that was heard within so many intervals is active (RFC 3550 §6.4: SR, not RR, if something was
/// sent since the last report or the one before).
const ACTIVE_INTERVALS: u32 = 2;

/// Reports of ours for one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReporterParams {
    /// Our source while nothing is sent to the peer; random.
    pub ssrc: u32,
    /// Time from one report to the next, on average.
    pub interval: Duration,
    /// What the intervals are drawn with; random.
    pub seed: u64,
}

/// What the last report block of a peer says about the stream that it hears.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Heard {
    /// Part of the packets lost between its last two reports, 0 to 1.
    pub loss: f64,
    /// Interarrival jitter in units of the media clock.
    pub jitter: u32,
}

/// RTCP of one pair.
#[derive(Clone, Debug)]
pub(super) struct Reports {
    /// Who the other side is, as the peer of this pair is told.
    cname: Cname,
    /// Sender reports on their way to the peer and back.
    pub(super) path: RoundTrip,
    pub(super) heard: Option<Heard>,
    /// Packets of the peer that were not let through.
    pub(super) removed: u64,
    /// Of the last sender report of the peer: its SSRC, the middle of its NTP time, and when it came.
    last_report: Option<(u32, u32, Timestamp)>,
    /// Reports of ours to the peer.
    reporter: Option<Reporter>,
    /// Media flows, so somebody may report: what passes before is not missed.
    flows: bool,
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            cname: Cname::ANONYMOUS,
            path: RoundTrip::new(),
            heard: None,
            removed: 0,
            last_report: None,
            reporter: None,
            flows: false,
        }
    }
}

impl Relay {
    /// The name under which the peer of `pair` hears of the other side in RTCP; until
    /// [`Relay::close`], and [`Cname::ANONYMOUS`] before.
    pub fn set_cname(&mut self, pair: PairIndex, cname: Cname) {
        if let Some(reports) = self.reports.get_mut(pair.0 as usize) {
            reports.cname = cname;
        }
    }

    /// Report to the peer of `pair`, from what passes through here, while the other side does not: RR, or SR while
    /// something is sent to it, and the name of [`Relay::set_cname`] (RFC 3550 §6). The first is sent when media has
    /// flowed, and the other side has not reported, for five intervals. A reporter that runs goes on, whatever
    /// `params` says. `None`: never. Ends with [`Relay::close`].
    pub fn set_reporter(&mut self, now: Timestamp, pair: PairIndex, params: Option<&ReporterParams>) {
        let Some(reports) = self.reports.get_mut(pair.0 as usize) else {
            return;
        };
        match params {
            Some(ReporterParams { ssrc, interval, seed }) => {
                let cname = reports.cname;
                let begin = || Reporter::new(now, *ssrc, cname, *interval, *seed);
                reports.reporter.get_or_insert_with(begin);
            }
            None => reports.reporter = None,
        }
        self.schedule(pair);
    }

    /// When the next report of ours to the peer of `pair` is due.
    pub(super) fn report_due(&self, pair: PairIndex) -> Option<Timestamp> {
        let reporter = self.reports.get(pair.0 as usize)?.reporter.as_ref()?;
        Some(reporter.due())
    }

    /// The other side's RTCP has left for the peer of `pair`.
    pub(super) fn reported(&mut self, now: Timestamp, pair: PairIndex) {
        let Some(reports) = self.reports.get_mut(pair.0 as usize) else {
            return;
        };
        if let Some(reporter) = &mut reports.reporter {
            reports.flows = true;
            reporter.heard(now);
            self.schedule(pair);
        }
    }

    /// Write the report that is due to the peer of `pair`. It is due later then, in any case.
    pub(super) fn report(&mut self, now: Timestamp, pair: PairIndex, buffer: &mut [u8]) -> Option<Verdict> {
        self.report_due(pair).filter(|due| *due <= now)?;
        let leaves = self.route_rtcp(pair.rtcp().0, 0).is_ok();
        let flows = self.flows(pair);
        let ssrc = self.outlet(pair).map(|outlet| outlet.splice.ssrc());
        let active = self.reports.get(pair.0 as usize)?.reporter.as_ref()?.interval() * ACTIVE_INTERVALS;
        let (sent, received) = (self.sent(now, pair, active), self.received(now, pair, active));
        let reports = self.reports.get_mut(pair.0 as usize)?;
        let reporter = reports.reporter.as_mut()?;
        if let Some(ssrc) = ssrc {
            reporter.set_ssrc(ssrc);
        }
        if !leaves || !flows {
            reporter.skip(now);
            return None;
        }
        if !core::mem::replace(&mut reports.flows, true) {
            // The other side has its turn first.
            reporter.heard(now);
            return None;
        }
        let ntp = ntp(now);
        let written = reporter.write(now, ntp, sent.as_ref(), received.as_ref(), buffer);
        let Some(len) = written else {
            reporter.skip(now);
            return None;
        };
        if sent.is_some() {
            reports.path.sent(now, rtcp::middle(ntp));
        }
        self.originated(pair, buffer, len).ok()
    }

    /// Whether media has flowed from or to the peer of `pair`: before, there is nobody to report to.
    fn flows(&self, pair: PairIndex) -> bool {
        let heard = |socket| self.socket(socket).is_some_and(|slot| slot.stream.packets() > 0);
        let partner = self.socket(pair.rtp()).map(|slot| MediaSocket(slot.partner));
        heard(pair.rtp()) || partner.is_some_and(heard) || self.outlet(pair).is_some_and(|o| o.packets > 0)
    }

    /// What is sent to the peer of `pair`, if anything was within `active`.
    fn sent(&self, now: Timestamp, pair: PairIndex, active: Duration) -> Option<Sent> {
        if let Some(outlet) = self.outlet(pair) {
            return (outlet.packets > 0 && now.since(outlet.left) <= active).then(|| Sent {
                ssrc: outlet.splice.ssrc(),
                timestamp: outlet.splice.media_clock(now),
                packets: outlet.packets,
                octets: outlet.octets,
            });
        }
        let own = self.socket(pair.rtp()).filter(|slot| slot.sending)?;
        let stream = &self.socket(MediaSocket(own.partner))?.stream;
        let last = stream.last()?;
        stream.sent_report(now).filter(|_| now.since(last) <= active)
    }

    /// What comes from the peer of `pair`, if anything did within `active`.
    fn received(&self, now: Timestamp, pair: PairIndex, active: Duration) -> Option<Received> {
        let stream = &self.socket(pair.rtp())?.stream;
        let last = stream.last()?;
        let received = stream.received_report().filter(|_| now.since(last) <= active)?;
        let report = self.reports.get(pair.0 as usize)?.last_report;
        let last_report = report
            .filter(|(ssrc, ..)| *ssrc == received.ssrc)
            .map(|(_, middle, at)| (middle, at));
        Some(Received {
            last_report,
            ..received
        })
    }

    /// RTCP of the peer of `from` was accepted at `now`: read it.
    pub(super) fn read_reports(&mut self, now: Timestamp, from: PairIndex, datagram: &[u8]) {
        let Some(reports) = self.reports.get_mut(from.0 as usize) else {
            return;
        };
        let Ok(compound) = Compound::new_checked(datagram) else {
            return;
        };
        for packet in compound.packets() {
            if let (Some(ssrc), Some(info)) = (packet.ssrc(), packet.sender_info()) {
                reports.last_report = Some((ssrc, info.middle(), now));
            }
        }
        for block in compound.packets().flat_map(|packet| packet.reports()) {
            reports.path.answered(now, block.last_report(), block.delay());
            reports.heard = Some(Heard {
                loss: f64::from(block.fraction_lost()) / 256.0,
                jitter: block.jitter(),
            });
        }
    }

    /// The same RTCP, the first `len` octets of `buffer`, leaves for the peer of `to`: remember its
    /// sender reports, and take out of it what is not for that peer. Returns its length.
    pub(super) fn hide_reports(
        &mut self,
        now: Timestamp,
        (from, to): (PairIndex, PairIndex),
        buffer: &mut [u8],
        len: usize,
    ) -> Result<usize, DropReason> {
        let reports = self.reports.get_mut(to.0 as usize);
        let reports = reports.ok_or(DropReason::NoDestination)?;
        let hidden = hide(buffer, len, &reports.cname).map_err(|_| DropReason::Malformed)?;
        let left = buffer.get(..hidden.len).unwrap_or_default();
        if let Ok(compound) = Compound::new_checked(left) {
            for info in compound.packets().filter_map(|packet| packet.sender_info()) {
                reports.path.sent(now, info.middle());
            }
        }
        if let Some(reports) = self.reports.get_mut(from.0 as usize) {
            reports.removed += u64::from(hidden.removed);
        }
        if hidden.len == 0 {
            return Err(DropReason::Format);
        }
        Ok(hidden.len)
    }
}

/// The NTP time of a report of ours: seconds and their 2³²nds since the start of our clock. Whoever has no notion of
/// the time of day may count from anywhere (RFC 3550 §4), and the peer only gives it back.
fn ntp(now: Timestamp) -> u64 {
    let nanos = u128::from(now.as_nanos());
    ((nanos << 32) / 1_000_000_000) as u64
}
