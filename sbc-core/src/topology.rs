//! Topology hiding: what of one side may be seen on the other. Nothing passes unless it is built
//! here from parts that are meant to pass.

mod diversion;
mod headers;
mod identity;
mod location;
mod proof;

pub use diversion::DiversionForm;
pub use headers::{HeaderPolicy, HeaderRule, RuleAction};
pub(crate) use headers::{is_reserved, is_vital};
pub use identity::{Assert, Identity};
pub use location::LocationPolicy;
pub(crate) use location::is_document;
pub use proof::{Proof, Proofs, SecretHeader};

use crate::{
    numbers::{Aliases, E164, Numbering},
    sip::{HeaderName, Message, NameAddr, Params, Scheme, Uri, Writer},
    text::put,
    token::TokenText,
};
use bytes::Bytes;
use diversion::{Diverted, Told, user_to_user};
use headers::{Carried, Received};
use identity::Asserted;
use location::Location;
use smallvec::SmallVec;
use std::{
    borrow::Cow,
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

/// What of the caller's INVITE the callee's side may know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parties {
    /// User part of the Request-URI: the called number.
    pub(crate) callee: Box<str>,
    /// User part of To; often the same.
    pub(crate) to: Box<str>,
    /// User part of From; empty when there is none.
    pub(crate) caller: Box<str>,
    /// Display name of From, cleaned; only used where the trunk allows it.
    pub(crate) display: Option<Box<str>>,
    /// From is anonymous (RFC 3323 §4.1.1.3): keep it recognisable.
    pub(crate) anonymous: bool,
    /// The Request-URI said `user=phone`, or was a `tel` URI.
    pub(crate) phone: bool,
    /// The called number, when it is one: what routes are looked up by.
    pub(crate) called: Option<E164>,
    /// The number in To, when that is one.
    pub(crate) to_number: Option<E164>,
    /// The caller's number, when it is one.
    pub(crate) calling: Option<E164>,
    /// Value of Privacy.
    pub(crate) privacy: Option<Box<[u8]>>,
    /// The caller wishes not to be known to who is called.
    private: bool,
    /// Who calls, as a trunk that is believed has asserted.
    asserted: Option<Box<Asserted>>,
    /// What else passes.
    carried: Option<Box<Carried>>,
    /// Where the caller is; `None`: that does not pass.
    location: Option<Box<Location>>,
}

/// The rules of the trunk that a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'t> {
    pub(crate) numbering: &'t Numbering,
    pub(crate) aliases: &'t Aliases,
    pub(crate) identity: Option<&'t Identity>,
    pub(crate) headers: Option<&'t HeaderPolicy>,
    pub(crate) proof: Option<&'t Proof>,
}

/// Where a request goes, and the rules of the trunk that it goes to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Towards<'t> {
    /// Host of Request-URI and To.
    pub(crate) host: Host<'t>,
    /// Our address.
    pub(crate) ours: SocketAddr,
    /// Display names pass.
    pub(crate) display: bool,
    pub(crate) numbering: Option<&'t Numbering>,
    pub(crate) identity: Option<&'t Identity>,
    pub(crate) headers: Option<&'t HeaderPolicy>,
    pub(crate) proof: Option<&'t Proof>,
    /// The body has no place for documents beside what it is there for.
    pub(crate) bare: bool,
}

impl<'t> Towards<'t> {
    /// The host of URIs that name somebody on the caller's side.
    fn our_host(&self) -> Host<'t> {
        let domain = self.identity.and_then(|identity| identity.domain.as_deref());
        domain.map_or(Host::Address(self.ours), Host::Domain)
    }
}

/// How a request is refused whose sender has not proved itself.
pub(crate) const UNPROVED: u16 = 403;

/// Who is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Callee<'c> {
    /// As the caller's trunk has written it.
    pub(crate) user: &'c str,
    /// The number that it means; `None`: it is none.
    pub(crate) number: Option<E164>,
}

/// Who is on a leg, for others that it is brought together with.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    pub(crate) number: Box<str>,
    /// The same, when it is a number and not only a name.
    pub(crate) e164: Option<E164>,
    /// Its From was anonymous (RFC 3323 §4.1.1.3).
    pub(crate) anonymous: bool,
    /// Value of its Privacy.
    pub(crate) privacy: Option<Box<[u8]>>,
}

impl Party {
    /// As [`Parties::called_number`].
    pub(crate) fn called_number(&self) -> &str {
        self.e164.as_ref().map_or(&self.number, E164::as_str)
    }

