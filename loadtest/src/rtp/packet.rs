//! Packets that tell who sent them, which one they are and when they left, and that are whole
//! octet by octet or not at all: 20 ms of audio, in the clear.
//!
//! A packet may be converted from one law of G.711 to the other on its way. So its stamp is written in
//! sixteen octets that both laws tell apart, and the rest of the payload follows from the stamp: the sink
//! makes it again, converts it by the table, and compares.

use crate::shape::payload_type;
use sbc_media::g711::{ALAW_TO_ULAW, Law, ULAW_TO_ALAW};
use std::sync::LazyLock;

/// RTP header and 20 ms of G.711.
pub(crate) const PACKET_LEN: usize = HEADER_LEN + PAYLOAD_LEN;
const HEADER_LEN: usize = 12;
const PAYLOAD_LEN: usize = 160;
/// Packets that are joined to one at most: those of 60 ms.
pub(crate) const PIECES_MAX: usize = 3;
/// The longest packet of those.
pub(crate) const JOINED_LEN_MAX: usize = HEADER_LEN + PIECES_MAX * PAYLOAD_LEN;
/// Magic, stream, sequence, time and a checksum over them, as nibbles.
const STAMP_LEN: usize = 2 * STAMP_OCTETS;
const STAMP_OCTETS: usize = 4 + 4 + 4 + 8 + 8;

const MAGIC: u32 = 0x5bc1_0ad7;
const SSRC_BASE: u32 = 0x7000_0000;

/// What a packet says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Index of the end that sent it.
    pub(crate) stream: u32,
    /// Its number, of which the header has the lower 16 bits.
    pub(crate) sequence: u32,
    /// Wall clock in nanoseconds.
    pub(crate) sent_ns: u64,
}

/// How audio is converted between the laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conversion {
    /// Octet by octet, tables 3 and 4 of G.711; the header stays but for the payload type.
    Tables,
    /// Decoded and encoded again, as most media servers do, by one that writes its own SSRC, sequence numbers
    /// and timestamps.
    Linear,
}

/// What becomes of RTP headers on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Headers {
    /// They stay, but for the payload type.
    Kept,
    /// The stream has another SSRC, and numbers and timestamps that are off by the same from the first packet on: so
    /// whatever leaves under one key of SRTP.
    Moved,
    /// The same, and several packets are joined to one: numbers count those, and the marker is that of the first.
    Joined,
}

/// By how much a stream is off: SSRC, sequence number, timestamp.
type Shift = (u32, u16, u32);

/// What a sink expects: the law that was spoken and the one that it hears.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    heard: Law,
    spoken: Law,
    conversion: Conversion,
    headers: Headers,
    /// Of a stream that is moved, once its first packet has come.
    shift: Option<Shift>,
    /// Number of the last packet of a stream that is joined.
    number: Option<u16>,
    table: &'static [u8; 256],
    /// What is as good, where two values are equally near.
    other: &'static [u8; 256],
}

/// The octets that stand for nibbles in both laws, and what octets of each law stand for.
struct Nibbles {
    octets: [[u8; 16]; 2],
    values: [[u8; 256]; 2],
    identity: [u8; 256],
    /// Decoded and encoded again, from the law of this index: by those who round down, and by those who round up.
    linear: [[[u8; 256]; 2]; 2],
}

/// No nibble.
const NONE: u8 = 0xff;

fn index(law: Law) -> usize {
    match law {
        Law::Mu => 0,
        Law::A => 1,
    }
}

