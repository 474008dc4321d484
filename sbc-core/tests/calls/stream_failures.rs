//! Connections that cannot be opened, or break: calls go on, and nobody waits for what cannot come.

use crate::{desk::*, lines::*, stream_calls::establish_tcp};
use sbc_core::{io::Closed, trunk::TrunkId};

#[test]
fn a_refused_connection_fails_the_call_at_once() {
    let mut desk = desk_on("tcp", "tcp", "");
    desk.lines.dial = Dial::Refuse;
    let caller = desk.accept("127.0.0.2:40000");
    let sent = desk.write(caller, tcp(&invite()));
    assert_eq!(kinds(&sent), ["A<100", "A<500"]);
    let attempt = &desk.lines.all[1];
    assert_eq!(
        (attempt.listener, attempt.peer, attempt.trunk),
        (TCP, "127.0.0.3:5060".parse().unwrap(), Some(TrunkId(1)))
    );
    desk.pass(seconds(700));
    desk.assert_quiet();
}

#[test]
fn a_connection_that_does_not_open_in_time_fails_the_call() {
    let mut desk = desk_on("tcp", "tcp", "");
    desk.lines.dial = Dial::Wait;
    let caller = desk.accept("127.0.0.2:40000");
    assert_eq!(kinds(&desk.write(caller, tcp(&invite()))), ["A<100"]);
    assert!(desk.pass(seconds(4)).is_empty());
    assert_eq!(kinds(&desk.pass(seconds(2))), ["A<500"]);
    assert_eq!(desk.lines.all[1].closed, Some(true));
    assert_eq!(desk.shard.counters().streams_connect_timeouts, 1);
}

#[test]
fn messages_wait_for_the_connection_to_open() {
    let mut desk = desk_on("tcp", "tcp", "");
    desk.lines.dial = Dial::Wait;
    let caller = desk.accept("127.0.0.2:40000");
    desk.write(caller, tcp(&invite()));
    desk.write(
        caller,
        tcp(&invite()
            .replace("inv1", "inv2")
            .replace("caller-call-id", "second")),
    );
    let callee = desk.lines.all[1].id;
    assert_eq!(desk.lines.all.len(), 2, "one connection for both");
    assert_eq!(kinds(&desk.open(callee)), ["B<INVITE", "B<INVITE"]);
}

#[test]
fn a_call_outlives_its_connections() {
    let mut desk = desk_on("tcp", "tcp", "");
    let call = establish_tcp(&mut desk, usize::MAX);
    assert!(desk.end(call.caller, Closed::Reset).is_empty());
    assert!(desk.end(call.callee, Closed::End).is_empty());
    // The callee hangs up over a connection of its own.
    let other = desk.accept("127.0.0.3:41000");
    let sent = desk.write(other, tcp(&callee_request(&call.up.invite, "BYE", 1, "cb", "")));
    assert_eq!(kinds(&sent), ["B<200", "A<BYE"]);
    assert_eq!(sent[0].over, Some(other));
    let again = desk.lines.all.last().unwrap();
    assert_eq!(sent[1].over, Some(again.id));
    assert_eq!(
        again.peer,
        "127.0.0.2:5060".parse().unwrap(),
        "where its Contact says"
    );
    let again = again.id;
    desk.write(again, response(&sent[1], 200, "", "", ""));
    assert_eq!(desk.records[0].cause, "callee_hung_up");
    desk.pass(seconds(700));
    desk.assert_quiet();
}

#[test]
fn a_request_sent_again_over_a_new_connection_gets_the_same_answer() {
    let mut desk = desk_on("tcp", "tcp", "");
    let call = establish_tcp(&mut desk, usize::MAX);
    let info = request("INFO", &call.up.contact, 2, "i1", &call.up.tag, "Signal=1\r\n");
    let info = tcp(&info.replace("application/sdp", "application/dtmf-relay"));
    let sent = desk.write(call.caller, info.clone());
    desk.write(call.callee, response(only(&sent, "INFO"), 200, "", "", ""));
    let bye = tcp(&request("BYE", &call.up.contact, 3, "bye", &call.up.tag, ""));
    assert_eq!(kinds(&desk.write(call.caller, bye.clone())), ["A<200", "B<BYE"]);
    desk.end(call.caller, Closed::Reset);
    let again = desk.accept("127.0.0.2:41000");
    for (request, cseq) in [(info, "2 INFO"), (bye, "3 BYE")] {
        let sent = desk.write(again, request);
        assert_eq!(kinds(&sent), ["A<200"]);
        assert_eq!((sent[0].over, sent[0].header("CSeq")), (Some(again), cseq));
    }
}

