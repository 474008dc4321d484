//! The crypto suites, by the names that `a=crypto` gives them.

/// Cipher, tag and the lengths of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// `AES_CM_128_HMAC_SHA1_80` (RFC 4568 §6.2.1): AES in counter mode, tags of 80 bits.
    AesCm128Sha1_80,
    /// `AES_CM_128_HMAC_SHA1_32` (RFC 4568 §6.2.2): the same with tags of 32 bits on RTP; those on
    /// RTCP have 80.
    AesCm128Sha1_32,
    /// `AES_256_CM_HMAC_SHA1_80` (RFC 6188).
    AesCm256Sha1_80,
    /// `AES_256_CM_HMAC_SHA1_32` (RFC 6188): tags of 32 bits on RTP; those on RTCP have 80.
    AesCm256Sha1_32,
    /// `AEAD_AES_128_GCM` (RFC 7714): tags of 128 bits.
    AeadAes128Gcm,
    /// `AEAD_AES_256_GCM` (RFC 7714): tags of 128 bits.
    AeadAes256Gcm,
}

impl Suite {
    /// Every suite.
    pub const ALL: [Self; 6] = [
        Self::AesCm128Sha1_80,
        Self::AesCm128Sha1_32,
        Self::AesCm256Sha1_80,
        Self::AesCm256Sha1_32,
        Self::AeadAes128Gcm,
        Self::AeadAes256Gcm,
    ];

    /// The suite of this name, in upper or lower case (the names are ABNF literals).
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|suite| suite.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The name in the registry of SDES crypto suites.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesCm128Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128Sha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::AesCm256Sha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::AesCm256Sha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Octets of the master key, and of the session keys of the cipher.
    pub const fn key_bytes(self) -> usize {
        match self {
            Self::AesCm128Sha1_80 | Self::AesCm128Sha1_32 | Self::AeadAes128Gcm => 16,
            Self::AesCm256Sha1_80 | Self::AesCm256Sha1_32 | Self::AeadAes256Gcm => 32,
        }
    }

    /// Octets of the master salt, and of the session salts.
    pub const fn salt_bytes(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            _ => 14,
        }
    }

    /// Octets of the tag of an RTP packet.
    pub(super) const fn rtp_tag_bytes(self) -> usize {
        match self {
            Self::AesCm128Sha1_32 | Self::AesCm256Sha1_32 => 4,
            _ => self.rtcp_tag_bytes(),
        }
    }

    /// Octets of the tag of an RTCP packet: the short tags of `_32` are for RTP alone (RFC 4568
    /// §6.2.2).
    pub(super) const fn rtcp_tag_bytes(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
            _ => 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_their_suite() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_name(suite.name().as_bytes()), Some(suite));
            assert_eq!(
                Suite::from_name(suite.name().to_lowercase().as_bytes()),
                Some(suite)
            );
        }
        for other in [
            "",
            "AES_CM_128_HMAC_SHA1_8",
            "AES_CM_128_HMAC_SHA1_800",
            "F8_128_HMAC_SHA1_80",
        ] {
            assert_eq!(Suite::from_name(other.as_bytes()), None, "{other}");
        }
    }
}
