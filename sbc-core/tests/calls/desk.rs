//! One shard, a caller and a callee made of text, and a clock that moves when told.

use crate::lines::Lines;
use bytes::Bytes;
use sbc_core::{
    admin::protocol::MediaDetail,
    bindings::Change,
    config,
    id::{ConnectionId, QueryId},
    resolve::Query,
    shard::{CallRecord, Command, Event, ListenerId, Output, Reply, Shard, ShardId},
    time::Timestamp,
    transport::Hop,
};
use sbc_media::relay::{MediaSocket, OWN_LEN_MAX, Verdict};
use std::{net::SocketAddr, sync::Arc, time::Duration};

pub(crate) const CALLER: &str = "127.0.0.2:5060";
pub(crate) const CALLEE: &str = "127.0.0.3:5060";

/// A message that the shard sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) to: SocketAddr,
    pub(crate) text: String,
    /// The connection it went by; `None`: as a datagram.
    pub(crate) over: Option<ConnectionId>,
}

impl Sent {
    pub(crate) fn to_caller(&self) -> bool {
        self.to.ip() == CALLER.parse::<SocketAddr>().unwrap().ip()
    }

    /// The value of the first header field `name`.
    pub(crate) fn header(&self, name: &str) -> &str {
        header(&self.text, name).unwrap_or_else(|| panic!("no {name} in:\n{}", self.text))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        header(&self.text, name).is_some()
    }

    pub(crate) fn start(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    /// `200`, or the method.
    pub(crate) fn kind(&self) -> &str {
        let mut words = self.start().split(' ');
        match words.next() {
            Some("SIP/2.0") => words.next().unwrap_or_default(),
            Some(method) => method,
            None => "",
        }
    }

    pub(crate) fn body(&self) -> &str {
        self.text.split_once("\r\n\r\n").map_or("", |(_, body)| body)
    }

    pub(crate) fn branch(&self) -> &str {
        let via = self.header("Via");
        let at = via.find("branch=").expect("branch") + 7;
        via[at..].split(';').next().unwrap_or_default()
    }

    /// Our RTP port in its SDP.
    pub(crate) fn media_port(&self) -> u16 {
        let at = self.body().find("m=audio ").expect("audio") + 8;
        self.body()[at..].split(' ').next().unwrap().parse().unwrap()
    }
}

fn header<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.trim().eq_ignore_ascii_case(name).then(|| value.trim())
        })
}

/// A packet of our own.
#[derive(Clone, Debug)]
pub(crate) struct OwnMedia {
    pub(crate) at: Timestamp,
    pub(crate) socket: MediaSocket,
    /// `None`: to the peer that the socket is connected to.
    pub(crate) to: Option<SocketAddr>,
    pub(crate) packet: Vec<u8>,
}

pub(crate) struct Desk {
    pub(crate) shard: Shard,
    pub(crate) now: Timestamp,
    pub(crate) records: Vec<CallRecord>,
    pub(crate) events: Vec<Event>,
    pub(crate) handovers: Vec<(ShardId, Vec<u8>)>,
    /// The same, with the way they came.
    pub(crate) handed_over: Vec<(Hop, Bytes)>,
    /// Messages for connections of other shards.
    pub(crate) sent_via: Vec<(Hop, Bytes)>,
    pub(crate) lines: Lines,
    /// Names that the shard wants to be resolved.
    pub(crate) questions: Vec<(QueryId, Query)>,
    /// Bindings that the shard wants to be stored.
    pub(crate) changes: Vec<Change>,
    /// The test says when they are.
    pub(crate) holds_changes: bool,
    /// Answers to commands.
    pub(crate) replies: Vec<Reply>,
    /// Media of our own: when, from which socket, to whom (`None`: its connected peer), and the packet.
    pub(crate) own_media: Vec<OwnMedia>,
}

impl Desk {
    /// The default configuration.
    pub(crate) fn new() -> Self {
        let (snapshot, admission) = config::default_config().compile().unwrap();
        Self::of(snapshot, admission)
    }

