//! Views of RTCP packets (RFC 3550 §6) and the telling apart of what shares a media port.
//!
//! In: one UDP payload. Out: [`Kind`], and for RTCP the packets of the compound, each proved to be
//! as long as its own fields claim.

use crate::rtp::{Malformed, be16, be32};

/// What a datagram on a media port is, by its first two octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RTP.
    Rtp,
    /// RTCP.
    Rtcp,
    /// STUN, DTLS, TURN channels, ZRTP, keepalives, noise: nothing that this relay carries.
    Other,
}

impl Kind {
    /// RFC 7983 §7 by the first octet (128–191 is RTP or RTCP, which is also "version 2"), then
    /// RFC 5761 §4 by the second: 192–223 is RTCP, because RTP avoids payload types 64–95.
    #[inline]
    pub fn of(datagram: &[u8]) -> Self {
        match datagram {
            [128..=191, 192..=223, ..] => Self::Rtcp,
            [128..=191, _, ..] => Self::Rtp,
            _ => Self::Other,
        }
    }
}

/// Packet types that the relay knows the layout of; others are carried by length only.
pub mod packet_type {
    /// Sender report.
    pub const SENDER_REPORT: u8 = 200;
    /// Receiver report.
    pub const RECEIVER_REPORT: u8 = 201;
    /// Source description.
    pub const SOURCE_DESCRIPTION: u8 = 202;
    /// Goodbye.
    pub const BYE: u8 = 203;
    /// Application-defined.
    pub const APPLICATION: u8 = 204;
    /// Transport-layer feedback (RFC 4585).
    pub const TRANSPORT_FEEDBACK: u8 = 205;
    /// Payload-specific feedback (RFC 4585).
    pub const PAYLOAD_FEEDBACK: u8 = 206;
    /// Extended report (RFC 3611).
    pub const EXTENDED_REPORT: u8 = 207;
}

const HEADER_LEN: usize = 4;
const REPORT_BLOCK_LEN: usize = 24;
const SENDER_INFO_LEN: usize = 20;

/// A checked compound (or, RFC 5506, reduced-size) RTCP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Compound<'a> {
    bytes: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Check that packets fill the datagram exactly, that each is version 2 and long enough for
    /// what its count field promises, and that only the last carries padding.
    pub fn new_checked(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = bytes;
        loop {
            let (packet, after) = Packet::split_checked(rest)?;
            if after.is_empty() {
                return Ok(Self { bytes });
            }
            if packet.has_padding() {
                return Err(Malformed::Padding);
            }
            rest = after;
        }
    }

    /// The packets in order.
    pub fn packets(&self) -> impl Iterator<Item = Packet<'a>> + use<'a> {
        let mut rest = self.bytes;
        core::iter::from_fn(move || {
            let (packet, after) = Packet::split_checked(rest).ok()?;
            rest = after;
            Some(packet)
        })
    }
}

