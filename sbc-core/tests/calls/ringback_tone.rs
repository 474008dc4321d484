//! The ringback tone as the caller hears it: its sound, when it ends, and what takes over.

use crate::{desk::*, ear::*, names, reliable::requiring, ringback::*};
use sbc_core::sdp::Sdp;
use sbc_media::{g711::Law, relay::DropReason, srtp::Receiver};

const CALLEE_RTP: &str = "127.0.0.3:6000";

fn samples(packets: &[Packet]) -> Vec<u8> {
    packets
        .iter()
        .flat_map(|packet| packet.payload().to_vec())
        .collect()
}

#[test]
fn the_tone_has_the_countrys_pitch_and_cadence() {
    let mut desk = desk(TONE, "");
    let out = invited(&mut desk, RICH);
    assert_silent(&desk);
    rings(&mut desk, &out);
    let heard = hear(&mut desk, seconds(11));
    assert_eq!(heard.len(), 551, "a packet every 20 ms, the first at once");
    assert_one_stream(&heard);
    for packet in &heard {
        assert_eq!(
            (packet.pair, packet.payload_type(), packet.payload().len()),
            (TO_CALLER, 8, 160)
        );
        assert_eq!(packet.to, Some("127.0.0.2:4000".parse().unwrap()));
    }
    // Germany: 425 Hz, 1 s on, 4 s off.
    let audio = samples(&heard);
    for (second, slice) in audio.chunks_exact(8000).enumerate() {
        let (tone, all) = levels(Law::A, &slice[400..7600], 425.0);
        match second % 5 {
            0 => assert!(
                (-11.0..-9.0).contains(&tone) && all - tone < 0.5,
                "{second}: {tone} of {all}"
            ),
            _ => assert!(all < -60.0, "{second}: {all}"),
        }
    }
}

#[test]
fn it_is_sent_in_the_packet_time_and_the_law_that_the_caller_wants() {
    let us = TONE.replace("DE", "US");
    let mut desk = desk(&us, "");
    let out = invited(
        &mut desk,
        &OFFER.replace("a=sendrecv", "a=ptime:30\r\na=sendrecv"),
    );
    rings(&mut desk, &out);
    let heard = hear(&mut desk, ms(900));
    assert_eq!(heard.len(), 31);
    assert!(
        heard
            .iter()
            .all(|packet| packet.payload_type() == 0 && packet.payload().len() == 240)
    );
    let audio = samples(&heard);
    for hz in [440.0, 480.0] {
        let (tone, _) = levels(Law::Mu, &audio[400..6400], hz);
        assert!((-14.0..-12.0).contains(&tone), "{hz}: {tone}");
    }
}

#[test]
fn early_media_and_the_answer_go_on_in_the_same_stream() {
    let mut desk = desk(TONE, "");
    let out = invited(&mut desk, RICH);
    rings(&mut desk, &out);
    let mut heard = hear(&mut desk, ms(500));
    let strangers = arrive(&mut desk, TO_CALLEE, CALLEE_RTP, &rtp(7, 0, 1, 0xff)).unwrap_err();
    assert_eq!(
        strangers,
        DropReason::WrongSource,
        "nobody has said what is there"
    );
    // Announced, and nothing comes: the tone goes on.
    says(&mut desk, &out, 183, "one", &answer_with("0 101"));
    heard.extend(hear(&mut desk, ms(300)));
    let tone = heard.len();
    for n in 100..110 {
        let packet = arrive(&mut desk, TO_CALLEE, CALLEE_RTP, &rtp(7, 0, n, 0xff)).unwrap();
        assert_eq!(
            packet.payload(),
            [0xd5; 160],
            "in the law that the caller was told"
        );
        assert_eq!(packet.payload_type(), 8);
        heard.push(packet);
        assert_eq!(hear(&mut desk, ms(20)).len(), 0, "the tone is over");
    }
    // Another fork answers, with another stream from another port.
    let other = answer_with("8").replace("6000", "6100");
    let sent = says(&mut desk, &out, 200, "two", &other);
    let ok = only(&sent, "200").clone();
    for n in 0..10 {
        let packet = arrive(&mut desk, TO_CALLEE, "127.0.0.3:6100", &rtp(99, 8, n, 0x55)).unwrap();
        assert_eq!(packet.payload(), [0x55; 160]);
        heard.push(packet);
        desk.pass(ms(20));
    }
    assert_one_stream(&heard);
    let markers: Vec<usize> = (0..heard.len())
        .filter(|&n| heard[n].bytes[1] & 0x80 != 0)
        .collect();
    assert_eq!(markers, [tone, tone + 10], "where another source begins");
    // What the caller sends by what it was told reads for the callee.
    let packet = arrive(&mut desk, TO_CALLER, "127.0.0.2:4000", &rtp(5, 8, 1, 0xd5)).unwrap();
    assert_eq!((packet.payload_type(), packet.payload()[0]), (8, 0xd5));
    assert_silent(&desk);
    hang_up(&mut desk, &ok, 2);
}

