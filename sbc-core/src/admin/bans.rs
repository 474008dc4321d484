//! Parameters and results of the methods about bans (`docs/ADMIN.md`).

use super::{
    failure::{Failure, Reason},
    method::shorten,
};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// `bans.list`: no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListBans {}

/// Answer to `bans.list`, `bans.add` and `bans.lift`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanList {
    /// All bans, or those that were made or lifted; the newest first.
    pub bans: Vec<BanStatus>,
    /// The most that there can be.
    pub capacity: u64,
    /// Bans that gave way to others before their end, since start-up.
    pub evicted: u64,
}

/// A ban.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BanStatus {
    /// The address; of IPv6, the network of 64 bits.
    pub address: String,
    /// What it is for: `malformed`, `stranger`, `scanner`, `unproven`, `bad_credentials` or `operator`.
    pub offence: String,
    /// How many such offences led to it.
    pub count: u32,
    /// Something of what was sent, at most 32 octets, what is not ASCII escaped; or what the operator said.
    pub evidence: String,
    /// Milliseconds since it was made.
    pub age_ms: u64,
    /// Milliseconds until it ends.
    pub expires_in_ms: u64,
}

/// Longest ban that can be asked for, in seconds: a year.
pub const BAN_S_MAX: u64 = 31_536_000;

/// `bans.add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddBan {
    /// An IP address; of IPv6, any of the network of 64 bits.
    pub address: String,
    /// Seconds that it lasts, 1 to [`BAN_S_MAX`].
    pub for_s: u64,
    /// Why, for whoever reads the list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// `bans.lift`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiftBan {
    /// As `bans.list` has it.
    pub address: String,
}

impl AddBan {
    /// Checks what can be checked without knowing the trunks: the address.
    pub fn check(&self) -> Result<IpAddr, Failure> {
        if !(1..=BAN_S_MAX).contains(&self.for_s) {
            let what = format!("for_s must be 1 to {BAN_S_MAX}, not {}", self.for_s);
            return Err(Failure::new(Reason::InvalidParams, what));
        }
        address(&self.address)
    }
}

impl LiftBan {
    /// The address.
    pub fn check(&self) -> Result<IpAddr, Failure> {
        address(&self.address)
    }
}

fn address(text: &str) -> Result<IpAddr, Failure> {
    let network = text.strip_suffix("/64").unwrap_or(text);
    network.parse().map_err(|_| {
        let what = format!("{:?} is no IP address", shorten(text));
        Failure::new(Reason::InvalidParams, what)
    })
}
