//! Reports of our own, for a peer that hears none from the other side.

#[path = "support/peer.rs"]
mod peers;
mod support;
use peers::*;
use sbc_media::{
    relay::{OWN_LEN_MAX, OutletParams, PairIndex, Remote, ReporterParams, Verdict},
    rtcp::{Compound, hide::Cname, packet_type},
    time::Timestamp,
};
use std::time::Duration;
use support::*;

const OURS: u32 = 0x00aa_bbcc;
/// Five intervals, in which the other side may report, and the longest until we look.
const TURN_MS: u64 = 25_000 + 7_500;

fn name() -> Cname {
    Cname::new([7; 12])
}

fn reporting() -> Session {
    let mut session = Session::new();
    talk(&mut session);
    for pair in [A, B] {
        session.relay.set_cname(pair, name());
        let params = ReporterParams {
            ssrc: OURS,
            interval: Duration::from_secs(5),
            seed: 3,
        };
        let now = Timestamp::from_millis(session.now_ms);
        session.relay.set_reporter(now, pair, Some(&params));
    }
    session
}

/// What we report until `ms` later, while `each` happens every 20 ms.
fn run(session: &mut Session, ms: u64, mut each: impl FnMut(&mut Session)) -> Vec<(u64, PairIndex, Vec<u8>)> {
    let end = session.now_ms + ms;
    let mut reports = Vec::new();
    while session.now_ms < end {
        session.wait_ms(20);
        each(session);
        let now = Timestamp::from_millis(session.now_ms);
        let mut buffer = [0; OWN_LEN_MAX];
        while let Some(verdict) = session.relay.poll_transmit(now, &mut buffer) {
            let Verdict::Forward { socket, to, len } = verdict else {
                panic!("{verdict:?}");
            };
            assert!(to.is_some());
            reports.push((session.now_ms, socket.pair(), buffer[..len].to_vec()));
        }
        assert!(session.relay.poll_timeout().is_none_or(|due| due > now));
    }
    reports
}

fn talk(session: &mut Session) {
    let n = (session.now_ms / 20) as u16;
    session.send(A.rtp(), A_RTP, &mut rtp(n));
    session.send(B.rtp(), B_RTP, &mut rtp(n));
}

#[test]
fn both_peers_hear_reports_where_nobody_reports() {
    let mut session = reporting();
    let start = session.now_ms;
    let reports = run(&mut session, TURN_MS + 60_000, talk);
    for pair in [A, B] {
        let own: Vec<_> = reports.iter().filter(|(_, to, _)| *to == pair).collect();
        assert!((25_000..TURN_MS).contains(&(own[0].0 - start)), "{}", own[0].0);
        assert!((9..=16).contains(&own.len()), "{} in a minute", own.len());
        assert!(own.iter().zip(&own[1..]).all(|(a, b)| b.0 - a.0 >= 2_400));
        let (at, _, bytes) = own.last().unwrap();
        let compound = Compound::new_checked(bytes).unwrap();
        assert!(compound.is_full());
        let packets: Vec<_> = compound.packets().collect();
        let info = packets[0].sender_info().expect("audio is sent to the peer");
        // Both sources have SSRC 1: the relay passes them as they are.
        assert_eq!(packets[0].ssrc(), Some(1));
        let block = packets[0].reports().next().expect("audio comes from the peer");
        assert_eq!((block.ssrc(), block.lost()), (1, 0));
        // One packet had left before.
        assert_eq!(u64::from(info.packets), 1 + (at - start) / 20);
        assert_eq!(info.octets, info.packets * 160);
        let names: Vec<_> = packets[1].chunks().map(|c| (c.ssrc(), c.cname())).collect();
        assert_eq!(names, [(1, Some(&name().text()[..]))]);
    }
    assert_eq!(session.relay.counters().originated, reports.len() as u64);
}

