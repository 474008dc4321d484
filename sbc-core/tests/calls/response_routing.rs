//! Where responses go (RFC 3261 §18.2.2, RFC 3581): to the address the request came from, whatever its Via
//! claims. Correctness 15.

use crate::desk::*;

/// Where the answer to an OPTIONS from 127.0.0.2:40000 goes, and its top Via.
fn answered(sent_by_and_params: &str) -> (String, String) {
    let options = request("OPTIONS", "sip:127.0.0.1", 1, "o", "", "").replace(
        "127.0.0.2:5060;branch=z9hG4bKo",
        &format!("{sent_by_and_params};branch=z9hG4bKo"),
    );
    let sent = Desk::new().deliver("127.0.0.2:40000", &options);
    let reply = only(&sent, "200");
    (reply.to.to_string(), reply.header("Via").to_owned())
}

#[test]
fn without_rport_to_the_port_of_the_via() {
    assert_eq!(answered("127.0.0.2:5099").0, "127.0.0.2:5099");
    assert_eq!(
        answered("127.0.0.2").0,
        "127.0.0.2:5060",
        "the port of UDP when none is given"
    );
}

#[test]
fn with_rport_to_the_port_it_came_from() {
    let (to, via) = answered("127.0.0.2:5099;rport");
    assert_eq!(to, "127.0.0.2:40000");
    assert!(via.contains(";rport=40000"), "{via}");
    assert!(
        via.contains(";received=127.0.0.2"),
        "RFC 3581 §4: always both: {via}"
    );
}

#[test]
fn another_host_in_the_via_is_noted_and_not_believed() {
    let (to, via) = answered("192.0.2.77:5099");
    assert_eq!(to, "127.0.0.2:5099");
    assert!(via.ends_with(";received=127.0.0.2"), "{via}");
    let (to, via) = answered("pbx.example.com");
    assert_eq!(to, "127.0.0.2:5060");
    assert!(via.ends_with(";received=127.0.0.2"), "{via}");
}

#[test]
fn the_true_host_needs_no_note() {
    assert!(!answered("127.0.0.2:5099").1.contains("received"));
}

#[test]
fn what_a_via_says_of_itself_sends_nothing_elsewhere() {
    // maddr would let a peer aim our responses at a third party; received and rport are ours to fill in.
    for params in [
        ";maddr=192.0.2.99",
        ";received=192.0.2.99",
        ";received=192.0.2.99;rport",
    ] {
        let (to, _) = answered(&format!("127.0.0.2:5060{params}"));
        assert!(to.starts_with("127.0.0.2:"), "{params}: {to}");
    }
}

#[test]
fn a_false_received_is_replaced() {
    // §18.2.1: the one who reads `received` must find the address that we saw.
    for params in [
        ";received=192.0.2.99",
        ";Received = 192.0.2.99;x=y",
        ";received=192.0.2.99;rport",
    ] {
        let (_, via) = answered(&format!("192.0.2.77:5060{params}"));
        assert!(
            via.contains(";received=127.0.0.2") && !via.contains("192.0.2.99"),
            "{via}"
        );
        assert_eq!(via.to_lowercase().matches("received").count(), 1, "{via}");
    }
}

#[test]
fn all_vias_come_back_in_order() {
    // §8.2.6.2.
    let options = request("OPTIONS", "sip:127.0.0.1", 1, "o", "", "").replace(
        "Max-Forwards",
        "Via: SIP/2.0/TCP 192.0.2.7;branch=z9hG4bK2;received=192.0.2.8, SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK3\r\nMax-Forwards",
    );
    let sent = Desk::new().caller(&options);
    let reply = only(&sent, "200");
    let vias: Vec<_> = reply
        .text
        .lines()
        .filter(|line| line.starts_with("Via:"))
        .collect();
    assert_eq!(
        vias[1..],
        [
            "Via: SIP/2.0/TCP 192.0.2.7;branch=z9hG4bK2;received=192.0.2.8",
            "Via: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK3"
        ],
        "only the top one is ours to change"
    );
}
