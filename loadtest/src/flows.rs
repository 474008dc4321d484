//! Named message flows, each a pair (or more) of SIPp scenarios on the two sides of a real `sbcd`.
//!
//! `flow` is the table and what each expects, `script` makes SIPp scenarios of its files, `wire`
//! says over which transports they run, `run` runs one and judges it. `name_server` is the DNS of
//! those that need one.

pub(crate) mod flow;
pub(crate) mod name_server;
pub(crate) mod run;
pub(crate) mod script;
pub(crate) mod wire;
pub(crate) mod xml;