#[test]
fn the_other_sides_reports_are_enough() {
    let mut session = reporting();
    let mut n = 0;
    let reports = run(&mut session, TURN_MS + 120_000, |session| {
        talk(session);
        n += 1;
        // Every five seconds from A, and none from B.
        if n % 250 == 1 {
            session.rtcp(A, A_RTCP);
        }
    });
    assert!(reports.iter().all(|(_, to, _)| *to == A), "B hears A's");
    assert!(reports.len() > 15, "A hears none of B");
    // A falls silent: B hears ours after five intervals.
    let last = session.now_ms;
    let reports = run(&mut session, 60_000, talk);
    let first = reports
        .iter()
        .find(|(_, to, _)| *to == B)
        .expect("a report for B");
    assert!(
        (19_000..=26_000).contains(&(first.0 - last)),
        "{}",
        first.0 - last
    );
}

#[test]
fn a_round_trip_is_measured_by_our_own_reports() {
    let mut session = reporting();
    let reports = run(&mut session, TURN_MS + 10_000, talk);
    let (_, _, bytes) = reports.iter().rfind(|(_, to, _)| *to == B).unwrap();
    let report = Compound::new_checked(bytes).unwrap().packets().next().unwrap();
    let middle = report.sender_info().unwrap().middle();
    // B keeps it for all but 80 ms of the time until its answer is here.
    let sent = reports.iter().rfind(|(_, to, _)| *to == B).unwrap().0;
    let answered = sent + 10_000;
    session.now_ms = answered;
    let mut answer = [0; 32];
    answer[..12].copy_from_slice(&[0x81, 201, 0, 7, 0, 0, 0, 2, 0, 0, 0, 1]);
    answer[24..28].copy_from_slice(&middle.to_be_bytes());
    let delay = (answered - sent - 80) * 65_536 / 1000;
    answer[28..].copy_from_slice(&(delay as u32).to_be_bytes());
    session.send(B.rtcp(), B_RTCP, &mut answer);
    let measured = session
        .relay
        .stats(B)
        .round_trip
        .expect("the answer to our report");
    assert!((79..=81).contains(&measured.as_millis()), "{measured:?}");
}

#[test]
fn a_peers_report_is_answered_with_when_it_came() {
    let mut session = reporting();
    let mut report = [0; 28];
    report[..8].copy_from_slice(&[0x80, 200, 0, 6, 0, 0, 0, 1]);
    report[10..14].copy_from_slice(&[1, 2, 3, 4]);
    talk(&mut session);
    run(&mut session, TURN_MS, talk);
    let came = session.now_ms;
    session.send(A.rtcp(), A_RTCP, &mut report);
    let reports = run(&mut session, 10_000, talk);
    let (at, _, bytes) = reports.iter().find(|(_, to, _)| *to == A).unwrap();
    let packet = Compound::new_checked(bytes).unwrap().packets().next().unwrap();
    let block = packet.reports().next().unwrap();
    assert_eq!(block.last_report(), 0x0102_0304);
    assert_eq!(u64::from(block.delay()), (at - came) * 65_536 / 1000);
}

#[test]
fn without_media_nothing_is_reported_and_later_only_that_we_live() {
    let mut session = Session::new();
    let params = ReporterParams {
        ssrc: OURS,
        interval: Duration::from_secs(5),
        seed: 3,
    };
    session.relay.set_reporter(Timestamp::ZERO, B, Some(&params));
    assert_eq!(run(&mut session, 60_000, |_| {}), []);
    // A speaks, then both are silent (hold): a receiver's report without blocks.
    run(&mut session, 1_000, |session| {
        session.rtp(A, A_RTP);
    });
    run(&mut session, TURN_MS + 10_000, |_| {});
    let reports = run(&mut session, 30_000, |_| {});
    assert!(reports.len() >= 3, "{}", reports.len());
    for (_, _, bytes) in &reports {
        let packet = Compound::new_checked(bytes).unwrap().packets().next().unwrap();
        assert_eq!(packet.packet_type(), packet_type::RECEIVER_REPORT);
        assert_eq!((packet.ssrc(), packet.reports().count()), (Some(OURS), 0));
    }
    session.relay.close(B);
    assert_eq!(session.relay.poll_timeout(), None);
}

