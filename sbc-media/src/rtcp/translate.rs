//! SSRCs exchanged for others, wherever a compound names them.
//!
//! In: a datagram and a map from old to new. Out: the same octets with the new ones. A relay that
//! gives a stream an SSRC of its own must do the same to what both sides report about it
//! (RFC 3550 §7.2, correctness of reports behind a translator).

use super::{
    Compound, HEADER_LEN, Packet, REPORT_BLOCK_LEN, SENDER_INFO_LEN, SenderInfo, chunk_len,
    hide::GENERIC_NACK, packet_type, xr, xr_block,
};
use crate::rtp::{Malformed, be16, be32};

/// What becomes of the streams that a datagram speaks of. All are asked with the SSRC as it came. A closure from SSRC
/// to SSRC leaves all else as it is.
pub trait Streams {
    /// The SSRC in the place of `ssrc`.
    fn ssrc(&mut self, ssrc: u32) -> u32;

    /// What a sender report says of the stream `ssrc`.
    fn sender_info(&mut self, _ssrc: u32, info: SenderInfo) -> SenderInfo {
        info
    }

    /// A sequence number of the stream `ssrc` of which the writer has not got a packet.
    fn sequence(&mut self, _ssrc: u32, sequence: u16) -> u16 {
        sequence
    }

    /// The highest sequence number that the writer has received of the stream `ssrc`, with its wraps in the upper
    /// half.
    fn highest_sequence(&mut self, _ssrc: u32, highest: u32) -> u32 {
        highest
    }

    /// Whether a goodbye for the stream `ssrc` stays. A BYE of which none does has no sources, and no reason, any
    /// more.
    fn leaves(&mut self, _ssrc: u32) -> bool {
        true
    }
}

impl<F: FnMut(u32) -> u32> Streams for F {
    fn ssrc(&mut self, ssrc: u32) -> u32 {
        self(ssrc)
    }
}

/// Replace every SSRC in `datagram` by what `streams` makes of it: senders and the sources of their
/// report blocks (SR, RR), chunks (SDES), leaving sources (BYE), applications, the two sources of
/// feedback (RFC 4585 §6.1), and those of extended reports and their blocks; and with them what
/// [`Streams`] changes of sender reports, report blocks, generic NACKs and goodbyes. Nothing else changes.
/// A malformed compound is left untouched.
pub fn translate(datagram: &mut [u8], mut streams: impl Streams) -> Result<(), Malformed> {
    let new = &mut streams;
    Compound::new_checked(datagram)?;
    let mut start = 0;
    while start < datagram.len() {
        let (packet, _) = Packet::split_checked(datagram.get(start..).unwrap_or_default())?;
        let (kind, count) = (packet.packet_type(), usize::from(packet.count()));
        let end = start + packet.bytes.len();
        let body_end = start + HEADER_LEN + packet.body().len();
        let packet = datagram.get_mut(start..body_end).ok_or(Malformed::Truncated)?;
        let (header, body) = packet.split_at_mut(HEADER_LEN);
        match kind {
            packet_type::SENDER_REPORT => {
                sender(body, new);
                reports(body, 4 + SENDER_INFO_LEN, count, new);
            }
            packet_type::RECEIVER_REPORT => reports(body, 4, count, new),
            packet_type::SOURCE_DESCRIPTION => chunks(body, count, new),
            packet_type::BYE => goodbyes(header, body, count, new),
            packet_type::TRANSPORT_FEEDBACK | packet_type::PAYLOAD_FEEDBACK => {
                if kind == packet_type::TRANSPORT_FEEDBACK && count == usize::from(GENERIC_NACK) {
                    missing(body, new);
                }
                word(body, 0, new);
                word(body, 4, new);
            }
            packet_type::APPLICATION => word(body, 0, new),
            packet_type::EXTENDED_REPORT => metrics(body, new),
            _ => {}
        }
        start = end;
    }
    Ok(())
}

fn word(body: &mut [u8], at: usize, new: &mut impl Streams) {
    if let Some(octets) = body.get_mut(at..at + 4) {
        let ssrc = new.ssrc(be32(octets));
        octets.copy_from_slice(&ssrc.to_be_bytes());
    }
}

