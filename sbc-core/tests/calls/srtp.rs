//! SRTP by keys in SDP (RFC 4568), one trunk with it and one without, or both. Correctness 41 and 42.

use crate::desk::*;
use sbc_core::{config, sdp::Sdp, shard::Command};
use sbc_media::{
    relay::{DropReason, PairIndex, Verdict},
    srtp::{MasterKey, Receiver, Sender},
};
use std::net::SocketAddr;

/// RFC 4568 §10.1, and others of the same length.
const KEY_A: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
const KEY_B: &str = "PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR";
const KEY_C: &str = "QUJjZGVmMTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5";

/// The shard with lines of configuration for the caller's trunk and for the callee's.
fn desk(caller: &str, callee: &str) -> Desk {
    let text = config::DEFAULT_TOML
        .replace("name = \"carrier\"", &format!("name = \"carrier\"\n{caller}"))
        .replace("name = \"platform\"", &format!("name = \"platform\"\n{callee}"));
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

const OPTIONAL: &str = "srtp = \"optional\"";
const REQUIRED: &str = "srtp = \"required\"";
const PLAIN: &str = "";

fn crypto(tag: u32, suite: &str, key: &str) -> String {
    format!("a=crypto:{tag} {suite} inline:{key}\r\n")
}

const SHA1_80: &str = "AES_CM_128_HMAC_SHA1_80";
const SHA1_32: &str = "AES_CM_128_HMAC_SHA1_32";

fn savp(sdp: &str, lines: &str) -> String {
    format!("{}{lines}", sdp.replace("RTP/AVP", "RTP/SAVP"))
}

fn secure_offer() -> String {
    savp(OFFER, &crypto(1, SHA1_80, KEY_A))
}

/// Tag, suite and key of each of the lines.
fn lines(sent: &Sent) -> Vec<(String, String, String)> {
    let lines = sent.body().lines().filter_map(|l| l.strip_prefix("a=crypto:"));
    lines
        .map(|line| {
            let mut words = line.split(' ').map(str::to_owned);
            let mut word = || words.next().unwrap();
            (word(), word(), word().strip_prefix("inline:").unwrap().to_owned())
        })
        .collect()
}

fn protocol(sent: &Sent) -> &str {
    let line = sent.body().lines().find(|l| l.starts_with("m=audio")).unwrap();
    line.split(' ').nth(2).unwrap()
}

fn version(sent: &Sent) -> u64 {
    let origin = sent.body().lines().nth(1).unwrap();
    origin.split(' ').nth(2).unwrap().parse().unwrap()
}

fn call(desk: &mut Desk, offer: &str) -> Vec<Sent> {
    desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", offer))
}

fn invited(desk: &mut Desk, offer: &str) -> Sent {
    only(&call(desk, offer), "INVITE").clone()
}

fn answered(desk: &mut Desk, invite: &Sent, status: u16, tag: &str, body: &str) -> Vec<Sent> {
    desk.callee(&response(invite, status, tag, "sip:bob@127.0.0.3:5060", body))
}

/// Call, answer, ACK. The messages that carried the offer and the answer on.
fn establish(desk: &mut Desk, offer: &str, answer: &str) -> Up {
    let invite = invited(desk, offer);
    let sent = answered(desk, &invite, 200, "calleetag", answer);
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    desk.caller(&request("ACK", &contact, 1, "ack1", &tag, ""));
    Up {
        invite,
        ok,
        tag,
        contact,
    }
}

/// The suites of both legs, as an operator sees them.
fn suites(desk: &mut Desk) -> Vec<Option<String>> {
    let legs = desk.media_legs();
    legs.into_iter().map(|leg| leg.srtp).collect()
}

#[test]
fn without_the_option_no_key_passes() {
    let mut desk = desk(PLAIN, PLAIN);
    let invite = invited(&mut desk, &format!("{OFFER}{}", crypto(1, SHA1_80, KEY_A)));
    assert_eq!((protocol(&invite), lines(&invite).len()), ("RTP/AVP", 0));
    let mut desk = self::desk(PLAIN, PLAIN);
    let sent = call(&mut desk, &secure_offer());
    assert_eq!(kinds(&sent), ["A<100", "A<488"]);
}

#[test]
fn each_leg_has_keys_of_its_own() {
    // Correctness 41.
    let mut desk = desk(REQUIRED, REQUIRED);
    let invite = invited(&mut desk, &secure_offer());
    assert_eq!(protocol(&invite), "RTP/SAVP");
    let offered = lines(&invite);
    let names: Vec<&str> = offered.iter().map(|(_, suite, _)| suite.as_str()).collect();
    assert_eq!(
        names,
        [
            SHA1_80,
            SHA1_32,
            "AEAD_AES_256_GCM",
            "AEAD_AES_128_GCM",
            "AES_256_CM_HMAC_SHA1_80"
        ]
    );
    let tags: Vec<&str> = offered.iter().map(|(tag, ..)| tag.as_str()).collect();
    assert_eq!(tags, ["1", "2", "3", "4", "5"]);
    let sent = answered(
        &mut desk,
        &invite,
        200,
        "calleetag",
        &savp(ANSWER, &crypto(2, SHA1_32, KEY_B)),
    );
    let ok = only(&sent, "200");
    assert_eq!(protocol(ok), "RTP/SAVP");
    let answer = lines(ok);
    assert_eq!(
        (answer.len(), answer[0].0.as_str(), answer[0].1.as_str()),
        (1, "1", SHA1_80)
    );
    let mut keys: Vec<&str> = offered
        .iter()
        .chain(&answer)
        .map(|line| line.2.as_str())
        .collect();
    assert!(!keys.contains(&KEY_A) && !keys.contains(&KEY_B));
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count, "no key twice");
    assert_eq!(
        suites(&mut desk),
        [Some(SHA1_80.to_owned()), Some(SHA1_32.to_owned())]
    );
}

