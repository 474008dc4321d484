//! What RTCP says about its sender besides figures is removed before it reaches the other side:
//! names, addresses, reasons, applications.
//!
//! In: a datagram in a buffer. Out: the same buffer with a compound that is never longer, in which
//! only numbers, SSRCs and a name of our own are left. What passes is listed, so that a packet, an
//! item or a block of a kind that nobody here knows does not.
//!
//! | packet | what is left of it |
//! |---|---|
//! | SR, RR | all but profile-specific extensions |
//! | SDES | each SSRC, and its CNAME with our text |
//! | BYE | the sources |
//! | XR | blocks of RFC 3611 |
//! | generic NACK (RFC 4585 §6.2.1) | all of it |
//! | APP and every other | nothing |
//! | padding | nothing |

use super::{
    Chunk, Compound, HEADER_LEN, Packet, REPORT_BLOCK_LEN, SENDER_INFO_LEN, item_kind, packet_type, xr,
};
use crate::rtp::Malformed;

/// The CNAME that a side is told instead of the other side's: as long as RFC 7022 §4.2 has short-term
/// ones, and of its alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cname([u8; Cname::LEN]);

impl Cname {
    /// Octets of its text.
    pub const LEN: usize = 16;
    /// The name of those for whom none was drawn.
    pub const ANONYMOUS: Self = Self(*b"AAAAAAAAAAAAAAAA");

    /// The 96 bits of `random` in base64.
    pub fn new(random: [u8; 12]) -> Self {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = [0; Self::LEN];
        for (three, four) in random.chunks_exact(3).zip(text.chunks_exact_mut(4)) {
            let bits = three.iter().fold(0, |bits, octet| bits << 8 | u32::from(*octet));
            for (n, letter) in four.iter_mut().enumerate() {
                *letter = ALPHABET[(bits >> (18 - 6 * n)) as usize & 63];
            }
        }
        Self(text)
    }

    /// Its text.
    pub const fn text(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

/// What [`hide`] has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hidden {
    /// Length of the datagram now; 0: nothing is left to send.
    pub len: usize,
    /// Packets that were removed whole.
    pub removed: u32,
}

/// The generic NACK among the transport-layer feedback messages.
pub(super) const GENERIC_NACK: u8 = 1;

/// Rewrite the compound in the first `len` octets of `buffer` in place, with `cname` instead of
/// every CNAME. SSRCs and figures stay as they are. A malformed compound is left untouched.
pub fn hide(buffer: &mut [u8], len: usize, cname: &Cname) -> Result<Hidden, Malformed> {
    let datagram = buffer.get_mut(..len).ok_or(Malformed::Truncated)?;
    Compound::new_checked(datagram)?;
    let mut out = Writer {
        bytes: datagram,
        at: 0,
    };
    let (mut read, mut removed) = (0, 0);
    while read < len {
        // What is written never passes what is read, so that the rest is as it was when checked.
        let (packet, _) = Packet::split_checked(out.bytes.get(read..).unwrap_or_default())?;
        let end = read + packet.bytes.len();
        let count = packet.count();
        let kept = match packet.packet_type() {
            packet_type::SENDER_REPORT => Some(4 + SENDER_INFO_LEN + usize::from(count) * REPORT_BLOCK_LEN),
            packet_type::RECEIVER_REPORT => Some(4 + usize::from(count) * REPORT_BLOCK_LEN),
            // Without sources it says nothing.
            packet_type::BYE if count > 0 => Some(4 * usize::from(count)),
            packet_type::TRANSPORT_FEEDBACK if count == GENERIC_NACK => Some(packet.body().len()),
            _ => None,
        };
        let wrote = match (kept, packet.packet_type()) {
            (Some(body), _) => {
                out.copy(read, HEADER_LEN + body);
                HEADER_LEN + body
            }
            (None, packet_type::SOURCE_DESCRIPTION) => out.names(read, count, cname),
            (None, packet_type::EXTENDED_REPORT) => out.metrics(read, end),
            (None, _) => 0,
        };
        match wrote {
            0 => removed += 1,
            wrote => out.finish(wrote),
        }
        read = end;
    }
    Ok(Hidden { len: out.at, removed })
}

/// Writes a datagram over itself: `at` is never behind what is still to be read.
struct Writer<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn copy(&mut self, from: usize, len: usize) {
        debug_assert!(self.at <= from && from + len <= self.bytes.len());
        if self.at != from {
            self.bytes.copy_within(from..from + len, self.at);
        }
        self.at += len;
    }

