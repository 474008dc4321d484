//! Views of RTCP packets (RFC 3550 §6) and the telling apart of what shares a media port.
//!
//! In: one UDP payload. Out: [`Kind`], and for RTCP the packets of the compound, each proved to be
//! as long as its own fields claim. What is done with them has files of its own: [`hide`] removes
//! what names the other side, [`translate`] exchanges SSRCs, [`round_trip`] measures, [`reporter`]
//! writes reports of our own.

pub mod hide;
pub mod reporter;
pub mod round_trip;
pub mod translate;
mod xr;

pub use xr::{VoipMetrics, XrBlock, xr_block};

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

/// Kinds of SDES items (RFC 3550 §6.5).
pub mod item_kind {
    /// Canonical name of the participant.
    pub const CNAME: u8 = 1;
    /// Name of the user.
    pub const NAME: u8 = 2;
    /// E-mail address.
    pub const EMAIL: u8 = 3;
    /// Telephone number.
    pub const PHONE: u8 = 4;
    /// Where the user is.
    pub const LOC: u8 = 5;
    /// Application or tool.
    pub const TOOL: u8 = 6;
    /// Notice.
    pub const NOTE: u8 = 7;
    /// Private extension.
    pub const PRIV: u8 = 8;
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

    /// Whether this is a compound as RFC 3550 §6.1 wants every datagram to be: a report first, and
    /// a CNAME in it. The others are reduced-size RTCP (RFC 5506), and fragments of peers that do
    /// not care.
    pub fn is_full(&self) -> bool {
        let report = |packet: Packet<'_>| {
            matches!(
                packet.packet_type(),
                packet_type::SENDER_REPORT | packet_type::RECEIVER_REPORT
            )
        };
        let named = |packet: Packet<'_>| packet.chunks().any(|chunk| chunk.cname().is_some());
        self.packets().next().is_some_and(report) && self.packets().any(named)
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
        if self.has_padding() {
            let padding = usize::from(self.bytes[self.bytes.len() - 1]);
            if padding == 0 || padding % 4 != 0 || padding > self.bytes.len() - HEADER_LEN {
                return Err(Malformed::Padding);
            }
        }
        let body = self.body();
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

    /// What a sender report says about its sender; `None` for the other types.
    pub fn sender_info(&self) -> Option<SenderInfo> {
        if self.packet_type() != packet_type::SENDER_REPORT {
            return None;
        }
        let bytes = self.body().get(4..4 + SENDER_INFO_LEN)?;
        Some(SenderInfo::read(bytes))
    }

    /// Report blocks of an SR or RR.
    pub fn reports(&self) -> impl Iterator<Item = ReportBlock<'a>> + use<'a> {
        let start = match self.packet_type() {
            packet_type::SENDER_REPORT => 4 + SENDER_INFO_LEN,
            packet_type::RECEIVER_REPORT => 4,
            _ => usize::MAX,
        };
        let blocks = self.body().get(start..).unwrap_or_default();
        blocks
            .chunks_exact(REPORT_BLOCK_LEN)
            .take(usize::from(self.count()))
            .map(|bytes| ReportBlock { bytes })
    }

