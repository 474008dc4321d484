//! Packets of those who do not have the key are refused and leave no trace.

#[path = "support/srtp.rs"]
mod support;

use sbc_media::srtp::{Receiver, Refused, Suite};
use support::*;

const SSRC: u32 = 0xcafe_babe;

/// A packet with two CSRCs and an extension.
fn full(sequence: u16) -> Vec<u8> {
    let mut packet = rtp(SSRC, sequence, 40);
    packet[0] = 0x92;
    let extras = [0, 0, 0, 1, 0, 0, 0, 2, 0x12, 0x34, 0, 1, 9, 9, 9, 9];
    packet.splice(12..12, extras);
    packet
}

#[test]
fn no_bit_of_a_packet_may_change() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        for sequence in 1000..1010 {
            let protected = protect(&mut sender, &full(sequence)).unwrap();
            unprotect(&mut receiver, &protected).unwrap();
        }
        let packet = full(1010);
        let protected = protect(&mut sender, &packet).unwrap();
        for bit in 0..8 * protected.len() {
            let mut forged = protected.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let refused = unprotect(&mut receiver, &forged).unwrap_err();
            // Those of the sequence number may make an old one of it; those of version and lengths no
            // packet at all.
            match bit / 8 {
                0 | 22 | 23 => {}
                2 | 3 => assert!(matches!(refused, Refused::BadTag | Refused::Replayed)),
                _ => assert_eq!(refused, Refused::BadTag, "{suite:?} bit {bit}"),
            }
        }
        assert_eq!(unprotect(&mut receiver, &protected).unwrap(), packet, "{suite:?}");
    }
}

#[test]
fn no_bit_of_a_report_may_change() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        for n in 0..10 {
            let protected = protect_rtcp(&mut sender, &rtcp(SSRC, n)).unwrap();
            unprotect_rtcp(&mut receiver, &protected).unwrap();
        }
        let packet = rtcp(SSRC, 10);
        let protected = protect_rtcp(&mut sender, &packet).unwrap();
        for bit in 0..8 * protected.len() {
            let mut forged = protected.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(
                unprotect_rtcp(&mut receiver, &forged).is_err(),
                "{suite:?} bit {bit}"
            );
        }
        assert_eq!(unprotect_rtcp(&mut receiver, &protected).unwrap(), packet);
    }
}

#[test]
fn a_report_that_says_it_is_plain_is_authenticated_all_the_same() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let packet = rtcp(SSRC, 1);
        let tail = protect_rtcp(&mut sender, &packet)
            .unwrap()
            .split_off(packet.len());
        // What a forger can do: plain text, an index with the E bit clear, any tag.
        let mut forged = [packet, tail].concat();
        let word = match suite {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => forged.len() - 4,
            _ => forged.len() - 14,
        };
        forged[word..word + 4].copy_from_slice(&[0, 0, 0, 5]);
        assert_eq!(unprotect_rtcp(&mut receiver, &forged), Err(Refused::BadTag));
    }
}

#[test]
fn a_packet_cut_short_or_made_longer_is_refused() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let (packet, report) = (full(7), rtcp(SSRC, 7));
        let protected = protect(&mut sender, &packet).unwrap();
        let protected_report = protect_rtcp(&mut sender, &report).unwrap();
        for len in 0..protected.len() {
            assert!(unprotect(&mut receiver, &protected[..len]).is_err());
        }
        for len in 0..protected_report.len() {
            assert!(unprotect_rtcp(&mut receiver, &protected_report[..len]).is_err());
        }
        assert_eq!(receiver.unprotect(&mut [0x80; 64], 65), Err(Refused::Malformed));
        assert_eq!(
            receiver.unprotect_rtcp(&mut [0x80; 64], 65),
            Err(Refused::Malformed)
        );
        // A master key identifier before the tag is as foreign as any other octets there.
        for at in [protected.len(), packet.len()] {
            let mut longer = protected.clone();
            longer.splice(at..at, [0, 0, 0, 1]);
            assert_eq!(unprotect(&mut receiver, &longer), Err(Refused::BadTag));
        }
        assert_eq!(unprotect(&mut receiver, &protected).unwrap(), packet);
        assert_eq!(unprotect_rtcp(&mut receiver, &protected_report).unwrap(), report);
    }
}

#[test]
fn another_key_opens_nothing() {
    for suite in Suite::ALL {
        let (mut sender, _) = ends(suite);
        let protected = protect(&mut sender, &full(1)).unwrap();
        let report = protect_rtcp(&mut sender, &rtcp(SSRC, 1)).unwrap();
        for other in Suite::ALL {
            let mut receiver = Receiver::new(&key(other, 2));
            assert_eq!(unprotect(&mut receiver, &protected), Err(Refused::BadTag));
            assert_eq!(unprotect_rtcp(&mut receiver, &report), Err(Refused::BadTag));
        }
    }
}

/// Forged packets with far sequence numbers, of the good SSRC and of a hundred thousand others, between any
/// two good packets: neither its rollover counter nor its place is lost.
#[test]
fn a_flood_of_forged_packets_moves_nothing() {
    for suite in [Suite::AesCm128Sha1_32, Suite::AeadAes128Gcm] {
        let (mut sender, mut receiver) = ends(suite);
        let mut chance = Chance(4);
        for n in 0..200u16 {
            let sequence = 65_450u16.wrapping_add(n);
            for forged in 0..500u32 {
                let ssrc = if forged % 2 == 0 {
                    SSRC
                } else {
                    chance.next() as u32
                };
                let mut packet = rtp(ssrc, chance.next() as u16, 30);
                packet.extend(chance.octets(16));
                let refused = unprotect(&mut receiver, &packet).unwrap_err();
                assert!(matches!(refused, Refused::BadTag | Refused::Replayed));
            }
            let packet = full(sequence);
            let protected = protect(&mut sender, &packet).unwrap();
            assert_eq!(unprotect(&mut receiver, &protected).unwrap(), packet, "{n}");
        }
    }
}
