//! Calls through one shard, message by message: what `docs/CONFORMANCE.md` and the RFCs promise.

mod answer;
mod basic;
mod cancel;
mod content_length;
mod desk;
mod early_dialog;
mod failure;
mod glare;
mod header_forms;
mod info;
mod late_offer;
mod limits;
mod loops;
mod malformed;
mod matching;
mod media_lines;
mod reinvite;
mod request_checks;
mod require;
mod response_routing;
mod rfc2543;
mod route_set;
mod sequence_numbers;
mod teardown;
mod trying;
