//! RTCP across an outlet: each peer reads of the streams that it knows (correctness 39).

#[path = "support/peer.rs"]
mod peers;
mod support;
use peers::*;
use sbc_media::{
    relay::{DropReason, OutletParams, Verdict},
    rtcp::Compound,
    time::Timestamp,
};
use support::*;

const OUT: u32 = 0x00c0_ffee;
/// What A calls its stream.
const SOURCE: u32 = 0x1234;
/// The SSRC of B.
const OTHER: u32 = 0x5678;

fn session() -> Session {
    let mut session = Session::flowing();
    let params = OutletParams {
        ssrc: OUT,
        sequence: 1000,
        timestamp: 50_000,
        clock_rate: 8000,
        step: 160,
    };
    let now = Timestamp::from_millis(session.now_ms);
    session.relay.set_outlet(now, B, Some(&params));
    session
}

fn speak(session: &mut Session, ssrc: u32, sequence: u16, timestamp: u32) {
    let mut packet = rtp(sequence);
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
    packet[8..12].copy_from_slice(&ssrc.to_be_bytes());
    let verdict = session.send(A.rtp(), A_RTP, &mut packet);
    assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
    session.wait_ms(20);
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// SR of `ssrc`, with a report block about `about`.
fn sender_report(ssrc: u32, timestamp: u32, about: u32) -> Vec<u8> {
    words(&[
        0x81c8_000c,
        ssrc,
        7,
        8,
        timestamp,
        99,
        9999,
        about,
        0x0100_0002,
        77,
        5,
        0,
        0,
    ])
}

fn receiver_report(ssrc: u32, about: u32, highest: u32) -> Vec<u8> {
    words(&[0x81c9_0007, ssrc, about, 0x4000_0011, highest, 5, 6, 7])
}

fn leaves(session: &mut Session, pair: sbc_media::relay::PairIndex, bytes: &[u8]) -> Vec<u8> {
    let from = if pair == A { A_RTCP } else { B_RTCP };
    let (verdict, bytes) = session.through(pair.rtcp(), from, bytes);
    assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
    bytes
}

#[test]
fn what_the_source_says_is_said_of_the_stream_that_leaves() {
    let mut session = session();
    for n in 0..10u16 {
        speak(&mut session, SOURCE, 500 + n, u32::from(n) * 160);
    }
    let names = words(&[0x81ca_0003, SOURCE, 0x0104_6162, 0x6364_0000]);
    let bytes = [sender_report(SOURCE, 1600, OTHER), names].concat();
    let left = leaves(&mut session, A, &bytes);
    let packets: Vec<_> = Compound::new_checked(&left).unwrap().packets().collect();
    let info = packets[0].sender_info().unwrap();
    assert_eq!(
        (packets[0].ssrc(), info.ntp, info.timestamp),
        (Some(OUT), 7 << 32 | 8, 51_600)
    );
    assert_eq!((info.packets, info.octets), (10, 1600));
    // B has no other name: what A says of it stays.
    let block = packets[0].reports().next().unwrap();
    assert_eq!(
        (block.ssrc(), block.highest_sequence(), block.lost()),
        (OTHER, 77, 2)
    );
    assert_eq!(packets[1].chunks().next().unwrap().ssrc(), OUT);
}

#[test]
fn what_the_receiver_says_is_said_of_the_source() {
    let mut session = session();
    // Over a wrap of the source's numbers.
    for n in 0..100u16 {
        speak(
            &mut session,
            SOURCE,
            65_500u16.wrapping_add(n),
            u32::from(n) * 160,
        );
    }
    // B has all but the last two.
    let left = leaves(&mut session, B, &receiver_report(OTHER, OUT, 1097));
    let packet = Compound::new_checked(&left).unwrap().packets().next().unwrap();
    let block = packet.reports().next().unwrap();
    assert_eq!(packet.ssrc(), Some(OTHER));
    assert_eq!((block.ssrc(), block.highest_sequence()), (SOURCE, 0x1_0000 + 61));
    assert_eq!((block.fraction_lost(), block.lost()), (64, 17));
    // A report about a stream that nobody knows stays as it is.
    let strange = receiver_report(OTHER, 0xbad, 1097);
    assert_eq!(leaves(&mut session, B, &strange), strange);
    // Another source, with numbers of its own.
    for n in 0..10 {
        speak(&mut session, 0x4321, 9000 + n, 0);
    }
    let left = leaves(&mut session, B, &receiver_report(OTHER, OUT, 1109));
    let packet = Compound::new_checked(&left).unwrap().packets().next().unwrap();
    let block = packet.reports().next().unwrap();
    assert_eq!((block.ssrc(), block.highest_sequence()), (0x4321, 9009));
}

#[test]
fn a_missing_packet_is_asked_for_by_the_number_of_the_source() {
    let mut session = session();
    for n in 0..10u16 {
        speak(&mut session, SOURCE, 500 + n, u32::from(n) * 160);
    }
    let left = leaves(
        &mut session,
        B,
        &words(&[0x81cd_0003, OTHER, OUT, 1003 << 16 | 5]),
    );
    assert_eq!(left, words(&[0x81cd_0003, OTHER, SOURCE, 503 << 16 | 5]));
}

#[test]
fn a_source_that_changes_says_no_goodbye() {
    let mut session = session();
    speak(&mut session, SOURCE, 500, 0);
    let bye = words(&[0x81cb_0001, SOURCE]);
    let report = words(&[0x80c9_0001, SOURCE]);
    let left = leaves(&mut session, A, &[report, bye.clone()].concat());
    assert_eq!(left, words(&[0x80c9_0001, OUT]));
    let (alone, _) = session.through(A.rtcp(), A_RTCP, &bye);
    assert_eq!(alone, Verdict::Drop(DropReason::Format));
    // B's own leaves as it is: A's stream of it has no outlet.
    let bye = words(&[0x81cb_0001, OTHER]);
    assert_eq!(leaves(&mut session, B, &bye), bye);
}

#[test]
fn a_report_of_a_source_that_does_not_leave_tells_the_time_of_the_stream() {
    let mut session = session();
    speak(&mut session, SOURCE, 500, 0);
    speak(&mut session, 0x4321, 7, 90_000);
    let now = session.now_ms;
    let left = leaves(&mut session, A, &sender_report(SOURCE, 320, OTHER));
    let packet = Compound::new_checked(&left).unwrap().packets().next().unwrap();
    let info = packet.sender_info().unwrap();
    assert_eq!((packet.ssrc(), info.packets), (Some(OUT), 2));
    // 20 ms after the second packet left with 50,160.
    assert_eq!((info.timestamp, session.now_ms), (50_320, now));
}

#[test]
fn protected_reports_are_translated_too() {
    let (mut session, mut a, mut b) = both([SUITE, SUITE]);
    let params = OutletParams {
        ssrc: OUT,
        sequence: 1,
        timestamp: 0,
        clock_rate: 8000,
        step: 160,
    };
    session.relay.set_outlet(Timestamp::ZERO, B, Some(&params));
    let (_, left) = a.send(&mut session, &rtp(5));
    assert_eq!(b.open(&left).unwrap()[8..12], OUT.to_be_bytes());
    let protected = b.protect_rtcp(&receiver_report(OTHER, OUT, 1));
    let (_, left) = session.through(B.rtcp(), B_RTCP, &protected);
    let opened = a.open_rtcp(&left).expect("authentic");
    assert_eq!(opened, receiver_report(OTHER, 1, 5));
}
