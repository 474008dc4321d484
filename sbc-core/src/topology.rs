//! Topology hiding: what of one side may be seen on the other. Nothing passes unless it is built
//! here from parts that are meant to pass.

use crate::{
    numbers::{E164, Numbering},
    sip::{HeaderName, Message, NameAddr, Params, Scheme, Uri},
    text::put,
};
use bytes::Bytes;
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
    pub(crate) fn of_caller(parties: &Parties, invite: &Message<'_>) -> Self {
        Self {
            number: parties.caller.clone(),
            e164: parties.calling,
            anonymous: parties.anonymous,
            privacy: privacy(invite).map(Into::into),
        }
    }
}

/// Longest user part that we carry across.
const USER_MAX: usize = 128;

impl Parties {
    /// Read them from an INVITE of a trunk with this `numbering`; `Err` is the status to refuse it with. A
    /// Request-URI whose user part is `ours` says where we are and not who is called: that is in To.
    pub(crate) fn of(
        invite: &Message<'_>,
        numbering: &Numbering,
        ours: impl Fn(&str) -> bool,
    ) -> Result<Self, u16> {
        let uri = Uri::parse(invite.request_uri()).map_err(|_| 400u16)?;
        let callee = user_of(&uri).ok_or(400u16)?;
        if callee.is_empty() {
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
            let user = numbering.received(user);
            let number = numbering.read(&user, phone_context(uri));
            (Box::<str>::from(user), number)
        };
        let to = match (&to_user, &to_uri) {
            (Some(user), Some(uri)) => Some(called(user, uri)),
            _ => None,
        };
        let (callee, called) = match (registered, &to) {
            (false, _) => called(&callee, &uri),
            (true, Some(to)) => to.clone(),
            (true, None) => return Err(404),
        };
        let (to, to_number) = to.unwrap_or_else(|| (callee.clone(), called));
        Ok(Self {
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
        }
    }

    /// Request-URI towards `host`, a trunk with this `numbering`.
    pub(crate) fn request_uri(&self, host: Host<'_>, numbering: Option<&Numbering>) -> Vec<u8> {
        match numbering {
            None => uri(&self.callee, host, self.phone),
            Some(numbering) => {
                let user = numbering.destination(&self.callee, self.called);
                uri(&user, host, self.phone || numbering.user_phone)
            }
        }
    }

    /// Value of To towards `host`, without a tag. The same number as in the Request-URI is written in the same way.
    pub(crate) fn called_value(&self, host: Host<'_>, numbering: Option<&Numbering>) -> Vec<u8> {
        let mut value = vec![b'<'];
        let uri = match numbering {
            None => uri(&self.to, host, self.phone),
            Some(numbering) => {
                let same = self.to_number.is_some() && self.to_number == self.called;
                let user = match same {
                    true => numbering.destination(&self.callee, self.called),
                    false => numbering.destination(&self.to, self.to_number),
                };
                uri(&user, host, self.phone || numbering.user_phone)
            }
        };
        value.extend_from_slice(&uri);
        value.push(b'>');
        value
    }

    /// Value of From as seen by the callee's side, with our tag.
    pub(crate) fn calling_value(
        &self,
        ours: SocketAddr,
        tag: &[u8],
        pass_display: bool,
        numbering: Option<&Numbering>,
    ) -> Vec<u8> {
        let mut value = Vec::with_capacity(96);
        if let Some(display) = self.display.as_deref().filter(|_| pass_display) {
            put!(&mut value, "\"", display, "\" ");
        }
        value.push(b'<');
        if self.anonymous {
            let user = if self.caller.is_empty() {
                "anonymous"
            } else {
                &self.caller
            };
            put!(&mut value, "sip:", user, "@anonymous.invalid");
        } else {
            let user = match numbering {
                Some(numbering) => numbering.originator(&self.caller, self.calling),
                None => Cow::Borrowed(&*self.caller),
            };
            value.extend_from_slice(&uri(&user, Host::Address(ours), false));
        }
        value.extend_from_slice(b">;tag=");
        value.extend_from_slice(tag);
        value
    }
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
pub(crate) fn privacy(message: &Message<'_>) -> Option<Vec<u8>> {
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
    for field in message.headers(HeaderName::Privacy) {
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
    let hidden = |word: &[u8]| {
        word.split(|&c| c == b';')
            .any(|word| word == b"id" || word == b"user")
    };
    if privacy(refer).is_some_and(|privacy| hidden(&privacy)) {
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
