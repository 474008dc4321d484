//! The wire format, ours beside `rsip` and `sipx-sip`, on the same message and to the same depth.

use crate::{Operation, input};
use bytes::Bytes;
use rsip::headers::ToTypedHeader;
use rsip::message::HeadersExt;
use sbc_core::sip::{HeaderName, Message, Method, Writer};
use sipx_sip::headers::address::{From as SipxFrom, To as SipxTo};
use std::hint::black_box;

/// What a call core reads of every request: the lengths of branch, From tag, Call-ID, the URI's user and the
/// sequence number, added up so that nothing can be left out and the three parsers can be compared.
pub type Digest = usize;

/// Index only: from a datagram to something that can be asked for header fields.
pub fn index(datagram: &[u8]) -> usize {
    Message::parse(datagram).map_or(0, |message| message.body().len())
}

/// As [`index`], by `rsip`.
pub fn index_rsip(datagram: &[u8]) -> usize {
    rsip::SipMessage::try_from(datagram).map_or(0, |message| message.body().len())
}

/// As [`index`], by `sipx-sip`. It takes a reference-counted buffer, which costs it nothing here.
pub fn index_sipx(datagram: &Bytes) -> usize {
    sipx_sip::parse_datagram(datagram.clone(), &sipx_sip::Limits::datagram())
        .map_or(0, |message| message.body().len())
}

/// Index, and typed access to Via, From, To, Call-ID and CSeq.
pub fn access(datagram: &[u8]) -> Option<Digest> {
    let message = Message::parse(datagram).ok()?;
    let via = message.top_via().ok()?;
    let from = message.from().ok()?;
    let to = message.to().ok()?;
    let cseq = message.cseq().ok()?;
    Some(
        via.branch?.len()
            + from.tag()?.len()
            + usize::from(to.tag().is_none())
            + message.call_id().ok()?.len()
            + cseq.number as usize,
    )
}

/// As [`access`], by `rsip`.
pub fn access_rsip(datagram: &[u8]) -> Option<Digest> {
    let message = rsip::SipMessage::try_from(datagram).ok()?;
    let via = message.via_header().ok()?.typed().ok()?;
    let from = message.from_header().ok()?.typed().ok()?;
    let to = message.to_header().ok()?.typed().ok()?;
    let cseq = message.cseq_header().ok()?.typed().ok()?;
    Some(
        via.branch()?.value().len()
            + from.tag()?.value().len()
            + usize::from(to.tag().is_none())
            + rsip::headers::UntypedHeader::value(message.call_id_header().ok()?).len()
            + cseq.seq as usize,
    )
}

/// As [`access`], by `sipx-sip`.
pub fn access_sipx(datagram: &Bytes) -> Option<Digest> {
    let message = sipx_sip::parse_datagram(datagram.clone(), &sipx_sip::Limits::datagram()).ok()?;
    let headers = message.headers();
    let via = headers.typed::<sipx_sip::Via>()?.ok()?;
    let from = headers.typed::<SipxFrom>()?.ok()?;
    let to = headers.typed::<SipxTo>()?.ok()?;
    let call_id = headers.typed::<sipx_sip::CallId>()?.ok()?;
    let cseq = headers.typed::<sipx_sip::CSeq>()?.ok()?;
    Some(
        via.branch()?.len()
            + from.tag()?.len()
            + usize::from(to.tag().is_none())
            + call_id.0.len()
            + cseq.sequence as usize,
    )
}

/// The headers the core asks an INVITE for, most of them absent: what a look-up costs.
pub fn look_up(message: &Message<'_>) -> usize {
    const ASKED: [HeaderName; 16] = [
        HeaderName::Via,
        HeaderName::From,
        HeaderName::To,
        HeaderName::CallId,
        HeaderName::CSeq,
        HeaderName::Contact,
        HeaderName::MaxForwards,
        HeaderName::ContentType,
        HeaderName::Require,
        HeaderName::ProxyRequire,
        HeaderName::Replaces,
        HeaderName::Route,
        HeaderName::RecordRoute,
        HeaderName::Privacy,
        HeaderName::PAssertedIdentity,
        HeaderName::Diversion,
    ];
    ASKED
        .iter()
        .filter_map(|&name| message.header(name))
        .map(<[u8]>::len)
        .sum()
}

