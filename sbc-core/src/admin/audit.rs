//! Parameters and result of `audit` (`docs/ADMIN.md`).

use serde::{Deserialize, Serialize};

/// `audit`: no parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunAudit {}

/// Answer to `audit`: everything that is counted as in use, against what calls were found to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Nothing differs.
    pub consistent: bool,
    /// Calls that were gone through.
    pub calls: u64,
    /// How often the shards were asked: again as long as calls came and went in between.
    pub rounds: u32,
    /// Of each limit, its channels.
    pub channels: Vec<ChannelAudit>,
    /// Of each shard, what else was counted.
    pub counts: Vec<CountAudit>,
}

/// The channels of one limit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelAudit {
    /// Its name: `global`, or the trunk's and a direction.
    pub limit: String,
    /// Channels in use, as the limit counts them.
    pub in_use: u64,
    /// Channels that calls of all shards hold.
    pub held: u64,
    /// The true difference is at least this ...
    pub difference_min: i64,
    /// ... and at most this. They are the same unless calls came and went while it was counted.
    pub difference_max: i64,
}

impl ChannelAudit {
    /// There may be no difference.
    pub fn agrees(&self) -> bool {
        self.difference_min <= 0 && 0 <= self.difference_max
    }
}

/// Something of one shard, counted in two ways at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountAudit {
    /// The shard.
    pub shard: u8,
    /// What was counted.
    pub what: String,
    /// In use, as its owner says.
    pub counted: u64,
    /// Found with those that use it.
    pub found: u64,
}
