//! Who sends a request, where an address does not say it (RFC 3261 §22; T1, T4).
//!
//! In: a request that no transaction knows, from a trunk that must log in or from a source that no trunk lists. Out: the
//! trunk that it is from, or nothing: then it was challenged (401), refused (403), or left without an answer.
//!
//! ```text
//!  trunk without log-in ───────────────────────────────────────────► its trunk
//!  ACK, CANCEL ──what they end is known──► its trunk                        ▲
//!  inside of a call, from where that came ─────────────────────────────────►│
//!  without credentials ──► 401                                              │
//!  credentials, right ──nonce good──────────────────────────────────────────┘
//!       │                 └─old, used, not ours──► 401 stale=true
//!       └─wrong──► blamed; 403, or 401 where the nonce was not good
//! ```
//!
//! Nothing is remembered of who has proven nothing, but how many answers an address had in this second: a forged source
//! gets few of them, each about as large as what it sent. Each shard has nonces of its own: a request that comes with
//! another shard's is told a new one, and so nobody can use one twice.

use super::{Arrival, Shard};
use crate::{
    digest::{Challenge, Credentials, Nonces, Protection, Question, Standing},
    guard,
    io::{Event, Level, Output},
    login::{Login, Verdict},
    sip::{HeaderName, Message, Method},
    time::Timestamp,
    transaction::Reply,
    transport::Hop,
    trunk::TrunkId,
};
use ahash::RandomState;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// Used nonces that are remembered.
const NONCES_MAX: usize = 65_536;
/// Sources whose answers are counted apart; more share a count.
const CELLS: usize = 4096;
/// Most answers in a second to one source that has proven nothing.
const ANSWERS_PER_SOURCE: u16 = 50;
/// Between two log lines about one source.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What a source has done wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offence {
    /// A name that nobody has, or another's password.
    WrongCredentials,
    /// Credentials for our realm that cannot be read.
    MalformedCredentials,
}

impl Offence {
    const fn name(self) -> &'static str {
        match self {
            Self::WrongCredentials => "wrong name or password",
            Self::MalformedCredentials => "credentials that cannot be read",
        }
    }
}

/// What a shard knows of those who log in.
#[derive(Debug)]
pub(crate) struct Challenger {
    nonces: Nonces,
    hasher: RandomState,
    /// Empty as long as nobody may log in.
    cells: Vec<Cell>,
    /// Answers of this second to sources that have proven nothing.
    second: u64,
    answers: u32,
}

/// What is counted of a source.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    second: u64,
    answers: u16,
    /// Offences since the last log line.
    offences: u32,
    told: Option<Timestamp>,
    /// The last request that was refused: repeated, it is no other offence.
    refused: u64,
}

impl Challenger {
    /// `key`: random, and of this shard alone.
    pub(super) fn new(key: &[u8; 64], hasher: RandomState) -> Self {
        Self {
            nonces: Nonces::new(key, Duration::ZERO, NONCES_MAX),
            hasher,
            cells: Vec::new(),
            second: 0,
            answers: 0,
        }
    }

    /// Nonces are made with this key from now on; those made before are nobody's.
    pub(super) fn set_key(&mut self, key: &[u8; 64]) {
        let lifetime = self.nonces.lifetime();
        self.nonces = Nonces::new(key, lifetime, NONCES_MAX);
    }

    fn cell(&mut self, source: IpAddr) -> &mut Cell {
        if self.cells.is_empty() {
            self.cells = vec![Cell::default(); CELLS];
        }
        let at = self.hasher.hash_one(network(source)) as usize % CELLS;
        &mut self.cells[at]
    }

    /// Whether one more answer may go to a source that has proven nothing.
    fn may_answer(&mut self, now: Timestamp, source: IpAddr, per_second: u32) -> bool {
        let second = now.as_millis() / 1000;
        if self.second != second {
            (self.second, self.answers) = (second, 0);
        }
        if self.answers >= per_second {
            return false;
        }
        let cell = self.cell(source);
        if cell.second != second {
            (cell.second, cell.answers) = (second, 0);
        }
        if cell.answers >= ANSWERS_PER_SOURCE {
            return false;
        }
        cell.answers += 1;
        self.answers += 1;
        true
    }
}

/// What one subscriber has of the IPv6 addresses counts as one source.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

/// What the credentials of a request are worth.
enum Finding {
    /// This trunk's.
    Proven(TrunkId),
    /// There are none, or they must be given anew.
    Unproven { stale: bool },
    /// Wrong ones, with a good nonce.
    Refused,
}

impl Shard {
    /// A new snapshot holds.
    pub(super) fn configure_logins(&mut self) {
        let life = self.snapshot.logins.terms.nonce_life;
        self.challenger.nonces.set_lifetime(life);
    }

    /// Whose source `peer` is when no trunk lists it: nobody's, who may say who it is where trunks log in from anywhere.
    pub(super) fn stranger(&self, listener: crate::id::ListenerId) -> Option<TrunkId> {
        self.snapshot
            .logins
            .welcomes(listener)
            .then_some(TrunkId::STRANGER)
    }

