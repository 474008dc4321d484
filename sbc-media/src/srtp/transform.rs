//! The two cryptographic transforms over whole packets: where in an RTP or RTCP packet lies what is
//! encrypted, what is authenticated, and the tag.
//!
//! ```text
//! AES-CM   RTP    header | encrypted | tag                        tag over all before it, and the ROC
//!          RTCP   8 octets | encrypted | E, index | tag           tag over all before it
//! AES-GCM  RTP    header | encrypted | tag
//!          RTCP   8 octets | encrypted | tag | E, index           header and last word are AAD
//! ```

use super::{
    MasterKey, RTCP_HEADER_LEN, Refused, Suite,
    cipher::Aes,
    derive::{Label, session_key},
    gcm::{self, BadTag, Gcm},
    hmac::HmacSha1,
    identified::Identified,
};
use aes::{Aes128Enc, Aes256Enc, cipher::KeyInit};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Set in the last word of an SRTCP packet that is encrypted.
const E: u32 = 1 << 31;

/// Octets of the word of E bit and SRTCP index.
const WORD: usize = 4;

/// The session keys of one direction: one transform for RTP, one for RTCP, each around others where packets name their key.
pub(super) struct Session {
    pub(super) suite: Suite,
    pub(super) rtp: Transform,
    pub(super) rtcp: Transform,
}

impl Session {
    pub(super) fn new(master: &MasterKey) -> Self {
        let suite = master.suite();
        let [mut rtp, mut rtcp] = Self::transforms(master);
        if let Some(mki) = master.mki() {
            let mut named = [rtp, rtcp].map(|transform| Identified::new(mki.clone(), transform));
            for key in master.further() {
                let Some(mki) = key.mki() else { continue };
                for (named, transform) in named.iter_mut().zip(Self::transforms(key)) {
                    named.add(mki.clone(), transform);
                }
            }
            [rtp, rtcp] = named.map(|named| Transform::Identified(Box::new(named)));
        }
        Self { suite, rtp, rtcp }
    }

    /// Of one key, for RTP and for RTCP.
    fn transforms(master: &MasterKey) -> [Transform; 2] {
        let suite = master.suite();
        let transform = |tag_len, [encryption, authentication, salt]: [Label; 3]| match suite {
            Suite::AesCm128Sha1_80 | Suite::AesCm128Sha1_32 => Transform::Cm128(Cm {
                cipher: Aes128Enc::new((&*session_key::<16>(master, encryption)).into()),
                salt: counter_block(&session_key(master, salt)),
                hmac: HmacSha1::new(&session_key(master, authentication)),
                tag_len,
            }),
            Suite::AesCm256Sha1_80 | Suite::AesCm256Sha1_32 => Transform::Cm256(Cm {
                cipher: Aes256Enc::new((&*session_key::<32>(master, encryption)).into()),
                salt: counter_block(&session_key(master, salt)),
                hmac: HmacSha1::new(&session_key(master, authentication)),
                tag_len,
            }),
            Suite::AeadAes128Gcm => Transform::Gcm(Gcm::new(
                &*session_key::<16>(master, encryption),
                &session_key(master, salt),
            )),
            Suite::AeadAes256Gcm => Transform::Gcm(Gcm::new(
                &*session_key::<32>(master, encryption),
                &session_key(master, salt),
            )),
        };
        [
            transform(
                suite.rtp_tag_bytes(),
                [Label::RtpEncryption, Label::RtpAuthentication, Label::RtpSalt],
            ),
            transform(
                suite.rtcp_tag_bytes(),
                [Label::RtcpEncryption, Label::RtcpAuthentication, Label::RtcpSalt],
            ),
        ]
    }
}

/// A session salt of 112 bits in front of the 16 bits that count blocks.
fn counter_block(salt: &[u8; 14]) -> u128 {
    let mut block = [0; 16];
    block[..14].copy_from_slice(salt);
    u128::from_be_bytes(block)
}

/// AES in counter mode with HMAC-SHA1 (RFC 3711 §4.1.1, §4.2.1), under one set of session keys.
pub(super) struct Cm<C> {
    cipher: C,
    salt: u128,
    hmac: HmacSha1,
    tag_len: usize,
}

impl<C> Drop for Cm<C> {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

/// A transform under one set of session keys, for RTP or for RTCP.
#[expect(
    clippy::large_enum_variant,
    reason = "two stand in one boxed Sender or Receiver; none is moved about"
)]
pub(super) enum Transform {
    Cm128(Cm<Aes128Enc>),
    Cm256(Cm<Aes256Enc>),
    Gcm(Gcm),
    /// Packets name one of several keys.
    Identified(Box<Identified>),
}