    /// Chunks of an SDES packet.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
        let (mut rest, mut left) = match self.packet_type() {
            packet_type::SOURCE_DESCRIPTION => (self.body(), self.count()),
            _ => (&[][..], 0),
        };
        core::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            let (bytes, after) = rest.split_at_checked(chunk_len(rest)?)?;
            rest = after;
            Some(Chunk { bytes })
        })
    }

    /// Sources that a BYE says goodbye for.
    pub fn leaving(&self) -> impl Iterator<Item = u32> + use<'a> {
        let count = match self.packet_type() {
            packet_type::BYE => usize::from(self.count()),
            _ => 0,
        };
        self.body().chunks_exact(4).take(count).map(be32)
    }

    /// The reason for leaving of a BYE; empty when it gives none.
    pub fn reason(&self) -> &'a [u8] {
        if self.packet_type() != packet_type::BYE {
            return &[];
        }
        let text = self.body().get(4 * usize::from(self.count())..);
        let Some((&len, text)) = text.and_then(<[u8]>::split_first) else {
            return &[];
        };
        text.get(..usize::from(len)).unwrap_or_default()
    }

    /// Name and data of an application-defined packet; its subtype is [`Packet::count`].
    pub fn application(&self) -> Option<([u8; 4], &'a [u8])> {
        if self.packet_type() != packet_type::APPLICATION {
            return None;
        }
        let (name, data) = self.body().get(4..)?.split_first_chunk()?;
        Some((*name, data))
    }

    /// Blocks of an extended report (RFC 3611), up to the first that is longer than the packet.
    pub fn xr_blocks(&self) -> impl Iterator<Item = XrBlock<'a>> + use<'a> {
        let rest = match self.packet_type() {
            packet_type::EXTENDED_REPORT => self.body().get(4..).unwrap_or_default(),
            _ => &[],
        };
        xr::blocks(rest)
    }

    /// What follows the header, without padding.
    fn body(&self) -> &'a [u8] {
        let padding = match self.has_padding() {
            true => self.bytes.last().copied().unwrap_or_default(),
            false => 0,
        };
        let end = self.bytes.len().saturating_sub(usize::from(padding));
        self.bytes.get(HEADER_LEN..end).unwrap_or_default()
    }

    fn has_padding(&self) -> bool {
        self.bytes[0] & 0x20 != 0
    }
}

/// What a sender says about what it sends (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall clock when the report was written: seconds since 1900 and their fraction.
    pub ntp: u64,
    /// The same instant in units of the media clock.
    pub timestamp: u32,
    /// Packets sent since the beginning; wraps.
    pub packets: u32,
    /// Payload octets sent since the beginning; wraps.
    pub octets: u32,
}

impl SenderInfo {
    /// From octets that have at least [`SENDER_INFO_LEN`].
    fn read(bytes: &[u8]) -> Self {
        Self {
            ntp: u64::from(be32(bytes)) << 32 | u64::from(be32(&bytes[4..])),
            timestamp: be32(&bytes[8..]),
            packets: be32(&bytes[12..]),
            octets: be32(&bytes[16..]),
        }
    }

    /// The middle of the NTP time, as a report block repeats it.
    pub fn middle(&self) -> u32 {
        middle(self.ntp)
    }
}

/// The middle 32 bits of an NTP time: seconds modulo 65,536 and their fraction in 65,536ths.
pub const fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// One source of an SDES packet and its items (RFC 3550 §6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    bytes: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The source described.
    pub fn ssrc(&self) -> u32 {
        be32(self.bytes)
    }

    /// Kind (see [`item_kind`]) and text of each item.
    pub fn items(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut rest = self.bytes.get(4..).unwrap_or_default();
        core::iter::from_fn(move || {
            let (&[kind, len], after) = rest.split_first_chunk()?;
            let (text, after) = after.split_at_checked(usize::from(len)).filter(|_| kind != 0)?;
            rest = after;
            Some((kind, text))
        })
    }

    /// The text of the first CNAME.
    pub fn cname(&self) -> Option<&'a [u8]> {
        let mut items = self.items();
        items.find_map(|(kind, text)| (kind == item_kind::CNAME).then_some(text))
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

    /// Middle of the NTP time of the last sender report that arrived from the source; 0: none did.
    pub fn last_report(&self) -> u32 {
        be32(&self.bytes[16..])
    }

    /// Time from that report's arrival to the sending of this block, in 65,536ths of a second.
    pub fn delay(&self) -> u32 {
        be32(&self.bytes[20..])
    }
}

/// SDES: each chunk is an SSRC, items of type-length-text, a null octet and padding to a word.
fn check_chunks(mut body: &[u8], count: usize) -> Result<(), Malformed> {
    for _ in 0..count {
        let len = chunk_len(body).ok_or(Malformed::Truncated)?;
        body = body.get(len..).ok_or(Malformed::Truncated)?;
    }
    Ok(())
}