/// What a sender report says of its sender (RFC 3550 §6.4.1). Before its SSRC is replaced.
fn sender(body: &mut [u8], new: &mut impl Streams) {
    let Some(octets) = body.get_mut(..4 + SENDER_INFO_LEN) else {
        return;
    };
    let info = SenderInfo::read(&octets[4..]);
    let info = new.sender_info(be32(octets), info);
    octets[4..12].copy_from_slice(&info.ntp.to_be_bytes());
    for (place, value) in octets[12..]
        .chunks_exact_mut(4)
        .zip([info.timestamp, info.packets, info.octets])
    {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

fn reports(body: &mut [u8], blocks: usize, count: usize, new: &mut impl Streams) {
    word(body, 0, new);
    for n in 0..count {
        let at = blocks + n * REPORT_BLOCK_LEN;
        if let Some(block) = body.get_mut(at..at + REPORT_BLOCK_LEN) {
            let highest = new.highest_sequence(be32(block), be32(&block[8..]));
            block[8..12].copy_from_slice(&highest.to_be_bytes());
        }
        word(body, at, new);
    }
}

/// Sequence numbers in the entries of a generic NACK (RFC 4585 §6.2.1). The bits for the sixteen after each stay.
fn missing(body: &mut [u8], new: &mut impl Streams) {
    let Some((heads, entries)) = body.split_at_mut_checked(8) else {
        return;
    };
    let ssrc = be32(&heads[4..]);
    for entry in entries.chunks_exact_mut(4) {
        let sequence = new.sequence(ssrc, be16(entry));
        entry[..2].copy_from_slice(&sequence.to_be_bytes());
    }
}

fn goodbyes(header: &mut [u8], body: &mut [u8], count: usize, new: &mut impl Streams) {
    let mut kept = 0;
    for n in 0..count {
        let Some(octets) = body.get(4 * n..4 * n + 4) else {
            break;
        };
        let ssrc = be32(octets);
        if new.leaves(ssrc) {
            body.copy_within(4 * n..4 * n + 4, 4 * kept);
            word(body, 4 * kept, new);
            kept += 1;
        }
    }
    if kept < count {
        // No reason either: its length would be read where a source was.
        body.get_mut(4 * kept..).unwrap_or_default().fill(0);
        header[0] = header[0] & !0x1f | kept as u8;
    }
}

fn chunks(mut body: &mut [u8], count: usize, new: &mut impl Streams) {
    for _ in 0..count {
        let Some(len) = chunk_len(body) else { return };
        word(body, 0, new);
        body = body.get_mut(len..).unwrap_or_default();
    }
}

fn metrics(body: &mut [u8], new: &mut impl Streams) {
    word(body, 0, new);
    let mut blocks = body.get_mut(4..).unwrap_or_default();
    loop {
        let next = xr::blocks(blocks)
            .next()
            .map(|block| (block.kind(), block.octets()));
        let Some((kind, len)) = next else { return };
        let (block, rest) = blocks.split_at_mut(len);
        let block = block.get_mut(xr::BLOCK_HEADER_LEN..).unwrap_or_default();
        match kind {
            xr_block::REFERENCE_TIME => {}
            xr_block::DELAY => (0..block.len() / 12).for_each(|n| word(block, 12 * n, new)),
            xr_block::LOSS..=xr_block::VOIP_METRICS => word(block, 0, new),
            _ => {}
        }
        blocks = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        translate(&mut bytes, |ssrc| ssrc + 0x1000).unwrap();
        bytes
    }

    #[test]
    fn reports_name_their_sender_and_each_source() {
        let mut bytes = vec![0x82, 201, 0, 13, 0, 0, 0, 1];
        bytes.extend([&[0, 0, 0, 2][..], &[9; 20], &[0, 0, 0, 3], &[9; 20]].concat());
        let mut expected = bytes.clone();
        for at in [6, 10, 34] {
            expected[at] = 0x10;
        }
        assert_eq!(translated(&bytes), expected);
        let mut sender = [&[0x81, 200, 0, 12, 0, 0, 0, 1][..], &[9; 20], &bytes[8..32]].concat();
        let before = sender.clone();
        sender[6] = 0x10;
        sender[30] = 0x10;
        assert_eq!(translated(&before), sender);
    }

    #[test]
    fn names_goodbyes_applications_and_feedback_too() {
        let names = b"\x82\xca\0\x05\0\0\0\x01\x01\x05a@b.c\0\0\0\0\x02\0\0\0\0";
        let bye = b"\x82\xcb\0\x03\0\0\0\x01\0\0\0\x02\x03bye";
        let app = b"\x80\xcc\0\x02\0\0\0\x01NAME";
        let nack = b"\x81\xcd\0\x03\0\0\0\x01\0\0\0\x02\0\0\0\x03";
        let out = translated(&[&names[..], bye, app, nack].concat());
        let expected = [
            &b"\x82\xca\0\x05\0\0\x10\x01\x01\x05a@b.c\0\0\0\x10\x02\0\0\0\0"[..],
            b"\x82\xcb\0\x03\0\0\x10\x01\0\0\x10\x02\x03bye",
            b"\x80\xcc\0\x02\0\0\x10\x01NAME",
            b"\x81\xcd\0\x03\0\0\x10\x01\0\0\x10\x02\0\0\0\x03",
        ]
        .concat();
        assert_eq!(out, expected);
    }

    #[test]
    fn extended_reports_name_sources_in_their_blocks() {
        let bytes = b"\x80\xcf\0\x0d\0\0\0\x01\x01\0\0\x02\0\0\0\x02abcd\x04\0\0\x02abcdefgh\
            \x05\0\0\x03\0\0\0\x03abcdefgh\x63\0\0\x01\0\0\0\x04";
        let out = translated(bytes);
        let changed: Vec<_> = (0..out.len()).filter(|&at| out[at] != bytes[at]).collect();
        assert_eq!(changed, [6, 14, 38]);
    }

    /// Everything is one more, and the even ones do not leave.
    struct OneMore;

    impl Streams for OneMore {
        fn ssrc(&mut self, ssrc: u32) -> u32 {
            ssrc + 0x1000
        }
        fn sender_info(&mut self, ssrc: u32, info: SenderInfo) -> SenderInfo {
            SenderInfo {
                ntp: info.ntp + 1,
                timestamp: info.timestamp + ssrc,
                packets: info.packets + 1,
                octets: info.octets + 1,
            }
        }
        fn sequence(&mut self, ssrc: u32, sequence: u16) -> u16 {
            sequence + ssrc as u16
        }
        fn highest_sequence(&mut self, ssrc: u32, highest: u32) -> u32 {
            highest + ssrc
        }
        fn leaves(&mut self, ssrc: u32) -> bool {
            ssrc % 2 == 1
        }
    }

    #[test]
    fn numbers_of_streams_change_with_their_names() {
        let mut report = [
            &[0x81, 200, 0, 12, 0, 0, 0, 5][..],
            &[0; 20],
            &[0, 0, 0, 2],
            &[0; 20],
        ]
        .concat();
        let mut expected = report.clone();
        translate(&mut report, OneMore).unwrap();
        expected[6] = 0x10;
        (expected[15], expected[19], expected[23], expected[27]) = (1, 5, 1, 1);
        expected[30] = 0x10;
        expected[39] = 2;
        assert_eq!(report, expected);
        let mut nack = *b"\x81\xcd\0\x04\0\0\0\x01\0\0\0\x02\0\x07\0\xff\0\x09\xff\0";
        translate(&mut nack, OneMore).unwrap();
        assert_eq!(
            nack,
            *b"\x81\xcd\0\x04\0\0\x10\x01\0\0\x10\x02\0\x09\0\xff\0\x0b\xff\0"
        );
    }

    #[test]
    fn who_does_not_leave_is_no_longer_in_a_goodbye() {
        let mut bye = *b"\x83\xcb\0\x04\0\0\0\x02\0\0\0\x03\0\0\0\x04\x03bye";
        translate(&mut bye, OneMore).unwrap();
        assert_eq!(bye[..8], *b"\x81\xcb\0\x04\0\0\x10\x03");
        assert_eq!(bye[8..], [0; 12]);
        let mut none = *b"\x81\xcb\0\x02\0\0\0\x02\x03bye";
        translate(&mut none, OneMore).unwrap();
        assert_eq!(none, *b"\x80\xcb\0\x02\0\0\0\0\0\0\0\0");
        assert!(Compound::new_checked(&none).is_ok() && Compound::new_checked(&bye).is_ok());
    }

    #[test]
    fn a_malformed_compound_stays_as_it_is() {
        let mut bytes = [0x81, 203, 0, 1, 0, 0, 0, 7, 0x81, 203, 0, 9];
        assert_eq!(translate(&mut bytes, |_| 0), Err(Malformed::Truncated));
        assert_eq!(bytes[..8], [0x81, 203, 0, 1, 0, 0, 0, 7]);
    }
}
