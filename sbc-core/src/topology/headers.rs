//! Header fields that an operator names: what of a trunk's INVITE passes besides what every call needs, and what is
//! added to, taken from and replaced in what the trunk is sent.
//!
//! Nothing passes that both trunks of a call have not named. Names that SIP has a meaning for cannot be named: who could
//! write them would speak for us.

use super::{DiversionForm, Diverted, LocationPolicy, user_to_user};
use crate::sip::{HeaderName, Message, Writer, list_elements, unfold};
use smallvec::SmallVec;
use std::borrow::Cow;

/// What passes to and from one trunk, and what is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderPolicy {
    /// Names that pass from it.
    pub accept: Vec<Box<str>>,
    /// Names that pass to it.
    pub send: Vec<Box<str>>,
    /// Most header fields of `accept` in one call.
    pub count_max: usize,
    /// Most octets of them together, names and values.
    pub bytes_max: usize,
    /// User-to-User (RFC 7433) passes, from it and to it.
    pub user_to_user: bool,
    /// How diversions are told, by it and to it.
    pub diversion: DiversionForm,
    /// With which calls a location passes, from it and to it.
    pub location: LocationPolicy,
    /// Reason does not pass to it.
    pub no_reason: bool,
    /// Changes to what it sends, before it is looked at.
    pub inbound: Vec<HeaderRule>,
    /// Changes to what it is sent.
    pub outbound: Vec<HeaderRule>,
}

/// A change to one header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// Its name.
    pub name: Box<str>,
    /// What happens to it.
    pub action: RuleAction,
    /// What is added, or stands in its place.
    pub value: Box<str>,
}

/// What a [`HeaderRule`] does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// A header field more.
    Add,
    /// All of that name away.
    Remove,
    /// Where there is one of that name, one with this value in its place.
    Replace,
}

/// What passes of a call's INVITE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    custom: Vec<(Box<str>, Box<[u8]>)>,
    user_to_user: Option<Box<[u8]>>,
    diverted: Vec<Diverted>,
    /// Header fields that may pass and do not: too many, too long, or not to be written.
    pub(super) dropped: u16,
}

/// A request with the changes to what its trunk sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'r, 'm> {
    pub(super) request: &'r Message<'m>,
    pub(super) rules: &'r [HeaderRule],
}

/// Values of one header field.
type Values<'v> = SmallVec<[&'v [u8]; 2]>;

impl<'r> Received<'r, '_> {
    /// The values of all header fields called `name`, in order.
    pub(super) fn values(&self, name: HeaderName) -> Values<'r> {
        let values = self.request.headers(name).collect();
        self.changed(values, |rule| {
            HeaderName::from_bytes(rule.name.as_bytes()) == name
        })
    }

    /// As [`Self::values`], of a name that SIP does not know.
    pub(super) fn custom(&self, name: &str) -> Values<'r> {
        let values = self
            .request
            .iter()
            .filter(|(found, ..)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, _, value)| value)
            .collect();
        self.changed(values, |rule| rule.name.eq_ignore_ascii_case(name))
    }

    fn changed(&self, mut values: Values<'r>, named: impl Fn(&HeaderRule) -> bool) -> Values<'r> {
        for rule in self.rules.iter().filter(|rule| named(rule)) {
            rule.action.apply(&mut values, rule.value.as_bytes());
        }
        values
    }

    /// The elements of header fields that are a list.
    pub(super) fn elements(&self, name: HeaderName) -> Values<'r> {
        self.values(name).into_iter().flat_map(list_elements).collect()
    }
}

impl RuleAction {
    fn apply<'v>(self, values: &mut Values<'v>, value: &'v [u8]) {
        let any = !values.is_empty();
        if self != Self::Add {
            values.clear();
        }
        if self == Self::Add || (self == Self::Replace && any) {
            values.push(value);
        }
    }
}

impl Carried {
    /// What may pass of `received`, by the policy of its trunk; `None`: nothing.
    pub(super) fn of(
        received: &Received<'_, '_>,
        policy: &HeaderPolicy,
        numbering: &crate::numbers::Numbering,
    ) -> Option<Box<Self>> {
        let mut carried = Self::default();
        let mut bytes = 0;
        for name in &policy.accept {
            for raw in received.custom(name) {
                let value = unfold(raw);
                bytes += name.len() + value.len();
                let fits = carried.custom.len() < policy.count_max && bytes <= policy.bytes_max;
                if fits && is_text(raw) {
                    carried.custom.push((name.clone(), value.into()));
                } else {
                    carried.dropped += 1;
                }
            }
        }
        if policy.user_to_user {
            let values = received.values(HeaderName::UserToUser);
            carried.user_to_user = values.first().and_then(|value| user_to_user(value));
            carried.dropped += u16::from(carried.user_to_user.is_none() && !values.is_empty());
        }
        if policy.diversion != DiversionForm::Off {
            let (diverted, beyond) = Diverted::all_of(received, numbering);
            carried.diverted = diverted;
            carried.dropped = carried
                .dropped
                .saturating_add(u16::try_from(beyond).unwrap_or(u16::MAX));
        }
        (carried != Self::default()).then(|| Box::new(carried))
    }

