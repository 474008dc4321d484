//! Blocks of extended reports (RFC 3611 §3 and §4).

use crate::rtp::{be16, be32};

/// Types of the blocks that RFC 3611 defines.
pub mod xr_block {
    /// Which packets were lost, run-length encoded (§4.1).
    pub const LOSS: u8 = 1;
    /// Which packets came twice (§4.2).
    pub const DUPLICATES: u8 = 2;
    /// When packets came (§4.3).
    pub const RECEIPT_TIMES: u8 = 3;
    /// The reporter's clock, for receivers that send nothing (§4.4).
    pub const REFERENCE_TIME: u8 = 4;
    /// The answer to that (§4.5).
    pub const DELAY: u8 = 5;
    /// Statistics over a range of packets (§4.6).
    pub const SUMMARY: u8 = 6;
    /// Quality of a telephone call (§4.7).
    pub const VOIP_METRICS: u8 = 7;
}

pub(super) const BLOCK_HEADER_LEN: usize = 4;

/// One block of an extended report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XrBlock<'a> {
    bytes: &'a [u8],
}

impl<'a> XrBlock<'a> {
    /// Its type, see [`xr_block`].
    pub fn kind(&self) -> u8 {
        self.bytes[0]
    }

    /// The octet that means something else in each type.
    pub fn specific(&self) -> u8 {
        self.bytes[1]
    }

    /// What follows the block's header of four octets.
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(BLOCK_HEADER_LEN..).unwrap_or_default()
    }

    /// Octets of the whole block.
    pub(super) fn octets(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it is of a type of RFC 3611, and as long as that type is.
    pub fn is_known(&self) -> bool {
        let words = self.body().len() / 4;
        match self.kind() {
            xr_block::LOSS | xr_block::DUPLICATES | xr_block::RECEIPT_TIMES => words >= 2,
            xr_block::REFERENCE_TIME => words == 2,
            xr_block::DELAY => words.is_multiple_of(3),
            xr_block::SUMMARY => words == 9,
            xr_block::VOIP_METRICS => words == 8,
            _ => false,
        }
    }

    /// Its metrics, when it is a block of those and of their length.
    pub fn voip_metrics(&self) -> Option<VoipMetrics> {
        let body: &[u8; 32] = self.body().try_into().ok()?;
        if self.kind() != xr_block::VOIP_METRICS {
            return None;
        }
        let known = |octet: u8| (octet != 127).then_some(octet);
        let level = |octet: u8| known(octet).map(u8::cast_signed);
        Some(VoipMetrics {
            ssrc: be32(body),
            loss: fraction(body[4]),
            discard: fraction(body[5]),
            burst_density: fraction(body[6]),
            gap_density: fraction(body[7]),
            burst_ms: be16(&body[8..]),
            gap_ms: be16(&body[10..]),
            round_trip_ms: be16(&body[12..]),
            end_system_ms: be16(&body[14..]),
            signal_dbm: level(body[16]),
            noise_dbm: level(body[17]),
            echo_return_loss_db: known(body[18]),
            gap_min: body[19],
            r_factor: known(body[20]),
            mos_listening: known(body[22]).map(tenths),
            mos_conversational: known(body[23]).map(tenths),
            buffer_ms: be16(&body[26..]),
            buffer_max_ms: be16(&body[28..]),
            buffer_limit_ms: be16(&body[30..]),
        })
    }
}

/// How a telephone rates what it receives (RFC 3611 §4.7). `None`: it does not know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VoipMetrics {
    /// The source rated.
    pub ssrc: u32,
    /// Lost packets, as a part of all, 0 to 1.
    pub loss: f64,
    /// Packets that came too early or too late to be played, as a part of all.
    pub discard: f64,
    /// The same two together, within bursts.
    pub burst_density: f64,
    /// The same, outside of bursts.
    pub gap_density: f64,
    /// Mean length of a burst in milliseconds.
    pub burst_ms: u16,
    /// Mean time between bursts in milliseconds.
    pub gap_ms: u16,
    /// Latest round-trip time between the RTP end points in milliseconds; 0: not known.
    pub round_trip_ms: u16,
    /// Delay within the end system in milliseconds.
    pub end_system_ms: u16,
    /// Level of speech in dBm0.
    pub signal_dbm: Option<i8>,
    /// Level of silence in dBm0.
    pub noise_dbm: Option<i8>,
    /// Residual echo return loss in dB.
    pub echo_return_loss_db: Option<u8>,
    /// Good packets that end a burst.
    pub gap_min: u8,
    /// Conversational quality, 0 to 100.
    pub r_factor: Option<u8>,
    /// Listening quality, 1 to 5.
    pub mos_listening: Option<f64>,
    /// Conversational quality, 1 to 5.
    pub mos_conversational: Option<f64>,
    /// Nominal delay of the jitter buffer in milliseconds.
    pub buffer_ms: u16,
    /// Its present maximum.
    pub buffer_max_ms: u16,
    /// The largest that it could become.
    pub buffer_limit_ms: u16,
}

