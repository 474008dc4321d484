//! Hold, resume and the directions of RFC 3264 §8.4, in both generations.

use sbc_core::sdp::{Direction, Rewrite, Sdp, without_origin};

fn offer(session: &str, address: &str, media: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n{session}m=audio 4000 RTP/AVP 8\r\n{media}"
    )
}

fn rewritten(sdp: &str, session_version: u64) -> Vec<u8> {
    let address = "198.51.100.9".parse().unwrap();
    let with = Rewrite {
        username: "-",
        session_id: 1,
        session_version,
        address,
        audio: Some((0, 20000)),
    };
    let mut out = Vec::new();
    Sdp::parse(sdp.as_bytes())
        .unwrap()
        .rewrite(&mut out, &with)
        .unwrap();
    out
}

#[test]
fn every_form_of_hold_reaches_the_other_leg_as_a_direction() {
    let cases = [
        // session attribute, address, media attribute; what the other leg reads
        ("", "192.0.2.1", "", None),
        ("", "192.0.2.1", "a=sendrecv\r\n", Some("sendrecv")),
        ("", "192.0.2.1", "a=sendonly\r\n", Some("sendonly")),
        ("", "192.0.2.1", "a=recvonly\r\n", Some("recvonly")),
        ("", "192.0.2.1", "a=inactive\r\n", Some("inactive")),
        ("a=sendonly\r\n", "192.0.2.1", "", Some("sendonly")),
        ("a=sendonly\r\n", "192.0.2.1", "a=inactive\r\n", Some("inactive")),
        ("a=inactive\r\n", "192.0.2.1", "a=sendrecv\r\n", Some("sendrecv")),
        ("", "0.0.0.0", "", Some("sendonly")),
        ("", "0.0.0.0", "a=sendrecv\r\n", Some("sendonly")),
        ("", "0.0.0.0", "a=sendonly\r\n", Some("sendonly")),
        ("", "0.0.0.0", "a=recvonly\r\n", Some("inactive")),
        ("", "0.0.0.0", "a=inactive\r\n", Some("inactive")),
    ];
    for (session, address, media, expected) in cases {
        let sdp = offer(session, address, media);
        let out = String::from_utf8(rewritten(&sdp, 1)).unwrap();
        let directions: Vec<_> = out
            .lines()
            .filter_map(|line| line.strip_prefix("a="))
            .filter(|attribute| ["sendrecv", "sendonly", "recvonly", "inactive"].contains(attribute))
            .collect();
        assert_eq!(directions, Vec::from_iter(expected), "{sdp}");
        assert!(
            out.contains("c=IN IP4 198.51.100.9\r\n") && !out.contains("0.0.0.0"),
            "{out}"
        );
        assert_eq!(out.matches("m=audio 20000").count(), 1);
    }
}

#[test]
fn held_says_that_nothing_may_be_sent() {
    let sdp = offer("", "0.0.0.0", "a=rtcp:4001 IN IP4 192.0.2.1\r\n");
    let remote = Sdp::parse(sdp.as_bytes()).unwrap().remote_of(0).unwrap();
    assert!(remote.held && remote.rtp.ip().is_unspecified() && remote.rtcp.ip().is_unspecified());
    let sdp = offer("", "192.0.2.1", "a=sendonly\r\n");
    let remote = Sdp::parse(sdp.as_bytes()).unwrap().remote_of(0).unwrap();
    assert!(!remote.held && remote.direction.sends() && !remote.direction.receives());
}

#[test]
fn ipv6_hold_is_the_unspecified_address() {
    let sdp = "v=0\r\no=- 1 1 IN IP6 ::1\r\ns=-\r\nc=IN IP6 ::\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
    assert!(Sdp::parse(sdp.as_bytes()).unwrap().remote_of(0).unwrap().held);
}

#[test]
fn resume_restores_the_description_and_only_the_version_differs() {
    let (active, held) = (
        offer("", "192.0.2.1", "a=sendrecv\r\n"),
        offer("", "0.0.0.0", "a=sendrecv\r\n"),
    );
    let first = rewritten(&active, 1);
    assert_ne!(without_origin(&first), without_origin(&rewritten(&held, 2)));
    let resumed = rewritten(&active, 3);
    assert_ne!(first, resumed);
    assert_eq!(without_origin(&first), without_origin(&resumed));
    assert!(without_origin(&first).starts_with(b"s=-\r\n"));
}

#[test]
fn what_only_the_writer_sees_does_not_count_as_a_change() {
    let sdp = offer("", "192.0.2.1", "a=sendrecv\r\n");
    let moved = sdp
        .replace("192.0.2.1", "192.0.2.99")
        .replace("4000", "4400")
        .replace("o=- 1 1", "o=- 1 2");
    assert_eq!(rewritten(&sdp, 1), rewritten(&moved, 1));
    let other_codec = sdp.replace("AVP 8", "AVP 0");
    assert_ne!(
        without_origin(&rewritten(&sdp, 1)),
        without_origin(&rewritten(&other_codec, 1))
    );
}

#[test]
fn directions_reverse_to_what_the_other_side_says() {
    let pairs = [
        (Direction::SendRecv, Direction::SendRecv),
        (Direction::SendOnly, Direction::RecvOnly),
        (Direction::RecvOnly, Direction::SendOnly),
        (Direction::Inactive, Direction::Inactive),
    ];
    for (direction, reversed) in pairs {
        assert_eq!(direction.reversed(), reversed);
        assert_eq!(
            (direction.sends(), direction.receives()),
            (reversed.receives(), reversed.sends())
        );
    }
}
