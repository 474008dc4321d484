//! Topology hiding, the hard way: every header, tag, Call-ID, host, parameter and SDP line of each
//! side carries that side's marker, and no byte of it may reach the other side, through set-up,
//! re-INVITE, CANCEL, every class of failure and BYE. Only the numbers pass.

// `message` also serves the simulator, which uses more of it.
#![allow(dead_code, unreachable_pub, missing_docs)]

#[path = "sim/message.rs"]
mod message;
#[path = "leak/messages.rs"]
mod messages;
#[path = "leak/passing.rs"]
mod passing;
#[path = "leak/ringback.rs"]
mod ringback;
#[path = "leak/rtcp.rs"]
mod rtcp;

use message::{Msg, param, uri, user};
use sbc_core::{
    admission::{Admission, LimitId, LimitSpec},
    routing::RouteTable,
    shard::{Command, ListenerId, Output, Reply, Shard, ShardId},
    snapshot::{Former, Listener, Media, MediaInterface, Refer, Sip, Snapshot, Srtp, Streams, Trunk},
    time::Timestamp,
    transport::Transport,
    trunk::{SourceTable, TrunkId},
};
use sbc_media::{relay::PairIndex, srtp::Suite};
use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    A,
    B,
}

use Side::{A, B};

const CALLER: &str = "+4412345";
const CALLEE: &str = "+1598765";

impl Side {
    fn other(self) -> Self {
        if self == A { B } else { A }
    }

    /// No word of the protocol, and the same in any case.
    fn marker(self) -> &'static str {
        if self == A { "771144771144" } else { "882255882255" }
    }

    fn network(self) -> &'static str {
        if self == A { "10.71." } else { "10.82." }
    }

    fn sip(self) -> SocketAddr {
        format!("{}0.2:5060", self.network()).parse().unwrap()
    }

    fn sbc(self) -> SocketAddr {
        if self == A {
            "192.0.2.1:5060"
        } else {
            "198.51.100.1:5060"
        }
        .parse()
        .unwrap()
    }

    fn listener(self) -> ListenerId {
        ListenerId(self as u8)
    }

    fn call_id(self) -> String {
        format!("id{0}@h{0}.example", self.marker())
    }
}

/// One shard between two peers that are a script each.
struct Stage {
    shard: Shard,
    now: u64,
    seen: [Vec<Msg>; 2],
    bytes_checked: usize,
    records: u32,
    branches: u32,
}

impl Stage {
    fn new() -> Self {
        Self::with(Refer::Pass)
    }

    fn with(refer: Refer) -> Self {
        Self::of(|trunk| trunk.peer.refer = refer)
    }

    /// With trunks changed by `change`.
    fn of(change: impl Fn(&mut Trunk)) -> Self {
        let side = |s: Side| {
            let mut trunk = Trunk::new(&format!("trunk {s:?}"), s.sip(), s.listener());
            trunk.media.srtp = Srtp::Optional;
            trunk.media.srtp_suites = vec![Suite::AesCm128Sha1_80];
            change(&mut trunk);
            trunk
        };
        let listener = |s: Side| Listener {
            name: format!("{s:?}"),
            bind: s.sbc(),
            advertised: s.sbc(),
            transport: Transport::Udp,
            dscp: 0,
            tls: None,
        };
        let hosts = [A, B].map(|s| (TrunkId(s as u16), s.sip().ip().to_string().parse().unwrap()));
        let snapshot = Snapshot {
            listeners: vec![listener(A), listener(B)],
            trunks: vec![side(A), side(B)],
            routes: Arc::new(RouteTable::straight(&[
                (TrunkId(0), TrunkId(1)),
                (TrunkId(1), TrunkId(0)),
            ])),
            sources: SourceTable::build(&hosts).unwrap(),
            former: Former::default(),
            domains: HashMap::new(),
            aliases: sbc_core::numbers::Aliases::default(),
            siblings: Default::default(),
            logins: Default::default(),
            health: Arc::default(),
            media: Media {
                interfaces: vec![MediaInterface {
                    name: "media".to_owned(),
                    bind: [203, 0, 113, 9].into(),
                    advertised: [203, 0, 113, 9].into(),
                    ports: (10_000, 10_099),
                    dscp: 0,
                }],
                quarantine: Duration::from_secs(1),
                timeout: Duration::ZERO,
                unlatched_timeout: Duration::ZERO,
                rtcp_interval: Duration::from_secs(5),
            },
            sip: Sip {
                t1: Duration::from_millis(500),
                t2: Duration::from_secs(4),
                t4: Duration::from_secs(5),
                failover: Duration::from_secs(4),
                no_answer: Duration::from_secs(60),
                calls_max: 10,
                transactions_max: 1000,
                server_name: "sbcd".to_owned(),
            },
            streams: Streams::default(),
            guard: sbc_core::guard::Rules::default(),
            scoped: Default::default(),
            overload: Default::default(),
            limits: LimitId(0),
            reject_code: 503,
        };
        let admission = Admission::new(vec![LimitSpec {
            name: "all".to_owned(),
            burst: 1,
            ..LimitSpec::default()
        }]);
        let mut shard = Shard::new(ShardId(0), 1, Arc::new(snapshot), Arc::new(admission), 7, 8);
        for pair in 0..8 {
            shard.add_media_pair(
                sbc_core::id::InterfaceId(0),
                PairIndex(pair),
                10_000 + 2 * pair as u16,
            );
        }
        Self {
            shard,
            now: 1_000,
            seen: [Vec::new(), Vec::new()],
            bytes_checked: 0,
            records: 0,
            branches: 0,
        }
    }

    fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    fn say(&mut self, from: Side, bytes: &[u8]) {
        self.now += 20;
        self.shard
            .handle_datagram(self.at(), from.listener(), from.sip(), bytes);
        self.drain();
    }

    fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(at) = self.shard.poll_timeout().filter(|at| at.as_millis() <= until) {
            self.now = self.now.max(at.as_millis()) + 1;
            self.shard.handle_timeout(self.at());
            self.drain();
        }
        self.now = self.now.max(until);
    }

    fn drain(&mut self) {
        while let Some(output) = self.shard.poll_output() {
            match output {
                Output::Transmit {
                    listener,
                    peer,
                    payload,
                } => {
                    let to = if peer == A.sip() { A } else { B };
                    assert_eq!(
                        (peer, listener),
                        (to.sip(), to.listener()),
                        "sent to nobody we know"
                    );
                    check(to, &payload);
                    self.bytes_checked += payload.len();
                    self.seen[to as usize].push(Msg::parse(&payload).expect("readable"));
                }
                Output::Record(_) => self.records += 1,
                Output::Event(_) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    /// The last message of this kind that `side` was sent.
    fn last(&self, side: Side, kind: &str) -> Msg {
        let is = |m: &&Msg| m.start.starts_with(kind) || m.start.starts_with(&format!("SIP/2.0 {kind}"));
        self.seen[side as usize]
            .iter()
            .rev()
            .find(is)
            .cloned()
            .unwrap_or_else(|| {
                let got: Vec<&str> = self.seen[side as usize]
                    .iter()
                    .map(|m| m.start.as_str())
                    .collect();
                panic!("side {side:?} never got {kind}; it got {got:?}")
            })
    }

    fn branch(&mut self, side: Side) -> String {
        self.branches += 1;
        format!("z9hG4bK{}x{}", side.marker(), self.branches)
    }

    fn end(mut self) {
        self.wait(120_000);
        self.shard.handle_command(self.at(), 1, Command::Stats);
        let Some(Output::Reply(1, reply)) = self.shard.poll_output() else {
            panic!("no statistics")
        };
        let Reply::Stats(counters, gauges) = *reply else {
            panic!("no statistics")
        };
        assert_eq!((gauges.calls, gauges.transactions, gauges.media_pairs), (0, 0, 0));
        assert_eq!(counters.internal_errors, 0);
        assert_eq!(u64::from(self.records), counters.calls_admitted);
        assert!(
            self.bytes_checked > 1_000,
            "nothing was sent, so nothing was checked"
        );
    }
}

/// No byte of the other side, nor of the SBC's face to it.
fn check(to: Side, payload: &[u8]) {
    let other = to.other();
    let face = other.sbc().ip().to_string();
    for secret in [other.marker(), other.network(), &face] {
        if memchr::memmem::find(payload, secret.as_bytes()).is_some() {
            panic!(
                "{secret} of side {other:?} reached side {to:?}:\n{}",
                String::from_utf8_lossy(payload)
            );
        }
    }
}

/// Header fields that a request or response may carry, each with the marker.
fn extras(side: Side) -> String {
    let m = side.marker();
    let h = format!("h{m}.example");
    format!(
        "Accept-Language: x{m}\r\nAlert-Info: <http://{h}/ring>\r\nAllow-Events: e{m}\r\nAuthorization: Digest username=\"{m}\"\r\n\
         Call-Info: <http://{h}/photo>;purpose=icon\r\nContent-Language: x{m}\r\nDate: {m}\r\nDiversion: <sip:{m}@{h}>;reason=unknown\r\n\
         Error-Info: <sip:{m}@{h}>\r\nGeolocation: <cid:{m}@{h}>\r\nHistory-Info: <sip:{m}@{h}>;index=1\r\nIdentity: {m};info=<http://{h}>\r\n\
         In-Reply-To: {m}@{h}\r\nOrganization: {m}\r\nP-Access-Network-Info: {m}\r\nP-Asserted-Identity: \"{m}\" <sip:{m}@{h}>\r\n\
         P-Charging-Vector: icid-value={m};orig-ioi={h}\r\nP-Preferred-Identity: <sip:{m}@{h}>\r\nPriority: p{m}\r\n\
         Proxy-Authorization: Digest realm=\"{h}\"\r\nProxy-Authenticate: Digest realm=\"{h}\", nonce=\"{m}\"\r\n\
         WWW-Authenticate: Digest realm=\"{h}\", nonce=\"{m}\"\r\nReason: Q.850;cause=16;text=\"{m}\", SIP;cause=580;x={m}\r\n\
         Referred-By: <sip:{m}@{h}>\r\nRemote-Party-ID: <sip:{m}@{h}>;party=calling\r\nReply-To: <sip:{m}@{h}>\r\nServer: {m}\r\n\
         Session-ID: {m};remote={m}\r\nSubject: {m}\r\nSupported: o{m}\r\nAllow: INVITE, X{m}\r\nTimestamp: {m}\r\nUser-Agent: {m}\r\n\
         User-to-User: {m};encoding=hex\r\nWarning: 399 {h} \"{m}\"\r\nRetry-After: 5 (at {m});duration=60;x={m}\r\n\
         X-Secret: {m}\r\nx{m}: y\r\nP-Early-Media: x{m}\r\nAccept: application/sdp, x/{m}\r\nMIME-Version: 1.0 ({m})\r\n"
    )
}

fn sdp(side: Side, version: u32, direction: &str) -> String {
    let (m, net) = (side.marker(), side.network());
    format!(
        "v=0\r\no=u{m} {m}9 {version} IN IP4 {net}9.9\r\ns=s{m}\r\ni=i{m}\r\nu=http://h{m}.example\r\ne=e@h{m}.example\r\np=+{m}\r\n\
         c=IN IP4 {net}9.9\r\nb=X-{m}:64\r\nt=0 0\r\nk=clear:{m}\r\na=tool:{m}\r\na=group:BUNDLE {m}\r\na=x-{m}\r\n\
         m=audio 30000 RTP/AVP 0 8 101\r\ni=media {m}\r\nc=IN IP4 {net}9.8\r\nb=X-{m}:64\r\nk=clear:{m}\r\na=rtpmap:0 PCMU/8000\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na={direction}\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{m}{m}{m}AAAA|2^20\r\n\
         a=rtcp:30001 IN IP4 {net}9.8\r\na=candidate:1 1 UDP 1 {net}9.8 30000 typ host\r\na=ice-ufrag:{m}\r\na=ice-pwd:{m}{m}{m}{m}\r\n\
         a=ssrc:1 cname:{m}@h{m}.example\r\na=mid:{m}\r\na=label:{m}\r\na=x-{m}:{m}\r\n\
         m=video 30002 RTP/AVP 96\r\ni={m}\r\nc=IN IP4 {net}9.7\r\na=rtpmap:96 X{m}/90000\r\na=fmtp:96 {m}\r\na=x-{m}\r\n"
    )
}

/// A request with everything marked, around the parts that a dialog fixes.
#[allow(clippy::too_many_arguments, reason = "the fields of a request, written once")]
fn request(
    side: Side,
    method: &str,
    target: &str,
    branch: &str,
    from: &str,
    to: &str,
    call_id: &str,
    cseq: u32,
    body: &str,
) -> Vec<u8> {
    let (m, at) = (side.marker(), side.sip());
    let extras = if method == "ACK" {
        String::new()
    } else {
        extras(side)
    };
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {at};rport;branch={branch};x={m}\r\n\
         Via: SIP/2.0/UDP {net}7.7;branch=z9hG4bKhop{m};received={net}6.6\r\nRecord-Route: <sip:{m}@{at};lr;x={m}>\r\nMax-Forwards: 70\r\n\
         From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: \"{m}\" <sip:u{m}@{at};x={m}>;p={m}\r\n\
         {extras}{kind}Content-Length: {}\r\n\r\n{body}",
        body.len(),
        net = side.network(),
    )
    .into_bytes()
}

fn response(side: Side, to: &Msg, status: u16, body: &str) -> Vec<u8> {
    let (m, at) = (side.marker(), side.sip());
    let mut text = format!("SIP/2.0 {status} Because {m}\r\n");
    for via in to.all("Via") {
        text.push_str(&format!("Via: {via}\r\n"));
    }
    let tag = if to.tag_of_to().is_empty() && status > 100 {
        format!(";tag=t{m};x={m}")
    } else {
        String::new()
    };
    let contact = if status < 300 {
        format!("<sip:u{m}@{at};x={m}>")
    } else {
        format!("<sip:u{m}@h{m}.example>;q=1.0")
    };
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    text.push_str(&format!(
        "Record-Route: <sip:{m}@{at};lr;x={m}>\r\nFrom: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: {contact}\r\n{}{kind}Content-Length: {}\r\n\r\n{body}",
        to.get("From").unwrap(),
        to.get("To").unwrap(),
        to.call_id(),
        to.get("CSeq").unwrap(),
        extras(side),
        body.len(),
    ));
    text.into_bytes()
}

fn caller_from() -> String {
    let m = A.marker();
    format!("\"Name {m}\" <sip:{CALLER}@h{m}.example;x={m}>;tag=f{m};x={m}")
}

fn caller_to() -> String {
    let m = A.marker();
    format!("\"To {m}\" <sip:{CALLEE}@h{m}.example;x={m}>;x={m}")
}

fn invite(stage: &mut Stage) -> Vec<u8> {
    let branch = stage.branch(A);
    let m = A.marker();
    let target = format!("sip:{CALLEE}@{};x{m}={m}", A.sbc());
    request(
        A,
        "INVITE",
        &target,
        &branch,
        &caller_from(),
        &caller_to(),
        &A.call_id(),
        1,
        &sdp(A, 1, "sendrecv"),
    )
}

/// The A leg's ACK or CANCEL, as the transaction of `invite` wants it.
fn with_invite(method: &str, invite: &Msg, to: &str) -> Vec<u8> {
    request(
        A,
        method,
        invite.request_uri(),
        invite.branch(),
        &caller_from(),
        to,
        &A.call_id(),
        1,
        "",
    )
}

/// An answered call: what A and B need to speak inside their dialogs.
struct Talk {
    a_to: String,
    a_target: String,
    b_from: String,
    b_to: String,
    b_call_id: String,
    b_target: String,
}

impl Talk {
    fn say(&self, stage: &mut Stage, side: Side, method: &str, cseq: u32, body: &str) {
        let branch = stage.branch(side);
        let bytes = match side {
            A => request(
                A,
                method,
                &self.a_target,
                &branch,
                &caller_from(),
                &self.a_to,
                &A.call_id(),
                cseq,
                body,
            ),
            B => request(
                B,
                method,
                &self.b_target,
                &branch,
                &self.b_from,
                &self.b_to,
                &self.b_call_id,
                cseq,
                body,
            ),
        };
        stage.say(side, &bytes);
    }
}

fn answered(stage: &mut Stage) -> Talk {
    let bytes = invite(stage);
    stage.say(A, &bytes);
    let at_b = stage.last(B, "INVITE");
    assert_eq!(user(at_b.request_uri()), CALLEE);
    assert_eq!(at_b.get("To").map(uri).map(user), Some(CALLEE));
    assert_eq!(at_b.get("From").map(uri).map(user), Some(CALLER));
    stage.say(B, &response(B, &at_b, 100, ""));
    stage.say(B, &response(B, &at_b, 180, ""));
    stage.say(B, &response(B, &at_b, 183, &sdp(B, 1, "sendrecv")));
    assert!(stage.last(A, "183").media().is_some(), "early media is described");
    let ok = response(B, &at_b, 200, &sdp(B, 1, "sendrecv"));
    stage.say(B, &ok);
    let at_a = stage.last(A, "200");
    let media = at_a
        .media()
        .and_then(|m| m.at)
        .expect("the answer describes audio");
    assert_eq!(media.ip().to_string(), "203.0.113.9");
    let talk = Talk {
        a_to: at_a.get("To").unwrap().to_owned(),
        a_target: uri(at_a.get("Contact").unwrap()).to_owned(),
        b_from: Msg::parse(&ok).unwrap().get("To").unwrap().to_owned(),
        b_to: at_b.get("From").unwrap().to_owned(),
        b_call_id: at_b.call_id().to_owned(),
        b_target: uri(at_b.get("Contact").unwrap()).to_owned(),
    };
    for told in [&at_a, &at_b] {
        let key = memchr::memmem::find(&told.body, b"inline:");
        assert!(key.is_some(), "each side has a key, of ours");
    }
    talk.say(stage, A, "ACK", 1, "");
    stage.last(B, "ACK");
    talk
}

#[test]
fn set_up_and_bye_by_the_caller() {
    let mut stage = Stage::new();
    let talk = answered(&mut stage);
    talk.say(&mut stage, A, "BYE", 2, "");
    let bye = stage.last(B, "BYE");
    assert!(param(bye.get("To").unwrap(), "tag").is_some());
    stage.say(B, &response(B, &bye, 200, ""));
    stage.end();
}

/// A message with more header fields, in front of its Contact.
fn with(bytes: Vec<u8>, fields: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes).unwrap();
    text.replacen("\r\nContact:", &format!("\r\n{fields}Contact:"), 1)
        .into_bytes()
}

