//! A peer as callee: ringing, answering, refusing, and every request inside a call.

use super::{ClientState, Dialog, Effect, Final, Server, Ua, What};
use crate::{
    message::{Msg, uri, user},
    plan::{MS, Outcome, T1},
    wire::{call_of, callee_number, caller_number, response},
};

impl Ua {
    pub(super) fn first_request(&mut self, now: u64, msg: Msg) {
        match msg.method() {
            "ACK" => {}
            "INVITE" if msg.tag_of_to().is_empty() => self.incoming(now, msg),
            "MESSAGE" if msg.tag_of_to().is_empty() => {
                let bytes = response(self.side, self.transport, &msg, 200, "pager", None, "");
                self.effects.push(Effect::Send(bytes));
            }
            _ => {
                let bytes = response(self.side, self.transport, &msg, 481, "stateless", None, "");
                self.effects.push(Effect::Send(bytes));
            }
        }
    }

    pub(super) fn incoming(&mut self, now: u64, msg: Msg) {
        let number = call_of(user(msg.request_uri()));
        let plan = number.and_then(|n| self.plans.get(n as usize)).cloned();
        let known = plan.is_some();
        let plan = plan.unwrap_or_else(|| self.plans[0].clone());
        if !self.hostile {
            self.check_invite(&msg, known.then_some(plan.number));
        }
        let remote = msg.get("From").unwrap_or("").to_owned();
        let local = msg.get("To").unwrap_or("").to_owned();
        let serial = self.next_serial();
        let leg = self.add_leg(
            plan.clone(),
            false,
            msg.call_id().to_owned(),
            local,
            remote,
            10 + serial % 500,
        );
        self.learn_media(leg, &msg);
        self.add_server(leg, msg, None);
        if !known {
            self.fail_invite(now, leg, 0, 404);
            return;
        }
        if let Some(dies) = plan.callee.dies {
            self.after(dies * MS, leg, What::Die);
        }
        if plan.outcome == Outcome::Silent {
            self.legs[leg].dead = true;
            return;
        }
        for (n, (at, ..)) in plan.provisionals.iter().enumerate() {
            self.after(at * MS, leg, What::Provisional(n));
        }
        if plan.outcome != Outcome::Ring {
            self.after(plan.outcome_after * MS, leg, What::Final);
        }
    }

    /// The INVITE that the SBC made is what the caller meant, and shows one hop more.
    pub(super) fn check_invite(&mut self, msg: &Msg, number: Option<u32>) {
        let Some(number) = number else {
            self.violations
                .push((u32::MAX, format!("INVITE for an unknown number: {}", msg.start)));
            return;
        };
        let from = msg.get("From").map(uri).map(user).unwrap_or("").to_owned();
        let to = msg.get("To").map(uri).map(user).unwrap_or("").to_owned();
        let mut expect = |what: &str, got: &str, wanted: &str| {
            if got != wanted {
                self.violations
                    .push((number, format!("{what} of the B leg is {got:?}, not {wanted:?}")));
            }
        };
        expect("From user", &from, &caller_number(number));
        expect("To user", &to, &callee_number(number));
        expect("Max-Forwards", msg.get("Max-Forwards").unwrap_or(""), "69");
        expect("number of Via", &msg.all("Via").count().to_string(), "1");
    }

    pub(super) fn provisional(&mut self, now: u64, leg: usize, n: usize) {
        if self.legs[leg].servers[0].status != 0 {
            return;
        }
        let fork = if self.legs[leg].plan.fork_early && n % 2 == 1 {
            "fork"
        } else {
            ""
        };
        if self.provisional_reliable(now, leg, n, fork) {
            return;
        }
        let (_, status, with_sdp) = self.legs[leg].plan.provisionals[n];
        let sdp = (with_sdp && status != 100).then(|| self.sdp(leg, None));
        let tag = if status == 100 {
            String::new()
        } else {
            self.tag(leg, fork)
        };
        let bytes = response(
            self.side,
            self.transport,
            &self.legs[leg].servers[0].request,
            status,
            &tag,
            sdp,
            &super::allow(self.legs[leg].plan.callee.updates),
        );
        self.legs[leg].servers[0].provisional = Some(bytes.clone());
        self.effects.push(Effect::Send(bytes));
    }

