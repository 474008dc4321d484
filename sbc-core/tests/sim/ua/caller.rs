//! A peer as caller: INVITE, CANCEL, the two kinds of ACK.

use super::{ClientState, Dialog, Effect, Ua, What};
use crate::{
    message::{Msg, uri},
    plan::MS,
    wire::Request,
};

impl Ua {
    /// A message outside of any call (RFC 3428).
    pub(super) fn message(&mut self, now: u64, leg: usize) {
        let uri = uri(&self.legs[leg].remote).to_owned();
        self.legs[leg].cseq += 1;
        self.send_request(now, leg, "MESSAGE", &uri, None, None);
    }

    pub(super) fn invite(&mut self, now: u64, leg: usize) {
        let plan = self.legs[leg].plan.clone();
        let uri = uri(&self.legs[leg].remote).to_owned();
        let sdp = (!plan.late_offer).then(|| self.sdp(leg, None));
        self.legs[leg].cseq += 1;
        self.send_request(now, leg, "INVITE", &uri, None, sdp.clone());
        if plan.merged {
            self.send_request(now, leg, "INVITE", &uri, None, sdp);
        }
        if let Some(cancel) = plan.cancel {
            self.after(cancel * MS, leg, What::Cancel);
        }
        if let Some(dies) = plan.caller.dies {
            self.after(dies * MS, leg, What::Die);
        }
    }

    pub(super) fn cancel(&mut self, now: u64, leg: usize) {
        self.legs[leg].wants_cancel = true;
        for n in 0..self.legs[leg].clients.len() {
            let client = &mut self.legs[leg].clients[n];
            let first = client.method == "INVITE" && client.dialog.is_none();
            // §9.1: never before a provisional response.
            if first && client.state == ClientState::Proceeding && !client.cancelled {
                client.cancelled = true;
                let (branch, cseq) = (client.branch.clone(), client.cseq);
                let l = &self.legs[leg];
                let bytes = Request {
                    side: self.side,
                    method: "CANCEL",
                    uri: uri(&l.remote),
                    branch: &branch,
                    from: &l.local,
                    to: &l.remote,
                    call_id: &l.call_id,
                    cseq,
                    sdp: None,
                    terse: l.party().terse,
                    transport: self.transport,
                    extra: String::new(),
                }
                .write();
                self.add_client(now, leg, "CANCEL", branch, cseq, None, bytes);
            }
        }
    }

    pub(super) fn response(&mut self, now: u64, leg: usize, msg: &Msg, status: u16) {
        let method = msg.method();
        let found = self.legs[leg]
            .clients
            .iter()
            .position(|c| c.branch == msg.branch() && c.method == method);
        let Some(n) = found else { return };
        if status < 200 {
            let client = &mut self.legs[leg].clients[n];
            if client.state == ClientState::Calling {
                client.state = ClientState::Proceeding;
            }
            self.learn_media(leg, msg);
            if method == "INVITE" {
                self.acknowledge_reliable(now, leg, msg);
            }
            if method == "INVITE" && self.legs[leg].wants_cancel {
                self.cancel(now, leg);
            }
            return;
        }
        let fresh = self.legs[leg].clients[n].state != ClientState::Done;
        self.legs[leg].clients[n].state = ClientState::Done;
        self.legs[leg].clients[n].status = status;
        match (method, self.legs[leg].clients[n].dialog) {
            ("INVITE", _) if status >= 300 => self.ack_failure(leg, n, msg),
            ("INVITE", dialog) => self.ack_success(now, leg, n, dialog, msg, fresh),
            ("UPDATE", _) if status < 300 => self.learn_media(leg, msg),
            ("BYE", Some(dialog)) => self.legs[leg].dialogs[dialog].ended = true,
            _ => {}
        }
    }

    /// §17.1.1.3: same branch, same Request-URI, To with its tag.
    pub(super) fn ack_failure(&mut self, leg: usize, n: usize, msg: &Msg) {
        let (client, l) = (&self.legs[leg].clients[n], &self.legs[leg]);
        let start = String::from_utf8_lossy(&client.bytes);
        let ack = Request {
            side: self.side,
            method: "ACK",
            uri: start.split(' ').nth(1).unwrap_or(""),
            branch: &client.branch,
            from: msg.get("From").unwrap_or(""),
            to: msg.get("To").unwrap_or(""),
            call_id: &l.call_id,
            cseq: client.cseq,
            sdp: None,
            terse: false,
            transport: self.transport,
            extra: String::new(),
        }
        .write();
        self.effects.push(Effect::Send(ack));
    }

    /// §13.2.2.4: one ACK per 2xx, repeated with it; a new branch.
    pub(super) fn ack_success(
        &mut self,
        now: u64,
        leg: usize,
        n: usize,
        dialog: Option<usize>,
        msg: &Msg,
        fresh: bool,
    ) {
        if self.legs[leg].plan.no_ack && dialog.is_none() {
            self.legs[leg].dead = true;
            return;
        }
        let tag = msg.tag_of_to();
        if let Some((_, ack)) = self.legs[leg].clients[n].acks.iter().find(|(t, _)| t == tag) {
            self.effects.push(Effect::Send(ack.clone()));
            return;
        }
        self.learn_media(leg, msg);
        let target = uri(msg.get("Contact").unwrap_or("")).to_owned();
        if target.is_empty() {
            self.violation(leg, "a 2xx to INVITE without Contact".to_owned());
        }
        let dialog = dialog.unwrap_or_else(|| {
            let l = &mut self.legs[leg];
            l.dialogs.push(Dialog {
                local: msg.get("From").unwrap_or("").to_owned(),
                local_tag: msg.tag_of_from().to_owned(),
                remote: msg.get("To").unwrap_or("").to_owned(),
                remote_tag: tag.to_owned(),
                target: String::new(),
                remote_cseq: 0,
                confirmed: true,
                ended: false,
                bye_sent: false,
            });
            l.dialogs.len() - 1
        });
        self.legs[leg].dialogs[dialog].target = target;
        let cseq = self.legs[leg].clients[n].cseq;
        let late = self.legs[leg].clients[n].bytes.ends_with(b"\r\n\r\n");
        let late =
            late && !(self.legs[leg].reliable.offer_answered && self.legs[leg].clients[n].dialog.is_none());
        let answer = late.then(|| self.sdp(leg, None));
        let ack = self.compose(leg, "ACK", dialog, cseq, answer);
        self.legs[leg].clients[n].acks.push((tag.to_owned(), ack.clone()));
        self.effects.push(Effect::Send(ack));
        if self.legs[leg].clients[n].dialog.is_some() {
            return;
        }
        if !fresh {
            self.violation(leg, "the caller was given two answers".to_owned());
        }
        self.answered += 1;
        if self.legs[leg].wants_cancel {
            // The CANCEL crossed the answer.
            self.hang_up(now, leg);
        } else {
            self.schedule_acts(leg);
        }
    }
}
