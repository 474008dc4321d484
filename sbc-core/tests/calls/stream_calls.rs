//! Calls over TCP: on both sides, on one, and cut anywhere.

use crate::{desk::*, lines::*};
use sbc_core::id::ConnectionId;

/// A call over TCP on both sides as it stands after the caller's ACK.
pub(crate) struct Lined {
    pub(crate) caller: ConnectionId,
    pub(crate) callee: ConnectionId,
    pub(crate) up: Up,
}

/// Set up a call; `cut`: every message arrives in pieces of so many bytes.
pub(crate) fn establish_tcp(desk: &mut Desk, cut: usize) -> Lined {
    let caller = desk.accept("127.0.0.2:40000");
    let sent = in_pieces(desk, caller, &tcp(&invite()), cut);
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    let out = only(&sent, "INVITE").clone();
    let callee = out.over.expect("a connection to the callee");
    assert_eq!(sent[0].over, Some(caller));
    let ringing = response(&out, 180, "calleetag", "sip:bob@127.0.0.3:5060;transport=tcp", "");
    assert_eq!(kinds(&in_pieces(desk, callee, &ringing, cut)), ["A<180"]);
    let sent = in_pieces(desk, callee, &tcp(&ok(&out)), cut);
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    assert_eq!(
        (sent[0].over, sent[1].over),
        (Some(callee), Some(caller)),
        "the same connections"
    );
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    let ack = tcp(&request("ACK", &contact, 1, "ack1", &tag, ""));
    assert!(in_pieces(desk, caller, &ack, cut).is_empty());
    Lined {
        caller,
        callee,
        up: Up {
            invite: out,
            ok,
            tag,
            contact,
        },
    }
}

fn in_pieces(desk: &mut Desk, line: ConnectionId, text: &str, cut: usize) -> Vec<Sent> {
    text.as_bytes()
        .chunks(cut)
        .flat_map(|piece| desk.write(line, piece))
        .collect()
}

#[test]
fn a_call_over_tcp_on_both_sides() {
    let mut desk = desk_on("tcp", "tcp", "");
    let call = establish_tcp(&mut desk, usize::MAX);
    let bye = tcp(&request("BYE", &call.up.contact, 2, "bye1", &call.up.tag, ""));
    let sent = desk.write(call.caller, bye);
    assert_eq!(kinds(&sent), ["A<200", "B<BYE"]);
    let bye = only(&sent, "BYE");
    assert_eq!(bye.over, Some(call.callee));
    assert!(desk.write(call.callee, response(bye, 200, "", "", "")).is_empty());
    assert_eq!(desk.records[0].cause, "caller_hung_up");
    assert_eq!(desk.lines.all.len(), 2, "one connection per side");
    desk.pass(seconds(700));
    desk.assert_quiet();
}

#[test]
fn via_and_contact_say_tcp() {
    let mut desk = desk_on("tcp", "tcp", "");
    let call = establish_tcp(&mut desk, usize::MAX);
    let via = call.up.invite.header("Via");
    assert!(via.starts_with("SIP/2.0/TCP 127.0.0.1:5060;branch="), "{via}");
    assert!(
        call.up
            .invite
            .header("Contact")
            .ends_with("@127.0.0.1:5060;transport=tcp>")
    );
    assert!(call.up.contact.ends_with("@127.0.0.1:5060;transport=tcp"));
}

#[test]
fn messages_cut_anywhere_make_the_same_call() {
    for cut in [1, 2, 3, 7, 100, 333] {
        let mut desk = desk_on("tcp", "tcp", "");
        establish_tcp(&mut desk, cut);
        assert_eq!(desk.shard.counters().calls_answered, 1);
        assert_eq!(desk.shard.counters().sip_malformed, 0);
    }
}

#[test]
fn several_messages_in_one_piece_are_several_messages() {
    let mut desk = desk_on("tcp", "tcp", "");
    let caller = desk.accept("127.0.0.2:40000");
    let options = |n: u32| {
        tcp(&request("OPTIONS", "sip:127.0.0.1", n, &format!("o{n}"), "", ""))
            .replace("caller-call-id", &format!("options-{n}"))
    };
    let sent = desk.write(
        caller,
        format!("\r\n{}{}\r\n{}", options(1), options(2), options(3)),
    );
    assert_eq!(kinds(&sent), ["A<200", "A<200", "A<200"]);
}
