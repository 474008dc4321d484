//! What the two sides of a call speak: law and encryption of each, and how SDP says so.

use crate::{Error, Result};
use clap::ValueEnum;
use sbc_media::{
    g711::Law,
    srtp::{MasterKey, Suite},
};
use std::net::SocketAddr;

/// What has to be done with the audio of a call between its sides A (who calls) and B.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// RTP with PCMU on both sides: nothing.
    #[default]
    Plain,
    /// RTP to SRTP with AES_CM_128_HMAC_SHA1_80: encrypting and decrypting once.
    Srtp,
    /// PCMU to PCMA.
    Transcode,
    /// SRTP on both sides, each with keys and a suite of its own: both for every packet.
    SrtpSrtp,
    /// PCMU in packets of 20 ms from both sides, of which one wants 40 ms and the other 60: joining them.
    Ptime,
}

/// One side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    /// Its codec.
    pub(crate) law: Law,
    /// SRTP; `None`: RTP.
    pub(crate) suite: Option<Suite>,
    /// Milliseconds in a packet that it wants, a multiple of the [`PTIME_MS`] that it sends.
    pub(crate) ptime_ms: u32,
}

/// Milliseconds in a packet that every side sends.
pub(crate) const PTIME_MS: u32 = 20;

/// Keys of one side: what it sends with, and what is sent to it with.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// Of packets from it.
    pub(crate) ours: MasterKey,
    /// Of packets to it.
    pub(crate) theirs: MasterKey,
}

impl Shape {
    /// A and B.
    pub(crate) fn sides(self) -> [Side; 2] {
        let wanting = |ptime_ms, law, suite| Side { law, suite, ptime_ms };
        let side = |law, suite| wanting(PTIME_MS, law, suite);
        let (short, long) = (Suite::AesCm128Sha1_32, Suite::AesCm128Sha1_80);
        match self {
            Self::Plain => [side(Law::Mu, None); 2],
            Self::Srtp => [side(Law::Mu, None), side(Law::Mu, Some(long))],
            Self::Transcode => [side(Law::Mu, None), side(Law::A, None)],
            // With one suite on both sides rtpengine would pass the keys on and leave the packets as they are.
            Self::SrtpSrtp => [side(Law::Mu, Some(short)), side(Law::Mu, Some(long))],
            Self::Ptime => [wanting(40, Law::Mu, None), wanting(60, Law::Mu, None)],
        }
    }

    /// Its name on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Side {
    /// Static payload type (RFC 3551 §6).
    pub(crate) fn payload_type(self) -> u8 {
        payload_type(self.law)
    }

    /// Encoding name in SDP.
    pub(crate) fn codec(self) -> &'static str {
        match self.law {
            Law::Mu => "PCMU",
            Law::A => "PCMA",
        }
    }

    /// Transport in the m-line.
    pub(crate) fn profile(self) -> &'static str {
        if self.suite.is_some() {
            "RTP/SAVP"
        } else {
            "RTP/AVP"
        }
    }

    /// A whole description with this side's audio at `at`, encrypted with `key` of number `tag`.
    pub(crate) fn sdp(self, at: SocketAddr, tag: u32, key: Option<&MasterKey>) -> String {
        let (ip, port) = (at.ip(), at.port());
        let (profile, format, codec) = (self.profile(), self.payload_type(), self.codec());
        let crypto = key.map_or_else(String::new, |key| {
            format!("a=crypto:{tag} {} inline:{}\r\n", key.suite().name(), inline(key))
        });
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} {profile} {format}\r\na=rtpmap:{format} {codec}/8000\r\n{crypto}a=sendrecv\r\n"
        )
    }

    /// SIPp's scenario `script` for plain PCMU, as this side speaks: its key is the third field of each line of
    /// the injection file, and the SBC's is logged behind its address.
    pub(crate) fn scenario(self, script: &str) -> String {
        let format = self.payload_type();
        let mut text = script
            .replace("RTP/AVP 0 8 101", &format!("RTP/AVP {format} 101"))
            .replace("RTP/AVP 0 101", &format!("RTP/AVP {format} 101"))
            .replace("      a=rtpmap:8 PCMA/8000\n", "")
            .replace(
                "a=rtpmap:0 PCMU/8000",
                &format!("a=rtpmap:{format} {}/8000", self.codec()),
            );
        if let Some(suite) = self.suite {
            let name = suite.name();
            text = text
                .replace("RTP/AVP", self.profile())
                .replace("a=sendrecv", &format!("a=crypto:1 {name} inline:[field2]\n      a=sendrecv"))
                .replace(
                    "      <log message=\"media ",
                    &format!(
                        "      <ereg regexp=\"a=crypto:1 {name} inline:([A-Za-z0-9+/=]+)\" search_in=\"msg\" check_it=\"true\" assign_to=\"8,9\"/>\n      <log message=\"media "
                    ),
                )
                .replace("]\"/>\n    </action>", "] [$9]\"/>\n    </action>")
                .replace("<Reference variables=\"", "<Reference variables=\"8,");
        }
        text
    }

    /// Lines of a trunk of `sbcd` whose peer is this side.
    pub(crate) fn trunk_toml(self, codecs: bool) -> String {
        let mut text = String::new();
        if let Some(suite) = self.suite {
            text += &format!("srtp = \"required\"\nsrtp_suites = [\"{}\"]\n", suite.name());
        }
        if codecs {
            text += &format!("codecs = [\"{}\", \"telephone-event\"]\n", self.codec());
        }
        if self.ptime_ms != PTIME_MS {
            text += &format!("ptime = {}\n", self.ptime_ms);
        }
        text
    }

    /// A key of this side for what it sends, one of a kind for each `seed`.
    pub(crate) fn key(self, seed: u64) -> Option<MasterKey> {
        self.suite.map(|suite| key(suite, seed))
    }
}

