//! Packets that name their key (MKI, RFC 3711 §3.1): the same as without, with a name in one place.
//!
//! `webrtc-srtp` knows no MKI, so what is expected is composed here: what our sender makes without one, which is tested
//! against it and against the RFCs' vectors, and the name where the RFCs' figures have it.

#[path = "support/srtp.rs"]
mod support;

use proptest::prelude::*;
use sbc_media::srtp::{
    MKI_LEN_MAX, MasterKey, Mki, OVERHEAD_MAX, Receiver, Refused, Sender, Suite, Unprotected,
};
use support::*;

fn named(suite: Suite, seed: u64, mki: &[u8]) -> MasterKey {
    key(suite, seed).identified(Mki::new(mki).unwrap())
}

/// Octets of a packet that stand behind its MKI: the tag of AES-CM (RFC 3711 §3.1, §3.4). Under AES-GCM the tag is part
/// of the ciphertext, and the MKI is the last (RFC 7714 §8.2, §9.2).
fn behind(suite: Suite, rtcp: bool) -> usize {
    match suite {
        Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 0,
        Suite::AesCm128Sha1_32 | Suite::AesCm256Sha1_32 if !rtcp => 4,
        _ => 10,
    }
}

/// `plain`, a protected packet, with `mki` in its place.
fn composed(suite: Suite, rtcp: bool, plain: &[u8], mki: &[u8]) -> Vec<u8> {
    let (head, tail) = plain.split_at(plain.len() - behind(suite, rtcp));
    [head, mki, tail].concat()
}

#[test]
fn the_name_stands_where_the_figures_have_it() {
    for suite in Suite::ALL {
        for mki in [&[7][..], &[0, 0, 0, 1], &[0xa5; 20], &[1; MKI_LEN_MAX]] {
            let mut plain = Sender::new(&key(suite, 1));
            let mut sender = Sender::new(&named(suite, 1, mki));
            let mut receiver = Receiver::new(&named(suite, 1, mki));
            for n in 0..5u16 {
                let packet = rtp(9, 65_533u16.wrapping_add(n), 160);
                let expected = composed(suite, false, &protect(&mut plain, &packet).unwrap(), mki);
                assert_eq!(protect(&mut sender, &packet).unwrap(), expected, "{suite:?}");
                assert_eq!(unprotect(&mut receiver, &expected).unwrap(), packet);
                assert_eq!(unprotect(&mut receiver, &expected), Err(Refused::Replayed));
                let report = rtcp(9, n.into());
                let expected = composed(suite, true, &protect_rtcp(&mut plain, &report).unwrap(), mki);
                assert_eq!(protect_rtcp(&mut sender, &report).unwrap(), expected, "{suite:?}");
                assert_eq!(unprotect_rtcp(&mut receiver, &expected).unwrap(), report);
                assert_eq!(unprotect_rtcp(&mut receiver, &expected), Err(Refused::Replayed));
            }
        }
    }
}

#[test]
fn another_name_or_none_is_a_bad_tag() {
    for suite in Suite::ALL {
        let mki = [0, 0, 0, 1];
        let mut receiver = Receiver::new(&named(suite, 1, &mki));
        let packet = rtp(9, 1, 160);
        let good = protect(&mut Sender::new(&named(suite, 1, &mki)), &packet).unwrap();
        let report = protect_rtcp(&mut Sender::new(&named(suite, 1, &mki)), &rtcp(9, 1)).unwrap();
        for wrong in [
            protect(&mut Sender::new(&named(suite, 1, &[0, 0, 0, 2])), &packet),
            protect(&mut Sender::new(&named(suite, 1, &[0, 1])), &packet),
            protect(&mut Sender::new(&named(suite, 2, &mki)), &packet),
            protect(&mut Sender::new(&key(suite, 1)), &packet),
        ] {
            assert_eq!(
                unprotect(&mut receiver, &wrong.unwrap()),
                Err(Refused::BadTag),
                "{suite:?}"
            );
        }
        for wrong in [
            protect_rtcp(&mut Sender::new(&named(suite, 1, &[0, 0, 0, 2])), &rtcp(9, 1)),
            protect_rtcp(&mut Sender::new(&named(suite, 2, &mki)), &rtcp(9, 1)),
        ] {
            assert_eq!(
                unprotect_rtcp(&mut receiver, &wrong.unwrap()),
                Err(Refused::BadTag)
            );
        }
        assert!(unprotect_rtcp(&mut receiver, &report[..20]).is_err());
        assert_eq!(unprotect(&mut receiver, &good[..15]), Err(Refused::Malformed));
        // Where none is expected.
        assert_eq!(
            unprotect(&mut Receiver::new(&key(suite, 1)), &good),
            Err(Refused::BadTag)
        );
        // None of it has changed anything.
        assert_eq!(unprotect(&mut receiver, &good).unwrap(), packet);
        assert!(unprotect_rtcp(&mut receiver, &report).is_ok());
    }
}