/// The key of the first line in `body`.
fn key_in(body: &str) -> MasterKey {
    let sdp = Sdp::parse(body.as_bytes()).unwrap();
    sdp.medias()[0].crypto().next().unwrap().key
}

/// What leaves on the other side when `packet` comes from one.
fn relay(desk: &mut Desk, from_caller: bool, packet: &[u8]) -> Result<Vec<u8>, DropReason> {
    let (pair, from) = if from_caller {
        (PairIndex(0), "127.0.0.2:4000")
    } else {
        (PairIndex(1), "127.0.0.3:6000")
    };
    let from: SocketAddr = from.parse().unwrap();
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + 256, 0);
    let verdict = desk
        .shard
        .relay
        .forward(desk.now, pair.rtp(), from, &mut buffer, packet.len());
    match verdict {
        Verdict::Forward { len, .. } => Ok(buffer[..len].to_vec()),
        Verdict::Drop(reason) => Err(reason),
    }
}

/// A packet behind its numbers, which are those of the stream that it leaves in.
fn speech(packet: &[u8]) -> &[u8] {
    &packet[12..]
}

fn rtp(sequence: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, sequence, 0, 0, 0, 9, 1, 2, 3, 4];
    packet.extend_from_slice(b"twenty milliseconds of speech");
    packet
}

fn protected(sender: &mut Sender, packet: &[u8]) -> Vec<u8> {
    let mut buffer = packet.to_vec();
    buffer.resize(packet.len() + 256, 0);
    let len = sender.protect(&mut buffer, packet.len()).unwrap();
    buffer.truncate(len);
    buffer
}

fn unprotected(receiver: &mut Receiver, mut packet: Vec<u8>) -> Vec<u8> {
    let len = packet.len();
    let len = receiver.unprotect(&mut packet, len).unwrap();
    packet.truncate(len);
    packet
}

#[test]
fn packets_are_under_the_keys_of_the_descriptions() {
    // Correctness 41: each side sends with the key in its own description.
    let answer = savp(ANSWER, &crypto(2, SHA1_32, KEY_B));
    let mut desk = desk(REQUIRED, REQUIRED);
    let up = establish(&mut desk, &secure_offer(), &answer);
    let to_callee = &up.invite.body().replace("a=crypto:1 ", "a=x:1 ");
    let (mut caller, mut callee) = (
        Sender::new(&key_in(&secure_offer())),
        Sender::new(&key_in(&answer)),
    );
    let (mut at_caller, mut at_callee) = (
        Receiver::new(&key_in(up.ok.body())),
        Receiver::new(&key_in(to_callee)),
    );
    for n in 1..5 {
        let sent = relay(&mut desk, true, &protected(&mut caller, &rtp(n))).unwrap();
        assert_eq!(speech(&unprotected(&mut at_callee, sent)), speech(&rtp(n)));
        let sent = relay(&mut desk, false, &protected(&mut callee, &rtp(n))).unwrap();
        assert_eq!(speech(&unprotected(&mut at_caller, sent)), speech(&rtp(n)));
    }
    assert_eq!(
        relay(&mut desk, true, &rtp(9)),
        Err(DropReason::Unauthentic),
        "not in the clear"
    );
}

