//! A carrier that calls and a platform that is called, with what a test adds to each.

use crate::desk::*;
use sbc_core::config;

/// The configuration: `carrier` and `platform` are further lines of their `[[trunk]]`.
pub(crate) fn text(carrier: &str, platform: &str) -> String {
    format!(
        r#"
        [[listener]]
        name = "main"
        address = "127.0.0.1:5060"
        [media]
        address = "127.0.0.1"
        ports = "20000-20999"
        [[trunk]]
        name = "carrier"
        hosts = ["127.0.0.2"]
        {carrier}
        [[trunk]]
        name = "platform"
        hosts = ["127.0.0.3"]
        {platform}
        [[route]]
        from = "carrier"
        to = "platform"
        [[route]]
        from = "platform"
        to = "carrier"
        "#
    )
}

pub(crate) fn desk(carrier: &str, platform: &str) -> Desk {
    let config = config::parse(&text(carrier, platform), "test").unwrap_or_else(|error| panic!("{error}"));
    let (snapshot, admission) = config.compile().unwrap();
    Desk::of(snapshot, admission)
}

/// An INVITE of the caller with this Request-URI and these values of To and From (without a tag).
pub(crate) fn invite_of(uri: &str, to: &str, from: &str) -> String {
    request("INVITE", uri, 1, "inv1", "", OFFER)
        .replace("To: <sip:1000@127.0.0.1>", &format!("To: {to}"))
        .replace("\"Alice\" <sip:4930123@127.0.0.2>", from)
}

/// `invite()` with more header fields.
pub(crate) fn invite_with(fields: &str) -> String {
    invite().replacen("Contact:", &format!("{fields}\r\nContact:"), 1)
}

/// What the callee is sent for `invite`.
pub(crate) fn forwarded(desk: &mut Desk, invite: &str) -> Sent {
    only(&desk.caller(invite), "INVITE").clone()
}
