//! Reading: a checked view over the bytes of a description.
//!
//! Tolerant where peers differ without harm (LF alone, blank lines, missing `s=` and `t=`, unknown
//! letters and attributes), strict about everything that is used.

use super::{Direction, FORMATS_MAX, Kind, LINES_MAX, MEDIAS_MAX, SIZE_MAX, SdpError};
use smallvec::SmallVec;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
};

/// Payload types whose RTP cannot be told from RTCP (RFC 5761 §4).
pub const RTCP_LOOKALIKES: RangeInclusive<u8> = 64..=95;

/// A description. Everything borrows the message it came in.
#[derive(Clone, Debug)]
pub struct Sdp<'a> {
    origin: Origin<'a>,
    connection: Option<Result<IpAddr, SdpError>>,
    direction: Option<Direction>,
    /// All of it.
    text: &'a [u8],
    /// Lines before the first m-line.
    session: &'a [u8],
    medias: SmallVec<[Media<'a>; 2]>,
}

/// The `o=` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Login, `-` when the peer has none.
    pub username: &'a [u8],
    /// Session id: digits, of any length.
    pub session_id: &'a str,
    /// Version of the session: digits, of any length.
    pub session_version: &'a str,
    /// Address of the creator, often a name or a private address; not where media goes.
    pub address: &'a [u8],
}

/// One m-line with the lines that belong to it.
#[derive(Clone, Copy, Debug)]
pub struct Media<'a> {
    /// Media type.
    pub kind: Kind,
    /// Port; 0: rejected or not offered.
    pub port: u16,
    /// How many port pairs are meant, 1 unless the line says otherwise.
    pub port_count: u16,
    /// Transport protocol, such as `RTP/AVP`.
    pub protocol: &'a str,
    formats: &'a str,
    connection: Option<Result<IpAddr, SdpError>>,
    direction: Option<Direction>,
    /// Value of the first `a=rtcp`.
    rtcp: Option<&'a [u8]>,
    lines: &'a [u8],
}

/// An `a=rtpmap` line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// The payload type it names.
    pub payload_type: u8,
    /// Encoding name, such as `PCMA`.
    pub encoding: &'a str,
    /// Clock rate in Hz.
    pub clock_rate: u32,
    /// Channels of audio; 1 unless the line says otherwise.
    pub channels: u8,
}

/// Where the writer of a description wants a stream's packets, and whether it wants them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaRemote {
    /// RTP. The address is unspecified (`0.0.0.0` or `::`) when `held`.
    pub rtp: SocketAddr,
    /// RTCP: `a=rtcp`, else the port after `rtp`.
    pub rtcp: SocketAddr,
    /// The effective direction: of the m-line, else of the session, else `sendrecv`.
    pub direction: Direction,
    /// Hold as in RFC 2543: an address of all zeros. Neither RTP nor RTCP may be sent.
    pub held: bool,
}

impl MediaRemote {
    /// The direction, with a hold as in RFC 2543 counted in.
    pub fn effective_direction(&self) -> Direction {
        match self.held {
            true => self.direction.without_receiving(),
            false => self.direction,
        }
    }
}

