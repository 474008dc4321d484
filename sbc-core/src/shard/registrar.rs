//! The registrar: users of trunks say where they are (RFC 3261 §10.3; T3).
//!
//! In: REGISTERs that are proven (`login`), what was stored, time. Out: answers, the records that are to be stored, and for
//! calls where a user can be reached.
//!
//! ```text
//!  REGISTER ──► shard of its user ──► record as it is then ──► Output::Bind ──► control thread: stores it
//!                    ▲                                                              │
//!  200 ◄─────────────┴── Command::Bindings, with the ticket ◄── Command::Bindings ──┴─► all other shards
//! ```
//!
//! REGISTERs of one user all go to one shard, which decides in which order they hold. A 200 says that the bindings are
//! stored and that every shard knows them. When the control thread does not come round, the sender hears nothing and tries
//! again.

use super::{Arrival, Shard};
use crate::{
    bindings::{Binding, Change, Record, Refusal, Wish},
    digest::{Account, Credentials},
    io::{Event, Level, Output},
    sip::{HeaderName, Message, OptionTags, Writer},
    snapshot::Trunk,
    text::put,
    time::Timestamp,
    topology::{Callee, user_of},
    transaction::{Extra, Reply, met_hop},
    transport::Hop,
    trunk::TrunkId,
};
use ahash::RandomState;
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

/// Most REGISTERs of a shard that may wait until they are stored.
const WAITING_MAX: usize = 4096;
/// How long one waits.
const STORED_WITHIN: Duration = Duration::from_secs(16);

/// Whose bindings: a trunk and a user of it.
type Whose = (TrunkId, Box<str>);

/// What a shard knows of where users are.
#[derive(Debug, Default)]
pub(crate) struct Bindings {
    records: HashMap<Whose, Arc<Record>, RandomState>,
    /// When a binding of each record ends.
    ends: BTreeSet<(Timestamp, Whose)>,
    /// REGISTERs that wait until they are stored, by ticket.
    waiting: HashMap<u64, Waiting, RandomState>,
    /// The same with the time when they are given up, the first first.
    patience: VecDeque<(Timestamp, u64)>,
    tickets: u64,
}

/// Where a user is called: the way, and the Request-URI.
type Contact = (Hop, Box<[u8]>);

/// A REGISTER that is to be answered.
#[derive(Debug)]
struct Waiting {
    /// Its transaction.
    server: u32,
    /// What it is told.
    record: Arc<Record>,
    /// Its contacts are flows (RFC 5626).
    outbound: bool,
}

/// Why nothing is stored for a REGISTER.
enum Denied {
    /// It is refused.
    Reply(Reply),
    /// It only asks for what there is.
    Known(Arc<Record>),
}

impl Bindings {
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let end = self.ends.first().map(|(end, _)| *end);
        let patience = self.patience.front().map(|(due, _)| *due);
        [end, patience].into_iter().flatten().min()
    }

    /// Users that are somewhere.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    fn find(&self, trunk: TrunkId, user: &str) -> Option<&Arc<Record>> {
        if self.records.is_empty() {
            return None;
        }
        self.records.get(&(trunk, user.into()))
    }

    fn set(&mut self, whose: Whose, record: Arc<Record>) {
        if let Some(old) = self.records.remove(&whose)
            && let Some(end) = old.next_end()
        {
            self.ends.remove(&(end, whose.clone()));
        }
        if let Some(end) = record.next_end() {
            self.ends.insert((end, whose.clone()));
            self.records.insert(whose, record);
        }
    }
}

impl Shard {
    /// The shard that REGISTERs of this user go to.
    pub(super) fn owner_by_record(&self, request: &Message<'_>) -> Option<crate::id::ShardId> {
        let to = request.to().ok()?.parsed_uri().ok()?;
        Some(self.owner_of(to.user?))
    }

    /// Whether users of `trunk` may register.
    pub(super) fn takes_users(&self, trunk: TrunkId) -> bool {
        let trunk = self.snapshot.trunks.get(usize::from(trunk.0));
        trunk.is_some_and(|trunk| trunk.peer.login.is_some())
    }

