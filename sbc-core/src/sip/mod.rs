//! SIP wire format (RFC 3261 §7, §20, §25): views into the receive buffer, and writing. Knows no calls.
