//! What arrives at a peer with SRTP through an outlet: sources may do what no receiver of SRTP could follow.

#[path = "support/peer.rs"]
mod peers;
mod support;
use peers::*;
use sbc_media::{
    g711::Law,
    noise::Noise,
    relay::{DropReason, OWN_LEN_MAX, OutletParams, PairIndex, Verdict, Voice, Yield},
    rtp,
    source::Sound,
    srtp::Suite,
    time::Timestamp,
};
use support::*;

const OUT: u32 = 0x00c0_ffee;

/// A plain, B with SRTP and an outlet.
fn to_srtp(suite: Suite) -> (Session, Peer) {
    let mut session = Session::new();
    let b = Peer::of(&mut session, B, suite, 20);
    (session, b)
}

fn with_outlet(session: &mut Session) {
    let params = OutletParams {
        ssrc: OUT,
        sequence: 0x7000,
        timestamp: 1,
        clock_rate: 8000,
        step: 160,
    };
    let now = Timestamp::from_millis(session.now_ms);
    session.relay.set_outlet(now, B, Some(&params));
}

fn packet(ssrc: u32, sequence: u16) -> [u8; 172] {
    let mut packet = rtp(sequence);
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    packet[20..22].copy_from_slice(&sequence.to_be_bytes());
    packet
}

/// A packet of the peer of `pair`, 20 ms after the last: what B hears, or why it does not.
fn heard(
    session: &mut Session,
    b: &mut Peer,
    (pair, from): (PairIndex, &str),
    sent: &[u8],
) -> Result<Vec<u8>, DropReason> {
    session.wait_ms(20);
    match session.through(pair.rtp(), from, sent) {
        (Verdict::Drop(reason), _) => Err(reason),
        (_, left) => Ok(b.open(&left).expect("authentic, and not heard before")),
    }
}

fn numbers(bytes: &[u8]) -> (u32, u16, u32) {
    let packet = rtp::Packet::new_checked(bytes).unwrap();
    (packet.ssrc(), packet.sequence(), packet.timestamp())
}

const FROM_A: (PairIndex, &str) = (A, A_RTP);

#[test]
fn without_an_outlet_a_source_that_jumps_back_is_not_heard() {
    let (mut session, mut b) = to_srtp(SUITE);
    heard(&mut session, &mut b, FROM_A, &packet(1, 20_000)).unwrap();
    let again = heard(&mut session, &mut b, FROM_A, &packet(1, 5));
    assert_eq!(again, Err(DropReason::Replayed));
}

#[test]
fn a_source_that_begins_its_numbers_anew_is_heard() {
    for suite in Suite::ALL {
        let (mut session, mut b) = to_srtp(suite);
        with_outlet(&mut session);
        let mut expected = None;
        let mut lost = 0;
        for start in [20_000u16, 5, 65_300, 30_000] {
            for n in 0..300 {
                let sent = packet(1, start.wrapping_add(n));
                match heard(&mut session, &mut b, FROM_A, &sent) {
                    Ok(opened) => {
                        assert_eq!(opened[12..], sent[12..]);
                        let (ssrc, sequence, _) = numbers(&opened);
                        assert_eq!((ssrc, sequence), (OUT, expected.unwrap_or(sequence)));
                        expected = Some(sequence.wrapping_add(1));
                    }
                    // One wild number alone says nothing; the second one is believed.
                    Err(reason) => {
                        assert_eq!((reason, n), (DropReason::Displaced, 0));
                        lost += 1;
                    }
                }
            }
        }
        assert_eq!(lost, 3);
    }
}

#[test]
fn a_hundred_ssrcs_under_one_key_are_heard() {
    let (mut session, mut b) = to_srtp(SUITE);
    with_outlet(&mut session);
    let mut last = None;
    for ssrc in 1..=100 {
        for n in 0..5u16 {
            let sent = packet(ssrc, (ssrc as u16).wrapping_mul(7919).wrapping_add(n));
            let opened = heard(&mut session, &mut b, FROM_A, &sent).unwrap();
            let (out, sequence, timestamp) = numbers(&opened);
            if let Some((before, at)) = last.replace((sequence, timestamp)) {
                assert_eq!(sequence, u16::wrapping_add(before, 1));
                assert_eq!(timestamp, u32::wrapping_add(at, 160));
            }
            assert_eq!((out, opened[1] & 0x80 != 0), (OUT, n == 0 && ssrc > 1));
        }
    }
    let stats = session.relay.stats(A);
    assert_eq!(
        (stats.srtp_failed, stats.srtp_replayed, stats.ssrc_changes),
        (0, 0, 99)
    );
}

#[test]
fn another_leg_goes_on_in_the_stream_of_the_one_before() {
    let third = PairIndex(2);
    let mut session = Session::with_pairs(3);
    let mut b = Peer::of(&mut session, B, SUITE, 20);
    with_outlet(&mut session);
    for n in 0..100 {
        heard(&mut session, &mut b, FROM_A, &packet(1, 40_000 + n)).unwrap();
    }
    // A transfer: who speaks now has the SSRC of the one before by chance, and lower numbers.
    assert!(session.relay.open(third, B));
    session.relay.set_remote(third, remote("192.0.2.3:4000"));
    let from = (third, "192.0.2.3:4000");
    let mut sequences = Vec::new();
    for n in 0..10 {
        if let Ok(opened) = heard(&mut session, &mut b, from, &packet(1, 100 + n)) {
            sequences.push(numbers(&opened).1);
        }
    }
    let first = 0x7000 + 100;
    assert_eq!(sequences, (first..first + 9).collect::<Vec<_>>());
    // What the one before still sends reaches nobody.
    let late = heard(&mut session, &mut b, FROM_A, &packet(1, 40_100));
    assert_eq!(late, Err(DropReason::NoDestination));
}

#[test]
fn packets_of_our_own_are_protected_in_the_same_stream() {
    for suite in Suite::ALL {
        let (mut session, mut b) = to_srtp(suite);
        with_outlet(&mut session);
        let opened = heard(&mut session, &mut b, FROM_A, &packet(1, 9)).unwrap();
        assert_eq!(numbers(&opened), (OUT, 0x7000, 1));
        let voice = Voice {
            law: Law::A,
            payload_type: 8,
            ptime_ms: 20,
        };
        let now = Timestamp::from_millis(session.now_ms + 20);
        let noise = Sound::Noise(Noise::new(Law::A, -40.0, 1));
        assert!(session.relay.play(now, B, voice, noise, Yield::Never));
        for n in 1..4 {
            session.wait_ms(20);
            let mut buffer = [0; OWN_LEN_MAX];
            let now = Timestamp::from_millis(session.now_ms);
            let Some(Verdict::Forward { len, .. }) = session.relay.poll_transmit(now, &mut buffer) else {
                panic!("noise is due");
            };
            let opened = b.open(&buffer[..len]).expect("authentic");
            assert_eq!(numbers(&opened), (OUT, 0x7000 + n, 1 + 160 * u32::from(n)));
        }
        session.relay.stop(B);
        let opened = heard(&mut session, &mut b, FROM_A, &packet(1, 13)).unwrap();
        assert_eq!(numbers(&opened), (OUT, 0x7004, 641));
    }
}
