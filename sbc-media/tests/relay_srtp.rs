//! SRTP on either side, or both, with keys and suites of their own.

#[path = "support/peer.rs"]
mod peers;
mod support;
use peers::*;
use sbc_media::{
    g711,
    relay::{Action, DropReason, Formats, Keys, Remote, Roc, Verdict},
    srtp::Suite,
};
use support::*;

fn dropped(reason: DropReason) -> (Verdict, Vec<u8>) {
    (Verdict::Drop(reason), Vec::new())
}

#[test]
fn plain_on_one_side_and_every_suite_on_the_other() {
    for suite in Suite::ALL {
        let mut session = Session::new();
        let mut b = Peer::of(&mut session, B, suite, 1);
        for sequence in 1..50 {
            let (verdict, left) = session.through(A.rtp(), A_RTP, &rtp(sequence));
            assert!(matches!(verdict, Verdict::Forward { socket, to, len }
                if socket == B.rtp() && to == Some(addr(B_RTP)) && len == left.len()));
            assert_ne!(left[12..], rtp(sequence)[12..]);
            assert_eq!(b.open(&left).unwrap(), rtp(sequence), "{suite:?}");
            let (verdict, left) = b.send(&mut session, &rtp(sequence));
            assert_eq!((verdict, &left[..]), (to(A.rtp(), A_RTP), &rtp(sequence)[..]));
        }
        let stats = session.relay.stats(B);
        assert_eq!((stats.packets, stats.octets, stats.lost), (49, 49 * 172, 0));
    }
}

#[test]
fn every_suite_on_one_side_and_every_suite_on_the_other() {
    for suites in Suite::ALL.map(|a| Suite::ALL.map(|b| [a, b])).concat() {
        let (mut session, mut a, mut b) = both(suites);
        for sequence in 65_530..65_536 + 10 {
            let packet = rtp(sequence as u16);
            let (_, left) = a.send(&mut session, &packet);
            assert_eq!(b.open(&left).unwrap(), packet, "{suites:?}");
            let (_, left) = b.send(&mut session, &packet);
            assert_eq!(a.open(&left).unwrap(), packet, "{suites:?}");
        }
    }
}

#[test]
fn padding_and_extensions_arrive_as_they_were() {
    let (mut session, mut a, mut b) = both([SUITE, Suite::AeadAes256Gcm]);
    let mut packet = vec![0xb2, 8, 0, 1, 0, 0, 0, 160, 0, 0, 0, 1];
    packet.extend([0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 9, 9, 9, 9]);
    packet.extend([0xd5; 8]);
    packet.extend([0, 0, 0, 4]);
    let (_, left) = a.send(&mut session, &packet);
    assert_eq!(b.open(&left).unwrap(), packet);
    // Padding that cannot be is malformed, authentic or not.
    packet[3] = 2;
    *packet.last_mut().unwrap() = 99;
    assert_eq!(a.send(&mut session, &packet), dropped(DropReason::Malformed));
}

#[test]
fn reports_are_protected_on_their_own_port_and_on_that_of_rtp() {
    for suite in Suite::ALL {
        let (mut session, mut a, mut b) = both([suite, SUITE]);
        let report = [
            0x80, 200, 0, 6, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2,
        ];
        for _ in 0..3 {
            let sent = a.protect_rtcp(&report);
            let (verdict, left) = session.through(A.rtcp(), A_RTCP, &sent);
            assert!(matches!(verdict, Verdict::Forward { socket, .. } if socket == B.rtcp()));
            assert_eq!(b.open_rtcp(&left).unwrap(), report);
            let sent = a.protect_rtcp(&report);
            let (verdict, left) = session.through(A.rtp(), A_RTP, &sent);
            assert!(matches!(verdict, Verdict::Forward { socket, .. } if socket == B.rtcp()));
            assert_eq!(b.open_rtcp(&left).unwrap(), report);
        }
        // To a peer that multiplexes it leaves from the RTP port, protected all the same.
        session.relay.set_remote(
            A,
            Remote {
                mux: true,
                ..remote(A_RTP)
            },
        );
        let sent = b.protect_rtcp(&report);
        let (verdict, left) = session.through(B.rtcp(), B_RTCP, &sent);
        assert!(matches!(verdict, Verdict::Forward { socket, to, .. }
            if socket == A.rtp() && to == Some(addr(A_RTP))));
        assert_eq!(a.open_rtcp(&left).unwrap(), report);
        // Nobody's reports in the clear, whatever index their last word makes, and none twice.
        let mut clear = report;
        clear[24..].fill(0x7f);
        assert_eq!(
            session.through(A.rtcp(), A_RTCP, &clear),
            dropped(DropReason::Unauthentic)
        );
        assert_eq!(
            session.through(B.rtcp(), B_RTCP, &sent),
            dropped(DropReason::Replayed)
        );
        let stats = session.relay.stats(A);
        assert_eq!((stats.rtcp_packets, stats.rtcp_octets), (6, 6 * 28));
        assert_eq!(stats.srtp_bad_tag, 1);
    }
}

