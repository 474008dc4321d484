//! What the phones of both sides say of themselves in RTCP.

use super::*;
use sbc_media::{
    relay::Verdict,
    rtcp::{Compound, hide::Cname},
};

/// What the phone of `side` says in RTCP: a report, its names, why it leaves, and its own things.
fn rtcp(side: Side) -> Vec<u8> {
    let (m, net) = (side.marker(), side.network());
    let packet = |count: u8, kind: u8, mut body: Vec<u8>| {
        body.resize(body.len().next_multiple_of(4), 0);
        let words = (body.len() / 4) as u16;
        [&[0x80 | count, kind][..], &words.to_be_bytes(), &body].concat()
    };
    let ssrc = [0, 0, 0, side as u8];
    let item = |kind: u8, text: &str| [&[kind, text.len() as u8], text.as_bytes()].concat();
    let texts = [
        format!("u{m}@{net}9.8"),
        m.to_owned(),
        format!("{m}@h{m}.example"),
        format!("+{m}"),
    ];
    let mut names: Vec<u8> = ssrc.to_vec();
    for (kind, text) in (1..=8).zip(texts.iter().cycle()) {
        names.extend(item(kind, text));
    }
    names.push(0);
    let reason = format!("gone from {net}9.8");
    let goodbye = [&ssrc[..], &[reason.len() as u8], reason.as_bytes()].concat();
    let extended = [&ssrc[..], &[99, 0, 0, 3], m.as_bytes()].concat();
    [
        packet(0, 200, [&ssrc[..], &[1; 20], m.as_bytes()].concat()),
        packet(1, 202, names),
        packet(0, 204, [&ssrc[..], b"HOST", net.as_bytes()].concat()),
        packet(15, 206, [&ssrc[..], &ssrc, m.as_bytes()].concat()),
        packet(0, 207, extended),
        packet(1, 203, goodbye),
    ]
    .concat()
}

#[test]
fn rtcp_of_both_sides() {
    let mut stage = Stage::new();
    let talk = answered(&mut stage);
    // As in a call without keys: what is hidden is the same, and can be written here; and goodbyes pass.
    for pair in [PairIndex(0), PairIndex(1)] {
        stage.shard.relay.set_keys(pair, None);
        stage.shard.relay.set_outlet(stage.at(), pair, None);
    }
    for (side, pair) in [(A, PairIndex(0)), (B, PairIndex(1))] {
        let mut bytes = rtcp(side);
        let len = bytes.len();
        assert!(memchr::memmem::find(&bytes, side.marker().as_bytes()).is_some());
        let from = format!("{}9.8:30001", side.network()).parse().unwrap();
        let verdict = stage
            .shard
            .relay
            .forward(stage.at(), pair.rtcp(), from, &mut bytes, len);
        let Verdict::Forward { socket, len, .. } = verdict else {
            panic!("{side:?}: {verdict:?}")
        };
        assert_ne!(socket.pair(), pair);
        let out = &bytes[..len];
        check(side.other(), out);
        let kinds: Vec<u8> = Compound::new_checked(out)
            .unwrap()
            .packets()
            .map(|p| p.packet_type())
            .collect();
        assert_eq!(kinds, [200, 202, 203]);
        let packet = Compound::new_checked(out).unwrap().packets().nth(1).unwrap();
        let items: Vec<_> = packet.chunks().flat_map(|chunk| chunk.items()).collect();
        assert_eq!(items.len(), 1);
        assert_ne!(
            items[0].1,
            Cname::ANONYMOUS.text(),
            "each leg has a name of its own"
        );
    }
    talk.say(&mut stage, A, "BYE", 2, "");
    let bye = stage.last(B, "BYE");
    stage.say(B, &response(B, &bye, 200, ""));
    stage.end();
}
