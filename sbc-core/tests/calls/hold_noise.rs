//! Comfort noise for a side that is held (option `hold`).

use crate::{
    desk::*,
    ear::*,
    ringback::{answer_with, desk, hang_up, invited, numbers, says},
};
use sbc_media::{g711::Law, noise::ComfortNoise, relay::DropReason};

const NOISE: &str = "hold = \"noise\"";
const CALLER_RTP: &str = "127.0.0.2:4000";
const CALLEE_RTP: &str = "127.0.0.3:6000";

/// A call between the two, answered and acknowledged.
fn established(desk: &mut Desk, offer: &str, answer: &str) -> Up {
    let invite = invited(desk, offer);
    let sent = says(desk, &invite, 200, "calleetag", answer);
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    Up {
        invite,
        contact: "sip:x@127.0.0.1".to_owned(),
        ok,
        tag,
    }
}

/// The caller offers `direction` and the callee answers `answered`: what the callee was offered and the caller answered.
fn change(desk: &mut Desk, up: &Up, cseq: u32, direction: &str, answered: &str) -> (String, String) {
    let offer = OFFER
        .replace("sendrecv", direction)
        .replace("1 1 IN", &format!("1 {cseq} IN"));
    let sent = desk.caller(&request(
        "INVITE",
        &up.contact,
        cseq,
        &format!("re{cseq}"),
        &up.tag,
        &offer,
    ));
    let re = only(&sent, "INVITE").clone();
    let body = format!("{ANSWER}a={answered}\r\n").replace("7 7 IN", &format!("7 {} IN", 7 + cseq));
    let sent = desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", &body));
    let ok = only(&sent, "200").clone();
    desk.caller(&request(
        "ACK",
        &up.contact,
        cseq,
        &format!("ack{cseq}"),
        &up.tag,
        "",
    ));
    let direction = |sent: &Sent| {
        let lines = sent.body().lines().filter_map(|line| line.strip_prefix("a="));
        let mut directions =
            lines.filter(|line| line.starts_with("send") || ["recvonly", "inactive"].contains(line));
        directions.next().unwrap_or("sendrecv").to_owned()
    };
    (direction(&re), direction(&ok))
}

fn said(one: &str, other: &str) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

#[test]
fn the_held_side_hears_noise_in_the_stream_that_it_knows() {
    let mut desk = desk("", NOISE);
    let up = established(&mut desk, OFFER, ANSWER);
    let mut heard = Vec::new();
    for n in 0..5 {
        heard.push(arrive(&mut desk, TO_CALLER, CALLER_RTP, &rtp(5, 0, n, 0x80)).unwrap());
        assert!(hear(&mut desk, ms(20)).is_empty());
    }
    assert_eq!(
        change(&mut desk, &up, 2, "sendonly", "recvonly"),
        said("sendonly", "recvonly")
    );
    // What was under way still arrives, and is no music.
    heard.push(arrive(&mut desk, TO_CALLER, CALLER_RTP, &rtp(5, 0, 5, 0x80)).unwrap());
    let noise = hear(&mut desk, seconds(3));
    assert!((120..=126).contains(&noise.len()), "{}", noise.len());
    let audio: Vec<u8> = noise
        .iter()
        .flat_map(|packet| packet.payload().to_vec())
        .collect();
    let (_, level) = levels(Law::Mu, &audio, 1000.0);
    assert!((-62.0..-58.0).contains(&level), "{level}");
    assert!(
        noise
            .iter()
            .all(|packet| (packet.pair, packet.payload_type()) == (TO_CALLEE, 0))
    );
    assert_eq!(noise[0].to, Some(CALLEE_RTP.parse().unwrap()));
    heard.extend(noise);
    assert_eq!(desk.media_legs()[1].played.as_deref(), Some("comfort_noise"));
    assert_eq!(desk.media_legs()[0].played, None);
    // Music begins, and ends: the noise is back.
    for n in 6..10 {
        heard.push(arrive(&mut desk, TO_CALLER, CALLER_RTP, &rtp(5, 0, n, 0x90)).unwrap());
        assert!(hear(&mut desk, ms(20)).is_empty(), "music in the place of noise");
    }
    let noise = hear(&mut desk, seconds(2));
    assert!((45..=80).contains(&noise.len()), "{}", noise.len());
    heard.extend(noise);
    assert_eq!(
        change(&mut desk, &up, 3, "sendrecv", "sendrecv"),
        said("sendrecv", "sendrecv")
    );
    assert_silent(&desk);
    for n in 10..15 {
        heard.push(arrive(&mut desk, TO_CALLER, CALLER_RTP, &rtp(5, 0, n, 0x80)).unwrap());
        desk.pass(ms(20));
    }
    assert_one_stream(&heard);
    hang_up(&mut desk, &up.ok, 9);
}