impl Transform {
    /// Octets by which protecting makes an RTP packet longer.
    #[inline]
    pub(super) fn rtp_overhead(&self) -> usize {
        match self {
            Self::Cm128(cm) => cm.tag_len,
            Self::Cm256(cm) => cm.tag_len,
            Self::Gcm(_) => gcm::TAG_LEN,
            Self::Identified(named) => named.rtp_overhead(),
        }
    }

    /// Octets of a packet that stand behind an MKI: the tag, but for that of AES-GCM, which belongs to the text.
    pub(super) fn behind_mki(&self) -> usize {
        match self {
            Self::Cm128(cm) => cm.tag_len,
            Self::Cm256(cm) => cm.tag_len,
            Self::Gcm(_) | Self::Identified(_) => 0,
        }
    }

    /// Octets by which protecting makes an RTCP packet longer.
    #[inline]
    pub(super) fn rtcp_overhead(&self) -> usize {
        self.rtp_overhead() + WORD
    }

    /// Protect an RTP packet. `packet` ends with [`Self::rtp_overhead`] octets for the tag.
    #[inline]
    pub(super) fn seal_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) {
        match self {
            Self::Cm128(cm) => cm.seal_rtp(packet, header_len, ssrc, index),
            Self::Cm256(cm) => cm.seal_rtp(packet, header_len, ssrc, index),
            Self::Gcm(gcm) => {
                let (packet, tag) = packet.split_at_mut(packet.len() - gcm::TAG_LEN);
                let (header, text) = packet.split_at_mut(header_len);
                gcm.seal(ssrc, index, header, text, tag);
            }
            Self::Identified(named) => named.seal(packet, |transform, packet| {
                transform.seal_rtp(packet, header_len, ssrc, index);
            }),
        }
    }

    /// Check and decrypt an RTP packet that has room for `header_len` octets and a tag. Returns the
    /// length without tag. When the tag is bad, the packet may have been destroyed.
    #[inline]
    pub(super) fn open_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, BadTag> {
        match self {
            Self::Cm128(cm) => cm.open_rtp(packet, header_len, ssrc, index),
            Self::Cm256(cm) => cm.open_rtp(packet, header_len, ssrc, index),
            Self::Gcm(gcm) => {
                let (packet, tag) = packet.split_last_chunk_mut().ok_or(BadTag)?;
                let (header, text) = packet.split_at_mut(header_len);
                gcm.open(ssrc, index, header, text, *tag)?;
                Ok(packet.len())
            }
            Self::Identified(named) => {
                let (transform, packet) = named.named(packet)?;
                transform.open_rtp(packet, header_len, ssrc, index)
            }
        }
    }

    /// Protect and encrypt an RTCP packet. `packet` ends with [`Self::rtcp_overhead`] octets of room.
    pub(super) fn seal_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32) {
        let word = (E | index).to_be_bytes();
        match self {
            Self::Cm128(cm) => cm.seal_rtcp(packet, ssrc, index, word),
            Self::Cm256(cm) => cm.seal_rtcp(packet, ssrc, index, word),
            Self::Gcm(gcm) => {
                let (packet, end) = packet.split_at_mut(packet.len() - WORD);
                end.copy_from_slice(&word);
                let (packet, tag) = packet.split_at_mut(packet.len() - gcm::TAG_LEN);
                let (header, text) = packet.split_at_mut(RTCP_HEADER_LEN);
                gcm.seal(ssrc, index.into(), &rtcp_aad(header, word), text, tag);
            }
            Self::Identified(named) => named.seal(packet, |transform, packet| {
                transform.seal_rtcp(packet, ssrc, index);
            }),
        }
    }

    /// The word of E bit and index of an RTCP packet, which anybody may have written.
    pub(super) fn rtcp_word(&self, packet: &[u8]) -> Result<RtcpWord, Refused> {
        let end = match self {
            Self::Cm128(cm) => packet.len().checked_sub(cm.tag_len),
            Self::Cm256(cm) => packet.len().checked_sub(cm.tag_len),
            Self::Gcm(_) => Some(packet.len()),
            Self::Identified(named) => return named.rtcp_word(packet),
        };
        end.and_then(|end| packet.get(..end)?.last_chunk())
            .map(|word| RtcpWord(*word))
            .ok_or(Refused::Malformed)
    }

    /// Check an RTCP packet and decrypt it if its E bit says so. It has room for
    /// [`RTCP_HEADER_LEN`] octets, tag and word. Returns the length of the plain packet. When the tag
    /// is bad, the packet may have been destroyed.
    pub(super) fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, word: RtcpWord) -> Result<usize, BadTag> {
        match self {
            Self::Cm128(cm) => cm.open_rtcp(packet, ssrc, word),
            Self::Cm256(cm) => cm.open_rtcp(packet, ssrc, word),
            Self::Gcm(gcm) => open_rtcp_gcm(gcm, packet, ssrc, word),
            Self::Identified(named) => {
                let (transform, packet) = named.named(packet)?;
                transform.open_rtcp(packet, ssrc, word)
            }
        }
    }
}