    pub(super) fn finish_invite(&mut self, now: u64, leg: usize) {
        if self.legs[leg].servers[0].status != 0 || self.final_must_wait(leg) {
            return;
        }
        match self.legs[leg].plan.outcome {
            Outcome::Answer => self.answer(now, leg, 0, ""),
            Outcome::AnswerForked => {
                self.answer(now, leg, 0, "");
                let later = self.legs[leg].plan.outcome_after % 700;
                self.after(later * MS, leg, What::ForkFinal);
            }
            Outcome::Fail(status) => self.fail_invite(now, leg, 0, status),
            Outcome::Ring | Outcome::Silent => {}
        }
    }

    pub(super) fn answer(&mut self, now: u64, leg: usize, server: usize, fork: &str) {
        let tag = self.tag(leg, fork);
        // What was agreed on by a reliable response is not said again.
        let body = (!self.legs[leg].reliable.offer_answered).then(|| self.sdp(leg, None));
        let l = &mut self.legs[leg];
        let request = &l.servers[server].request;
        let extra = super::allow(l.plan.callee.updates);
        let bytes = response(self.side, self.transport, request, 200, &tag, body, &extra);
        l.dialogs.push(Dialog {
            local: format!("{};tag={tag}", l.local),
            local_tag: tag.clone(),
            remote: l.remote.clone(),
            remote_tag: request.tag_of_from().to_owned(),
            target: uri(request.get("Contact").unwrap_or("")).to_owned(),
            remote_cseq: request.cseq(),
            confirmed: false,
            ended: false,
            bye_sent: false,
        });
        self.finish(now, leg, server, 200, tag, bytes);
    }

    pub(super) fn fail_invite(&mut self, now: u64, leg: usize, server: usize, status: u16) {
        let tag = self.tag(leg, "");
        let bytes = response(
            self.side,
            self.transport,
            &self.legs[leg].servers[server].request,
            status,
            &tag,
            None,
            "",
        );
        let tag = Msg::parse(&bytes).map_or(String::new(), |m| m.tag_of_to().to_owned());
        self.finish(now, leg, server, status, tag, bytes);
    }

    /// Send a final response to an INVITE and repeat it until its ACK.
    pub(super) fn finish(
        &mut self,
        now: u64,
        leg: usize,
        server: usize,
        status: u16,
        tag: String,
        bytes: Vec<u8>,
    ) {
        let s = &mut self.legs[leg].servers[server];
        s.status = status;
        s.answered_at = now;
        s.interval = T1;
        s.finals.push(Final {
            tag,
            bytes: bytes.clone(),
            acked: false,
        });
        self.effects.push(Effect::Send(bytes));
        self.after(T1, leg, What::Server(server));
    }