#[test]
fn reliable_responses_and_updates() {
    let mut stage = Stage::new();
    let m = [A, B].map(Side::marker);
    let fields = format!("Supported: 100rel\r\nAllow: UPDATE, PRACK, X{}\r\n", m[0]);
    let bytes = with(invite(&mut stage), &fields);
    stage.say(A, &bytes);
    let at_b = stage.last(B, "INVITE");
    let fields = format!(
        "Require: 100rel\r\nRSeq: 4711\r\nAllow: UPDATE, PRACK, X{0}\r\nRecv-Info: x{0}\r\n",
        m[1]
    );
    let early = with(response(B, &at_b, 183, &sdp(B, 1, "sendrecv")), &fields);
    stage.say(B, &early);
    let prack_at_b = stage.last(B, "PRACK");
    stage.say(B, &response(B, &prack_at_b, 200, ""));
    let at_a = stage.last(A, "183");
    let rseq = at_a.get("RSeq").expect("reliable").to_owned();
    assert_ne!(rseq, "4711", "each leg counts for itself");
    let talk = Talk {
        a_to: at_a.get("To").unwrap().to_owned(),
        a_target: uri(at_a.get("Contact").unwrap()).to_owned(),
        b_from: Msg::parse(&early).unwrap().get("To").unwrap().to_owned(),
        b_to: at_b.get("From").unwrap().to_owned(),
        b_call_id: at_b.call_id().to_owned(),
        b_target: uri(at_b.get("Contact").unwrap()).to_owned(),
    };
    let branch = stage.branch(A);
    let prack = request(
        A,
        "PRACK",
        &talk.a_target,
        &branch,
        &caller_from(),
        &talk.a_to,
        &A.call_id(),
        2,
        "",
    );
    stage.say(A, &with(prack, &format!("RAck: {rseq} 1 INVITE\r\n")));
    stage.last(A, "200");
    talk.say(&mut stage, A, "UPDATE", 3, &sdp(A, 2, "sendonly"));
    let update = stage.last(B, "UPDATE");
    stage.say(B, &response(B, &update, 200, &sdp(B, 2, "recvonly")));
    // The Allow in the caller's UPDATE has none of that method any more.
    talk.say(&mut stage, B, "UPDATE", 4, &sdp(B, 3, "sendrecv"));
    stage.last(B, "488");
    stage.say(B, &response(B, &at_b, 200, ""));
    talk.say(&mut stage, A, "ACK", 1, "");
    talk.say(&mut stage, A, "BYE", 5, "");
    let bye = stage.last(B, "BYE");
    stage.say(B, &response(B, &bye, 200, ""));
    stage.end();
}