/// The last word of an SRTCP packet, as it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct RtcpWord([u8; WORD]);

impl RtcpWord {
    pub(super) fn new(octets: [u8; WORD]) -> Self {
        Self(octets)
    }

    fn encrypted(self) -> bool {
        u32::from_be_bytes(self.0) & E != 0
    }

    /// 31 bits.
    pub(super) fn index(self) -> u32 {
        u32::from_be_bytes(self.0) & !E
    }
}

impl<C: Aes> Cm<C> {
    /// The counter block of the first keystream block (RFC 3711 §4.1.1); the index of RTCP has 31
    /// bits.
    #[inline]
    fn iv(&self, ssrc: u32, index: u64) -> u128 {
        self.salt ^ u128::from(ssrc) << 64 ^ u128::from(index) << 16
    }

    #[inline]
    fn seal_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) {
        let (packet, tag) = packet.split_at_mut(packet.len() - self.tag_len);
        self.cipher
            .apply_keystream(self.iv(ssrc, index), &mut packet[header_len..]);
        tag.copy_from_slice(&self.hmac.tag(packet, &rollover(index))[..self.tag_len]);
    }

    #[inline]
    fn open_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) -> Result<usize, BadTag> {
        let (packet, tag) = packet.split_at_mut(packet.len() - self.tag_len);
        self.check(packet, &rollover(index), tag)?;
        self.cipher
            .apply_keystream(self.iv(ssrc, index), &mut packet[header_len..]);
        Ok(packet.len())
    }

    fn seal_rtcp(&self, packet: &mut [u8], ssrc: u32, index: u32, word: [u8; WORD]) {
        let (packet, tag) = packet.split_at_mut(packet.len() - self.tag_len);
        let (text, end) = packet.split_at_mut(packet.len() - WORD);
        end.copy_from_slice(&word);
        self.cipher
            .apply_keystream(self.iv(ssrc, index.into()), &mut text[RTCP_HEADER_LEN..]);
        tag.copy_from_slice(&self.hmac.tag(packet, &[])[..self.tag_len]);
    }

    fn open_rtcp(&self, packet: &mut [u8], ssrc: u32, word: RtcpWord) -> Result<usize, BadTag> {
        let (packet, tag) = packet.split_at_mut(packet.len() - self.tag_len);
        self.check(packet, &[], tag)?;
        let len = packet.len() - WORD;
        if word.encrypted() {
            self.cipher.apply_keystream(
                self.iv(ssrc, word.index().into()),
                &mut packet[RTCP_HEADER_LEN..len],
            );
        }
        Ok(len)
    }

    #[inline]
    fn check(&self, packet: &[u8], suffix: &[u8], tag: &[u8]) -> Result<(), BadTag> {
        let expected = self.hmac.tag(packet, suffix);
        if bool::from(expected[..self.tag_len].ct_eq(tag)) {
            Ok(())
        } else {
            Err(BadTag)
        }
    }
}

