//! Registering with trunks that want to know where we are (RFC 3261 §10.2; T2, correctness 31).
//!
//! In: the trunks of the snapshot that want it, answers, time. Out: REGISTER requests, and for operators the state of
//! each ([`Registration`]). Each trunk is registered with by one shard.
//!
//! ```text
//!            ┌────────────────── 423: at once, for longer ──┐
//!            ▼                                              │
//!  due ──► asking ──2xx──► registered ──most of the granted time──► due
//!            │ 401, 407: sent again with credentials
//!            └─anything else, silence──► failed ──30 s, doubled up to 30 min──► due
//! ```
//!
//! Pauses are drawn, so that a registrar that comes back is not met by all of its customers at once (RFC 5626 §4.5); and
//! whatever makes many trunks due together (a start, a configuration, an answer to all of them, a machine that stood
//! still), REGISTERs leave one by one, [`SPREAD`] apart on all shards together. The Call-ID stays for as long as we run, and the number
//! in CSeq grows (§10.2).

use super::{Arrival, Shard};
use crate::{
    dialog::Dialog,
    guard::Offence,
    health::Registration,
    id::ShardId,
    io::{Event, Level, Output},
    numbers::Numbering,
    routing::Wanted,
    siblings::mark,
    sip::{HeaderName, Message, Method, NameAddr},
    snapshot::{Service, Snapshot, Trunk},
    text::put,
    time::Timestamp,
    token::{Token, TokenText},
    topology::{Host, Parties, UNPROVED, uri},
    transaction::{Hop, Reply, retry_after},
    trunk::TrunkId,
};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

/// After the first failure (RFC 5626 §4.5) ...
const PAUSE: Duration = Duration::from_secs(30);
/// ... and at most.
const PAUSE_MAX: Duration = Duration::from_secs(1800);
/// Most that a registrar may have us wait by Retry-After.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Between two REGISTERs of ours, those that answer a challenge not counted ...
const SPREAD: Duration = Duration::from_millis(20);
/// ... or less, so that all trunks have had their turn within this time ...
const TURNS_MAX: Duration = Duration::from_secs(10);
/// ... and within this when we go: then nobody waits for us much longer.
const LEAVING_MAX: Duration = Duration::from_secs(1);
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(16);
/// Longest registration that is asked for because of a 423.
const EXPIRES_MAX_S: u32 = 7 * 86_400;
/// The upper half of the slot in the user part of a Contact that we register; the lower half is the mark of the trunk. No
/// call has so high a slot.
const CONTACT_MARK: u32 = 0x4000_0000;

/// The trunks that a shard registers with.
#[derive(Debug, Default)]
pub(crate) struct Registrations {
    bindings: HashMap<TrunkId, Binding>,
    due: BTreeSet<(Timestamp, TrunkId)>,
    /// No REGISTER leaves before.
    not_before: Timestamp,
    /// REGISTERs without an answer, by their client transactions.
    asked: HashMap<u32, TrunkId>,
}

/// What one registrar knows of us.
#[derive(Debug)]
struct Binding {
    /// Of the trunk, by which it is found again in another snapshot.
    name: Box<str>,
    call_id: TokenText,
    tag: TokenText,
    contact: TokenText,
    cseq: u32,
    due: Timestamp,
    /// Our REGISTER without an answer.
    open: Option<Open>,
    /// What is asked for, in seconds.
    expires_s: u32,
    /// We are registered until then.
    until: Option<Timestamp>,
    /// One after the other.
    failures: u32,
}

/// A REGISTER that is under way.
#[derive(Clone, Copy, Debug)]
struct Open {
    client: u32,
    hop: Hop,
    /// It asks for no time: we go.
    leaves: bool,
}

impl Registrations {
    /// When the next REGISTER is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| (*due).max(self.not_before))
    }

    fn set_due(&mut self, id: TrunkId, due: Option<Timestamp>) {
        let Some(binding) = self.bindings.get_mut(&id) else {
            return;
        };
        self.due.remove(&(binding.due, id));
        if let Some(due) = due {
            binding.due = due;
            self.due.insert((due, id));
        }
    }
}

