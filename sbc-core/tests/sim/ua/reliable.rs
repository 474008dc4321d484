//! A peer with reliable provisional responses (RFC 3262) and UPDATE (RFC 3311).

use super::{ClientState, Effect, Final, Ua, What};
use crate::{
    message::{Msg, uri},
    plan::T1,
    wire::{Request, response},
};
use std::collections::VecDeque;

/// What a callee has sent reliably, and what a caller has acknowledged.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    rseq: u32,
    waiting: Option<Waiting>,
    /// Provisional responses of the plan that wait for the PRACK of the one before.
    queue: VecDeque<usize>,
    /// The final response waits for a PRACK, too.
    pub(super) final_waits: bool,
    /// Offer and answer went by a provisional response and its PRACK.
    pub(super) offer_answered: bool,
    /// The caller's side: To tag and the last RSeq acknowledged.
    acknowledged: Vec<(String, u32)>,
}

#[derive(Debug)]
struct Waiting {
    rseq: u32,
    tag: String,
    bytes: Vec<u8>,
    since: u64,
    interval: u64,
    with_sdp: bool,
}

fn mentions(msg: &Msg, name: &str, word: &str) -> bool {
    msg.all(name).any(|v| v.split(',').any(|w| w.trim() == word))
}

impl Ua {
    /// The SBC takes reliable provisional responses for this INVITE.
    fn may_be_reliable(&self, leg: usize) -> bool {
        let l = &self.legs[leg];
        let invite = &l.servers[0].request;
        l.party().reliable
            && (mentions(invite, "Supported", "100rel") || mentions(invite, "Require", "100rel"))
    }

    /// Send provisional response `n` of the plan reliably; `false`: it is sent the plain way.
    pub(super) fn provisional_reliable(&mut self, now: u64, leg: usize, n: usize, fork: &str) -> bool {
        let (_, status, with_sdp) = self.legs[leg].plan.provisionals[n];
        if status == 100 || !self.may_be_reliable(leg) {
            return false;
        }
        if self.legs[leg].reliable.waiting.is_some() {
            self.legs[leg].reliable.queue.push_back(n);
            return true;
        }
        // One offer and one answer: an SDP that was agreed on is not sent again.
        let with_sdp = with_sdp && !self.legs[leg].reliable.offer_answered && fork.is_empty();
        let body = with_sdp.then(|| self.sdp(leg, None));
        let tag = self.tag(leg, fork);
        let l = &mut self.legs[leg];
        l.reliable.rseq += 1;
        let rseq = l.reliable.rseq;
        let extra = format!(
            "Require: 100rel\r\nRSeq: {rseq}\r\n{}",
            super::allow(l.plan.callee.updates)
        );
        let bytes = response(
            self.side,
            self.transport,
            &l.servers[0].request,
            status,
            &tag,
            body,
            &extra,
        );
        l.servers[0].provisional = Some(bytes.clone());
        l.reliable.waiting = Some(Waiting {
            rseq,
            tag,
            bytes: bytes.clone(),
            since: now,
            interval: T1,
            with_sdp,
        });
        self.effects.push(Effect::Send(bytes));
        self.after(T1, leg, What::Reliable(rseq));
        true
    }

    /// §3: doubling without a cap, until acknowledged.
    pub(super) fn reliable_tick(&mut self, now: u64, leg: usize, rseq: u32) {
        if self.legs[leg].servers[0].status != 0 {
            return;
        }
        let Some(waiting) = self.legs[leg]
            .reliable
            .waiting
            .as_mut()
            .filter(|w| w.rseq == rseq)
        else {
            return;
        };
        if now >= waiting.since + 64 * T1 {
            if !self.hostile {
                self.violation(
                    leg,
                    format!("the reliable response {rseq} was never acknowledged"),
                );
            }
            return;
        }
        waiting.interval *= 2;
        let (wait, bytes) = (waiting.interval, waiting.bytes.clone());
        self.effects.push(Effect::Send(bytes));
        self.after(wait, leg, What::Reliable(rseq));
    }

    /// The final response must wait (§3: an unacknowledged response with a session description).
    pub(super) fn final_must_wait(&mut self, leg: usize) -> bool {
        let reliable = &mut self.legs[leg].reliable;
        let waits = reliable.waiting.as_ref().is_some_and(|w| w.with_sdp);
        reliable.final_waits |= waits;
        waits
    }