fn fraction(octet: u8) -> f64 {
    f64::from(octet) / 256.0
}

fn tenths(octet: u8) -> f64 {
    f64::from(octet) / 10.0
}

/// The whole blocks at the start of `rest`.
pub(super) fn blocks(mut rest: &[u8]) -> impl Iterator<Item = XrBlock<'_>> {
    core::iter::from_fn(move || {
        let words = be16(rest.get(2..BLOCK_HEADER_LEN)?);
        let (bytes, after) = rest.split_at_checked(BLOCK_HEADER_LEN + 4 * usize::from(words))?;
        rest = after;
        Some(XrBlock { bytes })
    })
}

#[cfg(test)]
mod tests {
    use crate::rtcp::Compound;

    /// A report with a block of an unknown type of one word, and then the metrics.
    fn report() -> Vec<u8> {
        let mut bytes = vec![0x80, 207, 0, 12, 0, 0, 0, 1, 99, 7, 0, 1, 1, 2, 3, 4, 7, 0, 0, 8];
        bytes.extend([0, 0, 0, 9, 64, 32, 128, 2, 0, 200, 3, 232, 0, 40, 0, 90]);
        bytes.extend([236, 127, 127, 16, 87, 127, 41, 127, 0x30, 0, 0, 60, 0, 80, 1, 0]);
        bytes
    }

    #[test]
    fn reads_the_metrics_of_a_telephone() {
        let bytes = report();
        let packet = Compound::new_checked(&bytes).unwrap().packets().next().unwrap();
        let blocks: Vec<_> = packet.xr_blocks().collect();
        assert_eq!((blocks.len(), blocks[0].kind(), blocks[0].specific()), (2, 99, 7));
        assert_eq!(
            (blocks[0].body(), blocks[0].voip_metrics()),
            (&[1, 2, 3, 4][..], None)
        );
        assert_eq!((blocks[0].is_known(), blocks[1].is_known()), (false, true));
        let metrics = blocks[1].voip_metrics().unwrap();
        assert_eq!(metrics.ssrc, 9);
        assert_eq!((metrics.loss, metrics.discard), (0.25, 0.125));
        assert_eq!((metrics.burst_density, metrics.gap_density), (0.5, 2.0 / 256.0));
        assert_eq!((metrics.burst_ms, metrics.gap_ms), (200, 1000));
        assert_eq!((metrics.round_trip_ms, metrics.end_system_ms), (40, 90));
        assert_eq!((metrics.signal_dbm, metrics.noise_dbm), (Some(-20), None));
        assert_eq!((metrics.echo_return_loss_db, metrics.gap_min), (None, 16));
        assert_eq!((metrics.r_factor, metrics.mos_listening), (Some(87), Some(4.1)));
        assert_eq!(metrics.mos_conversational, None);
        assert_eq!(
            (metrics.buffer_ms, metrics.buffer_max_ms, metrics.buffer_limit_ms),
            (60, 80, 256)
        );
    }

    #[test]
    fn a_block_longer_than_the_report_is_not_read() {
        let mut bytes = report();
        bytes[19] = 9;
        let packet = Compound::new_checked(&bytes).unwrap().packets().next().unwrap();
        assert_eq!(packet.xr_blocks().count(), 1);
        bytes[11] = 200;
        let packet = Compound::new_checked(&bytes).unwrap().packets().next().unwrap();
        assert_eq!(packet.xr_blocks().count(), 0);
    }
}