    /// Nobody that is known.
    pub(crate) fn unknown() -> Self {
        Self {
            number: Box::default(),
            e164: None,
            anonymous: false,
            privacy: None,
        }
    }

    /// One that was called.
    pub(crate) fn of_callee(parties: &Parties) -> Self {
        Self {
            number: parties.callee.clone(),
            e164: parties.called,
            anonymous: false,
            privacy: None,
        }
    }

    /// The sender of an INVITE.
    pub(crate) fn of_caller(parties: &Parties) -> Self {
        Self {
            number: parties.caller.clone(),
            e164: parties.calling,
            anonymous: parties.anonymous,
            privacy: parties.privacy.clone(),
        }
    }
}

/// Longest user part that we carry across.
const USER_MAX: usize = 128;

impl Parties {
    /// The called number by which limits are chosen: what it means by the rules of the caller's trunk, or as it is written.
    pub(crate) fn called_number(&self) -> &str {
        self.called.as_ref().map_or(&self.callee, E164::as_str)
    }

    /// Read them from an INVITE of a trunk with these rules; `Err` is the status to refuse it with. A
    /// Request-URI whose user part is `ours` says where we are and not who is called: that is in To.
    pub(crate) fn of(
        invite: &Message<'_>,
        origin: &Origin<'_>,
        ours: impl Fn(&str) -> bool,
    ) -> Result<Self, u16> {
        let numbering = origin.numbering;
        let uri = Uri::parse(invite.request_uri()).map_err(|_| 400u16)?;
        let callee = user_of(&uri).ok_or(400u16)?;
        if callee.is_empty() && origin.aliases.number_of("", uri.host).is_none() {
            return Err(404);
        }
        let registered = ours(&callee);
        let from = invite.from().map_err(|_| 400u16)?;
        let from_uri = from.parsed_uri().map_err(|_| 400u16)?;
        let caller = user_of(&from_uri).ok_or(400u16)?;
        let to = invite.to().map_err(|_| 400u16)?;
        let to_uri = to.parsed_uri().ok();
        let to_user = to_uri
            .as_ref()
            .and_then(user_of)
            .filter(|user| !(user.is_empty() || registered && ours(user)));
        let called = |user: &str, uri: &Uri<'_>| {
            if let Some(number) = origin.aliases.number_of(user, uri.host) {
                return (format!("+{number}").into(), Some(number));
            }
            let user = numbering.received(user);
            let number = numbering.read(&user, phone_context(uri));
            (Box::<str>::from(user), number)
        };
        let prove = |user: &str| match origin.proof {
            Some(proof) => proof.of(invite, user).ok_or(UNPROVED),
            None => Ok(user.into()),
        };
        let to = match (&to_user, &to_uri) {
            (Some(user), Some(uri)) => Some(called(
                origin.proof.map_or(&**user, |proof| proof.strip(user)),
                uri,
            )),
            _ => None,
        };
        let (callee, called) = match (registered, &to) {
            (false, _) => called(&prove(&callee)?, &uri),
            (true, Some(to)) => {
                prove(to_user.as_deref().unwrap_or_default())?;
                to.clone()
            }
            (true, None) => return Err(404),
        };
        let (to, to_number) = to.unwrap_or_else(|| (callee.clone(), called));
        let received = Received {
            request: invite,
            rules: origin.headers.map_or(&[][..], |headers| &headers.inbound[..]),
        };
        let privacy = privacy(&received.values(HeaderName::Privacy));
        let (asserted, private) = match origin.identity {
            Some(identity) => Asserted::of(&received, identity, numbering),
            None => (None, false),
        };
        let carried = origin
            .headers
            .and_then(|headers| Carried::of(&received, headers, numbering));
        Ok(Self {
            private: private || privacy.as_deref().is_some_and(is_private),
            privacy: privacy.map(Into::into),
            asserted,
            carried,
            location: None,
            calling: numbering.read(&caller, phone_context(&from_uri)),
            callee,
            called,
            to,
            to_number,
            caller,
            display: from.display.and_then(clean_display),
            anonymous: from_uri.host.eq_ignore_ascii_case(b"anonymous.invalid"),
            phone: uri.scheme == Scheme::Tel
                || uri
                    .param(b"user")
                    .is_some_and(|v| v.eq_ignore_ascii_case(b"phone")),
        })
    }

    /// A call that we make ourselves, to `user` as a trunk with this `numbering` calls it.
    pub(crate) fn to_user(user: &str, numbering: Option<&Numbering>, caller: &Party) -> Self {
        let (callee, called) = match numbering {
            Some(numbering) => {
                let user = numbering.received(user);
                let number = numbering.read(&user, None);
                (Box::<str>::from(user), number)
            }
            None => (user.into(), Numbering::default().read(user, None)),
        };
        Self {
            to: callee.clone(),
            to_number: called,
            callee,
            called,
            caller: caller.number.clone(),
            calling: caller.e164,
            display: None,
            anonymous: caller.anonymous,
            phone: false,
            private: caller.privacy.as_deref().is_some_and(is_private),
            privacy: caller.privacy.clone(),
            asserted: None,
            carried: None,
            location: None,
        }
    }

    /// Who is called.
    pub(crate) fn callee(&self) -> Callee<'_> {
        Callee {
            user: &self.callee,
            number: self.called,
        }
    }

    /// Request-URI of a call to the trunk.
    pub(crate) fn request_uri(&self, towards: &Towards<'_>) -> Vec<u8> {
        self.called_uri(towards, &self.callee, self.called, true)
    }

    /// Value of To, without a tag. The same number as in the Request-URI is written in the same way.
    pub(crate) fn called_value(&self, towards: &Towards<'_>) -> Vec<u8> {
        let same = self.to == self.callee || (self.to_number.is_some() && self.to_number == self.called);
        let uri = match same && towards.changes_called() {
            true => self.request_uri(towards),
            false => self.called_uri(towards, &self.to, self.to_number, false),
        };
        let mut value = vec![b'<'];
        value.extend_from_slice(&uri);
        value.push(b'>');
        value
    }

    fn called_uri(&self, towards: &Towards<'_>, user: &str, number: Option<E164>, proved: bool) -> Vec<u8> {
        let (user, phone) = match towards.numbering {
            Some(numbering) => (numbering.destination(user, number), numbering.user_phone),
            None => (Cow::Borrowed(user), false),
        };
        let user = match towards.proof {
            Some(proof) if proved => Cow::Owned(proof.prefixed(&user)),
            _ => user,
        };
        uri(&user, towards.host, self.phone || phone)
    }

    /// Write what the trunk is told of the caller and of the call besides From and To, and what we prove ourselves by.
    pub(crate) fn write(&self, w: &mut Writer<'_>, towards: &Towards<'_>) {
        if let Some(privacy) = &self.privacy {
            w.header("Privacy", privacy);
        }
        self.write_identity(w, towards);
        if let (Some(carried), Some(policy)) = (&self.carried, towards.headers) {
            carried.write(w, policy);
            let told = Told {
                form: policy.diversion,
                numbering: towards.numbering,
                host: towards.our_host(),
                trusted: towards.identity.is_some_and(|identity| identity.trusted),
                target: &self.request_uri(towards),
            };
            told.write(w, carried.diverted());
        }
        if let Some(location) = self.location_for(towards.headers) {
            location.write(w, towards.bare);
        }
        if let Some(proof) = towards.proof {
            proof.write(w, towards.our_host());
        }
    }

    /// Write the body of an INVITE, which ends it: the description `sdp`, and what passes with it. `tag`: a random one, for
    /// what is between them.
    pub(crate) fn write_body(
        &self,
        w: &mut Writer<'_>,
        towards: &Towards<'_>,
        tag: &TokenText,
        sdp: Option<&[u8]>,
    ) {
        match self.location_for(towards.headers) {
            Some(location) if location.has_documents() && !towards.bare => location.write_body(w, tag, sdp),
            _ => match sdp {
                Some(sdp) => w.body("application/sdp", sdp),
                None => w.empty_body(),
            },
        }
    }

    /// Read from `request`, of a trunk with these rules, where the caller is, as far as that may pass. `for_help`: the call
    /// is to an emergency number. The result is how many values and documents do not pass for what they are.
    pub(crate) fn locate(
        &mut self,
        request: &Message<'_>,
        headers: Option<&HeaderPolicy>,
        for_help: bool,
    ) -> u16 {
        let received = Received {
            request,
            rules: headers.map_or(&[][..], |headers| &headers.inbound[..]),
        };
        let policy = headers.map(|headers| headers.location).unwrap_or_default();
        let (location, dropped) = Location::of(&received, policy, for_help);
        self.location = location;
        dropped
    }

    /// Whether a trunk with these rules is sent documents that say where the caller is.
    pub(crate) fn has_documents_for(&self, headers: Option<&HeaderPolicy>) -> bool {
        self.location_for(headers).is_some_and(Location::has_documents)
    }

    fn location_for(&self, headers: Option<&HeaderPolicy>) -> Option<&Location> {
        let policy = headers.map(|headers| headers.location).unwrap_or_default();
        self.location
            .as_deref()
            .filter(|location| location.passes(policy))
    }

    /// How many header fields might have passed and did not, for what they are.
    pub(crate) fn headers_dropped(&self) -> u64 {
        self.carried.as_ref().map_or(0, |carried| carried.dropped.into())
    }
}