#[test]
fn packets_are_plain_on_the_side_that_is() {
    let mut desk = desk(PLAIN, OPTIONAL);
    let answer = format!("{ANSWER}{}", crypto(1, SHA1_80, KEY_B));
    let up = establish(&mut desk, OFFER, &answer);
    let mut at_callee = Receiver::new(&key_in(up.invite.body()));
    let sent = relay(&mut desk, true, &rtp(1)).unwrap();
    assert_eq!(speech(&unprotected(&mut at_callee, sent)), speech(&rtp(1)));
    let mut callee = Sender::new(&key_in(&answer));
    let packet = protected(&mut callee, &rtp(1));
    assert_eq!(relay(&mut desk, false, &packet), Ok(rtp(1)));
}

#[test]
fn without_the_callees_key_the_caller_hears_no_noise() {
    let mut desk = desk(PLAIN, REQUIRED);
    let invite = invited(&mut desk, OFFER);
    let answer = savp(ANSWER, &crypto(1, SHA1_80, KEY_B));
    let mut callee = Sender::new(&key_in(&answer));
    let packet = protected(&mut callee, &rtp(1));
    assert!(relay(&mut desk, false, &packet).is_err());
    answered(&mut desk, &invite, 183, "calleetag", &answer);
    assert_eq!(relay(&mut desk, false, &packet), Ok(rtp(1)));
}

#[test]
fn a_leg_is_plain_or_not_as_its_trunk_says() {
    // Caller SRTP, callee plain.
    let mut desk = self::desk(REQUIRED, PLAIN);
    let up = establish(&mut desk, &secure_offer(), ANSWER);
    assert_eq!((protocol(&up.invite), lines(&up.invite).len()), ("RTP/AVP", 0));
    assert_eq!((protocol(&up.ok), lines(&up.ok).len()), ("RTP/SAVP", 1));
    assert_eq!(suites(&mut desk), [Some(SHA1_80.to_owned()), None]);
    // The other way round.
    let mut desk = self::desk(PLAIN, REQUIRED);
    let answer = savp(ANSWER, &crypto(1, SHA1_80, KEY_B));
    let up = establish(&mut desk, OFFER, &answer);
    assert_eq!((protocol(&up.invite), lines(&up.invite).len()), ("RTP/SAVP", 5));
    assert_eq!((protocol(&up.ok), lines(&up.ok).len()), ("RTP/AVP", 0));
    assert_eq!(suites(&mut desk), [None, Some(SHA1_80.to_owned())]);
}

#[test]
fn the_tag_and_the_suite_of_the_answer_are_those_of_the_offer() {
    // Correctness 41: the first line that can be used, of those that the trunk takes.
    let offer = savp(
        OFFER,
        &format!(
            "{}{}{}",
            crypto(3, "F8_128_HMAC_SHA1_80", KEY_C),
            crypto(41, SHA1_80, &format!("{KEY_B}|2^31 KDR=1")),
            crypto(7, SHA1_32, KEY_A)
        ),
    );
    let mut desk = desk(REQUIRED, PLAIN);
    let up = establish(&mut desk, &offer, ANSWER);
    let answer = lines(&up.ok);
    assert_eq!((answer[0].0.as_str(), answer[0].1.as_str()), ("7", SHA1_32));
    let only_80 = "srtp = \"required\"\nsrtp_suites = [\"AES_CM_128_HMAC_SHA1_80\"]";
    let mut desk = self::desk(only_80, PLAIN);
    assert_eq!(kinds(&call(&mut desk, &offer)), ["A<100", "A<488"]);
}

