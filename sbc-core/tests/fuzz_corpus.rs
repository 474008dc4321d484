//! Every committed fuzz input, and every input that once was a finding, through its target.

#[path = "../../fuzz/src/target/mod.rs"]
mod target;

use std::{fs, path::Path};

fn replay(name: &str, run: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(name);
    let mut inputs = 0;
    for entry in fs::read_dir(&directory).expect("the corpus is part of the repository") {
        let path = entry.expect("readable").path();
        println!("{}", path.display());
        run(&fs::read(&path).expect("readable"));
        inputs += 1;
    }
    assert!(inputs > 0, "{} is empty", directory.display());
}

#[test]
fn sip_message() {
    replay("sip_message", target::sip_message::run);
}

#[test]
fn sdp() {
    replay("sdp", target::sdp::run);
}

#[test]
fn rtcp() {
    replay("rtcp", target::rtcp::run);
}

#[test]
fn rtp() {
    replay("rtp", target::rtp::run);
}

#[test]
fn dtmf() {
    replay("dtmf", target::dtmf::run);
}

#[test]
fn srtp() {
    replay("srtp", target::srtp::run);
}

#[test]
fn config() {
    replay("config", target::config::run);
}

#[test]
fn shard() {
    replay("shard", target::shard::run);
}

#[test]
fn stream() {
    replay("stream", target::stream::run);
}

#[test]
fn operations() {
    replay("operations", target::operations::run);
}

/// The torture messages are good seeds too, and live in a crate of their own.
#[test]
fn torture_messages() {
    for case in sipx_testkit::rfc4475::CASES {
        target::sip_message::run(case.bytes);
        target::shard::run(case.bytes);
    }
    for case in sipx_testkit::rfc5118::CASES {
        target::sip_message::run(case.bytes);
        target::sip_message::run(&case.wire());
        target::shard::run(&case.wire());
    }
}