static NIBBLES: LazyLock<Nibbles> = LazyLock::new(|| {
    let octets = || 0..=255u8;
    let linear = [(Law::Mu, Law::A), (Law::A, Law::Mu)].map(|(from, to)| {
        let near: [[u8; 2]; 256] = std::array::from_fn(|octet| nearest(to, from.decoder()[octet]));
        [near.map(|[first, _]| first), near.map(|[_, last]| last)]
    });
    // The same by the tables and by decoding and encoding, there and back.
    let same: Vec<(u8, u8)> = octets()
        .map(|mu| (mu, ULAW_TO_ALAW[usize::from(mu)]))
        .filter(|(mu, a)| {
            let (mu_at, a_at) = (usize::from(*mu), usize::from(*a));
            ALAW_TO_ULAW[a_at] == *mu
                && linear[0].iter().all(|table| table[mu_at] == *a)
                && linear[1].iter().all(|table| table[a_at] == *mu)
        })
        .collect();
    let mut nibbles = Nibbles {
        octets: [[0; 16]; 2],
        values: [[NONE; 256]; 2],
        identity: std::array::from_fn(|octet| octet as u8),
        linear,
    };
    for value in 0..16 {
        let (mu, a) = same[value * same.len() / 16];
        for (law, octet) in [mu, a].into_iter().enumerate() {
            nibbles.octets[law][value] = octet;
            nibbles.values[law][usize::from(octet)] = value as u8;
        }
    }
    nibbles
});

/// The octets of `law` whose values are nearest to `sample`: one twice, or two.
fn nearest(law: Law, sample: i16) -> [u8; 2] {
    let distance = |octet: &u8| (i32::from(law.decoder()[usize::from(*octet)]) - i32::from(sample)).abs();
    let least = (0..=255).map(|octet| distance(&octet)).min();
    let mut near = (0..=255).filter(|octet| Some(distance(octet)) == least);
    let first = near.next().unwrap_or(0);
    [first, near.next_back().unwrap_or(first)]
}

impl Expected {
    /// Audio spoken in one law and heard in another.
    pub(crate) fn new(spoken: Law, heard: Law, conversion: Conversion, headers: Headers) -> Self {
        let [table, other] = match (spoken == heard, conversion) {
            (true, _) => [&NIBBLES.identity; 2],
            (false, Conversion::Linear) => NIBBLES.linear[index(spoken)].each_ref(),
            (false, Conversion::Tables) if spoken == Law::A => [&ALAW_TO_ULAW; 2],
            (false, Conversion::Tables) => [&ULAW_TO_ALAW; 2],
        };
        Self {
            heard,
            spoken,
            conversion,
            headers,
            shift: None,
            number: None,
            table,
            other,
        }
    }

    /// The stamp of `packet`; `None` when it is not octet by octet what [`write()`] made, converted.
    pub(crate) fn read(&mut self, packet: &[u8]) -> Option<Stamp> {
        let packet: &[u8; PACKET_LEN] = packet.try_into().ok()?;
        let (header, payload) = packet.split_at(HEADER_LEN);
        let (stamp, rest) = payload.split_at(STAMP_LEN);
        let stamp = read_stamp(stamp, &NIBBLES.values[index(self.heard)])?;
        let mut expected = [0; PACKET_LEN];
        write_header(&mut expected, self.heard, stamp);
        let shift = shift(header, &expected);
        let same = if self.spoken != self.heard && self.conversion == Conversion::Linear {
            // Version, padding, extension, contributors and payload type.
            header[0] == expected[0] && header[1] & 0x7f == expected[1] & 0x7f
        } else {
            header[..2] == expected[..2]
                && match self.headers {
                    Headers::Kept => shift == Some((0, 0, 0)),
                    Headers::Moved => self.shift.is_none() || self.shift == shift,
                    Headers::Joined => self.shift.is_none_or(|known| {
                        shift.is_some_and(|(ssrc, _, clock)| (ssrc, clock) == (known.0, known.2))
                    }),
                }
        };
        let expected = &mut expected[HEADER_LEN + STAMP_LEN..];
        fill(expected, stamp);
        let same = same
            && rest.iter().zip(expected).all(|(octet, spoken)| {
                let spoken = usize::from(*spoken);
                *octet == self.table[spoken] || *octet == self.other[spoken]
            });
        if same {
            self.shift = shift;
        }
        same.then_some(stamp)
    }
}

/// What packets were joined to one, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The stamp of each.
    pub(crate) stamps: [Option<Stamp>; PIECES_MAX],
    /// Fewer than there is room for.
    pub(crate) short: bool,
}

