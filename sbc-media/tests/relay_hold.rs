//! Hold: nothing is sent to a peer that asked for silence.

mod support;
use sbc_media::latch::LatchMode;
use sbc_media::relay::Remote;
use support::*;

#[test]
fn rtp_stops_and_rtcp_goes_on_while_the_peer_holds() {
    let mut session = Session::flowing();
    session.relay.set_remote(
        A,
        Remote {
            send: false,
            ..remote(A_RTP)
        },
    );
    assert_eq!(session.rtp(B, B_RTP), NO_DESTINATION);
    assert_eq!(session.rtcp(B, B_RTCP), to(A.rtcp(), A_RTCP));
    // sendonly: the holder's music still passes.
    assert_eq!(session.rtp(A, A_RTP), to(B.rtp(), B_RTP));
    session.remote(A, A_RTP);
    assert_eq!(session.rtp(B, B_RTP), to(A.rtp(), A_RTP));
}

#[test]
fn hold_with_a_zero_address_stops_rtcp_as_well() {
    let zero = Some(addr("0.0.0.0:4000"));
    for (rtp, rtcp) in [
        (None, None),
        (zero, None),
        (zero, zero),
        (Some(addr("192.0.2.1:0")), None),
    ] {
        let mut session = Session::flowing();
        let hold = Remote {
            rtp,
            rtcp,
            send: false,
            mux: false,
            latch: LatchMode::default(),
        };
        session.relay.set_remote(A, hold);
        assert_eq!(session.rtp(B, B_RTP), NO_DESTINATION);
        assert_eq!(session.rtcp(B, B_RTCP), NO_DESTINATION);
        // Not even by mistake to this host.
        session.relay.set_remote(A, Remote { send: true, ..hold });
        assert_eq!(session.rtp(B, B_RTP), to(A.rtp(), A_RTP));
        session.remote(A, A_RTP);
        assert_eq!(session.rtp(B, B_RTP), to(A.rtp(), A_RTP));
        assert_eq!(session.rtcp(B, B_RTCP), to(A.rtcp(), A_RTCP));
    }
}

#[test]
fn what_a_held_peer_is_not_sent_still_counts_as_heard() {
    let mut session = Session::flowing();
    session.relay.set_remote(
        A,
        Remote {
            send: false,
            ..remote(A_RTP)
        },
    );
    session.wait_ms(60_000);
    session.rtp(B, B_RTP);
    let last = session.relay.last_received(B).unwrap();
    assert_eq!(last.as_millis(), session.now_ms);
    assert_eq!(session.relay.stats(B).no_destination, 1);
}
