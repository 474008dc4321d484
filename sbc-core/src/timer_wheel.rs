//! Timers of a shard: a hierarchical wheel with constant-time insert and cancel.
