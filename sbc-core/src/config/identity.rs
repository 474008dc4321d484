//! Who calls and what is told of it, header fields that pass, and proofs, as an operator says it of a trunk, and
//! what must hold there.

use super::{
    account::secret,
    check::Report,
    numbers::NumberPrefix,
    options::{Trunk, sections},
    read::{Absent, Key, Reader, Section, Shape, Value},
    value::{Domain, FilePath, Secret, quote, read_str, string_value, word_value},
};
use crate::{
    numbers::{Block, E164},
    topology::{
        Assert, DiversionForm, HeaderPolicy, HeaderRule, Identity, LocationPolicy, Proof, Proofs, RuleAction,
        SecretHeader, is_reserved, is_vital,
    },
};
use std::ops::Range;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};
use zeroize::Zeroizing;

sections! {
    /// Who calls, as the trunk says it and as it is told (RFC 3323, RFC 3325; `docs/IDENTITY.md`). Without this section
    /// nobody is asserted to it, and nothing that it asserts is looked at.
    pub struct TrunkIdentity {
        /// It belongs to our trust domain: P-Asserted-Identity that comes from it is believed, and it is told that of callers
        /// who wish not to be known (Privacy: id). One that does not is told neither their identity nor their
        /// From.
        trusted: bool = default(false);
        /// When calls to it have P-Asserted-Identity: `"pass"`, when the caller's trunk has asserted one; `"always"`, else with
        /// the number in From; `"never"`.
        asserted: Assert = default(Assert::Pass);
        /// P-Preferred-Identity that comes from it is taken for asserted, where it has asserted nothing that is
        /// believed.
        accept_preferred: bool = default(false);
        /// It is told in P-Preferred-Identity, and not in P-Asserted-Identity.
        send_preferred: bool = default(false);
        /// Remote-Party-ID, too: read where it is trusted and has no P-Asserted-Identity, and written beside it.
        remote_party_id: bool = default(false);
        /// The caller's number towards it, such as `"+4930123450"`: of all callers, or of those that are not in
        /// `verified`.
        number: Option<CallerNumber> = described("that of the caller");
        /// Numbers that may call it as they are: `"+4930123456"`, a block `"+4930123400-+4930123499"` or all that
        /// begin so, `"+49301234*"`.
        verified: Vec<NumberBlock> = default(Vec::new());
        /// User part of From in calls to it, in place of the caller's number.
        from_user: Option<UserPart> = described("the caller's number");
        /// The account's `username` is the user part of From in calls to it.
        use_account_name: bool = default(false);
        /// Host of From in calls to it, and of what is asserted.
        from_domain: Option<Domain> = described("our address");
        /// Display name of callers towards it.
        display_name: Option<DisplayName> = described("the caller's, with `pass_display_name`");
    }

    /// Header fields that pass from the trunk and to it, and changes to what it sends and is sent (`docs/IDENTITY.md`).
    /// Only of INVITEs and MESSAGEs that begin something, except Reason.
    pub struct TrunkHeaders {
        /// Names of header fields that pass from it to trunks that have them in `send`, such as `["X-Customer-ID"]`.
        accept: Vec<PassedName> = default(Vec::new());
        /// Names of header fields that pass to it from trunks that have them in `accept`.
        send: Vec<PassedName> = default(Vec::new());
        /// Most header fields of `accept` in one call. What is beyond is dropped and counted
        /// (`headers_dropped`).
        count_max: u16 = default(3) in 1..=16;
        /// Most octets of them together, names and values.
        bytes_max: u16 = default(200) in 1..=4_096;
        /// User-to-User (RFC 7433) passes between trunks that both have this.
        user_to_user: bool = default(false);
        /// How diversions are told to it: `"diversion"` (RFC 5806), `"history-info"` (RFC 7044) or `"off"`. What comes
        /// from it is read in either form, unless `"off"`.
        diversion: DiversionForm = default(DiversionForm::Off);
        /// With which calls it is passed on where the caller is (Geolocation, RFC 6442), from it and to it: `"emergency"`, with those
        /// to emergency numbers; `"always"`, with all others, too, where the other trunk has the same; `"never"`, with none.
        location: LocationPolicy = default(LocationPolicy::Emergency);
        /// The cause in Reason (RFC 3326) of CANCEL, BYE and refusals passes to it.
        reason: bool = default(true);
        /// Changes to header fields, in this order.
        rules as "rule": Vec<TrunkHeaderRule> = default(Vec::new());
    }

    /// A change to header fields of one name. Those that a dialog, a body or a proof lives by cannot be named.
    pub struct TrunkHeaderRule {
        /// `"out"`: in what is sent to the trunk; `"in"`: in what comes from it, before we look at it.
        direction: RuleDirection = default(RuleDirection::Out);
        /// `"add"`, `"remove"` (all of the name), or `"replace"` (where there is one).
        action: RuleAction = required;
        /// Its name.
        header: RuleName = required;
        /// What is added, or stands in its place.
        value: Option<RuleValue> = described("none: only with `action = \"remove\"`");
    }

    /// What a trunk known by its address proves itself by in addition, and what we prove ourselves by to it. Calls without
    /// it are refused with 403 and counted (`refused_proof`).
    pub struct TrunkProof {
        /// What its calls must have; it is taken off.
        inbound: Option<TrunkProofWay> = described("nothing");
        /// What calls to it have.
        outbound: Option<TrunkProofWay> = described("nothing");
    }

    /// Proofs of one direction.
    pub struct TrunkProofWay {
        /// Digits in front of the called number (tech prefix).
        tech_prefix: Option<NumberPrefix> = described("none");
        /// Name of a header field that holds a secret, such as `"X-Carrier-Token"`.
        token_header: Option<PassedName> = described("none");
        /// The secret, in this file. One of three ways to give it.
        token: Option<Secret> = described("see the other two");
        /// Environment variable that holds the secret when `sbcd` starts.
        token_env: Option<String> = described("see the other two");
        /// File that holds the secret, and nothing else but a line break behind it.
        token_file: Option<FilePath> = described("see the other two");
        /// User part of P-Charge-Info (RFC 8496), which says who pays; only for `outbound`. What comes in never passes.
        charge_info: Option<UserPart> = described("none is sent");
    }
}