impl Shard {
    /// A new snapshot holds, after `before`: register with its trunks from now on. Where nothing has changed, what a trunk
    /// has granted holds, and a REGISTER that is under way stays so.
    pub(super) fn configure_registrations(&mut self, now: Timestamp, before: &Snapshot) {
        let snapshot = Arc::clone(&self.snapshot);
        let mut earlier = std::mem::take(&mut self.registrations);
        self.registrations.not_before = earlier.not_before;
        let is_ours = |n: u16| ShardId((n % u16::from(self.shards)) as u8) == self.id;
        let ours: Vec<_> = (0..)
            .zip(&snapshot.trunks)
            .filter(|(n, _)| is_ours(*n))
            .filter_map(|(n, trunk)| Some((n, trunk, trunk.peer.registration.as_ref()?)))
            .collect();
        let apart = self.apart(ours.len());
        let mut fresh = 0;
        for (n, trunk, registration) in ours {
            let id = TrunkId(n);
            let was = before.trunks.get(usize::from(n));
            let known = earlier
                .bindings
                .remove(&id)
                .filter(|binding| *binding.name == *trunk.name);
            let binding = match known.filter(|_| was.is_some_and(|was| is_same_record(was, trunk))) {
                Some(binding) => binding,
                // There is nobody to be told.
                None if trunk.service == Service::Removed => continue,
                None => {
                    fresh += 1;
                    self.snapshot.health.set_registration(now, id, Registration::None);
                    self.new_binding(now, trunk, registration.expires_s, apart * fresh)
                }
            };
            if let Some(open) = binding.open {
                self.registrations.asked.insert(open.client, id);
            }
            let changes_sides = was.is_some_and(|was| was.service != trunk.service);
            // Without a question under way it is due again, at once where it goes or comes back.
            let due = if changes_sides { now } else { binding.due };
            let due = binding.open.is_none().then_some(due);
            self.registrations.bindings.insert(id, binding);
            self.registrations.set_due(id, due);
        }
    }

    /// A binding that nobody knows of yet, due within `spread`, with the others that begin now.
    fn new_binding(&mut self, now: Timestamp, trunk: &Trunk, expires_s: u32, spread: Duration) -> Binding {
        let nonce = self.random();
        let contact = Token {
            shard: self.id,
            slot: CONTACT_MARK | u32::from(mark(&trunk.name)),
            nonce,
        };
        Binding {
            name: trunk.name.as_str().into(),
            call_id: self.mint(u32::MAX),
            tag: self.mint(u32::MAX),
            contact: self.tokens.encode(contact),
            cseq: 0,
            due: now + self.drawn(spread / 2, spread),
            open: None,
            expires_s,
            until: None,
            failures: 0,
        }
    }

    /// Whether the registrar of `id` is to be told that we go, and not that we are here.
    fn is_leaving(&self, id: TrunkId) -> bool {
        self.draining || self.snapshot.service_of(id) != Service::Enabled
    }

    /// Who takes part in the call that `request`, which came by `from`, asks for. A Request-URI with a Contact that we have
    /// registered says where we are and not who is called: that is in To. To without a user, or with our Contact:
    /// nobody is called, and the other side must not see it.
    pub(crate) fn parties_of(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        from: Arrival,
    ) -> Result<Parties, Reply> {
        let parties = self.read_parties(request, from.trunk).ok_or(Reply::new(404))?;
        let counters = &mut self.io.counters;
        match &parties {
            Ok(parties) => counters.headers_dropped += parties.headers_dropped(),
            Err(UNPROVED) => {
                counters.refused_proof += 1;
                self.blame(now, from.hop.peer, Offence::BadCredentials, b"proof of its trunk");
            }
            Err(_) => {}
        }
        parties.map_err(Reply::new)
    }

    /// The same without any trace. `Err`: the status of the refusal; `None`: there is no such trunk.
    fn read_parties(&self, request: &Message<'_>, from: TrunkId) -> Option<Result<Parties, u16>> {
        let registered = |user: &str| {
            let token = self.tokens.decode(user.as_bytes());
            token.is_some_and(|token| token.slot & !0xffff == CONTACT_MARK)
        };
        let trunk = self.snapshot.trunks.get(usize::from(from.0))?;
        let aliases = &self.snapshot.aliases;
        Some(match trunk.numbers.as_deref() {
            Some(numbering) => Parties::of(request, &trunk.origin(numbering, aliases), registered),
            None => Parties::of(request, &trunk.origin(&Numbering::default(), aliases), registered),
        })
    }

