//! Calls whose peers name their keys (MKI): what they send is read by the key that it names, and what they get is named.

#[path = "support/peer.rs"]
mod peers;
mod support;
use peers::*;
use sbc_media::{
    g711::Law,
    relay::{DropReason, OWN_LEN_MAX, OutletParams, ReporterParams, Verdict, Voice, Yield},
    source::{PTIME_MS_MAX, Sound},
    srtp::{MKI_LEN_MAX, MasterKey, Mki, Receiver, Sender, Suite},
    time::Timestamp,
    tone::{Country, Meaning, Player, Tone},
};
use std::time::Duration;
use support::*;

/// Without a block.
const SENDER_REPORT: [u8; 28] = [
    0x80, 200, 0, 6, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 160, 0, 0, 0, 1, 0, 0, 0, 160,
];
const UNAUTHENTIC: Verdict = Verdict::Drop(DropReason::Unauthentic);

fn named(suite: Suite, seed: u8, mki: &[u8]) -> MasterKey {
    key(suite, seed).identified(Mki::new(mki).unwrap())
}

/// A, which may send by two keys, and B, in the clear.
fn session(suite: Suite) -> (Session, Peer) {
    let mut session = Session::new();
    let mut a = Peer::of(&mut session, A, suite, 10);
    let second = named(suite, 12, &[0, 0, 1, 2]);
    a.keys.receive = named(suite, 10, &[0, 0, 1, 1]).with_further(second).unwrap();
    a.keys.send = named(suite, 11, &[0, 0, 1, 1]);
    session.relay.set_keys(A, None);
    session.relay.set_keys(A, Some(&a.keys));
    a.sender = Sender::new(&a.keys.receive);
    a.receiver = Receiver::new(&a.keys.send);
    (session, a)
}

#[test]
fn packets_pass_by_the_key_that_they_name() {
    for suite in Suite::ALL {
        let (mut session, mut a) = session(suite);
        let mut second = Sender::new(&a.keys.receive.further()[0].clone());
        for n in 1..20 {
            let (verdict, left) = if n % 5 == 0 {
                let mut packet = [&rtp(n)[..], &[0; 40]].concat();
                let len = second.protect(&mut packet, 172).unwrap();
                session.through(A.rtp(), A_RTP, &packet[..len])
            } else {
                a.send(&mut session, &rtp(n))
            };
            assert!(
                matches!(verdict, Verdict::Forward { .. }),
                "{suite:?} {n} {verdict:?}"
            );
            assert_eq!(left, rtp(n));
            let (verdict, left) = session.through(B.rtp(), B_RTP, &rtp(n));
            assert!(matches!(verdict, Verdict::Forward { .. }));
            assert_eq!(a.open(&left).unwrap(), rtp(n));
            let report = a.protect_rtcp(&rtcp());
            let (verdict, left) = session.through(A.rtcp(), A_RTCP, &report);
            assert!(matches!(verdict, Verdict::Forward { .. }));
            assert_eq!(left, rtcp());
            let (_, left) = session.through(B.rtcp(), B_RTCP, &rtcp());
            assert_eq!(a.open_rtcp(&left).unwrap(), rtcp());
        }
    }
}

#[test]
fn a_name_that_nobody_told_us_of_is_a_failed_authentication() {
    for suite in Suite::ALL {
        let (mut session, mut a) = session(suite);
        let wrong = [
            named(suite, 10, &[0, 0, 1, 3]),
            named(suite, 10, &[1]),
            key(suite, 10),
        ];
        for (n, key) in (1..).zip(&wrong) {
            a.sender = Sender::new(key);
            assert_eq!(a.send(&mut session, &rtp(n)).0, UNAUTHENTIC, "{suite:?}");
            let report = a.protect_rtcp(&SENDER_REPORT);
            assert_eq!(session.through(A.rtcp(), A_RTCP, &report).0, UNAUTHENTIC);
        }
        assert_eq!(session.relay.stats(A).srtp_bad_tag, 2 * wrong.len() as u64);
        a.sender = Sender::new(&a.keys.receive);
        assert!(matches!(a.send(&mut session, &rtp(1)).0, Verdict::Forward { .. }));
    }
}

#[test]
fn a_key_that_gets_another_name_begins_nothing_anew() {
    let (mut session, mut a) = session(SUITE);
    let replayed: Vec<_> = (1..5).map(|n| a.protect(&rtp(n))).collect();
    for packet in &replayed {
        assert!(matches!(
            session.through(A.rtp(), A_RTP, packet).0,
            Verdict::Forward { .. }
        ));
    }
    a.keys.receive = named(SUITE, 10, &[9]);
    session.relay.set_keys(A, Some(&a.keys));
    a.sender = Sender::new(&a.keys.receive);
    for n in 1..5 {
        assert_eq!(
            a.send(&mut session, &rtp(n)).0,
            Verdict::Drop(DropReason::Replayed)
        );
    }
    assert!(matches!(a.send(&mut session, &rtp(5)).0, Verdict::Forward { .. }));
    for packet in &replayed {
        let verdict = session.through(A.rtp(), A_RTP, packet).0;
        assert_eq!(verdict, Verdict::Drop(DropReason::Replayed));
    }
}

#[test]
fn what_is_of_our_own_is_named_and_fits() {
    for suite in [Suite::AesCm128Sha1_80, Suite::AeadAes256Gcm] {
        let mut session = Session::new();
        let mut a = Peer::of(&mut session, A, suite, 10);
        a.keys.send = named(suite, 11, &[0xab; MKI_LEN_MAX]);
        a.receiver = Receiver::new(&a.keys.send);
        session.relay.set_keys(A, None);
        session.relay.set_keys(A, Some(&a.keys));
        let start = Timestamp::from_millis(session.now_ms);
        let outlet = OutletParams {
            ssrc: 5,
            sequence: 1,
            timestamp: 1,
            clock_rate: 8000,
            step: 480,
        };
        session.relay.set_outlet(start, A, Some(&outlet));
        let reporter = ReporterParams {
            ssrc: 3,
            interval: Duration::from_secs(5),
            seed: 3,
        };
        session.relay.set_reporter(start, A, Some(&reporter));
        let tone = Tone::of(Country::Gb, Meaning::Ringback);
        let sound = Sound::Tone(Player::new(tone, Law::Mu, -10.0));
        let voice = Voice {
            law: Law::Mu,
            payload_type: 0,
            ptime_ms: PTIME_MS_MAX,
        };
        assert!(session.relay.play(start, A, voice, sound, Yield::ToMedia));
        let (mut tones, mut reports) = (0, 0);
        for n in 0..1000u64 {
            let now = Timestamp::from_millis(session.now_ms + n * 60);
            let mut buffer = [0; OWN_LEN_MAX];
            while let Some(verdict) = session.relay.poll_transmit(now, &mut buffer) {
                let Verdict::Forward { socket, len, .. } = verdict else {
                    panic!("{verdict:?}")
                };
                if socket.is_rtcp() {
                    assert!(a.open_rtcp(&buffer[..len]).is_some());
                    reports += 1;
                } else {
                    assert_eq!(a.open(&buffer[..len]).unwrap().len(), 12 + 480);
                    tones += 1;
                }
            }
        }
        assert!(tones == 1000 && reports >= 3, "{tones} {reports}");
    }
}
