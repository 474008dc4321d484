//! Writing: the description for the other leg, from an allow-list.
//!
//! What is kept is taken apart and written again, so that nothing rides along: no address, name or
//! line break of the side it came from can pass by a field that was thought harmless.

use super::{
    Codec, CryptoLine, Direction, Format, Kind, Media, Sdp, SdpError,
    events::{EVENTS_OFFERED, TELEPHONE_EVENT},
    parse::{RtpMap, digits, payload_type},
};
use crate::text::put;
use std::net::IpAddr;

/// The line by which RTCP goes by the RTP port (RFC 5761 §5.1.1).
pub const RTCP_MUX: &[u8] = b"a=rtcp-mux\r\n";

/// Longest value of `a=fmtp` that is passed on.
const FMTP_MAX: usize = 512;

/// What the written description says about us.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite<'a> {
    /// Our name in `o=`; `-` or a token.
    pub username: &'a str,
    /// Our id of the session on this leg, the same in every description of the leg.
    pub session_id: u64,
    /// Incremented when the description changes, see [`without_origin`].
    pub session_version: u64,
    /// Our media address.
    pub address: IpAddr,
    /// Which m-line is anchored, and our RTP port for it; our RTCP port is the next one. `None`
    /// refuses every stream.
    pub audio: Option<(usize, u16)>,
}

/// In what the anchored m-line differs from the one that it is made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Adapt<'a> {
    /// The m-line that is anchored, or that its reader knows as such although it is rejected now.
    pub line: usize,
    /// `RTP/SAVP` or not; `None`: as it was, which must be `RTP/AVP`.
    pub secure: Option<bool>,
    /// Lines of ours for `a=crypto` (RFC 4568).
    pub crypto: &'a [CryptoLine],
    /// The formats, in this order; `None`: as they were.
    pub formats: Option<&'a [Format]>,
    /// `a=rtcp-mux` (RFC 5761).
    pub mux: bool,
    /// The direction; `None`: as it was.
    pub direction: Option<Direction>,
    /// How long packets are; `None`: as it was.
    pub packet_times: Option<PacketTimes>,
}

/// How long packets are that the writer wants (RFC 8866 §6.4, §6.5), in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketTimes {
    /// Its wish: `a=ptime`.
    pub ptime_ms: u32,
    /// At most: `a=maxptime`.
    pub maxptime_ms: Option<u32>,
}

impl Sdp<'_> {
    /// Append the description for the other leg to `out`.
    ///
    /// Every m-line stays in its place (RFC 3264 §6). The anchored one gets our port, unless its
    /// writer rejected it, and keeps formats, `rtpmap`, `fmtp`, `ptime`, `maxptime`, direction and
    /// numeric bandwidths; the others get port 0. An address of all zeros (hold as in RFC 2543)
    /// becomes our address and a direction. `out` is left as it was on error.
    pub fn rewrite(&self, out: &mut Vec<u8>, with: &Rewrite<'_>) -> Result<(), SdpError> {
        self.rewrite_as(out, with, &Adapt::default())
    }

    /// [`Sdp::rewrite`], with the anchored m-line as `adapt` says.
    pub fn rewrite_as(
        &self,
        out: &mut Vec<u8>,
        with: &Rewrite<'_>,
        adapt: &Adapt<'_>,
    ) -> Result<(), SdpError> {
        if with.audio.is_some_and(|(index, _)| index >= self.medias().len()) {
            return Err(SdpError::Index);
        }
        // Everything that can fail is checked before the first octet is written.
        for (index, media) in self.medias().iter().enumerate() {
            registered_protocol(media.protocol)
                .and(media.kind.name())
                .ok_or(SdpError::UnknownMedia)?;
            if with.audio.is_some_and(|(anchored, _)| anchored == index) && media.port != 0 {
                if !media.is_plain_audio() && (adapt.secure.is_none() || !media.is_audio()) {
                    return Err(SdpError::Media);
                }
                self.remote_of(index)?;
            }
        }
        self.write(out, with, adapt);
        Ok(())
    }

    /// Its m-lines in order, as [`Sdp::rewrite_as`] writes them with `adapt`, for [`write_missing`].
    pub fn lines(&self, adapt: &Adapt<'_>) -> impl Iterator<Item = Line> {
        self.medias().iter().enumerate().map(|(index, media)| Line {
            kind: media.kind.name().unwrap_or_default(),
            protocol: protocol_of(media, index, adapt),
        })
    }

    fn write(&self, out: &mut Vec<u8>, with: &Rewrite<'_>, adapt: &Adapt<'_>) {
        let family = if with.address.is_ipv4() { "IP4" } else { "IP6" };
        let Rewrite {
            username,
            session_id,
            session_version,
            address,
            ..
        } = *with;
        put!(out, "v=0\r\no=", username, " ", session_id, " ", session_version);
        put!(out, " IN ", family, " ", address, "\r\n");
        put!(out, "s=-\r\nc=IN ", family, " ", address, "\r\n");
        write_bandwidths(out, self.session_lines());
        out.extend_from_slice(b"t=0 0\r\n");
        for (index, media) in self.medias().iter().enumerate() {
            match with.audio {
                Some((anchored, port)) if anchored == index && media.port != 0 => {
                    self.write_anchored(out, index, media, port, adapt);
                }
                _ => write_rejected(out, media, protocol_of(media, index, adapt)),
            }
        }
    }

    fn write_anchored(
        &self,
        out: &mut Vec<u8>,
        index: usize,
        media: &Media<'_>,
        port: u16,
        adapt: &Adapt<'_>,
    ) {
        write_media_line(out, media, port, protocol_of(media, index, adapt));
        match adapt.formats {
            Some(formats) => {
                for format in formats {
                    put!(out, " ", format.number);
                }
            }
            None => {
                for number in media.payload_types() {
                    put!(out, " ", number);
                }
            }
        }
        out.extend_from_slice(b"\r\n");
        write_bandwidths(out, media.lines());
        write_added(out, media, adapt.formats.unwrap_or_default());
        let told = Told {
            media,
            formats: adapt.formats,
        };
        for (name, value) in media.attributes() {
            match (name, value) {
                (b"rtpmap", Some(value)) => write_rtpmap(out, told, value),
                (b"fmtp", Some(value)) => write_fmtp(out, told, value),
                _ => {}
            }
        }
        if adapt.mux {
            out.extend_from_slice(RTCP_MUX);
        }
        for line in adapt.crypto {
            line.write(out);
        }
        let (ptime, maxptime) = match adapt.packet_times {
            Some(times) => (Some(times.ptime_ms), times.maxptime_ms),
            None => (media.ptime(), media.maxptime()),
        };
        if let Some(ptime) = ptime {
            put!(out, "a=ptime:", ptime, "\r\n");
        }
        if let Some(maxptime) = maxptime {
            put!(out, "a=maxptime:", maxptime, "\r\n");
        }
        let written = self.remote_of(index).map(|remote| remote.effective_direction());
        let written = written.unwrap_or_else(|_| self.direction_of(index));
        let direction = adapt.direction.unwrap_or(written);
        if direction != Direction::SendRecv || self.direction_is_explicit(index) {
            put!(out, "a=", direction.name(), "\r\n");
        }
    }
}

