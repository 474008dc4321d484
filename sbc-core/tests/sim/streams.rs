//! TCP between peers and SBC: pipes that cut the stream anywhere, take their time, and break.
//!
//! A peer opens a connection when it has something to say and none is open; the SBC opens its own.
//! Either end may find it broken at any moment, with whatever was under way lost. The peers
//! repeat only what §17 lets them; calls that were alive when a connection of their side broke are
//! excused from the oracles that demand a happy end, and nothing may be left of them all the same.

use super::{
    message::{Msg, param},
    plan::{MS, SECOND, Side},
    world::{Event, World},
};
use bytes::Bytes;
use sbc_core::{
    id::ConnectionId,
    io::Closed,
    shard::{ListenerId, Output},
    time::Timestamp,
    transport::Hop,
};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The SBC waits for the connection to open.
    Opening,
    Open,
    /// Open, and what comes by it is nonsense.
    Foul,
    /// Closed by the SBC: what it had sent before still arrives.
    Closing,
    Gone,
}

/// One connection.
#[derive(Debug)]
struct Pipe {
    side: Side,
    shard: usize,
    id: ConnectionId,
    /// Of the peer.
    port: u16,
    state: State,
    /// Leads to where nobody is.
    to_nobody: bool,
    /// What was sent before arrives before.
    to_sbc_at: u64,
    to_peer_at: u64,
    /// What the peer has received of a message that is not whole yet.
    partial: Vec<u8>,
    /// Given to the SBC's kernel, not reported as sent yet.
    unsent: usize,
}

impl Pipe {
    fn is_open(&self) -> bool {
        matches!(self.state, State::Open | State::Foul)
    }
}

/// All connections of one world.
#[derive(Debug, Default)]
pub struct Pipes {
    pipes: Vec<Pipe>,
    by_id: HashMap<(usize, ConnectionId), usize>,
    /// Where each request of a peer went, to see that its responses come back the same way.
    asked: HashMap<String, Vec<usize>>,
    next_port: u16,
    /// Connections that broke, and those that the SBC closed.
    pub lost: u64,
    pub opened: u64,
}

/// What happens to a connection.
#[derive(Debug)]
pub enum StreamEvent {
    ToSbc { pipe: usize, bytes: Rc<[u8]> },
    ToPeer { pipe: usize, bytes: Bytes },
    Opened { pipe: usize, well: bool },
    Sent { pipe: usize, bytes: usize },
    Break { pipe: usize },
    SendVia { shard: usize, hop: Hop, payload: Bytes },
}

impl World {
    /// A peer's message on its way to the SBC.
    pub(super) fn stream_send(&mut self, side: Side, bytes: &[u8]) {
        let open = |p: &Pipe| p.side == side && p.state == State::Open;
        let pipe = match self.pipes.pipes.iter().rposition(open) {
            // Mostly the newest connection, sometimes one of its own.
            Some(pipe) if !self.rng.chance(60) => pipe,
            _ => match self.dial(side) {
                Some(pipe) => pipe,
                None => return,
            },
        };
        if let Some(msg) = Msg::parse(bytes).filter(|m| m.status().is_none()) {
            let key = format!("{} {}", msg.method(), msg.branch());
            self.pipes.asked.entry(key).or_default().push(pipe);
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let cut = match self.rng.below(4) {
                0 => 1 + self.rng.below(3) as usize,
                1 => 1 + self.rng.below(200) as usize,
                _ => rest.len(),
            };
            let (now, after) = rest.split_at(cut.min(rest.len()));
            let at = self.now + 50_000 + self.rng.below(20 * MS);
            let at = at.max(self.pipes.pipes[pipe].to_sbc_at + 1);
            self.pipes.pipes[pipe].to_sbc_at = at;
            let bytes = now.into();
            self.push(at, Event::Stream(StreamEvent::ToSbc { pipe, bytes }));
            rest = after;
        }
        if self.rng.chance(40) {
            // A keepalive between messages (RFC 5626).
            let at = self.pipes.pipes[pipe].to_sbc_at + 1;
            self.pipes.pipes[pipe].to_sbc_at = at;
            let bytes = b"\r\n\r\n"[..].into();
            self.push(at, Event::Stream(StreamEvent::ToSbc { pipe, bytes }));
        }
        if self.setup.breaks && self.rng.chance(4) {
            let at = self.now + self.rng.below(2 * SECOND);
            self.push(at, Event::Stream(StreamEvent::Break { pipe }));
        }
    }

