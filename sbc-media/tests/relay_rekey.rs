//! Keys that are negotiated again, the same or others, under a running call.

#[path = "support/peer.rs"]
mod peers;
mod support;
use peers::*;
use sbc_media::{
    relay::{DropReason, GRACE, Roc, Verdict},
    srtp::{Receiver, Sender, Suite},
};
use support::*;

const UNAUTHENTIC: Verdict = Verdict::Drop(DropReason::Unauthentic);
const REPLAYED: Verdict = Verdict::Drop(DropReason::Replayed);

/// Packets of A from `first` on, each heard by B as it was sent.
fn flow(session: &mut Session, a: &mut Peer, b: &mut Peer, numbers: std::ops::Range<u32>) {
    for sequence in numbers {
        session.wait_ms(20);
        let packet = rtp(sequence as u16);
        let (_, left) = a.send(session, &packet);
        assert_eq!(b.open(&left).as_deref(), Some(&packet[..]), "{sequence}");
    }
}

#[test]
fn the_same_keys_again_change_nothing() {
    let (mut session, mut a, mut b) = both([SUITE, SUITE]);
    flow(&mut session, &mut a, &mut b, 65_500..65_600);
    let sent = a.protect(&rtp(100));
    session.through(A.rtp(), A_RTP, &sent);
    for peer in [&a, &b] {
        session.relay.set_keys(peer.pair, Some(&peer.keys));
    }
    assert_eq!(session.through(A.rtp(), A_RTP, &sent).0, REPLAYED);
    flow(&mut session, &mut a, &mut b, 65_700..65_800);
    assert_eq!(session.relay.stats(A).srtp_bad_tag, 0);
}

#[test]
fn another_key_of_ours_is_used_at_once_and_the_peers_stays() {
    let (mut session, mut a, mut b) = both([SUITE, SUITE]);
    flow(&mut session, &mut a, &mut b, 65_500..65_600);
    b.rekey_receiver(Suite::AeadAes128Gcm, 30);
    session.relay.set_keys(B, Some(&b.keys));
    flow(&mut session, &mut a, &mut b, 65_600..65_700);
    // From B as before.
    let sent = b.protect(&rtp(1));
    assert_eq!(session.through(B.rtp(), B_RTP, &sent).0, to_protected(A_RTP));
    assert_eq!(session.through(B.rtp(), B_RTP, &sent).0, REPLAYED);
}

fn to_protected(peer: &str) -> Verdict {
    Verdict::Forward {
        socket: A.rtp(),
        to: Some(addr(peer)),
        len: 182,
    }
}

#[test]
fn a_peer_may_change_its_key_whenever_it_likes_after_it_was_negotiated() {
    for suite in Suite::ALL {
        let (mut session, mut a, mut b) = both([SUITE, SUITE]);
        flow(&mut session, &mut a, &mut b, 65_000..65_500);
        let mut keys = a.keys.clone();
        keys.receive = key(suite, 40);
        session.relay.set_keys(A, Some(&keys));
        // Still under the old one, over a wrap.
        flow(&mut session, &mut a, &mut b, 65_500..65_600);
        a.rekey_sender(suite, 40);
        flow(&mut session, &mut a, &mut b, 65_600..66_000);
        assert_eq!(session.relay.stats(A).srtp_bad_tag, 0, "{suite:?}");
        assert_eq!(session.relay.stats(A).lost, 0);
    }
}

#[test]
fn the_rollover_counter_goes_on_under_another_key_or_begins_anew() {
    for begins_anew in [false, true] {
        let (mut session, mut a, mut b) = both([SUITE, SUITE]);
        flow(&mut session, &mut a, &mut b, 65_000..66_000);
        a.rekey_sender(SUITE, 40);
        if begins_anew {
            a.sender = Sender::new(&a.keys.receive);
        }
        session.relay.set_keys(A, Some(&a.keys));
        flow(&mut session, &mut a, &mut b, 66_000..66_500);
    }
}

#[test]
fn our_own_begins_anew_where_the_peer_expects_that() {
    let (mut session, mut a, mut b) = both([SUITE, SUITE]);
    // Over two wraps: a receiver that begins now cannot guess the counter.
    flow(&mut session, &mut a, &mut b, 65_000..131_200);
    b.keys.roc = Roc::Reset;
    // The same key again is no new one.
    session.relay.set_keys(B, Some(&b.keys));
    flow(&mut session, &mut a, &mut b, 131_200..131_300);
    b.keys.send = key(SUITE, 40);
    b.receiver = Receiver::new(&b.keys.send);
    session.relay.set_keys(B, Some(&b.keys));
    flow(&mut session, &mut a, &mut b, 131_300..131_400);
}

