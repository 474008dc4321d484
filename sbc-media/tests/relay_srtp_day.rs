//! A day of one SRTP call: wraps, losses, reordering, re-negotiation with the same and with other
//! keys, and new SSRCs. Whatever arrives here leaves again.

#[path = "support/peer.rs"]
mod peers;
mod support;
use peers::*;
use sbc_media::srtp::Suite;
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

#[test]
fn nothing_is_lost_by_us_in_a_day_of_which_little_arrives() {
    day(40);
}

#[test]
#[ignore = "4,320,000 packets: `cargo test --release -p sbc-media --test relay_srtp_day -- --ignored`"]
fn nothing_is_lost_by_us_in_a_day() {
    day(1);
}