#[test]
fn best_effort_offers_both_and_takes_either() {
    for (answer, expected) in [
        (ANSWER.to_owned(), None),
        (
            format!("{ANSWER}{}", crypto(1, SHA1_80, KEY_B)),
            Some(SHA1_80.to_owned()),
        ),
    ] {
        let mut desk = desk(PLAIN, OPTIONAL);
        let up = establish(&mut desk, OFFER, &answer);
        assert_eq!((protocol(&up.invite), lines(&up.invite).len()), ("RTP/AVP", 5));
        assert_eq!(suites(&mut desk), [None, expected.clone()]);
        // What it came to stays: the next offer has that alone.
        let sent = desk.caller(&request(
            "INVITE",
            &up.contact,
            2,
            "re",
            &up.tag,
            &next_version(OFFER),
        ));
        let re = only(&sent, "INVITE");
        assert_eq!(lines(re).len(), usize::from(expected.is_some()));
        assert_eq!(version(re), version(&up.invite) + 1);
        if expected.is_some() {
            assert_eq!(lines(re)[0], lines(&up.invite)[0], "with the key of before");
        }
    }
    let savp_first = "srtp = \"optional\"\nsrtp_offer = \"savp\"";
    let mut desk = desk(PLAIN, savp_first);
    assert_eq!(protocol(&invited(&mut desk, OFFER)), "RTP/SAVP");
}

#[test]
fn best_effort_of_the_caller_is_answered_as_it_came() {
    let mut desk = desk(OPTIONAL, PLAIN);
    let offer = format!("{OFFER}{}", crypto(1, SHA1_80, KEY_A));
    let up = establish(&mut desk, &offer, ANSWER);
    assert_eq!((protocol(&up.ok), lines(&up.ok).len()), ("RTP/AVP", 1));
    // And plain RTP as plain RTP.
    let mut desk = self::desk(OPTIONAL, PLAIN);
    let up = establish(&mut desk, OFFER, ANSWER);
    assert_eq!((protocol(&up.ok), lines(&up.ok).len()), ("RTP/AVP", 0));
    assert_eq!(suites(&mut desk), [None, None]);
}

#[test]
fn what_has_no_key_is_refused_where_one_is_required() {
    let mut desk = desk(REQUIRED, PLAIN);
    let sent = call(&mut desk, OFFER);
    assert_eq!(kinds(&sent), ["A<100", "A<488"]);
    assert!(
        only(&sent, "488").header("Warning").starts_with("302 "),
        "says why"
    );
    for bad in [
        ANSWER.to_owned(),
        savp(ANSWER, ""),
        savp(ANSWER, &crypto(9, SHA1_80, KEY_B)),
        savp(ANSWER, &crypto(2, SHA1_80, KEY_B)),
    ] {
        let mut desk = self::desk(PLAIN, REQUIRED);
        let invite = invited(&mut desk, OFFER);
        let sent = answered(&mut desk, &invite, 200, "calleetag", &bad);
        assert_eq!(kinds(&sent), ["B<ACK", "A<488", "B<BYE"], "{bad}");
        let bye = only(&sent, "BYE").clone();
        desk.callee(&response(&bye, 200, "", "", ""));
        desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv1", "x", ""));
        desk.assert_quiet();
    }
}

#[test]
fn a_refused_audio_stream_is_no_breach() {
    let mut desk = desk(REQUIRED, REQUIRED);
    let invite = invited(&mut desk, &secure_offer());
    let refused = savp(&ANSWER.replace("m=audio 6000", "m=audio 0"), "");
    let sent = answered(&mut desk, &invite, 200, "calleetag", &refused);
    let ok = only(&sent, "200");
    assert!(ok.body().contains("m=audio 0 RTP/SAVP"), "{}", ok.body());
    assert_eq!(lines(ok).len(), 0);
}

#[test]
fn a_session_that_stays_keeps_its_keys() {
    let mut desk = desk(REQUIRED, REQUIRED);
    let answer = savp(ANSWER, &crypto(1, SHA1_80, KEY_B));
    let up = establish(&mut desk, &secure_offer(), &answer);
    // Hold: the description changes, the keys do not.
    let hold = next_version(&secure_offer()).replace("a=sendrecv", "a=sendonly");
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &hold));
    let re = only(&sent, "INVITE").clone();
    assert_eq!(lines(&re), lines(&up.invite)[..1]);
    let sent = desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", &answer));
    assert_eq!(lines(only(&sent, "200")), lines(&up.ok));
    desk.caller(&request("ACK", &up.contact, 2, "ack2", &up.tag, ""));
    // Offered again by the other side, too; with the agreed tag alone.
    let sent = desk.callee(&callee_request(
        &up.invite,
        "INVITE",
        1,
        "cre",
        &next_version(&answer),
    ));
    let re = only(&sent, "INVITE").clone();
    assert_eq!(lines(&re), lines(&up.ok));
    let sent = desk.caller(&response(
        &re,
        200,
        "",
        "sip:alice@127.0.0.2:5060",
        &secure_offer(),
    ));
    assert_eq!(lines(only(&sent, "200")), lines(&up.invite)[..1]);
}