    /// A PRACK for what we sent reliably.
    pub(super) fn pracked(&mut self, now: u64, leg: usize, msg: Msg) {
        let rack = msg.get("RAck").unwrap_or("").to_owned();
        let invite_cseq = self.legs[leg].servers[0].request.cseq();
        let matching = self.legs[leg]
            .reliable
            .waiting
            .take_if(|w| rack == format!("{} {invite_cseq} INVITE", w.rseq) && w.tag == msg.tag_of_to());
        let late_offer = self.legs[leg].servers[0].request.body.is_empty();
        let body = !msg.body.is_empty();
        let server = self.add_server(leg, msg.clone(), None);
        let Some(acknowledged) = matching else {
            if !self.hostile {
                self.violation(leg, format!("a PRACK for nothing: RAck {rack:?}"));
            }
            return self.reply(now, leg, server, 481);
        };
        if acknowledged.with_sdp {
            self.legs[leg].reliable.offer_answered = true;
            if late_offer && !body && !self.hostile && self.legs[leg].servers[0].status == 0 {
                self.violation(leg, "a PRACK of an offer without its answer".to_owned());
            }
            if body {
                self.learn_media(leg, &msg);
            }
        }
        self.reply(now, leg, server, 200);
        if self.legs[leg].servers[0].status != 0 {
            return;
        }
        if let Some(n) = self.legs[leg].reliable.queue.pop_front() {
            self.provisional(now, leg, n);
        }
        if std::mem::take(&mut self.legs[leg].reliable.final_waits) {
            self.finish_invite(now, leg);
        }
    }

    /// As a caller: acknowledge a reliable provisional response.
    pub(super) fn acknowledge_reliable(&mut self, now: u64, leg: usize, msg: &Msg) {
        let rseq = msg.get("RSeq").and_then(|v| v.parse::<u32>().ok());
        let (true, Some(rseq)) = (mentions(msg, "Require", "100rel"), rseq) else {
            return;
        };
        let tag = msg.tag_of_to().to_owned();
        if !self.legs[leg].plan.caller.reliable && !self.hostile {
            return self.violation(leg, "a reliable response that nobody asked for".to_owned());
        }
        let l = &mut self.legs[leg];
        let last = l.reliable.acknowledged.iter_mut().find(|(t, _)| *t == tag);
        match last {
            Some((_, last)) if rseq <= *last => return,
            Some((_, last)) if rseq > *last + 1 => return,
            Some((_, last)) => *last = rseq,
            None => l.reliable.acknowledged.push((tag, rseq)),
        }
        l.cseq += 1;
        let cseq = l.cseq;
        let invite_cseq = msg.cseq();
        let answer = (l.plan.late_offer && !msg.body.is_empty() && !l.reliable.offer_answered)
            .then(|| self.sdp(leg, None));
        let branch = self.branch();
        let l = &mut self.legs[leg];
        l.reliable.offer_answered |= answer.is_some();
        let bytes = Request {
            side: self.side,
            method: "PRACK",
            uri: uri(msg.get("Contact").unwrap_or("")),
            branch: &branch,
            from: &l.local,
            to: msg.get("To").unwrap_or(""),
            call_id: &l.call_id,
            cseq,
            sdp: answer,
            terse: l.party().terse,
            transport: self.transport,
            extra: format!("RAck: {rseq} {invite_cseq} INVITE\r\n"),
        }
        .write();
        self.add_client(now, leg, "PRACK", branch, cseq, None, bytes);
    }

    /// An UPDATE inside a confirmed dialog.
    pub(super) fn updated(&mut self, now: u64, leg: usize, server: usize) {
        if !self.legs[leg].party().updates && !self.hostile {
            self.violation(leg, "an UPDATE to a peer that does not allow it".to_owned());
        }
        let l = &self.legs[leg];
        let request = l.servers[server].request.clone();
        if request.body.is_empty() {
            return self.reply(now, leg, server, 200);
        }
        let offering = |m: &str| m == "INVITE" || m == "UPDATE";
        let ours = l
            .clients
            .iter()
            .any(|c| offering(c.method) && c.state != ClientState::Done);
        let theirs = l.servers[..server].iter().any(|s| s.is_invite() && s.status == 0);
        if ours || theirs {
            return self.reply(now, leg, server, if ours { 491 } else { 500 });
        }
        if l.party().reinvite_status >= 300 {
            let status = l.party().reinvite_status;
            return self.reply(now, leg, server, status);
        }
        let body = self.sdp(leg, None);
        let bytes = response(self.side, self.transport, &request, 200, "", Some(body), "");
        self.learn_media(leg, &request);
        self.legs[leg].servers[server].status = 200;
        self.legs[leg].servers[server].finals.push(Final {
            tag: String::new(),
            bytes: bytes.clone(),
            acked: true,
        });
        self.effects.push(Effect::Send(bytes));
    }
}
