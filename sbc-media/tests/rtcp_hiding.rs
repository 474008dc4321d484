//! RTCP through the relay: figures pass, names do not, and round trips are measured on the way.

mod support;
use proptest::prelude::*;
use sbc_media::{
    relay::Verdict,
    rtcp::{
        Compound, Packet,
        hide::{Cname, hide},
        translate::translate,
    },
};
use support::*;

/// A sender report of `ssrc` with an NTP time whose middle is `middle`.
fn sender_report(ssrc: u8, middle: u32) -> Vec<u8> {
    let mut bytes = vec![0x80, 200, 0, 6, 0, 0, 0, ssrc, 0xe0, 0];
    bytes.extend(middle.to_be_bytes());
    bytes.extend([0; 14]);
    bytes
}

/// A receiver report of `ssrc` on `source`: it got the report with `middle` so long ago.
fn receiver_report(ssrc: u8, source: u8, middle: u32, delay_ms: u32) -> Vec<u8> {
    let mut bytes = vec![0x81, 201, 0, 7, 0, 0, 0, ssrc, 0, 0, 0, source, 64, 0, 0, 9, 0, 0];
    bytes.extend([1, 0, 0, 0, 0, 24]);
    bytes.extend(middle.to_be_bytes());
    bytes.extend((delay_ms * 65_536 / 1000).to_be_bytes());
    bytes
}

fn description(ssrc: u8, cname: &[u8]) -> Vec<u8> {
    let mut chunk = vec![0, 0, 0, ssrc, 1, cname.len() as u8];
    chunk.extend(cname);
    chunk.push(0);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    let mut bytes = vec![0x81, 202, 0, (chunk.len() / 4) as u8];
    bytes.extend(chunk);
    bytes
}

/// What leaves when `bytes` come from A.
fn through(session: &mut Session, bytes: &[u8]) -> Vec<u8> {
    let mut buffer = bytes.to_vec();
    match session.send(A.rtcp(), A_RTCP, &mut buffer) {
        Verdict::Forward { len, .. } => buffer[..len].to_vec(),
        Verdict::Drop(reason) => panic!("{reason:?}"),
    }
}

fn first(bytes: &[u8]) -> Vec<Packet<'_>> {
    Compound::new_checked(bytes).unwrap().packets().collect()
}

#[test]
fn the_other_side_is_told_a_name_of_ours() {
    let mut session = Session::flowing();
    session.relay.set_cname(B, Cname::new(*b"name told B!"));
    let bytes = [
        sender_report(1, 7),
        description(1, b"anna@192.0.2.1:4000.example.net"),
    ]
    .concat();
    let out = through(&mut session, &bytes);
    let packets = first(&out);
    assert_eq!(packets[0].sender_info().map(|info| info.middle()), Some(7));
    let chunk = packets[1].chunks().next().unwrap();
    assert_eq!((chunk.ssrc(), chunk.cname()), (1, Some(&b"bmFtZSB0b2xkIEIh"[..])));
    assert!(out.len() < bytes.len());
}

#[test]
fn a_name_ends_with_the_call() {
    let mut session = Session::flowing();
    session.relay.set_cname(B, Cname::new([7; 12]));
    session.relay.close(A);
    session.relay.close(B);
    assert!(session.relay.open(A, B));
    session.remote(A, A_RTP);
    session.remote(B, B_RTP);
    let out = through(
        &mut session,
        &[sender_report(1, 7), description(1, &[b'x'; 30])].concat(),
    );
    let chunk = first(&out)[1].chunks().next().unwrap();
    assert_eq!(chunk.cname(), Some(&Cname::ANONYMOUS.text()[..]));
}

#[test]
fn applications_do_not_pass() {
    let mut session = Session::flowing();
    let app = [0x80, 204, 0, 3, 0, 0, 0, 1, b'H', b'O', b'S', b'T', 192, 0, 2, 1];
    let report = sender_report(1, 7);
    assert_eq!(through(&mut session, &[&report[..], &app].concat()), report);
    let verdict = session.send(A.rtcp(), A_RTCP, &mut app.clone());
    assert!(matches!(verdict, Verdict::Drop(_)), "{verdict:?}");
    let stats = session.relay.stats(A);
    assert_eq!((stats.rtcp_packets, stats.rtcp_removed), (2, 2));
}

#[test]
fn the_round_trip_is_that_between_us_and_the_peer_that_answers() {
    let mut session = Session::flowing();
    through(&mut session, &sender_report(1, 0x1234_0000));
    assert_eq!(session.relay.stats(B).round_trip, None);
    session.wait_ms(3_080);
    // B got it, waited 3 s, and answered.
    let mut answer = receiver_report(9, 1, 0x1234_0000, 3_000);
    session.send(B.rtcp(), B_RTCP, &mut answer);
    let stats = session.relay.stats(B);
    assert_eq!(stats.round_trip.map(|time| time.as_millis()), Some(80));
    assert_eq!(stats.round_trip_longest, stats.round_trip);
    let heard = stats.heard.unwrap();
    assert_eq!((heard.loss, heard.jitter), (0.25, 24));
    assert_eq!(session.relay.stats(A).round_trip, None);
    assert_eq!(session.relay.stats(A).heard, None);
}

