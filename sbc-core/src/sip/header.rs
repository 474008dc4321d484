//! Header field names: the ones the core can ask for, in long and compact form (RFC 3261 §7.3.3), found by one
//! look-up in a table that the compiler makes and checks.

use super::grammar::is_token;

/// Declares [`HeaderName`], its spellings and the list of both.
macro_rules! header_names {
    ($($name:ident = $long:literal $(, $compact:literal)?;)*) => {
        /// A header field name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum HeaderName {
            $(#[doc = concat!("`", $long, "`" $(, ", compact `", $compact, "`")?)] $name,)*
            /// Any other name; see [`super::Message::other_header`].
            Other,
        }

        impl HeaderName {
            /// The long form as the RFCs write it; empty for [`HeaderName::Other`].
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $long,)*
                    Self::Other => "",
                }
            }
        }

        /// The compact forms, by name; empty: there is none.
        const COMPACT: [&str; HeaderName::COUNT] = [$(concat!("" $(, $compact)?),)* ""];

        const SPELLINGS: &[(&str, HeaderName)] = &[
            $(($long, HeaderName::$name), $(($compact, HeaderName::$name),)?)*
        ];
    };
}

header_names! {
    Accept = "Accept";
    AcceptContact = "Accept-Contact", "a";
    AcceptEncoding = "Accept-Encoding";
    AcceptLanguage = "Accept-Language";
    AlertInfo = "Alert-Info";
    Allow = "Allow";
    AllowEvents = "Allow-Events", "u";
    AuthenticationInfo = "Authentication-Info";
    Authorization = "Authorization";
    CallId = "Call-ID", "i";
    CallInfo = "Call-Info";
    Contact = "Contact", "m";
    ContentDisposition = "Content-Disposition";
    ContentEncoding = "Content-Encoding", "e";
    ContentLanguage = "Content-Language";
    ContentLength = "Content-Length", "l";
    ContentType = "Content-Type", "c";
    CSeq = "CSeq";
    Date = "Date";
    Diversion = "Diversion";
    ErrorInfo = "Error-Info";
    Event = "Event", "o";
    Expires = "Expires";
    From = "From", "f";
    Geolocation = "Geolocation";
    HistoryInfo = "History-Info";
    Identity = "Identity", "y";
    IdentityInfo = "Identity-Info", "n";
    InReplyTo = "In-Reply-To";
    InfoPackage = "Info-Package";
    Join = "Join";
    MaxForwards = "Max-Forwards";
    MimeVersion = "MIME-Version";
    MinExpires = "Min-Expires";
    MinSe = "Min-SE";
    Organization = "Organization";
    PAccessNetworkInfo = "P-Access-Network-Info";
    PAssertedIdentity = "P-Asserted-Identity";
    PAssociatedUri = "P-Associated-URI";
    PCalledPartyId = "P-Called-Party-ID";
    PChargingVector = "P-Charging-Vector";
    PEarlyMedia = "P-Early-Media";
    PPreferredIdentity = "P-Preferred-Identity";
    Path = "Path";
    Priority = "Priority";
    Privacy = "Privacy";
    ProxyAuthenticate = "Proxy-Authenticate";
    ProxyAuthorization = "Proxy-Authorization";
    ProxyRequire = "Proxy-Require";
    RAck = "RAck";
    Reason = "Reason";
    RecordRoute = "Record-Route";
    RecvInfo = "Recv-Info";
    ReferTo = "Refer-To", "r";
    ReferredBy = "Referred-By", "b";
    RejectContact = "Reject-Contact", "j";
    RemotePartyId = "Remote-Party-ID";
    Replaces = "Replaces";
    ReplyTo = "Reply-To";
    RequestDisposition = "Request-Disposition", "d";
    Require = "Require";
    ResourcePriority = "Resource-Priority";
    RetryAfter = "Retry-After";
    Route = "Route";
    RSeq = "RSeq";
    Server = "Server";
    ServiceRoute = "Service-Route";
    SessionExpires = "Session-Expires", "x";
    SessionId = "Session-ID";
    SipEtag = "SIP-ETag";
    SipIfMatch = "SIP-If-Match";
    Subject = "Subject", "s";
    SubscriptionState = "Subscription-State";
    Supported = "Supported", "k";
    TargetDialog = "Target-Dialog";
    Timestamp = "Timestamp";
    To = "To", "t";
    Unsupported = "Unsupported";
    UserAgent = "User-Agent";
    UserToUser = "User-to-User";
    Via = "Via", "v";
    Warning = "Warning";
    WwwAuthenticate = "WWW-Authenticate";
}

