//! What RTCP does besides passing: it is read for round-trip times and for what the peer hears, and
//! rid of what names its sender.
//!
//! In: RTCP in the clear, from an accepted source, on its way to the other side. Out: the same
//! buffer with what may pass ([`hide`]), and per pair what [`Relay::stats`](super::Relay::stats)
//! shows of it. One entry per pair, beside the sockets: audio never looks here.

use super::{DropReason, PairIndex, Relay};
use crate::{
    rtcp::{
        Compound,
        hide::{Cname, hide},
        round_trip::RoundTrip,
    },
    time::Timestamp,
};

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
}

impl Default for Reports {
    fn default() -> Self {
        Self {
            cname: Cname::ANONYMOUS,
            path: RoundTrip::new(),
            heard: None,
            removed: 0,
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

    /// RTCP of the peer of `from` was accepted at `now`: read it.
    pub(super) fn read_reports(&mut self, now: Timestamp, from: PairIndex, datagram: &[u8]) {
        let Some(reports) = self.reports.get_mut(from.0 as usize) else {
            return;
        };
        let Ok(compound) = Compound::new_checked(datagram) else {
            return;
        };
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
