//! What peers say: answers to what the shard asked, requests in the dialogs that it has founded, new calls,
//! and noise.

use super::{
    Program,
    world::{Asked, Side, World},
};
use sbc_core::{
    id::ConnectionId,
    sip::{HeaderName, Message, Method},
};
use std::fmt::Write as _;

/// Most dialogs and requests that are remembered.
const REMEMBERED_MAX: usize = 24;

impl Side {
    /// A part of the side's Call-IDs and tags: the other side must not see it.
    pub(crate) const fn secret(self) -> &'static str {
        match self {
            Self::A => "amber",
            Self::B => "beryl",
        }
    }
}

/// A dialog as a peer sees it, or its INVITE that has not founded one.
#[derive(Clone, Debug)]
pub(crate) struct Dialog {
    pub(crate) side: Side,
    call_id: String,
    /// Value of From in its requests.
    local: String,
    remote: String,
    target: String,
    /// Number of its last request, and of its last INVITE.
    cseq: u32,
    invited: u32,
    /// Via of its last INVITE.
    via: String,
    /// The last reliable response that it heard.
    rseq: u32,
}

const STATUSES: [u16; 32] = [
    100, 180, 183, 180, 183, 199, 181, 200, 200, 200, 200, 202, 302, 401, 404, 408, 415, 420, 422, 480, 481,
    486, 487, 488, 491, 500, 503, 504, 603, 606, 404, 200,
];

const METHODS: [&str; 20] = [
    "ACK",
    "ACK",
    "BYE",
    "CANCEL",
    "INVITE",
    "INVITE",
    "UPDATE",
    "UPDATE",
    "PRACK",
    "PRACK",
    "INFO",
    "MESSAGE",
    "REFER",
    "NOTIFY",
    "SUBSCRIBE",
    "OPTIONS",
    "FOO",
    "PUBLISH",
    "ACK",
    "PRACK",
];

/// A header field of a message, unfolded enough for what the shard writes.
fn header<'m>(message: &Message<'m>, name: HeaderName) -> &'m str {
    message
        .header(name)
        .and_then(|value| std::str::from_utf8(value).ok())
        .unwrap_or_default()
}

fn uri_of(contact: &str) -> &str {
    contact
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'))
        .map_or(contact, |(uri, _)| uri)
}

/// The shard said `text` to `side`.
pub(crate) fn hear(world: &mut World, side: Side, text: &str, over: Option<ConnectionId>) {
    let message = match Message::parse(text.as_bytes()) {
        Ok(message) => message,
        Err(_) if world.mixed => return,
        Err(error) => panic!("what the shard says cannot be read: {error}\n{text}"),
    };
    let to = header(&message, HeaderName::To);
    let from = header(&message, HeaderName::From);
    let call_id = header(&message, HeaderName::CallId);
    let contact = uri_of(header(&message, HeaderName::Contact));
    if message.is_request() {
        if message.method() != Method::Ack && !world.asked.iter().any(|asked| asked.text == text) {
            world.asked.push(Asked {
                side,
                text: text.to_owned(),
                over,
                rseq: 0,
                answers: 0,
            });
            bound(&mut world.asked);
        }
        return;
    }
    let about_invite = message.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
    if !about_invite || message.status() == 100 {
        return;
    }
    let number = message.cseq().map_or(1, |cseq| cseq.number);
    let rseq = header(&message, HeaderName::RSeq).parse().unwrap_or(0);
    let is_this =
        |dialog: &&mut Dialog| dialog.side == side && dialog.call_id == call_id && dialog.local == from;
    if let Some(invite) = world.invites.iter_mut().rev().find(is_this) {
        to.clone_into(&mut invite.remote);
    }
    let known = world
        .dialogs
        .iter_mut()
        .find(|dialog| is_this(dialog) && dialog.remote == to);
    match known {
        Some(dialog) if rseq > 0 => dialog.rseq = rseq,
        None if message.status() < 300 => {
            world.dialogs.push(Dialog {
                side,
                call_id: call_id.to_owned(),
                local: from.to_owned(),
                remote: to.to_owned(),
                target: contact.to_owned(),
                cseq: number,
                invited: number,
                via: header(&message, HeaderName::Via).to_owned(),
                rseq,
            });
            bound(&mut world.dialogs);
        }
        _ => {}
    }
}