    /// Have `parties` know where the caller is, as far as `request`, of trunk `from`, may say so. `for_help`: it is for an
    /// emergency number.
    pub(crate) fn locate(
        &mut self,
        request: &Message<'_>,
        from: TrunkId,
        for_help: bool,
        parties: &mut Parties,
    ) {
        let trunk = self.snapshot.trunks.get(usize::from(from.0));
        let headers = trunk.and_then(|trunk| trunk.headers.as_deref());
        self.io.counters.headers_dropped += u64::from(parties.locate(request, headers, for_help));
    }

    /// Whether a new INVITE is a call to an emergency number.
    pub(crate) fn is_for_help(&self, request: &Message<'_>, from: TrunkId) -> bool {
        let routes = &self.snapshot.routes;
        routes.has_emergency_numbers()
            && self.read_parties(request, from).is_some_and(|parties| {
                parties.is_ok_and(|parties| {
                    let wanted = Wanted::of(&parties.callee, parties.called.as_ref());
                    routes.emergency_rule(from, wanted.dialled).is_some()
                })
            })
    }

    /// The mark in a Contact that we have registered.
    pub(super) fn contact_mark(&self, user: &[u8]) -> Option<u16> {
        let token = self.tokens.decode(user)?;
        (token.slot & !0xffff == CONTACT_MARK).then_some((token.slot & 0xffff) as u16)
    }

    /// Send the REGISTERs that are due, as far as it is time for them.
    pub(super) fn run_registrations(&mut self, now: Timestamp) {
        let snapshot = Arc::clone(&self.snapshot);
        while self.registrations.next_due().is_some_and(|due| due <= now) {
            let Some((_, id)) = self.registrations.due.pop_first() else {
                return;
            };
            let before = self.io.counters.registers_sent;
            if let Some(trunk) = snapshot.trunks.get(usize::from(id.0)) {
                self.register(now, id, trunk);
            }
            if self.io.counters.registers_sent > before {
                self.registrations.not_before = now + self.apart(self.registrations.bindings.len());
            }
        }
    }

    /// The time between two REGISTERs of this shard, which has so many trunks that want them.
    fn apart(&self, trunks: usize) -> Duration {
        let all_within = if self.draining { LEAVING_MAX } else { TURNS_MAX };
        let trunks = u32::try_from(trunks).unwrap_or(u32::MAX).max(1);
        (SPREAD * u32::from(self.shards)).min(all_within / trunks)
    }

    /// Registrars that have not been told yet that we go.
    pub(super) fn leaving(&self) -> usize {
        let bindings = self.registrations.bindings.values();
        let known = bindings.filter(|binding| binding.until.is_some());
        if self.draining { known.count() } else { 0 }
    }

    /// Registrars are told that we go (`draining`), or that we are back.
    pub(super) fn leave_registrars(&mut self, now: Timestamp) {
        let ids: Vec<TrunkId> = self.registrations.bindings.keys().copied().collect();
        for id in ids {
            if let Some(binding) = self.registrations.bindings.get_mut(&id) {
                binding.failures = 0;
            }
            self.registrations.set_due(id, Some(now));
        }
    }

    fn register(&mut self, now: Timestamp, id: TrunkId, trunk: &Trunk) {
        let leaving = self.is_leaving(id);
        let Some(binding) = self.registrations.bindings.get(&id) else {
            return;
        };
        if binding.open.is_some() || leaving && binding.until.is_none() {
            return;
        }
        let snapshot = Arc::clone(&self.snapshot);
        let hop = self.hops_to(now, &snapshot, id).into_iter().next();
        let Some(hop) = hop.filter(|_| !self.transactions.is_full()) else {
            return self.not_registered(now, id, None, "no address of it is known", None);
        };
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let ours = self.local(hop);
        let Some(binding) = self.registrations.bindings.get_mut(&id) else {
            return;
        };
        let registration = trunk.peer.registration.as_ref();
        let host = match (
            registration.and_then(|r| r.domain.as_deref()),
            trunk.peer.domain.as_deref(),
        ) {
            (Some(domain), _) | (None, Some(domain)) => Host::Domain(domain),
            (None, None) => Host::Address(hop.peer),
        };
        let user = registration.map_or("", |registration| &registration.user);
        let record = uri(user, host, false);
        let mut from = Vec::with_capacity(record.len() + 40);
        put!(&mut from, "<", &record[..], ">;tag=", &binding.tag[..]);
        let mut to = Vec::with_capacity(record.len() + 2);
        put!(&mut to, "<", &record[..], ">");
        let mut dialog = Dialog::uac(&binding.call_id, binding.tag, &from, &to, &uri("", host, false));
        if let Some(proxy) = &trunk.peer.outbound_proxy {
            dialog.preload_route(&proxy.to_string());
        }
        binding.cseq += 1;
        let expires_s = if leaving { 0 } else { binding.expires_s };
        let mut w = dialog.request(&mut self.io.scratch, "REGISTER", binding.cseq, &branch, ours, 70);
        let contact = &binding.contact[..];
        w.header_with("Contact", |out| {
            put!(out, "<sip:", contact, "@", ours, ">;expires=", expires_s)
        });
        w.header_with("Expires", |out| put!(out, expires_s));
        let name = &self.snapshot.sip.server_name;
        if !name.is_empty() {
            w.header("User-Agent", name.as_bytes());
        }
        w.empty_body();
        let client = self
            .transactions
            .send(&mut self.io, now, nonce, hop, Method::Register, None);
        self.transactions
            .give_up_at(&mut self.io, now, client, now + ANSWER_MAX);
        self.io.counters.registers_sent += 1;
        binding.open = Some(Open {
            client,
            hop,
            leaves: leaving,
        });
        self.registrations.asked.insert(client, id);
        if self.snapshot.health.registration(id).0 == Registration::None {
            self.snapshot
                .health
                .set_registration(now, id, Registration::Asking);
        }
    }