/// The INVITE of leg B from that of leg A: what is ours is made, what passes is copied.
pub fn write_invite(received: &Message<'_>, out: &mut Vec<u8>) -> usize {
    out.clear();
    let mut writer = Writer::new(out);
    writer.request_line(Method::Invite, "sip:+4930123456@127.0.0.3:5060");
    writer.via("SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK0a1b2c3d4e5f60718;rport");
    writer.header("Max-Forwards", "69");
    writer.header("From", "<sip:+4940654321@127.0.0.1>;tag=0a1b2c3d4e5f6071");
    writer.header("To", "<sip:+4930123456@127.0.0.3>");
    writer.header("Call-ID", "0a1b2c3d4e5f60718293a4b5");
    writer.header_fmt("CSeq", format_args!("{} INVITE", 1));
    writer.header("Contact", "<sip:0a1b2c3d4e5f6071@127.0.0.1:5060>");
    for name in [HeaderName::Allow, HeaderName::Supported, HeaderName::UserAgent] {
        if let Some(value) = received.header(name) {
            writer.header(name.as_str(), value);
        }
    }
    writer.body("application/sdp", received.body());
    out.len()
}

/// The operations of this file for the instruction counter.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "index",
        stands_for: "parse and index an INVITE",
        run: |n| each(n, index),
    },
    Operation {
        name: "index-rsip",
        stands_for: "the same by rsip",
        run: |n| each(n, index_rsip),
    },
    Operation {
        name: "index-sipx",
        stands_for: "the same by sipx-sip",
        run: |n| each_shared(n, index_sipx),
    },
    Operation {
        name: "access",
        stands_for: "index and read five headers",
        run: |n| each(n, access),
    },
    Operation {
        name: "access-rsip",
        stands_for: "the same by rsip",
        run: |n| each(n, access_rsip),
    },
    Operation {
        name: "access-sipx",
        stands_for: "the same by sipx-sip",
        run: |n| each_shared(n, access_sipx),
    },
    Operation {
        name: "look-up",
        stands_for: "ask an indexed INVITE for 16 headers",
        run: |n| with_message(n, |message, _| look_up(message)),
    },
    Operation {
        name: "write",
        stands_for: "write the INVITE of leg B",
        run: |n| with_message(n, write_invite),
    },
];

fn each<R>(n: u64, operation: fn(&[u8]) -> R) {
    for _ in 0..n {
        black_box(operation(black_box(input::INVITE.as_bytes())));
    }
}

fn each_shared<R>(n: u64, operation: fn(&Bytes) -> R) {
    let datagram = Bytes::from_static(input::INVITE.as_bytes());
    for _ in 0..n {
        black_box(operation(black_box(&datagram)));
    }
}

fn with_message(n: u64, operation: fn(&Message<'_>, &mut Vec<u8>) -> usize) {
    let mut out = Vec::with_capacity(2048);
    if let Ok(message) = Message::parse(input::INVITE.as_bytes()) {
        for _ in 0..n {
            black_box(operation(black_box(&message), &mut out));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_parsers_read_the_same() {
        let shared = Bytes::from_static(input::INVITE.as_bytes());
        let bytes = &shared[..];
        assert_eq!(index(bytes), input::offer().len());
        assert_eq!(index(bytes), index_rsip(bytes));
        assert_eq!(index(bytes), index_sipx(&shared));
        assert!(access(bytes).is_some());
        assert_eq!(access(bytes), access_rsip(bytes));
        assert_eq!(access(bytes), access_sipx(&shared));
    }

    #[test]
    fn what_is_written_is_an_invite() {
        let message = Message::parse(input::INVITE.as_bytes()).unwrap();
        let mut out = Vec::new();
        assert_eq!(write_invite(&message, &mut out), out.len());
        let written = Message::parse(&out).unwrap();
        assert_eq!(sbc_core::sip::validate::request(&written), Ok(()));
        assert_eq!(written.body(), input::offer());
    }
}
