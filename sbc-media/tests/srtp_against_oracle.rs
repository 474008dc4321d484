//! Ours against `webrtc-srtp`: both protect alike, and each opens what the other protects.
//!
//! Where the oracle differs, and what these tests therefore leave out or show:
//!
//! - It protects two packets under one index, and moves its index back on a late packet. Only what
//!   our sender accepts is given to both; late packets are so by less than 2^15, where its guess is the same.
//! - A number from before the first packet of a stream, over a wrap, it takes for one far ahead, and its rollover
//!   counter is lost at the next packet. Ours refuses it. No stream here has one.
//! - It looks for a replay by sequence number without rollover counter, and only when asked to.
//! - Before it has authenticated a packet it makes a state for its SSRC.
//! - Its SRTCP indices begin at 1, ours at 0 (RFC 3711 §3.2.1).
//! - It never checks the tag of an SRTCP packet of AES-CM whose E bit is clear, and cannot read one of AES-GCM.
//! - It takes apart the elements of an RFC 8285 extension and counts the length of the header from them, which
//!   differs where there is padding. The extensions here are of another profile.

#[path = "support/srtp.rs"]
mod support;

use proptest::prelude::*;
use sbc_media::srtp::{MasterKey, Receiver, Refused, Sender, Suite};
use support::*;
use webrtc_srtp::{context::Context, protection_profile::ProtectionProfile};

fn oracle(key: &MasterKey) -> Context {
    let profile = match key.suite() {
        Suite::AesCm128Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        Suite::AesCm128Sha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
        Suite::AesCm256Sha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
        Suite::AesCm256Sha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
        Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
        Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
    };
    let (key, salt) = key.key_and_salt().split_at(key.suite().key_bytes());
    Context::new(key, salt, profile, None, None).unwrap()
}

#[derive(Clone, Debug)]
struct Step {
    /// From the highest number so far.
    ahead: i32,
    ssrc: u32,
    csrcs: usize,
    extension: Option<u16>,
    payload: Vec<u8>,
    /// Lost in the one direction, in the other.
    lost: [bool; 2],
}

fn step() -> impl Strategy<Value = Step> {
    let ahead = prop_oneof![
        6 => Just(1),
        2 => 1..200i32,
        1 => -100..1i32,
        2 => 1000..20_000i32,
    ];
    (
        ahead,
        0u32..3,
        0usize..16,
        prop::option::of(0u16..4),
        prop::collection::vec(any::<u8>(), 0..400),
        [prop::bool::weighted(0.1), prop::bool::weighted(0.1)],
    )
        .prop_map(|(ahead, ssrc, csrcs, extension, payload, lost)| Step {
            ahead,
            ssrc,
            csrcs,
            extension,
            payload,
            lost,
        })
}

