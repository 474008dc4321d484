//! Topology hiding: what of one side may be seen on the other.
