//! Log-ins under a bad network: a provider that we register with and a PBX that registers with us. Both lose messages, double,
//! delay and reorder them, are away, and come back without a memory; the provider is busy, brief and stingy besides. Then
//! all is well again.
//!
//! What must hold: one REGISTER of ours at a time, and none before its pause is over; soon after all is well both are registered;
//! a call to the Contact that we registered reaches the PBX where it is; and neither side is ever told a name, realm,
//! nonce or password of the other.

use super::{
    network::{Network, Weather},
    plan::{MS, SECOND},
    rng::Rng,
};
use bytes::Bytes;
use sbc_core::{
    config,
    digest::{Account, Challenge, Credentials, Proof, Question},
    health::Registration,
    shard::{Command, ListenerId, Output, Shard, ShardId},
    snapshot::Snapshot,
    time::Timestamp,
    transport::Hop,
    trunk::TrunkId,
};
use sbc_media::relay::PairIndex;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
};

/// The network and the peers do their worst until then.
const WORST: u64 = 150 * SECOND;
/// And this much later both must be registered: our longest pause after failures is half an hour.
const WITHIN: u64 = 1900 * SECOND;
/// So much of that is waited in any case.
const STEADY: u64 = 130 * SECOND;
/// How long one of our REGISTERs may wait for its answer.
const ANSWER_MAX: u64 = 16 * SECOND;
/// Our shortest pause after a failure.
const PAUSE_MIN: u64 = 15 * SECOND;

const OURS: &str = "10.60.0.1";
const PROVIDER: &str = "10.71.0.2:5060";
/// What only the provider, and what only the PBX, may be told.
const OF_PROVIDER: [&str; 5] = [
    "account-7100",
    "realm-7100",
    "nonce-7100",
    "provider.test",
    "10.71.",
];
const OF_PBX: [&str; 3] = ["user-8200", "realm-8200", "10.82."];
const SECRETS: [&str; 2] = ["password-7100", "password-8200"];

const CONFIGURATION: &str = r#"
[[listener]]
name = "main"
address = "10.60.0.1:5060"
[media]
address = "10.60.0.1"
[[trunk]]
name = "provider"
hosts = ["10.71.0.2"]
domain = "provider.test"
account = { username = "account-7100", password = "password-7100" }
register = { expires_s = 60 }
[[trunk]]
name = "pbx"
login = { realm = "realm-8200", expires_min_s = 20, user = [{ username = "user-8200", password = "password-8200" }] }
[[route]]
from = "provider"
to = "pbx"
[[route]]
from = "pbx"
to = "provider"
"#;

/// What a run has done and seen.
#[derive(Debug, Default)]
pub struct Outcome {
    pub violations: Vec<String>,
    /// REGISTERs of ours, copies not counted; and how many the provider has granted and refused.
    pub sent: u64,
    pub granted: u64,
    pub refused: u64,
    /// What we have granted to the PBX.
    pub bound: u64,
    pub restarts: u64,
    pub stale: u64,
    /// How long after all was well both were registered, a wait of 130 s included.
    pub well_after_s: u64,
}

enum Event {
    ToSbc(SocketAddr, Bytes),
    ToPeer(SocketAddr, Bytes),
    Handover(usize, Hop, Bytes),
    Command(usize, Command),
    /// The PBX looks whether something is to be done.
    Pbx,
}

struct World {
    now: u64,
    rng: Rng,
    network: Network,
    order: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: HashMap<u64, Event>,
    shards: Vec<Shard>,
    snapshot: Arc<Snapshot>,
    provider: Provider,
    pbx: Pbx,
    /// How often of a thousand times the provider refuses, while it is at its worst.
    refusals: u64,
    /// When each peer is away.
    away: [Vec<(u64, u64)>; 2],
    watch: Watch,
    /// When the last change of the PBX's contacts is known.
    stored: u64,
    out: Outcome,
    /// INVITEs that came to the PBX: where, and the Request-URI.
    invited: Vec<(SocketAddr, String)>,
}

