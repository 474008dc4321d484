//! 100 Trying (RFC 3261 §8.2.6.1, §17.2.1). Correctness 9.

use crate::desk::*;

#[test]
fn an_invite_is_answered_100_before_anything_else() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    assert_eq!(kinds(&sent)[0], "A<100");
    assert!(!sent[0].header("To").contains("tag="), "a 100 founds no dialog");
}

#[test]
fn the_callees_100_stays_where_it_is() {
    // §16.7: 100 is hop by hop.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let trying = response(only(&sent, "INVITE"), 100, "", "", "");
    assert!(desk.callee(&trying).is_empty());
    assert!(
        desk.pass(seconds(20)).is_empty(),
        "and it stops the repetition of our INVITE"
    );
}

#[test]
fn a_timestamp_comes_back() {
    // §8.2.6.1.
    let stamped = invite().replace("Max-Forwards: 70", "Max-Forwards: 70\r\nTimestamp: 54.21");
    let sent = Desk::new().caller(&stamped);
    assert_eq!(only(&sent, "100").header("Timestamp"), "54.21");
    assert!(!only(&sent, "INVITE").has("Timestamp"), "it measures one hop");
}

#[test]
fn other_requests_get_no_100() {
    // RFC 4320 §4.1.
    let mut desk = Desk::new();
    assert_eq!(
        kinds(&desk.caller(&request("OPTIONS", "sip:127.0.0.1", 1, "o", "", ""))),
        ["A<200"]
    );
}
