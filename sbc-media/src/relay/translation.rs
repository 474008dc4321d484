//! What a peer says in RTCP, in the names and numbers that the other one knows.
//!
//! In: RTCP in the clear of one peer, on its way to the other. Where an outlet renumbers a stream, both its receiver,
//! which reports on what it hears, and its source, which reports on what it sends, mean something else than the
//! other knows (RFC 3550 §7.2). Out: the same octets, translated.
//!
//! Of a report block the SSRC and the highest sequence number become those of the source that is
//! relayed. Losses stay as they are: their part of an interval is what it was, and the total counts from the
//! beginning of the outlet, of which the source reads differences.

use super::{DropReason, PairIndex, Relay, outlet::Outlet};
use crate::{
    rtcp::{
        Compound, SenderInfo,
        translate::{Streams, translate},
    },
    time::Timestamp,
};

/// What is known of both directions.
struct Names<'a> {
    now: Timestamp,
    /// The stream that the writer hears from us.
    heard: Option<&'a Outlet>,
    /// Source of that stream, and its highest number as it came.
    source: Option<(u32, u32)>,
    /// The stream as which the reader knows the writer's.
    spoken: Option<&'a Outlet>,
    /// SSRC of the writer.
    writer: Option<u32>,
}

impl Names<'_> {
    fn is_heard(&self, ssrc: u32) -> Option<&Outlet> {
        self.heard.filter(|outlet| outlet.splice.ssrc() == ssrc)
    }

    /// The outlet as whose sender the reader knows `ssrc`.
    fn is_spoken(&self, ssrc: u32) -> Option<&Outlet> {
        let is_writer = self.writer == Some(ssrc);
        self.spoken
            .filter(|outlet| is_writer || outlet.splice.knows(ssrc))
    }
}

impl Streams for Names<'_> {
    fn ssrc(&mut self, ssrc: u32) -> u32 {
        if let Some(outlet) = self.is_heard(ssrc) {
            return outlet.splice.source().unwrap_or(ssrc);
        }
        self.is_spoken(ssrc).map_or(ssrc, |outlet| outlet.splice.ssrc())
    }

    fn sender_info(&mut self, ssrc: u32, info: SenderInfo) -> SenderInfo {
        let Some(outlet) = self.is_spoken(ssrc) else {
            return info;
        };
        // Of a source that does not leave now, the report at least tells what time it is.
        let timestamp = outlet.splice.timestamp_of(ssrc, info.timestamp);
        SenderInfo {
            timestamp: timestamp.unwrap_or_else(|| outlet.splice.media_clock(self.now)),
            packets: outlet.packets,
            octets: outlet.octets,
            ..info
        }
    }

    fn sequence(&mut self, ssrc: u32, sequence: u16) -> u16 {
        let outlet = self.is_heard(ssrc);
        outlet.map_or(sequence, |outlet| outlet.splice.source_sequence(sequence))
    }

    fn highest_sequence(&mut self, ssrc: u32, highest: u32) -> u32 {
        let Some(outlet) = self.is_heard(ssrc) else {
            return highest;
        };
        if let (Some(_), Some((_, highest))) = (&outlet.repacketizer, self.source) {
            // Packets of another length have no number in the source's count.
            return highest;
        }
        let sequence = outlet.splice.source_sequence(highest as u16);
        match self.source {
            // Its wraps are those that we have counted.
            Some((source, highest)) if outlet.splice.source() == Some(source) => {
                let behind = (highest as u16).wrapping_sub(sequence) as i16;
                highest.wrapping_sub(i32::from(behind) as u32)
            }
            _ => sequence.into(),
        }
    }

    fn leaves(&mut self, ssrc: u32) -> bool {
        // The stream goes on, whoever sends it: that the call is over, SIP says.
        self.is_spoken(ssrc).is_none() && self.is_heard(ssrc).is_none()
    }
}

impl Relay {
    /// Translate the RTCP of the peer of the first pair for that of the second.
    pub(super) fn translate_reports(
        &self,
        now: Timestamp,
        (from, to): (PairIndex, PairIndex),
        datagram: &mut [u8],
    ) -> Result<(), DropReason> {
        let (heard, spoken) = (self.outlet(from), self.outlet(to));
        if heard.is_none() && spoken.is_none() {
            return Ok(());
        }
        let compound = Compound::new_checked(datagram).map_err(|_| DropReason::Malformed)?;
        let writer = compound.packets().find_map(|packet| packet.ssrc());
        let stream = self.socket(to.rtp()).map(|slot| &slot.stream);
        let source = stream.and_then(|stream| stream.received_report());
        let names = Names {
            now,
            heard,
            source: source.map(|source| (source.ssrc, source.highest_sequence)),
            spoken,
            writer,
        };
        translate(datagram, names).map_err(|_| DropReason::Malformed)
    }
}
