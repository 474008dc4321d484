//! The peers: a small RFC 3261 user agent per side, written for the simulator alone.
//!
//! It shares no code with the SBC: own transactions with timers A, B, E, F, G and H, own dialogs.
//! In: datagrams and ticks. Out: [`Effect`]s. What it must be granted and is not (a final response,
//! an ACK, an end of the call) becomes a violation.

use super::{
    message::{Msg, uri, user},
    plan::{MS, Offer, Outcome, Party, Plan, Side, T1, T2},
    wire::{Request, call_of, callee_number, caller_number, packet, response, sdp},
};
use std::{collections::HashMap, net::SocketAddr, rc::Rc};

/// What the world must do for a peer.
#[derive(Debug)]
pub enum Effect {
    Send(Vec<u8>),
    After(u64, Tick),
    Packet {
        from: SocketAddr,
        to: SocketAddr,
        bytes: Vec<u8>,
    },
}

/// A moment that a leg asked for.
#[derive(Clone, Copy, Debug)]
pub struct Tick {
    leg: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Client(usize),
    Server(usize),
    Invite,
    Cancel,
    Provisional(usize),
    Final,
    ForkFinal,
    Hangup,
    Reinvite(Offer),
    AnswerReinvite(usize),
    Request(&'static str),
    Packet(u16),
    Die,
}

#[derive(Debug)]
struct Dialog {
    /// Our tag and theirs, as From and To of our requests.
    local: String,
    local_tag: String,
    remote: String,
    remote_tag: String,
    target: String,
    remote_cseq: u32,
    /// The far end knows that we have the answer (callee), or we have it (caller).
    confirmed: bool,
    ended: bool,
    bye_sent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    Calling,
    Proceeding,
    Done,
}

#[derive(Debug)]
struct Client {
    branch: String,
    method: &'static str,
    cseq: u32,
    dialog: Option<usize>,
    bytes: Vec<u8>,
    state: ClientState,
    started: u64,
    interval: u64,
    status: u16,
    /// ACKs sent, by To tag, to be repeated with the response.
    acks: Vec<(String, Vec<u8>)>,
    cancelled: bool,
}

#[derive(Debug)]
struct Final {
    tag: String,
    bytes: Vec<u8>,
    acked: bool,
}

#[derive(Debug)]
struct Server {
    request: Msg,
    branch: String,
    /// The re-INVITE's dialog; `None` for the INVITE that begins the call.
    dialog: Option<usize>,
    provisional: Option<Vec<u8>>,
    status: u16,
    finals: Vec<Final>,
    answered_at: u64,
    interval: u64,
}

impl Server {
    fn is_invite(&self) -> bool {
        self.request.method() == "INVITE"
    }
}

/// One side of one call.
#[derive(Debug)]
struct Leg {
    plan: Rc<Plan>,
    caller: bool,
    call_id: String,
    dead: bool,
    local: String,
    remote: String,
    cseq: u32,
    dialogs: Vec<Dialog>,
    clients: Vec<Client>,
    servers: Vec<Server>,
    media: SocketAddr,
    packets_from: SocketAddr,
    remote_media: Option<SocketAddr>,
    sdp_version: u32,
    wants_cancel: bool,
    hung_up: bool,
    acts_scheduled: bool,
}

impl Leg {
    fn party(&self) -> &Party {
        if self.caller {
            &self.plan.caller
        } else {
            &self.plan.callee
        }
    }

    /// A re-INVITE whose dialog has ended meanwhile: its 2xx may be lost, and nobody waits for it.
    fn overtaken(&self, client: &Client) -> bool {
        client.method == "INVITE" && client.dialog.is_some_and(|d| self.dialogs[d].ended)
    }

