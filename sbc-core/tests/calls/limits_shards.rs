//! Limits count exactly, whatever they are of and however many shards have the calls (L1, L2).

use crate::desk::*;
use sbc_core::{admission::Admission, config, shard::ShardId, time::Timestamp};
use std::{sync::Arc, time::Duration};

/// Every way to limit a call of the carrier to the number 1000, by name in the table of limits.
const KINDS: [(&str, &str); 10] = [
    ("global", "[limits]\nLIMIT\n"),
    ("carrier.inbound", "[trunk.limits]\ninbound = { LIMIT }\n"),
    ("carrier.both", "[trunk.limits]\nboth = { LIMIT }\n"),
    ("platform.outbound", "[trunk.limits]\noutbound = { LIMIT }\n"),
    ("platform.both", "[trunk.limits]\nboth = { LIMIT }\n"),
    (
        "limit:l",
        "[[limit]]\nname = \"l\"\nsources = [\"127.0.0.0/29\"]\nLIMIT\n",
    ),
    (
        "limit:l",
        "[[limit]]\nname = \"l\"\ncalled = [\"+1000\"]\nLIMIT\n",
    ),
    ("limit:l", "[[limit]]\nname = \"l\"\nroute = \"number\"\nLIMIT\n"),
    ("limit:l", "[[limit]]\nname = \"l\"\nroute = \"prefix\"\nLIMIT\n"),
    (
        "limit:l",
        "[[limit]]\nname = \"l\"\nfrom = \"carrier\"\nto = \"platform\"\nLIMIT\n",
    ),
];

/// Two shards that share their limits, and who is in a call on which.
struct Shards {
    desks: [Desk; 2],
    admission: Arc<Admission>,
    limit: &'static str,
    calls: u32,
    up: Vec<(usize, Sent)>,
}

impl Shards {
    /// `values`: those of the limit, `called`: which of [`KINDS`] it is.
    fn new(kind: usize, values: &str) -> Self {
        let (limit, section) = KINDS[kind];
        let values = match section.contains('{') {
            true => values.replace('\n', ", "),
            false => values.to_owned(),
        };
        let section = section.replace("LIMIT", &values);
        let of = |trunk: &str| match limit.starts_with(trunk) {
            true => section.clone(),
            false => String::new(),
        };
        let prefixes = match section.contains("prefix") {
            true => "[[route]]\nname = \"prefix\"\nprefixes = [\"10\"]\nto = \"platform\"\n",
            false => "[[did]]\nname = \"number\"\nnumbers = [\"+1000\"]\nto = \"platform\"\n",
        };
        let more = if limit.contains('.') {
            String::new()
        } else {
            section.clone()
        };
        let text = format!(
            "[[listener]]\nname = \"main\"\naddress = \"127.0.0.1:5060\"\n[media]\naddress = \"127.0.0.1\"\n\
            [[trunk]]\nname = \"carrier\"\nhosts = [\"127.0.0.2\"]\n{}\
            [[trunk]]\nname = \"platform\"\nhosts = [\"127.0.0.3\"]\n{}\
            [[route]]\nfrom = \"carrier\"\nto = \"platform\"\n{prefixes}{more}",
            of("carrier"),
            of("platform"),
        );
        let config = config::parse(&text, "test").unwrap_or_else(|error| panic!("{error}\n{text}"));
        let (snapshot, admission) = config.compile().unwrap();
        let (snapshot, admission) = (Arc::new(snapshot), Arc::new(admission));
        let desks =
            [0, 1].map(|id| Desk::of_shard(ShardId(id), 2, Arc::clone(&snapshot), Arc::clone(&admission)));
        Self {
            desks,
            admission,
            limit,
            calls: 0,
            up: Vec::new(),
        }
    }

