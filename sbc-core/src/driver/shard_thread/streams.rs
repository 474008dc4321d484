//! The connections' part of a turn: what the backend reports goes to the shard, what the shard
//! wants goes to the backend.

use super::ShardThread;
use crate::{
    driver::{
        backend::{Backend, Packet, StreamEvent, StreamKey},
        connections::{Next, Stage, Turn},
        handover::Note,
        log, sockets,
        tls::Received,
    },
    id::ConnectionId,
    shard::{Closed, Event, Level, ListenerId},
    time::Timestamp,
    transport::Transport,
    trunk::TrunkId,
};
use std::{
    fmt::Display,
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

/// Steps of TLS handshakes in one turn: some milliseconds at most, so that packets and calls do not wait
/// for a flood of them.
const HANDSHAKES_PER_TURN: usize = 4;

impl<B: Backend> ShardThread<B> {
    /// Somebody has connected.
    pub(super) fn accepted(&mut self, now: Timestamp, listener: ListenerId, socket: OwnedFd) {
        self.backend.counters().streams_accepted += 1;
        let Some(peer) = sockets::peer_of(socket.as_fd()) else {
            return;
        };
        if self.connections.is_full() {
            self.backend.counters().streams_no_descriptor += 1;
            // Nothing of it must stay in the kernel.
            return sockets::reset_on_close(socket.as_fd());
        }
        let Some(id) = self.shard.handle_accept(now, listener, peer) else {
            sockets::reset_on_close(socket.as_fd());
            return self.run_outputs();
        };
        let session = if self.speaks_tls(listener) {
            self.tls.current().accept(listener).map(Some)
        } else {
            Ok(None)
        };
        let opened = session.and_then(|session| {
            let key = self
                .backend
                .open_stream(socket)
                .map_err(|error| error.to_string())?;
            let stage = match session {
                Some(_) => Stage::Handshaking,
                None => Stage::Open,
            };
            self.connections.insert(key, id, peer, stage, session);
            Ok(())
        });
        if let Err(why) = opened {
            self.backend.counters().accept_errors += 1;
            self.warn_rarely(now, &format!("cannot serve {peer}: {why}"));
            self.shard.handle_closed(now, id, Closed::Refused);
        }
        self.run_outputs();
    }

    fn speaks_tls(&self, listener: ListenerId) -> bool {
        let listener = self.shard.snapshot.listeners.get(usize::from(listener.0));
        listener.is_some_and(|listener| listener.transport == Transport::Tls)
    }

    /// A listener cannot accept for want of something.
    pub(super) fn accept_paused(&mut self, now: Timestamp, listener: ListenerId, errno: i32) {
        self.connections.pause(now, listener);
        let error = io::Error::from_raw_os_error(errno);
        self.warn_rarely(
            now,
            &format!("connections wait to be accepted: {error}; raise LimitNOFILE (`ulimit -n`)"),
        );
    }

    /// A line for the log, unless there was one a moment ago: a flood of peers must not become a
    /// flood of lines.
    fn warn_rarely(&mut self, now: Timestamp, text: &str) {
        let Some(left_out) = self.sparing.pass(now) else {
            return;
        };
        let text = match left_out {
            0 => text.to_owned(),
            more => format!("{text} (and {more} lines like it that are not shown)"),
        };
        self.log(Level::Warn, text);
    }

    fn log(&mut self, level: Level, text: String) {
        if log::wanted(level) {
            let call = String::new();
            self.note(Note::Event(Event { level, call, text }));
        }
    }

    /// The shard wants a connection.
    pub(super) fn connect(
        &mut self,
        id: ConnectionId,
        listener: ListenerId,
        peer: SocketAddr,
        trunk: TrunkId,
    ) {
        let session = if self.speaks_tls(listener) {
            self.tls.current().connect(trunk).map(Some)
        } else {
            Ok(None)
        };
        let begun = session.and_then(|session| {
            let key = self.begin_to_connect(listener, peer);
            key.map(|key| (key, session)).map_err(|error| error.to_string())
        });
        match begun {
            Ok((key, session)) => self.connections.insert(key, id, peer, Stage::Connecting, session),
            Err(why) => {
                let now = self.clock.now();
                self.not_connected(now, peer, &why);
                self.shard.handle_closed(now, id, Closed::Refused);
            }
        }
    }

    fn not_connected(&mut self, now: Timestamp, peer: SocketAddr, why: &dyn Display) {
        self.backend.counters().streams_connect_errors += 1;
        self.warn_rarely(now, &format!("cannot connect to {peer}: {why}"));
    }

    fn begin_to_connect(&mut self, listener: ListenerId, peer: SocketAddr) -> io::Result<StreamKey> {
        if self.connections.is_full() {
            self.backend.counters().streams_no_descriptor += 1;
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let from = self.shard.snapshot.listeners.get(usize::from(listener.0));
        let from = from.ok_or(io::ErrorKind::NotFound)?;
        let socket = sockets::tcp_client(from.bind, peer, from.dscp)?;
        self.backend.connect_stream(socket, peer)
    }

    /// The shard closes a connection.
    pub(super) fn close(&mut self, id: ConnectionId, abort: bool) {
        let Some(key) = self.connections.key_of(id) else {
            return;
        };
        let stage = self.connections.of_key(key).map(|connection| connection.stage);
        let at_once = abort || matches!(stage, Some(Stage::Connecting | Stage::Handshaking));
        if at_once {
            self.connections.remove(key);
            self.backend.close_stream(key, true);
        } else {
            let now = self.clock.now();
            let next = self.connections.leave(now, key);
            self.follow(key, next);
        }
    }

    fn follow(&mut self, key: StreamKey, next: Next) {
        match next {
            Next::Stay => {}
            Next::End => self.backend.end_stream(key),
            Next::Close => self.backend.close_stream(key, false),
        }
    }

    /// The backend reports on a stream.
    pub(super) fn stream_event(&mut self, now: Timestamp, key: StreamKey, event: StreamEvent) {
        let known = self.connections.of_key(key).map(|connection| connection.id);
        match event {
            StreamEvent::Received(packet) => self.stream_received(now, key, packet),
            StreamEvent::Connected => {
                self.backend.counters().streams_connected += 1;
                let stage = self.connections.connected(key);
                if let (Some(Some(id)), Some(Stage::Open)) = (known, stage) {
                    self.shard.handle_connected(now, id, None);
                }
            }
            StreamEvent::Written(bytes) => {
                let (plain, next) = self.connections.written(key, bytes);
                self.follow(key, next);
                if let Some(Some(id)) = known
                    && plain > 0
                {
                    self.shard.handle_sent(now, id, plain);
                }
            }
            // It comes behind what the peer has said.
            StreamEvent::Ended if self.connections.end_waits(key) => {}
            StreamEvent::Ended => {
                let stage = self.connections.of_key(key).map(|connection| connection.stage);
                match (self.connections.peer_ended(key), stage) {
                    (Some(_), Some(Stage::Handshaking)) => {
                        self.tls_failed(now, key, "the peer closed the connection in the handshake");
                    }
                    (Some(_), _) => self.end(now, key, Closed::End),
                    (None, _) => {
                        let next = self.connections.after(key);
                        self.follow(key, next);
                    }
                }
            }
            StreamEvent::Failed(errno) => self.stream_failed(now, key, errno),
        }
        self.run_outputs();
    }

    fn stream_received(&mut self, now: Timestamp, key: StreamKey, packet: Packet) {
        let connection = self.connections.of_key(key);
        match connection.map(|connection| (connection.id, connection.speaks_tls())) {
            Some((Some(id), false)) => {
                let bytes = self.backend.bytes(&packet);
                self.shard.handle_stream(now, id, bytes);
                self.backend.release(packet);
            }
            Some((Some(id), true)) => {
                // Out of the table while the shard may change the table.
                let mut plain = std::mem::take(&mut self.plain);
                plain.clear();
                let wire = self.backend.bytes(&packet);
                let turn = self.connections.turn_of(key, wire);
                if turn != Turn::Now {
                    self.backend.release(packet);
                    self.plain = plain;
                    if turn == Turn::TooMuch {
                        self.tls_failed(now, key, "the handshake is too long");
                    }
                    return;
                }
                let outcome = self.connections.receive(key, wire, &mut plain);
                self.backend.release(packet);
                if let Some(outcome) = outcome {
                    self.tls_received(now, key, id, &plain, outcome);
                }
                self.plain = plain;
            }
            _ => self.backend.release(packet),
        }
    }

    /// The handshakes' part of a turn; those that are left have theirs in the next.
    fn run_handshakes(&mut self) {
        if self.connections.handshakes_waiting() == 0 {
            return;
        }
        let now = self.clock.now();
        for _ in 0..HANDSHAKES_PER_TURN {
            let Some((key, wire, ended)) = self.connections.next_handshake() else {
                break;
            };
            let id = self.connections.of_key(key).and_then(|connection| connection.id);
            let mut plain = std::mem::take(&mut self.plain);
            plain.clear();
            let outcome = self.connections.receive(key, &wire, &mut plain);
            if let (Some(id), Some(outcome)) = (id, outcome) {
                self.tls_received(now, key, id, &plain, outcome);
            }
            self.plain = plain;
            let same = id.is_some_and(|id| self.connections.key_of(id) == Some(key));
            if ended && same {
                self.stream_event(now, key, StreamEvent::Ended);
            }
            self.run_outputs();
        }
        if self.connections.handshakes_waiting() > 0 {
            self.backend.counters().tls_handshakes_put_off += 1;
        }
    }

    fn tls_received(
        &mut self,
        now: Timestamp,
        key: StreamKey,
        id: ConnectionId,
        plain: &[u8],
        outcome: Result<Received, String>,
    ) {
        if let Ok(Received {
            established: Some(_), ..
        }) = &outcome
        {
            self.backend.counters().tls_handshakes += 1;
        }
        let (ended, failed) = match outcome {
            Ok(received) => {
                if received.established.is_some() {
                    self.shard.handle_connected(now, id, received.established);
                    self.run_outputs();
                }
                (received.ended, None)
            }
            Err(why) => (false, Some(why)),
        };
        // Each time the shard may have closed it.
        if !plain.is_empty() && self.connections.key_of(id) == Some(key) {
            self.shard.handle_stream(now, id, plain);
            self.run_outputs();
        }
        if self.connections.key_of(id) != Some(key) {
            return;
        }
        if let Some(why) = failed {
            self.tls_failed(now, key, &why);
        } else if ended {
            self.end(now, key, Closed::End);
        }
    }

    /// TLS has failed; the alert for the peer is still written.
    fn tls_failed(&mut self, now: Timestamp, key: StreamKey, why: &str) {
        self.backend.counters().tls_failures += 1;
        if let Some(connection) = self.connections.of_key(key) {
            let peer = connection.peer;
            self.warn_rarely(now, &format!("TLS with {peer} failed: {why}"));
        }
        self.end(now, key, Closed::Tls(why.into()));
    }

    /// The shard has no use for a connection any more.
    fn end(&mut self, now: Timestamp, key: StreamKey, why: Closed) {
        let id = self.connections.of_key(key).and_then(|connection| connection.id);
        let next = self.connections.leave(now, key);
        self.follow(key, next);
        if let Some(id) = id {
            self.shard.handle_closed(now, id, why);
        }
    }

    fn stream_failed(&mut self, now: Timestamp, key: StreamKey, errno: i32) {
        let Some(connection) = self.connections.remove(key) else {
            return;
        };
        self.backend.close_stream(key, true);
        let error = io::Error::from_raw_os_error(errno);
        let why = if connection.stage == Stage::Connecting {
            self.not_connected(now, connection.peer, &error);
            Closed::Refused
        } else if connection.stage == Stage::Handshaking {
            self.backend.counters().tls_failures += 1;
            let why = format!("the connection broke in the handshake: {error}");
            self.warn_rarely(now, &format!("TLS with {} failed: {why}", connection.peer));
            Closed::Tls(why.into())
        } else {
            self.backend.counters().streams_broken += 1;
            self.log(
                Level::Debug,
                format!("the connection with {} broke: {error}", connection.peer),
            );
            Closed::Reset
        };
        if let Some(id) = connection.id {
            self.shard.handle_closed(now, id, why);
        }
    }

    /// Begin to write what the turn has queued, end what is overdue.
    pub(super) fn run_connections(&mut self) {
        self.run_handshakes();
        while let Some((key, bytes)) = self.connections.next_write() {
            self.backend.write_stream(key, bytes);
        }
        if self.connections.deadline().is_none() {
            return;
        }
        let now = self.clock.now();
        while let Some(key) = self.connections.next_overdue(now) {
            self.backend.close_stream(key, true);
        }
        while let Some(listener) = self.connections.next_resumed(now) {
            self.backend.resume_accepting(listener);
        }
    }
}