    /// Who sends `request`, which no transaction knows. `None`: that is not known, and it has had its answer.
    pub(super) fn identify(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        from: Arrival,
    ) -> Option<Arrival> {
        let known = self.snapshot.trunks.get(usize::from(from.trunk.0));
        match known {
            Some(trunk) if trunk.peer.login.is_none() => return Some(from),
            None if from.trunk != TrunkId::STRANGER => return Some(from),
            _ => {}
        }
        match request.method() {
            // Neither can be answered with credentials (§22.1).
            Method::Ack => return self.identify_ack(request, from),
            Method::Cancel => return self.identify_cancel(request, from),
            _ => {}
        }
        let inside = self.trunk_of_call(request, from);
        let scope = match (inside, from.trunk) {
            (Some((trunk, true)), _) => return Some(of_trunk(trunk, from)),
            (Some((trunk, false)), _) => Some(trunk),
            (None, TrunkId::STRANGER) => None,
            (None, trunk) => Some(trunk),
        };
        let login = match scope {
            Some(trunk) => self.login_of(trunk),
            None => {
                let host = named_host(request);
                self.snapshot
                    .logins
                    .for_stranger(from.hop.listener, host)
                    .cloned()
            }
        };
        let Some(login) = login else {
            self.io.counters.sip_unknown_source += 1;
            return None;
        };
        match self.examine(now, request, from, scope, &login) {
            Finding::Proven(trunk) => {
                self.io.counters.logins_proven += 1;
                self.proven(now, from.hop.peer, trunk, now);
                return Some(of_trunk(trunk, from));
            }
            Finding::Unproven { stale } => {
                if !stale && from.trunk == TrunkId::STRANGER {
                    self.blame(
                        now,
                        from.hop.peer,
                        guard::Offence::Unproven,
                        request.method_bytes(),
                    );
                }
                self.challenge(now, request, from, &login, stale);
            }
            Finding::Refused => self.forbid(now, request, from),
        }
        None
    }

    fn login_of(&self, trunk: TrunkId) -> Option<Arc<Login>> {
        let trunk = self.snapshot.trunks.get(usize::from(trunk.0))?;
        trunk.peer.login.clone()
    }

    /// An ACK finds its call by our tag, or it is for a refusal that nothing is remembered of.
    fn identify_ack(&self, request: &Message<'_>, from: Arrival) -> Option<Arrival> {
        if let Some((trunk, _)) = self.trunk_of_call(request, from) {
            return Some(of_trunk(trunk, from));
        }
        let tag = request.to().ok().and_then(|to| to.tag())?;
        let ours = self.tokens.decode(tag)?;
        (ours.slot != u32::MAX).then_some(from)
    }

    /// A CANCEL is taken from the hosts of its trunk, and of one that roams from where its INVITE came (§9.2, §22.1).
    fn identify_cancel(&mut self, request: &Message<'_>, from: Arrival) -> Option<Arrival> {
        if from.trunk != TrunkId::STRANGER {
            return Some(from);
        }
        let invite = match self.transactions.cancelled_invite(request) {
            Ok(Some((slot, _))) => self.transactions.last_response(slot),
            // It crossed the final response, and ends nothing.
            Ok(None) => return Some(from),
            Err(()) => None,
        };
        let same = |hop: &Hop| hop.peer.ip().to_canonical() == from.hop.peer.ip().to_canonical();
        match invite.map(|(hop, _)| hop).filter(same) {
            Some(hop) => Some(of_trunk(hop.trunk, from)),
            None => {
                self.io.counters.sip_unknown_source += 1;
                None
            }
        }
    }

    /// The trunk of the call that `request` is inside of, and whether that is enough: it comes from where the leg is, and
    /// nothing more is asked of it there.
    fn trunk_of_call(&self, request: &Message<'_>, from: Arrival) -> Option<(TrunkId, bool)> {
        let tag = request.to().ok().and_then(|to| to.tag())?;
        let (slot, side) = self.leg_of_tag(tag)?;
        let call = self.calls.get(slot as usize)?;
        let leg = call.leg(side);
        let login = self.login_of(leg.trunk)?;
        if !call.is_within(side, request) || from.trunk != TrunkId::STRANGER && from.trunk != leg.trunk {
            return None;
        }
        let asked = login.inside_calls || request.method() == Method::Refer;
        Some((leg.trunk, !asked && is_same_place(leg.hop, from.hop)))
    }

