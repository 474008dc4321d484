//! NOTIFY and SUBSCRIBE of a REFER (RFC 3515 §2.4): the transferee's reports reach the referrer.

use crate::desk::*;

fn refer(up: &Up, cseq: u32) -> String {
    request("REFER", &up.contact, cseq, &format!("r{cseq}"), &up.tag, "").replace(
        "Content-Length",
        "Refer-To: <sip:2000@127.0.0.2>\r\nContent-Length",
    )
}

fn notify(up: &Up, cseq: u32, event: &str, state: &str, frag: &str) -> String {
    callee_request(&up.invite, "NOTIFY", cseq, &format!("n{cseq}"), frag)
        .replace("application/sdp", "message/sipfrag")
        .replace(
            "Content-Length",
            &format!("Event: {event}\r\nSubscription-State: {state}\r\nContent-Length"),
        )
}

/// A call in which the caller's REFER with CSeq 2 was accepted; our REFER to the callee.
fn referred(desk: &mut Desk) -> (Up, Sent) {
    let up = establish(desk);
    let sent = desk.caller(&refer(&up, 2));
    let out = only(&sent, "REFER").clone();
    desk.callee(&response(&out, 202, "", "sip:bob@127.0.0.3", ""));
    (up, out)
}

fn over(desk: &mut Desk, up: &Up) {
    desk.caller(&request("BYE", &up.contact, 90, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn reports_reach_the_referrer_as_a_status_line_only() {
    let mut desk = Desk::new();
    let (up, _) = referred(&mut desk);
    let frag = "SIP/2.0 180 Ringing at home\r\nContact: <sip:c@127.0.0.3>\r\nServer: secret\r\n\r\n";
    let sent = desk.callee(&notify(&up, 5, "refer", "active;expires=60;x=127.0.0.3", frag));
    assert_eq!(kinds(&sent), ["A<NOTIFY"]);
    let out = sent[0].clone();
    assert_eq!(out.header("Event"), "refer");
    assert_eq!(out.header("Subscription-State"), "active;expires=60");
    assert_eq!(out.header("Content-Type"), "message/sipfrag;version=2.0");
    assert_eq!(out.body(), "SIP/2.0 180 Ringing\r\n");
    assert!(out.has("Contact"));
    assert!(!out.text.contains("127.0.0.3"), "{}", out.text);
    assert_eq!(kinds(&desk.caller(&response(&out, 200, "", "", ""))), ["B<200"]);
    let sent = desk.callee(&notify(
        &up,
        6,
        "refer",
        "terminated;reason=noresource",
        "SIP/2.0 200 OK\r\n",
    ));
    assert_eq!(
        sent[0].header("Subscription-State"),
        "terminated;reason=noresource"
    );
    desk.caller(&response(&sent[0], 200, "", "", ""));
    // It is over: nothing more belongs to it.
    let sent = desk.callee(&notify(&up, 7, "refer", "active", "SIP/2.0 100 Trying\r\n"));
    assert_eq!(kinds(&sent), ["B<481"]);
    over(&mut desk, &up);
}

#[test]
fn two_refers_are_told_apart_by_id() {
    let mut desk = Desk::new();
    let (up, first) = referred(&mut desk);
    let sent = desk.caller(&refer(&up, 7));
    let second = only(&sent, "REFER").clone();
    let number = |refer: &Sent| refer.header("CSeq").split(' ').next().unwrap().to_owned();
    for (cseq, refer, id) in [(5, &second, "refer;id=7"), (6, &first, "refer;id=2")] {
        let event = format!("refer;id={}", number(refer));
        let sent = desk.callee(&notify(&up, cseq, &event, "active", "SIP/2.0 100 Trying\r\n"));
        assert_eq!(sent[0].header("Event"), id);
        desk.caller(&response(&sent[0], 200, "", "", ""));
    }
    let sent = desk.callee(&notify(&up, 8, "refer;id=4711", "active", ""));
    assert_eq!(kinds(&sent), ["B<481"]);
    over(&mut desk, &up);
}

#[test]
fn reports_that_belong_to_nothing_or_say_nothing_are_refused() {
    let mut desk = Desk::new();
    let (up, _) = referred(&mut desk);
    let sent = desk.callee(&notify(&up, 5, "dialog", "active", ""));
    assert_eq!(kinds(&sent), ["B<489"]);
    assert_eq!(sent[0].header("Allow-Events"), "refer");
    assert_eq!(
        kinds(&desk.callee(&notify(&up, 6, "refer", "undead", ""))),
        ["B<400"]
    );
    let sent = desk.callee(&notify(&up, 7, "refer", "active", "it rings"));
    assert_eq!(kinds(&sent), ["B<400"]);
    // The referrer is nobody's transferee.
    let own = request("NOTIFY", &up.contact, 8, "own", &up.tag, "").replace(
        "Content-Length",
        "Event: refer\r\nSubscription-State: active\r\nContent-Length",
    );
    assert_eq!(kinds(&desk.caller(&own)), ["A<481"]);
    let outside = request("NOTIFY", "sip:1000@127.0.0.1", 1, "out", "", "");
    assert_eq!(kinds(&desk.caller(&outside)), ["A<481"]);
    over(&mut desk, &up);
}

#[test]
fn the_referrer_can_prolong_or_end_its_subscription() {
    let mut desk = Desk::new();
    let (up, out) = referred(&mut desk);
    let passed = out.header("CSeq").split(' ').next().unwrap().to_owned();
    let subscribe = |cseq: u32, event: &str| {
        request("SUBSCRIBE", &up.contact, cseq, &format!("s{cseq}"), &up.tag, "").replace(
            "Content-Length",
            &format!("Event: {event}\r\nExpires: 0\r\nContent-Length"),
        )
    };
    let sent = desk.caller(&subscribe(3, "refer;id=2"));
    assert_eq!(kinds(&sent), ["B<SUBSCRIBE"]);
    assert_eq!(sent[0].header("Event"), format!("refer;id={passed}"));
    assert_eq!(sent[0].header("Expires"), "0");
    let ok = response(&sent[0], 200, "", "sip:bob@127.0.0.3", "")
        .replace("Content-Length", "Expires: 0\r\nContent-Length");
    let sent = desk.callee(&ok);
    assert_eq!(kinds(&sent), ["A<200"]);
    assert_eq!(sent[0].header("Expires"), "0");
    assert!(!sent[0].text.contains("127.0.0.3"));
    assert_eq!(kinds(&desk.caller(&subscribe(4, "refer;id=99"))), ["A<403"]);
    assert_eq!(kinds(&desk.caller(&subscribe(5, "presence"))), ["A<489"]);
    let outside = request("SUBSCRIBE", "sip:1000@127.0.0.1", 1, "out", "", "");
    assert_eq!(kinds(&desk.caller(&outside)), ["A<489"]);
    over(&mut desk, &up);
}
