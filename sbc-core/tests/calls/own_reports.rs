//! RTCP of our own in a call, for a peer that hears none of the other (M2).

use crate::desk::*;
use sbc_core::config;
use sbc_media::{
    relay::{PairIndex, Verdict},
    rtcp::Compound,
};
use std::{net::SocketAddr, time::Duration};

const CALLER_MEDIA: &str = "127.0.0.2:4000";
const CALLEE_MEDIA: &str = "127.0.0.3:6000";
/// Five intervals of silence, and one until it is noticed that media flows.
const TURN_S: u64 = 33;

/// The default configuration with an option of `[media]`.
fn desk(option: &str) -> Desk {
    let text = config::DEFAULT_TOML.replace("[media]", &format!("[media]\n{option}"));
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

fn send(desk: &mut Desk, pair: u32, rtcp: bool, bytes: &mut [u8]) {
    let from = [CALLER_MEDIA, CALLEE_MEDIA][pair as usize];
    let mut from: SocketAddr = from.parse().unwrap();
    from.set_port(from.port() + u16::from(rtcp));
    let pair = PairIndex(pair);
    let (socket, len) = (if rtcp { pair.rtcp() } else { pair.rtp() }, bytes.len());
    let verdict = desk.shard.relay.forward(desk.now, socket, from, bytes, len);
    assert!(matches!(verdict, Verdict::Forward { .. }), "{verdict:?}");
}

/// Both sides talk for so long, and those of `reporting` report every five seconds.
fn talk(desk: &mut Desk, seconds: u64, reporting: &[u32]) {
    for n in 0..seconds * 50 {
        desk.pass(Duration::from_millis(20));
        for pair in [0, 1] {
            let at = (desk.now.as_millis() / 20) as u16;
            let mut packet = [0xff; 172];
            packet[..4].copy_from_slice(&[0x80, 0, (at >> 8) as u8, at as u8]);
            packet[4..8].copy_from_slice(&(u32::from(at) * 160).to_be_bytes());
            packet[8..12].copy_from_slice(&[0, 0, 0, 1 + pair as u8]);
            send(desk, pair, false, &mut packet);
            if n % 250 == 200 && reporting.contains(&pair) {
                let mut report = [0; 28];
                report[..8].copy_from_slice(&[0x80, 200, 0, 6, 0, 0, 0, 1 + pair as u8]);
                report[8..16].copy_from_slice(&(n + 1).to_be_bytes());
                send(desk, pair, true, &mut report);
            }
        }
    }
}

/// Reports of ours so far to the caller and to the callee; each is an SR of what the other sends.
fn reports(desk: &mut Desk) -> [usize; 2] {
    let mut counts = [0; 2];
    for own in desk.own_media.drain(..) {
        let pair = own.socket.pair().0;
        assert!(own.socket.is_rtcp());
        let peer = ["127.0.0.2:4001", "127.0.0.3:6001"][pair as usize];
        assert_eq!(own.to, Some(peer.parse().unwrap()));
        let packet = Compound::new_checked(&own.packet)
            .unwrap()
            .packets()
            .next()
            .unwrap();
        assert_eq!(packet.ssrc(), Some(2 - pair), "the source that the peer hears");
        assert!(packet.sender_info().is_some_and(|info| info.packets > 200));
        let block = packet.reports().next().expect("what comes from the peer");
        assert_eq!((block.ssrc(), block.lost()), (1 + pair, 0));
        counts[pair as usize] += 1;
    }
    counts
}

#[test]
fn both_sides_are_told_where_nobody_reports() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    talk(&mut desk, TURN_S + 60, &[]);
    let told = reports(&mut desk);
    assert!(told.iter().all(|reports| (9..=20).contains(reports)), "{told:?}");
    desk.caller(&request("BYE", &up.contact, 2, "bye", &up.tag, ""));
    assert_eq!(desk.shard.relay.poll_timeout(), None);
    desk.pass(seconds(60));
    assert!(desk.own_media.is_empty());
}

#[test]
fn nobody_is_told_what_the_other_side_says() {
    let mut desk = Desk::new();
    establish(&mut desk);
    talk(&mut desk, 120, &[0, 1]);
    assert_eq!(reports(&mut desk), [0, 0]);
    // The callee falls silent in RTCP: the caller hears ours.
    talk(&mut desk, TURN_S + 30, &[0]);
    let [caller, callee] = reports(&mut desk);
    assert!(caller >= 4 && callee == 0, "{caller} {callee}");
    // And speaks again.
    talk(&mut desk, 5, &[0, 1]);
    reports(&mut desk);
    talk(&mut desk, 60, &[0, 1]);
    assert_eq!(reports(&mut desk), [0, 0]);
}

#[test]
fn a_call_that_rings_long_has_its_turn_when_media_flows() {
    let mut desk = Desk::new();
    let out = only(&desk.caller(&invite()), "INVITE").clone();
    desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3:5060", ""));
    desk.pass(seconds(50));
    let sent = desk.callee(&ok(&out));
    let answer = only(&sent, "200");
    let contact = answer.header("Contact").trim_matches(['<', '>']);
    desk.caller(&request(
        "ACK",
        contact,
        1,
        "ack1",
        &tag_of(answer.header("To")),
        "",
    ));
    talk(&mut desk, 24, &[]);
    assert_eq!(reports(&mut desk), [0, 0]);
    talk(&mut desk, 15, &[]);
    assert!(reports(&mut desk).iter().all(|reports| *reports > 0));
}

#[test]
fn the_interval_is_the_operators() {
    for (option, least, most) in [
        ("rtcp_interval_s = 0", 0, 0),
        ("rtcp_interval_s = 1", 25, 80),
        ("rtcp_interval_s = 10", 0, 0),
    ] {
        let mut desk = desk(option);
        establish(&mut desk);
        talk(&mut desk, 45, &[]);
        let told = reports(&mut desk);
        let fits = |reports: &usize| (least..=most).contains(reports);
        assert!(told.iter().all(fits), "{option}: {told:?}");
        let never = option.ends_with("= 0");
        assert_eq!(desk.shard.relay.poll_timeout().is_none(), never, "{option}");
    }
}

#[test]
fn a_peer_that_wants_none_gets_none() {
    // RFC 3556: of the m-line, of the session, and what the m-line says against the session.
    let none = "b=RS:0\r\nb=RR:0\r\nt=0 0";
    for (offer, silent) in [
        (
            OFFER.replace("a=sendrecv", "b=RR:0\r\nb=RS:0\r\na=sendrecv"),
            true,
        ),
        (OFFER.replace("t=0 0", none), true),
        (OFFER.replace("a=sendrecv", "b=RR:0\r\na=sendrecv"), false),
        (
            OFFER
                .replace("t=0 0", none)
                .replace("a=sendrecv", "b=RS:800\r\nb=RR:2400\r\na=sendrecv"),
            false,
        ),
    ] {
        let mut desk = desk("rtcp_interval_s = 1");
        let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", &offer));
        desk.callee(&ok(only(&sent, "INVITE")));
        talk(&mut desk, 30, &[]);
        let [caller, callee] = reports(&mut desk);
        assert!(callee > 10, "{callee}: it wants some");
        assert_eq!(caller == 0, silent, "{caller} in\n{offer}");
    }
}
