//! Responses that follow from the request alone (§8.2.6).

use super::Hop;
use crate::{
    sip::{HeaderName, Message, Method, OptionTags, Writer, reason_phrase},
    text::put,
    transport::Transport,
};
use std::{net::SocketAddr, time::Duration};

/// Methods we serve, as the value of Allow.
pub(crate) const ALLOW: &[u8] =
    b"INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, UPDATE, MESSAGE, REFER, NOTIFY, SUBSCRIBE";

/// A response without a body, small enough to be kept in a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) extra: Extra,
}

/// The one header field a [`Reply`] may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extra {
    None,
    /// Allow: the methods we serve (405; OPTIONS).
    Allow,
    /// Unsupported: what the request Requires beyond these extensions (420).
    Unsupported(OptionTags),
    /// Accept: application/sdp (415).
    Accept,
    /// Accept: what may pass through in a body (415).
    AcceptPassing,
    /// Allow-Events: refer (489).
    AllowEvents,
    /// Min-SE in seconds (422).
    MinSe(u32),
    /// Min-Expires in seconds (423).
    MinExpires(u32),
    /// Retry-After in seconds.
    RetryAfter(u16),
    /// Warning: its code and text (§20.43).
    Warning(u16, &'static str),
}

impl Reply {
    pub(crate) const fn new(status: u16) -> Self {
        Self {
            status,
            extra: Extra::None,
        }
    }

    pub(crate) const fn with(status: u16, extra: Extra) -> Self {
        Self { status, extra }
    }

    pub(crate) const fn retry_after(status: u16, seconds: u16) -> Self {
        Self {
            status,
            extra: Extra::RetryAfter(seconds),
        }
    }
}

/// The header fields of a request that all its responses repeat: every Via (with `received` and
/// `rport` filled in, RFC 3581), Record-Route, From, Call-ID, CSeq and To, in wire form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Echo {
    /// Everything up to and including the To value, without its line end, so that a tag can follow.
    head: Box<[u8]>,
    /// The request's To already had a tag.
    tagged: bool,
    /// With compact header field names, as everything else in the response.
    compact: bool,
}

impl Echo {
    /// Take them from `request`, which came from `peer`. `compact`: that is how it is written to.
    pub(crate) fn new(request: &Message<'_>, peer: SocketAddr, compact: bool) -> Self {
        let mut head = Vec::with_capacity(512);
        let tagged = write_echo(&mut head, request, peer, compact);
        Self {
            head: head.into_boxed_slice(),
            tagged,
            compact,
        }
    }

    /// Start a response in `out`; the caller adds header fields and a body.
    pub(crate) fn response<'w>(&self, out: &'w mut Vec<u8>, status: u16, tag: &[u8]) -> Writer<'w> {
        out.clear();
        let mut w = Writer::new(out).compact(self.compact);
        w.status_line(status, reason_phrase(status));
        w.raw(&self.head);
        if !self.tagged && status != 100 {
            w.raw(b";tag=");
            w.raw(tag);
        }
        w.raw(b"\r\n");
        w
    }
}

/// Returns whether To has a tag.
fn write_echo(out: &mut Vec<u8>, request: &Message<'_>, peer: SocketAddr, compact: bool) -> bool {
    let mut first = true;
    for via in request.list(HeaderName::Via) {
        push_name(out, HeaderName::Via, compact);
        if std::mem::take(&mut first) {
            write_top_via(out, request, via, peer);
        } else {
            push_unfolded(out, via);
        }
        out.extend_from_slice(b"\r\n");
    }
    if request.method() == Method::Invite {
        for value in request.headers(HeaderName::RecordRoute) {
            push_field(out, HeaderName::RecordRoute, compact, value);
        }
    }
    for name in [HeaderName::From, HeaderName::CallId, HeaderName::CSeq] {
        if let Some(value) = request.header(name) {
            push_field(out, name, compact, value);
        }
    }
    let Some(to) = request.header(HeaderName::To) else {
        // A request that is refused for lacking its To (RFC 4475 §3.3.1): its place is the line end, and
        // there is nothing to put a tag on.
        out.truncate(out.trim_ascii_end().len());
        return true;
    };
    push_name(out, HeaderName::To, compact);
    push_unfolded(out, to);
    request.to().is_ok_and(|to| to.tag().is_some())
}

/// §18.2.1 and RFC 3581 §4: `received` when the sender's address is not what it wrote, `rport`
/// when it asked for it.
fn write_top_via(out: &mut Vec<u8>, request: &Message<'_>, raw: &[u8], peer: SocketAddr) {
    let Ok(via) = request.top_via() else {
        push_unfolded(out, raw);
        return;
    };
    let wants_rport = via.rport == Some(None);
    let text = crate::sip::unfold(raw);
    // A `received` that came with the request is not the receiver's word, which we are.
    let text = match via.received {
        Some(_) => without_received(&text).into(),
        None => text,
    };
    let mut rest: &[u8] = &text;
    if wants_rport && let Some(at) = find_rport(rest) {
        out.extend_from_slice(&rest[..at]);
        put!(out, "=", peer.port());
        rest = &rest[at..];
    }
    out.extend_from_slice(rest);
    let same_host = std::str::from_utf8(via.host)
        .ok()
        .map(|h| h.trim_start_matches('[').trim_end_matches(']'))
        .and_then(|h| h.parse::<std::net::IpAddr>().ok())
        .is_some_and(|ip| ip == peer.ip());
    if wants_rport || !same_host {
        put!(out, ";received=", peer.ip());
    }
}

