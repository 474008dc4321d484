//! Legs whose media goes by interfaces of their own: WAN and LAN, IPv4 and IPv6 (M11).

use crate::desk::*;
use sbc_core::{
    config,
    id::InterfaceId,
    shard::{Command, Reply},
};
use sbc_media::relay::{PairIndex, Verdict};
use std::time::Duration;

const ANSWER6: &str = "v=0\r\no=callee 7 7 IN IP6 2001:db8::3\r\ns=-\r\nc=IN IP6 2001:db8::3\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 0\r\n";

/// The caller's media goes by `[media]`, behind NAT; the callee's by an IPv6 interface with two pairs of ports,
/// numbers 16 and 17.
fn desk() -> Desk {
    let text = config::DEFAULT_TOML
        .replace("[media]", "[media]\nadvertise = \"192.0.2.1\"")
        .replace(
            "# A provider or platform.",
            "[[media.interface]]\nname = \"six\"\naddress = \"::1\"\nadvertise = \"2001:db8::1\"\n\
             ports = \"30000-30031\"\n# A provider or platform.",
        )
        .replace("name = \"platform\"", "name = \"platform\"\nmedia = \"six\"");
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    let mut desk = Desk::of(snapshot, admission);
    for n in 0..2 {
        let port = 30_000 + 2 * n as u16;
        desk.shard.add_media_pair(InterfaceId(1), PairIndex(16 + n), port);
    }
    desk
}

fn invite(desk: &mut Desk, n: u32) -> Vec<Sent> {
    let (call, number) = (format!("inv{n}"), format!("sip:100{n}@127.0.0.1"));
    desk.caller(
        &request("INVITE", &number, 1, &call, "", OFFER).replace("Call-ID: ", &format!("Call-ID: {n}")),
    )
}

fn rtp(desk: &mut Desk, pair: u32, from: &str) -> Verdict {
    let mut packet = [0xff; 172];
    packet[..12].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 1]);
    let (socket, len) = (PairIndex(pair).rtp(), packet.len());
    desk.shard
        .relay
        .forward(desk.now, socket, from.parse().unwrap(), &mut packet, len)
}

#[test]
fn an_ipv4_leg_and_an_ipv6_leg_are_joined() {
    let mut desk = desk();
    let sent = invite(&mut desk, 1);
    let invite = only(&sent, "INVITE").clone();
    let body = invite.body();
    assert!(
        body.contains(" IN IP6 2001:db8::1\r\ns=-\r\nc=IN IP6 2001:db8::1\r\n"),
        "{body}"
    );
    assert!(!body.contains("IP4"), "{body}");
    assert_eq!(invite.media_port(), 30_000);
    let sent = desk.callee(&response(
        &invite,
        200,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        ANSWER6,
    ));
    let ok = only(&sent, "200").clone();
    let body = ok.body();
    assert!(
        body.contains(" IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n"),
        "{body}"
    );
    assert!(!body.contains("IP6"), "{body}");
    assert_eq!(ok.media_port(), 20_000);

    for (pair, from, out, to) in [
        (0, "127.0.0.2:4000", 16, "[2001:db8::3]:6000"),
        (16, "[2001:db8::3]:6000", 0, "127.0.0.2:4000"),
    ] {
        match rtp(&mut desk, pair, from) {
            Verdict::Forward {
                socket, to: sent_to, ..
            } => {
                assert_eq!(socket, PairIndex(out).rtp());
                assert_eq!(sent_to, Some(to.parse().unwrap()));
            }
            other => panic!("{other:?}"),
        }
    }
    // What the callee has said before it hears again, from the same address of ours.
    desk.caller(
        &request(
            "ACK",
            "sip:1001@127.0.0.1",
            1,
            "ack1",
            &tag_of(ok.header("To")),
            "",
        )
        .replace("Call-ID: ", "Call-ID: 1"),
    );
    let legs = desk.media_legs();
    assert_eq!((legs[0].port, legs[1].port), (20_000, 30_000));
}

#[test]
fn media_of_the_other_family_is_refused() {
    let mut desk = desk();
    let offer = OFFER.replace("IP4 127.0.0.2", "IP6 2001:db8::2");
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", &offer));
    let refusal = only(&sent, "488");
    assert!(refusal.header("Warning").starts_with("301 "), "{}", refusal.text);

    let invite = only(&invite(&mut desk, 2), "INVITE").clone();
    let sent = desk.callee(&response(
        &invite,
        200,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        ANSWER,
    ));
    assert_eq!(kinds(&sent), ["B<ACK", "A<488", "B<BYE"]);
}

#[test]
fn a_hold_names_no_family() {
    let mut desk = desk();
    let invite = only(&invite(&mut desk, 1), "INVITE").clone();
    let held = ANSWER6.replace("c=IN IP6 2001:db8::3", "c=IN IP4 0.0.0.0");
    let sent = desk.callee(&response(
        &invite,
        200,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        &held,
    ));
    assert!(only(&sent, "200").body().contains("a=sendonly\r\n"));
}

#[test]
fn each_interface_has_its_own_ports() {
    let mut desk = desk();
    for n in 1..=2 {
        only(&invite(&mut desk, n), "INVITE");
    }
    let refused = invite(&mut desk, 3);
    only(&refused, "503");
    assert_eq!(desk.shard.counters().refused_no_media_port, 1);
    assert_eq!(desk.shard.media_pairs_free(InterfaceId(0)), 14, "none is lost");
    desk.command(Command::MediaPairs);
    match desk.replies.pop() {
        Some(Reply::MediaPairs(pairs)) => assert_eq!(pairs, [(2, 0), (2, 0)]),
        other => panic!("{other:?}"),
    }
    // They rest, and serve again.
    desk.command(Command::HangupAll);
    desk.pass(Duration::from_secs(60));
    desk.command(Command::MediaPairs);
    match desk.replies.pop() {
        Some(Reply::MediaPairs(pairs)) => assert_eq!(pairs, [(0, 0), (0, 0)]),
        other => panic!("{other:?}"),
    }
    only(&invite(&mut desk, 4), "INVITE");
}
