//! What operators see of a call's audio while it runs, and what its record keeps.

use crate::desk::*;
use sbc_core::shard::{Command, Output, Reply};
use sbc_media::{
    relay::{PairIndex, Verdict},
    time::Timestamp,
};

/// 20 ms of G.711 µ-law, number `n` of the caller's.
fn rtp(n: u16) -> [u8; 172] {
    let mut packet = [0xff; 172];
    packet[..4].copy_from_slice(&[0x80, 0, (n >> 8) as u8, n as u8]);
    packet[4..8].copy_from_slice(&(u32::from(n) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&[0, 0, 0, 1]);
    packet
}

fn forward(desk: &mut Desk, pair: u32, rtcp: bool, from: &str, bytes: &mut [u8]) -> Verdict {
    let pair = PairIndex(pair);
    let socket = if rtcp { pair.rtcp() } else { pair.rtp() };
    let len = bytes.len();
    desk.shard
        .relay
        .forward(desk.now, socket, from.parse().unwrap(), bytes, len)
}

#[test]
fn both_directions_are_rated_while_they_run_and_in_the_record() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let start = desk.now;
    // The caller loses ten packets of a thousand, in one burst.
    for n in (0..1000).filter(|n| !(500..510).contains(n)) {
        desk.now = Timestamp::from_millis(start.as_millis() + 20 * u64::from(n));
        let verdict = forward(&mut desk, 0, false, "127.0.0.2:4000", &mut rtp(n));
        assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
    }
    // Its report reaches the callee, which answers 40 ms later and misses an eighth.
    let mut report = [0; 28];
    report[..8].copy_from_slice(&[0x80, 200, 0, 6, 0, 0, 0, 1]);
    report[10..14].copy_from_slice(&[1, 2, 3, 4]);
    forward(&mut desk, 0, true, "127.0.0.2:4001", &mut report);
    desk.now = Timestamp::from_millis(desk.now.as_millis() + 40);
    let mut answer = [0; 32];
    answer[..13].copy_from_slice(&[0x81, 201, 0, 7, 0, 0, 0, 2, 0, 0, 0, 1, 32]);
    answer[24..28].copy_from_slice(&[1, 2, 3, 4]);
    forward(&mut desk, 1, true, "127.0.0.3:6001", &mut answer);

    for (from, bytes) in [
        ("127.0.0.9:7078", &mut rtp(1000)[..]),
        ("127.0.0.2:4000", &mut [0; 20]),
    ] {
        let verdict = forward(&mut desk, 0, false, from, bytes);
        assert!(matches!(verdict, Verdict::Drop(_)), "{verdict:?}");
    }

    desk.shard.handle_command(
        desk.now,
        1,
        Command::Calls {
            after: None,
            limit: 1,
        },
    );
    let Some(Output::Reply(1, reply)) = desk.shard.poll_output() else {
        panic!()
    };
    let Reply::Calls(rows) = *reply else { panic!() };
    desk.shard
        .handle_command(desk.now, 2, Command::CallShow(rows[0].id.clone()));
    let Some(Output::Reply(2, reply)) = desk.shard.poll_output() else {
        panic!()
    };
    let Reply::Call(shown) = *reply else { panic!() };
    let [caller, callee] = &shown.media[..] else {
        panic!()
    };
    assert_eq!((caller.packets, caller.lost, callee.packets), (990, 10, 0));
    let refused = &caller.refused;
    assert_eq!(refused.stranger.as_deref(), Some("127.0.0.9:7078"));
    assert_eq!((caller.wrong_source, refused.malformed), (1, 1));
    assert_eq!(callee.refused, Default::default());
    let quality = &caller.quality;
    assert_eq!(
        (quality.loss_percent, quality.bursts, quality.burst_ms),
        (1.0, 1, 200.0)
    );
    assert_eq!(
        (quality.burst_loss_percent, quality.gap_loss_percent),
        (100.0, 0.0)
    );
    assert_eq!((quality.payloads.len(), quality.payload_last), (1, Some(0)));
    assert_eq!(quality.longest_silence_ms, Some(220));
    assert_eq!(callee.quality.round_trip_ms, Some(40.0));
    assert_eq!(callee.quality.heard_loss_percent, Some(12.5));
    assert_eq!((callee.quality.mos, callee.quality.payload_last), (None, None));
    // R = 93.21 less what 60 ms cost (1.8) and 95 / (1 / 9.9 + 25.1), which is 3.77.
    let r = quality.r_factor.unwrap();
    assert!((87.5..87.8).contains(&r), "{r}");
    assert!(quality.mos.is_some_and(|mos| (4.2..4.3).contains(&mos)));

    desk.caller(&request("BYE", &up.contact, 2, "bye", &up.tag, ""));
    let sent = desk.pass(seconds(33));
    assert!(!sent.is_empty());
    let record = &desk.records[0];
    assert_eq!(record.media.len(), 2);
    for (kept, shown) in record.media.iter().zip(&shown.media) {
        assert_eq!((kept.packets, &kept.quality), (shown.packets, &shown.quality));
    }
    desk.assert_quiet();
}

#[test]
fn a_call_without_audio_has_a_record_without_any() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 486, "calleetag", "", ""));
    desk.pass(seconds(40));
    let media = &desk.records[0].media;
    assert!(
        media
            .iter()
            .all(|side| side.packets == 0 && side.quality.mos.is_none())
    );
    desk.assert_quiet();
}
