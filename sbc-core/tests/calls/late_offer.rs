//! INVITE without SDP: the offer comes in the 200, the answer in the ACK (correctness 27).

use crate::desk::*;

#[test]
fn the_answer_in_the_ack_acknowledges_the_callee() {
    let mut desk = Desk::new();
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let out = only(&sent, "INVITE").clone();
    assert_eq!(out.body(), "");
    let sent = desk.callee(&ok(&out));
    assert_eq!(
        kinds(&sent),
        ["A<200"],
        "the callee's ACK waits for the caller's answer"
    );
    let offer = only(&sent, "200").clone();
    assert!(offer.media_port() > 0);
    assert!(
        desk.callee(&ok(&out)).is_empty(),
        "nothing to say to a repetition yet"
    );
    let tag = tag_of(offer.header("To"));
    let sent = desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack1", &tag, OFFER));
    let ack = only(&sent, "ACK").clone();
    assert!(ack.media_port() > 0);
    assert_eq!(
        desk.callee(&ok(&out))[0].text,
        ack.text,
        "the same ACK again, with its answer"
    );
    let sent = desk.caller(&request("BYE", "sip:x@127.0.0.1", 2, "bye", &tag, ""));
    let bye = only(&sent, "BYE").clone();
    desk.callee(&response(&bye, 200, "", "", ""));
    desk.assert_quiet();
}

#[test]
fn an_ack_without_the_answer_ends_the_call() {
    let mut desk = Desk::new();
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out));
    let tag = tag_of(only(&sent, "200").header("To"));
    let sent = desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack1", &tag, ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<BYE", "B<BYE"]);
    desk.assert_quiet();
}

#[test]
fn a_caller_that_never_acknowledges_leaves_nobody_waiting() {
    let mut desk = Desk::new();
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let out = only(&sent, "INVITE").clone();
    desk.callee(&ok(&out));
    let sent = desk.pass(seconds(33));
    let to_b: Vec<_> = kinds(&sent).into_iter().filter(|k| k.starts_with("B<")).collect();
    assert_eq!(to_b[..2], ["B<ACK", "B<BYE"], "§15: ACK before BYE");
    desk.assert_quiet();
}

#[test]
fn a_call_without_any_description_takes_no_ports() {
    let mut desk = Desk::new();
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", ""));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 200, "calleetag", "sip:bob@127.0.0.3:5060", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    let tag = tag_of(only(&sent, "200").header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack1", &tag, ""));
    assert_eq!(desk.shard.gauges().media_pairs, 0);
    // A re-INVITE may still bring media.
    let sent = desk.caller(&request("INVITE", "sip:x@127.0.0.1", 2, "re", &tag, OFFER));
    let re = only(&sent, "INVITE").clone();
    assert!(re.media_port() > 0);
    let sent = desk.callee(&response(&re, 200, "", "sip:bob@127.0.0.3:5060", ANSWER));
    assert!(only(&sent, "200").media_port() > 0);
    assert_eq!(desk.shard.gauges().media_pairs, 2);
}

#[test]
fn a_late_offer_without_a_free_port_ends_the_call() {
    let mut desk = Desk::new();
    for n in 1..=8 {
        let invite = invite()
            .replace("caller-call-id", &format!("c{n}"))
            .replace("inv1", &format!("i{n}"));
        desk.caller(&invite); // 16 pairs: 8 calls
    }
    let sent = desk.caller(&request("INVITE", "sip:1000@127.0.0.1", 1, "late", "", ""));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "A<502", "B<BYE"]);
    assert_eq!(desk.shard.counters().refused_no_media_port, 1);
}
