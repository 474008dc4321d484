//! Media that we send of our own in a call, in its time and to the right peer.

use crate::desk::*;
use sbc_core::time::Timestamp;
use sbc_media::{
    g711::Law,
    relay::{OutletParams, PairIndex, Voice, Yield},
    source::Sound,
    tone::{Country, Meaning, Player, Tone},
};
use std::time::Duration;

const CALLER_PAIR: PairIndex = PairIndex(0);

#[test]
fn a_tone_is_sent_every_20_ms_until_the_call_ends() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let outlet = OutletParams {
        ssrc: 7,
        sequence: 1,
        timestamp: 0,
        clock_rate: 8000,
        step: 160,
    };
    let voice = Voice {
        law: Law::Mu,
        payload_type: 0,
        ptime_ms: 20,
    };
    let tone = Tone::of(Country::Gb, Meaning::Ringback);
    let sound = Sound::Tone(Player::new(tone, Law::Mu, -10.0));
    let (now, relay) = (desk.now, &mut desk.shard.relay);
    relay.set_outlet(now, CALLER_PAIR, Some(&outlet));
    assert!(relay.play(now, CALLER_PAIR, voice, sound, Yield::ToMedia));
    desk.pass(Duration::from_millis(95));
    let tones: Vec<_> = desk.own_media.drain(..).collect();
    let at: Vec<_> = tones.iter().map(|own| own.at.since(now).as_millis()).collect();
    assert_eq!(at, [0, 20, 40, 60, 80]);
    for own in &tones {
        assert_eq!(own.socket, CALLER_PAIR.rtp());
        assert_eq!(own.to, Some("127.0.0.2:4000".parse().unwrap()));
        assert_eq!((own.packet.len(), own.packet[1] & 0x7f), (172, 0));
    }
    assert_eq!(desk.shard.counters().media_originated, 5);
    desk.caller(&request("BYE", &up.contact, 2, "bye", &up.tag, ""));
    desk.pass(Duration::from_secs(1));
    assert!(desk.own_media.is_empty());
    assert_eq!(desk.shard.relay.poll_timeout(), None::<Timestamp>);
}