impl<'a> Sdp<'a> {
    /// Check and index a description.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, SdpError> {
        if bytes.len() > SIZE_MAX {
            return Err(SdpError::TooLarge);
        }
        let mut sdp = Self {
            origin: Origin {
                username: b"",
                session_id: "",
                session_version: "",
                address: b"",
            },
            connection: None,
            direction: None,
            text: bytes,
            session: bytes,
            medias: SmallVec::new(),
        };
        let mut origin = None;
        let mut lines = Lines { rest: bytes };
        let mut count = 0;
        while let Some((start, line)) = lines.next_at(bytes) {
            let (letter, value) = split(line)?;
            count += 1;
            if count > LINES_MAX {
                return Err(SdpError::TooLarge);
            }
            if count == 1 && (letter, value) != (b'v', b"0") {
                return Err(SdpError::Version);
            }
            match letter {
                b'm' => {
                    if sdp.medias.len() == MEDIAS_MAX {
                        return Err(SdpError::TooLarge);
                    }
                    // The section before this line ends here.
                    let rest = &bytes[start..];
                    sdp.section_end(rest);
                    let mut media = Media::parse(value)?;
                    media.lines = lines.rest;
                    sdp.medias.push(media);
                }
                b'o' if sdp.medias.is_empty() && origin.is_none() => origin = Some(Origin::parse(value)?),
                b'c' => match sdp.medias.last_mut() {
                    // With several addresses in one section the first is used.
                    Some(media) => _ = media.connection.get_or_insert_with(|| connection_address(value)),
                    None => _ = sdp.connection.get_or_insert_with(|| connection_address(value)),
                },
                b'a' => match (sdp.medias.last_mut(), Direction::parse(value)) {
                    (Some(media), Some(direction)) => media.direction = Some(direction),
                    (None, Some(direction)) => sdp.direction = Some(direction),
                    (Some(media), None) => media.rtcp = media.rtcp.or(value.strip_prefix(b"rtcp:")),
                    (None, None) => {}
                },
                _ => {}
            }
        }
        if count == 0 {
            return Err(SdpError::Version);
        }
        sdp.origin = origin.ok_or(SdpError::Origin)?;
        Ok(sdp)
    }

    /// `rest` begins with the m-line that ends the section being read.
    fn section_end(&mut self, rest: &'a [u8]) {
        let lines = match self.medias.last_mut() {
            Some(media) => &mut media.lines,
            None => &mut self.session,
        };
        *lines = &lines[..lines.len() - rest.len()];
    }

    /// The whole description, as it was read.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The `o=` line.
    pub fn origin(&self) -> Origin<'a> {
        self.origin
    }

    /// The session-level connection address; `None` without a `c=` line.
    pub fn connection(&self) -> Option<Result<IpAddr, SdpError>> {
        self.connection
    }

    /// The m-lines in order.
    pub fn medias(&self) -> &[Media<'a>] {
        &self.medias
    }

    /// The effective direction of an m-line; `sendrecv` for an index out of range.
    pub fn direction_of(&self, index: usize) -> Direction {
        let media = self.medias.get(index).and_then(|media| media.direction);
        media.or(self.direction).unwrap_or_default()
    }

    /// Whether the direction of an m-line is written down rather than the default.
    pub(super) fn direction_is_explicit(&self, index: usize) -> bool {
        self.direction.is_some()
            || self
                .medias
                .get(index)
                .is_some_and(|media| media.direction.is_some())
    }

    /// The first audio stream that can be anchored: a port that is not 0, `RTP/AVP` (nothing here
    /// speaks SRTP, nor the feedback profile AVPF and its attributes), at least one format, one
    /// stream only, and a usable address. `None` means: answer 488.
    pub fn first_audio(&self) -> Option<usize> {
        (0..self.medias.len()).find(|&index| {
            let media = &self.medias[index];
            media.is_plain_audio() && self.remote_of(index).is_ok()
        })
    }

    /// Where to send the packets of m-line `index`.
    pub fn remote_of(&self, index: usize) -> Result<MediaRemote, SdpError> {
        let media = self.medias.get(index).ok_or(SdpError::Index)?;
        let connection = media.connection.or(self.connection).ok_or(SdpError::NoAddress)?;
        let address = connection?;
        let (port, other) = match media.rtcp() {
            Some(own) => own,
            None => (media.port.checked_add(1).ok_or(SdpError::Port)?, None),
        };
        let held = address.is_unspecified();
        Ok(MediaRemote {
            rtp: SocketAddr::new(address, media.port),
            // On hold an address in a=rtcp would contradict the c= line, which means "send nothing".
            rtcp: SocketAddr::new(other.filter(|_| !held).unwrap_or(address), port),
            direction: self.direction_of(index),
            held,
        })
    }

    /// Whether reports are wanted on m-line `index`: not where both of their bandwidths, its own or else the
    /// session's, are zero (RFC 3556 §2).
    pub fn wants_rtcp(&self, index: usize) -> bool {
        let lines = self.medias.get(index).map(Media::lines);
        let is_zero = |kind: &[u8]| {
            let of = |mut lines: Lines<'a>| lines.find_map(|line| line.strip_prefix(kind));
            let bandwidth = lines.and_then(of).or_else(|| of(self.session_lines()));
            bandwidth.and_then(digits) == Some("0")
        };
        !(is_zero(b"b=RS:") && is_zero(b"b=RR:"))
    }

    /// Lines of the session part, v= and o= included.
    pub(super) fn session_lines(&self) -> Lines<'a> {
        Lines { rest: self.session }
    }
}

