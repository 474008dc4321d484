//! The shard of a program, what is outside of it, and what must always hold.

use super::{END, Program, peer::Dialog};
use sbc_core::{
    admission::Admission,
    config::{self, Config},
    id::{ConnectionId, ListenerId, QueryId, ShardId},
    io::{Closed, Command, Gauges, Output, Reply},
    resolve::{Candidate, Query, Resolved},
    shard::Shard,
    snapshot::{Refer, Reliable, Snapshot, Target},
    time::Timestamp,
    transport::{Flow, Hop, Transport},
    trunk::TrunkId,
};
use sbc_media::{latch::LatchMode, relay::PairIndex};
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Who is at the other end. The callers' trunk is A's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub(crate) const fn host(self) -> &'static str {
        match self {
            Self::A => "127.0.0.2",
            Self::B => "127.0.0.3",
        }
    }

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    pub(crate) fn address(self) -> SocketAddr {
        SocketAddr::new(self.host().parse().expect("an address"), 5060)
    }

    fn of(peer: SocketAddr) -> Option<Self> {
        [Self::A, Self::B]
            .into_iter()
            .find(|side| side.address().ip() == peer.ip())
    }
}

/// How attempts to connect end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dial {
    Succeed,
    Refuse,
    /// Not by themselves.
    Wait,
}

/// A connection that the shard has not closed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) id: ConnectionId,
    pub(crate) listener: ListenerId,
    pub(crate) peer: SocketAddr,
    pub(crate) open: bool,
}

/// A request of the shard's that has no final answer.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) side: Side,
    pub(crate) text: String,
    pub(crate) over: Option<ConnectionId>,
    /// RSeq of the last reliable answer.
    pub(crate) rseq: u32,
    pub(crate) answers: u32,
}

const UDP: ListenerId = ListenerId(0);
pub(crate) const TCP: ListenerId = ListenerId(1);

/// More than a single event, of whatever kind, has to lead to.
const OUTPUTS_MAX: usize = 400;

pub(crate) struct World {
    pub(crate) shard: Shard,
    admission: Arc<Admission>,
    variant: u16,
    pub(crate) now: Timestamp,
    pub(crate) lines: Vec<Line>,
    pub(crate) asked: Vec<Asked>,
    /// What peers said last.
    pub(crate) said: VecDeque<(Side, String)>,
    pub(crate) dialogs: Vec<Dialog>,
    /// INVITEs of the peers, newest last.
    pub(crate) invites: Vec<Dialog>,
    /// Names that the shard asks for.
    pub(crate) names: Vec<QueryId>,
    pub(crate) calls: Vec<String>,
    pub(crate) dial: Dial,
    pub(crate) slow: bool,
    pub(crate) silent_names: bool,
    /// Streams arrive in pieces of this length; 0: whole.
    pub(crate) cut: u8,
    /// A peer has used what is another's, or its own is not SIP: what the shard says of it proves nothing.
    pub(crate) mixed: bool,
    /// Makes branches, tags and Call-IDs unique.
    pub(crate) serial: u32,
    records: u64,
}

const TEXT: &str = r#"
    [[listener]]
    name = "udp"
    address = "127.0.0.1:5060"
    [[listener]]
    name = "tcp"
    transport = "tcp"
    address = "127.0.0.1:5060"
    [media]
    address = "127.0.0.1"
    ports = "20000-20063"
    [[trunk]]
    name = "carrier"
    hosts = ["127.0.0.2"]
    [[trunk]]
    name = "platform"
    hosts = ["127.0.0.3"]
    [[route]]
    from = "carrier"
    to = "platform"
    [[route]]
    from = "platform"
    to = "carrier"
"#;

