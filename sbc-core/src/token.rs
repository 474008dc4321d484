//! Branches, tags and Call-IDs that we mint: they carry their owner.
