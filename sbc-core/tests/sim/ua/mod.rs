//! The peers: a small RFC 3261 user agent per side, written for the simulator alone.
//!
//! It shares no code with the SBC: own transactions with timers A, B, E, F, G and H, own dialogs.
//! In: datagrams and ticks. Out: [`Effect`]s. What it must be granted and is not (a final response,
//! an ACK, an end of the call) becomes a violation.

mod callee;
mod caller;
mod reliable;
mod transaction;

use super::{
    message::Msg,
    plan::{MS, Offer, Party, Plan, Side},
    wire::{callee_number, caller_number, packet, sdp},
};
use sbc_core::transport::Transport;
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
    Reliable(u32),
    Message,
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
    /// Something sent to it was lost on a broken connection: it may wait in vain.
    excused: bool,
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
    reliable: reliable::Reliable,
    /// What it was told, by the o= line.
    descriptions: HashMap<String, String>,
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
        if self.dead || self.excused {
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

/// Allow of a peer.
fn allow(updates: bool) -> String {
    let update = if updates { ", UPDATE" } else { "" };
    format!("Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, PRACK, MESSAGE, NOTIFY, REFER{update}\r\n")
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
    /// What Via and Contact say.
    transport: Transport,
    pub effects: Vec<Effect>,
    pub violations: Vec<(u32, String)>,
    pub answered: u64,
}

impl Ua {
    pub fn new(
        side: Side,
        sbc: SocketAddr,
        plans: Rc<Vec<Rc<Plan>>>,
        hostile: bool,
        transport: Transport,
    ) -> Self {
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
            transport,
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
            let cseq = if serial.is_multiple_of(3) {
                (1 << 31) - 60
            } else {
                1 + serial % 1000
            };
            let leg = self.add_leg(plan.clone(), true, call_id, local, remote, cseq);
            self.after(plan.start, leg, What::Invite);
            if plan.message {
                let serial = self.next_serial();
                let call_id = format!("m{marker}-{serial}@{}", self.side.sip().ip());
                let l = &self.legs[leg];
                let (local, remote) = (format!("{}m", l.local), l.remote.clone());
                let leg = self.add_leg(plan.clone(), true, call_id, local, remote, 1);
                self.after(plan.start, leg, What::Message);
            }
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

    /// Call and branch of re-INVITEs that the SBC took up and that saw no final response before
    /// their dialog ended. The SBC must have sent one all the same (§15.1.2).
    pub fn overtaken(&self) -> Vec<(u32, String)> {
        let mut found = Vec::new();
        for leg in self.legs.iter().filter(|leg| !leg.dead && !leg.excused) {
            let unanswered = leg
                .clients
                .iter()
                .filter(|c| c.state == ClientState::Proceeding && leg.overtaken(c));
            found.extend(unanswered.map(|c| (leg.plan.number, c.branch.clone())));
        }
        found
    }

    /// A connection of this side broke: its calls may have missed something.
    pub fn excuse_all(&mut self) {
        for leg in 0..self.legs.len() {
            self.legs[leg].excused = true;
            // A BYE that may have been lost is sent again, or the other side would never know.
            let byes: Vec<Vec<u8>> = self.legs[leg]
                .clients
                .iter()
                .filter(|c| c.method == "BYE" && c.state != ClientState::Done)
                .map(|c| c.bytes.clone())
                .collect();
            self.effects.extend(byes.into_iter().map(Effect::Send));
        }
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
        if let Some(leg) = leg {
            self.compare_descriptions(leg, &msg);
        }
        match (msg.status(), leg) {
            (Some(status), Some(leg)) => self.response(now, leg, &msg, status),
            (Some(_), None) => {}
            (None, Some(leg)) => self.request(now, leg, msg),
            (None, None) => self.first_request(now, msg),
        }
    }

    /// RFC 3264 §8, RFC 3261 §13.2.1: a description by a known id and version is the known one.
    fn compare_descriptions(&mut self, leg: usize, msg: &Msg) {
        let body = String::from_utf8_lossy(&msg.body).into_owned();
        let Some(origin) = body
            .lines()
            .find(|line| line.starts_with("o="))
            .map(str::to_owned)
        else {
            return;
        };
        let known = self.legs[leg]
            .descriptions
            .entry(origin)
            .or_insert_with(|| body.clone());
        if *known != body {
            let why = format!("two descriptions by one version:\n{known}{body}");
            self.violation(leg, why);
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
            What::Provisional(n) => self.provisional(now, leg, n),
            What::Message => self.message(now, leg),
            What::Reliable(rseq) => self.reliable_tick(now, leg, rseq),
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
            .any(|c| matches!(c.method, "INVITE" | "UPDATE") && c.state != ClientState::Done)
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
        let updates = self.legs[leg].party().updates && offer != Offer::HoldOld;
        let method = if updates { "UPDATE" } else { "INVITE" };
        self.send_in_dialog(now, leg, method, dialog, Some(body));
    }

    fn in_dialog(&mut self, now: u64, leg: usize, method: &'static str) {
        if let Some(dialog) = self.live_dialog(leg) {
            let is_digit = method == "INFO" && self.legs[leg].cseq.is_multiple_of(2);
            let body = is_digit.then(|| "Signal=5\r\nDuration=100\r\n".to_owned());
            self.send_in_dialog(now, leg, method, dialog, body);
        }
    }

    fn send_packet(&mut self, leg: usize, n: u16) {
        let l = &self.legs[leg];
        if l.hung_up || l.dialogs.iter().all(|d| d.ended) {
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
            excused: false,
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
            reliable: reliable::Reliable::default(),
            descriptions: HashMap::new(),
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
        if self.legs[leg].excused {
            return;
        }
        let who = if self.legs[leg].caller { "caller" } else { "callee" };
        self.violations.push((
            self.legs[leg].plan.number,
            format!("{who} side {:?}: {why}", self.side),
        ));
    }
}