    pub(super) fn request(&mut self, now: u64, leg: usize, msg: Msg) {
        let method = msg.method().to_owned();
        if method == "ACK" {
            return self.acked(now, leg, &msg);
        }
        let same = |s: &Server| s.branch == msg.branch() && s.request.method() == method;
        if let Some(server) = self.legs[leg].servers.iter().find(|s| same(s)) {
            // A retransmission: say again what was said last.
            let again: Vec<Vec<u8>> = match server.finals.is_empty() {
                true => server.provisional.iter().cloned().collect(),
                false if server.is_invite() => server
                    .finals
                    .iter()
                    .filter(|f| !f.acked)
                    .map(|f| f.bytes.clone())
                    .collect(),
                false => server.finals.iter().map(|f| f.bytes.clone()).collect(),
            };
            self.effects.extend(again.into_iter().map(Effect::Send));
            return;
        }
        if method == "CANCEL" {
            return self.cancelled(now, leg, msg);
        }
        if method == "PRACK" && !self.legs[leg].caller {
            return self.pracked(now, leg, msg);
        }
        if msg.tag_of_to().is_empty() {
            self.violation(
                leg,
                format!("a second {method} outside of a dialog with the same Call-ID"),
            );
            return;
        }
        let dialog = self.legs[leg]
            .dialogs
            .iter()
            .position(|d| d.local_tag == msg.tag_of_to() && d.remote_tag == msg.tag_of_from());
        let server = self.add_server(leg, msg, dialog);
        // §15.1.1: for who has sent BYE the session is over, whether that arrives or not.
        let open = |d: &Dialog| !d.ended && (method == "BYE" || !d.bye_sent);
        let Some(dialog) = dialog.filter(|&d| open(&self.legs[leg].dialogs[d])) else {
            return self.reply(now, leg, server, 481);
        };
        let cseq = self.legs[leg].servers[server].request.cseq();
        let d = &mut self.legs[leg].dialogs[dialog];
        if cseq <= d.remote_cseq {
            return self.reply(now, leg, server, 500);
        }
        d.remote_cseq = cseq;
        match method.as_str() {
            "UPDATE" => self.updated(now, leg, server),
            "BYE" => self.bye(now, leg, dialog, server),
            "INVITE" => self.reinvited(now, leg, server),
            "OPTIONS" | "INFO" | "MESSAGE" | "NOTIFY" => {
                if cseq.is_multiple_of(3) {
                    // A peer may say that it is trying (§17.2.2).
                    let request = self.legs[leg].servers[server].request.clone();
                    let bytes = response(self.side, self.transport, &request, 100, "", None, "");
                    self.effects.push(Effect::Send(bytes));
                }
                self.reply(now, leg, server, 200)
            }
            "REFER" => {
                self.reply(now, leg, server, if cseq.is_multiple_of(2) { 202 } else { 603 });
                if cseq.is_multiple_of(2) {
                    // RFC 3515 §2.4.4: the outcome, and the end of the subscription.
                    self.in_dialog(now, leg, "NOTIFY");
                }
            }
            _ => self.reply(now, leg, server, 405),
        }
    }

    pub(super) fn reply(&mut self, now: u64, leg: usize, server: usize, status: u16) {
        if self.legs[leg].servers[server].is_invite() {
            return self.fail_invite(now, leg, server, status);
        }
        let bytes = response(
            self.side,
            self.transport,
            &self.legs[leg].servers[server].request,
            status,
            "",
            None,
            "",
        );
        self.legs[leg].servers[server].status = status;
        self.legs[leg].servers[server].finals.push(Final {
            tag: String::new(),
            bytes: bytes.clone(),
            acked: true,
        });
        self.effects.push(Effect::Send(bytes));
    }

    pub(super) fn cancelled(&mut self, now: u64, leg: usize, msg: Msg) {
        let invite = self.legs[leg]
            .servers
            .iter()
            .position(|s| s.is_invite() && s.branch == msg.branch());
        let ringing = invite.is_some_and(|n| {
            let s = &self.legs[leg].servers[n];
            s.provisional.is_some() || s.status != 0
        });
        if !ringing && !self.hostile {
            // §9.1: whoever has heard nothing can not know whether there is anything to cancel.
            self.violation(leg, "a CANCEL before any response to the INVITE".to_owned());
        }
        let server = self.add_server(leg, msg, None);
        let Some(invite) = invite else {
            return self.reply(now, leg, server, 481);
        };
        self.reply(now, leg, server, 200);
        if self.legs[leg].servers[invite].status == 0 {
            self.fail_invite(now, leg, invite, 487);
        }
    }