    /// Write what the trunk that is called may have of it. Diversions are written by whoever knows the parties.
    pub(super) fn write(&self, w: &mut Writer<'_>, policy: &HeaderPolicy) {
        for (name, value) in &self.custom {
            if policy.send.iter().any(|sent| sent.eq_ignore_ascii_case(name)) {
                w.header(name, value);
            }
        }
        if let Some(value) = self.user_to_user.as_ref().filter(|_| policy.user_to_user) {
            w.header("User-to-User", value);
        }
    }

    /// Who was called before, the last first.
    pub(super) fn diverted(&self) -> &[Diverted] {
        &self.diverted
    }
}

/// Whether a value, folds included, is text without control characters: what could be a line of its own to another
/// reader is refused, not mended.
fn is_text(value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value) else {
        return false;
    };
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() && c != '\t') {
        let (_, found) = rest.split_at(at);
        let fold = found.strip_prefix("\r\n").or(found.strip_prefix('\n'));
        match fold.filter(|behind| behind.starts_with([' ', '\t'])) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    true
}

impl HeaderPolicy {
    /// Change the request in `message`, which is as it leaves.
    pub(crate) fn change(&self, message: &mut Vec<u8>) {
        if self.outbound.is_empty() {
            return;
        }
        let Some(head) = memchr::memmem::find(message, b"\r\n\r\n") else {
            return;
        };
        let mut lines: Vec<Cow<'_, [u8]>> = Vec::new();
        let (head, rest) = message.split_at(head);
        let mut left = head;
        while let Some(end) = memchr::memmem::find(left, b"\r\n") {
            lines.push(Cow::Borrowed(left.get(..end).unwrap_or_default()));
            left = left.get(end + 2..).unwrap_or_default();
        }
        lines.push(Cow::Borrowed(left));
        for rule in &self.outbound {
            rule.apply(&mut lines);
        }
        let mut changed = Vec::with_capacity(message.len() + 128);
        for (n, line) in lines.iter().enumerate() {
            if n > 0 {
                changed.extend_from_slice(b"\r\n");
            }
            changed.extend_from_slice(line);
        }
        changed.extend_from_slice(rest);
        *message = changed;
    }
}

impl HeaderRule {
    /// Change the lines of a head, the first of which is the start line.
    fn apply(&self, lines: &mut Vec<Cow<'_, [u8]>>) {
        let known = HeaderName::from_bytes(self.name.as_bytes());
        let is = |line: &[u8]| {
            let name = line.split(|&c| c == b':').next().unwrap_or_default();
            match known {
                HeaderName::Other => name.eq_ignore_ascii_case(self.name.as_bytes()),
                known => HeaderName::from_bytes(name) == known,
            }
        };
        let first = lines.iter().skip(1).position(|line| is(line)).map(|n| n + 1);
        let written = || Cow::Owned(format!("{}: {}", self.name, self.value).into_bytes());
        if self.action != RuleAction::Add {
            let mut n = 0;
            lines.retain(|line| {
                n += 1;
                n == 1 || !is(line)
            });
        }
        let body = body_start(lines);
        match (self.action, first) {
            // Before Content-Type and Content-Length, which we write last.
            (RuleAction::Add, _) => lines.insert(body, written()),
            (RuleAction::Replace, Some(first)) => lines.insert(first.min(lines.len()), written()),
            _ => {}
        }
    }
}

/// Where the header fields begin that describe the body.
fn body_start(lines: &[Cow<'_, [u8]>]) -> usize {
    let of_body = |line: &Cow<'_, [u8]>| {
        let name = line.split(|&c| c == b':').next().unwrap_or_default();
        matches!(
            HeaderName::from_bytes(name),
            HeaderName::ContentType | HeaderName::ContentLength
        )
    };
    lines.iter().position(of_body).unwrap_or(lines.len())
}

/// Header fields that SIP has a meaning for and that [`HeaderName`] does not name.
const REGISTERED: &[&str] = &[
    "Accept-Resource-Priority",
    "Additional-Identity",
    "Allow-Events",
    "Answer-Mode",
    "Attestation-Info",
    "Authentication-Info",
    "Cellular-Network-Info",
    "Encryption",
    "Feature-Caps",
    "Flow-Timer",
    "Geolocation-Error",
    "Geolocation-Routing",
    "Hide",
    "Max-Breadth",
    "MIME-Version",
    "Origination-Id",
    "Permission-Missing",
    "Policy-Contact",
    "Policy-ID",
    "Priority-Share",
    "Priority-Verstat",
    "Priv-Answer-Mode",
    "Refer-Events-At",
    "Refer-Sub",
    "Relayed-Charge",
    "Resource-Share",
    "Response-Key",
    "Response-Source",
    "Restoration-Info",
    "SIP-ETag",
    "Security-Client",
    "Security-Server",
    "Security-Verify",
    "Service-Interact-Info",
    "Session-ID",
    "Suppress-If-Match",
    "Trigger-Consent",
    "UE-Addr",
];

