//! Route sets and remote targets (RFC 3261 §12): frozen with the dialog, and only a target refresh that
//! succeeds moves the target. Correctness 18 and 19.

use crate::desk::*;

const ROUTES: &str = "Record-Route: <sip:127.0.0.21;lr>, <sip:127.0.0.22:5070;lr>\r\nContact:";

fn bye_to_caller(desk: &mut Desk, invite: &Sent) -> Sent {
    let sent = desk.callee(&callee_request(invite, "BYE", 90, "lastbye", ""));
    only(&sent, "BYE").clone()
}

/// A call whose caller came through two proxies.
fn routed(routes: &str) -> (Desk, Sent) {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite().replace("Contact:", routes));
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out));
    let tag = tag_of(only(&sent, "200").header("To"));
    desk.caller(&request("ACK", "sip:x@127.0.0.1", 1, "ack", &tag, ""));
    (desk, out)
}

#[test]
fn the_callers_proxies_are_followed_in_their_order() {
    // §12.1.1: the UAS keeps the order, where the UAC reverses it.
    let (mut desk, out) = routed(ROUTES);
    let bye = bye_to_caller(&mut desk, &out);
    assert_eq!(bye.to, "127.0.0.21:5060".parse().unwrap());
    assert_eq!(bye.start(), "BYE sip:alice@127.0.0.2:5060 SIP/2.0");
    let routes: Vec<_> = bye
        .text
        .lines()
        .filter(|line| line.starts_with("Route:"))
        .collect();
    assert_eq!(
        routes,
        ["Route: <sip:127.0.0.21;lr>", "Route: <sip:127.0.0.22:5070;lr>"]
    );
}

#[test]
fn a_strict_proxy_of_the_caller_gets_its_own_uri() {
    // §12.2.1.1.
    let (mut desk, out) = routed("Record-Route: <sip:127.0.0.21>, <sip:127.0.0.22;lr>\r\nContact:");
    let bye = bye_to_caller(&mut desk, &out);
    assert_eq!(bye.to, "127.0.0.21:5060".parse().unwrap());
    assert_eq!(bye.start(), "BYE sip:127.0.0.21 SIP/2.0");
    let routes: Vec<_> = bye
        .text
        .lines()
        .filter(|line| line.starts_with("Route:"))
        .collect();
    assert_eq!(
        routes,
        ["Route: <sip:127.0.0.22;lr>", "Route: <sip:alice@127.0.0.2:5060>"]
    );
}

#[test]
fn responses_carry_the_record_routes_back() {
    // §12.1.1.
    let mut desk = Desk::new();
    let sent = desk.caller(&invite().replace("Contact:", ROUTES));
    let sent = desk.callee(&ok(only(&sent, "INVITE")));
    assert_eq!(
        only(&sent, "200").header("Record-Route"),
        "<sip:127.0.0.21;lr>, <sip:127.0.0.22:5070;lr>"
    );
}

#[test]
fn the_other_side_never_sees_them() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite().replace("Contact:", ROUTES));
    let out = only(&sent, "INVITE");
    assert!(!out.has("Record-Route") && !out.has("Route"), "{}", out.text);
}

#[test]
fn a_reinvite_moves_the_target_and_not_the_route_set() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let moved = request("INVITE", &up.contact, 2, "re", &up.tag, &next_version(OFFER))
        .replace("alice@127.0.0.2:5060", "alice@127.0.0.2:5071")
        .replace("Contact:", ROUTES);
    let sent = desk.caller(&moved);
    let re = only(&sent, "INVITE").clone();
    let answer = response(&re, 200, "", "sip:bob@127.0.0.3:5072", ANSWER).replace("Contact:", ROUTES);
    let sent = desk.callee(&answer);
    let ack = only(&sent, "ACK");
    assert_eq!(ack.start(), "ACK sip:bob@127.0.0.3:5072 SIP/2.0");
    assert!(!ack.has("Route"));
    desk.caller(&request("ACK", &up.contact, 2, "ack2", &up.tag, ""));
    let bye = bye_to_caller(&mut desk, &up.invite);
    assert_eq!(bye.start(), "BYE sip:alice@127.0.0.2:5071 SIP/2.0");
    assert!(!bye.has("Route"), "{}", bye.text);
}

#[test]
fn a_refused_reinvite_moves_nothing() {
    // Correctness 22; RFC 6141 §4.6.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let moved = request("INVITE", &up.contact, 2, "re", &up.tag, &next_version(OFFER))
        .replace("alice@127.0.0.2:5060", "alice@127.0.0.2:5071");
    let sent = desk.caller(&moved);
    let re = only(&sent, "INVITE").clone();
    desk.callee(&response(&re, 488, "", "sip:bob@127.0.0.3:5072", ""));
    desk.caller(&request("ACK", &up.contact, 2, "re", &up.tag, ""));
    let bye = bye_to_caller(&mut desk, &up.invite);
    assert_eq!(bye.start(), "BYE sip:alice@127.0.0.2:5060 SIP/2.0");
}

#[test]
fn a_refresh_that_stays_here_moves_the_target() {
    // RFC 3264 §8: the same version is the same session, so the other side is not asked. §12.2: it still is a
    // target refresh.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let moved = request("INVITE", &up.contact, 2, "re", &up.tag, OFFER)
        .replace("alice@127.0.0.2:5060", "alice@127.0.0.2:5071");
    assert_eq!(kinds(&desk.caller(&moved)), ["A<100", "A<200"]);
    desk.caller(&request("ACK", &up.contact, 2, "ack2", &up.tag, ""));
    let bye = bye_to_caller(&mut desk, &up.invite);
    assert_eq!(bye.start(), "BYE sip:alice@127.0.0.2:5071 SIP/2.0");
}

#[test]
fn requests_that_refresh_no_target_move_nothing() {
    // §12.2.2: neither INFO nor the ACK.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let info = request("INFO", &up.contact, 2, "info", &up.tag, "")
        .replace("alice@127.0.0.2:5060", "alice@127.0.0.2:5071");
    desk.caller(&info);
    let bye = bye_to_caller(&mut desk, &up.invite);
    assert_eq!(bye.start(), "BYE sip:alice@127.0.0.2:5060 SIP/2.0");
}

#[test]
fn our_contact_leads_back_to_us() {
    // Correctness 19: the port and transport where we really listen.
    let (mut snapshot, admission) = sbc_core::config::default_config().compile().unwrap();
    snapshot.listeners[0].advertised = "127.0.0.1:5099".parse().unwrap();
    let mut desk = Desk::of(snapshot, admission);
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    assert!(
        out.header("Contact").ends_with("@127.0.0.1:5099>"),
        "{}",
        out.header("Contact")
    );
    assert!(out.header("Via").starts_with("SIP/2.0/UDP 127.0.0.1:5099;"));
    let sent = desk.callee(&ok(&out));
    let contact = only(&sent, "200").header("Contact");
    assert!(contact.ends_with("@127.0.0.1:5099>"), "{contact}");
}
