//! Requests of more than 1300 bytes between trunks that speak UDP (§18.1.1, S9).

use crate::{desk::*, lines::*};

fn large() -> String {
    let offer = format!("{OFFER}{}", "a=rtpmap:0 PCMU/8000\r\n".repeat(60));
    request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", &offer)
}

#[test]
fn a_large_request_goes_over_tcp_and_only_its_via_says_so() {
    let mut desk = desk_on("udp", "udp", "");
    let sent = desk.caller(&large());
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    let out = sent[1].clone();
    let line = out.over.expect("a connection");
    assert_eq!(desk.line(line).listener, TCP);
    assert!(
        out.header("Via")
            .starts_with("SIP/2.0/TCP 127.0.0.1:5060;branch=")
    );
    assert!(
        !out.header("Contact").contains("transport"),
        "the leg stays on UDP"
    );
    let sent = desk.write(line, ok(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert_eq!(sent[0].over, None, "small enough");
    // A small one does not.
    let mut desk = desk_on("udp", "udp", "");
    assert_eq!(only(&desk.caller(&invite()), "INVITE").over, None);
}

#[test]
fn without_a_connection_it_goes_as_a_datagram_with_the_same_branch() {
    let mut desk = desk_on("udp", "udp", "");
    desk.lines.dial = Dial::Wait;
    assert_eq!(kinds(&desk.caller(&large())), ["A<100"]);
    let line = desk.lines.all[0].id;
    let sent = desk.end(line, sbc_core::io::Closed::Refused);
    assert_eq!(kinds(&sent), ["B<INVITE"]);
    let out = sent[0].clone();
    assert_eq!(out.over, None);
    assert!(
        out.header("Via")
            .starts_with("SIP/2.0/UDP 127.0.0.1:5060;branch=")
    );
    assert!(out.text.len() > 1300);
    assert_eq!(desk.shard.counters().streams_fallbacks, 1);
    let repeated = desk.pass(seconds(1));
    assert_eq!(kinds(&repeated), ["B<INVITE"], "timer A runs now");
    assert_eq!(repeated[0].branch(), out.branch());
    assert_eq!(kinds(&desk.callee(&ok(&out))), ["B<ACK", "A<200"]);
}

#[test]
fn an_address_that_does_not_open_is_left_alone_for_five_minutes() {
    let mut desk = desk_on("udp", "udp", "");
    desk.lines.dial = Dial::Refuse;
    let again = |n: u32| {
        large()
            .replace("caller-call-id", &format!("call-{n}"))
            .replace("inv1", &format!("inv{n}"))
    };
    desk.caller(&again(1));
    assert_eq!(kinds(&desk.caller(&again(2))), ["A<100", "B<INVITE"]);
    assert_eq!(desk.lines.all.len(), 1);
    desk.pass(seconds(301));
    desk.caller(&again(3));
    assert_eq!(desk.lines.all.len(), 2);
}

#[test]
fn a_trunk_may_be_without_tcp() {
    let (mut snapshot, admission) = compiled("udp", "udp", "");
    snapshot.trunks[1].peer.large_over_tcp = false;
    let mut desk = Desk::of(snapshot, admission);
    let sent = desk.caller(&large());
    assert_eq!(only(&sent, "INVITE").over, None);
}

#[test]
fn an_ack_to_a_2xx_stays_a_datagram_whatever_its_size() {
    let mut desk = desk_on("udp", "udp", "");
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let routes: String = (0..20)
        .map(|n| format!("Record-Route: <sip:127.0.0.3;lr;x={n}{}>\r\n", "x".repeat(60)))
        .collect();
    let sent = desk.callee(&ok(&out).replace("Contact:", &format!("{routes}Contact:")));
    let ack = only(&sent, "ACK");
    assert!(ack.text.len() > 1300, "{}", ack.text.len());
    assert_eq!(ack.over, None);
}