/// The configuration of a variant.
fn compiled(variant: u16) -> (Snapshot, Admission) {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    let config = CONFIG.get_or_init(|| config::parse(TEXT, "operations").expect("a configuration"));
    let (mut snapshot, admission) = config.compile().expect("a configuration");
    let bit = |n: u32| variant >> n & 1 == 1;
    for (at, trunk) in snapshot.trunks.iter_mut().enumerate() {
        let bits = u32::try_from(at).unwrap_or(0);
        // A over TCP and B over UDP, unless said otherwise.
        let tcp = (at == 0) != bit(bits);
        trunk.listener = if tcp { TCP } else { UDP };
        trunk.peer.reliable = match (bit(2 + bits), bit(4)) {
            (false, false) => Reliable::Supported,
            (true, false) => Reliable::Required,
            _ => Reliable::Off,
        };
        trunk.peer.refer = if bit(5) { Refer::Refuse } else { Refer::Pass };
        if bit(6) {
            trunk.peer.session_timer.expires = Duration::from_secs(if at == 0 { 0 } else { 90 });
        }
        if bit(7) && at == 1 {
            trunk.target = Target::Name(Query {
                host: "platform.test".into(),
                port: None,
                transport: tcp.then_some(Transport::Tcp),
                secure: false,
            });
        }
        trunk.pass_display_name = bit(8);
        trunk.peer.large_over_tcp = !bit(9);
    }
    if bit(10) {
        snapshot.media.timeout = Duration::ZERO;
    }
    if bit(11) {
        snapshot.sip.calls_max = 2;
        snapshot.streams.connections_max = 3;
        snapshot.streams.per_source_max = 2;
        snapshot.streams.send_bytes_max = 4_000;
        snapshot.streams.message_bytes_max = 2_000;
    }
    if bit(12) {
        snapshot.sip.transactions_max = 16;
    }
    if bit(13) {
        snapshot.streams.keepalive = Duration::ZERO;
        for trunk in &mut snapshot.trunks {
            trunk.media.latch = LatchMode::Strict;
        }
    }
    if bit(14) {
        snapshot.sip.server_name = "test".into();
    }
    (snapshot, admission)
}

impl World {
    pub(crate) fn new(variant: u16) -> Self {
        let (snapshot, admission) = compiled(variant);
        let admission = Arc::new(admission);
        let mut shard = Shard::new(ShardId(0), 1, Arc::new(snapshot), Arc::clone(&admission), 1, 2);
        let pairs = if variant & 0x8000 != 0 { 3 } else { 32 };
        for pair in 0..pairs {
            shard.add_media_pair(
                sbc_core::id::InterfaceId(0),
                PairIndex(u32::from(pair)),
                20_000 + 2 * pair,
            );
        }
        Self {
            shard,
            admission,
            variant,
            now: Timestamp::from_millis(1_000),
            lines: Vec::new(),
            asked: Vec::new(),
            said: VecDeque::new(),
            dialogs: Vec::new(),
            invites: Vec::new(),
            names: Vec::new(),
            calls: Vec::new(),
            dial: Dial::Succeed,
            slow: false,
            silent_names: false,
            cut: 0,
            mixed: false,
            serial: 0,
            records: 0,
        }
    }

    /// Another configuration: listeners and limits are the same.
    pub(crate) fn snapshot(&self, change: u8) -> Arc<Snapshot> {
        let (mut snapshot, _) = compiled(self.variant ^ u16::from(change & 0x7f) << 2);
        if change & 0x80 != 0 {
            snapshot.routes = Arc::default();
        }
        Arc::new(snapshot)
    }

    /// What a side's trunk speaks.
    pub(crate) fn is_tcp(&self, side: Side) -> bool {
        (side == Side::A) != (self.variant >> (side as u16) & 1 == 1)
    }

    pub(crate) fn resolved(&self, bits: u8) -> Resolved {
        let transport = if self.is_tcp(Side::B) {
            Transport::Tcp
        } else {
            Transport::Udp
        };
        let candidate = |port: u16| Candidate {
            transport,
            address: SocketAddr::new(Side::B.address().ip(), port),
            priority: u32::from(bits & 3 == 0),
            weight: u16::from(bits >> 4),
        };
        Resolved {
            candidates: (0..=u16::from(bits & 3)).map(|n| candidate(5060 + n)).collect(),
            ttl: Duration::from_secs(u64::from(bits) * 8),
        }
    }

