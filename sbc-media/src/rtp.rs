//! A view of one RTP packet (RFC 3550 §5.1) over bytes that somebody else owns.
//!
//! In: the UDP payload. Out: header fields, read and written in place. [`Packet::new_checked`]
//! proves once that every accessor stays inside the buffer.

use thiserror::Error;

/// Why bytes are not an RTP or RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Shorter than its own header says.
    #[error("shorter than its header says")]
    Truncated,
    /// The version field is not 2.
    #[error("version is not 2")]
    Version,
    /// The padding count is zero or larger than what follows the header.
    #[error("padding count does not fit")]
    Padding,
    /// A packet type that the range of RFC 5761 §4 does not hold, or one in the wrong place.
    #[error("unexpected packet type")]
    PacketType,
}

/// Where the fixed header's fields lie.
mod field {
    use core::ops::Range;

    pub(super) const FLAGS: usize = 0;
    pub(super) const MARKER_TYPE: usize = 1;
    pub(super) const SEQUENCE: Range<usize> = 2..4;
    pub(super) const TIMESTAMP: Range<usize> = 4..8;
    pub(super) const SSRC: Range<usize> = 8..12;
    pub(super) const EXTENSION_HEADER_LEN: usize = 4;
}

/// Length of the fixed header.
pub const HEADER_LEN: usize = 12;

/// An RTP packet over `T`; construct with [`Packet::new_checked`].
#[derive(Clone, Copy, Debug)]
pub struct Packet<T> {
    buffer: T,
    payload_start: usize,
    payload_end: usize,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Check the version, and that CSRC list, extension and padding fit into `buffer`.
    #[inline]
    pub fn new_checked(buffer: T) -> Result<Self, Malformed> {
        let bytes = buffer.as_ref();
        let payload_start = header_len(bytes)?;
        let flags = bytes[field::FLAGS];
        let mut payload_end = bytes.len();
        if flags & 0x20 != 0 {
            // The last octet counts the padding, itself included (§5.1).
            let padding = usize::from(bytes[bytes.len() - 1]);
            if padding == 0 || padding > payload_end - payload_start {
                return Err(Malformed::Padding);
            }
            payload_end -= padding;
        }
        Ok(Self {
            buffer,
            payload_start,
            payload_end,
        })
    }

    /// The marker bit.
    pub fn marker(&self) -> bool {
        self.bytes()[field::MARKER_TYPE] & 0x80 != 0
    }

    /// The payload type, 0 to 127.
    pub fn payload_type(&self) -> u8 {
        self.bytes()[field::MARKER_TYPE] & 0x7f
    }

    /// The sequence number.
    #[inline]
    pub fn sequence(&self) -> u16 {
        be16(&self.bytes()[field::SEQUENCE])
    }

    /// The media timestamp, in units of the payload's clock rate.
    #[inline]
    pub fn timestamp(&self) -> u32 {
        be32(&self.bytes()[field::TIMESTAMP])
    }

    /// The synchronisation source.
    #[inline]
    pub fn ssrc(&self) -> u32 {
        be32(&self.bytes()[field::SSRC])
    }

    /// Contributing sources in the order of the packet.
    pub fn csrcs(&self) -> impl Iterator<Item = u32> + '_ {
        let count = usize::from(self.bytes()[field::FLAGS] & 0x0f);
        self.bytes()[HEADER_LEN..HEADER_LEN + 4 * count]
            .chunks_exact(4)
            .map(be32)
    }

    /// The payload, without padding.
    pub fn payload(&self) -> &[u8] {
        &self.bytes()[self.payload_start..self.payload_end]
    }

    /// Octets before the payload: fixed header, CSRC list, extension.
    pub fn header_len(&self) -> usize {
        self.payload_start
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Write the sequence number.
    pub fn set_sequence(&mut self, sequence: u16) {
        self.buffer.as_mut()[field::SEQUENCE].copy_from_slice(&sequence.to_be_bytes());
    }

    /// Write the media timestamp.
    pub fn set_timestamp(&mut self, timestamp: u32) {
        self.buffer.as_mut()[field::TIMESTAMP].copy_from_slice(&timestamp.to_be_bytes());
    }

    /// Write the synchronisation source.
    pub fn set_ssrc(&mut self, ssrc: u32) {
        self.buffer.as_mut()[field::SSRC].copy_from_slice(&ssrc.to_be_bytes());
    }

    /// Set the marker bit.
    pub fn set_marker(&mut self) {
        self.buffer.as_mut()[field::MARKER_TYPE] |= 0x80;
    }

    /// Write the payload type; only its low seven bits are used.
    pub fn set_payload_type(&mut self, payload_type: u8) {
        let octet = &mut self.buffer.as_mut()[field::MARKER_TYPE];
        *octet = *octet & 0x80 | payload_type & 0x7f;
    }

    /// The payload, without padding, for work in place.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer.as_mut()[self.payload_start..self.payload_end]
    }
}

