//! Descriptions shaped like those of the equipment that operators connect, and what the other leg
//! gets to see of them.

use sbc_core::sdp::{Direction, Kind, Rewrite, Sdp};

/// The description for the other leg with the first usable audio stream anchored at port 20000.
fn rewritten(sdp: &str) -> String {
    let sdp = Sdp::parse(sdp.as_bytes()).unwrap();
    let mut out = Vec::new();
    let with = Rewrite {
        username: "-",
        session_id: 77,
        session_version: 3,
        address: "198.51.100.9".parse().unwrap(),
        audio: sdp.first_audio().map(|index| (index, 20000)),
    };
    sdp.rewrite(&mut out, &with).unwrap();
    String::from_utf8(out).unwrap().replace("\r\n", "\n")
}

const OURS: &str = "v=0\no=- 77 3 IN IP4 198.51.100.9\ns=-\nc=IN IP4 198.51.100.9\n";

fn lines(head: &str, rest: &[&str]) -> String {
    let mut text = head.to_owned();
    for line in rest {
        text.push_str(line);
        text.push('\n');
    }
    text
}

#[test]
fn an_open_source_pbx() {
    let sdp = "v=0\r\no=pbx 1718000000 1718000001 IN IP4 192.0.2.10\r\ns=PBX 20.7\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
        m=audio 14020 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=maxptime:150\r\na=sendrecv\r\n";
    let parsed = Sdp::parse(sdp.as_bytes()).unwrap();
    let remote = parsed.remote_of(0).unwrap();
    assert_eq!(remote.rtp, "192.0.2.10:14020".parse().unwrap());
    assert_eq!(remote.rtcp, "192.0.2.10:14021".parse().unwrap());
    assert_eq!((remote.direction, remote.held), (Direction::SendRecv, false));
    assert_eq!(parsed.origin().username, b"pbx");
    assert_eq!(parsed.origin().session_version, "1718000001");
    assert_eq!(
        parsed.medias()[0].payload_types().collect::<Vec<_>>(),
        [8, 0, 101]
    );
    let kept = [
        "t=0 0",
        "m=audio 20000 RTP/AVP 8 0 101",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-16",
        "a=ptime:20",
        "a=maxptime:150",
        "a=sendrecv",
    ];
    assert_eq!(rewritten(sdp), lines(OURS, &kept));
}

#[test]
fn a_soft_switch_with_a_range_of_codecs() {
    let sdp = "v=0\r\no=SWITCH 1718 1719 IN IP4 192.0.2.20\r\ns=SWITCH\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\n\
        m=audio 26112 RTP/AVP 96 9 0 8 97 98 13\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1; maxaveragebitrate=30000\r\n\
        a=rtpmap:97 telephone-event/48000\r\na=fmtp:97 0-16\r\na=rtpmap:98 telephone-event/8000\r\na=fmtp:98 0-16\r\n\
        a=rtcp:26113 IN IP4 192.0.2.20\r\na=silenceSupp:off - - - -\r\na=ptime:20\r\n";
    let parsed = Sdp::parse(sdp.as_bytes()).unwrap();
    let opus = parsed.medias()[0].rtpmap(96).unwrap();
    assert_eq!(
        (opus.encoding, opus.clock_rate, opus.channels),
        ("opus", 48000, 2)
    );
    let kept = [
        "t=0 0",
        "m=audio 20000 RTP/AVP 96 9 0 8 97 98 13",
        "a=rtpmap:96 opus/48000/2",
        "a=fmtp:96 useinbandfec=1; maxaveragebitrate=30000",
        "a=rtpmap:97 telephone-event/48000",
        "a=fmtp:97 0-16",
        "a=rtpmap:98 telephone-event/8000",
        "a=fmtp:98 0-16",
        "a=ptime:20",
    ];
    assert_eq!(rewritten(sdp), lines(OURS, &kept));
}

/// Static types without a=rtpmap, the address with the stream, a bandwidth, no direction.
#[test]
fn a_gateway_that_says_little() {
    let sdp = "v=0\r\no=Gateway-SIPUserAgent 4711 1234 IN IP4 192.0.2.30\r\ns=SIP Call\r\nt=0 0\r\n\
        m=audio 17126 RTP/AVP 18 0 8\r\nc=IN IP4 192.0.2.31\r\nb=AS:64\r\na=fmtp:18 annexb=no\r\n";
    let parsed = Sdp::parse(sdp.as_bytes()).unwrap();
    assert_eq!(parsed.connection(), None);
    assert_eq!(
        parsed.remote_of(0).unwrap().rtp,
        "192.0.2.31:17126".parse().unwrap()
    );
    let media = &parsed.medias()[0];
    for (number, encoding) in [(18, "G729"), (0, "PCMU"), (8, "PCMA")] {
        assert_eq!(media.rtpmap(number).unwrap().encoding, encoding);
    }
    assert_eq!(media.rtpmap(96), None);
    let kept = [
        "t=0 0",
        "m=audio 20000 RTP/AVP 18 0 8",
        "b=AS:64",
        "a=fmtp:18 annexb=no",
    ];
    assert_eq!(rewritten(sdp), lines(OURS, &kept));
}