/// Octets of the chunk at the start of `body`, if it ends there.
fn chunk_len(body: &[u8]) -> Option<usize> {
    let mut at = 4;
    while *body.get(at)? != 0 {
        at += 2 + usize::from(*body.get(at + 1)?);
    }
    // At least one null octet ends the chunk, which then fills its last word.
    let end = (at + 1).next_multiple_of(4);
    (end <= body.len()).then_some(end)
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
    fn reads_what_a_sender_says_of_itself() {
        let mut bytes = sender_report();
        bytes[8..28].copy_from_slice(&[0xe0, 1, 2, 3, 4, 5, 6, 7, 0, 0, 1, 64, 0, 0, 0, 9, 0, 0, 6, 0x40]);
        bytes[44..].copy_from_slice(&[2, 3, 4, 5, 0, 1, 0x80, 0]);
        let packet = Compound::new_checked(&bytes).unwrap().packets().next().unwrap();
        let info = packet.sender_info().unwrap();
        assert_eq!((info.ntp, info.middle()), (0xe001_0203_0405_0607, 0x0203_0405));
        assert_eq!((info.timestamp, info.packets, info.octets), (320, 9, 1600));
        let report = packet.reports().next().unwrap();
        assert_eq!((report.last_report(), report.delay()), (0x0203_0405, 0x1_8000));
    }

    #[test]
    fn reads_names_goodbyes_and_applications() {
        let mut names = description();
        names[0] = 0x82;
        names[3] = 7;
        names.extend([0, 0, 0, 8, 6, 1, b't', 1, 2, b'c', b'n', 0, 0, 0, 0, 0]);
        let bye = [
            0x82, 203, 0, 4, 0, 0, 0, 7, 0, 0, 0, 8, 4, b'd', b'o', b'n', b'e', 0, 0, 0,
        ];
        let app = [0x85, 204, 0, 3, 0, 0, 0, 7, b'T', b'E', b'S', b'T', 1, 2, 3, 4];
        let bytes = [&names[..], &bye, &app].concat();
        let packets: Vec<_> = Compound::new_checked(&bytes).unwrap().packets().collect();
        let chunks: Vec<_> = packets[0].chunks().collect();
        assert_eq!(chunks.iter().map(Chunk::ssrc).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(chunks[0].cname(), Some(&b"name"[..]));
        assert_eq!(
            chunks[1].items().collect::<Vec<_>>(),
            [(item_kind::TOOL, &b"t"[..]), (item_kind::CNAME, b"cn")]
        );
        assert_eq!(packets[1].leaving().collect::<Vec<_>>(), [7, 8]);
        assert_eq!(packets[1].reason(), b"done");
        assert_eq!(packets[2].application(), Some((*b"TEST", &[1, 2, 3, 4][..])));
        assert_eq!(packets[2].count(), 5);
        assert_eq!((packets[0].reason(), packets[0].leaving().count()), (&[][..], 0));
        assert_eq!((packets[1].chunks().count(), packets[1].application()), (0, None));
    }

    #[test]
    fn a_full_compound_begins_with_a_report_and_holds_a_cname() {
        let full = |bytes: &[u8]| Compound::new_checked(bytes).unwrap().is_full();
        assert!(full(&[sender_report(), description()].concat()));
        assert!(!full(&[description(), sender_report()].concat()));
        assert!(!full(&sender_report()));
    }

    #[test]
    fn padding_is_no_content() {
        let mut padded = vec![0xa1, 203, 0, 2, 0, 0, 0, 7, 3, b'x', b'y', 4];
        assert!(Compound::new_checked(&padded).is_ok());
        padded[8] = 0;
        let packet = Compound::new_checked(&padded).unwrap().packets().next().unwrap();
        assert_eq!(packet.reason(), b"");
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