impl<'a> Origin<'a> {
    /// `username sess-id sess-version nettype addrtype address`
    fn parse(value: &'a [u8]) -> Result<Self, SdpError> {
        let mut words = words(value);
        let mut word = || words.next().ok_or(SdpError::Origin);
        let (username, session_id, session_version) = (word()?, word()?, word()?);
        let (_net, _family, address) = (word()?, word()?, word()?);
        Ok(Self {
            username,
            session_id: digits(session_id).ok_or(SdpError::Origin)?,
            session_version: digits(session_version).ok_or(SdpError::Origin)?,
            address,
        })
    }
}

impl<'a> Media<'a> {
    /// `media port[/count] proto fmt…`
    fn parse(value: &'a [u8]) -> Result<Self, SdpError> {
        let value = std::str::from_utf8(value).map_err(|_| SdpError::Media)?;
        let mut parts = value.trim_ascii().splitn(4, ' ');
        let mut part = || {
            parts
                .next()
                .filter(|part| !part.is_empty())
                .ok_or(SdpError::Media)
        };
        let (kind, ports, protocol) = (part()?, part()?, part()?);
        let formats = parts.next().unwrap_or_default().trim_ascii();
        let (port, port_count) = ports.split_once('/').unwrap_or((ports, "1"));
        let number = |text: &str| digits(text.as_bytes())?.parse().ok();
        let media = Self {
            kind: Kind::parse(kind),
            port: number(port).ok_or(SdpError::Media)?,
            port_count: number(port_count).ok_or(SdpError::Media)?,
            protocol,
            formats,
            connection: None,
            direction: None,
            rtcp: None,
            lines: b"",
        };
        media.check_formats()?;
        Ok(media)
    }

    fn check_formats(&self) -> Result<(), SdpError> {
        // Some peers leave the formats of a rejected line out.
        if self.formats.is_empty() && self.port != 0 {
            return Err(SdpError::Media);
        }
        for (count, format) in self.formats().enumerate() {
            if count == FORMATS_MAX {
                return Err(SdpError::TooLarge);
            }
            if self.is_rtp() && payload_type(format).is_none() {
                return Err(SdpError::PayloadType);
            }
        }
        Ok(())
    }

    /// Formats in order of preference; payload types for RTP.
    pub fn formats(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.formats.split_ascii_whitespace()
    }