/// One RTCP packet of a compound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    fn split_checked(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let header = bytes.get(..HEADER_LEN).ok_or(Malformed::Truncated)?;
        if header[0] >> 6 != 2 {
            return Err(Malformed::Version);
        }
        if !matches!(header[1], 192..=223) {
            return Err(Malformed::PacketType);
        }
        let len = HEADER_LEN + 4 * usize::from(be16(&header[2..]));
        let (bytes, after) = bytes.split_at_checked(len).ok_or(Malformed::Truncated)?;
        let packet = Self { bytes };
        packet.check_body()?;
        Ok((packet, after))
    }

    fn check_body(&self) -> Result<(), Malformed> {
        let mut body = &self.bytes[HEADER_LEN..];
        if self.has_padding() {
            let padding = usize::from(self.bytes[self.bytes.len() - 1]);
            if padding == 0 || padding % 4 != 0 || padding > body.len() {
                return Err(Malformed::Padding);
            }
            body = &body[..body.len() - padding];
        }
        let count = usize::from(self.count());
        let least = match self.packet_type() {
            packet_type::SENDER_REPORT => 4 + SENDER_INFO_LEN + count * REPORT_BLOCK_LEN,
            packet_type::RECEIVER_REPORT => 4 + count * REPORT_BLOCK_LEN,
            packet_type::SOURCE_DESCRIPTION => return check_chunks(body, count),
            packet_type::BYE => return check_bye(body, count),
            packet_type::APPLICATION => 8,
            packet_type::TRANSPORT_FEEDBACK | packet_type::PAYLOAD_FEEDBACK => 8,
            packet_type::EXTENDED_REPORT => 4,
            _ => 0,
        };
        if body.len() < least {
            Err(Malformed::Truncated)
        } else {
            Ok(())
        }
    }

    /// The packet type, see [`packet_type`].
    pub fn packet_type(&self) -> u8 {
        self.bytes[1]
    }

    /// Report blocks, chunks or sources in the packet; a subtype for some packet types.
    pub fn count(&self) -> u8 {
        self.bytes[0] & 0x1f
    }

    /// The sender's SSRC: the first word of every type but SDES and an empty BYE.
    pub fn ssrc(&self) -> Option<u32> {
        let word = self.bytes.get(HEADER_LEN..HEADER_LEN + 4)?;
        match self.packet_type() {
            packet_type::SOURCE_DESCRIPTION => None,
            packet_type::BYE if self.count() == 0 => None,
            _ => Some(be32(word)),
        }
    }

    /// Report blocks of an SR or RR.
    pub fn reports(&self) -> impl Iterator<Item = ReportBlock<'a>> + use<'a> {
        let start = match self.packet_type() {
            packet_type::SENDER_REPORT => HEADER_LEN + 4 + SENDER_INFO_LEN,
            packet_type::RECEIVER_REPORT => HEADER_LEN + 4,
            _ => self.bytes.len(),
        };
        let blocks = self.bytes.get(start..).unwrap_or_default();
        blocks
            .chunks_exact(REPORT_BLOCK_LEN)
            .take(usize::from(self.count()))
            .map(|bytes| ReportBlock { bytes })
    }

    fn has_padding(&self) -> bool {
        self.bytes[0] & 0x20 != 0
    }
}

/// One report block of an SR or RR (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReportBlock<'a> {
    bytes: &'a [u8],
}

impl ReportBlock<'_> {
    /// The source that the report is about.
    pub fn ssrc(&self) -> u32 {
        be32(self.bytes)
    }

    /// Loss since the last report, in 256ths.
    pub fn fraction_lost(&self) -> u8 {
        self.bytes[4]
    }

    /// Packets lost since the beginning; negative when duplicates outnumber losses.
    pub fn lost(&self) -> i32 {
        // 24 bits, signed: shift the sign into place and back.
        i32::from_be_bytes([self.bytes[5], self.bytes[6], self.bytes[7], 0]) >> 8
    }

    /// Highest sequence number received, cycles in the upper half.
    pub fn highest_sequence(&self) -> u32 {
        be32(&self.bytes[8..])
    }

    /// Interarrival jitter in units of the media clock.
    pub fn jitter(&self) -> u32 {
        be32(&self.bytes[12..])
    }
}

/// SDES: each chunk is an SSRC, items of type-length-text, a null octet and padding to a word.
fn check_chunks(mut body: &[u8], count: usize) -> Result<(), Malformed> {
    for _ in 0..count {
        let mut at = 4;
        loop {
            match body.get(at) {
                None => return Err(Malformed::Truncated),
                Some(0) => break,
                Some(_) => at += 2 + usize::from(*body.get(at + 1).ok_or(Malformed::Truncated)?),
            }
        }
        // At least one null octet ends the chunk, which then fills its last word.
        let end = (at + 1).next_multiple_of(4);
        body = body.get(end..).ok_or(Malformed::Truncated)?;
    }
    Ok(())
}

