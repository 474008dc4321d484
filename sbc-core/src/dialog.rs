//! Dialogs (RFC 3261 §12): what one leg must remember to send requests inside it and to recognise
//! requests that belong to it.

use crate::{
    sip::{HeaderName, Message, Method, NameAddr, Scheme, Uri, Writer, unfold},
    text::put,
    token::TokenText,
    transport::{Local, Transport},
};
use std::net::{IpAddr, SocketAddr};

/// A dialog's fields come from the peer, and live as long as the call: together they may not be
/// larger than this.
const DIALOG_BYTES_MAX: usize = 8192;

/// Why a message cannot found or refresh a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialogError {
    /// A header field that the dialog needs is missing or malformed.
    Malformed,
    /// Contact or Record-Route are larger than we are willing to keep.
    TooLarge,
}

/// One leg's dialog. URIs and header values are kept as the peer wrote them.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) call_id: Box<[u8]>,
    pub(crate) local_tag: TokenText,
    /// The peer's tag; empty until known.
    pub(crate) remote_tag: Box<[u8]>,
    /// Whole value of From in requests that we send: URI and tag.
    pub(crate) local: Box<[u8]>,
    /// Whole value of To in requests that we send.
    pub(crate) remote: Box<[u8]>,
    /// Contact URI of the peer: Request-URI of what we send.
    pub(crate) remote_target: Box<[u8]>,
    /// Route values in the order in which we send them; frozen when the dialog is confirmed.
    pub(crate) routes: Box<[Box<[u8]>]>,
    /// CSeq of the last request we sent.
    pub(crate) local_cseq: u32,
    /// CSeq of the last request we received; `None` before the first.
    pub(crate) remote_cseq: Option<u32>,
}

impl Dialog {
    /// The dialog that `request` founds when we answer with `local_tag` (§12.1.1).
    pub(crate) fn uas(request: &Message<'_>, local_tag: TokenText) -> Result<Self, DialogError> {
        let from = request.from().map_err(|_| DialogError::Malformed)?;
        let raw_from = unfold(request.header(HeaderName::From).unwrap_or_default());
        let raw_to = unfold(request.header(HeaderName::To).unwrap_or_default());
        let mut local = Vec::with_capacity(raw_to.len() + 5 + local_tag.len());
        local.extend_from_slice(&raw_to);
        local.extend_from_slice(b";tag=");
        local.extend_from_slice(&local_tag);
        let cseq = request.cseq().map_err(|_| DialogError::Malformed)?;
        Self {
            call_id: request.call_id().map_err(|_| DialogError::Malformed)?.into(),
            local_tag,
            remote_tag: from.tag().unwrap_or_default().into(),
            local: local.into(),
            remote: raw_from.into_owned().into(),
            remote_target: contact_of(request).or_else(|error| old_contact_of(request).ok_or(error))?,
            routes: routes_of(request, false),
            local_cseq: 0,
            remote_cseq: Some(cseq.number),
        }
        .bounded()
    }

    /// A dialog that we are about to found with an INVITE to `target`; `local` and `remote` are
    /// the values of its From and To.
    pub(crate) fn uac(
        call_id: &[u8],
        local_tag: TokenText,
        local: &[u8],
        remote: &[u8],
        target: &[u8],
    ) -> Self {
        Self {
            call_id: call_id.into(),
            local_tag,
            remote_tag: Box::default(),
            local: local.into(),
            remote: remote.into(),
            remote_target: target.into(),
            routes: Box::default(),
            local_cseq: 0,
            remote_cseq: None,
        }
    }

    /// Send the first request by `proxy`, which leaves its Request-URI alone (§8.1.1.1, `lr`). The
    /// answer brings the route set that holds from then on.
    pub(crate) fn preload_route(&mut self, proxy: &str) {
        let route = format!("<sip:{proxy};lr>").into_bytes();
        self.routes = Box::new([route.into()]);
    }

