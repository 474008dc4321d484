//! Each SSRC has a rollover counter and a window of its own, and their number is bounded.

#[path = "support/srtp.rs"]
mod support;

use sbc_media::srtp::{Refused, Suite, Unprotected};
use support::*;

#[test]
fn ssrcs_that_take_turns_wrap_on_their_own() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        for n in 0..600u16 {
            for (ssrc, start) in [(1, 65_500u16), (2, 100), (3, 65_000)] {
                let plain = rtp(ssrc, start.wrapping_add(n), 20);
                let protected = protect(&mut sender, &plain).unwrap();
                assert_eq!(unprotect(&mut receiver, &protected).unwrap(), plain);
            }
        }
    }
}

#[test]
fn an_ssrc_that_comes_back_goes_on_where_it_was() {
    let (mut sender, mut receiver) = ends(Suite::AesCm128Sha1_80);
    let mut speak = |ssrc, sequence| {
        let plain = rtp(ssrc, sequence, 20);
        let protected = protect(&mut sender, &plain).unwrap();
        assert_eq!(unprotect(&mut receiver, &protected).unwrap(), plain);
        protected
    };
    speak(1, 65_535);
    let old = speak(1, 0);
    // Music on hold, an announcement.
    for ssrc in 2..10 {
        for sequence in 0..400 {
            speak(ssrc, sequence);
        }
    }
    speak(1, 1);
    assert_eq!(unprotect(&mut receiver, &old), Err(Refused::Replayed));
}

#[test]
fn a_call_may_see_more_ssrcs_than_a_receiver_knows() {
    let suite = Suite::AeadAes128Gcm;
    let (_, mut receiver) = ends(suite);
    for ssrc in 0..200 {
        // Each with a sender of its own, as after transfers behind the peer.
        let (mut sender, _) = ends(suite);
        for sequence in 0..300 {
            let plain = rtp(ssrc, sequence, 20);
            let protected = protect(&mut sender, &plain).unwrap();
            assert_eq!(unprotect(&mut receiver, &protected).unwrap(), plain);
        }
    }
}

/// A peer that takes a new SSRC with every packet: those that are heard stay, and when it stops it is understood
/// again.
#[test]
fn ever_new_ssrcs_do_not_displace_one_that_is_heard() {
    let suite = Suite::AeadAes128Gcm;
    let (mut good, mut receiver) = ends(suite);
    let mut refused = 0;
    for n in 0..1000u16 {
        // Over a wrap, so that a receiver that forgot it would not understand it again.
        let plain = rtp(1, 65_000u16.wrapping_add(n), 20);
        let protected = protect(&mut good, &plain).unwrap();
        assert_eq!(unprotect(&mut receiver, &protected).unwrap(), plain, "{n}");
        let (mut other, _) = ends(suite);
        let protected = protect(&mut other, &rtp(1000 + u32::from(n), 5, 20)).unwrap();
        match unprotect(&mut receiver, &protected) {
            Ok(_) => {}
            Err(Refused::TooManySources) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        let report = protect_rtcp(&mut other, &rtcp(2000 + u32::from(n), 5)).unwrap();
        assert!(matches!(
            unprotect_rtcp(&mut receiver, &report),
            Ok(_) | Err(Refused::TooManySources)
        ));
    }
    assert!(refused > 500, "{refused}");
    let (mut last, _) = ends(suite);
    let passed = (0..400).filter(|sequence| {
        let protected = protect(&mut last, &rtp(99, *sequence, 20)).unwrap();
        unprotect(&mut receiver, &protected).is_ok()
    });
    assert!(passed.count() > 100);
}

#[test]
fn a_sender_forgets_no_ssrc_under_a_key() {
    let suite = Suite::AeadAes128Gcm;
    let (mut sender, _) = ends(suite);
    for ssrc in 0..32 {
        protect(&mut sender, &rtp(ssrc, 9, 20)).unwrap();
    }
    assert_eq!(
        protect(&mut sender, &rtp(32, 9, 20)),
        Err(Unprotected::TooManySources)
    );
    for ssrc in 0..32 {
        assert_eq!(
            protect(&mut sender, &rtp(ssrc, 9, 20)),
            Err(Unprotected::Repeated)
        );
        protect(&mut sender, &rtp(ssrc, 10, 20)).unwrap();
    }
    // Under another key there is nothing to repeat, except for those that it has protected.
    sender.rekey(&key(suite, 2));
    protect(&mut sender, &rtp(0, 10, 20)).unwrap();
    for ssrc in 32..63 {
        protect(&mut sender, &rtp(ssrc, 9, 20)).unwrap();
    }
    assert_eq!(
        protect(&mut sender, &rtp(99, 9, 20)),
        Err(Unprotected::TooManySources)
    );
    assert_eq!(protect(&mut sender, &rtp(0, 10, 20)), Err(Unprotected::Repeated));
}

#[test]
fn reports_of_all_ssrcs_have_indices_of_their_own() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        for n in 0..100 {
            for ssrc in [1, 2, 3] {
                let report = rtcp(ssrc, n);
                let protected = protect_rtcp(&mut sender, &report).unwrap();
                assert_eq!(unprotect_rtcp(&mut receiver, &protected).unwrap(), report);
            }
        }
    }
}
