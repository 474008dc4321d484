//! Calls whose connection belongs to another shard.

use crate::{desk::*, lines::*};
use sbc_core::{
    id::ConnectionId,
    io::Closed,
    shard::{Shard, ShardId},
};

/// Two shards, a connection of the caller to the first, and an INVITE on it that belongs to the second.
fn invited() -> ([Desk; 2], ConnectionId, Sent) {
    let mut desks = two_desks("tcp", "udp");
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
    desks[1].callee(&ok(&out));
    let ok = pass_back(&mut desks)
        .into_iter()
        .find(|sent| sent.kind() == "200")
        .unwrap();
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
    desks[1].callee(&callee_request(&out, "BYE", 1, "cb", ""));
    let sent = pass_back(&mut desks);
    assert_eq!(kinds(&sent), ["A<BYE"]);
    assert_eq!(sent[0].over, Some(line));
    assert!(desks[1].shard.counters().streams_sent_via >= 3);
}