#[test]
fn a_peer_may_change_between_keys_as_it_likes() {
    for suite in Suite::ALL {
        let [one, two] = [(1, 1), (2, 2)].map(|(seed, mki)| named(suite, seed, &[0, mki]));
        let both = one.clone().with_further(two.clone()).unwrap();
        let mut receiver = Receiver::new(&both);
        let mut senders = [Sender::new(&one), Sender::new(&two)];
        // Over a wrap: the rollover counter is the stream's (RFC 3711 §3.3.1).
        for n in 0..400u32 {
            let sequence = 65_400u32 + n;
            let packet = rtp(9, sequence as u16, 20);
            // Both count on, whichever is heard.
            let made = senders.each_mut().map(|sender| protect(sender, &packet).unwrap());
            let [heard, other] = if n / 7 % 2 == 0 { [0, 1] } else { [1, 0] };
            assert_eq!(unprotect(&mut receiver, &made[heard]).unwrap(), packet, "{n}");
            assert_eq!(
                unprotect(&mut receiver, &made[other]),
                Err(Refused::Replayed),
                "its index is used"
            );
        }
        // What leaves has the first.
        let left = protect(&mut Sender::new(&both), &rtp(9, 1, 20)).unwrap();
        assert_eq!(left, protect(&mut Sender::new(&one), &rtp(9, 1, 20)).unwrap());
    }
}

#[test]
fn what_has_been_heard_is_known_when_the_key_has_another_name() {
    let suite = Suite::AesCm128Sha1_80;
    let (before, after) = (named(suite, 1, &[1]), named(suite, 1, &[2]));
    let mut receiver = Receiver::new(&before);
    let packets: Vec<_> = (0..5).map(|n| rtp(9, n, 20)).collect();
    let mut sender = Sender::new(&before);
    for packet in &packets[..4] {
        assert!(unprotect(&mut receiver, &protect(&mut sender, packet).unwrap()).is_ok());
    }
    receiver.reidentify(&after);
    sender.reidentify(&after);
    let mut replaying = Sender::new(&after);
    for packet in &packets[..4] {
        let again = protect(&mut replaying, packet).unwrap();
        assert_eq!(unprotect(&mut receiver, &again), Err(Refused::Replayed));
        assert_eq!(protect(&mut sender, packet), Err(Unprotected::Repeated));
    }
    assert_eq!(
        unprotect(&mut receiver, &protect(&mut sender, &packets[4]).unwrap()).unwrap(),
        packets[4]
    );
}

#[test]
fn a_packet_without_room_for_its_name_is_not_changed() {
    for suite in Suite::ALL {
        let mut sender = Sender::new(&named(suite, 1, &[3; 100]));
        let mut tight = [rtp(1, 1, 160), vec![0; OVERHEAD_MAX]].concat();
        let before = tight.clone();
        assert_eq!(sender.protect(&mut tight, 172), Err(Unprotected::NoRoom));
        assert_eq!(tight, before);
    }
}

proptest! {
    /// Whatever the packets, their order and the name: what arrives once, in any order that a window allows, is read, and
    /// nothing is read twice.
    #[test]
    fn packets_come_back_once(
        suite in prop::sample::select(&Suite::ALL[..]),
        mki in prop::collection::vec(any::<u8>(), 1..=MKI_LEN_MAX),
        first in 0u16..0x8000,
        steps in prop::collection::vec((1u32..300, 0usize..600, any::<bool>(), any::<bool>(), any::<bool>()), 1..300),
        flip in any::<usize>(),
    ) {
        let own = named(suite, 5, &mki);
        let mut other = mki.clone();
        other[0] ^= 0xff;
        let second = named(suite, 6, &other);
        let keys = own.clone().with_further(second.clone()).unwrap();
        let mut receiver = Receiver::new(&keys);
        let mut senders = [Sender::new(&own), Sender::new(&second)];
        let mut sequence = u32::from(first);
        let mut late: Option<(u32, Vec<u8>, Vec<u8>)> = None;
        for (ahead, len, which, swapped, lost) in steps {
            sequence += ahead;
            let packet = rtp(3, sequence as u16, len);
            // Both see every number, so that both know the rollover counter.
            let made = senders.each_mut().map(|sender| protect(sender, &packet).unwrap());
            let protected = made[usize::from(which)].clone();
            if lost {
                continue;
            }
            let mut forged = protected.clone();
            let place = flip % forged.len();
            forged[place] ^= 1;
            prop_assert!(unprotect(&mut receiver, &forged).is_err());
            if swapped && late.is_none() {
                late = Some((sequence, packet, protected));
                continue;
            }
            prop_assert_eq!(unprotect(&mut receiver, &protected).unwrap(), packet);
            prop_assert!(unprotect(&mut receiver, &protected).is_err());
            if let Some((number, packet, protected)) = late.take() {
                let read = unprotect(&mut receiver, &protected);
                if sequence - number < 128 {
                    prop_assert_eq!(read.unwrap(), packet);
                }
                prop_assert!(unprotect(&mut receiver, &protected).is_err());
            }
        }
    }

    #[test]
    fn nothing_that_comes_is_read(
        suite in prop::sample::select(&Suite::ALL[..]),
        mki in prop::collection::vec(any::<u8>(), 1..=8),
        packet in prop::collection::vec(any::<u8>(), 0..300),
        named_too: bool,
    ) {
        let mut packet = packet;
        let place = packet.len().checked_sub(mki.len() + behind(suite, false));
        if let (true, Some(place)) = (named_too, place) {
            packet[place..place + mki.len()].copy_from_slice(&mki);
        }
        let mut receiver = Receiver::new(&named(suite, 1, &mki));
        prop_assert!(unprotect(&mut receiver, &packet).is_err());
        prop_assert!(unprotect_rtcp(&mut receiver, &packet).is_err());
    }
}