impl TrunkIdentity {
    /// As the call core uses it.
    pub(super) fn compile(&self, trunk: &Trunk) -> Identity {
        let account = trunk.account.as_ref().filter(|_| self.use_account_name);
        let user = self.from_user.as_ref().map(|user| &user.0);
        Identity {
            trusted: self.trusted,
            asserted: self.asserted,
            accept_preferred: self.accept_preferred,
            send_preferred: self.send_preferred,
            remote_party_id: self.remote_party_id,
            number: self.number.as_ref().map(|number| number.0),
            verified: self.verified.iter().map(|block| block.0.clone()).collect(),
            user: user
                .or(account.map(|account| &account.username))
                .map(|user| user.as_str().into()),
            domain: self.from_domain.as_ref().map(|domain| domain.0.as_str().into()),
            display: self.display_name.as_ref().map(|name| name.0.as_str().into()),
        }
    }
}

impl TrunkHeaders {
    /// As the call core uses it.
    pub(super) fn compile(&self) -> HeaderPolicy {
        let names = |names: &[PassedName]| names.iter().map(|name| name.0.as_str().into()).collect();
        let rules = |direction| {
            let rules = self.rules.iter().filter(|rule| rule.direction == direction);
            let compiled = rules.map(|rule| HeaderRule {
                name: rule.header.0.as_str().into(),
                action: rule.action,
                value: rule.value.as_ref().map_or("", |value| &value.0).into(),
            });
            compiled.collect()
        };
        HeaderPolicy {
            accept: names(&self.accept),
            send: names(&self.send),
            count_max: usize::from(self.count_max),
            bytes_max: usize::from(self.bytes_max),
            user_to_user: self.user_to_user,
            diversion: self.diversion,
            location: self.location,
            no_reason: !self.reason,
            inbound: rules(RuleDirection::In),
            outbound: rules(RuleDirection::Out),
        }
    }
}

impl TrunkProof {
    /// As the call core uses it. `Err`: the key that says where a secret is, and what is wrong there.
    pub(super) fn compile(&self) -> Result<Proofs, (String, String)> {
        let way = |key: &str, way: &Option<TrunkProofWay>| match way {
            Some(way) => way
                .compile()
                .map_err(|(secret, what)| (format!("{key}.{secret}"), what)),
            None => Ok(Proof::default()),
        };
        Ok(Proofs {
            inbound: way("inbound", &self.inbound)?,
            outbound: way("outbound", &self.outbound)?,
        })
    }
}

impl TrunkProofWay {
    fn compile(&self) -> Result<Proof, (&'static str, String)> {
        let token = match &self.token_header {
            Some(name) => Some(SecretHeader::new(&name.0, self.secret()?)),
            None => None,
        };
        let prefix = self.tech_prefix.as_ref();
        Ok(Proof {
            tech_prefix: prefix.map_or("", |prefix| &prefix.0).into(),
            token,
            charge: self.charge_info.as_ref().map(|user| user.0.as_str().into()),
        })
    }