impl Towards<'_> {
    /// Called parties are not written as they came.
    fn changes_called(&self) -> bool {
        self.numbering.is_some() || self.proof.is_some()
    }
}

/// Whether a value of Privacy asks that the caller not be known (RFC 3323 §4.2, RFC 3325 §9.3).
fn is_private(privacy: &[u8]) -> bool {
    let mut words = privacy.split(|&c| c == b';');
    words.any(|word| word == b"id" || word == b"user")
}

/// What a URI that we write has behind the @.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host<'h> {
    /// An address; its port is left out when it is 5060.
    Address(SocketAddr),
    /// A name or address as it is to be written, with a port or without.
    Domain(&'h str),
}

/// A SIP URI. `user` holds only what may stand there.
pub(crate) fn uri(user: &str, host: Host<'_>, phone: bool) -> Vec<u8> {
    let mut uri = Vec::with_capacity(64);
    let at = if user.is_empty() { "" } else { "@" };
    put!(&mut uri, "sip:", user, at);
    match host {
        Host::Address(SocketAddr::V4(v4)) if v4.port() == 5060 => put!(&mut uri, *v4.ip()),
        Host::Address(SocketAddr::V6(v6)) if v6.port() == 5060 => {
            put!(&mut uri, "[", IpAddr::V6(*v6.ip()), "]");
        }
        Host::Address(address) => put!(&mut uri, address),
        Host::Domain(domain) => put!(&mut uri, domain),
    }
    if phone {
        uri.extend_from_slice(b";user=phone");
    }
    uri
}