#[test]
fn bye_by_the_callee() {
    let mut stage = Stage::new();
    let talk = answered(&mut stage);
    talk.say(&mut stage, B, "BYE", 5, "");
    let bye = stage.last(A, "BYE");
    stage.say(A, &response(A, &bye, 200, ""));
    stage.end();
}

#[test]
fn reinvites_both_ways() {
    let mut stage = Stage::new();
    let talk = answered(&mut stage);
    talk.say(&mut stage, A, "INVITE", 2, &sdp(A, 2, "sendonly"));
    let re = stage.last(B, "INVITE");
    assert!(!re.tag_of_to().is_empty(), "the re-INVITE reached side B");
    stage.say(B, &response(B, &re, 200, &sdp(B, 2, "recvonly")));
    talk.say(&mut stage, A, "ACK", 2, "");
    talk.say(&mut stage, B, "INVITE", 9, &sdp(B, 3, "sendrecv"));
    let re = stage.last(A, "INVITE");
    stage.say(A, &response(A, &re, 488, ""));
    assert_eq!(stage.last(B, "488").method(), "INVITE");
    talk.say(&mut stage, B, "ACK", 9, "");
    for method in ["OPTIONS", "INFO", "UPDATE", "MESSAGE", "REFER", "X771144771144"] {
        talk.say(&mut stage, A, method, 20, "");
    }
    talk.say(&mut stage, B, "BYE", 10, "");
    let bye = stage.last(A, "BYE");
    stage.say(A, &response(A, &bye, 200, ""));
    stage.end();
}