    /// A REGISTER, proven to be of a trunk that logs in.
    pub(super) fn register_user(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival) {
        self.io.counters.registers_received += 1;
        match self.bind(now, request, from) {
            Ok(()) => {}
            Err(Denied::Reply(reply)) => {
                self.io.counters.registers_refused += 1;
                self.transactions
                    .answer(&mut self.io, now, request, from.hop, reply);
            }
            Err(Denied::Known(record)) => {
                let server = self.transactions.accept_request(&self.io, request, from.hop);
                let outbound = false;
                self.confirm(
                    now,
                    Waiting {
                        server,
                        record,
                        outbound,
                    },
                );
            }
        }
    }

    fn bind(&mut self, now: Timestamp, request: &Message<'_>, from: Arrival) -> Result<(), Denied> {
        crate::b2bua::check_require(request, OptionTags::NONE)?;
        let snapshot = Arc::clone(&self.snapshot);
        let trunk = snapshot.trunks.get(usize::from(from.trunk.0));
        let trunk = trunk.ok_or(Reply::new(404))?;
        let login = trunk.peer.login.as_ref().ok_or(Reply::new(405))?;
        let user = self
            .user_of_record(request, &login.realm)
            .ok_or(Reply::new(403))?;
        let Some(grants) = &login.grants else {
            return Err(Reply::new(403).into());
        };
        let known = match self.bindings.find(from.trunk, &user) {
            Some(record) => Arc::clone(record),
            None => Arc::new(Record {
                trunk: trunk.name.as_str().into(),
                user: user.as_str().into(),
                bindings: Vec::new(),
            }),
        };
        let wish = Wish::of(request).map_err(reply_to)?;
        if wish.asks_only() {
            return Err(Denied::Known(known));
        }
        if self.bindings.waiting.len() >= WAITING_MAX || self.transactions.is_full() {
            self.io.counters.registers_waiting_max += 1;
            return Err(Reply::retry_after(503, 5).into());
        }
        let transport = self.local(from.hop).transport;
        let way = (
            met_hop(request, from.hop, transport),
            !transport.is_reliable() && is_natted(request, from.hop),
        );
        let (record, displaced) = known.after(now, &wish, way, grants).map_err(reply_to)?;
        self.io.counters.bindings_displaced += displaced;
        let first = known.live(now).next().is_none() && !record.bindings.is_empty();
        let gone = known.live(now).next().is_some() && record.bindings.is_empty();
        let record = Arc::new(record);
        self.bindings
            .set((from.trunk, user.as_str().into()), Arc::clone(&record));
        let server = self.transactions.accept_request(&self.io, request, from.hop);
        self.bindings.tickets += 1;
        let ticket = self.bindings.tickets;
        let waiting = Waiting {
            server,
            record: Arc::clone(&record),
            outbound: wish.is_outbound(),
        };
        self.bindings.waiting.insert(ticket, waiting);
        self.bindings.patience.push_back((now + STORED_WITHIN, ticket));
        if first {
            self.tell_of_user(&record, &format!("registered from {}", from.hop.peer));
        } else if gone {
            self.tell_of_user(&record, "no longer registered: it has said so");
        }
        self.io.outputs.push_back(Output::Bind(Change { ticket, record }));
        Ok(())
    }

    /// The user whose bindings a REGISTER is about: that in To, if its credentials are the same user's (§10.3 steps 3
    /// to 5).
    fn user_of_record(&mut self, request: &Message<'_>, realm: &str) -> Option<String> {
        let to = request.to().ok()?.parsed_uri().ok()?;
        let user = user_of(&to)?;
        let mut values = request.headers(HeaderName::Authorization);
        let ours = values.find(|value| crate::digest::realm_of(value) == Some(realm.as_bytes()))?;
        let credentials = Credentials::parse(ours)?;
        (credentials.username == user.as_bytes()).then(|| user.into_string())
    }