    fn settled(&self) -> Result<(), String> {
        if self.dead {
            return Ok(());
        }
        if let Some(client) = self
            .clients
            .iter()
            .find(|c| c.state != ClientState::Done && !self.overtaken(c))
        {
            return Err(format!(
                "{} (CSeq {}) never got a final response",
                client.method, client.cseq
            ));
        }
        for server in self.servers.iter().filter(|s| s.is_invite()) {
            if server.status == 0 {
                return Err("an INVITE still rings: neither answered nor cancelled".to_owned());
            }
            if server.finals.iter().any(|f| !f.acked) {
                return Err(format!(
                    "the {} to an INVITE was never acknowledged",
                    server.status
                ));
            }
        }
        match self.dialogs.iter().all(|d| d.ended) {
            true => Ok(()),
            false => Err("an answered call never got its BYE".to_owned()),
        }
    }
}

/// One side's user agent.
#[derive(Debug)]
pub struct Ua {
    side: Side,
    sbc: SocketAddr,
    plans: Rc<Vec<Rc<Plan>>>,
    legs: Vec<Leg>,
    by_call_id: HashMap<String, usize>,
    /// Which leg listens on a media address.
    pub media_owner: HashMap<SocketAddr, u32>,
    media_used: usize,
    serial: u32,
    /// Mangled copies of datagrams are about: numbers need not match.
    hostile: bool,
    pub effects: Vec<Effect>,
    pub violations: Vec<(u32, String)>,
    pub answered: u64,
}

impl Ua {
    pub fn new(side: Side, sbc: SocketAddr, plans: Rc<Vec<Rc<Plan>>>, hostile: bool) -> Self {
        Self {
            side,
            sbc,
            plans,
            legs: Vec::new(),
            by_call_id: HashMap::new(),
            media_owner: HashMap::new(),
            media_used: 0,
            serial: 0,
            hostile,
            effects: Vec::new(),
            violations: Vec::new(),
            answered: 0,
        }
    }

    /// Prepare every call that this side makes.
    pub fn start(&mut self) {
        let (plans, side) = (self.plans.clone(), self.side);
        for plan in plans.iter().filter(|p| p.from == side) {
            let serial = self.next_serial();
            let marker = self.side.marker();
            let (caller, callee) = (caller_number(plan.number), callee_number(plan.number));
            let local = format!("\"{marker} Caller\" <sip:{caller}@h{marker}.example>;tag=f{marker}{serial}");
            let remote = format!("<sip:{callee}@{}>", self.sbc);
            let call_id = format!("i{marker}-{serial}@{}", self.side.sip().ip());
            // A third of the calls count just below 2^31, the end of the number space.
            let cseq = if serial % 3 == 0 {
                (1 << 31) - 60
            } else {
                1 + serial % 1000
            };
            let leg = self.add_leg(plan.clone(), true, call_id, local, remote, cseq);
            self.after(plan.start, leg, What::Invite);
        }
    }

    /// What is still owed to this side, by call.
    pub fn unsettled(&self) -> Vec<(u32, String)> {
        let who = |leg: &Leg| if leg.caller { "caller" } else { "callee" };
        self.legs
            .iter()
            .filter_map(|leg| {
                leg.settled().err().map(|why| {
                    (
                        leg.plan.number,
                        format!("{} side {:?}: {why}", who(leg), self.side),
                    )
                })
            })
            .collect()
    }

    /// Call and branch of re-INVITEs that saw no answer before their dialog ended. The SBC must have
    /// sent one all the same (§15.1.2).
    pub fn overtaken(&self) -> Vec<(u32, String)> {
        let legs = self.legs.iter().filter(|leg| !leg.dead);
        legs.flat_map(|leg| {
            leg.clients
                .iter()
                .filter(|c| c.state == ClientState::Proceeding && leg.overtaken(c))
                .map(|c| (leg.plan.number, c.branch.clone()))
        })
        .collect()
    }

    /// Whether nothing is owed to this side any more.
    pub fn is_settled(&self) -> bool {
        self.legs.iter().all(|leg| leg.settled().is_ok())
    }

    /// The call that a Call-ID of this side belongs to.
    pub fn call_by_id(&self, call_id: &str) -> Option<u32> {
        self.by_call_id
            .get(call_id)
            .map(|&leg| self.legs[leg].plan.number)
    }