    /// A text of `side`'s: by the connection that it answers on, or as the side speaks.
    pub(crate) fn deliver(&mut self, side: Side, over: Option<ConnectionId>, text: String) {
        let over = over.filter(|&id| self.lines.iter().any(|line| line.id == id && line.open));
        if over.is_some() || self.is_tcp(side) {
            let known = self
                .lines
                .iter()
                .find(|line| line.open && Side::of(line.peer) == Some(side));
            let Some(id) = over.or(known.map(|line| line.id)).or_else(|| self.accept(side)) else {
                return;
            };
            self.write(id, text.as_bytes());
        } else {
            self.shard
                .handle_datagram(self.now, UDP, side.address(), text.as_bytes());
            self.drain();
        }
        self.said.push_back((side, text));
        if self.said.len() > 16 {
            self.said.pop_front();
        }
    }

    pub(crate) fn write(&mut self, id: ConnectionId, bytes: &[u8]) {
        for piece in bytes.chunks(if self.cut == 0 {
            usize::MAX
        } else {
            16 * usize::from(self.cut)
        }) {
            if !self.lines.iter().any(|line| line.id == id) {
                return;
            }
            self.shard.handle_stream(self.now, id, piece);
            self.drain();
        }
    }

    pub(crate) fn datagram(&mut self, peer: SocketAddr, bytes: &[u8]) {
        self.shard.handle_datagram(self.now, UDP, peer, bytes);
        self.drain();
    }

    pub(crate) fn accept(&mut self, side: Side) -> Option<ConnectionId> {
        self.serial += 1;
        let port = 30_000 + (self.serial % 30_000) as u16;
        let peer = SocketAddr::new(side.address().ip(), port);
        let id = self.shard.handle_accept(self.now, TCP, peer);
        if let Some(id) = id {
            self.lines.push(Line {
                id,
                listener: TCP,
                peer,
                open: true,
            });
        }
        self.drain();
        id
    }

    pub(crate) fn connected(&mut self, id: ConnectionId) {
        let line = self.lines.iter_mut().find(|line| line.id == id && !line.open);
        if let Some(line) = line {
            line.open = true;
            self.shard.handle_connected(self.now, id, None);
            self.drain();
        }
    }

    pub(crate) fn sent(&mut self, id: ConnectionId, bytes: usize) {
        self.shard.handle_sent(self.now, id, bytes);
        self.drain();
    }

    pub(crate) fn closed(&mut self, id: ConnectionId, why: Closed) {
        self.lines.retain(|line| line.id != id);
        self.shard.handle_closed(self.now, id, why);
        self.drain();
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.shard.handle_command(self.now, 7, command);
        self.drain();
    }

    /// Some address to know the shard by.
    pub(crate) fn address(&self, program: &mut Program<'_>) -> (ListenerId, SocketAddr) {
        let bits = program.byte();
        let side = if bits & 1 == 0 { Side::A } else { Side::B };
        let listener = if bits & 2 == 0 { UDP } else { TCP };
        (
            listener,
            SocketAddr::new(side.address().ip(), 5060 + u16::from(bits >> 6)),
        )
    }

    /// A way as another shard may name it.
    pub(crate) fn hop(&self, program: &mut Program<'_>) -> Hop {
        let (listener, peer) = self.address(program);
        let bits = program.byte();
        let line = program.pick(&self.lines).filter(|_| bits & 1 == 1);
        let flow = line.map(|line| Flow {
            shard: ShardId(bits >> 1 & 1),
            connection: line.id,
        });
        Hop {
            listener: line.map_or(listener, |line| line.listener),
            peer: line.map_or(peer, |line| line.peer),
            trunk: TrunkId(u16::from(bits >> 2) % 3),
            flow,
        }
    }

    /// Runs the timers that are due, once.
    pub(crate) fn run_timers(&mut self) {
        self.shard.handle_timeout(self.now);
        self.drain();
    }

