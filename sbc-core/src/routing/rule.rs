//! What one rule says: for whose calls, when, to which trunks, and when the next of them is tried.

use crate::trunk::TrunkId;
use std::time::Duration;

/// One rule of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// As the configuration calls it, or by its place there.
    pub name: Box<str>,
    /// Where in the configuration it comes from.
    pub kind: Kind,
    /// Trunks whose calls it is for, in order; empty: all.
    pub from: Box<[TrunkId]>,
    /// Seconds of Unix time from which on, and until when it holds; `(0, u64::MAX)`: always.
    pub holds: (u64, u64),
    /// Where calls go. At least one.
    pub targets: Box<[Weighted]>,
    /// In which order.
    pub strategy: Strategy,
    /// When the next of them is tried.
    pub failover: Failover,
}

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A `[[route]]`.
    Route,
    /// A `[[did]]`.
    Did,
    /// `[emergency]`: its calls pass all limits.
    Emergency,
}

/// A trunk and its share of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighted {
    /// The trunk.
    pub trunk: TrunkId,
    /// Its share with [`Strategy::Weighted`], at least 1.
    pub weight: u16,
}

/// In which order the trunks of a rule are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// As they are listed.
    #[default]
    Sequential,
    /// Each call begins with the next of them.
    RoundRobin,
    /// Drawn, each as often as its weight says.
    Weighted,
}

impl Strategy {
    /// Its name in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sequential => "sequential",
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
        }
    }
}

/// When a call goes on to the next trunk of its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failover {
    /// Rejections after which no other trunk is tried. 6xx need not be listed.
    pub stop_on: Box<[u16]>,
    /// Without 18x for so long, an attempt has failed; zero: it never has.
    pub ringback_timeout: Duration,
    /// Without an answer for so long, an attempt has failed; zero: that of `[sip]`.
    pub no_answer: Duration,
    /// Most INVITEs of one call.
    pub attempts_max: u8,
}

impl Failover {
    /// Rejections that another trunk would not mend: the number does not exist, is busy, or does not want the call.
    pub const STOP_ON: [u16; 3] = [404, 486, 603];

    /// Whether a call that was rejected with `status` is lost.
    pub fn is_final(&self, status: u16) -> bool {
        status >= 600 || self.stop_on.contains(&status)
    }
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            stop_on: Self::STOP_ON.into(),
            ringback_timeout: Duration::ZERO,
            no_answer: Duration::ZERO,
            attempts_max: 8,
        }
    }
}

impl Rule {
    /// One that leads all calls of `from` to `to`.
    pub fn straight(from: TrunkId, to: TrunkId) -> Self {
        Self {
            name: format!("route of trunk {}", from.0).into(),
            kind: Kind::Route,
            from: [from].into(),
            holds: (0, u64::MAX),
            targets: [Weighted { trunk: to, weight: 1 }].into(),
            strategy: Strategy::Sequential,
            failover: Failover::default(),
        }
    }

    /// Whether it is for calls of `trunk`.
    pub fn is_for(&self, trunk: TrunkId) -> bool {
        self.from.is_empty() || self.from.binary_search(&trunk).is_ok()
    }

    /// Whether it has a beginning or an end.
    pub fn is_temporary(&self) -> bool {
        self.holds != (0, u64::MAX)
    }

    /// Whether it holds at `unix_s`, which only temporary rules need to know.
    pub fn holds_at(&self, unix_s: impl Fn() -> u64) -> bool {
        !self.is_temporary() || {
            let now = unix_s();
            self.holds.0 <= now && now < self.holds.1
        }
    }
}