    /// The default configuration, with an IPv6 interface for the media of the caller's trunk.
    #[allow(dead_code, reason = "not in every file that uses a desk")]
    pub(crate) fn with_ipv6_media() -> Self {
        let text = config::DEFAULT_TOML
            .replace(
                "# A provider or platform.",
                "[[media.interface]]\nname = \"six\"\naddress = \"::1\"\nports = \"30000-30031\"\n\
                 # A provider or platform.",
            )
            .replace("name = \"carrier\"", "name = \"carrier\"\nmedia = \"six\"");
        let (snapshot, admission) = config::parse(&text, "test").unwrap().compile().unwrap();
        let mut desk = Self::of(snapshot, admission);
        for pair in 0..16 {
            let port = 30_000 + 2 * pair as u16;
            desk.shard.add_media_pair(
                sbc_core::id::InterfaceId(1),
                sbc_media::relay::PairIndex(16 + pair),
                port,
            );
        }
        desk
    }

    pub(crate) fn of(
        snapshot: sbc_core::snapshot::Snapshot,
        admission: sbc_core::admission::Admission,
    ) -> Self {
        Self::of_shard(ShardId(0), 1, Arc::new(snapshot), Arc::new(admission))
    }

    /// One shard of several.
    pub(crate) fn of_shard(
        id: ShardId,
        shards: u8,
        snapshot: Arc<sbc_core::snapshot::Snapshot>,
        admission: Arc<sbc_core::admission::Admission>,
    ) -> Self {
        let mut shard = Shard::new(id, shards, snapshot, admission, 1, 2);
        for pair in 0..16 {
            shard.add_media_pair(
                sbc_core::id::InterfaceId(0),
                sbc_media::relay::PairIndex(pair),
                20_000 + 2 * pair as u16,
            );
        }
        Self {
            shard,
            now: Timestamp::from_millis(1000),
            records: Vec::new(),
            events: Vec::new(),
            handovers: Vec::new(),
            handed_over: Vec::new(),
            sent_via: Vec::new(),
            lines: Lines::default(),
            questions: Vec::new(),
            changes: Vec::new(),
            holds_changes: false,
            replies: Vec::new(),
            own_media: Vec::new(),
        }
    }

    pub(crate) fn drain(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        while let Some(output) = self.shard.poll_output() {
            match output {
                Output::Transmit { peer, payload, .. } => {
                    sent.push(Sent {
                        to: peer,
                        text: String::from_utf8_lossy(&payload).into_owned(),
                        over: None,
                    });
                }
                Output::Handover { shard, hop, payload } => {
                    self.handovers.push((shard, payload.to_vec()));
                    self.handed_over.push((hop, payload));
                }
                Output::Record(record) => self.records.push(*record),
                Output::Connect {
                    connection,
                    listener,
                    peer,
                    trunk,
                } => self.connect(connection, listener, peer, trunk),
                Output::Send { connection, payload } => sent.extend(self.carry(connection, &payload)),
                Output::Close { connection, abort } => self.closed_by_us(connection, abort),
                Output::SendVia { hop, payload } => self.sent_via.push((hop, payload)),
                Output::Resolve { id, query } => self.questions.push((id, query)),
                Output::Event(event) => self.events.push(event),
                Output::Bind(change) => self.changes.push(change),
                Output::Reply(_, reply) => self.replies.push(*reply),
            }
        }
        while !self.holds_changes && !self.changes.is_empty() {
            let change = self.changes.remove(0);
            let command = Command::Bindings {
                records: Arc::new([change.record]),
                stored: Arc::new([change.ticket]),
                unsaved: false,
            };
            self.shard.handle_command(self.now, 0, command);
            sent.extend(self.drain());
        }
        self.assert_audited();
        sent
    }

    /// Whatever is counted as in use is found with a call.
    fn assert_audited(&self) {
        let differs: Vec<_> = self
            .shard
            .audit()
            .counts
            .into_iter()
            .filter(|count| count.counted != count.found)
            .collect();
        assert!(differs.is_empty(), "{differs:?}");
    }

    pub(crate) fn deliver(&mut self, from: &str, text: &str) -> Vec<Sent> {
        self.deliver_bytes(from, text.as_bytes())
    }

    pub(crate) fn deliver_bytes(&mut self, from: &str, bytes: &[u8]) -> Vec<Sent> {
        self.shard
            .handle_datagram(self.now, ListenerId(0), from.parse().unwrap(), bytes);
        self.drain()
    }

