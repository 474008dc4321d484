//! Reason (N8, RFC 3326): the cause why a call ended passes to the other side in BYE, CANCEL and refusals, unless its
//! trunk is not to be told.

use crate::desk::*;
use crate::two_trunks::desk;

const REASON: &str = "Reason: Q.850;cause=17;text=\"to 127.0.0.3\"\r\nContent-Length";

/// What the other side is told of it in a BYE, a CANCEL and a refusal.
fn told(carrier: &str, platform: &str) -> [Option<String>; 3] {
    let reason = |sent: &Sent| sent.has("Reason").then(|| sent.header("Reason").to_owned());
    let mut bye = desk(carrier, platform);
    let up = establish(&mut bye);
    let text = request("BYE", &up.contact, 2, "bye", &up.tag, "").replace("Content-Length", REASON);
    let bye = reason(only(&bye.caller(&text), "BYE"));

    let mut cancelled = desk(carrier, platform);
    let out = only(&cancelled.caller(&invite()), "INVITE").clone();
    cancelled.callee(&response(&out, 180, "t", "sip:bob@127.0.0.3", ""));
    let sent = cancelled.caller(&cancel().replace("Content-Length", REASON));
    let cancel = reason(only(&sent, "CANCEL"));

    let mut refused = desk(carrier, platform);
    let out = only(&refused.caller(&invite()), "INVITE").clone();
    let text = response(&out, 486, "t", "", "").replace("Content-Length", REASON);
    let refused = reason(only(&refused.callee(&text), "486"));
    [bye, cancel, refused]
}

#[test]
fn the_cause_passes_without_its_text() {
    let cause = Some("Q.850;cause=17".to_owned());
    assert_eq!(told("", ""), [cause.clone(), cause.clone(), cause]);
}

#[test]
fn a_trunk_may_be_told_nothing() {
    let (silent, cause) = ("headers = { reason = false }", Some("Q.850;cause=17".to_owned()));
    assert_eq!(
        told("", silent),
        [None, None, cause.clone()],
        "the platform hears BYE and CANCEL"
    );
    assert_eq!(
        told(silent, ""),
        [cause.clone(), cause, None],
        "the carrier hears the refusal"
    );
}
