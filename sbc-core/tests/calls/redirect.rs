//! Redirections are followed within the trunk, and never seen by the caller (correctness 28).

use crate::desk::*;

/// The default configuration's callee answers 302 with these contacts.
fn redirect(contacts: &str) -> (Desk, Vec<Sent>) {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&moved(&out, contacts));
    (desk, sent)
}

fn moved(out: &Sent, contacts: &str) -> String {
    response(out, 302, "t", "", "").replace(
        "\r\nContent-Length",
        &format!("\r\nContact: {contacts}\r\nContent-Length"),
    )
}

fn target(sent: &[Sent]) -> String {
    only(sent, "INVITE").start().to_owned()
}

#[test]
fn the_most_wanted_contact_is_tried_first_and_then_the_next() {
    let (mut desk, mut sent) =
        redirect("<sip:low@127.0.0.3:5060>;q=0.2, <sip:high@127.0.0.3:5090>;q=0.9, <sip:none@127.0.0.3>");
    // Without q a contact is as wanted as can be.
    for user in ["none@127.0.0.3:5060", "high@127.0.0.3:5090", "low@127.0.0.3:5060"] {
        assert_eq!(target(&sent), format!("INVITE sip:{user} SIP/2.0"));
        let out = only(&sent, "INVITE").clone();
        assert!(user.ends_with(&out.to.port().to_string()));
        if !user.starts_with("low") {
            sent = desk.deliver(&out.to.to_string(), &response(&out, 480, "t", "", ""));
        }
    }
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&ok(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    let counters = desk.shard.counters();
    assert_eq!((counters.calls_admitted, counters.redirections), (1, 1));
}

#[test]
fn contacts_elsewhere_are_not_followed() {
    for contact in [
        "<sip:1000@127.0.0.9>",
        "<sip:1000@127.0.0.2:5060>",
        "<sip:1000@elsewhere.test>",
        "<tel:+4930123>",
        "<sip:1000@127.0.0.3?Replaces=x>",
        "<sips:1000@127.0.0.3>",
        "<sip:1000@127.0.0.3;transport=tcp>",
        "*",
        "<sip:1000@>",
    ] {
        let (desk, sent) = redirect(contact);
        assert_eq!(kinds(&sent), ["B<ACK", "A<502"], "{contact}");
        assert_eq!(desk.records[0].status, 502);
    }
}

#[test]
fn no_uri_is_tried_twice() {
    let (mut desk, sent) = redirect("<sip:1000@127.0.0.3>, <sip:a@127.0.0.3>, <sip:a@127.0.0.3>");
    let back = only(&sent, "INVITE").clone();
    assert_eq!(
        target(&sent),
        "INVITE sip:1000@127.0.0.3:5060 SIP/2.0",
        "not the very same URI"
    );
    let sent = desk.callee(&moved(&back, "<sip:1000@127.0.0.3:5060>"));
    assert_eq!(kinds(&sent), ["B<ACK", "A<502"]);
}

#[test]
fn a_loop_of_redirections_ends() {
    let (mut desk, mut sent) = redirect("<sip:n0@127.0.0.3>");
    let mut followed = 0;
    while let Some(out) = sent.iter().find(|s| s.kind() == "INVITE").cloned() {
        followed += 1;
        sent = desk.callee(&moved(&out, &format!("<sip:n{followed}@127.0.0.3>")));
    }
    assert_eq!(followed, 5);
    assert_eq!(kinds(&sent), ["B<ACK", "A<502"]);
    desk.assert_quiet();
}

#[test]
fn a_global_failure_ends_the_search() {
    let (mut desk, sent) = redirect("<sip:a@127.0.0.3>, <sip:b@127.0.0.3>");
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 603, "t", "", ""));
    assert_eq!(kinds(&sent), ["B<ACK", "A<603"]);
}

#[test]
fn a_redirection_after_ringing_is_not_followed() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 180, "t", "sip:bob@127.0.0.3", ""));
    let sent = desk.callee(&moved(&out, "<sip:a@127.0.0.3>"));
    assert_eq!(kinds(&sent), ["B<ACK", "A<502"]);
}

#[test]
fn a_redirection_after_cancel_is_not_followed() {
    let mut desk = Desk::new();
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    desk.callee(&response(&out, 100, "", "", ""));
    desk.caller(&cancel());
    let sent = desk.callee(&moved(&out, "<sip:a@127.0.0.3>"));
    assert_eq!(kinds(&sent), ["B<ACK"]);
    desk.caller(&request("ACK", "sip:1000@127.0.0.1", 1, "inv1", "x", ""));
    desk.assert_quiet();
}
