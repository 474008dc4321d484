//! Every packet is counted once, in the totals and with the pair it came to.

mod support;
use proptest::prelude::*;
use sbc_media::relay::{DropReason, MediaSocket, Verdict};
use sbc_media::time::Timestamp;
use support::*;

#[test]
fn the_closing_statistics_are_those_of_the_call() {
    let mut session = Session::flowing();
    for _ in 0..9 {
        session.wait_ms(20);
        session.rtp(A, A_RTP);
    }
    session.rtp(A, STRANGER);
    session.rtcp(A, A_RTCP);
    let live = session.relay.stats(A);
    assert_eq!((live.packets, live.octets, live.rtcp_packets), (10, 1720, 1));
    assert_eq!(
        (live.wrong_source, live.malformed, live.no_destination),
        (1, 0, 0)
    );
    assert_eq!(live.stranger, Some(addr(STRANGER)));
    assert_eq!(
        (live.signalled, live.latched),
        (Some(addr(A_RTP)), Some(addr(A_RTP)))
    );
    assert_eq!(live.last_received.unwrap().as_millis(), session.now_ms);
    assert_eq!(session.relay.close(A), live);
    assert_eq!(session.relay.stats(A), Default::default());
}

proptest! {
    /// Whatever arrives from whomever: nothing panics, received is forwarded plus dropped, bytes are
    /// not touched, and what leaves goes to the other pair.
    #[test]
    fn nothing_gets_lost_in_the_books(packets in prop::collection::vec(
        (0u32..6, 0usize..4, prop::collection::vec(any::<u8>(), 0..64), any::<bool>(), 0u64..300), 0..200,
    )) {
        let mut session = Session::new();
        let sources = [A_RTP, B_RTP, NAT, STRANGER];
        let mut verdicts = [0u64; 1 + DropReason::ALL.len()];
        for (socket, source, mut bytes, well_formed, pause_ms) in packets {
            if well_formed && bytes.len() >= 12 {
                bytes[0] = 0x80;
                bytes[1] &= 0x3f;
            }
            let len = bytes.len();
            bytes.resize(len + 64, 0x5a);
            let before = bytes.clone();
            session.wait_ms(pause_ms);
            let socket = MediaSocket(socket);
            let now = Timestamp::from_millis(session.now_ms);
            let verdict = session.relay.forward(now, socket, addr(sources[source]), &mut bytes, len);
            prop_assert_eq!(bytes, before);
            verdicts[match verdict {
                Verdict::Forward { socket: out, to, len: leaves } => {
                    prop_assert_eq!(leaves, len);
                    prop_assert_ne!(out.pair(), socket.pair());
                    prop_assert!(to.is_some());
                    0
                }
                Verdict::Drop(reason) => 1 + reason as usize,
            }] += 1;
            if pause_ms % 7 == 0 {
                session.actions();
            }
        }
        let counters = session.relay.counters();
        prop_assert_eq!(counters.received, verdicts.iter().sum::<u64>());
        prop_assert_eq!(counters.forwarded, verdicts[0]);
        for reason in DropReason::ALL {
            prop_assert_eq!(counters.drops(reason), verdicts[1 + reason as usize]);
        }
        let sides = [session.relay.stats(A), session.relay.stats(B)];
        let accepted: u64 = sides.iter().map(|side| side.packets + side.rtcp_packets).sum();
        let undelivered: u64 = sides.iter().map(|side| side.no_destination).sum();
        prop_assert_eq!(accepted, counters.forwarded + undelivered);
        let malformed: u64 = sides.iter().map(|side| side.malformed).sum();
        prop_assert_eq!(malformed, counters.drops(DropReason::Malformed));
    }
}