#[test]
fn an_answer_to_the_same_again_has_one_key() {
    // The callee refreshes with its answer, word for word: what we had offered is no answer.
    let mut desk = desk(REQUIRED, REQUIRED);
    let answer = savp(ANSWER, &crypto(2, SHA1_32, KEY_B));
    let up = establish(&mut desk, &secure_offer(), &answer);
    let sent = desk.callee(&callee_request(&up.invite, "INVITE", 1, "cre", &answer));
    let ok = only(&sent, "200");
    assert_eq!(lines(ok), lines(&up.invite)[1..2]);
    assert_eq!(version(ok), version(&up.invite) + 1, "it is shorter");
}

#[test]
fn another_tag_or_suite_or_address_of_the_peer_has_a_new_key() {
    // RFC 4568 §7.1.4.
    let answer = savp(ANSWER, &crypto(1, SHA1_80, KEY_B));
    let moved = secure_offer().replace("m=audio 4000", "m=audio 4100");
    for (offer, is_new) in [
        (savp(OFFER, &crypto(2, SHA1_80, KEY_A)), true),
        (savp(OFFER, &crypto(1, SHA1_32, KEY_A)), true),
        (moved, true),
        (savp(OFFER, &crypto(1, SHA1_80, KEY_C)), false),
        (secure_offer(), false),
        (
            secure_offer().replace("c=IN IP4 127.0.0.2", "c=IN IP4 0.0.0.0"),
            false,
        ),
    ] {
        let mut desk = desk(REQUIRED, REQUIRED);
        let up = establish(&mut desk, &secure_offer(), &answer);
        let body = next_version(&offer);
        let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &body));
        let re = only(&sent, "INVITE").clone();
        let sent = desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", &answer));
        let ok = lines(only(&sent, "200"));
        assert_eq!(ok[0].2 != lines(&up.ok)[0].2, is_new, "{offer}");
        assert_eq!(
            lines(&re),
            lines(&up.invite)[..1],
            "nothing of it concerns the callee"
        );
    }
}

#[test]
fn a_refused_change_leaves_the_keys() {
    let mut desk = desk(REQUIRED, REQUIRED);
    let answer = savp(ANSWER, &crypto(1, SHA1_80, KEY_B));
    let up = establish(&mut desk, &secure_offer(), &answer);
    let body = next_version(&savp(OFFER, &crypto(1, SHA1_32, KEY_C)));
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &body));
    let re = only(&sent, "INVITE").clone();
    desk.callee(&response(&re, 488, "", "", ""));
    desk.caller(&request("ACK", &up.contact, 2, "re1", &up.tag, ""));
    assert_eq!(
        suites(&mut desk),
        [Some(SHA1_80.to_owned()), Some(SHA1_80.to_owned())]
    );
    // An offer without any key is refused at once.
    let sent = desk.caller(&request(
        "INVITE",
        &up.contact,
        3,
        "re2",
        &up.tag,
        &next_version(OFFER),
    ));
    assert_eq!(kinds(&sent), ["A<100", "A<488"]);
    desk.caller(&request("ACK", &up.contact, 3, "re2", &up.tag, ""));
    // The agreed description is still known word for word.
    let sent = desk.caller(&request(
        "INVITE",
        &up.contact,
        4,
        "re3",
        &up.tag,
        &secure_offer(),
    ));
    assert_eq!(kinds(&sent), ["A<100", "A<200"]);
    assert_eq!(lines(only(&sent, "200")), lines(&up.ok));
}

