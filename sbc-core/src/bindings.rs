//! Where the users of trunks are: bindings of an address of record to contacts (RFC 3261 §10.3; T3).
//!
//! In: what a REGISTER wants ([`Wish`]). Out: the [`Record`] of its user as it is then, or why it is refused. A record is
//! replaced as a whole and never changed, so that one `Arc` serves all shards and the store.

use crate::{
    sip::{HeaderName, Message, NameAddr, Scheme, Uri},
    time::Timestamp,
    topology::number,
    transport::Hop,
};
use std::{sync::Arc, time::Duration};

/// Longest URI of a contact, Call-ID or instance that is kept, in octets.
const TEXT_MAX: usize = 512;
/// Most contacts that one REGISTER may name.
const NAMED_MAX: usize = 16;
/// Longest name of a device that is kept, in octets.
const AGENT_MAX: usize = 64;

/// What a trunk's users are granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grants {
    /// Less is asked for in vain (423).
    pub expires_min_s: u32,
    /// More is not granted. Also what is granted to those who ask for nothing.
    pub expires_max_s: u32,
    /// Most that is granted to who sends datagrams from behind a NAT, whose way back closes when it is not used.
    pub expires_nat_s: u32,
    /// Contacts of a user. One more takes the place of that which would expire first.
    pub contacts_max: usize,
}

/// Where a user can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The URI that it gave.
    pub contact: Box<[u8]>,
    /// How much it is wanted, in thousandths.
    pub q: u16,
    /// What makes it the same though its URI be another (RFC 5626 §6): `+sip.instance` and `reg-id`.
    pub instance: Option<(Box<[u8]>, u32)>,
    /// Of the REGISTER that made it.
    pub call_id: Box<[u8]>,
    /// Of the same.
    pub cseq: u32,
    /// It holds until then.
    pub until: Timestamp,
    /// The way that the REGISTER came by, back.
    pub way: Hop,
    /// What the device calls itself.
    pub agent: Box<str>,
}

/// A user of a trunk, and where that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Name of the trunk.
    pub trunk: Box<str>,
    /// Name of the user.
    pub user: Box<str>,
    /// In the order in which they were first made.
    pub bindings: Vec<Binding>,
}

/// A record that is to be stored and told to all shards; the REGISTER that made it waits for that.
#[derive(Clone, Debug)]
pub struct Change {
    /// To tell the answer.
    pub ticket: u64,
    /// What holds from now on.
    pub record: Arc<Record>,
}

/// Why a REGISTER changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be understood (400).
    Malformed,
    /// It asks for too short a time (423); the least in seconds.
    TooBrief(u32),
    /// It is older than one that was acted on (500).
    OutOfOrder,
}