    /// One more call, by whichever shard owns it; whether it goes on. Without an offer, so that ports are no limit.
    fn call(&mut self) -> bool {
        self.calls += 1;
        let n = self.calls;
        let invite = request("INVITE", "sip:1000@127.0.0.1", 1, &format!("inv{n}"), "", "")
            .replace("caller-call-id", &format!("call-{n}"));
        for (shard, desk) in self.desks.iter_mut().enumerate() {
            let sent = desk.caller(&invite);
            if !std::mem::take(&mut desk.handovers).is_empty() {
                continue;
            }
            return match sent.iter().find(|sent| sent.kind() == "INVITE") {
                Some(out) => {
                    self.up.push((shard, out.clone()));
                    true
                }
                None => {
                    assert_eq!(kinds(&sent), ["A<100", "A<503"]);
                    assert!(sent[1].has("Retry-After"));
                    false
                }
            };
        }
        panic!("nobody owns call {n}");
    }

    /// The callee is busy for whoever has been in line longest.
    fn end_one(&mut self) {
        let (shard, out) = self.up.remove(0);
        let sent = self.desks[shard].callee(&response(&out, 486, "t", "", ""));
        assert!(sent.iter().any(|sent| sent.kind() == "486"), "{:?}", kinds(&sent));
    }

    fn pass(&mut self, time: Duration) {
        for desk in &mut self.desks {
            desk.pass(time);
        }
    }

    fn now(&self) -> Timestamp {
        self.desks[0].now
    }

    /// Nothing is counted any more, and both shards had calls.
    fn assert_over(&mut self) {
        while !self.up.is_empty() {
            self.end_one();
        }
        for limit in self.admission.iter() {
            assert_eq!(limit.channels_used, 0, "{}", limit.name);
        }
        for desk in &mut self.desks {
            assert!(desk.shard.counters().calls_attempted > 10);
            desk.assert_quiet();
        }
    }

    fn used(&self) -> u32 {
        let limit = self.admission.iter().find(|limit| limit.name == self.limit);
        limit.expect("the limit").channels_used
    }
}

#[test]
fn channels_of_every_kind() {
    for (kind, what) in KINDS.iter().enumerate() {
        let mut shards = Shards::new(kind, "channels = 7");
        let offer = |shards: &mut Shards, n| (0..n).filter(|_| shards.call()).count();
        assert_eq!(offer(&mut shards, 50), 7, "{what:?}");
        assert_eq!(shards.used(), 7, "{what:?}");
        for _ in 0..3 {
            shards.end_one();
        }
        assert_eq!(shards.used(), 4, "{what:?}");
        assert_eq!(offer(&mut shards, 50), 3, "{what:?}");
        let refused = shards
            .desks
            .iter()
            .map(|desk| desk.shard.counters().refused_channels);
        assert_eq!(refused.sum::<u64>(), 90, "{what:?}");
        shards.assert_over();
    }
}

#[test]
fn rates_of_every_kind() {
    const CPS: u64 = 40;
    const BURST: u64 = 5;
    for (kind, what) in KINDS.iter().enumerate() {
        let mut shards = Shards::new(kind, &format!("cps = {CPS}\nburst = {BURST}"));
        // The bucket as it is defined: calls are 25 ms apart, and four may come before their time.
        let (spacing, mut next) = (1_000_000_000 / CPS, 0);
        let mut admitted = 0;
        for step in 0..200u64 {
            // At one moment many, at another none.
            for _ in 0..step % 7 {
                let now = shards.now().as_nanos();
                let expected = now + (BURST - 1) * spacing >= next;
                assert_eq!(shards.call(), expected, "{what:?}, step {step}");
                if expected {
                    next = now.max(next) + spacing;
                    admitted += 1;
                    shards.end_one();
                }
            }
            shards.pass(Duration::from_millis(10));
        }
        assert!(
            (CPS * 2..=CPS * 2 + BURST).contains(&admitted),
            "{admitted} in two seconds"
        );
        shards.assert_over();
    }
}
