//! Packets of the length that each side wants (option `ptime`, `a=ptime`). Requirement M10.

use crate::{
    desk::*,
    ear::*,
    ringback::{desk, hang_up, invited, says},
};
use sbc_media::relay::{DropReason, PairIndex};

const CALLER_RTP: &str = "127.0.0.2:4000";
const CALLEE_RTP: &str = "127.0.0.3:6000";

fn with(sdp: &str, lines: &str) -> String {
    format!("{sdp}{lines}")
}

/// `a=ptime` and `a=maxptime` in what was sent.
fn times(sent: &Sent) -> (Option<u32>, Option<u32>) {
    let of = |name: &str| {
        let mut lines = sent.body().lines().filter_map(|line| line.strip_prefix(name));
        let found = lines.next().map(|value| value.parse().unwrap());
        assert_eq!(lines.next(), None, "once");
        found
    };
    (of("a=ptime:"), of("a=maxptime:"))
}

/// A call between the two: what the callee was offered, and the caller answered.
fn established(desk: &mut Desk, offer: &str, answer: &str) -> (Sent, Sent) {
    let invite = invited(desk, offer);
    let sent = says(desk, &invite, 200, "calleetag", answer);
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    (invite, ok)
}

/// Packet `n` of a stream of `ms` of μ-law.
fn packet(n: u16, ms: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(n.to_be_bytes());
    packet.extend((u32::from(n) * ms * 8).to_be_bytes());
    packet.extend(5u32.to_be_bytes());
    packet.extend(vec![n as u8; ms as usize * 8]);
    packet
}

/// Lengths in milliseconds, of what the other side hears of `packets` packets of `ms`.
fn lengths(desk: &mut Desk, from: PairIndex, ms: u32, packets: u16) -> Vec<usize> {
    let address = if from == TO_CALLER { CALLER_RTP } else { CALLEE_RTP };
    let mut heard = Vec::new();
    for n in 0..packets {
        desk.own_media.clear();
        match arrive(desk, from, address, &packet(n, ms)) {
            Ok(packet) => heard.push(packet),
            Err(reason) => assert_eq!(reason, DropReason::Reframed),
        }
        heard.extend(hear_now(desk));
        heard.extend(hear(desk, std::time::Duration::from_millis(ms.into())));
    }
    assert!(heard.iter().all(|packet| packet.pair != from));
    let octets: usize = heard.iter().map(|packet| packet.payload().len()).sum();
    assert!(octets >= (usize::from(packets) - 3) * ms as usize * 8, "{octets}");
    heard.iter().map(|packet| packet.payload().len() / 8).collect()
}

/// What [`arrive`] has made due.
fn hear_now(desk: &mut Desk) -> Vec<Packet> {
    let own = std::mem::take(&mut desk.own_media).into_iter();
    own.map(|own| Packet {
        at: own.at,
        pair: own.socket.pair(),
        to: own.to,
        bytes: own.packet,
    })
    .collect()
}

#[test]
fn each_side_gets_the_packets_that_it_wants() {
    let mut desk = desk("", "ptime = 30");
    let (invite, ok) = established(&mut desk, &with(OFFER, "a=ptime:20\r\na=maxptime:40\r\n"), ANSWER);
    assert_eq!(times(&invite), (Some(30), None), "what its trunk has");
    assert_eq!(times(&ok), (Some(30), None), "what need not be cut");
    assert_eq!(lengths(&mut desk, TO_CALLER, 20, 30), [30; 20]);
    let heard = lengths(&mut desk, TO_CALLEE, 30, 20);
    assert!(
        heard.len() >= 29 && heard.iter().all(|len| *len == 20),
        "{heard:?}"
    );
    let legs = desk.media_legs();
    let shown: Vec<_> = legs.iter().map(|leg| leg.ptime_ms).collect();
    assert_eq!(shown, [Some(20), Some(30)]);
    let counters = desk.shard.counters();
    assert!(counters.media_reframed >= 49 && counters.media_originated >= 49);
    hang_up(&mut desk, &ok, 2);
}

