//! What one side protects, the other reads, whatever the packet looks like.

#[path = "support/srtp.rs"]
mod support;

use proptest::prelude::*;
use sbc_media::srtp::{OVERHEAD_MAX, Receiver, Sender, Suite, Unprotected};
use support::*;

/// An RTP packet with CSRCs, an extension and payload of any lengths.
fn packet() -> impl Strategy<Value = (Vec<u8>, usize)> {
    (
        any::<[u8; 12]>(),
        0usize..16,
        prop::option::of(0u16..6),
        prop::collection::vec(any::<u8>(), 0..1400),
    )
        .prop_map(|(mut header, csrcs, extension, payload)| {
            header[0] = 0x80 | header[0] & 0x20 | csrcs as u8 | if extension.is_some() { 0x10 } else { 0 };
            let mut packet = header.to_vec();
            packet.extend((0..4 * csrcs).map(|i| i as u8));
            if let Some(words) = extension {
                packet.extend([0xbe, 0xde]);
                packet.extend(words.to_be_bytes());
                packet.extend(std::iter::repeat_n(0x33, 4 * usize::from(words)));
            }
            let header_len = packet.len();
            packet.extend(payload);
            (packet, header_len)
        })
}

fn suite() -> impl Strategy<Value = Suite> {
    prop::sample::select(&Suite::ALL[..])
}

proptest! {
    #[test]
    fn rtp_comes_back((packet, header_len) in packet(), suite in suite(), seed: u64) {
        let key = key(suite, seed);
        let protected = protect(&mut Sender::new(&key), &packet).unwrap();
        prop_assert_eq!(&protected[..header_len], &packet[..header_len], "the header stays readable");
        if packet.len() >= header_len + 8 {
            prop_assert_ne!(&protected[header_len..packet.len()], &packet[header_len..]);
        }
        let longer = match suite {
            Suite::AesCm128Sha1_80 | Suite::AesCm256Sha1_80 => 10,
            Suite::AesCm128Sha1_32 | Suite::AesCm256Sha1_32 => 4,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
        };
        prop_assert_eq!(protected.len(), packet.len() + longer);
        prop_assert_eq!(unprotect(&mut Receiver::new(&key), &protected).unwrap(), packet);
    }

    #[test]
    fn rtcp_comes_back(
        header: [u8; 7],
        body in prop::collection::vec(any::<u8>(), 0..1400),
        suite in suite(),
        seed: u64,
    ) {
        let key = key(suite, seed);
        let packet = [&[0x81], &header[..], &body].concat();
        let protected = protect_rtcp(&mut Sender::new(&key), &packet).unwrap();
        prop_assert_eq!(&protected[..8], &packet[..8]);
        // The tags of the `_32` suites have 80 bits on RTCP (RFC 4568 §6.2.2).
        let longer = match suite {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 20,
            _ => 14,
        };
        prop_assert_eq!(protected.len(), packet.len() + longer);
        prop_assert_eq!(unprotect_rtcp(&mut Receiver::new(&key), &protected).unwrap(), packet);
    }
}

#[test]
fn a_sender_needs_room_and_a_packet() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let packet = rtp(1, 1, 160);
        let mut tight = packet.clone();
        assert_eq!(sender.protect(&mut tight, 172), Err(Unprotected::NoRoom));
        assert_eq!(tight, packet, "unchanged");
        assert_eq!(sender.protect(&mut tight, 173), Err(Unprotected::Malformed));
        assert_eq!(sender.protect(&mut [0x40; 100], 50), Err(Unprotected::Malformed));
        let mut report = rtcp(1, 1);
        let len = report.len();
        assert_eq!(sender.protect_rtcp(&mut report, len), Err(Unprotected::NoRoom));
        assert_eq!(sender.protect_rtcp(&mut report, 7), Err(Unprotected::Malformed));
        assert_eq!(
            sender.protect_rtcp(&mut report, len + 1),
            Err(Unprotected::Malformed)
        );
        // None of it has used an index.
        let protected = protect(&mut sender, &packet).unwrap();
        assert!(protected.len() <= packet.len() + OVERHEAD_MAX);
        assert_eq!(unprotect(&mut receiver, &protected).unwrap(), packet);
    }
}

#[test]
fn nothing_prints_a_key() {
    let (sender, receiver) = ends(Suite::AesCm128Sha1_80);
    assert_eq!(format!("{sender:?}"), "Sender { suite: AesCm128Sha1_80, .. }");
    assert_eq!(format!("{receiver:?}"), "Receiver { suite: AesCm128Sha1_80, .. }");
}