#[test]
fn the_answer_ends_it_even_if_the_callee_is_silent() {
    for caller in [TONE, INSTANT] {
        let mut desk = desk(caller, "");
        let out = invited(&mut desk, RICH);
        rings(&mut desk, &out);
        assert_eq!(hear(&mut desk, ms(199)).len(), 10);
        let sent = says(&mut desk, &out, 200, "calleetag", &answer_with("8 101"));
        assert_silent(&desk);
        let ok = only(&sent, "200").clone();
        hang_up(&mut desk, &ok, 2);
    }
}

/// What happens to a call whose caller hears the tone.
type Ending = fn(&mut Desk, &Sent);

#[test]
fn every_ending_ends_it() {
    let endings: [(&str, Ending); 4] = [
        ("busy", |desk, out| {
            says(desk, out, 486, "calleetag", "");
        }),
        ("CANCEL", |desk, out| {
            desk.caller(&cancel());
            says(desk, out, 487, "calleetag", "");
        }),
        ("no answer", |desk, out| {
            let mut sent = Vec::new();
            let heard = hear_all(desk, seconds(180), &mut sent);
            assert_eq!(heard.len(), 9000);
            assert!(kinds(&sent).contains(&"A<408".to_owned()));
            says(desk, out, 487, "calleetag", "");
        }),
        ("an answer of no use", |desk, out| {
            let sent = says(desk, out, 200, "calleetag", &answer_with("18"));
            let bye = only(&sent, "BYE").clone();
            desk.callee(&response(&bye, 200, "", "", ""));
        }),
    ];
    for (name, end) in endings {
        let mut desk = desk(TONE, "");
        let out = invited(&mut desk, RICH);
        rings(&mut desk, &out);
        assert!(desk.shard.relay.sound(TO_CALLER).is_some());
        end(&mut desk, &out);
        assert!(desk.shard.relay.poll_timeout().is_none(), "{name}");
        desk.assert_quiet();
    }
}

#[test]
fn it_goes_on_while_another_address_is_tried() {
    const FIRST: &str = "127.0.0.9:5060";
    const SECOND: &str = "127.0.0.10:5060";
    let mut desk = names::named_desk_of(INSTANT, "");
    names::answer(&mut desk, &[(FIRST, 0), (SECOND, 1)], 600);
    let sent = desk.caller(&requiring(&invite()));
    let (first, early) = (only(&sent, "INVITE").clone(), only(&sent, "183").clone());
    let mut sent = Vec::new();
    let mut heard = hear_all(&mut desk, ms(3000), &mut sent);
    let sent = desk.deliver(FIRST, &response(&first, 503, "t", "", ""));
    let second = only(&sent, "INVITE").clone();
    assert_eq!(second.to, SECOND.parse().unwrap());
    // The caller acknowledges only now: what it acknowledges is still known.
    let acknowledged = desk.caller(&crate::reliable::prack(&early, 2, "p1", ""));
    assert_eq!(kinds(&acknowledged), ["A<200"]);
    let mut sent = Vec::new();
    heard.extend(hear_all(&mut desk, ms(2000), &mut sent));
    assert_eq!(heard.len(), 251);
    assert_one_stream(&heard);
    assert!(
        heard.windows(2).all(|two| two[1].at.since(two[0].at) == ms(20)),
        "not a click"
    );
    let sent = desk.deliver(
        SECOND,
        &response(&second, 200, "t2", "sip:bob@127.0.0.10:5060", ANSWER),
    );
    assert_eq!(only(&sent, "200").body(), "", "told reliably");
    assert_silent(&desk);
}

#[test]
fn a_caller_with_srtp_gets_it_under_its_keys() {
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    let offer = format!("{}{key}", RICH.replace("RTP/AVP", "RTP/SAVP"));
    let mut desk = desk(&format!("{TONE}\nsrtp = \"required\""), "");
    let out = invited(&mut desk, &offer);
    assert!(out.body().contains(" RTP/AVP 8 0 101\r\n"), "{}", out.body());
    let early = only(&rings(&mut desk, &out), "183").clone();
    assert!(early.body().contains(" RTP/SAVP 8 101\r\n"), "{}", early.body());
    let sdp = Sdp::parse(early.body().as_bytes()).unwrap();
    let line = sdp.medias()[0].crypto().next().unwrap();
    let mut receiver = Receiver::new(&line.key);
    let mut heard = hear(&mut desk, ms(400));
    says(&mut desk, &out, 183, "calleetag", &answer_with("8"));
    for n in 0..5 {
        heard.push(arrive(&mut desk, TO_CALLEE, CALLEE_RTP, &rtp(7, 8, n, 0x55)).unwrap());
        desk.pass(ms(20));
    }
    for packet in &mut heard {
        let len = packet.bytes.len();
        let len = receiver.unprotect(&mut packet.bytes, len).unwrap();
        packet.bytes.truncate(len);
        assert_eq!(packet.payload().len(), 160);
    }
    assert_one_stream(&heard);
    let sent = says(&mut desk, &out, 200, "calleetag", &answer_with("8"));
    assert_eq!(only(&sent, "200").body(), early.body(), "keys included");
}
