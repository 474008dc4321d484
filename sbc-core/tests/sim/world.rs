//! The world of one seed: shards, two peers, a bad network and a clock, and the oracles that watch
//! every byte on its way. No threads, no real time: an event queue is all that moves.

use super::{
    audit::Watched,
    message::Msg,
    network::{Network, Weather},
    plan::{MS, Plan, SECOND, Side, T1},
    reconfigure,
    rng::Rng,
    setup::{MEDIA_PORTS, Setup, media_ip},
    streams::{Pipes, StreamEvent},
    trace::Trace,
    ua::{Effect, Tick, Ua},
};
use bytes::Bytes;
use sbc_core::{
    admission::{Admission, LimitId},
    counters::ShardCounters,
    id::QueryId,
    resolve::{Candidate, Query, ResolveError, Resolved},
    shard::{Command, Gauges, ListenerId, Output, Reply, Shard, ShardId},
    snapshot::Snapshot,
    time::Timestamp,
    transport::Hop,
};
use sbc_media::relay::{MediaSocket, PairIndex, SocketAction};
use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hasher},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// Messages one datagram may cause: a CANCEL's 200, the INVITE's 487, a CANCEL to the other side,
/// room for the answer to what it completes, and a 481 for each request that waits for the other side.
const TRANSMITS_PER_DATAGRAM_MAX: usize = 5 + 8;
/// After so long without a message nothing may be left: a transaction may wait 64·T1 for an answer
/// and then keep its tombstone as long.
const QUIET: u64 = 2 * 64 * T1 + 8 * SECOND;
pub(super) const ATTACKER: [u8; 4] = [198, 51, 100, 66];
/// In the packets of the attacker.
pub(super) const SPOOFED_CALL: u32 = 0x5F00_F00D;

/// What one seed did.
#[derive(Debug, Default)]
pub struct Outcome {
    pub violations: Vec<(u32, String)>,
    /// Hash over everything the shards put out, with its time.
    pub trace_hash: u64,
    pub counters: ShardCounters,
    pub records: u64,
    pub answered: u64,
    pub packets_delivered: u64,
    /// RTP and RTCP that no peer sent.
    pub packets_of_our_own: u64,
    pub reports_of_our_own: u64,
    pub spoofed_sent: u64,
    pub datagrams: u64,
    pub events: u64,
    /// Messages to an address where nobody is, and questions for names.
    pub to_nobody: u64,
    pub names_asked: u64,
    /// Messages to spare trunks.
    pub to_spare: u64,
    /// Connections opened and broken.
    pub pipes: (u64, u64),
    /// States seen, when asked to look.
    pub states: BTreeSet<&'static str>,
}

pub(super) enum Event {
    Stream(StreamEvent),
    Resolved {
        shard: usize,
        id: QueryId,
        outcome: Result<Resolved, ResolveError>,
    },
    ToSbc {
        from: SocketAddr,
        listener: ListenerId,
        bytes: Rc<[u8]>,
    },
    ToUa {
        side: Side,
        bytes: Bytes,
    },
    Handover {
        shard: usize,
        hop: Hop,
        bytes: Bytes,
    },
    Wake(usize),
    Tick(Side, Tick),
    PacketToSbc {
        from: SocketAddr,
        port: u16,
        bytes: Vec<u8>,
        spoofed: bool,
    },
    Mischief,
    Configure {
        shard: usize,
        snapshot: Arc<Snapshot>,
    },
    Spoof {
        port: u16,
    },
}

