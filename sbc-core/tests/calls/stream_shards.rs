//! Calls whose connection belongs to another shard.

use crate::{desk::*, lines::*};
use bytes::Bytes;
use sbc_core::{
    id::ConnectionId,
    io::Closed,
    shard::{Shard, ShardId},
    transport::Hop,
};
use std::sync::Arc;

/// Two shards, a connection of the caller to the first, and an INVITE on it that belongs to the second.
fn invited() -> ([Desk; 2], ConnectionId, Sent) {
    invited_on(two_desks("tcp", "udp"))
}

fn invited_on(mut desks: [Desk; 2]) -> ([Desk; 2], ConnectionId, Sent) {
    let line = desks[0].accept("127.0.0.2:40000");
    let sent = (0..)
        .find_map(|n| {
            let text = tcp(&invite())
                .replace("caller-call-id", &format!("call-{n}"))
                .replace("inv1", &format!("inv-{n}"));
            desks[0].write(line, text);
            let (hop, payload) = desks[0].handed_over.pop()?;
            assert_eq!(hop.flow.map(|flow| flow.connection), Some(line));
            desks[1].shard.handle_handover(desks[1].now, hop, &payload);
            Some(desks[1].drain())
        })
        .unwrap();
    assert_eq!(kinds(&sent), ["B<INVITE"], "the 100 leaves by the first shard");
    let out = sent[0].clone();
    (desks, line, out)
}

/// The same call when it is answered and acknowledged.
fn answered(desks: &mut [Desk; 2], line: ConnectionId, out: &Sent) -> (String, String) {
    desks[1].callee(&ok(out));
    let sent = pass_back(desks);
    let ok = only(&sent, "200");
    let tag = tag_of(ok.header("To"));
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    let ack =
        tcp(&request("ACK", &contact, 1, "ack1", &tag, "")).replace("caller-call-id", ok.header("Call-ID"));
    desks[0].write(line, ack);
    let (hop, payload) = desks[0]
        .handed_over
        .pop()
        .expect("the tag names the second shard");
    desks[1].shard.handle_handover(desks[1].now, hop, &payload);
    (tag, contact)
}

/// What the first shard gives back to the second.
fn hand_back(desks: &mut [Desk; 2]) -> Vec<Sent> {
    let [first, second] = desks;
    for (hop, payload) in first.handed_over.drain(..) {
        second.shard.handle_handover(second.now, hop, &payload);
    }
    second.drain()
}

/// What the second shard wants to send by the first's connections.
fn pass_back(desks: &mut [Desk; 2]) -> Vec<Sent> {
    let [first, second] = desks;
    for (hop, payload) in second.sent_via.drain(..) {
        assert_eq!(hop.flow.map(|flow| flow.shard), Some(ShardId(0)));
        let shard: &mut Shard = &mut first.shard;
        shard.handle_send(first.now, hop, payload);
    }
    first.drain()
}

#[test]
fn responses_leave_by_the_connection_of_the_other_shard() {
    let (mut desks, line, out) = invited();
    let sent = pass_back(&mut desks);
    assert_eq!(kinds(&sent), ["A<100"]);
    assert_eq!(sent[0].over, Some(line));
    desks[1].callee(&ok(&out));
    let sent = pass_back(&mut desks);
    assert_eq!(kinds(&sent), ["A<200"]);
    assert_eq!(sent[0].over, Some(line));
}

#[test]
fn the_other_shard_opens_a_connection_when_its_own_has_gone() {
    let (mut desks, line, out) = invited();
    pass_back(&mut desks);
    desks[0].end(line, Closed::Reset);
    desks[1].callee(&response(&out, 486, "t", "", ""));
    let sent = pass_back(&mut desks);
    assert_eq!(kinds(&sent), ["A<486"]);
    let again = desks[0].lines.all.last().unwrap();
    assert_eq!(sent[0].over, Some(again.id));
    assert_eq!(
        again.peer,
        "127.0.0.2:5060".parse().unwrap(),
        "the port in its Via"
    );
}

#[test]
fn requests_inside_the_dialog_leave_there_too() {
    let (mut desks, line, out) = invited();
    answered(&mut desks, line, &out);
    desks[1].callee(&callee_request(&out, "BYE", 1, "cb", ""));
    let sent = pass_back(&mut desks);
    assert_eq!(kinds(&sent), ["A<BYE"]);
    assert_eq!(sent[0].over, Some(line));
    assert!(desks[1].shard.counters().streams_sent_via >= 3);
}

