//! Session keys out of a master key (RFC 3711 §4.3), with a key derivation rate of 0: they are
//! derived once.

use super::{MasterKey, cipher::Aes};
use aes::{Aes128Enc, Aes256Enc, cipher::KeyInit};
use zeroize::{Zeroize, Zeroizing};

/// What a session key is for, by the label of RFC 3711 §4.3.1 and §4.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// `N` octets of the pseudo-random function of `master`'s cipher: AES_CM_PRF, or AES_256_CM_PRF (RFC
/// 6188 §3) for keys of 256 bits.
pub(super) fn session_key<const N: usize>(master: &MasterKey, label: Label) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    let mut salt = master.salt();
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(&salt);
    // The label stands above the 48 bits of the index, which a rate of 0 keeps at 0.
    let counter = u128::from_be_bytes(iv) ^ u128::from(label as u8) << 64;
    if let Ok(cipher) = Aes128Enc::new_from_slice(master.key()) {
        cipher.apply_keystream(counter, &mut *out);
    } else if let Ok(cipher) = Aes256Enc::new_from_slice(master.key()) {
        cipher.apply_keystream(counter, &mut *out);
    } else {
        unreachable!("a master key has 16 or 32 octets");
    }
    salt.zeroize();
    iv.zeroize();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::{Suite, transform::tests::hex};

    fn master(suite: Suite, key: &str, salt: &str) -> MasterKey {
        MasterKey::new(suite, &[hex(key), hex(salt)].concat()).unwrap()
    }

    #[test]
    fn keys_of_rfc_3711_b_3() {
        let master = master(
            Suite::AesCm128Sha1_80,
            "E1F97A0D3E018BE0D64FA32C06DE4139",
            "0EC675AD498AFEEBB6960B3AABE6",
        );
        assert_eq!(
            session_key::<16>(&master, Label::RtpEncryption)[..],
            hex("C61E7A93744F39EE10734AFE3FF7A087")
        );
        assert_eq!(
            session_key::<14>(&master, Label::RtpSalt)[..],
            hex("30CBBC08863D8C85D49DB34A9AE1")
        );
        assert_eq!(
            session_key::<94>(&master, Label::RtpAuthentication)[..],
            hex("CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE
                 E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25
                 6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2")
        );
    }

    #[test]
    fn keys_of_rfc_6188_7_2() {
        let master = master(
            Suite::AesCm256Sha1_80,
            "f0f04914b513f2763a1b1fa130f10e29 98f6f6e43e4309d1e622a0e332b9f1b6",
            "3b04803de51ee7c96423ab5b78d2",
        );
        assert_eq!(
            session_key::<32>(&master, Label::RtpEncryption)[..],
            hex("5ba1064e30ec51613cad926c5a28ef73 1ec7fb397f70a960653caf06554cd8c4")
        );
        assert_eq!(
            session_key::<14>(&master, Label::RtpSalt)[..],
            hex("fa31791685ca444a9e07c6c64e93")
        );
        assert_eq!(
            session_key::<20>(&master, Label::RtpAuthentication)[..],
            hex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")
        );
    }
}