/// The registrar.
#[derive(Default)]
struct Provider {
    nonces: HashSet<String>,
    answered: HashMap<String, Bytes>,
    /// Our Contact and until when it holds.
    bound: Option<(String, u64)>,
}

/// The PBX.
struct Pbx {
    port: u16,
    life: u32,
    cseq: u32,
    expires_s: u32,
    request: Option<Request>,
    due: u64,
}

/// A REGISTER of the PBX.
struct Request {
    bytes: Bytes,
    branch: String,
    since: u64,
    again_at: u64,
    pause: u64,
    proven: bool,
}

/// What of our registering is known outside.
#[derive(Default)]
struct Watch {
    branches: HashSet<String>,
    /// The REGISTER without an answer, and when it left.
    open: Option<(String, u64)>,
    /// No new one before.
    not_before: u64,
    granted_until: u64,
    /// The next one belongs to the same exchange.
    goes_on: bool,
}

pub fn run(seed: u64) -> Outcome {
    let mut rng = Rng::new(seed ^ 0x1061_0615);
    let (snapshot, admission) = config::parse(CONFIGURATION, "logins").unwrap().compile().unwrap();
    let (snapshot, admission) = (Arc::new(snapshot), Arc::new(admission));
    let count = rng.range(1, 3) as u8;
    let mut shards: Vec<Shard> = (0..count)
        .map(|n| {
            Shard::new(
                ShardId(n),
                count,
                snapshot.clone(),
                admission.clone(),
                seed,
                !seed,
            )
        })
        .collect();
    for (n, shard) in shards.iter_mut().enumerate() {
        for pair in 0..4 {
            let port = 20_000 + 8 * n as u16 + 2 * pair;
            shard.add_media_pair(sbc_core::id::InterfaceId(0), PairIndex(pair.into()), port);
        }
    }
    let network = Network::new(rng.fork(1), Weather::draw(&mut rng));
    let refusals = rng.pick(&[0, 100, 300, 900]);
    let mut away = [Vec::new(), Vec::new()];
    for times in &mut away {
        for _ in 0..rng.below(3) {
            let from = rng.below(WORST - 50 * SECOND);
            times.push((from, from + rng.range(1, 45) * SECOND));
        }
    }
    let mut world = World {
        now: 0,
        rng,
        network,
        order: 0,
        queue: BinaryHeap::new(),
        events: HashMap::new(),
        shards,
        snapshot,
        provider: Provider::default(),
        pbx: Pbx {
            port: 5060,
            life: 0,
            cseq: 0,
            expires_s: 60,
            request: None,
            due: 0,
        },
        refusals,
        away,
        watch: Watch::default(),
        stored: 0,
        out: Outcome::default(),
        invited: Vec::new(),
    };
    world.push(0, Event::Pbx);
    world.run_until(WORST);
    world.network.weather = Weather::calm();
    // Long enough for each side to register again in good weather, and as much longer as a pause may be.
    world.run_until(WORST + STEADY);
    while world.now < WORST + WITHIN && !world.all_registered() {
        world.run_until(world.now + 10 * SECOND);
    }
    world.out.well_after_s = (world.now - WORST) / SECOND;
    world.judge();
    world.out
}