    pub(super) fn acked(&mut self, now: u64, leg: usize, msg: &Msg) {
        let l = &mut self.legs[leg];
        let by_branch = l
            .servers
            .iter()
            .position(|s| s.is_invite() && s.branch == msg.branch());
        let server = by_branch.or_else(|| {
            l.servers.iter().position(|s| {
                s.is_invite()
                    && s.request.cseq() == msg.cseq()
                    && s.finals.iter().any(|f| f.tag == msg.tag_of_to())
            })
        });
        let Some(server) = server else { return };
        let s = &mut l.servers[server];
        let success = (200..300).contains(&s.status);
        if success == by_branch.is_some() {
            let why = if success {
                "has the INVITE's branch"
            } else {
                "is outside of the INVITE's transaction"
            };
            let why = format!("the ACK to a {} {why}", s.status);
            return self.violation(leg, why);
        }
        let Some(last) = s.finals.iter_mut().find(|f| f.tag == msg.tag_of_to()) else {
            return self.violation(
                leg,
                format!("an ACK with an unknown To tag {:?}", msg.tag_of_to()),
            );
        };
        let first = !std::mem::replace(&mut last.acked, true);
        let first_invite = s.dialog.is_none();
        if !first || !success {
            return;
        }
        self.learn_media(leg, msg);
        if !first_invite {
            return;
        }
        if let Some(d) = self.legs[leg]
            .dialogs
            .iter_mut()
            .find(|d| d.local_tag == msg.tag_of_to())
        {
            d.confirmed = true;
        }
        if self.legs[leg].hung_up {
            self.hang_up(now, leg);
        } else {
            self.schedule_acts(leg);
        }
    }

    pub(super) fn bye(&mut self, now: u64, leg: usize, dialog: usize, server: usize) {
        self.reply(now, leg, server, 200);
        self.legs[leg].dialogs[dialog].ended = true;
        let tag = self.legs[leg].dialogs[dialog].local_tag.clone();
        for n in 0..self.legs[leg].servers.len() {
            let s = &mut self.legs[leg].servers[n];
            if !s.is_invite() {
                continue;
            }
            // The BYE may overtake the ACK, which is then of no use.
            let success = (200..300).contains(&s.status);
            s.finals
                .iter_mut()
                .filter(|f| success && f.tag == tag)
                .for_each(|f| f.acked = true);
            if s.status == 0 && s.dialog == Some(dialog) {
                self.fail_invite(now, leg, n, 487);
            }
        }
    }

    pub(super) fn reinvited(&mut self, now: u64, leg: usize, server: usize) {
        let l = &self.legs[leg];
        let ours = l
            .clients
            .iter()
            .any(|c| c.method == "INVITE" && c.state != ClientState::Done);
        let theirs = l.servers[..server].iter().any(|s| s.is_invite() && s.status == 0);
        if ours || theirs {
            // §14.2: glare, or one on top of another.
            return self.fail_invite(now, leg, server, if ours { 491 } else { 500 });
        }
        match l.party().reinvite_after {
            0 => self.answer_reinvite(now, leg, server),
            wait => {
                let bytes = response(
                    self.side,
                    self.transport,
                    &l.servers[server].request,
                    100,
                    "",
                    None,
                    "",
                );
                self.legs[leg].servers[server].provisional = Some(bytes.clone());
                self.effects.push(Effect::Send(bytes));
                self.after(wait * MS, leg, What::AnswerReinvite(server));
            }
        }
    }

    pub(super) fn answer_reinvite(&mut self, now: u64, leg: usize, server: usize) {
        if self.legs[leg].servers[server].status != 0 {
            return;
        }
        let status = self.legs[leg].party().reinvite_status;
        if status >= 300 {
            return self.fail_invite(now, leg, server, status);
        }
        let body = self.sdp(leg, None);
        let l = &self.legs[leg];
        let bytes = response(
            self.side,
            self.transport,
            &l.servers[server].request,
            200,
            "",
            Some(body),
            "",
        );
        let tag = l.servers[server].request.tag_of_to().to_owned();
        let request = l.servers[server].request.clone();
        self.learn_media(leg, &request);
        self.finish(now, leg, server, 200, tag, bytes);
    }
}
