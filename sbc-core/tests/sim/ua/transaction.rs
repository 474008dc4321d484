//! The peers' own transactions: timers A, B, E, F, G and H, and nothing of the SBC's code.

use super::{Client, ClientState, Effect, Server, Ua, What};
use crate::{
    message::Msg,
    plan::{T1, T2},
    wire::Request,
};

impl Ua {
    pub(super) fn client_tick(&mut self, now: u64, leg: usize, n: usize) {
        // Who has hung up does not go on asking for a change of the session.
        if self.legs[leg].overtaken(&self.legs[leg].clients[n]) {
            return;
        }
        let invite = self.legs[leg].clients[n].method == "INVITE";
        let client = &mut self.legs[leg].clients[n];
        if client.state == ClientState::Done || invite && client.state == ClientState::Proceeding {
            return;
        }
        if now >= client.started + 64 * T1 {
            client.state = ClientState::Done;
            let (method, cseq) = (client.method, client.cseq);
            // It passes through, and when the other side is silent nobody answers (RFC 4320 §4.2).
            if matches!(method, "INFO" | "MESSAGE" | "REFER" | "NOTIFY") {
                return;
            }
            return self.violation(
                leg,
                format!("{method} (CSeq {cseq}) got no final response in 64*T1"),
            );
        }
        client.interval = match (invite, client.state) {
            (true, _) => client.interval * 2,
            (false, ClientState::Proceeding) => T2,
            (false, _) => (client.interval * 2).min(T2),
        };
        let left = client.started + 64 * T1 - now;
        let (wait, bytes) = (client.interval.min(left), client.bytes.clone());
        // §17.1: nothing is repeated on a stream.
        if !self.transport.is_reliable() {
            self.effects.push(Effect::Send(bytes));
        }
        self.after(wait, leg, What::Client(n));
    }

    pub(super) fn server_tick(&mut self, now: u64, leg: usize, n: usize) {
        let server = &mut self.legs[leg].servers[n];
        if server.finals.iter().all(|f| f.acked) {
            return;
        }
        if now >= server.answered_at + 64 * T1 {
            let status = server.status;
            return self.violation(leg, format!("a {status} to INVITE got no ACK in 64*T1"));
        }
        server.interval = (server.interval * 2).min(T2);
        let wait = server.interval;
        let again: Vec<_> = server
            .finals
            .iter()
            .filter(|f| !f.acked)
            .map(|f| Effect::Send(f.bytes.clone()))
            .collect();
        // §13.3.1.4: a 2xx is repeated on streams, too.
        if !self.transport.is_reliable() || server.status < 300 {
            self.effects.extend(again);
        }
        self.after(wait, leg, What::Server(n));
    }

    pub(super) fn send_in_dialog(
        &mut self,
        now: u64,
        leg: usize,
        method: &'static str,
        dialog: usize,
        sdp: Option<String>,
    ) {
        let target = self.legs[leg].dialogs[dialog].target.clone();
        self.legs[leg].cseq += 1;
        self.send_request(now, leg, method, &target, Some(dialog), sdp);
    }

    pub(super) fn send_request(
        &mut self,
        now: u64,
        leg: usize,
        method: &'static str,
        uri: &str,
        dialog: Option<usize>,
        sdp: Option<String>,
    ) {
        let branch = self.branch();
        let l = &self.legs[leg];
        let (from, to) = match dialog {
            Some(d) => (&l.dialogs[d].local, &l.dialogs[d].remote),
            None => (&l.local, &l.remote),
        };
        let cseq = l.cseq;
        let terse = l.party().terse;
        // Every INVITE says what its sender can do, and a REFER where to go.
        let mut extra = String::new();
        if method == "INVITE" {
            extra.push_str(&super::allow(l.party().updates));
            if l.party().reliable {
                extra.push_str("Supported: 100rel\r\n");
            }
            if let Some(expires) = l.party().timer {
                extra.push_str(&format!(
                    "Supported: timer\r\nSession-Expires: {expires}\r\nMin-SE: 2\r\n"
                ));
            }
        }
        match method {
            "REFER" => extra.push_str(&format!(
                "Refer-To: <sip:{}@{}>\r\nReferred-By: <sip:{}@h{m}.example;x={m}>\r\n",
                crate::wire::callee_number(l.plan.number),
                self.sbc,
                crate::wire::caller_number(l.plan.number),
                m = self.side.marker()
            )),
            "NOTIFY" => {
                extra.push_str("Event: refer\r\nSubscription-State: terminated;reason=noresource\r\n")
            }
            _ => {}
        }
        let bytes = Request {
            side: self.side,
            method,
            uri,
            branch: &branch,
            from,
            to,
            call_id: &l.call_id,
            cseq,
            sdp,
            terse,
            transport: self.transport,
            extra,
        }
        .write();
        self.add_client(now, leg, method, branch, cseq, dialog, bytes);
    }

    /// A request inside a dialog with a branch of its own, not yet sent: the ACK to a 2xx.
    pub(super) fn compose(
        &mut self,
        leg: usize,
        method: &'static str,
        dialog: usize,
        cseq: u32,
        sdp: Option<String>,
    ) -> Vec<u8> {
        let branch = self.branch();
        let l = &self.legs[leg];
        let d = &l.dialogs[dialog];
        let terse = l.party().terse;
        Request {
            side: self.side,
            method,
            uri: &d.target,
            branch: &branch,
            from: &d.local,
            to: &d.remote,
            call_id: &l.call_id,
            cseq,
            sdp,
            terse,
            transport: self.transport,
            extra: String::new(),
        }
        .write()
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the fields of a transaction, written once"
    )]
    pub(super) fn add_client(
        &mut self,
        now: u64,
        leg: usize,
        method: &'static str,
        branch: String,
        cseq: u32,
        dialog: Option<usize>,
        bytes: Vec<u8>,
    ) {
        let client = Client {
            branch,
            method,
            cseq,
            dialog,
            bytes: bytes.clone(),
            state: ClientState::Calling,
            started: now,
            interval: T1,
            status: 0,
            acks: Vec::new(),
            cancelled: false,
        };
        self.legs[leg].clients.push(client);
        self.effects.push(Effect::Send(bytes));
        let n = self.legs[leg].clients.len() - 1;
        self.after(T1, leg, What::Client(n));
    }

    pub(super) fn add_server(&mut self, leg: usize, request: Msg, dialog: Option<usize>) -> usize {
        let branch = request.branch().to_owned();
        let server = Server {
            request,
            branch,
            dialog,
            provisional: None,
            status: 0,
            finals: Vec::new(),
            answered_at: 0,
            interval: 0,
        };
        self.legs[leg].servers.push(server);
        self.legs[leg].servers.len() - 1
    }
}