    /// Bytes that no honest peer sends, on a connection of their own.
    pub(super) fn stream_mischief(&mut self, side: Side, from: IpAddr, bytes: Rc<[u8]>) {
        if from != side.sip().ip() {
            let (now, listener) = (Timestamp::from_nanos(self.now), self.setup.listener(side));
            let at = SocketAddr::new(from, 5060);
            if self.shards[0].handle_accept(now, listener, at).is_some() {
                self.violation(u32::MAX, "a connection of a stranger was accepted".to_owned());
            }
            return self.drain(0, None);
        }
        let Some(pipe) = self.dial(side) else { return };
        // Nobody else writes there: other messages would become part of the nonsense.
        self.pipes.pipes[pipe].state = State::Foul;
        self.push(self.now, Event::Stream(StreamEvent::ToSbc { pipe, bytes }));
        let at = self.now + self.rng.below(20 * SECOND);
        self.push(at, Event::Stream(StreamEvent::Break { pipe }));
    }

    /// A peer connects to the SBC.
    fn dial(&mut self, side: Side) -> Option<usize> {
        let shard = self.rng.below(self.shards.len() as u64) as usize;
        self.pipes.next_port = self.pipes.next_port.wrapping_add(1) % 20_000;
        let peer = SocketAddr::new(side.sip().ip(), 30_000 + self.pipes.next_port);
        let (now, listener) = (Timestamp::from_nanos(self.now), self.setup.listener(side));
        let id = self.shards[shard].handle_accept(now, listener, peer);
        self.drain(shard, None);
        let Some(id) = id else {
            self.violation(u32::MAX, format!("side {side:?} may not connect"));
            return None;
        };
        let pipe = self.add_pipe(side, shard, id, State::Open);
        self.pipes.pipes[pipe].port = peer.port();
        Some(pipe)
    }

    fn add_pipe(&mut self, side: Side, shard: usize, id: ConnectionId, state: State) -> usize {
        self.pipes.opened += 1;
        let pipe = self.pipes.pipes.len();
        self.pipes.pipes.push(Pipe {
            side,
            shard,
            id,
            port: side.sip().port(),
            state,
            to_nobody: false,
            to_sbc_at: self.now,
            to_peer_at: self.now,
            partial: Vec::new(),
            unsent: 0,
        });
        if self.pipes.by_id.insert((shard, id), pipe).is_some() {
            self.violation(u32::MAX, format!("shard {shard} used {id:?} twice"));
        }
        pipe
    }

    /// What a shard wants of its connections.
    pub(super) fn stream_output(&mut self, shard: usize, output: Output) {
        match output {
            Output::Connect {
                connection,
                listener,
                peer,
                ..
            } => self.connect(shard, connection, listener, peer),
            Output::Send { connection, payload } => self.stream_transmit(shard, connection, payload),
            Output::Close { connection, abort } => {
                if let Some(&pipe) = self.pipes.by_id.get(&(shard, connection)) {
                    let p = &mut self.pipes.pipes[pipe];
                    let honest = p.state == State::Open;
                    p.state = if abort { State::Gone } else { State::Closing };
                    // What the peer sent meanwhile meets a closed door.
                    if honest && (p.to_sbc_at > self.now || abort && p.to_peer_at > self.now) {
                        self.excuse(pipe);
                    }
                } else {
                    self.violation(
                        u32::MAX,
                        format!("shard {shard} closed {connection:?}, which is none"),
                    );
                }
            }
            Output::SendVia { hop, payload } => {
                let Some(flow) = hop.flow.filter(|f| usize::from(f.shard.0) != shard) else {
                    return self.violation(u32::MAX, format!("shard {shard} sends via itself: {hop:?}"));
                };
                let to = usize::from(flow.shard.0);
                let at = self.letter_arrives(shard, to);
                let shard = to;
                self.push(at, Event::Stream(StreamEvent::SendVia { shard, hop, payload }));
            }
            _ => {}
        }
    }

