//! Topology hiding: no octet of one side's description reaches the other, but the codecs'.

use sbc_core::sdp::{Rewrite, Sdp};

/// Every free field of every kind of line, at both levels, says MARKER. Numbers that identify
/// (session id, ports, addresses) are chosen to be recognisable, too.
fn marked() -> String {
    let anywhere = "i=MARKER\r\nb=CT:666001\r\nb=MARKER:666002\r\nb=AS:MARKER\r\nb=X-MARKER:1\r\nk=prompt:MARKER\r\n\
        a=MARKER\r\na=MARKER:x\r\na=x:MARKER\r\na=tool:MARKER\r\na=cat:MARKER\r\na=keywds:MARKER\r\n\
        a=group:BUNDLE MARKER\r\na=ice-ufrag:MARKER\r\na=ice-pwd:MARKER\r\na=ice-options:MARKER\r\na=ice-lite\r\n\
        a=fingerprint:sha-256 MARKER\r\na=setup:MARKER\r\na=identity:MARKER\r\na=msid-semantic:MARKER\r\n\
        a=candidate:MARKER 1 UDP 1 203.0.113.66 6660 typ host\r\na=remote-candidates:1 203.0.113.66 6660\r\n\
        a=end-of-candidates\r\na=crypto:1 MARKER inline:MARKER\r\na=key-mgmt:MARKER\r\na=zrtp-hash:MARKER\r\n\
        a=ssrc:1 cname:MARKER\r\na=ssrc-group:FID MARKER\r\na=mid:MARKER\r\na=label:MARKER\r\na=content:MARKER\r\n\
        a=msid:MARKER\r\na=extmap:1 MARKER\r\na=rtcp:6661 IN IP4 203.0.113.66\r\na=rtcp-fb:8 MARKER\r\na=rtcp-mux\r\n\
        a=rtcp-xr:MARKER\r\na=source-filter: incl IN IP4 * 203.0.113.66\r\na=X-nat:MARKER\r\na=alt:MARKER\r\n\
        a=direction:MARKER\r\na=charset:MARKER\r\na=sdplang:MARKER\r\na=lang:MARKER\r\na=framerate:666003\r\n\
        a=quality:666004\r\na=type:MARKER\r\na=orient:MARKER\r\na=silenceSupp:MARKER\r\na=ptime:MARKER\r\n\
        a=maxptime:MARKER\r\na=rtpmap:MARKER\r\na=rtpmap:55 MARKER/8000\r\na=rtpmap:8 PCMA/8000/MARKER\r\n\
        a=rtpmap:8 PCMA/MARKER\r\na=fmtp:MARKER x\r\na=fmtp:55 MARKER\r\na=sendrecvMARKER\r\na=sendrecv:MARKER\r\n\
        x=MARKER\r\n";
    format!(
        "v=0\r\no=MARKER 666005 666006 IN IP4 MARKER.example\r\ns=MARKER\r\nu=http://MARKER/\r\ne=MARKER@example\r\n\
         p=+MARKER\r\nc=IN IP4 203.0.113.66\r\nt=666007 666008\r\nr=666009 1 0\r\nz=666010 -1h\r\n{anywhere}\
         m=video 6662 RTP/AVP 34\r\nc=IN IP4 203.0.113.66\r\n{anywhere}a=rtpmap:34 MARKER/90000\r\na=fmtp:34 MARKER\r\n\
         m=audio 6664 RTP/AVP 8 96\r\nc=IN IP4 203.0.113.66\r\n{anywhere}\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:96 CODEC-NAME/16000/2\r\na=fmtp:96 codec=parameter;x=1\r\na=sendrecv\r\n\
         m=application 6666 UDP MARKER\r\n{anywhere}\
         m=image 6668 udptl t38 MARKER\r\n{anywhere}\
         m=audio 6670/2 RTP/SAVP 8\r\n{anywhere}"
    )
}

fn rewritten(sdp: &str, audio: Option<(usize, u16)>) -> String {
    let address = "198.51.100.9".parse().unwrap();
    let with = Rewrite {
        username: "-",
        session_id: 5,
        session_version: 7,
        address,
        audio,
    };
    let mut out = Vec::new();
    Sdp::parse(sdp.as_bytes())
        .unwrap()
        .rewrite(&mut out, &with)
        .unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn nothing_but_codecs_passes() {
    let sdp = marked();
    assert_eq!(Sdp::parse(sdp.as_bytes()).unwrap().first_audio(), Some(1));
    let expected = "v=0\r\no=- 5 7 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n\
        m=video 0 RTP/AVP 34\r\n\
        m=audio 20000 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:96 CODEC-NAME/16000/2\r\n\
        a=fmtp:96 codec=parameter;x=1\r\na=sendrecv\r\n\
        m=application 0 UDP *\r\nm=image 0 udptl t38\r\nm=audio 0 RTP/SAVP 8\r\n";
    assert_eq!(rewritten(&sdp, Some((1, 20000))), expected);
}

#[test]
fn nothing_passes_when_every_stream_is_refused() {
    let out = rewritten(&marked(), None);
    for secret in ["MARKER", "666", "203.0.113", "a=", "b="] {
        assert!(!out.contains(secret), "{secret} in {out}");
    }
}

/// What a line ends with for one reader must not be part of it for the next.
#[test]
fn no_line_can_be_smuggled_into_a_kept_value() {
    for smuggler in [
        "x\ra=MARKER",
        "x\0MARKER",
        "x\u{b}a=MARKER",
        "x\u{85}a=MARKER",
        "x\u{2028}a=MARKER",
    ] {
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
             m=audio 4000 RTP/AVP 96\r\na=fmtp:96 {smuggler}\r\na=rtpmap:96 {smuggler}/8000\r\n"
        );
        if Sdp::parse(sdp.as_bytes()).is_ok() {
            let out = rewritten(&sdp, Some((0, 20000)));
            assert!(!out.contains("MARKER"), "{smuggler:?} gave {out:?}");
        }
    }
}
