//! Learning of a peer's media address.