/// The rollover counter, which the tag of an RTP packet covers though the packet does not carry it
/// (RFC 3711 §4.2).
#[inline]
fn rollover(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

fn open_rtcp_gcm(gcm: &Gcm, packet: &mut [u8], ssrc: u32, word: RtcpWord) -> Result<usize, BadTag> {
    let index = word.index().into();
    let (packet, _) = packet.split_last_chunk_mut::<WORD>().ok_or(BadTag)?;
    let (text, tag_place) = packet.split_last_chunk_mut().ok_or(BadTag)?;
    let tag: [u8; gcm::TAG_LEN] = *tag_place;
    let len = text.len();
    if word.encrypted() {
        let (header, text) = text.split_at_mut(RTCP_HEADER_LEN);
        gcm.open(ssrc, index, &rtcp_aad(header, word.0), text, tag)?;
    } else {
        // The whole packet is authenticated and nothing encrypted (RFC 7714 §9.3). The word belongs
        // right behind the packet then, where the tag stands.
        tag_place[..WORD].copy_from_slice(&word.0);
        let aad = packet.get(..len + WORD).ok_or(BadTag)?;
        gcm.open(ssrc, index, aad, &mut [], tag)?;
    }
    Ok(len)
}

/// What is authenticated of an encrypted RTCP packet besides its text (RFC 7714 §9.2).
fn rtcp_aad(header: &[u8], word: [u8; WORD]) -> [u8; RTCP_HEADER_LEN + WORD] {
    let mut aad = [0; RTCP_HEADER_LEN + WORD];
    aad[..RTCP_HEADER_LEN].copy_from_slice(header);
    aad[RTCP_HEADER_LEN..].copy_from_slice(&word);
    aad
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Octets of hexadecimal digits; spaces and line breaks are for the reader.
    pub(in crate::srtp) fn hex(digits: &str) -> Vec<u8> {
        let digits: Vec<u8> = digits.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
        digits
            .chunks_exact(2)
            .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    const KEY: &str = "000102030405060708090a0b0c0d0e0f 101112131415161718191a1b1c1d1e1f";
    const SALT: &str = "517569642070726f2071756f";
    const RTP: &str = "8040f17b 8041f8d3 5501a0b2 47616c6c 69612065 7374206f 6d6e6973 20646976 69736120
                       696e2070 61727465 73207472 6573";
    const RTCP: &str = "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef
                        deadbeef deadbeef deadbeef deadbeef";

    fn gcm(key_len: usize) -> Transform {
        let salt: [u8; 12] = hex(SALT).try_into().unwrap();
        Transform::Gcm(Gcm::new(&hex(KEY)[..key_len], &salt))
    }

    #[test]
    fn rtp_of_rfc_7714_16() {
        for (key_len, protected) in [
            (
                16,
                "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a
                 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce",
            ),
            (
                32,
                "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02
                 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13",
            ),
        ] {
            let transform = gcm(key_len);
            let mut packet = hex(RTP);
            let len = packet.len();
            packet.resize(len + transform.rtp_overhead(), 0);
            transform.seal_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b);
            assert_eq!(packet, hex(protected));
            assert!(matches!(transform.open_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b), Ok(n) if n == len));
            assert_eq!(packet[..len], hex(RTP));
        }
    }

    #[test]
    fn rtcp_of_rfc_7714_17_1_and_17_2() {
        for (key_len, protected) in [
            (
                16,
                "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda
                 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
            ),
            (
                32,
                "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be
                 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
            ),
        ] {
            let transform = gcm(key_len);
            let mut packet = hex(RTCP);
            let len = packet.len();
            packet.resize(len + transform.rtcp_overhead(), 0);
            transform.seal_rtcp(&mut packet, 0x4d61_7273, 0x5d4);
            assert_eq!(packet, hex(protected));
            check_rtcp(&transform, packet);
        }
    }

    #[test]
    fn unencrypted_rtcp_of_rfc_7714_17_3_and_17_4() {
        for (key_len, tag) in [
            (16, "841dd968 3dd78ec9 2ae58790 125f62b3"),
            (32, "91db4afb feee5a97 8fab4393 ed2615fe"),
        ] {
            let packet = [hex(RTCP), hex(tag), hex("000005d4")].concat();
            check_rtcp(&gcm(key_len), packet);
        }
    }

    fn check_rtcp(transform: &Transform, mut packet: Vec<u8>) {
        let word = transform.rtcp_word(&packet).unwrap();
        assert_eq!(word.index(), 0x5d4);
        for octet in [0, 8, packet.len() - 21, packet.len() - 20, packet.len() - 1] {
            let mut forged = packet.clone();
            forged[octet] ^= 1;
            let word = transform.rtcp_word(&forged).unwrap();
            assert!(
                transform.open_rtcp(&mut forged, 0x4d61_7273, word).is_err(),
                "{octet}"
            );
        }
        let Ok(len) = transform.open_rtcp(&mut packet, 0x4d61_7273, word) else {
            panic!("refused");
        };
        assert_eq!(packet[..len], hex(RTCP));
    }
}