/// Whether `name` is taken by SIP: it passes by the rules of SIP, or not at all. `P-` is the prefix of what networks
/// tell each other (RFC 5727).
pub(crate) fn is_reserved(name: &str) -> bool {
    let prefix = name
        .get(..2)
        .is_some_and(|start| start.eq_ignore_ascii_case("P-"));
    prefix
        || HeaderName::from_bytes(name.as_bytes()) != HeaderName::Other
        || REGISTERED.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether a dialog, a transaction, a body or a proof of ours lives by header fields called `name`: no rule changes
/// them.
pub(crate) fn is_vital(name: &str) -> bool {
    matches!(
        HeaderName::from_bytes(name.as_bytes()),
        HeaderName::Via
            | HeaderName::From
            | HeaderName::To
            | HeaderName::CallId
            | HeaderName::CSeq
            | HeaderName::Contact
            | HeaderName::Route
            | HeaderName::RecordRoute
            | HeaderName::Path
            | HeaderName::ServiceRoute
            | HeaderName::MaxForwards
            | HeaderName::ContentLength
            | HeaderName::ContentType
            | HeaderName::ContentEncoding
            | HeaderName::ContentDisposition
            | HeaderName::MimeVersion
            | HeaderName::Require
            | HeaderName::ProxyRequire
            | HeaderName::Supported
            | HeaderName::Unsupported
            | HeaderName::SessionExpires
            | HeaderName::MinSe
            | HeaderName::RSeq
            | HeaderName::RAck
            | HeaderName::Replaces
            | HeaderName::Join
            | HeaderName::TargetDialog
            | HeaderName::ReferTo
            | HeaderName::Event
            | HeaderName::SubscriptionState
            | HeaderName::Expires
            | HeaderName::MinExpires
            | HeaderName::Authorization
            | HeaderName::ProxyAuthorization
            | HeaderName::WwwAuthenticate
            | HeaderName::ProxyAuthenticate
            | HeaderName::AuthenticationInfo
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "INVITE sip:a@b SIP/2.0\r\nVia: x\r\nUser-Agent: one\r\nk: timer\r\nContent-Length: 3\r\n\r\n1\r\n";

    fn changed(rules: &[(RuleAction, &str, &str)]) -> String {
        let policy = HeaderPolicy {
            outbound: rules
                .iter()
                .map(|(action, name, value)| HeaderRule {
                    name: (*name).into(),
                    action: *action,
                    value: (*value).into(),
                })
                .collect(),
            ..HeaderPolicy::default()
        };
        let mut message = HEAD.as_bytes().to_vec();
        policy.change(&mut message);
        String::from_utf8(message).unwrap()
    }

    #[test]
    fn rules_change_heads_and_nothing_else() {
        use RuleAction::{Add, Remove, Replace};
        assert_eq!(changed(&[]), HEAD);
        assert_eq!(
            changed(&[(Add, "X-A", "1"), (Add, "X-A", "2")]),
            HEAD.replace("Content-Length", "X-A: 1\r\nX-A: 2\r\nContent-Length")
        );
        assert_eq!(
            changed(&[(Remove, "user-agent", "")]),
            HEAD.replace("User-Agent: one\r\n", "")
        );
        assert_eq!(
            changed(&[(Remove, "Supported", "")]),
            HEAD.replace("k: timer\r\n", "")
        );
        assert_eq!(
            changed(&[(Replace, "User-Agent", "two")]),
            HEAD.replace("User-Agent: one", "User-Agent: two")
        );
        assert_eq!(changed(&[(Replace, "Subject", "x")]), HEAD);
        assert_eq!(changed(&[(Add, "X-A", "1"), (Remove, "x-a", "")]), HEAD);
    }

    #[test]
    fn names_of_sip_are_reserved() {
        for name in [
            "Via",
            "v",
            "from",
            "P-Anything",
            "p-x",
            "Session-ID",
            "feature-caps",
            "Diversion",
            "s",
        ] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["X-Customer", "Customer-ID", "X-P-Y", "Pay"] {
            assert!(!is_reserved(name), "{name}");
        }
        for name in ["Via", "l", "Contact", "m", "Record-Route", "session-expires"] {
            assert!(is_vital(name), "{name}");
        }
        for name in ["User-Agent", "Diversion", "X-A", "Subject", "Organization"] {
            assert!(!is_vital(name), "{name}");
        }
    }
}
