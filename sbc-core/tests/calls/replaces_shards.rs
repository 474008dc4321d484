//! INVITE with Replaces when the call lives on another shard than the INVITE's Call-ID would say:
//! the INVITE follows our tag in it, and its CANCEL follows the INVITE.

use crate::{desk::*, replaces_trunks::*};
use sbc_core::{
    config::{self, Config},
    shard::{ListenerId, Output, Shard, ShardId},
    time::Timestamp,
};
use std::sync::Arc;

/// Two shards of one process.
struct Pair {
    shards: [Shard; 2],
    now: Timestamp,
}

impl Pair {
    fn new() -> Self {
        Self::of(&config::default_config())
    }

    fn of(config: &Config) -> Self {
        let (snapshot, admission) = config.compile().unwrap();
        let (snapshot, admission) = (Arc::new(snapshot), Arc::new(admission));
        let shards = [0, 1].map(|id| {
            let mut shard = Shard::new(
                ShardId(id),
                2,
                Arc::clone(&snapshot),
                Arc::clone(&admission),
                1,
                2,
            );
            for pair in 0..8 {
                shard.add_media_pair(
                    sbc_core::id::InterfaceId(0),
                    sbc_media::relay::PairIndex(pair),
                    20_000 + 100 * u16::from(id) + 2 * pair as u16,
                );
            }
            shard
        });
        Self {
            shards,
            now: Timestamp::from_millis(1000),
        }
    }

    /// A datagram that the kernel gives to shard `at`.
    fn deliver(&mut self, at: usize, from: &str, text: &str) -> Vec<Sent> {
        self.shards[at].handle_datagram(self.now, ListenerId(0), from.parse().unwrap(), text.as_bytes());
        self.drain()
    }

    fn drain(&mut self) -> Vec<Sent> {
        let mut sent = Vec::new();
        let mut over = Vec::new();
        loop {
            for shard in &mut self.shards {
                while let Some(output) = shard.poll_output() {
                    match output {
                        Output::Transmit { peer, payload, .. } => sent.push(Sent {
                            to: peer,
                            text: String::from_utf8_lossy(&payload).into_owned(),
                            over: None,
                        }),
                        Output::Handover { shard, hop, payload } => over.push((shard, hop, payload)),
                        _ => {}
                    }
                }
            }
            let Some((shard, hop, payload)) = over.pop() else {
                return sent;
            };
            self.shards[usize::from(shard.0)].handle_handover(self.now, hop, &payload);
        }
    }

    fn end(mut self) {
        let end = Timestamp::from_millis(200_000);
        loop {
            let due = self.shards.iter().filter_map(|shard| shard.poll_timeout()).min();
            let Some(due) = due.filter(|due| *due <= end) else {
                break;
            };
            self.now = due.max(self.now);
            for shard in &mut self.shards {
                shard.handle_timeout(self.now);
            }
            self.drain();
        }
        for shard in &self.shards {
            assert_eq!(shard.gauges(), Default::default());
            assert_eq!(shard.counters().internal_errors, 0);
        }
    }
}

fn new_invite(method: &str, id: usize, replaces: &str) -> String {
    let replaces = if replaces.is_empty() {
        String::new()
    } else {
        format!("Replaces: {replaces}\r\n")
    };
    let body = if method == "INVITE" { OFFER } else { "" };
    request(method, "sip:2000@127.0.0.1", 1, &format!("n{id}"), "", body)
        .replace("caller-call-id", &format!("new-call-{id}"))
        .replace("callertag", "newtag")
        .replace("Content-Length", &format!("{replaces}Content-Length"))
}

/// The call of the caller, set up through shard `at`; our tag towards the caller.
fn talking(pair: &mut Pair, at: usize) -> (Sent, String) {
    let sent = pair.deliver(at, CALLER, &invite());
    let out = only(&sent, "INVITE").clone();
    let sent = pair.deliver(at, CALLEE, &ok(&out));
    let told = only(&sent, "200").clone();
    let tag = tag_of(told.header("To"));
    let contact = told.header("Contact").trim_matches(['<', '>']).to_owned();
    pair.deliver(at, CALLER, &request("ACK", &contact, 1, "ack1", &tag, ""));
    (out, tag)
}