/// The user part of a SIP URI, or the number of a tel URI, when it holds only what §25.1 allows
/// there; parameters inside it (`;phone-context=…`) could name a host and are cut off.
pub(crate) fn user_of(uri: &Uri<'_>) -> Option<Box<str>> {
    let user = uri
        .user
        .unwrap_or_default()
        .split(|&c| c == b';')
        .next()
        .unwrap_or_default();
    let allowed = |c: &u8| c.is_ascii_alphanumeric() || b"-_.!~*'()%&=+$,?/#".contains(c);
    if user.len() > USER_MAX || !user.iter().all(allowed) {
        return None;
    }
    std::str::from_utf8(user).ok().map(Into::into)
}

/// The `phone-context` of a URI's number (RFC 3966 §5.1.5): of a tel URI its parameter, of a SIP URI one inside the
/// user part.
fn phone_context<'u>(uri: &Uri<'u>) -> Option<&'u str> {
    let params = match uri.scheme {
        Scheme::Tel => uri.params,
        _ => {
            let user = uri.user?;
            user.get(memchr::memchr(b';', user)? + 1..)?
        }
    };
    std::str::from_utf8(Params::new(params).find(b"phone-context")?).ok()
}

/// A display name without quotes, escapes and control characters.
fn clean_display(raw: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(raw).ok()?;
    let clean: String = text
        .chars()
        .filter(|c| !c.is_control() && !matches!(c, '"' | '\\' | '<' | '>'))
        .take(64)
        .collect();
    let clean = clean.trim();
    (!clean.is_empty()).then(|| clean.into())
}

/// The status that the caller sees for the callee's failure `status`: redirections and challenges
/// are ours to deal with and never leave, and a 503 would make the caller give up on us (§16.7).
pub(crate) fn failure_status(status: u16) -> u16 {
    match status {
        300..=399 => 502,
        401 | 407 => 502,
        503 => 500,
        400..=699 => status,
        _ => 500,
    }
}

