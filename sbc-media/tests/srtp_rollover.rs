//! Sequence numbers wrap, packets are lost, doubled and late, and every good one passes.

#[path = "support/srtp.rs"]
mod support;

use sbc_media::srtp::{Receiver, Refused, Sender, Suite};
use std::collections::VecDeque;
use support::*;

/// A network that loses, doubles and, if it may, lets packets overtake each other by up to 40.
struct Network {
    chance: Chance,
    loss_percent: u64,
    reorders: bool,
    under_way: VecDeque<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    passed: u32,
    replayed: u32,
}

impl Network {
    fn carry(&mut self, sent: (Vec<u8>, Vec<u8>), receiver: &mut Receiver, counts: &mut Counts) {
        if self.chance.below(100) < self.loss_percent {
            return;
        }
        if self.chance.below(50) == 0 {
            self.under_way.push_back(sent.clone());
        }
        self.under_way.push_back(sent);
        while self.under_way.len() > 40 {
            // Mostly the oldest, sometimes one of the others.
            let at = match self.chance.below(10) {
                0 if self.reorders => self.chance.below(20) as usize,
                _ => 0,
            };
            if let Some((plain, protected)) = self.under_way.remove(at) {
                deliver(&plain, &protected, receiver, counts);
            }
        }
    }
}

fn deliver(plain: &[u8], protected: &[u8], receiver: &mut Receiver, counts: &mut Counts) {
    match unprotect(receiver, protected) {
        Ok(opened) => {
            assert_eq!(opened, plain);
            counts.passed += 1;
        }
        Err(refused) => {
            assert_eq!(refused, Refused::Replayed, "no good packet is refused");
            counts.replayed += 1;
        }
    }
}

fn run(suite: Suite, packets: u32, strides: u64) -> Counts {
    let (mut sender, mut receiver) = ends(suite);
    let mut network = Network {
        chance: Chance(suite as u64),
        loss_percent: 5,
        // Over a hole, one place may be more than the window.
        reorders: strides == 1,
        under_way: VecDeque::new(),
    };
    let mut counts = Counts::default();
    let (mut index, mut doubled) = (network.chance.below(1 << 15), 0);
    for _ in 0..packets {
        let plain = rtp(0xdead_beef, index as u16, 12);
        let protected = protect(&mut sender, &plain).unwrap();
        let before = network.under_way.len() as u32 + counts.passed + counts.replayed;
        network.carry((plain, protected), &mut receiver, &mut counts);
        let after = network.under_way.len() as u32 + counts.passed + counts.replayed;
        doubled += u32::from(after - before == 2);
        index += 1 + network.chance.below(strides);
    }
    for (plain, protected) in network.under_way.drain(..) {
        deliver(&plain, &protected, &mut receiver, &mut counts);
    }
    let wraps = index >> 16;
    println!("{suite:?}: {packets} packets, {wraps} wraps, {counts:?}");
    assert!(wraps >= 30);
    assert_eq!(counts.replayed, doubled, "every double, and nothing else");
    counts
}

/// Eleven hours of a call: two million packets, thirty wraps, one packet in twenty lost.
#[test]
fn two_million_packets_over_thirty_wraps() {
    let counts = run(Suite::AeadAes128Gcm, 2_000_000, 1);
    assert!((1_890_000..1_910_000).contains(&counts.passed));
}

/// The same of every suite with holes of up to 120 numbers, as silence suppression by a careless peer leaves.
#[test]
fn thirty_wraps_with_holes() {
    for suite in Suite::ALL {
        run(suite, 35_000, 120);
    }
}

/// As many numbers may be lost in a row as RFC 3711 §3.3.1 allows.
#[test]
fn a_hole_of_half_the_number_space_is_survived() {
    let (mut sender, mut receiver) = ends(Suite::AesCm128Sha1_80);
    let mut sequence = 0u16;
    for _ in 0..20 {
        for _ in 0..3 {
            let plain = rtp(1, sequence, 20);
            let protected = protect(&mut sender, &plain).unwrap();
            assert_eq!(unprotect(&mut receiver, &protected).unwrap(), plain);
            sequence = sequence.wrapping_add(1);
        }
        sequence = sequence.wrapping_add(32_000);
    }
}

/// The answer with the key often comes after the first media. A stream that has begun shortly before a wrap, and is
/// heard only after it, is understood.
#[test]
fn a_stream_first_heard_after_its_first_wrap_is_understood() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let sent: Vec<_> = (65_500..=65_535)
            .chain(0..50)
            .map(|sequence| {
                let plain = rtp(1, sequence, 160);
                let protected = protect(&mut sender, &plain).unwrap();
                (plain, protected)
            })
            .collect();
        for (plain, protected) in &sent[40..] {
            assert_eq!(&unprotect(&mut receiver, protected).unwrap(), plain);
        }
        // And what came late from before the wrap.
        assert_eq!(unprotect(&mut receiver, &sent[30].1).unwrap(), sent[30].0);
    }
}

/// One that is long under way is not: nobody says what its rollover counter is.
#[test]
fn a_stream_long_under_way_is_not() {
    let key = key(Suite::AesCm128Sha1_80, 1);
    let (mut sender, mut receiver) = (Sender::new(&key), Receiver::new(&key));
    for sequence in [0u16, 30_000, 60_000, 20_000, 50_000, 10_000] {
        protect(&mut sender, &rtp(1, sequence, 20)).unwrap();
    }
    let late = protect(&mut sender, &rtp(1, 10_001, 20)).unwrap();
    assert_eq!(unprotect(&mut receiver, &late), Err(Refused::BadTag));
}

/// A packet from before the first one of a stream, over a wrap, cannot be numbered: it is lost, and takes nothing
/// with it.
#[test]
fn a_packet_from_before_the_beginning_harms_nothing() {
    let (mut sender, mut receiver) = ends(Suite::AeadAes256Gcm);
    for sequence in [2u16, 3, 65_535, 4, 5] {
        let plain = rtp(1, sequence, 20);
        match protect(&mut sender, &plain) {
            Ok(protected) => assert_eq!(unprotect(&mut receiver, &protected).unwrap(), plain),
            Err(_) => assert_eq!(sequence, 65_535),
        }
    }
}
