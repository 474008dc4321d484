//! REFER inside a call (RFC 3515): to the other side, rewritten so that it comes back to us.

use crate::desk::*;
use sbc_core::{config, snapshot::Refer};

fn refer(up: &Up, cseq: u32, branch: &str, refer_to: &str) -> String {
    request("REFER", &up.contact, cseq, branch, &up.tag, "").replace(
        "Content-Length",
        &format!("Refer-To: {refer_to}\r\nReferred-By: \"Al\" <sip:4930123@127.0.0.2;x=y>;cid=\"1@127.0.0.2\"\r\nContent-Length"),
    )
}

fn over(desk: &mut Desk, up: &Up) {
    desk.caller(&request("BYE", &up.contact, 90, "bye", &up.tag, ""));
    desk.assert_quiet();
}

#[test]
fn a_refer_passes_with_a_destination_at_us() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let sent = desk.caller(&refer(
        &up,
        2,
        "r1",
        "<sip:2000@127.0.0.2:5090;transport=udp?Subject=x>",
    ));
    assert_eq!(kinds(&sent), ["B<REFER"]);
    let out = only(&sent, "REFER").clone();
    let ours = up
        .invite
        .header("Contact")
        .rsplit('@')
        .next()
        .unwrap()
        .trim_matches('>')
        .to_owned();
    assert_eq!(out.header("Refer-To"), format!("<sip:2000@{ours}>"));
    assert_eq!(out.header("Referred-By"), format!("<sip:4930123@{ours}>"));
    assert!(out.has("Contact"));
    assert!(!out.text.contains("127.0.0.2"), "{}", out.text);
    let sent = desk.callee(&response(&out, 202, "", "sip:bob@127.0.0.3", ""));
    assert_eq!(kinds(&sent), ["A<202"]);
    assert!(sent[0].has("Contact"));
    assert!(!sent[0].text.contains("127.0.0.3"));
    over(&mut desk, &up);
}

#[test]
fn a_refer_of_the_callee_passes_too() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let text = callee_request(&up.invite, "REFER", 5, "r2", "")
        .replace("Content-Length", "r: sip:2000@127.0.0.3\r\nContent-Length");
    let sent = desk.callee(&text);
    let out = only(&sent, "REFER").clone();
    assert!(out.to_caller());
    assert!(!out.text.contains("127.0.0.3"), "{}", out.text);
    assert!(!out.has("Referred-By"));
    assert_eq!(kinds(&desk.caller(&response(&out, 603, "", "", ""))), ["B<603"]);
    over(&mut desk, &up);
}

#[test]
fn a_referrer_that_hides_is_not_named() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let text = refer(&up, 2, "r1", "<tel:+4930>").replace("Refer-To", "Privacy: id\r\nRefer-To");
    let sent = desk.caller(&text);
    let out = only(&sent, "REFER");
    assert!(!out.has("Referred-By"));
    assert!(out.header("Refer-To").starts_with("<sip:+4930@"));
    over(&mut desk, &up);
}

#[test]
fn what_is_no_place_to_call_is_refused() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    for (n, (bad, status)) in [
        ("<http://example.com/>", "A<488"),
        ("<sip:2000@x;method=BYE>", "A<488"),
        ("<sip:host.only>", "A<488"),
        ("<sip:2000@x?Replaces=broken>", "A<400"),
        (
            "<sip:2000@x?Replaces=a%3Bto-tag%3Dforeign%3Bfrom-tag%3Db>",
            "A<488",
        ),
        ("nothing", "A<400"),
        ("<sip:1@x>\r\nRefer-To: <sip:2@x>", "A<400"),
    ]
    .into_iter()
    .enumerate()
    {
        let sent = desk.caller(&refer(&up, 2 + n as u32, &format!("r{n}"), bad));
        assert_eq!(kinds(&sent), [status], "{bad}");
    }
    over(&mut desk, &up);
}

#[test]
fn a_dialog_with_us_is_named_anew() {
    // Correctness 26, S6: the tag of ours stays, the referrer's Call-ID and tag become hashes.
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let replaces = format!("caller-call-id%3Bto-tag%3D{}%3Bfrom-tag%3Dcallertag", up.tag);
    let sent = desk.caller(&refer(
        &up,
        2,
        "r1",
        &format!("<sip:2000@127.0.0.2?Replaces={replaces}&Route=x>"),
    ));
    let refer_to = only(&sent, "REFER").header("Refer-To").to_owned();
    assert!(
        refer_to.contains(&format!("%3Bto-tag%3D{}%3Bfrom-tag%3D", up.tag)),
        "{refer_to}"
    );
    for secret in ["caller", "Route", "127.0.0.2"] {
        assert!(!refer_to.contains(secret), "{refer_to}");
    }
    over(&mut desk, &up);
}

#[test]
fn a_trunk_that_may_not_transfer_gets_603() {
    let (mut snapshot, admission) = config::default_config().compile().unwrap();
    for trunk in &mut snapshot.trunks {
        trunk.peer.refer = Refer::Refuse;
    }
    let mut desk = Desk::of(snapshot, admission);
    let up = establish(&mut desk);
    assert_eq!(
        kinds(&desk.caller(&refer(&up, 2, "r1", "<sip:2000@x>"))),
        ["A<603"]
    );
    over(&mut desk, &up);
}

#[test]
fn more_referrals_than_the_bound_are_refused_until_one_is_over() {
    let mut desk = Desk::new();
    let up = establish(&mut desk);
    let mut first = None;
    for n in 0..4 {
        let sent = desk.caller(&refer(&up, 2 + n, &format!("r{n}"), "<sip:2000@x>"));
        first.get_or_insert(only(&sent, "REFER").clone());
    }
    assert_eq!(
        kinds(&desk.caller(&refer(&up, 9, "r9", "<sip:2000@x>"))),
        ["A<500"]
    );
    desk.callee(&response(&first.unwrap(), 405, "", "", ""));
    assert_eq!(
        kinds(&desk.caller(&refer(&up, 10, "r10", "<sip:2000@x>"))),
        ["B<REFER"]
    );
    // None of them is answered: the referrer is told nothing, the call goes on (RFC 4320).
    let sent = desk.pass(seconds(40));
    assert!(sent.iter().all(|s| s.kind() == "REFER"), "{:?}", kinds(&sent));
    assert_eq!(
        kinds(&desk.caller(&refer(&up, 11, "r11", "<sip:2000@x>"))),
        ["B<REFER"]
    );
    let sent = desk.callee(&callee_request(&up.invite, "BYE", 9, "cb", ""));
    assert_eq!(kinds(&sent), ["B<200", "A<481", "A<BYE"]);
    desk.assert_quiet();
}

#[test]
fn without_an_answered_call_there_is_nobody_to_transfer() {
    let mut desk = Desk::new();
    let sent = desk.caller(
        &request("REFER", "sip:1000@127.0.0.1", 1, "r1", "", "")
            .replace("Content-Length", "Refer-To: <sip:2000@x>\r\nContent-Length"),
    );
    assert_eq!(kinds(&sent), ["A<403"], "outside a call");
    let sent = desk.caller(&invite());
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3:5060", ""));
    let tag = tag_of(sent[0].header("To"));
    let early = request("REFER", "sip:1000@127.0.0.1", 2, "r2", &tag, "")
        .replace("Content-Length", "Refer-To: <sip:2000@x>\r\nContent-Length");
    assert_eq!(kinds(&desk.caller(&early)), ["A<500"], "before the answer");
    desk.caller(&cancel());
    desk.callee(&response(&out, 487, "calleetag", "", ""));
    desk.assert_quiet();
}
