//! Calls through one shard, message by message: what `docs/CONFORMANCE.md` and the RFCs promise.

mod answer;
mod basic;
mod cancel;
mod desk;
mod failure;
mod info;
mod late_offer;
mod limits;
mod malformed;
mod reinvite;
mod request_checks;
mod rfc2543;
mod teardown;