#[test]
fn the_invite_goes_where_the_call_is() {
    let mut crossed = 0;
    for id in 0..8 {
        for at in [0, 1] {
            let mut pair = Pair::new();
            let (out, tag) = talking(&mut pair, at);
            let over = |pair: &Pair| pair.shards.iter().map(|s| s.counters().handed_over).sum::<u64>();
            let before = over(&pair);
            let replaces = format!("caller-call-id;to-tag={tag};from-tag=callertag");
            let sent = pair.deliver(at, CALLER, &new_invite("INVITE", id, &replaces));
            crossed += over(&pair) - before;
            assert_eq!(kinds(&sent), ["A<100", "B<INVITE"], "Call-ID {id} at shard {at}");
            let asked = only(&sent, "INVITE").clone();
            assert_eq!(asked.header("Call-ID"), out.header("Call-ID"));
            let sent = pair.deliver(
                at,
                CALLEE,
                &response(&asked, 200, "", "sip:bob@127.0.0.3:5060", ANSWER),
            );
            assert_eq!(kinds(&sent), ["B<ACK", "A<BYE", "A<200"]);
            let bye = only(&sent, "BYE").clone();
            pair.deliver(at, CALLER, &response(&bye, 200, "", "", ""));
            pair.end();
        }
    }
    assert!(crossed > 0, "no INVITE had to change shards");
}

#[test]
fn a_cancel_follows_its_invite() {
    for id in 0..8 {
        for at in [0, 1] {
            let mut pair = Pair::new();
            let (_, tag) = talking(&mut pair, at);
            let replaces = format!("caller-call-id;to-tag={tag};from-tag=callertag");
            let sent = pair.deliver(at, CALLER, &new_invite("INVITE", id, &replaces));
            let asked = only(&sent, "INVITE").clone();
            pair.deliver(at, CALLEE, &response(&asked, 100, "", "", ""));
            let sent = pair.deliver(at, CALLER, &new_invite("CANCEL", id, ""));
            assert_eq!(kinds(&sent), ["A<200", "B<CANCEL"], "Call-ID {id} at shard {at}");
            let sent = pair.deliver(at, CALLEE, &response(&asked, 487, "", "", ""));
            assert_eq!(kinds(&sent), ["B<ACK", "A<487"]);
            pair.end();
        }
    }
}

#[test]
fn a_name_disguised_on_one_shard_is_known_on_the_other() {
    let mut apart = 0;
    for id in 0..8 {
        let mut pair = Pair::of(&three_trunks());
        let (_, tag) = talking(&mut pair, 0);
        let own = |text: String| text.replace("third-call-id", &format!("third-{id}"));
        let call = own(of_third("INVITE", "sip:1000@127.0.0.1", 1, "t1", "", OFFER));
        let sent = pair.deliver(0, THIRD, &call);
        let second = only(&sent, "INVITE").clone();
        let contact = "sip:alice@127.0.0.2:5060";
        let sent = pair.deliver(0, CALLER, &response(&second, 200, "carriertag", contact, ANSWER));
        let third_tag = tag_of(only(&sent, "200").header("To"));
        let ack = own(of_third("ACK", "sip:1000@127.0.0.1", 1, "t2", &third_tag, ""));
        pair.deliver(0, THIRD, &ack);
        apart += usize::from(pair.shards.iter().all(|shard| shard.gauges().calls == 1));
        let refer = request("REFER", "sip:1000@127.0.0.1", 2, "refer", &tag, "").replace(
            "Content-Length",
            &format!(
                "Refer-To: <sip:2000@127.0.0.2?Replaces={}>\r\nContent-Length",
                named_by_a(&second)
            ),
        );
        let sent = pair.deliver(0, CALLER, &refer);
        let replaces = replaces_of(only(&sent, "REFER"));
        let sent = pair.deliver(1, CALLEE, &taking("INVITE", "", 1, &format!("n{id}"), &replaces));
        let asked = only(&sent, "INVITE").clone();
        assert_eq!(asked.to, THIRD.parse().unwrap());
        let answer = response(&asked, 200, "", "sip:carol@127.0.0.9:5060", ANSWER);
        let sent = pair.deliver(0, THIRD, &answer);
        assert_eq!(kinds(&sent), ["B<ACK", "A<BYE", "B<200"]);
        pair.end();
    }
    assert!(apart > 0, "both calls were always on one shard");
}