struct Entry {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// A final response that left the SBC.
struct Finished {
    status: u16,
    hash: u64,
}

pub struct World {
    pub(super) setup: Setup,
    pub(super) now: u64,
    order: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    /// When each shard's next wake-up stands in the queue.
    wakes: Vec<Option<u64>>,
    pub(super) shards: Vec<Shard>,
    pub(super) admission: Arc<Admission>,
    pub(super) watched: Vec<Watched>,
    pub(super) uas: [Ua; 2],
    pub(super) network: Network,
    pub(super) rng: Rng,
    plans: Rc<Vec<Rc<Plan>>>,
    /// When the last message from one shard to another arrives.
    letters: HashMap<(usize, usize), u64>,
    /// Port → shard and socket.
    pub(super) ports: HashMap<u16, (usize, MediaSocket)>,
    /// Sockets the driver would have connected.
    pub(super) connected: HashMap<(usize, MediaSocket), SocketAddr>,
    finished: HashMap<(Side, String, String), Finished>,
    pub(super) recent: VecDeque<(Side, Rc<[u8]>)>,
    /// Per Call-ID the branches seen inside the dialog and the highest CSeq among them.
    sequence: HashMap<String, (HashSet<String>, u32)>,
    /// Branches of requests that came out of order.
    out_of_order: HashSet<String>,
    pub(super) hasher: DefaultHasher,
    pub(super) last_datagram: u64,
    pub(super) out: Outcome,
    pub(super) pipes: Pipes,
    pub trace: Option<Trace>,
    /// Note which states calls and transactions are in, after every step: slow.
    pub watch_states: bool,
}

impl World {
    pub fn new(seed: u64, calls: u32, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut plan_rng = rng.fork(1);
        let setup = Setup::draw(&mut rng.fork(2), calls);
        let spread = rng.range(2_000, 40_000);
        let late_offers = rng.chance(400);
        let plans: Vec<Rc<Plan>> = (0..calls)
            .map(|n| Rc::new(Plan::draw(&mut plan_rng, n, spread, late_offers)))
            .collect();
        let plans = Rc::new(plans);
        let changes = reconfigure::draw(seed, &setup, spread);
        let snapshot = changes
            .last()
            .map_or_else(|| Arc::new(setup.snapshot()), |(_, first)| first.clone());
        let admission = Arc::new(setup.admission());
        let mut shards: Vec<Shard> = (0..setup.shards)
            .map(|n| {
                Shard::new(
                    ShardId(n as u8),
                    setup.shards as u8,
                    snapshot.clone(),
                    admission.clone(),
                    seed,
                    seed ^ 0xABCD,
                )
            })
            .collect();
        let mut ports = HashMap::new();
        for (n, shard) in shards.iter_mut().enumerate() {
            for pair in (0..setup.pairs_per_shard).map(PairIndex) {
                let port = MEDIA_PORTS + 2 * (n as u32 * setup.pairs_per_shard + pair.0) as u16;
                shard.add_media_pair(sbc_core::id::InterfaceId(0), pair, port);
                ports.insert(port, (n, pair.rtp()));
                ports.insert(port + 1, (n, pair.rtcp()));
            }
        }
        let uas = Side::BOTH.map(|side| {
            Ua::new(
                side,
                setup.sip(side),
                plans.clone(),
                setup.hostile,
                setup.transport(side),
            )
        });
        let network = Network::new(rng.fork(3), Weather::draw(&mut rng));
        let trace = traced.then(|| Trace::new(format!("{setup:?}\n{:?}", network.weather)));
        let waits = |limit: LimitId| match limit.0 {
            id @ 8..=9 => setup.wait_max[id as usize - 8],
            _ => 0,
        };
        let mut world = Self {
            watched: Watched::all(&admission, waits),
            wakes: vec![None; shards.len()],
            setup,
            now: 0,
            order: 0,
            queue: BinaryHeap::new(),
            shards,
            admission,
            uas,
            network,
            rng,
            plans,
            letters: HashMap::new(),
            ports,
            connected: HashMap::new(),
            finished: HashMap::new(),
            recent: VecDeque::new(),
            sequence: HashMap::new(),
            out_of_order: HashSet::new(),
            hasher: DefaultHasher::new(),
            last_datagram: 0,
            out: Outcome::default(),
            pipes: Pipes::default(),
            trace,
            watch_states: false,
        };
        for side in Side::BOTH {
            world.uas[side as usize].start();
            world.run_effects(side);
        }
        world.plan_changes(changes);
        if world.setup.hostile {
            for _ in 0..calls {
                let at = world.rng.below((spread + 20_000) * MS);
                world.push(at, Event::Mischief);
            }
        }
        world
    }

