//! SSRCs exchanged for others, wherever a compound names them.
//!
//! In: a datagram and a map from old to new. Out: the same octets with the new ones. A relay that
//! gives a stream an SSRC of its own must do the same to what both sides report about it
//! (RFC 3550 §7.2, correctness of reports behind a translator).

use super::{
    Compound, HEADER_LEN, Packet, REPORT_BLOCK_LEN, SENDER_INFO_LEN, chunk_len, packet_type, xr, xr_block,
};
use crate::rtp::{Malformed, be32};

/// Replace every SSRC in `datagram` by what `new` makes of it: senders and the sources of their
/// report blocks (SR, RR), chunks (SDES), leaving sources (BYE), applications, the two sources of
/// feedback (RFC 4585 §6.1), and those of extended reports and their blocks. Nothing else changes.
/// A malformed compound is left untouched.
pub fn translate(datagram: &mut [u8], mut new: impl FnMut(u32) -> u32) -> Result<(), Malformed> {
    Compound::new_checked(datagram)?;
    let mut start = 0;
    while start < datagram.len() {
        let (packet, _) = Packet::split_checked(datagram.get(start..).unwrap_or_default())?;
        let (kind, count) = (packet.packet_type(), usize::from(packet.count()));
        let end = start + packet.bytes.len();
        let body_end = start + HEADER_LEN + packet.body().len();
        let body = datagram
            .get_mut(start + HEADER_LEN..body_end)
            .ok_or(Malformed::Truncated)?;
        match kind {
            packet_type::SENDER_REPORT => reports(body, 4 + SENDER_INFO_LEN, count, &mut new),
            packet_type::RECEIVER_REPORT => reports(body, 4, count, &mut new),
            packet_type::SOURCE_DESCRIPTION => chunks(body, count, &mut new),
            packet_type::BYE => (0..count).for_each(|n| word(body, 4 * n, &mut new)),
            packet_type::TRANSPORT_FEEDBACK | packet_type::PAYLOAD_FEEDBACK => {
                word(body, 0, &mut new);
                word(body, 4, &mut new);
            }
            packet_type::APPLICATION => word(body, 0, &mut new),
            packet_type::EXTENDED_REPORT => metrics(body, &mut new),
            _ => {}
        }
        start = end;
    }
    Ok(())
}

fn word(body: &mut [u8], at: usize, new: &mut impl FnMut(u32) -> u32) {
    if let Some(octets) = body.get_mut(at..at + 4) {
        let ssrc = new(be32(octets));
        octets.copy_from_slice(&ssrc.to_be_bytes());
    }
}

fn reports(body: &mut [u8], blocks: usize, count: usize, new: &mut impl FnMut(u32) -> u32) {
    word(body, 0, new);
    for n in 0..count {
        word(body, blocks + n * REPORT_BLOCK_LEN, new);
    }
}

fn chunks(mut body: &mut [u8], count: usize, new: &mut impl FnMut(u32) -> u32) {
    for _ in 0..count {
        let Some(len) = chunk_len(body) else { return };
        word(body, 0, new);
        body = body.get_mut(len..).unwrap_or_default();
    }
}

fn metrics(body: &mut [u8], new: &mut impl FnMut(u32) -> u32) {
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

    #[test]
    fn a_malformed_compound_stays_as_it_is() {
        let mut bytes = [0x81, 203, 0, 1, 0, 0, 0, 7, 0x81, 203, 0, 9];
        assert_eq!(translate(&mut bytes, |_| 0), Err(Malformed::Truncated));
        assert_eq!(bytes[..8], [0x81, 203, 0, 1, 0, 0, 0, 7]);
    }
}
