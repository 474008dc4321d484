//! A whole call through a shard: INVITE, 180, 200, ACK, BYE, with media ports.

use crate::{Operation, input};
use sbc_core::{
    config,
    shard::{ListenerId, Output, Shard, ShardId},
    time::Timestamp,
};
use sbc_media::relay::PairIndex;
use std::{hint::black_box, net::SocketAddr, sync::Arc, time::Duration};

/// A shard, the peers on its two sides, and a clock that moves on by a second for each call.
#[derive(Debug)]
pub struct Calls {
    shard: Shard,
    peers: [SocketAddr; 2],
    now: Timestamp,
    made: u64,
    invite: String,
    text: String,
}

impl Default for Calls {
    fn default() -> Self {
        Self::new()
    }
}

impl Calls {
    /// The built-in configuration and one shard.
    ///
    /// # Panics
    /// When the built-in configuration does not compile.
    pub fn new() -> Self {
        let (snapshot, admission) = config::default_config()
            .compile()
            .expect("the built-in configuration");
        let mut shard = Shard::new(ShardId(0), 1, Arc::new(snapshot), Arc::new(admission), 1, 2);
        for pair in 0..256u16 {
            shard.add_media_pair(
                sbc_core::id::InterfaceId(0),
                PairIndex(u32::from(pair)),
                20_000 + 2 * pair,
            );
        }
        Self {
            shard,
            peers: [2, 3].map(|host| SocketAddr::from(([127, 0, 0, host], 5060))),
            now: Timestamp::from_millis(1),
            made: 0,
            // As plain peers send it: without extensions that the shard would act on.
            invite: input::INVITE
                .replace("Supported: timer, 100rel\r\n", "")
                .replace("Session-Expires: 1800\r\n", ""),
            text: String::new(),
        }
    }

    /// One call from INVITE to the last answer.
    ///
    /// # Panics
    /// When the shard does not play its part.
    pub fn make(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        while self.shard.poll_timeout().is_some_and(|due| due <= self.now) {
            self.shard.handle_timeout(self.now);
        }
        while self.shard.poll_output().is_some() {}
        self.made += 1;
        let number = format!("{:010}", self.made);
        let invite = self
            .invite
            .replace("z9hG4bK776asdhds1a2", &format!("z9hG4bK{number}"))
            .replace("a84b4c76e66710-5a1f22", &number);
        let sent = self.deliver(0, invite.as_bytes());
        let [_trying, out] = &sent[..] else {
            panic!("the INVITE made no call: {sent:?}")
        };
        let ringing = self.answer(out, "180 Ringing", "");
        self.deliver(1, ringing.as_bytes());
        let answer = String::from_utf8_lossy(input::offer()).replace("127.0.0.2", "127.0.0.3");
        let accepted = self.answer(out, "200 OK", &answer);
        let sent = self.deliver(1, accepted.as_bytes());
        let ok = sent
            .iter()
            .find(|text| text.starts_with("SIP/2.0 200"))
            .expect("the caller's 200");
        let to = line(ok, "To");
        for (method, cseq) in [("ACK", line(ok, "CSeq")), ("BYE", "CSeq: 99999999 BYE")] {
            let cseq = cseq.replace("INVITE", method);
            let request = format!(
                "{method} sip:sbc@127.0.0.1:5060 SIP/2.0\r\n\
                 Via: SIP/2.0/UDP 127.0.0.2:5060;branch=z9hG4bK{method}{number};rport\r\n\
                 Max-Forwards: 70\r\n{}\r\n{to}\r\n{}\r\n{cseq}\r\nContent-Length: 0\r\n\r\n",
                line(ok, "From"),
                line(ok, "Call-ID"),
            );
            let sent = self.deliver(0, request.as_bytes());
            if let Some(bye) = sent.iter().find(|text| text.starts_with("BYE")) {
                let answer = self.answer(bye, "200 OK", "");
                self.deliver(1, answer.as_bytes());
            }
        }
    }

    /// Calls that the shard still holds.
    pub fn left(&self) -> u64 {
        self.shard.gauges().calls
    }

    fn deliver(&mut self, peer: usize, bytes: &[u8]) -> Vec<String> {
        self.shard
            .handle_datagram(self.now, ListenerId(0), self.peers[peer], bytes);
        std::iter::from_fn(|| self.shard.poll_output())
            .filter_map(|output| match output {
                Output::Transmit { payload, .. } => Some(String::from_utf8_lossy(&payload).into_owned()),
                _ => None,
            })
            .collect()
    }

    fn answer(&mut self, request: &str, status: &str, body: &str) -> String {
        self.text.clear();
        self.text.push_str("SIP/2.0 ");
        self.text.push_str(status);
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            self.text.push_str("\r\n");
            self.text.push_str(line(request, name));
            if name == "To" && !line(request, name).contains("tag=") {
                self.text.push_str(";tag=callee");
            }
        }
        self.text.push_str("\r\nContact: <sip:callee@127.0.0.3:5060>\r\n");
        if !body.is_empty() {
            self.text.push_str("Content-Type: application/sdp\r\n");
        }
        self.text
            .push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        std::mem::take(&mut self.text)
    }
}

/// The whole line of a header field.
fn line<'t>(text: &'t str, name: &str) -> &'t str {
    text.split("\r\n")
        .find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
        .unwrap_or_default()
}

/// The operation of this file for the instruction counter.
pub const OPERATIONS: &[Operation] = &[Operation {
    name: "call",
    stands_for: "a call from INVITE to the end of its BYE, whole way through the shard, with both peers",
    run: |n| {
        let mut calls = Calls::new();
        for _ in 0..n {
            calls.make();
        }
        black_box(calls.left());
    },
}];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operation_does_what_it_stands_for() {
        let mut calls = Calls::new();
        for _ in 0..100 {
            calls.make();
            assert_eq!(calls.left(), 0);
        }
        let counters = calls.shard.counters();
        assert_eq!((counters.calls_answered, counters.calls_failed), (100, 0));
    }
}