    /// Run until nothing is owed to anybody, then check that nothing is left.
    pub fn run(mut self) -> (Outcome, Option<Trace>) {
        let events_max = 4_000 * self.plans.len() as u64 + 20_000;
        while let Some(Reverse(entry)) = self.queue.pop() {
            // Names are refreshed for ever; who waits longer than this waits in vain.
            let silence = entry.at.saturating_sub(self.last_datagram);
            if silence > QUIET && (silence > 4 * QUIET || self.uas.iter().all(Ua::is_settled)) {
                break;
            }
            self.now = entry.at;
            self.out.events += 1;
            // A sound wakes its shard for every packet.
            let packets = self.out.packets_of_our_own + self.out.reports_of_our_own;
            if self.out.events > events_max + 2 * packets {
                let events = self.out.events;
                self.violation(
                    u32::MAX,
                    format!(
                        "no end after {events} events and {packets} packets of our own: something spins or repeats for ever"
                    ),
                );
                break;
            }
            self.dispatch(entry.event);
            if self.out.violations.len() > 20 {
                break;
            }
        }
        self.final_checks();
        self.out.pipes = (self.pipes.opened, self.pipes.lost);
        self.out.trace_hash = self.hasher.finish();
        if let Some(trace) = &mut self.trace {
            trace.name_calls(|side, id| self.uas[side as usize].call_by_id(id));
        }
        (self.out, self.trace)
    }

    fn dispatch(&mut self, event: Event) {
        let now = Timestamp::from_nanos(self.now);
        match event {
            Event::ToSbc {
                from,
                listener,
                bytes,
            } => {
                let shard = match self.setup.one_socket {
                    true => usize::from(from == Side::A.sip()) % self.shards.len(),
                    false => self.rng.below(self.shards.len() as u64) as usize,
                };
                self.note_order(&bytes);
                self.shards[shard].handle_datagram(now, listener, from, &bytes);
                self.drain(shard, Some(&bytes));
            }
            Event::Handover { shard, hop, bytes } => {
                self.shards[shard].handle_handover(now, hop, &bytes);
                self.drain(shard, Some(&bytes));
            }
            // An earlier one has taken its place meanwhile, and will set the next.
            Event::Wake(shard) if self.wakes[shard] != Some(self.now) => {}
            Event::Wake(shard) => {
                self.wakes[shard] = None;
                self.shards[shard].handle_timeout(now);
                self.own_media(shard);
                self.drain(shard, None);
            }
            Event::ToUa { side, bytes } => {
                self.uas[side as usize].receive(self.now, &bytes);
                self.run_effects(side);
            }
            Event::Tick(side, tick) => {
                self.uas[side as usize].tick(self.now, tick);
                self.run_effects(side);
            }
            Event::PacketToSbc {
                from,
                port,
                bytes,
                spoofed,
            } => self.packet(now, from, port, bytes, spoofed),
            Event::Stream(event) => self.stream_event(event),
            Event::Resolved { shard, id, outcome } => {
                self.shards[shard].handle_resolved(now, id, outcome);
                self.drain(shard, None);
            }
            Event::Mischief => self.mischief(),
            Event::Configure { shard, snapshot } => self.configure(shard, snapshot),
            Event::Spoof { port } => self.spoof(now, port),
        }
    }

    // -- what the shards say --------------------------------------------------------------------