    /// The callee's 2xx confirms the dialog: take its tag, Contact and route set (§12.1.2).
    pub(crate) fn confirm(&mut self, response: &Message<'_>) -> Result<(), DialogError> {
        let to = response.to().map_err(|_| DialogError::Malformed)?;
        let raw_to = unfold(response.header(HeaderName::To).unwrap_or_default());
        let mut confirmed = self.clone();
        confirmed.remote_tag = to.tag().unwrap_or_default().into();
        confirmed.remote = raw_to.into_owned().into();
        confirmed.remote_target = contact_of(response)?;
        confirmed.routes = routes_of(response, true);
        *self = confirmed.bounded()?;
        Ok(())
    }

    /// The dialog as a 2xx to our INVITE alone describes it: enough for its ACK, or to end a
    /// surplus fork (§13.2.2.4).
    pub(crate) fn from_success(response: &Message<'_>, local_tag: TokenText) -> Result<Self, DialogError> {
        let cseq = response.cseq().map_err(|_| DialogError::Malformed)?;
        let from = unfold(response.header(HeaderName::From).unwrap_or_default());
        let call_id = response.call_id().map_err(|_| DialogError::Malformed)?;
        let mut dialog = Self::uac(call_id, local_tag, &from, b"", b"");
        dialog.confirm(response)?;
        dialog.local_cseq = cseq.number;
        Ok(dialog)
    }

    /// A target refresh (re-INVITE or its 2xx) may change where the peer is (§12.2).
    pub(crate) fn refresh_target(&mut self, message: &Message<'_>) {
        if let Ok(target) = contact_of(message) {
            self.remote_target = target;
        }
    }

    /// Whether `request` belongs to this dialog (§12.2.2); its To tag named our slot already.
    pub(crate) fn matches(&self, request: &Message<'_>) -> bool {
        request.call_id().is_ok_and(|id| *id == *self.call_id)
            && request.to().is_ok_and(|to| to.tag() == Some(&self.local_tag[..]))
            && (self.remote_tag.is_empty()
                || request
                    .from()
                    .is_ok_and(|from| from.tag().unwrap_or_default() == &*self.remote_tag))
    }

    /// The number for the next request that we send.
    pub(crate) fn next_cseq(&mut self) -> u32 {
        // §8.1.1.5: below 2^31. A dialog that gets there starts again rather than send nonsense.
        self.local_cseq = if self.local_cseq >= (1 << 31) - 1 {
            1
        } else {
            self.local_cseq + 1
        };
        self.local_cseq
    }

    /// Start a request inside the dialog in `out`: everything up to CSeq, and Route (§12.2.1.1).
    pub(crate) fn request<'w>(
        &self,
        out: &'w mut Vec<u8>,
        method: &str,
        cseq: u32,
        branch: &TokenText,
        local: Local,
        max_forwards: u8,
    ) -> Writer<'w> {
        out.clear();
        let mut w = Writer::new(out).compact(local.compact);
        let strict = self.routes.first().is_some_and(|first| !is_loose(first));
        let uri = match self.routes.first() {
            Some(first) if strict => route_uri(first),
            _ => &self.remote_target,
        };
        w.request_line(method, uri);
        write_via(&mut w, local, branch);
        w.header_with("Max-Forwards", |out| put!(out, max_forwards));
        for route in self.routes.iter().skip(usize::from(strict)) {
            w.header("Route", route);
        }
        if strict {
            let mut last = Vec::with_capacity(self.remote_target.len() + 2);
            last.push(b'<');
            last.extend_from_slice(&self.remote_target);
            last.push(b'>');
            w.header("Route", &last);
        }
        w.header("From", &self.local);
        w.header("To", &self.remote);
        w.header("Call-ID", &self.call_id);
        w.header_with("CSeq", |out| put!(out, cseq, " ", method));
        w
    }

    /// Where requests inside the dialog go: the first Route, else the remote target.
    pub(crate) fn next_hop_uri(&self) -> &[u8] {
        self.routes
            .first()
            .map_or(&*self.remote_target, |first| route_uri(first))
    }

    /// The address in [`Self::next_hop_uri`]. `None` when that names no address; the caller then uses
    /// the way that the peer is known by.
    pub(crate) fn next_hop(&self) -> Option<NextHop> {
        NextHop::of(self.next_hop_uri())
    }

    fn bounded(self) -> Result<Self, DialogError> {
        let routes: usize = self.routes.iter().map(|r| r.len()).sum();
        let size = routes
            + self.call_id.len()
            + self.remote_tag.len()
            + self.local.len()
            + self.remote.len()
            + self.remote_target.len();
        if size > DIALOG_BYTES_MAX {
            Err(DialogError::TooLarge)
        } else {
            Ok(self)
        }
    }
}

