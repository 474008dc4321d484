//! A packet passes once, and one that is late by no more than the window passes still.

#[path = "support/srtp.rs"]
mod support;

use sbc_media::srtp::{Refused, Suite, Unprotected};
use support::*;

#[test]
fn no_packet_passes_twice() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let mut sent = Vec::new();
        for n in 0..300u16 {
            let packet = rtp(5, 65_400u16.wrapping_add(n), 20);
            sent.push(protect(&mut sender, &packet).unwrap());
            assert_eq!(unprotect(&mut receiver, sent.last().unwrap()).unwrap(), packet);
        }
        for replayed in &sent {
            assert_eq!(unprotect(&mut receiver, replayed), Err(Refused::Replayed));
        }
    }
}

#[test]
fn no_report_passes_twice() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        let reports: Vec<_> = (0..300)
            .map(|n| protect_rtcp(&mut sender, &rtcp(5, n)).unwrap())
            .collect();
        // Backwards within the window first.
        for report in reports[..100].iter().rev() {
            unprotect_rtcp(&mut receiver, report).unwrap();
        }
        for report in &reports[100..] {
            unprotect_rtcp(&mut receiver, report).unwrap();
        }
        for report in &reports {
            assert_eq!(unprotect_rtcp(&mut receiver, report), Err(Refused::Replayed));
        }
    }
}

#[test]
fn a_packet_may_be_127_behind_the_newest_even_over_a_wrap() {
    for newest in [200u16, 127, 60, 0] {
        let (mut sender, mut receiver) = ends(Suite::AesCm128Sha1_80);
        // A stream under way, so that the wrap is not its first.
        let mut sent = Vec::new();
        for sequence in (65_000..=65_535).chain(0..=newest) {
            sent.push(protect(&mut sender, &rtp(5, sequence, 20)).unwrap());
        }
        let (newest, late) = sent.split_last().unwrap();
        unprotect(&mut receiver, &sent[0]).unwrap();
        unprotect(&mut receiver, newest).unwrap();
        for (behind, packet) in late.iter().rev().enumerate().take(300) {
            let expected = if behind + 1 < 128 {
                Ok(())
            } else {
                Err(Refused::Replayed)
            };
            assert_eq!(unprotect(&mut receiver, packet).map(|_| ()), expected, "{behind}");
        }
    }
}

#[test]
fn a_sender_uses_no_index_twice() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        protect(&mut sender, &rtp(5, 1000, 20)).unwrap();
        // The same packet again, and another under its number.
        for payload_len in [20, 40] {
            assert_eq!(
                protect(&mut sender, &rtp(5, 1000, payload_len)),
                Err(Unprotected::Repeated)
            );
        }
        // A late one has an index of its own, unless it is older than the sender remembers.
        let late = rtp(5, 999, 20);
        let protected = protect(&mut sender, &late).unwrap();
        assert_eq!(unprotect(&mut receiver, &protected).unwrap(), late);
        assert_eq!(protect(&mut sender, &late), Err(Unprotected::Repeated));
        assert_eq!(
            protect(&mut sender, &rtp(5, 1000 - 128, 20)),
            Err(Unprotected::Repeated)
        );
        assert!(protect(&mut sender, &rtp(5, 1000 - 127, 20)).is_ok());
    }
}
