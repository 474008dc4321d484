//! Calls whose codec has another media clock than telephony: jitter, reports and one stream out of several go by the
//! `a=rtpmap` of each direction (RFC 8866 §6.6).

use crate::{
    desk::*,
    ear::*,
    ringback::{desk, hang_up, invited, says},
};
use sbc_media::{relay::PairIndex, rtcp::Compound};

const CALLER_RTP: &str = "127.0.0.2:4000";
const CALLEE_RTP: &str = "127.0.0.3:6000";
/// The callee's number for Opus is another one.
const OFFERED: &str =
    "a=rtpmap:97 opus/48000/2\r\na=rtpmap:98 telephone-event/48000\r\na=rtpmap:99 AMR-WB/16000\r\n";
const ANSWERED: &str = "a=rtpmap:111 opus/48000/2\r\na=rtpmap:112 telephone-event/48000\r\n";

fn of(sdp: &str, formats: &str, maps: &str) -> String {
    let line = sdp.lines().find(|line| line.starts_with("m=audio")).unwrap();
    let port = line.split(' ').nth(1).unwrap();
    let own = format!("m=audio {port} RTP/AVP {formats}");
    let mut text = String::new();
    for known in sdp.lines().filter(|known| !known.starts_with("a=rtpmap")) {
        text += if known == line { &own } else { known };
        text += "\r\n";
    }
    text + maps
}

/// Both sides have Opus, by numbers of their own, and G.711. The answer.
fn up(desk: &mut Desk) -> Sent {
    let invite = invited(desk, &of(OFFER, "97 98 99 0", OFFERED));
    let sent = says(
        desk,
        &invite,
        200,
        "calleetag",
        &of(ANSWER, "111 112 0", ANSWERED),
    );
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    ok
}

fn packet(ssrc: u32, payload_type: u8, n: u16, step: u32) -> Vec<u8> {
    let mut packet = rtp(ssrc, payload_type, n, 0x5a);
    packet[4..8].copy_from_slice(&(u32::from(n) * step).to_be_bytes());
    packet
}

fn from(pair: PairIndex) -> &'static str {
    if pair == TO_CALLER { CALLER_RTP } else { CALLEE_RTP }
}

#[test]
fn jitter_and_reports_go_by_the_clock_of_the_codec() {
    let mut desk = desk("", "");
    let ok = up(&mut desk);
    // The caller by the callee's number for Opus, the callee by the caller's for AMR-WB.
    let sends = [(TO_CALLER, 111, 960), (TO_CALLEE, 99, 320)];
    let mut left = [(desk.now, 0); 2];
    let mut reports = 0;
    for n in 0..3000u16 {
        for (at, (pair, payload_type, step)) in sends.into_iter().enumerate() {
            let sent = packet(7, payload_type, n, step);
            assert!(arrive(&mut desk, pair, from(pair), &sent).is_ok());
            left[at] = (desk.now, u32::from(n) * step);
        }
        // Every other one is 10 ms late.
        desk.pass(ms(if n % 2 == 0 { 30 } else { 10 }));
        for own in std::mem::take(&mut desk.own_media) {
            let first = Compound::new_checked(&own.packet)
                .unwrap()
                .packets()
                .next()
                .unwrap();
            let to = usize::from(own.socket.pair() == TO_CALLEE);
            let (at, timestamp) = left[1 - to];
            let units = [16, 48][to];
            let info = first.sender_info().unwrap();
            let passed = own.at.since(at).as_micros() as u32 * units / 1000;
            assert!(
                info.timestamp.abs_diff(timestamp + passed) <= 1,
                "{}",
                info.timestamp
            );
            let jitter = first.reports().next().unwrap().jitter();
            let expected = [480, 160][to];
            assert!(
                jitter.abs_diff(expected) < expected / 8,
                "{jitter} is not {expected}"
            );
            reports += 1;
        }
    }
    assert!(reports >= 6, "{reports}");
    for leg in desk.media_legs() {
        assert!((leg.jitter_ms - 10.0).abs() < 0.5, "{}", leg.jitter_ms);
        assert!(leg.quality.delay_variation_max_ms <= 10.5);
    }
    hang_up(&mut desk, &ok, 2);
}

#[test]
fn another_source_of_opus_goes_on_in_time() {
    // A side that hears noise when it is held has one stream from the beginning.
    let mut desk = desk("hold = \"noise\"", "");
    let ok = up(&mut desk);
    let mut heard = Vec::new();
    let say = |desk: &mut Desk, ssrc: u32, n: u16| {
        let packet = arrive(desk, TO_CALLEE, CALLEE_RTP, &packet(ssrc, 97, n, 960)).unwrap();
        desk.pass(ms(20));
        (packet.at, packet.ssrc(), packet.sequence(), packet.timestamp())
    };
    for n in 0..50 {
        heard.push(say(&mut desk, 7, n));
    }
    desk.pass(ms(480));
    for n in 0..50 {
        heard.push(say(&mut desk, 8, 9000 + n));
    }
    for pair in heard.windows(2) {
        let [before, after] = pair else { unreachable!() };
        assert_eq!((before.1, before.2.wrapping_add(1)), (after.1, after.2));
        let passed = after.0.since(before.0).as_millis() as u32 * 48;
        assert_eq!(after.3.wrapping_sub(before.3), passed);
    }
    hang_up(&mut desk, &ok, 2);
}