    pub(crate) fn caller(&mut self, text: &str) -> Vec<Sent> {
        self.deliver(CALLER, text)
    }

    pub(crate) fn callee(&mut self, text: &str) -> Vec<Sent> {
        self.deliver(CALLEE, text)
    }

    pub(crate) fn command(&mut self, command: Command) -> Vec<Sent> {
        self.shard.handle_command(self.now, 1, command);
        self.drain()
    }

    /// The id of the one call there is.
    pub(crate) fn call_id(&mut self) -> String {
        self.command(Command::Calls {
            after: None,
            limit: 2,
        });
        match self.replies.pop() {
            Some(Reply::Calls(calls)) if calls.len() == 1 => calls[0].id.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The media of the one call there is: from A and from B.
    pub(crate) fn media_legs(&mut self) -> Vec<MediaDetail> {
        let id = self.call_id();
        self.command(Command::CallShow(id));
        match self.replies.pop() {
            Some(Reply::Call(call)) => call.media,
            other => panic!("{other:?}"),
        }
    }

    /// Let time pass, running every timer at its moment.
    pub(crate) fn pass(&mut self, duration: Duration) -> Vec<Sent> {
        let end = self.now + duration;
        let mut sent = Vec::new();
        let due = |shard: &Shard| {
            let due = [shard.poll_timeout(), shard.relay.poll_timeout()];
            due.into_iter().flatten().min().filter(|due| *due <= end)
        };
        while let Some(due) = due(&self.shard) {
            self.now = due.max(self.now);
            self.shard.handle_timeout(self.now);
            sent.extend(self.drain());
            sent.extend(self.run_media());
        }
        self.now = end;
        self.shard.handle_timeout(self.now);
        sent.extend(self.drain());
        sent.extend(self.run_media());
        sent
    }

    /// Send media of our own that is due, and act on what was heard, as the driver does.
    pub(crate) fn run_media(&mut self) -> Vec<Sent> {
        let mut buffer = [0; OWN_LEN_MAX];
        while let Some(verdict) = self.shard.relay.poll_transmit(self.now, &mut buffer) {
            let Verdict::Forward { socket, to, len } = verdict else {
                panic!("{verdict:?}");
            };
            let packet = buffer[..len].to_vec();
            self.own_media.push(OwnMedia {
                at: self.now,
                socket,
                to,
                packet,
            });
        }
        self.shard.handle_media(self.now);
        self.drain()
    }

    /// Everything is back to zero after the longest timers.
    pub(crate) fn assert_quiet(&mut self) {
        self.pass(Duration::from_secs(120));
        let gauges = self.shard.gauges();
        assert_eq!(gauges, Default::default(), "something is left");
        let counters = self.shard.counters();
        assert_eq!(counters.internal_errors, 0);
        assert_eq!(
            self.records.len() as u64,
            counters.calls_admitted,
            "one record per admitted call"
        );
        assert_eq!(
            counters.calls_answered + counters.calls_failed,
            counters.calls_admitted
        );
    }
}

pub(crate) const OFFER: &str = "v=0\r\no=caller 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\n\
    m=audio 4000 RTP/AVP 0 8\r\na=sendrecv\r\n";
pub(crate) const ANSWER: &str = "v=0\r\no=callee 7 7 IN IP4 127.0.0.3\r\ns=-\r\nc=IN IP4 127.0.0.3\r\nt=0 0\r\n\
    m=audio 6000 RTP/AVP 0\r\n";

/// The same SDP with the next version in o=: offered again it is new to whoever knows the first.
pub(crate) fn next_version(sdp: &str) -> String {
    sdp.replace("caller 1 1 ", "caller 1 2 ")
        .replace("callee 7 7 ", "callee 7 8 ")
}

/// A request of the caller: outside a dialog when `to_tag` is empty.
pub(crate) fn request(method: &str, uri: &str, cseq: u32, branch: &str, to_tag: &str, body: &str) -> String {
    let tag = if to_tag.is_empty() {
        String::new()
    } else {
        format!(";tag={to_tag}")
    };
    let content = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: \"Alice\" <sip:4930123@127.0.0.2>;tag=callertag\r\nTo: <sip:1000@127.0.0.1>{tag}\r\n\
         Call-ID: caller-call-id\r\nCSeq: {cseq} {method}\r\nContact: <sip:alice@127.0.0.2:5060>\r\n{content}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub(crate) fn invite() -> String {
    request("INVITE", "sip:1000@127.0.0.1", 1, "inv1", "", OFFER)
}

pub(crate) fn cancel() -> String {
    request("CANCEL", "sip:1000@127.0.0.1", 1, "inv1", "", "")
}

/// The answer of a peer to `request`.
pub(crate) fn response(request: &Sent, status: u16, tag: &str, contact: &str, body: &str) -> String {
    let to = request.header("To");
    let tag = if to.contains("tag=") || tag.is_empty() {
        String::new()
    } else {
        format!(";tag={tag}")
    };
    let contact = if contact.is_empty() {
        String::new()
    } else {
        format!("Contact: <{contact}>\r\n")
    };
    let content = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    format!(
        "SIP/2.0 {status} Whatever\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n{contact}{content}\
         Content-Length: {}\r\n\r\n{body}",
        request.header("Via"),
        request.header("From"),
        request.header("Call-ID"),
        request.header("CSeq"),
        body.len()
    )
}

pub(crate) fn ok(invite: &Sent) -> String {
    response(invite, 200, "calleetag", "sip:bob@127.0.0.3:5060", ANSWER)
}

/// A request of the callee inside the dialog that our `invite` founded.
pub(crate) fn callee_request(invite: &Sent, method: &str, cseq: u32, branch: &str, body: &str) -> String {
    let content = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/sdp\r\n"
    };
    let contact = invite.header("Contact").trim_matches(['<', '>']).to_owned();
    format!(
        "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.3:5060;branch=z9hG4bK{branch}\r\nMax-Forwards: 70\r\n\
         From: {};tag=calleetag\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:bob@127.0.0.3:5060>\r\n{content}Content-Length: {}\r\n\r\n{body}",
        invite.header("To"),
        invite.header("From"),
        invite.header("Call-ID"),
        body.len()
    )
}

/// The one message of `kind` among `sent`.
pub(crate) fn only<'s>(sent: &'s [Sent], kind: &str) -> &'s Sent {
    let mut found = sent.iter().filter(|s| s.kind() == kind);
    let first = found
        .next()
        .unwrap_or_else(|| panic!("no {kind} in {:?}", kinds(sent)));
    assert!(
        found.next().is_none(),
        "more than one {kind} in {:?}",
        kinds(sent)
    );
    first
}