#[test]
fn cancel() {
    let mut stage = Stage::new();
    let bytes = invite(&mut stage);
    stage.say(A, &bytes);
    let at_b = stage.last(B, "INVITE");
    stage.say(B, &response(B, &at_b, 180, ""));
    let own = Msg::parse(&bytes).unwrap();
    let bytes = with_invite("CANCEL", &own, &caller_to());
    stage.say(A, &bytes);
    let cancel = stage.last(B, "CANCEL");
    stage.say(B, &response(B, &cancel, 200, ""));
    stage.say(B, &response(B, &at_b, 487, ""));
    let to = stage.last(A, "487").get("To").unwrap().to_owned();
    let bytes = with_invite("ACK", &own, &to);
    stage.say(A, &bytes);
    stage.end();
}

#[test]
fn failures_of_every_class() {
    for status in [
        300, 301, 302, 305, 380, 400, 401, 403, 404, 407, 408, 410, 413, 415, 420, 421, 422, 423, 433, 480,
        481, 482, 483, 484, 485, 486, 487, 488, 491, 493, 500, 501, 502, 503, 504, 505, 513, 580, 600, 603,
        604, 606, 699,
    ] {
        let mut stage = Stage::new();
        let bytes = invite(&mut stage);
        stage.say(A, &bytes);
        let at_b = stage.last(B, "INVITE");
        stage.say(B, &response(B, &at_b, status, ""));
        stage.last(B, "ACK");
        let refused = stage.seen[A as usize].last().cloned().unwrap();
        let given = refused.status().unwrap();
        assert!(
            given >= 400,
            "{status} became {given}: redirections stay on their side"
        );
        assert!(
            refused.get("Contact").is_none(),
            "{status}: a refusal names no place to go"
        );
        let own = Msg::parse(&bytes).unwrap();
        let ack = with_invite("ACK", &own, refused.get("To").unwrap());
        stage.say(A, &ack);
        stage.end();
    }
}

