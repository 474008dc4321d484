//! What our rollover counter does when a session is negotiated again (correctness 42).

use crate::desk::*;
use sbc_core::{config, sdp::Sdp};
use sbc_media::{
    relay::{PairIndex, Verdict},
    srtp::{MasterKey, Receiver},
};

const CALLEES_LINE: &str =
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR\r\n";

fn desk(roc: &str) -> Desk {
    let lines = format!("name = \"platform\"\nsrtp = \"required\"\nsrtp_roc = \"{roc}\"");
    let text = config::DEFAULT_TOML.replace("name = \"platform\"", &lines);
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

/// Our key in the first line of what the callee is told.
fn key(told: &Sent) -> MasterKey {
    let sdp = Sdp::parse(told.body().as_bytes()).unwrap();
    sdp.medias()[0].crypto().next().unwrap().key.clone()
}

fn answer() -> String {
    format!("{}{CALLEES_LINE}", ANSWER.replace("RTP/AVP", "RTP/SAVP"))
}

/// A packet of the caller's; whether the callee understands what leaves.
fn passes(desk: &mut Desk, callee: &mut Receiver, sequence: u16) -> bool {
    let mut packet = [0xff; 256];
    let [high, low] = sequence.to_be_bytes();
    packet[..12].copy_from_slice(&[0x80, 0, high, low, 0, 0, high, low, 0, 0, 0, 1]);
    let from = "127.0.0.2:4000".parse().unwrap();
    let socket = PairIndex(0).rtp();
    match desk.shard.relay.forward(desk.now, socket, from, &mut packet, 172) {
        Verdict::Forward { len, .. } => callee.unprotect(&mut packet, len) == Ok(172),
        Verdict::Drop(reason) => panic!("{reason:?}"),
    }
}

#[test]
fn it_goes_on_or_begins_at_0_under_a_new_key() {
    for resets in [false, true] {
        let mut desk = desk(if resets { "reset" } else { "keep" });
        let invite = only(&desk.caller(&invite()), "INVITE").clone();
        let sent = desk.callee(&response(
            &invite,
            200,
            "calleetag",
            "sip:bob@127.0.0.3:5060",
            &answer(),
        ));
        let ok = only(&sent, "200").clone();
        let (tag, contact) = (
            tag_of(ok.header("To")),
            ok.header("Contact").trim_matches(['<', '>']).to_owned(),
        );
        desk.caller(&request("ACK", &contact, 1, "ack1", &tag, ""));
        let first = key(&invite);
        let mut callee = Receiver::new(&first);
        // Over three times the number space, with many lost: the counter is 2 at least.
        for sequence in (0..200_000_u32).step_by(2_000).map(|n| n as u16) {
            assert!(passes(&mut desk, &mut callee, sequence), "{sequence}");
        }

        let offer = next_version(OFFER).replace("a=sendrecv", "a=ptime:20");
        let sent = desk.caller(&request("INVITE", &contact, 2, "re", &tag, &offer));
        let re = only(&sent, "INVITE").clone();
        assert_eq!(key(&re) != first, resets);
        desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", &answer()));
        desk.caller(&request("ACK", &contact, 2, "ack2", &tag, ""));
        if resets {
            // As of a stream that has just begun.
            callee = Receiver::new(&key(&re));
        }
        for sequence in 1_400..1_410 {
            assert!(passes(&mut desk, &mut callee, sequence), "{sequence}");
        }
        // A receiver that knows of no wrap understands only what has begun anew.
        assert_eq!(passes(&mut desk, &mut Receiver::new(&key(&re)), 1_410), resets);
    }
}

#[test]
fn a_peer_that_asks_gets_a_new_key_too() {
    let mut desk = desk("reset");
    let invite = only(&desk.caller(&invite()), "INVITE").clone();
    let sent = desk.callee(&response(
        &invite,
        200,
        "calleetag",
        "sip:bob@127.0.0.3:5060",
        &answer(),
    ));
    let ok = only(&sent, "200").clone();
    let (tag, contact) = (
        tag_of(ok.header("To")),
        ok.header("Contact").trim_matches(['<', '>']).to_owned(),
    );
    desk.caller(&request("ACK", &contact, 1, "ack1", &tag, ""));
    let ours = invite.header("Contact").trim_matches(['<', '>']);
    let re = format!(
        "INVITE {ours} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.3:5060;branch=z9hG4bKre\r\nMax-Forwards: 70\r\n\
         From: {};tag=calleetag\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 5 INVITE\r\n\
         Contact: <sip:bob@127.0.0.3:5060>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{}",
        invite.header("To"),
        invite.header("From"),
        invite.header("Call-ID"),
        next_version(&answer()).len(),
        next_version(&answer()),
    );
    let sent = desk.callee(&re);
    let asked = only(&sent, "INVITE").clone();
    let sent = desk.caller(&response(
        &asked,
        200,
        "",
        "sip:alice@127.0.0.2:5060",
        &next_version(OFFER),
    ));
    let ok = sent
        .iter()
        .find(|sent| !sent.to_caller() && sent.kind() == "200")
        .unwrap();
    assert_ne!(key(ok), key(&invite));
}