fn packet(step: &Step, sequence: u16) -> Vec<u8> {
    let extension = if step.extension.is_some() { 0x10 } else { 0 };
    let mut packet = rtp(step.ssrc, sequence, 0);
    packet[0] |= step.csrcs as u8 | extension;
    packet.extend((0..4 * step.csrcs).map(|i| i as u8));
    if let Some(words) = step.extension {
        packet.extend([0x12, 0x34]);
        packet.extend(words.to_be_bytes());
        packet.extend(std::iter::repeat_n(0x55, 4 * usize::from(words)));
    }
    packet.extend(&step.payload);
    packet
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn rtp_alike_and_across(
        suite in prop::sample::select(&Suite::ALL[..]),
        seed: u64,
        starts: [u16; 3],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let key = key(suite, seed);
        let (mut sender, mut receiver) = (Sender::new(&key), Receiver::new(&key));
        let (mut their_sender, mut their_receiver) = (oracle(&key), oracle(&key));
        let mut highest: [Option<i64>; 3] = [None; 3];
        for step in &steps {
            let slot = step.ssrc as usize;
            let first = i64::from(starts[slot]);
            let index = highest[slot].map_or(first, |highest| highest + i64::from(step.ahead));
            if index < first {
                continue;
            }
            highest[slot] = highest[slot].max(Some(index));
            let plain = packet(step, index as u16);
            let Ok(protected) = protect(&mut sender, &plain) else {
                prop_assert!(step.ahead <= 0, "only a repeated number is refused");
                continue;
            };
            let theirs = their_sender.encrypt_rtp(&plain).unwrap();
            prop_assert_eq!(&protected[..], &theirs[..]);
            // A stream first heard after a wrap is ours to understand, not the oracle's, and a hole of 2^15 is
            // nobody's.
            let kept = index == first || step.ahead >= 1000;
            if kept || !step.lost[0] {
                prop_assert_eq!(&their_receiver.decrypt_rtp(&protected).unwrap()[..], &plain[..]);
            }
            if kept || !step.lost[1] {
                prop_assert_eq!(unprotect(&mut receiver, &theirs), Ok(plain));
            }
        }
    }

    #[test]
    fn rtcp_alike_and_across(
        suite in prop::sample::select(&Suite::ALL[..]),
        seed: u64,
        bodies in prop::collection::vec((prop::collection::vec(any::<u32>(), 0..60), any::<[bool; 2]>()), 1..20),
    ) {
        let key = key(suite, seed);
        let (mut sender, mut receiver) = (Sender::new(&key), Receiver::new(&key));
        let (mut their_sender, mut their_receiver) = (oracle(&key), oracle(&key));
        // Index 0, which the oracle does not use.
        protect_rtcp(&mut sender, &rtcp(9, 0)).unwrap();
        for (body, lost) in bodies {
            let mut plain = vec![0x80, 204];
            plain.extend((1 + body.len() as u16).to_be_bytes());
            plain.extend([0, 0, 0, 9]);
            plain.extend(body.iter().flat_map(|word| word.to_be_bytes()));
            let protected = protect_rtcp(&mut sender, &plain).unwrap();
            let theirs = their_sender.encrypt_rtcp(&plain).unwrap();
            prop_assert_eq!(&protected[..], &theirs[..]);
            if !lost[0] {
                prop_assert_eq!(&their_receiver.decrypt_rtcp(&protected).unwrap()[..], &plain[..]);
            }
            if !lost[1] {
                prop_assert_eq!(unprotect_rtcp(&mut receiver, &theirs), Ok(plain));
            }
        }
    }
}

/// A long call of every suite, over ten wraps, with seeded loss and reordering, from the oracle's sender to our
/// receiver and the other way round.
#[test]
fn ten_wraps_across() {
    for suite in Suite::ALL {
        let key = key(suite, 3);
        let (mut sender, mut receiver) = (Sender::new(&key), Receiver::new(&key));
        let (mut their_sender, mut their_receiver) = (oracle(&key), oracle(&key));
        let mut chance = Chance(suite as u64);
        let mut index = 1_000u64;
        let mut held: Option<(Vec<u8>, Vec<u8>)> = None;
        while index >> 16 < 10 {
            index += 1 + chance.below(400);
            let plain = rtp(1, index as u16, 30);
            let protected = protect(&mut sender, &plain).unwrap();
            let theirs = their_sender.encrypt_rtp(&plain).unwrap().to_vec();
            assert_eq!(protected, theirs);
            let mut deliver = |plain: Vec<u8>, protected: Vec<u8>| {
                assert_eq!(their_receiver.decrypt_rtp(&protected).unwrap()[..], plain);
                // One that was held back for longer than the window is late.
                match unprotect(&mut receiver, &protected) {
                    Ok(opened) => assert_eq!(opened, plain),
                    Err(refused) => assert_eq!(refused, Refused::Replayed),
                }
            };
            match chance.below(20) {
                0 => {}
                1 | 2 if held.is_none() => held = Some((plain, protected)),
                _ => {
                    deliver(plain, protected);
                    if let Some((plain, protected)) = held.take() {
                        deliver(plain, protected);
                    }
                }
            }
        }
    }
}

/// Why the oracle is not on the wire: anybody may send it a report that says it is plain.
#[test]
fn the_oracle_believes_a_forged_plain_report_and_we_do_not() {
    let key = key(Suite::AesCm128Sha1_80, 1);
    let mut forged = rtcp(1, 2);
    forged.extend([0, 0, 0, 1]);
    forged.extend([0xaa; 10]);
    assert_eq!(oracle(&key).decrypt_rtcp(&forged).unwrap()[..], rtcp(1, 2));
    assert_eq!(
        unprotect_rtcp(&mut Receiver::new(&key), &forged),
        Err(Refused::BadTag)
    );
}