pub(crate) fn kinds(sent: &[Sent]) -> Vec<String> {
    sent.iter()
        .map(|s| format!("{}{}", if s.to_caller() { "A<" } else { "B<" }, s.kind()))
        .collect()
}

/// A call as it stands after both sides have their ACK.
pub(crate) struct Up {
    /// Our INVITE to the callee.
    pub(crate) invite: Sent,
    /// Our 200 to the caller.
    pub(crate) ok: Sent,
    /// Our tag and Contact towards the caller.
    pub(crate) tag: String,
    pub(crate) contact: String,
}

pub(crate) fn tag_of(value: &str) -> String {
    value
        .split(";tag=")
        .nth(1)
        .expect("tag")
        .split(';')
        .next()
        .unwrap()
        .to_owned()
}

pub(crate) fn establish(desk: &mut Desk) -> Up {
    let sent = desk.caller(&invite());
    assert_eq!(kinds(&sent), ["A<100", "B<INVITE"]);
    let out = only(&sent, "INVITE").clone();
    let sent = desk.callee(&response(&out, 180, "calleetag", "sip:bob@127.0.0.3:5060", ""));
    assert_eq!(kinds(&sent), ["A<180"]);
    let sent = desk.callee(&ok(&out));
    assert_eq!(kinds(&sent), ["B<ACK", "A<200"]);
    let ok = only(&sent, "200").clone();
    let tag = tag_of(ok.header("To"));
    let contact = ok.header("Contact").trim_matches(['<', '>']).to_owned();
    let sent = desk.caller(&request("ACK", &contact, 1, "ack1", &tag, ""));
    assert_eq!(kinds(&sent), Vec::<String>::new());
    Up {
        invite: out,
        ok,
        tag,
        contact,
    }
}

pub(crate) fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}