#[test]
fn whoever_wants_nothing_at_all_is_described_as_one_that_sends() {
    let mut desk = desk("", NOISE);
    let up = established(&mut desk, OFFER, ANSWER);
    assert_eq!(
        change(&mut desk, &up, 2, "inactive", "recvonly"),
        said("sendonly", "inactive")
    );
    assert_eq!(hear(&mut desk, ms(990)).len(), 50, "at once");
    // It has said that it sends nothing, so what it sends is none of it.
    let stray = arrive(&mut desk, TO_CALLER, CALLER_RTP, &rtp(5, 0, 1, 0x80));
    assert_eq!(stray.unwrap_err(), DropReason::Displaced);
    assert_eq!(hear(&mut desk, ms(1000)).len(), 50);
    // A callee that would rather have silence gets it.
    assert_eq!(
        change(&mut desk, &up, 3, "inactive", "inactive"),
        said("sendonly", "inactive")
    );
    assert!(hear(&mut desk, seconds(5)).is_empty());
    assert_eq!(
        change(&mut desk, &up, 4, "sendrecv", "sendrecv"),
        said("sendrecv", "sendrecv")
    );
    assert_silent(&desk);
    hang_up(&mut desk, &up.ok, 9);
}

#[test]
fn an_answer_that_wants_nothing_is_one_that_sends_to_whoever_listens() {
    // The callee holds; the caller's next offer does not change that.
    let mut desk = desk(NOISE, "");
    let up = established(&mut desk, OFFER, ANSWER);
    assert_eq!(
        change(&mut desk, &up, 2, "sendrecv", "inactive"),
        said("sendrecv", "sendonly")
    );
    let noise = hear(&mut desk, ms(500));
    assert_eq!(noise.len(), 26);
    assert!(noise.iter().all(|packet| packet.pair == TO_CALLER));
    hang_up(&mut desk, &up.ok, 9);
}

#[test]
fn the_old_way_to_hold_is_one_too() {
    let mut desk = desk("", NOISE);
    let up = established(&mut desk, OFFER, ANSWER);
    let offer = OFFER
        .replace("c=IN IP4 127.0.0.2", "c=IN IP4 0.0.0.0")
        .replace("1 1 IN", "1 2 IN");
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re", &up.tag, &offer));
    let re = only(&sent, "INVITE").clone();
    desk.callee(&response(
        &re,
        200,
        "",
        "sip:bob@127.0.0.3:5060",
        &format!("{ANSWER}a=recvonly\r\n"),
    ));
    desk.caller(&request("ACK", &up.contact, 2, "ack2", &up.tag, ""));
    assert_eq!(hear(&mut desk, ms(990)).len(), 50);
    hang_up(&mut desk, &up.ok, 9);
}