    /// Payload types in order of preference; empty for anything but RTP.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> + use<'a> {
        let formats = if self.is_rtp() { self.formats } else { "" };
        formats.split_ascii_whitespace().filter_map(payload_type)
    }

    /// `a=rtpmap` lines that parse, in order.
    pub fn rtpmaps(&self) -> impl Iterator<Item = RtpMap<'a>> + use<'a> {
        self.attributes().filter_map(|(name, value)| {
            if name == b"rtpmap" {
                RtpMap::parse(value?)
            } else {
                None
            }
        })
    }

    /// What payload type `number` stands for: its `a=rtpmap`, or the static assignment of RFC 3551.
    pub fn rtpmap(&self, number: u8) -> Option<RtpMap<'a>> {
        self.rtpmaps()
            .find(|map| map.payload_type == number)
            .or_else(|| RtpMap::of_static(number))
    }

    /// Packet time in milliseconds.
    pub fn ptime(&self) -> Option<u32> {
        self.number(b"ptime")
    }

    /// Longest packet time in milliseconds.
    pub fn maxptime(&self) -> Option<u32> {
        self.number(b"maxptime")
    }

    /// Whether the writer offers RTCP on the RTP port (RFC 5761).
    pub fn rtcp_mux(&self) -> bool {
        self.attributes()
            .any(|(name, value)| name == b"rtcp-mux" && value.is_none())
    }

    /// Whether RTP of all of its payload types can be told from RTCP on the same port.
    pub fn can_mux(&self) -> bool {
        self.payload_types()
            .all(|number| !RTCP_LOOKALIKES.contains(&number))
    }

    /// `a=rtcp:port [nettype addrtype address]` (RFC 3605): the port, and the address when it is a
    /// usable one. A line without a usable port is as good as none.
    fn rtcp(&self) -> Option<(u16, Option<IpAddr>)> {
        let value = self.rtcp?.trim_ascii();
        let (port, address) = match memchr::memchr(b' ', value) {
            Some(space) => (&value[..space], &value[space..]),
            None => (value, &b""[..]),
        };
        let port = digits(port)?.parse().ok().filter(|port| *port != 0)?;
        let address = connection_address(address)
            .ok()
            .filter(|address| !address.is_unspecified());
        Some((port, address))
    }

    fn number(&self, wanted: &[u8]) -> Option<u32> {
        let (_, value) = self.attributes().find(|(name, _)| *name == wanted)?;
        digits(value?.trim_ascii())?.parse().ok()
    }

    /// Whether this is audio over plain RTP with a port.
    pub(super) fn is_plain_audio(&self) -> bool {
        self.is_audio() && !self.is_secure()
    }

    /// Whether this is one stream of audio with a port, over RTP or SRTP: `RTP/AVP` or `RTP/SAVP`.
    pub fn is_audio(&self) -> bool {
        self.kind == Kind::Audio
            && self.port != 0
            && self.port_count == 1
            && (self.is_secure() || self.protocol.eq_ignore_ascii_case("RTP/AVP"))
    }

    /// Whether the protocol is `RTP/SAVP` (RFC 3711 §12).
    pub fn is_secure(&self) -> bool {
        self.protocol.eq_ignore_ascii_case("RTP/SAVP")
    }

    /// Whether the formats are payload types of RTP.
    pub fn is_rtp(&self) -> bool {
        let last = self.protocol.rsplit('/').next().unwrap_or_default();
        ["AVP", "SAVP", "AVPF", "SAVPF"]
            .iter()
            .any(|profile| profile.eq_ignore_ascii_case(last))
    }

    /// Name and value of the `a=` lines.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        self.lines().filter_map(|line| {
            let attribute = line.strip_prefix(b"a=")?;
            Some(match memchr::memchr(b':', attribute) {
                Some(colon) => (&attribute[..colon], Some(&attribute[colon + 1..])),
                None => (attribute, None),
            })
        })
    }

    /// The lines after the m-line.
    pub(super) fn lines(&self) -> Lines<'a> {
        Lines { rest: self.lines }
    }
}