/// `Via` of a request that we send.
pub(crate) fn write_via(w: &mut Writer<'_>, local: Local, branch: &TokenText) {
    w.header_with("Via", |out| {
        put!(out, "SIP/2.0/", local.transport.via(), " ", local.address);
        put!(out, ";branch=z9hG4bK", &branch[..], ";rport");
    });
}

/// Where a URI leads whose host is an address (RFC 3263 §4, as far as nothing must be looked up).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NextHop {
    /// What the URI asks for: its `transport` parameter; TLS when it is `sips`.
    pub(crate) transport: Option<Transport>,
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
}

impl NextHop {
    fn of(uri: &[u8]) -> Option<Self> {
        let uri = Uri::parse(uri).ok()?;
        let host = std::str::from_utf8(uri.host).ok()?;
        if uri.port == Some(0) {
            return None;
        }
        let asked = uri.param(b"transport").and_then(Transport::from_name);
        Some(Self {
            // §26.2.2: whatever a sips URI says of its transport, it means TLS on it.
            transport: if uri.scheme == Scheme::Sips {
                Some(Transport::Tls)
            } else {
                asked
            },
            ip: host.trim_start_matches('[').trim_end_matches(']').parse().ok()?,
            port: uri.port,
        })
    }

    /// The address, when it is reached by `transport`.
    pub(crate) fn address(self, transport: Transport) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(transport.default_port()))
    }
}

pub(crate) fn contact_of(message: &Message<'_>) -> Result<Box<[u8]>, DialogError> {
    match message.contact() {
        Ok(Some(contact)) if Uri::parse(contact.uri).is_ok() => Ok(contact.uri.into()),
        _ => Err(DialogError::Malformed),
    }
}

/// Before RFC 3261 Contact was optional, and From said where the caller is (RFC 4475 §3.4.1). Whoever knows
/// the branch cookie knows better.
fn old_contact_of(invite: &Message<'_>) -> Option<Box<[u8]>> {
    let branch = invite.top_via().ok()?.branch.unwrap_or_default();
    let new = branch
        .get(..7)
        .is_some_and(|cookie| cookie.eq_ignore_ascii_case(b"z9hG4bK"));
    if new || invite.header(HeaderName::Contact).is_some() {
        return None;
    }
    let from = invite.from().ok()?;
    from.parsed_uri().ok()?.is_sip().then(|| from.uri.into())
}

fn routes_of(message: &Message<'_>, reversed: bool) -> Box<[Box<[u8]>]> {
    let mut routes: Vec<Box<[u8]>> = message
        .list(HeaderName::RecordRoute)
        .map(|route| unfold(route).into_owned().into())
        .collect();
    if reversed {
        routes.reverse();
    }
    routes.into()
}

fn route_uri(route: &[u8]) -> &[u8] {
    NameAddr::parse(route).map_or(route, |address| address.uri)
}

fn is_loose(route: &[u8]) -> bool {
    Uri::parse(route_uri(route)).is_ok_and(|uri| uri.param(b"lr").is_some())
}

/// The methods whose CSeq must be higher than the last (§12.2.2).
pub(crate) fn counts_cseq(method: Method) -> bool {
    !matches!(method, Method::Ack | Method::Cancel)
}
