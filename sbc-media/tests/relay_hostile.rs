//! Good audio while strangers send what they like: every octet of it arrives, and none of theirs.

#[path = "support/peer.rs"]
mod peers;
mod support;
use peers::*;
use sbc_media::relay::{StreamStats, Verdict};
use support::*;

/// A packet that nobody sent, and the address that it comes from.
type Forgery = fn(sequence: u16, good: &[u8]) -> (&'static str, Vec<u8>);

/// What anybody can send who has seen a packet of the call, or has not.
const FORGERIES: [Forgery; 6] = [
    // The call's own SSRC, payload type and the very next number, and again what was sent before.
    |sequence, _| (STRANGER, forged(sequence.wrapping_add(1), 1, 8)),
    |_, good| (NAT, good.to_vec()),
    // Another source, another format.
    |sequence, _| (STRANGER, forged(sequence, 666, 8)),
    |sequence, _| (A2_RTP, forged(sequence, 1, 0)),
    // Noise, and too little.
    |sequence, _| (STRANGER, vec![sequence as u8; 40]),
    |_, good| (STRANGER, good[..good.len().min(11)].to_vec()),
];

fn forged(sequence: u16, ssrc: u32, payload_type: u8) -> Vec<u8> {
    let mut packet = rtp(sequence);
    packet[1] = payload_type;
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet[12..].fill(0x66);
    packet.to_vec()
}

fn audio(sequence: u16) -> Vec<u8> {
    let mut packet = rtp(sequence);
    for (octet, n) in packet[12..].iter_mut().zip(0u16..) {
        *octet = ((n * 31) ^ sequence) as u8;
    }
    packet.to_vec()
}

#[test]
fn strangers_do_not_disturb_plain_audio() {
    let mut session = Session::flowing();
    for sequence in 2..1000 {
        session.wait_ms(20);
        let good = audio(sequence);
        for forge in FORGERIES {
            let (from, packet) = forge(sequence, &good);
            assert!(matches!(
                session.through(A.rtp(), from, &packet).0,
                Verdict::Drop(_)
            ));
        }
        let (verdict, left) = session.through(A.rtp(), A_RTP, &good);
        assert_eq!((verdict, left), (to(B.rtp(), B_RTP), good));
    }
    let stats = session.relay.stats(A);
    assert_eq!((stats.packets, stats.lost, stats.ssrc_changes), (999, 0, 0));
    assert_eq!(stats.wrong_source + stats.malformed, 998 * 6);
    assert!(stats.stranger.is_some());
}

#[test]
fn bad_tags_at_ten_times_the_rate_from_the_right_address_do_not_disturb_srtp() {
    let (mut session, mut a, mut b) = both([SUITE, SUITE]);
    let mut previous = a.protect(&audio(0));
    session.through(A.rtp(), A_RTP, &previous);
    for sequence in 1..500 {
        session.wait_ms(20);
        let good = audio(sequence);
        let protected = a.protect(&good);
        for n in 0..10 {
            // What the peer is about to send with one octet changed, far ahead, in the clear, and
            // what it has sent.
            let forgery = match n {
                0..5 => {
                    let mut packet = protected.clone();
                    packet[n * 40 + 2] ^= 0x10;
                    packet
                }
                5 => forged(sequence, 1, 8),
                6 => forged(sequence.wrapping_add(20_000), 1, 8),
                7 => forged(sequence, 666, 8),
                8 => previous.clone(),
                _ => vec![0x80; 23],
            };
            assert!(matches!(
                session.through(A.rtp(), A_RTP, &forgery).0,
                Verdict::Drop(_)
            ));
        }
        for forge in FORGERIES {
            let (from, packet) = forge(sequence, &protected);
            let from = if sequence % 2 == 0 { from } else { STRANGER };
            assert!(matches!(
                session.through(A.rtp(), from, &packet).0,
                Verdict::Drop(_)
            ));
        }
        let (_, left) = session.through(A.rtp(), A_RTP, &protected);
        assert_eq!(b.open(&left).unwrap(), good);
        previous = protected;
    }
    let stats = session.relay.stats(A);
    let StreamStats {
        packets,
        lost,
        ssrc_changes,
        srtp_replayed,
        ..
    } = stats;
    assert_eq!((packets, lost, ssrc_changes, srtp_replayed), (500, 0, 0, 499));
    assert_eq!(stats.srtp_bad_tag, 499 * 9);
}

#[test]
fn strangers_before_the_peer_do_not_keep_it_out() {
    let (mut session, mut a, mut b) = both([SUITE, SUITE]);
    for sequence in 0..100 {
        session.wait_ms(20);
        for forge in FORGERIES {
            let (from, packet) = forge(sequence, &audio(sequence));
            assert!(matches!(
                session.through(A.rtp(), from, &packet).0,
                Verdict::Drop(_)
            ));
        }
    }
    for sequence in 100..200 {
        session.wait_ms(20);
        let sent = a.protect(&audio(sequence));
        let (_, left) = session.through(A.rtp(), NAT, &sent);
        assert_eq!(b.open(&left).unwrap(), audio(sequence));
    }
}