    fn secret(&self) -> Result<Zeroizing<Vec<u8>>, (&'static str, String)> {
        let value = secret(
            ["token_env", "token_file"],
            self.token.as_ref(),
            self.token_env.as_deref(),
            self.token_file.as_ref(),
        )?;
        if value.iter().any(|c| !c.is_ascii_graphic()) {
            let key = if self.token_file.is_some() {
                "token_file"
            } else {
                "token_header"
            };
            return Err((
                key,
                "the secret may have letters, digits and signs, and no blanks".to_owned(),
            ));
        }
        Ok(value)
    }
}

/// What must hold between these options of a trunk.
pub(super) fn check(at: &str, trunk: &Trunk, report: Report<'_>) {
    if let Some(identity) = &trunk.identity {
        check_identity(&format!("{at}.identity"), trunk, identity, report);
    }
    if let Some(headers) = &trunk.headers {
        check_headers(&format!("{at}.headers"), trunk, headers, report);
    }
    if let Some(proof) = &trunk.proof {
        for (way, proof) in [("inbound", &proof.inbound), ("outbound", &proof.outbound)] {
            if let Some(proof) = proof {
                check_proof(&format!("{at}.proof.{way}"), proof, way == "inbound", report);
            }
        }
    }
}

fn check_identity(at: &str, trunk: &Trunk, identity: &TrunkIdentity, report: Report<'_>) {
    let mut problem = |key: &str, message: &str| report(&format!("{at}.{key}"), message.to_owned());
    if identity.use_account_name && identity.from_user.is_some() {
        problem("use_account_name", "contradicts from_user: keep one of them");
    } else if identity.use_account_name && trunk.account.is_none() {
        problem(
            "use_account_name",
            "there is no account: add [trunk.account], or remove it",
        );
    }
    match &identity.number {
        None if !identity.verified.is_empty() => problem(
            "verified",
            "there is no number for callers who are not in it: add number, one of these",
        ),
        Some(number)
            if !identity.verified.is_empty()
                && !identity.verified.iter().any(|block| block.0.has(&number.0)) =>
        {
            problem(
                "number",
                "is not verified itself: choose one of verified, or add it there",
            );
        }
        _ => {}
    }
    let silent = identity.asserted == Assert::Never;
    if silent && identity.send_preferred {
        problem(
            "send_preferred",
            "has no effect with asserted = \"never\": remove one of them",
        );
    }
}

fn check_headers(at: &str, trunk: &Trunk, headers: &TrunkHeaders, report: Report<'_>) {
    let proof = trunk.proof.as_ref();
    let secrets = proof
        .into_iter()
        .flat_map(|proof| [&proof.inbound, &proof.outbound]);
    let secrets: Vec<&str> = secrets
        .flatten()
        .filter_map(|way| way.token_header.as_ref())
        .map(|name| name.0.as_str())
        .collect();
    for (key, names) in [("accept", &headers.accept), ("send", &headers.send)] {
        for (n, name) in names.iter().enumerate() {
            let path = format!("{at}.{key}[{n}]");
            if names[..n]
                .iter()
                .any(|other| other.0.eq_ignore_ascii_case(&name.0))
            {
                report(&path, format!("{} is listed twice", name.0));
            }
            if secrets.iter().any(|secret| secret.eq_ignore_ascii_case(&name.0)) {
                report(
                    &path,
                    format!(
                        "{} holds a secret of [trunk.proof], which does not pass: remove it",
                        name.0
                    ),
                );
            }
        }
    }
    for (n, rule) in headers.rules.iter().enumerate() {
        let path = format!("{at}.rule[{n}]");
        let removes = rule.action == RuleAction::Remove;
        if !removes && rule.value.is_none() {
            report(
                &format!("{path}.value"),
                "missing; only action = \"remove\" needs none".into(),
            );
        }
        if removes && rule.value.is_some() {
            report(
                &format!("{path}.value"),
                "has no effect with action = \"remove\": all of that name are removed; take the value out"
                    .into(),
            );
        }
    }
}

fn check_proof(at: &str, proof: &TrunkProofWay, inbound: bool, report: Report<'_>) {
    let ways = [
        proof.token.is_some(),
        proof.token_env.is_some(),
        proof.token_file.is_some(),
    ];
    let given = ways.into_iter().filter(|given| *given).count();
    match (&proof.token_header, given) {
        (None, 0) => {}
        (None, _) => report(
            at,
            "there is a secret and no header field for it: add token_header".into(),
        ),
        (Some(_), 1) => {
            if let Err((key, message)) = proof.compile() {
                report(&format!("{at}.{key}"), message);
            }
        }
        (Some(_), 0) => report(
            &format!("{at}.token_header"),
            "its secret is missing: add token, token_env or token_file".into(),
        ),
        (Some(_), _) => report(
            &format!("{at}.token_header"),
            "only one of token, token_env and token_file may be given: which is the secret?".into(),
        ),
    }
    if inbound && proof.charge_info.is_some() {
        report(
            &format!("{at}.charge_info"),
            "only goes to the trunk: write it in [trunk.proof.outbound]".into(),
        );
    }
}