#[test]
fn time_out_of_a_silent_callee() {
    let mut stage = Stage::new();
    let bytes = invite(&mut stage);
    stage.say(A, &bytes);
    stage.wait(40_000);
    assert_eq!(stage.last(A, "408").method(), "INVITE");
    stage.end();
}

/// `bytes` with more header fields, and another Content-Type.
fn dressed(bytes: &[u8], fields: &str, content_type: &str) -> Vec<u8> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    text.replacen("Content-Length:", &format!("{fields}Content-Length:"), 1)
        .replacen("application/sdp\r\n", &format!("{content_type}\r\n"), 1)
        .into_bytes()
}

impl Talk {
    /// Like [`Talk::say`], with more header fields, and another Content-Type.
    #[allow(clippy::too_many_arguments, reason = "the fields of a request, written once")]
    fn say_dressed(
        &self,
        stage: &mut Stage,
        side: Side,
        method: &str,
        cseq: u32,
        fields: &str,
        content_type: &str,
        body: &str,
    ) {
        let branch = stage.branch(side);
        let bytes = match side {
            A => request(
                A,
                method,
                &self.a_target,
                &branch,
                &caller_from(),
                &self.a_to,
                &A.call_id(),
                cseq,
                body,
            ),
            B => request(
                B,
                method,
                &self.b_target,
                &branch,
                &self.b_from,
                &self.b_to,
                &self.b_call_id,
                cseq,
                body,
            ),
        };
        // The user part of Referred-By passes: here it is a number.
        let m = side.marker();
        let bytes = String::from_utf8(bytes)
            .unwrap()
            .replace(&format!("Referred-By: <sip:{m}@"), "Referred-By: <sip:+4455@");
        stage.say(side, &dressed(bytes.as_bytes(), fields, content_type));
    }

