//! Requests inside a dialog that pass through: one side asks, the other answers.
//!
//! In: a request of one side. Out: our own request on the other side, then its answer back. Each
//! waits in [`Passing`] until the other side has answered or 64·T1 have passed. What goes across is
//! built from named header fields; everything else stays behind.

use super::{
    Call, Leg, LegState, Passing, Phase,
    setup::{check_require, essence, max_forwards_of},
    write_contact,
};
use crate::{
    shard::{Arrival, Shard},
    sip::{HeaderName, Message, Method, OptionTags, Writer, unfold},
    time::Timestamp,
    topology,
    transaction::{Extra, Reply, Side},
};

/// Most requests of one call that may wait for answers at the same time.
const PASSING_MAX: usize = 8;

/// Largest body that passes. Longer ones are 513: whoever has so much to say says it elsewhere.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Largest MESSAGE that may leave by a transport without congestion control (RFC 3428 §8).
pub(super) const MESSAGE_BYTES_MAX: usize = 1300;

/// Header fields that say what a body is for, and pass with it.
const BODY_FIELDS: [(&str, HeaderName); 3] = [
    ("Info-Package", HeaderName::InfoPackage),
    ("Content-Disposition", HeaderName::ContentDisposition),
    ("Content-Encoding", HeaderName::ContentEncoding),
];

impl Shard {
    /// An INFO or MESSAGE on `side` for the other side; its CSeq is in order.
    pub(crate) fn pass(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
    ) {
        if self.take_info_digit(now, slot, side, request, from) {
            return;
        }
        let passed = check_body(request)
            .and_then(|()| self.pass_on(now, slot, side, request, from, |w, _| write_body(w, request)));
        self.answer_refused(now, request, from, passed.map(|_| ()));
    }

    /// Answer a request that goes no further.
    pub(super) fn answer_refused(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        from: Arrival,
        outcome: Result<(), Reply>,
    ) {
        if let Err(reply) = outcome {
            self.io.counters.refused_request += 1;
            self.transactions
                .answer(&mut self.io, now, request, from.hop, reply);
        }
    }