    /// A REGISTER was challenged. `false`: there is no answer to that.
    pub(crate) fn registration_challenged(
        &mut self,
        now: Timestamp,
        client: u32,
        response: &Message<'_>,
    ) -> bool {
        let Some(&id) = self.registrations.asked.get(&client) else {
            return false;
        };
        let Some(request) = self.transactions.request_of(client) else {
            return false;
        };
        let Ok(request) = Message::parse(&request) else {
            return false;
        };
        let random = self.random();
        match self.credentials(id, &request, response, random) {
            Ok(credentials) => {
                let nonce = self.random();
                let Some(binding) = self.registrations.bindings.get_mut(&id) else {
                    return false;
                };
                binding.cseq += 1;
                let cseq = binding.cseq;
                let sent = self
                    .transactions
                    .prove(&mut self.io, now, client, nonce, cseq, &credentials);
                self.transactions
                    .give_up_at(&mut self.io, now, client, now + ANSWER_MAX);
                self.io.counters.challenges_answered += u64::from(sent);
                sent
            }
            Err(refusal) => {
                self.io.counters.challenges_refused += 1;
                self.tell_of_trunk(id, Level::Warn, |name| {
                    format!("trunk {name}: {} to REGISTER {refusal}", response.status())
                });
                false
            }
        }
    }

    /// A REGISTER has its final response; `None`: none came in time.
    pub(crate) fn registered(&mut self, now: Timestamp, client: u32, response: Option<&Message<'_>>) {
        let Some(id) = self.registrations.asked.remove(&client) else {
            return;
        };
        let Some(binding) = self.registrations.bindings.get_mut(&id) else {
            return;
        };
        let Some(Open { hop, leaves, .. }) = binding.open.take_if(|open| open.client == client) else {
            return;
        };
        if leaves {
            // Whatever was said: asking again would keep us from going.
            binding.until = None;
            self.snapshot.health.set_registration(now, id, Registration::None);
            let back = (!self.is_leaving(id)).then_some(now);
            return self.registrations.set_due(id, back);
        }
        let Some(response) = response else {
            self.set_hop_back(now, id, hop, None);
            return self.not_registered(now, id, None, "it does not answer", None);
        };
        let asked_s = binding.expires_s;
        match response.status() {
            200..300 => match granted_s(response, &binding.contact).unwrap_or(asked_s) {
                0 => self.not_registered(now, id, None, "it grants no time", None),
                granted_s => {
                    self.served(hop);
                    self.holds(now, id, granted_s);
                }
            },
            423 => {
                let least = response.header(HeaderName::MinExpires).and_then(number);
                match least.filter(|least| (asked_s + 1..=EXPIRES_MAX_S).contains(least)) {
                    Some(least) => {
                        binding.expires_s = least;
                        self.registrations.set_due(id, Some(now));
                    }
                    None => self.not_registered(now, id, Some(423), "without a Min-Expires that helps", None),
                }
            }
            status => {
                let pause = retry_after(response);
                if matches!(status, 408 | 503) {
                    self.set_hop_back(now, id, hop, pause);
                }
                self.not_registered(now, id, Some(status), "", pause);
            }
        }
    }