/// What [`Sdp::rewrite`] wrote, without the `v=` and `o=` lines it begins with: as long as this
/// stays the same, so does the version in `o=` (RFC 3264 §8).
pub fn without_origin(written: &[u8]) -> &[u8] {
    let mut ends = memchr::memchr_iter(b'\n', written);
    ends.nth(1).map_or(written, |end| &written[end + 1..])
}

/// An m-line, as far as it takes to say that it is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    kind: &'static str,
    protocol: &'static str,
}

/// Append the m-lines of `told`, which the reader of the other description was told of, that a description
/// with `present` m-lines lacks. An answer has as many lines as the offer (RFC 3264 §6) and no later
/// description has fewer (§8): who swallows some is taken to have rejected them.
pub fn write_missing(out: &mut Vec<u8>, present: usize, told: &[Line]) {
    for Line { kind, protocol } in told.iter().skip(present) {
        let format = match *kind {
            _ if protocol.contains("RTP/") => "0",
            "image" => "t38",
            _ => "*",
        };
        put!(out, "m=", *kind, " 0 ", *protocol, " ", format, "\r\n");
    }
}

/// The protocol that m-line `index` has in what is written.
fn protocol_of(media: &Media<'_>, index: usize, adapt: &Adapt<'_>) -> &'static str {
    let protocol = registered_protocol(media.protocol).unwrap_or_default();
    match adapt.secure {
        Some(secure) if index == adapt.line && matches!(protocol, "RTP/AVP" | "RTP/SAVP") => {
            if secure {
                "RTP/SAVP"
            } else {
                "RTP/AVP"
            }
        }
        _ => protocol,
    }
}

fn write_media_line(out: &mut Vec<u8>, media: &Media<'_>, port: u16, protocol: &str) {
    let kind = media.kind.name().unwrap_or_default();
    put!(out, "m=", kind, " ", port, " ", protocol);
}

/// An m-line with port 0. Its formats carry no meaning then (RFC 3264 §6), but one must be there.
fn write_rejected(out: &mut Vec<u8>, media: &Media<'_>, protocol: &str) {
    write_media_line(out, media, 0, protocol);
    let start = out.len();
    for format in media.formats() {
        let known = KNOWN_FORMATS
            .iter()
            .find(|known| known.eq_ignore_ascii_case(format));
        match (payload_type(format), known) {
            (Some(number), _) => put!(out, " ", number),
            (None, Some(known)) => put!(out, " ", *known),
            (None, None) => {}
        }
    }
    if out.len() == start {
        let default = match media.kind {
            _ if media.is_rtp() => "0",
            Kind::Image => "t38",
            _ => "*",
        };
        put!(out, " ", default);
    }
    put!(out, "\r\n");
}