impl Heard {
    /// A packet as it was sent.
    pub(crate) fn one(stamp: Stamp) -> Self {
        let mut stamps = [None; PIECES_MAX];
        stamps[0] = Some(stamp);
        Self { stamps, short: false }
    }
}

impl Expected {
    /// The stamps of the packets, at most `pieces`, that were joined to `packet`; `None` when it is not octet by octet what
    /// they held, with the SSRC of those before, the time of the first, and a number that none before it had.
    pub(crate) fn read_joined(&mut self, packet: &[u8], pieces: usize) -> Option<Heard> {
        let (header, payload) = packet.split_at_checked(HEADER_LEN)?;
        let number = u16::from_be_bytes(header[2..4].try_into().ok()?);
        let clock = u32::from_be_bytes(header[4..8].try_into().ok()?);
        let goes_on = |last: u16| number.wrapping_sub(last).cast_signed() > 0;
        let count = payload.len() / PAYLOAD_LEN;
        let whole = payload.len() == count * PAYLOAD_LEN && (1..=pieces.min(PIECES_MAX)).contains(&count);
        if !whole || !self.number.is_none_or(goes_on) {
            return None;
        }
        let mut stamps = [None; PIECES_MAX];
        for ((n, piece), stamp) in (0u32..).zip(payload.chunks_exact(PAYLOAD_LEN)).zip(&mut stamps) {
            let mut packet = [0; PACKET_LEN];
            packet[..HEADER_LEN].copy_from_slice(header);
            let time = clock.wrapping_add(n * PAYLOAD_LEN as u32);
            packet[4..8].copy_from_slice(&time.to_be_bytes());
            if n > 0 {
                packet[1] &= 0x7f;
            }
            packet[HEADER_LEN..].copy_from_slice(piece);
            *stamp = Some(self.read(&packet)?);
        }
        self.number = Some(number);
        Some(Heard {
            stamps,
            short: count < pieces,
        })
    }
}

/// By how much the numbers of `header` are off those of `expected`.
fn shift(header: &[u8], expected: &[u8]) -> Option<Shift> {
    let numbers = |header: &[u8]| {
        let word = |at: usize| Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?));
        Some((word(8)?, word(0)? as u16, word(4)?))
    };
    let ((ssrc, sequence, timestamp), (own, first, clock)) = (numbers(header)?, numbers(expected)?);
    Some((
        ssrc.wrapping_sub(own),
        sequence.wrapping_sub(first),
        timestamp.wrapping_sub(clock),
    ))
}

/// A packet of `law`.
pub(crate) fn write(packet: &mut [u8; PACKET_LEN], law: Law, stamp: Stamp) {
    write_header(packet, law, stamp);
    let payload = &mut packet[HEADER_LEN..];
    write_stamp(&mut payload[..STAMP_LEN], stamp, &NIBBLES.octets[index(law)]);
    fill(&mut payload[STAMP_LEN..], stamp);
}

