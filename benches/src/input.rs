//! What the benchmarks read.

/// An INVITE as a SIP trunk sends it: about 800 bytes, 13 header fields, an SDP offer of two codecs and DTMF. Comes
/// from the source that the built-in configuration calls `carrier`.
pub const INVITE: &str = "INVITE sip:+4930123456@127.0.0.1:5060 SIP/2.0\r\n\
    Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK776asdhds1a2;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:+4940654321@127.0.0.2;user=phone>;tag=1928301774\r\n\
    To: <sip:+4930123456@127.0.0.1;user=phone>\r\n\
    Call-ID: a84b4c76e66710-5a1f22@127.0.0.2\r\n\
    CSeq: 314159 INVITE\r\n\
    Contact: <sip:+4940654321@127.0.0.2:5060>\r\n\
    Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE, INFO\r\n\
    Supported: timer, 100rel\r\n\
    Session-Expires: 1800\r\n\
    User-Agent: Carrier-Gateway/7.2\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 209\r\n\
    \r\n\
    v=0\r\n\
    o=- 20518 20518 IN IP4 127.0.0.2\r\n\
    s=-\r\n\
    c=IN IP4 127.0.0.2\r\n\
    t=0 0\r\n\
    m=audio 4000 RTP/AVP 8 0 101\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-15\r\n\
    a=ptime:20\r\n";

/// The body of [`INVITE`].
pub fn offer() -> &'static [u8] {
    INVITE
        .split_once("\r\n\r\n")
        .map_or(&[], |(_, body)| body.as_bytes())
}

/// One RTP packet of 20 ms of G.711.
pub fn rtp_packet(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 8];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet.extend_from_slice(&0x1234_5678u32.to_be_bytes());
    packet.extend_from_slice(&[0xd5; 160]);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use sbc_core::sip::{Message, validate};

    #[test]
    fn the_invite_is_typical_and_valid() {
        let message = Message::parse(INVITE.as_bytes()).unwrap();
        assert_eq!(validate::request(&message), Ok(()));
        assert_eq!(message.body(), offer());
        assert_eq!(message.iter().count(), 13);
        assert!((750..=850).contains(&INVITE.len()), "{}", INVITE.len());
    }
}