#[test]
fn a_round_trip_is_measured_over_multiplexed_ports_too() {
    let mut session = Session::flowing();
    session.send(A.rtp(), A_RTP, &mut sender_report(1, 77));
    session.wait_ms(50);
    session.send(B.rtp(), B_RTP, &mut receiver_report(9, 1, 77, 0));
    let time = session.relay.stats(B).round_trip;
    assert_eq!(time.map(|time| time.as_millis()), Some(50));
}

#[test]
fn reports_of_a_stranger_measure_nothing() {
    let mut session = Session::flowing();
    through(&mut session, &sender_report(1, 77));
    session.rtcp(B, B_RTCP);
    session.wait_ms(20);
    assert_eq!(
        session.send(B.rtcp(), STRANGER, &mut receiver_report(9, 1, 77, 0)),
        WRONG_SOURCE
    );
    assert_eq!(session.relay.stats(B).round_trip, None);
}

/// Packets of every kind with arbitrary contents, often valid.
fn compound() -> impl Strategy<Value = Vec<u8>> {
    let words = |least: usize| prop::collection::vec(any::<u8>(), 4 * least..80);
    let packet = (190u8..212, 0u8..6, words(0), any::<bool>()).prop_map(|(kind, count, mut body, fill)| {
        body.resize(body.len().next_multiple_of(4), 0);
        let needs = match kind {
            200 => 24 + 24 * usize::from(count),
            201 => 4 + 24 * usize::from(count),
            203 => 4 * usize::from(count),
            204..=206 => 8,
            207 => 4,
            _ => 0,
        };
        if fill && body.len() < needs {
            body.resize(needs, 7);
        }
        if kind == 202 && fill {
            // Short items, so that several chunks fit.
            body = (0..count)
                .flat_map(|n| [0, 0, 0, n, 1 + n % 8, 3, b'a', b'b', b'c', 1, 1, b'd', 0, 0, 0, 0])
                .collect();
        }
        let mut bytes = vec![0x80 | count, kind, 0, (body.len() / 4) as u8];
        bytes.extend(body);
        bytes
    });
    prop::collection::vec(packet, 1..6).prop_map(|packets| packets.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn what_is_left_is_a_compound_of_the_same_figures(bytes in compound()) {
        let mut buffer = bytes.clone();
        let valid = Compound::new_checked(&bytes).is_ok();
        let hidden = hide(&mut buffer, bytes.len(), &Cname::ANONYMOUS);
        prop_assert_eq!(hidden.is_ok(), valid);
        let Ok(hidden) = hidden else {
            prop_assert_eq!(buffer, bytes);
            return Ok(());
        };
        buffer.truncate(hidden.len);
        let before: Vec<_> = Compound::new_checked(&bytes).unwrap().packets().collect();
        let after: Vec<_> = match buffer.is_empty() {
            true => vec![],
            false => Compound::new_checked(&buffer).unwrap().packets().collect(),
        };
        prop_assert_eq!(before.len(), after.len() + hidden.removed as usize);
        let figures = |packets: &[Packet<'_>]| -> Vec<_> {
            let reports = packets.iter().flat_map(|p| p.reports().map(|r| format!("{r:?}")));
            let senders = packets.iter().filter_map(|p| p.sender_info().map(|s| format!("{s:?}")));
            let chunks = packets.iter().flat_map(|p| p.chunks().map(|c| format!("{}", c.ssrc())));
            let leaving = packets.iter().flat_map(|p| p.leaving().map(|s| format!("{s}")));
            reports.chain(senders).chain(chunks).chain(leaving).collect()
        };
        prop_assert_eq!(figures(&before), figures(&after));
    }

    #[test]
    fn any_bytes_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..200), likely in any::<bool>()) {
        if likely && bytes.len() > 4 {
            bytes[0] = 0x80 | bytes[0] & 0x3f;
            bytes[1] = 200 + bytes[1] % 8;
            let words = (bytes.len() / 4 - 1) as u16;
            bytes[2..4].copy_from_slice(&words.to_be_bytes());
            bytes.truncate(4 * (usize::from(words) + 1));
        }
        let mut translated = bytes.clone();
        let _ = translate(&mut translated, |ssrc| ssrc ^ 0xffff_ffff);
        let _ = translate(&mut translated, |ssrc| ssrc ^ 0xffff_ffff);
        prop_assert_eq!(&translated, &bytes);
        let len = bytes.len();
        if let Ok(hidden) = hide(&mut bytes, len, &Cname::ANONYMOUS) {
            prop_assert!(hidden.len <= len);
        }
    }
}
