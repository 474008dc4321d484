//! A change of keys in a running call.

#[path = "support/srtp.rs"]
mod support;

use sbc_media::srtp::{Receiver, Refused, Sender, Suite};
use support::*;

fn passes(sender: &mut Sender, receiver: &mut Receiver, sequence: u16) -> bool {
    let plain = rtp(1, sequence, 160);
    let protected = protect(sender, &plain).unwrap();
    match unprotect(receiver, &protected) {
        Ok(opened) => {
            assert_eq!(opened, plain);
            true
        }
        Err(refused) => {
            assert_eq!(refused, Refused::BadTag);
            false
        }
    }
}

/// A call of two wraps under the first key.
fn under_way(suite: Suite) -> (Sender, Receiver) {
    let (mut sender, mut receiver) = ends(suite);
    for step in 0..6u16 {
        assert!(passes(&mut sender, &mut receiver, step.wrapping_mul(30_000)));
    }
    (sender, receiver)
}

#[test]
fn the_rollover_counter_goes_on() {
    for suite in Suite::ALL {
        for other in Suite::ALL {
            let (mut sender, mut receiver) = under_way(suite);
            sender.rekey(&key(other, 2));
            assert!(
                !passes(&mut sender, &mut receiver, 20_000),
                "the old key opens nothing"
            );
            receiver.rekey(&key(other, 2));
            // A late one first, then over the next wrap.
            for sequence in [19_990, 20_001, 20_002, 50_000, 10_000] {
                assert!(
                    passes(&mut sender, &mut receiver, sequence),
                    "{suite:?} {other:?} {sequence}"
                );
            }
        }
    }
}

#[test]
fn a_peer_that_begins_anew_is_understood() {
    for suite in Suite::ALL {
        for start in [0, 20_001, 65_000] {
            let (_, mut receiver) = under_way(suite);
            receiver.rekey(&key(suite, 2));
            let mut sender = Sender::new(&key(suite, 2));
            for n in 0..500 {
                assert!(
                    passes(&mut sender, &mut receiver, start + n),
                    "{suite:?} {start} {n}"
                );
            }
        }
    }
}

#[test]
fn what_the_new_key_has_protected_passes_once() {
    let (mut sender, mut receiver) = under_way(Suite::AesCm128Sha1_80);
    sender.rekey(&key(Suite::AesCm128Sha1_80, 2));
    receiver.rekey(&key(Suite::AesCm128Sha1_80, 2));
    let protected = protect(&mut sender, &rtp(1, 20_000, 20)).unwrap();
    assert!(unprotect(&mut receiver, &protected).is_ok());
    assert_eq!(unprotect(&mut receiver, &protected), Err(Refused::Replayed));
}

#[test]
fn the_index_of_reports_goes_on() {
    for suite in Suite::ALL {
        let (mut sender, mut receiver) = ends(suite);
        for n in 0..5 {
            let protected = protect_rtcp(&mut sender, &rtcp(1, n)).unwrap();
            unprotect_rtcp(&mut receiver, &protected).unwrap();
        }
        sender.rekey(&key(suite, 2));
        receiver.rekey(&key(suite, 2));
        let protected = protect_rtcp(&mut sender, &rtcp(1, 5)).unwrap();
        let index = match suite {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => protected.len() - 1,
            _ => protected.len() - 11,
        };
        assert_eq!(protected[index], 5);
        assert_eq!(unprotect_rtcp(&mut receiver, &protected).unwrap(), rtcp(1, 5));
    }
}