    /// Bindings that were stored, by a REGISTER at any shard or before we started; and which REGISTERs of this shard can be
    /// answered for it, though it may be `unsaved`.
    pub(super) fn take_bindings(
        &mut self,
        now: Timestamp,
        records: &[Arc<Record>],
        stored: &[u64],
        unsaved: bool,
    ) {
        for record in records {
            let Some(id) = self.trunk_of_user(record) else {
                continue;
            };
            // What this shard has decided since is newer than what comes back.
            let owner = self.owner_of(record.user.as_bytes()) == self.id;
            if !owner || self.bindings.find(id, &record.user).is_none() {
                self.bindings.set((id, record.user.clone()), Arc::clone(record));
            }
            // All shards see that, and after a restart it is all that says so.
            if owner {
                for binding in record.live(now) {
                    self.proven(now, binding.way.peer, id, binding.until);
                }
            }
        }
        for ticket in stored {
            if let Some(waiting) = self.bindings.waiting.remove(ticket) {
                self.io.counters.registers_unsaved += u64::from(unsaved);
                self.confirm(now, waiting);
            }
        }
        self.end_bindings(now);
    }

    /// A new snapshot holds: users that are still there stay where they are.
    pub(super) fn configure_bindings(&mut self) {
        let mut old = std::mem::take(&mut self.bindings.records);
        self.bindings.ends.clear();
        for (_, record) in old.drain() {
            if let Some(id) = self.trunk_of_user(&record) {
                self.bindings.set((id, record.user.clone()), record);
            }
        }
    }

    /// What has run out ends, and who has waited for too long is given up.
    pub(super) fn run_bindings(&mut self, now: Timestamp) {
        self.end_bindings(now);
        while let Some(&(due, ticket)) = self.bindings.patience.front()
            && due <= now
        {
            self.bindings.patience.pop_front();
            if let Some(waiting) = self.bindings.waiting.remove(&ticket) {
                self.io.counters.registers_not_stored += 1;
                self.transactions.abandon(&mut self.io, waiting.server);
            }
        }
    }

    fn end_bindings(&mut self, now: Timestamp) {
        while let Some((end, whose)) = self.bindings.ends.first().cloned()
            && end <= now
        {
            let Some(record) = self.bindings.records.get(&whose).cloned() else {
                self.bindings.ends.remove(&(end, whose));
                continue;
            };
            let left = Record {
                bindings: record.live(now).cloned().collect(),
                ..(*record).clone()
            };
            let gone = left.bindings.is_empty();
            self.bindings.set(whose, Arc::new(left));
            if gone && self.owner_of(record.user.as_bytes()) == self.id {
                self.tell_of_user(&record, "no longer registered: its time is over");
            }
        }
    }

    /// Where a call for `callee` at `trunk`, to which its users come, can be sent: the most wanted contact first, of those
    /// the latest. `Err`: there is none.
    pub(crate) fn contacts_of(
        &mut self,
        now: Timestamp,
        (id, trunk): (TrunkId, &Trunk),
        callee: Callee<'_>,
    ) -> Result<Vec<Contact>, Reply> {
        let Some(login) = &trunk.peer.login else {
            return Err(Reply::new(404));
        };
        let written = match trunk.numbers.as_deref() {
            Some(numbering) => numbering.destination(callee.user, callee.number),
            None => Cow::Borrowed(callee.user),
        };
        let is_called = |account: &&Account| {
            let name = account.username();
            let plain = name.strip_prefix(b"+").unwrap_or(name);
            name == callee.user.as_bytes()
                || name == written.as_bytes()
                || callee
                    .number
                    .is_some_and(|number| number.as_str().as_bytes() == plain)
        };
        let user = match &*login.accounts {
            [only] => Some(only),
            all => all.iter().find(is_called),
        };
        let Some(user) = user.and_then(|user| std::str::from_utf8(user.username()).ok()) else {
            self.io.counters.refused_no_user += 1;
            return Err(Reply::new(404));
        };
        let Some(record) = self.bindings.find(id, user).cloned() else {
            self.io.counters.refused_not_registered += 1;
            return Err(Reply::new(480));
        };
        let lives = |binding: &&Binding| match binding.way.flow {
            Some(flow) if flow.shard == self.id => self.io.streams.is_alive(flow.connection),
            _ => true,
        };
        let mut live: Vec<&Binding> = record.live(now).filter(lives).collect();
        if live.is_empty() {
            self.io.counters.refused_not_registered += 1;
            return Err(Reply::new(480));
        }
        live.sort_by_key(|binding| std::cmp::Reverse((binding.q, binding.until)));
        Ok(live
            .into_iter()
            .map(|binding| {
                let uri = match login.number_in_uri {
                    true => with_user(&binding.contact, &written),
                    false => binding.contact.clone(),
                };
                let hop = Hop {
                    trunk: id,
                    ..binding.way
                };
                (hop, uri)
            })
            .collect())
    }