    /// The registrar has granted so many seconds.
    fn holds(&mut self, now: Timestamp, id: TrunkId, granted_s: u32) {
        let granted = Duration::from_secs(u64::from(granted_s));
        // Time for several attempts before it runs out, and not all trunks at once.
        let refresh = self.drawn(granted * 3 / 4, granted * 9 / 10);
        let leaving = self.is_leaving(id);
        let Some(binding) = self.registrations.bindings.get_mut(&id) else {
            return;
        };
        let renewed = binding.until.is_some();
        binding.until = Some(now + granted);
        binding.failures = 0;
        let due = if leaving { now } else { now + refresh };
        self.registrations.set_due(id, Some(due));
        if !renewed || self.snapshot.health.registration(id).0 != Registration::Registered {
            self.snapshot
                .health
                .set_registration(now, id, Registration::Registered);
            self.tell_of_trunk(id, Level::Info, |name| {
                format!("trunk {name}: registered, for {granted_s} s")
            });
        }
    }

    fn not_registered(
        &mut self,
        now: Timestamp,
        id: TrunkId,
        status: Option<u16>,
        why: &str,
        pause: Option<Duration>,
    ) {
        self.io.counters.registers_failed += 1;
        let Some(failures) = self
            .registrations
            .bindings
            .get(&id)
            .map(|binding| binding.failures)
        else {
            return;
        };
        let longest = (PAUSE * 2_u32.saturating_pow(failures.min(16))).min(PAUSE_MAX);
        let drawn = self.drawn(longest / 2, longest);
        let pause = pause.map_or(drawn, |pause| pause.min(RETRY_AFTER_MAX) + drawn / 8);
        let Some(binding) = self.registrations.bindings.get_mut(&id) else {
            return;
        };
        binding.failures += 1;
        let left = binding
            .until
            .map(|until| until.since(now))
            .filter(|left| !left.is_zero());
        if left.is_none() {
            binding.until = None;
        }
        // While a registration still holds, there is no waiting beyond its end.
        let due = now + left.map_or(pause, |left| pause.min(left));
        self.registrations.set_due(id, Some(due));
        let state = Registration::Failed(status.unwrap_or(408));
        let before = self.snapshot.health.registration(id).0;
        if left.is_none() && before != state {
            self.snapshot.health.set_registration(now, id, state);
            let status = status.map_or(String::new(), |status| status.to_string());
            let space = if status.is_empty() || why.is_empty() {
                ""
            } else {
                " "
            };
            let seconds = due.since(now).as_secs();
            self.tell_of_trunk(id, Level::Warn, |name| {
                format!("trunk {name}: not registered: {status}{space}{why}; next attempt in {seconds} s")
            });
        }
    }

    fn tell_of_trunk(&mut self, id: TrunkId, level: Level, text: impl FnOnce(&str) -> String) {
        let trunk = self.snapshot.trunks.get(usize::from(id.0));
        let text = text(trunk.map_or("", |trunk| trunk.name.as_str()));
        self.io.outputs.push_back(Output::Event(Event {
            level,
            call: String::new(),
            text,
        }));
    }

    /// A duration between two.
    fn drawn(&mut self, least: Duration, most: Duration) -> Duration {
        let span = u64::try_from(most.saturating_sub(least).as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(self.random() % span.saturating_add(1))
    }
}

/// Whether `trunk` knows us by the same address of record, in the same place, as it did when it was `was`.
fn is_same_record(was: &Trunk, trunk: &Trunk) -> bool {
    was.peer.registration == trunk.peer.registration
        && was.peer.domain == trunk.peer.domain
        && was.next_hop() == trunk.next_hop()
        && was.listener == trunk.listener
}

/// What a 2xx grants to `contact` (§10.2.4): its own `expires`, else that of the header field.
fn granted_s(response: &Message<'_>, contact: &TokenText) -> Option<u32> {
    let ours = response
        .list(HeaderName::Contact)
        .filter_map(|value| NameAddr::parse(value).ok())
        .find(|address| memchr::memmem::find(address.uri, contact).is_some());
    let own = ours
        .and_then(|address| address.param(b"expires"))
        .and_then(number);
    own.or_else(|| response.header(HeaderName::Expires).and_then(number))
}

fn number(value: &[u8]) -> Option<u32> {
    let value = value.trim_ascii();
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits)?;
    // More than fits is more than anybody asks for.
    Some(text.parse().unwrap_or(u32::MAX))
}