    /// Lets time pass; every timer runs at its moment.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut turns = 0;
        while let Some(due) = self.shard.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.run_timers();
            turns += 1;
            assert!(turns < 50_000, "timers that never rest");
        }
        self.now = end.max(self.now);
        self.run_timers();
    }

    /// Does what the shard wants, until it wants nothing more.
    pub(crate) fn drain(&mut self) {
        loop {
            let mut outputs = Vec::new();
            while let Some(output) = self.shard.poll_output() {
                outputs.push(output);
                assert!(outputs.len() < OUTPUTS_MAX, "{outputs:?}");
            }
            if outputs.is_empty() {
                return;
            }
            for output in outputs {
                self.output(output);
            }
        }
    }

    fn output(&mut self, output: Output) {
        match output {
            Output::Transmit {
                listener,
                peer,
                payload,
            } => {
                assert_eq!(listener, UDP, "a datagram from a stream");
                self.hear(peer, &payload, None);
            }
            Output::Connect {
                connection,
                listener,
                peer,
                ..
            } => {
                assert_eq!(listener, TCP);
                assert!(!self.lines.iter().any(|line| line.id == connection));
                self.lines.push(Line {
                    id: connection,
                    listener,
                    peer,
                    open: false,
                });
                match self.dial {
                    Dial::Succeed => {
                        self.lines.last_mut().expect("just pushed").open = true;
                        self.shard.handle_connected(self.now, connection, None);
                    }
                    Dial::Refuse => {
                        self.lines.pop();
                        self.shard.handle_closed(self.now, connection, Closed::Refused);
                    }
                    Dial::Wait => {}
                }
            }
            Output::Send { connection, payload } => {
                let line = self.lines.iter().find(|line| line.id == connection).copied();
                // It may have ended in the meantime, by our own doing.
                let Some(line) = line else { return };
                assert!(line.open, "sent before it was open");
                if !self.slow {
                    self.shard.handle_sent(self.now, connection, payload.len());
                }
                if payload.iter().any(|b| !matches!(b, b'\r' | b'\n')) {
                    self.hear(line.peer, &payload, Some(connection));
                }
            }
            Output::Close { connection, .. } => self.lines.retain(|line| line.id != connection),
            Output::Resolve { id, .. } => {
                if self.silent_names {
                    self.names.push(id);
                } else {
                    let found = self.resolved(1);
                    self.shard.handle_resolved(self.now, id, Ok(found));
                }
            }
            Output::Bind(change) => {
                let (records, stored) = ([change.record].into(), [change.ticket].into());
                let command = Command::Bindings {
                    records,
                    stored,
                    unsaved: false,
                };
                self.shard.handle_command(self.now, 7, command);
            }
            Output::Record(record) => {
                self.records += 1;
                assert!(record.status >= 200, "{record:?}");
            }
            Output::Reply(id, reply) => {
                assert_eq!(id, 7);
                if let Reply::Calls(rows) = *reply {
                    self.calls.extend(rows.into_iter().map(|row| row.id));
                }
            }
            Output::Handover { .. } => panic!("handed over, to whom?"),
            Output::SendVia { .. } | Output::Event(_) => {}
        }
    }

    /// The shard said something to a peer.
    fn hear(&mut self, peer: SocketAddr, payload: &[u8], over: Option<ConnectionId>) {
        let Some(side) = Side::of(peer) else { return };
        let Ok(text) = std::str::from_utf8(payload) else {
            return;
        };
        assert!(
            self.mixed || !text.contains(side.other().host()) && !text.contains(side.other().secret()),
            "{side:?} is told of the other side:\n{text}"
        );
        super::peer::hear(self, side, text, over);
    }

    /// What holds after every operation.
    pub(crate) fn check(&self) {
        assert_eq!(self.shard.counters().internal_errors, 0);
        assert!(self.lines.len() as u64 >= self.shard.gauges().connections);
    }

    /// Hangs up and lets all time pass: nothing may be left.
    pub(crate) fn finish(mut self) {
        self.command(Command::HangupAll);
        self.dial = Dial::Refuse;
        let mut turns = 0;
        // What peers are called by is looked up again for ever: only that may be left to do.
        while self.shard.gauges() != Gauges::default() {
            let due = self
                .shard
                .poll_timeout()
                .expect("something is left and nothing will end it");
            self.now = due.max(self.now);
            assert!(self.now < END, "timers that never end");
            self.run_timers();
            turns += 1;
            assert!(turns < 50_000, "timers that never end");
        }
        self.check();
        let counters = self.shard.counters();
        assert_eq!(self.records, counters.calls_admitted, "one record for each call");
        assert_eq!(
            counters.calls_answered + counters.calls_failed,
            counters.calls_admitted
        );
        for limit in self.admission.iter() {
            assert_eq!(limit.channels_used, 0, "{}", limit.name);
        }
    }
}
