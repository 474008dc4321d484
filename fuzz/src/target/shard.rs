//! A whole shard under arbitrary datagrams of its two trunks.
//!
//! The bytes are datagrams separated by 0xFF, which no SIP syntax needs; they come from the trunks in turn.

use sbc_core::{
    config,
    shard::{ListenerId, Shard, ShardId},
    time::Timestamp,
};
use sbc_media::relay::PairIndex;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Runs every datagram through one shard, then lets an hour pass: nothing may be left.
pub(crate) fn run(bytes: &[u8]) {
    let (snapshot, admission) = config::default_config()
        .compile()
        .expect("the built-in configuration");
    let mut shard = Shard::new(ShardId(0), 1, Arc::new(snapshot), Arc::new(admission), 1, 2);
    for pair in 0..8u16 {
        shard.add_media_pair(PairIndex(u32::from(pair)), 20_000 + 2 * pair);
    }
    let peers = [
        SocketAddr::from(([127, 0, 0, 2], 5060)),
        SocketAddr::from(([127, 0, 0, 3], 5060)),
    ];
    let mut now = 0;
    for (index, datagram) in bytes.split(|&b| b == 0xff).take(32).enumerate() {
        let from = peers[index % 2];
        shard.handle_datagram(Timestamp::from_millis(now), ListenerId(0), from, datagram);
        drain(&mut shard);
        now += 20;
    }
    let end = Timestamp::from_millis(now) + Duration::from_secs(3600);
    while let Some(due) = shard.poll_timeout().filter(|&due| due < end) {
        shard.handle_timeout(due);
        drain(&mut shard);
    }
}

fn drain(shard: &mut Shard) {
    while shard.poll_output().is_some() {}
}