    /// What the credentials of `request` are worth: those of `scope`, or of anybody who may come from anywhere.
    fn examine(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        from: Arrival,
        scope: Option<TrunkId>,
        login: &Login,
    ) -> Finding {
        let realm = login.realm.as_bytes();
        let question = Question {
            method: request.method_bytes(),
            uri: request.request_uri(),
            body: request.body(),
        };
        let fresh = Finding::Unproven { stale: false };
        let mut values = request.headers(HeaderName::Authorization);
        let ours = |value: &&[u8]| crate::digest::realm_of(value) == Some(realm);
        let Some(value) = values.find(ours) else {
            return fresh;
        };
        let Some(credentials) = Credentials::parse(value) else {
            self.blame_once(now, request, from, Offence::MalformedCredentials);
            return fresh;
        };
        let count = credentials.qop.map(|(_, _, count)| count);
        let standing = self.challenger.nonces.check(now, realm, credentials.nonce, count);
        let snapshot = Arc::clone(&self.snapshot);
        let verdict = snapshot
            .logins
            .judge(scope, from.hop.listener, &credentials, &question);
        match (verdict, standing) {
            (Verdict::Right(trunk, _), Standing::Good) => {
                let forgotten = self.challenger.nonces.note(now, realm, credentials.nonce, count);
                self.io.counters.nonces_forgotten += forgotten;
                Finding::Proven(trunk)
            }
            (Verdict::Right(..), _) => Finding::Unproven { stale: true },
            (Verdict::Wrong, standing) => {
                self.blame_once(now, request, from, Offence::WrongCredentials);
                match standing {
                    Standing::Good => Finding::Refused,
                    _ => fresh,
                }
            }
        }
    }

    /// Ask for credentials: one challenge for each algorithm, the best first (RFC 8760 §2.4).
    fn challenge(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        from: Arrival,
        login: &Login,
        stale: bool,
    ) {
        if !self.may_answer(now, from) {
            return;
        }
        self.io.counters.challenges_sent += 1;
        let random = self.random();
        let nonce = self.challenger.nonces.mint(now, login.realm.as_bytes(), random);
        let name = Arc::clone(&self.snapshot);
        self.transactions
            .respond_stateless(&mut self.io, request, from.hop, 401, |mut w| {
                for &algorithm in &login.algorithms {
                    let challenge = Challenge {
                        realm: login.realm.as_bytes(),
                        nonce: nonce.as_bytes(),
                        opaque: None,
                        stale,
                        algorithm,
                        qop: Some(Protection::Auth),
                    };
                    w.header_with("WWW-Authenticate", |out| challenge.write(out));
                }
                if !name.sip.server_name.is_empty() {
                    w.header("Server", name.sip.server_name.as_bytes());
                }
                w.empty_body();
            });
    }

    /// To ask again would be in vain (§22.2).
    fn forbid(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival) {
        if self.may_answer(now, from) {
            self.transactions
                .answer_stateless(&mut self.io, request, from.hop, Reply::new(403));
        }
    }

    /// Whether the source may have an answer now. A trunk's own hosts may always.
    fn may_answer(&mut self, now: Timestamp, from: Arrival) -> bool {
        let per_second = self.snapshot.logins.terms.challenges_per_s;
        let may = from.trunk != TrunkId::STRANGER
            || self.challenger.may_answer(now, from.hop.peer.ip(), per_second);
        self.io.counters.challenges_withheld += u64::from(!may);
        may
    }

    /// A request that comes again is one offence.
    fn blame_once(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival, offence: Offence) {
        let transaction = self.transactions.keys.server(request, request.method()) as u64;
        let cell = self.challenger.cell(from.hop.peer.ip());
        if std::mem::replace(&mut cell.refused, transaction) != transaction {
            self.login_failed(now, from.hop.peer, offence);
        }
    }

    /// `source` has done wrong: counted, and told of once a minute. Whoever bans sources hears of it here.
    fn login_failed(&mut self, now: Timestamp, source: SocketAddr, offence: Offence) {
        self.io.counters.logins_refused += 1;
        let evidence = offence.name().as_bytes();
        self.blame(now, source, guard::Offence::BadCredentials, evidence);
        let cell = self.challenger.cell(source.ip());
        cell.offences = cell.offences.saturating_add(1);
        if cell.told.is_some_and(|told| now < told + TELL_EVERY) {
            return;
        }
        cell.told = Some(now);
        let times = std::mem::take(&mut cell.offences);
        let before = match times {
            1 => String::new(),
            _ => format!(", {times} times since it was last told of"),
        };
        self.io.outputs.push_back(Output::Event(Event {
            level: Level::Warn,
            call: String::new(),
            text: format!("log-in from {source} refused: {}{before}", offence.name()),
        }));
    }
}

/// `from`, which has turned out to be `trunk`.
fn of_trunk(trunk: TrunkId, from: Arrival) -> Arrival {
    Arrival {
        hop: Hop { trunk, ..from.hop },
        trunk,
        ..from
    }
}

/// Whether a message by `hop` comes from where the peer of a leg is.
fn is_same_place(leg: Hop, hop: Hop) -> bool {
    match hop.flow {
        Some(_) => leg.flow == hop.flow,
        None => leg.listener == hop.listener && leg.peer == hop.peer,
    }
}

/// The host that a request says its sender belongs to: that in From, which in a REGISTER is that in To.
fn named_host<'m>(request: &Message<'m>) -> &'m [u8] {
    let uri = request.from().ok().and_then(|from| from.parsed_uri().ok());
    uri.map_or(&b""[..], |uri| uri.host)
}
