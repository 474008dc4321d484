//! Where media is sent, and the addresses that are refused.

use sbc_core::sdp::{Sdp, SdpError};

fn sdp(session: &str, media: &str) -> String {
    format!("v=0\r\no=- 1 1 IN IP4 host.invalid\r\ns=-\r\n{session}t=0 0\r\n{media}")
}

#[test]
fn the_address_of_the_stream_beats_that_of_the_session() {
    let sdp = sdp(
        "c=IN IP4 192.0.2.1\r\n",
        "m=audio 4000 RTP/AVP 8\r\nc=IN IP4 192.0.2.2\r\nm=audio 4002 RTP/AVP 8\r\n",
    );
    let sdp = Sdp::parse(sdp.as_bytes()).unwrap();
    assert_eq!(sdp.remote_of(0).unwrap().rtp, "192.0.2.2:4000".parse().unwrap());
    assert_eq!(sdp.remote_of(1).unwrap().rtp, "192.0.2.1:4002".parse().unwrap());
    assert_eq!(sdp.connection(), Some(Ok("192.0.2.1".parse().unwrap())));
    assert_eq!(sdp.remote_of(2).unwrap_err(), SdpError::Index);
}

#[test]
fn rtcp_goes_to_its_own_port_and_address_when_they_are_usable() {
    let cases = [
        ("", "192.0.2.1:4001"),
        ("a=rtcp:5555\r\n", "192.0.2.1:5555"),
        ("a=rtcp:5555 IN IP4 192.0.2.7\r\n", "192.0.2.7:5555"),
        ("a=rtcp:5555 IN IP6 2001:db8::7\r\n", "[2001:db8::7]:5555"),
        ("a=rtcp:5555 IN IP4 a.host.invalid\r\n", "192.0.2.1:5555"),
        ("a=rtcp:5555 IN IP4 239.0.0.1\r\n", "192.0.2.1:5555"),
        ("a=rtcp:5555 IN IP4 0.0.0.0\r\n", "192.0.2.1:5555"),
        ("a=rtcp:0\r\n", "192.0.2.1:4001"),
        ("a=rtcp:65536\r\n", "192.0.2.1:4001"),
        ("a=rtcp:+5\r\n", "192.0.2.1:4001"),
        ("a=rtcp\r\n", "192.0.2.1:4001"),
    ];
    for (attribute, expected) in cases {
        let sdp = sdp(
            "c=IN IP4 192.0.2.1\r\n",
            &format!("m=audio 4000 RTP/AVP 8\r\n{attribute}"),
        );
        let remote = Sdp::parse(sdp.as_bytes()).unwrap().remote_of(0).unwrap();
        assert_eq!(remote.rtcp, expected.parse().unwrap(), "{attribute}");
    }
}

#[test]
fn the_last_port_has_no_next_one() {
    let last = |attribute| {
        sdp(
            "c=IN IP4 192.0.2.1\r\n",
            &format!("m=audio 65535 RTP/AVP 8\r\n{attribute}"),
        )
    };
    let without = last("");
    let parsed = Sdp::parse(without.as_bytes()).unwrap();
    assert_eq!(parsed.remote_of(0).unwrap_err(), SdpError::Port);
    assert_eq!(parsed.first_audio(), None);
    assert!(
        Sdp::parse(last("a=rtcp:4\r\n").as_bytes())
            .unwrap()
            .remote_of(0)
            .is_ok()
    );
}

#[test]
fn only_unicast_addresses_are_accepted() {
    let refused = [
        "IN IP4 sbc.example.com",
        "IN IP4 239.1.1.1/127",
        "IN IP4 239.1.1.1",
        "IN IP4 255.255.255.255",
        "IN IP4 2001:db8::1",
        "IN IP6 192.0.2.1",
        "IN IP6 ff02::1",
        "IN IP4 192.0.2.1:80",
        "IN IP4 192.0.2.256",
        "ATM IP4 192.0.2.1",
        "IN IP4",
        "",
    ];
    for connection in refused {
        let sdp = sdp(&format!("c={connection}\r\n"), "m=audio 4000 RTP/AVP 8\r\n");
        let parsed = Sdp::parse(sdp.as_bytes()).unwrap();
        assert_eq!(
            parsed.remote_of(0).unwrap_err(),
            SdpError::Address,
            "{connection}"
        );
        assert_eq!(parsed.first_audio(), None, "{connection}");
    }
    let sdp = sdp("", "m=audio 4000 RTP/AVP 8\r\n");
    assert_eq!(
        Sdp::parse(sdp.as_bytes()).unwrap().remote_of(0).unwrap_err(),
        SdpError::NoAddress
    );
}

/// A name in a stream that is refused anyway must not cost the call.
#[test]
fn an_unusable_address_hurts_only_its_own_stream() {
    let sdp = sdp(
        "c=IN IP4 192.0.2.1\r\n",
        "m=video 4000 RTP/AVP 34\r\nc=IN IP4 v.invalid\r\nm=audio 4002 RTP/AVP 8\r\n",
    );
    assert_eq!(Sdp::parse(sdp.as_bytes()).unwrap().first_audio(), Some(1));
}
