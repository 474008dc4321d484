//! SDP (RFC 8866): a line editor that keeps what it does not change. Knows no calls.