#[test]
fn of_an_outlet_its_own_stream_is_reported() {
    let mut session = reporting();
    let outlet = OutletParams {
        ssrc: 0xfeed,
        sequence: 1,
        timestamp: 1_000,
        clock_rate: 8000,
        step: 160,
    };
    let now = Timestamp::from_millis(session.now_ms);
    session.relay.set_outlet(now, B, Some(&outlet));
    let start = session.now_ms + 20;
    let reports = run(&mut session, TURN_MS + 10_000, talk);
    let (at, _, bytes) = reports.iter().find(|(_, to, _)| *to == B).unwrap();
    let packet = Compound::new_checked(bytes).unwrap().packets().next().unwrap();
    let info = packet.sender_info().unwrap();
    let packets = ((at - start) / 20 + 1) as u32;
    assert_eq!(
        (packet.ssrc(), info.packets, info.octets),
        (Some(0xfeed), packets, packets * 160)
    );
    assert_eq!(info.timestamp, 1_000 + ((at - start) * 8) as u32);
}

#[test]
fn a_report_is_protected_and_leaves_the_port_that_was_agreed() {
    let mut session = reporting();
    let mut b = Peer::of(&mut session, B, SUITE, 20);
    let mux = Remote {
        mux: true,
        ..remote(B_RTP)
    };
    session.relay.set_remote(B, mux);
    let mut n = 0;
    let reports = run(&mut session, TURN_MS + 10_000, |session| {
        n += 1;
        session.send(A.rtp(), A_RTP, &mut rtp(n));
    });
    let (_, _, bytes) = reports.iter().find(|(_, to, _)| *to == B).unwrap();
    let opened = b.open_rtcp(bytes).expect("authentic");
    let packet = Compound::new_checked(&opened).unwrap().packets().next().unwrap();
    assert_eq!((packet.ssrc(), packet.reports().count()), (Some(1), 0));
    assert!(packet.sender_info().is_some_and(|info| info.packets > 1_000));
    let now = Timestamp::from_millis(session.now_ms + 10_000);
    let mut buffer = [0; OWN_LEN_MAX];
    let sent: Vec<_> = std::iter::from_fn(|| session.relay.poll_transmit(now, &mut buffer)).collect();
    let to_b =
        |verdict: &&Verdict| matches!(verdict, Verdict::Forward { to, .. } if *to == Some(addr(B_RTP)));
    let Some(Verdict::Forward { socket, .. }) = sent.iter().find(to_b) else {
        panic!("{sent:?}")
    };
    assert_eq!(*socket, B.rtp());
}

#[test]
fn a_peer_that_holds_is_told_that_we_live_and_one_without_address_nothing() {
    let mut session = reporting();
    let held = Remote {
        send: false,
        ..remote(B_RTP)
    };
    session.relay.set_remote(B, held);
    let reports = run(&mut session, TURN_MS + 20_000, |session| {
        let n = (session.now_ms / 20) as u16;
        session.send(A.rtp(), A_RTP, &mut rtp(n));
    });
    let to_b: Vec<_> = reports.iter().filter(|(_, to, _)| *to == B).collect();
    assert!(to_b.len() >= 2, "{}", to_b.len());
    for (_, _, bytes) in to_b {
        let packet = Compound::new_checked(bytes).unwrap().packets().next().unwrap();
        assert_eq!(
            packet.packet_type(),
            packet_type::RECEIVER_REPORT,
            "nothing is sent"
        );
    }
    let unreachable = Remote { rtp: None, ..held };
    session.relay.set_remote(B, unreachable);
    let reports = run(&mut session, 60_000, talk);
    assert!(reports.iter().all(|(_, to, _)| *to == A));
}