    pub(super) fn drain(&mut self, shard: usize, cause: Option<&[u8]>) {
        let mut transmits = 0;
        while let Some(output) = self.shards[shard].poll_output() {
            self.hasher.write_u64(self.now);
            self.hasher.write_u8(shard as u8);
            match output {
                Output::Transmit {
                    listener,
                    peer,
                    payload,
                } => {
                    transmits += 1;
                    self.transmit(listener, peer, payload);
                }
                Output::Handover {
                    shard: to,
                    hop,
                    payload,
                } => {
                    if usize::from(to.0) >= self.shards.len() || usize::from(to.0) == shard {
                        self.violation(u32::MAX, format!("shard {shard} handed a message over to {to:?}"));
                        continue;
                    }
                    self.hasher.write(&payload);
                    let at = self.letter_arrives(shard, to.0.into());
                    self.push(
                        at,
                        Event::Handover {
                            shard: to.0.into(),
                            hop,
                            bytes: payload,
                        },
                    );
                }
                Output::Connect { .. }
                | Output::Send { .. }
                | Output::Close { .. }
                | Output::SendVia { .. } => {
                    self.hasher.write(format!("{output:?}").as_bytes());
                    transmits += usize::from(matches!(output, Output::Send { .. } | Output::SendVia { .. }));
                    self.stream_output(shard, output);
                }
                Output::Resolve { id, query } => self.resolve(shard, id, &query),
                // No trunk of it has users that register.
                Output::Bind(change) => self.violation(u32::MAX, format!("nobody registers: {change:?}")),
                Output::Record(record) => {
                    self.out.records += 1;
                    self.hasher.write(format!("{record:?}").as_bytes());
                    if !self.setup.hostile
                        && (record.end_ms < record.answer_ms.unwrap_or(0) || record.status < 200)
                    {
                        self.violation(u32::MAX, format!("a record makes no sense: {record:?}"));
                    }
                }
                Output::Event(event) => self.hasher.write(event.text.as_bytes()),
                Output::Reply(reconfigure::RECONFIGURED, _) => {}
                Output::Reply(..) => self.violation(u32::MAX, "a reply nobody asked for".to_owned()),
            }
        }
        if let Some(cause) = cause.filter(|_| transmits > TRANSMITS_PER_DATAGRAM_MAX) {
            let line = first_line(cause);
            self.violation(
                u32::MAX,
                format!("{transmits} messages sent for one datagram: {line}"),
            );
        }
        if self.watch_states {
            let states = &mut self.out.states;
            let finished = self.out.events.is_multiple_of(61);
            self.shards[shard].visit_states(finished, &mut |state| {
                states.insert(state);
            });
        }
        self.audit();
        self.sockets(shard);
        self.arm(shard);
    }

    /// Wake the shard when it wants to be.
    pub(super) fn arm(&mut self, shard: usize) {
        let due = [
            self.shards[shard].poll_timeout(),
            self.shards[shard].relay.poll_timeout(),
        ];
        if let Some(at) = due.into_iter().flatten().min() {
            // The driver's clock has moved on by the time it asks, so a passed deadline is "now".
            let at = at.as_nanos().max(self.now + 1);
            if self.wakes[shard].is_none_or(|armed| at < armed) {
                self.wakes[shard] = Some(at);
                self.push(at, Event::Wake(shard));
            }
        }
    }

    /// A resolver that is slow, fails, finds nothing, or does not answer at all.
    fn resolve(&mut self, shard: usize, id: QueryId, query: &Query) {
        self.out.names_asked += 1;
        let side = Side::BOTH
            .into_iter()
            .find(|s| *query.host == *format!("{s:?}.test").to_lowercase());
        let Some(side) = side else {
            // A mangled Contact may name anything.
            if !self.setup.hostile {
                self.violation(u32::MAX, format!("shard {shard} asks for {query}"));
            }
            return;
        };
        let candidate = |address, priority| Candidate {
            transport: self.setup.transport(side),
            address,
            priority,
            weight: 10,
        };
        let mut candidates = vec![candidate(side.sip(), 20)];
        if self.setup.nobody {
            candidates.push(candidate(side.nobody(), 10));
        }
        let ttl = Duration::from_secs(self.rng.range(1, 60));
        let outcome = match self.rng.below(10) {
            0 => return,
            1 => Err(ResolveError::Failed),
            2 if self.setup.breaks => Err(ResolveError::Absent { ttl }),
            _ => Ok(Resolved { candidates, ttl }),
        };
        let delay = match self.rng.below(4) {
            0 => self.rng.below(6 * SECOND),
            _ => self.rng.below(20 * MS),
        };
        self.push(self.now + delay, Event::Resolved { shard, id, outcome });
    }

