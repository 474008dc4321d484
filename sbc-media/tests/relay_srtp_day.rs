//! A day of one SRTP call: wraps, losses, reordering, re-negotiation with the same and with other
//! keys, and new SSRCs. Whatever arrives here leaves again: as it came, or as one stream through an outlet.

#[path = "support/peer.rs"]
mod peers;
mod support;
use peers::*;
use sbc_media::{
    relay::{OutletParams, Verdict},
    rtp::Packet,
    srtp::{Sender, Suite},
    time::Timestamp,
};
use std::collections::VecDeque;
use support::*;

const PACKETS_PER_MINUTE: u32 = 3000;
const DAY: u32 = 24 * 60 * PACKETS_PER_MINUTE;

/// xorshift: the same day every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Packets that come in a row where not all do.
const BURST: u32 = 20;

/// Of the packets of a day one in `sparse` arrives, in bursts, so that the numbers wrap as often and
/// the test is shorter.
fn day(sparse: u32) {
    let (mut session, mut a, mut b) = both([SUITE, Suite::AeadAes128Gcm]);
    let mut random = Random(0x5eed);
    let mut on_the_way: VecDeque<(Vec<u8>, [u8; 172])> = VecDeque::new();
    let (mut ssrc, mut offset, mut seed) = (1u8, 60_000u32, 50u8);
    let (mut heard, mut number, mut minute) = (0u32, 0u32, 0u32);
    while number < DAY {
        number += 1;
        let gap = number % BURST == 0 && sparse > 1;
        if gap {
            number += (sparse - 1) * BURST;
        }
        // Up to three packets overtake one, but nothing overtakes a gap.
        while on_the_way.len() > if gap { 0 } else { 3 } {
            let index = random.below(10).saturating_sub(6) as usize;
            let Some((protected, packet)) = on_the_way.remove(index) else {
                continue;
            };
            let (verdict, left) = session.through(A.rtp(), A_RTP, &protected);
            let opened = b.open(&left);
            assert_eq!(
                opened.as_deref(),
                Some(&packet[..]),
                "packet {number}: {verdict:?}"
            );
            heard += 1;
        }
        session.now_ms = u64::from(number) * 20;
        let before = std::mem::replace(&mut minute, number / PACKETS_PER_MINUTE);
        let every = |minutes: u32| minute / minutes != before / minutes;
        if every(10) {
            for peer in [&a, &b] {
                session.remote(peer.pair, peer.rtp_address());
                session.relay.set_keys(peer.pair, Some(&peer.keys));
            }
        }
        if every(170) {
            seed += 2;
            a.rekey_sender(SUITE, seed);
            b.rekey_receiver(Suite::AeadAes128Gcm, seed + 1);
            session.relay.set_keys(A, Some(&a.keys));
            session.relay.set_keys(B, Some(&b.keys));
        }
        if every(60) {
            ssrc += 1;
            offset = random.below(1 << 16) as u32;
        }
        // One in a hundred is lost before it comes to us.
        let mut packet = rtp((number + offset) as u16);
        packet[11] = ssrc;
        let protected = a.protect(&packet);
        if random.below(100) > 0 {
            on_the_way.push_back((protected, packet));
        }
    }
    let stats = session.relay.stats(A);
    assert_eq!(
        (stats.srtp_bad_tag, stats.srtp_replayed, stats.srtp_failed),
        (0, 0, 0)
    );
    assert_eq!(u64::from(heard), stats.packets);
    assert!(heard > DAY / sparse / 10 * 9, "{heard} packets");
    assert!(stats.reordered > 0 && stats.ssrc_changes >= 23, "{stats:?}");
}

/// Another SSRC every ten minutes, with numbers that begin anywhere: more of both than a key of ours could bear.
/// All of it is heard as one stream.
fn day_of_one_stream(sparse: u32) {
    let (mut session, mut a, mut b) = both([SUITE, Suite::AeadAes128Gcm]);
    let outlet = OutletParams {
        ssrc: 0xfeed,
        sequence: 9,
        timestamp: 0,
        clock_rate: 8000,
        step: 160,
    };
    session.relay.set_outlet(Timestamp::ZERO, B, Some(&outlet));
    let mut random = Random(0xdeed);
    let (mut ssrc, mut offset, mut seed) = (1u32, 60_000u32, 50u8);
    let (mut heard, mut number, mut sent, mut minute) = (0u32, 0u32, 0u32, 0u32);
    let (mut highest, mut changes) = (None, 0u64);
    while number < DAY {
        number += 1;
        if number % BURST == 0 && sparse > 1 {
            number += (sparse - 1) * BURST;
        }
        session.now_ms = u64::from(number) * 20;
        let before = std::mem::replace(&mut minute, number / PACKETS_PER_MINUTE);
        let every = |minutes: u32| minute / minutes != before / minutes;
        if every(170) {
            seed += 2;
            a.rekey_sender(SUITE, seed);
            b.rekey_receiver(Suite::AeadAes128Gcm, seed + 1);
            session.relay.set_keys(A, Some(&a.keys));
            session.relay.set_keys(B, Some(&b.keys));
        }
        if every(10) {
            ssrc += 1;
            changes += 1;
            // No sender bears so many either: each source is one of its own, under the same key.
            a.sender = Sender::new(&a.keys.receive);
            offset = random.below(1 << 16) as u32;
        }
        let mut packet = rtp((number + offset) as u16);
        packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
        packet[20..24].copy_from_slice(&number.to_be_bytes());
        let protected = a.protect(&packet);
        if random.below(100) == 0 {
            continue;
        }
        sent += 1;
        let (verdict, left) = session.through(A.rtp(), A_RTP, &protected);
        assert!(
            matches!(verdict, Verdict::Forward { .. }),
            "packet {number}: {verdict:?}"
        );
        let opened = b
            .open(&left)
            .unwrap_or_else(|| panic!("packet {number} is not authentic"));
        let view = Packet::new_checked(&opened[..]).unwrap();
        assert_eq!(
            (view.ssrc(), view.payload()),
            (0xfeed, &packet[12..]),
            "packet {number}"
        );
        let ahead = highest.map_or(1, |highest| view.sequence().wrapping_sub(highest));
        assert!((1..3000).contains(&ahead), "packet {number} is {ahead} ahead");
        highest = Some(view.sequence());
        heard += 1;
    }
    let stats = session.relay.stats(A);
    assert_eq!((heard, u64::from(heard)), (sent, stats.packets));
    assert!(changes >= 143 && stats.ssrc_changes == changes, "{stats:?}");
}

#[test]
fn a_day_of_many_sources_is_one_stream() {
    day_of_one_stream(40);
}

#[test]
fn nothing_is_lost_by_us_in_a_day_of_which_little_arrives() {
    day(40);
}

#[test]
#[ignore = "4,320,000 packets: `cargo test --release -p sbc-media --test relay_srtp_day -- --ignored`"]
fn nothing_is_lost_by_us_in_a_day() {
    day(1);
    day_of_one_stream(1);
}