/// Slots of [`TABLE`]. A power of two with room enough for [`hash`] to have no collision.
const SLOTS: usize = 512;

/// For every slot of [`hash`] the spelling that can be there, as index into [`SPELLINGS`].
static TABLE: [u8; SLOTS] = table();

const NO_SPELLING: u8 = u8::MAX;

/// Perfect for [`SPELLINGS`]: [`table`] does not compile otherwise. Looks at the length and three letters, in
/// any case. The factors were found by trying.
const fn hash(name: &[u8]) -> usize {
    let n = name.len();
    if n == 0 {
        return 0;
    }
    let (first, middle, last) = (name[0] | 0x20, name[n / 2] | 0x20, name[n - 1] | 0x20);
    (n * 41 + first as usize * 81 + middle as usize * 187 + last as usize) % SLOTS
}

const fn table() -> [u8; SLOTS] {
    assert!(SPELLINGS.len() < NO_SPELLING as usize);
    let mut table = [NO_SPELLING; SLOTS];
    let mut i = 0;
    while i < SPELLINGS.len() {
        let slot = hash(SPELLINGS[i].0.as_bytes());
        assert!(
            table[slot] == NO_SPELLING,
            "two header names share a slot: find other factors for hash()"
        );
        table[slot] = i as u8;
        i += 1;
    }
    table
}

impl HeaderName {
    /// How many names there are, [`HeaderName::Other`] included.
    pub(super) const COUNT: usize = HeaderName::Other as usize + 1;

    /// The name that `name` spells, long or compact, in any case.
    #[inline]
    pub fn from_bytes(name: &[u8]) -> Self {
        match SPELLINGS.get(usize::from(TABLE[hash(name)])) {
            // Nearly everybody writes names as the RFCs do, and equality is a fifth of the work.
            Some((spelling, known)) if spelling.as_bytes() == name => *known,
            Some((spelling, known)) if spelling.as_bytes().eq_ignore_ascii_case(name) => *known,
            _ => Self::Other,
        }
    }

    /// The name on the wire: the compact form (§7.3.3) when `compact` and there is one, else the long form.
    #[inline]
    pub(crate) fn spelled(self, compact: bool) -> &'static str {
        match COMPACT[self as usize] {
            short if compact && !short.is_empty() => short,
            _ => self.as_str(),
        }
    }

    /// Whether `name` can be a header field name at all (token, RFC 3261 §25.1).
    pub fn is_valid(name: &[u8]) -> bool {
        is_token(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_found_in_any_case() {
        for (spelling, name) in SPELLINGS {
            assert_eq!(HeaderName::from_bytes(spelling.as_bytes()), *name);
            assert_eq!(HeaderName::from_bytes(spelling.to_uppercase().as_bytes()), *name);
            assert_eq!(HeaderName::from_bytes(spelling.to_lowercase().as_bytes()), *name);
            assert!(HeaderName::is_valid(spelling.as_bytes()));
        }
    }

    #[test]
    fn a_name_is_spelled_as_wanted() {
        assert_eq!(HeaderName::CallId.spelled(true), "i");
        assert_eq!(HeaderName::CallId.spelled(false), "Call-ID");
        assert_eq!(HeaderName::CSeq.spelled(true), "CSeq");
        assert_eq!(HeaderName::Other.spelled(true), "");
        for (_, name) in SPELLINGS {
            assert_eq!(HeaderName::from_bytes(name.spelled(true).as_bytes()), *name);
        }
    }

    #[test]
    fn near_misses_are_other() {
        for name in [
            &b""[..],
            b"z",
            b"Viaa",
            b"Vi",
            b"Call_ID",
            b"Call\rID",
            b"Fr\x00m",
            b"z",
            b"T o",
        ] {
            assert_eq!(
                HeaderName::from_bytes(name),
                HeaderName::Other,
                "{}",
                name.escape_ascii()
            );
        }
    }

    #[test]
    fn compact_forms_stand_for_the_long_name() {
        assert_eq!(HeaderName::from_bytes(b"v").as_str(), "Via");
        assert_eq!(HeaderName::from_bytes(b"I").as_str(), "Call-ID");
        assert_eq!(HeaderName::from_bytes(b"x").as_str(), "Session-Expires");
    }
}