    fn connect(&mut self, shard: usize, id: ConnectionId, listener: ListenerId, peer: SocketAddr) {
        let side = Side::BOTH.into_iter().find(|s| s.sip() == peer);
        // A peer that speaks UDP refuses what is too large for a datagram; at a name's other
        // address nobody is.
        let known = Side::BOTH
            .into_iter()
            .any(|s| s.sip() == peer || s.nobody() == peer && self.setup.named[s as usize]);
        let Some(side) = side.filter(|&s| self.setup.listener(s) == listener) else {
            if !self.setup.hostile && !known {
                self.violation(u32::MAX, format!("a connection to {peer}, who is no peer"));
            }
            let pipe = self.add_pipe(Side::A, shard, id, State::Opening);
            self.pipes.pipes[pipe].to_nobody = true;
            self.push(
                self.now + MS,
                Event::Stream(StreamEvent::Opened { pipe, well: false }),
            );
            return;
        };
        let pipe = self.add_pipe(side, shard, id, State::Opening);
        let well = !(self.setup.breaks && self.rng.chance(30));
        let at = self.now + 100_000 + self.rng.below(50 * MS);
        self.push(at, Event::Stream(StreamEvent::Opened { pipe, well }));
    }

    fn stream_transmit(&mut self, shard: usize, id: ConnectionId, payload: Bytes) {
        let Some(&pipe) = self.pipes.by_id.get(&(shard, id)) else {
            return self.violation(u32::MAX, format!("shard {shard} sent to {id:?}, which is none"));
        };
        let p = &mut self.pipes.pipes[pipe];
        if !p.is_open() {
            let why = format!("shard {shard} sent to {id:?}, which is {:?}", p.state);
            return self.violation(u32::MAX, why);
        }
        let side = p.side;
        p.unsent += payload.len();
        if payload.iter().any(|&c| !matches!(c, b'\r' | b'\n')) {
            self.last_datagram = self.now;
            self.out.datagrams += 1;
            self.check_leak(side, &payload);
            self.check_final(side, &payload);
            self.check_way_back(pipe, &payload);
            if let Some(trace) = &mut self.trace {
                trace.add(self.now, side, true, &payload, &[0]);
            }
        }
        let sent_at = self.now + self.rng.below(5 * MS);
        let bytes = payload.len();
        self.push(sent_at, Event::Stream(StreamEvent::Sent { pipe, bytes }));
        let mut rest = payload;
        while !rest.is_empty() {
            let cut = match self.rng.below(4) {
                0 => 1 + self.rng.below(90) as usize,
                _ => rest.len(),
            };
            let bytes = rest.split_to(cut.min(rest.len()));
            let at = self.now + 50_000 + self.rng.below(20 * MS);
            let at = at.max(self.pipes.pipes[pipe].to_peer_at + 1);
            self.pipes.pipes[pipe].to_peer_at = at;
            self.push(at, Event::Stream(StreamEvent::ToPeer { pipe, bytes }));
        }
    }

    /// §18.2.2: a response leaves by the connection that its request came by, while that lives.
    fn check_way_back(&mut self, pipe: usize, payload: &[u8]) {
        let Some(msg) = Msg::parse(payload).filter(|m| m.status().is_some()) else {
            return;
        };
        let key = format!("{} {}", msg.method(), msg.branch());
        // A request may have been sent again over another connection when its first one broke, and either is answered: `rport`
        // says which.
        let port = msg
            .get("Via")
            .and_then(|via| param(via, "rport"))
            .and_then(|port| port.parse().ok());
        let came_by = |n: &&usize| port == Some(self.pipes.pipes[**n].port);
        let asked = self.pipes.asked.get(&key).into_iter().flatten();
        let asked: Vec<usize> = asked.filter(came_by).copied().collect();
        let lives = |&pipe: &usize| self.pipes.pipes[pipe].state == State::Open;
        if !asked.contains(&pipe) && asked.iter().any(lives) {
            let line = super::world::first_line(payload);
            self.violation(
                u32::MAX,
                format!("{line} left by connection {pipe}, its request came by {asked:?}"),
            );
        }
    }