/// What a REGISTER wants (§10.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish<'m> {
    contacts: Contacts<'m>,
    call_id: &'m [u8],
    cseq: u32,
    agent: Box<str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Contacts<'m> {
    /// To hear what there is.
    None,
    /// `*`, with no time: all are to go.
    AllGo,
    /// These are to be made, refreshed, or with no time to go.
    Named(Vec<Contact<'m>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Contact<'m> {
    uri: Uri<'m>,
    q: u16,
    /// Seconds; `None`: as many as we like.
    expires_s: Option<u32>,
    instance: Option<(&'m [u8], u32)>,
}

impl<'m> Wish<'m> {
    /// Read it.
    pub fn of(request: &Message<'m>) -> Result<Self, Refusal> {
        let bad = |_| Refusal::Malformed;
        let call_id = request.call_id().map_err(bad)?;
        let cseq = request.cseq().map_err(bad)?.number;
        if call_id.len() > TEXT_MAX {
            return Err(Refusal::Malformed);
        }
        // A value that is no number counts as an hour (§20.19); more than fits is more than is granted.
        let general = request.header(HeaderName::Expires).map(seconds);
        let outbound = request
            .list(HeaderName::Supported)
            .any(|tag| tag.eq_ignore_ascii_case(b"outbound"));
        let mut named = Vec::new();
        let mut all = false;
        for value in request.list(HeaderName::Contact) {
            if named.len() == NAMED_MAX {
                return Err(Refusal::Malformed);
            }
            let address = NameAddr::parse(value).map_err(bad)?;
            if address.uri == b"*" {
                all = true;
                continue;
            }
            let uri = address.parsed_uri().map_err(bad)?;
            if !uri.is_sip() || uri.raw.len() > TEXT_MAX || !uri.headers.is_empty() {
                return Err(Refusal::Malformed);
            }
            let instance = address.param(b"+sip.instance").filter(|i| i.len() <= TEXT_MAX);
            let flow = address.param(b"reg-id").and_then(number);
            named.push(Contact {
                uri,
                q: wish(address.param(b"q")),
                expires_s: address.param(b"expires").map(seconds).or(general),
                instance: instance.zip(flow).filter(|_| outbound),
            });
        }
        let contacts = match (all, named.is_empty()) {
            (false, true) => Contacts::None,
            (false, false) => Contacts::Named(named),
            // §10.3 step 6.
            (true, true) if general == Some(0) => Contacts::AllGo,
            (true, _) => return Err(Refusal::Malformed),
        };
        let agent = request.header(HeaderName::UserAgent).unwrap_or_default();
        let agent = String::from_utf8_lossy(&agent[..agent.len().min(AGENT_MAX)]);
        Ok(Self {
            contacts,
            call_id,
            cseq,
            agent: agent
                .chars()
                .filter(|c| !c.is_control())
                .collect::<String>()
                .into(),
        })
    }

    /// Its contacts are flows (RFC 5626).
    pub fn is_outbound(&self) -> bool {
        match &self.contacts {
            Contacts::Named(named) => named.iter().any(|contact| contact.instance.is_some()),
            _ => false,
        }
    }

    /// It only wants to hear what there is.
    pub fn asks_only(&self) -> bool {
        self.contacts == Contacts::None
    }
}

impl Record {
    /// The record as it is after a REGISTER of its user that wants `wish` and came by `way`; `natted`: from behind a NAT,
    /// as datagrams. All of it holds, or nothing (§10.3 step 7). With it, how many bindings had to make room.
    pub fn after(
        &self,
        now: Timestamp,
        wish: &Wish<'_>,
        (way, natted): (Hop, bool),
        grants: &Grants,
    ) -> Result<(Self, u64), Refusal> {
        let mut bindings: Vec<Binding> = self.live(now).cloned().collect();
        let newer = |binding: &Binding| *binding.call_id != *wish.call_id || binding.cseq < wish.cseq;
        let named = match &wish.contacts {
            Contacts::None => &[][..],
            Contacts::AllGo => {
                if !bindings.iter().all(newer) {
                    return Err(Refusal::OutOfOrder);
                }
                bindings.clear();
                &[]
            }
            Contacts::Named(named) => named,
        };
        let mut displaced = 0;
        for contact in named {
            let granted_s = grants.of(contact.expires_s, natted)?;
            let known = bindings.iter().position(|binding| binding.is(contact));
            if let Some(known) = known
                && !newer(&bindings[known])
            {
                return Err(Refusal::OutOfOrder);
            }
            let binding = Binding {
                contact: contact.uri.raw.into(),
                q: contact.q,
                instance: contact.instance.map(|(name, id)| (name.into(), id)),
                call_id: wish.call_id.into(),
                cseq: wish.cseq,
                until: now + Duration::from_secs(granted_s.into()),
                way,
                agent: wish.agent.clone(),
            };
            match (known, granted_s) {
                (Some(known), 0) => drop(bindings.remove(known)),
                (None, 0) => {}
                (Some(known), _) => bindings[known] = binding,
                (None, _) => {
                    if bindings.len() >= grants.contacts_max.max(1) {
                        let first = (0..bindings.len()).min_by_key(|&n| bindings[n].until);
                        bindings.remove(first.unwrap_or_default());
                        displaced += 1;
                    }
                    bindings.push(binding);
                }
            }
        }
        let record = Self {
            trunk: self.trunk.clone(),
            user: self.user.clone(),
            bindings,
        };
        Ok((record, displaced))
    }

    /// The bindings that hold.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &Binding> {
        self.bindings.iter().filter(move |binding| binding.until > now)
    }

    /// When the first of them ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        self.bindings.iter().map(|binding| binding.until).min()
    }
}

