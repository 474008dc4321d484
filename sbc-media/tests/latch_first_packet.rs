//! Learning the peer's address from its first packets.

mod support;
use support::*;

#[test]
fn before_any_packet_media_goes_where_the_sdp_says() {
    let mut session = Session::new();
    assert_eq!(session.rtp(B, B_RTP), to(A.rtp(), A_RTP));
    assert_eq!(session.relay.stats(A).latched, None);
}

#[test]
fn the_signalled_source_is_latched_at_once() {
    let mut session = Session::new();
    assert_eq!(session.rtp(A, A_RTP), to(B.rtp(), B_RTP));
    assert_eq!(session.relay.stats(A).latched, Some(addr(A_RTP)));
    assert_eq!(session.rtp(A, STRANGER), WRONG_SOURCE);
}

#[test]
fn a_peer_behind_nat_is_heard_from_its_first_packet_and_answered_from_its_second() {
    let mut session = Session::new();
    assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
    assert_eq!(session.destination(A), to(A.rtp(), A_RTP));
    session.wait_ms(20);
    assert_eq!(session.rtp(A, NAT), to(B.rtp(), B_RTP));
    assert_eq!(session.destination(A), to(A.rtp(), NAT));
    assert_eq!(session.relay.stats(A).latched, Some(addr(NAT)));
}

#[test]
fn nobody_is_latched_before_the_peer_has_sent_an_sdp() {
    let mut session = Session::without_remotes();
    session.remote(B, B_RTP);
    for _ in 0..3 {
        assert_eq!(session.rtp(A, A_RTP), WRONG_SOURCE);
    }
    assert_eq!(session.rtp(B, B_RTP), NO_DESTINATION);
    session.remote(A, A_RTP);
    assert_eq!(session.rtp(A, A_RTP), to(B.rtp(), B_RTP));
}

#[test]
fn rtp_and_rtcp_are_learned_apart() {
    let mut session = Session::flowing();
    assert_eq!(session.rtcp(A, NAT), to(B.rtcp(), B_RTCP));
    session.rtcp(A, NAT);
    assert_eq!(session.rtcp(B, B_RTCP), to(A.rtcp(), NAT));
    assert_eq!(session.rtp(B, B_RTP), to(A.rtp(), A_RTP));
}