    pub(super) fn stream_event(&mut self, event: StreamEvent) {
        let now = Timestamp::from_nanos(self.now);
        match event {
            StreamEvent::ToSbc { pipe, bytes } => {
                let p = &self.pipes.pipes[pipe];
                if p.is_open() {
                    let (shard, id) = (p.shard, p.id);
                    self.shards[shard].handle_stream(now, id, &bytes);
                    self.drain(shard, None);
                }
            }
            StreamEvent::ToPeer { pipe, bytes } => {
                if self.pipes.pipes[pipe].state != State::Gone {
                    self.pipes.pipes[pipe].partial.extend_from_slice(&bytes);
                    self.deliver(pipe);
                }
            }
            StreamEvent::Opened { pipe, well } => {
                let p = &mut self.pipes.pipes[pipe];
                if p.state != State::Opening {
                    return;
                }
                let (shard, id) = (p.shard, p.id);
                let honest = !p.to_nobody;
                if well {
                    p.state = State::Open;
                    self.shards[shard].handle_connected(now, id, None);
                } else {
                    p.state = State::Gone;
                    if honest {
                        self.pipes.lost += 1;
                        self.excuse(pipe);
                    }
                    self.shards[shard].handle_closed(now, id, Closed::Refused);
                }
                self.drain(shard, None);
            }
            StreamEvent::Sent { pipe, bytes } => {
                let p = &mut self.pipes.pipes[pipe];
                if p.is_open() {
                    p.unsent -= bytes;
                    let (shard, id) = (p.shard, p.id);
                    self.shards[shard].handle_sent(now, id, bytes);
                    self.drain(shard, None);
                }
            }
            StreamEvent::Break { pipe } => {
                let p = &mut self.pipes.pipes[pipe];
                if p.is_open() {
                    let honest = p.state == State::Open;
                    p.state = State::Gone;
                    let (shard, id) = (p.shard, p.id);
                    self.pipes.lost += 1;
                    if honest {
                        self.excuse(pipe);
                    }
                    let why = if self.rng.chance(500) {
                        Closed::Reset
                    } else {
                        Closed::End
                    };
                    self.shards[shard].handle_closed(now, id, why);
                    self.drain(shard, None);
                }
            }
            StreamEvent::SendVia { shard, hop, payload } => {
                self.shards[shard].handle_send(now, hop, payload);
                self.drain(shard, None);
            }
        }
    }

    /// Bytes were lost: what the peers of this side waited for may never come.
    fn excuse(&mut self, pipe: usize) {
        let side = self.pipes.pipes[pipe].side;
        self.uas[side as usize].excuse_all();
        self.run_effects(side);
    }

    /// Hand whole messages to the peer.
    fn deliver(&mut self, pipe: usize) {
        loop {
            let p = &mut self.pipes.pipes[pipe];
            let start = p
                .partial
                .iter()
                .take_while(|c| matches!(c, b'\r' | b'\n'))
                .count();
            p.partial.drain(..start);
            let Some(head) = memchr::memmem::find(&p.partial, b"\r\n\r\n") else {
                return;
            };
            let text = String::from_utf8_lossy(&p.partial[..head]).into_owned();
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let name = name.trim();
                (name.eq_ignore_ascii_case("Content-Length") || name == "l")
                    .then(|| value.trim().parse::<usize>().ok())?
            });
            let Some(length) = length else {
                return self.violation(
                    u32::MAX,
                    format!("a message without Content-Length on a stream:\n{text}"),
                );
            };
            let end = head + 4 + length;
            if p.partial.len() < end {
                return;
            }
            let message: Vec<u8> = p.partial.drain(..end).collect();
            let side = p.side;
            self.uas[side as usize].receive(self.now, &message);
            self.run_effects(side);
        }
    }
}