    fn transmit(&mut self, listener: ListenerId, peer: SocketAddr, payload: Bytes) {
        self.hasher.write(peer.to_string().as_bytes());
        self.hasher.write(&payload);
        self.out.datagrams += 1;
        self.last_datagram = self.now;
        if Side::BOTH
            .into_iter()
            .any(|s| s.nobody() == peer && self.setup.named[s as usize])
        {
            self.out.to_nobody += 1;
            return;
        }
        if let Some(side) = Side::BOTH
            .into_iter()
            .find(|s| s.spare() == peer && self.setup.spare[*s as usize])
        {
            return self.spare_receives(side, listener, &payload);
        }
        let Some(side) = Side::BOTH.into_iter().find(|s| s.sip() == peer) else {
            if peer.ip() == IpAddr::from(ATTACKER) {
                self.violation(u32::MAX, "an unknown source was answered".to_owned());
            } else if !self.setup.hostile {
                self.violation(
                    u32::MAX,
                    format!("a message to {peer}, who is no peer: {}", first_line(&payload)),
                );
            }
            return;
        };
        if listener != self.setup.listener(side) {
            self.violation(
                u32::MAX,
                format!("a message to side {side:?} left from {listener:?}"),
            );
        }
        self.check_leak(side, &payload);
        self.check_final(side, &payload);
        let delays = self.network.carry(&payload);
        if let Some(trace) = &mut self.trace {
            trace.add(self.now, side, true, &payload, &delays);
        }
        for delay in delays {
            self.push(
                self.now + delay,
                Event::ToUa {
                    side,
                    bytes: payload.clone(),
                },
            );
        }
    }

    /// No byte of one side on the other.
    pub(super) fn check_leak(&mut self, to: Side, payload: &[u8]) {
        let from = to.other();
        let their_listener = self.setup.sip(from).ip().to_string();
        let mut secrets = vec![from.marker(), from.network()];
        if self.setup.two_listeners {
            secrets.push(&their_listener);
        }
        for secret in secrets {
            if memchr::memmem::find(payload, secret.as_bytes()).is_some() {
                let text = String::from_utf8_lossy(payload).into_owned();
                self.violation(
                    u32::MAX,
                    format!("side {from:?}'s {secret:?} was sent to side {to:?}:\n{text}"),
                );
            }
        }
    }

    /// One final response per server transaction, nothing after it but itself.
    pub(super) fn check_final(&mut self, side: Side, payload: &[u8]) {
        if !payload.starts_with(b"SIP/2.0 ") {
            return;
        }
        let Some(msg) = Msg::parse(payload) else {
            return self.violation(u32::MAX, format!("an unreadable response to side {side:?}"));
        };
        // Mangled copies carry no marker and can answer in several ways.
        if !msg.branch().contains(side.marker()) {
            return;
        }
        let Some(status) = msg.status() else { return };
        if status >= 200 && !matches!(status, 481 | 500) && self.out_of_order.contains(msg.branch()) {
            let call = self.uas[side as usize]
                .call_by_id(msg.call_id())
                .unwrap_or(u32::MAX);
            self.violation(
                call,
                format!("a {} that came after a later one got {status}", msg.method()),
            );
        }
        let key = (side, msg.branch().to_owned(), msg.method().to_owned());
        let mut hasher = DefaultHasher::new();
        hasher.write(payload);
        let hash = hasher.finish();
        match self.finished.get(&key) {
            None if status >= 200 => {
                self.finished.insert(key, Finished { status, hash });
            }
            // Over another connection the same answer names another port (`rport`).
            Some(last) if last.status != status || last.hash != hash && !self.setup.is_stream(side) => {
                let why = format!(
                    "side {side:?} got {status} after {} to the same {} ({})",
                    last.status, key.2, key.1
                );
                let call = self.uas[side as usize]
                    .call_by_id(msg.call_id())
                    .unwrap_or(u32::MAX);
                self.violation(call, why);
            }
            _ => {}
        }
    }