    /// Our tag and the peer's in the dialog on `side`, and its Call-ID.
    fn names(&self, side: Side) -> (String, String, String) {
        let tag = |value: &str| param(value, "tag").unwrap().to_owned();
        match side {
            A => (A.call_id(), tag(&self.a_to), tag(&caller_from())),
            B => (self.b_call_id.clone(), tag(&self.b_to), tag(&self.b_from)),
        }
    }
}

/// A REFER of `from` with everything marked, its answer, a SUBSCRIBE and a NOTIFY.
fn transfer(from: Side) {
    let to = from.other();
    let mut stage = Stage::new();
    let talk = answered(&mut stage);
    let (m, o) = (from.marker(), to.marker());
    let (call_id, ours, theirs) = talk.names(from);
    let replaces = format!("{call_id}%3Bto-tag%3D{ours}%3Bfrom-tag%3D{theirs}%3Bx%3D{m}").replace('@', "%40");
    let refer_to = format!(
        "Refer-To: \"{m}\" <sip:+1555@h{m}.example:5099;x={m}?Replaces={replaces}&Subject={m}&X-{m}={m}>;x={m}\r\n\
         Refer-Sub: false\r\nTarget-Dialog: {m};local-tag={m};remote-tag={m}\r\n"
    );
    talk.say_dressed(&mut stage, from, "REFER", 20, &refer_to, "x/y", "");
    let refer = stage.last(to, "REFER");
    assert_eq!(user(uri(refer.get("Refer-To").unwrap())), "+1555");
    assert_eq!(user(uri(refer.get("Referred-By").unwrap())), "+4455");
    let number = refer.get("CSeq").unwrap().split(' ').next().unwrap().to_owned();
    stage.say(to, &response(to, &refer, 202, ""));
    assert_eq!(stage.last(from, "202").method(), "REFER");
    talk.say_dressed(
        &mut stage,
        from,
        "SUBSCRIBE",
        21,
        &format!("Event: refer;id=20;x={m}\r\nExpires: 60\r\n"),
        "x/y",
        "",
    );
    let subscribe = stage.last(to, "SUBSCRIBE");
    stage.say(to, &response(to, &subscribe, 200, ""));
    for (n, state) in [
        format!("active;expires=60;x={o}"),
        format!("terminated;reason=noresource;x={o}"),
    ]
    .into_iter()
    .enumerate()
    {
        talk.say_dressed(
            &mut stage,
            to,
            "NOTIFY",
            30 + n as u32,
            &format!("Event: refer;id={number};x={o}\r\nSubscription-State: {state}\r\nContent-ID: <{o}@h{o}.example>\r\n"),
            &format!("message/sipfrag;version=2.0;x={o}"),
            &format!("SIP/2.0 200 Because {o}\r\nContact: <sip:{o}@h{o}.example>\r\nServer: {o}\r\n\r\n"),
        );
        let notify = stage.last(from, "NOTIFY");
        assert_eq!(notify.get("Event"), Some("refer;id=20"));
        stage.say(from, &response(from, &notify, 200, ""));
    }
    // The transferee calls, and takes the place of the referrer.
    let value = refer.get("Refer-To").unwrap().split("Replaces=").nth(1).unwrap();
    let value = value
        .trim_end_matches('>')
        .replace("%3B", ";")
        .replace("%3D", "=");
    let branch = stage.branch(to);
    let bytes = request(
        to,
        "INVITE",
        &format!("sip:+1555@{}", to.sbc()),
        &branch,
        &format!("<sip:+1598765@h{o}.example>;tag=n{o}"),
        &format!("<sip:+1555@h{o}.example>"),
        &format!("new{o}@h{o}.example"),
        1,
        &sdp(to, 1, "sendrecv"),
    );
    stage.say(
        to,
        &dressed(&bytes, &format!("Replaces: {value};x={o}\r\n"), "application/sdp"),
    );
    let asked = stage.last(to, "INVITE");
    assert!(
        !asked.tag_of_to().is_empty(),
        "the other side of the call is on the same trunk"
    );
    stage.say(to, &response(to, &asked, 200, &sdp(to, 5, "sendrecv")));
    let ok = stage.last(to, "200");
    assert_eq!(ok.call_id(), format!("new{o}@h{o}.example"));
    let bye = stage.last(from, "BYE");
    stage.say(from, &response(from, &bye, 200, ""));
    let branch = stage.branch(to);
    let (target, value) = (
        uri(ok.get("Contact").unwrap()).to_owned(),
        ok.get("To").unwrap().to_owned(),
    );
    for (method, cseq) in [("ACK", 1), ("BYE", 2)] {
        let bytes = request(
            to,
            method,
            &target,
            &format!("{branch}{method}"),
            &format!("<sip:+1598765@h{o}.example>;tag=n{o}"),
            &value,
            &format!("new{o}@h{o}.example"),
            cseq,
            "",
        );
        stage.say(to, &bytes);
    }
    stage.end();
}