/// `b=AS:` and `b=TIAS:` with a number.
fn write_bandwidths<'a>(out: &mut Vec<u8>, lines: impl Iterator<Item = &'a [u8]>) {
    for line in lines {
        for kind in ["AS", "TIAS"] {
            let value = line
                .strip_prefix(b"b=")
                .and_then(|line| line.strip_prefix(kind.as_bytes()));
            let number = value.and_then(|value| digits(value.strip_prefix(b":")?)?.parse::<u64>().ok());
            if let Some(number) = number {
                put!(out, "b=", kind, ":", number, "\r\n");
            }
        }
    }
}

/// `a=rtpmap` of those among `formats` that `media` does not have: laws of G.711 that stand in for others, and
/// telephone events.
fn write_added(out: &mut Vec<u8>, media: &Media<'_>, formats: &[Format]) {
    for Format { number, codec } in formats {
        let name = match codec {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            codec if *codec == Codec::telephone_events() => TELEPHONE_EVENT,
            Codec::Other(..) => continue,
        };
        if media.payload_types().all(|known| known != *number) {
            put!(out, "a=rtpmap:", *number, " ", name, "/8000\r\n");
            if name == TELEPHONE_EVENT {
                put!(out, "a=fmtp:", *number, " ", EVENTS_OFFERED, "\r\n");
            }
        }
    }
}

/// The payload types that are told of an m-line.
#[derive(Clone, Copy)]
struct Told<'s, 'a> {
    media: &'s Media<'a>,
    formats: Option<&'s [Format]>,
}

impl Told<'_, '_> {
    fn has(self, number: u8) -> bool {
        let mut own = self.media.payload_types();
        own.any(|known| known == number)
            && self
                .formats
                .is_none_or(|formats| formats.iter().any(|format| format.number == number))
    }
}

/// `a=rtpmap` of a payload type in the m-line. The channel count is kept as written or left out.
fn write_rtpmap(out: &mut Vec<u8>, told: Told<'_, '_>, value: &[u8]) {
    let Some(map) = RtpMap::parse(value).filter(|map| told.has(map.payload_type)) else {
        return;
    };
    put!(
        out,
        "a=rtpmap:",
        map.payload_type,
        " ",
        map.encoding,
        "/",
        map.clock_rate
    );
    if value.iter().filter(|byte| **byte == b'/').count() == 2 {
        put!(out, "/", map.channels);
    }
    put!(out, "\r\n");
}

/// `a=fmtp` of a payload type in the m-line: parameters of the codec, which only it understands;
/// so all of printable ASCII, or nothing.
fn write_fmtp(out: &mut Vec<u8>, told: Told<'_, '_>, value: &[u8]) {
    let Ok(value) = std::str::from_utf8(value) else {
        return;
    };
    let Some((number, parameters)) = value.split_once(' ') else {
        return;
    };
    let parameters = parameters.trim_ascii();
    let printable = parameters.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match payload_type(number) {
        Some(number) if told.has(number) && printable && (1..=FMTP_MAX).contains(&parameters.len()) => {
            put!(out, "a=fmtp:", number, " ", parameters, "\r\n");
        }
        _ => {}
    }
}

/// Formats of other transports than RTP that have a meaning to anybody.
const KNOWN_FORMATS: [&str; 3] = ["*", "t38", "webrtc-datachannel"];

/// The registered spelling of a transport protocol. Anything else could be a message in a bottle.
fn registered_protocol(protocol: &str) -> Option<&'static str> {
    const REGISTERED: [&str; 25] = [
        "RTP/AVP",
        "RTP/SAVP",
        "RTP/AVPF",
        "RTP/SAVPF",
        "UDP/TLS/RTP/SAVP",
        "UDP/TLS/RTP/SAVPF",
        "TCP/RTP/AVP",
        "TCP/RTP/AVPF",
        "TCP/RTP/SAVP",
        "TCP/RTP/SAVPF",
        "TCP/DTLS/RTP/SAVP",
        "TCP/DTLS/RTP/SAVPF",
        "udptl",
        "UDP/TLS/UDPTL",
        "UDP",
        "TCP",
        "TCP/TLS",
        "TCP/MSRP",
        "TCP/TLS/MSRP",
        "TCP/BFCP",
        "TCP/TLS/BFCP",
        "UDP/BFCP",
        "UDP/DTLS/SCTP",
        "TCP/DTLS/SCTP",
        // As in the drafts of RFC 8841; still sent by old browsers and gateways.
        "DTLS/SCTP",
    ];
    REGISTERED
        .iter()
        .copied()
        .find(|known| known.eq_ignore_ascii_case(protocol))
}
