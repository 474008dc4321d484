//! A whole shard under arbitrary datagrams of its two trunks.
//!
//! The bytes are datagrams separated by 0xFF, which no SIP syntax needs; they come from the trunks in turn.

use sbc_core::{
    config,
    shard::{Command, Gauges, ListenerId, Output, Reply, Shard, ShardId},
    time::Timestamp,
};
use sbc_media::relay::PairIndex;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Runs every datagram through one shard, hangs up and lets all time pass: nothing may be left.
pub(crate) fn run(bytes: &[u8]) {
    let (snapshot, admission) = config::default_config()
        .compile()
        .expect("the built-in configuration");
    let mut shard = Shard::new(ShardId(0), 1, Arc::new(snapshot), Arc::new(admission), 1, 2);
    for pair in 0..8u16 {
        shard.add_media_pair(
            sbc_core::id::InterfaceId(0),
            PairIndex(u32::from(pair)),
            20_000 + 2 * pair,
        );
    }
    let peers = [
        SocketAddr::from(([127, 0, 0, 2], 5060)),
        SocketAddr::from(([127, 0, 0, 3], 5060)),
    ];
    let mut now = Timestamp::from_millis(1);
    for (index, datagram) in bytes.split(|&b| b == 0xff).take(32).enumerate() {
        shard.handle_datagram(now, ListenerId(0), peers[index % 2], datagram);
        drain(&mut shard);
        now = now + Duration::from_millis(20);
    }
    shard.handle_command(now, 0, Command::HangupAll);
    drain(&mut shard);
    // What peers are called by is looked up again for ever: only that may be left to do.
    while shard.gauges() != Gauges::default() {
        let due = shard
            .poll_timeout()
            .expect("something is left and nothing will end it");
        now = due.max(now);
        assert!(
            now < Timestamp::ZERO + Duration::from_secs(3600),
            "timers that never end"
        );
        shard.handle_timeout(now);
        drain(&mut shard);
    }
    shard.handle_command(now, 0, Command::Stats);
    let Some(Output::Reply(_, reply)) = shard.poll_output() else {
        panic!("statistics are answered at once");
    };
    let Reply::Stats(_, gauges) = *reply else {
        panic!("statistics are answered with statistics");
    };
    assert_eq!(gauges, Gauges::default(), "something is left");
}

fn drain(shard: &mut Shard) {
    while shard.poll_output().is_some() {}
}