impl Grants {
    /// The seconds granted to who asks for `asked`; 0: it goes.
    fn of(&self, asked: Option<u32>, natted: bool) -> Result<u32, Refusal> {
        let most = if natted {
            self.expires_nat_s.min(self.expires_max_s)
        } else {
            self.expires_max_s
        };
        match asked {
            None => Ok(most),
            Some(0) => Ok(0),
            // §10.3 step 7: an hour and more is never too brief.
            Some(asked) if asked < self.expires_min_s && asked < 3600 => {
                Err(Refusal::TooBrief(self.expires_min_s))
            }
            Some(asked) => Ok(asked.min(most)),
        }
    }
}

impl Binding {
    /// Whether it is what `contact` means: of the same flow, or with the same URI.
    fn is(&self, contact: &Contact<'_>) -> bool {
        match (&self.instance, contact.instance) {
            (Some((ours, id)), Some((theirs, their_id))) => **ours == *theirs && *id == their_id,
            _ => Uri::parse(&self.contact).is_ok_and(|ours| same_uri(&ours, &contact.uri)),
        }
    }
}

/// Whether two SIP URIs are the same (§19.1.4), as far as contacts need it: parameters that only one of them has count
/// when they say where requests go.
fn same_uri(a: &Uri<'_>, b: &Uri<'_>) -> bool {
    const TELLING: [&[u8]; 5] = [b"transport", b"user", b"ttl", b"method", b"maddr"];
    let scheme = |uri: &Uri<'_>| uri.scheme == Scheme::Sips;
    let same_param = |name: &&[u8]| match (a.param(name), b.param(name)) {
        (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
        (None, None) => true,
        _ => false,
    };
    scheme(a) == scheme(b)
        && a.user == b.user
        && a.password == b.password
        && a.host.eq_ignore_ascii_case(b.host)
        && a.port == b.port
        && TELLING.iter().all(same_param)
}

/// Seconds of an Expires.
fn seconds(value: &[u8]) -> u32 {
    let value = value.trim_ascii();
    match number(value) {
        Some(seconds) => seconds,
        None if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => u32::MAX,
        None => 3600,
    }
}

/// A q value in thousandths; without one, or with nonsense, it is as wanted as can be.
pub(crate) fn wish(q: Option<&[u8]>) -> u16 {
    let value = q.and_then(|q| std::str::from_utf8(q).ok()?.parse::<f32>().ok());
    value
        .filter(|q| (0.0..=1.0).contains(q))
        .map_or(1000, |q| (q * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{id::ListenerId, trunk::TrunkId};
    use proptest::prelude::*;

    const GRANTS: Grants = Grants {
        expires_min_s: 60,
        expires_max_s: 600,
        expires_nat_s: 120,
        contacts_max: 2,
    };

    fn way(port: u16) -> Hop {
        Hop {
            listener: ListenerId(0),
            peer: ([10, 0, 0, 1], port).into(),
            trunk: TrunkId(0),
            flow: None,
        }
    }

    fn empty() -> Record {
        Record {
            trunk: "t".into(),
            user: "u".into(),
            bindings: Vec::new(),
        }
    }

    fn register(call_id: &str, cseq: u32, headers: &str) -> String {
        format!(
            "REGISTER sip:r SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:u@r>;tag=t\r\nTo: <sip:u@r>\r\n\
             Call-ID: {call_id}\r\nCSeq: {cseq} REGISTER\r\nMax-Forwards: 70\r\n{headers}Content-Length: 0\r\n\r\n"
        )
    }

    fn at(s: u64) -> Timestamp {
        Timestamp::from_millis(1000 * s)
    }

    fn then(record: &Record, now: u64, text: &str) -> Result<Record, Refusal> {
        let message = Message::parse(text.as_bytes()).unwrap();
        let wish = Wish::of(&message)?;
        let (record, _) = record.after(at(now), &wish, (way(1), false), &GRANTS)?;
        Ok(record)
    }

    fn shown(record: &Record) -> Vec<(String, u64)> {
        let each = record.bindings.iter();
        each.map(|b| {
            (
                String::from_utf8(b.contact.to_vec()).unwrap(),
                b.until.as_millis() / 1000,
            )
        })
        .collect()
    }

    #[test]
    fn bindings_are_made_refreshed_and_removed() {
        let made = then(
            &empty(),
            0,
            &register("c", 1, "Contact: <sip:a@h>;expires=100\r\n"),
        )
        .unwrap();
        assert_eq!(shown(&made), [("sip:a@h".into(), 100)]);
        let two = then(
            &made,
            10,
            &register(
                "c",
                2,
                "Contact: <sip:a@H>, <sip:b@h>;expires=7200\r\nExpires: 200\r\n",
            ),
        )
        .unwrap();
        assert_eq!(shown(&two), [("sip:a@H".into(), 210), ("sip:b@h".into(), 610)]);
        let one = then(&two, 20, &register("c", 3, "Contact: <sip:a@h>;expires=0\r\n")).unwrap();
        assert_eq!(shown(&one), [("sip:b@h".into(), 610)]);
        let none = then(&two, 20, &register("c", 3, "Contact: *\r\nExpires: 0\r\n")).unwrap();
        assert_eq!(shown(&none), []);
        // What asks only changes nothing but what has run out.
        let asked = then(&two, 300, &register("d", 1, "")).unwrap();
        assert_eq!(shown(&asked), [("sip:b@h".into(), 610)]);
        let forever = then(&empty(), 0, &register("c", 1, "Contact: <sip:a@h>\r\n")).unwrap();
        assert_eq!(shown(&forever), [("sip:a@h".into(), 600)]);
    }

    #[test]
    fn what_is_older_is_refused_as_a_whole() {
        let made = then(&empty(), 0, &register("c", 5, "Contact: <sip:a@h>\r\n")).unwrap();
        for (call_id, cseq, contact, good) in [
            ("c", 5, "<sip:a@h>", false),
            ("c", 4, "<sip:x@h>, <sip:a@h>;expires=0", false),
            ("c", 4, "*", false),
            ("c", 6, "*", true),
            ("d", 1, "<sip:a@h>", true),
            ("c", 1, "<sip:x@h>", true),
        ] {
            let expires = if contact == "*" { "Expires: 0\r\n" } else { "" };
            let text = register(call_id, cseq, &format!("Contact: {contact}\r\n{expires}"));
            let outcome = then(&made, 1, &text);
            assert_eq!(outcome.is_ok(), good, "{contact}");
            if !good {
                assert_eq!(outcome, Err(Refusal::OutOfOrder));
            }
        }
    }

    #[test]
    fn time_is_granted_within_bounds() {
        for (asked, natted, granted) in [
            (";expires=59", false, Err(Refusal::TooBrief(60))),
            (";expires=60", false, Ok(60)),
            (";expires=601", false, Ok(600)),
            (";expires=99999999999", false, Ok(600)),
            (";expires=nonsense", false, Ok(600)),
            ("", false, Ok(600)),
            ("", true, Ok(120)),
            (";expires=100", true, Ok(100)),
            (";expires=600", true, Ok(120)),
        ] {
            let text = register("c", 1, &format!("Contact: <sip:a@h>{asked}\r\n"));
            let message = Message::parse(text.as_bytes()).unwrap();
            let wish = Wish::of(&message).unwrap();
            let outcome = empty().after(at(0), &wish, (way(1), natted), &GRANTS);
            let outcome = outcome.map(|(record, _)| record.bindings[0].until.as_millis() / 1000);
            assert_eq!(outcome, granted, "{asked} {natted}");
        }
    }

    #[test]
    fn one_more_takes_the_place_of_the_first_to_end() {
        let text = register(
            "c",
            1,
            "Contact: <sip:a@h>;expires=300, <sip:b@h>;expires=200\r\nContact: <sip:c@h>\r\n",
        );
        let message = Message::parse(text.as_bytes()).unwrap();
        let wish = Wish::of(&message).unwrap();
        let (record, displaced) = empty().after(at(0), &wish, (way(1), false), &GRANTS).unwrap();
        assert_eq!(shown(&record), [("sip:a@h".into(), 300), ("sip:c@h".into(), 600)]);
        assert_eq!(displaced, 1);
    }

    #[test]
    fn a_flow_is_the_same_though_its_contact_changes() {
        let contact = |host: &str, id: u32, outbound: &str| {
            let value = format!("<sip:a@{host}>;+sip.instance=\"<urn:uuid:1>\";reg-id={id}");
            format!("Contact: {value}\r\n{outbound}")
        };
        let outbound = "Supported: path, outbound\r\n";
        let made = then(&empty(), 0, &register("c", 1, &contact("h1", 1, outbound))).unwrap();
        let moved = then(&made, 1, &register("d", 1, &contact("h2", 1, outbound))).unwrap();
        assert_eq!(shown(&moved).len(), 1);
        assert_eq!(shown(&moved)[0].0, "sip:a@h2");
        let second = then(&moved, 1, &register("d", 2, &contact("h2", 2, outbound))).unwrap();
        assert_eq!(shown(&second).len(), 2);
        // Without the extension the URI decides.
        let plain = then(&made, 1, &register("d", 1, &contact("h3", 1, ""))).unwrap();
        assert_eq!(shown(&plain).len(), 2);
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let many = format!("Contact: {}\r\n", vec!["<sip:a@h>"; NAMED_MAX + 1].join(", "));
        let long = format!("Contact: <sip:{}@h>\r\n", "a".repeat(TEXT_MAX));
        for headers in [
            "Contact: *\r\n",
            "Contact: *\r\nExpires: 1\r\n",
            "Contact: *, <sip:a@h>\r\nExpires: 0\r\n",
            "Contact: <tel:+49>\r\n",
            "Contact: <sip:a@h?Route=x>\r\n",
            "Contact: <sip:\r\n",
            &many,
            &long,
        ] {
            let outcome = then(&empty(), 0, &register("c", 1, headers));
            assert_eq!(outcome, Err(Refusal::Malformed), "{headers}");
        }
    }

    #[test]
    fn uris_are_compared_by_what_they_mean() {
        let same = |a: &str, b: &str| {
            same_uri(
                &Uri::parse(a.as_bytes()).unwrap(),
                &Uri::parse(b.as_bytes()).unwrap(),
            )
        };
        assert!(same("sip:a@H;x=1", "sip:a@h;y=2"));
        assert!(same("sip:a@h;transport=UDP", "sip:a@h;transport=udp"));
        assert!(!same("sip:a@h", "sip:a@h;transport=udp"));
        assert!(!same("sip:a@h", "sip:a@h:5060"));
        assert!(!same("sip:A@h", "sip:a@h"));
        assert!(!same("sips:a@h", "sip:a@h"));
    }

    proptest! {
        /// Whatever is sent, a record has no more than its bounds, and nothing in it that has ended.
        #[test]
        fn a_record_keeps_its_bounds(
            contacts in prop::collection::vec("(\\*|<?sip:[a-c]?@?h[;=a-z0-9]{0,6}>?)(;(q|expires|reg-id|\\+sip.instance)=[0-9.\"<>]{0,4}){0,3}", 0..6),
            more in "(Expires: [0-9a]{1,3}\r\n)?(Supported: outbound\r\n)?",
            cseq in 1..5u32,
            now in 0..1000u64,
        ) {
            let mut record = empty();
            for (n, contact) in contacts.iter().enumerate() {
                let text = register("c", cseq + n as u32, &format!("Contact: {contact}\r\n{more}"));
                let Ok(message) = Message::parse(text.as_bytes()) else { continue };
                let Ok(wish) = Wish::of(&message) else { continue };
                if let Ok((next, _)) = record.after(at(now), &wish, (way(1), false), &GRANTS) {
                    record = next;
                }
                prop_assert!(record.bindings.len() <= GRANTS.contacts_max);
                prop_assert_eq!(record.live(at(now)).count(), record.bindings.len());
                prop_assert!(record.bindings.iter().all(|b| b.until <= at(now + 600) && b.q <= 1000));
            }
        }
    }
}