/// Secure media only: no stream can be anchored, all are refused in place.
#[test]
fn a_browser() {
    let sdp = "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1 2\r\na=msid-semantic: WMS x\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8\r\nc=IN IP4 0.0.0.0\r\na=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
        a=candidate:1 1 udp 2122260223 192.0.2.5 50000 typ host\r\na=mid:0\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\n\
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=sctp-port:5000\r\n";
    let parsed = Sdp::parse(sdp.as_bytes()).unwrap();
    assert_eq!(parsed.first_audio(), None);
    assert!(parsed.medias()[0].rtcp_mux() && !parsed.medias()[2].rtcp_mux());
    let kept = [
        "t=0 0",
        "m=audio 0 UDP/TLS/RTP/SAVPF 111 63 9 0 8",
        "m=video 0 UDP/TLS/RTP/SAVPF 96 97",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
    ];
    assert_eq!(rewritten(sdp), lines(OURS, &kept));
}

/// Two audio streams, secure and plain, as a hosted telephony platform offers best-effort security.
#[test]
fn a_cloud_platform_with_optional_encryption() {
    let sdp = "v=0\r\no=- 201 1 IN IP4 52.0.2.1\r\ns=session\r\nc=IN IP4 52.0.2.1\r\nb=CT:50\r\nb=TIAS:64000\r\nt=0 0\r\n\
        m=audio 49476 RTP/SAVP 104 9 8 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA|2^31\r\na=rtpmap:104 SILK/16000\r\n\
        m=audio 49486 RTP/AVP 104 8 101\r\na=rtcp:49487\r\na=label:main-audio\r\na=rtpmap:104 SILK/16000\r\n\
        a=fmtp:104 useinbandfec=1; usedtx=0\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n\
        m=video 0 RTP/AVP 34\r\n";
    assert_eq!(Sdp::parse(sdp.as_bytes()).unwrap().first_audio(), Some(1));
    let kept = [
        "b=TIAS:64000",
        "t=0 0",
        "m=audio 0 RTP/SAVP 104 9 8 0",
        "m=audio 20000 RTP/AVP 104 8 101",
        "a=rtpmap:104 SILK/16000",
        "a=fmtp:104 useinbandfec=1; usedtx=0",
        "a=rtpmap:8 PCMA/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=ptime:20",
        "m=video 0 RTP/AVP 34",
    ];
    assert_eq!(rewritten(sdp), lines(OURS, &kept));
}

/// The offer of a fax machine's re-INVITE beside the audio it leaves.
#[test]
fn a_fax_adapter() {
    let sdp = "v=0\r\no=ata 1 2 IN IP4 192.0.2.40\r\ns=-\r\nc=IN IP4 192.0.2.40\r\nt=0 0\r\n\
        m=audio 0 RTP/AVP 8\r\nm=image 4000 udptl t38\r\na=T38FaxVersion:0\r\n";
    let parsed = Sdp::parse(sdp.as_bytes()).unwrap();
    assert_eq!(parsed.first_audio(), None);
    assert_eq!(parsed.medias()[1].kind, Kind::Image);
    assert_eq!(
        rewritten(sdp),
        lines(OURS, &["t=0 0", "m=audio 0 RTP/AVP 8", "m=image 0 udptl t38"])
    );
}

/// LF alone, spaces doubled, a blank line at the end, no s= and no t=.
#[test]
fn a_careless_writer() {
    let sdp = "v=0\no=x 1 1 IN IP4 192.0.2.50\nc=IN IP4 192.0.2.50\nm=audio 5004 RTP/AVP 0  8 \na=rtpmap:0  PCMU/8000\na=ptime: 20\n\n";
    let kept = [
        "t=0 0",
        "m=audio 20000 RTP/AVP 0 8",
        "a=rtpmap:0 PCMU/8000",
        "a=ptime:20",
    ];
    assert_eq!(rewritten(sdp), lines(OURS, &kept));
}

#[test]
fn ipv6_on_one_leg_and_ipv4_on_the_other() {
    let sdp = "v=0\r\no=- 1 1 IN IP6 2001:db8::5\r\ns=-\r\nc=IN IP6 2001:db8::5\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n";
    let parsed = Sdp::parse(sdp.as_bytes()).unwrap();
    assert_eq!(
        parsed.remote_of(0).unwrap().rtcp,
        "[2001:db8::5]:5005".parse().unwrap()
    );
    assert_eq!(rewritten(sdp), lines(OURS, &["t=0 0", "m=audio 20000 RTP/AVP 0"]));
    let mut out = Vec::new();
    let with = Rewrite {
        username: "-",
        session_id: 1,
        session_version: 1,
        address: "2001:db8::9".parse().unwrap(),
        audio: Some((0, 20000)),
    };
    parsed.rewrite(&mut out, &with).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains("o=- 1 1 IN IP6 2001:db8::9\r\n") && out.contains("\r\nc=IN IP6 2001:db8::9\r\n"));
}
