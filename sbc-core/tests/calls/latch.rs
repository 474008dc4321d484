//! Who may send the media of a trunk, and what becomes of calls whose media never comes (M7, T7, correctness 44).

use crate::desk::*;
use sbc_core::config;
use sbc_media::relay::{DropReason, PairIndex, Verdict};
use std::time::Duration;

const STRANGER: &str = "127.0.0.9:7078";

/// The default configuration with options of all and of the caller's trunk.
fn desk(all: &str, carrier: &str) -> Desk {
    let text = config::DEFAULT_TOML
        .replace("[media]", &format!("[media]\n{all}"))
        .replace("name = \"carrier\"", &format!("name = \"carrier\"\n{carrier}"));
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    Desk::of(snapshot, admission)
}

/// One packet to our port towards A (0) or B (1).
fn rtp(desk: &mut Desk, pair: u32, from: &str, number: u8) -> Verdict {
    let mut packet = [0xff; 172];
    packet[..12].copy_from_slice(&[0x80, 0, 0, number, 0, 0, number, 160, 0, 0, 0, 1]);
    let (socket, len) = (PairIndex(pair).rtp(), packet.len());
    desk.shard
        .relay
        .forward(desk.now, socket, from.parse().unwrap(), &mut packet, len)
}

fn is_refused(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Forward { .. } => false,
        Verdict::Drop(reason) => {
            assert_eq!(reason, DropReason::WrongSource);
            true
        }
    }
}

#[test]
fn each_trunk_has_its_own_rule() {
    let mut desk = desk("latch = \"strict\"", "latch = \"once\"");
    establish(&mut desk);
    // The caller's peer may be anybody, the callee's only who the SDP names.
    assert!(!is_refused(rtp(&mut desk, 0, STRANGER, 1)));
    assert!(is_refused(rtp(&mut desk, 0, "127.0.0.2:4000", 2)), "too late");
    assert!(is_refused(rtp(&mut desk, 1, STRANGER, 1)));
    assert!(!is_refused(rtp(&mut desk, 1, "127.0.0.3:6000", 2)));
    let legs = desk.media_legs();
    assert_eq!(legs[1].wrong_source, 1);
    assert_eq!(legs[1].refused.stranger.as_deref(), Some(STRANGER));
    assert_eq!(desk.shard.counters().media_wrong_source, 2);
}

#[test]
fn media_of_a_strict_trunk_may_come_from_any_of_its_hosts() {
    let text = config::DEFAULT_TOML
        .replace("[media]", "[media]\nlatch = \"strict\"")
        .replace(
            "hosts = [\"127.0.0.2\"]",
            "hosts = [\"127.0.0.2\", \"127.0.7.0/24\"]",
        )
        .replace(
            "hosts = [\"127.0.0.3\"]",
            "hosts = [\"127.0.0.3\", \"127.0.0.33:5060\"]",
        );
    let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
    let mut desk = Desk::of(snapshot, admission);
    establish(&mut desk);
    for (pair, from, refused) in [
        (0, "127.0.8.1:9000", true),
        (0, "127.0.0.33:9000", true),
        (0, "127.0.7.1:9000", false),
        (1, "127.0.7.1:9000", true),
        (1, "127.0.0.33:9000", false),
    ] {
        assert_eq!(
            is_refused(rtp(&mut desk, pair, from, 1)),
            refused,
            "{pair} {from}"
        );
    }
}

#[test]
fn the_window_is_the_trunks() {
    for (window_ms, locked) in [(100, true), (400, false)] {
        let mut desk = desk("", &format!("latch_window_ms = {window_ms}"));
        establish(&mut desk);
        for number in 0..12 {
            assert!(!is_refused(rtp(&mut desk, 0, STRANGER, number)));
            desk.pass(Duration::from_millis(20));
        }
        assert_eq!(
            is_refused(rtp(&mut desk, 0, "127.0.0.2:4000", 50)),
            locked,
            "{window_ms}"
        );
    }
}

#[test]
fn a_re_invite_arms_the_latch_again() {
    let mut desk = desk("", "latch = \"once\"");
    let up = establish(&mut desk);
    assert!(!is_refused(rtp(&mut desk, 0, STRANGER, 1)));
    assert!(is_refused(rtp(&mut desk, 0, "127.0.0.2:4002", 1)));
    let moved = next_version(OFFER).replace("4000", "4002");
    let sent = desk.caller(&request("INVITE", &up.contact, 2, "re", &up.tag, &moved));
    let re = only(&sent, "INVITE").clone();
    desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    desk.caller(&request("ACK", &up.contact, 2, "a2", &up.tag, ""));
    assert!(!is_refused(rtp(&mut desk, 0, "127.0.0.2:4002", 2)));
}

#[test]
fn a_side_that_never_sends_ends_the_call() {
    let mut desk = desk("unlatched_timeout_s = 20", "");
    establish(&mut desk);
    for number in 0..50 {
        assert!(!is_refused(rtp(&mut desk, 1, "127.0.0.3:6000", number)));
        assert!(
            is_refused(rtp(&mut desk, 1, STRANGER, number)),
            "counts for nothing"
        );
        let sent = desk.pass(Duration::from_millis(500));
        if !sent.is_empty() {
            assert_eq!(kinds(&sent), ["A<BYE", "B<BYE"]);
            assert_eq!(number, 39, "after 20 seconds");
            assert_eq!(desk.shard.counters().media_unlatched_timeouts, 1);
            desk.assert_quiet();
            assert_eq!(desk.records[0].cause, "unlatched_timeout");
            assert_eq!(desk.records[0].media[0].packets, 0);
            return;
        }
    }
    panic!("the call goes on");
}

#[test]
fn who_has_sent_or_need_not_is_not_missed() {
    for (offer, answer, from_caller) in [
        (OFFER.to_owned(), ANSWER.to_owned(), true),
        // An announcement: the caller only listens.
        (
            OFFER.replace("sendrecv", "recvonly"),
            format!("{ANSWER}a=sendonly\r\n"),
            false,
        ),
    ] {
        let mut desk = desk("unlatched_timeout_s = 20\ntimeout_s = 0", "");
        let invite = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", &offer));
        let invite = only(&invite, "INVITE").clone();
        desk.callee(&response(
            &invite,
            200,
            "calleetag",
            "sip:bob@127.0.0.3:5060",
            &answer,
        ));
        assert!(!is_refused(rtp(&mut desk, 1, "127.0.0.3:6000", 1)));
        if from_caller {
            assert!(!is_refused(rtp(&mut desk, 0, "127.0.0.2:4000", 1)));
        }
        let sent = desk.pass(Duration::from_secs(25));
        assert!(sent.iter().all(|sent| sent.kind() != "BYE"), "{:?}", kinds(&sent));
        desk.command(sbc_core::shard::Command::HangupAll);
        assert_eq!(desk.shard.counters().media_unlatched, 0);
    }
}

#[test]
fn one_way_audio_is_counted_without_a_time_out() {
    for (seconds, counted) in [(5, 0), (15, 1)] {
        let mut desk = desk("", "");
        let up = establish(&mut desk);
        assert!(!is_refused(rtp(&mut desk, 1, "127.0.0.3:6000", 1)));
        desk.pass(Duration::from_secs(seconds));
        desk.caller(&request("BYE", &up.contact, 2, "bye", &up.tag, ""));
        assert_eq!(
            desk.shard.counters().media_unlatched,
            counted,
            "after {seconds} s"
        );
    }
}