fn bound<T>(all: &mut Vec<T>) {
    if all.len() > REMEMBERED_MAX {
        all.remove(0);
    }
}

/// The newest but `byte` of all.
fn newest(len: usize, byte: u8) -> Option<usize> {
    (len > 0).then(|| len - 1 - usize::from(byte) % len)
}

/// A description of `side`'s, or what is none.
fn sdp(side: Side, what: u8, serial: u32) -> String {
    let host = side.host();
    let version = if what & 0x40 == 0 { 1 } else { serial };
    let mut text = format!("v=0\r\no=x 1 {version} IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n");
    text.push_str(match what % 8 {
        0 | 1 => "m=audio 4000 RTP/AVP 0 8\r\n",
        2 => "m=audio 4000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n",
        3 => "m=audio 4000 RTP/AVP 0\r\na=inactive\r\n",
        4 => "m=video 5000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\nm=audio 4002 RTP/AVP 0 8\r\n",
        5 => "m=video 5000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n",
        6 => "m=audio 0 RTP/AVP 0\r\n",
        _ => return "not a description".into(),
    });
    text
}

fn end(text: &mut String, side: Side, bits: u8, serial: u32) {
    let body = if bits & 1 == 1 {
        sdp(side, bits >> 1, serial)
    } else {
        String::new()
    };
    if !body.is_empty() {
        text.push_str("Content-Type: application/sdp\r\n");
    }
    let _ = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
}

fn contact(world: &World, side: Side, bits: u8) -> String {
    let host = side.host();
    let transport = if world.is_tcp(side) { ";transport=tcp" } else { "" };
    match bits % 8 {
        0..=3 => format!("<sip:{}@{host}:5060{transport}>", side.secret()),
        4 => format!("<sip:x@{host}:5070>"),
        5 => format!("<sip:x@{host}:5070;transport=tcp>"),
        6 => "<sip:x@phone.test>".to_owned(),
        _ => format!("<sips:x@{host}>"),
    }
}

/// What a message says of its sender's abilities.
fn abilities(text: &mut String, bits: u8) {
    if bits & 1 == 1 {
        text.push_str("Allow: INVITE, ACK, BYE, CANCEL, UPDATE, PRACK\r\n");
    }
    text.push_str(match bits >> 1 & 3 {
        1 => "Supported: 100rel, timer\r\n",
        2 => "Supported: timer\r\n",
        3 => "Supported: replaces\r\n",
        _ => "",
    });
    text.push_str(match bits >> 3 & 7 {
        1 => "Session-Expires: 90;refresher=uac\r\n",
        2 => "Session-Expires: 90;refresher=uas\r\n",
        3 => "Session-Expires: 1800\r\nMin-SE: 1000\r\n",
        4 => "Session-Expires: 10\r\n",
        5 => "Min-SE: 3600\r\n",
        _ => "",
    });
}