#[test]
fn early_media_has_the_keys_of_the_answer() {
    let mut desk = desk(REQUIRED, REQUIRED);
    let invite = invited(&mut desk, &secure_offer());
    let answer = savp(ANSWER, &crypto(1, SHA1_80, KEY_B));
    let sent = answered(&mut desk, &invite, 183, "calleetag", &answer);
    let early = only(&sent, "183").clone();
    assert_eq!(lines(&early).len(), 1);
    assert_eq!(
        suites(&mut desk),
        [Some(SHA1_80.to_owned()), Some(SHA1_80.to_owned())]
    );
    let sent = answered(&mut desk, &invite, 200, "calleetag", &answer);
    assert_eq!(lines(only(&sent, "200")), lines(&early));
    assert_eq!(version(only(&sent, "200")), version(&early));
}

#[test]
fn every_fork_has_its_own_key() {
    let mut desk = desk(PLAIN, REQUIRED);
    let invite = invited(&mut desk, OFFER);
    let first = savp(ANSWER, &crypto(1, SHA1_80, KEY_B));
    let second = savp(ANSWER, &crypto(2, SHA1_32, KEY_C));
    answered(&mut desk, &invite, 183, "one", &first);
    assert_eq!(suites(&mut desk), [None, Some(SHA1_80.to_owned())]);
    answered(&mut desk, &invite, 183, "two", &second);
    assert_eq!(suites(&mut desk), [None, Some(SHA1_32.to_owned())]);
    let sent = answered(&mut desk, &invite, 200, "one", &first);
    assert_eq!(only(&sent, "200").kind(), "200");
    assert_eq!(suites(&mut desk), [None, Some(SHA1_80.to_owned())]);
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    // Correctness 27: the callee offers in its 2xx, the caller answers in its ACK.
    let mut desk = desk(REQUIRED, REQUIRED);
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let invite = only(&sent, "INVITE").clone();
    let offer = savp(ANSWER, &crypto(4, SHA1_32, KEY_B));
    let sent = answered(&mut desk, &invite, 200, "calleetag", &offer);
    let ok = only(&sent, "200").clone();
    assert_eq!((protocol(&ok), lines(&ok).len()), ("RTP/SAVP", 5));
    let tag = tag_of(ok.header("To"));
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    let answer = savp(OFFER, &crypto(3, "AEAD_AES_256_GCM", &"A".repeat(59)));
    let sent = desk.caller(&request("ACK", &contact, 1, "ack1", &tag, &answer));
    let ack = only(&sent, "ACK");
    assert_eq!(lines(ack).len(), 1);
    assert_eq!(
        (lines(ack)[0].0.as_str(), lines(ack)[0].1.as_str()),
        ("4", SHA1_32)
    );
    assert_eq!(
        suites(&mut desk),
        [Some("AEAD_AES_256_GCM".to_owned()), Some(SHA1_32.to_owned())]
    );
}

#[test]
fn the_next_address_is_offered_what_was_offered_before() {
    // 503 with one address is the end; what must not happen is a key of one leg on the other.
    let mut desk = desk(REQUIRED, REQUIRED);
    let invite = invited(&mut desk, &secure_offer());
    let sent = answered(&mut desk, &invite, 503, "x", "");
    assert_eq!(kinds(&sent), ["B<ACK", "A<500"]);
    for sent in sent {
        assert!(!sent.text.contains("inline:"), "{}", sent.text);
    }
}

#[test]
fn no_key_is_shown_or_logged() {
    let mut desk = desk(REQUIRED, REQUIRED);
    let up = establish(
        &mut desk,
        &secure_offer(),
        &savp(ANSWER, &crypto(1, SHA1_80, KEY_B)),
    );
    let mut keys: Vec<String> = lines(&up.invite)
        .into_iter()
        .chain(lines(&up.ok))
        .map(|line| line.2)
        .collect();
    keys.extend([KEY_A.to_owned(), KEY_B.to_owned()]);
    let shown = format!("{:?}", desk.media_legs());
    let id = desk.call_id();
    desk.command(Command::Hangup(id));
    let told = format!("{shown} {:?} {:?}", desk.events, desk.records);
    assert!(shown.contains(SHA1_80), "{shown}");
    for key in keys {
        assert!(!told.contains(&key), "{told}");
    }
}

/// The same key with a lifetime and a name (RFC 4568 §6.1).
fn with_name(key: &str, name: &str) -> String {
    format!("{key}|2^20|{name}")
}

