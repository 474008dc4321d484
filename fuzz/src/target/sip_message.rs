//! The SIP wire format: index, every accessor, validation, and writing back what was read.

use sbc_core::sip::{
    HeaderName, Message, NameAddr, PARTS_MAX, Params, Uri, Via, Writer, host_ip, list_elements, parts,
    unfold, validate,
};

/// Reads `bytes` as one datagram.
pub(crate) fn run(bytes: &[u8]) {
    let strict = Message::parse(bytes).map(drop);
    let Some(message) = Message::parse_lenient(bytes) else {
        assert!(strict.is_err());
        return;
    };
    assert_eq!(strict.err(), message.fault());
    assert_ne!(message.is_request(), message.is_response());
    for (raw, name, value) in message.iter() {
        header(&message, raw, name, value);
    }
    accessors(&message);
    let valid = if message.is_request() {
        validate::request(&message)
    } else {
        validate::response(&message)
    };
    if valid.is_ok() {
        assert!(message.call_id().is_ok() && message.cseq().is_ok() && message.top_via().is_ok());
        assert!(message.from().is_ok() && message.to().is_ok());
    }
    if message.fault().is_none() {
        write_back(&message);
    }
}

fn header(message: &Message<'_>, raw: &[u8], name: HeaderName, value: &[u8]) {
    assert!(HeaderName::is_valid(raw));
    assert_eq!(HeaderName::from_bytes(raw), name);
    assert!(message.header(name).is_some());
    assert!(message.other_header(raw).is_some());
    assert_eq!(message.is_repeated(name), message.headers(name).count() > 1);
    let elements: usize = list_elements(value).map(<[u8]>::len).sum();
    assert!(elements <= value.len());
    assert!(!unfold(value).iter().any(|b| matches!(b, b'\r' | b'\n')));
    let params: usize = Params::new(value)
        .map(|(n, v)| n.len() + v.map_or(0, <[u8]>::len))
        .sum();
    assert!(params <= value.len());
    if let Ok(address) = NameAddr::parse(value) {
        let _ = (address.parsed_uri(), address.param(b"q"));
        assert_eq!(
            address.tag().is_some(),
            address.param(b"tag").is_some_and(|tag| !tag.is_empty())
        );
    }
    if let Ok(via) = Via::parse(value) {
        assert!(!via.host.is_empty() && !via.transport.is_empty());
    }
    if let Ok(uri) = Uri::parse(value) {
        let _ = (uri.param(b"lr"), host_ip(uri.host));
    }
}

fn accessors(message: &Message<'_>) {
    let _ = (
        message.method(),
        message.request_uri(),
        message.status(),
        message.reason(),
    );
    let _ = (
        message.contact(),
        message.max_forwards(),
        message.content_type(),
        message.body(),
    );
    for route in message.record_routes().chain(message.routes()).flatten() {
        let _ = route.parsed_uri();
    }
    let _ = message.require().count() + message.vias().flatten().count();
    if let Some(parts) = parts(message.content_type().unwrap_or_default(), message.body()) {
        let lengths: Vec<usize> = parts
            .map(|part| part.body.len() + part.header(b"Content-ID").map_or(0, <[u8]>::len))
            .collect();
        assert!(lengths.len() <= PARTS_MAX);
        assert!(lengths.iter().sum::<usize>() <= message.body().len());
    }
}

/// What was read and is written again has the same header fields in the same places.
fn write_back(message: &Message<'_>) {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out);
    if message.is_request() {
        writer.request_line(message.method_bytes(), message.request_uri());
    } else {
        writer.status_line(message.status(), message.reason());
    }
    let kept = |name| !matches!(name, HeaderName::ContentLength | HeaderName::ContentType);
    for (raw, _, value) in message.iter().filter(|&(_, name, _)| kept(name)) {
        writer.header_bytes(raw, value);
    }
    writer.body(message.content_type().unwrap_or_default(), message.body());
    let again = Message::parse(&out).expect("what we write can be read");
    assert_eq!(again.method(), message.method());
    assert_eq!(again.status(), message.status());
    assert_eq!(again.body(), message.body());
    let names = |m: &Message<'_>| {
        m.iter()
            .filter(|&(_, name, _)| kept(name))
            .map(|(raw, _, _)| raw.to_vec())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&again), names(message));
}
