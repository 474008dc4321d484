//! What a trunk's options for SRTP and codecs mean, and what is refused or warned of.

use sbc_core::{
    config::{DEFAULT_TOML, parse},
    snapshot::{Dtmf, Hold, Ringback, Srtp, SrtpOffer},
};
use sbc_media::{latch::LatchMode, srtp::Suite, tone::Country};
use std::time::Duration;

fn with(lines: &str) -> String {
    DEFAULT_TOML.replace("name = \"carrier\"", &format!("name = \"carrier\"\n{lines}"))
}

fn problems(lines: &str) -> String {
    parse(&with(lines), "test").unwrap_err().to_string()
}

#[test]
fn without_options_media_is_plain_and_passes() {
    let config = parse(DEFAULT_TOML, "test").unwrap();
    let (snapshot, _) = config.compile().unwrap();
    let media = &snapshot.trunks[0].media;
    assert_eq!((media.srtp, &media.codecs), (Srtp::Disabled, &None));
    assert_eq!(media.latch, LatchMode::default());
    assert_eq!(media.dtmf, None);
    assert_eq!(config.warnings(), Vec::<String>::new());
}

#[test]
fn options_reach_the_snapshot() {
    let lines = "srtp = \"optional\"\nsrtp_offer = \"savp\"\n\
        srtp_suites = [\"AEAD_AES_256_GCM\", \"AES_CM_128_HMAC_SHA1_32\"]\ncodecs = [\"PCMA\", \"telephone-event\"]";
    let (snapshot, _) = parse(&with(lines), "test").unwrap().compile().unwrap();
    let media = &snapshot.trunks[0].media;
    assert_eq!((media.srtp, media.srtp_offer), (Srtp::Optional, SrtpOffer::Savp));
    assert_eq!(media.srtp_suites, [Suite::AeadAes256Gcm, Suite::AesCm128Sha1_32]);
    let codecs = media.codecs.as_ref().unwrap();
    assert_eq!(codecs.as_ref(), ["PCMA".into(), "telephone-event".into()]);
}

#[test]
fn a_trunk_latches_as_it_says_or_as_all_do() {
    let of_all = |line: &str| DEFAULT_TOML.replace("[media]", &format!("[media]\n{line}"));
    let window = |ms| LatchMode::Relearn(Duration::from_millis(ms));
    for (all, own, expected) in [
        ("", "", window(500)),
        ("latch_window_ms = 900", "", window(900)),
        ("latch_window_ms = 900", "latch_window_ms = 20", window(20)),
        ("latch = \"strict\"", "", LatchMode::Strict),
        ("latch = \"strict\"", "latch = \"once\"", LatchMode::Once),
        ("latch = \"strict\"", "latch = \"relearn\"", window(500)),
    ] {
        let text = of_all(all).replace("name = \"carrier\"", &format!("name = \"carrier\"\n{own}"));
        let (snapshot, _) = parse(&text, "test").unwrap().compile().unwrap();
        assert_eq!(snapshot.trunks[0].media.latch, expected, "{all} {own}");
    }
}

#[test]
fn every_method_for_digits_has_a_word() {
    for (word, method) in [
        ("pass", Dtmf::Pass),
        ("auto", Dtmf::Auto),
        ("rfc4733", Dtmf::Events),
        ("info", Dtmf::InfoRelay),
        ("info-dtmf", Dtmf::InfoPlain),
        ("inband", Dtmf::Inband),
    ] {
        let lines = format!("dtmf = \"{word}\"");
        let (snapshot, _) = parse(&with(&lines), "test").unwrap().compile().unwrap();
        assert_eq!(snapshot.trunks[0].media.dtmf, Some(method));
    }
}

#[test]
fn sounds_of_our_own_reach_the_snapshot() {
    let media = |lines: &str| {
        let (mut snapshot, _) = parse(&with(lines), "test").unwrap().compile().unwrap();
        snapshot.trunks.remove(0).media
    };
    let none = media("");
    assert_eq!(
        (none.ringback, none.ringback_tone, none.hold),
        (Ringback::Pass, None, Hold::Pass)
    );
    let all = media("ringback = \"tone\"\nringback_tone = \"gb\"\nhold = \"noise\"");
    assert_eq!(
        (all.ringback, all.ringback_tone, all.hold),
        (Ringback::Tone, Some(Country::Gb), Hold::Noise)
    );
    assert_eq!(media("ringback = \"ringing\"").ringback, Ringback::Ringing);
}

#[test]
fn a_packet_time_reaches_the_snapshot() {
    let ptime_ms = |lines: &str| {
        let (snapshot, _) = parse(&with(lines), "test").unwrap().compile().unwrap();
        snapshot.trunks[0].media.ptime_ms
    };
    assert_eq!(ptime_ms(""), None);
    assert_eq!(ptime_ms("ptime = 40\ncodecs = [\"opus\", \"pcmu\"]"), Some(40));
}

#[test]
fn keys_in_the_clear_are_warned_of() {
    let warnings = parse(&with("srtp = \"required\""), "test").unwrap().warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("\"carrier\"") && warnings[0].contains("transport = \"tls\""));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (lines, expected) in [
        ("srtp = \"yes\"", "trunk.srtp: expected"),
        ("srtp_suites = []", "the list is empty"),
        ("srtp_suites = [\"AES_CM_128\"]", "AES_CM_128_HMAC_SHA1_80"),
        (
            "srtp_suites = [\"AEAD_AES_128_GCM\", \"AEAD_AES_128_GCM\"]",
            "listed twice",
        ),
        ("codecs = [\"PCMA\", \"pcma\"]", "listed twice"),
        ("codecs = [\"telephone-event\"]", "no codec for speech"),
        ("codecs = []", "no codec for speech"),
        ("codecs = [\"PCMA/8000\"]", "leave the clock rate out"),
        ("dtmf = \"rfc2833\"", "trunk.dtmf: expected"),
        (
            "dtmf = \"rfc4733\"\ncodecs = [\"PCMA\"]",
            "codecs does not list \"telephone-event\"",
        ),
        (
            "dtmf = \"inband\"\ncodecs = [\"opus\"]",
            "codecs does not list \"PCMA\" or \"PCMU\"",
        ),
        ("ringback = \"music\"", "expected \"pass\""),
        ("ringback = \"tone\"", "add one such as ringback_tone = \"DE\""),
        ("ringback_tone = \"DE\"", "has no effect without ringback"),
        ("ringback = \"tone\"\nringback_tone = \"XX\"", "expected \"BR\""),
        ("hold = \"music\"", "expected \"pass\""),
        (
            "ptime = 25",
            "expected 10, 20, 30, 40 or 60 (milliseconds, without quotes), found 25",
        ),
        ("ptime = \"20\"", "expected 10, 20, 30, 40 or 60"),
        (
            "ptime = 20\ncodecs = [\"opus\"]",
            "20 has no effect: codecs does not list",
        ),
    ] {
        let found = problems(lines);
        assert!(found.contains(expected), "{lines}: {found}");
    }
}