/// A REFER of `from` that we carry out: the target is on the other side.
fn transfer_of_ours(from: Side) {
    let to = from.other();
    let mut stage = Stage::with(Refer::Local);
    let talk = answered(&mut stage);
    let m = from.marker();
    let refer_to = format!(
        "Refer-To: \"{m}\" <sip:+1555@h{m}.example:5099;x={m}?Subject={m}&X-{m}={m}>;x={m}\r\nTarget-Dialog: {m};local-tag={m}\r\n"
    );
    talk.say_dressed(&mut stage, from, "REFER", 20, &refer_to, "x/y", "");
    assert_eq!(stage.last(from, "202").method(), "REFER");
    let called = stage.last(to, "INVITE");
    assert!(called.tag_of_to().is_empty(), "a new call");
    stage.say(to, &response(to, &called, 183, &sdp(to, 7, "sendrecv")));
    stage.say(to, &response(to, &called, 200, &sdp(to, 8, "sendrecv")));
    let asked = stage.last(to, "INVITE");
    assert_eq!(asked.call_id(), talk.names(to).0);
    stage.say(to, &response(to, &asked, 200, &sdp(to, 9, "sendrecv")));
    assert_eq!(stage.last(to, "ACK").call_id(), called.call_id());
    for kind in ["NOTIFY", "BYE"] {
        let told = stage.last(from, kind);
        stage.say(from, &response(from, &told, 200, ""));
    }
    talk.say(&mut stage, to, "BYE", 40, "");
    let bye = stage.last(to, "BYE");
    assert_eq!(bye.call_id(), called.call_id());
    stage.say(to, &response(to, &bye, 200, ""));
    stage.end();
}

#[test]
fn a_transfer_of_ours_for_the_caller() {
    transfer_of_ours(A);
}

#[test]
fn a_transfer_of_ours_for_the_callee() {
    transfer_of_ours(B);
}

#[test]
fn a_transfer_by_the_caller() {
    transfer(A);
}

#[test]
fn a_transfer_by_the_callee() {
    transfer(B);
}

/// The test must be able to fail.
#[test]
#[should_panic(expected = "reached side B")]
fn a_leak_is_noticed() {
    check(
        B,
        format!("SIP/2.0 200 OK\r\nServer: {}\r\n\r\n", A.marker()).as_bytes(),
    );
}