    pub fn receive(&mut self, now: u64, bytes: &[u8]) {
        let Some(msg) = Msg::parse(bytes) else {
            self.violations
                .push((u32::MAX, format!("unreadable datagram to side {:?}", self.side)));
            return;
        };
        let leg = self.by_call_id.get(msg.call_id()).copied();
        if leg.is_some_and(|leg| self.legs[leg].dead) {
            return;
        }
        match (msg.status(), leg) {
            (Some(status), Some(leg)) => self.response(now, leg, &msg, status),
            (Some(_), None) => {}
            (None, Some(leg)) => self.request(now, leg, msg),
            (None, None) => self.first_request(now, msg),
        }
    }

    pub fn tick(&mut self, now: u64, tick: Tick) {
        let Tick { leg, what } = tick;
        if self.legs[leg].dead {
            return;
        }
        match what {
            What::Client(n) => self.client_tick(now, leg, n),
            What::Server(n) => self.server_tick(now, leg, n),
            What::Invite => self.invite(now, leg),
            What::Cancel => self.cancel(now, leg),
            What::Provisional(n) => self.provisional(leg, n),
            What::Final => self.finish_invite(now, leg),
            What::ForkFinal => self.answer(now, leg, 0, "fork"),
            What::Hangup => self.hang_up(now, leg),
            What::Reinvite(offer) => self.reinvite(now, leg, offer),
            What::AnswerReinvite(n) => self.answer_reinvite(now, leg, n),
            What::Request(method) => self.in_dialog(now, leg, method),
            What::Packet(n) => self.send_packet(leg, n),
            What::Die => self.legs[leg].dead = true,
        }
    }

    // -- calls made ---------------------------------------------------------------------------