/// Reason (RFC 3326) rebuilt from its protocol and cause number; the text may say anything.
pub(crate) fn reason(message: &Message<'_>) -> Option<Bytes> {
    let mut value = Vec::new();
    for element in message.list(HeaderName::Reason).take(4) {
        let mut parts = element.split(|&c| c == b';');
        let protocol = parts.next().unwrap_or_default().trim_ascii();
        let cause = parts
            .filter_map(|p| {
                let p = p.trim_ascii();
                p.get(..6)
                    .filter(|name| name.eq_ignore_ascii_case(b"cause="))
                    .and_then(|_| p.get(6..))
            })
            .find_map(|digits| std::str::from_utf8(digits).ok()?.trim().parse::<u16>().ok());
        let name = if protocol.eq_ignore_ascii_case(b"Q.850") {
            "Q.850"
        } else if protocol.eq_ignore_ascii_case(b"SIP") {
            "SIP"
        } else {
            continue;
        };
        let Some(cause) = cause else { continue };
        if !value.is_empty() {
            value.extend_from_slice(b", ");
        }
        let _ = write!(value, "{name};cause={cause}");
    }
    (!value.is_empty()).then(|| value.into())
}

/// Privacy (RFC 3323 §4.2) reduced to the values that it defines.
fn privacy(fields: &[&[u8]]) -> Option<Vec<u8>> {
    const KNOWN: [&[u8]; 7] = [
        b"header",
        b"session",
        b"user",
        b"none",
        b"critical",
        b"id",
        b"history",
    ];
    let mut value: Vec<u8> = Vec::new();
    for field in fields {
        for word in field.split(|&c| c == b';' || c == b',') {
            let word = word.trim_ascii();
            if let Some(known) = KNOWN.iter().find(|k| k.eq_ignore_ascii_case(word)) {
                if !value.is_empty() {
                    value.push(b';');
                }
                value.extend_from_slice(known);
            }
        }
    }
    (!value.is_empty()).then_some(value)
}

/// The user part of Referred-By (RFC 3892): who sent the REFER, when it is willing to say so.
pub(crate) fn referrer(refer: &Message<'_>) -> Option<Box<str>> {
    let fields: SmallVec<[&[u8]; 2]> = refer.headers(HeaderName::Privacy).collect();
    if privacy(&fields).is_some_and(|privacy| is_private(&privacy)) {
        return None;
    }
    let address = NameAddr::parse(refer.header(HeaderName::ReferredBy)?).ok()?;
    let uri = address.parsed_uri().ok()?;
    user_of(&uri).filter(|user| !user.is_empty() && !uri.host.eq_ignore_ascii_case(b"anonymous.invalid"))
}

/// A decimal number and nothing else.
pub(crate) fn number(digits: &[u8]) -> Option<u32> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| all_digits)?
        .parse()
        .ok()
}

/// The number in a header field that says seconds.
pub(crate) fn seconds(message: &Message<'_>, header: HeaderName) -> Option<u32> {
    number(message.header(header)?.trim_ascii())
}

/// Subscription-State (RFC 6665 §8.2.3) built from the words that it defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionState {
    pub(crate) value: Vec<u8>,
    pub(crate) terminated: bool,
}

/// What a NOTIFY says of its subscription; `None`: nothing that can be understood.
pub(crate) fn subscription_state(notify: &Message<'_>) -> Option<SubscriptionState> {
    const STATES: [&str; 3] = ["active", "pending", "terminated"];
    const REASONS: [&str; 7] = [
        "deactivated",
        "probation",
        "rejected",
        "timeout",
        "giveup",
        "noresource",
        "invariant",
    ];
    let known = |words: &[&'static str], word: &[u8]| {
        words
            .iter()
            .copied()
            .find(|known| known.as_bytes().eq_ignore_ascii_case(word))
    };
    let value = notify.header(HeaderName::SubscriptionState)?;
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let (state, params) = value.split_at(end);
    let state = known(&STATES, state.trim_ascii())?;
    let params = Params::new(params.strip_prefix(b";").unwrap_or_default());
    let mut value = state.as_bytes().to_vec();
    for name in ["expires", "retry-after"] {
        if let Some(seconds) = params.find(name.as_bytes()).and_then(number) {
            let _ = write!(value, ";{name}={seconds}");
        }
    }
    if let Some(reason) = params.find(b"reason").and_then(|word| known(&REASONS, word)) {
        let _ = write!(value, ";reason={reason}");
    }
    Some(SubscriptionState {
        value,
        terminated: state == "terminated",
    })
}

/// The status in the first line of a `message/sipfrag` (RFC 3420): all of it that passes.
pub(crate) fn sipfrag_status(body: &[u8]) -> Option<u16> {
    let line = body.split(|&c| c == b'\r' || c == b'\n').next()?;
    let mut words = line.split(|&c| c == b' ');
    let version = words.next()?.eq_ignore_ascii_case(b"SIP/2.0");
    let status = number(words.next()?)?;
    u16::try_from(status)
        .ok()
        .filter(|status| version && (100..=699).contains(status))
}
