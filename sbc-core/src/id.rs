//! Small numbers by which the rooms name each other's things.

/// Index of a shard, 0-based.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u8);

/// A connection of one shard, inbound or outbound. `slot` is small and reused: an index for tables;
/// `generation` tells a stale id from a live one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Index, below the most connections that a shard may have.
    pub slot: u32,
    /// How often the slot was used before.
    pub generation: u32,
}

/// A name that a shard wants to be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub u32);

/// Index into [`crate::snapshot::Snapshot::listeners`]. The same on every shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId(pub u8);

/// Index into [`crate::snapshot::Media::interfaces`]. The same on every shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceId(pub u8);

/// Side of a call: A called us, B is called by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    A,
    B,
}

impl Side {
    pub(crate) const fn other(self) -> Self {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
}
