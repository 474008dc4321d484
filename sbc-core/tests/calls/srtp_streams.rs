//! What leaves under one key is one stream, whatever its sources do. Correctness 39.

use crate::desk::*;
use sbc_core::{config, sdp::Sdp};
use sbc_media::{
    relay::{DropReason, PairIndex, Verdict},
    rtp,
    srtp::{Receiver, Suite},
};

const KEY_A: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
/// Of the caller, whose trunk has SRTP.
const CRYPTO: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:";

/// The caller's trunk has SRTP, the callee's has not.
fn desk() -> Desk {
    let required = "name = \"carrier\"\nsrtp = \"required\"";
    let text = config::DEFAULT_TOML.replace("name = \"carrier\"", required);
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

fn invited(desk: &mut Desk) -> Sent {
    let offer = format!("{}{CRYPTO}{KEY_A}\r\n", OFFER.replace("RTP/AVP", "RTP/SAVP"));
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", &offer));
    only(&sent, "INVITE").clone()
}

/// What opens our packets at the caller, by the key in what it was told.
fn receiver(told: &Sent) -> Receiver {
    let sdp = Sdp::parse(told.body().as_bytes()).unwrap();
    let line = sdp.medias()[0].crypto().next().unwrap();
    assert_eq!(line.key.suite(), Suite::AesCm128Sha1_80);
    Receiver::new(&line.key)
}

/// 20 ms later a packet comes from the callee's side: SSRC and sequence number with which the caller hears it.
fn heard(
    desk: &mut Desk,
    caller: &mut Receiver,
    from: &str,
    (ssrc, sequence): (u32, u16),
) -> Result<(u32, u16), DropReason> {
    desk.pass(std::time::Duration::from_millis(20));
    let mut buffer = [0; 256];
    buffer[..2].copy_from_slice(&[0x80, 0]);
    buffer[2..4].copy_from_slice(&sequence.to_be_bytes());
    buffer[8..12].copy_from_slice(&ssrc.to_be_bytes());
    let from = from.parse().unwrap();
    let socket = PairIndex(1).rtp();
    match desk.shard.relay.forward(desk.now, socket, from, &mut buffer, 172) {
        Verdict::Drop(reason) => Err(reason),
        Verdict::Forward { len, .. } => {
            let len = caller.unprotect(&mut buffer, len).expect("authentic and new");
            let packet = rtp::Packet::new_checked(&buffer[..len]).unwrap();
            Ok((packet.ssrc(), packet.sequence()))
        }
    }
}

const CALLEE_MEDIA: &str = "127.0.0.3:6000";

fn up() -> (Desk, Receiver) {
    let mut desk = desk();
    let invite = invited(&mut desk);
    let sent = desk.callee(&ok(&invite));
    let caller = receiver(only(&sent, "200"));
    (desk, caller)
}

#[test]
fn a_source_that_begins_its_numbers_anew_goes_on_being_heard() {
    let (mut desk, mut caller) = up();
    let first = heard(&mut desk, &mut caller, CALLEE_MEDIA, (9, 20_000)).unwrap();
    let mut got = Vec::new();
    for n in 0..10 {
        got.extend(heard(&mut desk, &mut caller, CALLEE_MEDIA, (9, 100 + n)).ok());
    }
    let (ssrc, sequence) = first;
    let expected: Vec<_> = (1..10).map(|n| (ssrc, sequence.wrapping_add(n))).collect();
    assert_eq!(got, expected, "all but the first, which might have been a stray");
}

#[test]
fn more_sources_than_a_key_has_room_for_are_heard() {
    let (mut desk, mut caller) = up();
    let (ssrc, sequence) = heard(&mut desk, &mut caller, CALLEE_MEDIA, (1000, 7)).unwrap();
    for n in 1..100 {
        let got = heard(
            &mut desk,
            &mut caller,
            CALLEE_MEDIA,
            (1000 + u32::from(n), n * 600),
        );
        assert_eq!(got, Ok((ssrc, sequence.wrapping_add(n))));
    }
}

#[test]
fn early_media_of_one_fork_and_then_of_another_is_one_stream() {
    let mut desk = desk();
    let invite = invited(&mut desk);
    let progress = |desk: &mut Desk, tag: &str, port: &str| {
        let body = ANSWER.replace("audio 6000", port);
        let sent = desk.callee(&response(&invite, 183, tag, "sip:bob@127.0.0.3:5060", &body));
        only(&sent, "183").clone()
    };
    let mut caller = receiver(&progress(&mut desk, "one", "audio 6000"));
    let (ssrc, sequence) = heard(&mut desk, &mut caller, CALLEE_MEDIA, (9, 20_000)).unwrap();
    let told = progress(&mut desk, "two", "audio 7000");
    assert!(told.body().contains(CRYPTO), "the key stays");
    // The other fork has the same SSRC by chance, and lower numbers.
    let mut got = Vec::new();
    for n in 0..10 {
        got.extend(heard(&mut desk, &mut caller, "127.0.0.3:7000", (9, 100 + n)).ok());
    }
    assert_eq!(got.len(), 9, "{got:?}");
    assert_eq!(got[8], (ssrc, sequence.wrapping_add(9)));
}