#[test]
fn a_packet_that_does_not_authenticate_moves_nothing_but_its_count() {
    let mut session = Session::new();
    let mut a = Peer::of(&mut session, A, SUITE, 10);
    let before = session.relay.stats(A);
    for round in 0..200 {
        session.wait_ms(20);
        let mut forged = a.protect(&rtp(round));
        forged[20] ^= 1;
        let from = if round % 2 == 0 { NAT } else { A_RTP };
        assert_eq!(
            session.through(A.rtp(), from, &forged),
            dropped(DropReason::Unauthentic)
        );
    }
    // In the clear is not authentic either.
    assert_eq!(
        session.through(A.rtp(), A_RTP, &rtp(1)),
        dropped(DropReason::Unauthentic)
    );
    let after = session.relay.stats(A);
    assert_eq!(after.srtp_bad_tag, 201);
    assert_eq!(
        after,
        sbc_media::relay::StreamStats {
            srtp_bad_tag: 201,
            ..before
        }
    );
    assert!(matches!(session.through(B.rtp(), B_RTP, &rtp(9)).0,
        Verdict::Forward { to, .. } if to == Some(addr(A_RTP))));
}

#[test]
fn an_authentic_peer_behind_nat_is_learned() {
    let (mut session, mut a, mut b) = both([SUITE, SUITE]);
    for sequence in 1..60 {
        session.wait_ms(20);
        let sent = a.protect(&rtp(sequence));
        let (_, left) = session.through(A.rtp(), NAT, &sent);
        assert_eq!(b.open(&left).unwrap(), rtp(sequence));
    }
    assert_eq!(session.relay.stats(A).latched, Some(addr(NAT)));
    // Locked: others are refused without a look at their tags.
    let sent = a.protect(&rtp(60));
    assert_eq!(session.through(A.rtp(), A_RTP, &sent).0, WRONG_SOURCE);
    assert!(matches!(
        session.through(A.rtp(), NAT, &sent).0,
        Verdict::Forward { .. }
    ));
}

#[test]
fn a_packet_passes_once() {
    let (mut session, mut a, _) = both([SUITE, SUITE]);
    let sent: Vec<_> = (1..20).map(|sequence| a.protect(&rtp(sequence))).collect();
    // The other way round, so that all but the first come late.
    for packet in sent.iter().rev() {
        assert!(matches!(
            session.through(A.rtp(), A_RTP, packet).0,
            Verdict::Forward { .. }
        ));
    }
    for packet in &sent {
        assert_eq!(
            session.through(A.rtp(), A_RTP, packet),
            dropped(DropReason::Replayed)
        );
    }
    assert_eq!(session.relay.stats(A).srtp_replayed, 19);
    assert_eq!(session.relay.stats(A).duplicates, 0);
}

#[test]
fn a_plain_packet_that_comes_twice_is_protected_once() {
    let mut session = Session::new();
    let mut b = Peer::of(&mut session, B, SUITE, 1);
    let (_, left) = session.through(A.rtp(), A_RTP, &rtp(5));
    assert_eq!(b.open(&left).unwrap(), rtp(5));
    assert_eq!(
        session.through(A.rtp(), A_RTP, &rtp(5)),
        dropped(DropReason::Replayed)
    );
    assert_eq!(session.relay.stats(A).duplicates, 1);
}

#[test]
fn the_law_changes_between_the_keys() {
    let (mut session, mut a, mut b) = both([SUITE, Suite::AeadAes128Gcm]);
    let mut formats = Formats([Action::Drop; 128]);
    formats.0[8] = Action::AlawToUlaw(0);
    session.relay.set_formats(A, Some(&formats));
    let (_, left) = a.send(&mut session, &rtp(1));
    let mut expected = rtp(1);
    expected[1] = 0;
    g711::alaw_to_ulaw(&mut expected[12..]);
    assert_eq!(b.open(&left).unwrap(), expected);
    // Only an authentic packet has a format.
    let mut other = rtp(2);
    other[1] = 3;
    assert_eq!(
        session.through(A.rtp(), A_RTP, &other),
        dropped(DropReason::Unauthentic)
    );
    assert_eq!(a.send(&mut session, &other), dropped(DropReason::Format));
    // And what is dropped has not used up an index.
    let (_, left) = a.send(&mut session, &rtp(3));
    assert_eq!(b.open(&left).unwrap()[..4], [0x80, 0, 0, 3]);
}

#[test]
fn a_packet_without_room_for_its_tag_is_dropped_and_counted() {
    let mut session = Session::new();
    let mut b = Peer::of(&mut session, B, SUITE, 1);
    let mut packet = rtp(1);
    assert_eq!(
        session.send(A.rtp(), A_RTP, &mut packet),
        Verdict::Drop(DropReason::NoRoom)
    );
    assert_eq!(session.relay.stats(A).srtp_failed, 1);
    let (_, left) = session.through(A.rtp(), A_RTP, &rtp(2));
    assert_eq!(b.open(&left).unwrap(), rtp(2));
}

