//! Requests inside a dialog that pass through: one side asks, the other answers.
//!
//! In: a request of one side. Out: our own request on the other side, then its answer back. Each
//! waits in [`Passing`] until the other side has answered or 64·T1 have passed. What goes across is
//! built from named header fields; everything else stays behind.

use super::{LegState, Passing, Phase, setup::check_require};
use crate::{
    shard::{Arrival, Shard},
    sip::{HeaderName, Message, Writer, unfold},
    time::Timestamp,
    topology,
    transaction::{Reply, Side},
};

/// Most requests of one call that may wait for answers at the same time.
const PASSING_MAX: usize = 8;

/// Header fields that say what a body is for, and pass with it.
const BODY_FIELDS: [(&str, HeaderName); 3] = [
    ("Info-Package", HeaderName::InfoPackage),
    ("Content-Disposition", HeaderName::ContentDisposition),
    ("Content-Encoding", HeaderName::ContentEncoding),
];

impl Shard {
    /// A request on `side` that concerns the other side; its CSeq is in order.
    pub(crate) fn pass(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) {
        if let Err(reply) = self.pass_on(now, slot, side, request, from) {
            self.io.counters.refused_request += 1;
            self.transactions
                .answer(&mut self.io, now, request, from.hop, reply);
        }
    }

    fn pass_on(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) -> Result<(), Reply> {
        if self.transactions.is_full() {
            self.io.counters.refused_transactions_max += 1;
            return Err(Reply::retry_after(503, 5));
        }
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        let other = side.other();
        if call.phase == Phase::Over || !call.leg(other).takes_requests() {
            return Err(Reply::new(481));
        }
        if call.passing.len() >= PASSING_MAX {
            return Err(Reply::retry_after(500, 5));
        }
        check_require(request)?;
        let max_forwards = match request.max_forwards() {
            Ok(Some(0)) => return Err(Reply::new(483)),
            Ok(hops) => hops.map_or(70, |h| h - 1),
            Err(_) => return Err(Reply::new(400)),
        };
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let call = self.calls.get_mut(slot as usize).ok_or(Reply::new(481))?;
        let leg = call.leg_mut(other);
        let cseq = leg.dialog.next_cseq();
        let hop = leg.next_hop();
        let method = request.method();
        let mut w = leg.dialog.request(
            &mut self.io.scratch,
            method.as_str(),
            cseq,
            &branch,
            self.transactions.local(hop),
            max_forwards,
        );
        write_body(&mut w, request);
        let server = self.transactions.accept_request(request, from.hop);
        let client = self
            .transactions
            .send(&mut self.io, now, nonce, hop, method, Some((slot, other)));
        call.passing.push(Passing {
            from: side,
            server,
            client,
        });
        Ok(())
    }

    /// The other side answered a request that was passed to it on `side`.
    pub(crate) fn passed_answered(
        &mut self,
        now: Timestamp,
        slot: u32,
        _side: Side,
        client: u32,
        response: &Message<'_>,
    ) {
        let Some(passing) = self.take_passing(slot, client) else {
            return;
        };
        let status = match response.status() {
            status @ 200..=299 => status,
            status => topology::failure_status(status),
        };
        let Some(call) = self.calls.get(slot as usize) else {
            return;
        };
        let tag = call.leg(passing.from).dialog.local_tag;
        self.transactions
            .finish(&mut self.io, now, passing.server, status, &tag, |mut w| {
                write_body(&mut w, response);
            });
    }

    /// The other side never answered (RFC 4320: nor do we).
    pub(crate) fn passed_timed_out(&mut self, _now: Timestamp, slot: u32, client: u32) {
        if let Some(passing) = self.take_passing(slot, client) {
            self.transactions.abandon(&mut self.io, passing.server);
        }
    }

    /// The call ends: whoever waits for an answer is told that there is no dialog any more.
    pub(crate) fn abort_passing(&mut self, now: Timestamp, slot: u32) {
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        let tags = [call.a.dialog.local_tag, call.b.dialog.local_tag];
        for passing in std::mem::take(&mut call.passing) {
            self.transactions.orphan_client(&mut self.io, now, passing.client);
            self.transactions.finish(
                &mut self.io,
                now,
                passing.server,
                481,
                &tags[passing.from as usize],
                |mut w| {
                    w.empty_body();
                },
            );
        }
    }

    fn take_passing(&mut self, slot: u32, client: u32) -> Option<Passing> {
        let passing = &mut self.calls.get_mut(slot as usize)?.passing;
        let at = passing.iter().position(|p| p.client == client)?;
        Some(passing.remove(at))
    }
}

impl super::Leg {
    /// Whether a request can be sent inside this leg's dialog: it is confirmed and not ending.
    pub(crate) fn takes_requests(&self) -> bool {
        self.state == LegState::Confirmed
    }
}

/// End a message with the body of another, and the fields that describe it.
fn write_body(w: &mut Writer<'_>, message: &Message<'_>) {
    let body = message.body();
    let media_type = message.content_type().unwrap_or_default();
    if body.is_empty() || media_type.is_empty() {
        w.empty_body();
        return;
    }
    for (name, header) in BODY_FIELDS {
        if let Some(value) = message.header(header) {
            w.header(name, unfold(value));
        }
    }
    w.body(unfold(media_type), body);
}
