//! What the wire format says about a datagram, in one word.

use sbc_core::sip::{HeaderName, Message, validate};

/// What becomes of a datagram before any call state is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Handed to the call core.
    Accept,
    /// A request that is answered with this status.
    Refuse(u16),
    /// Nothing can or may be answered: a response, or no SIP at all.
    Drop,
}

/// Judges as the shard does: parse, then validate, and when parsing fails refuse with what can be read.
pub(crate) fn verdict(bytes: &[u8]) -> Verdict {
    let Some(message) = Message::parse_lenient(bytes) else {
        assert!(Message::parse(bytes).is_err());
        return Verdict::Drop;
    };
    assert_eq!(
        Message::parse(bytes).err(),
        message.fault(),
        "parse and parse_lenient must agree"
    );
    let fault = message.fault().map(|fault| fault.status());
    if message.is_response() {
        let good = fault.is_none() && validate::response(&message).is_ok();
        return if good { Verdict::Accept } else { Verdict::Drop };
    }
    let status = fault.or_else(|| validate::request(&message).err().map(|invalid| invalid.status));
    status.map_or(Verdict::Accept, Verdict::Refuse)
}

/// Whether a response could be made for this request: its Via, From, To, Call-ID and CSeq are there to copy.
#[allow(dead_code, reason = "not every test file asks")]
pub(crate) fn answerable(bytes: &[u8]) -> bool {
    let names = [
        HeaderName::Via,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
        HeaderName::CSeq,
    ];
    Message::parse_lenient(bytes).is_some_and(|message| {
        names
            .iter()
            .all(|&name| message.header(name).is_some_and(|v| !v.is_empty()))
    })
}