#[test]
fn what_was_under_way_under_the_old_key_still_passes_for_a_moment() {
    let (mut session, mut a, mut b) = both([SUITE, Suite::AeadAes256Gcm]);
    flow(&mut session, &mut a, &mut b, 1..10);
    let late: Vec<_> = (10..14).map(|sequence| a.protect(&rtp(sequence))).collect();
    let report = [&[0x80, 200, 0, 6][..], &[1; 24]].concat();
    let reports: Vec<_> = (0..2).map(|_| a.protect_rtcp(&report)).collect();
    a.rekey_sender(Suite::AeadAes128Gcm, 40);
    session.relay.set_keys(A, Some(&a.keys));
    flow(&mut session, &mut a, &mut b, 14..20);
    for (packet, sequence) in late[..3].iter().zip(10..) {
        let (_, left) = session.through(A.rtp(), A_RTP, packet);
        assert_eq!(b.open(&left).unwrap(), rtp(sequence));
        assert!(
            matches!(session.through(A.rtp(), A_RTP, packet).0, Verdict::Drop(_)),
            "twice"
        );
    }
    let (_, left) = session.through(A.rtcp(), A_RTCP, &reports[0]);
    assert_eq!(b.open_rtcp(&left).unwrap(), report);
    session.wait_ms(GRACE.as_millis() as u64);
    assert_eq!(session.through(A.rtp(), A_RTP, &late[3]).0, UNAUTHENTIC);
    assert_eq!(session.through(A.rtcp(), A_RTCP, &reports[1]).0, UNAUTHENTIC);
    flow(&mut session, &mut a, &mut b, 20..30);
}

#[test]
fn forged_packets_do_not_end_the_old_key_or_begin_the_new_one() {
    let (mut session, mut a, mut b) = both([SUITE, SUITE]);
    flow(&mut session, &mut a, &mut b, 1..10);
    let mut keys = a.keys.clone();
    keys.receive = key(SUITE, 40);
    session.relay.set_keys(A, Some(&keys));
    for round in 0..200 {
        let forged = [&rtp(round)[..], &[0; 10]].concat();
        assert_eq!(session.through(A.rtp(), A_RTP, &forged).0, UNAUTHENTIC);
        session.wait_ms(20);
    }
    flow(&mut session, &mut a, &mut b, 10..20);
    a.rekey_sender(SUITE, 40);
    flow(&mut session, &mut a, &mut b, 20..30);
    assert_eq!(session.relay.stats(A).srtp_bad_tag, 200);
}

#[test]
fn a_change_that_is_taken_back_opens_nothing_for_replays() {
    let (mut session, mut a, mut b) = both([SUITE, SUITE]);
    let old = a.keys.clone();
    let sent: Vec<_> = (1..20).map(|sequence| a.protect(&rtp(sequence))).collect();
    for packet in &sent {
        session.through(A.rtp(), A_RTP, packet);
    }
    let mut other = old.clone();
    other.receive = key(SUITE, 40);
    session.relay.set_keys(A, Some(&other));
    session.relay.set_keys(A, Some(&old));
    for packet in &sent {
        assert_eq!(session.through(A.rtp(), A_RTP, packet).0, REPLAYED);
    }
    flow(&mut session, &mut a, &mut b, 20..30);
}

#[test]
fn ssrcs_come_and_go_and_each_has_a_rollover_counter_of_its_own() {
    let (mut session, mut a, mut b) = both([SUITE, SUITE]);
    for round in 0..3u32 {
        for ssrc in 1..=8u8 {
            for n in 0..40 {
                let sequence = (u32::from(ssrc) * 8191 + round * 40 + n) as u16;
                let mut packet = rtp(sequence);
                packet[11] = ssrc;
                let (_, left) = a.send(&mut session, &packet);
                assert_eq!(b.open(&left).as_deref(), Some(&packet[..]));
            }
        }
    }
    assert_eq!(session.relay.stats(A).ssrc_changes, 23);
}
