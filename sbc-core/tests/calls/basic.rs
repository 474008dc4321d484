//! The plain call, and what it leaves behind: nothing.

use crate::desk::*;

#[test]
fn a_call_is_set_up_and_torn_down_by_the_caller() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&request("BYE", &up.contact, 2, "bye1", &up.tag, ""));
    assert_eq!(kinds(&sent), ["A<200", "B<BYE"]);
    let bye = only(&sent, "BYE");
    assert_eq!(bye.start(), "BYE sip:bob@127.0.0.3:5060 SIP/2.0");
    assert_eq!(bye.header("CSeq"), "2 BYE");
    assert_eq!(
        bye.header("To"),
        format!("{};tag=calleetag", up.invite.header("To"))
    );
    let sent = desk.callee(&response(bye, 200, "", "", ""));
    assert!(sent.is_empty());
    assert_eq!(desk.records.len(), 1);
    assert_eq!(desk.records[0].cause, "caller_hung_up");
    assert_eq!(desk.records[0].status, 200);
    desk.assert_quiet();
}

#[test]
fn the_callee_hangs_up() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.callee(&callee_request(&up.invite, "BYE", 1, "cb", ""));
    assert_eq!(kinds(&sent), ["B<200", "A<BYE"]);
    let bye = only(&sent, "BYE");
    assert_eq!(bye.start(), "BYE sip:alice@127.0.0.2:5060 SIP/2.0");
    assert_eq!(
        bye.header("To"),
        "\"Alice\" <sip:4930123@127.0.0.2>;tag=callertag"
    );
    desk.caller(&response(bye, 200, "", "", ""));
    assert_eq!(desk.records[0].cause, "callee_hung_up");
    desk.assert_quiet();
}

#[test]
fn both_legs_are_anchored_on_our_media_ports() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    assert!(
        up.invite.body().contains("c=IN IP4 127.0.0.1\r\n"),
        "{}",
        up.invite.body()
    );
    assert!(up.ok.body().contains("c=IN IP4 127.0.0.1\r\n"));
    assert_ne!(up.invite.media_port(), up.ok.media_port());
    assert_eq!(up.invite.media_port() % 2, 0);
}

#[test]
fn the_legs_share_no_identifier() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let text = &up.invite.text;
    for secret in [
        "callertag",
        "caller-call-id",
        "z9hG4bKinv1",
        "Alice",
        "alice",
        "127.0.0.2",
        "o=caller",
    ] {
        assert!(!text.contains(secret), "{secret} leaked:\n{text}");
    }
    assert!(
        text.contains("sip:1000@127.0.0.3") && text.contains("sip:4930123@127.0.0.1"),
        "numbers pass:\n{text}"
    );
    assert_ne!(tag_of(up.invite.header("From")), up.tag);
}

#[test]
fn max_forwards_is_carried_and_decremented() {
    // Correctness 7.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite().replace("Max-Forwards: 70", "Max-Forwards: 12"));
    assert_eq!(only(&sent, "INVITE").header("Max-Forwards"), "11");
}

#[test]
fn repeated_invite_repeats_the_last_response_and_costs_nothing() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    assert_eq!(kinds(&desk.caller(&invite())), ["A<100"]);
    desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3", ""));
    assert_eq!(kinds(&desk.caller(&invite())), ["A<180"]);
    assert_eq!(desk.shard.counters().calls_attempted, 1);
    assert_eq!(desk.shard.counters().retransmissions_received, 2);
}

#[test]
fn options_is_answered() {
    let mut desk = Desk::new();
    let options = request("OPTIONS", "sip:127.0.0.1", 1, "opt", "", "");
    let sent = desk.caller(&options);
    assert_eq!(kinds(&sent), ["A<200"]);
    assert!(sent[0].header("Allow").contains("INVITE"));
    let again = desk.caller(&options);
    assert_eq!(
        again[0].text, sent[0].text,
        "a repetition gets the same answer, tag included"
    );
    desk.assert_quiet();
}

#[test]
fn unknown_sources_are_dropped_before_parsing() {
    let mut desk = Desk::new();
    assert!(desk.deliver("127.0.0.9:5060", &invite()).is_empty());
    assert_eq!(desk.shard.counters().sip_unknown_source, 1);
}
