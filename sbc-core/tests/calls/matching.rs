//! Which transaction a request belongs to (RFC 3261 §17.2.3): branch, sent-by and method. Correctness 5.

use crate::desk::*;

fn other_call(text: &str) -> String {
    text.replace("caller-call-id", "another-call")
        .replace("callertag", "anothertag")
}

#[test]
fn the_same_branch_of_another_sender_is_another_transaction() {
    let mut desk = Desk::new();
    desk.caller(&invite());
    let other = other_call(&invite()).replace("UDP 127.0.0.2:5060;", "UDP 127.0.0.2:5061;");
    assert_eq!(kinds(&desk.deliver("127.0.0.2:5061", &other))[1..], ["B<INVITE"]);
    assert_eq!(desk.shard.gauges().calls, 2);
    // A CANCEL finds the one that its sender sent.
    let sent = desk.deliver(
        "127.0.0.2:5061",
        &other_call(&cancel()).replace("UDP 127.0.0.2:5060;", "UDP 127.0.0.2:5061;"),
    );
    assert_eq!(sent.len(), 2);
    assert!(
        sent.iter().all(|s| s.to == "127.0.0.2:5061".parse().unwrap()),
        "the first caller hears nothing"
    );
}

#[test]
fn a_cancel_with_another_branch_finds_nothing() {
    // §9.2.
    let mut desk = Desk::new();
    desk.caller(&invite());
    assert_eq!(
        kinds(&desk.caller(&cancel().replace("z9hG4bKinv1", "z9hG4bKinv2"))),
        ["A<481"]
    );
}

#[test]
fn an_ack_to_a_refusal_ends_nothing_but_its_transaction() {
    // §17.1.1.3: the ACK has the INVITE's branch, the method is another.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 486, "calleetag", "", ""));
    let tag = tag_of(only(&sent, "486").header("To"));
    assert!(
        desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv1", &tag, ""))
            .is_empty()
    );
    assert!(
        desk.pass(seconds(4)).is_empty(),
        "it stops the repetition of the refusal"
    );
    assert_eq!(desk.shard.counters().stray_acks, 0);
}

#[test]
fn the_same_branch_with_another_method_is_another_transaction() {
    let mut desk = Desk::new();
    desk.caller(&invite());
    let options =
        request("OPTIONS", "sip:127.0.0.1", 1, "inv1", "", "").replace("caller-call-id", "options-call");
    assert_eq!(kinds(&desk.caller(&options)), ["A<200"]);
}

#[test]
fn a_response_whose_cseq_is_of_another_method_is_not_ours() {
    // §17.1.3.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let odd = ok(&out).replace("CSeq: 1 INVITE", "CSeq: 1 BYE");
    assert!(desk.callee(&odd).is_empty());
    assert_eq!(desk.shard.counters().stray_responses, 1);
}