/// A peer answers a request of the shard's.
pub(crate) fn answer(world: &mut World, program: &mut Program<'_>) {
    let Some(at) = newest(world.asked.len(), program.byte()) else {
        return;
    };
    let (what, bits, more) = (program.byte(), program.byte(), program.byte());
    let status = STATUSES[usize::from(what & 31)];
    world.serial += 1;
    let serial = world.serial;
    let asked = &mut world.asked[at];
    let (side, over) = (asked.side, asked.over);
    let request = asked.text.clone();
    let Ok(request) = Message::parse(request.as_bytes()) else {
        return;
    };
    let is_invite = request.method() == Method::Invite;
    let mut text = format!("SIP/2.0 {status} Whatever\r\n");
    for name in [
        HeaderName::Via,
        HeaderName::From,
        HeaderName::CallId,
        HeaderName::CSeq,
    ] {
        let _ = write!(text, "{}: {}\r\n", name.as_str(), header(&request, name));
    }
    let mut to = header(&request, HeaderName::To).to_owned();
    let inside = to.contains("tag=");
    if !inside && status != 100 {
        let _ = write!(to, ";tag={}{}", side.secret(), what >> 5 & 1);
    }
    let _ = write!(text, "To: {to}\r\n");
    let reliable = is_invite && (101..200).contains(&status) && what & 0x40 != 0;
    if reliable {
        asked.rseq += 1 + u32::from(more == 0xff);
        let _ = write!(text, "Require: 100rel\r\nRSeq: {}\r\n", asked.rseq);
    }
    asked.answers += u32::from(status >= 200);
    if status >= 300 || (status >= 200 && (!is_invite || asked.answers > 2)) {
        world.asked.remove(at);
    }
    if more & 0x40 != 0 && is_invite {
        let _ = write!(text, "Record-Route: <sip:{}:5080;lr>\r\n", side.host());
    }
    text.push_str(match status {
        401 => "WWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\n",
        422 => "Min-SE: 200\r\n",
        503 => "Retry-After: 10\r\n",
        _ => "",
    });
    if what & 0x80 == 0 {
        let _ = write!(text, "Contact: {}\r\n", contact(world, side, more));
    }
    abilities(
        &mut text,
        more >> 3 & 7 | if status < 300 { bits >> 2 & 0x38 } else { 0 },
    );
    end(&mut text, side, bits, serial);
    if is_invite && !inside && (101..300).contains(&status) {
        found(world, side, &request, to);
    }
    world.deliver(side, over, text);
}

/// The dialog that an answer to the shard's INVITE founds.
fn found(world: &mut World, side: Side, invite: &Message<'_>, local: String) {
    let call_id = header(invite, HeaderName::CallId);
    if world
        .dialogs
        .iter()
        .any(|dialog| dialog.call_id == call_id && dialog.local == local)
    {
        return;
    }
    world.dialogs.push(Dialog {
        side,
        call_id: call_id.to_owned(),
        local,
        remote: header(invite, HeaderName::From).to_owned(),
        target: uri_of(header(invite, HeaderName::Contact)).to_owned(),
        cseq: 0,
        invited: 1,
        via: String::new(),
        rseq: 0,
    });
    bound(&mut world.dialogs);
}

fn via(world: &mut World, side: Side) -> String {
    world.serial += 1;
    let transport = if world.is_tcp(side) { "TCP" } else { "UDP" };
    format!(
        "SIP/2.0/{transport} {}:5060;branch=z9hG4bK{}{}",
        side.host(),
        side.secret(),
        world.serial
    )
}

