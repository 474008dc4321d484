//! For all inputs: no panic, and what is written can be read, by us and by `sdp-types`.

use proptest::prelude::*;
use sbc_core::sdp::{Rewrite, Sdp};

/// Fragments that make descriptions which get far into the parser.
fn line() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "IN",
        "IP4",
        "IP6",
        "192.0.2.1",
        "2001:db8::1",
        "0.0.0.0",
        "::",
        "0",
        "8",
        "101",
        "128",
        "65535",
        "-",
        "/",
        ":",
        "audio",
        "video",
        "RTP/AVP",
        "RTP/SAVPF",
        "udptl",
        "t38",
        "rtpmap:8",
        "PCMA/8000",
        "fmtp:101",
        "0-16",
        "ptime:20",
        "sendonly",
        "inactive",
        "rtcp:5",
        "AS:64",
        "\u{e9}",
        "MARKER",
    ]);
    let soup =
        ("[a-z]=", prop::collection::vec(words, 0..7)).prop_map(|(letter, words)| letter + &words.join(" "));
    let kinds = prop::sample::select(vec!["audio", "video", "image", "application", "message", "text"]);
    let protocols = prop::sample::select(vec![
        "RTP/AVP",
        "RTP/SAVP",
        "UDP/TLS/RTP/SAVPF",
        "udptl",
        "TCP/MSRP",
    ]);
    let media = (
        kinds,
        any::<u16>(),
        protocols,
        prop::collection::vec(0u8..128, 1..6),
    )
        .prop_map(|(kind, port, protocol, formats)| {
            let formats: Vec<_> = formats.iter().map(u8::to_string).collect();
            format!("m={kind} {port} {protocol} {}", formats.join(" "))
        });
    let attributes = prop::sample::select(vec![
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 x=1;y=2",
        "a=ptime:20",
        "a=maxptime:60",
        "a=sendonly",
        "a=recvonly",
        "a=inactive",
        "a=rtcp:9",
        "a=rtcp:9 IN IP4 192.0.2.9",
        "b=AS:64",
        "b=TIAS:1",
        "c=IN IP4 192.0.2.2",
        "c=IN IP6 2001:db8::2",
        "c=IN IP4 0.0.0.0",
        "",
    ])
    .prop_map(str::to_owned);
    prop_oneof![1 => soup, 3 => media, 5 => attributes]
}

fn description() -> impl Strategy<Value = String> {
    (prop::collection::vec(line(), 0..25), any::<bool>()).prop_map(|(lines, lf)| {
        let end = if lf { "\n" } else { "\r\n" };
        let head = [
            "v=0",
            "o=- 1 1 IN IP4 192.0.2.1",
            "s=-",
            "c=IN IP4 192.0.2.1",
            "t=0 0",
        ]
        .map(str::to_owned);
        let mut text = String::new();
        for line in head.iter().chain(&lines) {
            text.push_str(line);
            text.push_str(end);
        }
        text
    })
}

/// Walk everything that can be asked of a description.
fn exercise(bytes: &[u8]) -> Option<Vec<u8>> {
    let sdp = Sdp::parse(bytes).ok()?;
    let _ = (sdp.origin(), sdp.connection());
    for (index, media) in sdp.medias().iter().enumerate() {
        let _ = (
            sdp.remote_of(index),
            sdp.direction_of(index),
            media.rtcp_mux(),
            media.ptime(),
            media.maxptime(),
        );
        let _ = (media.formats().count(), media.rtpmaps().count());
        for number in media.payload_types() {
            let _ = media.rtpmap(number);
        }
    }
    let address = "198.51.100.9".parse().unwrap();
    let audio = sdp.first_audio().map(|index| (index, 20000));
    let with = Rewrite {
        username: "-",
        session_id: u64::MAX,
        session_version: u64::MAX,
        address,
        audio,
    };
    let mut out = Vec::new();
    sdp.rewrite(&mut out, &with).ok()?;
    Some(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(&bytes);
        let mut headed = b"v=0\no=- 1 1 IN IP4 192.0.2.1\nm=audio 4 RTP/AVP 0\n".to_vec();
        headed.extend(bytes);
        exercise(&headed);
    }

    #[test]
    fn what_is_written_reads_the_same(text in description()) {
        let Some(out) = exercise(text.as_bytes()) else { return Ok(()) };
        let (before, after) = (Sdp::parse(text.as_bytes()).unwrap(), Sdp::parse(&out).unwrap());
        prop_assert_eq!(before.medias().len(), after.medias().len());
        prop_assert_eq!(before.first_audio(), after.first_audio());
        let anchored = before.first_audio();
        for (index, (was, is)) in before.medias().iter().zip(after.medias()).enumerate() {
            prop_assert_eq!(was.kind, is.kind);
            prop_assert_eq!(was.protocol.to_ascii_uppercase(), is.protocol.to_ascii_uppercase());
            prop_assert_eq!(was.payload_types().collect::<Vec<_>>(), is.payload_types().collect::<Vec<_>>());
            prop_assert_eq!(is.port, if anchored == Some(index) { 20000 } else { 0 });
        }
        if let Some(index) = anchored {
            let (was, is) = (before.remote_of(index).unwrap(), after.remote_of(index).unwrap());
            prop_assert_eq!(is.rtp, "198.51.100.9:20000".parse().unwrap());
            prop_assert_eq!(is.rtcp, "198.51.100.9:20001".parse().unwrap());
            prop_assert!(!is.held);
            prop_assert_eq!(is.direction.sends(), was.direction.sends());
            prop_assert_eq!(is.direction.receives(), was.direction.receives() && !was.held);
            prop_assert_eq!(after.medias()[index].ptime(), before.medias()[index].ptime());
        }
        // Writing again changes nothing more, and a hidden description hides the same way.
        prop_assert_eq!(exercise(&out), Some(out.clone()));
    }

    #[test]
    fn what_is_written_reads_the_same_elsewhere(text in description()) {
        let Some(out) = exercise(text.as_bytes()) else { return Ok(()) };
        let (ours, theirs) = (Sdp::parse(&out).unwrap(), sdp_types::Session::parse(&out).unwrap());
        prop_assert_eq!(ours.medias().len(), theirs.medias.len());
        for (ours, theirs) in ours.medias().iter().zip(&theirs.medias) {
            prop_assert_eq!(ours.kind.name(), Some(theirs.media.as_str()));
            prop_assert_eq!((ours.port, ours.protocol), (theirs.port, theirs.proto.as_str()));
            prop_assert_eq!(ours.formats().collect::<Vec<_>>().join(" "), theirs.fmt.clone());
        }
        let mut again = Vec::new();
        theirs.write(&mut again).unwrap();
        prop_assert_eq!(String::from_utf8(again).unwrap(), String::from_utf8(out.clone()).unwrap());
    }
}