    pub(super) fn sockets(&mut self, shard: usize) {
        while let Some(action) = self.shards[shard].relay.poll_action() {
            match action {
                SocketAction::Connect { socket, peer } => {
                    self.connected.insert((shard, socket), peer);
                    self.shards[shard].relay.connected(socket, peer);
                }
                SocketAction::Disconnect { socket } => {
                    self.connected.remove(&(shard, socket));
                }
            }
        }
    }

    // -- what the peers say ---------------------------------------------------------------------

    pub(super) fn run_effects(&mut self, side: Side) {
        let effects = std::mem::take(&mut self.uas[side as usize].effects);
        for effect in effects {
            match effect {
                Effect::After(wait, tick) => self.push(self.now + wait, Event::Tick(side, tick)),
                Effect::Send(bytes) => self.send(side, bytes.into()),
                Effect::Packet { from, to, bytes } => {
                    if to.ip() != media_ip() || !self.ports.contains_key(&to.port()) {
                        self.violation(u32::MAX, format!("side {side:?} was told to send media to {to}"));
                        continue;
                    }
                    let delay = self.network.delay();
                    self.push(
                        self.now + delay,
                        Event::PacketToSbc {
                            from,
                            port: to.port(),
                            bytes,
                            spoofed: false,
                        },
                    );
                    if self.rng.chance(300) {
                        let later = self.rng.below(3 * SECOND);
                        self.push(self.now + later, Event::Spoof { port: to.port() });
                    }
                }
            }
        }
        let found = std::mem::take(&mut self.uas[side as usize].violations);
        for (call, why) in found {
            self.violation(call, why);
        }
    }

    fn send(&mut self, side: Side, bytes: Rc<[u8]>) {
        self.last_datagram = self.now;
        if self.setup.is_stream(side) {
            if let Some(trace) = &mut self.trace {
                trace.add(self.now, side, false, &bytes, &[0]);
            }
            return self.stream_send(side, &bytes);
        }
        let delays = self.network.carry(&bytes);
        if let Some(trace) = &mut self.trace {
            trace.add(self.now, side, false, &bytes, &delays);
        }
        if self.setup.hostile {
            self.recent.push_back((side, bytes.clone()));
            if self.recent.len() > 24 {
                self.recent.pop_front();
            }
        }
        let listener = self.setup.listener(side);
        for delay in delays {
            self.push(
                self.now + delay,
                Event::ToSbc {
                    from: side.sip(),
                    listener,
                    bytes: bytes.clone(),
                },
            );
        }
    }

    /// §12.2.2: a request that arrives after one with a higher CSeq is refused. Only where one shard
    /// takes everything does the order of arrival say what the dialog saw.
    fn note_order(&mut self, bytes: &[u8]) {
        if self.setup.hostile || self.shards.len() > 1 {
            return;
        }
        let Some(msg) = Msg::parse(bytes).filter(|m| m.status().is_none()) else {
            return;
        };
        if msg.tag_of_to().is_empty() || matches!(msg.method(), "ACK" | "CANCEL") {
            return;
        }
        // The two directions of a call differ in their Call-ID, the parties of a leg in the From tag.
        let key = format!("{} {}", msg.call_id(), msg.tag_of_from());
        let (branches, highest) = self.sequence.entry(key).or_default();
        if branches.insert(msg.branch().to_owned()) {
            if msg.cseq() < *highest {
                self.out_of_order.insert(msg.branch().to_owned());
            }
            *highest = msg.cseq().max(*highest);
        }
    }