#[test]
fn without_the_option_nothing_is_touched() {
    let mut desk = desk("", "");
    let (invite, ok) = established(
        &mut desk,
        &with(OFFER, "a=ptime:20\r\na=maxptime:40\r\n"),
        &with(ANSWER, "a=ptime:30\r\n"),
    );
    assert_eq!(
        (times(&invite), times(&ok)),
        ((Some(20), Some(40)), (Some(30), None))
    );
    assert_eq!(lengths(&mut desk, TO_CALLER, 20, 9), [20; 9]);
    assert_eq!(lengths(&mut desk, TO_CALLEE, 60, 9), [60; 9]);
    for pair in [TO_CALLER, TO_CALLEE] {
        assert!(!desk.shard.relay.has_outlet(pair));
    }
    assert!(desk.media_legs().iter().all(|leg| leg.ptime_ms.is_none()));
    assert_eq!(desk.shard.counters().media_reframed, 0);
    hang_up(&mut desk, &ok, 2);
}

#[test]
fn no_packet_is_longer_than_its_peer_takes() {
    let mut desk = desk("ptime = 60", "ptime = 40");
    let (invite, ok) = established(
        &mut desk,
        &with(OFFER, "a=maxptime:30\r\n"),
        &with(ANSWER, "a=ptime:10\r\na=maxptime:20\r\n"),
    );
    assert_eq!((times(&invite).0, times(&ok).0), (Some(40), Some(60)));
    let shown: Vec<_> = desk.media_legs().iter().map(|leg| leg.ptime_ms).collect();
    assert_eq!(shown, [Some(30), Some(20)]);
    let heard = lengths(&mut desk, TO_CALLER, 60, 10);
    assert!(
        heard.len() >= 28 && heard.iter().all(|len| *len == 20),
        "{heard:?}"
    );
    hang_up(&mut desk, &ok, 2);
}

#[test]
fn a_side_that_says_nothing_gets_what_is_usual() {
    let mut desk = desk("ptime = 10", "");
    let (invite, ok) = established(&mut desk, OFFER, ANSWER);
    assert_eq!((times(&invite), times(&ok)), ((Some(10), None), (Some(10), None)));
    let shown: Vec<_> = desk.media_legs().iter().map(|leg| leg.ptime_ms).collect();
    assert_eq!(shown, [Some(10), Some(20)]);
    hang_up(&mut desk, &ok, 2);
}

#[test]
fn other_codecs_keep_their_bound_and_their_packets() {
    let mut desk = desk("", "ptime = 30");
    let offer = OFFER.replace("AVP 0 8", "AVP 9 0") + "a=ptime:20\r\na=maxptime:20\r\n";
    let (invite, ok) = established(&mut desk, &offer, &ANSWER.replace("AVP 0", "AVP 9"));
    // What passes uncut must not be longer than its reader wants.
    assert_eq!(times(&invite), (Some(20), Some(20)));
    assert_eq!(times(&ok), (Some(30), None));
    assert!(
        desk.media_legs().iter().all(|leg| leg.ptime_ms.is_none()),
        "no G.711"
    );
    let mut g722 = packet(1, 20);
    g722[1] = 9;
    assert!(arrive(&mut desk, TO_CALLER, CALLER_RTP, &g722).is_ok());
    hang_up(&mut desk, &ok, 2);
}

#[test]
fn a_tone_has_the_packets_of_its_hearer() {
    let mut desk = desk("ptime = 40\nringback = \"tone\"\nringback_tone = \"DE\"", "");
    let invite = invited(&mut desk, OFFER);
    let sent = says(&mut desk, &invite, 180, "calleetag", "");
    let early = only(&sent, "183").clone();
    assert_eq!(times(&early), (Some(40), None));
    let tone = hear(&mut desk, ms(400));
    assert!(tone.len() >= 10 && tone.iter().all(|packet| packet.payload().len() == 320));
    let sent = says(&mut desk, &invite, 200, "calleetag", ANSWER);
    let ok = only(&sent, "200").clone();
    let heard = lengths(&mut desk, TO_CALLEE, 20, 20);
    assert_eq!(heard, [40; 10]);
    hang_up(&mut desk, &ok, 2);
}

#[test]
fn whether_rtcp_has_the_port_of_rtp_is_shown() {
    let mut desk = desk("", "rtcp_mux = \"offer\"");
    let (_, ok) = established(&mut desk, OFFER, &with(ANSWER, "a=rtcp-mux\r\n"));
    let shown: Vec<_> = desk.media_legs().iter().map(|leg| leg.rtcp_mux).collect();
    assert_eq!(shown, [false, true]);
    hang_up(&mut desk, &ok, 2);
}
