//! The configuration file: reading, validating, compiling to a [`crate::snapshot::Snapshot`].