#[test]
fn the_way_back_is_the_connection_that_the_peer_used_last() {
    let mut desk = desk_on("tcp", "tcp", "");
    let call = establish_tcp(&mut desk, usize::MAX);
    let other = desk.accept("127.0.0.2:40001");
    let info = tcp(&request("INFO", &call.up.contact, 2, "info1", &call.up.tag, ""));
    desk.write(other, info);
    let sent = desk.write(
        call.callee,
        tcp(&callee_request(&call.up.invite, "BYE", 1, "cb", "")),
    );
    assert_eq!(only(&sent, "BYE").over, Some(other));
}

#[test]
fn a_request_without_response_fails_with_its_connection() {
    let mut desk = desk_on("tcp", "tcp", "");
    let caller = desk.accept("127.0.0.2:40000");
    let sent = desk.write(caller, tcp(&invite()));
    let callee = only(&sent, "INVITE").over.unwrap();
    assert_eq!(kinds(&desk.end(callee, Closed::Reset)), ["A<500"]);
}

#[test]
fn a_callee_that_rings_may_answer_over_a_new_connection() {
    let mut desk = desk_on("tcp", "tcp", "");
    let caller = desk.accept("127.0.0.2:40000");
    let sent = desk.write(caller, tcp(&invite()));
    let out = only(&sent, "INVITE").clone();
    let ringing = response(&out, 180, "calleetag", "sip:bob@127.0.0.3:5060;transport=tcp", "");
    desk.write(out.over.unwrap(), ringing);
    assert!(
        desk.end(out.over.unwrap(), Closed::Reset).is_empty(),
        "it still rings"
    );
    let other = desk.accept("127.0.0.3:41000");
    let sent = desk.write(other, tcp(&ok(&out)));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert_eq!(sent[0].over, Some(other));
}

#[test]
fn responses_find_a_caller_whose_connection_broke() {
    let mut desk = desk_on("tcp", "udp", "");
    let caller = desk.accept("127.0.0.2:40000");
    let sent = desk.write(caller, tcp(&invite()));
    let out = only(&sent, "INVITE").clone();
    desk.end(caller, Closed::Reset);
    let sent = desk.callee(&response(&out, 486, "t", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<486"]);
    // §18.2.2: a new connection to the address that it came from and the port in its Via.
    let line = desk.lines.all.last().unwrap();
    assert_eq!(line.peer, "127.0.0.2:5060".parse().unwrap());
    assert_eq!(sent[1].over, Some(line.id));
}

#[test]
fn a_final_response_that_may_be_lost_is_sent_once_more() {
    let mut desk = desk_on("tcp", "udp", "");
    let caller = desk.accept("127.0.0.2:40000");
    let sent = desk.write(caller, tcp(&invite()));
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 486, "t", "", ""));
    let sent = desk.end(caller, Closed::Reset);
    assert_eq!(kinds(&sent), ["A<486"]);
    let second = sent[0].over.unwrap();
    assert!(desk.end(second, Closed::Reset).is_empty(), "once");
    desk.pass(seconds(700));
    desk.assert_quiet();
}

#[test]
fn nothing_but_a_success_is_repeated() {
    let mut desk = desk_on("tcp", "tcp", "");
    let caller = desk.accept("127.0.0.2:40000");
    let sent = desk.write(caller, tcp(&invite()));
    let out = only(&sent, "INVITE").clone();
    assert!(desk.pass(seconds(10)).is_empty(), "no INVITE again");
    desk.write(out.over.unwrap(), tcp(&ok(&out)));
    let repeated = desk.pass(seconds(2));
    assert!(!repeated.is_empty());
    assert!(
        repeated
            .iter()
            .all(|sent| sent.kind() == "200" && sent.over == Some(caller)),
        "§13.3.1.4: the 2xx, over TCP too: {:?}",
        kinds(&repeated)
    );
}