/// BYE: sources, then optionally a length and a text.
fn check_bye(body: &[u8], count: usize) -> Result<(), Malformed> {
    let reason = body.get(4 * count..).ok_or(Malformed::Truncated)?;
    match reason.split_first() {
        Some((&len, text)) if text.len() < usize::from(len) => Err(Malformed::Truncated),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender_report() -> Vec<u8> {
        let mut bytes = vec![0x81, 200, 0, 12, 0, 0, 0, 7];
        bytes.extend([0; SENDER_INFO_LEN]);
        bytes.extend([
            0, 0, 0, 9, 64, 0xff, 0xff, 0xfe, 0, 1, 0, 2, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0,
        ]);
        bytes
    }

    fn description() -> Vec<u8> {
        vec![0x81, 202, 0, 3, 0, 0, 0, 7, 1, 4, b'n', b'a', b'm', b'e', 0, 0]
    }

    #[test]
    fn walks_a_compound() {
        let bytes = [sender_report(), description(), vec![0x81, 203, 0, 1, 0, 0, 0, 7]].concat();
        let compound = Compound::new_checked(&bytes).unwrap();
        let packets: Vec<_> = compound.packets().collect();
        assert_eq!(
            packets.iter().map(Packet::packet_type).collect::<Vec<_>>(),
            [200, 202, 203]
        );
        assert_eq!(
            packets.iter().map(Packet::ssrc).collect::<Vec<_>>(),
            [Some(7), None, Some(7)]
        );
        let report = packets[0].reports().next().unwrap();
        assert_eq!(
            (report.ssrc(), report.fraction_lost(), report.lost()),
            (9, 64, -2)
        );
        assert_eq!((report.highest_sequence(), report.jitter()), (0x1_0002, 5));
        assert_eq!(packets[1].reports().count(), 0);
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = [sender_report(), description()].concat();
        for len in 0..bytes.len() {
            let whole_packet = len == sender_report().len();
            assert_eq!(
                Compound::new_checked(&bytes[..len]).is_ok(),
                whole_packet,
                "{len} octets"
            );
        }
    }

    #[test]
    fn counts_that_promise_too_much_are_refused() {
        let mut report = sender_report();
        report[0] = 0x82;
        assert_eq!(Compound::new_checked(&report).unwrap_err(), Malformed::Truncated);
        let mut chunks = description();
        chunks[0] = 0x82;
        assert_eq!(Compound::new_checked(&chunks).unwrap_err(), Malformed::Truncated);
        let mut item = description();
        item[9] = 200;
        assert_eq!(Compound::new_checked(&item).unwrap_err(), Malformed::Truncated);
        assert_eq!(
            Compound::new_checked(&[0x82, 203, 0, 1, 0, 0, 0, 7]).unwrap_err(),
            Malformed::Truncated
        );
        let reason = [0x81, 203, 0, 2, 0, 0, 0, 7, 4, b'x', b'y', b'z'];
        assert_eq!(Compound::new_checked(&reason).unwrap_err(), Malformed::Truncated);
    }

    #[test]
    fn padding_only_in_the_last_packet() {
        let padded = [0xa0, 201, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4];
        assert!(Compound::new_checked(&padded).is_ok());
        let inside = [&padded[..], &description()].concat();
        assert_eq!(Compound::new_checked(&inside).unwrap_err(), Malformed::Padding);
        let mut wrong = padded;
        wrong[11] = 3;
        assert_eq!(Compound::new_checked(&wrong).unwrap_err(), Malformed::Padding);
    }

    #[test]
    fn kinds_by_the_first_two_octets() {
        assert_eq!(Kind::of(&[0x80, 0]), Kind::Rtp);
        assert_eq!(Kind::of(&[0x80, 0x80 | 8]), Kind::Rtp);
        assert_eq!(Kind::of(&[0x80, 191]), Kind::Rtp);
        assert_eq!(Kind::of(&[0x80, 192]), Kind::Rtcp);
        assert_eq!(Kind::of(&[0x81, 223]), Kind::Rtcp);
        assert_eq!(Kind::of(&[0x80, 224]), Kind::Rtp);
        for other in [&[][..], &[0x80], &[0, 1], &[22, 254], &[0xc0, 200], b"\r\n"] {
            assert_eq!(Kind::of(other), Kind::Other, "{other:?}");
        }
    }
}