    fn put(&mut self, octets: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.at..self.at + octets.len()) {
            room.copy_from_slice(octets);
        }
        self.at += octets.len();
    }

    /// The `count` chunks of the SDES packet at `packet`, each with our CNAME when it had one. The
    /// name is cut to the length of the one it replaces, so that no chunk grows. Returns what was
    /// written.
    fn names(&mut self, packet: usize, count: u8, cname: &Cname) -> usize {
        let start = self.at;
        self.copy(packet, HEADER_LEN);
        let mut read = packet + HEADER_LEN;
        for _ in 0..count {
            let rest = self.bytes.get(read..).unwrap_or_default();
            let Some(bytes) = super::chunk_len(rest).and_then(|len| rest.get(..len)) else {
                break;
            };
            let (len, name) = (bytes.len(), Chunk { bytes }.cname().map(<[u8]>::len));
            self.copy(read, 4);
            if let Some(name) = name {
                let text = cname.text().get(..name).unwrap_or(cname.text());
                self.put(&[item_kind::CNAME, text.len() as u8]);
                self.put(text);
            }
            // At least one null octet, and then to the word: `start` lies on one.
            let nulls = 4 - (self.at - start) % 4;
            self.put(&[0; 4][..nulls]);
            read += len;
        }
        self.at - start
    }

    /// The blocks of the extended report at `packet` that are known; without any it is not worth
    /// sending, and 0.
    fn metrics(&mut self, packet: usize, end: usize) -> usize {
        let start = self.at;
        let mut read = packet + HEADER_LEN + 4;
        if !xr::blocks(self.bytes.get(read..end).unwrap_or_default()).any(|block| block.is_known()) {
            return 0;
        }
        self.copy(packet, HEADER_LEN + 4);
        while let Some(block) = self.bytes.get(read..end).and_then(|rest| xr::blocks(rest).next()) {
            let (len, known) = (block.octets(), block.is_known());
            if known {
                self.copy(read, len);
            }
            read += len;
        }
        self.at - start
    }

    /// Give the packet that was written last its length, and no padding.
    fn finish(&mut self, len: usize) {
        let words = (len / 4 - 1) as u16;
        if let Some(header) = self.bytes.get_mut(self.at - len..self.at) {
            header[0] &= !0x20;
            header[2..4].copy_from_slice(&words.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: Cname = Cname(*b"0123456789abcdef");

    fn hidden(bytes: &[u8]) -> (Vec<u8>, u32) {
        let mut buffer = bytes.to_vec();
        let hidden = hide(&mut buffer, bytes.len(), &NAME).unwrap();
        buffer.truncate(hidden.len);
        (buffer, hidden.removed)
    }

    #[test]
    fn a_name_is_96_bits_of_base64() {
        assert_eq!(Cname::new([0; 12]), Cname::ANONYMOUS);
        let name = Cname::new([0, 0x10, 0x83, 0x10, 0x51, 0x87, 0xff, 0xff, 0xff, 0, 0, 1]);
        assert_eq!(name.text(), b"ABCDEFGH////AAAB");
    }

    #[test]
    fn reports_pass_without_extensions_and_padding() {
        let report = [&[0x80, 200, 0, 6, 0, 0, 0, 7][..], &[1; 20]].concat();
        assert_eq!(hidden(&report), (report.clone(), 0));
        // A word that belongs to some profile.
        let mut extended = [&report[..], b"addr"].concat();
        extended[3] = 7;
        assert_eq!(hidden(&extended), (report, 0));
        let padded = [
            0xa0, 201, 0, 3, 0, 0, 0, 7, b'1', b'0', b'.', b'1', b'.', b'1', b'.', 8,
        ];
        assert_eq!(hidden(&padded), (vec![0x80, 201, 0, 1, 0, 0, 0, 7], 0));
    }

    #[test]
    fn every_item_goes_and_the_cname_gets_our_text() {
        let mut bytes = vec![0x82, 202, 0, 0, 0, 0, 0, 7];
        bytes.extend(b"\x02\x04Anna\x01\x1aanna@198.51.100.77.example\x06\x05phone\x04\x03123\x00");
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(b"\0\0\0\x08\x01\x05a@b.c\x08\x0a\x03keysecret\0");
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes[3] = (bytes.len() / 4 - 1) as u8;
        let expected = b"\x82\xca\0\x09\0\0\0\x07\x01\x100123456789abcdef\0\0\0\0\0\x08\x01\x0501234\0";
        let (out, removed) = hidden(&bytes);
        assert_eq!((&out[..36], removed), (&expected[..36], 0));
        let packet = Compound::new_checked(&out).unwrap().packets().next().unwrap();
        let names: Vec<_> = packet.chunks().map(|c| (c.ssrc(), c.cname())).collect();
        assert_eq!(names, [(7, Some(&NAME.text()[..])), (8, Some(&NAME.text()[..5]))]);
        assert!(packet.chunks().all(|chunk| chunk.items().count() == 1));
    }

    #[test]
    fn a_chunk_without_a_cname_gets_none() {
        let bytes = b"\x81\xca\0\x03\0\0\0\x07\x06\x05phone\0";
        assert_eq!(hidden(bytes), (b"\x81\xca\0\x02\0\0\0\x07\0\0\0\0".to_vec(), 0));
    }

    #[test]
    fn goodbyes_give_no_reason() {
        let bytes = b"\x81\xcb\0\x04\0\0\0\x07\x0810.1.1.1\0\0\0";
        assert_eq!(hidden(bytes), (b"\x81\xcb\0\x01\0\0\0\x07".to_vec(), 0));
    }

    #[test]
    fn what_nobody_knows_is_removed_and_counted() {
        let report = [0x80, 201, 0, 1, 0, 0, 0, 7];
        let app = [0x80, 204, 0, 3, 0, 0, 0, 7, b'H', b'O', b'S', b'T', 10, 1, 1, 1];
        let feedback = [0x8f, 206, 0, 3, 0, 0, 0, 7, 0, 0, 0, 8, b'R', b'E', b'M', b'B'];
        let unknown = [0x80, 210, 0, 1, 1, 2, 3, 4];
        let nack = [0x81, 205, 0, 3, 0, 0, 0, 7, 0, 0, 0, 8, 0, 1, 0, 0];
        let bytes = [&report[..], &app, &feedback, &nack, &unknown].concat();
        assert_eq!(hidden(&bytes), ([&report[..], &nack].concat(), 3));
        assert_eq!(hidden(&app), (vec![], 1));
    }

    #[test]
    fn extended_reports_keep_the_blocks_of_the_rfc() {
        let unknown = [99, 0, 0, 1, 10, 1, 1, 1];
        let reference = [4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
        let long = [4, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8, 10, 1, 1, 1];
        let mut bytes = [
            &[0x80, 207, 0, 0, 0, 0, 0, 7][..],
            &unknown,
            &reference,
            &long,
            b"tail",
        ]
        .concat();
        bytes[3] = (bytes.len() / 4 - 1) as u8;
        let expected = [&[0x80, 207, 0, 4, 0, 0, 0, 7][..], &reference].concat();
        assert_eq!(hidden(&bytes), (expected, 0));
        let nothing = [&[0x80, 207, 0, 3, 0, 0, 0, 7][..], &unknown].concat();
        assert_eq!(hidden(&nothing), (vec![], 1));
    }

    #[test]
    fn nothing_is_written_behind_what_is_left() {
        let name = b"\x81\xca\0\x03\0\0\0\x07\x06\x05phone\0";
        let unknown = [0x80, 207, 0, 3, 0, 0, 0, 7, 99, 0, 0, 1, 10, 1, 1, 1];
        let bytes = [&name[..], &unknown].concat();
        let mut buffer = bytes.clone();
        let hidden = hide(&mut buffer, bytes.len(), &NAME).unwrap();
        assert_eq!(hidden, Hidden { len: 12, removed: 1 });
        assert_eq!(buffer[12..], bytes[12..]);
    }

    #[test]
    fn a_malformed_compound_stays_as_it_is() {
        let mut bytes = [0x81, 203, 0, 9, 0, 0, 0, 7];
        assert_eq!(hide(&mut bytes, 8, &NAME), Err(Malformed::Truncated));
        assert_eq!(bytes, [0x81, 203, 0, 9, 0, 0, 0, 7]);
        assert_eq!(hide(&mut bytes, 9, &NAME), Err(Malformed::Truncated));
    }
}
