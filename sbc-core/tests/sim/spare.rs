//! A trunk beside the peer of each side, which is asked before the peer and takes no call: it refuses, redirects, rings for
//! ever, plays early media, says nothing, or answers when it is too late. What it does to a call follows from the Call-ID
//! of its leg, so it needs no memory.

use super::{
    message::Msg,
    plan::{MS, Side},
    world::{Event, World},
};
use bytes::Bytes;
use sbc_core::shard::ListenerId;
use std::{
    hash::{DefaultHasher, Hasher},
    rc::Rc,
};

impl World {
    /// A message of the SBC to the spare trunk of `side`.
    pub(super) fn spare_receives(&mut self, side: Side, listener: ListenerId, payload: &Bytes) {
        self.out.to_spare += 1;
        self.check_leak(side, payload);
        let Some(msg) = Msg::parse(payload).filter(|msg| msg.status().is_none()) else {
            return;
        };
        for delay in self.network.carry(payload) {
            for (later, reply) in replies(side, &msg) {
                let at = self.now + delay + later;
                for delay in self.network.carry(&reply) {
                    let from = side.spare();
                    let bytes = Rc::from(&reply[..]);
                    self.push(
                        at + delay,
                        Event::ToSbc {
                            from,
                            listener,
                            bytes,
                        },
                    );
                }
            }
        }
    }
}

/// What it says to a request, and how much later.
fn replies(side: Side, msg: &Msg) -> Vec<(u64, Bytes)> {
    let mut hasher = DefaultHasher::new();
    hasher.write(msg.call_id().as_bytes());
    let mood = hasher.finish();
    let say =
        |after: u64, status: u16, sdp: bool| (after * MS, reply(side, msg, status, "INVITE", sdp, mood));
    let soon = mood >> 8 & 0xff;
    match (msg.method(), mood % 12) {
        ("INVITE", 0) => vec![],
        ("INVITE", 1) => vec![say(soon, 503, false)],
        ("INVITE", 2) => vec![say(soon, 480, false)],
        ("INVITE", 3) => vec![say(soon, 302, false)],
        ("INVITE", 4) => vec![say(soon, 100, false)],
        ("INVITE", 5 | 6) => vec![say(soon, 180, false)],
        ("INVITE", 7 | 8) => vec![say(soon, 183, true), say(soon + 2_000, 500, false)],
        ("INVITE", 9) => vec![say(soon, 100, false), say(soon + 500, 488, false)],
        ("INVITE", 10) => vec![say(soon, 180, false), say(soon + 1_500, 500, false)],
        ("INVITE", _) => vec![say(soon, 100, false), say(soon + 100, 486, false)],
        // One of them has answered before the CANCEL came.
        ("CANCEL", 6) => vec![
            (0, reply(side, msg, 200, "CANCEL", false, mood)),
            say(1, 200, true),
        ],
        ("CANCEL", _) => vec![
            (0, reply(side, msg, 200, "CANCEL", false, mood)),
            say(1, 487, false),
        ],
        ("ACK", _) => vec![],
        (method, _) => vec![(0, reply(side, msg, 200, method, false, mood))],
    }
}

fn reply(side: Side, msg: &Msg, status: u16, method: &str, sdp: bool, mood: u64) -> Bytes {
    let mut text = format!("SIP/2.0 {status} Spare\r\n");
    for via in msg.all("Via") {
        text += &format!("Via: {via}\r\n");
    }
    let tag = match msg.tag_of_to() {
        "" if status != 100 => format!(";tag={}{mood:x}", side.marker()),
        _ => String::new(),
    };
    let (from, to) = (msg.get("From").unwrap_or(""), msg.get("To").unwrap_or(""));
    let at = side.spare();
    text += &format!(
        "From: {from}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {} {method}\r\nContact: <sip:{}x{:x}@{at}>\r\n",
        msg.call_id(),
        msg.cseq(),
        side.marker(),
        mood >> 32
    );
    let body = match sdp {
        true => format!(
            "v=0\r\no={0} 1 1 IN IP4 {1}\r\ns={0}\r\nc=IN IP4 {1}\r\nt=0 0\r\nm=audio {2} RTP/AVP 0\r\n",
            side.marker(),
            at.ip(),
            40_000 + mood % 10_000 * 2
        ),
        false => String::new(),
    };
    if sdp {
        text += "Content-Type: application/sdp\r\n";
    }
    text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    text.into()
}