    fn invite(&mut self, now: u64, leg: usize) {
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

    fn cancel(&mut self, now: u64, leg: usize) {
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
                }
                .write();
                self.add_client(now, leg, "CANCEL", branch, cseq, None, bytes);
            }
        }
    }

    fn response(&mut self, now: u64, leg: usize, msg: &Msg, status: u16) {
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
            ("BYE", Some(dialog)) => self.legs[leg].dialogs[dialog].ended = true,
            _ => {}
        }
    }

    /// §17.1.1.3: same branch, same Request-URI, To with its tag.
    fn ack_failure(&mut self, leg: usize, n: usize, msg: &Msg) {
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
        }
        .write();
        self.effects.push(Effect::Send(ack));
    }

    /// §13.2.2.4: one ACK per 2xx, repeated with it; a new branch.
    fn ack_success(&mut self, now: u64, leg: usize, n: usize, dialog: Option<usize>, msg: &Msg, fresh: bool) {
        if self.legs[leg].plan.no_ack && dialog.is_none() {
            self.legs[leg].dead = true;
            return;
        }
        let tag = msg.to_tag();
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
                local_tag: msg.from_tag().to_owned(),
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

    // -- calls received -----------------------------------------------------------------------

    fn first_request(&mut self, now: u64, msg: Msg) {
        match msg.method() {
            "ACK" => {}
            "INVITE" if msg.to_tag().is_empty() => self.incoming(now, msg),
            _ => {
                let bytes = response(self.side, &msg, 481, "stateless", None);
                self.effects.push(Effect::Send(bytes));
            }
        }
    }

    fn incoming(&mut self, now: u64, msg: Msg) {
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
    fn check_invite(&mut self, msg: &Msg, number: Option<u32>) {
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

    fn provisional(&mut self, leg: usize, n: usize) {
        if self.legs[leg].servers[0].status != 0 {
            return;
        }
        let (_, status, with_sdp) = self.legs[leg].plan.provisionals[n];
        let sdp = (with_sdp && status != 100).then(|| self.sdp(leg, None));
        let tag = if status == 100 {
            String::new()
        } else {
            self.tag(leg, "")
        };
        let bytes = response(self.side, &self.legs[leg].servers[0].request, status, &tag, sdp);
        self.legs[leg].servers[0].provisional = Some(bytes.clone());
        self.effects.push(Effect::Send(bytes));
    }

    fn finish_invite(&mut self, now: u64, leg: usize) {
        if self.legs[leg].servers[0].status != 0 {
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

    fn answer(&mut self, now: u64, leg: usize, server: usize, fork: &str) {
        let tag = self.tag(leg, fork);
        let body = self.sdp(leg, None);
        let l = &mut self.legs[leg];
        let request = &l.servers[server].request;
        let bytes = response(self.side, request, 200, &tag, Some(body));
        l.dialogs.push(Dialog {
            local: format!("{};tag={tag}", l.local),
            local_tag: tag.clone(),
            remote: l.remote.clone(),
            remote_tag: request.from_tag().to_owned(),
            target: uri(request.get("Contact").unwrap_or("")).to_owned(),
            remote_cseq: request.cseq(),
            confirmed: false,
            ended: false,
            bye_sent: false,
        });
        self.finish(now, leg, server, 200, tag, bytes);
    }

    fn fail_invite(&mut self, now: u64, leg: usize, server: usize, status: u16) {
        let tag = self.tag(leg, "");
        let bytes = response(
            self.side,
            &self.legs[leg].servers[server].request,
            status,
            &tag,
            None,
        );
        let tag = Msg::parse(&bytes).map_or(String::new(), |m| m.to_tag().to_owned());
        self.finish(now, leg, server, status, tag, bytes);
    }

    /// Send a final response to an INVITE and repeat it until its ACK.
    fn finish(&mut self, now: u64, leg: usize, server: usize, status: u16, tag: String, bytes: Vec<u8>) {
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

    fn request(&mut self, now: u64, leg: usize, msg: Msg) {
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
        if msg.to_tag().is_empty() {
            self.violation(
                leg,
                format!("a second {method} outside of a dialog with the same Call-ID"),
            );
            return;
        }
        let dialog = self.legs[leg]
            .dialogs
            .iter()
            .position(|d| d.local_tag == msg.to_tag() && d.remote_tag == msg.from_tag());
        let server = self.add_server(leg, msg, dialog);
        let Some(dialog) = dialog.filter(|&d| !self.legs[leg].dialogs[d].ended) else {
            return self.reply(now, leg, server, 481);
        };
        let cseq = self.legs[leg].servers[server].request.cseq();
        let d = &mut self.legs[leg].dialogs[dialog];
        if cseq <= d.remote_cseq {
            return self.reply(now, leg, server, 500);
        }
        d.remote_cseq = cseq;
        match method.as_str() {
            "BYE" => self.bye(now, leg, dialog, server),
            "INVITE" => self.reinvited(now, leg, server),
            "OPTIONS" | "INFO" => self.reply(now, leg, server, 200),
            _ => self.reply(now, leg, server, 405),
        }
    }

    fn reply(&mut self, now: u64, leg: usize, server: usize, status: u16) {
        if self.legs[leg].servers[server].is_invite() {
            return self.fail_invite(now, leg, server, status);
        }
        let bytes = response(
            self.side,
            &self.legs[leg].servers[server].request,
            status,
            "",
            None,
        );
        self.legs[leg].servers[server].status = status;
        self.legs[leg].servers[server].finals.push(Final {
            tag: String::new(),
            bytes: bytes.clone(),
            acked: true,
        });
        self.effects.push(Effect::Send(bytes));
    }

    fn cancelled(&mut self, now: u64, leg: usize, msg: Msg) {
        let invite = self.legs[leg]
            .servers
            .iter()
            .position(|s| s.is_invite() && s.branch == msg.branch());
        let server = self.add_server(leg, msg, None);
        let Some(invite) = invite else {
            return self.reply(now, leg, server, 481);
        };
        self.reply(now, leg, server, 200);
        if self.legs[leg].servers[invite].status == 0 {
            self.fail_invite(now, leg, invite, 487);
        }
    }

    fn acked(&mut self, now: u64, leg: usize, msg: &Msg) {
        let l = &mut self.legs[leg];
        let by_branch = l
            .servers
            .iter()
            .position(|s| s.is_invite() && s.branch == msg.branch());
        let server = by_branch.or_else(|| {
            l.servers.iter().position(|s| {
                s.is_invite()
                    && s.request.cseq() == msg.cseq()
                    && s.finals.iter().any(|f| f.tag == msg.to_tag())
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
        let Some(last) = s.finals.iter_mut().find(|f| f.tag == msg.to_tag()) else {
            return self.violation(leg, format!("an ACK with an unknown To tag {:?}", msg.to_tag()));
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
            .find(|d| d.local_tag == msg.to_tag())
        {
            d.confirmed = true;
        }
        if self.legs[leg].hung_up {
            self.hang_up(now, leg);
        } else {
            self.schedule_acts(leg);
        }
    }

    fn bye(&mut self, now: u64, leg: usize, dialog: usize, server: usize) {
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

    fn reinvited(&mut self, now: u64, leg: usize, server: usize) {
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
                let bytes = response(self.side, &l.servers[server].request, 100, "", None);
                self.legs[leg].servers[server].provisional = Some(bytes.clone());
                self.effects.push(Effect::Send(bytes));
                self.after(wait * MS, leg, What::AnswerReinvite(server));
            }
        }
    }

    fn answer_reinvite(&mut self, now: u64, leg: usize, server: usize) {
        if self.legs[leg].servers[server].status != 0 {
            return;
        }
        let status = self.legs[leg].party().reinvite_status;
        if status >= 300 {
            return self.fail_invite(now, leg, server, status);
        }
        let body = self.sdp(leg, None);
        let l = &self.legs[leg];
        let bytes = response(self.side, &l.servers[server].request, 200, "", Some(body));
        let tag = l.servers[server].request.to_tag().to_owned();
        let request = l.servers[server].request.clone();
        self.learn_media(leg, &request);
        self.finish(now, leg, server, 200, tag, bytes);
    }

    // -- inside a call ------------------------------------------------------------------------

    fn schedule_acts(&mut self, leg: usize) {
        if std::mem::replace(&mut self.legs[leg].acts_scheduled, true) {
            return;
        }
        let party = self.legs[leg].party().clone();
        if let Some(at) = party.hangup {
            self.after(at * MS, leg, What::Hangup);
        }
        for (at, offer) in party.reinvites {
            self.after(at * MS, leg, What::Reinvite(offer));
        }
        for (at, method) in party.requests {
            self.after(at * MS, leg, What::Request(method));
        }
        for (n, at) in party.packets.into_iter().enumerate() {
            self.after(at * MS, leg, What::Packet(n as u16));
        }
    }

    fn hang_up(&mut self, now: u64, leg: usize) {
        self.legs[leg].hung_up = true;
        for n in 0..self.legs[leg].dialogs.len() {
            let d = &mut self.legs[leg].dialogs[n];
            // §15: the callee must have its ACK first.
            if d.confirmed && !d.ended && !std::mem::replace(&mut d.bye_sent, true) {
                self.send_in_dialog(now, leg, "BYE", n, None);
            }
        }
    }

    fn live_dialog(&self, leg: usize) -> Option<usize> {
        let open = |d: &Dialog| d.confirmed && !d.ended && !d.bye_sent;
        self.legs[leg].dialogs.iter().position(open)
    }

    fn reinvite(&mut self, now: u64, leg: usize, offer: Offer) {
        let l = &self.legs[leg];
        let busy = l
            .clients
            .iter()
            .any(|c| c.method == "INVITE" && c.state != ClientState::Done)
            || l.servers
                .iter()
                .any(|s| s.is_invite() && (s.status == 0 || s.finals.iter().any(|f| !f.acked)));
        let Some(dialog) = self.live_dialog(leg).filter(|_| !busy) else {
            return;
        };
        if offer == Offer::NewPort {
            self.take_media(leg);
        }
        self.legs[leg].sdp_version += 1;
        let body = self.sdp(leg, Some(offer));
        self.send_in_dialog(now, leg, "INVITE", dialog, Some(body));
    }

    fn in_dialog(&mut self, now: u64, leg: usize, method: &'static str) {
        if let Some(dialog) = self.live_dialog(leg) {
            self.send_in_dialog(now, leg, method, dialog, None);
        }
    }

    fn send_packet(&mut self, leg: usize, n: u16) {
        let l = &self.legs[leg];
        if l.dialogs.iter().all(|d| d.ended) {
            return;
        }
        let Some(to) = l.remote_media.filter(|at| at.port() != 0) else {
            return;
        };
        let rtcp = n % 4 == 3;
        let shift = |at: SocketAddr| SocketAddr::new(at.ip(), at.port() + u16::from(rtcp));
        let bytes = packet(l.plan.number, self.side, n, rtcp);
        self.effects.push(Effect::Packet {
            from: shift(l.packets_from),
            to: shift(to),
            bytes,
        });
    }

    fn learn_media(&mut self, leg: usize, msg: &Msg) {
        let Some(media) = msg.media() else { return };
        self.legs[leg].remote_media = media.at.filter(|at| !at.ip().is_unspecified() && at.port() != 0);
    }

    // -- transactions -------------------------------------------------------------------------

    fn client_tick(&mut self, now: u64, leg: usize, n: usize) {
        let invite = self.legs[leg].clients[n].method == "INVITE";
        let client = &mut self.legs[leg].clients[n];
        if client.state == ClientState::Done || invite && client.state == ClientState::Proceeding {
            return;
        }
        if now >= client.started + 64 * T1 {
            client.state = ClientState::Done;
            let (method, cseq) = (client.method, client.cseq);
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
        self.effects.push(Effect::Send(bytes));
        self.after(wait, leg, What::Client(n));
    }

    fn server_tick(&mut self, now: u64, leg: usize, n: usize) {
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
        self.effects.extend(again);
        self.after(wait, leg, What::Server(n));
    }

    fn send_in_dialog(
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

    fn send_request(
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
        }
        .write();
        self.add_client(now, leg, method, branch, cseq, dialog, bytes);
    }

    /// A request inside a dialog with a branch of its own, not yet sent: the ACK to a 2xx.
    fn compose(
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
        }
        .write()
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the fields of a transaction, written once"
    )]
    fn add_client(
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

    fn add_server(&mut self, leg: usize, request: Msg, dialog: Option<usize>) -> usize {
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

    // -- small things -------------------------------------------------------------------------

    fn add_leg(
        &mut self,
        plan: Rc<Plan>,
        caller: bool,
        call_id: String,
        local: String,
        remote: String,
        cseq: u32,
    ) -> usize {
        let leg = self.legs.len();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        self.by_call_id.insert(call_id.clone(), leg);
        self.legs.push(Leg {
            plan,
            caller,
            call_id,
            dead: false,
            local,
            remote,
            cseq,
            dialogs: Vec::new(),
            clients: Vec::new(),
            servers: Vec::new(),
            media: nowhere,
            packets_from: nowhere,
            remote_media: None,
            sdp_version: 1,
            wants_cancel: false,
            hung_up: false,
            acts_scheduled: false,
        });
        self.take_media(leg);
        leg
    }

    /// A fresh media address for a leg; both the signalled one and the real one are its own.
    fn take_media(&mut self, leg: usize) {
        let n = self.media_used;
        self.media_used += 1;
        let nat = self.legs[leg].party().behind_nat;
        let (signalled, real) = (self.side.media(n, false), self.side.media(n, nat));
        let number = self.legs[leg].plan.number;
        for at in [signalled, real] {
            self.media_owner.insert(at, number);
            self.media_owner
                .insert(SocketAddr::new(at.ip(), at.port() + 1), number);
        }
        self.legs[leg].media = signalled;
        self.legs[leg].packets_from = real;
    }

    fn sdp(&self, leg: usize, offer: Option<Offer>) -> String {
        let l = &self.legs[leg];
        sdp(self.side, l.media, l.sdp_version, offer)
    }

    fn tag(&self, leg: usize, fork: &str) -> String {
        format!("t{}{leg}{fork}", self.side.marker())
    }

    fn branch(&mut self) -> String {
        format!("z9hG4bK{}-{}", self.side.marker(), self.next_serial())
    }

    fn next_serial(&mut self) -> u32 {
        self.serial += 1;
        self.serial
    }

    fn after(&mut self, wait: u64, leg: usize, what: What) {
        self.effects.push(Effect::After(wait, Tick { leg, what }));
    }

    fn violation(&mut self, leg: usize, why: String) {
        let who = if self.legs[leg].caller { "caller" } else { "callee" };
        self.violations.push((
            self.legs[leg].plan.number,
            format!("{who} side {:?}: {why}", self.side),
        ));
    }
}