/// A caller's number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerNumber(pub E164);

string_value!(
    CallerNumber,
    "a number such as \"+4930123450\"",
    |s: &str| {
        let number = s.strip_prefix('+').and_then(E164::new);
        number.map(CallerNumber).ok_or_else(String::new)
    },
    |number: &CallerNumber| format!("+{}", number.0)
);

/// Numbers that an operator names together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberBlock(pub Block);

string_value!(
    NumberBlock,
    "\"+4930123456\", \"+4930123400-+4930123499\" or \"+49301234*\"",
    |s: &str| s.parse().map(NumberBlock),
    |block: &NumberBlock| block.0.to_string()
);

/// The user part of a SIP URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPart(pub String);

string_value!(
    UserPart,
    "the user part of a SIP URI, at most 64 bytes",
    |s: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,/".contains(&byte);
        if !s.is_empty() && s.len() <= 64 && s.bytes().all(plain) {
            Ok(UserPart(s.to_owned()))
        } else {
            Err("use letters, digits and -_.!~*'()&=+$,/".to_owned())
        }
    },
    |user: &UserPart| user.0.clone()
);

/// A display name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayName(pub String);

string_value!(
    DisplayName,
    "a name of at most 64 bytes",
    |s: &str| {
        let odd = |c: char| c.is_control() || matches!(c, '"' | '\\' | '<' | '>');
        if s.is_empty() || s.len() > 64 || s.trim() != s || s.chars().any(odd) {
            Err("without quotes, backslashes, brackets and blanks around it".to_owned())
        } else {
            Ok(DisplayName(s.to_owned()))
        }
    },
    |name: &DisplayName| name.0.clone()
);

/// Whether `s` can be the name of a header field.
fn is_name(s: &str) -> bool {
    (2..=64).contains(&s.len()) && crate::sip::HeaderName::is_valid(s.as_bytes())
}

/// The name of a header field that SIP has no meaning for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedName(pub String);

string_value!(
    PassedName,
    "the name of a header field of your own, such as \"X-Customer-ID\"",
    |s: &str| {
        if !is_name(s) {
            Err(String::new())
        } else if is_reserved(s) {
            Err("SIP has a meaning for it".to_owned())
        } else {
            Ok(PassedName(s.to_owned()))
        }
    },
    |name: &PassedName| name.0.clone()
);

/// The name of a header field that a rule changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleName(pub String);

string_value!(
    RuleName,
    "the name of a header field",
    |s: &str| {
        if is_vital(s) {
            Err("dialogs, bodies and proofs live by it: no rule may change it".to_owned())
        } else if !is_name(s) {
            Err(String::new())
        } else {
            Ok(RuleName(s.to_owned()))
        }
    },
    |name: &RuleName| name.0.clone()
);

/// The value of a header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleValue(pub String);

string_value!(
    RuleValue,
    "the value of a header field: text without control characters, at most 256 bytes",
    |s: &str| {
        if s.trim().is_empty() || s.len() > 256 || s.chars().any(char::is_control) {
            Err(String::new())
        } else {
            Ok(RuleValue(s.trim().to_owned()))
        }
    },
    |value: &RuleValue| value.0.clone()
);

/// Whose messages a rule changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleDirection {
    /// The trunk's.
    In,
    /// Ours to it.
    Out,
}

word_value!(
    RuleDirection,
    "\"in\" or \"out\"",
    "in" => RuleDirection::In,
    "out" => RuleDirection::Out
);

word_value!(
    RuleAction,
    "\"add\", \"remove\" or \"replace\"",
    "add" => RuleAction::Add,
    "remove" => RuleAction::Remove,
    "replace" => RuleAction::Replace
);

word_value!(
    Assert,
    "\"pass\", \"always\" or \"never\"",
    "pass" => Assert::Pass,
    "always" => Assert::Always,
    "never" => Assert::Never
);

word_value!(
    DiversionForm,
    "\"off\", \"diversion\" or \"history-info\"",
    "off" => DiversionForm::Off,
    "diversion" => DiversionForm::Diversion,
    "history-info" => DiversionForm::History
);

word_value!(
    LocationPolicy,
    "\"emergency\", \"always\" or \"never\"",
    "emergency" => LocationPolicy::Emergency,
    "always" => LocationPolicy::Always,
    "never" => LocationPolicy::Never
);