impl World {
    fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse((at, self.order)));
        self.events.insert(self.order, event);
    }

    fn violation(&mut self, text: String) {
        self.out
            .violations
            .push(format!("{:.3} s: {text}", self.now as f64 / SECOND as f64));
    }

    fn is_well(&self) -> bool {
        self.now >= WORST
    }

    fn is_away(&self, peer: usize) -> bool {
        let at = self.now;
        self.away[peer]
            .iter()
            .any(|(from, to)| (*from..*to).contains(&at))
    }

    fn run_until(&mut self, end: u64) {
        loop {
            let timer = self.shards.iter().filter_map(Shard::poll_timeout).min();
            let timer = timer.map(|due| due.as_nanos().max(self.now));
            let event = self.queue.peek().map(|Reverse((at, _))| *at);
            let Some(next) = timer.into_iter().chain(event).min().filter(|at| *at < end) else {
                break;
            };
            self.now = next;
            if event == Some(next) {
                if let Some(Reverse((_, order))) = self.queue.pop()
                    && let Some(event) = self.events.remove(&order)
                {
                    self.dispatch(event);
                }
            } else {
                let now = Timestamp::from_nanos(self.now);
                for shard in 0..self.shards.len() {
                    self.shards[shard].handle_timeout(now);
                    self.drain(shard);
                }
            }
        }
        self.now = end;
    }

    fn dispatch(&mut self, event: Event) {
        let now = Timestamp::from_nanos(self.now);
        match event {
            Event::ToSbc(from, bytes) => {
                self.note_answer(&bytes);
                let shard = self.rng.below(self.shards.len() as u64) as usize;
                self.shards[shard].handle_datagram(now, ListenerId(0), from, &bytes);
                self.drain(shard);
            }
            Event::Handover(shard, hop, bytes) => {
                self.note_answer(&bytes);
                self.shards[shard].handle_handover(now, hop, &bytes);
                self.drain(shard);
            }
            Event::Command(shard, command) => {
                self.shards[shard].handle_command(now, 0, command);
                self.drain(shard);
            }
            Event::ToPeer(to, bytes) if to == address(PROVIDER) => {
                if !self.is_away(0) {
                    self.ask_provider(&bytes);
                }
            }
            Event::ToPeer(to, bytes) => {
                if to.port() == self.pbx.port && !self.is_away(1) {
                    self.tell_pbx(to, &bytes);
                }
            }
            Event::Pbx => self.pbx_looks(),
        }
    }

    fn drain(&mut self, shard: usize) {
        while let Some(output) = self.shards[shard].poll_output() {
            match output {
                Output::Transmit { peer, payload, .. } => {
                    self.watch_message(peer, &payload);
                    for delay in self.network.carry(&payload) {
                        self.push(self.now + delay, Event::ToPeer(peer, payload.clone()));
                    }
                }
                Output::Handover { shard, hop, payload } => {
                    let at = self.now + self.rng.below(MS);
                    self.push(at, Event::Handover(shard.0.into(), hop, payload));
                }
                Output::Bind(change) => {
                    // Stored after a while, known to all, and then the one that asked is told.
                    let stored = (self.now + self.rng.below(20 * MS)).max(self.stored + 2 * MS);
                    self.stored = stored;
                    for other in 0..self.shards.len() {
                        let at = if other == shard { stored + MS } else { stored };
                        let tickets: Vec<u64> =
                            (other == shard).then_some(change.ticket).into_iter().collect();
                        let command = Command::Bindings {
                            records: Arc::new([Arc::clone(&change.record)]),
                            stored: tickets.into(),
                            unsaved: false,
                        };
                        self.push(at, Event::Command(other, command));
                    }
                }
                Output::Event(event) => {
                    if let Some(secret) = SECRETS.iter().find(|secret| event.text.contains(*secret)) {
                        self.violation(format!("{secret} is in the log: {}", event.text));
                    }
                }
                _ => {}
            }
        }
    }

    // -- oracles ----------------------------------------------------------------------------------

    fn watch_message(&mut self, to: SocketAddr, bytes: &Bytes) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let provider = to == address(PROVIDER);
        let foreign = if provider { &OF_PBX[..] } else { &OF_PROVIDER[..] };
        for word in foreign.iter().chain(&SECRETS) {
            if text.contains(word) {
                self.violation(format!("{word} is told to {to}:\n{text}"));
            }
        }
        if !provider || !text.starts_with("REGISTER ") {
            return;
        }
        let branch = branch(&text);
        if !self.watch.branches.insert(branch.clone()) {
            return;
        }
        self.out.sent += 1;
        if let Some((_, since)) = self.watch.open.take()
            && !self.watch.goes_on
            && self.now < since + ANSWER_MAX
        {
            self.violation("a second REGISTER while the first has no answer".to_owned());
        }
        if !self.watch.goes_on && self.now < self.watch.not_before {
            let early = (self.watch.not_before - self.now) as f64 / SECOND as f64;
            self.violation(format!("a REGISTER {early:.3} s before its pause is over"));
        }
        self.watch.goes_on = false;
        self.watch.open = Some((branch, self.now));
    }

    /// An answer to our REGISTER reaches the shard that it belongs to, or one that hands it over.
    fn note_answer(&mut self, bytes: &Bytes) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let Some((open, since)) = self.watch.open.clone() else {
            return;
        };
        // What comes later is nobody's.
        let late = self.now + MS >= since + ANSWER_MAX;
        if !text.starts_with("SIP/2.0 ") || branch(&text) != open || late {
            return;
        }
        let status: u16 = text[8..11].parse().unwrap_or(0);
        match status {
            200 => {
                let granted =
                    header(&text, "Contact").and_then(|c| c.rsplit_once("expires=")?.1.parse().ok());
                self.watch.granted_until = self.now + granted.unwrap_or(0) * SECOND;
                self.watch.not_before = 0;
                self.watch.open = None;
            }
            401 | 423 => self.watch.goes_on = true,
            _ => {
                let pause = header(&text, "Retry-After").and_then(|s| s.parse().ok());
                let pause = pause.map_or(PAUSE_MIN, |s: u64| s * SECOND);
                let left = self.watch.granted_until.saturating_sub(self.now);
                let pause = if left > 0 { pause.min(left) } else { pause };
                // What the shard takes a moment to be told.
                self.watch.not_before = (self.now + pause).saturating_sub(10 * MS);
                self.watch.open = None;
            }
        }
    }

    fn all_registered(&self) -> bool {
        self.provider
            .bound
            .as_ref()
            .is_some_and(|(_, until)| *until > self.now)
            && self.snapshot.health.registration(TrunkId(0)).0 == Registration::Registered
            && self.shards.iter().all(|shard| shard.users_registered() == 1)
    }

    fn judge(&mut self) {
        let state = self.snapshot.health.registration(TrunkId(0)).0;
        if state != Registration::Registered {
            self.violation(format!("all is well, and we are {state}"));
        }
        let Some((contact, until)) = self.provider.bound.clone() else {
            return self.violation("the provider does not know where we are".to_owned());
        };
        if until <= self.now {
            self.violation("what the provider knew is over".to_owned());
        }
        if self.shards.iter().any(|shard| shard.users_registered() != 1) {
            self.violation("a shard does not know where the PBX is".to_owned());
        }
        // Who calls the Contact that we have registered reaches the PBX where it is now.
        let sdp = "v=0\r\no=p 1 1 IN IP4 10.71.0.2\r\ns=-\r\nc=IN IP4 10.71.0.2\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
        let invite = format!(
            "INVITE {contact} SIP/2.0\r\nVia: SIP/2.0/UDP {PROVIDER};branch=z9hG4bKcall\r\nMax-Forwards: 70\r\n\
             From: <sip:+33199000001@10.71.0.2>;tag=c\r\nTo: <sip:+493023125042@10.60.0.1>\r\nCall-ID: inbound\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:p@{PROVIDER}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        );
        self.push(self.now, Event::ToSbc(address(PROVIDER), Bytes::from(invite)));
        self.run_until(self.now + 2 * SECOND);
        let at = self.pbx_address();
        let expected = format!("sip:user-8200@{at}");
        match self.invited.first().cloned() {
            Some((to, uri)) if to == at && uri == expected => {}
            other => self.violation(format!("a call for {expected} at {at} went to {other:?}")),
        }
        for shard in 0..self.shards.len() {
            let counters = self.shards[shard].counters();
            if counters.internal_errors > 0 {
                self.violation(format!("{} internal errors", counters.internal_errors));
            }
        }
    }

    // -- the provider ---------------------------------------------------------------------------------

    fn ask_provider(&mut self, bytes: &Bytes) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if !text.starts_with("REGISTER ") {
            return;
        }
        // Who comes back from being away has forgotten what it knew.
        if self.away[0].iter().any(|(_, to)| *to <= self.now) {
            self.away[0].retain(|(_, to)| *to > self.now);
            self.out.restarts += 1;
            self.provider = Provider::default();
        }
        let branch = branch(&text);
        let answer = match self.provider.answered.get(&branch) {
            Some(answer) => answer.clone(),
            None => {
                let answer = self.decide(&text);
                self.provider.answered.insert(branch, answer.clone());
                answer
            }
        };
        for delay in self.network.carry(&answer) {
            self.push(self.now + delay, Event::ToSbc(address(PROVIDER), answer.clone()));
        }
    }

    fn decide(&mut self, text: &str) -> Bytes {
        if !self.is_well() && self.rng.chance(self.refusals) {
            self.out.refused += 1;
            let (status, more) = match self.rng.below(3) {
                0 => (503, format!("Retry-After: {}\r\n", self.rng.range(1, 30))),
                1 => (500, String::new()),
                _ => (423, format!("Min-Expires: {}\r\n", self.rng.range(61, 90))),
            };
            return response(text, status, &more);
        }
        let account = Account::new(b"account-7100", b"password-7100");
        let given = header(text, "Authorization").and_then(|value| Credentials::parse(value.as_bytes()));
        let right = given.as_ref().is_some_and(|given| {
            let question = Question {
                method: b"REGISTER",
                uri: b"sip:provider.test",
                body: b"",
            };
            account.vouches(given, &question) == Proof::Right
        });
        let fresh = given.as_ref().is_some_and(|given| {
            self.provider
                .nonces
                .remove(&String::from_utf8_lossy(given.nonce).into_owned())
        });
        let old = !self.is_well() && self.rng.chance(100);
        if !right || !fresh || old {
            if given.is_some() && !right {
                self.violation(format!("credentials that are wrong:\n{text}"));
            }
            let nonce = format!("nonce-7100-{}", self.rng.next());
            let stale = if right { ", stale=true" } else { "" };
            self.out.stale += u64::from(right);
            let algorithm = self.rng.pick(&["MD5", "SHA-256"]);
            let challenge = format!(
                "WWW-Authenticate: Digest realm=\"realm-7100\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}\r\n"
            );
            self.provider.nonces.insert(nonce);
            return response(text, 401, &challenge);
        }
        let contact = header(text, "Contact").unwrap_or_default();
        let uri = contact
            .trim_start_matches('<')
            .split('>')
            .next()
            .unwrap_or_default();
        let asked: u64 = header(text, "Expires").and_then(|s| s.parse().ok()).unwrap_or(0);
        let granted = self.rng.range(20, asked.max(20));
        self.provider.bound = Some((uri.to_owned(), self.now + granted * SECOND));
        self.out.granted += 1;
        response(text, 200, &format!("Contact: <{uri}>;expires={granted}\r\n"))
    }

    // -- the PBX --------------------------------------------------------------------------------------

    fn pbx_address(&self) -> SocketAddr {
        SocketAddr::from(([10, 82, 0, 2], self.pbx.port))
    }

    fn pbx_looks(&mut self) {
        self.push(self.now + 200 * MS, Event::Pbx);
        if self.is_away(1) {
            return;
        }
        if self.away[1].iter().any(|(_, to)| *to <= self.now) {
            self.away[1].retain(|(_, to)| *to > self.now);
            self.out.restarts += 1;
            // Another Call-ID, and perhaps another port.
            let port = 5060 + 2 * self.rng.below(2) as u16;
            self.pbx = Pbx {
                port,
                life: self.pbx.life + 1,
                cseq: self.rng.below(5) as u32,
                expires_s: 60,
                request: None,
                due: self.now,
            };
        }
        let now = self.now;
        match &mut self.pbx.request {
            Some(request) if now > request.since + 32 * SECOND => {
                self.pbx.request = None;
                self.pbx.due = now + 5 * SECOND;
            }
            Some(request) if now >= request.again_at => {
                request.pause = (2 * request.pause).min(4 * SECOND);
                request.again_at = now + request.pause;
                let bytes = request.bytes.clone();
                self.pbx_sends(&bytes);
            }
            Some(_) => {}
            None if now >= self.pbx.due => self.pbx_registers(None),
            None => {}
        }
    }

    fn pbx_sends(&mut self, bytes: &Bytes) {
        let from = self.pbx_address();
        for delay in self.network.carry(bytes) {
            self.push(self.now + delay, Event::ToSbc(from, bytes.clone()));
        }
    }

    fn pbx_registers(&mut self, challenge: Option<&str>) {
        let at = self.pbx_address();
        self.pbx.cseq += 1;
        let (life, cseq, expires_s) = (self.pbx.life, self.pbx.cseq, self.pbx.expires_s);
        let uri = format!("sip:{OURS}");
        let proof = challenge.map_or_else(String::new, |challenge| {
            let challenge = Challenge::parse(challenge.as_bytes()).unwrap();
            let question = Question {
                method: b"REGISTER",
                uri: uri.as_bytes(),
                body: b"",
            };
            let mut value = Vec::new();
            let account = Account::new(b"user-8200", b"password-8200");
            account.answer(&mut value, &challenge, &question, 1, b"cnonce");
            format!("Authorization: {}\r\n", String::from_utf8_lossy(&value))
        });
        let branch = format!("z9hG4bKpbx-{life}-{cseq}");
        let bytes = Bytes::from(format!(
            "REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch={branch}\r\nMax-Forwards: 70\r\n\
             From: <sip:user-8200@{OURS}>;tag=t{life}\r\nTo: <sip:user-8200@{OURS}>\r\nCall-ID: pbx-{life}\r\nCSeq: {cseq} REGISTER\r\n\
             Contact: <sip:user-8200@{at}>\r\nExpires: {expires_s}\r\n{proof}Content-Length: 0\r\n\r\n"
        ));
        self.pbx.request = Some(Request {
            bytes: bytes.clone(),
            branch,
            since: self.now,
            again_at: self.now + SECOND / 2,
            pause: SECOND / 2,
            proven: challenge.is_some(),
        });
        self.pbx_sends(&bytes);
    }

    fn tell_pbx(&mut self, to: SocketAddr, bytes: &Bytes) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        if text.starts_with("INVITE ") {
            let uri = text.split(' ').nth(1).unwrap_or_default().to_owned();
            return self.invited.push((to, uri));
        }
        let Some(request) = &self.pbx.request else { return };
        if !text.starts_with("SIP/2.0 ") || branch(&text) != request.branch {
            return;
        }
        let proven = request.proven;
        let stale = text.contains("stale=true");
        match text[8..11].parse().unwrap_or(0) {
            401 if !proven || stale => {
                self.out.stale += u64::from(stale);
                let challenge = header(&text, "WWW-Authenticate").unwrap_or_default().to_owned();
                self.pbx_registers(Some(&challenge));
            }
            200 => {
                self.out.bound += 1;
                self.pbx.request = None;
                self.pbx.due = self.now + SECOND * u64::from(self.pbx.expires_s) / 2;
            }
            // An older one of ours came late, or the like.
            status => {
                if self.is_well() || !matches!(status, 100 | 500) {
                    self.violation(format!("the PBX is refused with {status}:\n{text}"));
                }
                self.pbx.request = None;
                self.pbx.due = self.now + 5 * SECOND;
            }
        }
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn header<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines().skip(1).take_while(|line| !line.is_empty());
    lines.find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

fn branch(text: &str) -> String {
    let via = header(text, "Via").unwrap_or_default();
    let branch = via.split(";branch=").nth(1).unwrap_or_default();
    branch.split(';').next().unwrap_or_default().to_owned()
}

fn response(request: &str, status: u16, more: &str) -> Bytes {
    let of = |name| header(request, name).unwrap_or_default();
    Bytes::from(format!(
        "SIP/2.0 {status} Whatever\r\nVia: {}\r\nFrom: {}\r\nTo: {};tag=p\r\nCall-ID: {}\r\nCSeq: {}\r\n{more}Content-Length: 0\r\n\r\n",
        of("Via"),
        of("From"),
        of("To"),
        of("Call-ID"),
        of("CSeq"),
    ))
}
