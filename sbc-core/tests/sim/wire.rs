//! How the peers of the simulator write: every identifier carries the marker of its side.

use super::{
    message::Msg,
    plan::{Offer, Side},
};
use sbc_core::transport::Transport;
use std::net::SocketAddr;

pub fn caller_number(n: u32) -> String {
    format!("+4490{n:07}")
}

pub fn callee_number(n: u32) -> String {
    format!("+1555{n:07}")
}

/// The call that a number belongs to.
pub fn call_of(number: &str) -> Option<u32> {
    number
        .strip_prefix("+1555")
        .or_else(|| number.strip_prefix("+4490"))?
        .parse()
        .ok()
}

/// A session description of one leg.
pub fn sdp(side: Side, at: SocketAddr, version: u32, offer: Option<Offer>) -> String {
    let (marker, ip) = (side.marker(), at.ip());
    let connection = if offer == Some(Offer::HoldOld) {
        "0.0.0.0".to_owned()
    } else {
        ip.to_string()
    };
    let direction = match offer {
        Some(Offer::Hold) if version.is_multiple_of(3) => "inactive",
        Some(Offer::Hold) => "sendonly",
        _ => "sendrecv",
    };
    format!(
        "v=0\r\no=u{marker} {marker}1 {version} IN IP4 {ip}\r\ns={marker} session\r\nc=IN IP4 {connection}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na={direction}\r\n\
         a=rtcp:{rtcp} IN IP4 {ip}\r\na=x-{marker}:{marker}\r\n",
        port = at.port(),
        rtcp = at.port() + 1,
    )
}

/// Where a peer wants to be reached.
fn contact_of(side: Side, transport: Transport) -> String {
    let (marker, at) = (side.marker(), side.sip());
    let transport = match transport {
        Transport::Udp => String::new(),
        other => format!(";transport={}", other.name()),
    };
    format!("sip:u{marker}@{at};x={marker}{transport}")
}

/// Everything of a request that its sender chooses.
pub struct Request<'a> {
    pub side: Side,
    pub method: &'a str,
    pub uri: &'a str,
    pub branch: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    pub sdp: Option<String>,
    pub terse: bool,
    pub transport: Transport,
    /// More header fields, each with its line end.
    pub extra: String,
}

impl Request<'_> {
    pub fn write(&self) -> Vec<u8> {
        let Self {
            side,
            method,
            uri,
            branch,
            from,
            to,
            call_id,
            cseq,
            ..
        } = self;
        let (marker, at) = (side.marker(), side.sip());
        let (proto, contact) = (self.transport.via(), contact_of(*side, self.transport));
        let body = self.sdp.as_deref().unwrap_or("");
        let mut text = String::with_capacity(900 + body.len());
        text.push_str(&format!("{method} {uri} SIP/2.0\r\n"));
        let [via, f, t, i, m, l, c, s] = if self.terse {
            ["v", "f", "t", "i", "m", "l", "c", "s"]
        } else {
            [
                "Via",
                "From",
                "To",
                "Call-ID",
                "Contact",
                "Content-Length",
                "Content-Type",
                "Subject",
            ]
        };
        let fold = if self.terse { "\r\n " } else { " " };
        text.push_str(&format!(
            "{via}: SIP/2.0/{proto} {at};rport;branch={branch}\r\nMax-Forwards: 70\r\n{f}:{fold}{from}\r\n{t}: {to}\r\n\
             {i}: {call_id}\r\nCSeq: {cseq} {method}\r\n"
        ));
        if !matches!(*method, "ACK" | "CANCEL" | "BYE") {
            text.push_str(&format!(
                "{m}: <{contact}>\r\n{s}: {marker} greets\r\nX-Thing: {marker}\r\n\
                 P-Charging-Vector: icid-value={marker}\r\nOrganization: {marker}\r\n"
            ));
        }
        text.push_str(&format!("User-Agent: ua-{marker}/1.0\r\n{}", self.extra));
        if !body.is_empty() {
            let kind = if self.method == "INFO" {
                "dtmf-relay"
            } else {
                "sdp"
            };
            text.push_str(&format!("{c}: application/{kind}\r\n"));
        }
        text.push_str(&format!("{l}: {}\r\n\r\n{body}", body.len()));
        text.into_bytes()
    }
}

/// A response to `request`. An empty `tag` leaves To as it was.
pub fn response(
    side: Side,
    transport: Transport,
    request: &Msg,
    status: u16,
    tag: &str,
    sdp: Option<String>,
    extra: &str,
) -> Vec<u8> {
    let marker = side.marker();
    let contact = contact_of(side, transport);
    let body = sdp.as_deref().unwrap_or("");
    let mut text = String::with_capacity(700 + body.len());
    text.push_str(&format!("SIP/2.0 {status} Says {marker}\r\n"));
    for via in request.all("Via") {
        text.push_str(&format!("Via: {via}\r\n"));
    }
    let to = request.get("To").unwrap_or("");
    let tag = if tag.is_empty() || request.tag_of_to() != "" {
        String::new()
    } else {
        format!(";tag={tag}")
    };
    text.push_str(&format!(
        "From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nServer: srv-{marker}\r\n",
        request.get("From").unwrap_or(""),
        request.call_id(),
        request.get("CSeq").unwrap_or(""),
    ));
    if status < 300 && status != 100 {
        text.push_str(&format!("Contact: <{contact}>\r\n"));
    } else if (300..400).contains(&status) {
        text.push_str(&format!("Contact: <sip:elsewhere@h{marker}.example>\r\n"));
    } else if status >= 400 {
        text.push_str(&format!(
            "Warning: 399 {marker}.example \"{marker}\"\r\nRetry-After: 7 (says {marker})\r\nReason: SIP;cause=1;text=\"{marker}\"\r\n"
        ));
    }
    text.push_str(extra);
    if !body.is_empty() {
        text.push_str("Content-Type: application/sdp\r\n");
    }
    text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

/// An RTP packet (or an RTCP APP packet) that says which call and side it comes from.
pub fn packet(number: u32, side: Side, sequence: u16, rtcp: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(32);
    if rtcp {
        out.extend_from_slice(&[0x80, 204, 0, 4]);
        out.extend_from_slice(&number.to_be_bytes());
        out.extend_from_slice(b"SIMR");
    } else {
        out.extend_from_slice(&[0x80, 0]);
        out.extend_from_slice(&sequence.to_be_bytes());
        out.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
        out.extend_from_slice(&number.to_be_bytes());
    }
    out.extend_from_slice(&number.to_be_bytes());
    out.extend_from_slice(&[side as u8, 0, 0, 0]);
    out
}

/// Call and side of a packet that [`packet`] made.
pub fn packet_origin(bytes: &[u8]) -> Option<(u32, Side)> {
    let number = u32::from_be_bytes(bytes.get(12..16)?.try_into().ok()?);
    match bytes.get(16)? {
        0 => Some((number, Side::A)),
        1 => Some((number, Side::B)),
        _ => None,
    }
}