/// Octets before the payload (fixed header, CSRC list, extension) of a packet whose end may be
/// encrypted: nothing after them is looked at. They are proved to be there.
#[inline]
pub(crate) fn header_len(bytes: &[u8]) -> Result<usize, Malformed> {
    if bytes.len() < HEADER_LEN {
        return Err(Malformed::Truncated);
    }
    let flags = bytes[field::FLAGS];
    if flags >> 6 != 2 {
        return Err(Malformed::Version);
    }
    let mut header_len = HEADER_LEN + 4 * usize::from(flags & 0x0f);
    if flags & 0x10 != 0 {
        let words = bytes
            .get(header_len + 2..header_len + field::EXTENSION_HEADER_LEN)
            .ok_or(Malformed::Truncated)?;
        header_len += field::EXTENSION_HEADER_LEN + 4 * usize::from(be16(words));
    }
    if header_len > bytes.len() {
        return Err(Malformed::Truncated);
    }
    Ok(header_len)
}

/// Big-endian value of the first two octets of a slice that has them.
pub(crate) fn be16(bytes: &[u8]) -> u16 {
    u16::from_be_bytes([bytes[0], bytes[1]])
}

/// Big-endian value of the first four octets of a slice that has them.
pub(crate) fn be32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two CSRCs, a one-word extension, three octets of payload, two of padding.
    const FULL: [u8; 33] = [
        0xb2, 0x88, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0,
        1, 9, 9, 9, 9, 7, 8, 9, 0, 2,
    ];

    #[test]
    fn reads_every_field() {
        let packet = Packet::new_checked(FULL).unwrap();
        assert!(packet.marker());
        assert_eq!(packet.payload_type(), 8);
        assert_eq!(packet.sequence(), 0x1234);
        assert_eq!(packet.timestamp(), 160);
        assert_eq!(packet.ssrc(), 0xdead_beef);
        assert_eq!(packet.csrcs().collect::<Vec<_>>(), [1, 2]);
        assert_eq!(packet.header_len(), 28);
        assert_eq!(packet.payload(), [7, 8, 9]);
    }

    #[test]
    fn writes_only_the_named_field() {
        let mut bytes = FULL;
        let mut packet = Packet::new_checked(&mut bytes[..]).unwrap();
        packet.set_sequence(1);
        packet.set_timestamp(2);
        packet.set_ssrc(3);
        packet.set_payload_type(0xff);
        packet.payload_mut().fill(0);
        let packet = Packet::new_checked(bytes).unwrap();
        assert_eq!((packet.sequence(), packet.timestamp(), packet.ssrc()), (1, 2, 3));
        assert_eq!((packet.marker(), packet.payload_type()), (true, 127));
        assert_eq!(packet.payload(), [0, 0, 0]);
        assert_eq!(bytes[12..28], FULL[12..28]);
        assert_eq!(bytes[31..], FULL[31..]);
    }

    #[test]
    fn names_the_fault() {
        assert_eq!(
            Packet::new_checked(&FULL[..11]).unwrap_err(),
            Malformed::Truncated
        );
        assert_eq!(
            Packet::new_checked(&FULL[..27]).unwrap_err(),
            Malformed::Truncated
        );
        let mut version = FULL;
        version[0] = 0x40;
        assert_eq!(Packet::new_checked(version).unwrap_err(), Malformed::Version);
        for count in [0, 6, 255] {
            let mut padding = FULL;
            padding[32] = count;
            assert_eq!(Packet::new_checked(padding).unwrap_err(), Malformed::Padding);
        }
    }
}
