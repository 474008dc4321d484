//! Acknowledging (§13.2.2.4, §17.1.1.3): ACKs built from the responses that they answer, so that a
//! repeated response can be acknowledged when nothing but a tombstone is left.

use super::{
    Ack, Hop, Io, Key, Transactions,
    tombstone::{Linger, Tombstone},
};
use crate::{
    dialog::{Dialog, write_via},
    sip::{HeaderName, Message, Method, Writer, unfold},
    text::put,
    time::Timestamp,
    token::{Token, TokenText},
};

/// More requests than we send inside one early dialog.
const SURPLUS_CSEQ_STEP: u32 = 1000;

impl Transactions {
    /// A response to a request that is finished already.
    pub(super) fn receive_late(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        response: &Message<'_>,
        from: Hop,
        branch: Token,
        method: Method,
    ) {
        let text = self.tokens.encode(branch);
        let key = self.keys.client(&text);
        let status = response.status();
        match self.stones.get(key) {
            None => io.counters.stray_responses += 1,
            Some(_) if status < 200 || method != Method::Invite => {}
            Some(Tombstone::AckFailure(uri, route)) if status >= 300 => {
                let (uri, route) = (uri.clone(), route.clone());
                io.counters.retransmissions_received += 1;
                self.send_ack_failure(io, response, from, &uri, route.as_deref(), &text);
            }
            Some(Tombstone::AckSuccess { to_tag, ack }) if status < 300 => {
                let tag = self
                    .keys
                    .tag(response.to().ok().and_then(|to| to.tag()).unwrap_or_default());
                let (to_tag, ack) = (*to_tag, ack.clone());
                io.counters.retransmissions_received += 1;
                match ack {
                    _ if to_tag != 0 && to_tag != tag => {
                        self.end_surplus(io, now, response, from, &text, branch.nonce);
                    }
                    Ack::Awaited => {}
                    Ack::Rebuild => self.send_ack_success(io, response, from, branch.nonce),
                    Ack::Stored(bytes) => {
                        io.counters.retransmissions_sent += 1;
                        let hop = Dialog::from_success(response, text)
                            .map_or(from, |dialog| self.next_hop(&dialog, from));
                        io.transmit(hop, bytes);
                    }
                }
            }
            Some(_) => {}
        }
    }

    /// Tell how the 2xx under `key` is acknowledged from now on.
    pub(crate) fn acknowledged(&mut self, key: Key, to_tag: &[u8], how: Ack) {
        let hash = self.keys.tag(to_tag);
        if let Some(Tombstone::AckSuccess { to_tag, ack }) = self.stones.get_mut(key) {
            *to_tag = hash;
            *ack = how;
        }
    }

    /// A 2xx to a re-INVITE whose call has ended: acknowledge it, the BYE is on its way already.
    pub(super) fn acknowledge_orphan(
        &mut self,
        io: &mut Io,
        response: &Message<'_>,
        from: Hop,
        key: Key,
        nonce: u64,
    ) {
        self.send_ack_success(io, response, from, nonce);
        let tag = response
            .to()
            .ok()
            .and_then(|to| to.tag())
            .unwrap_or_default()
            .to_vec();
        self.acknowledged(key, &tag, Ack::Rebuild);
    }

    /// Send the ACK that a 2xx itself describes (§13.2.2.4).
    pub(crate) fn send_ack_success(
        &mut self,
        io: &mut Io,
        response: &Message<'_>,
        from: Hop,
        invite_nonce: u64,
    ) {
        let branch = self.ack_branch(invite_nonce);
        let Ok(dialog) = Dialog::from_success(response, branch) else {
            io.counters.sip_malformed += 1;
            return;
        };
        let hop = self.next_hop(&dialog, from);
        dialog
            .request(
                &mut io.scratch,
                "ACK",
                dialog.local_cseq,
                &branch,
                self.local(hop),
                70,
            )
            .empty_body();
        io.transmit_composed(hop);
    }

    /// A callee answered an INVITE that nobody waits for any more: acknowledge it and hang up, and so
    /// on any other that still does.
    pub(super) fn end_unwanted(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        response: &Message<'_>,
        from: Hop,
        key: Key,
        (branch, nonce): (&TokenText, u64),
    ) {
        // No tag is empty, so every one is surplus.
        self.acknowledged(key, b"", Ack::Rebuild);
        self.end_surplus(io, now, response, from, branch, nonce);
    }

    /// A second callee answered too: acknowledge it and hang up on it (§13.2.2.4).
    pub(super) fn end_surplus(
        &mut self,
        io: &mut Io,
        now: Timestamp,
        response: &Message<'_>,
        from: Hop,
        branch: &TokenText,
        nonce: u64,
    ) {
        let to_tag = response.to().ok().and_then(|to| to.tag()).unwrap_or_default();
        let surplus = self.keys.surplus(branch, to_tag);
        let fork_nonce = nonce ^ surplus as u64;
        self.send_ack_success(io, response, from, fork_nonce);
        if self.stones.get(surplus).is_some() {
            return;
        }
        self.stones.insert(now, surplus, Linger::Long, Tombstone::Absorb);
        let Ok(mut dialog) = Dialog::from_success(response, *branch) else {
            return;
        };
        let hop = self.next_hop(&dialog, from);
        // PRACKs to this fork have used numbers behind that of the INVITE.
        dialog.local_cseq += SURPLUS_CSEQ_STEP;
        let cseq = dialog.next_cseq();
        let bye = self.next_branch(fork_nonce);
        dialog
            .request(&mut io.scratch, "BYE", cseq, &bye, self.local(hop), 70)
            .empty_body();
        self.send(io, now, fork_nonce, hop, Method::Bye, None);
    }

    /// The ACK of a failure response belongs to the INVITE's transaction (§17.1.1.3).
    pub(super) fn send_ack_failure(
        &self,
        io: &mut Io,
        response: &Message<'_>,
        hop: Hop,
        uri: &[u8],
        route: Option<&[u8]>,
        branch: &TokenText,
    ) {
        io.scratch.clear();
        let local = self.local(hop);
        let mut w = Writer::new(&mut io.scratch).compact(local.compact);
        w.request_line("ACK", uri);
        write_via(&mut w, local, branch);
        w.header("Max-Forwards", b"70");
        if let Some(route) = route {
            w.header("Route", route);
        }
        for (name, header) in [
            ("From", HeaderName::From),
            ("To", HeaderName::To),
            ("Call-ID", HeaderName::CallId),
        ] {
            w.header(name, unfold(response.header(header).unwrap_or_default()));
        }
        let cseq = response.cseq().map_or(1, |cseq| cseq.number);
        w.header_with("CSeq", |out| put!(out, cseq, " ACK"));
        w.empty_body();
        io.transmit_composed(hop);
    }
}
