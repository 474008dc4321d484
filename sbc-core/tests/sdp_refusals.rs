//! What is not read at all, and which streams are not anchored.

use sbc_core::sdp::{FORMATS_MAX, LINES_MAX, MEDIAS_MAX, Rewrite, SIZE_MAX, Sdp, SdpError};

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

fn error_of(sdp: &str) -> Option<SdpError> {
    Sdp::parse(sdp.as_bytes()).err()
}

#[test]
fn faults_have_names() {
    let with = |lines: &str| format!("{HEAD}{lines}\r\n");
    let cases = [
        (String::new(), SdpError::Version),
        ("\r\n\r\n".into(), SdpError::Version),
        ("v=1\r\n".into(), SdpError::Version),
        ("o=- 1 1 IN IP4 192.0.2.1\r\nv=0\r\n".into(), SdpError::Version),
        ("v=0\r\ns=-\r\n".into(), SdpError::Origin),
        ("v=0\r\no=- one 1 IN IP4 192.0.2.1\r\n".into(), SdpError::Origin),
        ("v=0\r\no=- 1 1 IN IP4\r\n".into(), SdpError::Origin),
        (with("no line"), SdpError::Line),
        (with("A=upper"), SdpError::Line),
        (with("=x"), SdpError::Line),
        (with("a=one\ra=two"), SdpError::Line),
        (with("m=audio"), SdpError::Media),
        (with("m=audio 4000"), SdpError::Media),
        (with("m=audio 4000 RTP/AVP"), SdpError::Media),
        (with("m=audio 65536 RTP/AVP 0"), SdpError::Media),
        (with("m=audio -1 RTP/AVP 0"), SdpError::Media),
        (with("m=audio +4000 RTP/AVP 0"), SdpError::Media),
        (with("m=audio 4000/x RTP/AVP 0"), SdpError::Media),
        (with("m=audio 4000 RTP/AVP 128"), SdpError::PayloadType),
        (with("m=audio 4000 RTP/AVP 0 x"), SdpError::PayloadType),
        (with("m=video 0 RTP/SAVPF 300"), SdpError::PayloadType),
    ];
    for (sdp, expected) in cases {
        assert_eq!(error_of(&sdp), Some(expected), "{sdp:?}");
    }
    assert_eq!(error_of(HEAD), None);
}

/// Each bound admits what it names and refuses one more.
#[test]
fn bounds_are_exact() {
    let medias = |count: usize| HEAD.to_owned() + &"m=audio 0 RTP/AVP 0\r\n".repeat(count);
    assert_eq!(error_of(&medias(MEDIAS_MAX)), None);
    assert_eq!(error_of(&medias(MEDIAS_MAX + 1)), Some(SdpError::TooLarge));
    let formats = |count: usize| format!("{HEAD}m=audio 4000 RTP/AVP{}\r\n", " 0".repeat(count));
    assert_eq!(error_of(&formats(FORMATS_MAX)), None);
    assert_eq!(error_of(&formats(FORMATS_MAX + 1)), Some(SdpError::TooLarge));
    let lines = |count: usize| HEAD.to_owned() + &"a=x\r\n".repeat(count - HEAD.lines().count());
    assert_eq!(error_of(&lines(LINES_MAX)), None);
    assert_eq!(error_of(&lines(LINES_MAX + 1)), Some(SdpError::TooLarge));
    let size = |size: usize| format!("{HEAD}a={}", "x".repeat(size - HEAD.len() - 2));
    assert_eq!(error_of(&size(SIZE_MAX)), None);
    assert_eq!(error_of(&size(SIZE_MAX + 1)), Some(SdpError::TooLarge));
}

#[test]
fn only_plain_audio_is_anchored() {
    let refused = [
        "m=audio 0 RTP/AVP 0",
        "m=audio 4000 RTP/SAVP 0",
        "m=audio 4000 RTP/AVPF 0",
        "m=audio 4000 RTP/SAVPF 0",
        "m=audio 4000/2 RTP/AVP 0",
        "m=audio 4000 TCP/RTP/AVP 0",
        "m=video 4000 RTP/AVP 34",
        "m=image 4000 udptl t38",
    ];
    for line in refused {
        let sdp = format!("{HEAD}{line}\r\n");
        assert_eq!(Sdp::parse(sdp.as_bytes()).unwrap().first_audio(), None, "{line}");
        let sdp = format!("{HEAD}{line}\r\nm=audio 4000 RTP/AVP 0\r\n");
        assert_eq!(
            Sdp::parse(sdp.as_bytes()).unwrap().first_audio(),
            Some(1),
            "{line}"
        );
    }
    for line in ["m=AUDIO 4000 rtp/avp 0", "m=audio 4000/1 RTP/AVP 0"] {
        let sdp = format!("{HEAD}{line}\r\n");
        assert_eq!(
            Sdp::parse(sdp.as_bytes()).unwrap().first_audio(),
            Some(0),
            "{line}"
        );
    }
}