    /// Send a request like `request` on the other side; `finish` writes its fields behind CSeq and
    /// its body, and is told its CSeq number, which is also the result.
    pub(super) fn pass_on(
        &mut self,
        now: Timestamp,
        slot: u32,
        side: Side,
        request: &Message<'_>,
        from: Arrival,
        finish: impl FnOnce(&mut Writer<'_>, u32),
    ) -> Result<u32, Reply> {
        if self.transactions.is_full() {
            self.io.counters.refused_transactions_max += 1;
            return Err(Reply::retry_after(503, 5));
        }
        let call = self.calls.get(slot as usize).ok_or(Reply::new(481))?;
        let other = side.other();
        if !call.takes_requests(other) {
            return Err(Reply::new(481));
        }
        if call.passing.len() >= PASSING_MAX {
            return Err(Reply::retry_after(500, 5));
        }
        check_require(request, OptionTags::NONE)?;
        if request.body().len() > BODY_BYTES_MAX {
            return Err(Reply::new(513));
        }
        let max_forwards = max_forwards_of(request)?;
        let nonce = self.random();
        let branch = self.transactions.next_branch(nonce);
        let call = self.calls.get_mut(slot as usize).ok_or(Reply::new(481))?;
        let leg = call.leg_mut(other);
        let cseq = leg.dialog.next_cseq();
        let hop = leg.next_hop(&self.transactions, &self.names, &self.snapshot);
        let ours = self.transactions.local(hop);
        let method = request.method();
        let mut w = leg.dialog.request(
            &mut self.io.scratch,
            method.as_str(),
            cseq,
            &branch,
            ours,
            max_forwards,
        );
        if matches!(method, Method::Refer | Method::Notify | Method::Subscribe) {
            write_contact(&mut w, &leg.dialog.local_tag, ours);
        }
        finish(&mut w, cseq);
        if method == Method::Message
            && !ours.transport.is_reliable()
            && self.io.scratch.len() > MESSAGE_BYTES_MAX
        {
            return Err(Reply::new(513));
        }
        let server = self.transactions.accept_request(&self.io, request, from.hop);
        let client = self
            .transactions
            .send(&mut self.io, now, nonce, hop, method, Some((slot, other)));
        call.passing.push(Passing {
            from: side,
            server,
            client,
            cseq,
        });
        Ok(cseq)
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
        let method = response.cseq().map_or(Method::Other, |cseq| cseq.method);
        let status = match response.status() {
            status @ 200..=299 => status,
            status => {
                self.referral_over(slot, passing, method);
                topology::failure_status(status)
            }
        };
        let Some(call) = self.calls.get(slot as usize) else {
            return;
        };
        let leg = call.leg(passing.from);
        let (tag, ours) = (leg.dialog.local_tag, self.transactions.local(leg.hop));
        self.transactions
            .finish(&mut self.io, now, passing.server, status, &tag, |mut w| {
                if status < 300 && matches!(method, Method::Refer | Method::Subscribe) {
                    write_contact(&mut w, &tag, ours);
                    if let Some(seconds) = topology::seconds(response, HeaderName::Expires) {
                        w.header_fmt("Expires", format_args!("{seconds}"));
                    }
                }
                write_body(&mut w, response);
            });
        // RFC 5057 §5.1: with this the peer says that it knows no such dialog. Of a NOTIFY it says so
        // of the subscription.
        if response.status() == 481 && method != Method::Notify {
            self.end(now, slot, 200, "dialog_gone");
        }
    }

    /// The other side never answered (RFC 4320: nor do we).
    ///
    /// `status` tells silence (408) from a way that is no more: the latter is known at once, and
    /// its asker still listens.
    pub(crate) fn passed_timed_out(
        &mut self,
        now: Timestamp,
        slot: u32,
        method: Method,
        client: u32,
        status: u16,
    ) {
        let Some(passing) = self.take_passing(slot, client) else {
            return;
        };
        self.referral_over(slot, passing, method);
        let Some(call) = self.calls.get(slot as usize).filter(|_| status != 408) else {
            return self.transactions.abandon(&mut self.io, passing.server);
        };
        let tag = call.leg(passing.from).dialog.local_tag;
        self.transactions
            .finish(&mut self.io, now, passing.server, status, &tag, |mut w| {
                w.empty_body();
            });
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

impl Leg {
    /// A provisional response with a tag founds an early dialog (§12.1.2): the first one is where
    /// requests for the callee go until it has answered.
    pub(crate) fn found_early(&mut self, response: &Message<'_>) {
        if self.dialog.remote_tag.is_empty() && response.to().is_ok_and(|to| to.tag().is_some()) {
            // Without a Contact there is no dialog yet, and nothing is sent in it.
            let _ = self.dialog.confirm(response);
        }
    }
}

impl Call {
    /// Whether a request can be sent inside the dialog on `side`: it is confirmed, or early with a
    /// tag on both ends (§12.1), and not ending.
    pub(super) fn takes_requests(&self, side: Side) -> bool {
        let leg = self.leg(side);
        self.phase != Phase::Over
            && match leg.state {
                LegState::Confirmed => true,
                LegState::Invited(_) => self.phase == Phase::Ringing,
                LegState::Inviting(_) => !leg.dialog.remote_tag.is_empty(),
                LegState::Ending | LegState::Ended => false,
            }
    }
}

/// A body that may not pass is refused rather than lost (§21.4.13).
pub(super) fn check_body(request: &Message<'_>) -> Result<(), Reply> {
    if request.body().is_empty() || passes(request.content_type().unwrap_or_default()) {
        Ok(())
    } else {
        Err(Reply::with(415, Extra::AcceptPassing))
    }
}

/// Whether a body of this type may be seen on the other side. A session description names addresses, and
/// only INVITE, UPDATE, PRACK and their answers negotiate one; whole SIP messages name everything; and what
/// is in the parts of a multipart body, or in one without a type, nobody here has read.
fn passes(media_type: &[u8]) -> bool {
    let kind = essence(media_type);
    let multipart = kind
        .get(..10)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"));
    let known = [&b"application/sdp"[..], b"message/sip", b"message/sipfrag"];
    !kind.is_empty() && !multipart && !known.iter().any(|name| kind.eq_ignore_ascii_case(name))
}

/// End a message with the body of another, and the fields that describe it, unless it must stay behind.
pub(super) fn write_body(w: &mut Writer<'_>, message: &Message<'_>) {
    let body = message.body();
    let media_type = message.content_type().unwrap_or_default();
    if body.is_empty() || !passes(media_type) {
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