#[test]
fn keys_with_names_are_answered_by_one_with_a_name() {
    let keys = format!(
        "{};inline:{}",
        with_name(KEY_A, "258:4"),
        with_name(KEY_C, "259:4")
    );
    for suite in [SHA1_80, SHA1_32, "AEAD_AES_128_GCM"] {
        let short = |keys: &str| match suite.starts_with("AEAD") {
            // 28 octets.
            true => keys.replace(KEY_A, &KEY_A[..38]).replace(KEY_C, &KEY_C[..38]),
            false => keys.to_owned(),
        };
        let offer = savp(OFFER, &crypto(1, suite, &short(&keys)));
        let mut desk = desk(REQUIRED, PLAIN);
        let up = establish(&mut desk, &offer, ANSWER);
        let (own, name) = lines(&up.ok)[0]
            .2
            .split_once('|')
            .map(|(key, name)| (key.to_owned(), name.to_owned()))
            .unwrap();
        assert_eq!(
            name, "258:4",
            "the name of the peer's first, for a key of our own"
        );
        assert!(!offer.contains(&own) && lines(&up.invite).is_empty());
        let theirs = key_in(&offer);
        let mut senders = [Sender::new(&theirs), Sender::new(&theirs.further()[0])];
        let mut at_caller = Receiver::new(&key_in(up.ok.body()));
        for n in 1..20 {
            let made = senders.each_mut().map(|sender| protected(sender, &rtp(n)));
            let sent = relay(&mut desk, true, &made[usize::from(n > 9)]).unwrap();
            assert_eq!(speech(&sent), speech(&rtp(n)));
            let sent = relay(&mut desk, false, &rtp(n)).unwrap();
            assert_eq!(speech(&unprotected(&mut at_caller, sent)), speech(&rtp(n)));
        }
        // A key that was never named to us.
        let other = key_in(&offer.replace("258:4", "257:4"));
        let stranger = protected(&mut Sender::new(&other), &rtp(30));
        assert_eq!(relay(&mut desk, true, &stranger), Err(DropReason::Unauthentic));
        assert_eq!(suites(&mut desk)[0].as_deref(), Some(suite));
    }
}

#[test]
fn a_name_stays_until_the_peer_has_another() {
    let of = |keys: &str| savp(OFFER, &crypto(1, SHA1_80, keys));
    let first = of(&with_name(KEY_A, "1:4"));
    for (keys, expected) in [
        (with_name(KEY_A, "1:4"), None),
        (with_name(KEY_C, "1:4"), None),
        (with_name(KEY_A, "2:4"), Some(Some("2:4"))),
        (with_name(KEY_A, "1:1"), Some(Some("1:1"))),
        (KEY_A.to_owned(), Some(None)),
    ] {
        let mut desk = desk(REQUIRED, PLAIN);
        let up = establish(&mut desk, &first, ANSWER);
        let body = next_version(&of(&keys));
        let sent = desk.caller(&request("INVITE", &up.contact, 2, "re1", &up.tag, &body));
        let re = only(&sent, "INVITE").clone();
        let sent = desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
        let (before, after) = (lines(&up.ok)[0].2.clone(), lines(only(&sent, "200"))[0].2.clone());
        let name = |line: &str| line.split_once('|').map(|(_, name)| name.to_owned());
        match expected {
            None => assert_eq!(before, after, "{keys}"),
            Some(expected) => {
                assert_eq!(name(&after).as_deref(), expected, "{keys}");
                assert_ne!(
                    before.split('|').next(),
                    after.split('|').next(),
                    "no key has two names"
                );
            }
        }
    }
}

#[test]
fn we_name_no_key_in_offers_and_read_what_is_named_in_answers() {
    let mut desk = desk(PLAIN, REQUIRED);
    let answer = savp(ANSWER, &crypto(1, SHA1_80, &with_name(KEY_B, "7:1")));
    let up = establish(&mut desk, OFFER, &answer);
    assert!(lines(&up.invite).iter().all(|line| !line.2.contains('|')));
    let mut callee = Sender::new(&key_in(&answer));
    let mut at_callee = Receiver::new(&key_in(up.invite.body()));
    for n in 1..5 {
        let sent = relay(&mut desk, false, &protected(&mut callee, &rtp(n))).unwrap();
        assert_eq!(speech(&sent), speech(&rtp(n)));
        let sent = relay(&mut desk, true, &rtp(n)).unwrap();
        assert_eq!(speech(&unprotected(&mut at_callee, sent)), speech(&rtp(n)));
    }
}