fn rewrite(media: &str, audio: Option<(usize, u16)>) -> Result<String, SdpError> {
    let sdp = format!("{HEAD}{media}\r\n");
    let address = "198.51.100.9".parse().unwrap();
    let with = Rewrite {
        username: "-",
        session_id: 1,
        session_version: 1,
        address,
        audio,
    };
    let mut out = b"kept".to_vec();
    let result = Sdp::parse(sdp.as_bytes()).unwrap().rewrite(&mut out, &with);
    let out = String::from_utf8(out).unwrap();
    let written = out.strip_prefix("kept").expect("what was there stays");
    assert!(result.is_ok() || written.is_empty());
    result.map(|()| {
        written
            .lines()
            .find(|line| line.starts_with("m="))
            .unwrap_or_default()
            .to_owned()
    })
}

#[test]
fn what_cannot_be_written_honestly_is_an_error() {
    assert_eq!(
        rewrite("m=audio 4000 RTP/AVP 0", Some((1, 20000))),
        Err(SdpError::Index)
    );
    assert_eq!(
        rewrite("m=audio 4000 RTP/SAVP 0", Some((0, 20000))),
        Err(SdpError::Media)
    );
    assert_eq!(
        rewrite("m=video 4000 RTP/AVP 0", Some((0, 20000))),
        Err(SdpError::Media)
    );
    assert_eq!(
        rewrite("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 x", Some((0, 20000))),
        Err(SdpError::Address)
    );
    assert_eq!(
        rewrite("m=secret 4000 RTP/AVP 0", None),
        Err(SdpError::UnknownMedia)
    );
    assert_eq!(rewrite("m=audio 4000 x/y 0", None), Err(SdpError::UnknownMedia));
}

#[test]
fn a_stream_that_its_writer_refused_stays_refused() {
    assert_eq!(
        rewrite("m=audio 0 RTP/AVP 0 8", Some((0, 20000))).unwrap(),
        "m=audio 0 RTP/AVP 0 8"
    );
    // Some leave the formats out then; RFC 8866 wants one.
    assert_eq!(
        rewrite("m=audio 0 RTP/AVP", Some((0, 20000))).unwrap(),
        "m=audio 0 RTP/AVP 0"
    );
    assert_eq!(rewrite("m=image 0 udptl", None).unwrap(), "m=image 0 udptl t38");
    assert_eq!(
        rewrite("m=message 9 TCP/MSRP *", None).unwrap(),
        "m=message 0 TCP/MSRP *"
    );
}

#[test]
fn an_attribute_that_does_not_fit_its_stream_is_dropped_whole() {
    let cases = [
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:0 PCMU",
        "a=rtpmap:0 PC MU/8000",
        "a=rtpmap:0 PCMU/0",
        "a=rtpmap:0 PCMU/8000/1/1",
        "a=rtpmap:0 PCM(U)/8000",
        "a=rtpmap:128 X/8000",
        "a=fmtp:9 mode=1",
        "a=fmtp:0",
        "a=fmtp:0 ",
        "a=fmtp:0 caf\u{e9}",
        "a=fmtp:0 tab\there",
        "a=ptime:twenty",
        "a=ptime",
        "a=maxptime:99999999999",
        "a=rtcp:4001",
        "a=rtcp-mux",
    ];
    for line in cases {
        let sdp = format!("{HEAD}m=audio 4000 RTP/AVP 0\r\n{line}\r\n");
        let address = "198.51.100.9".parse().unwrap();
        let with = Rewrite {
            username: "-",
            session_id: 1,
            session_version: 1,
            address,
            audio: Some((0, 2)),
        };
        let mut out = Vec::new();
        Sdp::parse(sdp.as_bytes())
            .unwrap()
            .rewrite(&mut out, &with)
            .unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(!out.contains("a="), "{line} gave {out}");
    }
}