    /// The trunk of a record, if its user is still there.
    fn trunk_of_user(&self, record: &Record) -> Option<TrunkId> {
        let (id, trunk) = self.snapshot.trunk_named(&record.trunk)?;
        let mut accounts = trunk.peer.login.as_ref()?.accounts.iter();
        let there = accounts.any(|account| account.username() == record.user.as_bytes());
        there.then_some(id)
    }

    /// The answer to a REGISTER: all bindings of its user (§10.3 step 8).
    fn confirm(&mut self, now: Timestamp, waiting: Waiting) {
        let Waiting {
            server,
            record,
            outbound,
        } = waiting;
        self.io.counters.registers_granted += 1;
        let tag = self.mint(u32::MAX);
        let snapshot = Arc::clone(&self.snapshot);
        self.transactions
            .finish(&mut self.io, now, server, 200, &tag, |mut w| {
                for binding in record.live(now) {
                    write_binding(&mut w, now, binding);
                }
                if outbound {
                    w.header("Require", b"outbound");
                }
                if !snapshot.sip.server_name.is_empty() {
                    w.header("Server", snapshot.sip.server_name.as_bytes());
                }
                w.empty_body();
            });
    }

    fn tell_of_user(&mut self, record: &Record, what: &str) {
        self.io.outputs.push_back(Output::Event(Event {
            level: Level::Info,
            call: String::new(),
            text: format!("trunk {}: user {} {what}", record.trunk, record.user),
        }));
    }
}

impl From<Reply> for Denied {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

fn reply_to(refusal: Refusal) -> Denied {
    Denied::Reply(match refusal {
        Refusal::Malformed => Reply::new(400),
        Refusal::TooBrief(least_s) => Reply::with(423, Extra::MinExpires(least_s)),
        Refusal::OutOfOrder => Reply::new(500),
    })
}

fn write_binding(w: &mut Writer<'_>, now: Timestamp, binding: &Binding) {
    w.header_with("Contact", |out| {
        // What has a moment left is not gone.
        let left_s = binding.until.since(now).as_millis().div_ceil(1000) as u64;
        put!(out, "<", &binding.contact[..], ">;expires=", left_s);
        if binding.q < 1000 {
            let q = binding.q;
            put!(out, ";q=0.", q / 100, q / 10 % 10, q % 10);
        }
        if let Some((instance, id)) = &binding.instance {
            put!(out, ";+sip.instance=\"", &instance[..], "\";reg-id=", *id);
        }
    });
}

/// Whether the sender of a REGISTER is behind a NAT: it is not where it says.
fn is_natted(request: &Message<'_>, from: Hop) -> bool {
    let ip_of = |host: &[u8]| {
        let host = std::str::from_utf8(host).ok()?;
        host.trim_matches(['[', ']']).parse::<IpAddr>().ok()
    };
    let there = |ip: Option<IpAddr>| ip.map(|ip| ip.to_canonical()) == Some(from.peer.ip().to_canonical());
    let via = request
        .top_via()
        .is_ok_and(|via| there(ip_of(via.host)) && via.port.unwrap_or(5060) == from.peer.port());
    let contact = request.contact().ok().flatten();
    let contact = contact.and_then(|contact| contact.parsed_uri().ok());
    !via || contact.is_none_or(|uri| !there(ip_of(uri.host)))
}

/// A contact with another user part.
fn with_user(contact: &[u8], user: &str) -> Box<[u8]> {
    let at = memchr::memchr(b'@', contact);
    let (scheme, rest) = match (at, memchr::memchr(b':', contact)) {
        (Some(at), Some(colon)) => (&contact[..colon], &contact[at + 1..]),
        (None, Some(colon)) => (&contact[..colon], &contact[colon + 1..]),
        (_, None) => return contact.into(),
    };
    let mut uri = Vec::with_capacity(contact.len() + user.len());
    put!(&mut uri, scheme, ":", user, "@", rest);
    uri.into()
}