/// `via` without its `received` parameters.
fn without_received(via: &[u8]) -> Vec<u8> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = via.split(|&c| {
        let separates = c == b';' && !quoted;
        quoted ^= c == b'"' && !escaped;
        escaped = c == b'\\' && quoted && !escaped;
        separates
    });
    let kept = parts.filter(|part| {
        let name = part.split(|&c| c == b'=').next().unwrap_or_default();
        !name.trim_ascii().eq_ignore_ascii_case(b"received")
    });
    kept.collect::<Vec<_>>().join(&b';')
}

/// The index just behind a valueless `;rport` parameter.
fn find_rport(via: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(semi) = memchr::memchr(b';', &via[from..]).map(|i| from + i) {
        let start = via[semi + 1..]
            .iter()
            .position(|c| !c.is_ascii_whitespace())
            .map_or(via.len(), |i| semi + 1 + i);
        let end = start + 5;
        if via
            .get(start..end)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"rport"))
            && via.get(end).is_none_or(|c| matches!(c, b';' | b' ' | b'\t'))
        {
            return Some(end);
        }
        from = semi + 1;
    }
    None
}

fn push_name(out: &mut Vec<u8>, name: HeaderName, compact: bool) {
    out.extend_from_slice(name.spelled(compact).as_bytes());
    out.extend_from_slice(b": ");
}

fn push_field(out: &mut Vec<u8>, name: HeaderName, compact: bool, value: &[u8]) {
    push_name(out, name, compact);
    push_unfolded(out, value);
    out.extend_from_slice(b"\r\n");
}

fn push_unfolded(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(&crate::sip::unfold(value));
}

/// Complete a response that [`Echo::response`] has begun.
pub(crate) fn finish_reply(mut w: Writer<'_>, request: &Message<'_>, reply: Reply, server_name: &str) {
    match reply.extra {
        Extra::None => {}
        Extra::Allow => {
            w.header("Allow", ALLOW);
            if reply.status == 200 {
                w.header("Accept", b"application/sdp");
            }
        }
        Extra::Accept => {
            w.header("Accept", b"application/sdp");
        }
        Extra::AllowEvents => {
            w.header("Allow-Events", b"refer");
        }
        Extra::MinSe(s) => {
            w.header_fmt("Min-SE", format_args!("{s}"));
        }
        Extra::MinExpires(s) => {
            w.header_fmt("Min-Expires", format_args!("{s}"));
        }
        Extra::AcceptPassing => {
            w.header(
                "Accept",
                b"*/*, application/sdp;q=0, multipart/*;q=0, message/sip;q=0, message/sipfrag;q=0",
            );
        }
        Extra::RetryAfter(s) => {
            w.header_fmt("Retry-After", format_args!("{s}"));
        }
        Extra::Warning(code, text) => {
            // The agent is a pseudonym: a name or address would say who we are on the other side.
            w.header_fmt("Warning", format_args!("{code} sbc \"{text}\""));
        }
        Extra::Unsupported(understood) => {
            for tag in request.list(HeaderName::Require) {
                if !OptionTags::named(tag).is_some_and(|known| understood.contains(known)) {
                    w.header("Unsupported", tag);
                }
            }
        }
    }
    if !server_name.is_empty() {
        w.header("Server", server_name.as_bytes());
    }
    w.empty_body();
}

/// Where a peer is met from whom `request` came, for requests to it: as for responses over streams, whose source
/// port nobody listens on; the source of datagrams.
pub(crate) fn met_hop(request: &Message<'_>, received_on: Hop, transport: Transport) -> Hop {
    if transport.is_reliable() {
        response_hop(request, received_on, transport)
    } else {
        received_on
    }
}

/// Where responses to `request` go (§18.2.2, RFC 3581 §4). Datagrams: the source address; its port when
/// `rport` was asked for, else the one in the Via. Streams: the connection that the request came by; should
/// that have gone, a new one to the source address and the port in the Via.
///
/// `maddr` is not looked at: it would let any sender direct our responses at a third party, and multicast
/// SIP, which it is for, is not served.
pub(crate) fn response_hop(request: &Message<'_>, received_on: Hop, transport: Transport) -> Hop {
    let port = match request.top_via() {
        Ok(via) if via.rport.is_none() || transport.is_reliable() => {
            via.port.unwrap_or(transport.default_port())
        }
        _ => received_on.peer.port(),
    };
    Hop {
        peer: SocketAddr::new(received_on.peer.ip(), port),
        ..received_on
    }
}
/// The pause that a peer asks for (§20.33).
pub(crate) fn retry_after(response: &Message<'_>) -> Option<Duration> {
    let value = response.header(HeaderName::RetryAfter)?;
    let digits = value.iter().take_while(|c| c.is_ascii_digit()).count();
    let seconds = std::str::from_utf8(value.get(..digits)?).ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}