impl<'a> RtpMap<'a> {
    /// `payload-type encoding/clock[/channels]`
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let value = std::str::from_utf8(value).ok()?;
        let (number, encoding) = value.trim_ascii().split_once(' ')?;
        let mut parts = encoding.trim_ascii().split('/');
        let (encoding, clock_rate, channels) = (parts.next()?, parts.next()?, parts.next());
        if parts.next().is_some()
            || encoding.is_empty()
            || encoding.len() > 64
            || !encoding.bytes().all(is_token)
        {
            return None;
        }
        let clock_rate = digits(clock_rate.as_bytes())?
            .parse()
            .ok()
            .filter(|rate| *rate > 0)?;
        let channels = match channels {
            Some(channels) => digits(channels.as_bytes())?.parse().ok()?,
            None => 1,
        };
        Some(Self {
            payload_type: payload_type(number)?,
            encoding,
            clock_rate,
            channels,
        })
    }

    /// Audio payload types with a meaning of their own (RFC 3551 §6).
    fn of_static(payload_type: u8) -> Option<RtpMap<'static>> {
        let (encoding, clock_rate, channels) = match payload_type {
            0 => ("PCMU", 8000, 1),
            3 => ("GSM", 8000, 1),
            4 => ("G723", 8000, 1),
            5 => ("DVI4", 8000, 1),
            6 => ("DVI4", 16000, 1),
            7 => ("LPC", 8000, 1),
            8 => ("PCMA", 8000, 1),
            9 => ("G722", 8000, 1),
            10 => ("L16", 44100, 2),
            11 => ("L16", 44100, 1),
            12 => ("QCELP", 8000, 1),
            13 => ("CN", 8000, 1),
            14 => ("MPA", 90000, 1),
            15 => ("G728", 8000, 1),
            16 => ("DVI4", 11025, 1),
            17 => ("DVI4", 22050, 1),
            18 => ("G729", 8000, 1),
            _ => return None,
        };
        Some(RtpMap {
            payload_type,
            encoding,
            clock_rate,
            channels,
        })
    }
}

/// Lines without their ends, blank ones left out. A line ends with CRLF or LF.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    /// The next line and where it starts within `whole`, which this iterator began with.
    fn next_at(&mut self, whole: &'a [u8]) -> Option<(usize, &'a [u8])> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let start = whole.len() - self.rest.len();
            let (line, rest) = match memchr::memchr(b'\n', self.rest) {
                Some(end) => (&self.rest[..end], &self.rest[end + 1..]),
                None => (self.rest, &b""[..]),
            };
            self.rest = rest;
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                return Some((start, line));
            }
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.next_at(self.rest).map(|(_, line)| line)
    }
}

/// Letter and value of a line.
fn split(line: &[u8]) -> Result<(u8, &[u8]), SdpError> {
    match line {
        // A CR inside would end the line for some readers and not for others.
        [letter @ b'a'..=b'z', b'=', value @ ..] if !value.iter().any(|byte| matches!(byte, b'\r' | 0)) => {
            Ok((*letter, value))
        }
        _ => Err(SdpError::Line),
    }
}

/// `IN IP4 address[/ttl]` or `IN IP6 address`, unicast or unspecified.
fn connection_address(value: &[u8]) -> Result<IpAddr, SdpError> {
    let mut words = words(value);
    let mut word = || {
        words
            .next()
            .and_then(|word| std::str::from_utf8(word).ok())
            .ok_or(SdpError::Address)
    };
    let (net, family, address) = (word()?, word()?, word()?);
    let ip: IpAddr = address.parse().map_err(|_| SdpError::Address)?;
    let family_fits = match ip {
        IpAddr::V4(_) => family.eq_ignore_ascii_case("IP4"),
        IpAddr::V6(_) => family.eq_ignore_ascii_case("IP6"),
    };
    if !net.eq_ignore_ascii_case("IN")
        || !family_fits
        || ip.is_multicast()
        || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
    {
        return Err(SdpError::Address);
    }
    Ok(ip)
}

fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

/// `value` when it is one or more decimal digits and nothing else.
pub(super) fn digits(value: &[u8]) -> Option<&str> {
    let all = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| all)
}

/// A payload type of RTP.
pub(super) fn payload_type(format: &str) -> Option<u8> {
    digits(format.as_bytes())?
        .parse()
        .ok()
        .filter(|number| *number < 128)
}

/// A character of `token` (RFC 8866 §9).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`{|}~".contains(&byte)
}