fn write_header(packet: &mut [u8; PACKET_LEN], law: Law, stamp: Stamp) {
    let Stamp { stream, sequence, .. } = stamp;
    packet[0] = 0x80;
    // The marker bit starts a talk spurt (RFC 3551 §4.1).
    packet[1] = payload_type(law) | if sequence == super::FIRST { 0x80 } else { 0 };
    packet[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
    packet[4..8].copy_from_slice(&sequence.wrapping_mul(PAYLOAD_LEN as u32).to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc(stream).to_be_bytes());
}

/// What the header calls a stream.
pub(crate) fn ssrc(stream: u32) -> u32 {
    SSRC_BASE + stream
}

fn write_stamp(into: &mut [u8], stamp: Stamp, nibbles: &[u8; 16]) {
    for (pair, octet) in into.chunks_exact_mut(2).zip(stamp_octets(stamp)) {
        pair[0] = nibbles[usize::from(octet >> 4)];
        pair[1] = nibbles[usize::from(octet & 0x0f)];
    }
}

fn stamp_octets(stamp: Stamp) -> [u8; STAMP_OCTETS] {
    let mut octets = [0; STAMP_OCTETS];
    octets[..4].copy_from_slice(&MAGIC.to_be_bytes());
    octets[4..8].copy_from_slice(&stamp.stream.to_be_bytes());
    octets[8..12].copy_from_slice(&stamp.sequence.to_be_bytes());
    octets[12..20].copy_from_slice(&stamp.sent_ns.to_be_bytes());
    let sum = mixed(mixed(stamp.sent_ns) ^ (u64::from(stamp.stream) << 32 | u64::from(stamp.sequence)));
    octets[20..].copy_from_slice(&sum.to_be_bytes());
    octets
}

fn read_stamp(from: &[u8], values: &[u8; 256]) -> Option<Stamp> {
    let mut octets = [0; STAMP_OCTETS];
    for (octet, pair) in octets.iter_mut().zip(from.chunks_exact(2)) {
        let (high, low) = (values[usize::from(pair[0])], values[usize::from(pair[1])]);
        if high == NONE || low == NONE {
            return None;
        }
        *octet = high << 4 | low;
    }
    let stamp = Stamp {
        stream: u32::from_be_bytes(octets[4..8].try_into().ok()?),
        sequence: u32::from_be_bytes(octets[8..12].try_into().ok()?),
        sent_ns: u64::from_be_bytes(octets[12..20].try_into().ok()?),
    };
    (octets == stamp_octets(stamp)).then_some(stamp)
}

/// What follows the stamp: every value of an octet comes up in every second or third packet.
fn fill(rest: &mut [u8], stamp: Stamp) {
    let mut word =
        (u64::from(stamp.stream) << 32 | u64::from(stamp.sequence)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in rest.chunks_mut(8) {
        word = mixed(word);
        part.copy_from_slice(&word.to_be_bytes()[..part.len()]);
    }
}

/// Spread every bit over all (the finalizer of SplitMix64).
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        stream: 3,
        sequence: 70_000,
        sent_ns: 123_456_789_012_345_678,
    };

    fn packet(law: Law) -> [u8; PACKET_LEN] {
        let mut packet = [0; PACKET_LEN];
        write(&mut packet, law, STAMP);
        packet
    }

    #[test]
    fn any_flipped_bit_is_seen() {
        let mut packet = packet(Law::Mu);
        let mut expected = Expected::new(Law::Mu, Law::Mu, Conversion::Tables, Headers::Kept);
        assert_eq!(expected.read(&packet), Some(STAMP));
        for bit in 0..PACKET_LEN * 8 {
            packet[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(expected.read(&packet), None, "bit {bit}");
            packet[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(expected.read(&packet[1..]), None);
    }

    #[test]
    fn a_converted_packet_is_known_and_no_other() {
        for (spoken, heard) in [(Law::Mu, Law::A), (Law::A, Law::Mu)] {
            let mut packet = packet(spoken);
            for conversion in [Conversion::Tables, Conversion::Linear] {
                let mut expected = Expected::new(spoken, heard, conversion, Headers::Kept);
                assert_eq!(expected.read(&packet), None, "not converted");
                let mut converted = packet;
                converted[1] = converted[1] & 0x80 | payload_type(heard);
                converted[HEADER_LEN..]
                    .iter_mut()
                    .for_each(|octet| *octet = expected.table[usize::from(*octet)]);
                assert_eq!(expected.read(&converted), Some(STAMP));
                converted[PACKET_LEN - 1] ^= 1;
                assert_eq!(expected.read(&converted), None);
                converted[PACKET_LEN - 1] ^= 1;
                // One that makes its own headers is told from one that must not.
                converted[2] ^= 1;
                assert_eq!(
                    expected.read(&converted).is_some(),
                    conversion == Conversion::Linear
                );
            }
            packet[1] = payload_type(heard);
            let mut expected = Expected::new(spoken, heard, Conversion::Tables, Headers::Kept);
            assert_eq!(expected.read(&packet), None, "renumbered only");
        }
    }

    #[test]
    fn a_stream_that_is_moved_is_moved_by_the_same_in_every_packet() {
        let mut expected = Expected::new(Law::Mu, Law::Mu, Conversion::Tables, Headers::Moved);
        let moved = |sequence: u32, by: (u32, u16, u32)| {
            let mut packet = [0; PACKET_LEN];
            write(&mut packet, Law::Mu, Stamp { sequence, ..STAMP });
            let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
            let (numbers, clock, ssrc) = (word(0), word(4), word(8));
            let sequence = (numbers as u16).wrapping_add(by.1);
            packet[2..4].copy_from_slice(&sequence.to_be_bytes());
            packet[4..8].copy_from_slice(&clock.wrapping_add(by.2).to_be_bytes());
            packet[8..12].copy_from_slice(&ssrc.wrapping_add(by.0).to_be_bytes());
            packet
        };
        let by = (5, 65_000, 7);
        for sequence in [65_530, 65_540, 131_080, 65_531] {
            assert!(expected.read(&moved(sequence, by)).is_some(), "{sequence}");
        }
        for other in [(6, 65_000, 7), (5, 65_001, 7), (5, 65_000, 8), (0, 0, 0)] {
            assert!(expected.read(&moved(65_541, other)).is_none(), "{other:?}");
        }
        assert!(expected.read(&moved(65_541, by)).is_some());
    }

    #[test]
    fn packets_that_are_joined_are_told_apart() {
        let joined = |number: u16, first: u32, pieces: u32| {
            let mut joined = Vec::new();
            for sequence in first..first + pieces {
                let mut packet = [0; PACKET_LEN];
                write(&mut packet, Law::Mu, Stamp { sequence, ..STAMP });
                if sequence == first {
                    joined.extend_from_slice(&packet[..HEADER_LEN]);
                    joined[2..4].copy_from_slice(&number.to_be_bytes());
                }
                joined.extend_from_slice(&packet[HEADER_LEN..]);
            }
            joined
        };
        let mut expected = Expected::new(Law::Mu, Law::Mu, Conversion::Tables, Headers::Joined);
        let mut read = |packet: &[u8]| {
            let heard = expected.read_joined(packet, 3)?;
            let numbers = heard.stamps.into_iter().flatten().map(|stamp| stamp.sequence);
            Some((numbers.collect::<Vec<_>>(), heard.short))
        };
        let first = crate::rtp::FIRST;
        let full = |from: u32| Some((vec![from, from + 1, from + 2], false));
        assert_eq!(read(&joined(65_535, first, 3)), full(first));
        assert_eq!(read(&joined(0, first + 3, 3)), full(first + 3));
        assert_eq!(read(&joined(0, first + 6, 3)), None, "its number is used");
        assert_eq!(read(&joined(1, first + 6, 4)), None, "too long");
        assert_eq!(read(&joined(1, first + 6, 0)), None);
        assert_eq!(read(&joined(1, first + 6, 3)[..400]), None, "no whole packets");
        let mut wrong = joined(1, first + 6, 3);
        for at in [1, 5, 11, 12, 200, 491] {
            wrong[at] ^= 1;
            assert_eq!(read(&wrong), None, "{at}");
            wrong[at] ^= 1;
        }
        assert_eq!(read(&wrong), full(first + 6));
        assert_eq!(read(&joined(3, first + 12, 1)), Some((vec![first + 12], true)));
    }

    #[test]
    fn the_tables_are_at_most_a_step_from_decoding_and_encoding() {
        for (from, to) in [(Law::Mu, Law::A), (Law::A, Law::Mu)] {
            let tables = Expected::new(from, to, Conversion::Tables, Headers::Kept).table;
            let linear = Expected::new(from, to, Conversion::Linear, Headers::Kept);
            let mut values: Vec<i16> = to.decoder().to_vec();
            values.sort_unstable();
            values.dedup();
            let place = |octet: u8| {
                values
                    .binary_search(&to.decoder()[usize::from(octet)])
                    .unwrap_or(0)
            };
            for octet in 0..256 {
                for linear in [linear.table, linear.other] {
                    let apart = place(tables[octet]).abs_diff(place(linear[octet]));
                    assert!(apart <= 1, "{from:?} {octet:#x}: {apart} steps");
                }
            }
        }
    }
}
