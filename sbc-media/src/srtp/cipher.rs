//! AES in counter mode (RFC 3711 §4.1.1) over borrowed key schedules.

use aes::{
    Aes128Enc, Aes256Enc,
    cipher::{BlockCipher, BlockEncrypt, BlockSizeUser, InnerIvInit, KeyInit, StreamCipherCore, consts::U16},
};
use ctr::{CtrCore, flavors::Ctr128BE};

/// A key schedule that only encrypts, which is all that counter mode needs.
pub(super) trait Aes: BlockCipher + BlockEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit {
    /// XOR `data` with the keystream that begins at the counter block `iv`. The same again undoes it.
    ///
    /// The last 16 bits of `iv` count blocks, so `data` has at most 2^20 octets; a UDP payload has
    /// 2^16.
    #[inline]
    fn apply_keystream(&self, iv: u128, data: &mut [u8]) {
        let iv = iv.to_be_bytes();
        CtrCore::<&Self, Ctr128BE>::inner_iv_init(self, &iv.into()).apply_keystream_partial(data.into());
    }
}

impl Aes for Aes128Enc {}
impl Aes for Aes256Enc {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::transform::tests::hex;

    /// The session salt of both RFCs' tables, with SSRC and index 0.
    const IV: u128 = 0xf0f1_f2f3_f4f5_f6f7_f8f9_fafb_fcfd_0000;

    fn check<C: Aes>(key: &str, first: &str, last: &str) {
        let cipher = C::new_from_slice(&hex(key)).unwrap();
        let mut keystream = vec![0; 0xff02 * 16];
        cipher.apply_keystream(IV, &mut keystream);
        assert_eq!(keystream[..48], hex(first));
        assert_eq!(keystream[0xfeff * 16..], hex(last));
    }

    #[test]
    fn keystream_of_rfc_3711_b_2() {
        check::<Aes128Enc>(
            "2B7E151628AED2A6ABF7158809CF4F3C",
            "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB 41E95B3BB0A2E8DD477901E4FCA894C0",
            "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE 6A2CC3787889374FBEB4C81B17BA6C44",
        );
    }

    #[test]
    fn keystream_of_rfc_6188_7_1() {
        check::<Aes256Enc>(
            "57f82fe3613fd170a85ec93c40b1f092 2ec4cb0dc025b58272147cc438944a98",
            "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac 63c4868b7096d88421b563b8c94c9a31",
            "cea518c90fd91ced9cbb18c078a54711 3dbc4814f4da5f00a08772b63c6a046d 6eb246913062a16891433e97dd01a57f",
        );
    }
}