/// Static payload type of a law (RFC 3551 §6).
pub(crate) fn payload_type(law: Law) -> u8 {
    match law {
        Law::Mu => 0,
        Law::A => 8,
    }
}

/// A key that no other seed gives. It guards nothing, so that it may be known.
fn key(suite: Suite, seed: u64) -> MasterKey {
    let mut word = seed;
    let octets: Vec<u8> = (0..suite.key_bytes() + suite.salt_bytes())
        .map(|_| {
            word = word
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            (word >> 56) as u8
        })
        .collect();
    MasterKey::new(suite, &octets).expect("as long as the suite wants")
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What follows `inline:` (RFC 4568 §6.1): key and salt in base64 (RFC 4648 §4).
pub(crate) fn inline(key: &MasterKey) -> String {
    let mut text = String::new();
    for chunk in key.key_and_salt().chunks(3) {
        let group = (0..3).fold(0u32, |group, place| {
            group << 8 | u32::from(chunk.get(place).copied().unwrap_or(0))
        });
        for place in 0..4 {
            let sextet = group >> (18 - 6 * place) & 0x3f;
            text.push(if place <= chunk.len() {
                char::from(ALPHABET[sextet as usize])
            } else {
                '='
            });
        }
    }
    text
}

/// The key that `text` is, as [`inline`] writes it.
pub(crate) fn key_of(suite: Suite, text: &str) -> Result<MasterKey> {
    let wrong = || Error::Setup(format!("a key for {} that is none: {text:?}", suite.name()));
    let mut octets = Vec::new();
    let (mut group, mut bits) = (0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let sextet = ALPHABET
            .iter()
            .position(|known| *known == byte)
            .ok_or_else(wrong)?;
        group = group << 6 | sextet as u32;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            octets.push((group >> bits) as u8);
            group &= (1 << bits) - 1;
        }
    }
    MasterKey::new(suite, &octets).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sipp;

    #[test]
    fn a_key_is_written_and_read() {
        // RFC 4568 §10.1.
        let text = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
        let known = key_of(Suite::AesCm128Sha1_80, text).expect("the RFC's own");
        assert_eq!(known.key_and_salt(), b"YS___semctl () {\t220;}\n}\nunles");
        assert_eq!(inline(&known), text);
        for suite in Suite::ALL {
            let key = key(suite, 7);
            assert_eq!(key_of(suite, &inline(&key)).expect("our own"), key);
        }
        assert_ne!(key(Suite::AeadAes128Gcm, 1), key(Suite::AeadAes128Gcm, 2));
        assert!(key_of(Suite::AeadAes256Gcm, text).is_err());
    }

    #[test]
    fn scenarios_say_what_the_side_speaks() {
        for script in ["uac_media", "uas_media"] {
            for side in [Shape::Transcode, Shape::SrtpSrtp].map(|shape| shape.sides()[1]) {
                let text = side.scenario(sipp::built_in(script));
                let m_line = format!(
                    "m=audio [field1] {} {} 101\n      a=rtpmap:{} {}/8000\n      a=rtpmap:101 ",
                    side.profile(),
                    side.payload_type(),
                    side.payload_type(),
                    side.codec()
                );
                assert!(text.contains(&m_line), "{text}");
                assert_eq!(text.contains("] [$9]\"/>"), side.suite.is_some(), "{text}");
                assert_eq!(text.contains("variables=\"8,"), side.suite.is_some());
                assert_eq!(text.contains("inline:[field2]\n"), side.suite.is_some());
            }
        }
    }
}