    // -- the end --------------------------------------------------------------------------------

    fn final_checks(&mut self) {
        if !self.out.violations.is_empty() {
            self.abandon();
            return;
        }
        for side in Side::BOTH {
            for (call, why) in self.uas[side as usize].unsettled() {
                self.violation(call, why);
            }
            for (call, branch) in self.uas[side as usize].overtaken() {
                if !self
                    .finished
                    .contains_key(&(side, branch.clone(), "INVITE".to_owned()))
                {
                    self.violation(
                        call,
                        format!("side {side:?}: the re-INVITE {branch} was never answered"),
                    );
                }
            }
            self.out.answered += self.uas[side as usize].answered;
        }
        let now = Timestamp::from_nanos(self.now);
        for n in 0..self.shards.len() {
            self.shards[n].handle_timeout(now);
            self.drain(n, None);
            let Some((counters, gauges)) = self.stats(n) else {
                continue;
            };
            self.out.counters.add(&counters);
            if self.shards[n].relay.poll_timeout().is_some() {
                self.violation(u32::MAX, format!("shard {n} plays to nobody"));
            }
            // Pairs still resting are not in use.
            let left = Gauges {
                media_pairs_quarantined: 0,
                ..gauges
            };
            if left != Gauges::default() {
                self.violation(u32::MAX, format!("shard {n} still holds {left:?}"));
            }
        }
        for limit in self.admission.clone().iter().filter(|l| l.channels_used != 0) {
            let (name, used) = (limit.name.to_owned(), limit.channels_used);
            self.violation(u32::MAX, format!("limit {name} still counts {used} channels"));
        }
        let c = self.out.counters.clone();
        let mut equal = |what: &str, a: u64, b: u64| {
            if a != b {
                self.out
                    .violations
                    .push((u32::MAX, format!("{what}: {a} against {b}")));
            }
        };
        equal("internal errors", c.internal_errors, 0);
        equal("records and calls admitted", self.out.records, c.calls_admitted);
        equal(
            "calls answered + failed and calls admitted",
            c.calls_answered + c.calls_failed,
            c.calls_admitted,
        );
        if !self.violations_empty() {
            self.abandon();
        }
    }

    fn violations_empty(&self) -> bool {
        self.out.violations.is_empty()
    }

    /// The shards still hold calls: leave them as they are instead of unwinding through them.
    fn abandon(&mut self) {
        self.shards.drain(..).for_each(std::mem::forget);
    }

    fn stats(&mut self, n: usize) -> Option<(ShardCounters, Gauges)> {
        self.shards[n].handle_command(Timestamp::from_nanos(self.now), 7, Command::Stats);
        let mut stats = None;
        while let Some(output) = self.shards[n].poll_output() {
            if let Output::Reply(7, reply) = output
                && let Reply::Stats(counters, gauges) = *reply
            {
                stats = Some((*counters, gauges));
            }
        }
        if stats.is_none() {
            self.violation(u32::MAX, format!("shard {n} did not answer Command::Stats"));
        }
        stats
    }

    /// When a message between shards arrives: a queue keeps their order.
    pub(super) fn letter_arrives(&mut self, from: usize, to: usize) -> u64 {
        let at = self.now + 5_000 + self.rng.below(200_000);
        let last = self.letters.entry((from, to)).or_default();
        *last = at.max(*last + 1);
        *last
    }

    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Entry {
            at,
            order: self.order,
            event,
        }));
    }

    pub(super) fn violation(&mut self, call: u32, why: String) {
        let at = self.now as f64 / SECOND as f64;
        self.out.violations.push((call, format!("at {at:.3} s: {why}")));
    }
}

pub(super) fn first_line(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|&b| b == b'\r')
        .unwrap_or(bytes.len().min(80));
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