/// A peer asks something inside a dialog.
pub(crate) fn ask(world: &mut World, program: &mut Program<'_>) {
    let (which, what, bits, more) = (program.byte(), program.byte(), program.byte(), program.byte());
    let method = METHODS[usize::from(what) % METHODS.len()];
    // CANCEL, and the ACK of a refusal, are about an INVITE.
    let about_invite = method == "CANCEL" || method == "ACK" && what >= 240;
    let at = newest(
        if about_invite {
            world.invites.len()
        } else {
            world.dialogs.len()
        },
        which,
    );
    let Some(at) = at else { return };
    let via = via(
        world,
        if about_invite {
            world.invites[at].side
        } else {
            world.dialogs[at].side
        },
    );
    let serial = world.serial;
    let dialog = if about_invite {
        &mut world.invites[at]
    } else {
        &mut world.dialogs[at]
    };
    let number = match method {
        "ACK" | "CANCEL" => dialog.invited,
        _ if more & 0x80 != 0 => dialog.cseq,
        _ => {
            dialog.cseq += 1;
            dialog.cseq
        }
    };
    if method == "INVITE" {
        dialog.invited = number;
        via.clone_into(&mut dialog.via);
    }
    let via = if about_invite { dialog.via.clone() } else { via };
    let dialog = dialog.clone();
    if method == "INVITE" {
        world.invites.push(dialog.clone());
        bound(&mut world.invites);
    }
    let remote = match method {
        "CANCEL" => dialog.remote.split(";tag=").next().unwrap_or_default(),
        _ => &dialog.remote,
    };
    let mut text = format!(
        "{method} {} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: {}\r\nFrom: {}\r\nTo: {remote}\r\nCall-ID: {}\r\n\
         CSeq: {number} {method}\r\n",
        dialog.target,
        if more & 0x40 != 0 { 0 } else { 70 },
        dialog.local,
        dialog.call_id
    );
    match method {
        "INVITE" | "UPDATE" => {
            let _ = write!(text, "Contact: {}\r\n", contact(world, dialog.side, more));
            abilities(&mut text, more >> 3 & 7 | bits >> 2 & 0x38);
        }
        "PRACK" => {
            let rseq = dialog.rseq.max(1) + u32::from(more & 0x20 != 0);
            let _ = write!(text, "RAck: {rseq} {} INVITE\r\n", dialog.invited);
        }
        "REFER" => {
            let _ = write!(text, "Contact: {}\r\n", contact(world, dialog.side, more));
            let other = newest(world.dialogs.len(), bits).map(|at| &world.dialogs[at]);
            match other.filter(|_| more & 8 != 0) {
                Some(other) => {
                    let replaces = replaces(other)
                        .replace(';', "%3B")
                        .replace('=', "%3D")
                        .replace('@', "%40");
                    let _ = write!(
                        text,
                        "Refer-To: <sip:2000@{}?Replaces={replaces}>\r\n",
                        other.side.host()
                    );
                }
                None => text.push_str("Refer-To: <sip:2000@127.0.0.1>\r\n"),
            }
        }
        "NOTIFY" | "SUBSCRIBE" => {
            let _ = write!(text, "Contact: {}\r\n", contact(world, dialog.side, more));
            text.push_str(match more >> 3 & 3 {
                0 => "Event: refer\r\n",
                1 => "Event: refer;id=2\r\n",
                2 => "Event: refer;id=3\r\n",
                _ => "Event: presence\r\n",
            });
            text.push_str(match more >> 5 & 1 {
                0 => "Subscription-State: active;expires=60\r\nExpires: 60\r\n",
                _ => "Subscription-State: terminated;reason=noresource\r\nExpires: 0\r\n",
            });
        }
        "BYE" | "CANCEL" if more & 1 == 1 => text.push_str("Reason: Q.850;cause=16\r\n"),
        _ => {}
    }
    match method {
        "INFO" | "MESSAGE" => {
            let body = "x".repeat(usize::from(bits) * 8);
            let _ = write!(
                text,
                "Content-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
        "NOTIFY" if bits & 1 == 1 => {
            let body = "SIP/2.0 200 OK\r\n";
            let _ = write!(
                text,
                "Content-Type: message/sipfrag\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
        "BYE" | "CANCEL" | "REFER" | "NOTIFY" | "SUBSCRIBE" | "OPTIONS" => {
            text.push_str("Content-Length: 0\r\n\r\n")
        }
        _ => end(&mut text, dialog.side, bits, serial),
    }
    world.deliver(dialog.side, None, text);
}

/// Value of a Replaces that names a dialog of a peer with the shard.
fn replaces(dialog: &Dialog) -> String {
    let tag = |value: &str| value.split(";tag=").nth(1).unwrap_or("none").to_owned();
    format!(
        "{};to-tag={};from-tag={}",
        dialog.call_id,
        tag(&dialog.remote),
        tag(&dialog.local)
    )
}

/// A peer calls.
pub(crate) fn invite(world: &mut World, program: &mut Program<'_>) {
    let (what, bits, more) = (program.byte(), program.byte(), program.byte());
    let side = if what & 1 == 0 { Side::A } else { Side::B };
    let via = via(world, side);
    let serial = world.serial;
    let (host, secret) = (side.host(), side.secret());
    let dialog = Dialog {
        side,
        call_id: format!("{secret}-call-{serial}"),
        local: format!("\"Name\" <sip:4930@{host}>;tag={secret}{serial}"),
        remote: "<sip:1000@127.0.0.1>".into(),
        target: "sip:1000@127.0.0.1".into(),
        cseq: 1,
        invited: 1,
        via,
        rseq: 0,
    };
    let hops = match what >> 6 {
        0 | 1 => 70,
        2 => u32::from(what >> 4 & 3),
        _ => 255,
    };
    let mut text = format!(
        "INVITE {} SIP/2.0\r\nVia: {}\r\nMax-Forwards: {hops}\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
         CSeq: 1 INVITE\r\nContact: {}\r\n",
        dialog.target,
        dialog.via,
        dialog.local,
        dialog.remote,
        dialog.call_id,
        contact(world, side, more)
    );
    text.push_str(match what >> 1 & 7 {
        1 => "Require: 100rel\r\n",
        2 => "Require: replaces\r\n",
        3 => "Privacy: id\r\n",
        4 => "Record-Route: <sip:proxy.test;lr>\r\n",
        5 => "Require: timer\r\n",
        _ => "",
    });
    if what & 0x10 != 0
        && what & 0x80 == 0
        && let Some(at) = newest(world.dialogs.len(), more)
    {
        let _ = write!(text, "Replaces: {}\r\n", replaces(&world.dialogs[at]));
    }
    abilities(&mut text, more >> 3 & 7 | bits >> 2 & 0x38);
    end(&mut text, side, bits, serial);
    world.invites.push(dialog);
    bound(&mut world.invites);
    world.deliver(side, None, text);
}

/// What was said is said again, or by the other side.
pub(crate) fn repeat(world: &mut World, program: &mut Program<'_>) {
    let what = program.byte();
    let Some(at) = newest(world.said.len(), what & 15) else {
        return;
    };
    let (side, text) = world.said[at].clone();
    let swapped = what & 0x80 != 0;
    world.mixed |= swapped;
    let side = if swapped { side.other() } else { side };
    world.deliver(side, None, text);
}

/// Bytes of the program.
pub(crate) fn noise_text(program: &mut Program<'_>) -> Vec<u8> {
    let length = program.byte() & 63;
    (0..length).map(|_| program.byte()).collect()
}

/// Something that may be no message at all comes from a peer, or from nobody that we know.
pub(crate) fn noise(world: &mut World, program: &mut Program<'_>) {
    let what = program.byte();
    let mut bytes = noise_text(program);
    world.mixed = true;
    // Most often a whole message with something strange in it.
    if what & 3 != 0
        && let Some((_, text)) = world.said.back()
        && !bytes.is_empty()
    {
        let mut changed = text.clone().into_bytes();
        let at = usize::from(what >> 2) * 8 % changed.len();
        let end = (at + bytes.len()).min(changed.len());
        changed.splice(at..end, bytes);
        bytes = changed;
    }
    match what >> 6 {
        0 => world.datagram(Side::A.address(), &bytes),
        1 => world.datagram(Side::B.address(), &bytes),
        2 => world.datagram(std::net::SocketAddr::from(([127, 0, 0, 9], 5060)), &bytes),
        _ => {
            let id = world
                .lines
                .iter()
                .rev()
                .find(|line| line.open)
                .map(|line| line.id);
            if let Some(id) = id {
                world.write(id, &bytes);
            }
        }
    }
}