#[test]
fn the_owner_hears_at_once_that_a_request_found_no_connection() {
    let (mut desks, line, out) = invited();
    answered(&mut desks, line, &out);
    desks[0].end(line, Closed::Reset);
    desks[0].lines.dial = Dial::Refuse;
    let offer = next_version(ANSWER);
    let sent = desks[1].callee(&callee_request(&out, "INVITE", 1, "re1", &offer));
    assert_eq!(kinds(&sent), ["B<100"]);
    pass_back(&mut desks);
    assert_eq!(desks[0].shard.counters().streams_handed_back, 1);
    let sent = hand_back(&mut desks);
    assert_eq!(kinds(&sent), ["B<500", "B<BYE"], "no 64·T1 later");
    // The BYE to the caller has no connection either.
    pass_back(&mut desks);
    hand_back(&mut desks);
    assert_eq!(desks[0].shard.counters().streams_handed_back, 2);
    desks[1].callee(&response(&sent[1], 200, "", "", ""));
    assert_eq!(desks[1].shard.gauges().calls, 0);
    for desk in &mut desks {
        desk.assert_quiet();
    }
}

#[test]
fn and_that_none_may_be_opened() {
    let (snapshot, admission) = compiled("tcp", "udp", "[streams]\nconnections_max = 1");
    let (snapshot, admission) = (Arc::new(snapshot), Arc::new(admission));
    let desks =
        [0, 1].map(|id| Desk::of_shard(ShardId(id), 2, Arc::clone(&snapshot), Arc::clone(&admission)));
    let (mut desks, line, out) = invited_on(desks);
    answered(&mut desks, line, &out);
    desks[0].end(line, Closed::Reset);
    desks[0].accept("127.0.0.2:40001");
    desks[1].callee(&callee_request(&out, "BYE", 1, "cb", ""));
    pass_back(&mut desks);
    assert_eq!(desks[0].shard.counters().streams_handed_back, 1);
    hand_back(&mut desks);
    assert_eq!(desks[1].shard.gauges().calls, 0);
}

#[test]
fn responses_and_acks_that_found_no_connection_are_only_counted() {
    let (mut desks, line, out) = invited();
    desks[0].end(line, Closed::Reset);
    desks[0].lines.dial = Dial::Refuse;
    desks[1].callee(&response(&out, 486, "t", "", ""));
    pass_back(&mut desks);
    assert!(desks[0].handed_over.is_empty());
    assert!(desks[0].shard.counters().streams_messages_lost > 0);
    assert_eq!(desks[0].shard.counters().streams_handed_back, 0);
}

#[test]
fn what_is_handed_back_wrongly_ends_nothing() {
    let (mut desks, line, out) = invited();
    answered(&mut desks, line, &out);
    let nowhere = |desk: &mut Desk, text: &str| {
        let hop = Hop {
            listener: TCP,
            peer: "127.0.0.2:5060".parse().unwrap(),
            trunk: sbc_core::trunk::TrunkId(0),
            flow: None,
        };
        desk.shard
            .handle_handover(desk.now, hop, &Bytes::from(text.to_owned()));
        kinds(&desk.drain())
    };
    let offer = next_version(ANSWER);
    desks[1].callee(&callee_request(&out, "INVITE", 1, "re1", &offer));
    let sent = pass_back(&mut desks);
    let change = only(&sent, "INVITE").text.clone();
    for wrong in [
        change
            .replacen("INVITE ", "ACK ", 1)
            .replace("CSeq: 1 INVITE", "CSeq: 1 ACK"),
        change
            .replacen("INVITE ", "CANCEL ", 1)
            .replace("CSeq: 1 INVITE", "CSeq: 1 CANCEL"),
        change.replace("branch=z9hG4bK", "branch=z9hG4bKx"),
        out.text.clone(),
        "nonsense".to_owned(),
    ] {
        assert_eq!(nowhere(&mut desks[1], &wrong), Vec::<String>::new());
    }
    assert_eq!(desks[1].shard.gauges().calls, 1);
    assert_eq!(nowhere(&mut desks[1], &change), ["B<500", "B<BYE"]);
}