#[test]
fn after_a_hold_that_outlasts_a_wrap_the_peer_understands_us() {
    let mut session = Session::new();
    let mut b = Peer::of(&mut session, B, SUITE, 1);
    let (_, left) = session.through(A.rtp(), A_RTP, &rtp(60_000));
    assert_eq!(b.open(&left).unwrap(), rtp(60_000));
    session.relay.set_remote(
        B,
        Remote {
            send: false,
            ..remote(B_RTP)
        },
    );
    for sequence in 60_001..60_000 + 70_000 {
        let sequence = sequence as u16;
        assert_eq!(session.through(A.rtp(), A_RTP, &rtp(sequence)).0, NO_DESTINATION);
    }
    session.remote(B, B_RTP);
    let sequence = (60_000 + 70_000) as u16;
    let (_, left) = session.through(A.rtp(), A_RTP, &rtp(sequence));
    assert_eq!(b.open(&left).unwrap(), rtp(sequence));
}

#[test]
fn keys_can_be_taken_away_and_end_with_the_call() {
    let (mut session, mut a, mut b) = both([SUITE, SUITE]);
    session.relay.set_keys(A, None);
    let (_, left) = session.through(A.rtp(), A_RTP, &rtp(1));
    assert_eq!(b.open(&left).unwrap(), rtp(1));
    let (_, left) = b.send(&mut session, &rtp(1));
    assert_eq!(left, rtp(1));
    session.relay.set_keys(B, None);
    assert_eq!(session.through(A.rtp(), A_RTP, &rtp(2)).1, rtp(2));
    session.relay.set_keys(A, Some(&a.keys));
    assert_eq!(a.send(&mut session, &rtp(3)).1, rtp(3));
    session.relay.close(A);
    session.relay.open(A, B);
    session.remote(A, A_RTP);
    assert_eq!(session.through(A.rtp(), A_RTP, &rtp(4)).1, rtp(4));
}

#[test]
fn a_leg_with_other_keys_can_take_the_place_of_one() {
    const C: sbc_media::relay::PairIndex = sbc_media::relay::PairIndex(2);
    const C_RTP: &str = "198.51.100.9:7000";
    let mut session = Session::with_pairs(3);
    let mut a = Peer::of(&mut session, A, SUITE, 10);
    let mut b = Peer::of(&mut session, B, SUITE, 20);
    let (_, left) = a.send(&mut session, &rtp(1));
    assert_eq!(b.open(&left).unwrap(), rtp(1));
    session.relay.open(A, C);
    session.remote(C, C_RTP);
    assert_eq!(a.send(&mut session, &rtp(2)).1, rtp(2), "C is plain");
    let keys = Keys {
        receive: key(SUITE, 30),
        send: key(SUITE, 31),
        roc: Roc::Keep,
    };
    session.relay.set_keys(C, Some(&keys));
    let (_, left) = a.send(&mut session, &rtp(3));
    let mut receiver = sbc_media::srtp::Receiver::new(&keys.send);
    let mut buffer = left.clone();
    assert_eq!(receiver.unprotect(&mut buffer, left.len()), Ok(172));
    assert_eq!(buffer[..172], rtp(3));
    // B is still understood, and reaches nobody.
    assert_eq!(b.send(&mut session, &rtp(1)), dropped(DropReason::NoDestination));
}

#[test]
fn a_packet_of_our_own_is_protected_like_the_others() {
    let (mut session, mut a, _) = both([SUITE, SUITE]);
    let mut buffer = [0; 300];
    buffer[..172].copy_from_slice(&rtp(7));
    let verdict = session.relay.originate(A, &mut buffer, 172);
    assert_eq!(
        verdict,
        Verdict::Forward {
            socket: A.rtp(),
            to: Some(addr(A_RTP)),
            len: 182
        }
    );
    assert_eq!(a.open(&buffer[..182]).unwrap(), rtp(7));
    buffer[..8].copy_from_slice(&rtcp());
    let Verdict::Forward {
        socket,
        to: peer,
        len,
    } = session.relay.originate(A, &mut buffer, 8)
    else {
        panic!("it has a destination");
    };
    assert_eq!((socket, peer), (A.rtcp(), Some(addr(A_RTCP))));
    assert_eq!(a.open_rtcp(&buffer[..len]).unwrap(), rtcp());
    // Not while the peer holds, and not without a peer.
    let held = Remote {
        send: false,
        ..remote(A_RTP)
    };
    session.relay.set_remote(A, held);
    buffer[..172].copy_from_slice(&rtp(8));
    assert_eq!(session.relay.originate(A, &mut buffer, 172), NO_DESTINATION);
    session.relay.set_keys(A, None);
    session.remote(A, A_RTP);
    assert_eq!(session.relay.originate(A, &mut buffer, 172), to(A.rtp(), A_RTP));
    assert_eq!(buffer[..172], rtp(8));
    session.relay.close(A);
    assert_eq!(session.relay.originate(A, &mut buffer, 172), NO_DESTINATION);
}