#[test]
fn the_media_time_out_does_not_count_while_noise_is_played() {
    // Correctness 44.
    let mut desk = desk("", NOISE);
    let up = established(&mut desk, OFFER, ANSWER);
    change(&mut desk, &up, 2, "sendonly", "recvonly");
    assert!(hear(&mut desk, seconds(200)).len() > 9000);
    assert!(desk.records.is_empty());
    change(&mut desk, &up, 3, "sendrecv", "sendrecv");
    let sent = desk.pass(seconds(130));
    assert!(kinds(&sent).contains(&"A<BYE".to_owned()), "{:?}", kinds(&sent));
    assert_eq!(desk.records[0].cause, "media_timeout");
}

#[test]
fn a_side_that_knows_comfort_noise_is_told_what_to_make() {
    let mut desk = desk("", NOISE);
    let offer = OFFER.replace("AVP 0 8", "AVP 0 13");
    let up = established(&mut desk, &offer, &answer_with("0 13"));
    let hold = offer.replace("sendrecv", "sendonly").replace("1 1 IN", "1 2 IN");
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re", &up.tag, &hold));
    let re = only(&sent, "INVITE").clone();
    assert_eq!(numbers(&re), "0 13");
    let body = format!("{}a=recvonly\r\n", answer_with("0 13"));
    desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", &body));
    desk.caller(&request("ACK", &up.contact, 2, "ack2", &up.tag, ""));
    let noise = hear(&mut desk, ms(1990));
    assert_eq!(noise.len(), 10, "five in a second");
    assert_one_stream(&noise);
    for packet in &noise {
        assert_eq!(packet.bytes[1], 13, "and no marker");
        assert_eq!(ComfortNoise::read(packet.payload()), Some(ComfortNoise::new(66)));
    }
    hang_up(&mut desk, &up.ok, 9);
}

#[test]
fn nobody_else_hears_any() {
    // The holding side; a side whose trunk does not want it; a side without G.711; a side that both hold.
    for (config, offer, answer, direction, answered) in [
        ((NOISE, ""), OFFER, ANSWER, "sendonly", "recvonly"),
        (("", ""), OFFER, ANSWER, "inactive", "inactive"),
        ((NOISE, NOISE), OFFER, ANSWER, "sendonly", "inactive"),
        ((NOISE, NOISE), OFFER, ANSWER, "recvonly", "sendrecv"),
        ((NOISE, NOISE), OFFER, ANSWER, "sendrecv", "sendrecv"),
    ] {
        let mut desk = desk(config.0, config.1);
        let up = established(&mut desk, offer, answer);
        change(&mut desk, &up, 2, direction, answered);
        assert!(
            hear(&mut desk, seconds(5)).is_empty(),
            "{config:?} {direction} {answered}"
        );
        hang_up(&mut desk, &up.ok, 9);
    }
    let mut desk = desk("", NOISE);
    let offer = OFFER.replace("AVP 0 8", "AVP 9");
    let up = established(&mut desk, &offer, &answer_with("9"));
    let hold = offer.replace("sendrecv", "sendonly").replace("1 1 IN", "1 2 IN");
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re", &up.tag, &hold));
    let re = only(&sent, "INVITE").clone();
    let body = format!("{}a=recvonly\r\n", answer_with("9"));
    desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", &body));
    desk.caller(&request("ACK", &up.contact, 2, "ack2", &up.tag, ""));
    assert!(hear(&mut desk, seconds(5)).is_empty());
    hang_up(&mut desk, &up.ok, 9);
}

#[test]
fn a_call_that_ends_on_hold_ends_its_noise() {
    let mut desk = desk("", NOISE);
    let up = established(&mut desk, OFFER, ANSWER);
    change(&mut desk, &up, 2, "sendonly", "recvonly");
    assert!(!hear(&mut desk, seconds(1)).is_empty());
    let sent = desk.callee(&callee_request(&up.invite, "BYE", 1, "bye", ""));
    let bye = sent.iter().find(|sent| sent.to_caller()).unwrap().clone();
    assert_silent(&desk);
    desk.caller(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
    assert_silent(&desk);
}
