//! Where users of trunks are, for operators (`registrations.list`).

use serde::{Deserialize, Serialize};

/// Most users of one page.
pub const REGISTRATIONS_MAX: u32 = 500;

/// `registrations.list`: users of trunks that are registered, in the order of their trunks' and users' names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRegistrations {
    /// Only users of this trunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<String>,
    /// Only this user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Continue after this one: `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<UserName>,
    /// Most users to return, at most [`REGISTRATIONS_MAX`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// A user of a trunk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserName {
    /// The trunk.
    pub trunk: String,
    /// Its user.
    pub user: String,
}

/// Answer to `registrations.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registrations {
    /// One page of users.
    pub registrations: Vec<RegisteredUser>,
    /// Where the next page begins; `None`: there is none.
    pub next: Option<UserName>,
}

/// A user, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredUser {
    /// The trunk.
    pub trunk: String,
    /// Its user.
    pub user: String,
    /// Where it is.
    pub contacts: Vec<RegisteredContact>,
}

/// One contact of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredContact {
    /// Its URI as it was registered.
    pub contact: String,
    /// Where calls to it are sent.
    pub address: String,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// How much it is wanted, in thousandths; the most wanted is called first.
    pub q: u16,
    /// Seconds that are left.
    pub expires_s: u64,
    /// `+sip.instance` and `reg-id` (RFC 5626), when it has them.
    pub instance: Option<(String, u32)>,
    /// What the device calls itself.
    pub user_agent: String,
}
